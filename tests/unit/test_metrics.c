/*
 * test_metrics.c -- oracles: pairs counted one by one; hand-derived cases (fwbi_cases.json's a01 to a08, written out
 * with their reasons); the fractions of the published log, reached through counters.
 */
#include "runtime/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static double auc_by_pairs(const float *z, const float *y, int n)
{
    double good = 0, pairs = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (y[i] > y[j]) {
                pairs++;
                good += z[i] > z[j] ? 1 : z[i] == z[j] ? 0.5 : 0;
            }
    return good / pairs;
}

static void exact_auc_counts_pairs(void **state)
{
    enum { N = 700 };
    float z[N], y[N];
    fl_eval e;
    (void)state;

    srand(3);
    fl_eval_init(&e, 1000);
    for (int round = 0; round < 4; round++) {
        fl_eval_clear(&e);
        for (int i = 0; i < N; i++) {
            z[i] = (float)(rand() % (round == 0 ? 5 : 100000)) / 7.0f - (round == 1 ? 7000.0f : 0.0f);
            y[i] = (float)(rand() % 3 == 0);
        }
        z[0] = 0.0f, z[1] = -0.0f;
        assert_int_equal(fl_eval_add(&e, z, y, 300), FL_OK);
        (void)fl_eval_auc(&e); /* more rows may follow */
        assert_int_equal(fl_eval_add(&e, z + 300, y + 300, N - 300), FL_OK);
        assert_true(fabs(fl_eval_auc(&e) - auc_by_pairs(z, y, N)) < 1e-13);
        assert_int_equal(fl_eval_rows(&e), N);
        assert_true(fl_eval_is_exact(&e));
    }
    fl_eval_deinit(&e);
}

static void bins_beyond_the_limit(void **state)
{
    enum { N = 900 };
    float z[N], y[N];
    fl_eval e;
    (void)state;

    fl_eval_init(&e, 500);
    for (int i = 0; i < N; i++) {
        z[i] = (float)((i * 37) % 200) / 20.0f - 5;
        y[i] = (float)(i % 4 == 0);
    }
    for (int i = 0; i < N; i += 100)
        assert_int_equal(fl_eval_add(&e, z + i, y + i, 100), FL_OK);
    assert_false(fl_eval_is_exact(&e));
    assert_true(fabs(fl_eval_auc(&e) - auc_by_pairs(z, y, N)) < 1e-9); /* the bins part all 200 values */
    fl_eval_deinit(&e);
}

static void logloss_from_logits(void **state)
{
    const float z[] = {0, 100, -100, 2}, y[] = {1, 1, 0, 0};
    fl_eval e;
    (void)state;

    fl_eval_init(&e, 100);
    assert_true(isnan(fl_eval_logloss(&e)) && isnan(fl_eval_auc(&e)));
    assert_int_equal(fl_eval_add(&e, z, y, 4), FL_OK);
    /* ln 2 for the first; the certain ones give e^-100; ln(1 + e^2) for the last */
    assert_true(fabs(fl_eval_logloss(&e) - (0.6931471805599453 + 2.1269280110429727) / 4) < 1e-15);
    const float bad[] = {NAN};
    assert_int_equal(fl_eval_add(&e, bad, y, 1), FL_OK);
    assert_true(isnan(fl_eval_logloss(&e)) && isnan(fl_eval_auc(&e)));
    fl_eval_deinit(&e);
}

static void bucket_auc_cases(void **state)
{
    static const struct {
        uint32_t thresholds;
        int n;
        float p[5], y[5];
        double auc;
    } cases[] = {
        {4096, 4, {0.9f, 0.8f, 0.3f, 0.1f}, {1, 1, 0, 0}, 1.0},
        {4096, 4, {0.9f, 0.2f, 0.3f, 0.1f}, {1, 1, 0, 0}, 0.75},
        {4096, 2, {0.50001f, 0.5f}, {0, 1}, 0.5}, /* one bucket */
        {4096, 2, {0.4f, 0.6f}, {1, 1}, 0.0},
        {4096, 2, {0.4f, 0.6f}, {0, 0}, 0.0},
        {4096, 3, {0.0f, 1.0f, 0.5f}, {0, 1, 1}, 1.0},
        {4095, 5, {0.9f, 0.2f, 0.3f, 0.1f, 1.0f}, {1, 1, 0, 0, 1}, 5.0 / 6},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        fl_bucket_auc a;
        assert_int_equal(fl_bucket_auc_init(&a, cases[i].thresholds, FL_AUC_WINDOW), FL_OK);
        fl_bucket_auc_add(&a, cases[i].p, cases[i].y, cases[i].n);
        assert_true(fabs(fl_bucket_auc_global(&a) - cases[i].auc) < 1e-15);
        assert_true(fabs(fl_bucket_auc_batch(&a) - cases[i].auc) < 1e-15);
        fl_bucket_auc_deinit(&a);
    }
}

