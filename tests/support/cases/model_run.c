#include "model_run.h"

#include "backend/backend.h"
#include "passes/pass.h"
#include "runtime/code_cache.h"
#include "runtime/native.h"

#include <stdlib.h>
#include <string.h>

/* The folded programs say the same as predict and have a test of their own. */
enum { N_PROGRAMS = FL_PROGRAM_FOLDED };

static fl_status refuse(fl_diag *dg, const char *what, const char *name)
{
    return fl_error(dg, FL_E_STORE, FL_NOWHERE, "%s \"%s\"", what, name);
}

/* ----------------------------------------------------------------------------------------------------- opening */

/* The interpreter wants a value in every variable before it runs, also in those that the prologue is about to derive. */
static fl_status clear_derived(fl_interp *in, const fl_graph *g, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_updates; i++) {
        const fl_type *t = fl_value_type(g, g->updates[i].variable);
        double *zeros = calloc((size_t)fl_type_elements(t) + 1, sizeof *zeros);
        fl_status status = zeros ? fl_interp_set_doubles(in, g->updates[i].variable, t->rank, t->dims, zeros, dg) : fl_out_of_memory(dg);
        free(zeros);
        FL_TRY(status);
    }
    return FL_OK;
}

static fl_status open_interp(model_run *r, fl_diag *dg)
{
    for (int p = 0; p < N_PROGRAMS; p++)
        if (r->programs[p])
            FL_TRY(fl_interp_new(r->programs[p], &r->interp[p], dg));
    if (r->programs[FL_PROGRAM_PROLOGUE])
        FL_TRY(clear_derived(r->interp[FL_PROGRAM_PROLOGUE], r->programs[FL_PROGRAM_PROLOGUE], dg));
    fl_interp *init = r->interp[FL_PROGRAM_INIT], *train = r->interp[FL_PROGRAM_TRAIN];
    const fl_graph *g = r->programs[FL_PROGRAM_INIT];
    if (!init)
        return FL_OK;
    FL_TRY(fl_interp_run(init, dg));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_array *a = fl_interp_get(init, g->outputs[i]);
        fl_id v = fl_graph_find(r->programs[FL_PROGRAM_TRAIN], g->values[g->outputs[i]].name);
        if (a && v != FL_NONE)
            FL_TRY(fl_interp_set_doubles(train, v, a->rank, a->dims, a->f, dg));
    }
    return FL_OK;
}

static fl_status open_engine(model_run *r, int p, fl_diag *dg)
{
    void *image = NULL;
    size_t size = 0;
    fl_image *code = NULL;
    FL_TRY(fl_compile(r->programs[p], fl_cpu_level(), &image, &size, dg));
    fl_status status = fl_image_load_bytes(image, size, r->programs[p]->name, &code, dg);
    free(image);
    FL_TRY(status);
    return fl_native_engine_new(r->programs[p], &r->variables.store, code, NULL, &r->engines[p], dg);
}

static fl_status open_native(model_run *r, fl_diag *dg)
{
    const fl_graph *train = r->programs[FL_PROGRAM_TRAIN], *init = r->programs[FL_PROGRAM_INIT];
    const fl_graph *all[] = {train, r->programs[FL_PROGRAM_PREDICT], r->programs[FL_PROGRAM_PROLOGUE]};
    /* A graph without a train program has variables that are set, not stored: they need memory of their own, as in training. */
    FL_TRY(fl_variables_open(&r->variables, all, FL_COUNT(all), train ? train : r->programs[FL_PROGRAM_PREDICT], 0, NULL, 0, NULL, dg));
    if (init)
        FL_TRY(fl_variables_first(&r->variables, init, 0, true, NULL, dg));
    for (int p = 0; p < N_PROGRAMS; p++)
        if (r->programs[p] && p != FL_PROGRAM_INIT)
            FL_TRY(open_engine(r, p, dg));
    return FL_OK;
}

static fl_status open_backend(model_run *r, fl_diag *dg)
{
    fl_status status = FL_OK;
    for (int p = 0; p < N_PROGRAMS; p++) {
        r->outputs[p] = calloc(r->programs[p] ? r->programs[p]->n_outputs + 1u : 1u, sizeof *r->outputs[p]);
        if (!r->outputs[p])
            status = fl_out_of_memory(dg);
    }
    if (status == FL_OK)
        status = r->backend == RUN_NATIVE ? open_native(r, dg) : open_interp(r, dg);
    if (status != FL_OK)
        model_run_close(r);
    return status;
}

fl_status model_run_open(model_run *r, const fl_graph *forward, run_backend backend, fl_diag *dg)
{
    *r = (model_run){.backend = backend};
    FL_TRY(fl_build_programs(forward, FL_STAGE_SCHEDULED, r->programs, dg));
    return open_backend(r, dg);
}

