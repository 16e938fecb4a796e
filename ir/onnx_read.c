/*
 * onnx_read.c -- a ModelProto as a graph. The scan (onnx_scan.c) has bounded nesting and memory before the first message
 * is made; here every name, shape and range is judged before it is used.
 */
#include "ir/graph_meta.h"
#include "ir/onnx_parts.h"
#include "ir/schedule.h"
#include "ir/shape.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const char *file;
    const Onnx__ModelProto *model;
    const Onnx__GraphProto *in;
    const fl_onnx_source *source;
    fl_graph *g;
    fl_diag *dg;
    fl_arena scratch;
    const char **variables; /* names in ai.flen.variables */
    uint32_t n_variables, next_variable;
    int64_t opset;
} reader;

#define LOC(r) FL_FILE((r)->file)

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static void *budget_alloc(void *arena, size_t size)
{
    return fl_arena_alloc(arena, size);
}

static void budget_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

static const char *meta(const reader *r, const char *key)
{
    for (size_t i = 0; i < r->model->n_metadata_props; i++)
        if (strcmp(or_empty(r->model->metadata_props[i]->key), key) == 0)
            return or_empty(r->model->metadata_props[i]->value);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- names and types */

static fl_status check_fresh(reader *r, const char *name, const char *what)
{
    if (!*name)
        return fl_error(r->dg, FL_E_ONNX_NAME, LOC(r), "%s has no name", what);
    if (fl_graph_find(r->g, name) != FL_NONE)
        return fl_error(r->dg, FL_E_ONNX_NAME, LOC(r), "%s \"%.200s\": the name stands twice", what, name);
    return FL_OK;
}

static fl_status check_dtype(reader *r, int32_t type, const char *name)
{
    if (type == FL_STRING || fl_dtype_size((fl_dtype)type) > 0)
        return FL_OK;
    return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "\"%.200s\" has element type %d, which we do not have", name, type);
}

static fl_status read_dim(reader *r, const Onnx__TensorShapeProto__Dimension *d, const char *name, int place, fl_dim *dim)
{
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
        *dim = d->dim_value;
        if (d->dim_value < 0)
            return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "\"%.200s\": dimension %d is negative: %" PRId64, name, place, d->dim_value);
        return FL_OK;
    }
    bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM && *or_empty(d->dim_param);
    const char *symbol = named ? d->dim_param : fl_arena_printf(&r->scratch, "%.100s_%d", name, place);
    *dim = symbol ? fl_graph_symbol(r->g, symbol) : 0;
    return symbol ? FL_OK : fl_out_of_memory(r->dg);
}

/* Unknown shapes give rank -1. */
static fl_status read_type(reader *r, const Onnx__ValueInfoProto *info, fl_type *type)
{
    const char *name = or_empty(info->name);
    *type = FL_TYPE_UNKNOWN;
    if (!info->type)
        return FL_OK;
    if (info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "\"%.200s\" is no dense tensor", name);
    const Onnx__TypeProto__Tensor *t = info->type->tensor_type;
    FL_TRY(check_dtype(r, t->elem_type, name));
    type->dtype = (fl_dtype)t->elem_type;
    if (!t->shape)
        return FL_OK;
    if (t->shape->n_dim > FL_MAX_RANK)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "\"%.200s\" has %zu dimensions; we have at most %d", name, t->shape->n_dim, FL_MAX_RANK);
    type->rank = (int8_t)t->shape->n_dim;
    for (int i = 0; i < type->rank; i++)
        FL_TRY(read_dim(r, t->shape->dim[i], name, i, &type->dims[i]));
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------------- tensors */

static fl_status tensor_error(reader *r, const char *name, const char *what, uint64_t want, uint64_t got)
{
    return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": %s: expected %" PRIu64 ", found %" PRIu64, name, what, want, got);
}

