/*
 * kernels_fill.c -- operators that repeat, pad, count up, mask triangles, and draw.
 */
#include "backend/interp/kernels.h"
#include "ir/base/rng.h"

#include <math.h>
#include <string.h>

/* The next coordinates in row-major order. */
static void advance(const int64_t *dims, int rank, int64_t *at)
{
    for (int d = rank - 1; d >= 0 && ++at[d] == dims[d]; d--)
        at[d] = 0;
}

fl_status fl_kernel_tile(fl_call *c)
{
    const fl_array *x = c->in[0];
    int64_t dims[FL_MAX_RANK], at[FL_MAX_RANK] = {0};
    FL_TRY(fl_call_ints(c, 1, 1, "the repeats"));
    FL_TRY(fl_call_same(c, c->in[1]->n, x->rank, "number of repeats"));
    for (int d = 0; d < x->rank; d++)
        if (c->in[1]->i[d] < 0 || __builtin_mul_overflow(x->dims[d], c->in[1]->i[d], &dims[d]))
            return fl_call_error(c, FL_E_INTERP_OPERAND, "repeat %lld", (long long)c->in[1]->i[d]);
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    for (int64_t k = 0; k < c->out[0].n; k++) {
        int64_t from = 0;
        for (int d = 0; d < x->rank; d++)
            from = from * x->dims[d] + at[d] % x->dims[d];
        fl_array_copy(&c->out[0], k, x, from, 1);
        advance(dims, x->rank, at);
    }
    return FL_OK;
}

/* The place that coordinate `i` of the padded axis comes from; -1: the constant. */
static int64_t padded_place(int64_t i, int64_t extent, const char *mode)
{
    if (i >= 0 && i < extent)
        return i;
    if (strcmp(mode, "edge") == 0)
        return i < 0 ? 0 : extent - 1;
    if (strcmp(mode, "wrap") == 0)
        return (i % extent + extent) % extent;
    if (strcmp(mode, "reflect") == 0) {
        int64_t period = 2 * (extent - 1);
        if (period == 0)
            return 0;
        i = (i % period + period) % period;
        return i < extent ? i : period - i;
    }
    return -1;
}

/* pads: how many go before each axis, then how many after; negative ones take away. */
static fl_status read_pads(fl_call *c, int64_t *before, int64_t *after)
{
    const fl_array *x = c->in[0], *axes = c->n_in > 3 ? c->in[3] : NULL;
    FL_TRY(fl_call_ints(c, 1, 1, "the pads"));
    if (axes)
        FL_TRY(fl_call_ints(c, 3, 1, "the axes"));
    int64_t n = axes ? axes->n : x->rank;
    FL_TRY(fl_call_same(c, c->in[1]->n, 2 * n, "number of pads"));
    for (int64_t k = 0; k < n; k++) {
        int axis;
        FL_TRY(fl_call_axis(c, axes ? axes->i[k] : k, x->rank, &axis));
        before[axis] = c->in[1]->i[k];
        after[axis] = c->in[1]->i[n + k];
        if (before[axis] < -INT64_MAX / 4 || before[axis] > INT64_MAX / 4 || after[axis] < -INT64_MAX / 4 || after[axis] > INT64_MAX / 4)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "the pads of axis %d are too large", axis);
    }
    return FL_OK;
}

fl_status fl_kernel_pad(fl_call *c)
{
    const fl_array *x = c->in[0], *value = c->n_in > 2 ? c->in[2] : NULL;
    const char *mode = fl_node_string(c->g, c->node, "mode", "constant");
    bool constant = strcmp(mode, "constant") == 0;
    int64_t before[FL_MAX_RANK] = {0}, after[FL_MAX_RANK] = {0}, dims[FL_MAX_RANK], at[FL_MAX_RANK] = {0};
    if (!constant && strcmp(mode, "edge") != 0 && strcmp(mode, "reflect") != 0 && strcmp(mode, "wrap") != 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "mode \"%s\"", mode);
    if (value && (value->n != 1 || fl_array_real(value) != fl_array_real(x)))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "the value is no single element of the operand's type");
    FL_TRY(read_pads(c, before, after));
    for (int d = 0; d < x->rank; d++) {
        dims[d] = x->dims[d] > INT64_MAX / 4 ? -1 : before[d] + x->dims[d] + after[d];
        if (!constant && x->dims[d] == 0 && dims[d] > 0)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "axis %d has no element to repeat", d);
    }
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    for (int64_t k = 0; k < c->out[0].n; k++) {
        int64_t from = 0;
        for (int d = 0; d < x->rank && from >= 0; d++) {
            int64_t place = padded_place(at[d] - before[d], x->dims[d], mode);
            from = place < 0 ? -1 : from * x->dims[d] + place;
        }
        if (from >= 0)
            fl_array_copy(&c->out[0], k, x, from, 1);
        else if (value)
            fl_array_copy(&c->out[0], k, value, 0, 1);
        advance(dims, x->rank, at);
    }
    return FL_OK;
}

