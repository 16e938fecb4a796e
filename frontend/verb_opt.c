/* verb_opt.c -- `flenc opt`: passes on a graph, and what they did. */
#include "frontend/verbs.h"

#include "backend/backend.h"
#include "frontend/verb_graph.h"
#include "ir/print.h"
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    fl_graph_request request;
    const char *output, *print_pipeline, *reproduce, *emit, *cpu;
    fl_pipeline_options pipeline;
    bool list, plain, functions;
} arguments;

static const char usage[] =
    "usage: flenc opt X [--passes=a,b(c)] [--disable=a,b] [--stop-after=P] [--print-before=P] [--print-after=P] [--print-after-change]\n"
    "                  [--verify-each] [--time-passes] [--stats] [--reproducer=FILE] [--stage=S] [--program=P] [--plain] [--functions] [-o FILE]\n"
    "                  [--emit=llvm|llvm-opt|asm|obj] [--cpu=x86-64-v2|v3|v4]\n"
    "       flenc opt --list-passes | --print-pipeline=train|predict|outline|schedule | --run-reproducer FILE\n"
    "Runs passes on the graph of X (see `flenc dump --help`) and prints what becomes of it. P may be \"all\".\n"
    "Prints, times and statistics of passes go to standard error; --print-after-change prints what changed, line by line.\n"
    "A pipeline is text: --passes=\"$(flenc opt --print-pipeline=predict)\" runs the one of `flenc compile`; of a prediction\n"
    "whose weights' part is split off, `outline` makes what --stage=optimised shows.\n"
    "--emit prints the generated code of a scheduled program (--stage=scheduled) instead: LLVM's intermediate form as it is written, after LLVM's\n"
    "own passes (which our code does without), assembly, or an object file, for --cpu (v3). Blocks are named after the nodes; lines are those of the text of\n"
    "`flenc dump`, in a file PROGRAM.onnxtxt.\n"
    "When a pass fails, --reproducer=FILE gets the graph before it and the passes that were left; a graph that breaks a rule after a\n"
    "pass is a bug of this program, and its reproducer goes to the folder of temporary files if no FILE is named.\n";

static void list_facts(uint32_t facts, const char *label)
{
    static const char *const names[] = {"order", "shapes"};
    printf("%s ", label);
    for (size_t i = 0, any = 0; i <= FL_COUNT(names); i++) {
        if (i == FL_COUNT(names))
            fputs(any ? "" : "nothing", stdout);
        else if (facts & (1u << i))
            printf("%s%s", any++ ? ", " : "", names[i]);
    }
}

static void list_passes(void)
{
    uint32_t n;
    const fl_pass *passes = fl_pass_list(&n);
    for (uint32_t i = 0; i < n; i++) {
        printf("%-18s %s\n%18s ", passes[i].name, passes[i].what, "");
        list_facts(passes[i].needs, "needs");
        list_facts(passes[i].keeps, "; keeps");
        putchar('\n');
    }
    puts("\n  order: a node reads only earlier nodes; shapes: every value has its type. What a pass needs is made before it.");
}

static int print_pipeline(const char *which)
{
    const struct {
        const char *name, *text;
    } all[] = {{"train", fl_pipeline_train}, {"predict", fl_pipeline_predict}, {"outline", fl_pipeline_outline}, {"schedule", fl_pipeline_schedule}};
    for (size_t i = 0; i < FL_COUNT(all); i++) {
        if (strcmp(all[i].name, which) == 0) {
            puts(all[i].text);
            return 0;
        }
    }
    fprintf(stderr, "flenc: error: there is no pipeline \"%s\" [E0002]\n    hint: train, predict, outline and schedule are pipelines\n", which);
    return 2;
}

static fl_status emit_code(const arguments *a, const fl_graph *g, FILE *out, fl_diag *dg)
{
    void *bytes = NULL;
    size_t n = 0;
    char name[32];
    const char *cpu = a->cpu ? a->cpu : "v3"; /* the same text on every machine; code for another one may be looked at on any */
    snprintf(name, sizeof name, cpu[0] == 'v' ? "x86-64-%s" : "%s", cpu);
    if (!g->schedule) {
        fl_status s = fl_error(dg, FL_E_USAGE, FL_FILE(a->request.input), "--emit needs a scheduled program");
        fl_hint(dg, "--stage=scheduled, or passes that end with segment,plan-memory");
        return s;
    }
    FL_TRY(fl_compile_as(g, name, a->emit, &bytes, &n, dg));
    bool ok = fwrite(bytes, 1, n, out) == n;
    free(bytes);
    return ok ? FL_OK : fl_error(dg, FL_E_WRITE, FL_NOWHERE, "the code could not be written");
}

