/*
 * canonicalise.c -- one form for what can be said in several, so that later passes match one pattern.
 *
 *   Identity(x), Sum(x), Max(x), Min(x), Concat(x), Split with one result, Reshape/Cast/Expand that change nothing   ->  x
 *   Sum(a, b)                                                   ->  Add(a, b)
 *   Add(x, 0), Sub(x, 0), Mul(x, 1), Div(x, 1)                  ->  x, if the result has x's type
 *   Mul(x, 2) and the like are left alone: no arithmetic is moved, so that values keep their bits
 *   Reshape(Reshape(x), s), Reshape(Flatten(x), s), ...         ->  Reshape(x, s) if s has no 0
 *   Neg(Neg(x))                                                 ->  x
 *
 * Needs and keeps ORDER and SHAPES. One forward sweep; replacements are followed as they are made.
 */
#include "passes/rewrite.h"

static bool is_scalar(const fl_graph *g, fl_id v, double want)
{
    double f;
    return fl_value_scalar(g, v, &f) && f == want;
}

static bool same_type(const fl_graph *g, fl_id a, fl_id b)
{
    return fl_type_equal(fl_value_type(g, a), fl_value_type(g, b));
}

/* The neutral operand of a binary node leaves the other one; FL_NONE if there is none. */
static fl_id without_neutral(const fl_graph *g, const fl_node *n)
{
    bool sum = n->op == FL_OP_ADD || n->op == FL_OP_SUB, product = n->op == FL_OP_MUL || n->op == FL_OP_DIV;
    if (!sum && !product)
        return FL_NONE;
    double neutral = sum ? 0 : 1;
    if (is_scalar(g, n->in[1], neutral))
        return n->in[0];
    return fl_op_has(n->op, FL_COMMUTATIVE) && is_scalar(g, n->in[0], neutral) ? n->in[1] : FL_NONE;
}

/* The operand that a node with one used operand hands through, FL_NONE if it does anything. */
static fl_id unchanged(const fl_graph *g, const fl_node *n)
{
    fl_id x = n->n_in > 0 ? n->in[0] : FL_NONE;
    if (x == FL_NONE || n->n_out != 1)
        return FL_NONE;
    bool one = n->n_in == 1 && (n->op == FL_OP_SUM || n->op == FL_OP_MAX || n->op == FL_OP_MIN || n->op == FL_OP_CONCAT);
    if (n->op == FL_OP_IDENTITY || one)
        return x;
    bool view = fl_op_has(n->op, FL_VIEW) || n->op == FL_OP_EXPAND || n->op == FL_OP_CAST;
    if (view && same_type(g, x, n->out[0]))
        return x;
    if (n->op == FL_OP_NEG) {
        fl_id inner = fl_value_is(g, x, FL_OP_NEG);
        return inner == FL_NONE ? FL_NONE : g->nodes[inner].in[0];
    }
    return FL_NONE;
}

/* The shape of a Reshape means the same for another operand: no 0, which copies an extent. */
static bool absolute_shape(const fl_graph *g, fl_id shape)
{
    int64_t dims[FL_MAX_RANK];
    uint32_t n;
    if (!fl_value_ints(g, shape, dims, FL_MAX_RANK, &n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (dims[i] == 0)
            return false;
    return true;
}

static bool skip_reshape(fl_graph *g, fl_node *n)
{
    fl_id inner = n->op == FL_OP_RESHAPE ? fl_value_node(g, n->in[0]) : FL_NONE;
    if (inner == FL_NONE || !absolute_shape(g, n->in[1]))
        return false;
    fl_op op = g->nodes[inner].op;
    if (op != FL_OP_RESHAPE && op != FL_OP_FLATTEN && op != FL_OP_SQUEEZE && op != FL_OP_UNSQUEEZE)
        return false;
    n->in[0] = g->nodes[inner].in[0];
    return true;
}

/* FieldPool whose sums of squares nobody wants does not compute them. */
static bool drop_squares(fl_graph *g, fl_id node)
{
    fl_node *n = &g->nodes[node];
    if (n->op != FL_OP_FIELD_POOL || fl_node_int(g, node, "squares", 0) == 0)
        return false;
    for (uint32_t k = n->n_out / 2u; k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            return false;
    n->n_out /= 2;
    fl_node_set_int(g, node, "squares", 0);
    return true;
}

fl_status fl_pass_canonicalise(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            n->in[k] = fl_rewriter_get(&r, n->in[k]);
        if (skip_reshape(g, n))
            cx->n_changed++;
        if (n->op == FL_OP_SUM && n->n_in == 2) {
            n->op = FL_OP_ADD;
            cx->n_changed++;
        }
        cx->n_changed += drop_squares(g, i);
        fl_id x = unchanged(g, n);
        if (x == FL_NONE) {
            x = without_neutral(g, n);
            if (x != FL_NONE && !same_type(g, x, n->out[0]))
                x = FL_NONE;
        }
        if (x != FL_NONE && fl_rewriter_put(&r, n->out[0], x)) {
            fl_node_erase(g, i);
            cx->n_changed++;
        }
    }
    fl_rewriter_apply(&r);
    return FL_OK;
}
