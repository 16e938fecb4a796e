#include "runtime/train_log.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "runtime/numpy_format.h"
#include "runtime/tally.h"

enum { BAR_WIDTH = 24 };
#define BAR_SECONDS 0.1 /* between two drawings */

/* ---------------------------------------------------------------------------------------------------- parts */

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* "812", "93.4 k", "1.27 M" samples. */
static void rate_text(double rate, char *text, size_t size)
{
    if (rate >= 1e6)
        snprintf(text, size, "%.2f M", rate / 1e6);
    else if (rate >= 1e4)
        snprintf(text, size, "%.1f k", rate / 1e3);
    else
        snprintf(text, size, "%.0f", rate);
}

static void wipe_bar(fl_train_log *log)
{
    if (log->bar_drawn)
        fputs("\r\033[K", log->err);
    log->bar_drawn = false;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* A line of JSON; takes the object. */
static void write_json(fl_train_log *log, json_t *event)
{
    if (event) {
        (void)json_dumpf(event, log->out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        fputc('\n', log->out);
        (void)fflush(log->out);
    }
    json_decref(event);
}

/* -------------------------------------------------------------------------------------------------- batches */

static void draw_bar(fl_train_log *log, const fl_batch_report *r)
{
    double now = fl_seconds(), done = share((double)r->file_bytes, (double)r->total_bytes);
    char rate[32], bar[BAR_WIDTH + 1], left[32] = "";

    if (log->bar_drawn && !r->due && now - log->bar_time < BAR_SECONDS)
        return;
    int filled = (int)(done * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '=', (size_t)(filled > BAR_WIDTH ? BAR_WIDTH : filled));
    bar[BAR_WIDTH] = 0;
    if (done > 0.001 && r->seconds > 0.5) {
        long seconds = lround(r->seconds * (1 - done) / done);
        snprintf(left, sizeof left, ", %ld:%02ld left", seconds / 60, seconds % 60);
    }
    rate_text(share((double)r->rows, r->seconds), rate, sizeof rate);
    fprintf(log->err, "\r\033[Kepoch %lld", (long long)r->epoch);
    if (log->epochs > 0)
        fprintf(log->err, " of %lld", (long long)log->epochs);
    fprintf(log->err, " [%s] %3.0f %%", bar, 100 * done);
    if (isfinite(log->loss))
        fprintf(log->err, ", loss %.4f", log->loss);
    if (isfinite(log->auc))
        fprintf(log->err, ", auc %.4f", log->auc);
    fprintf(log->err, ", %s samples/s, waited %.1f %%%s", rate, 100 * share(r->wait_seconds, r->seconds), left);
    (void)fflush(log->err);
    log->bar_drawn = true;
    log->bar_time = now;
}

/* For people: no AUC where all labels are of one kind. */
static const char *auc_text(double auc, char text[static 24])
{
    if (isnan(auc))
        return "none (labels of one kind)";
    snprintf(text, 24, "%.6f", auc);
    return text;
}

static void plain_batch(fl_train_log *log, const fl_batch_report *r)
{
    char rate[32], auc[24];

    if (r->due) {
        log->loss = r->interval_loss;
        log->auc = r->auc ? r->auc[0] : (double)NAN;
    }
    if (log->bar) {
        draw_bar(log, r);
        return;
    }
    if (!r->due)
        return;
    rate_text(share((double)r->interval_rows, r->interval_seconds), rate, sizeof rate);
    fprintf(log->err, "%s %lld, batch %lld: loss %.6f, auc %s, %s samples/s, waited %.1f %%\n", r->training ? "epoch" : "infer: model of epoch",
            (long long)r->epoch, (long long)r->batch + 1, log->loss, auc_text(log->auc, auc), rate, 100 * share(r->interval_wait, r->interval_seconds));
}

static void batch_18(fl_train_log *log, const fl_batch_report *r)
{
    fprintf(log->out, "batch: %lld, AUC: ", (long long)r->batch);
    fl_numpy_print(r->auc, r->copies, log->out);
    fputs(", BATCH_AUC: ", log->out);
    fl_numpy_print(r->batch_auc, r->copies, log->out);
    fputc('\n', log->out);
}

/* Costs are divided by the interval also on the first line, which stands for one batch: as there. */
static void batch_2(fl_train_log *log, const fl_batch_report *r)
{
    char loss[FL_REPR_SIZE];
    double interval = (double)(r->interval > 0 ? r->interval : 1), cost = r->interval_wait + r->interval_run;

    fl_numpy_float(r->loss, loss);
    fprintf(log->out, "epoch: %lld, batch_id: %lld, ", (long long)r->epoch, (long long)r->batch);
    if (r->training)
        fprintf(log->out, "auc:%.6f, loss:%s, avg_reader_cost: %.5f sec, avg_batch_cost: %.5f sec, avg_samples: %.5f, ips: %.5f ins/s\n", r->auc[0], loss,
                r->interval_wait / interval, cost / interval, (double)r->interval_rows / interval, (double)r->interval_rows / (cost + 0.0001));
    else
        fprintf(log->out, "auc: %.6f,logloss:%s, avg_reader_cost: %.5f sec, avg_batch_cost: %.5f sec, avg_samples: %.5f, ips: %.2f ins/s\n", r->auc[0], loss,
                r->interval_wait / interval, cost / interval, (double)r->batch_rows, interval * (double)r->batch_rows / (r->interval_seconds + 0.0001));
}

static json_t *numbers(const double *x, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < n; i++)
        (void)json_array_append_new(list, number(x[i]));
    return list;
}

static void json_batch(fl_train_log *log, const fl_batch_report *r)
{
    int64_t step = log->print == FL_PRINT_EVERY ? r->steps : r->batch;
    json_t *e = json_pack("{s:s, s:b, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "event", "batch", "training", (int)r->training, "epoch",
                          (json_int_t)r->epoch, "step", (json_int_t)step, "rows", (json_int_t)r->rows, "auc", number(r->auc ? r->auc[0] : NAN),
                          "batch_auc", number(r->batch_auc ? r->batch_auc[0] : NAN), "loss", number((double)r->loss), "interval_loss",
                          number(r->interval_loss), "samples_per_second", number(share((double)r->interval_rows, r->interval_seconds)),
                          "wait_seconds", number(r->interval_wait));
    if (e && r->copies > 1 && r->auc) {
        (void)json_object_set_new(e, "auc_by_copy", numbers(r->auc, r->copies));
        (void)json_object_set_new(e, "batch_auc_by_copy", numbers(r->batch_auc, r->copies));
    }
    write_json(log, e);
}

static void on_batch(void *arg, const fl_batch_report *r)
{
    fl_train_log *log = arg;

    if (log->kind == FL_LOG_PLAIN)
        plain_batch(log, r);
    if (!r->due)
        return;
    switch (log->kind) {
    case FL_LOG_QUIET:
    case FL_LOG_PLAIN:
        break;
    case FL_LOG_PADDLEREC_18:
        batch_18(log, r);
        break;
    case FL_LOG_PADDLEREC_2:
        batch_2(log, r);
        break;
    case FL_LOG_JSON:
        json_batch(log, r);
        break;
    }
    (void)fflush(log->out);
}

/* --------------------------------------------------------------------------------------------------- epochs */

static void on_phase(void *arg, const fl_epoch_report *r)
{
    fl_train_log *log = arg;
    char text[FL_REPR_SIZE];

    if (log->kind == FL_LOG_PADDLEREC_18) {
        fl_python_repr(r->seconds, text);
        fprintf(log->out, "epoch %lld done, use time: %s\n", (long long)r->epoch, text);
    } else if (log->kind == FL_LOG_PADDLEREC_2) {
        fl_numpy_float(r->last_loss, text);
        fprintf(log->out, "epoch: %lld done, auc: %.6f,loss:%s, epoch time: %.2f s\n", (long long)r->epoch, r->counted_auc, text, r->seconds);
    }
    (void)fflush(log->out);
}

static void plain_epoch(fl_train_log *log, const fl_epoch_report *r)
{
    char rate[32], auc[24];

    wipe_bar(log);
    rate_text(r->samples_per_second, rate, sizeof rate);
    fprintf(log->err, "epoch %lld: auc %s, logloss %.6f", (long long)r->epoch, auc_text(r->auc, auc), r->logloss);
    if (r->has_valid)
        fprintf(log->err, ", valid auc %s, valid logloss %.6f", auc_text(r->valid_auc, auc), r->valid_logloss);
    fprintf(log->err, ", %lld rows in %.2f s (%s samples/s, waited %.1f %%)", (long long)r->rows, r->seconds, rate,
            100 * share(r->wait_seconds, r->seconds));
    if (r->rate_factor != 1)
        fprintf(log->err, ", learning rate x %g", r->rate_factor);
    fputc('\n', log->err);
}

static void on_epoch(void *arg, const fl_epoch_report *r)
{
    fl_train_log *log = arg;

    if (log->kind == FL_LOG_PLAIN)
        plain_epoch(log, r);
    if (log->kind != FL_LOG_JSON)
        return;
    json_t *e = json_pack("{s:s, s:I, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:b}", "event", "epoch", "epoch", (json_int_t)r->epoch, "seconds", number(r->seconds),
                          "samples_per_second", number(r->samples_per_second), "wait_seconds", number(r->wait_seconds), "rows",
                          (json_int_t)r->rows, "steps", (json_int_t)r->steps, "auc", number(r->auc), "logloss", number(r->logloss), "auc_exact",
                          (int)r->exact);
    if (e && r->has_valid) {
        (void)json_object_set_new(e, "valid_auc", number(r->valid_auc));
        (void)json_object_set_new(e, "valid_logloss", number(r->valid_logloss));
    }
    if (e)
        (void)json_object_set_new(e, "rate_factor", number(r->rate_factor));
    write_json(log, e);
}

static void on_saved(void *arg, const fl_saved_report *r)
{
    static const char *const kinds[] = {"model", "checkpoint", "inference", "step", "interrupted"};
    fl_train_log *log = arg;

    switch (log->kind) {
    case FL_LOG_QUIET:
    case FL_LOG_PADDLEREC_18:
        break;
    case FL_LOG_PLAIN:
        wipe_bar(log);
        fprintf(log->err, "saved %s\n", r->path);
        break;
    case FL_LOG_PADDLEREC_2:
        if (r->kind == FL_SAVED_CHECKPOINT)
            fprintf(log->out, "Already save model in %s\n", r->folder);
        (void)fflush(log->out);
        break;
    case FL_LOG_JSON:
        write_json(log, json_pack("{s:s, s:s, s:s, s:I}", "event", "saved", "path", r->path, "kind", kinds[r->kind], "epoch", (json_int_t)r->epoch));
        break;
    }
}

static void on_note(void *arg, const char *text)
{
    fl_train_log *log = arg;

    if (log->kind == FL_LOG_QUIET)
        return;
    wipe_bar(log);
    fprintf(log->err, "%s\n", text);
}

/* ------------------------------------------------------------------------------------------------- the whole */

void fl_train_log_init(fl_train_log *log, fl_config_style style, const char *configured, const char *word, bool json, bool quiet)
{
    bool paddlerec = strcmp(word ? word : configured ? configured : "plain", "paddlerec") == 0;

    *log = (fl_train_log){.kind = FL_LOG_PLAIN, .out = stdout, .err = stderr, .loss = NAN, .auc = NAN};
    if (paddlerec)
        log->kind = style == FL_STYLE_PADDLEREC_2 ? FL_LOG_PADDLEREC_2 : FL_LOG_PADDLEREC_18;
    log->print = log->kind == FL_LOG_PLAIN ? FL_PRINT_EVERY : log->kind == FL_LOG_PADDLEREC_2 ? FL_PRINT_2 : FL_PRINT_18;
    if (json)
        log->kind = FL_LOG_JSON;
    else if (quiet)
        log->kind = FL_LOG_QUIET;
    log->bar = log->kind == FL_LOG_PLAIN && isatty(fileno(stderr));
    log->watcher = (fl_watcher){log, on_batch, on_phase, on_epoch, on_saved, on_note};
}

static bool is_paddlerec(const fl_train_log *log)
{
    return log->kind == FL_LOG_PADDLEREC_18 || log->kind == FL_LOG_PADDLEREC_2;
}

void fl_train_log_line(fl_train_log *log, const char *format, ...)
{
    va_list args;

    if (!is_paddlerec(log))
        return;
    va_start(args, format);
    vfprintf(log->out, format, args);
    va_end(args);
    fputc('\n', log->out);
    (void)fflush(log->out);
}

void fl_train_log_datasets(fl_train_log *log, const fl_manifest *m)
{
    for (uint32_t i = 0; i < m->n_datasets; i++)
        if (m->datasets[i].type && strcmp(m->datasets[i].type, "QueueDataset") == 0)
            fl_train_log_line(log, "QueueDataset can not support PY3, change to DataLoader");
}

static const char *how(bool exact)
{
    return exact ? "" : ", auc from 2^20 bins";
}

static void summarise(FILE *f, const char *what, double auc, double logloss, bool exact, int64_t rows, double seconds, double wait)
{
    char rate[32], number_text[24];

    rate_text(share((double)rows, seconds), rate, sizeof rate);
    fprintf(f, "%s: auc %s, logloss %.6f%s, %lld rows in %.2f s: %s samples/s, waited %.2f s (%.1f %%)\n", what, auc_text(auc, number_text), logloss, how(exact),
            (long long)rows, seconds, rate, wait, 100 * share(wait, seconds));
}

void fl_train_log_inferred(fl_train_log *log, const char *phase, const char *epoch, const fl_evaluation *e, float last_loss, double counted_auc)
{
    char text[FL_REPR_SIZE];

    wipe_bar(log);
    switch (log->kind) {
    case FL_LOG_QUIET:
        return;
    case FL_LOG_PLAIN:
        break;
    case FL_LOG_PADDLEREC_18:
        fl_python_repr(e->result.seconds, text);
        fprintf(log->out, "Infer %s of %s done, use time: %s\n", phase, epoch, text);
        (void)fflush(log->out);
        return;
    case FL_LOG_PADDLEREC_2:
        fl_numpy_float(last_loss, text);
        fprintf(log->out, "epoch: %s done, auc: %.6f,logloss:%s, epoch time: %.2f s\n", epoch, counted_auc, text, e->result.seconds);
        (void)fflush(log->out);
        return;
    case FL_LOG_JSON:
        write_json(log, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "event", "done", "runner", phase, "model", epoch, "rows",
                                  (json_int_t)e->rows, "auc", number(e->auc), "logloss", number(e->logloss), "auc_exact", (int)e->exact,
                                  "counted_auc", number(counted_auc), "seconds", number(e->result.seconds), "samples_per_second",
                                  number(share((double)e->rows, e->result.seconds)), "wait_seconds", number(e->result.rows.wait_seconds)));
        return;
    }
    (void)snprintf(text, sizeof text, "%.20s", phase);
    summarise(log->out, text, e->auc, e->logloss, e->exact, e->rows, e->result.seconds,
              e->result.rows.wait_seconds);
}

