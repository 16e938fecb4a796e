/*
 * onnx_tensor.c -- a TensorProto as a tensor of ours: every dimension, size and range is judged before memory is asked for.
 */
#include "ir/onnx_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOC(r) FL_FILE((r)->file)

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

void *fl_onnx_alloc(void *arena, size_t size)
{
    return fl_arena_alloc(arena, size);
}

void fl_onnx_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

fl_status fl_onnx_check_dtype(const fl_onnx_place *r, int32_t type, const char *name)
{
    if (type == FL_STRING || fl_dtype_size((fl_dtype)type) > 0)
        return FL_OK;
    return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "\"%.200s\" has element type %d, which we do not have", name, type);
}

static fl_status tensor_error(const fl_onnx_place *r, const char *name, const char *what, uint64_t want, uint64_t got)
{
    return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": %s: expected %" PRIu64 ", found %" PRIu64, name, what, want, got);
}

static fl_status tensor_type(const fl_onnx_place *r, const Onnx__TensorProto *p, const char *name, fl_type *type, uint64_t *bytes)
{
    FL_TRY(fl_onnx_check_dtype(r, p->data_type, name));
    if (p->data_type == FL_STRING)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "tensor \"%.200s\": tensors of strings are not supported", name);
    if (p->n_dims > FL_MAX_RANK)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "tensor \"%.200s\" has %zu dimensions; we have at most %d", name, p->n_dims, FL_MAX_RANK);
    for (size_t i = 0; i < p->n_dims; i++)
        if (p->dims[i] < 0)
            return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": dimension %zu is negative: %" PRId64, name, i, p->dims[i]);
    *type = fl_type_make((fl_dtype)p->data_type, (int)p->n_dims, p->dims);
    int64_t n = fl_type_elements(type), size;
    if (n < 0 || __builtin_mul_overflow(n, (int64_t)fl_dtype_size(type->dtype), &size))
        return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": the product of its dimensions overflows", name);
    *bytes = (uint64_t)size;
    return FL_OK;
}

/* Elements of the typed fields, narrowed to the element type. */
static void copy_typed(const Onnx__TensorProto *p, fl_dtype t, unsigned char *out)
{
    size_t size = fl_dtype_size(t);
    for (size_t i = 0; i < p->n_int32_data; i++)
        memcpy(out + i * size, &p->int32_data[i], size);
}

static fl_status typed_data(const fl_onnx_place *r, const Onnx__TensorProto *p, const char *name, const fl_type *type, uint64_t n_bytes, const void **bytes)
{
    uint64_t want = (uint64_t)fl_type_elements(type);
    size_t n = type->dtype == FL_FLOAT    ? p->n_float_data
               : type->dtype == FL_DOUBLE ? p->n_double_data
               : type->dtype == FL_INT64  ? p->n_int64_data
                                          : p->n_int32_data;
    if (n != want)
        return tensor_error(r, name, "elements", want, n);
    unsigned char *copy = fl_arena_alloc(r->arena, n_bytes);
    if (!copy)
        return fl_out_of_memory(r->dg);
    const void *from = type->dtype == FL_FLOAT ? (const void *)p->float_data : type->dtype == FL_DOUBLE ? (const void *)p->double_data : p->int64_data;
    if (type->dtype != FL_FLOAT && type->dtype != FL_DOUBLE && type->dtype != FL_INT64)
        copy_typed(p, type->dtype, copy);
    else if (n_bytes)
        memcpy(copy, from, n_bytes);
    *bytes = copy;
    return FL_OK;
}

static bool read_number(const char *s, uint64_t *n)
{
    if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 19)
        return false;
    *n = strtoull(s, NULL, 10);
    return true;
}

static fl_status external_data(const fl_onnx_place *r, const Onnx__TensorProto *p, const char *name, const fl_type *type, uint64_t n_bytes, const void **bytes)
{
    fl_tensor wanted = {.type = *type, .length = UINT64_MAX};
    for (size_t i = 0; i < p->n_external_data; i++) {
        const char *key = or_empty(p->external_data[i]->key), *value = or_empty(p->external_data[i]->value);
        bool ok = true;
        if (strcmp(key, "location") == 0)
            wanted.location = value;
        else if (strcmp(key, "offset") == 0)
            ok = read_number(value, &wanted.offset);
        else if (strcmp(key, "length") == 0)
            ok = read_number(value, &wanted.length);
        else
            ok = strcmp(key, "checksum") == 0 || strcmp(key, "basepath") == 0;
        if (!ok)
            return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\": external data with %.40s \"%.100s\"", name, key, value);
    }
    if (!wanted.location)
        return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\": external data without a location", name);
    if (wanted.length != UINT64_MAX && wanted.length != n_bytes)
        return tensor_error(r, name, "bytes of external data", n_bytes, wanted.length);
    if (!r->source)
        return fl_error(r->dg, FL_E_ONNX_EXTERNAL, LOC(r), "tensor \"%.200s\" lies in \"%.200s\", but no folder for external data is known", name,
                        wanted.location);
    wanted.length = n_bytes;
    return r->source->find(r->source->self, r->g, name, &wanted, bytes, r->dg);
}

