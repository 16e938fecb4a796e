/*
 * test_codegen_rows.c -- generated code for training over distinct rows against the interpreter: whole steps
 * that end in variables, gradients looked up by the inverse, bags; every width that needs another way through
 * the emitters, ids with and without repeats. The same bits for 1, 2 and 3 workers and for both CPU levels
 * with FMA; inputs and variables end at guard pages.
 */
#include "backend/backend.h"
#include "ir/base/rng.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "runtime/native.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_ENGINES = 7, MAX_VALUES = 16, GAP = 3 };

/* -------------------------------------------------------------------------------- memory that ends at a
 * guard page */

typedef struct guarded {
    void *data, *map;
    size_t size;
} guarded;

static guarded guarded_new(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n + page - 1) / page * page;
    guarded g = {NULL, NULL, whole + page};
    g.map = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.map, MAP_FAILED);
    assert_int_equal(mprotect((char *)g.map + whole, page, PROT_NONE), 0);
    g.data = (char *)g.map + whole - n;
    return g;
}

static void guarded_free(guarded g)
{
    munmap(g.map, g.size);
}

/* ------------------------------------------------------------------------------------------- one program,
 * all engines */

typedef struct bench {
    fl_graph *g;
    fl_engine *engines[N_ENGINES]; /* the interpreter; two CPU levels with 1, 2, 3 workers */
    fl_pool *pools[N_ENGINES];
    fl_store stores[N_ENGINES];
    fl_var vars[N_ENGINES][MAX_VALUES];
    guarded memory[N_ENGINES][MAX_VALUES];
    guarded out[N_ENGINES][MAX_VALUES];
} bench;

static void check(fl_status s, fl_diag *dg, const char *text)
{
    if (s != FL_OK)
        fl_diag_print(dg, stderr, "test", "program", text);
    fl_diag_deinit(dg);
    assert_int_equal(s, FL_OK);
}

/* Tables, which are read by row, have gaps between their rows, as records do. */
static int64_t stride_of(const fl_graph *g, fl_id v)
{
    const fl_type *t = fl_value_type(g, v);
    bool table = g->schedule->storage[v].row_stride == FL_STRIDE_OF_BUFFER;
    return t->rank == 2 ? t->dims[1] + (table ? GAP : 0) : 1;
}

static void fill_store(bench *b, int e)
{
    fl_graph *g = b->g;
    fl_store *store = &b->stores[e];
    *store = (fl_store){b->vars[e], 0};
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        if (v->kind != FL_VALUE_VARIABLE)
            continue;
        int64_t rows = v->type.dims[0], width = v->type.rank == 2 ? v->type.dims[1] : 1,
                stride = stride_of(g, g->variables[i]);
        assert_true(store->n_vars < MAX_VALUES);
        guarded m = guarded_new((size_t)((rows - 1) * stride + width) * sizeof(float));
        float *data = m.data;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < width; k++)
                data[r * stride + k] = (float)(fl_random_uniform(7, i, (uint64_t)(r * width + k)) - 0.5);
        b->memory[e][store->n_vars] = m;
        b->vars[e][store->n_vars++] = (fl_var){v->name, v->type, data, stride};
    }
}

static void start_native(bench *b, int e, const void *image, size_t size, uint32_t workers)
{
    fl_diag dg;
    fl_image *code = NULL;
    fl_diag_init(&dg);
    fl_status s = fl_pool_new(workers, &b->pools[e], &dg);
    if (s == FL_OK)
        s = fl_image_load_bytes(image, size, "test", &code, &dg);
    fl_native_options n = {.pool = b->pools[e]};
    if (s == FL_OK)
        s = fl_native_engine_new(b->g, &b->stores[e], code, &n, &b->engines[e], &dg);
    check(s, &dg, NULL);
}

static void bench_init(bench *b, const char *text)
{
    fl_diag dg;
    memset(b, 0, sizeof *b);
    fl_diag_init(&dg);
    fl_status s = fl_graph_parse(text, strlen(text), "step", &b->g, &dg);
    if (s == FL_OK) {
        fl_pipeline_options o = {
            .passes = "infer-types,segment,plan-memory", .verify_each = true, .log = stderr};
        s = fl_pipeline_run(b->g, &o, &dg);
    }
    check(s, &dg, text);
    for (int e = 0; e < N_ENGINES; e++)
        fill_store(b, e);
    fl_diag_init(&dg);
    check(fl_interp_engine_new(b->g, &b->stores[0], 0, &b->engines[0], &dg), &dg, text);
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    for (int level = 0; level < (v4 ? 2 : 1); level++) {
        void *image;
        size_t size;
        fl_diag_init(&dg);
        check(fl_compile(b->g, level ? "x86-64-v4" : "x86-64-v3", &image, &size, &dg), &dg, text);
        for (uint32_t workers = 1; workers <= 3; workers++)
            start_native(b, 3 * level + (int)workers, image, size, workers);
        free(image);
    }
}

