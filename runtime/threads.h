/*
 * threads.h -- workers that stand ready, and the barrier at which they meet.
 *
 * A training step is tens of microseconds: waking a sleeping thread costs as much. Workers therefore spin for a short
 * while before they sleep, between the phases of a step and between steps. No call here allocates after fl_pool_new.
 */
#ifndef FL_RUNTIME_THREADS_H
#define FL_RUNTIME_THREADS_H

#include "ir/base/diag.h"

/* CPUs that this process may use: affinity and cgroup quota (rounded up). At least 1. */
uint32_t fl_cpu_count(void);

typedef struct fl_pool fl_pool;

/* A pool of n >= 1 workers, of which the caller of fl_pool_run is worker 0. FL_FAILED if the system refuses a thread. */
FL_MUST_USE fl_status fl_pool_new(uint32_t n, fl_pool **out, fl_diag *dg);
void fl_pool_free(fl_pool *p); /* NULL is fine */
uint32_t fl_pool_size(const fl_pool *p);
/* Run fn(arg, worker) on every worker and return when all are done. One caller at a time. */
void fl_pool_run(fl_pool *p, void (*fn)(void *arg, uint32_t worker), void *arg);
/* The pool's barrier for use inside fn: every worker must call it equally often. */
void fl_pool_barrier(fl_pool *p);

#endif
