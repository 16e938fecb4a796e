/*
 * emit_move.c -- operators that make each element of the output from a few places of the input (emit_walk.h).
 */
#include "backend/llvm/emit_walk.h"
#include "ir/einsum.h"

#include <string.h>

static int axis_of(fl_gen *gen, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(gen->g, node, "axis", otherwise);

    return (int)(axis < 0 ? axis + rank : axis);
}

/* ------------------------------------------------------------------------------------------------ rearrangements */

/* out[i..] = in[i mod extents] */
static void tile_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    LLVMValueRef v_from[FL_MAX_RANK];
    const fl_type *in = fl_value_type(gen->g, l_walk_operand(e, 0));

    for (int d = 0; d < e->out->rank; d++)
        v_from[d] = in->dims[d] == 1 ? l_i64(gen, 0)
                    : in->dims[d] == e->out->dims[d] ? e->v_at[d] : LLVMBuildURem(gen->b, e->v_at[d], l_extent(gen, in->dims[d]), "");
    l_walk_store(e, l_walk_load(e, l_walk_operand(e, 0), v_from));
}

void fl_emit_tile(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, tile_element);
}

/* out[.., i, j] = j - i >= k (upper) or <= k (lower) ? in[.., i, j] : 0 */
static void trilu_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    int rank = e->out->rank;
    double k = 0;
    const fl_node *n = &gen->g->nodes[e->node];
    bool upper = fl_node_int(gen->g, e->node, "upper", 1) != 0;
    LLVMValueRef v = l_walk_load(e, n->in[0], e->v_at), v_kept;

    if (n->n_in > 1 && n->in[1] != FL_NONE && !fl_value_scalar(gen->g, n->in[1], &k))
        l_unsupported(gen, e->node, "its diagonal is not constant");
    v_kept = LLVMBuildSub(gen->b, e->v_at[rank - 1], e->v_at[rank - 2], "");
    v_kept = LLVMBuildICmp(gen->b, upper ? LLVMIntSGE : LLVMIntSLE, v_kept, l_i64(gen, (int64_t)k), "");
    l_walk_store(e, LLVMBuildSelect(gen->b, v_kept, v, LLVMConstNull(LLVMTypeOf(v)), ""));
}

void fl_emit_trilu(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, trilu_element);
}

/* The place along an axis of `extent` > 0 that coordinate v means, which may lie outside of it. */
static LLVMValueRef padded_place(fl_gen *gen, const char *mode, LLVMValueRef v, int64_t extent)
{
    LLVMValueRef v_extent = l_i64(gen, extent), v_zero = l_i64(gen, 0), v_period;

    if (strcmp(mode, "edge") == 0) {
        v = l_min_i64(gen, v, l_i64(gen, extent - 1));
        return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, v_zero, ""), v_zero, v, "");
    }
    if (strcmp(mode, "reflect") == 0 && extent == 1)
        return v_zero;
    v_period = strcmp(mode, "reflect") == 0 ? l_i64(gen, 2 * (extent - 1)) : v_extent;
    v = LLVMBuildSRem(gen->b, v, v_period, "");
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, v_zero, ""), LLVMBuildAdd(gen->b, v, v_period, ""), v, "");
    if (v_period == v_extent)
        return v;
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, v_extent, ""), v, LLVMBuildSub(gen->b, v_period, v, ""), "");
}

/* How many elements go before each dimension; false if that is not constant. */
static bool read_pads(const fl_gen *gen, const fl_node *n, int64_t *before)
{
    int64_t pads[2 * FL_MAX_RANK], axes[FL_MAX_RANK];
    int rank = fl_value_type(gen->g, n->in[0])->rank;
    uint32_t count, n_axes = (uint32_t)rank;

    for (int d = 0; d < FL_MAX_RANK; d++) {
        axes[d] = d;
        before[d] = 0;
    }
    if (n->n_in > 3 && n->in[3] != FL_NONE && !fl_value_ints(gen->g, n->in[3], axes, FL_MAX_RANK, &n_axes))
        return false;
    if (!fl_value_ints(gen->g, n->in[1], pads, 2 * FL_MAX_RANK, &count) || count != 2 * n_axes)
        return false;
    for (uint32_t k = 0; k < n_axes; k++)
        before[axes[k] < 0 ? axes[k] + rank : axes[k]] = pads[k];
    return true;
}

