/*
 * import_axes.c -- functions along axes: softmax and its kin, reductions that others are made of.
 */
#include "ir/import_parts.h"

#include <string.h>

/*
 * From opset 13 on one axis, -1 by default. Before, the tensor was a matrix, flattened at the axis (1 by default): then `rows` is
 * true, and *x is that matrix.
 */
static fl_status one_axis(fl_import *m, fl_id *x, int64_t *axis, bool *rows)
{
    int rank, at;
    *x = m->in[0];
    *rows = m->opset < 13;
    *axis = fl_import_int(m, "axis", -1);
    if (!*rows)
        return FL_OK;
    FL_TRY(fl_import_rank(m, 0, &rank));
    FL_TRY(fl_import_axis(m, "axis", 1, rank, &at));
    *axis = -1;
    *rows = at != rank - 1;
    if (!*rows)
        return FL_OK;
    fl_id node = fl_node_new(m->g, FL_OP_FLATTEN, fl_make_base(m), x, 1, 1);
    fl_node_set_int(m->g, node, "axis", at);
    fl_build_infer(m->g, node);
    *x = fl_node_out(m->g, node, 0);
    return FL_OK;
}

/* The matrix gets the operand's shape again. */
static fl_id unflatten(fl_import *m, fl_id y, bool rows)
{
    return rows ? fl_make_2(m, FL_OP_RESHAPE, y, fl_make_1(m, FL_OP_SHAPE, m->in[0])) : y;
}

fl_status fl_expand_softmax(fl_import *m)
{
    fl_id x;
    int64_t axis;
    bool rows;
    FL_TRY(one_axis(m, &x, &axis, &rows));
    m->out[0] = unflatten(m, fl_make_softmax(m, x, axis, false), rows);
    return FL_OK;
}

fl_status fl_expand_log_softmax(fl_import *m)
{
    fl_id x;
    int64_t axis;
    bool rows;
    FL_TRY(one_axis(m, &x, &axis, &rows));
    m->out[0] = unflatten(m, fl_make_softmax(m, x, axis, true), rows);
    return FL_OK;
}

/* 1 at the first place of the largest element along the axis, else 0. */
fl_status fl_expand_hardmax(fl_import *m)
{
    fl_id x;
    int64_t axis, ends[2] = {0, 1};
    bool rows;
    FL_TRY(one_axis(m, &x, &axis, &rows));
    fl_id most = fl_node_new(m->g, FL_OP_ARG_MAX, fl_make_base(m), &x, 1, 1);
    fl_node_set_int(m->g, most, "axis", axis);
    fl_node_set_int(m->g, most, "keepdims", 0);
    fl_build_infer(m->g, most);
    fl_id shape = fl_make_1(m, FL_OP_SHAPE, x), index = fl_make_ints(m, &axis, 1);
    fl_id depth = fl_make_2(m, FL_OP_GATHER, shape, index), values = fl_make_cast(m, fl_make_ints(m, ends, 2), fl_value_type(m->g, x)->dtype);
    fl_id node = fl_node_new(m->g, FL_OP_ONE_HOT, fl_make_base(m), (fl_id[]){fl_node_out(m->g, most, 0), depth, values}, 3, 1);
    fl_node_set_int(m->g, node, "axis", axis);
    fl_build_infer(m->g, node);
    m->out[0] = unflatten(m, fl_node_out(m->g, node, 0), rows);
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- reductions */

/* A reduction of x with m's own axes. */
static fl_id reduced(fl_import *m, fl_op op, fl_id x, bool keep)
{
    fl_id node = fl_node_new(m->g, op, fl_make_base(m), (fl_id[]){x, fl_import_in(m, 1)}, fl_import_in(m, 1) == FL_NONE ? 1 : 2, 1);
    fl_node_set_int(m->g, node, "keepdims", keep);
    fl_node_set_int(m->g, node, "noop_with_empty_axes", fl_import_int(m, "noop_with_empty_axes", 0));
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

/* The same with m's own keepdims. */
static fl_id summed(fl_import *m, fl_id x)
{
    return reduced(m, FL_OP_REDUCE_SUM, x, fl_import_int(m, "keepdims", 1) != 0);
}

fl_status fl_expand_reduce_l1(fl_import *m)
{
    m->out[0] = summed(m, fl_make_1(m, FL_OP_ABS, m->in[0]));
    return FL_OK;
}

static fl_id sum_of_squares(fl_import *m)
{
    return summed(m, fl_make_2(m, FL_OP_MUL, m->in[0], m->in[0]));
}

fl_status fl_expand_reduce_l2(fl_import *m)
{
    m->out[0] = fl_make_1(m, FL_OP_SQRT, sum_of_squares(m));
    return FL_OK;
}

fl_status fl_expand_reduce_sum_square(fl_import *m)
{
    m->out[0] = sum_of_squares(m);
    return FL_OK;
}

fl_status fl_expand_reduce_log_sum(fl_import *m)
{
    m->out[0] = fl_make_1(m, FL_OP_LOG, summed(m, m->in[0]));
    return FL_OK;
}

/* The largest of each sum is taken off first, so that no power overflows. */
fl_status fl_expand_reduce_log_sum_exp(fl_import *m)
{
    fl_id most = reduced(m, FL_OP_REDUCE_MAX, m->in[0], true);
    fl_id power = fl_make_1(m, FL_OP_EXP, fl_make_2(m, FL_OP_SUB, m->in[0], most));
    bool keep = fl_import_int(m, "keepdims", 1) != 0;
    fl_id log = fl_make_1(m, FL_OP_LOG, reduced(m, FL_OP_REDUCE_SUM, power, keep));
    if (!keep)
        most = fl_make_2(m, FL_OP_RESHAPE, most, fl_make_1(m, FL_OP_SHAPE, log));
    m->out[0] = fl_make_2(m, FL_OP_ADD, log, most);
    return FL_OK;
}

/* All axes behind the first two. */
static fl_status pooled(fl_import *m, fl_op op)
{
    int64_t axes[FL_MAX_RANK];
    int rank;
    FL_TRY(fl_import_rank(m, 0, &rank));
    for (int d = 2; d < rank; d++)
        axes[d - 2] = d;
    m->out[0] = rank > 2 ? fl_make_reduce(m, op, m->in[0], axes, (uint32_t)rank - 2, true) : m->in[0];
    return FL_OK;
}

fl_status fl_expand_global_average_pool(fl_import *m)
{
    return pooled(m, FL_OP_REDUCE_MEAN);
}

fl_status fl_expand_global_max_pool(fl_import *m)
{
    return pooled(m, FL_OP_REDUCE_MAX);
}

/* The product of the shape. */
fl_status fl_expand_size(fl_import *m)
{
    int64_t axis = 0;
    m->out[0] = fl_make_reduce(m, FL_OP_REDUCE_PROD, fl_make_1(m, FL_OP_SHAPE, m->in[0]), &axis, 1, false);
    return FL_OK;
}
