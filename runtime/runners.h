/*
 * runners.h -- a configuration's `mode`: its runners in order, each a training run or an inference run, as the model carries them.
 */
#ifndef FL_RUNTIME_RUNNERS_H
#define FL_RUNTIME_RUNNERS_H

#include "runtime/train_log.h"

/* Whether a trained model is written once more, with folded tables (session.h). */
typedef enum fl_fold_wish { FL_FOLD_AS_CONFIGURED, FL_FOLD_STORED, FL_FOLD_OFF } fl_fold_wish;

/* "stored" or "off". */
bool fl_fold_wish_parse(const char *text, fl_fold_wish *out);
bool fl_fold_wished(fl_fold_wish wish, const fl_manifest *m);
/* The model at `path`, which may be NULL (nothing was saved), once more with folded tables. The options are those of the session that trained; its memory has been given back. */
FL_MUST_USE fl_status fl_fold_trained(const char *path, const fl_session_options *options, fl_diag *dg);

typedef struct fl_run_options {
    const char *model;             /* a model.bin that a configuration was compiled to */
    fl_session_options session;    /* threads, seed, engine; `train` and `data` are set here */
    const char *resume;            /* NULL, or the file of an interrupted run: the first train runner goes on from it */
    fl_fold_wish fold;             /* the newest model and the newest inference model that a train runner saves */
    bool strict, json, quiet;
    const char *log;               /* "plain", "paddlerec"; NULL: as configured */
    const volatile sig_atomic_t *stop;
} fl_run_options;

/* Relative paths of the configuration are relative to the current folder. */
FL_MUST_USE fl_status fl_run_runners(const fl_run_options *o, fl_diag *dg);

/* `train`: the program that will train (its gradients are means or sums over copies, and the phases must ask for what it does).
 * A train runner's settings and its phases (of size n_phases, filled here) as a plan; the caller adds saves, watcher and where to end. */
FL_MUST_USE fl_status fl_runner_plan(const fl_manifest *m, const fl_graph *train, const fl_runner *r, fl_train_phase *phases, fl_train_plan *plan,
                                     fl_diag *dg);

#endif
