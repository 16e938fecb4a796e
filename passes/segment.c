/*
 * segment.c -- cut a program into segments and phases (ir/schedule.h; ir/README.md, "Schedule").
 *
 * Needs ORDER and SHAPES, keeps both. Storage comes from `plan-memory`, which has to follow.
 *
 * A node's domain follows from the leading dimension of what it makes. Its phase is the latest of its operands' phases if it reads only
 * its own rows of values of the same domain, and one more if it reads them as a whole. Nodes of one domain and phase are one
 * segment. A variable's new value goes into the variable's own memory, so it comes a phase after every node that still reads the
 * old value, unless that node reads just the same rows earlier in the same segment. Early reads then sink to their only reader.
 *
 * Sweeps until nothing moves; phases only grow and are at most the number of nodes, in practice three or four sweeps.
 */
#include "ir/base/planted.h"
#include "ir/functions.h"
#include "ir/rows.h"
#include "passes/rewrite.h"
#include "passes/segment_copies.h"
#include "passes/segment_join.h"

#include <string.h>

enum { STATIC_ROWS = 16 }; /* matrices of fewer rows are not worth cutting */

typedef struct distinct { /* of a symbol that counts distinct rows */
    fl_id count;
    fl_dim slots;
} distinct;

typedef struct cut {
    fl_graph *g;
    fl_pass_ctx *cx;
    distinct *of_symbol;     /* [n_symbols]; count FL_NONE: bound from inputs */
    fl_place_of_work *work;  /* [n_nodes] */
    uint32_t *phase;         /* [n_nodes] */
    bool *idle;              /* [n_nodes]: constants, which are part of those who read them */
    fl_id *root;             /* [n_values]: the variable that a chain of views shows; FL_NONE: none */
    uint32_t *update;        /* [n_values]: of a variable that is updated, its update + 1; else 0 */
    /* Who reads a variable v, or a view of it: nodes reader[i] as operand operand[i], for i from reader_start[v] on, in the order of nodes. */
    uint32_t *reader_start;  /* [n_values + 1] */
    fl_id *reader;
    uint16_t *operand;
    uint32_t *segment_of;    /* [n_nodes]: into the schedule's segments, before they are in order */
} cut;

/* ------------------------------------------------------------------------------------------------- preparation */

/* Operand k of this operator is a list of axes, sizes and the like, which the code has as immediates. */
static bool is_shape_operand(fl_op op, uint32_t k)
{
    static const fl_op ops[] = {FL_OP_RESHAPE, FL_OP_EXPAND, FL_OP_SLICE, FL_OP_SQUEEZE, FL_OP_UNSQUEEZE, FL_OP_TILE,
                                FL_OP_SPLIT,   FL_OP_PAD,    FL_OP_TOP_K, FL_OP_CUM_SUM, FL_OP_TRILU};

    for (size_t i = 0; i < FL_COUNT(ops); i++)
        if (ops[i] == op)
            return k > 0;
    return k > 0 && fl_op_has(op, FL_REDUCTION);
}

/* needed[v]: somebody reads v's elements from memory. */
static void find_needed(const fl_graph *g, bool *needed)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE && !is_shape_operand(g->nodes[i].op, k))
                needed[g->nodes[i].in[k]] = true;
    for (uint32_t k = 0; k < g->n_outputs; k++)
        needed[g->outputs[k]] = true;
}

/* The elements of a Constant node as bytes; NULL if it has no more than one, or of another form. */
static const void *constant_bytes(fl_graph *g, fl_id node, fl_type *type)
{
    const fl_attr *a = g->nodes[node].n_attr ? &g->nodes[node].attr[0] : NULL;

    if (!a || a->kind == FL_ATTR_STRING || a->kind == FL_ATTR_INT || a->kind == FL_ATTR_FLOAT)
        return NULL;
    if (a->kind == FL_ATTR_STRINGS) {
        *type = fl_type_make(FL_STRING, 1, (fl_dim[]){a->n});
        return a->as.strings;
    }
    if (a->kind == FL_ATTR_TENSOR) {
        *type = a->as.tensor->type;
        return type->dtype != FL_STRING && fl_type_elements(type) == 1 ? NULL : a->as.tensor->bytes;
    }
    *type = fl_type_make(a->kind == FL_ATTR_INTS ? FL_INT64 : FL_FLOAT, 1, (fl_dim[]){a->n});
    if (a->n == 1 || a->kind == FL_ATTR_INTS)
        return a->n == 1 ? NULL : a->as.ints;
    float *narrow = fl_arena_new(&g->arena, float, a->n);
    for (uint32_t k = 0; narrow && k < a->n; k++)
        narrow[k] = (float)a->as.floats[k];
    return narrow;
}

