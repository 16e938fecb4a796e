/*
 * einsum.h -- the equation of an Einsum, taken apart: an axis is a number, equal numbers are one axis of the sum.
 */
#ifndef FL_IR_EINSUM_H
#define FL_IR_EINSUM_H

#include "ir/type.h"

enum { FL_EINSUM_MAX_IN = 8, FL_EINSUM_LETTERS = 52, FL_EINSUM_AXES = FL_EINSUM_LETTERS + FL_MAX_RANK };

typedef struct fl_einsum {
    uint32_t n_in;
    int8_t rank[FL_EINSUM_MAX_IN];
    uint8_t axis[FL_EINSUM_MAX_IN][FL_MAX_RANK]; /* letters 0 to 51; the axes of "..." from 52 on, the last one of them first */
    int8_t out_rank;
    uint8_t out[FL_MAX_RANK];
} fl_einsum;

/* `ranks` are those of the n operands. NULL if the equation is well formed and fits them, else what is wrong (static text). */
const char *fl_einsum_parse(const char *equation, const int8_t *ranks, uint32_t n, fl_einsum *out);

#endif
