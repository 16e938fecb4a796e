#include "case_file.h"

#include "frontend/compile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ JSON members */

static const char *type_name(json_type t)
{
    switch (t) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "?";
}

const json_t *case_member(const json_t *object, const char *where, const char *key, json_type type, verdict *v)
{
    const json_t *member = json_object_get(object, key);
    if (!member) {
        verdict_fail(v, "%s: no member \"%s\"", where, key);
        return NULL;
    }
    if (json_typeof(member) != type) {
        verdict_fail(v, "%s: \"%s\" is %s, not %s", where, key, type_name(json_typeof(member)), type_name(type));
        return NULL;
    }
    return member;
}

const char *case_text(const json_t *object, const char *where, const char *key, verdict *v)
{
    const json_t *member = case_member(object, where, key, JSON_STRING, v);
    return member ? json_string_value(member) : NULL;
}

bool case_number(const json_t *object, const char *where, const char *key, double *out, verdict *v)
{
    const json_t *member = json_object_get(object, key);
    if (!json_is_number(member))
        return verdict_fail(v, "%s: \"%s\" is missing or no number", where, key);
    *out = json_number_value(member);
    return true;
}

bool case_integer(const json_t *object, const char *where, const char *key, int64_t low, int64_t *out, verdict *v)
{
    const json_t *member = case_member(object, where, key, JSON_INTEGER, v);
    if (!member)
        return false;
    if (json_integer_value(member) < low)
        return verdict_fail(v, "%s: \"%s\" is %lld", where, key, (long long)json_integer_value(member));
    *out = json_integer_value(member);
    return true;
}

static int64_t count_numbers(const json_t *value)
{
    if (json_is_number(value))
        return 1;
    if (!json_is_array(value))
        return INT32_MIN; /* makes the sum negative */
    int64_t n = 0;
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item)
        n += count_numbers(item);
    return n;
}

static double *put_numbers(const json_t *value, double *to)
{
    size_t i;
    const json_t *item;
    if (json_is_number(value)) {
        *to = json_number_value(value);
        return to + 1;
    }
    json_array_foreach(value, i, item)
        to = put_numbers(item, to);
    return to;
}

bool case_numbers(fl_arena *arena, const json_t *value, const char *where, double **out, int64_t *n, verdict *v)
{
    *n = value ? count_numbers(value) : -1;
    if (*n < 0)
        return verdict_fail(v, "%s: missing, or no array of numbers", where);
    *out = fl_arena_new(arena, double, (size_t)*n + 1);
    if (!*out)
        return verdict_fail(v, "out of memory");
    put_numbers(value, *out);
    return true;
}

bool case_known_keys(const json_t *object, const char *where, const char *const *keys, verdict *v)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        uint32_t i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0)
            i++;
        if (!keys[i])
            return verdict_skip(v, "%s: key \"%s\"", where, key);
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------ arrays */

const case_array *case_file_find(const case_file *c, const char *file, const char *name)
{
    for (uint32_t i = 0; i < c->n_arrays; i++)
        if (strcmp(c->arrays[i].file, file) == 0 && strcmp(c->arrays[i].name, name) == 0)
            return &c->arrays[i];
    return NULL;
}

const case_array *case_file_array(const case_file *c, const char *file, const char *name, fl_dtype dtype, int rank, const int64_t *dims,
                                  verdict *v)
{
    const case_array *a = case_file_find(c, file, name);
    bool fits = a && (rank < 0 || rank == a->rank);
    if (!a) {
        verdict_fail(v, "%s has no array \"%s\"", file, name);
        return NULL;
    }
    for (int d = 0; fits && d < rank; d++)
        fits = dims[d] == a->dims[d];
    if (!fits || (dtype != FL_DTYPE_NONE && dtype != a->dtype)) {
        verdict_fail(v, "%s: array \"%s\" has another shape or element type than it should", file, name);
        return NULL;
    }
    return a;
}

double case_array_double(const case_array *a, int64_t i)
{
    float f;
    double d;
    if (a->dtype == FL_INT32)
        return (double)case_array_int(a, i);
    if (a->dtype == FL_FLOAT) {
        memcpy(&f, a->bytes + 4 * i, sizeof f);
        return (double)f;
    }
    memcpy(&d, a->bytes + 8 * i, sizeof d);
    return d;
}

int64_t case_array_int(const case_array *a, int64_t i)
{
    int32_t k;
    FL_ASSERT(a->dtype == FL_INT32);
    memcpy(&k, a->bytes + 4 * i, sizeof k);
    return k;
}

double *case_array_doubles(fl_arena *arena, const case_array *a, verdict *v)
{
    double *f = fl_arena_new(arena, double, (size_t)a->n + 1);
    if (!f)
        verdict_fail(v, "out of memory");
    for (int64_t i = 0; f && i < a->n; i++)
        f[i] = case_array_double(a, i);
    return f;
}

static bool read_shape(const json_t *entry, const char *where, case_array *a, verdict *v)
{
    const json_t *shape = case_member(entry, where, "shape", JSON_ARRAY, v);
    if (!shape)
        return false;
    a->rank = (int)json_array_size(shape);
    a->n = 1;
    if (json_array_size(shape) > FL_MAX_RANK)
        return verdict_fail(v, "%s: \"%s\" has more than %d axes", where, a->name, FL_MAX_RANK);
    for (int d = 0; d < a->rank; d++) {
        const json_t *extent = json_array_get(shape, (size_t)d);
        a->dims[d] = json_is_integer(extent) ? json_integer_value(extent) : -1;
        if (a->dims[d] < 0 || __builtin_mul_overflow(a->n, a->dims[d], &a->n) || a->n > INT32_MAX)
            return verdict_fail(v, "%s: \"%s\" has a wrong shape", where, a->name);
    }
    return true;
}