/* Constant nodes whose arrays of numbers are read become constants of the graph, which have memory. */
static fl_status constants_to_leaves(fl_graph *g, fl_pass_ctx *cx)
{
    bool *needed = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    fl_rewriter r;
    if (!needed || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    find_needed(g, needed);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op != FL_OP_CONSTANT || !needed[g->nodes[i].out[0]])
            continue;
        fl_type type;
        const void *bytes = constant_bytes(g, i, &type);
        if (!bytes)
            continue;
        fl_id out = g->nodes[i].out[0];
        const char *name = g->values[out].name;
        g->values[out].name = NULL;
        fl_id leaf = fl_graph_constant(g, name, type, bytes);
        if (leaf == FL_NONE)
            break;
        r.map[out] = leaf; /* outputs too: their name went along */
        fl_node_erase(g, i);
    }
    fl_rewriter_apply(&r);
    return fl_graph_ok(g, cx->diag);
}

/* Would `node`, writing over the variable as it goes, read what it has written? Element by element, or by rows that it is told, it does not. */
static bool reads_what_it_writes(const fl_graph *g, fl_id node, fl_id variable)
{
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k] == FL_NONE || fl_behind_views(g, n->in[k]) != variable)
            continue;
        bool own = n->in[k] == variable && (fl_op_has(n->op, FL_ELEMENTWISE) || (n->op == FL_OP_SCATTER_ND && k == 0));
        if (!own)
            return true;
    }
    return false;
}

/* The next value of a variable has to be made by a node of its own, which writes it in place. */
static fl_status own_next_values(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t n_values = g->n_values;
    bool *taken = fl_arena_new(&cx->scratch, bool, n_values + 1u);
    if (!taken)
        return fl_out_of_memory(cx->diag);
    for (uint32_t u = 0; u < g->n_updates; u++) {
        fl_id next = g->updates[u].next, node = fl_value_node(g, next);
        bool shared = taken[next];
        taken[next] = true;
        if (node != FL_NONE && !shared && !fl_op_has(g->nodes[node].op, FL_VIEW) && g->nodes[node].op != FL_OP_CONSTANT &&
            !reads_what_it_writes(g, node, g->updates[u].variable))
            continue;
        /* x + 0 and not Identity, which is a view. */
        fl_id zero = fl_build_scalar(g, "zero", 0.0);
        if (fl_value_type(g, next)->dtype == FL_DOUBLE)
            zero = fl_graph_constant(g, fl_graph_fresh_name(g, "zero"), fl_type_make(FL_DOUBLE, 0, NULL), &(double){0.0});
        g->updates[u].next = fl_build_2(g, FL_OP_ADD, "next", next, zero);
    }
    return fl_graph_ok(g, cx->diag);
}

/* ScatterND writes into its first operand: a variable that gets its result, or memory that nobody else knows. Anything else is copied before. */
static bool own_scattered(fl_graph *g, fl_arena *scratch)
{
    uint32_t n_nodes = g->n_nodes, *uses = fl_graph_count_uses(g, scratch);
    bool *updates = fl_arena_new(scratch, bool, g->n_nodes + 1u);

    if (!uses || !updates)
        return false;
    for (uint32_t u = 0; u < g->n_updates; u++)
        for (fl_id n = fl_value_is(g, g->updates[u].next, FL_OP_SCATTER_ND); n != FL_NONE; n = fl_value_is(g, g->nodes[n].in[0], FL_OP_SCATTER_ND))
            updates[n] = true;
    for (fl_id i = 0; i < n_nodes; i++) {
        if (g->nodes[i].op != FL_OP_SCATTER_ND || updates[i])
            continue;
        fl_id data = g->nodes[i].in[0], maker = fl_value_node(g, data);
        if (maker != FL_NONE && uses[data] == 1 && !fl_op_has(g->nodes[maker].op, FL_VIEW) && g->nodes[maker].op != FL_OP_CONSTANT)
            continue;
        fl_id copy = fl_build_cast(g, "copy", data, fl_value_type(g, data)->dtype); /* moves nodes */
        g->nodes[i].in[0] = copy;
    }
    return true;
}