fl_status model_run_open_graph(model_run *r, const fl_graph *graph, const char *passes, run_backend backend, fl_diag *dg)
{
    *r = (model_run){.backend = backend};
    fl_graph *g = fl_graph_clone(graph);
    if (!g)
        return fl_out_of_memory(dg);
    r->programs[FL_PROGRAM_PREDICT] = g;
    fl_status status = fl_graph_ok(g, dg);
    if (status == FL_OK)
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = passes}, dg);
    if (status == FL_OK && backend == RUN_NATIVE)
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule}, dg);
    if (status != FL_OK) {
        fl_programs_free(r->programs);
        return status;
    }
    return open_backend(r, dg);
}

void model_run_close(model_run *r)
{
    for (int p = 0; p < N_PROGRAMS; p++) {
        fl_interp_free(r->interp[p]);
        if (r->engines[p])
            r->engines[p]->free(r->engines[p]);
        for (uint32_t i = 0; r->outputs[p] && r->programs[p] && i < r->programs[p]->n_outputs; i++)
            free(r->outputs[p][i].f);
        free(r->outputs[p]);
    }
    if (r->backend == RUN_NATIVE)
        fl_variables_close(&r->variables);
    fl_programs_free(r->programs);
    *r = (model_run){.backend = r->backend};
}

/* --------------------------------------------------------------------------------------------------- variables */

/* The program that owns variables on the interpreter; predict where nothing is trained. */
static int owner(const model_run *r)
{
    return r->programs[FL_PROGRAM_TRAIN] ? FL_PROGRAM_TRAIN : FL_PROGRAM_PREDICT;
}

static fl_id find_variable(const fl_graph *g, const char *name)
{
    fl_id v = g ? fl_graph_find(g, name) : FL_NONE;
    return v != FL_NONE && g->values[v].kind == FL_VALUE_VARIABLE ? v : FL_NONE;
}

/* A parameter that no gradient reaches may have left the train program: it stays in the program that reads it. */
static int home(const model_run *r, const char *name)
{
    if (find_variable(r->programs[owner(r)], name) != FL_NONE)
        return owner(r);
    return find_variable(r->programs[FL_PROGRAM_PREDICT], name) != FL_NONE ? FL_PROGRAM_PREDICT
           : find_variable(r->programs[FL_PROGRAM_PROLOGUE], name) != FL_NONE ? FL_PROGRAM_PROLOGUE
                                                                               : -1;
}

bool model_run_has(const model_run *r, const char *variable)
{
    return r->backend == RUN_NATIVE ? fl_store_find(&r->variables.store, variable) != NULL : home(r, variable) >= 0;
}

/* Element i of a native variable. */
static void *element(const fl_var *var, int64_t i)
{
    int64_t row = 1;
    for (int d = 1; d < var->type.rank; d++)
        row *= var->type.dims[d];
    return (uint8_t *)var->data + (size_t)(i / row * var->stride + i % row) * fl_dtype_size(var->type.dtype);
}

static fl_status native_variable(const model_run *r, const char *name, int64_t offset, int64_t n, fl_var **out, fl_diag *dg)
{
    *out = fl_store_find(&r->variables.store, name);
    if (!*out || (*out)->type.dtype != FL_FLOAT)
        return refuse(dg, "no float variable", name);
    return offset >= 0 && offset + n <= fl_type_elements(&(*out)->type) ? FL_OK : refuse(dg, "too many elements for variable", name);
}

static fl_status set_interp(model_run *r, const char *name, int64_t offset, int64_t n, const double *f, fl_diag *dg)
{
    int p = home(r, name);
    if (p < 0)
        return refuse(dg, "no variable", name);
    fl_id v = find_variable(r->programs[p], name);
    const fl_type *t = fl_value_type(r->programs[p], v);
    int64_t all = fl_type_elements(t);
    if (offset < 0 || offset + n > all)
        return refuse(dg, "too many elements for variable", name);
    double *whole = calloc((size_t)all + 1, sizeof *whole);
    if (!whole)
        return fl_out_of_memory(dg);
    const fl_array *now = fl_interp_get(r->interp[p], v);
    if (now)
        memcpy(whole, now->f, (size_t)all * sizeof *whole);
    memcpy(whole + offset, f, (size_t)n * sizeof *whole);
    fl_status status = fl_interp_set_doubles(r->interp[p], v, t->rank, t->dims, whole, dg);
    free(whole);
    return status;
}

