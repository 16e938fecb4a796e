/*
 * kernels_shapes.c -- operators that move elements or look at shapes.
 */
#include "backend/interp/kernels.h"

#include <string.h>

fl_status fl_kernel_nop(fl_call *c)
{
    (void)c;
    return FL_OK;
}

fl_status fl_kernel_constant(fl_call *c)
{
    const fl_node *n = &c->g->nodes[c->node];
    fl_array *y = &c->out[0];
    if (n->n_attr != 1)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "it has %u attributes, wanted is one", n->n_attr);
    const fl_attr *a = &n->attr[0];
    int64_t dim = a->n;
    switch (a->kind) {
    case FL_ATTR_INT:
        FL_TRY(fl_call_new(c, y, FL_INT64, 0, NULL));
        y->i[0] = a->as.i;
        return FL_OK;
    case FL_ATTR_FLOAT:
        FL_TRY(fl_call_new(c, y, FL_FLOAT, 0, NULL));
        y->f[0] = a->as.f;
        return FL_OK;
    case FL_ATTR_INTS:
        FL_TRY(fl_call_new(c, y, FL_INT64, 1, &dim));
        for (uint32_t k = 0; k < a->n; k++)
            y->i[k] = a->as.ints[k];
        return FL_OK;
    case FL_ATTR_FLOATS:
        FL_TRY(fl_call_new(c, y, FL_FLOAT, 1, &dim));
        for (uint32_t k = 0; k < a->n; k++)
            y->f[k] = a->as.floats[k];
        return FL_OK;
    case FL_ATTR_TENSOR:
        return fl_call_from_tensor(c, a->as.tensor, y);
    case FL_ATTR_STRING:
    case FL_ATTR_STRINGS:
        break;
    }
    return fl_call_error(c, FL_E_INTERP_OPERAND, "a constant without numbers");
}

fl_status fl_kernel_constant_of_shape(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 0, 1, "the shape"));
    const fl_attr *a = fl_node_attr(c->g, c->node, "value");
    fl_array value;
    int64_t one = 1;
    FL_TRY(fl_call_new(c, &value, FL_FLOAT, 1, &one));
    if (a && a->kind == FL_ATTR_TENSOR)
        FL_TRY(fl_call_from_tensor(c, a->as.tensor, &value));
    FL_TRY(fl_call_same(c, value.n, 1, "elements of attribute value"));
    if (c->in[0]->n > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a result of rank %lld", (long long)c->in[0]->n);
    FL_TRY(fl_call_new(c, &c->out[0], value.dtype, (int)c->in[0]->n, c->in[0]->i));
    for (int64_t k = 0; k < c->out[0].n; k++)
        fl_array_copy(&c->out[0], k, &value, 0, 1);
    return FL_OK;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

fl_status fl_kernel_shape(fl_call *c)
{
    const fl_array *x = c->in[0];
    int64_t start = fl_node_int(c->g, c->node, "start", 0), end = fl_node_int(c->g, c->node, "end", x->rank);
    start = clamp(start < 0 ? start + x->rank : start, 0, x->rank);
    end = clamp(end < 0 ? end + x->rank : end, 0, x->rank);
    int64_t n = end > start ? end - start : 0;
    FL_TRY(fl_call_new(c, &c->out[0], FL_INT64, 1, &n));
    for (int64_t d = 0; d < n; d++)
        c->out[0].i[d] = x->dims[start + d];
    return FL_OK;
}

/* A view under `dims`, if it has as many elements. */
static fl_status view(fl_call *c, int rank, const int64_t *dims)
{
    char text[120], want[120];
    fl_array wanted = {.dtype = c->in[0]->dtype, .rank = (int8_t)rank};
    int64_t n = 1;
    bool fits = true;
    for (int d = 0; d < rank; d++) {
        wanted.dims[d] = dims[d];
        fits = fits && dims[d] >= 0 && !__builtin_mul_overflow(n, dims[d], &n);
    }
    if (!fits || n != c->in[0]->n)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "%s cannot become %s", fl_array_print(c->in[0], text, sizeof text),
                             fl_array_print(&wanted, want, sizeof want));
    fl_array_view(c->in[0], rank, dims, &c->out[0]);
    return FL_OK;
}

fl_status fl_kernel_reshape(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, 1, "the shape"));
    const fl_array *x = c->in[0];
    int rank = (int)c->in[1]->n, rest = -1;
    int64_t dims[FL_MAX_RANK], n = 1;
    bool allow_zero = fl_node_int(c->g, c->node, "allowzero", 0) != 0;
    if (c->in[1]->n > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a shape of rank %lld", (long long)c->in[1]->n);
    for (int d = 0; d < rank; d++) {
        dims[d] = c->in[1]->i[d];
        if (dims[d] == 0 && !allow_zero)
            dims[d] = d < x->rank ? x->dims[d] : -2;
        if (dims[d] == -1 && rest < 0)
            rest = d;
        else if (dims[d] < 0 || __builtin_mul_overflow(n, dims[d], &n))
            return fl_call_error(c, FL_E_INTERP_SHAPE, "extent %lld in dimension %d of the shape", (long long)c->in[1]->i[d], d);
    }
    if (rest >= 0)
        dims[rest] = n > 0 ? x->n / n : 0;
    return view(c, rank, dims);
}

