/*
 * verb_export.c -- `flenc export`: the predict program as an ONNX file that other tools run.
 *
 * Operators of ours are calls of model-local functions whose bodies are standard operators (ir/bodies.h). Weights go into the file, or beside
 * it where one file would come near ONNX's limit of 2 GB. Both are written aside and renamed, the weights first, so that a
 * crash leaves no file that refers to what is not there.
 */
#include "frontend/verbs.h"

#include "frontend/compile.h"
#include "ir/bodies.h"
#include "ir/model.h"
#include "passes/pass.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t most_inside = 1500000000; /* bytes of weights */
enum { WEIGHT_ALIGN = 4096 };                          /* so that tools may map them */

typedef struct arguments {
    const char *input, *output, *stage;
    const char **sets;
    uint32_t n_sets;
    int64_t opset;
    bool external, standard, training, quiet, help;
} arguments;

static const char usage[] =
    "usage: flenc export X [-o model.onnx] [--opset N] [--stage=forward|optimised] [--standard-ops] [--training]\n"
    "                   [--external-data] [--set KEY.PATH=VALUE]... [--quiet]\n"
    "X is a model.bin, or what `flenc compile` takes: then the file has no weights, and they are inputs of its graph.\n"
    "Writes the predict program as plain ONNX. Operators of ours are calls of functions whose bodies stand in the file.\n"
    "  -o FILE             where the graph goes (model.onnx)\n"
    "  --opset N           of the standard operators, 13 to 20; default: the lowest from 17 on that holds the graph\n"
    "  --stage=forward     as the configuration says it (the default); optimised: after the passes, with fused operators\n"
    "  --standard-ops      no functions: the standard operators of their bodies stand in the graph itself\n"
    "  --training          a training step too, as ONNX's training information: optimiser state, and operators of ours that only training has;\n"
    "                      `flenc compile` makes of it a model that trains on with the same numbers\n"
    "  --external-data     weights go into FILE.data; so do weights beyond 1.5 GB\n"
    "  --set KEY.PATH=VALUE   overrides a key of a configuration\n"
    "  --quiet             no notes\n";

static const char *value_of(int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0)
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return argv[*i][n] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static fl_status take_word(arguments *a, int argc, char **argv, int *i, fl_diag *dg)
{
    const char *word = argv[*i], *value;
    char *end = NULL;
    if (strcmp(word, "--help") == 0)
        a->help = true;
    else if (strcmp(word, "--quiet") == 0)
        a->quiet = true;
    else if (strcmp(word, "--external-data") == 0)
        a->external = true;
    else if (strcmp(word, "--standard-ops") == 0)
        a->standard = true;
    else if (strcmp(word, "--training") == 0)
        a->training = true;
    else if ((value = value_of(argc, argv, i, "-o")))
        a->output = value;
    else if ((value = value_of(argc, argv, i, "--set")))
        a->sets[a->n_sets++] = value;
    else if ((value = value_of(argc, argv, i, "--stage")))
        a->stage = value;
    else if ((value = value_of(argc, argv, i, "--opset"))) {
        a->opset = strtoll(value, &end, 10);
        if (end == value || *end || a->opset < 1)
            return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "--opset takes a number, not \"%s\"", value);
    } else if (word[0] == '-' && word[1])
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "export has no option \"%s\", or its value is missing", word);
    else if (a->input)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "export takes one input, and \"%s\" is a second", word);
    else
        a->input = word;
    return FL_OK;
}

static fl_status read_arguments(int argc, char **argv, arguments *a, fl_diag *dg)
{
    for (int i = 1; i < argc; i++)
        FL_TRY(take_word(a, argc, argv, &i, dg));
    if (a->help)
        return FL_OK;
    if (!a->input)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "export needs an input");
    if (strcmp(a->stage, "forward") != 0 && strcmp(a->stage, "optimised") != 0)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "there is no stage \"%s\" to export; forward and optimised are", a->stage);
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- input */

/* The predict program with the weights that the model has; they stay in its mapping. */
static fl_status from_model(fl_model *m, fl_graph **out, fl_diag *dg)
{
    const fl_graph *source;
    FL_TRY(fl_model_source(m, &source, dg));
    if (!source)
        return fl_error(dg, FL_E_USAGE, FL_FILE(fl_model_path(m)), "the model has no predict program");
    for (uint32_t i = 0; i < source->n_variables; i++) {
        const fl_value *v = &source->values[source->variables[i]];
        if (v->name && v->kind == FL_VALUE_VARIABLE && v->data)
            FL_TRY(fl_model_verify(m, v->name, dg));
    }
    *out = fl_graph_clone(source);
    return *out ? fl_graph_ok(*out, dg) : fl_out_of_memory(dg);
}

