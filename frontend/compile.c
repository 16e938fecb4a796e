/*
 * compile.c -- reading what is to be compiled.
 *
 * The programs (train, predict, init, prologue) are made from it by pipelines of passes, which the frontend does not know: the
 * command line runs them (verb_compile.c).
 */
#include "frontend/compile.h"

#include "frontend/config.h"
#include "ir/onnx_source.h"
#include "ir/print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_OUTSIDE = 1 << 16 }; /* bytes */
static const size_t max_file = (size_t)4 << 30; /* ONNX files with their weights inside end at 2 GB */

static fl_status read_stream(FILE *f, const char *path, size_t limit, char **text, size_t *n, fl_diag *dg)
{
    size_t capacity = 1 << 16, used = 0;
    char *bytes = malloc(capacity + 1);
    while (bytes) {
        used += fread(bytes + used, 1, capacity - used, f);
        if (used < capacity)
            break;
        if (used >= limit) {
            free(bytes);
            return fl_error(dg, FL_E_READ, FL_FILE(path), "the file is larger than %zu bytes", limit);
        }
        capacity *= 2;
        char *larger = realloc(bytes, capacity + 1);
        if (!larger)
            free(bytes);
        bytes = larger;
    }
    if (!bytes)
        return fl_out_of_memory(dg);
    if (ferror(f)) {
        free(bytes);
        return fl_error(dg, FL_E_READ, FL_FILE(path), "cannot be read: %s", strerror(errno));
    }
    bytes[used] = 0;
    *text = bytes;
    *n = used;
    return FL_OK;
}

fl_status fl_file_read(const char *path, size_t limit, char **text, size_t *n, fl_diag *dg)
{
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "-", limit, text, n, dg);
    FILE *f = fopen(path, "rb");
    if (!f)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot be opened: %s", strerror(errno));
    fl_status status = read_stream(f, path, limit, text, n, dg);
    fclose(f);
    return status;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

/* PaddleRec's gradient_scale_strategy 1: gradients of thread_num copies are summed. The first phase that trains decides; runners refuse others. */
static void sum_gradients(const fl_manifest *m, fl_graph *g)
{
    char text[24];

    for (uint32_t i = 0; i < m->n_runners; i++) {
        const fl_runner *r = &m->runners[i];
        if (!r->train || r->n_phases == 0)
            continue;
        snprintf(text, sizeof text, "%lld", (long long)r->phases[0].thread_num);
        if (r->phases[0].gradient_scale == 1 && r->phases[0].thread_num > 1)
            fl_graph_set_meta(g, "ai.flen.gradient_copies", text);
        return;
    }
}

static fl_status read_configuration(const char *path, const char *const *sets, uint32_t n_sets, fl_source *out, fl_diag *dg)
{
    fl_config c;
    FL_TRY(fl_config_load(path, sets, n_sets, &c, dg));
    fl_status status = fl_network_build(&c.network, &out->graph, dg);
    if (status != FL_OK) {
        fl_config_deinit(&c);
        return status;
    }
    sum_gradients(&c.manifest, out->graph);
    if (c.manifest.quirks & FL_QUIRK_DROPOUT_IN_INFER)
        fl_graph_set_meta(out->graph, "ai.flen.masks_in_predict", "1");
    out->manifest = c.manifest; /* the arena moves along */
    out->manifest.parameters = fl_network_parameters(out->graph);
    out->configured = true;
    return FL_OK;
}

/*
 * Large initialisers of a file become variables with values: model.bin then holds each once, where it is mapped, and not in the text of every program. Small ones stay
 * constants, which passes may compute with. What a training step updates is a variable in any case.
 */
