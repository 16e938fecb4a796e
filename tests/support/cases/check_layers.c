/* check_layers.c -- a file of layer and metric cases: its cases one by one, its tolerances. */
#include "case_file.h"
#include "checks.h"

#include <math.h>
#include <string.h>

/* Of an array of any depth. */
static double largest(const json_t *list)
{
    double most = fabs(json_number_value(list));
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
        most = fmax(most, largest(item));
    return most;
}

/*
 * The file names two kinds of exceptions: "float32_exception": "ID: rtol R on ARRAY ...", where single precision cannot do better, and
 * "ID.ARRAY": "rtol R, atol A ...", where the stored numbers are not better. ARRAY stands for everything that begins with it.
 */
static tolerance tolerance_of(const layer_case *c, const char *array)
{
    tolerance t = c->tolerance;
    const char *key, *text = json_string_value(json_object_get(c->exceptions, "float32_exception"));
    char id[80], of[80];
    double rtol, atol;
    json_t *value;
    if (c->backend == RUN_NATIVE && text && sscanf(text, "%79[^:]: rtol %lf on %79s", id, &rtol, of) == 3 && strcmp(id, c->id) == 0) {
        if (strncmp(array, of, strlen(of)) == 0)
            t.rtol = rtol;
        else if (strcmp(array, "out") == 0) /* has the array as a summand */
            t.atol += rtol * largest(json_object_get(c->expect, of));
        else if (strncmp(array, "grad.", 5) == 0) /* differences f - e: as good as single precision holds f */
            t.atol += 0x1p-24 * largest(json_object_get(c->expect, "field_sums"));
    }
    json_object_foreach((json_t *)(uintptr_t)c->exceptions, key, value) {
        size_t n = strlen(c->id);
        if (strncmp(key, c->id, n) == 0 && key[n] == '.' && strncmp(array, key + n + 1, strlen(key + n + 1)) == 0 &&
            json_is_string(value) && sscanf(json_string_value(value), "rtol %lf, atol %lf", &rtol, &atol) == 2) {
            t.rtol = fmax(t.rtol, rtol);
            t.atol = fmax(t.atol, atol);
        }
    }
    return t;
}

bool layer_compare(layer_case *c, const char *array, const json_t *want, const double *got, int64_t n)
{
    double *f;
    int64_t count;
    if (!case_numbers(&c->arena, want, array, &f, &count, c->v))
        return false;
    if (count != n)
        return verdict_fail(c->v, "%s: %lld numbers are expected, there are %lld", array, (long long)count, (long long)n);
    return verdict_compare_each(c->v, array, got, f, n, tolerance_of(c, array));
}

static bool known_variant(const char *variant)
{
    static const char *const known[] = {"core", "core_batch", "core_table", "mf_only", "dicefactor_fm", "paper_hidden", "paddlerec185"};
    for (uint32_t i = 0; i < FL_COUNT(known); i++)
        if (strcmp(known[i], variant) == 0)
            return true;
    return false;
}

static void check_one(layer_case *c, bool metric)
{
    c->variant = case_text(c->entry, "case", metric ? "kind" : "variant", c->v);
    if (!c->variant || metric) {
        if (c->variant)
            check_metric(c);
        return;
    }
    c->input = case_member(c->entry, "case", "input", JSON_OBJECT, c->v);
    c->expect = c->input ? case_member(c->entry, "case", "expect", JSON_OBJECT, c->v) : NULL;
    if (!c->expect)
        return;
    if (strcmp(c->variant, "model_scalar_weights") == 0)
        check_model(c);
    else if (known_variant(c->variant))
        check_layer(c);
    else
        verdict_skip(c->v, "variant %s", c->variant);
}

static void check_list(const json_t *list, bool metric, const layer_case *common, check_report_fn *report, void *arg)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry) {
        verdict v = {CASE_PASSED, ""};
        layer_case c = *common;
        const char *id = json_string_value(json_object_get(entry, "id"));
        c.entry = entry;
        c.id = id ? id : "without an id";
        c.v = &v;
        fl_arena_init(&c.arena);
        fl_diag_init(&c.dg);
        if (!id)
            verdict_fail(&v, "a case is no object with an \"id\"");
        else
            check_one(&c, metric);
        fl_diag_deinit(&c.dg);
        fl_arena_deinit(&c.arena);
        report(arg, c.id, &v);
    }
}

bool check_layers(const char *path, run_backend backend, check_report_fn *report, void *arg, verdict *v)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    int64_t schema;
    layer_case common = {.backend = backend};
    if (!root)
        return verdict_fail(v, "line %d: %s", error.line, error.text);
    const json_t *cases = NULL, *metrics = NULL, *mine = NULL;
    if (!json_is_object(root))
        verdict_fail(v, "no JSON object");
    else if (case_integer(root, "file", "schema", 0, &schema, v) && schema != 1)
        verdict_fail(v, "schema %lld", (long long)schema);
    else if ((common.exceptions = case_member(root, "file", "tolerance", JSON_OBJECT, v)) &&
             (mine = case_member(common.exceptions, "tolerance", backend == RUN_NATIVE ? "float32" : "float64", JSON_OBJECT, v)) &&
             case_number(mine, "tolerance", "rtol", &common.tolerance.rtol, v) &&
             case_number(mine, "tolerance", "atol", &common.tolerance.atol, v) && (cases = case_member(root, "file", "cases", JSON_ARRAY, v)))
        metrics = case_member(root, "file", "metric_cases", JSON_ARRAY, v);
    if (metrics) {
        check_list(cases, false, &common, report, arg);
        check_list(metrics, true, &common, report, arg);
    }
    json_decref(root);
    return v->outcome == CASE_PASSED;
}