static fl_status find_distinct(cut *c)
{
    fl_graph *g = c->g;

    for (uint32_t s = 0; s < g->n_symbols; s++)
        c->of_symbol[s].count = FL_NONE;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op != FL_OP_UNIQUE_ROWS && n->op != FL_OP_MERGE_ROWS)
            continue;
        distinct d = {.count = n->out[2], .slots = fl_value_type(g, n->out[2])->dims[0]};
        if (FL_DIM_IS_SYM(d.slots))
            return fl_error(c->cx->diag, FL_E_SCHEDULE, n->origin.loc, "UniqueRows needs a static number of columns");
        c->of_symbol[FL_SYM_OF_DIM(fl_value_type(g, n->out[0])->dims[0])] = d;
    }
    return FL_OK;
}

/* -------------------------------------------------------------------------------------------- domains, phases */

static fl_place_of_work slots_of(const distinct *d)
{
    return (fl_place_of_work){FL_DOMAIN_SLOTS, d->slots, d->count};
}

static fl_place_of_work work_of_dim(const cut *c, const fl_type *t)
{
    if (t->rank > 0 && FL_DIM_IS_SYM(t->dims[0])) {
        const distinct *d = &c->of_symbol[FL_SYM_OF_DIM(t->dims[0])];
        return d->count != FL_NONE ? slots_of(d) : (fl_place_of_work){FL_DOMAIN_ROWS, t->dims[0], FL_NONE};
    }
    if (t->rank >= 2 && t->dims[0] >= STATIC_ROWS)
        return (fl_place_of_work){FL_DOMAIN_ROWS, t->dims[0], FL_NONE};
    return (fl_place_of_work){FL_DOMAIN_ONE, 1, FL_NONE};
}

/* Is `node` elementwise on what work on slots makes, slot by slot, of static shape: a SlotLinear's gradient of its weights? */
static bool continues_slots(const cut *c, fl_id node, fl_place_of_work *work)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; fl_op_has(n->op, FL_ELEMENTWISE) && k < n->n_in; k++) {
        fl_id p = n->in[k] == FL_NONE ? FL_NONE : fl_value_node(g, n->in[k]);
        if (p == FL_NONE || c->idle[p] || c->work[p].domain != FL_DOMAIN_SLOTS || !fl_makes_part_of_slot(g, p, c->work[p].dim) ||
            !fl_reads_own_rows(g, node, k) || !fl_makes_part_of_slot(g, node, c->work[p].dim))
            continue;
        *work = c->work[p];
        return true;
    }
    return false;
}

/* Results of different leading dimensions, as Unique has: no work on rows makes them all. */
static bool makes_several_rows(const fl_graph *g, const fl_node *n)
{
    const fl_type *first = NULL;

    for (uint32_t k = 0; k < n->n_out && !fl_op_has(n->op, FL_VIEW); k++) {
        const fl_type *t = n->out[k] == FL_NONE ? NULL : fl_value_type(g, n->out[k]);
        if (t && first && (t->rank == 0 || first->rank == 0 || t->dims[0] != first->dims[0]))
            return true;
        first = t ? t : first;
    }
    return false;
}

static fl_place_of_work work_of(const cut *c, fl_id node)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];

    if (n->op == FL_OP_UNIQUE_ROWS || n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD) {
        fl_id count = n->op == FL_OP_UNIQUE_ROWS ? n->out[2] : n->in[1];
        return (fl_place_of_work){FL_DOMAIN_SLOTS, fl_value_type(g, count)->dims[0], count};
    }
    bool shows_variable = fl_op_has(n->op, FL_VIEW) && n->n_out > 0 && n->out[0] != FL_NONE && c->root[n->out[0]] != FL_NONE;
    if (shows_variable || n->op == FL_OP_SCATTER_ELEMENTS || fl_goes_along_rows(g, node)) /* no code at all; each place after the one before */
        return (fl_place_of_work){FL_DOMAIN_ONE, 1, FL_NONE};
    if (n->op == FL_OP_MERGE_ROWS) /* by its count a place of its own: a hash table for each, beside other serial work */
        return (fl_place_of_work){FL_DOMAIN_ONE, 1, n->out[2]};
    if (n->op == FL_OP_SCATTER_ND) { /* by the rows it writes, distinct ones; others may repeat and stay in one hand */
        fl_place_of_work w = work_of_dim(c, fl_value_type(g, n->in[2]));
        return w.domain == FL_DOMAIN_SLOTS ? w : (fl_place_of_work){FL_DOMAIN_ONE, 1, FL_NONE};
    }
    if (makes_several_rows(g, n))
        return (fl_place_of_work){FL_DOMAIN_ONE, 1, FL_NONE};
    fl_place_of_work slots;
    if (continues_slots(c, node, &slots))
        return slots;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE)
            return work_of_dim(c, fl_value_type(g, n->out[i]));
    return (fl_place_of_work){FL_DOMAIN_ONE, 1, FL_NONE};
}

