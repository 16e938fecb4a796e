/*
 * test_codegen_fm.c -- a factorisation machine that PyTorch exported (66 nodes, ids as floats, batch 1): interpreter and native code against
 * 512 vectors, and which look-ups are left. Oracle: expected.csv, computed node by node in double precision by whoever gathered the vectors. Data: $FLEN_TEST_DATA
 * (default ../shared)/data/onnx_fm_ml1m; skipped without it.
 */
#include "backend/backend.h"
#include "ir/model.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "runtime/native.h"
#include "runtime/variables.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS = 512 };

static float ids[VECTORS][5];
static double expected[VECTORS];
static fl_graph *model;

static FILE *open_data(const char *name)
{
    char path[1024];
    const char *folder = getenv("FLEN_TEST_DATA");
    snprintf(path, sizeof path, "%s/data/onnx_fm_ml1m/%s", folder ? folder : "../shared", name);
    return fopen(path, "rb");
}

/* False if there is no data. */
static bool read_vectors(void)
{
    char line[256];
    FILE *in = open_data("inputs.csv"), *want = open_data("expected.csv");
    if (!in || !want)
        return false;
    assert_non_null(fgets(line, sizeof line, in));
    assert_non_null(fgets(line, sizeof line, want));
    for (int i = 0; i < VECTORS; i++) {
        assert_non_null(fgets(line, sizeof line, in));
        assert_int_equal(sscanf(line, "%f,%f,%f,%f,%f", &ids[i][0], &ids[i][1], &ids[i][2], &ids[i][3], &ids[i][4]), 5);
        assert_non_null(fgets(line, sizeof line, want));
        assert_int_equal(sscanf(line, "%lf", &expected[i]), 1);
    }
    fclose(in);
    fclose(want);
    return true;
}

static int read_all(void **state)
{
    (void)state;
    FILE *f = open_data("FM.onnx");
    if (!f || !read_vectors())
        return 0;
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    void *bytes = malloc(n);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, n, f), n);
    fclose(f);
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status status = fl_onnx_decode(bytes, n, "FM.onnx", NULL, &model, &dg);
    if (status == FL_OK)
        status = fl_graph_verify(model, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    fl_diag_deinit(&dg);
    free(bytes);
    assert_int_equal(status, FL_OK);
    return 0;
}

static int forget_all(void **state)
{
    (void)state;
    fl_graph_free(model);
    return 0;
}

static double largest_error(fl_engine *e)
{
    double largest = 0;
    for (int i = 0; i < VECTORS; i++) {
        float probability = NAN;
        fl_run run = {NULL, (const void *const[]){ids[i]}, (void *const[]){&probability}};
        assert_int_equal(e->run(e, &run, NULL), FL_OK);
        double error = fabs((double)probability - expected[i]);
        largest = error <= largest ? largest : error; /* NaN becomes the largest */
    }
    return largest;
}

static void interpreted(void **state)
{
    (void)state;
    if (!model)
        skip();
    fl_engine *e = NULL;
    fl_store store = {NULL, 0};
    assert_int_equal(fl_interp_engine_new(model, &store, 0, &e, NULL), FL_OK);
    double error = largest_error(e);
    print_message("largest error %.3g\n", error);
    assert_true(error <= 1e-7); /* the output is a float */
    e->free(e);
}

static void native(void **state)
{
    (void)state;
    if (!model || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2"))
        skip();
    fl_graph *g = fl_graph_clone(model);
    fl_variables v = {0};
    fl_engine *e = NULL;
    fl_image *code = NULL;
    fl_native_options o = {0};
    fl_diag dg;
    void *image = NULL;
    size_t size = 0;
    fl_diag_init(&dg);
    fl_status s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict, .verify_each = true, .log = stderr}, &dg);
    if (s == FL_OK)
        s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule, .log = stderr}, &dg);
    if (s == FL_OK)
        s = fl_variables_open(&v, (const fl_graph *const[]){g}, 1, NULL, 0, NULL, 0, NULL, &dg);
    if (s == FL_OK)
        s = fl_compile(g, "x86-64-v3", &image, &size, &dg);
    if (s == FL_OK)
        s = fl_image_load_bytes(image, size, "test", &code, &dg);
    if (s == FL_OK)
        s = fl_native_engine_new(g, &v.store, code, &o, &e, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    assert_int_equal(s, FL_OK);
    double error = largest_error(e);
    print_message("largest error %.3g\n", error);
    assert_true(error <= 1e-6);
    e->free(e);
    free(image);
    fl_variables_close(&v);
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

/* Its ten tables are looked up in two pools, and nowhere else: no Gather is left. */
static void fused(void **state)
{
    (void)state;
    if (!model)
        skip();
    fl_graph *g = fl_graph_clone(model);
    uint32_t n_tables = 0, n_gathers = 0;
    assert_int_equal(fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict, .verify_each = true, .log = stderr}, NULL), FL_OK);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        n_tables += g->nodes[i].op == FL_OP_TABLE_POOL ? fl_look_ups(&g->nodes[i]) : 0;
        n_gathers += g->nodes[i].op == FL_OP_GATHER;
    }
    assert_int_equal(n_tables, 10);
    assert_int_equal(n_gathers, 0);
    fl_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(interpreted), cmocka_unit_test(native), cmocka_unit_test(fused)};
    return cmocka_run_group_tests(tests, read_all, forget_all);
}
