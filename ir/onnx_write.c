/*
 * onnx_write.c -- a graph as a ModelProto. The messages are built in one arena, then packed at once.
 */
#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/graph_meta.h"
#include "ir/onnx_parts.h"

#include <stdlib.h>
#include <string.h>

typedef struct writer {
    fl_arena arena;
    const fl_graph *g; /* whose nodes are written: the program's, or for a while a body's */
    const fl_onnx_options *options;
    int64_t opset;
    fl_diag *dg;
    fl_graph **bodies; /* freed when the file is packed */
    Onnx__FunctionProto **functions;
    uint32_t n_bodies, bodies_capacity, n_functions, functions_capacity;
    fl_strpool names; /* of functions that are written */
    const fl_graph *main; /* while the training program is written: what the file is of; else NULL */
} writer;

/* protobuf-c's structures have no const; nothing writes through them. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void *zeroed(writer *w, size_t size, void (*init)(void *))
{
    void *m = fl_arena_calloc(&w->arena, 1, size);
    if (m)
        init(m);
    return m;
}

/* NEW(w, TensorProto, tensor_proto): an initialised message in the arena; NULL (and arena.failed) if out of memory. */
#define NEW(w, Type, type) ((Onnx__##Type *)zeroed((w), sizeof(Onnx__##Type), init_##type))
#define INIT(Type, type)                                                                                     \
    static void init_##type(void *m)                                                                         \
    {                                                                                                        \
        onnx__##type##__init((Onnx__##Type *)m);                                                             \
    }
INIT(ModelProto, model_proto)
INIT(GraphProto, graph_proto)
INIT(FunctionProto, function_proto)
INIT(NodeProto, node_proto)
INIT(AttributeProto, attribute_proto)
INIT(TensorProto, tensor_proto)
INIT(ValueInfoProto, value_info_proto)
INIT(StringStringEntryProto, string_string_entry_proto)
INIT(TrainingInfoProto, training_info_proto)
INIT(OperatorSetIdProto, operator_set_id_proto)
INIT(TypeProto, type_proto)
INIT(TypeProto__Tensor, type_proto__tensor)
INIT(TensorShapeProto, tensor_shape_proto)
INIT(TensorShapeProto__Dimension, tensor_shape_proto__dimension)

static Onnx__StringStringEntryProto *entry(writer *w, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *e = NEW(w, StringStringEntryProto, string_string_entry_proto);
    if (e) {
        e->key = text(key);
        e->value = text(value);
    }
    return e;
}

static Onnx__TensorProto *tensor(writer *w, const char *name, const fl_type *type)
{
    Onnx__TensorProto *t = NEW(w, TensorProto, tensor_proto);
    int64_t *dims = fl_arena_new(&w->arena, int64_t, (size_t)type->rank);
    if (!t || !dims)
        return NULL;
    t->name = text(name);
    t->has_data_type = 1;
    t->data_type = type->dtype;
    t->n_dims = (size_t)type->rank;
    for (int i = 0; i < type->rank; i++)
        dims[i] = type->dims[i];
    t->dims = dims;
    return t;
}

static bool refer(writer *w, Onnx__TensorProto *t, const char *location, uint64_t offset, uint64_t length)
{
    t->external_data = fl_arena_new(&w->arena, Onnx__StringStringEntryProto *, 3);
    const char *at = fl_arena_printf(&w->arena, "%llu", (unsigned long long)offset);
    const char *n = fl_arena_printf(&w->arena, "%llu", (unsigned long long)length);
    if (!t->external_data || !at || !n)
        return false;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->external_data[t->n_external_data++] = entry(w, "location", location);
    t->external_data[t->n_external_data++] = entry(w, "offset", at);
    t->external_data[t->n_external_data++] = entry(w, "length", n);
    return !w->arena.failed;
}

static Onnx__TensorProto *inline_tensor(writer *w, const char *name, const fl_tensor *data)
{
    Onnx__TensorProto *t = tensor(w, name, &data->type);
    if (!t)
        return NULL;
    if (!data->bytes)
        return refer(w, t, data->location, data->offset, data->length) ? t : NULL;
    t->has_raw_data = 1;
    t->raw_data.len = (size_t)fl_type_elements(&data->type) * fl_dtype_size(data->type.dtype);
    t->raw_data.data = (uint8_t *)(uintptr_t)data->bytes;
    return t;
}

