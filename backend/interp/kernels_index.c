/*
 * kernels_index.c -- ONNX's operators that read, write, find and order elements by index.
 */
#include "backend/interp/kernels.h"

#include <math.h>
#include <string.h>

/* The coordinates of element k of a row-major tensor. */
static void coordinates(const int64_t *dims, int rank, int64_t k, int64_t *at)
{
    for (int d = rank - 1; d >= 0; d--) {
        at[d] = k % dims[d];
        k /= dims[d];
    }
}

/* ------------------------------------------------------------------------------------------- reading and writing */

/* The element of x that element k of the indices means: its own coordinates, but along the axis those that stand there. */
static fl_status element(const fl_call *c, const fl_array *x, const fl_array *index, int axis, int64_t k, int64_t *place)
{
    int64_t at[FL_MAX_RANK];
    coordinates(index->dims, index->rank, k, at);
    FL_TRY(fl_call_row(c, index->i[k], x->dims[axis], k, at[0], &at[axis]));
    *place = 0;
    for (int d = 0; d < x->rank; d++) {
        if (at[d] >= x->dims[d])
            return fl_call_error(c, FL_E_INTERP_SHAPE, "the indices reach beyond the data in dimension %d", d);
        *place = *place * x->dims[d] + at[d];
    }
    return FL_OK;
}

static fl_status elements_axis(fl_call *c, int *axis)
{
    FL_TRY(fl_call_ints(c, 1, c->in[0]->rank, "the indices"));
    return fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), c->in[0]->rank, axis);
}

fl_status fl_kernel_gather_elements(fl_call *c)
{
    const fl_array *x = c->in[0], *index = c->in[1];
    int axis;
    FL_TRY(elements_axis(c, &axis));
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, index->rank, index->dims));
    for (int64_t k = 0; k < index->n; k++) {
        int64_t place;
        FL_TRY(element(c, x, index, axis, k, &place));
        fl_array_copy(&c->out[0], k, x, place, 1);
    }
    return FL_OK;
}

fl_status fl_kernel_gather_nd(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, -1, "the indices"));
    const fl_array *x = c->in[0], *index = c->in[1];
    int64_t shared = fl_node_int(c->g, c->node, "batch_dims", 0), dims[FL_MAX_RANK];
    int64_t depth = index->rank > 0 ? index->dims[index->rank - 1] : 0;
    if (shared < 0 || shared >= index->rank || depth < 1 || depth > x->rank - shared ||
        index->rank - 1 + x->rank - shared - depth > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "indices of depth %lld, batch_dims %lld, into rank %d", (long long)depth,
                             (long long)shared, x->rank);
    int rank = 0, first = (int)(shared + depth);
    for (int d = 0; d < index->rank - 1; d++)
        dims[rank++] = index->dims[d];
    for (int d = first; d < x->rank; d++)
        dims[rank++] = x->dims[d];
    for (int d = 0; d < shared; d++)
        FL_TRY(fl_call_same(c, index->dims[d], x->dims[d], "a batch dimension of the indices"));
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, rank, dims));
    int64_t inner = fl_array_extent(x, first, x->rank), n = index->n / depth;
    int64_t per_batch = fl_array_extent(index, (int)shared, index->rank - 1);
    for (int64_t k = 0; k < n; k++) {
        int64_t place = k / per_batch, row;
        for (int64_t d = 0; d < depth; d++) {
            FL_TRY(fl_call_row(c, index->i[k * depth + d], x->dims[shared + d], k * depth + d, k, &row));
            place = place * x->dims[shared + d] + row;
        }
        fl_array_copy(&c->out[0], k * inner, x, place * inner, inner);
    }
    return FL_OK;
}

typedef enum combination { REPLACE, ADD, MULTIPLY, LARGER, SMALLER } combination;

static fl_status read_combination(fl_call *c, combination *how)
{
    static const char *const words[] = {"none", "add", "mul", "max", "min"};
    _Static_assert(FL_COUNT(words) == SMALLER + 1, "a word for each combination");
    const char *word = fl_node_string(c->g, c->node, "reduction", "none");
    for (size_t k = 0; k < FL_COUNT(words); k++) {
        if (strcmp(words[k], word) == 0) {
            *how = (combination)k;
            return FL_OK;
        }
    }
    return fl_call_error(c, FL_E_INTERP_OPERAND, "reduction \"%s\"", word);
}

static void combine(combination how, fl_array *y, int64_t to, const fl_array *u, int64_t from)
{
    double a = y->f ? y->f[to] : 0, b = u->f ? u->f[from] : 0;
    int64_t i = y->i ? y->i[to] : 0, j = u->i ? u->i[from] : 0;
    switch (how) {
    case REPLACE:
        a = b;
        i = j;
        break;
    case ADD:
        a += b;
        i = (int64_t)((uint64_t)i + (uint64_t)j);
        break;
    case MULTIPLY:
        a *= b;
        i = (int64_t)((uint64_t)i * (uint64_t)j);
        break;
    case LARGER:
        a = a > b || isnan(a) ? a : b;
        i = i > j ? i : j;
        break;
    case SMALLER:
        a = a < b || isnan(a) ? a : b;
        i = i < j ? i : j;
        break;
    }
    if (y->f)
        y->f[to] = a;
    else
        y->i[to] = i;
}

