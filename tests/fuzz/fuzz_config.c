/* fuzz_config.c -- any bytes as a configuration: a network's graph, or a report with a place. */
#include "frontend/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_diag dg;
    fl_config c;
    fl_graph *g = NULL;
    char *text = malloc(size + 1); /* a NUL behind it, as fl_file_read has */
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    fl_diag_init(&dg);
    fl_status status = fl_config_parse(text, size, "fuzz.yaml", NULL, 0, &c, &dg);
    if (status != FL_OK && dg.n_errors == 0)
        abort(); /* a failure without words */
    if (status == FL_OK) {
        status = fl_network_build(&c.network, &g, &dg);
        if (status != FL_OK && dg.n_errors == 0)
            abort();
        fl_graph_free(g);
        fl_config_deinit(&c);
    }
    fl_diag_deinit(&dg);
    free(text);
    return 0;
}
