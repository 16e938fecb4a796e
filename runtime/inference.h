/*
 * inference.h -- the predict program over all rows of a path: what infer and predict do, and a trainer's validation.
 */
#ifndef FL_RUNTIME_INFERENCE_H
#define FL_RUNTIME_INFERENCE_H

#include "runtime/feed.h"
#include "runtime/reader.h"
#include "runtime/session.h"

#include <signal.h>

/* The predict program of a session, fed with batches. It must stay where it is. */
typedef struct fl_predictor {
    fl_engine *engine; /* the session's */
    fl_feed feed;
    void **outputs;              /* [n_outputs], NULL where nobody asks */
    uint32_t logit, probability; /* indices into outputs */
} fl_predictor;

/* `batch` rows are expected at most; larger batches take memory when they come. */
FL_MUST_USE fl_status fl_predictor_init(fl_predictor *p, fl_session *s, int64_t batch, fl_diag *dg);
void fl_predictor_deinit(fl_predictor *p); /* a zeroed one is fine */
/* logit[n], probability[n] of the batch's rows. */
FL_MUST_USE fl_status fl_predictor_run(fl_predictor *p, const fl_batch *b, float *logit, float *probability, fl_diag *dg);

/* One batch and its predictions, one logit and one probability a row. Anything but FL_OK ends the work with that status. */
typedef fl_status fl_predicted_fn(void *arg, const fl_batch *rows, const float *logit, const float *probability, fl_diag *dg);

typedef struct fl_inference {
    int64_t batch;         /* rows of a run; 0: 1024. Predictions do not depend on it */
    bool need_label;       /* rows without a label are bad */
    bool keep_bad_rows;    /* rows that cannot be read come marked (fl_batch, bad) instead of being left out */
    bool strict;           /* the first bad row is an error */
    bool drop_last;        /* a last batch that is not full is left out */
    fl_reader_stats *live; /* not NULL: what the reader has done so far, before each call of `each` */
    const volatile sig_atomic_t *stop; /* not NULL: FL_INTERRUPTED, reported, once it is not 0 */
    fl_predicted_fn *each;
    void *arg;
} fl_inference;

typedef struct fl_inference_result {
    fl_reader_stats rows;
    double seconds; /* from the first row to the last prediction, without opening */
} fl_inference_result;

/* The rows of the path, in order. Bad rows end in warnings. `out` may be NULL. */
FL_MUST_USE fl_status fl_infer(fl_session *s, const char *path, const fl_inference *o, fl_inference_result *out, fl_diag *dg);

typedef struct fl_evaluation {
    double auc, logloss; /* NaN where they do not exist: no rows; AUC also with one class only */
    int64_t rows;
    bool exact;          /* AUC by comparing all rows; else by bins (metrics.h) */
    bool finite;         /* no logit was NaN or infinite */
    fl_inference_result result;
} fl_evaluation;

/* AUC and logloss over the labelled rows of a path. o->each and o->need_label are ignored. */
FL_MUST_USE fl_status fl_evaluate(fl_session *s, const char *path, const fl_inference *o, fl_evaluation *out, fl_diag *dg);

#endif