static fl_status copy_of_data(fl_call *c, const fl_array *updates)
{
    if (fl_array_real(updates) != fl_array_real(c->in[0]))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "the data and the updates are not of one type");
    FL_TRY(fl_call_new_like(c, &c->out[0], c->in[0]));
    fl_array_copy(&c->out[0], 0, c->in[0], 0, c->in[0]->n);
    return FL_OK;
}

fl_status fl_kernel_scatter_elements(fl_call *c)
{
    const fl_array *index = c->in[1], *updates = c->in[2];
    int axis;
    combination how;
    FL_TRY(elements_axis(c, &axis));
    FL_TRY(read_combination(c, &how));
    FL_TRY(fl_call_same(c, updates->n, index->n, "elements of the updates"));
    FL_TRY(copy_of_data(c, updates));
    for (int64_t k = 0; k < index->n; k++) {
        int64_t place;
        FL_TRY(element(c, c->in[0], index, axis, k, &place));
        combine(how, &c->out[0], place, updates, k);
    }
    return FL_OK;
}

fl_status fl_kernel_scatter_nd(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, -1, "the indices"));
    const fl_array *x = c->in[0], *index = c->in[1], *updates = c->in[2];
    combination how;
    FL_TRY(read_combination(c, &how));
    int64_t depth = index->rank > 0 ? index->dims[index->rank - 1] : 0;
    if (depth < 1 || depth > x->rank)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "indices of depth %lld into rank %d", (long long)depth, x->rank);
    int64_t inner = fl_array_extent(x, (int)depth, x->rank), n = index->n / depth;
    FL_TRY(fl_call_same(c, updates->n, n * inner, "elements of the updates"));
    FL_TRY(copy_of_data(c, updates));
    for (int64_t k = 0; k < n; k++) {
        int64_t place = 0, row;
        for (int64_t d = 0; d < depth; d++) {
            FL_TRY(fl_call_row(c, index->i[k * depth + d], x->dims[d], k * depth + d, k, &row));
            place = place * x->dims[d] + row;
        }
        for (int64_t j = 0; j < inner; j++)
            combine(how, &c->out[0], place * inner + j, updates, k * inner + j);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------ finding */

/* values[1] where the index, counted from the end if negative, is the place along the new axis; values[0] elsewhere. */
fl_status fl_kernel_one_hot(fl_call *c)
{
    const fl_array *index = c->in[0], *depth = c->in[1], *values = c->in[2];
    int axis;
    FL_TRY(fl_call_same(c, depth->n, 1, "numbers of the depth"));
    FL_TRY(fl_call_same(c, values->n, 2, "number of values"));
    int64_t extent = depth->f ? (int64_t)depth->f[0] : depth->i[0], dims[FL_MAX_RANK];
    if (index->rank >= FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a result of rank %d", index->rank + 1);
    FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", -1), index->rank + 1, &axis));
    for (int d = 0; d <= index->rank; d++)
        dims[d] = d == axis ? extent : index->dims[d < axis ? d : d - 1];
    FL_TRY(fl_call_new(c, &c->out[0], values->dtype, index->rank + 1, dims));
    int64_t inner = fl_array_extent(index, axis, index->rank);
    for (int64_t k = 0; k < c->out[0].n; k++) {
        int64_t j = k / inner % extent, from = k / inner / extent * inner + k % inner;
        double at = index->f ? index->f[from] : (double)index->i[from];
        bool on = at == (double)j || at == (double)(j - extent);
        fl_array_copy(&c->out[0], k, values, on, 1);
    }
    return FL_OK;
}

/* Slices (elements of the flattened operand, without an axis) for which the condition holds. */
fl_status fl_kernel_compress(fl_call *c)
{
    const fl_array *condition = c->in[1];
    fl_array x = *c->in[0];
    int axis = 0;
    FL_TRY(fl_call_ints(c, 1, 1, "the condition"));
    if (!fl_node_attr(c->g, c->node, "axis"))
        fl_array_view(c->in[0], 1, &c->in[0]->n, &x);
    else
        FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), x.rank, &axis));
    int64_t dims[FL_MAX_RANK], kept = 0, extent = x.dims[axis];
    for (int64_t k = 0; k < condition->n && k < extent; k++)
        kept += condition->i[k] != 0;
    memcpy(dims, x.dims, sizeof dims);
    dims[axis] = kept;
    FL_TRY(fl_call_new(c, &c->out[0], x.dtype, x.rank, dims));
    int64_t outer = fl_array_extent(&x, 0, axis), inner = fl_array_extent(&x, axis + 1, x.rank), to = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < extent && k < condition->n; k++)
            if (condition->i[k]) {
                fl_array_copy(&c->out[0], to, &x, (o * extent + k) * inner, inner);
                to += inner;
            }
    return FL_OK;
}

