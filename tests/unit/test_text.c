/*
 * test_text.c -- graphs as text: what is printed reads back as the same text; errors name their place.
 */
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const texts[] = {
    "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1]>\n"
    "chain (int64[batch,4] ids, float[100,8] t) => (float[batch,4,8] e) {\n"
    "   e = Gather (t, ids)\n"
    "}\n",
    "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1],\n"
    " metadata_props: [\"ai.flen.variables\": \"t\",\n"
    "  \"ai.flen.disjoint\": \"ids\"]>\n"
    "pool (int64[batch,3] ids, float[100,8] t) => (float[batch,8] h) {\n"
    "   f_0, f_1, \"\", q_1 = ai.flen.FieldPool <fields = [1, 2], squares = 1> (t, ids)\n"
    "   r = Constant <value_float = 0.5> ()\n"
    "   \"a/b\" = Mul (f_0, r)\n"
    "   h = Add (\"a/b\", q_1)\n"
    "}\n",
    "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1]>\n"
    "weights (float[batch,2] x) => (float[batch,1] y)\n"
    "<  float[2,1] w = {0.1, -2.0}>\n"
    "{\n"
    "   y = MatMul (x, w)\n"
    "}\n",
};

static char *print(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(fl_graph_print(g, NULL, f, NULL), FL_OK);
    fclose(f);
    return text;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        fl_graph *g;
        fl_diag dg;
        fl_diag_init(&dg);
        fl_status s = fl_graph_parse(texts[i], strlen(texts[i]), "t", &g, &dg);
        if (s != FL_OK)
            fl_diag_print(&dg, stderr, "t", "t", texts[i]);
        assert_int_equal(s, FL_OK);
        assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
        char *text = print(g);
        assert_string_equal(text, texts[i]);
        free(text);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

static void expect_error(const char *text, uint32_t line, uint32_t column, const char *words)
{
    fl_graph *g;
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_not_equal(fl_graph_parse(text, strlen(text), "t", &g, &dg), FL_OK);
    assert_true(dg.n_entries >= 1);
    assert_string_equal(dg.entries[0].text, words);
    assert_int_equal(dg.entries[0].line, line);
    assert_int_equal(dg.entries[0].column, column);
    fl_diag_deinit(&dg);
}

static void test_errors_have_places(void **state)
{
    (void)state;
    expect_error("", 1, 1, "expected the graph's name, but the text ends");
    expect_error("g (float[n] x) => (float[n] y) {\n  y = Relu (z)\n}", 2, 13, "\"z\" is read, but not defined before");
    expect_error("g (float[n] x) => (float[n] y) {\n  y = Reluu (x)\n}", 2, 7, "unknown operator \"Reluu\"");
    expect_error("g (float[n] x) => (float[n] x) {\n  x = Relu (x)\n}", 2, 3, "\"x\" is defined twice");
    expect_error("g (float[n] x) => (float[n] y) {\n}", 1, 29, "\"y\" is an output, but not defined");
    expect_error("g (floaty[n] x) => (float[n] y) {}", 1, 4, "expected a type such as float[batch,4], but found \"floaty\"");
    expect_error("g (float[2] x) => (float[2] y) <float[2] w = {1.0}> {}", 1, 50, "expected ',', but found '}'");
    expect_error("g (float[2] x) => (float[2] y) <float[99999999999] w = {1.0}> {}", 1, 56,
                 "the type has more elements than the text");
}

static void test_any_prefix_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        size_t whole = strlen(texts[i]) - 2; /* without the brace and the newline behind it */
        for (size_t n = 0; n <= whole; n++) {
            fl_graph *g;
            assert_int_not_equal(fl_graph_parse(texts[i], n, "t", &g, NULL), FL_OK);
        }
    }
}

static void test_verifier_names_rule(void **state)
{
    (void)state;
    fl_graph *g = fl_graph_new("g");
    fl_diag dg;
    fl_diag_init(&dg);
    fl_id x = fl_graph_input(g, "x", fl_type_make(FL_FLOAT, 1, (fl_dim[]){3}));
    fl_id y = fl_build_1(g, FL_OP_RELU, "y", x);
    fl_id z = fl_build_1(g, FL_OP_RELU, "z", y);
    fl_graph_output(g, z);
    assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
    g->nodes[fl_value_node(g, y)].in[0] = z; /* a node that reads a later one */
    assert_int_equal(fl_graph_verify(g, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "node \"y\" (Relu) reads \"z\" before it is made");
    fl_diag_clear(&dg);
    g->nodes[fl_value_node(g, y)].in[0] = x;
    g->nodes[fl_value_node(g, y)].n_in = 0;
    assert_int_equal(fl_graph_verify(g, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "Relu \"y\": has 0 operands, but takes at least 1");
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

/* One number of state for each row; a vector's rows are its elements. */
static void test_rowwise_state(void **state)
{
    (void)state;
    static const char text[] = "g (float[5] w, float[5] a, float[5] grad, float f) => (float[5] w2, float[5] a2) {\n"
                               "  w2, a2 = ai.flen.RowwiseAdagrad <lr = 0.1, epsilon = 1e-6> (w, a, grad, f)\n"
                               "}";
    fl_graph *g;
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_graph_parse(text, strlen(text), "g", &g, &dg), FL_OK);
    assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_errors_have_places),
        cmocka_unit_test(test_any_prefix_ends),
        cmocka_unit_test(test_verifier_names_rule),
        cmocka_unit_test(test_rowwise_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
