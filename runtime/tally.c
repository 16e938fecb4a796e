#include "runtime/tally.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double fl_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

fl_status fl_tally_init(fl_tally *t, const fl_tally_options *options, fl_diag *dg)
{
    FL_ASSERT(options->copies >= 1);
    memset(t, 0, sizeof *t);
    t->options = *options;
    t->values = calloc(2 * (size_t)options->copies, sizeof *t->values);
    if (!t->values)
        return fl_out_of_memory(dg);
    t->report = (fl_batch_report){.training = options->training, .epoch = options->epoch, .batch = -1, .copies = (uint32_t)options->copies,
                                  .interval = options->print_interval};
    t->begun = t->line_begun = t->seen = fl_seconds();
    return FL_OK;
}

void fl_tally_deinit(fl_tally *t)
{
    free(t->values);
    memset(t, 0, sizeof *t);
}

/*
 * Paddle runs its metric once for each copy's batch. What is fetched from copy i was computed before the last i of them: so the first
 * value knows all rows of the step, the last one only the first batch.
 */
static void count_copies(fl_tally *t, const fl_batch *batch, const float *probability, fl_bucket_auc *auc)
{
    int64_t copies = t->options.copies, share = t->options.copy_rows > 0 ? t->options.copy_rows : batch->n;
    double *values = t->values;
    bool wanted = t->report.due || t->options.always_auc;

    for (int64_t k = 0; k < copies; k++) {
        int64_t begin = k * share < batch->n ? k * share : batch->n;
        int64_t n = k == copies - 1 || batch->n - begin < share ? batch->n - begin : share;
        if (n > 0)
            fl_bucket_auc_add(auc, probability + begin, batch->label + begin, n);
        if (wanted) {
            values[copies - 1 - k] = fl_bucket_auc_global(auc);
            values[2 * copies - 1 - k] = fl_bucket_auc_batch(auc);
        }
    }
    if (wanted) {
        t->report.auc = values;
        t->report.batch_auc = values + copies;
    }
}

static void report(fl_tally *t, double now, const fl_reader_stats *stats)
{
    fl_batch_report *r = &t->report;

    r->seconds = now - t->begun;
    r->wait_seconds = stats->wait_seconds;
    r->interval_seconds = now - t->line_begun;
    r->interval_wait = stats->wait_seconds - t->line_wait;
    r->file_bytes = stats->file_bytes;
    r->total_bytes = stats->total_bytes;
    t->options.watcher->batch(t->options.watcher->arg, r);
    if (!r->due)
        return;
    r->interval_rows = 0;
    r->interval_run = 0;
    t->line_loss = 0;
    t->line_begun = now;
    t->line_wait = stats->wait_seconds;
}

fl_status fl_tally_add(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats, const float *logit, const float *probability,
                       float loss, int64_t steps, fl_eval *eval, fl_bucket_auc *auc)
{
    fl_batch_report *r = &t->report;
    double now = fl_seconds();

    r->batch++;
    r->interval_run += (now - t->seen) - (stats->wait_seconds - t->seen_wait);
    r->interval_rows += batch->n;
    r->rows += batch->n;
    t->line_loss += (double)loss * (double)batch->n;
    r->interval_loss = t->line_loss / (double)r->interval_rows;
    r->batch_rows = batch->n;
    r->steps = steps;
    r->loss = loss;
    r->due = fl_print_due(t->options.print, t->options.print_interval, r->batch);
    r->auc = r->batch_auc = NULL;
    if (eval)
        FL_TRY(fl_eval_add(eval, logit, batch->label, batch->n));
    if (auc)
        count_copies(t, batch, probability, auc);
    t->seen = now;
    t->seen_wait = stats->wait_seconds;
    return FL_OK;
}

void fl_tally_report(fl_tally *t, const fl_reader_stats *stats)
{
    if (t->options.watcher && t->options.watcher->batch)
        report(t, t->seen, stats);
}

fl_status fl_tally_count(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats, const float *logit, const float *probability,
                         float loss, int64_t steps, fl_eval *eval, fl_bucket_auc *auc, fl_diag *dg)
{
    if (fl_tally_add(t, batch, stats, logit, probability, loss, steps, eval, auc) != FL_OK)
        return fl_out_of_memory(dg);
    fl_tally_report(t, stats);
    return FL_OK;
}

void fl_tally_skip(fl_tally *t, const fl_batch *batch, const fl_reader_stats *stats)
{
    t->report.batch++;
    t->report.rows += batch->n;
    t->begun = t->seen = t->line_begun = fl_seconds();
    t->seen_wait = t->line_wait = stats->wait_seconds;
}
