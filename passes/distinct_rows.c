/*
 * distinct_rows.c -- look rows up once, however often they stand in the batch.
 *
 *   Gather(t, i), FieldPool(t, i), EmbeddingBag(t, i, o)  ->  the same of (Gather(t, rows), inverse)
 *                                                             with rows, inverse, ... = UniqueRows(i), once for each index i
 *   MatMul(Reshape(Gather(e, inverse)), w)                ->  FieldPool(SlotLinear(e, count, w), inverse) over all slots
 *   Gemm(Reshape(Gather(e, inverse)), w, c)               ->  the same, plus c
 *
 * The second rule is Gather(x, i) W = Gather(x W, i), slot by slot: the product is made for distinct rows, of which a batch has
 * several times fewer, and its gradients follow, because `differentiate` comes later. Both sides are equal but for rounding.
 *
 * Only look-ups that training differentiates are changed, and an index must be a matrix with a known number of columns or a vector.
 * Needs ORDER and SHAPES, keeps SHAPES. Does nothing in a graph without trained parameters. O(nodes + operands).
 */
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include "ir/base/planted.h"

#include <string.h>

typedef struct distinct {
    fl_graph *g;
    fl_pass_ctx *cx;
    bool *trained;  /* [n_values] depends on a trained parameter */
    fl_id *unique;  /* [n_values] the UniqueRows of an index; FL_NONE: none yet */
    uint32_t n_values;
} distinct;

static fl_id unique_of(distinct *d, fl_id index)
{
    fl_graph *g = d->g;
    fl_id *unique = &d->unique[FL_PLANTED("distinct-rows") ? 0 : index];
    if (*unique == FL_NONE) {
        const char *name = fl_arena_printf(&d->cx->scratch, "%s.distinct", g->values[index].name);
        *unique = fl_node_new(g, FL_OP_UNIQUE_ROWS, name ? name : "distinct", &index, 1, 5);
        fl_build_infer(g, *unique);
    }
    return *unique;
}

/* Operand that holds the index of a look-up by row; UINT32_MAX if the node is none. */
static uint32_t index_operand(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    if (n->op == FL_OP_GATHER)
        return fl_node_int(g, node, "axis", 0) == 0 && fl_value_type(g, n->in[0])->rank == 2 ? 1 : UINT32_MAX;
    return n->op == FL_OP_FIELD_POOL || n->op == FL_OP_EMBEDDING_BAG ? 1 : UINT32_MAX;
}

static bool fits(const fl_graph *g, fl_id index)
{
    const fl_type *t = fl_value_type(g, index);
    bool whole = t->dtype == FL_INT64 || t->dtype == FL_INT32;
    return whole && (t->rank == 1 || (t->rank == 2 && t->dims[1] > 0));
}

static void look_up_once(distinct *d, fl_id node)
{
    fl_graph *g = d->g;
    uint32_t k = index_operand(g, node);
    if (k == UINT32_MAX)
        return;
    fl_id data = g->nodes[node].in[0], index = g->nodes[node].in[k];
    if (!d->trained[data] || !fits(g, index))
        return;
    fl_id unique = unique_of(d, index);
    fl_id rows = fl_build_2(g, FL_OP_GATHER, "e_distinct", data, fl_node_out(g, unique, 0));
    if (rows == FL_NONE)
        return;
    g->nodes[node].in[0] = rows;
    g->nodes[node].in[k] = fl_node_out(g, unique, 1);
    d->cx->n_changed++;
}

/* The look-up of distinct rows behind `x`; FL_NONE if there is none. */
static fl_id distinct_look_up(const fl_graph *g, fl_id x)
{
    fl_id gather = fl_flat_look_up(g, x);
    fl_id unique = gather == FL_NONE ? FL_NONE : fl_value_is(g, g->nodes[gather].in[1], FL_OP_UNIQUE_ROWS);
    return unique != FL_NONE && g->nodes[gather].in[1] == g->nodes[unique].out[1] ? gather : FL_NONE;
}

static bool is_product(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    if (n->op == FL_OP_MATMUL)
        return true;
    return n->op == FL_OP_GEMM && fl_node_int(g, node, "transA", 0) == 0 && fl_node_int(g, node, "transB", 0) == 0 &&
           fl_node_float(g, node, "alpha", 1) == 1 && fl_node_float(g, node, "beta", 1) == 1;
}

static fl_status product_on_rows(distinct *d, fl_rewriter *r, fl_id node)
{
    fl_graph *g = d->g;
    if (!is_product(g, node))
        return FL_OK;
    fl_id *in = g->nodes[node].in, gather = distinct_look_up(g, in[0]), w = in[1];
    fl_id c = g->nodes[node].n_in > 2 ? in[2] : FL_NONE;
    const fl_type *tw = fl_value_type(g, w);
    if (gather == FL_NONE || tw->rank != 2 || tw->dtype != FL_FLOAT || FL_DIM_IS_SYM(tw->dims[0]) || FL_DIM_IS_SYM(tw->dims[1]))
        return FL_OK;
    fl_id e = g->nodes[gather].in[0], inverse = g->nodes[gather].in[1], unique = fl_value_node(g, inverse);
    int64_t slots = fl_value_type(g, inverse)->dims[1];
    fl_id product = fl_build_n(g, FL_OP_SLOT_LINEAR, "p_distinct", (fl_id[]){e, fl_node_out(g, unique, 2), w}, 3);
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "p_pool", (fl_id[]){product, inverse}, 2, 1);
    fl_node_set_ints(g, pool, "fields", &slots, 1);
    fl_build_infer(g, pool);
    fl_id y = fl_node_out(g, pool, 0);
    if (c != FL_NONE)
        y = fl_build_2(g, FL_OP_ADD, "sum", y, c);
    FL_TRY(fl_graph_ok(g, d->cx->diag));
    if (fl_rewriter_put(r, g->nodes[node].out[0], y))
        d->cx->n_changed++;
    return FL_OK;
}

fl_status fl_pass_distinct_rows(fl_graph *g, fl_pass_ctx *cx)
{
    distinct d = {.g = g, .cx = cx, .n_values = g->n_values};
    d.trained = fl_find_trained(g, &cx->scratch);
    d.unique = fl_arena_new(&cx->scratch, fl_id, g->n_values + 1);
    if (!d.trained || !d.unique)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        d.unique[v] = FL_NONE;
    uint32_t n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op != FL_OP_NOP && n->n_in > 0 && n->in[0] != FL_NONE)
            look_up_once(&d, i);
    }
    FL_TRY(fl_graph_ok(g, cx->diag));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter r;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++)
        FL_TRY(product_on_rows(&d, &r, i));
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased = 0;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
