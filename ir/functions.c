#include "ir/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
