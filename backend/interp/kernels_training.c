/*
 * kernels_training.c -- loss, masks, first weights.
 */
#include "backend/interp/kernels.h"

#include "ir/base/rng.h"
#include "ir/base/strpool.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------------- loss */

typedef enum loss_kind { LOSS_BCE, LOSS_PADDLE_LOG_LOSS, LOSS_BCE_CLAMPED } loss_kind;

/* Paddle's clamp of a logarithm. */
static const double least_log = -100;

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static double loss_value(loss_kind kind, double epsilon, double z, double y)
{
    switch (kind) {
    case LOSS_BCE:
        return fmax(z, 0) - z * y + log1p(exp(-fabs(z)));
    case LOSS_PADDLE_LOG_LOSS: {
        double p = sigmoid(z);
        return -y * log(p + epsilon) - (1 - y) * log(1 - p + epsilon);
    }
    case LOSS_BCE_CLAMPED:
        return -y * fmax(-softplus(-z), least_log) - (1 - y) * fmax(-softplus(z), least_log);
    }
    return NAN;
}

static double loss_gradient(loss_kind kind, double epsilon, double z, double y)
{
    double p = sigmoid(z);
    switch (kind) {
    case LOSS_BCE:
        return p - y;
    case LOSS_PADDLE_LOG_LOSS:
        return p * (1 - p) * (-y / (p + epsilon) + (1 - y) / (1 - p + epsilon));
    case LOSS_BCE_CLAMPED: {
        /* d(-ln p)/dz = p - 1 and d(-ln(1-p))/dz = p, each 0 where its logarithm is held. */
        bool held_p = -softplus(-z) < least_log, held_q = -softplus(z) < least_log;
        return (held_p ? 0 : y * (p - 1)) + (held_q ? 0 : (1 - y) * p);
    }
    }
    return NAN;
}

static fl_status each_row(fl_call *c, double (*fn)(loss_kind, double, double, double))
{
    FL_TRY(fl_call_real(c, 0, 2, "the logit"));
    FL_TRY(fl_call_real(c, 1, 2, "the label"));
    const fl_array *z = c->in[0], *y = c->in[1];
    const char *name = fl_node_string(c->g, c->node, "kind", "bce");
    double epsilon = fl_node_float(c->g, c->node, "epsilon", 1e-4);
    loss_kind kind = LOSS_BCE;
    if (strcmp(name, "paddle_log_loss") == 0)
        kind = LOSS_PADDLE_LOG_LOSS;
    else if (strcmp(name, "bce_clamped") == 0)
        kind = LOSS_BCE_CLAMPED;
    else if (strcmp(name, "bce") != 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "kind \"%s\" is no loss", name);
    FL_TRY(fl_call_same(c, y->dims[0], z->dims[0], "rows of the label"));
    FL_TRY(fl_call_same(c, y->dims[1], z->dims[1], "columns of the label"));
    FL_TRY(fl_call_new_like(c, &c->out[0], z));
    for (int64_t k = 0; k < z->n; k++)
        c->out[0].f[k] = fn(kind, epsilon, z->f[k], y->f[k]);
    return FL_OK;
}

fl_status fl_kernel_log_loss(fl_call *c)
{
    return each_row(c, loss_value);
}

fl_status fl_kernel_log_loss_grad(fl_call *c)
{
    return each_row(c, loss_gradient);
}

/* ---------------------------------------------------------------------------------------------------- masks */

fl_status fl_kernel_random_mask(fl_call *c)
{
    FL_TRY(fl_call_ints(c, 1, 0, "step"));
    FL_TRY(fl_call_ints(c, 2, 0, "seed"));
    const fl_array *like = c->in[0];
    double rate = fl_node_float(c->g, c->node, "rate", 0);
    uint64_t key = (uint64_t)fl_node_int(c->g, c->node, "key", 0);
    if (like->rank < 1 || !(rate >= 0 && rate < 1))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "no rows to be like, or a rate outside [0, 1)");
    int64_t width = fl_array_extent(like, 1, like->rank);
    if (width > UINT32_MAX - 1)
        return fl_call_error(c, FL_E_INTERP_SHAPE, "rows of %lld elements", (long long)width);
    uint64_t mask_key = fl_mask_key((uint64_t)c->in[2]->i[0], (uint64_t)c->in[1]->i[0], key);
    uint32_t threshold = fl_mask_threshold(rate);
    FL_TRY(fl_call_new(c, &c->out[0], FL_FLOAT, like->rank, like->dims));
    for (int64_t b = 0; b < like->dims[0]; b++) {
        uint64_t row_key = fl_mask_row_key(mask_key, (uint64_t)b);
        for (int64_t u = 0; u < width; u++)
            c->out[0].f[b * width + u] = fl_random_mask(row_key, (uint32_t)u, (uint32_t)width, threshold);
    }
    return FL_OK;
}

