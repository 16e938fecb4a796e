/*
 * blocks.c -- network blocks to a forward graph.
 *
 * Written in standard operators and the four layers that have no standard form (MaskedDropout, BatchNorm, EmbeddingBag,
 * LogLoss): field pooling, interaction and fused layers are for the passes to find, here as in any imported graph. All single-valued slots are
 * one Gather and one Split.
 *
 * A group with one slot gets no term of its own: f*f - e*e is 0, and evaluated with a fused multiply-add it
 * would leave rounding noise, which Adam turns into steps.
 */
#include "frontend/network.h"

#include <math.h>
#include <string.h>

/* Everything that the blocks of one build share. */
typedef struct build {
    const fl_network_spec *s;
    const fl_schema *schema;
    fl_graph *g;
    fl_dim batch, table_rows;
    uint32_t n_single;   /* columns of ids */
    uint32_t *column;    /* slot -> column of ids; UINT32_MAX for multi-valued slots */
    fl_id ids;
    fl_id *values, *offsets; /* slot -> inputs of a multi-valued slot */
    fl_id slots_axis;    /* Constant [1]; FL_NONE: none yet */
    fl_id e;             /* float[batch, n_single, K]; FL_NONE without single-valued slots */
    fl_id *bag;          /* slot -> float[batch, K]; FL_NONE for single-valued slots */
    int64_t next_key;    /* of random masks */
    uint32_t n_marked_nodes, n_marked_values; /* that have an origin */
} build;

/* What was made since the last call comes from `block`. */
static void mark(build *b, fl_block block)
{
    fl_loc at = b->s->place[block];
    at.file = at.file ? fl_strpool_put(&b->g->names, at.file, strlen(at.file)) : NULL;
    for (; b->n_marked_nodes < b->g->n_nodes; b->n_marked_nodes++)
        b->g->nodes[b->n_marked_nodes].origin.loc = at;
    for (; b->n_marked_values < b->g->n_values; b->n_marked_values++)
        b->g->values[b->n_marked_values].origin.loc = at;
}

/* ------------------------------------------------------------------------------------------------ parameters */

static const char *join(build *b, const char *a, const char *c)
{
    const char *text = fl_arena_printf(&b->g->arena, "%s.%s", a, c);
    return text ? text : "";
}

/* Fans for Glorot: of [in, out] its sides; of a vector [n] Paddle's reading of shape [n, 1]. */
static void set_init(const build *b, fl_param *p, const fl_class_spec *c, const fl_dim *dims, int rank, fl_class class)
{
    double in = (double)dims[0], out = rank > 1 ? (double)dims[rank - 1] : 1;
    if (class == FL_CLASS_MF || class == FL_CLASS_FM)
        in = rank > 1 ? (double)b->s->k : in; /* a stack of K x K matrices */
    if (dims[0] < 0 || c->a < 0)
        in = out;
    double glorot = sqrt(6 / (in + out));
    switch (c->fill) {
    case FL_FILL_CONSTANT:
        p->init = FL_INIT_CONSTANT;
        p->init_a = c->a;
        break;
    case FL_FILL_NORMAL:
        p->init = FL_INIT_NORMAL;
        p->init_b = c->a;
        break;
    case FL_FILL_GLOROT_NORMAL:
        p->init = FL_INIT_NORMAL;
        p->init_b = sqrt(2 / (in + out));
        break;
    case FL_FILL_UNIFORM:
    case FL_FILL_GLOROT_UNIFORM:
        p->init = FL_INIT_UNIFORM;
        p->init_b = c->fill == FL_FILL_UNIFORM ? c->a : glorot;
        p->init_a = -p->init_b;
        break;
    }
}

static fl_id parameter(build *b, const char *name, fl_class class, int rank, const fl_dim *dims)
{
    const fl_class_spec *c = &b->s->classes[class];
    fl_id v = fl_graph_variable(b->g, name, fl_type_make(FL_FLOAT, rank, dims));
    fl_param p = {.variable = v, .rule = c->rule, .lr_scale = c->lr_scale, .l2 = c->l2, .row_sparse = c->row_sparse};
    set_init(b, &p, c, dims, rank, class);
    fl_graph_param(b->g, p);
    return v;
}

static fl_id vector(build *b, const char *name, fl_class class, int64_t n)
{
    return parameter(b, name, class, 1, (fl_dim[]){n});
}

static fl_id matrix(build *b, const char *name, fl_class class, int64_t in, int64_t out)
{
    return parameter(b, name, class, 2, (fl_dim[]){in, out});
}

