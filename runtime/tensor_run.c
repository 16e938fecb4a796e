#include "runtime/tensor_run.h"

#include <stdlib.h>
#include <string.h>

#include "ir/base/bytes.h"
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
    return FL_OK;
}

/* The type with its symbols' extents; false if some are not bound. */
static bool bind_type(const fl_graph *g, const int64_t *dims, const fl_type *t, fl_type *out)
{
    *out = *t;
    if (t->rank < 0)
        return false;
    for (int d = 0; d < t->rank; d++) {
        fl_dim factors[FL_MAX_RANK];
        uint32_t n = fl_shape_factors(g, t->dims[d], factors);
        out->dims[d] = 1;
        for (uint32_t k = 0; k < n; k++) {
            int64_t extent = FL_DIM_IS_SYM(factors[k]) ? dims[FL_SYM_OF_DIM(factors[k])] : factors[k];
            if (extent < 0 || __builtin_mul_overflow(out->dims[d], extent, &out->dims[d]))
                return false;
        }
    }
    return true;
}

/* `what` takes more than the session may have; v is what it is of. */
static fl_status beyond_limit(const fl_graph *g, fl_id v, const char *what, int64_t bytes, uint64_t left, fl_diag *dg)
{
    char one[24], limit[24];
    fl_id node = fl_value_node(g, v);

    (void)fl_error(dg, FL_E_MEMORY_LIMIT, g->values[v].origin.loc, "node \"%s\" (%s): %s takes %s, and %s are left of what all values together may take",
                   g->values[v].name, node == FL_NONE ? "none" : fl_op_get(g->nodes[node].op)->name, what,
                   bytes < 0 ? "more than any memory" : fl_print_bytes((uint64_t)bytes, one), fl_print_bytes(left, limit));
    fl_hint(dg, "--max-memory=SIZE sets the limit");
    return FL_BAD_INPUT;
}

/* -1 beyond any number. */
static int64_t bytes_of(const fl_type *t)
{
    int64_t bytes, elements = fl_type_elements(t);

    return elements < 0 || __builtin_mul_overflow(elements, (int64_t)fl_dtype_size(t->dtype), &bytes) ? -1 : bytes;
}

static fl_status make_outputs(const fl_graph *g, const int64_t *dims, uint64_t left, fl_array *outputs, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_value *v = &g->values[g->outputs[i]];
        if (!bind_type(g, dims, &v->type, &outputs[i].type))
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of output \"%s\" does not follow from the inputs' shapes", v->name);
        int64_t bytes = bytes_of(&outputs[i].type);
        if (bytes < 0 || (uint64_t)bytes > left)
            return beyond_limit(g, g->outputs[i], "the output", bytes, left, dg);
        left -= (uint64_t)bytes;
        outputs[i].n_bytes = (size_t)bytes;
        outputs[i].bytes = calloc(1, outputs[i].n_bytes + 1);
        if (!outputs[i].bytes)
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- indices */

/* The input that a value is, perhaps under another shape; UINT32_MAX if it is computed. */
static uint32_t input_behind(const fl_graph *g, fl_id value)
{
    for (;;) {
        fl_id node = fl_value_node(g, value);
        if (node == FL_NONE)
            break;
        fl_op op = g->nodes[node].op;
        if (op != FL_OP_RESHAPE && op != FL_OP_IDENTITY && op != FL_OP_FLATTEN && op != FL_OP_SQUEEZE && op != FL_OP_UNSQUEEZE)
            return UINT32_MAX;
        value = g->nodes[node].in[0];
    }
    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == value)
            return i;
    return UINT32_MAX;
}

static fl_status check_range(const char *what, const char *name, const fl_array *a, int64_t end, fl_diag *dg)
{
    fl_tensor t = {.type = a->type, .bytes = a->bytes};

    for (int64_t i = 0, n = fl_type_elements(&a->type); i < n; i++) {
        int64_t index = fl_tensor_get_int(&t, i);
        if (index < 0 || index >= end)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "element %lld of %s \"%s\" is %lld, the table has rows 0 to %lld", (long long)i, what, name,
                            (long long)index, (long long)end - 1);
    }
    return FL_OK;
}

