/*
 * case_file.h -- a reference case folder in memory: case.json, expected.json, index.json and the arrays of its binary files.
 *
 * Read strictly: a missing member, a wrong type, a gap or overlap in a binary file, a number that is not finite fail the case by name.
 */
#ifndef FL_TESTS_CASES_CASE_FILE_H
#define FL_TESTS_CASES_CASE_FILE_H

#include "ir/type.h"
#include "verdict.h"

#include <jansson.h>

typedef struct case_array {
    const char *file, *name;
    fl_dtype dtype; /* FL_FLOAT, FL_DOUBLE, FL_INT32 */
    int rank;
    int64_t dims[FL_MAX_RANK];
    int64_t n;
    const uint8_t *bytes;
} case_array;

typedef struct case_file {
    fl_arena arena; /* holds the arrays and their bytes */
    json_t *about, *expected, *index;
    const char *id; /* as case.json says */
    case_array *arrays;
    uint32_t n_arrays, capacity;
} case_file;

/* False with a verdict. On success the caller ends *c with case_file_deinit. */
bool case_file_read(case_file *c, const char *folder, verdict *v);
void case_file_deinit(case_file *c);

/* NULL if the file has no such array. */
const case_array *case_file_find(const case_file *c, const char *file, const char *name);
/* The same, and a missing one, another element type (FL_DTYPE_NONE: any) or another shape fails the case. rank -1: any shape. */
const case_array *case_file_array(const case_file *c, const char *file, const char *name, fl_dtype dtype, int rank, const int64_t *dims,
                                  verdict *v);
double case_array_double(const case_array *a, int64_t i);
int64_t case_array_int(const case_array *a, int64_t i);
/* All elements as doubles, in the arena; NULL and a verdict if out of memory. */
double *case_array_doubles(fl_arena *arena, const case_array *a, verdict *v);

/* Members of JSON objects; what is missing or of another type fails the case with `where` in front. */
const json_t *case_member(const json_t *object, const char *where, const char *key, json_type type, verdict *v);
const char *case_text(const json_t *object, const char *where, const char *key, verdict *v);             /* NULL if wrong */
bool case_number(const json_t *object, const char *where, const char *key, double *out, verdict *v);    /* real or integer */
bool case_integer(const json_t *object, const char *where, const char *key, int64_t low, int64_t *out, verdict *v); /* >= low */
/* Numbers of an array of any depth, row-major; n in all. */
bool case_numbers(fl_arena *arena, const json_t *value, const char *where, double **out, int64_t *n, verdict *v);
/* Skips the case if the object has a key that is not in the NULL-ended list: what it would mean is not known. */
bool case_known_keys(const json_t *object, const char *where, const char *const *keys, verdict *v);

#endif
