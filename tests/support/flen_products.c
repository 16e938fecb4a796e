/*
 * flen_products.c -- flen-products [--seconds=S] [--cpu=LEVEL] [--openblas=FILE]: products of matrices, as generated code and as OpenBLAS compute them, one thread.
 *
 * A line of JSON for each: {"product", "batch", "m", "n", "k", "gflops", "peak", "share"}, and beside OpenBLAS "openblas" (GFLOP/s), "ratio" and "kernel" (what it chose for this
 * CPU, or what OPENBLAS_CORETYPE says). A product is a program of one operator, scheduled and compiled as any other; its time is that of its segment's calls, without the copy of
 * the result that a caller gets. All operands are as near as they come: the same ones, again and again. Figures are of the fastest windows, in alternation, and so is the
 * peak, bare multiply-adds of the same vectors, measured before each product. A result that is off ends the run. Exit 0; 1: wrong result, or nothing can be measured; 2: wrong usage.
 */
#include "backend/backend.h"
#include "ir/base/rng.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "runtime/code_cache.h"
#include "runtime/machine_limits.h"
#include "runtime/native.h"
#include "runtime/ticks.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* C[m, n] = A[m, k] B[k, n]; a transposed operand lies as its transpose. One of the extents is the batch. */
typedef struct product {
    const char *name;
    int64_t m, n, k;
    bool a_transposed, b_transposed;
} product;

enum { BATCH = -1 };

/* Of a training step of models/bench: 704-64-32. */
static const product products[] = {
    {"first layer", BATCH, 64, 704, false, false},
    {"its gradient by the input", BATCH, 704, 64, false, true},
    {"its gradient by the weights", 704, 64, BATCH, true, false},
    {"second layer", BATCH, 32, 64, false, false},
    {"its gradient by the input", BATCH, 64, 32, false, true},
    {"its gradient by the weights", 64, 32, BATCH, true, false},
    /* on a slot's distinct rows: those of 22 slots and batch 512 are 113 in the mean */
    {"a slot's rows", BATCH, 64, 32, false, false},
    {"their gradient by the rows", BATCH, 32, 64, false, true},
    {"their gradient by the weights", 32, 64, BATCH, true, false},
};
static const int64_t batches[] = {64, 512, 4096};
enum { SLOT_PRODUCTS = 6, SLOT_ROWS = 113, WINDOWS = 12 };

typedef void gemm_32(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
typedef void gemm_64(int, int, int, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *, int64_t);

typedef struct openblas {
    gemm_32 *gemm;
    gemm_64 *wide; /* of a build whose integers have 64 bits, as numpy's */
    const char *kernel;
} openblas;

typedef struct arrays {
    product p;
    float *a, *b, *c;
} arrays;

static void *symbol(void *library, const char *name)
{
    return library ? dlsym(library, name) : NULL;
}

/* A function of the library by its plain name, or as numpy's build calls it. */
static bool open_openblas(const char *file, openblas *out)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    void *gemm = symbol(library, "cblas_sgemm"), *wide = symbol(library, "scipy_cblas_sgemm64_");
    void *corename = symbol(library, gemm ? "openblas_get_corename" : "scipy_openblas_get_corename64_");
    void *threads = symbol(library, gemm ? "openblas_set_num_threads" : "scipy_openblas_set_num_threads64_");

    if ((!gemm && !wide) || !corename || !threads) {
        fprintf(stderr, "flen-products: %s is no OpenBLAS: %s\n", file, library ? "it lacks cblas_sgemm" : dlerror());
        return false;
    }
    char *(*name)(void);
    void (*set)(int);
    memcpy(&name, &corename, sizeof name);
    memcpy(&set, &threads, sizeof set);
    memcpy(&out->gemm, &gemm, sizeof gemm);
    if (!gemm)
        memcpy(&out->wide, &wide, sizeof wide);
    set(1);
    out->kernel = name();
    return true;
}

static void by_openblas(const openblas *o, const arrays *x)
{
    enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };
    const product *p = &x->p;
    int ta = p->a_transposed ? TRANSPOSED : AS_IT_IS, tb = p->b_transposed ? TRANSPOSED : AS_IT_IS;
    int64_t lda = p->a_transposed ? p->m : p->k, ldb = p->b_transposed ? p->k : p->n;

    if (o->gemm)
        o->gemm(ROW_MAJOR, ta, tb, (int)p->m, (int)p->n, (int)p->k, 1, x->a, (int)lda, x->b, (int)ldb, 0, x->c, (int)p->n);
    else
        o->wide(ROW_MAJOR, ta, tb, p->m, p->n, p->k, 1, x->a, lda, x->b, ldb, 0, x->c, p->n);
}

/* ------------------------------------------------------------------------------------------------------------ ours */

