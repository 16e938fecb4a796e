/*
 * test_checkpoint.c -- what a checkpoint keeps besides weights, and what is said of files that are none; who is blamed when training diverges.
 * On a hand-made model: a table of 5 rows, two slots.
 */
#include "runtime/checkpoint.h"

#include "backend/backend.h"
#include "runtime/divergence.h"

#include "data_support.h"

#include <math.h>

static const fl_type table_type = {FL_FLOAT, 2, {5, 2}};

/* train: table += 0, loss is its sum; predict: its sum. */
static void make_model(const char *path, const fl_type *type, const fl_model_entry_source *entries, uint32_t n_entries)
{
    static test_schema t;
    fl_graph *train = fl_graph_new("train"), *predict = fl_graph_new("predict"), *init = fl_graph_new("init");
    fl_manifest m;

    memset(&t, 0, sizeof t);
    add_slot(&t, "a", 2);
    add_slot(&t, "b", 3);
    t.slots[1].first_id = 10;
    fl_id w = fl_graph_variable(train, "table", *type);
    fl_graph_update(train, w, fl_build_2(train, FL_OP_ADD, "next", w, w));
    fl_graph_output(train, fl_build_1(train, FL_OP_NEG, "loss", w));
    fl_graph_output(predict, fl_build_1(predict, FL_OP_NEG, "y", fl_graph_variable(predict, "table", *type)));
    fl_id node = fl_node_new(init, FL_OP_INIT_CONSTANT, "table", NULL, 0, 1);
    fl_node_set_float(init, node, "value", 0.5);
    fl_node_set_ints(init, node, "shape", type->dims, 2);
    fl_build_infer(init, node);
    fl_graph_output(init, fl_node_out(init, node, 0));
    fl_manifest_init(&m);
    m.version = FLEN_VERSION;
    m.network = "test";
    m.log = "plain";
    m.schema = t.s;
    fl_model_content content = {.manifest = &m, .source = predict, .programs = {predict, train, NULL, init}, .entries = entries, .n_entries = n_entries};
    assert_int_equal(fl_model_save(path, &content, NULL), FL_OK);
    fl_manifest_deinit(&m);
    fl_graph_free(train);
    fl_graph_free(predict);
    fl_graph_free(init);
}

static void open_session(fl_session *s, const char *path)
{
    fl_session_options o = {.train = true, .threads = 1, .interpret = fl_interp_engine_new};
    assert_int_equal(fl_session_open(s, path, &o, NULL), FL_OK);
}

static void assert_coded(fl_diag *dg, fl_code code, const char *text)
{
    assert_int_equal(dg->n_errors, 1);
    assert_int_equal(dg->entries[dg->n_entries - 1].code, code);
    assert_string_equal(dg->entries[dg->n_entries - 1].text, text);
    fl_diag_clear(dg);
}

static void assert_report(fl_diag *dg, const char *text)
{
    assert_int_equal(dg->n_errors, 1);
    assert_string_equal(dg->entries[dg->n_entries - 1].text, text);
    fl_diag_clear(dg);
}