static fl_status tensor_type(reader *r, const Onnx__TensorProto *p, const char *name, fl_type *type, uint64_t *bytes)
{
    FL_TRY(check_dtype(r, p->data_type, name));
    if (p->data_type == FL_STRING)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "tensor \"%.200s\": tensors of strings are not supported", name);
    if (p->n_dims > FL_MAX_RANK)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "tensor \"%.200s\" has %zu dimensions; we have at most %d", name, p->n_dims, FL_MAX_RANK);
    for (size_t i = 0; i < p->n_dims; i++)
        if (p->dims[i] < 0)
            return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": dimension %zu is negative: %" PRId64, name, i, p->dims[i]);
    *type = fl_type_make((fl_dtype)p->data_type, (int)p->n_dims, p->dims);
    int64_t n = fl_type_elements(type), size;
    if (n < 0 || __builtin_mul_overflow(n, (int64_t)fl_dtype_size(type->dtype), &size))
        return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": the product of its dimensions overflows", name);
    *bytes = (uint64_t)size;
    return FL_OK;
}

/* Elements of the typed fields, narrowed to the element type. */
static void copy_typed(const Onnx__TensorProto *p, fl_dtype t, unsigned char *out)
{
    size_t size = fl_dtype_size(t);
    for (size_t i = 0; i < p->n_int32_data; i++)
        memcpy(out + i * size, &p->int32_data[i], size);
}

static fl_status typed_data(reader *r, const Onnx__TensorProto *p, const char *name, const fl_type *type, uint64_t n_bytes, const void **bytes)
{
    uint64_t want = (uint64_t)fl_type_elements(type);
    size_t n = type->dtype == FL_FLOAT    ? p->n_float_data
               : type->dtype == FL_DOUBLE ? p->n_double_data
               : type->dtype == FL_INT64  ? p->n_int64_data
                                          : p->n_int32_data;
    if (n != want)
        return tensor_error(r, name, "elements", want, n);
    unsigned char *copy = fl_arena_alloc(&r->g->arena, n_bytes);
    if (!copy)
        return fl_out_of_memory(r->dg);
    const void *from = type->dtype == FL_FLOAT ? (const void *)p->float_data : type->dtype == FL_DOUBLE ? (const void *)p->double_data : p->int64_data;
    if (type->dtype != FL_FLOAT && type->dtype != FL_DOUBLE && type->dtype != FL_INT64)
        copy_typed(p, type->dtype, copy);
    else if (n_bytes)
        memcpy(copy, from, n_bytes);
    *bytes = copy;
    return FL_OK;
}

static bool read_number(const char *s, uint64_t *n)
{
    if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 19)
        return false;
    *n = strtoull(s, NULL, 10);
    return true;
}

static fl_status external_data(reader *r, const Onnx__TensorProto *p, const char *name, const fl_type *type, uint64_t n_bytes, const void **bytes)
{
    fl_tensor wanted = {.type = *type, .length = UINT64_MAX};
    for (size_t i = 0; i < p->n_external_data; i++) {
        const char *key = or_empty(p->external_data[i]->key), *value = or_empty(p->external_data[i]->value);
        bool ok = true;
        if (strcmp(key, "location") == 0)
            wanted.location = value;
        else if (strcmp(key, "offset") == 0)
            ok = read_number(value, &wanted.offset);
        else if (strcmp(key, "length") == 0)
            ok = read_number(value, &wanted.length);
        else
            ok = strcmp(key, "checksum") == 0 || strcmp(key, "basepath") == 0;
        if (!ok)
            return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\": external data with %.40s \"%.100s\"", name, key, value);
    }
    if (!wanted.location)
        return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\": external data without a location", name);
    if (wanted.length != UINT64_MAX && wanted.length != n_bytes)
        return tensor_error(r, name, "bytes of external data", n_bytes, wanted.length);
    if (!r->source)
        return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\" lies in \"%.200s\", but no folder for external data is known", name,
                        wanted.location);
    wanted.length = n_bytes;
    return r->source->find(r->source->self, r->g, name, &wanted, bytes, r->dg);
}

