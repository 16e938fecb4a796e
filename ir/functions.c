#include "ir/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- calls */

const char *fl_function_name(const fl_graph *g, fl_id call)
{
    return fl_node_string(g, call, "function", "");
}

fl_graph *fl_function_of(const fl_graph *g, fl_id call)
{
    const char *name = fl_function_name(g, call);
    for (uint32_t i = 0; i < g->n_functions; i++)
        if (strcmp(g->functions[i]->name, name) == 0)
            return g->functions[i];
    return NULL;
}

bool fl_graph_has_calls(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_CALL)
            return true;
    return false;
}

void fl_graph_add_function(fl_graph *g, fl_graph *f)
{
    if (FL_PUSH(&g->arena, g->functions, g->n_functions, g->functions_capacity, f))
        return;
    fl_graph_free(f);
    g->arena.failed = true;
}

/* --------------------------------------------------------------------------------------------------- outlining */

typedef struct outline {
    fl_graph *g, *f;
    const bool *inside;
    fl_id *at;   /* by value of g: what it is in f; FL_NONE: nothing yet */
    fl_id *in;   /* of the call: values of g that are inputs of f, in order */
    fl_id *out;  /* values of g that are outputs of f */
    uint32_t n_in, n_out;
} outline;

/* A constant that rules of shapes may ask for: in the function it must be one, too. */
static bool is_small_constant(const fl_graph *g, fl_id v)
{
    const fl_value *value = &g->values[v];
    bool whole = value->type.dtype == FL_INT64 || value->type.dtype == FL_INT32;
    return value->kind == FL_VALUE_CONSTANT && whole && value->type.rank <= 1 && value->data && value->data->bytes;
}

/* The value in the function that stands for v, made outside of it. */
static fl_id enter(outline *o, fl_id v)
{
    fl_graph *g = o->g, *f = o->f;
    fl_id node = fl_value_is(g, v, FL_OP_CONSTANT);
    fl_type t = fl_graph_import_type(f, g, fl_value_type(g, v));
    if (node != FL_NONE)
        return fl_node_out(f, fl_node_copy(f, g, node, NULL), 0);
    if (is_small_constant(g, v))
        return fl_graph_constant(f, g->values[v].name, t, g->values[v].data->bytes);
    o->in[o->n_in++] = v;
    return fl_graph_input(f, g->values[v].name, t);
}

static bool copy_inside(outline *o, fl_id node, fl_arena *scratch)
{
    const fl_node *n = &o->g->nodes[node];
    fl_id *in = fl_arena_new(scratch, fl_id, n->n_in + 1u);
    for (uint32_t k = 0; in && k < n->n_in; k++) {
        fl_id v = n->in[k];
        if (v != FL_NONE && o->at[v] == FL_NONE)
            o->at[v] = enter(o, v);
        in[k] = v == FL_NONE ? FL_NONE : o->at[v];
    }
    fl_id copy = in ? fl_node_copy(o->f, o->g, node, in) : FL_NONE;
    for (uint32_t k = 0; copy != FL_NONE && k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            o->at[n->out[k]] = o->f->nodes[copy].out[k];
    return copy != FL_NONE;
}

/* Values of nodes inside that nodes outside, the graph's outputs or updates read. */
static bool find_results(outline *o, fl_arena *scratch)
{
    const fl_graph *g = o->g;
    bool *leaves = fl_arena_new(scratch, bool, g->n_values + 1u);
    if (!leaves)
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; !o->inside[i] && k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE)
                leaves[g->nodes[i].in[k]] = true;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        leaves[g->outputs[i]] = true;
    for (uint32_t i = 0; i < g->n_updates; i++)
        leaves[g->updates[i].next] = true;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; o->inside[i] && k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != FL_NONE && leaves[g->nodes[i].out[k]])
                o->out[o->n_out++] = g->nodes[i].out[k];
    return true;
}

