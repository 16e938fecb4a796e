/*
 * npy_file.h -- numpy's .npy files: one dense array each (numpy.lib.format, versions 1.0 to 3.0).
 */
#ifndef FL_RUNTIME_NPY_FILE_H
#define FL_RUNTIME_NPY_FILE_H

#include "ir/base/diag.h"
#include "ir/type.h"

typedef struct fl_npy {
    fl_type type; /* static */
    void *bytes;  /* dense, row-major, little-endian; malloc'ed */
    size_t n_bytes;
} fl_npy;

/*
 * Read all of a file. Reported: anything that is not such a file, is cut short or has bytes behind its data; element types that no graph
 * has; column-major and big-endian arrays.
 */
FL_MUST_USE fl_status fl_npy_read(const char *path, fl_npy *out, fl_diag *dg);
void fl_npy_free(fl_npy *a); /* a zeroed one is fine */
/* Write aside and rename. FL_UNSUPPORTED for bfloat16 and strings, which numpy lacks. */
FL_MUST_USE fl_status fl_npy_write(const char *path, const fl_type *type, const void *bytes, fl_diag *dg);
/* numpy's name of an element type ("float32"); NULL if it has none. */
const char *fl_npy_dtype_name(fl_dtype t);

/* FOLDER/NAME.npy, malloc'ed; names of values never lead out of the folder. NULL: out of memory. */
char *fl_npy_path(const char *folder, const char *name);

#endif
