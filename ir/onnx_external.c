/*
 * onnx_external.c -- data outside an ONNX file, found only beneath the model's own folder.
 *
 * The kernel resolves the path (openat2: beneath, no links at all); where it cannot, each folder is opened by hand without
 * following links. A file with a second name (hard link) is refused, because it could be one from elsewhere. Files are
 * mapped, so that length is checked before any memory is taken.
 */
#include "ir/onnx_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static fl_status refuse(const fl_onnx_folder *f, const char *tensor, const char *location, const char *why, fl_diag *dg)
{
    return fl_error(dg, FL_E_ONNX_EXTERNAL, FL_FILE(f->file), "tensor \"%.200s\": external data in \"%.200s\": %s", tensor, location, why);
}

static bool has_parent(const char *path)
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return true;
        p += n + (p[n] == '/');
    }
    return false;
}

/* Component by component; O_NOFOLLOW refuses a link in each. */
static int walk(int folder, const char *path)
{
    char part[256];
    int at = dup(folder);
    while (at >= 0) {
        size_t n = strcspn(path, "/");
        bool last = path[n] == '\0';
        if (n >= sizeof part) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, path, n);
        part[n] = '\0';
        int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
        int next = openat(at, n ? part : ".", flags);
        int error = errno;
        struct stat st; /* a link where a folder is wanted is told as what it is */
        if (next < 0 && error == ENOTDIR && fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
            error = ELOOP;
        close(at);
        errno = error;
        if (last || next < 0)
            return next;
        at = next;
        path += n + 1;
    }
    return -1;
}

static int open_beneath(const char *folder, const char *path)
{
    int at = open(*folder ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return -1;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, at, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
        fd = walk(at, path);
    int error = errno;
    close(at);
    errno = error;
    return fd;
}

typedef struct mapping {
    void *bytes;
    size_t n;
} mapping;

static void unmap(void *arg)
{
    const mapping *m = arg;
    munmap(m->bytes, m->n);
}

static fl_status map_range(const fl_onnx_folder *f, fl_graph *g, int fd, const char *tensor, const fl_tensor *wanted, const void **bytes,
                           fl_diag *dg)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return refuse(f, tensor, wanted->location, strerror(errno), dg);
    if (!S_ISREG(st.st_mode))
        return refuse(f, tensor, wanted->location, "not a regular file", dg);
    if (st.st_nlink > 1)
        return refuse(f, tensor, wanted->location, "the file has a second name (hard link)", dg);
    uint64_t size = (uint64_t)st.st_size;
    if (wanted->offset > size || wanted->length > size - wanted->offset)
        return fl_error(dg, FL_E_ONNX_EXTERNAL, FL_FILE(f->file),
                        "tensor \"%.200s\": bytes %llu to %llu lie beyond the end of \"%.200s\", which has %llu", tensor,
                        (unsigned long long)wanted->offset, (unsigned long long)(wanted->offset + wanted->length), wanted->location,
                        (unsigned long long)size);
    if (wanted->length == 0) {
        *bytes = "";
        return FL_OK;
    }
    uint64_t start = wanted->offset & ~(uint64_t)4095;
    mapping *m = fl_arena_new(&g->arena, mapping, 1);
    if (!m)
        return fl_out_of_memory(dg);
    m->n = (size_t)(wanted->offset - start + wanted->length);
    m->bytes = mmap(NULL, m->n, PROT_READ, MAP_PRIVATE, fd, (off_t)start);
    if (m->bytes == MAP_FAILED)
        return refuse(f, tensor, wanted->location, strerror(errno), dg);
    if (fl_arena_on_free(&g->arena, unmap, m) != FL_OK) {
        unmap(m);
        return fl_out_of_memory(dg);
    }
    const char *from = (const char *)m->bytes + (wanted->offset - start);
    *bytes = from;
    if (wanted->offset % fl_dtype_size(wanted->type.dtype) == 0)
        return FL_OK;
    void *aligned = fl_arena_alloc(&g->arena, wanted->length); /* no larger than the file, which exists */
    if (!aligned)
        return fl_out_of_memory(dg);
    memcpy(aligned, from, wanted->length);
    *bytes = aligned;
    return FL_OK;
}

fl_status fl_onnx_find_in_folder(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg)
{
    const fl_onnx_folder *f = self;
    const char *path = wanted->location;
    if (!*path || *path == '/')
        return refuse(f, tensor, path, "the path is absolute or empty", dg);
    if (has_parent(path))
        return refuse(f, tensor, path, "the path leaves the model's folder", dg);
    int fd = open_beneath(f->folder, path);
    if (fd < 0)
        return refuse(f, tensor, path, errno == ELOOP ? "the path goes through a symbolic link" : strerror(errno), dg);
    fl_status status = map_range(f, g, fd, tensor, wanted, bytes, dg);
    close(fd);
    return status;
}
