/* check_common.c -- gradients and losses, for both sets of cases. */
#include "checks.h"

#include <string.h>

void check_set_gradient_rule(fl_graph *forward)
{
    for (uint32_t i = 0; i < forward->n_params; i++) {
        fl_param *p = &forward->params[i];
        if (p->rule.kind == FL_RULE_NONE)
            continue;
        p->rule = (fl_rule){.kind = FL_RULE_SGD, .lr = CHECK_GRADIENT_RATE};
        p->lr_scale = 1;
        p->l2 = 0;
    }
}

fl_status check_get_gradient(const model_run *r, const char *variable, int64_t offset, int64_t n, const double *before, double *gradient,
                             fl_diag *dg)
{
    FL_TRY(model_run_get(r, variable, offset, n, gradient, dg));
    for (int64_t i = 0; i < n; i++)
        gradient[i] = (before[i] - gradient[i]) / CHECK_GRADIENT_RATE;
    return FL_OK;
}

static fl_graph *loss_graph(const char *kind, double epsilon)
{
    fl_graph *g = fl_graph_new("loss");
    if (!g)
        return NULL;
    fl_type type = fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_graph_symbol(g, "batch"), 1});
    fl_id in[2] = {fl_graph_input(g, "z", type), fl_graph_input(g, "y", type)};
    fl_op ops[2] = {FL_OP_LOG_LOSS, FL_OP_LOG_LOSS_GRAD};
    const char *names[2] = {"loss_of_row", "derivative"};
    for (int i = 0; i < 2; i++) {
        fl_id node = fl_node_new(g, ops[i], names[i], in, 2, 1);
        fl_node_set_string(g, node, "kind", kind);
        fl_node_set_float(g, node, "epsilon", epsilon);
        fl_build_infer(g, node);
        fl_graph_output(g, fl_node_out(g, node, 0));
    }
    return g;
}

fl_status check_loss(run_backend backend, const char *kind, double epsilon, const double *logit, const double *label, int64_t n, double *loss,
                     double *derivative, fl_diag *dg)
{
    model_run r;
    fl_graph *g = loss_graph(kind, epsilon);
    if (!g)
        return fl_out_of_memory(dg);
    run_input inputs[2] = {{.name = "z", .rank = 2, .dims = {n, 1}, .f = logit}, {.name = "y", .rank = 2, .dims = {n, 1}, .f = label}};
    fl_status status = model_run_open_graph(&r, g, "infer-types", backend, dg);
    fl_graph_free(g);
    FL_TRY(status);
    status = model_run_execute(&r, FL_PROGRAM_PREDICT, inputs, 2, dg);
    if (status == FL_OK && loss)
        memcpy(loss, model_run_output(&r, FL_PROGRAM_PREDICT, "loss_of_row")->f, (size_t)n * sizeof *loss);
    if (status == FL_OK && derivative)
        memcpy(derivative, model_run_output(&r, FL_PROGRAM_PREDICT, "derivative")->f, (size_t)n * sizeof *derivative);
    model_run_close(&r);
    return status;
}
