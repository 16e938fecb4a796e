/*
 * cse.c -- merge nodes that compute the same.
 *
 * Two pure nodes are one if operator, operands (of a commutative operator in either order) and attributes are equal. One forward sweep
 * with a hash table: the first of equals stays, so ORDER holds. Random masks differ by their key and are never merged.
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

#include <stdlib.h>
#include <string.h>

static bool attr_equal(const fl_attr *a, const fl_attr *b)
{
    if (a->name != b->name || a->kind != b->kind || a->n != b->n)
        return false;
    switch (a->kind) {
    case FL_ATTR_INT:
        return a->as.i == b->as.i;
    case FL_ATTR_FLOAT:
        return memcmp(&a->as.f, &b->as.f, sizeof a->as.f) == 0 || FL_PLANTED("cse");
    case FL_ATTR_STRING:
        return a->as.s == b->as.s;
    case FL_ATTR_TENSOR: {
        const fl_tensor *s = a->as.tensor, *t = b->as.tensor;
        return s == t || (fl_type_equal(&s->type, &t->type) && s->bytes && t->bytes && s->length == t->length &&
                          memcmp(s->bytes, t->bytes, s->length) == 0);
    }
    case FL_ATTR_FLOATS:
        return a->n == 0 || memcmp(a->as.floats, b->as.floats, a->n * sizeof *a->as.floats) == 0;
    case FL_ATTR_INTS:
        return a->n == 0 || memcmp(a->as.ints, b->as.ints, a->n * sizeof *a->as.ints) == 0;
    case FL_ATTR_STRINGS:
        for (uint32_t i = 0; i < a->n; i++)
            if (strcmp(a->as.strings[i], b->as.strings[i]) != 0)
                return false;
        return true;
    }
    return false;
}

static bool node_equal(const fl_node *a, const fl_node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_attr != b->n_attr)
        return false;
    bool same = true;
    for (uint32_t k = 0; k < a->n_in; k++)
        same = same && a->in[k] == b->in[k];
    if (!same && !(fl_op_has(a->op, FL_COMMUTATIVE) && a->in[0] == b->in[1] && a->in[1] == b->in[0]))
        return false;
    for (uint32_t k = 0; k < a->n_attr; k++) {
        uint32_t j = 0;
        while (j < b->n_attr && b->attr[j].name != a->attr[k].name)
            j++;
        if (j == b->n_attr || !attr_equal(&a->attr[k], &b->attr[j]))
            return false;
    }
    return true;
}

/* Of what attr_equal compares; of a large tensor its beginning, so that what is mapped stays where it is. */
static uint64_t attr_hash(const fl_attr *a)
{
    enum { BEGINNING = 4096 };
    uint64_t h = fl_hash_bytes(&a->name, sizeof a->name, (uint64_t)a->kind + ((uint64_t)a->n << 8));
    switch (a->kind) {
    case FL_ATTR_INT:
        return fl_hash_bytes(&a->as.i, sizeof a->as.i, h);
    case FL_ATTR_FLOAT:
        return FL_PLANTED("cse") ? h : fl_hash_bytes(&a->as.f, sizeof a->as.f, h);
    case FL_ATTR_STRING:
        return fl_hash_bytes(&a->as.s, sizeof a->as.s, h);
    case FL_ATTR_TENSOR: {
        const fl_tensor *t = a->as.tensor;
        return t->bytes ? fl_hash_bytes(t->bytes, t->length < BEGINNING ? (size_t)t->length : BEGINNING, h ^ t->length) : h;
    }
    case FL_ATTR_FLOATS:
        return a->n ? fl_hash_bytes(a->as.floats, a->n * sizeof *a->as.floats, h) : h;
    case FL_ATTR_INTS:
        return a->n ? fl_hash_bytes(a->as.ints, a->n * sizeof *a->as.ints, h) : h;
    case FL_ATTR_STRINGS:
        for (uint32_t i = 0; i < a->n; i++)
            h = fl_hash_bytes(a->as.strings[i], strlen(a->as.strings[i]), h);
        return h;
    }
    return h;
}

static uint64_t node_hash(const fl_node *n)
{
    bool swap = fl_op_has(n->op, FL_COMMUTATIVE) && n->in[0] > n->in[1];
    uint64_t h = swap ? fl_hash_bytes((fl_id[]){n->in[1], n->in[0]}, 2 * sizeof(fl_id), (uint64_t)n->op)
                      : fl_hash_bytes(n->in, n->n_in * sizeof *n->in, (uint64_t)n->op);
    for (uint32_t k = 0; k < n->n_attr; k++) /* in any order */
        h += attr_hash(&n->attr[k]);
    return h;
}

/* True if every result of `dead` could be handed to `kept`. */
static bool merge(fl_rewriter *r, fl_id kept, fl_id dead)
{
    fl_graph *g = r->g;
    bool all = true;
    for (uint32_t k = 0; k < g->nodes[dead].n_out; k++) {
        fl_id old = g->nodes[dead].out[k], with = g->nodes[kept].out[k];
        if (old == FL_NONE)
            continue;
        if (with == FL_NONE) { /* the first of the two did not want it: it moves over */
            g->nodes[kept].out[k] = old;
            g->nodes[dead].out[k] = FL_NONE;
            g->values[old].node = kept;
        } else {
            all = fl_rewriter_put(r, old, with) && all;
        }
    }
    return all;
}

fl_status fl_pass_cse(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    uint32_t n_slots = 64;
    while (n_slots < 2 * g->n_nodes)
        n_slots *= 2;
    fl_id *slots = fl_arena_new(&cx->scratch, fl_id, n_slots); /* node id + 1 */
    if (!slots || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_node *n = &g->nodes[i];
        if (n->op == FL_OP_NOP || !fl_op_has(n->op, FL_PURE))
            continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            n->in[k] = fl_rewriter_get(&r, n->in[k]);
        uint32_t s = (uint32_t)node_hash(n) & (n_slots - 1);
        while (slots[s] && !node_equal(&g->nodes[slots[s] - 1], n))
            s = (s + 1) & (n_slots - 1);
        if (!slots[s])
            slots[s] = i + 1;
        else if (merge(&r, slots[s] - 1, i)) {
            fl_node_erase(g, i);
            cx->n_changed++;
        }
    }
    fl_rewriter_apply(&r);
    return FL_OK;
}
