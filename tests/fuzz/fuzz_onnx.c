/* fuzz_onnx.c -- any bytes as an ONNX file: success or a report. What was read is written again; its training step is read, too. */
#include "ir/model.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *g = NULL;
    fl_status status = fl_onnx_decode(data, size, "fuzz.onnx", "/nonexistent", &g, &dg);
    if (status != FL_OK && dg.n_errors == 0)
        abort(); /* a failure without words */
    void *bytes = NULL;
    size_t n;
    if (status == FL_OK && fl_onnx_encode(g, NULL, &bytes, &n, &dg) == FL_OK)
        free(bytes);
    fl_graph_free(g);
    g = NULL;
    fl_diag_clear(&dg);
    if (fl_onnx_decode_training(data, size, "fuzz.onnx", "/nonexistent", &g, &dg) != FL_OK && dg.n_errors == 0)
        abort();
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    return 0;
}
