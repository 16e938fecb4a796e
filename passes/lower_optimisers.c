/*
 * lower_optimisers.c -- optimiser nodes become elementwise nodes (formulas: ir/README.md, "Optimisers").
 *
 * With rows: Gather(w, rows) and Gather(state, rows), the rule on [D,...], ScatterND back; so they join what else is done with those rows.
 * Scalars (lr, lr_scale, factor, Adam's correction from its powers) are folded into one number a step, in double where powers are.
 *
 * Needs ORDER and SHAPES, keeps SHAPES. O(optimiser nodes).
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

#include <math.h>

/* One node under way: w, g and the states are of the touched rows. */
typedef struct lowering {
    fl_graph *g;
    fl_id node;
    fl_id rows, index; /* FL_NONE: all rows */
    fl_id w, grad, factor;
    fl_id state[2], power[2];
    fl_id next_w, next_state[2];
} lowering;

static fl_id op2(lowering *l, fl_op op, const char *base, fl_id a, fl_id b)
{
    return fl_build_2(l->g, op, base, a, b);
}

static fl_id mul(lowering *l, fl_id a, fl_id b)
{
    return op2(l, FL_OP_MUL, "product", a, b);
}

static fl_id number(lowering *l, double x)
{
    return fl_build_scalar(l->g, "number", x);
}

static double attribute(const lowering *l, const char *name, double otherwise)
{
    return fl_node_float(l->g, l->node, name, otherwise);
}

/* lr * lr_scale * factor */
static fl_id rate(lowering *l)
{
    return op2(l, FL_OP_MUL, "rate", l->factor, number(l, attribute(l, "lr", 0) * attribute(l, "lr_scale", 1)));
}

/* w - rate * direction */
static fl_id descend(lowering *l, fl_id step, fl_id direction)
{
    return op2(l, FL_OP_SUB, "next", l->w, mul(l, step, direction));
}

static fl_id square_root(lowering *l, fl_id x)
{
    return fl_build_1(l->g, FL_OP_SQRT, "root", x);
}

/* g / (sqrt(a) + epsilon) */
static fl_id scaled(lowering *l, fl_id grad, fl_id a)
{
    fl_id root = op2(l, FL_OP_ADD, "held", square_root(l, a), number(l, attribute(l, "epsilon", 0)));
    return op2(l, FL_OP_DIV, "direction", grad, root);
}

static void lower_sgd(lowering *l)
{
    l->next_w = descend(l, rate(l), l->grad);
}

static void lower_momentum(lowering *l)
{
    l->next_state[0] = op2(l, FL_OP_ADD, "v", mul(l, l->state[0], number(l, attribute(l, "momentum", 0))), l->grad);
    l->next_w = descend(l, rate(l), l->next_state[0]);
}

static void lower_adagrad(lowering *l)
{
    l->next_state[0] = op2(l, FL_OP_ADD, "a", l->state[0], mul(l, l->grad, l->grad));
    l->next_w = descend(l, rate(l), scaled(l, l->grad, FL_PLANTED("lower-optimisers") ? l->state[0] : l->next_state[0]));
}

static void lower_rowwise_adagrad(lowering *l)
{
    fl_graph *g = l->g;
    fl_type w = *fl_value_type(g, l->w);
    fl_id square = mul(l, l->grad, l->grad), a;
    if (w.rank <= 1) {
        fl_type st = *fl_value_type(g, l->state[0]);
        if (st.rank != w.rank) /* one number, as a vector */
            square = fl_build_reshape(g, "square", square, st.dims, (uint32_t)st.rank);
        a = l->next_state[0] = op2(l, FL_OP_ADD, "a", l->state[0], square);
        if (st.rank != w.rank)
            a = fl_build_reshape(g, "a", a, w.dims, (uint32_t)w.rank);
    } else {
        int64_t axes[FL_MAX_RANK];
        for (int d = 1; d < w.rank; d++)
            axes[d - 1] = d;
        fl_id list = fl_build_ints(g, "axes", axes, (uint32_t)w.rank - 1);
        fl_id mean = fl_node_new(g, FL_OP_REDUCE_MEAN, "mean_square", (fl_id[]){square, list}, 2, 1);
        fl_node_set_int(g, mean, "keepdims", 0);
        fl_build_infer(g, mean);
        l->next_state[0] = op2(l, FL_OP_ADD, "a", l->state[0], fl_node_out(g, mean, 0));
        a = op2(l, FL_OP_UNSQUEEZE, "a", l->next_state[0], list);
    }
    l->next_w = descend(l, rate(l), scaled(l, l->grad, a));
}

