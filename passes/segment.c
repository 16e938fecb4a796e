/*
 * segment.c -- which nodes run together, and when.
 *
 * Every node has a domain (domain.h) and a phase: it runs one phase after what it depends on, or in the same phase, hence the same segment,
 * if both go over the same rows and it reads its own rows only. Nodes of one phase and domain make one segment. A variable's new value is
 * written over the old one, so whoever reads the old value (beyond the row in hand) is one more thing that its writer depends on.
 * Whoever would depend on itself that way, and new values that are not made by arithmetic or ScatterND, are written by an Identity.
 *
 * Cheap nodes that read no rows of others (masks, look-ups of inputs) sink to the phase of their first reader, where their result needs no buffer.
 * Within a segment chains of elementwise nodes stand together.
 *
 * Needs ORDER and SHAPES, and a graph without layers with a mode and optimisers. The graph is compacted and its nodes stand in the order of
 * segments; `g->schedule` has segments, and no storage until `plan-memory`.
 */
#include "passes/domain.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct cutter {
    fl_graph *g;
    fl_arena *a; /* pass scratch */
    fl_diag *diag;
    fl_node_domain *domain; /* by node */
    uint32_t *phase;        /* by node */
    fl_id *next_of;         /* by value: the variable whose next value it is, else FL_NONE */
    fl_id *next;            /* by value: the next value of a variable, else FL_NONE */
} cutter;

/* ------------------------------------------------------------------------------------------------- new values */

static bool may_write_variable(const fl_graph *g, fl_id v)
{
    fl_id node = fl_value_node(g, v);
    if (node == FL_NONE || fl_value_is_output(g, v))
        return false;
    fl_op op = g->nodes[node].op;
    return op == FL_OP_SCATTER_ND || (fl_op_has(op, FL_ELEMENTWISE) && !fl_op_has(op, FL_VIEW));
}

static void copy_next(fl_graph *g, fl_update *u)
{
    u->next = fl_build_1(g, FL_OP_IDENTITY, "next", u->next);
}

static void own_writers(fl_graph *g)
{
    for (uint32_t i = 0; i < g->n_updates; i++) {
        bool shared = false;
        for (uint32_t j = 0; j < i; j++)
            shared = shared || g->updates[j].next == g->updates[i].next;
        if (shared || !may_write_variable(g, g->updates[i].next))
            copy_next(g, &g->updates[i]);
    }
}

static fl_status index_updates(cutter *c)
{
    fl_graph *g = c->g;
    c->next_of = fl_arena_new(c->a, fl_id, g->n_values);
    c->next = fl_arena_new(c->a, fl_id, g->n_values);
    if (!c->next_of || !c->next)
        return fl_out_of_memory(c->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        c->next_of[v] = c->next[v] = FL_NONE;
    for (uint32_t i = 0; i < g->n_updates; i++) {
        c->next_of[g->updates[i].next] = g->updates[i].variable;
        c->next[g->updates[i].variable] = g->updates[i].next;
    }
    return FL_OK;
}

/* The node that overwrites what operand k of `node` reads, if that is another one; else FL_NONE. */
static fl_id overwriter(const cutter *c, fl_id node, uint32_t k)
{
    fl_id v = c->g->nodes[node].in[k];
    if (v == FL_NONE || c->next[v] == FL_NONE)
        return FL_NONE;
    fl_id writer = fl_value_node(c->g, c->next[v]);
    return writer == node ? FL_NONE : writer;
}

/* ------------------------------------------------------------------------------------------------------- order */

/*
 * Nodes in an order in which all reads of a variable come before its writer; smallest id first. *stuck is a node of a cycle if there is one:
 * a reader of an old value that depends on the new one.
 */
static fl_status order_nodes(const cutter *c, fl_id *order, uint32_t *n_order, fl_id *stuck)
{
    const fl_graph *g = c->g;
    uint32_t n = g->n_nodes, *waits = fl_arena_new(c->a, uint32_t, n);
    bool *done = fl_arena_new(c->a, bool, n);
    if (!waits || !done)
        return fl_out_of_memory(c->diag);
    for (fl_id i = 0; i < n; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id writer = overwriter(c, i, k);
            waits[i] += fl_value_node(g, g->nodes[i].in[k]) != FL_NONE;
            if (writer != FL_NONE)
                waits[writer]++;
        }
    }
    *n_order = 0;
    *stuck = FL_NONE;
    for (fl_id from = 0; *n_order < n;) {
        fl_id i = from;
        while (i < n && (done[i] || waits[i] > 0))
            i++;
        if (i == n) {
            for (i = 0; i < n && done[i];)
                i++;
            *stuck = i;
            return FL_OK;
        }
        done[i] = true;
        order[(*n_order)++] = i;
        from = i + 1;
        for (fl_id r = 0; r < n; r++) { /* quadratic, with a small constant: graphs have hundreds of nodes */
            for (uint32_t k = 0; !done[r] && k < g->nodes[r].n_in; k++)
                if (fl_value_node(g, g->nodes[r].in[k]) == i && --waits[r] == 0 && r < from)
                    from = r;
        }
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id writer = overwriter(c, i, k);
            if (writer != FL_NONE && --waits[writer] == 0 && writer < from)
                from = writer;
        }
    }
    return FL_OK;
}

