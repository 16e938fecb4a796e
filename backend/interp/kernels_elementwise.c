/*
 * kernels_elementwise.c -- operators whose output element depends on the elements at its place alone.
 */
#include "backend/interp/kernels.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ one operand */

/* Defines a kernel for real x from an expression in `x`. */
#define REAL_1(fn, expression)                                                                               \
    fl_status fl_kernel_##fn(fl_call *c)                                                                     \
    {                                                                                                        \
        FL_TRY(fl_call_real(c, 0, -1, "the operand"));                                                       \
        FL_TRY(fl_call_new_like(c, &c->out[0], c->in[0]));                                                   \
        for (int64_t k = 0; k < c->out[0].n; k++) {                                                          \
            double x = c->in[0]->f[k];                                                                       \
            c->out[0].f[k] = (expression);                                                                   \
        }                                                                                                    \
        return FL_OK;                                                                                        \
    }

/* The same for real and integer x. */
#define ANY_1(fn, real_expression, int_expression)                                                           \
    fl_status fl_kernel_##fn(fl_call *c)                                                                     \
    {                                                                                                        \
        FL_TRY(fl_call_new_like(c, &c->out[0], c->in[0]));                                                   \
        for (int64_t k = 0; k < c->out[0].n; k++) {                                                          \
            if (c->out[0].f) {                                                                               \
                double x = c->in[0]->f[k];                                                                   \
                c->out[0].f[k] = (real_expression);                                                          \
            } else {                                                                                         \
                int64_t x = c->in[0]->i[k];                                                                  \
                c->out[0].i[k] = (int_expression);                                                           \
            }                                                                                                \
        }                                                                                                    \
        return FL_OK;                                                                                        \
    }

/* Integers wrap, as they do in generated code. */
static int64_t wrap_neg(int64_t x)
{
    return (int64_t)(0 - (uint64_t)x);
}

static double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

ANY_1(neg, -x, wrap_neg(x))
ANY_1(abs, fabs(x), x < 0 ? wrap_neg(x) : x)
ANY_1(sign, x > 0 ? 1.0 : x < 0 ? -1.0 : x, (x > 0) - (x < 0))
REAL_1(sqrt, sqrt(x))
REAL_1(reciprocal, 1 / x)
REAL_1(exp, exp(x))
REAL_1(log, log(x))
REAL_1(sigmoid, sigmoid(x))
REAL_1(tanh, tanh(x))
ANY_1(relu, x <= 0 ? 0 : x, x < 0 ? 0 : x) /* NaN stays NaN */
REAL_1(softplus, fmax(x, 0) + log1p(exp(-fabs(x))))

REAL_1(ceil, ceil(x))
REAL_1(floor, floor(x))
REAL_1(round, rint(x)) /* halves to even */
ANY_1(erf, erf(x), (int64_t)erf((double)x))
REAL_1(sin, sin(x))
REAL_1(cos, cos(x))
REAL_1(tan, tan(x))
REAL_1(asin, asin(x))
REAL_1(acos, acos(x))
REAL_1(atan, atan(x))
REAL_1(sinh, sinh(x))
REAL_1(cosh, cosh(x))
REAL_1(asinh, asinh(x))
REAL_1(acosh, acosh(x))
REAL_1(atanh, atanh(x))

fl_status fl_kernel_is_nan(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, -1, "the operand"));
    FL_TRY(fl_call_new(c, &c->out[0], FL_BOOL, c->in[0]->rank, c->in[0]->dims));
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].i[k] = isnan(c->in[0]->f[k]) != 0;
    return FL_OK;
}

fl_status fl_kernel_is_inf(fl_call *c)
{
    bool negative = fl_node_int(c->g, c->node, "detect_negative", 1) != 0;
    bool positive = fl_node_int(c->g, c->node, "detect_positive", 1) != 0;
    FL_TRY(fl_call_real(c, 0, -1, "the operand"));
    FL_TRY(fl_call_new(c, &c->out[0], FL_BOOL, c->in[0]->rank, c->in[0]->dims));
    for (int64_t k = 0; k < c->out[0].n; k++) {
        double x = c->in[0]->f[k];
        c->out[0].i[k] = isinf(x) && (x > 0 ? positive : negative);
    }
    return FL_OK;
}

fl_status fl_kernel_identity(fl_call *c)
{
    c->out[0] = *c->in[0];
    return FL_OK;
}

fl_status fl_kernel_not(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 0, -1, "the operand"));
    FL_TRY(fl_call_new_like(c, &c->out[0], c->in[0]));
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].i[k] = c->in[0]->i[k] == 0;
    return FL_OK;
}

