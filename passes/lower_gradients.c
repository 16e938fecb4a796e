/*
 * lower_gradients.c -- the standard's operator Gradient, ordinary nodes by the rules of `differentiate`.
 *
 * The node names values x_0, x_1, ... (and others, z, that y is a function of) and gives each a replacement: its results are dy/dx_k of the part of the
 * graph that leads from these values to y, seen as independent of each other, at the replacements. Where a value is its own replacement, as in
 * most models, that part is used as it is; else it is copied with the replacements in their places. A y of several elements counts as their sum.
 *
 * Needs ORDER and SHAPES, keeps ORDER. O(nodes + operands) for each such node; MOST bounds the sum, for a file may have many, one behind another.
 */
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include <string.h>

enum { MOST = 1 << 22 }; /* values looked at */

typedef struct lowering {
    fl_graph *g;
    fl_pass_ctx *cx;
    fl_id node;
    uint32_t n_x, n;    /* of xs; of xs and zs */
    uint32_t n_values;  /* before anything was made */
    bool *named, *needed; /* [n_values] one of xs and zs; y is made from it */
    fl_id *map;         /* [n_values] */
} lowering;

static fl_status refuse(const lowering *l, const char *why)
{
    const fl_node *n = &l->g->nodes[l->node];
    const char *name = n->name;
    for (uint32_t k = 0; k < n->n_out && !name; k++)
        name = n->out[k] == FL_NONE ? NULL : l->g->values[n->out[k]].name;
    return fl_error(l->cx->diag, FL_E_GRADIENT, n->origin.loc, "node \"%s\" (Gradient): %s", name ? name : "", why);
}

/* Operand 1 + 2k of the node is a value, operand 2 + 2k its replacement. */
static fl_status map_named(lowering *l)
{
    fl_graph *g = l->g;
    for (uint32_t k = 0; k < l->n; k++) {
        fl_id x = g->nodes[l->node].in[1 + 2 * k], at = g->nodes[l->node].in[2 + 2 * k];
        if (l->named[x])
            return refuse(l, "one value is named twice");
        if (k < l->n_x && (fl_value_type(g, x)->dtype != FL_FLOAT || fl_value_type(g, at)->dtype != FL_FLOAT))
            return refuse(l, "only values of type float have a gradient here");
        l->named[x] = true;
        if (at == x)
            continue;
        l->map[x] = fl_build_1(g, FL_OP_IDENTITY, "at", at); /* its own value: the same one may stand elsewhere in what is copied */
        if (l->map[x] == FL_NONE)
            return fl_out_of_memory(l->cx->diag);
    }
    return FL_OK;
}

static void find_needed(lowering *l, fl_id y)
{
    const fl_graph *g = l->g;
    l->needed[y] = true;
    for (fl_id i = l->node; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        bool needed = false;
        for (uint32_t k = 0; k < n->n_out; k++)
            needed |= n->out[k] != FL_NONE && l->needed[n->out[k]] && !l->named[n->out[k]];
        for (uint32_t k = 0; needed && k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                l->needed[n->in[k]] = true;
    }
}

/* The node again, reading what its operands are mapped to. */
static fl_status copy_node(lowering *l, fl_id i)
{
    fl_graph *g = l->g;
    const fl_node n = g->nodes[i];
    fl_id *in = fl_arena_new(&l->cx->scratch, fl_id, n.n_in + 1u);
    fl_attr *attr = fl_arena_new(&g->arena, fl_attr, n.n_attr + 1u);
    if (!in || !attr)
        return fl_out_of_memory(l->cx->diag);
    for (uint32_t k = 0; k < n.n_in; k++)
        in[k] = n.in[k] == FL_NONE ? FL_NONE : l->map[n.in[k]];
    if (n.n_attr)
        memcpy(attr, n.attr, n.n_attr * sizeof *attr);
    fl_id copy = fl_node_new(g, n.op, "at", in, n.n_in, n.n_out);
    if (copy == FL_NONE)
        return fl_out_of_memory(l->cx->diag);
    g->nodes[copy].attr = attr;
    g->nodes[copy].n_attr = n.n_attr;
    for (uint32_t k = 0; k < n.n_out; k++) {
        fl_id out = g->nodes[copy].out[k];
        if (n.out[k] == FL_NONE) {
            g->values[out].name = NULL;
            g->nodes[copy].out[k] = FL_NONE;
            continue;
        }
        g->values[out].type = *fl_value_type(g, n.out[k]);
        if (!l->named[n.out[k]])
            l->map[n.out[k]] = out;
    }
    return FL_OK;
}

static fl_status copy_part(lowering *l)
{
    for (fl_id i = 0; i < l->node; i++) {
        const fl_node *n = &l->g->nodes[i];
        bool needed = false, mapped = false;
        for (uint32_t k = 0; k < n->n_out; k++)
            needed |= n->out[k] != FL_NONE && l->needed[n->out[k]] && !l->named[n->out[k]];
        for (uint32_t k = 0; needed && k < n->n_in; k++)
            mapped |= n->in[k] != FL_NONE && l->map[n->in[k]] != n->in[k];
        if (mapped)
            FL_TRY(copy_node(l, i));
    }
    return FL_OK;
}

/* What depends on the xs, in the part as it is now. */
static void find_wanted(const lowering *l, const fl_flow *f, const fl_id *leaf)
{
    const fl_graph *g = l->g;
    for (uint32_t k = 0; k < l->n_x; k++)
        f->wanted[leaf[k]] = true;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool any = false;
        for (uint32_t k = 0; n->op != FL_OP_RANDOM_MASK && k < n->n_in; k++) /* which reads a shape alone */
            any = any || (n->in[k] != FL_NONE && f->wanted[n->in[k]]);
        for (uint32_t k = 0; any && k < n->n_out; k++)
            if (n->out[k] != FL_NONE && !f->leaf[n->out[k]] && fl_value_type(g, n->out[k])->dtype == FL_FLOAT)
                f->wanted[n->out[k]] = true;
    }
}