static bool raise_phase(cut *c, fl_id node, uint32_t phase)
{
    if (c->phase[node] >= phase)
        return false;
    c->phase[node] = phase;
    return true;
}

/* Phases from operands; one sweep in order. */
static bool sweep_operands(cut *c)
{
    fl_graph *g = c->g;
    bool moved = false;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (c->idle[i])
            continue;
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id p = fl_value_node(g, g->nodes[i].in[k]);
            if (p == FL_NONE || c->idle[p])
                continue;
            bool along = fl_same_work(&c->work[i], &c->work[p]) &&
                         (c->work[i].domain == FL_DOMAIN_ONE || fl_reads_own_rows(g, i, k));
            moved |= raise_phase(c, i, c->phase[p] + !along);
        }
    }
    return moved;
}

/* Reader and writer of a variable touch the same rows: the same elements, or the same distinct rows of it. */
static bool same_rows_of_variable(const cut *c, fl_id reader, uint32_t k, fl_id writer, fl_id variable)
{
    const fl_graph *g = c->g;
    const fl_node *r = &g->nodes[reader], *w = &g->nodes[writer];

    if (r->in[k] != variable || !fl_same_work(&c->work[reader], &c->work[writer]))
        return false;
    if (w->op == FL_OP_SCATTER_ND) /* rows: the index, with or without its trailing dimension */
        return r->op == FL_OP_GATHER && k == 0 && c->work[writer].domain == FL_DOMAIN_SLOTS;
    return c->work[reader].domain == FL_DOMAIN_ONE ? fl_op_has(r->op, FL_ELEMENTWISE) : fl_reads_own_rows(g, reader, k);
}

/* `writer` comes after all other readers of the variable. */
static bool hold_writer(cut *c, fl_id variable, fl_id writer)
{
    bool moved = false;

    for (uint32_t r = c->reader_start[variable]; r < c->reader_start[variable + 1]; r++) {
        fl_id i = c->reader[r];
        if (i == writer || c->idle[i])
            continue;
        bool along = i < writer && same_rows_of_variable(c, i, c->operand[r], writer, variable);
        moved |= raise_phase(c, writer, c->phase[i] + !along);
    }
    return moved;
}

/* Phases of writers from the readers of old values. Rows of several indices are written by a chain of ScatterND. */
static bool sweep_writers(cut *c)
{
    fl_graph *g = c->g;
    bool moved = false;

    for (uint32_t u = 0; u < g->n_updates; u++) {
        fl_id variable = g->updates[u].variable, writer = fl_value_node(g, g->updates[u].next);
        while (writer != FL_NONE) {
            moved |= hold_writer(c, variable, writer);
            writer = g->nodes[writer].op == FL_OP_SCATTER_ND ? fl_value_is(g, g->nodes[writer].in[0], FL_OP_SCATTER_ND) : FL_NONE;
        }
    }
    return moved;
}

/* A sum over distinct rows outside of the work on them would add up places that are not used. */
static fl_status refuse_unused_rows(const cut *c)
{
    const fl_graph *g = c->g;
    fl_id *counts = fl_distinct_counts(g, &c->cx->scratch);

    if (!counts)
        return fl_out_of_memory(c->cx->diag);
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (!c->idle[i] && !fl_reads_used_rows(g, i, k, &c->work[i], counts)) {
                fl_status status = fl_error(c->cx->diag, FL_E_SCHEDULE, g->nodes[i].origin.loc, "%s reads all places of the distinct rows \"%s\", used or not",
                                            fl_op_get(g->nodes[i].op)->name, g->values[g->nodes[i].in[k]].name);
                fl_hint(c->cx->diag, "native code computes with distinct rows row by row, or looks them up by the index of UniqueRows");
                return status;
            }
    return FL_OK;
}

