/*
 * Types of outputs. Oracle: numpy's and ONNX's rules worked out by hand, ir/README.md for operators of our own.
 */
#include "ir/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static fl_graph *g;
static fl_diag dg;

static int setup(void **state)
{
    (void)state;
    g = fl_graph_new("g");
    fl_diag_init(&dg);
    return g ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    return 0;
}

/* A type from text such as "float batch 4 8": a dtype and dimensions; a word is a symbol. */
static fl_type type(const char *text)
{
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    fl_type t = {.dtype = fl_dtype_find(strtok_r(copy, " ", &save))};
    for (char *word; (word = strtok_r(NULL, " ", &save));)
        t.dims[t.rank++] = *word >= '0' && *word <= '9' ? strtol(word, NULL, 10) : fl_graph_symbol(g, word);
    return t;
}

static fl_id input(const char *text)
{
    return fl_graph_input(g, fl_graph_fresh_name(g, "x"), type(text));
}

static void assert_type(fl_id value, const char *want)
{
    char text[256];
    assert_int_not_equal(value, FL_NONE);
    fl_type_print(g, fl_value_type(g, value), text, sizeof text);
    assert_string_equal(text, want);
}

/* The newest node is refused with this text. */
static void assert_refused(const char *text)
{
    assert_int_equal(fl_shape_infer_node(g, g->n_nodes - 1, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.n_errors, 1);
    assert_string_equal(dg.entries[0].text, text);
    fl_diag_clear(&dg);
}

static void test_broadcast(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"float batch 4", "float 4", "float[batch,4]"},     {"float batch 1", "float batch 4", "float[batch,4]"},
        {"float", "float batch 4", "float[batch,4]"},       {"float", "float", "float"},
        {"float batch 4", "float batch 4", "float[batch,4]"}, {"float 5 1 3", "float 4 1", "float[5,4,3]"},
        {"float 4", "float batch 4", "float[batch,4]"},     {"float batch 4", "float 7 4", "float[7,4]"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++)
        assert_type(fl_build_2(g, FL_OP_ADD, "y", input(cases[i][0]), input(cases[i][1])), cases[i][2]);
    fl_build_2(g, FL_OP_ADD, "y", input("float batch 4"), input("float 3"));
    assert_refused("Add \"y_9\": shapes float[batch,4] and float[3] do not broadcast to one");
    fl_build_2(g, FL_OP_MUL, "y", input("float 4"), input("double 4"));
    assert_refused("Mul \"y_10\": operands must have one element type, but they are float and double");
    assert_type(fl_build_2(g, FL_OP_LESS, "b", input("float batch 1"), input("float 4")), "bool[batch,4]");
    assert_type(fl_build_n(g, FL_OP_WHERE, "w", (fl_id[]){input("bool batch 1"), input("double"), input("double 3")}, 3),
                "double[batch,3]");
}

static void test_reshape(void **state)
{
    (void)state;
    fl_id x = input("float batch 22 32");
    assert_type(fl_build_reshape(g, "y", x, (int64_t[]){-1, 704}, 2), "float[batch,704]");
    assert_type(fl_build_reshape(g, "y", x, (int64_t[]){0, -1}, 2), "float[batch,704]");
    assert_type(fl_build_reshape(g, "y", x, (int64_t[]){0, 11, -1, 32}, 4), "float[batch,11,2,32]");
    fl_id flat = fl_build_reshape(g, "y", x, (int64_t[]){-1, 32}, 2);
    assert_type(flat, "float[batch_times_22,32]");
    /* ... and back: the product is taken apart again */
    assert_type(fl_build_reshape(g, "y", flat, (int64_t[]){-1, 22, 32}, 3), "float[batch,22,32]");
    assert_type(fl_build_reshape(g, "y", x, (int64_t[]){-1}, 1), "float[batch_times_704]");
    fl_build_reshape(g, "z", input("float 3 4"), (int64_t[]){5, -1}, 2);
    assert_refused("Reshape \"z\": 12 elements do not divide into rows of 5");
    fl_build_reshape(g, "z", input("float 3 4"), (int64_t[]){5, 2}, 2);
    assert_refused("Reshape \"z_2\": float[3,4] has 12 elements and float[5,2] has 10");
    fl_build_reshape(g, "z", x, (int64_t[]){-1, -1}, 2);
    assert_refused("Reshape \"z_3\": more than one dimension of the new shape is -1");
}

