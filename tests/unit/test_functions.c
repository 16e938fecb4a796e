/*
 * test_functions.c -- functions as graphs and in text: which are the same, and that every operator of ours that has a body is printed with it and read back.
 */
#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "tests/support/body_shapes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fl_graph *parse(const char *text)
{
    fl_graph *g = NULL;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = fl_graph_parse(text, strlen(text), "t", &g, &dg);
    if (s == FL_OK)
        s = fl_shape_infer(g, &dg);
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "t", "t", text);
    fl_diag_deinit(&dg);
    assert_int_equal(s, FL_OK);
    return g;
}

static bool equal(const char *a, const char *b, uint32_t *differs)
{
    fl_graph *x = parse(a), *y = parse(b);
    bool same;
    assert_int_equal(fl_functions_equal(x, y, &same, differs, NULL), FL_OK);
    fl_graph_free(x);
    fl_graph_free(y);
    return same;
}

#define SIGNATURE "f (float[b,4] x, float[b,4] w) => (float[b,4] y, float[b] z) {\n"

static void test_same(void **state)
{
    static const char one[] = SIGNATURE " t = Add (x, w)\n s = Mul (t, t)\n c = Constant <value_ints = [1]> ()\n y = LeakyRelu <alpha = 0.5> (s)\n z = ReduceSum <keepdims = 0> (t, c)\n}";
    static const char other[] =
        SIGNATURE " c = Constant <value = int64[1] {1}> ()\n u = Add (x, w)\n z = ReduceSum <keepdims = 0> (u, c)\n v = Mul (u, u)\n y = LeakyRelu <alpha = 0.5> (v)\n}";
    uint32_t differs;
    (void)state;
    assert_true(equal(one, other, &differs));
}

static void test_others(void **state)
{
    static const char one[] = SIGNATURE " t = Sub (x, w)\n c = Constant <value_ints = [1]> ()\n y = Relu (t)\n z = ReduceSum <keepdims = 0> (t, c)\n}";
    static const struct {
        const char *text;
        uint32_t differs;
    } others[] = {
        {SIGNATURE " t = Sub (w, x)\n c = Constant <value_ints = [1]> ()\n y = Relu (t)\n z = ReduceSum <keepdims = 0> (t, c)\n}", 0},
        {SIGNATURE " t = Sub (x, w)\n c = Constant <value_ints = [-1]> ()\n y = Relu (t)\n z = ReduceSum <keepdims = 0> (t, c)\n}", 1},
        {SIGNATURE " t = Sub (x, w)\n c = Constant <value_ints = [1]> ()\n y = Exp (t)\n z = ReduceSum <keepdims = 0> (t, c)\n}", 0},
        {SIGNATURE " t = Sub (x, w)\n c = Constant <value_ints = [1]> ()\n y = Relu (t)\n z = ReduceSum <keepdims = 0> (y, c)\n}", 1},
        {SIGNATURE " t = Sub (x, w)\n c = Constant <value_ints = [1]> ()\n y = Relu (t)\n z = ReduceSum <keepdims = 0, noop_with_empty_axes = 1> (t, c)\n}", 1},
        {"f (float[b,4] x, float[b,4] w) => (float[b,4] y) {\n y = Sub (x, w)\n}", 0},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(others); i++) {
        uint32_t differs = 7;
        assert_false(equal(one, others[i].text, &differs));
        assert_int_equal(differs, others[i].differs);
    }
}

static char *print(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(fl_graph_print(g, &(fl_print_options){.types = true, .functions = true}, f, NULL), FL_OK);
    fclose(f);
    return text;
}

