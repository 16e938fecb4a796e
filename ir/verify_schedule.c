/*
 * verify_schedule.c -- who runs when: is every operand made, and by this worker or before a barrier, when it is read?
 *
 * Segments of one phase run side by side, and so do the calls of a segment over rows or slots. So an operand is made in an earlier phase, or in the same segment: and
 * then, unless the segment is one call, the node reads of it the rows alone that its own call has made.
 */
#include "ir/rows.h"
#include "ir/schedule.h"
#include "ir/verify_parts.h"

static const char *op_name(const fl_graph *g, fl_id node)
{
    return fl_op_get(g->nodes[node].op)->name;
}

static void check_segments(fl_check *c)
{
    const fl_schedule *s = c->g->schedule;
    uint32_t phase = 0;

    for (uint32_t i = 0; i < s->n_segments; i++) {
        const fl_segment *seg = &s->segments[i];
        if (seg->phase < phase || seg->phase >= s->n_phases)
            fl_check_breaks(c, FL_VERIFY_SEGMENTS, FL_NONE, "segment \"%s\" of phase %u stands behind one of phase %u, of %u phases", seg->symbol, seg->phase, phase,
                            s->n_phases);
        phase = seg->phase;
        const fl_type *count = seg->count < c->g->n_values ? &c->g->values[seg->count].type : NULL;
        if ((seg->domain == FL_DOMAIN_SLOTS) != (seg->count != FL_NONE))
            fl_check_breaks(c, FL_VERIFY_SEGMENTS, FL_NONE, "segment \"%s\" is over slots without a count, or has one and is not", seg->symbol);
        else if (seg->domain == FL_DOMAIN_SLOTS && (!count || count->rank != 1 || count->dtype != FL_INT32 || count->dims[0] != seg->dim))
            fl_check_breaks(c, FL_VERIFY_SEGMENTS, FL_NONE, "segment \"%s\" is over %lld slots, and its count has another number of them", seg->symbol,
                            (long long)seg->dim);
    }
}

/* Places in time, and that each node that computes has one. */
static void find_times(fl_check *c, fl_check_times *t)
{
    const fl_graph *g = c->g;
    const fl_schedule *s = g->schedule;

    for (fl_id i = 0; i < g->n_nodes; i++)
        t->segment[i] = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_segments; i++)
        for (uint32_t k = 0; k < s->segments[i].n_nodes; k++) {
            fl_id node = s->segments[i].nodes[k];
            if (node >= g->n_nodes || g->nodes[node].op == FL_OP_NOP)
                fl_check_breaks(c, FL_VERIFY_RUN_ONCE, FL_NONE, "segment \"%s\" runs a node that does not exist", s->segments[i].symbol);
            else if (t->segment[node] != UINT32_MAX)
                fl_check_breaks(c, FL_VERIFY_RUN_ONCE, node, "node \"%s\" (%s) runs in segment \"%s\" and once more in \"%s\"", fl_node_label(g, node),
                                op_name(g, node), s->segments[t->segment[node]].symbol, s->segments[i].symbol);
            else {
                t->segment[node] = i;
                t->position[node] = k;
            }
        }
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (t->segment[i] == UINT32_MAX && g->nodes[i].op != FL_OP_CONSTANT && g->nodes[i].op != FL_OP_NOP)
            fl_check_breaks(c, FL_VERIFY_RUN_ONCE, i, "node \"%s\" (%s) runs in no segment", fl_node_label(g, i), op_name(g, i));
}

/* Are the leading rows of a value those of the segment's calls? */
static bool has_rows_of(const fl_graph *g, fl_id v, const fl_segment *seg, const fl_id *counts)
{
    const fl_type *t = fl_value_type(g, v);
    if (t->rank <= 0)
        return false;
    if (seg->domain == FL_DOMAIN_ROWS)
        return t->dims[0] == seg->dim;
    return (FL_DIM_IS_SYM(t->dims[0]) && counts[FL_SYM_OF_DIM(t->dims[0])] == seg->count) ||
           (fl_value_node(g, v) != FL_NONE && fl_makes_part_of_slot(g, fl_value_node(g, v), seg->dim));
}