/* x.reshape(x.shape[0], -1), written as ONNX exporters write it. */
static void test_shape_arithmetic(void **state)
{
    (void)state;
    fl_id x = input("float batch 22 32"), shape = fl_build_1(g, FL_OP_SHAPE, "s", x);
    assert_type(shape, "int64[3]");
    fl_id rows = fl_build_2(g, FL_OP_GATHER, "b", shape, fl_build_ints(g, "zero", (int64_t[]){0}, 1));
    fl_id want = fl_build_concat(g, "want", (fl_id[]){rows, fl_build_ints(g, "rest", (int64_t[]){-1}, 1)}, 2, 0);
    assert_type(fl_build_2(g, FL_OP_RESHAPE, "y", x, want), "float[batch,704]");
    fl_id node = fl_node_new(g, FL_OP_SHAPE, "tail", &x, 1, 1);
    fl_node_set_int(g, node, "start", -2);
    fl_build_infer(g, node);
    assert_type(fl_node_out(g, node, 0), "int64[2]");
    assert_type(fl_build_1(g, FL_OP_CONSTANT_OF_SHAPE, "zeros", want = fl_node_out(g, node, 0)), "float[22,32]");
    assert_type(fl_build_2(g, FL_OP_EXPAND, "wide", input("float 32"), shape), "float[batch,22,32]");
}

static void test_rows_by_index(void **state)
{
    (void)state;
    fl_id table = input("float 1000 8"), ids = input("int64 batch 22");
    assert_type(fl_build_2(g, FL_OP_GATHER, "e", table, ids), "float[batch,22,8]");
    fl_build_2(g, FL_OP_GATHER, "bad", table, input("float batch 22"));
    assert_refused("Gather \"bad\": the index must be int64 or int32, but it is float");
    fl_id bag[3] = {table, input("int64 tags"), input("int64 tags_offsets")};
    assert_type(fl_build_n(g, FL_OP_EMBEDDING_BAG, "p", bag, 3), "float[batch,8]");
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "f", (fl_id[]){table, ids}, 2, 6);
    fl_node_set_ints(g, pool, "fields", (int64_t[]){10, 5, 7}, 3);
    fl_node_set_int(g, pool, "squares", 1);
    fl_build_infer(g, pool);
    for (uint32_t i = 0; i < 6; i++)
        assert_type(fl_node_out(g, pool, i), "float[batch,8]");
    fl_id h[8] = {FL_NONE, input("float 3")};
    for (uint32_t i = 0; i < 6; i++)
        h[2 + i] = i == 4 ? FL_NONE : fl_node_out(g, pool, i);
    fl_id node = fl_node_new(g, FL_OP_FIELD_INTERACTION, "h", h, 8, 1);
    fl_node_set_int(g, node, "fields", 3);
    fl_build_infer(g, node);
    assert_type(fl_node_out(g, node, 0), "float[batch,8]");
    fl_node_set_ints(g, pool, "fields", (int64_t[]){10, 5, 8}, 3);
    assert_int_equal(fl_shape_infer_node(g, pool, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "FieldPool \"f_0\": attribute \"fields\" adds up to 23, but there are 22 slots");
}

