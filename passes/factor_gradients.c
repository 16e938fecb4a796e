/*
 * factor_gradients.c -- sums over the batch rows of a distinct row, without what is the same for all of them.
 *
 *   FieldPoolGrad <squares = 1> (e, .., df_m.., dq_m)          dq_m = d u_m', d [B,1], u_m [K]: of every field, and d the same
 *       ->  FieldPoolGrad <squares = 1, scaled = 1> (e, .., df_m.., d, u_m)
 *
 * for sum over b of d[b] u = (sum over b of d[b]) u. So it is where an interaction ends in a layer of one unit, as FLEN's does: all columns of a batch row's gradient are
 * that row's d times a weight. A number is then added for each look-up where a vector was loaded, and the vectors are never made: a quarter of what the sums read.
 * Where the layer has more units, d is [B,K] and dq_m = d diag(u_m): the fields share one gradient, that of the interaction, and their own are never made.
 *
 * dq is seen through products with what does not depend on the batch, a piece of a Split of columns, and ends at Gemm(d, w, transB) or MatMul(d, w), or, whole, at
 * what those products multiply. Numbers change in rounding alone. Needs ORDER and SHAPES, keeps SHAPES. O(nodes + operands of FieldPoolGrad * depth), depth bounded
 * by MAX_FACTORS.
 */
#include "passes/rewrite.h"

#include <string.h>

enum { MAX_FACTORS = 8 };

/* dq = d u', u = columns [from, from + width) of w, times the factors; or dq = d times the factors, and w is FL_NONE. */
typedef struct outer {
    fl_id d, w;
    bool w_is_column; /* w is [N,1], else [1,N] */
    int64_t from, width, n_columns;
    fl_id factor[MAX_FACTORS]; /* [1], [K], [1,K] or scalar */
    uint32_t n_factors;
    bool negative;
} outer;

/* Does the value have one row, whatever the batch: all dimensions but the last are 1? */
static bool is_of_no_row(const fl_graph *g, fl_id v)
{
    const fl_type *t = fl_value_type(g, v);
    for (int d = 0; d + 1 < t->rank; d++)
        if (t->dims[d] != 1)
            return false;
    return t->rank == 0 || !FL_DIM_IS_SYM(t->dims[t->rank - 1]);
}

static bool is_column(const fl_graph *g, fl_id v)
{
    const fl_type *t = fl_value_type(g, v);
    return t->rank == 2 && t->dims[1] == 1 && t->dims[0] != 1 && t->dtype == FL_FLOAT;
}

static bool add_factor(const fl_graph *g, outer *o, fl_id factor)
{
    if (o->n_factors == MAX_FACTORS || !is_of_no_row(g, factor))
        return false;
    /* behind a Split a factor of many columns is one of other columns than ours */
    const fl_type *t = fl_value_type(g, factor);
    if (t->rank > 0 && t->dims[t->rank - 1] != 1 && o->n_columns != o->width)
        return false;
    o->factor[o->n_factors++] = factor;
    return true;
}

static bool see_split(const fl_graph *g, outer *o, fl_id node, fl_id piece)
{
    const fl_node *n = &g->nodes[node];
    int64_t axis = fl_node_int(g, node, "axis", 0);
    if (axis != 1 && axis != -1)
        return false;
    for (uint32_t k = 0; k < n->n_out && n->out[k] != piece; k++) {
        if (n->out[k] == FL_NONE)
            return false;
        o->from += fl_value_type(g, n->out[k])->dims[1];
    }
    o->n_columns = fl_value_type(g, n->in[0])->dims[1];
    return true;
}

static bool see_product(const fl_graph *g, outer *o, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    const fl_type *w = fl_value_type(g, n->in[1]);
    if (n->op == FL_OP_GEMM && (fl_node_int(g, node, "transA", 0) != 0 || fl_node_float(g, node, "alpha", 1.0) != 1.0 || (n->n_in > 2 && n->in[2] != FL_NONE)))
        return false;
    o->d = n->in[0];
    o->w = n->in[1];
    o->w_is_column = n->op == FL_OP_GEMM && fl_node_int(g, node, "transB", 0) != 0;
    return is_column(g, o->d) && w->rank == 2 && w->dims[o->w_is_column ? 1 : 0] == 1 && w->dims[o->w_is_column ? 0 : 1] == o->n_columns;
}

/* The other operand of a product of v [B,K] with what has no rows; FL_NONE if neither is. */
static fl_id of_batch(const fl_graph *g, const fl_node *n, fl_id *factor)
{
    for (uint32_t k = 0; k < 2; k++) {
        const fl_type *t = fl_value_type(g, n->in[k]);
        *factor = n->in[1 - k];
        if (t->rank == 2 && t->dims[0] != 1 && is_of_no_row(g, *factor))
            return n->in[k];
    }
    return FL_NONE;
}

