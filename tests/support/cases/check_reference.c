/*
 * check_reference.c -- a whole model of the reference: step 0 in training and in inference, gradients, all steps, final tensors and optimiser
 * state, evaluation and metrics.
 */
#include "case_network.h"
#include "checks.h"

#include "runtime/metrics.h"

#include <math.h>
#include <string.h>

typedef struct check {
    case_file file;
    case_network net;
    run_backend backend;
    verdict *v;
    fl_diag dg;
    model_run run, gradients; /* the case's rules; SGD that shows gradients */
    struct {
        tolerance logits, loss, grads, final, eval;
    } tolerance;
    fl_eval eval;
    fl_bucket_auc buckets;
} check;

/* ------------------------------------------------------------------------------------------------ what to expect */

static bool read_tolerances(check *c)
{
    const json_t *all = case_member(c->file.about, "case.json", "tolerance", JSON_OBJECT, c->v);
    const json_t *mine = all ? case_member(all, "tolerance", c->backend == RUN_NATIVE ? "float32" : "float64", JSON_OBJECT, c->v) : NULL;
    const struct {
        const char *key;
        tolerance *to;
    } kinds[] = {{"logits", &c->tolerance.logits}, {"loss", &c->tolerance.loss}, {"grads", &c->tolerance.grads},
                 {"final", &c->tolerance.final},   {"eval", &c->tolerance.eval}};
    for (uint32_t i = 0; mine && i < FL_COUNT(kinds); i++) {
        const json_t *entry = case_member(mine, "tolerance", kinds[i].key, JSON_OBJECT, c->v);
        if (!entry || !case_number(entry, "tolerance", "rtol", &kinds[i].to->rtol, c->v) ||
            !case_number(entry, "tolerance", "atol", &kinds[i].to->atol, c->v))
            return false;
    }
    return mine != NULL;
}

/* A list of n numbers of expected.json. */
static double *expected(check *c, const json_t *object, const char *where, const char *key, int64_t n)
{
    double *f;
    int64_t count;
    if (!case_numbers(&c->file.arena, json_object_get(object, key), key, &f, &count, c->v))
        return NULL;
    if (count != n) {
        verdict_fail(c->v, "expected.json: \"%s\" in %s has %lld numbers, not %lld", key, where, (long long)count, (long long)n);
        return NULL;
    }
    return f;
}

static bool compare_output(check *c, const char *array, fl_program p, const char *output, const double *want, int64_t n, tolerance t)
{
    const run_output *got = model_run_output(&c->run, p, output);
    if (!want)
        return false;
    if (!got || got->n != n)
        return verdict_fail(c->v, "%s: the program has no output \"%s\" of %lld numbers", array, output, (long long)n);
    return verdict_compare(c->v, array, got->f, want, n, t);
}

/* Probabilities move at most a quarter as far as their logits. */
static tolerance of_probability(tolerance t, const double *logits, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; logits && i < n; i++)
        largest = fmax(largest, fabs(logits[i]));
    return (tolerance){0, (t.atol + t.rtol * largest) / 4 + (t.rtol < 1e-8 ? 1e-15 : 6e-8)};
}

/* ------------------------------------------------------------------------------------------------------ inputs */

enum { MAX_INPUTS = 512 };

typedef struct inputs {
    run_input list[MAX_INPUTS];
    uint32_t n;
    int64_t rows;
    const double *label;
} inputs;

static run_input *next_input(check *c, inputs *in, const char *format, const char *name)
{
    char *text = fl_arena_printf(&c->file.arena, format, name);
    if (!text || in->n == MAX_INPUTS) {
        verdict_fail(c->v, "out of memory, or too many inputs");
        return NULL;
    }
    in->list[in->n] = (run_input){.name = text};
    return &in->list[in->n++];
}

static bool check_id(check *c, const case_array *a, int64_t i, uint32_t slot)
{
    int64_t id = case_array_int(a, i);
    const fl_slot *s = &c->net.schema.slots[slot];
    return (id >= s->first_id && id < s->first_id + s->rows) ||
           verdict_fail(c->v, "batches.bin: \"%s\" has id %lld, which slot \"%s\" does not have", a->name, (long long)id, s->name);
}

