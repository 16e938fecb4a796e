/*
 * emit_move.c -- operators that make each element of the output from a few places of the input: a loop over the output's dimensions, element
 * by element, and a rule for the places. Plain code for what a CTR model does little of.
 */
#include "backend/llvm/emit.h"
#include "ir/einsum.h"

/* The element that is being made: its coordinates, and where the rule finds what it needs. */
typedef struct element {
    fl_gen *gen;
    fl_id node;
    const fl_type *out;
    int skipped; /* a dimension that the rule goes along itself; -1: none */
    LLVMValueRef v_at[FL_MAX_RANK];
} element;

typedef void element_rule(element *e);

static fl_id operand(const element *e, uint32_t k)
{
    return e->gen->g->nodes[e->node].in[k];
}

static LLVMValueRef address(const element *e, fl_id value, const LLVMValueRef *v_at)
{
    fl_gen *gen = e->gen;
    LLVMValueRef v = l_i64(gen, 0);

    for (int d = 0; d < fl_value_type(gen->g, value)->rank; d++)
        v = l_add(gen, v, l_mul(gen, v_at[d], l_stride(gen, value, d)));
    return l_at(gen, fl_value_type(gen->g, value)->dtype, l_place_of(gen, value)->v_base, v);
}

static LLVMValueRef load(const element *e, fl_id value, const LLVMValueRef *v_at)
{
    return l_load(e->gen, fl_value_type(e->gen->g, value)->dtype, address(e, value, v_at), 1);
}

static void store(const element *e, LLVMValueRef v)
{
    fl_id out = e->gen->g->nodes[e->node].out[0];

    l_store(e->gen, fl_value_type(e->gen->g, out)->dtype, v, address(e, out, e->v_at));
}

static void walk(element *e, int d, element_rule *rule)
{
    l_loop loop;
    LLVMValueRef v_from = l_i64(e->gen, 0), v_to;

    if (d == e->out->rank) {
        rule(e);
        return;
    }
    if (d == e->skipped) {
        e->v_at[d] = v_from;
        walk(e, d + 1, rule);
        return;
    }
    v_to = l_extent(e->gen, e->out->dims[d]);
    if (d == 0)
        l_rows(e->gen, e->out->dims[0], &v_from, &v_to);
    l_loop_begin(e->gen, &loop, v_from, v_to, 1);
    e->v_at[d] = loop.v_i;
    walk(e, d + 1, rule);
    l_loop_end(e->gen, &loop);
}

static void each_element(fl_gen *gen, fl_id node, int skipped, element_rule *rule)
{
    element e = {.gen = gen, .node = node, .out = fl_value_type(gen->g, gen->g->nodes[node].out[0]), .skipped = skipped};

    walk(&e, 0, rule);
}

static int axis_of(fl_gen *gen, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(gen->g, node, "axis", otherwise);

    return (int)(axis < 0 ? axis + rank : axis);
}

/* An index as i64, counted from the end if negative, and held within [0, n): no index leads out of the data. */
static LLVMValueRef held_index(fl_gen *gen, LLVMValueRef v, LLVMValueRef v_n)
{
    LLVMValueRef v_last = LLVMBuildSub(gen->b, v_n, l_i64(gen, 1), "");

    v = LLVMBuildSExt(gen->b, v, gen->i64, "");
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, l_i64(gen, 0), ""), LLVMBuildAdd(gen->b, v, v_n, ""), v, "");
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntULT, v, v_n, ""), v, v_last, "");
}

/* ------------------------------------------------------------------------------------------------ rearrangements */

/* out[i..] = in[i mod extents] */
static void tile_element(element *e)
{
    fl_gen *gen = e->gen;
    LLVMValueRef v_from[FL_MAX_RANK];
    const fl_type *in = fl_value_type(gen->g, operand(e, 0));

    for (int d = 0; d < e->out->rank; d++)
        v_from[d] = in->dims[d] == 1 ? l_i64(gen, 0)
                    : in->dims[d] == e->out->dims[d] ? e->v_at[d] : LLVMBuildURem(gen->b, e->v_at[d], l_extent(gen, in->dims[d]), "");
    store(e, load(e, operand(e, 0), v_from));
}

