/*
 * config_network.c -- keys of the network: its blocks, first weights, optimiser, loss.
 */
#include "frontend/config_read.h"

#include <math.h>
#include <string.h>
#include <strings.h>

bool fl_config_network(fl_reader *r, const fl_yaml *root, const char *name)
{
    uint32_t n = 0;
    const char *const *names = fl_network_names(&n);
    (void)fl_read_text(r, root, "network", &name);
    if (!fl_network_preset(&r->config->network, name)) {
        fl_unknown_word(r, fl_place(root, "network"), "network", name, names, n);
        return false;
    }
    r->config->manifest.network = r->config->network.name;
    return true;
}

/* ------------------------------------------------------------------------------------------------- optimiser */

static int class_of(fl_reader *r, const fl_yaml_pair *pair)
{
    const char *words[FL_N_CLASSES];
    for (int c = 0; c < FL_N_CLASSES; c++) {
        words[c] = fl_class_name((fl_class)c);
        if (strcmp(words[c], pair->key) == 0)
            return c;
    }
    fl_unknown_word(r, pair->loc, "class of parameters", pair->key, words, FL_N_CLASSES);
    return -1;
}

/* A map class -> number, or a single number for all (`l2`); `at` is the offset of a double in fl_class_spec. */
static void read_per_class(fl_reader *r, const fl_yaml *map, const char *key, size_t at)
{
    const fl_yaml *node = fl_yaml_get(map, key);
    double v = 0;
    if (fl_is_null(node))
        return;
    if (node->kind == FL_YAML_MAP) {
        for (uint32_t i = 0; i < node->n; i++) {
            int c = class_of(r, &node->pairs[i]);
            if (c >= 0 && fl_read_real(r, node, node->pairs[i].key, 0, INFINITY, &v))
                memcpy((char *)&r->config->network.classes[c] + at, &v, sizeof v);
        }
    } else if (fl_read_real(r, map, key, 0, INFINITY, &v)) {
        for (int c = 0; c < FL_N_CLASSES; c++)
            memcpy((char *)&r->config->network.classes[c] + at, &v, sizeof v);
    }
}

static fl_rule default_rule(fl_rule_kind kind)
{
    fl_rule rule = {.kind = kind, .lr = 0.001};
    switch (kind) {
    case FL_RULE_NONE:
    case FL_RULE_SGD:
        break;
    case FL_RULE_MOMENTUM:
        rule.momentum = 0.9;
        break;
    case FL_RULE_ADAGRAD:
    case FL_RULE_ROWWISE_ADAGRAD:
        rule.epsilon = 1e-6;
        break;
    case FL_RULE_ADAM:
        rule.beta1 = 0.9;
        rule.beta2 = 0.999;
        rule.epsilon = 1e-8;
        break;
    case FL_RULE_FTRL:
        rule.beta = 1;
        break;
    }
    return rule;
}

static void read_rule(fl_reader *r, const fl_yaml *map, fl_rule *rule)
{
    static const char *const kinds[] = {"sgd", "momentum", "adagrad", "rowwise_adagrad", "adam", "ftrl"};
    static const char *const forms[] = {"plain", "bias_corrected"};
    /* Which rules (bits of kinds) take which number. */
    static const struct {
        const char *key;
        size_t at;
        unsigned rules;
        double max;
    } numbers[] = {
        {"momentum", offsetof(fl_rule, momentum), 1u << FL_RULE_MOMENTUM, 1},
        {"epsilon", offsetof(fl_rule, epsilon), 1u << FL_RULE_ADAGRAD | 1u << FL_RULE_ROWWISE_ADAGRAD | 1u << FL_RULE_ADAM, INFINITY},
        {"initial_accumulator", offsetof(fl_rule, initial_accumulator), 1u << FL_RULE_ADAGRAD | 1u << FL_RULE_ROWWISE_ADAGRAD, INFINITY},
        {"beta1", offsetof(fl_rule, beta1), 1u << FL_RULE_ADAM, 1},
        {"beta2", offsetof(fl_rule, beta2), 1u << FL_RULE_ADAM, 1},
        {"beta", offsetof(fl_rule, beta), 1u << FL_RULE_FTRL, INFINITY},
        {"l1", offsetof(fl_rule, l1), 1u << FL_RULE_FTRL, INFINITY},
        {"ftrl_l2", offsetof(fl_rule, l2), 1u << FL_RULE_FTRL, INFINITY},
    };
    _Static_assert(FL_RULE_SGD == 1 && FL_RULE_FTRL == 6, "kinds stand in the order of fl_rule_kind");
    int kind = 0, form = 0;
    if (FL_READ_WORD(r, map, "class", kinds, &kind) && rule->kind != (fl_rule_kind)(kind + 1))
        *rule = default_rule((fl_rule_kind)(kind + 1));
    (void)fl_read_real(r, map, "learning_rate", 0, INFINITY, &rule->lr);
    for (size_t i = 0; i < FL_COUNT(numbers); i++) {
        double v = 0;
        if (!fl_read_real(r, map, numbers[i].key, 0, numbers[i].max, &v))
            continue;
        if (!(numbers[i].rules >> rule->kind & 1))
            (void)fl_error(r->dg, FL_E_KEY_UNKNOWN, fl_yaml_find(map, numbers[i].key)->loc, "optimizer \"%s\" has no \"%s\"",
                           kinds[rule->kind - 1], numbers[i].key);
        else
            memcpy((char *)rule + numbers[i].at, &v, sizeof v);
    }
    if (FL_READ_WORD(r, map, "epsilon_form", forms, &form)) {
        if (rule->kind != FL_RULE_ADAM)
            (void)fl_error(r->dg, FL_E_KEY_UNKNOWN, fl_yaml_find(map, "epsilon_form")->loc, "optimizer \"%s\" has no \"epsilon_form\"",
                           kinds[rule->kind - 1]);
        rule->bias_corrected = form == 1;
    }
}

