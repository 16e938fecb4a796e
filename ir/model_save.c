/*
 * model_save.c -- writes a model.bin aside and renames it, so that a crash leaves the old file or the new one.
 */
#include "ir/bodies.h"
#include "ir/crc32c.h"
#include "ir/graph_meta.h"
#include "ir/model_parts.h"
#include "ir/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *fl_program_name(fl_program p)
{
    switch (p) {
    case FL_PROGRAM_PREDICT:
        return "predict";
    case FL_PROGRAM_TRAIN:
        return "train";
    case FL_PROGRAM_PROLOGUE:
        return "prologue";
    case FL_PROGRAM_INIT:
        return "init";
    case FL_PROGRAM_FOLDED:
        return "folded";
    case FL_PROGRAM_FOLDING:
        return "folding";
    case FL_N_PROGRAMS:
        break;
    }
    return "";
}

typedef struct saver {
    const fl_model_content *content;
    const char *path;
    fl_diag *dg;
    fl_arena arena;
    fl_zip_writer zip;
    uint64_t *offsets; /* of each variable in weights.bin; UINT64_MAX: without values */
    uint64_t bytes;    /* of weights.bin */
    unsigned char *block;
    size_t filled;
    json_t *crcs;
    uint32_t *checksums; /* of each variable that wants one */
} saver;

/* ----------------------------------------------------------------------------------------------------- layout */

static fl_status check_variable(saver *s, uint32_t i)
{
    const fl_model_variable_source *v = &s->content->variables[i];
    size_t n = strlen(v->name);
    bool ok = n > 0 && n <= FL_MODEL_MAX_NAME && fl_type_is_static(&v->type) && fl_type_elements(&v->type) >= 0 && fl_dtype_size(v->type.dtype) > 0;
    if (ok)
        return FL_OK;
    return fl_error(s->dg, FL_E_MODEL_VARIABLE, FL_FILE(s->path), "cannot store the variable \"%.255s\": its name, shape or type", v->name);
}

