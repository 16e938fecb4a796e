#include "case_network.h"

#include <math.h>
#include <string.h>

static const char about[] = "case.json";

/* ------------------------------------------------------------------------------------------------------ layout */

static const char *optional_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool read_slot(case_network *n, case_file *c, const json_t *entry, uint32_t i, verdict *v)
{
    static const char *const keys[] = {"name", "field", "vocab", "first_id", "table", "linear", "pooling", "parts", NULL};
    fl_slot *s = &n->schema.slots[i];
    int64_t field;
    if (!json_is_object(entry))
        return verdict_fail(v, "%s: slot %u is no object", about, i);
    if (!case_known_keys(entry, "slot", keys, v) || !case_integer(entry, about, "field", 0, &field, v) ||
        !case_integer(entry, about, "vocab", 1, &s->rows, v) || !case_integer(entry, about, "first_id", 0, &s->first_id, v) ||
        !(s->name = case_text(entry, about, "name", v)))
        return false;
    if (field >= n->schema.n_fields)
        return verdict_fail(v, "%s: slot \"%s\" is in field %lld of %u", about, s->name, (long long)field, n->schema.n_fields);
    const json_t *pooling = json_object_get(entry, "pooling");
    const char *word = json_string_value(pooling);
    s->field = (uint32_t)field;
    if (word && strcmp(word, "sum") == 0)
        s->pooling = FL_POOL_SUM;
    else if (word && strcmp(word, "mean") == 0)
        s->pooling = FL_POOL_MEAN;
    else if (!json_is_null(pooling))
        return verdict_skip(v, "pooling %s", word ? word : "of another form");
    const char *name = optional_text(entry, "table") ? optional_text(entry, "table") : optional_text(entry, "linear");
    const case_array *table = name ? case_file_array(c, "tensors.bin", name, FL_FLOAT, -1, NULL, v) : NULL;
    if (!table)
        return verdict_fail(v, "%s: slot \"%s\" has no table", about, s->name);
    n->table_rows[i] = table->rank > 0 ? table->dims[0] : 0;
    if (s->first_id + s->rows > n->table_rows[i])
        return verdict_fail(v, "%s: ids of slot \"%s\" go to %lld, its table has %lld rows", about, s->name,
                            (long long)(s->first_id + s->rows), (long long)n->table_rows[i]);
    return true;
}

/*
 * Slots whose tables are the same tensor get the same packed rows. One numbering serves both widths: slots share the linear table
 * exactly if they share the embedding table.
 */
static bool pack(case_network *n, const json_t *slots, verdict *v)
{
    int64_t at = 0;
    for (uint32_t i = 0; i < n->schema.n_slots; i++) {
        const char *names[2] = {optional_text(json_array_get(slots, i), "table"), optional_text(json_array_get(slots, i), "linear")};
        n->table_row[i] = -1;
        for (uint32_t k = 0; k < i; k++) {
            const char *others[2] = {optional_text(json_array_get(slots, k), "table"), optional_text(json_array_get(slots, k), "linear")};
            bool same[2], known[2];
            for (int w = 0; w < 2; w++) {
                known[w] = names[w] && others[w];
                same[w] = known[w] && strcmp(names[w], others[w]) == 0;
            }
            if (known[0] && known[1] && same[0] != same[1])
                return verdict_skip(v, "slots that share one of \"%s\" and \"%s\" and not the other", names[0], names[1]);
            if (same[0] || same[1])
                n->table_row[i] = n->table_row[k];
        }
        if (n->table_row[i] < 0) {
            n->table_row[i] = at;
            at += n->table_rows[i];
        }
        n->schema.slots[i].first_row = n->table_row[i] + n->schema.slots[i].first_id;
    }
    n->schema.table_rows = at;
    return true;
}

