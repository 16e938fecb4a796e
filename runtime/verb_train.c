/* verb_train.c -- `flenrt train`: a model and rows to a trained model. */
#include "runtime/verbs_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/bytes.h"
#include "backend/backend.h"
#include "runtime/data_path.h"
#include "runtime/runners.h"
#include "runtime/tensor_train.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt train model.bin [--data PATH] [--valid PATH] [-o OUT] [--epochs N] [--batch N] [--resume FILE] [options]\n"
    "Trains the model on the rows of PATH and writes it, with its optimiser's state, to OUT (trained.bin). PATH is a file or a folder: slot\n"
    "text, comma text, CSV, or what `flenrt prepare` wrote, whose rows to validate are then used too. A model that has been\n"
    "trained goes on from its weights; one that was stopped amid an epoch, from where it stopped.\n"
    "\n"
    "  --data PATH               rows to train on (as the model's configuration says)\n"
    "  --valid PATH              labelled rows to validate on after each epoch. Without --data the configuration's\n"
    "  -o OUT                    written after each epoch; with keep_best after each epoch that is the best so far\n"
    "  --epochs N                passes over the data (as configured). With --resume: in all\n"
    "  --batch N                 rows of a step (as configured: batch_size, for PaddleRec thread_num times batch_size)\n"
    "  --seed N                  of first weights and dropout masks (as configured). Same seed, same rows: same bits\n"
    "  --checkpoint-steps N      write OUT after every N steps of an epoch too\n"
    "  --resume FILE             go on from FILE, which a stopped run of this model has left: the result has the same bits as if\n"
    "                            it had not been stopped\n"
    "  --log=plain|paddlerec     lines on standard error, or PaddleRec's on standard output (as configured)\n"
    "  --fold-tables=stored|off  at the end write OUT once more, with folded tables, as `flenrt fold` does (as compiled)\n"
    "  --strict                  the first row that cannot be read ends training\n"
    FL_HELP_THREADS FL_HELP_DUMP FL_HELP_ENGINE FL_HELP_COMMON
    "\n"
    "Ctrl-C finishes the step, saves and ends with status 130. A loss that is not a number ends with status 1 and names step, row and\n"
    "feature; nothing is saved over the last good file then.\n"
    "\n"
    "A model whose training step is an ONNX file's own takes tensors, as for `flenrt predict`, the step's inputs (labels too) among them; it saves at the end, and has no\n"
    "--valid, --resume and --checkpoint-steps. Training it again goes on from the state it has.\n"
    "\n"
    "  flenrt train model.bin --data rows.csv -o trained.bin --epochs 2\n"
    "  flenrt train model.bin --data rows.csv -o trained.bin --epochs 2 --resume trained.bin\n";

typedef struct arguments {
    const char *valid, *resume;
    int64_t epochs, checkpoint_steps; /* 0: not given */
    fl_fold_wish fold;
} arguments;

static bool take(void *arg, const char *name, char *value)
{
    arguments *a = arg;

    if (strcmp(name, "valid") == 0) {
        a->valid = value;
        return *value != 0;
    }
    if (strcmp(name, "resume") == 0) {
        a->resume = value;
        return *value != 0;
    }
    if (strcmp(name, "fold-tables") == 0)
        return fl_fold_wish_parse(value, &a->fold);
    if (strcmp(name, "checkpoint-steps") == 0)
        return fl_parse_size(value, 1, &a->checkpoint_steps);
    return fl_parse_size(value, 1, &a->epochs);
}

/* What one call holds until its end. */
typedef struct work {
    const fl_verb_options *o;
    const arguments *a;
    fl_session session;
    fl_train_log log;
    char *data, *valid, *interrupted; /* owned */
    fl_train_phase phase;
    fl_train_plan plan;
} work;

/* The first train runner of the configuration; NULL: an imported model. */
static const fl_runner *train_runner(const fl_manifest *m)
{
    for (uint32_t i = 0; i < m->n_runners; i++)
        if (m->runners[i].train && m->runners[i].n_phases > 0)
            return &m->runners[i];
    return NULL;
}

