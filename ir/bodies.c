/*
 * bodies.c -- operators of domain ai.flen in standard operators; ir/README.md in another language, so each body follows the words there and
 * not how we compute. tests/unit/test_bodies.c holds each against the interpreter's kernel.
 */
#include "ir/bodies.h"

#include "ir/shape.h"

#include <string.h>

/* One body under way: `b` is the new graph, in[] its inputs by operand of the node (FL_NONE: left out). */
typedef struct body {
    const fl_graph *g; /* of the node */
    fl_id node;
    fl_graph *b;
    fl_id *in;
    uint32_t n_in;
} body;

static fl_id op1(const body *x, fl_op op, const char *base, fl_id a)
{
    return fl_build_1(x->b, op, base, a);
}

static fl_id op2(const body *x, fl_op op, const char *base, fl_id a, fl_id c)
{
    return fl_build_2(x->b, op, base, a, c);
}

static fl_id number(const body *x, const char *base, double f)
{
    return fl_build_scalar(x->b, base, f);
}

static fl_id ints(const body *x, const char *base, int64_t i)
{
    return fl_build_ints(x->b, base, &i, 1);
}

static fl_id cast(const body *x, const char *base, fl_id v, fl_dtype to)
{
    fl_id node = fl_node_new(x->b, FL_OP_CAST, base, &v, 1, 1);
    fl_node_set_int(x->b, node, "to", to);
    fl_build_infer(x->b, node);
    return fl_node_out(x->b, node, 0);
}

static fl_id sum_over_slots(const body *x, const char *base, fl_id v)
{
    return fl_build_reduce_sum(x->b, base, v, (int64_t[]){1}, 1, false);
}

static double real(const body *x, const char *attribute, double otherwise)
{
    return fl_node_float(x->g, x->node, attribute, otherwise);
}

static bool says(const body *x, const char *attribute, const char *otherwise, const char *word)
{
    return strcmp(fl_node_string(x->g, x->node, attribute, otherwise), word) == 0;
}

static const fl_attr *fields_of(const fl_graph *g, fl_id node)
{
    const fl_attr *a = fl_node_attr(g, node, "fields");
    return a && a->kind == FL_ATTR_INTS && a->n > 0 ? a : NULL;
}

/* ------------------------------------------------------------------------------------------------ CTR layers */

static bool body_field_pool(const body *x)
{
    const fl_attr *fields = fields_of(x->g, x->node);
    bool squares = fl_node_int(x->g, x->node, "squares", 0) != 0;
    fl_id *part = fl_arena_new(&x->b->arena, fl_id, fields ? fields->n : 1);
    if (!fields || !part)
        return false;
    fl_id e = op2(x, FL_OP_GATHER, "e", x->in[0], x->in[1]);
    fl_build_split(x->b, "part", e, 1, fields->as.ints, fields->n, part);
    for (uint32_t m = 0; m < fields->n; m++)
        fl_graph_output(x->b, sum_over_slots(x, "f", part[m]));
    for (uint32_t m = 0; squares && m < fields->n; m++)
        fl_graph_output(x->b, sum_over_slots(x, "q", op2(x, FL_OP_MUL, "square", part[m], part[m])));
    return true;
}

static bool body_table_pool(const body *x)
{
    const fl_attr *fields = fields_of(x->g, x->node);
    uint32_t tables = x->n_in / 2u;
    bool squares = fl_node_int(x->g, x->node, "squares", 0) != 0;
    fl_id *part = fl_arena_new(&x->b->arena, fl_id, fields ? fields->n : 1), *e = fl_arena_new(&x->b->arena, fl_id, tables);
    if (!fields || !part || !e)
        return false;
    for (uint32_t k = 0; k < tables; k++) {
        e[k] = op2(x, FL_OP_GATHER, "e", x->in[2 * k], x->in[2 * k + 1]);
        if (fl_value_type(x->b, x->in[2 * k + 1])->rank == 1)
            e[k] = op2(x, FL_OP_UNSQUEEZE, "column", e[k], ints(x, "axis", 1));
    }
    fl_id all = tables == 1 ? e[0] : fl_build_concat(x->b, "columns", e, tables, 1);
    fl_build_split(x->b, "part", all, 1, fields->as.ints, fields->n, part);
    for (uint32_t m = 0; m < fields->n; m++)
        fl_graph_output(x->b, sum_over_slots(x, "f", part[m]));
    for (uint32_t m = 0; squares && m < fields->n; m++)
        fl_graph_output(x->b, sum_over_slots(x, "q", op2(x, FL_OP_MUL, "square", part[m], part[m])));
    return true;
}