/* out[i..] = value; where all of i - before lie inside, or mean a place that does: out[i..] = in[i - before ..] */
static void pad_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_node *n = &gen->g->nodes[e->node];
    const fl_type *in = fl_value_type(gen->g, n->in[0]);
    const char *mode = fl_node_string(gen->g, e->node, "mode", "constant");
    bool constant = strcmp(mode, "constant") == 0;
    int64_t before[FL_MAX_RANK];
    LLVMValueRef v_from[FL_MAX_RANK], v_inside = LLVMConstInt(gen->i1, 1, false), v_zero = l_i64(gen, 0);
    l_if inside;

    if (!read_pads(gen, n, before)) {
        l_unsupported(gen, e->node, "its pads are not constant");
        return;
    }
    for (int d = 0; d < in->rank; d++) {
        v_from[d] = l_add(gen, e->v_at[d], l_i64(gen, -before[d]));
        if (in->dims[d] == e->out->dims[d] && before[d] == 0)
            continue;
        if (FL_DIM_IS_SYM(in->dims[d]) || (!constant && in->dims[d] < 1)) {
            l_unsupported(gen, e->node, "it pads an axis of unknown length, or without elements");
            return;
        }
        if (constant)
            v_inside = LLVMBuildAnd(gen->b, v_inside, LLVMBuildICmp(gen->b, LLVMIntULT, v_from[d], l_i64(gen, in->dims[d]), ""), "");
        else
            v_from[d] = padded_place(gen, mode, v_from[d], in->dims[d]);
    }
    if (!constant) {
        l_walk_store(e, l_walk_load(e, n->in[0], v_from));
        return;
    }
    l_walk_store(e, n->n_in > 2 && n->in[2] != FL_NONE ? l_walk_load(e, n->in[2], &v_zero) : LLVMConstNull(l_type(gen, in->dtype)));
    l_if_begin(gen, &inside, v_inside);
    l_walk_store(e, l_walk_load(e, n->in[0], v_from));
    l_if_end(gen, &inside);
}

void fl_emit_pad(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, pad_element);
}

/* out[k] = start + k * delta; of floats in doubles */
static void range_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    LLVMValueRef v_zero = l_i64(gen, 0), v_start = l_walk_load(e, l_walk_operand(e, 0), &v_zero), v_delta = l_walk_load(e, l_walk_operand(e, 2), &v_zero), v_k = e->v_at[0];

    if (!real) {
        v_k = LLVMBuildIntCast2(gen->b, v_k, LLVMTypeOf(v_start), true, "");
        l_walk_store(e, LLVMBuildAdd(gen->b, v_start, LLVMBuildMul(gen->b, v_k, v_delta, ""), ""));
        return;
    }
    v_start = LLVMBuildFPCast(gen->b, v_start, gen->f64, "");
    v_k = LLVMBuildFMul(gen->b, LLVMBuildSIToFP(gen->b, v_k, gen->f64, ""), LLVMBuildFPCast(gen->b, v_delta, gen->f64, ""), "");
    l_walk_store(e, LLVMBuildFPCast(gen->b, LLVMBuildFAdd(gen->b, v_start, v_k, ""), l_type(gen, e->out->dtype), ""));
}

void fl_emit_range(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, range_element);
}

/* out[i, j] = j - i == k ? 1 : 0 */
static void eye_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    LLVMTypeRef t = l_type(gen, e->out->dtype);
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    LLVMValueRef v = LLVMBuildSub(gen->b, e->v_at[1], e->v_at[0], "");

    v = LLVMBuildICmp(gen->b, LLVMIntEQ, v, l_i64(gen, fl_node_int(gen->g, e->node, "k", 0)), "");
    l_walk_store(e, LLVMBuildSelect(gen->b, v, real ? l_number(t, 1) : l_integer(t, 1), LLVMConstNull(t), ""));
}

