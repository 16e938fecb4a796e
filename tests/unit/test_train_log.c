/*
 * test_train_log.c -- lines to the byte. Oracles: the published log of PaddleRec 1.8's FLEN for its form and its first fractions; the format strings
 * of PaddleRec 2.x's trainer; jansson reads the JSON back.
 */
#include "runtime/train_log.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "runtime/numpy_format.h"

static char *out_text, *err_text;
static size_t out_size, err_size;

static void open_log(fl_train_log *log, fl_config_style style, const char *word, bool json)
{
    fl_train_log_init(log, style, "plain", word, json, false);
    log->bar = false;
    log->out = open_memstream(&out_text, &out_size);
    log->err = open_memstream(&err_text, &err_size);
}

static void close_log(fl_train_log *log)
{
    fclose(log->out);
    fclose(log->err);
}

static void free_texts(void)
{
    free(out_text);
    free(err_text);
}

/* Batch 2 of the published log: 1 positive and 11 negatives, one pair in order; 1 and 9, none. */
static fl_batch_report batch_of_the_log(const double *auc)
{
    return (fl_batch_report){.training = true, .due = true, .epoch = 0, .batch = 2, .steps = 3, .rows = 12, .copies = 2, .auc = auc, .batch_auc = auc,
                             .loss = 0.6931472f, .batch_rows = 4, .interval = 2, .interval_rows = 8, .interval_seconds = 0.02, .interval_wait = 0.002,
                             .interval_run = 0.006, .interval_loss = 0.7};
}

static void lines_of_18(void **state)
{
    const double auc[] = {1.0 / 11, 0};
    fl_train_log log;
    (void)state;

    open_log(&log, FL_STYLE_PADDLEREC_18, "paddlerec", false);
    fl_batch_report r = batch_of_the_log(auc);
    log.watcher.batch(log.watcher.arg, &r);
    r.due = false;
    log.watcher.batch(log.watcher.arg, &r);
    log.watcher.phase(log.watcher.arg, &(fl_epoch_report){.epoch = 0, .seconds = 0.21532440185546875});
    log.watcher.saved(log.watcher.arg, &(fl_saved_report){FL_SAVED_CHECKPOINT, "m/0/model.bin", "m/0", 0});
    fl_train_log_line(&log, "%s", "PaddleRec Finish");
    close_log(&log);
    assert_string_equal(out_text, "batch: 2, AUC: [0.09090909 0.        ], BATCH_AUC: [0.09090909 0.        ]\n"
                                  "epoch 0 done, use time: 0.21532440185546875\n"
                                  "PaddleRec Finish\n");
    assert_string_equal(err_text, "");
    free_texts();
}

static void lines_of_2(void **state)
{
    const double auc[] = {0.5};
    fl_train_log log;
    (void)state;

    open_log(&log, FL_STYLE_PADDLEREC_2, "paddlerec", false);
    fl_batch_report r = batch_of_the_log(auc);
    r.copies = 1;
    log.watcher.batch(log.watcher.arg, &r);
    log.watcher.phase(log.watcher.arg, &(fl_epoch_report){.epoch = 0, .seconds = 1.234, .counted_auc = 0.5, .last_loss = 0.25f});
    log.watcher.saved(log.watcher.arg, &(fl_saved_report){FL_SAVED_CHECKPOINT, "m/0/model.bin", "m/0", 0});
    close_log(&log);
    assert_string_equal(out_text, "epoch: 0, batch_id: 2, auc:0.500000, loss:0.6931472, avg_reader_cost: 0.00100 sec, avg_batch_cost: 0.00400 sec, "
                                  "avg_samples: 4.00000, ips: 987.65432 ins/s\n"
                                  "epoch: 0 done, auc: 0.500000,loss:0.25, epoch time: 1.23 s\n"
                                  "Already save model in m/0\n");
    free_texts();
}

