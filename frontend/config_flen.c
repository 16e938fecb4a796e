/*
 * config_flen.c -- our own format.
 */
#include "frontend/config_read.h"

#include <math.h>
#include <string.h>

static const char *const root_keys[] = {"network", "workspace", "inputs", "fields", "optimizer", "train", "infer", "mode", "seed",
                                        "quirks", "log", "embedding_size", "linear", "interaction", "hidden_layer", "mlp", "dropout",
                                        "dropout_style", "batch_norm", "output", "loss", "init"};

/* A runner, its only phase and its data set, all of one name. */
static fl_runner *add_runner(fl_reader *r, const char *name, bool train)
{
    fl_manifest *m = &r->config->manifest;
    fl_runner *runner = &m->runners[m->n_runners];
    fl_phase *phase = fl_arena_new(r->arena, fl_phase, 1);
    if (!phase)
        return NULL;
    m->datasets[m->n_datasets] = (fl_dataset){.name = name, .type = "", .batch_size = 512};
    *phase = (fl_phase){.name = name, .dataset = m->n_datasets++, .thread_num = 1};
    *runner = (fl_runner){.name = name, .train = train, .epochs = 1, .print_interval = 100, .save_checkpoint_interval = -1,
                          .save_inference_interval = -1, .save_step_interval = -1, .phases = phase, .n_phases = 1,
                          .plateau_factor = 1, .use_auc = true};
    m->n_runners++;
    return runner;
}

static void read_save(fl_reader *r, const fl_yaml *map, fl_runner *runner)
{
    static const char *const keys[] = {"path", "every", "step_path", "every_steps"};
    if (fl_is_null(map) || !FL_READ_MAP(r, map, "\"save\"", keys))
        return;
    (void)fl_read_text(r, map, "path", &runner->save_checkpoint_path);
    (void)fl_read_int(r, map, "every", 1, INT64_MAX, &runner->save_checkpoint_interval);
    (void)fl_read_text(r, map, "step_path", &runner->save_step_path);
    (void)fl_read_int(r, map, "every_steps", 1, INT64_MAX, &runner->save_step_interval);
}

static void read_train(fl_reader *r, const fl_yaml *map)
{
    static const char *const keys[] = {"data", "valid", "batch_size", "epochs", "print_interval", "shuffle_files", "patience",
                                       "keep_best", "plateau", "save", "init_model"};
    static const char *const plateau_keys[] = {"factor", "min"};
    fl_manifest *m = &r->config->manifest;
    fl_runner *runner = add_runner(r, "train", true);
    if (!runner)
        return;
    fl_dataset *data = &m->datasets[m->n_datasets - 1];
    runner->save_checkpoint_path = "trained";
    if (fl_is_null(map) || !FL_READ_MAP(r, map, "\"train\"", keys))
        return;
    (void)fl_read_text(r, map, "data", &data->data_path);
    (void)fl_read_text(r, map, "valid", &runner->valid_path);
    (void)fl_read_int(r, map, "batch_size", 1, 1 << 24, &data->batch_size);
    (void)fl_read_int(r, map, "epochs", 1, INT64_MAX, &runner->epochs);
    (void)fl_read_int(r, map, "print_interval", 1, INT64_MAX, &runner->print_interval);
    (void)fl_read_bool(r, map, "shuffle_files", &runner->phases[0].shuffle_filelist);
    (void)fl_read_int(r, map, "patience", 0, INT64_MAX, &runner->patience);
    (void)fl_read_bool(r, map, "keep_best", &runner->keep_best);
    (void)fl_read_text(r, map, "init_model", &runner->init_model_path);
    read_save(r, fl_yaml_get(map, "save"), runner);
    const fl_yaml *plateau = fl_yaml_get(map, "plateau");
    if (!fl_is_null(plateau) && FL_READ_MAP(r, plateau, "\"plateau\"", plateau_keys)) {
        runner->plateau_factor = 0.1;
        (void)fl_read_real(r, plateau, "factor", 1e-6, 1, &runner->plateau_factor);
        (void)fl_read_real(r, plateau, "min", 0, 1, &runner->min_rate_factor);
    }
    if (!runner->valid_path && (runner->patience || runner->keep_best || !fl_is_null(plateau)))
        (void)fl_error(r->dg, FL_E_KEY_MISSING, map->loc, "\"patience\", \"keep_best\" and \"plateau\" need the key \"valid\"");
}

