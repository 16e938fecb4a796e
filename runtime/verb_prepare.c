/* verb_prepare.c -- `flenrt prepare`: vocabulary, caches, and the model bound to them, side by side in one folder. */
#include "runtime/verbs_data.h"

#include <stdlib.h>
#include <string.h>

#include "ir/base/bytes.h"
#include "runtime/prepare.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt prepare model.bin RAW... -o DIR [options]\n"
    "\n"
    "Reads raw rows (files or folders) by the model's schema and writes into DIR what all other verbs read fastest: `train` and, with\n"
    "a split, `valid`, both binary caches; `vocabulary`, the dictionaries that the rows gave; and `model.bin`, the model bound to\n"
    "them, ready for `flenrt train DIR/model.bin --data DIR`. A model that has seen data already keeps its vocabulary: unseen values\n"
    "are out of vocabulary then, and a trained model is not copied.\n"
    "\n"
    "  --valid-from COLUMN=TEXT  rows whose column begins with TEXT, or comes behind it in byte order, go to `valid`: hour=141030\n"
    "  --valid-share X           each row goes to `valid` with probability X, 0 to 1, by --seed\n"
    "  --valid-tail N            the last N rows go to `valid`\n"
    "  --seed N                  of --valid-share, default 1\n" FL_HELP_THREADS
    "  --strict                  stop at the first row that cannot be read, instead of counting them\n" FL_HELP_COMMON
    "\n"
    "example: flenrt prepare model.bin train.csv.gz -o prepared --valid-from hour=141030\n";

typedef struct splitting {
    fl_prepare_options o;
    int n; /* splits asked for */
} splitting;

/* The value of one of our own options. False: it cannot be read. */
static bool take(void *arg, const char *name, char *value)
{
    splitting *s = arg;
    fl_prepare_options *o = &s->o;
    char *end;

    s->n++;
    if (strcmp(name, "valid-from") == 0) {
        end = strchr(value, '=');
        if (!end || end == value || !end[1])
            return false;
        *end = 0;
        o->split = FL_SPLIT_FROM;
        o->column = value;
        o->from = end + 1;
        return true;
    }
    if (strcmp(name, "valid-share") == 0) {
        o->split = FL_SPLIT_SHARE;
        o->share = strtod(value, &end);
        return end != value && !*end && o->share > 0 && o->share < 1;
    }
    o->split = FL_SPLIT_TAIL;
    return fl_parse_size(value, 1, &o->tail);
}

static void show_progress(void *arg, const char *pass, int64_t rows)
{
    (void)arg;
    if (strcmp(pass, "encode") == 0 && rows == 0)
        fl_verb_catch_interrupts(); /* from here on there are files to clean up */
    else
        fl_verb_notef("prepare: %s, %lld rows", pass, (long long)rows);
}

/* The model as it was, with its schema bound and the vocabulary inside. A session does just that. */
static fl_status bind_model(const fl_verb_options *o, fl_diag *dg)
{
    fl_session s;
    char *path;

    if (asprintf(&path, "%s/model.bin", o->output) < 0)
        return fl_out_of_memory(dg);
    fl_session_options so = {.threads = 1, .data = o->output};
    fl_status status = fl_session_open(&s, o->model, &so, dg);
    if (status == FL_OK) {
        status = fl_session_save(&s, path, NULL, 0, dg);
        fl_session_close(&s);
    }
    free(path);
    return status;
}

static fl_status prepare(const fl_verb_options *o, fl_prepare_options *po, fl_prepare_result *r, bool *bound, fl_diag *dg)
{
    fl_model *m;
    fl_vocabulary *v = NULL;
    size_t n;

    FL_TRY(fl_model_open(o->model, 0, &m, dg));
    fl_manifest *manifest = fl_model_manifest(m);
    const void *bytes = fl_model_entry(m, FL_VOCABULARY_ENTRY, &n);
    *bound = fl_model_n_variables(m) == 0;
    fl_status status = FL_OK;
    if (manifest->schema.n_slots == 0)
        status = fl_error(dg, FL_E_FEED, FL_FILE(o->model), "the model has no schema: it was not made from a configuration");
    if (status == FL_OK && bytes) {
        status = fl_model_verify_entry(m, FL_VOCABULARY_ENTRY, dg);
        if (status == FL_OK)
            status = fl_vocabulary_open(bytes, n, &manifest->schema, o->model, &v, dg);
        if (status == FL_OK)
            fl_verb_note("prepare: with the vocabulary that the model has");
    }
    if (status == FL_OK) {
        po->quirks = manifest->quirks;
        po->vocabulary = v;
        status = fl_prepare(&manifest->schema, po, r, dg);
        fl_vocabulary_free(r->vocabulary);
        r->vocabulary = NULL;
    }
    fl_vocabulary_free(v);
    fl_model_free(m);
    return status == FL_OK && *bound ? bind_model(o, dg) : status;
}

static void print_result(const fl_verb_options *o, const fl_prepare_result *r, bool bound)
{
    if (o->json) {
        printf("{\"event\":\"done\",\"rows\":%lld,\"train_rows\":%lld,\"valid_rows\":%lld,\"bad_rows\":%lld,\"path\":", (long long)(r->train_rows + r->valid_rows),
               (long long)r->train_rows, (long long)r->valid_rows, (long long)r->bad_rows);
        fl_json_string(stdout, o->output);
        puts("}");
        return;
    }
    if (o->quiet)
        return;
    printf("%s: %lld rows to train, %lld to valid, %lld left out\n", o->output, (long long)r->train_rows, (long long)r->valid_rows,
           (long long)r->bad_rows);
    if (bound)
        fl_verb_notef("prepare: go on with `flenrt train %s/model.bin --data %s -o trained.bin`", o->output, o->output);
}

int fl_verb_prepare(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"valid-from", true}, {"valid-share", true}, {"valid-tail", true}};
    splitting split = {.o = {.stop = &fl_interrupted}};
    fl_prepare_options *po = &split.o;
    fl_verb verb = {"prepare", help, FL_TAKES_THREADS | FL_TAKES_SEED | FL_TAKES_STRICT | FL_TAKES_OUTPUT | FL_TAKES_MORE, own, FL_COUNT(own), take, &split};
    fl_verb_options o;
    fl_diag dg;
    fl_prepare_result r = {0};
    bool bound = false;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (o.n_more == 0)
        return fl_verb_wrong(verb.name, "raw data is needed behind the model: files or folders");
    if (!o.output)
        return fl_verb_wrong(verb.name, "-o DIR is needed: the folder for the results");
    if (split.n > 1)
        return fl_verb_wrong(verb.name, "rows can be split in one way only");
    po->paths = (const char *const *)o.more;
    po->n_paths = (size_t)o.n_more;
    po->folder = o.output;
    po->threads = o.threads ? o.threads : fl_cpu_count();
    po->seed = o.has_seed ? o.seed : 1;
    po->strict = o.strict;
    po->progress = show_progress;
    fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    fl_status status = prepare(&o, po, &r, &bound, &dg);
    if (status == FL_OK)
        print_result(&o, &r, bound);
    return fl_verb_end(status, &dg);
}
