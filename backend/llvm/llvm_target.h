/*
 * llvm_target.h -- from modules to machine code.
 */
#ifndef FL_BACKEND_LLVM_TARGET_H
#define FL_BACKEND_LLVM_TARGET_H

#include "backend/llvm/llvm_build.h"

/* Modules of an image. Selecting instructions is nine tenths of the time that generating code takes, and one segment, the batch's rows, is half of it. */
enum { L_MODULES = 2 };

/* The modules of part[0 .. L_MODULES) as one image, which is malloc'ed; in as many threads if this process may use as many CPUs. Its bytes do not depend on that. */
FL_MUST_USE fl_status l_write_image(fl_gen *part, void **image, size_t *size);

/* The module as `emit` says: "llvm", "llvm-opt", "asm" or "obj"; malloc'ed. */
FL_MUST_USE fl_status l_write_text(fl_gen *gen, const char *emit, void **text, size_t *size);

#endif
