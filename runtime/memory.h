/*
 * memory.h -- large anonymous memory, on huge pages where the system gives them.
 */
#ifndef FL_RUNTIME_MEMORY_H
#define FL_RUNTIME_MEMORY_H

#include "ir/base/status.h"

typedef struct fl_pages {
    void *bytes;   /* aligned to 64 at least, to 2 MiB if larger than that; NULL: none */
    size_t size;   /* usable bytes */
    void *mapping; /* what fl_pages_free unmaps */
    size_t mapped;
} fl_pages;

/* Zeroed memory that costs nothing until it is touched. False if the system has none. size 0 gives an empty fl_pages. */
bool fl_pages_alloc(fl_pages *p, size_t size);
void fl_pages_free(fl_pages *p);

/* Bytes that this process may still take without failing the machine's limits (memory cgroup, MemAvailable); 0 if unknown. */
size_t fl_memory_available(void);

#endif
