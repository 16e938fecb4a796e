/* test_config.c -- configurations in their three formats. What PaddleRec's files mean: frontend/README.md. */
#include "frontend/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static fl_diag dg;

static int start(void **state)
{
    (void)state;
    fl_diag_init(&dg);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fl_diag_deinit(&dg);
    return 0;
}

static void load(fl_config *c, const char *path, const char *const *sets, uint32_t n)
{
    fl_status s = fl_config_load(path, sets, n, c, &dg);
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
    assert_int_equal(s, FL_OK);
}

static void parse(fl_config *c, const char *text)
{
    fl_status s = fl_config_parse(text, strlen(text), "dir/c.yaml", NULL, 0, c, &dg);
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "test", "dir/c.yaml", text);
    assert_int_equal(s, FL_OK);
}

/* Parameters of the network that a configuration builds. */
static int64_t parameters(const fl_config *c)
{
    fl_graph *g = NULL;
    assert_int_equal(fl_network_build(&c->network, &g, &dg), FL_OK);
    int64_t n = fl_network_parameters(g);
    fl_graph_free(g);
    return n;
}

static const char *data(const char *name)
{
    static char path[512];
    const char *folder = getenv("FLEN_TEST_DATA");
    snprintf(path, sizeof path, "%s/data/paddlerec_flen/%s", folder ? folder : "../shared", name);
    FILE *f = fopen(path, "rb");
    if (!f)
        skip();
    fclose(f);
    return path;
}

static void test_paddlerec_18_as_shipped(void **state)
{
    (void)state;
    fl_config c;
    load(&c, data("config_1.8.5.yaml"), (const char *const[]){"dataset.0.data_path=DIR"}, 1);
    fl_manifest *m = &c.manifest;
    assert_int_equal(m->style, FL_STYLE_PADDLEREC_18);
    assert_string_equal(m->network, "flen-paddlerec-1.8");
    assert_string_equal(m->log, "paddlerec");
    assert_int_equal(m->quirks, FL_QUIRK_DROP_LAST);
    assert_int_equal(parameters(&c), 14169);
    assert_true(c.network.dropout == 0.5);
    assert_int_equal(c.network.classes[FL_CLASS_TABLE].rule.kind, FL_RULE_ADAM);
    assert_int_equal(m->schema.n_slots, 21);
    assert_string_equal(m->schema.label, "click");
    assert_string_equal(m->schema.slots[20].name, "contex_5");
    assert_int_equal(m->schema.fields[0].n_slots, 12);
    assert_int_equal(m->schema.fields[2].n_slots, 6);
    assert_string_equal(m->datasets[0].data_path, "DIR");
    assert_string_equal(m->datasets[1].data_path, "models/rank/flen/data/sample_data/train");
    assert_string_equal(m->datasets[0].type, "QueueDataset");
    assert_int_equal(m->datasets[0].batch_size, 2);
    assert_int_equal(m->n_runners, 2);
    const fl_runner *train = &m->runners[0], *infer = &m->runners[1];
    assert_string_equal(train->name, "single_cpu_train");
    assert_true(train->train);
    assert_int_equal(train->print_interval, 2);
    assert_int_equal(train->save_checkpoint_interval, 1);
    assert_int_equal(train->save_inference_interval, 4);
    assert_string_equal(train->save_checkpoint_path, "increment_model_flen");
    assert_int_equal(train->n_feed_names, 0);
    assert_null(train->init_model_path);
    assert_int_equal(train->n_phases, 1);
    assert_int_equal(train->phases[0].thread_num, 2);
    assert_false(infer->train);
    assert_string_equal(infer->init_model_path, "increment_model_flen");
    assert_int_equal(infer->phases[0].thread_num, 1);
    assert_int_equal(infer->phases[0].dataset, 1);
    assert_int_equal(infer->print_interval, 20);
    fl_config_deinit(&c);
}

static void test_gpu_runner_is_refused_if_named(void **state)
{
    (void)state;
    fl_config c;
    const char *path = data("config_1.8.5.yaml");
    assert_int_equal(fl_config_load(path, (const char *const[]){"mode=single_gpu_train"}, 1, &c, &dg), FL_UNSUPPORTED);
    assert_non_null(strstr(dg.entries[dg.n_entries - 2].text, "GPUs are not available here"));
}