/* The call takes the results over, under their ids; what else was made inside is gone. */
static fl_id put_call(outline *o, const char *name)
{
    fl_graph *g = o->g;
    uint32_t n_nodes = g->n_nodes;
    fl_id call = fl_node_new(g, FL_OP_CALL, "ai.flen.copy", o->in, o->n_in, o->n_out);
    fl_node_set_string(g, call, "function", name);
    if (call == FL_NONE || g->arena.failed)
        return FL_NONE;
    for (fl_id i = 0; i < n_nodes; i++) {
        for (uint32_t k = 0; o->inside[i] && k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != FL_NONE)
                g->values[g->nodes[i].out[k]].node = FL_NONE;
    }
    for (uint32_t k = 0; k < o->n_out; k++) {
        fl_value *v = &g->values[o->out[k]];
        g->values[g->nodes[call].out[k]].name = NULL;
        g->nodes[call].out[k] = o->out[k];
        v->node = call;
        v->out = k;
    }
    for (fl_id i = 0; i < n_nodes; i++) {
        for (uint32_t k = 0; o->inside[i] && k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != FL_NONE && g->values[g->nodes[i].out[k]].node == FL_NONE)
                g->values[g->nodes[i].out[k]].name = NULL;
        if (o->inside[i])
            g->nodes[i] = (fl_node){.op = FL_OP_NOP};
    }
    return call;
}

/* Nodes that need the call, directly or not, behind it; all others in front. */
static bool order_around(fl_graph *g, fl_id call, fl_arena *scratch)
{
    bool *after = fl_arena_new(scratch, bool, g->n_nodes + 1u);
    fl_id *order = fl_arena_new(scratch, fl_id, g->n_nodes + 1u);
    uint32_t n = 0;
    if (!after || !order)
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_NOP || i == call)
            continue;
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id producer = fl_value_node(g, g->nodes[i].in[k]);
            after[i] = after[i] || (producer != FL_NONE && (producer == call || after[producer]));
        }
        if (!after[i])
            order[n++] = i;
    }
    order[n++] = call;
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (after[i])
            order[n++] = i;
    fl_graph_order(g, order, n);
    return true;
}

fl_status fl_functions_outline(fl_graph *g, const char *name, const bool *inside, fl_diag *dg)
{
    fl_arena scratch;
    outline o = {.g = g, .f = fl_graph_new(name), .inside = inside};
    fl_arena_init(&scratch);
    o.at = fl_arena_new(&scratch, fl_id, g->n_values + 1u);
    o.in = fl_arena_new(&scratch, fl_id, g->n_values + 1u);
    o.out = fl_arena_new(&scratch, fl_id, g->n_values + 1u);
    bool ok = o.f && !scratch.failed;
    for (fl_id v = 0; ok && v < g->n_values; v++)
        o.at[v] = FL_NONE;
    for (fl_id i = 0; g->n_functions == 0 && i < g->n_nodes; i++) /* where it is not the first, they have their places */
        g->nodes[i].place = i + 1;
    for (fl_id i = 0; ok && i < g->n_nodes; i++)
        if (inside[i] && g->nodes[i].op != FL_OP_NOP)
            ok = copy_inside(&o, i, &scratch);
    ok = ok && find_results(&o, &scratch);
    for (uint32_t k = 0; ok && k < o.n_out; k++)
        fl_graph_output(o.f, o.at[o.out[k]]);
    ok = ok && !o.f->arena.failed;
    fl_id call = ok ? put_call(&o, name) : FL_NONE;
    ok = call != FL_NONE && order_around(g, call, &scratch);
    if (ok)
        fl_graph_add_function(g, o.f);
    else
        fl_graph_free(o.f);
    fl_arena_deinit(&scratch);
    return ok ? fl_graph_ok(g, dg) : fl_out_of_memory(dg);
}

/* ---------------------------------------------------------------------------------------------------- inlining */

