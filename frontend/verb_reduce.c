/*
 * verb_reduce.c -- `flenc reduce FILE --test CMD`: the smallest graph that still fails.
 *
 * Nodes are taken away in runs of half, a quarter, ... of the graph, down to one: what others read of them becomes an input of the same name and type.
 * Outputs, updates and parameters go the same way, and where an operand of a node can stand for its result, it does. What nobody needs any more falls
 * with them. A smaller graph is kept if CMD, run with
 * its file, still exits with status 0. (Zeller and Hildebrandt's delta debugging, 2002, on nodes.)
 */
#include "frontend/verbs.h"

#include "frontend/verb_graph.h"
#include "passes/pass.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct arguments {
    fl_graph_request request;
    const char *output, *test;
    bool quiet;
} arguments;

typedef struct reducer {
    const arguments *a;
    fl_graph *g;        /* the smallest that still fails */
    char path[512];     /* of candidates */
    char *head;         /* comment lines in front of the graph, such as a reproducer's pipeline */
    uint32_t n_tests;
    fl_diag *dg;
} reducer;

static const char usage[] =
    "usage: flenc reduce X --test CMD [-o FILE] [--stage=S] [--program=P] [--quiet]\n"
    "Makes the graph of X (see `flenc dump --help`) smaller as long as CMD succeeds, and prints it. CMD is run by the shell with the name of a graph\n"
    "text behind it, or in the place of $1, and exits with status 0 if that graph still shows what is looked for:\n"
    "  flenc reduce wrong.onnxtxt --test 'flenc verify --quiet $1 2>&1 | grep -q E0253'\n"
    "Comment lines in front of a graph text, such as a reproducer's pipeline, stay in front.\n";

static fl_status write_graph(const reducer *r, const fl_graph *g, FILE *out, fl_diag *dg)
{
    fl_print_options options = {.types = true};
    if (r->head)
        fputs(r->head, out);
    return fl_graph_print(g, &options, out, dg);
}

