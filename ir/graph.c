#include "ir/graph.h"

#include "ir/graph_names.h"
#include "ir/shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------- life and names */

fl_graph *fl_graph_new(const char *name)
{
    fl_graph *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    fl_arena_init(&g->arena);
    fl_strpool_init(&g->names, &g->arena);
    g->name = fl_strpool_put(&g->names, name, strlen(name));
    return g;
}

void fl_graph_free(fl_graph *g)
{
    if (!g)
        return;
    for (uint32_t i = 0; i < g->n_functions; i++)
        fl_graph_free(g->functions[i]);
    fl_arena_deinit(&g->arena);
    free(g);
}

fl_status fl_graph_ok(const fl_graph *g, fl_diag *dg)
{
    return g && !g->arena.failed ? FL_OK : fl_out_of_memory(dg);
}

static fl_id value_new(fl_graph *g, const char *name, fl_type type, fl_value_kind kind)
{
    fl_value v = {.name = fl_names_put(g, name), .type = type, .kind = kind, .node = FL_NONE};
    if (!v.name || !FL_PUSH(&g->arena, g->values, g->n_values, g->values_capacity, v) || !fl_names_add(g, g->n_values - 1)) {
        g->arena.failed = true;
        return FL_NONE;
    }
    return g->n_values - 1;
}

/* ---------------------------------------------------------------------------------------------------- leaves */

fl_id fl_graph_input(fl_graph *g, const char *name, fl_type type)
{
    fl_id v = value_new(g, name, type, FL_VALUE_INPUT);
    if (v == FL_NONE || !FL_PUSH(&g->arena, g->inputs, g->n_inputs, g->inputs_capacity, v))
        return FL_NONE;
    return v;
}

static fl_id declare(fl_graph *g, const char *name, fl_type type, fl_value_kind kind)
{
    fl_id v = value_new(g, name, type, kind);
    if (v == FL_NONE || !FL_PUSH(&g->arena, g->variables, g->n_variables, g->variables_capacity, v))
        return FL_NONE;
    return v;
}

fl_id fl_graph_variable(fl_graph *g, const char *name, fl_type type)
{
    return declare(g, name, type, FL_VALUE_VARIABLE);
}

fl_id fl_graph_constant(fl_graph *g, const char *name, fl_type type, const void *bytes)
{
    fl_id v = declare(g, name, type, FL_VALUE_CONSTANT);
    size_t n = (size_t)fl_type_elements(&type) * fl_dtype_size(type.dtype);
    fl_tensor *t = fl_arena_new(&g->arena, fl_tensor, 1);
    void *copy = fl_arena_alloc(&g->arena, n);
    if (v == FL_NONE || !t || !copy)
        return FL_NONE;
    if (n)
        memcpy(copy, bytes, n);
    *t = (fl_tensor){.type = type, .bytes = copy, .length = n};
    g->values[v].data = t;
    return v;
}

fl_id fl_graph_constant_ints(fl_graph *g, const char *name, const int64_t *ints, uint32_t n)
{
    fl_dim dim = n;
    return fl_graph_constant(g, name, fl_type_make(FL_INT64, 1, &dim), ints);
}

void fl_graph_output(fl_graph *g, fl_id value)
{
    if (value != FL_NONE)
        (void)FL_PUSH(&g->arena, g->outputs, g->n_outputs, g->outputs_capacity, value);
}

void fl_graph_update(fl_graph *g, fl_id variable, fl_id next)
{
    fl_update u = {variable, next};
    if (variable != FL_NONE && next != FL_NONE)
        (void)FL_PUSH(&g->arena, g->updates, g->n_updates, g->updates_capacity, u);
}

void fl_graph_param(fl_graph *g, fl_param p)
{
    if (p.variable != FL_NONE)
        (void)FL_PUSH(&g->arena, g->params, g->n_params, g->params_capacity, p);
}

fl_param *fl_graph_find_param(const fl_graph *g, fl_id variable)
{
    for (uint32_t i = 0; i < g->n_params; i++)
        if (g->params[i].variable == variable)
            return &g->params[i];
    return NULL;
}

