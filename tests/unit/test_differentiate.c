/*
 * test_differentiate.c -- gradients and training programs, on the interpreter.
 *
 * Oracles: central differences of the loss of the graph before any fusion (step 1e-5 in double precision: the error is about 1e-10 relative
 * to values near 1; 1e-6 is allowed); optimiser kernels of the interpreter for what `lower-optimisers` makes of them (equal but for
 * the order of a few roundings: 1e-12).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/interp/interp.h"
#include "frontend/network.h"
#include "ir/base/rng.h"
#include "passes/pass.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 4, SLOT_ROWS = 3, BATCH = 5, MAX_SLOTS = 6 };

/* A network and what is unusual about it. */
typedef struct variant {
    const char *network;
    bool shared, bags, batch_norm, dense, dicefactor, slots_mlp;
    fl_rule_kind rule;
} variant;

typedef struct layout {
    fl_slot slots[MAX_SLOTS];
    fl_field fields[3];
    fl_schema schema;
} layout;

static void make_layout(layout *l, const variant *v)
{
    static const uint32_t field_of[MAX_SLOTS] = {0, 0, 0, 1, 2, 2};
    static const char *const names[MAX_SLOTS] = {"a", "b", "c", "d", "e", "f"};
    memset(l, 0, sizeof *l);
    for (uint32_t s = 0; s < MAX_SLOTS; s++) {
        l->slots[s] = (fl_slot){.name = names[s], .field = field_of[s], .rows = SLOT_ROWS, .first_row = v->shared ? 0 : SLOT_ROWS * s};
        if (v->bags && (s == 1 || s == 4))
            l->slots[s].pooling = s == 1 ? FL_POOL_SUM : FL_POOL_MEAN;
    }
    for (int f = 0; f < 3; f++)
        l->fields[f].name = names[f];
    l->schema = (fl_schema){.slots = l->slots, .n_slots = MAX_SLOTS, .fields = l->fields, .n_fields = 3,
                            .table_rows = v->shared ? SLOT_ROWS : SLOT_ROWS * MAX_SLOTS};
}

static fl_graph *build(const variant *v, layout *l, fl_diag *dg)
{
    fl_network_spec spec;
    fl_graph *g = NULL;
    make_layout(l, v);
    assert_true(fl_network_preset(&spec, v->network));
    spec.schema = &l->schema;
    spec.k = 3;
    if (spec.hidden_units)
        spec.hidden_units = 3;
    spec.widths[0] = 4;
    spec.n_widths = spec.n_widths ? 1 : 0;
    spec.batch_norm = spec.batch_norm || v->batch_norm;
    spec.dicefactor = v->dicefactor ? 0.7 : 1;
    if (v->slots_mlp)
        spec.mlp = FL_MLP_SLOTS;
    fl_network_set_rule(&spec, (fl_rule){.kind = v->rule, .lr = 0.1, .momentum = 0.9, .epsilon = 1e-3, .initial_accumulator = 0.1, .beta1 = 0.8,
                                         .beta2 = 0.9, .beta = 1, .l1 = 0.01, .l2 = 0.02, .bias_corrected = v->dense});
    for (int c = 0; c < FL_N_CLASSES; c++)
        spec.classes[c].l2 = 0.01;
    if (v->dense)
        spec.classes[FL_CLASS_TABLE].row_sparse = spec.classes[FL_CLASS_LINEAR].row_sparse = false;
    spec.classes[FL_CLASS_TABLE].lr_scale = 2;
    assert_int_equal(fl_network_build(&spec, &g, dg), FL_OK);
    return g;
}

static fl_graph *derive(const fl_graph *from, const char *passes, fl_diag *dg)
{
    fl_graph *g = fl_graph_clone(from);
    assert_non_null(g);
    fl_pipeline_options o = {.passes = passes, .verify_each = true, .log = stderr};
    fl_status s = fl_pipeline_run(g, &o, dg);
    fl_diag_print(dg, stderr, "test", NULL, NULL);
    assert_int_equal(s, FL_OK);
    return g;
}

/* Smooth, distinct values by name; states that have to be positive are. */
static double start(const char *name, uint64_t k)
{
    double x = fl_random_uniform(7, fl_hash_bytes(name, strlen(name), 0), k);
    if (strncmp(name, "adam.beta", 9) == 0)
        return 0.5;
    return strstr(name, "running_var") || strncmp(name, "adagrad", 7) == 0 || strncmp(name, "adam.v", 6) == 0 || strncmp(name, "ftrl.n", 6) == 0
               ? x + 0.5
               : x - 0.4;
}

