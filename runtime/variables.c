#include "runtime/variables.h"

#include "ir/base/bytes.h"
#include "ir/base/rng.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Rows that one worker takes at a time. */
enum { CHUNK_ROWS = 4096, LINE_BYTES = 64 };

/* ------------------------------------------------------------------------------------------------ filling */

typedef struct fill_job {
    const fl_var *var;
    const uint8_t *source; /* dense; NULL: first weights */
    fl_op op;              /* that makes first weights: RandomNormal, RandomUniform, or of a constant */
    double a, b;           /* its mean and scale, low and high, or the constant in a */
    uint64_t seed, stream;
    int64_t rows, row_elements;
    _Atomic int64_t next;
} fill_job;

static void store_double(void *to, fl_dtype t, double x)
{
    float f = (float)x;
    int64_t i = (int64_t)x;
    if (t == FL_FLOAT)
        memcpy(to, &f, sizeof f);
    else if (t == FL_DOUBLE)
        memcpy(to, &x, sizeof x);
    else
        memcpy(to, &i, fl_dtype_size(t)); /* little-endian */
}

static double first_weight(const fill_job *j, int64_t i)
{
    if (j->op == FL_OP_RANDOM_NORMAL)
        return j->a + j->b * fl_random_normal(j->seed, j->stream, (uint64_t)i);
    if (j->op == FL_OP_RANDOM_UNIFORM)
        return j->a + (j->b - j->a) * fl_random_uniform(j->seed, j->stream, (uint64_t)i);
    return j->a;
}

/* Floats from a uniform distribution: most of what a large table needs before its first step. */
static void draw_floats(const fill_job *j, int64_t first, int64_t n, float *to)
{
    double low = j->a, width = j->b - j->a;

    for (int64_t k = 0; k < n; k++)
        to[k] = (float)(low + width * fl_random_uniform(j->seed, j->stream, (uint64_t)(first + k)));
}

static void first_weights(const fill_job *j, int64_t first, int64_t n, uint8_t *to)
{
    fl_dtype t = j->var->type.dtype;
    size_t size = fl_dtype_size(t);

    if (t == FL_FLOAT && j->op == FL_OP_RANDOM_UNIFORM) {
        draw_floats(j, first, n, (float *)(void *)to);
        return;
    }
    for (int64_t k = 0; k < n; k++)
        store_double(to + (size_t)k * size, t, first_weight(j, first + k));
}

static void fill_rows(const fill_job *j, int64_t begin, int64_t end)
{
    size_t size = fl_dtype_size(j->var->type.dtype), row = (size_t)j->row_elements * size;

    for (int64_t i = begin; i < end; i++) {
        uint8_t *to = (uint8_t *)j->var->data + (size_t)(i * j->var->stride) * size;
        if (j->source)
            memcpy(to, j->source + (size_t)i * row, row);
        else
            first_weights(j, i * j->row_elements, j->row_elements, to);
    }
    if (j->source && row * (size_t)(end - begin) >= (1u << 16)) {
        /* Pages of the file that were copied need not stay in memory beside their copy. */
        uintptr_t from = ((uintptr_t)(j->source + (size_t)begin * row) + 4095) & ~(uintptr_t)4095;
        uintptr_t to = (uintptr_t)(j->source + (size_t)end * row) & ~(uintptr_t)4095;
        if (to > from)
            (void)madvise((void *)from, to - from, MADV_PAGEOUT);
    }
}

static void fill_as_worker(void *arg, uint32_t worker)
{
    fill_job *j = arg;
    (void)worker;

    for (;;) {
        int64_t begin = atomic_fetch_add(&j->next, CHUNK_ROWS);
        if (begin >= j->rows)
            return;
        fill_rows(j, begin, begin + CHUNK_ROWS < j->rows ? begin + CHUNK_ROWS : j->rows);
    }
}

static void fill(fill_job *j, fl_pool *pool)
{
    const fl_type *t = &j->var->type;

    j->rows = t->rank > 0 ? t->dims[0] : 1;
    j->row_elements = 1;
    for (int d = 1; d < t->rank; d++)
        j->row_elements *= t->dims[d];
    atomic_init(&j->next, 0);
    if (pool && j->rows > CHUNK_ROWS)
        fl_pool_run(pool, fill_as_worker, j);
    else
        fill_as_worker(j, 0);
}

