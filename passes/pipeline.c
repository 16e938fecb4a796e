/*
 * pipeline.c -- runs passes: facts, verification, times, prints, reproducers. The passes themselves know nothing of these.
 */
#include "passes/pass.h"

#include "ir/base/strpool.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/text_diff.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const fl_pass passes[] = {
#define FL_PASS(name, fn, needs, keeps, what) {name, fl_pass_##fn, needs, keeps, what},
#include "passes/passes.def"
#undef FL_PASS
};

const fl_pass *fl_pass_list(uint32_t *n)
{
    *n = FL_COUNT(passes);
    return passes;
}

#define STEP "split-products,factor-gradients,lower-optimisers,fuse-linear,canonicalise,fold-constants,cse,dce"
const char *const fl_pipeline_train = "infer-types,set-mode(train),canonicalise,fold-constants,cse,dce,fuse-field-pool,fuse-interaction,distinct-rows,cse,differentiate," STEP;
const char *const fl_pipeline_step = "infer-types,lower-gradients,infer-types," STEP;
#define PREDICT(MODE)                                                                                                                \
    "infer-types,widen-halves,set-mode(" MODE "),canonicalise,fold-constants,cse,dce,fuse-field-pool,fuse-table-pool,fuse-interaction,fuse-dot-interaction,fold-batch-norm,"                 \
    "fuse-linear,canonicalise,fold-constants,cse,dce"
const char *const fl_pipeline_predict = PREDICT("predict");
const char *const fl_pipeline_predict_masked = PREDICT("predict-masked");
const char *const fl_pipeline_outline = "fuse-embedding,fuse-output";
const char *const fl_pipeline_schedule = "inline-functions,sum-tiles,segment,plan-memory";

/* ------------------------------------------------------------------------------------------ the pipeline's text */

typedef struct fl_step {
    const fl_pass *pass;
    const char *arguments;
} fl_step;

static const fl_pass *find(const char *name, size_t n)
{
    for (size_t i = 0; i < FL_COUNT(passes); i++)
        if (strlen(passes[i].name) == n && memcmp(passes[i].name, name, n) == 0)
            return &passes[i];
    return NULL;
}

static fl_status unknown(const char *name, size_t n, const char *where, fl_arena *arena, fl_diag *dg)
{
    const char *names[FL_COUNT(passes)], *word = fl_arena_strndup(arena, name, n);
    if (!word)
        return fl_out_of_memory(dg);
    for (size_t i = 0; i < FL_COUNT(passes); i++)
        names[i] = passes[i].name;
    fl_status status = fl_error(dg, FL_E_PASS, FL_NOWHERE, "%s names a pass \"%s\" that does not exist", where, word);
    const char *near = fl_nearest(word, names, FL_COUNT(names));
    if (near)
        fl_hint(dg, "did you mean \"%s\"?", near);
    return status;
}

/* "a,b(c=1),d"; spaces around names are nothing. */
static fl_status parse(const char *text, fl_arena *arena, fl_step **steps, uint32_t *n_steps, fl_diag *dg)
{
    uint32_t capacity = 0;
    for (const char *p = text; *p;) {
        p += strspn(p, " \n,");
        size_t n = strcspn(p, " \n,(");
        if (n == 0) {
            if (*p == '\0')
                break;
            return fl_error(dg, FL_E_PASS, FL_NOWHERE, "the pipeline has arguments without a pass in front: \"%s\"", p);
        }
        fl_step s = {find(p, n), ""};
        if (!s.pass)
            return unknown(p, n, "the pipeline", arena, dg);
        p += n;
        if (*p == '(') {
            size_t length = strcspn(++p, ")");
            if (p[length] != ')')
                return fl_error(dg, FL_E_PASS, FL_NOWHERE, "the arguments of \"%s\" have no closing parenthesis", s.pass->name);
            s.arguments = fl_arena_strndup(arena, p, length);
            p += length + 1;
        }
        if (!s.arguments || !FL_PUSH(arena, *steps, *n_steps, capacity, s))
            return fl_out_of_memory(dg);
        p += strspn(p, " \n");
        if (*p != '\0' && *p != ',')
            return fl_error(dg, FL_E_PASS, FL_NOWHERE, "expected a comma after \"%s\", found \"%s\"", s.pass->name, p);
    }
    return FL_OK;
}