/* The node's results become the gradients, under their names. */
static fl_status put_results(const lowering *l, fl_flow *f, const fl_id *leaf)
{
    fl_graph *g = l->g;
    for (uint32_t k = 0; k < g->nodes[l->node].n_out; k++) {
        fl_id out = g->nodes[l->node].out[k];
        if (out == FL_NONE)
            continue;
        fl_id d = fl_flow_gradient(f, leaf[k]);
        d = fl_build_1(g, FL_OP_IDENTITY, "gradient", d == FL_NONE ? fl_flow_zeros(f, leaf[k]) : d); /* two results may be one value */
        if (d == FL_NONE)
            return fl_out_of_memory(l->cx->diag);
        bool taken = fl_rewrite_value(g, out, d);
        FL_ASSERT(taken); /* a fresh result can take any name */
    }
    fl_node_erase(g, l->node);
    return fl_graph_ok(g, l->cx->diag);
}

static fl_status lower(fl_graph *g, fl_pass_ctx *cx, fl_id node)
{
    fl_arena *a = &cx->scratch;
    uint32_t first = g->n_nodes, n = g->nodes[node].n_in / 2u;
    lowering l = {.g = g, .cx = cx, .node = node, .n_x = g->nodes[node].n_out, .n = n, .n_values = g->n_values};
    fl_id y = g->nodes[node].in[0], from = FL_NONE;
    for (uint32_t k = 0; k < l.n_x && from == FL_NONE; k++)
        from = g->nodes[node].out[k];
    l.named = fl_arena_new(a, bool, g->n_values + 1u);
    l.needed = fl_arena_new(a, bool, g->n_values + 1u);
    l.map = fl_arena_new(a, fl_id, g->n_values + 1u);
    fl_id *leaf = fl_arena_new(a, fl_id, n + 1u);
    if (a->failed)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        l.map[v] = v;
    FL_TRY(map_named(&l));
    find_needed(&l, y);
    FL_TRY(copy_part(&l));
    fl_flow f = {.g = g, .cx = cx, .n_values = g->n_values};
    bool *is_leaf = fl_arena_new(a, bool, g->n_values + 1u);
    f.wanted = fl_arena_new(a, bool, g->n_values + 1u);
    f.sum = fl_arena_new(a, fl_id, g->n_values + 1u);
    f.rows = fl_arena_new(a, fl_row_gradient *, g->n_values + 1u);
    f.leaf = is_leaf;
    if (a->failed)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        f.sum[v] = FL_NONE;
    for (uint32_t k = 0; k < n; k++) {
        leaf[k] = l.map[g->nodes[node].in[1 + 2 * k]];
        is_leaf[leaf[k]] = true;
    }
    find_wanted(&l, &f, leaf);
    if (fl_value_type(g, y)->dtype != FL_FLOAT)
        return refuse(&l, "y is not of type float");
    fl_flow_to(&f, l.map[y], fl_build_scalar(g, "d.y", 1));
    FL_TRY(fl_flow_sweep(&f));
    if (from != FL_NONE)
        fl_mark_made_from(g, first, from);
    FL_TRY(put_results(&l, &f, leaf));
    cx->n_changed++;
    return fl_graph_sort(g, cx->diag);
}

fl_status fl_pass_lower_gradients(fl_graph *g, fl_pass_ctx *cx)
{
    uint64_t seen = 0;
    for (;;) { /* nodes change places each time, but none of it comes to stand before the first that is left */
        fl_id i = 0;
        while (i < g->n_nodes && g->nodes[i].op != FL_OP_GRADIENT)
            i++;
        if (i == g->n_nodes)
            break;
        seen += g->n_values;
        if (seen > MOST)
            return fl_error(cx->diag, FL_E_GRADIENT, g->nodes[i].origin.loc, "the graph has too many nodes for so many of operator Gradient");
        FL_TRY(lower(g, cx, i));
    }
    uint32_t erased = 0;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
