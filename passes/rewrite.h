/*
 * rewrite.h -- what several passes need when they change a graph.
 */
#ifndef FL_PASSES_REWRITE_H
#define FL_PASSES_REWRITE_H

#include "passes/pass.h"

bool fl_value_is_output(const fl_graph *g, fl_id value);

/*
 * Every read of `old` becomes a read of `with`. The names of a program's outputs are its signature: if `old` is one, `with` takes its
 * name, and where it cannot (a leaf, or an output itself) nothing changes and the result is false.
 */
bool fl_rewrite_value(fl_graph *g, fl_id old, fl_id with);

/*
 * The same for a whole sweep over the graph: replacements are noted in a map and applied at once, in time linear in the graph.
 */
typedef struct fl_rewriter {
    fl_graph *g;
    fl_arena *scratch;
    fl_id *map;     /* by value */
    bool *output;   /* by value: is an output of the graph */
    uint32_t n_map; /* values that the map knows: those made later are never replaced */
    bool *named;    /* [n_named] of those: has taken an output's place */
    uint32_t n_named, named_capacity;
    fl_id fresh;    /* nodes from here on were made since the last replacement */
} fl_rewriter;

/* Nodes from `first` on that do not say where they come from were made from value `from`. */
void fl_mark_made_from(fl_graph *g, fl_id first, fl_id from);

/* False if out of memory. */
bool fl_rewriter_init(fl_rewriter *r, fl_graph *g, fl_arena *scratch);
/* What `v` is by now; FL_NONE stays FL_NONE. */
fl_id fl_rewriter_get(const fl_rewriter *r, fl_id v);
/* As fl_rewrite_value. */
bool fl_rewriter_put(fl_rewriter *r, fl_id old, fl_id with);
void fl_rewriter_apply(fl_rewriter *r);

/* Erase pure nodes that nobody reads, and outputs that nobody wants where the operator allows it. False if out of memory. */
bool fl_erase_dead(fl_graph *g, fl_arena *scratch, uint32_t *n_erased);
/* Take unused constants, and where asked for unused variables (with their parameters), off the lists. */
bool fl_drop_unused(fl_graph *g, fl_arena *scratch, bool variables);

/* The leaf or computed value that a chain of views shows; v itself if no view made it. A Concat is none. */
fl_id fl_behind_views(const fl_graph *g, fl_id v);

/* Do the columns of this index own their rows (metadata `ai.flen.disjoint`)? */
bool fl_index_is_disjoint(const fl_graph *g, fl_id index, fl_arena *scratch);

/* A double scalar as a Constant with a tensor. */
fl_id fl_build_double(fl_graph *g, const char *base, double f);
/* int64[1]: extent of dimension `axis` of x, as a node. */
fl_id fl_build_extent(fl_graph *g, const char *base, fl_id x, int64_t axis);
fl_id fl_build_cast(fl_graph *g, const char *base, fl_id x, fl_dtype to);

#endif