void fl_graph_set_meta(fl_graph *g, const char *key, const char *value)
{
    const char *v = fl_names_put(g, value), *k = fl_names_put(g, key);
    if (!v || !k)
        return;
    for (uint32_t i = 0; i < g->n_meta; i++) {
        if (g->meta_keys[i] == k) {
            g->meta_values[i] = v;
            return;
        }
    }
    uint32_t n = g->n_meta;
    if (FL_PUSH(&g->arena, g->meta_values, n, g->meta_values_capacity, v))
        (void)FL_PUSH(&g->arena, g->meta_keys, g->n_meta, g->meta_keys_capacity, k);
}

const char *fl_graph_get_meta(const fl_graph *g, const char *key)
{
    for (uint32_t i = 0; i < g->n_meta; i++)
        if (strcmp(g->meta_keys[i], key) == 0)
            return g->meta_values[i];
    return NULL;
}

/* ----------------------------------------------------------------------------------------------------- nodes */

fl_id fl_node_new(fl_graph *g, fl_op op, const char *base, const fl_id *in, uint32_t n_in, uint32_t n_out)
{
    FL_ASSERT(n_in < UINT16_MAX && n_out < UINT16_MAX);
    fl_node n = {.op = op, .n_in = (uint16_t)n_in, .n_out = (uint16_t)n_out};
    n.in = fl_arena_new(&g->arena, fl_id, n_in);
    n.out = fl_arena_new(&g->arena, fl_id, n_out);
    if (!n.in || !n.out || !FL_PUSH(&g->arena, g->nodes, g->n_nodes, g->nodes_capacity, n))
        return FL_NONE;
    fl_id id = g->n_nodes - 1;
    for (uint32_t i = 0; i < n_in; i++)
        n.in[i] = in[i];
    for (uint32_t i = 0; i < n_out; i++) {
        const char *want = n_out == 1 ? base : fl_arena_printf(&g->arena, "%s_%u", base, i);
        const char *name = want ? fl_graph_fresh_name(g, want) : NULL;
        n.out[i] = name ? value_new(g, name, FL_TYPE_UNKNOWN, FL_VALUE_NODE) : FL_NONE;
        if (n.out[i] == FL_NONE)
            return FL_NONE;
        g->values[n.out[i]].node = id;
        g->values[n.out[i]].out = i;
    }
    return id;
}

fl_id fl_node_out(const fl_graph *g, fl_id node, uint32_t out)
{
    return node == FL_NONE ? FL_NONE : g->nodes[node].out[out];
}

static void set_attr(fl_graph *g, fl_id node, fl_attr a)
{
    if (node == FL_NONE || !a.name)
        return;
    fl_node *n = &g->nodes[node];
    for (uint32_t i = 0; i < n->n_attr; i++) {
        if (n->attr[i].name == a.name) {
            n->attr[i] = a;
            return;
        }
    }
    fl_attr *grown = fl_arena_new(&g->arena, fl_attr, n->n_attr + 1u);
    if (!grown)
        return;
    if (n->n_attr)
        memcpy(grown, n->attr, n->n_attr * sizeof *grown);
    grown[n->n_attr++] = a;
    n->attr = grown;
}

void fl_node_set_int(fl_graph *g, fl_id node, const char *attr, int64_t i)
{
    set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_INT, .as.i = i});
}

void fl_node_set_ints(fl_graph *g, fl_id node, const char *attr, const int64_t *ints, uint32_t n)
{
    int64_t *copy = fl_arena_new(&g->arena, int64_t, n);
    if (!copy)
        return;
    for (uint32_t i = 0; i < n; i++)
        copy[i] = ints[i];
    set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_INTS, .n = n, .as.ints = copy});
}

void fl_node_set_float(fl_graph *g, fl_id node, const char *attr, double f)
{
    set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_FLOAT, .as.f = f});
}

void fl_node_set_floats(fl_graph *g, fl_id node, const char *attr, const double *floats, uint32_t n)
{
    double *copy = fl_arena_new(&g->arena, double, n);
    if (!copy)
        return;
    for (uint32_t i = 0; i < n; i++)
        copy[i] = floats[i];
    set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_FLOATS, .n = n, .as.floats = copy});
}

void fl_node_set_string(fl_graph *g, fl_id node, const char *attr, const char *s)
{
    set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_STRING, .as.s = fl_names_put(g, s)});
}

