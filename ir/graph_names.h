/*
 * graph_names.h -- between graph.c and graph_names.c; private to them.
 */
#ifndef FL_IR_GRAPH_NAMES_H
#define FL_IR_GRAPH_NAMES_H

#include "ir/graph.h"

/* The interned copy; NULL for NULL, and (the graph has failed) if out of memory. */
const char *fl_names_put(fl_graph *g, const char *text);
/* Make a value findable by its name. */
FL_MUST_USE bool fl_names_add(fl_graph *g, fl_id value);
/* A fresh table of all values' names and all symbols, after they were renumbered. */
void fl_names_index(fl_graph *g);

#endif