static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ",")) {
        p += strspn(p, " ,");
        if (strncmp(p, name, n) == 0 && (p[n] == '\0' || p[n] == ',' || p[n] == ' '))
            return true;
    }
    return false;
}

/* Names in the other options must be passes, too: a typing error would silently do nothing. */
static fl_status check_names(const char *list, const char *option, fl_arena *arena, fl_diag *dg)
{
    for (const char *p = list; p && *p;) {
        p += strspn(p, " ,");
        size_t n = strcspn(p, " ,");
        if (n > 0 && !find(p, n) && !(n == 3 && memcmp(p, "all", 3) == 0))
            return unknown(p, n, option, arena, dg);
        p += n;
    }
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------------- one pass */

typedef struct pass_runner {
    fl_graph *g;
    const fl_pipeline_options *o;
    fl_diag *diag;
    const fl_step *steps;
    uint32_t n_steps;
    uint32_t facts;
    bool broken; /* the verifier refused what a pass left: a bug of ours */
} pass_runner;

static fl_status establish(pass_runner *r, uint32_t needs)
{
    if (needs & FL_FACT_SHAPES)
        needs |= FL_FACT_ORDER;
    if (needs & ~r->facts & FL_FACT_ORDER)
        FL_TRY(fl_graph_sort(r->g, r->diag));
    if (needs & ~r->facts & FL_FACT_SHAPES)
        FL_TRY(fl_shape_infer(r->g, r->diag));
    r->facts |= needs;
    return FL_OK;
}

static fl_status print(const pass_runner *r, const char *when, const char *pass)
{
    fl_print_options p = {.types = true};
    if (!r->o->log)
        return FL_OK;
    fprintf(r->o->log, "# %s %s\n", when, pass);
    return fl_graph_print(r->g, &p, r->o->log, r->diag);
}

/* The graph's text in malloc'ed memory; NULL if out of memory. */
static char *text_of(const fl_graph *g)
{
    fl_print_options p = {.types = true};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    bool ok = out && fl_graph_print(g, &p, out, NULL) == FL_OK;
    ok = out && fclose(out) == 0 && ok;
    if (!ok) {
        free(text);
        return NULL;
    }
    return text;
}

static fl_status print_change(const pass_runner *r, const char *pass, const char *before)
{
    fl_arena scratch;
    char *after = text_of(r->g);
    fl_arena_init(&scratch);
    fprintf(r->o->log, "# changed by %s\n", pass);
    bool ok = before && after && fl_text_diff(before, after, 1, &scratch, r->o->log);
    fl_arena_deinit(&scratch);
    free(after);
    return ok ? FL_OK : fl_out_of_memory(r->diag);
}

static bool wanted(const char *option, const char *pass)
{
    return option && (strcmp(option, "all") == 0 || listed(option, pass));
}

static void count(const fl_graph *g, uint32_t *nodes, uint32_t *values)
{
    *nodes = *values = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        *nodes += g->nodes[i].op != FL_OP_NOP;
    for (uint32_t i = 0; i < g->n_values; i++)
        *values += g->values[i].name != NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* What a pass makes comes from it; from what (origin.from) it says itself. Nodes that came with the graph have a place alone. */
static void mark_origins(fl_graph *g, const char *pass)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        fl_origin *o = &g->nodes[i].origin;
        if (!o->pass && (o->from || !o->loc.file))
            o->pass = pass;
    }
}

static bool verifies(const fl_pipeline_options *o)
{
#ifdef NDEBUG
    return o->verify_each;
#else
    (void)o;
    return true;
#endif
}

