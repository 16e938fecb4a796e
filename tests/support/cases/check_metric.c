/* check_metric.c -- Paddle's AUC counters and losses, case by case. */
#include "case_file.h"
#include "checks.h"

#include "runtime/metrics.h"

#include <math.h>
#include <string.h>

static float *floats(layer_case *c, const json_t *list, const char *where, int64_t *n)
{
    double *f;
    float *single = NULL;
    if (case_numbers(&c->arena, list, where, &f, n, c->v))
        single = fl_arena_new(&c->arena, float, (size_t)*n + 1);
    for (int64_t i = 0; single && i < *n; i++)
        single[i] = (float)f[i];
    return single;
}

/* Counters after the rows of one step; false with a verdict. */
static bool add_rows(layer_case *c, fl_bucket_auc *a, const json_t *step)
{
    int64_t n, m;
    float *p = floats(c, json_object_get(step, "pred"), "pred", &n), *y = floats(c, json_object_get(step, "label"), "label", &m);
    if (!p || !y || n != m)
        return verdict_fail(c->v, "\"pred\" and \"label\" do not fit");
    fl_bucket_auc_add(a, p, y, n);
    return true;
}

/* The bucket of each row: which counter moves if it comes alone. */
static bool check_buckets(layer_case *c, fl_bucket_auc *a)
{
    int64_t n, m;
    float *p = floats(c, json_object_get(c->entry, "pred"), "pred", &n), *y = floats(c, json_object_get(c->entry, "label"), "label", &m);
    double *bucket = fl_arena_new(&c->arena, double, p ? (size_t)n + 1 : 1);
    for (int64_t i = 0; p && y && bucket && n == m && i < n; i++) {
        fl_bucket_auc_clear(a);
        fl_bucket_auc_add(a, &p[i], &y[i], 1);
        (void)fl_bucket_auc_global(a); /* brings the counters up to date */
        const int64_t *counts = a->counts + (y[i] != 0 ? a->thresholds + 1 : 0);
        while (bucket[i] <= a->thresholds && counts[(int64_t)bucket[i]] == 0)
            bucket[i]++;
    }
    fl_bucket_auc_clear(a);
    return p && layer_compare(c, "buckets", json_object_get(c->entry, "buckets"), bucket, n);
}

static bool check_auc(layer_case *c, fl_bucket_auc *a)
{
    if (!check_buckets(c, a) || !add_rows(c, a, c->entry))
        return false;
    double got = fl_bucket_auc_global(a);
    return layer_compare(c, "auc", json_object_get(c->entry, "auc"), &got, 1);
}

static bool check_window(layer_case *c, fl_bucket_auc *a)
{
    const json_t *steps = case_member(c->entry, "case", "steps", JSON_ARRAY, c->v), *step;
    size_t i, n = json_array_size(steps);
    double *all = fl_arena_new(&c->arena, double, n + 1), *window = fl_arena_new(&c->arena, double, n + 1);
    if (!steps || !all || !window)
        return false;
    json_array_foreach(steps, i, step) {
        if (!add_rows(c, a, step))
            return false;
        all[i] = fl_bucket_auc_global(a);
        window[i] = fl_bucket_auc_batch(a);
    }
    return layer_compare(c, "auc", json_object_get(c->entry, "auc"), all, (int64_t)n) &&
           layer_compare(c, "batch_auc", json_object_get(c->entry, "batch_auc"), window, (int64_t)n);
}

/* Our losses read logits: that of a probability of 0 or 1 is one so large that nothing is left of the other class. */
static double logit_of(double p)
{
    return p <= 0 ? -1000 : p >= 1 ? 1000 : log(p) - log1p(-p);
}

static bool check_losses(layer_case *c, const char *kind, double epsilon)
{
    double *p, *y, *loss, *slope, *z, *want;
    int64_t n, m;
    if (!case_numbers(&c->arena, json_object_get(c->entry, "p"), "p", &p, &n, c->v) ||
        !case_numbers(&c->arena, json_object_get(c->entry, "label"), "label", &y, &m, c->v))
        return false;
    z = fl_arena_new(&c->arena, double, (size_t)n + 1);
    loss = fl_arena_new(&c->arena, double, (size_t)n + 1);
    slope = fl_arena_new(&c->arena, double, (size_t)n + 1);
    if (!z || !loss || !slope || n != m)
        return verdict_fail(c->v, "\"p\" and \"label\" do not fit");
    for (int64_t i = 0; i < n; i++)
        z[i] = logit_of(p[i]);
    if (!verdict_status(c->v, check_loss(c->backend, kind, epsilon, z, y, n, loss, NULL, &c->dg), "loss", &c->dg) ||
        !layer_compare(c, "loss", json_object_get(c->entry, "loss"), loss, n))
        return false;
    if (!json_object_get(c->entry, "dloss_dp"))
        return true;
    /*
     * Ours is the derivative in the logit: dp/dz = p (1 - p) times as large, and 0 where p is 1. At p = 0 it is taken as near as leaves
     * something of it.
     */
    if (!case_numbers(&c->arena, json_object_get(c->entry, "dloss_dp"), "dloss_dp", &want, &m, c->v) || m != n)
        return verdict_fail(c->v, "\"dloss_dp\" does not fit");
    for (int64_t i = 0; i < n; i++) {
        p[i] = fmax(p[i], 1e-15);
        z[i] = logit_of(p[i]);
        want[i] *= p[i] < 1;
    }
    if (!verdict_status(c->v, check_loss(c->backend, kind, epsilon, z, y, n, NULL, slope, &c->dg), "loss", &c->dg))
        return false;
    for (int64_t i = 0; i < n; i++)
        slope[i] /= p[i] < 1 ? p[i] * (1 - p[i]) : 1;
    return verdict_compare_each(c->v, "dloss_dp", slope, want, n, c->tolerance);
}

void check_metric(layer_case *c)
{
    static const char *const keys[] = {"id", "kind", "why", "num_thresholds", "slide_steps", "steps", "pred", "label", "buckets", "auc", "batch_auc",
                                       "p", "epsilon", "loss", "dloss_dp", NULL};
    bool auc = strcmp(c->variant, "auc") == 0, window = strcmp(c->variant, "auc_window") == 0;
    int64_t thresholds, width = 1;
    double epsilon = 0;
    fl_bucket_auc a;
    if (!case_known_keys(c->entry, "case", keys, c->v))
        return;
    if (auc || window) {
        if (!case_integer(c->entry, "case", "num_thresholds", 1, &thresholds, c->v) ||
            (window && !case_integer(c->entry, "case", "slide_steps", 1, &width, c->v)))
            return;
        if (thresholds > 1 << 24 || width > 1 << 12 || fl_bucket_auc_init(&a, (uint32_t)thresholds, (uint32_t)width) != FL_OK) {
            verdict_fail(c->v, "too many thresholds, or out of memory");
            return;
        }
        if (!(auc ? check_auc(c, &a) : check_window(c, &a)))
            verdict_fail(c->v, "the check ended early");
        fl_bucket_auc_deinit(&a);
    } else if (strcmp(c->variant, "paddle_log_loss") == 0) {
        if (case_number(c->entry, "case", "epsilon", &epsilon, c->v) && !check_losses(c, "paddle_log_loss", epsilon))
            verdict_fail(c->v, "the check ended early");
    } else if (strcmp(c->variant, "paddle_bce") == 0) {
        if (!check_losses(c, "bce_clamped", 0))
            verdict_fail(c->v, "the check ended early");
    } else {
        verdict_skip(c->v, "kind %s", c->variant);
    }
}
