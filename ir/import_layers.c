/*
 * import_layers.c -- normalisations, dropout, and rearrangements, by the formulas of the standard.
 */
#include "ir/import_parts.h"

#include <string.h>

/* (x - mean) / sqrt(variance + epsilon) over axes [first, rank); *mean and *scale (NULL: not wanted) are kept with extent 1. */
static fl_id normalised(fl_import *m, fl_id x, const int64_t *axes, uint32_t n, double epsilon, fl_id *mean, fl_id *scale)
{
    fl_id average = fl_make_reduce(m, FL_OP_REDUCE_MEAN, x, axes, n, true), off = fl_make_2(m, FL_OP_SUB, x, average);
    fl_id variance = fl_make_reduce(m, FL_OP_REDUCE_MEAN, fl_make_2(m, FL_OP_MUL, off, off), axes, n, true);
    fl_id root = fl_make_1(m, FL_OP_SQRT, fl_make_2(m, FL_OP_ADD, variance, fl_make_like(m, x, epsilon)));
    if (mean)
        *mean = average;
    if (scale)
        *scale = fl_make_1(m, FL_OP_RECIPROCAL, root);
    return fl_make_2(m, FL_OP_DIV, off, root);
}

static uint32_t axes_from(int first, int rank, int64_t *axes)
{
    uint32_t n = 0;
    for (int d = first; d < rank; d++)
        axes[n++] = d;
    return n;
}

/* scale x + bias; outputs 1 and 2 are the mean and 1 over the deviation. */
fl_status fl_expand_layer_normalization(fl_import *m)
{
    int rank, axis;
    int64_t axes[FL_MAX_RANK];
    FL_TRY(fl_import_rank(m, 0, &rank));
    FL_TRY(fl_import_axis(m, "axis", -1, rank, &axis));
    uint32_t n = axes_from(axis, rank, axes);
    bool mean = m->n_out > 1 && m->wanted[1], scale = m->n_out > 2 && m->wanted[2];
    fl_id y = normalised(m, m->in[0], axes, n, fl_import_float(m, "epsilon", 1e-5), mean ? &m->out[1] : NULL, scale ? &m->out[2] : NULL);
    y = fl_make_2(m, FL_OP_MUL, y, m->in[1]);
    m->out[0] = fl_import_in(m, 2) == FL_NONE ? y : fl_make_2(m, FL_OP_ADD, y, m->in[2]);
    return FL_OK;
}

fl_status fl_expand_rms_normalization(fl_import *m)
{
    int rank, axis;
    int64_t axes[FL_MAX_RANK];
    fl_id x = m->in[0];
    FL_TRY(fl_import_rank(m, 0, &rank));
    FL_TRY(fl_import_axis(m, "axis", -1, rank, &axis));
    uint32_t n = axes_from(axis, rank, axes);
    fl_id mean = fl_make_reduce(m, FL_OP_REDUCE_MEAN, fl_make_2(m, FL_OP_MUL, x, x), axes, n, true);
    fl_id root = fl_make_1(m, FL_OP_SQRT, fl_make_2(m, FL_OP_ADD, mean, fl_make_like(m, x, fl_import_float(m, "epsilon", 1e-5))));
    m->out[0] = fl_make_2(m, FL_OP_MUL, fl_make_2(m, FL_OP_DIV, x, root), m->in[1]);
    return FL_OK;
}

/* The deviation gets 1e-9 added, as the standard's function body has it. */
fl_status fl_expand_mean_variance_normalization(fl_import *m)
{
    static const int64_t usual[] = {0, 2, 3};
    const fl_attr *a = fl_import_attr(m, "axes");
    const int64_t *axes = a && a->kind == FL_ATTR_INTS ? a->as.ints : usual;
    uint32_t n = a && a->kind == FL_ATTR_INTS ? a->n : FL_COUNT(usual);
    fl_id x = m->in[0], off = fl_make_2(m, FL_OP_SUB, x, fl_make_reduce(m, FL_OP_REDUCE_MEAN, x, axes, n, true));
    fl_id variance = fl_make_reduce(m, FL_OP_REDUCE_MEAN, fl_make_2(m, FL_OP_MUL, off, off), axes, n, true);
    m->out[0] = fl_make_2(m, FL_OP_DIV, off, fl_make_2(m, FL_OP_ADD, fl_make_1(m, FL_OP_SQRT, variance), fl_make_like(m, x, 1e-9)));
    return FL_OK;
}

