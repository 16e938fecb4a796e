/*
 * train_report.h -- what training and evaluation tell whoever watches: a log, a test.
 */
#ifndef FL_RUNTIME_TRAIN_REPORT_H
#define FL_RUNTIME_TRAIN_REPORT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* After which batches of an epoch (counted from 0) there is a line. */
typedef enum fl_print_rule {
    FL_PRINT_EVERY,   /* the interval-th, the 2 * interval-th ... */
    FL_PRINT_18,      /* PaddleRec 1.8: multiples of the interval, but not 0 */
    FL_PRINT_2        /* PaddleRec 2.x: multiples of the interval, 0 included */
} fl_print_rule;

static inline bool fl_print_due(fl_print_rule rule, int64_t interval, int64_t batch)
{
    if (interval <= 0)
        return false;
    if (rule == FL_PRINT_EVERY)
        return (batch + 1) % interval == 0;
    return batch % interval == 0 && (rule == FL_PRINT_2 || batch != 0);
}

/* After a batch. */
typedef struct fl_batch_report {
    bool training, due;   /* due: a line is wanted; only then are auc and batch_auc computed */
    int64_t epoch, batch; /* from 0; the batch counts within a phase of an epoch */
    int64_t steps;        /* of the whole run, this one included */
    int64_t rows;         /* of this pass over the data so far */
    uint32_t copies;      /* of PaddleRec's thread_num; values of the next two */
    const double *auc, *batch_auc; /* Paddle's, by counters; value i without the last i copies of this step. NULL: none */
    float loss;           /* of this batch; NaN: the program has none */
    int64_t batch_rows;   /* of this batch */
    int64_t interval;     /* between two lines, in batches */
    /* since the previous line: */
    int64_t interval_rows;
    double interval_seconds, interval_wait, interval_run;
    double interval_loss; /* mean over the rows */
    /* of this pass: */
    double seconds, wait_seconds;
    int64_t file_bytes, total_bytes; /* of the input: read, in all (0: unknown) */
} fl_batch_report;

/* After an epoch of training, or a pass of evaluation. */
typedef struct fl_epoch_report {
    bool training;
    const char *phase;
    int64_t epoch, epochs, steps, rows;
    double seconds, wait_seconds, samples_per_second;
    double auc, logloss; /* exact, of the pass's own predictions */
    bool exact;
    bool has_valid;
    double valid_auc, valid_logloss, rate_factor;
    float last_loss;
    double counted_auc; /* Paddle's by counters, at the end */
} fl_epoch_report;

typedef enum fl_saved_kind { FL_SAVED_MODEL, FL_SAVED_CHECKPOINT, FL_SAVED_INFERENCE, FL_SAVED_STEP, FL_SAVED_INTERRUPTED } fl_saved_kind;

typedef struct fl_saved_report {
    fl_saved_kind kind;
    const char *path, *folder; /* the model file; the folder that PaddleRec's line names */
    int64_t epoch;
} fl_saved_report;

/* Any of the functions may be NULL. Reports are valid during the call. */
typedef struct fl_watcher {
    void *arg;
    void (*batch)(void *arg, const fl_batch_report *r);
    void (*phase)(void *arg, const fl_epoch_report *r); /* after each phase of PaddleRec's epoch; valid_* are not set yet */
    void (*epoch)(void *arg, const fl_epoch_report *r);
    void (*saved)(void *arg, const fl_saved_report *r);
    void (*note)(void *arg, const char *text); /* a sentence for the log */
} fl_watcher;

#endif
