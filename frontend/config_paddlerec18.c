/*
 * config_paddlerec18.c -- PaddleRec 1.8: what `python -m paddlerec.run -m FILE` makes of it on a single machine, for its FLEN model.
 *
 * Runners that `mode` does not name are read for wrong keys and types, but what they ask for is refused only if it would be run.
 */
#include "frontend/config_read.h"

#include <string.h>
#include <strings.h>

typedef struct names {
    const char **name;
    uint32_t n;
} names;

/* ---------------------------------------------------------------------------------------------------- helpers */

/* Blank-separated words. */
static names split_words(fl_reader *r, const char *text)
{
    names out = {fl_arena_new(r->arena, const char *, strlen(text) / 2 + 1), 0};
    while (out.name && *text) {
        size_t n = strcspn(text, " \t\n");
        if (n)
            out.name[out.n++] = fl_arena_strndup(r->arena, text, n);
        text += n + (text[n] != 0);
    }
    return out;
}

/* Names of a list's entries, each of which must have one of its own. */
static names entry_names(fl_reader *r, const fl_yaml *list, const char *what)
{
    names out = {fl_arena_new(r->arena, const char *, list->n), 0};
    for (uint32_t i = 0; out.name && i < list->n; i++) {
        const char *name = "";
        if (list->items[i]->kind == FL_YAML_MAP && fl_require(r, list->items[i], what, "name"))
            (void)fl_read_text(r, list->items[i], "name", &name);
        for (uint32_t k = 0; k < i; k++)
            if (name[0] && strcmp(out.name[k], name) == 0)
                (void)fl_error(r->dg, FL_E_NAME_TWICE, fl_place(list->items[i], "name"), "two entries of \"%s\" are named \"%s\"", what, name);
        out.name[out.n++] = name;
    }
    return out;
}

static int find(const names *list, const char *name)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (strcmp(list->name[i], name) == 0)
            return (int)i;
    return -1;
}

/* --------------------------------------------------------------------------------------------------- datasets */

static void check_dense(fl_reader *r, const fl_yaml *map)
{
    const char *text = "";
    (void)fl_read_text(r, map, "dense_slots", &text);
    names words = split_words(r, text);
    for (uint32_t i = 0; i < words.n; i++) {
        const char *colon = strchr(words.name[i], ':');
        if (!colon || colon == words.name[i] || strspn(colon + 1, "[]0123456789,") != strlen(colon + 1) || !colon[1])
            (void)fl_error(r->dg, FL_E_VALUE_TYPE, fl_place(map, "dense_slots"),
                           "dense slot \"%s\" must read NAME:SIZE or NAME:[SIZE,SIZE]", words.name[i]);
    }
    if (words.n)
        fl_warning(r->dg, FL_E_DIFFERENT, fl_place(map, "dense_slots"), "dense slots are read but not used: this model has no input for them");
}

/* The slots of the first dataset make the schema; the others must agree. The first slot is the label. */
static void read_slots(fl_reader *r, const fl_yaml *map, int64_t rows)
{
    fl_schema *s = &r->config->manifest.schema;
    const char *text = "";
    int64_t padding = 0;
    const char *code = NULL;
    (void)fl_read_text(r, map, "sparse_slots", &text);
    (void)fl_read_int(r, map, "padding", INT64_MIN, INT64_MAX, &padding);
    check_dense(r, map);
    names words = split_words(r, text);
    if (words.n == 0) {
        if (fl_read_text(r, map, "data_converter", &code) || fl_read_text(r, map, "reader_class_name", &code))
            (void)fl_error(r->dg, FL_E_REFUSED, map->loc, "a reader of one's own (\"%s\") is Python code, which is not run here", code);
        else
            (void)fl_error(r->dg, FL_E_KEY_MISSING, map->loc, "a dataset needs the key \"sparse_slots\"");
        return;
    }
    if (s->n_slots) {
        bool same = words.n == s->n_slots + 1 && strcmp(words.name[0], s->label) == 0;
        for (uint32_t i = 0; same && i < s->n_slots; i++)
            same = strcmp(words.name[i + 1], s->slots[i].name) == 0;
        if (!same)
            (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "sparse_slots"), "\"sparse_slots\" differs from the first dataset's; one model reads one set of slots");
        else if (s->slots[0].padding != padding)
            (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "padding"), "\"padding\" is %lld, the first dataset's is %lld; one model pads in one way",
                           (long long)padding, (long long)s->slots[0].padding);
        return;
    }
    s->label = words.name[0];
    s->slots = fl_arena_new(r->arena, fl_slot, words.n);
    for (uint32_t i = 1; s->slots && i < words.n; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(words.name[k], words.name[i]) == 0)
                (void)fl_error(r->dg, FL_E_NAME_TWICE, fl_place(map, "sparse_slots"), "two slots are named \"%s\"", words.name[i]);
        s->slots[s->n_slots++] = (fl_slot){.name = words.name[i], .column = words.name[i], .rows = rows, .padding = padding};
    }
}

