/*
 * bench_epoch.h -- an epoch's rate beside that of its steps alone: what reading, metrics and watching take.
 *
 * One epoch by fl_train (trainer.h) over the data as they lie in files, in slices. Every second slice its rows are read into memory first, untimed, and the steps on them are
 * timed one by one, as fl_bench_run times them; the other slices take what the trainer takes. So both rates are of the same data, the same
 * session and the same minute, and every row is trained once: rows that were trained before would still lie in caches.
 */
#ifndef FL_RUNTIME_BENCH_EPOCH_H
#define FL_RUNTIME_BENCH_EPOCH_H

#include "runtime/session.h"

typedef struct fl_bench_epoch {
    const char *path;  /* file or folder */
    int64_t batch;     /* rows of a step */
    int64_t most_rows; /* the epoch ends behind so many; 0: with the data */
} fl_bench_epoch;

typedef struct fl_bench_epoch_result {
    int64_t pairs, rows;           /* slices from files that were measured, each with one from memory behind it; rows of the whole epoch */
    double file_rate, memory_rate; /* rows a second: of the median slice */
    double p25, ratio, p75;        /* of the two, slice by slice: quartiles and median of all pairs */
    double wait_share;             /* of the time of slices from files: the training thread waited for rows (without threads that read ahead: fetched them) */
} fl_bench_epoch_result;

/* s was opened for training; its weights change, nothing is saved. FL_E_BENCH_ROWS if the rows do not suffice for a pair. */
FL_MUST_USE fl_status fl_bench_epoch_run(fl_session *s, const fl_bench_epoch *b, fl_bench_epoch_result *out, fl_diag *dg);

#endif