/* The elements of a vector, each [1]. */
static fl_id *elements(const body *x, const char *base, fl_id vector, uint32_t n)
{
    fl_id *out = fl_arena_new(&x->b->arena, fl_id, n + 1u);
    int64_t *sizes = fl_arena_new(&x->b->arena, int64_t, n + 1u);
    for (uint32_t k = 0; out && sizes && k < n; k++)
        sizes[k] = 1;
    if (out && sizes && vector != FL_NONE)
        fl_build_split(x->b, base, vector, 0, sizes, n, out);
    return sizes ? out : NULL;
}

static fl_id plus(const body *x, fl_id sum, fl_id term)
{
    return sum == FL_NONE ? term : op2(x, FL_OP_ADD, "h", sum, term);
}

static bool body_field_interaction(const body *x)
{
    uint32_t m = x->n_in / 2u - 1, pair = 0;
    if (x->n_in < 4 || x->n_in != 2 + 2 * m || fl_node_int(x->g, x->node, "fields", 0) != m)
        return false;
    const fl_id *f = x->in + 2, *q = f + m;
    const fl_id *r_mf = elements(x, "r_mf_part", x->in[0], m * (m - 1) / 2), *r_fm = elements(x, "r_fm_part", x->in[1], m);
    fl_id h = FL_NONE;
    if (!r_mf || !r_fm)
        return false;
    for (uint32_t i = 0; x->in[0] != FL_NONE && i < m; i++)
        for (uint32_t j = i + 1; j < m; j++)
            h = plus(x, h, op2(x, FL_OP_MUL, "term", op2(x, FL_OP_MUL, "pair", f[i], f[j]), r_mf[pair++]));
    for (uint32_t i = 0; x->in[1] != FL_NONE && i < m; i++) {
        if (q[i] == FL_NONE)
            continue;
        fl_id second = op2(x, FL_OP_SUB, "second_order", op2(x, FL_OP_MUL, "square", f[i], f[i]), q[i]);
        h = plus(x, h, op2(x, FL_OP_MUL, "term", second, r_fm[i]));
    }
    if (h == FL_NONE) /* no term at all: zero of the fields' shape */
        h = op2(x, FL_OP_SUB, "h", f[0], f[0]);
    fl_graph_output(x->b, h);
    return true;
}

/*
 * Row b of the matrix `member` has 1 where a value stands in bag b, so that member * rows sums them; a standard operator that sums
 * segments does not exist.
 */
static bool body_dot_interaction(const body *x)
{
    const fl_attr *first = fl_node_attr(x->g, x->node, "first"), *second = fl_node_attr(x->g, x->node, "second");
    if (!first || !second || first->kind != FL_ATTR_INTS || second->kind != FL_ATTR_INTS)
        return false;
    fl_id side[2];
    for (int k = 0; k < 2; k++) {
        const fl_attr *a = k ? second : first;
        fl_id in[2] = {x->in[0], fl_build_ints(x->b, k ? "second" : "first", a->as.ints, a->n)};
        fl_id node = fl_node_new(x->b, FL_OP_GATHER, k ? "right" : "left", in, 2, 1);
        fl_node_set_int(x->b, node, "axis", 1);
        fl_build_infer(x->b, node);
        side[k] = fl_node_out(x->b, node, 0);
    }
    fl_graph_output(x->b, fl_build_reduce_sum(x->b, "y", op2(x, FL_OP_MUL, "product", side[0], side[1]), (int64_t[]){2}, 1, false));
    return true;
}

