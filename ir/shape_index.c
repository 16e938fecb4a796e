/*
 * shape_index.c -- shape rules of ONNX's operators that index, order, count and fill. What depends on values that only a run knows has
 * a symbol of its own, or no known shape.
 */
#include "ir/einsum.h"
#include "ir/shape_rules.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- along axes */

static fl_status arg_extreme(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int axis;
    FL_TRY(fl_shape_need_number(c, 0));
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    bool keep = fl_node_int(c->g, c->node, "keepdims", 1) != 0;
    fl_type y = {.dtype = FL_INT64};
    for (int d = 0; d < x->rank; d++)
        if (d != axis || keep)
            y.dims[y.rank++] = d == axis ? 1 : x->dims[d];
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_arg_max(fl_shape_ctx *c)
{
    return arg_extreme(c);
}

fl_status fl_shape_arg_min(fl_shape_ctx *c)
{
    return arg_extreme(c);
}

fl_status fl_shape_cum_sum(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_number(c, 0));
    FL_TRY(fl_shape_need_index(c, 1, "the axis"));
    c->out[0] = *c->in[0];
    return FL_OK;
}

fl_status fl_shape_top_k(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int axis;
    int64_t k;
    uint32_t n;
    FL_TRY(fl_shape_need_number(c, 0));
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the number of elements"));
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", -1), x->rank, &axis));
    bool known = fl_shape_known_ints(c, c->n->in[1], &k, 1, &n) && n == 1;
    if (known && (k < 0 || (!FL_DIM_IS_SYM(x->dims[axis]) && k > x->dims[axis])))
        return fl_shape_error(c, "%lld elements of an axis of %lld", (long long)k, (long long)x->dims[axis]);
    fl_dim extent = known ? k : fl_shape_own_dim(c, 0, axis);
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        c->out[i] = *x;
        c->out[i].dtype = i == 0 ? x->dtype : FL_INT64;
        c->out[i].dims[axis] = extent;
    }
    return FL_OK;
}

fl_status fl_shape_einsum(fl_shape_ctx *c)
{
    int8_t ranks[FL_EINSUM_MAX_IN];
    fl_einsum e;
    fl_dim extent[FL_EINSUM_AXES];
    const char *equation = fl_node_string(c->g, c->node, "equation", NULL);
    for (uint32_t k = 0; k < c->n->n_in && k < FL_EINSUM_MAX_IN; k++)
        ranks[k] = c->in[k]->rank;
    const char *wrong = equation ? fl_einsum_parse(equation, ranks, c->n->n_in, &e) : "attribute \"equation\" is missing";
    if (wrong)
        return fl_shape_error(c, "equation \"%.100s\": %s", equation ? equation : "", wrong);
    for (int a = 0; a < FL_EINSUM_AXES; a++)
        extent[a] = 1;
    for (uint32_t k = 0; k < e.n_in; k++)
        for (int d = 0; d < e.rank[k]; d++) {
            fl_dim *have = &extent[e.axis[k][d]], found = c->in[k]->dims[d];
            if (*have != 1 && found != 1 && !fl_dim_fits(*have, found))
                return fl_shape_error(c, "equation \"%.100s\": one letter has extents %lld and %lld", equation, (long long)*have,
                                      (long long)found);
            *have = *have == 1 ? found : found == 1 ? *have : fl_dim_merge(*have, found);
        }
    fl_type y = {.dtype = c->in[0]->dtype, .rank = e.out_rank};
    for (int d = 0; d < y.rank; d++)
        y.dims[d] = extent[e.out[d]];
    c->out[0] = y;
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------- rows by index */

fl_status fl_shape_gather_elements(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0], *index = c->in[1];
    int axis;
    FL_TRY(fl_shape_need_index(c, 1, "the indices"));
    FL_TRY(fl_shape_need_rank(c, 1, x->rank, "the indices"));
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    c->out[0] = *index;
    c->out[0].dtype = x->dtype;
    return FL_OK;
}

