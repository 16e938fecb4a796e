/*
 * kernels_reductions.c -- operators that go along axes: sums and extremes, their places, running sums, the largest k.
 */
#include "backend/interp/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- reductions */

/* Which axes go: those of operand 1; all if there are none. *noop: nothing is to be done (noop_with_empty_axes). */
static fl_status reduced_axes(fl_call *c, bool *gone, bool *noop)
{
    const fl_array *x = c->in[0], *axes = c->n_in > 1 ? c->in[1] : NULL;
    *noop = false;
    if (axes && axes->n > 0) {
        FL_TRY(fl_call_ints(c, 1, 1, "the axes"));
        for (int64_t k = 0; k < axes->n; k++) {
            int axis;
            FL_TRY(fl_call_axis(c, axes->i[k], x->rank, &axis));
            gone[axis] = true;
        }
        return FL_OK;
    }
    *noop = fl_node_int(c->g, c->node, "noop_with_empty_axes", 0) != 0;
    for (int d = 0; d < x->rank; d++)
        gone[d] = true;
    return FL_OK;
}

typedef double real_2(double, double);
typedef int64_t int_2(int64_t, int64_t);

/* Folds in row-major order of the operand, from a first value that changes nothing. */
static fl_status reduce(fl_call *c, real_2 *real, double first_real, int_2 *integer, int64_t first_int, bool mean)
{
    const fl_array *x = c->in[0];
    bool keep = fl_node_int(c->g, c->node, "keepdims", 1) != 0, gone[FL_MAX_RANK] = {false}, noop;
    FL_TRY(reduced_axes(c, gone, &noop));
    if (noop) {
        c->out[0] = *x;
        return FL_OK;
    }
    int64_t dims[FL_MAX_RANK], stride[FL_MAX_RANK] = {0}, at[FL_MAX_RANK] = {0}, step = 1, count = 1, to = 0;
    int rank = 0;
    for (int d = x->rank - 1; d >= 0; d--) {
        stride[d] = gone[d] ? 0 : step;
        step *= gone[d] ? 1 : x->dims[d];
        count *= gone[d] ? x->dims[d] : 1;
    }
    for (int d = 0; d < x->rank; d++)
        if (keep || !gone[d])
            dims[rank++] = gone[d] ? 1 : x->dims[d];
    fl_array *y = &c->out[0];
    FL_TRY(fl_call_new(c, y, x->dtype, rank, dims));
    for (int64_t k = 0; k < y->n; k++) {
        if (y->f)
            y->f[k] = first_real;
        else
            y->i[k] = first_int;
    }
    for (int64_t k = 0; k < x->n; k++) {
        if (y->f)
            y->f[to] = real(y->f[to], x->f[k]);
        else
            y->i[to] = integer(y->i[to], x->i[k]);
        for (int d = x->rank - 1; d >= 0; d--) {
            to += stride[d];
            if (++at[d] < x->dims[d])
                break;
            to -= stride[d] * x->dims[d];
            at[d] = 0;
        }
    }
    for (int64_t k = 0; mean && k < y->n; k++) {
        if (y->f)
            y->f[k] /= (double)count;
        else if (count)
            y->i[k] /= count;
    }
    return FL_OK;
}

static double real_add(double a, double b)
{
    return a + b;
}

static int64_t int_add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static double real_multiply(double a, double b)
{
    return a * b;
}

