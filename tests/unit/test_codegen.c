/*
 * test_codegen.c -- generated code against the interpreter: a small FLEN, every width that needs another way through the
 * emitters, both CPU levels with FMA; equal bits for both levels and for any batch a row stands in.
 */
#include "backend/backend.h"
#include "ir/print.h"
#include "ir/base/rng.h"
#include "passes/pass.h"
#include "runtime/native.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 50, MAX_BATCH = 130, MAX_VARS = 8 };

/* Embedding width k, hidden width h. */
static fl_graph *small_flen(int k, int h)
{
    char text[4096];
    snprintf(text, sizeof text,
             "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1], metadata_props: [\"ai.flen.variables\": "
             "\"t,l,b,rm,rf,w0,b0,w1\"]>\n"
             "flen (int64[batch,5] ids, float[%d,%d] t, float[%d,1] l, float[1] b, float[1] rm, float[2] rf, float[%d,%d] w0, "
             "float[%d] b0, float[%d,1] w1) => (float[batch,1] logit, float[batch,1] probability) {\n"
             "  s = ai.flen.FieldPool <fields = [5]> (l, ids)\n"
             "  hs = Add (s, b)\n"
             "  f0, f1, q0, q1 = ai.flen.FieldPool <fields = [3, 2], squares = 1> (t, ids)\n"
             "  hi = ai.flen.FieldInteraction <fields = 2> (rm, rf, f0, f1, q0, q1)\n"
             "  x = Concat <axis = 1> (f0, f1)\n"
             "  m = MatMul (x, w0)\n"
             "  a = Add (m, b0)\n"
             "  r = Relu (a)\n"
             "  all = Concat <axis = 1> (hs, hi, r)\n"
             "  logit = MatMul (all, w1)\n"
             "  probability = Sigmoid (logit)\n"
             "}\n",
             ROWS, k, ROWS, 2 * k, h, h, 1 + k + h);
    fl_graph *g;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = fl_graph_parse(text, strlen(text), "flen", &g, &dg);
    if (s == FL_OK) {
        fl_pipeline_options o = {.passes = "infer-types,segment,plan-memory", .verify_each = true, .log = stderr};
        s = fl_pipeline_run(g, &o, &dg);
    }
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "test", "flen", text);
    fl_diag_deinit(&dg);
    assert_int_equal(s, FL_OK);
    return g;
}

static fl_store make_store(const fl_graph *g, fl_var *vars)
{
    fl_store store = {vars, 0};
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        int64_t n = fl_type_elements(&v->type);
        float *data = malloc((size_t)n * sizeof *data);
        assert_non_null(data);
        for (int64_t e = 0; e < n; e++)
            data[e] = (float)(fl_random_uniform(7, i, (uint64_t)e) - 0.5);
        int64_t stride = v->type.rank == 2 ? v->type.dims[1] : 1;
        vars[store.n_vars++] = (fl_var){v->name, v->type, data, stride};
    }
    return store;
}

