/*
 * verb_slopes.c -- gradients against differences of the loss.
 *
 * First the parameters' gradients, as training uses them. If one is wrong, a probe is added to every value in between, p / 64 with a drawn p, and
 * gradients of probes are compared from the loss backwards: the first wrong one is that of a value whose readers' rules get right gradients and hand
 * on a wrong one. Of each array a few elements are looked at: those with the largest gradients, and some at even distances.
 */
#include "frontend/verb_slopes.h"

#include "backend/trial.h"
#include "ir/graph_meta.h"
#include "passes/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 4, SPREAD = 4 };

static const double PROBE_SCALE = 0x1p-6;

typedef struct slopes {
    fl_trial *t;
    const fl_graph *g; /* with outputs "loss" and "grad.NAME" */
    double copies;     /* gradients are of so many times the loss */
    uint32_t *n_checked;
    fl_diag *dg;
} slopes;

/* Elements of a gradient worth a look, at most LARGEST + SPREAD, some perhaps twice; returns how many. */
static uint32_t choose(const fl_array *x, int64_t *element)
{
    uint32_t n = 0;
    for (int64_t k = 0; k < LARGEST && k < x->n; k++) {
        int64_t best = -1;
        for (int64_t i = 0; i < x->n; i++) {
            bool taken = false;
            for (uint32_t j = 0; j < n; j++)
                taken = taken || element[j] == i;
            if (!taken && (best < 0 || fabs(x->f[i]) > fabs(x->f[best])))
                best = i;
        }
        element[n++] = best;
    }
    for (int64_t k = 0; k < SPREAD && x->n > LARGEST; k++)
        element[n++] = k * (x->n - 1) / (SPREAD - 1);
    return n;
}

static fl_status is_wrong(slopes *s, fl_id variable, fl_id grad, bool *wrong, fl_difference *d)
{
    const fl_array *x = fl_trial_get(s->t, grad);
    fl_id loss = fl_graph_find(s->g, "loss");
    int64_t element[LARGEST + SPREAD];
    double got[LARGEST + SPREAD], largest = 0;
    *wrong = false;
    if (!x || !x->f)
        return FL_OK;
    uint32_t n = choose(x, element);
    for (uint32_t k = 0; k < n; k++) {
        got[k] = x->f[element[k]]; /* the next run takes x away */
        largest = fabs(got[k]) > largest ? fabs(got[k]) : largest;
    }
    ++*s->n_checked;
    for (uint32_t k = 0; k < n && !*wrong; k++) {
        double behind, ahead;
        FL_TRY(fl_trial_slopes(s->t, variable, element[k], loss, &behind, &ahead, s->dg));
        behind *= s->copies;
        ahead *= s->copies;
        /* Between the two, if a corner of Relu is: then they differ. */
        double low = fmin(behind, ahead), high = fmax(behind, ahead), want = (low + high) / 2;
        double tolerance = 1e-6 + 1e-4 * fmax(fabs(want), largest);
        *wrong = !(got[k] >= low - tolerance && got[k] <= high + tolerance);
        *d = (fl_difference){.element = element[k], .want = want, .got = got[k]};
    }
    return FL_OK;
}

static const char *op_of(const fl_graph *g, fl_id node)
{
    return node == FL_NONE ? "nothing" : fl_op_get(g->nodes[node].op)->name;
}

/* "NAME", which OP reads[, ...]: whose rules made the gradient. */
static fl_status report(const fl_graph *g, const char *name, const char *where, const fl_difference *d, fl_diag *dg)
{
    fl_id v = fl_graph_find(g, name), reader = FL_NONE;
    uint32_t n = 0;
    for (fl_id i = 0; v != FL_NONE && i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] == v) {
                reader = reader == FL_NONE ? i : reader;
                n += reader != i || n == 0;
            }
    fl_id y = reader == FL_NONE ? FL_NONE : g->nodes[reader].out[0];
    fl_loc loc = reader == FL_NONE ? FL_NOWHERE : g->nodes[reader].origin.loc;
    char more[48] = "";
    if (n > 1)
        snprintf(more, sizeof more, " and %u more read", n - 1);
    return fl_error(dg, FL_E_MISCOMPILED, loc, "%s: the gradient of \"%s\", which %s (\"%s\")%s%s, element %lld, is %.9g and must be %.9g", where, name,
                    op_of(g, reader), y == FL_NONE ? "" : g->values[y].name, more, n > 1 ? "" : " reads", (long long)d->element, d->got, d->want);
}

