/*
 * backend.h -- the two ways to execute a program, for the command lines.
 *
 * interp/: every operator in double precision, the definition and the oracle. llvm/: the code generator, a shared object
 * of its own (codegen.h), loaded only when code has to be made.
 */
#ifndef FL_BACKEND_H
#define FL_BACKEND_H

#include "runtime/engine.h"

/*
 * An engine that interprets g (any stage; a schedule is ignored). Variables are found in `store` by name and read at once.
 * FL_UNSUPPORTED names what has no kernel. Its values may take max_bytes (0: fl_interp_limit's default).
 */
FL_MUST_USE fl_status fl_interp_engine_new(const fl_graph *g, const fl_store *store, uint64_t max_bytes, fl_engine **out, fl_diag *dg);

/*
 * Compile g (scheduled) for `cpu`, "x86-64-v2", "x86-64-v3" or "x86-64-v4" (runtime/code_cache.h knows the machine's), into a
 * shared-object image in fresh memory (free() it). Loads flen_codegen.so from $FLEN_CODEGEN, or else from beside, ../flen or ../lib/flen of
 * the shared library that this code is in (libflenrt) or of the running program. Runs in this process: callers that must survive the code generator's death fork first.
 */
FL_MUST_USE fl_status fl_compile(const fl_graph *g, const char *cpu, void **image, size_t *size, fl_diag *dg);
/* The same as codegen.h's `emit` says: "image", "timed", or for people "llvm", "llvm-opt", "asm", "obj". */
FL_MUST_USE fl_status fl_compile_as(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg);

#endif