static fl_tensor *copy_tensor(fl_graph *g, const fl_tensor *t)
{
    fl_tensor *copy = fl_arena_new(&g->arena, fl_tensor, 1);
    if (!copy)
        return NULL;
    *copy = *t;
    copy->location = fl_names_put(g, t->location);
    if (t->bytes) {
        void *bytes = fl_arena_alloc(&g->arena, t->length);
        if (!bytes)
            return NULL;
        memcpy(bytes, t->bytes, t->length);
        copy->bytes = bytes;
    }
    return copy;
}

void fl_node_set_tensor(fl_graph *g, fl_id node, const char *attr, const fl_tensor *t)
{
    fl_tensor *copy = copy_tensor(g, t);
    if (copy)
        set_attr(g, node, (fl_attr){.name = fl_names_put(g, attr), .kind = FL_ATTR_TENSOR, .as.tensor = copy});
}

const fl_attr *fl_node_attr(const fl_graph *g, fl_id node, const char *attr)
{
    const fl_node *n = &g->nodes[node];
    for (uint32_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, attr) == 0)
            return &n->attr[i];
    return NULL;
}

int64_t fl_node_int(const fl_graph *g, fl_id node, const char *attr, int64_t otherwise)
{
    const fl_attr *a = fl_node_attr(g, node, attr);
    return a && a->kind == FL_ATTR_INT ? a->as.i : otherwise;
}

double fl_node_float(const fl_graph *g, fl_id node, const char *attr, double otherwise)
{
    const fl_attr *a = fl_node_attr(g, node, attr);
    return a && a->kind == FL_ATTR_FLOAT ? a->as.f : otherwise;
}

const char *fl_node_string(const fl_graph *g, fl_id node, const char *attr, const char *otherwise)
{
    const fl_attr *a = fl_node_attr(g, node, attr);
    return a && a->kind == FL_ATTR_STRING ? a->as.s : otherwise;
}

void fl_node_erase(fl_graph *g, fl_id node)
{
    fl_node *n = &g->nodes[node];
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE)
            g->values[n->out[i]].name = NULL;
    *n = (fl_node){.op = FL_OP_NOP};
}

/* ------------------------------------------------------------------------------------------------ shorthands */

void fl_build_infer(fl_graph *g, fl_id node)
{
    if (node == FL_NONE || g->arena.failed)
        return;
    fl_status ignored = fl_shape_infer_node(g, node, NULL);
    (void)ignored; /* wrong operands are found by the verifier, with words */
}