static bool body_embedding_bag(const body *x)
{
    bool mean = says(x, "mode", "sum", "mean");
    fl_id rows = op2(x, FL_OP_GATHER, "rows", x->in[0], x->in[1]), zero = ints(x, "zero", 0), one = ints(x, "one", 1);
    fl_id ones = op2(x, FL_OP_EXPAND, "ones", one, op1(x, FL_OP_SHAPE, "count", x->in[1]));
    fl_id places = fl_node_new(x->b, FL_OP_CUM_SUM, "place", (fl_id[]){ones, zero}, 2, 1);
    fl_node_set_int(x->b, places, "exclusive", 1);
    fl_build_infer(x->b, places);
    fl_id place = fl_node_out(x->b, places, 0), last = ints(x, "last", -1), end = ints(x, "end", INT64_MAX);
    fl_id start = fl_build_n(x->b, FL_OP_SLICE, "start", (fl_id[]){x->in[2], zero, last, zero}, 4);
    fl_id stop = fl_build_n(x->b, FL_OP_SLICE, "stop", (fl_id[]){x->in[2], one, end, zero}, 4);
    fl_id start_column = op2(x, FL_OP_UNSQUEEZE, "start_column", start, one), stop_column = op2(x, FL_OP_UNSQUEEZE, "stop_column", stop, one);
    fl_id inside = op2(x, FL_OP_AND, "inside", op2(x, FL_OP_LESS_OR_EQUAL, "after", start_column, place), op2(x, FL_OP_LESS, "before", place, stop_column));
    fl_id y = op2(x, FL_OP_MATMUL, "y", cast(x, "member", inside, FL_FLOAT), rows);
    if (mean) {
        fl_id length = cast(x, "length", op2(x, FL_OP_SUB, "values_of_bag", stop_column, start_column), FL_FLOAT);
        y = op2(x, FL_OP_DIV, "y", y, op2(x, FL_OP_MAX, "divisor", length, number(x, "least", 1)));
    }
    fl_graph_output(x->b, y);
    return mean || says(x, "mode", "sum", "sum");
}

static bool body_linear(const body *x)
{
    bool relu = says(x, "activation", "none", "relu");
    fl_id y = op2(x, FL_OP_MATMUL, "y", x->in[0], x->in[1]);
    if (x->n_in > 2 && x->in[2] != FL_NONE)
        y = op2(x, FL_OP_ADD, "y", y, x->in[2]);
    fl_graph_output(x->b, relu ? op1(x, FL_OP_RELU, "y", y) : y);
    return relu || says(x, "activation", "none", "none");
}

/* ----------------------------------------------------------------------------------------------------- losses */

static fl_id neg(const body *x, fl_id v)
{
    return op1(x, FL_OP_NEG, "minus", v);
}

/* 1 - v */
static fl_id but(const body *x, fl_id v)
{
    return op2(x, FL_OP_SUB, "but", number(x, "one", 1), v);
}

/* ln p and ln(1-p) of a logit, without overflow. */
static fl_id log_p(const body *x)
{
    return neg(x, op1(x, FL_OP_SOFTPLUS, "softplus", neg(x, x->in[0])));
}

static fl_id log_but_p(const body *x)
{
    return neg(x, op1(x, FL_OP_SOFTPLUS, "softplus", x->in[0]));
}

/* -y a - (1-y) c */
static fl_id crossed(const body *x, fl_id a, fl_id c)
{
    fl_id y = x->in[1];
    return op2(x, FL_OP_SUB, "loss", op2(x, FL_OP_MUL, "clicked", neg(x, y), a), op2(x, FL_OP_MUL, "passed", but(x, y), c));
}

