/*
 * random_graph.h -- well-typed graphs at random: click-through-rate models as people write them, and what no one would write.
 *
 * A forward graph over `ids` int64[batch,S], dense inputs, bags, tables and weights with parameters; its nodes are standard operators and our layers,
 * among them the patterns that passes look for, near misses of these, equal nodes, dead nodes and arithmetic on constants. Outputs: logit, probability,
 * loss, and some values in between. Values stay within about 1e3, so that two ways to compute one differ by rounding alone.
 *
 * Everything follows from the seed.
 */
#ifndef FL_TESTS_RANDOM_GRAPH_H
#define FL_TESTS_RANDOM_GRAPH_H

#include "ir/base/rng.h"
#include "ir/graph.h"

#include <stdio.h>
#include <string.h>

enum { RANDOM_POOL = 256 };

typedef struct random_value_of {
    fl_id v;
    double bound; /* its elements are at most about so large */
} random_value_of;

typedef struct random_pool {
    random_value_of item[RANDOM_POOL];
    uint32_t n;
} random_pool;

typedef struct random_builder {
    fl_graph *g;
    uint64_t state;
    fl_dim batch;
    fl_id ids, label;
    int64_t slots, rows;
    random_pool rows2, cubes; /* float[batch,n]; float[batch,S,K] */
    random_pool weights;      /* float[n], trained */
    int64_t next_key;
} random_builder;

static inline uint64_t random_bits(random_builder *b)
{
    b->state += 0x9e3779b97f4a7c15u;
    return fl_mix64(b->state);
}

/* 0 .. n - 1 */
static inline uint32_t random_below(random_builder *b, uint32_t n)
{
    return (uint32_t)(random_bits(b) % n);
}

static inline bool random_chance(random_builder *b, uint32_t percent)
{
    return random_below(b, 100) < percent;
}

static inline void random_keep(random_pool *p, fl_id v, double bound)
{
    if (v != FL_NONE && p->n < RANDOM_POOL)
        p->item[p->n++] = (random_value_of){v, bound};
}

/* Later values are likelier, so that graphs grow deep as well as wide. */
static inline random_value_of random_pick(random_builder *b, const random_pool *p)
{
    uint32_t i = random_below(b, p->n), j = random_below(b, p->n);
    return p->item[i > j ? i : j];
}

static inline int64_t random_columns(const random_builder *b, fl_id v)
{
    return fl_value_type(b->g, v)->dims[fl_value_type(b->g, v)->rank - 1];
}

static inline fl_id random_parameter(random_builder *b, const char *base, int rank, const fl_dim *dims, bool table)
{
    static const fl_rule rules[] = {
        {.kind = FL_RULE_SGD, .lr = 0.1},
        {.kind = FL_RULE_MOMENTUM, .lr = 0.1, .momentum = 0.9},
        {.kind = FL_RULE_ADAGRAD, .lr = 0.05, .epsilon = 1e-6, .initial_accumulator = 0.1},
        {.kind = FL_RULE_ROWWISE_ADAGRAD, .lr = 0.05, .epsilon = 1e-6, .initial_accumulator = 0.1},
        {.kind = FL_RULE_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-6},
        {.kind = FL_RULE_FTRL, .lr = 0.1, .beta = 1, .l1 = 0.01, .l2 = 0.1},
    };
    fl_id v = fl_graph_variable(b->g, fl_graph_fresh_name(b->g, base), fl_type_make(FL_FLOAT, rank, dims));
    fl_graph_param(b->g, (fl_param){.variable = v, .rule = rules[random_below(b, FL_COUNT(rules))], .lr_scale = random_chance(b, 20) ? 2 : 1,
                                    .l2 = random_chance(b, 20) ? 0.01 : 0, .row_sparse = table, .init = FL_INIT_NORMAL, .init_b = 0.1});
    return v;
}

/* ------------------------------------------------------------------------------------------------------ rows2 nodes */

