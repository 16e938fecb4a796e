/*
 * rows.h -- which rows an operator reads: shared by `segment` and `plan-memory`.
 */
#ifndef FL_PASSES_ROWS_H
#define FL_PASSES_ROWS_H

#include "ir/schedule.h"

/* Where a node runs, before phases are known. */
typedef struct fl_place_of_work {
    fl_domain domain;
    fl_dim dim;   /* as fl_segment.dim */
    fl_id count;  /* as fl_segment.count */
} fl_place_of_work;

bool fl_same_work(const fl_place_of_work *a, const fl_place_of_work *b);

/*
 * Does `node`, run for some rows (or slots) of its domain, read from operand k only the same rows (or slots)? False for
 * operands that it reads as a whole.
 */
bool fl_reads_own_rows(const fl_graph *g, fl_id node, uint32_t k);

#endif
