/*
 * shape_standard.c -- shape rules of ONNX's own operators at opset 20.
 */
#include "ir/shape_rules.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------ elementwise */

static fl_status same(fl_shape_ctx *c)
{
    c->out[0] = *c->in[0];
    return FL_OK;
}

static fl_status same_number(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    return same(c);
}

static fl_status same_real(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_real(c, 0));
    return same(c);
}

#define RULE(fn, rule)                                                                                       \
    fl_status fl_shape_##fn(fl_shape_ctx *c)                                                                 \
    {                                                                                                        \
        return rule(c);                                                                                      \
    }

RULE(identity, same)
RULE(neg, same_number)
RULE(abs, same_number)
RULE(sign, same_number)
RULE(sqrt, same_real)
RULE(reciprocal, same_real)
RULE(exp, same_real)
RULE(log, same_real)
RULE(sigmoid, same_real)
RULE(tanh, same_real)
RULE(relu, same_number)
RULE(softplus, same_real)
RULE(ceil, same_real)
RULE(floor, same_real)
RULE(round, same_real)
RULE(erf, same_number)
RULE(sin, same_real)
RULE(cos, same_real)
RULE(tan, same_real)
RULE(asin, same_real)
RULE(acos, same_real)
RULE(atan, same_real)
RULE(sinh, same_real)
RULE(cosh, same_real)
RULE(asinh, same_real)
RULE(acosh, same_real)
RULE(atanh, same_real)

static fl_status real_question(fl_shape_ctx *c)
{
    FL_TRY(same_real(c));
    c->out[0].dtype = FL_BOOL;
    return FL_OK;
}

RULE(is_inf, real_question)
RULE(is_nan, real_question)

fl_status fl_shape_not(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_dtype(c, 0, FL_BOOL, "the operand"));
    return same(c);
}

fl_status fl_shape_cast(fl_shape_ctx *c)
{
    const fl_attr *to = fl_node_attr(c->g, c->node, "to");
    if (!to || to->kind != FL_ATTR_INT)
        return fl_shape_error(c, "attribute \"to\" is missing");
    if (to->as.i < 0 || to->as.i > FL_BFLOAT16 || strcmp(fl_dtype_name((fl_dtype)to->as.i), "undefined") == 0)
        return fl_shape_error(c, "attribute \"to\" names type %lld, which is none of ours", (long long)to->as.i);
    c->out[0] = *c->in[0];
    c->out[0].dtype = (fl_dtype)to->as.i;
    return FL_OK;
}

/* All operands from `first` on broadcast to the output and, if `alike`, have one element type, which becomes the output's. */
static fl_status broadcast(fl_shape_ctx *c, uint32_t first, bool alike)
{
    if (!c->in[first])
        return fl_shape_error(c, "operand %u is left out, but it is not optional", first);
    fl_type t = *c->in[first];
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        char a[160], b[160];
        if (!c->in[i])
            return fl_shape_error(c, "operand %u is left out, but it is not optional", i);
        if (alike && i > first && c->in[i]->dtype != t.dtype)
            return fl_shape_error(c, "operands must have one element type, but they are %s and %s", fl_dtype_name(t.dtype),
                                  fl_dtype_name(c->in[i]->dtype));
        fl_type_print(c->g, &t, a, sizeof a);
        fl_type_print(c->g, c->in[i], b, sizeof b);
        if (!fl_shape_broadcast(&t, c->in[i], &t))
            return fl_shape_error(c, "shapes %s and %s do not broadcast to one", a, b);
    }
    c->out[0] = t;
    return FL_OK;
}

static fl_status arithmetic(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    return broadcast(c, 0, true);
}

static fl_status comparison(fl_shape_ctx *c)
{
    FL_TRY(broadcast(c, 0, true));
    c->out[0].dtype = FL_BOOL;
    return FL_OK;
}

static fl_status logical(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_dtype(c, 0, FL_BOOL, "operands"));
    return broadcast(c, 0, true);
}

