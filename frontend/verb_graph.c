/*
 * verb_graph.c -- `flenc dump` and `flenc opt`: graphs as text, as they are read and after passes.
 */
#include "frontend/verbs.h"

#include "frontend/compile.h"
#include "ir/model.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *input, *output, *stage, *program;
    fl_pipeline_options pipeline;
    const char **sets;
    uint32_t n_sets;
    bool list, plain;
} arguments;

static const char dump_usage[] =
    "usage: flenc dump X [--stage=imported|forward|train|optimised|scheduled] [--program=predict|train|init|prologue]\n"
    "                    [--set KEY.PATH=VALUE]... [--plain] [-o FILE]\n"
    "X is a configuration (.yaml), an ONNX file (.onnx), a model.bin, or graph text (- is standard input).\n"
    "The text is ONNX's own syntax; types of intermediate values follow as comments (--plain: without).\n"
    "  --stage=imported   as it was read\n"
    "  --stage=forward    with its types, checked (the default)\n"
    "  --stage=train      the training program after differentiation, with its optimisers\n"
    "  --stage=optimised  after all passes that rewrite it; scheduled: cut into segments, with its memory\n"
    "  --program=P        which program: predict (the default), train, init or prologue\n"
    "Of a model.bin, --program without --stage shows what is stored, and without both the source of the predict program.\n";

static const char opt_usage[] =
    "usage: flenc opt X [--passes=a,b(c)] [--list-passes] [--disable=a,b] [--stop-after=P] [--print-before=P] [--print-after=P]\n"
    "                  [--print-after-change] [--verify-each] [--time-passes] [--stats] [--reproducer=FILE] [--plain] [-o FILE]\n"
    "Runs passes on the graph of X (see `flenc dump --help`) and prints what becomes of it. P may be \"all\".\n"
    "Prints, times and statistics of passes go to standard error.\n";

/* The value of "--name=VALUE", or of the following argument; NULL if argv[*i] is another option. */
static const char *value_of(int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0)
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return argv[*i][n] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static bool read_option(arguments *a, int argc, char **argv, int *i, bool opt)
{
    struct {
        const char *name, **to;
        bool opt_only;
    } texts[] = {
        {"-o", &a->output, false},
        {"--stage", &a->stage, false},
        {"--program", &a->program, false},
        {"--passes", &a->pipeline.passes, true},
        {"--disable", &a->pipeline.disable, true},
        {"--stop-after", &a->pipeline.stop_after, true},
        {"--print-before", &a->pipeline.print_before, true},
        {"--print-after", &a->pipeline.print_after, true},
        {"--reproducer", &a->pipeline.reproducer, true},
    };
    struct {
        const char *name;
        bool *to;
    } flags[] = {
        {"--list-passes", &a->list},
        {"--print-after-change", &a->pipeline.print_after_change},
        {"--verify-each", &a->pipeline.verify_each},
        {"--time-passes", &a->pipeline.time_passes},
        {"--stats", &a->pipeline.stats},
    };
    for (size_t k = 0; opt && k < FL_COUNT(flags); k++)
        if (strcmp(argv[*i], flags[k].name) == 0)
            return *flags[k].to = true;
    if (strcmp(argv[*i], "--plain") == 0)
        return a->plain = true;
    for (size_t k = 0; k < FL_COUNT(texts); k++) {
        const char *text = texts[k].opt_only && !opt ? NULL : value_of(argc, argv, i, texts[k].name);
        if (text) {
            *texts[k].to = text;
            return true;
        }
    }
    const char *set = value_of(argc, argv, i, "--set");
    if (set)
        a->sets[a->n_sets++] = set;
    return set != NULL;
}

/* 0 go on; 2 wrong usage. */
static int read_arguments(arguments *a, int argc, char **argv, bool opt)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_option(a, argc, argv, &i, opt)) {
                fprintf(stderr, "flenc: error: %s has no option \"%s\", or its value is missing [E0002]\n", argv[0], argv[i]);
                fprintf(stderr, "    hint: flenc %s --help\n", argv[0]);
                return 2;
            }
        } else if (a->input) {
            fprintf(stderr, "flenc: error: %s takes one input, and \"%s\" is a second [E0002]\n", argv[0], argv[i]);
            return 2;
        } else {
            a->input = argv[i];
        }
    }
    if (!a->input && !a->list) {
        fprintf(stderr, "flenc: error: %s needs an input [E0002]\n", argv[0]);
        return 2;
    }
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static fl_status program_of(const char *name, fl_program *out, fl_diag *dg)
{
    const char *names[FL_N_PROGRAMS];
    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        names[p] = fl_program_name((fl_program)p);
        if (strcmp(names[p], name) == 0) {
            *out = (fl_program)p;
            return FL_OK;
        }
    }
    fl_status s = fl_error(dg, FL_E_USAGE, FL_NOWHERE, "there is no program \"%s\"", name);
    const char *near = fl_nearest(name, names, FL_N_PROGRAMS);
    if (near)
        fl_hint(dg, "did you mean \"%s\"?", near);
    return s;
}

static fl_status stage_of(const char *name, fl_stage *out, fl_diag *dg)
{
    static const char *const names[] = {"forward", "train", "optimised", "scheduled"};
    _Static_assert(FL_STAGE_SCHEDULED == 3, "names stand in the order of fl_stage");
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (fl_stage)i;
            return FL_OK;
        }
    }
    fl_status s = fl_error(dg, FL_E_USAGE, FL_NOWHERE, "there is no stage \"%s\"", name);
    const char *near = fl_nearest(name, names, FL_COUNT(names));
    fl_hint(dg, near ? "did you mean \"%s\"?" : "imported, forward, train, optimised and scheduled are stages", near);
    return s;
}