void fl_emit_tile(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, tile_element);
}

/* out[.., i, j] = j - i >= k (upper) or <= k (lower) ? in[.., i, j] : 0 */
static void trilu_element(element *e)
{
    fl_gen *gen = e->gen;
    int rank = e->out->rank;
    double k = 0;
    const fl_node *n = &gen->g->nodes[e->node];
    bool upper = fl_node_int(gen->g, e->node, "upper", 1) != 0;
    LLVMValueRef v = load(e, n->in[0], e->v_at), v_kept;

    if (n->n_in > 1 && n->in[1] != FL_NONE && !fl_value_scalar(gen->g, n->in[1], &k))
        l_unsupported(gen, e->node, "its diagonal is not constant");
    v_kept = LLVMBuildSub(gen->b, e->v_at[rank - 1], e->v_at[rank - 2], "");
    v_kept = LLVMBuildICmp(gen->b, upper ? LLVMIntSGE : LLVMIntSLE, v_kept, l_i64(gen, (int64_t)k), "");
    store(e, LLVMBuildSelect(gen->b, v_kept, v, LLVMConstNull(LLVMTypeOf(v)), ""));
}

void fl_emit_trilu(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, trilu_element);
}

/* out[i..] = value */
static void fill_element(element *e)
{
    const fl_attr *value = fl_node_attr(e->gen->g, e->node, "value");
    bool given = value && value->kind == FL_ATTR_TENSOR && value->as.tensor->bytes;
    LLVMTypeRef t = l_type(e->gen, e->out->dtype);
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;

    if (real)
        store(e, l_number(t, given ? fl_tensor_get_double(value->as.tensor, 0) : 0));
    else
        store(e, l_integer(t, given ? (uint64_t)fl_tensor_get_int(value->as.tensor, 0) : 0));
}

void fl_emit_constant_of_shape(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, fill_element);
}

/* ------------------------------------------------------------------------------------------------------ by index */

/* out[i..] = in[i.., but along the axis index[i..]] */
static void gather_elements_element(element *e)
{
    fl_gen *gen = e->gen;
    const fl_type *in = fl_value_type(gen->g, operand(e, 0));
    int axis = axis_of(gen, e->node, in->rank, 0);
    LLVMValueRef v_from[FL_MAX_RANK];

    for (int d = 0; d < in->rank; d++)
        v_from[d] = e->v_at[d];
    v_from[axis] = held_index(gen, load(e, operand(e, 1), e->v_at), l_extent(gen, in->dims[axis]));
    store(e, load(e, operand(e, 0), v_from));
}

void fl_emit_gather_elements(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, gather_elements_element);
}

/* out[i.., j, k..] = values[index[i.., k..] == j or == j - depth] */
static void one_hot_element(element *e)
{
    fl_gen *gen = e->gen;
    const fl_type *index = fl_value_type(gen->g, operand(e, 0));
    int axis = axis_of(gen, e->node, e->out->rank, -1);
    bool real = index->dtype == FL_FLOAT || index->dtype == FL_DOUBLE;
    LLVMValueRef v_from[FL_MAX_RANK], v, v_on, v_values[2], v_j = e->v_at[axis], v_end = l_extent(gen, e->out->dims[axis]);

    for (int d = 0; d < index->rank; d++)
        v_from[d] = e->v_at[d < axis ? d : d + 1];
    v = load(e, operand(e, 0), v_from);
    v = real ? LLVMBuildFreeze(gen->b, LLVMBuildFPToSI(gen->b, v, gen->i64, ""), "")
             : LLVMBuildIntCast2(gen->b, v, gen->i64, index->dtype != FL_UINT8, "");
    v_on = LLVMBuildICmp(gen->b, LLVMIntEQ, v, LLVMBuildSub(gen->b, v_j, v_end, ""), "");
    v_on = LLVMBuildOr(gen->b, v_on, LLVMBuildICmp(gen->b, LLVMIntEQ, v, v_j, ""), "");
    for (int k = 0; k < 2; k++) {
        LLVMValueRef v_k = l_i64(gen, k);

        v_values[k] = load(e, operand(e, 2), &v_k);
    }
    store(e, LLVMBuildSelect(gen->b, v_on, v_values[1], v_values[0], ""));
}