static void bench_deinit(bench *b)
{
    for (int e = 0; e < N_ENGINES; e++) {
        if (b->engines[e])
            b->engines[e]->free(b->engines[e]);
        fl_pool_free(b->pools[e]);
        for (uint32_t i = 0; i < b->stores[e].n_vars; i++)
            guarded_free(b->memory[e][i]);
    }
    fl_graph_free(b->g);
}

/* ----------------------------------------------------------------------------------------------------------
 * data */

typedef enum repeats { FEW_IDS, SOME_IDS, NO_REPEATS, LATE_IDS, MANY_LATE_IDS, N_REPEATS } repeats;

typedef struct data {
    int64_t batch, values,
        rows;      /* rows of the batch; values of all bags; rows of the tables (of each slot, if disjoint) */
    bool disjoint; /* slots own ranges of the rows */
    repeats repeats;
    uint64_t seed;
} data;

static int64_t extent(const fl_graph *g, fl_dim d, const data *x)
{
    if (!FL_DIM_IS_SYM(d))
        return d;
    const char *name = g->symbols[FL_SYM_OF_DIM(d)];
    return strcmp(name, "batch") == 0  ? x->batch
           : strcmp(name, "n") == 0    ? x->values
           : strcmp(name, "bags") == 0 ? x->batch + 1
                                       : 0;
}

static int64_t elements(const fl_graph *g, fl_id v, const data *x)
{
    int64_t n = 1;
    for (int d = 0; d < fl_value_type(g, v)->rank; d++)
        n *= extent(g, fl_value_type(g, v)->dims[d], x);
    return n;
}

static int64_t draw(const data *x, uint64_t stream, int64_t i, int64_t n)
{
    return (int64_t)(fl_random_uniform(x->seed, stream, (uint64_t)i) * (double)n);
}

/* Row `i` of column `s`. Without repeats: all different as long as there are rows. Late: five ids, and from row 40 on 7 others, or 30. */
static int64_t an_id(const data *x, uint64_t stream, int64_t i, int64_t s)
{
    int64_t few = x->rows < 3 ? x->rows : 3, id = 0;
    if (x->repeats == FEW_IDS)
        id = draw(x, stream, i * 8 + s, few) * (x->rows / few - (x->rows >= 6));
    else if (x->repeats == SOME_IDS)
        id = draw(x, stream, i * 8 + s, draw(x, stream + 1, i * 8 + s, x->rows));
    else if (x->repeats == NO_REPEATS)
        id = (i * 7 + 3) % x->rows;
    else
        id = (i < 40 || i % 3 ? i * 3 % 5 : 5 + i / 3 * 11 % (x->repeats == LATE_IDS ? 7 : 30)) % x->rows;
    return x->disjoint ? s * x->rows + id : id;
}

/* Inputs by name: ids..., values, offsets; anything else is float. */
static guarded make_input(const fl_graph *g, uint32_t input, const data *x)
{
    fl_id v = g->inputs[input];
    const fl_type *t = fl_value_type(g, v);
    int64_t n = elements(g, v, x), columns = t->rank == 2 ? t->dims[1] : 1;
    guarded m = guarded_new((size_t)n * fl_dtype_size(t->dtype));
    const char *name = g->values[v].name;
    int64_t *wide = m.data;
    int32_t *narrow = m.data;
    float *real = m.data;
    for (int64_t i = 0; i < n; i++) {
        if (strcmp(name, "offsets") == 0) /* uneven bags, some empty */
            wide[i] = i == 0 ? 0 : i == n - 1 ? x->values : x->values * (i / 3 * 3 + (i % 3 != 0)) / n;
        else if (t->dtype == FL_INT64)
            wide[i] = an_id(x, 100 + input, i / columns, i % columns);
        else if (t->dtype == FL_INT32)
            narrow[i] = (int32_t)an_id(x, 100 + input, i / columns, i % columns);
        else
            real[i] = (float)(fl_random_uniform(x->seed, input, (uint64_t)i) - 0.5);
    }
    return m;
}

/* --------------------------------------------------------------------------------------------------------
 * comparing */