/* Scores of an epoch half way, exact and binned, come back as they were; at an epoch's end there are none to keep. */
static void counters_come_back(void **state)
{
    const float logit[] = {0.5f, -1, 2, 0.25f}, label[] = {1, 0, 0, 1}, probability[] = {0.6f, 0.3f, 0.9f, 0.55f};
    const char *path = scratch_path("m.bin"), *saved = scratch_path("deep/er/s.bin");
    fl_session s;
    (void)state;

    make_model(path, &table_type, NULL, 0);
    for (int binned = 0; binned < 2; binned++) {
        fl_eval eval, again;
        fl_bucket_auc auc, auc_again;
        fl_model *m;
        fl_eval_init(&eval, binned ? 2 : 100);
        fl_eval_init(&again, binned ? 2 : 100);
        assert_int_equal(fl_bucket_auc_init(&auc, 4096, 20), FL_OK);
        assert_int_equal(fl_bucket_auc_init(&auc_again, 4096, 20), FL_OK);
        assert_int_equal(fl_eval_add(&eval, logit, label, 4), FL_OK);
        fl_bucket_auc_add(&auc, probability, label, 4);
        open_session(&s, path);
        s.manifest->progress.epoch_step = 3;
        assert_int_equal(fl_checkpoint_save(&s, saved, &auc, &eval, NULL), FL_OK);
        fl_session_close(&s);
        assert_int_equal(fl_model_open(saved, 0, &m, NULL), FL_OK);
        assert_int_equal(fl_checkpoint_counters(m, &auc_again, &again, NULL), FL_OK);
        assert_true(fl_eval_is_exact(&again) == !binned && fl_eval_rows(&again) == 4);
        assert_true(fl_eval_auc(&again) == fl_eval_auc(&eval) && fl_eval_auc(&again) == 0.5);
        assert_true(fl_eval_logloss(&again) == fl_eval_logloss(&eval));
        assert_int_equal(fl_eval_add(&again, logit, label, 4), FL_OK);
        assert_int_equal(fl_eval_rows(&again), 8);
        assert_true(fl_bucket_auc_global(&auc_again) == fl_bucket_auc_global(&auc) && auc_again.runs == 1);
        fl_model_free(m);

        open_session(&s, saved);
        s.manifest->progress.epoch_step = 0;
        assert_int_equal(fl_checkpoint_save(&s, saved, &auc, &eval, NULL), FL_OK);
        fl_session_close(&s);
        size_t n;
        assert_int_equal(fl_model_open(saved, 0, &m, NULL), FL_OK);
        assert_null(fl_model_entry(m, "epoch_scores.bin", &n));
        assert_non_null(fl_model_entry(m, FL_AUC_ENTRY, &n));
        fl_model_free(m);
        fl_eval_deinit(&eval);
        fl_eval_deinit(&again);
        fl_bucket_auc_deinit(&auc);
        fl_bucket_auc_deinit(&auc_again);
    }
}

static void damaged_counters_are_refused(void **state)
{
    const fl_model_entry_source wrong[] = {{"epoch_scores.bin", "no scores", 9}, {FL_AUC_ENTRY, "no counters", 11}};
    const char *path = scratch_path("wrong.bin");
    fl_bucket_auc auc;
    fl_eval eval;
    fl_model *m;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    fl_eval_init(&eval, 10);
    assert_int_equal(fl_bucket_auc_init(&auc, 4096, 20), FL_OK);
    for (uint32_t i = 0; i < 2; i++) {
        make_model(path, &table_type, &wrong[i], 1);
        assert_int_equal(fl_model_open(path, 0, &m, NULL), FL_OK);
        assert_int_equal(fl_checkpoint_counters(m, &auc, &eval, &dg), FL_BAD_INPUT);
        if (i)
            assert_coded(&dg, FL_E_AUC_STATE, "the AUC counters (entry auc.bin) are not of this form, or not such as counting leaves");
        else
            assert_report(&dg, "its part epoch_scores.bin does not hold the scores of an epoch");
        fl_model_free(m);
    }
    fl_bucket_auc_deinit(&auc);
    fl_eval_deinit(&eval);
    fl_diag_deinit(&dg);
}

/* Counters are a large part, which opening a large file does not compare: a run that went on from them would write them with a fresh checksum. */
static void flipped_counters_are_refused(void **state)
{
    enum { REST = 17 << 20 };
    const float probability = 0.5f, label = 1;
    const char *path = scratch_path("flipped.bin");
    fl_bucket_auc auc;
    fl_model *m;
    fl_diag dg;
    size_t n;
    (void)state;

    fl_diag_init(&dg);
    assert_int_equal(fl_bucket_auc_init(&auc, 4096, FL_AUC_WINDOW), FL_OK);
    fl_bucket_auc_add(&auc, &probability, &label, 1);
    void *counters = fl_bucket_auc_save(&auc, &n), *rest = calloc(1, REST);
    assert_true(counters && rest && n > 1 << 20);
    make_model(path, &table_type, (fl_model_entry_source[]){{FL_AUC_ENTRY, counters, n}, {"rest.bin", rest, REST}}, 2);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    const char *at = memmem(rest, fread(rest, 1, REST, f), "flenauc1", 8);
    assert_non_null(at);
    assert_int_equal(fseek(f, at - (const char *)rest + (1 << 20), SEEK_SET), 0);
    fputc(1, f);
    assert_int_equal(fclose(f), 0);
    free(counters);
    free(rest);

    assert_int_equal(fl_model_open(path, 0, &m, NULL), FL_OK);
    assert_int_equal(fl_checkpoint_counters(m, &auc, NULL, &dg), FL_BAD_INPUT);
    assert_coded(&dg, FL_E_MODEL_DAMAGED, "the file is damaged: the checksum of \"auc.bin\" is wrong");
    fl_model_free(m);
    fl_bucket_auc_deinit(&auc);
    fl_diag_deinit(&dg);
}