void fl_emit_one_hot(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, one_hot_element);
}

/* --------------------------------------------------------------------------------------------------- along an axis */

/* x stands before the best so far: larger or smaller, NaN largest of all; among equals the last one if asked for. */
static LLVMValueRef goes_before(const element *e, fl_dtype t, LLVMValueRef v, LLVMValueRef v_best)
{
    fl_gen *gen = e->gen;
    bool max = gen->g->nodes[e->node].op == FL_OP_ARG_MAX, last = fl_node_int(gen->g, e->node, "select_last_index", 0) != 0;
    bool is_unsigned = t == FL_UINT8;
    LLVMValueRef v_nan, v_other;

    if (t != FL_FLOAT && t != FL_DOUBLE) {
        LLVMIntPredicate over = is_unsigned ? (last ? LLVMIntUGE : LLVMIntUGT) : (last ? LLVMIntSGE : LLVMIntSGT);
        LLVMIntPredicate under = is_unsigned ? (last ? LLVMIntULE : LLVMIntULT) : (last ? LLVMIntSLE : LLVMIntSLT);

        return LLVMBuildICmp(gen->b, max ? over : under, v, v_best, "");
    }
    v_nan = LLVMBuildFCmp(gen->b, LLVMRealUNO, v, v, "");
    v_other = LLVMBuildFCmp(gen->b, LLVMRealUNO, v_best, v_best, "");
    if (!last)
        v_nan = LLVMBuildAnd(gen->b, max ? v_nan : v_other, LLVMBuildNot(gen->b, max ? v_other : v_nan, ""), "");
    else
        v_nan = max ? v_nan : v_other;
    v = LLVMBuildFCmp(gen->b, max ? (last ? LLVMRealOGE : LLVMRealOGT) : (last ? LLVMRealOLE : LLVMRealOLT), v, v_best, "");
    return LLVMBuildOr(gen->b, v, v_nan, "");
}

/* best = in[.., 0, ..]; for j = 1 ..: if in[.., j, ..] goes before best: best = it, at = j;  out = at */
static void arg_element(element *e)
{
    fl_gen *gen = e->gen;
    fl_id in = operand(e, 0);
    const fl_type *t = fl_value_type(gen->g, in);
    int axis = axis_of(gen, e->node, t->rank, 0);
    bool keep = fl_node_int(gen->g, e->node, "keepdims", 1) != 0;
    LLVMValueRef v_from[FL_MAX_RANK], v_best, v_place, v, v_before;
    l_loop loop;

    for (int d = 0; d < t->rank; d++)
        v_from[d] = d == axis ? l_i64(gen, 0) : e->v_at[keep || d < axis ? d : d - 1];
    v_best = load(e, in, v_from);
    l_loop_begin(gen, &loop, l_i64(gen, 1), l_extent(gen, t->dims[axis]), 1);
    v_best = l_carry(gen, &loop, v_best);
    v_place = l_carry(gen, &loop, l_i64(gen, 0));
    v_from[axis] = loop.v_i;
    v = load(e, in, v_from);
    v_before = goes_before(e, t->dtype, v, v_best);
    l_next(&loop, 0, LLVMBuildSelect(gen->b, v_before, v, v_best, ""));
    l_next(&loop, 1, LLVMBuildSelect(gen->b, v_before, loop.v_i, v_place, ""));
    l_loop_end(gen, &loop);
    store(e, loop.v_result[1]);
}

void fl_emit_arg_max(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, arg_element);
}

