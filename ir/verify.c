#include "ir/verify.h"

#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/shape.h"
#include "ir/verify_parts.h"

#include <stdarg.h>
#include <string.h>

/*
 * Rules are checked one after another and all broken ones are reported; a rule that indexes by an id comes after the
 * one that says that ids are in range, and is left out if that one is broken.
 */
void fl_check_name_rule(fl_diag *dg, fl_verify_rule rule)
{
    static const char *const rules[] = {
#define FL_VERIFY_RULE(id, name, where, text) name ": " text,
#include "ir/verify_rules.def"
#undef FL_VERIFY_RULE
    };

    fl_hint(dg, "rule %s", rules[rule]);
}

void fl_check_breaks(fl_check *c, fl_verify_rule rule, fl_id node, const char *format, ...)
{
    char text[512];
    va_list args;
    uint32_t before = c->dg ? c->dg->n_entries : 0;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->broken++;
    (void)fl_error(c->dg, FL_E_VERIFY, node == FL_NONE ? FL_NOWHERE : c->g->nodes[node].origin.loc, "%s", text);
    if (c->dg && c->dg->n_entries > before)
        fl_check_name_rule(c->dg, rule);
}

const char *fl_node_label(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    if (n->name)
        return n->name;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE && n->out[i] < g->n_values && g->values[n->out[i]].name)
            return g->values[n->out[i]].name;
    return "";
}

static bool is_live(const fl_graph *g, fl_id v)
{
    return v < g->n_values && g->values[v].name != NULL;
}

static void check_names(fl_check *c)
{
    for (fl_id v = 0; v < c->g->n_values; v++) {
        const char *name = c->g->values[v].name;
        if (name && fl_graph_find(c->g, name) != v)
            fl_check_breaks(c, FL_VERIFY_NAMES, FL_NONE, "graph \"%s\": two values are named \"%s\"", c->g->name, name);
    }
}

static void check_counts(fl_check *c, fl_id node)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_op_info *op = fl_op_get(n->op);
    const char *label = fl_node_label(c->g, node);

    if (n->n_in < op->min_in || (op->max_in != FL_MANY && n->n_in > op->max_in))
        fl_check_breaks(c, FL_VERIFY_OPERANDS, node, "node \"%s\" (%s) has %u inputs, which must be %u to %u", label, op->name, n->n_in, op->min_in,
               op->max_in == FL_MANY ? UINT16_MAX : op->max_in);
    if (n->n_out < op->min_out || (op->max_out != FL_MANY && n->n_out > op->max_out))
        fl_check_breaks(c, FL_VERIFY_OPERANDS, node, "node \"%s\" (%s) has %u outputs, which must be %u to %u", label, op->name, n->n_out, op->min_out,
               op->max_out == FL_MANY ? UINT16_MAX : op->max_out);
}

/* Ids in range, results that say who makes them. */
static void check_ids(fl_check *c, fl_id node)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];
    const char *label = fl_node_label(g, node), *op = fl_op_get(n->op)->name;

    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] != FL_NONE && !is_live(g, n->in[k]))
            fl_check_breaks(c, FL_VERIFY_VALUES, node, "node \"%s\" (%s) reads, as input %u, a value that does not exist", label, op, k);
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] == FL_NONE)
            continue;
        if (!is_live(g, n->out[k]))
            fl_check_breaks(c, FL_VERIFY_VALUES, node, "node \"%s\" (%s) makes, as output %u, a value that does not exist", label, op, k);
        else if (g->values[n->out[k]].kind != FL_VALUE_NODE || g->values[n->out[k]].node != node || g->values[n->out[k]].out != k)
            fl_check_breaks(c, FL_VERIFY_ASSIGNMENT, node, "value \"%s\", output %u of node \"%s\" (%s), is assigned elsewhere too", g->values[n->out[k]].name, k,
                   label, op);
    }
}

static void check_order(fl_check *c, fl_id node)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < n->n_in; k++) {
        fl_id producer = fl_value_node(g, n->in[k]);
        if (producer == FL_NONE)
            continue;
        if (producer >= g->n_nodes || g->nodes[producer].op == FL_OP_NOP)
            fl_check_breaks(c, FL_VERIFY_ORDER, node, "node \"%s\" (%s) reads \"%s\", which no node makes", fl_node_label(g, node), fl_op_get(n->op)->name,
                   g->values[n->in[k]].name);
        else if (producer >= node)
            fl_check_breaks(c, FL_VERIFY_ORDER, node, "node \"%s\" (%s) reads \"%s\" before it is made", fl_node_label(g, node), fl_op_get(n->op)->name,
                   g->values[n->in[k]].name);
    }
}

