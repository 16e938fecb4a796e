/* fuzz_text.c -- any bytes as graph text: a graph or a report. What was read is printed, read again, and prints as the same text, with functions and without. */
#include "ir/print.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const fl_graph *g, bool functions, size_t *n)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n);
    if (!out || fl_graph_print(g, &(fl_print_options){.functions = functions}, out, NULL) != FL_OK || fclose(out) != 0)
        abort();
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_diag dg;
    fl_graph *g = NULL, *again = NULL;
    fl_diag_init(&dg);
    fl_status status = fl_graph_parse((const char *)data, size, "fuzz", &g, &dg);
    if (status != FL_OK && dg.n_errors == 0)
        abort(); /* a failure without words */
    for (int functions = 0; functions < 2 && status == FL_OK; functions++) {
        size_t n, m;
        if (functions && size > 1000) /* bodies may have as many nodes as there are pairs of operands */
            continue;
        char *first = print(g, functions, &n);
        if (fl_graph_parse(first, n, "first", &again, &dg) != FL_OK)
            abort();
        char *second = print(again, functions, &m);
        if (n != m || memcmp(first, second, n) != 0)
            abort();
        free(second);
        free(first);
        fl_graph_free(again);
    }
    if (status == FL_OK)
        fl_graph_free(g);
    fl_diag_deinit(&dg);
    return 0;
}
