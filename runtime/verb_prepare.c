/* verb_prepare.c -- `flenrt prepare`: vocabulary, caches, and the model bound to them, side by side in one folder. */
#include "runtime/verbs_data.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/model.h"
#include "runtime/prepare.h"

static const char help[] =
    "usage: flenrt prepare model.bin RAW... -o DIR [--valid-from COLUMN=PREFIX | --valid-share X | --valid-tail N]\n"
    "                      [--threads N] [--seed N] [--strict] [--json] [--quiet]\n"
    "Reads raw rows by the model's schema and writes DIR/train, DIR/valid, DIR/vocabulary, and DIR/model.bin, the model\n"
    "bound to the vocabulary. RAW are files or folders.\n";

typedef struct prepare_arguments {
    const char *model;
    fl_prepare_options o;
    bool json, quiet;
} prepare_arguments;

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "flenrt: error: prepare: %s%s%s [E%04d]\n", what, value ? " " : "", value ? value : "", FL_E_USAGE);
    return 2;
}

static bool parse_count(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && !errno && *out >= 0;
}

/* The value of option `c`. False: it cannot be read. */
static bool take_option(prepare_arguments *a, int c, char *text)
{
    int64_t n;
    char *end;
    switch (c) {
    case 'F':
        end = strchr(text, '=');
        if (!end || end == text || !end[1])
            return false;
        *end = 0;
        a->o.split = FL_SPLIT_FROM;
        a->o.column = text;
        a->o.from = end + 1;
        return true;
    case 'S':
        a->o.split = FL_SPLIT_SHARE;
        a->o.share = strtod(text, &end);
        return end != text && !*end && a->o.share > 0 && a->o.share < 1;
    case 'T':
        a->o.split = FL_SPLIT_TAIL;
        return parse_count(text, &a->o.tail) && a->o.tail > 0;
    case 't':
        a->o.threads = parse_count(text, &n) && n <= 64 ? (uint32_t)n : 0;
        return a->o.threads > 0;
    case 'e':
        if (!parse_count(text, &n))
            return false;
        a->o.seed = (uint64_t)n;
        return true;
    }
    return false;
}

/* Exit status of a wrong call, 0 after --help, -1: go on. */
static int parse(int argc, char **argv, prepare_arguments *a)
{
    static const struct option options[] = {{"valid-from", required_argument, NULL, 'F'},  {"valid-share", required_argument, NULL, 'S'},
                                            {"valid-tail", required_argument, NULL, 'T'},  {"threads", required_argument, NULL, 't'},
                                            {"seed", required_argument, NULL, 'e'},        {"strict", no_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},              {"quiet", no_argument, NULL, 'q'},
                                            {"output", required_argument, NULL, 'o'},      {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool split = false;
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (c == '?' || c == ':')
            return wrong("option not known or without value:", argv[optind - 1]);
        if (c == 's' || c == 'j' || c == 'q') {
            *(c == 's' ? &a->o.strict : c == 'j' ? &a->json : &a->quiet) = true;
        } else if (c == 'o') {
            a->o.folder = optarg;
        } else {
            bool is_split = c == 'F' || c == 'S' || c == 'T';
            if (is_split && split)
                return wrong("rows can be split in one way only:", argv[optind - 1]);
            split = split || is_split;
            if (!take_option(a, c, optarg))
                return wrong("value cannot be read:", optarg);
        }
    }
    if (argc - optind < 2 || !a->o.folder)
        return wrong("a model, raw data and -o DIR are needed", NULL);
    a->model = argv[optind];
    a->o.paths = (const char *const *)(argv + optind + 1);
    a->o.n_paths = (size_t)(argc - optind - 1);
    return -1;
}

static void show_progress(void *arg, const char *pass, int64_t rows)
{
    (void)arg;
    fprintf(stderr, "prepare: %s, %lld rows\n", pass, (long long)rows);
}

/* The model as it was, with its schema bound and the vocabulary inside. */
static fl_status save_model(fl_model *m, const char *path, const fl_vocabulary *v, fl_diag *dg)
{
    fl_model_content content = {.manifest = fl_model_manifest(m)};
    fl_model_entry_source entry = {.name = FL_VOCABULARY_ENTRY};
    uint32_t n = fl_model_n_variables(m);

    FL_TRY(fl_model_source(m, &content.source, dg));
    for (fl_program p = 0; p < FL_N_PROGRAMS; p++)
        FL_TRY(fl_model_program(m, p, &content.programs[p], dg));
    fl_model_variable_source *variables = calloc((size_t)n + 1, sizeof *variables);
    if (!variables)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < n; i++) {
        const fl_tensor *t = fl_model_variable(m, i, &variables[i].name);
        variables[i].type = t->type;
        variables[i].bytes = t->bytes;
        variables[i].stride = 1; /* dense: of a row */
        for (int k = 1; k < t->type.rank; k++)
            variables[i].stride *= t->type.dims[k];
    }
    content.variables = variables;
    content.n_variables = n;
    if (v) {
        entry.bytes = fl_vocabulary_bytes(v, &entry.n);
        content.entries = &entry;
        content.n_entries = 1;
    }
    fl_status status = fl_model_save(path, &content, dg);
    free(variables);
    return status;
}

static fl_status prepare(const prepare_arguments *a, fl_prepare_result *r, fl_diag *dg)
{
    fl_model *m;
    char *path;
    FL_TRY(fl_model_open(a->model, 0, &m, dg));
    fl_prepare_options o = a->o;
    fl_manifest *manifest = fl_model_manifest(m);
    o.quirks = manifest->quirks;
    o.progress = a->quiet ? NULL : show_progress;
    fl_status status = fl_prepare(&manifest->schema, &o, r, dg);
    if (status == FL_OK) {
        if (asprintf(&path, "%s/model.bin", o.folder) < 0) {
            status = fl_out_of_memory(dg);
        } else {
            status = save_model(m, path, r->vocabulary, dg);
            free(path);
        }
        fl_vocabulary_free(r->vocabulary);
        r->vocabulary = NULL;
    }
    fl_model_free(m);
    return status;
}

int fl_verb_prepare(int argc, char **argv)
{
    prepare_arguments a = {.o = {.threads = 2, .seed = 1}};
    int wrong_call = parse(argc, argv, &a);
    if (wrong_call >= 0)
        return wrong_call;
    fl_diag dg;
    fl_prepare_result r = {0};
    fl_diag_init(&dg);
    fl_status status = prepare(&a, &r, &dg);
    fl_diag_print(&dg, stderr, "flenrt", NULL, NULL);
    fl_diag_deinit(&dg);
    if (status == FL_OK && a.json)
        printf("{\"event\":\"done\",\"rows\":%lld,\"train_rows\":%lld,\"valid_rows\":%lld,\"bad_rows\":%lld}\n",
               (long long)(r.train_rows + r.valid_rows), (long long)r.train_rows, (long long)r.valid_rows, (long long)r.bad_rows);
    else if (status == FL_OK && !a.quiet)
        printf("%s: %lld rows to train, %lld to valid, %lld left out\n", a.o.folder, (long long)r.train_rows, (long long)r.valid_rows,
               (long long)r.bad_rows);
    return fl_status_exit(status);
}
