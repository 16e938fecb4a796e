/*
 * import.h -- operators as files have them, brought to those of ops.def.
 *
 * Files use many opsets and many more operators than the graph. Two tables close the gap: adapters (import_adapt.c) turn
 * an older form of an operator into that of opset 20; expansions (import_*.c) write what the standard itself defines by other operators, or
 * what is plainly made of them, as nodes that every pass and emitter knows already. What neither table nor ops.def has is not supported.
 */
#ifndef FL_IR_IMPORT_H
#define FL_IR_IMPORT_H

#include "ir/graph.h"

/* A node as it stands in a file. Adapters may replace `in` and `attr`; memory comes from the graph's arena. */
typedef struct fl_import {
    fl_graph *g;
    const char *domain, *op; /* domain "" is ai.onnx */
    int64_t opset;           /* of the domain */
    const char *label;       /* of the node, for reports */
    const char *stem;        /* of the names of what is made: the first output's name */
    const char *base;        /* NULL; made from the stem when it is needed */
    bool infer;              /* infer the type of a node that is taken as it is */
    const fl_id *in;         /* FL_NONE: left out */
    fl_attr *attr;
    uint32_t n_in, n_attr, n_out;
    const bool *wanted; /* n_out of them */
    fl_id *out;         /* to be filled: a value for each output that is wanted */
    fl_loc loc;
    fl_diag *dg;
} fl_import;

/* True if fl_import_node can read the operator. */
bool fl_import_knows(const char *domain, const char *op);
/* True if it may become other nodes; these need the types of their operands while a file is read. */
bool fl_import_expands(const char *domain, const char *op);
/*
 * Append the node, or those that it stands for, and infer their types as far as can be told. The values in m->out are fresh outputs of
 * nodes, each once, with names made from m->stem: the caller gives them their own. FL_BAD_INPUT or FL_UNSUPPORTED, reported with the node.
 */
FL_MUST_USE fl_status fl_import_node(fl_import *m);

#endif
