/*
 * session.h -- a model that is open for work: its file, its variables in memory, an engine for each program.
 */
#ifndef FL_RUNTIME_SESSION_H
#define FL_RUNTIME_SESSION_H

#include "ir/model.h"
#include "runtime/code_cache.h"
#include "runtime/variables.h"
#include "runtime/value_dump.h"
#include "runtime/vocabulary.h"

/* backend.h's fl_interp_engine_new, handed in by the command line: this room does not see the backend. */
typedef fl_status fl_interpret_fn(const fl_graph *g, const fl_store *store, uint64_t max_bytes, fl_engine **out, fl_diag *dg);

/* Folded tables that the model file holds. */
typedef enum fl_stored_folds {
    FL_STORED_FOLDS_USED,    /* where they are there, of this file's weights, and no interpreter is asked for */
    FL_STORED_FOLDS_IGNORED,
    FL_STORED_FOLDS_NEEDED   /* an error if they are not */
} fl_stored_folds;

typedef struct fl_session_options {
    bool train;                 /* variables in records that may change; else they stay where the file is mapped */
    bool first_weights;         /* also without train: variables that have no values get first weights (to measure, not to predict) */
    uint32_t threads;           /* 0: as many as there are CPUs */
    bool has_seed;              /* `seed` replaces the manifest's, of first weights and of masks */
    uint64_t seed;
    const char *data;           /* NULL: none; where a model that has seen no data gets its vocabulary (data_path.h) */
    fl_model *vocabulary_of;    /* NULL, or a model whose vocabulary is taken before one is made from `data`; outlives the session */
    void (*note)(const char *text); /* NULL, or told what takes long */
    fl_value_dump *dump;        /* NULL, or which values of training and predict programs become files; outlives the session */
    const char *cpu;            /* NULL: the best */
    fl_stored_folds stored_folds;
    uint64_t fold_bytes;        /* else fold tables now, if the model has such a program and they take at most so many bytes; 0: never */
    uint64_t max_memory;        /* bytes that variables (those not used where the file is mapped) and values may take; 0: what is free at opening */
    fl_compile_fn *compile;     /* for native code; NULL: interpret */
    fl_interpret_fn *interpret; /* NULL: native code */
} fl_session_options;

typedef struct fl_session {
    fl_session_options options;
    fl_model *model;
    fl_manifest *manifest;      /* the model's */
    fl_vocabulary *vocabulary;  /* NULL: no slot needs one, or data has not been seen */
    fl_variables variables;
    fl_pool *pool;              /* NULL: one thread */
    const fl_graph *programs[FL_N_PROGRAMS]; /* NULL: the file has none. Folded: predict and prologue are the folded ones */
    bool folded;
    bool folds_are_stored;      /* and mapped: the folding program does not run */
    fl_arena arena;
    fl_store stored_folds;
    fl_engine *engines[FL_N_PROGRAMS];       /* made on first use */
    fl_engine *timed[FL_N_PROGRAMS];         /* the same of timed code (native.h) */
} fl_session;

/*
 * Open the model file, bind its `auto` tables, place the variables; when training, first weights fill what has no values.
 */
FL_MUST_USE fl_status fl_session_open(fl_session *s, const char *path, const fl_session_options *options, fl_diag *dg);
void fl_session_close(fl_session *s); /* a zeroed one is fine */
/* Bytes that a further engine's values may take. */
uint64_t fl_session_memory_left(const fl_session *s);
/* Threads that compute, the caller's included. */
uint32_t fl_session_threads(const fl_session *s);

/* The engine of program p, with memory for `batch` rows. Reports a missing program, and (predict) missing weights. Runs the prologue before
 * predict is first used. Borrowed. */
FL_MUST_USE fl_status fl_session_engine(fl_session *s, fl_program p, int64_t batch, fl_engine **out, fl_diag *dg);
/* A further engine of program p whose code is timed, for native.h's observers: the same variables, the same bits. Not where the session interprets. */
FL_MUST_USE fl_status fl_session_timed_engine(fl_session *s, fl_program p, int64_t batch, fl_engine **out, fl_diag *dg);
/* After training: what predict derives from weights is derived anew. */
FL_MUST_USE fl_status fl_session_derive(fl_session *s, fl_diag *dg);
/* Write the model with its present variables, optimiser state included (also where nobody trains and it stayed in the file). entries: further ones, beside the vocabulary's;
 * those that the opened file had are kept unless given here, bytes NULL meaning that there shall be none of that name. */
FL_MUST_USE fl_status fl_session_save(fl_session *s, const char *path, const fl_model_entry_source *entries, uint32_t n_entries,
                                      fl_diag *dg);
/*
 * Write the model at `path` with its folded tables to `to`, which may be the same file: a session of its own, so that what training holds has been given back. All other saves
 * leave folded tables out, because weights may have changed. *bytes: of the folded tables; 0: the model has nothing to fold, and the rest is written alone. Reported: no weights, and tables that
 * do not fit into free memory.
 */
FL_MUST_USE fl_status fl_session_store_folds(const char *path, const char *to, const fl_session_options *options, uint64_t *bytes, fl_diag *dg);

#endif
