#include "runtime/bench_work.h"

#include <stdlib.h>
#include <string.h>

#include "ir/cost.h"

enum { MOST_IDS = 1 << 22, STREAM_BYTES = 64 << 20, LEAST_READ = 256 };

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* ---------------------------------------------------------------------------------------------- ids */

/* Which of a column's n ids belong to batch k: [*from, result). Bags have any number of values a row, on average as many as here. */
static int64_t end_of_batch(const fl_work_rows *r, int64_t n, int64_t k, int64_t *from)
{
    __extension__ typedef __int128 wide;
    *from = (int64_t)((wide)n * k * r->batch / r->n);
    return (int64_t)((wide)n * (k + 1) * r->batch / r->n);
}

/* A set of ids that is emptied by a new stamp: open addressing, at most half full. */
typedef struct id_set {
    struct { int64_t id; uint32_t stamp; } *places;
    size_t mask;
    uint32_t stamp;
} id_set;

static bool id_set_init(id_set *s, int64_t most)
{
    size_t size = 64;

    while (size < 2 * (size_t)most)
        size *= 2;
    *s = (id_set){calloc(size, sizeof *s->places), size - 1, 0};
    return s->places != NULL;
}

/* True if the id is new. */
static bool id_set_add(id_set *s, int64_t id)
{
    size_t at = (size_t)((uint64_t)id * 0x9e3779b97f4a7c15u >> 20) & s->mask;

    for (; s->places[at].stamp == s->stamp; at = (at + 1) & s->mask)
        if (s->places[at].id == id)
            return false;
    s->places[at].id = id;
    s->places[at].stamp = s->stamp;
    return true;
}

/*
 * Ids in the order in which batches look them up, up to MOST_IDS: list[0 .. n), of n_batches batches. Distinct: each once a column and batch, where it is
 * met first. The caller frees the list.
 */
static fl_status list_ids(const fl_work_rows *r, const fl_look_up *of, int64_t **list, int64_t *n, int64_t *n_batches, fl_diag *dg)
{
    int64_t all = of->n * of->columns, most = all < MOST_IDS ? all : MOST_IDS, from;
    int64_t largest = end_of_batch(r, of->n, 0, &from) + r->batch;
    id_set set = {0};

    *n = 0;
    *list = malloc(((size_t)most + 1) * sizeof **list);
    if (!*list || (of->distinct && !id_set_init(&set, largest)))
        return fl_out_of_memory(dg);
    for (*n_batches = 0; (*n_batches + 1) * r->batch <= r->n; ++*n_batches) {
        int64_t to = end_of_batch(r, of->n, *n_batches, &from);
        if (*n + (to - from) * of->columns > most)
            break;
        for (int64_t c = 0; c < of->columns; c++) {
            set.stamp++;
            for (int64_t i = from; i < to; i++) {
                int64_t id = of->ids[i * of->columns + c];
                if (!of->distinct || id_set_add(&set, id))
                    (*list)[(*n)++] = id;
            }
        }
    }
    free(set.places);
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- count */

/* The value behind views and UniqueRows. */
static fl_id source_of(const fl_graph *g, fl_id index, bool *distinct)
{
    fl_id v = index;

    for (fl_id node = fl_value_node(g, v); node != FL_NONE; node = fl_value_node(g, v)) {
        fl_op op = g->nodes[node].op;
        bool unique = op == FL_OP_UNIQUE_ROWS && g->nodes[node].out[0] == v;
        bool same = op == FL_OP_IDENTITY || op == FL_OP_RESHAPE || op == FL_OP_FLATTEN || op == FL_OP_SQUEEZE || op == FL_OP_UNSQUEEZE;
        if (!unique && !same)
            return v;
        *distinct |= unique;
        v = g->nodes[node].in[0];
    }
    return v;
}

/* The ids of an input, int64 [rows] or [rows, columns], where they lie. False: it is no such input. */
static bool ids_of_input(const fl_work_rows *r, fl_id v, fl_look_up *l)
{
    const fl_graph *g = r->session->programs[r->program];
    const fl_type *t = &g->values[v].type;

    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == v && t->dtype == FL_INT64 && t->rank > 0 && FL_DIM_IS_SYM(t->dims[0])) {
            l->ids = r->run->inputs[i];
            l->n = r->run->dims[FL_SYM_OF_DIM(t->dims[0])];
            l->columns = t->rank == 2 ? t->dims[1] : 1;
            return true;
        }
    return false;
}

