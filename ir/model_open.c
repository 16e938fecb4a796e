/*
 * model_open.c -- maps a model.bin, checks it (what when: ir/README.md, "model.bin"), and parses its programs when they are asked for.
 */
#include "ir/crc32c.h"
#include "ir/json.h"
#include "ir/model_parts.h"
#include "ir/onnx_source.h"
#include "ir/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct stored {
    const char *name;
    fl_tensor tensor; /* offset: in weights.bin */
    bool has_checksum;
    uint32_t checksum;
} stored;

struct fl_model {
    fl_arena arena;
    const char *path;
    const unsigned char *bytes;
    uint64_t n;
    fl_zip_entry entries[FL_ZIP_MAX_ENTRIES];
    bool entry_checked[FL_ZIP_MAX_ENTRIES];
    uint32_t n_entries;
    fl_manifest manifest;
    const unsigned char *weights;
    uint64_t n_weights;
    stored *variables;
    uint32_t n_variables;
    uint32_t *by_name; /* indices of variables, sorted by name */
    uint32_t *crcs;
    bool *checked; /* one per block */
    uint64_t n_blocks;
    fl_graph *source, *programs[FL_N_PROGRAMS];
};

/* --------------------------------------------------------------------------------------------------- container */

static const fl_zip_entry *find_entry(const fl_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_entries; i++)
        if (strcmp(m->entries[i].name, name) == 0)
            return &m->entries[i];
    return NULL;
}

