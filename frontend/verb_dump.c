/* verb_dump.c -- `flenc dump`: the graph of a configuration, an ONNX file, a graph text or a model.bin, as text and as pictures. */
#include "frontend/verbs.h"

#include "frontend/draw.h"
#include "frontend/verb_graph.h"
#include "ir/print.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct arguments {
    fl_graph_request request;
    const char *output, *format, *batch;
    bool plain, cost, functions, no_functions;
} arguments;

static const char usage[] =
    "usage: flenc dump X [--stage=imported|forward|train|optimised|scheduled] [--program=predict|train|init|prologue]\n"
    "                    [--format=text|dot|svg|html|json|onnx] [--cost] [--batch=N] [--set KEY.PATH=VALUE]... [--plain]\n"
    "                    [--functions|--no-functions] [-o FILE]\n"
    "X is a configuration (.yaml), an ONNX file (.onnx), a model.bin, or graph text (- is standard input).\n"
    "  --stage=imported   as it was read\n"
    "  --stage=forward    with its types, checked (the default)\n"
    "  --stage=train      the training program after differentiation, with its optimisers\n"
    "  --stage=optimised  after all passes that rewrite it; scheduled: cut into segments, with its memory\n"
    "  --program=P        which program: predict (the default), train, init or prologue\n"
    "  --format=text      ONNX's own syntax; types of intermediate values follow as comments (--plain: without)\n"
    "  --functions        behind the graph the bodies of ai.flen's operators, as ONNX's model-local functions: the default from stage train on, where passes\n"
    "                     have fused them; --no-functions: operators alone\n"
    "  --format=dot, svg  a picture for Graphviz, and laid out by it: fields, layers and segments as clusters, shapes on the edges\n"
    "  --format=html      one page with a picture in which they fold, and operators of ai.flen unfold into their functions' bodies\n"
    "  --format=json      one object for scripts; onnx: ONNX's binary form\n"
    "  --cost             operations and bytes of each node in the picture, for --batch=N rows (1)\n"
    "Large tensors of a model.bin or an ONNX file are printed as references into it; --data-dir=DIR is where a text's references lie (its own folder).\n"
    "Of a model.bin, --program without --stage shows what is stored, and without both the source of the predict program.\n";

typedef fl_status draw_fn(const arguments *a, fl_input *in, FILE *out, fl_diag *dg);

static fl_draw_options draw_options(const arguments *a)
{
    return (fl_draw_options){.cost = a->cost, .batch = a->batch ? strtoll(a->batch, NULL, 10) : 1};
}

static fl_status write_text(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    fl_print_options options;
    FL_TRY(fl_input_print_options(in, &a->request, a->output, !a->plain, &options, dg));
    options.functions = a->functions || (fl_stage_is_built(&a->request) && !a->no_functions);
    return fl_graph_print(in->graph, &options, out, dg);
}

static fl_status write_dot(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    fl_draw_options o = draw_options(a);
    return fl_draw_dot(in->graph, &o, out, dg);
}

static fl_status write_json(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    fl_draw_options o = draw_options(a);
    return fl_draw_json(in->graph, &o, out, dg);
}

static fl_status write_html(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    fl_draw_options o = draw_options(a);
    return fl_draw_html(in->graph, &o, out, dg);
}

static fl_status write_onnx(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    void *bytes = NULL;
    size_t n = 0;
    (void)a;
    FL_TRY(fl_onnx_encode(in->graph, &(fl_onnx_options){.opset = 0}, &bytes, &n, dg));
    bool ok = fwrite(bytes, 1, n, out) == n;
    free(bytes);
    return ok ? FL_OK : fl_error(dg, FL_E_WRITE, FL_NOWHERE, "graph \"%s\" could not be written", in->graph->name);
}