static inline void random_unary(random_builder *b)
{
    static const fl_op ops[] = {FL_OP_NEG, FL_OP_ABS, FL_OP_SIGMOID, FL_OP_TANH, FL_OP_RELU, FL_OP_SOFTPLUS, FL_OP_IDENTITY, FL_OP_RELU};
    random_value_of x = random_pick(b, &b->rows2);
    fl_op op = ops[random_below(b, FL_COUNT(ops))];
    if (x.bound > 100)
        op = FL_OP_TANH;
    bool squeezes = op == FL_OP_SIGMOID || op == FL_OP_TANH;
    random_keep(&b->rows2, fl_build_1(b->g, op, "u", x.v), squeezes ? 1 : x.bound + 1);
    if (squeezes && random_chance(b, 20))
        random_keep(&b->rows2, fl_build_1(b->g, FL_OP_EXP, "exp", b->rows2.item[b->rows2.n - 1].v), 3);
}

/* A partner that x can meet: the same width, a weight, one column, or a number. */
static inline random_value_of random_partner(random_builder *b, random_value_of x)
{
    int64_t n = random_columns(b, x.v);
    for (int tries = 0; tries < 8; tries++) {
        random_value_of y = random_pick(b, &b->rows2);
        int64_t m = random_columns(b, y.v);
        if (m == n || m == 1)
            return y;
    }
    if (random_chance(b, 50))
        return (random_value_of){random_parameter(b, "w", 1, &(fl_dim){n}, false), 1};
    static const double numbers[] = {0, 1, 2, -1, 0.5};
    return (random_value_of){fl_build_scalar(b->g, "c", numbers[random_below(b, FL_COUNT(numbers))]), 2};
}

static inline void random_binary(random_builder *b)
{
    static const fl_op ops[] = {FL_OP_ADD, FL_OP_SUB, FL_OP_MUL, FL_OP_ADD, FL_OP_MUL, FL_OP_MAX, FL_OP_MIN, FL_OP_DIV, FL_OP_WHERE, FL_OP_SUM};
    random_value_of x = random_pick(b, &b->rows2), y = random_partner(b, x);
    fl_op op = ops[random_below(b, FL_COUNT(ops))];
    if (op == FL_OP_MUL && x.bound * y.bound > 1000)
        op = FL_OP_ADD;
    if (op == FL_OP_DIV) { /* by what is at least 1/2 */
        fl_id one = fl_build_scalar(b->g, "c", 0.5);
        y.v = fl_build_2(b->g, FL_OP_ADD, "held", fl_build_1(b->g, FL_OP_ABS, "abs", y.v), one);
        y.bound = 2;
    }
    if (op == FL_OP_WHERE) {
        fl_id larger = fl_build_2(b->g, FL_OP_GREATER, "larger", x.v, y.v);
        random_keep(&b->rows2, fl_build_n(b->g, FL_OP_WHERE, "where", (fl_id[]){larger, x.v, y.v}, 3), x.bound + y.bound);
        return;
    }
    fl_id in[3] = {x.v, y.v, x.v};
    bool swap = random_chance(b, 30) && op != FL_OP_DIV;
    if (swap) {
        in[0] = y.v;
        in[1] = x.v;
    }
    double bound = op == FL_OP_MUL || op == FL_OP_DIV ? x.bound * y.bound : 2 * x.bound + y.bound;
    fl_id z = fl_build_n(b->g, op, "z", in, op == FL_OP_SUM ? 3 : 2);
    if (random_chance(b, 20)) /* an equal node for cse to find; Add and Mul in either order */
        z = fl_build_2(b->g, FL_OP_ADD, "twice", z, fl_build_n(b->g, op, "z", in, op == FL_OP_SUM ? 3 : 2));
    random_keep(&b->rows2, z, 2 * bound);
}

static inline void random_product(random_builder *b)
{
    random_value_of x = random_pick(b, &b->rows2);
    int64_t n = random_columns(b, x.v), h = 1 + random_below(b, 6);
    bool transposed = random_chance(b, 20);
    fl_id w = random_parameter(b, "w", 2, transposed ? (fl_dim[]){h, n} : (fl_dim[]){n, h}, false), y;
    if (transposed || random_chance(b, 20)) {
        fl_id in[3] = {x.v, w, random_chance(b, 50) ? random_parameter(b, "b", 1, &(fl_dim){h}, false) : FL_NONE};
        fl_id node = fl_node_new(b->g, FL_OP_GEMM, "gemm", in, in[2] == FL_NONE ? 2 : 3, 1);
        fl_node_set_int(b->g, node, "transB", transposed);
        if (random_chance(b, 20))
            fl_node_set_float(b->g, node, "alpha", 0.5);
        fl_build_infer(b->g, node);
        y = fl_node_out(b->g, node, 0);
    } else {
        y = fl_build_2(b->g, FL_OP_MATMUL, "product", x.v, w);
        if (random_chance(b, 60))
            y = fl_build_2(b->g, FL_OP_ADD, "sum", y, random_parameter(b, "b", 1, &(fl_dim){h}, false));
    }
    double bound = x.bound * (double)n + 1;
    if (bound > 100 || random_chance(b, 60)) {
        y = fl_build_1(b->g, bound > 100 ? FL_OP_TANH : FL_OP_RELU, "act", y);
        bound = bound > 100 ? 1 : bound;
    }
    random_keep(&b->rows2, y, bound);
}

