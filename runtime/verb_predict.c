/* verb_predict.c -- `flenrt predict`: one line of CSV a row, in input order. */
#include "runtime/verbs_model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "runtime/aside_file.h"
#include "runtime/data_path.h"
#include "runtime/inference.h"
#include "runtime/tensor_predict.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt predict model.bin --data PATH [--logit] [-o FILE] [options]\n"
    "\n"
    "Writes CSV with the header `row,probability`: for each row of PATH its number, counted from 0, and the probability of a\n"
    "click, 9 significant digits. Labels are not needed. A row that cannot be read keeps its number, has an empty probability and is\n"
    "reported. PATH is a file, a folder or - for standard input, of slot text, comma text, CSV by the model's schema (values\n"
    "never seen in training are fine) or the binary cache.\n"
    "\n"
    "Of an imported model all outputs are written: `row,OUTPUT,...`, an output of several numbers a row as OUTPUT.0, OUTPUT.1, ... PATH is a\n"
    "folder with NAME.npy for each input, one .npy file where there is one input, or lines of numbers between commas or tabs: with a header that\n"
    "names columns NAME or NAME.0, NAME.1, ... (others are passed over), or without one, all inputs' numbers in order. `flenrt info` lists inputs.\n"
    "\n"
    "  --logit                   a third column `logit`: the log of the odds\n"
    "  -o, --output FILE         write there, whole or not at all; default: standard output\n"
    "  --strict                  stop at the first row that cannot be read\n"
    "  --batch N                 rows of a run, default 1024; changes nothing but speed\n"
    "  --dim NAME=N,...          lines for an imported model: extents of dimensions beside the batch\n" FL_HELP_THREADS FL_HELP_FOLD FL_HELP_DUMP FL_HELP_ENGINE
    "  --json                    instead of CSV one object a row, and `done` at the end\n"
    "  --quiet                   no notes on standard error\n"
    "\n"
    "example: flenrt predict trained.bin --data tomorrow.csv > p.csv\n";

typedef struct prediction {
    FILE *f;
    const char *model, *extents;
    bool logit, json, begun;
    int error; /* of the write that failed: the stream remembers only that one did */
} prediction;

static fl_status print_rows(void *arg, const fl_batch *b, const float *logit, const float *probability, fl_diag *dg)
{
    prediction *p = arg;

    if (!p->json && !p->begun)
        fputs(p->logit ? "row,probability,logit\n" : "row,probability\n", p->f);
    p->begun = true;
    /* A stream remembers that it failed, and fl_aside_finish asks it; but a full disk must not be written to for an hour. */
    for (int64_t i = 0; i < b->n && !ferror(p->f); i++) {
        long long row = b->row[i];
        if (!b->bad[i] && !isfinite(logit[i]))
            return fl_error(dg, FL_E_NOT_FINITE, FL_FILE(p->model), "the prediction of row %lld is not finite: the model has NaN or infinite weights", row);
        if (p->json && b->bad[i])
            fprintf(p->f, "{\"event\":\"row\",\"row\":%lld,\"probability\":null}\n", row);
        else if (p->json)
            fprintf(p->f, "{\"event\":\"row\",\"row\":%lld,\"probability\":%.9g,\"logit\":%.9g}\n", row, (double)probability[i], (double)logit[i]);
        else if (b->bad[i])
            fprintf(p->f, p->logit ? "%lld,,\n" : "%lld,\n", row);
        else if (p->logit)
            fprintf(p->f, "%lld,%.9g,%.9g\n", row, (double)probability[i], (double)logit[i]);
        else
            fprintf(p->f, "%lld,%.9g\n", row, (double)probability[i]);
    }
    if (!ferror(p->f))
        return FL_OK;
    p->error = errno;
    return FL_IO;
}

