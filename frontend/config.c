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

/* Everything of the configuration lives in the manifest's arena. */
static fl_status parse_into(const char *text, size_t n, const char *path, const char *const *sets, uint32_t n_sets, fl_config *c,
                            fl_diag *dg)
{
    fl_manifest *m = &c->manifest;
    fl_arena *a = &m->arena;
    uint32_t errors_before = dg->n_errors;
    fl_yaml *root = NULL;
    m->version = "0.1.0";
    m->seed = 1;
    m->source_name = fl_arena_strndup(a, path, strlen(path));
    m->source_text = fl_arena_strndup(a, text, n);
    fl_reader r = {.arena = a, .dg = dg, .folder = folder_of(a, path), .config = c};
    if (!m->source_name || !m->source_text || !r.folder)
        return fl_out_of_memory(dg);
    FL_TRY(fl_yaml_read(text, n, m->source_name, a, &root, dg));
    for (uint32_t i = 0; i < n_sets; i++) {
        const char *set = fl_arena_strndup(a, sets[i], strlen(sets[i]));
        if (!set)
            return fl_out_of_memory(dg);
        FL_TRY(fl_yaml_set(root, set, a, dg));
    }
    if (dg->n_errors > errors_before)
        return FL_BAD_INPUT;
    read_tree(&r, root);
    if (a->failed)
        return fl_out_of_memory(dg);
    c->network.schema = &m->schema;
    if (dg->n_errors == errors_before)
        return FL_OK;
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