fl_status model_run_set(model_run *r, const char *variable, int64_t offset, int64_t n, const double *f, fl_diag *dg)
{
    fl_var *var;
    if (r->backend == RUN_INTERP)
        return set_interp(r, variable, offset, n, f, dg);
    FL_TRY(native_variable(r, variable, offset, n, &var, dg));
    for (int64_t i = 0; i < n; i++) {
        float single = (float)f[i];
        memcpy(element(var, offset + i), &single, sizeof single);
    }
    return FL_OK;
}

fl_status model_run_get(const model_run *r, const char *variable, int64_t offset, int64_t n, double *f, fl_diag *dg)
{
    fl_var *var;
    if (r->backend == RUN_INTERP) {
        int p = home(r, variable);
        const fl_array *a = p < 0 ? NULL : fl_interp_get(r->interp[p], find_variable(r->programs[p], variable));
        if (!a || !a->f || offset < 0 || offset + n > a->n)
            return refuse(dg, "no such elements of variable", variable);
        memcpy(f, a->f + offset, (size_t)n * sizeof *f);
        return FL_OK;
    }
    FL_TRY(native_variable(r, variable, offset, n, &var, dg));
    for (int64_t i = 0; i < n; i++) {
        float single;
        memcpy(&single, element(var, offset + i), sizeof single);
        f[i] = (double)single;
    }
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------------- executing */

/* Whatever `to` reads has the values that `from` left. */
static fl_status hand_over(const model_run *r, int from, int to, fl_diag *dg)
{
    const fl_graph *g = r->programs[to];
    for (uint32_t i = 0; i < g->n_variables; i++) {
        fl_id v = g->variables[i], there = g->values[v].kind == FL_VALUE_VARIABLE ? find_variable(r->programs[from], g->values[v].name) : FL_NONE;
        const fl_array *a = there == FL_NONE ? NULL : fl_interp_get(r->interp[from], there);
        if (a && a->f)
            FL_TRY(fl_interp_set_doubles(r->interp[to], v, a->rank, a->dims, a->f, dg));
    }
    return FL_OK;
}

static fl_status run_interp(model_run *r, int p, const run_input *inputs, uint32_t n_inputs, fl_diag *dg)
{
    const fl_graph *g = r->programs[p];
    for (uint32_t k = 0; k < n_inputs; k++) {
        const run_input *in = &inputs[k];
        fl_id v = fl_graph_find(g, in->name);
        if (v == FL_NONE || g->values[v].kind != FL_VALUE_INPUT)
            continue;
        FL_TRY(in->f ? fl_interp_set_doubles(r->interp[p], v, in->rank, in->dims, in->f, dg)
                     : fl_interp_set_ints(r->interp[p], v, in->rank, in->dims, in->i, dg));
    }
    FL_TRY(fl_interp_run(r->interp[p], dg));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_array *a = fl_interp_get(r->interp[p], g->outputs[i]);
        run_output *out = &r->outputs[p][i];
        if (!a || !a->f)
            return refuse(dg, "no value of output", g->values[g->outputs[i]].name);
        double *f = realloc(out->f, (size_t)(a->n + 1) * sizeof *f);
        if (!f)
            return fl_out_of_memory(dg);
        memcpy(f, a->f, (size_t)a->n * sizeof *f);
        *out = (run_output){f, a->n};
    }
    return FL_OK;
}

/* Dense bytes of an input's declared type. */
static void *bytes_of(const run_input *in, fl_dtype dtype, int64_t n)
{
    size_t size = fl_dtype_size(dtype);
    uint8_t *bytes = malloc((size_t)(n + 1) * 8);
    for (int64_t k = 0; bytes && k < n; k++) {
        float single = in->f ? (float)in->f[k] : 0;
        int64_t whole = in->i ? in->i[k] : 0;
        memcpy(bytes + (size_t)k * size, dtype == FL_FLOAT ? (const void *)&single : (const void *)&whole, size); /* little-endian */
    }
    return bytes;
}

typedef struct native_call {
    int64_t *dims;
    void **inputs, **outputs;
    uint32_t n_inputs, n_outputs;
} native_call;

static void native_call_deinit(native_call *c)
{
    for (uint32_t i = 0; c->inputs && i < c->n_inputs; i++)
        free(c->inputs[i]);
    for (uint32_t i = 0; c->outputs && i < c->n_outputs; i++)
        free(c->outputs[i]);
    free(c->dims);
    free(c->inputs);
    free(c->outputs);
}

