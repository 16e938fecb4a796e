/*
 * widen_halves.c -- arithmetic in 16-bit floats becomes arithmetic in floats.
 *
 * Native code computes in floats and doubles. A 16-bit float is a form to keep numbers in: inputs, weights and results have it still, and become floats where they are
 * read, by a Cast; tables stay as they are, and the rows that are looked up in them become floats. A Cast to 16 bits in between becomes one to float: nothing is
 * rounded on the way, as the interpreter does not round either.
 *
 * Needs ORDER and SHAPES, keeps SHAPES: Casts stand at the end. O(nodes + operands); graphs without 16-bit floats are looked at once.
 */
#include "passes/rewrite.h"

#include <string.h>

typedef struct widening {
    fl_graph *g;
    fl_id *wide; /* [n_values] the float that stands for a 16-bit value; FL_NONE: not made yet */
    uint32_t n_values;
} widening;

static bool is_half(const fl_graph *g, fl_id v)
{
    fl_dtype t = v == FL_NONE ? FL_DTYPE_NONE : fl_value_type(g, v)->dtype;
    return t == FL_FLOAT16 || t == FL_BFLOAT16;
}

/* Inputs, weights, and what a node makes in the type that it is told, or that its table has. */
static bool stays_half(const fl_graph *g, fl_id v)
{
    fl_id node = fl_value_node(g, v);
    if (node == FL_NONE)
        return true;
    switch ((int)g->nodes[node].op) { /* how an operator comes by its type is no trait */
    case FL_OP_CONSTANT:
    case FL_OP_CONSTANT_OF_SHAPE:
    case FL_OP_EYE_LIKE:
    case FL_OP_UNIFORM_LIKE:
        return true;
    case FL_OP_GATHER:
        return fl_value_node(g, g->nodes[node].in[0]) == FL_NONE && is_half(g, g->nodes[node].in[0]);
    }
    return false;
}

/* The operand as it is wanted: a float, but for the table of a look-up and what a Cast reads. */
static fl_id operand(widening *w, fl_id node, uint32_t k)
{
    fl_graph *g = w->g;
    fl_id v = g->nodes[node].in[k];
    bool as_it_is = g->nodes[node].op == FL_OP_CAST || (g->nodes[node].op == FL_OP_GATHER && k == 0 && fl_value_node(g, v) == FL_NONE);

    if (v == FL_NONE || v >= w->n_values)
        return v;
    if (w->wide[v] != FL_NONE)
        return w->wide[v];
    if (!is_half(g, v) || as_it_is || !stays_half(g, v))
        return v;
    return w->wide[v] = fl_build_cast(g, "wide", v, FL_FLOAT);
}

static bool is_result(const fl_graph *g, fl_id v)
{
    for (uint32_t u = 0; u < g->n_updates; u++)
        if (g->updates[u].next == v)
            return true;
    return fl_value_is_output(g, v);
}

/* The node makes a float, and a Cast makes of it the result that the program has by name. */
static void narrow_result(widening *w, fl_id node, uint32_t k)
{
    fl_graph *g = w->g;
    fl_id old = g->nodes[node].out[k], cast = fl_node_new(g, FL_OP_CAST, "wide", &old, 1, 1);
    if (cast == FL_NONE)
        return;
    fl_id made = g->nodes[cast].out[0];
    fl_node_set_int(g, cast, "to", (int64_t)fl_value_type(g, old)->dtype);
    g->values[made].type = *fl_value_type(g, old);
    g->values[made].type.dtype = FL_FLOAT;
    g->values[made].node = node;
    g->values[made].out = k;
    g->values[old].node = cast;
    g->values[old].out = 0;
    g->nodes[node].out[k] = made;
    g->nodes[cast].in[0] = made;
    g->nodes[cast].out[0] = old;
    w->wide[old] = made;
}

static void widen_results(widening *w, fl_id node)
{
    fl_graph *g = w->g;
    bool any = false;

    for (uint32_t k = 0; k < g->nodes[node].n_out; k++) {
        fl_id v = g->nodes[node].out[k];
        if (!is_half(g, v) || stays_half(g, v))
            continue;
        any = true;
        if (is_result(g, v))
            narrow_result(w, node, k);
        else
            g->values[v].type.dtype = FL_FLOAT;
    }
    if (any && g->nodes[node].op == FL_OP_CAST)
        fl_node_set_int(g, node, "to", FL_FLOAT);
}

static bool has_halves(const fl_graph *g)
{
    for (fl_id v = 0; v < g->n_values; v++)
        if (g->values[v].name && is_half(g, v))
            return true;
    return false;
}

fl_status fl_pass_widen_halves(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t n_nodes = g->n_nodes;
    widening w = {.g = g, .n_values = g->n_values};

    if (!has_halves(g))
        return FL_OK;
    w.wide = fl_arena_new(&cx->scratch, fl_id, g->n_values + 1u);
    if (!w.wide)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        w.wide[v] = FL_NONE;
    for (fl_id i = 0; i < n_nodes; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = operand(&w, i, k);
            cx->n_changed += v != g->nodes[i].in[k];
            g->nodes[i].in[k] = v;
        }
        widen_results(&w, i);
    }
    return fl_graph_ok(g, cx->diag);
}
