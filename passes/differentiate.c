/*
 * differentiate.c -- gradients of the loss, and the optimiser nodes that use them.
 *
 *   differentiate             appends the gradient of output "loss" for each trained parameter, its optimiser node, the optimiser's
 *                             state as variables (named in ir/README.md), input `rate_factor`, and the updates
 *   differentiate(gradients)  appends outputs "grad.NAME", of the parameter's shape, and no optimiser
 *
 * Reverse mode: one sweep from the last node to the first; each operator's rule is fl_grad_<fn> (gradients.h). A table's gradient stays a
 * list of (distinct rows, gradient of those rows); rows that may stand in it twice are merged unless the metadata says that columns never share any
 * (`ai.flen.disjoint`). It becomes an array only where the parameter asks for updates of all rows.
 *
 * Needs ORDER and SHAPES, keeps both. O(nodes + operands), and pairs of fields for FieldInteraction.
 */
#include "passes/gradients.h"

#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

static fl_grad_fn *const rules[] = {
#define FL_OP(ID, domain, name, in_min, in_max, out_min, out_max, fn, traits) [FL_OP_##ID] = ((traits) & FL_DIFFERENTIABLE) ? fl_grad_##fn : NULL,
#include "ir/ops.def"
#undef FL_OP
};

/* ------------------------------------------------------------------------------------------------- rows of a table */

typedef struct rows_of_table {
    fl_id rows, grad; /* int64 [D], float [D,...] */
} rows_of_table;

/* One column of one index never holds a row twice; several may. */
static bool must_merge(fl_flow *f, const fl_row_gradient *parts)
{
    const fl_graph *g = f->g;
    bool alone = parts && !parts->next, one_column = alone && fl_value_type(g, g->nodes[parts->unique].out[2])->dims[0] == 1;
    if (one_column)
        return false;
    for (; parts; parts = parts->next)
        if (!fl_index_is_disjoint(g, g->nodes[parts->unique].in[0], &f->cx->scratch))
            return true;
    return false;
}

/* The parts as lists of rows that have no row in common. */
static uint32_t distinct_parts(fl_flow *f, const fl_row_gradient *parts, rows_of_table **out)
{
    fl_graph *g = f->g;
    uint32_t n = 0, k = 0;
    for (const fl_row_gradient *p = parts; p; p = p->next)
        n++;
    *out = fl_arena_new(&f->cx->scratch, rows_of_table, n + 1);
    fl_id *in = fl_arena_new(&f->cx->scratch, fl_id, 3 * n + 1);
    if (!*out || !in) {
        g->arena.failed = true;
        return 0;
    }
    bool merge = must_merge(f, parts);
    for (const fl_row_gradient *p = parts; p; p = p->next, k++) {
        const fl_node *u = &g->nodes[p->unique];
        (*out)[k] = (rows_of_table){u->out[0], p->grad};
        in[3 * k] = u->out[2];
        in[3 * k + 1] = u->out[0];
        in[3 * k + 2] = p->grad;
    }
    if (!merge)
        return n;
    fl_id node = fl_node_new(g, FL_OP_MERGE_ROWS, "merged", in, 3 * n, 3);
    fl_build_infer(g, node);
    (*out)[0] = (rows_of_table){fl_node_out(g, node, 0), fl_node_out(g, node, 1)};
    return 1;
}

/* The whole gradient as an array: rows that no part has are 0. */
static fl_id dense_rows(fl_flow *f, fl_id value, const fl_row_gradient *parts)
{
    fl_graph *g = f->g;
    rows_of_table *list;
    uint32_t n = distinct_parts(f, parts, &list);
    fl_id dense = fl_flow_zeros(f, value), axis = fl_build_ints(g, "axis", (int64_t[]){1}, 1);
    for (uint32_t i = 0; i < n; i++) {
        fl_id index = fl_build_2(g, FL_OP_UNSQUEEZE, "index", list[i].rows, axis);
        dense = fl_build_n(g, FL_OP_SCATTER_ND, fl_flow_name(f, value), (fl_id[]){dense, index, list[i].grad}, 3);
    }
    return dense;
}