static bool bag_inputs(check *c, const char *set, uint32_t slot, inputs *in)
{
    char name[300];
    snprintf(name, sizeof name, "%s.slot.%u.values", set, slot);
    const case_array *values = case_file_array(&c->file, "batches.bin", name, FL_INT32, -1, NULL, c->v);
    snprintf(name, sizeof name, "%s.slot.%u.offsets", set, slot);
    const case_array *offsets = case_file_array(&c->file, "batches.bin", name, FL_INT32, 1, (int64_t[]){in->rows + 1}, c->v);
    if (!values || !offsets)
        return false;
    if (values->rank != 1)
        return verdict_fail(c->v, "batches.bin: \"%s\" is no list", values->name);
    for (int64_t b = 0; b <= in->rows; b++) {
        int64_t low = b ? case_array_int(offsets, b - 1) : 0, end = case_array_int(offsets, b);
        if (end < low || (b == 0 && end != 0) || (b == in->rows && end != values->n))
            return verdict_fail(c->v, "batches.bin: \"%s\" is wrong at %lld", offsets->name, (long long)b);
    }
    int64_t *rows = fl_arena_new(&c->file.arena, int64_t, (size_t)values->n + 1), *ends = fl_arena_new(&c->file.arena, int64_t, (size_t)offsets->n);
    run_input *to = next_input(c, in, "%s.values", c->net.schema.slots[slot].name);
    run_input *of = to ? next_input(c, in, "%s.offsets", c->net.schema.slots[slot].name) : NULL;
    if (!rows || !ends || !of)
        return verdict_fail(c->v, "out of memory");
    for (int64_t i = 0; i < values->n; i++) {
        if (!check_id(c, values, i, slot))
            return false;
        rows[i] = case_array_int(values, i) + c->net.table_row[slot];
    }
    for (int64_t b = 0; b <= in->rows; b++)
        ends[b] = case_array_int(offsets, b);
    to->rank = of->rank = 1;
    to->dims[0] = values->n;
    to->i = rows;
    of->dims[0] = offsets->n;
    of->i = ends;
    return true;
}

/* Rows of the packed table, single-valued slots side by side. */
static bool id_inputs(check *c, const char *set, inputs *in)
{
    const fl_schema *schema = &c->net.schema;
    char name[300];
    uint32_t n_single = 0, column = 0;
    snprintf(name, sizeof name, "%s.ids", set);
    const case_array *ids = case_file_array(&c->file, "batches.bin", name, FL_INT32, 2, (int64_t[]){in->rows, schema->n_slots}, c->v);
    if (!ids)
        return false;
    for (uint32_t s = 0; s < schema->n_slots; s++)
        n_single += schema->slots[s].pooling == FL_POOL_NONE;
    int64_t *rows = fl_arena_new(&c->file.arena, int64_t, (size_t)in->rows * n_single + 1);
    if (!rows)
        return verdict_fail(c->v, "out of memory");
    for (uint32_t s = 0; s < schema->n_slots; s++) {
        bool single = schema->slots[s].pooling == FL_POOL_NONE;
        for (int64_t b = 0; b < in->rows; b++) {
            int64_t at = b * schema->n_slots + s;
            if (!single && case_array_int(ids, at) != -1)
                return verdict_fail(c->v, "batches.bin: \"%s\" has an id for the multi-valued slot \"%s\"", name, schema->slots[s].name);
            if (single && !check_id(c, ids, at, s))
                return false;
            if (single)
                rows[b * n_single + column] = case_array_int(ids, at) + c->net.table_row[s];
        }
        column += single;
        if (!single && !bag_inputs(c, set, s, in))
            return false;
    }
    if (n_single == 0)
        return true;
    run_input *to = next_input(c, in, "%s", "ids");
    if (to)
        *to = (run_input){.name = to->name, .rank = 2, .dims = {in->rows, n_single}, .i = rows};
    return to != NULL;
}

