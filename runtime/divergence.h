/*
 * divergence.h -- when training breaks: at which step, by which row of the data, through which feature.
 *
 * By the time a loss is seen to be NaN the step has written NaN over every weight that its bad rows touched, so the culprit must
 * be known before. Looking at all weights of each batch would cost a good part of a step. Training does not break out of nothing,
 * though: logits grow first. So a watch looks ahead of a step only while it is alarmed: in the first steps of a run, and after a step whose
 * logits were larger than any sound model's.
 */
#ifndef FL_RUNTIME_DIVERGENCE_H
#define FL_RUNTIME_DIVERGENCE_H

#include "runtime/batch.h"
#include "runtime/session.h"

#define FL_WATCH_FIRST_STEPS 64
#define FL_WATCH_LOGIT       30.0f /* beyond it float probabilities are 0 or 1 */
#define FL_WATCH_TABLES      8

/* The weight of a row of the batch that is not finite, or the largest one. */
typedef struct fl_suspect {
    int64_t table_row; /* -1: the row has no features */
    uint32_t slot, table;
    float value;
} fl_suspect;

typedef struct fl_watch {
    const fl_session *session;
    const fl_var *tables[FL_WATCH_TABLES]; /* weights with a row for each value of a slot */
    uint32_t n_tables;
    uint32_t quiet_after; /* steps until the alarm of the start ends */
    bool alarmed, looked;
    fl_suspect *suspects; /* [capacity]; those of this step if `looked` */
    int64_t capacity;
} fl_watch;

/* Of an open session, which must outlive the watch. */
FL_MUST_USE fl_status fl_watch_init(fl_watch *w, const fl_session *session, fl_diag *dg);
void fl_watch_deinit(fl_watch *w);
/* Before a step on the batch. */
FL_MUST_USE fl_status fl_watch_before(fl_watch *w, const fl_batch *batch, fl_diag *dg);

/* Where a step stands, for the words of a report. */
typedef struct fl_step_place {
    int64_t step, epoch;
    const char *data; /* path of the rows */
} fl_step_place;

/* After it: FL_FAILED, reported, if the loss (NULL: the program has none) or a logit is not finite. */
FL_MUST_USE fl_status fl_watch_after(fl_watch *w, const fl_batch *batch, const float *loss, const float *logit, fl_step_place at, fl_diag *dg);
/* Before a save: FL_FAILED, reported, if a variable that has values holds one that is not finite. Engines must have been flushed. */
FL_MUST_USE fl_status fl_watch_variables(const fl_watch *w, int64_t steps, fl_diag *dg);

#endif
