/*
 * test_body_shapes.c -- what each fused operator's code computes is what its body of standard operators says: each operator that has a body, on 200 random
 * shapes. Native code (single precision) against the interpreter on the body (double), to 5e-5 (1 + |value|), a few hundred roundings of 6e-8.
 * Against ONNX Runtime: tests/conformance/run_bodies.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/support/body_shapes.h"

#include "backend/backend.h"
#include "backend/trial.h"
#include "ir/bodies.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "runtime/native.h"

#include <string.h>

enum { SHAPES = 200, AT_ONCE = 50 };

static void ok(fl_status s, fl_diag *dg, fl_op op)
{
    if (s == FL_OK)
        return;
    fl_diag_print(dg, stderr, "test_body_shapes", NULL, NULL);
    fail_msg("%s", fl_op_get(op)->name);
}

static fl_status make_native(void *arg, const fl_graph *g, const fl_store *store, fl_engine **out, fl_diag *dg)
{
    void *bytes = NULL;
    size_t n = 0;
    fl_image *image = NULL;
    (void)arg;
    FL_TRY(fl_compile(g, "x86-64-v3", &bytes, &n, dg));
    fl_status s = fl_image_load_bytes(bytes, n, g->name, &image, dg);
    free(bytes);
    return s == FL_OK ? fl_native_engine_new(g, store, image, &(fl_native_options){0}, out, dg) : s;
}

/* The program as it is run: `code` with its operators, `body` with standard ones. */
static void compare(fl_op op, const fl_graph *code, const fl_graph *body, uint64_t seed, int64_t batch, fl_diag *dg)
{
    fl_trial *x = NULL, *y = NULL;
    fl_trial_options o = {.seed = seed, .batch = batch};
    fl_id wrong = FL_NONE;
    fl_difference d = {0};
    ok(fl_trial_new(code, &o, &x, dg), dg, op);
    ok(fl_trial_new(body, &o, &y, dg), dg, op);
    ok(fl_trial_run(x, make_native, NULL, 2.5e-5, &wrong, &d, dg), dg, op);
    if (wrong != FL_NONE)
        fail_msg("%s: \"%s\", element %lld, batch %lld: code gives %.9g, the operator means %.9g", fl_op_get(op)->name, code->values[wrong].name,
                 (long long)d.element, (long long)batch, d.got, d.want);
    assert_int_equal(code->n_outputs, body->n_outputs);
    for (uint32_t i = 0; i < code->n_outputs; i++) {
        fl_id v = code->outputs[i], w = fl_graph_find(body, code->values[v].name);
        if (w == FL_NONE || fl_trial_differs(x, v, y, w, 1e-12, &d))
            fail_msg("%s: \"%s\", element %lld, batch %lld: the operator means %.17g, the body %.17g", fl_op_get(op)->name, code->values[v].name,
                     (long long)d.element, (long long)batch, d.want, d.got);
    }
    fl_trial_free(x);
    fl_trial_free(y);
}

static void check_operator(fl_op op)
{
    static const int64_t batches[] = {1, 7, 65};
    for (int first = 0; first < SHAPES; first += AT_ONCE) {
        fl_diag dg;
        fl_graph *code = NULL, *body;
        char *text = body_shapes(op, first, AT_ONCE);
        if (!text)
            fail_msg("%s has a body, and nobody has written shapes for it", fl_op_get(op)->name);
        fl_diag_init(&dg);
        ok(fl_graph_parse(text, strlen(text), "shapes", &code, &dg), &dg, op);
        ok(fl_pipeline_run(code, &(fl_pipeline_options){.passes = "infer-types"}, &dg), &dg, op);
        body = fl_graph_clone(code);
        ok(fl_bodies_inline(body, &dg), &dg, op);
        for (fl_id i = 0; i < body->n_nodes; i++)
            assert_true(body->nodes[i].op == FL_OP_NOP || *fl_op_get(body->nodes[i].op)->domain == '\0');
        ok(fl_pipeline_run(body, &(fl_pipeline_options){.passes = "infer-types"}, &dg), &dg, op);
        ok(fl_pipeline_run(code, &(fl_pipeline_options){.passes = "set-mode(predict),infer-types,fold-batch-norm,infer-types"}, &dg), &dg, op);
        ok(fl_pipeline_run(code, &(fl_pipeline_options){.passes = fl_pipeline_schedule}, &dg), &dg, op);
        compare(op, code, body, (uint64_t)first + 1, batches[(first / AT_ONCE) % 3], &dg);
        fl_graph_free(code);
        fl_graph_free(body);
        fl_diag_deinit(&dg);
        free(text);
    }
}

static void each_operator(void **state)
{
    (void)state;
    int n = 0;
    if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2"))
        skip();
    for (int op = 0; op < FL_N_OPS; op++) {
        if (!fl_body_exists((fl_op)op))
            continue;
        check_operator((fl_op)op);
        n++;
    }
    assert_true(n >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_operator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
