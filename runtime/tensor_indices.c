#include "runtime/tensor_indices.h"

#include <stdlib.h>

#include "ir/base/bytes.h"
#include "ir/shape.h"

bool fl_type_bind(const fl_graph *g, const int64_t *dims, const fl_type *t, fl_type *out)
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

fl_status fl_beyond_memory(const fl_graph *g, fl_id v, const char *what, int64_t bytes, uint64_t left, fl_diag *dg)
{
    char one[24], limit[24];
    fl_id node = fl_value_node(g, v);

    (void)fl_error(dg, FL_E_MEMORY_LIMIT, g->values[v].origin.loc, "node \"%s\" (%s): %s takes %s, and %s are left of what all values together may take",
                   g->values[v].name, node == FL_NONE ? "none" : fl_op_get(g->nodes[node].op)->name, what,
                   bytes < 0 ? "more than any memory" : fl_print_bytes((uint64_t)bytes, one), fl_print_bytes(left, limit));
    fl_hint(dg, "--max-memory=SIZE sets the limit");
    return FL_BAD_INPUT;
}

int64_t fl_type_bytes(const fl_type *t)
{
    int64_t bytes, elements = fl_type_elements(t);

    return elements < 0 || __builtin_mul_overflow(elements, (int64_t)fl_dtype_size(t->dtype), &bytes) ? -1 : bytes;
}

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

static fl_status check_range(const char *what, const char *name, const char *table, const fl_array *a, int64_t end, fl_diag *dg)
{
    fl_tensor t = {.type = a->type, .bytes = a->bytes};

    for (int64_t i = 0, n = fl_type_elements(&a->type); i < n; i++) {
        int64_t index = fl_tensor_get_int(&t, i);
        if (index < 0 || index >= end)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "element %lld of %s \"%s\" is %lld, the table \"%s\" has rows 0 to %lld", (long long)i, what, name,
                            (long long)index, table, (long long)end - 1);
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

const fl_tensor_index *fl_tensor_indices_find(const fl_tensor_indices *l, fl_id value)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].value == value)
            return &l->items[i];
    return NULL;
}

static fl_status add_checked(fl_tensor_indices *l, const fl_graph *g, fl_id value, const fl_array *inputs, const int64_t *dims, uint64_t left, fl_diag *dg)
{
    if (fl_tensor_indices_find(l, value))
        return FL_OK;
    fl_tensor_index *c = &l->items[l->n++];
    uint32_t input = input_behind(g, value);
    *c = (fl_tensor_index){.value = value, .what = "input"};
    if (input != UINT32_MAX) {
        c->array = inputs[input];
        return FL_OK;
    }
    c->what = "index";
    c->owned = true;
    l->n_computed++;
    if (!fl_type_bind(g, dims, fl_value_type(g, value), &c->array.type))
        return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of index \"%s\" does not follow from the inputs' shapes", g->values[value].name);
    int64_t bytes = fl_type_bytes(&c->array.type);
    if (bytes < 0 || (uint64_t)bytes > left)
        return fl_beyond_memory(g, value, "the index", bytes, left, dg);
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
static fl_status compute(const fl_session *s, const fl_graph *g, fl_interpret_fn *interpret, fl_tensor_indices *l, const fl_run *call, fl_diag *dg)
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

int64_t fl_look_up_rows(const fl_session *s, const fl_graph *g, fl_id node, uint32_t look_up)
{
    const fl_value *table = &g->values[g->nodes[node].in[2 * look_up]];
    const fl_var *var = table->kind == FL_VALUE_VARIABLE ? fl_store_find(&s->variables.store, table->name) : NULL;
    const fl_type *t = var ? &var->type : &table->type;
    int64_t axis = g->nodes[node].op == FL_OP_GATHER ? fl_node_int(g, node, "axis", 0) : 0;

    axis += axis < 0 ? t->rank : 0;
    return axis >= 0 && axis < t->rank ? t->dims[axis] : 0;
}

static fl_status check_node(const fl_session *s, const fl_graph *g, fl_id node, const fl_tensor_indices *l, const int64_t *dims, fl_diag *dg)
{
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < fl_look_ups(n); k++) {
        const fl_tensor_index *index = fl_tensor_indices_find(l, n->in[2 * k + 1]);
        int64_t rows = fl_look_up_rows(s, g, node, k);

        if (FL_DIM_IS_SYM(rows))
            rows = dims[FL_SYM_OF_DIM(rows)];
        FL_TRY(check_range(index->what, g->values[index->value].name, g->values[n->in[2 * k]].name, &index->array, rows, dg));
    }
    if (n->op != FL_OP_EMBEDDING_BAG)
        return FL_OK;
    const fl_tensor_index *index = fl_tensor_indices_find(l, n->in[1]);
    const fl_tensor_index *offsets = fl_tensor_indices_find(l, n->in[2]);
    return check_offsets(offsets->what, g->values[offsets->value].name, &offsets->array, fl_type_elements(&index->array.type), dg);
}

/* Constants were checked by nobody, so they are computed like the rest. */
fl_status fl_tensor_indices_make(fl_tensor_indices *l, const fl_session *s, fl_program p, fl_interpret_fn *interpret, const fl_array *inputs, const fl_run *call, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];
    uint64_t left = fl_session_memory_left(s);

    *l = (fl_tensor_indices){.items = calloc((size_t)g->n_values + 1, sizeof *l->items)};
    fl_status status = l->items ? FL_OK : fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_nodes && status == FL_OK; i++) {
        const fl_node *n = &g->nodes[i];
        if (!fl_op_has(n->op, FL_GATHERING))
            continue;
        for (uint32_t k = 0; k < fl_look_ups(n) && status == FL_OK; k++)
            status = add_checked(l, g, n->in[2 * k + 1], inputs, call->dims, left, dg);
        if (status == FL_OK && n->op == FL_OP_EMBEDDING_BAG)
            status = add_checked(l, g, n->in[2], inputs, call->dims, left, dg);
    }
    if (status == FL_OK && l->n_computed > 0)
        status = compute(s, g, interpret, l, call, dg);
    if (status != FL_OK)
        fl_tensor_indices_deinit(l);
    return status;
}

void fl_tensor_indices_deinit(fl_tensor_indices *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].owned)
            free(l->items[i].array.bytes);
    free(l->items);
    *l = (fl_tensor_indices){0};
}

fl_status fl_tensor_indices_check(const fl_tensor_indices *l, const fl_session *s, fl_program p, const int64_t *dims, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];

    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (fl_op_has(g->nodes[i].op, FL_GATHERING))
            FL_TRY(check_node(s, g, i, l, dims, dg));
    return FL_OK;
}
