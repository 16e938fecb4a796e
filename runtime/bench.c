#include "runtime/bench.h"

#include <stdlib.h>
#include <time.h>

#include "ir/cost.h"

enum { MOST_RUNS = 1 << 20, LEAST_RUNS = 10, WARM_RUNS = 5, WINDOW = 10, MOST_WATCHED = 1000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct benchmark {
    const fl_bench *b;
    fl_engine *engine;
    fl_steps steps;
    double *times;     /* [MOST_RUNS] */
    double *windows;   /* [MOST_RUNS / WINDOW] */
    int64_t runs;
} benchmark;

static fl_status prepare(benchmark *m, fl_session *s, fl_diag *dg)
{
    FL_TRY(fl_session_engine(s, m->b->program, m->b->batch, &m->engine, dg));
    FL_TRY(fl_steps_init(&m->steps, s, m->b->program, m->b->rows, m->b->batch, dg));
    m->times = malloc(MOST_RUNS * sizeof *m->times);
    m->windows = malloc(MOST_RUNS / WINDOW * sizeof *m->windows);
    return m->times && m->windows ? FL_OK : fl_out_of_memory(dg);
}

static fl_status run_once(benchmark *m, double *seconds, fl_diag *dg)
{
    FL_TRY(fl_steps_load(&m->steps, dg));
    double begin = now();
    fl_run run = fl_steps_run(&m->steps);
    FL_TRY(m->engine->run(m->engine, &run, dg));
    *seconds = now() - begin;
    return FL_OK;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    return x[n / 2];
}

/* The times are sorted by this: windows are made first, from neighbours. */
static void evaluate(benchmark *m, fl_bench_result *r)
{
    int64_t n_windows = m->b->program == FL_PROGRAM_TRAIN ? m->runs / WINDOW : 0;

    r->runs = m->runs;
    for (int64_t i = 0; i < m->runs; i++)
        r->mean += m->times[i] / (double)m->runs;
    for (int64_t w = 0; w < n_windows; w++) {
        double sum = 0;
        for (int k = 0; k < WINDOW; k++)
            sum += m->times[w * WINDOW + k];
        m->windows[w] = sum / WINDOW;
    }
    r->p50 = median(m->times, m->runs);
    r->least = m->times[0];
    r->most = m->times[m->runs - 1];
    r->p25 = m->times[(m->runs - 1) / 4];
    r->p75 = m->times[(m->runs - 1) * 3 / 4];
    r->p99 = m->times[(m->runs - 1) * 99 / 100];
    r->samples_per_second = (double)m->b->batch / (n_windows > 0 ? median(m->windows, n_windows) : r->p50);
    r->share = r->samples_per_second * r->limits.seconds[r->limits.slowest];
}

/* All rows as one run; inputs [n_inputs] and the feed are the caller's. */
static fl_status all_rows(const benchmark *m, fl_session *s, fl_feed *feed, const void **inputs, fl_run *run, fl_diag *dg)
{
    if (m->b->rows->of_tensors) {
        *run = fl_tensor_rows_run(&m->b->rows->tensors, inputs);
        return FL_OK;
    }
    FL_TRY(fl_feed_init(feed, s->programs[m->b->program], &s->manifest->schema, dg));
    *run = fl_feed_run(feed, &m->b->rows->data);
    return FL_OK;
}

/* Rows that are looked up are touched, runs warm up, and the machine is measured. */
static fl_status warm_up(benchmark *m, fl_session *s, fl_bench_result *out, fl_diag *dg)
{
    const fl_bench *b = m->b;
    fl_feed feed = {0};
    fl_run run = {0};
    double seconds, begin;
    const void **inputs = calloc((size_t)s->programs[b->program]->n_inputs + 1, sizeof *inputs);

    fl_status status = inputs ? all_rows(m, s, &feed, inputs, &run, dg) : fl_out_of_memory(dg);
    fl_work_rows rows = {s, b->program, &run, b->rows->n, b->batch, b->rows->of_tensors ? &b->rows->tensors : NULL};
    if (status == FL_OK)
        status = fl_work_count(&out->work, &rows, dg);
    if (status == FL_OK)
        fl_work_touch(&out->work);
    begin = now();
    for (int i = 0; status == FL_OK && (i < WARM_RUNS || now() - begin < b->seconds / 3); i++)
        status = run_once(m, &seconds, dg);
    if (status == FL_OK)
        status = fl_limits_measure(&out->limits, &out->work, &rows, b->level, b->seconds / 5, dg);
    fl_work_drop_look_ups(&out->work);
    fl_feed_deinit(&feed);
    free(inputs);
    return status;
}

/* Ticks in each segment, by worker: nobody writes where another does. */
typedef struct watch {
    uint64_t *ticks; /* [n_workers][n_segments] */
    uint32_t n_segments;
} watch;

static void add_call(void *arg, const fl_native_call *call)
{
    watch *w = arg;
    w->ticks[(size_t)call->worker * w->n_segments + call->segment] += call->to - call->from;
}

static fl_id hardest_node(const fl_graph *g, const fl_segment *s, const int64_t *extents)
{
    fl_id found = s->nodes[0];
    double most = 0;

    for (uint32_t i = 0; i < s->n_nodes; i++) {
        fl_cost c = fl_node_cost(g, s->nodes[i], extents);
        if (c.flops + c.bytes > most) {
            most = c.flops + c.bytes;
            found = s->nodes[i];
        }
    }
    return found;
}

/* Where the time goes: further runs, a tenth as long as those that were measured, with a clock around each call of a segment. */
static fl_status watch_segments(benchmark *m, fl_session *s, fl_bench_result *r, fl_diag *dg)
{
    const fl_graph *g = s->programs[m->b->program];
    uint32_t n_workers = fl_session_threads(s);
    watch w = {NULL, g->schedule->n_segments};
    fl_native_observer observer = {.arg = &w, .called = add_call};
    int64_t *extents = calloc((size_t)g->n_symbols + 1, sizeof *extents);
    double seconds, total = 0, begin = now();
    fl_status status = FL_OK;

    w.ticks = calloc((size_t)n_workers * w.n_segments + 1, sizeof *w.ticks);
    r->segments = calloc((size_t)w.n_segments + 1, sizeof *r->segments);
    if (!w.ticks || !r->segments || !extents)
        status = fl_out_of_memory(dg);
    fl_native_observe(m->engine, &observer);
    for (int i = 0; status == FL_OK && i < MOST_WATCHED && (i < WARM_RUNS || now() - begin < m->b->seconds / 10); i++)
        status = run_once(m, &seconds, dg);
    fl_native_observe(m->engine, NULL);
    if (status == FL_OK) {
        fl_cost_bind(g, m->b->batch, extents);
        r->n_segments = w.n_segments;
        for (uint32_t i = 0; i < n_workers * w.n_segments; i++)
            total += (double)w.ticks[i];
        for (uint32_t i = 0; i < n_workers * w.n_segments; i++)
            r->segments[i % w.n_segments].share += total > 0 ? (double)w.ticks[i] / total : 0;
        for (uint32_t i = 0; i < w.n_segments; i++)
            r->segments[i].node = hardest_node(g, &g->schedule->segments[i], extents);
    }
    free(w.ticks);
    free(extents);
    return status;
}

fl_status fl_bench_run(fl_session *s, const fl_bench *b, fl_bench_result *out, fl_diag *dg)
{
    benchmark m = {.b = b};
    fl_bench_result r = {0};
    double seconds = 0, begin;

    FL_ASSERT(b->batch > 0 && b->batch <= b->rows->n);
    fl_status status = prepare(&m, s, dg);
    if (status == FL_OK)
        status = warm_up(&m, s, &r, dg);
    begin = now();
    while (status == FL_OK && m.runs < MOST_RUNS && (m.runs < LEAST_RUNS || now() - begin < b->seconds)) {
        status = run_once(&m, &seconds, dg);
        if (status == FL_OK)
            m.times[m.runs++] = seconds;
    }
    if (status == FL_OK)
        evaluate(&m, &r);
    if (status == FL_OK && !s->options.interpret)
        status = watch_segments(&m, s, &r, dg);
    if (status == FL_OK)
        *out = r;
    else
        free(r.segments);
    fl_steps_deinit(&m.steps);
    free(m.times);
    free(m.windows);
    return status;
}
