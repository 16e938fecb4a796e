/* verb_infer.c -- `flenrt infer`: AUC and logloss over labelled rows. */
#include "runtime/verbs_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data_path.h"
#include "runtime/logged_inference.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt infer model.bin --data PATH [options]\n"
    "\n"
    "Predicts labelled rows and says how good the predictions are: AUC (exact up to 20 million rows, by 2^20 bins beyond)\n"
    "and logloss. PATH is a file or a folder of slot text, PaddleRec 2.x's comma text, CSV by the model's schema or the\n"
    "binary cache; of a folder that `flenrt prepare` wrote its `valid` is read, or `train` if it has none.\n"
    "\n"
    "  --batch N                 rows of a run, default 1024; changes nothing but speed\n" FL_HELP_THREADS
    "  --strict                  stop at the first row that cannot be read, instead of counting them\n"
    FL_HELP_FOLD
    "  --log=plain|paddlerec     PaddleRec's lines on standard output; their AUC goes on from the training's counters.\n"
    "                            Default: what the model's configuration says\n" FL_HELP_DUMP FL_HELP_ENGINE FL_HELP_COMMON
    "\n"
    "example: flenrt infer trained.bin --data prepared/valid --json\n";

/* The infer runner that the configuration has, or what stands for one. */
static fl_logged_inference logged_options(const fl_verb_options *o, const fl_manifest *m, char *epoch, size_t size, const char **runner)
{
    fl_logged_inference p = {.phase = "infer", .epoch = epoch, .batch = o->batch, .print_interval = 20, .strict = o->strict};

    snprintf(epoch, size, "%lld", (long long)(m->progress.epochs > 0 ? m->progress.epochs - 1 : 0));
    *runner = "infer";
    for (uint32_t i = 0; i < m->n_runners; i++) {
        const fl_runner *r = &m->runners[i];
        if (r->train)
            continue;
        *runner = r->name;
        if (r->print_interval > 0)
            p.print_interval = r->print_interval;
        if (r->n_phases > 0) {
            p.phase = r->phases[0].name;
            if (!p.batch)
                p.batch = m->datasets[r->phases[0].dataset].batch_size;
        }
        break;
    }
    if (p.batch <= 0)
        p.batch = m->n_datasets > 0 && m->datasets[0].batch_size > 0 ? m->datasets[0].batch_size : 512;
    return p;
}

static fl_status infer_as_paddlerec(const fl_verb_options *o, fl_session *s, const char *path, fl_evaluation *e, fl_diag *dg)
{
    fl_train_log log;
    char epoch[32];
    const char *runner;
    fl_logged_inference p = logged_options(o, s->manifest, epoch, sizeof epoch, &runner);

    fl_train_log_init(&log, s->manifest->style, s->manifest->log, o->log, false, false);
    p.log = &log;
    fl_log_infer_head(&log, s->manifest, runner);
    if (log.kind == FL_LOG_PADDLEREC_18)
        fl_train_log_line(&log, "load persistables from %s", o->model);
    FL_TRY(fl_infer_logged(s, path, &p, e, dg));
    if (log.kind == FL_LOG_PADDLEREC_18)
        fl_train_log_line(&log, "PaddleRec Finish");
    return FL_OK;
}

static void print_json(const fl_evaluation *e)
{
    const fl_reader_stats *r = &e->result.rows;

    printf("{\"event\":\"done\",\"rows\":%lld,\"auc\":", (long long)e->rows);
    fl_json_number(stdout, e->auc);
    fputs(",\"logloss\":", stdout);
    fl_json_number(stdout, e->logloss);
    printf(",\"seconds\":%.6f,\"samples_per_second\":%.0f,\"wait_seconds\":%.6f,\"bad_rows\":%lld,\"skipped_rows\":%lld,\"auc_exact\":%s}\n", e->result.seconds,
           e->result.seconds > 0 ? (double)e->rows / e->result.seconds : 0, r->wait_seconds, (long long)r->bad_rows, (long long)r->skipped_rows,
           e->exact ? "true" : "false");
}

/* For people: on standard output, or beside PaddleRec's lines on standard error. */
static void print_plain(const fl_evaluation *e, FILE *to)
{
    const fl_reader_stats *r = &e->result.rows;
    double seconds = e->result.seconds;

    if (isnan(e->auc))
        fprintf(to, "AUC         none: all labels are of one kind\n");
    else
        fprintf(to, "AUC         %.6f%s\n", e->auc, e->exact ? "" : " (by 2^20 bins: more than 20 million rows)");
    fprintf(to, "logloss     %.6f\nrows        %lld\n", e->logloss, (long long)e->rows);
    if (r->bad_rows)
        fprintf(to, "bad rows    %lld, left out\n", (long long)r->bad_rows);
    if (r->skipped_rows)
        fprintf(to, "skipped     %lld rows, as the configuration's quirks say\n", (long long)r->skipped_rows);
    fprintf(to, "samples/s   %.0f (%.3f s, %.0f %% of it waiting for data)\n", seconds > 0 ? (double)e->rows / seconds : 0, seconds,
            seconds > 0 ? 100 * r->wait_seconds / seconds : 0);
}

static fl_status infer(const fl_verb_options *o, fl_diag *dg)
{
    fl_session s;
    fl_evaluation e;
    char *path;

    FL_TRY(fl_data_path(o->data, FL_DATA_VALID, &path, NULL, dg));
    fl_status status = fl_verb_session(o, false, &s, dg);
    if (status != FL_OK) {
        free(path);
        return status;
    }
    if (strcmp(path, o->data) != 0)
        fl_verb_notef("infer: rows of %s", path);
    const char *log = o->log ? o->log : s.manifest->log;
    bool paddlerec = !o->json && log && strcmp(log, "paddlerec") == 0;
    if (paddlerec)
        status = infer_as_paddlerec(o, &s, path, &e, dg);
    else
        status = fl_evaluate(&s, path, &(fl_inference){.batch = o->batch, .strict = o->strict}, &e, dg);
    if (status == FL_OK && !e.finite)
        status = fl_error(dg, FL_E_NOT_FINITE, FL_FILE(o->model), "predictions are not finite: the model has NaN or infinite weights");
    if (status == FL_OK && o->json)
        print_json(&e);
    else if (status == FL_OK && !(paddlerec && o->quiet))
        print_plain(&e, paddlerec ? stderr : stdout);
    fl_session_close(&s);
    free(path);
    return status;
}

int fl_verb_infer(int argc, char **argv)
{
    static const fl_verb verb = {.name = "infer", .help = help,
                                 .takes = FL_TAKES_DATA | FL_TAKES_BATCH | FL_TAKES_THREADS | FL_TAKES_ENGINE | FL_TAKES_LOG | FL_TAKES_STRICT | FL_TAKES_DUMP | FL_TAKES_FOLD};
    fl_verb_options o;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (!o.data)
        return fl_verb_wrong(verb.name, "--data PATH is needed: the labelled rows");
    fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    return fl_verb_end(infer(&o, &dg), &dg);
}
