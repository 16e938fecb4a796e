/*
 * logged_inference.h -- inference that a log follows: a line each interval, Paddle's AUC by counters, the exact metrics at the end.
 */
#ifndef FL_RUNTIME_LOGGED_INFERENCE_H
#define FL_RUNTIME_LOGGED_INFERENCE_H

#include "runtime/metrics_dump.h"
#include "runtime/train_log.h"

typedef struct fl_logged_inference {
    const char *phase;      /* "phase2" */
    const char *epoch;      /* the checkpoint's name, "0" */
    int64_t batch;          /* rows of a step */
    int64_t print_interval; /* steps between lines */
    bool strict;
    const volatile sig_atomic_t *stop;
    fl_train_log *log;
    fl_bucket_auc *auc;     /* counters that go on; NULL: the model's (PaddleRec 1.8), or new ones */
    const char *dump;       /* a file for every batch's metrics (metrics_dump.h); NULL: none */
} fl_logged_inference;

/* Begin of an infer runner, in PaddleRec's logs: the fixed lines. */
void fl_log_infer_head(fl_train_log *log, const fl_manifest *m, const char *runner);
/*
 * One phase over the rows of a path: batch lines and the closing line. In PaddleRec 1.8's log AUC goes on from the training's counters
 * that the model holds (entry FL_AUC_ENTRY), as Paddle's does; else it starts anew. *out: exact metrics over the same rows.
 */
FL_MUST_USE fl_status fl_infer_logged(fl_session *s, const char *path, const fl_logged_inference *o, fl_evaluation *out, fl_diag *dg);

#endif
