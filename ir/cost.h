/*
 * cost.h -- what a node costs: arithmetic and memory, counted from types alone. An estimate for people (pictures, profiles), not for passes:
 * no caches, no fusion; a value that stays in registers counts as one that goes through memory.
 */
#ifndef FL_IR_COST_H
#define FL_IR_COST_H

#include "ir/graph.h"

typedef struct fl_cost {
    double flops; /* additions, multiplications, comparisons and functions such as exp count 1 each; a multiply-add 2 */
    double bytes; /* read and written; of look-ups the rows that are read, not the table; views none */
} fl_cost;

/*
 * An extent for each symbol of g (g->n_symbols numbers): "batch" gets `batch`, products what their factors give, distinct rows the elements
 * of the index that they come from (the most there can be), what is left `batch`.
 */
void fl_cost_bind(const fl_graph *g, int64_t batch, int64_t *extents);
/* {0, 0} for nodes without types. */
fl_cost fl_node_cost(const fl_graph *g, fl_id node, const int64_t *extents);

/* A guess at the time that code takes for one row (dimension 0) of a node, as if extents behind it that a run decides were 16. */
double fl_cost_guess_ns(const fl_graph *g, const fl_node *node);

#endif
