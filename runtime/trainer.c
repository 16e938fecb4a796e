#include "runtime/trainer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/rng.h"
#include "runtime/divergence.h"
#include "runtime/feed.h"
#include "runtime/inference.h"
#include "runtime/tally.h"

enum { MAX_STEP_ROWS = 1 << 26 };

typedef struct trainer {
    fl_session *s;
    const fl_train_plan *plan;
    fl_progress *progress; /* the manifest's */
    fl_train_result *result;
    fl_engine *engine;
    fl_feed feed;
    fl_batch batches[2], *batch; /* the latter: of the step under way */
    fl_reader_stats stats;
    void **outputs; /* [n_outputs] of the program */
    float *logit, *probability, loss;
    bool has_loss;
    fl_eval eval;
    fl_bucket_auc auc;
    fl_watch watch;
    int64_t skip;      /* steps of the epoch under way that were trained before */
    int saved_rank;    /* of result->saved */
    bool last_epoch;
    double epoch_seconds, epoch_wait;
    int64_t epoch_rows;
} trainer;

static void note(const trainer *t, const char *text)
{
    if (t->plan->watcher && t->plan->watcher->note)
        t->plan->watcher->note(t->plan->watcher->arg, text);
}

/* --------------------------------------------------------------------------------------------------- saving */

/* Where training has put its model is a matter of kind first: an epoch's model, or the best one, and no copy from within an epoch. */
static int rank(fl_saved_kind kind)
{
    switch (kind) {
    case FL_SAVED_MODEL:
        return 3;
    case FL_SAVED_CHECKPOINT:
        return 2;
    case FL_SAVED_INTERRUPTED:
    case FL_SAVED_INFERENCE:
        return 1;
    case FL_SAVED_STEP:
        return 0;
    }
    return 0;
}

static fl_status save(trainer *t, fl_saved_kind kind, const char *path, const char *folder, int64_t epoch, fl_diag *dg)
{
    if (t->engine)
        FL_TRY(t->engine->flush(t->engine, dg));
    FL_TRY(fl_watch_variables(&t->watch, t->progress->steps, dg));
    if (kind == FL_SAVED_INFERENCE)
        FL_TRY(fl_inference_save(t->s, path, dg));
    else
        FL_TRY(fl_checkpoint_save(t->s, path, t->plan->auc_by_epoch && t->progress->epoch_step == 0 ? NULL : &t->auc, &t->eval, dg));
    char *copy = strdup(path);
    if (!copy)
        return fl_out_of_memory(dg);
    if (kind == FL_SAVED_INFERENCE) {
        free(t->result->saved_inference);
        t->result->saved_inference = strdup(path);
        if (!t->result->saved_inference) {
            free(copy);
            return fl_out_of_memory(dg);
        }
    }
    if (!t->result->saved || rank(kind) >= t->saved_rank) {
        free(t->result->saved);
        t->result->saved = copy;
        t->saved_rank = rank(kind);
    } else {
        free(copy);
    }
    if (t->plan->watcher && t->plan->watcher->saved)
        t->plan->watcher->saved(t->plan->watcher->arg, &(fl_saved_report){kind, path, folder, epoch});
    return FL_OK;
}

/* Into FOLDER/NAME/model.bin. */
static fl_status FL_PRINTF(6, 7) save_below(trainer *t, fl_saved_kind kind, const char *folder, int64_t epoch, fl_diag *dg, const char *format, ...)
{
    char name[80];
    char *path = NULL, *inside = NULL;
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    fl_status status = FL_OK;
    if (asprintf(&inside, "%s/%s", folder, name) < 0)
        inside = NULL;
    if (!inside || asprintf(&path, "%s/model.bin", inside) < 0)
        path = NULL;
    status = path ? save(t, kind, path, inside, epoch, dg) : fl_out_of_memory(dg);
    free(path);
    free(inside);
    return status;
}

/* The model file holds the best epoch's model, and only that. */
static bool picks_best(const trainer *t)
{
    return t->plan->keep_best && t->plan->valid_path;
}

static bool is_due(const trainer *t, int64_t epoch, int64_t every)
{
    return t->last_epoch || every < 0 || (epoch + 1) % every == 0;
}

