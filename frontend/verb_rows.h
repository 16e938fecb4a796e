/*
 * verb_rows.h -- rows of data as the inputs of a forward graph, read by the configuration's schema as `flenrt` reads them. Part of the command line.
 */
#ifndef FL_FRONTEND_VERB_ROWS_H
#define FL_FRONTEND_VERB_ROWS_H

#include "backend/trial.h"
#include "frontend/verb_graph.h"
#include "runtime/feed.h"
#include "runtime/vocabulary.h"

typedef struct fl_rows {
    fl_batch batch;
    fl_feed feed;
    fl_vocabulary *vocabulary;
    fl_trial_given *given; /* [n_given] one for each input of the graph, borrowed from the batch */
    uint32_t n_given;
    int64_t table_rows;    /* of the packed table */
} fl_rows;

/*
 * The first n rows at `path` (all, if there are fewer) for the graph of `in`, which has to have a schema. A model that has seen data reads with its
 * vocabulary; any other counts the values of all rows at `path` first. The caller ends *out, also after a failure.
 */
FL_MUST_USE fl_status fl_rows_read(fl_input *in, const char *path, int64_t n, fl_rows *out, fl_diag *dg);
void fl_rows_deinit(fl_rows *r);
/* Stored weights of a model.bin become the data of the variables of its forward graph. */
FL_MUST_USE fl_status fl_rows_attach_weights(fl_input *in, fl_diag *dg);

#endif