static fl_id statistic(build *b, const char *name, int64_t n, double start)
{
    fl_id v = fl_graph_variable(b->g, name, fl_type_make(FL_FLOAT, 1, (fl_dim[]){n}));
    fl_graph_param(b->g, (fl_param){.variable = v, .lr_scale = 1, .init = FL_INIT_CONSTANT, .init_a = start});
    return v;
}

/* ------------------------------------------------------------------------------------- small pieces of graph */

static fl_id add(build *b, const char *base, fl_id x, fl_id y)
{
    return x == FL_NONE ? y : y == FL_NONE ? x : fl_build_2(b->g, FL_OP_ADD, base, x, y);
}

static fl_id mul(build *b, const char *base, fl_id x, fl_id y)
{
    return fl_build_2(b->g, FL_OP_MUL, base, x, y);
}

enum { MAX_SUM = 8 }; /* operands of one Sum */

/* h = the sum of n values, FL_NONE among them left out; FL_NONE if all are. */
static fl_id sum(build *b, const char *h, const fl_id *x, uint32_t n)
{
    fl_id some[MAX_SUM], all = FL_NONE;
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] == FL_NONE)
            continue;
        if (count == MAX_SUM) {
            for (uint32_t k = 0; k < count; k++)
                all = add(b, h, all, some[k]);
            count = 0;
        }
        some[count++] = x[i];
    }
    if (all == FL_NONE && count > 2)
        return fl_build_n(b->g, FL_OP_SUM, h, some, count);
    for (uint32_t k = 0; k < count; k++)
        all = add(b, h, all, some[k]);
    return all;
}

/* float[batch, n, k] -> float[batch, k] */
static fl_id sum_of_slots(build *b, const char *base, fl_id x)
{
    if (b->slots_axis == FL_NONE)
        b->slots_axis = fl_build_ints(b->g, "axes", (int64_t[]){1}, 1);
    fl_id node = fl_node_new(b->g, FL_OP_REDUCE_SUM, base, (fl_id[]){x, b->slots_axis}, 2, 1);
    fl_node_set_int(b->g, node, "keepdims", 0);
    fl_build_infer(b->g, node);
    return fl_node_out(b->g, node, 0);
}

/* A value of type float[batch, n]; v FL_NONE: none. */
typedef struct rows {
    fl_id v;
    int64_t n;
} rows;

static rows concat(build *b, const char *base, rows x, rows y)
{
    if (x.v == FL_NONE || y.v == FL_NONE)
        return x.v == FL_NONE ? y : x;
    return (rows){fl_build_concat(b->g, base, (fl_id[]){x.v, y.v}, 2, 1), x.n + y.n};
}

/* `size` is the number of equal pieces' extents along axis 0 of a parameter. */
static fl_id *split_parameter(build *b, const char *base, fl_id v, uint32_t n, int64_t size)
{
    fl_id *out = fl_arena_new(&b->g->arena, fl_id, n);
    int64_t *sizes = fl_arena_new(&b->g->arena, int64_t, n);
    if (!out || !sizes)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = size;
    fl_build_split(b->g, base, v, 0, sizes, n, out);
    return out;
}

static fl_id dropout(build *b, const char *name, fl_id x, fl_id mask, double rate, const char *style)
{
    fl_id in[2] = {x, mask};
    if (rate == 0)
        return x;
    fl_id node = fl_node_new(b->g, FL_OP_DROPOUT, name, in, mask == FL_NONE ? 1 : 2, 1);
    fl_node_set_float(b->g, node, "rate", rate);
    fl_node_set_string(b->g, node, "style", style);
    if (mask == FL_NONE)
        fl_node_set_int(b->g, node, "key", b->next_key++);
    fl_build_infer(b->g, node);
    return fl_node_out(b->g, node, 0);
}

static fl_id mask_input(build *b, const char *name, int rank, const fl_dim *dims)
{
    if (!b->s->given_masks)
        return FL_NONE;
    const char *input = fl_arena_printf(&b->g->arena, "mask.%s", name);
    return input ? fl_graph_input(b->g, input, fl_type_make(FL_FLOAT, rank, dims)) : FL_NONE;
}

static fl_id batch_norm(build *b, const char *name, fl_id x, int64_t n)
{
    fl_id in[5] = {x,
                   vector(b, join(b, name, "gamma"), FL_CLASS_GAMMA, n),
                   vector(b, join(b, name, "beta"), FL_CLASS_BETA, n),
                   statistic(b, join(b, name, "running_mean"), n, 0),
                   statistic(b, join(b, name, "running_var"), n, 1)};
    fl_id node = fl_node_new(b->g, FL_OP_BATCH_NORM, name, in, 5, 1);
    fl_node_set_float(b->g, node, "epsilon", b->s->bn_epsilon);
    fl_node_set_float(b->g, node, "momentum", b->s->bn_momentum);
    fl_node_set_string(b->g, node, "single_row", b->s->bn_single_row);
    fl_build_infer(b->g, node);
    return fl_node_out(b->g, node, 0);
}

