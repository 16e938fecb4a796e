/*
 * verb_verify.c -- `flenc verify`: does every pass, and the generated code, compute what the interpreter does for the graph that was given?
 *
 * Passes are compared one after another, before and after; the first value in the order of the graph that has a new number names the node. What
 * `differentiate` adds has no before: it is compared with differences of the loss (verb_slopes.h). Native code
 * is compared as it is compiled; if it differs, the program is compiled again with every value as an output, and the first one that differs
 * names the node. If none does then, it is the fused or placed form that is wrong, and the output is named.
 */
#include "frontend/verbs.h"

#include "backend/backend.h"
#include "backend/trial.h"
#include "frontend/verb_graph.h"
#include "frontend/verb_peer.h"
#include "frontend/verb_rows.h"
#include "frontend/verb_slopes.h"
#include "ir/base/bytes.h"
#include "passes/pass.h"
#include "runtime/memory.h"
#include "runtime/native.h"

#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    fl_graph_request request;
    const char *batch, *seed, *tolerance, *save, *against, *cpu, *data, *memory;
    bool each_pass, quiet;
    fl_trial_options trial;
    fl_rows rows; /* of --data */
    double n_tolerance;
    uint32_t n_checked;
} arguments;

static const char usage[] =
    "usage: flenc verify X [--data=PATH] [--each-pass] [--batch=N] [--seed=N] [--tolerance=T] [--cpu=LEVEL] [--save=FILE] [--max-memory=SIZE] [--quiet]\n"
    "       flenc verify X --against=Y [--batch=N] [--seed=N] [--tolerance=T]\n"
    "Compiles X (a configuration, an ONNX file, a graph text, or a model.bin's source) and compares: values after each pass with those before\n"
    "it, on the interpreter, and native code with the interpreter, for N rows (5) drawn from a seed (1). Large tables that\n"
    "are only looked up are cut to 4096 rows. Reports the first pass and the first node whose values differ by more than\n"
    "T * (1 + |value|) (5e-5; passes 1e-7). Gradients are compared with differences of the loss.\n"
    "  --data=PATH   the first N rows (64) of PATH, read by the configuration's schema, in place of drawn ones, and a model.bin's weights\n"
    "  --each-pass   native code once more with each pass switched off in turn\n"
    "  --against=Y   compares the graphs X and Y as they are, by the names of their values\n"
    "  --against=onnxruntime   the predict program as `flenc export` writes it, unoptimised and optimised, in ONNX Runtime, if $FLEN_PYTHON (python3) has it\n"
    "  --cpu=LEVEL   x86-64-v2, v3 or v4, at most this machine's (v3)\n"
    "  --max-memory=SIZE   that a run's values may take (K, M, G); default: what is free\n"
    "  --save=FILE   what differs, as a graph that shows it: with the passes before it, or the node alone and its inputs\n";

static const char *place_of(const fl_graph *g, fl_id v, char text[64])
{
    const fl_origin *o = &g->values[v].origin;
    fl_id node = fl_value_node(g, v);
    if (!o->loc.file && node != FL_NONE)
        o = &g->nodes[node].origin;
    if (o->loc.file && o->loc.line)
        snprintf(text, 64, ", from %.40s:%u", o->loc.file, o->loc.line);
    else
        text[0] = '\0';
    return text;
}

static fl_status differs(const char *where, const fl_graph *g, fl_id v, const fl_difference *d, fl_diag *dg)
{
    char place[64];
    fl_id node = fl_value_node(g, v);
    const char *op = node == FL_NONE ? "no node" : fl_op_get(g->nodes[node].op)->name;
    if (d->shape)
        return fl_error(dg, FL_E_MISCOMPILED, FL_NOWHERE, "%s: \"%s\" (%s%s) has another shape", where, g->values[v].name, op, place_of(g, v, place));
    return fl_error(dg, FL_E_MISCOMPILED, FL_NOWHERE, "%s: \"%s\" (%s%s), element %lld, is %.9g and must be %.9g", where, g->values[v].name, op,
                    place_of(g, v, place), (long long)d->element, d->got, d->want);
}

/* With the line that `flenc opt --run-reproducer` looks for, if there are passes. */
static void save(const arguments *a, const fl_graph *g, const char *passes, fl_diag *dg)
{
    fl_output out;
    if (!a->save || !g || fl_output_open(&out, a->save, dg) != FL_OK)
        return;
    if (passes)
        fprintf(out.stream, "# RUN: flenc opt --passes=%s\n", passes);
    fl_print_options options = {.types = true};
    if (fl_output_close(&out, fl_graph_print(g, &options, out.stream, dg), dg) == FL_OK)
        fl_hint(dg, "\"%s\" shows it", a->save);
}