static void check_list(fl_check *c, const fl_id *list, uint32_t n, fl_value_kind kind, bool any_kind, const char *what)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!is_live(c->g, list[i]))
            fl_check_breaks(c, FL_VERIFY_LISTS, FL_NONE, "graph \"%s\": %s %u does not exist", c->g->name, what, i);
        else if (!any_kind && c->g->values[list[i]].kind != kind)
            fl_check_breaks(c, FL_VERIFY_LISTS, FL_NONE, "graph \"%s\": \"%s\" is listed as %s and is something else", c->g->name,
                         c->g->values[list[i]].name, what);
    }
}

static void check_leaves(fl_check *c)
{
    const fl_graph *g = c->g;

    check_list(c, g->inputs, g->n_inputs, FL_VALUE_INPUT, false, "input");
    check_list(c, g->outputs, g->n_outputs, FL_VALUE_NODE, true, "output");
    check_list(c, g->variables, g->n_variables, FL_VALUE_VARIABLE, true, "variable");
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = is_live(g, g->variables[i]) ? &g->values[g->variables[i]] : NULL;
        if (v && v->kind == FL_VALUE_CONSTANT && !v->data)
            fl_check_breaks(c, FL_VERIFY_DATA, FL_NONE, "graph \"%s\": constant \"%s\" has no data", g->name, v->name);
        if (v && v->data && v->data->bytes && v->type.dtype != FL_STRING &&
            fl_type_elements(&v->data->type) * (int64_t)fl_dtype_size(v->data->type.dtype) != (int64_t)v->data->length)
            fl_check_breaks(c, FL_VERIFY_DATA, FL_NONE, "graph \"%s\": the data of \"%s\" have %llu bytes, which its type does not", g->name, v->name,
                         (unsigned long long)v->data->length);
    }
}

static void check_updates(fl_check *c)
{
    const fl_graph *g = c->g;

    for (uint32_t i = 0; i < g->n_updates; i++) {
        fl_update u = g->updates[i];
        if (!is_live(g, u.variable) || !is_live(g, u.next) || g->values[u.variable].kind != FL_VALUE_VARIABLE) {
            fl_check_breaks(c, FL_VERIFY_UPDATES, FL_NONE, "graph \"%s\": update %u does not give a variable a value", g->name, i);
            continue;
        }
        for (uint32_t k = 0; k < i; k++)
            if (g->updates[k].variable == u.variable)
                fl_check_breaks(c, FL_VERIFY_UPDATES, FL_NONE, "graph \"%s\": variable \"%s\" is updated twice", g->name, g->values[u.variable].name);
        const fl_type *a = fl_value_type(g, u.variable), *b = fl_value_type(g, u.next);
        char was[128], now[128];
        if (b->rank >= 0 && a->rank >= 0 && !fl_type_equal(a, b)) {
            fl_type_print(g, a, was, sizeof was);
            fl_type_print(g, b, now, sizeof now);
            fl_check_breaks(c, FL_VERIFY_UPDATES, FL_NONE, "graph \"%s\": variable \"%s\" is %s, its next value %s", g->name, g->values[u.variable].name, was, now);
        }
    }
}

/* The function that stands for node in files (bodies.h) says the same as the node: operands, results, types. */
void fl_check_body(fl_check *c, fl_id node, const fl_graph *body)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];
    const char *label = fl_node_label(g, node), *op = fl_op_get(n->op)->name;
    uint32_t n_in = 0;

    for (uint32_t k = 0; k < n->n_in; k++)
        n_in += n->in[k] != FL_NONE;
    if (body->n_inputs != n_in || body->n_outputs != n->n_out) {
        fl_check_breaks(c, FL_VERIFY_BODIES, node, "node \"%s\" (%s) has %u operands and %u results, its function %u and %u", label, op, n_in, n->n_out,
                        body->n_inputs, body->n_outputs);
        return;
    }
    for (uint32_t k = 0; k < n->n_out; k++) {
        const fl_type *a = n->out[k] == FL_NONE ? NULL : fl_value_type(g, n->out[k]), *b = fl_value_type(body, body->outputs[k]);
        char want[128], got[128];
        if (!a || a->rank < 0 || b->rank < 0)
            continue;
        bool equal = a->rank == b->rank && a->dtype == b->dtype;
        for (int d = 0; equal && d < a->rank; d++) /* symbols have numbers of their own in each graph */
            equal = FL_DIM_IS_SYM(a->dims[d]) || FL_DIM_IS_SYM(b->dims[d]) || a->dims[d] == b->dims[d];
        if (equal)
            continue;
        fl_type_print(g, a, want, sizeof want);
        fl_type_print(body, b, got, sizeof got);
        fl_check_breaks(c, FL_VERIFY_BODIES, node, "result \"%s\" of node \"%s\" (%s) is %s, that of its function %s", g->values[n->out[k]].name, label, op, want, got);
    }
}

