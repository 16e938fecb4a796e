/*
 * test_inference.c -- rows of a file through a predict program: feeding by input names, bags, bad rows, metrics. The model is made by hand:
 * logit = t[a] + sum of t[tags]. Oracle: the same sums in C.
 */
#include "runtime/inference.h"

#include "backend/backend.h"
#include "runtime/data_path.h"
#include "runtime/feed.h"

#include <math.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/flen-inference-XXXXXX", path[64], rows[64];

static const float table[6] = {0.5f, -1, 2, 0.25f, 3, -0.125f};

static void make_model(void)
{
    static fl_slot slots[] = {
        {.name = "a", .column = "a", .vocab = FL_VOCAB_RANGE, .rows = 3, .first_row = 0},
        {.name = "tags", .column = "tags", .vocab = FL_VOCAB_RANGE, .rows = 3, .first_row = 3, .pooling = FL_POOL_SUM},
    };
    static uint32_t members[] = {0, 1};
    static fl_field fields[] = {{"f", members, 2}};
    fl_graph *g = fl_graph_new("predict");
    fl_dim batch = fl_graph_symbol(g, "batch"), n = fl_graph_symbol(g, "tags.count"), n1 = fl_graph_symbol(g, "tags.offsets");
    fl_id t = fl_graph_variable(g, "t", (fl_type){FL_FLOAT, 2, {6, 1}});
    fl_id ids = fl_graph_input(g, "ids", (fl_type){FL_INT64, 2, {batch, 1}});
    fl_id values = fl_graph_input(g, "tags.values", (fl_type){FL_INT64, 1, {n}});
    fl_id offsets = fl_graph_input(g, "tags.offsets", (fl_type){FL_INT64, 1, {n1}});
    fl_id gathered = fl_build_2(g, FL_OP_GATHER, "e", t, ids);
    fl_id single = fl_build_reduce_sum(g, "s", gathered, (const int64_t[]){1}, 1, false);
    fl_id node = fl_node_new(g, FL_OP_EMBEDDING_BAG, "bag", (const fl_id[]){t, values, offsets}, 3, 1);
    fl_node_set_string(g, node, "mode", "sum");
    fl_build_infer(g, node);
    fl_id logit = fl_build_2(g, FL_OP_ADD, "logit", single, fl_node_out(g, node, 0));
    fl_graph_output(g, logit);
    fl_graph_output(g, fl_build_1(g, FL_OP_SIGMOID, "probability", logit));
    g->values[logit].type = (fl_type){FL_FLOAT, 2, {batch, 1}};

    fl_manifest m;
    fl_manifest_init(&m);
    m.version = FLEN_VERSION;
    m.network = "test";
    m.log = "plain";
    m.schema = (fl_schema){.slots = slots, .n_slots = 2, .fields = fields, .n_fields = 1, .table_rows = 6, .label = "click"};
    fl_model_variable_source v = {"t", {FL_FLOAT, 2, {6, 1}}, table, 1};
    fl_model_content content = {.manifest = &m, .source = g, .programs = {g}, .variables = &v, .n_variables = 1};
    assert_int_equal(fl_model_save(path, &content, NULL), FL_OK);
    fl_manifest_deinit(&m);
    fl_graph_free(g);
}

