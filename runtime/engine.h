/*
 * engine.h -- what executes one program: native code or the interpreter, behind one interface.
 *
 * An engine borrows the program's graph and the variables' store, which must outlive it. The native engine computes
 * in place in the store; the interpreter keeps double-precision copies, reads the store when it is opened and on
 * refresh, and writes it back on flush.
 */
#ifndef FL_RUNTIME_ENGINE_H
#define FL_RUNTIME_ENGINE_H

#include "ir/graph.h"

/* A variable of a session. Row i (dimension 0) starts at data + i * stride * size of its dtype. */
typedef struct fl_var {
    const char *name;
    fl_type type;   /* static: `auto` vocabularies are bound */
    void *data;
    int64_t stride; /* elements between rows; for rank 0 and 1 the elements lie `stride` apart as well (rank 0: 1) */
} fl_var;

typedef struct fl_store {
    fl_var *vars;
    uint32_t n_vars;
} fl_store;

/* NULL if there is none of that name. */
fl_var *fl_store_find(const fl_store *store, const char *name);

/* One run. Arrays are in the order of the graph's symbols, inputs, outputs. */
typedef struct fl_run {
    const int64_t *dims;       /* symbols that inputs bind; entries of others are ignored */
    const void *const *inputs; /* dense, row-major, of the declared dtype */
    void *const *outputs;      /* receive results, dense, declared dtype; NULL: not wanted. Updates are not outputs here */
} fl_run;

typedef struct fl_engine fl_engine;
struct fl_engine {
    /* FL_OK, or FL_FAILED / FL_BAD_INPUT with a report. Variables change only on FL_OK. */
    fl_status (*run)(fl_engine *e, const fl_run *run, fl_diag *dg);
    fl_status (*flush)(fl_engine *e, fl_diag *dg);   /* variables -> store */
    fl_status (*refresh)(fl_engine *e, fl_diag *dg); /* store -> variables */
    void (*free)(fl_engine *e);
    /*
     * NULL where values do not outlive a run. Else: a value of the newest run in its declared element type, dense, in fresh memory (free() it);
     * *bytes is NULL if it has none.
     */
    fl_status (*value)(fl_engine *e, fl_id value, fl_type *type, void **bytes, fl_diag *dg);
};

#endif
