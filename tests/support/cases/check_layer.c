/*
 * check_layer.c -- the field-wise bi-interaction alone, as the graph of standard operators that its definition says, through the default
 * pipelines: fused, differentiated, run. `logit` is the layer's output, `loss` its product with the upstream gradient.
 */
#include "case_file.h"
#include "checks.h"

#include <string.h>

enum { MAX_FIELDS = 64, MAX_PARAMETERS = 16, MAX_SHOWN = 2 * MAX_FIELDS + 8 };

typedef struct layer {
    layer_case *c;
    fl_graph *g;
    int64_t k, batch, slots;
    uint32_t m;               /* fields */
    int64_t sizes[MAX_FIELDS]; /* slots of each */
    int64_t *ids;             /* [batch, slots] */
    struct parameter {
        const char *name;
        double *start;
        int64_t n;
    } parameters[MAX_PARAMETERS];
    uint32_t n_parameters;
    const char *style; /* of dicefactor's masks */
    struct shown { /* a value that the case may expect: elements `at` ... of `array` */
        const char *array;
        int64_t at;
        fl_id value;
    } shown[MAX_SHOWN];
    uint32_t n_shown;
    fl_id f[MAX_FIELDS], term[MAX_FIELDS]; /* sums; f f - q, FL_NONE for one slot, where it is 0 */
    fl_id logit;
} layer;

/* ------------------------------------------------------------------------------------------------------- input */

static const json_t *member(const layer *l, const char *key)
{
    return json_object_get(l->c->input, key);
}

static bool has(const layer *l, const char *variant)
{
    return strcmp(l->c->variant, variant) == 0;
}

/* A trained variable whose start is the case's input `key`, or `values` if key is NULL. */
static fl_id parameter(layer *l, const char *name, const char *key, int rank, const fl_dim *dims, double *values)
{
    struct parameter *p = &l->parameters[l->n_parameters];
    fl_type type = fl_type_make(FL_FLOAT, rank, dims);
    p->name = name;
    p->start = values;
    p->n = fl_type_elements(&type);
    if (key && !case_numbers(&l->c->arena, member(l, key), key, &p->start, &p->n, l->c->v))
        return FL_NONE;
    if (p->n != fl_type_elements(&type)) {
        verdict_fail(l->c->v, "input: \"%s\" has %lld numbers, not %lld", name, (long long)p->n, (long long)fl_type_elements(&type));
        return FL_NONE;
    }
    l->n_parameters++;
    fl_id v = fl_graph_variable(l->g, name, type);
    fl_graph_param(l->g, (fl_param){.variable = v, .rule = {.kind = FL_RULE_SGD, .lr = CHECK_GRADIENT_RATE}, .lr_scale = 1,
                                    .row_sparse = strcmp(name, "table") == 0});
    return v;
}

/* Sizes of fields from [m][n]...; true if they fit. */
static bool read_sizes(layer *l, const json_t *fields)
{
    l->m = (uint32_t)json_array_size(fields);
    l->slots = 0;
    for (uint32_t i = 0; i < l->m && l->m <= MAX_FIELDS; i++) {
        l->sizes[i] = (int64_t)json_array_size(json_array_get(fields, i));
        l->slots += l->sizes[i];
        if (l->sizes[i] < 1)
            return verdict_fail(l->c->v, "input: a field without slots");
    }
    return (l->m >= 1 && l->m <= MAX_FIELDS) || verdict_skip(l->c->v, "%u fields", l->m);
}

