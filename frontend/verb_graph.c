/* verb_graph.c -- what the verbs on graphs share: options, reading X at a stage, writing results. */
#include "frontend/verb_graph.h"

#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool fl_ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* ------------------------------------------------------------------------------------------------------- options */

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

static bool read_option(int argc, char **argv, int *i, const fl_verb_option *options, size_t n, fl_graph_request *r)
{
    const fl_verb_option shared[] = {{"--stage", &r->stage, NULL}, {"--program", &r->program, NULL}, {"--data-dir", &r->data_dir, NULL}};
    for (size_t k = 0; k < n + FL_COUNT(shared); k++) {
        const fl_verb_option *o = k < n ? &options[k] : &shared[k - n];
        if (o->flag) {
            if (strcmp(argv[*i], o->name) == 0)
                return *o->flag = true;
            continue;
        }
        const char *text = value_of(argc, argv, i, o->name);
        if (text) {
            *o->text = text;
            return true;
        }
    }
    const char *set = value_of(argc, argv, i, "--set");
    if (set)
        r->sets[r->n_sets++] = set;
    return set != NULL;
}

int fl_verb_arguments(int argc, char **argv, const fl_verb_option *options, size_t n, fl_graph_request *r)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_option(argc, argv, &i, options, n, r)) {
                fprintf(stderr, "flenc: error: %s has no option \"%s\", or its value is missing [E0002]\n", argv[0], argv[i]);
                fprintf(stderr, "    hint: flenc %s --help\n", argv[0]);
                return 2;
            }
        } else if (r->input) {
            fprintf(stderr, "flenc: error: %s takes one input, and \"%s\" is a second [E0002]\n", argv[0], argv[i]);
            return 2;
        } else {
            r->input = argv[i];
        }
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------------- stages, programs */

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
    if (near)
        fl_hint(dg, "did you mean \"%s\"?", near);
    else
        fl_hint(dg, "imported, forward, train, optimised and scheduled are stages");
    return s;
}

static bool is_built(const char *stage)
{
    return stage && strcmp(stage, "imported") != 0 && strcmp(stage, "forward") != 0;
}

bool fl_stage_is_built(const fl_graph_request *r)
{
    return is_built(r->stage) || (!r->stage && r->program && fl_ends_with(r->input, ".bin"));
}

/*
 * A graph of a model.bin: a stored program, the source of predict, or, where a stage is asked for, the forward graph. Variables' data
 * are named, not read.
 */
static fl_status read_model(const fl_graph_request *r, fl_model *m, fl_graph **out, fl_diag *dg)
{
    const fl_graph *g = NULL;
    fl_program p = FL_PROGRAM_PREDICT;
    size_t n;
    const void *forward = fl_model_entry(m, FL_FORWARD_ENTRY, &n);

    FL_TRY(fl_model_verify_entry(m, FL_FORWARD_ENTRY, dg));
    if (r->stage && forward)
        return fl_onnx_decode(forward, n, r->input, NULL, out, dg);
    if (r->program) {
        FL_TRY(program_of(r->program, &p, dg));
        FL_TRY(fl_model_program(m, p, &g, dg));
    } else {
        FL_TRY(fl_model_source(m, &g, dg));
    }
    if (!g)
        return fl_error(dg, FL_E_USAGE, FL_FILE(r->input), "the model has no program \"%s\"", r->program ? r->program : "source");
    *out = fl_graph_clone(g);
    return *out ? fl_graph_ok(*out, dg) : fl_out_of_memory(dg);
}

/* The program of a forward graph at a stage, in its place. */
static fl_status build_stage(const fl_graph_request *r, fl_graph **g, fl_diag *dg)
{
    fl_stage stage = FL_STAGE_FORWARD;
    FL_TRY(stage_of(r->stage, &stage, dg));
    fl_program p = stage == FL_STAGE_TRAIN ? FL_PROGRAM_TRAIN : FL_PROGRAM_PREDICT;
    fl_graph *programs[FL_N_PROGRAMS];
    if (r->program)
        FL_TRY(program_of(r->program, &p, dg));
    FL_TRY(fl_build_programs(*g, stage, programs, dg));
    if (!programs[p]) {
        fl_programs_free(programs);
        return fl_error(dg, FL_E_USAGE, FL_FILE(r->input), "there is no program \"%s\" at stage %s", fl_program_name(p), r->stage);
    }
    fl_graph_free(*g);
    *g = programs[p];
    programs[p] = NULL;
    fl_programs_free(programs);
    return FL_OK;
}

