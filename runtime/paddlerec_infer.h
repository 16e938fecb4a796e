/*
 * paddlerec_infer.h -- inference as PaddleRec logs it: the lines that people's scripts read, and the metrics in them.
 */
#ifndef FL_RUNTIME_PADDLEREC_INFER_H
#define FL_RUNTIME_PADDLEREC_INFER_H

#include "runtime/inference.h"

/* The entry of a model.bin with the counters of Paddle's AUC (fl_bucket_auc_save). */
#define FL_AUC_ENTRY "auc.bin"

/* Buckets of Paddle's AUC less one, by the configuration's style. */
uint32_t fl_paddlerec_thresholds(const fl_manifest *m);

typedef struct fl_paddlerec_infer {
    const char *phase;      /* "phase2" */
    const char *epoch;      /* the checkpoint's name, "0" */
    int64_t batch;          /* rows of a step */
    int64_t print_interval; /* steps between lines */
    bool strict;
    const volatile sig_atomic_t *stop;
    FILE *out;
} fl_paddlerec_infer;

/* Begin of an infer run, to `out`: the fixed lines of PaddleRec 1.8; nothing in 2.x. */
void fl_paddlerec_infer_head(const fl_manifest *m, const char *runner, FILE *out);
/*
 * One phase over the rows of a path: batch lines and the closing line. In 1.8 AUC goes on from the training's counters that the model holds (entry
 * FL_AUC_ENTRY), as Paddle's does; in 2.x it starts anew. *out: exact metrics over the same rows.
 */
FL_MUST_USE fl_status fl_paddlerec_infer_run(fl_session *s, const char *path, const fl_paddlerec_infer *o, fl_evaluation *out, fl_diag *dg);

#endif
