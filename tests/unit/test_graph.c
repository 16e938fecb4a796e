/*
 * test_graph.c -- names, order, compaction and copies of graphs of every size around the name table's growth.
 */
#include "ir/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* x -> v_0 -> v_1 ... -> v_{n-1} */
static fl_graph *chain(uint32_t n)
{
    fl_graph *g = fl_graph_new("chain");
    fl_id v = fl_graph_input(g, "x", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}));
    for (uint32_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "v%u", i);
        v = fl_build_1(g, FL_OP_RELU, name, v);
    }
    fl_graph_output(g, v);
    return g;
}

static void all_found(const fl_graph *g)
{
    for (fl_id v = 0; v < g->n_values; v++)
        if (g->values[v].name)
            assert_int_equal(fl_graph_find(g, g->values[v].name), v);
    assert_int_equal(fl_graph_find(g, "nowhere"), FL_NONE);
}

static void test_names_survive_compaction_and_copies(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 600; n += 7) {
        fl_graph *g = chain(n);
        all_found(g);
        fl_graph *copy = fl_graph_clone(g);
        all_found(copy);
        fl_node_erase(copy, n - 1);
        copy->outputs[0] = copy->inputs[0];
        fl_graph_compact(copy);
        assert_int_equal(copy->n_nodes, n - 1);
        assert_int_equal(copy->n_values, n);
        all_found(copy);
        fl_graph_free(copy);
        fl_graph_free(g);
    }
}

static void test_fresh_names(void **state)
{
    (void)state;
    fl_graph *g = fl_graph_new("g");
    fl_id x = fl_graph_input(g, "x", fl_type_make(FL_FLOAT, 0, NULL));
    for (int i = 0; i < 1000; i++)
        x = fl_build_1(g, FL_OP_RELU, "x", x);
    assert_int_equal(fl_graph_ok(g, NULL), FL_OK);
    all_found(g);
    fl_graph_free(g);
}

static void test_sort_finds_cycles(void **state)
{
    (void)state;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *g = chain(5);
    assert_int_equal(fl_graph_sort(g, &dg), FL_OK);
    g->nodes[0].in[0] = fl_graph_find(g, "v3");
    assert_int_equal(fl_graph_sort(g, &dg), FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[0].text, "the graph has a cycle through"));
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

static void test_any_allocation_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        fl_arena_fail_after(n);
        fl_graph *g = chain(40);
        bool complete = fl_graph_ok(g, NULL) == FL_OK;
        fl_arena_fail_after(0);
        fl_graph_free(g);
        if (complete)
            break;
        assert_true(n < 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_survive_compaction_and_copies),
        cmocka_unit_test(test_fresh_names),
        cmocka_unit_test(test_sort_finds_cycles),
        cmocka_unit_test(test_any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
