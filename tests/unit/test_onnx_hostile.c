/*
 * test_onnx_hostile.c -- ONNX files from strangers whose form is right and whose content asks for too much: time, memory, names that meet
 * ours. Files of wrong form: test_onnx.c.
 */
#include "tests/support/onnx_wire.h"

#include "backend/interp/interp.h"
#include "ir/verify.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static long peak_kb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* A value whose only dimension is a symbol. */
static wire symbolic(const char *name, const char *symbol)
{
    wire d = {0}, shape = {0}, tensor = {0}, type = {0}, w = {0};
    put_text(&d, 2, symbol);
    put_message(&shape, 1, d);
    put_int(&tensor, 1, FL_FLOAT);
    put_message(&tensor, 2, shape);
    put_message(&type, 1, tensor);
    put_text(&w, 1, name);
    put_message(&w, 2, type);
    return w;
}

/* Quadratic look-ups of names took 40 s here. The promise is 1 s for 10 MB; sanitizers take their share. */
static void many_names_take_linear_time(void **state)
{
    (void)state;
    enum { NAMES = 100000 };
    wire g = {0};
    char name[32], symbol[32];
    put_message(&g, 1, node("Relu", "x", "y"));
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "v%d", i);
        snprintf(symbol, sizeof symbol, "s%d", i);
        put_message(&g, i % 2 ? 13 : 11, symbolic(name, symbol));
    }
    clock_t start = clock();
    expect(model(g), NULL);
    assert_true(clock() - start < 3 * CLOCKS_PER_SEC);
}

/* An operator may become ten: what they take counts, too. */
static void expansions_stay_within_the_budget(void **state)
{
    (void)state;
    enum { NODES = 30000 };
    wire g = {0};
    char in[160] = "x", out[160];
    for (int i = 0; i < NODES; i++) {
        snprintf(out, sizeof out, "%s%d%0100d", i + 1 < NODES ? "v" : "y", i, 0);
        put_message(&g, 1, node("Mish", in, i + 1 < NODES ? out : "y"));
        memcpy(in, out, sizeof in);
    }
    wire w = model(g);
    long before = peak_kb(), budget = (long)(10 * w.n / 1024) + (64 << 10);
    fl_diag dg;
    fl_graph *out_graph = NULL;
    fl_diag_init(&dg);
    fl_status status = fl_onnx_decode(w.bytes, w.n, "bad.onnx", NULL, &out_graph, &dg);
    if (status != FL_OK)
        assert_non_null(strstr(dg.entries[0].text, "memory than the file's size allows"));
    assert_true(peak_kb() - before < budget + (16 << 10)); /* and what malloc keeps for itself */
    fl_graph_free(out_graph);
    fl_diag_deinit(&dg);
    free(w.bytes);
}

/* Names that an import makes up give way to those of the file. */
static void made_up_names_give_way(void **state)
{
    (void)state;
    wire g = {0};
    put_message(&g, 1, node("Gelu", "x", "a"));
    put_message(&g, 1, node("Relu", "a", "a.part"));
    put_message(&g, 1, node("Relu", "a.part", "a.part_2"));
    put_message(&g, 1, node("Relu", "a.part_2", "ai.flen.unnamed"));
    put_message(&g, 1, node("Relu", "ai.flen.unnamed", "y"));
    expect(model(g), NULL);
}

static void cycles_are_refused(void **state)
{
    (void)state;
    wire g = {0};
    put_message(&g, 1, node("Relu", "y", "a"));
    put_message(&g, 1, node("Relu", "a", "y"));
    expect(model(g), "node \"a\" (Relu) reads \"y\", which is no input, initialiser or output of an earlier node");
}

/* Of what is read without types, too. */
static void operands_left_out_are_refused(void **state)
{
    (void)state;
    static const char *const ops[] = {"Relu", "Add", "ReduceMax", "Concat", "Sum", "Einsum", "Softmax", "Gather"};
    for (size_t i = 0; i < FL_COUNT(ops); i++) {
        wire g = {0}, n = {0};
        put_text(&n, 1, "");
        if (i == 1 || i == 7)
            put_text(&n, 1, "x");
        put_text(&n, 2, "y");
        put_text(&n, 4, ops[i]);
        put_message(&g, 1, n);
        expect(model(g), "operand 0 is left out, but it is not optional");
    }
}

static wire ints(const char *name, const int64_t *values, size_t n)
{
    wire w = {0};
    put_int(&w, 1, (int64_t)n);
    put_int(&w, 2, FL_INT64);
    put_text(&w, 8, name);
    put_bytes(&w, 9, values, n * sizeof *values);
    return w;
}

