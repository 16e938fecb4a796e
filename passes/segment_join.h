/*
 * segment_join.h -- nodes of a segment that are better off next to each other (segment.c orders the rest).
 */
#ifndef FL_PASSES_SEGMENT_JOIN_H
#define FL_PASSES_SEGMENT_JOIN_H

#include "ir/schedule.h"

/* One that shares a loop nest with its neighbours: look-ups and writes of rows and sums of them too. */
bool fl_is_chained(const fl_graph *g, fl_id node);
/* Of two such: do their loops run over one shape? */
bool fl_share_loops(const fl_graph *g, fl_id a, fl_id b);
/*
 * Pools that look up in variables by one input move up behind each other, and before a Gather of the same rows: they make one sweep over the batch, which fetches ahead what stands in one
 * record. They read leaves alone, so that nothing is in their way.
 */
void fl_join_pools(const fl_graph *g, fl_segment *seg);
/* A product of distinct rows, or of a slot's gradient of its weights, moves down to the elementwise nodes behind it, if those in between do without it: its
 * rows are then followed up while later ones are made (backend/llvm/group.c). The gradient goes behind whatever writes, too: it reads no variable. */
void fl_join_products(const fl_graph *g, fl_segment *seg);

/* A TileSum moves up behind what makes its rows, into whose loop nest it goes. */
void fl_join_tiles(const fl_graph *g, fl_segment *seg);

#endif
