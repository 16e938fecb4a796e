/* flenrt.c -- the runtime's command line: verbs, and what is common to them. Each verb reads its own options. */
#include "ir/base/diag.h"
#include "runtime/verbs_data.h"
#include "runtime/verbs_model.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} verb;

static const verb verbs[] = {
    {"run", fl_verb_run, "what the model's configuration says: its runners in order"},
    {"train", fl_verb_train, "rows to a trained model"},
    {"infer", fl_verb_infer, "AUC and logloss over labelled rows"},
    {"predict", fl_verb_predict, "a probability for each row, as CSV"},
    {"fold", fl_verb_fold, "a trained model and its folded tables in one file, which predicts faster"},
    {"info", fl_verb_info, "what a model is, holds and how it was trained"},
    {"eval", fl_verb_eval, "any graph on tensors, numpy's files in and out"},
    {"bench", fl_verb_bench, "how fast a model trains and predicts here"},
    {"profile", fl_verb_profile, "where the time of a step goes: tables, a trace for Perfetto, a flame view"},
    {"prepare", fl_verb_prepare, "raw rows to the binary cache and vocabulary"},
    {"generate", fl_verb_generate, "rows from a planted model, whose best reachable AUC is known"},
};

static void print_help(FILE *out)
{
    fputs("usage: flenrt VERB [options]\n\n", out);
    for (size_t i = 0; i < FL_COUNT(verbs); i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].what);
    fputs("\n`flenrt VERB --help` explains a verb; `flenrt --version` names this version.\n", out);
}

static bool is_verb_of_flenc(const char *word)
{
    static const char *const others[] = {"compile", "dump", "opt", "export", "verify", "reduce", "explain"};

    for (size_t i = 0; i < FL_COUNT(others); i++)
        if (strcmp(word, others[i]) == 0)
            return true;
    return false;
}

static int unknown_verb(const char *word)
{
    const char *names[FL_COUNT(verbs)];

    for (size_t i = 0; i < FL_COUNT(verbs); i++)
        names[i] = verbs[i].name;
    const char *near = fl_nearest(word, names, FL_COUNT(verbs));
    fprintf(stderr, "flenrt: error: there is no verb \"%s\" [E0002]\n", word);
    if (near)
        fprintf(stderr, "    hint: did you mean \"%s\"?\n", near);
    else if (is_verb_of_flenc(word))
        fprintf(stderr, "    hint: `flenc %s` is one\n", word);
    else
        fputs("    hint: `flenrt --help` lists them\n", stderr);
    return fl_status_exit(FL_BAD_USAGE);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file beyond its limit is an error of write(), as a full disk is */
    if (argc < 2) {
        print_help(stderr);
        return fl_status_exit(FL_BAD_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("flenrt " FLEN_VERSION);
        return 0;
    }
    for (size_t i = 0; i < FL_COUNT(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    return unknown_verb(argv[1]);
}
