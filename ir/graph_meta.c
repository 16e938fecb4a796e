#include "ir/graph_meta.h"
#include "ir/json.h"

#include "ir/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const derived[] = {"ai.flen.variables", "ai.flen.shapes", "ai.flen.updates",
                                      "ai.flen.outputs",   "ai.flen.params", "ai.flen.schedule",
                                      "ai.flen.training.variables", "ai.flen.training.shapes", "ai.flen.training.params", "ai.flen.training.outputs"};

bool fl_meta_is_derived(const char *key)
{
    for (size_t i = 0; i < FL_COUNT(derived); i++)
        if (strcmp(derived[i], key) == 0)
            return true;
    return false;
}

/* --------------------------------------------------------------------------------------------------- printing */

/* A growing text; a failure stays in `failed`. */
typedef struct text {
    char *bytes;
    size_t n;
    FILE *out;
} text;

static bool text_open(text *t)
{
    *t = (text){0};
    t->out = open_memstream(&t->bytes, &t->n);
    return t->out != NULL;
}

/* Moves the text into the arena; NULL if out of memory. */
static const char *text_take(text *t, fl_arena *arena)
{
    bool failed = ferror(t->out) != 0;
    failed |= fclose(t->out) != 0;
    const char *copy = failed ? NULL : fl_arena_strndup(arena, t->bytes, t->n);
    free(t->bytes);
    return copy;
}

static fl_status check_name(const char *name, fl_diag *dg)
{
    if (name && !strpbrk(name, ",=;"))
        return FL_OK;
    return fl_error(dg, FL_E_ONNX_NAME, FL_NOWHERE,
                    "the name \"%s\" cannot be written: names of variables and of their next values have none of \",=;\"",
                    name ? name : "");
}

static bool has_symbol(const fl_type *t)
{
    for (int i = 0; i < t->rank; i++)
        if (FL_DIM_IS_SYM(t->dims[i]))
            return true;
    return false;
}

static fl_status print_variables(const fl_graph *g, text *names, text *shapes, fl_diag *dg)
{
    bool first = true, first_shape = true;
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        if (v->kind != FL_VALUE_VARIABLE || !v->name)
            continue;
        FL_TRY(check_name(v->name, dg));
        fprintf(names->out, "%s%s", first ? "" : ",", v->name);
        first = false;
        if (!has_symbol(&v->type))
            continue;
        fprintf(shapes->out, "%s%s=", first_shape ? "" : ";", v->name);
        first_shape = false;
        for (int d = 0; d < v->type.rank; d++) {
            fl_dim dim = v->type.dims[d];
            if (FL_DIM_IS_SYM(dim))
                fprintf(shapes->out, "%s%s", d ? "," : "", g->symbols[FL_SYM_OF_DIM(dim)]);
            else
                fprintf(shapes->out, "%s%lld", d ? "," : "", (long long)dim);
        }
    }
    return FL_OK;
}

static fl_status print_updates(const fl_graph *g, text *t, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_updates; i++) {
        const char *variable = g->values[g->updates[i].variable].name, *next = g->values[g->updates[i].next].name;
        FL_TRY(check_name(variable, dg));
        FL_TRY(check_name(next, dg));
        fprintf(t->out, "%s%s=%s", i ? "," : "", variable, next);
    }
    return FL_OK;
}

static const char *const rule_words[] = {
    [FL_RULE_NONE] = "none",       [FL_RULE_SGD] = "sgd",
    [FL_RULE_MOMENTUM] = "momentum", [FL_RULE_ADAGRAD] = "adagrad",
    [FL_RULE_ROWWISE_ADAGRAD] = "rowwise_adagrad", [FL_RULE_ADAM] = "adam",
    [FL_RULE_FTRL] = "ftrl"};
static const char *const init_words[] = {
    [FL_INIT_CONSTANT] = "constant", [FL_INIT_NORMAL] = "normal", [FL_INIT_UNIFORM] = "uniform"};

/* The numbers of a parameter, by key; those at their neutral value are not written. */
static const struct {
    const char *key;
    size_t offset;
    double neutral;
} numbers[] = {
    {"lr", offsetof(fl_param, rule.lr), 0},
    {"momentum", offsetof(fl_param, rule.momentum), 0},
    {"epsilon", offsetof(fl_param, rule.epsilon), 0},
    {"initial_accumulator", offsetof(fl_param, rule.initial_accumulator), 0},
    {"beta1", offsetof(fl_param, rule.beta1), 0},
    {"beta2", offsetof(fl_param, rule.beta2), 0},
    {"beta", offsetof(fl_param, rule.beta), 0},
    {"l1", offsetof(fl_param, rule.l1), 0},
    {"ftrl_l2", offsetof(fl_param, rule.l2), 0},
    {"lr_scale", offsetof(fl_param, lr_scale), 1},
    {"l2", offsetof(fl_param, l2), 0},
    {"init_a", offsetof(fl_param, init_a), 0},
    {"init_b", offsetof(fl_param, init_b), 0},
};

