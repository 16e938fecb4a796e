/* gradients_shapes.c -- rules of operators that move elements, of reductions and of matrix products. y: output, g: its gradient. */
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------------- moves */

static fl_status reshape_back(fl_flow *f, fl_id node, fl_id grad)
{
    fl_id x = f->g->nodes[node].in[0];
    fl_flow_to(f, x, fl_flow_reshape(f, grad, x));
    return FL_OK;
}

fl_status fl_grad_reshape(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reshape_back(f, node, grad[0]);
}

fl_status fl_grad_flatten(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reshape_back(f, node, grad[0]);
}

fl_status fl_grad_squeeze(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reshape_back(f, node, grad[0]);
}

fl_status fl_grad_unsqueeze(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reshape_back(f, node, grad[0]);
}

/* The inverse permutation. */
fl_status fl_grad_transpose(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    fl_id x = g->nodes[node].in[0];
    int rank = fl_value_type(g, x)->rank;
    const fl_attr *perm = fl_node_attr(g, node, "perm");
    int64_t back[FL_MAX_RANK];
    for (int d = 0; d < rank; d++)
        back[perm ? perm->as.ints[d] : rank - 1 - d] = d;
    fl_id t = fl_node_new(g, FL_OP_TRANSPOSE, fl_flow_name(f, x), grad, 1, 1);
    fl_node_set_ints(g, t, "perm", back, (uint32_t)rank);
    fl_build_infer(g, t);
    fl_flow_to(f, x, fl_node_out(g, t, 0));
    return FL_OK;
}

/* What was broadcast is summed, as for any elementwise operator. */
fl_status fl_grad_expand(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_flow_to(f, f->g->nodes[node].in[0], grad[0]);
    return FL_OK;
}

fl_status fl_grad_concat(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int64_t axis = fl_node_int(g, node, "axis", 0);
    int rank = fl_value_type(g, n.out[0])->rank;
    int64_t *sizes = fl_arena_new(&f->cx->scratch, int64_t, n.n_in);
    fl_id *part = fl_arena_new(&f->cx->scratch, fl_id, n.n_in);
    if (!sizes || !part)
        return fl_out_of_memory(f->cx->diag);
    for (uint32_t k = 0; k < n.n_in; k++) {
        sizes[k] = fl_value_type(g, n.in[k])->dims[axis < 0 ? axis + rank : axis];
        if (FL_DIM_IS_SYM(sizes[k]))
            return fl_flow_refuse(f, node, "an operand's extent along the axis is not known");
    }
    if (n.n_in == 1)
        part[0] = grad[0];
    else
        fl_build_split(g, fl_flow_name(f, n.out[0]), grad[0], axis, sizes, n.n_in, part);
    for (uint32_t k = 0; k < n.n_in; k++)
        fl_flow_to(f, n.in[k], part[k]);
    return FL_OK;
}

fl_status fl_grad_split(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id *part = fl_arena_new(&f->cx->scratch, fl_id, n.n_out);
    if (!part)
        return fl_out_of_memory(f->cx->diag);
    for (uint32_t k = 0; k < n.n_out; k++) {
        if (n.out[k] == FL_NONE)
            return fl_flow_refuse(f, node, "one of its results is left out");
        part[k] = grad[k] != FL_NONE ? grad[k] : fl_flow_zeros(f, n.out[k]);
    }
    fl_flow_to(f, n.in[0], fl_build_concat(g, fl_flow_name(f, n.in[0]), part, n.n_out, fl_node_int(g, node, "axis", 0)));
    return FL_OK;
}

/* 0 in the shape of `like`, but for `extent` along the axis. */
static fl_id zeros_beside(fl_flow *f, fl_id like, int axis, int64_t extent)
{
    fl_graph *g = f->g;
    fl_type t = *fl_value_type(g, like);
    fl_id part[FL_MAX_RANK], shape;
    if (extent == 0)
        return FL_NONE;
    for (int d = 0; d < t.rank; d++)
        part[d] = d == axis ? fl_build_ints(g, "extent", &extent, 1) : fl_flow_extent(f, like, d);
    shape = t.rank == 1 ? part[0] : fl_build_concat(g, "shape", part, (uint32_t)t.rank, 0);
    fl_id y = fl_build_2(g, FL_OP_EXPAND, "zeros", fl_build_scalar(g, "zero", 0), shape);
    t.dims[axis] = extent;
    if (y != FL_NONE)
        g->values[y].type = t;
    return y;
}

