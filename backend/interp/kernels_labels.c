/*
 * kernels_labels.c -- LabelEncoder of ai.onnx.ml: one list of keys to one of values. Strings are addresses of their texts.
 */
#include "backend/interp/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A key of any kind, and its place in the list. */
typedef struct key {
    fl_attr_kind kind;
    const char *s;
    int64_t i;
    double f;
    uint32_t place;
} key;

static int order(const key *a, const key *b)
{
    if (a->kind == FL_ATTR_STRINGS)
        return strcmp(a->s, b->s);
    if (a->kind == FL_ATTR_INTS)
        return (a->i > b->i) - (a->i < b->i);
    return (a->f > b->f) - (a->f < b->f);
}

/* Among equal keys the last one counts, as in a dictionary that is filled in order. */
static int by_key(const void *a, const void *b)
{
    const key *x = a, *y = b;
    int way = order(x, y);
    return way ? way : (x->place > y->place) - (x->place < y->place);
}

static const fl_attr *list_of(const fl_call *c, const char *what)
{
    static const char *const kinds[] = {"strings", "int64s", "floats"};
    for (size_t k = 0; k < FL_COUNT(kinds); k++) {
        char name[32];
        snprintf(name, sizeof name, "%s_%s", what, kinds[k]);
        const fl_attr *a = fl_node_attr(c->g, c->node, name);
        if (a && (a->kind == FL_ATTR_STRINGS || a->kind == FL_ATTR_INTS || a->kind == FL_ATTR_FLOATS))
            return a;
    }
    return NULL;
}

/* The last key that is not greater, if it is equal. */
static const key *find(const key *keys, uint32_t n, const key *wanted)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (order(&keys[middle], wanted) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && order(&keys[low - 1], wanted) == 0 ? &keys[low - 1] : NULL;
}

fl_status fl_kernel_label_encoder(fl_call *c)
{
    const fl_attr *keys = list_of(c, "keys"), *values = list_of(c, "values");
    const fl_array *x = c->in[0];
    if (!keys || !values || keys->n != values->n || (keys->kind == FL_ATTR_FLOATS) != (x->f != NULL) ||
        (keys->kind == FL_ATTR_STRINGS) != (x->dtype == FL_STRING))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "keys, values and operand do not fit each other");
    key *sorted = fl_arena_new(c->arena, key, keys->n);
    if (!sorted)
        return fl_out_of_memory(c->diag);
    for (uint32_t k = 0; k < keys->n; k++) {
        sorted[k] = (key){.kind = keys->kind, .place = k};
        if (keys->kind == FL_ATTR_STRINGS)
            sorted[k].s = keys->as.strings[k];
        else if (keys->kind == FL_ATTR_INTS)
            sorted[k].i = keys->as.ints[k];
        else
            sorted[k].f = keys->as.floats[k];
    }
    qsort(sorted, keys->n, sizeof *sorted, by_key);
    fl_dtype t = values->kind == FL_ATTR_STRINGS ? FL_STRING : values->kind == FL_ATTR_INTS ? FL_INT64 : FL_FLOAT;
    const char *text = fl_node_string(c->g, c->node, "default_string", "_Unused");
    int64_t number = fl_node_int(c->g, c->node, "default_int64", -1);
    double real = fl_node_float(c->g, c->node, "default_float", -0.0);
    FL_TRY(fl_call_new(c, &c->out[0], t, x->rank, x->dims));
    for (int64_t j = 0; j < x->n; j++) {
        key wanted = {.kind = keys->kind, .i = x->i ? x->i[j] : 0, .f = x->f ? x->f[j] : 0};
        if (keys->kind == FL_ATTR_STRINGS)
            wanted.s = (const char *)(intptr_t)x->i[j];
        const key *found = find(sorted, keys->n, &wanted);
        if (t == FL_STRING)
            c->out[0].i[j] = (int64_t)(intptr_t)(found ? values->as.strings[found->place] : text);
        else if (t == FL_INT64)
            c->out[0].i[j] = found ? values->as.ints[found->place] : number;
        else
            c->out[0].f[j] = found ? values->as.floats[found->place] : real;
    }
    return FL_OK;
}
