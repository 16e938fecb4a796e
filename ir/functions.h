/*
 * functions.h -- model-local functions as graphs: whether two are the same.
 */
#ifndef FL_IR_FUNCTIONS_H
#define FL_IR_FUNCTIONS_H

#include "ir/graph.h"

/*
 * Do a and b compute the same, node by node, from inputs in the same order? Names do not matter, nor the order of nodes, nor how a constant is written; floats
 * are compared as ONNX's files have them, in 32 bits. If not, *differs is the first output that is another (0 if there are not as many).
 */
FL_MUST_USE fl_status fl_functions_equal(const fl_graph *a, const fl_graph *b, bool *equal, uint32_t *differs, fl_diag *dg);

#endif
