/*
 * canonicalise.c -- one form for what can be said in several, so that later passes match one pattern.
 *
 *   Identity(x), Sum(x), Max(x), Min(x), Concat(x), Split with one result, Reshape/Cast/Expand that change nothing   ->  x
 *   Sum(a, b)                                                   ->  Add(a, b)
 *   Add(x, 0), Sub(x, 0), Mul(x, 1), Div(x, 1)                  ->  x, if the result has x's type
 *   Mul(x, 2) and the like are left alone: no arithmetic is moved, so that values keep their bits
 *   Reshape(Reshape(x), s), Reshape(Flatten(x), s), ...         ->  Reshape(x, s) if s has no 0
 *   Reshape(x, s) to a known type whose s is computed, or copies extents  ->  Reshape(x, [.., -1, ..])
 *   Gather(x, i) along an axis other than the first, by constants that rise by one  ->  Slice(x), which is a view; Squeeze after it for a scalar
 *   Concat(a, Concat(b, c)) along one axis                      ->  Concat(a, b, c) if nobody else reads the inner one
 *   Concat of matrices [B,n_i K] under the shapes [B,n_i,K]     ->  Reshape(Concat(matrices)), in which its operands can be made
 *   Neg(Neg(x))                                                 ->  x
 *   Gemm(d [B,1], w [1,N] or [N,1]) without an addend           ->  Mul(d, w), which goes with what is elementwise around it
 *
 * Needs and keeps ORDER and SHAPES. One forward sweep; replacements are followed as they are made. Nodes that are made are sorted in.
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

static bool is_scalar(const fl_graph *g, fl_id v, double want)
{
    double f;
    return fl_value_scalar(g, v, &f) && f == want;
}

static bool same_type(const fl_graph *g, fl_id a, fl_id b)
{
    return fl_type_equal(fl_value_type(g, a), fl_value_type(g, b));
}

/* The neutral operand of a binary node leaves the other one; FL_NONE if there is none. */
static fl_id without_neutral(const fl_graph *g, const fl_node *n)
{
    bool sum = n->op == FL_OP_ADD || n->op == FL_OP_SUB, product = n->op == FL_OP_MUL || n->op == FL_OP_DIV;
    if (!sum && !product)
        return FL_NONE;
    double neutral = sum ? 0 : 1;
    if (is_scalar(g, n->in[1], neutral))
        return n->in[0];
    bool either = fl_op_has(n->op, FL_COMMUTATIVE) || FL_PLANTED("canonicalise");
    return either && is_scalar(g, n->in[0], neutral) ? n->in[1] : FL_NONE;
}

/* The operand that a node with one used operand hands through, FL_NONE if it does anything. */
static fl_id unchanged(const fl_graph *g, const fl_node *n)
{
    fl_id x = n->n_in > 0 ? n->in[0] : FL_NONE;
    if (x == FL_NONE || n->n_out != 1)
        return FL_NONE;
    bool one = n->n_in == 1 && (n->op == FL_OP_SUM || n->op == FL_OP_MAX || n->op == FL_OP_MIN || n->op == FL_OP_CONCAT);
    if (n->op == FL_OP_IDENTITY || one)
        return x;
    bool view = fl_op_has(n->op, FL_VIEW) || n->op == FL_OP_EXPAND || n->op == FL_OP_CAST;
    if (view && same_type(g, x, n->out[0]))
        return x;
    if (n->op == FL_OP_NEG) {
        fl_id inner = fl_value_is(g, x, FL_OP_NEG);
        return inner == FL_NONE ? FL_NONE : g->nodes[inner].in[0];
    }
    return FL_NONE;
}