void fl_train_log_stop(fl_train_log *log)
{
    wipe_bar(log);
}

void fl_train_log_trained(fl_train_log *log, const fl_train_result *r)
{
    FILE *f = is_paddlerec(log) ? log->err : log->out;
    char auc[24];

    wipe_bar(log);
    if (log->kind == FL_LOG_QUIET)
        return;
    if (log->kind == FL_LOG_JSON) {
        json_t *e = json_pack("{s:s, s:I, s:o, s:o, s:b, s:o, s:o, s:o, s:I, s:I, s:b}", "event", "done", "rows", (json_int_t)r->rows, "auc", number(r->auc),
                              "logloss", number(r->logloss), "auc_exact", (int)r->exact, "seconds", number(r->seconds), "samples_per_second",
                              number(share((double)r->rows, r->seconds)), "wait_seconds", number(r->wait_seconds), "steps",
                              (json_int_t)r->steps, "epochs", (json_int_t)r->epochs, "stopped_early", (int)r->stopped_early);
        if (e && r->has_valid) {
            (void)json_object_set_new(e, "valid_auc", number(r->valid_auc));
            (void)json_object_set_new(e, "valid_logloss", number(r->valid_logloss));
        }
        if (e && r->saved)
            (void)json_object_set_new(e, "path", json_string(r->saved));
        write_json(log, e);
        return;
    }
    summarise(f, "train", r->auc, r->logloss, r->exact, r->rows, r->seconds, r->wait_seconds);
    if (r->has_valid)
        fprintf(f, "valid: auc %s, logloss %.6f, after epoch %lld\n", auc_text(r->valid_auc, auc), r->valid_logloss, (long long)r->best_epoch);
    if (r->saved)
        fprintf(f, "model: %s\n", r->saved);
}