static void read_datasets(fl_reader *r, const fl_yaml *list, int64_t rows)
{
    static const char *const keys[] = {"name", "type", "batch_size", "data_path", "sparse_slots", "dense_slots", "padding",
                                       "data_converter", "reader_class_name"};
    static const char *const types[] = {"DataLoader", "QueueDataset"};
    fl_manifest *m = &r->config->manifest;
    m->datasets = fl_arena_new(r->arena, fl_dataset, list->n);
    for (uint32_t i = 0; m->datasets && i < list->n; i++) {
        const fl_yaml *map = list->items[i];
        fl_dataset *d = &m->datasets[m->n_datasets++];
        int type = 0;
        *d = (fl_dataset){.name = "", .type = types[0], .batch_size = 1};
        if (!FL_READ_MAP(r, map, "a dataset", keys))
            continue;
        (void)fl_read_text(r, map, "name", &d->name);
        if (FL_READ_WORD(r, map, "type", types, &type))
            d->type = types[type];
        if (fl_require(r, map, "a dataset", "batch_size"))
            (void)fl_read_int(r, map, "batch_size", 1, 1 << 24, &d->batch_size);
        if (fl_require(r, map, "a dataset", "data_path"))
            (void)fl_read_text(r, map, "data_path", &d->data_path);
        read_slots(r, map, rows);
    }
}

/* ----------------------------------------------------------------------------------------------------- phases */

static void read_phases(fl_reader *r, const fl_yaml *list, const names *datasets, fl_phase *phases)
{
    static const char *const keys[] = {"name", "model", "dataset_name", "thread_num", "shuffle_filelist", "gradient_scale_strategy"};
    for (uint32_t i = 0; i < list->n; i++) {
        const fl_yaml *map = list->items[i];
        const char *dataset = NULL, *model = NULL;
        int64_t scale = 0;
        phases[i] = (fl_phase){.name = "", .thread_num = 1};
        if (!FL_READ_MAP(r, map, "a phase", keys))
            continue;
        (void)fl_read_text(r, map, "name", &phases[i].name);
        if (fl_require(r, map, "a phase", "model"))
            (void)fl_read_text(r, map, "model", &model);
        (void)fl_read_int(r, map, "thread_num", 1, 4096, &phases[i].thread_num);
        (void)fl_read_bool(r, map, "shuffle_filelist", &phases[i].shuffle_filelist);
        if (fl_read_int(r, map, "gradient_scale_strategy", 0, 2, &scale) && scale == 2)
            (void)fl_error(r->dg, FL_E_REFUSED, fl_place(map, "gradient_scale_strategy"),
                           "\"gradient_scale_strategy\" 2 needs code of one's own; there is 0, the mean over copies, and 1, the sum");
        phases[i].gradient_scale = (int)scale;
        if (!fl_require(r, map, "a phase", "dataset_name") || !fl_read_text(r, map, "dataset_name", &dataset))
            continue;
        int d = find(datasets, dataset);
        if (d < 0)
            fl_unknown_word(r, fl_place(map, "dataset_name"), "dataset", dataset, datasets->name, datasets->n);
        else
            phases[i].dataset = (uint32_t)d;
    }
}

/* Default all; a list names them; a single text counts every phase whose name it contains. Order is that of `phase`. */
static void pick_phases(fl_reader *r, const fl_yaml *map, const fl_phase *phases, const names *all, fl_runner *runner)
{
    const fl_yaml *node = fl_yaml_get(map, "phases");
    const char **picked = NULL;
    uint32_t n = 0;
    bool some = fl_read_texts(r, map, "phases", &picked, &n), text = some && node->kind == FL_YAML_SCALAR;
    runner->phases = fl_arena_new(r->arena, fl_phase, all->n);
    for (uint32_t k = 0; some && !text && k < n; k++)
        if (find(all, picked[k]) < 0)
            fl_unknown_word(r, node->items[k]->loc, "phase", picked[k], all->name, all->n);
    for (uint32_t i = 0; runner->phases && i < all->n; i++) {
        bool in = !some || (text && strstr(picked[0], all->name[i]));
        for (uint32_t k = 0; some && !text && k < n; k++)
            in = in || strcmp(picked[k], all->name[i]) == 0;
        if (!in)
            continue;
        fl_phase *phase = &runner->phases[runner->n_phases++];
        *phase = phases[i];
        if (!runner->train)
            phase->thread_num = 1;
    }
    if (runner->n_phases == 0)
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(map, "phases"), "runner \"%s\" has no phase to run", runner->name);
}

