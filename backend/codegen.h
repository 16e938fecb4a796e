/*
 * codegen.h -- the one function that flen_codegen.so exports.
 */
#ifndef FL_BACKEND_CODEGEN_H
#define FL_BACKEND_CODEGEN_H

#include "ir/schedule.h"

typedef struct fl_codegen_options {
    const char *cpu;      /* "x86-64-v2", "x86-64-v3" or "x86-64-v4"; never NULL */
    /*
     * "image"; "timed", an image whose segments leave stamps between their parts (runtime/abi.h) and compute the same bits; or for people, with nodes' names as labels and lines of the graph's text as debug information: "llvm", "llvm-opt" (after LLVM's own
     * passes, which images do without), "asm", "obj".
     */
    const char *emit;
} fl_codegen_options;

/*
 * Generate code for every segment of g's schedule. The image is malloc'ed. FL_UNSUPPORTED reports each operator without
 * an emitter by node, name and reason.
 */
typedef fl_status fl_codegen_fn(const fl_graph *g, const fl_codegen_options *options, void **image, size_t *size,
                                fl_diag *dg);
__attribute__((visibility("default"))) fl_codegen_fn fl_codegen;

#endif