/* The shape of a Reshape means the same for another operand: no 0, which copies an extent. */
static bool absolute_shape(const fl_graph *g, fl_id shape)
{
    int64_t dims[FL_MAX_RANK];
    uint32_t n;
    if (!fl_value_ints(g, shape, dims, FL_MAX_RANK, &n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (dims[i] == 0)
            return false;
    return true;
}

static bool skip_reshape(fl_graph *g, fl_node *n)
{
    fl_id inner = n->op == FL_OP_RESHAPE ? fl_value_node(g, n->in[0]) : FL_NONE;
    if (inner == FL_NONE || !absolute_shape(g, n->in[1]))
        return false;
    fl_op op = g->nodes[inner].op;
    if (op != FL_OP_RESHAPE && op != FL_OP_FLATTEN && op != FL_OP_SQUEEZE && op != FL_OP_UNSQUEEZE)
        return false;
    n->in[0] = g->nodes[inner].in[0];
    return true;
}

/*
 * The shape of a Reshape as a constant, where the result's type is known but for one extent: exporters compute shapes from others, and what they are
 * computed from stands in the way of patterns.
 */
static fl_id fix_shape(fl_graph *g, fl_id node)
{
    const fl_node n = g->nodes[node];
    if (n.op != FL_OP_RESHAPE || absolute_shape(g, n.in[1]))
        return FL_NONE;
    const fl_type *t = fl_value_type(g, n.out[0]);
    int64_t dims[FL_MAX_RANK];
    int open = 0;
    for (int d = 0; d < t->rank; d++) {
        dims[d] = FL_DIM_IS_SYM(t->dims[d]) ? -1 : t->dims[d];
        open += dims[d] < 0;
        if (dims[d] == 0)
            return FL_NONE;
    }
    if (open > 1 || t->rank < 1)
        return FL_NONE;
    fl_id y = fl_build_reshape(g, "shaped", n.in[0], dims, (uint32_t)t->rank);
    return y != FL_NONE && same_type(g, y, n.out[0]) ? y : FL_NONE;
}

/* Columns that are picked by constants side by side are a slice: the new value, or FL_NONE. Rows (axis 0) stay look-ups. */
static fl_id pick_columns(fl_graph *g, fl_id node)
{
    enum { MAX_PICKED = 4096 };
    int64_t list[MAX_PICKED];
    uint32_t count;
    const fl_node n = g->nodes[node];
    if (n.op != FL_OP_GATHER)
        return FL_NONE;
    const fl_type *t = fl_value_type(g, n.in[0]), *index = fl_value_type(g, n.in[1]);
    int64_t axis = fl_node_int(g, node, "axis", 0);
    axis = axis < 0 ? axis + t->rank : axis;
    if (axis < 1 || axis >= t->rank || index->rank > 1 || FL_DIM_IS_SYM(t->dims[axis]) || !fl_value_ints(g, n.in[1], list, MAX_PICKED, &count) || count == 0)
        return FL_NONE;
    int64_t first = list[0] < 0 ? list[0] + t->dims[axis] : list[0], end = first + count;
    for (uint32_t k = 0; k < count; k++)
        if ((list[k] < 0 ? list[k] + t->dims[axis] : list[k]) != first + k)
            return FL_NONE;
    if (first < 0 || end > t->dims[axis])
        return FL_NONE;
    fl_id axes = fl_build_ints(g, "axis", &axis, 1);
    fl_id slice = fl_build_n(g, FL_OP_SLICE, "picked", (fl_id[]){n.in[0], fl_build_ints(g, "start", &first, 1), fl_build_ints(g, "end", &end, 1), axes}, 4);
    fl_id y = index->rank == 0 ? fl_build_2(g, FL_OP_SQUEEZE, "picked", slice, axes) : slice;
    return y != FL_NONE && same_type(g, y, n.out[0]) ? y : FL_NONE;
}

static int64_t axis_of(const fl_graph *g, fl_id node)
{
    int64_t axis = fl_node_int(g, node, "axis", 0);
    return axis < 0 ? axis + fl_value_type(g, g->nodes[node].out[0])->rank : axis;
}

/* Operands that are Concats along the same axis, read by nobody else, give way to their own. */
static bool flatten_concat(fl_graph *g, fl_id node, const uint32_t *uses, uint32_t n_uses)
{
    const fl_node *n = &g->nodes[node];
    uint32_t total = 0, at = 0;
    bool any = false;
    if (n->op != FL_OP_CONCAT)
        return false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        fl_id inner = fl_value_is(g, n->in[k], FL_OP_CONCAT);
        bool opens = inner != FL_NONE && n->in[k] < n_uses && uses[n->in[k]] == 1 && axis_of(g, inner) == axis_of(g, node);
        any = any || opens;
        total += opens ? g->nodes[inner].n_in : 1;
    }
    fl_id *in = any && total <= UINT16_MAX ? fl_arena_new(&g->arena, fl_id, total) : NULL;
    if (!in)
        return false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        fl_id inner = fl_value_is(g, n->in[k], FL_OP_CONCAT);
        bool opens = inner != FL_NONE && n->in[k] < n_uses && uses[n->in[k]] == 1 && axis_of(g, inner) == axis_of(g, node);
        for (uint32_t j = 0; j < (opens ? g->nodes[inner].n_in : 1u); j++)
            in[at++] = opens ? g->nodes[inner].in[j] : n->in[k];
    }
    g->nodes[node].in = in;
    g->nodes[node].n_in = (uint16_t)total;
    return true;
}

