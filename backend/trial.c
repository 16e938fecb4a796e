#include "backend/trial.h"

#include "backend/interp/interp.h"
#include "ir/rows.h"
#include "ir/base/bytes.h"
#include "ir/base/rng.h"
#include "ir/functions.h"
#include "ir/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENT = 7 }; /* of symbols that nothing decides, at least */

struct fl_trial {
    const fl_graph *g;
    fl_graph *inlined; /* g without calls, if it has some: who reads an index says what may be drawn for it; NULL: none */
    fl_trial_options o;
    int64_t rows, unknown; /* rows of look-ups; extent of symbols that nothing decides */
    fl_arena arena;
    fl_tensor *leaf; /* [n_values] of inputs and variables, with static types and bytes of the declared type */
    int64_t *dims;   /* [n_symbols] as inputs and variables bind them; -1: they do not */
    fl_interp *interp;
};

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static const char first_rows_begin[] = "bound.", first_rows_end[] = ".first_row";

static bool is_first_rows(const char *name)
{
    return strncmp(name, first_rows_begin, sizeof first_rows_begin - 1) == 0 && ends_with(name, first_rows_end);
}

/* Columns that never share a row have equal parts of the rows, one behind the other; "bound.INPUT.first_row" says where they begin. */
static int64_t own_row(const char *name, int64_t column, int64_t part, int64_t row)
{
    return column * part + (is_first_rows(name) ? 0 : row % part);
}

/*
 * The column, among all columns that never share a row (`ai.flen.disjoint`), that `input` (or the input that "bound.INPUT.first_row" speaks of) starts with; -1: it may
 * share rows.
 */
static int64_t first_column(const fl_graph *g, const char *input, int64_t *columns)
{
    const char *list = fl_graph_get_meta(g, "ai.flen.disjoint");
    int64_t found = -1;
    size_t length = input ? strlen(input) : 0;
    *columns = 0;
    if (input && is_first_rows(input)) {
        length -= sizeof first_rows_begin - 1 + sizeof first_rows_end - 1;
        input += sizeof first_rows_begin - 1;
    }
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        for (uint32_t i = 0; i < g->n_inputs; i++) {
            const fl_value *v = &g->values[g->inputs[i]];
            if (strlen(v->name) != n || memcmp(v->name, p, n) != 0)
                continue;
            if (input && n == length && memcmp(p, input, n) == 0)
                found = *columns;
            *columns += v->type.rank == 2 && v->type.dims[1] > 0 ? v->type.dims[1] : 1;
        }
        p += n + (p[n] == ',');
    }
    return found;
}

/* Rows that every look-up of the graph has, if tables of unknown size get `unknown` rows. */
static int64_t common_rows(const fl_graph *g, int64_t unknown)
{
    int64_t rows = INT64_MAX;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (!fl_op_has(n->op, FL_GATHERING) || n->n_in == 0 || n->in[0] == FL_NONE)
            continue;
        for (uint32_t k = 0; k < fl_look_ups(n); k++) {
            const fl_type *t = fl_value_type(g, n->in[2 * k]);
            int64_t axis = fl_node_int(g, i, "axis", 0), d;
            axis = axis < 0 ? axis + t->rank : axis;
            d = axis >= 0 && axis < t->rank ? t->dims[axis] : -1;
            d = d < 0 && fl_value_node(g, n->in[2 * k]) == FL_NONE ? unknown : d;
            rows = d > 0 && d < rows ? d : rows;
        }
    }
    return rows == INT64_MAX ? unknown : rows;
}

static double draw(const char *name, uint64_t seed, int64_t k)
{
    static const char *const positive[] = {"var", "adagrad.a.", "adam.v.", "ftrl.n."};
    double u = fl_random_uniform(seed, fl_hash_bytes(name, strlen(name), 0), (uint64_t)k);
    bool is_positive = ends_with(name, "running_var");
    for (size_t i = 0; i < FL_COUNT(positive); i++)
        is_positive = is_positive || strncmp(name, positive[i], strlen(positive[i])) == 0;
    if (strncmp(name, "adam.beta", 9) == 0)
        return u / 2 + 0.1;
    return is_positive ? u + 0.1 : 2 * u - 1;
}

