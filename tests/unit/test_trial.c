/*
 * test_trial.c -- tables that are cut for a trial: which ones, and that what is looked up stays the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/trial.h"
#include "ir/print.h"
#include "ir/shape.h"

#include <string.h>

enum { ROWS = 300000, WIDTH = 4, BATCH = 3 };

static fl_graph *parse(const char *text, fl_diag *dg)
{
    fl_graph *g = NULL;
    fl_diag_init(dg);
    if (fl_graph_parse(text, strlen(text), "text", &g, dg) != FL_OK || fl_shape_infer(g, dg) != FL_OK)
        fl_diag_print(dg, stderr, "test", NULL, NULL);
    assert_non_null(g);
    return g;
}

static int64_t rows_of(const fl_graph *g, const char *table)
{
    return fl_value_type(g, fl_graph_find(g, table))->dims[0];
}

/* The rows that table `t` has after the cut of a graph with this body. */
static int64_t rows_after(const char *body)
{
    char text[1024];
    fl_diag dg;
    snprintf(text, sizeof text, "<opset_import: [\"\": 20, \"ai.flen\": 1], metadata_props: [\"ai.flen.variables\": \"t\"]>\n"
             "g (int64[batch,2] ids, float[300000,4] t) => (float[batch,2,4] y) {\n%s\n}\n", body);
    fl_graph *g = parse(text, &dg);
    assert_int_equal(fl_trial_cut(&g, 1, &dg), FL_OK);
    int64_t rows = rows_of(g, "t");
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    return rows;
}

static void only_tables_that_inputs_index_are_cut(void **state)
{
    (void)state;
    assert_int_equal(rows_after("y = Gather (t, ids)"), 4096);
    assert_int_equal(rows_after("s = Constant <value_ints = [1,1]> ()\n a, b = Split <axis = 1> (ids, s)\n c = Concat <axis = 1> (b, a)\n y = Gather (t, c)"), 4096);
    assert_int_equal(rows_after("c = Constant <value_int = 299000> ()\n i = Add (ids, c)\n y = Gather (t, i)"), ROWS);
    assert_int_equal(rows_after("r = Gather (t, ids)\n a = Constant <value_ints = [0,1]> ()\n s = ReduceSum <keepdims = 0> (t, a)\n y = Add (r, s)"), ROWS);
    assert_int_equal(rows_after("p = Transpose <perm = [1,0]> (t)\n r = Gather <axis = 1> (p, ids)\n y = Transpose <perm = [1,2,0]> (r)"), ROWS);
}

/* Two graphs that one comparison needs: a table is cut in both or in none. */
static void both_or_none(void **state)
{
    (void)state;
    static const char head[] = "<opset_import: [\"\": 20], metadata_props: [\"ai.flen.variables\": \"t\"]>\n"
                               "g (int64[batch,2] ids, float[300000,4] t) => (float[batch,2,4] y) {\n";
    char text[2][512];
    snprintf(text[0], sizeof text[0], "%sy = Gather (t, ids)\n}\n", head);
    snprintf(text[1], sizeof text[1], "%su = Relu (t)\n y = Gather (u, ids)\n}\n", head);
    for (int other = 0; other < 2; other++) {
        fl_diag dg, dg2;
        fl_graph *g[2] = {parse(text[0], &dg), parse(text[other], &dg2)};
        assert_int_equal(fl_trial_cut(g, 2, &dg), FL_OK);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(rows_of(g[i], "t"), other ? ROWS : 4096);
            fl_graph_free(g[i]);
        }
        fl_diag_deinit(&dg);
        fl_diag_deinit(&dg2);
    }
}