/* ------------------------------------------------------------------------------------------------- layout */

typedef struct place {
    const fl_var *mapped;  /* NULL: the variable is laid out here */
    const fl_tensor *data; /* NULL: none stored */
    uint32_t record; /* tables of one number and as many rows share records; 0: none */
    int64_t row_bytes, rows;
    size_t offset; /* in the pages */
} place;

static int64_t row_elements_of(const fl_type *t)
{
    int64_t n = 1;
    for (int d = 1; d < t->rank; d++)
        n *= t->dims[d];
    return n;
}

/* A table of train is touched by rows if its next value is scattered into it. */
static bool is_touched_by_rows(const fl_graph *train, const char *name)
{
    fl_id v = train ? fl_graph_find(train, name) : FL_NONE;

    for (uint32_t i = 0; v != FL_NONE && i < train->n_updates; i++) {
        if (train->updates[i].variable != v)
            continue;
        fl_id node = fl_value_is(train, train->updates[i].next, FL_OP_SCATTER_ND);
        return node != FL_NONE && train->nodes[node].in[0] == v;
    }
    return false;
}

enum { RECORD_OF_TRAIN = 1 };

/* The record of a derived table that prediction looks up by row (metadata `ai.flen.records`: passes/prologue.c); 0: it is in none. */
static uint32_t record_of(const fl_graph *g, const char *name)
{
    const char *list = fl_graph_get_meta(g, "ai.flen.records");
    uint32_t record = RECORD_OF_TRAIN + 1;
    size_t n = strlen(name);

    while (list && *list) {
        size_t length = strcspn(list, ",");
        if (length == n && memcmp(list, name, n) == 0)
            return record;
        record += length == 0; /* an empty name ends a record */
        list += length + (list[length] == ',');
    }
    return 0;
}

static fl_status add_variable(fl_variables *v, place *places, const fl_graph *g, const fl_value *value, const fl_graph *train,
                              int64_t table_rows, fl_diag *dg)
{
    fl_type t = value->type;
    fl_var *known = fl_store_find(&v->store, value->name);

    for (int d = 0; d < t.rank; d++) {
        if (!FL_DIM_IS_SYM(t.dims[d]))
            continue;
        if (table_rows <= 0) {
            (void)fl_error(dg, FL_E_TABLE_UNBOUND, FL_NOWHERE, "variable \"%s\" has no size yet: dimension \"%s\" comes from a vocabulary",
                           value->name, g->symbols[FL_SYM_OF_DIM(t.dims[d])]);
            fl_hint(dg, "the model has seen no data: train it, or let `flenrt prepare` make a vocabulary");
            return FL_BAD_INPUT;
        }
        t.dims[d] = table_rows;
    }
    if (known) {
        if (!fl_type_equal(&known->type, &t))
            return fl_error(dg, FL_E_STORE, FL_NOWHERE, "variable \"%s\" has two types in two programs", value->name);
        place *p = &places[known - v->store.vars];
        p->data = p->data ? p->data : value->data;
        return FL_OK;
    }
    int64_t elements = fl_type_elements(&t);
    if (elements < 0 || elements > INT64_MAX / 64 || fl_dtype_size(t.dtype) == 0)
        return fl_error(dg, FL_E_STORE, FL_NOWHERE, "variable \"%s\" is larger than any memory, or no number", value->name);
    uint32_t i = v->store.n_vars++;
    v->store.vars[i] = (fl_var){value->name, t, NULL, t.rank >= 2 ? row_elements_of(&t) : 1};
    bool has_rows = t.rank >= 1 && fl_dtype_size(t.dtype) == 4;
    places[i] = (place){NULL, value->data, !has_rows ? 0 : is_touched_by_rows(train, value->name) ? RECORD_OF_TRAIN : record_of(g, value->name),
                        row_elements_of(&t) * (int64_t)fl_dtype_size(t.dtype), t.rank > 0 ? t.dims[0] : 1, 0};
    v->parameter_bytes += elements * (int64_t)fl_dtype_size(t.dtype);
    return FL_OK;
}