/* 100 bytes that ask for terabytes are read, and refused when they are run. */
static void run_time_sizes_are_limited(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        int64_t values[2];
        size_t n;
        bool alone; /* the list is the first operand */
        const char *words;
    } bombs[] = {
        {"Expand", {1 << 20, 4}, 2, false, "and all values together may take 16.78 MB"},
        {"ConstantOfShape", {1 << 20, 1 << 20}, 2, true, "and all values together may take 16.78 MB"},
        {"Tile", {1 << 24}, 1, false, "and all values together may take 16.78 MB"},
        {"Tile", {INT64_MAX}, 1, false, "repeat 9223372036854775807"},
        {"Expand", {INT64_MAX, 4}, 2, false, "extent 9223372036854775807 in dimension 0"},
    };
    for (size_t i = 0; i < FL_COUNT(bombs); i++) {
        wire g = {0}, n = {0};
        put_message(&g, 5, ints("sizes", bombs[i].values, bombs[i].n));
        if (!bombs[i].alone)
            put_text(&n, 1, "x");
        put_text(&n, 1, "copy");
        put_text(&n, 2, "y");
        put_text(&n, 4, bombs[i].op);
        put_message(&g, 1, node("Identity", "sizes", "copy"));
        put_message(&g, 1, n);
        wire w = model(g);
        fl_diag dg;
        fl_graph *graph = NULL;
        fl_interp *in = NULL;
        fl_diag_init(&dg);
        assert_int_equal(fl_onnx_decode(w.bytes, w.n, "bad.onnx", NULL, &graph, &dg), FL_OK);
        graph->values[fl_graph_find(graph, "y")].type = FL_TYPE_UNKNOWN;
        assert_int_equal(fl_interp_new(graph, &in, &dg), FL_OK);
        fl_interp_limit(in, 16 << 20);
        assert_int_equal(fl_interp_set_doubles(in, graph->inputs[0], 1, (int64_t[]){4}, (double[]){1, 2, 3, 4}, &dg), FL_OK);
        assert_int_equal(fl_interp_run(in, &dg), FL_BAD_INPUT);
        if (!strstr(dg.entries[0].text, bombs[i].words))
            fail_msg("expected \"%s\", got \"%s\"", bombs[i].words, dg.entries[0].text);
        fl_interp_free(in);
        fl_graph_free(graph);
        fl_diag_deinit(&dg);
        free(w.bytes);
    }
}

/* Training information: bindings of names that nobody has, and none at all; twice the same variable. */
static void wrong_training_steps_are_refused(void **state)
{
    static const struct {
        const char *key, *value, *words;
    } cases[] = {
        {"absent", "n", "variable \"absent\" is neither an initialiser nor an input"},
        {"sizes", "absent", "the training step has no such value"},
        {"sizes", "n", NULL},
        {NULL, NULL, "the training information has no update bindings"},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        wire g = {0}, step = {0}, info = {0}, binding = {0};
        put_message(&g, 5, ints("sizes", (int64_t[]){1, 2}, 2));
        put_message(&g, 1, node("Relu", "x", "y"));
        put_message(&step, 1, node("Identity", "sizes", "n"));
        wire out = {0};
        put_text(&out, 1, "n");
        put_message(&step, 12, out);
        put_message(&info, 2, step);
        if (cases[i].key) {
            put_text(&binding, 1, cases[i].key);
            put_text(&binding, 2, cases[i].value);
            put_message(&info, 4, binding);
        }
        wire w = model(g);
        put_message(&w, 20, info);
        fl_diag dg;
        fl_graph *graph = NULL;
        fl_diag_init(&dg);
        fl_status status = fl_onnx_decode_training(w.bytes, w.n, "bad.onnx", NULL, &graph, &dg);
        assert_int_equal(status == FL_OK, cases[i].words == NULL);
        if (cases[i].words && !strstr(dg.entries[0].text, cases[i].words))
            fail_msg("expected \"%s\", got \"%s\"", cases[i].words, dg.entries[0].text);
        if (graph)
            assert_int_equal(graph->n_updates, 1);
        fl_graph_free(graph);
        fl_diag_deinit(&dg);
        free(w.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_names_take_linear_time), cmocka_unit_test(expansions_stay_within_the_budget),
        cmocka_unit_test(made_up_names_give_way),      cmocka_unit_test(cycles_are_refused),
        cmocka_unit_test(operands_left_out_are_refused),
        cmocka_unit_test(run_time_sizes_are_limited),
        cmocka_unit_test(wrong_training_steps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
