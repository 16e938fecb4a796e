/*
 * init_program.c -- the program of first weights: for each parameter of a training program one node without operands, whose result has
 * the parameter's name. Values follow from (seed, name, element) alone: ir/README.md, "First weights".
 */
#include "passes/pass.h"

static fl_status set_shape(fl_graph *init, fl_id node, const fl_graph *from, const fl_type *t, fl_diag *dg)
{
    int64_t shape[FL_MAX_RANK];
    const char *symbols[FL_MAX_RANK];
    uint32_t n_symbols = 0;
    for (int d = 0; d < t->rank; d++) {
        shape[d] = FL_DIM_IS_SYM(t->dims[d]) ? -1 : t->dims[d];
        if (FL_DIM_IS_SYM(t->dims[d]))
            symbols[n_symbols++] = from->symbols[FL_SYM_OF_DIM(t->dims[d])];
    }
    fl_node_set_ints(init, node, "shape", shape, (uint32_t)t->rank);
    if (n_symbols > 1)
        return fl_error(dg, FL_E_PASS, FL_NOWHERE, "first weights with %u unknown dimensions", n_symbols);
    if (n_symbols == 1)
        fl_node_set_string(init, node, "symbols", symbols[0]);
    if (t->dtype != FL_FLOAT)
        fl_node_set_int(init, node, "dtype", t->dtype);
    return FL_OK;
}

static fl_status add_parameter(fl_graph *init, const fl_graph *from, const fl_param *p, fl_diag *dg)
{
    const fl_value *v = &from->values[p->variable];
    fl_op op = p->init == FL_INIT_NORMAL ? FL_OP_RANDOM_NORMAL : p->init == FL_INIT_UNIFORM ? FL_OP_RANDOM_UNIFORM : FL_OP_INIT_CONSTANT;
    fl_id node = fl_node_new(init, op, v->name, NULL, 0, 1);
    switch (p->init) {
    case FL_INIT_CONSTANT:
        fl_node_set_float(init, node, "value", p->init_a);
        break;
    case FL_INIT_NORMAL:
        fl_node_set_float(init, node, "mean", p->init_a);
        fl_node_set_float(init, node, "scale", p->init_b);
        break;
    case FL_INIT_UNIFORM:
        fl_node_set_float(init, node, "low", p->init_a);
        fl_node_set_float(init, node, "high", p->init_b);
        break;
    }
    FL_TRY(set_shape(init, node, from, &v->type, dg));
    fl_build_infer(init, node);
    fl_graph_output(init, fl_node_out(init, node, 0));
    return fl_graph_ok(init, dg);
}

fl_status fl_build_init_program(const fl_graph *train, fl_graph **out, fl_diag *dg)
{
    fl_graph *init = fl_graph_new("init");
    if (!init)
        return fl_out_of_memory(dg);
    fl_status status = FL_OK;
    for (uint32_t i = 0; i < train->n_params && status == FL_OK; i++)
        status = add_parameter(init, train, &train->params[i], dg);
    if (status != FL_OK)
        fl_graph_free(init);
    else
        *out = init;
    return status;
}
