/*
 * domain.h -- over which rows a node runs, and which rows of its operands it reads: what `segment` decides by.
 */
#ifndef FL_PASSES_DOMAIN_H
#define FL_PASSES_DOMAIN_H

#include "ir/schedule.h"

typedef struct fl_node_domain {
    fl_domain kind;
    fl_dim dim;   /* ROWS: extent of dimension 0; SLOTS: number of slots; ONE: 1 */
    fl_id count;  /* SLOTS: int32[slots]; else FL_NONE */
    fl_dim rows;  /* SLOTS: the symbol of the distinct rows; ROWS: dim; ONE: 1 */
    bool alone;   /* has a segment to itself (hash tables in scratch) */
    bool absent;  /* is in no segment: Constant */
} fl_node_domain;

/* How a node reads an operand. */
typedef enum fl_read {
    FL_READ_NOT,  /* its shape at most, or a constant that the code generator takes as a number */
    FL_READ_OWN,  /* row i of the operand for row i of the result */
    FL_READ_WHOLE /* any rows */
} fl_read;

/* `sources`: by symbol, the count of the UniqueRows or MergeRows whose distinct rows it counts, else FL_NONE. */
fl_node_domain fl_domain_of(const fl_graph *g, fl_id node, const fl_id *sources);
/* The array for it; NULL if out of memory. */
fl_id *fl_domain_sources(const fl_graph *g, fl_arena *scratch);
fl_read fl_domain_read(const fl_graph *g, fl_id node, uint32_t operand, const fl_node_domain *d);
bool fl_domain_equal(const fl_node_domain *a, const fl_node_domain *b);

#endif