static void compare(const float *want, const float *got, int64_t n, const char *name)
{
    for (int64_t i = 0; i < n; i++) /* sums of up to some hundred products of numbers below 1 */
        if (!(fabsf(got[i] - want[i]) <= 3e-5f * (1 + fabsf(want[i]))))
            fail_msg("%s[%lld] is %g, not %g", name, (long long)i, (double)got[i], (double)want[i]);
}

static void run_all(bench *b, const data *x)
{
    fl_graph *g = b->g;
    int64_t dims[32] = {0};
    guarded inputs[MAX_VALUES];
    const void *in[MAX_VALUES];
    assert_true(g->n_symbols <= FL_COUNT(dims) && g->n_inputs <= MAX_VALUES && g->n_outputs <= MAX_VALUES);
    for (uint32_t i = 0; i < g->n_symbols; i++)
        dims[i] = extent(g, FL_DIM_SYM(i), x);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        in[i] = (inputs[i] = make_input(g, i, x)).data;
    for (int e = 0; e < N_ENGINES; e++) {
        void *out[MAX_VALUES];
        fl_diag dg;
        if (!b->engines[e])
            continue;
        for (uint32_t i = 0; i < g->n_outputs; i++)
            out[i] = (b->out[e][i] = guarded_new((size_t)elements(g, g->outputs[i], x) * sizeof(float))).data;
        fl_diag_init(&dg);
        fl_run r = {dims, in, out};
        fl_status s = b->engines[e]->run(b->engines[e], &r, &dg);
        if (s == FL_OK)
            s = b->engines[e]->flush(b->engines[e], &dg);
        check(s, &dg, NULL);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        int64_t n = elements(g, g->outputs[i], x);
        compare(b->out[0][i].data, b->out[1][i].data, n, g->values[g->outputs[i]].name);
        for (int e = 2; e < N_ENGINES; e++)
            if (b->engines[e])
                assert_memory_equal(b->out[1][i].data, b->out[e][i].data, (size_t)n * sizeof(float));
    }
    for (uint32_t i = 0; i < b->stores[0].n_vars; i++) {
        const fl_var *v = b->vars[1];
        int64_t width = v[i].type.rank == 2 ? v[i].type.dims[1] : 1,
                n = (v[i].type.dims[0] - 1) * v[i].stride + width;
        compare(b->vars[0][i].data, v[i].data, n, v[i].name);
        for (int e = 2; e < N_ENGINES; e++)
            if (b->engines[e])
                assert_memory_equal(v[i].data, b->vars[e][i].data, (size_t)n * sizeof(float));
    }
    for (int e = 0; e < N_ENGINES; e++)
        for (uint32_t i = 0; b->engines[e] && i < g->n_outputs; i++)
            guarded_free(b->out[e][i]);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        guarded_free(inputs[i]);
}

/* The largest batch first, so that smaller ones meet its remains in memory; from 128 rows on there are
 * several workers. */
static void run_batches(const char *text, int64_t rows, bool disjoint)
{
    static const int64_t batches[] = {200, 144, 130, 128, 64, 7, 2, 1, 0};
    bench b;
    bench_init(&b, text);
    for (size_t i = 0; i < FL_COUNT(batches); i++)
        for (int r = 0; r < N_REPEATS; r++)
            run_all(&b, &(data){batches[i], batches[i] * 2, rows, disjoint, (repeats)r, 10 * i + (size_t)r});
    bench_deinit(&b);
}

static bool machine_has_fma(void)
{
    return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
}

/* ---------------------------------------------------------------------------------------------------------
 * programs */

#define HEAD                                                                                                 \
    "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1], metadata_props: [\"ai.flen.variables\": "   \
    "\"%s\", "                                                                                               \
    "\"ai.flen.updates\": \"%s\"]>\n"

enum { ROWS = 210 }; /* of a slot: as many as the largest batch needs without repeats */

/* Forward and backward through pools and a slot's product; the table and the weights take a step of plain
 * descent. */
