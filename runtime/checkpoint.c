#include "runtime/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVAL_ENTRY      "epoch_scores.bin"
#define NEGATIVES_ENTRY "epoch_negatives.bin"
#define POSITIVES_ENTRY "epoch_positives.bin"

uint32_t fl_auc_thresholds(fl_config_style style)
{
    return style == FL_STYLE_PADDLEREC_2 ? 4095 : 4096;
}

/* ------------------------------------------------------------------------------------------------ counters */

/* What stands beside the scores of an epoch. The scores themselves are entries of their own, so that they are not copied to be saved. */
typedef struct eval_head {
    char magic[8];
    int64_t n[2];
    double loss_sum;
    uint32_t binned, not_finite;
} eval_head;

static const char eval_magic[8] = {'f', 'l', 'e', 'n', 'e', 'v', 'a', '1'};

static size_t scores_bytes(const eval_head *h, int class)
{
    return h->binned ? FL_EVAL_BINS * sizeof(int64_t) : (size_t)h->n[class] * sizeof(float);
}

/* e NULL: the entries that are to be no more. */
static uint32_t eval_entries(const fl_eval *e, eval_head *head, fl_model_entry_source *out)
{
    static const char *const names[2] = {NEGATIVES_ENTRY, POSITIVES_ENTRY};

    if (!e) {
        out[0] = (fl_model_entry_source){EVAL_ENTRY, NULL, 0};
        for (int c = 0; c < 2; c++)
            out[1 + c] = (fl_model_entry_source){names[c], NULL, 0};
        return 3;
    }
    *head = (eval_head){.n = {e->n[0], e->n[1]}, .loss_sum = e->loss_sum, .binned = !fl_eval_is_exact(e), .not_finite = e->not_finite};
    memcpy(head->magic, eval_magic, sizeof head->magic);
    out[0] = (fl_model_entry_source){EVAL_ENTRY, head, sizeof *head};
    for (int c = 0; c < 2; c++) {
        const void *bytes = head->binned ? (const void *)e->bins[c] : e->scores[c];
        out[1 + c] = (fl_model_entry_source){names[c], bytes ? bytes : "", scores_bytes(head, c)};
    }
    return 3;
}

static fl_status damaged(fl_model *m, const char *entry, fl_diag *dg)
{
    return fl_error(dg, FL_E_RESUME, FL_FILE(fl_model_path(m)), "its part %s does not hold the scores of an epoch", entry);
}

static fl_status load_eval(fl_model *m, fl_eval *e, fl_diag *dg)
{
    static const char *const names[2] = {NEGATIVES_ENTRY, POSITIVES_ENTRY};
    size_t n = 0;
    const void *bytes = fl_model_entry(m, EVAL_ENTRY, &n); /* small: checked at opening */
    eval_head head;

    if (!bytes)
        return FL_OK;
    if (n != sizeof head)
        return damaged(m, EVAL_ENTRY, dg);
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, eval_magic, sizeof eval_magic) != 0 || head.n[0] < 0 || head.n[1] < 0)
        return damaged(m, EVAL_ENTRY, dg);
    fl_eval_clear(e);
    for (int c = 0; c < 2; c++) {
        bytes = fl_model_entry(m, names[c], &n);
        if (!bytes || head.n[c] > INT64_MAX / 8 || n != scores_bytes(&head, c))
            return damaged(m, names[c], dg);
        FL_TRY(fl_model_verify_entry(m, names[c], dg));
        void *copy = malloc(n + 1);
        if (!copy)
            return fl_out_of_memory(dg);
        memcpy(copy, bytes, n);
        free(e->scores[c]);
        e->scores[c] = head.binned ? NULL : copy;
        e->bins[c] = head.binned ? copy : NULL;
        e->capacity[c] = head.binned ? 0 : head.n[c];
        e->n[c] = head.n[c];
    }
    e->loss_sum = head.loss_sum;
    e->not_finite = head.not_finite != 0;
    return FL_OK;
}

fl_status fl_checkpoint_counters(fl_model *m, fl_bucket_auc *auc, fl_eval *eval, fl_diag *dg)
{
    size_t n = 0;
    const void *bytes = fl_model_entry(m, FL_AUC_ENTRY, &n);

    FL_TRY(fl_model_verify_entry(m, FL_AUC_ENTRY, dg));
    if (bytes && !fl_bucket_auc_load(auc, bytes, n))
        return fl_error(dg, FL_E_AUC_STATE, FL_FILE(fl_model_path(m)), "the AUC counters (entry " FL_AUC_ENTRY ") are not of this form, or not such as counting leaves");
    return eval ? load_eval(m, eval, dg) : FL_OK;
}

