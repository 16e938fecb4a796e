/*
 * interp_engine.c -- the interpreter as an engine: between the session's store and its double-precision copies.
 */
#include "backend/backend.h"

#include "backend/interp/interp.h"

#include <stdlib.h>
#include <string.h>

typedef struct interp_engine {
    fl_engine engine; /* first: the handle that callers hold */
    const fl_graph *g;
    const fl_store *store;
    fl_interp *in;
} interp_engine;

/* Element k (row-major) of a variable whose rows lie `stride` apart. */
static size_t place(const fl_var *v, int64_t k)
{
    int64_t row = 1;
    for (int d = 1; d < v->type.rank; d++)
        row *= v->type.dims[d];
    return (size_t)(v->type.rank == 0 || row == 0 ? k : k / row * v->stride + k % row);
}

static void write_element(void *data, fl_dtype t, size_t k, const fl_array *from, int64_t j)
{
    if (from->f)
        fl_tensor_set_double(data, t, (int64_t)k, from->f[j]);
    else
        fl_tensor_set_int(data, t, (int64_t)k, from->i[j]);
}

/* A dense copy of the variable as the interpreter holds it. */
static fl_status read_variable(interp_engine *e, fl_id v, fl_diag *dg)
{
    const char *name = e->g->values[v].name;
    const fl_var *var = fl_store_find(e->store, name);
    if (!var || !var->data)
        return fl_error(dg, FL_E_INTERP_INPUT, FL_NOWHERE, "variable \"%s\" is not in the session's store", name);
    int64_t n = fl_type_elements(&var->type);
    fl_tensor one = {.type = var->type, .bytes = var->data};
    bool real = fl_dtype_is_real(var->type.dtype);
    double *f = real ? malloc(((size_t)n + 1) * sizeof *f) : NULL;
    int64_t *i = real ? NULL : malloc(((size_t)n + 1) * sizeof *i);
    fl_status status = f || i ? FL_OK : fl_out_of_memory(dg);
    for (int64_t k = 0; status == FL_OK && k < n; k++) {
        int64_t at = (int64_t)place(var, k);
        if (real)
            f[k] = fl_tensor_get_double(&one, at);
        else
            i[k] = fl_tensor_get_int(&one, at);
    }
    if (status == FL_OK)
        status = real ? fl_interp_set_doubles(e->in, v, var->type.rank, var->type.dims, f, dg)
                      : fl_interp_set_ints(e->in, v, var->type.rank, var->type.dims, i, dg);
    free(f);
    free(i);
    return status;
}

static fl_status engine_refresh(fl_engine *engine, fl_diag *dg)
{
    interp_engine *e = (interp_engine *)engine;
    for (uint32_t k = 0; k < e->g->n_variables; k++) {
        const fl_value *v = &e->g->values[e->g->variables[k]];
        if (v->name && v->kind == FL_VALUE_VARIABLE)
            FL_TRY(read_variable(e, e->g->variables[k], dg));
    }
    return FL_OK;
}

static fl_status engine_flush(fl_engine *engine, fl_diag *dg)
{
    interp_engine *e = (interp_engine *)engine;
    (void)dg;
    for (uint32_t k = 0; k < e->g->n_updates; k++) {
        fl_id v = e->g->updates[k].variable;
        fl_var *var = fl_store_find(e->store, e->g->values[v].name);
        const fl_array *a = fl_interp_get(e->in, v);
        for (int64_t j = 0; a && j < a->n; j++)
            write_element(var->data, var->type.dtype, place(var, j), a, j);
    }
    return FL_OK;
}

static fl_status engine_run(fl_engine *engine, const fl_run *run, fl_diag *dg)
{
    interp_engine *e = (interp_engine *)engine;
    const fl_graph *g = e->g;
    for (uint32_t s = 0; s < g->n_symbols; s++)
        fl_interp_bind(e->in, s, run->dims ? run->dims[s] : -1);
    for (uint32_t k = 0; k < g->n_inputs; k++) {
        fl_tensor t = {.type = g->values[g->inputs[k]].type, .bytes = run->inputs[k]};
        for (int d = 0; d < t.type.rank; d++)
            if (FL_DIM_IS_SYM(t.type.dims[d]))
                t.type.dims[d] = run->dims[FL_SYM_OF_DIM(t.type.dims[d])];
        FL_TRY(fl_interp_set(e->in, g->inputs[k], &t, dg));
    }
    FL_TRY(fl_interp_run(e->in, dg));
    for (uint32_t k = 0; k < g->n_outputs; k++) {
        const fl_array *a = fl_interp_get(e->in, g->outputs[k]);
        for (int64_t j = 0; run->outputs && run->outputs[k] && a && j < a->n; j++)
            write_element(run->outputs[k], g->values[g->outputs[k]].type.dtype, (size_t)j, a, j);
    }
    return FL_OK;
}

static fl_status engine_value(fl_engine *engine, fl_id value, fl_type *type, void **bytes, fl_diag *dg)
{
    interp_engine *e = (interp_engine *)engine;
    const fl_array *a = fl_interp_get(e->in, value);
    size_t size = fl_dtype_size(e->g->values[value].type.dtype);

    *bytes = NULL;
    if (!a || size == 0) /* strings cannot be handed out */
        return FL_OK;
    *type = fl_type_make(e->g->values[value].type.dtype, a->rank, a->dims);
    *bytes = malloc((size_t)a->n * size + 1);
    if (!*bytes)
        return fl_out_of_memory(dg);
    for (int64_t j = 0; j < a->n; j++)
        write_element(*bytes, type->dtype, (size_t)j, a, j);
    return FL_OK;
}

static void engine_free(fl_engine *engine)
{
    interp_engine *e = (interp_engine *)engine;
    fl_interp_free(e->in);
    free(e);
}

fl_status fl_interp_engine_new(const fl_graph *g, const fl_store *store, uint64_t max_bytes, fl_engine **out, fl_diag *dg)
{
    for (uint32_t k = 0; k < g->n_outputs; k++) {
        const fl_value *v = &g->values[g->outputs[k]];
        if (fl_dtype_size(v->type.dtype) == 0)
            return fl_error(dg, FL_E_INTERP_INPUT, v->origin.loc, "output \"%s\" has the type %s, which cannot be handed out",
                            v->name, fl_dtype_name(v->type.dtype));
    }
    interp_engine *e = calloc(1, sizeof *e);
    if (!e)
        return fl_out_of_memory(dg);
    e->engine = (fl_engine){engine_run, engine_flush, engine_refresh, engine_free, engine_value};
    e->g = g;
    e->store = store;
    fl_status status = fl_interp_new(g, &e->in, dg);
    if (status == FL_OK && max_bytes > 0)
        fl_interp_limit(e->in, max_bytes);
    if (status == FL_OK)
        status = engine_refresh(&e->engine, dg);
    if (status != FL_OK) {
        engine_free(&e->engine);
        return status;
    }
    *out = &e->engine;
    return FL_OK;
}
