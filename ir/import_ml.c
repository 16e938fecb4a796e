/*
 * import_ml.c -- operators of domain ai.onnx.ml that scikit-learn's converters write, but for trees and strings.
 */
#include "ir/import_parts.h"

#include <string.h>

/* A constant of doubles as x's element type, float otherwise. */
static fl_id floats(fl_import *m, const double *f, uint32_t n, int rank, const int64_t *dims)
{
    float *bytes = fl_arena_new(&m->g->arena, float, n + 1u);
    if (!bytes)
        return FL_NONE;
    for (uint32_t k = 0; k < n; k++)
        bytes[k] = (float)f[k];
    fl_tensor t = {.type = fl_type_make(FL_FLOAT, rank, dims), .bytes = bytes, .length = n * sizeof *bytes};
    fl_id node = fl_node_new(m->g, FL_OP_CONSTANT, fl_make_base(m), NULL, 0, 1);
    fl_node_set_tensor(m->g, node, "value", &t);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

static fl_id integers(fl_import *m, const int64_t *ints, uint32_t n)
{
    fl_tensor t = {.type = fl_type_make(FL_INT64, 1, (fl_dim[]){n}), .bytes = ints, .length = n * sizeof *ints};
    fl_id node = fl_node_new(m->g, FL_OP_CONSTANT, fl_make_base(m), NULL, 0, 1);
    fl_node_set_tensor(m->g, node, "value", &t);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

static const fl_attr *list(const fl_import *m, const char *name, fl_attr_kind kind)
{
    const fl_attr *a = fl_import_attr(m, name);
    return a && a->kind == kind && a->n > 0 ? a : NULL;
}

/* Results are floats, whatever x is. */
static fl_id real(fl_import *m, fl_id x)
{
    return fl_value_type(m->g, x)->dtype == FL_FLOAT ? x : fl_make_cast(m, x, FL_FLOAT);
}

/* (x - offset) scale, each of one element or of one for each column. */
fl_status fl_expand_scaler(fl_import *m)
{
    const fl_attr *offset = list(m, "offset", FL_ATTR_FLOATS), *scale = list(m, "scale", FL_ATTR_FLOATS);
    fl_id x = real(m, m->in[0]);
    if (offset)
        x = fl_make_2(m, FL_OP_SUB, x, floats(m, offset->as.floats, offset->n, 1, (int64_t[]){offset->n}));
    if (scale)
        x = fl_make_2(m, FL_OP_MUL, x, floats(m, scale->as.floats, scale->n, 1, (int64_t[]){scale->n}));
    m->out[0] = x;
    return FL_OK;
}

/* x by its largest element, the sum of magnitudes, or the root of the sum of squares, in each row; a row of zeros stays. */
fl_status fl_expand_normalizer(fl_import *m)
{
    static const int64_t last[] = {-1};
    const char *norm = fl_import_string(m, "norm", "MAX");
    fl_id x = real(m, m->in[0]), by;
    if (strcmp(norm, "MAX") == 0)
        by = fl_make_reduce(m, FL_OP_REDUCE_MAX, x, last, 1, true);
    else if (strcmp(norm, "L1") == 0)
        by = fl_make_reduce(m, FL_OP_REDUCE_SUM, fl_make_1(m, FL_OP_ABS, x), last, 1, true);
    else if (strcmp(norm, "L2") == 0)
        by = fl_make_1(m, FL_OP_SQRT, fl_make_reduce(m, FL_OP_REDUCE_SUM, fl_make_2(m, FL_OP_MUL, x, x), last, 1, true));
    else
        return fl_import_error(m, FL_E_ONNX_KIND, "attribute \"norm\" is \"%.40s\", known are MAX, L1 and L2", norm);
    fl_id zero = fl_make_2(m, FL_OP_EQUAL, by, fl_make_like(m, x, 0));
    m->out[0] = fl_make_2(m, FL_OP_DIV, x, fl_make_3(m, FL_OP_WHERE, zero, fl_make_like(m, x, 1), by));
    return FL_OK;
}

/* x w + b with the rows of w as they stand in the attributes, one for each of `n` results. */
static fl_status scores(fl_import *m, const fl_attr *w, const fl_attr *b, uint32_t n, fl_id *out)
{
    if (!w || n == 0 || w->n % n != 0)
        return fl_import_error(m, FL_E_ONNX_KIND, "it has %u coefficients for %u results", w ? w->n : 0, n);
    uint32_t columns = w->n / n;
    double *turned = fl_arena_new(&m->g->arena, double, w->n);
    if (!turned)
        return fl_out_of_memory(m->dg);
    for (uint32_t k = 0; k < w->n; k++)
        turned[k % columns * n + k / columns] = w->as.floats[k];
    *out = fl_make_2(m, FL_OP_MATMUL, real(m, m->in[0]), floats(m, turned, w->n, 2, (int64_t[]){columns, n}));
    if (b && b->n == n)
        *out = fl_make_2(m, FL_OP_ADD, *out, floats(m, b->as.floats, n, 1, (int64_t[]){n}));
    return FL_OK;
}

static fl_status transformed(fl_import *m, fl_id x, fl_id *out)
{
    const char *word = fl_import_string(m, "post_transform", "NONE");
    if (strcmp(word, "NONE") == 0)
        *out = x;
    else if (strcmp(word, "LOGISTIC") == 0)
        *out = fl_make_1(m, FL_OP_SIGMOID, x);
    else if (strcmp(word, "SOFTMAX") == 0)
        *out = fl_make_softmax(m, x, -1, false);
    else
        return fl_import_error(m, FL_E_ONNX_KIND, "attribute \"post_transform\" is \"%.40s\", known are NONE, LOGISTIC and SOFTMAX", word);
    return FL_OK;
}

fl_status fl_expand_linear_regressor(fl_import *m)
{
    fl_id y;
    FL_TRY(scores(m, list(m, "coefficients", FL_ATTR_FLOATS), list(m, "intercepts", FL_ATTR_FLOATS), (uint32_t)fl_import_int(m, "targets", 1), &y));
    return transformed(m, y, &m->out[0]);
}

/* The label of the largest score, and the scores, transformed. */
fl_status fl_expand_linear_classifier(fl_import *m)
{
    const fl_attr *labels = list(m, "classlabels_ints", FL_ATTR_INTS);
    fl_id y;
    if (!labels || labels->n < 2)
        return fl_import_error(m, FL_E_ONNX_KIND, "its labels must be two whole numbers or more: strings are not supported");
    FL_TRY(scores(m, list(m, "coefficients", FL_ATTR_FLOATS), list(m, "intercepts", FL_ATTR_FLOATS), labels->n, &y));
    fl_id node = fl_node_new(m->g, FL_OP_ARG_MAX, fl_make_base(m), &y, 1, 1);
    fl_node_set_int(m->g, node, "axis", 1);
    fl_node_set_int(m->g, node, "keepdims", 0);
    fl_build_infer(m->g, node);
    m->out[0] = fl_make_2(m, FL_OP_GATHER, integers(m, labels->as.ints, labels->n), fl_node_out(m->g, node, 0));
    if (m->n_out > 1)
        return transformed(m, y, &m->out[1]);
    return FL_OK;
}

/* Columns of the last axis; a vector gives a matrix of one row, which whoever reads it mostly makes a vector again. */
fl_status fl_expand_array_feature_extractor(fl_import *m)
{
    int rank;
    FL_TRY(fl_import_rank(m, 0, &rank));
    fl_id in[2] = {m->in[0], fl_make_reshape(m, m->in[1], (int64_t[]){-1}, 1)};
    fl_id node = fl_node_new(m->g, FL_OP_GATHER, fl_make_base(m), in, 2, 1);
    fl_node_set_int(m->g, node, "axis", rank - 1);
    fl_build_infer(m->g, node);
    m->out[0] = fl_node_out(m->g, node, 0);
    if (rank == 1)
        m->out[0] = fl_make_reshape(m, m->out[0], (int64_t[]){1, -1}, 2);
    return FL_OK;
}

/* 1 where x is the category; a value that is none of them gives zeros (attribute zeros 1). Words are numbered first. */
fl_status fl_expand_one_hot_encoder(fl_import *m)
{
    const fl_attr *ints = list(m, "cats_int64s", FL_ATTR_INTS), *words = list(m, "cats_strings", FL_ATTR_STRINGS);
    fl_id x = m->in[0];
    uint32_t n = ints ? ints->n : words ? words->n : 0;
    if (n == 0 || fl_import_int(m, "zeros", 1) != 1)
        return fl_import_error(m, FL_E_ONNX_KIND, "it needs categories, and attribute \"zeros\" 1: unknown values as an error are not supported");
    int64_t *numbers = fl_arena_new(&m->g->arena, int64_t, n);
    if (!numbers)
        return fl_out_of_memory(m->dg);
    for (uint32_t k = 0; k < n; k++)
        numbers[k] = ints ? ints->as.ints[k] : k;
    if (words && !ints) {
        fl_id node = fl_node_new(m->g, FL_OP_LABEL_ENCODER, fl_make_base(m), &x, 1, 1);
        fl_attr *attrs = fl_arena_new(&m->g->arena, fl_attr, 2);
        if (node == FL_NONE || !attrs)
            return fl_out_of_memory(m->dg);
        attrs[0] = *words;
        attrs[0].name = fl_strpool_put(&m->g->names, "keys_strings", 12);
        attrs[1] = (fl_attr){.name = fl_strpool_put(&m->g->names, "values_int64s", 13), .kind = FL_ATTR_INTS, .n = n, .as.ints = numbers};
        m->g->nodes[node].attr = attrs;
        m->g->nodes[node].n_attr = 2;
        fl_build_infer(m->g, node);
        x = fl_node_out(m->g, node, 0);
    } else if (fl_value_type(m->g, x)->dtype != FL_INT64) {
        x = fl_make_cast(m, x, FL_INT64);
    }
    x = fl_make_2(m, FL_OP_UNSQUEEZE, x, fl_make_ints(m, (int64_t[]){-1}, 1));
    m->out[0] = fl_make_cast(m, fl_make_2(m, FL_OP_EQUAL, x, integers(m, numbers, n)), FL_FLOAT);
    return FL_OK;
}
