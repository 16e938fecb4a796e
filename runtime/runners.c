#include "runtime/runners.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data_path.h"
#include "runtime/logged_inference.h"
#include "runtime/metrics_dump.h"

typedef struct runs {
    const fl_run_options *o;
    fl_model *model;             /* the configuration's: runners, data sets */
    const fl_manifest *m;
    fl_train_log *log;
    fl_arena paths;
} runs;

/* What a path of the configuration means (data_path.h); it lives as long as the run. */
static fl_status data_path(runs *u, const char *path, fl_data_part part, const char **out, fl_diag *dg)
{
    char *found;

    FL_TRY(fl_data_path(path, part, &found, NULL, dg));
    *out = fl_arena_strndup(&u->paths, found, strlen(found));
    free(found);
    return *out ? FL_OK : fl_out_of_memory(dg);
}

/* ------------------------------------------------------------------------------------------------- training */

/* Gradients are multiplied by a number that was compiled into the program: 1, or the copies that are summed. */
static fl_status check_gradients(const fl_graph *train, const fl_phase *p, fl_diag *dg)
{
    const char *text = train ? fl_graph_get_meta(train, "ai.flen.gradient_copies") : NULL;
    long long has = text ? strtoll(text, NULL, 10) : 1, wants = p->gradient_scale == 1 ? (long long)p->thread_num : 1;

    return has == wants ? FL_OK
                        : fl_error(dg, FL_E_GRADIENT_SUM, FL_NOWHERE, "phase \"%s\" wants gradients of %lld copies summed, the model was compiled for %lld", p->name,
                                   wants, has);
}

fl_status fl_runner_plan(const fl_manifest *m, const fl_graph *train, const fl_runner *r, fl_train_phase *phases, fl_train_plan *plan, fl_diag *dg)
{
    for (uint32_t i = 0; i < r->n_phases; i++) {
        const fl_phase *p = &r->phases[i];
        FL_TRY(check_gradients(train, p, dg));
        phases[i] = (fl_train_phase){p->name, m->datasets[p->dataset].data_path, m->datasets[p->dataset].batch_size, p->thread_num, p->shuffle_filelist};
    }
    *plan = (fl_train_plan){.phases = phases, .n_phases = r->n_phases, .valid_path = r->valid_path, .patience = r->patience,
                            .plateau_factor = r->plateau_factor, .min_rate_factor = r->min_rate_factor, .keep_best = r->keep_best,
                            .print_interval = r->print_interval, .epochs = r->epochs};
    return FL_OK;
}

static fl_status plan_saves(const fl_runner *r, fl_train_saves *s, char **owned, fl_diag *dg)
{
    bool infers = r->n_feed_names > 0 && r->n_fetch_names > 0;

    if (infers && !r->save_inference_path)
        return fl_error(dg, FL_E_RUNNER, FL_NOWHERE, "runner \"%s\" names values of an inference model, but no \"save_inference_path\"", r->name);
    *s = (fl_train_saves){.folder = r->save_checkpoint_path, .every = r->save_checkpoint_interval,
                          .inference_folder = infers ? r->save_inference_path : NULL, .inference_every = r->save_inference_interval,
                          .step_folder = r->save_step_path, .every_steps = r->save_step_interval};
    const char *beside = r->save_checkpoint_path ? r->save_checkpoint_path : ".";
    if (asprintf(&owned[0], "%s/interrupted.bin", beside) < 0)
        return fl_out_of_memory(dg);
    s->interrupted = owned[0];
    if (!r->keep_best || !r->valid_path || !r->save_checkpoint_path)
        return FL_OK;
    if (asprintf(&owned[1], "%s/model.bin", beside) < 0) /* one file, not one for each epoch */
        return fl_out_of_memory(dg);
    s->model = owned[1];
    s->folder = NULL;
    return FL_OK;
}