/* Of several axes in steps of 1: g with pads of 0. */
static fl_status slice_of_axes(fl_flow *f, fl_id node, fl_id grad)
{
    static const char why[] = "only slices in steps of 1, with known bounds and extents, have one";
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_type x = *fl_value_type(g, n.in[0]), y = *fl_value_type(g, n.out[0]);
    int64_t starts[FL_MAX_RANK], axes[FL_MAX_RANK], steps[FL_MAX_RANK], pads[2 * FL_MAX_RANK] = {0};
    uint32_t count, n_axes, n_steps;
    if (!fl_value_ints(g, n.in[1], starts, FL_MAX_RANK, &count))
        return fl_flow_refuse(f, node, why);
    n_axes = n_steps = count;
    for (int d = 0; d < FL_MAX_RANK; d++) {
        axes[d] = d;
        steps[d] = 1;
    }
    if ((n.n_in > 3 && n.in[3] != FL_NONE && !fl_value_ints(g, n.in[3], axes, FL_MAX_RANK, &n_axes)) ||
        (n.n_in > 4 && n.in[4] != FL_NONE && !fl_value_ints(g, n.in[4], steps, FL_MAX_RANK, &n_steps)) || n_axes != count || n_steps != count)
        return fl_flow_refuse(f, node, why);
    for (uint32_t k = 0; k < count; k++) {
        int64_t d = axes[k] < 0 ? axes[k] + x.rank : axes[k], start = starts[k];
        if (FL_DIM_IS_SYM(x.dims[d]) || FL_DIM_IS_SYM(y.dims[d]) || steps[k] != 1)
            return fl_flow_refuse(f, node, why);
        start = start < 0 ? start + x.dims[d] : start;
        start = start < 0 ? 0 : start > x.dims[d] ? x.dims[d] : start;
        pads[d] = start;
        pads[x.rank + d] = x.dims[d] - start - y.dims[d];
    }
    fl_id d = fl_build_2(g, FL_OP_PAD, fl_flow_name(f, n.in[0]), grad, fl_build_ints(g, "pads", pads, 2 * (uint32_t)x.rank));
    if (d != FL_NONE)
        g->values[d].type = x;
    fl_flow_to(f, n.in[0], d);
    return FL_OK;
}

/* g with 0 before and behind, for slices of one axis in steps of 1. */
fl_status fl_grad_slice(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int64_t start, axis = 0, step = 1;
    uint32_t count;
    bool one = fl_value_ints(g, n.in[1], &start, 1, &count) && count == 1;
    if (n.n_in > 3 && n.in[3] != FL_NONE)
        one = one && fl_value_ints(g, n.in[3], &axis, 1, &count) && count == 1;
    if (n.n_in > 4 && n.in[4] != FL_NONE)
        one = one && fl_value_ints(g, n.in[4], &step, 1, &count) && count == 1 && step == 1;
    fl_type x = *fl_value_type(g, n.in[0]), y = *fl_value_type(g, n.out[0]);
    axis = axis < 0 ? axis + x.rank : axis;
    if (!one || FL_DIM_IS_SYM(x.dims[axis]) || FL_DIM_IS_SYM(y.dims[axis]))
        return slice_of_axes(f, node, grad[0]);
    start = start < 0 ? start + x.dims[axis] : start > x.dims[axis] ? x.dims[axis] : start;
    fl_id part[3];
    uint32_t n_part = 0;
    fl_id before = zeros_beside(f, n.out[0], (int)axis, start);
    fl_id behind = zeros_beside(f, n.out[0], (int)axis, x.dims[axis] - start - y.dims[axis]);
    if (before != FL_NONE)
        part[n_part++] = before;
    part[n_part++] = grad[0];
    if (behind != FL_NONE)
        part[n_part++] = behind;
    fl_flow_to(f, n.in[0], n_part == 1 ? part[0] : fl_build_concat(g, fl_flow_name(f, n.in[0]), part, n_part, axis));
    return FL_OK;
}

/* -------------------------------------------------------------------------------------------------- reductions */