/* Wraps an integer to the width of the type; a real number is cut towards 0 and held within the type's range (NaN: 0). */
static int64_t to_integer(fl_dtype t, bool real, double f, int64_t i)
{
    if (t == FL_BOOL)
        return real ? f != 0 : i != 0;
    if (real)
        i = !(f >= -0x1p63) ? (isnan(f) ? 0 : INT64_MIN) : f >= 0x1p63 ? INT64_MAX : (int64_t)f;
    switch (fl_dtype_size(t)) {
    case 4:
        return (int32_t)(uint32_t)(uint64_t)i;
    case 1:
        return t == FL_UINT8 ? (int64_t)(uint8_t)(uint64_t)i : (int64_t)(int8_t)(uint8_t)(uint64_t)i;
    default:
        return i;
    }
}

fl_status fl_kernel_cast(fl_call *c)
{
    fl_dtype to = (fl_dtype)fl_node_int(c->g, c->node, "to", FL_DTYPE_NONE);
    const fl_array *x = c->in[0];
    if (fl_dtype_size(to) == 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "no type \"to\" to cast to");
    if (fl_dtype_is_real(to) && x->f) {
        c->out[0] = *x; /* no rounding: the type of a real number is a label */
        c->out[0].dtype = to;
        return FL_OK;
    }
    FL_TRY(fl_call_new(c, &c->out[0], to, x->rank, x->dims));
    for (int64_t k = 0; k < x->n; k++) {
        if (c->out[0].f)
            c->out[0].f[k] = (double)x->i[k];
        else
            c->out[0].i[k] = to_integer(to, x->f != NULL, x->f ? x->f[k] : 0, x->f ? 0 : x->i[k]);
    }
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------- two and more operands */

typedef double real_2(double, double);
typedef int64_t int_2(int64_t, int64_t);

/* Folds all operands from the left. */
static fl_status fold(fl_call *c, real_2 *real, int_2 *integer)
{
    fl_array *x = fl_arena_new(c->arena, fl_array, c->n_in);
    if (!x)
        return fl_out_of_memory(c->diag);
    FL_TRY(fl_call_broadcast(c, c->in, c->n_in, x));
    for (uint32_t k = 1; k < c->n_in; k++)
        if (fl_array_real(&x[k]) != fl_array_real(&x[0]))
            return fl_call_error(c, FL_E_INTERP_OPERAND, "operand 0 is %s, operand %u is %s", fl_dtype_name(x[0].dtype), k,
                                 fl_dtype_name(x[k].dtype));
    fl_array *y = &c->out[0];
    FL_TRY(fl_call_new_like(c, y, &x[0]));
    if (y->n)
        memcpy(y->f ? (void *)y->f : (void *)y->i, x[0].f ? (void *)x[0].f : (void *)x[0].i, (size_t)y->n * 8);
    for (uint32_t k = 1; k < c->n_in; k++) {
        for (int64_t j = 0; j < y->n; j++) {
            if (y->f)
                y->f[j] = real(y->f[j], x[k].f[j]);
            else
                y->i[j] = integer(y->i[j], x[k].i[j]);
        }
    }
    /* Narrow integers wrap at their width. */
    for (int64_t j = 0; y->i && y->dtype != FL_INT64 && y->dtype != FL_BOOL && j < y->n; j++)
        y->i[j] = to_integer(y->dtype, false, 0, y->i[j]);
    return FL_OK;
}

#define FOLD(fn, real_expression, int_expression)                                                            \
    static double real_##fn(double a, double b)                                                              \
    {                                                                                                        \
        return (real_expression);                                                                            \
    }                                                                                                        \
    static int64_t int_##fn(int64_t a, int64_t b)                                                            \
    {                                                                                                        \
        return (int_expression);                                                                             \
    }                                                                                                        \
    fl_status fl_kernel_##fn(fl_call *c)                                                                     \
    {                                                                                                        \
        return fold(c, real_##fn, int_##fn);                                                                 \
    }

#define WRAP(a, op, b) ((int64_t)((uint64_t)(a)op(uint64_t)(b)))

FOLD(add, a + b, WRAP(a, +, b))
FOLD(sub, a - b, WRAP(a, -, b))
FOLD(mul, a *b, WRAP(a, *, b))
FOLD(sum, a + b, WRAP(a, +, b))
FOLD(max, a > b || isnan(a) ? a : b, a > b ? a : b)
FOLD(min, a < b || isnan(a) ? a : b, a < b ? a : b)

/* The divisor is never 0: fl_kernel_div looks first. INT64_MIN / -1 wraps. */
static double real_div(double a, double b)
{
    return a / b;
}

static int64_t int_div(int64_t a, int64_t b)
{
    return b == -1 ? wrap_neg(a) : a / b;
}

fl_status fl_kernel_div(fl_call *c)
{
    for (int64_t k = 0; c->in[1] && c->in[1]->i && k < c->in[1]->n; k++)
        if (c->in[1]->i[k] == 0)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "integer division by 0");
    return fold(c, real_div, int_div);
}

static int64_t int_power(int64_t base, int64_t exponent)
{
    uint64_t y = 1, b = (uint64_t)base;
    for (; exponent > 0; exponent >>= 1, b *= b)
        y *= exponent & 1 ? b : 1;
    return (int64_t)y;
}

/* The exponent may be an integer where the base is real, and the other way round; the result has the base's type. */
fl_status fl_kernel_pow(fl_call *c)
{
    fl_array x[2];
    FL_TRY(fl_call_broadcast(c, c->in, 2, x));
    FL_TRY(fl_call_new_like(c, &c->out[0], &x[0]));
    for (int64_t k = 0; k < x[0].n; k++) {
        if (x[0].i && x[1].i && x[1].i[k] >= 0) {
            c->out[0].i[k] = to_integer(x[0].dtype, false, 0, int_power(x[0].i[k], x[1].i[k]));
            continue;
        }
        double y = pow(x[0].f ? x[0].f[k] : (double)x[0].i[k], x[1].f ? x[1].f[k] : (double)x[1].i[k]);
        if (c->out[0].f)
            c->out[0].f[k] = y;
        else
            c->out[0].i[k] = to_integer(x[0].dtype, true, y, 0);
    }
    return FL_OK;
}

/* Both operands as reals tell order and equality of all our numbers but integers beyond 2^53, which are compared as such. */
#define COMPARE(fn, op)                                                                                      \
    fl_status fl_kernel_##fn(fl_call *c)                                                                     \
    {                                                                                                        \
        fl_array x[2];                                                                                       \
        FL_TRY(fl_call_broadcast(c, c->in, 2, x));                                                           \
        if (fl_array_real(&x[0]) != fl_array_real(&x[1]))                                                    \
            return fl_call_error(c, FL_E_INTERP_OPERAND, "one operand is real, the other is not");           \
        FL_TRY(fl_call_new(c, &c->out[0], FL_BOOL, x[0].rank, x[0].dims));                                   \
        for (int64_t k = 0; k < x[0].n; k++)                                                                 \
            c->out[0].i[k] = x[0].f ? x[0].f[k] op x[1].f[k] : x[0].i[k] op x[1].i[k];                       \
        return FL_OK;                                                                                        \
    }

COMPARE(equal, ==)
COMPARE(greater, >)
COMPARE(greater_or_equal, >=)
COMPARE(less, <)
COMPARE(less_or_equal, <=)

/* The remainder has the divisor's sign, or with fmod the dividend's. */
static double real_mod(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double real_fmod(double a, double b)
{
    return fmod(a, b);
}

static int64_t int_fmod(int64_t a, int64_t b)
{
    return b == -1 ? 0 : a % b;
}

static int64_t int_mod(int64_t a, int64_t b)
{
    int64_t r = int_fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

fl_status fl_kernel_mod(fl_call *c)
{
    for (int64_t k = 0; c->in[1] && c->in[1]->i && k < c->in[1]->n; k++)
        if (c->in[1]->i[k] == 0)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "integer division by 0");
    bool like_c = fl_node_int(c->g, c->node, "fmod", 0) != 0;
    return fold(c, like_c ? real_fmod : real_mod, like_c ? int_fmod : int_mod);
}

fl_status fl_kernel_xor(fl_call *c)
{
    fl_array x[2];
    FL_TRY(fl_call_ints(c, 0, -1, "the first operand"));
    FL_TRY(fl_call_ints(c, 1, -1, "the second operand"));
    FL_TRY(fl_call_broadcast(c, c->in, 2, x));
    FL_TRY(fl_call_new(c, &c->out[0], FL_BOOL, x[0].rank, x[0].dims));
    for (int64_t k = 0; k < x[0].n; k++)
        c->out[0].i[k] = (x[0].i[k] != 0) != (x[1].i[k] != 0);
    return FL_OK;
}

static fl_status logical(fl_call *c, bool both)
{
    fl_array x[2];
    FL_TRY(fl_call_ints(c, 0, -1, "the first operand"));
    FL_TRY(fl_call_ints(c, 1, -1, "the second operand"));
    FL_TRY(fl_call_broadcast(c, c->in, 2, x));
    FL_TRY(fl_call_new(c, &c->out[0], FL_BOOL, x[0].rank, x[0].dims));
    for (int64_t k = 0; k < x[0].n; k++)
        c->out[0].i[k] = both ? x[0].i[k] && x[1].i[k] : x[0].i[k] || x[1].i[k];
    return FL_OK;
}

fl_status fl_kernel_and(fl_call *c)
{
    return logical(c, true);
}

fl_status fl_kernel_or(fl_call *c)
{
    return logical(c, false);
}

fl_status fl_kernel_where(fl_call *c)
{
    fl_array x[3];
    FL_TRY(fl_call_ints(c, 0, -1, "the condition"));
    FL_TRY(fl_call_broadcast(c, c->in, 3, x));
    if (fl_array_real(&x[1]) != fl_array_real(&x[2]))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "one choice is real, the other is not");
    FL_TRY(fl_call_new_like(c, &c->out[0], &x[1]));
    for (int64_t k = 0; k < x[0].n; k++) {
        const fl_array *from = &x[x[0].i[k] ? 1 : 2];
        if (from->f)
            c->out[0].f[k] = from->f[k];
        else
            c->out[0].i[k] = from->i[k];
    }
    return FL_OK;
}
