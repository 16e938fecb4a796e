/*
 * rows.h -- which rows an operator reads: what `segment` cuts by, and what the verifier holds a schedule against.
 */
#ifndef FL_IR_ROWS_H
#define FL_IR_ROWS_H

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

/* Running sums and ranks along dimension 0: rows cannot be made apart from each other. */
bool fl_goes_along_rows(const fl_graph *g, fl_id node);

/*
 * In work on `slots` slots, does `node` make for each slot rows that are its own, n of [slots * n, ...]? So do SlotLinear's gradient of its weights and
 * elementwise nodes, if what they read of the same work is made so too.
 */
bool fl_makes_part_of_slot(const fl_graph *g, fl_id node, fl_dim slots);
/*
 * counts[symbol] is the `count` of the UniqueRows or MergeRows whose rows that symbol counts, FL_NONE for any other symbol; [n_symbols + 1] from `arena`,
 * NULL if out of memory.
 */
fl_id *fl_distinct_counts(const fl_graph *g, fl_arena *arena);
/*
 * Memory of distinct rows has places that are not used, and what lies there is anything. Does `node`, run at `work`, read from operand k used places
 * alone: its own rows of used ones, rows that an index names, or those that the operator is told of by a count?
 */
bool fl_reads_used_rows(const fl_graph *g, fl_id node, uint32_t k, const fl_place_of_work *work, const fl_id *counts);
/*
 * The symbol that counts the rows of EmbeddingBags: one less than the offsets have, which is no extent of an input. A run binds it all the same. FL_NONE: there
 * is none.
 */
uint32_t fl_bag_rows(const fl_graph *g);
/*
 * sparse[v]: v is a TileSum of which the first row of each tile is all that is ever read, by sums over all rows; the others need not be written. [n_values]
 */
void fl_find_sparse_tiles(const fl_graph *g, bool *sparse);
/* Are both FieldPools that look up in variables by one index? Then one sweep over the batch does for both, and what a record holds is met at once. */
bool fl_share_far_index(const fl_graph *g, fl_id a, fl_id b);
/* ReduceSum of floats over the last dimension alone, of a static extent in whole vectors of FL_ROW_SUM_LANES: it can go with what makes its terms. */
#define FL_ROW_SUM_LANES 16
bool fl_sums_rows(const fl_graph *g, fl_id node);

#endif