bool fl_reduced_axes(const fl_graph *g, fl_id node, uint32_t *bits)
{
    const fl_node *n = &g->nodes[node];
    int rank = fl_value_type(g, n->in[0])->rank;
    int64_t axes[FL_MAX_RANK];
    uint32_t count = 0;
    *bits = 0;
    if (n->n_in > 1 && n->in[1] != FL_NONE && !fl_value_ints(g, n->in[1], axes, FL_MAX_RANK, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        *bits |= 1u << (axes[i] < 0 ? axes[i] + rank : axes[i]);
    if (count == 0 && fl_node_int(g, node, "noop_with_empty_axes", 0) == 0)
        *bits = (1u << rank) - 1;
    return true;
}

/* g with the reduced axes as 1, and expanded to x. `divide`: by the number of terms. */
static fl_status reduction(fl_flow *f, fl_id node, fl_id grad, bool divide)
{
    fl_graph *g = f->g;
    fl_id x = g->nodes[node].in[0];
    fl_type t = *fl_value_type(g, x);
    uint32_t bits, n = 0;
    int64_t axes[FL_MAX_RANK];
    double count = 1;
    if (!fl_reduced_axes(g, node, &bits))
        return fl_flow_refuse(f, node, "its axes are not constant");
    fl_id terms = FL_NONE; /* float[1]: the unknown extents */
    for (int d = 0; d < t.rank; d++) {
        if ((bits >> d & 1) == 0)
            continue;
        axes[n++] = d;
        if (!divide)
            continue;
        if (!FL_DIM_IS_SYM(t.dims[d])) {
            count *= (double)t.dims[d];
            continue;
        }
        fl_id extent = fl_build_cast(g, "count", fl_flow_extent(f, x, d), FL_FLOAT);
        terms = terms == FL_NONE ? extent : fl_build_2(g, FL_OP_MUL, "count", terms, extent);
    }
    if (divide && count != 1) {
        fl_id known = fl_build_scalar(g, "count", count);
        terms = terms == FL_NONE ? known : fl_build_2(g, FL_OP_MUL, "count", terms, known);
    }
    fl_id y = grad;
    if (fl_node_int(g, node, "keepdims", 1) == 0 && n > 0)
        y = fl_build_2(g, FL_OP_UNSQUEEZE, "d", y, fl_build_ints(g, "axes", axes, n));
    if (divide && terms != FL_NONE)
        y = fl_build_2(g, FL_OP_DIV, "d", y, terms);
    fl_flow_to(f, x, y);
    return FL_OK;
}

fl_status fl_grad_reduce_sum(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reduction(f, node, grad[0], false);
}

fl_status fl_grad_reduce_mean(fl_flow *f, fl_id node, const fl_id *grad)
{
    return reduction(f, node, grad[0], true);
}

/* Those that are the largest (or least) share g. */
static fl_status to_the_extremes(fl_flow *f, fl_id node, fl_id grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int rank = fl_value_type(g, n.in[0])->rank;
    uint32_t bits, n_axes = 0;
    int64_t axes[FL_MAX_RANK];
    if (!fl_reduced_axes(g, node, &bits))
        return fl_flow_refuse(f, node, "its axes are not constant");
    for (int d = 0; d < rank; d++)
        if (bits >> d & 1)
            axes[n_axes++] = d;
    fl_id y = n.out[0], list = fl_build_ints(g, "axes", axes, n_axes);
    if (fl_node_int(g, node, "keepdims", 1) == 0 && n_axes > 0) {
        y = fl_build_2(g, FL_OP_UNSQUEEZE, "d", y, list);
        grad = fl_build_2(g, FL_OP_UNSQUEEZE, "d", grad, list);
    }
    fl_id chosen = fl_build_cast(g, "chosen", fl_build_2(g, FL_OP_EQUAL, "d", n.in[0], y), FL_FLOAT);
    fl_id count = n_axes > 0 ? fl_build_reduce_sum(g, "count", chosen, axes, n_axes, true) : chosen;
    fl_flow_to(f, n.in[0], fl_build_2(g, FL_OP_MUL, "d", chosen, fl_build_2(g, FL_OP_DIV, "d", grad, count)));
    return FL_OK;
}

fl_status fl_grad_reduce_max(fl_flow *f, fl_id node, const fl_id *grad)
{
    return to_the_extremes(f, node, grad[0]);
}

fl_status fl_grad_reduce_min(fl_flow *f, fl_id node, const fl_id *grad)
{
    return to_the_extremes(f, node, grad[0]);
}

/* The sums of g from the other end. */
fl_status fl_grad_cum_sum(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int64_t exclusive = fl_node_int(g, node, "exclusive", 0), reverse = fl_node_int(g, node, "reverse", 0);
    fl_id back = fl_node_new(g, FL_OP_CUM_SUM, fl_flow_name(f, n.in[0]), (fl_id[]){grad[0], n.in[1]}, 2, 1);
    fl_node_set_int(g, back, "exclusive", exclusive);
    fl_node_set_int(g, back, "reverse", !reverse);
    fl_build_infer(g, back);
    fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    return FL_OK;
}

/* The same triangle of g. */
fl_status fl_grad_trilu(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int64_t upper = fl_node_int(g, node, "upper", 1);
    fl_id in[2] = {grad[0], n.n_in > 1 ? n.in[1] : FL_NONE};
    fl_id back = fl_node_new(g, FL_OP_TRILU, fl_flow_name(f, n.in[0]), in, in[1] == FL_NONE ? 1 : 2, 1);
    fl_node_set_int(g, back, "upper", upper);
    fl_build_infer(g, back);
    fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- products */

/* alpha op(a) op(b), where op transposes if the flag is set. */
static fl_id product(fl_flow *f, const char *base, fl_id a, bool ta, fl_id b, bool tb, double alpha)
{
    fl_graph *g = f->g;
    fl_id node = fl_node_new(g, FL_OP_GEMM, base, (fl_id[]){a, b}, 2, 1);
    if (ta)
        fl_node_set_int(g, node, "transA", 1);
    if (tb)
        fl_node_set_int(g, node, "transB", 1);
    if (alpha != 1)
        fl_node_set_float(g, node, "alpha", alpha);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

/* y = alpha op(a) op(b): da = alpha g op(b)^T, db = alpha op(a)^T g, each transposed where its operand was. */
static void product_gradients(fl_flow *f, const fl_id *in, fl_id grad, bool ta, bool tb, double alpha)
{
    if (fl_flow_wants(f, in[0]))
        fl_flow_to(f, in[0], ta ? product(f, fl_flow_name(f, in[0]), in[1], tb, grad, true, alpha)
                                : product(f, fl_flow_name(f, in[0]), grad, false, in[1], !tb, alpha));
    if (fl_flow_wants(f, in[1]))
        fl_flow_to(f, in[1], tb ? product(f, fl_flow_name(f, in[1]), grad, true, in[0], ta, alpha)
                                : product(f, fl_flow_name(f, in[1]), in[0], !ta, grad, false, alpha));
}

/* Each matrix of a stack transposed. */
static fl_id transposed(fl_flow *f, fl_id x)
{
    fl_graph *g = f->g;
    int rank = fl_value_type(g, x)->rank;
    int64_t perm[FL_MAX_RANK];
    for (int d = 0; d < rank; d++)
        perm[d] = d < rank - 2 ? d : 2 * rank - 3 - d;
    fl_id t = fl_node_new(g, FL_OP_TRANSPOSE, "transposed", &x, 1, 1);
    fl_node_set_ints(g, t, "perm", perm, (uint32_t)rank);
    fl_build_infer(g, t);
    return fl_node_out(g, t, 0);
}

static fl_id with_axis(fl_flow *f, fl_id x, int64_t axis)
{
    return fl_build_2(f->g, FL_OP_UNSQUEEZE, "d", x, fl_build_ints(f->g, "axis", &axis, 1));
}

/* Of stacks: the same with each pair, summed over what one of the two was broadcast along. */
fl_status fl_grad_matmul(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int a = fl_value_type(g, n.in[0])->rank, b = fl_value_type(g, n.in[1])->rank;
    if (a == 2 && b == 2) {
        product_gradients(f, n.in, grad[0], false, false, 1);
        return FL_OK;
    }
    /* A vector is a row on the left and a column on the right. */
    fl_id x = a == 1 ? with_axis(f, n.in[0], 0) : n.in[0], w = b == 1 ? with_axis(f, n.in[1], 1) : n.in[1], y = grad[0];
    y = b == 1 ? with_axis(f, y, -1) : y;
    y = a == 1 ? with_axis(f, y, -2) : y;
    if (fl_flow_wants(f, n.in[0]))
        fl_flow_to(f, n.in[0], fl_build_2(g, FL_OP_MATMUL, fl_flow_name(f, n.in[0]), y, transposed(f, w)));
    if (fl_flow_wants(f, n.in[1])) {
        fl_id d = fl_build_2(g, FL_OP_MATMUL, fl_flow_name(f, n.in[1]), transposed(f, x), y);
        fl_flow_to(f, n.in[1], b == 1 ? fl_build_2(g, FL_OP_SQUEEZE, "d", d, fl_build_ints(g, "axis", &(int64_t){-1}, 1)) : d);
    }
    return FL_OK;
}

fl_status fl_grad_gemm(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    double beta = fl_node_float(g, node, "beta", 1);
    product_gradients(f, n.in, grad[0], fl_node_int(g, node, "transA", 0) != 0, fl_node_int(g, node, "transB", 0) != 0,
                      fl_node_float(g, node, "alpha", 1));
    if (n.n_in > 2 && fl_flow_wants(f, n.in[2]))
        fl_flow_to(f, n.in[2], beta == 1 ? grad[0] : fl_build_2(g, FL_OP_MUL, "d", grad[0], fl_build_scalar(g, "beta", beta)));
    return FL_OK;
}

/* act(x w + b): g first passes the activation, as in fl_grad_relu. */
fl_status fl_grad_linear(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id y = grad[0];
    if (strcmp(fl_node_string(g, node, "activation", "none"), "relu") == 0) {
        fl_id zero = fl_build_scalar(g, "number", 0), positive = fl_build_2(g, FL_OP_GREATER, "d", n.out[0], zero);
        y = fl_build_n(g, FL_OP_WHERE, "d", (fl_id[]){positive, fl_flow_bare(f, y, n.out[0]), zero}, 3);
    }
    product_gradients(f, n.in, y, false, false, 1);
    if (n.n_in > 2)
        fl_flow_to(f, n.in[2], y);
    return FL_OK;
}