/* ------------------------------------------------------------------------------------------------- types, nodes */

static Onnx__ValueInfoProto *value_info(writer *w, fl_id id)
{
    const fl_value *v = &w->g->values[id];
    Onnx__ValueInfoProto *info = NEW(w, ValueInfoProto, value_info_proto);
    Onnx__TypeProto *type = NEW(w, TypeProto, type_proto);
    Onnx__TypeProto__Tensor *t = NEW(w, TypeProto__Tensor, type_proto__tensor);
    Onnx__TensorShapeProto *shape = NEW(w, TensorShapeProto, tensor_shape_proto);
    if (!info || !type || !t || !shape)
        return NULL;
    info->name = text(v->name);
    if (v->origin.from)
        info->doc_string = fl_arena_printf(&w->arena, "%s from %s", v->origin.pass ? v->origin.pass : "made", v->origin.from);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = t;
    t->has_elem_type = 1;
    t->elem_type = v->type.dtype;
    if (v->type.rank < 0)
        return info;
    t->shape = shape;
    shape->dim = fl_arena_new(&w->arena, Onnx__TensorShapeProto__Dimension *, (size_t)v->type.rank);
    for (int i = 0; shape->dim && i < v->type.rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = NEW(w, TensorShapeProto__Dimension, tensor_shape_proto__dimension);
        if (!d)
            return NULL;
        fl_dim dim = v->type.dims[i];
        if (FL_DIM_IS_SYM(dim)) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = text(w->g->symbols[FL_SYM_OF_DIM(dim)]);
        } else {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = dim;
        }
        shape->dim[shape->n_dim++] = d;
    }
    return info;
}