/* -------------------------------------------------------------------------------------------------- saving */

static fl_status make_folders(const char *path, fl_diag *dg)
{
    char *folder = strdup(path);

    if (!folder)
        return fl_out_of_memory(dg);
    for (char *slash = folder[0] ? strchr(folder + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
            fl_status status = fl_error(dg, FL_E_WRITE, FL_FILE(folder), "cannot make the folder: %s", strerror(errno));
            free(folder);
            return status;
        }
        *slash = '/';
    }
    free(folder);
    return FL_OK;
}

fl_status fl_save_place_check(const char *path, fl_diag *dg)
{
    const char *slash = strrchr(path, '/');
    struct stat st;

    FL_TRY(make_folders(path, dg));
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return fl_error(dg, FL_E_WRITE, FL_FILE(path), "cannot write a model here: this is a folder");
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return fl_out_of_memory(dg);
    fl_status status = FL_OK;
    if (access(folder, W_OK | X_OK) != 0)
        status = fl_error(dg, FL_E_WRITE, FL_FILE(path), "cannot write a model here: %s", strerror(errno));
    free(folder);
    return status;
}

fl_status fl_checkpoint_save(fl_session *s, const char *path, const fl_bucket_auc *auc, const fl_eval *eval, fl_diag *dg)
{
    fl_engine *train = s->engines[FL_PROGRAM_TRAIN];
    fl_model_entry_source entries[4];
    uint32_t n = 0;
    eval_head head;
    void *counters = NULL;

    FL_TRY(make_folders(path, dg));
    entries[n] = (fl_model_entry_source){FL_AUC_ENTRY, NULL, 0};
    if (auc) {
        counters = fl_bucket_auc_save(auc, &entries[n].n);
        if (!counters)
            return fl_out_of_memory(dg);
        entries[n].bytes = counters;
    }
    n++;
    n += eval_entries(s->manifest->progress.epoch_step > 0 ? eval : NULL, &head, entries + n);
    fl_status status = fl_session_save(s, path, entries, n, dg);
    free(counters);
    /* An engine that computes in more digits than are stored goes on from what is stored, as a resumed run will. */
    if (status == FL_OK && train)
        status = train->refresh(train, dg);
    return status;
}

static bool reads(const fl_graph *g, const char *name)
{
    return g && fl_graph_find(g, name) != FL_NONE;
}

fl_status fl_inference_save(fl_session *s, const char *path, fl_diag *dg)
{
    const fl_store *store = &s->variables.store;
    const fl_graph *prologue = s->programs[FL_PROGRAM_PROLOGUE];
    fl_model_content content = {.manifest = s->manifest};
    fl_model_entry_source entry = {FL_VOCABULARY_ENTRY, NULL, 0};

    FL_TRY(make_folders(path, dg));
    if (s->engines[FL_PROGRAM_TRAIN])
        FL_TRY(s->engines[FL_PROGRAM_TRAIN]->flush(s->engines[FL_PROGRAM_TRAIN], dg));
    FL_TRY(fl_model_source(s->model, &content.source, dg));
    content.programs[FL_PROGRAM_PREDICT] = s->programs[FL_PROGRAM_PREDICT];
    content.programs[FL_PROGRAM_PROLOGUE] = prologue;
    if (s->vocabulary) {
        FL_TRY(fl_model_verify_entry(s->model, FL_VOCABULARY_ENTRY, dg));
        entry.bytes = fl_vocabulary_bytes(s->vocabulary, &entry.n);
        content.entries = &entry;
        content.n_entries = 1;
    }
    fl_model_variable_source *list = calloc((size_t)store->n_vars + 1, sizeof *list);
    if (!list)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < store->n_vars; i++) {
        const fl_var *v = &store->vars[i];
        bool derived = false;
        for (uint32_t k = 0; prologue && k < prologue->n_updates; k++)
            derived |= strcmp(prologue->values[prologue->updates[k].variable].name, v->name) == 0;
        if (s->variables.has_values[i] && !derived &&
            (reads(s->programs[FL_PROGRAM_PREDICT], v->name) || reads(prologue, v->name) || reads(content.source, v->name)))
            list[content.n_variables++] = (fl_model_variable_source){v->name, v->type, v->data, v->stride};
    }
    content.variables = list;
    fl_status status = fl_model_save(path, &content, dg);
    free(list);
    return status;
}

/* ---------------------------------------------------------------------------------------- models to start from */

/* Whether a name is that of a file of PaddlePaddle's. */
static bool is_paddle_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return strcmp(name, "__model__") == 0 || (dot && (strcmp(dot, ".pdparams") == 0 || strcmp(dot, ".pdopt") == 0));
}

