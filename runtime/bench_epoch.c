#include "runtime/bench_epoch.h"

#include <stdlib.h>

#include "runtime/divergence.h"
#include "runtime/measured_rows.h"
#include "runtime/tally.h"
#include "runtime/trainer.h"

/* Slices double until one takes so long: a switch between the two ways is then far apart from the next, and a disturbance of the machine meets both. */
static const double slice_seconds = 0.1;

/* The first steps behind a switch are not timed: caches hold what was read meanwhile, and readers that work ahead have filled their rings. */
enum { FIRST_STEPS = 8, UNTIMED_SHARE = 8, MOST_PAIRS = 1 << 16 };

typedef struct epoch {
    const fl_bench_epoch *b;
    fl_session *s;
    fl_engine *engine;
    fl_measured held; /* a slice's rows */
    fl_batch part;
    fl_steps steps;
    bool has_steps;
    int64_t slice_steps, step; /* of a slice; done of the one from files under way */
    int64_t file_steps; /* of the trainer, all told */
    bool warm, calm;    /* a slice has been; one began behind the steps that the trainer watches more closely */
    double slice_begun, begun, waited;
    int64_t timed_rows;
    double file_seconds, wait_seconds;
    double *of_file, *of_memory, *ratios; /* [MOST_PAIRS]: rows a second; of each pair */
    int64_t pairs, rows;
} epoch;

static bool is_over(const epoch *e, int64_t rows)
{
    return e->b->most_rows > 0 && rows >= e->b->most_rows;
}

static fl_status hold_rows(epoch *e, fl_reader *reader, fl_diag *dg)
{
    fl_batch_clear(&e->held.data);
    for (int64_t i = 0; i < e->slice_steps && !is_over(e, e->rows + e->held.data.n); i++) {
        FL_TRY(fl_reader_next(reader, &e->part, dg));
        if (e->part.n < e->b->batch)
            break;
        if (fl_batch_append(&e->held.data, &e->part, 0, e->part.n, 0) != FL_OK)
            return fl_out_of_memory(dg);
    }
    e->held.n = e->held.data.n;
    return FL_OK;
}

/* Steps on the rows in memory. Those that are timed: rows and seconds. */
static fl_status run_held(epoch *e, int64_t *rows, double *seconds, fl_diag *dg)
{
    int64_t n = e->held.n / e->b->batch;

    *rows = 0;
    *seconds = 0;
    if (n == 0)
        return FL_OK;
    if (!e->has_steps)
        FL_TRY(fl_steps_init(&e->steps, e->s, FL_PROGRAM_TRAIN, &e->held, e->b->batch, dg));
    e->has_steps = true;
    e->steps.at = 0;
    for (int64_t i = 0; i < n; i++) {
        FL_TRY(fl_steps_load(&e->steps, dg));
        double begin = fl_seconds();
        fl_run run = fl_steps_run(&e->steps);
        FL_TRY(e->engine->run(e->engine, &run, dg));
        if (i < n / UNTIMED_SHARE)
            continue;
        *seconds += fl_seconds() - begin;
        *rows += e->b->batch;
    }
    e->rows += n * e->b->batch;
    return FL_OK;
}

/* A slice from files is over: its pair from memory. */
static fl_status end_slice(epoch *e, fl_reader *reader, fl_diag *dg)
{
    fl_reader_stats stats;
    double now = fl_seconds(), seconds = now - e->begun, memory_seconds;
    int64_t memory_rows;

    fl_reader_stats_get(reader, &stats);
    double wait = stats.wait_seconds - e->waited;
    if (!e->calm && e->file_steps - e->slice_steps >= FL_WATCH_FIRST_STEPS) {
        e->pairs = 0; /* what was measured before counts where the rows do not suffice for more */
        e->file_seconds = e->wait_seconds = 0;
        e->calm = true;
    }
    FL_TRY(hold_rows(e, reader, dg));
    FL_TRY(run_held(e, &memory_rows, &memory_seconds, dg));
    if (e->warm && memory_rows > 0 && seconds > 0 && memory_seconds > 0 && e->pairs < MOST_PAIRS) {
        e->file_seconds += seconds;
        e->wait_seconds += wait;
        e->of_file[e->pairs] = (double)e->timed_rows / seconds;
        e->of_memory[e->pairs] = (double)memory_rows / memory_seconds;
        e->ratios[e->pairs] = e->of_file[e->pairs] / e->of_memory[e->pairs];
        e->pairs++;
    }
    e->warm = true;
    if (now - e->slice_begun < slice_seconds)
        e->slice_steps *= 2;
    return FL_OK;
}