static fl_status save_epoch(trainer *t, int64_t epoch, bool better, fl_diag *dg)
{
    const fl_train_saves *s = &t->plan->saves;

    if (s->folder && is_due(t, epoch, s->every))
        FL_TRY(save_below(t, FL_SAVED_CHECKPOINT, s->folder, epoch, dg, "%lld", (long long)epoch));
    if (s->inference_folder && is_due(t, epoch, s->inference_every))
        FL_TRY(save_below(t, FL_SAVED_INFERENCE, s->inference_folder, epoch, dg, "%lld", (long long)epoch));
    if (s->model && (better || !picks_best(t)))
        FL_TRY(save(t, FL_SAVED_MODEL, s->model, s->model, epoch, dg));
    return FL_OK;
}

static fl_status interrupted(trainer *t, fl_diag *dg)
{
    const char *path = t->plan->saves.interrupted;

    if (!path)
        return fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted after %lld steps", (long long)t->progress->steps);
    FL_TRY(save(t, FL_SAVED_INTERRUPTED, path, path, t->progress->epochs, dg));
    fl_status status = fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted after %lld steps; the state of training is saved in %s",
                                (long long)t->progress->steps, path);
    fl_hint(dg, "the same command with --resume %s goes on as if it had not stopped", path);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- steps */

static fl_status step(trainer *t, const fl_train_phase *phase, fl_diag *dg)
{
    FL_TRY(fl_watch_before(&t->watch, t->batch, dg));
    t->feed.step = t->progress->steps;
    t->feed.rate_factor = (float)t->progress->rate_factor;
    fl_run run = fl_feed_run(&t->feed, t->batch);
    run.outputs = t->outputs;
    FL_TRY(t->engine->run(t->engine, &run, dg));
    FL_TRY(fl_watch_after(&t->watch, t->batch, t->has_loss ? &t->loss : NULL, t->logit,
                          (fl_step_place){t->progress->steps, t->progress->epochs, phase->path}, dg));
    t->progress->steps++;
    t->progress->epoch_step++;
    t->progress->rows += t->batch->n;
    t->epoch_rows += t->batch->n;
    t->result->steps++;
    t->result->rows += t->batch->n;
    return FL_OK;
}

static fl_status after_step(trainer *t, const fl_tally *tally, fl_diag *dg)
{
    const fl_train_saves *s = &t->plan->saves;

    if (s->step_folder && s->every_steps > 0 && tally->report.batch % s->every_steps == 0)
        FL_TRY(save_below(t, FL_SAVED_STEP, s->step_folder, t->progress->epochs, dg, "epoch_%lld_batch_%lld", (long long)t->progress->epochs,
                          (long long)tally->report.batch));
    if (s->model && s->model_steps > 0 && !picks_best(t) && t->progress->epoch_step % s->model_steps == 0)
        FL_TRY(save(t, FL_SAVED_MODEL, s->model, s->model, t->progress->epochs, dg));
    return t->plan->stop && *t->plan->stop ? interrupted(t, dg) : FL_OK;
}

/*
 * What stands between two steps: the rows of the next, and the metrics of the one that is done. They share nothing, so that where several threads compute two of them do one
 * each: one after the other they would be a twentieth of a step of two threads. Only the reader reports.
 */
typedef struct between {
    trainer *t;
    fl_tally *tally;
    fl_reader *reader;
    fl_diag *dg;
    fl_batch *next;
    bool help; /* the reader wants it */
    fl_status counted, read;
} between;

static void work_between(void *arg, uint32_t worker)
{
    between *b = arg;
    trainer *t = b->t;

    if (worker == 0)
        b->counted = fl_tally_add(b->tally, t->batch, &t->stats, t->logit, t->probability, t->has_loss ? t->loss : NAN, t->progress->steps, &t->eval, &t->auc);
    if (worker == 0 && b->help)
        fl_reader_help(b->reader);
    if (worker == 1)
        b->read = fl_reader_next(b->reader, b->next, b->dg);
}

/* The step that was run is counted and reported, and the next one's rows become t->batch. */
static fl_status count_and_read(trainer *t, fl_reader *reader, fl_tally *tally, fl_diag *dg)
{
    bool together = fl_session_threads(t->s) > 1;
    between b = {t, tally, reader, dg, &t->batches[t->batch == t->batches], together && fl_reader_wants_help(reader), FL_OK, FL_OK};

    if (together)
        fl_pool_run(t->s->pool, work_between, &b);
    else
        work_between(&b, 0);
    if (b.counted != FL_OK)
        return fl_out_of_memory(dg);
    fl_tally_report(tally, &t->stats);
    FL_TRY(after_step(t, tally, dg));
    if (!together)
        work_between(&b, 1);
    FL_TRY(b.read);
    t->batch = b.next;
    fl_reader_stats_get(reader, &t->stats);
    return FL_OK;
}