static ProtobufCBinaryData bytes_of(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static Onnx__AttributeProto *attribute(writer *w, const fl_attr *a)
{
    Onnx__AttributeProto *p = NEW(w, AttributeProto, attribute_proto);
    if (!p)
        return NULL;
    p->name = text(a->name);
    p->has_type = 1;
    p->type = (Onnx__AttributeProto__AttributeType)a->kind;
    switch (a->kind) {
    case FL_ATTR_INT:
        p->has_i = 1;
        p->i = a->as.i;
        break;
    case FL_ATTR_FLOAT:
        p->has_f = 1;
        p->f = (float)a->as.f;
        break;
    case FL_ATTR_STRING:
        p->has_s = 1;
        p->s = bytes_of(a->as.s);
        break;
    case FL_ATTR_TENSOR:
        p->t = inline_tensor(w, NULL, a->as.tensor);
        break;
    case FL_ATTR_INTS:
        p->n_ints = a->n;
        p->ints = (int64_t *)(uintptr_t)a->as.ints;
        break;
    case FL_ATTR_FLOATS:
        p->n_floats = a->n;
        p->floats = fl_arena_new(&w->arena, float, a->n);
        for (uint32_t i = 0; p->floats && i < a->n; i++)
            p->floats[i] = (float)a->as.floats[i];
        break;
    case FL_ATTR_STRINGS:
        p->n_strings = a->n;
        p->strings = fl_arena_new(&w->arena, ProtobufCBinaryData, a->n);
        for (uint32_t i = 0; p->strings && i < a->n; i++)
            p->strings[i] = bytes_of(a->as.strings[i]);
        break;
    }
    return p;
}

static size_t put_names(writer *w, char ***names, const fl_id *ids, uint32_t n)
{
    *names = fl_arena_new(&w->arena, char *, n);
    for (uint32_t i = 0; *names && i < n; i++)
        (*names)[i] = text(ids[i] == FL_NONE ? "" : w->g->values[ids[i]].name);
    return n;
}

static bool reduces(fl_op op)
{
    return op == FL_OP_REDUCE_MEAN || op == FL_OP_REDUCE_MAX || op == FL_OP_REDUCE_MIN || op == FL_OP_REDUCE_PROD;
}

/* The axes of a reduction that has them as an operand; false if it has none, or they are no constant. */
static bool axes_of(const fl_graph *g, fl_id id, int64_t axes[FL_MAX_RANK], uint32_t *n)
{
    const fl_node *node = &g->nodes[id];
    return reduces(node->op) && node->n_in > 1 && node->in[1] != FL_NONE && fl_value_ints(g, node->in[1], axes, FL_MAX_RANK, n);
}

static bool is_byte(fl_dtype t)
{
    return t == FL_INT8 || t == FL_UINT8;
}

/* Of opsets 13 to 16: what came with 14, 15 and 16. */
static int64_t needed_before_17(const fl_graph *g, fl_id id)
{
    const fl_node *n = &g->nodes[id];
    fl_dtype t = n->n_in > 0 && n->in[0] != FL_NONE ? fl_value_type(g, n->in[0])->dtype : FL_DTYPE_NONE;
    bool scatters = n->op == FL_OP_SCATTER_ND || n->op == FL_OP_SCATTER_ELEMENTS, wide = t == FL_BFLOAT16;
    bool arithmetic = n->op == FL_OP_ADD || n->op == FL_OP_SUB || n->op == FL_OP_MUL || n->op == FL_OP_DIV;
    if ((scatters && strcmp(fl_node_string(g, id, "reduction", "none"), "none") != 0) || (n->op == FL_OP_WHERE && n->n_in > 1 && n->in[1] != FL_NONE && fl_value_type(g, n->in[1])->dtype == FL_BFLOAT16))
        return 16;
    if ((n->op == FL_OP_SHAPE && n->n_attr > 0) || (n->op == FL_OP_POW && wide))
        return 15;
    bool new_types = (arithmetic && is_byte(t)) || (n->op == FL_OP_RELU && !(t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 || wide)) ||
                     (n->op == FL_OP_CUM_SUM && (t == FL_FLOAT16 || wide));
    return n->op == FL_OP_TRILU || fl_node_int(g, id, "allowzero", 0) != 0 || new_types ? 14 : FL_ONNX_MIN_WRITE;
}

/*
 * The lowest opset from 13 on that can say this node (fit_opset knows the older form of reductions). From 17 on, operators that changed in types alone are
 * not here: what they gained we do not have, but for bools in ReduceMax and ReduceMin.
 */
static int64_t needed_opset(const fl_graph *g, fl_id id)
{
    const fl_node *n = &g->nodes[id];
    int64_t axes[FL_MAX_RANK];
    uint32_t n_axes;
    const char *reduction = n->op == FL_OP_SCATTER_ND ? fl_node_string(g, id, "reduction", "none") : "";
    if ((n->op == FL_OP_REDUCE_MAX || n->op == FL_OP_REDUCE_MIN) && fl_value_type(g, n->in[0])->dtype == FL_BOOL)
        return 20;
    if ((n->op == FL_OP_CAST && fl_node_attr(g, id, "saturate")) || (n->op == FL_OP_PAD && strcmp(fl_node_string(g, id, "mode", "constant"), "wrap") == 0))
        return 19;
    bool axes_vary = reduces(n->op) && n->n_in > 1 && n->in[1] != FL_NONE && !axes_of(g, id, axes, &n_axes);
    bool axes_empty = reduces(n->op) && fl_node_int(g, id, "noop_with_empty_axes", 0) != 0;
    bool pads_axes = n->op == FL_OP_PAD && n->n_in > 3 && n->in[3] != FL_NONE;
    bool uneven = n->op == FL_OP_SPLIT && n->n_in < 2; /* num_outputs: the parts may be unequal */
    if (axes_vary || axes_empty || pads_axes || uneven || strcmp(reduction, "max") == 0 || strcmp(reduction, "min") == 0)
        return 18;
    return needed_before_17(g, id);
}

static int64_t lowest_opset(const fl_graph *g)
{
    int64_t lowest = FL_ONNX_USUAL_WRITE; /* below it only where that is asked for: nobody needs older files, and some tools read them worse */
    for (fl_id i = 0; i < g->n_nodes; i++) {
        int64_t needed = needed_opset(g, i);
        lowest = needed > lowest ? needed : lowest;
    }
    return lowest;
}

/* Before opset 18 reductions had their axes as an attribute. */
static fl_status fit_opset(writer *w, fl_id id, Onnx__NodeProto *p)
{
    int64_t axes[FL_MAX_RANK], needed = needed_opset(w->g, id);
    uint32_t n_axes;
    if (needed > w->opset)
        return fl_error(w->dg, FL_E_ONNX_OPSET, w->g->nodes[id].origin.loc, "\"%s\" (%s) needs opset %lld, not %lld", p->n_output ? p->output[0] : "",
                        p->op_type, (long long)needed, (long long)w->opset);
    if (w->opset >= 18 || !axes_of(w->g, id, axes, &n_axes))
        return FL_OK;
    fl_attr a = {.name = "axes", .kind = FL_ATTR_INTS, .n = n_axes};
    int64_t *copy = fl_arena_new(&w->arena, int64_t, n_axes);
    if (copy)
        memcpy(copy, axes, n_axes * sizeof *copy);
    a.as.ints = copy;
    p->n_input = 1;
    p->attribute[p->n_attribute++] = attribute(w, &a);
    return FL_OK;
}

static fl_status node(writer *w, fl_id id, Onnx__NodeProto **out)
{
    const fl_node *n = &w->g->nodes[id];
    const fl_op_info *op = fl_op_get(n->op);
    Onnx__NodeProto *p = NEW(w, NodeProto, node_proto);
    Onnx__AttributeProto **attributes = fl_arena_new(&w->arena, Onnx__AttributeProto *, n->n_attr + 1u);
    if (!p || !attributes)
        return fl_out_of_memory(w->dg);
    p->op_type = text(op->name);
    if (*op->domain)
        p->domain = text(op->domain);
    p->name = text(n->name);
    if (n->origin.pass)
        p->doc_string = text(n->origin.pass);
    /* Other tools want trailing operands that are left out not to be there. Ours and outputs keep their places: their number says something. */
    uint32_t n_in = n->n_in;
    while (!*op->domain && n_in > 0 && n->in[n_in - 1] == FL_NONE)
        n_in--;
    p->n_input = put_names(w, &p->input, n->in, n_in);
    p->n_output = put_names(w, &p->output, n->out, n->n_out);
    p->attribute = attributes;
    for (uint32_t i = 0; i < n->n_attr; i++)
        attributes[p->n_attribute++] = attribute(w, &n->attr[i]);
    *out = p;
    return fit_opset(w, id, p);
}

/* ---------------------------------------------------------------------------------------------------- functions */

static Onnx__OperatorSetIdProto *import(writer *w, const char *domain, int64_t version)
{
    Onnx__OperatorSetIdProto *set = NEW(w, OperatorSetIdProto, operator_set_id_proto);
    if (set) {
        set->domain = text(domain);
        set->has_version = 1;
        set->version = version;
    }
    return set;
}

/* Names of the function: operands that the node leaves out have a place, too, so that positions are the operator's. */
static bool put_signature(writer *w, const fl_node *n, const fl_graph *body, Onnx__FunctionProto *p)
{
    const char *const *attributes = fl_body_attributes(n->op);
    p->input = fl_arena_new(&w->arena, char *, n->n_in);
    p->output = fl_arena_new(&w->arena, char *, body->n_outputs);
    p->attribute = fl_arena_new(&w->arena, char *, 8);
    if (w->arena.failed)
        return false;
    for (uint32_t k = 0, next = 0; k < n->n_in; k++)
        p->input[p->n_input++] = text(n->in[k] == FL_NONE ? fl_arena_printf(&w->arena, "left_out_%u", k) : body->values[body->inputs[next++]].name);
    for (uint32_t k = 0; k < body->n_outputs; k++)
        p->output[p->n_output++] = text(body->values[body->outputs[k]].name);
    for (; *attributes; attributes++)
        p->attribute[p->n_attribute++] = text(*attributes);
    return !w->arena.failed;
}

static fl_status function(writer *w, fl_id id, const char *name, Onnx__FunctionProto **out)
{
    const fl_graph *caller = w->g;
    fl_graph *body = NULL;
    FL_TRY(fl_body_build(caller, id, &body, w->dg));
    if (!FL_PUSH(&w->arena, w->bodies, w->n_bodies, w->bodies_capacity, body)) {
        fl_graph_free(body);
        return fl_out_of_memory(w->dg);
    }
    Onnx__FunctionProto *p = NEW(w, FunctionProto, function_proto);
    if (!p || !put_signature(w, &caller->nodes[id], body, p))
        return fl_out_of_memory(w->dg);
    p->name = text(name);
    p->domain = text("ai.flen");
    p->opset_import = fl_arena_new(&w->arena, Onnx__OperatorSetIdProto *, 1);
    p->node = fl_arena_new(&w->arena, Onnx__NodeProto *, body->n_nodes);
    if (!p->opset_import || !p->node)
        return fl_out_of_memory(w->dg);
    p->opset_import[p->n_opset_import++] = import(w, "", w->opset);
    w->g = body;
    fl_status status = FL_OK;
    for (fl_id i = 0; i < body->n_nodes && status == FL_OK; i++)
        status = node(w, i, &p->node[p->n_node++]);
    w->g = caller;
    *out = p;
    return status == FL_OK && w->arena.failed ? fl_out_of_memory(w->dg) : status;
}

/* The node calls a function of the file in the place of an operator that other tools do not know. */
static fl_status call(writer *w, fl_id id, Onnx__NodeProto *p)
{
    const char *name = fl_body_exists(w->g->nodes[id].op) ? fl_body_name(w->g, id, &w->arena) : "";
    Onnx__FunctionProto *f = NULL;
    if (!name)
        return fl_out_of_memory(w->dg);
    if (!*name && w->main)
        return FL_OK;
    p->op_type = text(name);
    if (fl_strpool_find(&w->names, name, strlen(name)))
        return FL_OK;
    FL_TRY(function(w, id, name, &f));
    if (!fl_strpool_put(&w->names, name, strlen(name)) || !FL_PUSH(&w->arena, w->functions, w->n_functions, w->functions_capacity, f))
        return fl_out_of_memory(w->dg);
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------- graph and model */

/* A variable or constant: by reference, inline, or (without data) an input. */
static bool put_variable(writer *w, uint32_t i, Onnx__GraphProto *p)
{
    const fl_value *v = &w->g->values[w->g->variables[i]];
    const fl_onnx_options *o = w->options;
    fl_id shared = w->main && v->name ? fl_graph_find(w->main, v->name) : FL_NONE;
    if (!v->name || (shared != FL_NONE && w->main->values[shared].kind == FL_VALUE_VARIABLE && w->main->values[shared].data))
        return true;
    if (!w->main && o && o->external_offsets && o->external_offsets[i] != UINT64_MAX) {
        const fl_type *type = o->external_types ? &o->external_types[i] : &v->type;
        Onnx__TensorProto *t = tensor(w, v->name, type);
        p->initializer[p->n_initializer++] = t;
        return t && refer(w, t, o->external_location, o->external_offsets[i],
                          (uint64_t)fl_type_elements(type) * fl_dtype_size(type->dtype));
    }
    if (v->data)
        return (p->initializer[p->n_initializer++] = inline_tensor(w, v->name, v->data)) != NULL;
    return (p->input[p->n_input++] = value_info(w, w->g->variables[i])) != NULL;
}

static fl_status fill_graph(writer *w, Onnx__GraphProto *p)
{
    const fl_graph *g = w->g;
    uint32_t n_outputs;
    fl_id *outputs = fl_meta_file_outputs(g, &w->arena, &n_outputs);
    bool *is_output = fl_arena_new(&w->arena, bool, g->n_values);
    p->name = text(g->name);
    p->node = fl_arena_new(&w->arena, Onnx__NodeProto *, g->n_nodes);
    p->initializer = fl_arena_new(&w->arena, Onnx__TensorProto *, g->n_variables);
    p->input = fl_arena_new(&w->arena, Onnx__ValueInfoProto *, (size_t)g->n_inputs + g->n_variables);
    p->output = fl_arena_new(&w->arena, Onnx__ValueInfoProto *, n_outputs);
    p->value_info = fl_arena_new(&w->arena, Onnx__ValueInfoProto *, g->n_values);
    if (w->arena.failed)
        return fl_out_of_memory(w->dg);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        p->input[p->n_input++] = value_info(w, g->inputs[i]);
    for (uint32_t i = 0; i < g->n_variables; i++)
        if (!put_variable(w, i, p))
            return fl_out_of_memory(w->dg);
    for (uint32_t i = 0; i < n_outputs; i++) {
        is_output[outputs[i]] = true;
        p->output[p->n_output++] = value_info(w, outputs[i]);
    }
    for (fl_id v = 0; v < g->n_values; v++)
        if (g->values[v].name && g->values[v].kind == FL_VALUE_NODE && g->values[v].type.rank >= 0 && !is_output[v])
            p->value_info[p->n_value_info++] = value_info(w, v);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_NOP)
            continue;
        FL_TRY(node(w, i, &p->node[p->n_node++]));
        if (w->options && w->options->functions && *fl_op_get(g->nodes[i].op)->domain)
            FL_TRY(call(w, i, p->node[p->n_node - 1]));
    }
    return FL_OK;
}