fl_id fl_flow_gradient(fl_flow *f, fl_id value)
{
    fl_graph *g = f->g;
    fl_id grad = f->sum[value];
    if (f->rows[value]) {
        fl_id dense = dense_rows(f, value, f->rows[value]);
        grad = grad == FL_NONE ? dense : fl_build_2(g, FL_OP_ADD, fl_flow_name(f, value), grad, dense);
        f->rows[value] = NULL;
    }
    if (grad != FL_NONE && !fl_type_equal(fl_value_type(g, grad), fl_value_type(g, value))) {
        grad = fl_build_2(g, FL_OP_EXPAND, fl_flow_name(f, value), grad, fl_flow_shape(f, value));
        if (grad != FL_NONE)
            g->values[grad].type = *fl_value_type(g, value);
    }
    return f->sum[value] = grad;
}

fl_status fl_flow_sweep(fl_flow *f)
{
    fl_graph *g = f->g;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node n = g->nodes[i];
        fl_id first = g->n_nodes, from = FL_NONE;
        bool flows = false;
        fl_id *grad = fl_arena_new(&f->cx->scratch, fl_id, n.n_out + 1u);
        if (!grad)
            return fl_out_of_memory(f->cx->diag);
        for (uint32_t k = 0; k < n.n_out; k++) {
            fl_id v = n.out[k];
            grad[k] = fl_flow_wants(f, v) && !(f->leaf && f->leaf[v]) ? fl_flow_gradient(f, v) : FL_NONE;
            flows = flows || grad[k] != FL_NONE;
            from = v != FL_NONE && from == FL_NONE ? v : from;
        }
        if (!flows)
            continue;
        if (!rules[n.op])
            return fl_flow_refuse(f, i, "the operator has no rule");
        FL_TRY(rules[n.op](f, i, grad));
        FL_TRY(fl_graph_ok(g, f->cx->diag));
        fl_mark_made_from(g, first, from);
    }
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- optimisers */

typedef struct optimiser {
    fl_flow *f;
    fl_id factor;
    struct {
        double beta1, beta2;
        fl_id power[2]; /* after this step */
    } powers[8]; /* shared by all parameters with the same betas */
    uint32_t n_powers;
} optimiser;

/* A variable that starts as `start` everywhere. */
static fl_id state(optimiser *o, const char *name, fl_type type, double start)
{
    fl_graph *g = o->f->g;
    fl_id v = fl_graph_variable(g, name, type);
    fl_graph_param(g, (fl_param){.variable = v, .lr_scale = 1, .init = FL_INIT_CONSTANT, .init_a = start});
    return v;
}

static fl_id state_of(optimiser *o, const char *kind, fl_id w, fl_type type, double start)
{
    const char *name = fl_arena_printf(&o->f->cx->scratch, "%s.%s", kind, o->f->g->values[w].name);
    return name ? state(o, name, type, start) : FL_NONE;
}

/* power := power * beta, once a step. */
static fl_id power(optimiser *o, const char *base, double beta)
{
    fl_graph *g = o->f->g;
    fl_id v = state(o, fl_graph_fresh_name(g, base), fl_type_make(FL_DOUBLE, 0, NULL), 1);
    fl_id next = fl_build_2(g, FL_OP_MUL, "power", v, fl_build_double(g, "beta", beta));
    fl_graph_update(g, v, next);
    return next;
}

static const fl_id *powers(optimiser *o, const fl_rule *rule)
{
    uint32_t i = 0;
    while (i < o->n_powers && (o->powers[i].beta1 != rule->beta1 || o->powers[i].beta2 != rule->beta2))
        i++;
    if (i == FL_COUNT(o->powers))
        return NULL;
    if (i == o->n_powers) {
        o->n_powers++;
        o->powers[i].beta1 = rule->beta1;
        o->powers[i].beta2 = rule->beta2;
        o->powers[i].power[0] = power(o, "adam.beta1_power", rule->beta1);
        o->powers[i].power[1] = power(o, "adam.beta2_power", rule->beta2);
    }
    return o->powers[i].power;
}

