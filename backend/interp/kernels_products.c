/*
 * kernels_products.c -- matrix products, batch normalisation.
 */
#include "backend/interp/kernels.h"

#include <math.h>
#include <string.h>

/* y[m,n] += sum over k of a[i * a_row + k * a_col] b[k * b_row + j * b_col]. */
static void multiply(const double *a, int64_t a_row, int64_t a_col, const double *b, int64_t b_row, int64_t b_col, double *y,
                     int64_t m, int64_t n, int64_t n_k)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < n_k; k++) {
            double factor = a[i * a_row + k * a_col];
            for (int64_t j = 0; j < n; j++)
                y[i * n + j] += factor * b[k * b_row + j * b_col];
        }
}

/* numpy's matmul: the last two axes are matrices, leading axes broadcast; a vector is a row on the left, a column on the right. */
fl_status fl_kernel_matmul(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, -1, "the left operand"));
    FL_TRY(fl_call_real(c, 1, -1, "the right operand"));
    const fl_array *a = c->in[0], *b = c->in[1];
    char left[120], right[120];
    if (a->rank == 0 || b->rank == 0)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "a scalar is no matrix");
    int64_t m = a->rank > 1 ? a->dims[a->rank - 2] : 1, inner = a->dims[a->rank - 1];
    int64_t n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
    if (b->dims[b->rank > 1 ? b->rank - 2 : 0] != inner)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "%s and %s do not fit", fl_array_print(a, left, sizeof left),
                             fl_array_print(b, right, sizeof right));
    int a_lead = a->rank > 2 ? a->rank - 2 : 0, b_lead = b->rank > 2 ? b->rank - 2 : 0;
    int lead = a_lead > b_lead ? a_lead : b_lead;
    int64_t full_a[FL_MAX_RANK], full_b[FL_MAX_RANK], dims[FL_MAX_RANK];
    for (int d = 0; d < lead; d++) {
        int64_t da = d >= lead - a_lead ? a->dims[d - (lead - a_lead)] : 1;
        int64_t db = d >= lead - b_lead ? b->dims[d - (lead - b_lead)] : 1;
        dims[d] = full_a[d] = full_b[d] = da == 1 ? db : da;
    }
    full_a[lead] = m;
    full_a[lead + 1] = full_b[lead] = inner;
    full_b[lead + 1] = n;
    fl_array column = *b, row = *a, x, w;
    if (a->rank == 1)
        fl_array_view(a, 2, (int64_t[]){1, inner}, &row);
    if (b->rank == 1)
        fl_array_view(b, 2, (int64_t[]){inner, 1}, &column);
    FL_TRY(fl_call_expand(c, &row, lead + 2, full_a, &x));
    FL_TRY(fl_call_expand(c, &column, lead + 2, full_b, &w));
    int rank = lead;
    if (a->rank > 1)
        dims[rank++] = m;
    if (b->rank > 1)
        dims[rank++] = n;
    FL_TRY(fl_call_new(c, &c->out[0], a->dtype, rank, dims));
    int64_t batches = fl_array_extent(&x, 0, lead);
    for (int64_t k = 0; k < batches; k++)
        multiply(x.f + k * m * inner, inner, 1, w.f + k * inner * n, n, 1, c->out[0].f + k * m * n, m, n, inner);
    return FL_OK;
}

fl_status fl_kernel_gemm(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "A"));
    FL_TRY(fl_call_real(c, 1, 2, "B"));
    const fl_array *a = c->in[0], *b = c->in[1];
    bool ta = fl_node_int(c->g, c->node, "transA", 0) != 0, tb = fl_node_int(c->g, c->node, "transB", 0) != 0;
    double alpha = fl_node_float(c->g, c->node, "alpha", 1), beta = fl_node_float(c->g, c->node, "beta", 1);
    int64_t dims[2] = {a->dims[ta ? 1 : 0], b->dims[tb ? 0 : 1]}, inner = a->dims[ta ? 0 : 1];
    FL_TRY(fl_call_same(c, b->dims[tb ? 1 : 0], inner, "inner extent of B"));
    fl_array *y = &c->out[0];
    FL_TRY(fl_call_new(c, y, a->dtype, 2, dims));
    multiply(a->f, ta ? 1 : a->dims[1], ta ? a->dims[1] : 1, b->f, tb ? 1 : b->dims[1], tb ? b->dims[1] : 1, y->f, dims[0],
             dims[1], inner);
    fl_array bias = {0};
    if (c->n_in > 2 && c->in[2]) {
        FL_TRY(fl_call_real(c, 2, -1, "C"));
        FL_TRY(fl_call_expand(c, c->in[2], 2, dims, &bias));
    }
    for (int64_t k = 0; k < y->n; k++)
        y->f[k] = alpha * y->f[k] + (bias.f ? beta * bias.f[k] : 0);
    return FL_OK;
}