static void keep_weights_outside(fl_source *source)
{
    fl_graph *g = source->graph, *step = source->training;

    for (uint32_t i = 0; i < g->n_variables; i++) {
        fl_value *v = &g->values[g->variables[i]];
        fl_id other = step && v->name ? fl_graph_find(step, v->name) : FL_NONE;
        bool large = v->data && v->data->length >= LEAST_OUTSIDE && fl_dtype_size(v->type.dtype) > 0, updated = other != FL_NONE && step->values[other].kind == FL_VALUE_VARIABLE;
        if (v->kind == FL_VALUE_CONSTANT && (large || updated))
            v->kind = FL_VALUE_VARIABLE;
        if (v->kind == FL_VALUE_VARIABLE && other != FL_NONE && step->values[other].kind == FL_VALUE_CONSTANT)
            step->values[other].kind = FL_VALUE_VARIABLE;
    }
    for (uint32_t i = 0; step && i < step->n_variables; i++) {
        fl_value *v = &step->values[step->variables[i]];
        if (v->kind == FL_VALUE_CONSTANT && v->data && v->data->length >= LEAST_OUTSIDE && fl_dtype_size(v->type.dtype) > 0 && fl_graph_find(g, v->name) == FL_NONE)
            v->kind = FL_VALUE_VARIABLE;
    }
}

/*
 * A table whose rows come from a vocabulary (metadata ai.flen.shapes) has a number of them once values lie beside it: its symbol means that number everywhere.
 */
static void bind_symbols(fl_graph *g)
{
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        if (!v->data || v->type.rank != v->data->type.rank || !fl_type_is_static(&v->data->type))
            continue;
        for (int d = 0; d < v->type.rank; d++) {
            fl_dim symbol = v->type.dims[d];
            for (fl_id k = 0; FL_DIM_IS_SYM(symbol) && k < g->n_values; k++)
                for (int e = 0; e < g->values[k].type.rank; e++)
                    if (g->values[k].type.dims[e] == symbol)
                        g->values[k].type.dims[e] = v->data->type.dims[d];
        }
    }
}

/* Take a metadata entry away; NULL if it is not there. The text lives as long as the graph. */
static const char *take_meta(fl_graph *g, const char *key)
{
    const char *value = fl_graph_get_meta(g, key);
    uint32_t k = 0;

    for (uint32_t i = 0; i < g->n_meta; i++) {
        if (strcmp(g->meta_keys[i], key) == 0)
            continue;
        g->meta_keys[k] = g->meta_keys[i];
        g->meta_values[k++] = g->meta_values[i];
    }
    g->n_meta = k;
    return value;
}

/* What a file of ours says of raw data, `flenc export --training` wrote it. */
static fl_status take_manifest(const char *path, fl_source *out, fl_diag *dg)
{
    const char *json = take_meta(out->graph, FL_MANIFEST_META);
    fl_manifest m;

    if (out->training)
        (void)take_meta(out->training, FL_MANIFEST_META);
    if (!json)
        return FL_OK;
    fl_manifest_init(&m);
    fl_status status = fl_manifest_parse(&m, json, strlen(json), FL_FILE(path), dg);
    if (status != FL_OK) {
        fl_manifest_deinit(&m);
        return status;
    }
    fl_manifest_deinit(&out->manifest);
    out->manifest = m;
    out->manifest.source_name = fl_arena_strndup(&out->manifest.arena, path, strlen(path));
    return out->manifest.source_name ? FL_OK : fl_out_of_memory(dg);
}

/* A training step that cannot be read does not spoil the model: the reason is a warning. */
static fl_status read_training(const char *text, size_t n, const char *path, const char *folder, fl_source *out, fl_diag *dg)
{
    fl_diag own;

    fl_diag_init(&own);
    fl_status status = fl_onnx_decode_training(text, n, path, folder, &out->training, &own);
    for (uint32_t i = 0; i < own.n_entries; i++)
        if (own.entries[i].severity == FL_SEVERITY_WARNING)
            fl_warning(dg, own.entries[i].code, FL_FILE(path), "%s", own.entries[i].text);
    if (status != FL_OK && status != FL_NO_MEMORY) {
        fl_source_drop_training(out, &own, path, dg);
        status = FL_OK;
    } else if (status == FL_NO_MEMORY) {
        status = fl_out_of_memory(dg);
    }
    fl_diag_deinit(&own);
    return status;
}

void fl_source_drop_training(fl_source *s, const fl_diag *why, const char *path, fl_diag *dg)
{
    for (uint32_t i = 0; i < why->n_entries; i++) {
        if (why->entries[i].severity == FL_SEVERITY_WARNING)
            continue;
        fl_warning(dg, why->entries[i].code, FL_FILE(path), "the training information is not used: %s", why->entries[i].text);
        break;
    }
    fl_graph_free(s->training);
    s->training = NULL;
}

