/*
 * kernels_rows.c -- tables read and written by index, and the layers of CTR models above them.
 */
#include "backend/interp/kernels.h"
#include "ir/schedule.h"

#include <string.h>

/* A row index of tables of ours, where negative ones are wrong. */
static fl_status check_place(const fl_call *c, int64_t index, int64_t rows, int64_t at, int64_t row_of_index)
{
    int64_t ignored;
    return fl_call_row(c, index < 0 ? INT64_MIN : index, rows, at, row_of_index, &ignored);
}

fl_status fl_kernel_gather(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, -1, "the index"));
    const fl_array *x = c->in[0], *index = c->in[1];
    int axis;
    if (x->rank == 0 || x->rank - 1 + index->rank > FL_MAX_RANK)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a scalar, or a result of too high a rank");
    FL_TRY(fl_call_axis(c, fl_node_int(c->g, c->node, "axis", 0), x->rank, &axis));
    int64_t dims[FL_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < axis; d++)
        dims[rank++] = x->dims[d];
    for (int d = 0; d < index->rank; d++)
        dims[rank++] = index->dims[d];
    for (int d = axis + 1; d < x->rank; d++)
        dims[rank++] = x->dims[d];
    fl_array *y = &c->out[0];
    FL_TRY(fl_call_new(c, y, x->dtype, rank, dims));
    int64_t outer = fl_array_extent(x, 0, axis), inner = fl_array_extent(x, axis + 1, x->rank), rows = x->dims[axis];
    int64_t leading = index->rank > 0 && index->dims[0] > 0 ? index->n / index->dims[0] : 1;
    for (int64_t k = 0; k < index->n; k++) {
        int64_t row;
        FL_TRY(fl_call_row(c, index->i[k], rows, k, k / (leading ? leading : 1), &row));
        for (int64_t o = 0; o < outer && inner > 0; o++) {
            int64_t to = (o * index->n + k) * inner, from = (o * rows + row) * inner;
            memcpy(y->f ? (void *)(y->f + to) : (void *)(y->i + to), x->f ? (void *)(x->f + from) : (void *)(x->i + from),
                   (size_t)inner * 8);
        }
    }
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------------- pooling */

fl_status fl_kernel_field_pool(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "data"));
    FL_TRY(fl_call_ints(c, 1, 2, "the index"));
    const fl_array *data = c->in[0], *index = c->in[1];
    const int64_t *fields;
    uint32_t m;
    bool squares = fl_node_int(c->g, c->node, "squares", 0) != 0;
    FL_TRY(fl_call_attr_ints(c, "fields", &fields, &m));
    FL_TRY(fl_call_same(c, c->n_out, squares ? 2 * (int64_t)m : m, "number of outputs"));
    int64_t batch = index->dims[0], slots = index->dims[1], width = data->dims[1], first = 0;
    for (uint32_t k = 0; k < c->n_out; k++)
        FL_TRY(fl_call_new(c, &c->out[k], data->dtype, 2, (int64_t[]){batch, width}));
    for (uint32_t k = 0; k < m; first += fields[k++])
        if (fields[k] < 0 || fields[k] > slots - first)
            return fl_call_error(c, FL_E_INTERP_SHAPE, "fields have more columns than the index, %lld", (long long)slots);
    FL_TRY(fl_call_same(c, first, slots, "sum of fields"));
    for (int64_t b = 0; b < batch; b++) {
        int64_t s = 0;
        for (uint32_t k = 0; k < m; k++) {
            double *f = c->out[k].f + b * width, *q = squares ? c->out[m + k].f + b * width : NULL;
            for (int64_t end = s + fields[k]; s < end; s++) {
                int64_t row = index->i[b * slots + s];
                FL_TRY(check_place(c, row, data->dims[0], b * slots + s, b));
                for (int64_t j = 0; j < width; j++) {
                    double e = data->f[row * width + j];
                    f[j] += e;
                    if (q)
                        q[j] += e * e;
                }
            }
        }
    }
    return FL_OK;
}

/* Column `at` of the columns of all tables: operand pair *k, column *s of its index. */
static void find_column(const fl_call *c, int64_t at, uint32_t *k, int64_t *s)
{
    *k = 0;
    for (;; *k += 1) {
        const fl_array *index = c->in[2 * *k + 1];
        int64_t columns = index->rank == 2 ? index->dims[1] : 1;
        if (at < columns)
            break;
        at -= columns;
    }
    *s = at;
}