void fl_emit_eye_like(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, eye_element);
}

/* out[t, b..] = in[t < length[b] ? length[b] - 1 - t : t, b..] */
static void reverse_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    int time = (int)fl_node_int(gen->g, e->node, "time_axis", 0);
    LLVMValueRef v_from[FL_MAX_RANK], v_t, v_length, v_end;

    for (int d = 0; d < e->out->rank; d++)
        v_from[d] = e->v_at[d];
    v_t = e->v_at[time];
    v_end = l_extent(gen, e->out->dims[time]);
    v_length = l_min_i64(gen, l_walk_load(e, l_walk_operand(e, 1), &e->v_at[1 - time]), v_end);
    v_from[time] = LLVMBuildSub(gen->b, LLVMBuildSub(gen->b, v_length, l_i64(gen, 1), ""), v_t, "");
    v_from[time] = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v_t, v_length, ""), v_from[time], v_t, "");
    l_walk_store(e, l_walk_load(e, l_walk_operand(e, 0), v_from));
}

void fl_emit_reverse_sequence(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, reverse_element);
}

/* out[i..] = value */
static void fill_element(l_walk *e)
{
    const fl_attr *value = fl_node_attr(e->gen->g, e->node, "value");
    bool given = value && value->kind == FL_ATTR_TENSOR && value->as.tensor->bytes;
    LLVMTypeRef t = l_type(e->gen, e->out->dtype);
    bool real = l_is_real(e->out->dtype);

    if (real)
        l_walk_store(e, l_number(t, given ? fl_tensor_get_double(value->as.tensor, 0) : 0));
    else
        l_walk_store(e, l_integer(t, given ? (uint64_t)fl_tensor_get_int(value->as.tensor, 0) : 0));
}

void fl_emit_constant_of_shape(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, fill_element);
}

/* ------------------------------------------------------------------------------------------------------ by index */

/* out[i..] = in[i.., but along the axis index[i..]] */
static void gather_elements_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *in = fl_value_type(gen->g, l_walk_operand(e, 0));
    int axis = axis_of(gen, e->node, in->rank, 0);
    LLVMValueRef v_from[FL_MAX_RANK];

    for (int d = 0; d < in->rank; d++)
        v_from[d] = e->v_at[d];
    v_from[axis] = l_held_index(gen, l_walk_load(e, l_walk_operand(e, 1), e->v_at), l_extent(gen, in->dims[axis]));
    l_walk_store(e, l_walk_load(e, l_walk_operand(e, 0), v_from));
}

void fl_emit_gather_elements(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, gather_elements_element);
}

/* out[b.., i.., j..] = in[b.., index[b.., i..], j..], where the last dimension of the index holds coordinates */
static void gather_nd_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *in = fl_value_type(gen->g, l_walk_operand(e, 0)), *index = fl_value_type(gen->g, l_walk_operand(e, 1));
    int shared = (int)fl_node_int(gen->g, e->node, "batch_dims", 0), depth = (int)index->dims[index->rank - 1];
    LLVMValueRef v_from[FL_MAX_RANK], v_index[FL_MAX_RANK];

    for (int d = 0; d < index->rank - 1; d++)
        v_index[d] = e->v_at[d];
    for (int d = 0; d < in->rank; d++) {
        if (d < shared) {
            v_from[d] = e->v_at[d];
        } else if (d < shared + depth) {
            v_index[index->rank - 1] = l_i64(gen, d - shared);
            v_from[d] = l_held_index(gen, l_walk_load(e, l_walk_operand(e, 1), v_index), l_extent(gen, in->dims[d]));
        } else {
            v_from[d] = e->v_at[index->rank - 1 + d - shared - depth];
        }
    }
    l_walk_store(e, l_walk_load(e, l_walk_operand(e, 0), v_from));
}

void fl_emit_gather_nd(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, gather_nd_element);
}