static fl_status read_onnx(const char *text, size_t n, const char *path, const char *folder, fl_source *out, fl_diag *dg)
{
    FL_TRY(fl_onnx_decode(text, n, path, folder, &out->graph, dg));
    fl_status status = read_training(text, n, path, folder, out, dg);
    if (status == FL_OK)
        status = take_manifest(path, out, dg);
    if (status == FL_OK) {
        keep_weights_outside(out);
        return FL_OK;
    }
    fl_graph_free(out->training);
    fl_graph_free(out->graph);
    out->graph = out->training = NULL;
    return status;
}

static fl_status read_graph(const char *path, fl_source *out, fl_diag *dg)
{
    char *text = NULL;
    size_t n = 0;
    fl_manifest *m = &out->manifest;
    FL_TRY(fl_file_read(path, max_file, &text, &n, dg));
    fl_manifest_init(m);
    m->source_name = fl_arena_strndup(&m->arena, path, strlen(path));
    m->network = "imported";
    m->version = "0.1.0";
    m->log = "plain";
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    fl_status status = m->arena.failed || !folder ? fl_out_of_memory(dg)
                       : ends_with(path, ".onnx") ? read_onnx(text, n, path, folder, out, dg)
                                                  : fl_graph_parse(text, n, path, &out->graph, dg);
    free(folder);
    free(text);
    if (status == FL_OK)
        bind_symbols(out->graph);
    if (status == FL_OK && out->training)
        bind_symbols(out->training);
    if (status != FL_OK)
        fl_manifest_deinit(m);
    return status;
}

fl_status fl_source_read(const char *path, const char *const *sets, uint32_t n_sets, fl_source *out, fl_diag *dg)
{
    *out = (fl_source){.graph = NULL};
    if (ends_with(path, ".yaml") || ends_with(path, ".yml"))
        return read_configuration(path, sets, n_sets, out, dg);
    if (n_sets)
        return fl_error(dg, FL_E_SET, FL_FILE(path), "--set changes configurations; this is none");
    return read_graph(path, out, dg);
}

static bool is_there(const char *folder, const char *location, fl_arena *scratch)
{
    const char *path = fl_arena_printf(scratch, "%s/%s", folder, location);
    return path && access(path, F_OK) == 0;
}

fl_status fl_source_attach(fl_graph *g, const char *path, const char *folder, bool lenient, fl_diag *dg)
{
    fl_arena scratch;
    fl_status status = FL_OK;
    fl_arena_init(&scratch);
    const char *slash = strrchr(path, '/');
    if (!folder)
        folder = slash ? fl_arena_strndup(&scratch, path, (size_t)(slash - path) + 1) : ".";
    if (!folder)
        status = fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_variables && status == FL_OK; i++) {
        fl_value *v = &g->values[g->variables[i]];
        const void *bytes = NULL;
        if (!v->data || v->data->bytes || !v->data->location || (lenient && !is_there(folder, v->data->location, &scratch)))
            continue;
        fl_tensor *t = fl_arena_new(&g->arena, fl_tensor, 1);
        int64_t elements = fl_type_elements(&v->data->type);
        uint64_t size;
        if (!t) {
            status = fl_out_of_memory(dg);
            break;
        }
        *t = *v->data;
        if (elements < 0 || __builtin_mul_overflow((uint64_t)elements, fl_dtype_size(t->type.dtype), &size) || size != t->length) {
            status = fl_error(dg, FL_E_ONNX_EXTERNAL, v->origin.loc, "tensor \"%.200s\": %llu bytes of \"%.200s\" do not fit its type", v->name,
                              (unsigned long long)t->length, t->location);
            break;
        }
        status = fl_onnx_find_in_folder(&(fl_onnx_folder){path, folder}, g, v->name, t, &bytes, dg);
        t->bytes = bytes;
        v->data = t;
    }
    fl_arena_deinit(&scratch);
    return status;
}

void fl_source_deinit(fl_source *s)
{
    fl_graph_free(s->graph);
    fl_graph_free(s->training);
    fl_manifest_deinit(&s->manifest);
}
