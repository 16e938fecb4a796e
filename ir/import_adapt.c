/*
 * import_adapt.c -- older and newer forms of operators as those of opset 20.
 *
 * Most changes between opsets only widen types or allow what was refused before; those need nothing. What is left are attributes that
 * became operands, attributes that went, and a few operators whose meaning changed. A row says until which opset (that one excluded)
 * an operator has the old form, and which adapter brings it up; an operator may have several rows, applied in order.
 */
#include "ir/import_parts.h"

#include <string.h>

typedef struct change {
    const char *op;
    int64_t until;
    fl_status (*adapt)(fl_import *m, const char *attr, uint32_t operand);
    const char *attr;
    uint32_t operand;
} change;

/* Operand `k` becomes v; operands between are left out. */
static fl_status set_operand(fl_import *m, uint32_t k, fl_id v)
{
    uint32_t n = m->n_in > k ? m->n_in : k + 1;
    fl_id *in = fl_arena_new(&m->g->arena, fl_id, n);
    if (!in || v == FL_NONE)
        return fl_out_of_memory(m->dg);
    for (uint32_t i = 0; i < n; i++)
        in[i] = i < m->n_in ? m->in[i] : FL_NONE;
    in[k] = v;
    m->in = in;
    m->n_in = n;
    return FL_OK;
}

/* The attribute of integers becomes operand k: axes, sizes, starts, ends, pads. */
static fl_status ints_to_operand(fl_import *m, const char *attr, uint32_t k)
{
    const fl_attr *a = fl_import_attr(m, attr);
    if (!a)
        return FL_OK;
    if (a->kind != FL_ATTR_INTS)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"%s\" is no list of integers", attr);
    if (fl_import_in(m, k) != FL_NONE)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"%s\" stands beside operand %u", attr, k);
    FL_TRY(set_operand(m, k, fl_make_ints(m, a->as.ints, a->n)));
    fl_import_drop_attr(m, attr);
    return FL_OK;
}

/* TopK: the one number k, as a list. */
static fl_status int_to_operand(fl_import *m, const char *attr, uint32_t k)
{
    int64_t number = fl_import_int(m, attr, 1);
    FL_TRY(set_operand(m, k, fl_make_ints(m, &number, 1)));
    fl_import_drop_attr(m, attr);
    return FL_OK;
}

/* Clip's bounds, Pad's value: a scalar of the first operand's type. */
static fl_status float_to_operand(fl_import *m, const char *attr, uint32_t k)
{
    const fl_attr *a = fl_import_attr(m, attr);
    if (!a)
        return FL_OK;
    FL_TRY(set_operand(m, k, fl_make_like(m, fl_import_in(m, 0), fl_import_float(m, attr, 0))));
    fl_import_drop_attr(m, attr);
    return FL_OK;
}

/* An attribute that changes nothing here (Dropout's ratio in inference, Cast's saturation of 8-bit floats). */
static fl_status forget(fl_import *m, const char *attr, uint32_t k)
{
    (void)k;
    fl_import_drop_attr(m, attr);
    return FL_OK;
}

/* An attribute whose only value that we have is the later default, k. */
static fl_status only_default(fl_import *m, const char *attr, uint32_t k)
{
    if (fl_import_int(m, attr, k) != (int64_t)k)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "attribute \"%s\" is %lld; only %u is supported", attr,
                               (long long)fl_import_int(m, attr, k), k);
    fl_import_drop_attr(m, attr);
    return FL_OK;
}