fl_id fl_build_n(fl_graph *g, fl_op op, const char *base, const fl_id *in, uint32_t n)
{
    fl_id node = fl_node_new(g, op, base, in, n, 1);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_1(fl_graph *g, fl_op op, const char *base, fl_id a)
{
    return fl_build_n(g, op, base, &a, 1);
}

fl_id fl_build_2(fl_graph *g, fl_op op, const char *base, fl_id a, fl_id b)
{
    return fl_build_n(g, op, base, (fl_id[]){a, b}, 2);
}

fl_id fl_build_scalar(fl_graph *g, const char *base, double f)
{
    fl_id node = fl_node_new(g, FL_OP_CONSTANT, base, NULL, 0, 1);
    fl_node_set_float(g, node, "value_float", f);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_ints(fl_graph *g, const char *base, const int64_t *ints, uint32_t n)
{
    fl_id node = fl_node_new(g, FL_OP_CONSTANT, base, NULL, 0, 1);
    fl_node_set_ints(g, node, "value_ints", ints, n);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_reduce_sum(fl_graph *g, const char *base, fl_id x, const int64_t *axes, uint32_t n, bool keep_dims)
{
    fl_id in[2] = {x, fl_build_ints(g, "axes", axes, n)};
    fl_id node = fl_node_new(g, FL_OP_REDUCE_SUM, base, in, 2, 1);
    fl_node_set_int(g, node, "keepdims", keep_dims);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_reshape(fl_graph *g, const char *base, fl_id x, const int64_t *shape, uint32_t n)
{
    return fl_build_2(g, FL_OP_RESHAPE, base, x, fl_build_ints(g, "shape", shape, n));
}

fl_id fl_build_transpose(fl_graph *g, const char *base, fl_id x)
{
    fl_id node = fl_node_new(g, FL_OP_TRANSPOSE, base, &x, 1, 1);
    fl_node_set_ints(g, node, "perm", (int64_t[]){1, 0}, 2);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

fl_id fl_build_concat(fl_graph *g, const char *base, const fl_id *in, uint32_t n, int64_t axis)
{
    fl_id node = fl_node_new(g, FL_OP_CONCAT, base, in, n, 1);
    fl_node_set_int(g, node, "axis", axis);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

void fl_build_split(fl_graph *g, const char *base, fl_id x, int64_t axis, const int64_t *sizes, uint32_t n, fl_id *out)
{
    fl_id in[2] = {x, fl_build_ints(g, "sizes", sizes, n)};
    fl_id node = fl_node_new(g, FL_OP_SPLIT, base, in, 2, n);
    fl_node_set_int(g, node, "axis", axis);
    fl_build_infer(g, node);
    for (uint32_t i = 0; i < n; i++)
        out[i] = fl_node_out(g, node, i);
}

/* --------------------------------------------------------------------------------------- reading and changing */

const fl_tensor *fl_value_tensor(const fl_graph *g, fl_id value)
{
    if (value == FL_NONE)
        return NULL;
    if (g->values[value].kind == FL_VALUE_CONSTANT)
        return g->values[value].data;
    fl_id node = fl_value_is(g, value, FL_OP_CONSTANT);
    const fl_attr *a = node == FL_NONE ? NULL : fl_node_attr(g, node, "value");
    return a && a->kind == FL_ATTR_TENSOR ? a->as.tensor : NULL;
}

bool fl_value_scalar(const fl_graph *g, fl_id value, double *f)
{
    fl_id node = fl_value_is(g, value, FL_OP_CONSTANT);
    if (node != FL_NONE) {
        const fl_attr *a = &g->nodes[node].attr[0];
        if (g->nodes[node].n_attr != 1)
            return false;
        if (strcmp(a->name, "value_float") == 0)
            return *f = a->as.f, true;
        if (strcmp(a->name, "value_int") == 0)
            return *f = (double)a->as.i, true;
        if (strcmp(a->name, "value_floats") == 0 && a->n == 1)
            return *f = a->as.floats[0], true;
        if (strcmp(a->name, "value_ints") == 0 && a->n == 1)
            return *f = (double)a->as.ints[0], true;
    }
    const fl_tensor *t = fl_value_tensor(g, value);
    if (!t || !t->bytes || t->type.dtype == FL_STRING || fl_type_elements(&t->type) != 1)
        return false;
    *f = t->type.dtype == FL_FLOAT ? fl_widen((float)fl_tensor_get_double(t, 0)) : fl_tensor_get_double(t, 0);
    return true;
}

bool fl_value_ints(const fl_graph *g, fl_id value, int64_t *ints, uint32_t max, uint32_t *n)
{
    fl_id node = fl_value_is(g, value, FL_OP_CONSTANT);
    const fl_attr *a = node == FL_NONE ? NULL : fl_node_attr(g, node, "value_ints");
    if (a && a->kind == FL_ATTR_INTS) {
        if (a->n > max)
            return false;
        for (uint32_t i = 0; i < a->n; i++)
            ints[i] = a->as.ints[i];
        return *n = a->n, true;
    }
    a = node == FL_NONE ? NULL : fl_node_attr(g, node, "value_int");
    if (a && a->kind == FL_ATTR_INT && max >= 1)
        return ints[0] = a->as.i, *n = 1, true;
    const fl_tensor *t = fl_value_tensor(g, value);
    if (!t || !t->bytes || (t->type.dtype != FL_INT64 && t->type.dtype != FL_INT32))
        return false;
    int64_t count = fl_type_elements(&t->type);
    if (count < 0 || count > max)
        return false;
    for (int64_t i = 0; i < count; i++)
        ints[i] = fl_tensor_get_int(t, i);
    return *n = (uint32_t)count, true;
}

uint32_t *fl_graph_count_uses(const fl_graph *g, fl_arena *scratch)
{
    uint32_t *uses = fl_arena_new(scratch, uint32_t, g->n_values);
    if (!uses)
        return NULL;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE)
                uses[g->nodes[i].in[k]]++;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        uses[g->outputs[i]]++;
    for (uint32_t i = 0; i < g->n_updates; i++)
        uses[g->updates[i].next]++;
    return uses;
}

void fl_graph_replace_all(fl_graph *g, fl_id *map)
{
    for (uint32_t v = 0; v < g->n_values; v++) { /* follow chains, shortening them */
        fl_id to = map[v];
        while (map[to] != to)
            to = map[to];
        map[v] = to;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE)
                g->nodes[i].in[k] = map[g->nodes[i].in[k]];
    for (uint32_t i = 0; i < g->n_outputs; i++)
        g->outputs[i] = map[g->outputs[i]];
    for (uint32_t i = 0; i < g->n_updates; i++)
        g->updates[i].next = map[g->updates[i].next];
}

void fl_graph_replace(fl_graph *g, fl_id old, fl_id with)
{
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] == old)
                g->nodes[i].in[k] = with;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == old)
            g->outputs[i] = with;
    for (uint32_t i = 0; i < g->n_updates; i++)
        if (g->updates[i].next == old)
            g->updates[i].next = with;
}

/* Move the nodes to `order` (ids of old nodes, NOPs left out) and repair the producers of values. */
static void reorder(fl_graph *g, fl_node *nodes, uint32_t n)
{
    g->nodes = nodes;
    g->n_nodes = g->nodes_capacity = n;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < nodes[i].n_out; k++)
            if (nodes[i].out[k] != FL_NONE)
                g->values[nodes[i].out[k]].node = i;
}

/* Depth-first from each node in turn, with a stack of our own: stable, because a node moves only behind what it reads. */
fl_status fl_graph_sort(fl_graph *g, fl_diag *dg)
{
    enum { WHITE, GREY, BLACK };
    fl_arena scratch;
    fl_arena_init(&scratch);
    uint8_t *colour = fl_arena_new(&scratch, uint8_t, g->n_nodes);
    uint16_t *next = fl_arena_new(&scratch, uint16_t, g->n_nodes);
    fl_id *stack = fl_arena_new(&scratch, fl_id, g->n_nodes);
    fl_node *sorted = fl_arena_new(&g->arena, fl_node, g->n_nodes);
    fl_status status = FL_OK;
    uint32_t n = 0;
    if (!colour || !next || !stack || !sorted) {
        fl_arena_deinit(&scratch);
        return fl_out_of_memory(dg);
    }
    for (fl_id root = 0; root < g->n_nodes && status == FL_OK; root++) {
        if (colour[root] != WHITE || g->nodes[root].op == FL_OP_NOP)
            continue;
        uint32_t depth = 0;
        stack[depth++] = root;
        colour[root] = GREY;
        while (depth > 0 && status == FL_OK) {
            fl_id top = stack[depth - 1];
            if (next[top] == g->nodes[top].n_in) {
                colour[top] = BLACK;
                sorted[n++] = g->nodes[top];
                depth--;
                continue;
            }
            fl_id producer = fl_value_node(g, g->nodes[top].in[next[top]++]);
            if (producer == FL_NONE || colour[producer] == BLACK)
                continue;
            if (colour[producer] == GREY) {
                fl_id out = g->nodes[producer].n_out ? g->nodes[producer].out[0] : FL_NONE;
                status = fl_error(dg, FL_E_VERIFY, g->nodes[producer].origin.loc, "the graph has a cycle through \"%s\" (%s)",
                                  out != FL_NONE && g->values[out].name ? g->values[out].name : "",
                                  fl_op_get(g->nodes[producer].op)->name);
                break;
            }
            colour[producer] = GREY;
            stack[depth++] = producer;
        }
    }
    if (status == FL_OK)
        reorder(g, sorted, n);
    fl_arena_deinit(&scratch);
    return status;
}

void fl_graph_order(fl_graph *g, const fl_id *order, uint32_t n)
{
    fl_node *nodes = fl_arena_new(&g->arena, fl_node, n);
    if (!nodes)
        return;
    for (uint32_t i = 0; i < n; i++)
        nodes[i] = g->nodes[order[i]];
    reorder(g, nodes, n);
}

/* New ids for the values that still have a name. */
static fl_id renumber(const fl_id *map, fl_id v)
{
    return v == FL_NONE ? FL_NONE : map[v];
}

void fl_graph_compact(fl_graph *g)
{
    fl_id *map = fl_arena_new(&g->arena, fl_id, g->n_values);
    fl_value *values = fl_arena_new(&g->arena, fl_value, g->n_values);
    fl_node *nodes = fl_arena_new(&g->arena, fl_node, g->n_nodes);
    if (!map || !values || !nodes)
        return;
    uint32_t n_values = 0, n_nodes = 0;
    for (uint32_t v = 0; v < g->n_values; v++) {
        map[v] = g->values[v].name ? n_values : FL_NONE;
        if (g->values[v].name)
            values[n_values++] = g->values[v];
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_NOP)
            continue;
        nodes[n_nodes] = g->nodes[i];
        for (uint32_t k = 0; k < nodes[n_nodes].n_in; k++)
            nodes[n_nodes].in[k] = renumber(map, nodes[n_nodes].in[k]);
        for (uint32_t k = 0; k < nodes[n_nodes].n_out; k++)
            nodes[n_nodes].out[k] = renumber(map, nodes[n_nodes].out[k]);
        n_nodes++;
    }
    fl_id *lists[] = {g->inputs, g->variables, g->outputs};
    uint32_t lengths[] = {g->n_inputs, g->n_variables, g->n_outputs};
    for (size_t l = 0; l < FL_COUNT(lists); l++)
        for (uint32_t i = 0; i < lengths[l]; i++)
            lists[l][i] = renumber(map, lists[l][i]);
    for (uint32_t i = 0; i < g->n_updates; i++)
        g->updates[i] = (fl_update){renumber(map, g->updates[i].variable), renumber(map, g->updates[i].next)};
    for (uint32_t i = 0; i < g->n_params; i++)
        g->params[i].variable = renumber(map, g->params[i].variable);
    g->values = values;
    g->n_values = g->values_capacity = n_values;
    reorder(g, nodes, n_nodes);
    fl_names_index(g);
}