static inline fl_id random_batch_norm(random_builder *b, fl_id x)
{
    fl_dim n = random_columns(b, x);
    fl_id in[5] = {x, random_parameter(b, "gamma", 1, &n, false), random_parameter(b, "beta", 1, &n, false)};
    static const char *const names[] = {"bn.running_mean", "bn.running_var"};
    for (int k = 0; k < 2; k++) {
        const char *name = fl_arena_printf(&b->g->arena, "%u_%s", b->g->n_values, names[k]);
        in[3 + k] = fl_graph_variable(b->g, name ? name : "", fl_type_make(FL_FLOAT, 1, &n));
        fl_graph_param(b->g, (fl_param){.variable = in[3 + k], .lr_scale = 1, .init = FL_INIT_CONSTANT, .init_a = k});
    }
    fl_id node = fl_node_new(b->g, FL_OP_BATCH_NORM, "bn", in, 5, 1);
    fl_node_set_float(b->g, node, "epsilon", 1e-2);
    fl_node_set_float(b->g, node, "momentum", 0.9);
    fl_node_set_string(b->g, node, "single_row", random_chance(b, 50) ? "normalise" : "pass");
    fl_build_infer(b->g, node);
    return fl_node_out(b->g, node, 0);
}

static inline void random_layer(random_builder *b)
{
    random_value_of x = random_pick(b, &b->rows2);
    if (random_chance(b, 50)) {
        random_keep(&b->rows2, random_batch_norm(b, x.v), 12);
        return;
    }
    fl_id node = fl_node_new(b->g, FL_OP_DROPOUT, "drop", &x.v, 1, 1);
    fl_node_set_float(b->g, node, "rate", random_chance(b, 10) ? 0 : 0.3);
    fl_node_set_string(b->g, node, "style", random_chance(b, 50) ? "upscale_in_train" : "downscale_in_infer");
    fl_node_set_int(b->g, node, "key", b->next_key++);
    fl_build_infer(b->g, node);
    random_keep(&b->rows2, fl_node_out(b->g, node, 0), 2 * x.bound);
}

static inline void random_shape_change(random_builder *b)
{
    random_value_of x = random_pick(b, &b->rows2), y = random_pick(b, &b->rows2);
    int64_t n = random_columns(b, x.v);
    switch (random_below(b, 5)) {
    case 0:
        random_keep(&b->rows2, fl_build_concat(b->g, "join", (fl_id[]){x.v, y.v}, 2, random_chance(b, 50) ? 1 : -1), x.bound + y.bound);
        return;
    case 1: {
        int64_t first = 1 + random_below(b, (uint32_t)n), sizes[2] = {first, n - first};
        fl_id out[2];
        if (first == n)
            return;
        fl_build_split(b->g, "part", x.v, 1, sizes, 2, out);
        random_keep(&b->rows2, out[0], x.bound);
        random_keep(&b->rows2, out[1], x.bound);
        return;
    }
    case 2:
        random_keep(&b->rows2, fl_build_reduce_sum(b->g, "total", x.v, (int64_t[]){1}, 1, true), x.bound * (double)n);
        return;
    case 3:
        random_keep(&b->rows2, fl_build_reshape(b->g, "same", x.v, (int64_t[]){0, -1}, 2), x.bound);
        return;
    default: {
        fl_id column = fl_build_reduce_sum(b->g, "column", x.v, (int64_t[]){1}, 1, false);
        random_keep(&b->rows2, fl_build_2(b->g, FL_OP_UNSQUEEZE, "column", column, fl_build_ints(b->g, "axes", (int64_t[]){1}, 1)),
                    x.bound * (double)n);
    }
    }
}