static bool mask_inputs(check *c, const char *set, inputs *in)
{
    const json_t *masks = json_object_get(c->file.about, "masks"), *entry;
    size_t i;
    json_array_foreach(masks, i, entry) {
        char name[300];
        const char *mask = json_string_value(json_object_get(entry, "name"));
        const json_t *shape = json_object_get(entry, "shape");
        int rank = 1 + (int)json_array_size(shape);
        run_input *to = next_input(c, in, "mask.%s", mask);
        snprintf(name, sizeof name, "%s.mask.%s", set, mask);
        if (!to || rank > FL_MAX_RANK)
            return verdict_fail(c->v, "case.json: mask \"%s\" is wrong", mask);
        to->rank = rank;
        to->dims[0] = in->rows;
        for (int d = 1; d < rank; d++)
            to->dims[d] = json_integer_value(json_array_get(shape, (size_t)d - 1));
        const case_array *a = case_file_array(&c->file, "batches.bin", name, FL_FLOAT, rank, to->dims, c->v);
        if (!a || !(to->f = case_array_doubles(&c->file.arena, a, c->v)))
            return false;
        for (int64_t k = 0; k < a->n; k++)
            if (to->f[k] != 0 && to->f[k] != 1)
                return verdict_fail(c->v, "batches.bin: \"%s\" is neither 0 nor 1 at %lld", name, (long long)k);
    }
    return true;
}

/* Everything that a program may read, for the rows of "step.T" or "eval". */
static bool read_inputs(check *c, const char *set, int64_t rows, int64_t step, inputs *in)
{
    static const double one = 1;
    char name[300];
    int64_t *numbers = fl_arena_new(&c->file.arena, int64_t, 2);
    *in = (inputs){.rows = rows};
    snprintf(name, sizeof name, "%s.label", set);
    const case_array *label = case_file_array(&c->file, "batches.bin", name, FL_INT32, 1, &rows, c->v);
    if (!label || !numbers || !(in->label = case_array_doubles(&c->file.arena, label, c->v)))
        return false;
    for (int64_t i = 0; i < rows; i++)
        if (in->label[i] != 0 && in->label[i] != 1)
            return verdict_fail(c->v, "batches.bin: \"%s\" is neither 0 nor 1 at %lld", name, (long long)i);
    numbers[0] = step;
    in->list[in->n++] = (run_input){.name = "label", .rank = 2, .dims = {rows, 1}, .f = in->label};
    in->list[in->n++] = (run_input){.name = "step", .i = &numbers[0]};
    in->list[in->n++] = (run_input){.name = "seed", .i = &numbers[1]};
    in->list[in->n++] = (run_input){.name = "rate_factor", .f = &one};
    return id_inputs(c, set, in) && (step < 0 || mask_inputs(c, set, in));
}

/* ------------------------------------------------------------------------------------------------------ checks */

static bool set_tensors(check *c, model_run *r)
{
    for (uint32_t i = 0; i < c->net.n_tensors; i++) {
        const case_tensor *t = &c->net.tensors[i];
        const case_array *a = case_file_find(&c->file, "tensors.bin", t->name);
        double *f = case_array_doubles(&c->file.arena, a, c->v);
        if (!f)
            return false;
        if (t->n && model_run_has(r, t->variable) &&
            !verdict_status(c->v, model_run_set(r, t->variable, t->offset, t->n, f, &c->dg), t->name, &c->dg))
            return false;
    }
    return true;
}

static bool execute(check *c, model_run *r, fl_program p, const inputs *in, const char *what)
{
    return verdict_status(c->v, model_run_execute(r, p, in->list, in->n, &c->dg), what, &c->dg);
}

