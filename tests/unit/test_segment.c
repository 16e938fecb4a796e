/*
 * test_segment.c -- segments, phases and storage: the rules of ir/schedule.h checked on hand-made programs, and the
 * schedule's text read back.
 */
#include "ir/shape.h"
#include "passes/pass.h"
#include "ir/rows.h"
#include "ir/windows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { K = 4, FIELDS = 2, HIDDEN = 32 };

static fl_type type(fl_dtype t, int rank, fl_dim a, fl_dim b)
{
    return fl_type_make(t, rank, (fl_dim[]){a, b});
}

/*
 * A step of a small FLEN: two fields pooled from distinct rows of a table, interaction, one product, a loss that is the
 * mean of the logits; SGD on the product's weight, and on the rows of the table.
 */
static fl_graph *build_step(void)
{
    fl_graph *g = fl_graph_new("step");
    fl_dim batch = fl_graph_symbol(g, "batch");
    fl_id ids = fl_graph_input(g, "ids", type(FL_INT64, 2, batch, 3));
    fl_id table = fl_graph_variable(g, "table", type(FL_FLOAT, 2, 100, K));
    fl_id w = fl_graph_variable(g, "w", type(FL_FLOAT, 2, HIDDEN, 1));
    fl_id w0 = fl_graph_variable(g, "w0", type(FL_FLOAT, 2, FIELDS * K, HIDDEN));

    fl_id unique = fl_node_new(g, FL_OP_UNIQUE_ROWS, "unique", &ids, 1, 5);
    fl_build_infer(g, unique);
    fl_id rows = fl_node_out(g, unique, 0), inverse = fl_node_out(g, unique, 1);
    fl_id e = fl_build_2(g, FL_OP_GATHER, "e", table, rows);
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "f", (fl_id[]){e, inverse}, 2, FIELDS);
    fl_node_set_ints(g, pool, "fields", (int64_t[]){2, 1}, 2);
    fl_build_infer(g, pool);
    fl_id x = fl_build_concat(g, "x", (fl_id[]){fl_node_out(g, pool, 0), fl_node_out(g, pool, 1)}, 2, 1);
    fl_id h = fl_build_1(g, FL_OP_RELU, "h", fl_build_2(g, FL_OP_MATMUL, "a", x, w0));
    fl_id logit = fl_build_2(g, FL_OP_MATMUL, "logit", h, w);
    fl_id loss = fl_build_reduce_sum(g, "loss", logit, (int64_t[]){0}, 1, true);

    /* dL/dw = h' 1; the rows of the table just shrink. */
    fl_id one = fl_build_2(g, FL_OP_DIV, "one", logit, logit);
    fl_id gemm = fl_node_new(g, FL_OP_GEMM, "dw", (fl_id[]){h, one}, 2, 1);
    fl_node_set_int(g, gemm, "transA", 1);
    fl_build_infer(g, gemm);
    fl_id step = fl_build_2(g, FL_OP_MUL, "s", fl_node_out(g, gemm, 0), fl_build_scalar(g, "rate", 0.1));
    fl_graph_update(g, w, fl_build_2(g, FL_OP_SUB, "w_next", w, step));
    fl_id small = fl_build_2(g, FL_OP_MUL, "small", fl_build_2(g, FL_OP_GATHER, "again", table, rows),
                             fl_build_scalar(g, "shrink", 0.9));
    fl_id at = fl_build_2(g, FL_OP_UNSQUEEZE, "at", rows, fl_build_ints(g, "axes", (int64_t[]){1}, 1));
    fl_graph_update(g, table, fl_build_n(g, FL_OP_SCATTER_ND, "table_next", (fl_id[]){table, at, small}, 3));
    fl_graph_output(g, loss);
    fl_graph_output(g, logit);
    return g;
}

