/*
 * fuse_dot_interaction.c -- dot products of pairs of vectors, picked from the product of all with all, become one DotInteraction.
 *
 *   z = MatMul(x, Transpose(x)), x [B,n,K]             y = DotInteraction <first = [1, 2, 2, ...], second = [0, 0, 1, ...]> (x)
 *   y = Gather <axis = 1> (Reshape(z), [7, 14, 15])    ->
 *
 * How DLRM's interaction is written and exported differs: Einsum for MatMul; GatherND, or a Gather with the batch moved behind and back, for the
 * pick. So a forward sweep gives each value that is made of elements of z the list of their places, and where the batch stands; what a node
 * does to a value is done to the list. Of a value that something else reads, the list says the pairs. All of z stays a product (attention is one).
 *
 * DotInteraction has no gradient: this pass is for prediction. Needs ORDER and SHAPES, keeps SHAPES. O(values * pairs), bounded by MAX_TOTAL.
 */
#include "passes/rewrite.h"

#include <string.h>

enum { MAX_VECTORS = 128, MAX_PLACES = MAX_VECTORS * MAX_VECTORS, MAX_TOTAL = 1 << 22 };

typedef struct picked {
    fl_id x; /* the vectors; FL_NONE: nothing known */
    bool last; /* the batch is the last dimension, else the first */
    uint32_t n;
    const uint32_t *place; /* row * vectors + column, in order of the elements of one row of the batch */
} picked;

static const picked nothing = {.x = FL_NONE};

typedef struct matcher {
    fl_graph *g;
    fl_arena *scratch;
    picked *of; /* by value */
    uint32_t n_values, total;
} matcher;

static uint32_t *new_places(matcher *m, int64_t n)
{
    if (n < 1 || n > MAX_PLACES || m->total > MAX_TOTAL - (uint32_t)n)
        return NULL;
    m->total += (uint32_t)n;
    return fl_arena_new(m->scratch, uint32_t, (size_t)n);
}

/* ------------------------------------------------------------------------------------------------- the product */

static bool is_vectors(const fl_type *t)
{
    return t->rank == 3 && t->dtype == FL_FLOAT && t->dims[1] > 1 && t->dims[1] <= MAX_VECTORS && t->dims[2] > 0;
}

/* x of MatMul(x, Transpose(x)). */
static fl_id product_of_itself(const fl_graph *g, const fl_node *n)
{
    fl_id transpose = fl_value_is(g, n->in[1], FL_OP_TRANSPOSE);
    const fl_attr *perm = transpose == FL_NONE ? NULL : fl_node_attr(g, transpose, "perm");
    if (!perm || perm->kind != FL_ATTR_INTS || perm->n != 3 || g->nodes[transpose].in[0] != n->in[0])
        return FL_NONE;
    return perm->as.ints[0] == 0 && perm->as.ints[1] == 2 ? n->in[0] : FL_NONE;
}

/* x of Einsum "bik,bjk->bij" (x, x), whatever the letters. */
static fl_id einsum_of_itself(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    char e[12] = {0};
    size_t length = 0;
    for (const char *p = fl_node_string(g, node, "equation", ""); *p; p++) {
        if (*p != ' ' && length < sizeof e)
            e[length] = *p;
        length += *p != ' ';
    }
    if (length != sizeof e || n->n_in != 2 || n->in[0] != n->in[1] || e[3] != ',' || e[7] != '-' || e[8] != '>')
        return FL_NONE;
    char b = e[0], i = e[1], j = e[5], k = e[2];
    bool distinct = b != i && b != j && b != k && i != j && i != k && j != k;
    bool fits = e[4] == b && e[6] == k && e[9] == b && ((e[10] == i && e[11] == j) || (e[10] == j && e[11] == i));
    return distinct && fits ? n->in[0] : FL_NONE;
}

static picked see_product(matcher *m, fl_id node)
{
    const fl_graph *g = m->g;
    const fl_node *n = &g->nodes[node];
    fl_id x = n->op == FL_OP_MATMUL ? product_of_itself(g, n) : einsum_of_itself(g, node);
    if (x == FL_NONE || !is_vectors(fl_value_type(g, x)))
        return nothing;
    int64_t vectors = fl_value_type(g, x)->dims[1];
    uint32_t *place = new_places(m, vectors * vectors);
    for (int64_t k = 0; place && k < vectors * vectors; k++)
        place[k] = (uint32_t)k;
    return place ? (picked){x, false, (uint32_t)(vectors * vectors), place} : nothing;
}