static void set_input(fl_interp *in, const fl_graph *g, fl_id v, const variant *t, fl_diag *dg)
{
    const char *name = g->values[v].name;
    int64_t ints[BATCH * MAX_SLOTS];
    double f[BATCH];
    fl_status s = FL_OK;
    if (strcmp(name, "ids") == 0) {
        int64_t n = fl_value_type(g, v)->dims[1], slot = 0;
        for (int64_t c = 0; c < n; c++, slot++) {
            slot += t->bags && (slot == 1 || slot == 4);
            for (int64_t b = 0; b < BATCH; b++) /* row 2 of a slot stays unused */
                ints[b * n + c] = (b * (c + 1) / 2) % (SLOT_ROWS - 1) + (t->shared ? 0 : SLOT_ROWS * slot);
        }
        s = fl_interp_set_ints(in, v, 2, (int64_t[]){BATCH, n}, ints, dg);
    } else if (strstr(name, ".values")) {
        int64_t base = t->shared ? 0 : name[0] == 'b' ? SLOT_ROWS : 4 * SLOT_ROWS;
        for (int k = 0; k < 7; k++)
            ints[k] = base + k % 2;
        s = fl_interp_set_ints(in, v, 1, (int64_t[]){7}, ints, dg);
    } else if (strstr(name, ".offsets")) {
        s = fl_interp_set_ints(in, v, 1, (int64_t[]){BATCH + 1}, (int64_t[]){0, 2, 2, 3, 6, 7}, dg);
    } else if (strcmp(name, "label") == 0) {
        for (int b = 0; b < BATCH; b++)
            f[b] = b % 2;
        s = fl_interp_set_doubles(in, v, 2, (int64_t[]){BATCH, 1}, f, dg);
    } else if (fl_value_type(g, v)->dtype == FL_INT64) {
        s = fl_interp_set_ints(in, v, 0, NULL, (int64_t[]){3}, dg);
    } else {
        s = fl_interp_set_doubles(in, v, 0, NULL, (double[]){0.5}, dg); /* rate_factor */
    }
    assert_int_equal(s, FL_OK);
}

static void set_variable(fl_interp *in, const fl_graph *g, fl_id v, int64_t changed, double by, fl_diag *dg)
{
    const fl_type *t = fl_value_type(g, v);
    int64_t n = fl_type_elements(t);
    double f[512];
    assert_true(n <= (int64_t)FL_COUNT(f));
    for (int64_t k = 0; k < n; k++)
        f[k] = start(g->values[v].name, (uint64_t)k) + (k == changed ? by : 0);
    assert_int_equal(fl_interp_set_doubles(in, v, t->rank, t->dims, f, dg), FL_OK);
}

static fl_interp *prepare(const fl_graph *g, const variant *v, fl_diag *dg)
{
    fl_interp *in = NULL;
    assert_int_equal(fl_interp_new(g, &in, dg), FL_OK);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        set_input(in, g, g->inputs[i], v, dg);
    for (uint32_t i = 0; i < g->n_variables; i++)
        if (g->values[g->variables[i]].kind == FL_VALUE_VARIABLE)
            set_variable(in, g, g->variables[i], -1, 0, dg);
    return in;
}

static void run(fl_interp *in, fl_diag *dg)
{
    fl_status s = fl_interp_run(in, dg);
    fl_diag_print(dg, stderr, "test", NULL, NULL);
    assert_int_equal(s, FL_OK);
}

static double loss_with(fl_interp *in, const fl_graph *g, fl_id v, int64_t k, double by, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_updates; i++) /* statistics that the last run moved */
        set_variable(in, g, g->updates[i].variable, -1, 0, dg);
    set_variable(in, g, v, k, by, dg);
    run(in, dg);
    return fl_interp_get(in, fl_graph_find(g, "loss"))->f[0];
}

static void check_gradients(const variant *v, const fl_graph *plain, const fl_graph *g, fl_diag *dg)
{
    fl_interp *in = prepare(g, v, dg), *oracle = prepare(plain, v, dg);
    run(in, dg);
    uint32_t checked = 0;
    for (uint32_t i = 0; i < plain->n_params; i++) {
        fl_id w = plain->params[i].variable;
        char name[128];
        snprintf(name, sizeof name, "grad.%s", plain->values[w].name);
        if (plain->params[i].rule.kind == FL_RULE_NONE)
            continue;
        const fl_array *grad = fl_interp_get(in, fl_graph_find(g, name));
        assert_non_null(grad);
        assert_int_equal(grad->n, fl_type_elements(fl_value_type(plain, w)));
        for (int64_t k = 0; k < grad->n; k++) {
            const double h = 1e-5;
            double up = loss_with(oracle, plain, w, k, h, dg), down = loss_with(oracle, plain, w, k, -h, dg), want = (up - down) / (2 * h);
            if (fabs(grad->f[k] - want) > 1e-6 * (1 + fabs(want)))
                fail_msg("%s: %s[%lld] is %.9g, differences say %.9g", v->network, name, (long long)k, grad->f[k], want);
            checked++;
        }
        set_variable(oracle, plain, w, -1, 0, dg);
    }
    assert_true(checked > 0);
    fl_interp_free(in);
    fl_interp_free(oracle);
}