/* Operator (Sgd unless set) and states of a rule; states into st, their number is the result. */
static uint32_t states_of(optimiser *o, const fl_param *p, fl_op *op, fl_id st[2])
{
    const fl_rule *r = &p->rule;
    fl_id w = p->variable;
    fl_type type = *fl_value_type(o->f->g, w), by_row = type;
    if (type.rank > 0)
        by_row.rank = 1;
    switch (r->kind) {
    case FL_RULE_NONE:
    case FL_RULE_SGD:
        return 0;
    case FL_RULE_MOMENTUM:
        *op = FL_OP_MOMENTUM;
        st[0] = state_of(o, "momentum.v", w, type, 0);
        return 1;
    case FL_RULE_ADAGRAD:
        *op = FL_OP_ADAGRAD;
        st[0] = state_of(o, "adagrad.a", w, type, r->initial_accumulator);
        return 1;
    case FL_RULE_ROWWISE_ADAGRAD:
        *op = FL_OP_ROWWISE_ADAGRAD;
        st[0] = state_of(o, "adagrad.a", w, by_row, r->initial_accumulator);
        return 1;
    case FL_RULE_ADAM:
        *op = FL_OP_ADAM;
        st[0] = state_of(o, "adam.m", w, type, 0);
        st[1] = state_of(o, "adam.v", w, type, 0);
        return 2;
    case FL_RULE_FTRL:
        *op = FL_OP_FTRL;
        st[0] = state_of(o, "ftrl.z", w, type, 0);
        st[1] = state_of(o, "ftrl.n", w, type, 0);
        return 2;
    }
    return 0;
}

static void set_attributes(fl_graph *g, fl_id node, const fl_param *p)
{
    const fl_rule *r = &p->rule;
    fl_node_set_float(g, node, "lr", r->lr);
    if (p->lr_scale != 1)
        fl_node_set_float(g, node, "lr_scale", p->lr_scale);
    if (p->l2 != 0)
        fl_node_set_float(g, node, "l2", p->l2);
    if (r->kind == FL_RULE_MOMENTUM)
        fl_node_set_float(g, node, "momentum", r->momentum);
    if (r->kind == FL_RULE_ADAGRAD || r->kind == FL_RULE_ROWWISE_ADAGRAD || r->kind == FL_RULE_ADAM)
        fl_node_set_float(g, node, "epsilon", r->epsilon);
    if (r->kind == FL_RULE_ADAM) {
        fl_node_set_float(g, node, "beta1", r->beta1);
        fl_node_set_float(g, node, "beta2", r->beta2);
        if (r->bias_corrected)
            fl_node_set_int(g, node, "bias_corrected", 1);
    }
    if (r->kind == FL_RULE_FTRL) {
        fl_node_set_float(g, node, "beta", r->beta);
        fl_node_set_float(g, node, "l1", r->l1);
        fl_node_set_float(g, node, "ftrl_l2", r->l2);
    }
}

/* One optimiser node; w and the states become its results. */
static fl_status step(optimiser *o, const fl_param *p, fl_op op, fl_id *w, fl_id *st, uint32_t n_states, fl_id grad, fl_id rows)
{
    fl_graph *g = o->f->g;
    fl_id in[9];
    uint32_t n = 0;
    in[n++] = *w;
    for (uint32_t i = 0; i < n_states; i++)
        in[n++] = st[i];
    if (op == FL_OP_ADAM) {
        const fl_id *both = powers(o, &p->rule);
        if (!both)
            return fl_error(o->f->cx->diag, FL_E_GRADIENT, FL_NOWHERE, "parameters have more than %zu pairs of Adam's betas", FL_COUNT(o->powers));
        in[n++] = both[0];
        in[n++] = both[1];
    }
    in[n++] = grad;
    in[n++] = o->factor;
    if (rows != FL_NONE)
        in[n++] = rows;
    fl_id node = fl_node_new(g, op, "next", in, n, 1 + n_states);
    set_attributes(g, node, p);
    fl_build_infer(g, node);
    FL_TRY(fl_graph_ok(g, o->f->cx->diag));
    *w = fl_node_out(g, node, 0);
    for (uint32_t i = 0; i < n_states; i++)
        st[i] = fl_node_out(g, node, 1 + i);
    return FL_OK;
}

static fl_status train(optimiser *o, const fl_param *p)
{
    fl_flow *f = o->f;
    fl_graph *g = f->g;
    fl_id w = p->variable, st[2] = {FL_NONE, FL_NONE}, next[2], next_w = w;
    bool by_rows = p->row_sparse && f->rows[w] && f->sum[w] == FL_NONE;
    rows_of_table *list = NULL;
    if (!by_rows && f->sum[w] == FL_NONE && !f->rows[w] && p->l2 == 0)
        return FL_OK; /* nothing moves it */
    fl_op op = FL_OP_SGD;
    uint32_t n_states = states_of(o, p, &op, st), n = by_rows ? distinct_parts(f, f->rows[w], &list) : 1;
    FL_TRY(fl_graph_ok(g, f->cx->diag));
    memcpy(next, st, sizeof next);
    for (uint32_t i = 0; i < n; i++) {
        fl_id grad = by_rows ? list[i].grad : fl_flow_gradient(f, w);
        if (grad == FL_NONE)
            grad = fl_flow_zeros(f, w); /* L2 alone */
        FL_TRY(step(o, p, op, &next_w, next, n_states, grad, by_rows ? list[i].rows : FL_NONE));
    }
    fl_graph_update(g, w, next_w);
    for (uint32_t i = 0; i < n_states; i++)
        fl_graph_update(g, st[i], next[i]);
    f->cx->n_changed++;
    return FL_OK;
}

