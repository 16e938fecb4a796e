/*
 * import_activations.c -- elementwise functions of one tensor, by the formulas of the standard.
 */
#include "ir/import_parts.h"

#include <math.h>
#include <string.h>

static fl_id zero(fl_import *m)
{
    return fl_make_like(m, m->in[0], 0);
}

/* where(x < bound, below, above) */
static fl_id split_at(fl_import *m, fl_id x, fl_id bound, fl_id below, fl_id above)
{
    return fl_make_3(m, FL_OP_WHERE, fl_make_2(m, FL_OP_LESS, x, bound), below, above);
}

static fl_id scaled(fl_import *m, fl_id x, double factor)
{
    return factor == 1 ? x : fl_make_2(m, FL_OP_MUL, x, fl_make_like(m, m->in[0], factor));
}

static fl_id shifted(fl_import *m, fl_id x, double by)
{
    return fl_make_2(m, FL_OP_ADD, x, fl_make_like(m, m->in[0], by));
}

/* factor (e^min(x, 0) - 1): the power of a large x, which nobody reads, must not overflow. */
static fl_id negative_exponential(fl_import *m, fl_id x, double factor)
{
    fl_id power = fl_make_1(m, FL_OP_EXP, fl_make_2(m, FL_OP_MIN, x, zero(m)));
    return scaled(m, shifted(m, power, -1), factor);
}

fl_status fl_expand_cast_like(fl_import *m)
{
    fl_dtype to = fl_value_type(m->g, m->in[1])->dtype;
    if (to == FL_DTYPE_NONE)
        return fl_import_error(m, FL_E_ONNX_KIND, "the type of its second operand is not known");
    m->out[0] = fl_make_cast(m, m->in[0], to);
    return FL_OK;
}

/* max(0, x) + min(0, alpha (e^(x/alpha) - 1)) */
fl_status fl_expand_celu(fl_import *m)
{
    double alpha = fl_import_float(m, "alpha", 1);
    if (alpha == 0)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "alpha is 0");
    fl_id x = m->in[0], inner = alpha == 1 ? x : fl_make_2(m, FL_OP_DIV, x, fl_make_like(m, x, alpha));
    if (alpha > 0) {
        m->out[0] = split_at(m, x, zero(m), negative_exponential(m, inner, alpha), x);
        return FL_OK;
    }
    fl_id power = scaled(m, shifted(m, fl_make_1(m, FL_OP_EXP, inner), -1), alpha);
    m->out[0] = fl_make_2(m, FL_OP_ADD, fl_make_2(m, FL_OP_MAX, x, zero(m)), fl_make_2(m, FL_OP_MIN, power, zero(m)));
    return FL_OK;
}

fl_status fl_expand_clip(fl_import *m)
{
    m->out[0] = m->in[0];
    if (fl_import_in(m, 1) != FL_NONE)
        m->out[0] = fl_make_2(m, FL_OP_MAX, m->out[0], m->in[1]);
    if (fl_import_in(m, 2) != FL_NONE)
        m->out[0] = fl_make_2(m, FL_OP_MIN, m->out[0], m->in[2]);
    return FL_OK;
}

fl_status fl_expand_elu(fl_import *m)
{
    fl_id x = m->in[0];
    m->out[0] = split_at(m, x, zero(m), negative_exponential(m, x, fl_import_float(m, "alpha", 1)), x);
    return FL_OK;
}