/* The table and ids: those of the case, or a row for each embedding. */
static fl_id read_embeddings(layer *l)
{
    fl_arena *a = &l->c->arena;
    bool table = has(l, "core_table"), batch = has(l, "core_batch");
    const json_t *embeddings = member(l, table ? "table" : batch ? "batch" : "fields");
    double *f, *ids = NULL;
    int64_t n, n_ids = 0;
    if (!case_integer(l->c->input, "input", "K", 1, &l->k, l->c->v) || !case_numbers(a, embeddings, "embeddings", &f, &n, l->c->v) ||
        !read_sizes(l, table ? member(l, "ids") : batch ? json_array_get(embeddings, 0) : embeddings))
        return FL_NONE;
    if (table && !case_numbers(a, member(l, "ids"), "ids", &ids, &n_ids, l->c->v))
        return FL_NONE;
    l->batch = batch ? (int64_t)json_array_size(embeddings) : 1;
    l->ids = fl_arena_new(a, int64_t, (size_t)(l->batch * l->slots) + 1);
    for (int64_t i = 0; l->ids && i < l->batch * l->slots; i++)
        l->ids[i] = ids ? (int64_t)ids[i] : i;
    if (!l->ids || n % l->k != 0 || (table ? n_ids != l->slots : n != l->batch * l->slots * l->k)) {
        verdict_fail(l->c->v, "input: embeddings or ids of another number than fields and K say");
        return FL_NONE;
    }
    return parameter(l, "table", NULL, 2, (fl_dim[]){n / l->k, l->k}, f);
}

/* ------------------------------------------------------------------------------------------------------- graph */

/* The value, under a name that no pass takes from it once it is an output. */
static fl_id show(layer *l, const char *array, int64_t at, fl_id value)
{
    if (value == FL_NONE)
        return FL_NONE;
    fl_id v = fl_build_1(l->g, FL_OP_IDENTITY, array, value);
    l->shown[l->n_shown++] = (struct shown){array, at, v};
    return v;
}

static fl_id add(layer *l, fl_id x, fl_id y)
{
    return x == FL_NONE ? y : y == FL_NONE ? x : fl_build_2(l->g, FL_OP_ADD, "sum", x, y);
}

static fl_id sum_of_axis(layer *l, const char *base, fl_id x, int64_t axis)
{
    return fl_build_reduce_sum(l->g, base, x, &axis, 1, false);
}

static bool build_fields(layer *l)
{
    fl_graph *g = l->g;
    fl_id part[MAX_FIELDS], table = read_embeddings(l);
    if (table == FL_NONE)
        return false;
    fl_id ids = fl_graph_input(g, "ids", fl_type_make(FL_INT64, 2, (fl_dim[]){fl_graph_symbol(g, "batch"), l->slots}));
    part[0] = fl_build_2(g, FL_OP_GATHER, "e", table, ids);
    if (l->m > 1)
        fl_build_split(g, "e_field", part[0], 1, l->sizes, l->m, part);
    for (uint32_t i = 0; i < l->m; i++) {
        l->f[i] = show(l, "field_sums", i * l->k, sum_of_axis(l, "f", part[i], 1));
        l->term[i] = FL_NONE;
        if (l->sizes[i] == 1)
            continue;
        fl_id q = sum_of_axis(l, "q", fl_build_2(g, FL_OP_MUL, "e_squared", part[i], part[i]), 1);
        l->term[i] = fl_build_2(g, FL_OP_SUB, "term", fl_build_2(g, FL_OP_MUL, "f_squared", l->f[i], l->f[i]), q);
    }
    return true;
}

/* n pieces of a parameter along axis 0. */
static bool pieces(layer *l, fl_id v, int64_t size, uint32_t n, fl_id **out)
{
    int64_t *sizes = fl_arena_new(&l->c->arena, int64_t, n + 1u);
    *out = fl_arena_new(&l->c->arena, fl_id, n + 1u);
    if (!sizes || !*out || v == FL_NONE)
        return false;
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = size;
    if (n == 1)
        (*out)[0] = v;
    else
        fl_build_split(l->g, "piece", v, 0, sizes, n, *out);
    return true;
}

/*
 * Sum of x_i weighed by a number (matrix NULL) or through a matrix; and a bias if there is one. Absent x_i are 0. FL_NONE: all absent, or a
 * verdict.
 */