/* out[i.., j, k..] = values[index[i.., k..] == j or == j - depth] */
static void one_hot_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *index = fl_value_type(gen->g, l_walk_operand(e, 0));
    int axis = axis_of(gen, e->node, e->out->rank, -1);
    bool real = index->dtype == FL_FLOAT || index->dtype == FL_DOUBLE;
    LLVMValueRef v_from[FL_MAX_RANK], v, v_on, v_values[2], v_j = e->v_at[axis], v_end = l_extent(gen, e->out->dims[axis]);

    for (int d = 0; d < index->rank; d++)
        v_from[d] = e->v_at[d < axis ? d : d + 1];
    v = l_walk_load(e, l_walk_operand(e, 0), v_from);
    v = real ? LLVMBuildFreeze(gen->b, LLVMBuildFPToSI(gen->b, v, gen->i64, ""), "")
             : LLVMBuildIntCast2(gen->b, v, gen->i64, index->dtype != FL_UINT8, "");
    v_on = LLVMBuildICmp(gen->b, LLVMIntEQ, v, LLVMBuildSub(gen->b, v_j, v_end, ""), "");
    v_on = LLVMBuildOr(gen->b, v_on, LLVMBuildICmp(gen->b, LLVMIntEQ, v, v_j, ""), "");
    for (int k = 0; k < 2; k++) {
        LLVMValueRef v_k = l_i64(gen, k);

        v_values[k] = l_walk_load(e, l_walk_operand(e, 2), &v_k);
    }
    l_walk_store(e, LLVMBuildSelect(gen->b, v_on, v_values[1], v_values[0], ""));
}

void fl_emit_one_hot(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, one_hot_element);
}

/* --------------------------------------------------------------------------------------------------- along an axis */

/* a stands before b: it is larger, or smaller; NaN is larger than all others. */
static LLVMValueRef stands_before(fl_gen *gen, fl_dtype t, bool larger, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef v_nan, v_other, v;

    if (t == FL_UINT8)
        return LLVMBuildICmp(gen->b, larger ? LLVMIntUGT : LLVMIntULT, a, b, "");
    if (t != FL_FLOAT && t != FL_DOUBLE)
        return LLVMBuildICmp(gen->b, larger ? LLVMIntSGT : LLVMIntSLT, a, b, "");
    v_nan = LLVMBuildFCmp(gen->b, LLVMRealUNO, larger ? a : b, larger ? a : b, "");
    v_other = LLVMBuildFCmp(gen->b, LLVMRealUNO, larger ? b : a, larger ? b : a, "");
    v = LLVMBuildFCmp(gen->b, larger ? LLVMRealOGT : LLVMRealOLT, a, b, "");
    return LLVMBuildOr(gen->b, v, LLVMBuildAnd(gen->b, v_nan, LLVMBuildNot(gen->b, v_other, ""), ""), "");
}

/* x takes the place of the best so far; among equals the last one does if asked for. */
static LLVMValueRef goes_before(const l_walk *e, fl_dtype t, LLVMValueRef v, LLVMValueRef v_best)
{
    fl_gen *gen = e->gen;
    bool max = gen->g->nodes[e->node].op == FL_OP_ARG_MAX, last = fl_node_int(gen->g, e->node, "select_last_index", 0) != 0;

    return last ? LLVMBuildNot(gen->b, stands_before(gen, t, max, v_best, v), "") : stands_before(gen, t, max, v, v_best);
}

