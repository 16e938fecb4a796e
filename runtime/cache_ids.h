/*
 * cache_ids.h -- a cache's ids: each single-valued slot of a row has as many bits as its number of rows needs.
 */
#ifndef FL_RUNTIME_CACHE_IDS_H
#define FL_RUNTIME_CACHE_IDS_H

#include "ir/base/status.h"
#include "ir/manifest.h"

/* Bytes behind packed rows that must be readable and, where rows are packed, writable: words are loaded whole. */
enum { FL_PACKED_SLACK = 32 };

typedef struct fl_packed_ids {
    uint32_t n_columns, row_bytes;
    struct fl_packed_column *columns; /* [n_columns] */
    struct fl_packed_group *groups;   /* [n_groups] of columns that are unpacked together */
    uint32_t n_groups;
} fl_packed_ids;

/* Rows of slots are at most INT32_MAX. FL_NO_MEMORY is the only failure. */
FL_MUST_USE fl_status fl_packed_ids_init(fl_packed_ids *p, const fl_schema *schema);
void fl_packed_ids_deinit(fl_packed_ids *p); /* a zeroed one is fine */
/* Bytes of so many rows, a multiple of 8. */
uint64_t fl_packed_ids_bytes(const fl_packed_ids *p, uint64_t rows);
/* Rows of the table, int64 [n, n_columns], to packed rows in zeroed memory. */
void fl_ids_pack(const fl_packed_ids *p, const int64_t *from, size_t n, char *to);
/* And back. False: an id lies outside its slot's rows. */
bool fl_ids_unpack(const fl_packed_ids *p, const char *from, int64_t n, int64_t *to);

#endif
