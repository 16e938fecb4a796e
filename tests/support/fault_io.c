/*
 * fault_io.c -- a library to preload: something happens at the N-th write, fsync or rename that a process makes.
 *
 *   FLEN_FAULT=kill:N     SIGKILL before the N-th call, and after half of what a write wanted
 *   FLEN_FAULT=full:N     from the N-th call on writes fail with ENOSPC, as on a full disk
 *   FLEN_FAULT=count:FILE at exit the number of calls goes to FILE
 *
 * Only files count, not terminals or pipes.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t write(int fd, const void *bytes, size_t n);
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at);
int fsync(int fd);
int rename(const char *from, const char *to);

static atomic_long calls;

static long wanted(const char *kind)
{
    const char *fault = getenv("FLEN_FAULT");
    size_t n = strlen(kind);
    return fault && strncmp(fault, kind, n) == 0 && fault[n] == ':' ? atol(fault + n + 1) : 0;
}

static int is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* 0 go on, 1 die, 2 no space. */
static int next_call(void)
{
    long now = atomic_fetch_add(&calls, 1) + 1, kill_at = wanted("kill"), full_from = wanted("full");
    if (kill_at && now == kill_at)
        return 1;
    return full_from && now >= full_from ? 2 : 0;
}

/* The C library's own function into the pointer to it at `go`. */
static void real(const char *name, void *go)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(go, &found, sizeof found);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    ssize_t (*go)(int, const void *, size_t);
    real("write", &go);
    int fault = is_file(fd) ? next_call() : 0;
    if (fault == 1) {
        go(fd, bytes, n / 2);
        kill(getpid(), SIGKILL);
    }
    if (fault == 2) {
        errno = ENOSPC;
        return -1;
    }
    return go(fd, bytes, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    ssize_t (*go)(int, const void *, size_t, off_t);
    real("pwrite", &go);
    int fault = is_file(fd) ? next_call() : 0;
    if (fault == 1) {
        go(fd, bytes, n / 2, at);
        kill(getpid(), SIGKILL);
    }
    if (fault == 2) {
        errno = ENOSPC;
        return -1;
    }
    return go(fd, bytes, n, at);
}

int fsync(int fd)
{
    int (*go)(int);
    real("fsync", &go);
    if (next_call() == 1)
        kill(getpid(), SIGKILL);
    return go(fd);
}

int rename(const char *from, const char *to)
{
    int (*go)(const char *, const char *);
    real("rename", &go);
    if (next_call() == 1)
        kill(getpid(), SIGKILL);
    return go(from, to);
}

static void __attribute__((destructor)) report(void)
{
    const char *fault = getenv("FLEN_FAULT");
    if (!fault || strncmp(fault, "count:", 6) != 0)
        return;
    FILE *f = fopen(fault + 6, "w");
    if (f) {
        fprintf(f, "%ld\n", atomic_load(&calls));
        fclose(f);
    }
}
