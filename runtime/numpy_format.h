/*
 * numpy_format.h -- numbers as Python and numpy print them, because people's scripts read PaddleRec's log lines.
 */
#ifndef FL_RUNTIME_NUMPY_FORMAT_H
#define FL_RUNTIME_NUMPY_FORMAT_H

#include <stddef.h>
#include <stdio.h>

/* Python's repr of a float: the shortest digits that read back. `text` has room for FL_REPR_SIZE bytes. */
#define FL_REPR_SIZE 32
void fl_python_repr(double x, char *text);

/* numpy's str() of a float32 scalar: the shortest digits that read back as the same float. */
void fl_numpy_float(float x, char *text);

/* numpy's str() of a one-dimensional float64 array with its default options (precision 8, 75 columns). */
void fl_numpy_print(const double *x, size_t n, FILE *out);

#endif