static fl_status fill_training(writer *w, Onnx__ModelProto *m)
{
    const fl_graph *g = w->options->training;
    Onnx__TrainingInfoProto *t = NEW(w, TrainingInfoProto, training_info_proto);
    m->training_info = fl_arena_new(&w->arena, Onnx__TrainingInfoProto *, 1);
    if (t) {
        t->algorithm = NEW(w, GraphProto, graph_proto);
        t->update_binding = fl_arena_new(&w->arena, Onnx__StringStringEntryProto *, g->n_updates + 1u);
    }
    if (w->arena.failed)
        return fl_out_of_memory(w->dg);
    m->training_info[m->n_training_info++] = t;
    for (uint32_t i = 0; i < g->n_updates; i++)
        t->update_binding[t->n_update_binding++] = entry(w, g->values[g->updates[i].variable].name, g->values[g->updates[i].next].name);
    w->main = w->g;
    w->g = g;
    fl_status status = fill_graph(w, t->algorithm);
    w->g = w->main;
    w->main = NULL;
    return status;
}

/* Metadata of the graph; of the training step what says what its variables are, as "ai.flen.training.variables" and so on. */
static fl_status put_meta(writer *w, Onnx__ModelProto *m, const fl_graph *g, const char *which)
{
    static const char *const of_step[] = {"ai.flen.variables", "ai.flen.shapes", "ai.flen.params", "ai.flen.outputs"};
    Onnx__StringStringEntryProto **list;
    fl_meta_entry *entries;
    uint32_t n;
    FL_TRY(fl_meta_collect(g, &w->arena, &entries, &n, w->dg));
    list = fl_arena_new(&w->arena, Onnx__StringStringEntryProto *, m->n_metadata_props + n);
    if (!list)
        return fl_out_of_memory(w->dg);
    if (m->n_metadata_props)
        memcpy(list, m->metadata_props, m->n_metadata_props * sizeof *list);
    m->metadata_props = list;
    for (uint32_t i = 0; i < n; i++) {
        bool wanted = !*which;
        for (size_t k = 0; k < FL_COUNT(of_step); k++)
            wanted |= strcmp(entries[i].key, of_step[k]) == 0;
        const char *key = *which ? fl_arena_printf(&w->arena, "ai.flen.%s%s", which, entries[i].key + strlen("ai.flen.")) : entries[i].key;
        if (wanted && key)
            list[m->n_metadata_props++] = entry(w, key, entries[i].value);
    }
    return w->arena.failed ? fl_out_of_memory(w->dg) : FL_OK;
}

