#include "ir/rows.h"

#include "ir/shape.h"

bool fl_same_work(const fl_place_of_work *a, const fl_place_of_work *b)
{
    return a->domain == b->domain && a->dim == b->dim && a->count == b->count;
}

static bool axis_is_first(const fl_graph *g, fl_id node, int64_t otherwise)
{
    int64_t axis = fl_node_int(g, node, "axis", otherwise);
    const fl_node *n = &g->nodes[node];
    return axis == 0 || axis == -(int64_t)fl_value_type(g, n->in[0])->rank;
}

/* Operand and result have the same rows: equal rank and leading dimension. */
static bool same_rows(const fl_graph *g, fl_id in, fl_id out)
{
    const fl_type *a = fl_value_type(g, in), *b = fl_value_type(g, out);
    return a->rank == b->rank && a->rank > 0 && a->dims[0] == b->dims[0];
}

static bool same_leading(const fl_graph *g, fl_id in, fl_id out)
{
    const fl_type *a = fl_value_type(g, in), *b = fl_value_type(g, out);
    return a->rank > 0 && b->rank > 0 && a->dims[0] == b->dims[0];
}

static fl_id first_output(const fl_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE)
            return n->out[i];
    return FL_NONE;
}

/* A reduction over constant axes other than the first. */
static bool keeps_first_axis(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    int64_t axes[FL_MAX_RANK], rank = fl_value_type(g, n->in[0])->rank;
    uint32_t count;
    if (n->n_in < 2 || n->in[1] == FL_NONE || !fl_value_ints(g, n->in[1], axes, FL_MAX_RANK, &count) || count == 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (axes[i] == 0 || axes[i] == -rank)
            return false;
    return true;
}

/* A switch over operators is right here: how an operator addresses rows is what tells it from others of its kind. */
bool fl_reads_own_rows(const fl_graph *g, fl_id node, uint32_t k)
{
    const fl_node *n = &g->nodes[node];
    fl_id in = n->in[k], out = first_output(n);

    if (in == FL_NONE || out == FL_NONE)
        return true;
    if (n->op == FL_OP_GATHER || n->op == FL_OP_FIELD_POOL || n->op == FL_OP_TABLE_POOL)
        return k % 2 == 1;
    if (n->op == FL_OP_GEMM)
        return fl_node_int(g, node, "transA", 0) == 0 && k != 1 && same_rows(g, in, out);
    if (n->op == FL_OP_LINEAR)
        return k == 0 && same_leading(g, in, out);
    if (n->op == FL_OP_MATMUL) { /* a batch of products goes through both operands row by row */
        int vector = k == 0 && fl_value_type(g, n->in[1])->rank == 1;
        bool batched = k == 0 || fl_value_type(g, in)->rank > 2;
        return batched && fl_value_type(g, in)->rank == fl_value_type(g, out)->rank + vector && same_leading(g, in, out);
    }
    if (n->op == FL_OP_TRANSPOSE) {
        const fl_attr *perm = fl_node_attr(g, node, "perm");
        return perm && perm->kind == FL_ATTR_INTS && perm->n > 0 && perm->as.ints[0] == 0;
    }
    if (n->op == FL_OP_TILE_SUM) /* a tile is in one hand */
        return true;
    if (n->op == FL_OP_SLOT_LINEAR || n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD || n->op == FL_OP_SCATTER_ND)
        return true;
    if (n->op == FL_OP_FIELD_POOL_GRAD)
        return k < 4;
    if (n->op == FL_OP_GATHER_GRAD)
        return k > 0;
    if (n->op == FL_OP_EMBEDDING_BAG_GRAD)
        return k > 1;
    if (n->op == FL_OP_CONCAT || n->op == FL_OP_SPLIT)
        return !axis_is_first(g, node, 0) && same_leading(g, in, out);
    if (n->op == FL_OP_ARG_MAX || n->op == FL_OP_ARG_MIN || n->op == FL_OP_GATHER_ELEMENTS)
        return !axis_is_first(g, node, 0) && same_leading(g, in, out);
    if (fl_op_has(n->op, FL_REDUCTION) && !keeps_first_axis(g, node))
        return false;
    if (fl_op_has(n->op, FL_ELEMENTWISE))
        return same_rows(g, in, out);
    if (fl_op_has(n->op, FL_ROWWISE | FL_VIEW | FL_REDUCTION)) /* a reduction or slice of axis 0 changes the leading extent */
        return k == 0 || fl_op_has(n->op, FL_ROWWISE) ? same_leading(g, in, out) : false;
    return false;
}

bool fl_goes_along_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    double axis = n->op == FL_OP_TOP_K ? (double)fl_node_int(g, node, "axis", -1) : 0;

    if (n->op != FL_OP_TOP_K && n->op != FL_OP_CUM_SUM)
        return false;
    if (n->op == FL_OP_CUM_SUM && !fl_value_scalar(g, n->in[1], &axis))
        return false; /* refused by its emitter */
    return axis == 0 || axis == -(double)fl_value_type(g, n->in[0])->rank;
}