/* Does the test still succeed? A shell that cannot be run is an error. */
static fl_status passes_test(reducer *r, const fl_graph *g, bool *still)
{
    char *command = NULL;
    int status = 0;
    pid_t child;
    FILE *out = fopen(r->path, "w");
    if (!out)
        return fl_error(r->dg, FL_E_OPEN, FL_FILE(r->path), "cannot be written: %s", strerror(errno));
    fl_status s = write_graph(r, g, out, r->dg);
    if (fclose(out) != 0 && s == FL_OK)
        s = fl_error(r->dg, FL_E_WRITE, FL_FILE(r->path), "could not be written: %s", strerror(errno));
    FL_TRY(s);
    if (asprintf(&command, strstr(r->a->test, "$1") ? "%s" : "%s \"$1\"", r->a->test) < 0)
        return fl_out_of_memory(r->dg);
    char *argv[] = {"sh", "-c", command, "sh", r->path, NULL};
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        (void)posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO); /* standard output is the result's */
        error = posix_spawnp(&child, "sh", &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(command);
    if (error != 0)
        return fl_error(r->dg, FL_E_TOOL, FL_NOWHERE, "the test cannot be run: %s", strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fl_error(r->dg, FL_E_TOOL, FL_NOWHERE, "the test was lost: %s", strerror(errno));
    r->n_tests++;
    *still = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return fl_error(r->dg, FL_E_INTERRUPTED, FL_NOWHERE, "the test was interrupted");
    return FL_OK;
}

/* Keep `candidate` if it is well formed, has fewer nodes if it must, and the test says so; takes it. */
static fl_status try_graph(reducer *r, fl_graph *candidate, bool fewer_nodes, bool *kept)
{
    *kept = false;
    if (!candidate)
        return fl_out_of_memory(r->dg);
    fl_status s = fl_graph_ok(candidate, r->dg);
    if (s == FL_OK && (fl_pipeline_run(candidate, &(fl_pipeline_options){.passes = "dce"}, NULL) != FL_OK || candidate->n_outputs == 0)) {
        fl_graph_free(candidate); /* not every part of a graph can go: that is no mistake */
        return FL_OK;
    }
    if (s == FL_OK) {
        fl_graph_compact(candidate);
        if (!fewer_nodes || candidate->n_nodes < r->g->n_nodes)
            s = passes_test(r, candidate, kept);
    }
    if (*kept && s == FL_OK) {
        fl_graph_free(r->g);
        r->g = candidate;
    } else {
        fl_graph_free(candidate);
    }
    return s;
}

/* Without nodes [from, from + n): what is read of them is an input now. */
static fl_graph *without_nodes(const fl_graph *g, fl_id from, uint32_t n)
{
    fl_graph *copy = fl_graph_clone(g);
    for (fl_id i = from; copy && i < from + n && i < copy->n_nodes && !copy->arena.failed; i++) {
        for (uint32_t k = 0; k < copy->nodes[i].n_out; k++) {
            fl_id v = copy->nodes[i].out[k];
            if (v == FL_NONE || copy->nodes[i].op == FL_OP_CONSTANT)
                continue;
            fl_value *value = &copy->values[v];
            value->kind = FL_VALUE_INPUT;
            value->node = FL_NONE;
            (void)FL_PUSH(&copy->arena, copy->inputs, copy->n_inputs, copy->inputs_capacity, v);
        }
        if (copy->nodes[i].op != FL_OP_CONSTANT)
            copy->nodes[i] = (fl_node){.op = FL_OP_NOP};
    }
    /* an output that is an input now says nothing */
    uint32_t kept = 0;
    for (uint32_t i = 0; copy && i < copy->n_outputs; i++)
        if (copy->values[copy->outputs[i]].kind == FL_VALUE_NODE)
            copy->outputs[kept++] = copy->outputs[i];
    if (copy)
        copy->n_outputs = kept;
    return copy;
}

/* Inputs and variables that nobody reads go: updates and parameters of such variables with them. */
static fl_graph *without_unread(const fl_graph *g)
{
    fl_graph *copy = fl_graph_clone(g);
    uint32_t *uses = copy ? fl_graph_count_uses(copy, &copy->arena) : NULL, n = 0;
    if (!uses)
        return copy;
    for (uint32_t i = 0; i < copy->n_updates; i++)
        uses[copy->updates[i].variable]++;
    for (uint32_t i = 0; i < copy->n_inputs; i++) {
        if (uses[copy->inputs[i]])
            copy->inputs[n++] = copy->inputs[i];
        else
            copy->values[copy->inputs[i]].name = NULL;
    }
    copy->n_inputs = n;
    n = 0;
    for (uint32_t i = 0; i < copy->n_params; i++)
        if (uses[copy->params[i].variable])
            copy->params[n++] = copy->params[i];
    copy->n_params = n;
    n = 0;
    for (uint32_t i = 0; i < copy->n_variables; i++) {
        if (uses[copy->variables[i]])
            copy->variables[n++] = copy->variables[i];
        else
            copy->values[copy->variables[i]].name = NULL;
    }
    copy->n_variables = n;
    return copy;
}

static fl_status drop_one_by_one(reducer *r, bool *changed)
{
    bool kept;
    for (uint32_t i = r->g->n_outputs; i-- > 0 && r->g->n_outputs > 1;) {
        if (i >= r->g->n_outputs)
            continue;
        fl_graph *copy = fl_graph_clone(r->g);
        if (copy)
            memmove(copy->outputs + i, copy->outputs + i + 1, (--copy->n_outputs - i) * sizeof *copy->outputs);
        FL_TRY(try_graph(r, copy, false, &kept));
        *changed |= kept;
    }
    for (uint32_t i = r->g->n_updates; i-- > 0;) {
        if (i >= r->g->n_updates)
            continue;
        fl_graph *copy = fl_graph_clone(r->g);
        if (copy)
            memmove(copy->updates + i, copy->updates + i + 1, (--copy->n_updates - i) * sizeof *copy->updates);
        FL_TRY(try_graph(r, copy, false, &kept));
        *changed |= kept;
    }
    if (r->g->n_params) {
        fl_graph *copy = fl_graph_clone(r->g);
        if (copy)
            copy->n_params = 0;
        FL_TRY(try_graph(r, copy, false, &kept));
        *changed |= kept;
    }
    fl_graph *copy = without_unread(r->g);
    if (copy && copy->n_inputs == r->g->n_inputs && copy->n_variables == r->g->n_variables) {
        fl_graph_free(copy);
        return FL_OK;
    }
    FL_TRY(try_graph(r, copy, false, &kept));
    *changed |= kept;
    return FL_OK;
}

/* One value in between as the only output, the earliest that will do: what comes behind it falls. */
static fl_status move_output(reducer *r, bool *changed)
{
    bool kept = false;
    for (fl_id i = 0; i + 1 < r->g->n_nodes && !kept; i++) {
        fl_id v = r->g->nodes[i].n_out ? r->g->nodes[i].out[0] : FL_NONE;
        fl_graph *copy = v == FL_NONE ? NULL : fl_graph_clone(r->g);
        if (!copy)
            continue;
        copy->n_outputs = copy->n_updates = 0;
        fl_graph_output(copy, v);
        FL_TRY(try_graph(r, copy, true, &kept));
    }
    *changed |= kept;
    return FL_OK;
}

/* Whoever reads a result of the node reads its operand k instead, of whatever type: inference says whether the graph can do with it. */
static fl_graph *with_operand(const fl_graph *g, fl_id node, uint32_t k)
{
    fl_graph *copy = fl_graph_clone(g);
    const fl_node n = g->nodes[node];
    for (uint32_t i = 0; copy && i < n.n_out; i++)
        if (n.out[i] != FL_NONE)
            fl_graph_replace(copy, n.out[i], n.in[k]);
    return copy;
}

static bool is_output(const fl_graph *g, const fl_node *n)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        for (uint32_t k = 0; k < n->n_out; k++)
            if (g->outputs[i] == n->out[k])
                return true;
    return false;
}