static void schedule(fl_graph *g)
{
    fl_diag dg;
    fl_diag_init(&dg);
    fl_pipeline_options o = {.passes = "segment,plan-memory", .verify_each = true, .log = stderr};
    fl_status s = fl_pipeline_run(g, &o, &dg);
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(s, FL_OK);
}

static const fl_segment *segment_of(const fl_graph *g, fl_id node)
{
    const fl_segment *found = NULL;
    for (uint32_t i = 0; i < g->schedule->n_segments; i++)
        for (uint32_t k = 0; k < g->schedule->segments[i].n_nodes; k++)
            if (g->schedule->segments[i].nodes[k] == node) {
                assert_null(found); /* in one segment only */
                found = &g->schedule->segments[i];
            }
    return found;
}

static uint32_t place_in(const fl_segment *s, fl_id node)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i] == node)
            return i;
    fail();
    return 0;
}

/* Operands come from earlier phases, or from earlier in the same segment along the same rows. */
static void check_order(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == FL_OP_CONSTANT)
            continue;
        const fl_segment *mine = segment_of(g, i);
        assert_non_null(mine);
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id p = fl_value_node(g, g->nodes[i].in[k]);
            if (p == FL_NONE || g->nodes[p].op == FL_OP_CONSTANT)
                continue;
            const fl_segment *theirs = segment_of(g, p);
            if (theirs == mine) {
                assert_true(place_in(mine, p) < place_in(mine, i));
                assert_true(mine->domain == FL_DOMAIN_ONE || fl_reads_own_rows(g, i, k));
            } else {
                assert_true(theirs->phase < mine->phase);
            }
        }
    }
}

/* Old values are read before they are overwritten, and new ones lie where the old ones lay. */
static void check_updates(const fl_graph *g)
{
    for (uint32_t u = 0; u < g->n_updates; u++) {
        fl_id variable = g->updates[u].variable, next = g->updates[u].next, writer = fl_value_node(g, next);
        const fl_segment *last = segment_of(g, writer);
        assert_memory_equal(&g->schedule->storage[variable], &g->schedule->storage[next], sizeof(fl_storage));
        for (fl_id i = 0; i < g->n_nodes; i++)
            for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
                if (g->nodes[i].in[k] == variable && i != writer) {
                    const fl_segment *s = segment_of(g, i);
                    assert_true(s == last ? place_in(s, i) < place_in(s, writer) : s->phase < last->phase);
                }
    }
}

static void check_storage(const fl_graph *g)
{
    const fl_schedule *s = g->schedule;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_out && g->nodes[i].op != FL_OP_CONSTANT; k++) {
            const fl_storage *st = &s->storage[g->nodes[i].out[k]];
            assert_int_not_equal(st->kind, FL_STORAGE_NONE);
            if (st->kind == FL_STORAGE_SCRATCH)
                assert_int_not_equal(segment_of(g, i)->domain, FL_DOMAIN_ONE);
        }
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) { /* scratch is read where it was written */
            fl_id v = g->nodes[i].in[k], p = fl_value_node(g, v);
            if (p != FL_NONE && s->storage[v].kind == FL_STORAGE_SCRATCH)
                assert_ptr_equal(segment_of(g, p), segment_of(g, i));
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        assert_int_equal(s->storage[g->outputs[i]].kind, FL_STORAGE_BUFFER);
}

static void test_rules_hold(void **state)
{
    (void)state;
    fl_graph *g = build_step();
    schedule(g);
    check_order(g);
    check_updates(g);
    check_storage(g);
    fl_graph_free(g);
}