static fl_status fill_model(writer *w, Onnx__ModelProto *m)
{
    Onnx__GraphProto *graph = NEW(w, GraphProto, graph_proto);
    m->opset_import = fl_arena_new(&w->arena, Onnx__OperatorSetIdProto *, 3);
    if (!graph || !m->opset_import)
        return fl_out_of_memory(w->dg);
    m->opset_import[m->n_opset_import++] = import(w, "", w->opset);
    bool ours = !w->options || !w->options->functions || w->options->training;
    for (uint32_t i = 0; i < w->g->n_nodes && !ours; i++)
        ours = w->g->nodes[i].op != FL_OP_NOP && strcmp(fl_op_get(w->g->nodes[i].op)->domain, "ai.flen") == 0;
    if (ours)
        m->opset_import[m->n_opset_import++] = import(w, "ai.flen", 1);
    bool labels = false;
    for (fl_id i = 0; i < w->g->n_nodes && !labels; i++)
        labels = strcmp(fl_op_get(w->g->nodes[i].op)->domain, "ai.onnx.ml") == 0;
    if (labels)
        m->opset_import[m->n_opset_import++] = import(w, "ai.onnx.ml", 2);
    m->has_ir_version = 1;
    m->ir_version = 8;
    m->producer_name = text("flen");
    m->graph = graph;
    FL_TRY(fill_graph(w, graph));
    if (w->options && w->options->training)
        FL_TRY(fill_training(w, m));
    m->functions = w->functions;
    m->n_functions = w->n_functions;
    FL_TRY(put_meta(w, m, w->g, ""));
    if (w->options && w->options->training)
        FL_TRY(put_meta(w, m, w->options->training, "training."));
    return w->arena.failed ? fl_out_of_memory(w->dg) : FL_OK;
}

