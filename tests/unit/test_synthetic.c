/*
 * test_synthetic.c -- drawn rows. Oracles: Zipf's probabilities by summing; the definition of a permutation.
 */
#include "runtime/synthetic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void ranks_follow_zipf(void **state)
{
    static const double exponents[] = {0.5, 1.0, 1.1, 2.0};
    enum { RANKS = 50, DRAWS = 200000 };
    (void)state;

    for (size_t e = 0; e < 4; e++) {
        fl_zipf z = fl_zipf_make(RANKS, exponents[e]);
        double count[RANKS + 1] = {0}, total = 0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            int64_t rank = fl_zipf_draw(&z, 3, 9, i);
            assert_in_range(rank, 1, RANKS);
            count[rank]++;
        }
        for (int r = 1; r <= RANKS; r++)
            total += pow(r, -exponents[e]);
        for (int r = 1; r <= RANKS; r++) {
            double p = pow(r, -exponents[e]) / total, deviation = sqrt(p * (1 - p) / DRAWS);
            assert_true(fabs(count[r] / DRAWS - p) < 5 * deviation);
        }
    }
    fl_zipf one = fl_zipf_make(1, 1.1);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(fl_zipf_draw(&one, 1, 1, i), 1);
}

static void rows_lie_in_their_slots(void **state)
{
    fl_slot slots[] = {{.name = "a", .rows = 12, .first_row = 5}, {.name = "bag", .rows = 3, .first_row = 17, .pooling = FL_POOL_MEAN}, {.name = "c", .rows = 1, .first_row = 0}};
    fl_schema schema = {.slots = slots, .n_slots = 3, .table_rows = 20};
    fl_batch b, again;
    int seen[20] = {0}, lengths[5] = {0}, positive = 0;
    (void)state;

    assert_int_equal(fl_batch_init(&b, &schema), FL_OK);
    assert_int_equal(fl_batch_init(&again, &schema), FL_OK);
    assert_int_equal(fl_synthetic_rows(&b, &schema, 1.1, 0.25, 1, 4000), FL_OK);
    assert_int_equal(fl_synthetic_rows(&again, &schema, 1.1, 0.25, 1, 1), FL_OK);
    assert_int_equal(fl_synthetic_rows(&again, &schema, 1.1, 0.25, 1, 3999), FL_OK); /* in portions: the same rows */
    assert_memory_equal(b.ids, again.ids, 4000 * 2 * sizeof *b.ids);
    for (int64_t i = 0; i < b.n; i++) {
        assert_in_range(b.ids[2 * i], 5, 16);
        assert_int_equal(b.ids[2 * i + 1], 0);
        seen[b.ids[2 * i]]++;
        positive += b.label[i] == 1;
        lengths[b.bags[0].offsets[i + 1] - b.bags[0].offsets[i]]++;
    }
    for (int r = 5; r < 17; r++)
        assert_true(seen[r] > 0); /* every row of the slot has a rank */
    assert_in_range(positive, 850, 1150);
    assert_int_equal(b.bags[0].n_values, again.bags[0].n_values);
    assert_memory_equal(b.bags[0].values, again.bags[0].values, (size_t)b.bags[0].n_values * sizeof(int64_t));
    for (int64_t i = 0; i < b.bags[0].n_values; i++)
        assert_in_range(b.bags[0].values[i], 17, 19);
    for (int n = 0; n <= 4; n++)
        assert_in_range(lengths[n], 650, 950);
    fl_batch_deinit(&b);
    fl_batch_deinit(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_follow_zipf), cmocka_unit_test(rows_lie_in_their_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
