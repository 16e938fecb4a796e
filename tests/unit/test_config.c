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
    assert_string_equal(m->datasets[1].data_path, "DIR"); /* the file gives both the same path */
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
    static const int64_t sizes[] = {0, 0, 0, 0, 5383, 59203, -1, 0, 2499999 * 32LL + 6 + 704 * 64 + 64 + 64 * 32 + 32 + 64 + 1};
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

/* What a configuration means, as text: the manifest without the configuration itself, and the network's numbers. */
static char *meaning(const char *text, const char *set)
{
    fl_config c;
    fl_diag_clear(&dg);
    if (fl_config_parse(text, strlen(text), "dir/c.yaml", &set, set ? 1 : 0, &c, &dg) != FL_OK)
        fail_msg("%s: %s", set, dg.n_entries ? dg.entries[0].text : "");
    c.manifest.source_text = NULL;
    char *json = fl_manifest_print(&c.manifest);
    fl_network_spec *s = &c.network;
    size_t size = strlen(json) + 4096, n = strlen(json);
    json = realloc(json, size);
    n += (size_t)snprintf(json + n, size - n, "%s %d %d %d %d %d %d %d %d %g %d %s %g %g %g %s %s %g %d %d", s->name, (int)s->k,
                          (int)s->linear, s->field_bias, (int)s->groups, (int)s->mf, (int)s->fm, s->interaction_to_logit, s->hidden,
                          s->dicefactor, (int)s->mlp, s->dropout_style, s->dropout, s->bn_epsilon, s->bn_momentum, s->bn_single_row,
                          s->loss, s->loss_epsilon, s->batch_norm, s->out_bias * 2 + s->mlp_first);
    n += (size_t)snprintf(json + n, size - n, " %d %d", (int)s->hidden_units, s->hidden_bias);
    for (uint32_t i = 0; i < s->n_widths; i++)
        n += (size_t)snprintf(json + n, size - n, " %d", (int)s->widths[i]);
    for (uint32_t i = 0; i < s->mlp_steps.n + s->hidden_steps.n; i++)
        n += (size_t)snprintf(json + n, size - n, " %d",
                              (int)(i < s->mlp_steps.n ? s->mlp_steps.step[i] : s->hidden_steps.step[i - s->mlp_steps.n]));
    for (int i = 0; i < FL_N_CLASSES; i++) {
        const fl_class_spec *p = &s->classes[i];
        n += (size_t)snprintf(json + n, size - n, "\n%d %g %g %g %g %g %g %d %g %g %g %g %g %d %d %g", (int)p->rule.kind, p->rule.lr,
                              p->rule.momentum, p->rule.epsilon, p->rule.initial_accumulator, p->rule.beta1, p->rule.beta2,
                              p->rule.bias_corrected, p->rule.beta, p->rule.l1, p->rule.l2, p->lr_scale, p->l2, p->row_sparse,
                              (int)p->fill, p->a);
    }
    fl_config_deinit(&c);
    return json;
}

/* Each override changes what the configuration means: no key is ignored. */
static void assert_all_matter(const char *text, const char *const *sets, size_t n)
{
    char *plain = meaning(text, NULL), *again = meaning(text, NULL);
    assert_string_equal(plain, again);
    free(again);
    for (size_t i = 0; i < n; i++) {
        char *changed = meaning(text, sets[i]);
        if (strcmp(plain, changed) == 0)
            fail_msg("%s is ignored", sets[i]);
        free(changed);
    }
    free(plain);
}

