/*
 * test_gradients.c -- the gradient rule of each differentiable operator. Oracle: central differences of the loss of the graph before differentiation,
 * on the interpreter (step 1e-5 in double precision: an error of about 1e-10 relative to values near 1; 1e-6 is allowed). Every operator that ops.def
 * calls differentiable must have a case here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/print.h"
#include "passes/pass.h"
#include "tests/support/random_values.h"

#include <math.h>
#include <stdio.h>

typedef struct gradient_case {
    fl_op op;
    const char *signature; /* of w and v, which are trained, and further inputs */
    const char *body;      /* makes y */
} gradient_case;

#define W32 "float[3,2] w, float[2] v"
#define SMALL    "half = Constant <value_float = 0.5> () p = Mul (w, half) "
#define POSITIVE "s = Mul (w, w) half = Constant <value_float = 0.5> () p = Add (s, half) "

/* A rule that has several forms has several cases. */
static const gradient_case cases[] = {
    {FL_OP_IDENTITY, W32, "i = Identity (w) y = Mul (i, v)"},
    {FL_OP_NEG, W32, "y = Neg (w)"},
    {FL_OP_ABS, W32, "y = Abs (w)"},
    {FL_OP_SIGN, W32, "i = Sign (w) y = Add (i, v)"},
    {FL_OP_CEIL, W32, "i = Ceil (w) y = Add (i, v)"},
    {FL_OP_FLOOR, W32, "i = Floor (w) y = Add (i, v)"},
    {FL_OP_ROUND, W32, "i = Round (w) y = Add (i, v)"},
    {FL_OP_SQRT, W32, POSITIVE "y = Sqrt (p)"},
    {FL_OP_RECIPROCAL, W32, POSITIVE "y = Reciprocal (p)"},
    {FL_OP_EXP, W32, "y = Exp (w)"},
    {FL_OP_LOG, W32, POSITIVE "y = Log (p)"},
    {FL_OP_SIGMOID, W32, "y = Sigmoid (w)"},
    {FL_OP_TANH, W32, "y = Tanh (w)"},
    {FL_OP_RELU, W32, "y = Relu (w)"},
    {FL_OP_SOFTPLUS, W32, "y = Softplus (w)"},
    {FL_OP_ERF, W32, "y = Erf (w)"},
    {FL_OP_SIN, W32, "y = Sin (w)"},
    {FL_OP_COS, W32, "y = Cos (w)"},
    {FL_OP_TAN, W32, "y = Tan (w)"},
    {FL_OP_ASIN, W32, SMALL "y = Asin (p)"},
    {FL_OP_ACOS, W32, SMALL "y = Acos (p)"},
    {FL_OP_ATAN, W32, "y = Atan (w)"},
    {FL_OP_SINH, W32, "y = Sinh (w)"},
    {FL_OP_COSH, W32, "y = Cosh (w)"},
    {FL_OP_ASINH, W32, "y = Asinh (w)"},
    {FL_OP_ACOSH, W32, POSITIVE "q = Add (p, half) r = Add (q, half) y = Acosh (r)"},
    {FL_OP_ATANH, W32, SMALL "y = Atanh (p)"},
    {FL_OP_MOD, W32, "b = Constant <value_float = 0.3> () y = Mod <fmod = 1> (w, b)"},
    {FL_OP_MOD, W32, POSITIVE "c = Constant <value_float = 7.1> () m = Mod <fmod = 1> (c, p) y = Add (m, v)"},
    {FL_OP_CAST, W32, "d = Cast <to = 11> (w) y = Cast <to = 1> (d)"},
    {FL_OP_ADD, W32, "y = Add (w, v)"},
    {FL_OP_SUB, W32, "y = Sub (v, w)"},
    {FL_OP_MUL, W32, "y = Mul (w, v)"},
    {FL_OP_DIV, W32, POSITIVE "y = Div (v, p)"},
    {FL_OP_POW, W32, POSITIVE "y = Pow (p, v)"},
    {FL_OP_POW, W32, "three = Constant <value_float = 3.0> () y = Pow (w, three)"},
    {FL_OP_POW, W32, "two = Constant <value_int = 2> () y = Pow (w, two)"},
    {FL_OP_MAX, W32, "y = Max (w, v)"},
    {FL_OP_MAX, W32, "x = Neg (v) y = Max (w, v, x)"},
    {FL_OP_MAX, W32, "y = Max (w, w)"},
    {FL_OP_MIN, W32, "low = Constant <value_float = 0.25> () y = Min (w, v, low)"},
    {FL_OP_SUM, W32, "y = Sum (w, v, w)"},
    {FL_OP_WHERE, W32, "c = Less (w, v) y = Where (c, w, v)"},
    {FL_OP_RESHAPE, W32, "n = Constant <value_ints = [2, 3]> () r = Reshape (w, n) y = Mul (r, r)"},
    {FL_OP_FLATTEN, "float[2,3,2] w, float[6] v", "r = Flatten <axis = 1> (w) y = Mul (r, v)"},
    {FL_OP_SQUEEZE, "float[1,3] w, float[3] v", "a = Constant <value_ints = [0]> () r = Squeeze (w, a) y = Mul (r, v)"},
    {FL_OP_UNSQUEEZE, W32, "a = Constant <value_ints = [1]> () r = Unsqueeze (v, a) t = Transpose (w) y = Mul (r, t)"},
    {FL_OP_TRANSPOSE, "float[2,3,4] w, float[3] v", "t = Transpose <perm = [2, 0, 1]> (w) y = Mul (t, v)"},
    {FL_OP_TRILU, "float[3,3] w, float[3] v", "t = Trilu (w) y = Mul (t, v)"},
    {FL_OP_TRILU, "float[2,3,4] w, float[4] v", "k = Constant <value_int = -1> () t = Trilu <upper = 0> (w, k) y = Mul (t, v)"},
    {FL_OP_EXPAND, "float[3,1] w, float[2] v", "n = Constant <value_ints = [4, 3, 2]> () e = Expand (w, n) y = Mul (e, v)"},
    {FL_OP_CONCAT, W32, "a = Constant <value_ints = [0]> () u = Unsqueeze (v, a) c = Concat <axis = 0> (w, u, w) y = Mul (c, v)"},
    {FL_OP_SPLIT, "float[3,4] w, float[2] v", "n = Constant <value_ints = [1, 2, 1]> () a, b, c = Split <axis = 1> (w, n) d = Mul (b, v) y = Mul (d, c)"},
    {FL_OP_SLICE, "float[5,4] w, float[2] v", "f = Constant <value_ints = [1]> () t = Constant <value_ints = [-1]> () a = Constant <value_ints = [1]> () "
                                              "s = Slice (w, f, t, a) y = Mul (s, v)"},
    {FL_OP_SLICE, "float[5,4] w, float[2] v", "f = Constant <value_ints = [1, -2]> () t = Constant <value_ints = [100, 4]> () s = Slice (w, f, t) y = Mul (s, v)"},
    {FL_OP_MATMUL, "float[3,2] w, float[2,4] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[2] w, float[2,4] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[3,4,2] w, float[2] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[2] w, float[3,2,4] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[2] w, float[2] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[2,3,2] w, float[2,2,4] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[2,1,3,2] w, float[5,2,4] v", "y = MatMul (w, v)"},
    {FL_OP_MATMUL, "float[3,2] w, float[5,2,4] v", "y = MatMul (w, v)"},
    {FL_OP_GEMM, W32, "y = Gemm <transB = 1, alpha = 0.5> (w, w)"},
    {FL_OP_GEMM, W32, "t = Transpose (w) y = Gemm <transA = 1, transB = 1, beta = 2.0> (t, w)"},
    {FL_OP_GEMM, "float[3,2] w, float[3] v", "y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (w, w, v)"},
    {FL_OP_REDUCE_SUM, "float[2,3,4] w, float[2,4] v", "a = Constant <value_ints = [1]> () r = ReduceSum <keepdims = 0> (w, a) y = Mul (r, v)"},
    {FL_OP_REDUCE_MEAN, "float[2,3,4] w, float[3] v", "a = Constant <value_ints = [0, 2]> () r = ReduceMean <keepdims = 0> (w, a) y = Mul (r, v)"},
    {FL_OP_REDUCE_MAX, "float[2,3,4] w, float[2,4] v", "a = Constant <value_ints = [1]> () r = ReduceMax <keepdims = 0> (w, a) y = Mul (r, v)"},
    {FL_OP_REDUCE_MAX, W32, "y = ReduceMax (w)"},
    {FL_OP_REDUCE_MIN, "float[2,3,4] w, float[2,1,4] v", "a = Constant <value_ints = [-2]> () r = ReduceMin (w, a) y = Mul (r, v)"},
    {FL_OP_CUM_SUM, "float[3,4] w, float[4] v", "a = Constant <value_int = 1> () c = CumSum (w, a) y = Mul (c, v)"},
    {FL_OP_CUM_SUM, "float[3,4] w, float[4] v", "a = Constant <value_int = 0> () c = CumSum <exclusive = 1, reverse = 1> (w, a) y = Mul (c, v)"},
    {FL_OP_GATHER, "float[5,3] w, float[3] v, int64[batch,2] ids", "e = Gather (w, ids) y = Mul (e, v)"},
    {FL_OP_GATHER, "float[5,3] w, float[3] v, int64[batch,2] ids", "x = Mul (w, v) i = Constant <value = int64[2,2] {1, -1, 4, 1}> () e = Gather (x, i) y = Mul (e, e)"},
    {FL_OP_GATHER, "float[2,3,4] w, float[4] v", "x = Mul (w, v) i = Constant <value = int64[3] {2, 0, 2}> () e = Gather <axis = 1> (x, i) y = Mul (e, v)"},
    {FL_OP_GATHER, "float[2,3,4] w, float[3] v", "x = Exp (w) i = Constant <value_int = 1> () e = Gather <axis = -1> (x, i) y = Mul (e, v)"},
    {FL_OP_GATHER_ELEMENTS, "float[3,4] w, float[2] v", "i = Constant <value = int64[3,2] {0, -1, 2, 2, 1, 3}> () e = GatherElements <axis = 1> (w, i) y = Mul (e, v)"},
    {FL_OP_GATHER_ND, "float[3,4,2] w, float[2] v", "i = Constant <value = int64[3,2] {0, 1, 2, -1, 0, 1}> () e = GatherND (w, i) y = Mul (e, v)"},
    {FL_OP_GATHER_ND, "float[3,4,2] w, float[2] v", "i = Constant <value = int64[3,2,1] {3, 0, -1, 1, 2, 2}> () e = GatherND <batch_dims = 1> (w, i) y = Mul (e, v)"},
    {FL_OP_GATHER_ND, "float[2,3,4] w, float[3] v", "i = Constant <value = int64[2,3,1] {3, 0, -1, 1, 2, 2}> () e = GatherND <batch_dims = 2> (w, i) y = Mul (e, v)"},
    {FL_OP_SCATTER_ND, "float[4,2] w, float[2,2] v", "i = Constant <value = int64[2,1] {3, 0}> () e = ScatterND (w, i, v) y = Mul (e, e)"},
    {FL_OP_SCATTER_ND, "float[4,2] w, float[3] v", "i = Constant <value = int64[3,2] {3, 0, 1, 1, 3, -2}> () e = ScatterND <reduction = \"add\"> (w, i, v) y = Mul (e, e)"},
    {FL_OP_SCATTER_ELEMENTS, "float[3,4] w, float[2,2] v", "i = Constant <value = int64[2,2] {3, 0, -1, 2}> () e = ScatterElements <axis = 1> (w, i, v) y = Mul (e, e)"},
    {FL_OP_SCATTER_ELEMENTS, "float[3,4] w, float[2,2] v", "i = Constant <value = int64[2,2] {1, 0, 1, 2}> () e = ScatterElements <axis = 0, reduction = \"add\"> (w, i, v) "
                                                          "y = Mul (e, e)"},
    {FL_OP_TOP_K, "float[3,5] w, float[2] v", "k = Constant <value_ints = [2]> () e, i = TopK (w, k) y = Mul (e, v)"},
    {FL_OP_TOP_K, "float[5,3] w, float[3] v", "k = Constant <value_ints = [3]> () e = TopK <axis = 0, largest = 0> (w, k) y = Mul (e, v)"},
    {FL_OP_TILE, "float[3,2] w, float[6] v", "n = Constant <value_ints = [2, 3]> () t = Tile (w, n) y = Mul (t, v)"},
    {FL_OP_TILE, "float[1,2] w, float[2] v, float[batch,1] x", "a = Mul (w, x) n = Constant <value_ints = [1, 3]> () t = Tile (a, n) y = Mul (t, t)"},
    {FL_OP_PAD, "float[3,2] w, float[4] v", "n = Constant <value_ints = [1, 0, 0, 2]> () t = Pad (w, n) y = Mul (t, v)"},
    {FL_OP_PAD, "float[3,4] w, float[4] v", "n = Constant <value_ints = [-1, 2]> () a = Constant <value_ints = [0]> () c = Constant <value_float = 0.5> () t = Pad (w, n, c, a) y = Mul (t, v)"},
    {FL_OP_REVERSE_SEQUENCE, "float[4,2] w, float[2] v", "l = Constant <value = int64[2] {3, 4}> () r = ReverseSequence (w, l) c = Constant <value_int = 0> () s = CumSum (r, c) y = Mul (s, v)"},
    {FL_OP_REDUCE_PROD, "float[2,3] w, float[2] v", "a = Constant <value_ints = [1]> () p = ReduceProd <keepdims = 0> (w, a) y = Mul (p, v)"},
    {FL_OP_REDUCE_PROD, "float[2,3] w, float[1,3] v", "z = Constant <value = float[2,3] {0, 1, 1, 1, 0, 0}> () m = Mul (w, z) p = ReduceProd (m) y = Add (p, v)"},
    {FL_OP_REDUCE_PROD, "float[2,3] w, float[2,1] v", "z = Constant <value = float[2,3] {0, 1, 1, 1, 0, 0}> () o = Constant <value = float[2,3] {1, 0, 0, 0, 1, 1}> () a = Constant <value_ints = [1]> () "
                                                     "m = Mul (w, z) k = Mul (w, o) s = Add (m, o) p = ReduceProd (s, a) q = ReduceProd (k, a) r = Add (p, q) y = Mul (r, v)"},
    {FL_OP_EINSUM, "float[3,2] w, float[2,4] v", "y = Einsum <equation = \"ij,jk->ik\"> (w, v)"},
    {FL_OP_EINSUM, "float[2,3,2] w, float[2,4,2] v", "y = Einsum <equation = \"bik,bjk->bij\"> (w, v)"},
    {FL_OP_EINSUM, "float[2,3,2] w, float[4,2] v", "y = Einsum <equation = \"...k,jk->j...\"> (w, v)"},
    {FL_OP_EINSUM, "float[3,2] w, float[4] v", "y = Einsum <equation = \"ij,k->i\"> (w, v)"},
    {FL_OP_EINSUM, "float[3,2] w, float[2] v", "y = Einsum <equation = \"ij,j,ij->i\"> (w, v, w)"},
    {FL_OP_FIELD_POOL, "float[5,2] w, float[2] v, int64[batch,3] ids",
     "f, g, q, r = ai.flen.FieldPool <fields = [1, 2], squares = 1> (w, ids) a = Mul (f, v) b = Mul (g, r) c = Add (a, b) y = Add (c, q)"},
    {FL_OP_FIELD_INTERACTION, "float[1] w, float[2] v, float[batch,3] a, float[batch,3] b, float[batch,3] q",
     "y = ai.flen.FieldInteraction <fields = 2> (w, v, a, b, q, \"\")"},
    {FL_OP_EMBEDDING_BAG, "float[5,2] w, float[2] v, int64[count] values, int64[offset] offsets",
     "e = ai.flen.EmbeddingBag <mode = \"sum\"> (w, values, offsets) y = Mul (e, v)"},
    {FL_OP_EMBEDDING_BAG, "float[5,2] w, float[2] v, int64[count] values, int64[offset] offsets",
     "e = ai.flen.EmbeddingBag <mode = \"mean\"> (w, values, offsets) y = Mul (e, v)"},
    {FL_OP_LINEAR, "float[3,2] w, float[2] v, float[batch,3] x", "y = ai.flen.Linear <activation = \"relu\"> (x, w, v)"},
    {FL_OP_LINEAR, W32, "t = Transpose (w) y = ai.flen.Linear (t, w)"},
    {FL_OP_LOG_LOSS, "float[4,1] w, float[1] v, float[4,1] target",
     "z = Mul (w, v) y = ai.flen.LogLoss <kind = \"bce\", epsilon = 0.0> (z, target)"},
    {FL_OP_LOG_LOSS, "float[4,1] w, float[1] v, float[4,1] target",
     "z = Mul (w, v) y = ai.flen.LogLoss <kind = \"paddle_log_loss\", epsilon = 0.5> (z, target)"},
    {FL_OP_LOG_LOSS, "float[4,1] w, float[1] v, float[4,1] target",
     "z = Mul (w, v) y = ai.flen.LogLoss <kind = \"bce_clamped\", epsilon = 0.0> (z, target)"},
    {FL_OP_SLOT_LINEAR, "float[5,2] w, float[4,3] v, int64[batch,2] ids",
     "rows, inverse, count, order, segment = ai.flen.UniqueRows (ids) e = Gather (w, rows) h = ai.flen.SlotLinear (e, count, v) "
     "f, g = ai.flen.FieldPool <fields = [1, 1]> (h, inverse) y = Mul (f, g)"},
};