/* The matrix [B,m] that v shows under another shape with the same first extent; FL_NONE if it shows none. */
static fl_id matrix_behind(const fl_graph *g, fl_id v)
{
    fl_id node = fl_value_node(g, v);
    if (node == FL_NONE || !fl_op_has(g->nodes[node].op, FL_VIEW) || g->nodes[node].op == FL_OP_CONCAT || g->nodes[node].op == FL_OP_SPLIT ||
        g->nodes[node].op == FL_OP_SLICE)
        return FL_NONE;
    fl_id x = g->nodes[node].in[0];
    const fl_type *t = fl_value_type(g, x), *shown = fl_value_type(g, v);
    return t->rank == 2 && shown->rank > 2 && t->dims[0] == shown->dims[0] && !FL_DIM_IS_SYM(t->dims[1]) ? x : FL_NONE;
}

/* A Concat of shapes of matrices as the shape of a Concat of matrices: the new value, or FL_NONE. Concats that only their shape reads are opened. */
static fl_id concat_matrices(fl_graph *g, fl_id node, const uint32_t *uses, uint32_t n_uses, fl_arena *scratch)
{
    const fl_node n = g->nodes[node];
    const fl_type *t = n.op == FL_OP_CONCAT ? fl_value_type(g, n.out[0]) : NULL;
    uint32_t total = 0;
    int64_t dims[FL_MAX_RANK];
    if (!t || t->rank < 3 || n.n_in < 2)
        return FL_NONE;
    for (int d = 1; d < axis_of(g, node); d++)
        if (t->dims[d] != 1)
            return FL_NONE; /* rows of operands would be taken apart */
    for (int d = 0; d < t->rank; d++) {
        dims[d] = d == 0 ? 0 : t->dims[d];
        if (axis_of(g, node) == 0 || (d > 0 && FL_DIM_IS_SYM(t->dims[d])))
            return FL_NONE;
    }
    dims[0] = FL_DIM_IS_SYM(t->dims[0]) ? -1 : t->dims[0];
    for (uint32_t k = 0; k < n.n_in; k++) {
        fl_id x = matrix_behind(g, n.in[k]), inner = x == FL_NONE ? FL_NONE : fl_value_is(g, x, FL_OP_CONCAT);
        if (x == FL_NONE)
            return FL_NONE;
        total += inner == FL_NONE ? 1 : g->nodes[inner].n_in;
    }
    fl_id *in = total <= UINT16_MAX ? fl_arena_new(scratch, fl_id, total) : NULL;
    uint32_t at = 0;
    if (!in)
        return FL_NONE;
    for (uint32_t k = 0; k < n.n_in; k++) {
        fl_id x = matrix_behind(g, n.in[k]), inner = fl_value_is(g, x, FL_OP_CONCAT);
        bool opens = inner != FL_NONE && x < n_uses && uses[x] == 1 && n.in[k] < n_uses && uses[n.in[k]] == 1 && axis_of(g, inner) == 1;
        for (uint32_t j = 0; j < (opens ? g->nodes[inner].n_in : 1u); j++)
            in[at++] = opens ? g->nodes[inner].in[j] : x;
    }
    return fl_build_reshape(g, "shaped", fl_build_concat(g, "joined", in, at, 1), dims, (uint32_t)t->rank);
}