/* v, and every reader of it, gets v + probe / 64 instead. */
static void add_probe(fl_graph *g, fl_id v)
{
    char name[256];
    fl_id node = fl_value_node(g, v);
    snprintf(name, sizeof name, "probe.%.200s", g->values[v].name);
    fl_id probe = fl_graph_variable(g, fl_graph_fresh_name(g, name), g->values[v].type);
    fl_graph_param(g, (fl_param){.variable = probe, .rule = {.kind = FL_RULE_SGD}, .lr_scale = 1, .init = FL_INIT_CONSTANT});
    fl_id small = fl_build_2(g, FL_OP_MUL, "small", probe, fl_build_scalar(g, "scale", PROBE_SCALE));
    fl_id sum = fl_build_2(g, FL_OP_ADD, "probed", v, small);
    if (sum == FL_NONE)
        return;
    fl_id add = fl_value_node(g, sum);
    fl_graph_replace(g, v, sum);
    g->nodes[add].in[0] = v;
    g->nodes[add].origin = g->nodes[node].origin;
}

static fl_graph *with_probes(const fl_graph *g)
{
    fl_graph *copy = fl_graph_clone(g);
    for (fl_id i = copy ? g->n_nodes : 0; i-- > 0;) {
        const fl_node n = g->nodes[i];
        for (uint32_t k = 0; k < n.n_out; k++) {
            bool output = false;
            for (uint32_t o = 0; o < g->n_outputs; o++)
                output = output || g->outputs[o] == n.out[k];
            if (n.op != FL_OP_CONSTANT && !output && fl_trial_shows(g, n.out[k]) && g->values[n.out[k]].type.dtype == FL_FLOAT)
                add_probe(copy, n.out[k]);
        }
    }
    return copy;
}

/* The first wrong gradient among those of g's parameters from `from` on; *wrong: which parameter, or n_params. */
static fl_status first_wrong(slopes *s, uint32_t from, uint32_t *wrong, fl_difference *d)
{
    for (*wrong = from; *wrong < s->g->n_params; ++*wrong) {
        fl_id variable = s->g->params[*wrong].variable;
        char name[300];
        bool is = false;
        snprintf(name, sizeof name, "grad.%.290s", s->g->values[variable].name);
        fl_id grad = fl_graph_find(s->g, name);
        if (grad != FL_NONE)
            FL_TRY(is_wrong(s, variable, grad, &is, d));
        if (is)
            return FL_OK;
    }
    return FL_OK;
}

/* Takes g, differentiates it and looks at the gradients of its parameters from `from` on. */
static fl_status check(fl_graph *g, uint32_t from, const fl_trial_options *options, uint32_t *wrong, fl_difference *d, uint32_t *n_checked,
                       fl_diag *dg)
{
    slopes s = {.g = g, .copies = 1, .n_checked = n_checked, .dg = dg};
    fl_status status = g ? fl_graph_ok(g, dg) : fl_out_of_memory(dg);
    if (status == FL_OK)
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = "differentiate(gradients)"}, dg);
    if (status == FL_OK)
        status = fl_trial_new(g, options, &s.t, dg);
    const char *copies = g ? fl_graph_get_meta(g, "ai.flen.gradient_copies") : NULL;
    s.copies = copies ? strtod(copies, NULL) : 1;
    if (status == FL_OK)
        status = first_wrong(&s, from, wrong, d);
    fl_trial_free(s.t);
    return status;
}

fl_status fl_verify_slopes(const fl_graph *g, const fl_trial_options *options, const char *where, uint32_t *n_checked, fl_diag *dg)
{
    fl_difference d, inner;
    uint32_t wrong, probe;
    fl_graph *copy = fl_graph_clone(g);
    fl_status s = check(copy, 0, options, &wrong, &d, n_checked, dg);
    fl_graph_free(copy);
    if (s != FL_OK || wrong >= g->n_params)
        return s;
    copy = with_probes(g);
    s = check(copy, g->n_params, options, &probe, &inner, n_checked, dg);
    bool found = s == FL_OK && probe < copy->n_params;
    const char *name = found ? copy->values[copy->params[probe].variable].name + strlen("probe.") : g->values[g->params[wrong].variable].name;
    if (found) {
        inner.got /= PROBE_SCALE;
        inner.want /= PROBE_SCALE;
    }
    if (s == FL_OK)
        s = report(g, name, where, found ? &inner : &d, dg);
    fl_graph_free(copy);
    return s;
}
