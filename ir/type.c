#include "ir/type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    fl_dtype type;
    uint8_t size;
    const char *name;
} dtypes[] = {
    {FL_FLOAT, 4, "float"},     {FL_UINT8, 1, "uint8"},     {FL_INT8, 1, "int8"},        {FL_INT32, 4, "int32"},
    {FL_INT64, 8, "int64"},     {FL_STRING, 0, "string"},   {FL_BOOL, 1, "bool"},        {FL_FLOAT16, 2, "float16"},
    {FL_DOUBLE, 8, "double"},   {FL_BFLOAT16, 2, "bfloat16"},
};

size_t fl_dtype_size(fl_dtype t)
{
    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (dtypes[i].type == t)
            return dtypes[i].size;
    return 0;
}

size_t fl_dtype_place(fl_dtype t)
{
    return t == FL_STRING ? sizeof(char *) : fl_dtype_size(t);
}

const char *fl_dtype_name(fl_dtype t)
{
    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (dtypes[i].type == t)
            return dtypes[i].name;
    return "undefined";
}

fl_dtype fl_dtype_find(const char *name)
{
    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].type;
    return FL_DTYPE_NONE;
}

fl_type fl_type_make(fl_dtype t, int rank, const fl_dim *dims)
{
    FL_ASSERT(rank >= 0 && rank <= FL_MAX_RANK);
    fl_type type = {.dtype = t, .rank = (int8_t)rank};
    for (int i = 0; i < rank; i++)
        type.dims[i] = dims[i];
    return type;
}

bool fl_type_equal(const fl_type *a, const fl_type *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

bool fl_type_has_row_of_run(const fl_type *t)
{
    for (int d = 1; d < t->rank; d++)
        if (FL_DIM_IS_SYM(t->dims[d]))
            return true;
    return false;
}

bool fl_type_is_static(const fl_type *t)
{
    for (int i = 0; i < t->rank; i++)
        if (FL_DIM_IS_SYM(t->dims[i]))
            return false;
    return t->rank >= 0;
}

int64_t fl_type_elements(const fl_type *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, t->dims[i], &n))
            return -1;
    return n;
}

static double half_to_double(uint16_t h)
{
    int exponent = (h >> 10) & 31;
    double m = h & 1023;
    double v = exponent == 31 ? (m != 0 ? NAN : INFINITY) : exponent == 0 ? ldexp(m, -24) : ldexp(m + 1024, exponent - 25);
    return h & 0x8000 ? -v : v;
}

#define READ(type, bytes, i)                                                                                 \
    (__extension__({                                                                                         \
        type read_;                                                                                          \
        memcpy(&read_, (const char *)(bytes) + (size_t)(i) * sizeof read_, sizeof read_);                    \
        read_;                                                                                               \
    }))

double fl_tensor_get_double(const fl_tensor *t, int64_t i)
{
    switch (t->type.dtype) {
    case FL_FLOAT:
        return (double)READ(float, t->bytes, i);
    case FL_DOUBLE:
        return READ(double, t->bytes, i);
    case FL_FLOAT16:
        return half_to_double(READ(uint16_t, t->bytes, i));
    case FL_BFLOAT16: {
        uint32_t bits = (uint32_t)READ(uint16_t, t->bytes, i) << 16;
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    case FL_UINT8:
    case FL_INT8:
    case FL_INT32:
    case FL_INT64:
    case FL_BOOL:
        return (double)fl_tensor_get_int(t, i);
    case FL_STRING:
    case FL_DTYPE_NONE:
        break;
    }
    return NAN;
}

int64_t fl_tensor_get_int(const fl_tensor *t, int64_t i)
{
    switch (t->type.dtype) {
    case FL_UINT8:
        return READ(uint8_t, t->bytes, i);
    case FL_BOOL:
        return READ(uint8_t, t->bytes, i) != 0;
    case FL_INT8:
        return READ(int8_t, t->bytes, i);
    case FL_INT32:
        return READ(int32_t, t->bytes, i);
    case FL_INT64:
        return READ(int64_t, t->bytes, i);
    case FL_FLOAT:
    case FL_DOUBLE:
    case FL_FLOAT16:
    case FL_BFLOAT16: {
        double v = fl_tensor_get_double(t, i);
        return v >= -9.2e18 && v <= 9.2e18 ? (int64_t)v : 0;
    }
    case FL_STRING:
        return (int64_t)(intptr_t)READ(const char *, t->bytes, i);
    case FL_DTYPE_NONE:
        break;
    }
    return 0;
}

/* Rounds to nearest, even: rint does, in units of the last place that a half of this size has. */
static uint16_t half_from_double(double f)
{
    uint16_t sign = signbit(f) ? 0x8000 : 0;
    double a = fabs(f);
    int exponent;
    if (isnan(f))
        return 0x7e00;
    if (a >= 65520) /* halfway to the next power above the largest half */
        return (uint16_t)(sign | 0x7c00);
    frexp(a, &exponent);
    exponent = exponent < -13 || a == 0 ? -13 : exponent; /* subnormal halves, and 0, share the smallest unit */
    double m = rint(ldexp(a, 11 - exponent));   /* up to 2048: carries into the exponent by itself */
    return (uint16_t)(sign + ((unsigned)(exponent + 13) << 10) + (unsigned)m);
}

static uint16_t bfloat16_from_double(double f)
{
    float narrow = (float)f;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (isnan(narrow))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#define WRITE(type, bytes, i, v)                                                                             \
    do {                                                                                                     \
        type written_ = (type)(v);                                                                           \
        memcpy((char *)(bytes) + (size_t)(i) * sizeof written_, &written_, sizeof written_);                 \
    } while (0)

void fl_tensor_set_double(void *bytes, fl_dtype t, int64_t i, double f)
{
    switch (t) {
    case FL_FLOAT:
        WRITE(float, bytes, i, f);
        return;
    case FL_DOUBLE:
        WRITE(double, bytes, i, f);
        return;
    case FL_FLOAT16:
        WRITE(uint16_t, bytes, i, half_from_double(f));
        return;
    case FL_BFLOAT16:
        WRITE(uint16_t, bytes, i, bfloat16_from_double(f));
        return;
    case FL_UINT8:
    case FL_INT8:
    case FL_INT32:
    case FL_INT64:
    case FL_BOOL:
        fl_tensor_set_int(bytes, t, i, f >= -0x1p63 && f < 0x1p63 ? (int64_t)f : 0);
        return;
    case FL_STRING:
    case FL_DTYPE_NONE:
        return;
    }
}

void fl_tensor_set_int(void *bytes, fl_dtype t, int64_t i, int64_t v)
{
    switch (t) {
    case FL_UINT8:
    case FL_INT8:
        WRITE(uint8_t, bytes, i, (uint64_t)v);
        return;
    case FL_BOOL:
        WRITE(uint8_t, bytes, i, v != 0);
        return;
    case FL_INT32:
        WRITE(uint32_t, bytes, i, (uint64_t)v);
        return;
    case FL_INT64:
        WRITE(int64_t, bytes, i, v);
        return;
    case FL_FLOAT:
    case FL_DOUBLE:
    case FL_FLOAT16:
    case FL_BFLOAT16:
        fl_tensor_set_double(bytes, t, i, (double)v);
        return;
    case FL_STRING:
    case FL_DTYPE_NONE:
        return;
    }
}

double fl_widen(float f)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f)
            return strtod(text, NULL);
    }
    return (double)f; /* NaN */
}
