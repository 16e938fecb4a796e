/*
 * check_model.c -- variant model_scalar_weights: the paper's network without linear term and hidden layer, its MLP on the slots, one row, Paddle's
 * log loss. Built by the frontend.
 */
#include "case_file.h"
#include "checks.h"

#include "frontend/network.h"

#include <string.h>

enum { MAX_SLOTS = 64 };

typedef struct small_model {
    layer_case *c;
    fl_schema schema;
    fl_slot slots[MAX_SLOTS];
    fl_field fields[MAX_SLOTS];
    fl_network_spec spec;
    int64_t ids[MAX_SLOTS];
    double label;
} small_model;

/* Names of the case's arrays in our network. */
static const struct tensor {
    const char *key, *variable;
} tensors[] = {{"table", "table"},   {"r_mf", "fwbi.r_mf"}, {"r_fm", "fwbi.r_fm"}, {"W0", "mlp.0.w"}, {"b0", "mlp.0.b"},
               {"W1", "mlp.1.w"},    {"b1", "mlp.1.b"},     {"wo", "out.w"},       {"bo", "out.b"}};

static bool read_schema(small_model *m)
{
    layer_case *c = m->c;
    const json_t *fields = case_member(c->input, "input", "ids", JSON_ARRAY, c->v), *ids, *id;
    int64_t rows = (int64_t)json_array_size(json_object_get(c->input, "table"));
    static const char *const names[] = {"a", "b"};
    size_t f, i;
    if (!fields)
        return false;
    if (json_array_size(fields) > MAX_SLOTS)
        return verdict_skip(c->v, "more than %d fields", MAX_SLOTS);
    json_array_foreach(fields, f, ids) {
        json_array_foreach(ids, i, id) {
            uint32_t s = m->schema.n_slots;
            if (s == MAX_SLOTS)
                return verdict_skip(c->v, "more than %d slots", MAX_SLOTS);
            if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= rows)
                return verdict_fail(c->v, "input: an id that is no row of the table");
            m->ids[s] = json_integer_value(id);
            m->slots[s] = (fl_slot){.name = names[s & 1], .field = (uint32_t)f, .rows = rows};
            m->schema.n_slots++;
        }
    }
    m->schema.slots = m->slots;
    m->schema.fields = m->fields;
    m->schema.n_fields = (uint32_t)json_array_size(fields);
    m->schema.table_rows = rows;
    return true;
}

static bool build(small_model *m, fl_graph **out)
{
    layer_case *c = m->c;
    fl_network_spec *s = &m->spec;
    fl_network_preset(s, "flen");
    s->schema = &m->schema;
    s->linear = FL_LINEAR_NONE;
    s->hidden = false;
    s->out_bias = true;
    s->mlp = FL_MLP_SLOTS;
    s->mlp_steps = (fl_steps){{FL_STEP_RELU}, 1};
    s->n_widths = 2;
    s->widths[0] = (int64_t)json_array_size(json_object_get(c->input, "b0"));
    s->widths[1] = (int64_t)json_array_size(json_object_get(c->input, "b1"));
    s->loss = "paddle_log_loss";
    s->loss_epsilon = 1e-4;
    if (!case_integer(c->input, "input", "K", 1, &s->k, c->v) || !case_number(c->input, "input", "label", &m->label, c->v))
        return false;
    if (s->widths[0] < 1 || s->widths[1] < 1)
        return verdict_fail(c->v, "input: \"b0\" or \"b1\" is empty");
    return verdict_status(c->v, fl_network_build(s, out, &c->dg), "the network", &c->dg);
}

static bool start_of(small_model *m, const struct tensor *t, double **f, int64_t *n)
{
    return case_numbers(&m->c->arena, json_object_get(m->c->input, t->key), t->key, f, n, m->c->v);
}

static bool execute(small_model *m, model_run *r, fl_program p)
{
    layer_case *c = m->c;
    static const double one = 1;
    const run_input in[] = {{.name = "ids", .rank = 2, .dims = {1, m->schema.n_slots}, .i = m->ids},
                            {.name = "label", .rank = 2, .dims = {1, 1}, .f = &m->label},
                            {.name = "rate_factor", .f = &one}};
    for (uint32_t i = 0; i < FL_COUNT(tensors); i++) {
        double *f;
        int64_t n;
        if (!start_of(m, &tensors[i], &f, &n))
            return false;
        if (model_run_has(r, tensors[i].variable) &&
            !verdict_status(c->v, model_run_set(r, tensors[i].variable, 0, n, f, &c->dg), tensors[i].key, &c->dg))
            return false;
    }
    return verdict_status(c->v, model_run_execute(r, p, in, FL_COUNT(in), &c->dg), "running", &c->dg);
}

static bool compare(small_model *m, const model_run *r, fl_program p, const char *output, const char *array)
{
    const run_output *got = model_run_output(r, p, output);
    const json_t *want = json_object_get(m->c->expect, array);
    if (!want)
        return true;
    return got ? layer_compare(m->c, array, want, got->f, got->n) : verdict_fail(m->c->v, "%s: the program has no \"%s\"", array, output);
}