/* 1 - power, as float */
static fl_id correction(lowering *l, fl_id power)
{
    return op2(l, FL_OP_SUB, "correction", fl_build_double(l->g, "one", 1), power);
}

static void lower_adam(lowering *l)
{
    fl_graph *g = l->g;
    double beta1 = attribute(l, "beta1", 0.9), beta2 = attribute(l, "beta2", 0.999);
    fl_id m = op2(l, FL_OP_ADD, "m", mul(l, l->state[0], number(l, beta1)), mul(l, l->grad, number(l, 1 - beta1)));
    fl_id v = op2(l, FL_OP_ADD, "v", mul(l, l->state[1], number(l, beta2)),
                  mul(l, mul(l, l->grad, l->grad), number(l, 1 - beta2)));
    fl_id p1 = correction(l, l->power[0]), p2 = correction(l, l->power[1]);
    l->next_state[0] = m;
    l->next_state[1] = v;
    if (fl_node_int(g, l->node, "bias_corrected", 0) != 0) {
        fl_id one = fl_build_double(g, "one", 1);
        fl_id up1 = fl_build_cast(g, "m_scale", op2(l, FL_OP_DIV, "m_scale", one, p1), FL_FLOAT);
        fl_id up2 = fl_build_cast(g, "v_scale", op2(l, FL_OP_DIV, "v_scale", one, p2), FL_FLOAT);
        l->next_w = descend(l, rate(l), scaled(l, mul(l, m, up1), mul(l, v, up2)));
        return;
    }
    fl_id ratio = op2(l, FL_OP_DIV, "ratio", fl_build_1(g, FL_OP_SQRT, "root", p2), p1);
    l->next_w = descend(l, mul(l, rate(l), fl_build_cast(g, "ratio", ratio, FL_FLOAT)), scaled(l, m, v));
}

/* s = (sqrt(n') - sqrt(n)) / lr; z' = z + g - s w; w = 0 if |z'| <= l1, else -(z' - sign(z') l1) / ((beta + sqrt(n')) / lr + l2) */
static void lower_ftrl(lowering *l)
{
    fl_graph *g = l->g;
    fl_id lr = rate(l), z = l->state[0], n = l->state[1], l1 = number(l, attribute(l, "l1", 0)), zero = number(l, 0);
    fl_id next_n = op2(l, FL_OP_ADD, "n", n, mul(l, l->grad, l->grad)), root = square_root(l, next_n);
    fl_id sigma = op2(l, FL_OP_DIV, "sigma", op2(l, FL_OP_SUB, "gain", root, square_root(l, n)), lr);
    fl_id next_z = op2(l, FL_OP_SUB, "z", op2(l, FL_OP_ADD, "z", z, l->grad), mul(l, sigma, l->w));
    fl_id shrunk = op2(l, FL_OP_SUB, "shrunk", next_z, mul(l, fl_build_1(g, FL_OP_SIGN, "sign", next_z), l1));
    fl_id denominator = op2(l, FL_OP_ADD, "denominator", op2(l, FL_OP_DIV, "scaled", op2(l, FL_OP_ADD, "held", root, number(l, attribute(l, "beta", 1))), lr),
                            number(l, attribute(l, "ftrl_l2", 0)));
    fl_id w = fl_build_1(g, FL_OP_NEG, "w", op2(l, FL_OP_DIV, "w", shrunk, denominator));
    fl_id small = op2(l, FL_OP_LESS_OR_EQUAL, "small", fl_build_1(g, FL_OP_ABS, "size", next_z), l1);
    l->next_w = fl_build_n(g, FL_OP_WHERE, "next", (fl_id[]){small, zero, w}, 3);
    l->next_state[0] = next_z;
    l->next_state[1] = next_n;
}