static fl_status read_tensor(reader *r, const Onnx__TensorProto *p, const char *name, fl_tensor **out)
{
    fl_type type = FL_TYPE_UNKNOWN;
    uint64_t n_bytes = 0;
    FL_TRY(tensor_type(r, p, name, &type, &n_bytes));
    fl_tensor *t = fl_arena_new(&r->g->arena, fl_tensor, 1);
    if (!t)
        return fl_out_of_memory(r->dg);
    const void *bytes = NULL;
    if (p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        FL_TRY(external_data(r, p, name, &type, n_bytes, &bytes));
    } else if (p->has_raw_data) {
        if (p->raw_data.len != n_bytes)
            return tensor_error(r, name, "bytes", n_bytes, p->raw_data.len);
        void *copy = fl_arena_alloc(&r->g->arena, n_bytes);
        if (!copy)
            return fl_out_of_memory(r->dg);
        if (n_bytes)
            memcpy(copy, p->raw_data.data, n_bytes);
        bytes = copy;
    } else {
        FL_TRY(typed_data(r, p, name, &type, n_bytes, &bytes));
    }
    *t = (fl_tensor){.type = type, .bytes = bytes, .length = n_bytes};
    *out = t;
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- leaves */

static bool is_variable(const reader *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_variables; i++)
        if (strcmp(r->variables[i], name) == 0)
            return true;
    return false;
}

static const Onnx__ValueInfoProto *find_input(const reader *r, const char *name)
{
    for (size_t i = 0; i < r->in->n_input; i++)
        if (strcmp(or_empty(r->in->input[i]->name), name) == 0)
            return r->in->input[i];
    return NULL;
}

/* A variable without data: declared as an input of the file. */
static fl_status declare_empty(reader *r, const char *name)
{
    const Onnx__ValueInfoProto *info = find_input(r, name);
    fl_type type;
    if (!info)
        return fl_error(r->dg, FL_E_ONNX_META, LOC(r), "variable \"%.200s\" is neither an initialiser nor an input", name);
    FL_TRY(check_fresh(r, name, "variable"));
    FL_TRY(read_type(r, info, &type));
    fl_graph_variable(r->g, name, type);
    return FL_OK;
}

static bool has_initializer(const reader *r, const char *name)
{
    for (size_t i = 0; i < r->in->n_initializer; i++)
        if (strcmp(or_empty(r->in->initializer[i]->name), name) == 0)
            return true;
    return false;
}

/* Declares the variables without data that stand before `name` in the list (all, for NULL): the order is kept. */
static fl_status declare_until(reader *r, const char *name)
{
    while (r->next_variable < r->n_variables) {
        const char *next = r->variables[r->next_variable];
        if (name && strcmp(next, name) == 0) {
            r->next_variable++;
            return FL_OK;
        }
        if (!has_initializer(r, next))
            FL_TRY(declare_empty(r, next));
        r->next_variable++;
    }
    return FL_OK;
}

static fl_status read_initializers(reader *r)
{
    for (size_t i = 0; i < r->in->n_initializer; i++) {
        const Onnx__TensorProto *p = r->in->initializer[i];
        const char *name = or_empty(p->name);
        fl_tensor *t = NULL;
        bool variable = is_variable(r, name);
        if (variable)
            FL_TRY(declare_until(r, name));
        FL_TRY(check_fresh(r, name, "initialiser"));
        FL_TRY(read_tensor(r, p, name, &t));
        fl_id v = fl_graph_variable(r->g, name, t->type);
        if (v == FL_NONE)
            return fl_out_of_memory(r->dg);
        r->g->values[v].kind = variable ? FL_VALUE_VARIABLE : FL_VALUE_CONSTANT;
        r->g->values[v].data = t;
    }
    return declare_until(r, NULL);
}