/* An imported model: rows of tensors, and whatever outputs it has. */
static fl_status predict_tensors(const fl_verb_options *o, prediction *p, fl_session *s, fl_diag *dg)
{
    fl_tensor_source source = {.extents = p->extents, .path = o->data, .interpret = fl_interp_engine_new};
    fl_tensor_prediction n = {.batch = o->batch, .json = p->json, .stop = &fl_interrupted};
    fl_tensor_rows rows;
    fl_aside file;

    if (!s->programs[FL_PROGRAM_PREDICT])
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(o->model), "the model has no predict program");
    if (p->logit)
        return fl_error(dg, FL_E_EVAL_INPUT, FL_FILE(o->model), "--logit: an imported model has the outputs that it has; all are written");
    FL_TRY(fl_tensor_rows_make(&rows, s, FL_PROGRAM_PREDICT, &source, dg));
    fl_status status = fl_aside_open(&file, o->output ? o->output : "-", dg);
    if (status == FL_OK) {
        n.f = file.f;
        status = fl_tensor_predict(&n, s, &rows, dg);
        if (status == FL_OK)
            status = fl_aside_finish(&file, dg);
        else
            fl_aside_abandon(&file);
    }
    fl_tensor_rows_deinit(&rows);
    return status;
}

static fl_status predict_to(const fl_verb_options *o, prediction *p, fl_session *s, const char *path, fl_diag *dg)
{
    fl_inference_result r;
    fl_inference n = {.batch = o->batch, .keep_bad_rows = true, .strict = o->strict, .stop = &fl_interrupted, .each = print_rows, .arg = p};
    fl_aside file;

    FL_TRY(fl_aside_open(&file, o->output ? o->output : "-", dg));
    p->f = file.f;
    fl_status status = fl_infer(s, path, &n, &r, dg);
    if (status == FL_OK && p->json)
        fprintf(p->f, "{\"event\":\"done\",\"rows\":%lld,\"bad_rows\":%lld,\"seconds\":%.6f,\"samples_per_second\":%.0f,\"wait_seconds\":%.6f}\n", (long long)r.rows.rows,
                (long long)r.rows.bad_rows, r.seconds, r.seconds > 0 ? (double)r.rows.rows / r.seconds : 0, r.rows.wait_seconds);
    if (status == FL_OK)
        return fl_aside_finish(&file, dg);
    if (p->error)
        status = fl_error(dg, FL_E_WRITE, FL_FILE(file.path ? file.path : "standard output"), "cannot write: %s", strerror(p->error));
    fl_aside_abandon(&file);
    return status;
}

static fl_status predict(const fl_verb_options *o, prediction *p, fl_diag *dg)
{
    fl_session s;
    char *path;

    FL_TRY(fl_data_path(o->data, FL_DATA_VALID, &path, NULL, dg));
    fl_status status = fl_verb_session(o, false, &s, dg);
    if (status == FL_OK && fl_takes_tensors(&s)) {
        status = predict_tensors(o, p, &s, dg);
        fl_session_close(&s);
    } else if (status == FL_OK) {
        if (strcmp(path, o->data) != 0)
            fl_verb_notef("predict: rows of %s", path);
        status = predict_to(o, p, &s, path, dg);
        fl_session_close(&s);
    }
    free(path);
    return status;
}

static bool take(void *arg, const char *name, char *value)
{
    prediction *p = arg;
    if (strcmp(name, "dim") == 0)
        p->extents = value;
    else
        p->logit = true;
    return !value || *value;
}

int fl_verb_predict(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"logit", false}, {"dim", true}};
    prediction p = {0};
    fl_verb verb = {"predict", help, FL_TAKES_DATA | FL_TAKES_BATCH | FL_TAKES_THREADS | FL_TAKES_ENGINE | FL_TAKES_STRICT | FL_TAKES_DUMP | FL_TAKES_OUTPUT | FL_TAKES_FOLD,
                    own, FL_COUNT(own), take, &p};
    fl_verb_options o;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (!o.data)
        return fl_verb_wrong(verb.name, "--data PATH is needed: the rows");
    p.json = o.json;
    p.model = o.model;
    if (o.output)
        fl_verb_catch_interrupts(); /* what is half-written goes away */
    else
        fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    return fl_verb_end(predict(&o, &p, &dg), &dg);
}
