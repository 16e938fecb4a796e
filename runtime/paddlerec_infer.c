/* paddlerec_infer.c -- forms of the lines: PaddleRec at the seed's commit (July 2020) for 1.8, tools/static_infer.py of 2.x. */
#include "runtime/paddlerec_infer.h"

#include <string.h>
#include <time.h>

#include "runtime/metrics.h"
#include "runtime/numpy_format.h"

uint32_t fl_paddlerec_thresholds(const fl_manifest *m)
{
    return m->style == FL_STYLE_PADDLEREC_2 ? 4095 : 4096;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct paddlerec_run {
    const fl_paddlerec_infer *o;
    const fl_manifest *m;
    fl_bucket_auc auc;
    fl_eval exact;
    int64_t step;
    double begin, since; /* of the run, of the last line */
    double waited, waited_before; /* for rows: so far, until the last line */
    double loss;         /* mean of the newest batch */
} paddlerec_run;

static void print_array(const char *name, double x, FILE *out)
{
    fprintf(out, "%s: ", name);
    fl_numpy_print(&x, 1, out);
}

static void print_batch_18(paddlerec_run *r)
{
    fprintf(r->o->out, "batch: %lld, ", (long long)r->step);
    print_array("AUC", fl_bucket_auc_global(&r->auc), r->o->out);
    fputs(", ", r->o->out);
    print_array("BATCH_AUC", fl_bucket_auc_batch(&r->auc), r->o->out);
    fputc('\n', r->o->out);
}

/* Costs are divided by the interval, on the first line too, as there. Reading goes on beside computing: its cost is what was waited for rows. */
static void print_batch_2(paddlerec_run *r)
{
    double interval = (double)r->o->print_interval, seconds = now() - r->since;

    fprintf(r->o->out,
            "epoch: %s, batch_id: %lld, auc: %.6f,logloss:%.7f, avg_reader_cost: %.5f sec, avg_batch_cost: %.5f sec, avg_samples: %.5f, ips: %.2f ins/s\n",
            r->o->epoch, (long long)r->step, fl_bucket_auc_global(&r->auc), r->loss, (r->waited - r->waited_before) / interval, seconds / interval, (double)r->o->batch,
            seconds > 0 ? interval * (double)r->o->batch / seconds : 0);
    r->since = now();
    r->waited_before = r->waited;
}

static fl_status add_batch(void *arg, const fl_batch *rows, const float *logit, const float *probability, fl_diag *dg)
{
    paddlerec_run *r = arg;
    double before = r->exact.loss_sum;

    if (fl_eval_add(&r->exact, logit, rows->label, rows->n) != FL_OK)
        return fl_out_of_memory(dg);
    r->loss = (r->exact.loss_sum - before) / (double)rows->n;
    fl_bucket_auc_add(&r->auc, probability, rows->label, rows->n);
    if (r->step % r->o->print_interval == 0) {
        if (r->m->style == FL_STYLE_PADDLEREC_2)
            print_batch_2(r);
        else if (r->step > 0)
            print_batch_18(r);
    }
    r->step++;
    return FL_OK;
}

void fl_paddlerec_infer_head(const fl_manifest *m, const char *runner, FILE *out)
{
    if (m->style == FL_STYLE_PADDLEREC_2)
        return;
    fprintf(out, "PaddleRec: Runner %s Begin\nExecutor Mode: infer\nprocessor_register begin\nRunning SingleInstance.\nRunning SingleNetwork.\n", runner);
    for (uint32_t i = 0; i < m->n_datasets; i++)
        if (m->datasets[i].type && strcmp(m->datasets[i].type, "QueueDataset") == 0)
            fputs("QueueDataset can not support PY3, change to DataLoader\n", out);
    fputs("Running SingleInferStartup.\nRunning SingleInferRunner.\n", out);
}

static void print_end(const paddlerec_run *r)
{
    double seconds = now() - r->begin;
    char text[FL_REPR_SIZE];

    if (r->m->style == FL_STYLE_PADDLEREC_2) {
        fprintf(r->o->out, "epoch: %s done, auc: %.6f,logloss:%.7f, epoch time: %.2f s\n", r->o->epoch, fl_bucket_auc_global(&r->auc), r->loss, seconds);
        return;
    }
    fl_python_repr(seconds, text);
    fprintf(r->o->out, "Infer %s of %s done, use time: %s\n", r->o->phase, r->o->epoch, text);
}

fl_status fl_paddlerec_infer_run(fl_session *s, const char *path, const fl_paddlerec_infer *o, fl_evaluation *out, fl_diag *dg)
{
    paddlerec_run r = {.o = o, .m = s->manifest};
    fl_inference n = {.batch = o->batch, .need_label = true, .strict = o->strict, .stop = o->stop, .each = add_batch, .arg = &r,
                      .wait_seconds = &r.waited, .drop_last = (s->manifest->quirks & FL_QUIRK_DROP_LAST) != 0};
    fl_inference_result result;
    size_t size = 0;
    const void *stored = fl_model_entry(s->model, FL_AUC_ENTRY, &size);

    if (fl_bucket_auc_init(&r.auc, fl_paddlerec_thresholds(s->manifest), FL_AUC_WINDOW) != FL_OK)
        return fl_out_of_memory(dg);
    fl_status status = FL_OK;
    if (stored && s->manifest->style != FL_STYLE_PADDLEREC_2 && !fl_bucket_auc_load(&r.auc, stored, size))
        status = fl_error(dg, FL_E_AUC_STATE, FL_FILE(fl_model_path(s->model)), "the AUC counters (entry " FL_AUC_ENTRY ") are not of this form");
    fl_eval_init(&r.exact, FL_EVAL_EXACT_ROWS);
    r.begin = r.since = now();
    if (status == FL_OK)
        status = fl_infer(s, path, &n, &result, dg);
    if (status == FL_OK) {
        print_end(&r);
        *out = (fl_evaluation){fl_eval_auc(&r.exact), fl_eval_logloss(&r.exact), fl_eval_rows(&r.exact), fl_eval_is_exact(&r.exact),
                               !r.exact.not_finite, result};
    }
    fl_eval_deinit(&r.exact);
    fl_bucket_auc_deinit(&r.auc);
    return status;
}