/* As a column times a vector, or `whole`. */
static bool see(const fl_graph *g, fl_id dq, bool whole, outer *o)
{
    const fl_type *t = fl_value_type(g, dq);
    *o = (outer){.d = FL_NONE, .w = FL_NONE, .width = t->dims[1], .n_columns = t->dims[1]};
    if (t->dtype != FL_FLOAT || FL_DIM_IS_SYM(t->dims[1]) || t->dims[1] < 2)
        return false;
    for (fl_id v = dq;;) {
        fl_id node = fl_value_node(g, v), factor = FL_NONE, inner = FL_NONE;
        fl_op op = node == FL_NONE ? FL_N_OPS : g->nodes[node].op;
        if (op == FL_OP_MUL)
            inner = of_batch(g, &g->nodes[node], &factor);
        if (!whole && (op == FL_OP_GEMM || op == FL_OP_MATMUL))
            return see_product(g, o, node);
        if (op == FL_OP_NEG) {
            o->negative = !o->negative;
            v = g->nodes[node].in[0];
        } else if (!whole && op == FL_OP_SPLIT && o->n_columns == o->width) {
            if (!see_split(g, o, node, v))
                return false;
            v = g->nodes[node].in[0];
        } else if (inner != FL_NONE) {
            if (!add_factor(g, o, factor))
                return false;
            v = inner;
        } else {
            o->d = v;
            return whole && v != dq;
        }
    }
}

/* Columns [from, from + width) of w, as a vector. */
static fl_id build_weights(fl_graph *g, const outer *o)
{
    int64_t sizes[3] = {o->from, o->width, o->n_columns - o->from - o->width};
    fl_id part[3], u = o->w;
    uint32_t first = sizes[0] > 0 ? 0 : 1, n = (sizes[2] > 0 ? 3 : 2) - first;

    if (o->n_columns != o->width) {
        fl_build_split(g, "weights", o->w, o->w_is_column ? 0 : 1, sizes + first, n, part);
        u = part[1 - first];
    }
    return fl_build_reshape(g, "weights", u, (int64_t[]){o->width}, 1);
}

/* u [K]; if there are no weights, there are factors, or it is minus 1. */
static fl_id build_vector(fl_graph *g, const outer *o)
{
    fl_id u = o->w == FL_NONE ? FL_NONE : build_weights(g, o);

    for (uint32_t k = 0; k < o->n_factors; k++) {
        fl_id factor = o->factor[k];
        const fl_type *t = fl_value_type(g, factor);
        if (t->rank > 1)
            factor = fl_build_reshape(g, "factor", factor, (int64_t[]){t->dims[t->rank - 1]}, 1);
        u = u == FL_NONE ? factor : fl_build_2(g, FL_OP_MUL, "scale", u, factor);
    }
    u = u == FL_NONE ? fl_build_scalar(g, "one", 1) : u;
    if (o->negative)
        u = fl_build_1(g, FL_OP_NEG, "scale", u);
    if (fl_value_type(g, u)->rank == 0 || fl_value_type(g, u)->dims[0] != o->width)
        u = fl_build_2(g, FL_OP_EXPAND, "scale", u, fl_build_ints(g, "width", &o->width, 1));
    return u;
}

/* All of the m gradients, with one d. */
static bool see_all(const fl_graph *g, const fl_node *n, uint32_t m, bool whole, outer *o)
{
    for (uint32_t k = 0; k < m; k++)
        if (n->in[4 + m + k] == FL_NONE || !see(g, n->in[4 + m + k], whole, &o[k]) || o[k].d != o[0].d)
            return false;
    return true;
}

static fl_status factor(fl_graph *g, fl_pass_ctx *cx, fl_rewriter *r, fl_id node)
{
    const fl_node n = g->nodes[node];
    uint32_t m = (n.n_in - 4u) / 2u, n_in = 4 + 3 * m;
    outer *o = fl_arena_new(&cx->scratch, outer, m + 1u);
    fl_id *in = fl_arena_new(&cx->scratch, fl_id, n_in);
    if (!o || !in)
        return fl_out_of_memory(cx->diag);
    if (!see_all(g, &n, m, false, o) && !see_all(g, &n, m, true, o))
        return FL_OK;
    memcpy(in, n.in, (4 + m) * sizeof *in);
    for (uint32_t k = 0; k < m; k++) {
        in[4 + m + k] = o[k].d;
        in[4 + 2 * m + k] = build_vector(g, &o[k]);
    }
    fl_id made = fl_node_new(g, FL_OP_FIELD_POOL_GRAD, g->values[n.out[0]].name, in, n_in, 1);
    const fl_attr *fields = fl_node_attr(g, node, "fields");
    fl_node_set_ints(g, made, "fields", fields->as.ints, fields->n);
    fl_node_set_int(g, made, "squares", 1);
    fl_node_set_int(g, made, "scaled", 1);
    fl_build_infer(g, made);
    FL_TRY(fl_graph_ok(g, cx->diag));
    cx->n_changed += fl_rewriter_put(r, n.out[0], fl_node_out(g, made, 0));
    return FL_OK;
}

fl_status fl_pass_factor_gradients(fl_graph *g, fl_pass_ctx *cx)
{
    fl_id n = g->n_nodes;
    uint32_t erased;
    fl_rewriter r;

    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n; i++)
        if (g->nodes[i].op == FL_OP_FIELD_POOL_GRAD && fl_node_int(g, i, "squares", 0) != 0 && fl_node_int(g, i, "scaled", 0) == 0)
            FL_TRY(factor(g, cx, &r, i));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
