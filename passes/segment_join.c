#include "passes/segment_join.h"

#include "ir/rows.h"

#include <string.h>

enum { JOIN_WINDOW = 256 }; /* nodes among which some are brought together */

bool fl_is_chained(const fl_graph *g, fl_id node)
{
    fl_op op = g->nodes[node].op;
    return fl_sums_rows(g, node) || op == FL_OP_TILE_SUM || fl_op_has(op, FL_ELEMENTWISE) || op == FL_OP_GATHER || op == FL_OP_SCATTER_ND || op == FL_OP_RANDOM_MASK;
}

/* What the node's loops run over. */
static const fl_type *loops_of(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    return fl_value_type(g, n->op == FL_OP_SCATTER_ND ? n->in[2] : n->op == FL_OP_REDUCE_SUM ? n->in[0] : n->out[0]);
}

bool fl_share_loops(const fl_graph *g, fl_id a, fl_id b)
{
    const fl_type *x = loops_of(g, a), *y = loops_of(g, b);
    return x->rank == y->rank && memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) == 0;
}

/* Does a pool in front of `node` spare it misses: another pool of the same index, or a Gather of the same rows? */
static bool shares_rows(const fl_graph *g, fl_id node, fl_id pool)
{
    const fl_node *n = &g->nodes[node], *p = &g->nodes[pool];
    return fl_share_far_index(g, node, pool) || (n->op == FL_OP_GATHER && n->in[0] == p->in[0] && n->in[1] == p->in[1]);
}

void fl_join_pools(const fl_graph *g, fl_segment *seg)
{
    for (uint32_t i = 1; i < seg->n_nodes; i++) {
        fl_id pool = seg->nodes[i];
        const fl_node *n = &g->nodes[pool];
        if (n->op != FL_OP_FIELD_POOL || g->values[n->in[0]].kind != FL_VALUE_VARIABLE || g->values[n->in[1]].kind != FL_VALUE_INPUT)
            continue;
        uint32_t to = i > JOIN_WINDOW ? i - JOIN_WINDOW : 0;
        while (to < i && !shares_rows(g, seg->nodes[to], pool))
            to++;
        to += to < i && g->nodes[seg->nodes[to]].op == FL_OP_FIELD_POOL;
        memmove(seg->nodes + to + 1, seg->nodes + to, (i - to) * sizeof *seg->nodes);
        seg->nodes[to] = pool;
    }
}

static bool reads_of(const fl_graph *g, fl_id node, fl_id from)
{
    for (uint32_t k = 0; k < g->nodes[node].n_in; k++)
        if (g->nodes[node].in[k] != FL_NONE && fl_value_node(g, g->nodes[node].in[k]) == from)
            return true;
    return false;
}

/* What it reads may change under way. */
static bool reads_variable(const fl_graph *g, fl_id node)
{
    for (uint32_t k = 0; k < g->nodes[node].n_in; k++) {
        fl_id v = g->nodes[node].in[k], maker = v == FL_NONE ? FL_NONE : fl_value_node(g, v);
        if (v != FL_NONE && (maker == FL_NONE || fl_op_has(g->nodes[maker].op, FL_VIEW)))
            return true;
    }
    return false;
}

void fl_join_products(const fl_graph *g, fl_segment *seg)
{
    for (uint32_t i = seg->n_nodes; i-- > 0;) {
        fl_id product = seg->nodes[i];
        uint32_t to = i + 1;
        bool weights = g->nodes[product].op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD;
        if (seg->domain != FL_DOMAIN_SLOTS || (g->nodes[product].op != FL_OP_SLOT_LINEAR && !weights) || (weights && reads_variable(g, product)))
            continue;
        while (to < seg->n_nodes && to < i + JOIN_WINDOW && (weights || !fl_is_chained(g, seg->nodes[to])) && !reads_of(g, seg->nodes[to], product))
            to++;
        if (to == seg->n_nodes || to == i + JOIN_WINDOW || !fl_is_chained(g, seg->nodes[to]))
            continue;
        memmove(seg->nodes + i, seg->nodes + i + 1, (to - 1 - i) * sizeof *seg->nodes);
        seg->nodes[to - 1] = product;
    }
}

void fl_join_tiles(const fl_graph *g, fl_segment *seg)
{
    for (uint32_t i = 1; i < seg->n_nodes; i++) {
        fl_id tiles = seg->nodes[i];
        if (g->nodes[tiles].op != FL_OP_TILE_SUM)
            continue;
        uint32_t end = i > JOIN_WINDOW ? i - JOIN_WINDOW : 0, to = i;
        while (to > end && !reads_of(g, tiles, seg->nodes[to - 1]))
            to--;
        if (to == end)
            continue;
        memmove(seg->nodes + to + 1, seg->nodes + to, (i - to) * sizeof *seg->nodes);
        seg->nodes[to] = tiles;
    }
}
