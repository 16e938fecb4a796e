/*
 * type.h -- element types, shapes, tensors.
 */
#ifndef FL_IR_TYPE_H
#define FL_IR_TYPE_H

#include "ir/base/arena.h"

/* Values are ONNX's TensorProto.DataType. */
typedef enum fl_dtype {
    FL_DTYPE_NONE = 0,
    FL_FLOAT = 1,
    FL_UINT8 = 2,
    FL_INT8 = 3,
    FL_INT32 = 6,
    FL_INT64 = 7,
    FL_STRING = 8,
    FL_BOOL = 9,
    FL_FLOAT16 = 10,
    FL_DOUBLE = 11,
    FL_BFLOAT16 = 16
} fl_dtype;

/* Bytes of one element; 0 for strings and FL_DTYPE_NONE. */
size_t fl_dtype_size(fl_dtype t);
/* Bytes of one element in the memory of a program that runs: a string is the address of its text. */
size_t fl_dtype_place(fl_dtype t);
/* ONNX's text name ("float", "int64"); "undefined" for none. */
const char *fl_dtype_name(fl_dtype t);
/* FL_DTYPE_NONE if there is no such name. */
fl_dtype fl_dtype_find(const char *name);

enum { FL_MAX_RANK = 8 };

/*
 * A dimension: >= 0 is its extent; a negative one is a symbol of the graph, FL_DIM_SYM(0) the first.
 * Symbols are bound when a program runs (batch, numbers of values, numbers of distinct rows) or when training
 * starts (rows of an `auto` vocabulary).
 */
typedef int64_t fl_dim;
#define FL_DIM_SYM(symbol)  (-(fl_dim)(symbol)-1)
#define FL_DIM_IS_SYM(dim)  ((dim) < 0)
#define FL_SYM_OF_DIM(dim)  ((uint32_t)(-(dim)-1))

/* rank -1: the shape is not known (before infer-types). */
typedef struct fl_type {
    fl_dtype dtype;
    int8_t rank;
    fl_dim dims[FL_MAX_RANK];
} fl_type;

#define FL_TYPE_UNKNOWN ((fl_type){FL_DTYPE_NONE, -1, {0}})
fl_type fl_type_make(fl_dtype t, int rank, const fl_dim *dims);
bool fl_type_equal(const fl_type *a, const fl_type *b);
/* All dims static. */
bool fl_type_is_static(const fl_type *t);
/* Some dimension behind the first is a symbol: how many elements a row has is known at run time only. */
bool fl_type_has_row_of_run(const fl_type *t);
/* Product of dims, all of which must be static; -1 on overflow. A scalar has 1. */
int64_t fl_type_elements(const fl_type *t);

/*
 * Constant or stored data. Either `bytes` (dense, row-major, little-endian, owned by an arena or a mapping that
 * lives at least as long; strings: the addresses of their texts), or external: bytes NULL and `location` a file with `offset` and `length` in bytes.
 */
typedef struct fl_tensor {
    fl_type type; /* static */
    const void *bytes;
    const char *location;
    uint64_t offset, length;
} fl_tensor;

/* Element `i` of a tensor with bytes, as double or int64 (float16 and bfloat16 included); of a string the address of its text. */
double fl_tensor_get_double(const fl_tensor *t, int64_t i);
int64_t fl_tensor_get_int(const fl_tensor *t, int64_t i);
/* Element `i` of numbers of type t in memory: a double is rounded to nearest, even; an integer is cut to the type's width. */
void fl_tensor_set_double(void *bytes, fl_dtype t, int64_t i, double f);
void fl_tensor_set_int(void *bytes, fl_dtype t, int64_t i, int64_t v);

/*
 * The shortest decimal that reads back as the float `f`, read as double: 0.1f gives 0.1. Attributes hold doubles, so
 * that the interpreter computes with the number that was meant; ONNX files hold floats.
 */
double fl_widen(float f);

#endif