static bool read_fields(case_network *n, case_file *c, const json_t *fields, verdict *v)
{
    static const char *const keys[] = {"name", "slots", NULL};
    uint32_t next = 0;
    for (uint32_t m = 0; m < n->schema.n_fields; m++) {
        const json_t *entry = json_array_get(fields, m);
        fl_field *f = &n->schema.fields[m];
        if (!json_is_object(entry))
            return verdict_fail(v, "%s: field %u is no object", about, m);
        const json_t *slots = case_member(entry, about, "slots", JSON_ARRAY, v);
        if (!slots || !case_known_keys(entry, "field", keys, v) || !(f->name = case_text(entry, about, "name", v)))
            return false;
        f->n_slots = (uint32_t)json_array_size(slots);
        f->slots = fl_arena_new(&c->arena, uint32_t, f->n_slots + 1);
        for (uint32_t i = 0; f->slots && i < f->n_slots; i++, next++) {
            if (json_integer_value(json_array_get(slots, i)) != next || next >= n->schema.n_slots || n->schema.slots[next].field != m)
                return verdict_fail(v, "%s: slots of field \"%s\" are not those that name it, in order", about, f->name);
            f->slots[i] = next;
        }
    }
    return next == n->schema.n_slots || verdict_fail(v, "%s: %u slots, fields have %u", about, n->schema.n_slots, next);
}

static bool read_layout(case_network *n, case_file *c, verdict *v)
{
    static const char *const keys[] = {"tables", "fields", "slots", "dense", NULL};
    const json_t *layout = case_member(c->about, about, "layout", JSON_OBJECT, v);
    const json_t *slots = layout ? case_member(layout, about, "slots", JSON_ARRAY, v) : NULL;
    const json_t *fields = slots ? case_member(layout, about, "fields", JSON_ARRAY, v) : NULL;
    int64_t dense = 0;
    if (!fields || !case_known_keys(layout, "layout", keys, v))
        return false;
    if (json_object_get(layout, "dense") && !case_integer(layout, about, "dense", 0, &dense, v))
        return false;
    if (dense > 0)
        return verdict_skip(v, "dense values");
    fl_schema *s = &n->schema;
    s->n_slots = (uint32_t)json_array_size(slots);
    s->n_fields = (uint32_t)json_array_size(fields);
    s->slots = fl_arena_new(&c->arena, fl_slot, s->n_slots + 1);
    s->fields = fl_arena_new(&c->arena, fl_field, s->n_fields + 1);
    n->table_row = fl_arena_new(&c->arena, int64_t, s->n_slots + 1);
    n->table_rows = fl_arena_new(&c->arena, int64_t, s->n_slots + 1);
    if (c->arena.failed)
        return verdict_fail(v, "out of memory");
    for (uint32_t i = 0; i < s->n_slots; i++)
        if (!read_slot(n, c, json_array_get(slots, i), i, v))
            return false;
    return read_fields(n, c, fields, v) && pack(n, slots, v);
}

/* --------------------------------------------------------------------------------------------- hyper-parameters */

/* Models of the reference that are networks of ours, and what their hyper-parameters may be; the last four only tell how weights were drawn. */
#define HOW_DRAWN "init", "r_init", "linear_std", "zero_bias", NULL
static const char *const of_linear[] = {"K", HOW_DRAWN};
static const char *const of_paper[] = {"K", "hidden", "mlp_input", "dicefactor", "dropout", "dropout_style", HOW_DRAWN};
static const char *const of_official[] = {"K", "hidden", "fwbi_units", "dropout", "dropout_style", HOW_DRAWN};
static const char *const of_paddlerec[] = {"K", "hidden", "dropout", "dropout_style", HOW_DRAWN};
static const struct model {
    const char *name, *network;
    const char *const *keys;
} models[] = {
    {"lr", "lr", of_linear},
    {"fm", "fm", of_linear},
    {"fwfm", "fwfm", of_linear},
    {"flen_paper", "flen", of_paper},
    {"flen_official", "flen-official", of_official},
    {"flen_paddlerec18", "flen-paddlerec-1.8", of_paddlerec},
    {"flen_paddlerec2", "flen-paddlerec-2", of_paddlerec},
};

