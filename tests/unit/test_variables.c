/* test_variables.c -- oracle: the definitions in ir/README.md ("First weights") and ir/base/rng.h, element by element. */
#include "runtime/variables.h"

#include "ir/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 9000, K = 20 };

/* A training program that scatters into `table`, `linear` and their accumulators, and replaces `bias`. */
static fl_graph *training_program(const float *table_data, bool symbolic)
{
    static const char *const names[] = {"table", "linear", "adagrad.a.table", "adagrad.a.linear"};
    fl_graph *g = fl_graph_new("train");
    fl_dim rows = symbolic ? fl_graph_symbol(g, "table_rows") : ROWS;
    fl_id index = fl_graph_input(g, "rows", fl_type_make(FL_INT64, 2, (fl_dim[]){5, 1}));

    for (int i = 0; i < 4; i++) {
        fl_dim width = i % 2 == 0 ? K : 1;
        fl_id w = fl_graph_variable(g, names[i], fl_type_make(FL_FLOAT, 2, (fl_dim[]){rows, width}));
        fl_id u = fl_graph_input(g, fl_graph_fresh_name(g, "u"), fl_type_make(FL_FLOAT, 2, (fl_dim[]){5, width}));
        fl_graph_update(g, w, fl_build_n(g, FL_OP_SCATTER_ND, "next", (fl_id[]){w, index, u}, 3));
    }
    fl_id bias = fl_graph_variable(g, "bias", fl_type_make(FL_FLOAT, 1, (fl_dim[]){3}));
    fl_graph_update(g, bias, fl_build_1(g, FL_OP_NEG, "bias_next", bias));
    if (table_data) {
        fl_tensor *t = fl_arena_new(&g->arena, fl_tensor, 1);
        *t = (fl_tensor){fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, K}), table_data, NULL, 0, 0};
        g->values[fl_graph_find(g, "table")].data = t;
    }
    return g;
}

static fl_graph *init_program(void)
{
    fl_graph *g = fl_graph_new("init");
    static const fl_op ops[] = {FL_OP_RANDOM_NORMAL, FL_OP_RANDOM_UNIFORM, FL_OP_INIT_CONSTANT, FL_OP_INIT_CONSTANT, FL_OP_INIT_CONSTANT};
    static const char *const names[] = {"table", "linear", "adagrad.a.table", "adagrad.a.linear", "bias"};

    for (size_t i = 0; i < FL_COUNT(ops); i++) {
        fl_id node = fl_node_new(g, ops[i], names[i], NULL, 0, 1);
        fl_node_set_float(g, node, "mean", 0.5);
        fl_node_set_float(g, node, "scale", 0.01);
        fl_node_set_float(g, node, "low", -2);
        fl_node_set_float(g, node, "high", 3);
        fl_node_set_float(g, node, "value", 0.125 * (double)i);
        fl_graph_output(g, fl_node_out(g, node, 0));
    }
    return g;
}

static void records_hold_what_belongs_to_a_row(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        float *data = malloc((size_t)ROWS * K * sizeof *data);
        for (int i = 0; i < ROWS * K; i++)
            data[i] = (float)i;
        fl_graph *train = training_program(data, true), *init = init_program();
        fl_variables v;
        fl_pool *pool = NULL;

        assert_int_equal(fl_pool_new(threads, &pool, NULL), FL_OK);
        assert_int_equal(fl_variables_open(&v, (const fl_graph *const[]){train, NULL}, 2, train, ROWS, NULL, 0, pool, NULL), FL_OK);
        assert_int_equal(v.parameter_bytes, 2 * ROWS * (K + 1) * 4 + 12);
        const fl_var *table = fl_store_find(&v.store, "table"), *a = fl_store_find(&v.store, "adagrad.a.table");
        const fl_var *linear = fl_store_find(&v.store, "linear"), *bias = fl_store_find(&v.store, "bias");
        /* 20 + 20 + 1 + 1 floats are 168 bytes, padded to three lines. */
        assert_int_equal(table->stride, 48);
        assert_int_equal(linear->stride, 48);
        assert_int_equal(bias->stride, 1);
        assert_int_equal((uintptr_t)table->data % 64, 0);
        assert_ptr_equal(a->data, (float *)table->data + K);
        assert_ptr_equal(linear->data, (float *)table->data + 2 * K);
        fl_diag dg;
        fl_diag_init(&dg);
        assert_int_equal(fl_variables_check(&v, train, &dg), FL_BAD_INPUT);
        assert_string_equal(dg.entries[0].text, "the model has no values for \"linear\": it has not been trained");
        fl_diag_deinit(&dg);

        assert_int_equal(fl_variables_first(&v, init, 42, false, pool, NULL), FL_OK);
        assert_int_equal(fl_variables_check(&v, train, NULL), FL_OK);
        for (int i = 0; i < ROWS; i++) {
            for (int k = 0; k < K; k++) {
                assert_true(((float *)table->data)[i * 48 + k] == (float)(i * K + k)); /* stored */
                assert_true(((float *)a->data)[i * 48 + k] == 0.25f);
            }
            float want = (float)(-2 + 5 * fl_random_uniform(42, fl_hash_bytes("linear", 6, 0), (uint64_t)i));
            assert_true(((float *)linear->data)[i * 48] == want);
        }
        assert_true(((float *)bias->data)[2] == 0.5f);
        assert_int_equal(fl_variables_first(&v, init, 42, true, pool, NULL), FL_OK);
        float want = (float)(0.5 + 0.01 * fl_random_normal(42, fl_hash_bytes("table", 5, 0), 7 * K + 3));
        assert_true(((float *)table->data)[7 * 48 + 3] == want);
        fl_variables_close(&v);
        fl_pool_free(pool);
        fl_graph_free(train);
        fl_graph_free(init);
        free(data);
    }
}

static void predicting_copies_nothing(void **state)
{
    float *data = calloc((size_t)ROWS * K, sizeof *data);
    fl_graph *g = training_program(data, false);
    fl_variables v;
    (void)state;

    assert_int_equal(fl_variables_open(&v, (const fl_graph *const[]){g}, 1, NULL, 0, NULL, 0, NULL, NULL), FL_OK);
    assert_ptr_equal(fl_store_find(&v.store, "table")->data, data);
    assert_int_equal(fl_store_find(&v.store, "table")->stride, K);
    assert_true(v.pages.size < (size_t)ROWS * K * 4 * 2);
    fl_variables_close(&v);
    fl_graph_free(g);
    free(data);
}

static void unbound_sizes_are_refused(void **state)
{
    fl_graph *g = training_program(NULL, true);
    fl_variables v;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    assert_int_equal(fl_variables_open(&v, (const fl_graph *const[]){g}, 1, g, 0, NULL, 0, NULL, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_TABLE_UNBOUND);
    assert_string_equal(dg.entries[0].text,
                        "variable \"table\" has no size yet: dimension \"table_rows\" comes from a vocabulary");
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_hold_what_belongs_to_a_row),
        cmocka_unit_test(predicting_copies_nothing),
        cmocka_unit_test(unbound_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
