/*
 * reader_internal.h -- a reader that counts values instead of encoding them (vocabulary_build.c).
 */
#ifndef FL_RUNTIME_READER_INTERNAL_H
#define FL_RUNTIME_READER_INTERNAL_H

#include "runtime/reader.h"

/*
 * builders[i] belongs to worker i (one at least; options->threads of them otherwise). The schema need not be bound; rows of the batches
 * are 0. Bad rows are counted only, unless options->strict.
 */
FL_MUST_USE fl_status fl_reader_open_counting(const char *path, const fl_schema *schema, fl_vocabulary_builder *const *builders,
                                              const fl_reader_options *options, fl_reader **out, fl_diag *dg);

#endif