static fl_status run_steps(trainer *t, fl_reader *reader, fl_tally *tally, const fl_train_phase *phase, fl_diag *dg)
{
    FL_TRY(fl_reader_next(reader, t->batch, dg));
    fl_reader_stats_get(reader, &t->stats);
    for (; t->skip > 0 && t->batch->n > 0; t->skip--) {
        fl_tally_skip(tally, t->batch, &t->stats);
        FL_TRY(fl_reader_next(reader, t->batch, dg));
        fl_reader_stats_get(reader, &t->stats);
    }
    while (t->batch->n > 0) {
        int64_t rows = t->batch->n;
        FL_TRY(step(t, phase, dg));
        FL_TRY(count_and_read(t, reader, tally, dg));
        if (t->plan->after_step)
            FL_TRY(t->plan->after_step(t->plan->after_step_arg, reader, rows, dg));
    }
    return FL_OK;
}

static void report_phase(trainer *t, const fl_tally *tally, const fl_train_phase *phase, double seconds)
{
    const fl_watcher *w = t->plan->watcher;

    if (!w || !w->phase)
        return;
    w->phase(w->arg, &(fl_epoch_report){.training = true, .phase = phase->name, .epoch = t->progress->epochs, .epochs = t->plan->epochs,
                                        .steps = t->progress->steps, .rows = tally->report.rows, .seconds = seconds,
                                        .last_loss = tally->report.loss, .counted_auc = fl_bucket_auc_global(&t->auc),
                                        .rate_factor = t->progress->rate_factor});
}

static fl_status run_phase(trainer *t, const fl_train_phase *phase, fl_diag *dg)
{
    uint32_t quirks = t->s->manifest->quirks;
    int64_t rows = phase->batch * phase->copies;
    fl_reader_options ro = {.batch = rows, .threads = fl_session_threads(t->s), .strict = t->plan->strict, .need_label = true,
                            .drop_last = quirks & FL_QUIRK_DROP_LAST, .shuffle_files = phase->shuffle_files, .quirks = quirks,
                            .seed = fl_mix64(t->s->manifest->seed + (uint64_t)t->progress->epochs)};
    fl_tally_options to = {true, t->progress->epochs, phase->copies, phase->batch, t->plan->print, t->plan->print_interval, t->plan->always_auc, t->plan->watcher};
    fl_reader *reader = NULL;
    fl_tally tally = {0};

    uint32_t reports = dg ? dg->n_entries : 0;
    FL_TRY(fl_reader_open(phase->path, &t->s->manifest->schema, t->s->vocabulary, &ro, &reader, dg));
    fl_status status = fl_tally_init(&tally, &to, dg);
    if (status == FL_OK)
        status = run_steps(t, reader, &tally, phase, dg);
    fl_reader_stats_get(reader, &t->stats);
    double seconds = fl_seconds() - tally.begun;
    t->epoch_seconds += seconds;
    t->epoch_wait += t->stats.wait_seconds;
    if (status == FL_OK && tally.report.batch < 0)
        status = fl_error(dg, FL_E_NO_STEP, FL_FILE(phase->path), "%lld rows, but a step takes %lld and short ones are left out (drop_last)",
                          (long long)t->stats.skipped_rows, (long long)rows);
    if (status == FL_OK) {
        if (t->result->epochs == 0)
            fl_reader_report(reader, dg);
        else
            fl_diag_truncate(dg, reports); /* the same rows are bad in each epoch: said once */
        report_phase(t, &tally, phase, seconds);
    }
    fl_tally_deinit(&tally);
    fl_reader_close(reader);
    return status;
}

/* --------------------------------------------------------------------------------------------------- epochs */

static fl_status validate(trainer *t, bool *better, fl_diag *dg)
{
    fl_progress *p = t->progress;
    fl_inference o = {.strict = t->plan->strict, .stop = t->plan->stop};
    fl_evaluation e;

    *better = true;
    if (!t->plan->valid_path)
        return FL_OK;
    if (t->s->engines[FL_PROGRAM_PREDICT])
        FL_TRY(fl_session_derive(t->s, dg)); /* else the engine's making does it */
    FL_TRY(fl_evaluate(t->s, t->plan->valid_path, &o, &e, dg));
    p->valid_auc = e.auc;
    p->valid_logloss = e.logloss;
    *better = !isnan(e.auc) && (isnan(p->best_auc) || e.auc > p->best_auc);
    if (*better) {
        p->best_auc = e.auc;
        p->epochs_without_gain = 0;
        return FL_OK;
    }
    p->epochs_without_gain++;
    double factor = p->rate_factor * t->plan->plateau_factor;
    if (t->plan->plateau_factor < 1 && p->rate_factor > t->plan->min_rate_factor)
        p->rate_factor = factor > t->plan->min_rate_factor ? factor : t->plan->min_rate_factor;
    return FL_OK;
}