fl_status fl_kernel_table_pool(fl_call *c)
{
    const int64_t *fields;
    uint32_t m;
    int64_t slots = 0, sum = 0;
    bool squares = fl_node_int(c->g, c->node, "squares", 0) != 0;
    FL_TRY(fl_call_attr_ints(c, "fields", &fields, &m));
    FL_TRY(fl_call_same(c, c->n_out, squares ? 2 * (int64_t)m : m, "number of outputs"));
    FL_TRY(fl_call_same(c, c->n_in % 2, 0, "operands without a partner"));
    for (uint32_t k = 0; k < c->n_in; k += 2) {
        FL_TRY(fl_call_real(c, k, 2, "data"));
        FL_TRY(fl_call_ints(c, k + 1, c->in[k + 1]->rank == 1 ? 1 : 2, "the index"));
        FL_TRY(fl_call_same(c, c->in[k]->dims[1], c->in[0]->dims[1], "width of a table"));
        FL_TRY(fl_call_same(c, c->in[k + 1]->dims[0], c->in[1]->dims[0], "rows of an index"));
        slots += c->in[k + 1]->rank == 2 ? c->in[k + 1]->dims[1] : 1;
    }
    for (uint32_t k = 0; k < m; k++)
        if (fields[k] < 0 || __builtin_add_overflow(sum, fields[k], &sum))
            return fl_call_error(c, FL_E_INTERP_SHAPE, "field %u has %lld columns", k, (long long)fields[k]);
    FL_TRY(fl_call_same(c, sum, slots, "sum of fields"));
    int64_t batch = c->in[1]->dims[0], width = c->in[0]->dims[1], at = 0;
    for (uint32_t k = 0; k < c->n_out; k++)
        FL_TRY(fl_call_new(c, &c->out[k], c->in[0]->dtype, 2, (int64_t[]){batch, width}));
    for (uint32_t i = 0; i < m; i++) {
        for (int64_t end = at + fields[i]; at < end; at++) {
            uint32_t k;
            int64_t s, row;
            find_column(c, at, &k, &s);
            const fl_array *data = c->in[2 * k], *index = c->in[2 * k + 1];
            int64_t columns = index->rank == 2 ? index->dims[1] : 1;
            for (int64_t b = 0; b < batch; b++) {
                double *f = c->out[i].f + b * width, *q = squares ? c->out[m + i].f + b * width : NULL;
                FL_TRY(fl_call_row(c, index->i[b * columns + s], data->dims[0], b * columns + s, b, &row));
                for (int64_t j = 0; j < width; j++) {
                    double e = data->f[row * width + j];
                    f[j] += e;
                    if (q)
                        q[j] += e * e;
                }
            }
        }
    }
    return FL_OK;
}

fl_status fl_kernel_tile_sum(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "x"));
    const fl_array *x = c->in[0];
    int64_t width = x->dims[1];
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, 2, x->dims));
    for (int64_t b = 0; b < x->dims[0]; b++)
        for (int64_t k = 0; k < width; k++)
            c->out[0].f[b / FL_TILE_ROWS * FL_TILE_ROWS * width + k] += x->f[b * width + k];
    return FL_OK;
}

fl_status fl_kernel_dot_interaction(fl_call *c)
{
    const int64_t *first, *second;
    uint32_t n, m;
    FL_TRY(fl_call_real(c, 0, 3, "x"));
    FL_TRY(fl_call_attr_ints(c, "first", &first, &n));
    FL_TRY(fl_call_attr_ints(c, "second", &second, &m));
    FL_TRY(fl_call_same(c, m, n, "second vectors"));
    const fl_array *x = c->in[0];
    int64_t vectors = x->dims[1], width = x->dims[2];
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, 2, (int64_t[]){x->dims[0], n}));
    for (int64_t b = 0; b < x->dims[0]; b++)
        for (uint32_t p = 0; p < n; p++) {
            int64_t i, j;
            FL_TRY(fl_call_row(c, first[p], vectors, p, b, &i));
            FL_TRY(fl_call_row(c, second[p], vectors, p, b, &j));
            for (int64_t k = 0; k < width; k++)
                c->out[0].f[b * n + p] += x->f[(b * vectors + i) * width + k] * x->f[(b * vectors + j) * width + k];
        }
    return FL_OK;
}