/* best = in[.., 0, ..]; for j = 1 ..: if in[.., j, ..] goes before best: best = it, at = j;  out = at */
static void arg_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    fl_id in = l_walk_operand(e, 0);
    const fl_type *t = fl_value_type(gen->g, in);
    int axis = axis_of(gen, e->node, t->rank, 0);
    bool keep = fl_node_int(gen->g, e->node, "keepdims", 1) != 0;
    LLVMValueRef v_from[FL_MAX_RANK], v_best, v_place, v, v_before;
    l_loop loop;

    for (int d = 0; d < t->rank; d++)
        v_from[d] = d == axis ? l_i64(gen, 0) : e->v_at[keep || d < axis ? d : d - 1];
    v_best = l_walk_load(e, in, v_from);
    l_loop_begin(gen, &loop, l_i64(gen, 1), l_extent(gen, t->dims[axis]), 1);
    v_best = l_carry(gen, &loop, v_best);
    v_place = l_carry(gen, &loop, l_i64(gen, 0));
    v_from[axis] = loop.v_i;
    v = l_walk_load(e, in, v_from);
    v_before = goes_before(e, t->dtype, v, v_best);
    l_next(&loop, 0, LLVMBuildSelect(gen->b, v_before, v, v_best, ""));
    l_next(&loop, 1, LLVMBuildSelect(gen->b, v_before, loop.v_i, v_place, ""));
    l_loop_end(gen, &loop);
    l_walk_store(e, loop.v_result[1]);
}

void fl_emit_arg_max(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, arg_element);
}

void fl_emit_arg_min(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, arg_element);
}

/* a stands before b, or is as large and has the lower place. */
static LLVMValueRef ranks_before(fl_gen *gen, fl_dtype t, bool larger, LLVMValueRef a, LLVMValueRef v_place_a, LLVMValueRef b, LLVMValueRef v_place_b)
{
    LLVMValueRef v_lower = LLVMBuildICmp(gen->b, LLVMIntSLT, v_place_a, v_place_b, "");

    v_lower = LLVMBuildAnd(gen->b, v_lower, LLVMBuildNot(gen->b, stands_before(gen, t, larger, b, a), ""), "");
    return LLVMBuildOr(gen->b, stands_before(gen, t, larger, a, b), v_lower, "");
}

/*
 * last = none
 * for r = 0 .. k: best = none; for j along the axis: if in[j] ranks behind the last and before the best: best = in[j], j
 *                 values[r], indices[r] = last = best
 * k sweeps over the axis and no memory: k is small where such an operator is of use.
 */
static void top_k_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_node *n = &gen->g->nodes[e->node];
    const fl_type *in = fl_value_type(gen->g, n->in[0]);
    bool larger = fl_node_int(gen->g, e->node, "largest", 1) != 0;
    LLVMValueRef v_none = l_i64(gen, -1), v_from[FL_MAX_RANK], v_last[2], v_best[2], v, v_takes;
    LLVMValueRef v_zero = LLVMConstNull(l_memory_type(gen, in->dtype));
    l_loop ranks, places;

    for (int d = 0; d < in->rank; d++)
        v_from[d] = e->v_at[d];
    l_loop_begin(gen, &ranks, l_i64(gen, 0), l_extent(gen, e->out->dims[e->skipped]), 1);
    v_last[0] = l_carry(gen, &ranks, v_zero);
    v_last[1] = l_carry(gen, &ranks, v_none);
    l_loop_begin(gen, &places, l_i64(gen, 0), l_extent(gen, in->dims[e->skipped]), 1);
    v_best[0] = l_carry(gen, &places, v_zero);
    v_best[1] = l_carry(gen, &places, v_none);
    v_from[e->skipped] = places.v_i;
    v = l_walk_load(e, n->in[0], v_from);
    v_takes = LLVMBuildOr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_last[1], v_none, ""),
                          ranks_before(gen, in->dtype, larger, v_last[0], v_last[1], v, places.v_i), "");
    v_takes = LLVMBuildAnd(gen->b, v_takes,
                           LLVMBuildOr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_best[1], v_none, ""),
                                       ranks_before(gen, in->dtype, larger, v, places.v_i, v_best[0], v_best[1]), ""), "");
    l_next(&places, 0, LLVMBuildSelect(gen->b, v_takes, v, v_best[0], ""));
    l_next(&places, 1, LLVMBuildSelect(gen->b, v_takes, places.v_i, v_best[1], ""));
    l_loop_end(gen, &places);
    e->v_at[e->skipped] = ranks.v_i;
    for (uint32_t k = 0; k < 2; k++) {
        if (k < n->n_out && n->out[k] != FL_NONE)
            l_store(gen, k == 0 ? in->dtype : FL_INT64, places.v_result[k], l_walk_address(e, n->out[k], e->v_at));
        l_next(&ranks, k, places.v_result[k]);
    }
    l_loop_end(gen, &ranks);
}

