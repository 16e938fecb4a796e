/*
 * split_products.c -- a product whose columns go separate ways is made in its parts.
 *
 *   y = x w;  y_0, y_1 = Split <axis = 1> (y)        ->   y_0 = x w_0;  y_1 = x w_1        with w's columns split, or its rows for transB
 *
 * So it is with the gradient of what layers read together (a Concat): every part then has lines of its own, where whoever reads it by rows, as the sums of a
 * row's gradients do, finds nothing else in them, and a part of 32 columns beside a lone one begins where a vector begins. Numbers change in
 * rounding at most: a product of one column sums its terms in lanes. Each part reads x again, so a product in more than MAX_PARTS parts stays whole.
 *
 * MatMul and Gemm without an addend, of matrices; the Split alone reads the product. Needs ORDER and SHAPES, keeps SHAPES. O(nodes).
 */
#include "passes/rewrite.h"

enum { MAX_PARTS = 4 };

/* The product that alone the Split `node` reads, FL_NONE if it is another; its weights are split along *axis. */
static fl_id product_of(const fl_graph *g, fl_id node, const uint32_t *uses, int64_t *axis)
{
    const fl_node *n = &g->nodes[node];
    fl_id product = fl_value_node(g, n->in[0]);
    int64_t along = fl_node_int(g, node, "axis", 0);

    if (product == FL_NONE || n->n_out > MAX_PARTS || (along != 1 && along != -1) || uses[n->in[0]] != 1)
        return FL_NONE;
    const fl_node *p = &g->nodes[product];
    bool gemm = p->op == FL_OP_GEMM && fl_node_int(g, product, "transA", 0) == 0 && (p->n_in < 3 || p->in[2] == FL_NONE);
    if ((!gemm && p->op != FL_OP_MATMUL) || fl_value_type(g, p->in[0])->rank != 2 || fl_value_type(g, p->in[1])->rank != 2)
        return FL_NONE;
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] == FL_NONE || FL_DIM_IS_SYM(fl_value_type(g, n->out[k])->dims[1]))
            return FL_NONE;
    *axis = gemm && fl_node_int(g, product, "transB", 0) != 0 ? 0 : 1;
    return product;
}

static fl_status split(fl_graph *g, fl_pass_ctx *cx, fl_rewriter *r, fl_id node, fl_id product, int64_t axis)
{
    uint32_t n = g->nodes[node].n_out;
    fl_id x = g->nodes[product].in[0], w = g->nodes[product].in[1], part[MAX_PARTS];
    fl_op op = g->nodes[product].op;
    int64_t sizes[MAX_PARTS];

    for (uint32_t k = 0; k < n; k++)
        sizes[k] = fl_value_type(g, g->nodes[node].out[k])->dims[1];
    fl_build_split(g, "weights", w, axis, sizes, n, part);
    for (uint32_t k = 0; k < n; k++) {
        fl_id old = g->nodes[node].out[k];
        fl_id made = fl_node_new(g, op, g->values[old].name, (fl_id[]){x, part[k]}, 2, 1);
        if (op == FL_OP_GEMM) {
            fl_node_set_float(g, made, "alpha", fl_node_float(g, product, "alpha", 1.0));
            fl_node_set_int(g, made, "transB", axis == 0);
        }
        fl_build_infer(g, made);
        FL_TRY(fl_graph_ok(g, cx->diag));
        cx->n_changed += fl_rewriter_put(r, old, fl_node_out(g, made, 0));
    }
    return FL_OK;
}

fl_status fl_pass_split_products(fl_graph *g, fl_pass_ctx *cx)
{
    fl_id n = g->n_nodes, product;
    uint32_t erased, *uses = fl_graph_count_uses(g, &cx->scratch);
    int64_t axis;
    fl_rewriter r;

    if (!uses || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n; i++)
        if (g->nodes[i].op == FL_OP_SPLIT && (product = product_of(g, i, uses, &axis)) != FL_NONE)
            FL_TRY(split(g, cx, &r, i, product, axis));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
