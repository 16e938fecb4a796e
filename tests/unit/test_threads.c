/* test_threads.c -- oracle: counts that every schedule of the threads must reach. */
#include "runtime/threads.h"

#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct counts {
    fl_pool *pool;
    _Atomic int64_t sum;
    int64_t seen[64]; /* per worker: the sum after the barrier */
    int rounds;
} counts;

static void add_and_meet(void *arg, uint32_t worker)
{
    counts *c = arg;

    for (int i = 0; i < c->rounds; i++) {
        atomic_fetch_add(&c->sum, worker + 1);
        fl_pool_barrier(c->pool);
        c->seen[worker] = atomic_load(&c->sum);
        fl_pool_barrier(c->pool);
    }
}

static void pool_runs_and_meets(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 9; n += 2) {
        counts c = {.rounds = 20};
        assert_int_equal(fl_pool_new(n, &c.pool, NULL), FL_OK);
        assert_int_equal(fl_pool_size(c.pool), n);
        for (int run = 1; run <= 30; run++) {
            fl_pool_run(c.pool, add_and_meet, &c);
            int64_t want = (int64_t)run * c.rounds * n * (n + 1) / 2;
            for (uint32_t w = 0; w < n; w++)
                assert_int_equal(c.seen[w], want);
        }
        fl_pool_free(c.pool);
    }
    fl_pool_free(NULL);
}

static void cpu_count_obeys_affinity(void **state)
{
    cpu_set_t old, one;
    (void)state;

    assert_true(fl_cpu_count() >= 1);
    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &old))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(fl_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof old, &old), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_runs_and_meets),
        cmocka_unit_test(cpu_count_obeys_affinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