/* x W (+ bias), then the steps. Masks: "PREFIX.drop", or "PREFIX.drop_a", "PREFIX.drop_b", ... where there are several. */
static rows layer(build *b, const char *prefix, rows x, int64_t out, bool bias, const fl_steps *steps)
{
    fl_id w = matrix(b, join(b, prefix, "w"), FL_CLASS_WEIGHT, x.n, out);
    fl_id y = fl_build_2(b->g, FL_OP_MATMUL, join(b, prefix, "product"), x.v, w);
    uint32_t n_drops = 0, drop = 0;
    if (bias)
        y = add(b, join(b, prefix, "sum"), y, vector(b, join(b, prefix, "b"), FL_CLASS_BIAS, out));
    for (uint32_t i = 0; i < steps->n; i++)
        n_drops += steps->step[i] == FL_STEP_DROPOUT;
    for (uint32_t i = 0; i < steps->n; i++) {
        switch (steps->step[i]) {
        case FL_STEP_RELU:
            y = fl_build_1(b->g, FL_OP_RELU, join(b, prefix, "relu"), y);
            break;
        case FL_STEP_BATCH_NORM:
            if (b->s->batch_norm)
                y = batch_norm(b, join(b, prefix, "bn"), y, out);
            break;
        case FL_STEP_DROPOUT: {
            char word[] = {'d', 'r', 'o', 'p', '_', (char)('a' + drop++), 0};
            const char *name = join(b, prefix, n_drops > 1 ? word : "drop");
            if (b->s->dropout > 0) {
                fl_id mask = mask_input(b, name, 2, (fl_dim[]){b->batch, out});
                y = dropout(b, name, y, mask, b->s->dropout, b->s->dropout_style);
            }
            break;
        }
        }
    }
    return (rows){y, out};
}

/* ------------------------------------------------------------------------------------------ embedding, linear */

static fl_id bag_of(build *b, const char *base, fl_id table, uint32_t slot)
{
    fl_id in[3] = {table, b->values[slot], b->offsets[slot]};
    fl_id node = fl_node_new(b->g, FL_OP_EMBEDDING_BAG, base, in, 3, 1);
    fl_node_set_string(b->g, node, "mode", b->schema->slots[slot].pooling == FL_POOL_MEAN ? "mean" : "sum");
    fl_build_infer(b->g, node);
    return fl_node_out(b->g, node, 0);
}

static void embedding(build *b)
{
    fl_id table = matrix(b, "table", FL_CLASS_TABLE, b->table_rows, b->s->k);
    if (b->n_single)
        b->e = fl_build_2(b->g, FL_OP_GATHER, "e", table, b->ids);
    for (uint32_t i = 0; i < b->schema->n_slots; i++)
        if (b->schema->slots[i].pooling != FL_POOL_NONE)
            b->bag[i] = bag_of(b, join(b, b->schema->slots[i].name, "e"), table, i);
}

/* Sum of the linear weights of all slots and the bias: float[batch, 1]. */
static fl_id linear(build *b)
{
    fl_id table = matrix(b, "linear", FL_CLASS_LINEAR, b->table_rows, 1);
    fl_id h = FL_NONE;
    if (b->n_single) {
        fl_id w = fl_build_2(b->g, FL_OP_GATHER, "linear.w", table, b->ids);
        h = sum_of_slots(b, "linear.sum", w);
    }
    for (uint32_t i = 0; i < b->schema->n_slots; i++)
        if (b->schema->slots[i].pooling != FL_POOL_NONE)
            h = add(b, "linear.sum", h, bag_of(b, join(b, b->schema->slots[i].name, "w"), table, i));
    const char *name = b->s->linear == FL_LINEAR_CONCAT ? "linear_bias" : "bias";
    return add(b, "h_s", h, vector(b, name, FL_CLASS_LINEAR_BIAS, 1));
}

/* ----------------------------------------------------------------------------------------------- interaction */

/* Sums of consecutive slots: group m has slots first[m] ... first[m+1]-1. Sums of squares where asked for. */
typedef struct groups {
    uint32_t n;
    uint32_t *first; /* n + 1 entries */
    fl_id *sum, *square;
} groups;