/* Before the first step, so that training cannot change what inference sees. */
static bool check_step0_inference(check *c, const inputs *in)
{
    const json_t *step0 = case_member(c->file.expected, "expected.json", "step0", JSON_OBJECT, c->v);
    if (!step0 || !execute(c, &c->run, FL_PROGRAM_PREDICT, in, "step0 in inference"))
        return false;
    double *logits = expected(c, step0, "step0", "infer_logits", in->rows), *probs = expected(c, step0, "step0", "infer_probs", in->rows);
    return compare_output(c, "infer_logits", FL_PROGRAM_PREDICT, "logit", logits, in->rows, c->tolerance.logits) &&
           compare_output(c, "infer_probs", FL_PROGRAM_PREDICT, "probability", probs, in->rows,
                          of_probability(c->tolerance.logits, logits, in->rows));
}

static bool check_step0_training(check *c, const inputs *in)
{
    const json_t *step0 = case_member(c->file.expected, "expected.json", "step0", JSON_OBJECT, c->v);
    double *logits = expected(c, step0, "step0", "train_logits", in->rows), *probs = expected(c, step0, "step0", "train_probs", in->rows);
    return compare_output(c, "train_logits", FL_PROGRAM_TRAIN, "logit", logits, in->rows, c->tolerance.logits) &&
           compare_output(c, "train_probs", FL_PROGRAM_TRAIN, "probability", probs, in->rows,
                          of_probability(c->tolerance.logits, logits, in->rows));
}

static bool check_gradients(check *c, const inputs *in)
{
    fl_arena *a = &c->file.arena;
    if (!execute(c, &c->gradients, FL_PROGRAM_TRAIN, in, "gradients"))
        return false;
    for (uint32_t i = 0; i < c->net.n_tensors; i++) {
        const case_tensor *t = &c->net.tensors[i];
        char array[300];
        if (!t->rule)
            continue;
        const case_array *before = case_file_find(&c->file, "tensors.bin", t->name);
        const case_array *want = case_file_array(&c->file, "grads.bin", t->name, FL_DOUBLE, before->rank, before->dims, c->v);
        double *w = want ? case_array_doubles(a, before, c->v) : NULL, *wanted = w ? case_array_doubles(a, want, c->v) : NULL;
        double *got = fl_arena_new(a, double, (size_t)t->n + 1);
        if (!wanted || !got)
            return verdict_fail(c->v, "out of memory");
        snprintf(array, sizeof array, "grads.%s", t->name);
        if (t->n && model_run_has(&c->gradients, t->variable) &&
            !verdict_status(c->v, check_get_gradient(&c->gradients, t->variable, t->offset, t->n, w, got, &c->dg), array, &c->dg))
            return false;
        if (!verdict_compare(c->v, array, got, wanted, t->n, c->tolerance.grads))
            return false;
    }
    return true;
}

/* Paddle's counters, once a step. */
static bool check_train_auc(check *c, const json_t *list, const json_t *window, const inputs *in, int64_t step)
{
    const run_output *got = model_run_output(&c->run, FL_PROGRAM_TRAIN, "probability");
    float *p = fl_arena_new(&c->file.arena, float, (size_t)in->rows), *y = fl_arena_new(&c->file.arena, float, (size_t)in->rows);
    double *auc, *batch_auc;
    int64_t n, m;
    if (!p || !y || !case_numbers(&c->file.arena, list, "train_auc.auc", &auc, &n, c->v) ||
        !case_numbers(&c->file.arena, window, "train_auc.batch_auc", &batch_auc, &m, c->v))
        return false;
    if (!got || got->n != in->rows || n != c->net.steps || m != n)
        return verdict_fail(c->v, "expected.json: \"train_auc\" has other steps than the case");
    for (int64_t i = 0; i < in->rows; i++) {
        p[i] = (float)got->f[i];
        y[i] = (float)in->label[i];
    }
    fl_bucket_auc_add(&c->buckets, p, y, in->rows);
    double now = fl_bucket_auc_global(&c->buckets), batch = fl_bucket_auc_batch(&c->buckets);
    return (verdict_compare(c->v, "train_auc.auc", &now, auc + step, 1, (tolerance){0, 1e-12}) &&
            verdict_compare(c->v, "train_auc.batch_auc", &batch, batch_auc + step, 1, (tolerance){0, 1e-12})) ||
           verdict_fail(c->v, "train_auc");
}

