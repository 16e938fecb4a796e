/*
 * strpool.h -- interned strings: equal text, equal pointer, for the life of the pool's arena.
 */
#ifndef FL_IR_BASE_STRPOOL_H
#define FL_IR_BASE_STRPOOL_H

#include "ir/base/arena.h"

typedef struct fl_strpool {
    fl_arena *arena;
    const char **slots; /* open addressing; NULL is free */
    uint32_t n_slots, n_used;
} fl_strpool;

void fl_strpool_init(fl_strpool *p, fl_arena *arena);
/* The pool's copy of the `n` bytes at `text` (no NUL inside); NULL if out of memory. */
const char *fl_strpool_put(fl_strpool *p, const char *text, size_t n);
/* The pool's copy if it has one, else NULL. */
const char *fl_strpool_find(const fl_strpool *p, const char *text, size_t n);
/* FNV-1a over `n` bytes; not for adversaries: bound what is put in. */
uint64_t fl_hash_bytes(const void *bytes, size_t n, uint64_t seed);
/* For tables of names that strangers choose: SipHash-1-3 under a key that each process draws. Never let its value be seen. */
uint64_t fl_hash_name(const char *name, size_t n);

#endif
