/*
 * config.c -- reading a configuration: text to tree, overrides, the format that its keys show.
 */
#include "frontend/config.h"

#include "frontend/config_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 16 << 20 };

static const char *folder_of(fl_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    return slash == path ? "/" : fl_arena_strndup(a, path, (size_t)(slash - path));
}

static void read_tree(fl_reader *r, const fl_yaml *root)
{
    const fl_yaml *runner = fl_yaml_get(root, "runner");
    fl_manifest *m = &r->config->manifest;
    if (root->kind != FL_YAML_MAP) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, root->loc, "a configuration must be a map of keys");
    } else if (fl_yaml_get(root, "phase") || (runner && runner->kind == FL_YAML_LIST)) {
        m->style = FL_STYLE_PADDLEREC_18;
        m->log = "paddlerec";
        fl_config_read_paddlerec18(r, root);
    } else if (runner) {
        m->style = FL_STYLE_PADDLEREC_2;
        m->log = "paddlerec";
        fl_config_read_paddlerec2(r, root);
    } else {
        m->log = "plain";
        fl_config_read_flen(r, root);
    }
}

/*
 * Overrides. Datasets of PaddleRec 1.8 that the file gives the same data_path as the one whose path is overridden go along with it, unless
 * they are overridden themselves: PaddleRec's own files train and infer on one folder and write it twice.
 */
static fl_status apply_overrides(fl_reader *r, fl_yaml *root, const char *const *sets, uint32_t n_sets)
{
    const fl_yaml *list = fl_yaml_get(root, "dataset");
    uint32_t n = list && list->kind == FL_YAML_LIST ? list->n : 0;
    fl_yaml **before = fl_arena_new(r->arena, fl_yaml *, n + 1);
    if (!before)
        return fl_out_of_memory(r->dg);
    for (uint32_t i = 0; i < n; i++)
        before[i] = fl_yaml_get(list->items[i], "data_path");
    for (uint32_t i = 0; i < n_sets; i++) {
        const char *set = fl_arena_strndup(r->arena, sets[i], strlen(sets[i]));
        if (!set)
            return fl_out_of_memory(r->dg);
        if (fl_yaml_set(root, set, r->arena, r->dg) == FL_NO_MEMORY) /* a wrong one changes nothing: the others and the file are read all the same */
            return FL_NO_MEMORY;
    }
    if (fl_yaml_get(root, "dataset") != list)
        return FL_OK;
    for (uint32_t i = 0; i < n; i++) {
        fl_yaml *now = fl_yaml_get(list->items[i], "data_path");
        if (now == before[i] || !before[i] || before[i]->kind != FL_YAML_SCALAR)
            continue;
        for (uint32_t k = 0; k < n; k++) {
            fl_yaml_pair *other = (fl_yaml_pair *)(uintptr_t)fl_yaml_find(list->items[k], "data_path");
            if (!other || other->value != before[k] || before[k]->kind != FL_YAML_SCALAR || strcmp(before[k]->text, before[i]->text) != 0)
                continue;
            fl_warning(r->dg, FL_E_DIFFERENT, other->value->loc, "dataset %u goes along with dataset %u to \"%s\": the file gives both the same path",
                       k, i, now->kind == FL_YAML_SCALAR ? now->text : "");
            other->value = now;
        }
    }
    return FL_OK;
}

/* The place of a path of keys; of a list's first entry for "0". FL_NOWHERE if it is not there. */
static fl_loc place_at(const fl_yaml *node, const char *path)
{
    fl_loc loc = FL_NOWHERE;
    while (path && *path && node) {
        size_t n = strcspn(path, ".");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        bool entry = node->kind == FL_YAML_LIST && strcmp(key, "0") == 0 && node->n > 0;
        const fl_yaml_pair *pair = node->kind == FL_YAML_MAP ? fl_yaml_find(node, key) : NULL;
        if (!entry && !pair)
            return FL_NOWHERE;
        loc = entry ? node->items[0]->loc : pair->loc;
        node = entry ? node->items[0] : pair->value;
        path += n + (path[n] == '.');
    }
    return loc;
}

/*
 * Where each block is configured: its own key, what stands for it in PaddleRec's files, or else what chose the network: a key of ours or, there, the
 * hyper-parameters, for the rest of the network is Python's.
 */
