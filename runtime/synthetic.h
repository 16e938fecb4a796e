/*
 * synthetic.h -- rows without meaning, drawn for measuring: ids as skewed as people's are, in each slot's part of the table.
 */
#ifndef FL_RUNTIME_SYNTHETIC_H
#define FL_RUNTIME_SYNTHETIC_H

#include "runtime/batch.h"

/* Zipf's law over ranks 1 ... n: P(rank) ~ rank^-exponent, exponent > 0. */
typedef struct fl_zipf {
    int64_t n;
    double exponent, left, span, shift; /* of the inverted integral */
} fl_zipf;

fl_zipf fl_zipf_make(int64_t n, double exponent);
/* The rank that belongs to draw i of stream `stream`, from 1. Constant time, no table. */
int64_t fl_zipf_draw(const fl_zipf *z, uint64_t seed, uint64_t stream, uint64_t i);

/* Zipf's law over the numbers first ... first + n - 1, frequent ones scattered: side by side they would share cache lines and pages as ids of people do not. */
typedef struct fl_scatter {
    fl_zipf zipf;
    int64_t step; /* prime to n: rank -> rank * step mod n is a permutation */
    int64_t first;
} fl_scatter;

fl_scatter fl_scatter_make(int64_t first, int64_t n, double exponent);
int64_t fl_scatter_draw(const fl_scatter *d, uint64_t seed, uint64_t stream, uint64_t i);

/*
 * Append n rows to b (initialised for the schema, which is bound). Single-valued slots: Zipf with `skew`, ranks scattered over the slot's
 * rows. Multi-valued ones: 0 to 4 such values. Labels: `positives` of 1. Row i of the input follows from (seed, i) alone. FL_NO_MEMORY only.
 */
FL_MUST_USE fl_status fl_synthetic_rows(fl_batch *b, const fl_schema *schema, double skew, double positives, uint64_t seed, int64_t n);

#endif
