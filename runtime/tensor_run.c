#include "runtime/tensor_run.h"

#include <stdlib.h>
#include <string.h>

#include "ir/rows.h"
#include "ir/shape.h"

enum { TYPE_BYTES = 200 };

/* -------------------------------------------------------------------------------------------------------- shapes */

static fl_status wrong_type(const fl_graph *g, const fl_value *v, const fl_array *a, fl_diag *dg)
{
    char want[TYPE_BYTES], got[TYPE_BYTES];

    fl_type_print(g, &v->type, want, sizeof want);
    fl_type_print(g, &a->type, got, sizeof got);
    return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" is %s, the tensor is %s", v->name, want, got);
}

/* Extents of all symbols that inputs have; -1: none has it. */
static fl_status bind_symbols(const fl_graph *g, const fl_array *inputs, int64_t *dims, fl_diag *dg)
{
    for (uint32_t k = 0; k < g->n_symbols; k++)
        dims[k] = -1;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_value *v = &g->values[g->inputs[i]];
        const fl_type *t = &inputs[i].type;
        if (t->dtype != v->type.dtype || t->rank != v->type.rank)
            return wrong_type(g, v, &inputs[i], dg);
        for (int d = 0; d < t->rank; d++) {
            fl_dim want = v->type.dims[d];
            if (!FL_DIM_IS_SYM(want)) {
                if (want != t->dims[d])
                    return wrong_type(g, v, &inputs[i], dg);
                continue;
            }
            int64_t *extent = &dims[FL_SYM_OF_DIM(want)];
            if (*extent >= 0 && *extent != t->dims[d])
                return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "\"%s\" is %lld in input \"%s\" and %lld in another", g->symbols[FL_SYM_OF_DIM(want)],
                                (long long)t->dims[d], v->name, (long long)*extent);
            *extent = t->dims[d];
        }
    }
    uint32_t bags = fl_bag_rows(g);
    for (fl_id i = 0; bags != FL_NONE && dims[bags] < 0 && i < g->n_nodes; i++)
        for (uint32_t k = 0; g->nodes[i].op == FL_OP_EMBEDDING_BAG && k < g->n_inputs; k++)
            if (g->inputs[k] == g->nodes[i].in[2] && inputs[k].type.dims[0] > 0)
                dims[bags] = inputs[k].type.dims[0] - 1;
    return FL_OK;
}

static fl_status make_outputs(const fl_graph *g, const int64_t *dims, uint64_t left, fl_array *outputs, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_value *v = &g->values[g->outputs[i]];
        if (!fl_type_bind(g, dims, &v->type, &outputs[i].type))
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of output \"%s\" does not follow from the inputs' shapes", v->name);
        int64_t bytes = fl_type_bytes(&outputs[i].type);
        if (bytes < 0 || (uint64_t)bytes > left)
            return fl_beyond_memory(g, g->outputs[i], "the output", bytes, left, dg);
        left -= (uint64_t)bytes;
        outputs[i].n_bytes = (size_t)bytes;
        outputs[i].bytes = calloc(1, outputs[i].n_bytes + 1);
        if (!outputs[i].bytes)
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- running */

typedef struct tensor_run {
    const void **inputs;
    void **outputs;
    int64_t *dims;
} tensor_run;

static fl_status run(fl_session *s, fl_program p, fl_interpret_fn *interpret, const fl_array *inputs, fl_array *outputs, tensor_run *r, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];
    fl_engine *e = NULL;
    int64_t batch = 0;

    FL_TRY(bind_symbols(g, inputs, r->dims, dg));
    FL_TRY(make_outputs(g, r->dims, fl_session_memory_left(s), outputs, dg));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        r->inputs[i] = inputs[i].bytes;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        r->outputs[i] = outputs[i].bytes;
    for (uint32_t k = 0; k < g->n_symbols; k++) {
        batch = strcmp(g->symbols[k], "batch") == 0 ? r->dims[k] : batch;
        r->dims[k] = r->dims[k] < 0 ? 0 : r->dims[k];
    }
    FL_TRY(fl_session_engine(s, p, batch, &e, dg)); /* derived variables are filled here, for the interpreter too */
    fl_run call = {r->dims, r->inputs, r->outputs};
    if (!s->options.interpret) {
        fl_tensor_indices indices;
        FL_TRY(fl_tensor_indices_make(&indices, s, p, interpret, inputs, &call, dg));
        fl_status status = fl_tensor_indices_check(&indices, s, p, r->dims, dg);
        fl_tensor_indices_deinit(&indices);
        FL_TRY(status);
    }
    return e->run(e, &call, dg);
}

fl_status fl_tensor_run(fl_session *s, fl_program p, fl_interpret_fn *interpret, const fl_array *inputs, fl_array *outputs, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];

    if (!g)
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(fl_model_path(s->model)), "the model has no %s program", fl_program_name(p));
    tensor_run r = {calloc((size_t)g->n_inputs + 1, sizeof *r.inputs), calloc((size_t)g->n_outputs + 1, sizeof *r.outputs),
                    calloc((size_t)g->n_symbols + 1, sizeof *r.dims)};
    for (uint32_t i = 0; i < g->n_outputs; i++)
        outputs[i] = (fl_array){0};
    fl_status status = r.inputs && r.outputs && r.dims ? run(s, p, interpret, inputs, outputs, &r, dg) : fl_out_of_memory(dg);
    free(r.inputs);
    free(r.outputs);
    free(r.dims);
    for (uint32_t i = 0; status != FL_OK && i < g->n_outputs; i++) {
        free(outputs[i].bytes);
        outputs[i] = (fl_array){0};
    }
    return status;
}
