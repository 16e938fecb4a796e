/*
 * draw.h -- a graph for the eye and for scripts: Graphviz's dot, one JSON object, a page of HTML that needs nothing else.
 */
#ifndef FL_FRONTEND_DRAW_H
#define FL_FRONTEND_DRAW_H

#include "ir/graph.h"

#include <stdio.h>

typedef struct fl_draw_options {
    bool cost;     /* operations and bytes of each node (ir/cost.h) in the picture; JSON has them always */
    int64_t batch; /* rows that costs are counted for; 0: one */
} fl_draw_options;

/* FL_IO if the stream fails. */
FL_MUST_USE fl_status fl_draw_dot(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg);
FL_MUST_USE fl_status fl_draw_json(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg);
FL_MUST_USE fl_status fl_draw_html(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg);

/* ------------------------------------------------------------------------------------ shared by the three drawers */

/*
 * What is drawn together. Of a scheduled program: its segments. Of others: fields (what is computed from one field's slots alone), their interaction (element by element from several fields), layers (by
 * the names of the frontend, "mlp.0"), and what a pass made as a whole (gradients, optimisers).
 */
typedef enum fl_group_kind { FL_GROUP_SEGMENT, FL_GROUP_FIELD, FL_GROUP_INTERACTION, FL_GROUP_LAYER, FL_GROUP_PASS } fl_group_kind;

typedef struct fl_draw_group {
    fl_group_kind kind;
    const char *label;
} fl_draw_group;

typedef struct fl_draw_groups {
    fl_draw_group *groups;
    uint32_t n, capacity;
    uint32_t *of_node; /* one per node; UINT32_MAX: none */
    /* Nodes to draw (no NOPs, no constants that stand in their readers) by group: members[start[k]] .. members[start[k + 1]], start[n] those of none. */
    fl_id *members;
    uint32_t *start; /* n + 2 of them */
} fl_draw_groups;

/* False if out of memory. */
bool fl_draw_find_groups(const fl_graph *g, fl_arena *arena, fl_draw_groups *out);
const char *fl_draw_group_kind(fl_group_kind kind); /* "segment" ... */
/* "look-up", "product", "sum", "elementwise", "shape", "layer", "optimiser", "other": from the operator's traits. */
const char *fl_draw_kind(fl_op op);
/* Is it a Constant node, drawn as words at its readers? */
static inline bool fl_draw_inlined(const fl_graph *g, fl_id v)
{
    return fl_value_is(g, v, FL_OP_CONSTANT) != FL_NONE;
}
/* In front of a unit: "1.2 k", "34 M", "7 ". */
void fl_draw_number(double x, char text[16]);

#endif
