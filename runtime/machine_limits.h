/*
 * machine_limits.h -- the most that this machine does, measured: multiply-adds, memory read in order, rows looked up.
 *
 * A yardstick beside which `flenrt bench` puts what code reaches. Each figure is the fastest of many short windows, because other work on the
 * machine can only slow a window down. The workers of the pool (NULL: the caller alone) work side by side. Loops are compiled for `level`,
 * "x86-64-v2", "-v3" or "-v4", which the machine must have.
 */
#ifndef FL_RUNTIME_MACHINE_LIMITS_H
#define FL_RUNTIME_MACHINE_LIMITS_H

#include "runtime/threads.h"

/* Single-precision operations a second, of all workers; a multiply-add is two. Level v2 has none: products and sums in turn. */
double fl_limit_flops(fl_pool *pool, const char *level, double seconds);

/* Bytes a second of all workers, each of which reads its part of bytes[n] in order, over and over. n a multiple of 256 for each worker. */
double fl_limit_read(fl_pool *pool, const char *level, const void *bytes, size_t n, double seconds);

/* Rows of a table, or records, by number. */
typedef struct fl_limit_rows {
    uint8_t *base;         /* row i: bytes [i * stride, i * stride + row_bytes) of it */
    size_t stride, row_bytes;
    bool writes;           /* a row is written back as it was read */
    const int64_t *const *ids; /* one list for each worker; where rows are written no two lists may share one */
    const int64_t *n_ids;
} fl_limit_rows;

/* Rows a second of all workers, each of which walks along its list, again and again where it is short; fetching a few rows ahead or not, whichever is faster. */
double fl_limit_look_ups(fl_pool *pool, const char *level, const fl_limit_rows *rows, double seconds);

#endif