static fl_id weighted(layer *l, const fl_id *x, uint32_t n, const char *scalar, const char *matrix, const char *bias)
{
    fl_id *w, sum = FL_NONE;
    if (n == 0)
        return FL_NONE;
    fl_id v = matrix ? parameter(l, matrix, matrix, 2, (fl_dim[]){n * l->k, l->k}, NULL) : parameter(l, scalar, scalar, 1, (fl_dim[]){n}, NULL);
    if (!pieces(l, v, matrix ? l->k : 1, n, &w))
        return FL_NONE;
    for (uint32_t i = 0; i < n; i++)
        if (x[i] != FL_NONE)
            sum = add(l, sum, matrix ? fl_build_2(l->g, FL_OP_MATMUL, "product", x[i], w[i]) : fl_build_2(l->g, FL_OP_MUL, "weighed", x[i], w[i]));
    if (!bias || !member(l, bias))
        return sum;
    if (!matrix)
        return add(l, sum, parameter(l, bias, bias, 1, (fl_dim[]){l->k}, NULL));
    return add(l, sum, sum_of_axis(l, "bias", parameter(l, bias, bias, 2, (fl_dim[]){n, l->k}, NULL), 0));
}

static fl_id pair_terms(layer *l)
{
    uint32_t n = l->m * (l->m - 1) / 2, p = 0;
    fl_id *x = fl_arena_new(&l->c->arena, fl_id, n + 1u);
    bool matrix = has(l, "paddlerec185");
    if (!x || has(l, "dicefactor_fm"))
        return FL_NONE;
    for (uint32_t i = 0; i < l->m; i++)
        for (uint32_t k = i + 1; k < l->m; k++)
            x[p++] = fl_build_2(l->g, FL_OP_MUL, "pair", l->f[i], l->f[k]);
    return show(l, "h_mf", 0, weighted(l, x, n, "r_mf", matrix ? "W_mf" : NULL, "b_mf"));
}

/* Each term times its field's mask; masks are [batch, fields, K]. */
static void mask_terms(layer *l)
{
    fl_graph *g = l->g;
    double beta = json_number_value(member(l, "beta"));
    fl_id part[MAX_FIELDS];
    int64_t ones[MAX_FIELDS];
    for (uint32_t i = 0; i < l->m; i++)
        ones[i] = 1;
    part[0] = fl_graph_input(g, "mask", fl_type_make(FL_FLOAT, 3, (fl_dim[]){fl_graph_symbol(g, "batch"), l->m, l->k}));
    if (l->m > 1)
        fl_build_split(g, "mask_field", part[0], 1, ones, l->m, part);
    for (uint32_t i = 0; i < l->m; i++) {
        if (l->term[i] == FL_NONE)
            continue;
        fl_id mask = fl_build_reshape(g, "mask_of", part[i], (int64_t[]){0, l->k}, 2);
        fl_id node = fl_node_new(g, FL_OP_DROPOUT, "kept", (fl_id[]){l->term[i], mask}, 2, 1);
        fl_node_set_float(g, node, "rate", 1 - beta);
        fl_node_set_string(g, node, "style", l->style);
        fl_build_infer(g, node);
        l->term[i] = fl_node_out(g, node, 0);
    }
}

static fl_id group_terms(layer *l)
{
    if (has(l, "mf_only"))
        return FL_NONE;
    for (uint32_t i = 0; i < l->m; i++)
        l->term[i] = show(l, "fm_terms_without_weight", i * l->k, l->term[i]);
    if (l->style)
        mask_terms(l);
    return show(l, "h_fm", 0, weighted(l, l->term, l->m, "r_fm", has(l, "paddlerec185") ? "W_fm" : NULL, "b_fm"));
}

