/*
 * measured_rows.h -- the rows that a model is measured with: people's, or drawn ones.
 */
#ifndef FL_RUNTIME_MEASURED_ROWS_H
#define FL_RUNTIME_MEASURED_ROWS_H

#include "runtime/batch.h"
#include "runtime/session.h"

/* Of people's rows at most so many, from the begin. */
#define FL_MEASURED_MOST 1000000

typedef struct fl_measured_from {
    const char *path; /* a file or a folder; NULL: rows are drawn */
    double skew;      /* of drawn ones: Zipf's exponent (synthetic.h), labels 17 % positive */
    int64_t n;        /* how many are drawn */
} fl_measured_from;

/* Initialises *rows, for fl_batch_deinit; on failure nothing is to be freed. A session that trains needs labels in the rows. */
FL_MUST_USE fl_status fl_measured_rows(fl_session *s, const fl_measured_from *from, fl_batch *rows, fl_diag *dg);

#endif
