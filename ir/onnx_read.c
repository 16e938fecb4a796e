/*
 * onnx_read.c -- a ModelProto as a graph. The scan (onnx_scan.c) has bounded nesting and memory before the first message
 * is made; here every name, shape and range is judged before it is used.
 */
#include "ir/graph_meta.h"
#include "ir/import.h"
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
    fl_onnx_place place; /* of tensors: the same, with the graph's arena */
    fl_arena scratch;
    const fl_arena *messages; /* of protobuf-c */
    uint64_t budget;          /* for messages, graph and scratch together */
    const char **variables; /* names in ai.flen.variables */
    uint32_t n_variables, next_variable;
    const char **sorted_variables, **sorted_initializers; /* for look-ups */
    const Onnx__ValueInfoProto **sorted_inputs;
    int64_t opset; /* of the standard domain */
    fl_onnx_functions functions;
    bool training; /* what is read is the file's training step; `in` is made of its algorithm and of what that reads of the graph */
    bool infer;    /* types are needed while reading, for some operator stands for others */
    fl_loc loc;    /* the file, under a name that lives as long as the graph */
} reader;

#define LOC(r) FL_FILE((r)->file)

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static const char *meta(const reader *r, const char *key)
{
    static const char *const own[][2] = {{"ai.flen.variables", "ai.flen.training.variables"}, {"ai.flen.shapes", "ai.flen.training.shapes"}, {"ai.flen.params", "ai.flen.training.params"},
                                         {"ai.flen.outputs", "ai.flen.training.outputs"},     {"ai.flen.updates", ""},                        {"ai.flen.schedule", ""}};
    for (size_t i = 0; r->training && i < FL_COUNT(own); i++)
        key = strcmp(key, own[i][0]) == 0 ? own[i][1] : key;
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
    FL_TRY(fl_onnx_check_dtype(&r->place, t->elem_type, name));
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

/* ---------------------------------------------------------------------------------------------------- leaves */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(or_empty((*(const Onnx__ValueInfoProto *const *)a)->name), or_empty((*(const Onnx__ValueInfoProto *const *)b)->name));
}

/* Look-ups by name are as many as there are names: without an order they would take quadratic time. */
static fl_status sort_names(reader *r)
{
    r->sorted_variables = fl_arena_new(&r->scratch, const char *, r->n_variables);
    r->sorted_initializers = fl_arena_new(&r->scratch, const char *, r->in->n_initializer);
    r->sorted_inputs = fl_arena_new(&r->scratch, const Onnx__ValueInfoProto *, r->in->n_input);
    if (!r->sorted_variables || !r->sorted_initializers || !r->sorted_inputs)
        return fl_out_of_memory(r->dg);
    for (uint32_t i = 0; i < r->n_variables; i++)
        r->sorted_variables[i] = r->variables[i];
    for (size_t i = 0; i < r->in->n_initializer; i++)
        r->sorted_initializers[i] = or_empty(r->in->initializer[i]->name);
    for (size_t i = 0; i < r->in->n_input; i++)
        r->sorted_inputs[i] = r->in->input[i];
    qsort(r->sorted_variables, r->n_variables, sizeof *r->sorted_variables, by_text);
    qsort(r->sorted_initializers, r->in->n_initializer, sizeof *r->sorted_initializers, by_text);
    qsort(r->sorted_inputs, r->in->n_input, sizeof *r->sorted_inputs, by_name);
    return FL_OK;
}

static bool is_variable(const reader *r, const char *name)
{
    return bsearch(&name, r->sorted_variables, r->n_variables, sizeof *r->sorted_variables, by_text) != NULL;
}

static bool has_initializer(const reader *r, const char *name)
{
    return bsearch(&name, r->sorted_initializers, r->in->n_initializer, sizeof *r->sorted_initializers, by_text) != NULL;
}

