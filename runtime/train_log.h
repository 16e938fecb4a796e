/*
 * train_log.h -- what people and scripts see of training and inference: a watcher (train_report.h) that writes lines.
 *
 *   plain        to `err`: a line each interval, or on a terminal a bar with the time left; the summary to `out`
 *   paddlerec    to `out`: PaddleRec's lines, 1.8's as of July 2020 or 2.x's, to the byte; the summary to `err`
 *   json         to `out`: one object a line
 */
#ifndef FL_RUNTIME_TRAIN_LOG_H
#define FL_RUNTIME_TRAIN_LOG_H

#include <stdio.h>

#include "runtime/inference.h"
#include "runtime/trainer.h"

typedef enum fl_log_kind { FL_LOG_QUIET, FL_LOG_PLAIN, FL_LOG_PADDLEREC_18, FL_LOG_PADDLEREC_2, FL_LOG_JSON } fl_log_kind;

typedef struct fl_train_log {
    fl_log_kind kind;
    fl_print_rule print;      /* when lines are due: plan and tally get it */
    FILE *out, *err;
    bool bar;                 /* `err` is a terminal */
    bool bar_drawn;
    double bar_time;          /* when it was drawn */
    double loss, auc;         /* of the newest line, for the bar */
    int64_t epochs;           /* for the bar; 0: unknown */
    fl_watcher watcher;
} fl_train_log;

/*
 * For a model of this style whose configuration asks for `configured` ("plain", "paddlerec" or NULL). `word` (NULL: none), json and quiet are the
 * command line's. The log must stay where it is: its watcher points at it.
 */
void fl_train_log_init(fl_train_log *log, fl_config_style style, const char *configured, const char *word, bool json, bool quiet);
/* A line of PaddleRec's between its reports; nothing in other logs. */
void fl_train_log_line(fl_train_log *log, const char *format, ...) FL_PRINTF(2, 3);
/* PaddleRec 1.8: its line for each data set that asks for a QueueDataset. */
void fl_train_log_datasets(fl_train_log *log, const fl_manifest *m);
/* "infer": a pass over the rows of `name` is done, or an epoch's model was evaluated. */
void fl_train_log_inferred(fl_train_log *log, const char *phase, const char *epoch, const fl_evaluation *e, float last_loss, double counted_auc);
/* The work ended early: what the terminal shows is tidied up. */
void fl_train_log_stop(fl_train_log *log);
/* At the end of everything. */
void fl_train_log_trained(fl_train_log *log, const fl_train_result *r);

#endif