static bool groups_of(build *b, fl_groups kind, groups *out)
{
    const fl_schema *schema = b->schema;
    fl_arena *a = &b->g->arena;
    out->first = fl_arena_new(a, uint32_t, schema->n_slots + 2);
    out->sum = fl_arena_new(a, fl_id, schema->n_slots + 1);
    out->square = fl_arena_new(a, fl_id, schema->n_slots + 1);
    out->n = 0;
    if (!out->first || !out->sum || !out->square)
        return false;
    for (uint32_t i = 0; i < schema->n_slots; i++)
        if (i == 0 || kind == FL_GROUPS_SLOTS ||
            (kind == FL_GROUPS_FIELDS && schema->slots[i].field != schema->slots[i - 1].field))
            out->first[out->n++] = i;
    out->first[out->n] = schema->n_slots;
    return true;
}

/* Field sums of e and of the bags, and sums of squares for groups of two slots or more. */
static void pool(build *b, groups *gr, bool squares)
{
    fl_arena *a = &b->g->arena;
    int64_t *sizes = fl_arena_new(a, int64_t, gr->n);
    fl_id *part = fl_arena_new(a, fl_id, gr->n);
    uint32_t n = 0;
    if (!sizes || !part)
        return;
    for (uint32_t m = 0; m < gr->n; m++) {
        int64_t singles = 0;
        for (uint32_t i = gr->first[m]; i < gr->first[m + 1]; i++)
            singles += b->bag[i] == FL_NONE;
        if (singles)
            sizes[n++] = singles;
    }
    if (n > 1)
        fl_build_split(b->g, "e_field", b->e, 1, sizes, n, part);
    else if (n == 1)
        part[0] = b->e;
    n = 0;
    for (uint32_t m = 0; m < gr->n; m++) {
        bool square = squares && gr->first[m + 1] - gr->first[m] > 1, singles = false;
        gr->sum[m] = gr->square[m] = FL_NONE;
        for (uint32_t i = gr->first[m]; i < gr->first[m + 1]; i++)
            singles = singles || b->bag[i] == FL_NONE;
        if (singles) {
            gr->sum[m] = sum_of_slots(b, "f", part[n]);
            if (square) {
                fl_id e2 = mul(b, "e_squared", part[n], part[n]);
                gr->square[m] = sum_of_slots(b, "q", e2);
            }
            n++;
        }
        for (uint32_t i = gr->first[m]; i < gr->first[m + 1]; i++) {
            if (b->bag[i] == FL_NONE)
                continue;
            gr->sum[m] = add(b, "f", gr->sum[m], b->bag[i]);
            if (square)
                gr->square[m] = add(b, "q", gr->square[m], mul(b, "e_squared", b->bag[i], b->bag[i]));
        }
    }
}

static void add_field_biases(build *b, groups *gr)
{
    for (uint32_t m = 0; m < gr->n; m++) {
        const char *name = fl_arena_printf(&b->g->arena, "field_bias.%u", m);
        if (name)
            gr->sum[m] = add(b, "f", gr->sum[m], vector(b, name, FL_CLASS_FIELD_BIAS, b->s->k));
    }
}

/* Sum of the matrix terms x W + b: one product, of all terms side by side with the stack of their matrices [n*K, K]. */
static fl_id matrix_terms(build *b, const char *name, const char *h, const fl_id *x, uint32_t n, fl_class class, fl_id like)
{
    fl_arena *a = &b->g->arena;
    fl_id w = matrix(b, join(b, name, "w"), class, (int64_t)n * b->s->k, b->s->k);
    fl_id bias = parameter(b, join(b, name, "b"), FL_CLASS_BIAS, 2, (fl_dim[]){n, b->s->k});
    fl_id *present = fl_arena_new(a, fl_id, n), *stack = fl_arena_new(a, fl_id, n), *part = NULL;
    uint32_t n_present = 0;
    fl_id sum = fl_build_reduce_sum(b->g, join(b, name, "bias"), bias, (int64_t[]){0}, 1, false);
    for (uint32_t i = 0; i < n; i++)
        n_present += x[i] != FL_NONE;
    if (n_present == 0) /* the biases alone, for each row of the batch */
        return add(b, h, mul(b, "zeros", like, fl_build_scalar(b->g, "zero", 0)), sum);
    if (n_present < n) /* matrices of absent terms stay out, their biases do not */
        part = split_parameter(b, join(b, name, "part"), w, n, b->s->k);
    if (!present || !stack || (n_present < n && !part))
        return FL_NONE;
    n_present = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] == FL_NONE)
            continue;
        stack[n_present] = part ? part[i] : FL_NONE;
        present[n_present++] = x[i];
    }
    if (part)
        w = n_present > 1 ? fl_build_concat(b->g, join(b, name, "used"), stack, n_present, 0) : stack[0];
    fl_id all = n_present > 1 ? fl_build_concat(b->g, join(b, name, "terms"), present, n_present, 1) : present[0];
    return add(b, h, fl_build_2(b->g, FL_OP_MATMUL, join(b, name, "product"), all, w), sum);
}

