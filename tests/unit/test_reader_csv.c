/* CSV, comma text, compression, files and folders. Oracles: rows by hand; for real files, their published counts. */
#include "data_support.h"

#include <zlib.h>
#include <zstd.h>

static void two_slots(test_schema *t)
{
    *t = (test_schema){0};
    add_slot(t, "a", 10);
    add_slot(t, "b", 10);
}

/* Read a text; compare the first report, the number of rows and the ids. */
static void check(const char *text, const fl_schema *schema, bool need_label, fl_status want, int64_t n, const int64_t *ids, const char *report)
{
    fl_batch b;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_reader_options o = {.need_label = need_label};
    assert_int_equal(read_all(write_text("x", text), schema, NULL, &o, &b, NULL, &dg), want);
    assert_string_equal(report_line(&dg, 0), report);
    if (want == FL_OK) {
        assert_int_equal(b.n, n);
        if (ids)
            assert_memory_equal(b.ids, ids, (size_t)n * b.n_columns * sizeof *ids);
    }
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void headers_quotes_and_line_ends(void **state)
{
    (void)state;
    test_schema t;
    two_slots(&t);
    const int64_t ids[] = {1, 12, 3, 14};
    check("\xef\xbb\xbf" "click,x,b,a\r\n1,\"q,\"\"\n,\",\"2\",1\r\n\r\n0,,4,3", &t.s, true, FL_OK, 2, ids, "");
    check("click,b,a\n1,2,1\n0,4\n0,4,3\n", &t.s, true, FL_OK, 2, ids, "3:0: the row has 2 cells, 3 expected [E0507]");
    check("click,b,a\n1,2,1\n,1,1\n0,4,3\n", &t.s, true, FL_OK, 2, ids, "3:1: the row has no label [E0501]");
    check("click,b,a\n1,2,1\n0,1,x\n0,4,3\n", &t.s, true, FL_OK, 2, ids, "3:5: slot \"a\": \"x\" is not a whole number [E0500]");
    check("click,b,a\n1,2,1\n0,\"1,x\n0,4,3\n", &t.s, true, FL_OK, 2, ids, "3:3: the quote does not end before the next delimiter [E0515]");
    check("click,b\n1,2\n", &t.s, true, FL_BAD_INPUT, 0, NULL, "1:0: the header lacks column \"a\" of slot \"a\" [E0510]");
    check("b,a\n2,1\n", &t.s, true, FL_BAD_INPUT, 0, NULL, "1:0: the header lacks the label's column \"click\" [E0510]");
    check("b,a\n2,1\n4,3\n", &t.s, false, FL_OK, 2, ids, "");
    check("hello\n", &t.s, true, FL_BAD_INPUT, 0, NULL, "1:0: neither slot text nor CSV with the model's columns [E0511]");
    check("click,b,a\n", &t.s, true, FL_BAD_INPUT, 0, NULL, "0:0: there are no rows [E0509]");
    check("", &t.s, true, FL_BAD_INPUT, 0, NULL, "0:0: there are no rows [E0509]");
}

static void comma_text(void **state)
{
    (void)state;
    static const char *columns[] = {"", "a", "b", "label"};
    test_schema t;
    two_slots(&t);
    t.s.label = NULL;
    t.s.comma_columns = columns;
    t.s.n_comma_columns = 4;
    const int64_t ids[] = {1, 12, 3, 14};
    check("9,1,2,1\n9, 3 ,4,0", &t.s, true, FL_OK, 2, ids, "");
    check("9,1,2,1\n9,3,4\n9,3,4,0\n", &t.s, true, FL_OK, 2, ids, "2:0: the row has 3 numbers, 4 expected [E0507]");
    check("9,1,2\n9,3,4\n", &t.s, false, FL_OK, 2, ids, "");
    check("9,1,2,1\n9,33,4,0\n9,3,4,0\n", &t.s, true, FL_OK, 2, ids, "2:3: slot \"a\": id 33 lies outside 0 to 9 [E0503]");
}

static void long_lines_are_skipped(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    two_slots(&t);
    fl_diag_init(&dg);
    size_t n = 0, bytes = 5 << 20;
    char *text = malloc(bytes + 100);
    n += (size_t)sprintf(text, "click:1 a:1 b:2\n");
    memset(text + n, 'x', bytes);
    n += bytes;
    n += (size_t)sprintf(text + n, "\nclick:0 a:3 b:4\n");
    const char *path = write_file("long", text, n);
    free(text);
    for (uint32_t threads = 0; threads < 3; threads++) {
        fl_reader_options o = {.need_label = true, .threads = threads};
        assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
        assert_int_equal(b.n, 2);
        assert_int_equal(b.row[1], 2);
        assert_string_equal(report_line(&dg, 0), "2:0: the line has 5242880 bytes, 1048576 are the limit [E0505]");
        fl_batch_deinit(&b);
        fl_diag_clear(&dg);
    }
    fl_diag_deinit(&dg);
}

static void compressed_files_and_folders(void **state)
{
    (void)state;
    static const char text[] = "click:1 a:1 b:2\nclick:0 a:3 b:4\n";
    test_schema t;
    fl_batch b;
    fl_diag dg;
    char packed[512];
    two_slots(&t);
    fl_diag_init(&dg);
    assert_int_equal(mkdir(scratch_path("folder"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("folder/sub"), 0700), 0);
    fl_reader_options o = {.need_label = true, .threads = 2};
    assert_int_equal(read_all(scratch_path("folder"), &t.s, NULL, &o, &b, NULL, &dg), FL_BAD_INPUT);
    assert_string_equal(report_line(&dg, 0), "0:0: the folder has no files [E0509]");
    fl_batch_deinit(&b);
    fl_diag_clear(&dg);
    gzFile z = gzopen(scratch_path("folder/b.gz"), "wb");
    assert_int_equal(gzwrite(z, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(gzclose(z), Z_OK);
    size_t n = ZSTD_compress(packed, sizeof packed, text, sizeof text - 1, 1);
    write_file("folder/sub/c", packed, n);
    write_text("folder/a", "click:1 a:9 b:9");
    write_text("folder/.hidden", "not read");
    assert_int_equal(read_all(scratch_path("folder"), &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    const int64_t ids[] = {9, 19, 1, 12, 3, 14, 1, 12, 3, 14};
    assert_int_equal(b.n, 5);
    assert_memory_equal(b.ids, ids, sizeof ids);
    assert_int_equal(b.row[4], 4);
    fl_batch_deinit(&b);
    write_file("cut.zst", packed, n - 3);
    assert_int_equal(read_all(scratch_path("cut.zst"), &t.s, NULL, &o, &b, NULL, &dg), FL_BAD_INPUT);
    assert_string_equal(report_line(&dg, 0), "0:0: the compressed file ends in the middle of its data [E0512]");
    fl_batch_deinit(&b);
    fl_diag_clear(&dg);
    assert_int_equal(read_all(scratch_path("nowhere"), &t.s, NULL, &o, &b, NULL, &dg), FL_IO);
    assert_string_equal(report_line(&dg, 0), "0:0: cannot open: No such file or directory [E0003]");
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void whole_batches_only(void **state)
{
    (void)state;
    test_schema t;
    fl_batch b;
    fl_diag dg;
    fl_reader_stats stats;
    two_slots(&t);
    fl_diag_init(&dg);
    const char *path = write_text("five", "click:1 a:1\nclick:1 a:1\nclick:1 a:1\nclick:1 a:1\nclick:1 a:1\n");
    fl_reader_options o = {.need_label = true, .batch = 2, .drop_last = true};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, &stats, &dg), FL_OK);
    assert_int_equal(b.n, 4);
    assert_int_equal(stats.skipped_rows, 1);
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

static void frappe_validation(void **state)
{
    (void)state;
    static const char *names[] = {"user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"};
    const char *folder = getenv("FLEN_TEST_DATA");
    char path[512];
    test_schema t = {0};
    fl_batch b;
    fl_diag dg;
    snprintf(path, sizeof path, "%s/data/frappe/valid.csv.gz", folder ? folder : "../shared");
    if (access(path, R_OK) != 0)
        skip();
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        add_slot(&t, names[i], 5382);
        t.slots[i].first_row = 0;
    }
    t.s.label = "label";
    fl_diag_init(&dg);
    fl_reader_options o = {.need_label = true, .threads = 2};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &b, NULL, &dg), FL_OK);
    double positives = 0;
    for (int64_t i = 0; i < b.n; i++)
        positives += b.label[i];
    assert_int_equal(b.n, 57722);
    assert_true(positives == 19063);
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_quotes_and_line_ends), cmocka_unit_test(comma_text),
        cmocka_unit_test(long_lines_are_skipped),       cmocka_unit_test(compressed_files_and_folders),
        cmocka_unit_test(whole_batches_only),           cmocka_unit_test(frappe_validation),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