/* ReLU(W (h_S, h)); the case's W is [out][in]. h_S is the only row of a table, as a linear term is. */
static fl_id hidden(layer *l, fl_id h)
{
    fl_graph *g = l->g;
    int64_t n = l->k + 1, count;
    double *w, *turned = fl_arena_new(&l->c->arena, double, (size_t)(n * n));
    if (!turned || !case_numbers(&l->c->arena, member(l, "W"), "W", &w, &count, l->c->v) || count != n * n)
        return verdict_fail(l->c->v, "input: \"W\" is no (K+1) x (K+1) matrix"), FL_NONE;
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < n; o++)
            turned[i * n + o] = w[o * n + i];
    fl_id table = parameter(l, "h_S", "h_S", 2, (fl_dim[]){1, 1}, NULL), matrix = parameter(l, "W", NULL, 2, (fl_dim[]){n, n}, turned);
    fl_id zeros = fl_graph_input(g, "zeros", fl_type_make(FL_INT64, 2, (fl_dim[]){fl_graph_symbol(g, "batch"), 1}));
    fl_id h_s = fl_build_reshape(g, "h_s", fl_build_2(g, FL_OP_GATHER, "h_s_row", table, zeros), (int64_t[]){0, 1}, 2);
    fl_id x = show(l, "concat", 0, fl_build_concat(g, "joined", (fl_id[]){h_s, h}, 2, 1));
    return fl_build_1(g, FL_OP_RELU, "relu", show(l, "pre", 0, fl_build_2(g, FL_OP_MATMUL, "product", x, matrix)));
}

static bool build(layer *l)
{
    fl_graph *g = l->g = fl_graph_new("layer");
    if (!g || !build_fields(l))
        return g ? false : verdict_fail(l->c->v, "out of memory");
    fl_id out = add(l, pair_terms(l), group_terms(l));
    if (has(l, "paper_hidden") && out != FL_NONE)
        out = hidden(l, out);
    if (out == FL_NONE)
        return verdict_skip(l->c->v, "a layer without terms");
    l->logit = fl_build_1(g, FL_OP_IDENTITY, "logit", out);
    fl_graph_output(g, l->logit);
    if (json_object_get(l->c->entry, "upstream")) {
        fl_id upstream = fl_graph_input(g, "upstream", *fl_value_type(g, l->logit));
        fl_id product = fl_build_2(g, FL_OP_MUL, "weighed", l->logit, upstream);
        fl_graph_output(g, fl_build_reduce_sum(g, "loss", product, (int64_t[]){0, 1}, 2, false));
    }
    return verdict_status(l->c->v, fl_graph_ok(g, &l->c->dg), "the graph", &l->c->dg);
}

/* ------------------------------------------------------------------------------------------------------ checks */

static bool execute(layer *l, model_run *r, fl_program p)
{
    layer_case *c = l->c;
    double *mask = NULL, *upstream = NULL;
    int64_t n, *zeros = fl_arena_new(&c->arena, int64_t, (size_t)l->batch);
    static const double one = 1;
    if (!zeros || (l->style && !case_numbers(&c->arena, member(l, "mask"), "mask", &mask, &n, c->v)))
        return false;
    if (json_object_get(c->entry, "upstream") && !case_numbers(&c->arena, json_object_get(c->entry, "upstream"), "upstream", &upstream, &n, c->v))
        return false;
    int64_t width = fl_value_type(l->g, l->logit)->dims[1];
    if (upstream && n != l->batch * width)
        return verdict_fail(c->v, "\"upstream\" has not the shape of the layer's output");
    run_input in[6] = {{.name = "ids", .rank = 2, .dims = {l->batch, l->slots}, .i = l->ids},
                       {.name = "zeros", .rank = 2, .dims = {l->batch, 1}, .i = zeros},
                       {.name = "rate_factor", .f = &one}};
    uint32_t n_in = 3;
    if (upstream)
        in[n_in++] = (run_input){.name = "upstream", .rank = 2, .dims = {l->batch, width}, .f = upstream};
    if (mask)
        in[n_in++] = (run_input){.name = "mask", .rank = 3, .dims = {l->batch, l->m, l->k}, .f = mask};
    for (uint32_t i = 0; i < l->n_parameters; i++) {
        const struct parameter *q = &l->parameters[i];
        if (model_run_has(r, q->name) && !verdict_status(c->v, model_run_set(r, q->name, 0, q->n, q->start, &c->dg), q->name, &c->dg))
            return false;
    }
    return verdict_status(c->v, model_run_execute(r, p, in, n_in, &c->dg), "running", &c->dg);
}