static void report_epoch(trainer *t, int64_t epoch)
{
    const fl_progress *p = t->progress;
    const fl_watcher *w = t->plan->watcher;

    if (!w || !w->epoch)
        return;
    w->epoch(w->arg, &(fl_epoch_report){.training = true, .epoch = epoch, .epochs = t->plan->epochs, .steps = p->steps, .rows = t->epoch_rows,
                                        .seconds = t->epoch_seconds, .wait_seconds = t->epoch_wait,
                                        .samples_per_second = t->epoch_seconds > 0 ? (double)t->epoch_rows / t->epoch_seconds : 0,
                                        .auc = p->train_auc, .logloss = p->train_logloss, .exact = t->result->exact,
                                        .has_valid = t->plan->valid_path != NULL, .valid_auc = p->valid_auc,
                                        .valid_logloss = p->valid_logloss, .rate_factor = p->rate_factor,
                                        .counted_auc = fl_bucket_auc_global(&t->auc)});
}

static fl_status end_epoch(trainer *t, fl_diag *dg)
{
    fl_progress *p = t->progress;
    fl_train_result *r = t->result;
    int64_t epoch = p->epochs;
    bool better;

    r->auc = p->train_auc = fl_eval_auc(&t->eval);
    r->logloss = p->train_logloss = fl_eval_logloss(&t->eval);
    r->exact = fl_eval_is_exact(&t->eval);
    r->seconds += t->epoch_seconds;
    r->wait_seconds += t->epoch_wait;
    uint32_t reports = dg ? dg->n_entries : 0;
    fl_status status = validate(t, &better, dg);
    if (status == FL_OK && r->epochs == 0)
        reports = dg ? dg->n_entries : 0;
    if (status == FL_OK || status == FL_INTERRUPTED)
        fl_diag_truncate(dg, reports);
    if (status == FL_INTERRUPTED)
        return interrupted(t, dg); /* resumed, it reads past all steps and validates */
    FL_TRY(status);
    r->stopped_early = t->plan->valid_path && t->plan->patience > 0 && p->epochs_without_gain >= t->plan->patience && epoch + 1 < t->plan->epochs;
    t->last_epoch = r->stopped_early || epoch + 1 == t->plan->epochs;
    p->epochs++;
    p->epoch_step = 0;
    r->epochs++;
    report_epoch(t, epoch);
    FL_TRY(save_epoch(t, epoch, better, dg));
    if (t->plan->valid_path && (better || !t->plan->keep_best)) {
        r->has_valid = true;
        r->valid_auc = p->valid_auc;
        r->valid_logloss = p->valid_logloss;
        r->best_epoch = epoch;
    }
    if (r->stopped_early)
        note(t, "no better validation AUC for as many epochs as `patience` says: training ends");
    return FL_OK;
}

static fl_status run_epoch(trainer *t, fl_diag *dg)
{
    t->epoch_seconds = t->epoch_wait = 0;
    t->epoch_rows = 0;
    for (uint32_t i = 0; i < t->plan->n_phases; i++)
        FL_TRY(run_phase(t, &t->plan->phases[i], dg));
    if (t->skip > 0)
        return fl_error(dg, FL_E_RESUME, FL_FILE(fl_model_path(t->s->model)), "the run stopped at step %lld of an epoch, but the data has %lld steps",
                        (long long)t->progress->epoch_step, (long long)(t->progress->epoch_step - t->skip));
    FL_TRY(end_epoch(t, dg));
    fl_eval_clear(&t->eval);
    if (t->plan->auc_by_epoch && !t->last_epoch)
        fl_bucket_auc_clear(&t->auc);
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- setup */

static fl_status want_outputs(trainer *t, int64_t rows, fl_diag *dg)
{
    const fl_graph *g = t->s->programs[FL_PROGRAM_TRAIN];
    bool has_logit = false, has_probability = false;

    t->outputs = calloc((size_t)g->n_outputs + 1, sizeof *t->outputs);
    t->logit = malloc((size_t)rows * sizeof *t->logit);
    t->probability = malloc((size_t)rows * sizeof *t->probability);
    if (!t->outputs || !t->logit || !t->probability)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_value *v = &g->values[g->outputs[i]];
        bool is_column = v->type.dtype == FL_FLOAT && v->type.rank == 2 && v->type.dims[1] == 1;
        if (is_column && strcmp(v->name, "logit") == 0) {
            t->outputs[i] = t->logit;
            has_logit = true;
        } else if (is_column && strcmp(v->name, "probability") == 0) {
            t->outputs[i] = t->probability;
            has_probability = true;
        } else if (strcmp(v->name, "loss") == 0 && v->type.dtype == FL_FLOAT && v->type.rank == 0) {
            t->outputs[i] = &t->loss;
            t->has_loss = true;
        }
    }
    if (!has_logit || !has_probability)
        return fl_error(dg, FL_E_FEED, FL_NOWHERE, "the train program has no output \"%s\" of type float[batch,1]",
                        has_logit ? "probability" : "logit");
    return FL_OK;
}

