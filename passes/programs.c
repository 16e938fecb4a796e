/* programs.c -- from a forward graph to the programs of a model: the default pipelines, in the order in which they need each other. */
#include "passes/pass.h"

#include "ir/functions.h"

#include <string.h>

/* A copy of `from`, called `name`, after `o`. */
static fl_status derive(const fl_graph *from, const char *name, fl_pipeline_options o, fl_graph **out, fl_diag *dg)
{
    fl_graph *g = fl_graph_clone(from);
    if (!g)
        return fl_out_of_memory(dg);
    g->name = name;
    fl_status status = fl_graph_ok(g, dg);
    if (status == FL_OK)
        status = fl_pipeline_run(g, &o, dg);
    if (status != FL_OK)
        fl_graph_free(g);
    else
        *out = g;
    return status;
}

static fl_status schedule(fl_graph *g, const char *disable, fl_diag *dg)
{
    return g ? fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule, .disable = disable}, dg) : FL_OK;
}

static fl_status outline(fl_graph *g, const char *disable, fl_diag *dg)
{
    return g ? fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_outline, .disable = disable}, dg) : FL_OK;
}

static const char *predict_passes(const fl_graph *forward)
{
    return fl_graph_get_meta(forward, "ai.flen.masks_in_predict") ? fl_pipeline_predict_masked : fl_pipeline_predict;
}

/* Prediction with folded tables, and its prologue; neither if there is nothing to fold: no derived table that is looked up. */
static fl_status build_folded(const fl_graph *predict, const char *disable, fl_graph **p, fl_diag *dg)
{
    fl_graph *g = NULL, *prologue = NULL;
    FL_TRY(derive(predict, "folded", (fl_pipeline_options){.passes = "fold-tables,cse,dce", .disable = disable}, &g, dg));
    fl_status status = fl_build_prologue(g, &prologue, dg);
    if (status != FL_OK || !prologue || !fl_graph_get_meta(g, "ai.flen.records")) {
        fl_graph_free(g);
        fl_graph_free(prologue);
        return status;
    }
    prologue->name = "folding";
    p[FL_PROGRAM_FOLDED] = g;
    p[FL_PROGRAM_FOLDING] = prologue;
    return FL_OK;
}

static fl_status build(const fl_graph *forward, fl_stage stage, const char *disable, fl_graph **p, fl_diag *dg)
{
    bool trained = forward->n_params > 0 && fl_graph_find(forward, "loss") != FL_NONE;
    if (stage == FL_STAGE_FORWARD)
        return derive(forward, "predict", (fl_pipeline_options){.passes = "infer-types,set-mode(predict)", .disable = disable}, &p[FL_PROGRAM_PREDICT], dg);
    FL_TRY(derive(forward, "predict", (fl_pipeline_options){.passes = predict_passes(forward), .disable = disable}, &p[FL_PROGRAM_PREDICT], dg));
    FL_TRY(build_folded(p[FL_PROGRAM_PREDICT], disable, p, dg)); /* before predict gives its prologue away */
    FL_TRY(fl_build_prologue(p[FL_PROGRAM_PREDICT], &p[FL_PROGRAM_PROLOGUE], dg));
    if (trained) {
        const char *stop = stage == FL_STAGE_TRAIN ? "differentiate" : NULL;
        FL_TRY(derive(forward, "train", (fl_pipeline_options){.passes = fl_pipeline_train, .disable = disable, .stop_after = stop}, &p[FL_PROGRAM_TRAIN], dg));
        FL_TRY(fl_build_init_program(p[FL_PROGRAM_TRAIN], &p[FL_PROGRAM_INIT], dg));
    }
    FL_TRY(outline(p[FL_PROGRAM_PREDICT], disable, dg));
    FL_TRY(outline(p[FL_PROGRAM_FOLDED], disable, dg));
    if (stage != FL_STAGE_SCHEDULED)
        return FL_OK;
    FL_TRY(schedule(p[FL_PROGRAM_PREDICT], disable, dg));
    FL_TRY(schedule(p[FL_PROGRAM_PROLOGUE], disable, dg));
    FL_TRY(schedule(p[FL_PROGRAM_FOLDED], disable, dg));
    FL_TRY(schedule(p[FL_PROGRAM_FOLDING], disable, dg));
    return schedule(p[FL_PROGRAM_TRAIN], disable, dg);
}

fl_status fl_build_training(const fl_graph *step, fl_stage stage, const char *disable, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg)
{
    fl_graph *train = NULL, *init = NULL;
    const char *stop = stage == FL_STAGE_TRAIN ? "lower-gradients" : NULL;
    FL_TRY(derive(step, "train", (fl_pipeline_options){.passes = fl_pipeline_step, .disable = disable, .stop_after = stop}, &train, dg));
    fl_status status = train->n_params > 0 ? fl_build_init_program(train, &init, dg) : FL_OK; /* steps of others come with values */
    if (status == FL_OK && stage == FL_STAGE_SCHEDULED)
        status = schedule(train, disable, dg);
    if (status != FL_OK) {
        fl_graph_free(train);
        fl_graph_free(init);
        return status;
    }
    programs[FL_PROGRAM_TRAIN] = train;
    programs[FL_PROGRAM_INIT] = init;
    return FL_OK;
}

void fl_programs_free(fl_graph *programs[FL_N_PROGRAMS])
{
    for (int i = 0; i < FL_N_PROGRAMS; i++) {
        fl_graph_free(programs[i]);
        programs[i] = NULL;
    }
}

static bool has_gradients(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_GRADIENT)
            return true;
    return false;
}

fl_status fl_lower_gradients(fl_graph *g, fl_diag *dg)
{
    return has_gradients(g) ? fl_pipeline_run(g, &(fl_pipeline_options){.passes = "infer-types,lower-gradients,infer-types"}, dg) : FL_OK;
}

fl_status fl_build_programs_without(const fl_graph *forward, fl_stage stage, const char *disable, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg)
{
    fl_graph *lowered = NULL;
    memset(programs, 0, FL_N_PROGRAMS * sizeof *programs);
    bool changes = has_gradients(forward) || forward->n_functions > 0;
    if (changes)
        lowered = fl_graph_clone(forward);
    fl_status status = lowered ? fl_graph_ok(lowered, dg) : changes ? fl_out_of_memory(dg) : FL_OK;
    if (status == FL_OK && lowered)
        status = fl_functions_inline(lowered, dg); /* of a text: passes look for what is inside */
    if (status == FL_OK && lowered)
        status = fl_lower_gradients(lowered, dg);
    if (status == FL_OK)
        status = build(lowered ? lowered : forward, stage, disable, programs, dg);
    fl_graph_free(lowered);
    if (status != FL_OK)
        fl_programs_free(programs);
    return status;
}

fl_status fl_build_programs(const fl_graph *forward, fl_stage stage, fl_graph *programs[FL_N_PROGRAMS], fl_diag *dg)
{
    return fl_build_programs_without(forward, stage, NULL, programs, dg);
}