static void test_distinct_rows(void **state)
{
    (void)state;
    fl_id ids = input("int64 batch 22"), u[2], w = input("float 176 64");
    for (int i = 0; i < 2; i++) {
        u[i] = fl_node_new(g, FL_OP_UNIQUE_ROWS, "u", &ids, 1, 5);
        for (int again = 0; again < 2; again++) /* a second inference keeps the symbols */
            assert_int_equal(fl_shape_infer_node(g, u[i], &dg), FL_OK);
    }
    assert_type(fl_node_out(g, u[0], 0), "int64[distinct]");
    assert_type(fl_node_out(g, u[0], 1), "int32[batch,22]");
    assert_type(fl_node_out(g, u[0], 2), "int32[22]");
    assert_type(fl_node_out(g, u[0], 3), "int32[batch_times_22]");
    assert_type(fl_node_out(g, u[0], 4), "int32[distinct,2]");
    assert_type(fl_node_out(g, u[1], 0), "int64[distinct_2]");
    fl_dim factors[FL_MAX_RANK];
    assert_int_equal(fl_shape_factors(g, fl_value_type(g, fl_node_out(g, u[0], 3))->dims[0], factors), 2);
    assert_int_equal(factors[0], fl_graph_symbol(g, "batch"));
    assert_int_equal(factors[1], 22);

    fl_id rows = fl_node_out(g, u[0], 0), count = fl_node_out(g, u[0], 2);
    fl_id e = fl_build_2(g, FL_OP_GATHER, "e", input("float 1000 8"), rows);
    fl_id z = fl_build_n(g, FL_OP_SLOT_LINEAR, "z", (fl_id[]){e, count, w}, 3);
    assert_type(z, "float[distinct,64]");
    assert_type(fl_build_n(g, FL_OP_SLOT_LINEAR_WEIGHT_GRAD, "dw", (fl_id[]){e, count, z}, 3), "float[176,64]");
    fl_id back = fl_node_new(g, FL_OP_SLOT_LINEAR, "de", (fl_id[]){z, count, w}, 3, 1);
    fl_node_set_int(g, back, "transposed", 1);
    fl_build_infer(g, back);
    assert_type(fl_node_out(g, back, 0), "float[distinct,8]");
    fl_id grad[4] = {input("float batch 22 8"), fl_node_out(g, u[0], 4), fl_node_out(g, u[0], 3), count};
    assert_type(fl_build_n(g, FL_OP_GATHER_GRAD, "gg", grad, 4), "float[distinct,8]");
    fl_id triples[6] = {count, rows, e, fl_node_out(g, u[1], 2), fl_node_out(g, u[1], 0), FL_NONE};
    triples[5] = fl_build_2(g, FL_OP_GATHER, "e", input("float 1000 8"), triples[4]);
    fl_id merged = fl_node_new(g, FL_OP_MERGE_ROWS, "m", triples, 6, 3);
    assert_int_equal(fl_shape_infer_node(g, merged, &dg), FL_OK);
    assert_type(fl_node_out(g, merged, 0), "int64[merged]");
    assert_type(fl_node_out(g, merged, 1), "float[merged,8]");
    fl_id table = input("float 1000 8");
    fl_id step[5] = {table, table, fl_node_out(g, merged, 1), input("float"), fl_node_out(g, merged, 0)};
    fl_id adagrad = fl_node_new(g, FL_OP_ADAGRAD, "t", step, 5, 2);
    assert_int_equal(fl_shape_infer_node(g, adagrad, &dg), FL_OK);
    assert_type(fl_node_out(g, adagrad, 0), "float[1000,8]");
    assert_type(fl_node_out(g, adagrad, 1), "float[1000,8]");
}