static void step_text(char *text, size_t size, int slots, int k, int h, const char *index)
{
    int first = slots > 1 ? slots / 2 : 1;
    char fields[32], pool[32], grads[32];
    snprintf(fields, sizeof fields, slots > 1 ? "%d, %d" : "%d", first, slots - first);
    snprintf(pool, sizeof pool, slots > 1 ? "f0, f1, q0, q1" : "f0, q0");
    snprintf(grads, sizeof grads, slots > 1 ? "df0, df1, dq0, dq1" : "df0, dq0");
    int n = snprintf(
        text, size,
        HEAD "step (%s[batch,%d] ids, float[batch,%d] dh, float[batch,%d] df0, float[batch,%d] dq0, "
             "float[batch,%d] df1, "
             "float[batch,%d] dq1, float[%d,%d] t, float[%d,%d] w) => (float[batch,%d] h, float[batch,%d] "
             "f0, float[%d] shown, float[%d,%d] t_next, float[%d,%d] w_next) {\n"
             "  rows, inverse, count, order, segment = ai.flen.UniqueRows (ids)\n"
             "  e = Gather (t, rows)\n"
             "  %s = ai.flen.FieldPool <fields = [%s], squares = 1> (e, inverse)\n"
             "  p = ai.flen.SlotLinear (e, count, w)\n"
             "  h = ai.flen.FieldPool <fields = [%d]> (p, inverse)\n"
             "  dp = ai.flen.FieldPoolGrad <fields = [%d]> (\"\", segment, order, count, dh)\n"
             "  dw = ai.flen.SlotLinearWeightGrad (e, count, dp)\n"
             "  de = ai.flen.SlotLinear <transposed = 1> (dp, count, w)\n"
             "  dpool = ai.flen.FieldPoolGrad <fields = [%s], squares = 1> (e, segment, order, count, %s)\n"
             "  g = Add (de, dpool)\n"
             "  rate = Constant <value_float = 0.003> ()\n"
             "  gr = Mul (g, rate)\n"
             "  e_next = Sub (e, gr)\n"
             "  axes = Constant <value_ints = [1]> ()\n"
             "  at = Unsqueeze (rows, axes)\n"
             "  t_next = ScatterND (t, at, e_next)\n"
             "  wr = Mul (dw, rate)\n"
             "  w_next = Sub (w, wr)\n"
             "  flat = Constant <value_ints = [-1]> ()\n"
             "  shown = Reshape (w, flat)\n" /* the old values, whatever is written over them */
             "}\n",
        "t,w", "t=t_next,w=w_next", index, slots, h, k, k, k, k, slots * ROWS, k, slots * k, h, h, k,
        slots * k * h, slots * ROWS, k, slots * k, h, pool, fields, slots, slots, fields, grads);
    assert_true(n > 0 && (size_t)n < size);
}

static void test_step_of_all_widths(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 4, 8, 17, 32}, hs[] = {1, 5, 16, 64};
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (size_t k = 0; k < FL_COUNT(ks); k++)
        for (size_t h = 0; h < FL_COUNT(hs); h++) {
            step_text(text, sizeof text, 1 + (int)(k + h) % 5, ks[k], hs[h], h % 2 ? "int32" : "int64");
            run_batches(text, ROWS, true);
        }
}

/* Rows that an int32 does not hold, or negative ones, a few of them and many: numbered by their whole length. */
static void test_rows_beyond_int32(void **state)
{
    static const struct {
        const char *index, *op;
        int64_t rows;
    } ids[] = {{"int64", "Identity", INT64_C(60000000000)}, {"int64", "Neg", INT64_C(60000000000)}, {"int64", "Neg", 100}, {"int32", "Neg", 100}};
    (void)state;
    char text[1024];
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(ids); i++) {
        int n = snprintf(text, sizeof text,
                         HEAD "step (%s[batch,2] ids) => (float[batch,1] h) {\n"
                              "  signed = %s (ids)\n"
                              "  rows, inverse, count, order, segment = ai.flen.UniqueRows (signed)\n"
                              "  number = Cast <to = 1> (rows)\n"
                              "  axes = Constant <value_ints = [1]> ()\n"
                              "  e = Unsqueeze (number, axes)\n"
                              "  h = ai.flen.FieldPool <fields = [2]> (e, inverse)\n"
                              "}\n",
                         "", "", ids[i].index, ids[i].op);
        assert_true(n > 0 && (size_t)n < sizeof text);
        run_batches(text, ids[i].rows, false);
    }
}

/* So many slots that they come in windows where a batch has many rows (ir/windows.h), and all at once where it has few: both code paths give what the interpreter gives,
 * and windows end inside of fields. */
static void test_windows_of_slots(void **state)
{
    (void)state;
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (int slots = 67; slots <= 133; slots += 66) { /* those of 133 slots are copied twice */
        step_text(text, sizeof text, slots, 33, 60, "int64");
        run_batches(text, ROWS, true);
    }
}