static void read_infer(fl_reader *r, const fl_yaml *map)
{
    static const char *const keys[] = {"data", "batch_size", "print_interval", "init_model"};
    fl_manifest *m = &r->config->manifest;
    const char *trained = m->n_runners ? m->runners[0].save_checkpoint_path : "trained";
    fl_runner *runner = add_runner(r, "infer", false);
    if (!runner)
        return;
    fl_dataset *data = &m->datasets[m->n_datasets - 1];
    runner->init_model_path = trained;
    if (m->n_runners > 1)
        *data = (fl_dataset){.name = "infer", .type = "", .data_path = m->runners[0].valid_path ? m->runners[0].valid_path
                                                                                            : m->datasets[0].data_path,
                             .batch_size = m->datasets[0].batch_size};
    if (fl_is_null(map) || !FL_READ_MAP(r, map, "\"infer\"", keys))
        return;
    (void)fl_read_text(r, map, "data", &data->data_path);
    (void)fl_read_int(r, map, "batch_size", 1, 1 << 24, &data->batch_size);
    (void)fl_read_int(r, map, "print_interval", 1, INT64_MAX, &runner->print_interval);
    (void)fl_read_text(r, map, "init_model", &runner->init_model_path);
}

/* Runners stand in the order train, infer; `mode` picks and orders them. */
static void read_mode(fl_reader *r, const fl_yaml *root)
{
    static const char *const names[] = {"train", "infer"};
    fl_manifest *m = &r->config->manifest;
    const char **mode = NULL;
    uint32_t n = 0;
    if (!fl_read_texts(r, root, "mode", &mode, &n))
        return;
    fl_runner *picked = fl_arena_new(r->arena, fl_runner, n + 1);
    uint32_t n_picked = 0;
    for (uint32_t i = 0; picked && i < n; i++) {
        uint32_t k = 0;
        while (k < m->n_runners && strcmp(m->runners[k].name, mode[i]) != 0)
            k++;
        if (k == m->n_runners)
            fl_unknown_word(r, fl_place(root, "mode"), "runner", mode[i], names, FL_COUNT(names));
        else
            picked[n_picked++] = m->runners[k];
    }
    m->runners = picked;
    m->n_runners = n_picked;
}

void fl_config_read_flen(fl_reader *r, const fl_yaml *root)
{
    fl_manifest *m = &r->config->manifest;
    r->workspace = r->folder;
    (void)FL_READ_MAP(r, root, "the configuration", root_keys);
    (void)fl_read_text(r, root, "workspace", &r->workspace);
    if (!fl_require(r, root, "the configuration", "network") || !fl_config_network(r, root, "flen"))
        return;
    fl_config_common(r, root);
    fl_config_blocks(r, root);
    if (!fl_is_null(fl_yaml_get(root, "optimizer")))
        fl_config_optimizer(r, fl_yaml_get(root, "optimizer"));
    fl_config_inputs(r, root);
    fl_config_fields(r, root, NULL, NULL, 0, false);
    m->datasets = fl_arena_new(r->arena, fl_dataset, 2);
    m->runners = fl_arena_new(r->arena, fl_runner, 2);
    if (!m->datasets || !m->runners)
        return;
    read_train(r, fl_yaml_get(root, "train"));
    read_infer(r, fl_yaml_get(root, "infer"));
    read_mode(r, root);
}
