#include "runtime/logged_inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/tally.h"

typedef struct logged_run {
    fl_tally tally;
    fl_bucket_auc *auc;
    fl_eval exact;
    fl_reader_stats stats;
} logged_run;

static fl_status add_batch(void *arg, const fl_batch *rows, const float *logit, const float *probability, fl_diag *dg)
{
    logged_run *r = arg;
    double before = r->exact.loss_sum;

    /* The loss of a line is the batch's, so it has to be known before the batch is counted. */
    if (fl_eval_add(&r->exact, logit, rows->label, rows->n) != FL_OK)
        return fl_out_of_memory(dg);
    float loss = (float)((r->exact.loss_sum - before) / (double)rows->n);
    return fl_tally_count(&r->tally, rows, &r->stats, logit, probability, loss, r->tally.report.batch + 2, NULL, r->auc, dg);
}

void fl_log_infer_head(fl_train_log *log, const fl_manifest *m, const char *runner)
{
    static const char *const lines[] = {"Executor Mode: infer", "processor_register begin", "Running SingleInstance.", "Running SingleNetwork."};

    if (log->kind != FL_LOG_PADDLEREC_18)
        return;
    fl_train_log_line(log, "PaddleRec: Runner %s Begin", runner);
    for (size_t i = 0; i < FL_COUNT(lines); i++)
        fl_train_log_line(log, "%s", lines[i]);
    fl_train_log_datasets(log, m);
    fl_train_log_line(log, "Running SingleInferStartup.");
    fl_train_log_line(log, "Running SingleInferRunner.");
}

/* Counters of its own: the model's, where PaddleRec 1.8 is followed. */
static fl_status make_counters(fl_session *s, const fl_logged_inference *o, fl_bucket_auc *own, fl_diag *dg)
{
    if (fl_bucket_auc_init(own, fl_auc_thresholds(s->manifest->style), FL_AUC_WINDOW) != FL_OK)
        return fl_out_of_memory(dg);
    return o->log->print == FL_PRINT_18 ? fl_checkpoint_counters(s->model, own, NULL, dg) : FL_OK;
}

static fl_status run(fl_session *s, const char *path, const fl_logged_inference *o, logged_run *r, fl_evaluation *out, fl_diag *dg)
{
    fl_metrics_dump dump;
    char *end;
    long long epoch = strtoll(o->epoch, &end, 10);
    fl_inference n = {.batch = o->batch, .need_label = true, .strict = o->strict, .stop = o->stop, .each = add_batch, .arg = r, .live = &r->stats,
                      .drop_last = (s->manifest->quirks & FL_QUIRK_DROP_LAST) != 0};

    fl_metrics_dump_init(&dump, &o->log->watcher, o->dump);
    fl_tally_options to = {.epoch = *end ? 0 : epoch, .copies = 1, .copy_rows = o->batch, .print = o->log->print, .print_interval = o->print_interval,
                           .always_auc = o->dump != NULL, .watcher = &dump.watcher};
    fl_inference_result result;
    fl_status status = fl_tally_init(&r->tally, &to, dg);
    if (status == FL_OK)
        status = fl_infer(s, path, &n, &result, dg);
    if (status == FL_OK)
        status = fl_metrics_dump_write(&dump, NULL, dg);
    if (status == FL_OK) {
        *out = (fl_evaluation){fl_eval_auc(&r->exact), fl_eval_logloss(&r->exact), fl_eval_rows(&r->exact), fl_eval_is_exact(&r->exact),
                               !r->exact.not_finite, result};
        fl_train_log_inferred(o->log, o->phase, o->epoch, out, r->tally.report.loss, fl_bucket_auc_global(r->auc));
    }
    fl_metrics_dump_deinit(&dump);
    fl_tally_deinit(&r->tally);
    return status;
}

fl_status fl_infer_logged(fl_session *s, const char *path, const fl_logged_inference *o, fl_evaluation *out, fl_diag *dg)
{
    fl_bucket_auc own = {0};
    logged_run r = {.auc = o->auc ? o->auc : &own};

    fl_eval_init(&r.exact, FL_EVAL_EXACT_ROWS);
    fl_status status = o->auc ? FL_OK : make_counters(s, o, &own, dg);
    if (status == FL_OK)
        status = run(s, path, o, &r, out, dg);
    fl_eval_deinit(&r.exact);
    fl_bucket_auc_deinit(&own);
    return status;
}
