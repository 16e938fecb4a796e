/*
 * test_bodies.c -- the body of each operator of ours is made of standard operators and computes what the operator does. Oracle: the
 * interpreter's kernel of the operator, on random operands; both graphs read operands of one name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/bodies.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "tests/support/random_values.h"

#include <math.h>

/* A graph of one node of ours; operands are called as the body calls them. */
static fl_graph *parse(const char *text)
{
    fl_diag dg;
    fl_graph *g = NULL;
    fl_diag_init(&dg);
    fl_status status = fl_graph_parse(text, strlen(text), "case", &g, &dg);
    if (status == FL_OK)
        status = fl_shape_infer(g, &dg);
    fl_diag_print(&dg, stderr, "test_bodies", "case", text);
    fl_diag_deinit(&dg);
    assert_int_equal(status, FL_OK);
    return g;
}

static fl_graph *build(const fl_graph *g)
{
    fl_diag dg;
    fl_graph *body = NULL;
    fl_diag_init(&dg);
    fl_status status = fl_body_build(g, 0, &body, &dg);
    if (status == FL_OK)
        status = fl_shape_infer(body, &dg);
    if (status == FL_OK)
        status = fl_graph_verify(body, &dg);
    fl_diag_print(&dg, stderr, "test_bodies", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(status, FL_OK);
    for (uint32_t i = 0; i < body->n_nodes; i++)
        assert_string_equal(fl_op_get(body->nodes[i].op)->domain, "");
    return body;
}

static void same_outputs(const fl_graph *g, const fl_interp *x, const fl_graph *body, const fl_interp *y)
{
    assert_int_equal(body->n_outputs, g->nodes[0].n_out);
    for (uint32_t k = 0; k < body->n_outputs; k++) {
        const fl_array *a = fl_interp_get(x, g->nodes[0].out[k]), *b = fl_interp_get(y, body->outputs[k]);
        assert_true(a && b && a->n > 0 && a->n == b->n && a->rank == b->rank);
        for (int64_t j = 0; j < a->n; j++)
            if (!(fabs(a->f[j] - b->f[j]) <= 1e-12 * (1 + fabs(a->f[j]))))
                fail_msg("output %u, element %lld: %.17g, body %.17g", k, (long long)j, a->f[j], b->f[j]);
    }
}

/* The body's type of each output is the operator's. */
static void same_types(const fl_graph *g, const fl_graph *body)
{
    for (uint32_t k = 0; k < body->n_outputs; k++) {
        char a[128], b[128];
        fl_type_print(g, fl_value_type(g, g->nodes[0].out[k]), a, sizeof a);
        fl_type_print(body, fl_value_type(body, body->outputs[k]), b, sizeof b);
        if (g->nodes[0].op != FL_OP_EMBEDDING_BAG) /* which calls the number of bags batch; a slice has a symbol of its own */
            assert_string_equal(a, b);
    }
}

static void holds(const char *text, const char *name)
{
    fl_graph *g = parse(text), *body = build(g);
    assert_string_equal(fl_body_name(g, 0, &g->arena), name);
    assert_int_equal(fl_body_op(name), g->nodes[0].op);
    for (uint32_t i = 0; i < g->nodes[0].n_attr; i++) {
        const char *const *known = fl_body_attributes(g->nodes[0].op);
        while (*known && strcmp(*known, g->nodes[0].attr[i].name) != 0)
            known++;
        assert_non_null(*known);
    }
    same_types(g, body);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fl_interp *x = NULL, *y = NULL;
        assert_int_equal(random_run(g, seed, (int64_t)(2 * seed - 1), &x, NULL), FL_OK);
        assert_int_equal(random_run(body, seed, (int64_t)(2 * seed - 1), &y, NULL), FL_OK);
        same_outputs(g, x, body, y);
        fl_interp_free(x);
        fl_interp_free(y);
    }
    fl_graph_free(body);
    fl_graph_free(g);
}

