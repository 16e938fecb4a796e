#include "ir/cost.h"

#include "ir/functions.h"
#include "ir/shape.h"

#include <string.h>

static double extent(fl_dim d, const int64_t *extents)
{
    return (double)(FL_DIM_IS_SYM(d) ? extents[FL_SYM_OF_DIM(d)] : d);
}

/* Elements of a value from dimension `from` on; 0 if it is left out or has no shape. */
static double elements(const fl_graph *g, fl_id v, int from, const int64_t *extents)
{
    if (v == FL_NONE || fl_value_type(g, v)->rank < 0)
        return 0;
    const fl_type *t = fl_value_type(g, v);
    double n = 1;
    for (int i = from; i < t->rank; i++)
        n *= extent(t->dims[i], extents);
    return n;
}

static double bytes(const fl_graph *g, fl_id v, const int64_t *extents)
{
    return v == FL_NONE ? 0 : elements(g, v, 0, extents) * (double)fl_dtype_size(fl_value_type(g, v)->dtype);
}

/* Inputs come before the nodes that make symbols from them, so one sweep binds chains of them. */
void fl_cost_bind(const fl_graph *g, int64_t batch, int64_t *extents)
{
    for (uint32_t s = 0; s < g->n_symbols; s++)
        extents[s] = batch;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (fl_id i = 0; i < g->n_nodes; i++) {
            const fl_node *n = &g->nodes[i];
            double rows = 0;
            if ((n->op != FL_OP_UNIQUE_ROWS && n->op != FL_OP_MERGE_ROWS) || n->out[0] == FL_NONE)
                continue;
            for (uint32_t k = n->op == FL_OP_MERGE_ROWS; k < n->n_in; k += 3) /* the index; rows_1, rows_2, ... */
                rows += elements(g, n->in[k], 0, extents);
            const fl_type *t = fl_value_type(g, n->out[0]);
            if (t->rank == 1 && FL_DIM_IS_SYM(t->dims[0]))
                extents[FL_SYM_OF_DIM(t->dims[0])] = (int64_t)rows;
        }
        for (uint32_t s = 0; s < g->n_symbols; s++) {
            fl_dim factors[FL_MAX_RANK];
            uint32_t n = fl_shape_factors(g, FL_DIM_SYM(s), factors);
            double product = 1;
            for (uint32_t k = 0; k < n && n > 1; k++)
                product *= extent(factors[k], extents);
            if (n > 1)
                extents[s] = (int64_t)product;
        }
    }
}

/* The extent that a product of two matrices sums over; 0 for the other products. */
static double inner(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_node *n = &g->nodes[node];
    bool dense = n->op == FL_OP_LINEAR || n->op == FL_OP_MATMUL || n->op == FL_OP_GEMM;
    if (!dense || n->in[0] == FL_NONE || fl_value_type(g, n->in[0])->rank < 1)
        return 0;
    const fl_type *t = fl_value_type(g, n->in[0]);
    return extent(t->dims[fl_node_int(g, node, "transA", 0) ? 0 : t->rank - 1], extents);
}

static double product_flops(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_node *n = &g->nodes[node];
    double out = elements(g, n->out[0], 0, extents), k = inner(g, node, extents);
    bool activates = strcmp(fl_node_string(g, node, "activation", "none"), "none") != 0;
    if (k > 0)
        return 2 * k * out + (n->n_in > 2 && n->in[2] != FL_NONE ? out : 0) + (activates ? out : 0);
    /* SlotLinear, transposed or not, and its gradient: each element of the first operand meets as many of a slot's weights as a row of the result has. */
    return 2 * elements(g, n->in[0], 0, extents) * elements(g, n->out[0], 1, extents);
}

/* Operators whose work is neither one operation an element nor a product or a reduction of the first operand. */
static double own_flops(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_node *n = &g->nodes[node];
    double out = n->n_out ? elements(g, n->out[0], 0, extents) : 0;
    double m = (double)fl_node_int(g, node, "fields", 0);

    switch ((int)n->op) {
    case FL_OP_FIELD_POOL: /* every looked-up element is added, and squared and added */
        return elements(g, n->in[1], 0, extents) * elements(g, n->in[0], 1, extents) * (fl_node_int(g, node, "squares", 0) ? 3 : 1);
    case FL_OP_TABLE_POOL:
        for (uint32_t k = 1; k < n->n_in; k += 2)
            m += elements(g, n->in[k], 0, extents) * elements(g, n->in[0], 1, extents) * (fl_node_int(g, node, "squares", 0) ? 3 : 1);
        return m;
    case FL_OP_DOT_INTERACTION:
        return 2 * out * elements(g, n->in[0], 2, extents);
    case FL_OP_FIELD_INTERACTION: /* a pair: two products, one sum; a field's own term: the same and a difference */
        return out * ((n->in[0] != FL_NONE ? 3 * m * (m - 1) / 2 : 0) + (n->in[1] != FL_NONE ? 4 * m : 0));
    case FL_OP_EMBEDDING_BAG:
        return elements(g, n->in[1], 0, extents) * elements(g, n->in[0], 1, extents);
    case FL_OP_FIELD_POOL_GRAD:
        return elements(g, n->in[2], 0, extents) * elements(g, n->out[0], 1, extents) * (fl_node_int(g, node, "squares", 0) ? 2 : 1);
    case FL_OP_GATHER_GRAD:
    case FL_OP_EMBEDDING_BAG_GRAD:
        return elements(g, n->in[0], 0, extents);
    case FL_OP_MERGE_ROWS:
        return elements(g, n->out[1], 0, extents);
    case FL_OP_LOG_LOSS:
    case FL_OP_LOG_LOSS_GRAD:
        return 6 * out;
    case FL_OP_BATCH_NORM:
    case FL_OP_BATCH_NORMALIZATION:
        return 4 * out;
    case FL_OP_DROPOUT:
    case FL_OP_RANDOM_MASK:
        return out;
    default:
        return 0;
    }
}

