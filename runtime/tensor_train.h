/*
 * tensor_train.h -- training on rows of tensors: what `flenrt train` does with a model whose training step came from an ONNX file, by the standard's operators.
 */
#ifndef FL_RUNTIME_TENSOR_TRAIN_H
#define FL_RUNTIME_TENSOR_TRAIN_H

#include <signal.h>

#include "runtime/tensor_rows.h"

typedef struct fl_tensor_training {
    int64_t batch, epochs; /* rows of a step: at most those there are; a last part smaller than a batch is a step of its own */
    void (*epoch)(void *arg, int64_t epoch, int64_t steps, double loss); /* told after each epoch: the mean over its steps */
    void *arg;
    const volatile sig_atomic_t *stop; /* FL_INTERRUPTED, reported, once it is not 0 */
} fl_tensor_training;

/*
 * Steps in the order of the rows. The loss is output "loss", else the first one that is a float scalar. Reported: there is none; it became NaN or infinite (FL_E_DIVERGED), and then
 * nothing should be saved.
 */
FL_MUST_USE fl_status fl_tensor_train(const fl_tensor_training *o, fl_session *s, const fl_tensor_rows *rows, fl_diag *dg);

#endif
