#include "ir/verify.h"

#include "ir/schedule.h"
#include "ir/shape.h"

#include <string.h>

/*
 * Rules are checked one after another and all broken ones are reported; a rule that indexes by an id comes after the
 * one that says that ids are in range, and is left out if that one is broken.
 */
typedef struct check {
    fl_graph *g;
    fl_diag *dg;
    uint32_t broken;
} check;

static const char *node_label(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    if (n->name)
        return n->name;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE && n->out[i] < g->n_values && g->values[n->out[i]].name)
            return g->values[n->out[i]].name;
    return "";
}

#define BREAKS(c, node, ...)                                                                                 \
    ((c)->broken++, (void)fl_error((c)->dg, FL_E_VERIFY, (c)->g->nodes[node].origin.loc, __VA_ARGS__))
#define BREAKS_GRAPH(c, ...) ((c)->broken++, (void)fl_error((c)->dg, FL_E_VERIFY, FL_NOWHERE, __VA_ARGS__))

static bool is_live(const fl_graph *g, fl_id v)
{
    return v < g->n_values && g->values[v].name != NULL;
}

static void check_names(check *c)
{
    for (fl_id v = 0; v < c->g->n_values; v++) {
        const char *name = c->g->values[v].name;
        if (name && fl_graph_find(c->g, name) != v)
            BREAKS_GRAPH(c, "graph \"%s\": two values are named \"%s\"", c->g->name, name);
    }
}

static void check_counts(check *c, fl_id node)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_op_info *op = fl_op_get(n->op);
    const char *label = node_label(c->g, node);

    if (n->n_in < op->min_in || (op->max_in != FL_MANY && n->n_in > op->max_in))
        BREAKS(c, node, "node \"%s\" (%s) has %u inputs, which must be %u to %u", label, op->name, n->n_in, op->min_in,
               op->max_in == FL_MANY ? UINT16_MAX : op->max_in);
    if (n->n_out < op->min_out || (op->max_out != FL_MANY && n->n_out > op->max_out))
        BREAKS(c, node, "node \"%s\" (%s) has %u outputs, which must be %u to %u", label, op->name, n->n_out, op->min_out,
               op->max_out == FL_MANY ? UINT16_MAX : op->max_out);
}

/* Ids in range, results that say who makes them. */
static void check_ids(check *c, fl_id node)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];
    const char *label = node_label(g, node), *op = fl_op_get(n->op)->name;

    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] != FL_NONE && !is_live(g, n->in[k]))
            BREAKS(c, node, "node \"%s\" (%s) reads, as input %u, a value that does not exist", label, op, k);
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] == FL_NONE)
            continue;
        if (!is_live(g, n->out[k]))
            BREAKS(c, node, "node \"%s\" (%s) makes, as output %u, a value that does not exist", label, op, k);
        else if (g->values[n->out[k]].kind != FL_VALUE_NODE || g->values[n->out[k]].node != node || g->values[n->out[k]].out != k)
            BREAKS(c, node, "value \"%s\", output %u of node \"%s\" (%s), is assigned elsewhere too", g->values[n->out[k]].name, k,
                   label, op);
    }
}

static void check_order(check *c, fl_id node)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < n->n_in; k++) {
        fl_id producer = fl_value_node(g, n->in[k]);
        if (producer == FL_NONE)
            continue;
        if (producer >= g->n_nodes || g->nodes[producer].op == FL_OP_NOP)
            BREAKS(c, node, "node \"%s\" (%s) reads \"%s\", which no node makes", node_label(g, node), fl_op_get(n->op)->name,
                   g->values[n->in[k]].name);
        else if (producer >= node)
            BREAKS(c, node, "node \"%s\" (%s) reads \"%s\" before it is made", node_label(g, node), fl_op_get(n->op)->name,
                   g->values[n->in[k]].name);
    }
}

static void check_list(check *c, const fl_id *list, uint32_t n, fl_value_kind kind, bool any_kind, const char *what)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!is_live(c->g, list[i]))
            BREAKS_GRAPH(c, "graph \"%s\": %s %u does not exist", c->g->name, what, i);
        else if (!any_kind && c->g->values[list[i]].kind != kind)
            BREAKS_GRAPH(c, "graph \"%s\": \"%s\" is listed as %s and is something else", c->g->name,
                         c->g->values[list[i]].name, what);
    }
}

