/*
 * fuzz_npy.c -- any bytes as a .npy file: read, its data touched to the last byte, and written: what comes back is the same array.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/npy_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read the bytes of `from` as a file that has no name. */
static fl_status read_bytes(const uint8_t *from, size_t size, fl_npy *out)
{
    char path[40];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0 || write(fd, from, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fl_status status = fl_npy_read(path, out, NULL);
    close(fd);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "/tmp/flen-fuzz-npy-XXXXXX";
    static int fd = -1;
    fl_npy a, again;

    if (read_bytes(data, size, &a) != FL_OK)
        return 0;
    if (a.n_bytes > size || (size_t)fl_type_elements(&a.type) * fl_dtype_size(a.type.dtype) != a.n_bytes)
        abort();
    if (fd < 0 && (fd = mkstemp(path)) < 0)
        abort();
    if (fl_npy_write(path, &a.type, a.bytes, NULL) != FL_OK || fl_npy_read(path, &again, NULL) != FL_OK)
        abort();
    if (!fl_type_equal(&a.type, &again.type) || memcmp(a.bytes, again.bytes, a.n_bytes) != 0)
        abort();
    unlink(path);
    fl_npy_free(&a);
    fl_npy_free(&again);
    return 0;
}