static fl_graph *build(const gradient_case *c, fl_diag *dg)
{
    static const char head[] = "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1], metadata_props: [\"ai.flen.variables\": \"w,v\", \"ai.flen.params\": "
                               "\"[{\\\"variable\\\":\\\"w\\\",\\\"rule\\\":\\\"sgd\\\",\\\"init\\\":\\\"constant\\\",\\\"lr\\\":0.5},"
                               "{\\\"variable\\\":\\\"v\\\",\\\"rule\\\":\\\"sgd\\\",\\\"init\\\":\\\"constant\\\",\\\"lr\\\":0.5}]\"]>\n";
    char text[2000];
    fl_graph *g = NULL;
    snprintf(text, sizeof text, "%sg (%s) => (float loss) { %s bent = Tanh (y) loss = ReduceSum <keepdims = 0> (bent) }", head, c->signature, c->body);
    fl_status s = fl_graph_parse(text, strlen(text), "case", &g, dg);
    if (s == FL_OK)
        s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = "infer-types"}, dg);
    if (s != FL_OK)
        fl_diag_print(dg, stderr, "test_gradients", "case", text);
    assert_int_equal(s, FL_OK);
    return g;
}

static fl_interp *start(const fl_graph *g, fl_diag *dg)
{
    fl_interp *in = NULL;
    fl_status s = random_run(g, 3, 4, &in, dg);
    fl_diag_print(dg, stderr, "test_gradients", NULL, NULL);
    assert_int_equal(s, FL_OK);
    return in;
}

