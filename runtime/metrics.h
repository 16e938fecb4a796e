/*
 * metrics.h -- how good predictions are: exact AUC and logloss, and Paddle's bucketed AUC.
 */
#ifndef FL_RUNTIME_METRICS_H
#define FL_RUNTIME_METRICS_H

#include "ir/base/status.h"

/* Rows up to which fl_eval keeps every score: 4 bytes a row. */
#define FL_EVAL_EXACT_ROWS 20000000
#define FL_EVAL_BINS       (1 << 20)

/*
 * AUC and logloss over rows that come in any portions. AUC is the share of (positive, negative) pairs whose logits stand in the right
 * order, ties counting half: exact up to `exact_rows` rows; beyond, logits are counted in FL_EVAL_BINS bins of the probability.
 */
typedef struct fl_eval {
    float *scores[2]; /* of negatives, of positives */
    int64_t n[2], capacity[2];
    int64_t *bins[2]; /* NULL while exact */
    int64_t exact_rows;
    double loss_sum;
    bool not_finite; /* a logit was NaN or infinite */
} fl_eval;

void fl_eval_init(fl_eval *e, int64_t exact_rows);
void fl_eval_deinit(fl_eval *e);
/* Forget the rows, keep the memory. */
void fl_eval_clear(fl_eval *e);
/* n rows; a label that is not 0 is positive for AUC, and enters logloss as it is. FL_NO_MEMORY is the only failure. */
FL_MUST_USE fl_status fl_eval_add(fl_eval *e, const float *logit, const float *label, int64_t n);
/* NaN without positives or without negatives. Sorts the scores in place. */
double fl_eval_auc(fl_eval *e);
/* Mean of -y ln p - (1 - y) ln(1 - p), in double from the logits; NaN without rows. */
double fl_eval_logloss(const fl_eval *e);
int64_t fl_eval_rows(const fl_eval *e);
static inline bool fl_eval_is_exact(const fl_eval *e)
{
    return e->bins[0] == NULL;
}

/*
 * Paddle's auc operator (auc_op.h): thresholds + 1 buckets of the probability, a global counter that is never reset and
 * a window over the last FL_AUC_WINDOW batches.
 */
#define FL_AUC_WINDOW 20

typedef struct fl_bucket_auc {
    uint32_t thresholds; /* 4096 in PaddleRec 1.8, 4095 in 2.x */
    uint32_t window;     /* batches; 20 in PaddleRec (FL_AUC_WINDOW) */
    uint64_t runs;
    int64_t *counts; /* [(2 + window) * 2][thresholds + 1]: global, window's sum, ring; negatives, positives */
    struct fl_bucket_list *lists; /* [window] the rows of a ring slot, where they are known; counts are brought up to date from them */
} fl_bucket_auc;

FL_MUST_USE fl_status fl_bucket_auc_init(fl_bucket_auc *a, uint32_t thresholds, uint32_t window);
void fl_bucket_auc_deinit(fl_bucket_auc *a);
void fl_bucket_auc_clear(fl_bucket_auc *a);
/* One batch: n probabilities in [0, 1] and labels. */
void fl_bucket_auc_add(fl_bucket_auc *a, const float *probability, const float *label, int64_t n);
/* Areas; 0 while a class is missing, as Paddle has it. Not while another thread adds or asks. */
double fl_bucket_auc_global(const fl_bucket_auc *a);
double fl_bucket_auc_batch(const fl_bucket_auc *a);
/* The state as bytes, for checkpoints: malloc'ed; NULL if out of memory. */
void *fl_bucket_auc_save(const fl_bucket_auc *a, size_t *n);
/* False, and nothing changed, if the bytes are not a state with the same thresholds and window, or hold numbers that no counting makes. */
bool fl_bucket_auc_load(fl_bucket_auc *a, const void *bytes, size_t n);

#endif