/* Whose rows: the command line's, or the configuration's first data set. In w->data and w->valid. */
static fl_status find_data(work *w, const fl_manifest *m, fl_diag *dg)
{
    const fl_runner *r = train_runner(m);
    const char *data = w->o->data ? w->o->data : r ? m->datasets[r->phases[0].dataset].data_path : NULL;
    const char *valid = w->a->valid ? w->a->valid : !w->o->data && r ? r->valid_path : NULL;
    bool prepared = false;

    if (!data)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "train: --data PATH is needed: the model's configuration names no data");
    FL_TRY(fl_data_path(data, FL_DATA_TRAIN, &w->data, &prepared, dg));
    if (valid)
        return fl_data_path(valid, FL_DATA_VALID, &w->valid, NULL, dg);
    if (prepared)
        FL_TRY(fl_data_path(data, FL_DATA_VALID, &w->valid, NULL, dg));
    if (w->valid && strcmp(w->valid, w->data) == 0) { /* prepared without a part to validate on */
        free(w->valid);
        w->valid = NULL;
    }
    return FL_OK;
}

static fl_status open_session(work *w, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(w->o, true);
    fl_model *m;

    FL_TRY(fl_model_open(w->o->model, 0, &m, dg));
    fl_status status = find_data(w, fl_model_manifest(m), dg);
    if (status == FL_OK && w->a->resume)
        status = fl_checkpoint_check(m, w->a->resume, dg);
    fl_model_free(m);
    FL_TRY(status);
    so.data = w->data;
    return fl_session_open(&w->session, w->a->resume ? w->a->resume : w->o->model, &so, dg);
}

/* What --epochs and the model's progress mean together. */
static int64_t last_epoch(const work *w, const fl_runner *r)
{
    fl_progress *p = &w->session.manifest->progress;
    int64_t epochs = w->a->epochs ? w->a->epochs : r ? r->epochs : 1;

    if (w->a->resume || p->epoch_step > 0)
        return epochs;
    p->rate_factor = 1;
    p->best_auc = p->valid_auc = p->valid_logloss = (double)NAN;
    p->epochs_without_gain = 0;
    return p->epochs + epochs;
}

static fl_status make_plan(work *w, fl_diag *dg)
{
    const fl_manifest *m = w->session.manifest;
    const fl_runner *r = train_runner(m);
    const char *output = w->o->output ? w->o->output : "trained.bin";
    fl_runner one = r ? *r : (fl_runner){.print_interval = 100, .plateau_factor = 1};
    fl_phase phase = {"train", 0, 1, false, 0};

    if (r)
        phase = r->phases[0];
    if (w->o->batch)
        phase.thread_num = 1;
    one.phases = &phase;
    one.n_phases = m->n_datasets > 0 ? 1 : 0;
    FL_TRY(fl_runner_plan(m, w->session.programs[FL_PROGRAM_TRAIN], &one, &w->phase, &w->plan, dg));
    if (one.n_phases == 0)
        w->phase = (fl_train_phase){"train", NULL, 512, 1, false};
    w->phase.path = w->data;
    w->phase.batch = w->o->batch ? w->o->batch : w->phase.batch;
    w->plan.phases = &w->phase;
    w->plan.n_phases = 1;
    w->plan.valid_path = w->valid;
    w->plan.strict = w->o->strict;
    w->plan.print = w->log.print;
    w->plan.auc_by_epoch = w->log.print != FL_PRINT_18;
    w->plan.watcher = &w->log.watcher;
    w->plan.stop = &fl_interrupted;
    if (m->progress.steps > 0 && (w->a->resume || m->progress.epoch_step > 0))
        w->plan.counters = w->session.model;
    w->plan.epochs = w->log.epochs = last_epoch(w, r);
    bool best = w->plan.keep_best && w->valid;
    if (asprintf(&w->interrupted, "%s%s", output, best ? ".interrupted" : "") < 0)
        return fl_out_of_memory(dg);
    w->plan.saves = (fl_train_saves){.model = output, .model_steps = w->a->checkpoint_steps, .interrupted = w->interrupted};
    return FL_OK;
}