/* Offsets of bags: from 0, never falling, up to the number of values. */
static fl_status check_offsets(const char *what, const char *name, const fl_array *a, int64_t values, fl_diag *dg)
{
    fl_tensor t = {.type = a->type, .bytes = a->bytes};
    int64_t n = fl_type_elements(&a->type);
    bool good = n > 0 && fl_tensor_get_int(&t, 0) == 0 && fl_tensor_get_int(&t, n - 1) == values;

    for (int64_t i = 1; good && i < n; i++)
        good = fl_tensor_get_int(&t, i) >= fl_tensor_get_int(&t, i - 1);
    return good ? FL_OK
                : fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "%s \"%s\" must begin with 0, never fall, and end with the number of values, %lld", what, name,
                           (long long)values);
}

/* A value that generated code uses as an index, and what it holds in this run. */
typedef struct checked {
    fl_id value;
    const char *what; /* "input", or "index" of computed ones */
    fl_array array;
    bool owned;
} checked;

typedef struct check_list {
    checked *items; /* two a node at most */
    uint32_t n, n_computed;
} check_list;

static checked *find_checked(check_list *l, fl_id value)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].value == value)
            return &l->items[i];
    return NULL;
}

static fl_status add_checked(check_list *l, const fl_graph *g, fl_id value, const fl_array *inputs, const int64_t *dims, uint64_t left, fl_diag *dg)
{
    if (find_checked(l, value))
        return FL_OK;
    checked *c = &l->items[l->n++];
    uint32_t input = input_behind(g, value);
    *c = (checked){.value = value, .what = "input"};
    if (input != UINT32_MAX) {
        c->array = inputs[input];
        return FL_OK;
    }
    c->what = "index";
    c->owned = true;
    l->n_computed++;
    if (!bind_type(g, dims, fl_value_type(g, value), &c->array.type))
        return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of index \"%s\" does not follow from the inputs' shapes", g->values[value].name);
    int64_t bytes = bytes_of(&c->array.type);
    if (bytes < 0 || (uint64_t)bytes > left)
        return beyond_limit(g, value, "the index", bytes, left, dg);
    c->array.bytes = calloc(1, (size_t)bytes + 1);
    return c->array.bytes ? FL_OK : fl_out_of_memory(dg);
}

/* Erase what the outputs do not need: to interpret a whole network for the sake of its indices would take long. */
static fl_status keep_needed(fl_graph *g, fl_diag *dg)
{
    bool *needed = calloc((size_t)g->n_values + 1, sizeof *needed);

    if (!needed)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        needed[g->outputs[i]] = true;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        bool used = false;

        for (uint32_t k = 0; k < n->n_out; k++)
            used = used || (n->out[k] != FL_NONE && needed[n->out[k]]);
        for (uint32_t k = 0; used && k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                needed[n->in[k]] = true;
        if (!used && n->op != FL_OP_NOP)
            fl_node_erase(g, i);
    }
    free(needed);
    return FL_OK;
}

/* Fill what is computed, by interpreting what of the program it takes. */
static fl_status compute(const fl_session *s, const fl_graph *g, fl_interpret_fn *interpret, check_list *l, const fl_run *call, fl_diag *dg)
{
    fl_graph *with = fl_graph_clone(g);
    void **outputs = with ? calloc((size_t)l->n + 1, sizeof *outputs) : NULL;
    fl_engine *e = NULL;
    fl_status status = outputs ? FL_OK : fl_out_of_memory(dg);

    if (status == FL_OK)
        with->n_outputs = 0;
    for (uint32_t i = 0; status == FL_OK && i < l->n; i++) {
        if (!l->items[i].owned)
            continue;
        outputs[with->n_outputs] = l->items[i].array.bytes;
        fl_graph_output(with, l->items[i].value); /* a clone's values have the same numbers */
    }
    if (status == FL_OK)
        status = fl_graph_ok(with, dg);
    if (status == FL_OK)
        status = keep_needed(with, dg);
    if (status == FL_OK)
        status = interpret(with, &s->variables.store, fl_session_memory_left(s), &e, dg);
    if (status == FL_OK) {
        status = e->run(e, &(fl_run){call->dims, call->inputs, outputs}, dg);
        e->free(e);
    }
    free(outputs);
    fl_graph_free(with);
    return status;
}