static fl_status read_inputs(reader *r)
{
    for (size_t i = 0; i < r->in->n_input; i++) {
        const Onnx__ValueInfoProto *info = r->in->input[i];
        const char *name = or_empty(info->name);
        fl_type type;
        fl_id known = fl_graph_find(r->g, name);
        if (known != FL_NONE && r->g->values[known].kind != FL_VALUE_INPUT)
            continue; /* a variable; before IR 4 every initialiser was an input too */
        FL_TRY(check_fresh(r, name, "input"));
        FL_TRY(read_type(r, info, &type));
        fl_graph_input(r->g, name, type);
    }
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- nodes */

static char *terminated(reader *r, const ProtobufCBinaryData *s)
{
    return fl_arena_strndup(&r->scratch, (const char *)s->data, s->data ? s->len : 0);
}

static fl_status attribute_error(reader *r, const char *node, const char *op, const char *name, const char *what)
{
    return fl_error(r->dg, FL_E_ONNX_ATTRIBUTE, LOC(r), "node \"%.100s\" (%.100s): attribute \"%.100s\" %s", node, op, name, what);
}

static fl_status set_floats(reader *r, fl_attr *a, const Onnx__AttributeProto *p)
{
    double *floats = fl_arena_new(&r->g->arena, double, p->n_floats);
    for (size_t i = 0; floats && i < p->n_floats; i++)
        floats[i] = fl_widen(p->floats[i]);
    a->n = (uint32_t)p->n_floats;
    a->as.floats = floats;
    return floats ? FL_OK : fl_out_of_memory(r->dg);
}

static fl_status set_strings(reader *r, fl_attr *a, const Onnx__AttributeProto *p)
{
    const char **strings = fl_arena_new(&r->g->arena, const char *, p->n_strings);
    for (size_t i = 0; strings && i < p->n_strings; i++) {
        const char *s = terminated(r, &p->strings[i]);
        strings[i] = s ? fl_strpool_put(&r->g->names, s, strlen(s)) : NULL;
    }
    a->n = (uint32_t)p->n_strings;
    a->as.strings = strings;
    return strings ? FL_OK : fl_out_of_memory(r->dg);
}

static fl_status read_attribute(reader *r, fl_id id, const Onnx__AttributeProto *p, const char *node, const char *op, fl_attr *a)
{
    const char *name = or_empty(p->name);
    fl_tensor *t = NULL;
    a->name = fl_strpool_put(&r->g->names, name, strlen(name));
    a->kind = (fl_attr_kind)p->type;
    if (!a->name)
        return fl_out_of_memory(r->dg);
    if (*or_empty(p->ref_attr_name))
        return attribute_error(r, node, op, name, "refers to a function's attribute");
    if (fl_node_attr(r->g, id, name))
        return attribute_error(r, node, op, name, "stands twice");
    switch ((int)p->type) {
    case FL_ATTR_INT:
        a->as.i = p->i;
        return FL_OK;
    case FL_ATTR_FLOAT:
        a->as.f = fl_widen(p->f);
        return FL_OK;
    case FL_ATTR_STRING: {
        const char *s = terminated(r, &p->s);
        a->as.s = s ? fl_strpool_put(&r->g->names, s, strlen(s)) : NULL;
        return a->as.s ? FL_OK : fl_out_of_memory(r->dg);
    }
    case FL_ATTR_TENSOR:
        if (!p->t)
            return attribute_error(r, node, op, name, "has no tensor");
        FL_TRY(read_tensor(r, p->t, name, &t));
        a->as.tensor = t;
        return FL_OK;
    case FL_ATTR_INTS: {
        int64_t *ints = fl_arena_new(&r->g->arena, int64_t, p->n_ints);
        if (!ints)
            return fl_out_of_memory(r->dg);
        if (p->n_ints)
            memcpy(ints, p->ints, p->n_ints * sizeof *ints);
        a->n = (uint32_t)p->n_ints;
        a->as.ints = ints;
        return FL_OK;
    }
    case FL_ATTR_FLOATS:
        return set_floats(r, a, p);
    case FL_ATTR_STRINGS:
        return set_strings(r, a, p);
    default:
        return attribute_error(r, node, op, name, "has a kind that is not supported (sub-graphs, sparse tensors, types)");
    }
}

static fl_status read_attributes(reader *r, fl_id id, const Onnx__NodeProto *p, const char *node)
{
    if (p->n_attribute >= UINT16_MAX)
        return attribute_error(r, node, or_empty(p->op_type), "", "is one of too many");
    fl_attr *attrs = fl_arena_new(&r->g->arena, fl_attr, p->n_attribute);
    if (!attrs)
        return fl_out_of_memory(r->dg);
    r->g->nodes[id].attr = attrs;
    for (size_t i = 0; i < p->n_attribute; i++) {
        FL_TRY(read_attribute(r, id, p->attribute[i], node, or_empty(p->op_type), &attrs[i]));
        r->g->nodes[id].n_attr++;
    }
    return FL_OK;
}

static fl_status find_operands(reader *r, const Onnx__NodeProto *p, const char *node, fl_id *in)
{
    for (size_t i = 0; i < p->n_input; i++) {
        in[i] = *p->input[i] ? fl_graph_find(r->g, p->input[i]) : FL_NONE;
        if (in[i] == FL_NONE && *p->input[i])
            return fl_error(r->dg, FL_E_ONNX_NAME, LOC(r),
                            "node \"%.100s\" (%.100s) reads \"%.200s\", which is no input, initialiser or output of an earlier node", node,
                            or_empty(p->op_type), p->input[i]);
    }
    return FL_OK;
}

/* The node's outputs get the names of the file; "" is an output that nobody wants. */
static fl_status name_outputs(reader *r, fl_id id, const Onnx__NodeProto *p)
{
    fl_node *n = &r->g->nodes[id];
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (!*p->output[i]) {
            r->g->values[n->out[i]].name = NULL;
            n->out[i] = FL_NONE;
            continue;
        }
        FL_TRY(check_fresh(r, p->output[i], "output"));
        fl_value_rename(r->g, n->out[i], p->output[i]);
    }
    return FL_OK;
}