static fl_status lay_out(saver *s)
{
    const fl_model_content *c = s->content;
    fl_strpool names;
    fl_strpool_init(&names, &s->arena);
    s->offsets = fl_arena_new(&s->arena, uint64_t, c->n_variables);
    s->checksums = fl_arena_new(&s->arena, uint32_t, c->n_variables);
    if (!s->offsets || !s->checksums)
        return fl_out_of_memory(s->dg);
    for (uint32_t i = 0; i < c->n_variables; i++) {
        const fl_model_variable_source *v = &c->variables[i];
        s->offsets[i] = UINT64_MAX;
        if (!v->bytes)
            continue;
        FL_TRY(check_variable(s, i));
        if (fl_strpool_find(&names, v->name, strlen(v->name)))
            return fl_error(s->dg, FL_E_MODEL_VARIABLE, FL_FILE(s->path), "the variable \"%.255s\" stands twice", v->name);
        if (!fl_strpool_put(&names, v->name, strlen(v->name)))
            return fl_out_of_memory(s->dg);
        s->offsets[i] = s->bytes;
        uint64_t size = (uint64_t)fl_type_elements(&v->type) * fl_dtype_size(v->type.dtype);
        s->bytes += (size + FL_MODEL_ALIGN - 1) & ~(uint64_t)(FL_MODEL_ALIGN - 1);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------- small parts */

static fl_status put_entry(saver *s, const char *name, const void *bytes, size_t n)
{
    FL_TRY(fl_zip_begin(&s->zip, name, n, s->dg));
    return fl_zip_write(&s->zip, bytes, n, s->dg);
}

/* Can other tools run it? An imported graph may use operators of ours that standard ones cannot say. */
static bool has_bodies(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP && *fl_op_get(g->nodes[i].op)->domain && !fl_body_exists(g->nodes[i].op))
            return false;
    return true;
}

/* Variables of the graph that are stored go by reference into weights.bin. */
static fl_status put_graph(saver *s, const char *name, const fl_graph *g)
{
    uint64_t *offsets = fl_arena_new(&s->arena, uint64_t, g->n_variables);
    fl_type *types = fl_arena_new(&s->arena, fl_type, g->n_variables);
    if (!offsets || !types)
        return fl_out_of_memory(s->dg);
    for (uint32_t i = 0; i < g->n_variables; i++)
        offsets[i] = UINT64_MAX;
    for (uint32_t k = 0; k < s->content->n_variables; k++) {
        fl_id v = s->offsets[k] == UINT64_MAX ? FL_NONE : fl_graph_find(g, s->content->variables[k].name);
        if (v == FL_NONE || g->values[v].kind != FL_VALUE_VARIABLE)
            continue;
        for (uint32_t i = 0; i < g->n_variables; i++) {
            if (g->variables[i] == v) {
                offsets[i] = s->offsets[k];
                types[i] = s->content->variables[k].type;
            }
        }
    }
    fl_onnx_options options = {.external_location = FL_MODEL_WEIGHTS, .external_offsets = offsets, .external_types = types};
    if (strcmp(name, FL_MODEL_SOURCE) == 0 && has_bodies(g)) { /* the part that other tools run */
        options.functions = true;
        options.opset = FL_ONNX_LOWEST;
    }
    void *bytes;
    size_t n;
    FL_TRY(fl_onnx_encode(g, &options, &bytes, &n, s->dg));
    fl_status status = put_entry(s, name, bytes, n);
    free(bytes);
    return status;
}

static fl_status put_small_parts(saver *s)
{
    const fl_model_content *c = s->content;
    char *manifest = fl_manifest_print(c->manifest);
    if (!manifest)
        return fl_out_of_memory(s->dg);
    fl_status status = put_entry(s, FL_MODEL_MANIFEST, manifest, strlen(manifest));
    free(manifest);
    FL_TRY(status);
    if (c->source)
        FL_TRY(put_graph(s, FL_MODEL_SOURCE, c->source));
    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        char name[32];
        snprintf(name, sizeof name, "%s.onnx", fl_program_name((fl_program)p));
        if (c->programs[p])
            FL_TRY(put_graph(s, name, c->programs[p]));
    }
    for (uint32_t i = 0; i < c->n_entries; i++)
        FL_TRY(put_entry(s, c->entries[i].name, c->entries[i].bytes, c->entries[i].n));
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- weights */

static fl_status flush_block(saver *s)
{
    if (s->filled == 0)
        return FL_OK;
    char hex[16];
    snprintf(hex, sizeof hex, "%08x", fl_crc32c(0, s->block, s->filled));
    if (json_array_append_new(s->crcs, json_string(hex)) != 0)
        return fl_out_of_memory(s->dg);
    FL_TRY(fl_zip_write(&s->zip, s->block, s->filled, s->dg));
    s->filled = 0;
    return FL_OK;
}

/* bytes NULL: zeros. */
static fl_status put_weights(saver *s, const char *bytes, uint64_t n)
{
    while (n > 0) {
        size_t k = FL_MODEL_BLOCK - s->filled;
        if (k > n)
            k = (size_t)n;
        if (bytes)
            memcpy(s->block + s->filled, bytes, k);
        else
            memset(s->block + s->filled, 0, k);
        bytes = bytes ? bytes + k : NULL;
        s->filled += k;
        n -= k;
        if (s->filled == FL_MODEL_BLOCK)
            FL_TRY(flush_block(s));
    }
    return FL_OK;
}

static bool wants_checksum(const saver *s, uint32_t variable)
{
    return s->content->checksums && s->content->checksums[variable];
}

static fl_status put_variable(saver *s, uint32_t index)
{
    const fl_model_variable_source *v = &s->content->variables[index];
    size_t element = fl_dtype_size(v->type.dtype);
    uint64_t total = (uint64_t)fl_type_elements(&v->type) * element;
    uint64_t rows = v->type.rank > 0 ? (uint64_t)v->type.dims[0] : 1;
    uint64_t row = rows ? total / rows : 0;
    const char *bytes = v->bytes;
    if ((uint64_t)v->stride * element == row) { /* one run */
        row = total;
        rows = 1;
    }
    for (uint64_t i = 0; i < rows; i++) {
        const char *from = bytes + i * (uint64_t)v->stride * element;
        if (wants_checksum(s, index))
            s->checksums[index] = fl_crc32c(s->checksums[index], from, row);
        FL_TRY(put_weights(s, from, row));
    }
    return put_weights(s, NULL, -total & (FL_MODEL_ALIGN - 1));
}

static fl_status put_index(saver *s)
{
    bool checksums = false;
    for (uint32_t i = 0; i < s->content->n_variables; i++)
        checksums = checksums || wants_checksum(s, i);
    json_t *variables = json_array();
    json_t *index = json_pack("{s:i, s:i, s:o, s:O}", "format", checksums ? FL_MODEL_INDEX_CHECKSUMS : FL_MODEL_INDEX_FORMAT, "block_bytes", FL_MODEL_BLOCK, "variables", variables,
                              "crc32c", s->crcs);
    bool ok = index != NULL;
    for (uint32_t i = 0; ok && i < s->content->n_variables; i++) {
        const fl_model_variable_source *v = &s->content->variables[i];
        if (!v->bytes)
            continue;
        json_t *dims = json_array();
        for (int d = 0; d < v->type.rank; d++)
            ok &= json_array_append_new(dims, json_integer(v->type.dims[d])) == 0;
        json_t *entry = json_pack("{s:s, s:s, s:o, s:I}", "name", v->name, "type", fl_dtype_name(v->type.dtype), "dims", dims, "offset",
                                  (json_int_t)s->offsets[i]);
        char hex[16];
        snprintf(hex, sizeof hex, "%08x", s->checksums[i]);
        ok &= !wants_checksum(s, i) || json_object_set_new(entry, "crc32c", json_string(hex)) == 0;
        ok &= json_array_append_new(variables, entry) == 0;
    }
    char *dump = ok ? json_dumps(index, JSON_INDENT(1)) : NULL;
    json_decref(index);
    if (!dump)
        return fl_out_of_memory(s->dg);
    fl_status status = put_entry(s, FL_MODEL_INDEX, dump, strlen(dump));
    free(dump);
    return status;
}

static fl_status put_all(saver *s)
{
    FL_TRY(put_small_parts(s));
    FL_TRY(fl_zip_begin(&s->zip, FL_MODEL_WEIGHTS, s->bytes, s->dg));
    for (uint32_t i = 0; i < s->content->n_variables; i++)
        if (s->content->variables[i].bytes)
            FL_TRY(put_variable(s, i));
    FL_TRY(flush_block(s));
    FL_TRY(put_index(s));
    return fl_zip_finish(&s->zip, s->dg);
}

/* ------------------------------------------------------------------------------------------- aside, then renamed */

static fl_status io_error(saver *s, const char *what)
{
    return fl_error(s->dg, FL_E_WRITE, FL_FILE(s->path), "%s: %s", what, strerror(errno));
}

/* The rename itself is on disk only when the folder is. */
static fl_status sync_folder(saver *s)
{
    char *copy = fl_arena_strndup(&s->arena, s->path, strlen(s->path));
    if (!copy)
        return fl_out_of_memory(s->dg);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(s, "cannot open the folder");
    /* Some file systems cannot sync a folder; then the rename is as safe as they make it. */
    bool failed = fsync(fd) != 0 && errno != EINVAL;
    fl_status status = failed ? io_error(s, "cannot write the folder") : FL_OK;
    close(fd);
    return status;
}

static fl_status save_aside(saver *s, const char *aside)
{
    struct stat at;
    if (stat(s->path, &at) == 0 && !S_ISREG(at.st_mode) && !S_ISDIR(at.st_mode)) /* a rename would replace it */
        return fl_error(s->dg, FL_E_WRITE, FL_FILE(s->path), "a model.bin is written to regular files only, and this is none");
    int fd = open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return io_error(s, "cannot create a file in this folder");
    fl_zip_writer_init(&s->zip, fd, s->path);
    fl_status status = put_all(s);
    if (status == FL_OK && fsync(fd) != 0)
        status = io_error(s, "cannot write");
    if (close(fd) != 0 && status == FL_OK)
        status = io_error(s, "cannot write");
    if (status == FL_OK && rename(aside, s->path) != 0)
        status = io_error(s, "cannot rename the new file");
    if (status != FL_OK) {
        unlink(aside);
        return status;
    }
    return sync_folder(s);
}

fl_status fl_model_save(const char *path, const fl_model_content *content, fl_diag *dg)
{
    saver s = {.content = content, .path = path, .dg = dg};
    fl_arena_init(&s.arena);
    s.block = fl_arena_alloc(&s.arena, FL_MODEL_BLOCK);
    s.crcs = json_array();
    char *aside = fl_arena_printf(&s.arena, "%s.tmp.%ld", path, (long)getpid());
    fl_status status = s.block && s.crcs && aside ? lay_out(&s) : fl_out_of_memory(dg);
    if (status == FL_OK)
        status = save_aside(&s, aside);
    json_decref(s.crcs);
    fl_arena_deinit(&s.arena);
    return status;
}