static void test_domains_and_phases(void **state)
{
    (void)state;
    fl_graph *g = build_step();
    schedule(g);
    const fl_segment *unique = segment_of(g, fl_value_node(g, fl_graph_find(g, "unique_0")));
    const fl_segment *forward = segment_of(g, fl_value_node(g, fl_graph_find(g, "logit")));
    const fl_segment *dense = segment_of(g, fl_value_node(g, fl_graph_find(g, "w_next")));
    const fl_segment *rows = segment_of(g, fl_value_node(g, fl_graph_find(g, "table_next")));
    const fl_segment *loss = segment_of(g, fl_value_node(g, fl_graph_find(g, "loss")));
    assert_int_equal(unique->domain, FL_DOMAIN_SLOTS);
    assert_int_equal(unique->dim, 3);
    assert_int_equal(forward->domain, FL_DOMAIN_ROWS);
    assert_true(FL_DIM_IS_SYM(forward->dim));
    assert_int_equal(dense->domain, FL_DOMAIN_ROWS); /* the product over the batch and the update, row by row */
    assert_int_equal(dense->dim, HIDDEN);
    assert_ptr_equal(dense, segment_of(g, fl_value_node(g, fl_graph_find(g, "dw"))));
    assert_int_equal(rows->domain, FL_DOMAIN_SLOTS);
    assert_int_equal(rows->count, fl_graph_find(g, "unique_2"));
    assert_int_equal(loss->domain, FL_DOMAIN_ONE);
    assert_int_equal(unique->phase, 0);
    assert_true(forward->phase > unique->phase);
    assert_int_equal(dense->phase, forward->phase + 1);
    assert_int_equal(g->schedule->n_phases, dense->phase + 1);
    assert_true(unique->scratch_row_bytes > 0);
    fl_graph_free(g);
}

/* What an optimiser makes of the weights' gradient stays with the slot whose rows they are, behind the product that still reads the old ones; rows that no
 * slot owns do not. */
static void test_parts_of_slots(void **state)
{
    (void)state;
    fl_graph *g = fl_graph_new("step");
    fl_dim batch = fl_graph_symbol(g, "batch");
    fl_id ids = fl_graph_input(g, "ids", type(FL_INT64, 2, batch, 3)), dh = fl_graph_input(g, "dh", type(FL_FLOAT, 2, batch, HIDDEN));
    fl_id table = fl_graph_variable(g, "table", type(FL_FLOAT, 2, 100, K)), w = fl_graph_variable(g, "w", type(FL_FLOAT, 2, 3 * K, HIDDEN));
    fl_id bias = fl_graph_variable(g, "bias", type(FL_FLOAT, 2, 1, HIDDEN));
    fl_id unique = fl_node_new(g, FL_OP_UNIQUE_ROWS, "unique", &ids, 1, 5);
    fl_build_infer(g, unique);
    fl_id count = fl_node_out(g, unique, 2), e = fl_build_2(g, FL_OP_GATHER, "e", table, fl_node_out(g, unique, 0));
    fl_id back = fl_node_new(g, FL_OP_FIELD_POOL_GRAD, "dp", (fl_id[]){FL_NONE, fl_node_out(g, unique, 4), fl_node_out(g, unique, 3), count, dh}, 5, 1);
    fl_node_set_ints(g, back, "fields", (int64_t[]){3}, 1);
    fl_build_infer(g, back);
    fl_id dp = fl_node_out(g, back, 0), dw = fl_build_n(g, FL_OP_SLOT_LINEAR_WEIGHT_GRAD, "dw", (fl_id[]){e, count, dp}, 3);
    fl_id product = fl_node_new(g, FL_OP_SLOT_LINEAR, "de", (fl_id[]){dp, count, w}, 3, 1);
    fl_node_set_int(g, product, "transposed", 1);
    fl_build_infer(g, product);
    fl_graph_update(g, w, fl_build_2(g, FL_OP_SUB, "w_next", w, fl_build_2(g, FL_OP_MUL, "scaled", dw, fl_build_scalar(g, "rate", 0.1))));
    fl_id sum = fl_build_reduce_sum(g, "sum", dw, (int64_t[]){0}, 1, true);
    fl_graph_update(g, bias, fl_build_2(g, FL_OP_SUB, "bias_next", bias, sum));
    fl_graph_output(g, fl_node_out(g, product, 0));
    schedule(g);
    const fl_segment *slots = segment_of(g, fl_value_node(g, dw));
    assert_int_equal(slots->domain, FL_DOMAIN_SLOTS);
    assert_ptr_equal(slots, segment_of(g, product));
    assert_ptr_equal(slots, segment_of(g, fl_value_node(g, fl_graph_find(g, "w_next"))));
    assert_true(place_in(slots, product) < place_in(slots, fl_value_node(g, fl_graph_find(g, "w_next"))));
    assert_int_equal(segment_of(g, fl_value_node(g, fl_graph_find(g, "bias_next")))->domain, FL_DOMAIN_ONE);
    check_order(g);
    check_updates(g);
    check_storage(g);
    fl_graph_free(g);
}