static void test_no_key_of_ours_is_ignored(void **state)
{
    (void)state;
    static const char text[] =
        "network: flen\n"
        "loss: {kind: paddle_log_loss}\n"
        "optimizer: {class: adagrad}\n"
        "inputs: {label: y, slots: [{name: a, vocabulary: range, rows: 5}, {name: b, vocabulary: hash, rows: 7}, c]}\n"
        "fields: {two: [b], one: [c, a]}\n"
        "interaction: {}\nmlp: {}\nhidden_layer: {}\nbatch_norm: {}\noutput: {}\ninit: {}\n"
        "train: {data: \"{workspace}/t\", valid: v, plateau: {}, save: {}}\ninfer: {data: i}\n";
    static const char *const sets[] = {
        "network=flen-official", "workspace=w", "seed=9", "log=paddlerec", "quirks=[drop_last]", "mode=infer", "embedding_size=3",
        "linear=logit", "interaction.groups=all", "interaction.mf=matrix", "interaction.fm=none", "interaction.to=logit",
        "interaction.dicefactor=0.7", "interaction.field_bias=true", "hidden_layer=false", "hidden_layer.units=3", "hidden_layer.bias=true",
        "hidden_layer.order=[relu]", "mlp.input=slots", "mlp.widths=[3]", "mlp.order=[dropout, relu]", "dropout=0.3",
        "dropout_style=downscale_in_infer", "batch_norm=false", "batch_norm.epsilon=0.1", "batch_norm.momentum=0.5",
        "batch_norm.single_row=pass", "output.bias=true", "output.mlp_first=true", "loss.kind=bce", "loss.epsilon=0.01",
        "init.table=glorot_uniform", "optimizer.class=sgd", "optimizer.learning_rate=0.5", "optimizer.epsilon=0.1",
        "optimizer.initial_accumulator=0.1", "optimizer.lazy=false", "optimizer.l2=0.1", "inputs.label=z", "inputs.csv_columns=[a, b]",
        "inputs.delimiter=;", "inputs.slots.0.column=q", "inputs.slots.0.optional=true", "inputs.slots.0.transform=day",
        "inputs.slots.1.vocabulary=range", "inputs.slots.0.rows=6", "inputs.slots.0.first_id=2", "inputs.slots.0.min_count=3",
        "inputs.slots.0.pooling=mean", "inputs.slots.0.padding=1", "inputs.defaults.min_count=4",
        "fields.one=[a, c]", "train.data=x", "train.valid=x", "train.batch_size=3", "train.epochs=3", "train.print_interval=3",
        "train.shuffle_files=true", "train.patience=3", "train.keep_best=true", "train.plateau.factor=0.3", "train.plateau.min=0.3",
        "train.save.path=x", "train.save.every=3", "train.save.step_path=x", "train.save.every_steps=3", "train.init_model=x",
        "infer.data=x", "infer.batch_size=3", "infer.print_interval=3", "infer.init_model=x"};
    assert_all_matter(text, sets, FL_COUNT(sets));
}

/* Rules of one class of optimiser. */
static void test_no_key_of_a_rule_is_ignored(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        const char *sets[8];
    } rules[] = {
        {"momentum", {"optimizer.momentum=0.5"}},
        {"rowwise_adagrad", {"optimizer.epsilon=0.1", "optimizer.initial_accumulator=0.1"}},
        {"adam", {"optimizer.beta1=0.5", "optimizer.beta2=0.5", "optimizer.epsilon=0.1", "optimizer.epsilon_form=bias_corrected", "optimizer.lazy=false"}},
        {"ftrl", {"optimizer.beta=0.5", "optimizer.l1=0.5", "optimizer.ftrl_l2=0.5", "optimizer.rates.linear=2", "optimizer.l2.table=0.5",
                  "optimizer.per_class.linear.class=sgd", "optimizer.per_class.table.l1=0.25"}},
    };
    for (size_t i = 0; i < FL_COUNT(rules); i++) {
        char text[1024];
        size_t n = 0;
        snprintf(text, sizeof text, "network: flen\noptimizer: {class: %s}\ninputs: {slots: [a, b]}\nfields: {x: [a], y: [b]}\n", rules[i].rule);
        while (n < FL_COUNT(rules[i].sets) && rules[i].sets[n])
            n++;
        assert_all_matter(text, rules[i].sets, n);
    }
    static const char slots[] = "network: fm\ninputs: {slots: [{name: a, vocabulary: range, rows: 5, pooling: sum}, {name: b, vocabulary: range, rows: 5}]}\n";
    static const char *const sets[] = {"inputs.slots.0.separator=|", "inputs.slots.1.share=a", "inputs.slots.1.name=c", "inputs.defaults.optional=true"};
    assert_all_matter(slots, sets, FL_COUNT(sets));
}

static const char paddlerec[] =
    "workspace: w\n"
    "dataset:\n- {name: d, batch_size: 2, data_path: \"{workspace}/t\", sparse_slots: \"click a b c\"}\n"
    "- {name: e, batch_size: 2, data_path: x, sparse_slots: \"click a b c\"}\n"
    "hyper_parameters:\n  optimizer: {class: Adam}\n  sparse_feature_number: 10\n  sparse_feature_dim: 4\n"
    "mode: [t, i]\n"
    "runner:\n- {name: t, class: train, device: cpu, epochs: 1}\n- {name: i, class: infer, device: cpu, init_model_path: m}\n"
    "phase:\n- {name: p1, model: m, dataset_name: d}\n- {name: p2, model: m, dataset_name: d}\n"
    "fields: {x: [a], y: [b, c]}\n";

