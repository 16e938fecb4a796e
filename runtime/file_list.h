/*
 * file_list.h -- the files that a path means.
 */
#ifndef FL_RUNTIME_FILE_LIST_H
#define FL_RUNTIME_FILE_LIST_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"

typedef struct fl_file_list {
    fl_arena arena;
    const char **paths;
    uint32_t n, capacity;
    const char **hidden; /* left out because their name starts with a dot */
    uint32_t n_hidden, hidden_capacity;
    int64_t total_bytes; /* of regular files */
} fl_file_list;

/*
 * A file, or all files under a folder sorted by path. Errors: the path does not exist or cannot be read; a folder without files.
 * Deinit it in any case.
 */
FL_MUST_USE fl_status fl_file_list_init(fl_file_list *list, const char *path, fl_diag *dg);
/* An order that follows from the seed alone. */
void fl_file_list_shuffle(fl_file_list *list, uint64_t seed);
void fl_file_list_deinit(fl_file_list *list);

#endif