/* Weights' gradients of so many terms that these come in blocks, the last one of any size, and of fewer; odd widths, and what follows the product. */
static void test_products_of_many_terms(void **state)
{
    (void)state;
    static const int64_t batches[] = {2500, 1024, 513, 512, 5};
    char text[1024];
    bench b;
    if (!machine_has_fma())
        skip();
    int n = snprintf(text, sizeof text,
                     HEAD "step (float[batch,21] x, float[batch,69] d, float[69] c) => (float[21,69] plain, float[21,69] scaled) {\n"
                          "  plain = Gemm <transA = 1> (x, d)\n"
                          "  scaled = Gemm <transA = 1, alpha = 0.5, beta = 2.0> (x, d, c)\n"
                          "}\n",
                     "", "");
    assert_true(n > 0 && (size_t)n < sizeof text);
    bench_init(&b, text);
    for (size_t i = 0; i < FL_COUNT(batches); i++)
        run_all(&b, &(data){batches[i], batches[i], 1, false, SOME_IDS, 10 + i});
    bench_deinit(&b);
}

/* Columns that share rows: gradients of two indices become one, beside those of one index for a vector. */
static void merge_text(char *text, size_t size, int slots, int k)
{
    int n = snprintf(
        text, size,
        HEAD
        "step (int64[batch,%d] ids1, int64[batch,%d] ids2, float[batch,%d,%d] de1, float[batch,%d,%d] de2, "
        "float[batch,%d,1] dl, float[%d,%d] t, float[%d,1] l) => (float[%d,%d] t_next, float[%d,1] l_next) "
        "{\n"
        "  rows1, inverse1, count1, order1, segment1 = ai.flen.UniqueRows (ids1)\n"
        "  rows2, inverse2, count2, order2, segment2 = ai.flen.UniqueRows (ids2)\n"
        "  g1 = ai.flen.GatherGrad (de1, segment1, order1, count1)\n"
        "  g2 = ai.flen.GatherGrad (de2, segment2, order2, count2)\n"
        "  rows, g, count = ai.flen.MergeRows (count1, rows1, g1, count2, rows2, g2)\n"
        "  e = Gather (t, rows)\n"
        "  rate = Constant <value_float = 0.003> ()\n"
        "  gr = Mul (g, rate)\n"
        "  e_next = Sub (e, gr)\n"
        "  axes = Constant <value_ints = [1]> ()\n"
        "  at = Unsqueeze (rows, axes)\n"
        "  t_next = ScatterND (t, at, e_next)\n"
        "  gm = ai.flen.GatherGrad (dl, segment1, order1, count1)\n"
        "  rows3, g3, count3 = ai.flen.MergeRows (count1, rows1, gm)\n"
        "  l3 = Gather (l, rows3)\n"
        "  square3 = Mul (g3, g3)\n"
        "  held3 = Add (square3, rate)\n" /* roots and quotients of single numbers that lie apart */
        "  root3 = Sqrt (held3)\n"
        "  unit3 = Div (g3, root3)\n"
        "  gr3 = Mul (unit3, rate)\n"
        "  l3_next = Sub (l3, gr3)\n"
        "  at3 = Unsqueeze (rows3, axes)\n"
        "  l_next = ScatterND (l, at3, l3_next)\n"
        "}\n",
        "t,l", "t=t_next,l=l_next", slots, slots, slots, k, slots, k, slots, ROWS, k, ROWS, ROWS, k, ROWS);
    assert_true(n > 0 && (size_t)n < size);
}

static void test_merged_rows(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 4, 8, 17, 32, 200};
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (size_t k = 0; k < FL_COUNT(ks); k++) {
        merge_text(text, sizeof text, 1 + (int)k % 5, ks[k]);
        run_batches(text, ROWS, false);
    }
}

