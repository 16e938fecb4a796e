/*
 * test_value_encoder.c -- raw values to rows: transforms and kinds of vocabulary. Oracles: the calendar; arithmetic.
 */
#include "runtime/value_encoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* The row of `text` in the one slot of a schema, or minus the status. */
static int64_t encode(const fl_slot *slot, const char *text)
{
    fl_schema schema = {.slots = (fl_slot[]){*slot}, .n_slots = 1, .table_rows = 1000};
    fl_value_encoder e = {.schema = &schema};
    char padded[FL_TEXT_SLACK + 64] = {0};
    int64_t row = -99;

    strcpy(padded, text);
    fl_value_status status = fl_encode_value(&e, 0, padded, strlen(text), &row);
    return status == FL_VALUE_OK ? row : -(int64_t)status;
}

static void times(void **state)
{
    fl_slot hour = {.name = "h", .transform = FL_TRANSFORM_HOUR_OF_DAY, .rows = 24, .first_row = 100};
    fl_slot weekday = {.name = "w", .transform = FL_TRANSFORM_WEEKDAY, .rows = 7};
    fl_slot day = {.name = "d", .transform = FL_TRANSFORM_DAY, .rows = 12, .first_id = 141020};
    (void)state;

    assert_int_equal(encode(&hour, "14102103"), 103);
    assert_int_equal(encode(&hour, "23"), 123);
    assert_int_equal(encode(&hour, "24"), -FL_VALUE_BAD_TIME);
    assert_int_equal(encode(&hour, "141021"), -FL_VALUE_BAD_TIME);
    assert_int_equal(encode(&weekday, "14102100"), 1); /* 21 October 2014 was a Tuesday */
    assert_int_equal(encode(&weekday, "24022900"), 3); /* 29 February 2024, a Thursday */
    assert_int_equal(encode(&weekday, "23022900"), -FL_VALUE_BAD_TIME);
    assert_int_equal(encode(&weekday, "1410210x"), -FL_VALUE_BAD_TIME);
    assert_int_equal(encode(&day, "14102123"), 1);
    assert_int_equal(encode(&weekday, "03"), -FL_VALUE_BAD_TIME);
}

/* An optional slot of the day takes hours that stand alone for an absent day: the padding of a range, the empty text of others. */
static void the_day_may_be_missing(void **state)
{
    fl_slot weekday = {.name = "w", .transform = FL_TRANSFORM_WEEKDAY, .rows = 7, .optional = true, .padding = 6};
    fl_slot day = {.name = "d", .transform = FL_TRANSFORM_DAY, .vocab = FL_VOCAB_HASH, .rows = 50, .optional = true};
    (void)state;

    assert_int_equal(encode(&weekday, "03"), 6);
    assert_int_equal(encode(&weekday, "14102103"), 1);
    assert_int_equal(encode(&weekday, "3"), -FL_VALUE_BAD_TIME);
    assert_int_equal(encode(&day, "03"), encode(&day, ""));
}

static void other_values(void **state)
{
    fl_slot range = {.name = "r", .rows = 10, .first_id = 5, .first_row = 20};
    fl_slot bucket = {.name = "b", .transform = FL_TRANSFORM_LOG_BUCKET, .rows = 100, .first_id = -5};
    fl_slot hash = {.name = "x", .vocab = FL_VOCAB_HASH, .rows = 13, .first_row = 7};
    (void)state;

    assert_int_equal(encode(&range, "5"), 20);
    assert_int_equal(encode(&range, "14"), 29);
    assert_int_equal(encode(&range, "15"), -FL_VALUE_RANGE);
    assert_int_equal(encode(&range, "4"), -FL_VALUE_RANGE);
    assert_int_equal(encode(&range, "5.0"), -FL_VALUE_BAD_NUMBER);
    assert_int_equal(encode(&range, ""), -FL_VALUE_BAD_NUMBER);
    assert_int_equal(encode(&bucket, "100"), 21 + 5); /* ln(100)^2 = 21.2 */
    assert_int_equal(encode(&bucket, "-2"), -2 + 5);
    assert_int_equal(encode(&bucket, "nan"), -FL_VALUE_BAD_NUMBER);
    assert_int_equal(encode(&hash, "abc"), 7 + (int64_t)(fl_text_hash("abc", 3) % 13));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(times), cmocka_unit_test(the_day_may_be_missing), cmocka_unit_test(other_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