static bool same_data(const fl_tensor *a, const fl_tensor *b)
{
    return a && b && fl_type_equal(&a->type, &b->type) && a->length == b->length && a->bytes && b->bytes && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Constant nodes have one attribute. */
static bool same_constant(const fl_node *a, const fl_node *b)
{
    if (a->n_attr != 1 || b->n_attr != 1 || strcmp(a->attr->name, b->attr->name) != 0 || a->attr->kind != b->attr->kind || a->attr->n != b->attr->n)
        return false;
    const fl_attr *x = a->attr, *y = b->attr;
    switch (x->kind) {
    case FL_ATTR_INT:
        return x->as.i == y->as.i;
    case FL_ATTR_FLOAT:
        return memcmp(&x->as.f, &y->as.f, sizeof x->as.f) == 0;
    case FL_ATTR_INTS:
        return x->n == 0 || memcmp(x->as.ints, y->as.ints, x->n * sizeof *x->as.ints) == 0;
    case FL_ATTR_FLOATS:
        return x->n == 0 || memcmp(x->as.floats, y->as.floats, x->n * sizeof *x->as.floats) == 0;
    case FL_ATTR_TENSOR:
        return same_data(x->as.tensor, y->as.tensor);
    case FL_ATTR_STRING:
    case FL_ATTR_STRINGS:
        return false;
    }
    return false;
}

/* The value of g that is the function's constant v, of the same name; FL_NONE if there is none. */
static fl_id known_constant(const fl_graph *g, const fl_graph *f, fl_id v)
{
    fl_id known = fl_graph_find(g, f->values[v].name), inside = fl_value_is(f, v, FL_OP_CONSTANT), outside = fl_value_is(g, known, FL_OP_CONSTANT);
    if (known == FL_NONE)
        return FL_NONE;
    if (inside != FL_NONE)
        return outside != FL_NONE && same_constant(&f->nodes[inside], &g->nodes[outside]) ? known : FL_NONE;
    return g->values[known].kind == FL_VALUE_CONSTANT && same_data(g->values[known].data, f->values[v].data) ? known : FL_NONE;
}

/* Output k of the copy: where it is a result of the call, it is made under the result's id and name. */
static fl_id take_result(fl_graph *g, fl_id copy, uint32_t k, fl_id result)
{
    fl_id made = g->nodes[copy].out[k];
    if (result == FL_NONE)
        return made;
    g->values[made].name = NULL;
    g->values[result].node = copy;
    g->values[result].out = k;
    g->nodes[copy].out[k] = result;
    return result;
}

/* f's nodes behind those of g, in the place of the call. */
static bool append(fl_graph *g, const fl_graph *f, fl_id call, fl_arena *scratch)
{
    const fl_node n = g->nodes[call];
    fl_id *at = fl_arena_new(scratch, fl_id, f->n_values + 1u), *result = fl_arena_new(scratch, fl_id, f->n_values + 1u);
    if (!at || !result)
        return false;
    for (fl_id v = 0; v < f->n_values; v++)
        result[v] = FL_NONE;
    for (uint32_t k = 0; k < f->n_outputs; k++)
        result[f->outputs[k]] = n.out[k];
    for (uint32_t k = 0; k < f->n_inputs; k++)
        at[f->inputs[k]] = n.in[k];
    for (uint32_t k = 0; k < f->n_variables; k++) {
        fl_id v = f->variables[k], known = known_constant(g, f, v);
        at[v] = known != FL_NONE ? known
                                 : fl_graph_constant(g, fl_graph_fresh_name(g, f->values[v].name), fl_graph_import_type(g, f, fl_value_type(f, v)), f->values[v].data->bytes);
    }
    for (fl_id i = 0; i < f->n_nodes; i++) {
        const fl_node *from = &f->nodes[i];
        if (from->op == FL_OP_NOP)
            continue;
        fl_id known = from->op == FL_OP_CONSTANT ? known_constant(g, f, from->out[0]) : FL_NONE;
        if (known != FL_NONE) {
            at[from->out[0]] = known;
            continue;
        }
        fl_id *in = fl_arena_new(scratch, fl_id, from->n_in + 1u);
        for (uint32_t k = 0; in && k < from->n_in; k++)
            in[k] = from->in[k] == FL_NONE ? FL_NONE : at[from->in[k]];
        fl_id copy = in ? fl_node_copy(g, f, i, in) : FL_NONE;
        if (copy == FL_NONE)
            return false;
        for (uint32_t k = 0; k < from->n_out; k++)
            if (from->out[k] != FL_NONE)
                at[from->out[k]] = take_result(g, copy, k, result[from->out[k]]);
    }
    return !g->arena.failed;
}

typedef struct placed {
    uint32_t place;
    fl_id node;
} placed;

static int compare_places(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* The order of old, where every node has a place in it. */
static void restore_order(const fl_graph *g, fl_id *order, uint32_t n, fl_arena *scratch)
{
    placed *list = fl_arena_new(scratch, placed, n + 1u);
    for (uint32_t k = 0; list && k < n; k++) {
        list[k] = (placed){g->nodes[order[k]].place, order[k]};
        if (list[k].place == 0)
            return;
    }
    if (!list)
        return;
    qsort(list, n, sizeof *list, compare_places);
    for (uint32_t k = 0; k < n; k++)
        order[k] = list[k].node;
}

static bool inline_calls(fl_graph *g, fl_arena *scratch)
{
    uint32_t n_nodes = g->n_nodes, n = 0, n_order = g->n_nodes + 1;
    for (fl_id i = 0; i < n_nodes; i++)
        n_order += g->nodes[i].op == FL_OP_CALL && fl_function_of(g, i) ? fl_function_of(g, i)->n_nodes : 0;
    fl_id *order = fl_arena_new(scratch, fl_id, n_order);
    for (fl_id i = 0; order && i < n_nodes; i++) {
        const fl_graph *f = g->nodes[i].op == FL_OP_CALL ? fl_function_of(g, i) : NULL;
        if (!f || f->n_inputs != g->nodes[i].n_in || f->n_outputs != g->nodes[i].n_out) {
            if (g->nodes[i].op != FL_OP_NOP)
                order[n++] = i; /* the verifier's to refuse */
            continue;
        }
        uint32_t first = g->n_nodes;
        if (!append(g, f, i, scratch))
            return false;
        g->nodes[i] = (fl_node){.op = FL_OP_NOP};
        for (fl_id k = first; k < g->n_nodes; k++)
            order[n++] = k;
    }
    if (order) {
        restore_order(g, order, n, scratch);
        fl_graph_order(g, order, n);
    }
    return order && !scratch->failed && !g->arena.failed;
}

fl_status fl_functions_inline(fl_graph *g, fl_diag *dg)
{
    fl_arena scratch;
    if (g->n_functions == 0)
        return FL_OK;
    fl_arena_init(&scratch);
    bool ok = inline_calls(g, &scratch);
    fl_arena_deinit(&scratch);
    for (uint32_t i = 0; ok && i < g->n_functions; i++)
        fl_graph_free(g->functions[i]);
    g->n_functions = ok ? 0 : g->n_functions;
    return ok ? fl_graph_sort(g, dg) : fl_out_of_memory(dg); /* it stays as it is, unless passes have changed what reads what */
}

/* --------------------------------------------------------------------------------------------------- comparing */

/*
 * Value numbering: each value gets a text of its operator, attributes and operands' texts, which are interned in one pool for both graphs, so that equal values
 * have the same pointer.
 */
typedef struct numbering {
    fl_strpool pool;
    fl_arena arena;
} numbering;

static bool put_attribute(FILE *out, const fl_attr *a)
{
    fprintf(out, "%s:%d:%u", a->name, (int)a->kind, a->n);
    switch (a->kind) {
    case FL_ATTR_INT:
        fprintf(out, "=%lld", (long long)a->as.i);
        break;
    case FL_ATTR_FLOAT:
        fprintf(out, "=%a", (double)(float)a->as.f);
        break;
    case FL_ATTR_STRING:
        fprintf(out, "=%zu:%s", strlen(a->as.s), a->as.s);
        break;
    case FL_ATTR_INTS:
        for (uint32_t i = 0; i < a->n; i++)
            fprintf(out, ",%lld", (long long)a->as.ints[i]);
        break;
    case FL_ATTR_FLOATS:
        for (uint32_t i = 0; i < a->n; i++)
            fprintf(out, ",%a", (double)(float)a->as.floats[i]);
        break;
    case FL_ATTR_STRINGS:
        for (uint32_t i = 0; i < a->n; i++)
            fprintf(out, ",%zu:%s", strlen(a->as.strings[i]), a->as.strings[i]);
        break;
    case FL_ATTR_TENSOR:
        return false;
    }
    fputc(';', out);
    return true;
}

/* A constant as its elements, however it is written. */
static void put_constant(FILE *out, const fl_graph *g, fl_id v)
{
    int64_t ints[64];
    uint32_t n;
    double f;
    const fl_tensor *t = fl_value_tensor(g, v);
    const fl_type *type = fl_value_type(g, v);
    fprintf(out, "constant %d %d", (int)type->dtype, (int)type->rank);
    for (int i = 0; i < type->rank; i++)
        fprintf(out, ",%lld", (long long)type->dims[i]);
    if (fl_value_ints(g, v, ints, (uint32_t)FL_COUNT(ints), &n)) {
        for (uint32_t i = 0; i < n; i++)
            fprintf(out, " %lld", (long long)ints[i]);
    } else if (fl_value_scalar(g, v, &f)) {
        fprintf(out, " %a", (double)(float)f);
    } else if (t && t->bytes) {
        for (uint64_t i = 0; i < t->length; i++)
            fprintf(out, "%02x", ((const uint8_t *)t->bytes)[i]);
    } else {
        const fl_node *node = fl_value_node(g, v) == FL_NONE ? NULL : &g->nodes[fl_value_node(g, v)];
        for (uint32_t k = 0; node && k < node->n_attr; k++)
            (void)put_attribute(out, &node->attr[k]);
    }
}

static bool put_node(FILE *out, const fl_graph *g, fl_id node, const char *const *number)
{
    const fl_node *n = &g->nodes[node];
    const char *last = "";
    bool ok = true;
    fprintf(out, "%s.%s/%u ", fl_op_get(n->op)->domain, fl_op_get(n->op)->name, n->n_out);
    for (uint32_t k = 0; k < n->n_attr; k++) { /* by name: their order says nothing */
        const fl_attr *next = NULL;
        for (uint32_t i = 0; i < n->n_attr; i++)
            if (strcmp(n->attr[i].name, last) > 0 && (!next || strcmp(n->attr[i].name, next->name) < 0))
                next = &n->attr[i];
        ok = next && put_attribute(out, next) && ok;
        last = next ? next->name : last;
    }
    for (uint32_t k = 0; k < n->n_in; k++)
        fprintf(out, "(%p)", n->in[k] == FL_NONE ? NULL : (const void *)number[n->in[k]]);
    return ok;
}

/* number[v] for every value of g; NULL if out of memory. */
static const char **number_values(numbering *s, const fl_graph *g)
{
    const char **number = fl_arena_alloc(&s->arena, (g->n_values + 1u) * sizeof *number);
    uint32_t n_opaque = 0;
    if (!number)
        return NULL;
    memset(number, 0, (g->n_values + 1u) * sizeof *number);
    for (uint32_t k = 0; k < g->n_inputs + g->n_variables + g->n_nodes; k++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        fl_id node = FL_NONE, v = FL_NONE;
        if (!out)
            return NULL;
        if (k < g->n_inputs) {
            v = g->inputs[k];
            fprintf(out, "input %u", k);
        } else if (k < g->n_inputs + g->n_variables) {
            v = g->variables[k - g->n_inputs];
            put_constant(out, g, v);
        } else {
            node = k - g->n_inputs - g->n_variables;
            if (g->nodes[node].op == FL_OP_CONSTANT)
                put_constant(out, g, g->nodes[node].out[0]);
            else if (!put_node(out, g, node, number))
                fprintf(out, "opaque %u %p", n_opaque++, (const void *)g);
        }
        bool ok = fclose(out) == 0;
        for (uint32_t i = 0; ok && i < (node == FL_NONE ? 1u : g->nodes[node].n_out); i++) {
            fl_id to = node == FL_NONE ? v : g->nodes[node].out[i];
            const char *full = fl_arena_printf(&s->arena, "%s #%u", text, i);
            if (to != FL_NONE && (!full || !(number[to] = fl_strpool_put(&s->pool, full, strlen(full)))))
                ok = false;
        }
        free(text);
        if (!ok)
            return NULL;
    }
    return number;
}

fl_status fl_functions_equal(const fl_graph *a, const fl_graph *b, bool *equal, uint32_t *differs, fl_diag *dg)
{
    numbering s;
    *equal = a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs;
    *differs = 0;
    if (!*equal)
        return FL_OK;
    fl_arena_init(&s.arena);
    fl_strpool_init(&s.pool, &s.arena);
    const char **x = number_values(&s, a), **y = x ? number_values(&s, b) : NULL;
    for (uint32_t k = 0; y && k < a->n_outputs && *equal; k++)
        if (x[a->outputs[k]] != y[b->outputs[k]]) {
            *equal = false;
            *differs = k;
        }
    fl_arena_deinit(&s.arena);
    return y ? FL_OK : fl_out_of_memory(dg);
}