fl_status fl_kernel_field_interaction(fl_call *c)
{
    int64_t m = fl_node_int(c->g, c->node, "fields", 0);
    if (m < 1 || c->n_in != 2 + 2 * (uint64_t)m)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "%lld fields and %u operands", (long long)m, c->n_in);
    const fl_array *r_mf = c->in[0], *r_fm = c->in[1], *const *f = c->in + 2, *const *q = c->in + 2 + m;
    if (r_mf) {
        FL_TRY(fl_call_real(c, 0, 1, "r_mf"));
        FL_TRY(fl_call_same(c, r_mf->n, m * (m - 1) / 2, "elements of r_mf"));
    }
    if (r_fm) {
        FL_TRY(fl_call_real(c, 1, 1, "r_fm"));
        FL_TRY(fl_call_same(c, r_fm->n, m, "elements of r_fm"));
    }
    for (uint32_t k = 2; k < c->n_in; k++) {
        if (k >= 2 + (uint64_t)m && !c->in[k])
            continue;
        FL_TRY(fl_call_real(c, k, 2, "a field"));
        FL_TRY(fl_call_same(c, c->in[k]->dims[0], f[0]->dims[0], "rows of a field"));
        FL_TRY(fl_call_same(c, c->in[k]->dims[1], f[0]->dims[1], "width of a field"));
        if (k >= 2 + (uint64_t)m && !r_fm)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "sums of squares without r_fm");
    }
    fl_array *h = &c->out[0];
    FL_TRY(fl_call_new_like(c, h, f[0]));
    for (int64_t x = 0; x < h->n; x++) {
        int64_t pair = 0;
        double sum = 0;
        for (int64_t i = 0; r_mf && i < m; i++)
            for (int64_t j = i + 1; j < m; j++)
                sum += r_mf->f[pair++] * f[i]->f[x] * f[j]->f[x];
        for (int64_t i = 0; i < m; i++)
            if (q[i])
                sum += r_fm->f[i] * (f[i]->f[x] * f[i]->f[x] - q[i]->f[x]);
        h->f[x] = sum;
    }
    return FL_OK;
}

/* Offsets [B+1] must start at 0, not fall, and end at n. */
static fl_status check_offsets(const fl_call *c, const fl_array *offsets, int64_t n)
{
    if (offsets->n < 1 || offsets->i[0] != 0 || offsets->i[offsets->n - 1] != n)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "offsets do not run from 0 to the number of values, %lld", (long long)n);
    for (int64_t b = 1; b < offsets->n; b++)
        if (offsets->i[b] < offsets->i[b - 1])
            return fl_call_error(c, FL_E_INTERP_OPERAND, "offset %lld falls", (long long)b);
    return FL_OK;
}

static fl_status is_mean(const fl_call *c, bool *mean)
{
    const char *mode = fl_node_string(c->g, c->node, "mode", "sum");
    *mean = strcmp(mode, "mean") == 0;
    return *mean || strcmp(mode, "sum") == 0
               ? FL_OK
               : fl_call_error(c, FL_E_INTERP_OPERAND, "mode \"%s\" is neither sum nor mean", mode);
}

fl_status fl_kernel_embedding_bag(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "data"));
    FL_TRY(fl_call_ints(c, 1, 1, "values"));
    FL_TRY(fl_call_ints(c, 2, 1, "offsets"));
    const fl_array *data = c->in[0], *values = c->in[1], *offsets = c->in[2];
    bool mean;
    FL_TRY(is_mean(c, &mean));
    FL_TRY(check_offsets(c, offsets, values->n));
    int64_t width = data->dims[1], batch = offsets->n - 1;
    FL_TRY(fl_call_new(c, &c->out[0], data->dtype, 2, (int64_t[]){batch, width}));
    for (int64_t b = 0; b < batch; b++) {
        double *y = c->out[0].f + b * width;
        int64_t n = offsets->i[b + 1] - offsets->i[b];
        for (int64_t k = offsets->i[b]; k < offsets->i[b + 1]; k++) {
            FL_TRY(check_place(c, values->i[k], data->dims[0], k, b));
            for (int64_t j = 0; j < width; j++)
                y[j] += data->f[values->i[k] * width + j];
        }
        for (int64_t j = 0; mean && n > 0 && j < width; j++)
            y[j] /= (double)n;
    }
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------- distinct rows */