/* ------------------------------------------------------------------------------------------ what nodes do to lists */

static picked picked_of(const matcher *m, fl_id v)
{
    return v == FL_NONE || v >= m->n_values ? nothing : m->of[v];
}

/* Does the type have the batch first (or last), and behind (before) it as many elements as there are places? */
static bool stands(const matcher *m, const picked *p, bool last, const fl_type *t)
{
    fl_dim batch = fl_value_type(m->g, p->x)->dims[0];
    int64_t n = 1;
    if (t->rank < 1 || t->dims[last ? t->rank - 1 : 0] != batch)
        return false;
    for (int d = last ? 0 : 1; d < t->rank - last; d++)
        if (FL_DIM_IS_SYM(t->dims[d]) || t->dims[d] < 1 || __builtin_mul_overflow(n, t->dims[d], &n))
            return false;
    return n == p->n;
}

static picked see_transpose(matcher *m, fl_id node, picked p)
{
    const fl_type *t = fl_value_type(m->g, m->g->nodes[node].in[0]);
    const fl_attr *perm = fl_node_attr(m->g, node, "perm");
    int batch = p.last ? t->rank - 1 : 0, rank = t->rank;
    if (!perm || perm->kind != FL_ATTR_INTS || perm->n != (uint32_t)rank || (perm->as.ints[0] != batch && perm->as.ints[rank - 1] != batch))
        return nothing;
    /* Strides of the places by the operand's dimensions, and a counter over the result's. */
    int64_t stride[FL_MAX_RANK] = {0}, count[FL_MAX_RANK] = {0}, step = 1, at = 0;
    for (int d = rank - 1; d >= 0; d--)
        if (d != batch) {
            stride[d] = step;
            step *= t->dims[d];
        }
    uint32_t *place = new_places(m, p.n);
    for (uint32_t k = 0; place && k < p.n; k++) {
        place[k] = p.place[at];
        for (int d = rank - 1; d >= 0; d--) {
            int64_t from = perm->as.ints[d];
            if (from == batch)
                continue;
            at += stride[from];
            if (++count[d] < t->dims[from])
                break;
            at -= stride[from] * t->dims[from];
            count[d] = 0;
        }
    }
    return place ? (picked){p.x, perm->as.ints[0] != batch, p.n, place} : nothing;
}

/* Gather by constants along a dimension that is not the batch. */
static picked see_gather(matcher *m, fl_id node, picked p)
{
    const fl_node *n = &m->g->nodes[node];
    const fl_type *t = fl_value_type(m->g, n->in[0]);
    int64_t axis = fl_node_int(m->g, node, "axis", 0), *list = fl_arena_new(m->scratch, int64_t, MAX_PLACES), outer = 1, inner = 1;
    uint32_t count = 0, at = 0;
    axis = axis < 0 ? axis + t->rank : axis;
    if (!list || axis < 0 || axis >= t->rank || axis == (p.last ? t->rank - 1 : 0) || !fl_value_ints(m->g, n->in[1], list, MAX_PLACES, &count) || count == 0)
        return nothing;
    for (int d = p.last ? 0 : 1; d < axis; d++)
        outer *= t->dims[d];
    for (int d = (int)axis + 1; d < t->rank - p.last; d++)
        inner *= t->dims[d];
    uint32_t *place = new_places(m, outer * count * inner);
    for (int64_t o = 0; place && o < outer; o++)
        for (uint32_t k = 0; k < count; k++) {
            int64_t i = list[k] < 0 ? list[k] + t->dims[axis] : list[k];
            if (i < 0 || i >= t->dims[axis])
                return nothing;
            for (int64_t j = 0; j < inner; j++)
                place[at++] = p.place[(o * t->dims[axis] + i) * inner + j];
        }
    return place ? (picked){p.x, p.last, at, place} : nothing;
}