fl_status fl_kernel_flatten(fl_call *c)
{
    const fl_array *x = c->in[0];
    int64_t axis = fl_node_int(c->g, c->node, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "axis %lld", (long long)axis);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    return view(c, 2, (int64_t[]){fl_array_extent(x, 0, at), fl_array_extent(x, at, x->rank)});
}

/* Marks the axes that operand 1 names, of a tensor of rank `rank`. */
static fl_status mark_axes(fl_call *c, int rank, bool *marked)
{
    FL_TRY(fl_call_ints(c, 1, 1, "the axes"));
    for (int64_t k = 0; k < c->in[1]->n; k++) {
        int axis;
        FL_TRY(fl_call_axis(c, c->in[1]->i[k], rank, &axis));
        marked[axis] = true;
    }
    return FL_OK;
}

fl_status fl_kernel_squeeze(fl_call *c)
{
    const fl_array *x = c->in[0];
    bool marked[FL_MAX_RANK] = {false}, all = c->n_in < 2 || !c->in[1];
    int64_t dims[FL_MAX_RANK];
    int rank = 0;
    if (!all)
        FL_TRY(mark_axes(c, x->rank, marked));
    for (int d = 0; d < x->rank; d++) {
        if (marked[d])
            FL_TRY(fl_call_same(c, x->dims[d], 1, "extent of a squeezed axis"));
        if (!marked[d] && !(all && x->dims[d] == 1))
            dims[rank++] = x->dims[d];
    }
    return view(c, rank, dims);
}

fl_status fl_kernel_unsqueeze(fl_call *c)
{
    const fl_array *x = c->in[0];
    bool marked[FL_MAX_RANK] = {false};
    int64_t dims[FL_MAX_RANK];
    FL_TRY(fl_call_ints(c, 1, 1, "the axes"));
    if (x->rank + c->in[1]->n > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a result of rank %lld", (long long)(x->rank + c->in[1]->n));
    int rank = x->rank + (int)c->in[1]->n, from = 0;
    FL_TRY(mark_axes(c, rank, marked));
    for (int d = 0; d < rank; d++)
        dims[d] = marked[d] ? 1 : from < x->rank ? x->dims[from++] : 1;
    return view(c, rank, dims);
}

fl_status fl_kernel_transpose(fl_call *c)
{
    const fl_array *x = c->in[0];
    const int64_t *perm;
    uint32_t n_perm;
    int64_t dims[FL_MAX_RANK], stride[FL_MAX_RANK], at[FL_MAX_RANK] = {0}, from = 0;
    FL_TRY(fl_call_attr_ints(c, "perm", &perm, &n_perm));
    if (perm)
        FL_TRY(fl_call_same(c, n_perm, x->rank, "length of perm"));
    for (int d = 0; d < x->rank; d++) {
        int axis;
        FL_TRY(fl_call_axis(c, perm ? perm[d] : x->rank - 1 - d, x->rank, &axis));
        dims[d] = x->dims[axis];
        stride[d] = fl_array_extent(x, axis + 1, x->rank);
    }
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    FL_TRY(fl_call_same(c, c->out[0].n, x->n, "elements after perm"));
    for (int64_t k = 0; k < x->n; k++) {
        fl_array_copy(&c->out[0], k, x, from, 1);
        for (int d = x->rank - 1; d >= 0; d--) {
            from += stride[d];
            if (++at[d] < dims[d])
                break;
            from -= stride[d] * dims[d];
            at[d] = 0;
        }
    }
    return FL_OK;
}

/* ONNX's Expand broadcasts both ways: a 1 in the shape keeps the operand's extent. */
fl_status fl_kernel_expand(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, 1, "the shape"));
    if (c->in[1]->n > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a shape of rank %lld", (long long)c->in[1]->n);
    const fl_array *x = c->in[0];
    int want = (int)c->in[1]->n, rank = want > x->rank ? want : x->rank;
    int64_t dims[FL_MAX_RANK];
    for (int d = 0; d < rank; d++) {
        int64_t shape = d >= rank - want ? c->in[1]->i[d - (rank - want)] : 1;
        int64_t extent = d >= rank - x->rank ? x->dims[d - (rank - x->rank)] : 1;
        dims[d] = shape == 1 ? extent : shape;
    }
    return fl_call_expand(c, x, rank, dims, &c->out[0]);
}

