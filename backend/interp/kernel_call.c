/*
 * kernel_call.c -- what kernels share: reports against a node, fresh arrays, checks of operands, broadcasting.
 */
#include "backend/interp/kernels.h"

#include "ir/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

fl_status fl_call_error(const fl_call *c, fl_code code, const char *format, ...)
{
    const fl_node *n = &c->g->nodes[c->node];
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *name = n->name;
    for (uint32_t k = 0; !name && k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            name = c->g->values[n->out[k]].name;
    return fl_error(c->diag, code, n->origin.loc, "node \"%s\" (%s): %s", name ? name : "", fl_op_get(n->op)->name, text);
}

const char *fl_array_print(const fl_array *x, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%s[", fl_dtype_name(x->dtype));
    for (int d = 0; d < x->rank && at < size; d++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", d ? "," : "", (long long)x->dims[d]);
    if (at < size)
        snprintf(text + at, size - at, "]");
    return text;
}

fl_status fl_call_new(const fl_call *c, fl_array *out, fl_dtype t, int rank, const int64_t *dims)
{
    fl_array a = {.dtype = t, .rank = (int8_t)rank, .n = 1};
    if (rank < 0 || rank > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a result of rank %d", rank);
    for (int d = 0; d < rank; d++) {
        a.dims[d] = dims[d];
        if (dims[d] < 0 || __builtin_mul_overflow(a.n, dims[d], &a.n) || a.n > INT64_MAX / 16)
            return fl_call_error(c, FL_E_INTERP_SHAPE, "extent %lld in dimension %d of a result", (long long)dims[d], d);
    }
    char wanted[24], most[24];
    uint64_t bytes = (uint64_t)a.n * 8;
    if (bytes + c->arena->used_bytes > c->limit) {
        (void)fl_call_error(c, FL_E_MEMORY_LIMIT, "a result of %lld elements takes %s, and all values together may take %s", (long long)a.n,
                            fl_print_bytes(bytes, wanted), fl_print_bytes(c->limit, most));
        fl_hint(c->diag, "--max-memory=SIZE sets the limit");
        return FL_BAD_INPUT;
    }
    void *memory = fl_arena_calloc(c->arena, (size_t)a.n, 8);
    if (!memory)
        return fl_out_of_memory(c->diag);
    if (fl_dtype_is_real(t))
        a.f = memory;
    else
        a.i = memory;
    *out = a;
    return FL_OK;
}

fl_status fl_call_new_like(const fl_call *c, fl_array *out, const fl_array *like)
{
    return fl_call_new(c, out, like->dtype, like->rank, like->dims);
}

void fl_array_view(const fl_array *x, int rank, const int64_t *dims, fl_array *out)
{
    fl_array a = *x;
    a.rank = (int8_t)rank;
    for (int d = 0; d < rank; d++)
        a.dims[d] = dims[d];
    *out = a;
}

int64_t fl_array_extent(const fl_array *x, int from, int to)
{
    int64_t n = 1;
    for (int d = from; d < to; d++)
        n *= x->dims[d];
    return n;
}

fl_status fl_call_axis(const fl_call *c, int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "axis %lld of a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return FL_OK;
}

static fl_status want_kind(const fl_call *c, uint32_t operand, bool real, int rank, const char *what)
{
    char text[120], wanted[32] = "";
    const fl_array *x = operand < c->n_in ? c->in[operand] : NULL;
    if (!x)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "%s (operand %u) is missing", what, operand);
    if (rank >= 0)
        snprintf(wanted, sizeof wanted, " of rank %d", rank);
    if (fl_array_real(x) != real || (rank >= 0 && x->rank != rank))
        return fl_call_error(c, FL_E_INTERP_SHAPE, "%s is %s, wanted are %s numbers%s", what,
                             fl_array_print(x, text, sizeof text), real ? "real" : "integer", wanted);
    return FL_OK;
}

fl_status fl_call_real(const fl_call *c, uint32_t operand, int rank, const char *what)
{
    return want_kind(c, operand, true, rank, what);
}

fl_status fl_call_ints(const fl_call *c, uint32_t operand, int rank, const char *what)
{
    return want_kind(c, operand, false, rank, what);
}

fl_status fl_call_same(const fl_call *c, int64_t got, int64_t want, const char *what)
{
    if (got != want)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "%s: %lld, wanted %lld", what, (long long)got, (long long)want);
    return FL_OK;
}

fl_status fl_call_attr_ints(const fl_call *c, const char *name, const int64_t **ints, uint32_t *n)
{
    const fl_attr *a = fl_node_attr(c->g, c->node, name);
    if (a && a->kind != FL_ATTR_INTS)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "attribute %s is no list of integers", name);
    *ints = a ? a->as.ints : NULL;
    *n = a ? a->n : 0;
    return FL_OK;
}

/* Walks the target row-major; an axis of extent 1 in x has stride 0. */
fl_status fl_call_expand(const fl_call *c, const fl_array *x, int rank, const int64_t *dims, fl_array *out)
{
    char text[120];
    bool same = x->rank == rank;
    int64_t stride[FL_MAX_RANK] = {0}, at[FL_MAX_RANK] = {0}, step = 1;
    if (rank < x->rank)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "%s does not broadcast to rank %d", fl_array_print(x, text, sizeof text), rank);
    for (int d = rank - 1; d >= 0; d--) {
        int from = d - (rank - x->rank);
        int64_t extent = from >= 0 ? x->dims[from] : 1;
        if (extent != 1 && extent != dims[d])
            return fl_call_error(c, FL_E_INTERP_SHAPE, "%s does not broadcast to extent %lld in dimension %d",
                                 fl_array_print(x, text, sizeof text), (long long)dims[d], d);
        stride[d] = extent == 1 ? 0 : step;
        step *= extent;
        same = same && extent == dims[d];
    }
    if (same) {
        *out = *x;
        return FL_OK;
    }
    FL_TRY(fl_call_new(c, out, x->dtype, rank, dims));
    int64_t from = 0;
    for (int64_t k = 0; k < out->n; k++) {
        if (x->f)
            out->f[k] = x->f[from];
        else
            out->i[k] = x->i[from];
        for (int d = rank - 1; d >= 0; d--) {
            from += stride[d];
            if (++at[d] < dims[d])
                break;
            from -= stride[d] * dims[d];
            at[d] = 0;
        }
    }
    return FL_OK;
}