static void find_roots(cut *c)
{
    fl_graph *g = c->g;

    for (fl_id v = 0; v < g->n_values; v++)
        c->root[v] = g->values[v].kind == FL_VALUE_VARIABLE ? v : FL_NONE;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; fl_op_has(g->nodes[i].op, FL_VIEW) && k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != FL_NONE && g->nodes[i].op != FL_OP_CONCAT && g->nodes[i].in[0] != FL_NONE)
                c->root[g->nodes[i].out[k]] = c->root[g->nodes[i].in[0]];
}

/* Updates and readers by variable: a counting sort of all reads. False if out of memory. */
static bool index_variables(cut *c)
{
    const fl_graph *g = c->g;
    fl_arena *a = &c->cx->scratch;
    uint32_t *start = c->reader_start = fl_arena_new(a, uint32_t, g->n_values + 2u);

    c->update = fl_arena_new(a, uint32_t, g->n_values + 1u);
    if (!start || !c->update)
        return false;
    for (uint32_t u = 0; u < g->n_updates; u++)
        c->update[g->updates[u].variable] = u + 1;
    for (int filling = 0; filling < 2; filling++) {
        for (fl_id i = 0; i < g->n_nodes; i++) {
            for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
                fl_id v = g->nodes[i].in[k] == FL_NONE ? FL_NONE : c->root[g->nodes[i].in[k]];
                if (v == FL_NONE)
                    continue;
                if (filling) {
                    c->reader[start[v + 1]] = i;
                    c->operand[start[v + 1]] = (uint16_t)k;
                }
                start[v + 1 + !filling]++;
            }
        }
        for (fl_id v = 0; !filling && v < g->n_values; v++)
            start[v + 1] += start[v];
        if (!filling) {
            uint32_t n = start[g->n_values] + start[g->n_values + 1];
            c->reader = fl_arena_new(a, fl_id, n + 1u);
            c->operand = fl_arena_new(a, uint16_t, n + 1u);
            if (!c->reader || !c->operand)
                return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------------- segments */

/* The segment of `node`, made if there is none; segments of one phase are chained: head[phase], next[segment], numbers + 1. */
static uint32_t segment_for(const cut *c, fl_schedule *s, fl_id node, uint32_t *head, uint32_t *next)
{
    const fl_place_of_work *w = &c->work[node];
    uint32_t phase = c->phase[node];
    for (uint32_t i = head[phase]; i != 0; i = next[i - 1]) {
        const fl_segment *seg = &s->segments[i - 1];
        if (seg->domain == w->domain && seg->dim == w->dim && seg->count == w->count)
            return i - 1;
    }
    s->segments[s->n_segments] = (fl_segment){.domain = w->domain, .dim = w->dim, .count = w->count, .phase = phase};
    next[s->n_segments] = head[phase];
    head[phase] = s->n_segments + 1;
    return s->n_segments++;
}

/* What a node of a segment waits for, from the end of the segment: `n_after` nodes that come behind it are not placed yet. */
typedef struct place_order {
    uint32_t *n_after;      /* [n_nodes] */
    uint32_t *first_reader; /* [n_nodes] of a writer: place in `readers` of the first that reads what it overwrites, + 1 */
    struct reading {
        fl_id reader;
        uint32_t next; /* + 1 */
    } *readers;
    uint32_t n_readers, readers_capacity;
} place_order;

/* `reader` shows a variable's old value: it stands before those of its segment that write the new one over it. */
static bool wait_for_writers(const cut *c, place_order *o, fl_id reader, fl_id value)
{
    const fl_graph *g = c->g;
    fl_id v = c->root[value], writer = v == FL_NONE || c->update[v] == 0 ? FL_NONE : fl_value_node(g, g->updates[c->update[v] - 1].next);

    for (; writer != FL_NONE; writer = g->nodes[writer].op == FL_OP_SCATTER_ND ? fl_value_is(g, g->nodes[writer].in[0], FL_OP_SCATTER_ND) : FL_NONE) {
        if (reader >= writer || c->idle[writer] || c->segment_of[writer] != c->segment_of[reader])
            continue;
        struct reading r = {reader, o->first_reader[writer]};
        if (!FL_PUSH(&c->cx->scratch, o->readers, o->n_readers, o->readers_capacity, r))
            return false;
        o->first_reader[writer] = o->n_readers;
        o->n_after[reader]++;
    }
    return true;
}

static void place_node(const cut *c, place_order *o, fl_id node)
{
    const fl_node *n = &c->g->nodes[node];

    for (uint32_t k = 0; k < n->n_in; k++) {
        fl_id p = fl_value_node(c->g, n->in[k]);
        if (p != FL_NONE && !c->idle[p] && c->segment_of[p] == c->segment_of[node])
            o->n_after[p]--;
    }
    for (uint32_t r = o->first_reader[node]; r != 0; r = o->readers[r - 1].next)
        o->n_after[o->readers[r - 1].reader]--;
}

/*
 * Nodes of a segment as late as they can be, each just before what reads it, so that little has to be kept in memory meanwhile. Among those
 * that could stand next (from the end), one that continues the present chain of elementwise nodes, or of others, goes first, so
 * that they stand together and become one loop nest; ties go to the later node. `o` is all 0, before and after, but for its readers.
 */
static bool sort_segment(const cut *c, fl_segment *seg, place_order *o)
{
    const fl_graph *g = c->g;
    uint32_t n = seg->n_nodes, left = seg->n_nodes;
    bool *taken = fl_arena_new(&c->cx->scratch, bool, n);
    fl_id *sorted = fl_arena_new(&c->cx->scratch, fl_id, n);
    bool in_chain = fl_is_chained(g, seg->nodes[n - 1]);

    if (!taken || !sorted)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        fl_id node = seg->nodes[i];
        for (uint32_t k = 0; k < g->nodes[node].n_in; k++) {
            fl_id v = g->nodes[node].in[k], p = fl_value_node(g, v);
            if (p != FL_NONE && !c->idle[p] && c->segment_of[p] == c->segment_of[node])
                o->n_after[p]++;
            if (v != FL_NONE && !wait_for_writers(c, o, node, v))
                return false;
        }
    }
    for (uint32_t end = n; left > 0;) {
        uint32_t best = n;
        bool continues = false;
        while (taken[end - 1])
            end--;
        for (uint32_t i = end; i-- > 0 && i + 256 >= end;) {
            if (taken[i] || (o->n_after[seg->nodes[i]] > 0 && !FL_PLANTED("segment")))
                continue;
            if (best == n)
                best = i;
            if (fl_is_chained(g, seg->nodes[i]) != in_chain)
                continue;
            if (!continues)
                best = i;
            continues = true;
            if (!in_chain || left == n || fl_share_loops(g, seg->nodes[i], sorted[left])) {
                best = i;
                break;
            }
        }
        taken[best] = true;
        in_chain = fl_is_chained(g, seg->nodes[best]);
        sorted[--left] = seg->nodes[best];
        place_node(c, o, seg->nodes[best]);
    }
    memcpy(seg->nodes, sorted, n * sizeof *sorted);
    return true;
}

/* The dimension that the node's scratch grows with; 0: it needs none. In one segment it is the same for all: those of one index. */
static fl_dim scratch_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];

    if (n->op == FL_OP_UNIQUE_ROWS)
        return fl_value_type(g, n->in[0])->dims[0];
    if (n->op == FL_OP_MERGE_ROWS)
        return fl_value_type(g, n->out[0])->dims[0];
    return n->op == FL_OP_EMBEDDING_BAG_GRAD ? fl_value_type(g, n->in[3])->dims[0] : 0; /* a bag for each value */
}