/* Act(x w + bias) of rows [B,n]. */
fl_status fl_kernel_linear(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "x"));
    FL_TRY(fl_call_real(c, 1, 2, "w"));
    const fl_array *x = c->in[0], *w = c->in[1];
    const char *activation = fl_node_string(c->g, c->node, "activation", "none");
    bool relu = strcmp(activation, "relu") == 0;
    FL_TRY(fl_call_same(c, w->dims[0], x->dims[1], "rows of w"));
    if (!relu && strcmp(activation, "none") != 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "activation \"%s\" is neither none nor relu", activation);
    fl_array *y = &c->out[0];
    int64_t n = w->dims[1];
    FL_TRY(fl_call_new(c, y, x->dtype, 2, (int64_t[]){x->dims[0], n}));
    multiply(x->f, x->dims[1], 1, w->f, n, 1, y->f, x->dims[0], n, x->dims[1]);
    const fl_array *bias = c->n_in > 2 ? c->in[2] : NULL;
    if (bias) {
        FL_TRY(fl_call_real(c, 2, 1, "bias"));
        FL_TRY(fl_call_same(c, bias->n, n, "elements of bias"));
    }
    for (int64_t k = 0; k < y->n; k++) {
        double v = y->f[k] + (bias ? bias->f[k % n] : 0);
        y->f[k] = relu && v <= 0 ? 0 : v;
    }
    return FL_OK;
}

/* x [N,C,...]; scale, bias, mean, var [C]. */
static fl_status normalise(fl_call *c, double epsilon)
{
    static const char *const what[] = {"x", "the scale", "the bias", "the mean", "the variance"};
    FL_TRY(fl_call_real(c, 0, -1, what[0]));
    const fl_array *x = c->in[0];
    if (x->rank < 2)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "x has rank %d, wanted are rows and channels", x->rank);
    for (uint32_t k = 1; k < 5; k++) {
        FL_TRY(fl_call_real(c, k, 1, what[k]));
        FL_TRY(fl_call_same(c, c->in[k]->n, x->dims[1], what[k]));
    }
    int64_t inner = fl_array_extent(x, 2, x->rank), channels = x->dims[1];
    FL_TRY(fl_call_new_like(c, &c->out[0], x));
    for (int64_t k = 0; k < x->n; k++) {
        int64_t h = k / inner % channels;
        c->out[0].f[k] = c->in[1]->f[h] * (x->f[k] - c->in[3]->f[h]) / sqrt(c->in[4]->f[h] + epsilon) + c->in[2]->f[h];
    }
    return FL_OK;
}

fl_status fl_kernel_batch_normalization(fl_call *c)
{
    if (fl_node_int(c->g, c->node, "training_mode", 0))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "training_mode is not inference");
    return normalise(c, fl_node_float(c->g, c->node, "epsilon", 1e-5));
}

/* Before set-mode has decided, a layer with a mode means inference. */
fl_status fl_kernel_batch_norm(fl_call *c)
{
    return normalise(c, fl_node_float(c->g, c->node, "epsilon", 1e-5));
}

fl_status fl_kernel_table_linear(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, 2, "the table"));
    FL_TRY(fl_call_ints(c, 1, 1, "the first rows"));
    FL_TRY(fl_call_real(c, 2, 2, "w"));
    const fl_array *x = c->in[0], *first = c->in[1], *w = c->in[2];
    int64_t k = x->dims[1], h = w->dims[1];
    FL_TRY(fl_call_same(c, w->dims[0], k * first->n, "rows of w"));
    FL_TRY(fl_call_new(c, &c->out[0], x->dtype, 2, (int64_t[]){x->dims[0], h}));
    for (int64_t r = 0; r < x->dims[0]; r++) {
        int64_t slot = -1;
        for (int64_t s = 0; s < first->n; s++)
            if (first->i[s] <= r && (slot < 0 || first->i[s] >= first->i[slot]))
                slot = s;
        for (int64_t i = 0; slot >= 0 && i < k; i++)
            for (int64_t j = 0; j < h; j++)
                c->out[0].f[r * h + j] += x->f[r * k + i] * w->f[(slot * k + i) * h + j];
    }
    return FL_OK;
}
