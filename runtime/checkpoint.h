/*
 * checkpoint.h -- training's state as a model.bin, and models to start from.
 *
 * A checkpoint is the whole model (programs, vocabulary, weights, optimiser state), its manifest's progress, and two
 * sets of counters: Paddle's AUC, and amid an epoch the scores of its rows so far. What is saved is what training needs to go
 * on as if it had never stopped.
 */
#ifndef FL_RUNTIME_CHECKPOINT_H
#define FL_RUNTIME_CHECKPOINT_H

#include "runtime/metrics.h"
#include "runtime/session.h"

/* The entry with the counters of Paddle's AUC (fl_bucket_auc_save). */
#define FL_AUC_ENTRY "auc.bin"
/* Buckets of Paddle's AUC less one, as the configuration's system has them. */
uint32_t fl_auc_thresholds(fl_config_style style);

/*
 * Write the session's model to `path`, making its folders. `auc` are Paddle's counters, `eval` the scores of the epoch under way, stored only if
 * the manifest's progress is amid an epoch; NULL: the file has none. As fl_model_save: the old file or the new one, whatever happens.
 */
FL_MUST_USE fl_status fl_checkpoint_save(fl_session *s, const char *path, const fl_bucket_auc *auc, const fl_eval *eval, fl_diag *dg);
/* Take the counters that `m` has; those that it lacks stay as they are. Damaged ones are FL_BAD_INPUT. eval may be NULL. */
FL_MUST_USE fl_status fl_checkpoint_counters(fl_model *m, fl_bucket_auc *auc, fl_eval *eval, fl_diag *dg);
/* Whether a file can be written at `path`, whose folders are made: hours of training should not end in a wrong path. */
FL_MUST_USE fl_status fl_save_place_check(const char *path, fl_diag *dg);
/* A model to predict with: without train and init programs, optimiser state and counters. */
FL_MUST_USE fl_status fl_inference_save(fl_session *s, const char *path, fl_diag *dg);

/*
 * The model file that `path` means: the file, or model.bin in the folder; malloc'ed. Reports what lies there instead: nothing, or the variable
 * files of PaddlePaddle.
 */
FL_MUST_USE fl_status fl_model_locate(const char *path, char **file, fl_diag *dg);
/* FL_BAD_INPUT if the model file `path` does not hold a training run of m: its forward graph, parameters' rules included, must be the same. */
FL_MUST_USE fl_status fl_checkpoint_check(fl_model *m, const char *path, fl_diag *dg);
/*
 * Give the session's variables the values that the model `from` has for them, optimiser state included. FL_BAD_INPUT if a weight of the
 * session is missing there or has another shape. Call it before engines exist.
 */
FL_MUST_USE fl_status fl_session_start_from(fl_session *s, fl_model *from, fl_diag *dg);

#endif