typedef struct ours {
    fl_graph *g;
    fl_engine *e;
    fl_var var;
    fl_store store;
    fl_native_observer observer;
    uint64_t ticks; /* of the calls of its segments */
} ours;

static void called(void *arg, const fl_native_call *call)
{
    ours *o = arg;
    o->ticks += call->to - call->from;
}

/* B is a variable, as weights are, unless it has the batch's rows. */
static fl_graph *graph_of(const product *p, fl_diag *dg)
{
    char text[1024], m[24] = "batch", n[24], k[24] = "batch";
    fl_graph *g = NULL;

    if (p->m != BATCH)
        (void)snprintf(m, sizeof m, "%lld", (long long)p->m);
    (void)snprintf(n, sizeof n, "%lld", (long long)p->n);
    if (p->k != BATCH)
        (void)snprintf(k, sizeof k, "%lld", (long long)p->k);
    (void)snprintf(text, sizeof text,
                   "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1]%s>\n"
                   "product (float[%s,%s] a, float[%s,%s] b) => (float[%s,%s] c) {\n  c = Gemm <transA = %d, transB = %d> (a, b)\n}\n",
                   p->k == BATCH ? "" : ", metadata_props: [\"ai.flen.variables\": \"b\"]", p->a_transposed ? k : m, p->a_transposed ? m : k, p->b_transposed ? n : k,
                   p->b_transposed ? k : n, m, n, p->a_transposed, p->b_transposed);
    fl_pipeline_options options = {.passes = "infer-types,segment,plan-memory"};
    if (fl_graph_parse(text, strlen(text), "product", &g, dg) != FL_OK)
        return NULL;
    if (fl_pipeline_run(g, &options, dg) == FL_OK)
        return g;
    fl_graph_free(g);
    return NULL;
}

static bool open_ours(ours *o, const product *p, const arrays *x, const char *cpu, fl_diag *dg)
{
    void *image = NULL;
    size_t size = 0;
    fl_image *code = NULL;
    fl_native_options options = {0};

    o->g = graph_of(p, dg);
    if (!o->g)
        return false;
    if (o->g->n_variables > 0) {
        const fl_value *v = &o->g->values[o->g->variables[0]];
        o->var = (fl_var){v->name, v->type, x->b, v->type.dims[1]};
        o->store = (fl_store){&o->var, 1};
    }
    if (fl_compile(o->g, cpu, &image, &size, dg) != FL_OK)
        return false;
    fl_status s = fl_image_load_bytes(image, size, "product", &code, dg);
    free(image);
    if (s != FL_OK || fl_native_engine_new(o->g, &o->store, code, &options, &o->e, dg) != FL_OK)
        return false;
    o->observer = (fl_native_observer){.arg = o, .called = called};
    fl_native_observe(o->e, &o->observer);
    return true;
}

static bool by_ours(ours *o, const arrays *x, int64_t batch, float *c, fl_diag *dg)
{
    int64_t dims[4] = {batch, batch, batch, batch};
    fl_run run = {dims, (const void *const[]){x->a, x->b}, (void *const[]){c}};

    return o->e->run(o->e, &run, dg) == FL_OK;
}

static void close_ours(ours *o)
{
    if (o->e)
        o->e->free(o->e);
    if (o->g)
        fl_graph_free(o->g);
}

/* ------------------------------------------------------------------------------------------------------ measuring */

static float *random_numbers(int64_t n, uint64_t seed)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);

    for (int64_t i = 0; x && i < n; i++)
        x[i] = (float)(fl_random_uniform(seed, 0, (uint64_t)i) - 0.5);
    return x;
}

/* Some elements against sums in double precision: k terms of at most a quarter, each rounded to 6e-8 of the sum so far. */
static bool is_right(const arrays *x)
{
    const product *p = &x->p;

    for (uint64_t t = 0; t < 200; t++) {
        int64_t i = (int64_t)(fl_random_uniform(3, 0, t) * (double)p->m), j = (int64_t)(fl_random_uniform(4, 0, t) * (double)p->n);
        double sum = 0;
        for (int64_t k = 0; k < p->k; k++)
            sum += (double)x->a[p->a_transposed ? k * p->m + i : i * p->k + k] * (double)x->b[p->b_transposed ? j * p->k + k : k * p->n + j];
        if (!(fabs(sum - (double)x->c[i * p->n + j]) <= 6e-8 * (double)p->k * (1 + fabs(sum))))
            return false;
    }
    return true;
}

static double ticks_a_second(void)
{
    uint64_t t = fl_clock_ns(), from = fl_ticks(), now;

    while ((now = fl_clock_ns()) - t < 20000000)
        continue;
    return (double)(fl_ticks() - from) * 1e9 / (double)(now - t);
}

