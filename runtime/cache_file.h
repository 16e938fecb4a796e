/*
 * cache_file.h -- rows as `flenrt prepare` leaves them: encoded, packed, in blocks that are read and checked one by one.
 *
 * Layout (little-endian; everything at multiples of 8 bytes):
 *   header, 4096 bytes: magic "FLENROWS", u32 version, u32 bytes of a row's ids, u64 schema hash, u32 single-valued slots, u32
 *     multi-valued slots, u64 rows, u64 blocks, u64 file bytes, u64 offset of the index, u32 CRC-32 of the index, ..., u32 CRC-32 of what precedes
 *   blocks: ids [rows] of so many bytes, in which each single-valued slot has the bits that its number of rows needs, one after another from the lowest bit of the first
 *     byte on (row of the slot, from 0; row-major as batches are), zeros to a multiple of 8 bytes; labels float [rows]; for each multi-valued slot offsets
 *     u32 [rows + 1] and values u32 (rows of the packed table)
 *   index: for each block u64 offset, u64 bytes, u32 rows, u32 CRC-32C
 */
#ifndef FL_RUNTIME_CACHE_FILE_H
#define FL_RUNTIME_CACHE_FILE_H

#include "runtime/batch.h"
#include "runtime/vocabulary.h"

typedef struct fl_cache fl_cache;

/* A block as it lies in the file: zeroed before the first use, its memory is kept from block to block of one cache. */
typedef struct fl_cache_buffer {
    char *bytes;
    size_t capacity;
    int64_t n;             /* rows */
    const uint32_t **bags; /* each bag's offsets [n + 1], its values behind them */
} fl_cache_buffer;

void fl_cache_buffer_deinit(fl_cache_buffer *b);

/* Whether the file begins like a cache. Errors: it cannot be opened or read. */
FL_MUST_USE fl_status fl_cache_recognise(const char *path, bool *is_cache, fl_diag *dg);
/* Open it and check header and index; blocks are checked when they are read. Any bytes end in success or a diagnostic. */
FL_MUST_USE fl_status fl_cache_open(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary, fl_cache **out, fl_diag *dg);
void fl_cache_close(fl_cache *c); /* NULL is fine */
uint64_t fl_cache_n_blocks(const fl_cache *c);
/* Bytes of the file before block `block`. */
int64_t fl_cache_position(const fl_cache *c, uint64_t block);
/* Block `block` into the buffer. Checks its CRC and its form. Several threads may read different blocks at once. */
FL_MUST_USE fl_status fl_cache_fetch(const fl_cache *c, uint64_t block, fl_cache_buffer *buffer, fl_diag *dg);
/* Rows [from, from + n) of a fetched block behind those of `out`, their numbers counted from row_base; checks that every id lies in its slot's part of the table. */
FL_MUST_USE fl_status fl_cache_append(const fl_cache *c, const fl_cache_buffer *buffer, int64_t from, int64_t n, int64_t row_base, fl_batch *out,
                                      fl_diag *dg);
/* Ask the system for what follows block `block`, once for so many blocks: for those who fetch where they also compute. */
void fl_cache_read_ahead(const fl_cache *c, uint64_t block);

typedef struct fl_cache_writer fl_cache_writer;

/* Write aside to PATH.tmp.PID. The schema must be bound. */
FL_MUST_USE fl_status fl_cache_create(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary, fl_cache_writer **out, fl_diag *dg);
FL_MUST_USE fl_status fl_cache_write(fl_cache_writer *w, const fl_batch *rows, int64_t from, int64_t n, fl_diag *dg);
/* Write index and header, rename to PATH. The writer is freed in any case; on failure nothing is left. */
FL_MUST_USE fl_status fl_cache_finish(fl_cache_writer *w, fl_diag *dg);
/* Give up: the temporary file is removed. NULL is fine. */
void fl_cache_abandon(fl_cache_writer *w);

#endif