fl_status fl_shape_gather_nd(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0], *index = c->in[1];
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the indices"));
    int64_t shared = fl_node_int(c->g, c->node, "batch_dims", 0);
    if (shared < 0 || shared >= index->rank || shared >= x->rank)
        return fl_shape_error(c, "batch_dims is %lld for ranks %d and %d", (long long)shared, x->rank, index->rank);
    fl_dim depth = index->dims[index->rank - 1];
    if (FL_DIM_IS_SYM(depth) || depth < 1 || depth > x->rank - shared)
        return fl_shape_error(c, "the last dimension of the indices must be 1 to %d", (int)(x->rank - shared));
    fl_type y = {.dtype = x->dtype};
    int rank = index->rank - 1 + x->rank - (int)(shared + depth);
    if (rank > FL_MAX_RANK)
        return fl_shape_error(c, "the result has rank %d; at most %d are supported", rank, FL_MAX_RANK);
    for (int d = 0; d < index->rank - 1; d++)
        y.dims[y.rank++] = index->dims[d];
    for (int d = (int)(shared + depth); d < x->rank; d++)
        y.dims[y.rank++] = x->dims[d];
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_scatter_elements(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int axis;
    FL_TRY(fl_shape_need_index(c, 1, "the indices"));
    FL_TRY(fl_shape_need_dtype(c, 2, x->dtype, "the updates"));
    FL_TRY(fl_shape_need_rank(c, 1, x->rank, "the indices"));
    FL_TRY(fl_shape_need_rank(c, 2, x->rank, "the updates"));
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    for (int d = 0; d < x->rank; d++)
        FL_TRY(fl_shape_need_dim(c, c->in[2]->dims[d], c->in[1]->dims[d], "a dimension of the updates"));
    c->out[0] = *x;
    return FL_OK;
}