/* Before set-mode has decided, a layer with a mode means inference. */
fl_status fl_kernel_masked_dropout(fl_call *c)
{
    FL_TRY(fl_call_real(c, 0, -1, "x"));
    const char *style = fl_node_string(c->g, c->node, "style", "upscale_in_train");
    double rate = fl_node_float(c->g, c->node, "rate", 0);
    if (strcmp(style, "upscale_in_train") == 0) {
        c->out[0] = *c->in[0];
        return FL_OK;
    }
    if (strcmp(style, "downscale_in_infer") != 0)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "style \"%s\"", style);
    FL_TRY(fl_call_new_like(c, &c->out[0], c->in[0]));
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].f[k] = c->in[0]->f[k] * (1 - rate);
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------- first weights */

/* The declared type of the output; symbols (rows of an `auto` vocabulary) must be bound. */
static fl_status declared_output(fl_call *c)
{
    fl_id v = c->g->nodes[c->node].out[0];
    const fl_type *t = v == FL_NONE ? NULL : &c->g->values[v].type;
    int64_t dims[FL_MAX_RANK];
    if (!t || t->rank < 0 || !fl_dtype_is_real(t->dtype))
        return fl_call_error(c, FL_E_INTERP_OPERAND, "its output has no declared type of real numbers");
    for (int d = 0; d < t->rank; d++) {
        dims[d] = t->dims[d];
        if (FL_DIM_IS_SYM(dims[d])) {
            uint32_t symbol = FL_SYM_OF_DIM(dims[d]);
            dims[d] = c->dim[symbol] >= 0 ? c->dim[symbol] : c->given[symbol];
        }
        if (dims[d] < 0)
            return fl_call_error(c, FL_E_INTERP_INPUT, "\"%s\" has no extent", c->g->symbols[FL_SYM_OF_DIM(t->dims[d])]);
    }
    return fl_call_new(c, &c->out[0], t->dtype, t->rank, dims);
}

/* The stream is the hash of the variable's name, which the output has. */
static uint64_t stream_of(const fl_call *c)
{
    const char *name = c->g->values[c->g->nodes[c->node].out[0]].name;
    return fl_hash_bytes(name, strlen(name), 0);
}

fl_status fl_kernel_init_normal(fl_call *c)
{
    FL_TRY(declared_output(c));
    double mean = fl_node_float(c->g, c->node, "mean", 0), scale = fl_node_float(c->g, c->node, "scale", 1);
    uint64_t seed = (uint64_t)fl_node_int(c->g, c->node, "seed", 0), stream = stream_of(c);
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].f[k] = mean + scale * fl_random_normal(seed, stream, (uint64_t)k);
    return FL_OK;
}

fl_status fl_kernel_init_uniform(fl_call *c)
{
    FL_TRY(declared_output(c));
    double low = fl_node_float(c->g, c->node, "low", 0), high = fl_node_float(c->g, c->node, "high", 1);
    uint64_t seed = (uint64_t)fl_node_int(c->g, c->node, "seed", 0), stream = stream_of(c);
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].f[k] = low + (high - low) * fl_random_uniform(seed, stream, (uint64_t)k);
    return FL_OK;
}

fl_status fl_kernel_init_constant(fl_call *c)
{
    FL_TRY(declared_output(c));
    double value = fl_node_float(c->g, c->node, "value", 0);
    for (int64_t k = 0; k < c->out[0].n; k++)
        c->out[0].f[k] = value;
    return FL_OK;
}

/* Of a graph without the function: others are inlined before they run. */
fl_status fl_kernel_call(fl_call *c)
{
    return fl_call_error(c, FL_E_INTERP_OPERAND, "the graph has no function for it");
}

fl_status fl_kernel_gradient(fl_call *c)
{
    return fl_call_error(c, FL_E_INTERP_OPERAND, "`lower-gradients` has not written it as other nodes");
}
