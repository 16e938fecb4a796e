/*
 * graph_meta.h -- what a graph says beyond ONNX, as key and value pairs: the same in text and in binary files.
 *
 * Keys made from members of the graph (ir/README.md, "Four programs"): ai.flen.variables, ai.flen.shapes (declared shapes of
 * variables that have a symbol: "table=rows,32;..."), ai.flen.updates, ai.flen.outputs (how many outputs are the graph's own,
 * only where updates make that unclear), ai.flen.params, ai.flen.schedule. All others are the graph's own entries (g->meta_keys).
 */
#ifndef FL_IR_GRAPH_META_H
#define FL_IR_GRAPH_META_H

#include "ir/graph.h"

typedef struct fl_meta_entry {
    const char *key, *value;
} fl_meta_entry;

/*
 * All entries of g, in `arena`. FL_UNSUPPORTED (reported) if the name of a variable or of its next value has a character
 * that separates (one of ",=;").
 */
FL_MUST_USE fl_status fl_meta_collect(const fl_graph *g, fl_arena *arena, fl_meta_entry **entries, uint32_t *n, fl_diag *dg);
/* Is `key` one of those that are made from members? */
bool fl_meta_is_derived(const char *key);
/* The names in "a,b,c", in `arena`; NULL if out of memory. An empty text has none. */
const char **fl_meta_names(const char *text, fl_arena *arena, uint32_t *n);

/*
 * Reading back; g has all its values. updates(): removes the next values from the end of g's outputs. `text` NULL does nothing.
 * FL_BAD_INPUT (reported against loc) for a name that is not in the graph, a wrong form, a wrong member.
 */
FL_MUST_USE fl_status fl_meta_apply_shapes(fl_graph *g, const char *text, fl_loc loc, fl_diag *dg);
FL_MUST_USE fl_status fl_meta_apply_updates(fl_graph *g, const char *text, const char *outputs, fl_loc loc, fl_diag *dg);
FL_MUST_USE fl_status fl_meta_apply_params(fl_graph *g, const char *text, fl_loc loc, fl_diag *dg);
/* Outputs of a file: g's own, then the next values that are not among them yet. In `arena`; NULL if out of memory. */
fl_id *fl_meta_file_outputs(const fl_graph *g, fl_arena *arena, uint32_t *n);

#endif
