#include "ir/shape.h"

#include "ir/shape_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fl_shape_fn *const rules[FL_N_OPS] = {
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) [FL_OP_##id] = fl_shape_##fn,
#include "ir/ops.def"
#undef FL_OP
};

static const char times[] = "_times_";

/* ---------------------------------------------------------------------------------------------- text of types */

void fl_type_print(const fl_graph *g, const fl_type *t, char *text, size_t size)
{
    size_t at = 0;
#define APPEND(...)                                                                                          \
    do {                                                                                                     \
        int n_ = snprintf(text + at, size - at, __VA_ARGS__);                                                \
        at = n_ < 0 || (size_t)n_ >= size - at ? size - 1 : at + (size_t)n_;                                 \
    } while (0)
    if (size == 0)
        return;
    text[0] = '\0';
    APPEND("%s", fl_dtype_name(t->dtype));
    if (t->rank < 0 && t->dtype != FL_DTYPE_NONE)
        APPEND("[]");
    for (int i = 0; i < t->rank; i++) {
        fl_dim d = t->dims[i];
        APPEND("%s", i ? "," : "[");
        if (!FL_DIM_IS_SYM(d))
            APPEND("%lld", (long long)d);
        else if (FL_SYM_OF_DIM(d) < g->n_symbols)
            APPEND("%s", g->symbols[FL_SYM_OF_DIM(d)]);
        else
            APPEND("?");
    }
    if (t->rank > 0)
        APPEND("]");
#undef APPEND
}

static const char *node_label(const fl_graph *g, const fl_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE && g->values[n->out[i]].name)
            return g->values[n->out[i]].name;
    return n->name ? n->name : "";
}

