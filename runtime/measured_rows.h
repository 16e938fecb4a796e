/*
 * measured_rows.h -- the rows that a model is measured with, people's or drawn ones, and steps over them.
 */
#ifndef FL_RUNTIME_MEASURED_ROWS_H
#define FL_RUNTIME_MEASURED_ROWS_H

#include "runtime/batch.h"
#include "runtime/feed.h"
#include "runtime/session.h"
#include "runtime/tensor_rows.h"

/* Of people's rows at most so many, from the begin, unless asked otherwise; of tensors all. */
#define FL_MEASURED_MOST 1000000

typedef struct fl_measured_from {
    const char *path; /* a file or a folder; NULL: rows are drawn */
    double skew;      /* of drawn ones: Zipf's exponent (synthetic.h), labels 17 % positive */
    int64_t n;        /* how many are drawn */
    int64_t most;     /* of people's; 0: FL_MEASURED_MOST */
    const char *extents; /* of tensors: "seq=50", see tensor_rows.h */
    fl_interpret_fn *interpret; /* for models that take tensors */
} fl_measured_from;

/* Rows of data, or, of models that have no schema, of tensors. */
typedef struct fl_measured {
    int64_t n;
    bool of_tensors;
    bool whole;             /* they are one run, whatever batch is asked for */
    fl_batch data;
    fl_tensor_rows tensors; /* borrow the session */
} fl_measured;

/* Rows for program p. On failure nothing is to be freed. A session that trains needs labels in the rows. */
FL_MUST_USE fl_status fl_measured_rows(fl_session *s, fl_program p, const fl_measured_from *from, fl_measured *rows, fl_diag *dg);
void fl_measured_deinit(fl_measured *rows); /* a zeroed one is fine */

/* Runs of `batch` rows, one after the other, round and round; a last part smaller than a batch is left out. */
typedef struct fl_steps {
    const fl_measured *rows;
    int64_t batch, at, done;
    fl_feed feed;
    fl_batch data;
    fl_tensor_window window;
    int64_t first;   /* of the window */
    void **outputs;  /* [n_outputs] of rows of data: NULL where nobody asks */
    float *results;
} fl_steps;

/* 0 < batch <= rows->n. It must stay where it is. */
FL_MUST_USE fl_status fl_steps_init(fl_steps *t, fl_session *s, fl_program p, const fl_measured *rows, int64_t batch, fl_diag *dg);
void fl_steps_deinit(fl_steps *t); /* a zeroed one is fine */
/* Bring the next rows into place: what is no part of what is measured. */
FL_MUST_USE fl_status fl_steps_load(fl_steps *t, fl_diag *dg);
/* These rows as a run, with the outputs that people ask for. */
fl_run fl_steps_run(fl_steps *t);

#endif