/* ---------------------------------------------------------------------------------------------------- runners */

static void refuse(fl_reader *r, const fl_yaml *map, const char *key, const char *runner, const char *reason)
{
    (void)fl_error(r->dg, FL_E_REFUSED, fl_place(map, key), "runner \"%s\": %s", runner, reason);
}

/* What a runner that would be run asks for and cannot have. */
static void check_runner(fl_reader *r, const fl_yaml *map, fl_runner *runner)
{
    static const char *const classes[] = {"train", "infer", "local_cluster_train", "cluster_train"};
    static const char *const devices[] = {"cpu", "gpu"};
    static const char *const code[] = {"instance_class_path", "network_class_path", "startup_class_path", "runner_class_path", "terminal_class_path"};
    const char *gpus = "0", *path = NULL;
    int class = 0, device = 0;
    if (fl_require(r, map, "a runner", "class") && FL_READ_WORD(r, map, "class", classes, &class) && class >= 2)
        refuse(r, map, "class", runner->name, "clusters are not available here, only training on one machine");
    runner->train = class != 1;
    if (FL_READ_WORD(r, map, "device", devices, &device) && device == 1)
        refuse(r, map, "device", runner->name, "GPUs are not available here; choose a runner with \"device: cpu\"");
    if (fl_read_text(r, map, "selected_gpus", &gpus) && strchr(gpus, ','))
        refuse(r, map, "selected_gpus", runner->name, "several GPUs make it a cluster, which is not available here");
    for (size_t i = 0; i < FL_COUNT(code); i++)
        if (fl_read_text(r, map, code[i], &path))
            refuse(r, map, code[i], runner->name, "a step of one's own is Python code, which is not run here");
    if (runner->train && fl_require(r, map, "a runner of class train", "epochs"))
        return;
    if (!runner->train && !runner->init_model_path)
        (void)fl_error(r->dg, FL_E_KEY_MISSING, map->loc, "runner \"%s\" infers and needs the key \"init_model_path\"", runner->name);
    if (!runner->train && runner->epochs > 1) {
        fl_warning(r->dg, FL_E_DIFFERENT, fl_place(map, "epochs"), "\"epochs\" of an infer runner is not used");
        runner->epochs = 1;
    }
}

static void read_interval(fl_reader *r, const fl_yaml *map, const char *key, int64_t *out)
{
    if (fl_read_int(r, map, key, -1, INT64_MAX, out) && *out == 0) {
        (void)fl_error(r->dg, FL_E_VALUE_RANGE, fl_place(map, key), "\"%s\" is 0, but must be at least 1, or -1 for every time", key);
        *out = -1;
    }
}

/* Names of values that an inference model takes and gives: the graph's, and Paddle's of this model. */
static void check_values(fl_reader *r, const fl_yaml *map, const char *key, const char **list, uint32_t n, bool feed)
{
    const fl_schema *s = &r->config->manifest.schema;
    names known = {fl_arena_new(r->arena, const char *, s->n_slots + 8), 0};
    if (!known.name)
        return;
    if (feed) {
        known.name[known.n++] = "ids";
        for (uint32_t i = 0; i < s->n_slots; i++)
            known.name[known.n++] = s->slots[i].name;
    } else {
        known.name[known.n++] = "probability";
        known.name[known.n++] = "logit";
        known.name[known.n++] = "logit.tmp_2"; /* Paddle's name of the prediction */
    }
    known.name[known.n++] = "label";
    if (s->label)
        known.name[known.n++] = s->label;
    const fl_yaml *node = fl_yaml_get(map, key);
    for (uint32_t i = 0; i < n; i++)
        if (find(&known, list[i]) < 0)
            fl_unknown_word(r, node->kind == FL_YAML_LIST ? node->items[i]->loc : node->loc, "value", list[i], known.name, known.n);
}