RULE(add, arithmetic)
RULE(sub, arithmetic)
RULE(mul, arithmetic)
RULE(div, arithmetic)
RULE(mod, arithmetic)
RULE(max, arithmetic)
RULE(min, arithmetic)
RULE(sum, arithmetic)
RULE(equal, comparison)
RULE(greater, comparison)
RULE(greater_or_equal, comparison)
RULE(less, comparison)
RULE(less_or_equal, comparison)
RULE(and, logical)
RULE(or, logical)
RULE(xor, logical)

fl_status fl_shape_pow(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    FL_TRY(fl_shape_need_number(c, 1));
    return broadcast(c, 0, false);
}

fl_status fl_shape_where(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_dtype(c, 0, FL_BOOL, "the condition"));
    return broadcast(c, 1, true);
}

/* ------------------------------------------------------------------------------------------------- constants */

fl_status fl_shape_constant(fl_shape_ctx *c)
{
    static const struct {
        const char *name;
        fl_attr_kind kind;
        fl_dtype dtype;
        int rank;
    } forms[] = {
        {"value_float", FL_ATTR_FLOAT, FL_FLOAT, 0},   {"value_floats", FL_ATTR_FLOATS, FL_FLOAT, 1},
        {"value_int", FL_ATTR_INT, FL_INT64, 0},       {"value_ints", FL_ATTR_INTS, FL_INT64, 1},
        {"value_string", FL_ATTR_STRING, FL_STRING, 0}, {"value_strings", FL_ATTR_STRINGS, FL_STRING, 1},
    };
    if (c->n->n_attr != 1)
        return fl_shape_error(c, "takes exactly one attribute, but has %u", c->n->n_attr);
    const fl_attr *a = &c->n->attr[0];
    if (strcmp(a->name, "value") == 0 && a->kind == FL_ATTR_TENSOR) {
        c->out[0] = a->as.tensor->type;
        return FL_OK;
    }
    for (size_t i = 0; i < FL_COUNT(forms); i++) {
        if (strcmp(a->name, forms[i].name) != 0 || a->kind != forms[i].kind)
            continue;
        fl_dim n = a->n;
        c->out[0] = fl_type_make(forms[i].dtype, forms[i].rank, &n);
        return FL_OK;
    }
    return fl_shape_error(c, "attribute \"%s\" is unknown or of the wrong kind", a->name);
}

/* The shape that operand i holds, as dimensions; *known false if it cannot be told. */
static fl_status shape_operand(fl_shape_ctx *c, uint32_t i, fl_extent *e, uint32_t *n, bool *known)
{
    FL_TRY(fl_shape_need_dtype(c, i, FL_INT64, "the shape"));
    FL_TRY(fl_shape_need_rank(c, i, 1, "the shape"));
    if (c->in[i]->dims[0] > FL_MAX_RANK)
        return fl_shape_error(c, "the shape has %lld dimensions; at most %d are supported", (long long)c->in[i]->dims[0],
                              FL_MAX_RANK);
    *known = fl_shape_extents(c->g, c->n->in[i], e, n);
    return FL_OK;
}

fl_status fl_shape_constant_of_shape(fl_shape_ctx *c)
{
    fl_extent e[FL_MAX_RANK];
    uint32_t n;
    bool known;
    FL_TRY(shape_operand(c, 0, e, &n, &known));
    const fl_attr *value = fl_node_attr(c->g, c->node, "value");
    fl_dtype dtype = value && value->kind == FL_ATTR_TENSOR ? value->as.tensor->type.dtype : FL_FLOAT;
    if (!known) {
        c->out[0].dtype = dtype;
        return FL_OK;
    }
    fl_dim dims[FL_MAX_RANK];
    for (uint32_t i = 0; i < n; i++) {
        if (!e[i].symbol && e[i].v < 0)
            return fl_shape_error(c, "the shape has a negative dimension, %lld", (long long)e[i].v);
        dims[i] = e[i].v;
    }
    c->out[0] = fl_type_make(dtype, (int)n, dims);
    return FL_OK;
}