/* Distinct values in order of first appearance, by open addressing over places in `rows`. */
typedef struct distinct {
    int64_t *slot; /* place in rows + 1; 0: free */
    uint64_t mask;
    int64_t *rows;
    int64_t n;
} distinct;

static bool distinct_init(distinct *d, fl_arena *arena, int64_t capacity, int64_t *rows)
{
    uint64_t size = 16;
    while (size < 2 * (uint64_t)capacity)
        size *= 2;
    *d = (distinct){fl_arena_calloc(arena, size, sizeof *d->slot), size - 1, rows, 0};
    return d->slot != NULL;
}

/* The place of `row` in rows, where it is put if it is new. */
static int64_t distinct_place(distinct *d, int64_t row)
{
    uint64_t at = ((uint64_t)row * 0x9e3779b97f4a7c15u >> 20) & d->mask;
    for (; d->slot[at]; at = (at + 1) & d->mask)
        if (d->rows[d->slot[at] - 1] == row)
            return d->slot[at] - 1;
    d->rows[d->n] = row;
    d->slot[at] = d->n + 1;
    return d->n++;
}

fl_status fl_kernel_unique_rows(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 0, -1, "the index"));
    const fl_array *index = c->in[0];
    if (index->rank != 1 && index->rank != 2)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "an index of rank %d", index->rank);
    int64_t batch = index->dims[0], columns = index->rank == 2 ? index->dims[1] : 1, n = index->n;
    fl_array rows, *inverse = &c->out[1], *count = &c->out[2], *order = &c->out[3], *segment = &c->out[4];
    FL_TRY(fl_call_new(c, &rows, FL_INT64, 1, &n)); /* room for the most that there can be */
    FL_TRY(fl_call_new_like(c, inverse, index));
    FL_TRY(fl_call_new(c, count, FL_INT32, 1, &columns));
    FL_TRY(fl_call_new(c, order, FL_INT32, 1, &n));
    inverse->dtype = FL_INT32;
    int64_t total = 0;
    for (int64_t s = 0; s < columns; s++) {
        distinct found;
        if (!distinct_init(&found, c->arena, batch, rows.i + total))
            return fl_out_of_memory(c->diag);
        for (int64_t b = 0; b < batch; b++)
            inverse->i[b * columns + s] = total + distinct_place(&found, index->i[b * columns + s]);
        count->i[s] = found.n;
        total += found.n;
    }
    FL_TRY(fl_call_new(c, segment, FL_INT32, 2, (int64_t[]){total, 2}));
    fl_array_view(&rows, 1, &total, &c->out[0]);
    c->out[0].n = total;
    /* Counting sort of the places by distinct row: first the lengths, then where each begins, then the batch rows. */
    for (int64_t k = 0; k < n; k++)
        segment->i[2 * inverse->i[k] + 1]++;
    for (int64_t d = 0, at = 0; d < total; d++) {
        int64_t length = segment->i[2 * d + 1];
        segment->i[2 * d] = segment->i[2 * d + 1] = at;
        at += length;
    }
    for (int64_t k = 0; k < n; k++)
        order->i[segment->i[2 * inverse->i[k] + 1]++] = k / columns;
    return FL_OK;
}

