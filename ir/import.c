#include "ir/import.h"

#include "ir/import_parts.h"
#include "ir/shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct expansion {
    const char *domain, *name;
    uint16_t min_in, max_in, max_out;
    fl_import_fn *expand;
} expansion;

static const expansion expansions[] = {
#define FL_EXPANSION(domain, name, min_in, max_in, max_out, fn) {domain, name, min_in, max_in, max_out, fl_expand_##fn},
#include "ir/expansions.def"
#undef FL_EXPANSION
};

static const expansion *find_expansion(const char *domain, const char *name)
{
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    for (size_t i = 0; i < FL_COUNT(expansions); i++)
        if (strcmp(expansions[i].name, name) == 0 && strcmp(expansions[i].domain, domain) == 0)
            return &expansions[i];
    return NULL;
}

bool fl_import_knows(const char *domain, const char *op)
{
    fl_op known = fl_op_find(domain, op);
    return (known != FL_N_OPS && known != FL_OP_NOP) || find_expansion(domain, op);
}

bool fl_import_expands(const char *domain, const char *op)
{
    return find_expansion(domain, op) != NULL;
}

/* ---------------------------------------------------------------------------------------- reading what was given */

fl_status fl_import_error(const fl_import *m, fl_code code, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fl_error(m->dg, code, m->loc, "node \"%.100s\" (%.100s): %s", m->label, m->op, text);
}

const fl_attr *fl_import_attr(const fl_import *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_attr; i++)
        if (strcmp(m->attr[i].name, name) == 0)
            return &m->attr[i];
    return NULL;
}

int64_t fl_import_int(const fl_import *m, const char *name, int64_t otherwise)
{
    const fl_attr *a = fl_import_attr(m, name);
    return a && a->kind == FL_ATTR_INT ? a->as.i : otherwise;
}

double fl_import_float(const fl_import *m, const char *name, double otherwise)
{
    const fl_attr *a = fl_import_attr(m, name);
    return a && a->kind == FL_ATTR_FLOAT ? a->as.f : otherwise;
}

const char *fl_import_string(const fl_import *m, const char *name, const char *otherwise)
{
    const fl_attr *a = fl_import_attr(m, name);
    return a && a->kind == FL_ATTR_STRING ? a->as.s : otherwise;
}

void fl_import_drop_attr(fl_import *m, const char *name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->n_attr; i++)
        if (strcmp(m->attr[i].name, name) != 0)
            m->attr[kept++] = m->attr[i];
    m->n_attr = kept;
}

fl_id fl_import_in(const fl_import *m, uint32_t k)
{
    return k < m->n_in ? m->in[k] : FL_NONE;
}

fl_status fl_import_rank(const fl_import *m, uint32_t k, int *rank)
{
    fl_id v = fl_import_in(m, k);
    if (v == FL_NONE || fl_value_type(m->g, v)->rank < 0)
        return fl_import_error(m, FL_E_ONNX_KIND, "the number of dimensions of operand %u is not known", k);
    *rank = fl_value_type(m->g, v)->rank;
    return FL_OK;
}