/* ---------------------------------------------------------------------------------------------- two graphs, by names */

/* The first node of `after` whose value `before` has by that name, and otherwise; FL_NONE if none. Outputs and updates must be there. */
static fl_id first_difference(const fl_graph *before, const fl_trial *x, const fl_graph *after, const fl_trial *y, double tolerance,
                              fl_difference *d)
{
    for (fl_id i = 0; i < after->n_nodes; i++) {
        for (uint32_t k = 0; k < after->nodes[i].n_out; k++) {
            fl_id w = after->nodes[i].out[k], v = w == FL_NONE ? FL_NONE : fl_graph_find(before, after->values[w].name);
            if (v == FL_NONE || before->values[v].kind != FL_VALUE_NODE || !fl_trial_shows(before, v))
                continue;
            fl_difference found;
            if (fl_trial_differs(x, v, y, w, tolerance, &found) && !found.shape) { /* another shape: another value of that name */
                *d = found;
                return w;
            }
        }
    }
    for (uint32_t i = 0; i < after->n_outputs; i++) {
        fl_id w = after->outputs[i], v = fl_graph_find(before, after->values[w].name);
        if (v != FL_NONE && fl_trial_differs(x, v, y, w, tolerance, d))
            return w;
    }
    for (uint32_t i = 0; i < after->n_updates; i++) {
        fl_id w = after->updates[i].variable, v = fl_graph_find(before, after->values[w].name);
        for (uint32_t k = 0; k < before->n_updates; k++)
            if (before->updates[k].variable == v && fl_trial_differs(x, v, y, w, tolerance, d))
                return after->updates[i].next;
    }
    return FL_NONE;
}

/* Do outputs or updates that both have differ at all? Values in between may change their meaning with their name. */
static bool results_differ(const fl_graph *before, const fl_trial *x, const fl_graph *after, const fl_trial *y, double tolerance)
{
    fl_difference d;
    for (uint32_t i = 0; i < after->n_outputs; i++) {
        fl_id v = fl_graph_find(before, after->values[after->outputs[i]].name);
        if (v != FL_NONE && fl_trial_shows(before, v) && fl_trial_differs(x, v, y, after->outputs[i], tolerance, &d))
            return true;
    }
    for (uint32_t i = 0; i < after->n_updates; i++)
        for (uint32_t k = 0; k < before->n_updates; k++)
            if (strcmp(before->values[before->updates[k].variable].name, after->values[after->updates[i].variable].name) == 0 &&
                fl_trial_differs(x, before->updates[k].variable, y, after->updates[i].variable, tolerance, &d))
                return true;
    return false;
}

static fl_status compare_graphs(arguments *a, const fl_graph *before, const fl_graph *after, double tolerance, const char *where,
                                const char *passes, fl_diag *dg)
{
    fl_trial *x = NULL, *y = NULL;
    fl_difference d = {0};
    fl_status s = fl_trial_new(before, &a->trial, &x, dg);
    if (s == FL_OK)
        s = fl_trial_new(after, &a->trial, &y, dg);
    if (s == FL_OK && results_differ(before, x, after, y, tolerance)) {
        fl_id w = first_difference(before, x, after, y, tolerance, &d);
        s = differs(where, after, w, &d, dg);
        save(a, before, passes, dg);
    }
    fl_trial_free(x);
    fl_trial_free(y);
    a->n_checked++;
    return s;
}

/* ------------------------------------------------------------------------------------------------------------ passes */

/* Pass after pass on a copy of `forward`. set-mode(train) gives layers another meaning than the interpreter's: there the comparison starts anew. */
static fl_status verify_passes(arguments *a, const fl_graph *forward, const char *program, const char *pipeline, fl_diag *dg)
{
    fl_graph *g = fl_graph_clone(forward);
    fl_status s = fl_graph_ok(g, dg);
    for (const char *p = pipeline; s == FL_OK && *p;) {
        size_t n = 0;
        for (int depth = 0; p[n] && (p[n] != ',' || depth > 0); n++)
            depth += (p[n] == '(') - (p[n] == ')');
        char pass[256], where[320];
        snprintf(pass, sizeof pass, "%.*s", (int)n, p);
        p += n + (p[n] == ',');
        snprintf(where, sizeof where, "%s: after pass %s", program, pass);
        fl_graph *before = fl_graph_clone(g);
        s = fl_graph_ok(before, dg);
        if (s == FL_OK)
            s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = pass}, dg);
        if (s == FL_OK && strcmp(pass, "set-mode(train)") != 0)
            s = compare_graphs(a, before, g, 1e-7, where, pass, dg);
        if (s == FL_OK && strcmp(pass, "differentiate") == 0) {
            s = fl_verify_slopes(before, &a->trial, where, &a->n_checked, dg);
            if (s == FL_FAILED)
                save(a, before, pass, dg);
        }
        fl_graph_free(before);
    }
    fl_graph_free(g);
    return s;
}