static void read_text_unless_empty(fl_reader *r, const fl_yaml *map, const char *key, const char **out)
{
    const char *text = NULL;
    if (fl_read_text(r, map, key, &text) && text[0])
        *out = text;
}

static void read_runner(fl_reader *r, const fl_yaml *map, bool named, const fl_phase *phases, const names *all, fl_runner *runner)
{
    static const char *const keys[] = {"name", "class", "device", "epochs", "phases", "init_model_path", "print_interval",
                                       "save_checkpoint_interval", "save_checkpoint_path", "save_inference_interval",
                                       "save_inference_path", "save_inference_feed_varnames", "save_inference_fetch_varnames",
                                       "save_step_interval", "save_step_path", "runner_result_dump_path", "selected_gpus", "fleet_mode",
                                       "worker_num", "server_num", "distribute_strategy", "instance_class_path", "network_class_path",
                                       "startup_class_path", "runner_class_path", "terminal_class_path"};
    static const char *const modes[] = {"ps", "pslib", "collective"};
    static const char *const strategies[] = {"async", "sync", "half_async", "geo"};
    int word = 0;
    int64_t count = 1;
    *runner = (fl_runner){.name = "", .train = true, .epochs = 1, .print_interval = 20, .save_checkpoint_interval = -1,
                          .save_inference_interval = -1, .save_step_interval = -1, .plateau_factor = 1, .use_auc = true};
    if (!FL_READ_MAP(r, map, "a runner", keys))
        return;
    (void)fl_read_text(r, map, "name", &runner->name);
    (void)fl_read_int(r, map, "epochs", 1, INT64_MAX, &runner->epochs);
    (void)fl_read_int(r, map, "print_interval", 1, INT64_MAX, &runner->print_interval);
    read_text_unless_empty(r, map, "init_model_path", &runner->init_model_path);
    read_interval(r, map, "save_checkpoint_interval", &runner->save_checkpoint_interval);
    read_text_unless_empty(r, map, "save_checkpoint_path", &runner->save_checkpoint_path);
    read_interval(r, map, "save_inference_interval", &runner->save_inference_interval);
    read_text_unless_empty(r, map, "save_inference_path", &runner->save_inference_path);
    if (fl_read_texts(r, map, "save_inference_feed_varnames", &runner->feed_names, &runner->n_feed_names))
        check_values(r, map, "save_inference_feed_varnames", runner->feed_names, runner->n_feed_names, true);
    if (fl_read_texts(r, map, "save_inference_fetch_varnames", &runner->fetch_names, &runner->n_fetch_names))
        check_values(r, map, "save_inference_fetch_varnames", runner->fetch_names, runner->n_fetch_names, false);
    read_interval(r, map, "save_step_interval", &runner->save_step_interval);
    read_text_unless_empty(r, map, "save_step_path", &runner->save_step_path);
    read_text_unless_empty(r, map, "runner_result_dump_path", &runner->result_dump_path);
    (void)FL_READ_WORD(r, map, "fleet_mode", modes, &word);
    (void)FL_READ_WORD(r, map, "distribute_strategy", strategies, &word);
    (void)fl_read_int(r, map, "worker_num", 1, INT64_MAX, &count);
    (void)fl_read_int(r, map, "server_num", 0, INT64_MAX, &count);
    if (named) {
        check_runner(r, map, runner);
        pick_phases(r, map, phases, all, runner);
    }
}

static void read_runners(fl_reader *r, const fl_yaml *root, const fl_yaml *list, const fl_phase *phases, const names *all)
{
    fl_manifest *m = &r->config->manifest;
    names runners = entry_names(r, list, "runner");
    const char **mode = NULL;
    uint32_t n_mode = 0;
    if (!fl_read_texts(r, root, "mode", &mode, &n_mode) || !runners.name)
        return;
    const fl_yaml *node = fl_yaml_get(root, "mode");
    fl_runner *every = fl_arena_new(r->arena, fl_runner, list->n);
    m->runners = fl_arena_new(r->arena, fl_runner, n_mode);
    if (!every || !m->runners)
        return;
    for (uint32_t i = 0; i < list->n; i++) {
        bool named = false;
        for (uint32_t k = 0; k < n_mode; k++)
            named = named || strcmp(mode[k], runners.name[i]) == 0;
        read_runner(r, list->items[i], named, phases, all, &every[i]);
    }
    for (uint32_t k = 0; k < n_mode; k++) {
        int i = find(&runners, mode[k]);
        if (i < 0)
            fl_unknown_word(r, node->kind == FL_YAML_LIST ? node->items[k]->loc : node->loc, "runner", mode[k], runners.name, runners.n);
        else
            m->runners[m->n_runners++] = every[i];
    }
}