static void give_gradient(fl_flow *f, const fl_param *p)
{
    fl_graph *g = f->g;
    fl_id grad = fl_flow_gradient(f, p->variable);
    const char *name = fl_arena_printf(&f->cx->scratch, "grad.%s", g->values[p->variable].name);
    if (grad == FL_NONE)
        grad = fl_flow_zeros(f, p->variable);
    grad = fl_build_1(g, FL_OP_IDENTITY, "gradient", grad); /* gradients may be shared; outputs have names of their own */
    if (grad == FL_NONE || !name)
        return;
    fl_value_rename(g, grad, name);
    fl_graph_output(g, grad);
    f->cx->n_changed++;
}

/* -------------------------------------------------------------------------------------------------------- pass */

static fl_status find_loss(fl_graph *g, fl_pass_ctx *cx, fl_id *loss)
{
    *loss = fl_graph_find(g, "loss");
    if (*loss == FL_NONE || !fl_value_is_output(g, *loss))
        return fl_error(cx->diag, FL_E_GRADIENT, FL_NOWHERE, "graph \"%s\" has no output \"loss\"", g->name);
    const fl_type *t = fl_value_type(g, *loss);
    if (t->dtype != FL_FLOAT || fl_type_elements(t) != 1)
        return fl_error(cx->diag, FL_E_GRADIENT, FL_NOWHERE, "output \"loss\" must be one float");
    for (uint32_t i = 0; i < g->n_params; i++) {
        const fl_value *w = &g->values[g->params[i].variable];
        if (g->params[i].rule.kind != FL_RULE_NONE && w->type.dtype != FL_FLOAT)
            return fl_error(cx->diag, FL_E_GRADIENT, w->origin.loc, "parameter \"%s\" is trained and must be of type float", w->name);
    }
    return FL_OK;
}

fl_status fl_pass_differentiate(fl_graph *g, fl_pass_ctx *cx)
{
    bool gradients = strcmp(cx->arguments, "gradients") == 0;
    fl_arena *a = &cx->scratch;
    fl_flow f = {.g = g, .cx = cx, .n_values = g->n_values};
    fl_id loss;
    if (!gradients && cx->arguments[0] != '\0')
        return fl_error(cx->diag, FL_E_PASS, FL_NOWHERE, "differentiate takes \"gradients\" or nothing, not \"%s\"", cx->arguments);
    FL_TRY(find_loss(g, cx, &loss));
    f.wanted = fl_find_trained(g, a);
    f.sum = fl_arena_new(a, fl_id, g->n_values + 1);
    f.rows = fl_arena_new(a, fl_row_gradient *, g->n_values + 1);
    if (!f.wanted || !f.sum || !f.rows)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        f.sum[v] = FL_NONE;
    const char *copies = fl_graph_get_meta(g, "ai.flen.gradient_copies");
    fl_flow_to(&f, loss, fl_build_scalar(g, "d.loss", copies ? strtod(copies, NULL) : 1));
    FL_TRY(fl_flow_sweep(&f));
    optimiser o = {.f = &f, .factor = FL_NONE};
    uint32_t n_params = g->n_params; /* state is appended */
    if (!gradients) {
        o.factor = fl_graph_find(g, "rate_factor");
        if (o.factor == FL_NONE)
            o.factor = fl_graph_input(g, "rate_factor", fl_type_make(FL_FLOAT, 0, NULL));
    }
    for (uint32_t i = 0; i < n_params; i++) {
        fl_param p = g->params[i];
        if (p.rule.kind == FL_RULE_NONE)
            continue;
        fl_id first = g->n_nodes;
        if (gradients)
            give_gradient(&f, &p);
        else
            FL_TRY(train(&o, &p));
        fl_mark_made_from(g, first, p.variable);
    }
    FL_TRY(fl_graph_ok(g, cx->diag));
    uint32_t erased = 0;
    return fl_erase_dead(g, a, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