/* ------------------------------------------------------------------------------------------------------- native code */

typedef struct native_options {
    const char *cpu;
    uint64_t max_bytes;
} native_options;

static fl_status native_engine(void *arg, const fl_graph *g, const fl_store *store, fl_engine **out, fl_diag *dg)
{
    const native_options *o = arg;
    void *bytes = NULL;
    size_t n = 0;
    fl_image *image = NULL;
    FL_TRY(fl_compile(g, o->cpu, &bytes, &n, dg));
    fl_status s = fl_image_load_bytes(bytes, n, g->name, &image, dg);
    free(bytes);
    return s == FL_OK ? fl_native_engine_new(g, store, image, &(fl_native_options){.max_bytes = o->max_bytes}, out, dg) : s;
}

/* The scheduled form of `g`, all of whose values are outputs if `open`; NULL (reported) on failure. */
static fl_graph *scheduled(const fl_graph *g, bool open, fl_diag *dg)
{
    fl_graph *copy = fl_graph_clone(g);
    if (fl_graph_ok(copy, dg) != FL_OK) {
        fl_graph_free(copy);
        return NULL;
    }
    if (open) {
        copy->n_outputs = 0;
        for (fl_id i = 0; i < copy->n_nodes; i++)
            for (uint32_t k = 0; k < copy->nodes[i].n_out; k++)
                if (copy->nodes[i].op != FL_OP_CONSTANT && fl_trial_shows(copy, copy->nodes[i].out[k]))
                    fl_graph_output(copy, copy->nodes[i].out[k]);
    }
    if (fl_graph_ok(copy, dg) == FL_OK && fl_pipeline_run(copy, &(fl_pipeline_options){.passes = fl_pipeline_schedule}, dg) == FL_OK)
        return copy;
    fl_graph_free(copy);
    return NULL;
}

/* Runs g as native code beside the interpreter; *wrong is the first value that differs. A node that is wrong is saved. */
static fl_status run_native(arguments *a, const fl_graph *g, bool open, fl_id *wrong, fl_difference *d, const char *where, fl_diag *dg)
{
    fl_graph *copy = scheduled(g, open, dg);
    fl_trial *t = NULL;
    char cpu[32];
    const char *level = a->cpu ? a->cpu : "v3";
    snprintf(cpu, sizeof cpu, level[0] == 'v' ? "x86-64-%s" : "%s", level);
    fl_status s = copy ? fl_trial_new(copy, &a->trial, &t, dg) : dg->n_errors ? FL_UNSUPPORTED : FL_FAILED;
    if (s == FL_OK)
        s = fl_trial_run(t, native_engine, &(native_options){cpu, a->trial.max_bytes}, a->n_tolerance, wrong, d, dg);
    if (s == FL_OK && *wrong != FL_NONE && open) {
        s = differs(where, copy, *wrong, d, dg);
        fl_graph *alone = fl_value_node(copy, *wrong) == FL_NONE ? NULL : fl_trial_isolate(t, fl_value_node(copy, *wrong));
        save(a, alone, NULL, dg);
        fl_graph_free(alone);
    }
    if (s == FL_OK && *wrong != FL_NONE && !open) /* by name: ids are those of the copy */
        *wrong = fl_graph_find(g, copy->values[*wrong].name);
    fl_trial_free(t);
    fl_graph_free(copy);
    a->n_checked++;
    return s;
}

static fl_status verify_native(arguments *a, const fl_graph *g, const char *where, fl_diag *dg)
{
    fl_id wrong = FL_NONE, inside = FL_NONE;
    fl_difference d = {0}, deep = {0};
    FL_TRY(run_native(a, g, false, &wrong, &d, where, dg));
    if (wrong == FL_NONE)
        return FL_OK;
    FL_TRY(run_native(a, g, true, &inside, &deep, where, dg));
    fl_status s = differs(where, g, wrong, &d, dg);
    fl_hint(dg, "every node is right when all values are outputs: its fused or placed form is wrong");
    save(a, g, fl_pipeline_schedule, dg);
    return s;
}

