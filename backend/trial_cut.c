/*
 * trial_cut.c -- a table of millions of rows is tried with few of them.
 *
 * What a look-up computes does not depend on how many rows nobody asks for, so a table that is nothing but looked up gets the size that a trial needs: time and memory
 * follow the rest of the model. Which rows are asked for must be known to be few: numbers that inputs give, moved about but not computed with, are
 * drawn below the smallest table (or given, see fl_trial_keep). A table whose rows follow from arithmetic stays whole.
 */
#include "backend/trial.h"

#include "ir/functions.h"

#include <stdlib.h>
#include <string.h>

enum { FEW_ROWS = 4096, LARGE_ELEMENTS = 1 << 20 };

/* Elements of `data` behind the leading `rows` are left out; the type is that of the cut value. */
static void cut_value(fl_graph *g, fl_id v, int64_t rows)
{
    fl_value *value = &g->values[v];
    value->type.dims[0] = rows;
    if (!value->data)
        return;
    fl_tensor *data = fl_arena_new(&g->arena, fl_tensor, 1);
    if (!data)
        return; /* fl_graph_ok says so */
    *data = *value->data;
    data->type.dims[0] = rows;
    data->length = (uint64_t)fl_type_elements(&data->type) * fl_dtype_size(data->type.dtype);
    value->data = data->bytes ? data : NULL;
}

/* So many leading operands, of which the result's elements are some, in whatever place; 0: it computes. */
static uint32_t n_moved(const fl_node *n)
{
    bool moves = fl_op_has(n->op, FL_VIEW) || n->op == FL_OP_TRANSPOSE || n->op == FL_OP_CAST || n->op == FL_OP_EXPAND || n->op == FL_OP_TILE ||
                 n->op == FL_OP_GATHER;
    return !moves ? 0 : n->op == FL_OP_CONCAT ? n->n_in : n->n_in > 0;
}

static bool moves_only(const fl_graph *g, fl_id node, const bool *moved)
{
    const fl_node *n = &g->nodes[node];
    bool moves = n_moved(n) > 0;
    for (uint32_t k = 0; k < n_moved(n); k++)
        moves = moves && n->in[k] != FL_NONE && moved[n->in[k]];
    return moves;
}

static bool is_whole(const fl_type *t)
{
    return t->dtype == FL_INT64 || t->dtype == FL_INT32;
}

static bool few_rows(const fl_tensor *t)
{
    bool few = t && t->bytes && is_whole(&t->type);
    int64_t n = few ? fl_type_elements(&t->type) : 0;
    for (int64_t k = 0; k < n && few; k++)
        few = fl_tensor_get_int(t, k) >= -FEW_ROWS && fl_tensor_get_int(t, k) < FEW_ROWS;
    return few;
}

static void find_moved(const fl_graph *g, bool *moved)
{
    for (fl_id v = 0; v < g->n_values; v++)
        moved[v] = (g->values[v].kind == FL_VALUE_INPUT && is_whole(&g->values[v].type)) ||
                   (g->values[v].kind == FL_VALUE_CONSTANT && few_rows(g->values[v].data));
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != FL_NONE)
                moved[g->nodes[i].out[k]] = is_whole(fl_value_type(g, g->nodes[i].out[k])) && moves_only(g, i, moved);
}

/* Does the node read rows of operand 0 alone, by the numbers in operand 1? */
static bool looks_up(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    return n->op == FL_OP_FIELD_POOL || n->op == FL_OP_EMBEDDING_BAG || (n->op == FL_OP_GATHER && fl_node_int(g, node, "axis", 0) == 0);
}

/* table[v]: v is a leaf that is only looked up, by numbers that are moved. */
static bool find_tables(const fl_graph *g, fl_arena *scratch, bool *table)
{
    bool *moved = fl_arena_new(scratch, bool, g->n_values + 1u);
    if (!moved)
        return false;
    find_moved(g, moved);
    for (fl_id v = 0; v < g->n_values; v++)
        table[v] = g->values[v].name && (g->values[v].kind == FL_VALUE_VARIABLE || g->values[v].kind == FL_VALUE_CONSTANT) && g->values[v].type.rank > 0;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE && !(k == 0 && looks_up(g, i) && moved[g->nodes[i].in[1]]))
                table[g->nodes[i].in[k]] = false;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        table[g->outputs[i]] = false;
    for (uint32_t i = 0; i < g->n_updates; i++)
        table[g->updates[i].variable] = table[g->updates[i].next] = false;
    return true;
}