static double loss_at(fl_interp *in, const fl_graph *g, fl_id v, const fl_array *at, int64_t k, double by, fl_diag *dg)
{
    double f[64];
    assert_true(at->n <= (int64_t)FL_COUNT(f));
    memcpy(f, at->f, (size_t)at->n * sizeof *f);
    f[k] += by;
    assert_int_equal(fl_interp_set_doubles(in, v, at->rank, at->dims, f, dg), FL_OK);
    assert_int_equal(fl_interp_run(in, dg), FL_OK);
    return fl_interp_get(in, fl_graph_find(g, "loss"))->f[0];
}

static void check_variable(const gradient_case *c, const char *name, const fl_graph *plain, const fl_graph *g, const fl_interp *got, fl_diag *dg)
{
    const double h = 1e-5;
    char grad_name[16];
    snprintf(grad_name, sizeof grad_name, "grad.%s", name);
    fl_id v = fl_graph_find(plain, name);
    const fl_array *grad = fl_interp_get(got, fl_graph_find(g, grad_name));
    fl_interp *in = start(plain, dg), *values = start(plain, dg);
    const fl_array *at = fl_interp_get(values, v);
    assert_true(grad && at && grad->n == at->n);
    for (int64_t k = 0; k < at->n; k++) {
        double want = (loss_at(in, plain, v, at, k, h, dg) - loss_at(in, plain, v, at, k, -h, dg)) / (2 * h);
        if (!(fabs(grad->f[k] - want) <= 1e-6 * (1 + fabs(want))))
            fail_msg("%s: %s\n%s[%lld] is %.9g, differences say %.9g", fl_op_get(c->op)->name, c->body, grad_name, (long long)k, grad->f[k], want);
    }
    fl_interp_free(in);
    fl_interp_free(values);
}