/* A vector of channels as [C,1,1,...], to stand beside x [N,C,...]. */
static fl_id channels(fl_import *m, fl_id v, int rank)
{
    int64_t shape[FL_MAX_RANK] = {-1};
    for (int d = 1; d < rank - 1; d++)
        shape[d] = 1;
    return rank > 2 ? fl_make_reshape(m, v, shape, (uint32_t)rank - 1) : v;
}

fl_status fl_expand_instance_normalization(fl_import *m)
{
    int rank;
    int64_t axes[FL_MAX_RANK];
    FL_TRY(fl_import_rank(m, 0, &rank));
    uint32_t n = axes_from(2, rank, axes);
    if (n == 0)
        return fl_import_error(m, FL_E_ONNX_KIND, "x has rank %d, wanted is at least 3", rank);
    fl_id y = normalised(m, m->in[0], axes, n, fl_import_float(m, "epsilon", 1e-5), NULL, NULL);
    y = fl_make_2(m, FL_OP_MUL, y, channels(m, m->in[1], rank));
    m->out[0] = fl_make_2(m, FL_OP_ADD, y, channels(m, m->in[2], rank));
    return FL_OK;
}

/* Training: statistics of the batch normalise, and are mixed into the running ones (outputs 1 and 2), which keep `momentum` of themselves. */
fl_status fl_expand_batch_normalization(fl_import *m)
{
    int rank;
    int64_t axes[FL_MAX_RANK] = {0};
    fl_id mean, variance, x = m->in[0];
    double momentum = fl_import_float(m, "momentum", 0.9);
    FL_TRY(fl_import_rank(m, 0, &rank));
    if (rank < 2)
        return fl_import_error(m, FL_E_ONNX_KIND, "x has rank %d, wanted is at least 2", rank);
    if (m->opset < 14)
        return fl_import_error(m, FL_E_ONNX_KIND, "its outputs for training are supported from opset 14 on");
    uint32_t n = 1 + axes_from(2, rank, axes + 1);
    fl_id average = fl_make_reduce(m, FL_OP_REDUCE_MEAN, x, axes, n, true), off = fl_make_2(m, FL_OP_SUB, x, average);
    fl_id spread = fl_make_reduce(m, FL_OP_REDUCE_MEAN, fl_make_2(m, FL_OP_MUL, off, off), axes, n, true);
    fl_id root = fl_make_1(m, FL_OP_SQRT, fl_make_2(m, FL_OP_ADD, spread, fl_make_like(m, x, fl_import_float(m, "epsilon", 1e-5))));
    fl_id y = fl_make_2(m, FL_OP_MUL, fl_make_2(m, FL_OP_DIV, off, root), channels(m, m->in[1], rank));
    m->out[0] = fl_make_2(m, FL_OP_ADD, y, channels(m, m->in[2], rank));
    int64_t flat = -1;
    mean = fl_make_reshape(m, average, &flat, 1);
    variance = fl_make_reshape(m, spread, &flat, 1);
    for (uint32_t k = 1; k < 3 && k < m->n_out; k++) {
        fl_id old = fl_make_2(m, FL_OP_MUL, m->in[2 + k], fl_make_like(m, x, momentum));
        fl_id now = fl_make_2(m, FL_OP_MUL, k == 1 ? mean : variance, fl_make_like(m, x, 1 - momentum));
        m->out[k] = m->wanted[k] ? fl_make_2(m, FL_OP_ADD, old, now) : FL_NONE;
    }
    return FL_OK;
}