static void put_element(void *to, fl_dtype type, int64_t k, double f, int64_t i)
{
    switch (type) {
    case FL_FLOAT: ((float *)to)[k] = (float)f; break;
    case FL_DOUBLE: ((double *)to)[k] = (double)(float)f; break;
    case FL_INT64: ((int64_t *)to)[k] = i; break;
    case FL_INT32: ((int32_t *)to)[k] = (int32_t)i; break;
    case FL_INT8:
    case FL_UINT8: ((int8_t *)to)[k] = (int8_t)i; break;
    case FL_BOOL: ((int8_t *)to)[k] = (int8_t)(i & 1); break;
    case FL_FLOAT16:
    case FL_BFLOAT16:
    case FL_STRING:
    case FL_DTYPE_NONE: break; /* refused by draw_leaf */
    }
}

static const fl_tensor *given_leaf(const fl_trial *t, const fl_value *value)
{
    for (uint32_t i = 0; i < t->o.n_given && value->kind == FL_VALUE_INPUT; i++)
        if (strcmp(t->o.given[i].name, value->name) == 0)
            return &t->o.given[i].tensor;
    return NULL;
}

static fl_status draw_leaf(fl_trial *t, fl_id v, fl_diag *dg)
{
    const fl_value *value = &t->g->values[v];
    bool offsets = ends_with(value->name, "offsets");
    const fl_tensor *given = given_leaf(t, value);
    fl_type type = value->type;
    for (int d = 0; d < type.rank; d++) {
        if (!FL_DIM_IS_SYM(type.dims[d]))
            continue;
        int64_t *bound = &t->dims[FL_SYM_OF_DIM(type.dims[d])];
        if (given)
            *bound = given->type.dims[d];
        else if (*bound < 0)
            *bound = strcmp(t->g->symbols[FL_SYM_OF_DIM(type.dims[d])], "batch") == 0 ? t->o.batch : offsets ? t->o.batch + 1 : t->unknown;
        type.dims[d] = *bound;
    }
    if (given) {
        t->leaf[v] = *given;
        return FL_OK;
    }
    int64_t columns, column = first_column(t->g, value->name, &columns), width = type.rank == 2 ? type.dims[1] : is_first_rows(value->name) ? INT64_MAX : 1;
    int64_t n = fl_type_elements(&type);
    size_t size = fl_dtype_size(type.dtype);
    if (type.rank < 0 || n < 0 || size == 0 || type.dtype == FL_FLOAT16 || type.dtype == FL_BFLOAT16)
        return fl_error(dg, FL_E_TRIAL, value->origin.loc, "\"%s\" has a type for which no values can be drawn", value->name);
    if (t->o.max_bytes > 0 && ((uint64_t)n > UINT64_MAX / 32 || (uint64_t)n * size + t->arena.used_bytes > t->o.max_bytes)) {
        char one[24], limit[24];
        return fl_error(dg, FL_E_MEMORY_LIMIT, value->origin.loc, "\"%s\" has %lld elements, which take %s, and all values together may take %s", value->name,
                        (long long)n, fl_print_bytes((uint64_t)n * size, one), fl_print_bytes(t->o.max_bytes, limit));
    }
    void *bytes = fl_arena_calloc(&t->arena, (size_t)n + 1, size);
    if (!bytes)
        return fl_out_of_memory(dg);
    t->leaf[v] = (fl_tensor){.type = type, .bytes = bytes, .length = (uint64_t)n * size};
    if (value->data && value->data->bytes && value->data->length == (uint64_t)n * size) {
        memcpy(bytes, value->data->bytes, (size_t)n * size);
        return FL_OK;
    }
    for (int64_t k = 0; k < n; k++) {
        double f = draw(value->name, t->o.seed, k);
        int64_t row = (int64_t)((f + 1) / 2 * (double)t->rows);
        if (column >= 0 && columns <= t->rows)
            row = own_row(value->name, column + k % width, t->rows / columns, row);
        else if (is_first_rows(value->name)) /* of a prologue, which has no inputs: any that ascend */
            row = k;
        put_element(bytes, type.dtype, k, f, offsets ? k * t->unknown / (n > 1 ? n - 1 : 1) : row);
    }
    return FL_OK;
}