static void test_products_and_reductions(void **state)
{
    (void)state;
    fl_id x = input("float batch 704"), w = input("float 704 64");
    assert_type(fl_build_2(g, FL_OP_MATMUL, "m", x, w), "float[batch,64]");
    assert_type(fl_build_n(g, FL_OP_LINEAR, "l", (fl_id[]){x, w, input("float 64")}, 3), "float[batch,64]");
    fl_build_2(g, FL_OP_MATMUL, "m", x, input("float 703 64"));
    assert_refused("MatMul \"m_2\": float[batch,704] and float[703,64] cannot be multiplied: the inner dimensions 704 and 703 differ");
    fl_id gemm = fl_node_new(g, FL_OP_GEMM, "q", (fl_id[]){x, x}, 2, 1);
    fl_node_set_int(g, gemm, "transA", 1);
    fl_build_infer(g, gemm);
    assert_type(fl_node_out(g, gemm, 0), "float[704,704]");
    assert_type(fl_build_2(g, FL_OP_MATMUL, "t", input("float 5 1 2 3"), input("float 4 3 6")), "float[5,4,2,6]");
    assert_type(fl_build_2(g, FL_OP_MATMUL, "t", input("float batch 3"), input("float 3")), "float[batch]");
    assert_type(fl_build_reduce_sum(g, "r", x, (int64_t[]){-1}, 1, true), "float[batch,1]");
    assert_type(fl_build_reduce_sum(g, "r", x, (int64_t[]){0}, 1, false), "float[704]");
    assert_type(fl_build_1(g, FL_OP_REDUCE_MEAN, "r", x), "float[1,1]");
}

static void test_cuts(void **state)
{
    (void)state;
    fl_id x = input("float batch 10"), out[3];
    fl_build_split(g, "s", x, 1, (int64_t[]){2, 3, 5}, 3, out);
    assert_type(out[1], "float[batch,3]");
    fl_build_split(g, "s", x, 1, (int64_t[]){2, 3, 6}, 3, out);
    assert_refused("Split \"s_0_2\": the sizes add up to 11, but axis 1 has extent 10");
    fl_id cut[4] = {x, fl_build_ints(g, "a", (int64_t[]){-4}, 1), fl_build_ints(g, "b", (int64_t[]){INT64_MAX}, 1),
                    fl_build_ints(g, "c", (int64_t[]){1}, 1)};
    assert_type(fl_build_n(g, FL_OP_SLICE, "y", cut, 4), "float[batch,4]");
    assert_type(fl_build_concat(g, "c", (fl_id[]){x, x, input("float batch 1")}, 3, 1), "float[batch,21]");
    fl_build_concat(g, "c", (fl_id[]){x, input("float 3")}, 2, 1);
    assert_refused("Concat \"c_3\": operand 1, float[3], does not fit float[batch,10] beside axis 1");
    assert_type(fl_build_2(g, FL_OP_UNSQUEEZE, "u", x, fl_build_ints(g, "a", (int64_t[]){1, -1}, 2)), "float[batch,1,10,1]");
    assert_type(fl_build_2(g, FL_OP_SQUEEZE, "u", input("float batch 1"), fl_build_ints(g, "a", (int64_t[]){-1}, 1)),
                "float[batch]");
    assert_type(fl_build_1(g, FL_OP_TRANSPOSE, "t", x), "float[10,batch]");
    assert_type(fl_build_1(g, FL_OP_FLATTEN, "f", input("float batch 3 4")), "float[batch,12]");
}

static void test_declared_types(void **state)
{
    (void)state;
    fl_id y = fl_build_1(g, FL_OP_RELU, "y", input("float batch 4"));
    g->values[y].type = type("float 7 4"); /* more exact than the rule's */
    assert_int_equal(fl_shape_infer(g, &dg), FL_OK);
    assert_type(y, "float[7,4]");
    g->values[y].type = type("float batch 5");
    assert_refused("Relu \"y\": output \"y\" is declared as float[batch,5], but comes out as float[batch,4]");
    g->values[y].type = type("float batch 4");
    fl_build_1(g, FL_OP_NOT, "n", y);
    assert_refused("Not \"n\": the operand must be bool, but it is float");
    fl_id unknown = fl_build_1(g, FL_OP_RELU, "u", fl_graph_input(g, "who", FL_TYPE_UNKNOWN));
    assert_type(unknown, "undefined");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_broadcast),     TEST(test_reshape),       TEST(test_shape_arithmetic),        TEST(test_rows_by_index),
        TEST(test_distinct_rows), TEST(test_products_and_reductions), TEST(test_cuts), TEST(test_declared_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
