/*
 * vocabulary_format.h -- the bytes of a vocabulary, shared by its user, its builder and the readers. The words are in vocabulary.c.
 */
#ifndef FL_RUNTIME_VOCABULARY_FORMAT_H
#define FL_RUNTIME_VOCABULARY_FORMAT_H

#include "runtime/vocabulary.h"

#include <string.h>

#define FL_VOCABULARY_MAGIC   "FLENVOCB"
#define FL_VOCABULARY_VERSION 2u

typedef struct fl_vocabulary_header {
    char magic[8];
    uint32_t version, n_slots;
    uint64_t bytes;
    uint32_t crc, reserved;
} fl_vocabulary_header;

typedef struct fl_vocabulary_record {
    uint64_t name, name_bytes, rows, n_entries, ends, text, text_bytes, table, n_lines;
} fl_vocabulary_record;

_Static_assert(sizeof(fl_vocabulary_header) == 32 && sizeof(fl_vocabulary_record) == 72, "stored as they are");

/* A place of a dictionary's table. */
typedef struct fl_vocabulary_place {
    uint64_t key;   /* the text, if it has at most FL_VOCABULARY_SHORT bytes (zeros behind it); else its hash */
    uint32_t entry; /* from 1; 0: the place is free */
    uint32_t bytes; /* of the text */
} fl_vocabulary_place;

enum {
    FL_VOCABULARY_SHORT = 8,
    FL_VOCABULARY_LINE = 4,      /* places of a cache line */
    FL_VOCABULARY_LINE_LOAD = 3, /* of them taken, on average */
    FL_VOCABULARY_ALIGN = 64     /* of tables in the file */
};

_Static_assert(sizeof(fl_vocabulary_place) * FL_VOCABULARY_LINE == FL_VOCABULARY_ALIGN, "a line of places is a cache line");

/* The key of a text. */
static inline uint64_t fl_vocabulary_key(const char *text, size_t n)
{
    const unsigned char *c = (const unsigned char *)text;
    uint32_t low, high;

    if (n > FL_VOCABULARY_SHORT)
        return fl_text_hash(text, n);
    if (n < 4)
        return n ? (uint64_t)c[0] | (uint64_t)c[n / 2] << 8 * (n / 2) | (uint64_t)c[n - 1] << 8 * (n - 1) : 0;
    memcpy(&low, text, 4);
    memcpy(&high, text + n - 4, 4);
    return low | (uint64_t)high << 8 * (n - 4);
}

/* The home line of a key in a table of n_lines. */
static inline uint64_t fl_vocabulary_line(uint64_t key, size_t n, uint64_t n_lines)
{
    __extension__ typedef unsigned __int128 wide;
    wide m = (wide)(key ^ 0xbf58476d1ce4e5b9u) * (0x9e3779b97f4a7c15u ^ (uint64_t)n << 1);
    return (((uint64_t)m ^ (uint64_t)(m >> 64)) >> 32) * n_lines >> 32;
}

typedef struct fl_vocabulary_slot {
    int64_t rows;
    uint64_t n_entries;
    const uint64_t *ends;
    const char *text;
    uint64_t text_bytes;
    const fl_vocabulary_place *table; /* [FL_VOCABULARY_LINE * n_lines] */
    uint64_t n_lines;
} fl_vocabulary_slot;

/* What slot `slot` has; rows 0 and no line where it has no dictionary. */
const fl_vocabulary_slot *fl_vocabulary_slot_get(const fl_vocabulary *v, uint32_t slot);

/*
 * Look-ups that are gathered and done together: in a large dictionary each costs a cache miss, and those of different values overlap. Texts
 * must stay where they are until then.
 */
enum { FL_VOCABULARY_TOGETHER = 64 };
typedef struct fl_vocabulary_look_up {
    const fl_vocabulary_slot *slot;
    const char *text;
    uint64_t key;
    uint64_t line;
    uint32_t n;
    int64_t first_row, *row;
} fl_vocabulary_look_up;

typedef struct fl_vocabulary_look_ups {
    uint32_t n; /* starts at 0 */
    fl_vocabulary_look_up at[FL_VOCABULARY_TOGETHER];
} fl_vocabulary_look_ups;

/* Those that wait. */
void fl_vocabulary_find_all(fl_vocabulary_look_ups *l);

/* Later *row = first_row + the value's id. Does those that wait if there are too many. */
static inline void fl_vocabulary_find_later(fl_vocabulary_look_ups *l, const fl_vocabulary_slot *slot, const char *text, size_t n, int64_t first_row, int64_t *row)
{
    if (l->n == FL_VOCABULARY_TOGETHER)
        fl_vocabulary_find_all(l);
    fl_vocabulary_look_up *u = &l->at[l->n++];
    u->key = fl_vocabulary_key(text, n);
    u->line = fl_vocabulary_line(u->key, n, slot->n_lines);
    __builtin_prefetch(slot->table + u->line * FL_VOCABULARY_LINE); /* harmless where there is no line */
    u->slot = slot;
    u->text = text;
    u->n = (uint32_t)n;
    u->first_row = first_row;
    u->row = row;
}

/* Open allocated bytes, which then belong to the vocabulary (and are freed on failure). */
FL_MUST_USE fl_status fl_vocabulary_adopt(void *bytes, size_t n, const fl_schema *schema, fl_vocabulary **out, fl_diag *dg);

#endif
