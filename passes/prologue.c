/*
 * prologue.c -- what prediction computes from weights alone is computed once, when a session opens or training ends.
 *
 * A node moves into the prologue if all its operands are variables, constants or moved values. Views
 * of variables and constants stay (they cost nothing), and so do constants. A moved value that prediction still reads becomes a variable "derived.NAME",
 * which the prologue updates and no file stores.
 */
#include "passes/pass.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct hoist {
    const fl_graph *from;
    bool *moved;  /* [n_nodes] */
    bool *free;   /* [n_values] depends on variables and constants alone */
    bool *wanted; /* [n_values] moved, and read by what stays */
} hoist;

static bool may_move(const hoist *h, const fl_node *n)
{
    if (n->op == FL_OP_NOP || n->n_in == 0 || !fl_op_has(n->op, FL_PURE))
        return false;
    bool any = false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k] != FL_NONE && !h->free[n->in[k]])
            return false;
        any = any || n->in[k] != FL_NONE;
    }
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] == FL_NONE || fl_value_is_output(h->from, n->out[k]))
            return false;
    return any;
}

static void find_moved(hoist *h)
{
    const fl_graph *g = h->from;
    for (uint32_t i = 0; i < g->n_variables; i++)
        h->free[g->variables[i]] = true;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool constant = n->op == FL_OP_CONSTANT;
        h->moved[i] = may_move(h, n);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                h->free[n->out[k]] = constant || h->moved[i];
    }
    /* Views of variables stay, unless something that moves reads them; then both sides have one. */
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++) {
            fl_id p = fl_value_node(g, n->in[k]);
            if (!h->moved[i] && p != FL_NONE && h->moved[p])
                h->wanted[n->in[k]] = true;
        }
    }
}

/* Does the value show a variable's or constant's own elements, through views alone? */
static bool shows_leaf(const fl_graph *g, fl_id v)
{
    for (;;) {
        fl_id node = fl_value_node(g, v);
        if (node == FL_NONE)
            return g->values[v].kind == FL_VALUE_VARIABLE || g->values[v].kind == FL_VALUE_CONSTANT;
        if (!fl_op_has(g->nodes[node].op, FL_VIEW) || g->nodes[node].op == FL_OP_CONCAT)
            return false;
        v = g->nodes[node].in[0];
    }
}

/* In both graphs `value` of predict becomes a variable; the prologue's copy of it is its next value. */
static void derive(fl_graph *predict, fl_graph *prologue, fl_id value)
{
    const char *name = predict->values[value].name;
    fl_type type = *fl_value_type(predict, value);
    const char *derived = fl_arena_printf(&predict->arena, "derived.%s", name);
    fl_id next = fl_graph_find(prologue, name);
    if (!derived || next == FL_NONE)
        return;
    derived = fl_graph_fresh_name(predict, derived);
    fl_id here = fl_graph_variable(predict, derived, type), there = fl_graph_variable(prologue, derived, type);
    if (here == FL_NONE || there == FL_NONE)
        return;
    fl_graph_update(prologue, there, next);
    fl_graph_replace(predict, value, here);
}

static bool is_derived(const fl_graph *g, fl_id v)
{
    return g->values[v].kind == FL_VALUE_VARIABLE && strncmp(g->values[v].name, "derived.", 8) == 0;
}

/* The derived table of look-up k of node i; FL_NONE if it is none. */
static fl_id looked_up(const fl_graph *g, fl_id i, uint32_t k)
{
    fl_id table = g->nodes[i].in[2 * k];
    return is_derived(g, table) ? table : FL_NONE;
}

static uint32_t count_look_ups(const fl_graph *g, fl_id i)
{
    return fl_op_has(g->nodes[i].op, FL_GATHERING) ? fl_look_ups(&g->nodes[i]) : 0;
}

/* Tables and indices of one group become `to`'s. */
static void join(fl_id *group, uint32_t n_values, fl_id from, fl_id to)
{
    for (fl_id v = 0; from != FL_NONE && from != to && v < n_values; v++)
        group[v] = group[v] == from ? to : group[v];
}