static fl_status prepare(fl_trial *t, fl_diag *dg)
{
    const fl_graph *g = t->g;
    t->leaf = fl_arena_new(&t->arena, fl_tensor, g->n_values + 1u);
    t->dims = fl_arena_new(&t->arena, int64_t, g->n_symbols + 1u);
    if (!t->leaf || !t->dims)
        return fl_out_of_memory(dg);
    for (uint32_t s = 0; s < g->n_symbols; s++)
        t->dims[s] = -1;
    uint32_t bags = fl_bag_rows(g);
    FL_TRY(fl_interp_new(g, &t->interp, dg));
    if (t->o.max_bytes > 0)
        fl_interp_limit(t->interp, t->o.max_bytes);
    for (fl_id v = 0; v < g->n_values; v++) {
        fl_value_kind kind = g->values[v].kind;
        if (!g->values[v].name || (kind != FL_VALUE_INPUT && kind != FL_VALUE_VARIABLE))
            continue;
        FL_TRY(draw_leaf(t, v, dg));
        if (bags != FL_NONE && t->dims[bags] < 0 && ends_with(g->values[v].name, "offsets") && t->leaf[v].type.rank == 1)
            t->dims[bags] = t->leaf[v].type.dims[0] - 1;
        FL_TRY(fl_interp_set(t->interp, v, &t->leaf[v], dg));
    }
    return fl_interp_run(t->interp, dg);
}

fl_status fl_trial_new(const fl_graph *g, const fl_trial_options *options, fl_trial **out, fl_diag *dg)
{
    fl_trial *t = calloc(1, sizeof *t);
    if (!t)
        return fl_out_of_memory(dg);
    int64_t columns;
    if (fl_graph_has_calls(g)) {
        fl_graph *inlined = fl_graph_clone(g);
        fl_status status = inlined ? fl_graph_ok(inlined, dg) : fl_out_of_memory(dg);
        if (status == FL_OK)
            status = fl_functions_inline(inlined, dg);
        if (status == FL_OK)
            status = fl_trial_new(inlined, options, out, dg);
        if (status == FL_OK)
            (*out)->inlined = inlined;
        else
            fl_graph_free(inlined);
        free(t);
        return status;
    }
    (void)first_column(g, NULL, &columns);
    int64_t unknown = options->table_rows ? options->table_rows : 3 * columns > EXTENT ? 3 * columns : EXTENT;
    *t = (fl_trial){.g = g, .o = *options, .rows = common_rows(g, unknown), .unknown = unknown};
    fl_arena_init(&t->arena);
    fl_status s = prepare(t, dg);
    if (s == FL_OK)
        *out = t;
    else
        fl_trial_free(t);
    return s;
}

void fl_trial_free(fl_trial *t)
{
    if (!t)
        return;
    fl_interp_free(t->interp);
    fl_arena_deinit(&t->arena);
    fl_graph_free(t->inlined);
    free(t);
}

/* ------------------------------------------------------------------------------------------------------- comparing */

static bool is_off(double want, double got, double tolerance, int64_t k, fl_difference *d)
{
    if (fabs(want - got) <= tolerance * (1 + fabs(want)) || (isnan(want) && isnan(got)) || want == got)
        return false;
    *d = (fl_difference){.element = k, .want = want, .got = got};
    return true;
}

