/*
 * batch.h -- rows on their way from a reader to a session: what the graph's inputs are filled from.
 *
 * Ids are rows of the packed table already (manifest.h, fl_schema): slot and id have become one number. Arrays
 * grow and are kept between batches, so that a batch that is filled again and again stops allocating.
 */
#ifndef FL_RUNTIME_BATCH_H
#define FL_RUNTIME_BATCH_H

#include "ir/base/diag.h"
#include "ir/manifest.h"

/* The values of one multi-valued slot: row b has values[offsets[b]] ... values[offsets[b + 1] - 1]. */
typedef struct fl_bag {
    uint32_t slot;    /* index into the schema's slots */
    int64_t *values;  /* [n_values] table rows */
    int64_t n_values, capacity;
    int64_t *offsets; /* [n + 1], offsets[0] = 0 */
} fl_bag;

typedef struct fl_batch {
    int64_t n, capacity;   /* rows in use; rows that fit */
    uint32_t n_columns;    /* single-valued slots */
    uint32_t n_bags;       /* multi-valued slots */
    int64_t *ids;          /* [n, n_columns] table rows, row-major, slots in the schema's order */
    fl_bag *bags;          /* [n_bags], in the schema's order */
    float *label;          /* [n]; 0 where the input has none */
    int64_t *row;          /* [n] number of the row in the whole input, from 0; bad rows count */
    uint8_t *bad;          /* [n] 1: the row could not be read (only if the reader keeps such rows); its ids are harmless */
    uint8_t *part;         /* [n] 1: the row's text in the reader's split column is at or behind the split (prepare) */
} fl_batch;

/* An empty batch with the schema's columns and bags; no rows fit yet. */
FL_MUST_USE fl_status fl_batch_init(fl_batch *b, const fl_schema *schema);
void fl_batch_deinit(fl_batch *b);
/* Make room for `capacity` rows in all. Contents stay. */
FL_MUST_USE fl_status fl_batch_reserve(fl_batch *b, int64_t capacity);
/* Make room for `more` values beyond those that bag `bag` has. */
FL_MUST_USE fl_status fl_batch_reserve_values(fl_batch *b, uint32_t bag, int64_t more);
/* Append rows [from, from + n) of src, whose row numbers count from row_base. Shapes must agree. */
FL_MUST_USE fl_status fl_batch_append(fl_batch *b, const fl_batch *src, int64_t from, int64_t n, int64_t row_base);
/* Forget the rows, keep the memory. */
void fl_batch_clear(fl_batch *b);

#endif
