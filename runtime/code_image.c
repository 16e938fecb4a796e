/*
 * code_image.c -- generated code becomes functions of this process.
 *
 * An image is an ordinary shared object without dependencies, so that the system's loader maps it (and perf, gdb and
 * objdump know it). It is opened through its descriptor: what was checked is what is loaded, and where the file's folder may not
 * hold executable mappings, an anonymous file does.
 */
#include "runtime/native.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct fl_image {
    void *handle;
    int fd; /* kept open: the loader knows images by name, and /proc/self/fd/N must stay this one */
};

static fl_status write_all(int fd, const uint8_t *bytes, size_t n, fl_diag *dg)
{
    while (n > 0) {
        ssize_t k = write(fd, bytes, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return fl_error(dg, FL_E_CODE_IMAGE, FL_NOWHERE, "no memory for generated code: %s", strerror(errno));
        bytes += k;
        n -= (size_t)k;
    }
    return FL_OK;
}

static fl_status open_descriptor(int fd, const char *name, fl_image **out, fl_diag *dg)
{
    char path[64];
    fl_image *code = malloc(sizeof *code);

    if (!code) {
        close(fd);
        return fl_out_of_memory(dg);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *code = (fl_image){dlopen(path, RTLD_NOW | RTLD_LOCAL), fd};
    if (!code->handle) {
        fl_status status = fl_error(dg, FL_E_CODE_IMAGE, FL_FILE(name), "the code cannot be loaded: %s", dlerror());
        fl_image_free(code);
        return status;
    }
    *out = code;
    return FL_OK;
}

fl_status fl_image_load_bytes(const void *bytes, size_t n, const char *name, fl_image **out, fl_diag *dg)
{
    int fd = memfd_create("flen-code", MFD_CLOEXEC);

    if (fd < 0)
        return fl_error(dg, FL_E_CODE_IMAGE, FL_NOWHERE, "no memory for generated code: %s", strerror(errno));
    fl_status status = write_all(fd, bytes, n, dg);
    if (status != FL_OK) {
        close(fd);
        return status;
    }
    return open_descriptor(fd, name, out, dg);
}

fl_status fl_image_load_fd(int fd, const char *name, fl_image **out, fl_diag *dg)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || st.st_size <= 0) {
        close(fd);
        return fl_error(dg, FL_E_CODE_IMAGE, FL_FILE(name), "the code cannot be loaded: not a file with contents");
    }
    size_t n = (size_t)st.st_size;
    void *map = mmap(NULL, n, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (map != MAP_FAILED) {
        munmap(map, n);
        return open_descriptor(fd, name, out, dg);
    }
    /* A file system mounted noexec: the bytes move to an anonymous file. */
    map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    fl_status status = map == MAP_FAILED
                           ? fl_error(dg, FL_E_CODE_IMAGE, FL_FILE(name), "the code cannot be mapped: %s", strerror(errno))
                           : fl_image_load_bytes(map, n, name, out, dg);
    if (map != MAP_FAILED)
        munmap(map, n);
    close(fd);
    return status;
}

fl_segment_fn *fl_image_find(const fl_image *code, const char *symbol)
{
    void *at = dlsym(code->handle, symbol);
    fl_segment_fn *fn = NULL;

    memcpy(&fn, &at, sizeof fn); /* C has no conversion from object to function pointers; POSIX promises the bits */
    return fn;
}

void fl_image_free(fl_image *code)
{
    if (!code)
        return;
    if (code->handle)
        dlclose(code->handle);
    close(code->fd);
    free(code);
}
