/*
 * test_codegen_ops.c -- generated code of ONNX's operators, each alone or with few others, against the interpreter, on every CPU level that this machine has: in
 * shapes that the batch, a second symbol behind the first dimension, or none decide. Values are drawn (backend/trial.h); one core and three give the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "backend/trial.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "runtime/native.h"
#include "runtime/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct op_case {
    const char *signature; /* "(inputs) => (outputs)" */
    const char *body;
} op_case;

#define BOTH "(float[batch,n,4] x, float[batch,n,4] z) => "

static const op_case cases[] = {
    /* symbols behind the first dimension */
    {BOTH "(float[batch,n,4] y)", "a = Add (x, z) y = Relu (a)"},
    {BOTH "(float[n,batch,4] y)", "a = Mul (x, z) y = Transpose <perm = [1, 0, 2]> (a)"},
    {BOTH "(float[4,n,batch] y)", "y = Transpose (x)"},
    {BOTH "(float y)", "a = Mul (x, z) y = ReduceSum <keepdims = 0> (a)"},
    {BOTH "(float[batch,4] y, float[batch,n] w)", "i = Constant <value_ints = [1]> () j = Constant <value_ints = [2]> () y = ReduceMean <keepdims = 0> (x, i) "
                                                  "w = ReduceMax <keepdims = 0> (z, j)"},
    {"(float[3,batch,4] x, float[4,20] w) => (float[3,batch,20] y)", "y = MatMul (x, w)"},
    {"(float[3,batch,4] x, float[4,20] w, float[20] b) => (float[3,batch,20] y)", "a = MatMul (x, w) y = Add (a, b)"},
    {"(float[17,batch,4] x, float[4,20] w) => (float[17,batch,20] y)", "y = MatMul (x, w)"},
    {"(float[batch,n,4] x, float[batch,4,6] w) => (float[batch,n,6] y)", "y = MatMul (x, w)"},
    {"(float[batch,n] x, float[n,m] w) => (float[batch,m] y)", "y = MatMul (x, w)"},
    {"(float[n] x, float[n] w) => (float y)", "y = MatMul (x, w)"},
    {"(float[2,batch,n] x, float[n] w) => (float[2,batch] y)", "y = MatMul (x, w)"},
    {"(double[batch,3] x, double[3,2] w) => (double[batch,2] y)", "y = MatMul (x, w)"},
    {BOTH "(float[4] y)", "s = Constant <value_ints = [-1, 4]> () o = Constant <value_ints = [0]> () a = Sub (x, z) r = Reshape (a, s) e = Exp (r) "
                         "y = ReduceSum <keepdims = 0> (e, o)"},
    {"(float[6,batch,8] x, float[8,8] w) => (float[batch,6,8] y)",
     "s = Constant <value_ints = [-1, 8]> () r = Reshape (x, s) p = MatMul (r, w) t = Constant <value_ints = [6, -1, 8]> () b = Reshape (p, t) "
     "y = Transpose <perm = [1, 0, 2]> (b)"},
    {BOTH "(float[2,batch,n,4] y)", "i = Constant <value_ints = [0]> () a = Unsqueeze (x, i) b = Unsqueeze (z, i) y = Concat <axis = 0> (a, b)"},
    {"(float[batch,n,4] x, float[batch,m,4] z) => (float[batch,4] y)",
     "o = Constant <value_ints = [1]> () c = Concat <axis = 1> (x, z) e = Exp (c) y = ReduceSum <keepdims = 0> (e, o)"},
    {BOTH "(float[batch,n,2] y, float[batch,n,2] w)", "i = Constant <value_ints = [2, 2]> () y, w = Split <axis = 2> (x, i)"},
    {"(float[4,n,3] x) => (float[1,n,3] y, float[3,n,3] w)", "i = Constant <value_ints = [1, 3]> () y, w = Split <axis = 0> (x, i)"},
    {BOTH "(int64[3] y)", "y = Shape (x)"},
    {"(float[2,batch,n] x) => (float[2,batch,n] y)", "i = Constant <value_ints = [-1]> () m = ReduceMax (x, i) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, i) y = Div (e, s)"},
    {"(float[n,batch,4] q, float[n,batch,4] k) => (float[n,batch,batch] y)", "t = Transpose <perm = [0, 2, 1]> (k) y = MatMul (q, t)"},
    {"(float[2,batch,3,4] q, float[2,batch,3,4] k) => (float[2,batch,3,3] y)", "y = Einsum <equation = \"hbik,hbjk->hbij\"> (q, k)"},
    {BOTH "(float[batch,n,4] y)", "a = Constant <value_int = 1> () y = CumSum (x, a)"},
    {BOTH "(int64[batch,4] y)", "y = ArgMax <axis = 1, keepdims = 0> (x)"},
    {BOTH "(float[batch,n,4] y)", "s = Shape (x) o = ConstantOfShape (s) y = Sub (o, x)"},
    {"(float[batch,1,4] x, float[batch,n,4] z) => (float[batch,n,4] y)", "s = Shape (z) y = Expand (x, s)"},
    /* slices of several axes */
    {"(float[batch,5,6] x) => (float[batch,3,2] y)", "f = Constant <value_ints = [1, 4]> () t = Constant <value_ints = [4, 0]> () a = Constant <value_ints = [1, 2]> () "
                                                     "s = Constant <value_ints = [1, -2]> () y = Slice (x, f, t, a, s)"},
    {"(float[5,6] x) => (float[2,6] y)", "f = Constant <value_ints = [-3, -100]> () t = Constant <value_ints = [-1, 100]> () y = Slice (x, f, t)"},
    /* by index */
    {"(float[batch,5] x) => (float[batch,2] y)", "i = Constant <value = int64[2,1] {1, -2}> () t = Transpose (x) g = GatherND (t, i) y = Transpose (g)"},
    {"(float[3,4,2] x) => (float[2,2] y, float[3,2] w)", "i = Constant <value = int64[2,2] {0, 1, 2, -1}> () j = Constant <value = int64[3,1] {3, 0, -1}> () "
                                                         "y = GatherND (x, i) w = GatherND <batch_dims = 1> (x, j)"},
    {"(float[n,3] x) => (float[n,1] y, float[n,1] z)", "s = Constant <value_ints = [1, 1, 1]> () a, b, c = Split <axis = 1> (x, s) e = Exp (b) y = Div (e, c) z = Mul (e, a)"},
    {"(float[4,n] x) => (float[4,n] y)", "i = Constant <value = int64[2,1] {2, 0}> () o = Constant <value = int64[2] {1, 1}> () s = Gather (x, o) y = ScatterND (x, i, s)"},
    {"(float[3,4] x, float[3] u) => (float[3,4] y)", "i = Constant <value = int64[3,2] {0, 1, 2, -1, 0, 1}> () y = ScatterND <reduction = \"add\"> (x, i, u)"},
    {"(float[3,4] x, float[2,2,4] u) => (float[3,4] y)", "i = Constant <value = int64[2,2,1] {0, 1, 0, 2}> () a = Exp (x) y = ScatterND <reduction = \"mul\"> (a, i, u)"},
    {"(float[3,4] x, float[2,4] u) => (float[3,4] y)", "i = Constant <value = int64[2,1] {2, 2}> () y = ScatterND <reduction = \"max\"> (x, i, u)"},
    {"(double[3,4] x, double[2,4] u) => (double[3,4] y)", "i = Constant <value = int64[2,1] {2, 2}> () y = ScatterND <reduction = \"min\"> (x, i, u)"},
    {"(int64[3,4] x, int64[2,4] u) => (int64[3,4] y)", "i = Constant <value = int64[2,1] {1, 1}> () y = ScatterND <reduction = \"add\"> (x, i, u)"},
    {"(float[5,batch] x, float[2,1] u) => (float[5,batch] y)", "i = Constant <value = int64[2,1] {4, 4}> () s = ScatterElements <axis = 0, reduction = \"add\"> (x, i, u) y = Tanh (s)"},
    {"(float[3,4] x, float[2,4] u) => (float[3,4] y)", "i = Constant <value = int64[2,4] {2, 0, -1, 1, 2, 1, 0, 0}> () y = ScatterElements (x, i, u)"},
    {"(float[2,4] x, float[2,3] u) => (float[2,4] y)", "i = Constant <value = int64[2,3] {2, 2, -1, 1, 3, 0}> () y = ScatterElements <axis = -1, reduction = \"max\"> (x, i, u)"},
    /* along an axis */
    {"(float[batch,9] x) => (float[batch,3] y, int64[batch,3] w)", "k = Constant <value_ints = [3]> () y, w = TopK (x, k)"},
    {"(float[batch,9,2] x) => (float[batch,4,2] y, int64[batch,4,2] w)", "k = Constant <value_ints = [4]> () y, w = TopK <axis = 1, largest = 0> (x, k)"},
    {"(int64[20,3] x) => (int64[17,3] y, int64[17,3] w)", "k = Constant <value_ints = [17]> () y, w = TopK <axis = 0> (x, k)"},
    {"(float[batch,2] x) => (float[batch,2] y, float[batch,2] w)", "a = Constant <value_int = 0> () y = CumSum (x, a) e = Exp (x) w = CumSum <reverse = 1, exclusive = 1> (e, a)"},
    {"(float[batch,9] x) => (float[batch,3] y)", "k = Constant <value_ints = [3]> () e = Exp (x) \"\", w = TopK (e, k) y = Cast <to = 1> (w)"},
    /* filling */
    {"(float[batch,3,2] x) => (float[batch,6,2] y)", "p = Constant <value_ints = [0, 2, 0, 0, 1, 0]> () y = Pad (x, p)"},
    {"(float[3,4] x) => (float[5,3] y)", "p = Constant <value_ints = [1, -2, 1, 1]> () v = Constant <value_float = 2.5> () y = Pad (x, p, v)"},
    {"(float[3,n] x) => (float[6,n] y)", "p = Constant <value_ints = [1, 2]> () a = Constant <value_ints = [0]> () y = Pad <mode = \"edge\"> (x, p, \"\", a)"},
    {"(float[batch,4] x) => (float[batch,13] y)", "p = Constant <value_ints = [0, 5, 0, 4]> () y = Pad <mode = \"reflect\"> (x, p)"},
    {"(float[batch,4] x) => (float[batch,13] y)", "p = Constant <value_ints = [0, 5, 0, 4]> () y = Pad <mode = \"wrap\"> (x, p)"},
    {"(float[batch,4] x) => (float[batch] y, int64[batch] w)",
     "s = Shape (x) z = Constant <value_int = 0> () o = Constant <value_int = 1> () b = Gather (s, z) w = Range (z, b, o) f = Cast <to = 1> (w) y = Sin (f)"},
    {"(float[3] x) => (float[3] y)", "f = Constant <value_float = 1.5> () t = Constant <value_float = 0.0> () d = Constant <value_float = -0.5> () r = Range (f, t, d) y = Mul (r, x)"},
    {"(float[n,4] x) => (float[n,4] y)", "e = EyeLike <k = 1> (x) y = Sub (x, e)"},
    {"(float[4,2,n] x) => (float[4,2,n] y)", "l = Constant <value = int64[2] {3, 4}> () y = ReverseSequence (x, l)"},
    {"(float[2,4,n] x) => (float[2,4,n] y)", "l = Constant <value = int64[2] {0, 3}> () y = ReverseSequence <batch_axis = 0, time_axis = 1> (x, l)"},
    /* labels */
    {"(int64[batch,2] x) => (float[batch,2] y, int64[batch,2] w)",
     "y = ai.onnx.ml.LabelEncoder <keys_int64s = [5, 0, 3, 0, 1], values_floats = [0.5, 1.5, 2.5, 3.5, 4.5], default_float = 9.0> (x) "
     "w = ai.onnx.ml.LabelEncoder <keys_int64s = [2], values_int64s = [7]> (x)"},
    {"(float[batch,2] x) => (int64[batch,2] y)", "c = Constant <value_float = 3.0> () f = Mul (x, c) s = Floor (f) "
                                                 "y = ai.onnx.ml.LabelEncoder <keys_floats = [0.0, 1.0, -2.0, -1.0], values_int64s = [10, 11, 12, 13]> (s)"},
};

