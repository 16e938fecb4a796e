/*
 * emit_view.c -- shapes: nothing where the schedule lets the output share the input's memory, copies elsewhere; Transpose, a copy always.
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
 * The box of `part`, a value that is a part of `whole` starting at index v_first[d] of each dimension d, with steps; v_first[d] NULL: at 0.
 * whole_is_in says which of the two is read.
 */
static box part_box(fl_gen *gen, fl_id part, fl_id whole, const LLVMValueRef *v_first, const int64_t *step, bool whole_is_in)
{
    const fl_type *t = fl_value_type(gen->g, part);
    box x = {.dtype = t->dtype, .rank = t->rank};
    LLVMValueRef v_part = l_place_of(gen, part)->v_base, v_whole = l_place_of(gen, whole)->v_base;

    for (int d = 0; d < t->rank; d++)
        if (v_first[d] != NULL)
            v_whole = l_at(gen, t->dtype, v_whole, l_mul(gen, v_first[d], l_stride(gen, whole, d)));
    x.v_in = whole_is_in ? v_whole : v_part;
    x.v_out = whole_is_in ? v_part : v_whole;
    for (int d = 0; d < t->rank; d++) {
        LLVMValueRef v_s = l_mul(gen, l_stride(gen, whole, d), l_i64(gen, step[d]));

        x.v_from[d] = l_i64(gen, 0);
        x.v_to[d] = l_extent(gen, t->dims[d]);
        if (d == 0)
            l_rows(gen, t->dims[0], &x.v_from[0], &x.v_to[0]);
        x.v_in_stride[d] = whole_is_in ? v_s : l_stride(gen, part, d);
        x.v_out_stride[d] = whole_is_in ? l_stride(gen, part, d) : v_s;
    }
    return x;
}

/* A part that starts at v_first of one axis. */
static box axis_box(fl_gen *gen, fl_id part, fl_id whole, int axis, LLVMValueRef v_first, bool whole_is_in)
{
    int64_t step[FL_MAX_RANK];
    LLVMValueRef v_starts[FL_MAX_RANK] = {NULL};

    for (int d = 0; d < FL_MAX_RANK; d++)
        step[d] = 1;
    v_starts[axis] = v_first;
    return part_box(gen, part, whole, v_starts, step, whole_is_in);
}

/* Offset in elements of index v_first of `axis`, or -1 if known at run time only. */
static int64_t part_offset(fl_gen *gen, fl_id whole, int axis, LLVMValueRef v_first)
{
    LLVMValueRef v = l_mul(gen, v_first, l_stride(gen, whole, axis));

    return LLVMIsAConstantInt(v) ? LLVMConstIntGetSExtValue(v) : -1;
}

static int axis_of(fl_gen *gen, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(gen->g, node, "axis", otherwise);

    return (int)(axis < 0 ? axis + rank : axis);
}

/* Product of dimensions 1 and up. */
static LLVMValueRef row_elements(fl_gen *gen, const fl_type *t)
{
    LLVMValueRef v = l_i64(gen, 1);

    for (int d = 1; d < t->rank; d++)
        v = l_mul(gen, v, l_extent(gen, t->dims[d]));
    return v;
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
        x.v_to[1] = row_elements(gen, out);
        x.v_in_stride[0] = from->v_row_stride;
        x.v_out_stride[0] = to->v_row_stride;
    } else if (l_is_dense(gen, n->in[0]) && l_is_dense(gen, n->out[0])) {
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
    LLVMValueRef v_first = l_i64(gen, 0);

    for (uint32_t i = 0; i < n->n_in; i++) {
        int64_t offset = part_offset(gen, n->out[0], axis, v_first);

        if (offset < 0 || !l_same_place(gen, n->in[i], n->out[0], offset)) {
            box x = axis_box(gen, n->in[i], n->out[0], axis, v_first, false);

            copy_box(gen, &x);
        }
        v_first = l_add(gen, v_first, l_extent(gen, fl_value_type(gen->g, n->in[i])->dims[axis]));
    }
}

