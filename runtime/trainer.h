/*
 * trainer.h -- training: epochs over phases over rows, validation, saving, going on after a stop.
 *
 * What it does is a function of the model, the rows, the plan and the seed: neither threads nor a stop in between change a bit. All that a
 * stopped run needs is in its checkpoint (checkpoint.h): weights, optimiser state, the position in the data as the number of steps of
 * the epoch, the counters of the metrics.
 */
#ifndef FL_RUNTIME_TRAINER_H
#define FL_RUNTIME_TRAINER_H

#include "runtime/checkpoint.h"
#include "runtime/reader.h"
#include "runtime/train_report.h"

typedef struct fl_train_phase {
    const char *name, *path; /* of the data: file or folder */
    int64_t batch, copies;   /* a step takes copies * batch rows */
    bool shuffle_files;      /* in another order each epoch */
} fl_train_phase;

/* When and where models are written. Paths are NULL where nothing is. */
typedef struct fl_train_saves {
    const char *model;           /* a file, written after each epoch; with keep_best after those with a better validation AUC only */
    int64_t model_steps;         /* also after so many steps of an epoch, unless keep_best; 0: no */
    const char *folder;          /* FOLDER/<epoch>/model.bin */
    int64_t every;               /* epochs; -1: each. The last epoch is always saved */
    const char *inference_folder; /* likewise, a model to predict with */
    int64_t inference_every;
    const char *step_folder;     /* FOLDER/epoch_<epoch>_batch_<batch>/model.bin, also at batch 0 of an epoch */
    int64_t every_steps;
    const char *interrupted;     /* a file, written when `stop` ends the run amid an epoch */
} fl_train_saves;

typedef struct fl_train_plan {
    const fl_train_phase *phases; /* each epoch runs all of them, in order */
    uint32_t n_phases;
    int64_t epochs;               /* how many the model shall have been trained for at the end, those of its progress included */
    const char *valid_path;       /* NULL: no validation */
    int64_t patience;             /* epochs without a better validation AUC before the run ends; 0: never */
    double plateau_factor, min_rate_factor; /* the rate after such an epoch; 1: unchanged */
    bool keep_best, strict;
    fl_print_rule print;
    int64_t print_interval;
    bool always_auc;              /* Paddle's AUC in every report */
    bool auc_by_epoch;            /* Paddle's counters start anew each epoch */
    fl_model *counters;           /* whose counters go on; NULL: they start at 0 */
    fl_train_saves saves;
    const fl_watcher *watcher;    /* NULL: none */
    const volatile sig_atomic_t *stop; /* once it is not 0: save, then FL_INTERRUPTED; NULL: never */
    /* NULL, or called after each step, its rows counted and the next one's there: it may take further rows from the reader, which are then not trained on (bench_epoch.h). What it
     * returns but FL_OK ends the run. */
    fl_status (*after_step)(void *arg, fl_reader *reader, int64_t rows, fl_diag *dg);
    void *after_step_arg;
} fl_train_plan;

typedef struct fl_train_result {
    int64_t rows, steps, epochs;       /* of this run */
    double seconds, wait_seconds;      /* of training, without validation and saving */
    double auc, logloss;               /* of the last epoch's predictions, each made before its row was trained; exact */
    bool exact;
    bool has_valid, stopped_early;
    double valid_auc, valid_logloss;   /* with keep_best of the model that was kept, else of the last epoch */
    int64_t best_epoch;                /* with keep_best; -1: none in this run */
    char *saved_inference;             /* the newest inference model, likewise */
    char *saved;                       /* the newest file of saves.model, else of .folder, else of others; malloc'ed; NULL: none was written */
} fl_train_result;

/*
 * Train the session's model, which was opened for training, from where its manifest's progress stands; progress is kept up to date. The
 * caller frees out->saved, also after a failure. FL_FAILED, reported, if training diverges (divergence.h): nothing is saved then.
 */
FL_MUST_USE fl_status fl_train(fl_session *s, const fl_train_plan *plan, fl_train_result *out, fl_diag *dg);

#endif