/* Into the order of phases, those of one phase as they were made; place[i] is where segment i went. False if out of memory. */
static bool order_segments(const cut *c, fl_schedule *s, uint32_t *place)
{
    fl_arena *scratch = &c->cx->scratch;
    uint32_t *start = fl_arena_new(scratch, uint32_t, c->g->n_nodes + 2u);
    fl_segment *copy = fl_arena_new(scratch, fl_segment, s->n_segments + 1u);

    if (!start || !copy)
        return false;
    memcpy(copy, s->segments, s->n_segments * sizeof *copy);
    for (uint32_t i = 0; i < s->n_segments; i++)
        start[copy[i].phase + 1]++;
    for (uint32_t p = 0; p <= c->g->n_nodes; p++)
        start[p + 1] += start[p];
    for (uint32_t i = 0; i < s->n_segments; i++) {
        place[i] = start[copy[i].phase]++;
        s->segments[place[i]] = copy[i];
    }
    return true;
}

/* Which nodes, how many segments. False if out of memory. */
static bool assign_segments(cut *c, fl_schedule *s)
{
    fl_graph *g = c->g;
    fl_arena *scratch = &c->cx->scratch;
    uint32_t *head = fl_arena_new(scratch, uint32_t, g->n_nodes + 1u), *next = fl_arena_new(scratch, uint32_t, g->n_nodes + 1u);
    uint32_t *place = fl_arena_new(scratch, uint32_t, g->n_nodes + 1u);

    s->segments = fl_arena_new(&g->arena, fl_segment, g->n_nodes + 1);
    c->segment_of = fl_arena_new(scratch, uint32_t, g->n_nodes + 1u);
    if (!head || !next || !place || !s->segments || !c->segment_of)
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (c->idle[i])
            continue;
        c->segment_of[i] = segment_for(c, s, i, head, next);
        s->segments[c->segment_of[i]].n_nodes++;
    }
    if (!order_segments(c, s, place))
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++)
        c->segment_of[i] = place[c->segment_of[i]];
    return true;
}

