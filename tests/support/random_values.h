/*
 * random_values.h -- a value for whatever a graph reads, drawn from its name alone, so that two graphs that read the same names compute on
 * the same numbers.
 *
 * Reals lie in [-1, 1), those named "var..." or "....running_var" (variances) and sums of squares of optimisers in [0.1, 1.1), Adam's powers in
 * [0.1, 0.6). Integers are rows of the smallest table that
 * the graph looks up in; where columns have rows of their own (`ai.flen.disjoint`), each has an equal part of them, and "bound.INPUT.first_row" says where it begins. Names ending in "offsets" get rising offsets into the values of bags. The symbol `batch` is given, that of
 * offsets is batch + 1, all others have TEST_EXTENT elements.
 */
#ifndef FL_TESTS_RANDOM_VALUES_H
#define FL_TESTS_RANDOM_VALUES_H

#include "backend/interp/interp.h"
#include "ir/base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { TEST_EXTENT = 7 };

static inline bool random_name_ends(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static inline int64_t random_extent(const fl_graph *g, fl_dim d, int64_t batch, bool offsets)
{
    if (!FL_DIM_IS_SYM(d))
        return d;
    if (strcmp(g->symbols[FL_SYM_OF_DIM(d)], "batch") == 0)
        return batch;
    return offsets ? batch + 1 : TEST_EXTENT;
}

/* Rows that every look-up of the graph has. */
static inline int64_t random_rows(const fl_graph *g)
{
    int64_t rows = TEST_EXTENT;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (!fl_op_has(n->op, FL_GATHERING) || n->n_in == 0)
            continue;
        for (uint32_t k = 0; k < fl_look_ups(n); k++) {
            const fl_type *t = fl_value_type(g, n->in[2 * k]);
            if (!fl_dtype_is_real(t->dtype)) /* columns of an index */
                continue;
            int64_t axis = fl_node_int(g, i, "axis", 0);
            axis = axis < 0 ? axis + t->rank : axis;
            int64_t d = axis >= 0 && axis < t->rank ? t->dims[axis] : -1;
            rows = d > 0 && d < rows ? d : rows;
        }
    }
    return rows;
}

static inline double random_real(const char *name, uint64_t seed, int64_t k)
{
    double u = fl_random_uniform(seed, fl_hash_bytes(name, strlen(name), 0), (uint64_t)k);
    static const char *const positive[] = {"var", "adagrad.a.", "adam.v.", "ftrl.n."};
    bool is_positive = random_name_ends(name, "running_var");
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        is_positive = is_positive || strncmp(name, positive[i], strlen(positive[i])) == 0;
    if (strncmp(name, "adam.beta", 9) == 0)
        return u / 2 + 0.1;
    return is_positive ? u + 0.1 : 2 * u - 1;
}

/* The column, among all that have rows of their own, that the input called name[0, n) starts with; -1: it has none. *columns: how many there are. */
static inline int64_t random_own_column(const fl_graph *g, const char *name, size_t n, int64_t *columns)
{
    const char *p = fl_graph_get_meta(g, "ai.flen.disjoint");
    int64_t found = -1;
    *columns = 0;
    while (p && *p) {
        size_t length = strcspn(p, ",");
        for (uint32_t i = 0; i < g->n_inputs; i++) {
            const fl_value *v = &g->values[g->inputs[i]];
            if (strlen(v->name) != length || memcmp(v->name, p, length) != 0)
                continue;
            found = length == n && memcmp(name, p, n) == 0 ? *columns : found;
            *columns += v->type.rank == 2 ? v->type.dims[1] : 1;
        }
        p += length + (p[length] == ',');
    }
    return found;
}

static inline int64_t random_integer(const fl_graph *g, const fl_value *value, int64_t rows, double x, int64_t k)
{
    static const char bound[] = "bound.", first_row[] = ".first_row";
    size_t n = strlen(value->name), prefix = sizeof bound - 1;
    bool is_bound = strncmp(value->name, bound, prefix) == 0 && random_name_ends(value->name, first_row);
    int64_t columns, drawn = (int64_t)((x + 1) / 2 * (double)(value->type.dtype == FL_BOOL ? 2 : rows));
    int64_t column = is_bound ? random_own_column(g, value->name + prefix, n - prefix - (sizeof first_row - 1), &columns)
                              : random_own_column(g, value->name, n, &columns);
    if (column < 0 || columns > rows)
        return drawn;
    int64_t part = rows / columns;
    column += is_bound ? k : k % (value->type.rank == 2 ? value->type.dims[1] : 1);
    return column * part + (is_bound ? 0 : drawn % part);
}

static inline fl_status random_value(fl_interp *in, const fl_graph *g, fl_id v, int64_t rows, uint64_t seed, int64_t batch, fl_diag *dg)
{
    const fl_value *value = &g->values[v];
    bool offsets = random_name_ends(value->name, "offsets");
    int64_t dims[FL_MAX_RANK], n = 1;
    for (int d = 0; d < value->type.rank; d++)
        n *= dims[d] = random_extent(g, value->type.dims[d], batch, offsets);
    double *f = calloc((size_t)n + 1, sizeof *f);
    int64_t *i = calloc((size_t)n + 1, sizeof *i);
    fl_status s = f && i ? FL_OK : fl_out_of_memory(dg);
    for (int64_t k = 0; s == FL_OK && k < n; k++) {
        double x = random_real(value->name, seed, k);
        f[k] = x;
        i[k] = offsets ? k * TEST_EXTENT / (n > 1 ? n - 1 : 1) : random_integer(g, value, rows, x, k);
    }
    if (s == FL_OK)
        s = fl_dtype_is_real(value->type.dtype) ? fl_interp_set_doubles(in, v, value->type.rank, dims, f, dg)
                                                : fl_interp_set_ints(in, v, value->type.rank, dims, i, dg);
    free(f);
    free(i);
    return s;
}

/* An interpreter of g, run once on random values for its inputs and those variables that have no data. */
static inline fl_status random_run(const fl_graph *g, uint64_t seed, int64_t batch, fl_interp **out, fl_diag *dg)
{
    fl_interp *in = NULL;
    int64_t rows = random_rows(g);
    FL_TRY(fl_interp_new(g, &in, dg));
    fl_status s = FL_OK;
    for (fl_id v = 0; v < g->n_values && s == FL_OK; v++) {
        fl_value_kind kind = g->values[v].kind;
        if (g->values[v].name && (kind == FL_VALUE_INPUT || (kind == FL_VALUE_VARIABLE && !g->values[v].data)))
            s = random_value(in, g, v, rows, seed, batch, dg);
    }
    if (s == FL_OK)
        s = fl_interp_run(in, dg);
    if (s == FL_OK)
        *out = in;
    else
        fl_interp_free(in);
    return s;
}

#endif