static bool built_stage(const char *stage)
{
    return stage && strcmp(stage, "imported") != 0 && strcmp(stage, "forward") != 0;
}

/*
 * A graph of a model.bin: a stored program, the source of predict, or, where a stage is asked for, the forward graph. Variables' data
 * are named, not read.
 */
static fl_status read_model(const arguments *a, fl_model *m, fl_graph **out, fl_diag *dg)
{
    const fl_graph *g = NULL;
    fl_program p = FL_PROGRAM_PREDICT;
    size_t n;
    const void *forward = fl_model_entry(m, FL_FORWARD_ENTRY, &n);

    if (a->stage && forward)
        return fl_onnx_decode(forward, n, a->input, NULL, out, dg);
    if (a->program) {
        FL_TRY(program_of(a->program, &p, dg));
        FL_TRY(fl_model_program(m, p, &g, dg));
    } else {
        FL_TRY(fl_model_source(m, &g, dg));
    }
    if (!g)
        return fl_error(dg, FL_E_USAGE, FL_FILE(a->input), "the model has no program \"%s\"", a->program ? a->program : "source");
    *out = fl_graph_clone(g);
    return *out ? fl_graph_ok(*out, dg) : fl_out_of_memory(dg);
}

/* The program of a forward graph at a stage, in its place. */
static fl_status build_stage(const arguments *a, fl_graph **g, fl_diag *dg)
{
    fl_stage stage = FL_STAGE_FORWARD;
    FL_TRY(stage_of(a->stage, &stage, dg));
    fl_program p = stage == FL_STAGE_TRAIN ? FL_PROGRAM_TRAIN : FL_PROGRAM_PREDICT;
    fl_graph *programs[FL_N_PROGRAMS];
    if (a->program)
        FL_TRY(program_of(a->program, &p, dg));
    FL_TRY(fl_build_programs(*g, stage, programs, dg));
    if (!programs[p]) {
        fl_programs_free(programs);
        return fl_error(dg, FL_E_USAGE, FL_FILE(a->input), "there is no program \"%s\" at stage %s", fl_program_name(p), a->stage);
    }
    fl_graph_free(*g);
    *g = programs[p];
    programs[p] = NULL;
    fl_programs_free(programs);
    return FL_OK;
}

static fl_status write_text(const arguments *a, const fl_graph *g, fl_diag *dg)
{
    fl_print_options options = {.types = !a->plain, .location = a->input && ends_with(a->input, ".bin") ? a->input : NULL};
    FILE *out = a->output && strcmp(a->output, "-") != 0 ? fopen(a->output, "w") : stdout;

    if (!out)
        return fl_error(dg, FL_E_OPEN, FL_FILE(a->output), "the file cannot be written");
    fl_status s = fl_graph_print(g, &options, out, dg);
    if ((out == stdout ? fflush(out) : fclose(out)) != 0 && s == FL_OK)
        s = fl_error(dg, FL_E_WRITE, FL_FILE(a->output ? a->output : "standard output"), "the text could not be written");
    return s;
}

static fl_status transform(const arguments *a, fl_graph *g, bool opt, fl_diag *dg)
{
    if (!a->stage || strcmp(a->stage, "imported") != 0) {
        FL_TRY(fl_shape_infer(g, dg));
        FL_TRY(fl_graph_verify(g, dg));
    }
    return opt && a->pipeline.passes ? fl_pipeline_run(g, &a->pipeline, dg) : FL_OK;
}

static fl_status run(const arguments *a, bool opt, fl_diag *dg)
{
    fl_model *model = NULL;
    fl_source source = {0};
    fl_graph *g = NULL;
    fl_status s;

    if (ends_with(a->input, ".bin")) {
        s = fl_model_open(a->input, 0, &model, dg);
        if (s == FL_OK)
            s = read_model(a, model, &g, dg);
    } else {
        s = fl_source_read(a->input, a->sets, a->n_sets, &source, dg);
        g = s == FL_OK ? source.graph : NULL;
    }
    if (s == FL_OK)
        s = transform(a, g, opt, dg);
    if (s == FL_OK && built_stage(a->stage)) {
        s = build_stage(a, &g, dg);
        if (!model)
            source.graph = g;
    }
    if (s == FL_OK)
        s = write_text(a, g, dg);
    if (model)
        fl_graph_free(g);
    else if (g)
        fl_source_deinit(&source);
    fl_model_free(model);
    return s;
}

static int verb(int argc, char **argv, bool opt)
{
    arguments a = {.pipeline.log = stderr};
    fl_diag dg;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(opt ? opt_usage : dump_usage, stdout);
        return 0;
    }
    a.sets = calloc((size_t)argc, sizeof *a.sets);
    if (!a.sets)
        return fl_status_exit(FL_NO_MEMORY);
    int status = read_arguments(&a, argc, argv, opt);
    if (status == 0 && a.list) {
        uint32_t n;
        const fl_pass *passes = fl_pass_list(&n);
        for (uint32_t i = 0; i < n; i++)
            printf("%-18s %s\n", passes[i].name, passes[i].what);
    } else if (status == 0) {
        fl_diag_init(&dg);
        status = fl_status_exit(run(&a, opt, &dg));
        fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
        fl_diag_deinit(&dg);
    }
    free(a.sets);
    return status;
}

int fl_verb_dump(int argc, char **argv)
{
    return verb(argc, argv, false);
}

int fl_verb_opt(int argc, char **argv)
{
    return verb(argc, argv, true);
}
