/*
 * data_path.h -- what PATH means in `--data PATH`: besides files and folders of rows, folders that `flenrt prepare` wrote.
 */
#ifndef FL_RUNTIME_DATA_PATH_H
#define FL_RUNTIME_DATA_PATH_H

#include "runtime/vocabulary.h"

typedef enum fl_data_part { FL_DATA_TRAIN, FL_DATA_VALID } fl_data_part;

/*
 * The path to read: of a prepared folder (one whose file `train` is a binary cache) its `train`, or its `valid` (`train` if it has
 * none); any other path as it is. Malloc'ed. `prepared` (may be NULL) tells which it was.
 */
FL_MUST_USE fl_status fl_data_path(const char *path, fl_data_part part, char **out, bool *prepared, fl_diag *dg);

/*
 * A vocabulary for a model that has seen no data: of a prepared folder, or of a cache in one, its file `vocabulary`; else made by a pass over
 * the rows. `note` (may be NULL) is told before a pass begins.
 */
FL_MUST_USE fl_status fl_data_vocabulary(const char *path, const fl_schema *schema, uint32_t quirks, uint32_t threads,
                                         void (*note)(const char *text), fl_vocabulary **out, fl_diag *dg);

#endif
