/*
 * emit_view.c -- shapes: nothing where the schedule lets the output share the input's memory, copies elsewhere.
 */
#include "backend/llvm/emit.h"

#include <string.h>

/* A box of elements: index d runs over [from, to); it lies at base + sum of index * stride, in elements. */
typedef struct box {
    fl_dtype dtype;
    int rank;
    LLVMValueRef v_from[FL_MAX_RANK], v_to[FL_MAX_RANK];
    LLVMValueRef v_in, v_out, v_in_stride[FL_MAX_RANK], v_out_stride[FL_MAX_RANK];
} box;

static bool is_one(LLVMValueRef v)
{
    return LLVMIsAConstantInt(v) && LLVMConstIntGetSExtValue(v) == 1;
}

/* out[j] = in[j] for n elements, n known or not */
static void copy_run(fl_gen *gen, const box *x, LLVMValueRef v_in, LLVMValueRef v_out, LLVMValueRef v_from, LLVMValueRef v_to)
{
    LLVMValueRef v_wide = LLVMBuildSub(gen->b, v_to, v_from, "");
    l_loop loop;

    v_wide = l_add(gen, v_from, LLVMBuildAnd(gen->b, v_wide, l_i64(gen, -L_LANES), ""));
    for (unsigned tail = 0; tail < 2; tail++) {
        unsigned width = tail ? 1 : L_LANES;
        l_loop_begin(gen, &loop, width == 1 ? v_wide : v_from, width == 1 ? v_to : v_wide, width);
        l_store(gen, x->dtype, l_load(gen, x->dtype, l_at(gen, x->dtype, v_in, loop.v_i), width),
                l_at(gen, x->dtype, v_out, loop.v_i));
        l_loop_end(gen, &loop);
    }
}

static void copy_dim(fl_gen *gen, const box *x, int d, LLVMValueRef v_in, LLVMValueRef v_out)
{
    l_loop loop;

    if (d == x->rank) {
        l_store(gen, x->dtype, l_load(gen, x->dtype, v_in, 1), v_out);
        return;
    }
    if (d == x->rank - 1 && is_one(x->v_in_stride[d]) && is_one(x->v_out_stride[d])) {
        copy_run(gen, x, v_in, v_out, x->v_from[d], x->v_to[d]);
        return;
    }
    l_loop_begin(gen, &loop, x->v_from[d], x->v_to[d], 1);
    copy_dim(gen, x, d + 1, l_at(gen, x->dtype, v_in, l_mul(gen, loop.v_i, x->v_in_stride[d])),
             l_at(gen, x->dtype, v_out, l_mul(gen, loop.v_i, x->v_out_stride[d])));
    l_loop_end(gen, &loop);
}

static void copy_box(fl_gen *gen, const box *x)
{
    copy_dim(gen, x, 0, x->v_in, x->v_out);
}

/*
 * The box of `part`, a value that is a part of `whole` starting at index `first` of `axis`, with `step`; whole_is_in says
 * which of the two is read.
 */
static box part_box(fl_gen *gen, fl_id part, fl_id whole, int axis, int64_t first, int64_t step, bool whole_is_in)
{
    const fl_type *t = fl_value_type(gen->g, part);
    box x = {.dtype = t->dtype, .rank = t->rank};
    LLVMValueRef v_part = l_place_of(gen, part)->v_base, v_whole = l_place_of(gen, whole)->v_base;

    v_whole = l_at(gen, t->dtype, v_whole, l_mul(gen, l_i64(gen, first), l_stride(gen, whole, axis)));
    x.v_in = whole_is_in ? v_whole : v_part;
    x.v_out = whole_is_in ? v_part : v_whole;
    for (int d = 0; d < t->rank; d++) {
        LLVMValueRef v_s = l_mul(gen, l_stride(gen, whole, d), l_i64(gen, d == axis ? step : 1));

        if (d == 0)
            l_rows(gen, t->dims[0], &x.v_from[0], &x.v_to[0]);
        else {
            x.v_from[d] = l_i64(gen, 0);
            x.v_to[d] = l_i64(gen, t->dims[d]);
        }
        x.v_in_stride[d] = whole_is_in ? v_s : l_stride(gen, part, d);
        x.v_out_stride[d] = whole_is_in ? l_stride(gen, part, d) : v_s;
    }
    return x;
}

/* Offset in elements of index `first` of `axis`, or -1 if known at run time only. */
static int64_t part_offset(fl_gen *gen, fl_id whole, int axis, int64_t first)
{
    LLVMValueRef v = l_mul(gen, l_i64(gen, first), l_stride(gen, whole, axis));

    return LLVMIsAConstantInt(v) ? LLVMConstIntGetSExtValue(v) : -1;
}

static int axis_of(fl_gen *gen, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(gen->g, node, "axis", otherwise);

    return (int)(axis < 0 ? axis + rank : axis);
}

