/*
 * fold.c -- compute what depends on constants alone.
 *
 * Shapes that are static become constants, and elementwise arithmetic on constants of up to FOLD_MAX elements is done here, in double
 * precision, rounded once: the result is a Constant node (or, of several elements, a Constant with a tensor). Integer arithmetic stays exact.
 * Larger constants are data and left to run time, or to the prologue. Needs ORDER and SHAPES, keeps SHAPES:
 * constants are appended behind their readers.
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"
#include "ir/shape.h"

#include <math.h>
#include <string.h>

enum { FOLD_MAX = 4096 };

/* A constant operand: element i of it, broadcast to the result's shape. */
typedef struct constant {
    fl_type type;
    const fl_tensor *tensor; /* NULL: a scalar or ints of a Constant node */
    double f;
    int64_t ints[FL_MAX_RANK];
    uint32_t n_ints;
} constant;

static bool constant_of(const fl_graph *g, fl_id v, constant *c)
{
    if (v == FL_NONE)
        return false;
    *c = (constant){.type = *fl_value_type(g, v), .tensor = fl_value_tensor(g, v)};
    if (!fl_type_is_static(&c->type) || c->type.dtype == FL_STRING)
        return false;
    if (c->tensor)
        return c->tensor->bytes && fl_type_elements(&c->type) <= FOLD_MAX;
    if (fl_value_ints(g, v, c->ints, FL_MAX_RANK, &c->n_ints))
        return true;
    return fl_value_scalar(g, v, &c->f);
}

static double element(const constant *c, int64_t i)
{
    if (!c->tensor)
        return c->n_ints ? (double)c->ints[i] : c->f;
    return c->type.dtype == FL_FLOAT && fl_type_elements(&c->type) == 1 ? fl_widen((float)fl_tensor_get_double(c->tensor, 0))
                                                                       : fl_tensor_get_double(c->tensor, i);
}

/* The operand's element under element i of the result: numpy's broadcasting. */
static int64_t under(const fl_type *operand, const fl_type *result, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = result->rank - 1, o = operand->rank - 1; o >= 0; d--, o--) {
        int64_t k = i % result->dims[d];
        i /= result->dims[d];
        at += operand->dims[o] == 1 ? 0 : k * step;
        step *= operand->dims[o];
    }
    return at;
}

static bool unary(fl_op op, double x, double *y)
{
    switch ((int)op) {
    case FL_OP_NEG: return *y = -x, true;
    case FL_OP_ABS: return *y = fabs(x), true;
    case FL_OP_SQRT: return *y = sqrt(x), true;
    case FL_OP_RECIPROCAL: return *y = 1 / x, true;
    case FL_OP_EXP: return *y = exp(x), true;
    case FL_OP_LOG: return *y = log(x), true;
    case FL_OP_RELU: return *y = x > 0 ? x : 0, true;
    case FL_OP_CAST: return *y = x, true;
    }
    return false;
}

static bool binary(fl_op op, double a, double b, bool integer, double *y)
{
    switch ((int)op) {
    case FL_OP_ADD: return *y = a + b, true;
    case FL_OP_SUB: return *y = FL_PLANTED("fold-constants") ? b - a : a - b, true;
    case FL_OP_MUL: return *y = a * b, true;
    case FL_OP_DIV:
        if (integer && b == 0)
            return false;
        return *y = integer ? trunc(a / b) : a / b, true;
    case FL_OP_MAX: return *y = a > b ? a : b, true;
    case FL_OP_MIN: return *y = a < b ? a : b, true;
    }
    return false;
}