/* A variable file of Paddle's: u32 0, u64 number of LoD levels, u32 0, i32 length of a description. */
static bool is_paddle_file(const char *path)
{
    uint8_t head[16];
    FILE *f = fopen(path, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head;

    if (f)
        (void)fclose(f);
    for (int i = 0; is && i < 16; i++)
        is = i == 4 || head[i] == 0; /* few levels */
    return is;
}

static fl_status nothing_there(const char *path, fl_diag *dg)
{
    DIR *dir = opendir(path);
    bool paddle = false;

    if (!dir)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    for (struct dirent *e; !paddle && (e = readdir(dir));) {
        char *file = NULL;
        paddle = is_paddle_name(e->d_name);
        if (!paddle && e->d_name[0] != '.' && asprintf(&file, "%s/%s", path, e->d_name) >= 0) {
            paddle = is_paddle_file(file);
            free(file);
        }
    }
    closedir(dir);
    if (paddle)
        return fl_error(dg, FL_E_INIT_MODEL, FL_FILE(path), "the folder holds PaddlePaddle's own variable files, which are not read here");
    return fl_error(dg, FL_E_INIT_MODEL, FL_FILE(path), "the folder holds no model.bin");
}

fl_status fl_model_locate(const char *path, char **file, fl_diag *dg)
{
    struct stat st;
    char *found = NULL;

    if (stat(path, &st) != 0)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        if (is_paddle_name(path) || is_paddle_file(path))
            return fl_error(dg, FL_E_INIT_MODEL, FL_FILE(path), "this is a variable file of PaddlePaddle's, which is not read here");
        found = strdup(path);
    } else if (asprintf(&found, "%s/model.bin", path) < 0) {
        found = NULL;
    } else if (stat(found, &st) != 0) {
        free(found);
        return nothing_there(path, dg);
    }
    if (!found)
        return fl_out_of_memory(dg);
    *file = found;
    return FL_OK;
}

static void copy_rows(const fl_var *to, const fl_tensor *from)
{
    size_t size = fl_dtype_size(to->type.dtype), row = size;
    int64_t rows = to->type.rank > 0 ? to->type.dims[0] : 1;

    for (int d = 1; d < to->type.rank; d++)
        row *= (size_t)to->type.dims[d];
    for (int64_t i = 0; i < rows; i++)
        memcpy((uint8_t *)to->data + (size_t)(i * to->stride) * size, (const uint8_t *)from->bytes + (size_t)i * row, row);
}

fl_status fl_checkpoint_check(fl_model *m, const char *path, fl_diag *dg)
{
    fl_model *from;
    size_t n = 0, n_from = 0;

    FL_TRY(fl_model_open(path, 0, &from, dg));
    const void *forward = fl_model_entry(m, FL_FORWARD_ENTRY, &n), *forward_from = fl_model_entry(from, FL_FORWARD_ENTRY, &n_from);
    fl_status status = fl_model_verify_entry(m, FL_FORWARD_ENTRY, dg);
    if (status == FL_OK)
        status = fl_model_verify_entry(from, FL_FORWARD_ENTRY, dg);
    if (status == FL_OK && (n != n_from || (n > 0 && memcmp(forward, forward_from, n) != 0)))
        status = fl_error(dg, FL_E_RESUME, FL_FILE(path), "it does not hold a training run of %s: its network or optimiser is another", fl_model_path(m));
    fl_model_free(from);
    return status;
}

fl_status fl_session_start_from(fl_session *s, fl_model *from, fl_diag *dg)
{
    const fl_graph *source = NULL;

    FL_TRY(fl_model_source(s->model, &source, dg));
    for (uint32_t i = 0; i < s->variables.store.n_vars; i++) {
        const fl_var *v = &s->variables.store.vars[i];
        const fl_tensor *stored = fl_model_find_variable(from, v->name);
        if (!stored && reads(source, v->name))
            return fl_error(dg, FL_E_INIT_MODEL, FL_FILE(fl_model_path(from)), "it has no variable \"%s\", which this model needs", v->name);
        if (!stored)
            continue; /* optimiser state of another rule */
        if (!fl_type_equal(&stored->type, &v->type))
            return fl_error(dg, FL_E_INIT_MODEL, FL_FILE(fl_model_path(from)), "its variable \"%s\" has another shape than this model's", v->name);
        FL_TRY(fl_model_verify(from, v->name, dg));
        copy_rows(v, stored);
        s->variables.has_values[i] = true;
    }
    return FL_OK;
}