/* Three steps give the same variables in both programs. */
static void check_steps(const variant *v, const fl_graph *a, const fl_graph *b, fl_diag *dg)
{
    fl_interp *x = prepare(a, v, dg), *y = prepare(b, v, dg);
    for (int step = 0; step < 3; step++) {
        run(x, dg);
        run(y, dg);
    }
    assert_int_equal(a->n_updates, b->n_updates);
    for (uint32_t i = 0; i < a->n_updates; i++) {
        fl_id p = a->updates[i].variable, q = fl_graph_find(b, a->values[p].name);
        assert_true(q != FL_NONE);
        const fl_array *m = fl_interp_get(x, p), *n = fl_interp_get(y, q);
        assert_int_equal(m->n, n->n);
        for (int64_t k = 0; k < m->n; k++)
            if (fabs(m->f[k] - n->f[k]) > 1e-12 * (1 + fabs(m->f[k])))
                fail_msg("%s, rule %d: %s[%lld] is %.15g or %.15g", v->network, (int)v->rule, a->values[p].name, (long long)k, m->f[k], n->f[k]);
    }
    fl_interp_free(x);
    fl_interp_free(y);
}

#define PLAIN    "infer-types,set-mode(train),dce"
#define FUSED    "infer-types,set-mode(train),canonicalise,fold-constants,cse,dce,fuse-field-pool,fuse-interaction,distinct-rows,cse,"
#define UNFUSED  "infer-types,set-mode(train),dce,distinct-rows,"

static const variant variants[] = {
    {.network = "lr", .rule = FL_RULE_SGD},
    {.network = "lr", .rule = FL_RULE_FTRL, .bags = true},
    {.network = "fm", .rule = FL_RULE_ADAM},
    {.network = "fm", .rule = FL_RULE_ROWWISE_ADAGRAD, .bags = true},
    {.network = "fwfm", .rule = FL_RULE_ADAGRAD, .shared = true},
    {.network = "flen", .rule = FL_RULE_ADAM, .dicefactor = true, .batch_norm = true},
    {.network = "flen", .rule = FL_RULE_ADAGRAD, .bags = true, .slots_mlp = true},
    {.network = "flen", .rule = FL_RULE_ADAM, .dense = true, .slots_mlp = true},
    {.network = "flen", .rule = FL_RULE_MOMENTUM, .shared = true, .slots_mlp = true},
    {.network = "flen", .rule = FL_RULE_MOMENTUM, .shared = true, .bags = true, .dense = true},
    {.network = "flen-official", .rule = FL_RULE_ROWWISE_ADAGRAD},
    {.network = "flen-paddlerec-1.8", .rule = FL_RULE_ADAM, .shared = true},
    {.network = "flen-paddlerec-2", .rule = FL_RULE_ADAGRAD},
};

static void each_variant(const char *prefix)
{
    for (size_t i = 0; i < FL_COUNT(variants); i++) {
        const variant *v = &variants[i];
        layout l;
        fl_diag dg;
        char passes[512];
        fl_diag_init(&dg);
        fl_graph *forward = build(v, &l, &dg), *plain = derive(forward, PLAIN, &dg);
        snprintf(passes, sizeof passes, "%sdifferentiate(gradients)", prefix);
        fl_graph *gradients = derive(forward, passes, &dg);
        check_gradients(v, plain, gradients, &dg);
        snprintf(passes, sizeof passes, "%sdifferentiate", prefix);
        fl_graph *trained = derive(forward, passes, &dg), *whole = derive(forward, fl_pipeline_train, &dg);
        check_steps(v, trained, whole, &dg);
        fl_graph_free(forward);
        fl_graph_free(plain);
        fl_graph_free(gradients);
        fl_graph_free(trained);
        fl_graph_free(whole);
        fl_diag_deinit(&dg);
    }
}

static void fused_graphs(void **state)
{
    (void)state;
    each_variant(FUSED);
}

static void unfused_graphs(void **state)
{
    (void)state;
    each_variant(UNFUSED);
}

/* Schedules exist, and the init program has every parameter and state. */
static void programs(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(variants); i++) {
        layout l;
        fl_diag dg;
        fl_graph *p[FL_N_PROGRAMS];
        fl_diag_init(&dg);
        fl_graph *forward = build(&variants[i], &l, &dg);
        fl_status s = fl_build_programs(forward, FL_STAGE_SCHEDULED, p, &dg);
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
        assert_int_equal(s, FL_OK);
        assert_true(p[FL_PROGRAM_TRAIN]->schedule && p[FL_PROGRAM_PREDICT]->schedule);
        for (uint32_t k = 0; k < p[FL_PROGRAM_TRAIN]->n_variables; k++) {
            const fl_value *v = &p[FL_PROGRAM_TRAIN]->values[p[FL_PROGRAM_TRAIN]->variables[k]];
            assert_true(v->kind != FL_VALUE_VARIABLE || fl_graph_find(p[FL_PROGRAM_INIT], v->name) != FL_NONE);
        }
        fl_programs_free(p);
        fl_graph_free(forward);
        fl_diag_deinit(&dg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_graphs), cmocka_unit_test(unfused_graphs), cmocka_unit_test(programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
