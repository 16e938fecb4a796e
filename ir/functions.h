/*
 * functions.h -- model-local functions as graphs: a region of a graph as one node that calls a function, the reverse, and whether two are the same.
 *
 * A node of FL_OP_CALL calls the function of g->functions that its attribute `function` names. The function is a graph of its own: its inputs are the call's operands,
 * in order, with their types, its outputs the call's results; it has no calls itself. Values inside have the names that they had outside.
 */
#ifndef FL_IR_FUNCTIONS_H
#define FL_IR_FUNCTIONS_H

#include "ir/graph.h"

/* The function that a call calls; NULL if the graph has none of that name. */
fl_graph *fl_function_of(const fl_graph *g, fl_id call);
/* The function's name as the call says it. */
const char *fl_function_name(const fl_graph *g, fl_id call);
bool fl_graph_has_calls(const fl_graph *g);
/* g owns f from here on, whose name no other function of g has; on failure f is freed and g->arena.failed set. */
void fl_graph_add_function(fl_graph *g, fl_graph *f);

/*
 * The nodes with inside[node] become one call of a new function `name` (which must be free). g has ORDER, and no path leads from one of them through others to a third. Nodes that do
 * not need the call stand before it, the others behind it, each in the order that they had. Constant nodes and integer constants that nodes inside read are
 * in the function, too, since shapes depend on them. Names and ids of values that are read outside stay.
 */
FL_MUST_USE fl_status fl_functions_outline(fl_graph *g, const char *name, const bool *inside, fl_diag *dg);
/*
 * Every call becomes the nodes of its function, in its place, or where they stood before they were outlined if nodes remember that (fl_node.place): then
 * the graph is as it was. Results keep their ids and names, constants that g has are taken from it. Functions are gone then.
 */
FL_MUST_USE fl_status fl_functions_inline(fl_graph *g, fl_diag *dg);

/*
 * Do a and b compute the same, node by node, from inputs in the same order? Names do not matter, nor the order of nodes, nor how a constant is written; floats
 * are compared as ONNX's files have them, in 32 bits. If not, *differs is the first output that is another (0 if there are not as many).
 */
FL_MUST_USE fl_status fl_functions_equal(const fl_graph *a, const fl_graph *b, bool *equal, uint32_t *differs, fl_diag *dg);

#endif
