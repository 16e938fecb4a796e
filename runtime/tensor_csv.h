/*
 * tensor_csv.h -- rows of tensors as text: a line a row, numbers between commas or tabs.
 *
 * With a header line, columns have names: `NAME.K` is element K (from 0, row-major) of a row of input NAME, `NAME` its only one; other columns are passed
 * over. Without one, a line has all elements of all inputs in their order, and no others.
 */
#ifndef FL_RUNTIME_TENSOR_CSV_H
#define FL_RUNTIME_TENSOR_CSV_H

#include "runtime/tensor_indices.h"

/*
 * All rows of a file ("-": standard input; gzip and zstd as they come) into inputs[n_inputs] of program g, whose bytes are malloc'ed and the caller's, also on failure. has_rows [n_inputs]: the input's leading dimension
 * is the rows, which all must have; dims: extents of other symbols. Reported with file, line and column: what is no number of the input's type, a line of another
 * length, a column that is missing; blank lines are no rows.
 */
FL_MUST_USE fl_status fl_tensor_csv_read(const char *path, const fl_graph *g, const bool *has_rows, const int64_t *dims, fl_array *inputs, fl_diag *dg);

#endif
