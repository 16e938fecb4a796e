#include "passes/segment_copies.h"

#include "ir/windows.h"
#include "passes/rewrite.h"

/* With fewer a batch of a few hundred rows may need no windows, and a second copy would cost it a tenth of its step. */
#define MANY_COPIES (2 * FL_MANY_SLOTS)

/* A copy of a variable's distinct rows, of many slots. */
static bool copies_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    fl_id unique = n->op == FL_OP_GATHER && fl_node_int(g, node, "axis", 0) == 0 ? fl_value_is(g, n->in[1], FL_OP_UNIQUE_ROWS) : FL_NONE;

    if (unique == FL_NONE || g->nodes[unique].out[0] != n->in[1] || g->values[n->in[0]].kind != FL_VALUE_VARIABLE)
        return false;
    fl_dim slots = fl_value_type(g, g->nodes[unique].out[2])->dims[0];
    return !FL_DIM_IS_SYM(slots) && slots >= MANY_COPIES;
}

/* behind[v]: depends on a pool of `copy` or of what is made from it. */
static void find_behind_pools(const fl_graph *g, fl_id copy, bool *of_copy, bool *behind)
{
    for (fl_id v = 0; v < g->n_values; v++)
        of_copy[v] = behind[v] = false;
    of_copy[copy] = true;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool from_copy = false, late = false;
        for (uint32_t k = 0; k < n->n_in; k++) {
            from_copy = from_copy || (n->in[k] != FL_NONE && of_copy[n->in[k]]);
            late = late || (n->in[k] != FL_NONE && behind[n->in[k]]);
        }
        for (uint32_t k = 0; k < n->n_out; k++) {
            if (n->out[k] == FL_NONE)
                continue;
            of_copy[n->out[k]] = of_copy[n->out[k]] || from_copy;
            behind[n->out[k]] = late || (n->op == FL_OP_FIELD_POOL && from_copy);
        }
    }
}

static bool is_output(const fl_graph *g, fl_id value)
{
    for (uint32_t k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == value)
            return true;
    return false;
}

static bool is_late(const fl_graph *g, fl_id node, const bool *behind)
{
    for (uint32_t k = 0; k < g->nodes[node].n_in; k++)
        if (g->nodes[node].in[k] != FL_NONE && behind[g->nodes[node].in[k]])
            return true;
    return false;
}

fl_status fl_copy_rows_again(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t n_nodes = g->n_nodes;
    size_t most = (size_t)g->n_values + g->n_nodes + 1; /* a further value for each copy */
    bool *of_copy = fl_arena_new(&cx->scratch, bool, most), *behind = fl_arena_new(&cx->scratch, bool, most);

    if (!of_copy || !behind)
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n_nodes; i++) {
        if (!copies_rows(g, i) || is_output(g, g->nodes[i].out[0]))
            continue;
        fl_id copy = g->nodes[i].out[0], again = FL_NONE;
        find_behind_pools(g, copy, of_copy, behind);
        for (fl_id r = i + 1; r < n_nodes; r++)
            for (uint32_t k = 0; k < g->nodes[r].n_in; k++) {
                if (g->nodes[r].in[k] != copy || !is_late(g, r, behind))
                    continue;
                if (again == FL_NONE) {
                    fl_id node = fl_node_new(g, FL_OP_GATHER, "again", g->nodes[i].in, 2, 1);
                    if (node == FL_NONE)
                        return fl_out_of_memory(cx->diag);
                    fl_build_infer(g, node);
                    again = fl_node_out(g, node, 0);
                }
                g->nodes[r].in[k] = again;
            }
    }
    return fl_graph_ok(g, cx->diag);
}

/* Is v, made by views, a variable that is updated? */
static bool shows_updated(const fl_graph *g, fl_id v)
{
    fl_id root = fl_behind_views(g, v);

    for (uint32_t u = 0; u < g->n_updates && root != v; u++)
        if (g->updates[u].variable == root)
            return true;
    return false;
}

bool fl_copy_shown_variables(fl_graph *g)
{
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        fl_id shown = g->outputs[i];
        if (!shows_updated(g, shown))
            continue;
        const char *name = g->values[shown].name;
        fl_id copy = fl_build_cast(g, "copy", shown, fl_value_type(g, shown)->dtype);
        if (copy == FL_NONE)
            return false;
        fl_value_rename(g, shown, fl_graph_fresh_name(g, "shown"));
        fl_value_rename(g, copy, name);
        g->outputs[i] = copy;
    }
    return !g->arena.failed;
}
