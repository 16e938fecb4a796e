/*
 * tensor_predict.h -- predictions of a model that takes tensors, a line a row: what `flenrt predict` does with imported models.
 */
#ifndef FL_RUNTIME_TENSOR_PREDICT_H
#define FL_RUNTIME_TENSOR_PREDICT_H

#include <signal.h>
#include <stdio.h>

#include "runtime/tensor_rows.h"

typedef struct fl_tensor_prediction {
    int64_t batch;  /* rows of a run; 0: 1024 */
    bool json;
    FILE *f;        /* its failures are found by whoever closes it */
    const volatile sig_atomic_t *stop; /* FL_INTERRUPTED, reported, once it is not 0 */
} fl_tensor_prediction;

/*
 * The predict program over all rows. CSV: the header `row,OUTPUT,...`, an output of several numbers a row as OUTPUT.0, OUTPUT.1, ...; numbers with 9 significant digits. JSON: an
 * object a row, such outputs as arrays, null for what is not finite, and `done` at the end. Reported: outputs that have no rows.
 */
FL_MUST_USE fl_status fl_tensor_predict(const fl_tensor_prediction *o, fl_session *s, const fl_tensor_rows *rows, fl_diag *dg);

#endif
