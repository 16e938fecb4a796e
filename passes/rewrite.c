#include "passes/rewrite.h"

#include "ir/graph_meta.h"

#include <string.h>

bool fl_value_is_output(const fl_graph *g, fl_id value)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == value)
            return true;
    return false;
}

/* `old`, an output, gives its name to `with`, a node's result, and takes another. */
static void hand_name(fl_graph *g, fl_id old, fl_id with)
{
    const char *name = g->values[old].name, *spare = g->values[with].name;
    g->values[old].name = NULL;
    g->values[with].name = NULL;
    fl_value_rename(g, with, name);
    fl_value_rename(g, old, fl_graph_fresh_name(g, spare));
}

static bool has_origin(const fl_origin *o)
{
    return o->loc.file || o->pass || o->from;
}

void fl_mark_made_from(fl_graph *g, fl_id first, fl_id from)
{
    fl_id node = fl_value_node(g, from);
    const fl_origin *source = node == FL_NONE ? &g->values[from].origin : &g->nodes[node].origin;
    fl_loc loc = source->loc;
    for (fl_id i = first; i < g->n_nodes; i++)
        if (i != node && !has_origin(&g->nodes[i].origin)) {
            g->nodes[i].origin.from = g->values[from].name;
            g->nodes[i].origin.loc = loc;
        }
}

bool fl_rewrite_value(fl_graph *g, fl_id old, fl_id with)
{
    enum { FEW = 64 }; /* nodes that one replacement takes at most */
    fl_id first = g->n_nodes;
    if (old == with)
        return false;
    while (first > 0 && g->n_nodes - first < FEW && g->nodes[first - 1].op != FL_OP_NOP && !has_origin(&g->nodes[first - 1].origin))
        first--;
    fl_mark_made_from(g, first, old);
    if (fl_value_is_output(g, old)) {
        if (g->values[with].kind != FL_VALUE_NODE || fl_value_is_output(g, with))
            return false;
        hand_name(g, old, with);
    }
    fl_graph_replace(g, old, with);
    return true;
}

bool fl_rewriter_init(fl_rewriter *r, fl_graph *g, fl_arena *scratch)
{
    *r = (fl_rewriter){.g = g, .scratch = scratch, .n_map = g->n_values, .fresh = g->n_nodes};
    r->map = fl_arena_new(scratch, fl_id, g->n_values);
    r->output = fl_arena_new(scratch, bool, g->n_values);
    if (!r->map || !r->output)
        return false;
    for (fl_id v = 0; v < g->n_values; v++)
        r->map[v] = v;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        r->output[g->outputs[i]] = true;
    return true;
}

fl_id fl_rewriter_get(const fl_rewriter *r, fl_id v)
{
    while (v != FL_NONE && v < r->n_map && r->map[v] != v)
        v = r->map[v];
    return v;
}

/* Is `v`, of whatever age, an output by now? */
static bool is_output(const fl_rewriter *r, fl_id v)
{
    return v < r->n_map ? r->output[v] : v - r->n_map < r->n_named && r->named[v - r->n_map];
}

/* False, and the graph is marked, if out of memory. */
static bool mark_output(fl_rewriter *r, fl_id v)
{
    if (v < r->n_map)
        return r->output[v] = true;
    while (r->n_named <= v - r->n_map)
        if (!FL_PUSH(r->scratch, r->named, r->n_named, r->named_capacity, false)) {
            r->g->arena.failed = true;
            return false;
        }
    return r->named[v - r->n_map] = true;
}

bool fl_rewriter_put(fl_rewriter *r, fl_id old, fl_id with)
{
    fl_graph *g = r->g;
    with = fl_rewriter_get(r, with);
    if (old == with || old >= r->n_map || with == FL_NONE)
        return false;
    fl_mark_made_from(g, r->fresh, old);
    r->fresh = g->n_nodes;
    if (r->output[old]) {
        if (g->values[with].kind != FL_VALUE_NODE || is_output(r, with) || !mark_output(r, with))
            return false;
        hand_name(g, old, with);
        r->output[old] = false;
    }
    r->map[old] = with;
    return true;
}

void fl_rewriter_apply(fl_rewriter *r)
{
    fl_graph *g = r->g;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            g->nodes[i].in[k] = fl_rewriter_get(r, g->nodes[i].in[k]);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        g->outputs[i] = fl_rewriter_get(r, g->outputs[i]);
    for (uint32_t i = 0; i < g->n_updates; i++)
        g->updates[i].next = fl_rewriter_get(r, g->updates[i].next);
}