/* The ids that tensors were found to look up by: a copy as int64, made once for each index. False: there are none, or no memory. */
static bool ids_of_tensors(const fl_work_rows *r, fl_work *w, fl_id index, fl_look_up *l)
{
    const fl_tensor_index *found = fl_tensor_indices_find(&r->tensors->indices, index);
    int64_t n = found ? fl_type_elements(&found->array.type) : 0;

    if (n == 0 || n % r->n != 0)
        return false;
    l->n = r->n;
    l->columns = n / r->n;
    for (uint32_t k = 0; k < w->n_look_ups; k++)
        if (w->look_ups[k].index == index) {
            l->ids = w->look_ups[k].ids;
            return true;
        }
    int64_t *list = w->lists[w->n_lists] = malloc((size_t)n * sizeof *list);
    fl_tensor t = {.type = found->array.type, .bytes = found->array.bytes};
    for (int64_t i = 0; list && i < n; i++)
        list[i] = fl_tensor_get_int(&t, i);
    w->n_lists += list != NULL;
    l->ids = list;
    return list != NULL;
}

/* Rows that look-up k of a node reads, or that it writes: where they lie. False: it looks up in no table. */
static bool table_of(const fl_work_rows *r, const fl_node *n, uint32_t k, fl_look_up *l)
{
    const fl_value *v = &r->session->programs[r->program]->values[n->in[2 * k]];
    const fl_var *table = v->kind == FL_VALUE_VARIABLE ? fl_store_find(&r->session->variables.store, v->name) : NULL;
    const fl_type *type = table ? &table->type : &v->type;
    size_t size = fl_dtype_size(type->dtype);
    int64_t elements = table || v->kind == FL_VALUE_CONSTANT ? fl_type_elements(type) : 0, rows = type->rank > 0 ? type->dims[0] : 0;

    if (elements <= 0 || rows <= 0)
        return false;
    l->base = table ? table->data : (uint8_t *)(uintptr_t)v->data->bytes; /* a constant's rows are never written */
    l->row_bytes = (size_t)(elements / rows) * size;
    l->stride = table ? (size_t)table->stride * size : l->row_bytes;
    l->writes = n->op == FL_OP_SCATTER_ND;
    return true;
}

/* Look-ups of a node by rows; 0 of others. */
static uint32_t look_ups_of(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];

    if (n->op == FL_OP_SCATTER_ND)
        return 1;
    if (!fl_op_has(n->op, FL_GATHERING) || (n->op == FL_OP_GATHER && fl_node_int(g, node, "axis", 0) != 0))
        return 0;
    return fl_look_ups(n);
}

/* Add a look-up; one in the same records as a known one makes that one wider. */
static void add_look_up(fl_work *w, const fl_look_up *new)
{
    for (uint32_t i = 0; i < w->n_look_ups; i++) {
        fl_look_up *l = &w->look_ups[i];
        uint8_t *begin = l->base < new->base ? l->base : new->base, *a = l->base + l->row_bytes, *b = new->base + new->row_bytes;
        uint8_t *end = a > b ? a : b;
        if (l->ids != new->ids || l->columns != new->columns || l->distinct != new->distinct || l->stride != new->stride || (size_t)(end - begin) > l->stride)
            continue;
        l->base = begin;
        l->row_bytes = (size_t)(end - begin);
        l->writes |= new->writes;
        return;
    }
    w->look_ups[w->n_look_ups++] = *new;
}

static void find_look_ups(fl_work *w, const fl_work_rows *r)
{
    const fl_graph *g = r->session->programs[r->program];

    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < look_ups_of(g, i); k++) {
            fl_id index = g->nodes[i].in[2 * k + 1];
            fl_look_up l = {.distinct = false};
            if (!table_of(r, &g->nodes[i], k, &l))
                continue;
            l.index = r->tensors ? index : source_of(g, index, &l.distinct);
            if (r->tensors ? ids_of_tensors(r, w, index, &l) : ids_of_input(r, l.index, &l))
                add_look_up(w, &l);
        }
}