/* x[i] becomes factor * x[i]: of pairs (class MF) or of groups (FM). Absent terms are FL_NONE. */
static void scale_terms(build *b, const char *name, fl_id *x, uint32_t n, fl_term term, fl_class class)
{
    fl_id *r = NULL, half = FL_NONE;
    if (term == FL_TERM_SCALAR) {
        r = split_parameter(b, class == FL_CLASS_MF ? "r_mf" : "r_fm", vector(b, name, class, n), n, 1);
        if (!r)
            return;
    } else if (class == FL_CLASS_FM) {
        half = fl_build_scalar(b->g, "half", 0.5);
    }
    for (uint32_t i = 0; i < n; i++) {
        fl_id factor = r ? r[i] : half;
        if (x[i] != FL_NONE && factor != FL_NONE)
            x[i] = mul(b, "term", x[i], factor);
    }
}

/* Terms of pairs of groups, to be summed: returns how many; *out is theirs. */
static uint32_t pair_terms(build *b, const groups *gr, fl_id **out)
{
    uint32_t n = gr->n * (gr->n - 1) / 2, p = 0;
    fl_id *x = fl_arena_new(&b->g->arena, fl_id, n);
    *out = x;
    if (!x || n == 0 || b->s->mf == FL_TERM_NONE)
        return 0;
    for (uint32_t i = 0; i < gr->n; i++)
        for (uint32_t j = i + 1; j < gr->n; j++)
            x[p++] = mul(b, "pair", gr->sum[i], gr->sum[j]);
    if (b->s->mf == FL_TERM_MATRIX) {
        x[0] = matrix_terms(b, "fwbi.mf", "h_mf", x, n, FL_CLASS_MF, gr->sum[0]);
        return 1;
    }
    const char *name = b->s->groups == FL_GROUPS_SLOTS ? "fwfm.r" : "fwbi.r_mf";
    scale_terms(b, name, x, n, b->s->mf, FL_CLASS_MF);
    return n;
}

/* The same of the groups' own second order. */
static uint32_t group_terms(build *b, const groups *gr, fl_id **out)
{
    fl_id *x = fl_arena_new(&b->g->arena, fl_id, gr->n);
    fl_id *mask = fl_arena_new(&b->g->arena, fl_id, gr->n);
    double rate = 1 - b->s->dicefactor;
    *out = x;
    if (!x || !mask || b->s->fm == FL_TERM_NONE)
        return 0;
    for (uint32_t m = 0; m < gr->n; m++)
        mask[m] = FL_NONE;
    if (rate > 0 && b->s->given_masks) {
        fl_id all = mask_input(b, "dicefactor", 3, (fl_dim[]){b->batch, gr->n, b->s->k});
        int64_t *ones = fl_arena_new(&b->g->arena, int64_t, gr->n);
        for (uint32_t m = 0; ones && m < gr->n; m++)
            ones[m] = 1;
        if (ones && gr->n > 1)
            fl_build_split(b->g, "mask_field", all, 1, ones, gr->n, mask);
        else
            mask[0] = all;
    }
    for (uint32_t m = 0; m < gr->n; m++) {
        x[m] = FL_NONE;
        if (gr->square[m] == FL_NONE)
            continue;
        x[m] = fl_build_2(b->g, FL_OP_SUB, "second_order", mul(b, "f_squared", gr->sum[m], gr->sum[m]), gr->square[m]);
        if (mask[m] != FL_NONE)
            mask[m] = fl_build_reshape(b->g, "mask_of", mask[m], (int64_t[]){0, b->s->k}, 2);
        x[m] = dropout(b, "dicefactor", x[m], mask[m], rate, "downscale_in_infer");
    }
    if (b->s->fm == FL_TERM_MATRIX) {
        x[0] = matrix_terms(b, "fwbi.fm", "h_fm", x, gr->n, FL_CLASS_FM, gr->sum[0]);
        return 1;
    }
    scale_terms(b, "fwbi.r_fm", x, gr->n, b->s->fm, FL_CLASS_FM);
    return gr->n;
}

/* h of the paper: h_MF + h_FM; FL_NONE without terms. */
static fl_id interaction(build *b, const groups *gr)
{
    fl_id *mf = NULL, *fm = NULL;
    uint32_t n_mf = pair_terms(b, gr, &mf), n_fm = group_terms(b, gr, &fm);
    fl_id *all = fl_arena_new(&b->g->arena, fl_id, n_mf + n_fm);
    for (uint32_t i = 0; all && i < n_mf + n_fm; i++)
        all[i] = i < n_mf ? mf[i] : fm[i - n_mf];
    return all ? sum(b, "h", all, n_mf + n_fm) : FL_NONE;
}