void fl_emit_top_k(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];

    l_walk_elements(gen, node, axis_of(gen, node, fl_value_type(gen->g, n->in[0])->rank, -1), top_k_element);
}

/* sum = 0; for j along the axis, or backwards: out[.., j, ..] = sum + in[.., j, ..], or sum before it is added */
static void cum_sum_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    bool exclusive = fl_node_int(gen->g, e->node, "exclusive", 0) != 0, reverse = fl_node_int(gen->g, e->node, "reverse", 0) != 0;
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    LLVMValueRef v_end = l_extent(gen, e->out->dims[e->skipped]), v, v_sum, v_next;
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), v_end, 1);
    v_sum = l_carry(gen, &loop, LLVMConstNull(l_memory_type(gen, e->out->dtype)));
    e->v_at[e->skipped] = loop.v_i;
    if (reverse)
        e->v_at[e->skipped] = LLVMBuildSub(gen->b, LLVMBuildSub(gen->b, v_end, l_i64(gen, 1), ""), loop.v_i, "");
    v = l_walk_load(e, l_walk_operand(e, 0), e->v_at);
    v_next = real ? LLVMBuildFAdd(gen->b, v_sum, v, "") : LLVMBuildAdd(gen->b, v_sum, v, "");
    l_walk_store(e, exclusive ? v_sum : v_next);
    l_next(&loop, 0, v_next);
    l_loop_end(gen, &loop);
}

void fl_emit_cum_sum(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    int rank = fl_value_type(gen->g, n->in[0])->rank;
    double axis;

    if (!fl_value_scalar(gen->g, n->in[1], &axis)) {
        l_unsupported(gen, node, "its axis is not constant");
        return;
    }
    l_walk_elements(gen, node, (int)(axis < 0 ? axis + rank : axis), cum_sum_element);
}

/* -------------------------------------------------------------------------------------------------------- MatMul */

/* sum = 0; for k: sum = sum + a[.., i, k] b[.., k, j]; out[.., i, j] = sum */
static void dot_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *a = fl_value_type(gen->g, l_walk_operand(e, 0)), *b = fl_value_type(gen->g, l_walk_operand(e, 1));
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    int out = e->out->rank, batch = out - (a->rank > 1) - (b->rank > 1);
    LLVMValueRef v_a[FL_MAX_RANK], v_b[FL_MAX_RANK], v_sum, v;
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), l_extent(gen, a->dims[a->rank - 1]), 1);
    v_sum = l_carry(gen, &loop, LLVMConstNull(l_memory_type(gen, e->out->dtype)));
    for (int d = 0; d < a->rank - 2; d++)
        v_a[d] = a->dims[d] == 1 ? l_i64(gen, 0) : e->v_at[batch - (a->rank - 2) + d];
    for (int d = 0; d < b->rank - 2; d++)
        v_b[d] = b->dims[d] == 1 ? l_i64(gen, 0) : e->v_at[batch - (b->rank - 2) + d];
    if (a->rank > 1)
        v_a[a->rank - 2] = e->v_at[batch];
    if (b->rank > 1)
        v_b[b->rank - 1] = e->v_at[out - 1];
    v_a[a->rank - 1] = v_b[b->rank > 1 ? b->rank - 2 : 0] = loop.v_i;
    if (real)
        v = LLVMBuildFAdd(gen->b, v_sum, LLVMBuildFMul(gen->b, l_walk_load(e, l_walk_operand(e, 0), v_a), l_walk_load(e, l_walk_operand(e, 1), v_b), ""), "");
    else
        v = LLVMBuildAdd(gen->b, v_sum, LLVMBuildMul(gen->b, l_walk_load(e, l_walk_operand(e, 0), v_a), l_walk_load(e, l_walk_operand(e, 1), v_b), ""), "");
    l_next(&loop, 0, v);
    l_loop_end(gen, &loop);
    l_walk_store(e, loop.v_result[0]);
}