static uint32_t count(const char *text, const char *word)
{
    uint32_t n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

/* 40 shapes of each operator: every name is that of a function which stands in the text once. */
static void test_all_bodies(void **state)
{
    uint32_t n_ops = 0;
    (void)state;
    for (int op = 0; op < FL_N_OPS; op++) {
        if (!fl_body_exists((fl_op)op))
            continue;
        char *text = body_shapes((fl_op)op, 0, 40);
        assert_non_null(text);
        fl_graph *g = parse(text), *again;
        char *first = print(g);
        again = parse(first);
        char *second = print(again);
        assert_string_equal(first, second);
        assert_true(count(first, "<domain: \"ai.flen\"") >= 1);
        for (fl_id i = 0; i < g->n_nodes; i++) {
            fl_arena arena;
            fl_arena_init(&arena);
            const char *name = fl_body_name(g, i, &arena), *head = name ? fl_arena_printf(&arena, "\n%s <", name) : NULL;
            if (name)
                assert_int_equal(count(first, head), 1);
            fl_arena_deinit(&arena);
        }
        assert_int_equal(g->n_nodes, again->n_nodes);
        n_ops++;
        free(first);
        free(second);
        free(text);
        fl_graph_free(g);
        fl_graph_free(again);
    }
    assert_true(n_ops >= 10);
}

/* 2 to the power of 19 nodes are asked for by 20 functions: refused before they are made. */
static void test_bomb(void **state)
{
    char *text = NULL;
    size_t n = 0;
    fl_graph *g = NULL;
    fl_diag dg;
    FILE *f = open_memstream(&text, &n);
    (void)state;
    fputs("g (float[b,4] x) => (float[b,4] y) {\n y = d.f0 (x)\n}\n", f);
    for (int i = 0; i < 20; i++) {
        const char *next = i == 19 ? "Relu" : NULL;
        fprintf(f, "<domain: \"d\", opset_import: [\"\" : 20]>\nf%d (x) => (y) {\n", i);
        for (int k = 0; k < 6; k++)
            next ? fprintf(f, " t%d = Relu (%s)\n", k, k ? "t0" : "x") : fprintf(f, " t%d = d.f%d (x)\n", k, i + 1);
        fputs(" y = Sum (t0, t1, t2, t3, t4, t5)\n}\n", f);
    }
    fclose(f);
    fl_diag_init(&dg);
    assert_int_equal(fl_graph_parse(text, n, "t", &g, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_ONNX_LIMIT);
    fl_diag_deinit(&dg);
    free(text);
}

/* Every pair of neighbours that forms a region becomes a function, one region or two, and the graph is as it was when they are inlined: order, names and ids of what is read outside. */
static void test_there_and_back(void **state)
{
    static const char text[] = "g (float[b,4] x, float[4,4] w) => (float[b,4] y, float[b,4] z) {\n"
                               " c = Constant <value_ints = [1]> ()\n s = MatMul (x, w)\n m = ReduceMax <keepdims = 1> (s, c)\n t = Sub (s, m)\n"
                               " u = Exp (t)\n v = Neg (u)\n r = ReduceSum <keepdims = 1> (u, c)\n y = Div (u, r)\n z = Mul (v, y)\n}";
    (void)state;
    for (fl_id first = 1; first < 8; first++) {
        for (fl_id second = first + 2; second < 10; second++) {
            fl_graph *g = parse(text);
            char *before = print(g);
            bool inside[16] = {[0] = false};
            fl_diag dg;
            fl_id y = fl_graph_find(g, "y");
            fl_diag_init(&dg);
            inside[first] = inside[first + 1] = true;
            assert_int_equal(fl_functions_outline(g, "One", inside, &dg), FL_OK);
            assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
            if (second < 8) { /* by place: ids of nodes have changed */
                bool others[16] = {[0] = false};
                for (fl_id i = 0; i < g->n_nodes; i++)
                    others[i] = g->nodes[i].op != FL_OP_CALL && (g->nodes[i].place == second + 1 || g->nodes[i].place == second + 2);
                assert_int_equal(fl_functions_outline(g, "Two", others, &dg), FL_OK);
                if (fl_graph_verify(g, &dg) != FL_OK)
                    fl_diag_print(&dg, stderr, "t", NULL, NULL);
                assert_int_equal(g->n_functions, 2);
            }
            char *outlined = print(g);
            fl_graph *again = parse(outlined);
            char *printed = print(again);
            assert_string_equal(outlined, printed);
            assert_int_equal(fl_functions_inline(g, &dg), FL_OK);
            assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
            char *after = print(g);
            assert_string_equal(before, after);
            assert_int_equal(fl_graph_find(g, "y"), y);
            assert_int_equal(dg.n_entries, 0);
            fl_diag_deinit(&dg);
            fl_graph_free(g);
            fl_graph_free(again);
            free(before);
            free(outlined);
            free(printed);
            free(after);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_others), cmocka_unit_test(test_all_bodies), cmocka_unit_test(test_bomb),
                                       cmocka_unit_test(test_there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