/* `before` is the graph's text before the pass, if what it changes is to be printed. */
static fl_status run_pass(pass_runner *r, const fl_step *s, const char *before)
{
    const fl_pass *pass = s->pass;
    fl_pass_ctx cx = {.diag = r->diag, .arguments = s->arguments};
    uint32_t nodes_before, values_before, nodes_after, values_after;
    FL_TRY(establish(r, pass->needs));
    if (wanted(r->o->print_before, pass->name))
        FL_TRY(print(r, "before", pass->name));
    count(r->g, &nodes_before, &values_before);
    fl_arena_init(&cx.scratch);
    double start = now();
    fl_status status = pass->run(r->g, &cx);
    double time = now() - start;
    fl_arena_deinit(&cx.scratch);
    if (status == FL_OK)
        status = fl_graph_ok(r->g, r->diag);
    FL_TRY(status);
    mark_origins(r->g, pass->name);
    if (cx.n_changed > 0)
        r->facts &= pass->keeps;
    if (verifies(r->o)) {
        status = establish(r, FL_FACT_ORDER | FL_FACT_SHAPES);
        if (status == FL_OK)
            status = fl_graph_verify(r->g, r->diag);
        r->broken = status == FL_BAD_INPUT;
        FL_TRY(status);
    }
    count(r->g, &nodes_after, &values_after);
    if (r->o->log && r->o->time_passes)
        fprintf(r->o->log, "%-18s %9.3f ms\n", pass->name, time);
    if (r->o->log && r->o->stats)
        fprintf(r->o->log, "%-18s %5u changes, nodes %u -> %u, values %u -> %u\n", pass->name, cx.n_changed, nodes_before, nodes_after,
                values_before, values_after);
    if (wanted(r->o->print_after, pass->name))
        FL_TRY(print(r, "after", pass->name));
    return before && cx.n_changed > 0 ? print_change(r, pass->name, before) : FL_OK;
}

/* The graph as it was before the failing pass, with the passes from there on. `flenc opt --run-reproducer` reads it. */
static void write_reproducer(const pass_runner *r, const char *before, const fl_step *s)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    if (r->o->reproducer)
        snprintf(path, sizeof path, "%s", r->o->reproducer);
    else
        snprintf(path, sizeof path, "%s/flenc-%s-%ld.onnxtxt", folder ? folder : "/tmp", s->pass->name, (long)getpid());
    FILE *out = fopen(path, "w");
    if (!out) {
        fl_hint(r->diag, "the reproducer \"%s\" cannot be written", path);
        return;
    }
    fputs("# flenc " FLEN_VERSION ", reproducer: flenc opt --run-reproducer FILE\n# RUN: flenc opt --passes=", out);
    for (const fl_step *step = s; step < r->steps + r->n_steps; step++)
        if (step == s || !listed(r->o->disable, step->pass->name))
            fprintf(out, step->arguments[0] ? "%s%s(%s)" : "%s%s", step == s ? "" : ",", step->pass->name, step->arguments);
    fprintf(out, "\n%s", before);
    if (fclose(out) == 0)
        fl_hint(r->diag, "the graph before the pass is in \"%s\"; --run-reproducer runs it again", path);
}

static fl_status run_and_reproduce(pass_runner *r, const fl_step *s)
{
    bool compares = r->o->print_after_change && r->o->log;
    /* Kept as a graph: its text may be long (imported weights), and is wanted only if the pass fails. */
    fl_graph *kept = !compares && (r->o->reproducer || verifies(r->o)) ? fl_graph_clone(r->g) : NULL;
    char *before = compares ? text_of(r->g) : NULL;
    fl_status status = run_pass(r, s, before);
    if (status != FL_OK) {
        fl_hint(r->diag, "in pass \"%s\"", s->pass->name);
        bool wanted = r->o->reproducer || r->broken;
        if (wanted && !before && kept)
            before = text_of(kept);
        if (wanted && before)
            write_reproducer(r, before, s);
    }
    fl_graph_free(kept);
    free(before);
    return status;
}

fl_status fl_pipeline_run(fl_graph *g, const fl_pipeline_options *options, fl_diag *dg)
{
    pass_runner r = {.g = g, .o = options, .diag = dg};
    fl_arena arena;
    fl_step *steps = NULL;
    uint32_t n_steps = 0;
    fl_arena_init(&arena);
    fl_status status = parse(options->passes, &arena, &steps, &n_steps, dg);
    const char *lists[] = {options->disable, options->stop_after, options->print_before, options->print_after};
    const char *names[] = {"--disable", "--stop-after", "--print-before", "--print-after"};
    for (size_t i = 0; i < FL_COUNT(lists) && status == FL_OK; i++)
        status = check_names(lists[i], names[i], &arena, dg);
    r.steps = steps;
    r.n_steps = n_steps;
    for (uint32_t i = 0; i < n_steps && status == FL_OK; i++) {
        if (listed(options->disable, steps[i].pass->name))
            continue;
        status = run_and_reproduce(&r, &steps[i]);
        if (options->stop_after && strcmp(options->stop_after, steps[i].pass->name) == 0)
            break;
    }
    if (status == FL_OK)
        status = establish(&r, FL_FACT_ORDER | FL_FACT_SHAPES);
    fl_arena_deinit(&arena);
    return status;
}