static void models_are_located(void **state)
{
    const char *folder = scratch_path("models"), *model = scratch_path("models/model.bin");
    static const char zeros[24];
    char *file;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    assert_int_equal(fl_model_locate(scratch_path("nowhere"), &file, &dg), FL_IO);
    assert_report(&dg, "cannot open: No such file or directory");
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(fl_model_locate(folder, &file, &dg), FL_BAD_INPUT);
    assert_coded(&dg, FL_E_INIT_MODEL, "the folder holds no model.bin");
    make_model(model, &table_type, NULL, 0);
    assert_int_equal(fl_model_locate(folder, &file, &dg), FL_OK);
    assert_string_equal(file, model);
    free(file);
    assert_int_equal(fl_model_locate(model, &file, &dg), FL_OK);
    free(file);
    assert_int_equal(mkdir(scratch_path("paddle"), 0777), 0);
    write_file("paddle/fc_0.w_0", zeros, sizeof zeros);
    assert_int_equal(fl_model_locate(scratch_path("paddle"), &file, &dg), FL_BAD_INPUT);
    assert_coded(&dg, FL_E_INIT_MODEL, "the folder holds PaddlePaddle's own variable files, which are not read here");
    assert_int_equal(fl_model_locate(scratch_path("paddle/fc_0.w_0"), &file, &dg), FL_BAD_INPUT);
    assert_report(&dg, "this is a variable file of PaddlePaddle's, which is not read here");
    write_text("rec.pdparams", "x");
    assert_int_equal(fl_model_locate(scratch_path("rec.pdparams"), &file, &dg), FL_BAD_INPUT);
    assert_report(&dg, "this is a variable file of PaddlePaddle's, which is not read here");
    fl_diag_deinit(&dg);
}

static void a_run_starts_from_another_model(void **state)
{
    static const fl_type wider = {FL_FLOAT, 2, {5, 3}};
    const char *path = scratch_path("m.bin"), *from = scratch_path("from.bin"), *other = scratch_path("other.bin");
    fl_session s, t;
    fl_model *m;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    make_model(path, &table_type, NULL, 0);
    make_model(other, &wider, NULL, 0);
    open_session(&s, path);
    ((float *)fl_store_find(&s.variables.store, "table")->data)[1] = 7;
    assert_int_equal(fl_checkpoint_save(&s, from, NULL, NULL, NULL), FL_OK);
    fl_session_close(&s);
    open_session(&t, path);
    assert_int_equal(fl_model_open(from, 0, &m, NULL), FL_OK);
    assert_int_equal(fl_session_start_from(&t, m, &dg), FL_OK);
    assert_true(((float *)fl_store_find(&t.variables.store, "table")->data)[1] == 7);
    fl_model_free(m);
    assert_int_equal(fl_model_open(other, 0, &m, NULL), FL_OK);
    assert_int_equal(fl_session_start_from(&t, m, &dg), FL_BAD_INPUT);
    assert_coded(&dg, FL_E_INIT_MODEL, "it has no variable \"table\", which this model needs"); /* it was never trained */
    fl_model_free(m);
    open_session(&s, other);
    assert_int_equal(fl_checkpoint_save(&s, other, NULL, NULL, NULL), FL_OK);
    fl_session_close(&s);
    assert_int_equal(fl_model_open(other, 0, &m, NULL), FL_OK);
    assert_int_equal(fl_session_start_from(&t, m, &dg), FL_BAD_INPUT);
    assert_coded(&dg, FL_E_INIT_MODEL, "its variable \"table\" has another shape than this model's");
    fl_model_free(m);
    fl_session_close(&t);
    fl_diag_deinit(&dg);
}