static bool reaches(const fl_graph *g, fl_op op)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == op)
            return true;
    return false;
}

static void each_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        fl_diag dg;
        fl_diag_init(&dg);
        fl_graph *plain = build(&cases[i], &dg), *g = fl_graph_clone(plain);
        assert_true(reaches(plain, cases[i].op));
        fl_status s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = "distinct-rows,differentiate(gradients)", .verify_each = true}, &dg);
        if (s != FL_OK)
            fprintf(stderr, "%s: %s\n", fl_op_get(cases[i].op)->name, cases[i].body);
        fl_diag_print(&dg, stderr, "test_gradients", NULL, NULL);
        assert_int_equal(s, FL_OK);
        fl_interp *got = start(g, &dg);
        check_variable(&cases[i], "w", plain, g, got, &dg);
        check_variable(&cases[i], "v", plain, g, got, &dg);
        fl_interp_free(got);
        fl_graph_free(plain);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

static void every_operator_has_a_case(void **state)
{
    (void)state;
    for (int op = 0; op < FL_N_OPS; op++) {
        bool found = !fl_op_has((fl_op)op, FL_DIFFERENTIABLE);
        for (size_t i = 0; i < FL_COUNT(cases) && !found; i++)
            found = cases[i].op == (fl_op)op;
        if (!found)
            fail_msg("%s is differentiable, and has no case", fl_op_get((fl_op)op)->name);
    }
}