fl_status fl_shape_one_hot(fl_shape_ctx *c)
{
    const fl_type *index = c->in[0];
    double depth;
    int axis;
    FL_TRY(fl_shape_need_number(c, 0));
    FL_TRY(fl_shape_need_number(c, 1));
    FL_TRY(fl_shape_need_rank(c, 2, 1, "the two values"));
    FL_TRY(fl_shape_need_dim(c, c->in[2]->dims[0], 2, "the number of values"));
    if (index->rank == FL_MAX_RANK)
        return fl_shape_error(c, "the result has rank %d; at most %d are supported", FL_MAX_RANK + 1, FL_MAX_RANK);
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", -1), index->rank + 1, &axis));
    fl_type y = {.dtype = c->in[2]->dtype, .rank = (int8_t)(index->rank + 1)};
    bool known = fl_value_scalar(c->g, c->n->in[1], &depth) && depth >= 0 && depth < 0x1p62;
    for (int d = 0; d < y.rank; d++)
        y.dims[d] = d != axis ? index->dims[d < axis ? d : d - 1] : known ? (fl_dim)depth : fl_shape_own_dim(c, 0, d);
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_compress(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    FL_TRY(fl_shape_need_dtype(c, 1, FL_BOOL, "the condition"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the condition"));
    if (!fl_node_attr(c->g, c->node, "axis")) {
        fl_dim kept = fl_shape_own_dim(c, 0, 0);
        c->out[0] = fl_type_make(x->dtype, 1, &kept);
        return FL_OK;
    }
    int axis;
    FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    c->out[0] = *x;
    c->out[0].dims[axis] = fl_shape_own_dim(c, 0, axis);
    return FL_OK;
}

fl_status fl_shape_non_zero(fl_shape_ctx *c)
{
    fl_dim dims[2] = {c->in[0]->rank, fl_shape_own_dim(c, 0, 1)};
    c->out[0] = fl_type_make(FL_INT64, 2, dims);
    return FL_OK;
}

/* y, first places, inverse, counts: distinct elements, or distinct slices along an axis. */
fl_status fl_shape_unique(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    bool flat = !fl_node_attr(c->g, c->node, "axis"), ok = true;
    int axis = 0;
    if (!flat)
        FL_TRY(fl_shape_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    fl_dim distinct = FL_DIM_SYM(0), whole = flat ? fl_shape_product(c->g, x->dims, x->rank, &ok) : x->dims[axis];
    if (!ok)
        return fl_shape_error(c, "the operand has too many elements");
    bool found = false;
    for (uint32_t i = 0; i < c->n->n_out && !found; i++) { /* any output that is wanted has the number of distinct ones */
        found = c->n->out[i] != FL_NONE && i != 2;
        distinct = found ? fl_shape_own_dim(c, i, i == 0 ? axis : 0) : distinct;
    }
    c->out[0] = flat ? fl_type_make(x->dtype, 1, &distinct) : *x;
    if (found)
        c->out[0].dims[axis] = distinct;
    for (uint32_t i = 1; i < c->n->n_out; i++)
        c->out[i] = fl_type_make(FL_INT64, 1, i == 2 ? &whole : &distinct);
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- filling */

fl_status fl_shape_tile(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int64_t times[FL_MAX_RANK];
    uint32_t n;
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the repeats"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the repeats"));
    FL_TRY(fl_shape_need_dim(c, c->in[1]->dims[0], x->rank, "the number of repeats"));
    bool known = fl_shape_known_ints(c, c->n->in[1], times, FL_MAX_RANK, &n) && n == (uint32_t)x->rank, ok;
    fl_type y = *x;
    for (int d = 0; d < x->rank; d++) {
        if (known && times[d] < 0)
            return fl_shape_error(c, "repeat %d is %lld", d, (long long)times[d]);
        y.dims[d] = known ? fl_shape_product(c->g, (fl_dim[]){x->dims[d], times[d]}, 2, &ok) : fl_shape_own_dim(c, 0, d);
        if (known && !ok)
            return fl_shape_error(c, "the result has too many elements");
    }
    c->out[0] = y;
    return FL_OK;
}

fl_status fl_shape_pad(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0];
    int64_t pads[2 * FL_MAX_RANK], axes[FL_MAX_RANK];
    uint32_t n, n_axes = (uint32_t)x->rank;
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the pads"));
    if (c->n->n_in > 2 && c->in[2])
        FL_TRY(fl_shape_need_dtype(c, 2, x->dtype, "the value"));
    for (int d = 0; d < x->rank; d++)
        axes[d] = d;
    bool known = fl_shape_known_ints(c, c->n->in[1], pads, 2 * FL_MAX_RANK, &n);
    if (c->n->n_in > 3 && c->in[3])
        known = fl_shape_known_ints(c, c->n->in[3], axes, FL_MAX_RANK, &n_axes) && known;
    fl_type y = *x;
    if (known && n != 2 * n_axes)
        return fl_shape_error(c, "%u pads for %u axes", n, n_axes);
    for (int d = 0; d < x->rank && !known; d++)
        y.dims[d] = fl_shape_own_dim(c, 0, d);
    for (uint32_t k = 0; known && k < n_axes; k++) {
        int axis;
        FL_TRY(fl_shape_axis(c, axes[k], x->rank, &axis));
        int64_t more = pads[k], whole;
        if (__builtin_add_overflow(more, pads[k + n_axes], &more) || more < -INT64_MAX / 4 || more > INT64_MAX / 4)
            return fl_shape_error(c, "the pads of axis %d are too large", axis);
        whole = FL_DIM_IS_SYM(x->dims[axis]) ? 0 : x->dims[axis] + more;
        if (whole < 0)
            return fl_shape_error(c, "the pads take more from axis %d than it has", axis);
        if (more != 0)
            y.dims[axis] = FL_DIM_IS_SYM(x->dims[axis]) ? fl_shape_own_dim(c, 0, axis) : whole;
    }
    c->out[0] = y;
    return FL_OK;
}

/* From 0 to an extent by 1: as many numbers as the symbol says, such as rows of the batch. */
static bool counts_to_symbol(const fl_shape_ctx *c, fl_dim *symbol)
{
    fl_extent e[FL_MAX_RANK];
    double start, delta;
    uint32_t n;
    if (c->in[0]->dtype != FL_INT64 || !fl_value_scalar(c->g, c->n->in[0], &start) || start != 0 || !fl_value_scalar(c->g, c->n->in[2], &delta) ||
        delta != 1 || !fl_shape_extents(c->g, c->n->in[1], e, &n) || n != 1 || !e[0].symbol)
        return false;
    *symbol = e[0].v;
    return true;
}

fl_status fl_shape_range(fl_shape_ctx *c)
{
    double bound[3];
    bool known = true;
    fl_dim symbol;
    FL_TRY(fl_shape_need_number(c, 0));
    for (uint32_t i = 0; i < 3; i++) {
        FL_TRY(fl_shape_need_dtype(c, i, c->in[0]->dtype, "start, limit and delta"));
        known = fl_value_scalar(c->g, c->n->in[i], &bound[i]) && known;
    }
    if (known && bound[2] == 0)
        return fl_shape_error(c, "delta is 0");
    double n = known ? ceil((bound[1] - bound[0]) / bound[2]) : 0;
    if (!(n < 0x1p48))
        return fl_shape_error(c, "the range has too many elements");
    fl_dim extent = !known ? fl_shape_own_dim(c, 0, 0) : n > 0 ? (fl_dim)n : 0;
    if (!known && counts_to_symbol(c, &symbol))
        extent = symbol;
    c->out[0] = fl_type_make(c->in[0]->dtype, 1, &extent);
    return FL_OK;
}

fl_status fl_shape_eye_like(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the operand"));
    c->out[0] = *c->in[0];
    c->out[0].dtype = (fl_dtype)fl_node_int(c->g, c->node, "dtype", c->in[0]->dtype);
    return fl_dtype_size(c->out[0].dtype) ? FL_OK : fl_shape_error(c, "attribute \"dtype\" names no numeric type of ours");
}

fl_status fl_shape_trilu(fl_shape_ctx *c)
{
    if (c->in[0]->rank < 2)
        return fl_shape_error(c, "the operand has rank %d; wanted are matrices", c->in[0]->rank);
    if (c->n->n_in > 1 && c->in[1])
        FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the diagonal"));
    c->out[0] = *c->in[0];
    return FL_OK;
}

fl_status fl_shape_reverse_sequence(fl_shape_ctx *c)
{
    if (c->in[0]->rank < 2)
        return fl_shape_error(c, "the operand has rank %d; wanted are a batch and time", c->in[0]->rank);
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the lengths"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the lengths"));
    c->out[0] = *c->in[0];
    return FL_OK;
}

