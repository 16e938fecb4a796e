#include "backend/interp/interp.h"

#include "backend/interp/kernels.h"
#include "ir/base/bytes.h"
#include "ir/functions.h"
#include "ir/shape.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fl_kernel_fn *const kernels[FL_N_OPS] = {
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) [FL_OP_##id] = fl_kernel_##fn,
#include "ir/ops.def"
#undef FL_OP
};

struct fl_interp {
    const fl_graph *g;
    fl_graph *inlined; /* g without calls, where the caller's has some; ids of its values are the same; NULL: none */
    fl_array *value;  /* one per value of the graph; f and i NULL: no value */
    int64_t *dim;     /* one per symbol of the graph; -1: not bound */
    int64_t *given;   /* extents by fl_interp_bind; -1: none */
    fl_arena run;     /* intermediates of the newest run */
    bool *kept;       /* per value: its elements are ours (malloc), not the arena's */
    uint32_t n_values;
    uint64_t limit;      /* of bytes in `run` and of what is kept */
    uint64_t kept_bytes;
};

bool fl_dtype_is_real(fl_dtype t)
{
    return t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 || t == FL_BFLOAT16;
}

static bool has_value(const fl_array *a)
{
    return a->f || a->i;
}

/* ------------------------------------------------------------------------------------- inputs and variables */

static void drop_kept(fl_interp *in, fl_id v)
{
    if (in->kept[v]) {
        in->kept_bytes -= 8 * (uint64_t)in->value[v].n;
        free(in->value[v].f);
        free(in->value[v].i);
    }
    in->value[v] = (fl_array){0};
    in->kept[v] = false;
}

/* Room for a value that outlives runs; its declared rank and static dims are checked here. */
static fl_status keep(fl_interp *in, fl_id v, bool real, int rank, const int64_t *dims, fl_array *out, fl_diag *dg)
{
    const fl_value *value = &in->g->values[v];
    const fl_type *t = &value->type;
    char want[160];
    fl_array a = {.dtype = t->dtype, .rank = (int8_t)rank, .n = 1};
    fl_type_print(in->g, t, want, sizeof want);
    if (value->kind == FL_VALUE_NODE)
        return fl_error(dg, FL_E_INTERP_INPUT, value->origin.loc, "\"%s\" is computed by a node and cannot be given", value->name);
    if (fl_dtype_is_real(t->dtype) != real)
        return fl_error(dg, FL_E_INTERP_INPUT, value->origin.loc, "\"%s\" is %s, given were %s numbers", value->name, want,
                        real ? "real" : "integer");
    if (t->rank != rank)
        return fl_error(dg, FL_E_INTERP_INPUT, value->origin.loc, "\"%s\" is %s, given was an array of rank %d", value->name,
                        want, rank);
    for (int d = 0; d < rank; d++) {
        a.dims[d] = dims[d];
        if (dims[d] < 0 || (!FL_DIM_IS_SYM(t->dims[d]) && t->dims[d] != dims[d]))
            return fl_error(dg, FL_E_INTERP_INPUT, value->origin.loc, "\"%s\" is %s, given was extent %lld in dimension %d",
                            value->name, want, (long long)dims[d], d);
        if (__builtin_mul_overflow(a.n, dims[d], &a.n))
            return fl_error(dg, FL_E_INTERP_INPUT, value->origin.loc, "\"%s\": too many elements", value->name);
    }
    if (a.n > INT64_MAX / 16 || 8 * (uint64_t)a.n + in->kept_bytes + in->run.used_bytes > in->limit) {
        char bytes[24], most[24];
        (void)fl_error(dg, FL_E_MEMORY_LIMIT, value->origin.loc, "\"%s\" has %lld elements, which take %s, and all values together may take %s", value->name,
                       (long long)a.n, fl_print_bytes(8 * (uint64_t)a.n, bytes), fl_print_bytes(in->limit, most));
        fl_hint(dg, "--max-memory=SIZE sets the limit");
        return FL_BAD_INPUT;
    }
    void *memory = calloc((size_t)a.n + 1, 8);
    if (!memory)
        return fl_out_of_memory(dg);
    if (real)
        a.f = memory;
    else
        a.i = memory;
    *out = a;
    return FL_OK;
}