/* Seconds of one product, the fastest window of `seconds` / WINDOWS each, ours and theirs in alternation. 0: our program failed. */
static double measure(ours *o, const openblas *blas, const arrays *x, int64_t batch, double seconds, double *theirs, fl_diag *dg)
{
    const double rate = ticks_a_second();
    double best[2] = {1e9, 1e9};

    for (int w = 0; w < 2 * WINDOWS; w++) {
        bool is_ours = w % 2 == 0;
        uint64_t n = 0, begin = fl_ticks(), end = begin + (uint64_t)(seconds / WINDOWS * rate), now = begin;
        if (!is_ours && !blas)
            continue;
        for (o->ticks = 0; now < end; n++, now = fl_ticks()) {
            if (!is_ours)
                by_openblas(blas, x);
            else if (!by_ours(o, x, batch, NULL, dg))
                return 0;
        }
        double each = (double)(is_ours ? o->ticks : now - begin) / rate / (double)n;
        best[w % 2] = each < best[w % 2] ? each : best[w % 2];
    }
    *theirs = best[1];
    return best[0];
}

static bool one(const product *form, int64_t batch, const char *cpu, double seconds, const openblas *blas, fl_diag *dg)
{
    ours o = {0};
    product p = *form;
    double theirs = 0, each = 0, flops, peak;

    p.m = p.m == BATCH ? batch : p.m;
    p.k = p.k == BATCH ? batch : p.k;
    arrays x = {p, random_numbers(p.m * p.k, 1), random_numbers(p.k * p.n, 2), random_numbers(p.m * p.n, 3)};
    bool ok = x.a && x.b && x.c && open_ours(&o, form, &x, cpu, dg) && by_ours(&o, &x, batch, x.c, dg);

    if (ok && !is_right(&x)) {
        fprintf(stderr, "flen-products: %s, batch %lld: the result is wrong\n", p.name, (long long)batch);
        ok = false;
    }
    if (ok && blas) {
        by_openblas(blas, &x);
        ok = is_right(&x);
        if (!ok)
            fprintf(stderr, "flen-products: %s, batch %lld: OpenBLAS' result is wrong\n", p.name, (long long)batch);
    }
    if (ok) {
        peak = fl_limit_flops(NULL, cpu, seconds / 4) / 1e9;
        each = measure(&o, blas, &x, batch, seconds, &theirs, dg);
        ok = each > 0;
    }
    if (ok) {
        flops = 2e-9 * (double)p.m * (double)p.n * (double)p.k;
        printf("{\"product\":\"%s\",\"batch\":%lld,\"m\":%lld,\"n\":%lld,\"k\":%lld,\"gflops\":%.1f,\"peak\":%.1f,\"share\":%.3f", p.name, (long long)batch, (long long)p.m,
               (long long)p.n, (long long)p.k, flops / each, peak, flops / each / peak);
        if (blas)
            printf(",\"openblas\":%.1f,\"ratio\":%.3f,\"kernel\":\"%s\"", flops / theirs, theirs / each, blas->kernel);
        printf("}\n");
        (void)fflush(stdout);
    }
    close_ours(&o);
    free(x.a);
    free(x.b);
    free(x.c);
    return ok;
}

int main(int argc, char **argv)
{
    const char *cpu = NULL, *file = NULL;
    double seconds = 0.3;
    openblas blas = {0};
    fl_diag dg;
    bool ok = true;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--cpu=", 6) == 0) {
            cpu = argv[i] + 6;
        } else if (strncmp(argv[i], "--openblas=", 11) == 0) {
            file = argv[i] + 11;
        } else if (strncmp(argv[i], "--seconds=", 10) == 0 && strtod(argv[i] + 10, NULL) > 0) {
            seconds = strtod(argv[i] + 10, NULL);
        } else {
            fprintf(stderr, "usage: flen-products [--seconds=S] [--cpu=x86-64-v2|x86-64-v3|x86-64-v4] [--openblas=FILE]\n");
            return 2;
        }
    }
    fl_diag_init(&dg);
    ok = fl_cpu_check(cpu, &cpu, &dg) == FL_OK && (!file || open_openblas(file, &blas));
    for (size_t p = 0; ok && p < FL_COUNT(products); p++) {
        if (p >= SLOT_PRODUCTS) {
            ok = one(&products[p], SLOT_ROWS, cpu, seconds, file ? &blas : NULL, &dg);
            continue;
        }
        for (size_t b = 0; ok && b < FL_COUNT(batches); b++)
            ok = one(&products[p], batches[b], cpu, seconds, file ? &blas : NULL, &dg);
    }
    fl_diag_print(&dg, stderr, "flen-products", NULL, NULL);
    fl_diag_deinit(&dg);
    return ok ? 0 : 1;
}