static bool make_segments(cut *c, fl_schedule *s)
{
    fl_graph *g = c->g;
    fl_arena *a = &g->arena;
    place_order order = {.n_after = fl_arena_new(&c->cx->scratch, uint32_t, g->n_nodes + 1u),
                         .first_reader = fl_arena_new(&c->cx->scratch, uint32_t, g->n_nodes + 1u)};

    if (!order.n_after || !order.first_reader || !assign_segments(c, s))
        return false;
    for (uint32_t i = 0; i < s->n_segments; i++) {
        fl_segment *seg = &s->segments[i];
        seg->nodes = fl_arena_new(a, fl_id, seg->n_nodes);
        seg->symbol = fl_arena_printf(a, "%s_%u", g->name, i);
        if (!seg->nodes || !seg->symbol)
            return false;
        seg->n_nodes = 0;
        s->n_phases = seg->phase + 1;
    }
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (c->idle[i])
            continue;
        fl_segment *seg = &s->segments[c->segment_of[i]];
        seg->nodes[seg->n_nodes++] = i;
        fl_dim rows = scratch_rows(g, i);
        if (rows != 0) {
            seg->scratch_bytes = FL_HASH_BYTES;
            seg->scratch_row_bytes = FL_HASH_ROW_BYTES;
            seg->scratch_dim = rows;
        }
    }
    for (uint32_t i = 0; i < s->n_segments; i++) {
        if (s->segments[i].domain == FL_DOMAIN_ONE)
            s->segments[i].count = FL_NONE;
        if (!sort_segment(c, &s->segments[i], &order))
            return false;
        fl_join_pools(g, &s->segments[i]);
        fl_join_products(g, &s->segments[i]);
        fl_join_tiles(g, &s->segments[i]);
    }
    return true;
}

/* The latest phase in which `node` may still read the old value of the variables that it shows. */
static uint32_t latest_reading(const cut *c, fl_id node)
{
    const fl_graph *g = c->g;
    uint32_t latest = UINT32_MAX;

    for (uint32_t k = 0; k < g->nodes[node].n_in; k++) {
        fl_id v = g->nodes[node].in[k] == FL_NONE ? FL_NONE : c->root[g->nodes[node].in[k]];
        if (v == FL_NONE || c->update[v] == 0)
            continue;
        fl_id writer = fl_value_node(g, g->updates[c->update[v] - 1].next);
        while (writer != FL_NONE) {
            bool along = node < writer && same_rows_of_variable(c, node, k, writer, v);
            uint32_t last = along ? c->phase[writer] : c->phase[writer] > 0 ? c->phase[writer] - 1 : 0;
            latest = last < latest ? last : latest;
            writer = g->nodes[writer].op == FL_OP_SCATTER_ND ? fl_value_is(g, g->nodes[writer].in[0], FL_OP_SCATTER_ND) : FL_NONE;
        }
    }
    return latest;
}

/* Reads leaves alone: sinking it keeps nothing else alive. */
static bool reads_leaves(const cut *c, fl_id node)
{
    const fl_graph *g = c->g;

    for (uint32_t k = 0; k < g->nodes[node].n_in; k++) {
        fl_id p = fl_value_node(g, g->nodes[node].in[k]);
        if (p != FL_NONE && !c->idle[p])
            return false;
    }
    return true;
}

/*
 * A look-up, or arithmetic on variables alone, whose rows are read only later, in one place of work, moves there: what it reads is loaded
 * where it is used and never copied (an optimiser's state beside the update). From the last node to the first, so that readers have settled.
 */