/* The interaction vector, h_S in front of it if there is one, through the hidden layer if there is one. */
static rows hidden(build *b, rows h, rows h_s)
{
    h = concat(b, "h_joined", h_s, h);
    if (!b->s->hidden)
        return h;
    int64_t units = b->s->hidden_units ? b->s->hidden_units : h.n;
    return layer(b, "fwbi", h, units, b->s->hidden_bias, &b->s->hidden_steps);
}

/* ------------------------------------------------------------------------------------------------ MLP, output */

/* All slots side by side, in order: float[batch, N*K]. Bags stand between runs of single-valued slots. */
static fl_id side_by_side(build *b)
{
    const fl_schema *schema = b->schema;
    int64_t k = b->s->k;
    if (b->n_single == schema->n_slots)
        return fl_build_reshape(b->g, "e_flat", b->e, (int64_t[]){0, (int64_t)schema->n_slots * k}, 2);
    fl_arena *a = &b->g->arena;
    int64_t *sizes = fl_arena_new(a, int64_t, schema->n_slots);
    fl_id *run = fl_arena_new(a, fl_id, schema->n_slots), *part = fl_arena_new(a, fl_id, schema->n_slots);
    uint32_t n_runs = 0, n = 0, r = 0;
    if (!sizes || !run || !part)
        return FL_NONE;
    for (uint32_t i = 0; i < schema->n_slots; i++) {
        if (b->bag[i] != FL_NONE)
            continue;
        if (i == 0 || b->bag[i - 1] != FL_NONE)
            n_runs++;
        sizes[n_runs - 1]++;
    }
    if (n_runs == 1)
        run[0] = b->e;
    else if (n_runs)
        fl_build_split(b->g, "e_run", b->e, 1, sizes, n_runs, run);
    for (uint32_t i = 0; i < schema->n_slots; i++) {
        if (b->bag[i] != FL_NONE)
            part[n++] = b->bag[i];
        else if (i == 0 || b->bag[i - 1] != FL_NONE) {
            part[n++] = fl_build_reshape(b->g, "e_flat", run[r], (int64_t[]){0, sizes[r] * k}, 2);
            r++;
        }
    }
    return n > 1 ? fl_build_concat(b->g, "e_all", part, n, 1) : part[0];
}

static rows mlp(build *b, const groups *fields)
{
    rows x;
    if (b->s->mlp == FL_MLP_SLOTS)
        x = (rows){side_by_side(b), (int64_t)b->schema->n_slots * b->s->k};
    else
        x = (rows){fields->n > 1 ? fl_build_concat(b->g, "f_all", fields->sum, fields->n, 1) : fields->sum[0],
                   (int64_t)fields->n * b->s->k};
    for (uint32_t i = 0; i < b->s->n_widths; i++) {
        const char *prefix = fl_arena_printf(&b->g->arena, "mlp.%u", i);
        if (prefix)
            x = layer(b, prefix, x, b->s->widths[i], true, &b->s->mlp_steps);
    }
    return x;
}

/* concat(h, deep) w (+ bias), float[batch, 1]; FL_NONE without both. */
static fl_id output(build *b, rows h, rows deep)
{
    rows x = b->s->mlp_first ? concat(b, "out.in", deep, h) : concat(b, "out.in", h, deep);
    if (x.v == FL_NONE)
        return FL_NONE;
    fl_id z = fl_build_2(b->g, FL_OP_MATMUL, "out.product", x.v, matrix(b, "out.w", FL_CLASS_OUT, x.n, 1));
    return b->s->out_bias ? add(b, "out.sum", z, vector(b, "out.b", FL_CLASS_BIAS, 1)) : z;
}

/* ---------------------------------------------------------------------------------------------------- inputs */

static bool apart(const fl_slot *x, const fl_slot *y)
{
    return x->first_row < 0 || y->first_row < 0 || x->first_row + x->rows <= y->first_row || y->first_row + y->rows <= x->first_row;
}