/* Inference, or a ratio of 0: x itself, and a mask of ones. A mask that would have to be drawn is not supported. */
fl_status fl_expand_dropout(fl_import *m)
{
    double training = 0, ratio = 0.5;
    if (fl_import_in(m, 2) != FL_NONE && !fl_value_scalar(m->g, m->in[2], &training))
        return fl_import_error(m, FL_E_ONNX_KIND, "whether it trains is known only at run time");
    if (fl_import_in(m, 1) != FL_NONE && !fl_value_scalar(m->g, m->in[1], &ratio))
        ratio = training != 0 ? 1 : 0;
    if (training != 0 && ratio != 0)
        return fl_import_error(m, FL_E_ONNX_KIND, "dropout in training mode is not supported: the mask would be random");
    m->out[0] = m->in[0];
    if (m->n_out > 1 && m->wanted[1]) {
        static const uint8_t one = 1;
        fl_tensor value = {.type = fl_type_make(FL_BOOL, 1, (int64_t[]){1}), .bytes = &one, .length = 1};
        fl_id shape = fl_make_1(m, FL_OP_SHAPE, m->in[0]), node = fl_node_new(m->g, FL_OP_CONSTANT_OF_SHAPE, fl_make_base(m), &shape, 1, 1);
        fl_node_set_tensor(m->g, node, "value", &value);
        fl_build_infer(m->g, node);
        m->out[1] = fl_node_out(m->g, node, 0);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------ rearrangements */

static fl_id transposed(fl_import *m, fl_id x, const int64_t *perm, uint32_t n)
{
    fl_id node = fl_node_new(m->g, FL_OP_TRANSPOSE, fl_make_base(m), &x, 1, 1);
    fl_node_set_ints(m->g, node, "perm", perm, n);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

static fl_status image(fl_import *m, int64_t *block, fl_type *x)
{
    *block = fl_import_int(m, "blocksize", 0);
    *x = *fl_value_type(m->g, m->in[0]);
    if (x->rank != 4 || FL_DIM_IS_SYM(x->dims[1]) || FL_DIM_IS_SYM(x->dims[2]) || FL_DIM_IS_SYM(x->dims[3]))
        return fl_import_error(m, FL_E_ONNX_KIND, "its operand must be [N,C,H,W] with C, H and W known");
    if (*block < 1 || *block > 1 << 15)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "blocksize is %lld", (long long)*block);
    return FL_OK;
}

/* True if the attribute is a list of `value` alone, or absent. */
static bool all_are(const fl_import *m, const char *name, int64_t value)
{
    const fl_attr *a = fl_import_attr(m, name);
    for (uint32_t k = 0; a && k < a->n; k++)
        if (a->kind != FL_ATTR_INTS || a->as.ints[k] != value)
            return false;
    return true;
}

/* A kernel of one place is a product over the channels, as CTR models use it (xDeepFM's compressed interactions): w [M,C] x [N,C,L] + b. */
fl_status fl_expand_conv(fl_import *m)
{
    const fl_type *x = fl_value_type(m->g, m->in[0]), *w = fl_value_type(m->g, m->in[1]);
    bool plain = all_are(m, "kernel_shape", 1) && all_are(m, "strides", 1) && all_are(m, "pads", 0) && fl_import_int(m, "group", 1) == 1;
    for (int d = 2; d < w->rank; d++)
        plain = plain && w->dims[d] == 1;
    if (!plain || x->rank != 3 || w->rank != 3 || FL_DIM_IS_SYM(w->dims[0]) || FL_DIM_IS_SYM(w->dims[1]))
        return fl_import_error(m, FL_E_ONNX_KIND, "convolutions are supported with a kernel of one place over x [N,C,L] alone");
    fl_id y = fl_make_2(m, FL_OP_MATMUL, fl_make_reshape(m, m->in[1], (int64_t[]){w->dims[0], w->dims[1]}, 2), m->in[0]);
    m->out[0] = fl_import_in(m, 2) == FL_NONE ? y : fl_make_2(m, FL_OP_ADD, y, fl_make_reshape(m, m->in[2], (int64_t[]){-1, 1}, 2));
    return FL_OK;
}

fl_status fl_expand_depth_to_space(fl_import *m)
{
    static const int64_t dcr[] = {0, 3, 4, 1, 5, 2}, crd[] = {0, 1, 4, 2, 5, 3};
    int64_t b;
    fl_type x;
    FL_TRY(image(m, &b, &x));
    bool columns = strcmp(fl_import_string(m, "mode", "DCR"), "CRD") == 0;
    int64_t c = x.dims[1] / (b * b), h = x.dims[2], w = x.dims[3];
    int64_t apart[6] = {0, columns ? c : b, b, columns ? b : c, h, w}, together[4] = {0, c, h * b, w * b};
    fl_id pieces = transposed(m, fl_make_reshape(m, m->in[0], apart, 6), columns ? crd : dcr, 6);
    m->out[0] = fl_make_reshape(m, pieces, together, 4);
    return FL_OK;
}

fl_status fl_expand_space_to_depth(fl_import *m)
{
    static const int64_t dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    int64_t b;
    fl_type x;
    FL_TRY(image(m, &b, &x));
    bool columns = strcmp(fl_import_string(m, "mode", "DCR"), "CRD") == 0;
    int64_t c = x.dims[1], h = x.dims[2] / b, w = x.dims[3] / b, apart[6] = {0, c, h, b, w, b}, together[4] = {0, c * b * b, h, w};
    m->out[0] = fl_make_reshape(m, transposed(m, fl_make_reshape(m, m->in[0], apart, 6), columns ? crd : dcr, 6), together, 4);
    return FL_OK;
}

/* The first name of ScatterElements. */
fl_status fl_expand_scatter(fl_import *m)
{
    fl_id node = fl_node_new(m->g, FL_OP_SCATTER_ELEMENTS, fl_make_base(m), m->in, 3, 1);
    fl_node_set_int(m->g, node, "axis", fl_import_int(m, "axis", 0));
    fl_build_infer(m->g, node);
    m->out[0] = fl_node_out(m->g, node, 0);
    return FL_OK;
}

fl_status fl_expand_random_uniform(fl_import *m)
{
    const fl_attr *shape = fl_import_attr(m, "shape");
    if (!shape || shape->kind != FL_ATTR_INTS)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"shape\" is missing");
    fl_id like = fl_make_1(m, FL_OP_CONSTANT_OF_SHAPE, fl_make_ints(m, shape->as.ints, shape->n));
    fl_id node = fl_node_new(m->g, FL_OP_UNIFORM_LIKE, fl_make_base(m), &like, 1, 1);
    fl_node_set_int(m->g, node, "dtype", fl_import_int(m, "dtype", FL_FLOAT));
    fl_node_set_float(m->g, node, "low", fl_import_float(m, "low", 0));
    fl_node_set_float(m->g, node, "high", fl_import_float(m, "high", 1));
    fl_node_set_float(m->g, node, "seed", fl_import_float(m, "seed", 0));
    fl_build_infer(m->g, node);
    m->out[0] = fl_node_out(m->g, node, 0);
    return FL_OK;
}

/* A LabelEncoder between the two lists of categories; which way tells the operand's type. */
fl_status fl_expand_category_mapper(fl_import *m)
{
    static const char *const given[] = {"cats_strings", "cats_int64s", "default_int64", "default_string"};
    bool texts = fl_value_type(m->g, m->in[0])->dtype == FL_STRING;
    const char *const wanted[] = {texts ? "keys_strings" : "values_strings", texts ? "values_int64s" : "keys_int64s",
                                  texts ? "default_int64" : NULL, texts ? NULL : "default_string"};
    fl_id node = fl_node_new(m->g, FL_OP_LABEL_ENCODER, fl_make_base(m), m->in, 1, 1);
    fl_attr *attrs = fl_arena_new(&m->g->arena, fl_attr, FL_COUNT(given));
    if (node == FL_NONE || !attrs)
        return fl_out_of_memory(m->dg);
    for (size_t k = 0; k < FL_COUNT(given); k++) {
        const fl_attr *a = fl_import_attr(m, given[k]);
        if (!wanted[k] || !a)
            continue;
        fl_attr *to = &attrs[m->g->nodes[node].n_attr++];
        *to = *a;
        to->name = fl_strpool_put(&m->g->names, wanted[k], strlen(wanted[k]));
        if (!to->name)
            return fl_out_of_memory(m->dg);
    }
    m->g->nodes[node].attr = attrs;
    fl_build_infer(m->g, node);
    m->out[0] = fl_node_out(m->g, node, 0);
    return FL_OK;
}
