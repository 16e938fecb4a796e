/* draw_json.c -- a graph as one JSON object: what `flenc dump --format=text` says, for scripts; and what the page of draw_html.c draws. */
#include "frontend/draw.h"

#include "ir/bodies.h"
#include "ir/cost.h"
#include "ir/functions.h"
#include "ir/shape.h"

#include <jansson.h>
#include <math.h>

/* All helpers pass a NULL on (out of memory): jansson's setters refuse it and free what they were given. */
typedef struct writer {
    const fl_graph *g;
    fl_draw_groups groups; /* of_node NULL: none, inside of a body */
    int64_t *extents;
    int64_t batch;
    bool failed;
} writer;

static void set(writer *w, json_t *object, const char *key, json_t *value)
{
    w->failed |= json_object_set_new(object, key, value) != 0;
}

static void add(writer *w, json_t *array, json_t *value)
{
    w->failed |= json_array_append_new(array, value) != 0;
}

/* Texts of ONNX files need not be UTF-8. */
static json_t *text(const char *s)
{
    json_t *j = json_string(s ? s : "");
    return j ? j : json_string("(not UTF-8)");
}

static json_t *real(double f)
{
    return isfinite(f) ? json_real(f) : json_string(isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
}

static json_t *type(const writer *w, fl_id v)
{
    char t[256];
    fl_type_print(w->g, fl_value_type(w->g, v), t, sizeof t);
    return text(t);
}

static json_t *names(writer *w, const fl_id *list, uint32_t n)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < n; i++)
        add(w, out, text(list[i] == FL_NONE ? "" : w->g->values[list[i]].name));
    return out;
}

static json_t *typed(writer *w, const fl_id *list, uint32_t n)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < n; i++) {
        json_t *o = json_object();
        set(w, o, "name", text(w->g->values[list[i]].name));
        set(w, o, "type", type(w, list[i]));
        add(w, out, o);
    }
    return out;
}

static json_t *attribute(writer *w, const fl_attr *a)
{
    char t[256];
    json_t *out;
    switch (a->kind) {
    case FL_ATTR_INT:
        return json_integer(a->as.i);
    case FL_ATTR_FLOAT:
        return real(a->as.f);
    case FL_ATTR_STRING:
        return text(a->as.s);
    case FL_ATTR_TENSOR:
        fl_type_print(w->g, &a->as.tensor->type, t, sizeof t);
        return text(t);
    case FL_ATTR_INTS:
    case FL_ATTR_FLOATS:
    case FL_ATTR_STRINGS:
        break;
    }
    out = json_array();
    for (uint32_t i = 0; i < a->n; i++)
        add(w, out,
            a->kind == FL_ATTR_INTS     ? json_integer(a->as.ints[i])
            : a->kind == FL_ATTR_FLOATS ? real(a->as.floats[i])
                                        : text(a->as.strings[i]));
    return out;
}

static json_t *origin(writer *w, const fl_origin *o)
{
    json_t *out = json_object();
    if (o->loc.file) {
        set(w, out, "file", text(o->loc.file));
        set(w, out, "line", json_integer(o->loc.line));
        set(w, out, "column", json_integer(o->loc.column));
    }
    if (o->pass)
        set(w, out, "pass", text(o->pass));
    if (o->from)
        set(w, out, "from", text(o->from));
    return out;
}

static json_t *node_list(writer *w);

static void set_inside(writer *w, json_t *o, const fl_graph *g, const char *name)
{
    fl_arena arena;
    fl_arena_init(&arena);
    writer in = {.g = g, .batch = w->batch, .extents = fl_arena_new(&arena, int64_t, g->n_symbols + 1)};
    if (in.extents) {
        json_t *body = json_object();
        fl_cost_bind(g, w->batch, in.extents);
        set(&in, body, "inputs", typed(&in, g->inputs, g->n_inputs));
        set(&in, body, "outputs", typed(&in, g->outputs, g->n_outputs));
        set(&in, body, "nodes", node_list(&in));
        set(w, o, "function", text(name));
        set(w, o, "body", body);
        w->failed |= in.failed;
    } else {
        w->failed = true;
    }
    fl_arena_deinit(&arena);
}

/* What the operator means in standard ones, with this node's types; sets "function" and "body" of o. */
static void set_body(writer *w, json_t *o, fl_id i)
{
    fl_graph *g;
    fl_arena arena;
    fl_diag none; /* a node with attributes that no body knows is drawn as it is */

    fl_diag_init(&none);
    fl_status status = fl_body_build(w->g, i, &g, &none);
    fl_diag_deinit(&none);
    if (status != FL_OK) {
        w->failed |= status == FL_NO_MEMORY;
        return;
    }
    fl_arena_init(&arena);
    const char *name = fl_body_name(w->g, i, &arena);
    if (name)
        set_inside(w, o, g, name);
    else
        w->failed = true;
    fl_arena_deinit(&arena);
    fl_graph_free(g);
}

