/*
 * feed.h -- a batch's arrays as the inputs of a program, found by the inputs' names (ir/README.md, "Four programs").
 *
 * Made once for a program; giving it a batch neither allocates nor copies: the run borrows the batch's arrays.
 */
#ifndef FL_RUNTIME_FEED_H
#define FL_RUNTIME_FEED_H

#include "runtime/batch.h"
#include "runtime/engine.h"

typedef struct fl_feed_input {
    const void *const *fixed; /* address of the pointer to hand on; NULL: of a bag */
    uint32_t bag;             /* index into the batch's bags */
    bool values;              /* of the bag; else its offsets */
    uint32_t symbol;          /* of dimension 0; FL_NONE: a scalar */
    uint32_t extra;           /* dimension 0 is the batch's rows plus this (1 for offsets) */
} fl_feed_input;

typedef struct fl_feed {
    const fl_graph *g;
    /* What a train program reads besides rows; the caller changes them between runs. */
    int64_t step, seed;
    float rate_factor;

    fl_feed_input *in;   /* [n_inputs] */
    const void **inputs; /* [n_inputs] */
    int64_t *dims;       /* [n_symbols] */
    uint32_t bag_rows;   /* the symbol of these, FL_NONE if there is none (ir/rows.h) */
    const void *ids, *label, *scalars[3]; /* of the batch given last; of step, seed, rate_factor */
} fl_feed;

/*
 * For program g of a model with this schema. step and seed start at 0, rate_factor at 1. FL_BAD_INPUT, reported, for an input that no
 * batch of the schema can fill (graphs that do not come from a configuration: `flenrt eval` runs them on tensors).
 * The feed must stay where it is: inputs point into it.
 */
FL_MUST_USE fl_status fl_feed_init(fl_feed *f, const fl_graph *g, const fl_schema *schema, fl_diag *dg);
void fl_feed_deinit(fl_feed *f); /* a zeroed one is fine */
/* The rows of b as a run without outputs, valid until the batch changes or the next call. */
fl_run fl_feed_run(fl_feed *f, const fl_batch *b);

#endif
