/*
 * config_paddlerec2.c -- PaddleRec 2.x: what `python tools/trainer.py -m FILE` and infer.py make of it, for its FLEN model.
 */
#include "frontend/config_read.h"

#include <string.h>

/* Columns of the comma text, in order; the row's id is skipped. */
static const char *const columns[] = {"", "C1", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21", "device_id", "device_ip",
                                      "device_model", "device_type", "app_id", "app_domain", "app_category", "banner_pos", "site_id",
                                      "site_domain", "site_category", "device_conn_type", "hour", "label"};
enum { N_SLOTS = 22 };
static const char *const field_names[] = {"user", "item", "context"};
static const uint32_t field_sizes[] = {13, 3, 6};

static void read_slots(fl_reader *r, int64_t rows)
{
    fl_schema *s = &r->config->manifest.schema;
    s->comma_columns = fl_arena_new(r->arena, const char *, FL_COUNT(columns));
    s->slots = fl_arena_new(r->arena, fl_slot, N_SLOTS);
    if (!s->comma_columns || !s->slots)
        return;
    memcpy(s->comma_columns, columns, sizeof columns);
    s->n_comma_columns = FL_COUNT(columns);
    s->label = "label";
    for (uint32_t i = 0; i < N_SLOTS; i++)
        s->slots[s->n_slots++] = (fl_slot){.name = columns[i + 1], .column = columns[i + 1], .rows = rows};
}

static void read_hyper_parameters(fl_reader *r, const fl_yaml *root)
{
    static const char *const keys[] = {"optimizer", "sparse_inputs_slots", "sparse_feature_number", "sparse_feature_dim",
                                       "sparse_num_field", "layer_sizes_dnn", "fc_sizes", "distributed_embedding"};
    static const char *const ignored_keys[] = {"class", "learning_rate", "strategy"};
    fl_network_spec *s = &r->config->network;
    const fl_yaml *map = fl_yaml_get(root, "hyper_parameters");
    int64_t slots = N_SLOTS, rows = 0, fields = 3, unused = 0;
    if (!fl_require(r, root, "the configuration", "hyper_parameters") || !FL_READ_MAP(r, map, "\"hyper_parameters\"", keys))
        return;
    (void)fl_read_int(r, map, "sparse_inputs_slots", 1, 4096, &slots);
    (void)fl_read_int(r, map, "sparse_num_field", 1, 4096, &fields);
    (void)fl_read_int(r, map, "distributed_embedding", 0, 1, &unused);
    if (slots != N_SLOTS)
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "sparse_inputs_slots"),
                       "\"sparse_inputs_slots\" is %lld, but the reader's rows have %d slots", (long long)slots, N_SLOTS);
    if (fields != 3)
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "sparse_num_field"), "\"sparse_num_field\" is %lld, but this model has 3 fields",
                       (long long)fields);
    if (fl_require(r, map, "\"hyper_parameters\"", "sparse_feature_number"))
        (void)fl_read_int(r, map, "sparse_feature_number", 1, (int64_t)1 << 40, &rows);
    if (fl_require(r, map, "\"hyper_parameters\"", "sparse_feature_dim"))
        (void)fl_read_int(r, map, "sparse_feature_dim", 1, 4096, &s->k);
    const fl_yaml *widths = fl_read_list(r, map, "layer_sizes_dnn");
    if (widths) { /* read by the same rules as our own mlp.widths */
        fl_yaml_pair pairs[] = {{"widths", widths->loc, (fl_yaml *)(uintptr_t)widths}};
        fl_yaml mlp = {.kind = FL_YAML_MAP, .loc = widths->loc, .pairs = pairs, .n = 1};
        fl_yaml_pair root_pairs[] = {{"mlp", widths->loc, &mlp}};
        fl_yaml blocks = {.kind = FL_YAML_MAP, .loc = widths->loc, .pairs = root_pairs, .n = 1};
        fl_config_blocks(r, &blocks);
    }
    bool own = !fl_is_null(fl_yaml_get(root, "network"));
    if (!own && (s->n_widths == 0 || s->widths[s->n_widths - 1] != s->k))
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "layer_sizes_dnn"),
                       "the last of \"layer_sizes_dnn\" must equal \"sparse_feature_dim\", %lld", (long long)s->k);
    const fl_yaml *optimizer = fl_yaml_get(map, "optimizer");
    if (!fl_is_null(optimizer) && FL_READ_MAP(r, optimizer, "\"optimizer\"", ignored_keys)) {
        const char *kind = "Adagrad";
        double rate = 0.001;
        (void)fl_read_text(r, optimizer, "class", &kind);
        (void)fl_read_real(r, optimizer, "learning_rate", 0, 1e9, &rate);
        if (strcmp(kind, "Adagrad") != 0)
            fl_warning(r->dg, FL_E_DIFFERENT, fl_place(optimizer, "class"), "optimizer \"%s\" runs as Adagrad, as it does in PaddleRec 2.x", kind);
        for (int c = 0; c < FL_N_CLASSES; c++)
            s->classes[c].rule.lr = rate;
    }
    read_slots(r, rows);
}