/* Bags from the table and from distinct rows, their gradient, and that of a look-up of each value. */
static void bag_text(char *text, size_t size, int k, const char *mode, const char *index)
{
    int n = snprintf(
        text, size,
        HEAD
        "step (%s[n] values, int64[bags] offsets, float[batch,%d] dy, float[n,%d] dn, float[%d,%d] t) => "
        "(float[batch,%d] y, float[batch,%d] y2, float[n,%d] z, float[%d,%d] t_next) {\n"
        "  y = ai.flen.EmbeddingBag <mode = \"%s\"> (t, values, offsets)\n"
        "  rows, inverse, count, order, segment = ai.flen.UniqueRows (values)\n"
        "  e = Gather (t, rows)\n"
        "  y2 = ai.flen.EmbeddingBag <mode = \"%s\"> (e, inverse, offsets)\n"
        "  dz = ai.flen.GatherGrad (dn, segment, order, count)\n"
        "  z = Gather (dz, inverse)\n"
        "  de = ai.flen.EmbeddingBagGrad <mode = \"%s\"> (dy, offsets, segment, order, count)\n"
        "  rate = Constant <value_float = 0.003> ()\n"
        "  gr = Mul (de, rate)\n"
        "  e_next = Sub (e, gr)\n"
        "  axes = Constant <value_ints = [1]> ()\n"
        "  at = Unsqueeze (rows, axes)\n"
        "  t_next = ScatterND (t, at, e_next)\n"
        "}\n",
        "t", "t=t_next", index, k, k, 2 * ROWS, k, k, k, k, 2 * ROWS, k, mode, mode, mode);
    assert_true(n > 0 && (size_t)n < size);
}

static void test_bags(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 8, 17, 32, 200};
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (size_t k = 0; k < 2 * FL_COUNT(ks); k++) {
        bag_text(text, sizeof text, ks[k / 2], k % 2 ? "sum" : "mean", k / 2 % 2 ? "int32" : "int64");
        run_batches(text, 2 * ROWS, false);
    }
}

/* Batches without a value, and tables beyond the second cache, whose rows are fetched ahead. */
static void test_bags_of_nothing(void **state)
{
    (void)state;
    char text[4096];
    bench b;
    if (!machine_has_fma())
        skip();
    bag_text(text, sizeof text, 200, "mean", "int64");
    assert_true(2 * ROWS * 200 * 4 > 256 * 1024);
    bench_init(&b, text);
    for (int64_t batch = 1; batch < 400; batch *= 7)
        for (int64_t values = 0; values < 3; values++)
            run_all(&b, &(data){batch, values, 2 * ROWS, false, SOME_IDS, (uint64_t)(batch + values)});
    bench_deinit(&b);
}

/* Fields whose gradients are left out: both, df, dq, none. */
static void test_absent_gradients(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 17, 32, 200};
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(ks); i++) {
        int k = ks[i];
        snprintf(text, sizeof text,
                 HEAD "step (int64[batch,7] ids, float[batch,%d] df0, float[batch,%d] df2, float[batch,%d] "
                      "dq0, float[batch,%d] dq1, "
                      "float[batch,%d] dq3, float[%d,%d] t) => (float[batch,7,%d] x, float[batch,7,%d] y) {\n"
                      "  rows, inverse, count, order, segment = ai.flen.UniqueRows (ids)\n"
                      "  e = Gather (t, rows)\n"
                      "  dx = ai.flen.FieldPoolGrad <fields = [1, 2, 1, 2, 1], squares = 1> "
                      "(e, segment, order, count, df0, \"\", df2, \"\", \"\", dq0, dq1, \"\", dq3, \"\")\n"
                      "  x = Gather (dx, inverse)\n"
                      "  dy = ai.flen.FieldPoolGrad <fields = [3, 1, 3]> (\"\", segment, order, count, \"\", "
                      "df0, df2)\n"
                      "  y = Gather (dy, inverse)\n"
                      "}\n",
                 "t", "", k, k, k, k, k, 7 * ROWS, k, k, k);
        run_batches(text, ROWS, true);
    }
}

/* Gradients of squares as a column, or whole, times a vector: beside others, alone, and together with sums of other widths over the same lists. */
static void test_scaled_gradients(void **state)
{
    (void)state;
    static const int ks[] = {1, 3, 17, 32, 200};
    char text[4096];
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(ks); i++) {
        int k = ks[i];
        snprintf(text, sizeof text,
                 HEAD "step (int64[batch,7] ids, float[batch,%d] df0, float[batch,%d] df1, float[batch,1] d, float[batch,1] c, float[batch,5] dh, "
                      "float[%d] u0, float[%d] u1, float[%d,%d] t) => (float[batch,7,%d] x, float[batch,7,%d] y, float[batch,7,%d] z, float[batch,7,%d] v, float[batch,7,5] h) {\n"
                      "  rows, inverse, count, order, segment = ai.flen.UniqueRows (ids)\n"
                      "  e = Gather (t, rows)\n"
                      "  dx = ai.flen.FieldPoolGrad <fields = [3, 4], squares = 1, scaled = 1> (e, segment, order, count, df0, df1, d, c, u0, u1)\n"
                      "  dh1 = ai.flen.FieldPoolGrad <fields = [7]> (\"\", segment, order, count, dh)\n"
                      "  x = Gather (dx, inverse)\n"
                      "  h = Gather (dh1, inverse)\n"
                      "  dy = ai.flen.FieldPoolGrad <fields = [2, 5], squares = 1, scaled = 1> (e, segment, order, count, \"\", \"\", d, d, u1, u0)\n"
                      "  y = Gather (dy, inverse)\n"
                      "  dz = ai.flen.FieldPoolGrad <fields = [2, 1, 4], squares = 1, scaled = 1> (e, segment, order, count, df0, df0, \"\", d, c, c, u1, u0, u0)\n"
                      "  z = Gather (dz, inverse)\n"
                      "  dv = ai.flen.FieldPoolGrad <fields = [3, 4], squares = 1, scaled = 1> (e, segment, order, count, df0, \"\", df1, df1, u0, u1)\n"
                      "  v = Gather (dv, inverse)\n"
                      "}\n",
                 "t", "", k, k, k, k, 7 * ROWS, k, k, k, k, k);
        run_batches(text, ROWS, true);
    }
}

