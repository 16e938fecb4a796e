/*
 * Random graphs through random lists of passes: each pass is verified, values stay what the interpreter computes for the graph before (or, for what
 * differentiation adds, what it computes after the shortest list that differentiates), and every graph prints, reads back and prints the same.
 *
 * FLEN_RANDOM_SEED, FLEN_RANDOM_GRAPHS: where to start (1) and how many (1000). A failure prints its seed, the passes and the graph.
 */
#include "tests/support/random_graph.h"
#include "tests/support/random_values.h"

#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct trial {
    uint64_t seed;
    char passes[400];
    fl_graph *g; /* after the base passes */
    fl_diag dg;
} trial;

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static char *print(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_int_equal(fl_graph_print(g, &(fl_print_options){.types = true}, out, NULL), FL_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void give_up(trial *t, const char *what)
{
    char *text = print(t->g);
    fprintf(stderr, "seed %llu: %s\npasses: %s\n%s\n", (unsigned long long)t->seed, what, t->passes, text);
    fl_diag_print(&t->dg, stderr, "passes", NULL, NULL);
    free(text);
    fail();
}

/* NULL: not every operator has a gradient, and that is said. */
static fl_graph *copy_through(trial *t, const fl_graph *g, const char *passes)
{
    fl_graph *copy = fl_graph_clone(g);
    assert_non_null(copy);
    fl_status s = fl_pipeline_run(copy, &(fl_pipeline_options){.passes = passes, .verify_each = true}, &t->dg);
    if (s == FL_OK)
        return copy;
    fl_graph_free(copy);
    if (s != FL_UNSUPPORTED || t->dg.entries[0].code != FL_E_GRADIENT)
        give_up(t, "a pass failed");
    fl_diag_clear(&t->dg);
    return NULL;
}

static void compare_arrays(trial *t, const char *name, const fl_array *x, const fl_array *y)
{
    char what[300];
    if (!x || !y || x->n != y->n) {
        snprintf(what, sizeof what, "\"%s\" has another shape", name);
        give_up(t, what);
    }
    for (int64_t k = 0; k < x->n; k++) {
        double a = x->f ? x->f[k] : (double)x->i[k], b = y->f ? y->f[k] : (double)y->i[k];
        if (isfinite(a) && fabs(a - b) <= 1e-7 * (1 + fabs(a)))
            continue;
        snprintf(what, sizeof what, "\"%s\"[%lld] is %.17g before and %.17g after", name, (long long)k, a, b);
        give_up(t, what);
    }
}

static void compare(trial *t, const fl_graph *before, const fl_graph *after, int64_t batch)
{
    fl_interp *x = NULL, *y = NULL;
    if (random_run(before, t->seed, batch, &x, &t->dg) != FL_OK || random_run(after, t->seed, batch, &y, &t->dg) != FL_OK)
        give_up(t, "the interpreter failed");
    if (before->n_outputs != after->n_outputs || before->n_updates != after->n_updates)
        give_up(t, "outputs or updates were lost");
    for (uint32_t i = 0; i < before->n_outputs; i++) {
        const char *name = before->values[before->outputs[i]].name;
        if (strcmp(name, after->values[after->outputs[i]].name) != 0)
            give_up(t, "an output lost its name");
        compare_arrays(t, name, fl_interp_get(x, before->outputs[i]), fl_interp_get(y, after->outputs[i]));
    }
    for (uint32_t i = 0; i < before->n_updates; i++) {
        const char *name = before->values[before->updates[i].variable].name;
        fl_id v = fl_graph_find(after, name);
        if (v == FL_NONE)
            give_up(t, "a variable was lost");
        compare_arrays(t, name, fl_interp_get(x, before->updates[i].variable), fl_interp_get(y, v));
    }
    fl_interp_free(x);
    fl_interp_free(y);
}

static void round_trip(trial *t, const fl_graph *g)
{
    char *first = print(g);
    fl_graph *back = NULL;
    fl_status s = fl_graph_parse(first, strlen(first), "first", &back, &t->dg);
    if (s == FL_OK)
        s = fl_shape_infer(back, &t->dg);
    if (s == FL_OK)
        s = fl_graph_verify(back, &t->dg);
    if (s != FL_OK)
        give_up(t, "the printed graph is not read");
    char *second = print(back);
    if (strcmp(first, second) != 0) {
        fprintf(stderr, "first:\n%s\nsecond:\n%s\n", first, second);
        give_up(t, "the graph does not print as it was read");
    }
    fl_graph_free(back);
    free(first);
    free(second);
}

/* A list of up to 8 of the words. */
static void draw_passes(random_builder *b, trial *t, const char *first, const char *const *words, uint32_t n, const char *last)
{
    int at = snprintf(t->passes, sizeof t->passes, "%s", first);
    for (uint32_t i = random_below(b, 9); i > 0; i--)
        at += snprintf(t->passes + at, sizeof t->passes - (size_t)at, "%s%s", at ? "," : "", words[random_below(b, n)]);
    snprintf(t->passes + at, sizeof t->passes - (size_t)at, "%s%s", at && *last ? "," : "", last);
}

/* Prediction: what the graph computes after set-mode(predict), whatever passes follow; then cut and placed. */
static void predict(random_builder *b, trial *t)
{
    static const char *const words[] = {"infer-types", "canonicalise", "fold-constants", "cse", "dce", "fuse-field-pool",
                                        "fuse-interaction", "fuse-linear", "fold-batch-norm", "fold-tables",     "fuse-embedding", "fuse-output", "inline-functions"};
    fl_graph *forward = t->g, *base = copy_through(t, forward, "set-mode(predict)");
    t->g = base;
    draw_passes(b, t, "", words, FL_COUNT(words), "");
    fl_graph *after = copy_through(t, base, t->passes);
    compare(t, base, after, 1 + random_below(b, 9));
    round_trip(t, after);
    fl_graph *scheduled = copy_through(t, after, fl_pipeline_schedule);
    round_trip(t, scheduled);
    fl_graph_free(scheduled);
    fl_graph_free(after);
    fl_graph_free(base);
    t->g = forward;
}

/* Training: passes before and after differentiation against differentiation alone. */
static bool train(random_builder *b, trial *t)
{
    static const char *const early[] = {"canonicalise", "fold-constants", "cse", "dce", "fuse-field-pool", "fuse-interaction"};
    static const char *const late[] = {"infer-types", "canonicalise", "fold-constants", "cse", "dce", "lower-optimisers", "fuse-linear"};
    static const char *const plain = "set-mode(train),distinct-rows,differentiate";
    char before[400];
    snprintf(t->passes, sizeof t->passes, "%s", plain);
    fl_graph *base = copy_through(t, t->g, plain);
    if (!base)
        return false;
    draw_passes(b, t, "set-mode(train)", early, FL_COUNT(early), "distinct-rows,cse,differentiate");
    snprintf(before, sizeof before, "%s", t->passes);
    draw_passes(b, t, before, late, FL_COUNT(late), "");
    fl_graph *after = copy_through(t, t->g, t->passes);
    if (!after)
        give_up(t, "passes took a gradient away");
    compare(t, base, after, 2 + random_below(b, 7));
    round_trip(t, after);
    fl_graph_free(after);
    fl_graph_free(base);
    return true;
}

static void graphs_survive_passes(void **state)
{
    uint64_t first = number_from("FLEN_RANDOM_SEED", 1), n = number_from("FLEN_RANDOM_GRAPHS", 1000);
    uint32_t trained = 0;
    (void)state;
    print_message("seeds %llu to %llu\n", (unsigned long long)first, (unsigned long long)(first + n - 1));
    for (uint64_t seed = first; seed < first + n; seed++) {
        trial t = {.seed = seed};
        random_builder b = {.state = seed};
        fl_diag_init(&t.dg);
        t.g = random_graph(seed, 10 + random_below(&b, 40));
        assert_non_null(t.g);
        if (fl_graph_verify(t.g, &t.dg) != FL_OK)
            give_up(&t, "the generator made a graph that is not valid");
        round_trip(&t, t.g);
        predict(&b, &t);
        trained += seed % 2 == 0 && train(&b, &t);
        fl_graph_free(t.g);
        fl_diag_deinit(&t.dg);
    }
    print_message("%u of them differentiated\n", trained);
    assert_true(n < 100 || trained > n / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(graphs_survive_passes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
