/*
 * shape.h -- types and shapes of outputs from those of inputs; one function an operator, named by ops.def.
 */
#ifndef FL_IR_SHAPE_H
#define FL_IR_SHAPE_H

#include "ir/graph.h"

/*
 * Infer and set the types of node's outputs. Unknown input types give unknown outputs, silently. Inputs that break the
 * operator's rules give FL_BAD_INPUT, reported with node, operator and shapes; an output that already has a type
 * must be compatible: the more exact one wins.
 */
FL_MUST_USE fl_status fl_shape_infer_node(fl_graph *g, fl_id node, fl_diag *dg);
/* All nodes, in order. */
FL_MUST_USE fl_status fl_shape_infer(fl_graph *g, fl_diag *dg);

/* numpy's broadcast of two shapes into *out; false if they do not fit. Equal symbols fit; a symbol fits 1. */
bool fl_shape_broadcast(const fl_type *a, const fl_type *b, fl_type *out);
/* "float[batch,32]" into `text`; cut to `size`. */
void fl_type_print(const fl_graph *g, const fl_type *t, char *text, size_t size);

#endif