void fl_emit_arg_min(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, arg_element);
}

/* sum = 0; for j along the axis, or backwards: out[.., j, ..] = sum + in[.., j, ..], or sum before it is added */
static void cum_sum_element(element *e)
{
    fl_gen *gen = e->gen;
    bool exclusive = fl_node_int(gen->g, e->node, "exclusive", 0) != 0, reverse = fl_node_int(gen->g, e->node, "reverse", 0) != 0;
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    LLVMValueRef v_end = l_extent(gen, e->out->dims[e->skipped]), v, v_sum, v_next;
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), v_end, 1);
    v_sum = l_carry(gen, &loop, LLVMConstNull(l_memory_type(gen, e->out->dtype)));
    e->v_at[e->skipped] = loop.v_i;
    if (reverse)
        e->v_at[e->skipped] = LLVMBuildSub(gen->b, LLVMBuildSub(gen->b, v_end, l_i64(gen, 1), ""), loop.v_i, "");
    v = load(e, operand(e, 0), e->v_at);
    v_next = real ? LLVMBuildFAdd(gen->b, v_sum, v, "") : LLVMBuildAdd(gen->b, v_sum, v, "");
    store(e, exclusive ? v_sum : v_next);
    l_next(&loop, 0, v_next);
    l_loop_end(gen, &loop);
}

void fl_emit_cum_sum(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    int rank = fl_value_type(gen->g, n->in[0])->rank;
    double axis;

    if (!fl_value_scalar(gen->g, n->in[1], &axis)) {
        l_unsupported(gen, node, "its axis is not constant");
        return;
    }
    if ((axis < 0 ? axis + rank : axis) == 0 && gen->segment->domain != FL_DOMAIN_ONE) {
        l_unsupported(gen, node, "it runs along rows, which are computed apart");
        return;
    }
    each_element(gen, node, (int)(axis < 0 ? axis + rank : axis), cum_sum_element);
}

/* -------------------------------------------------------------------------------------------------------- MatMul */

/* sum = 0; for k: sum = sum + a[.., i, k] b[.., k, j]; out[.., i, j] = sum */
static void dot_element(element *e)
{
    fl_gen *gen = e->gen;
    const fl_type *a = fl_value_type(gen->g, operand(e, 0)), *b = fl_value_type(gen->g, operand(e, 1));
    bool real = e->out->dtype == FL_FLOAT || e->out->dtype == FL_DOUBLE;
    int out = e->out->rank, batch = out - (a->rank > 1) - (b->rank > 1);
    LLVMValueRef v_a[FL_MAX_RANK], v_b[FL_MAX_RANK], v_sum, v;
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), l_extent(gen, a->dims[a->rank - 1]), 1);
    v_sum = l_carry(gen, &loop, LLVMConstNull(l_memory_type(gen, e->out->dtype)));
    for (int d = 0; d < a->rank - 2; d++)
        v_a[d] = a->dims[d] == 1 ? l_i64(gen, 0) : e->v_at[batch - (a->rank - 2) + d];
    for (int d = 0; d < b->rank - 2; d++)
        v_b[d] = b->dims[d] == 1 ? l_i64(gen, 0) : e->v_at[batch - (b->rank - 2) + d];
    if (a->rank > 1)
        v_a[a->rank - 2] = e->v_at[batch];
    if (b->rank > 1)
        v_b[b->rank - 1] = e->v_at[out - 1];
    v_a[a->rank - 1] = v_b[b->rank > 1 ? b->rank - 2 : 0] = loop.v_i;
    if (real)
        v = LLVMBuildFAdd(gen->b, v_sum, LLVMBuildFMul(gen->b, load(e, operand(e, 0), v_a), load(e, operand(e, 1), v_b), ""), "");
    else
        v = LLVMBuildAdd(gen->b, v_sum, LLVMBuildMul(gen->b, load(e, operand(e, 0), v_a), load(e, operand(e, 1), v_b), ""), "");
    l_next(&loop, 0, v);
    l_loop_end(gen, &loop);
    store(e, loop.v_result[0]);
}