static void set_places(const fl_yaml *root, fl_config_style style, fl_network_spec *s)
{
    static const char *const keys[FL_N_BLOCKS] = {
        [FL_BLOCK_INPUTS] = "inputs",           [FL_BLOCK_EMBEDDING] = "embedding_size", [FL_BLOCK_LINEAR] = "linear",
        [FL_BLOCK_FIELDS] = "fields",           [FL_BLOCK_INTERACTION] = "interaction",  [FL_BLOCK_HIDDEN] = "hidden_layer",
        [FL_BLOCK_MLP] = "mlp",                 [FL_BLOCK_OUTPUT] = "output",            [FL_BLOCK_LOSS] = "loss"};
    static const char *const paddlerec18[FL_N_BLOCKS] = {
        [FL_BLOCK_INPUTS] = "dataset.0.sparse_slots", [FL_BLOCK_EMBEDDING] = "hyper_parameters.sparse_feature_dim", [FL_BLOCK_FIELDS] = "dataset.0.sparse_slots"};
    static const char *const paddlerec2[FL_N_BLOCKS] = {
        [FL_BLOCK_INPUTS] = "hyper_parameters.sparse_inputs_slots", [FL_BLOCK_EMBEDDING] = "hyper_parameters.sparse_feature_dim",
        [FL_BLOCK_FIELDS] = "hyper_parameters.sparse_num_field", [FL_BLOCK_MLP] = "hyper_parameters.layer_sizes_dnn"};
    const char *const *theirs = style == FL_STYLE_PADDLEREC_18 ? paddlerec18 : style == FL_STYLE_PADDLEREC_2 ? paddlerec2 : NULL;
    for (int b = 0; b < FL_N_BLOCKS; b++) {
        const char *paths[] = {keys[b], theirs ? theirs[b] : NULL, "network", theirs ? "hyper_parameters" : NULL};
        s->place[b] = root->loc;
        for (size_t i = FL_COUNT(paths); i-- > 0;) {
            fl_loc loc = paths[i] ? place_at(root, paths[i]) : FL_NOWHERE;
            s->place[b] = loc.file ? loc : s->place[b];
        }
    }
}

/* Everything of the configuration lives in the manifest's arena. */
static fl_status parse_into(const char *text, size_t n, const char *path, const char *const *sets, uint32_t n_sets, fl_config *c,
                            fl_diag *dg)
{
    fl_manifest *m = &c->manifest;
    fl_arena *a = &m->arena;
    uint32_t errors_before = dg->n_errors, entries_before = dg->n_entries;
    fl_yaml *root = NULL;
    m->version = "0.1.0";
    m->seed = 1;
    m->source_name = fl_arena_strndup(a, path, strlen(path));
    m->source_text = fl_arena_strndup(a, text, n);
    fl_reader r = {.arena = a, .dg = dg, .folder = folder_of(a, path), .config = c};
    if (!m->source_name || !m->source_text || !r.folder)
        return fl_out_of_memory(dg);
    FL_TRY(fl_yaml_read(text, n, m->source_name, a, &root, dg));
    FL_TRY(apply_overrides(&r, root, sets, n_sets));
    read_tree(&r, root);
    if (a->failed)
        return fl_out_of_memory(dg);
    c->network.schema = &m->schema;
    set_places(root, m->style, &c->network);
    if (dg->n_errors == errors_before)
        return FL_OK;
    fl_diag_sort(dg, entries_before);
    fl_status status = FL_BAD_INPUT;
    for (uint32_t i = 0; i < dg->n_entries; i++)
        if (dg->entries[i].severity == FL_SEVERITY_ERROR && dg->entries[i].code == FL_E_REFUSED && dg->n_errors == 1)
            status = FL_UNSUPPORTED;
    return status;
}

fl_status fl_config_parse(const char *text, size_t n, const char *path, const char *const *sets, uint32_t n_sets, fl_config *out,
                          fl_diag *dg)
{
    memset(out, 0, sizeof *out);
    fl_manifest_init(&out->manifest);
    fl_status status = parse_into(text, n, path, sets, n_sets, out, dg);
    if (status != FL_OK)
        fl_manifest_deinit(&out->manifest);
    else
        out->network.schema = &out->manifest.schema;
    return status;
}

static fl_status read_file(FILE *f, const char *path, char **out, size_t *n, fl_diag *dg)
{
    size_t capacity = 1 << 16;
    char *text = malloc(capacity);
    *n = 0;
    while (text) {
        *n += fread(text + *n, 1, capacity - *n, f);
        if (*n < capacity)
            break;
        if (capacity > MAX_FILE) {
            free(text);
            return fl_error(dg, FL_E_YAML_LIMIT, FL_FILE(path), "the file is too large for a configuration; the limit is 16 MB");
        }
        char *larger = realloc(text, capacity * 2);
        if (!larger)
            free(text);
        text = larger;
        capacity *= 2;
    }
    if (!text)
        return fl_out_of_memory(dg);
    if (ferror(f)) {
        free(text);
        return fl_error(dg, FL_E_READ, FL_FILE(path), "cannot be read: %s", strerror(errno));
    }
    *out = text;
    return FL_OK;
}

fl_status fl_config_load(const char *path, const char *const *sets, uint32_t n_sets, fl_config *out, fl_diag *dg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot be opened: %s", strerror(errno));
    fl_status status = read_file(f, path, &text, &n, dg);
    fclose(f);
    FL_TRY(status);
    status = fl_config_parse(text, n, path, sets, n_sets, out, dg);
    free(text);
    return status;
}

void fl_config_deinit(fl_config *c)
{
    fl_manifest_deinit(&c->manifest);
}