static void permute(fl_graph *g, const fl_id *order, uint32_t n)
{
    fl_node *nodes = fl_arena_new(&g->arena, fl_node, n);
    if (!nodes)
        return;
    for (uint32_t i = 0; i < n; i++)
        nodes[i] = g->nodes[order[i]];
    g->nodes = nodes;
    g->n_nodes = g->nodes_capacity = n;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < nodes[i].n_out; k++)
            if (nodes[i].out[k] != FL_NONE)
                g->values[nodes[i].out[k]].node = i;
}

/* Puts writers behind readers; where that is a circle, all new values of direct writers in it are written by copies at the end. */
static fl_status settle_order(cutter *c)
{
    fl_graph *g = c->g;
    for (;;) {
        FL_TRY(index_updates(c));
        fl_id *order = fl_arena_new(c->a, fl_id, g->n_nodes), stuck = FL_NONE;
        uint32_t n = 0;
        if (!order)
            return fl_out_of_memory(c->diag);
        FL_TRY(order_nodes(c, order, &n, &stuck));
        if (stuck == FL_NONE) {
            permute(g, order, n);
            return fl_graph_ok(g, c->diag);
        }
        bool copied = false;
        for (uint32_t i = 0; i < g->n_updates; i++) {
            fl_id writer = fl_value_node(g, g->updates[i].next);
            if (g->nodes[writer].op == FL_OP_IDENTITY || g->nodes[writer].op == FL_OP_SCATTER_ND)
                continue;
            bool placed = false;
            for (uint32_t k = 0; k < n; k++)
                placed = placed || order[k] == writer;
            if (!placed) {
                copy_next(g, &g->updates[i]);
                copied = true;
            }
        }
        FL_TRY(fl_graph_ok(g, c->diag));
        if (!copied)
            return fl_error(c->diag, FL_E_SCHEDULE, FL_NOWHERE, "\"%s\" reads rows of a variable after they are overwritten",
                            g->values[g->nodes[stuck].out[0]].name);
    }
}

/* ------------------------------------------------------------------------------------------------------ phases */

/* May `b` run in the segment of `a`, in the same phase, `read` saying how it reads a's rows? */
static bool together(const fl_node_domain *a, const fl_node_domain *b, fl_read read)
{
    if (a->alone || b->alone || !fl_domain_equal(a, b))
        return false;
    return a->kind == FL_DOMAIN_ONE || read == FL_READ_OWN;
}

static void earliest(cutter *c, fl_id i)
{
    const fl_graph *g = c->g;
    for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
        fl_id from = fl_value_node(g, g->nodes[i].in[k]);
        fl_read read = fl_domain_read(g, i, k, &c->domain[i]);
        if (from == FL_NONE || read == FL_READ_NOT)
            continue;
        uint32_t at = c->phase[from] + !together(&c->domain[from], &c->domain[i], read);
        c->phase[i] = c->phase[i] > at ? c->phase[i] : at;
    }
}