static bool body_log_loss(const body *x)
{
    fl_id z = x->in[0], y = x->in[1], loss;
    if (says(x, "kind", "bce", "bce")) {
        fl_id hinge = op2(x, FL_OP_SUB, "hinge", op1(x, FL_OP_RELU, "positive", z), op2(x, FL_OP_MUL, "product", z, y));
        loss = op2(x, FL_OP_ADD, "loss", hinge, op1(x, FL_OP_SOFTPLUS, "softplus", neg(x, op1(x, FL_OP_ABS, "magnitude", z))));
    } else if (says(x, "kind", "bce", "paddle_log_loss")) {
        fl_id p = op1(x, FL_OP_SIGMOID, "p", z), epsilon = number(x, "epsilon", real(x, "epsilon", 1e-4));
        loss = crossed(x, op1(x, FL_OP_LOG, "log_p", op2(x, FL_OP_ADD, "held", p, epsilon)),
                       op1(x, FL_OP_LOG, "log_but_p", op2(x, FL_OP_ADD, "held", but(x, p), epsilon)));
    } else if (says(x, "kind", "bce", "bce_clamped")) {
        fl_id least = number(x, "least", -100);
        loss = crossed(x, op2(x, FL_OP_MAX, "log_p", log_p(x), least), op2(x, FL_OP_MAX, "log_but_p", log_but_p(x), least));
    } else {
        return false;
    }
    fl_graph_output(x->b, loss);
    return true;
}

static bool body_log_loss_grad(const body *x)
{
    fl_id y = x->in[1], p = op1(x, FL_OP_SIGMOID, "p", x->in[0]), d;
    if (says(x, "kind", "bce", "bce")) {
        d = op2(x, FL_OP_SUB, "d", p, y);
    } else if (says(x, "kind", "bce", "paddle_log_loss")) {
        fl_id epsilon = number(x, "epsilon", real(x, "epsilon", 1e-4));
        fl_id clicked = op2(x, FL_OP_DIV, "clicked", neg(x, y), op2(x, FL_OP_ADD, "held", p, epsilon));
        fl_id passed = op2(x, FL_OP_DIV, "passed", but(x, y), op2(x, FL_OP_ADD, "held", but(x, p), epsilon));
        d = op2(x, FL_OP_MUL, "d", op2(x, FL_OP_MUL, "slope", p, but(x, p)), op2(x, FL_OP_ADD, "both", clicked, passed));
    } else if (says(x, "kind", "bce", "bce_clamped")) {
        fl_id least = number(x, "least", -100), zero = number(x, "zero", 0);
        fl_id clicked = op2(x, FL_OP_MUL, "clicked", y, op2(x, FL_OP_SUB, "slope", p, number(x, "one", 1)));
        fl_id passed = op2(x, FL_OP_MUL, "passed", but(x, y), p);
        clicked = fl_build_n(x->b, FL_OP_WHERE, "clicked", (fl_id[]){op2(x, FL_OP_LESS, "is_held", log_p(x), least), zero, clicked}, 3);
        passed = fl_build_n(x->b, FL_OP_WHERE, "passed", (fl_id[]){op2(x, FL_OP_LESS, "is_held", log_but_p(x), least), zero, passed}, 3);
        d = op2(x, FL_OP_ADD, "d", clicked, passed);
    } else {
        return false;
    }
    fl_graph_output(x->b, d);
    return true;
}

/* --------------------------------------------------------------------------------------- layers with a mode */

/* What they mean while no pass has decided: inference. */
static bool body_batch_norm(const body *x)
{
    fl_id node = fl_node_new(x->b, FL_OP_BATCH_NORMALIZATION, "y", x->in, 5, 1);
    fl_node_set_float(x->b, node, "epsilon", real(x, "epsilon", 1e-5));
    fl_build_infer(x->b, node);
    fl_graph_output(x->b, fl_node_out(x->b, node, 0));
    return true;
}

static bool body_masked_dropout(const body *x)
{
    if (says(x, "style", "upscale_in_train", "downscale_in_infer"))
        fl_graph_output(x->b, op2(x, FL_OP_MUL, "y", x->in[0], number(x, "kept", 1 - real(x, "rate", 0))));
    else
        fl_graph_output(x->b, op1(x, FL_OP_IDENTITY, "y", x->in[0]));
    return says(x, "style", "upscale_in_train", "upscale_in_train") || says(x, "style", "upscale_in_train", "downscale_in_infer");
}

/* ------------------------------------------------------------------------------------------------------ names */

static const char *named(fl_arena *arena, const char *so_far, const char *word)
{
    return so_far ? fl_arena_printf(arena, "%s_%s", so_far, word) : NULL;
}