static fl_status verify_programs(arguments *a, const fl_graph *forward, fl_diag *dg)
{
    static const fl_program checked[] = {FL_PROGRAM_PREDICT, FL_PROGRAM_PROLOGUE, FL_PROGRAM_TRAIN, FL_PROGRAM_FOLDED, FL_PROGRAM_FOLDING};
    fl_graph *programs[FL_N_PROGRAMS];
    fl_status s = FL_OK;
    FL_TRY(fl_build_programs(forward, FL_STAGE_OPTIMISED, programs, dg));
    for (size_t i = 0; i < FL_COUNT(checked) && s == FL_OK; i++) {
        char where[64];
        snprintf(where, sizeof where, "%s: native code", fl_program_name(checked[i]));
        if (programs[checked[i]])
            s = verify_native(a, programs[checked[i]], where, dg);
    }
    fl_programs_free(programs);
    return s;
}

/* Native code of `pipeline` without each of its passes; those without which there is no program are passed over. */
static fl_status verify_each(arguments *a, const fl_graph *forward, const char *program, const char *pipeline, fl_diag *dg)
{
    static const char *const needed[] = {"infer-types", "set-mode", "distinct-rows", "differentiate", "lower-optimisers"};
    uint32_t n;
    const fl_pass *passes = fl_pass_list(&n);
    for (uint32_t i = 0; i < n; i++) {
        bool skip = strstr(pipeline, passes[i].name) == NULL;
        for (size_t k = 0; k < FL_COUNT(needed); k++)
            skip = skip || strcmp(passes[i].name, needed[k]) == 0;
        if (skip)
            continue;
        char where[128];
        snprintf(where, sizeof where, "%s: native code without %s", program, passes[i].name);
        fl_graph *g = fl_graph_clone(forward);
        fl_status s = fl_graph_ok(g, dg);
        if (s == FL_OK)
            s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = pipeline, .disable = passes[i].name}, dg);
        if (s == FL_OK)
            s = verify_native(a, g, where, dg);
        fl_graph_free(g);
        if (s == FL_UNSUPPORTED) { /* the pass lowers what native code lacks */
            fl_diag_clear(dg);
            s = FL_OK;
        }
        FL_TRY(s);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------------ the verb */

/* What the trials compute on: rows and weights that there are, or drawn ones; of large tables only what they look up. */
static fl_status choose_values(arguments *a, fl_input *in, fl_diag *dg)
{
    if (!a->data)
        return fl_trial_cut(&in->graph, 1, dg);
    FL_TRY(fl_rows_read(in, a->data, a->trial.batch, &a->rows, dg));
    FL_TRY(fl_rows_attach_weights(in, dg));
    a->trial.batch = a->rows.batch.n;
    a->trial.given = a->rows.given;
    a->trial.n_given = a->rows.n_given;
    a->trial.table_rows = a->rows.table_rows;
    return fl_trial_keep(in->graph, a->rows.given, a->rows.n_given, &a->trial.table_rows, dg);
}

/* The predict program as it is exported, and with the functions of fused operators, in ONNX Runtime. */
static fl_status verify_peer(arguments *a, fl_diag *dg)
{
    static const char *const stages[] = {"forward", "optimised"};
    fl_input in;
    fl_graph *programs[FL_N_PROGRAMS] = {NULL};
    a->request.stage = "forward";
    FL_TRY(fl_input_read(&a->request, &in, dg));
    fl_status s = choose_values(a, &in, dg);
    if (s == FL_OK)
        s = fl_build_programs(in.graph, FL_STAGE_FORWARD, programs, dg);
    for (size_t i = 0; s == FL_OK && i < FL_COUNT(stages); i++) {
        fl_graph *g = programs[FL_PROGRAM_PREDICT];
        fl_id differs_at = FL_NONE;
        fl_difference d = {0};
        char where[64];
        snprintf(where, sizeof where, "predict, %s: ONNX Runtime", stages[i]);
        if (i > 0)
            s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict}, dg);
        if (s == FL_OK)
            s = fl_peer_run(g, &a->trial, a->n_tolerance, &differs_at, &d, dg);
        if (s == FL_OK && differs_at != FL_NONE) {
            s = differs(where, g, differs_at, &d, dg);
            save(a, g, NULL, dg);
        }
        a->n_checked++;
    }
    fl_programs_free(programs);
    fl_rows_deinit(&a->rows);
    fl_input_deinit(&in);
    return s;
}