bool fl_trial_shows(const fl_graph *g, fl_id v)
{
    const fl_type *t = v == FL_NONE ? NULL : fl_value_type(g, v);
    if (!t || t->rank < 0 || (t->dtype != FL_FLOAT && t->dtype != FL_DOUBLE && t->dtype != FL_INT64 && t->dtype != FL_INT32))
        return false;
    for (int i = 0; i < t->rank; i++) {
        fl_dim factors[FL_MAX_RANK];
        uint32_t n = fl_shape_factors(g, t->dims[i], factors);
        for (uint32_t k = 0; k < n; k++) {
            bool bound = !FL_DIM_IS_SYM(factors[k]);
            for (uint32_t l = 0; l < g->n_inputs && !bound; l++)
                for (int j = 0; j < fl_value_type(g, g->inputs[l])->rank; j++)
                    bound = bound || fl_value_type(g, g->inputs[l])->dims[j] == factors[k];
            if (!bound || n > 1)
                return false;
        }
    }
    return true;
}

bool fl_trial_differs(const fl_trial *t, fl_id v, const fl_trial *other, fl_id w, double tolerance, fl_difference *d)
{
    const fl_array *x = fl_interp_get(t->interp, v), *y = fl_interp_get(other->interp, w);
    if (!x || !y || x->n != y->n || x->rank != y->rank || memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims) != 0) {
        *d = (fl_difference){.shape = true};
        return true;
    }
    for (int64_t k = 0; k < x->n; k++)
        if (is_off(x->f ? x->f[k] : (double)x->i[k], y->f ? y->f[k] : (double)y->i[k], tolerance, k, d))
            return true;
    return false;
}

const fl_array *fl_trial_get(const fl_trial *t, fl_id v)
{
    return fl_interp_get(t->interp, v);
}

/* `of` with all variables as they were drawn, but for x in one element. */
static fl_status run_with(fl_trial *t, fl_id variable, double *x, int64_t element, double moved, fl_id of, double *y, fl_diag *dg)
{
    const fl_type *type = &t->leaf[variable].type;
    double kept = x[element];
    for (uint32_t i = 0; i < t->g->n_variables; i++) /* a run may have updated them */
        if (t->g->values[t->g->variables[i]].kind == FL_VALUE_VARIABLE)
            FL_TRY(fl_interp_set(t->interp, t->g->variables[i], &t->leaf[t->g->variables[i]], dg));
    x[element] = moved;
    fl_status s = fl_interp_set_doubles(t->interp, variable, type->rank, type->dims, x, dg);
    x[element] = kept;
    FL_TRY(s);
    FL_TRY(fl_interp_run(t->interp, dg));
    *y = fl_interp_get(t->interp, of)->f[0];
    return FL_OK;
}

fl_status fl_trial_slopes(fl_trial *t, fl_id variable, int64_t element, fl_id of, double *behind, double *ahead, fl_diag *dg)
{
    const double h = 0x1p-18; /* corners are rarely so near, and a double has digits left for the difference */
    static const int moves[] = {-1, 1, 0};
    double y[3];
    int64_t n = fl_type_elements(&t->leaf[variable].type);
    double *x = calloc((size_t)n + 1, sizeof *x);
    if (!x)
        return fl_out_of_memory(dg);
    for (int64_t k = 0; k < n; k++)
        x[k] = fl_tensor_get_double(&t->leaf[variable], k);
    fl_status s = FL_OK;
    for (int k = 0; k < 3 && s == FL_OK; k++) /* the last one leaves everything as it was */
        s = run_with(t, variable, x, element, x[element] + moves[k] * h, of, &y[k], dg);
    free(x);
    FL_TRY(s);
    *behind = (y[2] - y[0]) / h;
    *ahead = (y[1] - y[2]) / h;
    return FL_OK;
}

