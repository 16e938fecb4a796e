/*
 * verb_graph.h -- what the verbs on graphs share: options, reading X at a stage, writing results. Part of the command line.
 */
#ifndef FL_FRONTEND_VERB_GRAPH_H
#define FL_FRONTEND_VERB_GRAPH_H

#include "frontend/compile.h"
#include "ir/model.h"
#include "ir/print.h"

#include <stdio.h>

/* X and which of its graphs. stage NULL: a model.bin's stored program, else forward; program NULL: train at stage train, else predict. */
typedef struct fl_graph_request {
    const char *input, *stage, *program, *data_dir;
    const char **sets; /* room for argc */
    uint32_t n_sets;
} fl_graph_request;

typedef struct fl_input {
    fl_graph *graph;
    fl_model *model; /* X, if it is a model.bin: variables' data point into it */
    fl_source source; /* X otherwise; its graph has moved to `graph` */
    void *file;       /* X mapped, if it is a model.bin or an ONNX file: printed texts refer into it */
    size_t n_file;
    const char *location; /* X as a text that is printed to `output` names it; malloc'ed */
} fl_input;

/* Read X, bring it to the stage. On success the caller ends *in; on failure there is nothing to end. */
FL_MUST_USE fl_status fl_input_read(const fl_graph_request *r, fl_input *in, fl_diag *dg);
/* Was the graph that is asked for made by passes: one of the stages train, optimised and scheduled, or a program of a model.bin? */
bool fl_stage_is_built(const fl_graph_request *r);
/*
 * How a graph of `in` is printed to the file `output` (NULL, "-": standard output): large tensors of model.bin and ONNX files as references to X, which is
 * named as seen from the text's folder if it lies beneath it, else by its name alone (to be read with --data-dir).
 */
FL_MUST_USE fl_status fl_input_print_options(fl_input *in, const fl_graph_request *r, const char *output, bool types, fl_print_options *options,
                                             fl_diag *dg);
void fl_input_deinit(fl_input *in);

/* ------------------------------------------------------------------------------------------------------- options */

/* A text option ("--stage=X", "--stage X") or, where `flag` is given, one without a value. */
typedef struct fl_verb_option {
    const char *name, **text;
    bool *flag;
} fl_verb_option;

/*
 * Reads all arguments: options from the table, --stage, --program, --data-dir and --set into r, one input. Reports wrong usage on standard error. 0: go
 * on; else the exit status of the program.
 */
int fl_verb_arguments(int argc, char **argv, const fl_verb_option *options, size_t n, fl_graph_request *r);

/* What these verbs begin and end with: --help, room for --set; `run(arg, argc, argv)` gives the exit status. */
int fl_verb_frame(int argc, char **argv, const char *usage, fl_graph_request *r, int (*run)(void *arg, int argc, char **argv), void *arg);

/* -------------------------------------------------------------------------------------------------------- output */

/* A file that appears whole or not at all (written aside and renamed), or standard output for NULL and "-". */
typedef struct fl_output {
    FILE *stream;
    const char *path;
    char *aside; /* NULL: standard output, or a file that cannot be replaced, such as a device */
    bool direct;
} fl_output;
FL_MUST_USE fl_status fl_output_open(fl_output *o, const char *path, fl_diag *dg);
/* Renames if `status` is FL_OK, else removes; returns the first failure. */
FL_MUST_USE fl_status fl_output_close(fl_output *o, fl_status status, fl_diag *dg);

bool fl_ends_with(const char *text, const char *end);

#endif