/* ReduceMean before opset 18 had its axes as an attribute. */
static fl_status modernise(reader *r, fl_id id)
{
    const fl_attr *axes = r->g->nodes[id].op == FL_OP_REDUCE_MEAN ? fl_node_attr(r->g, id, "axes") : NULL;
    if (!axes || axes->kind != FL_ATTR_INTS || r->opset >= 18)
        return FL_OK;
    const char *name = fl_graph_fresh_name(r->g, "axes");
    fl_id constant = name ? fl_graph_constant_ints(r->g, name, axes->as.ints, axes->n) : FL_NONE;
    fl_id *in = fl_arena_new(&r->g->arena, fl_id, 2);
    fl_node *n = &r->g->nodes[id];
    if (constant == FL_NONE || !in)
        return fl_out_of_memory(r->dg);
    in[0] = n->in[0];
    in[1] = constant;
    n->in = in;
    n->n_in = 2;
    uint16_t kept = 0;
    for (uint16_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, "axes") != 0)
            n->attr[kept++] = n->attr[i];
    n->n_attr = kept;
    return FL_OK;
}

static fl_status read_node(reader *r, const Onnx__NodeProto *p)
{
    fl_op op = fl_op_find(or_empty(p->domain), or_empty(p->op_type));
    const fl_op_info *info = fl_op_get(op);
    const char *label = *or_empty(p->name) ? p->name : p->n_output ? p->output[0] : "";
    if (p->n_input < info->min_in || p->n_input > info->max_in || p->n_output < info->min_out || p->n_output > info->max_out ||
        p->n_input >= UINT16_MAX || p->n_output >= UINT16_MAX)
        return fl_error(r->dg, FL_E_ONNX_FORMAT, LOC(r), "node \"%.100s\" (%s) has %zu inputs and %zu outputs", label, info->name, p->n_input,
                        p->n_output);
    fl_id *in = fl_arena_new(&r->scratch, fl_id, p->n_input);
    if (!in)
        return fl_out_of_memory(r->dg);
    FL_TRY(find_operands(r, p, label, in));
    /* Names of outputs come from the file; until then a name that nothing else has. */
    fl_id id = fl_node_new(r->g, op, "ai.flen.unnamed", in, (uint32_t)p->n_input, (uint32_t)p->n_output);
    if (id == FL_NONE)
        return fl_out_of_memory(r->dg);
    FL_TRY(name_outputs(r, id, p));
    if (*or_empty(p->name))
        r->g->nodes[id].name = fl_strpool_put(&r->g->names, p->name, strlen(p->name));
    FL_TRY(read_attributes(r, id, p, label));
    return modernise(r, id);
}