static bool read_widths(fl_network_spec *s, const json_t *hyper, verdict *v)
{
    const json_t *hidden = case_member(hyper, about, "hidden", JSON_ARRAY, v);
    if (!hidden)
        return false;
    if (json_array_size(hidden) > FL_MAX_LAYERS)
        return verdict_skip(v, "%zu hidden layers", json_array_size(hidden));
    s->n_widths = (uint32_t)json_array_size(hidden);
    for (uint32_t i = 0; i < s->n_widths; i++) {
        s->widths[i] = json_integer_value(json_array_get(hidden, i));
        if (s->widths[i] < 1)
            return verdict_fail(v, "%s: \"hidden\" has a width that is none", about);
    }
    return true;
}

static bool read_flen(fl_network_spec *s, const struct model *m, const json_t *hyper, verdict *v)
{
    s->dropout = 0;
    s->hidden_units = m->keys == of_paper ? 0 : s->k;
    if (!read_widths(s, hyper, v))
        return false;
    if (json_object_get(hyper, "dropout") && !case_number(hyper, about, "dropout", &s->dropout, v))
        return false;
    if (json_object_get(hyper, "dropout_style") && !(s->dropout_style = case_text(hyper, about, "dropout_style", v)))
        return false;
    if (m->keys == of_official && !case_integer(hyper, about, "fwbi_units", 1, &s->hidden_units, v))
        return false;
    if (m->keys != of_paper)
        return true;
    /* The reference drops behind the layers of the MLP only. */
    s->hidden_steps = (fl_steps){{FL_STEP_RELU}, 1};
    s->mlp_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_DROPOUT}, 2};
    if (json_object_get(hyper, "dicefactor") && !case_number(hyper, about, "dicefactor", &s->dicefactor, v))
        return false;
    if (s->n_widths == 0)
        return true;
    const char *input = case_text(hyper, about, "mlp_input", v);
    if (input && strcmp(input, "fields") != 0 && strcmp(input, "slots") != 0)
        return verdict_skip(v, "mlp_input %s", input);
    s->mlp = input && strcmp(input, "slots") == 0 ? FL_MLP_SLOTS : FL_MLP_FIELDS;
    return input != NULL;
}

static bool read_loss(fl_network_spec *s, const case_file *c, verdict *v)
{
    static const char *const keys[] = {"kind", "reduction", NULL};
    const json_t *loss = case_member(c->about, about, "loss", JSON_OBJECT, v);
    const char *reduction = loss && case_known_keys(loss, "loss", keys, v) ? case_text(loss, about, "reduction", v) : NULL;
    s->loss = reduction ? case_text(loss, about, "kind", v) : NULL;
    if (!s->loss)
        return false;
    if (strcmp(reduction, "mean") != 0)
        return verdict_skip(v, "loss reduction %s", reduction);
    if (strcmp(s->loss, "bce") != 0 && strcmp(s->loss, "bce_clamped") != 0 && strcmp(s->loss, "paddle_log_loss") != 0)
        return verdict_skip(v, "loss %s", s->loss);
    s->loss_epsilon = strcmp(s->loss, "paddle_log_loss") == 0 ? 1e-4 : 0;
    return true;
}

static bool read_spec(fl_network_spec *s, const case_file *c, verdict *v)
{
    const char *name = case_text(c->about, about, "model", v);
    const json_t *hyper = name ? case_member(c->about, about, "hyper_parameters", JSON_OBJECT, v) : NULL;
    const struct model *m = models;
    if (!hyper)
        return false;
    while (m < models + FL_COUNT(models) && strcmp(m->name, name) != 0)
        m++;
    if (m == models + FL_COUNT(models))
        return verdict_skip(v, "model %s", name);
    bool found = fl_network_preset(s, m->network);
    FL_ASSERT(found);
    (void)found;
    if (!case_known_keys(hyper, "hyper_parameters", m->keys, v) || !read_loss(s, c, v))
        return false;
    if ((strcmp(name, "lr") != 0 || json_object_get(hyper, "K")) && !case_integer(hyper, about, "K", 1, &s->k, v))
        return false;
    s->given_masks = true;
    return m->keys == of_linear || read_flen(s, m, hyper, v);
}

/* ------------------------------------------------------------------------------------------------------- rules */