/* ------------------------------------------------------------------------------------------------------------ engines */

typedef struct native_way {
    const char *cpu;
    fl_pool *pool;
} native_way;

static fl_status make_native(void *arg, const fl_graph *g, const fl_store *store, fl_engine **out, fl_diag *dg)
{
    const native_way *way = arg;
    void *image;
    size_t size;
    fl_image *code = NULL;
    fl_native_options o = {.pool = way->pool};
    FL_TRY(fl_compile(g, way->cpu, &image, &size, dg));
    fl_status status = fl_image_load_bytes(image, size, "test", &code, dg);
    free(image);
    return status == FL_OK ? fl_native_engine_new(g, store, code, &o, out, dg) : status;
}

static bool machine_has(const char *cpu)
{
    if (strcmp(cpu, "x86-64-v2") == 0)
        return true;
    if (strcmp(cpu, "x86-64-v3") == 0)
        return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

static fl_graph *build(const op_case *c, fl_diag *dg)
{
    char text[2000];
    fl_graph *g = NULL;
    snprintf(text, sizeof text, "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1, \"ai.onnx.ml\" : 3]>\ng %s { %s }", c->signature, c->body);
    fl_status s = fl_graph_parse(text, strlen(text), "case", &g, dg);
    if (s == FL_OK)
        s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict, .verify_each = true}, dg);
    if (s == FL_OK)
        s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule, .verify_each = true}, dg);
    if (s != FL_OK)
        fl_diag_print(dg, stderr, "test_codegen_ops", "case", text);
    assert_int_equal(s, FL_OK);
    return g;
}