/* A number that the body has inside, as the bits of a float: a name has neither point nor sign. */
static const char *named_float(fl_arena *arena, const char *so_far, double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return so_far ? fl_arena_printf(arena, "%s_%08x", so_far, bits) : NULL;
}

static const char *name_field_pool(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_attr *fields = fields_of(g, node);
    if (!fields)
        return NULL;
    for (uint32_t m = 0; name && m < fields->n; m++)
        name = fl_arena_printf(arena, "%s_%lld", name, (long long)fields->as.ints[m]);
    return fl_node_int(g, node, "squares", 0) ? named(arena, name, "squares") : name;
}

/* A letter for each table: its index is a vector or a matrix. */
static const char *name_table_pool(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_node *n = &g->nodes[node];
    char *letters = fl_arena_new(arena, char, n->n_in / 2u + 1u);
    if (!letters)
        return NULL;
    for (uint32_t k = 0; k < n->n_in / 2u; k++)
        letters[k] = fl_value_type(g, n->in[2 * k + 1])->rank == 1 ? 'v' : 'm';
    name = named(arena, name, letters);
    return name ? name_field_pool(g, node, arena, name) : NULL;
}

/* The lists are long: a hash of them, and how many they are. */
static const char *name_dot_interaction(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_attr *first = fl_node_attr(g, node, "first"), *second = fl_node_attr(g, node, "second");
    if (!first || !second || first->kind != FL_ATTR_INTS || second->kind != FL_ATTR_INTS)
        return NULL;
    uint64_t hash = fl_hash_bytes(first->as.ints, first->n * sizeof *first->as.ints, 0);
    hash = fl_hash_bytes(second->as.ints, second->n * sizeof *second->as.ints, hash);
    return fl_arena_printf(arena, "%s_%u_%016llx", name, first->n, (unsigned long long)hash);
}

static const char *name_field_interaction(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_node *n = &g->nodes[node];
    uint32_t m = n->n_in / 2u - 1;
    name = fl_arena_printf(arena, "%s_%u", name, m);
    if (n->in[0] != FL_NONE)
        name = named(arena, name, "mf");
    if (n->in[1] == FL_NONE)
        return name;
    name = named(arena, name, "fm");
    for (uint32_t i = 0; name && i < m && 2 + m + i < n->n_in; i++)
        if (n->in[2 + m + i] != FL_NONE)
            name = fl_arena_printf(arena, "%s_%u", name, i);
    return name;
}

static const char *name_loss(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const char *kind = fl_node_string(g, node, "kind", "bce");
    name = named(arena, name, kind);
    return strcmp(kind, "paddle_log_loss") == 0 ? named_float(arena, name, fl_node_float(g, node, "epsilon", 1e-4)) : name;
}

static const char *name_linear(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_node *n = &g->nodes[node];
    name = named(arena, name, fl_node_string(g, node, "activation", "none"));
    return n->n_in > 2 && n->in[2] != FL_NONE ? named(arena, name, "bias") : name;
}

static const char *name_dropout(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    const fl_node *n = &g->nodes[node];
    name = named(arena, name, fl_node_string(g, node, "style", "upscale_in_train"));
    name = named_float(arena, name, fl_node_float(g, node, "rate", 0));
    return n->n_in > 1 && n->in[1] != FL_NONE ? named(arena, name, "mask") : name;
}

static const char *name_bag(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    return named(arena, name, fl_node_string(g, node, "mode", "sum"));
}

static const char *name_batch_norm(const fl_graph *g, fl_id node, fl_arena *arena, const char *name)
{
    return named_float(arena, name, fl_node_float(g, node, "epsilon", 1e-5));
}

/* ------------------------------------------------------------------------------------------------------ table */

typedef struct entry {
    fl_op op;
    bool (*build)(const body *x); /* false: an attribute has no meaning */
    const char *(*name)(const fl_graph *g, fl_id node, fl_arena *arena, const char *name);
    const char *attributes[5];
    const char *operands[5]; /* formal names; the last with a name is repeated with a number */
} entry;