static bool is_large(const fl_type *t)
{
    int64_t n = fl_type_elements(t);
    return t->rank > 0 && t->dims[0] > FEW_ROWS && n > LARGE_ELEMENTS;
}

fl_status fl_trial_cut(fl_graph *const *graphs, uint32_t n_graphs, fl_diag *dg)
{
    fl_arena scratch;
    for (uint32_t i = 0; i < n_graphs; i++) /* tables are known by their readers */
        FL_TRY(fl_functions_inline(graphs[i], dg));
    fl_arena_init(&scratch);
    bool **table = fl_arena_new(&scratch, bool *, n_graphs + 1u);
    for (uint32_t i = 0; table && i < n_graphs; i++) {
        table[i] = fl_arena_new(&scratch, bool, graphs[i]->n_values + 1u);
        if (!table[i] || !find_tables(graphs[i], &scratch, table[i]))
            scratch.failed = true;
    }
    /* In all graphs that have it or in none, and of the same rows: numbers are drawn below the smallest table. */
    for (uint32_t i = 0; !scratch.failed && i < n_graphs; i++)
        for (fl_id v = 0; v < graphs[i]->n_values; v++)
            for (uint32_t k = 0; k < n_graphs && table[i][v]; k++) {
                fl_id other = fl_graph_find(graphs[k], graphs[i]->values[v].name);
                table[i][v] = other == FL_NONE || (table[k][other] && is_large(fl_value_type(graphs[k], other)));
            }
    for (uint32_t i = 0; !scratch.failed && i < n_graphs; i++)
        for (fl_id v = 0; v < graphs[i]->n_values; v++)
            if (table[i][v] && is_large(fl_value_type(graphs[i], v)))
                cut_value(graphs[i], v, FEW_ROWS);
    bool failed = scratch.failed || !table;
    fl_arena_deinit(&scratch);
    for (uint32_t i = 0; i < n_graphs && !failed; i++)
        FL_TRY(fl_graph_ok(graphs[i], dg));
    return failed ? fl_out_of_memory(dg) : FL_OK;
}

/* ------------------------------------------------------------------------------------------------------- rows that are given */

/* index[v]: numbers of v become rows of a table. False if some of them are a constant's, which nobody can number anew. */
static bool find_indexes(const fl_graph *g, const bool *table, bool *index)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (looks_up(g, i) && g->nodes[i].in[0] != FL_NONE && table[g->nodes[i].in[0]])
            index[g->nodes[i].in[1]] = true;
    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        bool read = false;
        for (uint32_t k = 0; k < n->n_out; k++)
            read = read || (n->out[k] != FL_NONE && index[n->out[k]]);
        for (uint32_t k = 0; k < n_moved(n) && read; k++)
            index[n->in[k]] = true;
    }
    for (fl_id v = 0; v < g->n_values; v++)
        if (index[v] && g->values[v].kind != FL_VALUE_INPUT && g->values[v].kind != FL_VALUE_NODE)
            return false;
    return true;
}

/* May rows be left out? Every leaf that is looked up is a table of `rows` rows, or of an extent yet unknown. */
static bool may_cut(const fl_graph *g, const bool *table, int64_t rows)
{
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_id v = fl_op_has(g->nodes[i].op, FL_GATHERING) && g->nodes[i].n_in ? g->nodes[i].in[0] : FL_NONE;
        if (v == FL_NONE || fl_value_node(g, v) != FL_NONE)
            continue;
        const fl_type *t = fl_value_type(g, v);
        if (!table[v] || (!FL_DIM_IS_SYM(t->dims[0]) && t->dims[0] != rows))
            return false;
    }
    return true;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Distinct numbers of all given indexes, ascending; NULL if out of memory. */
