#include "runtime/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

bool fl_pages_alloc(fl_pages *p, size_t size)
{
    memset(p, 0, sizeof *p);
    if (size == 0)
        return true;
    /* Below two huge pages small ones serve; above, one more leaves room to align. */
    size_t slack = size >= HUGE_PAGE ? (size_t)HUGE_PAGE : 0;
    if (size > SIZE_MAX - slack - 4096)
        return false;
    size_t mapped = (size + slack + 4095) & ~(size_t)4095;
    void *m = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return false;
    uintptr_t at = (uintptr_t)m;
    if (slack) {
        at = (at + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
        (void)madvise((void *)at, size, MADV_HUGEPAGE); /* a wish: small pages work as well */
    }
    *p = (fl_pages){(void *)at, size, m, mapped};
    return true;
}

void fl_pages_free(fl_pages *p)
{
    if (p->mapping)
        munmap(p->mapping, p->mapped);
    memset(p, 0, sizeof *p);
}

/* The number after `key` in a file of "key number" lines, or the file's first number if key is NULL; 0 if there is none. */
static uint64_t number_in_file(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    char line[256];
    uint64_t found = 0;

    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        size_t n = key ? strlen(key) : 0;
        if (key && strncmp(line, key, n) != 0)
            continue;
        found = strtoull(line + n, NULL, 10);
        break;
    }
    fclose(f);
    return found;
}

/* *available becomes what the limit of one cgroup folder leaves, if that is less; 0 means unknown. */
static void take_limit(uint64_t *available, const char *folder, bool unified)
{
    char path[4096];
    uint64_t limit, used, cached;

    snprintf(path, sizeof path, "%s/%s", folder, unified ? "memory.max" : "memory.limit_in_bytes");
    limit = number_in_file(path, NULL);
    if (limit == 0 || limit >= UINT64_MAX / 4) /* none, "max", or version 1's way of saying so */
        return;
    snprintf(path, sizeof path, "%s/%s", folder, unified ? "memory.current" : "memory.usage_in_bytes");
    used = number_in_file(path, NULL);
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    cached = number_in_file(path, unified ? "inactive_file " : "total_inactive_file "); /* given back when memory is wanted */
    used = used > cached ? used - cached : 0;
    uint64_t left = limit > used ? limit - used : 1;
    if (*available == 0 || left < *available)
        *available = left;
}

/* The folders on the way from this process's cgroup to the root, in versions 2 ("0::PATH") and 1 ("N:...memory...:PATH"). */
static void take_cgroups(uint64_t *available)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[2048], folder[2560];

    take_limit(available, "/sys/fs/cgroup", true);
    take_limit(available, "/sys/fs/cgroup/memory", false);
    while (f && fgets(line, sizeof line, f)) {
        char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;
        if (!path)
            continue;
        bool unified = path == name + 1;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (!unified && !strstr(name, "memory"))
            continue;
        for (char *slash; (slash = strrchr(path, '/')) != NULL && path[1]; *slash = '\0') {
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", unified ? "" : "/memory", path);
            take_limit(available, folder, unified);
        }
    }
    if (f)
        fclose(f);
}

size_t fl_memory_available(void)
{
    uint64_t available = number_in_file("/proc/meminfo", "MemAvailable:") * 1024;

    take_cgroups(&available);
    return (size_t)available;
}

