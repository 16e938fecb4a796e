/*
 * prepare.h -- raw rows to a vocabulary and binary caches, in two passes: count, then encode.
 */
#ifndef FL_RUNTIME_PREPARE_H
#define FL_RUNTIME_PREPARE_H

#include "runtime/vocabulary.h"

#include <signal.h>

typedef enum fl_split { FL_SPLIT_NONE, FL_SPLIT_FROM, FL_SPLIT_SHARE, FL_SPLIT_TAIL } fl_split;

typedef struct fl_prepare_options {
    const char *const *paths; /* raw files or folders, in order */
    size_t n_paths;
    const char *folder;       /* made if it is not there; receives train, valid (with a split) and vocabulary */
    fl_split split;           /* which rows go to valid */
    const char *column, *from; /* FROM: those whose column's first bytes are `from` or come behind it in byte order */
    double share;             /* SHARE: each row with this probability, by seed and row number */
    int64_t tail;             /* TAIL: the last so many rows */
    uint64_t seed;
    uint32_t threads, quirks;
    const fl_vocabulary *vocabulary; /* of a model that has seen data; NULL: one is made, if the schema needs it */
    const volatile sig_atomic_t *stop; /* not NULL: FL_INTERRUPTED, reported, once it is not 0 */
    bool strict;
    /* NULL, or told of ("count", rows in all) if rows are counted, ("encode", 0) before files are written, ("encode", rows) every 2^18 rows or so. */
    void (*progress)(void *arg, const char *pass, int64_t rows);
    void *progress_arg;
} fl_prepare_options;

typedef struct fl_prepare_result {
    int64_t train_rows, valid_rows, bad_rows;
    fl_vocabulary *vocabulary; /* the one that was made, owned by the caller; NULL if none was */
} fl_prepare_result;

/* Binds the schema. The files are written aside and renamed once all rows are encoded, the vocabulary first. */
FL_MUST_USE fl_status fl_prepare(fl_schema *schema, const fl_prepare_options *o, fl_prepare_result *out, fl_diag *dg);

#endif