static fl_status give_inputs(native_call *c, const fl_graph *g, const run_input *inputs, uint32_t n_inputs, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_value *v = &g->values[g->inputs[i]];
        const run_input *in = inputs;
        int64_t n = 1;
        while (in < inputs + n_inputs && strcmp(in->name, v->name) != 0)
            in++;
        if (in == inputs + n_inputs || in->rank != v->type.rank)
            return refuse(dg, "nothing given, or another rank, for input", v->name);
        for (int d = 0; d < in->rank; d++) {
            n *= in->dims[d];
            if (FL_DIM_IS_SYM(v->type.dims[d]))
                c->dims[FL_SYM_OF_DIM(v->type.dims[d])] = in->dims[d];
            else if (v->type.dims[d] != in->dims[d])
                return refuse(dg, "another extent for input", v->name);
        }
        c->inputs[i] = bytes_of(in, v->type.dtype, n);
        if (!c->inputs[i])
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

static fl_status take_outputs(model_run *r, int p, const native_call *c, fl_diag *dg)
{
    const fl_graph *g = r->programs[p];
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        run_output *out = &r->outputs[p][i];
        double *f = realloc(out->f, (size_t)(out->n + 1) * sizeof *f);
        if (!f)
            return fl_out_of_memory(dg);
        for (int64_t k = 0; k < out->n; k++) {
            float single;
            memcpy(&single, (const uint8_t *)c->outputs[i] + 4 * k, sizeof single);
            f[k] = (double)single;
        }
        out->f = f;
    }
    return FL_OK;
}

static fl_status run_native(model_run *r, int p, const run_input *inputs, uint32_t n_inputs, fl_diag *dg)
{
    const fl_graph *g = r->programs[p];
    native_call c = {calloc(g->n_symbols + 1u, sizeof *c.dims), calloc(g->n_inputs + 1u, sizeof *c.inputs),
                     calloc(g->n_outputs + 1u, sizeof *c.outputs), g->n_inputs, g->n_outputs};
    fl_status status = c.dims && c.inputs && c.outputs ? give_inputs(&c, g, inputs, n_inputs, dg) : fl_out_of_memory(dg);
    for (uint32_t i = 0; status == FL_OK && i < g->n_outputs; i++) {
        const fl_type *t = fl_value_type(g, g->outputs[i]);
        int64_t n = 1;
        for (int d = 0; d < t->rank; d++)
            n *= FL_DIM_IS_SYM(t->dims[d]) ? c.dims[FL_SYM_OF_DIM(t->dims[d])] : t->dims[d];
        r->outputs[p][i].n = n;
        c.outputs[i] = malloc((size_t)(n + 1) * 4);
        if (!c.outputs[i])
            status = fl_out_of_memory(dg);
        else if (t->dtype != FL_FLOAT)
            status = refuse(dg, "not of floats: output", g->values[g->outputs[i]].name);
    }
    if (status == FL_OK)
        status = r->engines[p]->run(r->engines[p], &(fl_run){c.dims, (const void *const *)c.inputs, c.outputs}, dg);
    if (status == FL_OK)
        status = take_outputs(r, p, &c, dg);
    native_call_deinit(&c);
    return status;
}

fl_status model_run_execute(model_run *r, fl_program p, const run_input *inputs, uint32_t n_inputs, fl_diag *dg)
{
    bool prologue = p == FL_PROGRAM_PREDICT && r->programs[FL_PROGRAM_PROLOGUE];
    if (!r->programs[p])
        return refuse(dg, "no program", p == FL_PROGRAM_TRAIN ? "train" : "predict");
    if (r->backend == RUN_NATIVE) {
        if (prologue)
            FL_TRY(run_native(r, FL_PROGRAM_PROLOGUE, NULL, 0, dg));
        return run_native(r, (int)p, inputs, n_inputs, dg);
    }
    if (p == FL_PROGRAM_PREDICT && (int)p != owner(r))
        FL_TRY(hand_over(r, owner(r), FL_PROGRAM_PREDICT, dg));
    if (prologue) {
        FL_TRY(hand_over(r, FL_PROGRAM_PREDICT, FL_PROGRAM_PROLOGUE, dg));
        FL_TRY(hand_over(r, owner(r), FL_PROGRAM_PROLOGUE, dg));
        FL_TRY(run_interp(r, FL_PROGRAM_PROLOGUE, NULL, 0, dg));
        FL_TRY(hand_over(r, FL_PROGRAM_PROLOGUE, FL_PROGRAM_PREDICT, dg));
    }
    return run_interp(r, (int)p, inputs, n_inputs, dg);
}

const run_output *model_run_output(const model_run *r, fl_program p, const char *name)
{
    const fl_graph *g = r->programs[p];
    for (uint32_t i = 0; g && i < g->n_outputs; i++)
        if (strcmp(g->values[g->outputs[i]].name, name) == 0)
            return &r->outputs[p][i];
    return NULL;
}