/* ----------------------------------------------------------------------------------------------------- clone */

static void copy_ids(fl_graph *to, fl_id **list, uint32_t *n, uint32_t *capacity, const fl_id *from, uint32_t count)
{
    *list = fl_arena_new(&to->arena, fl_id, count);
    if (*list && count)
        memcpy(*list, from, count * sizeof *from);
    *n = *capacity = *list ? count : 0;
}

static fl_origin copy_origin(fl_graph *to, fl_origin o)
{
    o.loc.file = fl_names_put(to, o.loc.file);
    o.pass = fl_names_put(to, o.pass);
    o.from = fl_names_put(to, o.from);
    return o;
}

static fl_attr copy_attr(fl_graph *to, const fl_attr *a)
{
    fl_attr c = *a;
    c.name = fl_names_put(to, a->name);
    switch (a->kind) {
    case FL_ATTR_INT:
    case FL_ATTR_FLOAT:
        break;
    case FL_ATTR_STRING:
        c.as.s = fl_names_put(to, a->as.s);
        break;
    case FL_ATTR_TENSOR:
        c.as.tensor = copy_tensor(to, a->as.tensor);
        break;
    case FL_ATTR_INTS: {
        int64_t *ints = fl_arena_new(&to->arena, int64_t, a->n);
        if (ints && a->n)
            memcpy(ints, a->as.ints, a->n * sizeof *ints);
        c.as.ints = ints;
        break;
    }
    case FL_ATTR_FLOATS: {
        double *floats = fl_arena_new(&to->arena, double, a->n);
        if (floats && a->n)
            memcpy(floats, a->as.floats, a->n * sizeof *floats);
        c.as.floats = floats;
        break;
    }
    case FL_ATTR_STRINGS: {
        const char **strings = fl_arena_new(&to->arena, const char *, a->n);
        for (uint32_t i = 0; strings && i < a->n; i++)
            strings[i] = fl_names_put(to, a->as.strings[i]);
        c.as.strings = strings;
        break;
    }
    }
    return c;
}

