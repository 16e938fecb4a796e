/*
 * test_bench_work.c -- what a sample needs, counted by hand on a few rows; and that measuring the machine leaves tables as they were.
 */
#include "runtime/bench_work.h"

#include "runtime/code_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Four rows of two slots: batches of two have 1 + 2 and 1 + 1 distinct ids. */
static const int64_t ids[] = {0, 4, 0, 5, 1, 4, 1, 4};

enum { ROWS = 8, K = 4 };

static float records[ROWS][2 * K]; /* table, state */
static float weights[2 * K * 3];

static fl_var vars[] = {
    {"table", {FL_FLOAT, 2, {ROWS, K}}, records, 2 * K},
    {"state", {FL_FLOAT, 2, {ROWS, K}}, &records[0][K], 2 * K},
    {"w", {FL_FLOAT, 2, {2 * K, 3}}, weights, 3},
};

typedef struct fixture {
    fl_graph *g;
    fl_session s;
    fl_work_rows rows;
    fl_run run;
    const void *inputs[1];
    int64_t dims[16];
} fixture;

static fl_id begin(fixture *f, const char *name)
{
    memset(f, 0, sizeof *f);
    f->g = fl_graph_new(name);
    return fl_graph_input(f->g, "ids", fl_type_make(FL_INT64, 2, (fl_dim[]){fl_graph_symbol(f->g, "batch"), 2}));
}

static void end(fixture *f, int64_t batch)
{
    f->inputs[0] = ids;
    f->dims[0] = 4;
    f->run = (fl_run){f->dims, f->inputs, NULL};
    f->s.variables.store = (fl_store){vars, FL_COUNT(vars)};
    f->s.programs[FL_PROGRAM_PREDICT] = f->g;
    f->rows = (fl_work_rows){&f->s, FL_PROGRAM_PREDICT, &f->run, 4, batch, NULL};
}

/* y = Reshape(Gather(table, ids)) w: every id is looked up. */
static void make_look_ups(fixture *f, int64_t batch)
{
    fl_id i = begin(f, "predict");
    fl_id e = fl_build_2(f->g, FL_OP_GATHER, "e", fl_graph_variable(f->g, "table", vars[0].type), i);
    fl_id flat = fl_build_2(f->g, FL_OP_RESHAPE, "flat", e, fl_build_ints(f->g, "shape", (int64_t[]){0, 2 * K}, 2));
    fl_graph_output(f->g, fl_build_2(f->g, FL_OP_MATMUL, "y", flat, fl_graph_variable(f->g, "w", vars[2].type)));
    end(f, batch);
}

/* table += state on the batch's distinct rows, which lie in one record. */
static void make_updates(fixture *f, int64_t batch)
{
    fl_id i = begin(f, "train");
    fl_id unique = fl_node_new(f->g, FL_OP_UNIQUE_ROWS, "u", &i, 1, 5);
    fl_build_infer(f->g, unique);
    fl_id u = fl_node_out(f->g, unique, 0), table = fl_graph_variable(f->g, "table", vars[0].type);
    fl_id sum = fl_build_2(f->g, FL_OP_ADD, "sum", fl_build_2(f->g, FL_OP_GATHER, "t", table, u),
                           fl_build_2(f->g, FL_OP_GATHER, "s", fl_graph_variable(f->g, "state", vars[1].type), u));
    fl_id index = fl_build_2(f->g, FL_OP_UNSQUEEZE, "index", u, fl_build_ints(f->g, "axes", (int64_t[]){1}, 1));
    fl_id next = fl_build_n(f->g, FL_OP_SCATTER_ND, "next", (fl_id[]){table, index, sum}, 3);
    fl_graph_update(f->g, table, next);
    end(f, batch);
}

static void near(double got, double want)
{
    assert_true(got > want - 1e-9 && got < want + 1e-9);
}

static void look_ups_are_counted(void **state)
{
    fixture f;
    fl_work w;
    (void)state;

    make_look_ups(&f, 2);
    assert_int_equal(fl_work_count(&w, &f.rows, NULL), FL_OK);
    assert_int_equal(w.n_look_ups, 1);
    assert_false(w.look_ups[0].distinct || w.look_ups[0].writes);
    near(w.rows, 2);
    near(w.flops, 2 * 8 * 3);
    near(w.weight_bytes, 96);
    near(w.bytes, 2 * 16 + 96 / 2.0 + 16);
    fl_work_drop_look_ups(&w);
    fl_graph_free(f.g);
}

static void distinct_rows_are_counted_once_a_batch(void **state)
{
    const double rows[] = {2, 1.25, 0, 1}; /* of a sample, in batches of 1, 2 and 4: (3 + 2) / 2 / 2, and {0, 1}, {4, 5} by 4 */
    (void)state;

    for (int64_t batch = 1; batch <= 4; batch *= 2) {
        fixture f;
        fl_work w;
        make_updates(&f, batch);
        assert_int_equal(fl_work_count(&w, &f.rows, NULL), FL_OK);
        assert_int_equal(w.n_look_ups, 1);
        assert_true(w.look_ups[0].distinct && w.look_ups[0].writes);
        assert_int_equal(w.look_ups[0].row_bytes, 32);
        near(w.rows, rows[batch - 1]);
        near(w.bytes, rows[batch - 1] * 32 * 2 + 16);
        near(w.weight_bytes, 0);
        fl_work_drop_look_ups(&w);
        fl_graph_free(f.g);
    }
}

static void measuring_changes_nothing(void **state)
{
    fl_pool *pool = NULL;
    float was[ROWS][2 * K];
    fixture f;
    fl_work w;
    fl_limits l;
    (void)state;

    for (int i = 0; i < ROWS * 2 * K; i++)
        records[i / (2 * K)][i % (2 * K)] = (float)i;
    memcpy(was, records, sizeof was);
    assert_int_equal(fl_pool_new(2, &pool, NULL), FL_OK);
    for (int with_pool = 0; with_pool < 2; with_pool++) {
        make_updates(&f, 2);
        f.s.pool = with_pool ? pool : NULL;
        assert_int_equal(fl_work_count(&w, &f.rows, NULL), FL_OK);
        fl_work_touch(&w);
        static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
        for (uint32_t i = 0; i < 3 && strcmp(levels[i], fl_cpu_level()) <= 0; i++) {
            assert_int_equal(fl_limits_measure(&l, &w, &f.rows, levels[i], 0.004, NULL), FL_OK);
            assert_true(l.flops > 1e8 && l.read > 1e7 && l.row_rate > 1e4);
            assert_true(l.seconds[l.slowest] > 0);
        }
        fl_work_drop_look_ups(&w);
        fl_graph_free(f.g);
    }
    fl_pool_free(pool);
    assert_memory_equal(was, records, sizeof was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look_ups_are_counted),
        cmocka_unit_test(distinct_rows_are_counted_once_a_batch),
        cmocka_unit_test(measuring_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