fl_status fl_kernel_concat(fl_call *c)
{
    const fl_array *x = c->in[0];
    int axis;
    char left[120], right[120];
    FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    int64_t dims[FL_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = 0;
    for (uint32_t k = 0; k < c->n_in; k++) {
        const fl_array *y = c->in[k];
        bool fits = y && y->rank == x->rank && fl_array_real(y) == fl_array_real(x);
        for (int d = 0; fits && d < x->rank; d++)
            fits = d == axis || y->dims[d] == x->dims[d];
        if (!fits)
            return fl_call_error(c, FL_E_INTERP_SHAPE, "operands %s and %s do not fit along axis %d",
                                 fl_array_print(x, left, sizeof left), y ? fl_array_print(y, right, sizeof right) : "none", axis);
        dims[axis] += y->dims[axis];
    }
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    int64_t outer = fl_array_extent(x, 0, axis), row = fl_array_extent(&c->out[0], axis, x->rank), at = 0;
    for (uint32_t k = 0; k < c->n_in; k++) {
        int64_t piece = fl_array_extent(c->in[k], axis, x->rank);
        for (int64_t o = 0; o < outer; o++)
            fl_array_copy(&c->out[0], o * row + at, c->in[k], o * piece, piece);
        at += piece;
    }
    return FL_OK;
}

/* Sizes from operand 1, or equal pieces (the last may be smaller). */
static fl_status split_size(fl_call *c, int64_t extent, uint32_t k, int64_t *size)
{
    if (c->n_in > 1 && c->in[1]) {
        FL_TRY(fl_call_ints(c, 1, 1, "the sizes"));
        FL_TRY(fl_call_same(c, c->in[1]->n, c->n_out, "number of sizes"));
        *size = c->in[1]->i[k];
        return *size >= 0 ? FL_OK : fl_call_error(c, FL_E_INTERP_OPERAND, "size %lld", (long long)*size);
    }
    FL_TRY(fl_call_same(c, fl_node_int(c->g, c->node, "num_outputs", c->n_out), c->n_out, "num_outputs"));
    int64_t piece = (extent + c->n_out - 1) / c->n_out;
    *size = clamp(extent - (int64_t)k * piece, 0, piece);
    return FL_OK;
}

fl_status fl_kernel_split(fl_call *c)
{
    const fl_array *x = c->in[0];
    int axis;
    int64_t at = 0;
    FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    int64_t outer = fl_array_extent(x, 0, axis), inner = fl_array_extent(x, axis + 1, x->rank), extent = x->dims[axis];
    for (uint32_t k = 0; k < c->n_out; k++) {
        int64_t size = 0, dims[FL_MAX_RANK];
        FL_TRY(split_size(c, extent, k, &size));
        if (size > extent - at)
            return fl_call_error(c, FL_E_INTERP_SHAPE, "sizes add up to more than the extent %lld", (long long)extent);
        memcpy(dims, x->dims, sizeof dims);
        dims[axis] = size;
        FL_TRY(fl_call_new(c, &c->out[k], x->dtype, x->rank, dims));
        for (int64_t o = 0; o < outer; o++)
            fl_array_copy(&c->out[k], o * size * inner, x, (o * extent + at) * inner, size * inner);
        at += size;
    }
    return fl_call_same(c, at, extent, "sum of the sizes");
}

fl_status fl_kernel_slice(fl_call *c)
{
    const fl_array *x = c->in[0];
    int64_t first[FL_MAX_RANK] = {0}, step[FL_MAX_RANK], dims[FL_MAX_RANK], at[FL_MAX_RANK] = {0};
    for (int d = 0; d < x->rank; d++) {
        step[d] = 1;
        dims[d] = x->dims[d];
    }
    for (uint32_t k = 1; k < c->n_in; k++) {
        if (k > 2 && !c->in[k])
            continue;
        FL_TRY(fl_call_ints(c, k, 1, "starts, ends, axes or steps"));
        FL_TRY(fl_call_same(c, c->in[k]->n, c->in[1]->n, "length of ends, axes or steps"));
    }
    const fl_array *axes = c->n_in > 3 ? c->in[3] : NULL, *steps = c->n_in > 4 ? c->in[4] : NULL;
    for (int64_t k = 0; k < c->in[1]->n; k++) {
        int d;
        FL_TRY(fl_call_axis(c, axes ? axes->i[k] : k, x->rank, &d));
        int64_t extent = x->dims[d], start = c->in[1]->i[k], end = c->in[2]->i[k], by = steps ? steps->i[k] : 1;
        if (by == 0 || by == INT64_MIN)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "step %lld", (long long)by);
        start = clamp(start < 0 ? start + extent : start, 0, by > 0 ? extent : extent - 1);
        end = clamp(end < 0 ? end + extent : end, by > 0 ? 0 : -1, extent);
        int64_t span = by > 0 ? end - start : start - end, size = by > 0 ? by : -by;
        first[d] = start;
        step[d] = by;
        dims[d] = span <= 0 ? 0 : (span - 1) / size + 1;
    }
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    for (int64_t k = 0; k < c->out[0].n; k++) {
        int64_t from = 0;
        for (int d = 0; d < x->rank; d++)
            from = from * x->dims[d] + first[d] + at[d] * step[d];
        fl_array_copy(&c->out[0], k, x, from, 1);
        for (int d = x->rank - 1; d >= 0 && ++at[d] == dims[d]; d--)
            at[d] = 0;
    }
    return FL_OK;
}