static bool read_rule(const json_t *entry, fl_rule *r, verdict *v)
{
    static const struct kind {
        const char *name;
        fl_rule_kind kind;
        const char *keys[8];
    } kinds[] = {
        {"sgd", FL_RULE_SGD, {"rule", "lr"}},
        {"momentum", FL_RULE_MOMENTUM, {"rule", "lr", "momentum"}},
        {"adagrad", FL_RULE_ADAGRAD, {"rule", "lr", "initial_accumulator", "epsilon"}},
        {"rowwise_adagrad", FL_RULE_ROWWISE_ADAGRAD, {"rule", "lr", "initial_accumulator", "epsilon"}},
        {"adam", FL_RULE_ADAM, {"rule", "lr", "beta1", "beta2", "epsilon", "epsilon_form"}},
        {"ftrl", FL_RULE_FTRL, {"rule", "alpha", "beta", "l1", "l2"}},
    };
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"lr", &r->lr}, {"alpha", &r->lr}, {"momentum", &r->momentum}, {"initial_accumulator", &r->initial_accumulator},
                   {"epsilon", &r->epsilon}, {"beta1", &r->beta1}, {"beta2", &r->beta2}, {"beta", &r->beta}, {"l1", &r->l1}, {"l2", &r->l2}};
    const char *name = json_is_object(entry) ? case_text(entry, about, "rule", v) : NULL;
    const struct kind *k = kinds;
    if (!name)
        return verdict_fail(v, "%s: a rule without a name", about);
    while (k < kinds + FL_COUNT(kinds) && strcmp(k->name, name) != 0)
        k++;
    if (k == kinds + FL_COUNT(kinds))
        return verdict_skip(v, "rule %s", name);
    if (!case_known_keys(entry, name, k->keys, v))
        return false;
    r->kind = k->kind;
    for (uint32_t i = 1; k->keys[i]; i++)
        for (uint32_t m = 0; m < FL_COUNT(numbers); m++)
            if (strcmp(numbers[m].key, k->keys[i]) == 0 && !case_number(entry, name, k->keys[i], numbers[m].to, v))
                return false;
    if (k->kind != FL_RULE_ADAM)
        return true;
    const char *form = case_text(entry, name, "epsilon_form", v);
    r->bias_corrected = form && strcmp(form, "bias_corrected") == 0;
    if (form && !r->bias_corrected && strcmp(form, "plain") != 0)
        return verdict_skip(v, "epsilon_form %s", form);
    return form != NULL;
}

static bool read_rules(case_network *n, case_file *c, verdict *v)
{
    const json_t *rules = case_member(c->about, about, "rules", JSON_ARRAY, v);
    if (!rules)
        return false;
    n->n_rules = (uint32_t)json_array_size(rules);
    n->rules = fl_arena_new(&c->arena, fl_rule, n->n_rules + 1);
    if (!n->rules)
        return verdict_fail(v, "out of memory");
    for (uint32_t i = 0; i < n->n_rules; i++)
        if (!read_rule(json_array_get(rules, i), &n->rules[i], v))
            return false;
    return true;
}

/* ----------------------------------------------------------------------------------------------------- tensors */

/* Where the tensor's elements lie. Tables have ranges of the packed one; all others are variables of the same name and number of elements. */
static bool place(const case_network *n, const case_file *c, const case_array *a, case_tensor *t, verdict *v)
{
    const json_t *slots = json_object_get(json_object_get(c->about, "layout"), "slots");
    *t = (case_tensor){.name = a->name, .variable = a->name, .n = a->n, .rank = a->rank};
    for (uint32_t i = 0; i < n->schema.n_slots; i++) {
        const json_t *slot = json_array_get(slots, i);
        const char *table = optional_text(slot, "table"), *linear = optional_text(slot, "linear");
        bool is_table = table && strcmp(table, a->name) == 0, is_linear = linear && strcmp(linear, a->name) == 0;
        if (!is_table && !is_linear)
            continue;
        t->variable = is_table ? "table" : "linear";
        t->first_row = n->table_row[i];
        if (a->rank < 1 || a->dims[0] != n->table_rows[i])
            return verdict_fail(v, "tensors.bin: \"%s\" has other rows than the slot's other table", a->name);
    }
    fl_id id = fl_graph_find(n->forward, t->variable);
    if (a->n == 0)
        return true;
    if (id == FL_NONE || n->forward->values[id].kind != FL_VALUE_VARIABLE)
        return verdict_skip(v, "tensor %s", a->name);
    const fl_type *type = fl_value_type(n->forward, id);
    int64_t row = type->dims[0] ? fl_type_elements(type) / type->dims[0] : 0;
    bool packed = strcmp(t->variable, a->name) != 0 || strcmp(a->name, "table") == 0 || strcmp(a->name, "linear") == 0;
    t->offset = t->first_row * row;
    t->rows = row ? a->n / row : 0;
    if (packed ? a->n != a->dims[0] * row || t->first_row + a->dims[0] > type->dims[0] : a->n != fl_type_elements(type))
        return verdict_fail(v, "tensors.bin: \"%s\" has %lld elements, which do not fit \"%s\"", a->name, (long long)a->n, t->variable);
    return true;
}