static void head_of_training(runs *u, const fl_runner *r)
{
    static const char *const lines[] = {"Executor Mode: train", "processor_register begin", "Running SingleInstance.", "Running SingleNetwork."};
    static const char stars[] = "**************common.configs**********";
    const fl_dataset *data = &u->m->datasets[r->phases[0].dataset];

    if (u->log->kind == FL_LOG_PADDLEREC_18) {
        fl_train_log_line(u->log, "PaddleRec: Runner %s Begin", r->name);
        for (size_t i = 0; i < FL_COUNT(lines); i++)
            fl_train_log_line(u->log, "%s", lines[i]);
        fl_train_log_datasets(u->log, u->m);
        fl_train_log_line(u->log, "Running SingleStartup.");
        fl_train_log_line(u->log, "Running SingleRunner.");
    } else if (u->log->kind == FL_LOG_PADDLEREC_2) {
        fl_train_log_line(u->log, "%s", stars);
        fl_train_log_line(u->log, "use_gpu: False, use_xpu: False, use_npu: False, use_visual: False, train_batch_size: %lld, train_data_dir: %s, epochs: %lld, "
                          "print_interval: %lld, model_save_path: %s", (long long)data->batch_size, data->data_path, (long long)r->epochs,
                          (long long)r->print_interval, r->save_checkpoint_path);
        fl_train_log_line(u->log, "%s", stars);
        fl_train_log_line(u->log, "read data");
    }
}

/* `init_model_path`: the weights, optimiser state and counters to start from. */
static fl_status start_from(runs *u, fl_session *s, const fl_runner *r, fl_model **from, fl_train_plan *plan, fl_diag *dg)
{
    if (!*from)
        return FL_OK;
    fl_train_log_line(u->log, u->log->kind == FL_LOG_PADDLEREC_2 ? "start load model from %s" : "going to load  %s", r->init_model_path);
    FL_TRY(fl_session_start_from(s, *from, dg));
    plan->counters = *from;
    s->manifest->progress.steps = fl_model_manifest(*from)->progress.steps;
    s->manifest->progress.rows = fl_model_manifest(*from)->progress.rows;
    if (u->log->kind == FL_LOG_PADDLEREC_18)
        fl_train_log_line(u->log, "load from %s success", r->init_model_path);
    return FL_OK;
}

/* A run of its own starts at epoch 0, whatever the model has behind it. */
static void begin_progress(fl_progress *p)
{
    fl_manifest fresh;

    fl_manifest_init(&fresh);
    fresh.progress.steps = p->steps;
    fresh.progress.rows = p->rows;
    *p = fresh.progress;
    fl_manifest_deinit(&fresh);
}

/* *result: the caller frees what was saved. */
static fl_status run_training(runs *u, fl_session *s, const fl_runner *r, fl_model **from, bool resumed, fl_train_result *result, fl_diag *dg)
{
    fl_train_phase *phases = calloc(r->n_phases, sizeof *phases);
    char *owned[2] = {NULL, NULL};
    fl_metrics_dump dump;
    fl_train_plan plan;

    fl_status status = phases ? fl_runner_plan(u->m, s->programs[FL_PROGRAM_TRAIN], r, phases, &plan, dg) : fl_out_of_memory(dg);
    for (uint32_t i = 0; status == FL_OK && i < r->n_phases; i++)
        status = data_path(u, phases[i].path, FL_DATA_TRAIN, &phases[i].path, dg);
    if (status == FL_OK && plan.valid_path)
        status = data_path(u, plan.valid_path, FL_DATA_VALID, &plan.valid_path, dg);
    if (status == FL_OK)
        status = plan_saves(r, &plan.saves, owned, dg);
    if (status == FL_OK && !resumed)
        begin_progress(&s->manifest->progress);
    if (status == FL_OK)
        status = start_from(u, s, r, from, &plan, dg);
    fl_metrics_dump_init(&dump, &u->log->watcher, r->result_dump_path);
    dump.by_epoch = true;
    if (status == FL_OK) {
        plan.strict = u->o->strict;
        plan.print = u->log->print;
        plan.always_auc = r->result_dump_path != NULL;
        plan.auc_by_epoch = u->log->print != FL_PRINT_18;
        plan.watcher = &dump.watcher;
        plan.stop = u->o->stop;
        if (resumed)
            plan.counters = s->model;
        u->log->epochs = r->epochs;
        status = fl_train(s, &plan, result, dg);
    }
    if (status == FL_OK)
        status = fl_metrics_dump_status(&dump, dg);
    if (status == FL_OK)
        fl_train_log_trained(u->log, result);
    else
        fl_train_log_stop(u->log);
    fl_metrics_dump_deinit(&dump);
    free(owned[0]);
    free(owned[1]);
    free(phases);
    return status;
}

bool fl_fold_wish_parse(const char *text, fl_fold_wish *out)
{
    *out = strcmp(text, "stored") == 0 ? FL_FOLD_STORED : FL_FOLD_OFF;
    return *out == FL_FOLD_STORED || strcmp(text, "off") == 0;
}

