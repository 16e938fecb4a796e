/* test_numpy_format.c -- oracles: numpy 1.24 and Python 3.11 (their output written out); PaddleRec's published log of FLEN. */
#include "runtime/numpy_format.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void prints(const double *x, size_t n, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    fl_numpy_print(x, n, f);
    fclose(f);
    assert_string_equal(text, want);
    free(text);
}

#define PRINTS(want, ...) prints((const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double), want)

static void published_lines(void **state)
{
    (void)state;
    /* good pairs / (positives * negatives) of each printed value */
    PRINTS("[0.09090909 0.        ]", 1.0 / 11, 0.0);
    PRINTS("[0.31578947 0.29411765]", 6.0 / 19, 5.0 / 17);
    PRINTS("[0.41333333 0.33333333]", 31.0 / 75, 16.0 / 48);
    PRINTS("[0.4453125  0.44166667]", 57.0 / 128, 53.0 / 120);
    PRINTS("[0.39473684 0.38888889]", 90.0 / 228, 84.0 / 216);
    PRINTS("[0.44117647 0.41176471]", 90.0 / 204, 84.0 / 204);
    PRINTS("[0.41860465 0.45535714]", 162.0 / 387, 153.0 / 336);
    PRINTS("[0.5078125  0.54545455]", 130.0 / 256, 126.0 / 231);
    PRINTS("[0.43413729 0.42746615]", 234.0 / 539, 221.0 / 517);
    PRINTS("[0.56666667 0.56      ]", 170.0 / 300, 168.0 / 300);
    PRINTS("[0.46433566 0.47460087]", 332.0 / 715, 327.0 / 689);
    PRINTS("[0.53       0.59247649]", 159.0 / 300, 189.0 / 319);
    PRINTS("[0.44009217 0.44642857]", 382.0 / 868, 375.0 / 840);
    PRINTS("[0.46 0.47]", 138.0 / 300, 141.0 / 300);
    PRINTS("[0.42705314 0.43781095]", 442.0 / 1035, 440.0 / 1005);
    PRINTS("[0.45878136 0.4874552 ]", 128.0 / 279, 136.0 / 279);
    PRINTS("[0.45176471 0.46011281]", 576.0 / 1275, 571.0 / 1241);
    PRINTS("[0.48046875 0.45878136]", 123.0 / 256, 128.0 / 279);
    PRINTS("[0.48375    0.48910256]", 774.0 / 1600, 763.0 / 1560);
    PRINTS("[0.56630824 0.59856631]", 158.0 / 279, 167.0 / 279);
    PRINTS("[0.49121353]", 1481.5 / (26 * 116));
    PRINTS("[0.66176471]", 135.0 / 204);
    PRINTS("[0.51156463]", 2632.0 / (35 * 147));
    PRINTS("[0.55197133]", 154.0 / 279);
}

static void numpy_prints_so(void **state)
{
    (void)state;
    PRINTS("[5.e-01 1.e-04]", 0.5, 1e-4);
    PRINTS("[5.e-01 9.e-05]", 0.5, 9e-5);
    PRINTS("[5.0e-01 4.9e-04]", 0.5, 4.9e-4);
    PRINTS("[0.5    0.     0.0005    nan]", 0.5, 0.0, 5e-4, NAN);
    PRINTS("[1.]", 1.0);
    PRINTS("[0.]", 0.0);
    PRINTS("[2.50000000e-01 1.23456789e-01 1.00000000e-05 1.00000000e+00]", 0.25, 0.123456789123, 1e-5, 1.0);
    PRINTS("[ 5.e-324  1.e+300 -1.e+000]", 5e-324, 1e300, -1.0);
    PRINTS("[nan]", NAN);
    PRINTS("[0.33333333 0.33333333 0.33333333 0.33333333 0.33333333 0.33333333\n 0.33333333 0.33333333 0.33333333]", 1.0 / 3,
           1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3);
}

static void repr_is(double x, const char *want)
{
    char text[FL_REPR_SIZE];
    fl_python_repr(x, text);
    assert_string_equal(text, want);
}

static void python_prints_so(void **state)
{
    (void)state;
    repr_is(0.21532440185546875, "0.21532440185546875");
    repr_is(0.3941819667816162, "0.3941819667816162");
    repr_is(1, "1.0");
    repr_is(0, "0.0");
    repr_is(12345678, "12345678.0");
    repr_is(0.1, "0.1");
    repr_is(1e-5, "1e-05");
    repr_is(0.0001, "0.0001");
    repr_is(1e16, "1e+16");
    repr_is(123456789012345680.0, "1.2345678901234568e+17");
    repr_is(1e15, "1000000000000000.0");
    repr_is(-2.5, "-2.5");
    repr_is(INFINITY, "inf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_lines),
        cmocka_unit_test(numpy_prints_so),
        cmocka_unit_test(python_prints_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
