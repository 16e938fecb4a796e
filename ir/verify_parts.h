/*
 * verify_parts.h -- what the files of the verifier share: a report names its rule.
 */
#ifndef FL_IR_VERIFY_PARTS_H
#define FL_IR_VERIFY_PARTS_H

#include "ir/graph.h"

typedef enum fl_verify_rule {
#define FL_VERIFY_RULE(id, name, where, text) FL_VERIFY_##id,
#include "ir/verify_rules.def"
#undef FL_VERIFY_RULE
    FL_N_VERIFY_RULES
} fl_verify_rule;

typedef struct fl_check {
    const fl_graph *g;
    fl_diag *dg;
    uint32_t broken; /* reports so far */
    bool in_range;   /* ids are those of nodes and values: the graph can be looked at */
} fl_check;

/* Reports that `node` (FL_NONE: the graph) breaks the rule. */
FL_PRINTF(4, 5) void fl_check_breaks(fl_check *c, fl_verify_rule rule, fl_id node, const char *format, ...);
void fl_check_name_rule(fl_diag *dg, fl_verify_rule rule); /* below the newest report */
/* Is `body` a function for this node? */
void fl_check_body(fl_check *c, fl_id node, const fl_graph *body);
/* What a report calls a node by: its name, or that of its first result. */
const char *fl_node_label(const fl_graph *g, fl_id node);

/* The schedule of a graph whose other rules hold (verify_schedule.c, verify_memory.c). FL_NO_MEMORY if there is none to check with. */
FL_MUST_USE fl_status fl_check_schedule(fl_check *c);

/* Where nodes run, for both. */
typedef struct fl_check_times {
    uint32_t *segment;  /* [n_nodes]; UINT32_MAX: none */
    uint32_t *position; /* [n_nodes] in it */
} fl_check_times;
FL_MUST_USE fl_status fl_check_memory(fl_check *c, const fl_check_times *t, fl_arena *scratch);

#endif