static bool open_buckets(check *c, const json_t *object, const char *window)
{
    int64_t thresholds, width = 1;
    if (!case_integer(object, "expected.json", "num_thresholds", 1, &thresholds, c->v) ||
        (window && !case_integer(object, "expected.json", window, 1, &width, c->v)))
        return false;
    fl_bucket_auc_deinit(&c->buckets);
    return fl_bucket_auc_init(&c->buckets, (uint32_t)thresholds, (uint32_t)width) == FL_OK || verdict_fail(c->v, "out of memory");
}

static bool check_steps(check *c, inputs *in)
{
    const json_t *auc = json_object_get(c->file.expected, "train_auc");
    double *losses = expected(c, c->file.expected, "expected.json", "losses", c->net.steps);
    double *got = fl_arena_new(&c->file.arena, double, (size_t)c->net.steps);
    if (!losses || !got || (auc && !open_buckets(c, auc, "slide_steps")))
        return false;
    for (int64_t t = 0; t < c->net.steps; t++) {
        char set[40];
        snprintf(set, sizeof set, "step.%lld", (long long)t);
        if (!read_inputs(c, set, c->net.batch_size, t, in) || !execute(c, &c->run, FL_PROGRAM_TRAIN, in, set))
            return false;
        const run_output *loss = model_run_output(&c->run, FL_PROGRAM_TRAIN, "loss");
        if (!loss || loss->n != 1)
            return verdict_fail(c->v, "the train program has no loss");
        got[t] = loss->f[0];
        if (t == 0 && !check_step0_training(c, in))
            return false;
        if (auc && !check_train_auc(c, json_object_get(auc, "auc"), json_object_get(auc, "batch_auc"), in, t))
            return false;
    }
    return verdict_compare(c->v, "losses", got, losses, c->net.steps, c->tolerance.loss);
}

/* ------------------------------------------------------------------------------------------- after the last step */

/* Our name and start of an optimiser's state; false if the rule has no state of that name. */
static bool state_name(const fl_rule *rule, const char *state, const char *variable, char *name, size_t size, double *start)
{
    static const struct {
        fl_rule_kind kind;
        const char *state, *prefix;
    } states[] = {
        {FL_RULE_MOMENTUM, "v", "momentum.v"}, {FL_RULE_ADAGRAD, "a", "adagrad.a"}, {FL_RULE_ROWWISE_ADAGRAD, "a", "adagrad.a"},
        {FL_RULE_ADAM, "m", "adam.m"},         {FL_RULE_ADAM, "v", "adam.v"},       {FL_RULE_FTRL, "z", "ftrl.z"},
        {FL_RULE_FTRL, "n", "ftrl.n"},
    };
    for (uint32_t i = 0; rule && i < FL_COUNT(states); i++) {
        if (states[i].kind != rule->kind || strcmp(states[i].state, state) != 0)
            continue;
        snprintf(name, size, "%s.%s", states[i].prefix, variable);
        *start = rule->initial_accumulator;
        return true;
    }
    return false;
}

/* One array of final.bin against elements of a variable. What the programs do not have was never touched: it is as it began. */
static bool check_final(check *c, const case_array *want, const char *variable, int64_t offset, int64_t n, const double *start)
{
    fl_arena *a = &c->file.arena;
    char array[300];
    double *wanted = case_array_doubles(a, want, c->v), *got = fl_arena_new(a, double, (size_t)n + 1);
    snprintf(array, sizeof array, "final.%s", want->name);
    if (!wanted || !got)
        return false;
    if (want->n != n)
        return verdict_fail(c->v, "final.bin: \"%s\" has %lld elements, not %lld", want->name, (long long)want->n, (long long)n);
    for (int64_t i = 0; i < n; i++)
        got[i] = start[i];
    if (n && model_run_has(&c->run, variable) &&
        !verdict_status(c->v, model_run_get(&c->run, variable, offset, n, got, &c->dg), array, &c->dg))
        return false;
    return verdict_compare(c->v, array, got, wanted, n, c->tolerance.final);
}