static void test_no_key_of_paddlerec_18_is_ignored(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "workspace=v", "mode=t", "mode=[i, t]", "network=fm", "seed=3", "log=plain", "quirks=[missing_label_is_0]",
        "dataset.0.batch_size=3", "dataset.0.type=QueueDataset", "dataset.0.data_path=y",
        "hyper_parameters.optimizer.class=SGD", "hyper_parameters.optimizer.learning_rate=\"0.5\"", "hyper_parameters.dropout_rate=0.1",
        "hyper_parameters.sparse_feature_number=11", "hyper_parameters.sparse_feature_dim=5",
        "runner.0.epochs=2", "runner.0.phases=[p2]", "runner.0.phases=p1", "runner.0.init_model_path=x", "runner.0.print_interval=3",
        "runner.0.save_checkpoint_interval=2", "runner.0.save_checkpoint_path=x", "runner.0.save_inference_interval=2",
        "runner.0.save_inference_path=x", "runner.0.save_inference_feed_varnames=[a]", "runner.0.save_inference_fetch_varnames=[logit]",
        "runner.0.save_step_interval=2", "runner.0.save_step_path=x", "runner.0.runner_result_dump_path=x", "phase.0.dataset_name=e",
        "phase.0.thread_num=2", "phase.0.shuffle_filelist=true", "phase.0.gradient_scale_strategy=1", "phase.0.name=q"};
    assert_all_matter(paddlerec, sets, FL_COUNT(sets));
}

/* Each dataset that the file gives the same path goes along with one that is overridden; one with an override of its own does not. */
static void test_datasets_of_one_path_go_along(void **state)
{
    (void)state;
    fl_config c;
    char same[sizeof paddlerec + 64];
    const char *at = strstr(paddlerec, "data_path: x");
    snprintf(same, sizeof same, "%.*sdata_path: \"{workspace}/t\"%s", (int)(at - paddlerec), paddlerec, at + strlen("data_path: x"));
    assert_int_equal(fl_config_parse(same, strlen(same), "c.yaml", (const char *const[]){"dataset.1.data_path=DIR"}, 1, &c, &dg), FL_OK);
    assert_string_equal(c.manifest.datasets[0].data_path, "DIR");
    assert_string_equal(c.manifest.datasets[1].data_path, "DIR");
    assert_int_equal(dg.entries[0].code, FL_E_DIFFERENT);
    assert_non_null(strstr(dg.entries[0].text, "dataset 0 goes along with dataset 1 to \"DIR\""));
    fl_config_deinit(&c);
    static const char *const both[] = {"dataset.0.data_path=A", "dataset.1.data_path=B"};
    assert_int_equal(fl_config_parse(same, strlen(same), "c.yaml", both, 2, &c, &dg), FL_OK);
    assert_string_equal(c.manifest.datasets[0].data_path, "A");
    assert_string_equal(c.manifest.datasets[1].data_path, "B");
    fl_config_deinit(&c);
    assert_int_equal(fl_config_parse(paddlerec, strlen(paddlerec), "c.yaml", both, 1, &c, &dg), FL_OK);
    assert_string_equal(c.manifest.datasets[1].data_path, "x");
    fl_config_deinit(&c);
}