/* none: x/2 (1 + erf(x/sqrt 2)); tanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
fl_status fl_expand_gelu(fl_import *m)
{
    const char *how = fl_import_string(m, "approximate", "none");
    fl_id x = m->in[0], inner;
    if (strcmp(how, "tanh") == 0) {
        fl_id cube = fl_make_2(m, FL_OP_MUL, fl_make_2(m, FL_OP_MUL, x, x), x);
        fl_id sum = fl_make_2(m, FL_OP_ADD, x, scaled(m, cube, 0.044715));
        inner = fl_make_1(m, FL_OP_TANH, scaled(m, sum, sqrt(2 / M_PI)));
    } else if (strcmp(how, "none") == 0) {
        inner = fl_make_1(m, FL_OP_ERF, scaled(m, x, sqrt(0.5)));
    } else {
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"approximate\" is \"%.40s\", neither none nor tanh", how);
    }
    m->out[0] = fl_make_2(m, FL_OP_MUL, scaled(m, x, 0.5), shifted(m, inner, 1));
    return FL_OK;
}

static fl_id hard_sigmoid(fl_import *m, double alpha, double beta)
{
    fl_id line = shifted(m, scaled(m, m->in[0], alpha), beta);
    return fl_make_2(m, FL_OP_MIN, fl_make_2(m, FL_OP_MAX, line, zero(m)), fl_make_like(m, m->in[0], 1));
}

fl_status fl_expand_hard_sigmoid(fl_import *m)
{
    m->out[0] = hard_sigmoid(m, fl_import_float(m, "alpha", 0.2), fl_import_float(m, "beta", 0.5));
    return FL_OK;
}

fl_status fl_expand_hard_swish(fl_import *m)
{
    m->out[0] = fl_make_2(m, FL_OP_MUL, m->in[0], hard_sigmoid(m, 1.0 / 6, 0.5));
    return FL_OK;
}

fl_status fl_expand_leaky_relu(fl_import *m)
{
    fl_id x = m->in[0];
    m->out[0] = split_at(m, x, zero(m), scaled(m, x, fl_import_float(m, "alpha", 0.01)), x);
    return FL_OK;
}

fl_status fl_expand_mean(fl_import *m)
{
    fl_id sum = m->n_in == 1 ? m->in[0] : fl_build_n(m->g, FL_OP_SUM, fl_make_base(m), m->in, m->n_in);
    m->out[0] = m->n_in == 1 ? sum : fl_make_2(m, FL_OP_DIV, sum, fl_make_like(m, m->in[0], m->n_in));
    return FL_OK;
}

fl_status fl_expand_mish(fl_import *m)
{
    fl_id gate = fl_make_1(m, FL_OP_TANH, fl_make_1(m, FL_OP_SOFTPLUS, m->in[0]));
    m->out[0] = fl_make_2(m, FL_OP_MUL, m->in[0], gate);
    return FL_OK;
}

fl_status fl_expand_prelu(fl_import *m)
{
    fl_id x = m->in[0];
    m->out[0] = split_at(m, x, zero(m), fl_make_2(m, FL_OP_MUL, x, m->in[1]), x);
    return FL_OK;
}

fl_status fl_expand_selu(fl_import *m)
{
    double alpha = fl_import_float(m, "alpha", 1.67326319217681884765625);
    double gamma = fl_import_float(m, "gamma", 1.05070102214813232421875);
    fl_id x = m->in[0];
    m->out[0] = split_at(m, x, zero(m), negative_exponential(m, x, alpha * gamma), scaled(m, x, gamma));
    return FL_OK;
}

/* x + bias below -lambd, x - bias above lambd, 0 between */
fl_status fl_expand_shrink(fl_import *m)
{
    double bias = fl_import_float(m, "bias", 0), lambd = fl_import_float(m, "lambd", 0.5);
    fl_id x = m->in[0];
    fl_id above = fl_make_3(m, FL_OP_WHERE, fl_make_2(m, FL_OP_GREATER, x, fl_make_like(m, x, lambd)), shifted(m, x, -bias), zero(m));
    m->out[0] = split_at(m, x, fl_make_like(m, x, -lambd), shifted(m, x, bias), above);
    return FL_OK;
}

fl_status fl_expand_softsign(fl_import *m)
{
    m->out[0] = fl_make_2(m, FL_OP_DIV, m->in[0], shifted(m, fl_make_1(m, FL_OP_ABS, m->in[0]), 1));
    return FL_OK;
}

fl_status fl_expand_swish(fl_import *m)
{
    fl_id gate = fl_make_1(m, FL_OP_SIGMOID, scaled(m, m->in[0], fl_import_float(m, "alpha", 1)));
    m->out[0] = fl_make_2(m, FL_OP_MUL, m->in[0], gate);
    return FL_OK;
}

fl_status fl_expand_thresholded_relu(fl_import *m)
{
    fl_id x = m->in[0], bound = fl_make_like(m, x, fl_import_float(m, "alpha", 1));
    m->out[0] = fl_make_3(m, FL_OP_WHERE, fl_make_2(m, FL_OP_GREATER, x, bound), x, zero(m));
    return FL_OK;
}
