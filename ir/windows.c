#include "ir/windows.h"

#include "ir/rows.h"

/* The segment of each node; FL_NONE: none. */
static uint32_t *segments_of(const fl_graph *g, fl_arena *arena)
{
    uint32_t *of = fl_arena_new(arena, uint32_t, g->n_nodes + 1u);

    for (fl_id i = 0; of && i < g->n_nodes; i++)
        of[i] = FL_NONE;
    for (uint32_t s = 0; of && s < g->schedule->n_segments; s++)
        for (uint32_t k = 0; k < g->schedule->segments[s].n_nodes; k++)
            of[g->schedule->segments[s].nodes[k]] = s;
    return of;
}

static int64_t slots_of_fields(const fl_attr *fields)
{
    int64_t slots = 0;

    for (uint32_t m = 0; m < fields->n; m++)
        slots += fields->as.ints[m];
    return slots;
}

/* Does the node sum floats of distinct rows that `segment` makes by the inverse that it makes, in the next phase and row by row of the batch? */
static bool is_pool(const fl_graph *g, const uint32_t *segment_of, uint32_t segment, const fl_node *unique, fl_id node)
{
    const fl_schedule *s = g->schedule;
    const fl_node *n = &g->nodes[node];
    const fl_attr *fields = n->op == FL_OP_FIELD_POOL ? fl_node_attr(g, node, "fields") : NULL;

    if (!fields || fields->kind != FL_ATTR_INTS || n->n_in != 2 || n->in[1] != unique->out[1] || segment_of[node] == FL_NONE)
        return false;
    const fl_segment *at = &s->segments[segment_of[node]];
    const fl_type *t = fl_value_type(g, n->in[0]), *index = fl_value_type(g, n->in[1]);
    fl_id maker = fl_value_node(g, n->in[0]);
    return at->domain == FL_DOMAIN_ROWS && at->dim == index->dims[0] && at->phase == s->segments[segment].phase + 1 && maker != FL_NONE &&
           segment_of[maker] == segment && s->storage[n->in[0]].kind == FL_STORAGE_BUFFER && t->rank == 2 && t->dtype == FL_FLOAT && !FL_DIM_IS_SYM(t->dims[1]) &&
           t->dims[0] == fl_value_type(g, unique->out[0])->dims[0] && slots_of_fields(fields) == s->segments[segment].dim;
}

static void add_pool(const fl_graph *g, fl_windows *w, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    int64_t width = fl_value_type(g, n->in[0])->dims[1];
    bool seen = false;

    for (uint32_t k = 0; k < w->n_pools; k++)
        seen = seen || g->nodes[w->pools[k]].in[0] == n->in[0];
    w->row_bytes += seen ? 0 : width * (int64_t)sizeof(float);
    w->at[w->n_pools] = w->sums;
    w->pools[w->n_pools++] = node;
    w->sums += width * n->n_out;
}

uint32_t fl_windows_pool(const fl_windows *w, fl_id node)
{
    for (uint32_t k = 0; k < w->n_pools; k++)
        if (w->pools[k] == node)
            return k;
    return FL_NONE;
}

/* Values that the segment makes of distinct rows, each alone in its buffer, and that no one but the segment itself, along its rows, and the pools read. */
static void find_reused(const fl_graph *g, const uint32_t *segment_of, fl_windows *w)
{
    const fl_schedule *s = g->schedule;

    for (fl_id v = 0; v < g->n_values; v++) {
        fl_id maker = fl_value_node(g, v);
        const fl_type *t = fl_value_type(g, v);
        w->reused[v] = maker != FL_NONE && segment_of[maker] == w->segment && s->storage[v].kind == FL_STORAGE_BUFFER && t->rank == 2 && t->dims[0] == w->rows &&
                       !FL_DIM_IS_SYM(t->dims[1]) && s->buffers[s->storage[v].buffer].kind == FL_BUFFER_ARENA;
    }
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k];
            bool here = segment_of[i] == w->segment && v != FL_NONE && fl_reads_own_rows(g, i, k) && !fl_op_has(g->nodes[i].op, FL_VIEW);
            if (v != FL_NONE && !here && !(k == 0 && fl_windows_pool(w, i) != FL_NONE))
                w->reused[v] = false;
        }
    for (uint32_t k = 0; k < g->n_outputs; k++)
        w->reused[g->outputs[k]] = false;
    for (fl_id a = 0; a < g->n_values; a++)
        for (fl_id b = 0; w->reused[a] && b < g->n_values; b++)
            if (a != b && s->storage[b].kind == FL_STORAGE_BUFFER && s->storage[b].buffer == s->storage[a].buffer)
                w->reused[a] = false;
}

static bool any(const bool *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i])
            return true;
    return false;
}

bool fl_windows_find(const fl_graph *g, fl_arena *arena, fl_windows *out)
{
    const fl_schedule *s = g->schedule;
    uint32_t *segment_of = segments_of(g, arena);
    fl_windows w = {.segment = FL_NONE};

    w.pools = fl_arena_new(arena, fl_id, g->n_nodes + 1u);
    w.at = fl_arena_new(arena, int64_t, g->n_nodes + 1u);
    w.reused = fl_arena_new(arena, bool, g->n_values + 1u);
    if (!segment_of || !w.pools || !w.at || !w.reused)
        return false;
    *out = w;
    for (uint32_t i = 0; i < s->n_segments; i++) {
        const fl_segment *seg = &s->segments[i];
        fl_id unique = seg->domain == FL_DOMAIN_SLOTS && seg->dim >= FL_MANY_SLOTS ? fl_value_node(g, seg->count) : FL_NONE;
        if (unique == FL_NONE || g->nodes[unique].op != FL_OP_UNIQUE_ROWS || g->nodes[unique].out[0] == FL_NONE || g->nodes[unique].out[1] == FL_NONE || segment_of[unique] != i)
            continue;
        for (fl_id node = 0; node < g->n_nodes; node++)
            if (is_pool(g, segment_of, i, &g->nodes[unique], node))
                add_pool(g, &w, node);
        w.segment = i;
        w.slots = seg->dim;
        w.rows = fl_value_type(g, g->nodes[unique].out[0])->dims[0];
        if (w.n_pools > 0)
            find_reused(g, segment_of, &w);
        if (w.n_pools > 0 && any(w.reused, g->n_values)) {
            *out = w;
            return true;
        }
        w.n_pools = 0;
        w.sums = w.row_bytes = 0;
    }
    return true;
}
