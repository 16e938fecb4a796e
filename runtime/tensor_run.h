/*
 * tensor_run.h -- one run of a program on whole tensors by name: what `flenrt eval` does.
 */
#ifndef FL_RUNTIME_TENSOR_RUN_H
#define FL_RUNTIME_TENSOR_RUN_H

#include "runtime/tensor_indices.h"

/*
 * Run program p of a session on inputs [n_inputs] and give outputs [n_outputs], in the order of the graph's; the outputs' bytes are malloc'ed, and
 * the caller's. `interpret` (fl_interp_engine_new) computes indices that are to be checked. Reported against input and symbol: wrong type or shape, extents
 * that contradict each other, an index outside its table, outputs whose shape only a run can tell.
 */
FL_MUST_USE fl_status fl_tensor_run(fl_session *s, fl_program p, fl_interpret_fn *interpret, const fl_array *inputs, fl_array *outputs, fl_diag *dg);

#endif
