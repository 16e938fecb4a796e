#include "runtime/metrics_dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/aside_file.h"

static json_t *list_of(const double *x, uint32_t n)
{
    json_t *list = json_array();

    for (uint32_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_real(x[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static void on_batch(void *arg, const fl_batch_report *r)
{
    fl_metrics_dump *d = arg;

    if (d->path && r->auc) {
        json_t *entry = json_pack("{s:o, s:o}", "AUC", list_of(r->auc, r->copies), "BATCH_AUC", list_of(r->batch_auc, r->copies));
        if (!d->batches)
            d->batches = json_array();
        d->no_memory |= !entry || json_array_append_new(d->batches, entry) != 0;
    }
    if (d->next && d->next->batch)
        d->next->batch(d->next->arg, r);
}

static void on_phase(void *arg, const fl_epoch_report *r)
{
    fl_metrics_dump *d = arg;
    char suffix[40];

    snprintf(suffix, sizeof suffix, "_epoch_%lld", (long long)r->epoch);
    if (d->by_epoch && d->status == FL_OK)
        d->status = fl_metrics_dump_write(d, suffix, NULL);
    if (d->next && d->next->phase)
        d->next->phase(d->next->arg, r);
}

static void on_epoch(void *arg, const fl_epoch_report *r)
{
    const fl_watcher *next = ((fl_metrics_dump *)arg)->next;
    if (next && next->epoch)
        next->epoch(next->arg, r);
}

static void on_saved(void *arg, const fl_saved_report *r)
{
    const fl_watcher *next = ((fl_metrics_dump *)arg)->next;
    if (next && next->saved)
        next->saved(next->arg, r);
}

static void on_note(void *arg, const char *text)
{
    const fl_watcher *next = ((fl_metrics_dump *)arg)->next;
    if (next && next->note)
        next->note(next->arg, text);
}

void fl_metrics_dump_init(fl_metrics_dump *d, const fl_watcher *next, const char *path)
{
    *d = (fl_metrics_dump){.next = next, .path = path};
    d->watcher = (fl_watcher){d, on_batch, on_phase, on_epoch, on_saved, on_note};
}

void fl_metrics_dump_deinit(fl_metrics_dump *d)
{
    json_decref(d->batches);
    d->batches = NULL;
}

fl_status fl_metrics_dump_status(const fl_metrics_dump *d, fl_diag *dg)
{
    if (d->status == FL_NO_MEMORY)
        return fl_out_of_memory(dg);
    return d->status == FL_OK ? FL_OK : fl_error(dg, FL_E_WRITE, FL_FILE(d->path), "cannot write the metrics of an epoch beside this name");
}

fl_status fl_metrics_dump_write(fl_metrics_dump *d, const char *suffix, fl_diag *dg)
{
    char *path = NULL, *text = NULL;

    if (!d->path)
        return FL_OK;
    text = d->batches ? json_dumps(d->batches, JSON_REAL_PRECISION(17)) : NULL;
    if (d->no_memory || (d->batches && !text) || asprintf(&path, "%s%s", d->path, suffix ? suffix : "") < 0) {
        free(text);
        return fl_out_of_memory(dg);
    }
    const char *all = text ? text : "[]";
    fl_status status = fl_aside_write(path, all, strlen(all), dg);
    json_decref(d->batches);
    d->batches = NULL;
    free(path);
    free(text);
    return status;
}