static const char *beside(fl_reader *r, const char *path)
{
    const char *joined = path[0] == '/' ? path : fl_arena_printf(r->arena, "%s/%s", r->folder, path);
    return joined ? joined : path;
}

static void read_devices(fl_reader *r, const fl_yaml *map)
{
    static const char *const elsewhere[] = {"use_gpu", "use_xpu", "use_npu"};
    static const char *const refused[] = {"use_fleet", "use_visual"};
    static const char *const readers[] = {"train_reader_path", "infer_reader_path"};
    for (size_t i = 0; i < FL_COUNT(elsewhere); i++) {
        bool on = i == 0;
        (void)fl_read_bool(r, map, elsewhere[i], &on);
        if (on)
            fl_warning(r->dg, FL_E_DIFFERENT, fl_place(map, elsewhere[i]), "%s is true, but this program runs on the CPU", elsewhere[i]);
    }
    for (size_t i = 0; i < FL_COUNT(refused); i++) {
        bool on = false;
        if (fl_read_bool(r, map, refused[i], &on) && on)
            (void)fl_error(r->dg, FL_E_REFUSED, fl_place(map, refused[i]), "\"%s\" is not available here: %s", refused[i],
                           i ? "VisualDL's logs are Paddle's own" : "this program trains on one machine");
    }
    for (size_t i = 0; i < FL_COUNT(readers); i++) {
        const char *name = "reader";
        (void)fl_read_text(r, map, readers[i], &name);
        if (strcmp(name, "avazu_reader") != 0)
            (void)fl_error(r->dg, FL_E_REFUSED, fl_place(map, readers[i]),
                           "\"%s\" is \"%s\", Python code that is not run here; the format of \"avazu_reader\" is built in", readers[i], name);
    }
}