/* Interaction and layers, given out by a graph that is not fused. */
static bool check_values(small_model *m, const fl_graph *forward)
{
    static const char *const values[][2] = {{"fwbi", "h"}, {"h0", "mlp.0.relu"}, {"h1", "mlp.1.relu"}};
    layer_case *c = m->c;
    model_run r;
    fl_graph *g = fl_graph_clone(forward);
    if (!g)
        return verdict_fail(c->v, "out of memory");
    for (uint32_t i = 0; i < FL_COUNT(values); i++)
        if (fl_graph_find(g, values[i][1]) != FL_NONE)
            fl_graph_output(g, fl_graph_find(g, values[i][1]));
    bool fine = verdict_status(c->v, model_run_open_graph(&r, g, "infer-types,cse,dce", c->backend, &c->dg), "compiling", &c->dg);
    fl_graph_free(g);
    if (!fine)
        return false;
    fine = execute(m, &r, FL_PROGRAM_PREDICT);
    for (uint32_t i = 0; fine && i < FL_COUNT(values); i++)
        fine = compare(m, &r, FL_PROGRAM_PREDICT, values[i][1], values[i][0]);
    model_run_close(&r);
    return fine;
}

static bool check_gradients(small_model *m, const model_run *r)
{
    layer_case *c = m->c;
    const json_t *grad = json_object_get(c->expect, "grad");
    for (uint32_t i = 0; i < FL_COUNT(tensors); i++) {
        const json_t *want = json_object_get(grad, tensors[i].key);
        char array[100];
        double *f, *got;
        int64_t n;
        if (!want)
            continue;
        snprintf(array, sizeof array, "grad.%s", tensors[i].key);
        if (!start_of(m, &tensors[i], &f, &n) || !(got = fl_arena_new(&c->arena, double, (size_t)n + 1)))
            return false;
        if (!verdict_status(c->v, check_get_gradient(r, tensors[i].variable, 0, n, f, got, &c->dg), array, &c->dg) ||
            !layer_compare(c, array, want, got, n))
            return false;
    }
    return true;
}

static bool check_training(small_model *m, fl_graph *forward)
{
    layer_case *c = m->c;
    model_run r;
    double slope, bce, z;
    check_set_gradient_rule(forward);
    if (!verdict_status(c->v, model_run_open(&r, forward, c->backend, &c->dg), "compiling", &c->dg))
        return false;
    bool fine = execute(m, &r, FL_PROGRAM_PREDICT) && compare(m, &r, FL_PROGRAM_PREDICT, "logit", "logit") &&
                compare(m, &r, FL_PROGRAM_PREDICT, "probability", "prob") && execute(m, &r, FL_PROGRAM_TRAIN) &&
                compare(m, &r, FL_PROGRAM_TRAIN, "loss", "paddle_log_loss") && check_gradients(m, &r);
    if (fine) {
        z = model_run_output(&r, FL_PROGRAM_TRAIN, "logit")->f[0];
        fine = verdict_status(c->v, check_loss(c->backend, "paddle_log_loss", 1e-4, &z, &m->label, 1, NULL, &slope, &c->dg), "loss", &c->dg) &&
               verdict_status(c->v, check_loss(c->backend, "bce", 0, &z, &m->label, 1, &bce, NULL, &c->dg), "loss", &c->dg) &&
               layer_compare(c, "dloss_dlogit", json_object_get(c->expect, "dloss_dlogit"), &slope, 1) &&
               layer_compare(c, "bce", json_object_get(c->expect, "bce"), &bce, 1);
    }
    model_run_close(&r);
    return fine;
}

/* One step of the rule that the variant's definition names. */
static bool check_step(small_model *m, fl_graph *forward, const char *array, fl_rule rule)
{
    layer_case *c = m->c;
    const json_t *want = json_object_get(c->expect, array);
    model_run r;
    double *after;
    int64_t n;
    if (!want)
        return true;
    for (uint32_t i = 0; i < forward->n_params; i++)
        if (forward->params[i].rule.kind != FL_RULE_NONE)
            forward->params[i].rule = rule;
    if (!case_numbers(&c->arena, want, array, &after, &n, c->v) ||
        !verdict_status(c->v, model_run_open(&r, forward, c->backend, &c->dg), "compiling", &c->dg))
        return false;
    bool fine = execute(m, &r, FL_PROGRAM_TRAIN) && verdict_status(c->v, model_run_get(&r, "out.w", 0, n, after, &c->dg), array, &c->dg) &&
                layer_compare(c, array, want, after, n);
    model_run_close(&r);
    return fine;
}

void check_model(layer_case *c)
{
    static const char *const keys[] = {"fwbi", "h0", "h1", "logit", "prob", "bce", "paddle_log_loss", "dloss_dlogit", "grad", "wo_after_adam",
                                       "wo_after_adagrad", NULL};
    small_model m = {.c = c};
    fl_graph *g = NULL;
    bool fine = case_known_keys(c->expect, "expect", keys, c->v) && read_schema(&m) && build(&m, &g) && check_values(&m, g) &&
                check_training(&m, g) &&
                check_step(&m, g, "wo_after_adam", (fl_rule){.kind = FL_RULE_ADAM, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}) &&
                check_step(&m, g, "wo_after_adagrad",
                           (fl_rule){.kind = FL_RULE_ADAGRAD, .lr = 0.04, .initial_accumulator = 1e-3, .epsilon = 1e-6});
    fl_graph_free(g);
    if (!fine)
        verdict_fail(c->v, "the check ended early");
}