/* One padding for all datasets, which is the slots'. */
static void test_padding_of_paddlerec_18(void **state)
{
    (void)state;
    fl_config c;
    static const char *const sets[] = {"dataset.0.padding=3", "dataset.1.padding=3"};
    assert_int_equal(fl_config_parse(paddlerec, strlen(paddlerec), "c.yaml", sets, 2, &c, &dg), FL_OK);
    assert_int_equal(c.manifest.schema.slots[2].padding, 3);
    fl_config_deinit(&c);
    fl_diag_clear(&dg);
    assert_int_equal(fl_config_parse(paddlerec, strlen(paddlerec), "c.yaml", sets + 1, 1, &c, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "\"padding\" is 3, the first dataset's is 0; one model pads in one way");
}

static const char paddlerec2[] = "runner:\n  train_data_dir: t\n  test_data_dir: e\n  train_reader_path: avazu_reader\n  infer_reader_path: avazu_reader\n"
                                 "  train_batch_size: 1\n  infer_batch_size: 1\n  epochs: 1\n  print_interval: 2\n  use_gpu: false\n"
                                 "hyper_parameters:\n  optimizer: {class: Adagrad, learning_rate: 0.04, strategy: async}\n  sparse_inputs_slots: 22\n"
                                 "  sparse_feature_number: 20\n  sparse_num_field: 3\n  sparse_feature_dim: 4\n  layer_sizes_dnn: [8, 4]\n"
                                 "workspace: w\n";

static void test_no_key_of_paddlerec_2_is_ignored(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "runner.train_data_dir=x", "runner.test_data_dir=x", "runner.train_data_dir=\"{workspace}/x\"", "runner.train_batch_size=3",
        "runner.infer_batch_size=3", "runner.epochs=3", "runner.print_interval=3", "runner.model_save_path=x", "runner.model_init_path=x",
        "runner.infer_load_path=x", "runner.infer_start_epoch=1", "runner.infer_end_epoch=1", "runner.use_auc=true", "runner.seed=3",
        "hyper_parameters.optimizer.learning_rate=0.5", "hyper_parameters.sparse_feature_number=21", "hyper_parameters.layer_sizes_dnn=[9, 4]",
        "network=fm", "quirks=[skip_short_rows]", "log=plain"};
    assert_all_matter(paddlerec2, sets, FL_COUNT(sets));
}

/* What cannot be done, or runs in another way, is said. */
static void test_paddlerec_2_says_what_differs(void **state)
{
    (void)state;
    static const struct {
        const char *set, *words;
        fl_status status;
    } cases[] = {
        {"runner.use_gpu=true", "use_gpu is true, but this program runs on the CPU", FL_OK},
        {"runner.use_gpu=null", "use_gpu is true, but this program runs on the CPU", FL_OK},
        {"runner.use_xpu=true", "use_xpu is true, but this program runs on the CPU", FL_OK},
        {"runner.use_npu=true", "use_npu is true, but this program runs on the CPU", FL_OK},
        {"hyper_parameters.optimizer.class=Adam", "optimizer \"Adam\" runs as Adagrad", FL_OK},
        {"runner.use_fleet=true", "\"use_fleet\" is not available here", FL_UNSUPPORTED},
        {"runner.use_visual=true", "\"use_visual\" is not available here", FL_UNSUPPORTED},
        {"runner.train_reader_path=mine", "\"train_reader_path\" is \"mine\", Python code", FL_UNSUPPORTED},
        {"runner.infer_reader_path=mine", "\"infer_reader_path\" is \"mine\", Python code", FL_UNSUPPORTED},
        {"hyper_parameters.sparse_inputs_slots=21", "the reader's rows have 22 slots", FL_BAD_INPUT},
        {"hyper_parameters.sparse_num_field=2", "this model has 3 fields", FL_BAD_INPUT},
        {"hyper_parameters.sparse_feature_dim=5", "must equal \"sparse_feature_dim\", 5", FL_BAD_INPUT},
        {"runner.epochs=null", "needs the key \"epochs\"", FL_BAD_INPUT},
        {"runner.num_workers=-1", "\"num_workers\"", FL_BAD_INPUT},
        {"hyper_parameters.distributed_embedding=2", "\"distributed_embedding\"", FL_BAD_INPUT},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        fl_config c;
        bool said = false;
        fl_diag_clear(&dg);
        fl_status s = fl_config_parse(paddlerec2, strlen(paddlerec2), "c.yaml", &cases[i].set, 1, &c, &dg);
        for (uint32_t k = 0; k < dg.n_entries; k++)
            said = said || strstr(dg.entries[k].text, cases[i].words);
        if (s != cases[i].status || !said)
            fail_msg("%s: status %d, \"%s\"", cases[i].set, (int)s, dg.n_entries ? dg.entries[0].text : "");
        if (s == FL_OK)
            fl_config_deinit(&c);
    }
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
        cmocka_unit_test_setup_teardown(test_no_key_of_ours_is_ignored, start, end),
        cmocka_unit_test_setup_teardown(test_no_key_of_a_rule_is_ignored, start, end),
        cmocka_unit_test_setup_teardown(test_no_key_of_paddlerec_18_is_ignored, start, end),
        cmocka_unit_test_setup_teardown(test_datasets_of_one_path_go_along, start, end),
        cmocka_unit_test_setup_teardown(test_padding_of_paddlerec_18, start, end),
        cmocka_unit_test_setup_teardown(test_no_key_of_paddlerec_2_is_ignored, start, end),
        cmocka_unit_test_setup_teardown(test_paddlerec_2_says_what_differs, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