void fl_config_optimizer(fl_reader *r, const fl_yaml *map)
{
    static const char *const keys[] = {"class", "learning_rate", "strategy", "momentum", "epsilon", "initial_accumulator", "beta1", "beta2",
                                       "beta", "l1", "ftrl_l2", "epsilon_form", "lazy", "l2", "rates", "per_class"};
    static const char *const strategies[] = {"async", "sync", "half_async", "geo"};
    fl_class_spec *classes = r->config->network.classes;
    int strategy = 1;
    bool lazy = true;
    if (!FL_READ_MAP(r, map, "\"optimizer\"", keys))
        return;
    fl_rule rule = classes[0].rule;
    read_rule(r, map, &rule);
    fl_network_set_rule(&r->config->network, rule);
    if (FL_READ_WORD(r, map, "strategy", strategies, &strategy) && strategy != 1)
        fl_warning(r->dg, FL_E_DIFFERENT, fl_place(map, "strategy"), "strategy \"%s\" runs as \"sync\": updates in a fixed order",
                   strategies[strategy]);
    if (fl_read_bool(r, map, "lazy", &lazy))
        classes[FL_CLASS_TABLE].row_sparse = classes[FL_CLASS_LINEAR].row_sparse = lazy;
    read_per_class(r, map, "l2", offsetof(fl_class_spec, l2));
    read_per_class(r, map, "rates", offsetof(fl_class_spec, lr_scale));
    const fl_yaml *own = fl_yaml_get(map, "per_class");
    if (fl_is_null(own))
        return;
    if (own->kind != FL_YAML_MAP) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, own->loc, "\"per_class\" must be a map of classes of parameters");
        return;
    }
    for (uint32_t i = 0; i < own->n; i++) {
        static const char *const own_keys[] = {"class", "learning_rate", "momentum", "epsilon", "initial_accumulator", "beta1",
                                               "beta2", "beta", "l1", "ftrl_l2", "epsilon_form"};
        int c = class_of(r, &own->pairs[i]);
        if (c >= 0 && FL_READ_MAP(r, own->pairs[i].value, "an optimizer", own_keys))
            read_rule(r, own->pairs[i].value, &classes[c].rule);
    }
}

/* ---------------------------------------------------------------------------------------------------- blocks */

static void read_steps(fl_reader *r, const fl_yaml *map, fl_steps *steps)
{
    static const char *const words[] = {"relu", "batch_norm", "dropout"};
    const fl_yaml *list = fl_read_list(r, map, "order");
    if (!list)
        return;
    if (list->n > FL_MAX_STEPS) {
        (void)fl_error(r->dg, FL_E_VALUE_RANGE, list->loc, "\"order\" has %u steps, but at most %d are possible", list->n, FL_MAX_STEPS);
        return;
    }
    steps->n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        const char *word = fl_node_text(r, list->items[i], "a step");
        size_t k = 0;
        while (word && k < FL_COUNT(words) && strcmp(words[k], word) != 0)
            k++;
        if (word && k == FL_COUNT(words))
            fl_unknown_word(r, list->items[i]->loc, "step", word, words, FL_COUNT(words));
        else if (word)
            steps->step[steps->n++] = (fl_step)k;
    }
}

