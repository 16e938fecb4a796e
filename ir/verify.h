/*
 * verify.h -- the judge: everything that later stages rely on.
 */
#ifndef FL_IR_VERIFY_H
#define FL_IR_VERIFY_H

#include "ir/graph.h"

/*
 * Holds g against every rule of verify_rules.def: structure, types, functions of fused operators, and the schedule if there is one. Every broken rule is
 * reported (up to FL_DIAG_MAX) by node and name. Types that are unknown are inferred. O(n log n) in nodes and values.
 */
FL_MUST_USE fl_status fl_graph_verify(fl_graph *g, fl_diag *dg);
/* The same without types and functions, for a program whose types are known and which is about to be compiled. */
FL_MUST_USE fl_status fl_schedule_verify(const fl_graph *g, fl_diag *dg);

#endif