static bool sink_early_reads(cut *c)
{
    fl_graph *g = c->g;
    uint32_t *first = fl_arena_new(&c->cx->scratch, uint32_t, g->n_nodes + 1); /* phase of the earliest reader */

    if (!first)
        return false;
    for (fl_id i = 0; i < g->n_nodes; i++)
        first[i] = UINT32_MAX;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (fl_value_node(g, g->outputs[i]) != FL_NONE)
            first[fl_value_node(g, g->outputs[i])] = 0;
    for (uint32_t i = 0; i < g->n_updates; i++)
        if (fl_value_node(g, g->updates[i].next) != FL_NONE)
            first[fl_value_node(g, g->updates[i].next)] = 0;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        if (c->idle[i])
            continue;
        bool sinks = n->op == FL_OP_GATHER || (fl_op_has(n->op, FL_ELEMENTWISE) && c->work[i].domain != FL_DOMAIN_ONE && reads_leaves(c, i));
        if (sinks && first[i] != UINT32_MAX && first[i] > c->phase[i] && latest_reading(c, i) >= first[i])
            c->phase[i] = first[i];
        for (uint32_t k = 0; k < n->n_in; k++) {
            fl_id p = fl_value_node(g, n->in[k]);
            if (p == FL_NONE)
                continue;
            bool along = fl_same_work(&c->work[i], &c->work[p]) && fl_reads_own_rows(g, i, k);
            uint32_t phase = along ? c->phase[i] : 0;
            first[p] = phase < first[p] ? phase : first[p];
        }
    }
    return true;
}

/* Phases that hold nothing (everything in them moved on) are closed up. False if out of memory. */
static bool close_gaps(cut *c)
{
    fl_graph *g = c->g;
    uint32_t *to = fl_arena_new(&c->cx->scratch, uint32_t, g->n_nodes + 1u), n = 0; /* phase -> present phase; first 1: held by something */

    for (fl_id i = 0; to && i < g->n_nodes; i++)
        if (!c->idle[i])
            to[c->phase[i]] = 1;
    for (uint32_t p = 0; to && p <= g->n_nodes; p++)
        to[p] = to[p] ? n++ : 0;
    for (fl_id i = 0; to && i < g->n_nodes; i++)
        if (!c->idle[i])
            c->phase[i] = to[c->phase[i]];
    return to != NULL;
}

fl_status fl_pass_segment(fl_graph *g, fl_pass_ctx *cx)
{
    FL_TRY(fl_functions_inline(g, cx->diag)); /* in pipelines without `inline-functions` */
    FL_TRY(fl_copy_rows_again(g, cx));
    FL_TRY(constants_to_leaves(g, cx));
    FL_TRY(own_next_values(g, cx));
    if (!own_scattered(g, &cx->scratch) || !fl_copy_shown_variables(g))
        return fl_out_of_memory(cx->diag);
    FL_TRY(fl_graph_ok(g, cx->diag));
    FL_TRY(fl_graph_sort(g, cx->diag));
    fl_graph_compact(g);

    fl_arena *a = &cx->scratch;
    cut c = {.g = g, .cx = cx};
    c.of_symbol = fl_arena_new(a, distinct, g->n_symbols + 1);
    c.work = fl_arena_new(a, fl_place_of_work, g->n_nodes + 1);
    c.phase = fl_arena_new(a, uint32_t, g->n_nodes + 1);
    c.idle = fl_arena_new(a, bool, g->n_nodes + 1);
    c.root = fl_arena_new(a, fl_id, g->n_values + 1);
    fl_schedule *s = fl_arena_new(&g->arena, fl_schedule, 1);
    if (a->failed || !s)
        return fl_out_of_memory(cx->diag);
    FL_TRY(find_distinct(&c));
    find_roots(&c);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        c.idle[i] = g->nodes[i].op == FL_OP_CONSTANT || g->nodes[i].op == FL_OP_NOP;
        c.work[i] = work_of(&c, i);
    }
    FL_TRY(refuse_unused_rows(&c));
    if (!index_variables(&c))
        return fl_out_of_memory(cx->diag);
    for (bool moved = true; moved;) {
        moved = sweep_operands(&c);
        moved |= sweep_writers(&c);
    }
    if (!sink_early_reads(&c))
        return fl_out_of_memory(cx->diag);
    if (!close_gaps(&c) || !make_segments(&c, s))
        return fl_out_of_memory(cx->diag);
    g->schedule = s;
    cx->n_changed = s->n_segments;
    return fl_graph_ok(g, cx->diag);
}