static const change changes[] = {
    {"BatchNormalization", 9, only_default, "spatial", 1},
    {"BatchNormalization", INT64_MAX, forget, "momentum", 0},
    {"Cast", INT64_MAX, forget, "saturate", 0},
    {"Cast", INT64_MAX, forget, "round_mode", 0},
    {"CastLike", INT64_MAX, forget, "saturate", 0},
    {"Clip", 11, float_to_operand, "min", 1},
    {"Clip", 11, float_to_operand, "max", 2},
    {"Dropout", 12, forget, "ratio", 0},
    {"Pad", 11, ints_to_operand, "pads", 1},
    {"Pad", 11, float_to_operand, "value", 2},
    {"ReduceL1", 18, ints_to_operand, "axes", 1},
    {"ReduceL2", 18, ints_to_operand, "axes", 1},
    {"ReduceLogSum", 18, ints_to_operand, "axes", 1},
    {"ReduceLogSumExp", 18, ints_to_operand, "axes", 1},
    {"ReduceMax", 18, ints_to_operand, "axes", 1},
    {"ReduceMean", 18, ints_to_operand, "axes", 1},
    {"ReduceMin", 18, ints_to_operand, "axes", 1},
    {"ReduceProd", 18, ints_to_operand, "axes", 1},
    {"ReduceSum", 13, ints_to_operand, "axes", 1},
    {"ReduceSumSquare", 18, ints_to_operand, "axes", 1},
    {"Slice", 10, ints_to_operand, "starts", 1},
    {"Slice", 10, ints_to_operand, "ends", 2},
    {"Slice", 10, ints_to_operand, "axes", 3},
    {"Split", 13, ints_to_operand, "split", 1},
    {"Squeeze", 13, ints_to_operand, "axes", 1},
    {"TopK", 10, int_to_operand, "k", 1},
    {"Unsqueeze", 13, ints_to_operand, "axes", 1},
};

/*
 * BatchNormalization in training has three outputs and is expanded; before opset 14 further outputs told it apart. Softmax and its
 * kin are always expanded, and see the opset themselves.
 */
static bool expands(const fl_import *m)
{
    return strcmp(m->op, "BatchNormalization") == 0 &&
           (m->opset < 14 ? m->n_out > 1 : fl_import_int(m, "training_mode", 0) != 0);
}

/* A draw without a seed gets one from its name: two of them differ, and a file gives the same numbers each time. */
static fl_status seed(fl_import *m)
{
    if (fl_import_attr(m, "seed"))
        return FL_OK;
    fl_attr *attrs = fl_arena_new(&m->g->arena, fl_attr, m->n_attr + 1u);
    const char *name = fl_strpool_put(&m->g->names, "seed", 4);
    if (!attrs || !name)
        return fl_out_of_memory(m->dg);
    if (m->n_attr)
        memcpy(attrs, m->attr, m->n_attr * sizeof *attrs);
    attrs[m->n_attr++] = (fl_attr){.name = name, .kind = FL_ATTR_FLOAT,
                                   .as.f = (double)(fl_hash_bytes(m->stem, strlen(m->stem), 0) >> 40)};
    m->attr = attrs;
    return FL_OK;
}

/*
 * Before opset 7 many operators had another form (broadcasting by attributes, shapes as attributes); those are not read. These
 * had today's form already, but for a hint that nobody reads.
 */
static fl_status before_opset_7(fl_import *m)
{
    static const char *const unchanged[] = {
        "Abs", "ArgMax", "ArgMin", "Ceil", "Concat", "Constant", "DepthToSpace", "Elu", "Exp", "Flatten", "Floor", "Gather", "GlobalAveragePool",
        "GlobalMaxPool", "HardSigmoid", "Hardmax", "Identity", "InstanceNormalization", "LeakyRelu", "Log", "LogSoftmax", "Neg", "Not",
        "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare", "Relu", "Selu", "Shape", "Sigmoid", "Size", "Slice", "Softmax", "Softplus", "Softsign",
        "SpaceToDepth", "Sqrt", "Squeeze", "Tanh", "ThresholdedRelu", "Transpose", "Unsqueeze",
    };
    for (size_t i = 0; i < FL_COUNT(unchanged); i++) {
        if (strcmp(unchanged[i], m->op) == 0) {
            fl_import_drop_attr(m, "consumed_inputs");
            return FL_OK;
        }
    }
    return fl_import_error(m, FL_E_ONNX_OPSET, "its form of opset %lld is not supported; forms from opset 7 on are", (long long)m->opset);
}

fl_status fl_import_adapt(fl_import *m, bool *expand)
{
    *expand = false;
    if (*m->domain && strcmp(m->domain, "ai.onnx") != 0)
        return FL_OK;
    if (m->opset < 7)
        FL_TRY(before_opset_7(m));
    for (size_t i = 0; i < FL_COUNT(changes); i++)
        if (m->opset < changes[i].until && strcmp(changes[i].op, m->op) == 0)
            FL_TRY(changes[i].adapt(m, changes[i].attr, changes[i].operand));
    if (strncmp(m->op, "RandomUniform", 13) == 0)
        FL_TRY(seed(m));
    *expand = expands(m);
    return FL_OK;
}