/* One record for all tables that share variable `first`'s: widest first, so that wide rows start at cache lines. */
static size_t lay_record(fl_variables *v, place *places, uint32_t first, size_t at, bool *done)
{
    int64_t rows = places[first].rows, bytes = 0;
    uint32_t members[256], n = 0, record = places[first].record;

    for (uint32_t i = first; i < v->store.n_vars && n < FL_COUNT(members); i++)
        if (places[i].record == record && !done[i] && !places[i].mapped && places[i].rows == rows) {
            uint32_t k = n++;
            for (; k > 0 && places[members[k - 1]].row_bytes < places[i].row_bytes; k--)
                members[k] = members[k - 1];
            members[k] = i;
            done[i] = true;
        }
    for (uint32_t k = 0; k < n; k++) {
        places[members[k]].offset = at + (size_t)bytes;
        bytes += places[members[k]].row_bytes;
    }
    if (bytes >= LINE_BYTES)
        bytes = (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    for (uint32_t k = 0; k < n; k++)
        v->store.vars[members[k]].stride = bytes / 4;
    return at + (size_t)(bytes * rows);
}

/* Offsets of everything that gets memory of its own; returns its size. `done` is zeroed, [n_vars]. */
static size_t lay_out(fl_variables *v, place *places, const fl_graph *train, bool *done)
{
    size_t at = 0;

    for (uint32_t i = 0; i < v->store.n_vars; i++) {
        if (done[i] || places[i].mapped || (!train && places[i].data))
            continue;
        at = (at + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
        if (places[i].record) {
            at = lay_record(v, places, i, at, done);
        } else {
            places[i].offset = at;
            at += (size_t)(places[i].row_bytes * places[i].rows);
        }
    }
    return at;
}

/* Also against sums that wrap: what is left adds up to less than the limit, and records at most double it. */
static fl_status check_memory(const fl_variables *v, const place *places, bool copies, uint64_t max_bytes, fl_diag *dg)
{
    uint64_t total = 0, most = max_bytes && max_bytes < SIZE_MAX / 4 ? max_bytes : SIZE_MAX / 4;
    uint32_t largest = 0;

    for (uint32_t i = 0; i < v->store.n_vars; i++) {
        uint64_t bytes = (uint64_t)(places[i].row_bytes * places[i].rows);
        if (places[i].mapped || (!copies && places[i].data))
            continue;
        total = bytes > UINT64_MAX - total ? UINT64_MAX : total + bytes;
        largest = bytes > (uint64_t)(places[largest].row_bytes * places[largest].rows) ? i : largest;
    }
    if (total <= most)
        return FL_OK;
    char one[24], all[24], limit[24];
    (void)fl_error(dg, FL_E_MEMORY_LIMIT, FL_NOWHERE, "variable \"%s\" takes %s, all variables %s, and they may take %s", v->store.vars[largest].name,
                   fl_print_bytes((uint64_t)(places[largest].row_bytes * places[largest].rows), one), fl_print_bytes(total, all), fl_print_bytes(most, limit));
    fl_hint(dg, "--max-memory=SIZE sets the limit");
    return FL_BAD_INPUT;
}

fl_status fl_variables_open(fl_variables *v, const fl_graph *const *programs, uint32_t n_programs, const fl_graph *train,
                            int64_t table_rows, const fl_store *mapped, uint64_t max_bytes, fl_pool *pool, fl_diag *dg)
{
    uint32_t most = 0;
    fl_status status = FL_OK;

    memset(v, 0, sizeof *v);
    fl_arena_init(&v->arena);
    for (uint32_t p = 0; p < n_programs; p++)
        most += programs[p] ? programs[p]->n_variables : 0;
    v->store.vars = fl_arena_new(&v->arena, fl_var, most + 1);
    v->has_values = fl_arena_new(&v->arena, bool, most + 1);
    place *places = fl_arena_new(&v->arena, place, most + 1);
    bool *done = fl_arena_new(&v->arena, bool, most + 1);
    if (v->arena.failed)
        status = fl_out_of_memory(dg);
    for (uint32_t p = 0; p < n_programs; p++)
        for (uint32_t i = 0; status == FL_OK && programs[p] && i < programs[p]->n_variables; i++) {
            const fl_value *value = &programs[p]->values[programs[p]->variables[i]];
            if (value->kind == FL_VALUE_VARIABLE && value->name)
                status = add_variable(v, places, programs[p], value, train, table_rows, dg);
        }
    for (uint32_t i = 0; status == FL_OK && mapped && i < v->store.n_vars; i++)
        places[i].mapped = fl_store_find(mapped, v->store.vars[i].name);
    if (status == FL_OK)
        status = check_memory(v, places, train != NULL, max_bytes, dg);
    if (status == FL_OK && !fl_pages_alloc(&v->pages, lay_out(v, places, train, done)))
        status = fl_out_of_memory(dg);
    if (status != FL_OK) {
        fl_variables_close(v);
        return status;
    }
    for (uint32_t i = 0; i < v->store.n_vars; i++) {
        fl_var *var = &v->store.vars[i];
        const void *stored = places[i].data ? places[i].data->bytes : NULL;
        v->has_values[i] = stored != NULL || places[i].mapped;
        if (places[i].mapped) {
            var->data = places[i].mapped->data;
            var->stride = places[i].mapped->stride;
            continue;
        }
        if (stored && !train) {
            var->data = (void *)(uintptr_t)stored; /* predict does not write variables */
            continue;
        }
        var->data = (uint8_t *)v->pages.bytes + places[i].offset;
        if (stored)
            fill(&(fill_job){.var = var, .source = stored}, pool);
    }
    return FL_OK;
}

void fl_variables_close(fl_variables *v)
{
    fl_pages_free(&v->pages);
    fl_arena_deinit(&v->arena);
    memset(v, 0, sizeof *v);
}

fl_status fl_variables_first(fl_variables *v, const fl_graph *init, uint64_t seed, bool all, fl_pool *pool, fl_diag *dg)
{
    for (uint32_t i = 0; i < init->n_outputs; i++) {
        const fl_value *out = &init->values[init->outputs[i]];
        fl_var *var = fl_store_find(&v->store, out->name);
        bool fresh = var && !v->has_values[var - v->store.vars];
        if (!var || (!fresh && !all))
            continue;
        fl_op op = out->kind == FL_VALUE_NODE ? init->nodes[out->node].op : FL_OP_NOP;
        if (op != FL_OP_RANDOM_NORMAL && op != FL_OP_RANDOM_UNIFORM && op != FL_OP_INIT_CONSTANT)
            return fl_error(dg, FL_E_STORE, FL_NOWHERE, "the init program makes \"%s\" by operator %s, not by a first-weight operator",
                            out->name, fl_op_get(op)->name);
        fill_job job = {.var = var, .op = op, .seed = seed, .stream = fl_hash_bytes(out->name, strlen(out->name), 0)};
        bool normal = op == FL_OP_RANDOM_NORMAL, uniform = op == FL_OP_RANDOM_UNIFORM;
        job.a = fl_node_float(init, out->node, normal ? "mean" : uniform ? "low" : "value", 0);
        job.b = normal || uniform ? fl_node_float(init, out->node, normal ? "scale" : "high", 1) : 0;
        if (!fresh || op != FL_OP_INIT_CONSTANT || job.a != 0 || signbit(job.a)) /* fresh memory is zero: an optimiser's state need not be written */
            fill(&job, pool);
        v->has_values[var - v->store.vars] = true;
    }
    return FL_OK;
}

fl_status fl_variables_check(const fl_variables *v, const fl_graph *g, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *value = &g->values[g->variables[i]];
        const fl_var *var = value->kind == FL_VALUE_VARIABLE && value->name ? fl_store_find(&v->store, value->name) : NULL;
        if (!var || v->has_values[var - v->store.vars])
            continue;
        (void)fl_error(dg, FL_E_NO_WEIGHTS, FL_NOWHERE, "the model has no values for \"%s\": it has not been trained", var->name);
        fl_hint(dg, "`flenrt train model.bin --data PATH -o trained.bin` trains it");
        return FL_BAD_INPUT;
    }
    return FL_OK;
}
