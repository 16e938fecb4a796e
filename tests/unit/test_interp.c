/*
 * test_interp.c -- the interpreter's kernels against values derived by hand (the calculation stands beside each).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/interp/interp.h"

#include <math.h>
#include <string.h>

typedef struct bench {
    fl_graph *g;
    fl_interp *in;
    fl_diag dg;
} bench;

static bench make(void)
{
    bench b = {.g = fl_graph_new("g")};
    fl_diag_init(&b.dg);
    return b;
}

static void done(bench *b)
{
    fl_interp_free(b->in);
    fl_graph_free(b->g);
    fl_diag_deinit(&b->dg);
}

static fl_id reals(bench *b, const char *name, int rank, const fl_dim *dims, const double *f)
{
    return fl_graph_constant(b->g, name, fl_type_make(FL_DOUBLE, rank, dims), f);
}

static fl_id ints(bench *b, const char *name, int rank, const fl_dim *dims, const int64_t *i)
{
    return fl_graph_constant(b->g, name, fl_type_make(FL_INT64, rank, dims), i);
}

static fl_status run(bench *b)
{
    assert_int_equal(fl_interp_new(b->g, &b->in, &b->dg), FL_OK);
    return fl_interp_run(b->in, &b->dg);
}

static void expect(const bench *b, fl_id v, const double *want, size_t n)
{
    const fl_array *a = fl_interp_get(b->in, v);
    assert_true(a && a->n == (int64_t)n);
    for (size_t k = 0; k < n; k++)
        assert_true(fabs((a->f ? a->f[k] : (double)a->i[k]) - want[k]) <= 1e-12 * (1 + fabs(want[k])));
}
#define EXPECT(b, v, ...) expect(b, v, (const double[]){__VA_ARGS__}, FL_COUNT(((const double[]){__VA_ARGS__})))

static void distinct_rows(void **state)
{
    (void)state;
    bench b = make();
    /* column 0 is 5 2 5, column 1 is 7 7 9 */
    fl_id x = ints(&b, "x", 2, (fl_dim[]){3, 2}, (int64_t[]){5, 7, 2, 7, 5, 9});
    fl_id u = fl_node_new(b.g, FL_OP_UNIQUE_ROWS, "u", &x, 1, 5);
    fl_id count = fl_node_out(b.g, u, 2), order = fl_node_out(b.g, u, 3), segment = fl_node_out(b.g, u, 4);
    fl_id df = reals(&b, "df", 2, (fl_dim[]){3, 1}, (double[]){1, 10, 100});
    fl_id dq = reals(&b, "dq", 2, (fl_dim[]){3, 1}, (double[]){1, 2, 3});
    fl_id e = reals(&b, "e", 2, (fl_dim[]){4, 1}, (double[]){1, 2, 3, 4});
    fl_id pg = fl_node_new(b.g, FL_OP_FIELD_POOL_GRAD, "pg", (fl_id[]){e, segment, order, count, df, df, dq, FL_NONE}, 8, 1);
    fl_node_set_ints(b.g, pg, "fields", (int64_t[]){1, 1}, 2);
    fl_node_set_int(b.g, pg, "squares", 1);
    fl_id one = reals(&b, "one", 1, (fl_dim[]){1}, (double[]){-1}), two = reals(&b, "two", 1, (fl_dim[]){1}, (double[]){0.5});
    fl_id scaled = fl_node_new(b.g, FL_OP_FIELD_POOL_GRAD, "sg", (fl_id[]){e, segment, order, count, df, FL_NONE, dq, dq, one, two}, 10, 1);
    fl_node_set_ints(b.g, scaled, "fields", (int64_t[]){1, 1}, 2);
    fl_node_set_int(b.g, scaled, "squares", 1);
    fl_node_set_int(b.g, scaled, "scaled", 1);
    fl_id e2 = reals(&b, "e2", 2, (fl_dim[]){4, 2}, (double[]){1, 10, 2, 20, 3, 30, 4, 40}), by = reals(&b, "by", 1, (fl_dim[]){2}, (double[]){2, 3});
    fl_id dq2 = reals(&b, "dq2", 2, (fl_dim[]){3, 2}, (double[]){1, -1, 2, -2, 3, -3});
    fl_id whole = fl_node_new(b.g, FL_OP_FIELD_POOL_GRAD, "wg", (fl_id[]){e2, segment, order, count, FL_NONE, dq2, by}, 7, 1);
    fl_node_set_ints(b.g, whole, "fields", (int64_t[]){2}, 1);
    fl_node_set_int(b.g, whole, "squares", 1);
    fl_node_set_int(b.g, whole, "scaled", 1);
    assert_int_equal(run(&b), FL_OK);
    EXPECT(&b, fl_node_out(b.g, u, 0), 5, 2, 7, 9);
    EXPECT(&b, fl_node_out(b.g, u, 1), 0, 2, 1, 2, 0, 3);
    EXPECT(&b, count, 2, 2);
    EXPECT(&b, order, 0, 2, 1, 0, 1, 2);
    EXPECT(&b, segment, 0, 2, 2, 3, 3, 5, 5, 6);
    /* df + 2 e dq over the rows of 5 (0, 2) and 2 (1); df alone over those of 7 (0, 1) and 9 (2) */
    EXPECT(&b, fl_node_out(b.g, pg, 0), 101 + 2 * 1 * 4, 10 + 2 * 2 * 2, 11, 100);
    /* of the same rows df - 2 e dq, and e dq alone */
    EXPECT(&b, fl_node_out(b.g, scaled, 0), 101 - 2 * 1 * 4, 10 - 2 * 2 * 2, 3 * 3, 4 * 3);
    /* 2 e2 dq2 times (2, 3), of rows (0, 2), (1), (0, 1), (2) */
    EXPECT(&b, fl_node_out(b.g, whole, 0), 2 * 1 * 4 * 2, -2 * 10 * 4 * 3, 2 * 2 * 2 * 2, -2 * 20 * 2 * 3, 2 * 3 * 3 * 2, -2 * 30 * 3 * 3, 2 * 4 * 3 * 2, -2 * 40 * 3 * 3);
    done(&b);
}