static void read_interaction(fl_reader *r, const fl_yaml *map, fl_network_spec *s)
{
    static const char *const keys[] = {"groups", "mf", "fm", "to", "dicefactor", "field_bias"};
    static const char *const groups[] = {"none", "fields", "slots", "all"};
    static const char *const terms[] = {"none", "fixed", "scalar", "matrix"};
    static const char *const ends[] = {"output", "logit"};
    int word = 0;
    if (fl_is_null(map) || !FL_READ_MAP(r, map, "\"interaction\"", keys))
        return;
    if (FL_READ_WORD(r, map, "groups", groups, &word))
        s->groups = (fl_groups)word;
    if (FL_READ_WORD(r, map, "mf", terms, &word))
        s->mf = (fl_term)word;
    if (FL_READ_WORD(r, map, "fm", terms, &word))
        s->fm = (fl_term)word;
    if (FL_READ_WORD(r, map, "to", ends, &word))
        s->interaction_to_logit = word == 1;
    (void)fl_read_real(r, map, "dicefactor", 1e-3, 1, &s->dicefactor);
    (void)fl_read_bool(r, map, "field_bias", &s->field_bias);
}

static void read_hidden(fl_reader *r, const fl_yaml *root, fl_network_spec *s)
{
    static const char *const keys[] = {"units", "bias", "order"};
    const fl_yaml *node = fl_yaml_get(root, "hidden_layer");
    if (fl_is_null(node))
        return;
    if (node->kind != FL_YAML_MAP) { /* true or false */
        (void)fl_read_bool(r, root, "hidden_layer", &s->hidden);
        return;
    }
    s->hidden = true;
    (void)FL_READ_MAP(r, node, "\"hidden_layer\"", keys);
    (void)fl_read_int(r, node, "units", 0, 65536, &s->hidden_units);
    (void)fl_read_bool(r, node, "bias", &s->hidden_bias);
    read_steps(r, node, &s->hidden_steps);
}

static void read_widths(fl_reader *r, const fl_yaml *map, const char *key, fl_network_spec *s)
{
    const fl_yaml *list = fl_read_list(r, map, key);
    if (!list)
        return;
    if (list->n > FL_MAX_LAYERS) {
        (void)fl_error(r->dg, FL_E_VALUE_RANGE, list->loc, "\"%s\" has %u layers, but at most %d are possible", key, list->n, FL_MAX_LAYERS);
        return;
    }
    s->n_widths = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        fl_yaml_pair pair = {key, list->items[i]->loc, list->items[i]};
        fl_yaml item = {.kind = FL_YAML_MAP, .loc = list->loc, .pairs = &pair, .n = 1};
        if (fl_is_null(list->items[i]))
            (void)fl_error(r->dg, FL_E_VALUE_TYPE, list->items[i]->loc, "\"%s\" must hold whole numbers", key);
        else if (fl_read_int(r, &item, key, 1, 65536, &s->widths[s->n_widths]))
            s->n_widths++;
    }
}

static void read_mlp(fl_reader *r, const fl_yaml *map, fl_network_spec *s)
{
    static const char *const keys[] = {"input", "widths", "order"};
    static const char *const inputs[] = {"none", "fields", "slots"};
    int word = 0;
    if (fl_is_null(map) || !FL_READ_MAP(r, map, "\"mlp\"", keys))
        return;
    if (FL_READ_WORD(r, map, "input", inputs, &word))
        s->mlp = (fl_mlp_input)word;
    read_widths(r, map, "widths", s);
    read_steps(r, map, &s->mlp_steps);
}

static void read_batch_norm(fl_reader *r, const fl_yaml *root, fl_network_spec *s)
{
    static const char *const keys[] = {"epsilon", "momentum", "single_row"};
    static const char *const rows[] = {"normalise", "pass"};
    const fl_yaml *node = fl_yaml_get(root, "batch_norm");
    int word = 0;
    if (fl_is_null(node))
        return;
    if (node->kind != FL_YAML_MAP) {
        (void)fl_read_bool(r, root, "batch_norm", &s->batch_norm);
        return;
    }
    s->batch_norm = true;
    (void)FL_READ_MAP(r, node, "\"batch_norm\"", keys);
    (void)fl_read_real(r, node, "epsilon", 1e-12, 1, &s->bn_epsilon);
    (void)fl_read_real(r, node, "momentum", 0, 1, &s->bn_momentum);
    if (FL_READ_WORD(r, node, "single_row", rows, &word))
        s->bn_single_row = rows[word];
}

