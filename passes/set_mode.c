/*
 * set_mode.c -- `set-mode(train)`, `set-mode(predict)`, `set-mode(predict-masked)`: one meaning for layers whose meaning depends on the mode.
 *
 * train: dropout becomes a product with its mask, drawn or given; batch norm becomes standard nodes over the batch, so that it is
 * differentiated like any other arithmetic, and updates of its running statistics. Inputs `step` and `seed` appear if a mask is drawn.
 * predict: dropout becomes what it is in inference, batch norm ONNX's BatchNormalization; of the outputs only the logit and the probability
 * stay, and with the loss go its label, the masks and all variables that served training alone.
 * predict-masked: predict, but dropout stays what it is in training (the quirk dropout_in_infer).
 * Needs SHAPES; keeps SHAPES.
 */
#include "passes/rewrite.h"

#include <string.h>

typedef struct mode {
    fl_graph *g;
    fl_pass_ctx *cx;
    fl_id step, seed; /* inputs, once they are needed */
} mode;

static fl_id scalar_input(fl_graph *g, const char *name, fl_dtype dtype)
{
    fl_id v = fl_graph_find(g, name);
    return v != FL_NONE ? v : fl_graph_input(g, name, fl_type_make(dtype, 0, NULL));
}

/* The result of node `old` is `with` from now on. Where the name of an output cannot move, an Identity keeps it. */
static void become(mode *m, fl_id old, fl_id with)
{
    fl_graph *g = m->g;
    fl_id out = g->nodes[old].out[0];
    if (fl_rewrite_value(g, out, with)) {
        fl_node_erase(g, old);
    } else {
        fl_node *n = &g->nodes[old];
        n->op = FL_OP_IDENTITY;
        n->in[0] = with;
        n->n_in = 1;
        n->n_attr = 0;
    }
    m->cx->n_changed++;
}

/* ------------------------------------------------------------------------------------------------------ dropout */

static fl_id drawn_mask(mode *m, fl_id node, double rate)
{
    fl_graph *g = m->g;
    m->step = scalar_input(g, "step", FL_INT64);
    m->seed = scalar_input(g, "seed", FL_INT64);
    fl_id mask = fl_node_new(g, FL_OP_RANDOM_MASK, "mask", (fl_id[]){g->nodes[node].in[0], m->step, m->seed}, 3, 1);
    fl_node_set_float(g, mask, "rate", rate);
    fl_node_set_int(g, mask, "key", fl_node_int(g, node, "key", 0));
    fl_build_infer(g, mask);
    return fl_node_out(g, mask, 0);
}

static void dropout(mode *m, fl_id node, bool masked)
{
    fl_graph *g = m->g;
    double rate = fl_node_float(g, node, "rate", 0), kept = 1 - rate;
    bool upscale = strcmp(fl_node_string(g, node, "style", "upscale_in_train"), "upscale_in_train") == 0;
    fl_id x = g->nodes[node].in[0], y = x, mask = g->nodes[node].n_in > 1 ? g->nodes[node].in[1] : FL_NONE;
    if (masked && rate > 0) {
        if (mask == FL_NONE) {
            mask = drawn_mask(m, node, rate);
            kept = 1 - (double)(uint32_t)(rate * 65536.0 + 0.5) / 65536.0; /* what fl_random_mask really keeps */
        }
        y = fl_build_2(g, FL_OP_MUL, "masked", x, mask);
        if (upscale)
            y = fl_build_2(g, FL_OP_MUL, "dropped", y, fl_build_scalar(g, "upscale", 1 / kept));
    } else if (!masked && !upscale && rate > 0) {
        y = fl_build_2(g, FL_OP_MUL, "scaled", x, fl_build_scalar(g, "downscale", kept));
    }
    become(m, node, y);
}

/* --------------------------------------------------------------------------------------------------- batch norm */