/* out_i[.., j, ..] = in[.., first_i + j, ..] */
void fl_emit_split(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    int axis = axis_of(gen, node, fl_value_type(gen->g, n->in[0])->rank, 0);
    LLVMValueRef v_first = l_i64(gen, 0);

    for (uint32_t i = 0; i < n->n_out; i++) {
        int64_t offset = part_offset(gen, n->in[0], axis, v_first);

        if (n->out[i] == FL_NONE) {
            l_unsupported(gen, node, "an output that nobody wants has no size");
            return;
        }
        if (gen->schedule->storage[n->out[i]].kind != FL_STORAGE_NONE &&
            (offset < 0 || !l_same_place(gen, n->out[i], n->in[0], offset))) {
            box x = axis_box(gen, n->out[i], n->in[0], axis, v_first, true);

            copy_box(gen, &x);
        }
        v_first = l_add(gen, v_first, l_extent(gen, fl_value_type(gen->g, n->out[i])->dims[axis]));
    }
}

/* Slice's starts and steps of each dimension; false if they are not constant. */
static bool slice_starts(fl_gen *gen, const fl_node *n, int64_t *starts, int64_t *steps)
{
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    int64_t start[FL_MAX_RANK], axis[FL_MAX_RANK], step[FL_MAX_RANK];
    uint32_t count, n_axes, n_steps;

    if (!fl_value_ints(gen->g, n->in[1], start, FL_MAX_RANK, &count))
        return false;
    for (int d = 0; d < FL_MAX_RANK; d++) {
        starts[d] = 0;
        steps[d] = step[d] = 1;
        axis[d] = d;
    }
    n_axes = n_steps = count;
    if ((n->n_in > 3 && n->in[3] != FL_NONE && !fl_value_ints(gen->g, n->in[3], axis, FL_MAX_RANK, &n_axes)) ||
        (n->n_in > 4 && n->in[4] != FL_NONE && !fl_value_ints(gen->g, n->in[4], step, FL_MAX_RANK, &n_steps)) ||
        n_axes != count || n_steps != count)
        return false;
    for (uint32_t k = 0; k < count; k++) {
        int64_t d = axis[k] < 0 ? axis[k] + t->rank : axis[k];

        starts[d] = start[k];
        steps[d] = step[k];
    }
    return true;
}

/* A start as ONNX means it: from the end if negative, and held within the extent. */
static LLVMValueRef held_start(fl_gen *gen, fl_dim dim, int64_t start, int64_t step)
{
    LLVMValueRef v_extent = l_extent(gen, dim), v = l_i64(gen, start), v_last = v_extent;

    if (start == 0)
        return v;
    if (start < 0)
        v = l_add(gen, v, v_extent);
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, l_i64(gen, 0), ""), l_i64(gen, 0), v, "");
    if (step < 0)
        v_last = LLVMBuildSub(gen->b, v_extent, l_i64(gen, 1), "");
    return l_min_i64(gen, v, v_last);
}

/* out[j..] = in[start + j * step ..], with constant bounds */
void fl_emit_slice(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    int64_t start[FL_MAX_RANK], step[FL_MAX_RANK], offset = 0;
    LLVMValueRef v_start[FL_MAX_RANK];
    box x;

    if (!slice_starts(gen, n, start, step)) {
        l_unsupported(gen, node, "it has code for constant bounds only");
        return;
    }
    for (int d = 0; d < t->rank; d++) {
        v_start[d] = held_start(gen, t->dims[d], start[d], step[d]);
        int64_t at = step[d] == 1 ? part_offset(gen, n->in[0], d, v_start[d]) : -1;
        offset = at < 0 || offset < 0 ? -1 : offset + at;
    }
    if (offset >= 0 && l_same_place(gen, n->out[0], n->in[0], offset))
        return;
    x = part_box(gen, n->out[0], n->in[0], v_start, step, true);
    copy_box(gen, &x);
}

/* out[i..] = in[i permuted]: where the last dimension stays the last, runs of it are copied */
void fl_emit_transpose(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->out[0]);
    const fl_attr *perm = fl_node_attr(gen->g, node, "perm");
    box x = {.dtype = t->dtype, .rank = t->rank};

    x.v_in = l_place_of(gen, n->in[0])->v_base;
    x.v_out = l_place_of(gen, n->out[0])->v_base;
    for (int d = 0; d < t->rank; d++) {
        x.v_from[d] = l_i64(gen, 0);
        x.v_to[d] = l_extent(gen, t->dims[d]);
        if (d == 0)
            l_rows(gen, t->dims[0], &x.v_from[0], &x.v_to[0]);
        x.v_in_stride[d] = l_stride(gen, n->in[0], perm ? (int)perm->as.ints[d] : t->rank - 1 - d);
        x.v_out_stride[d] = l_stride(gen, n->out[0], d);
    }
    copy_box(gen, &x);
}