static void check_case(const op_case *c, int64_t batch, fl_pool *pool)
{
    static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
    fl_diag dg;
    fl_trial *trial = NULL;
    fl_diag_init(&dg);
    fl_graph *g = build(c, &dg);
    fl_status s = fl_trial_new(g, &(fl_trial_options){.seed = 5, .batch = batch}, &trial, &dg);
    for (size_t k = 0; s == FL_OK && k < FL_COUNT(levels); k++) {
        fl_id differs = FL_NONE;
        fl_difference d;
        if (!machine_has(levels[k]))
            continue;
        /* floats against doubles, sums of a few dozen terms */
        s = fl_trial_run(trial, make_native, &(native_way){levels[k], pool}, 2e-5, &differs, &d, &dg);
        if (s == FL_OK && differs != FL_NONE)
            fail_msg("%s, batch %lld, %s:\n%s[%lld] is %.9g, the interpreter says %.9g", levels[k], (long long)batch, c->body, g->values[differs].name,
                     (long long)d.element, d.got, d.want);
    }
    fl_diag_print(&dg, stderr, "test_codegen_ops", NULL, NULL);
    if (s != FL_OK)
        fail_msg("%s", c->body);
    fl_trial_free(trial);
    fl_graph_free(g);
    fl_diag_deinit(&dg);
}