static int64_t rows_of(const fl_session *s, const fl_graph *g, fl_id node, uint32_t look_up)
{
    const fl_value *table = &g->values[g->nodes[node].in[2 * look_up]];
    const fl_var *var = table->kind == FL_VALUE_VARIABLE ? fl_store_find(&s->variables.store, table->name) : NULL;
    const fl_type *t = var ? &var->type : &table->type;
    int64_t axis = g->nodes[node].op == FL_OP_GATHER ? fl_node_int(g, node, "axis", 0) : 0;

    axis += axis < 0 ? t->rank : 0;
    return axis >= 0 && axis < t->rank ? t->dims[axis] : 0;
}

static fl_status check_node(const fl_session *s, const fl_graph *g, fl_id node, check_list *l, const int64_t *dims, fl_diag *dg)
{
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < fl_look_ups(n); k++) {
        const checked *index = find_checked(l, n->in[2 * k + 1]);
        int64_t rows = rows_of(s, g, node, k);

        if (FL_DIM_IS_SYM(rows))
            rows = dims[FL_SYM_OF_DIM(rows)];
        FL_TRY(check_range(index->what, g->values[index->value].name, &index->array, rows, dg));
    }
    if (n->op != FL_OP_EMBEDDING_BAG)
        return FL_OK;
    const checked *index = find_checked(l, n->in[1]);
    const checked *offsets = find_checked(l, n->in[2]);
    return check_offsets(offsets->what, g->values[offsets->value].name, &offsets->array, fl_type_elements(&index->array.type), dg);
}

/* Constants were checked by nobody either, so they are computed like the rest. */
static fl_status check_indices(const fl_session *s, const fl_graph *g, fl_interpret_fn *interpret, const fl_array *inputs, const fl_run *call, fl_diag *dg)
{
    check_list l = {.items = calloc((size_t)g->n_values + 1, sizeof *l.items)};
    fl_status status = l.items ? FL_OK : fl_out_of_memory(dg);
    uint64_t left = fl_session_memory_left(s);

    for (uint32_t i = 0; i < g->n_nodes && status == FL_OK; i++) {
        const fl_node *n = &g->nodes[i];
        if (!fl_op_has(n->op, FL_GATHERING))
            continue;
        for (uint32_t k = 0; k < fl_look_ups(n) && status == FL_OK; k++)
            status = add_checked(&l, g, n->in[2 * k + 1], inputs, call->dims, left, dg);
        if (status == FL_OK && n->op == FL_OP_EMBEDDING_BAG)
            status = add_checked(&l, g, n->in[2], inputs, call->dims, left, dg);
    }
    if (status == FL_OK && l.n_computed > 0)
        status = compute(s, g, interpret, &l, call, dg);
    for (uint32_t i = 0; i < g->n_nodes && status == FL_OK; i++)
        if (fl_op_has(g->nodes[i].op, FL_GATHERING))
            status = check_node(s, g, i, &l, call->dims, dg);
    for (uint32_t i = 0; i < l.n; i++)
        if (l.items[i].owned)
            free(l.items[i].array.bytes);
    free(l.items);
    return status;
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
    if (!s->options.interpret)
        FL_TRY(check_indices(s, g, interpret, inputs, &call, dg));
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
