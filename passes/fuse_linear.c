/*
 * fuse_linear.c -- a product, its bias and its activation become one Linear.
 *
 *   Relu(Add(MatMul(x, w), b))  ->  Linear<relu>(x, w, b)        Add(MatMul(x, w), b)  ->  Linear(x, w, b)
 *   Relu(MatMul(x, w))          ->  Linear<relu>(x, w)           Gemm(x, w, b)          ->  Linear(x, w, b), and with Relu
 *   Gemm<transB>(x, w, b)       ->  Linear(x, Transpose(w), b)   PyTorch keeps w so; where no step changes w: the prologue transposes it once
 *   Add(Mul(product and bias, s), t)  ->  Linear(x, w s, b s + t), with or without Relu: batch norm behind a layer; where the weights, s and t are
 *                                         weights alone, so that the prologue computes them
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
    fl_id scale, shift; /* of the result's columns; FL_NONE: none */
} linear;

/* What a match reads besides the graph. */
typedef struct facts {
    const uint32_t *uses;
    bool *fixed; /* by value: computed from weights alone, which no step changes */
} facts;

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
static bool match_biased(const fl_graph *g, const facts *x, fl_id node, linear *l)
{
    if (node == FL_NONE)
        return false;
    for (uint32_t k = 0; k < 2; k++) {
        fl_id product = only(g, x->uses, g->nodes[node].in[k], FL_OP_MATMUL), b = g->nodes[node].in[1 - k];
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

static const linear none = {FL_NONE, FL_NONE, FL_NONE, false, false, FL_NONE, FL_NONE};

static bool is_columns(const fl_graph *g, const facts *x, fl_id v, const linear *l)
{
    const fl_type *t = fl_value_type(g, v);
    return x->fixed[v] && t->rank == 1 && t->dtype == FL_FLOAT && t->dims[0] == fl_value_type(g, l->w)->dims[l->transposed ? 0 : 1];
}

/* Add(Mul(product, scale), shift), each in either order. */
static bool match_scaled(const fl_graph *g, const facts *x, fl_id node, linear *l)
{
    for (uint32_t k = 0; k < 4; k++) {
        fl_id mul = only(g, x->uses, g->nodes[node].in[k / 2], FL_OP_MUL), shift = g->nodes[node].in[1 - k / 2];
        if (mul == FL_NONE)
            continue;
        fl_id y = g->nodes[mul].in[k % 2], scale = g->nodes[mul].in[1 - k % 2];
        *l = none;
        bool found = match_biased(g, x, only(g, x->uses, y, FL_OP_ADD), l) || match_product(g, only(g, x->uses, y, FL_OP_MATMUL), l) ||
                     match_gemm(g, only(g, x->uses, y, FL_OP_GEMM), l);
        if (!found || !x->fixed[l->w] || (l->bias != FL_NONE && !x->fixed[l->bias]) || !is_columns(g, x, scale, l) || !is_columns(g, x, shift, l))
            continue;
        l->scale = scale;
        l->shift = shift;
        return true;
    }
    *l = none;
    return false;
}

static bool match_sum(const fl_graph *g, const facts *x, fl_id node, linear *l)
{
    return node != FL_NONE && (match_scaled(g, x, node, l) || match_biased(g, x, node, l));
}

static bool match(const fl_graph *g, const facts *x, fl_id node, linear *l)
{
    *l = none;
    if (g->nodes[node].op == FL_OP_ADD)
        return match_sum(g, x, node, l);
    if (g->nodes[node].op == FL_OP_GEMM)
        return match_gemm(g, node, l);
    if (g->nodes[node].op != FL_OP_RELU)
        return false;
    fl_id y = g->nodes[node].in[0];
    bool found = match_sum(g, x, only(g, x->uses, y, FL_OP_ADD), l) || match_product(g, only(g, x->uses, y, FL_OP_MATMUL), l) ||
                 match_gemm(g, only(g, x->uses, y, FL_OP_GEMM), l);
    l->relu = found;
    return found;
}

/* A sum or Gemm that only a Relu reads is left to the Relu; what only a scale reads that goes into the weights, to that. */
static bool is_inner(const fl_graph *g, const bool *feeds, const uint32_t *uses, fl_id node)
{
    fl_id y = g->nodes[node].out[0];
    return g->nodes[node].op != FL_OP_RELU && uses[y] == 1 && feeds[y];
}

/* Marks what feeds a Relu, or a scale that goes into the weights. */
static void find_feeding(const fl_graph *g, const facts *x, bool *feeds)
{
    linear l;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op == FL_OP_RELU)
            feeds[n->in[0]] = true;
        if (n->op != FL_OP_ADD || !match_scaled(g, x, i, &l))
            continue;
        fl_id mul = fl_value_is(g, n->in[0], FL_OP_MUL) != FL_NONE && n->in[1] == l.shift ? n->in[0] : n->in[1];
        const fl_node *m = &g->nodes[fl_value_node(g, mul)];
        feeds[m->in[0] == l.scale ? m->in[1] : m->in[0]] = true;
    }
}

static void find_fixed(const fl_graph *g, bool *fixed)
{
    for (uint32_t i = 0; i < g->n_variables && g->n_updates == 0; i++)
        fixed[g->variables[i]] = true;
    for (fl_id i = 0; i < g->n_nodes && g->n_updates == 0; i++) {
        const fl_node *n = &g->nodes[i];
        bool all = fl_op_has(n->op, FL_PURE);
        for (uint32_t k = 0; k < n->n_in; k++)
            all = all && (n->in[k] == FL_NONE || fixed[n->in[k]]);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                fixed[n->out[k]] = all;
    }
}

/* The weights that a match needs, computed from its own. */
static void build_weights(fl_graph *g, linear *l)
{
    if (l->transposed)
        l->w = fl_build_transpose(g, g->values[l->w].name, l->w);
    if (l->scale == FL_NONE)
        return;
    l->w = fl_build_2(g, FL_OP_MUL, "w_scaled", l->w, l->scale);
    fl_id b = l->bias == FL_NONE ? FL_NONE : fl_build_2(g, FL_OP_MUL, "bias_scaled", l->bias, l->scale);
    l->bias = b == FL_NONE ? l->shift : fl_build_2(g, FL_OP_ADD, "bias_shifted", b, l->shift);
}

fl_status fl_pass_fuse_linear(fl_graph *g, fl_pass_ctx *cx)
{
    uint32_t *uses = fl_graph_count_uses(g, &cx->scratch), n_nodes = g->n_nodes;
    bool *feeds = fl_arena_new(&cx->scratch, bool, g->n_values + 1);
    facts x = {uses, fl_arena_new(&cx->scratch, bool, g->n_values + 1)};
    fl_rewriter r;
    if (!uses || !feeds || !x.fixed || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    find_fixed(g, x.fixed);
    find_feeding(g, &x, feeds);
    for (fl_id i = 0; i < n_nodes; i++) {
        linear l;
        fl_op op = g->nodes[i].op;
        if ((op != FL_OP_ADD && op != FL_OP_RELU && op != FL_OP_GEMM) || is_inner(g, feeds, uses, i) || !match(g, &x, i, &l))
            continue;
        build_weights(g, &l);
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
