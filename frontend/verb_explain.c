/* verb_explain.c -- `flenc explain E0104`: the page of a diagnostic; `flenc explain X VALUE`: the story of a value. */
#include "frontend/verbs.h"

#include "frontend/verb_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int explain_value(int argc, char **argv)
{
    const char *program = NULL;
    static const char option[] = "--program=";
    fl_diag dg;
    if (argc == 4 && strncmp(argv[3], option, strlen(option)) == 0) {
        program = argv[3] + strlen(option);
    } else if (argc != 3) {
        fputs("flenc: error: explain needs one code, such as E0104, or a graph, a value and perhaps --program=P [E0002]\n", stderr);
        return 2;
    }
    fl_diag_init(&dg);
    int status = fl_status_exit(fl_tell_story(argv[1], argv[2], program, &dg));
    fl_diag_print(&dg, stderr, "flenc", NULL, NULL);
    fl_diag_deinit(&dg);
    return status;
}

int fl_verb_explain(int argc, char **argv)
{
    const char *title, *page;
    char *end;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("usage: flenc explain E0104\n"
             "       flenc explain X VALUE [--program=predict|train]\n"
             "Prints what the diagnostic of that number means, and what to do about it; or the story of one value of X (a configuration, a model.bin, an\n"
             "ONNX file, a graph text): where it comes from, which passes made or changed it, and where it lies in memory.");
        return 0;
    }
    if (argc != 2)
        return explain_value(argc, argv);
    const char *digits = argv[1][0] == 'E' || argv[1][0] == 'e' ? argv[1] + 1 : argv[1];
    long number = strtol(digits, &end, 10);
    if (*digits == '\0' || *end != '\0' || number < 0 || number > 9999 || !fl_code_explain((int)number, &title, &page)) {
        fprintf(stderr, "flenc: error: there is no diagnostic \"%s\" [E0002]\n", argv[1]);
        return 2;
    }
    printf("E%04ld: %s\n\n%s\n", number, title, page);
    return 0;
}
