/*
 * verify.h -- the judge: everything that later stages rely on.
 */
#ifndef FL_IR_VERIFY_H
#define FL_IR_VERIFY_H

#include "ir/graph.h"

/*
 * Names unique, ORDER, operand counts against ops.def, ids in range, types known and as inference says (after
 * infer-types), attributes present and of the right kind, outputs and updates defined, a variable updated at most
 * once and with its own type, schedule consistent if there is one. Reports every broken rule (up to FL_DIAG_MAX).
 */
FL_MUST_USE fl_status fl_graph_verify(fl_graph *g, fl_diag *dg);

#endif