static void check_leaves(check *c)
{
    const fl_graph *g = c->g;

    check_list(c, g->inputs, g->n_inputs, FL_VALUE_INPUT, false, "input");
    check_list(c, g->outputs, g->n_outputs, FL_VALUE_NODE, true, "output");
    check_list(c, g->variables, g->n_variables, FL_VALUE_VARIABLE, true, "variable");
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = is_live(g, g->variables[i]) ? &g->values[g->variables[i]] : NULL;
        if (v && v->kind == FL_VALUE_CONSTANT && !v->data)
            BREAKS_GRAPH(c, "graph \"%s\": constant \"%s\" has no data", g->name, v->name);
        if (v && v->data && v->data->bytes && v->type.dtype != FL_STRING &&
            fl_type_elements(&v->data->type) * (int64_t)fl_dtype_size(v->data->type.dtype) != (int64_t)v->data->length)
            BREAKS_GRAPH(c, "graph \"%s\": the data of \"%s\" have %llu bytes, which its type does not", g->name, v->name,
                         (unsigned long long)v->data->length);
    }
}

static void check_updates(check *c)
{
    const fl_graph *g = c->g;

    for (uint32_t i = 0; i < g->n_updates; i++) {
        fl_update u = g->updates[i];
        if (!is_live(g, u.variable) || !is_live(g, u.next) || g->values[u.variable].kind != FL_VALUE_VARIABLE) {
            BREAKS_GRAPH(c, "graph \"%s\": update %u does not give a variable a value", g->name, i);
            continue;
        }
        for (uint32_t k = 0; k < i; k++)
            if (g->updates[k].variable == u.variable)
                BREAKS_GRAPH(c, "graph \"%s\": variable \"%s\" is updated twice", g->name, g->values[u.variable].name);
        const fl_type *a = fl_value_type(g, u.variable), *b = fl_value_type(g, u.next);
        char was[128], now[128];
        if (b->rank >= 0 && a->rank >= 0 && !fl_type_equal(a, b)) {
            fl_type_print(g, a, was, sizeof was);
            fl_type_print(g, b, now, sizeof now);
            BREAKS_GRAPH(c, "graph \"%s\": variable \"%s\" is %s, its next value %s", g->name, g->values[u.variable].name, was, now);
        }
    }
}

static void check_schedule(check *c)
{
    const fl_graph *g = c->g;
    const fl_schedule *s = g->schedule;
    uint32_t phase = 0;

    if (s->storage && s->n_storage != g->n_values)
        BREAKS_GRAPH(c, "graph \"%s\": the schedule places %u values of %u", g->name, s->n_storage, g->n_values);
    for (uint32_t i = 0; i < s->n_segments; i++) {
        if (s->segments[i].phase < phase)
            BREAKS_GRAPH(c, "graph \"%s\": segment \"%s\" stands behind one of a later phase", g->name, s->segments[i].symbol);
        phase = s->segments[i].phase;
        for (uint32_t k = 0; k < s->segments[i].n_nodes; k++)
            if (s->segments[i].nodes[k] >= g->n_nodes)
                BREAKS_GRAPH(c, "graph \"%s\": segment \"%s\" runs a node that does not exist", g->name, s->segments[i].symbol);
    }
    for (uint32_t v = 0; s->storage && v < s->n_storage && v < g->n_values; v++)
        if (s->storage[v].kind == FL_STORAGE_BUFFER && s->storage[v].buffer >= s->n_buffers)
            BREAKS_GRAPH(c, "graph \"%s\": \"%s\" lies in a buffer that does not exist", g->name,
                         g->values[v].name ? g->values[v].name : "");
}

fl_status fl_graph_verify(fl_graph *g, fl_diag *dg)
{
    check c = {g, dg, 0};

    check_names(&c);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_NOP)
            continue;
        check_counts(&c, i);
        check_ids(&c, i);
    }
    check_leaves(&c);
    if (c.broken == 0) {
        for (fl_id i = 0; i < g->n_nodes; i++)
            if (g->nodes[i].op != FL_OP_NOP)
                check_order(&c, i);
        check_updates(&c);
        if (g->schedule)
            check_schedule(&c);
    }
    if (c.broken > 0)
        return FL_BAD_INPUT;
    return fl_shape_infer(g, dg); /* types, which the inference compares with those that stand there */
}
