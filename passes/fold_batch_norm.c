/*
 * fold_batch_norm.c -- batch norm in inference is a scale and a shift that depend on weights alone.
 *
 *   BatchNormalization(x, gamma, beta, mean, var)  ->  Add(Mul(x, scale), shift)
 *   with scale = gamma / sqrt(var + epsilon), shift = beta - mean * scale
 *
 * scale and shift then move into the prologue (prologue.c). Only for x [B,H]: other ranks stay ONNX's operator.
 * Needs ORDER and SHAPES, keeps SHAPES. O(nodes).
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

static fl_id op2(fl_graph *g, fl_op op, const char *base, fl_id a, fl_id b)
{
    return fl_build_2(g, op, base, a, b);
}

fl_status fl_pass_fold_batch_norm(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    uint32_t n_nodes = g->n_nodes;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n_nodes; i++) {
        const fl_node n = g->nodes[i];
        if (n.op != FL_OP_BATCH_NORMALIZATION || fl_value_type(g, n.in[0])->rank != 2)
            continue;
        fl_id epsilon = fl_build_scalar(g, "epsilon", FL_PLANTED("fold-batch-norm") ? 0 : fl_node_float(g, i, "epsilon", 1e-5));
        fl_id deviation = fl_build_1(g, FL_OP_SQRT, "bn_deviation", op2(g, FL_OP_ADD, "bn_held", n.in[4], epsilon));
        fl_id scale = op2(g, FL_OP_DIV, "bn_scale", n.in[1], deviation);
        fl_id shift = op2(g, FL_OP_SUB, "bn_shift", n.in[2], op2(g, FL_OP_MUL, "bn_offset", n.in[3], scale));
        fl_id y = op2(g, FL_OP_ADD, "bn", op2(g, FL_OP_MUL, "bn_scaled", n.in[0], scale), shift);
        FL_TRY(fl_graph_ok(g, cx->diag));
        cx->n_changed += fl_rewriter_put(&r, n.out[0], y);
    }
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased = 0;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
