/*
 * bodies.h -- what operators of domain ai.flen mean, in standard operators: the bodies of the model-local functions that files carry.
 *
 * ONNX functions are neither variadic nor overloaded, so there is one function for each instance of an operator, named after what its body
 * depends on: FieldPool_13_3_7_squares. The operator's name comes first and holds no "_", so that a reader finds the operator again; all
 * of its attributes are declared by the function and stand on the calling node as they stand on ours. The random ones,
 * training over distinct rows, optimisers and first weights have no body.
 */
#ifndef FL_IR_BODIES_H
#define FL_IR_BODIES_H

#include "ir/graph.h"

/* Has `op` a body? Standard operators have none: they need none. */
bool fl_body_exists(fl_op op);
/* Names of all attributes of an operator that has a body, ended by NULL. */
const char *const *fl_body_attributes(fl_op op);
/* The name of node's function, in `arena`; NULL if out of memory, or if an attribute has a value that ir/README.md does not know. */
const char *fl_body_name(const fl_graph *g, fl_id node, fl_arena *arena);
/* The operator of a function's name; FL_N_OPS if it is none of ours. */
fl_op fl_body_op(const char *function);
/*
 * The body: a graph of standard operators whose inputs are node's operands in order (those left out are left out) and whose outputs are
 * all of its outputs, wanted or not. Depends on attributes and on which operands there are, never on types; where
 * those are known, inputs have them and the rest is inferred. FL_UNSUPPORTED (reported) if there is no body.
 */
FL_MUST_USE fl_status fl_body_build(const fl_graph *g, fl_id node, fl_graph **out, fl_diag *dg);

/*
 * Every operator of ours in g becomes the nodes of its body, under names "OUTPUT/NAME"; outputs keep their names. FL_UNSUPPORTED (reported) if one has no
 * body: g is then half changed.
 */
FL_MUST_USE fl_status fl_bodies_inline(fl_graph *g, fl_diag *dg);

#endif
