/*
 * verb_compile.c -- `flenc compile`: configuration, ONNX file or graph text to model.bin.
 *
 * A configuration gives a forward graph with parameters, from which all four programs are made. An imported graph is a predict
 * program, and a training program too if it has parameters (metadata `ai.flen.params`) and a loss.
 */
#include "frontend/verbs.h"

#include "backend/backend.h"
#include "frontend/compile.h"
#include "ir/model.h"
#include "passes/pass.h"
#include "runtime/session.h"

#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *input, *output, *data_dir, *disable;
    const char **sets;
    uint32_t n_sets;
    bool store_folds, quiet, json, help;
} arguments;

static const char usage[] =
    "usage: flenc compile X [-o model.bin] [--set KEY.PATH=VALUE]... [--fold-tables=stored|off] [--disable=P,...] [--quiet] [--json]\n"
    "X is a configuration (.yaml), an ONNX file (.onnx) or graph text; - is graph text from standard input. Of an ONNX file with training\n"
    "information, of ours or by the standard's Gradient, Adagrad, Adam and Momentum, the model can be trained; what of it is not read is told by a warning.\n"
    "  -o FILE                where the model goes (model.bin)\n"
    "  --set KEY.PATH=VALUE   overrides a key of the configuration: --set dataset.0.data_path=DIR\n"
    "  --data-dir DIR         where the files lie that a graph text refers to (its own folder)\n"
    "  --fold-tables=stored   the model holds folded tables, as `flenrt fold` makes them: at once where X brings its weights, else as soon as\n"
    "                         `flenrt run` or `train` has trained it (off)\n"
    "  --disable=P,...        leaves passes out (`flenc opt --list-passes`): to find the one that is wrong, or what it is worth\n"
    "  --quiet                no warnings, no summary\n"
    "  --json                 the summary as one line of JSON\n";

static fl_status take_folds(arguments *a, const char *value, fl_diag *dg)
{
    a->store_folds = strcmp(value, "stored") == 0;
    if (!a->store_folds && strcmp(value, "off") != 0)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "--fold-tables cannot be \"%s\": stored, off", value);
    return FL_OK;
}

static fl_status parse_arguments(int argc, char **argv, arguments *a, fl_diag *dg)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool set = strncmp(word, "--set=", 6) == 0;
        if ((strcmp(word, "-o") == 0 || strcmp(word, "--set") == 0 || strcmp(word, "--data-dir") == 0 || strcmp(word, "--disable") == 0 || strcmp(word, "--fold-tables") == 0) && i + 1 == argc)
            return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "%s needs a value", word);
        if (strcmp(word, "-o") == 0)
            a->output = argv[++i];
        else if (strcmp(word, "--set") == 0 || set)
            a->sets[a->n_sets++] = set ? word + 6 : argv[++i];
        else if (strcmp(word, "--data-dir") == 0 || strncmp(word, "--data-dir=", 11) == 0)
            a->data_dir = word[10] ? word + 11 : argv[++i];
        else if (strcmp(word, "--disable") == 0 || strncmp(word, "--disable=", 10) == 0)
            a->disable = word[9] ? word + 10 : argv[++i];
        else if (strcmp(word, "--fold-tables") == 0 || strncmp(word, "--fold-tables=", 14) == 0)
            FL_TRY(take_folds(a, word[13] ? word + 14 : argv[++i], dg));
        else if (strcmp(word, "--quiet") == 0)
            a->quiet = true;
        else if (strcmp(word, "--json") == 0)
            a->json = true;
        else if (strcmp(word, "--help") == 0)
            a->help = true;
        else if (word[0] == '-' && word[1])
            return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "unknown option %s", word);
        else if (a->input)
            return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "one input, not two: %s, %s", a->input, word);
        else
            a->input = word;
    }
    if (!a->input && !a->help)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "what is to be compiled?");
    return FL_OK;
}

/* The forward graph as an entry of its own, without values of variables: these lie in weights.bin. */
static fl_status encode_forward(const fl_graph *g, void **bytes, size_t *n, fl_diag *dg)
{
    fl_graph *bare = fl_graph_clone(g);
    fl_status status = bare ? fl_graph_ok(bare, dg) : fl_out_of_memory(dg);
    for (uint32_t i = 0; status == FL_OK && i < bare->n_variables; i++)
        if (bare->values[bare->variables[i]].kind == FL_VALUE_VARIABLE)
            bare->values[bare->variables[i]].data = NULL;
    if (status == FL_OK)
        status = fl_onnx_encode(bare, &(fl_onnx_options){.opset = 0}, bytes, n, dg);
    fl_graph_free(bare);
    return status;
}

/* Variables that come with values: those of imported graphs, if `but` does not have them already. */
static void add_variables(const fl_graph *g, const fl_graph *but, fl_model_variable_source *v, uint32_t *n)
{
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *value = &g->values[g->variables[i]];
        fl_id other = but && value->name ? fl_graph_find(but, value->name) : FL_NONE;
        if (!value->name || value->kind != FL_VALUE_VARIABLE || !value->data || (other != FL_NONE && but->values[other].kind == FL_VALUE_VARIABLE && but->values[other].data))
            continue;
        const fl_type *t = &value->data->type;
        int64_t elements = fl_type_elements(t), rows = t->rank ? t->dims[0] : 1;
        v[(*n)++] = (fl_model_variable_source){value->name, *t, value->data->bytes, rows ? elements / rows : 0};
    }
}

