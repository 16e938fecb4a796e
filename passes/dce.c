/*
 * dce.c -- erase nodes whose results nobody reads.
 *
 * Reads by graph outputs and updates count. An output that nobody wants is taken off an operator that allows it (FieldPool).
 * Constants that nobody reads leave the graph; inputs and variables stay, they are the program's signature.
 * Needs ORDER, keeps everything; one backward sweep.
 */
#include "passes/rewrite.h"

fl_status fl_pass_dce(fl_graph *g, fl_pass_ctx *cx)
{
    if (!fl_erase_dead(g, &cx->scratch, &cx->n_changed) || !fl_drop_unused(g, &cx->scratch, false))
        return fl_out_of_memory(cx->diag);
    return FL_OK;
}