fl_status fl_kernel_merge_rows(fl_call *c)
{
    if (c->n_in % 3 != 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "%u operands, wanted are count, rows, gradient of each", c->n_in);
    int64_t capacity = 0, width = 0;
    for (uint32_t k = 0; k < c->n_in; k += 3) {
        FL_TRY(fl_call_ints(c, k, 1, "count"));
        FL_TRY(fl_call_ints(c, k + 1, 1, "rows"));
        FL_TRY(fl_call_real(c, k + 2, 2, "the gradient"));
        FL_TRY(fl_call_same(c, c->in[k + 2]->dims[0], c->in[k + 1]->n, "rows of the gradient"));
        FL_TRY(fl_call_same(c, c->in[k + 2]->dims[1], c->in[2]->dims[1], "width of the gradient"));
        width = c->in[k + 2]->dims[1];
        capacity += c->in[k + 1]->n;
    }
    fl_array rows, sums;
    int64_t one = 1;
    FL_TRY(fl_call_new(c, &rows, FL_INT64, 1, &capacity));
    FL_TRY(fl_call_new(c, &sums, c->in[2]->dtype, 2, (int64_t[]){capacity, width}));
    distinct found;
    if (!distinct_init(&found, c->arena, capacity, rows.i))
        return fl_out_of_memory(c->diag);
    for (uint32_t k = 0; k < c->n_in; k += 3) {
        for (int64_t d = 0; d < c->in[k + 1]->n; d++) {
            int64_t place = distinct_place(&found, c->in[k + 1]->i[d]);
            for (int64_t j = 0; j < width; j++)
                sums.f[place * width + j] += c->in[k + 2]->f[d * width + j];
        }
    }
    fl_array_view(&rows, 1, &found.n, &c->out[0]);
    fl_array_view(&sums, 2, (int64_t[]){found.n, width}, &c->out[1]);
    c->out[0].n = found.n;
    c->out[1].n = found.n * width;
    FL_TRY(fl_call_new(c, &c->out[2], FL_INT32, 1, &one));
    c->out[2].i[0] = found.n;
    return FL_OK;
}

/* ------------------------------------------------------------------------- gradients of what reads by index */

/* What UniqueRows found, as operands from `first` on: segment, order, count. Checked, so that the loops below need not. */
typedef struct unique {
    const fl_array *segment, *order, *count;
    int64_t distinct, columns, places; /* D, S, largest batch row + 1 */
} unique;

static fl_status unique_init(const fl_call *c, uint32_t first, int64_t batch, unique *u)
{
    FL_TRY(fl_call_ints(c, first, 2, "segment"));
    FL_TRY(fl_call_ints(c, first + 1, 1, "order"));
    FL_TRY(fl_call_ints(c, first + 2, 1, "count"));
    *u = (unique){c->in[first], c->in[first + 1], c->in[first + 2], c->in[first]->dims[0], c->in[first + 2]->n, batch};
    FL_TRY(fl_call_same(c, u->segment->dims[1], 2, "columns of segment"));
    int64_t sum = 0;
    for (int64_t s = 0; s < u->columns; s++)
        sum += u->count->i[s];
    FL_TRY(fl_call_same(c, sum, u->distinct, "sum of count"));
    for (int64_t d = 0; d < u->distinct; d++)
        if (u->segment->i[2 * d] < 0 || u->segment->i[2 * d + 1] > u->order->n)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "segment %lld lies outside order", (long long)d);
    for (int64_t k = 0; k < u->order->n; k++)
        if (u->order->i[k] < 0 || u->order->i[k] >= batch)
            return fl_call_error(c, FL_E_INTERP_OPERAND, "order names row %lld of %lld", (long long)u->order->i[k],
                                 (long long)batch);
    return FL_OK;
}

/* y[d] += sum over the rows b of d of x[b * row + from ...]. */
static void add_rows(const unique *u, int64_t d, const double *x, int64_t row, int64_t width, double *y)
{
    for (int64_t k = u->segment->i[2 * d]; k < u->segment->i[2 * d + 1]; k++)
        for (int64_t j = 0; j < width; j++)
            y[j] += x[u->order->i[k] * row + j];
}

fl_status fl_kernel_gather_grad(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, -1, "de"));
    const fl_array *de = c->in[0];
    if (de->rank != 2 && de->rank != 3)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "de has rank %d", de->rank);
    unique u;
    FL_TRY(unique_init(c, 1, de->dims[0], &u));
    int64_t columns = de->rank == 3 ? de->dims[1] : 1, width = de->dims[de->rank - 1], d = 0;
    FL_TRY(fl_call_same(c, u.columns, columns, "elements of count"));
    FL_TRY(fl_call_new(c, &c->out[0], de->dtype, 2, (int64_t[]){u.distinct, width}));
    for (int64_t s = 0; s < columns; s++)
        for (int64_t end = d + u.count->i[s]; d < end; d++)
            add_rows(&u, d, de->f + s * width, columns * width, width, c->out[0].f + d * width);
    return FL_OK;
}

