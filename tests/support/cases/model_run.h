/*
 * model_run.h -- a forward graph compiled by the default pipelines and run, on the interpreter or on native code, with variables that can be
 * set and read as doubles.
 */
#ifndef FL_TESTS_CASES_MODEL_RUN_H
#define FL_TESTS_CASES_MODEL_RUN_H

#include "backend/interp/interp.h"
#include "ir/model.h"
#include "runtime/variables.h"

typedef enum run_backend { RUN_INTERP, RUN_NATIVE } run_backend;

/* An input of one run. Exactly one of f and i is set. */
typedef struct run_input {
    const char *name;
    int rank;
    int64_t dims[FL_MAX_RANK];
    const double *f;
    const int64_t *i;
} run_input;

typedef struct run_output {
    double *f; /* of the newest run */
    int64_t n;
} run_output;

typedef struct model_run {
    run_backend backend;
    fl_graph *programs[FL_N_PROGRAMS]; /* without a loss in the forward graph: predict and prologue only */
    fl_interp *interp[FL_N_PROGRAMS];
    fl_variables variables; /* native */
    fl_engine *engines[FL_N_PROGRAMS];
    run_output *outputs[FL_N_PROGRAMS]; /* one for each output of the program */
} model_run;

/* All programs of `forward`, variables at their start. On success the caller ends *r with model_run_close. */
FL_MUST_USE fl_status model_run_open(model_run *r, const fl_graph *forward, run_backend backend, fl_diag *dg);
/* One graph as it is after `passes`, as the predict program: no prologue, all its outputs. */
FL_MUST_USE fl_status model_run_open_graph(model_run *r, const fl_graph *graph, const char *passes, run_backend backend, fl_diag *dg);
void model_run_close(model_run *r);

/* False if no program has the variable. */
bool model_run_has(const model_run *r, const char *variable);
/* Elements [offset, offset + n) of a variable, row-major. FL_BAD_INPUT if it is missing or smaller. */
FL_MUST_USE fl_status model_run_set(model_run *r, const char *variable, int64_t offset, int64_t n, const double *f, fl_diag *dg);
FL_MUST_USE fl_status model_run_get(const model_run *r, const char *variable, int64_t offset, int64_t n, double *f, fl_diag *dg);
/* Run a program; inputs of the list that it does not have are ignored. Predicting, the prologue runs first. */
FL_MUST_USE fl_status model_run_execute(model_run *r, fl_program p, const run_input *inputs, uint32_t n_inputs, fl_diag *dg);
/* An output of the newest run of p; NULL if it has none of that name. */
const run_output *model_run_output(const model_run *r, fl_program p, const char *name);

#endif