/* Values between embeddings and output, in a graph that gives them all out and so is not fused. What the graph does not have is 0. */
static bool check_values(layer *l)
{
    layer_case *c = l->c;
    model_run r;
    fl_graph *g = fl_graph_clone(l->g);
    if (!g)
        return verdict_fail(c->v, "out of memory");
    for (uint32_t i = 0; i < l->n_shown; i++)
        fl_graph_output(g, l->shown[i].value);
    bool fine = verdict_status(c->v, model_run_open_graph(&r, g, "infer-types,set-mode(train),canonicalise,cse,dce", c->backend, &c->dg),
                               "compiling", &c->dg);
    if (fine) {
        static const char *const arrays[] = {"field_sums", "fm_terms_without_weight", "h_mf", "h_fm", "concat", "pre"};
        fine = execute(l, &r, FL_PROGRAM_PREDICT);
        for (uint32_t k = 0; fine && k < FL_COUNT(arrays); k++) {
            const json_t *want = json_object_get(c->expect, arrays[k]);
            double *all = fl_arena_new(&c->arena, double, (size_t)(l->m * l->k) + 1);
            int64_t n = k < 2 ? l->m * l->k : k < 4 ? l->k : l->k + 1;
            for (uint32_t i = 0; all && i < l->n_shown; i++) {
                const run_output *got = model_run_output(&r, FL_PROGRAM_PREDICT, g->values[l->shown[i].value].name);
                if (strcmp(l->shown[i].array, arrays[k]) == 0 && got && l->shown[i].at + got->n <= n)
                    memcpy(all + l->shown[i].at, got->f, (size_t)got->n * sizeof *all);
            }
            fine = !want || (all && layer_compare(c, arrays[k], want, all, n));
        }
        model_run_close(&r);
    }
    fl_graph_free(g);
    return fine;
}

/* Name in the case's "grad" of a parameter of ours. */
static const char *gradient_name(const char *parameter, const layer *l)
{
    return strcmp(parameter, "table") == 0 && !has(l, "core_table") ? "embeddings" : parameter;
}

/* The case's matrix is [out][in], ours [in][out]. */
static void turn(double *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < i; o++) {
            double x = w[i * n + o];
            w[i * n + o] = w[o * n + i];
            w[o * n + i] = x;
        }
}

static bool check_gradients(layer *l, const model_run *r)
{
    layer_case *c = l->c;
    const json_t *grad = json_object_get(c->expect, "grad"), *want;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)grad, key, want) {
        struct parameter *p = l->parameters;
        char array[100];
        double *got = NULL, *f;
        int64_t n;
        snprintf(array, sizeof array, "grad.%s", key);
        while (p < l->parameters + l->n_parameters && strcmp(gradient_name(p->name, l), key) != 0)
            p++;
        if (!case_numbers(&c->arena, want, array, &f, &n, c->v) || !(got = fl_arena_new(&c->arena, double, (size_t)n + 1)))
            return false;
        /* A parameter that the layer does not use has gradient 0. */
        if (p < l->parameters + l->n_parameters && model_run_has(r, p->name)) {
            if (n != p->n || !verdict_status(c->v, check_get_gradient(r, p->name, 0, n, p->start, got, &c->dg), array, &c->dg))
                return verdict_fail(c->v, "%s: %lld numbers", array, (long long)n);
            if (has(l, "paper_hidden") && strcmp(key, "W") == 0)
                turn(got, l->k + 1);
        } else if (!json_object_get(c->input, key)) {
            return verdict_skip(c->v, "gradient of %s", key);
        }
        if (!layer_compare(c, array, want, got, n))
            return false;
    }
    return true;
}