static int64_t *asked_rows(const fl_graph *g, const bool *index, const fl_trial_given *given, uint32_t n_given, fl_arena *scratch, int64_t *n)
{
    int64_t total = 0, *rows = NULL;
    for (int round = 0; round < 2; round++) {
        if (round == 1 && !(rows = fl_arena_new(scratch, int64_t, (size_t)total + 1)))
            return NULL;
        total = 0;
        for (uint32_t i = 0; i < n_given; i++) {
            fl_id v = fl_graph_find(g, given[i].name);
            int64_t count = v != FL_NONE && index[v] ? fl_type_elements(&given[i].tensor.type) : 0;
            for (int64_t k = 0; k < count && rows; k++)
                rows[total + k] = fl_tensor_get_int(&given[i].tensor, k);
            total += count;
        }
    }
    qsort(rows, (size_t)total, sizeof *rows, by_size);
    *n = 0;
    for (int64_t k = 0; k < total; k++)
        if (*n == 0 || rows[*n - 1] != rows[k])
            rows[(*n)++] = rows[k];
    return rows;
}

static bool is_looked_up(const fl_graph *g, fl_id v)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (looks_up(g, i) && g->nodes[i].in[0] == v)
            return true;
    return false;
}

/* The rows that stay of a table, with their data. */
static void keep_rows(fl_graph *g, fl_id v, const int64_t *rows, int64_t n)
{
    fl_value *value = &g->values[v];
    int64_t had = value->data && value->data->bytes ? value->data->type.dims[0] : 0;
    size_t row = had ? (size_t)(value->data->length / (uint64_t)had) : 0;
    if (!FL_DIM_IS_SYM(value->type.dims[0]))
        value->type.dims[0] = n;
    fl_tensor *data = had ? fl_arena_new(&g->arena, fl_tensor, 1) : NULL;
    unsigned char *bytes = data ? fl_arena_calloc(&g->arena, (size_t)n + 1, row) : NULL;
    for (int64_t k = 0; k < n && bytes; k++)
        if (rows[k] < had)
            memcpy(bytes + (size_t)k * row, (const unsigned char *)value->data->bytes + (size_t)rows[k] * row, row);
    if (bytes) {
        *data = *value->data;
        data->type.dims[0] = n;
        data->bytes = bytes;
        data->length = (uint64_t)n * row;
    }
    value->data = bytes ? data : NULL;
}

static void number_anew(fl_graph *g, fl_trial_given *given, const int64_t *rows, int64_t n)
{
    int64_t count = fl_type_elements(&given->tensor.type);
    int64_t *to = fl_arena_new(&g->arena, int64_t, (size_t)count + 1);
    for (int64_t k = 0; k < count && to; k++) {
        int64_t row = fl_tensor_get_int(&given->tensor, k);
        to[k] = (const int64_t *)bsearch(&row, rows, (size_t)n, sizeof row, by_size) - rows;
    }
    given->tensor.bytes = to;
}

fl_status fl_trial_keep(fl_graph *g, fl_trial_given *given, uint32_t n_given, int64_t *rows, fl_diag *dg)
{
    fl_arena scratch;
    int64_t n = 0, *kept = NULL;
    fl_arena_init(&scratch);
    bool *table = fl_arena_new(&scratch, bool, g->n_values + 1u), *index = fl_arena_new(&scratch, bool, g->n_values + 1u);
    bool found = table && index && find_tables(g, &scratch, table);
    bool cuts = found && *rows > FEW_ROWS && may_cut(g, table, *rows) && find_indexes(g, table, index);
    if (cuts)
        kept = asked_rows(g, index, given, n_given, &scratch, &n);
    if (kept && n > 0) {
        for (fl_id v = 0; v < g->n_values; v++)
            if (table[v] && is_looked_up(g, v))
                keep_rows(g, v, kept, n);
        for (uint32_t i = 0; i < n_given; i++)
            if (fl_graph_find(g, given[i].name) != FL_NONE && index[fl_graph_find(g, given[i].name)])
                number_anew(g, &given[i], kept, n);
        *rows = n;
    }
    bool failed = scratch.failed;
    fl_arena_deinit(&scratch);
    return failed ? fl_out_of_memory(dg) : fl_graph_ok(g, dg);
}
