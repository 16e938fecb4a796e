/*
 * tally.h -- the predictions of one pass over data, counted batch by batch and reported to a watcher. Shared by training and inference.
 */
#ifndef FL_RUNTIME_TALLY_H
#define FL_RUNTIME_TALLY_H

#include "runtime/metrics.h"
#include "runtime/reader.h"
#include "runtime/train_report.h"

typedef struct fl_tally_options {
    bool training;
    int64_t epoch;
    int64_t copies;       /* 1, or PaddleRec's thread_num: a step counts as so many batches */
    int64_t copy_rows;    /* rows of a copy's batch */
    fl_print_rule print;
    int64_t print_interval;
    bool always_auc;      /* Paddle's AUC in every report, not only in those that are due */
    const fl_watcher *watcher; /* NULL: none */
} fl_tally_options;

typedef struct fl_tally {
    fl_tally_options options;
    fl_batch_report report;
    double *values; /* [2 * copies] */
    double begun, seen, seen_wait, line_begun, line_wait, line_loss;
} fl_tally;

double fl_seconds(void); /* of a clock that only goes forward */

FL_MUST_USE fl_status fl_tally_init(fl_tally *t, const fl_tally_options *options, fl_diag *dg);
void fl_tally_deinit(fl_tally *t);
/*
 * A batch was run: count its predictions in `eval` and `auc` (either may be NULL) and report it. stats: of the reader at hand; loss: NaN if there
 * is none; steps: of the whole run.
 */
FL_MUST_USE fl_status fl_tally_count(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats, const float *logit,
                                     const float *probability, float loss, int64_t steps, fl_eval *eval, fl_bucket_auc *auc, fl_diag *dg);
/* Its two halves: the first touches nothing but its arguments (FL_NO_MEMORY is not reported), the second tells the watcher. */
FL_MUST_USE fl_status fl_tally_add(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats, const float *logit, const float *probability,
                                   float loss, int64_t steps, fl_eval *eval, fl_bucket_auc *auc);
void fl_tally_report(fl_tally *t, const fl_reader_stats *stats);
/* A batch was only skipped: a resumed run has trained it before. */
void fl_tally_skip(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats);

#endif