fl_status fl_shape_error(const fl_shape_ctx *c, const char *format, ...)
{
    enum { MANY = 6 }; /* operands listed before "..." */
    char text[512], type[160], list[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *op = fl_op_get(c->n->op)->name;
    fl_status s = fl_error(c->dg, FL_E_SHAPE, c->n->origin.loc, "%s \"%s\": %s", op, node_label(c->g, c->n), text);
    size_t at = 0;
    list[0] = '\0';
    for (uint32_t i = 0; i < c->n->n_in && at + 1 < sizeof list; i++) {
        if (i == MANY) {
            snprintf(list + at, sizeof list - at, ", ...");
            break;
        }
        if (c->in[i])
            fl_type_print(c->g, c->in[i], type, sizeof type);
        const char *name = c->n->in[i] == FL_NONE ? NULL : c->g->values[c->n->in[i]].name;
        int n = snprintf(list + at, sizeof list - at, "%s%s%s%s", i ? ", " : "", c->in[i] ? type : "(left out)", name ? " " : "",
                         name ? name : "");
        at = n < 0 || (size_t)n >= sizeof list - at ? sizeof list - 1 : at + (size_t)n;
    }
    if (c->n->n_in)
        fl_hint(c->dg, "operands: %s", list);
    return s;
}

/* --------------------------------------------------------------------------------------------------- checks */

fl_status fl_shape_need_rank(const fl_shape_ctx *c, uint32_t i, int rank, const char *what)
{
    if (c->in[i]->rank == rank)
        return FL_OK;
    char type[160];
    fl_type_print(c->g, c->in[i], type, sizeof type);
    return fl_shape_error(c, "%s must have rank %d, but it is %s", what, rank, type);
}

fl_status fl_shape_need_dtype(const fl_shape_ctx *c, uint32_t i, fl_dtype t, const char *what)
{
    if (c->in[i]->dtype == t)
        return FL_OK;
    return fl_shape_error(c, "%s must be %s, but it is %s", what, fl_dtype_name(t), fl_dtype_name(c->in[i]->dtype));
}

fl_status fl_shape_need_index(const fl_shape_ctx *c, uint32_t i, const char *what)
{
    fl_dtype t = c->in[i]->dtype;
    if (t == FL_INT64 || t == FL_INT32)
        return FL_OK;
    return fl_shape_error(c, "%s must be int64 or int32, but it is %s", what, fl_dtype_name(t));
}

fl_status fl_shape_need_real(const fl_shape_ctx *c, uint32_t i)
{
    fl_dtype t = c->in[i]->dtype;
    if (t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 || t == FL_BFLOAT16)
        return FL_OK;
    return fl_shape_error(c, "operand %u must be of a floating-point type, but it is %s", i, fl_dtype_name(t));
}

fl_status fl_shape_need_number(const fl_shape_ctx *c, uint32_t i)
{
    fl_dtype t = c->in[i]->dtype;
    if (t != FL_BOOL && t != FL_STRING)
        return FL_OK;
    return fl_shape_error(c, "operand %u must be a number, but it is %s", i, fl_dtype_name(t));
}

bool fl_dim_fits(fl_dim a, fl_dim b)
{
    return a == b || FL_DIM_IS_SYM(a) || FL_DIM_IS_SYM(b);
}

fl_dim fl_dim_merge(fl_dim a, fl_dim b)
{
    return FL_DIM_IS_SYM(a) && !FL_DIM_IS_SYM(b) ? b : a;
}

fl_status fl_shape_need_dim(const fl_shape_ctx *c, fl_dim found, fl_dim wanted, const char *what)
{
    if (fl_dim_fits(found, wanted))
        return FL_OK;
    return fl_shape_error(c, "%s must be %lld, but it is %lld", what, (long long)wanted, (long long)found);
}

const int64_t *fl_shape_ints(const fl_shape_ctx *c, const char *name, uint32_t *n)
{
    const fl_attr *a = fl_node_attr(c->g, c->node, name);
    *n = a && a->kind == FL_ATTR_INTS ? a->n : 0;
    return *n ? a->as.ints : NULL;
}

fl_status fl_shape_axis(const fl_shape_ctx *c, int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return fl_shape_error(c, "axis %lld lies outside of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------ symbolic products */

uint32_t fl_shape_factors(const fl_graph *g, fl_dim dim, fl_dim out[FL_MAX_RANK])
{
    out[0] = dim;
    if (!FL_DIM_IS_SYM(dim) || FL_SYM_OF_DIM(dim) >= g->n_symbols)
        return 1;
    const char *name = g->symbols[FL_SYM_OF_DIM(dim)];
    if (!strstr(name, times))
        return 1;
    uint32_t n = 0;
    for (const char *p = name; p;) {
        const char *end = strstr(p, times);
        size_t length = end ? (size_t)(end - p) : strlen(p);
        char *rest;
        fl_dim factor = strtoll(p, &rest, 10);
        bool found = length > 0 && rest == p + length && *p >= '0' && *p <= '9';
        for (uint32_t s = 0; !found && s < g->n_symbols; s++) {
            found = strlen(g->symbols[s]) == length && memcmp(g->symbols[s], p, length) == 0;
            factor = FL_DIM_SYM(s);
        }
        if (!found || n == FL_MAX_RANK) { /* a user's name that only looks like a product */
            out[0] = dim;
            return 1;
        }
        out[n++] = factor;
        p = end ? end + strlen(times) : NULL;
    }
    return n;
}

static bool is_dim_of_operand(const fl_graph *g, const fl_node *n, fl_dim dim)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        for (int d = 0; n->in[k] != FL_NONE && d < fl_value_type(g, n->in[k])->rank; d++) {
            fl_dim factors[FL_MAX_RANK];
            uint32_t n_factors = fl_shape_factors(g, fl_value_type(g, n->in[k])->dims[d], factors);
            for (uint32_t f = 0; f < n_factors; f++)
                if (factors[f] == dim || fl_value_type(g, n->in[k])->dims[d] == dim)
                    return true;
        }
    return false;
}

/* Does a leaf have this dimension? Then shape arithmetic may have led to it. */
static bool is_dim_of_leaf(const fl_graph *g, fl_dim dim)
{
    for (fl_id v = 0; v < g->n_values; v++)
        for (int d = 0; g->values[v].name && fl_value_node(g, v) == FL_NONE && d < fl_value_type(g, v)->rank; d++)
            if (fl_value_type(g, v)->dims[d] == dim)
                return true;
    return false;
}

bool fl_shape_depends_on_values(const fl_graph *g, fl_id node, fl_dim dim)
{
    const fl_node *n = &g->nodes[node];
    fl_dim factors[FL_MAX_RANK];
    uint32_t n_factors = fl_shape_factors(g, dim, factors);
    if (*fl_op_get(n->op)->domain || n->op == FL_OP_CONCAT) /* ours count distinct rows, and say how many there can be; Concat adds */
        return false;
    for (uint32_t f = 0; f < n_factors; f++)
        if (FL_DIM_IS_SYM(factors[f]) && !is_dim_of_operand(g, n, factors[f]) && !is_dim_of_leaf(g, factors[f]))
            return true;
    return false;
}

enum { MOST_FACTORS = FL_MAX_RANK * FL_MAX_RANK };

/* All factors of a shape: the product of the numbers, and the symbols in order; UINT32_MAX if the numbers overflow. */
static uint32_t all_factors(const fl_graph *g, const fl_type *t, int64_t *number, fl_dim symbols[MOST_FACTORS])
{
    uint32_t n = 0;
    *number = 1;
    for (int d = 0; d < t->rank; d++) {
        fl_dim factors[FL_MAX_RANK];
        uint32_t k = fl_shape_factors(g, t->dims[d], factors);
        for (uint32_t i = 0; i < k; i++) {
            if (!FL_DIM_IS_SYM(factors[i])) {
                if (__builtin_mul_overflow(*number, factors[i], number))
                    return UINT32_MAX;
                continue;
            }
            uint32_t at = n++;
            for (; at > 0 && symbols[at - 1] > factors[i]; at--)
                symbols[at] = symbols[at - 1];
            symbols[at] = factors[i];
        }
    }
    return n;
}

bool fl_shape_same_elements(const fl_graph *g, const fl_type *a, const fl_type *b)
{
    fl_dim x[MOST_FACTORS], y[MOST_FACTORS];
    int64_t p, q;
    uint32_t n = all_factors(g, a, &p, x), m = all_factors(g, b, &q, y);
    return n == m && n != UINT32_MAX && p == q && memcmp(x, y, n * sizeof *x) == 0;
}

fl_dim fl_shape_product(fl_graph *g, const fl_dim *dims, int n, bool *ok)
{
    int64_t number = 1;
    fl_dim symbols[MOST_FACTORS], factors[FL_MAX_RANK];
    uint32_t n_symbols = 0;
    *ok = true;
    for (int i = 0; i < n; i++) {
        uint32_t k = fl_shape_factors(g, dims[i], factors);
        for (uint32_t f = 0; f < k; f++) {
            if (!FL_DIM_IS_SYM(factors[f]))
                *ok = !__builtin_mul_overflow(number, factors[f], &number) && *ok;
            else if (n_symbols < MOST_FACTORS)
                symbols[n_symbols++] = factors[f];
        }
    }
    if (n_symbols == 0 || number == 0 || !*ok)
        return number;
    if (n_symbols == 1 && number == 1)
        return symbols[0];
    if (n_symbols >= FL_MAX_RANK) {
        *ok = false;
        return 0;
    }
    /* Earlier symbols first, so that a product has one name. */
    for (uint32_t i = 1; i < n_symbols; i++)
        for (uint32_t k = i; k > 0 && symbols[k] > symbols[k - 1]; k--) {
            fl_dim swap = symbols[k];
            symbols[k] = symbols[k - 1];
            symbols[k - 1] = swap;
        }
    const char *name = g->symbols[FL_SYM_OF_DIM(symbols[0])];
    for (uint32_t i = 1; i < n_symbols && name; i++)
        name = fl_arena_printf(&g->arena, "%s%s%s", name, times, g->symbols[FL_SYM_OF_DIM(symbols[i])]);
    if (number != 1 && name)
        name = fl_arena_printf(&g->arena, "%s%s%lld", name, times, (long long)number);
    return name ? fl_graph_symbol(g, name) : 0;
}

fl_dim fl_shape_own_dim(fl_shape_ctx *c, uint32_t out, int axis)
{
    const fl_type *t = out < c->n->n_out && c->n->out[out] != FL_NONE ? fl_value_type(c->g, c->n->out[out]) : NULL;
    if (t && t->rank > axis)
        return t->dims[axis];
    char name[32];
    fl_dim dim;
    uint32_t before = c->g->n_symbols, i = before;
    do {
        snprintf(name, sizeof name, "found_%u", i++);
        dim = fl_graph_symbol(c->g, name);
    } while (c->g->n_symbols == before && !c->g->arena.failed);
    return dim;
}

bool fl_shape_broadcast(const fl_type *a, const fl_type *b, fl_type *out)
{
    fl_type t = {.dtype = a->dtype, .rank = a->rank > b->rank ? a->rank : b->rank};
    if (a->rank < 0 || b->rank < 0)
        return false;
    for (int i = 1; i <= t.rank; i++) {
        fl_dim x = i <= a->rank ? a->dims[a->rank - i] : 1, y = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (x == 1)
            t.dims[t.rank - i] = y;
        else if (y == 1)
            t.dims[t.rank - i] = x;
        else if (fl_dim_fits(x, y))
            t.dims[t.rank - i] = fl_dim_merge(x, y);
        else
            return false;
    }
    *out = t;
    return true;
}

/* ---------------------------------------------------------------------------------- tensors that hold shapes */

static bool extents_at(fl_graph *g, fl_id value, fl_extent *out, uint32_t *n, int *left);

static bool extents_of_shape(fl_graph *g, fl_id node, fl_extent *out, uint32_t *n)
{
    const fl_type *t = fl_value_type(g, g->nodes[node].in[0]);
    if (t->rank < 0)
        return false;
    int64_t rank = t->rank, start = fl_node_int(g, node, "start", 0), end = fl_node_int(g, node, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    *n = (uint32_t)(end - start);
    for (int64_t i = start; i < end; i++)
        out[i - start] = (fl_extent){FL_DIM_IS_SYM(t->dims[i]), t->dims[i]};
    return true;
}

static bool extents_of_concat(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent part[FL_MAX_RANK];
    uint32_t k;
    *n = 0;
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (!extents_at(g, node->in[i], part, &k, left) || *n + k > FL_MAX_RANK)
            return false;
        memcpy(out + *n, part, k * sizeof *part);
        *n += k;
    }
    return true;
}

static bool extents_of_gather(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent from[FL_MAX_RANK];
    int64_t index[FL_MAX_RANK];
    uint32_t k;
    if (!extents_at(g, node->in[0], from, &k, left) || !fl_value_ints(g, node->in[1], index, FL_MAX_RANK, n))
        return false;
    for (uint32_t i = 0; i < *n; i++) {
        int64_t at = index[i] < 0 ? index[i] + k : index[i];
        if (at < 0 || at >= k)
            return false;
        out[i] = from[at];
    }
    return true;
}

static bool one_number(fl_graph *g, fl_id value, int64_t *number, int *left)
{
    fl_extent e[FL_MAX_RANK];
    uint32_t n;
    if (!extents_at(g, value, e, &n, left) || n != 1 || e[0].symbol)
        return false;
    *number = e[0].v;
    return true;
}

static bool extents_of_slice(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent from[FL_MAX_RANK];
    int64_t start, end, step = 1;
    uint32_t k, one;
    if (!extents_at(g, node->in[0], from, &k, left) || !one_number(g, node->in[1], &start, left) || !one_number(g, node->in[2], &end, left))
        return false;
    if (node->n_in > 4 && node->in[4] != FL_NONE && (!fl_value_ints(g, node->in[4], &step, 1, &one) || step != 1))
        return false;
    start = start < 0 ? start + k : start;
    end = end < 0 ? end + k : end;
    start = start < 0 ? 0 : start > k ? k : start;
    end = end < start ? start : end > k ? k : end;
    *n = (uint32_t)(end - start);
    memcpy(out, from + start, *n * sizeof *out);
    return true;
}

/* Add, Sub, Mul, Div and Mod of lists of one length, or of a list and one number. Symbols can be multiplied only. */
static bool extents_of_arithmetic(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent a[FL_MAX_RANK], b[FL_MAX_RANK];
    uint32_t n_a, n_b;
    if (!extents_at(g, node->in[0], a, &n_a, left) || !extents_at(g, node->in[1], b, &n_b, left) ||
        (n_a != n_b && n_a != 1 && n_b != 1))
        return false;
    *n = n_a == 1 ? n_b : n_a;
    for (uint32_t i = 0; i < *n; i++) {
        fl_extent x = a[n_a == 1 ? 0 : i], y = b[n_b == 1 ? 0 : i];
        bool ok = true, symbol = x.symbol || y.symbol;
        int64_t z = 0;
        if (node->op == FL_OP_MUL && symbol) {
            if ((!x.symbol && x.v < 0) || (!y.symbol && y.v < 0))
                return false;
            z = fl_shape_product(g, (fl_dim[]){x.v, y.v}, 2, &ok);
            symbol = FL_DIM_IS_SYM(z);
        } else if (symbol) {
            ok = false;
        } else if (node->op == FL_OP_MUL) {
            ok = !__builtin_mul_overflow(x.v, y.v, &z);
        } else if (node->op == FL_OP_DIV) {
            ok = y.v != 0 && !(x.v == INT64_MIN && y.v == -1);
            z = ok ? x.v / y.v : 0;
        } else if (node->op == FL_OP_MOD) { /* of numbers that are not negative, where both forms of Mod agree */
            ok = x.v >= 0 && y.v > 0;
            z = ok ? x.v % y.v : 0;
        } else {
            ok = node->op == FL_OP_ADD ? !__builtin_add_overflow(x.v, y.v, &z) : !__builtin_sub_overflow(x.v, y.v, &z);
        }
        if (!ok)
            return false;
        out[i] = (fl_extent){symbol, z};
    }
    return true;
}

static bool extents_of_negative(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    if (!extents_at(g, node->in[0], out, n, left))
        return false;
    for (uint32_t i = 0; i < *n; i++) {
        if (out[i].symbol || out[i].v == INT64_MIN)
            return false;
        out[i].v = -out[i].v;
    }
    return true;
}

/* The product of all, as Size asks for. */
static bool extents_of_product(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent from[FL_MAX_RANK];
    fl_dim dims[FL_MAX_RANK];
    uint32_t k;
    bool ok;
    if (!extents_at(g, node->in[0], from, &k, left))
        return false;
    for (uint32_t i = 0; i < k; i++) {
        dims[i] = from[i].v;
        if (!from[i].symbol && from[i].v < 0)
            return false;
    }
    fl_dim all = fl_shape_product(g, dims, (int)k, &ok);
    *n = 1;
    out[0] = (fl_extent){FL_DIM_IS_SYM(all), all};
    return ok;
}

/* One value, as often as the shape says. */
static bool extents_of_fill(fl_graph *g, fl_id producer, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent shape[FL_MAX_RANK];
    uint32_t rank;
    const fl_attr *value = fl_node_attr(g, producer, "value");
    if (!value || value->kind != FL_ATTR_TENSOR || value->as.tensor->type.dtype != FL_INT64 || !value->as.tensor->bytes ||
        !extents_at(g, g->nodes[producer].in[0], shape, &rank, left) || rank > 1 ||
        (rank == 1 && (shape[0].symbol || shape[0].v < 0 || shape[0].v > FL_MAX_RANK)))
        return false;
    *n = rank == 1 ? (uint32_t)shape[0].v : 1;
    for (uint32_t i = 0; i < *n; i++)
        out[i] = (fl_extent){false, fl_tensor_get_int(value->as.tensor, 0)};
    return true;
}

static bool extents_of_range(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_extent e[FL_MAX_RANK];
    int64_t bound[3];
    uint32_t one;
    for (int i = 0; i < 3; i++) {
        if (!extents_at(g, node->in[i], e, &one, left) || one != 1 || e[0].symbol || e[0].v < -INT32_MAX || e[0].v > INT32_MAX)
            return false;
        bound[i] = e[0].v;
    }
    if (bound[2] == 0)
        return false;
    *n = 0;
    for (int64_t v = bound[0]; bound[2] > 0 ? v < bound[1] : v > bound[1]; v += bound[2]) {
        if (*n == FL_MAX_RANK)
            return false;
        out[(*n)++] = (fl_extent){false, v};
    }
    return true;
}

/* One element of Where(Equal(a, b), x, y). A symbol's extent is no negative number; what else it is cannot be told. */
static bool chosen_extent(const fl_extent *a, const fl_extent *b, const fl_extent *x, const fl_extent *y, fl_extent *out)
{
    bool told = a->symbol == b->symbol ? !a->symbol || a->v == b->v : (a->symbol ? b->v : a->v) < 0;
    if (!told)
        return false;
    *out = a->symbol == b->symbol && a->v == b->v ? *x : *y;
    return true;
}

/* Where(Equal(shape, -1), ones, shape), in which TorchScript hands on shapes: element by element, of one length or of one element. */
static bool extents_of_choice(fl_graph *g, const fl_node *node, fl_extent *out, uint32_t *n, int *left)
{
    fl_id equal = fl_value_is(g, node->in[0], FL_OP_EQUAL);
    fl_extent e[4][FL_MAX_RANK];
    uint32_t count[4];
    if (equal == FL_NONE)
        return false;
    *n = 1;
    for (int k = 0; k < 4; k++) {
        if (!extents_at(g, k < 2 ? g->nodes[equal].in[k] : node->in[k - 1], e[k], &count[k], left) || (count[k] != 1 && *n != 1 && count[k] != *n))
            return false;
        *n = count[k] == 1 ? *n : count[k];
    }
    for (uint32_t i = 0; i < *n; i++) {
        const fl_extent *at[4];
        for (int k = 0; k < 4; k++)
            at[k] = &e[k][count[k] == 1 ? 0 : i];
        if (!chosen_extent(at[0], at[1], at[2], at[3], &out[i]))
            return false;
    }
    return true;
}

static bool extents_at(fl_graph *g, fl_id value, fl_extent *out, uint32_t *n, int *left)
{
    int64_t ints[FL_MAX_RANK];
    if (value == FL_NONE || (*left)-- <= 0)
        return false;
    if (fl_value_ints(g, value, ints, FL_MAX_RANK, n)) {
        for (uint32_t i = 0; i < *n; i++)
            out[i] = (fl_extent){false, ints[i]};
        return true;
    }
    fl_id producer = fl_value_node(g, value);
    if (producer == FL_NONE)
        return false;
    const fl_node *node = &g->nodes[producer];
    switch ((int)node->op) { /* only the operators that shape arithmetic is written in; others: not known */
    case FL_OP_SHAPE:
        return extents_of_shape(g, producer, out, n);
    case FL_OP_CONCAT:
        return extents_of_concat(g, node, out, n, left);
    case FL_OP_GATHER:
        return extents_of_gather(g, node, out, n, left);
    case FL_OP_SLICE:
        return extents_of_slice(g, node, out, n, left);
    case FL_OP_ADD:
    case FL_OP_SUB:
    case FL_OP_MUL:
    case FL_OP_DIV:
    case FL_OP_MOD:
        return fl_value_type(g, value)->dtype == FL_INT64 && extents_of_arithmetic(g, node, out, n, left);
    case FL_OP_RANGE:
        return fl_value_type(g, node->in[0])->dtype == FL_INT64 && extents_of_range(g, node, out, n, left);
    case FL_OP_NEG:
        return fl_value_type(g, value)->dtype == FL_INT64 && extents_of_negative(g, node, out, n, left);
    case FL_OP_REDUCE_PROD:
        return node->n_in == 1 || fl_value_type(g, node->in[0])->rank == 1 ? extents_of_product(g, node, out, n, left) : false;
    case FL_OP_CONSTANT_OF_SHAPE:
        return extents_of_fill(g, producer, out, n, left);
    case FL_OP_WHERE:
        return fl_value_type(g, value)->dtype == FL_INT64 && extents_of_choice(g, node, out, n, left);
    case FL_OP_RESHAPE: /* of a list, which stays one */
        return fl_value_type(g, value)->rank == 1 && extents_at(g, node->in[0], out, n, left);
    case FL_OP_IDENTITY:
    case FL_OP_CAST:
    case FL_OP_SQUEEZE:
    case FL_OP_UNSQUEEZE:
        return extents_at(g, node->in[0], out, n, left);
    }
    return false;
}

bool fl_shape_extents(fl_graph *g, fl_id value, fl_extent *out, uint32_t *n)
{
    int left = 64; /* nodes that are looked at: a shape takes a dozen, and a hostile graph could branch at each */
    return extents_at(g, value, out, n, &left);
}

bool fl_shape_known_ints(const fl_shape_ctx *c, fl_id value, int64_t *ints, uint32_t max, uint32_t *n)
{
    fl_extent e[FL_MAX_RANK];
    if (fl_value_ints(c->g, value, ints, max, n))
        return true;
    if (!fl_shape_extents(c->g, value, e, n) || *n > max)
        return false;
    for (uint32_t i = 0; i < *n; i++) {
        if (e[i].symbol)
            return false;
        ints[i] = e[i].v;
    }
    return true;
}

/* ----------------------------------------------------------------------------------------------------- driver */

static fl_status merge(const fl_shape_ctx *c, uint32_t i)
{
    fl_type *have = &c->g->values[c->n->out[i]].type, *found = &c->out[i];
    if (found->dtype == FL_DTYPE_NONE)
        return FL_OK;
    bool fits = have->dtype == FL_DTYPE_NONE || have->dtype == found->dtype;
    if (have->rank >= 0 && found->rank >= 0) {
        fits = fits && have->rank == found->rank;
        for (int k = 0; fits && k < found->rank; k++)
            fits = fl_dim_fits(have->dims[k], found->dims[k]);
    }
    if (!fits) {
        char a[160], b[160];
        fl_type_print(c->g, have, a, sizeof a);
        fl_type_print(c->g, found, b, sizeof b);
        return fl_shape_error(c, "output \"%s\" is declared as %s, but comes out as %s", c->g->values[c->n->out[i]].name, a, b);
    }
    if (found->rank < 0) {
        have->dtype = found->dtype;
        return FL_OK;
    }
    for (int k = 0; have->rank >= 0 && k < found->rank; k++)
        found->dims[k] = fl_dim_merge(found->dims[k], have->dims[k]);
    *have = *found;
    return FL_OK;
}

static fl_status check_counts(const fl_shape_ctx *c)
{
    const fl_op_info *op = fl_op_get(c->n->op);
    if (c->n->n_in < op->min_in || c->n->n_in > op->max_in)
        return fl_shape_error(c, "has %u operands, but takes %s%u", c->n->n_in, c->n->n_in < op->min_in ? "at least " : "at most ",
                              c->n->n_in < op->min_in ? op->min_in : op->max_in);
    if (c->n->n_out < op->min_out || c->n->n_out > op->max_out)
        return fl_shape_error(c, "has %u outputs, but gives %s%u", c->n->n_out, c->n->n_out < op->min_out ? "at least " : "at most ",
                              c->n->n_out < op->min_out ? op->min_out : op->max_out);
    /* These two leave out leading operands by design (ir/README.md); others need all up to their minimum, and lists whole. */
    bool sparse = c->n->op == FL_OP_FIELD_INTERACTION || c->n->op == FL_OP_FIELD_POOL_GRAD;
    for (uint32_t i = 0; i < (op->max_in == FL_MANY ? c->n->n_in : op->min_in) && !sparse; i++)
        if (!c->in[i])
            return fl_shape_error(c, "operand %u is left out, but it is not optional", i);
    return FL_OK;
}

fl_status fl_shape_infer_node(fl_graph *g, fl_id node, fl_diag *dg)
{
    enum { FEW = 32 };
    const fl_type *few_in[FEW];
    fl_type few_out[FEW];
    const fl_node *n = &g->nodes[node];
    const fl_type **in = n->n_in <= FEW ? few_in : malloc(n->n_in * sizeof *in);
    fl_type *out = n->n_out <= FEW ? few_out : malloc(n->n_out * sizeof *out);
    fl_shape_ctx c = {.g = g, .node = node, .n = n, .in = in, .out = out, .dg = dg};
    fl_status status = in && out ? FL_OK : fl_out_of_memory(dg);
    bool known = true;
    if (status == FL_OK) {
        for (uint32_t i = 0; i < n->n_in; i++) {
            in[i] = n->in[i] == FL_NONE ? NULL : fl_value_type(g, n->in[i]);
            known = known && (!in[i] || (in[i]->dtype != FL_DTYPE_NONE && in[i]->rank >= 0));
        }
        for (uint32_t i = 0; i < n->n_out; i++)
            out[i] = FL_TYPE_UNKNOWN;
        status = check_counts(&c);
    }
    if (status == FL_OK && known) {
        status = rules[n->op](&c);
        for (uint32_t i = 0; i < n->n_out && status == FL_OK; i++)
            if (n->out[i] != FL_NONE)
                status = merge(&c, i);
    }
    if (in != few_in)
        free(in);
    if (out != few_out)
        free(out);
    return status;
}

fl_status fl_shape_infer(fl_graph *g, fl_diag *dg)
{
    fl_status first = FL_OK;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_status s = fl_shape_infer_node(g, i, dg);
        if (s == FL_NO_MEMORY)
            return s;
        first = first == FL_OK ? s : first;
    }
    return first == FL_OK ? fl_graph_ok(g, dg) : first;
}