static fl_status transform(const arguments *a, fl_input *in, fl_diag *dg)
{
    fl_graph *g = in->graph;
    fl_print_options options;
    fl_output out;
    if (a->pipeline.passes)
        FL_TRY(fl_pipeline_run(g, &a->pipeline, dg));
    FL_TRY(fl_input_print_options(in, &a->request, a->output, !a->plain, &options, dg));
    options.functions = a->functions;
    FL_TRY(fl_output_open(&out, a->output, dg));
    fl_status s = a->emit ? emit_code(a, g, out.stream, dg) : fl_graph_print(g, &options, out.stream, dg);
    return fl_output_close(&out, s, dg);
}

/* The pipeline of a reproducer stands in its first lines: "# RUN: flenc opt --passes=a,b(c)". */
static fl_status read_reproducer(const char *path, char **passes, fl_diag *dg)
{
    static const char mark[] = "# RUN: flenc opt --passes=";
    char *text = NULL;
    size_t n = 0;
    FL_TRY(fl_file_read(path, (size_t)1 << 32, &text, &n, dg));
    const char *at = text;
    while (*at == '#' && strncmp(at, mark, strlen(mark)) != 0)
        at += strcspn(at, "\n") + (at[strcspn(at, "\n")] != '\0');
    if (*at == '#') {
        at += strlen(mark);
        *passes = strndup(at, strcspn(at, "\n"));
    }
    bool found = *at != '#' && *passes;
    free(text);
    return found ? FL_OK : fl_error(dg, FL_E_PASS, FL_FILE(path), "the file has no line \"%s...\" in front of its graph", mark);
}

static fl_status opt(arguments *a, fl_diag *dg)
{
    fl_input in;
    char *passes = NULL;
    if (a->reproduce) {
        FL_TRY(read_reproducer(a->reproduce, &passes, dg));
        a->request.input = a->reproduce;
        a->pipeline.passes = passes;
    }
    fl_status s = fl_input_read(&a->request, &in, dg);
    if (s == FL_OK) {
        s = transform(a, &in, dg);
        fl_input_deinit(&in);
    }
    free(passes);
    return s;
}

/* One of the words, which are separated by blanks? */
static bool is_one_of(const char *word, const char *words)
{
    size_t n = strlen(word);
    for (const char *p = words; p && n; p = strchr(p, ' '), p = p ? p + 1 : NULL)
        if (strncmp(p, word, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

static int wrong(const char *option, const char *value, const char *hint)
{
    fprintf(stderr, "flenc: error: %s cannot be \"%s\" [E0002]\n    hint: %s\n", option, value, hint);
    return 2;
}

static int run(void *arg, int argc, char **argv)
{
    arguments *a = arg;
    fl_pipeline_options *p = &a->pipeline;
    const fl_verb_option options[] = {
        {"-o", &a->output, NULL},
        {"--passes", &p->passes, NULL},
        {"--disable", &p->disable, NULL},
        {"--stop-after", &p->stop_after, NULL},
        {"--print-before", &p->print_before, NULL},
        {"--print-after", &p->print_after, NULL},
        {"--reproducer", &p->reproducer, NULL},
        {"--run-reproducer", &a->reproduce, NULL},
        {"--print-pipeline", &a->print_pipeline, NULL},
        {"--emit", &a->emit, NULL},
        {"--cpu", &a->cpu, NULL},
        {"--list-passes", NULL, &a->list},
        {"--print-after-change", NULL, &p->print_after_change},
        {"--verify-each", NULL, &p->verify_each},
        {"--time-passes", NULL, &p->time_passes},
        {"--stats", NULL, &p->stats},
        {"--plain", NULL, &a->plain},
        {"--functions", NULL, &a->functions},
    };
    int status = fl_verb_arguments(argc, argv, options, FL_COUNT(options), &a->request);
    if (status)
        return status;
    if (a->list) {
        list_passes();
        return 0;
    }
    if (a->print_pipeline)
        return print_pipeline(a->print_pipeline);
    if (a->emit && !is_one_of(a->emit, "llvm llvm-opt asm obj"))
        return wrong("--emit", a->emit, "llvm, llvm-opt, asm and obj can be emitted");
    if (a->cpu && !is_one_of(a->cpu, "x86-64-v2 x86-64-v3 x86-64-v4 v2 v3 v4"))
        return wrong("--cpu", a->cpu, "levels are x86-64-v2, x86-64-v3 and x86-64-v4");
    if (!a->request.input == !a->reproduce || (a->reproduce && p->passes)) {
        fputs("flenc: error: opt needs an input, or --run-reproducer FILE alone [E0002]\n", stderr);
        return 2;
    }
    fl_diag dg;
    fl_diag_init(&dg);
    status = fl_status_exit(opt(a, &dg));
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    return status;
}

int fl_verb_opt(int argc, char **argv)
{
    arguments a = {.pipeline.log = stderr};
    return fl_verb_frame(argc, argv, usage, &a.request, run, &a);
}