/* Its readers push the writer of a variable back. Whether the row in hand is all that is read is the reader's operand's matter. */
static void after_readers(cutter *c, fl_id reader)
{
    const fl_graph *g = c->g;
    for (uint32_t k = 0; k < g->nodes[reader].n_in; k++) {
        fl_id writer = overwriter(c, reader, k);
        fl_read read = fl_domain_read(g, reader, k, &c->domain[reader]);
        if (writer == FL_NONE || read == FL_READ_NOT)
            continue;
        /* ScatterND writes the rows of its slots, which Gather read by the same index: their own, if they are distinct rows. */
        bool by_index = g->nodes[reader].op == FL_OP_GATHER && g->nodes[writer].op == FL_OP_SCATTER_ND &&
                        c->domain[reader].kind == FL_DOMAIN_SLOTS;
        uint32_t at = c->phase[reader] + !together(&c->domain[reader], &c->domain[writer], by_index ? FL_READ_OWN : read);
        c->phase[writer] = c->phase[writer] > at ? c->phase[writer] : at;
    }
}

/* Nodes whose rows come from leaves alone, and are cheap, move to the phase of their first reader. */
static void sink(cutter *c, fl_id i)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[i];
    uint32_t to = UINT32_MAX;
    if (c->domain[i].kind != FL_DOMAIN_ROWS || c->domain[i].absent || fl_op_has(n->op, FL_PRODUCT))
        return;
    for (uint32_t k = 0; k < n->n_in; k++) {
        bool leaf = n->in[k] == FL_NONE || fl_value_node(g, n->in[k]) == FL_NONE;
        bool written = n->in[k] != FL_NONE && c->next[n->in[k]] != FL_NONE;
        if (written || (!leaf && fl_domain_read(g, i, k, &c->domain[i]) == FL_READ_OWN))
            return;
    }
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] == FL_NONE)
            continue;
        if (fl_value_is_output(g, n->out[k]) || c->next_of[n->out[k]] != FL_NONE)
            return;
        for (fl_id r = i + 1; r < g->n_nodes; r++) {
            for (uint32_t o = 0; o < g->nodes[r].n_in; o++) {
                fl_read read = fl_domain_read(g, r, o, &c->domain[r]);
                if (g->nodes[r].in[o] != n->out[k] || read == FL_READ_NOT)
                    continue;
                uint32_t at = together(&c->domain[i], &c->domain[r], read) ? c->phase[r] : c->phase[r] - 1;
                to = to < at ? to : at;
            }
        }
    }
    if (to != UINT32_MAX && to > c->phase[i])
        c->phase[i] = to;
}

static fl_status set_phases(cutter *c)
{
    fl_graph *g = c->g;
    fl_id *sources = fl_domain_sources(g, c->a);
    c->domain = fl_arena_new(c->a, fl_node_domain, g->n_nodes);
    c->phase = fl_arena_new(c->a, uint32_t, g->n_nodes);
    if (!sources || !c->domain || !c->phase)
        return fl_out_of_memory(c->diag);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (fl_op_has(g->nodes[i].op, FL_OPTIMISER | FL_MODE))
            return fl_error(c->diag, FL_E_SCHEDULE, g->nodes[i].origin.loc, "%s \"%s\" must be lowered before segments are cut",
                            fl_op_get(g->nodes[i].op)->name, g->values[g->nodes[i].out[0]].name);
        c->domain[i] = fl_domain_of(g, i, sources);
        earliest(c, i);
        after_readers(c, i);
    }
    for (fl_id i = g->n_nodes; i-- > 0;)
        sink(c, i);
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- segments */

/* Orders the nodes of one segment so that a chain of elementwise nodes is not interrupted. list[n] is in ORDER already. */
static fl_status chain(cutter *c, fl_id *list, uint32_t n)
{
    const fl_graph *g = c->g;
    fl_id *out = fl_arena_new(c->a, fl_id, n), last = FL_NONE;
    bool *done = fl_arena_new(c->a, bool, g->n_nodes), *mine = fl_arena_new(c->a, bool, g->n_nodes);
    if (!out || !done || !mine)
        return fl_out_of_memory(c->diag);
    for (uint32_t i = 0; i < n; i++)
        mine[list[i]] = true;
    for (uint32_t n_out = 0; n_out < n; n_out++) {
        fl_id best = FL_NONE;
        for (uint32_t i = 0; i < n; i++) {
            fl_id node = list[i];
            bool ready = !done[node], follows = false;
            for (uint32_t k = 0; ready && k < g->nodes[node].n_in; k++) {
                fl_id from = fl_value_node(g, g->nodes[node].in[k]);
                ready = from == FL_NONE || !mine[from] || done[from];
                follows = follows || (from != FL_NONE && from == last);
            }
            /* a writer waits for the readers of what it overwrites: those before it in the list */
            bool writes = ready && g->nodes[node].n_out == 1 && g->nodes[node].out[0] != FL_NONE && c->next_of[g->nodes[node].out[0]] != FL_NONE;
            for (uint32_t j = 0; writes && ready && j < i; j++)
                for (uint32_t k = 0; k < g->nodes[list[j]].n_in; k++)
                    ready = ready && (done[list[j]] || overwriter(c, list[j], k) != node);
            if (!ready)
                continue;
            if (best == FL_NONE)
                best = node;
            if (follows && fl_op_has(g->nodes[node].op, FL_ELEMENTWISE)) {
                best = node;
                break;
            }
        }
        FL_ASSERT(best != FL_NONE);
        done[best] = true;
        out[n_out] = last = best;
    }
    memcpy(list, out, n * sizeof *list);
    return FL_OK;
}

