/*
 * trial.h -- a program on values drawn from their names: what the interpreter computes, and whether something else computes the same.
 *
 * Variables with stored data have it. Else reals lie in [-1, 1), variances, sums of squares and Adam's powers where they must, and integers are
 * rows of the smallest table that the graph looks up in; "...offsets" rise over the values of their bags. Columns that never share rows (`ai.flen.disjoint`) do
 * not. `batch` is given, offsets have one more, all other symbols 7 elements or, if that is more, three rows for each such column. Two graphs that read the same names compute on the same numbers.
 *
 * Time and memory of a trial follow the tables' sizes: cut them first.
 */
#ifndef FL_BACKEND_TRIAL_H
#define FL_BACKEND_TRIAL_H

#include "backend/interp/interp.h"
#include "runtime/engine.h"

typedef struct fl_trial fl_trial;

/* The value of an input, in place of a drawn one: static type, borrowed bytes. */
typedef struct fl_trial_given {
    const char *name;
    fl_tensor tensor;
} fl_trial_given;

typedef struct fl_trial_options {
    uint64_t seed;
    int64_t batch;               /* rows; as many as given inputs have */
    const fl_trial_given *given; /* borrowed; inputs that a graph does not have are passed over */
    uint32_t n_given;
    uint64_t max_bytes;          /* that values may take; 0: fl_interp_limit's default */
    int64_t table_rows;          /* extent of symbols that no input binds; 0: as above */
} fl_trial_options;

/*
 * Leave few rows to large tables that are only looked up, by numbers that inputs give and nobody computes with: nothing else that a graph computes depends on the
 * rest. A table that several of the graphs have is cut in all of them or in none.
 */
FL_MUST_USE fl_status fl_trial_cut(fl_graph *const *graphs, uint32_t n_graphs, fl_diag *dg);
/*
 * The same for rows that are given: all tables have `*rows` rows and the same numbering, those that given inputs ask for stay (and their stored data with them), and the
 * given numbers become those of the rows that stayed. *rows is how many did. Nothing changes if there are few, or if rows are computed.
 */
FL_MUST_USE fl_status fl_trial_keep(fl_graph *g, fl_trial_given *given, uint32_t n_given, int64_t *rows, fl_diag *dg);

/* Draws values for g, which must outlive the trial, and interprets it once. */
FL_MUST_USE fl_status fl_trial_new(const fl_graph *g, const fl_trial_options *options, fl_trial **out, fl_diag *dg);
void fl_trial_free(fl_trial *t); /* NULL is fine */

/* Where one value is not what it should be. */
typedef struct fl_difference {
    bool shape;      /* extents differ, or it is missing; the rest says nothing then */
    int64_t element;
    double want, got;
} fl_difference;

/* True, with *d, if value v of t differs by more than tolerance * (1 + |want|) from value w of `other`. Numbers of distinct rows are not compared. */
bool fl_trial_differs(const fl_trial *t, fl_id v, const fl_trial *other, fl_id w, double tolerance, fl_difference *d);

/* The same against numbers that came from elsewhere, of the value's shape. */
bool fl_trial_differs_from(const fl_trial *t, fl_id v, const fl_tensor *other, double tolerance, fl_difference *d);
/* The value of an input or variable: static type, borrowed bytes. */
const fl_tensor *fl_trial_leaf(const fl_trial *t, fl_id v);

/*
 * The same values on an engine of g: `make` gets fresh copies of the variables. Then each output, and each updated variable, whose extents inputs decide
 * is compared, in order: *differs is the first one that differs (FL_NONE: none), by its value in g (an update's next value).
 */
typedef fl_status fl_trial_engine_fn(void *arg, const fl_graph *g, const fl_store *store, fl_engine **out, fl_diag *dg);
FL_MUST_USE fl_status fl_trial_run(const fl_trial *t, fl_trial_engine_fn *make, void *arg, double tolerance, fl_id *differs, fl_difference *d,
                                   fl_diag *dg);
/* Value v as it was interpreted, borrowed until the next run; NULL if it has none. */
const fl_array *fl_trial_get(const fl_trial *t, fl_id v);
/*
 * Slopes of `of`, one real number, along one element of a real variable: the differences to a little less and to a little more of it, by interpreting
 * again. They differ at a corner. Afterwards all values are what they were, at other addresses.
 */
FL_MUST_USE fl_status fl_trial_slopes(fl_trial *t, fl_id variable, int64_t element, fl_id of, double *behind, double *ahead, fl_diag *dg);
/* Has v a type of numbers whose extents follow from inputs, so that it can be an output to look at? */
bool fl_trial_shows(const fl_graph *g, fl_id v);
/* A graph of `node` alone: its operands, as they were, are initialisers. NULL if out of memory. */
fl_graph *fl_trial_isolate(const fl_trial *t, fl_id node);

#endif
