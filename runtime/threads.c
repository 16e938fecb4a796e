#include "runtime/threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------ how many */

/* Quota of one cgroup folder in CPUs; 0 if it has none. */
static double quota_of(const char *folder)
{
    char path[PATH_MAX + 64], text[64];
    long long quota = 0, period = 0;

    snprintf(path, sizeof path, "%s/cpu.max", folder); /* version 2 */
    FILE *f = fopen(path, "re");
    if (f) {
        bool have = fscanf(f, "%63s %lld", text, &period) == 2 && strcmp(text, "max") != 0;
        fclose(f);
        quota = have ? strtoll(text, NULL, 10) : 0;
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder); /* version 1 */
        f = fopen(path, "re");
        if (f) {
            if (fscanf(f, "%lld", &quota) != 1)
                quota = 0;
            fclose(f);
        }
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        f = fopen(path, "re");
        if (f) {
            if (fscanf(f, "%lld", &period) != 1)
                period = 0;
            fclose(f);
        }
    }
    return quota > 0 && period > 0 ? (double)quota / (double)period : 0;
}

static void take_smaller(double *least, double quota)
{
    if (quota > 0 && (*least <= 0 || quota < *least))
        *least = quota;
}

/* The smallest quota on the way from this process's cgroup to the root; 0 if there is none. */
static double cgroup_quota(void)
{
    double least = 0;
    char line[PATH_MAX], folder[PATH_MAX + 32];
    FILE *f = fopen("/proc/self/cgroup", "re");

    take_smaller(&least, quota_of("/sys/fs/cgroup"));
    take_smaller(&least, quota_of("/sys/fs/cgroup/cpu"));
    if (!f)
        return least;
    while (fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        bool unified = controllers[1] == 0;
        if (!unified && !strstr(controllers + 1, "cpu"))
            continue;
        while (*path == '/' && path[1]) {
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", unified ? "" : "/cpu", path);
            take_smaller(&least, quota_of(folder));
            *strrchr(path, '/') = 0;
        }
    }
    fclose(f);
    return least;
}

uint32_t fl_cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    double quota = cgroup_quota();

    if (quota > 0 && quota < n)
        n = (int)(quota + 0.999);
    return n < 1 ? 1 : (uint32_t)n;
}

/* ------------------------------------------------------------------------------------------------ waiting */

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Return when *word is no longer `value`. */
static void wait_while(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *sleepers, uint32_t spins)
{
    for (uint32_t i = 0; i < spins; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value)
            return;
        relax();
    }
    /* Sequentially consistent with publish(): either the publisher sees a sleeper, or the kernel sees the new word. */
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == value)
        futex_wait(word, value);
    atomic_fetch_sub(sleepers, 1);
}

static void publish(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *sleepers)
{
    atomic_store(word, value);
    if (atomic_load(sleepers) > 0)
        futex_wake_all(word);
}

/* About 50 us where every worker has a CPU; where they share one, spinning only keeps the others from it. */
static uint32_t spins_for(uint32_t n)
{
    return n <= fl_cpu_count() ? 2000 : 20;
}

/* Everyone of n waits until the last has come. */
typedef struct barrier {
    _Atomic uint32_t arrived, generation, sleepers;
    uint32_t n, spins;
} barrier;

static void barrier_init(barrier *b, uint32_t n)
{
    atomic_init(&b->arrived, 0);
    atomic_init(&b->generation, 0);
    atomic_init(&b->sleepers, 0);
    b->n = n;
    b->spins = spins_for(n);
}

static void barrier_wait(barrier *b)
{
    uint32_t generation = atomic_load_explicit(&b->generation, memory_order_relaxed);

    if (atomic_fetch_add(&b->arrived, 1) + 1 == b->n) {
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        publish(&b->generation, generation + 1, &b->sleepers);
    } else {
        wait_while(&b->generation, generation, &b->sleepers, b->spins);
    }
}

/* --------------------------------------------------------------------------------------------------- pool */

struct fl_pool {
    barrier barrier;
    _Atomic uint32_t job, sleepers; /* job counts fl_pool_run's calls */
    void (*fn)(void *, uint32_t);   /* NULL: end */
    void *arg;
    uint32_t n, n_started;
    struct worker {
        fl_pool *pool;
        uint32_t number;
        pthread_t thread;
    } *workers; /* [n], of which 0 is the caller's place */
};

static void *work(void *arg)
{
    struct worker *w = arg;
    fl_pool *p = w->pool;
    uint32_t seen = 0;

    for (;;) {
        wait_while(&p->job, seen, &p->sleepers, p->barrier.spins);
        seen++;
        if (!p->fn)
            return NULL;
        p->fn(p->arg, w->number);
        barrier_wait(&p->barrier);
    }
}

fl_status fl_pool_new(uint32_t n, fl_pool **out, fl_diag *dg)
{
    fl_pool *p = calloc(1, sizeof *p);
    sigset_t all, old;

    if (!p)
        return fl_out_of_memory(dg);
    p->n = n;
    p->n_started = 1;
    p->workers = calloc(n, sizeof *p->workers);
    barrier_init(&p->barrier, n);
    atomic_init(&p->job, 0);
    atomic_init(&p->sleepers, 0);
    if (!p->workers) {
        free(p);
        return fl_out_of_memory(dg);
    }
    /* Signals are for the thread that reads the command line. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = 0;
    for (uint32_t i = 1; i < n && error == 0; i++) {
        p->workers[i] = (struct worker){p, i, 0};
        error = pthread_create(&p->workers[i].thread, NULL, work, &p->workers[i]);
        p->n_started += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) {
        fl_pool_free(p);
        return fl_error(dg, FL_E_THREADS, FL_NOWHERE, "the system refuses %u threads: %s", n, strerror(error));
    }
    *out = p;
    return FL_OK;
}

void fl_pool_free(fl_pool *p)
{
    if (!p)
        return;
    p->fn = NULL;
    publish(&p->job, atomic_load(&p->job) + 1, &p->sleepers);
    for (uint32_t i = 1; i < p->n_started; i++)
        pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}

uint32_t fl_pool_size(const fl_pool *p)
{
    return p->n;
}

void fl_pool_run(fl_pool *p, void (*fn)(void *, uint32_t), void *arg)
{
    p->fn = fn;
    p->arg = arg;
    if (p->n > 1)
        publish(&p->job, atomic_load_explicit(&p->job, memory_order_relaxed) + 1, &p->sleepers);
    fn(arg, 0);
    if (p->n > 1)
        barrier_wait(&p->barrier);
}

void fl_pool_barrier(fl_pool *p)
{
    if (p->n > 1)
        barrier_wait(&p->barrier);
}