/* Nodes with types known, whose operator has a function. */
static fl_status check_bodies(fl_check *c)
{
    for (fl_id i = 0; i < c->g->n_nodes; i++) {
        fl_graph *body = NULL;
        if (!fl_body_exists(c->g->nodes[i].op))
            continue;
        fl_diag ignored;
        fl_diag_init(&ignored);
        fl_status s = fl_body_build(c->g, i, &body, &ignored);
        fl_diag_deinit(&ignored);
        if (s == FL_NO_MEMORY)
            return fl_out_of_memory(c->dg);
        if (s == FL_OK) /* attributes that have no body are `flenc export`'s to refuse */
            fl_check_body(c, i, body);
        fl_graph_free(body);
    }
    return FL_OK;
}

/* Calls have functions, which are graphs of their own. */
static fl_status check_functions(fl_check *c)
{
    const fl_graph *g = c->g;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_graph *f = g->nodes[i].op == FL_OP_CALL ? fl_function_of(g, i) : NULL;
        if (g->nodes[i].op == FL_OP_CALL && !f)
            fl_check_breaks(c, FL_VERIFY_FUNCTIONS, i, "node \"%s\" calls function \"%s\", which the graph does not have", fl_node_label(g, i), fl_function_name(g, i));
        else if (f && (f->n_inputs != g->nodes[i].n_in || f->n_outputs != g->nodes[i].n_out))
            fl_check_breaks(c, FL_VERIFY_FUNCTIONS, i, "node \"%s\" has %u operands and %u results, its function \"%s\" %u and %u", fl_node_label(g, i), g->nodes[i].n_in,
                            g->nodes[i].n_out, f->name, f->n_inputs, f->n_outputs);
    }
    for (uint32_t k = 0; k < g->n_functions; k++) {
        fl_graph *f = g->functions[k];
        if (fl_graph_has_calls(f)) {
            fl_check_breaks(c, FL_VERIFY_FUNCTIONS, FL_NONE, "function \"%s\" calls another", f->name);
            continue;
        }
        fl_status s = fl_graph_verify(f, c->dg);
        if (s == FL_BAD_INPUT)
            fl_check_breaks(c, FL_VERIFY_FUNCTIONS, FL_NONE, "function \"%s\" of graph \"%s\" breaks a rule", f->name, g->name);
        else if (s != FL_OK)
            return s;
    }
    return FL_OK;
}

/* What a schedule may rely on; false if it must not be looked at. Numbers of operands are checked here where types are not inferred. */
static bool check_structure(fl_check *c, bool counts)
{
    const fl_graph *g = c->g;

    check_names(c);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_NOP)
            continue;
        if (counts)
            check_counts(c, i);
        check_ids(c, i);
    }
    check_leaves(c);
    c->in_range = c->broken == 0;
    if (!c->in_range)
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            check_order(c, i);
    check_updates(c);
    return c->broken == 0;
}

fl_status fl_graph_verify(fl_graph *g, fl_diag *dg)
{
    fl_check c = {g, dg, 0, false};
    bool sound = check_structure(&c, false);

    if (!sound && !c.in_range)
        return FL_BAD_INPUT;
    if (sound)
        FL_TRY(check_functions(&c));
    sound = sound && c.broken == 0;
    FL_TRY(fl_shape_infer(g, dg)); /* numbers of operands, and types, which it compares with those that stand there */
    if (!sound)
        return FL_BAD_INPUT;
    FL_TRY(check_bodies(&c));
    if (c.broken == 0 && g->schedule)
        FL_TRY(fl_check_schedule(&c));
    return c.broken > 0 ? FL_BAD_INPUT : FL_OK;
}

fl_status fl_schedule_verify(const fl_graph *g, fl_diag *dg)
{
    fl_check c = {g, dg, 0, false};

    if (check_structure(&c, true) && g->schedule)
        FL_TRY(fl_check_schedule(&c));
    return c.broken > 0 ? FL_BAD_INPUT : FL_OK;
}