static fl_status from_source(const arguments *a, fl_graph **out, fl_diag *dg)
{
    fl_source source;
    fl_graph *programs[FL_N_PROGRAMS];
    FL_TRY(fl_source_read(a->input, a->sets, a->n_sets, &source, dg));
    fl_status status = fl_build_programs(source.graph, FL_STAGE_FORWARD, programs, dg);
    if (status == FL_OK) {
        *out = fl_graph_clone(programs[FL_PROGRAM_PREDICT]);
        status = *out ? fl_graph_ok(*out, dg) : fl_out_of_memory(dg);
        fl_programs_free(programs);
    }
    fl_source_deinit(&source);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- output */

static fl_status cannot_write(const char *path, fl_diag *dg)
{
    return fl_error(dg, FL_E_WRITE, FL_FILE(path), "cannot be written: %s", strerror(errno));
}

static bool put(FILE *f, const void *bytes, size_t n)
{
    return n == 0 || fwrite(bytes, 1, n, f) == n;
}

/* Variables' data, each at a multiple of WEIGHT_ALIGN. */
static bool put_weights(FILE *f, const fl_graph *g, const uint64_t *offsets)
{
    static const char zeros[WEIGHT_ALIGN];
    uint64_t at = 0;
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_tensor *t = g->values[g->variables[i]].data;
        if (offsets[i] == UINT64_MAX)
            continue;
        if (!put(f, zeros, (size_t)(offsets[i] - at)) || !put(f, t->bytes, t->length))
            return false;
        at = offsets[i] + t->length;
    }
    return true;
}

/* A file written aside, or a device or pipe directly: a rename would replace it. `bytes` NULL: the weights. */
static fl_status write_file(const char *path, const void *bytes, size_t n, const fl_graph *g, const uint64_t *offsets, fl_diag *dg)
{
    char *aside = NULL;
    struct stat at;
    bool direct = stat(path, &at) == 0 && !S_ISREG(at.st_mode);
    if (asprintf(&aside, "%s.tmp.%ld", path, (long)getpid()) < 0)
        return fl_out_of_memory(dg);
    FILE *f = fopen(direct ? path : aside, "wb");
    fl_status status = FL_OK;
    if (!f) {
        status = cannot_write(path, dg);
    } else {
        bool ok = (bytes ? put(f, bytes, n) : put_weights(f, g, offsets)) && fflush(f) == 0 && (direct || fsync(fileno(f)) == 0);
        if (!ok)
            status = cannot_write(path, dg);
        if (fclose(f) != 0 && status == FL_OK)
            status = cannot_write(path, dg);
        if (status == FL_OK && !direct && rename(aside, path) != 0)
            status = cannot_write(path, dg);
        if (status != FL_OK && !direct)
            (void)unlink(aside);
    }
    free(aside);
    return status;
}

/* Places of the weights in a file beside the graph; returns how many bytes there are. */
static uint64_t place_weights(const fl_graph *g, uint64_t *offsets, fl_type *types)
{
    uint64_t at = 0, sum = 0;
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        offsets[i] = UINT64_MAX;
        if (!v->name || v->kind != FL_VALUE_VARIABLE || !v->data || !v->data->bytes)
            continue;
        types[i] = v->data->type;
        offsets[i] = at = (at + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN * WEIGHT_ALIGN;
        at += v->data->length;
        sum += v->data->length;
    }
    return sum;
}

/* The rows that a step is for, so that `flenc compile` gives back a model that reads them. */
static fl_status add_manifest(fl_graph *g, const fl_manifest *m, fl_diag *dg)
{
    char *json = m->schema.n_slots > 0 ? fl_manifest_print(m) : NULL;
    if (m->schema.n_slots > 0 && !json)
        return fl_out_of_memory(dg);
    if (json)
        fl_graph_set_meta(g, FL_MANIFEST_META, json);
    free(json);
    return fl_graph_ok(g, dg);
}