static double *number_of(fl_param *p, size_t i)
{
    return (double *)(void *)((char *)p + numbers[i].offset);
}

static const char *print_params(const fl_graph *g, fl_arena *arena)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (uint32_t i = 0; ok && i < g->n_params; i++) {
        fl_param p = g->params[i];
        json_t *o = json_pack("{s:s, s:s, s:s}", "variable", g->values[p.variable].name, "rule", rule_words[p.rule.kind], "init",
                              init_words[p.init]);
        for (size_t k = 0; o && ok && k < FL_COUNT(numbers); k++) {
            double f = *number_of(&p, k);
            if (f < numbers[k].neutral || f > numbers[k].neutral)
                ok = json_object_set_new(o, numbers[k].key, json_real(f)) == 0;
        }
        if (o && p.rule.bias_corrected)
            ok &= json_object_set_new(o, "bias_corrected", json_true()) == 0;
        if (o && p.row_sparse)
            ok &= json_object_set_new(o, "row_sparse", json_true()) == 0;
        ok &= o && json_array_append_new(array, o) == 0;
    }
    char *dump = ok ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    const char *copy = dump ? fl_arena_strndup(arena, dump, strlen(dump)) : NULL;
    free(dump);
    return copy;
}

fl_id *fl_meta_file_outputs(const fl_graph *g, fl_arena *arena, uint32_t *n)
{
    fl_id *outputs = fl_arena_new(arena, fl_id, g->n_outputs + g->n_updates);
    uint8_t *seen = fl_arena_new(arena, uint8_t, g->n_values);
    if (!outputs || !seen)
        return NULL;
    *n = 0;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        outputs[(*n)++] = g->outputs[i];
        seen[g->outputs[i]] = 1;
    }
    for (uint32_t i = 0; i < g->n_updates; i++) {
        if (!seen[g->updates[i].next])
            outputs[(*n)++] = g->updates[i].next;
        seen[g->updates[i].next] = 1;
    }
    return outputs;
}

static bool add(fl_meta_entry *entries, uint32_t *n, const char *key, const char *value)
{
    if (!value)
        return false;
    if (*value)
        entries[(*n)++] = (fl_meta_entry){key, value};
    return true;
}