void l_emit_dot_products(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, dot_element);
}

/* -------------------------------------------------------------------------------------------------------- Einsum */

typedef struct einsum {
    l_walk *e;
    fl_einsum terms;
    bool summed[FL_EINSUM_AXES];         /* axes that the output lacks */
    fl_dim extent[FL_EINSUM_AXES];       /* 1 for axes that nobody has */
    LLVMValueRef v_axis[FL_EINSUM_AXES]; /* the index of each axis, as far as the open loops say */
} einsum;

static LLVMValueRef product_of_terms(const einsum *x)
{
    fl_gen *gen = x->e->gen;
    LLVMValueRef v_product = NULL, v_from[FL_MAX_RANK];

    for (uint32_t k = 0; k < x->terms.n_in; k++) {
        const fl_type *t = fl_value_type(gen->g, l_walk_operand(x->e, k));
        LLVMValueRef v;

        for (int d = 0; d < t->rank; d++)
            v_from[d] = t->dims[d] == 1 ? l_i64(gen, 0) : x->v_axis[x->terms.axis[k][d]];
        v = l_walk_load(x->e, l_walk_operand(x->e, k), v_from);
        v_product = v_product ? LLVMBuildFMul(gen->b, v_product, v, "") : v;
    }
    return v_product;
}

/* Sums over all axes from `axis` on that the output lacks. */
static LLVMValueRef sum_of_products(einsum *x, int axis, LLVMValueRef v_sum)
{
    fl_gen *gen = x->e->gen;
    l_loop loop;

    while (axis < FL_EINSUM_AXES && !(x->summed[axis] && x->extent[axis] != 1))
        axis++;
    if (axis == FL_EINSUM_AXES)
        return LLVMBuildFAdd(gen->b, v_sum, product_of_terms(x), "");
    l_loop_begin(gen, &loop, l_i64(gen, 0), l_extent(gen, x->extent[axis]), 1);
    v_sum = l_carry(gen, &loop, v_sum);
    x->v_axis[axis] = loop.v_i;
    l_next(&loop, 0, sum_of_products(x, axis + 1, v_sum));
    l_loop_end(gen, &loop);
    return loop.v_result[0];
}

/* out[i..] = sum over the other letters of the product of the operands */
static void einsum_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_node *n = &gen->g->nodes[e->node];
    einsum x = {.e = e};
    int8_t ranks[FL_EINSUM_MAX_IN];

    for (uint32_t k = 0; k < n->n_in && k < FL_EINSUM_MAX_IN; k++)
        ranks[k] = fl_value_type(gen->g, n->in[k])->rank;
    if (fl_einsum_parse(fl_node_string(gen->g, e->node, "equation", ""), ranks, n->n_in, &x.terms) ||
        (e->out->dtype != FL_FLOAT && e->out->dtype != FL_DOUBLE)) {
        l_unsupported(gen, e->node, "it has code for float and double only");
        return;
    }
    for (int a = 0; a < FL_EINSUM_AXES; a++) {
        x.extent[a] = 1;
        x.summed[a] = true;
        x.v_axis[a] = l_i64(gen, 0);
    }
    for (uint32_t k = 0; k < x.terms.n_in; k++)
        for (int d = 0; d < ranks[k]; d++)
            if (fl_value_type(gen->g, n->in[k])->dims[d] != 1)
                x.extent[x.terms.axis[k][d]] = fl_value_type(gen->g, n->in[k])->dims[d];
    for (int d = 0; d < e->out->rank; d++) {
        x.summed[x.terms.out[d]] = false;
        x.v_axis[x.terms.out[d]] = e->v_at[d];
    }
    l_walk_store(e, sum_of_products(&x, 0, LLVMConstNull(l_memory_type(gen, e->out->dtype))));
}

void fl_emit_einsum(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, einsum_element);
}
