/*
 * fuse_output.c -- the last layers of a prediction, from what they join to the graph's outputs, become one call of a function, OutputLayer.
 *
 * Needs ORDER and SHAPES, keeps both. O(nodes + operands).
 *
 * Backwards from the outputs: elementwise nodes and views, as far as nobody else reads their results, up to and with products with weights, and what is put side by side for these
 * alone. A Concat in front of a product costs nothing in code, and a sigmoid behind it is part of it there: in what a reader sees they are one layer, too. Two nodes at
 * least, one of them a product. Where a value comes that others read, or anything else, the function has an operand. As with `fuse-embedding`, code does not
 * change: `inline-functions` puts the nodes back.
 */
#include "ir/functions.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct tail {
    const fl_graph *g;
    bool *outside;  /* [n_values]: a node outside reads it */
    bool *read;     /* [n_values]: a node inside reads it */
    bool *factor;   /* [n_values]: only as a factor of products inside, or a part of one */
    bool *inside;   /* [n_nodes] */
} tail;

/* All results belong to nodes inside or to the graph's outputs, and some do. */
static bool only_inside(const tail *t, const fl_node *n, const bool *is_output, bool *factor)
{
    bool any = false;
    *factor = true;
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] == FL_NONE)
            continue;
        if (t->outside[n->out[k]])
            return false;
        any = any || t->read[n->out[k]] || is_output[n->out[k]];
        *factor = *factor && t->factor[n->out[k]] && !is_output[n->out[k]];
    }
    return any;
}

/* Behind the product all that is elementwise or a view; in front of it only views: the rest is another layer's. */
static bool joins(const fl_node *n, bool factor)
{
    if (!fl_op_has(n->op, FL_PURE) || n->op == FL_OP_CALL)
        return false;
    return factor ? n->op == FL_OP_CONCAT : fl_op_has(n->op, FL_ELEMENTWISE | FL_VIEW | FL_PRODUCT);
}

fl_status fl_pass_fuse_output(fl_graph *g, fl_pass_ctx *cx)
{
    tail t = {.g = g};
    bool *is_output = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    t.outside = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    t.read = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    t.factor = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    t.inside = fl_arena_new(&cx->scratch, bool, g->n_nodes + 1u);
    uint32_t n_inside = 0, n_products = 0;
    if (cx->scratch.failed)
        return fl_out_of_memory(cx->diag);
    if (g->n_updates > 0)
        return FL_OK;
    for (uint32_t i = 0; i < g->n_functions; i++)
        if (strcmp(g->functions[i]->name, "OutputLayer") == 0)
            return FL_OK;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        is_output[g->outputs[i]] = true;
    for (fl_id v = 0; v < g->n_values; v++)
        t.factor[v] = true;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        bool factor, in = n->op != FL_OP_NOP && only_inside(&t, n, is_output, &factor) && joins(n, factor);
        bool product = in && fl_op_has(n->op, FL_PRODUCT);
        t.inside[i] = in;
        n_inside += in;
        n_products += product;
        for (uint32_t k = 0; k < n->n_in; k++) {
            if (n->in[k] == FL_NONE)
                continue;
            (in ? t.read : t.outside)[n->in[k]] = true;
            t.factor[n->in[k]] = t.factor[n->in[k]] && in && (product || factor);
        }
    }
    if (n_inside < 2 || n_products == 0)
        return FL_OK;
    cx->n_changed = n_inside;
    return fl_functions_outline(g, "OutputLayer", t.inside, cx->diag);
}