/* A Constant node of type t with the elements x. */
static fl_id build(fl_graph *g, const char *base, const fl_type *t, const double *x, int64_t n, fl_arena *scratch)
{
    if (t->dtype == FL_FLOAT && t->rank == 0)
        return fl_build_scalar(g, base, x[0]);
    size_t size = fl_dtype_size(t->dtype);
    unsigned char *bytes = fl_arena_alloc(scratch, (size_t)n * size);
    if (!bytes)
        return FL_NONE;
    for (int64_t i = 0; i < n; i++) {
        float f = (float)x[i];
        int64_t l = t->dtype == FL_INT64 ? (int64_t)x[i] : 0;
        int32_t w = t->dtype == FL_INT32 ? (int32_t)x[i] : 0;
        const void *from = t->dtype == FL_FLOAT ? (const void *)&f : t->dtype == FL_INT64 ? (const void *)&l : t->dtype == FL_INT32 ? (const void *)&w : (const void *)&x[i];
        memcpy(bytes + (size_t)i * size, from, size);
    }
    fl_tensor data = {.type = *t, .bytes = bytes, .length = (size_t)n * size};
    fl_id node = fl_node_new(g, FL_OP_CONSTANT, base, NULL, 0, 1);
    fl_node_set_tensor(g, node, "value", &data);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

static fl_id fold_arithmetic(fl_graph *g, fl_id node, fl_arena *scratch)
{
    fl_node n = g->nodes[node];
    const fl_type t = *fl_value_type(g, n.out[0]);
    bool integer = t.dtype == FL_INT64 || t.dtype == FL_INT32, known = integer || t.dtype == FL_FLOAT || t.dtype == FL_DOUBLE;
    int64_t count = known && fl_type_is_static(&t) ? fl_type_elements(&t) : -1;
    constant in[2];
    if (!fl_op_has(n.op, FL_ELEMENTWISE) || n.n_in < 1 || n.n_in > 2 || count < 0 || count > FOLD_MAX)
        return FL_NONE;
    for (uint32_t k = 0; k < n.n_in; k++)
        if (!constant_of(g, n.in[k], &in[k]))
            return FL_NONE;
    double *y = fl_arena_new(scratch, double, (size_t)count);
    if (!y)
        return FL_NONE;
    for (int64_t i = 0; i < count; i++) {
        double a = element(&in[0], under(&in[0].type, &t, i));
        bool done = n.n_in == 1 ? unary(n.op, a, &y[i]) : binary(n.op, a, element(&in[1], under(&in[1].type, &t, i)), integer, &y[i]);
        /* Integers must be exact, and no infinity or NaN is made at compile time. */
        if (!done || !isfinite(y[i]) || (integer && fabs(y[i]) > 0x1p31))
            return FL_NONE;
    }
    return build(g, g->values[n.out[0]].name, &t, y, count, scratch);
}

/* The same elements under another shape. */
static fl_id fold_view(fl_graph *g, fl_id node, fl_arena *scratch)
{
    fl_node n = g->nodes[node];
    const fl_type t = *fl_value_type(g, n.out[0]);
    constant c;
    bool whole = n.op == FL_OP_RESHAPE || n.op == FL_OP_FLATTEN || n.op == FL_OP_SQUEEZE || n.op == FL_OP_UNSQUEEZE;
    if (!whole || !fl_type_is_static(&t) || !constant_of(g, n.in[0], &c) || fl_type_elements(&t) != fl_type_elements(&c.type))
        return FL_NONE;
    int64_t count = fl_type_elements(&t);
    double *y = count <= FOLD_MAX ? fl_arena_new(scratch, double, (size_t)count + 1) : NULL;
    if (!y || (t.dtype != FL_FLOAT && t.dtype != FL_DOUBLE && t.dtype != FL_INT64 && t.dtype != FL_INT32))
        return FL_NONE;
    for (int64_t i = 0; i < count; i++) {
        y[i] = element(&c, i);
        if (t.dtype == FL_INT64 && fabs(y[i]) > 0x1p52) /* not exact in a double */
            return FL_NONE;
    }
    return build(g, g->values[n.out[0]].name, &t, y, count, scratch);
}

/* A few integers that follow from static shapes (Shape, Concat, Gather, arithmetic of such). */
static fl_id fold_extents(fl_graph *g, fl_id node, fl_arena *scratch)
{
    fl_id out = g->nodes[node].out[0];
    const fl_type t = out == FL_NONE ? FL_TYPE_UNKNOWN : *fl_value_type(g, out);
    fl_extent e[FL_MAX_RANK];
    double y[FL_MAX_RANK];
    int64_t ints[FL_MAX_RANK];
    uint32_t n;
    if ((t.dtype != FL_INT64 && t.dtype != FL_INT32) || t.rank < 0 || t.rank > 1 || !fl_type_is_static(&t) || g->nodes[node].n_out != 1 ||
        !fl_shape_extents(g, out, e, &n) || fl_type_elements(&t) != n)
        return FL_NONE;
    for (uint32_t i = 0; i < n; i++) {
        ints[i] = e[i].v;
        y[i] = (double)e[i].v;
        if (e[i].symbol || fabs(y[i]) > 0x1p31)
            return FL_NONE;
    }
    if (t.dtype == FL_INT64 && t.rank == 1)
        return fl_build_ints(g, g->values[out].name, ints, n);
    return build(g, g->values[out].name, &t, y, n, scratch);
}

/* Shape(x), if the part asked for is static. */
static fl_id fold_shape(fl_graph *g, fl_id node)
{
    const fl_type *t = fl_value_type(g, g->nodes[node].in[0]);
    int64_t rank = t->rank, start = fl_node_int(g, node, "start", 0), end = fl_node_int(g, node, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end > rank ? rank : end;
    if (rank < 0 || start < 0 || start > end)
        return FL_NONE;
    for (int64_t d = start; d < end; d++)
        if (t->dims[d] < 0)
            return FL_NONE;
    return fl_build_ints(g, g->values[g->nodes[node].out[0]].name, t->dims + start, (uint32_t)(end - start));
}

fl_status fl_pass_fold_constants(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t n_nodes = g->n_nodes;
    fl_rewriter r;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n_nodes; i++) {
        fl_op op = g->nodes[i].op;
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            g->nodes[i].in[k] = fl_rewriter_get(&r, g->nodes[i].in[k]);
        if (op == FL_OP_NOP || g->nodes[i].n_in == 0 || g->nodes[i].n_out != 1 || g->nodes[i].out[0] == FL_NONE)
            continue;
        fl_id v = op == FL_OP_SHAPE ? fold_shape(g, i) : fl_op_has(op, FL_VIEW) && op != FL_OP_IDENTITY ? fold_view(g, i, &cx->scratch)
                                                                                                : fold_arithmetic(g, i, &cx->scratch);
        if (v == FL_NONE)
            v = fold_extents(g, i, &cx->scratch);
        if (v == FL_NONE || !fl_rewriter_put(&r, g->nodes[i].out[0], v))
            continue;
        fl_node_erase(g, i);
        cx->n_changed++;
    }
    fl_rewriter_apply(&r);
    return fl_graph_ok(g, cx->diag);
}
