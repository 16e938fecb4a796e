/*
 * sum_tiles.c -- sums over the batch, tile by tile.
 *
 *   ReduceSum<axis 0> (x [B,n])                         ->  ReduceSum<axis 0> (TileSum (x))
 *   ReduceSum<axis 0> (Concat (ReduceSum<axis 1> (y_i [B,m]) ..))
 *                                                        ->  Concat (ReduceSum<axis 0> (ReduceSum<axis 0> (TileSum (y_i))) ..)
 *
 * for x and y_i that elementwise nodes make. Rows of a batch are made tile by tile (ir/schedule.h), and a tile's sum costs an addition a row while the row is in registers: x need
 * not be read again from wherever it went, and y_i, which nobody else reads, is never written. The second rule adds up rows before columns, which saves a sum across a
 * vector for each row. A step of FLEN has four such sums: two biases and the weights of both interactions.
 *
 * Needs ORDER and SHAPES, keeps SHAPES; in front of `segment`, as it means nothing else. Numbers change in rounding alone.
 */
#include "ir/rows.h"
#include "passes/rewrite.h"

enum { MAX_COLUMNS = 64 };

/* ReduceSum of floats over just this axis of a matrix. */
static bool sums_axis(const fl_graph *g, fl_id node, int64_t axis)
{
    const fl_node *n = node == FL_NONE ? NULL : &g->nodes[node];
    int64_t axes[FL_MAX_RANK];
    uint32_t count;

    return n && n->op == FL_OP_REDUCE_SUM && n->n_in == 2 && n->in[1] != FL_NONE && fl_value_type(g, n->in[0])->rank == 2 && fl_value_type(g, n->in[0])->dtype == FL_FLOAT &&
           fl_value_ints(g, n->in[1], axes, FL_MAX_RANK, &count) && count == 1 && (axes[0] == axis || axes[0] == axis - 2);
}

/* Rows of the batch, in whole vectors, that an elementwise node makes. */
static bool is_summed_in_tiles(const fl_graph *g, fl_id value, const fl_id *counts)
{
    const fl_type *t = fl_value_type(g, value);
    fl_id node = fl_value_node(g, value);

    return node != FL_NONE && fl_op_has(g->nodes[node].op, FL_ELEMENTWISE) && !fl_op_has(g->nodes[node].op, FL_VIEW) && t->rank == 2 && t->dtype == FL_FLOAT && FL_DIM_IS_SYM(t->dims[0]) &&
           counts[FL_SYM_OF_DIM(t->dims[0])] == FL_NONE && !FL_DIM_IS_SYM(t->dims[1]) && t->dims[1] > 0 && t->dims[1] % FL_ROW_SUM_LANES == 0;
}

/* Sums over the rows of x by way of its tiles. */
static fl_id build_sum(fl_graph *g, fl_id x, bool keep)
{
    return fl_build_reduce_sum(g, "sum", fl_build_1(g, FL_OP_TILE_SUM, "tiles", x), (int64_t[]){0}, 1, keep);
}

/* The sum [n] of columns that are row sums, by the sums of their terms' rows; FL_NONE: it is another. */
static fl_id sum_of_columns(fl_graph *g, fl_id concat, const fl_id *counts)
{
    const fl_node n = g->nodes[concat];
    fl_id parts[MAX_COLUMNS];

    if (n.n_in > MAX_COLUMNS || (fl_node_int(g, concat, "axis", 0) != 1 && fl_node_int(g, concat, "axis", 0) != -1))
        return FL_NONE;
    for (uint32_t k = 0; k < n.n_in; k++) {
        fl_id column = fl_value_node(g, n.in[k]);
        if (!sums_axis(g, column, 1) || fl_node_int(g, column, "keepdims", 1) == 0 || !is_summed_in_tiles(g, g->nodes[column].in[0], counts))
            return FL_NONE;
    }
    for (uint32_t k = 0; k < n.n_in; k++) {
        fl_id terms = g->nodes[fl_value_node(g, n.in[k])].in[0];
        parts[k] = fl_build_reduce_sum(g, "sum", build_sum(g, terms, false), (int64_t[]){0}, 1, true);
    }
    return fl_build_concat(g, "sums", parts, n.n_in, 0);
}

fl_status fl_pass_sum_tiles(fl_graph *g, fl_pass_ctx *cx)
{
    fl_id n = g->n_nodes, *counts = fl_distinct_counts(g, &cx->scratch);
    uint32_t erased;
    fl_rewriter r;

    if (!counts || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n; i++) {
        if (!sums_axis(g, i, 0))
            continue;
        fl_id x = g->nodes[i].in[0], out = g->nodes[i].out[0], maker = fl_value_node(g, x), sum = FL_NONE;
        bool keep = fl_node_int(g, i, "keepdims", 1) != 0;
        if (is_summed_in_tiles(g, x, counts))
            sum = build_sum(g, x, keep);
        else if (maker != FL_NONE && g->nodes[maker].op == FL_OP_CONCAT && !keep)
            sum = sum_of_columns(g, maker, counts);
        FL_TRY(fl_graph_ok(g, cx->diag));
        if (sum != FL_NONE)
            cx->n_changed += fl_rewriter_put(&r, out, sum);
    }
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