fl_status fl_shape_shape(fl_shape_ctx *c)
{
    int64_t rank = c->in[0]->rank;
    int64_t start = fl_node_int(c->g, c->node, "start", 0), end = fl_node_int(c->g, c->node, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    fl_dim n = end - start;
    c->out[0] = fl_type_make(FL_INT64, 1, &n);
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------- changes of shape */

/*
 * Dimension -1 of a Reshape: what the input has over the other dimensions. Symbols that stand on both sides cancel, as
 * they are the same number at run time.
 */
static fl_status remaining(fl_shape_ctx *c, const fl_type *x, const fl_dim *others, int n, fl_dim *out, bool *told)
{
    fl_dim over[FL_MAX_RANK * FL_MAX_RANK + 1], factors[FL_MAX_RANK];
    uint32_t n_over = 0;
    int64_t number = 1, divisor = 1;
    *told = true;
    for (int i = 0; i < x->rank; i++) {
        uint32_t k = fl_shape_factors(c->g, x->dims[i], factors);
        for (uint32_t f = 0; f < k; f++) {
            if (FL_DIM_IS_SYM(factors[f]))
                over[n_over++] = factors[f];
            else if (__builtin_mul_overflow(number, factors[f], &number))
                return fl_shape_error(c, "the operand has too many elements");
        }
    }
    for (int i = 0; i < n; i++) {
        uint32_t k = fl_shape_factors(c->g, others[i], factors);
        for (uint32_t f = 0; f < k; f++) {
            if (!FL_DIM_IS_SYM(factors[f])) {
                if (__builtin_mul_overflow(divisor, factors[f], &divisor))
                    return fl_shape_error(c, "the new shape has too many elements");
                continue;
            }
            uint32_t at = 0;
            while (at < n_over && over[at] != factors[f])
                at++;
            if (at == n_over) { /* a symbol of the new shape alone: what is left cannot be told */
                *told = false;
                return FL_OK;
            }
            over[at] = over[--n_over];
        }
    }
    if (divisor == 0 || number % divisor != 0) {
        if (divisor != 0 && n_over > 0) { /* batch * 3 over 2: true for some batches only */
            *told = false;
            return FL_OK;
        }
        return fl_shape_error(c, "%lld elements do not divide into rows of %lld", (long long)number, (long long)divisor);
    }
    over[n_over++] = number / divisor;
    bool ok;
    *out = fl_shape_product(c->g, over, (int)n_over, &ok);
    return ok ? FL_OK : fl_shape_error(c, "the dimensions are too many or too large");
}

static fl_status check_elements(fl_shape_ctx *c, const fl_type *x, const fl_type *y)
{
    bool ok_x, ok_y;
    fl_dim a = fl_shape_product(c->g, x->dims, x->rank, &ok_x), b = fl_shape_product(c->g, y->dims, y->rank, &ok_y);
    if (!ok_x || !ok_y || FL_DIM_IS_SYM(a) || FL_DIM_IS_SYM(b) || a == b)
        return FL_OK;
    char from[160], to[160];
    fl_type_print(c->g, x, from, sizeof from);
    fl_type_print(c->g, y, to, sizeof to);
    return fl_shape_error(c, "%s has %lld elements and %s has %lld", from, (long long)a, to, (long long)b);
}

fl_status fl_shape_reshape(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    fl_extent e[FL_MAX_RANK];
    fl_dim others[FL_MAX_RANK];
    uint32_t n;
    int n_others = 0, hole = -1;
    bool known, zero_is_zero = fl_node_int(c->g, c->node, "allowzero", 0) != 0;
    FL_TRY(shape_operand(c, 1, e, &n, &known));
    c->out[0].dtype = x->dtype;
    if (!known)
        return FL_OK;
    fl_type y = {.dtype = x->dtype, .rank = (int8_t)n};
    for (uint32_t i = 0; i < n; i++) {
        y.dims[i] = e[i].v;
        if (!e[i].symbol && e[i].v == 0 && !zero_is_zero) {
            if ((int)i >= x->rank)
                return fl_shape_error(c, "dimension %u is to be copied, but the operand has only %d", i, x->rank);
            y.dims[i] = x->dims[i];
        } else if (!e[i].symbol && e[i].v == -1) {
            if (hole >= 0)
                return fl_shape_error(c, "more than one dimension of the new shape is -1");
            hole = (int)i;
            continue;
        } else if (!e[i].symbol && e[i].v < -1) {
            return fl_shape_error(c, "dimension %u of the new shape is %lld", i, (long long)e[i].v);
        }
        others[n_others++] = y.dims[i];
    }
    if (hole >= 0)
        FL_TRY(remaining(c, x, others, n_others, &y.dims[hole], &known));
    else
        FL_TRY(check_elements(c, x, &y));
    if (known)
        c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_flatten(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int64_t axis = fl_node_int(c->g, c->node, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return fl_shape_error(c, "axis %lld lies outside of rank %d", (long long)axis, x->rank);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    bool ok_left, ok_right;
    fl_dim dims[2] = {fl_shape_product(c->g, x->dims, at, &ok_left),
                      fl_shape_product(c->g, x->dims + at, x->rank - at, &ok_right)};
    if (!ok_left || !ok_right)
        return fl_shape_error(c, "the dimensions are too many or too large");
    c->out[0] = fl_type_make(x->dtype, 2, dims);
    return FL_OK;
}

/* Axes from operand i as a set of bits; *known false if it is not constant; 0 and known if it is left out. */
static fl_status axes_operand(fl_shape_ctx *c, uint32_t i, int rank, uint32_t *set, bool *known, bool *given)
{
    int64_t axes[FL_MAX_RANK];
    uint32_t n;
    *set = 0;
    *given = c->n->n_in > i && c->in[i];
    *known = true;
    if (!*given)
        return FL_OK;
    FL_TRY(fl_shape_need_dtype(c, i, FL_INT64, "the axes"));
    *known = fl_shape_known_ints(c, c->n->in[i], axes, FL_MAX_RANK, &n);
    for (uint32_t k = 0; *known && k < n; k++) {
        int axis;
        FL_TRY(fl_shape_axis(c, axes[k], rank, &axis));
        if (*set & 1u << axis)
            return fl_shape_error(c, "axis %lld stands twice", (long long)axes[k]);
        *set |= 1u << axis;
    }
    return FL_OK;
}

fl_status fl_shape_squeeze(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    uint32_t set;
    bool known, given;
    FL_TRY(axes_operand(c, 1, x->rank, &set, &known, &given));
    c->out[0].dtype = x->dtype;
    if (!known)
        return FL_OK;
    fl_type y = {.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        bool drop = given ? (set >> i & 1) != 0 : x->dims[i] == 1;
        if (drop && !fl_dim_fits(x->dims[i], 1))
            return fl_shape_error(c, "axis %d has extent %lld and cannot be dropped", i, (long long)x->dims[i]);
        if (!drop)
            y.dims[y.rank++] = x->dims[i];
    }
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_unsqueeze(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int64_t axes[FL_MAX_RANK];
    uint32_t n, set = 0;
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the axes"));
    c->out[0].dtype = x->dtype;
    if (!fl_shape_known_ints(c, c->n->in[1], axes, FL_MAX_RANK, &n))
        return FL_OK;
    int rank = x->rank + (int)n;
    if (rank > FL_MAX_RANK)
        return fl_shape_error(c, "the result has rank %d; at most %d are supported", rank, FL_MAX_RANK);
    for (uint32_t i = 0; i < n; i++) {
        int axis;
        FL_TRY(fl_shape_axis(c, axes[i], rank, &axis));
        if (set & 1u << axis)
            return fl_shape_error(c, "axis %lld stands twice", (long long)axes[i]);
        set |= 1u << axis;
    }
    fl_type y = {.dtype = x->dtype, .rank = (int8_t)rank};
    for (int i = 0, from = 0; i < rank; i++)
        y.dims[i] = set >> i & 1 ? 1 : x->dims[from++];
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_transpose(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    uint32_t n, set = 0;
    const int64_t *perm = fl_shape_ints(c, "perm", &n);
    if (perm && n != (uint32_t)x->rank)
        return fl_shape_error(c, "attribute \"perm\" has %u entries for rank %d", n, x->rank);
    fl_type y = *x;
    for (int i = 0; i < x->rank; i++) {
        int64_t from = perm ? perm[i] : x->rank - 1 - i;
        if (from < 0 || from >= x->rank || set & 1u << from)
            return fl_shape_error(c, "attribute \"perm\" is no permutation of the axes");
        set |= 1u << from;
        y.dims[i] = x->dims[from];
    }
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_expand(fl_shape_ctx *c)
{
    fl_extent e[FL_MAX_RANK];
    uint32_t n;
    bool known;
    FL_TRY(shape_operand(c, 1, e, &n, &known));
    c->out[0].dtype = c->in[0]->dtype;
    if (!known)
        return FL_OK;
    fl_type to = {.dtype = c->in[0]->dtype, .rank = (int8_t)n};
    for (uint32_t i = 0; i < n; i++) {
        if (!e[i].symbol && e[i].v < 0)
            return fl_shape_error(c, "the shape has a negative dimension, %lld", (long long)e[i].v);
        to.dims[i] = e[i].v;
    }
    if (fl_shape_broadcast(c->in[0], &to, &c->out[0]))
        return FL_OK;
    char a[160], b[160];
    fl_type_print(c->g, c->in[0], a, sizeof a);
    fl_type_print(c->g, &to, b, sizeof b);
    return fl_shape_error(c, "%s does not expand to %s", a, b);
}

/* Sum of two extents along an axis; a sum with a symbol is a symbol of its own. */
static fl_dim add_dims(fl_graph *g, fl_dim a, fl_dim b)
{
    if (!FL_DIM_IS_SYM(a) && !FL_DIM_IS_SYM(b))
        return a > INT64_MAX - b ? INT64_MAX : a + b;
    if (a == 0 || b == 0)
        return a == 0 ? b : a;
    char text[2][32];
    const char *name[2];
    for (int i = 0; i < 2; i++) {
        fl_dim d = i ? b : a;
        snprintf(text[i], sizeof text[i], "%lld", (long long)d);
        name[i] = FL_DIM_IS_SYM(d) ? g->symbols[FL_SYM_OF_DIM(d)] : text[i];
    }
    const char *sum = fl_arena_printf(&g->arena, "%s_plus_%s", name[0], name[1]);
    return sum ? fl_graph_symbol(g, sum) : 0;
}

fl_status fl_shape_concat(fl_shape_ctx *c)
{
    const fl_attr *a = fl_node_attr(c->g, c->node, "axis");
    if (!a || a->kind != FL_ATTR_INT)
        return fl_shape_error(c, "attribute \"axis\" is missing");
    int axis;
    FL_TRY(fl_shape_axis(c, a->as.i, c->in[0]->rank, &axis));
    fl_type y = *c->in[0];
    for (uint32_t i = 1; i < c->n->n_in; i++) {
        const fl_type *x = c->in[i];
        if (!x)
            return fl_shape_error(c, "operand %u is left out, but it is not optional", i);
        if (x->dtype != y.dtype)
            return fl_shape_error(c, "operands must have one element type, but they are %s and %s", fl_dtype_name(y.dtype),
                                  fl_dtype_name(x->dtype));
        bool fits = x->rank == y.rank;
        for (int k = 0; fits && k < y.rank; k++)
            fits = k == axis || fl_dim_fits(x->dims[k], y.dims[k]);
        if (!fits) {
            char first[160], this[160];
            fl_type_print(c->g, c->in[0], first, sizeof first);
            fl_type_print(c->g, x, this, sizeof this);
            return fl_shape_error(c, "operand %u, %s, does not fit %s beside axis %d", i, this, first, axis);
        }
        for (int k = 0; k < y.rank; k++)
            y.dims[k] = k == axis ? add_dims(c->g, y.dims[k], x->dims[k]) : fl_dim_merge(y.dims[k], x->dims[k]);
    }
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_split(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    enum { MANY = 4096 };
    static const char uneven[] = "axis %d of extent %lld does not split into %u outputs";
    int axis;
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    fl_dim whole = x->dims[axis];
    uint32_t n = c->n->n_out, n_sizes = 0;
    for (uint32_t i = 0; i < n; i++)
        c->out[i] = *x;
    if (c->n->n_in < 2 || !c->in[1]) { /* equal parts, the last one smaller */
        int64_t parts = fl_node_int(c->g, c->node, "num_outputs", n);
        if (parts != n)
            return fl_shape_error(c, "attribute \"num_outputs\" is %lld, but there are %u outputs", (long long)parts, n);
        for (uint32_t i = 0; i < n && FL_DIM_IS_SYM(whole); i++)
            c->out[i].dims[axis] = fl_shape_own_dim(c, i, axis);
        if (FL_DIM_IS_SYM(whole))
            return FL_OK;
        int64_t part = (whole + n - 1) / n;
        if (part * (n - 1) > whole)
            return fl_shape_error(c, uneven, axis, (long long)whole, n);
        for (uint32_t i = 0; i < n; i++)
            c->out[i].dims[axis] = i + 1 < n ? part : whole - part * (n - 1);
        return FL_OK;
    }
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the sizes"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the sizes"));
    int64_t few[MANY], *sizes = few, sum = 0;
    if (n > MANY && !(sizes = fl_arena_new(&c->g->arena, int64_t, n)))
        return fl_out_of_memory(c->dg);
    if (!fl_shape_known_ints(c, c->n->in[1], sizes, n > MANY ? n : MANY, &n_sizes)) { /* known at run time only */
        for (uint32_t i = 0; i < n; i++)
            c->out[i].dims[axis] = fl_shape_own_dim(c, i, axis);
        return FL_OK;
    }
    if (n_sizes != n)
        return fl_shape_error(c, "%u sizes for %u outputs", n_sizes, n);
    for (uint32_t i = 0; i < n; i++) {
        if (sizes[i] < 0 || __builtin_add_overflow(sum, sizes[i], &sum))
            return fl_shape_error(c, "size %u is %lld", i, (long long)sizes[i]);
        c->out[i].dims[axis] = sizes[i];
    }
    if (!fl_dim_fits(whole, sum))
        return fl_shape_error(c, "the sizes add up to %lld, but axis %d has extent %lld", (long long)sum, axis, (long long)whole);
    return FL_OK;
}

/* Extent of one sliced axis. */
static fl_dim sliced(fl_graph *g, fl_dim whole, int64_t start, int64_t end, int64_t step)
{
    if (FL_DIM_IS_SYM(whole)) {
        if (step == 1 && start == 0 && end >= INT32_MAX)
            return whole;
        /* Numbers at the same place of the same symbol are equal: a name made of them. */
        const char *name = fl_arena_printf(&g->arena, "%s_slice_%llu_%llu_%llu", g->symbols[FL_SYM_OF_DIM(whole)],
                                           (unsigned long long)start, (unsigned long long)end, (unsigned long long)step);
        return name ? fl_graph_symbol(g, name) : 0;
    }
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? whole : whole - 1;
    start = start < 0 ? start + whole : start;
    end = end < 0 && end >= -whole ? end + whole : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > whole ? whole : end;
    int64_t n = step > 0 ? (end - start + step - 1) / step : step == INT64_MIN ? start > end : (start - end - step - 1) / -step;
    return n < 0 ? 0 : n;
}

fl_status fl_shape_slice(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int64_t starts[FL_MAX_RANK], ends[FL_MAX_RANK], axes[FL_MAX_RANK], steps[FL_MAX_RANK];
    uint32_t n, n_ends, n_axes, n_steps;
    for (uint32_t i = 1; i < c->n->n_in; i++)
        if (c->in[i])
            FL_TRY(fl_shape_need_index(c, i, "starts, ends, axes and steps"));
    c->out[0].dtype = x->dtype;
    c->out[0].rank = -1;
    if (!fl_shape_known_ints(c, c->n->in[1], starts, FL_MAX_RANK, &n) ||
        !fl_shape_known_ints(c, c->n->in[2], ends, FL_MAX_RANK, &n_ends))
        return FL_OK;
    n_axes = n_steps = n;
    for (uint32_t i = 0; i < n; i++) {
        axes[i] = i;
        steps[i] = 1;
    }
    if (c->n->n_in > 3 && c->in[3] && !fl_shape_known_ints(c, c->n->in[3], axes, FL_MAX_RANK, &n_axes))
        return FL_OK;
    if (c->n->n_in > 4 && c->in[4] && !fl_shape_known_ints(c, c->n->in[4], steps, FL_MAX_RANK, &n_steps))
        return FL_OK;
    if (n_ends != n || n_axes != n || n_steps != n)
        return fl_shape_error(c, "starts, ends, axes and steps must be equally long, but have %u, %u, %u and %u entries", n,
                              n_ends, n_axes, n_steps);
    fl_type y = *x;
    for (uint32_t i = 0; i < n; i++) {
        int axis;
        FL_TRY(fl_shape_axis(c, axes[i], x->rank, &axis));
        if (steps[i] == 0)
            return fl_shape_error(c, "step 0 never ends");
        y.dims[axis] = sliced(c->g, x->dims[axis], starts[i], ends[i], steps[i]);
    }
    c->out[0] = y;
    return FL_OK;
}

/* -------------------------------------------------------------------------------------- products, reductions */

static fl_status inner(fl_shape_ctx *c, fl_dim a, fl_dim b)
{
    if (fl_dim_fits(a, b))
        return FL_OK;
    char x[160], y[160];
    fl_type_print(c->g, c->in[0], x, sizeof x);
    fl_type_print(c->g, c->in[1], y, sizeof y);
    return fl_shape_error(c, "%s and %s cannot be multiplied: the inner dimensions %lld and %lld differ", x, y, (long long)a,
                          (long long)b);
}

static fl_status same_real_types(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    for (uint32_t i = 1; i < c->n->n_in; i++)
        if (c->in[i] && c->in[i]->dtype != c->in[0]->dtype)
            return fl_shape_error(c, "operands must have one element type, but they are %s and %s",
                                  fl_dtype_name(c->in[0]->dtype), fl_dtype_name(c->in[i]->dtype));
    return FL_OK;
}

fl_status fl_shape_matmul(fl_shape_ctx *c)
{
    const fl_type *a = c->in[0], *b = c->in[1];
    FL_TRY(same_real_types(c));
    if (a->rank < 1 || b->rank < 1)
        return fl_shape_error(c, "a scalar cannot be multiplied as a matrix");
    FL_TRY(inner(c, a->dims[a->rank - 1], b->dims[b->rank > 1 ? b->rank - 2 : 0]));
    fl_type left = {.dtype = a->dtype, .rank = (int8_t)(a->rank > 2 ? a->rank - 2 : 0)};
    fl_type right = {.dtype = a->dtype, .rank = (int8_t)(b->rank > 2 ? b->rank - 2 : 0)};
    memcpy(left.dims, a->dims, (size_t)left.rank * sizeof left.dims[0]);
    memcpy(right.dims, b->dims, (size_t)right.rank * sizeof right.dims[0]);
    fl_type y;
    if (!fl_shape_broadcast(&left, &right, &y))
        return fl_shape_error(c, "the leading dimensions do not broadcast to one shape");
    if (a->rank > 1)
        y.dims[y.rank++] = a->dims[a->rank - 2];
    if (b->rank > 1)
        y.dims[y.rank++] = b->dims[b->rank - 1];
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_gemm(fl_shape_ctx *c)
{
    FL_TRY(same_real_types(c));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "operand A"));
    FL_TRY(fl_shape_need_rank(c, 1, 2, "operand B"));
    int ta = fl_node_int(c->g, c->node, "transA", 0) != 0, tb = fl_node_int(c->g, c->node, "transB", 0) != 0;
    const fl_type *a = c->in[0], *b = c->in[1];
    FL_TRY(inner(c, a->dims[ta ? 0 : 1], b->dims[tb ? 1 : 0]));
    fl_dim dims[2] = {a->dims[ta ? 1 : 0], b->dims[tb ? 0 : 1]};
    fl_type y = fl_type_make(a->dtype, 2, dims), with;
    if (c->n->n_in > 2 && c->in[2] &&
        (!fl_shape_broadcast(&y, c->in[2], &with) || with.rank != 2 || !fl_dim_fits(with.dims[0], y.dims[0]) ||
         !fl_dim_fits(with.dims[1], y.dims[1]))) {
        char product[160], bias[160];
        fl_type_print(c->g, &y, product, sizeof product);
        fl_type_print(c->g, c->in[2], bias, sizeof bias);
        return fl_shape_error(c, "operand C, %s, does not broadcast to the product's %s", bias, product);
    }
    c->out[0] = y;
    return FL_OK;
}

static fl_status extreme(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    bool keep = fl_node_int(c->g, c->node, "keepdims", 1) != 0, known, given;
    uint32_t set;
    FL_TRY(axes_operand(c, 1, x->rank, &set, &known, &given));
    if (!known) {
        c->out[0].dtype = x->dtype;
        return FL_OK;
    }
    if (set == 0 && fl_node_int(c->g, c->node, "noop_with_empty_axes", 0) == 0)
        set = (1u << x->rank) - 1;
    fl_type y = {.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        if (!(set >> i & 1))
            y.dims[y.rank++] = x->dims[i];
        else if (keep)
            y.dims[y.rank++] = 1;
    }
    c->out[0] = y;
    return FL_OK;
}

static fl_status reduction(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    return extreme(c);
}

RULE(reduce_sum, reduction)
RULE(reduce_mean, reduction)
RULE(reduce_max, extreme)
RULE(reduce_min, extreme)
RULE(reduce_prod, reduction)

/* --------------------------------------------------------------------------------------------- rows by index */

fl_status fl_shape_gather(fl_shape_ctx *c)
{
    const fl_type *data = c->in[0], *index = c->in[1];
    int axis;
    FL_TRY(fl_shape_need_index(c, 1, "the index"));
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), data->rank, &axis));
    int rank = data->rank - 1 + index->rank;
    if (rank > FL_MAX_RANK)
        return fl_shape_error(c, "the result has rank %d; at most %d are supported", rank, FL_MAX_RANK);
    fl_type y = {.dtype = data->dtype};
    for (int i = 0; i < axis; i++)
        y.dims[y.rank++] = data->dims[i];
    for (int i = 0; i < index->rank; i++)
        y.dims[y.rank++] = index->dims[i];
    for (int i = axis + 1; i < data->rank; i++)
        y.dims[y.rank++] = data->dims[i];
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_scatter_nd(fl_shape_ctx *c)
{
    const fl_type *data = c->in[0], *index = c->in[1], *updates = c->in[2];
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the indices"));
    FL_TRY(fl_shape_need_dtype(c, 2, data->dtype, "the updates"));
    if (index->rank < 1 || FL_DIM_IS_SYM(index->dims[index->rank - 1]) || index->dims[index->rank - 1] > data->rank)
        return fl_shape_error(c, "the last dimension of the indices must be at most the rank of the data");
    int depth = (int)index->dims[index->rank - 1];
    bool fits = updates->rank == index->rank - 1 + data->rank - depth;
    for (int i = 0; fits && i < updates->rank; i++)
        fits = fl_dim_fits(updates->dims[i],
                           i < index->rank - 1 ? index->dims[i] : data->dims[depth + i - (index->rank - 1)]);
    if (!fits)
        return fl_shape_error(c, "the updates do not have the shape of the indexed places");
    c->out[0] = *data;
    return FL_OK;
}

fl_status fl_shape_batch_normalization(fl_shape_ctx *c)
{
    static const char *const what[] = {"x", "scale", "bias", "the running mean", "the running variance"};
    const fl_type *x = c->in[0];
    FL_TRY(fl_shape_need_real(c, 0));
    if (x->rank < 2)
        return fl_shape_error(c, "x must have at least rank 2");
    for (uint32_t i = 1; i < 5; i++) {
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 1, what[i]));
        FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[0], x->dims[1], what[i]));
    }
    if (fl_node_int(c->g, c->node, "training_mode", 0) != 0)
        return fl_shape_error(c, "training mode is not supported; use ai.flen.BatchNorm");
    return same(c);
}
