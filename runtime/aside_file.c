#include "runtime/aside_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

fl_status fl_aside_open(fl_aside *a, const char *path, fl_diag *dg)
{
    struct stat st;

    *a = (fl_aside){0};
    if (strcmp(path, "-") == 0) {
        a->f = stdout;
        return FL_OK;
    }
    a->path = strdup(path);
    bool direct = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (!a->path || (!direct && asprintf(&a->temporary, "%s.tmp.%ld", path, (long)getpid()) < 0)) {
        a->temporary = NULL;
        fl_aside_abandon(a);
        return fl_out_of_memory(dg);
    }
    a->f = fopen(direct ? a->path : a->temporary, "we");
    if (a->f)
        return FL_OK;
    fl_status status = fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot write: %s", strerror(errno));
    free(a->temporary);
    a->temporary = NULL;
    fl_aside_abandon(a);
    return status;
}

fl_status fl_aside_finish(fl_aside *a, fl_diag *dg)
{
    errno = 0;
    bool good = fflush(a->f) == 0 && !ferror(a->f);
    if (good && a->temporary)
        good = fsync(fileno(a->f)) == 0;
    int error = errno;
    if (a->path) {
        if (fclose(a->f) != 0 && good) {
            good = false;
            error = errno;
        }
        a->f = NULL;
    }
    if (good && a->temporary) {
        good = rename(a->temporary, a->path) == 0;
        error = errno;
        if (good) {
            free(a->temporary);
            a->temporary = NULL;
        }
    }
    fl_status status = good ? FL_OK
                            : fl_error(dg, FL_E_WRITE, FL_FILE(a->path ? a->path : "standard output"), "cannot write: %s",
                                       strerror(error ? error : EIO));
    fl_aside_abandon(a);
    return status;
}

void fl_aside_abandon(fl_aside *a)
{
    if (a->f && a->path)
        fclose(a->f);
    if (a->temporary)
        unlink(a->temporary);
    free(a->temporary);
    free(a->path);
    *a = (fl_aside){0};
}

fl_status fl_aside_write(const char *path, const void *bytes, size_t n, fl_diag *dg)
{
    fl_aside a;

    FL_TRY(fl_aside_open(&a, path, dg));
    (void)fwrite(bytes, 1, n, a.f); /* the stream remembers failure */
    return fl_aside_finish(&a, dg);
}