static void read_loss(fl_reader *r, const fl_yaml *root, fl_network_spec *s)
{
    static const char *const keys[] = {"kind", "epsilon"};
    static const char *const kinds[] = {"bce", "paddle_log_loss", "bce_clamped"};
    const fl_yaml *node = fl_yaml_get(root, "loss");
    bool map = node && node->kind == FL_YAML_MAP;
    int word = 0;
    if (fl_is_null(node) || (map && !FL_READ_MAP(r, node, "\"loss\"", keys)))
        return;
    if (FL_READ_WORD(r, map ? node : root, map ? "kind" : "loss", kinds, &word)) {
        s->loss = kinds[word];
        s->loss_epsilon = word == 1 ? 1e-4 : 0;
    }
    if (map)
        (void)fl_read_real(r, node, "epsilon", 0, 0.5, &s->loss_epsilon);
}

static void read_init(fl_reader *r, const fl_yaml *map, fl_network_spec *s)
{
    static const char *const fills[] = {"constant", "normal", "uniform", "glorot_uniform", "glorot_normal"};
    if (fl_is_null(map))
        return;
    if (map->kind != FL_YAML_MAP) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, map->loc, "\"init\" must be a map of classes of parameters");
        return;
    }
    for (uint32_t i = 0; i < map->n; i++) {
        int c = class_of(r, &map->pairs[i]), word = 0;
        const fl_yaml *v = map->pairs[i].value;
        double a = 0;
        if (c < 0)
            continue;
        if (v->kind == FL_YAML_SCALAR) { /* a word without a number */
            if (FL_READ_WORD(r, map, map->pairs[i].key, fills, &word)) {
                s->classes[c].fill = (fl_fill)word;
                s->classes[c].a = 0;
            }
            continue;
        }
        if (!FL_READ_MAP(r, v, "an initialiser", fills) || v->n != 1) {
            (void)fl_error(r->dg, FL_E_VALUE_TYPE, v->loc, "an initialiser is one of %s, with its number", fl_word_list(r, fills, FL_COUNT(fills)));
            continue;
        }
        for (int f = 0; f < (int)FL_COUNT(fills); f++)
            if (strcmp(fills[f], v->pairs[0].key) == 0 && fl_read_real(r, v, fills[f], f ? 0 : -INFINITY, INFINITY, &a)) {
                s->classes[c].fill = (fl_fill)f;
                s->classes[c].a = a;
            }
    }
}

void fl_config_blocks(fl_reader *r, const fl_yaml *root)
{
    static const char *const places[] = {"none", "logit", "interaction"};
    static const char *const styles[] = {"upscale_in_train", "downscale_in_infer"};
    static const char *const output_keys[] = {"bias", "mlp_first"};
    fl_network_spec *s = &r->config->network;
    int word = 0;
    (void)fl_read_int(r, root, "embedding_size", 1, 4096, &s->k);
    if (FL_READ_WORD(r, root, "linear", places, &word))
        s->linear = (fl_linear_kind)word;
    read_interaction(r, fl_yaml_get(root, "interaction"), s);
    read_hidden(r, root, s);
    read_mlp(r, fl_yaml_get(root, "mlp"), s);
    (void)fl_read_real(r, root, "dropout", 0, 0.99, &s->dropout);
    if (FL_READ_WORD(r, root, "dropout_style", styles, &word))
        s->dropout_style = styles[word];
    read_batch_norm(r, root, s);
    const fl_yaml *out = fl_yaml_get(root, "output");
    if (!fl_is_null(out) && FL_READ_MAP(r, out, "\"output\"", output_keys)) {
        (void)fl_read_bool(r, out, "bias", &s->out_bias);
        (void)fl_read_bool(r, out, "mlp_first", &s->mlp_first);
    }
    read_loss(r, root, s);
    read_init(r, fl_yaml_get(root, "init"), s);
}

/* ---------------------------------------------------------------------------------------------------- common */

void fl_config_common(fl_reader *r, const fl_yaml *root)
{
    static const char *const quirks[] = {"dropout_in_infer", "missing_label_is_0", "drop_last", "skip_short_rows"};
    static const char *const logs[] = {"plain", "paddlerec"};
    fl_manifest *m = &r->config->manifest;
    const fl_yaml *list = fl_read_list(r, root, "quirks");
    int64_t seed = 0;
    int word = 0;
    if (fl_read_int(r, root, "seed", 0, INT64_MAX, &seed))
        m->seed = (uint64_t)seed;
    if (FL_READ_WORD(r, root, "log", logs, &word))
        m->log = logs[word];
    if (list)
        m->quirks = 0;
    for (uint32_t i = 0; list && i < list->n; i++) {
        const char *text = fl_node_text(r, list->items[i], "a quirk");
        unsigned k = 0;
        while (text && k < FL_COUNT(quirks) && strcmp(quirks[k], text) != 0)
            k++;
        if (text && k == FL_COUNT(quirks))
            fl_unknown_word(r, list->items[i]->loc, "quirk", text, quirks, FL_COUNT(quirks));
        else if (text)
            m->quirks |= 1u << k;
    }
}
