/*
 * emit_walk.h -- loops over all elements of a value, one by one, and a rule that makes an element from whatever places of the operands it
 * likes. Plain code for what a CTR model does little of.
 */
#ifndef FL_BACKEND_LLVM_EMIT_WALK_H
#define FL_BACKEND_LLVM_EMIT_WALK_H

#include "backend/llvm/emit.h"

/* Where the walk is. */
typedef struct l_walk {
    fl_gen *gen;
    fl_id node;
    const fl_type *out; /* of the value that is walked over */
    int skipped;        /* a dimension that the rule goes along itself; -1: none */
    LLVMValueRef v_at[FL_MAX_RANK];
} l_walk;

typedef void l_walk_rule(l_walk *e);

/* Over the node's first output that somebody wants, for the rows that l_rows names. */
void l_walk_elements(fl_gen *gen, fl_id node, int skipped, l_walk_rule *rule);
/* Over another value of the node. */
void l_walk_over(fl_gen *gen, fl_id node, fl_id value, l_walk_rule *rule);

fl_id l_walk_operand(const l_walk *e, uint32_t k);
/* Of the element of `value` at these coordinates, one for each of its dimensions. */
LLVMValueRef l_walk_address(const l_walk *e, fl_id value, const LLVMValueRef *v_at);
LLVMValueRef l_walk_load(const l_walk *e, fl_id value, const LLVMValueRef *v_at);
/* Into the first output, where the walk is. */
void l_walk_store(const l_walk *e, LLVMValueRef v);
/* An index as i64, counted from the end if negative, and held within [0, n): no index leads out of the data. */
LLVMValueRef l_held_index(fl_gen *gen, LLVMValueRef v, LLVMValueRef v_n);

#endif