static void install(fl_interp *in, fl_id v, const fl_array *a)
{
    drop_kept(in, v);
    in->value[v] = *a;
    in->kept[v] = true;
    in->kept_bytes += 8 * (uint64_t)a->n;
}

fl_status fl_interp_set(fl_interp *in, fl_id v, const fl_tensor *t, fl_diag *dg)
{
    fl_array a;
    bool real = fl_dtype_is_real(t->type.dtype);
    if (!t->bytes)
        return fl_error(dg, FL_E_INTERP_INPUT, FL_NOWHERE, "\"%s\" is given by a tensor without data", in->g->values[v].name);
    if ((t->type.dtype == FL_STRING) != (in->g->values[v].type.dtype == FL_STRING))
        return fl_error(dg, FL_E_INTERP_INPUT, FL_NOWHERE, "\"%s\" is given %s, wanted is %s", in->g->values[v].name,
                        fl_dtype_name(t->type.dtype), fl_dtype_name(in->g->values[v].type.dtype));
    FL_TRY(keep(in, v, real, t->type.rank, t->type.dims, &a, dg));
    for (int64_t k = 0; k < a.n; k++) {
        if (real)
            a.f[k] = fl_tensor_get_double(t, k);
        else
            a.i[k] = fl_tensor_get_int(t, k);
    }
    install(in, v, &a);
    return FL_OK;
}

fl_status fl_interp_set_doubles(fl_interp *in, fl_id v, int rank, const int64_t *dims, const double *f, fl_diag *dg)
{
    fl_array a;
    FL_TRY(keep(in, v, true, rank, dims, &a, dg));
    if (a.n)
        memcpy(a.f, f, (size_t)a.n * sizeof *f);
    install(in, v, &a);
    return FL_OK;
}