/* ------------------------------------------------------------------------------------------------------ look-ups */

static inline fl_id random_table(random_builder *b, int64_t k)
{
    return random_parameter(b, "table", 2, (fl_dim[]){b->rows, k}, true);
}

/* Sums, and sums of squares, over groups of slots, and the products of the groups: as the blocks of the frontend write them, or nearly so. */
static inline void random_interaction(random_builder *b, fl_id e)
{
    fl_graph *g = b->g;
    enum { MOST = 8 };
    int64_t sizes[MOST], left = b->slots;
    uint32_t m = 0;
    fl_id part[MOST], f[MOST], h = FL_NONE;
    while (left > 0 && m < MOST) {
        sizes[m] = m + 1 == MOST ? left : 1 + random_below(b, (uint32_t)left);
        left -= sizes[m++];
    }
    if (m > 1)
        fl_build_split(g, "field", e, 1, sizes, m, part);
    else
        part[0] = e;
    for (uint32_t i = 0; i < m; i++) {
        f[i] = fl_build_reduce_sum(g, "f", part[i], (int64_t[]){1}, 1, false);
        random_keep(&b->rows2, f[i], 4);
        if (!random_chance(b, 60))
            continue;
        fl_id q = fl_build_reduce_sum(g, "q", fl_build_2(g, FL_OP_MUL, "squared", part[i], part[i]), (int64_t[]){1}, 1, false);
        fl_id term = fl_build_2(g, FL_OP_SUB, "second", fl_build_2(g, FL_OP_MUL, "f2", f[i], f[i]), q);
        term = random_chance(b, 50) ? fl_build_2(g, FL_OP_MUL, "term", term, random_parameter(b, "r", 1, &(fl_dim){1}, false)) : term;
        h = h == FL_NONE ? term : fl_build_2(g, FL_OP_ADD, "h", h, term);
    }
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = i + 1; j < m; j++) {
            if (random_chance(b, 10)) /* a pair that is left out */
                continue;
            fl_id pair = fl_build_2(g, FL_OP_MUL, "pair", f[random_chance(b, 5) ? i : j], f[i]);
            pair = random_chance(b, 70) ? fl_build_2(g, FL_OP_MUL, "term", pair, random_parameter(b, "r", 1, &(fl_dim){1}, false)) : pair;
            h = h == FL_NONE ? pair : fl_build_2(g, FL_OP_ADD, "h", h, pair);
        }
    random_keep(&b->rows2, h, 100);
}

static inline void random_look_up(random_builder *b)
{
    fl_graph *g = b->g;
    int64_t k = 1 + random_below(b, 5);
    switch (random_below(b, 4)) {
    case 0: {
        fl_id in[3] = {random_table(b, k), fl_graph_find(g, "tags.values"), fl_graph_find(g, "tags.offsets")};
        if (in[1] == FL_NONE) {
            fl_dim n = fl_graph_symbol(g, "tags.count"), ends = fl_graph_symbol(g, "tags.offsets");
            in[1] = fl_graph_input(g, "tags.values", fl_type_make(FL_INT64, 1, &n));
            in[2] = fl_graph_input(g, "tags.offsets", fl_type_make(FL_INT64, 1, &ends));
        }
        fl_id node = fl_node_new(g, FL_OP_EMBEDDING_BAG, "bag", in, 3, 1);
        fl_node_set_string(g, node, "mode", random_chance(b, 50) ? "sum" : "mean");
        fl_build_infer(g, node);
        /* its rows are those of the offsets less one, which the types cannot say is the batch: it stays an output of its own */
        fl_graph_output(g, fl_node_out(g, node, 0));
        return;
    }
    case 1: {
        fl_id node = fl_node_new(g, FL_OP_FIELD_POOL, "pool", (fl_id[]){random_table(b, k), b->ids}, 2, 2);
        fl_node_set_ints(g, node, "fields", (int64_t[]){1, b->slots - 1}, 2);
        fl_build_infer(g, node);
        random_keep(&b->rows2, fl_node_out(g, node, 0), 1);
        random_keep(&b->rows2, fl_node_out(g, node, 1), 4);
        return;
    }
    default: {
        fl_id e = fl_build_2(g, FL_OP_GATHER, "e", random_table(b, k), b->ids);
        random_keep(&b->cubes, e, 1);
        random_interaction(b, e);
        if (random_chance(b, 50))
            random_keep(&b->rows2, fl_build_reshape(g, "flat", e, (int64_t[]){0, b->slots * k}, 2), 1);
    }
    }
}

