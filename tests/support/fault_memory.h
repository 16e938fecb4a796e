/*
 * fault_memory.h -- the C library's allocator with failures on demand, for a test program of its own (one source file includes this).
 *
 * Every allocation of the process goes through here, those of libyaml, protobuf-c, zlib, zstd and the C library's own strdup, fopen and
 * getline too. Blocks in use are counted, so that a test sees a leak without another tool. Not for sanitizer builds: they want to be the allocator.
 */
#ifndef FL_TESTS_FAULT_MEMORY_H
#define FL_TESTS_FAULT_MEMORY_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static atomic_long fault_calls; /* allocations since fault_set */
static atomic_long fault_first; /* 0: none fails */
static atomic_bool fault_lasts; /* all behind the first fail too */
static atomic_long fault_blocks; /* in use */

/* From now on the n-th allocation fails; with `lasts` all later ones too. n 0: none. */
static void fault_set(long n, bool lasts)
{
    atomic_store(&fault_first, 0);
    atomic_store(&fault_calls, 0);
    atomic_store(&fault_lasts, lasts);
    atomic_store(&fault_first, n);
}

static bool fault_now(void)
{
    long first = atomic_load(&fault_first), now = atomic_fetch_add(&fault_calls, 1) + 1;
    if (!first || now < first || (now > first && !atomic_load(&fault_lasts)))
        return false;
    errno = ENOMEM;
    return true;
}

static void *fault_count(void *p)
{
    if (p)
        atomic_fetch_add(&fault_blocks, 1);
    return p;
}

#define FAULT_EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

FAULT_EXPORT void *malloc(size_t size)
{
    return fault_now() ? NULL : fault_count(__libc_malloc(size));
}

FAULT_EXPORT void *calloc(size_t n, size_t size)
{
    return fault_now() ? NULL : fault_count(__libc_calloc(n, size));
}

FAULT_EXPORT void *realloc(void *p, size_t size)
{
    if (fault_now())
        return NULL;
    void *grown = __libc_realloc(p, size);
    return p ? grown : fault_count(grown);
}

FAULT_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return fault_now() ? NULL : fault_count(__libc_memalign(alignment, size));
}

FAULT_EXPORT int posix_memalign(void **p, size_t alignment, size_t size)
{
    void *block = aligned_alloc(alignment, size);
    if (!block)
        return ENOMEM;
    *p = block;
    return 0;
}

FAULT_EXPORT void free(void *p)
{
    if (p)
        atomic_fetch_sub(&fault_blocks, 1);
    __libc_free(p);
}

#endif