static void test_paddlerec_2(void **state)
{
    (void)state;
    fl_config c;
    load(&c, data("config_2.x.yaml"), NULL, 0);
    fl_manifest *m = &c.manifest;
    assert_string_equal(m->network, "flen-paddlerec-2");
    assert_int_equal(parameters(&c), 49220);
    assert_int_equal(m->seed, 12345);
    assert_int_equal(m->schema.n_comma_columns, 24);
    assert_string_equal(m->schema.comma_columns[1], "C1");
    assert_string_equal(m->schema.comma_columns[23], "label");
    assert_true(c.network.classes[FL_CLASS_WEIGHT].rule.lr == 0.04);
    assert_true(c.network.classes[FL_CLASS_WEIGHT].rule.initial_accumulator == 1e-3);
    assert_int_equal(m->datasets[1].batch_size, 3);
    assert_string_equal(m->runners[0].save_checkpoint_path, "output_model_flen");
    assert_int_equal(m->runners[1].infer_end_epoch, 1);
    assert_true(m->runners[1].use_auc);
    assert_non_null(strstr(m->datasets[0].data_path, "paddlerec_flen/./data/sample_data/train"));
    fl_config_deinit(&c);
    load(&c, data("config_bigdata_2.x.yaml"), NULL, 0);
    assert_int_equal(c.manifest.schema.table_rows, 2500000);
    fl_config_deinit(&c);
}

static void test_shipped_models(void **state)
{
    (void)state;
    static const char *const paths[] = {"models/lr/config.yaml", "models/fm/config.yaml", "models/fwfm/config.yaml",
                                        "models/flen/config.yaml", "models/frappe/lr.yaml", "models/frappe/fm.yaml",
                                        "models/frappe/flen.yaml", "models/avazu/flen.yaml", "models/bench/flen.yaml"};
    static const int64_t sizes[] = {0, 0, 0, 0, 5383, 59203, -1, 0, 2500000 * 32LL + 6 + 704 * 64 + 64 + 64 * 32 + 32 + 64 + 1};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        fl_config c;
        load(&c, paths[i], NULL, 0);
        int64_t n = parameters(&c);
        if (sizes[i] >= 0)
            assert_int_equal(n, sizes[i]);
        fl_config_deinit(&c);
    }
}

static const char small[] = "network: flen\n"
                            "inputs: {label: y, slots: [{name: a, vocabulary: range, rows: 5}, {name: b, vocabulary: hash, rows: 7}, "
                            "{name: c, share: a}]}\n"
                            "fields: {two: [b], one: [c, a]}\n";

/* Slots stand field by field, and a slot that shares has the rows of the other. */
static void test_fields_and_rows(void **state)
{
    (void)state;
    fl_config c;
    parse(&c, small);
    const fl_schema *s = &c.manifest.schema;
    assert_int_equal(s->n_slots, 3);
    assert_string_equal(s->slots[0].name, "b");
    assert_string_equal(s->slots[1].name, "c");
    assert_string_equal(s->slots[2].name, "a");
    assert_int_equal(s->slots[0].first_row, 0);
    assert_int_equal(s->slots[2].first_row, 7);
    assert_int_equal(s->slots[1].first_row, 7);
    assert_int_equal(s->table_rows, 12);
    assert_int_equal(s->slots[1].field, 1);
    assert_string_equal(s->label, "y");
    fl_config_deinit(&c);
}

static void test_overrides(void **state)
{
    (void)state;
    fl_config c;
    static const char *const sets[] = {"mlp.widths=[7]", "train.data={workspace}/x y", "optimizer.class=ftrl", "network=flen-official",
                                       "inputs.slots.1.rows=9"};
    assert_int_equal(fl_config_parse(small, strlen(small), "dir/c.yaml", sets, FL_COUNT(sets), &c, &dg), FL_OK);
    assert_int_equal(c.network.n_widths, 1);
    assert_int_equal(c.network.widths[0], 7);
    assert_string_equal(c.manifest.datasets[0].data_path, "dir/x y");
    assert_int_equal(c.network.classes[FL_CLASS_OUT].rule.kind, FL_RULE_FTRL);
    assert_string_equal(c.manifest.network, "flen-official");
    assert_int_equal(c.manifest.schema.slots[0].rows, 9);
    fl_config_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_paddlerec_18_as_shipped, start, end),
        cmocka_unit_test_setup_teardown(test_gpu_runner_is_refused_if_named, start, end),
        cmocka_unit_test_setup_teardown(test_paddlerec_2, start, end),
        cmocka_unit_test_setup_teardown(test_shipped_models, start, end),
        cmocka_unit_test_setup_teardown(test_fields_and_rows, start, end),
        cmocka_unit_test_setup_teardown(test_overrides, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