/* -------------------------------------------------------------------------------------------- hyper-parameters */

static int64_t read_hyper_parameters(fl_reader *r, const fl_yaml *root)
{
    static const char *const keys[] = {"optimizer", "sparse_inputs_slots", "sparse_feature_number", "sparse_feature_dim",
                                       "dense_input_dim", "dropout_rate"};
    fl_network_spec *s = &r->config->network;
    const fl_yaml *map = fl_yaml_get(root, "hyper_parameters");
    int64_t rows = 0, unused = 0;
    if (!fl_require(r, root, "the configuration", "hyper_parameters") || !FL_READ_MAP(r, map, "\"hyper_parameters\"", keys))
        return 0;
    if (!fl_is_null(fl_yaml_get(map, "optimizer")))
        fl_config_optimizer(r, fl_yaml_get(map, "optimizer"));
    (void)fl_read_int(r, map, "sparse_inputs_slots", 0, INT64_MAX, &unused);
    (void)fl_read_int(r, map, "dense_input_dim", 0, INT64_MAX, &unused);
    if (fl_require(r, map, "\"hyper_parameters\"", "sparse_feature_number"))
        (void)fl_read_int(r, map, "sparse_feature_number", 1, (int64_t)1 << 40, &rows);
    if (fl_require(r, map, "\"hyper_parameters\"", "sparse_feature_dim"))
        (void)fl_read_int(r, map, "sparse_feature_dim", 1, 4096, &s->k);
    (void)fl_read_real(r, map, "dropout_rate", 0, 0.99, &s->dropout);
    return rows;
}

void fl_config_read_paddlerec18(fl_reader *r, const fl_yaml *root)
{
    static const char *const keys[] = {"workspace", "dataset", "hyper_parameters", "mode", "runner", "phase", "debug",
                                       "network", "fields", "seed", "quirks", "log"};
    static const char *const required[] = {"workspace", "mode", "runner", "phase", "dataset"};
    static const char *const field_names[] = {"user", "item", "context"};
    static const uint32_t field_sizes[] = {12, 3, 6};
    fl_schema *s = &r->config->manifest.schema;
    bool debug = false, whole = true;
    r->config->manifest.quirks = FL_QUIRK_DROP_LAST;
    (void)FL_READ_MAP(r, root, "the configuration", keys);
    for (size_t i = 0; i < FL_COUNT(required); i++)
        whole = fl_require(r, root, "the configuration", required[i]) && whole;
    (void)fl_read_text(r, root, "workspace", &r->workspace);
    if (r->workspace && strncmp(r->workspace, "paddlerec.", 10) == 0)
        r->workspace = r->folder; /* a folder of PaddleRec's package: the one that the configuration lies in */
    (void)fl_read_bool(r, root, "debug", &debug);
    if (!fl_config_network(r, root, "flen-paddlerec-1.8"))
        return;
    fl_config_common(r, root);
    int64_t rows = read_hyper_parameters(r, root);
    const fl_yaml *datasets = fl_read_list(r, root, "dataset"), *phase = fl_read_list(r, root, "phase"), *runner = fl_read_list(r, root, "runner");
    if (!whole || !datasets || !phase || !runner)
        return;
    names dataset_names = entry_names(r, datasets, "dataset"), phase_names = entry_names(r, phase, "phase");
    fl_phase *phases = fl_arena_new(r->arena, fl_phase, phase->n);
    read_datasets(r, datasets, rows);
    if (!phases || !dataset_names.name || !phase_names.name)
        return;
    read_phases(r, phase, &dataset_names, phases);
    read_runners(r, root, runner, phases, &phase_names);
    if (s->n_slots <= 15 && s->n_slots && fl_is_null(fl_yaml_get(root, "fields")) && r->config->network.groups == FL_GROUPS_FIELDS)
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(datasets->items[0], "sparse_slots"),
                       "%u slots besides the label; this model takes 12 for the user, 3 for the item and at least 1 for the context", s->n_slots);
    else
        fl_config_fields(r, root, field_names, field_sizes, s->n_slots <= 15 ? 0 : FL_COUNT(field_names), true);
    fl_warning(r->dg, FL_E_DIFFERENT, FL_FILE(r->config->manifest.source_name),
               "all %u slots share one table of %lld rows, as in PaddleRec: equal ids of different slots are one row", s->n_slots, (long long)rows);
}