/* Inputs whose columns never share rows, within and among them. */
static void set_disjoint(build *b)
{
    const fl_schema *schema = b->schema;
    const char *list = "";
    bool ids = b->n_single > 0;
    for (uint32_t i = 0; i < schema->n_slots; i++)
        for (uint32_t j = i + 1; j < schema->n_slots; j++)
            if (b->column[i] != UINT32_MAX && b->column[j] != UINT32_MAX && !apart(&schema->slots[i], &schema->slots[j]))
                ids = false;
    if (ids)
        list = "ids";
    for (uint32_t i = 0; i < schema->n_slots; i++) {
        bool alone = schema->slots[i].pooling != FL_POOL_NONE;
        for (uint32_t j = 0; j < schema->n_slots; j++)
            alone = alone && (j == i || apart(&schema->slots[i], &schema->slots[j]));
        if (!alone)
            continue;
        list = fl_arena_printf(&b->g->arena, "%s%s%s.values", list, list[0] ? "," : "", schema->slots[i].name);
        if (!list)
            return;
    }
    if (list[0])
        fl_graph_set_meta(b->g, "ai.flen.disjoint", list);
}

/* Names of fields, for pictures; names with a comma would only confuse them. */
static void set_field_names(build *b)
{
    const char *list = "";
    for (uint32_t i = 0; list && b->schema->fields && i < b->schema->n_fields; i++) {
        const char *name = b->schema->fields[i].name;
        if (!name || strchr(name, ','))
            return;
        list = fl_arena_printf(&b->g->arena, "%s%s%s", list, i ? "," : "", name);
    }
    if (list && *list)
        fl_graph_set_meta(b->g, "ai.flen.fields", list);
}

static fl_status inputs(build *b, fl_diag *dg)
{
    const fl_schema *schema = b->schema;
    fl_graph *g = b->g;
    fl_arena *a = &g->arena;
    b->batch = fl_graph_symbol(g, "batch");
    b->column = fl_arena_new(a, uint32_t, schema->n_slots);
    b->values = fl_arena_new(a, fl_id, schema->n_slots);
    b->offsets = fl_arena_new(a, fl_id, schema->n_slots);
    b->bag = fl_arena_new(a, fl_id, schema->n_slots);
    b->ids = b->e = FL_NONE;
    if (!b->column || !b->values || !b->offsets || !b->bag)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < schema->n_slots; i++) {
        b->column[i] = schema->slots[i].pooling == FL_POOL_NONE ? b->n_single++ : UINT32_MAX;
        b->values[i] = b->offsets[i] = b->bag[i] = FL_NONE;
    }
    if (b->n_single)
        b->ids = fl_graph_input(g, "ids", fl_type_make(FL_INT64, 2, (fl_dim[]){b->batch, b->n_single}));
    for (uint32_t i = 0; i < schema->n_slots; i++) {
        if (schema->slots[i].pooling == FL_POOL_NONE)
            continue;
        fl_dim count = fl_graph_symbol(g, join(b, schema->slots[i].name, "count"));
        fl_dim ends = fl_graph_symbol(g, join(b, schema->slots[i].name, "offsets"));
        b->values[i] = fl_graph_input(g, join(b, schema->slots[i].name, "values"), fl_type_make(FL_INT64, 1, &count));
        b->offsets[i] = fl_graph_input(g, join(b, schema->slots[i].name, "offsets"), fl_type_make(FL_INT64, 1, &ends));
    }
    b->table_rows = schema->table_rows > 0 ? schema->table_rows : fl_graph_symbol(g, "table_rows");
    set_disjoint(b);
    set_field_names(b);
    return FL_OK;
}

static void loss(build *b, fl_id logit, fl_id label)
{
    fl_graph *g = b->g;
    fl_id probability = fl_build_1(g, FL_OP_SIGMOID, "probability", logit);
    fl_id node = fl_node_new(g, FL_OP_LOG_LOSS, "row_loss", (fl_id[]){logit, label}, 2, 1);
    fl_node_set_string(g, node, "kind", b->s->loss);
    fl_node_set_float(g, node, "epsilon", b->s->loss_epsilon);
    fl_build_infer(g, node);
    fl_id losses = fl_node_out(g, node, 0);
    fl_id mean = fl_node_new(g, FL_OP_REDUCE_MEAN, "loss", &losses, 1, 1); /* of all elements */
    fl_node_set_int(g, mean, "keepdims", 0);
    fl_build_infer(g, mean);
    fl_graph_output(g, logit);
    fl_graph_output(g, probability);
    fl_graph_output(g, fl_node_out(g, mean, 0));
}

/* ----------------------------------------------------------------------------------------------------- build */

