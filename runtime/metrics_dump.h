/*
 * metrics_dump.h -- every batch's AUC and BATCH_AUC in one JSON file: PaddleRec's `runner_result_dump_path`.
 *
 * The file is a list with an object for each batch: {"AUC": [...], "BATCH_AUC": [...]}, an entry for each copy.
 */
#ifndef FL_RUNTIME_METRICS_DUMP_H
#define FL_RUNTIME_METRICS_DUMP_H

#include <jansson.h>

#include "ir/base/diag.h"
#include "runtime/train_report.h"

typedef struct fl_metrics_dump {
    fl_watcher watcher;      /* collects, and hands on to `next` */
    const fl_watcher *next;
    const char *path;        /* NULL: only hands on */
    json_t *batches;
    bool by_epoch;           /* after each phase: written to PATH_epoch_<epoch> */
    bool no_memory;
    fl_status status;        /* of what was written after phases */
} fl_metrics_dump;

/* Stays where it is: its watcher points at it. */
void fl_metrics_dump_init(fl_metrics_dump *d, const fl_watcher *next, const char *path);
void fl_metrics_dump_deinit(fl_metrics_dump *d);
/* Files that were written by epoch: FL_IO, reported, if one failed. */
FL_MUST_USE fl_status fl_metrics_dump_status(const fl_metrics_dump *d, fl_diag *dg);
/* Write what was collected to the path with the suffix (NULL: none) and begin anew. */
FL_MUST_USE fl_status fl_metrics_dump_write(fl_metrics_dump *d, const char *suffix, fl_diag *dg);

#endif