static void print_epoch(void *arg, int64_t epoch, int64_t steps, double loss)
{
    const fl_verb_options *o = arg;

    if (o->json)
        printf("{\"event\":\"epoch\",\"epoch\":%lld,\"steps\":%lld,\"loss\":%.9g}\n", (long long)epoch, (long long)steps, loss);
    else if (!o->quiet)
        printf("epoch %lld: %lld steps, mean loss %.9g\n", (long long)epoch, (long long)steps, loss);
    fflush(stdout);
}

/* An imported training step on tensors. */
static fl_status train_tensors(work *w, fl_diag *dg)
{
    const char *output = w->o->output ? w->o->output : "trained.bin";
    fl_tensor_source source = {.path = w->data, .interpret = fl_interp_engine_new};
    fl_tensor_training t = {w->o->batch ? w->o->batch : 512, w->a->epochs ? w->a->epochs : 1, print_epoch, (void *)(uintptr_t)w->o, &fl_interrupted};
    fl_tensor_rows rows;

    if (w->valid || w->a->resume || w->a->checkpoint_steps)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "train: --valid, --resume and --checkpoint-steps need rows of data; this model takes tensors");
    fl_verb_catch_interrupts();
    FL_TRY(fl_tensor_rows_make(&rows, &w->session, FL_PROGRAM_TRAIN, &source, dg));
    fl_status status = fl_tensor_train(&t, &w->session, &rows, dg);
    fl_tensor_rows_deinit(&rows);
    if (status == FL_OK)
        status = fl_session_save(&w->session, output, NULL, 0, dg);
    if (status == FL_OK && w->o->json) {
        fputs("{\"event\":\"saved\",\"path\":", stdout);
        fl_json_string(stdout, output);
        puts("}");
    } else if (status == FL_OK) {
        fl_verb_notef("train: wrote %s", output);
    }
    return status;
}

static fl_status train(work *w, fl_diag *dg)
{
    fl_train_result result;

    FL_TRY(open_session(w, dg));
    if (fl_takes_tensors(&w->session))
        return train_tensors(w, dg);
    const fl_manifest *m = w->session.manifest;
    fl_train_log_init(&w->log, m->style, m->log, w->o->log, w->o->json, w->o->quiet);
    FL_TRY(make_plan(w, dg));
    if (m->progress.epochs >= w->plan.epochs) {
        fl_verb_notef("%s has been trained for %lld epochs already", w->a->resume ? w->a->resume : w->o->model, (long long)m->progress.epochs);
        return fl_session_save(&w->session, w->plan.saves.model, NULL, 0, dg);
    }
    if (strcmp(w->data, "-") == 0 && w->plan.epochs - m->progress.epochs > 1)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "train: standard input can be read once only: --epochs 1, or a file");
    fl_verb_catch_interrupts();
    fl_status status = fl_train(&w->session, &w->plan, &result, dg);
    if (status == FL_OK)
        fl_train_log_trained(&w->log, &result);
    else
        fl_train_log_stop(&w->log);
    free(result.saved);
    free(result.saved_inference);
    return status;
}

int fl_verb_train(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"valid", true}, {"epochs", true}, {"resume", true}, {"checkpoint-steps", true}, {"fold-tables", true}};
    arguments a = {0};
    fl_verb verb = {"train", help,
                    FL_TAKES_DATA | FL_TAKES_BATCH | FL_TAKES_THREADS | FL_TAKES_SEED | FL_TAKES_ENGINE | FL_TAKES_LOG | FL_TAKES_STRICT | FL_TAKES_DUMP | FL_TAKES_OUTPUT,
                    own, FL_COUNT(own), take, &a};
    fl_verb_options o;
    fl_diag dg;

    int done = fl_verb_parse(&verb, argc, argv, &o);
    if (done >= 0)
        return done;
    if (a.resume && o.has_seed)
        return fl_verb_wrong("train", "--seed and --resume exclude each other: the stopped run has its seed");
    work w = {.o = &o, .a = &a};
    fl_diag_init(&dg);
    fl_status status = train(&w, &dg);
    bool fold = status == FL_OK && fl_fold_wished(a.fold, w.session.manifest);
    fl_session_close(&w.session);
    fl_session_options so = fl_verb_session_options(&o, false);
    if (fold)
        status = fl_fold_trained(w.plan.saves.model, &so, &dg);
    free(w.data);
    free(w.valid);
    free(w.interrupted);
    return fl_verb_end(status, &dg);
}