fl_status fl_call_broadcast(const fl_call *c, const fl_array *const *in, uint32_t n, fl_array *x)
{
    int64_t dims[FL_MAX_RANK];
    int rank = 0;
    char left[120], right[120];
    for (uint32_t k = 0; k < n; k++) {
        if (!in[k])
            return fl_call_error(c, FL_E_INTERP_OPERAND, "operand %u is missing", k);
        if (in[k]->rank > rank)
            rank = in[k]->rank;
    }
    for (int d = 0; d < rank; d++) {
        dims[d] = 1;
        for (uint32_t k = 0; k < n; k++) {
            int from = d - (rank - in[k]->rank);
            int64_t extent = from >= 0 ? in[k]->dims[from] : 1;
            if (extent == 1 || extent == dims[d])
                continue;
            if (dims[d] != 1)
                return fl_call_error(c, FL_E_INTERP_SHAPE, "operands %s and %s do not broadcast",
                                     fl_array_print(in[0], left, sizeof left), fl_array_print(in[k], right, sizeof right));
            dims[d] = extent;
        }
    }
    for (uint32_t k = 0; k < n; k++)
        FL_TRY(fl_call_expand(c, in[k], rank, dims, &x[k]));
    return FL_OK;
}

fl_status fl_call_from_tensor(const fl_call *c, const fl_tensor *t, fl_array *out)
{
    if (!t->bytes || !fl_type_is_static(&t->type) || fl_dtype_size(t->type.dtype) == 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "a constant without numbers");
    FL_TRY(fl_call_new(c, out, t->type.dtype, t->type.rank, t->type.dims));
    for (int64_t k = 0; k < out->n; k++) {
        if (out->f)
            out->f[k] = fl_tensor_get_double(t, k);
        else
            out->i[k] = fl_tensor_get_int(t, k);
    }
    return FL_OK;
}

fl_status fl_call_row(const fl_call *c, int64_t index, int64_t rows, int64_t at, int64_t row, int64_t *out)
{
    if (index < -rows || index >= rows)
        return fl_call_error(c, FL_E_INTERP_INDEX, "index %lld of row %lld (element %lld) lies outside a table of %lld rows",
                             (long long)index, (long long)row, (long long)at, (long long)rows);
    *out = index < 0 ? index + rows : index;
    return FL_OK;
}

void fl_array_copy(fl_array *to, int64_t t, const fl_array *from, int64_t f, int64_t n)
{
    if (n == 0)
        return;
    if (to->f)
        memcpy(to->f + t, from->f + f, (size_t)n * sizeof *to->f);
    else
        memcpy(to->i + t, from->i + f, (size_t)n * sizeof *to->i);
}