void fl_node_copy_attributes(fl_graph *g, fl_id node, const fl_node *from)
{
    fl_attr *attr = fl_arena_new(&g->arena, fl_attr, from->n_attr);
    if (node == FL_NONE || !attr)
        return;
    for (uint32_t k = 0; k < from->n_attr; k++)
        attr[k] = copy_attr(g, &from->attr[k]);
    g->nodes[node].attr = attr;
    g->nodes[node].n_attr = from->n_attr;
}

fl_id fl_node_copy(fl_graph *g, const fl_graph *from, fl_id node, const fl_id *in)
{
    const fl_node *n = &from->nodes[node];
    /* Each under its own name at once, or one that no other copy has: the table of names would search long among many that were the same. */
    const char *first = n->n_out > 0 && n->out[0] != FL_NONE ? from->values[n->out[0]].name : "";
    const char *base = n->n_out == 1 ? first : fl_arena_printf(&g->arena, "ai.flen.copy.%s", first);
    fl_id id = base ? fl_node_new(g, n->op, *base ? base : "ai.flen.copy", in, n->n_in, n->n_out) : FL_NONE;
    if (id == FL_NONE)
        return FL_NONE;
    fl_node_copy_attributes(g, id, n);
    fl_node *copy = &g->nodes[id];
    copy->place = n->place;
    copy->name = fl_names_put(g, n->name);
    copy->origin = copy_origin(g, n->origin);
    for (uint32_t k = 0; k < n->n_out; k++) {
        fl_value *v = &g->values[copy->out[k]];
        if (n->out[k] == FL_NONE) {
            v->name = NULL;
            copy->out[k] = FL_NONE;
            continue;
        }
        const fl_value *w = &from->values[n->out[k]];
        v->type = fl_graph_import_type(g, from, &w->type);
        v->origin = copy_origin(g, w->origin);
        if (n->n_out == 1)
            continue;
        v->name = NULL;
        fl_value_rename(g, copy->out[k], fl_graph_fresh_name(g, w->name));
    }
    return id;
}