static double flops(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_node *n = &g->nodes[node];
    if (n->n_out == 0 || fl_op_has(n->op, FL_VIEW))
        return 0;
    if (fl_op_has(n->op, FL_ELEMENTWISE))
        return elements(g, n->out[0], 0, extents) * (n->n_in > 1 ? n->n_in - 1 : 1);
    if (fl_op_has(n->op, FL_REDUCTION))
        return elements(g, n->in[0], 0, extents);
    if (fl_op_has(n->op, FL_PRODUCT))
        return product_flops(g, node, extents);
    if (fl_op_has(n->op, FL_OPTIMISER)) /* about six operations on each element of the gradient */
        return 6 * elements(g, n->in[fl_op_get(n->op)->min_in - 2], 0, extents);
    return own_flops(g, node, extents);
}

/* All nodes of the function; symbols are those of the same name. */
static fl_cost call_cost(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_graph *f = fl_function_of(g, node);
    int64_t own[64];
    fl_cost sum = {0, 0};
    if (!f || f->n_symbols > FL_COUNT(own))
        return sum;
    for (uint32_t s = 0; s < f->n_symbols; s++) {
        own[s] = 1;
        for (uint32_t k = 0; k < g->n_symbols; k++)
            if (strcmp(g->symbols[k], f->symbols[s]) == 0)
                own[s] = extents[k];
    }
    for (fl_id i = 0; i < f->n_nodes; i++) {
        fl_cost c = fl_node_cost(f, i, own);
        sum = (fl_cost){sum.flops + c.flops, sum.bytes + c.bytes};
    }
    return sum;
}

fl_cost fl_node_cost(const fl_graph *g, fl_id node, const int64_t *extents)
{
    const fl_node *n = &g->nodes[node];
    if (n->op == FL_OP_CALL)
        return call_cost(g, node, extents);
    fl_cost c = {flops(g, node, extents), 0};

    if (fl_op_has(n->op, FL_VIEW) || n->op == FL_OP_CONSTANT || n->op == FL_OP_SHAPE)
        return c;
    bool gathers = fl_op_has(n->op, FL_GATHERING);
    for (uint32_t k = 0; gathers && k < fl_look_ups(n) && fl_value_type(g, n->in[0])->rank > 0; k++)
        c.bytes += elements(g, n->in[2 * k + 1], 0, extents) * elements(g, n->in[2 * k], 1, extents) *
                   (double)fl_dtype_size(fl_value_type(g, n->in[2 * k])->dtype);
    /* ScatterND writes rows into the table that it is given. */
    bool scatters = n->op == FL_OP_SCATTER_ND;
    for (uint32_t i = gathers || scatters; i < n->n_in; i++)
        if (!gathers || i % 2 == 1 || i / 2 >= fl_look_ups(n)) /* not the whole tables */
            c.bytes += bytes(g, n->in[i], extents);
    for (uint32_t i = 0; i < n->n_out && !scatters; i++)
        c.bytes += bytes(g, n->out[i], extents);
    return scatters ? (fl_cost){0, c.bytes + bytes(g, n->in[2], extents)} : c;
}

static double guessed_row_elements(const fl_type *t)
{
    double elements = 1;
    for (int d = 1; d < t->rank; d++)
        elements *= FL_DIM_IS_SYM(t->dims[d]) ? 16 : (double)t->dims[d];
    return elements;
}

/* 1/32 ns for a multiply-add of a product and an element of arithmetic, 1/8 for an element that is looked up or moved. */
double fl_cost_guess_ns(const fl_graph *g, const fl_node *node)
{
    bool product = fl_op_has(node->op, FL_PRODUCT), sum = fl_op_has(node->op, FL_GATHERING);
    double ns = 0;

    for (uint32_t k = 0; k < node->n_out; k++)
        if (node->out[k] != FL_NONE)
            ns += (product || fl_op_has(node->op, FL_ELEMENTWISE) ? 0.03125 : 0.125) * guessed_row_elements(fl_value_type(g, node->out[k]));
    if ((!product && !sum) || node->n_in < 2 || node->in[0] == FL_NONE || node->in[1] == FL_NONE)
        return ns;
    if (node->op == FL_OP_TABLE_POOL) /* a result has a share of the columns */
        return ns * fl_look_ups(node) / node->n_out;
    return ns * guessed_row_elements(fl_value_type(g, node->in[product ? 0 : 1]));
}
