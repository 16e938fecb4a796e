/*
 * index_bounds.h -- which elements of a program's inputs are looked up in tables, and how many rows these have.
 *
 * An imported model says of an input only that it holds whole numbers, or even floats. What they may be follows from where they go: every element of
 * one row of an input is followed through views, slices, joins and added constants to the look-ups that it ends in.
 */
#ifndef FL_RUNTIME_INDEX_BOUNDS_H
#define FL_RUNTIME_INDEX_BOUNDS_H

#include "runtime/session.h"

/* Values that an element may have: least <= x <= most. Of one that nothing is looked up by, least > most. */
typedef struct fl_index_bound {
    int64_t least, most;
} fl_index_bound;

/* Of all inputs of a program, for a run of one row. */
typedef struct fl_index_bounds {
    fl_index_bound **of; /* [n_inputs][n[input]] in row-major order */
    int64_t *n;          /* [n_inputs] */
} fl_index_bounds;

/*
 * dims: the extents of all symbols in a run of one row. An element that reaches an index by ways that are not followed (products, remainders, comparisons) is held
 * below the smallest table that it may reach, which is sure but may leave rows out. Reported: shapes that do not follow from dims; no memory.
 */
FL_MUST_USE fl_status fl_index_bounds_find(fl_index_bounds *b, const fl_session *s, fl_program p, const int64_t *dims, fl_diag *dg);
void fl_index_bounds_deinit(fl_index_bounds *b, const fl_graph *g); /* a zeroed one is fine */

#endif
