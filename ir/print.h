/*
 * print.h, parse.c -- ONNX's text syntax (docs/Syntax.md of ONNX), out and in.
 */
#ifndef FL_IR_PRINT_H
#define FL_IR_PRINT_H

#include "ir/graph.h"

#include <stdio.h>

typedef struct fl_print_options {
    bool types;        /* inferred types of intermediate values as a trailing comment on each node's line */
    bool functions;    /* operators of ours that have a body (bodies.h) call a model-local function, which stands behind the graph */
    /*
     * Large tensors are written as references into the file `location`, whose n_bytes bytes are given: those that stand in it. NULL, or tensors that
     * do not: into the file that they were read from, or element by element.
     */
    const char *location;
    const void *bytes;
    size_t n_bytes;
} fl_print_options;

/* FL_IO if the stream fails. */
FL_MUST_USE fl_status fl_graph_print(const fl_graph *g, const fl_print_options *options, FILE *out, fl_diag *dg);

/* One node's line, as fl_graph_print writes it with types. */
void fl_node_print(const fl_graph *g, fl_id node, FILE *out);

/*
 * Read one model (`<ir_version: ..., opset_import: [...]>` and a graph) or a bare graph, from n bytes of text. `file` names
 * it in diagnostics; several errors are reported in one run. On success *out is a new graph, not yet type-inferred unless it has a schedule. Data by reference
 * keep location, offset and length; nothing is opened.
 */
FL_MUST_USE fl_status fl_graph_parse(const char *text, size_t n, const char *file, fl_graph **out, fl_diag *dg);

#endif
