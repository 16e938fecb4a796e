/*
 * graph_names.c -- names of values and symbols, interned and found again. Tables are keyed by a number that each process draws
 * (fl_hash_name), so that no file can be made whose names all fall into one place.
 */
#include "ir/graph_names.h"

#include "ir/base/rng.h"

#include <stdio.h>
#include <string.h>

const char *fl_names_put(fl_graph *g, const char *text)
{
    const char *s = text ? fl_strpool_put(&g->names, text, strlen(text)) : NULL;
    if (text && !s)
        g->arena.failed = true;
    return s;
}

/*
 * Names are found through a table beside the pool: open addressing over value ids, kept in the arena and rebuilt by
 * doubling. Erased values leave their entries; look-ups compare the value's present name.
 */
struct fl_name_table {
    fl_id *slots; /* value id + 1; 0 is free */
    uint32_t n_slots, n_used;
    uint32_t *taken; /* [n_taken] by value: the last number that its name was given as a base; 0: none, or few */
    uint32_t n_taken;
    uint32_t *symbol_slots; /* symbol + 1; 0 is free */
    uint32_t n_symbol_slots;
};

static struct fl_name_table *table_of(fl_graph *g)
{
    if (!g->name_table)
        g->name_table = fl_arena_new(&g->arena, struct fl_name_table, 1);
    return g->name_table;
}

static void name_insert(struct fl_name_table *t, const char *name, fl_id id)
{
    uint32_t i = (uint32_t)fl_hash_name(name, strlen(name)) & (t->n_slots - 1);
    while (t->slots[i])
        i = (i + 1) & (t->n_slots - 1);
    t->slots[i] = id + 1;
    t->n_used++;
}

bool fl_names_add(fl_graph *g, fl_id id)
{
    struct fl_name_table *t = table_of(g);
    if (!t)
        return false;
    if (2 * (t->n_used + 1) > t->n_slots) {
        uint32_t want = t->n_slots ? 2 * t->n_slots : 128;
        while (want < 2 * g->n_values)
            want *= 2;
        fl_id *slots = fl_arena_new(&g->arena, fl_id, want);
        if (!slots)
            return false;
        t->slots = slots;
        t->n_slots = want;
        t->n_used = 0;
        for (fl_id v = 0; v < g->n_values; v++)
            if (g->values[v].name && v != id)
                name_insert(t, g->values[v].name, v);
    }
    name_insert(t, g->values[id].name, id);
    return true;
}

/* A fresh table of all names: the first one that is added brings the others. */
void fl_names_index(fl_graph *g)
{
    g->name_table = NULL;
    for (fl_id v = 0; v < g->n_values; v++) {
        if (g->values[v].name) {
            g->arena.failed |= !fl_names_add(g, v);
            return;
        }
    }
}

fl_id fl_graph_find(const fl_graph *g, const char *name)
{
    const struct fl_name_table *t = g->name_table;
    if (!t || t->n_slots == 0)
        return FL_NONE;
    uint32_t i = (uint32_t)fl_hash_name(name, strlen(name)) & (t->n_slots - 1);
    for (; t->slots[i]; i = (i + 1) & (t->n_slots - 1)) {
        const char *other = g->values[t->slots[i] - 1].name;
        if (other && strcmp(other, name) == 0)
            return t->slots[i] - 1;
    }
    return FL_NONE;
}

/* Where the last number of `base`, the value's name, is noted; NULL out of memory. */
static uint32_t *taken_of(fl_graph *g, fl_id base)
{
    struct fl_name_table *t = g->name_table;
    if (base >= t->n_taken) {
        uint32_t want = g->n_values > 2 * t->n_taken ? g->n_values : 2 * t->n_taken, *grown = fl_arena_new(&g->arena, uint32_t, want);
        if (!grown)
            return NULL;
        if (t->n_taken)
            memcpy(grown, t->taken, t->n_taken * sizeof *grown);
        t->taken = grown;
        t->n_taken = want;
    }
    return &t->taken[base];
}

const char *fl_graph_fresh_name(fl_graph *g, const char *base)
{
    enum { FEW = 64 };
    fl_id value = fl_graph_find(g, base);
    if (value == FL_NONE)
        return base;
    uint32_t *last = taken_of(g, value);
    if (!last)
        return NULL;
    /* Gallop over taken numbers, so that many like names cost a few look-ups each; where there are very many, from the last one on. */
    char name[256];
    uint32_t taken = *last > 1 ? *last : 1, step = 1;
    for (;;) {
        snprintf(name, sizeof name, "%.240s_%u", base, taken + step);
        if (fl_graph_find(g, name) == FL_NONE) {
            if (step == 1) {
                *last = taken + 1 > FEW ? taken + 1 : 0;
                return fl_names_put(g, name);
            }
            step = 1;
            continue;
        }
        taken += step;
        step *= 2;
    }
}

void fl_value_rename(fl_graph *g, fl_id value, const char *name)
{
    if (value == FL_NONE)
        return;
    FL_ASSERT(fl_graph_find(g, name) == FL_NONE);
    g->values[value].name = fl_names_put(g, name);
    if (!g->values[value].name || !fl_names_add(g, value))
        g->arena.failed = true;
}

/* Names are interned, so a symbol is found by its address. */
static uint32_t symbol_slot(const struct fl_name_table *t, const fl_graph *g, const char *name)
{
    uint32_t i = (uint32_t)(fl_mix64((uintptr_t)name) & (t->n_symbol_slots - 1));
    while (t->symbol_slots[i] && g->symbols[t->symbol_slots[i] - 1] != name)
        i = (i + 1) & (t->n_symbol_slots - 1);
    return i;
}

static bool grow_symbols(fl_graph *g, struct fl_name_table *t)
{
    uint32_t want = t->n_symbol_slots ? 2 * t->n_symbol_slots : 32;
    while (want < 4 * g->n_symbols)
        want *= 2;
    t->symbol_slots = fl_arena_new(&g->arena, uint32_t, want);
    t->n_symbol_slots = t->symbol_slots ? want : 0;
    for (uint32_t s = 0; t->symbol_slots && s < g->n_symbols; s++)
        t->symbol_slots[symbol_slot(t, g, g->symbols[s])] = s + 1;
    return t->symbol_slots != NULL;
}

fl_dim fl_graph_symbol(fl_graph *g, const char *name)
{
    struct fl_name_table *t = table_of(g);
    const char *copy = fl_names_put(g, name);
    if (!t || !copy || (2 * (g->n_symbols + 1) > t->n_symbol_slots && !grow_symbols(g, t)))
        return 0;
    uint32_t i = symbol_slot(t, g, copy);
    if (t->symbol_slots[i])
        return FL_DIM_SYM(t->symbol_slots[i] - 1);
    if (!FL_PUSH(&g->arena, g->symbols, g->n_symbols, g->symbols_capacity, copy))
        return 0;
    t->symbol_slots[i] = g->n_symbols;
    return FL_DIM_SYM(g->n_symbols - 1);
}

fl_type fl_graph_import_type(fl_graph *g, const fl_graph *from, const fl_type *t)
{
    fl_type to = *t;
    for (int d = 0; d < t->rank; d++)
        if (FL_DIM_IS_SYM(t->dims[d]))
            to.dims[d] = fl_graph_symbol(g, from->symbols[FL_SYM_OF_DIM(t->dims[d])]);
    return to;
}