/* Texts, each with a NUL behind it. */
static fl_status string_tensor(const fl_onnx_place *r, const Onnx__TensorProto *p, const char *name, fl_tensor **out)
{
    int64_t n = (int64_t)p->n_string_data;
    fl_tensor *t = fl_arena_new(r->arena, fl_tensor, 1);
    const char **texts = fl_arena_new(r->arena, const char *, (size_t)n + 1);
    if (!t || !texts)
        return fl_out_of_memory(r->dg);
    for (size_t i = 0; i < p->n_dims; i++)
        if (p->dims[i] < 0)
            return fl_error(r->dg, FL_E_ONNX_TENSOR, LOC(r), "tensor \"%.200s\": dimension %zu is negative: %" PRId64, name, i, p->dims[i]);
    if (p->n_dims > FL_MAX_RANK)
        return fl_error(r->dg, FL_E_ONNX_KIND, LOC(r), "tensor \"%.200s\" has %zu dimensions; we have at most %d", name, p->n_dims, FL_MAX_RANK);
    t->type = fl_type_make(FL_STRING, (int)p->n_dims, p->dims);
    if (fl_type_elements(&t->type) != n)
        return tensor_error(r, name, "elements", (uint64_t)fl_type_elements(&t->type), (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        const ProtobufCBinaryData *s = &p->string_data[i];
        texts[i] = fl_arena_strndup(r->arena, (const char *)s->data, s->data ? s->len : 0);
        if (!texts[i])
            return fl_out_of_memory(r->dg);
    }
    t->bytes = texts;
    t->length = (uint64_t)n * sizeof *texts;
    *out = t;
    return FL_OK;
}

fl_status fl_onnx_read_tensor(const fl_onnx_place *r, const Onnx__TensorProto *p, const char *name, fl_tensor **out)
{
    fl_type type = FL_TYPE_UNKNOWN;
    uint64_t n_bytes = 0;
    if (p->data_type == FL_STRING && !r->g) /* data of its own, not part of a graph */
        return string_tensor(r, p, name, out);
    FL_TRY(tensor_type(r, p, name, &type, &n_bytes));
    fl_tensor *t = fl_arena_new(r->arena, fl_tensor, 1);
    if (!t)
        return fl_out_of_memory(r->dg);
    const void *bytes = NULL;
    if (p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        FL_TRY(external_data(r, p, name, &type, n_bytes, &bytes));
    } else if (p->has_raw_data) {
        if (p->raw_data.len != n_bytes)
            return tensor_error(r, name, "bytes", n_bytes, p->raw_data.len);
        void *copy = fl_arena_alloc(r->arena, n_bytes);
        if (!copy)
            return fl_out_of_memory(r->dg);
        if (n_bytes)
            memcpy(copy, p->raw_data.data, n_bytes);
        bytes = copy;
    } else {
        FL_TRY(typed_data(r, p, name, &type, n_bytes, &bytes));
    }
    *t = (fl_tensor){.type = type, .bytes = bytes, .length = n_bytes};
    *out = t;
    return FL_OK;
}


fl_status fl_onnx_decode_tensor(const void *bytes, size_t n, const char *file, fl_arena *arena, fl_tensor **out, const char **name, fl_diag *dg)
{
    FL_TRY(fl_onnx_scan(&onnx__tensor_proto__descriptor, bytes, n, file, NULL, dg));
    fl_arena messages;
    fl_arena_init(&messages);
    ProtobufCAllocator allocator = {fl_onnx_alloc, fl_onnx_free, &messages};
    Onnx__TensorProto *p = onnx__tensor_proto__unpack(&allocator, n, bytes);
    fl_onnx_place place = {.file = file, .arena = arena, .dg = dg};
    fl_status status = p                 ? fl_onnx_read_tensor(&place, p, or_empty(p->name), out)
                       : messages.failed ? fl_out_of_memory(dg)
                                         : fl_error(dg, FL_E_ONNX_FORMAT, FL_FILE(file), "this is no ONNX tensor, or a damaged one");
    if (status == FL_OK) {
        *name = fl_arena_strndup(arena, or_empty(p->name), strlen(or_empty(p->name)));
        status = *name ? FL_OK : fl_out_of_memory(dg);
    }
    fl_arena_deinit(&messages);
    return status;
}
