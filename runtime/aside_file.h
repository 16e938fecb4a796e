/*
 * aside_file.h -- a file that appears whole or not at all: written to PATH.tmp.PID, then renamed.
 *
 * "-" is standard output; what exists and is no regular file (a pipe, /dev/null) is written to directly, because a rename
 * would replace it.
 */
#ifndef FL_RUNTIME_ASIDE_FILE_H
#define FL_RUNTIME_ASIDE_FILE_H

#include "ir/base/diag.h"

typedef struct fl_aside {
    FILE *f;         /* to be written to; errors may wait until fl_aside_finish */
    char *path;
    char *temporary; /* NULL: f is no file of ours to rename */
} fl_aside;

FL_MUST_USE fl_status fl_aside_open(fl_aside *a, const char *path, fl_diag *dg);
/* Flush, sync, rename. The file is closed in any case; on failure nothing is left. */
FL_MUST_USE fl_status fl_aside_finish(fl_aside *a, fl_diag *dg);
/* Give up. A zeroed or finished one is fine. */
void fl_aside_abandon(fl_aside *a);
/* All n bytes of a file at once. */
FL_MUST_USE fl_status fl_aside_write(const char *path, const void *bytes, size_t n, fl_diag *dg);

#endif