/* Given rows of a table with data: after the cut the same values are looked up, out of as many rows as are asked for. */
static void kept_rows_have_their_values(void **state)
{
    (void)state;
    static float data[ROWS * WIDTH];
    static const int64_t ids[BATCH * 2] = {299999, 7, 7, 0, 4096, 299999};
    fl_diag dg;
    for (int i = 0; i < ROWS * WIDTH; i++)
        data[i] = (float)(i % 1000003);
    fl_graph *g[2];
    fl_trial *t[2];
    fl_trial_given given[2];
    for (int i = 0; i < 2; i++) {
        g[i] = parse("<opset_import: [\"\": 20], metadata_props: [\"ai.flen.variables\": \"t\"]>\n"
                     "g (int64[batch,2] ids, float[n,4] t) => (float[batch,2,4] y) {\n y = Gather (t, ids)\n}\n", &dg);
        fl_tensor *stored = fl_arena_new(&g[i]->arena, fl_tensor, 1);
        assert_non_null(stored);
        *stored = (fl_tensor){.type = fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, WIDTH}), .bytes = data, .length = sizeof data};
        g[i]->values[fl_graph_find(g[i], "t")].data = stored;
        given[i] = (fl_trial_given){"ids", {.type = fl_type_make(FL_INT64, 2, (fl_dim[]){BATCH, 2}), .bytes = ids, .length = sizeof ids}};
        fl_trial_options o = {.seed = 1, .batch = BATCH, .given = &given[i], .n_given = 1, .table_rows = ROWS};
        if (i == 1) {
            assert_int_equal(fl_trial_keep(g[i], &given[i], 1, &o.table_rows, &dg), FL_OK);
            assert_int_equal(o.table_rows, 4); /* 0, 7, 4096, 299999 */
            static const int64_t renumbered[BATCH * 2] = {3, 1, 1, 0, 2, 3};
            assert_memory_equal(given[i].tensor.bytes, renumbered, sizeof renumbered);
        }
        assert_int_equal(fl_trial_new(g[i], &o, &t[i], &dg), FL_OK);
    }
    fl_difference d;
    fl_id y = fl_graph_find(g[0], "y");
    assert_false(fl_trial_differs(t[0], y, t[1], y, 0, &d));
    assert_true(fl_trial_differs(t[0], fl_graph_find(g[0], "ids"), t[1], fl_graph_find(g[1], "ids"), 0, &d));
    for (int i = 0; i < 2; i++) {
        fl_trial_free(t[i]);
        fl_graph_free(g[i]);
    }
    fl_diag_deinit(&dg);
}

/* Few rows, or rows that are computed: nothing changes. */
static void others_stay(void **state)
{
    (void)state;
    static const int64_t ids[2] = {5, 6};
    static const char *const bodies[] = {"y = Gather (t, ids)", "y = Gather (t, ids)", "c = Constant <value_int = 1> ()\n i = Add (ids, c)\n y = Gather (t, i)"};
    static const int64_t rows[] = {4096, 4097, 300000}, after[] = {4096, 2, 300000};
    for (size_t i = 0; i < FL_COUNT(bodies); i++) {
        char text[512];
        fl_diag dg;
        snprintf(text, sizeof text, "<opset_import: [\"\": 20], metadata_props: [\"ai.flen.variables\": \"t\"]>\n"
                 "g (int64[batch,2] ids, float[%lld,4] t) => (float[batch,2,4] y) {\n%s\n}\n", (long long)rows[i], bodies[i]);
        fl_graph *g = parse(text, &dg);
        fl_trial_given given = {"ids", {.type = fl_type_make(FL_INT64, 2, (fl_dim[]){1, 2}), .bytes = ids, .length = sizeof ids}};
        int64_t n = rows[i];
        assert_int_equal(fl_trial_keep(g, &given, 1, &n, &dg), FL_OK);
        assert_int_equal(n, after[i]);
        assert_int_equal(rows_of(g, "t"), after[i]);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_tables_that_inputs_index_are_cut), cmocka_unit_test(both_or_none),
        cmocka_unit_test(kept_rows_have_their_values), cmocka_unit_test(others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
