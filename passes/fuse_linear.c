/*
 * fuse_linear.c -- a product, its bias and its activation become one Linear.
 *
 *   Relu(Add(MatMul(x, w), b))  ->  Linear<relu>(x, w, b)        Add(MatMul(x, w), b)  ->  Linear(x, w, b)
 *   Relu(MatMul(x, w))          ->  Linear<relu>(x, w)           Gemm(x, w, b)          ->  Linear(x, w, b), and with Relu
 *   Gemm<transB>(x, w, b)       ->  Linear(x, Transpose(w), b)   PyTorch keeps w so; where no step changes w: the prologue transposes it once
 *
 * x and w are matrices, b is a vector as wide as the result, and nobody else reads what is fused. After `differentiate`: the rules of
 * products and of Relu read results only, so that training graphs fuse as well. A lone MatMul stays what it is.
 *
 * Needs ORDER and SHAPES, keeps SHAPES. O(nodes).
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

typedef struct linear {
    fl_id x, w, bias;
    bool relu, transposed;
} linear;

/* v, read once, as the result of an `op`. */
static fl_id only(const fl_graph *g, const uint32_t *uses, fl_id v, fl_op op)
{
    return v != FL_NONE && uses[v] == 1 ? fl_value_is(g, v, op) : FL_NONE;
}

static bool match_product(const fl_graph *g, fl_id node, linear *l)
{
    if (node == FL_NONE)
        return false;
    const fl_node *n = &g->nodes[node];
    l->x = n->in[0];
    l->w = n->in[1];
    return fl_value_type(g, l->x)->rank == 2 && fl_value_type(g, l->w)->rank == 2 && fl_value_type(g, l->w)->dtype == FL_FLOAT;
}

/* Add(product, b) in either order. */
static bool match_biased(const fl_graph *g, const uint32_t *uses, fl_id node, linear *l)
{
    if (node == FL_NONE)
        return false;
    for (uint32_t k = 0; k < 2; k++) {
        fl_id product = only(g, uses, g->nodes[node].in[k], FL_OP_MATMUL), b = g->nodes[node].in[1 - k];
        if (!match_product(g, product, l))
            continue;
        const fl_type *t = fl_value_type(g, b), *w = fl_value_type(g, l->w);
        if (t->rank == 1 && t->dims[0] == w->dims[1] && t->dtype == FL_FLOAT) {
            l->bias = b;
            return true;
        }
    }
    return false;
}

/* A Gemm without factors, whose addend is a vector as wide as the result. */
static bool match_gemm(const fl_graph *g, fl_id node, linear *l)
{
    if (node == FL_NONE || !match_product(g, node, l))
        return false;
    const fl_node *n = &g->nodes[node];
    l->bias = n->n_in > 2 ? n->in[2] : FL_NONE;
    l->transposed = fl_node_int(g, node, "transB", 0) != 0;
    const fl_type *w = fl_value_type(g, l->w), *b = l->bias == FL_NONE ? NULL : fl_value_type(g, l->bias);
    bool plain = fl_node_int(g, node, "transA", 0) == 0 && fl_node_float(g, node, "alpha", 1) == 1 && fl_node_float(g, node, "beta", 1) == 1;
    bool fits = !b || (b->rank == 1 && b->dims[0] == w->dims[l->transposed ? 0 : 1] && b->dtype == FL_FLOAT);
    bool leaf = fl_value_node(g, l->w) == FL_NONE && g->n_updates == 0;
    return plain && fits && (!l->transposed || leaf);
}

static bool match(const fl_graph *g, const uint32_t *uses, fl_id node, linear *l)
{
    *l = (linear){FL_NONE, FL_NONE, FL_NONE, false, false};
    if (g->nodes[node].op == FL_OP_ADD)
        return match_biased(g, uses, node, l);
    if (g->nodes[node].op == FL_OP_GEMM)
        return match_gemm(g, node, l);
    if (g->nodes[node].op != FL_OP_RELU)
        return false;
    fl_id x = g->nodes[node].in[0];
    l->relu = true;
    return match_biased(g, uses, only(g, uses, x, FL_OP_ADD), l) || match_product(g, only(g, uses, x, FL_OP_MATMUL), l) ||
           match_gemm(g, only(g, uses, x, FL_OP_GEMM), l);
}

/* A sum or Gemm that only a Relu reads is left to the Relu. */
static bool is_inner(const fl_graph *g, const bool *feeds_relu, const uint32_t *uses, fl_id node)
{
    fl_id y = g->nodes[node].out[0];
    return g->nodes[node].op != FL_OP_RELU && uses[y] == 1 && feeds_relu[y];
}

fl_status fl_pass_fuse_linear(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t *uses = fl_graph_count_uses(g, &cx->scratch), n_nodes = g->n_nodes;
    bool *feeds_relu = fl_arena_new(&cx->scratch, bool, g->n_values + 1);
    fl_rewriter r;
    if (!uses || !feeds_relu || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n_nodes; i++)
        if (g->nodes[i].op == FL_OP_RELU)
            feeds_relu[g->nodes[i].in[0]] = true;
    for (fl_id i = 0; i < n_nodes; i++) {
        linear l;
        fl_op op = g->nodes[i].op;
        if ((op != FL_OP_ADD && op != FL_OP_RELU && op != FL_OP_GEMM) || is_inner(g, feeds_relu, uses, i) || !match(g, uses, i, &l))
            continue;
        if (l.transposed)
            l.w = fl_build_transpose(g, g->values[l.w].name, l.w);
        fl_id in[3] = {l.x, l.w, l.bias};
        fl_id node = fl_node_new(g, FL_OP_LINEAR, "linear", in, l.bias == FL_NONE ? 2 : 3, 1);
        fl_node_set_string(g, node, "activation", l.relu && !FL_PLANTED("fuse-linear") ? "relu" : "none");
        fl_build_infer(g, node);
        FL_TRY(fl_graph_ok(g, cx->diag));
        cx->n_changed += fl_rewriter_put(&r, g->nodes[i].out[0], fl_node_out(g, node, 0));
    }
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased = 0;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