static bool differs_from_bytes(const fl_array *x, fl_dtype type, const void *bytes, double tolerance, fl_difference *d)
{
    fl_tensor got = {.type = fl_type_make(type, 1, (fl_dim[]){x->n}), .bytes = bytes};
    bool real = type == FL_FLOAT || type == FL_DOUBLE;
    for (int64_t k = 0; k < x->n; k++)
        if (is_off(x->f ? x->f[k] : (double)x->i[k], real ? fl_tensor_get_double(&got, k) : (double)fl_tensor_get_int(&got, k), tolerance, k, d))
            return true;
    return false;
}

bool fl_trial_differs_from(const fl_trial *t, fl_id v, const fl_tensor *other, double tolerance, fl_difference *d)
{
    const fl_array *x = fl_interp_get(t->interp, v);
    if (!x || x->rank != other->type.rank || memcmp(x->dims, other->type.dims, (size_t)x->rank * sizeof *x->dims) != 0) {
        *d = (fl_difference){.shape = true};
        return true;
    }
    return differs_from_bytes(x, other->type.dtype, other->bytes, tolerance, d);
}

const fl_tensor *fl_trial_leaf(const fl_trial *t, fl_id v)
{
    return &t->leaf[v];
}

/* ---------------------------------------------------------------------------------------------------- another engine */

/* Fresh dense copies of all variables. */
static bool copy_store(const fl_trial *t, fl_arena *a, fl_store *store)
{
    const fl_graph *g = t->g;
    store->vars = fl_arena_new(a, fl_var, g->n_variables + 1u);
    for (uint32_t i = 0; store->vars && i < g->n_variables; i++) {
        fl_id v = g->variables[i];
        const fl_tensor *leaf = &t->leaf[v];
        if (g->values[v].kind != FL_VALUE_VARIABLE || !g->values[v].name)
            continue;
        int64_t n = fl_type_elements(&leaf->type), rows = leaf->type.rank ? leaf->type.dims[0] : 1;
        void *data = fl_arena_alloc(a, leaf->length + 64);
        if (!data)
            return false;
        memcpy(data, leaf->bytes, leaf->length);
        store->vars[store->n_vars++] = (fl_var){g->values[v].name, leaf->type, data, leaf->type.rank > 1 && rows ? n / rows : 1};
    }
    return store->vars != NULL;
}

/* What is left over after a run: outputs, then updated variables. */
static void compare_run(const fl_trial *t, void *const *outputs, const fl_store *store, double tolerance, fl_id *differs, fl_difference *d)
{
    const fl_graph *g = t->g;
    for (uint32_t i = 0; i < g->n_outputs && *differs == FL_NONE; i++) {
        const fl_array *x = fl_interp_get(t->interp, g->outputs[i]);
        if (outputs[i] && x && differs_from_bytes(x, fl_value_type(g, g->outputs[i])->dtype, outputs[i], tolerance, d))
            *differs = g->outputs[i];
    }
    for (uint32_t i = 0; i < g->n_updates && *differs == FL_NONE; i++) {
        const fl_var *var = fl_store_find(store, g->values[g->updates[i].variable].name);
        const fl_array *x = fl_interp_get(t->interp, g->updates[i].variable);
        if (var && x && differs_from_bytes(x, var->type.dtype, var->data, tolerance, d))
            *differs = g->updates[i].next;
    }
}