static const Onnx__ValueInfoProto *find_input(const reader *r, const char *name)
{
    Onnx__ValueInfoProto wanted = {.name = (char *)(uintptr_t)name};
    const Onnx__ValueInfoProto *key = &wanted;
    const Onnx__ValueInfoProto **found = bsearch(&key, r->sorted_inputs, r->in->n_input, sizeof *r->sorted_inputs, by_name);
    return found ? *found : NULL;
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
        FL_TRY(fl_onnx_read_tensor(&r->place, p, name, &t));
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

static fl_status read_attribute(reader *r, const Onnx__AttributeProto *p, const char *node, const char *op, fl_attr *a)
{
    const char *name = or_empty(p->name);
    fl_tensor *t = NULL;
    a->name = fl_strpool_put(&r->g->names, name, strlen(name));
    a->kind = (fl_attr_kind)p->type;
    if (!a->name)
        return fl_out_of_memory(r->dg);
    if (*or_empty(p->ref_attr_name))
        return attribute_error(r, node, op, name, "refers to a function's attribute");
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
        FL_TRY(fl_onnx_read_tensor(&r->place, p->t, name, &t));
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

static fl_status read_attributes(reader *r, const Onnx__NodeProto *p, const char *node, fl_attr **out)
{
    enum { MOST = 256 }; /* operators have a dozen; the search for doubles is quadratic */
    if (p->n_attribute > MOST)
        return attribute_error(r, node, or_empty(p->op_type), "", "is one of too many");
    fl_attr *attrs = fl_arena_new(&r->g->arena, fl_attr, p->n_attribute);
    if (!attrs)
        return fl_out_of_memory(r->dg);
    for (size_t i = 0; i < p->n_attribute; i++) {
        FL_TRY(read_attribute(r, p->attribute[i], node, or_empty(p->op_type), &attrs[i]));
        for (size_t k = 0; k < i; k++)
            if (attrs[k].name == attrs[i].name)
                return attribute_error(r, node, or_empty(p->op_type), attrs[i].name, "stands twice");
    }
    *out = attrs;
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

/*
 * The value gets its name from the file. Values that an import made beside it have names of ours: one that stands in the
 * way is renamed.
 */
static fl_status name_output(reader *r, fl_id v, const char *name)
{
    fl_id other = fl_graph_find(r->g, name);
    if (other == v) {
        r->g->values[v].origin.pass = NULL;
        return FL_OK;
    }
    if (other != FL_NONE && r->g->values[other].kind == FL_VALUE_NODE && r->g->values[other].origin.pass) {
        const char *fresh = fl_graph_fresh_name(r->g, fl_arena_printf(&r->scratch, "%.200s.", name));
        fl_value_rename(r->g, other, fresh);
    }
    FL_TRY(check_fresh(r, name, "output"));
    fl_value_rename(r->g, v, name);
    r->g->values[v].origin.pass = NULL;
    return FL_OK;
}

static fl_status read_plain(reader *r, const Onnx__NodeProto *p)
{
    const char *label = *or_empty(p->name) ? p->name : p->n_output ? p->output[0] : "";
    fl_import m = {.g = r->g, .domain = or_empty(p->domain), .op = or_empty(p->op_type), .opset = r->opset, .label = label,
                   .stem = p->n_output ? p->output[0] : "", .infer = r->infer, .n_in = (uint32_t)p->n_input, .n_attr = (uint32_t)p->n_attribute,
                   .n_out = (uint32_t)p->n_output, .loc = r->loc, .dg = r->dg};
    fl_id *in = fl_arena_new(&r->scratch, fl_id, p->n_input);
    bool *wanted = fl_arena_new(&r->scratch, bool, p->n_output);
    m.out = fl_arena_new(&r->scratch, fl_id, p->n_output);
    if (!in || !wanted || !m.out)
        return fl_out_of_memory(r->dg);
    FL_TRY(find_operands(r, p, label, in));
    FL_TRY(read_attributes(r, p, label, &m.attr));
    for (size_t i = 0; i < p->n_output; i++)
        wanted[i] = *or_empty(p->output[i]);
    m.in = in;
    m.wanted = wanted;
    uint32_t first_node = r->g->n_nodes, first_value = r->g->n_values;
    FL_TRY(fl_import_node(&m));
    for (fl_id v = first_value; v < r->g->n_values; v++)
        r->g->values[v].origin.pass = "import";
    for (size_t i = 0; i < p->n_output; i++)
        if (wanted[i])
            FL_TRY(name_output(r, m.out[i], p->output[i]));
    if (r->g->arena.used_bytes + r->scratch.used_bytes + r->messages->used_bytes > r->budget)
        return fl_error(r->dg, FL_E_ONNX_LIMIT, LOC(r), "node \"%.100s\" (%.100s): the graph takes more memory than the file's size allows, %" PRIu64 " MB",
                        label, m.op, r->budget >> 20);
    const char *name = *or_empty(p->name) ? fl_strpool_put(&r->g->names, p->name, strlen(p->name)) : NULL;
    for (fl_id n = first_node; n < r->g->n_nodes; n++)
        r->g->nodes[n].name = name;
    return FL_OK;
}

static fl_status read_node(reader *r, const Onnx__NodeProto *p, unsigned depth);

/* A function that we wrote is the operator that it stands for; any other is its nodes. */
static fl_status read_call(reader *r, const Onnx__FunctionProto *f, const Onnx__NodeProto *p, unsigned depth)
{
    fl_op op;
    if (depth == FL_ONNX_MAX_CALLS)
        return fl_error(r->dg, FL_E_ONNX_FUNCTION, LOC(r), "functions call each other more than %d deep, or themselves: \"%.100s\"", FL_ONNX_MAX_CALLS,
                        or_empty(f->name));
    FL_TRY(fl_onnx_function_op(&r->functions, f, p, &op));
    if (op != FL_N_OPS) {
        Onnx__NodeProto ours = *p;
        ours.op_type = (char *)(uintptr_t)fl_op_get(op)->name; /* nothing writes through it */
        return read_plain(r, &ours);
    }
    Onnx__NodeProto *nodes = NULL;
    FL_TRY(fl_onnx_inline(&r->functions, f, p, &nodes));
    for (size_t i = 0; i < f->n_node; i++)
        FL_TRY(read_node(r, &nodes[i], depth + 1));
    for (size_t k = 0; k < p->n_output; k++)
        if (*p->output[k] && fl_graph_find(r->g, p->output[k]) == FL_NONE)
            return fl_error(r->dg, FL_E_ONNX_FUNCTION, LOC(r), "function \"%.100s\" has no node that makes its result \"%.100s\"", or_empty(f->name),
                            f->output[k]);
    return FL_OK;
}

static fl_status read_node(reader *r, const Onnx__NodeProto *p, unsigned depth)
{
    const Onnx__FunctionProto *f = fl_onnx_function_of(&r->functions, p);
    if (f)
        return read_call(r, f, p, depth);
    if (!fl_import_knows(or_empty(p->domain), or_empty(p->op_type)))
        return fl_error(r->dg, FL_E_ONNX_OP, LOC(r), "operator \"%.100s\" of domain \"%.100s\" is unknown (in a function)", or_empty(p->op_type),
                        *or_empty(p->domain) ? p->domain : "ai.onnx");
    return read_plain(r, p);
}

static bool is_standard(const char *domain)
{
    return !*domain || strcmp(domain, "ai.onnx") == 0;
}

/* 0 if the file does not say. */
static int64_t domain_opset(const reader *r, const char *domain)
{
    for (size_t i = 0; i < r->model->n_opset_import; i++) {
        const char *other = or_empty(r->model->opset_import[i]->domain);
        if (strcmp(other, domain) == 0 || (is_standard(other) && is_standard(domain)))
            return r->model->opset_import[i]->version;
    }
    return 0;
}

static fl_status check_versions(reader *r)
{
    const Onnx__ModelProto *m = r->model;
    if (!m->graph)
        return fl_error(r->dg, FL_E_ONNX_FORMAT, LOC(r), "this is no ONNX file, or a damaged one: it has no graph");
    if (m->ir_version > FL_ONNX_MAX_IR || (m->has_ir_version && m->ir_version < FL_ONNX_MIN_IR))
        return fl_error(r->dg, FL_E_ONNX_OPSET, LOC(r), "the file has IR version %" PRId64 "; %d to %d are read", m->ir_version, FL_ONNX_MIN_IR,
                        FL_ONNX_MAX_IR);
    r->opset = domain_opset(r, "");
    bool needed = r->opset != 0 || m->n_opset_import == 0;
    for (size_t i = 0; i < m->graph->n_node && !needed; i++)
        needed = is_standard(or_empty(m->graph->node[i]->domain));
    if (!needed) /* a file without standard operators need not name their opset */
        r->opset = FL_ONNX_OUR_OPSET;
    if (r->opset >= FL_ONNX_MIN_READ && r->opset <= FL_ONNX_MAX_READ)
        return FL_OK;
    return fl_error(r->dg, FL_E_ONNX_OPSET, LOC(r), "the file has opset %" PRId64 " of the standard operators; %d to %d are read", r->opset,
                    FL_ONNX_MIN_READ, FL_ONNX_MAX_READ);
}

/* An operator that we do not have, and the nodes that are one. */
typedef struct missing {
    const char *domain, *op;
    char *nodes; /* `"a", "b"`, cut */
    size_t length;
    uint32_t n;
} missing;

static fl_status note_missing(reader *r, missing *list, uint32_t *n, const Onnx__NodeProto *p)
{
    enum { TEXT = 2000 };
    const char *domain = or_empty(p->domain), *op = or_empty(p->op_type);
    const char *label = *or_empty(p->name) ? p->name : p->n_output ? p->output[0] : "";
    uint32_t k = 0;
    while (k < *n && (strcmp(list[k].op, op) != 0 || strcmp(list[k].domain, domain) != 0))
        k++;
    if (k == FL_DIAG_MAX)
        return FL_OK;
    if (k == *n) {
        list[k] = (missing){.domain = domain, .op = op, .nodes = fl_arena_alloc(&r->scratch, TEXT)};
        if (!list[k].nodes)
            return fl_out_of_memory(r->dg);
        (*n)++;
    }
    list[k].n++;
    if (list[k].length + 220 < TEXT)
        list[k].length += (size_t)snprintf(list[k].nodes + list[k].length, TEXT - list[k].length, "%s\"%.200s\"", list[k].n > 1 ? ", " : "", label);
    else if (list[k].length + 6 < TEXT)
        list[k].length += (size_t)snprintf(list[k].nodes + list[k].length, TEXT - list[k].length, ", ...");
    return FL_OK;
}

/* All operators that we do not have in one run, each once, with all its nodes. */
static fl_status check_ops(reader *r)
{
    missing *list = fl_arena_new(&r->scratch, missing, FL_DIAG_MAX);
    uint32_t n = 0;
    fl_status status = FL_OK;
    if (!list)
        return fl_out_of_memory(r->dg);
    for (size_t i = 0; i < r->in->n_node; i++) {
        const Onnx__NodeProto *p = r->in->node[i];
        const char *domain = or_empty(p->domain), *op = or_empty(p->op_type);
        r->infer |= r->opset != FL_ONNX_OUR_OPSET || fl_import_expands(domain, op);
        if (!fl_import_knows(domain, op) && !fl_onnx_function_of(&r->functions, p))
            FL_TRY(note_missing(r, list, &n, p));
    }
    for (size_t i = 0; i < r->model->n_functions && !r->infer; i++)
        for (size_t k = 0; k < r->model->functions[i]->n_node; k++)
            r->infer |= fl_import_expands(or_empty(r->model->functions[i]->node[k]->domain), or_empty(r->model->functions[i]->node[k]->op_type));
    for (uint32_t k = 0; k < n; k++) {
        status = fl_error(r->dg, FL_E_ONNX_OP, LOC(r), "operator \"%.100s\" of domain \"%.100s\", opset %" PRId64 ", is not supported: %u node%s, %s",
                          list[k].op, *list[k].domain ? list[k].domain : "ai.onnx", domain_opset(r, list[k].domain), list[k].n,
                          list[k].n > 1 ? "s" : "", list[k].nodes);
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

/* The step's update bindings. Of a step that we wrote, outputs behind the first few are the new values, which updates have. */
static fl_status apply_bindings(reader *r)
{
    const Onnx__TrainingInfoProto *t = r->model->training_info[0];
    const char *outputs = meta(r, "ai.flen.outputs");
    for (size_t i = 0; i < t->n_update_binding; i++) {
        const char *key = or_empty(t->update_binding[i]->key), *value = or_empty(t->update_binding[i]->value);
        fl_id variable = fl_graph_find(r->g, key), next = fl_graph_find(r->g, value);
        if (variable == FL_NONE || r->g->values[variable].kind != FL_VALUE_VARIABLE || next == FL_NONE)
            return fl_error(r->dg, FL_E_ONNX_NAME, LOC(r), "an update binding gives \"%.100s\" the value \"%.100s\": the training step has no such %s", key, value,
                            next == FL_NONE ? "value" : "initialiser");
        fl_graph_update(r->g, variable, next);
    }
    unsigned long n = outputs ? strtoul(outputs, NULL, 10) : r->g->n_outputs;
    r->g->n_outputs = n < r->g->n_outputs ? (uint32_t)n : r->g->n_outputs;
    return FL_OK;
}

static fl_status read_meta(reader *r)
{
    for (size_t i = 0; i < r->model->n_metadata_props; i++) {
        const char *key = or_empty(r->model->metadata_props[i]->key);
        if (*key && !fl_meta_is_derived(key))
            fl_graph_set_meta(r->g, key, or_empty(r->model->metadata_props[i]->value));
    }
    FL_TRY(r->training ? apply_bindings(r) : fl_meta_apply_updates(r->g, meta(r, "ai.flen.updates"), meta(r, "ai.flen.outputs"), LOC(r), r->dg));
    FL_TRY(fl_meta_apply_params(r->g, meta(r, "ai.flen.params"), LOC(r), r->dg));
    FL_TRY(fl_graph_ok(r->g, r->dg));
    const char *schedule = meta(r, "ai.flen.schedule");
    return schedule ? fl_schedule_parse(r->g, schedule, LOC(r), r->dg) : FL_OK;
}

static const char broken[] = "broken"; /* origin.pass of what stands for the results of a node that was not read */

static bool reads_broken(const reader *r, const Onnx__NodeProto *p)
{
    for (size_t i = 0; i < p->n_input; i++) {
        fl_id v = fl_graph_find(r->g, p->input[i]);
        if (v != FL_NONE && r->g->values[v].origin.pass == broken)
            return true;
    }
    return false;
}

/* A node that is wrong does not hide mistakes of the next; those that read its results are passed over. The status is the first one's. */
static fl_status read_nodes(reader *r)
{
    fl_status first = FL_OK;
    for (size_t i = 0; i < r->in->n_node; i++) {
        const Onnx__NodeProto *p = r->in->node[i];
        bool reads = first != FL_OK && reads_broken(r, p);
        fl_status s = reads ? FL_BAD_INPUT : read_node(r, p, 0);
        if (s == FL_OK)
            continue;
        first = first == FL_OK ? s : first;
        bool full = !r->dg || r->dg->n_entries == 0 || r->dg->n_errors >= FL_DIAG_MAX || r->dg->entries[r->dg->n_entries - 1].code == FL_E_ONNX_LIMIT;
        if (s == FL_NO_MEMORY || full)
            return first;
        for (size_t k = 0; k < p->n_output; k++) {
            fl_id v = fl_graph_find(r->g, p->output[k]);
            v = v == FL_NONE && *p->output[k] ? fl_graph_input(r->g, p->output[k], FL_TYPE_UNKNOWN) : v;
            if (v != FL_NONE && (r->g->values[v].kind == FL_VALUE_NODE || !r->g->values[v].origin.pass))
                r->g->values[v].origin.pass = broken;
        }
        FL_TRY(fl_graph_ok(r->g, r->dg));
    }
    return first;
}

/* The algorithm of the first training information, with those initialisers of the graph that it reads or updates. */
static fl_status take_algorithm(reader *r)
{
    const Onnx__TrainingInfoProto *t = r->model->training_info[0];
    const Onnx__GraphProto *graph = r->model->graph, *a = t->algorithm;
    if (!a || t->n_update_binding == 0)
        return fl_error(r->dg, FL_E_ONNX_FORMAT, LOC(r), "the training information has no %s", a ? "update bindings" : "algorithm");
    Onnx__GraphProto *step = fl_arena_new(&r->scratch, Onnx__GraphProto, 1);
    Onnx__TensorProto **tensors = fl_arena_new(&r->scratch, Onnx__TensorProto *, graph->n_initializer + a->n_initializer);
    fl_strpool read, own;
    fl_strpool_init(&read, &r->scratch);
    fl_strpool_init(&own, &r->scratch);
    bool ok = step && tensors;
    for (size_t i = 0; ok && i < a->n_node; i++)
        for (size_t k = 0; ok && k < a->node[i]->n_input; k++)
            ok = fl_strpool_put(&read, a->node[i]->input[k], strlen(a->node[i]->input[k])) != NULL;
    for (size_t i = 0; ok && i < t->n_update_binding; i++)
        ok = fl_strpool_put(&read, or_empty(t->update_binding[i]->key), strlen(or_empty(t->update_binding[i]->key))) != NULL;
    for (size_t i = 0; ok && i < a->n_initializer; i++)
        ok = fl_strpool_put(&own, or_empty(a->initializer[i]->name), strlen(or_empty(a->initializer[i]->name))) != NULL;
    if (!ok)
        return fl_out_of_memory(r->dg);
    *step = *a;
    step->initializer = tensors;
    step->n_initializer = 0;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const char *name = or_empty(graph->initializer[i]->name);
        if (fl_strpool_find(&read, name, strlen(name)) && !fl_strpool_find(&own, name, strlen(name)))
            tensors[step->n_initializer++] = graph->initializer[i];
    }
    for (size_t i = 0; i < a->n_initializer; i++)
        tensors[step->n_initializer++] = a->initializer[i];
    r->in = step;
    return FL_OK;
}

/* Of a step that others wrote, what it updates. */
static fl_status name_updated(reader *r)
{
    const Onnx__TrainingInfoProto *t = r->model->training_info[0];
    r->variables = fl_arena_new(&r->scratch, const char *, t->n_update_binding);
    if (!r->variables)
        return fl_out_of_memory(r->dg);
    r->n_variables = (uint32_t)t->n_update_binding;
    for (size_t i = 0; i < t->n_update_binding; i++)
        r->variables[i] = or_empty(t->update_binding[i]->key);
    return FL_OK;
}

static fl_status read_model(reader *r)
{
    FL_TRY(check_versions(r));
    r->in = r->model->graph;
    if (r->training)
        FL_TRY(take_algorithm(r));
    if (r->in->n_sparse_initializer)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "sparse initialisers are not supported");
    r->functions.opset = r->opset;
    FL_TRY(fl_onnx_functions_init(&r->functions));
    FL_TRY(check_ops(r));
    const char *variables = meta(r, "ai.flen.variables");
    if (variables && !(r->variables = fl_meta_names(variables, &r->scratch, &r->n_variables)))
        return fl_out_of_memory(r->dg);
    if (r->training && !variables)
        FL_TRY(name_updated(r));
    r->g = fl_graph_new(*or_empty(r->in->name) ? r->in->name : "graph");
    FL_TRY(fl_graph_ok(r->g, r->dg));
    r->place = (fl_onnx_place){r->file, r->source, r->g, &r->g->arena, r->dg};
    r->loc = FL_FILE(r->file ? fl_strpool_put(&r->g->names, r->file, strlen(r->file)) : NULL);
    FL_TRY(sort_names(r));
    FL_TRY(read_initializers(r));
    FL_TRY(fl_meta_apply_shapes(r->g, meta(r, "ai.flen.shapes"), LOC(r), r->dg));
    FL_TRY(read_inputs(r));
    FL_TRY(read_nodes(r));
    FL_TRY(read_outputs(r));
    FL_TRY(read_value_types(r, r->in->value_info, r->in->n_value_info));
    FL_TRY(read_value_types(r, r->in->output, r->in->n_output));
    return read_meta(r);
}

/* What of the training information has no meaning here. */
static void warn_of_rest(const reader *r)
{
    const Onnx__TrainingInfoProto *t = r->model->training_info[0];
    if (r->model->n_training_info > 1)
        fl_warning(r->dg, FL_E_ONNX_KIND, LOC(r), "of %zu training informations the first is read", r->model->n_training_info);
    if ((t->initialization && t->initialization->n_node > 0) || t->n_initialization_binding > 0)
        fl_warning(r->dg, FL_E_ONNX_KIND, LOC(r), "the training information's graph of first values, \"initialization\", is not read: training starts from the values that the file stores");
}

static fl_status decode(const void *bytes, size_t n, const char *file, const fl_onnx_source *source, bool training, fl_graph **out, fl_diag *dg)
{
    uint64_t left;
    FL_TRY(fl_onnx_scan(&onnx__model_proto__descriptor, bytes, n, file, &left, dg));
    fl_arena messages;
    fl_arena_init(&messages);
    ProtobufCAllocator allocator = {fl_onnx_alloc, fl_onnx_free, &messages};
    reader r = {.file = file, .source = source, .dg = dg, .messages = &messages, .budget = fl_onnx_budget(n), .training = training};
    fl_arena_init(&r.scratch);
    r.model = onnx__model_proto__unpack(&allocator, n, bytes);
    r.functions = (fl_onnx_functions){.model = r.model, .file = file, .arena = &r.scratch, .dg = dg, .left = left};
    bool absent = training && r.model && r.model->n_training_info == 0;
    fl_status status = absent            ? FL_OK
                       : r.model         ? read_model(&r)
                       : messages.failed ? fl_out_of_memory(dg)
                                         : fl_error(dg, FL_E_ONNX_FORMAT, FL_FILE(file), "this is no ONNX file, or a damaged one");
    if (status == FL_OK && !absent)
        status = fl_graph_ok(r.g, dg);
    if (status == FL_OK && training && !absent)
        warn_of_rest(&r);
    if (status == FL_OK)
        *out = r.g;
    else
        fl_graph_free(r.g);
    fl_arena_deinit(&r.scratch);
    fl_arena_deinit(&messages);
    return status;
}

fl_status fl_onnx_decode_from(const void *bytes, size_t n, const char *file, const fl_onnx_source *source, fl_graph **out, fl_diag *dg)
{
    return decode(bytes, n, file, source, false, out, dg);
}

fl_status fl_onnx_decode_training(const void *bytes, size_t n, const char *file, const char *folder, fl_graph **out, fl_diag *dg)
{
    fl_onnx_folder beneath = {file, folder};
    fl_onnx_source source = {fl_onnx_find_in_folder, &beneath};
    *out = NULL;
    return decode(bytes, n, file, folder ? &source : NULL, true, out, dg);
}

fl_status fl_onnx_decode(const void *bytes, size_t n, const char *file, const char *folder, fl_graph **out, fl_diag *dg)
{
    fl_onnx_folder beneath = {file, folder};
    fl_onnx_source source = {fl_onnx_find_in_folder, &beneath};
    return fl_onnx_decode_from(bytes, n, file, folder ? &source : NULL, out, dg);
}