static void divergence_names_row_and_feature(void **state)
{
    const char *path = scratch_path("m.bin");
    fl_step_place at = {41, 1, "rows.txt"};
    float loss = NAN, logit[] = {0, NAN};
    fl_session s;
    fl_batch b;
    fl_watch w;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    make_model(path, &table_type, NULL, 0);
    open_session(&s, path);
    fl_var *v = fl_store_find(&s.variables.store, "table");
    float *table = v->data;
    assert_int_equal(fl_watch_init(&w, &s, &dg), FL_OK);
    assert_int_equal(fl_batch_init(&b, &s.manifest->schema), FL_OK);
    assert_int_equal(fl_batch_reserve(&b, 2), FL_OK);
    b.n = 2;
    memcpy(b.ids, (const int64_t[]){0, 2, 1, 4}, 4 * sizeof *b.ids); /* a = 0, b = 10; a = 1, b = 12 */
    b.row[0] = 100;
    b.row[1] = 205;

    /* A weight that is not finite, however large others are. */
    table[4 * v->stride + 1] = -INFINITY;
    table[1 * v->stride] = 1e38f;
    assert_int_equal(fl_watch_before(&w, &b, &dg), FL_OK);
    assert_int_equal(fl_watch_after(&w, &b, &loss, logit, at, &dg), FL_FAILED);
    assert_string_equal(dg.entries[0].file, "rows.txt");
    assert_report(&dg, "training diverged at step 41 (epoch 1), row 205: the logit is nan; slot \"b\", id 12: its weights in \"table\" are not finite");
    assert_int_equal(fl_watch_variables(&w, 42, &dg), FL_FAILED);
    assert_report(&dg, "training diverged: after 42 steps row 4 of variable \"table\" is not finite; slot \"b\", id 12");

    /* All finite: the largest one is named, and the first row with a bad logit, or with the largest weight if only the loss is bad. */
    table[4 * v->stride + 1] = 0;
    assert_int_equal(fl_watch_before(&w, &b, &dg), FL_OK);
    logit[1] = INFINITY;
    assert_int_equal(fl_watch_after(&w, &b, &loss, logit, at, &dg), FL_FAILED);
    assert_report(&dg, "training diverged at step 41 (epoch 1), row 205: the logit is inf; slot \"a\", id 1 has the largest weight of the row, 1e+38 in \"table\"");
    logit[1] = 1;
    assert_int_equal(fl_watch_after(&w, &b, &loss, logit, at, &dg), FL_FAILED);
    assert_report(&dg, "training diverged at step 41 (epoch 1), row 205: the loss is nan; slot \"a\", id 1 has the largest weight of the row, 1e+38 in \"table\"");
    assert_int_equal(fl_watch_variables(&w, 42, &dg), FL_OK);

    /* The alarm ends after the first steps, and comes back with a large logit. */
    loss = 0.5f;
    for (int i = 0; i < FL_WATCH_FIRST_STEPS; i++)
        assert_int_equal(fl_watch_after(&w, &b, &loss, logit, at, &dg), FL_OK);
    assert_false(w.alarmed);
    logit[0] = -31;
    assert_int_equal(fl_watch_after(&w, &b, &loss, logit, at, &dg), FL_OK);
    assert_true(w.alarmed);
    fl_batch_deinit(&b);
    fl_watch_deinit(&w);
    fl_session_close(&s);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counters_come_back), cmocka_unit_test(damaged_counters_are_refused),
                                       cmocka_unit_test(flipped_counters_are_refused),
                                       cmocka_unit_test(models_are_located), cmocka_unit_test(a_run_starts_from_another_model),
                                       cmocka_unit_test(divergence_names_row_and_feature)};
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
