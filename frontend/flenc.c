/*
 * flenc.c -- the compiler's command line: which verb, and what all verbs share.
 */
#include "frontend/verbs.h"
#include "ir/base/diag.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: flenc VERB ...\n"
    "\n"
    "  compile X       a configuration, an ONNX file or a graph text to model.bin\n"
    "  dump X          print the graph of a configuration, an ONNX file, a graph text or a model.bin\n"
    "  opt X           run passes on a graph and print the result\n"
    "  export X        the predict program as plain ONNX, for other tools\n"
    "  verify X        compare passes and native code with the interpreter\n"
    "  reduce X        the smallest graph for which a test still succeeds\n"
    "  explain E0104   what a diagnostic means, and what to do\n"
    "  explain X VALUE where a value comes from, and what became of it\n"
    "\n"
    "`flenc VERB --help` explains a verb. Results go to standard output, everything else to standard error.\n"
    "Exit status: 0 done, 1 bad input or a failed operation, 2 wrong usage.\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"compile", fl_verb_compile},
    {"dump", fl_verb_dump},
    {"opt", fl_verb_opt},
    {"export", fl_verb_export},
    {"verify", fl_verb_verify},
    {"reduce", fl_verb_reduce},
    {"explain", fl_verb_explain},
};

static bool is_verb_of_flenrt(const char *word)
{
    static const char *const others[] = {"run", "train", "infer", "predict", "fold", "info", "eval", "bench", "profile", "prepare", "generate"};

    for (size_t i = 0; i < FL_COUNT(others); i++)
        if (strcmp(word, others[i]) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file beyond its limit is an error of write(), as a full disk is */
    if (argc < 2) {
        fputs(usage, stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("flenc " FLEN_VERSION);
        return 0;
    }
    const char *names[FL_COUNT(verbs)];
    for (size_t i = 0; i < FL_COUNT(verbs); i++) {
        names[i] = verbs[i].name;
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    }
    const char *near = fl_nearest(argv[1], names, FL_COUNT(names));
    fprintf(stderr, "flenc: error: there is no verb \"%s\" [E0002]\n", argv[1]);
    if (near)
        fprintf(stderr, "    hint: did you mean \"%s\"?\n", near);
    else if (is_verb_of_flenrt(argv[1]))
        fprintf(stderr, "    hint: `flenrt %s` is one\n", argv[1]);
    else
        fputs("    hint: `flenc --help` lists them\n", stderr);
    return 2;
}