static bool read_array(case_file *c, const json_t *entry, const char *file, const uint8_t *bytes, int64_t size, int64_t *at, verdict *v)
{
    case_array a = {.file = file};
    int64_t offset;
    const char *dtype = case_text(entry, file, "dtype", v);
    a.name = case_text(entry, file, "name", v);
    if (!a.name || !dtype || !read_shape(entry, file, &a, v) || !case_integer(entry, file, "offset", 0, &offset, v))
        return false;
    a.dtype = strcmp(dtype, "f32") == 0 ? FL_FLOAT : strcmp(dtype, "f64") == 0 ? FL_DOUBLE : strcmp(dtype, "i32") == 0 ? FL_INT32 : FL_DTYPE_NONE;
    if (a.dtype == FL_DTYPE_NONE || (int64_t)fl_dtype_size(a.dtype) != size)
        return verdict_fail(v, "%s: \"%s\" is %s in a file of %lld-byte elements", file, a.name, dtype, (long long)size);
    if (offset != *at)
        return verdict_fail(v, "%s: \"%s\" begins at %lld, the array before it ends at %lld", file, a.name, (long long)offset, (long long)*at);
    if (case_file_find(c, file, a.name))
        return verdict_fail(v, "%s: \"%s\" stands there twice", file, a.name);
    a.bytes = bytes + offset * size;
    *at = offset + a.n;
    return FL_PUSH(&c->arena, c->arrays, c->n_arrays, c->capacity, a) || verdict_fail(v, "out of memory");
}

static bool all_finite(const case_array *a, verdict *v)
{
    for (int64_t i = 0; i < a->n; i++)
        if (!isfinite(case_array_double(a, i)))
            return verdict_fail(v, "%s: \"%s\" is not finite at %lld", a->file, a->name, (long long)i);
    return true;
}

static bool read_binary(case_file *c, const char *folder, const json_t *entry, verdict *v)
{
    const char *file = case_text(entry, "index.json", "file", v);
    int64_t elements, size, at = 0;
    if (!file || !case_integer(entry, file, "elements", 0, &elements, v) || !case_integer(entry, file, "element_bytes", 1, &size, v))
        return false;
    const json_t *arrays = case_member(entry, file, "arrays", JSON_ARRAY, v), *item;
    char path[4096];
    char *raw = NULL;
    size_t n = 0, i;
    fl_diag dg;
    if (!arrays)
        return false;
    if (strchr(file, '/') || (size != 4 && size != 8))
        return verdict_fail(v, "index.json: a file called \"%s\" with elements of %lld bytes", file, (long long)size);
    fl_diag_init(&dg);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    bool fine = verdict_status(v, fl_file_read(path, (size_t)1 << 30, &raw, &n, &dg), file, &dg);
    fl_diag_deinit(&dg);
    if (!fine)
        return false;
    if (fl_arena_on_free(&c->arena, free, raw) != FL_OK) {
        free(raw);
        return verdict_fail(v, "out of memory");
    }
    if ((int64_t)n != elements * size)
        return verdict_fail(v, "%s: %zu bytes, index.json says %lld", file, n, (long long)(elements * size));
    uint32_t first = c->n_arrays;
    json_array_foreach(arrays, i, item) {
        /* The end is checked first: nothing may be read behind the file. */
        if (!read_array(c, item, file, (const uint8_t *)raw, size, &at, v))
            return false;
        if (at > elements)
            return verdict_fail(v, "%s: \"%s\" ends behind the file", file, c->arrays[c->n_arrays - 1].name);
    }
    if (at != elements)
        return verdict_fail(v, "%s: %lld elements, its arrays have %lld", file, (long long)elements, (long long)at);
    for (uint32_t k = first; k < c->n_arrays; k++)
        if (!all_finite(&c->arrays[k], v))
            return false;
    return true;
}

/* ------------------------------------------------------------------------------------------------------ folder */

static json_t *read_json(const char *folder, const char *name, verdict *v)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        verdict_fail(v, "%s:%d: %s", name, error.line, error.text);
    else if (!json_is_object(root))
        verdict_fail(v, "%s: no JSON object", name);
    return root;
}

bool case_file_read(case_file *c, const char *folder, verdict *v)
{
    int64_t format;
    size_t i;
    const json_t *entry;
    *c = (case_file){.id = NULL};
    fl_arena_init(&c->arena);
    c->about = read_json(folder, "case.json", v);
    c->expected = c->about ? read_json(folder, "expected.json", v) : NULL;
    c->index = c->expected ? read_json(folder, "index.json", v) : NULL;
    const json_t *files = NULL;
    if (c->index && v->outcome == CASE_PASSED && case_integer(c->about, "case.json", "format", 0, &format, v)) {
        if (format != 1)
            verdict_skip(v, "format %lld", (long long)format);
        c->id = case_text(c->about, "case.json", "id", v);
        files = case_member(c->index, "index.json", "files", JSON_ARRAY, v);
    }
    if (files)
        json_array_foreach(files, i, entry)
            if (v->outcome == CASE_PASSED)
                read_binary(c, folder, entry, v);
    if (v->outcome == CASE_PASSED)
        return true;
    case_file_deinit(c);
    return false;
}

void case_file_deinit(case_file *c)
{
    json_decref(c->about);
    json_decref(c->expected);
    json_decref(c->index);
    fl_arena_deinit(&c->arena);
}