/*
 * Tables that prediction looks up by one index: the session keeps those of one row side by side (metadata `ai.flen.records`: names, and an empty name
 * between two records). group[v] of a table or an index is a value that stands for its record.
 */
static bool note_records(fl_graph *predict, fl_graph *prologue, fl_arena *scratch)
{
    uint32_t n_nodes = predict->n_nodes, n_values = predict->n_values;
    fl_id *group = fl_arena_new(scratch, fl_id, n_values + 1);
    const char *list = "";
    for (fl_id v = 0; group && v < n_values; v++)
        group[v] = FL_NONE;
    for (fl_id i = 0; group && i < n_nodes; i++)
        for (uint32_t k = 0; k < count_look_ups(predict, i); k++) {
            fl_id table = looked_up(predict, i, k), index = predict->nodes[i].in[2 * k + 1];
            if (table == FL_NONE)
                continue;
            fl_id to = group[table] != FL_NONE ? group[table] : group[index] != FL_NONE ? group[index] : table;
            join(group, n_values, group[index], to);
            group[table] = group[index] = to;
        }
    for (fl_id r = 0; group && list && r < n_values; r++) { /* a record is called after the table that it began with */
        const char *between = *list ? ",," : "";
        if (group[r] != r)
            continue;
        for (fl_id v = 0; list && v < n_values; v++) {
            if (group[v] != r || !is_derived(predict, v))
                continue;
            list = fl_arena_printf(&predict->arena, "%s%s%s", list, between, predict->values[v].name);
            between = ",";
        }
    }
    if (list && *list) {
        fl_graph_set_meta(predict, "ai.flen.records", list);
        fl_graph_set_meta(prologue, "ai.flen.records", list);
    }
    return group && list;
}

static fl_status split(fl_graph *predict, fl_graph *prologue, const bool *wanted, uint32_t n_values, fl_arena *scratch, fl_diag *dg)
{
    uint32_t erased = 0;
    prologue->n_outputs = 0;
    for (fl_id v = 0; v < n_values; v++)
        if (wanted[v])
            derive(predict, prologue, v);
    if (predict->arena.failed || prologue->arena.failed || !fl_erase_dead(predict, scratch, &erased) ||
        !fl_erase_dead(prologue, scratch, &erased) || !fl_drop_unused(predict, scratch, true) || !fl_drop_unused(prologue, scratch, true))
        return fl_out_of_memory(dg);
    if (!note_records(predict, prologue, scratch))
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < prologue->n_inputs; i++)
        prologue->values[prologue->inputs[i]].name = NULL;
    prologue->n_inputs = 0;
    fl_graph_compact(predict);
    fl_graph_compact(prologue);
    return FL_OK;
}

fl_status fl_build_prologue(fl_graph *predict, fl_graph **prologue, fl_diag *dg)
{
    fl_arena scratch;
    fl_arena_init(&scratch);
    hoist h = {predict, fl_arena_new(&scratch, bool, predict->n_nodes + 1), fl_arena_new(&scratch, bool, predict->n_values + 1),
               fl_arena_new(&scratch, bool, predict->n_values + 1)};
    fl_status status = FL_OK;
    uint32_t n = 0;
    *prologue = NULL;
    if (!h.moved || !h.free || !h.wanted) {
        status = fl_out_of_memory(dg);
    } else {
        find_moved(&h);
        for (fl_id v = 0; v < predict->n_values; v++) {
            h.wanted[v] = h.wanted[v] && !shows_leaf(predict, v);
            n += h.wanted[v];
        }
    }
    if (n > 0) {
        fl_graph *g = fl_graph_clone(predict);
        status = g ? split(predict, g, h.wanted, predict->n_values, &scratch, dg) : fl_out_of_memory(dg);
        if (status == FL_OK) {
            g->name = "prologue";
            *prologue = g;
        } else {
            fl_graph_free(g);
        }
    }
    fl_arena_deinit(&scratch);
    return status;
}