static void pools(void **state)
{
    (void)state;
    holds("g (float[6,2] data, int64[batch,5] index) => (a) { a, b = ai.flen.FieldPool <fields = [3, 2]> (data, index) }", "FieldPool_3_2");
    holds("g (float[6,2] data, int32[batch,3] index) => (a) { a, b, c, d = ai.flen.FieldPool <fields = [1, 2], squares = 1> (data, index) }",
          "FieldPool_1_2_squares");
    holds("g (float[6,2] data, int64[batch] index, float[5,2] index_1, int32[batch,3] index_2) => (a)"
          " { a, b, c, d = ai.flen.TablePool <fields = [3, 1], squares = 1> (data, index, index_1, index_2) }",
          "TablePool_vm_3_1_squares");
    holds("g (float[6,2] data, int64[count] values, int64[m] offsets) => (y) { y = ai.flen.EmbeddingBag <mode = \"sum\"> (data, values, offsets) }",
          "EmbeddingBag_sum");
    holds("g (float[6,2] data, int64[count] values, int64[m] offsets) => (y) { y = ai.flen.EmbeddingBag <mode = \"mean\"> (data, values, offsets) }",
          "EmbeddingBag_mean");
}

static void interactions(void **state)
{
    (void)state;
    holds("g (float[batch,3,4] x) => (y) { y = ai.flen.DotInteraction <first = [1, 2, 0, 2], second = [0, 1, 0, 1]> (x) }", "DotInteraction_4_34fd6259ad9db0ef");
    holds("g (float[3] r_mf, float[3] r_fm, float[batch,2] vector, float[batch,2] vector_1, float[batch,2] vector_2, float[batch,2] vector_3,"
          " float[batch,2] vector_4, float[batch,2] vector_5) => (h)"
          " { h = ai.flen.FieldInteraction <fields = 3> (r_mf, r_fm, vector, vector_1, vector_2, vector_3, vector_4, vector_5) }",
          "FieldInteraction_3_mf_fm_0_1_2");
    holds("g (float[1] r_mf, float[batch,2] vector, float[batch,2] vector_1) => (h)"
          " { h = ai.flen.FieldInteraction <fields = 2> (r_mf, \"\", vector, vector_1, \"\", \"\") }",
          "FieldInteraction_2_mf");
    holds("g (float[2] r_fm, float[batch,2] vector, float[batch,2] vector_1, float[batch,2] vector_3) => (h)"
          " { h = ai.flen.FieldInteraction <fields = 2> (\"\", r_fm, vector, vector_1, \"\", vector_3) }",
          "FieldInteraction_2_fm_1");
    holds("g (float[1] r_fm, float[batch,2] vector, float[batch,2] vector_1) => (h)"
          " { h = ai.flen.FieldInteraction <fields = 1> (\"\", r_fm, vector, vector_1) }",
          "FieldInteraction_1_fm_0");
}

static void layers(void **state)
{
    (void)state;
    holds("g (float[batch,3] x, float[3,2] w) => (y) { y = ai.flen.Linear (x, w) }", "Linear_none");
    holds("g (float[batch,3] x, float[3,2] w, float[2] bias) => (y) { y = ai.flen.Linear <activation = \"relu\"> (x, w, bias) }", "Linear_relu_bias");
    holds("g (float[batch,3] x, float[3] gamma, float[3] beta, float[3] running_mean, float[3] running_var) => (y)"
          " { y = ai.flen.BatchNorm <epsilon = 0.5, momentum = 0.9, single_row = \"pass\"> (x, gamma, beta, running_mean, running_var) }",
          "BatchNorm_3f000000");
    holds("g (float[batch,3] x) => (y) { y = ai.flen.MaskedDropout <rate = 0.25, style = \"downscale_in_infer\", key = 3> (x) }",
          "MaskedDropout_downscale_in_infer_3e800000");
    holds("g (float[batch,3] x, float[batch,3] mask) => (y) { y = ai.flen.MaskedDropout <rate = 0.25, style = \"upscale_in_train\", key = 3> (x, mask) }",
          "MaskedDropout_upscale_in_train_3e800000_mask");
}