static fl_status pack(writer *w, const Onnx__ModelProto *m, void **bytes, size_t *n)
{
    size_t size = onnx__model_proto__get_packed_size(m);
    if (size > INT32_MAX)
        return fl_error(w->dg, FL_E_ONNX_WRITE, FL_NOWHERE, "the graph \"%s\" takes %zu bytes, but ONNX files end at 2 GB: store tensors outside",
                        w->g->name, size);
    uint8_t *out = malloc(size ? size : 1);
    if (!out)
        return fl_out_of_memory(w->dg);
    onnx__model_proto__pack(m, out);
    *bytes = out;
    *n = size;
    return FL_OK;
}

static fl_status writer_init(writer *w, const fl_graph *g, int64_t opset, fl_diag *dg)
{
    *w = (writer){.g = g, .dg = dg, .opset = opset == FL_ONNX_LOWEST ? lowest_opset(g) : opset ? opset : FL_ONNX_OUR_OPSET};
    if (w->opset < FL_ONNX_MIN_WRITE || w->opset > FL_ONNX_OUR_OPSET)
        return fl_error(dg, FL_E_ONNX_OPSET, FL_NOWHERE, "cannot write opset %lld: files are written at %d to %d", (long long)w->opset,
                        FL_ONNX_MIN_WRITE, FL_ONNX_OUR_OPSET);
    fl_arena_init(&w->arena);
    fl_strpool_init(&w->names, &w->arena);
    return FL_OK;
}