/* The trainer has made a step. */
static fl_status after_step(void *arg, fl_reader *reader, int64_t rows, fl_diag *dg)
{
    epoch *e = arg;
    fl_reader_stats stats;

    e->step++;
    e->file_steps++;
    e->rows += rows;
    if (e->step > e->slice_steps / UNTIMED_SHARE)
        e->timed_rows += rows;
    if (e->step == e->slice_steps) {
        FL_TRY(end_slice(e, reader, dg));
        e->step = e->timed_rows = 0;
        e->slice_begun = fl_seconds();
    }
    if (e->step == e->slice_steps / UNTIMED_SHARE) {
        fl_reader_stats_get(reader, &stats);
        e->waited = stats.wait_seconds;
        e->begun = fl_seconds();
    }
    return is_over(e, e->rows) ? FL_INTERRUPTED : FL_OK; /* without a report: it was meant */
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static fl_status evaluate(epoch *e, fl_bench_epoch_result *r, fl_diag *dg)
{
    size_t n = (size_t)e->pairs;

    if (n == 0)
        return fl_error(dg, FL_E_BENCH_ROWS, FL_FILE(e->b->path), "%lld rows are too few to measure an epoch with batches of %lld: %lld are enough", (long long)e->rows,
                        (long long)e->b->batch, 6ll * FIRST_STEPS * e->b->batch);
    qsort(e->of_file, n, sizeof *e->of_file, by_size);
    qsort(e->of_memory, n, sizeof *e->of_memory, by_size);
    qsort(e->ratios, n, sizeof *e->ratios, by_size);
    *r = (fl_bench_epoch_result){.pairs = e->pairs, .rows = e->rows, .file_rate = e->of_file[n / 2], .memory_rate = e->of_memory[n / 2], .p25 = e->ratios[(n - 1) / 4], .ratio = e->ratios[n / 2],
                                 .p75 = e->ratios[(n - 1) * 3 / 4], .wait_share = e->wait_seconds / e->file_seconds};
    return FL_OK;
}

fl_status fl_bench_epoch_run(fl_session *s, const fl_bench_epoch *b, fl_bench_epoch_result *out, fl_diag *dg)
{
    epoch e = {.b = b, .s = s, .slice_steps = FIRST_STEPS};
    fl_progress *p = &s->manifest->progress;
    fl_train_phase phase = {"epoch", b->path, b->batch, 1, false};
    fl_train_plan plan = {.phases = &phase, .n_phases = 1, .plateau_factor = 1, .auc_by_epoch = true, .after_step = after_step, .after_step_arg = &e};
    fl_train_result result = {0};

    p->epoch_step = 0;
    p->rate_factor = 1;
    plan.epochs = p->epochs + 1;
    e.of_file = malloc(3 * MOST_PAIRS * sizeof *e.of_file);
    fl_status status = e.of_file && fl_batch_init(&e.held.data, &s->manifest->schema) == FL_OK && fl_batch_init(&e.part, &s->manifest->schema) == FL_OK ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK)
        status = fl_session_engine(s, FL_PROGRAM_TRAIN, b->batch, &e.engine, dg);
    if (status == FL_OK) {
        e.of_memory = e.of_file + MOST_PAIRS;
        e.ratios = e.of_memory + MOST_PAIRS;
        e.slice_begun = e.begun = fl_seconds();
        status = fl_train(s, &plan, &result, dg);
    }
    if (status == FL_INTERRUPTED)
        status = FL_OK;
    if (status == FL_OK)
        status = evaluate(&e, out, dg);
    fl_steps_deinit(&e.steps);
    fl_batch_deinit(&e.held.data);
    fl_batch_deinit(&e.part);
    free(e.of_file);
    free(result.saved);
    free(result.saved_inference);
    return status;
}