static const entry entries[] = {
    {FL_OP_FIELD_POOL, body_field_pool, name_field_pool, {"fields", "squares"}, {"data", "index"}},
    {FL_OP_TABLE_POOL, body_table_pool, name_table_pool, {"fields", "squares"}, {"data", "index"}},
    {FL_OP_FIELD_INTERACTION, body_field_interaction, name_field_interaction, {"fields"}, {"r_mf", "r_fm", "vector"}},
    {FL_OP_DOT_INTERACTION, body_dot_interaction, name_dot_interaction, {"first", "second"}, {"x"}},
    {FL_OP_EMBEDDING_BAG, body_embedding_bag, name_bag, {"mode"}, {"data", "values", "offsets"}},
    {FL_OP_LINEAR, body_linear, name_linear, {"activation"}, {"x", "w", "bias"}},
    {FL_OP_LOG_LOSS, body_log_loss, name_loss, {"kind", "epsilon"}, {"logit", "label"}},
    {FL_OP_LOG_LOSS_GRAD, body_log_loss_grad, name_loss, {"kind", "epsilon"}, {"logit", "label"}},
    {FL_OP_BATCH_NORM, body_batch_norm, name_batch_norm, {"epsilon", "momentum", "single_row"}, {"x", "gamma", "beta", "running_mean", "running_var"}},
    {FL_OP_DROPOUT, body_masked_dropout, name_dropout, {"rate", "style", "key"}, {"x", "mask"}},
};

static const entry *find(fl_op op)
{
    for (size_t k = 0; k < FL_COUNT(entries); k++)
        if (entries[k].op == op)
            return &entries[k];
    return NULL;
}

bool fl_body_exists(fl_op op)
{
    return find(op) != NULL;
}

const char *const *fl_body_attributes(fl_op op)
{
    return find(op)->attributes;
}

const char *fl_body_name(const fl_graph *g, fl_id node, fl_arena *arena)
{
    const entry *e = find(g->nodes[node].op);
    return e ? e->name(g, node, arena, fl_op_get(e->op)->name) : NULL;
}

fl_op fl_body_op(const char *function)
{
    size_t n = strcspn(function, "_");
    for (size_t k = 0; k < FL_COUNT(entries); k++) {
        const char *name = fl_op_get(entries[k].op)->name;
        if (strlen(name) == n && memcmp(name, function, n) == 0)
            return entries[k].op;
    }
    return FL_N_OPS;
}

static fl_status declare(body *x, const entry *e, fl_diag *dg)
{
    const fl_node *n = &x->g->nodes[x->node];
    uint32_t last = 0;
    x->n_in = n->n_in;
    x->in = fl_arena_new(&x->b->arena, fl_id, n->n_in + 1u);
    if (!x->in)
        return fl_out_of_memory(dg);
    for (uint32_t k = 0; k < n->n_in; k++) {
        bool own = k < FL_COUNT(e->operands) && e->operands[k];
        last = own ? k : last;
        x->in[k] = FL_NONE;
        if (n->in[k] == FL_NONE)
            continue;
        fl_type t = fl_graph_import_type(x->b, x->g, fl_value_type(x->g, n->in[k]));
        const char *name = own ? e->operands[k] : fl_arena_printf(&x->b->arena, "%s_%u", e->operands[last], k - last);
        x->in[k] = name ? fl_graph_input(x->b, name, t) : FL_NONE;
    }
    return fl_graph_ok(x->b, dg);
}