fl_status fl_trial_run(const fl_trial *t, fl_trial_engine_fn *make, void *arg, double tolerance, fl_id *differs, fl_difference *d,
                       fl_diag *dg)
{
    const fl_graph *g = t->g;
    fl_arena a;
    fl_store store = {0};
    fl_engine *engine = NULL;
    fl_arena_init(&a);
    const void **inputs = fl_arena_new(&a, const void *, g->n_inputs + 1u);
    void **outputs = fl_arena_new(&a, void *, g->n_outputs + 1u);
    fl_status s = inputs && outputs && copy_store(t, &a, &store) ? FL_OK : fl_out_of_memory(dg);
    for (uint32_t i = 0; s == FL_OK && i < g->n_inputs; i++)
        inputs[i] = t->leaf[g->inputs[i]].bytes;
    for (uint32_t i = 0; s == FL_OK && i < g->n_outputs; i++) {
        const fl_array *x = fl_interp_get(t->interp, g->outputs[i]);
        if (!x || !fl_trial_shows(g, g->outputs[i]))
            continue;
        outputs[i] = fl_arena_calloc(&a, (size_t)x->n + 1, sizeof(double));
        s = outputs[i] ? FL_OK : fl_out_of_memory(dg);
    }
    *differs = FL_NONE;
    if (s == FL_OK)
        s = make(arg, g, &store, &engine, dg);
    if (s == FL_OK)
        s = engine->run(engine, &(fl_run){t->dims, inputs, outputs}, dg);
    if (s == FL_OK)
        s = engine->flush(engine, dg);
    if (s == FL_OK)
        compare_run(t, outputs, &store, tolerance, differs, d);
    if (engine)
        engine->free(engine);
    fl_arena_deinit(&a);
    return s;
}

/* -------------------------------------------------------------------------------------------------------- one node */

/* Operand v as it was, as an initialiser of `to`. */
static fl_id initialiser(const fl_trial *t, fl_graph *to, fl_id v)
{
    const fl_array *x = fl_interp_get(t->interp, v);
    const fl_value *value = &t->g->values[v];
    fl_id known = fl_graph_find(to, value->name);
    if (known != FL_NONE || !x)
        return known;
    fl_type type = fl_type_make(value->type.dtype, x->rank, x->dims);
    unsigned char *bytes = fl_arena_calloc(&to->arena, (size_t)x->n + 1, sizeof(double));
    for (int64_t k = 0; bytes && k < x->n; k++)
        put_element(bytes, type.dtype, k, x->f ? x->f[k] : 0, x->i ? x->i[k] : 0);
    return bytes ? fl_graph_constant(to, value->name, type, bytes) : FL_NONE;
}

fl_graph *fl_trial_isolate(const fl_trial *t, fl_id node)
{
    const fl_node *n = &t->g->nodes[node];
    fl_graph *to = fl_graph_new("wrong");
    fl_id *in = to ? fl_arena_new(&to->arena, fl_id, n->n_in + 1u) : NULL;
    if (!in) {
        fl_graph_free(to);
        return NULL;
    }
    for (uint32_t k = 0; k < n->n_in; k++)
        in[k] = n->in[k] == FL_NONE ? FL_NONE : initialiser(t, to, n->in[k]);
    fl_id copy = fl_node_new(to, n->op, "result", in, n->n_in, n->n_out);
    for (uint32_t k = 0; copy != FL_NONE && k < n->n_attr; k++) {
        const fl_attr *a = &n->attr[k];
        switch (a->kind) {
        case FL_ATTR_INT: fl_node_set_int(to, copy, a->name, a->as.i); break;
        case FL_ATTR_FLOAT: fl_node_set_float(to, copy, a->name, a->as.f); break;
        case FL_ATTR_STRING: fl_node_set_string(to, copy, a->name, a->as.s); break;
        case FL_ATTR_TENSOR: fl_node_set_tensor(to, copy, a->name, a->as.tensor); break;
        case FL_ATTR_INTS: fl_node_set_ints(to, copy, a->name, a->as.ints, a->n); break;
        case FL_ATTR_FLOATS: fl_node_set_floats(to, copy, a->name, a->as.floats, a->n); break;
        case FL_ATTR_STRINGS: break; /* no operator of ours has them */
        }
    }
    fl_build_infer(to, copy);
    for (uint32_t k = 0; copy != FL_NONE && k < n->n_out; k++) {
        if (n->out[k] == FL_NONE)
            continue;
        fl_value_rename(to, to->nodes[copy].out[k], t->g->values[n->out[k]].name);
        fl_graph_output(to, to->nodes[copy].out[k]);
    }
    if (to->arena.failed) {
        fl_graph_free(to);
        return NULL;
    }
    return to;
}
