/*
 * arena.h -- memory by lifetime: everything in an arena is freed together.
 *
 * Allocation never zeroes implicitly: use fl_arena_new for zeroed objects. A failed allocation returns NULL and
 * sets `failed`, which stays set. Foreign handles (mappings, libraries) are released by callbacks, last in first out.
 */
#ifndef FL_IR_BASE_ARENA_H
#define FL_IR_BASE_ARENA_H

#include "ir/base/status.h"

typedef struct fl_arena_chunk fl_arena_chunk;
typedef struct fl_arena_callback fl_arena_callback;

typedef struct fl_arena {
    fl_arena_chunk *chunk; /* newest */
    fl_arena_callback *callbacks;
    size_t used_bytes; /* handed out so far */
    bool failed;
} fl_arena;

void fl_arena_init(fl_arena *a);
/* Runs the callbacks, frees everything. */
void fl_arena_deinit(fl_arena *a);

/* `size` bytes, aligned to 16; NULL if out of memory. size 0 gives a valid pointer. */
void *fl_arena_alloc(fl_arena *a, size_t size);
/* count * size zeroed bytes; NULL if out of memory or if the product overflows. */
void *fl_arena_calloc(fl_arena *a, size_t count, size_t size);
/* A copy of `n` bytes of `text` plus a NUL. */
char *fl_arena_strndup(fl_arena *a, const char *text, size_t n);
char *fl_arena_printf(fl_arena *a, const char *format, ...) FL_PRINTF(2, 3);
/* Call fn(arg) when the arena is freed. On FL_NO_MEMORY fn was not registered. */
FL_MUST_USE fl_status fl_arena_on_free(fl_arena *a, void (*fn)(void *), void *arg);

#define fl_arena_new(arena, type, count) ((type *)fl_arena_calloc((arena), (count), sizeof(type)))

/* Test hook: the n-th allocation from now (1 is the next) fails, and all later ones; 0 switches it off. */
void fl_arena_fail_after(uint64_t n);

/*
 * Growing arrays in an arena: FL_PUSH(arena, array, n, capacity, item) appends, doubling; evaluates to false if out
 * of memory. Old copies stay in the arena until it is freed, at most as much again.
 */
#define FL_PUSH(arena, array, n, capacity, item)                                                             \
    (((n) < (capacity) || fl_arena_grow((arena), (void **)&(array), sizeof *(array), (n), &(capacity)))      \
         ? ((array)[(n)++] = (item), true)                                                                   \
         : false)
bool fl_arena_grow(fl_arena *a, void **array, size_t item_size, uint32_t n, uint32_t *capacity);

#endif