bool fl_fold_wished(fl_fold_wish wish, const fl_manifest *m)
{
    return wish == FL_FOLD_STORED || (wish == FL_FOLD_AS_CONFIGURED && m->store_folds);
}

fl_status fl_fold_trained(const char *path, const fl_session_options *options, fl_diag *dg)
{
    fl_session_options o = *options;
    uint64_t bytes = 0;
    char text[160];

    if (!path)
        return FL_OK;
    o.dump = NULL;
    FL_TRY(fl_session_store_folds(path, path, &o, &bytes, dg));
    if (bytes == 0)
        snprintf(text, sizeof text, "%.100s has nothing to fold", path);
    else
        snprintf(text, sizeof text, "%.100s holds %.1f MB of folded tables", path, (double)bytes / 1e6);
    if (o.note)
        o.note(text);
    return FL_OK;
}

static fl_status train(runs *u, const fl_runner *r, const char *resume, fl_diag *dg)
{
    fl_session_options so = u->o->session;
    fl_model *from = NULL;
    fl_train_result result = {0};
    fl_session s;
    char *file = NULL;

    if (resume)
        FL_TRY(fl_checkpoint_check(u->model, resume, dg));
    if (r->init_model_path && !resume) {
        FL_TRY(fl_model_locate(r->init_model_path, &file, dg));
        fl_status status = fl_model_open(file, 0, &from, dg);
        free(file);
        FL_TRY(status);
    }
    so.train = true;
    so.data = u->m->datasets[r->phases[0].dataset].data_path;
    so.vocabulary_of = from;
    fl_status status = fl_session_open(&s, resume ? resume : u->o->model, &so, dg);
    if (status == FL_OK) {
        head_of_training(u, r);
        status = run_training(u, &s, r, &from, resume != NULL, &result, dg);
        fl_session_close(&s);
    }
    fl_model_free(from);
    if (status == FL_OK && fl_fold_wished(u->o->fold, u->m))
        status = fl_fold_trained(result.saved, &u->o->session, dg);
    if (status == FL_OK && fl_fold_wished(u->o->fold, u->m) && result.saved_inference)
        status = fl_fold_trained(result.saved_inference, &u->o->session, dg);
    free(result.saved);
    free(result.saved_inference);
    if (status == FL_OK && u->log->kind == FL_LOG_PADDLEREC_18)
        fl_train_log_line(u->log, "PaddleRec Finish");
    return status;
}

/* ------------------------------------------------------------------------------------------------- inference */

/* Models that an infer runner takes. */
typedef struct model_list {
    char **names; /* of sub-folders; NULL: the path itself */
    uint32_t n;
} model_list;

static void free_list(model_list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->names[i]);
    free(l->names);
}

/* Epochs by number, then other names by text. */
static int by_number(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    char *x_end, *y_end;
    long long nx = strtoll(x, &x_end, 10), ny = strtoll(y, &y_end, 10);

    if (!*x_end != !*y_end)
        return *x_end ? 1 : -1;
    if (!*x_end && nx != ny)
        return nx < ny ? -1 : 1;
    return strcmp(x, y);
}

static bool has_model(const char *folder, const char *name)
{
    char *path = NULL;
    struct stat st;
    bool has = asprintf(&path, name ? "%s/%s/model.bin" : "%s%.0s/model.bin", folder, name ? name : "") >= 0 && stat(path, &st) == 0;

    free(path);
    return has;
}

/* Sub-folders with a model. PaddleRec takes them in the order of the file system; here it is that of the epochs. */
static fl_status list_models(const char *folder, model_list *l, fl_diag *dg)
{
    DIR *dir = opendir(folder);
    fl_status status = FL_OK;

    *l = (model_list){NULL, 0};
    for (struct dirent *e; dir && status == FL_OK && (e = readdir(dir));) {
        if (e->d_name[0] == '.' || !has_model(folder, e->d_name))
            continue;
        char **grown = realloc(l->names, (l->n + 1) * sizeof *grown);
        l->names = grown ? grown : l->names;
        if (grown)
            grown[l->n] = strdup(e->d_name);
        if (!grown || !grown[l->n])
            status = fl_out_of_memory(dg);
        else
            l->n++;
    }
    if (dir)
        closedir(dir);
    if (l->n > 1)
        qsort(l->names, l->n, sizeof *l->names, by_number);
    if (status != FL_OK)
        free_list(l);
    return status;
}

