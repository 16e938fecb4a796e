/*
 * vocabulary_format.h -- the bytes of a vocabulary, shared by its user and its builder. The words are in vocabulary.c.
 */
#ifndef FL_RUNTIME_VOCABULARY_FORMAT_H
#define FL_RUNTIME_VOCABULARY_FORMAT_H

#include "runtime/vocabulary.h"

#define FL_VOCABULARY_MAGIC   "FLENVOCB"
#define FL_VOCABULARY_VERSION 1u

typedef struct fl_vocabulary_header {
    char magic[8];
    uint32_t version, n_slots;
    uint64_t bytes;
    uint32_t crc, reserved;
} fl_vocabulary_header;

typedef struct fl_vocabulary_record {
    uint64_t name, name_bytes, rows, n_entries, ends, text, text_bytes, table, n_places;
} fl_vocabulary_record;

_Static_assert(sizeof(fl_vocabulary_header) == 32 && sizeof(fl_vocabulary_record) == 72, "stored as they are");

typedef struct fl_vocabulary_slot {
    int64_t rows;
    uint64_t n_entries;
    const uint64_t *ends;
    const char *text;
    uint64_t text_bytes;
    const uint64_t *table;
    uint64_t n_places;
} fl_vocabulary_slot;

/* Open malloc'ed bytes, which then belong to the vocabulary (and are freed on failure). */
FL_MUST_USE fl_status fl_vocabulary_adopt(void *bytes, size_t n, const fl_schema *schema, fl_vocabulary **out, fl_diag *dg);

#endif
