/*
 * tensor_rows.h -- rows for programs whose inputs are plain tensors: imported models, which have no schema.
 *
 * The rows of an input are its leading dimension, where that is a symbol: the batch. Where several inputs have leading symbols of their own, all of them are the
 * batch. Other symbols have one extent for all rows (a sequence's length); inputs without the batch are the same for all rows. A model without symbols has one run, whose rows are the leading dimension that all inputs share, or one.
 */
#ifndef FL_RUNTIME_TENSOR_ROWS_H
#define FL_RUNTIME_TENSOR_ROWS_H

#include "runtime/index_bounds.h"
#include "runtime/tensor_indices.h"

typedef struct fl_tensor_rows {
    const fl_session *session;
    fl_program program;
    fl_array *inputs;  /* [n_inputs] all rows */
    bool *has_rows;    /* [n_inputs] the leading dimension is the batch */
    int64_t *dims;     /* [n_symbols] extents, of the batch n; -1: no input has the symbol */
    bool *is_batch;    /* [n_symbols] */
    int64_t n;         /* rows */
    bool whole;        /* no input has the batch: there is one run, of all rows */
    fl_tensor_indices indices; /* what these rows look up, checked against the tables; empty where a session interprets */
} fl_tensor_rows;

typedef struct fl_tensor_source {
    const char *extents; /* "seq=50,k=3": extents of dimensions beside the batch; NULL: none are given */
    const char *path;       /* a folder of NAME.npy, one .npy file (a program of one input), or CSV (tensor_csv.h); NULL: rows are drawn */
    int64_t n;              /* how many are drawn */
    double skew;            /* of drawn ids: Zipf's exponent */
    uint64_t seed;
    fl_interpret_fn *interpret; /* computes indices that are to be checked */
} fl_tensor_source;

/* True: the model's rows are tensors and not those of a schema. */
static inline bool fl_takes_tensors(const fl_session *s)
{
    return s->manifest->schema.n_slots == 0;
}

/*
 * All rows of a program's inputs, and what they look up. Drawn ones: elements that are looked up by (index_bounds.h) by Zipf's law, scattered over the rows that they may
 * name; other floats normal, other whole numbers and truths 0 or 1. Reported against input and symbol: what does not fit (FL_E_EVAL_INPUT), and rows that a table does not
 * have. On failure nothing is to be freed.
 */
FL_MUST_USE fl_status fl_tensor_rows_make(fl_tensor_rows *t, const fl_session *s, fl_program p, const fl_tensor_source *from, fl_diag *dg);
void fl_tensor_rows_deinit(fl_tensor_rows *t); /* a zeroed one is fine */
/* All rows as one run without outputs; what it points to lives in `inputs` [n_inputs], the caller's. */
fl_run fl_tensor_rows_run(const fl_tensor_rows *t, const void **inputs);

/* Some of the rows as the inputs of a run. */
typedef struct fl_tensor_window {
    const fl_tensor_rows *rows;
    int64_t batch;
    const void **inputs; /* [n_inputs] */
    void **outputs;      /* [n_outputs] arrays of the window's */
    fl_type *types;      /* [n_outputs] their static types */
    int64_t *dims;       /* [n_symbols] */
} fl_tensor_window;

/* For runs of at most `batch` rows. Reported: outputs whose shape does not follow from the inputs'. */
FL_MUST_USE fl_status fl_tensor_window_init(fl_tensor_window *w, const fl_tensor_rows *rows, int64_t batch, fl_diag *dg);
void fl_tensor_window_deinit(fl_tensor_window *w); /* a zeroed one is fine */
/* Rows [first, first + n), n <= batch; a smaller n than before changes `types`. Valid until the next call. */
fl_run fl_tensor_window_at(fl_tensor_window *w, int64_t first, int64_t n);

#endif