#define LOSS(op, kind) "g (float[batch,1] logit, float[batch,1] label) => (y) { y = ai.flen." op " <kind = \"" kind "\", epsilon = 0.0009765625> (logit, label) }"

static void losses(void **state)
{
    (void)state;
    holds(LOSS("LogLoss", "bce"), "LogLoss_bce");
    holds(LOSS("LogLoss", "paddle_log_loss"), "LogLoss_paddle_log_loss_3a800000");
    holds(LOSS("LogLoss", "bce_clamped"), "LogLoss_bce_clamped");
    holds(LOSS("LogLossGrad", "bce"), "LogLossGrad_bce");
    holds(LOSS("LogLossGrad", "paddle_log_loss"), "LogLossGrad_paddle_log_loss_3a800000");
    holds(LOSS("LogLossGrad", "bce_clamped"), "LogLossGrad_bce_clamped");
}

/* Where exponentials overflow and logarithms are held. */
static void losses_of_large_logits(void **state)
{
    (void)state;
    static const double z[] = {-800, -150, -90, 0, 90, 150, 800, 150}, y[] = {0, 1, 1, 0, 0, 1, 0, 0.5};
    static const char *const texts[] = {LOSS("LogLoss", "bce"),         LOSS("LogLoss", "paddle_log_loss"), LOSS("LogLoss", "bce_clamped"),
                                        LOSS("LogLossGrad", "bce"),     LOSS("LogLossGrad", "paddle_log_loss"),
                                        LOSS("LogLossGrad", "bce_clamped")};
    for (size_t k = 0; k < FL_COUNT(texts); k++) {
        fl_graph *g = parse(texts[k]), *body = build(g);
        const fl_graph *graphs[2] = {g, body};
        fl_interp *in[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(fl_interp_new(graphs[i], &in[i], NULL), FL_OK);
            assert_int_equal(fl_interp_set_doubles(in[i], fl_graph_find(graphs[i], "logit"), 2, (int64_t[]){8, 1}, z, NULL), FL_OK);
            assert_int_equal(fl_interp_set_doubles(in[i], fl_graph_find(graphs[i], "label"), 2, (int64_t[]){8, 1}, y, NULL), FL_OK);
            assert_int_equal(fl_interp_run(in[i], NULL), FL_OK);
        }
        same_outputs(g, in[0], body, in[1]);
        fl_interp_free(in[0]);
        fl_interp_free(in[1]);
        fl_graph_free(body);
        fl_graph_free(g);
    }
}

static void others_have_none(void **state)
{
    (void)state;
    fl_diag dg;
    fl_graph *g = parse("g (int64[batch,2] ids) => (a) { a, b, c, d, e = ai.flen.UniqueRows (ids) }"), *body = NULL;
    fl_diag_init(&dg);
    assert_int_equal(fl_body_build(g, 0, &body, &dg), FL_UNSUPPORTED);
    assert_int_equal(dg.entries[0].code, FL_E_ONNX_WRITE);
    assert_string_equal(dg.entries[0].text, "\"a\" (UniqueRows) has no body of standard operators");
    fl_diag_clear(&dg);
    fl_graph_free(g);
    g = parse("g (float[batch,3] x, float[3,2] w) => (y) { y = ai.flen.Linear (x, w) }");
    fl_node_set_string(g, 0, "activation", "swish");
    assert_int_equal(fl_body_build(g, 0, &body, &dg), FL_UNSUPPORTED);
    assert_string_equal(dg.entries[0].text, "\"y\" (Linear) has an attribute without a meaning");
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    assert_int_equal(fl_body_op("Relu"), FL_N_OPS);
    assert_int_equal(fl_body_op("FieldPools_3"), FL_N_OPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools),  cmocka_unit_test(interactions),           cmocka_unit_test(layers),
        cmocka_unit_test(losses), cmocka_unit_test(losses_of_large_logits), cmocka_unit_test(others_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