/* A function of the graph unfolds as bodies do, and the operators in it once more. */
static void set_function(writer *w, json_t *o, const fl_graph *f)
{
    set_inside(w, o, f, f->name);
}

static json_t *node(writer *w, fl_id i)
{
    const fl_node *n = &w->g->nodes[i];
    json_t *out = json_object(), *types = json_array(), *attributes = json_object();
    fl_cost c = fl_node_cost(w->g, i, w->extents);

    set(w, out, "op", text(n->op == FL_OP_CALL ? fl_function_name(w->g, i) : fl_op_get(n->op)->name));
    set(w, out, "domain", text(fl_op_get(n->op)->domain));
    set(w, out, "kind", text(fl_draw_kind(n->op)));
    if (n->name)
        set(w, out, "name", text(n->name));
    set(w, out, "inputs", names(w, n->in, n->n_in));
    set(w, out, "outputs", names(w, n->out, n->n_out));
    for (uint32_t k = 0; k < n->n_out; k++)
        add(w, types, n->out[k] == FL_NONE ? text("") : type(w, n->out[k]));
    set(w, out, "types", types);
    for (uint32_t k = 0; k < n->n_attr; k++)
        set(w, attributes, n->attr[k].name, attribute(w, &n->attr[k]));
    set(w, out, "attributes", attributes);
    if (w->groups.of_node && w->groups.of_node[i] != UINT32_MAX)
        set(w, out, "group", json_integer(w->groups.of_node[i]));
    if (n->origin.loc.file || n->origin.pass)
        set(w, out, "origin", origin(w, &n->origin));
    set(w, out, "flops", real(c.flops));
    set(w, out, "bytes", real(c.bytes));
    if (fl_body_exists(n->op))
        set_body(w, out, i);
    if (n->op == FL_OP_CALL && fl_function_of(w->g, i))
        set_function(w, out, fl_function_of(w->g, i));
    return out;
}

static json_t *node_list(writer *w)
{
    json_t *out = json_array();
    for (fl_id i = 0; i < w->g->n_nodes; i++)
        if (w->g->nodes[i].op != FL_OP_NOP)
            add(w, out, node(w, i));
    return out;
}

static json_t *whole(writer *w)
{
    const fl_graph *g = w->g;
    json_t *out = json_object(), *updates = json_array(), *groups = json_array(), *metadata = json_object();

    set(w, out, "graph", text(g->name));
    set(w, out, "inputs", typed(w, g->inputs, g->n_inputs));
    set(w, out, "variables", typed(w, g->variables, g->n_variables));
    set(w, out, "outputs", typed(w, g->outputs, g->n_outputs));
    for (uint32_t i = 0; i < g->n_updates; i++) {
        json_t *u = json_object();
        set(w, u, "variable", text(g->values[g->updates[i].variable].name));
        set(w, u, "next", text(g->values[g->updates[i].next].name));
        add(w, updates, u);
    }
    set(w, out, "updates", updates);
    for (uint32_t i = 0; i < g->n_meta; i++)
        set(w, metadata, g->meta_keys[i], text(g->meta_values[i]));
    set(w, out, "metadata", metadata);
    for (uint32_t i = 0; i < w->groups.n; i++) {
        json_t *o = json_object();
        set(w, o, "kind", text(fl_draw_group_kind(w->groups.groups[i].kind)));
        set(w, o, "label", text(w->groups.groups[i].label));
        add(w, groups, o);
    }
    set(w, out, "groups", groups);
    set(w, out, "nodes", node_list(w));
    return out;
}

fl_status fl_draw_json(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg)
{
    writer w = {.g = g};
    fl_arena arena;
    fl_arena_init(&arena);
    w.extents = fl_arena_new(&arena, int64_t, g->n_symbols);
    fl_status status = w.extents && fl_draw_find_groups(g, &arena, &w.groups) ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK) {
        w.batch = options->batch ? options->batch : 1;
        fl_cost_bind(g, w.batch, w.extents);
        json_t *j = whole(&w);
        if (w.failed || !j)
            status = fl_out_of_memory(dg);
        else if (json_dumpf(j, out, JSON_INDENT(1) | JSON_ENSURE_ASCII) != 0 || fputc('\n', out) == EOF)
            status = fl_error(dg, FL_E_WRITE, FL_NOWHERE, "graph \"%s\" could not be written as JSON", g->name);
        json_decref(j);
    }
    fl_arena_deinit(&arena);
    return status;
}
