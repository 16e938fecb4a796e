#include "runtime/machine_limits.h"

#include "ir/base/status.h"

#include <immintrin.h>
#include <string.h>
#include <time.h>

/*
 * One source for three vector widths: LOOPS makes the functions of a level. What must not be optimised away passes through an empty assembly
 * statement.
 */
#define CHAINS 12.0
enum { STEPS = 4096, WINDOW_IDS = 1 << 14 };
/* Rows that are fetched ahead, each tried: wide rows of a far table need few, narrow ones many, and near ones none. */
static const int64_t rows_ahead[] = {0, 4, 16, 64};

static _Thread_local volatile float sink; /* each worker has one, or they would write the same line in turns */

/* Twelve chains: enough for two units with a latency of four or five, and few enough for sixteen registers. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define CHAIN(i) x##i = start,
#define HOLD4(a, b, c, d) __asm__ volatile("" : "+x"(a), "+x"(b), "+x"(c), "+x"(d))
#define HOLD4_EVEX(a, b, c, d) __asm__ volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d))
#define HIDE1(a) __asm__ volatile("" : "+x"(a))
#define HIDE1_EVEX(a) __asm__ volatile("" : "+v"(a))

#define LOOPS(level, features, vec, set1, load, store, MULTIPLY_ADD, HOLD, HIDE)                                                      \
    __attribute__((target(features), noinline)) static void multiply_add_##level(void)                                                \
    {                                                                                                                                 \
        vec start = set1(1.0f), a = set1(0.999999f), b = set1(1e-6f), EACH(CHAIN) sum;                                                \
        for (int k = 0; k < STEPS; k++) {                                                                                             \
            EACH(MULTIPLY_ADD)                                                                                                        \
            HOLD(x0, x1, x2, x3);                                                                                                     \
            HOLD(x4, x5, x6, x7);                                                                                                     \
            HOLD(x8, x9, x10, x11);                                                                                                   \
        }                                                                                                                             \
        sum = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11;                                                            \
        sink = sum[0];                                                                                                                \
    }                                                                                                                                 \
    __attribute__((target(features), noinline)) static void read_##level(const uint8_t *from, size_t n)                               \
    {                                                                                                                                 \
        vec s0 = set1(0), s1 = s0, s2 = s0, s3 = s0;                                                                                  \
        for (size_t i = 0; i < n; i += 4 * sizeof(vec)) {                                                                             \
            const float *w = (const float *)(const void *)(from + i);                                                                 \
            s0 += load(w);                                                                                                            \
            s1 += load(w + sizeof(vec) / 4);                                                                                          \
            s2 += load(w + 2 * (sizeof(vec) / 4));                                                                                    \
            s3 += load(w + 3 * (sizeof(vec) / 4));                                                                                    \
        }                                                                                                                             \
        s0 += s1 + s2 + s3;                                                                                                           \
        sink = s0[0];                                                                                                                 \
    }                                                                                                                                 \
    /* Known row_bytes leave loads alone, which is what narrow rows in a near cache need; what is loaded is dropped, as sums would wait for one another. */ \
    __attribute__((target(features), always_inline)) static inline void look_up_rows_##level(const fl_limit_rows *r, const int64_t *id, int64_t n, int64_t ahead, size_t row_bytes) \
    {                                                                                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                                                                     \
            uint8_t *row = r->base + (size_t)id[i] * r->stride;                                                                               \
            size_t at = 0;                                                                                                                    \
            if (ahead > 0) {                                                                                                                  \
                const uint8_t *next = r->base + (size_t)id[i + ahead < n ? i + ahead : i] * r->stride;                                        \
                for (; at < row_bytes; at += 64)                                                                                              \
                    __builtin_prefetch(next + at);                                                                                            \
            }                                                                                                                                 \
            for (at = 0; at + sizeof(vec) <= row_bytes; at += sizeof(vec)) {                                                                  \
                vec v = load((const float *)(const void *)(row + at));                                                                        \
                HIDE(v); /* or a value that is stored where it was would be no store */                                                       \
                if (r->writes)                                                                                                                \
                    store((float *)(void *)(row + at), v);                                                                                    \
            }                                                                                                                                 \
            for (; at + 16 <= row_bytes; at += 16) {                                                                                          \
                __m128 v = _mm_loadu_ps((const float *)(const void *)(row + at));                                                             \
                HIDE(v);                                                                                                                      \
                if (r->writes)                                                                                                                \
                    _mm_storeu_ps((float *)(void *)(row + at), v);                                                                            \
            }                                                                                                                                 \
            for (; at + 4 <= row_bytes; at += 4) {                                                                                            \
                float *f = (float *)(void *)(row + at), v = *f;                                                                               \
                __asm__ volatile("" : "+x"(v));                                                                                               \
                if (r->writes)                                                                                                                \
                    *f = v;                                                                                                                   \
            }                                                                                                                                 \
        }                                                                                                                                     \
    }                                                                                                                                         \
    __attribute__((target(features), noinline)) static void look_up_##level(const fl_limit_rows *r, const int64_t *id, int64_t n, int64_t ahead) \
    {                                                                                                                                         \
        switch (r->row_bytes) {                                                                                                               \
        case 4: look_up_rows_##level(r, id, n, ahead, 4); return;                                                                             \
        case 16: look_up_rows_##level(r, id, n, ahead, 16); return;                                                                           \
        case 32: look_up_rows_##level(r, id, n, ahead, 32); return;                                                                           \
        case 64: look_up_rows_##level(r, id, n, ahead, 64); return;                                                                           \
        case 128: look_up_rows_##level(r, id, n, ahead, 128); return;                                                                         \
        default: look_up_rows_##level(r, id, n, ahead, r->row_bytes); return;                                                                 \
        }                                                                                                                                     \
    }