/* Unique's results have rows of their own: no work on rows makes them. */
static void test_several_rows(void **state)
{
    (void)state;
    fl_graph *g = fl_graph_new("unique");
    fl_id x = fl_graph_input(g, "x", type(FL_FLOAT, 1, fl_graph_symbol(g, "n"), 0));
    fl_id node = fl_node_new(g, FL_OP_UNIQUE, "u", &x, 1, 4);
    fl_build_infer(g, node);
    for (uint32_t k = 0; k < 4; k++)
        fl_graph_output(g, fl_node_out(g, node, k));
    schedule(g);
    assert_int_equal(segment_of(g, node)->domain, FL_DOMAIN_ONE);
    fl_graph_free(g);
}

/* Concat's operands are made inside of the result: no copy. */
static void test_concat_in_place(void **state)
{
    (void)state;
    fl_graph *g = build_step();
    schedule(g);
    const fl_storage *x = &g->schedule->storage[fl_graph_find(g, "x")];
    const fl_storage *f0 = &g->schedule->storage[fl_graph_find(g, "f_0")];
    const fl_storage *f1 = &g->schedule->storage[fl_graph_find(g, "f_1")];
    assert_int_equal(x->row_stride, FIELDS * K);
    assert_int_equal(f0->row_stride, x->row_stride);
    assert_int_equal(f1->row_stride, x->row_stride);
    assert_int_equal(f0->offset, x->offset);
    assert_int_equal(f1->offset, x->offset + K);
    fl_graph_free(g);
}

/* Symbols of distinct rows hold at most as many rows as the index has elements. */
static void test_capacity(void **state)
{
    (void)state;
    fl_graph *g = build_step();
    schedule(g);
    uint32_t s = FL_SYM_OF_DIM(fl_value_type(g, fl_graph_find(g, "unique_0"))->dims[0]);
    assert_int_equal(g->schedule->capacity[s].n_dims, 2);
    assert_int_equal(g->schedule->capacity[s].dims[0], fl_graph_symbol(g, "batch"));
    assert_int_equal(g->schedule->capacity[s].dims[1], 3);
    fl_graph_free(g);
}

/*
 * (ids [batch, slots]) => y: rows of a table summed for the batch, y = the sums plus a step of the table's rows by them: what follows the sums needs the rows again.
 */