/* Rule, factor and sparseness of a tensor become its variable's; all tensors of a packed table must agree. */
static bool set_param(case_network *n, const json_t *entry, case_tensor *t, const fl_rule **given, verdict *v)
{
    static const char *const keys[] = {"name", "rule", "row_sparse", "lr_scale", NULL};
    int64_t rule;
    double scale;
    const json_t *sparse = json_object_get(entry, "row_sparse");
    if (!case_known_keys(entry, "parameter", keys, v) || !case_integer(entry, about, "rule", 0, &rule, v) ||
        !case_number(entry, about, "lr_scale", &scale, v))
        return false;
    if (rule >= n->n_rules || !json_is_boolean(sparse))
        return verdict_fail(v, "%s: parameter \"%s\" has a wrong rule or row_sparse", about, t->name);
    t->rule = &n->rules[rule];
    if (t->n == 0)
        return true;
    if (t->rule->kind == FL_RULE_ROWWISE_ADAGRAD && t->rank > 2)
        return verdict_skip(v, "row-wise rule on %s, which has %d axes", t->name, t->rank);
    fl_param *p = fl_graph_find_param(n->forward, fl_graph_find(n->forward, t->variable));
    if (!p || p->rule.kind == FL_RULE_NONE)
        return verdict_skip(v, "trained tensor %s", t->name);
    const fl_rule **first = &given[p - n->forward->params];
    if (*first && (*first != t->rule || p->lr_scale != scale || p->row_sparse != json_is_true(sparse)))
        return verdict_skip(v, "tables with different rules (%s)", t->name);
    *first = t->rule;
    p->rule = *t->rule;
    p->lr_scale = scale;
    p->l2 = 0;
    p->row_sparse = json_is_true(sparse);
    return true;
}

/* Every element of every variable must come from exactly one tensor. */
static bool check_covered(const case_network *n, verdict *v)
{
    const fl_graph *g = n->forward;
    for (uint32_t i = 0; i < g->n_params; i++) {
        const fl_value *value = &g->values[g->params[i].variable];
        int64_t covered = 0;
        for (uint32_t k = 0; k < n->n_tensors; k++)
            if (n->tensors[k].n && strcmp(n->tensors[k].variable, value->name) == 0)
                covered += n->tensors[k].n;
        if (covered != fl_type_elements(&value->type))
            return verdict_skip(v, "a network without all of %s", value->name);
    }
    return true;
}