/* GatherND by constants that name all dimensions before the batch, which is the last. */
static picked see_gather_nd(matcher *m, fl_id node, picked p)
{
    const fl_node *n = &m->g->nodes[node];
    const fl_type *t = fl_value_type(m->g, n->in[0]), *index = fl_value_type(m->g, n->in[1]);
    int64_t *list = fl_arena_new(m->scratch, int64_t, 4 * MAX_PLACES);
    uint32_t count = 0;
    if (!list || !p.last || index->rank != 2 || index->dims[1] != t->rank - 1 || fl_node_int(m->g, node, "batch_dims", 0) != 0 ||
        !fl_value_ints(m->g, n->in[1], list, 4 * MAX_PLACES, &count) || count == 0)
        return nothing;
    uint32_t depth = (uint32_t)index->dims[1], n_places = count / depth;
    uint32_t *place = new_places(m, n_places);
    for (uint32_t k = 0; place && k < n_places; k++) {
        int64_t at = 0;
        for (uint32_t d = 0; d < depth; d++) {
            int64_t i = list[k * depth + d] < 0 ? list[k * depth + d] + t->dims[d] : list[k * depth + d];
            if (i < 0 || i >= t->dims[d])
                return nothing;
            at = at * t->dims[d] + i;
        }
        place[k] = p.place[at];
    }
    return place ? (picked){p.x, true, n_places, place} : nothing;
}

static void see(matcher *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    if (n->n_out != 1 || n->out[0] == FL_NONE || n->n_in == 0)
        return;
    picked p = picked_of(m, n->in[0]), y = nothing;
    fl_id v = n->out[0];
    if (n->op == FL_OP_MATMUL || n->op == FL_OP_EINSUM)
        y = see_product(m, node);
    else if (p.x == FL_NONE)
        return;
    else if (n->op == FL_OP_TRANSPOSE)
        y = see_transpose(m, node, p);
    else if (n->op == FL_OP_GATHER)
        y = see_gather(m, node, p);
    else if (n->op == FL_OP_GATHER_ND)
        y = see_gather_nd(m, node, p);
    else if (n->op == FL_OP_RESHAPE || n->op == FL_OP_FLATTEN || n->op == FL_OP_SQUEEZE || n->op == FL_OP_UNSQUEEZE || n->op == FL_OP_IDENTITY)
        y = p;
    m->of[v] = y.x != FL_NONE && stands(m, &y, y.last, fl_value_type(m->g, v)) ? y : nothing;
}

/* -------------------------------------------------------------------------------------------------- building */

static fl_status build(matcher *m, fl_rewriter *r, fl_id v, fl_pass_ctx *cx)
{
    fl_graph *g = m->g;
    picked p = m->of[v];
    int64_t vectors = fl_value_type(g, p.x)->dims[1], dims[FL_MAX_RANK];
    int64_t *first = fl_arena_new(m->scratch, int64_t, p.n), *second = fl_arena_new(m->scratch, int64_t, p.n);
    if (!first || !second)
        return fl_out_of_memory(cx->diag);
    for (uint32_t k = 0; k < p.n; k++) {
        first[k] = p.place[k] / vectors;
        second[k] = p.place[k] % vectors;
    }
    fl_id node = fl_node_new(g, FL_OP_DOT_INTERACTION, "dots", &p.x, 1, 1);
    fl_node_set_ints(g, node, "first", first, p.n);
    fl_node_set_ints(g, node, "second", second, p.n);
    fl_build_infer(g, node);
    fl_id y = fl_node_out(g, node, 0);
    const fl_type *t = fl_value_type(g, v);
    for (int d = 0; d < t->rank; d++)
        dims[d] = FL_DIM_IS_SYM(t->dims[d]) ? -1 : t->dims[d];
    if (t->rank != 2)
        y = fl_build_reshape(g, "shaped", y, dims, (uint32_t)t->rank);
    FL_TRY(fl_graph_ok(g, cx->diag));
    cx->n_changed += fl_rewriter_put(r, v, y);
    return FL_OK;
}

fl_status fl_pass_fuse_dot_interaction(fl_graph *g, fl_pass_ctx *cx)
{
    matcher m = {.g = g, .scratch = &cx->scratch, .n_values = g->n_values, .of = fl_arena_new(&cx->scratch, picked, g->n_values + 1u)};
    bool *wanted = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    fl_rewriter r;
    if (!m.of || !wanted || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < m.n_values; v++)
        m.of[v] = nothing;
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            see(&m, i);
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE && (g->nodes[i].n_out != 1 || picked_of(&m, g->nodes[i].out[0]).x == FL_NONE))
                wanted[g->nodes[i].in[k]] = true;
    for (fl_id v = 0; v < m.n_values; v++) {
        picked p = m.of[v];
        int64_t vectors = p.x == FL_NONE ? 0 : fl_value_type(g, p.x)->dims[1];
        if (wanted[v] && p.x != FL_NONE && !p.last && p.n < vectors * vectors)
            FL_TRY(build(&m, &r, v, cx));
    }
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