static fl_graph *build_needed_again(int64_t slots)
{
    fl_graph *g = fl_graph_new("step");
    fl_dim batch = fl_graph_symbol(g, "batch");
    fl_id ids = fl_graph_input(g, "ids", type(FL_INT64, 2, batch, slots));
    fl_id table = fl_graph_variable(g, "table", type(FL_FLOAT, 2, 100, K));
    fl_id unique = fl_node_new(g, FL_OP_UNIQUE_ROWS, "unique", &ids, 1, 5);
    fl_build_infer(g, unique);
    fl_id rows = fl_node_out(g, unique, 0), inverse = fl_node_out(g, unique, 1);
    fl_id e = fl_build_2(g, FL_OP_GATHER, "e", table, rows);
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "f", (fl_id[]){e, inverse}, 2, 1);
    fl_node_set_ints(g, pool, "fields", &slots, 1);
    fl_build_infer(g, pool);
    fl_id grad = fl_node_new(g, FL_OP_FIELD_POOL_GRAD, "de",
                             (fl_id[]){FL_NONE, fl_node_out(g, unique, 4), fl_node_out(g, unique, 3), fl_node_out(g, unique, 2), fl_node_out(g, pool, 0)}, 5, 1);
    fl_node_set_ints(g, grad, "fields", &slots, 1);
    fl_build_infer(g, grad);
    fl_id at = fl_build_2(g, FL_OP_UNSQUEEZE, "at", rows, fl_build_ints(g, "axes", (int64_t[]){1}, 1));
    fl_id next = fl_build_2(g, FL_OP_SUB, "next", e, fl_node_out(g, grad, 0));
    fl_graph_update(g, table, fl_build_n(g, FL_OP_SCATTER_ND, "table_next", (fl_id[]){table, at, next}, 3));
    fl_graph_output(g, fl_node_out(g, pool, 0));
    return g;
}

/* Many slots: the rows that sums are made of are not kept until the step needs them, and slots may come in windows. */
static void test_rows_copied_again(void **state)
{
    (void)state;
    static const int64_t slots[] = {3, 127, 128};
    for (size_t i = 0; i < FL_COUNT(slots); i++) {
        fl_graph *g = build_needed_again(slots[i]);
        fl_windows w;
        schedule(g);
        check_order(g);
        check_updates(g);
        check_storage(g);
        fl_id e = fl_graph_find(g, "e"), next = fl_value_node(g, fl_graph_find(g, "next")), read = g->nodes[next].in[0];
        fl_id pool = fl_value_node(g, g->outputs[0]);
        assert_int_equal(g->nodes[pool].in[0], e);
        assert_int_equal(fl_value_is(g, read, FL_OP_GATHER) != FL_NONE, true);
        assert_int_equal(read != e, slots[i] >= 128);
        assert_true(fl_windows_find(g, &g->arena, &w));
        assert_int_equal(w.segment != FL_NONE, slots[i] >= 128);
        if (w.segment != FL_NONE) {
            assert_ptr_equal(&g->schedule->segments[w.segment], segment_of(g, fl_value_node(g, e)));
            assert_true(w.reused[e] && !w.reused[read] && !w.reused[fl_graph_find(g, "unique_0")]);
            assert_int_equal(w.slots, slots[i]);
            assert_int_equal(w.n_pools, 1);
            assert_int_equal(fl_windows_pool(&w, pool), 0);
            assert_int_equal(w.sums, K);
            assert_int_equal(w.row_bytes, K * 4);
        }
        fl_graph_free(g);
    }
}

static void test_print_parse(void **state)
{
    (void)state;
    fl_graph *g = build_step();
    fl_diag dg;
    fl_diag_init(&dg);
    schedule(g);
    const char *first = fl_schedule_print(g, &g->arena);
    assert_non_null(first);
    assert_int_equal(fl_schedule_parse(g, first, FL_FILE("x"), &dg), FL_OK);
    assert_string_equal(fl_schedule_print(g, &g->arena), first);
    check_order(g);
    check_storage(g);

    assert_int_equal(fl_schedule_parse(g, "{", FL_FILE("x"), &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "the schedule of program \"step\" is no JSON");
    assert_int_equal(fl_schedule_parse(g, "{\"segments\":[],\"buffers\":[],\"storage\":{},\"capacity\":{}}", FL_FILE("x"), &dg),
                     FL_BAD_INPUT);
    assert_string_equal(dg.entries[1].text, "the schedule of program \"step\" leaves a node out");
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_hold),
        cmocka_unit_test(test_domains_and_phases),
        cmocka_unit_test(test_parts_of_slots),
        cmocka_unit_test(test_several_rows),
        cmocka_unit_test(test_concat_in_place),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_rows_copied_again),
        cmocka_unit_test(test_print_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