/* Where the run keeps its best model, that one is meant, and not what earlier runs have left in sub-folders. */
static bool keeps_best_there(const runs *u, const char *path)
{
    for (uint32_t i = 0; i < u->m->n_runners; i++) {
        const fl_runner *r = &u->m->runners[i];
        if (r->train && r->keep_best && r->valid_path && r->save_checkpoint_path && strcmp(r->save_checkpoint_path, path) == 0)
            return has_model(path, NULL);
    }
    return false;
}

/* A checkpoint of another configuration would be evaluated on rows that it does not understand. */
static fl_status check_same(const fl_manifest *m, const fl_session *s, fl_diag *dg)
{
    const fl_schema *a = &m->schema, *b = &s->manifest->schema;
    bool same = strcmp(m->network ? m->network : "", s->manifest->network ? s->manifest->network : "") == 0 && a->n_slots == b->n_slots;

    for (uint32_t i = 0; same && i < a->n_slots; i++)
        same = strcmp(a->slots[i].name, b->slots[i].name) == 0 && a->slots[i].pooling == b->slots[i].pooling;
    return same ? FL_OK
                : fl_error(dg, FL_E_INIT_MODEL, FL_FILE(fl_model_path(s->model)), "it is a model of another configuration: network or slots are not this one's");
}

typedef struct infer_run {
    runs *u;
    const fl_runner *r;
    fl_bucket_auc *auc; /* PaddleRec 2.x: goes on over the epochs; NULL: by model */
} infer_run;

static fl_status infer_phases(const infer_run *n, fl_session *s, const char *path, const char *epoch, fl_diag *dg)
{
    runs *u = n->u;

    for (uint32_t i = 0; i < n->r->n_phases; i++) {
        const fl_phase *p = &n->r->phases[i];
        const fl_dataset *data = &u->m->datasets[p->dataset];
        fl_logged_inference o = {.phase = p->name, .epoch = epoch, .batch = data->batch_size, .print_interval = n->r->print_interval,
                                 .strict = u->o->strict, .stop = u->o->stop, .log = u->log, .auc = n->auc, .dump = n->r->result_dump_path};
        const char *rows;
        fl_evaluation e;
        FL_TRY(data_path(u, data->data_path, FL_DATA_VALID, &rows, dg));
        if (u->log->kind == FL_LOG_PADDLEREC_2) {
            fl_train_log_line(u->log, "load model epoch %s", epoch);
            fl_train_log_line(u->log, "start load model from %s", path);
        } else {
            fl_train_log_line(u->log, "load persistables from %s", path);
        }
        FL_TRY(fl_infer_logged(s, rows, &o, &e, dg));
        if (!e.finite)
            return fl_error(dg, FL_E_NOT_FINITE, FL_FILE(fl_model_path(s->model)), "predictions are not finite: the model has NaN or infinite weights");
        if (n->auc && n->r->use_auc)
            fl_bucket_auc_clear(n->auc);
    }
    return FL_OK;
}

/* One model, the folder or file `path`. */
static fl_status infer_model(const infer_run *n, const char *path, const char *epoch, fl_diag *dg)
{
    fl_session_options so = n->u->o->session;
    fl_session s;
    char *file;

    FL_TRY(fl_model_locate(path, &file, dg));
    so.train = false;
    fl_status status = fl_session_open(&s, file, &so, dg);
    free(file);
    FL_TRY(status);
    status = check_same(n->u->m, &s, dg);
    if (status == FL_OK)
        status = infer_phases(n, &s, path, epoch, dg);
    fl_session_close(&s);
    return status;
}

static fl_status infer_inside(const infer_run *n, const char *folder, const char *name, fl_diag *dg)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fl_out_of_memory(dg);
    fl_status status = infer_model(n, path, name, dg);
    free(path);
    return status;
}

static fl_status infer_18(const infer_run *n, fl_diag *dg)
{
    const char *path = n->r->init_model_path;
    model_list l = {NULL, 0};
    fl_status status = FL_OK;

    if (!path)
        return fl_error(dg, FL_E_RUNNER, FL_NOWHERE, "runner \"%s\" has no model to infer with: \"init_model_path\" is missing", n->r->name);
    fl_log_infer_head(n->u->log, n->u->m, n->r->name);
    if (!keeps_best_there(n->u, path))
        status = list_models(path, &l, dg);
    if (status == FL_OK && l.n == 0)
        status = infer_model(n, path, path, dg);
    for (uint32_t i = 0; status == FL_OK && i < l.n; i++)
        status = infer_inside(n, path, l.names[i], dg);
    free_list(&l);
    if (status == FL_OK && n->u->log->kind == FL_LOG_PADDLEREC_18)
        fl_train_log_line(n->u->log, "PaddleRec Finish");
    return status;
}