/* Coordinates of all elements that are not 0, one row a dimension. */
fl_status fl_kernel_non_zero(fl_call *c)
{
    const fl_array *x = c->in[0];
    int64_t found = 0, at[FL_MAX_RANK], to = 0;
    for (int64_t k = 0; k < x->n; k++)
        found += x->f ? x->f[k] != 0 : x->i[k] != 0;
    FL_TRY(fl_call_new(c, &c->out[0], FL_INT64, 2, (int64_t[]){x->rank, found}));
    for (int64_t k = 0; k < x->n; k++) {
        if (x->f ? x->f[k] == 0 : x->i[k] == 0)
            continue;
        coordinates(x->dims, x->rank, k, at);
        for (int d = 0; d < x->rank; d++)
            c->out[0].i[d * found + to] = at[d];
        to++;
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- Unique */

typedef struct slices {
    const fl_array *x;
    int64_t outer, extent, inner; /* slice k is x[:, k, :] */
} slices;

/* Slices compare as ONNX's reference does: element by element in row-major order. */
static int compare(const slices *s, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t j = 0; j < s->inner; j++) {
            int64_t p = (o * s->extent + a) * s->inner + j, q = (o * s->extent + b) * s->inner + j;
            int way = s->x->f ? (s->x->f[p] > s->x->f[q]) - (s->x->f[p] < s->x->f[q]) : (s->x->i[p] > s->x->i[q]) - (s->x->i[p] < s->x->i[q]);
            if (way)
                return way;
        }
    return 0;
}

/* Merge sort of the slice numbers in `list`, with `spare` as long: equal slices keep their order. */
static void sort(const slices *s, int64_t *list, int64_t *spare, int64_t n)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t from = 0; from < n; from += 2 * width) {
            int64_t mid = from + width < n ? from + width : n, end = from + 2 * width < n ? from + 2 * width : n;
            for (int64_t a = from, b = mid, k = from; k < end; k++)
                spare[k] = a < mid && (b == end || compare(s, list[a], list[b]) <= 0) ? list[a++] : list[b++];
        }
        memcpy(list, spare, (size_t)n * sizeof *list);
    }
}

/* Group numbers: group[k] of slice k, first[] and count[] of each group, in the order wanted. Returns how many. */
static int64_t find_groups(const slices *s, bool sorted, int64_t *list, int64_t *spare, int64_t *group, int64_t *first, int64_t *count)
{
    int64_t n = s->extent, groups = 0;
    for (int64_t k = 0; k < n; k++)
        list[k] = k;
    sort(s, list, spare, n);
    for (int64_t k = 0; k < n; k++) {
        bool fresh = k == 0 || compare(s, list[k - 1], list[k]) != 0;
        if (fresh) {
            first[groups] = list[k];
            count[groups++] = 0;
        }
        group[list[k]] = groups - 1;
        count[groups - 1]++;
    }
    if (sorted)
        return groups;
    /* Renumbered by first appearance: a group is new where its first slice stands. */
    int64_t *number = list, next = 0, *old_count = spare;
    memcpy(old_count, count, (size_t)groups * sizeof *count);
    for (int64_t k = 0; k < n; k++) {
        int64_t g = group[k];
        if (first[g] == k) {
            count[next] = old_count[g];
            number[g] = next++;
        }
    }
    for (int64_t k = 0; k < n; k++)
        group[k] = number[group[k]];
    for (int64_t k = n; k-- > 0;)
        first[group[k]] = k;
    return groups;
}

fl_status fl_kernel_unique(fl_call *c)
{
    fl_array x = *c->in[0];
    int axis = 0;
    if (!fl_node_attr(c->g, c->node, "axis"))
        fl_array_view(c->in[0], 1, &c->in[0]->n, &x);
    else
        FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), x.rank, &axis));
    slices s = {&x, fl_array_extent(&x, 0, axis), x.dims[axis], fl_array_extent(&x, axis + 1, x.rank)};
    int64_t *work[5], dims[FL_MAX_RANK];
    for (int k = 0; k < 5; k++)
        if (!(work[k] = fl_arena_new(c->arena, int64_t, (size_t)s.extent)))
            return fl_out_of_memory(c->diag);
    int64_t *group = work[2], *first = work[3], *count = work[4];
    int64_t n = find_groups(&s, fl_node_int(c->g, c->node, "sorted", 1) != 0, work[0], work[1], group, first, count);
    memcpy(dims, x.dims, sizeof dims);
    dims[axis] = n;
    FL_TRY(fl_call_new(c, &c->out[0], x.dtype, x.rank, dims));
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t k = 0; k < n; k++)
            fl_array_copy(&c->out[0], (o * n + k) * s.inner, &x, (o * s.extent + first[k]) * s.inner, s.inner);
    const int64_t *from[] = {NULL, first, group, count};
    for (uint32_t i = 1; i < c->n_out; i++) {
        int64_t length = i == 2 ? s.extent : n;
        FL_TRY(fl_call_new(c, &c->out[i], FL_INT64, 1, &length));
        for (int64_t k = 0; k < length; k++)
            c->out[i].i[k] = from[i][k];
    }
    return FL_OK;
}