fl_status fl_input_read(const fl_graph_request *r, fl_input *in, fl_diag *dg)
{
    fl_status s;
    *in = (fl_input){.graph = NULL};
    if (fl_ends_with(r->input, ".bin")) {
        s = fl_model_open(r->input, 0, &in->model, dg);
        if (s == FL_OK)
            s = read_model(r, in->model, &in->graph, dg);
    } else {
        s = fl_source_read(r->input, r->sets, r->n_sets, &in->source, dg);
        if (s == FL_OK) {
            in->graph = in->source.graph;
            in->source.graph = NULL;
            s = fl_source_attach(in->graph, r->input, r->data_dir, true, dg);
        }
    }
    if (s == FL_OK) { /* as it was read is not judged; types are shown as far as there are any */
        bool judged = !r->stage || strcmp(r->stage, "imported") != 0;
        uint32_t before = dg->n_entries;
        s = judged ? fl_graph_verify(in->graph, dg) : fl_shape_infer(in->graph, NULL);
        fl_diag_sort(dg, before);
        if (!judged && s == FL_BAD_INPUT)
            s = FL_OK;
        if (s == FL_OK && judged && r->stage)
            s = fl_lower_gradients(in->graph, dg);
    }
    if (s == FL_OK && is_built(r->stage))
        s = build_stage(r, &in->graph, dg);
    if (s != FL_OK)
        fl_input_deinit(in);
    return s;
}

/* A path as seen from the folder of another. */
static char *seen_from(const char *path, const char *output)
{
    const char *slash = output ? strrchr(output, '/') : NULL, *last = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - output) + 1 : 0;
    bool beneath = strncmp(path, output ? output : "", n) == 0 && path[n] != '/' && !strstr(path + n, "..");
    return strdup(beneath ? path + n : last ? last + 1 : path);
}

fl_status fl_input_print_options(fl_input *in, const fl_graph_request *r, const char *output, bool types, fl_print_options *options, fl_diag *dg)
{
    struct stat at;
    *options = (fl_print_options){.types = types};
    if (!fl_ends_with(r->input, ".bin") && !fl_ends_with(r->input, ".onnx"))
        return FL_OK;
    int fd = open(r->input, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &at) != 0) {
        fl_status s = fl_error(dg, FL_E_OPEN, FL_FILE(r->input), "cannot be opened: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return s;
    }
    in->n_file = (size_t)at.st_size;
    in->file = in->n_file ? mmap(NULL, in->n_file, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    in->file = in->file == MAP_FAILED ? NULL : in->file; /* then tensors are printed element by element */
    in->location = seen_from(r->input, output && strcmp(output, "-") != 0 ? output : NULL);
    if (!in->location)
        return fl_out_of_memory(dg);
    options->location = in->location;
    options->bytes = in->file;
    options->n_bytes = in->n_file;
    return FL_OK;
}

void fl_input_deinit(fl_input *in)
{
    if (in->file)
        munmap(in->file, in->n_file);
    free((void *)(uintptr_t)in->location);
    bool read = !in->model && in->graph;
    fl_graph_free(in->graph);
    if (read)
        fl_source_deinit(&in->source);
    fl_model_free(in->model);
    *in = (fl_input){.graph = NULL};
}

/* -------------------------------------------------------------------------------------------------------- output */

fl_status fl_output_open(fl_output *o, const char *path, fl_diag *dg)
{
    *o = (fl_output){.stream = stdout, .path = path};
    if (!path || strcmp(path, "-") == 0)
        return FL_OK;
    struct stat at;
    if (stat(path, &at) == 0 && !S_ISREG(at.st_mode)) { /* a device or a pipe cannot be replaced by a file */
        o->stream = fopen(path, "w");
        o->direct = o->stream != NULL;
        return o->direct ? FL_OK : fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot be written: %s", strerror(errno));
    }
    size_t n = strlen(path) + 32;
    o->aside = malloc(n);
    if (!o->aside)
        return fl_out_of_memory(dg);
    snprintf(o->aside, n, "%s.tmp.%ld", path, (long)getpid());
    o->stream = fopen(o->aside, "w");
    if (o->stream)
        return FL_OK;
    free(o->aside);
    o->aside = NULL;
    return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot be written: %s", strerror(errno));
}

fl_status fl_output_close(fl_output *o, fl_status status, fl_diag *dg)
{
    bool standard = !o->aside && !o->direct;
    bool ok = (standard ? fflush(o->stream) : fclose(o->stream)) == 0;
    if (status == FL_OK && !ok)
        status = fl_error(dg, FL_E_WRITE, FL_FILE(!standard ? o->path : "standard output"), "could not be written: %s", strerror(errno));
    if (status == FL_OK && o->aside && rename(o->aside, o->path) != 0)
        status = fl_error(dg, FL_E_WRITE, FL_FILE(o->path), "could not be written: %s", strerror(errno));
    if (o->aside && status != FL_OK)
        (void)unlink(o->aside);
    free(o->aside);
    return status;
}

int fl_verb_frame(int argc, char **argv, const char *usage, fl_graph_request *r, int (*run)(void *arg, int argc, char **argv), void *arg)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    r->sets = calloc((size_t)argc, sizeof *r->sets);
    if (!r->sets)
        return fl_status_exit(FL_NO_MEMORY);
    int status = run(arg, argc, argv);
    free(r->sets);
    r->sets = NULL;
    return status;
}
