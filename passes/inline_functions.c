/*
 * inline_functions.c -- the nodes of functions in the place of their calls, under their own names: segments are cut through what the graph computes, not through
 * how it is shown.
 *
 * Needs nothing. Keeps ORDER and SHAPES. O(nodes of the graph and its functions).
 */
#include "ir/functions.h"
#include "passes/pass.h"

fl_status fl_pass_inline_functions(fl_graph *g, fl_pass_ctx *cx)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        cx->n_changed += g->nodes[i].op == FL_OP_CALL;
    return fl_functions_inline(g, cx->diag);
}
