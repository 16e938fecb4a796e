/* verb_explain.c -- `flenc explain E0123`: the page of a diagnostic. */
#include "frontend/verbs.h"

#include "ir/base/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fl_verb_explain(int argc, char **argv)
{
    const char *title, *page;
    char *end;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("usage: flenc explain E0123\nPrints what the diagnostic of that number means, and what to do about it.");
        return 0;
    }
    if (argc != 2) {
        fputs("flenc: error: explain needs one code, such as E0123 [E0002]\n", stderr);
        return 2;
    }
    const char *digits = argv[1][0] == 'E' || argv[1][0] == 'e' ? argv[1] + 1 : argv[1];
    long number = strtol(digits, &end, 10);
    if (*digits == '\0' || *end != '\0' || number < 0 || number > 9999 || !fl_code_explain((int)number, &title, &page)) {
        fprintf(stderr, "flenc: error: there is no diagnostic \"%s\" [E0002]\n", argv[1]);
        return 2;
    }
    printf("E%04ld: %s\n\n%s\n", number, title, page);
    return 0;
}
