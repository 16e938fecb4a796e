/*
 * infer.c -- after this pass every value has its type.
 *
 * The work is done by the pipeline, which infers types for whoever needs the fact SHAPES; this pass gives the fact a name in
 * pipelines and refuses a graph in which a type stays unknown.
 */
#include "passes/pass.h"

fl_status fl_pass_infer_types(fl_graph *g, fl_pass_ctx *cx)
{
    fl_status status = FL_OK;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++) {
            fl_id v = g->nodes[i].out[k];
            if (v == FL_NONE || (g->values[v].type.rank >= 0 && g->values[v].type.dtype != FL_DTYPE_NONE))
                continue;
            status = fl_error(cx->diag, FL_E_RUN_TIME_SHAPE, g->nodes[i].origin.loc, "the type of \"%s\" (%s) does not follow from its operands",
                              g->values[v].name, fl_op_get(g->nodes[i].op)->name);
        }
    }
    return status;
}