static fl_status check_places(const fl_train_saves *s, fl_diag *dg)
{
    const char *files[] = {s->model, s->interrupted}, *folders[] = {s->folder, s->inference_folder, s->step_folder};

    for (size_t i = 0; i < FL_COUNT(files); i++)
        if (files[i])
            FL_TRY(fl_save_place_check(files[i], dg));
    for (size_t i = 0; i < FL_COUNT(folders); i++) {
        char *inside = NULL;
        if (!folders[i])
            continue;
        if (asprintf(&inside, "%s/model.bin", folders[i]) < 0)
            return fl_out_of_memory(dg);
        fl_status status = fl_save_place_check(inside, dg);
        free(inside);
        FL_TRY(status);
    }
    return FL_OK;
}

static fl_status set_up(trainer *t, fl_diag *dg)
{
    const fl_train_plan *plan = t->plan;
    const fl_manifest *m = t->s->manifest;
    int64_t most = 0;

    for (uint32_t i = 0; i < plan->n_phases; i++) {
        int64_t rows;
        if (__builtin_mul_overflow(plan->phases[i].batch, plan->phases[i].copies, &rows) || rows < 1 || rows > MAX_STEP_ROWS)
            return fl_error(dg, FL_E_RUN_ARGUMENTS, FL_NOWHERE, "a step of %lld times %lld rows is too large", (long long)plan->phases[i].copies,
                            (long long)plan->phases[i].batch);
        most = rows > most ? rows : most;
    }
    FL_TRY(check_places(&plan->saves, dg));
    FL_TRY(fl_session_engine(t->s, FL_PROGRAM_TRAIN, most, &t->engine, dg));
    FL_TRY(fl_feed_init(&t->feed, t->s->programs[FL_PROGRAM_TRAIN], &m->schema, dg));
    t->feed.seed = (int64_t)m->seed;
    FL_TRY(want_outputs(t, most, dg));
    t->batch = t->batches;
    if (fl_batch_init(&t->batches[0], &m->schema) != FL_OK || fl_batch_init(&t->batches[1], &m->schema) != FL_OK || fl_bucket_auc_init(&t->auc, fl_auc_thresholds(m->style), FL_AUC_WINDOW) != FL_OK)
        return fl_out_of_memory(dg);
    FL_TRY(fl_watch_init(&t->watch, t->s, dg));
    t->skip = t->progress->epoch_step;
    if (plan->counters && (t->skip > 0 || !plan->auc_by_epoch))
        FL_TRY(fl_checkpoint_counters(plan->counters, &t->auc, t->skip > 0 ? &t->eval : NULL, dg));
    return FL_OK;
}

fl_status fl_train(fl_session *s, const fl_train_plan *plan, fl_train_result *out, fl_diag *dg)
{
    trainer t = {.s = s, .plan = plan, .progress = &s->manifest->progress, .result = out};

    *out = (fl_train_result){.auc = NAN, .logloss = NAN, .valid_auc = NAN, .valid_logloss = NAN, .best_epoch = -1, .exact = true};
    fl_eval_init(&t.eval, FL_EVAL_EXACT_ROWS);
    fl_status status = set_up(&t, dg);
    while (status == FL_OK && t.progress->epochs < plan->epochs && !out->stopped_early) {
        status = run_epoch(&t, dg);
        if (status == FL_OK && plan->stop && *plan->stop && !t.last_epoch)
            status = interrupted(&t, dg);
    }
    fl_watch_deinit(&t.watch);
    fl_bucket_auc_deinit(&t.auc);
    fl_eval_deinit(&t.eval);
    for (int i = 0; i < 2; i++)
        fl_batch_deinit(&t.batches[i]);
    fl_feed_deinit(&t.feed);
    free(t.outputs);
    free(t.logit);
    free(t.probability);
    return status;
}