static bool read_tensors(case_network *n, case_file *c, verdict *v)
{
    const json_t *parameters = case_member(c->about, about, "parameters", JSON_ARRAY, v);
    const json_t *buffers = parameters ? case_member(c->about, about, "buffers", JSON_ARRAY, v) : NULL, *entry;
    if (!buffers)
        return false;
    size_t n_parameters = json_array_size(parameters), i;
    n->tensors = fl_arena_new(&c->arena, case_tensor, n_parameters + json_array_size(buffers) + 1);
    const fl_rule **given = fl_arena_new(&c->arena, const fl_rule *, n->forward->n_params + 1u);
    if (c->arena.failed)
        return verdict_fail(v, "out of memory");
    json_array_foreach(parameters, i, entry) {
        const char *name = json_is_object(entry) ? case_text(entry, about, "name", v) : NULL;
        const case_array *a = name ? case_file_array(c, "tensors.bin", name, FL_FLOAT, -1, NULL, v) : NULL;
        if (!a || !place(n, c, a, &n->tensors[n->n_tensors], v) || !set_param(n, entry, &n->tensors[n->n_tensors], given, v))
            return verdict_fail(v, "%s: a parameter is wrong", about);
        n->n_tensors++;
    }
    json_array_foreach(buffers, i, entry) {
        const char *name = json_string_value(entry);
        const case_array *a = name ? case_file_array(c, "tensors.bin", name, FL_FLOAT, -1, NULL, v) : NULL;
        if (!a || !place(n, c, a, &n->tensors[n->n_tensors], v))
            return verdict_fail(v, "%s: a buffer is wrong", about);
        n->n_tensors++;
    }
    return check_covered(n, v);
}

/* The case's masks must be the graph's, by name, shape and rate. */
static bool check_masks(const case_network *n, const case_file *c, const fl_network_spec *spec, verdict *v)
{
    static const char *const keys[] = {"name", "shape", "rate", "style", NULL};
    const json_t *masks = case_member(c->about, about, "masks", JSON_ARRAY, v), *entry;
    const fl_graph *g = n->forward;
    size_t i;
    uint32_t n_inputs = 0;
    if (!masks)
        return false;
    for (uint32_t k = 0; k < g->n_inputs; k++)
        n_inputs += strncmp(g->values[g->inputs[k]].name, "mask.", 5) == 0;
    if (n_inputs != json_array_size(masks))
        return verdict_skip(v, "%zu masks where the network has %u", json_array_size(masks), n_inputs);
    json_array_foreach(masks, i, entry) {
        double rate;
        char input[200];
        const char *name = json_is_object(entry) ? case_text(entry, about, "name", v) : NULL;
        const char *style = name ? case_text(entry, about, "style", v) : NULL;
        if (!style || !case_known_keys(entry, "mask", keys, v) || !case_number(entry, about, "rate", &rate, v))
            return verdict_fail(v, "%s: a mask is wrong", about);
        snprintf(input, sizeof input, "mask.%s", name);
        if (fl_graph_find(g, input) == FL_NONE)
            return verdict_skip(v, "mask %s", name);
        bool dice = strcmp(name, "dicefactor") == 0;
        if (fabs(rate - (dice ? 1 - spec->dicefactor : spec->dropout)) > 1e-15 || strcmp(style, dice ? "dicefactor" : spec->dropout_style) != 0)
            return verdict_skip(v, "mask %s, %s at rate %g", name, style, rate);
    }
    return true;
}

bool case_network_build(case_network *n, case_file *c, verdict *v)
{
    static const char *const keys[] = {"format", "id", "description", "model", "hyper_parameters", "layout", "batch_size", "steps", "eval_rows",
                                       "loss", "rules", "parameters", "buffers", "masks", "tolerance", "id_statistics", NULL};
    fl_network_spec spec;
    fl_diag dg;
    *n = (case_network){.forward = NULL};
    if (!case_known_keys(c->about, about, keys, v) || !read_spec(&spec, c, v) || !read_layout(n, c, v) || !read_rules(n, c, v) ||
        !case_integer(c->about, about, "batch_size", 1, &n->batch_size, v) || !case_integer(c->about, about, "steps", 1, &n->steps, v) ||
        !case_integer(c->about, about, "eval_rows", 1, &n->eval_rows, v))
        return false;
    fl_diag_init(&dg);
    spec.schema = &n->schema;
    n->loss = spec.loss;
    n->loss_epsilon = spec.loss_epsilon;
    bool fine = verdict_status(v, fl_network_build(&spec, &n->forward, &dg), "the network", &dg) && read_tensors(n, c, v) &&
                check_masks(n, c, &spec, v);
    fl_diag_deinit(&dg);
    if (!fine)
        case_network_deinit(n);
    return fine;
}

void case_network_deinit(case_network *n)
{
    fl_graph_free(n->forward);
    n->forward = NULL;
}
