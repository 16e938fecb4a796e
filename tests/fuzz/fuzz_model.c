/* fuzz_model.c -- any bytes as a model.bin: opened, or refused with a report. */
#include "ir/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fl_diag dg;
    fl_diag_init(&dg);
    fl_model *m = NULL;
    fl_status status = fl_model_open(path, FL_MODEL_VERIFY_ALL, &m, &dg);
    if (status != FL_OK && dg.n_errors == 0)
        abort(); /* a failure without words */
    const fl_graph *g = NULL;
    for (int p = 0; m && p < FL_N_PROGRAMS; p++)
        if (fl_model_program(m, (fl_program)p, &g, &dg) != FL_OK && dg.n_errors == 0)
            abort();
    fl_model_free(m);
    fl_diag_deinit(&dg);
    close(fd);
    return 0;
}