/* Arithmetic of a sample, with the distinct rows that were counted instead of the most that there can be. */
static fl_status count_flops(fl_work *w, const fl_work_rows *r, fl_diag *dg)
{
    const fl_graph *g = r->session->programs[r->program];
    int64_t *extents = calloc((size_t)g->n_symbols + 1, sizeof *extents);

    if (!extents)
        return fl_out_of_memory(dg);
    fl_cost_bind(g, r->batch, extents);
    for (uint32_t i = 0; i < g->n_variables; i++) { /* tables of any number of rows */
        const fl_type *t = &g->values[g->variables[i]].type;
        const fl_var *bound = fl_store_find(&r->session->variables.store, g->values[g->variables[i]].name);
        for (int d = 0; bound && d < t->rank; d++)
            if (FL_DIM_IS_SYM(t->dims[d]))
                extents[FL_SYM_OF_DIM(t->dims[d])] = bound->type.dims[d];
    }
    for (uint32_t k = 0; r->tensors && k < g->n_symbols; k++) /* a sequence's length */
        if (!r->tensors->is_batch[k] && r->tensors->dims[k] >= 0)
            extents[k] = r->tensors->dims[k];
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool distinct = false;
        fl_id index = n->op == FL_OP_UNIQUE_ROWS && n->out[0] != FL_NONE ? source_of(g, n->out[0], &distinct) : FL_NONE;
        for (uint32_t k = 0; index != FL_NONE && k < w->n_look_ups; k++)
            if (w->look_ups[k].index == index && w->look_ups[k].distinct)
                extents[FL_SYM_OF_DIM(fl_value_type(g, n->out[0])->dims[0])] = (int64_t)(w->look_ups[k].rows + 0.5);
    }
    for (fl_id i = 0; i < g->n_nodes; i++)
        w->flops += fl_node_cost(g, i, extents).flops / (double)r->batch;
    free(extents);
    return FL_OK;
}

static bool is_read_by_row(const fl_graph *g, fl_id table)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < look_ups_of(g, i); k++)
            if (g->nodes[i].in[2 * k] == table)
                return true;
    return false;
}

/* Bytes of a row of an input; 0 of one that has none. */
static double input_bytes(const fl_work_rows *r, uint32_t input)
{
    const fl_graph *g = r->session->programs[r->program];
    const fl_type *t = &g->values[g->inputs[input]].type;
    fl_type all;

    if (r->tensors)
        return !r->tensors->has_rows[input] ? 0 : (double)r->tensors->inputs[input].n_bytes / (double)r->n;
    if (t->rank == 0 || !FL_DIM_IS_SYM(t->dims[0]) || !fl_type_bind(g, r->run->dims, t, &all))
        return 0;
    return (double)fl_type_bytes(&all) / (double)r->n;
}

/* Weights are read once a batch, and written as often where the program changes them. */
static void count_bytes(fl_work *w, const fl_work_rows *r)
{
    const fl_graph *g = r->session->programs[r->program];
    double written = 0;

    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        double bytes = v->name && !is_read_by_row(g, g->variables[i]) ? larger((double)fl_type_elements(&v->type) * (double)fl_dtype_size(v->type.dtype), 0) : 0;
        w->weight_bytes += bytes;
        for (uint32_t k = 0; k < g->n_updates; k++)
            written += g->updates[k].variable == g->variables[i] ? bytes : 0;
    }
    w->bytes = (w->weight_bytes + written) / (double)r->batch;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        w->bytes += input_bytes(r, i);
    for (uint32_t k = 0; k < w->n_look_ups; k++) {
        double rows = w->look_ups[k].rows / (double)r->batch;
        w->rows += rows;
        w->bytes += rows * (double)w->look_ups[k].row_bytes * (w->look_ups[k].writes ? 2 : 1);
    }
}

fl_status fl_work_count(fl_work *w, const fl_work_rows *r, fl_diag *dg)
{
    const fl_graph *g = r->session->programs[r->program];
    size_t most = 1;

    for (fl_id i = 0; i < g->n_nodes; i++)
        most += look_ups_of(g, i);
    *w = (fl_work){.look_ups = calloc(most, sizeof *w->look_ups), .lists = calloc(most, sizeof *w->lists)};
    fl_status status = w->look_ups && w->lists ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK)
        find_look_ups(w, r);
    for (uint32_t k = 0; k < w->n_look_ups && status == FL_OK; k++) {
        int64_t *list, n, n_batches;
        status = list_ids(r, &w->look_ups[k], &list, &n, &n_batches, dg);
        if (status == FL_OK && n_batches > 0)
            w->look_ups[k].rows = (double)n / (double)n_batches;
        free(list);
    }
    if (status == FL_OK)
        status = count_flops(w, r, dg);
    if (status == FL_OK)
        count_bytes(w, r);
    else
        fl_work_drop_look_ups(w);
    return status;
}

