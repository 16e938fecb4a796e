#include "passes/rows.h"

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

/* A switch over operators is right here: how an operator addresses rows is what tells it from others of its kind. */
bool fl_reads_own_rows(const fl_graph *g, fl_id node, uint32_t k)
{
    const fl_node *n = &g->nodes[node];
    fl_id in = n->in[k], out = first_output(n);

    if (in == FL_NONE || out == FL_NONE)
        return true;
    if (n->op == FL_OP_GATHER || n->op == FL_OP_FIELD_POOL)
        return k == 1;
    if (n->op == FL_OP_GEMM)
        return fl_node_int(g, node, "transA", 0) == 0 && k != 1 && same_rows(g, in, out);
    if (n->op == FL_OP_MATMUL || n->op == FL_OP_LINEAR)
        return k == 0 && same_leading(g, in, out);
    if (n->op == FL_OP_SLOT_LINEAR)
        return k < 2;
    if (n->op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD || n->op == FL_OP_SCATTER_ND)
        return true;
    if (n->op == FL_OP_FIELD_POOL_GRAD)
        return k < 4;
    if (n->op == FL_OP_GATHER_GRAD)
        return k > 0;
    if (n->op == FL_OP_EMBEDDING_BAG_GRAD)
        return k > 1;
    if (n->op == FL_OP_CONCAT || n->op == FL_OP_SPLIT)
        return !axis_is_first(g, node, 0) && same_leading(g, in, out);
    if (fl_op_has(n->op, FL_ELEMENTWISE))
        return same_rows(g, in, out);
    if (fl_op_has(n->op, FL_ROWWISE | FL_VIEW | FL_REDUCTION)) /* a reduction or slice of axis 0 changes the leading extent */
        return k == 0 || fl_op_has(n->op, FL_ROWWISE) ? same_leading(g, in, out) : false;
    return false;
}