/* A product of one term is elementwise; FL_NONE if the node is another. */
static fl_id multiply_out(fl_graph *g, fl_id node)
{
    const fl_node n = g->nodes[node];
    if (n.op != FL_OP_GEMM || (n.n_in > 2 && n.in[2] != FL_NONE) || fl_node_int(g, node, "transA", 0) != 0 || fl_node_float(g, node, "alpha", 1.0) != 1.0)
        return FL_NONE;
    const fl_type *d = fl_value_type(g, n.in[0]), *w = fl_value_type(g, n.in[1]);
    int64_t width = fl_value_type(g, n.out[0])->dims[1];
    if (d->dims[1] != 1 || FL_DIM_IS_SYM(width) || w->rank != 2)
        return FL_NONE;
    return fl_build_2(g, FL_OP_MUL, g->values[n.out[0]].name, n.in[0], fl_build_reshape(g, "row", n.in[1], &width, 1));
}

/* FieldPool or TablePool whose sums of squares nobody wants does not compute them. */
static bool drop_squares(fl_graph *g, fl_id node)
{
    fl_node *n = &g->nodes[node];
    if ((n->op != FL_OP_FIELD_POOL && n->op != FL_OP_TABLE_POOL) || fl_node_int(g, node, "squares", 0) == 0)
        return false;
    for (uint32_t k = n->n_out / 2u; k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            return false;
    n->n_out /= 2;
    fl_node_set_int(g, node, "squares", 0);
    return true;
}

fl_status fl_pass_canonicalise(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    const uint32_t *uses = fl_graph_count_uses(g, &cx->scratch);
    uint32_t n_nodes = g->n_nodes, n_values = g->n_values;
    if (!uses || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < n_nodes; i++) {
        fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            n->in[k] = fl_rewriter_get(&r, n->in[k]);
        if (skip_reshape(g, n))
            cx->n_changed++;
        if (n->op == FL_OP_SUM && n->n_in == 2) {
            n->op = FL_OP_ADD;
            cx->n_changed++;
        }
        cx->n_changed += drop_squares(g, i);
        cx->n_changed += flatten_concat(g, i, uses, n_values);
        fl_id x = n->n_out == 1 && !r.output[n->out[0]] ? pick_columns(g, i) : FL_NONE;
        x = x == FL_NONE && n->n_out == 1 && !r.output[n->out[0]] ? fix_shape(g, i) : x;
        x = x == FL_NONE && n->n_out == 1 && !r.output[n->out[0]] ? concat_matrices(g, i, uses, n_values, &cx->scratch) : x;
        x = x == FL_NONE && n->n_out == 1 && !r.output[n->out[0]] ? multiply_out(g, i) : x;
        n = &g->nodes[i]; /* nodes may have moved */
        x = x == FL_NONE ? unchanged(g, n) : x;
        if (x == FL_NONE) {
            x = without_neutral(g, n);
            if (x != FL_NONE && !same_type(g, x, n->out[0]))
                x = FL_NONE;
        }
        if (x != FL_NONE && fl_rewriter_put(&r, n->out[0], x)) {
            fl_node_erase(g, i);
            cx->n_changed++;
        }
    }
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_ok(g, cx->diag));
    return g->n_nodes > n_nodes ? fl_graph_sort(g, cx->diag) : FL_OK; /* what was made stands behind its readers */
}
