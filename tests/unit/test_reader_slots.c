/* Slot text. Oracles: rows written out by hand; for the real sample, the facts of its layout (label counts, largest ids). */
#include "data_support.h"

static void three_slots(test_schema *t)
{
    *t = (test_schema){0};
    add_slot(t, "user_0", 10);
    add_slot(t, "user_1", 10);
    add_slot(t, "a_slot_with_a_long_name", 10);
}

static void free_order_padding_and_strangers(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    three_slots(&t);
    t.slots[1].padding = 7;
    fl_diag_init(&dg);
    const char *path = write_text("free", "click:1 user_0:3 user_1:4 a_slot_with_a_long_name:5\n"
                                          "a_slot_with_a_long_name:9  user_0:+1 click:0 user_1:2\r\n"
                                          "\n"
                                          "  click:1.0 nobody:x user_0:0 a_slot_with_a_long_nam:3 stranger  \t\n"
                                          "click:0 user_0:8"); /* no final newline */
    fl_reader_options o = {.need_label = true, .batch = 3};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    assert_int_equal(dg.n_entries, 0);
    const int64_t ids[] = {3, 14, 25, 1, 12, 29, 0, 17, 20, 8, 17, 20};
    const float label[] = {1, 0, 1, 0};
    assert_int_equal(b.n, 4);
    assert_memory_equal(b.ids, ids, sizeof ids);
    assert_memory_equal(b.label, label, sizeof label);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(b.row[i], i);
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void many_values(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    three_slots(&t);
    t.slots[1].pooling = FL_POOL_SUM;
    fl_diag_init(&dg);
    const char *path = write_text("many", "click:1 user_0:3 user_1:4 user_1:5 user_1:6 a_slot_with_a_long_name:5\n"
                                          "click:1 user_0:3 a_slot_with_a_long_name:5\n"
                                          "click:1 user_0:3 user_1:x a_slot_with_a_long_name:5\n"
                                          "user_1:9 click:0 user_0:3 user_1:0 a_slot_with_a_long_name:5\n");
    fl_reader_options o = {.need_label = true};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    const int64_t values[] = {14, 15, 16, 19, 10}, offsets[] = {0, 3, 3, 5};
    assert_int_equal(b.n, 3);
    assert_int_equal(b.n_columns, 2);
    assert_int_equal(b.n_bags, 1);
    assert_int_equal(b.bags[0].slot, 1);
    assert_memory_equal(b.bags[0].values, values, sizeof values);
    assert_memory_equal(b.bags[0].offsets, offsets, sizeof offsets);
    assert_string_equal(report_line(&dg, 0), "3:25: slot \"user_1\": \"x\" is not a whole number [E0500]");
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

/* Each kind of bad row: its text, and what is said. */
static void bad_rows(void **state)
{
    (void)state;
    static const struct {
        const char *line, *report;
    } cases[] = {
        {"user_0:3 user_1:1", "2:0: the row has no label (slot \"click\") [E0501]"},
        {"click:2 user_0:3", "2:7: label \"2\" is not a number from 0 to 1 [E0502]"},
        {"click: user_0:3", "2:7: label \"\" is not a number from 0 to 1 [E0502]"},
        {"click:0 user_0:1e3", "2:16: slot \"user_0\": \"1e3\" is not a whole number [E0500]"},
        {"click:0 user_0:", "2:16: slot \"user_0\": \"\" is not a whole number [E0500]"},
        {"click:0 user_0:3\tuser_1:1", "2:16: slot \"user_0\": \"3 user_1:1\" is not a whole number [E0500]"},
        {"click:0 user_0:10", "2:16: slot \"user_0\": id 10 lies outside 0 to 9 [E0503]"},
        {"click:0 user_0:-1", "2:16: slot \"user_0\": id -1 lies outside 0 to 9 [E0503]"},
        {"click:0 user_0:99999999999999999999", "2:16: slot \"user_0\": \"99999999999999999999\" is not a whole number [E0500]"},
        {"click:0 user_0:1 user_0:1", "2:18: slot \"user_0\" stands twice, but takes one value [E0504]"},
        {"click:0 click:1", "2:9: the label \"click\" stands twice [E0504]"},
        {"click:0 user_0", "2:9: slot \"user_0\" has no value: NAME:VALUE expected [E0508]"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        for (int strict = 0; strict < 2; strict++) {
            test_schema t;
            fl_batch b;
            fl_diag dg;
            char text[256];
            fl_reader_stats stats;
            three_slots(&t);
            fl_diag_init(&dg);
            snprintf(text, sizeof text, "click:0 user_0:1\n%s\nclick:1 user_0:2\n", cases[i].line);
            const char *path = write_text("bad", text);
            fl_reader_options o = {.need_label = true, .strict = strict};
            fl_status status = read_all(path, &t.s, NULL, &o, &b, &stats, &dg);
            assert_string_equal(report_line(&dg, 0), cases[i].report);
            assert_int_equal(status, strict ? FL_BAD_INPUT : FL_OK);
            assert_int_equal(dg.n_errors, strict);
            if (!strict) {
                assert_int_equal(b.n, 2);
                assert_int_equal(b.row[1], 2);
                assert_int_equal(stats.bad_rows, 1);
            }
            fl_batch_deinit(&b);
            fl_diag_deinit(&dg);
        }
    }
}

static void nul_byte(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    three_slots(&t);
    fl_diag_init(&dg);
    static const char text[] = "click:0 user_0:1\nclick:0 no\0body:1 user_0:1\nclick:1 user_0:2\n";
    const char *path = write_file("nul", text, sizeof text - 1);
    fl_reader_options o = {.need_label = true};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    assert_int_equal(b.n, 2);
    assert_string_equal(report_line(&dg, 0), "2:11: the line has a NUL byte [E0506]");
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void padding_that_is_no_id(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    three_slots(&t);
    t.slots[1].first_id = 5;
    fl_diag_init(&dg);
    const char *path = write_text("pad", "click:0 user_0:1 user_1:5\nclick:0 user_0:1\n");
    fl_reader_options o = {.need_label = true};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.ids[1], 10); /* id 5 is the slot's first row */
    assert_string_equal(report_line(&dg, 0), "2:0: slot \"user_1\" is absent, and its padding 0 is no id of it [E0517]");
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void missing_label_quirk_and_prediction(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    three_slots(&t);
    fl_diag_init(&dg);
    const char *path = write_text("unlabelled", "user_0:1\nclick:1 user_0:x\nclick:? user_0:2\n");
    fl_reader_options quirk = {.need_label = true, .quirks = FL_QUIRK_MISSING_LABEL_IS_0};
    assert_int_equal(read_all(path, &t.s, NULL, &quirk, &b, NULL, &dg), FL_OK);
    assert_int_equal(b.n, 1);
    assert_true(b.label[0] == 0);
    assert_int_equal(dg.n_entries, 2);
    fl_batch_deinit(&b);
    fl_diag_clear(&dg);
    fl_reader_options predict = {.keep_bad_rows = true};
    assert_int_equal(read_all(path, &t.s, NULL, &predict, &b, NULL, &dg), FL_OK);
    assert_int_equal(b.n, 3);
    assert_int_equal(b.bad[0], 0);
    assert_int_equal(b.bad[1], 1);
    assert_int_equal(b.bad[2], 0);
    assert_int_equal(b.ids[3 + 1], 10); /* a bad row's ids are rows of their slots */
    assert_int_equal(dg.n_entries, 1);
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

/* The fast way and the plain way see the same: a NUL in the last line sends the whole chunk through the plain one. */
static void both_ways_agree(void **state)
{
    (void)state;
    static const char *pieces[] = {"click:0", "click:1", "click:0.5", "user_0:3", "user_0:11", "user_1:4", "user_1:4x", "user_1:007", "nobody:3",
                                   "a_slot_with_a_long_name:2", "a_slot_with_a_long_name:", "junk", "", " ", "\t", "\r", "user_0:", ":", "click"};
    test_schema t;
    char text[20000];
    size_t n = 0;
    uint32_t x = 12345;
    three_slots(&t);
    t.slots[1].pooling = FL_POOL_MEAN;
    for (int line = 0; line < 300; line++) {
        int count = (int)((x = x * 1664525 + 1013904223) >> 24) % 7;
        for (int i = 0; i < count; i++) {
            x = x * 1664525 + 1013904223;
            n += (size_t)sprintf(text + n, "%s%s", i ? " " : "", pieces[(x >> 16) % FL_COUNT(pieces)]);
        }
        n += (size_t)sprintf(text + n, line % 3 ? "\n" : " user_1:2 click:1\r\n");
    }
    fl_batch fast, plain;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_reader_options o = {.need_label = true, .keep_bad_rows = true};
    const char *path = write_file("fast", text, n);
    assert_int_equal(read_all(path, &t.s, NULL, &o, &fast, NULL, &dg), FL_OK);
    memcpy(text + n, "click:0 \0:1\n", 12);
    path = write_file("plain", text, n + 12);
    assert_int_equal(read_all(path, &t.s, NULL, &o, &plain, NULL, &dg), FL_OK);
    int64_t good = 0;
    for (int64_t i = 0; i < fast.n; i++)
        good += !fast.bad[i];
    assert_true(good > 20 && fast.n - good > 20);
    assert_int_equal(plain.n, fast.n + 1);
    plain.n--;
    assert_batches_equal(&fast, &plain);
    fl_batch_deinit(&fast);
    fl_batch_deinit(&plain);
    fl_diag_deinit(&dg);
}

static void the_sample_of_paddlerec(void **state)
{
    (void)state;
    static const int most[] = {38, 1, 1, 24, 2, 9, 17, 11, 2, 71, 2, 10, 18, 5, 5, 1, 21, 20, 6, 2, 0};
    static const char *prefix[] = {"user", "item", "contex"};
    static const int count[] = {12, 3, 6};
    static char names[21][16];
    const char *folder = getenv("FLEN_TEST_DATA");
    char path[512];
    test_schema t = {0};
    fl_batch b;
    fl_diag dg;
    snprintf(path, sizeof path, "%s/data/paddlerec_flen/sample_train.txt", folder ? folder : "../shared");
    if (access(path, R_OK) != 0)
        skip();
    for (int f = 0, k = 0; f < 3; f++)
        for (int i = 0; i < count[f]; i++, k++) {
            snprintf(names[k], sizeof names[k], "%s_%d", prefix[f], i);
            add_slot(&t, names[k], 100);
            t.slots[k].first_row = 0; /* one table for all */
        }
    t.s.table_rows = 100;
    fl_diag_init(&dg);
    fl_reader_options o = {.need_label = true, .threads = 2};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    assert_int_equal(b.n, 100);
    int64_t largest[21] = {0};
    float clicks = 0;
    for (int64_t i = 0; i < 100; i++) {
        clicks += b.label[i];
        for (int k = 0; k < 21; k++)
            if (b.ids[i * 21 + k] > largest[k])
                largest[k] = b.ids[i * 21 + k];
    }
    assert_true(clicks == 20);
    for (int k = 0; k < 21; k++)
        assert_int_equal(largest[k], most[k]);
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_order_padding_and_strangers),
        cmocka_unit_test(many_values),
        cmocka_unit_test(bad_rows),
        cmocka_unit_test(nul_byte),
        cmocka_unit_test(padding_that_is_no_id),
        cmocka_unit_test(missing_label_quirk_and_prediction),
        cmocka_unit_test(both_ways_agree),
        cmocka_unit_test(the_sample_of_paddlerec),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