fl_status fl_shape_uniform_like(fl_shape_ctx *c)
{
    c->out[0] = *c->in[0];
    c->out[0].dtype = (fl_dtype)fl_node_int(c->g, c->node, "dtype", c->in[0]->dtype);
    fl_dtype t = c->out[0].dtype;
    return t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 ? FL_OK : fl_shape_error(c, "random numbers are of a floating-point type");
}

/* ------------------------------------------------------------------------------------------------------- labels */

/* Lists of keys and values of one length; the key's type is the operand's. */
fl_status fl_shape_label_encoder(fl_shape_ctx *c)
{
    static const struct {
        const char *keys, *values;
        fl_attr_kind kind;
        fl_dtype dtype;
    } lists[] = {
        {"keys_strings", "values_strings", FL_ATTR_STRINGS, FL_STRING},
        {"keys_int64s", "values_int64s", FL_ATTR_INTS, FL_INT64},
        {"keys_floats", "values_floats", FL_ATTR_FLOATS, FL_FLOAT},
    };
    const fl_attr *keys = NULL, *values = NULL;
    c->out[0] = *c->in[0];
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const fl_attr *k = fl_node_attr(c->g, c->node, lists[i].keys), *v = fl_node_attr(c->g, c->node, lists[i].values);
        if (k && k->kind == lists[i].kind) {
            FL_TRY(fl_shape_need_dtype(c, 0, lists[i].dtype, "the operand"));
            keys = k;
        }
        if (v && v->kind == lists[i].kind) {
            c->out[0].dtype = lists[i].dtype;
            values = v;
        }
    }
    if (!keys || !values || keys->n != values->n)
        return fl_shape_error(c, "it needs a list of keys and one of values, equally long; tensors of them are not supported");
    return FL_OK;
}