static void hash_scratch(const fl_graph *g, fl_segment *s, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    s->scratch_bytes = FL_HASH_BYTES;
    s->scratch_row_bytes = FL_HASH_ROW_BYTES;
    s->scratch_dim = n->op == FL_OP_UNIQUE_ROWS ? g->values[n->in[0]].type.dims[0] : g->values[n->out[0]].type.dims[0];
}

/* Segments of all phases; node ids in them are those after `order` is applied. */
static fl_status cut(cutter *c, fl_schedule *s, fl_id *order)
{
    fl_graph *g = c->g;
    uint32_t capacity = 0, n_order = 0, n_phases = 0;
    bool *taken = fl_arena_new(c->a, bool, g->n_nodes);
    fl_id *list = fl_arena_new(c->a, fl_id, g->n_nodes);
    if (!taken || !list)
        return fl_out_of_memory(c->diag);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (c->domain[i].absent) { /* constants first */
            taken[i] = true;
            order[n_order++] = i;
        } else if (c->phase[i] + 1 > n_phases) {
            n_phases = c->phase[i] + 1;
        }
    }
    for (uint32_t p = 0; p < n_phases; p++) {
        for (fl_id i = 0; i < g->n_nodes; i++) {
            const fl_node_domain *d = &c->domain[i];
            uint32_t n = 0;
            if (taken[i] || c->phase[i] != p)
                continue;
            for (fl_id j = i; j < g->n_nodes && (j == i || !d->alone); j++)
                if (!taken[j] && c->phase[j] == p && !(c->domain[j].alone && j != i) && fl_domain_equal(d, &c->domain[j])) {
                    taken[j] = true;
                    list[n++] = j;
                }
            FL_TRY(chain(c, list, n));
            fl_segment segment = {.symbol = fl_arena_printf(&g->arena, "fl_%s_%u", g->name, s->n_segments),
                                  .domain = d->kind, .dim = d->dim, .count = d->count, .phase = p, .n_nodes = n};
            segment.nodes = fl_arena_new(&g->arena, fl_id, n);
            if (!segment.nodes || !segment.symbol)
                return fl_out_of_memory(c->diag);
            if (d->alone)
                hash_scratch(g, &segment, i);
            for (uint32_t k = 0; k < n; k++) {
                segment.nodes[k] = n_order;
                order[n_order++] = list[k];
            }
            if (!FL_PUSH(&g->arena, s->segments, s->n_segments, capacity, segment))
                return fl_out_of_memory(c->diag);
        }
    }
    s->n_phases = n_phases;
    return FL_OK;
}

fl_status fl_pass_segment(fl_graph *g, fl_pass_ctx *cx)
{
    cutter c = {.g = g, .a = &cx->scratch, .diag = cx->diag};
    g->schedule = NULL;
    own_writers(g);
    fl_graph_compact(g);
    FL_TRY(fl_graph_ok(g, cx->diag));
    FL_TRY(settle_order(&c));
    FL_TRY(index_updates(&c));
    FL_TRY(set_phases(&c));
    fl_schedule *s = fl_arena_new(&g->arena, fl_schedule, 1);
    fl_id *order = fl_arena_new(&cx->scratch, fl_id, g->n_nodes);
    if (!s || !order)
        return fl_out_of_memory(cx->diag);
    FL_TRY(cut(&c, s, order));
    permute(g, order, g->n_nodes);
    g->schedule = s;
    cx->n_changed = s->n_segments;
    return fl_graph_ok(g, cx->diag);
}