/* Pages that were only read to be checked need not stay in the process: they are in the system's cache. */
static void leave_pages(const uint8_t *bytes, uint64_t n)
{
    uintptr_t from = ((uintptr_t)bytes + 4095) & ~(uintptr_t)4095, to = ((uintptr_t)bytes + n) & ~(uintptr_t)4095;
    if (to > from)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

/* The data of an entry against its header's checksum, once. */
static fl_status check_entry(fl_model *m, const fl_zip_entry *e, fl_diag *dg)
{
    bool *checked = &m->entry_checked[e - m->entries];
    uint32_t crc = 0;
    for (uint64_t at = 0, n; !*checked && at < e->size; at += n) {
        n = e->size - at < FL_MODEL_BLOCK ? e->size - at : FL_MODEL_BLOCK;
        crc = fl_zip_crc(crc, m->bytes + e->offset + at, n);
        if (e->size > FL_MODEL_SMALL_PART)
            leave_pages(m->bytes + e->offset + at, n);
    }
    if (!*checked)
        FL_TRY(fl_zip_check(e, crc, m->path, dg));
    *checked = true;
    return FL_OK;
}

fl_status fl_model_verify_entry(fl_model *m, const char *name, fl_diag *dg)
{
    const fl_zip_entry *e = find_entry(m, name);
    return e ? check_entry(m, e, dg) : FL_OK;
}

fl_status fl_model_verify_entries(fl_model *m, fl_diag *dg)
{
    for (uint32_t i = 0; i < m->n_entries; i++)
        if (strcmp(m->entries[i].name, FL_MODEL_WEIGHTS) != 0) /* which has checksums of its own: check_blocks */
            FL_TRY(check_entry(m, &m->entries[i], dg));
    return FL_OK;
}

/*
 * The file's `n` bytes in memory, where no huge page fits: their places in memory and in the file are half a huge page apart. A file that was just written, in
 * large pieces, lies in the system's cache in blocks of 2 MB, and the first touch of one maps all of it (since Linux 6.18 with MADV_NOHUGEPAGE too): one row's twenty look-ups would count as 40 MB of
 * this process. So they map 64 to 128 KB each, and at most 1 MB. Looking up many rows takes up to a twentieth longer, by misses of the processor's table of pages; so it is not done where many are sure to come.
 */
static void *map_apart(int fd, uint64_t n)
{
    const uintptr_t huge = (uintptr_t)2 << 20;
    uint64_t space = n + 2 * huge;
    uint8_t *found = mmap(NULL, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED)
        return MAP_FAILED;
    uint8_t *at = found + (huge - (uintptr_t)found % huge) + huge / 2, *end = at + (n + 4095) / 4096 * 4096;
    if (mmap(at, n, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        (void)munmap(found, space);
        return MAP_FAILED;
    }
    (void)munmap(found, (size_t)(at - found));
    (void)munmap(end, (size_t)(found + space - end));
    return at;
}

static fl_status map_file(fl_model *m, bool few_pages, fl_diag *dg)
{
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fl_error(dg, FL_E_OPEN, FL_FILE(m->path), "cannot open: %s", strerror(errno));
    struct stat st;
    fl_status status = FL_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = fl_error(dg, FL_E_OPEN, FL_FILE(m->path), "cannot open: not a regular file");
    m->n = status == FL_OK ? (uint64_t)st.st_size : 0;
    if (m->n > 0) {
        void *p = few_pages && m->n > FL_MODEL_SMALL_FILE ? map_apart(fd, m->n) : mmap(NULL, m->n, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            status = fl_error(dg, FL_E_READ, FL_FILE(m->path), "cannot map: %s", strerror(errno));
        else
            m->bytes = p;
    }
    close(fd);
    return status;
}

static fl_status content_error(const fl_model *m, const char *part, const char *what, fl_diag *dg)
{
    return fl_error(dg, FL_E_MODEL_CONTENT, FL_FILE(m->path), "%s: %s", part, what);
}

/* ------------------------------------------------------------------------------------------------------- index */

static fl_status index_error(const fl_model *m, const char *what, fl_diag *dg)
{
    return content_error(m, FL_MODEL_INDEX, what, dg);
}

/* Eight hexadecimal digits. */
static bool read_crc(const char *hex, uint32_t *crc)
{
    if (!hex || strlen(hex) != 8 || strspn(hex, "0123456789abcdef") != 8)
        return false;
    *crc = (uint32_t)strtoul(hex, NULL, 16);
    return true;
}

static fl_status read_crcs(fl_model *m, const json_t *crcs, fl_diag *dg)
{
    m->n_blocks = (m->n_weights + FL_MODEL_BLOCK - 1) / FL_MODEL_BLOCK;
    if (json_array_size(crcs) != m->n_blocks)
        return index_error(m, "the number of checksums does not fit " FL_MODEL_WEIGHTS, dg);
    m->crcs = fl_arena_new(&m->arena, uint32_t, m->n_blocks);
    m->checked = fl_arena_new(&m->arena, bool, m->n_blocks);
    if (!m->crcs || !m->checked)
        return fl_out_of_memory(dg);
    for (uint64_t i = 0; i < m->n_blocks; i++) {
        if (!read_crc(json_string_value(json_array_get(crcs, i)), &m->crcs[i]))
            return index_error(m, "a checksum is not eight hexadecimal digits", dg);
    }
    return FL_OK;
}

static fl_status read_variable(fl_model *m, const json_t *o, stored *v, fl_diag *dg)
{
    const char *name = json_string_value(json_object_get(o, "name")), *type = json_string_value(json_object_get(o, "type"));
    const json_t *dims = json_object_get(o, "dims"), *offset = json_object_get(o, "offset"), *crc = json_object_get(o, "crc32c");
    v->has_checksum = crc != NULL;
    if (!name || !*name || strlen(name) > FL_MODEL_MAX_NAME || !type || !json_is_array(dims) || json_array_size(dims) > FL_MAX_RANK ||
        !json_is_integer(offset) || json_object_size(o) != (crc ? 5 : 4) || (crc && !read_crc(json_string_value(crc), &v->checksum)))
        return index_error(m, "an entry of \"variables\" has not the form {name, type, dims, offset[, crc32c]}", dg);
    fl_dtype dtype = fl_dtype_find(type);
    fl_type t = {.dtype = dtype, .rank = (int8_t)json_array_size(dims)};
    bool ok = fl_dtype_size(dtype) > 0;
    for (int i = 0; i < t.rank; i++) {
        const json_t *dim = json_array_get(dims, (size_t)i);
        t.dims[i] = json_is_integer(dim) ? json_integer_value(dim) : -1;
        ok &= t.dims[i] >= 0;
    }
    int64_t elements = ok ? fl_type_elements(&t) : -1, size, at = json_integer_value(offset);
    if (elements < 0 || __builtin_mul_overflow(elements, (int64_t)fl_dtype_size(dtype), &size) || at < 0 || at % FL_MODEL_ALIGN != 0 ||
        (uint64_t)at > m->n_weights || (uint64_t)size > m->n_weights - (uint64_t)at)
        return fl_error(dg, FL_E_MODEL_CONTENT, FL_FILE(m->path), FL_MODEL_INDEX ": variable \"%s\" has a wrong type, shape or place", name);
    v->name = fl_arena_strndup(&m->arena, name, strlen(name));
    v->tensor = (fl_tensor){.type = t, .bytes = m->weights + at, .offset = (uint64_t)at, .length = (uint64_t)size};
    return v->name ? FL_OK : fl_out_of_memory(dg);
}

static int compare_names(const void *a, const void *b, void *model)
{
    const fl_model *m = model;
    return strcmp(m->variables[*(const uint32_t *)a].name, m->variables[*(const uint32_t *)b].name);
}

static fl_status read_variables(fl_model *m, const json_t *list, fl_diag *dg)
{
    size_t n = json_array_size(list);
    m->variables = fl_arena_new(&m->arena, stored, n);
    m->by_name = fl_arena_new(&m->arena, uint32_t, n);
    if (!m->variables || !m->by_name)
        return fl_out_of_memory(dg);
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        FL_TRY(read_variable(m, json_array_get(list, i), &m->variables[i], dg));
        if (m->variables[i].tensor.offset < end)
            return index_error(m, "variables overlap", dg);
        end = m->variables[i].tensor.offset + m->variables[i].tensor.length;
        m->by_name[i] = (uint32_t)i;
    }
    m->n_variables = (uint32_t)n;
    qsort_r(m->by_name, n, sizeof *m->by_name, compare_names, m);
    for (size_t i = 1; i < n; i++)
        if (strcmp(m->variables[m->by_name[i]].name, m->variables[m->by_name[i - 1]].name) == 0)
            return index_error(m, "a variable stands twice", dg);
    return FL_OK;
}

static fl_status read_index(fl_model *m, fl_diag *dg)
{
    const fl_zip_entry *index = find_entry(m, FL_MODEL_INDEX), *weights = find_entry(m, FL_MODEL_WEIGHTS);
    if (!index || !weights)
        return content_error(m, index ? FL_MODEL_WEIGHTS : FL_MODEL_INDEX, "the part is missing", dg);
    FL_TRY(check_entry(m, index, dg));
    m->weights = m->bytes + weights->offset;
    m->n_weights = weights->size;
    json_error_t error;
    bool no_memory;
    json_t *o = fl_json_load((const char *)m->bytes + index->offset, index->size, &error, &no_memory);
    if (no_memory)
        return fl_out_of_memory(dg);
    const json_t *format = json_object_get(o, "format"), *block = json_object_get(o, "block_bytes");
    const json_t *variables = json_object_get(o, "variables"), *crcs = json_object_get(o, "crc32c");
    fl_status status = FL_OK;
    if (json_integer_value(format) > FL_MODEL_INDEX_CHECKSUMS)
        status = fl_error(dg, FL_E_MODEL_NEWER, FL_FILE(m->path), "the file has an index of format %lld; this flen reads up to %d",
                          (long long)json_integer_value(format), FL_MODEL_INDEX_CHECKSUMS);
    else if (json_integer_value(format) < FL_MODEL_INDEX_FORMAT || json_integer_value(block) != FL_MODEL_BLOCK || !json_is_array(variables) ||
             !json_is_array(crcs))
        status = index_error(m, o ? "not {format, block_bytes, variables, crc32c}" : error.text, dg);
    if (status == FL_OK)
        status = read_crcs(m, crcs, dg);
    if (status == FL_OK)
        status = read_variables(m, variables, dg);
    json_decref(o);
    return status;
}

/* -------------------------------------------------------------------------------------------------------- blocks */

/* The variable that has byte `at`; for words only. */
static const char *variable_at(const fl_model *m, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < m->n_variables; i++) {
        const fl_tensor *t = &m->variables[i].tensor;
        if (t->offset < to && t->offset + t->length > from)
            return m->variables[i].name;
    }
    return "";
}

static fl_status check_blocks(fl_model *m, uint64_t offset, uint64_t length, fl_diag *dg)
{
    if (length == 0)
        return FL_OK;
    for (uint64_t i = offset / FL_MODEL_BLOCK; i <= (offset + length - 1) / FL_MODEL_BLOCK; i++) {
        if (m->checked[i])
            continue;
        uint64_t from = i * FL_MODEL_BLOCK, to = from + FL_MODEL_BLOCK < m->n_weights ? from + FL_MODEL_BLOCK : m->n_weights;
        if (fl_crc32c(0, m->weights + from, to - from) != m->crcs[i])
            return fl_error(dg, FL_E_MODEL_DAMAGED, FL_FILE(m->path),
                            "the file is damaged: the checksum of " FL_MODEL_WEIGHTS " is wrong in block %" PRIu64 ", where \"%s\" lies", i,
                            variable_at(m, from, to));
        m->checked[i] = true;
        if (length > FL_MODEL_SMALL_FILE)
            leave_pages(m->weights + from, to - from);
    }
    return FL_OK;
}

fl_status fl_model_verify(fl_model *m, const char *name, fl_diag *dg)
{
    const fl_tensor *t = fl_model_find_variable(m, name);
    if (!t)
        return fl_error(dg, FL_E_MODEL_CONTENT, FL_FILE(m->path), "there is no stored variable \"%s\"", name);
    return check_blocks(m, t->offset, t->length, dg);
}

static fl_status check_weights(fl_model *m, bool all, fl_diag *dg)
{
    if (all)
        return check_blocks(m, 0, m->n_weights, dg);
    for (uint32_t i = 0; i < m->n_variables; i++)
        if (m->variables[i].tensor.length <= FL_MODEL_SMALL_PART)
            FL_TRY(check_blocks(m, m->variables[i].tensor.offset, m->variables[i].tensor.length, dg));
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- opening */

static fl_status open_parts(fl_model *m, unsigned flags, fl_diag *dg)
{
    FL_TRY(map_file(m, flags & FL_MODEL_FEW_PAGES, dg));
    FL_TRY(fl_zip_read(m->bytes, m->n, m->path, m->entries, &m->n_entries, dg));
    bool all = (flags & FL_MODEL_VERIFY_ALL) || m->n <= FL_MODEL_SMALL_FILE;
    for (uint32_t i = 0; i < m->n_entries; i++)
        if (strcmp(m->entries[i].name, FL_MODEL_WEIGHTS) != 0 && (all || m->entries[i].size <= FL_MODEL_SMALL_PART))
            FL_TRY(check_entry(m, &m->entries[i], dg));
    const fl_zip_entry *manifest = find_entry(m, FL_MODEL_MANIFEST);
    if (!manifest)
        return content_error(m, FL_MODEL_MANIFEST, "the part is missing", dg);
    FL_TRY(check_entry(m, manifest, dg));
    FL_TRY(fl_manifest_parse(&m->manifest, (const char *)m->bytes + manifest->offset, manifest->size, FL_FILE(m->path), dg));
    FL_TRY(read_index(m, dg));
    return check_weights(m, all, dg);
}

fl_status fl_model_open(const char *path, unsigned flags, fl_model **out, fl_diag *dg)
{
    fl_model *m = calloc(1, sizeof *m);
    if (!m)
        return fl_out_of_memory(dg);
    fl_arena_init(&m->arena);
    fl_manifest_init(&m->manifest);
    m->path = fl_arena_strndup(&m->arena, path, strlen(path));
    fl_status status = m->path ? open_parts(m, flags, dg) : fl_out_of_memory(dg);
    if (status == FL_OK)
        *out = m;
    else
        fl_model_free(m);
    return status;
}

void fl_model_free(fl_model *m)
{
    if (!m)
        return;
    fl_graph_free(m->source);
    for (int p = 0; p < FL_N_PROGRAMS; p++)
        fl_graph_free(m->programs[p]);
    if (m->bytes)
        munmap((void *)(uintptr_t)m->bytes, m->n);
    fl_manifest_deinit(&m->manifest);
    fl_arena_deinit(&m->arena);
    free(m);
}

/* -------------------------------------------------------------------------------------------------------- parts */

fl_manifest *fl_model_manifest(fl_model *m)
{
    return &m->manifest;
}

/* A reference into weights.bin is exactly a stored variable, by name, place and type. */
static fl_status find_weights(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg)
{
    const fl_model *m = self;
    (void)g;
    const fl_tensor *t = fl_model_find_variable(m, tensor);
    if (!t || strcmp(wanted->location, FL_MODEL_WEIGHTS) != 0 || t->offset != wanted->offset || !fl_type_equal(&t->type, &wanted->type))
        return fl_error(dg, FL_E_MODEL_CONTENT, FL_FILE(m->path), "variable \"%s\" is not stored as the program says", tensor);
    *bytes = t->bytes;
    return FL_OK;
}

static fl_status read_graph(fl_model *m, const char *name, fl_graph **slot, const fl_graph **out, fl_diag *dg)
{
    const fl_zip_entry *e = find_entry(m, name);
    *out = *slot;
    if (*slot || !e)
        return FL_OK;
    FL_TRY(check_entry(m, e, dg));
    char *file = fl_arena_printf(&m->arena, "%s(%s)", m->path, name);
    if (!file)
        return fl_out_of_memory(dg);
    fl_onnx_source source = {find_weights, m};
    FL_TRY(fl_onnx_decode_from(m->bytes + e->offset, e->size, file, &source, slot, dg));
    *out = *slot;
    return FL_OK;
}

fl_status fl_model_program(fl_model *m, fl_program p, const fl_graph **out, fl_diag *dg)
{
    char name[32];
    snprintf(name, sizeof name, "%s.onnx", fl_program_name(p));
    return read_graph(m, name, &m->programs[p], out, dg);
}

fl_status fl_model_source(fl_model *m, const fl_graph **out, fl_diag *dg)
{
    return read_graph(m, FL_MODEL_SOURCE, &m->source, out, dg);
}

uint32_t fl_model_n_variables(const fl_model *m)
{
    return m->n_variables;
}

const fl_tensor *fl_model_variable(const fl_model *m, uint32_t i, const char **name)
{
    *name = m->variables[i].name;
    return &m->variables[i].tensor;
}

static const stored *find_stored(const fl_model *m, const char *name)
{
    uint32_t low = 0, high = m->n_variables;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const stored *v = &m->variables[m->by_name[middle]];
        int order = strcmp(name, v->name);
        if (order == 0)
            return v;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const fl_tensor *fl_model_find_variable(const fl_model *m, const char *name)
{
    const stored *v = find_stored(m, name);
    return v ? &v->tensor : NULL;
}

bool fl_model_variable_checksum(const fl_model *m, const char *name, uint32_t *crc)
{
    const stored *v = find_stored(m, name);
    if (!v || !v->has_checksum)
        return false;
    *crc = v->checksum;
    return true;
}

const void *fl_model_entry(const fl_model *m, const char *name, size_t *n)
{
    const fl_zip_entry *e = find_entry(m, name);
    *n = e ? e->size : 0;
    return e ? m->bytes + e->offset : NULL;
}

static bool is_part(const char *name)
{
    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        size_t n = strlen(fl_program_name((fl_program)p));
        if (strncmp(name, fl_program_name((fl_program)p), n) == 0 && strcmp(name + n, ".onnx") == 0)
            return true;
    }
    return strcmp(name, FL_MODEL_MANIFEST) == 0 || strcmp(name, FL_MODEL_SOURCE) == 0 || strcmp(name, FL_MODEL_WEIGHTS) == 0 ||
           strcmp(name, FL_MODEL_INDEX) == 0;
}

const char *fl_model_further_entry(const fl_model *m, uint32_t i)
{
    for (uint32_t k = 0; k < m->n_entries; k++)
        if (!is_part(m->entries[k].name) && i-- == 0)
            return m->entries[k].name;
    return NULL;
}

uint64_t fl_model_bytes(const fl_model *m)
{
    return m->n;
}

const char *fl_model_path(const fl_model *m)
{
    return m->path;
}
