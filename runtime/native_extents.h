/*
 * native_extents.h -- extents that only a run knows and that must be the same.
 *
 * A graph may count the rows of one thing by several names: Add of float[batch,4] and float[n,4] is right if a run gives both the same extent. The interpreter
 * finds out as it goes; generated code walks over the rows of one, and would read and write beyond the other.
 */
#ifndef FL_RUNTIME_NATIVE_EXTENTS_H
#define FL_RUNTIME_NATIVE_EXTENTS_H

#include "ir/graph.h"

typedef struct fl_equal_extents {
    fl_dim a, b;
    fl_id node; /* that needs it */
} fl_equal_extents;

/*
 * What g's nodes need to be equal, each pair once, into *out[*n] from `arena`. given[symbol]: a run binds it; other extents follow from these. FL_NO_MEMORY
 * is not reported.
 */
FL_MUST_USE fl_status fl_equal_extents_find(const fl_graph *g, const bool *given, fl_arena *arena, fl_equal_extents **out, uint32_t *n);
/* dims[symbol] are the extents of a run; FL_BAD_INPUT (reported) if a pair differs. */
FL_MUST_USE fl_status fl_equal_extents_check(const fl_graph *g, const fl_equal_extents *pairs, uint32_t n, const int64_t *dims, fl_diag *dg);

#endif