/* Epochs infer_start_epoch up to infer_end_epoch, those that were saved. */
static fl_status infer_2(infer_run *n, fl_diag *dg)
{
    static const char stars[] = "**************common.configs**********";
    const fl_runner *r = n->r;
    const fl_dataset *data = &n->u->m->datasets[r->phases[0].dataset];
    fl_train_log *log = n->u->log;
    fl_bucket_auc auc = {0};
    int64_t found = 0;
    char name[32];

    fl_train_log_line(log, "%s", stars);
    fl_train_log_line(log, "use_gpu: False, use_xpu: False, use_npu: False, use_visual: False, infer_batch_size: %lld, test_data_dir: %s, start_epoch: %lld, "
                      "end_epoch: %lld, print_interval: %lld, model_load_path: %s", (long long)data->batch_size, data->data_path,
                      (long long)r->infer_start_epoch, (long long)r->infer_end_epoch, (long long)r->print_interval, r->init_model_path);
    fl_train_log_line(log, "%s", stars);
    fl_train_log_line(log, "read data");
    if (fl_bucket_auc_init(&auc, fl_auc_thresholds(n->u->m->style), FL_AUC_WINDOW) != FL_OK)
        return fl_out_of_memory(dg);
    n->auc = &auc;
    fl_status status = FL_OK;
    for (int64_t e = r->infer_start_epoch; status == FL_OK && e < r->infer_end_epoch; e++) {
        snprintf(name, sizeof name, "%lld", (long long)e);
        if (!has_model(r->init_model_path, name))
            continue;
        found++;
        status = infer_inside(n, r->init_model_path, name, dg);
    }
    fl_bucket_auc_deinit(&auc);
    if (status == FL_OK && found == 0)
        status = fl_error(dg, FL_E_INIT_MODEL, FL_FILE(r->init_model_path), "no epoch from %lld to %lld has been saved here", (long long)r->infer_start_epoch,
                          (long long)r->infer_end_epoch - 1);
    return status;
}

/* --------------------------------------------------------------------------------------------------- in order */

static fl_status run_all(runs *u, fl_diag *dg)
{
    const char *resume = u->o->resume;

    if (u->m->n_runners == 0) {
        (void)fl_error(dg, FL_E_RUNNER, FL_FILE(u->o->model), "no runner came with the model: it was not compiled from a configuration");
        fl_hint(dg, u->m->schema.n_slots ? "`flenrt train`, `infer` and `predict` work with any model" : "`flenrt predict`, `bench` and `eval` work with an imported model");
        return FL_BAD_INPUT;
    }
    for (uint32_t i = 0; i < u->m->n_runners; i++) {
        const fl_runner *r = &u->m->runners[i];
        infer_run n = {u, r, NULL};
        for (uint32_t p = 0; p < r->n_phases; p++)
            if (!u->m->datasets[r->phases[p].dataset].data_path)
                return fl_error(dg, FL_E_RUNNER, FL_FILE(u->o->model), "the configuration names no data for runner \"%s\"", r->name);
        if (r->n_phases == 0)
            return fl_error(dg, FL_E_RUNNER, FL_FILE(u->o->model), "runner \"%s\" has no phase to run", r->name);
        if (r->train)
            FL_TRY(train(u, r, resume, dg));
        else
            FL_TRY(u->m->style == FL_STYLE_PADDLEREC_2 ? infer_2(&n, dg) : infer_18(&n, dg));
        resume = r->train ? NULL : resume;
    }
    return FL_OK;
}

fl_status fl_run_runners(const fl_run_options *o, fl_diag *dg)
{
    fl_train_log log;
    runs u = {.o = o, .log = &log};

    FL_TRY(fl_model_open(o->model, 0, &u.model, dg));
    u.m = fl_model_manifest(u.model);
    fl_train_log_init(&log, u.m->style, u.m->log, o->log, o->json, o->quiet);
    fl_arena_init(&u.paths);
    fl_status status = run_all(&u, dg);
    fl_arena_deinit(&u.paths);
    fl_model_free(u.model);
    return status;
}