bool fl_makes_part_of_slot(const fl_graph *g, fl_id node, fl_dim slots)
{
    const fl_node *n = &g->nodes[node];
    const fl_type *t = n->n_out == 1 && n->out[0] != FL_NONE ? fl_value_type(g, n->out[0]) : NULL;

    return t && (n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD || fl_op_has(n->op, FL_ELEMENTWISE)) && t->rank >= 2 && !FL_DIM_IS_SYM(t->dims[0]) && !FL_DIM_IS_SYM(slots) && slots > 0 && t->dims[0] > 0 &&
           t->dims[0] % slots == 0;
}

fl_id *fl_distinct_counts(const fl_graph *g, fl_arena *arena)
{
    fl_id *counts = fl_arena_new(arena, fl_id, g->n_symbols + 1u);
    for (uint32_t s = 0; counts && s <= g->n_symbols; s++)
        counts[s] = FL_NONE;
    for (fl_id i = 0; counts && i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if ((n->op != FL_OP_UNIQUE_ROWS && n->op != FL_OP_MERGE_ROWS) || n->n_out < 3 || n->out[0] == FL_NONE)
            continue;
        const fl_type *rows = fl_value_type(g, n->out[0]);
        if (rows->rank > 0 && FL_DIM_IS_SYM(rows->dims[0]))
            counts[FL_SYM_OF_DIM(rows->dims[0])] = n->out[2];
    }
    return counts;
}

/* The count of the distinct rows along one of the dimensions, alone or as a factor; *leading: along the first, alone, and along no other. FL_NONE: none. */
static fl_id distinct_of(const fl_graph *g, const fl_type *t, const fl_id *counts, bool *leading)
{
    fl_id found = FL_NONE;
    *leading = true;
    for (int d = 0; d < t->rank; d++) {
        fl_dim factors[FL_MAX_RANK];
        uint32_t n = fl_shape_factors(g, t->dims[d], factors);
        for (uint32_t k = 0; k < n; k++) {
            fl_id count = FL_DIM_IS_SYM(factors[k]) ? counts[FL_SYM_OF_DIM(factors[k])] : FL_NONE;
            *leading = *leading && (count == FL_NONE || (d == 0 && n == 1));
            found = count != FL_NONE ? count : found;
        }
    }
    return found;
}

bool fl_reads_used_rows(const fl_graph *g, fl_id node, uint32_t k, const fl_place_of_work *work, const fl_id *counts)
{
    const fl_node *n = &g->nodes[node];
    bool leading, by_index = k == 0 && (n->op == FL_OP_GATHER || n->op == FL_OP_FIELD_POOL || n->op == FL_OP_EMBEDDING_BAG);
    fl_id count = n->in[k] == FL_NONE ? FL_NONE : distinct_of(g, fl_value_type(g, n->in[k]), counts, &leading);
    if (count == FL_NONE || n->op == FL_OP_MERGE_ROWS)
        return true;
    if (by_index && leading)
        return n->op != FL_OP_GATHER || fl_node_int(g, node, "axis", 0) == 0;
    return leading && work->domain == FL_DOMAIN_SLOTS && work->count == count && fl_reads_own_rows(g, node, k);
}

uint32_t fl_bag_rows(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        const fl_type *t = n->op == FL_OP_EMBEDDING_BAG && n->out[0] != FL_NONE ? fl_value_type(g, n->out[0]) : NULL;
        if (t && t->rank > 0 && FL_DIM_IS_SYM(t->dims[0]))
            return FL_SYM_OF_DIM(t->dims[0]);
    }
    return FL_NONE;
}

/* ReduceSum over dimension 0, and others or not. */
static bool sums_all_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    int64_t axes[FL_MAX_RANK];
    uint32_t count;

    if (n->op != FL_OP_REDUCE_SUM || n->n_in < 2 || n->in[1] == FL_NONE || !fl_value_ints(g, n->in[1], axes, FL_MAX_RANK, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (axes[i] == 0 || axes[i] == -(int64_t)fl_value_type(g, n->in[0])->rank)
            return true;
    return false;
}

void fl_find_sparse_tiles(const fl_graph *g, bool *sparse)
{
    for (fl_id v = 0; v < g->n_values; v++)
        sparse[v] = fl_value_is(g, v, FL_OP_TILE_SUM) != FL_NONE;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE && !(k == 0 && sums_all_rows(g, i)))
                sparse[g->nodes[i].in[k]] = false;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        sparse[g->outputs[i]] = false;
}

bool fl_share_far_index(const fl_graph *g, fl_id a, fl_id b)
{
    const fl_node *x = &g->nodes[a], *y = &g->nodes[b];
    return x->op == FL_OP_FIELD_POOL && y->op == FL_OP_FIELD_POOL && x->in[1] == y->in[1] && g->values[x->in[0]].kind == FL_VALUE_VARIABLE &&
           g->values[y->in[0]].kind == FL_VALUE_VARIABLE;
}

bool fl_sums_rows(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    int64_t axis;
    uint32_t n_axes;

    if (n->op != FL_OP_REDUCE_SUM || n->n_in != 2 || n->in[1] == FL_NONE || !fl_value_ints(g, n->in[1], &axis, 1, &n_axes) || n_axes != 1)
        return false;
    const fl_type *t = fl_value_type(g, n->in[0]);
    fl_dim last = t->rank < 2 ? 0 : t->dims[t->rank - 1];
    return t->dtype == FL_FLOAT && (axis == t->rank - 1 || axis == -1) && !FL_DIM_IS_SYM(last) && last > 0 && last % FL_ROW_SUM_LANES == 0;
}