static const case_tensor *find_tensor(const check *c, const char *name)
{
    for (uint32_t i = 0; i < c->net.n_tensors; i++)
        if (strcmp(c->net.tensors[i].name, name) == 0)
            return &c->net.tensors[i];
    return NULL;
}

static bool check_state(check *c, const case_array *want)
{
    char name[300], state[40] = "";
    const char *dot = strchr(want->name + 6, '.'); /* behind "state." */
    const case_tensor *t = dot ? find_tensor(c, dot + 1) : NULL;
    double start;
    if (dot)
        snprintf(state, sizeof state, "%.*s", (int)(dot - want->name - 6), want->name + 6);
    if (!t || !state_name(t->rule, state, t->variable, name, sizeof name, &start))
        return verdict_fail(c->v, "final.bin: \"%s\" is no state of a rule", want->name);
    bool by_row = t->rule->kind == FL_RULE_ROWWISE_ADAGRAD;
    int64_t n = by_row ? t->rows : t->n;
    double *all = fl_arena_new(&c->file.arena, double, (size_t)n + 1);
    for (int64_t i = 0; all && i < n; i++)
        all[i] = start;
    return all ? check_final(c, want, name, by_row ? t->first_row : t->offset, n, all) : verdict_fail(c->v, "out of memory");
}

static bool check_final_values(check *c)
{
    for (uint32_t i = 0; i < c->net.n_tensors; i++) {
        const case_tensor *t = &c->net.tensors[i];
        const case_array *before = case_file_find(&c->file, "tensors.bin", t->name);
        const case_array *want = case_file_array(&c->file, "final.bin", t->name, FL_DOUBLE, before->rank, before->dims, c->v);
        double *start = want ? case_array_doubles(&c->file.arena, before, c->v) : NULL;
        if (!start || !check_final(c, want, t->variable, t->offset, t->n, start))
            return false;
    }
    for (uint32_t i = 0; i < c->file.n_arrays; i++) {
        const case_array *a = &c->file.arrays[i];
        if (strcmp(a->file, "final.bin") != 0 || find_tensor(c, a->name))
            continue;
        if (strncmp(a->name, "state.", 6) != 0)
            return verdict_fail(c->v, "final.bin: \"%s\" is no tensor of the case", a->name);
        if (!check_state(c, a))
            return false;
    }
    return true;
}

static double mean(const double *f, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += f[i];
    return sum / (double)n;
}

static bool check_mean_loss(check *c, const json_t *eval, const char *key, const char *kind, double epsilon, const inputs *in, const double *z)
{
    double want, *loss = fl_arena_new(&c->file.arena, double, (size_t)in->rows);
    char array[40];
    snprintf(array, sizeof array, "eval.%s", key);
    if (!loss || !case_number(eval, "eval", key, &want, c->v) ||
        !verdict_status(c->v, check_loss(c->backend, kind, epsilon, z, in->label, in->rows, loss, NULL, &c->dg), array, &c->dg))
        return false;
    double got = mean(loss, in->rows);
    return verdict_compare(c->v, array, &got, &want, 1, c->tolerance.eval);
}