static void write_rows(const char *text)
{
    FILE *f = fopen(rows, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void open_model(fl_session *s)
{
    fl_session_options o = {.threads = 1, .interpret = fl_interp_engine_new};
    assert_int_equal(fl_session_open(s, path, &o, NULL), FL_OK);
}

static const char text[] = "click:1 a:0 tags:0 tags:1\nclick:0 a:2\nclick:0 a:9\nclick:1 tags:2 a:1\n";
static const double expected[] = {0.5 + 0.25 + 3, 2, -1 - 0.125}; /* of the good rows */

typedef struct seen {
    int n, bad;
    float logit[8];
} seen;

static fl_status see(void *arg, const fl_batch *b, const float *logit, const float *probability, fl_diag *dg)
{
    seen *s = arg;
    (void)dg;
    for (int64_t i = 0; i < b->n; i++) {
        assert_true(fabs(probability[i] - 1 / (1 + exp(-(double)logit[i]))) < 1e-6);
        assert_int_equal(b->row[i], s->n);
        s->bad += b->bad[i];
        s->logit[s->n++] = logit[i];
    }
    return FL_OK;
}

static void every_row_is_predicted(void **state)
{
    fl_session s;
    (void)state;

    write_rows(text);
    open_model(&s);
    for (int64_t batch = 1; batch < 6; batch++) {
        seen got = {0};
        fl_inference_result r;
        fl_inference o = {.batch = batch, .keep_bad_rows = true, .each = see, .arg = &got};
        assert_int_equal(fl_infer(&s, rows, &o, &r, NULL), FL_OK);
        assert_int_equal(got.n, 4);
        assert_int_equal(got.bad, 1);
        assert_int_equal(r.rows.bad_rows, 1);
        assert_true(got.logit[0] == (float)expected[0] && got.logit[1] == (float)expected[1] && got.logit[3] == (float)expected[2]);
    }
    fl_session_close(&s);
}

static void metrics_are_of_the_good_rows(void **state)
{
    fl_session s;
    fl_evaluation e;
    fl_diag dg;
    (void)state;

    write_rows(text);
    open_model(&s);
    fl_diag_init(&dg);
    assert_int_equal(fl_evaluate(&s, rows, &(fl_inference){.batch = 2}, &e, &dg), FL_OK);
    assert_int_equal(e.rows, 3);
    assert_true(e.exact && e.finite);
    assert_true(e.auc == 0.5); /* one positive above the negative, one below */
    double loss = (log1p(exp(-expected[0])) + log1p(exp(expected[1])) + log1p(exp(-expected[2]))) / 3;
    assert_true(fabs(e.logloss - loss) < 1e-7);
    assert_true(dg.n_entries > 0 && dg.n_errors == 0); /* the bad row is told */
    fl_diag_clear(&dg);
    assert_int_equal(fl_evaluate(&s, rows, &(fl_inference){.strict = true}, &e, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.n_errors, 1);
    fl_diag_clear(&dg);
    static const volatile sig_atomic_t stop = 1;
    assert_int_equal(fl_evaluate(&s, rows, &(fl_inference){.stop = &stop}, &e, &dg), FL_INTERRUPTED);
    fl_diag_deinit(&dg);
    fl_session_close(&s);
}

static void strange_inputs_are_refused(void **state)
{
    fl_graph *g = fl_graph_new("strange");
    fl_schema schema = {0};
    fl_feed feed;
    fl_diag dg;
    (void)state;

    fl_graph_input(g, "pixels", (fl_type){FL_FLOAT, 2, {fl_graph_symbol(g, "batch"), 3}});
    fl_diag_init(&dg);
    assert_int_equal(fl_feed_init(&feed, g, &schema, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "rows of data cannot fill input \"pixels\" of program \"strange\"");
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

/* A folder is prepared if its `train` is a cache. */
static void other_folders_are_read_as_they_are(void **state)
{
    char *found, inside[80];
    bool prepared = true;
    (void)state;

    snprintf(inside, sizeof inside, "%s/train", folder);
    FILE *f = fopen(inside, "w");
    fputs(text, f);
    fclose(f);
    assert_int_equal(fl_data_path(folder, FL_DATA_VALID, &found, &prepared, NULL), FL_OK);
    assert_string_equal(found, folder);
    assert_false(prepared);
    free(found);
    unlink(inside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_is_predicted), cmocka_unit_test(metrics_are_of_the_good_rows),
                                       cmocka_unit_test(strange_inputs_are_refused), cmocka_unit_test(other_folders_are_read_as_they_are)};
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/model.bin", folder);
    snprintf(rows, sizeof rows, "%s/rows.txt", folder);
    make_model();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(rows);
    rmdir(folder);
    return failed;
}