/* The training program as `differentiate` leaves it, with the state that the model has; *out NULL if nothing is trained. */
static fl_status training_program(const arguments *a, fl_model *m, fl_graph *g, fl_graph **out, fl_diag *dg)
{
    fl_source source = {0};
    fl_graph *forward = NULL, *programs[FL_N_PROGRAMS];
    size_t n = 0;
    const void *bytes = m ? fl_model_entry(m, FL_FORWARD_ENTRY, &n) : NULL;
    fl_status status = m ? fl_model_verify_entry(m, FL_FORWARD_ENTRY, dg) : fl_source_read(a->input, a->sets, a->n_sets, &source, dg);
    if (status == FL_OK && bytes)
        status = fl_onnx_decode(bytes, n, a->input, NULL, &forward, dg);
    const fl_graph *from = m ? forward : source.graph;
    if (status == FL_OK && from)
        status = fl_build_programs(from, FL_STAGE_TRAIN, programs, dg);
    if (status == FL_OK && from) {
        *out = programs[FL_PROGRAM_TRAIN];
        programs[FL_PROGRAM_TRAIN] = NULL;
        fl_programs_free(programs);
    }
    for (uint32_t i = 0; status == FL_OK && *out && m && i < (*out)->n_variables; i++) {
        fl_value *v = &(*out)->values[(*out)->variables[i]];
        v->data = v->name && v->kind == FL_VALUE_VARIABLE ? fl_model_find_variable(m, v->name) : v->data;
        if (v->name && v->data && v->kind == FL_VALUE_VARIABLE)
            status = fl_model_verify(m, v->name, dg);
    }
    if (status == FL_OK && *out)
        status = add_manifest(g, m ? fl_model_manifest(m) : &source.manifest, dg);
    fl_graph_free(forward);
    if (!m && source.graph)
        fl_source_deinit(&source);
    if (status == FL_OK && !*out)
        status = fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(a->input), "nothing is trained: there is no training information");
    return status;
}

static fl_status write_onnx(const arguments *a, const fl_graph *g, const fl_graph *training, fl_diag *dg)
{
    void *bytes = NULL;
    size_t n = 0;
    char *data = NULL;
    uint64_t *offsets = calloc(g->n_variables + 1, sizeof *offsets);
    fl_type *types = calloc(g->n_variables + 1, sizeof *types);
    fl_status status = offsets && types && asprintf(&data, "%s.data", a->output) >= 0 ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK) {
        const char *slash = strrchr(data, '/');
        bool outside = place_weights(g, offsets, types) > most_inside || a->external;
        fl_onnx_options options = {.opset = a->opset ? a->opset : FL_ONNX_LOWEST, .functions = true, .training = training};
        if (outside) {
            options.external_location = slash ? slash + 1 : data;
            options.external_offsets = offsets;
            options.external_types = types;
        }
        status = fl_onnx_encode(g, &options, &bytes, &n, dg);
        if (status == FL_OK && outside)
            status = write_file(data, NULL, 0, g, offsets, dg);
        if (status == FL_OK)
            status = write_file(a->output, bytes, n, NULL, NULL, dg);
    }
    free(bytes);
    free(data);
    free(offsets);
    free(types);
    return status;
}

static void note(const arguments *a, const fl_graph *g)
{
    uint32_t n_empty = 0;
    for (uint32_t i = 0; i < g->n_variables; i++)
        n_empty += g->values[g->variables[i]].name && !g->values[g->variables[i]].data;
    if (n_empty > 0 && !a->quiet)
        fprintf(stderr, "%s: %u variables have no values yet and are inputs of the graph\n", a->output, n_empty);
}

static fl_status export(const arguments *a, fl_diag *dg)
{
    fl_model *m = NULL;
    fl_graph *g = NULL, *training = NULL;
    size_t n = strlen(a->input);
    fl_status status = FL_OK;
    if (n > 4 && strcmp(a->input + n - 4, ".bin") == 0) {
        status = fl_model_open(a->input, 0, &m, dg);
        if (status == FL_OK)
            status = from_model(m, &g, dg);
    } else {
        status = from_source(a, &g, dg);
    }
    if (status == FL_OK && strcmp(a->stage, "optimised") == 0)
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict}, dg);
    if (status == FL_OK && a->standard)
        status = fl_bodies_inline(g, dg);
    if (status == FL_OK && a->training)
        status = training_program(a, m, g, &training, dg);
    if (status == FL_OK)
        status = write_onnx(a, g, training, dg);
    if (status == FL_OK)
        note(a, g);
    fl_graph_free(training);
    fl_graph_free(g);
    fl_model_free(m);
    return status;
}

int fl_verb_export(int argc, char **argv)
{
    fl_diag dg;
    arguments a = {.output = "model.onnx", .stage = "forward", .sets = calloc((size_t)argc + 1, sizeof(char *))};
    fl_diag_init(&dg);
    fl_status status = a.sets ? read_arguments(argc, argv, &a, &dg) : fl_out_of_memory(&dg);
    if (status == FL_OK && a.help)
        fputs(usage, stdout);
    else if (status == FL_OK)
        status = export(&a, &dg);
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    free(a.sets);
    return fl_status_exit(status);
}
