/* fuzz_text.c -- any bytes as graph text: a graph or a report. What was read is printed, read again, and prints as the same text. */
#include "ir/print.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const fl_graph *g, size_t *n)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n);
    if (!out || fl_graph_print(g, &(fl_print_options){.types = false}, out, NULL) != FL_OK || fclose(out) != 0)
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
    if (status == FL_OK) {
        size_t n, m;
        char *first = print(g, &n);
        if (fl_graph_parse(first, n, "first", &again, &dg) != FL_OK)
            abort();
        char *second = print(again, &m);
        if (n != m || memcmp(first, second, n) != 0)
            abort();
        free(second);
        free(first);
        fl_graph_free(again);
        fl_graph_free(g);
    }
    fl_diag_deinit(&dg);
    return 0;
}