static void window_slides(void **state)
{
    static const float p[4][2] = {{0.9f, 0.1f}, {0.2f, 0.8f}, {0.6f, 0.7f}, {0.3f, 0.95f}};
    static const float y[4][2] = {{1, 0}, {1, 0}, {1, 0}, {0, 1}};
    static const double auc[] = {1.0, 0.75, 5.0 / 9, 0.6875}, batch[] = {1.0, 0.75, 0.0, 0.75};
    fl_bucket_auc a, copy;
    (void)state;

    assert_int_equal(fl_bucket_auc_init(&a, 8, 2), FL_OK);
    for (int i = 0; i < 4; i++) {
        fl_bucket_auc_add(&a, p[i], y[i], 2);
        assert_true(fabs(fl_bucket_auc_global(&a) - auc[i]) < 1e-15);
        assert_true(fabs(fl_bucket_auc_batch(&a) - batch[i]) < 1e-15);
    }
    fl_bucket_auc_clear(&a);
    for (int i = 0; i < 4; i++) {
        fl_bucket_auc_add(&a, p[i], y[i], 2);
        assert_true(fabs(fl_bucket_auc_global(&a) - auc[i]) < 1e-15);
        assert_true(fabs(fl_bucket_auc_batch(&a) - batch[i]) < 1e-15);
        /* Through bytes and on: the same. */
        size_t n;
        void *bytes = fl_bucket_auc_save(&a, &n);
        assert_int_equal(fl_bucket_auc_init(&copy, 8, 2), FL_OK);
        assert_false(fl_bucket_auc_load(&copy, bytes, n - 1));
        assert_true(fl_bucket_auc_load(&copy, bytes, n));
        fl_bucket_auc_deinit(&a);
        a = copy;
        free(bytes);
    }
    assert_int_equal(fl_bucket_auc_init(&copy, 16, 2), FL_OK);
    size_t n;
    void *bytes = fl_bucket_auc_save(&a, &n);
    assert_false(fl_bucket_auc_load(&copy, bytes, n));
    free(bytes);
    fl_bucket_auc_clear(&a);
    assert_true(fl_bucket_auc_global(&a) == 0);
    fl_bucket_auc_deinit(&a);
    fl_bucket_auc_deinit(&copy);
}

/* Every counter of a saved state, set to what would overflow, or just wrong: refused, and the old state counts on. A global counter may be larger: of rows before the window. */
static void counters_that_lie(void **state)
{
    enum { THRESHOLDS = 8, WINDOW = 2, HEAD = 32, COUNTERS = (2 + WINDOW) * 2 * (THRESHOLDS + 1), GLOBALS = 2 * (THRESHOLDS + 1) };
    static const float p[] = {0.9f, 0.1f, 0.4f}, y[] = {1, 0, 0};
    fl_bucket_auc a, b;
    size_t n;
    (void)state;

    assert_int_equal(fl_bucket_auc_init(&a, THRESHOLDS, WINDOW), FL_OK);
    assert_int_equal(fl_bucket_auc_init(&b, THRESHOLDS, WINDOW), FL_OK);
    for (int i = 0; i < 3; i++)
        fl_bucket_auc_add(&a, p, y, 3);
    uint8_t *bytes = fl_bucket_auc_save(&a, &n);
    assert_int_equal(n, HEAD + COUNTERS * sizeof(int64_t));
    for (size_t i = 0; i < COUNTERS; i++) {
        int64_t right, wrong[] = {INT64_MIN, -1, INT64_MAX, ((int64_t)1 << 60) + 1, 0};
        memcpy(&right, bytes + HEAD + 8 * i, 8);
        wrong[4] = right + 1;
        for (size_t k = 0; k < FL_COUNT(wrong); k++) {
            memcpy(bytes + HEAD + 8 * i, &wrong[k], 8);
            assert_int_equal(fl_bucket_auc_load(&b, bytes, n), i < GLOBALS && k == 4);
        }
        memcpy(bytes + HEAD + 8 * i, &right, 8);
    }
    /* Sums that agree only as they overflow. */
    memset(bytes + HEAD, 0, COUNTERS * sizeof(int64_t));
    for (int i = 0; i < WINDOW; i++)
        bytes[HEAD + 8 * (2 + i) * GLOBALS + 7] = 0x80;
    assert_false(fl_bucket_auc_load(&b, bytes, n));
    fl_bucket_auc_add(&b, p, y, 3);
    assert_true(fl_bucket_auc_global(&b) > 0);
    free(bytes);
    fl_bucket_auc_deinit(&a);
    fl_bucket_auc_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_auc_counts_pairs), cmocka_unit_test(bins_beyond_the_limit),
        cmocka_unit_test(logloss_from_logits),    cmocka_unit_test(bucket_auc_cases),
        cmocka_unit_test(window_slides),          cmocka_unit_test(counters_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