static void read_runner(fl_reader *r, const fl_yaml *map)
{
    static const char *const keys[] = {"train_data_dir", "test_data_dir", "train_reader_path", "infer_reader_path", "train_batch_size",
                                       "infer_batch_size", "epochs", "print_interval", "model_save_path", "model_init_path",
                                       "infer_load_path", "infer_start_epoch", "infer_end_epoch", "use_gpu", "use_xpu", "use_npu",
                                       "use_visual", "use_fleet", "use_auc", "seed", "num_workers"};
    static const char *const required[] = {"train_data_dir", "test_data_dir", "train_batch_size", "infer_batch_size", "epochs", "print_interval"};
    fl_manifest *m = &r->config->manifest;
    const char *train_path = NULL, *test_path = NULL;
    int64_t seed = 12345, workers = 0;
    if (!FL_READ_MAP(r, map, "\"runner\"", keys))
        return;
    for (size_t i = 0; i < FL_COUNT(required); i++)
        (void)fl_require(r, map, "\"runner\"", required[i]);
    m->datasets = fl_arena_new(r->arena, fl_dataset, 2);
    m->runners = fl_arena_new(r->arena, fl_runner, 2);
    fl_phase *phases = fl_arena_new(r->arena, fl_phase, 2);
    if (!m->datasets || !m->runners || !phases)
        return;
    m->datasets[0] = (fl_dataset){.name = "train", .type = "", .batch_size = 1};
    m->datasets[1] = (fl_dataset){.name = "test", .type = "", .batch_size = 1};
    for (uint32_t i = 0; i < 2; i++)
        phases[i] = (fl_phase){.name = m->datasets[i].name, .dataset = i, .thread_num = 1};
    fl_runner base = {.epochs = 1, .print_interval = 1, .save_checkpoint_interval = -1, .save_inference_interval = -1,
                      .save_step_interval = -1, .n_phases = 1, .infer_end_epoch = 10, .plateau_factor = 1};
    if (fl_read_text(r, map, "train_data_dir", &train_path))
        m->datasets[0].data_path = beside(r, train_path);
    if (fl_read_text(r, map, "test_data_dir", &test_path))
        m->datasets[1].data_path = beside(r, test_path);
    (void)fl_read_int(r, map, "train_batch_size", 1, 1 << 24, &m->datasets[0].batch_size);
    (void)fl_read_int(r, map, "infer_batch_size", 1, 1 << 24, &m->datasets[1].batch_size);
    (void)fl_read_int(r, map, "print_interval", 1, INT64_MAX, &base.print_interval);
    (void)fl_read_bool(r, map, "use_auc", &base.use_auc);
    (void)fl_read_int(r, map, "num_workers", 0, 4096, &workers);
    fl_runner *train = &m->runners[0], *infer = &m->runners[1];
    *train = *infer = base;
    train->name = "train";
    train->train = true;
    train->phases = &phases[0];
    train->save_checkpoint_path = "model_output";
    (void)fl_read_int(r, map, "epochs", 1, INT64_MAX, &train->epochs);
    (void)fl_read_text(r, map, "model_save_path", &train->save_checkpoint_path);
    (void)fl_read_text(r, map, "model_init_path", &train->init_model_path);
    infer->name = "infer";
    infer->phases = &phases[1];
    infer->init_model_path = "model_output";
    (void)fl_read_text(r, map, "infer_load_path", &infer->init_model_path);
    (void)fl_read_int(r, map, "infer_start_epoch", 0, INT64_MAX, &infer->infer_start_epoch);
    (void)fl_read_int(r, map, "infer_end_epoch", 0, INT64_MAX, &infer->infer_end_epoch);
    (void)fl_read_int(r, map, "seed", 0, INT64_MAX, &seed);
    m->seed = (uint64_t)seed;
    m->n_datasets = m->n_runners = 2;
    read_devices(r, map);
}

void fl_config_read_paddlerec2(fl_reader *r, const fl_yaml *root)
{
    static const char *const keys[] = {"runner", "hyper_parameters", "workspace", "network", "fields", "quirks", "log"};
    r->config->manifest.quirks = FL_QUIRK_DROP_LAST;
    (void)FL_READ_MAP(r, root, "the configuration", keys);
    (void)fl_read_text(r, root, "workspace", &r->workspace);
    if (!fl_config_network(r, root, "flen-paddlerec-2"))
        return;
    fl_config_common(r, root);
    read_hyper_parameters(r, root);
    read_runner(r, fl_yaml_get(root, "runner"));
    fl_config_fields(r, root, field_names, field_sizes, FL_COUNT(field_names), true);
    fl_warning(r->dg, FL_E_DIFFERENT, FL_FILE(r->config->manifest.source_name),
               "all %u slots share one table of %lld rows, as in PaddleRec: equal ids of different slots are one row",
               r->config->manifest.schema.n_slots, (long long)r->config->manifest.schema.table_rows);
}
