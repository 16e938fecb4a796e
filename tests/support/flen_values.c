/*
 * flen_values.c -- flen-values [--fewer] [--tolerance=T] BEFORE AFTER: do two graphs compute the same?
 *
 * Both texts run on the interpreter, on the same random inputs, for batches of 1, 3 and 8 rows; outputs and updated variables of one name
 * must agree to T * (1 + |x|) (default 1e-12: the interpreter computes in double) and be finite. Each output and update of BEFORE must be one
 * of AFTER and the other way round; --fewer: AFTER may have fewer, but not none. A line for each difference; exit 0 same, 1 different, 2 wrong usage.
 */
#include "tests/support/random_values.h"

#include "frontend/compile.h"
#include "ir/shape.h"

#include <math.h>
#include <stdio.h>

typedef struct comparison {
    const fl_graph *before, *after;
    const fl_interp *x, *y;
    double tolerance;
    bool fewer;
    uint32_t n_compared, n_different;
} comparison;

static void differ(comparison *c, const char *what, const char *name)
{
    printf("%s: %s\n", name, what);
    c->n_different++;
}

static void compare_arrays(comparison *c, const char *name, const fl_array *x, const fl_array *y)
{
    c->n_compared++;
    if (!x || !y || x->n != y->n || x->rank != y->rank || memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) != 0) {
        differ(c, "shapes differ", name);
        return;
    }
    for (int64_t k = 0; k < x->n; k++) {
        double a = x->f ? x->f[k] : (double)x->i[k], b = y->f ? y->f[k] : (double)y->i[k];
        if (isfinite(a) && fabs(a - b) <= c->tolerance * (1 + fabs(a)))
            continue;
        printf("%s[%lld]: %.17g before, %.17g after\n", name, (long long)k, a, b);
        c->n_different++;
        return;
    }
}

static bool has_output(const fl_graph *g, fl_id v)
{
    for (uint32_t k = 0; k < g->n_outputs; k++)
        if (g->outputs[k] == v)
            return true;
    return false;
}

static bool has_update(const fl_graph *g, fl_id v)
{
    for (uint32_t k = 0; k < g->n_updates; k++)
        if (g->updates[k].variable == v)
            return true;
    return false;
}

static void compare_value(comparison *c, fl_id v, bool (*has)(const fl_graph *g, fl_id v))
{
    const char *name = c->before->values[v].name;
    fl_id w = fl_graph_find(c->after, name);
    if (w != FL_NONE && has(c->after, w))
        compare_arrays(c, name, fl_interp_get(c->x, v), fl_interp_get(c->y, w));
    else if (!c->fewer)
        differ(c, "missing after", name);
}

static void compare(comparison *c)
{
    for (uint32_t k = 0; k < c->before->n_outputs; k++)
        compare_value(c, c->before->outputs[k], has_output);
    for (uint32_t k = 0; k < c->before->n_updates; k++)
        compare_value(c, c->before->updates[k].variable, has_update);
    for (uint32_t k = 0; k < c->after->n_outputs; k++) {
        const char *name = c->after->values[c->after->outputs[k]].name;
        fl_id v = fl_graph_find(c->before, name);
        if (v == FL_NONE || !has_output(c->before, v))
            differ(c, "missing before", name);
    }
    if (c->after->n_updates > c->before->n_updates)
        differ(c, "updates more variables than before", c->after->name);
}

static fl_status run(const char *before, const char *after, comparison *c, fl_diag *dg)
{
    fl_source a = {0}, b = {0};
    fl_status s = fl_source_read(before, NULL, 0, &a, dg);
    bool first = s == FL_OK, second = false;
    if (s == FL_OK)
        s = fl_source_read(after, NULL, 0, &b, dg);
    second = s == FL_OK;
    if (s == FL_OK)
        s = fl_shape_infer(a.graph, dg);
    if (s == FL_OK)
        s = fl_shape_infer(b.graph, dg);
    static const int64_t batches[] = {1, 3, 8};
    for (size_t k = 0; k < FL_COUNT(batches) && s == FL_OK; k++) {
        fl_interp *x = NULL, *y = NULL;
        s = random_run(a.graph, k + 1, batches[k], &x, dg);
        if (s == FL_OK)
            s = random_run(b.graph, k + 1, batches[k], &y, dg);
        *c = (comparison){a.graph, b.graph, x, y, c->tolerance, c->fewer, c->n_compared, c->n_different};
        if (s == FL_OK)
            compare(c);
        fl_interp_free(x);
        fl_interp_free(y);
    }
    if (first)
        fl_source_deinit(&a);
    if (second)
        fl_source_deinit(&b);
    return s;
}

int main(int argc, char **argv)
{
    comparison c = {.tolerance = 1e-12};
    const char *path[2];
    int n = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--fewer") == 0)
            c.fewer = true;
        else if (strncmp(argv[i], "--tolerance=", 12) == 0)
            c.tolerance = strtod(argv[i] + 12, NULL);
        else if (n < 2)
            path[n++] = argv[i];
        else
            n = 3;
    }
    if (n != 2 || c.tolerance < 0) {
        fputs("usage: flen-values [--fewer] [--tolerance=T] BEFORE AFTER\n", stderr);
        return 2;
    }
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = run(path[0], path[1], &c, &dg);
    fl_diag_print(&dg, stderr, "flen-values", NULL, NULL);
    fl_diag_deinit(&dg);
    if (s == FL_OK && c.n_compared == 0)
        printf("nothing was compared\n");
    return s != FL_OK || c.n_different > 0 || c.n_compared == 0;
}