static fl_status check(const fl_network_spec *s, fl_diag *dg)
{
    const fl_schema *schema = s->schema;
    if (schema->n_slots == 0)
        return fl_error(dg, FL_E_NETWORK, s->place[FL_BLOCK_INPUTS], "network \"%s\" has no slot", s->name);
    for (uint32_t i = 1; i < schema->n_slots; i++)
        if (schema->slots[i].field < schema->slots[i - 1].field)
            return fl_error(dg, FL_E_NETWORK, s->place[FL_BLOCK_FIELDS], "slot \"%s\" stands apart from the other slots of its field",
                            schema->slots[i].name);
    bool terms = s->mf != FL_TERM_NONE || s->fm != FL_TERM_NONE;
    bool deep = s->mlp != FL_MLP_NONE && s->n_widths > 0;
    if (s->linear == FL_LINEAR_NONE && (s->groups == FL_GROUPS_NONE || !terms) && !deep)
        return fl_error(dg, FL_E_NETWORK, s->place[FL_BLOCK_INTERACTION], "network \"%s\" has no block: no linear term, no interaction, no MLP", s->name);
    return FL_OK;
}

/* The logit is a sum: linear term, interaction summed over K, output layer; whichever there are. */
static void compose(build *b)
{
    const fl_network_spec *s = b->s;
    bool deep = s->mlp != FL_MLP_NONE && s->n_widths > 0;
    bool interact = s->groups != FL_GROUPS_NONE && (s->mf != FL_TERM_NONE || s->fm != FL_TERM_NONE);
    bool by_field = interact && s->groups == FL_GROUPS_FIELDS;
    fl_id label = fl_graph_input(b->g, "label", fl_type_make(FL_FLOAT, 2, (fl_dim[]){b->batch, 1}));
    fl_id logit = FL_NONE;
    rows h = {FL_NONE, s->k}, h_s = {FL_NONE, 1}, h_deep = {FL_NONE, 0};
    groups fields = {0}, others = {0}, *gr = by_field ? &fields : &others;
    mark(b, FL_BLOCK_INPUTS);
    if (interact || deep)
        embedding(b);
    mark(b, FL_BLOCK_EMBEDDING);
    if (s->linear != FL_LINEAR_NONE)
        h_s.v = linear(b);
    mark(b, FL_BLOCK_LINEAR);
    if (!groups_of(b, FL_GROUPS_FIELDS, &fields) || !groups_of(b, s->groups, &others))
        return;
    if (by_field || (deep && s->mlp == FL_MLP_FIELDS)) {
        pool(b, &fields, by_field && s->fm != FL_TERM_NONE);
        if (s->field_bias)
            add_field_biases(b, &fields);
    }
    mark(b, FL_BLOCK_FIELDS);
    if (interact && !by_field)
        pool(b, &others, s->fm != FL_TERM_NONE);
    if (interact)
        h.v = interaction(b, gr);
    if (s->linear == FL_LINEAR_LOGIT) {
        logit = h_s.v;
        h_s.v = FL_NONE;
    }
    mark(b, FL_BLOCK_INTERACTION);
    if (h.v != FL_NONE && s->interaction_to_logit) {
        logit = add(b, "wide_logit", logit, fl_build_reduce_sum(b->g, "h_sum", h.v, (int64_t[]){1}, 1, true));
        h = h_s;
    } else {
        h = h.v != FL_NONE ? hidden(b, h, h_s) : h_s;
    }
    mark(b, h.v != FL_NONE && s->hidden ? FL_BLOCK_HIDDEN : FL_BLOCK_INTERACTION);
    if (deep)
        h_deep = mlp(b, &fields);
    mark(b, FL_BLOCK_MLP);
    logit = add(b, "logit", logit, output(b, h, h_deep));
    mark(b, FL_BLOCK_OUTPUT);
    if (fl_graph_find(b->g, "logit") == FL_NONE && logit != FL_NONE)
        fl_value_rename(b->g, logit, "logit");
    loss(b, logit, label);
    mark(b, FL_BLOCK_LOSS);
}

fl_status fl_network_build(const fl_network_spec *spec, fl_graph **out, fl_diag *dg)
{
    build b = {.s = spec, .schema = spec->schema, .slots_axis = FL_NONE, .next_key = 1};
    FL_TRY(check(spec, dg));
    b.g = fl_graph_new("network");
    if (!b.g)
        return fl_out_of_memory(dg);
    fl_status status = inputs(&b, dg);
    if (status == FL_OK) {
        compose(&b);
        status = fl_graph_ok(b.g, dg);
    }
    if (status != FL_OK) {
        fl_graph_free(b.g);
        return status;
    }
    *out = b.g;
    return FL_OK;
}

int64_t fl_network_parameters(const fl_graph *g)
{
    int64_t total = 0;
    for (uint32_t i = 0; i < g->n_params; i++) {
        if (g->params[i].rule.kind == FL_RULE_NONE)
            continue;
        const fl_type *t = fl_value_type(g, g->params[i].variable);
        if (!fl_type_is_static(t))
            return 0;
        total += fl_type_elements(t);
    }
    return total;
}
