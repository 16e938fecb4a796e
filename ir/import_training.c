/*
 * import_training.c -- losses, and the optimisers and the gradient of ai.onnx.preview.training, by the formulas of the standard.
 */
#include "ir/import_parts.h"

#include <string.h>

/* Over everything, to a scalar. */
static fl_id over_all(fl_import *m, fl_op op, fl_id x)
{
    fl_id node = fl_node_new(m->g, op, fl_make_base(m), &x, 1, 1);
    fl_node_set_int(m->g, node, "keepdims", 0);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

static fl_id gather_elements(fl_import *m, fl_id x, fl_id index, int64_t axis)
{
    fl_id node = fl_node_new(m->g, FL_OP_GATHER_ELEMENTS, fl_make_base(m), (fl_id[]){x, index}, 2, 1);
    fl_node_set_int(m->g, node, "axis", axis);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

/*
 * -w[target] x[n, target, ...]; places where the target is ignore_index count 0. A mean divides by the sum of the weights
 * of what counts.
 */
static fl_status likelihood_loss(fl_import *m, fl_id log_prob, fl_id *out)
{
    fl_id target = m->in[1], weight = fl_import_in(m, 2), share = FL_NONE, ignored = FL_NONE;
    const char *reduction = fl_import_string(m, "reduction", "mean");
    bool mean = strcmp(reduction, "mean") == 0, none = strcmp(reduction, "none") == 0;
    if (!mean && !none && strcmp(reduction, "sum") != 0)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"reduction\" is \"%.40s\"", reduction);
    if (fl_import_attr(m, "ignore_index")) {
        fl_id index = fl_make_like(m, target, (double)fl_import_int(m, "ignore_index", 0));
        ignored = fl_make_2(m, FL_OP_EQUAL, target, index);
        target = fl_make_3(m, FL_OP_WHERE, ignored, fl_make_like(m, target, 0), target);
    }
    int64_t class_axis = 1;
    fl_id axes = fl_make_ints(m, &class_axis, 1), column = fl_make_2(m, FL_OP_UNSQUEEZE, target, axes);
    fl_id picked = fl_make_2(m, FL_OP_SQUEEZE, gather_elements(m, log_prob, column, 1), axes);
    fl_id loss = fl_make_1(m, FL_OP_NEG, picked);
    if (weight != FL_NONE)
        share = fl_make_2(m, FL_OP_GATHER, weight, target);
    if (ignored != FL_NONE)
        share = fl_make_3(m, FL_OP_WHERE, ignored, fl_make_like(m, log_prob, 0),
                          share == FL_NONE ? fl_make_like(m, log_prob, 1) : share);
    if (share != FL_NONE)
        loss = fl_make_2(m, FL_OP_MUL, loss, share);
    if (none)
        *out = loss;
    else if (!mean || share != FL_NONE)
        *out = over_all(m, FL_OP_REDUCE_SUM, loss);
    else
        *out = over_all(m, FL_OP_REDUCE_MEAN, loss);
    if (mean && share != FL_NONE)
        *out = fl_make_2(m, FL_OP_DIV, *out, over_all(m, FL_OP_REDUCE_SUM, share));
    return FL_OK;
}

fl_status fl_expand_negative_log_likelihood_loss(fl_import *m)
{
    return likelihood_loss(m, m->in[0], &m->out[0]);
}

fl_status fl_expand_softmax_cross_entropy_loss(fl_import *m)
{
    fl_id log_prob = fl_make_softmax(m, m->in[0], 1, true);
    if (m->n_out > 1 && m->wanted[1])
        m->out[1] = log_prob;
    return likelihood_loss(m, log_prob, &m->out[0]);
}

/* ----------------------------------------------------------------------------------------------------- optimisers */

/*
 * Operands are the rate R, the step T, then groups of n: X (parameters), G (gradients) and one or two groups of state; outputs are
 * groups of X and states. For tensor i of n, operand 2 + i + n * group.
 */
static fl_status groups(fl_import *m, uint32_t n_states, uint32_t *n)
{
    uint32_t each = 2 + n_states;
    *n = (m->n_in - 2) / each;
    if ((m->n_in - 2) % each != 0 || *n == 0 || m->n_out != *n * (1 + n_states))
        return fl_import_error(m, FL_E_ONNX_FORMAT, "%u operands and %u outputs are no groups of equal size", m->n_in, m->n_out);
    for (uint32_t k = 0; k < m->n_in; k++)
        if (m->in[k] == FL_NONE)
            return fl_import_error(m, FL_E_ONNX_FORMAT, "operand %u is left out, but it is not optional", k);
    return FL_OK;
}

static fl_id times(fl_import *m, fl_id x, double factor)
{
    return fl_make_2(m, FL_OP_MUL, x, fl_make_like(m, x, factor));
}

/* g + norm_coefficient x */
static fl_id regularised(fl_import *m, fl_id x, fl_id g)
{
    double l2 = fl_import_float(m, "norm_coefficient", 0);
    return l2 == 0 ? g : fl_make_2(m, FL_OP_ADD, times(m, x, l2), g);
}

/* T in the type of x. */
static fl_id step(fl_import *m, fl_id x)
{
    fl_dtype t = fl_value_type(m->g, x)->dtype;
    return fl_make_cast(m, m->in[1], t == FL_DTYPE_NONE ? FL_FLOAT : t);
}

fl_status fl_expand_adagrad(fl_import *m)
{
    uint32_t n;
    FL_TRY(groups(m, 1, &n));
    fl_id r = m->in[0], decay = times(m, step(m, r), fl_import_float(m, "decay_factor", 0));
    r = fl_make_2(m, FL_OP_DIV, r, fl_make_2(m, FL_OP_ADD, decay, fl_make_like(m, r, 1)));
    for (uint32_t i = 0; i < n; i++) {
        fl_id x = m->in[2 + i], g = regularised(m, x, m->in[2 + n + i]);
        fl_id h = fl_make_2(m, FL_OP_ADD, m->in[2 + 2 * n + i], fl_make_2(m, FL_OP_MUL, g, g));
        fl_id root = fl_make_2(m, FL_OP_ADD, fl_make_1(m, FL_OP_SQRT, h), fl_make_like(m, x, fl_import_float(m, "epsilon", 1e-6)));
        m->out[i] = fl_make_2(m, FL_OP_SUB, x, fl_make_2(m, FL_OP_DIV, fl_make_2(m, FL_OP_MUL, r, g), root));
        m->out[n + i] = h;
    }
    return FL_OK;
}

/* a old + (1 - a) now */
static fl_id mixed(fl_import *m, fl_id old, fl_id now, double a)
{
    return fl_make_2(m, FL_OP_ADD, times(m, old, a), times(m, now, 1 - a));
}

/* 1 - a^T */
static fl_id missing_share(fl_import *m, fl_id like, double a)
{
    fl_id power = fl_make_2(m, FL_OP_POW, fl_make_like(m, like, a), step(m, like));
    return fl_make_2(m, FL_OP_SUB, fl_make_like(m, like, 1), power);
}

fl_status fl_expand_adam(fl_import *m)
{
    uint32_t n;
    double alpha = fl_import_float(m, "alpha", 0.9), beta = fl_import_float(m, "beta", 0.999);
    double after = fl_import_float(m, "norm_coefficient_post", 0);
    FL_TRY(groups(m, 2, &n));
    fl_id r = m->in[0], started = fl_make_2(m, FL_OP_GREATER, m->in[1], fl_make_like(m, m->in[1], 0));
    fl_id factor = fl_make_2(m, FL_OP_DIV, fl_make_1(m, FL_OP_SQRT, missing_share(m, r, beta)), missing_share(m, r, alpha));
    r = fl_make_3(m, FL_OP_WHERE, started, fl_make_2(m, FL_OP_MUL, r, factor), r);
    for (uint32_t i = 0; i < n; i++) {
        fl_id x = m->in[2 + i], g = regularised(m, x, m->in[2 + n + i]);
        fl_id v = mixed(m, m->in[2 + 2 * n + i], g, alpha), h = mixed(m, m->in[2 + 3 * n + i], fl_make_2(m, FL_OP_MUL, g, g), beta);
        fl_id root = fl_make_2(m, FL_OP_ADD, fl_make_1(m, FL_OP_SQRT, h), fl_make_like(m, x, fl_import_float(m, "epsilon", 1e-6)));
        fl_id y = fl_make_2(m, FL_OP_SUB, x, fl_make_2(m, FL_OP_DIV, fl_make_2(m, FL_OP_MUL, r, v), root));
        m->out[i] = after == 0 ? y : times(m, y, 1 - after);
        m->out[n + i] = v;
        m->out[2 * n + i] = h;
    }
    return FL_OK;
}

fl_status fl_expand_momentum(fl_import *m)
{
    uint32_t n;
    double alpha = fl_import_float(m, "alpha", 0), beta = fl_import_float(m, "beta", 0);
    const char *mode = fl_import_string(m, "mode", "standard");
    bool nesterov = strcmp(mode, "nesterov") == 0;
    FL_TRY(groups(m, 1, &n));
    if (!nesterov && strcmp(mode, "standard") != 0)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"mode\" is \"%.40s\"", mode);
    fl_id r = m->in[0], started = fl_make_2(m, FL_OP_GREATER, m->in[1], fl_make_like(m, m->in[1], 0));
    for (uint32_t i = 0; i < n; i++) {
        fl_id x = m->in[2 + i], g = regularised(m, x, m->in[2 + n + i]);
        fl_id share = fl_make_3(m, FL_OP_WHERE, started, fl_make_like(m, x, beta), fl_make_like(m, x, 1));
        fl_id v = fl_make_2(m, FL_OP_ADD, times(m, m->in[2 + 2 * n + i], alpha), fl_make_2(m, FL_OP_MUL, share, g));
        fl_id way = nesterov ? fl_make_2(m, FL_OP_ADD, g, times(m, v, alpha)) : v;
        m->out[i] = fl_make_2(m, FL_OP_SUB, x, fl_make_2(m, FL_OP_MUL, r, way));
        m->out[n + i] = v;
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- gradient */

static fl_status find_named(fl_import *m, const char *attribute, const char *name, fl_id *out)
{
    *out = fl_graph_find(m->g, name);
    if (*out == FL_NONE)
        return fl_import_error(m, FL_E_ONNX_NAME, "attribute \"%s\" names \"%.100s\", which is no value before it", attribute, name);
    return FL_OK;
}

/*
 * Values that the standard's operator has by name become operands, so that names may change: y, then for each of xs and zs the value itself and what
 * it is replaced by.
 */
fl_status fl_expand_gradient(fl_import *m)
{
    const fl_attr *lists[2] = {fl_import_attr(m, "xs"), fl_import_attr(m, "zs")};
    const char *y = fl_import_string(m, "y", NULL);
    uint32_t n_x = lists[0] && lists[0]->kind == FL_ATTR_STRINGS ? lists[0]->n : 0, n = n_x + (lists[1] && lists[1]->kind == FL_ATTR_STRINGS ? lists[1]->n : 0);
    if (n_x == 0 || !y)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"%s\" is missing", y ? "xs" : "y");
    if (m->n_in != n || m->n_out > n_x || n > UINT16_MAX / 2 - 1)
        return fl_import_error(m, FL_E_ONNX_FORMAT, "%u inputs and %u outputs, but xs and zs name %u values, xs %u of them", m->n_in, m->n_out, n, n_x);
    fl_id *in = fl_arena_new(&m->g->arena, fl_id, 2 * n + 1);
    if (!in)
        return fl_out_of_memory(m->dg);
    FL_TRY(find_named(m, "y", y, &in[0]));
    for (uint32_t k = 0; k < n; k++) {
        const fl_attr *list = lists[k >= n_x];
        FL_TRY(find_named(m, k < n_x ? "xs" : "zs", list->as.strings[k < n_x ? k : k - n_x], &in[1 + 2 * k]));
        in[2 + 2 * k] = m->in[k];
        if (m->in[k] == FL_NONE)
            return fl_import_error(m, FL_E_ONNX_FORMAT, "input %u is left out", k);
    }
    fl_id node = fl_node_new(m->g, FL_OP_GRADIENT, fl_make_base(m), in, 2 * n + 1, n_x);
    fl_node_set_int(m->g, node, "xs", n_x);
    fl_build_infer(m->g, node);
    for (uint32_t k = 0; k < m->n_out; k++)
        m->out[k] = fl_node_out(m->g, node, k);
    return FL_OK;
}
