/*
 * test_type.c -- numbers of narrow types read and written. Oracle: every half and bfloat16 reads back as itself; ties by hand.
 */
#include "ir/type.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static uint16_t written(fl_dtype t, double f)
{
    uint16_t bits = 0;
    fl_tensor_set_double(&bits, t, 0, f);
    return bits;
}

static void every_narrow_float_reads_back(void **state)
{
    (void)state;
    static const fl_dtype types[] = {FL_FLOAT16, FL_BFLOAT16};
    for (size_t k = 0; k < FL_COUNT(types); k++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t narrow = (uint16_t)bits;
            fl_tensor one = {.type = fl_type_make(types[k], 0, NULL), .bytes = &narrow};
            double f = fl_tensor_get_double(&one, 0);
            if (isnan(f))
                assert_true(isnan(f) && (written(types[k], f) & 0x7c00) == 0x7c00);
            else
                assert_int_equal(written(types[k], f), narrow);
        }
    }
}

static void halves_round_to_even(void **state)
{
    (void)state;
    assert_int_equal(written(FL_FLOAT16, 1 + 0x1p-11), 0x3c00);          /* between 1 and the next: 1 is even */
    assert_int_equal(written(FL_FLOAT16, 1 + 3 * 0x1p-11), 0x3c02);
    assert_int_equal(written(FL_FLOAT16, 1 + 0x1p-11 + 0x1p-30), 0x3c01);
    assert_int_equal(written(FL_FLOAT16, 65519.9), 0x7bff);
    assert_int_equal(written(FL_FLOAT16, 65520), 0x7c00); /* halfway to what would be the next: infinity */
    assert_int_equal(written(FL_FLOAT16, 0x1p-25), 0);    /* half the smallest: 0 is even */
    assert_int_equal(written(FL_FLOAT16, 0x1.8p-25), 1);
    assert_int_equal(written(FL_FLOAT16, -0.0), 0x8000);
    assert_int_equal(written(FL_BFLOAT16, 1 + 0x1p-8), 0x3f80);
    assert_int_equal(written(FL_BFLOAT16, 1 + 3 * 0x1p-8), 0x3f82);
}

static void integers_are_cut_to_their_width(void **state)
{
    (void)state;
    uint8_t byte[2];
    fl_tensor one = {.type = fl_type_make(FL_INT8, 1, (fl_dim[]){2}), .bytes = byte};
    fl_tensor_set_int(byte, FL_INT8, 1, 200);
    assert_int_equal(fl_tensor_get_int(&one, 1), -56);
    fl_tensor_set_int(byte, FL_BOOL, 0, 7);
    assert_int_equal(byte[0], 1);
    fl_tensor_set_double(byte, FL_UINT8, 0, 3.9);
    assert_int_equal(byte[0], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_narrow_float_reads_back), cmocka_unit_test(halves_round_to_even),
                                       cmocka_unit_test(integers_are_cut_to_their_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