/* Sums over the last dimension behind what makes their terms, with that dimension and without, of whole chunks and not, read again by row. */
static void test_row_sums_in_groups(void **state)
{
    (void)state;
    static const int widths[] = {16, 32, 48, 160, 20, 1};
    char text[2048];
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(widths); i++) {
        int n = widths[i];
        snprintf(text, sizeof text,
                 "g (float[batch,%d] x, float[batch,%d] y, float[%d,batch] z) => (float[batch,1] a, float[batch] b, float[batch,2] c, float[batch,%d] d, float[batch,1] e) {\n"
                 "  last = Constant <value_ints = [-1]> ()\n"
                 "  xy = Mul (x, y)\n"
                 "  a = ReduceSum (xy, last)\n"
                 "  xx = Sub (x, y)\n"
                 "  b = ReduceSum <keepdims = 0> (xx, last)\n"
                 "  s = ReduceSum (x, last)\n"
                 "  t = Tanh (xy)\n"
                 "  u = ReduceSum (t, last)\n"
                 "  c = Concat <axis = 1> (s, u)\n"
                 "  d = Mul (xy, a)\n"
                 "  zt = Transpose <perm = [1, 0]> (z)\n"
                 "  zz = Mul (zt, x)\n"
                 "  e = ReduceSum (zz, last)\n"
                 "}\n",
                 n, n, n, n);
        run_batches(text, ROWS, false);
    }
}

/* Sums of tiles: in the loop nest that makes the rows, several there, behind it, of rows that are given, and where somebody reads what lies between. */
static void test_tile_sums(void **state)
{
    (void)state;
    static const int widths[] = {16, 32, 64, 80, 20, 1};
    char text[2048];
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(widths); i++) {
        int n = widths[i];
        snprintf(text, sizeof text,
                 "g (float[batch,%d] x, float[batch,%d] y, float[batch,1] d) => (float[%d] a, float[1,%d] b, float[batch,%d] c, float[] e, float[batch,%d] f) {\n"
                 "  first = Constant <value_ints = [0]> ()\n"
                 "  both = Constant <value_ints = [0, -1]> ()\n"
                 "  xy = Mul (x, y)\n"
                 "  t = ai.flen.TileSum (xy)\n"
                 "  a = ReduceSum <keepdims = 0> (t, first)\n"
                 "  u = ai.flen.TileSum (x)\n"
                 "  b = ReduceSum (u, first)\n"
                 "  dx = Mul (d, xy)\n"
                 "  v = ai.flen.TileSum (dx)\n"
                 "  c = Add (v, dx)\n"
                 "  z = Tanh (dx)\n"
                 "  w = ai.flen.TileSum (z)\n"
                 "  e = ReduceSum <keepdims = 0> (w, both)\n"
                 "  f = ai.flen.TileSum (z)\n"
                 "}\n",
                 n, n, n, n, n, n);
        run_batches(text, ROWS, false);
    }
}

/* Views that cannot share memory: an input, given twice to one result, is copied. */
static void test_copies(void **state)
{
    (void)state;
    if (!machine_has_fma())
        skip();
    run_batches("copies (float[batch,19] x, float[batch,3] z) => (float[batch,44] y) {\n  y = Concat <axis = "
                "1> (x, z, x, z)\n}\n",
                ROWS, false);
}