fl_status fl_kernel_field_pool_grad(fl_call *c)
{
    const int64_t *fields;
    uint32_t m;
    bool squares = fl_node_int(c->g, c->node, "squares", 0) != 0;
    FL_TRY(fl_call_attr_ints(c, "fields", &fields, &m));
    bool scaled = squares && fl_node_int(c->g, c->node, "scaled", 0) != 0;
    FL_TRY(fl_call_same(c, c->n_in, 4 + (scaled ? 3 : squares ? 2 : 1) * (int64_t)m, "number of operands"));
    const fl_array *like = NULL, *data = c->in[0];
    bool column = false; /* scaled gradients are */
    for (uint32_t k = 4; k < (scaled ? 4 + m : c->n_in); k++) {
        if (!c->in[k])
            continue;
        FL_TRY(fl_call_real(c, k, 2, "a gradient of the pool"));
        like = like ? like : c->in[k];
        FL_TRY(fl_call_same(c, c->in[k]->dims[0], like->dims[0], "rows of a gradient"));
        FL_TRY(fl_call_same(c, c->in[k]->dims[1], like->dims[1], "width of a gradient"));
    }
    for (uint32_t k = 4 + m; scaled && k < c->n_in; k++) {
        bool gradient = k < 4 + 2 * m;
        if (!c->in[k])
            return fl_call_error(c, FL_E_INTERP_OPERAND, "operand %u is missing", k);
        FL_TRY(fl_call_real(c, k, gradient ? 2 : 1, gradient ? "a gradient of squares" : "its scale"));
        if (gradient && like)
            FL_TRY(fl_call_same(c, c->in[k]->dims[0], like->dims[0], "rows of a gradient"));
        column = c->in[4 + m]->dims[1] == 1;
        FL_TRY(fl_call_same(c, c->in[k]->dims[gradient], gradient && column ? 1 : data->dims[1], gradient ? "width of a gradient" : "width of a scale"));
        like = like ? like : c->in[k];
    }
    if (!like)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "it has no gradient to pass on");
    unique u;
    FL_TRY(unique_init(c, 1, like->dims[0], &u));
    int64_t width = scaled ? data->dims[1] : like->dims[1], slots = 0, d = 0, s = 0;
    for (uint32_t k = 0; k < m; k++)
        slots += fields[k];
    FL_TRY(fl_call_same(c, u.columns, slots, "elements of count"));
    if (squares) {
        FL_TRY(fl_call_real(c, 0, 2, "data"));
        FL_TRY(fl_call_same(c, data->dims[0], u.distinct, "rows of data"));
        FL_TRY(fl_call_same(c, data->dims[1], width, "width of data"));
    }
    FL_TRY(fl_call_new(c, &c->out[0], like->dtype, 2, (int64_t[]){u.distinct, width}));
    double *dq = fl_arena_new(c->arena, double, (size_t)width);
    if (!dq)
        return fl_out_of_memory(c->diag);
    for (uint32_t k = 0; k < m; k++) {
        const fl_array *df = c->in[4 + k], *dqs = squares ? c->in[4 + m + k] : NULL;
        for (int64_t end_slot = s + fields[k]; s < end_slot; s++) {
            for (int64_t end = d + u.count->i[s]; d < end; d++) {
                double *y = c->out[0].f + d * width;
                if (df)
                    add_rows(&u, d, df->f, width, width, y);
                if (!dqs)
                    continue;
                memset(dq, 0, (size_t)width * sizeof *dq);
                add_rows(&u, d, dqs->f, column ? 1 : width, column ? 1 : width, dq);
                for (int64_t j = scaled ? width : 0; j-- > 0;)
                    dq[j] = dq[column ? 0 : j] * c->in[4 + 2 * m + k]->f[j];
                for (int64_t j = 0; j < width; j++)
                    y[j] += 2 * data->f[d * width + j] * dq[j];
            }
        }
    }
    return FL_OK;
}