static bool compare_logit(layer *l, const model_run *r, fl_program p, const char *array)
{
    const run_output *got = model_run_output(r, p, "logit");
    const json_t *want = json_object_get(l->c->expect, array);
    return !want || (got && layer_compare(l->c, array, want, got->f, got->n));
}

/* Output by the predict program, output and gradients by the train program; under dicefactor these are different. */
static bool check_programs(layer *l)
{
    layer_case *c = l->c;
    model_run r;
    bool inverted = l->style && strcmp(l->style, "upscale_in_train") == 0;
    const char *in_training = !l->style ? "out" : inverted ? "h_fm_train_inverted" : "h_fm_train";
    const char *in_inference = !l->style ? "out" : inverted ? "h_fm_test_inverted" : "h_fm_test";
    if (!verdict_status(c->v, model_run_open(&r, l->g, c->backend, &c->dg), "compiling", &c->dg))
        return false;
    bool fine = execute(l, &r, FL_PROGRAM_PREDICT) && compare_logit(l, &r, FL_PROGRAM_PREDICT, in_inference);
    if (fine && r.programs[FL_PROGRAM_TRAIN])
        fine = execute(l, &r, FL_PROGRAM_TRAIN) && compare_logit(l, &r, FL_PROGRAM_TRAIN, in_training) && (inverted || check_gradients(l, &r));
    const json_t *scalar = json_object_get(c->expect, "scalar_fm_second_order");
    const run_output *out = model_run_output(&r, FL_PROGRAM_PREDICT, "logit");
    for (int64_t i = 0; fine && scalar && i < out->n; i++)
        fine = layer_compare(c, "scalar_fm_second_order", scalar, &out->f[i], 1);
    model_run_close(&r);
    return fine;
}

/* Without masks, the terms of dicefactor are those of the plain layer. */
static bool check_plain(layer *l)
{
    model_run r;
    if (!verdict_status(l->c->v, model_run_open(&r, l->g, l->c->backend, &l->c->dg), "compiling", &l->c->dg))
        return false;
    bool fine = execute(l, &r, FL_PROGRAM_PREDICT) && compare_logit(l, &r, FL_PROGRAM_PREDICT, "h_fm_plain") && check_values(l);
    model_run_close(&r);
    return fine;
}

static bool check_with(layer_case *c, const char *style, bool (*check)(layer *l))
{
    layer *l = fl_arena_new(&c->arena, layer, 1);
    if (!l)
        return verdict_fail(c->v, "out of memory");
    l->c = c;
    l->style = style;
    bool fine = build(l) && check(l);
    fl_graph_free(l->g);
    return fine || verdict_fail(c->v, "the check ended early");
}

static bool check_all(layer *l)
{
    return check_values(l) && check_programs(l);
}

void check_layer(layer_case *c)
{
    static const char *const keys[] = {"field_sums", "h_mf", "h_fm", "out", "grad", "fm_terms_without_weight", "h_fm_plain", "h_fm_train",
                                       "h_fm_test", "h_fm_train_inverted", "h_fm_test_inverted", "concat", "pre", "scalar_fm_second_order", NULL};
    if (!case_known_keys(c->expect, "expect", keys, c->v))
        return;
    if (strcmp(c->variant, "dicefactor_fm") != 0)
        check_with(c, NULL, check_all);
    else if (check_with(c, NULL, check_plain) && check_with(c, "downscale_in_infer", check_programs))
        check_with(c, "upscale_in_train", check_programs);
}