fl_status fl_meta_collect(const fl_graph *g, fl_arena *arena, fl_meta_entry **entries, uint32_t *n, fl_diag *dg)
{
    fl_meta_entry *list = fl_arena_new(arena, fl_meta_entry, g->n_meta + FL_COUNT(derived));
    text variables, shapes, updates;
    if (!list || !text_open(&variables))
        return fl_out_of_memory(dg);
    if (!text_open(&shapes)) {
        (void)text_take(&variables, arena);
        return fl_out_of_memory(dg);
    }
    if (!text_open(&updates)) {
        (void)text_take(&variables, arena);
        (void)text_take(&shapes, arena);
        return fl_out_of_memory(dg);
    }
    fl_status status = print_variables(g, &variables, &shapes, dg);
    if (status == FL_OK)
        status = print_updates(g, &updates, dg);
    uint32_t count = 0;
    bool ok = add(list, &count, "ai.flen.variables", text_take(&variables, arena));
    ok &= add(list, &count, "ai.flen.shapes", text_take(&shapes, arena));
    ok &= add(list, &count, "ai.flen.updates", text_take(&updates, arena));
    FL_TRY(status);
    uint32_t n_file;
    if (!ok || !fl_meta_file_outputs(g, arena, &n_file))
        return fl_out_of_memory(dg);
    if (n_file != g->n_outputs + g->n_updates)
        ok &= add(list, &count, "ai.flen.outputs", fl_arena_printf(arena, "%u", g->n_outputs));
    if (g->n_params)
        ok &= add(list, &count, "ai.flen.params", print_params(g, arena));
    if (g->schedule)
        ok &= add(list, &count, "ai.flen.schedule", fl_schedule_print(g, arena));
    for (uint32_t i = 0; i < g->n_meta; i++)
        if (!fl_meta_is_derived(g->meta_keys[i]))
            list[count++] = (fl_meta_entry){g->meta_keys[i], g->meta_values[i]};
    if (!ok)
        return fl_out_of_memory(dg);
    *entries = list;
    *n = count;
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- reading */

const char **fl_meta_names(const char *names, fl_arena *arena, uint32_t *n)
{
    uint32_t count = *names ? 1 : 0;
    for (const char *p = names; *p; p++)
        count += *p == ',';
    const char **list = fl_arena_new(arena, const char *, count);
    if (!list)
        return NULL;
    *n = 0;
    while (*n < count) {
        size_t length = strcspn(names, ",");
        if (!(list[(*n)++] = fl_arena_strndup(arena, names, length)))
            return NULL;
        names += length + 1;
    }
    return list;
}

static fl_status bad(fl_diag *dg, fl_loc loc, const char *key, const char *what, const char *name)
{
    return fl_error(dg, FL_E_ONNX_META, loc, "metadata \"%s\": %s \"%.200s\"", key, what, name);
}

static fl_id find_variable(const fl_graph *g, const char *name)
{
    fl_id v = fl_graph_find(g, name);
    return v != FL_NONE && g->values[v].kind == FL_VALUE_VARIABLE ? v : FL_NONE;
}

static bool is_static_dim(const char *word)
{
    return *word && strspn(word, "0123456789") == strlen(word) && strlen(word) <= 18;
}

/* "table=rows,32": the declared shape has the rank and the static dimensions of what is stored. */
static fl_status apply_shape(fl_graph *g, char *item, fl_arena *scratch, fl_loc loc, fl_diag *dg)
{
    char *equals = strchr(item, '=');
    if (!equals)
        return bad(dg, loc, "ai.flen.shapes", "no \"=\" in", item);
    *equals = '\0';
    fl_id v = find_variable(g, item);
    if (v == FL_NONE)
        return bad(dg, loc, "ai.flen.shapes", "there is no variable", item);
    uint32_t n;
    const char **dims = fl_meta_names(equals + 1, scratch, &n);
    if (!dims)
        return fl_out_of_memory(dg);
    fl_type *type = &g->values[v].type;
    if ((int)n != type->rank)
        return bad(dg, loc, "ai.flen.shapes", "another rank than the stored one has", item);
    for (uint32_t i = 0; i < n; i++) {
        if (!dims[i][0])
            return bad(dg, loc, "ai.flen.shapes", "an empty dimension of", item);
        if (!is_static_dim(dims[i])) {
            type->dims[i] = fl_graph_symbol(g, dims[i]);
            continue;
        }
        int64_t dim = strtoll(dims[i], NULL, 10);
        if (FL_DIM_IS_SYM(type->dims[i]) || type->dims[i] != dim)
            return bad(dg, loc, "ai.flen.shapes", "another extent than the stored one in", item);
    }
    return FL_OK;
}

/* Cuts `text` at `separator`; each item goes to fn. */
static fl_status each_item(fl_graph *g, const char *list, char separator, fl_loc loc, fl_diag *dg,
                           fl_status (*fn)(fl_graph *, char *, fl_arena *, fl_loc, fl_diag *))
{
    fl_arena scratch;
    fl_arena_init(&scratch);
    char *copy = fl_arena_strndup(&scratch, list, strlen(list));
    fl_status status = copy ? FL_OK : fl_out_of_memory(dg);
    for (char *item = copy; item && status == FL_OK;) {
        char *end = strchr(item, separator);
        if (end)
            *end = '\0';
        status = fn(g, item, &scratch, loc, dg);
        item = end ? end + 1 : NULL;
    }
    fl_arena_deinit(&scratch);
    return status;
}

fl_status fl_meta_apply_shapes(fl_graph *g, const char *list, fl_loc loc, fl_diag *dg)
{
    return list && *list ? each_item(g, list, ';', loc, dg, apply_shape) : FL_OK;
}

static fl_status apply_update(fl_graph *g, char *item, fl_arena *scratch, fl_loc loc, fl_diag *dg)
{
    (void)scratch;
    char *equals = strchr(item, '=');
    if (!equals)
        return bad(dg, loc, "ai.flen.updates", "no \"=\" in", item);
    *equals = '\0';
    fl_id variable = find_variable(g, item), next = fl_graph_find(g, equals + 1);
    if (variable == FL_NONE)
        return bad(dg, loc, "ai.flen.updates", "there is no variable", item);
    if (next == FL_NONE)
        return bad(dg, loc, "ai.flen.updates", "there is no value", equals + 1);
    fl_graph_update(g, variable, next);
    return FL_OK;
}

/* The outputs of the file end with the next values in the order of their updates; what is before is the graph's own. */
static fl_status cut_outputs(fl_graph *g, const char *outputs, fl_loc loc, fl_diag *dg)
{
    uint32_t own = 0;
    if (outputs) {
        if (!is_static_dim(outputs) || strlen(outputs) > 9 || (own = (uint32_t)strtoul(outputs, NULL, 10)) > g->n_outputs)
            return bad(dg, loc, "ai.flen.outputs", "not a number of outputs:", outputs);
    } else if (g->n_updates > g->n_outputs) {
        return bad(dg, loc, "ai.flen.updates", "more updates than outputs in", g->name);
    } else {
        own = g->n_outputs - g->n_updates;
    }
    uint32_t n_file = g->n_outputs, n_expected = 0;
    g->n_outputs = own;
    fl_arena scratch;
    fl_arena_init(&scratch);
    const fl_id *expected = fl_meta_file_outputs(g, &scratch, &n_expected);
    fl_status status = expected ? FL_OK : fl_out_of_memory(dg);
    for (uint32_t i = own; status == FL_OK && i < n_expected; i++)
        if (i >= n_file || g->outputs[i] != expected[i])
            status = bad(dg, loc, "ai.flen.updates", "not among the outputs at its place:", g->values[expected[i]].name);
    if (status == FL_OK && n_expected < n_file)
        status = bad(dg, loc, "ai.flen.updates", "no update for the output", g->values[g->outputs[n_expected]].name);
    fl_arena_deinit(&scratch);
    return status;
}

fl_status fl_meta_apply_updates(fl_graph *g, const char *list, const char *outputs, fl_loc loc, fl_diag *dg)
{
    if (!list || !*list)
        return FL_OK;
    FL_TRY(each_item(g, list, ',', loc, dg, apply_update));
    FL_TRY(fl_graph_ok(g, dg));
    return cut_outputs(g, outputs, loc, dg);
}

static int find_word(const json_t *value, const char *const *words, size_t n)
{
    const char *word = json_string_value(value);
    for (size_t i = 0; word && i < n; i++)
        if (strcmp(words[i], word) == 0)
            return (int)i;
    return -1;
}

/* One member of a parameter's object; false if its key or type is wrong. */
static bool read_member(const fl_graph *g, fl_param *p, const char *key, const json_t *value)
{
    for (size_t i = 0; i < FL_COUNT(numbers); i++) {
        if (strcmp(numbers[i].key, key) == 0) {
            *number_of(p, i) = json_number_value(value);
            return json_is_number(value);
        }
    }
    if (strcmp(key, "variable") == 0) {
        p->variable = json_is_string(value) ? find_variable(g, json_string_value(value)) : FL_NONE;
        return p->variable != FL_NONE;
    }
    if (strcmp(key, "rule") == 0) {
        int word = find_word(value, rule_words, FL_COUNT(rule_words));
        p->rule.kind = word < 0 ? FL_RULE_NONE : (fl_rule_kind)word;
        return word >= 0;
    }
    if (strcmp(key, "init") == 0) {
        int word = find_word(value, init_words, FL_COUNT(init_words));
        p->init = word < 0 ? FL_INIT_CONSTANT : (fl_init_kind)word;
        return word >= 0;
    }
    bool *flag = strcmp(key, "bias_corrected") == 0 ? &p->rule.bias_corrected
                 : strcmp(key, "row_sparse") == 0   ? &p->row_sparse
                                                    : NULL;
    if (flag)
        *flag = json_is_true(value);
    return flag && json_is_boolean(value);
}

fl_status fl_meta_apply_params(fl_graph *g, const char *list, fl_loc loc, fl_diag *dg)
{
    if (!list || !*list)
        return FL_OK;
    json_error_t error;
    bool no_memory;
    json_t *array = fl_json_load(list, strlen(list), &error, &no_memory);
    if (no_memory)
        return fl_out_of_memory(dg);
    fl_status status = json_is_array(array) ? FL_OK : bad(dg, loc, "ai.flen.params", "not a JSON array:", array ? list : error.text);
    size_t i;
    json_t *object;
    json_array_foreach(array, i, object)
    {
        fl_param p = {.variable = FL_NONE, .lr_scale = 1};
        const char *key;
        json_t *value;
        json_object_foreach(object, key, value)
        {
            if (status == FL_OK && !read_member(g, &p, key, value))
                status = bad(dg, loc, "ai.flen.params", "wrong member", key);
        }
        if (status == FL_OK && (p.variable == FL_NONE || fl_graph_find_param(g, p.variable)))
            status = bad(dg, loc, "ai.flen.params", "each entry names another variable; not so entry", p.variable == FL_NONE ? "" : g->values[p.variable].name);
        if (status != FL_OK)
            break;
        fl_graph_param(g, p);
    }
    json_decref(array);
    return status;
}