/* What is expanded when it is read has gradients through what it is expanded to. */
static void expansions(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "y = Softmax <axis = 1> (w)",    "y = LogSoftmax <axis = 0> (w)", "y = Gelu (w)",          "y = Gelu <approximate = \"tanh\"> (w)",
        "y = Celu <alpha = 0.5> (w)",    "y = Elu (w)",                   "y = Selu (w)",          "y = LeakyRelu <alpha = 0.1> (w)",
        "y = HardSigmoid (w)",           "y = HardSwish (w)",             "y = Mish (w)",          "y = PRelu (w, v)",
        "y = Softsign (w)",              "y = ReduceLogSumExp (w)",       "y = ReduceL2 (w)",      "y = ReduceL1 (w)",
        "y = LayerNormalization (w, v)", "y = ReduceSumSquare (w)",       "y = Mean (w, v)",       "y = MeanVarianceNormalization <axes = [0, 1]> (w)",
        "low = Constant <value_float = -0.5> () high = Constant <value_float = 0.5> () y = Clip (w, low, high)",
    };
    for (size_t i = 0; i < FL_COUNT(bodies); i++) {
        fl_diag dg;
        gradient_case c = {FL_OP_IDENTITY, W32, bodies[i]};
        fl_diag_init(&dg);
        fl_graph *plain = build(&c, &dg), *g = fl_graph_clone(plain);
        fl_status s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = "differentiate(gradients)", .verify_each = true}, &dg);
        fl_diag_print(&dg, stderr, "test_gradients", NULL, NULL);
        if (s != FL_OK)
            fail_msg("%s", bodies[i]);
        fl_interp *got = start(g, &dg);
        check_variable(&c, "w", plain, g, got, &dg);
        check_variable(&c, "v", plain, g, got, &dg);
        fl_interp_free(got);
        fl_graph_free(plain);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case), cmocka_unit_test(every_operator_has_a_case), cmocka_unit_test(expansions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
