/*
 * fuse_embedding.c -- look-ups and what is made of them up to the first layers become one call of a function, EmbeddingInteraction.
 *
 * Needs ORDER and SHAPES, keeps both. O(nodes + operands).
 *
 * Three kinds of nodes. *Embedding*: look-ups in tables by ids, and what reads their results, as long as no layer has come between: pools, interactions, first-order terms,
 * sums, views. *Late*: the first layers and everything behind them. *Apart*: what needs no look-up, such as the layers of dense features. A layer is a product with weights,
 * a normalisation, or an activation; a product of embeddings with each other is an interaction, whatever operator it is. A node apart that only the embedding part reads, and that
 * is no layer, belongs to it: indices cut from one input, a mean's divisor. So nothing leads out of the region and back in, and it holds for
 * any graph that looks rows up: FM ends at its sigmoid, DCN at the first cross layer's product, DLRM's function has the vector of the dense features as an operand.
 *
 * It is the shape that a reader wants to see: one function, then the layers. Code does not change by it: `inline-functions` puts the nodes back before segments are cut,
 * since a segment is the unit of code anyway. A region of one node is one function already and stays.
 */
#include "ir/functions.h"
#include "passes/rewrite.h"

#include <string.h>

typedef enum kind { APART, EMBEDDING, LATE } kind;

typedef struct region {
    fl_graph *g;
    kind *of;       /* [n_nodes] */
    bool *weights;  /* [n_values]: depends on variables and constants alone */
    bool *inside;   /* [n_nodes]: the function's */
} region;

static bool is_activation(fl_op op)
{
    return op == FL_OP_RELU || op == FL_OP_SIGMOID || op == FL_OP_TANH || op == FL_OP_SOFTPLUS;
}

static bool is_normalisation(fl_op op)
{
    return op == FL_OP_BATCH_NORM || op == FL_OP_BATCH_NORMALIZATION;
}

static kind kind_of_value(const region *r, fl_id v)
{
    fl_id node = fl_value_node(r->g, v);
    return node == FL_NONE ? APART : r->of[node];
}

/* A product of which one factor is no embedding. */
static bool is_layer(const region *r, fl_id node)
{
    const fl_node *n = &r->g->nodes[node];
    if (is_activation(n->op) || is_normalisation(n->op))
        return true;
    if (!fl_op_has(n->op, FL_PRODUCT))
        return false;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] != FL_NONE && kind_of_value(r, n->in[k]) != EMBEDDING)
            return true;
    return false;
}

/* Rows of weights by an index that the batch gives. */
static bool looks_up(const region *r, const fl_node *n)
{
    if (n->op == FL_OP_EMBEDDING_BAG)
        return n->in[0] != FL_NONE && r->weights[n->in[0]];
    for (uint32_t k = 0; fl_op_has(n->op, FL_GATHERING) && k < fl_look_ups(n); k++) {
        fl_id table = n->in[2 * k], index = n->in[2 * k + 1];
        if (table != FL_NONE && index != FL_NONE && r->weights[table] && !r->weights[index])
            return true;
    }
    return false;
}

static kind judge(const region *r, fl_id node)
{
    const fl_node *n = &r->g->nodes[node];
    bool embedding = looks_up(r, n);
    for (uint32_t k = 0; k < n->n_in; k++) {
        kind operand = n->in[k] == FL_NONE ? APART : kind_of_value(r, n->in[k]);
        if (operand == LATE)
            return LATE;
        embedding = embedding || operand == EMBEDDING;
    }
    if (!embedding)
        return APART;
    return is_layer(r, node) || !fl_op_has(n->op, FL_PURE) ? LATE : EMBEDDING;
}

static void judge_all(region *r)
{
    const fl_graph *g = r->g;
    for (fl_id v = 0; v < g->n_values; v++)
        r->weights[v] = g->values[v].kind == FL_VALUE_VARIABLE || g->values[v].kind == FL_VALUE_CONSTANT;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool weights = fl_op_has(n->op, FL_PURE);
        for (uint32_t k = 0; k < n->n_in; k++)
            weights = weights && (n->in[k] == FL_NONE || r->weights[n->in[k]]);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                r->weights[n->out[k]] = weights;
        r->of[i] = n->op == FL_OP_NOP ? APART : judge(r, i);
    }
}

/* Backwards: nodes apart whose results nobody but nodes inside reads. */
static bool choose(region *r, fl_arena *scratch)
{
    const fl_graph *g = r->g;
    bool *outside = fl_arena_new(scratch, bool, g->n_values + 1u), *read = fl_arena_new(scratch, bool, g->n_values + 1u);
    if (!outside || !read)
        return false;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        outside[g->outputs[i]] = true;
    for (uint32_t i = 0; i < g->n_updates; i++)
        outside[g->updates[i].next] = true;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        bool joins = r->of[i] == APART && n->op != FL_OP_NOP && n->op != FL_OP_CALL && fl_op_has(n->op, FL_PURE) && !is_layer(r, i), wanted = false;
        for (uint32_t k = 0; joins && k < n->n_out; k++) {
            wanted = wanted || (n->out[k] != FL_NONE && read[n->out[k]]);
            joins = n->out[k] == FL_NONE || !outside[n->out[k]];
        }
        r->inside[i] = r->of[i] == EMBEDDING || (joins && wanted);
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                (r->inside[i] ? read : outside)[n->in[k]] = true;
    }
    return true;
}

fl_status fl_pass_fuse_embedding(fl_graph *g, fl_pass_ctx *cx)
{
    region r = {.g = g};
    uint32_t n = 0;
    if (g->n_updates > 0 || g->n_functions > 0) /* a training step reads what is inside from its gradients, too */
        return FL_OK;
    r.of = fl_arena_new(&cx->scratch, kind, g->n_nodes + 1u);
    r.weights = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    r.inside = fl_arena_new(&cx->scratch, bool, g->n_nodes + 1u);
    if (cx->scratch.failed)
        return fl_out_of_memory(cx->diag);
    judge_all(&r);
    if (!choose(&r, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < g->n_nodes; i++)
        n += r.inside[i] && g->nodes[i].op != FL_OP_CONSTANT;
    if (n < 2)
        return FL_OK;
    cx->n_changed = n;
    return fl_functions_outline(g, "EmbeddingInteraction", r.inside, cx->diag);
}