static fl_status verify(arguments *a, fl_diag *dg)
{
    fl_input in, other;
    if (a->against && strcmp(a->against, "onnxruntime") == 0)
        return verify_peer(a, dg);
    if (a->against) {
        fl_graph_request second = {.input = a->against};
        FL_TRY(fl_input_read(&a->request, &in, dg));
        fl_status s = fl_input_read(&second, &other, dg);
        if (s == FL_OK) {
            s = fl_trial_cut((fl_graph *[]){in.graph, other.graph}, 2, dg);
            if (s == FL_OK)
                s = compare_graphs(a, in.graph, other.graph, a->tolerance ? a->n_tolerance : 1e-7, a->against, NULL, dg);
            fl_input_deinit(&other);
        }
        fl_input_deinit(&in);
        return s;
    }
    a->request.stage = "forward"; /* of a model.bin: what it was compiled from */
    FL_TRY(fl_input_read(&a->request, &in, dg));
    bool trained = in.graph->n_params > 0 && fl_graph_find(in.graph, "loss") != FL_NONE;
    fl_status s = choose_values(a, &in, dg);
    char predict[1024];
    snprintf(predict, sizeof predict, "%s,%s,inline-functions", fl_pipeline_predict, fl_pipeline_outline);
    if (s == FL_OK)
        s = verify_passes(a, in.graph, "predict", predict, dg);
    if (s == FL_OK && trained)
        s = verify_passes(a, in.graph, "train", fl_pipeline_train, dg);
    if (s == FL_OK)
        s = verify_programs(a, in.graph, dg);
    if (s == FL_OK && a->each_pass)
        s = verify_each(a, in.graph, "predict", fl_pipeline_predict, dg);
    if (s == FL_OK && a->each_pass && trained)
        s = verify_each(a, in.graph, "train", fl_pipeline_train, dg);
    fl_rows_deinit(&a->rows);
    fl_input_deinit(&in);
    return s;
}

static int run(void *arg, int argc, char **argv)
{
    arguments *a = arg;
    const fl_verb_option options[] = {
        {"--batch", &a->batch, NULL}, {"--seed", &a->seed, NULL},       {"--tolerance", &a->tolerance, NULL},  {"--save", &a->save, NULL},
        {"--cpu", &a->cpu, NULL},     {"--against", &a->against, NULL}, {"--data", &a->data, NULL},            {"--max-memory", &a->memory, NULL},
        {"--each-pass", NULL, &a->each_pass}, {"--quiet", NULL, &a->quiet}};
    int status = fl_verb_arguments(argc, argv, options, FL_COUNT(options), &a->request);
    char *ends[3] = {"", "", ""};
    if (status)
        return status;
    a->trial.batch = a->batch ? strtoll(a->batch, &ends[0], 10) : a->data ? 64 : 5;
    a->trial.seed = a->seed ? strtoull(a->seed, &ends[1], 10) : 1;
    a->n_tolerance = a->tolerance ? strtod(a->tolerance, &ends[2]) : 5e-5;
    int64_t memory = 0;
    bool sized = !a->memory || fl_parse_size(a->memory, 1, &memory);
    a->trial.max_bytes = a->memory ? (uint64_t)memory : fl_memory_available();
    if (!sized) {
        fprintf(stderr, "flenc: error: --max-memory takes a size with K, M or G, not \"%s\" [E0002]\n", a->memory);
        return 2;
    }
    if (!a->request.input || *ends[0] || *ends[1] || *ends[2] || a->trial.batch < 1 || a->trial.batch > 1 << 20 || !(a->n_tolerance >= 0)) {
        fputs("flenc: error: verify needs an input, and numbers for --batch, --seed and --tolerance [E0002]\n", stderr);
        return 2;
    }
    if (a->data && a->against && strcmp(a->against, "onnxruntime") != 0) {
        fputs("flenc: error: --against compares two graphs on drawn values, not on --data [E0002]\n", stderr);
        return 2;
    }
    if (a->request.stage || a->request.program) {
        fputs("flenc: error: verify looks at all stages and programs [E0002]\n", stderr);
        return 2;
    }
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = verify(a, &dg);
    if (s == FL_OK && !a->quiet && a->data)
        printf("%s: %u comparisons on %lld rows of %s, nothing differs\n", a->request.input, a->n_checked, (long long)a->trial.batch, a->data);
    else if (s == FL_OK && !a->quiet)
        printf("%s: %u comparisons, nothing differs\n", a->request.input, a->n_checked);
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    return fl_status_exit(s);
}

int fl_verb_verify(int argc, char **argv)
{
    arguments a = {.quiet = false};
    return fl_verb_frame(argc, argv, usage, &a.request, run, &a);
}