static fl_engine *native(const fl_graph *g, const fl_store *store, const char *cpu)
{
    void *image;
    size_t size;
    fl_image *code;
    fl_engine *e = NULL;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_native_options n = {0};
    fl_status s = fl_compile(g, cpu, &image, &size, &dg);
    if (s == FL_OK) {
        s = fl_image_load_bytes(image, size, "test", &code, &dg);
        free(image);
    }
    if (s == FL_OK)
        s = fl_native_engine_new(g, store, code, &n, &e, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(s, FL_OK);
    return e;
}

static void run(const fl_graph *g, fl_engine *e, const int64_t *ids, int64_t batch, float *logit, float *probability)
{
    int64_t dims[8] = {0};
    fl_diag dg;
    fl_diag_init(&dg);
    assert_true(g->n_symbols <= FL_COUNT(dims));
    for (uint32_t i = 0; i < g->n_symbols; i++)
        dims[i] = batch;
    fl_run r = {dims, (const void *const[]){ids}, (void *const[]){logit, probability}};
    fl_status s = e->run(e, &r, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(s, FL_OK);
}

static void test_flen_of_all_widths(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 4, 8, 10, 32}, hs[] = {1, 5, 12, 64};
    static const int64_t batches[] = {1, 2, 7, 64, MAX_BATCH};
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2"))
        skip();
    int64_t ids[MAX_BATCH * 5];
    for (size_t i = 0; i < FL_COUNT(ids); i++)
        ids[i] = (int64_t)(fl_random_uniform(3, 0, i) * ROWS);
    for (size_t k = 0; k < FL_COUNT(ks); k++) {
        for (size_t h = 0; h < FL_COUNT(hs); h++) {
            fl_var vars[MAX_VARS];
            fl_graph *g = small_flen(ks[k], hs[h]);
            fl_store store = make_store(g, vars);
            fl_engine *engines[3] = {NULL, native(g, &store, "x86-64-v3"), v4 ? native(g, &store, "x86-64-v4") : NULL};
            assert_int_equal(fl_interp_engine_new(g, &store, 0, &engines[0], NULL), FL_OK);
            float logit[3][MAX_BATCH], p[3][MAX_BATCH], whole[MAX_BATCH] = {0};
            for (size_t b = FL_COUNT(batches); b-- > 0;) {
                for (int e = 0; e < 3; e++)
                    if (engines[e])
                        run(g, engines[e], ids, batches[b], logit[e], p[e]);
                if (batches[b] == MAX_BATCH)
                    memcpy(whole, logit[1], sizeof whole);
                for (int64_t i = 0; i < batches[b]; i++) { /* floats against doubles: about 200 roundings of 6e-8 each */
                    assert_true(fabsf(logit[1][i] - logit[0][i]) <= 2e-5f * (1 + fabsf(logit[0][i])));
                    assert_true(fabsf(p[1][i] - p[0][i]) <= 1e-5f);
                }
                assert_memory_equal(logit[1], whole, (size_t)batches[b] * sizeof *whole);
                if (v4) {
                    assert_memory_equal(logit[1], logit[2], (size_t)batches[b] * sizeof *whole);
                    assert_memory_equal(p[1], p[2], (size_t)batches[b] * sizeof *whole);
                }
            }
            for (int e = 0; e < 3; e++)
                if (engines[e])
                    engines[e]->free(engines[e]);
            for (uint32_t i = 0; i < store.n_vars; i++)
                free(vars[i].data);
            fl_graph_free(g);
        }
    }
}

/* What has no emitter is refused, all of it at once. */
static void test_refusals(void **state)
{
    (void)state;
    static const char text[] = "g (float[batch,4] x) => (float[batch,4] z) {\n"
                               "  y = ai.flen.MaskedDropout <rate = 0.5, style = \"upscale_in_train\"> (x)\n"
                               "  z = ai.flen.MaskedDropout <rate = 0.2, style = \"upscale_in_train\"> (y)\n"
                               "}";
    fl_graph *g;
    fl_diag dg;
    void *image;
    size_t size;
    fl_diag_init(&dg);
    assert_int_equal(fl_graph_parse(text, strlen(text), "g", &g, &dg), FL_OK);
    assert_int_equal(fl_compile(g, "x86-64-v3", &image, &size, &dg), FL_FAILED);
    assert_int_equal(dg.entries[0].code, FL_E_GENERATED_CODE);
    assert_string_equal(dg.entries[0].text, "program \"g\" has no schedule");
    fl_diag_clear(&dg);
    fl_pipeline_options o = {.passes = "infer-types,segment,plan-memory", .log = stderr};
    assert_int_equal(fl_pipeline_run(g, &o, &dg), FL_OK);
    assert_int_equal(fl_compile(g, "x86-64-v3", &image, &size, &dg), FL_UNSUPPORTED);
    assert_int_equal(dg.n_entries, 2);
    assert_int_equal(dg.entries[0].code, FL_E_NO_EMITTER);
    assert_string_equal(dg.entries[0].text,
                        "node \"y\" (MaskedDropout) cannot be compiled: there is no emitter for this operator");
    assert_string_equal(dg.entries[1].text,
                        "node \"z\" (MaskedDropout) cannot be compiled: there is no emitter for this operator");
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flen_of_all_widths),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