fl_status fl_body_build(const fl_graph *g, fl_id node, fl_graph **out, fl_diag *dg)
{
    const fl_node *n = &g->nodes[node];
    const entry *e = find(n->op);
    const char *output = n->n_out > 0 && n->out[0] != FL_NONE ? g->values[n->out[0]].name : "";
    if (!e)
        return fl_error(dg, FL_E_ONNX_WRITE, n->origin.loc, "\"%.100s\" (%s) has no body of standard operators", output, fl_op_get(n->op)->name);
    body x = {.g = g, .node = node, .b = fl_graph_new(fl_op_get(n->op)->name)};
    if (!x.b)
        return fl_out_of_memory(dg);
    fl_status status = declare(&x, e, dg);
    if (status == FL_OK && !e->build(&x))
        status = x.b->arena.failed ? fl_out_of_memory(dg)
                                   : fl_error(dg, FL_E_ONNX_WRITE, n->origin.loc, "\"%.100s\" (%s) has an attribute without a meaning", output, fl_op_get(n->op)->name);
    if (status == FL_OK)
        status = fl_graph_ok(x.b, dg);
    if (status == FL_OK)
        *out = x.b;
    else
        fl_graph_free(x.b);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- inlining */

/* The nodes of body b behind those of g; at[v] is what b's value v is in g, given for its inputs. */
static void append_body(fl_graph *g, const fl_graph *b, fl_id *at, const char *stem, fl_arena *scratch)
{
    for (fl_id i = 0; i < b->n_nodes; i++) {
        const fl_node *n = &b->nodes[i];
        fl_id *in = fl_arena_new(scratch, fl_id, n->n_in + 1u);
        for (uint32_t k = 0; in && k < n->n_in; k++)
            in[k] = n->in[k] == FL_NONE ? FL_NONE : at[n->in[k]];
        const char *name = n->out[0] == FL_NONE ? "part" : b->values[n->out[0]].name, *base = fl_arena_printf(scratch, "%s/%s", stem, name);
        fl_id node = in && base ? fl_node_new(g, n->op, base, in, n->n_in, n->n_out) : FL_NONE;
        if (node == FL_NONE) {
            g->arena.failed = true;
            return;
        }
        fl_node_copy_attributes(g, node, n);
        fl_build_infer(g, node);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                at[n->out[k]] = g->nodes[node].out[k];
    }
}

static fl_status inline_node(fl_graph *g, fl_id node, fl_id *map, fl_arena *scratch, fl_diag *dg)
{
    const fl_node n = g->nodes[node];
    fl_graph *b = NULL;
    FL_TRY(fl_body_build(g, node, &b, dg));
    fl_id *at = fl_arena_new(scratch, fl_id, b->n_values + 1u);
    const char *stem = "";
    for (uint32_t k = n.n_out; k-- > 0;)
        stem = n.out[k] == FL_NONE ? stem : g->values[n.out[k]].name;
    for (uint32_t k = 0, next = 0; at && k < n.n_in; k++)
        if (n.in[k] != FL_NONE)
            at[b->inputs[next++]] = n.in[k];
    if (at)
        append_body(g, b, at, stem, scratch);
    for (uint32_t k = 0; at && !g->arena.failed && k < n.n_out; k++) {
        if (n.out[k] == FL_NONE)
            continue;
        const char *name = g->values[n.out[k]].name;
        map[n.out[k]] = at[b->outputs[k]];
        g->values[n.out[k]].name = NULL; /* the map takes its readers along */
        fl_value_rename(g, at[b->outputs[k]], name);
    }
    fl_graph_free(b);
    if (!at || g->arena.failed)
        return fl_out_of_memory(dg);
    fl_node_erase(g, node);
    return FL_OK;
}

fl_status fl_bodies_inline(fl_graph *g, fl_diag *dg)
{
    fl_arena scratch;
    uint32_t n_nodes = g->n_nodes, n_values = g->n_values;
    fl_status status = FL_OK;
    fl_arena_init(&scratch);
    fl_id *map = fl_arena_new(&scratch, fl_id, n_values + 1u), *all = NULL;
    for (fl_id v = 0; map && v < n_values; v++)
        map[v] = v;
    for (fl_id i = 0; map && i < n_nodes && status == FL_OK; i++)
        if (g->nodes[i].op != FL_OP_NOP && strcmp(fl_op_get(g->nodes[i].op)->domain, "ai.flen") == 0)
            status = inline_node(g, i, map, &scratch, dg);
    if (status == FL_OK && map && (all = fl_arena_new(&scratch, fl_id, g->n_values + 1u))) {
        for (fl_id v = 0; v < g->n_values; v++)
            all[v] = v < n_values ? map[v] : v;
        fl_graph_replace_all(g, all);
        status = fl_graph_sort(g, dg);
    }
    fl_arena_deinit(&scratch);
    return status == FL_OK && !all ? fl_out_of_memory(dg) : status;
}