void fl_work_drop_look_ups(fl_work *w)
{
    for (uint32_t k = 0; k < w->n_lists; k++)
        free(w->lists[k]);
    free(w->lists);
    free(w->look_ups);
    w->lists = NULL;
    w->look_ups = NULL;
    w->n_lists = w->n_look_ups = 0;
}

void fl_work_touch(const fl_work *w)
{
    for (uint32_t k = 0; k < w->n_look_ups; k++) {
        const fl_look_up *l = &w->look_ups[k];
        for (int64_t i = 0; i < l->n * l->columns; i++) {
            const volatile uint8_t *row = l->base + (size_t)l->ids[i] * l->stride;
            (void)row[0];
            (void)row[l->row_bytes ? l->row_bytes - 1 : 0];
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ limits */

/* Seconds of a sample's rows of one look-up. Workers get ids of their own, since they may write the rows. */
static fl_status limit_rows(const fl_look_up *l, const fl_work_rows *r, const char *level, double seconds, double *out, fl_diag *dg)
{
    fl_pool *pool = r->session->pool;
    uint32_t n_workers = fl_session_threads(r->session);
    int64_t *list, n, n_batches, *counts = calloc(n_workers, sizeof *counts), *sorted = NULL;
    const int64_t **lists = calloc(n_workers, sizeof *lists);

    *out = 0;
    fl_status status = list_ids(r, l, &list, &n, &n_batches, dg);
    if (status == FL_OK && (!counts || !lists || !(sorted = malloc(((size_t)n + 1) * sizeof *sorted))))
        status = fl_out_of_memory(dg);
    for (uint32_t k = 0, at = 0; status == FL_OK && k < n_workers; k++) {
        lists[k] = sorted + at;
        for (int64_t i = 0; i < n; i++)
            if ((uint64_t)list[i] % n_workers == k)
                sorted[at++] = list[i];
        counts[k] = sorted + at - lists[k];
    }
    if (status == FL_OK && n > 0) {
        fl_limit_rows rows = {l->base, l->stride, l->row_bytes, l->writes, lists, counts};
        *out = l->rows / (double)r->batch / fl_limit_look_ups(pool, level, &rows, seconds);
    }
    free(list);
    free(sorted);
    free(counts);
    free(lists);
    return status;
}

fl_status fl_limits_measure(fl_limits *l, const fl_work *w, const fl_work_rows *r, const char *level, double seconds, fl_diag *dg)
{
    fl_pool *pool = r->session->pool;
    fl_pages pages;

    *l = (fl_limits){0};
    if (!fl_pages_alloc(&pages, STREAM_BYTES))
        return fl_out_of_memory(dg);
    memset(pages.bytes, 0, STREAM_BYTES);
    l->read = fl_limit_read(pool, level, pages.bytes, STREAM_BYTES / (LEAST_READ * fl_session_threads(r->session)) * (LEAST_READ * fl_session_threads(r->session)), seconds / 4);
    if (w->weight_bytes > LEAST_READ && w->weight_bytes <= STREAM_BYTES)
        l->seconds[FL_LIMIT_WEIGHTS] = w->weight_bytes / (double)r->batch / fl_limit_read(NULL, level, pages.bytes, (size_t)w->weight_bytes / LEAST_READ * LEAST_READ, seconds / 8);
    fl_pages_free(&pages);
    for (uint32_t k = 0; k < w->n_look_ups; k++) {
        double took;
        FL_TRY(limit_rows(&w->look_ups[k], r, level, seconds / 4 / w->n_look_ups, &took, dg));
        l->seconds[FL_LIMIT_ROWS] += took;
    }
    l->row_rate = l->seconds[FL_LIMIT_ROWS] > 0 ? w->rows / l->seconds[FL_LIMIT_ROWS] : 0;
    l->flops = fl_limit_flops(pool, level, seconds / 4);
    l->seconds[FL_LIMIT_ARITHMETIC] = w->flops / l->flops;
    for (int k = 0; k <= FL_LIMIT_WEIGHTS; k++)
        if (l->seconds[k] > l->seconds[l->slowest])
            l->slowest = (fl_limit_kind)k;
    return FL_OK;
}