/* Rows of w or of a state. */
static fl_id take_rows(lowering *l, fl_id v)
{
    return l->rows == FL_NONE || v == FL_NONE ? v : op2(l, FL_OP_GATHER, "w_rows", v, l->rows);
}

/* The result of output `out` of the node: `next` in place of the rows of `old`. */
static bool put(lowering *l, fl_rewriter *r, uint32_t out, fl_id old, fl_id next)
{
    fl_graph *g = l->g;
    if (l->rows != FL_NONE)
        next = fl_build_n(g, FL_OP_SCATTER_ND, "next", (fl_id[]){old, l->index, next}, 3);
    return next == FL_NONE || fl_rewriter_put(r, g->nodes[l->node].out[out], next);
}

static fl_status lower(fl_graph *g, fl_pass_ctx *cx, fl_rewriter *r, fl_id node)
{
    const fl_node n = g->nodes[node];
    uint32_t n_states = n.n_out - 1u, n_powers = n.op == FL_OP_ADAM ? 2 : 0, at = 1 + n_states;
    fl_id old[3] = {FL_NONE, FL_NONE, FL_NONE};
    lowering l = {.g = g, .node = node, .rows = FL_NONE, .state = {FL_NONE, FL_NONE}, .next_w = FL_NONE};
    for (uint32_t i = 0; i <= n_states; i++) /* what an earlier node of a chain made is known by now */
        old[i] = fl_rewriter_get(r, n.in[i]);
    for (uint32_t i = 0; i < n_powers; i++)
        l.power[i] = fl_rewriter_get(r, n.in[at++]);
    l.grad = fl_rewriter_get(r, n.in[at++]);
    l.factor = fl_rewriter_get(r, n.in[at++]);
    if (at < n.n_in && n.in[at] != FL_NONE) {
        l.rows = n.in[at];
        l.index = fl_build_2(g, FL_OP_UNSQUEEZE, "index", l.rows, fl_build_ints(g, "axis", (int64_t[]){1}, 1));
    }
    l.w = take_rows(&l, old[0]);
    for (uint32_t i = 0; i < n_states; i++)
        l.state[i] = take_rows(&l, old[1 + i]);
    double l2 = attribute(&l, "l2", 0);
    if (l2 != 0)
        l.grad = op2(&l, FL_OP_ADD, "regularised", l.grad, mul(&l, l.w, number(&l, l2)));
    static void (*const rules[])(lowering *) = {lower_sgd, lower_momentum, lower_adagrad, lower_rowwise_adagrad, lower_adam, lower_ftrl};
    _Static_assert(FL_OP_FTRL - FL_OP_SGD == 5 && FL_OP_ADAM - FL_OP_SGD == 4, "rules stand in the order of ops.def");
    rules[n.op - FL_OP_SGD](&l);
    bool done = put(&l, r, 0, old[0], l.next_w);
    for (uint32_t i = 0; i < n_states; i++)
        done = put(&l, r, 1 + i, old[1 + i], l.next_state[i]) && done;
    FL_TRY(fl_graph_ok(g, cx->diag));
    if (!done)
        return fl_error(cx->diag, FL_E_PASS, n.origin.loc, "the result of an optimiser is an output of the program; it can only be an update");
    fl_node_erase(g, node);
    cx->n_changed++;
    return FL_OK;
}

fl_status fl_pass_lower_optimisers(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    uint32_t n = g->n_nodes;
    for (fl_id i = 0; i < n; i++)
        if (fl_op_has(g->nodes[i].op, FL_OPTIMISER))
            FL_TRY(lower(g, cx, &r, i));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    return fl_graph_sort(g, cx->diag);
}