/* *has_weights: it holds variables with values. */
static fl_status save(const arguments *a, const fl_source *source, const fl_graph *forward, fl_graph *const *programs, bool *has_weights, fl_diag *dg)
{
    const fl_graph *g = source->graph;
    fl_model_content content = {.manifest = &source->manifest, .source = forward};
    fl_model_variable_source *v = calloc(g->n_variables + (source->training ? source->training->n_variables : 0u) + 1u, sizeof *v);
    if (!v)
        return fl_out_of_memory(dg);
    add_variables(g, NULL, v, &content.n_variables);
    if (source->training)
        add_variables(source->training, g, v, &content.n_variables);
    void *encoded = NULL;
    size_t n_encoded = 0;
    fl_status status = encode_forward(g, &encoded, &n_encoded, dg);
    fl_model_entry_source entry = {FL_FORWARD_ENTRY, encoded, n_encoded};
    content.entries = &entry;
    content.n_entries = 1;
    content.variables = v;
    *has_weights = content.n_variables > 0;
    for (int i = 0; i < FL_N_PROGRAMS; i++)
        content.programs[i] = programs[i];
    if (status == FL_OK)
        status = fl_model_save(a->output, &content, dg);
    free(encoded);
    free(v);
    return status;
}

static void summarise(const arguments *a, const fl_source *source)
{
    const fl_manifest *m = &source->manifest;
    if (a->quiet)
        return;
    if (a->json)
        printf("{\"event\":\"compiled\",\"network\":\"%s\",\"slots\":%u,\"fields\":%u,\"parameters\":%lld}\n", m->network,
               m->schema.n_slots, m->schema.n_fields, (long long)m->parameters);
    else if (m->parameters)
        fprintf(stderr, "%s: network %s, %u slots in %u fields, %lld parameters\n", a->output, m->network, m->schema.n_slots,
                m->schema.n_fields, (long long)m->parameters);
    else
        fprintf(stderr, "%s: network %s, %u slots in %u fields\n", a->output, m->network, m->schema.n_slots, m->schema.n_fields);
}

/* The training step that an ONNX file brought; one that cannot be compiled is given up. */
static fl_status add_training(const arguments *a, fl_source *source, fl_graph **programs, fl_diag *dg)
{
    fl_diag own;

    if (!source->training || programs[FL_PROGRAM_TRAIN])
        return FL_OK;
    fl_diag_init(&own);
    fl_status status = fl_build_training(source->training, FL_STAGE_SCHEDULED, a->disable, programs, &own);
    if (status == FL_NO_MEMORY)
        status = fl_out_of_memory(dg);
    else if (status != FL_OK) {
        fl_source_drop_training(source, &own, a->input, dg);
        status = FL_OK;
    }
    fl_diag_deinit(&own);
    return status;
}

static fl_status compile(const arguments *a, fl_diag *dg)
{
    fl_source source;
    fl_graph *programs[FL_N_PROGRAMS] = {NULL}, *forward[FL_N_PROGRAMS] = {NULL};
    bool has_weights = false;
    uint64_t folded = 0;
    FL_TRY(fl_source_read(a->input, a->sets, a->n_sets, &source, dg));
    source.manifest.store_folds = a->store_folds;
    fl_status status = fl_source_attach(source.graph, a->input, a->data_dir, false, dg);
    if (status == FL_OK)
        status = fl_build_programs_without(source.graph, FL_STAGE_SCHEDULED, a->disable, programs, dg);
    if (status == FL_OK)
        status = add_training(a, &source, programs, dg);
    if (status == FL_OK)
        status = fl_build_programs(source.graph, FL_STAGE_FORWARD, forward, dg);
    if (status == FL_OK)
        status = save(a, &source, forward[FL_PROGRAM_PREDICT], programs, &has_weights, dg);
    if (status == FL_OK && a->store_folds && has_weights)
        status = fl_session_store_folds(a->output, a->output, &(fl_session_options){.compile = fl_compile_as}, &folded, dg);
    if (status == FL_OK && a->store_folds && !programs[FL_PROGRAM_FOLDING] && !a->quiet)
        fprintf(stderr, "%s: the model has nothing to fold\n", a->output);
    if (status == FL_OK)
        summarise(a, &source);
    fl_programs_free(programs);
    fl_programs_free(forward);
    fl_source_deinit(&source);
    return status;
}

int fl_verb_compile(int argc, char **argv)
{
    fl_diag dg;
    arguments a = {.output = "model.bin", .sets = calloc((size_t)argc + 1, sizeof(char *))};
    fl_diag_init(&dg);
    fl_status status = a.sets ? parse_arguments(argc, argv, &a, &dg) : fl_out_of_memory(&dg);
    if (status == FL_OK && a.help)
        fputs(usage, stdout);
    else if (status == FL_OK)
        status = compile(&a, &dg);
    if (status != FL_OK || !a.quiet)
        fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    free(a.sets);
    return fl_status_exit(status);
}