void l_emit_dot_products(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, dot_element);
}

/* -------------------------------------------------------------------------------------------------------- Einsum */

typedef struct einsum {
    element *e;
    fl_einsum terms;
    bool summed[FL_EINSUM_AXES];         /* axes that the output lacks */
    fl_dim extent[FL_EINSUM_AXES];       /* 1 for axes that nobody has */
    LLVMValueRef v_axis[FL_EINSUM_AXES]; /* the index of each axis, as far as the open loops say */
} einsum;

static LLVMValueRef product_of_terms(const einsum *x)
{
    fl_gen *gen = x->e->gen;
    LLVMValueRef v_product = NULL, v_from[FL_MAX_RANK];

    for (uint32_t k = 0; k < x->terms.n_in; k++) {
        const fl_type *t = fl_value_type(gen->g, operand(x->e, k));
        LLVMValueRef v;

        for (int d = 0; d < t->rank; d++)
            v_from[d] = t->dims[d] == 1 ? l_i64(gen, 0) : x->v_axis[x->terms.axis[k][d]];
        v = load(x->e, operand(x->e, k), v_from);
        v_product = v_product ? LLVMBuildFMul(gen->b, v_product, v, "") : v;
    }
    return v_product;
}

/* Sums over all axes from `axis` on that the output lacks. */
static LLVMValueRef sum_of_products(einsum *x, int axis, LLVMValueRef v_sum)
{
    fl_gen *gen = x->e->gen;
    l_loop loop;

    while (axis < FL_EINSUM_AXES && !(x->summed[axis] && x->extent[axis] != 1))
        axis++;
    if (axis == FL_EINSUM_AXES)
        return LLVMBuildFAdd(gen->b, v_sum, product_of_terms(x), "");
    l_loop_begin(gen, &loop, l_i64(gen, 0), l_extent(gen, x->extent[axis]), 1);
    v_sum = l_carry(gen, &loop, v_sum);
    x->v_axis[axis] = loop.v_i;
    l_next(&loop, 0, sum_of_products(x, axis + 1, v_sum));
    l_loop_end(gen, &loop);
    return loop.v_result[0];
}

/* out[i..] = sum over the other letters of the product of the operands */
static void einsum_element(element *e)
{
    fl_gen *gen = e->gen;
    const fl_node *n = &gen->g->nodes[e->node];
    einsum x = {.e = e};
    int8_t ranks[FL_EINSUM_MAX_IN];

    for (uint32_t k = 0; k < n->n_in && k < FL_EINSUM_MAX_IN; k++)
        ranks[k] = fl_value_type(gen->g, n->in[k])->rank;
    if (fl_einsum_parse(fl_node_string(gen->g, e->node, "equation", ""), ranks, n->n_in, &x.terms) ||
        (e->out->dtype != FL_FLOAT && e->out->dtype != FL_DOUBLE)) {
        l_unsupported(gen, e->node, "it has code for float and double only");
        return;
    }
    for (int a = 0; a < FL_EINSUM_AXES; a++) {
        x.extent[a] = 1;
        x.summed[a] = true;
        x.v_axis[a] = l_i64(gen, 0);
    }
    for (uint32_t k = 0; k < x.terms.n_in; k++)
        for (int d = 0; d < ranks[k]; d++)
            if (fl_value_type(gen->g, n->in[k])->dims[d] != 1)
                x.extent[x.terms.axis[k][d]] = fl_value_type(gen->g, n->in[k])->dims[d];
    for (int d = 0; d < e->out->rank; d++) {
        x.summed[x.terms.out[d]] = false;
        x.v_axis[x.terms.out[d]] = e->v_at[d];
    }
    store(e, sum_of_products(&x, 0, LLVMConstNull(l_memory_type(gen, e->out->dtype))));
}

void fl_emit_einsum(fl_gen *gen, fl_id node)
{
    each_element(gen, node, -1, einsum_element);
}