static fl_id batch_mean(fl_graph *g, const char *base, fl_id x)
{
    fl_id in[2] = {x, fl_build_ints(g, "axes", (int64_t[]){0}, 1)};
    fl_id node = fl_node_new(g, FL_OP_REDUCE_MEAN, base, in, 2, 1);
    fl_node_set_int(g, node, "keepdims", 0);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

/* old := momentum old + (1 - momentum) now; unchanged where `single` (bool[1], or none) says so. */
static void update_statistic(fl_graph *g, fl_id old, fl_id now, double momentum, fl_id single)
{
    fl_id kept = fl_build_2(g, FL_OP_MUL, "kept", old, fl_build_scalar(g, "momentum", momentum));
    fl_id fresh = fl_build_2(g, FL_OP_MUL, "fresh", now, fl_build_scalar(g, "share", 1 - momentum));
    fl_id next = fl_build_2(g, FL_OP_ADD, "statistic_next", kept, fresh);
    if (single != FL_NONE)
        next = fl_build_n(g, FL_OP_WHERE, "statistic_next", (fl_id[]){single, old, next}, 3);
    fl_graph_update(g, old, next);
}

static void batch_norm_train(mode *m, fl_id node)
{
    fl_graph *g = m->g;
    const fl_id *in = g->nodes[node].in;
    fl_id x = in[0], gamma = in[1], beta = in[2], running_mean = in[3], running_var = in[4], single = FL_NONE;
    double epsilon = fl_node_float(g, node, "epsilon", 1e-5), momentum = fl_node_float(g, node, "momentum", 0.9);
    if (strcmp(fl_node_string(g, node, "single_row", "normalise"), "pass") == 0)
        single = fl_build_2(g, FL_OP_EQUAL, "single_row", fl_build_extent(g, "rows", x, 0), fl_build_ints(g, "one", (int64_t[]){1}, 1));
    fl_id mean = batch_mean(g, "bn_mean", x);
    fl_id centred = fl_build_2(g, FL_OP_SUB, "bn_centred", x, mean);
    fl_id var = batch_mean(g, "bn_var", fl_build_2(g, FL_OP_MUL, "bn_squared", centred, centred));
    fl_id deviation = fl_build_1(g, FL_OP_SQRT, "bn_deviation", fl_build_2(g, FL_OP_ADD, "bn_held", var, fl_build_scalar(g, "epsilon", epsilon)));
    fl_id scale = fl_build_2(g, FL_OP_DIV, "bn_scale", gamma, deviation);
    fl_id y = fl_build_2(g, FL_OP_ADD, "bn", fl_build_2(g, FL_OP_MUL, "bn_scaled", centred, scale), beta);
    if (single != FL_NONE)
        y = fl_build_n(g, FL_OP_WHERE, "bn", (fl_id[]){single, x, y}, 3);
    update_statistic(g, running_mean, mean, momentum, single);
    update_statistic(g, running_var, var, momentum, single);
    become(m, node, y);
}

static void batch_norm_predict(mode *m, fl_id node)
{
    fl_graph *g = m->g;
    double epsilon = fl_node_float(g, node, "epsilon", 1e-5);
    fl_id in[5];
    memcpy(in, g->nodes[node].in, sizeof in);
    fl_id standard = fl_node_new(g, FL_OP_BATCH_NORMALIZATION, "bn", in, 5, 1);
    fl_node_set_float(g, standard, "epsilon", epsilon);
    fl_build_infer(g, standard);
    become(m, node, fl_node_out(g, standard, 0));
}

/* -------------------------------------------------------------------------------------------------------- modes */

static bool drop_input(const fl_graph *g, const uint32_t *uses, fl_id v)
{
    const char *name = g->values[v].name;
    return uses[v] == 0 && (strcmp(name, "label") == 0 || strncmp(name, "mask.", 5) == 0);
}

/* What prediction is for stays; everything that only training read goes. */
static fl_status keep_prediction(mode *m)
{
    fl_graph *g = m->g;
    uint32_t n = 0;
    fl_id loss = fl_graph_find(g, "loss");
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] != loss)
            g->outputs[n++] = g->outputs[i];
    m->cx->n_changed += g->n_outputs - n + g->n_updates;
    g->n_outputs = n;
    g->n_updates = 0;
    FL_TRY(fl_graph_sort(g, m->cx->diag)); /* dead code is found backwards */
    if (!fl_erase_dead(g, &m->cx->scratch, &m->cx->n_changed) || !fl_drop_unused(g, &m->cx->scratch, true))
        return fl_out_of_memory(m->cx->diag);
    uint32_t *uses = fl_graph_count_uses(g, &m->cx->scratch);
    if (!uses)
        return fl_out_of_memory(m->cx->diag);
    n = 0;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        if (drop_input(g, uses, g->inputs[i]))
            g->values[g->inputs[i]].name = NULL;
        else
            g->inputs[n++] = g->inputs[i];
    }
    g->n_inputs = n;
    return FL_OK;
}

fl_status fl_pass_set_mode(fl_graph *g, fl_pass_ctx *cx)
{
    mode m = {g, cx, FL_NONE, FL_NONE};
    bool train = strcmp(cx->arguments, "train") == 0;
    bool masked = strcmp(cx->arguments, "predict-masked") == 0;
    if (!train && !masked && strcmp(cx->arguments, "predict") != 0)
        return fl_error(cx->diag, FL_E_PASS, FL_NOWHERE, "set-mode takes \"train\", \"predict\" or \"predict-masked\", not \"%s\"", cx->arguments);
    uint32_t n = g->n_nodes;
    for (fl_id i = 0; i < n; i++) {
        if (g->nodes[i].op == FL_OP_DROPOUT)
            dropout(&m, i, train || masked);
        else if (g->nodes[i].op == FL_OP_BATCH_NORM && train)
            batch_norm_train(&m, i);
        else if (g->nodes[i].op == FL_OP_BATCH_NORM)
            batch_norm_predict(&m, i);
        if (g->arena.failed)
            return fl_out_of_memory(cx->diag);
    }
    return train ? FL_OK : keep_prediction(&m);
}