static void check_domain(fl_check *c, fl_id node, const fl_segment *seg, const fl_id *counts)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];
    bool fits = true;

    if (seg->domain == FL_DOMAIN_ONE)
        return;
    if (n->op == FL_OP_UNIQUE_ROWS || n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD) { /* slots of these operators are columns of an index */
        fits = seg->domain == FL_DOMAIN_SLOTS && seg->count == (n->op == FL_OP_UNIQUE_ROWS ? n->out[2] : n->in[1]);
    } else if (n->op == FL_OP_SCATTER_ND) {
        fits = has_rows_of(g, n->in[2], seg, counts) && seg->domain == FL_DOMAIN_SLOTS;
    } else {
        for (uint32_t k = 0; k < n->n_out; k++)
            fits = fits && (n->out[k] == FL_NONE || fl_op_has(n->op, FL_VIEW) || has_rows_of(g, n->out[k], seg, counts)); /* parts of a view have rows of their own */
    }
    if (!fits)
        fl_check_breaks(c, FL_VERIFY_DOMAIN, node, "node \"%s\" (%s) makes other rows than those of segment \"%s\"", fl_node_label(g, node), op_name(g, node), seg->symbol);
}

/* A node that makes a slot's part of static rows finds them in what `producer` makes in the same call, if that makes parts too. */
static bool is_of_slot(const fl_graph *g, fl_id node, fl_id producer, const fl_segment *seg)
{
    return seg->domain != FL_DOMAIN_SLOTS || g->nodes[node].op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD || !fl_makes_part_of_slot(g, node, seg->dim) ||
           fl_makes_part_of_slot(g, producer, seg->dim);
}

static void check_operands(fl_check *c, const fl_check_times *t, fl_id node, const fl_id *counts)
{
    const fl_graph *g = c->g;
    const fl_node *n = &g->nodes[node];
    const fl_segment *segments = g->schedule->segments, *seg = &segments[t->segment[node]];
    fl_place_of_work work = {seg->domain, seg->dim, seg->count};

    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k] == FL_NONE)
            continue;
        const char *name = g->values[n->in[k]].name;
        if (!fl_reads_used_rows(g, node, k, &work, counts))
            fl_check_breaks(c, FL_VERIFY_USED_ROWS, node, "node \"%s\" (%s) reads all places of \"%s\", used or not", fl_node_label(g, node), op_name(g, node), name);
        fl_id producer = fl_value_node(g, n->in[k]);
        if (producer == FL_NONE || t->segment[producer] == UINT32_MAX)
            continue;
        const fl_segment *made = &segments[t->segment[producer]];
        bool same = made == seg;
        if (same ? t->position[producer] >= t->position[node] : made->phase >= seg->phase)
            fl_check_breaks(c, FL_VERIFY_PHASES, node, "node \"%s\" (%s), phase %u, reads \"%s\" from segment \"%s\", phase %u", fl_node_label(g, node), op_name(g, node),
                            seg->phase, name, made->symbol, made->phase);
        else if (same && seg->domain != FL_DOMAIN_ONE && (!fl_reads_own_rows(g, node, k) || !is_of_slot(g, node, producer, seg)))
            fl_check_breaks(c, FL_VERIFY_OWN_ROWS, node, "node \"%s\" (%s) reads rows of \"%s\" that other calls of segment \"%s\" make", fl_node_label(g, node),
                            op_name(g, node), name, seg->symbol);
    }
}

fl_status fl_check_schedule(fl_check *c)
{
    const fl_graph *g = c->g;
    fl_arena scratch;
    fl_status status = FL_OK;

    fl_arena_init(&scratch);
    fl_check_times t = {fl_arena_new(&scratch, uint32_t, g->n_nodes + 1u), fl_arena_new(&scratch, uint32_t, g->n_nodes + 1u)};
    fl_id *counts = fl_distinct_counts(g, &scratch);
    if (!t.segment || !t.position || !counts) {
        fl_arena_deinit(&scratch);
        return fl_out_of_memory(c->dg);
    }
    check_segments(c);
    find_times(c, &t);
    if (c->broken == 0) {
        for (fl_id i = 0; i < g->n_nodes; i++) {
            if (t.segment[i] == UINT32_MAX)
                continue;
            check_domain(c, i, &g->schedule->segments[t.segment[i]], counts);
            check_operands(c, &t, i, counts);
        }
        if (g->schedule->storage)
            status = fl_check_memory(c, &t, &scratch);
    }
    fl_arena_deinit(&scratch);
    return status;
}