static void each_case(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, 5, 70};
    fl_pool *pool = NULL;
    assert_int_equal(fl_pool_new(3, &pool, NULL), FL_OK);
    for (size_t i = 0; i < FL_COUNT(cases); i++)
        for (size_t b = 0; b < FL_COUNT(batches); b++)
            check_case(&cases[i], batches[b], b == 1 ? NULL : pool);
    fl_pool_free(pool);
}

/* y = Cast (x) on n numbers. */
static void cast(const char *from, const char *to, int dtype, const void *x, void *y, int64_t n, const char *cpu)
{
    char signature[100], body[40];
    int64_t dims[4] = {n, n, n, n};
    fl_diag dg;
    fl_engine *e = NULL;
    fl_store store = {0};
    fl_diag_init(&dg);
    snprintf(signature, sizeof signature, "(%s[n] x) => (%s[n] y)", from, to);
    snprintf(body, sizeof body, "y = Cast <to = %d> (x)", dtype);
    fl_graph *g = build(&(op_case){signature, body}, &dg);
    assert_int_equal(make_native(&(native_way){cpu, NULL}, g, &store, &e, &dg), FL_OK);
    assert_int_equal(e->run(e, &(fl_run){dims, (const void *const[]){x}, (void *const[]){y}}, &dg), FL_OK);
    e->free(e);
    fl_graph_free(g);
    fl_diag_deinit(&dg);
}

/* All 16-bit floats, and floats between and beside them, against the conversions of ir/type.c. */
static void halves(void **state)
{
    (void)state;
    enum { ALL = 1 << 16 };
    static const fl_dtype types[] = {FL_FLOAT16, FL_BFLOAT16};
    uint16_t *bits = malloc(ALL * sizeof *bits), *back = malloc(ALL * sizeof *back), want;
    float *wide = malloc(ALL * sizeof *wide);
    assert_true(bits && back && wide);
    for (size_t t = 0; t < FL_COUNT(types); t++) {
        const char *name = fl_dtype_name(types[t]);
        fl_tensor all = {.type = fl_type_make(types[t], 1, &(fl_dim){ALL}), .bytes = bits};
        for (uint32_t k = 0; k < ALL; k++)
            bits[k] = (uint16_t)k;
        cast(name, "float", FL_FLOAT, bits, wide, ALL, machine_has("x86-64-v4") ? "x86-64-v4" : "x86-64-v2");
        for (uint32_t k = 0; k < ALL; k++) {
            double f = fl_tensor_get_double(&all, k);
            if (isnan(f) ? !isnan(wide[k]) : wide[k] != (float)f || !signbit(wide[k]) != !signbit(f))
                fail_msg("%s %04x is %a, not %a", name, k, (double)wide[k], f);
        }
        for (uint32_t k = 0; k < ALL; k++) { /* every 2^16th float, and some in between */
            uint32_t pattern = k << 16 | (k % 5 == 0 ? 0x8000 : k % 5 == 1 ? 0x1000 : k * 40503u & 0xffff);
            memcpy(&wide[k], &pattern, sizeof pattern);
        }
        cast("float", name, (int)types[t], wide, back, ALL, "x86-64-v2");
        for (uint32_t k = 0; k < ALL; k++) {
            fl_tensor_set_double(&want, types[t], 0, (double)wide[k]);
            if (!isnan(wide[k]) && back[k] != want)
                fail_msg("%a as %s is %04x, not %04x", (double)wide[k], name, back[k], want);
            if (isnan(wide[k]))
                assert_true(isnan(fl_tensor_get_double(&(fl_tensor){.type = fl_type_make(types[t], 0, NULL), .bytes = &back[k]}, 0)));
        }
    }
    free(bits);
    free(back);
    free(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case), cmocka_unit_test(halves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