fl_graph *fl_graph_clone(const fl_graph *g)
{
    fl_graph *to = fl_graph_new(g->name);
    if (!to)
        return NULL;
    for (uint32_t i = 0; i < g->n_symbols; i++)
        (void)fl_graph_symbol(to, g->symbols[i]);
    for (uint32_t v = 0; v < g->n_values; v++) {
        fl_value c = g->values[v];
        c.name = fl_names_put(to, c.name);
        c.origin = copy_origin(to, c.origin);
        if (c.data && c.kind == FL_VALUE_CONSTANT)
            c.data = copy_tensor(to, c.data);
        if (!FL_PUSH(&to->arena, to->values, to->n_values, to->values_capacity, c))
            break;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        fl_node c = g->nodes[i];
        uint32_t capacity = 0;
        uint32_t n = 0;
        copy_ids(to, &c.in, &n, &capacity, g->nodes[i].in, c.n_in);
        copy_ids(to, &c.out, &n, &capacity, g->nodes[i].out, c.n_out);
        c.attr = fl_arena_new(&to->arena, fl_attr, c.n_attr);
        for (uint32_t k = 0; c.attr && k < c.n_attr; k++)
            c.attr[k] = copy_attr(to, &g->nodes[i].attr[k]);
        c.name = fl_names_put(to, c.name);
        c.origin = copy_origin(to, c.origin);
        if (!FL_PUSH(&to->arena, to->nodes, to->n_nodes, to->nodes_capacity, c))
            break;
    }
    copy_ids(to, &to->inputs, &to->n_inputs, &to->inputs_capacity, g->inputs, g->n_inputs);
    copy_ids(to, &to->variables, &to->n_variables, &to->variables_capacity, g->variables, g->n_variables);
    copy_ids(to, &to->outputs, &to->n_outputs, &to->outputs_capacity, g->outputs, g->n_outputs);
    for (uint32_t i = 0; i < g->n_updates; i++)
        fl_graph_update(to, g->updates[i].variable, g->updates[i].next);
    for (uint32_t i = 0; i < g->n_params; i++)
        fl_graph_param(to, g->params[i]);
    for (uint32_t i = 0; i < g->n_meta; i++)
        fl_graph_set_meta(to, g->meta_keys[i], g->meta_values[i]);
    for (uint32_t i = 0; i < g->n_functions; i++) {
        fl_graph *f = fl_graph_clone(g->functions[i]);
        if (!f || f->arena.failed || !FL_PUSH(&to->arena, to->functions, to->n_functions, to->functions_capacity, f)) {
            fl_graph_free(f);
            to->arena.failed = true;
        }
    }
    fl_names_index(to);
    return to;
}