/* All unknown operators in one run, each once. */
static fl_status check_ops(reader *r)
{
    fl_status status = FL_OK;
    fl_strpool seen;
    fl_strpool_init(&seen, &r->scratch);
    for (size_t i = 0; i < r->in->n_node; i++) {
        const Onnx__NodeProto *p = r->in->node[i];
        const char *domain = or_empty(p->domain), *op = or_empty(p->op_type);
        fl_op known = fl_op_find(domain, op);
        if (known != FL_N_OPS && known != FL_OP_NOP)
            continue;
        const char *key = fl_arena_printf(&r->scratch, "%s.%s", domain, op);
        if (!key)
            return fl_out_of_memory(r->dg);
        if (fl_strpool_find(&seen, key, strlen(key)))
            continue;
        if (!fl_strpool_put(&seen, key, strlen(key)))
            return fl_out_of_memory(r->dg);
        status = fl_error(r->dg, FL_E_ONNX_OP, LOC(r), "operator \"%.100s\" of domain \"%.100s\" is unknown (node \"%.100s\")", op,
                          *domain ? domain : "ai.onnx", *or_empty(p->name) ? p->name : p->n_output ? p->output[0] : "");
    }
    return status;
}

/* ----------------------------------------------------------------------------------------------------- graph */

static fl_status read_outputs(reader *r)
{
    for (size_t i = 0; i < r->in->n_output; i++) {
        const char *name = or_empty(r->in->output[i]->name);
        fl_id v = fl_graph_find(r->g, name);
        if (v == FL_NONE)
            return fl_error(r->dg, FL_E_ONNX_NAME, LOC(r), "output \"%.200s\" is not defined by any node", name);
        fl_graph_output(r->g, v);
    }
    return r->in->n_output ? FL_OK : fl_error(r->dg, FL_E_ONNX_FORMAT, LOC(r), "the graph has no outputs");
}

/* Types of outputs and intermediate values as the file says; inference judges them later. */
static fl_status read_value_types(reader *r, Onnx__ValueInfoProto **infos, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fl_id v = fl_graph_find(r->g, or_empty(infos[i]->name));
        fl_type type;
        FL_TRY(read_type(r, infos[i], &type));
        if (v != FL_NONE && r->g->values[v].kind == FL_VALUE_NODE)
            r->g->values[v].type = type;
    }
    return FL_OK;
}

static fl_status read_meta(reader *r)
{
    for (size_t i = 0; i < r->model->n_metadata_props; i++) {
        const char *key = or_empty(r->model->metadata_props[i]->key);
        if (*key && !fl_meta_is_derived(key))
            fl_graph_set_meta(r->g, key, or_empty(r->model->metadata_props[i]->value));
    }
    FL_TRY(fl_meta_apply_updates(r->g, meta(r, "ai.flen.updates"), meta(r, "ai.flen.outputs"), LOC(r), r->dg));
    FL_TRY(fl_meta_apply_params(r->g, meta(r, "ai.flen.params"), LOC(r), r->dg));
    FL_TRY(fl_graph_ok(r->g, r->dg));
    const char *schedule = meta(r, "ai.flen.schedule");
    return schedule ? fl_schedule_parse(r->g, schedule, LOC(r), r->dg) : FL_OK;
}

