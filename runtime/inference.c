#include "runtime/inference.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/metrics.h"

enum { DEFAULT_BATCH = 1024 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------ the program */

/* *at = place of the program's output `name`, float[batch, 1]. */
static fl_status find_output(const fl_graph *g, const char *name, uint32_t *at, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_value *v = &g->values[g->outputs[i]];
        if (strcmp(v->name, name) != 0)
            continue;
        if (v->type.dtype != FL_FLOAT || v->type.rank != 2 || v->type.dims[1] != 1)
            break;
        *at = i;
        return FL_OK;
    }
    (void)fl_error(dg, FL_E_FEED, FL_NOWHERE, "the predict program has no output \"%s\" of type float[batch,1]", name);
    fl_hint(dg, "`flenrt predict`, `bench` and `eval` run an imported model on tensors");
    return FL_BAD_INPUT;
}

static fl_status init_predictor(fl_predictor *p, fl_session *s, int64_t batch, fl_diag *dg)
{
    FL_TRY(fl_session_engine(s, FL_PROGRAM_PREDICT, batch, &p->engine, dg));
    const fl_graph *g = s->programs[FL_PROGRAM_PREDICT];
    FL_TRY(fl_feed_init(&p->feed, g, &s->manifest->schema, dg));
    FL_TRY(find_output(g, "logit", &p->logit, dg));
    FL_TRY(find_output(g, "probability", &p->probability, dg));
    p->feed.seed = (int64_t)s->manifest->seed;
    p->outputs = calloc((size_t)g->n_outputs + 1, sizeof *p->outputs);
    return p->outputs ? FL_OK : fl_out_of_memory(dg);
}

fl_status fl_predictor_init(fl_predictor *p, fl_session *s, int64_t batch, fl_diag *dg)
{
    memset(p, 0, sizeof *p);
    fl_status status = init_predictor(p, s, batch, dg);
    if (status != FL_OK)
        fl_predictor_deinit(p);
    return status;
}

void fl_predictor_deinit(fl_predictor *p)
{
    fl_feed_deinit(&p->feed);
    free(p->outputs);
    memset(p, 0, sizeof *p);
}

fl_status fl_predictor_run(fl_predictor *p, const fl_batch *b, float *logit, float *probability, fl_diag *dg)
{
    fl_run run = fl_feed_run(&p->feed, b);

    p->outputs[p->logit] = logit;
    p->outputs[p->probability] = probability;
    run.outputs = p->outputs;
    FL_TRY(p->engine->run(p->engine, &run, dg));
    p->feed.step++; /* masks, where a model has them in prediction, differ from batch to batch */
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- rows */

typedef struct inference {
    const fl_inference *o;
    fl_predictor predictor;
    fl_batch batch;
    float *logit, *probability; /* [batch] */
} inference;

/* A pass over many rows checks the model's dictionaries; the rows of one batch do not wait for that. */
static fl_status run_batches(inference *n, fl_session *s, fl_reader *reader, fl_diag *dg)
{
    for (int64_t i = 0;; i++) {
        if (n->o->stop && *n->o->stop)
            return fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted");
        FL_TRY(fl_reader_next(reader, &n->batch, dg));
        if (n->batch.n == 0)
            return FL_OK;
        if (i > 0)
            FL_TRY(fl_model_verify_entry(s->model, FL_VOCABULARY_ENTRY, dg));
        if (n->o->live)
            fl_reader_stats_get(reader, n->o->live);
        FL_TRY(fl_predictor_run(&n->predictor, &n->batch, n->logit, n->probability, dg));
        FL_TRY(n->o->each(n->o->arg, &n->batch, n->logit, n->probability, dg));
    }
}

static fl_status prepare(inference *n, fl_session *s, int64_t batch, fl_diag *dg)
{
    FL_TRY(fl_predictor_init(&n->predictor, s, batch, dg));
    n->logit = calloc((size_t)batch, sizeof *n->logit);
    n->probability = calloc((size_t)batch, sizeof *n->probability);
    return n->logit && n->probability && fl_batch_init(&n->batch, &s->manifest->schema) == FL_OK ? FL_OK : fl_out_of_memory(dg);
}

fl_status fl_infer(fl_session *s, const char *path, const fl_inference *o, fl_inference_result *out, fl_diag *dg)
{
    inference n = {.o = o};
    fl_reader *reader = NULL;
    fl_inference_result result = {0};
    int64_t batch = o->batch > 0 ? o->batch : DEFAULT_BATCH;
    fl_reader_options ro = {.batch = batch, .threads = fl_session_threads(s), .strict = o->strict, .need_label = o->need_label,
                            .keep_bad_rows = o->keep_bad_rows, .drop_last = o->drop_last, .quirks = s->manifest->quirks};

    fl_status status = prepare(&n, s, batch, dg);
    if (status == FL_OK)
        status = fl_reader_open(path, &s->manifest->schema, s->vocabulary, &ro, &reader, dg);
    if (status == FL_OK) {
        double begin = now();
        status = run_batches(&n, s, reader, dg);
        result.seconds = now() - begin;
        fl_reader_stats_get(reader, &result.rows);
        if (status == FL_OK)
            fl_reader_report(reader, dg);
    }
    fl_reader_close(reader);
    fl_predictor_deinit(&n.predictor);
    fl_batch_deinit(&n.batch);
    free(n.logit);
    free(n.probability);
    if (status == FL_OK && out)
        *out = result;
    return status;
}

static fl_status add_to_metrics(void *arg, const fl_batch *rows, const float *logit, const float *probability, fl_diag *dg)
{
    (void)probability;
    return fl_eval_add(arg, logit, rows->label, rows->n) == FL_OK ? FL_OK : fl_out_of_memory(dg);
}

fl_status fl_evaluate(fl_session *s, const char *path, const fl_inference *o, fl_evaluation *out, fl_diag *dg)
{
    fl_eval e;
    fl_inference with_metrics = *o;

    fl_eval_init(&e, FL_EVAL_EXACT_ROWS);
    with_metrics.need_label = true;
    with_metrics.keep_bad_rows = false;
    with_metrics.each = add_to_metrics;
    with_metrics.arg = &e;
    fl_inference_result result;
    fl_status status = fl_infer(s, path, &with_metrics, &result, dg);
    if (status == FL_OK)
        *out = (fl_evaluation){fl_eval_auc(&e), fl_eval_logloss(&e), fl_eval_rows(&e), fl_eval_is_exact(&e), !e.not_finite, result};
    fl_eval_deinit(&e);
    return status;
}
