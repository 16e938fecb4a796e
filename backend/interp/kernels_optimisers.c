/*
 * kernels_optimisers.c -- parameter updates (ir/README.md, "Optimisers").
 *
 * Operands: w, states, powers, g, factor, rows or none. One walk serves all rules: it copies w and the states, and calls
 * the rule for each row that is touched.
 */
#include "backend/interp/kernels.h"

#include <math.h>
#include <string.h>

/* One row under way. */
typedef struct row_step {
    double *w, *state[2]; /* of the row; row-wise state: its one element */
    double *g;            /* with l2 * w added; scratch of width elements */
    int64_t width;
    double lr;          /* lr * lr_scale * factor */
    double power[2];    /* Adam's, after this step */
    const fl_call *c;   /* for attributes */
} row_step;

typedef void rule_fn(row_step *r);

static double attribute(const row_step *r, const char *name, double otherwise)
{
    return fl_node_float(r->c->g, r->c->node, name, otherwise);
}

static void step_sgd(row_step *r)
{
    for (int64_t k = 0; k < r->width; k++)
        r->w[k] -= r->lr * r->g[k];
}

static void step_momentum(row_step *r)
{
    double momentum = attribute(r, "momentum", 0);
    for (int64_t k = 0; k < r->width; k++) {
        double v = r->state[0][k] = momentum * r->state[0][k] + r->g[k];
        r->w[k] -= r->lr * v;
    }
}

static void step_adagrad(row_step *r)
{
    double epsilon = attribute(r, "epsilon", 0);
    for (int64_t k = 0; k < r->width; k++) {
        double a = r->state[0][k] += r->g[k] * r->g[k];
        r->w[k] -= r->lr * r->g[k] / (sqrt(a) + epsilon);
    }
}

static void step_rowwise_adagrad(row_step *r)
{
    double epsilon = attribute(r, "epsilon", 0), sum = 0;
    for (int64_t k = 0; k < r->width; k++)
        sum += r->g[k] * r->g[k];
    double a = r->state[0][0] += sum / (double)r->width;
    for (int64_t k = 0; k < r->width; k++)
        r->w[k] -= r->lr * r->g[k] / (sqrt(a) + epsilon);
}

static void step_adam(row_step *r)
{
    double beta1 = attribute(r, "beta1", 0.9), beta2 = attribute(r, "beta2", 0.999), epsilon = attribute(r, "epsilon", 1e-8);
    bool corrected = fl_node_int(r->c->g, r->c->node, "bias_corrected", 0) != 0;
    double p1 = 1 - r->power[0], p2 = 1 - r->power[1];
    for (int64_t k = 0; k < r->width; k++) {
        double m = r->state[0][k] = beta1 * r->state[0][k] + (1 - beta1) * r->g[k];
        double v = r->state[1][k] = beta2 * r->state[1][k] + (1 - beta2) * r->g[k] * r->g[k];
        if (corrected)
            r->w[k] -= r->lr * (m / p1) / (sqrt(v / p2) + epsilon);
        else
            r->w[k] -= r->lr * sqrt(p2) / p1 * m / (sqrt(v) + epsilon);
    }
}

static void step_ftrl(row_step *r)
{
    double beta = attribute(r, "beta", 1), l1 = attribute(r, "l1", 0), l2 = attribute(r, "ftrl_l2", 0);
    for (int64_t k = 0; k < r->width; k++) {
        double n = r->state[1][k], g = r->g[k], s = (sqrt(n + g * g) - sqrt(n)) / r->lr;
        double z = r->state[0][k] += g - s * r->w[k];
        n = r->state[1][k] = n + g * g;
        r->w[k] = fabs(z) <= l1 ? 0 : -(z - copysign(l1, z)) / ((beta + sqrt(n)) / r->lr + l2);
    }
}

/* Copies operand k (of w's shape, or one element a row) into output k. */
static fl_status copy_operand(fl_call *c, uint32_t k, int64_t elements)
{
    FL_TRY(fl_call_real(c, k, -1, k == 0 ? "w" : "the state"));
    FL_TRY(fl_call_same(c, c->in[k]->n, elements, "elements of the state"));
    FL_TRY(fl_call_new_like(c, &c->out[k], c->in[k]));
    if (elements)
        memcpy(c->out[k].f, c->in[k]->f, (size_t)elements * sizeof(double));
    return FL_OK;
}

static fl_status optimise(fl_call *c, rule_fn *rule, uint32_t n_states, bool row_state, uint32_t n_powers)
{
    uint32_t at_g = 1 + n_states + n_powers;
    FL_TRY(fl_call_real(c, 0, -1, "w"));
    FL_TRY(fl_call_real(c, at_g, -1, "the gradient"));
    FL_TRY(fl_call_real(c, at_g + 1, 0, "the factor"));
    const fl_array *w = c->in[0], *g = c->in[at_g], *rows = at_g + 2 < c->n_in ? c->in[at_g + 2] : NULL;
    int64_t n_rows = w->rank > 0 ? w->dims[0] : 1, width = w->rank > 0 ? fl_array_extent(w, 1, w->rank) : 1;
    int64_t n = rows ? rows->n : n_rows;
    if (rows)
        FL_TRY(fl_call_ints(c, at_g + 2, 1, "rows"));
    FL_TRY(fl_call_same(c, g->n, n * width, "elements of the gradient"));
    FL_TRY(copy_operand(c, 0, w->n));
    for (uint32_t k = 1; k <= n_states; k++)
        FL_TRY(copy_operand(c, k, row_state ? n_rows : w->n));
    row_step r = {.width = width, .g = fl_arena_new(c->arena, double, (size_t)width), .c = c};
    if (!r.g)
        return fl_out_of_memory(c->diag);
    r.lr = attribute(&r, "lr", 0) * attribute(&r, "lr_scale", 1) * c->in[at_g + 1]->f[0];
    for (uint32_t k = 0; k < n_powers; k++) {
        FL_TRY(fl_call_real(c, 1 + n_states + k, 0, "a power"));
        r.power[k] = c->in[1 + n_states + k]->f[0];
    }
    double l2 = attribute(&r, "l2", 0);
    for (int64_t d = 0; d < n; d++) {
        int64_t row = rows ? rows->i[d] : d;
        if (row < 0 || row >= n_rows)
            return fl_call_error(c, FL_E_INTERP_INDEX, "row %lld (element %lld of rows) lies outside a table of %lld rows",
                                 (long long)row, (long long)d, (long long)n_rows);
        r.w = c->out[0].f + row * width;
        for (uint32_t k = 0; k < n_states; k++)
            r.state[k] = c->out[1 + k].f + row * (row_state ? 1 : width);
        for (int64_t k = 0; k < width; k++)
            r.g[k] = g->f[d * width + k] + l2 * r.w[k];
        rule(&r);
    }
    return FL_OK;
}

fl_status fl_kernel_sgd(fl_call *c)
{
    return optimise(c, step_sgd, 0, false, 0);
}

fl_status fl_kernel_momentum(fl_call *c)
{
    return optimise(c, step_momentum, 1, false, 0);
}

fl_status fl_kernel_adagrad(fl_call *c)
{
    return optimise(c, step_adagrad, 1, false, 0);
}

fl_status fl_kernel_rowwise_adagrad(fl_call *c)
{
    return optimise(c, step_rowwise_adagrad, 1, true, 0);
}

fl_status fl_kernel_adam(fl_call *c)
{
    return optimise(c, step_adam, 2, false, 2);
}

fl_status fl_kernel_ftrl(fl_call *c)
{
    return optimise(c, step_ftrl, 2, false, 0);
}