static int64_t int_multiply(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

/* NaN wins. */
static double real_max(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

static int64_t int_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static double real_min(double a, double b)
{
    return a < b || isnan(a) ? a : b;
}

static int64_t int_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

fl_status fl_kernel_reduce_sum(fl_call *c)
{
    return reduce(c, real_add, 0, int_add, 0, false);
}

fl_status fl_kernel_reduce_mean(fl_call *c)
{
    return reduce(c, real_add, 0, int_add, 0, true);
}

fl_status fl_kernel_reduce_prod(fl_call *c)
{
    return reduce(c, real_multiply, 1, int_multiply, 1, false);
}

/* The least and the largest integer of a narrow type are its own. */
static int64_t least_of(fl_dtype t)
{
    return t == FL_INT8 ? INT8_MIN : t == FL_UINT8 || t == FL_BOOL ? 0 : t == FL_INT32 ? INT32_MIN : INT64_MIN;
}

static int64_t largest_of(fl_dtype t)
{
    return t == FL_INT8 ? INT8_MAX : t == FL_UINT8 ? UINT8_MAX : t == FL_BOOL ? 1 : t == FL_INT32 ? INT32_MAX : INT64_MAX;
}

fl_status fl_kernel_reduce_max(fl_call *c)
{
    return reduce(c, real_max, -INFINITY, int_max, least_of(c->in[0]->dtype), false);
}

fl_status fl_kernel_reduce_min(fl_call *c)
{
    return reduce(c, real_min, INFINITY, int_min, largest_of(c->in[0]->dtype), false);
}

/* --------------------------------------------------------------------------------------------- along one axis */

/* x as [outer, extent, inner] around the axis. */
typedef struct line {
    int axis;
    int64_t outer, extent, inner;
} line;

static fl_status along(fl_call *c, int64_t axis, line *l)
{
    const fl_array *x = c->in[0];
    FL_TRY(fl_call_axis(c, axis, x->rank, &l->axis));
    l->outer = fl_array_extent(x, 0, l->axis);
    l->extent = x->dims[l->axis];
    l->inner = fl_array_extent(x, l->axis + 1, x->rank);
    return FL_OK;
}

/* -1, 0 or 1 as x[a] is less than, equal to or greater than x[b]. NaN counts as larger than everything. */
static int order(const fl_array *x, int64_t a, int64_t b)
{
    if (x->i)
        return (x->i[a] > x->i[b]) - (x->i[a] < x->i[b]);
    if (isnan(x->f[a]) || isnan(x->f[b]))
        return (isnan(x->f[a]) != 0) - (isnan(x->f[b]) != 0);
    return (x->f[a] > x->f[b]) - (x->f[a] < x->f[b]);
}

static fl_status arg_extreme(fl_call *c, int sign)
{
    const fl_array *x = c->in[0];
    bool keep = fl_node_int(c->g, c->node, "keepdims", 1) != 0, last = fl_node_int(c->g, c->node, "select_last_index", 0) != 0;
    line l = {0};
    int64_t dims[FL_MAX_RANK];
    int rank = 0;
    FL_TRY(along(c, fl_node_int(c->g, c->node, "axis", 0), &l));
    for (int d = 0; d < x->rank; d++)
        if (keep || d != l.axis)
            dims[rank++] = d == l.axis ? 1 : x->dims[d];
    FL_TRY(fl_call_new(c, &c->out[0], FL_INT64, rank, dims));
    if (l.extent == 0 && c->out[0].n > 0)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "no element to choose among");
    for (int64_t k = 0; k < c->out[0].n; k++) {
        int64_t start = k / l.inner * l.extent * l.inner + k % l.inner, best = 0;
        for (int64_t j = 1; j < l.extent; j++) {
            int way = sign * order(x, start + j * l.inner, start + best * l.inner);
            best = way > 0 || (way == 0 && last) ? j : best;
        }
        c->out[0].i[k] = best;
    }
    return FL_OK;
}

fl_status fl_kernel_arg_max(fl_call *c)
{
    return arg_extreme(c, 1);
}

fl_status fl_kernel_arg_min(fl_call *c)
{
    return arg_extreme(c, -1);
}

fl_status fl_kernel_cum_sum(fl_call *c)
{
    bool exclusive = fl_node_int(c->g, c->node, "exclusive", 0) != 0, reverse = fl_node_int(c->g, c->node, "reverse", 0) != 0;
    const fl_array *x = c->in[0];
    fl_array *y = &c->out[0];
    line l = {0};
    FL_TRY(fl_call_ints(c, 1, -1, "the axis"));
    FL_TRY(fl_call_same(c, c->in[1]->n, 1, "number of axes"));
    FL_TRY(along(c, c->in[1]->i[0], &l));
    FL_TRY(fl_call_new_like(c, y, x));
    for (int64_t k = 0; k < l.outer * l.inner; k++) {
        int64_t start = k / l.inner * l.extent * l.inner + k % l.inner, i = 0;
        double f = 0;
        for (int64_t j = 0; j < l.extent; j++) {
            int64_t at = start + (reverse ? l.extent - 1 - j : j) * l.inner;
            double before = f;
            int64_t before_i = i;
            if (x->f) {
                f += x->f[at];
                y->f[at] = exclusive ? before : f;
            } else {
                i = int_add(i, x->i[at]);
                y->i[at] = exclusive ? before_i : i;
            }
        }
    }
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------- the largest k */

typedef struct ranking {
    const fl_array *x;
    int64_t start, inner;
    int sign;
} ranking;

/* Equal elements keep their order. */
static bool goes_before(const ranking *r, int64_t a, int64_t b)
{
    int way = r->sign * order(r->x, r->start + a * r->inner, r->start + b * r->inner);
    return way > 0 || (way == 0 && a < b);
}

/* Sinks place[at] in a heap whose root goes last. */
static void sift(const ranking *r, int64_t *place, int64_t n, int64_t at)
{
    for (int64_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && goes_before(r, place[child], place[child + 1]))
            child++;
        if (!goes_before(r, place[at], place[child]))
            return;
        int64_t swap = place[at];
        place[at] = place[child];
        place[child] = swap;
        at = child;
    }
}

/* A heap sort: in place, and bounded for any order that the data come in. */
static void rank(const ranking *r, int64_t *place, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        place[k] = k;
    for (int64_t k = n / 2; k-- > 0;)
        sift(r, place, n, k);
    for (int64_t k = n; k-- > 1;) {
        int64_t swap = place[0];
        place[0] = place[k];
        place[k] = swap;
        sift(r, place, k, 0);
    }
}

/* Always sorted: `sorted` 0 leaves the order open. */
fl_status fl_kernel_top_k(fl_call *c)
{
    const fl_array *x = c->in[0];
    line l = {0};
    FL_TRY(fl_call_ints(c, 1, -1, "the number of elements"));
    FL_TRY(fl_call_same(c, c->in[1]->n, 1, "numbers of elements"));
    FL_TRY(along(c, fl_node_int(c->g, c->node, "axis", -1), &l));
    int64_t n = c->in[1]->i[0], dims[FL_MAX_RANK];
    if (n < 0 || n > l.extent)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "%lld elements of an axis of %lld", (long long)n, (long long)l.extent);
    memcpy(dims, x->dims, sizeof dims);
    dims[l.axis] = n;
    int64_t *place = fl_arena_new(c->arena, int64_t, (size_t)l.extent);
    fl_array where;
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, x->rank, dims));
    FL_TRY(fl_call_new(c, &where, FL_INT64, x->rank, dims));
    if (!place)
        return fl_out_of_memory(c->diag);
    for (int64_t k = 0; k < l.outer * l.inner; k++) {
        ranking r = {x, k / l.inner * l.extent * l.inner + k % l.inner, l.inner,
                     fl_node_int(c->g, c->node, "largest", 1) != 0 ? 1 : -1};
        rank(&r, place, l.extent);
        for (int64_t j = 0; j < n; j++) {
            int64_t to = k / l.inner * n * l.inner + j * l.inner + k % l.inner, from = r.start + place[j] * l.inner;
            where.i[to] = place[j];
            if (x->f)
                c->out[0].f[to] = x->f[from];
            else
                c->out[0].i[to] = x->i[from];
        }
    }
    if (c->n_out > 1)
        c->out[1] = where;
    return FL_OK;
}
