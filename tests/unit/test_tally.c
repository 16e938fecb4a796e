/*
 * test_tally.c -- what watchers are told. Oracle for the copies of PaddleRec's thread_num: the fractions of the published log, whose first value
 * counts all rows of a step, the second all but the step's last batch; here on labels and scores of which they follow by hand.
 */
#include "runtime/tally.h"

#include "data_support.h"

#include <math.h>

typedef struct seen {
    int n;
    fl_batch_report last;
    double auc[4], batch_auc[4];
} seen;

static void note_batch(void *arg, const fl_batch_report *r)
{
    seen *s = arg;

    s->n++;
    s->last = *r;
    for (uint32_t i = 0; r->auc && i < r->copies; i++) {
        s->auc[i] = r->auc[i];
        s->batch_auc[i] = r->batch_auc[i];
    }
}

static void copies_count_without_those_behind(void **state)
{
    /* Two copies of two rows. After the first: positive 0.5 against negative 0.25; the second adds a positive below and a negative above. */
    float probability[4] = {0.5f, 0.25f, 0.125f, 0.75f}, logit[4] = {0, -1, -2, 1};
    const char *path = write_text("rows", "click:1 a:0\nclick:0 a:1\nclick:1 a:2\nclick:0 a:3\n");
    test_schema t = {0};
    seen s = {0};
    fl_watcher w = {.arg = &s, .batch = note_batch};
    fl_tally_options o = {true, 3, 2, 2, FL_PRINT_2, 1, false, &w};
    fl_bucket_auc auc;
    fl_reader *r;
    fl_batch b;
    fl_tally tally;
    fl_eval eval;
    (void)state;

    add_slot(&t, "a", 4);
    assert_int_equal(fl_reader_open(path, &t.s, NULL, &(fl_reader_options){.batch = 4, .need_label = true}, &r, NULL), FL_OK);
    assert_int_equal(fl_batch_init(&b, &t.s), FL_OK);
    assert_int_equal(fl_reader_next(r, &b, NULL), FL_OK);
    assert_int_equal(fl_bucket_auc_init(&auc, 4096, FL_AUC_WINDOW), FL_OK);
    assert_int_equal(fl_tally_init(&tally, &o, NULL), FL_OK);
    fl_eval_init(&eval, 100);
    assert_int_equal(fl_tally_count(&tally, &b, &(fl_reader_stats){0}, logit, probability, 0.5f, 8, &eval, &auc, NULL), FL_OK);
    assert_int_equal(s.n, 1);
    assert_true(s.last.due && s.last.training && s.last.epoch == 3 && s.last.batch == 0 && s.last.steps == 8 && s.last.rows == 4);
    assert_true(s.auc[1] == 1 && s.batch_auc[1] == 1);         /* of one pair, one is right */
    assert_true(s.auc[0] == 0.25 && s.batch_auc[0] == 0.25);   /* of four pairs, one */
    assert_true(fl_eval_auc(&eval) == 0.25);
    assert_true(auc.runs == 2);

    /* A step that fills one copy only, and a skipped one: counted as batches of the epoch, not as runs. */
    fl_tally_skip(&tally, &b, &(fl_reader_stats){0});
    b.n = 2;
    assert_int_equal(fl_tally_count(&tally, &b, &(fl_reader_stats){0}, logit, probability, 1.5f, 9, &eval, &auc, NULL), FL_OK);
    assert_true(s.last.batch == 2 && s.last.rows == 10 && auc.runs == 3);
    assert_true(s.last.interval_rows == 2 && s.last.interval_loss == 1.5);
    assert_true(fabs(s.auc[0] - 4 / 9.0) < 1e-12 && s.auc[0] == s.auc[1]); /* positives .5 .125 .5, negatives .25 .75 .25 */
    fl_tally_deinit(&tally);
    fl_eval_deinit(&eval);
    fl_bucket_auc_deinit(&auc);
    fl_batch_deinit(&b);
    fl_reader_close(r);
}

static void lines_are_due(void **state)
{
    (void)state;
    assert_true(!fl_print_due(FL_PRINT_18, 2, 0) && !fl_print_due(FL_PRINT_18, 2, 1) && fl_print_due(FL_PRINT_18, 2, 2));
    assert_true(fl_print_due(FL_PRINT_2, 2, 0) && !fl_print_due(FL_PRINT_2, 2, 1) && fl_print_due(FL_PRINT_2, 2, 2));
    assert_true(!fl_print_due(FL_PRINT_EVERY, 2, 0) && fl_print_due(FL_PRINT_EVERY, 2, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_count_without_those_behind), cmocka_unit_test(lines_are_due)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