/* ---------------------------------------------------------------------------------------------------- the whole */

static inline void random_constants(random_builder *b)
{
    fl_graph *g = b->g;
    random_value_of x = random_pick(b, &b->rows2);
    int64_t n = random_columns(b, x.v);
    float values[64];
    for (int64_t i = 0; i < n && i < 64; i++)
        values[i] = (float)random_below(b, 5) - 2;
    if (n > 64)
        return;
    fl_id c = fl_graph_constant(g, fl_graph_fresh_name(g, "constant"), fl_type_make(FL_FLOAT, 1, (fl_dim[]){n}), values);
    fl_id two = fl_build_scalar(g, "two", 2);
    c = fl_build_2(g, FL_OP_MUL, "scaled", fl_build_2(g, FL_OP_ADD, "shifted", c, two), two);
    random_keep(&b->rows2, fl_build_2(g, FL_OP_ADD, "with_constant", x.v, c), x.bound + 8);
}

static inline void random_ending(random_builder *b)
{
    fl_graph *g = b->g;
    fl_id last[3];
    for (int i = 0; i < 3; i++)
        last[i] = random_pick(b, &b->rows2).v;
    fl_id all = fl_build_1(g, FL_OP_TANH, "all", fl_build_concat(g, "joined", last, 3, 1));
    fl_id logit = fl_build_2(g, FL_OP_MATMUL, "logit", all, random_parameter(b, "out.w", 2, (fl_dim[]){random_columns(b, all), 1}, false));
    fl_id node = fl_node_new(g, FL_OP_LOG_LOSS, "row_loss", (fl_id[]){logit, b->label}, 2, 1);
    fl_node_set_string(g, node, "kind", "bce");
    fl_node_set_float(g, node, "epsilon", 0);
    fl_build_infer(g, node);
    fl_id in[2] = {fl_node_out(g, node, 0), fl_build_ints(g, "axes", (int64_t[]){0, 1}, 2)};
    fl_id mean = fl_node_new(g, FL_OP_REDUCE_MEAN, "loss", in, 2, 1);
    fl_node_set_int(g, mean, "keepdims", 0);
    fl_build_infer(g, mean);
    fl_graph_output(g, logit);
    fl_graph_output(g, fl_build_1(g, FL_OP_SIGMOID, "probability", logit));
    fl_graph_output(g, fl_node_out(g, mean, 0));
}

/* About `size` nodes. NULL if out of memory. */
static inline fl_graph *random_graph(uint64_t seed, uint32_t size)
{
    static void (*const makers[])(random_builder *) = {random_unary,        random_binary,  random_binary, random_product, random_layer,
                                                       random_shape_change, random_look_up, random_binary, random_constants};
    random_builder b = {.g = fl_graph_new("random"), .state = seed * 2654435761u + 1};
    if (!b.g)
        return NULL;
    b.batch = fl_graph_symbol(b.g, "batch");
    b.slots = 2 + random_below(&b, 6);
    b.rows = 7 + random_below(&b, 20);
    b.ids = fl_graph_input(b.g, "ids", fl_type_make(FL_INT64, 2, (fl_dim[]){b.batch, b.slots}));
    b.label = fl_graph_input(b.g, "label", fl_type_make(FL_FLOAT, 2, (fl_dim[]){b.batch, 1}));
    random_keep(&b.rows2, fl_graph_input(b.g, "dense", fl_type_make(FL_FLOAT, 2, (fl_dim[]){b.batch, 3})), 1);
    random_look_up(&b);
    while (b.g->n_nodes < size && !b.g->arena.failed)
        makers[random_below(&b, FL_COUNT(makers))](&b);
    random_ending(&b);
    if (b.g->arena.failed) {
        fl_graph_free(b.g);
        return NULL;
    }
    return b.g;
}

#endif