/* Several tables, indices of one column and of more, of both types; fields that end inside of an index; outputs that nobody wants. */
static void test_pools_of_tables(void **state)
{
    static const int widths[] = {1, 3, 16, 24, 64, 70, 130};
    (void)state;
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(widths); i++)
        for (int rows = 1; rows <= 9; rows += 8) {
            char text[1024];
            snprintf(text, sizeof text,
                     "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1], metadata_props: [\"ai.flen.variables\": \"t,u,v\"]>"
                     "g (int64[batch] i, int32[batch,3] j, int64[batch,2] k, float[%d,%d] t, float[9,%d] u, float[30000,%d] v) => (f, h, q, x) {"
                     " f, g, h, \"\", \"\", q = ai.flen.TablePool <fields = [2, 1, 4], squares = 1> (t, i, u, j, v, k, t, i)"
                     " a, b = ai.flen.TablePool <fields = [1, 2]> (t, i, v, k)"
                     " x = Concat <axis = 1> (g, b, a) }",
                     rows, widths[i], widths[i], widths[i]);
            run_batches(text, rows, false);
        }
}

/* Pairs of all kinds: both ways round, of a vector with itself, twice, in runs and alone; vectors in one block of rows and in three. */
static void test_dot_products(void **state)
{
    static const int vectors[] = {2, 7, 17, 40}, widths[] = {1, 5, 16, 33};
    (void)state;
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(vectors) * FL_COUNT(widths); i++) {
        int n = vectors[i % FL_COUNT(vectors)], k = widths[i / FL_COUNT(vectors)];
        char text[16384], first[6000] = "", second[6000] = "";
        for (int a = 0, at = 0, bt = 0; a < n; a++)
            for (int b = 0; b <= a; b++) {
                bool turned = (a + b) % 5 == 0;
                if (a > 4 && b % 7 == 6)
                    continue;
                at += snprintf(first + at, sizeof first - (size_t)at, "%s%d", at ? "," : "", turned ? b : a);
                bt += snprintf(second + bt, sizeof second - (size_t)bt, "%s%d", bt ? "," : "", turned ? a : b);
            }
        snprintf(text, sizeof text,
                 "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1]>"
                 "g (float[batch,%d,%d] x) => (y, z) { y = ai.flen.DotInteraction <first = [%s], second = [%s]> (x)"
                 " z = ai.flen.DotInteraction <first = [0, %d, 0], second = [%d, 1, %d]> (x) }",
                 n, k, first, second, n - 1, n - 1, n - 1);
        run_batches(text, 1, false);
    }
}

/* Each near zero and where it takes another form; numbers of all sizes, of vectors and of single elements. */
static void test_functions_of_angles(void **state)
{
    static const struct {
        const char *op;
        double scale, offset; /* of x in (-1/2, 1/2); large ones are powers of two, so that the argument is what the interpreter has */
    } functions[] = {{"Sin", 8, 0},      {"Sin", 8192, 0}, {"Cos", 8, 0},  {"Cos", 1048576, 0}, {"Tan", 2, 0},      {"Asin", 2, 0},    {"Acos", 2, 0},       {"Atan", 4, 0},
                     {"Atan", 1048576, 0}, {"Sinh", 3, 0},   {"Sinh", 64, 0}, {"Cosh", 8, 0},      {"Asinh", 3, 0},    {"Asinh", 8192, 0}, {"Acosh", 1.5, 1.8}, {"Acosh", 8192, 4098},
                     {"Atanh", 1.9, 0}};
    (void)state;
    if (!machine_has_fma())
        skip();
    for (size_t i = 0; i < FL_COUNT(functions); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "<ir_version: 8, opset_import: [\"\": 20]> g (float[batch,19] x) => (y) {"
                 " s = Constant <value_float = %.6f> () o = Constant <value_float = %.6f> () a = Mul (x, s) b = Add (a, o) y = %s (b) }",
                 functions[i].scale, functions[i].offset, functions[i].op);
        run_batches(text, 1, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_of_all_widths),
        cmocka_unit_test(test_rows_beyond_int32),
        cmocka_unit_test(test_windows_of_slots),
        cmocka_unit_test(test_products_of_many_terms),
        cmocka_unit_test(test_merged_rows),
        cmocka_unit_test(test_bags),
        cmocka_unit_test(test_bags_of_nothing),
        cmocka_unit_test(test_absent_gradients),
        cmocka_unit_test(test_scaled_gradients),
        cmocka_unit_test(test_row_sums_in_groups),
        cmocka_unit_test(test_tile_sums),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_pools_of_tables),
        cmocka_unit_test(test_dot_products),
        cmocka_unit_test(test_functions_of_angles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