static fl_status check_versions(reader *r)
{
    const Onnx__ModelProto *m = r->model;
    if (!m->graph)
        return fl_error(r->dg, FL_E_ONNX_FORMAT, LOC(r), "this is no ONNX file, or a damaged one: it has no graph");
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = or_empty(m->opset_import[i]->domain);
        if (!*domain || strcmp(domain, "ai.onnx") == 0)
            r->opset = m->opset_import[i]->version;
    }
    if (r->opset >= FL_ONNX_MIN_READ && r->opset <= FL_ONNX_MAX_READ)
        return FL_OK;
    return fl_error(r->dg, FL_E_ONNX_OPSET, LOC(r), "the file has opset %" PRId64 " of the standard operators; %d to %d are read", r->opset,
                    FL_ONNX_MIN_READ, FL_ONNX_MAX_READ);
}

static fl_status read_model(reader *r)
{
    FL_TRY(check_versions(r));
    r->in = r->model->graph;
    if (r->in->n_sparse_initializer)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "sparse initialisers are not supported");
    FL_TRY(check_ops(r));
    const char *variables = meta(r, "ai.flen.variables");
    if (variables && !(r->variables = fl_meta_names(variables, &r->scratch, &r->n_variables)))
        return fl_out_of_memory(r->dg);
    r->g = fl_graph_new(*or_empty(r->in->name) ? r->in->name : "graph");
    FL_TRY(fl_graph_ok(r->g, r->dg));
    FL_TRY(read_initializers(r));
    FL_TRY(fl_meta_apply_shapes(r->g, meta(r, "ai.flen.shapes"), LOC(r), r->dg));
    FL_TRY(read_inputs(r));
    for (size_t i = 0; i < r->in->n_node; i++)
        FL_TRY(read_node(r, r->in->node[i]));
    FL_TRY(read_outputs(r));
    FL_TRY(read_value_types(r, r->in->value_info, r->in->n_value_info));
    FL_TRY(read_value_types(r, r->in->output, r->in->n_output));
    return read_meta(r);
}

fl_status fl_onnx_decode_from(const void *bytes, size_t n, const char *file, const fl_onnx_source *source, fl_graph **out, fl_diag *dg)
{
    FL_TRY(fl_onnx_scan(bytes, n, file, dg));
    fl_arena messages;
    fl_arena_init(&messages);
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &messages};
    reader r = {.file = file, .source = source, .dg = dg};
    fl_arena_init(&r.scratch);
    r.model = onnx__model_proto__unpack(&allocator, n, bytes);
    fl_status status = r.model           ? read_model(&r)
                       : messages.failed ? fl_out_of_memory(dg)
                                         : fl_error(dg, FL_E_ONNX_FORMAT, FL_FILE(file), "this is no ONNX file, or a damaged one");
    if (status == FL_OK)
        status = fl_graph_ok(r.g, dg);
    if (status == FL_OK)
        *out = r.g;
    else
        fl_graph_free(r.g);
    fl_arena_deinit(&r.scratch);
    fl_arena_deinit(&messages);
    return status;
}

fl_status fl_onnx_decode(const void *bytes, size_t n, const char *file, const char *folder, fl_graph **out, fl_diag *dg)
{
    fl_onnx_folder beneath = {file, folder};
    fl_onnx_source source = {fl_onnx_find_in_folder, &beneath};
    return fl_onnx_decode_from(bytes, n, file, folder ? &source : NULL, out, dg);
}
