/*
 * tensor_time.h -- how long runs of a program on tensors take: `flenrt eval --measure`.
 */
#ifndef FL_RUNTIME_TENSOR_TIME_H
#define FL_RUNTIME_TENSOR_TIME_H

#include "runtime/tensor_run.h"

/* Seconds of single runs. */
typedef struct fl_tensor_times {
    double least, p50, p99, most;
    int64_t runs;
} fl_tensor_times;

/*
 * Runs program p on `batch` rows of the inputs at a time, one part after the other and again, for `seconds` after a third of that to warm up. The inputs
 * are those of a fl_tensor_run that went well: indices are not checked again. Reported: inputs whose leading dimension is not the batch, or that have
 * fewer rows.
 */
FL_MUST_USE fl_status fl_tensor_time(fl_session *s, fl_program p, const fl_array *inputs, int64_t batch, double seconds, fl_tensor_times *out, fl_diag *dg);

#endif
