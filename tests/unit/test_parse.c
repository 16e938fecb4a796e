/*
 * Text of graphs, in and out. Oracle: what is printed reads back as the same text; mistakes are named with their place.
 */
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *print(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(fl_graph_print(g, NULL, f, NULL), FL_OK);
    fclose(f);
    return text;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "g (float[batch,4] x) => (float[batch,4] y) {\n y = Relu (x) # comment\n}",
        "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\" : 1], metadata_props: [\"ai.flen.variables\": \"w,a.b\", \"k\": \"a \\\"b\\\"\"]>\n"
        "\"odd name\" (int64[batch,3] ids, float[rows,2] \"a.b\", float s) => (float[batch,2] h)\n"
        "<float[2] w = {0.1, -1e-30}, int64[2] c = {0, -1}, float[9000] big = [\"location\": \"w.bin\", \"offset\": \"64\", \"length\": \"36000\"]>\n"
        "{ [n1] f, \"\" = ai.flen.FieldPool <fields = [1, 2]> (\"a.b\", ids)\n"
        "  k = Constant <value = double[2,1] {1, 2.5}> ()\n e = Constant <value_ints: ints = []> ()\n"
        "  q = Add (f, w)\n h = Mul (q, s)\n}",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        fl_diag dg;
        fl_graph *g = NULL, *again = NULL;
        fl_diag_init(&dg);
        fl_status s = fl_graph_parse(texts[i], strlen(texts[i]), "t", &g, &dg);
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
        assert_int_equal(s, FL_OK);
        char *first = print(g);
        assert_int_equal(fl_graph_parse(first, strlen(first), "t", &again, &dg), FL_OK);
        char *second = print(again);
        assert_string_equal(first, second);
        assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
        free(first);
        free(second);
        fl_graph_free(g);
        fl_graph_free(again);
        fl_diag_deinit(&dg);
    }
}

static void test_mistakes(void **state)
{
    (void)state;
    static const char text[] =
        "g (float[batch,4] x) => (float[batch,4] y) {\n   a = Rleu (x)\n   b = Relu (z)\n   b = Relu (x)\n}";
    static const char *const want[] = {"\"y\" is an output, but not defined", "unknown operator \"Rleu\"", "\"z\" is read, but not defined before",
                                       "\"b\" is defined twice"}; /* by line */
    fl_diag dg;
    fl_graph *g = NULL;
    fl_diag_init(&dg);
    assert_int_equal(fl_graph_parse(text, strlen(text), "t", &g, &dg), FL_UNSUPPORTED); /* of the first one */
    assert_int_equal(dg.n_entries, FL_COUNT(want));
    for (uint32_t i = 0; i < FL_COUNT(want); i++)
        assert_string_equal(dg.entries[i].text, want[i]);
    assert_int_equal(dg.entries[1].line, 2);
    assert_int_equal(dg.entries[1].column, 8);
    assert_string_equal(dg.entries[1].hints, "did you mean \"Relu\"?\n");
    fl_diag_deinit(&dg);
}

/* Every beginning of a good text ends in a diagnostic, never in a crash. */
static void test_cut_texts(void **state)
{
    (void)state;
    static const char text[] = "<ir_version: 8, metadata_props: [\"a\": \"b\"]> g (float[batch,4] x, int64 i) => (float y)\n"
                               "<float[2] w = {0.1, 2}> { y = Add <a = [1.5, 2], b = \"s\", c = int32[1] {3}> (x, w)\n }";
    for (size_t n = 0; n + 1 < strlen(text); n++) {
        fl_diag dg;
        fl_graph *g = NULL;
        fl_diag_init(&dg);
        char *copy = malloc(n ? n : 1); /* exact, so that a sanitizer sees every byte read behind it */
        assert_non_null(copy);
        memcpy(copy, text, n);
        fl_status s = fl_graph_parse(copy, n, "t", &g, &dg);
        assert_true(s == FL_OK || dg.n_errors > 0);
        fl_graph_free(s == FL_OK ? g : NULL);
        free(copy);
        fl_diag_deinit(&dg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_mistakes), cmocka_unit_test(test_cut_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
