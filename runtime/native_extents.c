#include "runtime/native_extents.h"

#include "ir/shape.h"

static bool is_given(const fl_graph *g, const bool *given, fl_dim d)
{
    fl_dim factors[FL_MAX_RANK];
    uint32_t n = fl_shape_factors(g, d, factors);
    for (uint32_t i = 0; i < n; i++)
        if (FL_DIM_IS_SYM(factors[i]) && !given[FL_SYM_OF_DIM(factors[i])])
            return false;
    return true;
}

/* Does the node walk over the rows of operand k and of its result at once? */
static bool walks(const fl_graph *g, fl_id node, uint32_t k, fl_id out)
{
    const fl_node *n = &g->nodes[node];
    const fl_type *a = fl_value_type(g, n->in[k]), *b = fl_value_type(g, out);

    if (a->rank < 1 || b->rank < 1 || a->dims[0] == 1 || a->dims[0] == b->dims[0])
        return false;
    if (fl_op_has(n->op, FL_ELEMENTWISE))
        return a->rank == b->rank;
    if (n->op == FL_OP_CONCAT) {
        int64_t axis = fl_node_int(g, node, "axis", 0);
        return axis != 0 && axis != -(int64_t)a->rank;
    }
    if (n->op == FL_OP_MATMUL)
        return a->rank > 2 && a->rank == b->rank;
    bool table = fl_op_has(n->op, FL_GATHERING) && k % 2 == 0;
    return fl_op_has(n->op, FL_ROWWISE) && !table && FL_DIM_IS_SYM(a->dims[0]) && FL_DIM_IS_SYM(b->dims[0]);
}

fl_status fl_equal_extents_find(const fl_graph *g, const bool *given, fl_arena *arena, fl_equal_extents **out, uint32_t *n)
{
    uint32_t capacity = 0;

    *out = NULL;
    *n = 0;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *node = &g->nodes[i];
        fl_id result = node->n_out ? node->out[0] : FL_NONE;
        for (uint32_t k = 0; k < node->n_in && result != FL_NONE; k++) {
            if (node->in[k] == FL_NONE || !walks(g, i, k, result))
                continue;
            fl_equal_extents e = {fl_value_type(g, result)->dims[0], fl_value_type(g, node->in[k])->dims[0], i};
            bool found = !is_given(g, given, e.a) || !is_given(g, given, e.b);
            for (uint32_t j = 0; j < *n && !found; j++)
                found = (*out)[j].a == e.a && (*out)[j].b == e.b;
            if (!found && !FL_PUSH(arena, *out, *n, capacity, e))
                return FL_NO_MEMORY;
        }
    }
    return FL_OK;
}

static int64_t extent(const fl_graph *g, const int64_t *dims, fl_dim d)
{
    fl_dim factors[FL_MAX_RANK];
    uint32_t n = fl_shape_factors(g, d, factors);
    int64_t product = 1;
    for (uint32_t i = 0; i < n; i++) {
        int64_t f = FL_DIM_IS_SYM(factors[i]) ? dims[FL_SYM_OF_DIM(factors[i])] : factors[i];
        product = __builtin_mul_overflow(product, f, &product) ? INT64_MAX : product;
    }
    return product;
}

fl_status fl_equal_extents_check(const fl_graph *g, const fl_equal_extents *pairs, uint32_t n, const int64_t *dims, fl_diag *dg)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t a = extent(g, dims, pairs[i].a), b = extent(g, dims, pairs[i].b);
        if (a == b)
            continue;
        const fl_node *node = &g->nodes[pairs[i].node];
        fl_dim named = FL_DIM_IS_SYM(pairs[i].b) ? pairs[i].b : pairs[i].a;
        return fl_error(dg, FL_E_RUN_ARGUMENTS, node->origin.loc, "node \"%s\" (%s) needs as many rows of each operand: \"%s\" is %lld, wanted is %lld",
                        g->values[node->out[0]].name, fl_op_get(node->op)->name, g->symbols[FL_SYM_OF_DIM(named)],
                        (long long)(named == pairs[i].b ? b : a), (long long)(named == pairs[i].b ? a : b));
    }
    return FL_OK;
}
