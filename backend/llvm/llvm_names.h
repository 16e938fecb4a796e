/*
 * llvm_names.h -- what of the generated code belongs to which node: labels of blocks and lines of debug information, for people who
 * read the code. Images are made without.
 */
#ifndef FL_BACKEND_LLVM_NAMES_H
#define FL_BACKEND_LLVM_NAMES_H

#include "backend/llvm/llvm_build.h"

typedef struct l_names l_names;

/*
 * Lines are those of the graph's text as `flenc dump` prints it, in a file PROGRAM.onnxtxt: objdump -dl, perf annotate and gdb name them,
 * and show the text itself where the file is there. NULL if out of memory.
 */
l_names *l_names_new(fl_gen *gen);
/* After gen->v_fn was made: what follows belongs to this segment. */
void l_names_segment(l_names *names);
/* What follows is for `node`. */
void l_names_node(l_names *names, fl_id node);
/* The block `b` and those behind it are what the n nodes compute: their labels say so. */
void l_names_label(l_names *names, LLVMBasicBlockRef b, const fl_id *nodes, uint32_t n);
/* Before the module is verified; frees it. */
void l_names_finish(l_names *names);

#endif