/* Same elements in the same order under another shape. */
static void same_elements(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *in = fl_value_type(gen->g, n->in[0]), *out = fl_value_type(gen->g, n->out[0]);
    const l_place *from, *to;
    box x = {.dtype = out->dtype, .rank = 2};

    if (gen->schedule->storage[n->out[0]].kind == FL_STORAGE_NONE || l_same_place(gen, n->out[0], n->in[0], 0))
        return;
    from = l_place_of(gen, n->in[0]);
    to = l_place_of(gen, n->out[0]);
    x.v_in = from->v_base;
    x.v_out = to->v_base;
    x.v_in_stride[1] = x.v_out_stride[1] = l_i64(gen, 1);
    x.v_from[1] = l_i64(gen, 0);
    if (in->rank > 0 && out->rank > 0 && in->dims[0] == out->dims[0]) {
        l_rows(gen, out->dims[0], &x.v_from[0], &x.v_to[0]);
        x.v_to[1] = l_i64(gen, l_row_elements(out));
        x.v_in_stride[0] = from->v_row_stride;
        x.v_out_stride[0] = to->v_row_stride;
    } else if ((in->rank == 0 || from->row_stride == l_row_elements(in) || in->dims[0] == 1) &&
               (out->rank == 0 || to->row_stride == l_row_elements(out) || out->dims[0] == 1)) {
        x.v_from[0] = x.v_in_stride[0] = x.v_out_stride[0] = l_i64(gen, 0);
        x.v_to[0] = l_i64(gen, 1);
        x.v_to[1] = l_elements(gen, out);
    } else {
        l_unsupported(gen, node, "its input has gaps between rows and another number of rows than its output");
        return;
    }
    copy_box(gen, &x);
}

void fl_emit_identity(fl_gen *gen, fl_id node)
{
    same_elements(gen, node);
}

void fl_emit_reshape(fl_gen *gen, fl_id node)
{
    same_elements(gen, node);
}

void fl_emit_flatten(fl_gen *gen, fl_id node)
{
    same_elements(gen, node);
}

void fl_emit_squeeze(fl_gen *gen, fl_id node)
{
    same_elements(gen, node);
}

void fl_emit_unsqueeze(fl_gen *gen, fl_id node)
{
    same_elements(gen, node);
}

/* Its bytes are a buffer of the schedule, or immediates. */
void fl_emit_constant(fl_gen *gen, fl_id node)
{
    (void)gen;
    (void)node;
}

/* out[k] = extent of dimension start + k */
void fl_emit_shape(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    int64_t start = fl_node_int(gen->g, node, "start", 0), count = fl_value_type(gen->g, n->out[0])->dims[0];

    start = start < 0 ? start + t->rank : start;
    start = start < 0 ? 0 : start;
    for (int64_t k = 0; k < count && start + k < t->rank; k++)
        l_store(gen, FL_INT64, l_extent(gen, t->dims[start + k]),
                l_at(gen, FL_INT64, l_place_of(gen, n->out[0])->v_base, l_i64(gen, k)));
}

/* out[.., first_i + j, ..] = in_i[.., j, ..] */
void fl_emit_concat(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    int axis = axis_of(gen, node, fl_value_type(gen->g, n->out[0])->rank, 0);
    int64_t first = 0;

    for (uint32_t i = 0; i < n->n_in; i++) {
        int64_t offset = part_offset(gen, n->out[0], axis, first);

        if (offset < 0 || !l_same_place(gen, n->in[i], n->out[0], offset)) {
            box x = part_box(gen, n->in[i], n->out[0], axis, first, 1, false);

            copy_box(gen, &x);
        }
        first += fl_value_type(gen->g, n->in[i])->dims[axis];
    }
}

/* out_i[.., j, ..] = in[.., first_i + j, ..] */
void fl_emit_split(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    int axis = axis_of(gen, node, fl_value_type(gen->g, n->in[0])->rank, 0);
    int64_t first = 0;

    for (uint32_t i = 0; i < n->n_out; i++) {
        int64_t offset = part_offset(gen, n->in[0], axis, first);

        if (n->out[i] == FL_NONE) {
            l_unsupported(gen, node, "an output that nobody wants has no size");
            return;
        }
        first += fl_value_type(gen->g, n->out[i])->dims[axis];
        if (gen->schedule->storage[n->out[i]].kind == FL_STORAGE_NONE ||
            (offset >= 0 && l_same_place(gen, n->out[i], n->in[0], offset)))
            continue;
        box x = part_box(gen, n->out[i], n->in[0], axis, first - fl_value_type(gen->g, n->out[i])->dims[axis], 1, true);
        copy_box(gen, &x);
    }
}

/* out[.., j, ..] = in[.., start + j * step, ..], for one axis with constant bounds */
void fl_emit_slice(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    int64_t start, axis = 0, step = 1, offset;
    uint32_t count;
    box x;

    if (!fl_value_ints(gen->g, n->in[1], &start, 1, &count) ||
        (n->n_in > 3 && n->in[3] != FL_NONE && !fl_value_ints(gen->g, n->in[3], &axis, 1, &count)) ||
        (n->n_in > 4 && n->in[4] != FL_NONE && !fl_value_ints(gen->g, n->in[4], &step, 1, &count)) ||
        FL_DIM_IS_SYM(t->dims[axis < 0 ? axis + t->rank : axis])) {
        l_unsupported(gen, node, "it has code for one static axis with constant bounds");
        return;
    }
    axis = axis < 0 ? axis + t->rank : axis;
    start = start < 0 ? start + t->dims[axis] : start;
    start = start < 0 ? 0 : start > t->dims[axis] ? t->dims[axis] : start;
    if (step < 0 && start == t->dims[axis])
        start--;
    offset = part_offset(gen, n->in[0], (int)axis, start);
    if (step == 1 && offset >= 0 && l_same_place(gen, n->out[0], n->in[0], offset))
        return;
    x = part_box(gen, n->out[0], n->in[0], (int)axis, start, step, true);
    copy_box(gen, &x);
}