#define MULTIPLY_ADD_128(i) x##i = _mm_add_ps(_mm_mul_ps(x##i, a), b);
#define MULTIPLY_ADD_256(i) x##i = _mm256_fmadd_ps(x##i, a, b);
#define MULTIPLY_ADD_512(i) x##i = _mm512_fmadd_ps(x##i, a, b);

LOOPS(v2, "sse4.2", __m128, _mm_set1_ps, _mm_loadu_ps, _mm_storeu_ps, MULTIPLY_ADD_128, HOLD4, HIDE1)
LOOPS(v3, "avx2,fma", __m256, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, MULTIPLY_ADD_256, HOLD4, HIDE1)
LOOPS(v4, "avx512f,avx512vl,avx2,fma", __m512, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, MULTIPLY_ADD_512, HOLD4_EVEX, HIDE1_EVEX)

typedef struct loops {
    void (*multiply_add)(void);
    void (*read)(const uint8_t *from, size_t n);
    void (*look_up)(const fl_limit_rows *r, const int64_t *id, int64_t n, int64_t ahead);
    double lanes;
} loops;

static const loops *loops_of(const char *level)
{
    static const loops all[] = {{multiply_add_v2, read_v2, look_up_v2, 4}, {multiply_add_v3, read_v3, look_up_v3, 8}, {multiply_add_v4, read_v4, look_up_v4, 16}};

    return &all[strcmp(level, "x86-64-v4") == 0 ? 2 : strcmp(level, "x86-64-v3") == 0 ? 1 : 0];
}

/* ---------------------------------------------------------------------------------------------------- windows */

typedef struct window {
    const loops *loops;
    uint32_t n_workers;
    int repeats;          /* flops: calls of the loop */
    const uint8_t *bytes; /* read: this worker's part is n_bytes from worker * n_bytes on */
    size_t n_bytes;
    const fl_limit_rows *rows;
    int64_t at;           /* look_ups: window number */
    int64_t ahead;        /* rows to fetch ahead; 0: rows lie near enough for the processor to find them itself */
} window;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs windows for so many seconds, at least a few; the time of the fastest. */
static double fastest(fl_pool *pool, void (*work)(void *, uint32_t), window *w, double seconds)
{
    double begin = now(), best = 1e30;

    for (int i = 0; i < 5 || now() < begin + seconds; i++, w->at++) {
        double from = now();
        if (pool)
            fl_pool_run(pool, work, w);
        else
            work(w, 0);
        double took = now() - from;
        best = took < best ? took : best;
    }
    return best;
}

static uint32_t workers_of(fl_pool *pool)
{
    return pool ? fl_pool_size(pool) : 1;
}

static void multiply_add(void *arg, uint32_t worker)
{
    const window *w = arg;

    (void)worker;
    for (int i = 0; i < w->repeats; i++)
        w->loops->multiply_add();
}

double fl_limit_flops(fl_pool *pool, const char *level, double seconds)
{
    window w = {.loops = loops_of(level), .repeats = 32};
    double operations = 2.0 * (double)STEPS * CHAINS * w.loops->lanes * w.repeats * workers_of(pool);

    return operations / fastest(pool, multiply_add, &w, seconds);
}

static void read_part(void *arg, uint32_t worker)
{
    const window *w = arg;

    for (int i = 0; i < w->repeats; i++)
        w->loops->read(w->bytes + worker * w->n_bytes, w->n_bytes);
}

double fl_limit_read(fl_pool *pool, const char *level, const void *bytes, size_t n, double seconds)
{
    window w = {.loops = loops_of(level), .bytes = bytes, .n_bytes = n / workers_of(pool)};

    w.repeats = (int)(((size_t)4 << 20) / (w.n_bytes + 1)) + 1; /* at least 4 MiB, or the clock would be in it */
    return (double)w.n_bytes * w.repeats * workers_of(pool) / fastest(pool, read_part, &w, seconds);
}

static void look_up(void *arg, uint32_t worker)
{
    const window *w = arg;
    int64_t n = w->rows->n_ids[worker], n_windows = n / WINDOW_IDS;

    if (n_windows > 0) {
        w->loops->look_up(w->rows, w->rows->ids[worker] + w->at % n_windows * WINDOW_IDS, WINDOW_IDS, w->ahead);
        return;
    }
    for (int k = 0; n > 0 && k < w->repeats; k++) /* as whoever looks up so few meets them again and again */
        w->loops->look_up(w->rows, w->rows->ids[worker], n, w->ahead);
}

double fl_limit_look_ups(fl_pool *pool, const char *level, const fl_limit_rows *rows, double seconds)
{
    window w = {.loops = loops_of(level), .rows = rows, .repeats = 1};
    int64_t n = 0, most = 0;
    double best = 1e30;

    for (uint32_t i = 0; i < workers_of(pool); i++)
        most = rows->n_ids[i] > most ? rows->n_ids[i] : most;
    if (most == 0)
        return 0;
    if (most < WINDOW_IDS)
        w.repeats = (int)(WINDOW_IDS / most); /* or the clock would be in it */
    for (uint32_t i = 0; i < workers_of(pool); i++)
        n += rows->n_ids[i] < WINDOW_IDS ? rows->n_ids[i] * w.repeats : WINDOW_IDS;
    for (size_t k = 0; k < FL_COUNT(rows_ahead); k++) {
        w.ahead = rows_ahead[k];
        double took = fastest(pool, look_up, &w, seconds / (double)FL_COUNT(rows_ahead));
        best = took < best ? took : best;
    }
    return (double)n / best;
}
