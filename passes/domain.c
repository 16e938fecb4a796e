/*
 * domain.c -- domains and reads of nodes; ir/README.md, "Schedule".
 *
 * The result's leading dimension decides: a symbol that counts distinct rows gives SLOTS, any other symbol ROWS, a matrix of at least
 * MIN_ROWS rows ROWS as well, the rest ONE. Nodes that go over distinct rows with a result of another shape (ScatterND, the weight
 * gradient of SlotLinear) follow the operand that has the distinct rows.
 */
#include "passes/domain.h"

enum { MIN_ROWS = 16 };

fl_id *fl_domain_sources(const fl_graph *g, fl_arena *scratch)
{
    fl_id *sources = fl_arena_new(scratch, fl_id, g->n_symbols + 1u);
    if (!sources)
        return NULL;
    for (uint32_t s = 0; s < g->n_symbols; s++)
        sources[s] = FL_NONE;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op != FL_OP_UNIQUE_ROWS && n->op != FL_OP_MERGE_ROWS)
            continue;
        fl_dim rows = n->out[0] == FL_NONE ? 0 : g->values[n->out[0]].type.dims[0];
        if (FL_DIM_IS_SYM(rows))
            sources[FL_SYM_OF_DIM(rows)] = n->out[2];
    }
    return sources;
}

/* The operand whose leading dimension the node goes over; FL_NONE: its result's. */
static fl_id leader(const fl_node *n)
{
    if (n->op == FL_OP_SCATTER_ND)
        return n->in[1];
    if (n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD)
        return n->in[0];
    return n->n_out ? n->out[0] : FL_NONE;
}

fl_node_domain fl_domain_of(const fl_graph *g, fl_id node, const fl_id *sources)
{
    const fl_node *n = &g->nodes[node];
    fl_node_domain d = {.kind = FL_DOMAIN_ONE, .dim = 1, .count = FL_NONE, .rows = 1};
    if (n->op == FL_OP_NOP || n->op == FL_OP_CONSTANT) {
        d.absent = true;
        return d;
    }
    if (n->op == FL_OP_MERGE_ROWS) {
        d.alone = true;
        return d;
    }
    if (n->op == FL_OP_UNIQUE_ROWS) {
        d = (fl_node_domain){FL_DOMAIN_SLOTS, g->values[n->out[2]].type.dims[0], n->out[2], g->values[n->out[0]].type.dims[0], true, false};
        return d;
    }
    fl_id lead = leader(n);
    for (uint32_t k = 0; lead == FL_NONE && k < n->n_out; k++) /* outputs that nobody wants */
        lead = n->out[k];
    const fl_type *t = fl_value_type(g, lead);
    if (t->rank < 1)
        return d;
    fl_dim rows = t->dims[0];
    fl_id count = FL_DIM_IS_SYM(rows) ? sources[FL_SYM_OF_DIM(rows)] : FL_NONE;
    if (count != FL_NONE)
        return (fl_node_domain){FL_DOMAIN_SLOTS, g->values[count].type.dims[0], count, rows, false, false};
    if (FL_DIM_IS_SYM(rows) || (t->rank >= 2 && rows >= MIN_ROWS))
        return (fl_node_domain){FL_DOMAIN_ROWS, rows, FL_NONE, rows, false, false};
    return d;
}

bool fl_domain_equal(const fl_node_domain *a, const fl_node_domain *b)
{
    return a->kind == b->kind && a->dim == b->dim && a->count == b->count;
}

/* A view, reduction or concatenation that goes along dimension 0. */
static bool along_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    int rank = n->in[0] == FL_NONE ? 0 : g->values[n->in[0]].type.rank; /* FieldInteraction may have no r_mf */
    int64_t axes[FL_MAX_RANK];
    uint32_t n_axes;
    if (n->op == FL_OP_CONCAT || n->op == FL_OP_SPLIT) {
        int64_t axis = fl_node_int(g, node, "axis", 0);
        return axis == 0 || axis + rank == 0;
    }
    uint32_t at = n->op == FL_OP_SLICE ? 3 : 1;
    if (n->op != FL_OP_SLICE && !fl_op_has(n->op, FL_REDUCTION))
        return false;
    if (n->n_in <= at || n->in[at] == FL_NONE || !fl_value_ints(g, n->in[at], axes, FL_MAX_RANK, &n_axes))
        return true;
    for (uint32_t i = 0; i < n_axes; i++)
        if (axes[i] == 0 || axes[i] + rank == 0)
            return true;
    return false;
}

/* Operands that are read by row, for operators whose traits do not say it. */
static bool reads_by_row(const fl_graph *g, fl_id node, uint32_t k)
{
    const fl_node *n = &g->nodes[node];
    if (fl_op_has(n->op, FL_GATHERING))
        return k == 1 && n->n_in == 2; /* the index */
    switch ((int)n->op) {
    case FL_OP_MATMUL:
    case FL_OP_LINEAR:
        return k == 0 || g->values[n->in[k]].type.rank > 2;
    case FL_OP_GEMM:
        return k == 2 || (k == 0 && fl_node_int(g, node, "transA", 0) == 0);
    case FL_OP_SLOT_LINEAR:
    case FL_OP_FIELD_POOL_GRAD:
        return k == 0;
    case FL_OP_SLOT_LINEAR_WEIGHT_GRAD:
        return k != 1;
    case FL_OP_SCATTER_ND:
        return k > 0;
    case FL_OP_GATHER_GRAD:
    case FL_OP_EMBEDDING_BAG_GRAD:
    case FL_OP_UNIQUE_ROWS:
    case FL_OP_MERGE_ROWS:
    case FL_OP_TRANSPOSE:
        return false;
    }
    return !along_rows(g, node);
}

fl_read fl_domain_read(const fl_graph *g, fl_id node, uint32_t operand, const fl_node_domain *d)
{
    const fl_node *n = &g->nodes[node];
    fl_id v = n->in[operand];
    if (v == FL_NONE || n->op == FL_OP_SHAPE || (n->op == FL_OP_RANDOM_MASK && operand == 0))
        return FL_READ_NOT;
    if ((n->op == FL_OP_RESHAPE || n->op == FL_OP_EXPAND) && operand == 1)
        return FL_READ_NOT;
    if (fl_value_is(g, v, FL_OP_CONSTANT) != FL_NONE)
        return FL_READ_NOT;
    const fl_type *t = fl_value_type(g, v);
    bool rows = d->kind != FL_DOMAIN_ONE && t->rank >= 1 && t->dims[0] == d->rows;
    if (fl_op_has(n->op, FL_ELEMENTWISE) || n->op == FL_OP_EXPAND) /* numpy's broadcasting aligns the last dimensions */
        rows = rows && t->rank == g->values[n->out[0]].type.rank;
    return rows && reads_by_row(g, node, operand) ? FL_READ_OWN : FL_READ_WHOLE;
}