static void writer_deinit(writer *w)
{
    for (uint32_t i = 0; i < w->n_bodies; i++)
        fl_graph_free(w->bodies[i]);
    fl_arena_deinit(&w->arena);
}

/* Files have the nodes of functions that were outlined: other tools have no use for the frame, and ours find the region again. */
static fl_status encode_inlined(const fl_graph *g, const fl_onnx_options *options, void **bytes, size_t *n, fl_diag *dg)
{
    fl_graph *copy = fl_graph_clone(g);
    fl_status status = copy ? fl_graph_ok(copy, dg) : fl_out_of_memory(dg);
    if (status == FL_OK)
        status = fl_functions_inline(copy, dg);
    if (status == FL_OK)
        status = fl_onnx_encode(copy, options, bytes, n, dg);
    fl_graph_free(copy);
    return status;
}

fl_status fl_onnx_encode(const fl_graph *g, const fl_onnx_options *options, void **bytes, size_t *n, fl_diag *dg)
{
    writer w;
    FL_TRY(fl_graph_ok(g, dg));
    if (g->n_functions > 0)
        return encode_inlined(g, options, bytes, n, dg);
    FL_TRY(writer_init(&w, g, options ? options->opset : 0, dg));
    w.options = options;
    if (options && options->training && options->opset == FL_ONNX_LOWEST && lowest_opset(options->training) > w.opset)
        w.opset = lowest_opset(options->training);
    Onnx__ModelProto *m = NEW(&w, ModelProto, model_proto);
    fl_status status = m ? fill_model(&w, m) : fl_out_of_memory(dg);
    if (status == FL_OK)
        status = pack(&w, m, bytes, n);
    writer_deinit(&w);
    return status;
}

fl_status fl_onnx_function(const fl_graph *g, fl_id node, int64_t opset, fl_arena *arena, uint8_t **bytes, size_t *n, fl_diag *dg)
{
    writer w;
    Onnx__FunctionProto *f = NULL;
    FL_TRY(writer_init(&w, g, opset, dg));
    const char *name = fl_body_name(g, node, &w.arena);
    fl_status status = name ? function(&w, node, name, &f) : fl_out_of_memory(dg);
    if (status == FL_OK) {
        *n = onnx__function_proto__get_packed_size(f);
        *bytes = fl_arena_alloc(arena, *n);
        if (*bytes)
            onnx__function_proto__pack(f, *bytes);
        else
            status = fl_out_of_memory(dg);
    }
    writer_deinit(&w);
    return status;
}