/* The runtime's own metrics, which see logits in single precision. */
static bool check_metrics(check *c, const json_t *eval, const inputs *in, const run_output *logit, const run_output *probability)
{
    fl_arena *a = &c->file.arena;
    size_t n = (size_t)in->rows;
    float *z = fl_arena_new(a, float, n), *p = fl_arena_new(a, float, n), *y = fl_arena_new(a, float, n);
    const json_t *auc = json_object_get(eval, "auc"), *buckets = json_object_get(eval, "auc_buckets");
    double want, got;
    if (!z || !p || !y)
        return verdict_fail(c->v, "out of memory");
    for (size_t i = 0; i < n; i++) {
        z[i] = (float)logit->f[i];
        p[i] = (float)probability->f[i];
        y[i] = (float)in->label[i];
    }
    if (!verdict_status(c->v, fl_eval_add(&c->eval, z, y, in->rows), "eval", &c->dg) || !case_number(eval, "eval", "logloss", &want, c->v))
        return false;
    got = fl_eval_logloss(&c->eval);
    if (!verdict_compare(c->v, "eval.logloss (metrics)", &got, &want, 1, (tolerance){2e-5, 2e-6}))
        return false;
    if (json_is_null(auc))
        return true;
    if (!case_number(eval, "eval", "auc", &want, c->v))
        return false;
    got = fl_eval_auc(&c->eval);
    if (!verdict_compare(c->v, "eval.auc", &got, &want, 1, (tolerance){0, 1e-12}))
        return false;
    if (!json_is_object(buckets) || !open_buckets(c, buckets, NULL) || !case_number(buckets, "eval.auc_buckets", "auc", &want, c->v))
        return verdict_fail(c->v, "expected.json: \"auc_buckets\" is wrong");
    fl_bucket_auc_add(&c->buckets, p, y, in->rows);
    got = fl_bucket_auc_global(&c->buckets);
    return verdict_compare(c->v, "eval.auc_buckets", &got, &want, 1, (tolerance){0, 1e-12});
}

static bool check_eval(check *c, inputs *in)
{
    const json_t *eval = case_member(c->file.expected, "expected.json", "eval", JSON_OBJECT, c->v);
    if (!eval || !read_inputs(c, "eval", c->net.eval_rows, -1, in) || !execute(c, &c->run, FL_PROGRAM_PREDICT, in, "eval"))
        return false;
    double *logits = expected(c, eval, "eval", "logits", in->rows);
    if (!compare_output(c, "eval.logits", FL_PROGRAM_PREDICT, "logit", logits, in->rows, c->tolerance.eval))
        return false;
    const run_output *z = model_run_output(&c->run, FL_PROGRAM_PREDICT, "logit");
    const run_output *p = model_run_output(&c->run, FL_PROGRAM_PREDICT, "probability");
    return check_mean_loss(c, eval, "loss", c->net.loss, c->net.loss_epsilon, in, z->f) &&
           check_mean_loss(c, eval, "logloss", "bce", 0, in, z->f) && p && check_metrics(c, eval, in, z, p);
}

static bool check_all(check *c)
{
    inputs *in = fl_arena_new(&c->file.arena, inputs, 1);
    return in && read_tolerances(c) && set_tensors(c, &c->run) && set_tensors(c, &c->gradients) &&
           read_inputs(c, "step.0", c->net.batch_size, 0, in) && check_step0_inference(c, in) && check_gradients(c, in) &&
           check_steps(c, in) && check_final_values(c) && check_eval(c, in);
}

/* Two models: one with the case's rules, one whose step shows gradients. */
static bool open_and_check(check *c)
{
    if (!verdict_status(c->v, model_run_open(&c->run, c->net.forward, c->backend, &c->dg), "compiling", &c->dg))
        return false;
    check_set_gradient_rule(c->net.forward);
    bool fine = verdict_status(c->v, model_run_open(&c->gradients, c->net.forward, c->backend, &c->dg), "compiling", &c->dg);
    if (fine) {
        fine = check_all(c);
        model_run_close(&c->gradients);
    }
    model_run_close(&c->run);
    return fine;
}

void check_reference(const char *folder, run_backend backend, char id[200], verdict *v)
{
    check c = {.backend = backend, .v = v};
    if (!case_file_read(&c.file, folder, v))
        return;
    snprintf(id, 200, "%s", c.file.id);
    fl_diag_init(&c.dg);
    fl_eval_init(&c.eval, FL_EVAL_EXACT_ROWS);
    if (case_network_build(&c.net, &c.file, v)) {
        if (!open_and_check(&c))
            verdict_fail(v, "the check ended early");
        case_network_deinit(&c.net);
    }
    fl_eval_deinit(&c.eval);
    fl_bucket_auc_deinit(&c.buckets);
    fl_diag_deinit(&c.dg);
    case_file_deinit(&c.file);
}