static fl_status take_operands(reducer *r, bool *changed)
{
    bool kept;
    for (fl_id i = r->g->n_nodes; i-- > 0;) {
        for (uint32_t k = 0; i < r->g->n_nodes && k < r->g->nodes[i].n_in; k++) {
            if (r->g->nodes[i].in[k] == FL_NONE || is_output(r->g, &r->g->nodes[i])) /* outputs keep their names */
                continue;
            FL_TRY(try_graph(r, with_operand(r->g, i, k), true, &kept));
            *changed |= kept;
            if (kept)
                break;
        }
    }
    return FL_OK;
}

static fl_status reduce(reducer *r)
{
    bool changed = true, kept;
    while (changed) {
        changed = false;
        FL_TRY(move_output(r, &changed));
        FL_TRY(drop_one_by_one(r, &changed));
        for (uint32_t size = r->g->n_nodes / 2 + 1; size > 0; size /= 2) {
            for (fl_id from = 0; from < r->g->n_nodes && r->g->n_nodes > 1;) {
                FL_TRY(try_graph(r, without_nodes(r->g, from, size), true, &kept));
                changed |= kept;
                from += kept ? 0 : size; /* what came behind has moved here */
            }
        }
        FL_TRY(take_operands(r, &changed));
    }
    return FL_OK;
}

/* The comment lines of a text file, in front of its graph. */
static fl_status read_head(reducer *r)
{
    const char *input = r->a->request.input;
    char *text = NULL;
    size_t n = 0;
    if (fl_ends_with(input, ".bin") || fl_ends_with(input, ".onnx") || fl_ends_with(input, ".yaml") || fl_ends_with(input, ".yml") ||
        strcmp(input, "-") == 0)
        return FL_OK;
    FL_TRY(fl_file_read(input, (size_t)1 << 32, &text, &n, r->dg));
    size_t end = 0;
    while (text[end] == '#') {
        end += strcspn(text + end, "\n");
        end += text[end] == '\n';
    }
    r->head = strndup(text, end);
    free(text);
    return r->head ? FL_OK : fl_out_of_memory(r->dg);
}

static fl_status run_reducer(reducer *r, fl_input *in)
{
    bool still;
    fl_output out;
    r->g = in->graph;
    in->graph = fl_graph_clone(r->g); /* of which the input disposes */
    FL_TRY(fl_graph_ok(in->graph, r->dg));
    FL_TRY(read_head(r));
    fl_graph_compact(r->g);
    uint32_t before = r->g->n_nodes;
    FL_TRY(passes_test(r, r->g, &still));
    if (!still)
        return fl_error(r->dg, FL_E_USAGE, FL_FILE(r->a->request.input), "the test does not succeed for the whole graph");
    FL_TRY(reduce(r));
    FL_TRY(fl_output_open(&out, r->a->output, r->dg));
    FL_TRY(fl_output_close(&out, write_graph(r, r->g, out.stream, r->dg), r->dg));
    if (!r->a->quiet)
        fprintf(stderr, "%u nodes of %u are left after %u tests\n", r->g->n_nodes, before, r->n_tests);
    return FL_OK;
}

static int run(void *arg, int argc, char **argv)
{
    arguments *a = arg;
    const fl_verb_option options[] = {{"-o", &a->output, NULL}, {"--test", &a->test, NULL}, {"--quiet", NULL, &a->quiet}};
    int status = fl_verb_arguments(argc, argv, options, FL_COUNT(options), &a->request);
    if (status)
        return status;
    if (!a->request.input || !a->test) {
        fputs("flenc: error: reduce needs an input and --test CMD [E0002]\n", stderr);
        return 2;
    }
    fl_diag dg;
    fl_input in;
    const char *folder = getenv("TMPDIR");
    reducer r = {.a = a, .dg = &dg};
    fl_diag_init(&dg);
    snprintf(r.path, sizeof r.path, "%.400s/flenc-reduce-%ld.onnxtxt", folder ? folder : "/tmp", (long)getpid());
    fl_status s = fl_input_read(&a->request, &in, &dg);
    if (s == FL_OK) {
        s = run_reducer(&r, &in);
        fl_graph_free(r.g);
        fl_input_deinit(&in);
        (void)unlink(r.path);
    }
    free(r.head);
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    return fl_status_exit(s);
}

int fl_verb_reduce(int argc, char **argv)
{
    arguments a = {.test = NULL};
    return fl_verb_frame(argc, argv, usage, &a.request, run, &a);
}