static void plain_lines(void **state)
{
    const double auc[] = {0.5, 0.25};
    fl_train_log log;
    (void)state;

    open_log(&log, FL_STYLE_FLEN, NULL, false);
    fl_batch_report r = batch_of_the_log(auc);
    log.watcher.batch(log.watcher.arg, &r);
    fl_train_log_line(&log, "PaddleRec Finish");
    fl_train_log_trained(&log, &(fl_train_result){.rows = 1000, .seconds = 0.5, .wait_seconds = 0.01, .auc = 0.75, .logloss = 0.5, .exact = true,
                                                  .has_valid = true, .valid_auc = 0.7, .valid_logloss = 0.6, .best_epoch = 1, .saved = (char *)"t.bin"});
    close_log(&log);
    assert_string_equal(err_text, "epoch 0, batch 3: loss 0.700000, auc 0.500000, 400 samples/s, waited 10.0 %\n");
    assert_string_equal(out_text, "train: auc 0.750000, logloss 0.500000, 1000 rows in 0.50 s: 2000 samples/s, waited 0.01 s (2.0 %)\n"
                                  "valid: auc 0.700000, logloss 0.600000, after epoch 1\n"
                                  "model: t.bin\n");
    free_texts();
}

static void events(void **state)
{
    const double auc[] = {0.5, 0.25};
    fl_train_log log;
    (void)state;

    open_log(&log, FL_STYLE_PADDLEREC_18, "paddlerec", true);
    fl_batch_report r = batch_of_the_log(auc);
    r.loss = NAN;
    log.watcher.batch(log.watcher.arg, &r);
    log.watcher.epoch(log.watcher.arg, &(fl_epoch_report){.epoch = 4, .auc = NAN, .rate_factor = 1});
    log.watcher.saved(log.watcher.arg, &(fl_saved_report){FL_SAVED_STEP, "a \"b\"/model.bin", "x", 0});
    fl_train_log_trained(&log, &(fl_train_result){.rows = 5, .seconds = 1, .auc = 0.5, .logloss = 0.25});
    close_log(&log);
    static const char *const names[] = {"batch", "epoch", "saved", "done"};
    char *line = strtok(out_text, "\n");
    for (int i = 0; i < 4; i++, line = strtok(NULL, "\n")) {
        assert_non_null(line);
        assert_int_equal(strncmp(line, "{\"event\":", 9), 0);
        json_t *e = json_loads(line, 0, NULL);
        assert_non_null(e);
        assert_string_equal(json_string_value(json_object_get(e, "event")), names[i]);
        if (i == 0) {
            assert_int_equal(json_integer_value(json_object_get(e, "step")), 2);
            assert_true(json_real_value(json_object_get(e, "auc")) == 0.5 && json_is_null(json_object_get(e, "loss")));
            assert_int_equal(json_array_size(json_object_get(e, "auc_by_copy")), 2);
        } else if (i == 1) {
            assert_int_equal(json_integer_value(json_object_get(e, "epoch")), 4);
        } else if (i == 2) {
            assert_string_equal(json_string_value(json_object_get(e, "path")), "a \"b\"/model.bin");
        } else {
            assert_true(json_integer_value(json_object_get(e, "rows")) == 5 && json_real_value(json_object_get(e, "logloss")) == 0.25);
        }
        json_decref(e);
    }
    assert_null(line);
    free_texts();
}

/* Oracle: numpy, str(numpy.float32(x)). */
static void floats_as_numpy_prints_them(void **state)
{
    static const struct {
        float x;
        const char *text;
    } cases[] = {{0.6931472f, "0.6931472"}, {1, "1.0"}, {0, "0.0"}, {1e-5f, "1e-05"}, {1.5e-7f, "1.5e-07"}, {0.0001f, "0.0001"},
                 {16777216, "16777216.0"}, {3e20f, "3e+20"}, {1.0f / 3, "0.33333334"}, {NAN, "nan"}};
    char text[FL_REPR_SIZE];
    (void)state;

    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        fl_numpy_float(cases[i].x, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_of_18), cmocka_unit_test(lines_of_2), cmocka_unit_test(plain_lines),
                                       cmocka_unit_test(events), cmocka_unit_test(floats_as_numpy_prints_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
