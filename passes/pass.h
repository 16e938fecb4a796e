/*
 * pass.h -- one signature for all passes, and the pipeline that runs them.
 */
#ifndef FL_PASSES_PASS_H
#define FL_PASSES_PASS_H

#include "ir/graph.h"
#include "ir/model.h"

#include <stdio.h>

/* Facts that a pass may need and keep. The pipeline recomputes what is missing before a pass that needs it. */
enum {
    FL_FACT_ORDER = 1 << 0,  /* a node reads only earlier nodes (fl_graph_sort) */
    FL_FACT_SHAPES = 1 << 1, /* every value has its type (fl_shape_infer) */
};

typedef struct fl_pass_ctx {
    fl_arena scratch; /* emptied after each pass */
    fl_diag *diag;
    const char *arguments; /* text between the parentheses of `name(arguments)`; "" if none */
    uint32_t n_changed;    /* the pass counts what it changed */
} fl_pass_ctx;

typedef fl_status fl_pass_fn(fl_graph *g, fl_pass_ctx *cx);

typedef struct fl_pass {
    const char *name;
    fl_pass_fn *run;
    uint32_t needs, keeps; /* facts */
    const char *what;      /* one line for --list-passes */
} fl_pass;

/* All passes, in the order of passes.def. */
const fl_pass *fl_pass_list(uint32_t *n);

/*
 * Default pipelines as text. `train` and `predict` start from a forward graph and end with what `--stage=optimised` shows (stopped after
 * `differentiate`, `--stage=train`); `schedule` follows, when prediction has given its prologue away.
 */
extern const char *const fl_pipeline_train;
extern const char *const fl_pipeline_step; /* of a training step that is differentiated already, or holds the standard's Gradient: what fl_pipeline_train does from there on */
extern const char *const fl_pipeline_predict;
extern const char *const fl_pipeline_predict_masked; /* of graphs with the metadata `ai.flen.masks_in_predict` */
extern const char *const fl_pipeline_outline;  /* of prediction, when it has given its prologue away: the last that `--stage=optimised` shows */
extern const char *const fl_pipeline_schedule;

typedef struct fl_pipeline_options {
    const char *passes;        /* "a,b(c=1),d" */
    const char *disable;       /* names, comma-separated; NULL: none */
    const char *stop_after;    /* a name; NULL: none */
    const char *print_before, *print_after; /* a name or "all"; NULL: none */
    bool print_after_change; /* as a difference of lines */
    bool verify_each;        /* builds with asserts always do */
    bool time_passes, stats;
    /*
     * File for the graph before a failing pass, with the passes that were left. NULL: none, unless the verifier refuses what a pass made (our
     * bug): that one goes to $TMPDIR or /tmp, and a hint names it.
     */
    const char *reproducer;
    FILE *log;                 /* where prints, times and statistics go */
} fl_pipeline_options;

/* Runs the passes on g. On failure g is whatever the failing pass left; the reproducer holds what it started from. */
FL_MUST_USE fl_status fl_pipeline_run(fl_graph *g, const fl_pipeline_options *options, fl_diag *dg);

/* States of compilation, as `flenc dump --stage` names them. */
typedef enum fl_stage { FL_STAGE_FORWARD, FL_STAGE_TRAIN, FL_STAGE_OPTIMISED, FL_STAGE_SCHEDULED } fl_stage;
/*
 * All programs of a forward graph; NULL where there is none (train and init without loss or parameters, prologue with nothing to do; at
 * stage FORWARD all but predict). On success the caller frees them; on failure there is nothing to free.
 */
FL_MUST_USE fl_status fl_build_programs(const fl_graph *forward, fl_stage stage, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg);
/* The same without the passes that `disable` lists, comma-separated (NULL: none are left out). Some leave nothing that can run: then whoever needs them says so. */
FL_MUST_USE fl_status fl_build_programs_without(const fl_graph *forward, fl_stage stage, const char *disable, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg);
/*
 * Train and init programs of a training step that is a graph already, a file's training information (fl_onnx_decode_training): instead of those that a forward graph would give. On failure programs are as they were.
 */
FL_MUST_USE fl_status fl_build_training(const fl_graph *step, fl_stage stage, const char *disable, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg);
void fl_programs_free(fl_graph *programs[FL_N_PROGRAMS]);

/* `lower-gradients` on g as it was read, if it has the standard's operator Gradient; fl_build_programs does the same to a copy. */
FL_MUST_USE fl_status fl_lower_gradients(fl_graph *g, fl_diag *dg);
/* The init program: first weights of all parameters of `train`, optimiser state included (passes/init_program.c). */
FL_MUST_USE fl_status fl_build_init_program(const fl_graph *train, fl_graph **out, fl_diag *dg);
/*
 * Moves what depends on variables alone out of `predict`, not scheduled yet, into a program of its own; *prologue is NULL if there is
 * nothing (passes/prologue.c).
 */
FL_MUST_USE fl_status fl_build_prologue(fl_graph *predict, fl_graph **prologue, fl_diag *dg);

#define FL_PASS(name, fn, needs, keeps, what) fl_pass_fn fl_pass_##fn;
#include "passes/passes.def"
#undef FL_PASS

#endif