/* ------------------------------------------------------------------------------------------------- dead code */

/* Outputs of our own operators beyond the fewest may be left out one by one (FieldPool's fields). */
static bool may_drop_outputs(const fl_node *n)
{
    const fl_op_info *op = fl_op_get(n->op);
    return op->domain[0] != '\0' && op->max_out > op->min_out;
}

bool fl_erase_dead(fl_graph *g, fl_arena *scratch, uint32_t *n_erased)
{
    uint32_t *uses = fl_graph_count_uses(g, scratch);
    if (!uses)
        return false;
    /* Backwards, so that a dead chain falls in one sweep. */
    for (uint32_t i = g->n_nodes; i-- > 0;) {
        fl_node *n = &g->nodes[i];
        bool used = n->op == FL_OP_NOP || !fl_op_has(n->op, FL_PURE);
        for (uint32_t k = 0; k < n->n_out; k++)
            used = used || (n->out[k] != FL_NONE && uses[n->out[k]] > 0);
        for (uint32_t k = 0; used && may_drop_outputs(n) && k < n->n_out; k++) {
            if (n->out[k] == FL_NONE || uses[n->out[k]] > 0)
                continue;
            g->values[n->out[k]].name = NULL;
            n->out[k] = FL_NONE;
            ++*n_erased;
        }
        if (used)
            continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                uses[n->in[k]]--;
        fl_node_erase(g, i);
        ++*n_erased;
    }
    return true;
}

bool fl_drop_unused(fl_graph *g, fl_arena *scratch, bool variables)
{
    uint32_t *uses = fl_graph_count_uses(g, scratch), n = 0, n_params = 0;
    if (!uses)
        return false;
    for (uint32_t i = 0; i < g->n_updates; i++)
        uses[g->updates[i].variable]++;
    for (uint32_t i = 0; i < g->n_variables; i++) {
        fl_id v = g->variables[i];
        bool constant = g->values[v].kind == FL_VALUE_CONSTANT;
        if (uses[v] > 0 || !(constant || variables))
            g->variables[n++] = v;
        else
            g->values[v].name = NULL;
    }
    g->n_variables = n;
    for (uint32_t i = 0; i < g->n_params; i++)
        if (g->values[g->params[i].variable].name)
            g->params[n_params++] = g->params[i];
    g->n_params = n_params;
    return true;
}

/* ------------------------------------------------------------------------------------------------- look-ups */

fl_id fl_behind_views(const fl_graph *g, fl_id v)
{
    for (fl_id n = fl_value_node(g, v); n != FL_NONE && fl_op_has(g->nodes[n].op, FL_VIEW) && g->nodes[n].op != FL_OP_CONCAT; n = fl_value_node(g, v))
        v = g->nodes[n].in[0];
    return v;
}

bool fl_index_is_disjoint(const fl_graph *g, fl_id index, fl_arena *scratch)
{
    const char *text = fl_graph_get_meta(g, "ai.flen.disjoint");
    uint32_t n = 0;
    const char **names = text ? fl_meta_names(text, scratch, &n) : NULL;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(names[i], g->values[index].name) == 0)
            return true;
    return false;
}

/* ---------------------------------------------------------------------------------------------- small nodes */

fl_id fl_build_double(fl_graph *g, const char *base, double f)
{
    fl_tensor t = {.type = fl_type_make(FL_DOUBLE, 0, NULL), .bytes = &f, .length = sizeof f};
    fl_id node = fl_node_new(g, FL_OP_CONSTANT, base, NULL, 0, 1);
    fl_node_set_tensor(g, node, "value", &t);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_extent(fl_graph *g, const char *base, fl_id x, int64_t axis)
{
    fl_id node = fl_node_new(g, FL_OP_SHAPE, base, &x, 1, 1);
    fl_node_set_int(g, node, "start", axis);
    fl_node_set_int(g, node, "end", axis + 1);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_cast(fl_graph *g, const char *base, fl_id x, fl_dtype to)
{
    fl_id node = fl_node_new(g, FL_OP_CAST, base, &x, 1, 1);
    fl_node_set_int(g, node, "to", to);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}