fl_status fl_interp_set_ints(fl_interp *in, fl_id v, int rank, const int64_t *dims, const int64_t *i, fl_diag *dg)
{
    fl_array a;
    FL_TRY(keep(in, v, false, rank, dims, &a, dg));
    if (a.n)
        memcpy(a.i, i, (size_t)a.n * sizeof *i);
    install(in, v, &a);
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------- life and runs */

fl_status fl_interp_new(const fl_graph *g, fl_interp **out, fl_diag *dg)
{
    fl_interp *in = calloc(1, sizeof *in);
    if (!in)
        return fl_out_of_memory(dg);
    fl_arena_init(&in->run);
    if (fl_graph_has_calls(g)) {
        in->inlined = fl_graph_clone(g);
        fl_status status = in->inlined ? fl_graph_ok(in->inlined, dg) : fl_out_of_memory(dg);
        if (status == FL_OK)
            status = fl_functions_inline(in->inlined, dg);
        if (status != FL_OK) {
            fl_interp_free(in);
            return status;
        }
        g = in->inlined;
    }
    in->g = g;
    in->n_values = g->n_values;
    in->limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4 * 3;
    in->value = calloc(g->n_values + 1u, sizeof *in->value);
    in->kept = calloc(g->n_values + 1u, sizeof *in->kept);
    in->dim = calloc(g->n_symbols + 1u, sizeof *in->dim);
    in->given = calloc(g->n_symbols + 1u, sizeof *in->given);
    for (uint32_t s = 0; in->given && s < g->n_symbols; s++)
        in->given[s] = -1;
    fl_status status = in->value && in->kept && in->dim && in->given ? FL_OK : fl_out_of_memory(dg);
    for (uint32_t k = 0; k < g->n_variables && status == FL_OK; k++) {
        const fl_value *v = &g->values[g->variables[k]];
        if (v->data && v->data->bytes && v->name)
            status = fl_interp_set(in, g->variables[k], v->data, dg);
    }
    if (status != FL_OK) {
        fl_interp_free(in);
        return status;
    }
    *out = in;
    return FL_OK;
}

void fl_interp_free(fl_interp *in)
{
    if (!in)
        return;
    for (fl_id v = 0; in->value && in->kept && v < in->n_values; v++)
        drop_kept(in, v);
    fl_arena_deinit(&in->run);
    free(in->value);
    free(in->kept);
    free(in->dim);
    free(in->given);
    fl_graph_free(in->inlined);
    free(in);
}

void fl_interp_bind(fl_interp *in, uint32_t symbol, int64_t extent)
{
    FL_ASSERT(symbol < in->g->n_symbols);
    in->given[symbol] = extent;
}

void fl_interp_limit(fl_interp *in, uint64_t bytes)
{
    in->limit = bytes;
}

/*
 * The extents of a value must agree with its declared type; symbols without an extent get it here: `batch` from the
 * first input that has it, numbers of distinct rows from the node that finds them.
 */
static fl_status bind(fl_interp *in, fl_id v, const fl_array *a, fl_diag *dg)
{
    const fl_value *value = &in->g->values[v];
    const fl_type *t = &value->type;
    bool fits = t->rank == a->rank || t->rank < 0; /* a shape that depends on values is known only here */
    for (int d = 0; fits && d < t->rank; d++) {
        if (!FL_DIM_IS_SYM(t->dims[d])) {
            fits = t->dims[d] == a->dims[d];
            continue;
        }
        int64_t *extent = &in->dim[FL_SYM_OF_DIM(t->dims[d])];
        if (*extent < 0)
            *extent = a->dims[d];
        if (*extent != a->dims[d])
            return fl_error(dg, FL_E_INTERP_SHAPE, value->origin.loc, "\"%s\": dimension %d is \"%s\" = %lld, found was %lld",
                            value->name, d, in->g->symbols[FL_SYM_OF_DIM(t->dims[d])], (long long)*extent, (long long)a->dims[d]);
    }
    /* A type that was never inferred promises nothing. */
    if (t->rank < 0 && t->dtype == FL_DTYPE_NONE)
        return FL_OK;
    char want[160], got[160];
    fl_type_print(in->g, t, want, sizeof want);
    if (!fits || fl_dtype_is_real(t->dtype) != fl_array_real(a))
        return fl_error(dg, FL_E_INTERP_SHAPE, value->origin.loc, "\"%s\" is declared %s, found was %s", value->name, want,
                        fl_array_print(a, got, sizeof got));
    return FL_OK;
}

static fl_status bind_leaves(fl_interp *in, const fl_id *list, uint32_t n, const char *what, fl_diag *dg)
{
    for (uint32_t k = 0; k < n; k++) {
        fl_id v = list[k];
        if (!in->g->values[v].name)
            continue;
        if (!has_value(&in->value[v]))
            return fl_error(dg, FL_E_INTERP_INPUT, in->g->values[v].origin.loc, "%s \"%s\" has no value", what,
                            in->g->values[v].name);
        FL_TRY(bind(in, v, &in->value[v], dg));
    }
    return FL_OK;
}

static fl_status run_node(fl_interp *in, fl_id id, fl_diag *dg)
{
    const fl_node *n = &in->g->nodes[id];
    if (n->op == FL_OP_NOP)
        return FL_OK;
    const fl_array **operands = fl_arena_new(&in->run, const fl_array *, n->n_in + 1u);
    fl_array *out = fl_arena_new(&in->run, fl_array, n->n_out + 1u);
    bool *wanted = fl_arena_new(&in->run, bool, n->n_out + 1u);
    if (!operands || !out || !wanted)
        return fl_out_of_memory(dg);
    fl_call c = {.g = in->g, .node = id, .n_in = n->n_in, .n_out = n->n_out, .in = operands, .out = out, .wanted = wanted,
                 .dim = in->dim, .given = in->given, .arena = &in->run,
                 .limit = in->limit > in->kept_bytes ? in->limit - in->kept_bytes : 0, .diag = dg};
    const fl_op_info *info = fl_op_get(n->op);
    if (n->n_in < info->min_in || n->n_in > info->max_in || n->n_out < info->min_out || n->n_out > info->max_out)
        return fl_call_error(&c, FL_E_INTERP_OPERAND, "it has %u operands and %u outputs", n->n_in, n->n_out);
    /* Operands that may be left out come last, but for these two; of a list none may. */
    bool any_may_lack = n->op == FL_OP_FIELD_INTERACTION || n->op == FL_OP_FIELD_POOL_GRAD;
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (n->in[k] == FL_NONE && (k < info->min_in || info->max_in == FL_MANY) && !any_may_lack)
            return fl_call_error(&c, FL_E_INTERP_OPERAND, "operand %u is missing", k);
        operands[k] = n->in[k] == FL_NONE ? NULL : &in->value[n->in[k]];
        if (operands[k] && !has_value(operands[k]))
            return fl_call_error(&c, FL_E_INTERP_OPERAND, "operand %u has no value yet", k);
    }
    for (uint32_t k = 0; k < n->n_out; k++)
        wanted[k] = n->out[k] != FL_NONE;
    FL_TRY(kernels[n->op](&c));
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (!wanted[k])
            continue;
        /* A label only, but later nodes ask whether it is real. */
        fl_dtype declared = in->g->values[n->out[k]].type.dtype;
        if (declared != FL_DTYPE_NONE && fl_dtype_is_real(declared) == fl_array_real(&out[k]))
            out[k].dtype = declared;
        FL_TRY(bind(in, n->out[k], &out[k], dg));
        in->value[n->out[k]] = out[k];
    }
    return FL_OK;
}