fl_status fl_import_axis(const fl_import *m, const char *name, int64_t otherwise, int rank, int *axis)
{
    int64_t a = fl_import_int(m, name, otherwise);
    if (a < -rank || a >= rank)
        return fl_import_error(m, FL_E_ONNX_ATTRIBUTE, "axis %lld lies outside of rank %d", (long long)a, rank);
    *axis = (int)(a < 0 ? a + rank : a);
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------- making nodes */

const char *fl_make_base(fl_import *m)
{
    if (!m->base)
        m->base = fl_arena_printf(&m->g->arena, "%.60s.part", m->stem);
    return m->base ? m->base : "part"; /* out of memory: the graph says so */
}

static fl_id make(fl_import *m, fl_op op, const fl_id *in, uint32_t n)
{
    return fl_build_n(m->g, op, fl_make_base(m), in, n);
}

fl_id fl_make_1(fl_import *m, fl_op op, fl_id a)
{
    return make(m, op, &a, 1);
}

fl_id fl_make_2(fl_import *m, fl_op op, fl_id a, fl_id b)
{
    return make(m, op, (fl_id[]){a, b}, 2);
}

fl_id fl_make_3(fl_import *m, fl_op op, fl_id a, fl_id b, fl_id c)
{
    return make(m, op, (fl_id[]){a, b, c}, 3);
}

fl_id fl_make_like(fl_import *m, fl_id x, double f)
{
    fl_dtype t = x == FL_NONE ? FL_FLOAT : fl_value_type(m->g, x)->dtype;
    if (t == FL_DTYPE_NONE || t == FL_FLOAT || fl_dtype_size(t) == 0)
        return fl_build_scalar(m->g, fl_make_base(m), f);
    char bytes[8] = {0};
    fl_tensor one = {.type = fl_type_make(t, 0, NULL), .bytes = bytes, .length = fl_dtype_size(t)};
    fl_tensor_set_double(bytes, t, 0, f);
    fl_id node = fl_node_new(m->g, FL_OP_CONSTANT, fl_make_base(m), NULL, 0, 1);
    fl_node_set_tensor(m->g, node, "value", &one);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

fl_id fl_make_ints(fl_import *m, const int64_t *ints, uint32_t n)
{
    return fl_build_ints(m->g, fl_make_base(m), ints, n);
}

fl_id fl_make_reduce(fl_import *m, fl_op op, fl_id x, const int64_t *axes, uint32_t n, bool keep)
{
    fl_id in[2] = {x, fl_make_ints(m, axes, n)};
    fl_id node = fl_node_new(m->g, op, fl_make_base(m), in, 2, 1);
    fl_node_set_int(m->g, node, "keepdims", keep);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

fl_id fl_make_cast(fl_import *m, fl_id x, fl_dtype to)
{
    fl_id node = fl_node_new(m->g, FL_OP_CAST, fl_make_base(m), &x, 1, 1);
    fl_node_set_int(m->g, node, "to", to);
    fl_build_infer(m->g, node);
    return fl_node_out(m->g, node, 0);
}

fl_id fl_make_reshape(fl_import *m, fl_id x, const int64_t *shape, uint32_t n)
{
    return fl_make_2(m, FL_OP_RESHAPE, x, fl_make_ints(m, shape, n));
}

/* The maximum is taken off first, so that no power overflows. */
fl_id fl_make_softmax(fl_import *m, fl_id x, int64_t axis, bool logarithm)
{
    fl_id most = fl_make_reduce(m, FL_OP_REDUCE_MAX, x, &axis, 1, true);
    fl_id below = fl_make_2(m, FL_OP_SUB, x, most), power = fl_make_1(m, FL_OP_EXP, below);
    fl_id sum = fl_make_reduce(m, FL_OP_REDUCE_SUM, power, &axis, 1, true);
    return logarithm ? fl_make_2(m, FL_OP_SUB, below, fl_make_1(m, FL_OP_LOG, sum)) : fl_make_2(m, FL_OP_DIV, power, sum);
}

/* ------------------------------------------------------------------------------------------------------- a node */

static fl_status direct(fl_import *m, fl_op op)
{
    const fl_op_info *info = fl_op_get(op);
    if (m->n_in < info->min_in || m->n_in > info->max_in || m->n_out < info->min_out || m->n_out > info->max_out ||
        m->n_in >= UINT16_MAX || m->n_out >= UINT16_MAX || m->n_attr >= UINT16_MAX)
        return fl_error(m->dg, FL_E_ONNX_FORMAT, m->loc, "node \"%.100s\" (%s) has %u inputs and %u outputs", m->label, info->name,
                        m->n_in, m->n_out);
    /* These two leave out leading operands by design; of others those up to the minimum, and lists, are whole (ir/shape.c asks again). */
    bool sparse = op == FL_OP_FIELD_INTERACTION || op == FL_OP_FIELD_POOL_GRAD;
    for (uint32_t k = 0; k < m->n_in && !sparse; k++)
        if (m->in[k] == FL_NONE && (k < info->min_in || info->max_in == FL_MANY))
            return fl_import_error(m, FL_E_ONNX_FORMAT, "operand %u is left out, but it is not optional", k);
    fl_id id = fl_node_new(m->g, op, *m->stem ? m->stem : "ai.flen.unnamed", m->in, m->n_in, m->n_out);
    if (id == FL_NONE)
        return fl_out_of_memory(m->dg);
    fl_node *n = &m->g->nodes[id];
    n->attr = m->attr;
    n->n_attr = (uint16_t)m->n_attr;
    for (uint32_t k = 0; k < m->n_out; k++) {
        m->out[k] = n->out[k];
        if (!m->wanted[k]) {
            m->g->values[n->out[k]].name = NULL;
            n->out[k] = m->out[k] = FL_NONE;
        }
    }
    if (m->infer)
        fl_build_infer(m->g, id);
    return FL_OK;
}

/* Each wanted output must be a fresh value of its own: operands that come straight out, and doubles, pass an Identity. */
static fl_status settle_outputs(fl_import *m, uint32_t first_node)
{
    for (uint32_t k = 0; k < m->n_out; k++) {
        if (!m->wanted[k])
            continue;
        if (m->out[k] == FL_NONE)
            return m->g->arena.failed ? fl_out_of_memory(m->dg)
                                      : fl_import_error(m, FL_E_ONNX_KIND, "its output %u is not supported", k);
        fl_id node = fl_value_node(m->g, m->out[k]);
        bool fresh = node != FL_NONE && node >= first_node;
        for (uint32_t j = 0; fresh && j < k; j++)
            fresh = !m->wanted[j] || m->out[j] != m->out[k];
        if (!fresh)
            m->out[k] = fl_make_1(m, FL_OP_IDENTITY, m->out[k]);
    }
    return m->g->arena.failed ? fl_out_of_memory(m->dg) : FL_OK;
}

static fl_status expand(fl_import *m)
{
    const expansion *e = find_expansion(m->domain, m->op);
    uint32_t first_node = m->g->n_nodes;
    if (!e)
        return fl_import_error(m, FL_E_ONNX_OP, "there is no such operator in domain \"%.100s\"", m->domain);
    if (m->n_in < e->min_in || m->n_in > e->max_in || m->n_out < 1 || m->n_out > e->max_out || m->n_in >= UINT16_MAX ||
        m->n_out >= UINT16_MAX)
        return fl_error(m->dg, FL_E_ONNX_FORMAT, m->loc, "node \"%.100s\" (%s) has %u inputs and %u outputs", m->label, e->name,
                        m->n_in, m->n_out);
    for (uint32_t k = 0; k < e->min_in; k++)
        if (m->in[k] == FL_NONE)
            return fl_import_error(m, FL_E_ONNX_FORMAT, "operand %u is left out, but it is not optional", k);
    for (uint32_t k = 0; k < m->n_out; k++)
        m->out[k] = FL_NONE;
    FL_TRY(e->expand(m));
    return settle_outputs(m, first_node);
}

fl_status fl_import_node(fl_import *m)
{
    uint32_t first_node = m->g->n_nodes;
    bool must_expand = false;
    bool labels = strcmp(m->domain, "ai.onnx.ml") == 0;
    for (uint32_t k = 0; k < m->n_in && !labels; k++)
        if (m->in[k] != FL_NONE && fl_value_type(m->g, m->in[k])->dtype == FL_STRING)
            return fl_import_error(m, FL_E_ONNX_KIND, "operand %u is of strings, which it does not take here", k);
    if (strncmp(m->op, "Cast", 4) == 0 && fl_import_int(m, "to", FL_FLOAT) == FL_STRING)
        return fl_import_error(m, FL_E_ONNX_KIND, "numbers cannot become strings here");
    FL_TRY(fl_import_adapt(m, &must_expand));
    fl_op op = fl_op_find(m->domain, m->op);
    if (op != FL_N_OPS && op != FL_OP_NOP && !must_expand)
        FL_TRY(direct(m, op));
    else
        FL_TRY(expand(m));
    for (uint32_t i = first_node; i < m->g->n_nodes; i++)
        m->g->nodes[i].origin.loc = m->loc;
    return FL_OK;
}