fl_status fl_kernel_embedding_bag_grad(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "dy"));
    FL_TRY(fl_call_ints(c, 1, 1, "offsets"));
    FL_TRY(fl_call_ints(c, 3, 1, "order"));
    const fl_array *dy = c->in[0], *offsets = c->in[1];
    int64_t n = c->in[3]->n, width = dy->dims[1];
    bool mean;
    unique u;
    FL_TRY(is_mean(c, &mean));
    FL_TRY(fl_call_same(c, offsets->n, dy->dims[0] + 1, "elements of offsets"));
    FL_TRY(check_offsets(c, offsets, n));
    FL_TRY(unique_init(c, 2, n, &u));
    int64_t *bag = fl_arena_new(c->arena, int64_t, (size_t)n);
    if (!bag)
        return fl_out_of_memory(c->diag);
    for (int64_t b = 0; b < dy->dims[0]; b++)
        for (int64_t k = offsets->i[b]; k < offsets->i[b + 1]; k++)
            bag[k] = b;
    FL_TRY(fl_call_new(c, &c->out[0], dy->dtype, 2, (int64_t[]){u.distinct, width}));
    for (int64_t d = 0; d < u.distinct; d++) {
        for (int64_t k = u.segment->i[2 * d]; k < u.segment->i[2 * d + 1]; k++) {
            int64_t b = bag[u.order->i[k]], length = offsets->i[b + 1] - offsets->i[b];
            for (int64_t j = 0; j < width; j++)
                c->out[0].f[d * width + j] += dy->f[b * width + j] / (mean ? (double)length : 1);
        }
    }
    return FL_OK;
}

/* Calls row(...) for every distinct row with its column: the three layers below share the walk. */
static fl_status slot_operands(const fl_call *c, int64_t *distinct_rows, int64_t *columns)
{
    FL_TRY(fl_call_real(c, 0, 2, "the rows"));
    FL_TRY(fl_call_ints(c, 1, 1, "count"));
    FL_TRY(fl_call_real(c, 2, 2, "the matrix"));
    int64_t sum = 0;
    for (int64_t s = 0; s < c->in[1]->n; s++)
        sum += c->in[1]->i[s];
    *distinct_rows = c->in[0]->dims[0];
    *columns = c->in[1]->n;
    return fl_call_same(c, sum, *distinct_rows, "sum of count");
}

fl_status fl_kernel_slot_linear(fl_call *c)
{
    int64_t rows, columns, d = 0;
    FL_TRY(slot_operands(c, &rows, &columns));
    bool transposed = fl_node_int(c->g, c->node, "transposed", 0) != 0;
    const fl_array *x = c->in[0], *count = c->in[1], *w = c->in[2];
    int64_t h = w->dims[1], k = columns > 0 ? w->dims[0] / columns : 0;
    FL_TRY(fl_call_same(c, k * columns, w->dims[0], "rows of w, a multiple of the columns"));
    FL_TRY(fl_call_same(c, x->dims[1], transposed ? h : k, "width of the rows"));
    int64_t to = transposed ? k : h;
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, 2, (int64_t[]){rows, to}));
    for (int64_t s = 0; s < columns; s++)
        for (int64_t end = d + count->i[s]; d < end; d++)
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < h; j++) {
                    double weight = w->f[(s * k + i) * h + j];
                    if (transposed)
                        c->out[0].f[d * k + i] += x->f[d * h + j] * weight;
                    else
                        c->out[0].f[d * h + j] += x->f[d * k + i] * weight;
                }
    return FL_OK;
}

fl_status fl_kernel_slot_linear_weight_grad(fl_call *c)
{
    int64_t rows, columns, d = 0;
    FL_TRY(slot_operands(c, &rows, &columns));
    const fl_array *e = c->in[0], *count = c->in[1], *g = c->in[2];
    FL_TRY(fl_call_same(c, g->dims[0], rows, "rows of g"));
    int64_t k = e->dims[1], h = g->dims[1];
    FL_TRY(fl_call_new(c, &c->out[0], e->dtype, 2, (int64_t[]){columns * k, h}));
    for (int64_t s = 0; s < columns; s++)
        for (int64_t end = d + count->i[s]; d < end; d++)
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < h; j++)
                    c->out[0].f[(s * k + i) * h + j] += e->f[d * k + i] * g->f[d * h + j];
    return FL_OK;
}