/* All next values are copied before any variable changes: a failure leaves the variables as they were. */
static fl_status apply_updates(fl_interp *in, fl_diag *dg)
{
    const fl_graph *g = in->g;
    fl_array *next = fl_arena_new(&in->run, fl_array, g->n_updates + 1u);
    fl_status status = next ? FL_OK : fl_out_of_memory(dg);
    uint32_t done = 0;
    for (; done < g->n_updates && status == FL_OK; done++) {
        const fl_array *from = &in->value[g->updates[done].next];
        fl_id v = g->updates[done].variable;
        if (!has_value(from)) {
            status = fl_error(dg, FL_E_INTERP_INPUT, FL_NOWHERE, "the next value of \"%s\" was not computed", g->values[v].name);
            break;
        }
        status = keep(in, v, fl_array_real(from), from->rank, from->dims, &next[done], dg);
        if (status != FL_OK)
            break;
        if (from->n)
            memcpy(fl_array_real(from) ? (void *)next[done].f : (void *)next[done].i,
                   fl_array_real(from) ? (const void *)from->f : (const void *)from->i, (size_t)from->n * 8);
    }
    for (uint32_t k = 0; k < done; k++) {
        void *elements = next[k].f ? (void *)next[k].f : (void *)next[k].i;
        fl_id v = g->updates[k].variable;
        /* The old elements may still be seen through views: they live as long as this run's values. */
        if (status == FL_OK && in->kept[v]) {
            void *old = in->value[v].f ? (void *)in->value[v].f : (void *)in->value[v].i;
            status = fl_arena_on_free(&in->run, free, old) == FL_OK ? FL_OK : fl_out_of_memory(dg);
            in->kept[v] = status != FL_OK;
            in->kept_bytes -= in->kept[v] ? 0 : 8 * (uint64_t)in->value[v].n;
        }
        if (status == FL_OK)
            install(in, v, &next[k]);
        else
            free(elements);
    }
    return status;
}

fl_status fl_interp_run(fl_interp *in, fl_diag *dg)
{
    const fl_graph *g = in->g;
    fl_arena_deinit(&in->run);
    fl_arena_init(&in->run);
    for (fl_id v = 0; v < in->n_values; v++)
        if (!in->kept[v])
            in->value[v] = (fl_array){0};
    for (uint32_t s = 0; s < g->n_symbols; s++)
        in->dim[s] = -1;
    FL_TRY(bind_leaves(in, g->inputs, g->n_inputs, "input", dg));
    FL_TRY(bind_leaves(in, g->variables, g->n_variables, "variable", dg));
    for (fl_id n = 0; n < g->n_nodes; n++)
        FL_TRY(run_node(in, n, dg));
    return apply_updates(in, dg);
}

const fl_array *fl_interp_get(const fl_interp *in, fl_id value)
{
    return value < in->n_values && has_value(&in->value[value]) ? &in->value[value] : NULL;
}
