#include "ir/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fl_arena_chunk {
    fl_arena_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

struct fl_arena_callback {
    fl_arena_callback *next;
    void (*fn)(void *);
    void *arg;
};

enum { ALIGNMENT = 16, FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

static _Thread_local uint64_t fail_countdown;

void fl_arena_fail_after(uint64_t n)
{
    fail_countdown = n;
}

static bool must_fail(void)
{
    if (fail_countdown == 0)
        return false;
    if (fail_countdown == 1)
        return true;
    fail_countdown--;
    return false;
}

void fl_arena_init(fl_arena *a)
{
    *a = (fl_arena){0};
}

void fl_arena_deinit(fl_arena *a)
{
    for (fl_arena_callback *c = a->callbacks; c; c = c->next)
        c->fn(c->arg);
    while (a->chunk) {
        fl_arena_chunk *next = a->chunk->next;
        free(a->chunk);
        a->chunk = next;
    }
    *a = (fl_arena){0};
}

void *fl_arena_alloc(fl_arena *a, size_t size)
{
    if (must_fail() || size > SIZE_MAX / 2) {
        a->failed = true;
        return NULL;
    }
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    fl_arena_chunk *c = a->chunk;
    if (!c || c->size - c->used < size) {
        size_t want = c ? 2 * c->size : FIRST_CHUNK;
        if (want > LARGEST_CHUNK)
            want = LARGEST_CHUNK;
        if (want < size)
            want = size;
        fl_arena_chunk *fresh = malloc(sizeof *fresh + want);
        if (!fresh) {
            a->failed = true;
            return NULL;
        }
        *fresh = (fl_arena_chunk){.next = c, .size = want};
        a->chunk = c = fresh;
    }
    void *p = c->bytes + c->used;
    c->used += size;
    a->used_bytes += size;
    return p;
}

void *fl_arena_calloc(fl_arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        a->failed = true;
        return NULL;
    }
    void *p = fl_arena_alloc(a, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

char *fl_arena_strndup(fl_arena *a, const char *text, size_t n)
{
    char *copy = fl_arena_alloc(a, n + 1);
    if (copy) {
        if (n) /* no text may be NULL */
            memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *fl_arena_printf(fl_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : fl_arena_alloc(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

fl_status fl_arena_on_free(fl_arena *a, void (*fn)(void *), void *arg)
{
    fl_arena_callback *c = fl_arena_alloc(a, sizeof *c);
    if (!c)
        return FL_NO_MEMORY;
    *c = (fl_arena_callback){a->callbacks, fn, arg};
    a->callbacks = c;
    return FL_OK;
}

bool fl_arena_grow(fl_arena *a, void **array, size_t item_size, uint32_t n, uint32_t *capacity)
{
    uint32_t want = *capacity ? 2 * *capacity : 8;
    void *grown = want < *capacity ? NULL : fl_arena_alloc(a, want * item_size);
    if (!grown) {
        a->failed = true;
        return false;
    }
    if (n)
        memcpy(grown, *array, n * item_size);
    *array = grown;
    *capacity = want;
    return true;
}