/* Run `dot -Tsvg` from one file to another. */
static fl_status lay_out(FILE *from, FILE *to, fl_diag *dg)
{
    char *argv[] = {"dot", "-Tsvg", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = 0;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return fl_out_of_memory(dg);
    int error = posix_spawn_file_actions_adddup2(&actions, fileno(from), 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, fileno(to), 1);
    if (error == 0)
        error = posix_spawnp(&child, "dot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        fl_status s = fl_error(dg, FL_E_TOOL, FL_NOWHERE, "Graphviz's dot cannot be run: %s", strerror(error));
        fl_hint(dg, "install the package graphviz, or take --format=html or --format=dot");
        return s;
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fl_error(dg, FL_E_TOOL, FL_NOWHERE, "Graphviz's dot was lost: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return FL_OK;
    return fl_error(dg, FL_E_TOOL, FL_NOWHERE, "Graphviz's dot failed with status %d", WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

static fl_status copy(FILE *from, FILE *to, fl_diag *dg)
{
    char block[1 << 14];
    size_t n;
    rewind(from);
    while ((n = fread(block, 1, sizeof block, from)) > 0)
        if (fwrite(block, 1, n, to) != n)
            break;
    return ferror(from) || ferror(to) ? fl_error(dg, FL_E_WRITE, FL_NOWHERE, "the picture could not be written") : FL_OK;
}

static fl_status write_svg(const arguments *a, fl_input *in, FILE *out, fl_diag *dg)
{
    FILE *dot = tmpfile(), *svg = tmpfile();
    fl_status s = dot && svg ? write_dot(a, in, dot, dg)
                             : fl_error(dg, FL_E_OPEN, FL_NOWHERE, "no temporary file can be made: %s", strerror(errno));
    if (s == FL_OK && (fflush(dot) != 0 || lseek(fileno(dot), 0, SEEK_SET) != 0))
        s = fl_error(dg, FL_E_WRITE, FL_NOWHERE, "a temporary file could not be written: %s", strerror(errno));
    if (s == FL_OK)
        s = lay_out(dot, svg, dg);
    if (s == FL_OK)
        s = copy(svg, out, dg);
    if (dot)
        fclose(dot);
    if (svg)
        fclose(svg);
    return s;
}

static const struct {
    const char *name;
    draw_fn *draw;
} formats[] = {{"text", write_text}, {"dot", write_dot},   {"svg", write_svg},
               {"html", write_html}, {"json", write_json}, {"onnx", write_onnx}};

static draw_fn *format_of(const char *name)
{
    const char *names[FL_COUNT(formats)];
    for (size_t i = 0; i < FL_COUNT(formats); i++) {
        names[i] = formats[i].name;
        if (strcmp(names[i], name) == 0)
            return formats[i].draw;
    }
    const char *near = fl_nearest(name, names, FL_COUNT(names));
    fprintf(stderr, "flenc: error: there is no format \"%s\" [E0002]\n", name);
    if (near)
        fprintf(stderr, "    hint: did you mean \"%s\"?\n", near);
    else
        fputs("    hint: text, dot, svg, html, json and onnx are formats\n", stderr);
    return NULL;
}

static fl_status dump(const arguments *a, draw_fn *draw, fl_diag *dg)
{
    fl_input in;
    fl_output out;
    FL_TRY(fl_input_read(&a->request, &in, dg));
    fl_status s = fl_output_open(&out, a->output, dg);
    if (s == FL_OK)
        s = fl_output_close(&out, draw(a, &in, out.stream, dg), dg);
    fl_input_deinit(&in);
    return s;
}

static int run(void *arg, int argc, char **argv)
{
    arguments *a = arg;
    const fl_verb_option options[] = {{"-o", &a->output, NULL},     {"--format", &a->format, NULL}, {"--batch", &a->batch, NULL},
                                      {"--plain", NULL, &a->plain}, {"--cost", NULL, &a->cost},
                                      {"--functions", NULL, &a->functions}, {"--no-functions", NULL, &a->no_functions}};
    int status = fl_verb_arguments(argc, argv, options, FL_COUNT(options), &a->request);
    if (status)
        return status;
    if (!a->request.input) {
        fputs("flenc: error: dump needs an input [E0002]\n", stderr);
        return 2;
    }
    char *end = NULL;
    if (a->batch && (strtoll(a->batch, &end, 10) < 1 || *end)) {
        fprintf(stderr, "flenc: error: --batch is a number of rows, not \"%s\" [E0002]\n", a->batch);
        return 2;
    }
    draw_fn *draw = format_of(a->format ? a->format : "text");
    if (!draw)
        return 2;
    fl_diag dg;
    fl_diag_init(&dg);
    status = fl_status_exit(dump(a, draw, &dg));
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    return status;
}

int fl_verb_dump(int argc, char **argv)
{
    arguments a = {.format = NULL};
    return fl_verb_frame(argc, argv, usage, &a.request, run, &a);
}