static void losses(void **state)
{
    (void)state;
    bench b = make();
    fl_id z = reals(&b, "z", 2, (fl_dim[]){3, 1}, (double[]){0, 800, -800});
    fl_id y = reals(&b, "y", 2, (fl_dim[]){3, 1}, (double[]){1, 0, 0});
    const char *kinds[] = {"bce", "bce_clamped"};
    fl_id out[2][2];
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < 2; d++) {
            out[k][d] = fl_build_2(b.g, d ? FL_OP_LOG_LOSS_GRAD : FL_OP_LOG_LOSS, "l", z, y);
            fl_node_set_string(b.g, fl_value_node(b.g, out[k][d]), "kind", kinds[k]);
        }
    assert_int_equal(run(&b), FL_OK);
    EXPECT(&b, out[0][0], log(2), 800, 0);
    EXPECT(&b, out[0][1], -0.5, 1, 0);
    EXPECT(&b, out[1][0], log(2), 100, 0);
    EXPECT(&b, out[1][1], -0.5, 0, 0);
    done(&b);
}

static void optimisers(void **state)
{
    (void)state;
    bench b = make();
    fl_id w = reals(&b, "w", 2, (fl_dim[]){2, 2}, (double[]){1, 2, 3, 4});
    fl_id a = reals(&b, "a", 2, (fl_dim[]){2, 2}, (double[]){0, 0, 0, 0});
    fl_id g = reals(&b, "grad", 2, (fl_dim[]){1, 2}, (double[]){3, 4});
    fl_id rows = ints(&b, "rows", 1, (fl_dim[]){1}, (int64_t[]){1}), factor = fl_build_scalar(b.g, "factor", 0.5);
    fl_id sgd = fl_node_new(b.g, FL_OP_SGD, "sgd", (fl_id[]){w, g, factor, rows}, 4, 1);
    fl_id ada = fl_node_new(b.g, FL_OP_ADAGRAD, "ada", (fl_id[]){w, a, g, factor, rows}, 5, 2);
    fl_node_set_float(b.g, sgd, "lr", 0.2); /* times the factor: 0.1 */
    fl_node_set_float(b.g, ada, "lr", 0.2);
    assert_int_equal(run(&b), FL_OK);
    EXPECT(&b, fl_node_out(b.g, sgd, 0), 1, 2, 2.7, 3.6);
    EXPECT(&b, fl_node_out(b.g, ada, 0), 1, 2, 2.9, 3.9);
    EXPECT(&b, fl_node_out(b.g, ada, 1), 0, 0, 9, 16);
    done(&b);
}

static void an_index_outside_is_reported(void **state)
{
    (void)state;
    bench b = make();
    fl_id t = reals(&b, "t", 2, (fl_dim[]){2, 1}, (double[]){1, 2});
    (void)fl_build_2(b.g, FL_OP_GATHER, "e", t, ints(&b, "x", 1, (fl_dim[]){2}, (int64_t[]){1, 4}));
    assert_int_equal(run(&b), FL_BAD_INPUT);
    assert_string_equal(b.dg.entries[0].text, "node \"e\" (Gather): index 4 of row 1 (element 1) lies outside a table of 2 rows");
    done(&b);
}

static void inputs_without_a_value_are_reported(void **state)
{
    (void)state;
    bench b = make();
    fl_id x = fl_graph_input(b.g, "x", fl_type_make(FL_FLOAT, 1, (fl_dim[]){2}));
    (void)fl_build_1(b.g, FL_OP_RELU, "y", x);
    assert_int_equal(run(&b), FL_BAD_INPUT);
    assert_int_equal(b.dg.entries[0].code, FL_E_INTERP_INPUT);
    assert_string_equal(b.dg.entries[0].text, "input \"x\" has no value");
    fl_diag_clear(&b.dg);
    assert_int_equal(fl_interp_set_doubles(b.in, x, 1, (int64_t[]){3}, (double[]){1, 2, 3}, &b.dg), FL_BAD_INPUT);
    assert_int_equal(b.dg.entries[0].code, FL_E_INTERP_INPUT);
    assert_string_equal(b.dg.entries[0].text, "\"x\" is float[2], given was extent 3 in dimension 0");
    done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(distinct_rows), cmocka_unit_test(losses), cmocka_unit_test(optimisers),
                                       cmocka_unit_test(an_index_outside_is_reported), cmocka_unit_test(inputs_without_a_value_are_reported)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