fl_status fl_kernel_range(fl_call *c)
{
    const fl_array *start = c->in[0], *limit = c->in[1], *delta = c->in[2];
    for (uint32_t k = 0; k < 3; k++) {
        FL_TRY(fl_call_same(c, c->in[k]->n, 1, "elements of start, limit or delta"));
        FL_TRY(fl_call_same(c, fl_array_real(c->in[k]), fl_array_real(start), "kind of limit or delta"));
    }
    double from = start->f ? start->f[0] : (double)start->i[0], to = limit->f ? limit->f[0] : (double)limit->i[0];
    double by = delta->f ? delta->f[0] : (double)delta->i[0], count = by == 0 ? NAN : ceil((to - from) / by);
    if (!(count < 0x1p48))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "from %g to %g by %g", from, to, by);
    int64_t n = count > 0 ? (int64_t)count : 0;
    FL_TRY(fl_call_new(c, &c->out[0], start->dtype, 1, &n));
    for (int64_t k = 0; k < n; k++) {
        if (start->f)
            c->out[0].f[k] = from + (double)k * by;
        else
            c->out[0].i[k] = (int64_t)((uint64_t)start->i[0] + (uint64_t)k * (uint64_t)delta->i[0]);
    }
    return FL_OK;
}

fl_status fl_kernel_eye_like(fl_call *c)
{
    const fl_array *x = c->in[0];
    fl_dtype t = (fl_dtype)fl_node_int(c->g, c->node, "dtype", x->dtype);
    int64_t k = fl_node_int(c->g, c->node, "k", 0);
    if (x->rank != 2 || fl_dtype_size(t) == 0)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "it fills matrices of numbers");
    FL_TRY(fl_call_new(c, &c->out[0], t, 2, x->dims));
    for (int64_t i = 0; i < x->dims[0]; i++) {
        if (k > x->dims[1] || i + k < 0 || i + k >= x->dims[1])
            continue;
        if (c->out[0].f)
            c->out[0].f[i * x->dims[1] + i + k] = 1;
        else
            c->out[0].i[i * x->dims[1] + i + k] = 1;
    }
    return FL_OK;
}

/* Elements on the wrong side of diagonal k become 0. */
fl_status fl_kernel_trilu(fl_call *c)
{
    const fl_array *x = c->in[0];
    bool upper = fl_node_int(c->g, c->node, "upper", 1) != 0;
    int64_t k = 0;
    if (x->rank < 2)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a tensor of rank %d has no matrices", x->rank);
    if (c->n_in > 1 && c->in[1]) {
        FL_TRY(fl_call_ints(c, 1, -1, "the diagonal"));
        FL_TRY(fl_call_same(c, c->in[1]->n, 1, "numbers of the diagonal"));
        k = c->in[1]->i[0];
    }
    int64_t rows = x->dims[x->rank - 2], columns = x->dims[x->rank - 1];
    k = k > columns ? columns : k < -rows ? -rows : k;
    FL_TRY(fl_call_new_like(c, &c->out[0], x));
    for (int64_t p = 0; p < x->n; p++) {
        int64_t i = p / columns % rows, j = p % columns;
        if (upper ? j - i >= k : j - i <= k)
            fl_array_copy(&c->out[0], p, x, p, 1);
    }
    return FL_OK;
}

/* The first lengths[b] steps of each batch entry are turned round. */
fl_status fl_kernel_reverse_sequence(fl_call *c)
{
    const fl_array *x = c->in[0];
    int time = (int)fl_node_int(c->g, c->node, "time_axis", 0), batch = (int)fl_node_int(c->g, c->node, "batch_axis", 1);
    int64_t at[FL_MAX_RANK] = {0};
    FL_TRY(fl_call_ints(c, 1, 1, "the lengths"));
    if (x->rank < 2 || time < 0 || time > 1 || batch != 1 - time)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "time axis %d and batch axis %d", time, batch);
    FL_TRY(fl_call_same(c, c->in[1]->n, x->dims[batch], "number of lengths"));
    FL_TRY(fl_call_new_like(c, &c->out[0], x));
    for (int64_t k = 0; k < x->n; k++) {
        int64_t length = c->in[1]->i[at[batch]], from = 0;
        if (length < 0 || length > x->dims[time])
            return fl_call_error(c, FL_E_INTERP_OPERAND, "length %lld", (long long)length);
        for (int d = 0; d < x->rank; d++)
            from = from * x->dims[d] + (d == time && at[d] < length ? length - 1 - at[d] : at[d]);
        fl_array_copy(&c->out[0], k, x, from, 1);
        advance(x->dims, x->rank, at);
    }
    return FL_OK;
}

/* Element i is a function of the seed and i alone. */
fl_status fl_kernel_uniform_like(fl_call *c)
{
    fl_dtype t = (fl_dtype)fl_node_int(c->g, c->node, "dtype", c->in[0]->dtype);
    double low = fl_node_float(c->g, c->node, "low", 0), high = fl_node_float(c->g, c->node, "high", 1);
    double seed = fl_node_float(c->g, c->node, "seed", 0);
    uint64_t key;
    memcpy(&key, &seed, sizeof key);
    if (!fl_dtype_is_real(t))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "random numbers are of a floating-point type");
    FL_TRY(fl_call_new(c, &c->out[0], t, c->in[0]->rank, c->in[0]->dims));
    for (int64_t k = 0; k < c->out[0].n; k++) {
        uint64_t bits = fl_mix64(fl_mix64(key) + (uint64_t)k * 0x9e3779b97f4a7c15u);
        c->out[0].f[k] = low + (high - low) * ((double)(bits >> 11) * 0x1p-53);
    }
    return FL_OK;
}
