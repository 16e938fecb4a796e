/*
 * fold_tables.c -- in prediction the first product is a constant of each row: look the products up instead of the rows.
 *
 *   Linear(x, w, b), MatMul(x, w)  ->  act(sum of look-ups in t w_s  +  x_rest w_rest  +  b)
 *
 * x is whatever columns.c finds look-ups, field sums and bags in: each of them meets rows w_s of w, and Gather(t, i) w_s = Gather(t w_s, i), for bags likewise. What is left of x keeps
 * its part of the product. Two forms:
 *
 *   columns with rows of their own (metadata `ai.flen.disjoint`)   FieldPool and EmbeddingBag of one TableLinear(t, first, w) for all of them; `first` is
 *                                                                   made of the variables "bound.INPUT.first_row", which the session knows
 *   any others                                                      TablePool of MatMul(t, w_s) for each column s
 *
 * The products depend on weights alone and move into the prologue. Other tables of the same rows are copied beside them (Add(t, 0), which moves along), so
 * that the session can keep all that belongs to a row in one record.
 *
 * Needs ORDER and SHAPES, keeps SHAPES. O(nodes + pieces log pieces).
 *
 * What it costs: [rows, H] floats of memory for each product, and H of them to be read for a look-up, where the product reads nothing but what lies in the first caches.
 * Measured on 22 slots, H 64, tables of 2.5 million rows: with K = 2, 4, 8, 16, 32 rows of w for a look-up folding runs at 0.6, 0.75, 1.0, 1.6, 2.8 times the speed, and on sums
 * of 13, 3 and 6 slots, which the interaction needs all the same, at 0.7. So a look-up must save LEAST_ROWS rows of w, or be no wider than the row itself; and
 * half of w must go, because the table's rows are all multiplied, whoever's they are.
 */
#include "passes/columns.h"
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_ROWS = 8 };

/* A look-up of one product: by one column of an index, or by a bag. */
typedef struct slot {
    fl_id table, index, bag; /* bag: the EmbeddingBag; FL_NONE: a column */
    bool own_rows;           /* of the index's columns */
    int64_t column, at;      /* at: rows of w, if it meets them alone */
    fl_id w;                 /* else their sum */
} slot;

typedef struct folder {
    fl_graph *g;
    fl_pass_ctx *cx;
    fl_rewriter *r;
    const bool *weights; /* fl_find_weights */
    bool *folded;        /* [n_values]: tables that are looked up by this index have a copy beside folded rows */
    uint32_t n_values;
    fl_id w;             /* of the product under way, and its columns */
    int64_t h;
    slot *slots;
    uint32_t n_slots;
    fl_id sum;
} folder;

static bool is_weights(const folder *f, fl_id v)
{
    return v != FL_NONE && v < f->n_values && f->weights[v];
}

static bool is_foldable(const fl_graph *g, const fl_piece *p, void *arg)
{
    const folder *f = arg;
    const fl_type *t = fl_value_type(g, p->table);
    if (!is_weights(f, p->table) || is_weights(f, p->index) || t->rank != 2 || t->dims[1] <= 0 || t->dtype != FL_FLOAT)
        return false;
    return t->dims[1] >= LEAST_ROWS * p->look_ups || f->h * p->look_ups <= t->dims[1];
}

/* Half of the rows of w meet look-ups: pieces of one sum share theirs. */
static bool is_worth_it(const folder *f, const fl_pieces *pieces)
{
    int64_t rest = 0, look_ups = 0;
    for (uint32_t i = 0; i < pieces->n; i++) {
        const fl_piece *p = &pieces->list[i];
        rest += p->kind == FL_PIECE_REST ? p->n : 0;
        look_ups += p->kind == FL_PIECE_LOOK_UP || p->kind == FL_PIECE_BAG;
    }
    return look_ups > 0 && rest <= fl_value_type(f->g, f->w)->dims[0] / 2;
}

static void add(folder *f, fl_id y)
{
    f->sum = f->sum == FL_NONE ? y : fl_build_2(f->g, FL_OP_ADD, "folded_sum", f->sum, y);
}

/* ------------------------------------------------------------------------------------------------------- slots */

static int compare(const void *a, const void *b)
{
    const slot *x = a, *y = b;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    if (x->own_rows != y->own_rows)
        return x->own_rows ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    if (x->bag != y->bag)
        return x->bag < y->bag ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column ? 1 : x->at < y->at ? -1 : x->at > y->at;
}

static bool has_own_rows(const folder *f, fl_id index)
{
    return f->g->values[index].kind == FL_VALUE_INPUT && fl_index_is_disjoint(f->g, index, &f->cx->scratch);
}

static bool same_slot(const slot *a, const slot *b)
{
    return a->table == b->table && a->index == b->index && a->bag == b->bag && a->column == b->column;
}

static int64_t width(const folder *f, const slot *s)
{
    return fl_value_type(f->g, s->table)->dims[1];
}

/* The slots behind the pieces, ordered; what is looked up several times meets the sum of its weights. */
static bool collect(folder *f, const fl_pieces *pieces)
{
    f->n_slots = 0;
    f->slots = fl_arena_new(&f->cx->scratch, slot, pieces->n + 1);
    for (uint32_t i = 0; f->slots && i < pieces->n; i++) {
        const fl_piece *p = &pieces->list[i];
        if (p->kind == FL_PIECE_LOOK_UP || p->kind == FL_PIECE_BAG)
            f->slots[f->n_slots++] = (slot){p->table, p->index, p->kind == FL_PIECE_BAG ? p->node : FL_NONE, has_own_rows(f, p->index), p->column, p->at, FL_NONE};
    }
    if (!f->slots)
        return false;
    qsort(f->slots, f->n_slots, sizeof *f->slots, compare);
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_slots; i++) {
        slot s = f->slots[i];
        slot *last = n > 0 ? &f->slots[n - 1] : NULL;
        if (!last || !same_slot(last, &s)) {
            f->slots[n++] = s;
            continue;
        }
        fl_id before = last->w == FL_NONE ? fl_build_rows(f->g, f->w, last->at, width(f, last)) : last->w;
        last->w = fl_build_2(f->g, FL_OP_ADD, "folded.w", before, fl_build_rows(f->g, f->w, s.at, width(f, &s)));
    }
    f->n_slots = n;
    return true;
}

/* The weights of slots[0, n), one below the other. */
static fl_id weights_of(folder *f, const slot *slots, uint32_t n)
{
    fl_id *part = fl_arena_new(&f->cx->scratch, fl_id, n);
    uint32_t n_parts = 0;
    for (uint32_t i = 0; part && i < n;) {
        uint32_t next = i + 1;
        int64_t k = width(f, &slots[i]);
        if (slots[i].w != FL_NONE) {
            part[n_parts++] = slots[i].w;
        } else {
            while (next < n && slots[next].w == FL_NONE && slots[next].at == slots[next - 1].at + k)
                next++;
            part[n_parts++] = fl_build_rows(f->g, f->w, slots[i].at, k * (next - i));
        }
        i = next;
    }
    return n_parts == 0 ? FL_NONE : n_parts == 1 ? part[0] : fl_build_concat(f->g, "folded.w", part, n_parts, 0);
}

/* --------------------------------------------------------------------------------- columns with rows of their own */

static int64_t n_columns(const fl_graph *g, fl_id index)
{
    const fl_type *t = fl_value_type(g, index);
    return t->rank == 2 ? t->dims[1] : 1;
}

static fl_id first_rows(fl_graph *g, fl_id index)
{
    const char *name = fl_arena_printf(&g->arena, "bound.%s.first_row", g->values[index].name);
    fl_id v = name ? fl_graph_find(g, name) : FL_NONE;
    if (v != FL_NONE || !name)
        return v;
    return fl_graph_variable(g, name, fl_type_make(FL_INT64, 1, (fl_dim[]){n_columns(g, index)}));
}

/* First rows of slots[0, n): columns without a product leave their rows to a neighbour, and nobody reads these. */
static fl_id firsts_of(folder *f, const slot *slots, uint32_t n)
{
    fl_id *part = fl_arena_new(&f->cx->scratch, fl_id, n);
    uint32_t n_parts = 0;
    for (uint32_t i = 0; part && i < n;) {
        uint32_t next = i + 1;
        while (next < n && slots[next].index == slots[i].index && slots[next].column == slots[next - 1].column + 1)
            next++;
        part[n_parts++] = fl_build_rows(f->g, first_rows(f->g, slots[i].index), slots[i].column, next - i);
        i = next;
    }
    return n_parts == 0 ? FL_NONE : n_parts == 1 ? part[0] : fl_build_concat(f->g, "folded.first", part, n_parts, 0);
}

/* Sum over the columns of slots[0, n), which are columns of one matrix or vector of indices. */
static fl_status pool(folder *f, fl_id product, const slot *slots, uint32_t n)
{
    fl_graph *g = f->g;
    fl_id index = slots[0].index;
    int64_t columns = n_columns(g, index), *fields = fl_arena_new(&f->cx->scratch, int64_t, 2 * n + 1);
    bool *used = fl_arena_new(&f->cx->scratch, bool, 2 * n + 1);
    uint32_t n_fields = 0;
    if (!fields || !used)
        return fl_out_of_memory(f->cx->diag);
    f->folded[index] = true;
    if (fl_value_type(g, index)->rank == 1) {
        add(f, fl_build_2(g, FL_OP_GATHER, "folded_row", product, index));
        return FL_OK;
    }
    for (int64_t c = 0, i = 0; c < columns;) { /* runs of columns that take part, and of such that do not */
        bool in = i < n && slots[i].column == c;
        int64_t end = c;
        while (end < columns && (i < n && slots[i].column == end) == in) {
            end++;
            i += in;
        }
        used[n_fields] = in;
        fields[n_fields++] = end - c;
        c = end;
    }
    fl_id node = fl_node_new(g, FL_OP_FIELD_POOL, "folded_pool", (fl_id[]){product, index}, 2, n_fields);
    fl_node_set_ints(g, node, "fields", fields, n_fields);
    fl_build_infer(g, node);
    for (uint32_t m = 0; m < n_fields; m++)
        if (used[m])
            add(f, fl_node_out(g, node, m));
    return FL_OK;
}

static fl_id bag_of(folder *f, fl_id data, const slot *s)
{
    fl_id in[3] = {data, s->index, f->g->nodes[s->bag].in[2]};
    fl_id node = fl_node_new(f->g, FL_OP_EMBEDDING_BAG, "folded_bag", in, 3, 1);
    fl_node_set_string(f->g, node, "mode", fl_node_string(f->g, s->bag, "mode", "sum"));
    f->g->values[fl_node_out(f->g, node, 0)].type = fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_value_type(f->g, f->g->nodes[s->bag].out[0])->dims[0], f->h});
    fl_build_infer(f->g, node);
    return fl_node_out(f->g, node, 0);
}

/* One product of all rows of a table. */
static fl_status fold_own_rows(folder *f, const slot *slots, uint32_t n, const char *name)
{
    fl_id product = fl_build_n(f->g, FL_OP_TABLE_LINEAR, name, (fl_id[]){slots[0].table, firsts_of(f, slots, n), weights_of(f, slots, n)}, 3);
    for (uint32_t i = 0; i < n;) {
        uint32_t next = i + 1;
        if (slots[i].bag != FL_NONE) {
            add(f, bag_of(f, product, &slots[i]));
            f->folded[slots[i].index] = true;
        } else {
            while (next < n && slots[next].index == slots[i].index)
                next++;
            FL_TRY(pool(f, product, &slots[i], next - i));
        }
        i = next;
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------- any other columns */

/* The column of its index that a slot looks up by. */
static fl_id column_of(folder *f, const slot *s)
{
    if (n_columns(f->g, s->index) > 1)
        return fl_build_columns(f->g, s->index, s->column, 1);
    f->folded[s->index] = true;
    return s->index;
}

/* The sum of all slots that are in none of the above. */
static fl_status fold_columns(folder *f, const slot *const *slots, uint32_t n, const char *name)
{
    fl_graph *g = f->g;
    fl_id *in = fl_arena_new(&f->cx->scratch, fl_id, 2 * n + 1);
    int64_t columns = n;
    if (!in)
        return fl_out_of_memory(f->cx->diag);
    for (uint32_t i = 0; i < n; i++) {
        in[2 * i] = fl_build_2(g, FL_OP_MATMUL, name, slots[i]->table, weights_of(f, slots[i], 1));
        in[2 * i + 1] = column_of(f, slots[i]);
    }
    fl_id node = fl_node_new(g, FL_OP_TABLE_POOL, "folded_pool", in, 2 * n, 1);
    fl_node_set_ints(g, node, "fields", &columns, 1);
    fl_build_infer(g, node);
    add(f, fl_node_out(g, node, 0));
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------ products */

/* Weights that x adds to each row: a row of their own, times their rows of w. */
static void add_vectors(folder *f, const fl_pieces *pieces)
{
    for (uint32_t i = 0; i < pieces->n; i++) {
        const fl_piece *p = &pieces->list[i];
        if (p->kind != FL_PIECE_VECTOR)
            continue;
        fl_id row = fl_build_reshape(f->g, "folded_vector", fl_build_rows(f->g, p->value, p->from, p->n), (int64_t[]){1, p->n}, 2);
        add(f, fl_build_2(f->g, FL_OP_MATMUL, "folded_vector", row, fl_build_rows(f->g, f->w, p->at, p->n)));
    }
}

static fl_status build_sum(folder *f, const fl_pieces *pieces)
{
    const char *name = fl_arena_printf(&f->cx->scratch, "%s.folded", f->g->values[f->w].name);
    if (!name || !collect(f, pieces))
        return fl_out_of_memory(f->cx->diag);
    f->sum = FL_NONE;
    const slot **others = fl_arena_new(&f->cx->scratch, const slot *, f->n_slots + 1);
    uint32_t n_others = 0;
    if (!others)
        return fl_out_of_memory(f->cx->diag);
    for (uint32_t i = 0; i < f->n_slots;) {
        uint32_t next = i + 1;
        const slot *s = &f->slots[i];
        if (s->own_rows) {
            while (next < f->n_slots && f->slots[next].table == s->table && f->slots[next].own_rows)
                next++;
            FL_TRY(fold_own_rows(f, s, next - i, name));
        } else if (s->bag != FL_NONE) {
            add(f, bag_of(f, fl_build_2(f->g, FL_OP_MATMUL, name, s->table, weights_of(f, s, 1)), s));
            f->folded[s->index] = true;
        } else {
            others[n_others++] = s;
        }
        i = next;
    }
    if (n_others > 0)
        FL_TRY(fold_columns(f, others, n_others, name));
    fl_id x_rest, w_rest;
    fl_build_rest(f->g, pieces, f->w, &f->cx->scratch, &x_rest, &w_rest);
    if (x_rest != FL_NONE)
        add(f, fl_build_2(f->g, FL_OP_MATMUL, "folded_rest", x_rest, w_rest));
    add_vectors(f, pieces);
    return FL_OK;
}

static fl_status fold(folder *f, fl_id node)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_pieces pieces;
    if ((n.op != FL_OP_LINEAR && !fl_is_plain_product(g, node)) || is_weights(f, n.in[0]) || !is_weights(f, n.in[1]))
        return FL_OK;
    const fl_type *tw = fl_value_type(g, n.in[1]);
    if (tw->rank != 2 || tw->dtype != FL_FLOAT || !fl_type_is_static(tw) || fl_value_type(g, n.in[0])->rank != 2)
        return FL_OK;
    f->w = n.in[1];
    f->h = tw->dims[1];
    fl_columns columns = {g, &f->cx->scratch, f->weights, f->n_values, is_foldable, f, true};
    if (!fl_columns_of(&columns, n.in[0], &pieces))
        return f->cx->scratch.failed ? fl_out_of_memory(f->cx->diag) : FL_OK;
    if (!is_worth_it(f, &pieces))
        return FL_OK;
    FL_TRY(build_sum(f, &pieces));
    fl_id y = f->sum;
    if (n.n_in > 2 && n.in[2] != FL_NONE)
        y = fl_build_2(g, FL_OP_ADD, "folded_sum", y, n.in[2]);
    if (n.op == FL_OP_LINEAR && strcmp(fl_node_string(g, node, "activation", "none"), "relu") == 0)
        y = fl_build_1(g, FL_OP_RELU, "folded_relu", y);
    FL_TRY(fl_graph_ok(g, f->cx->diag));
    f->cx->n_changed += fl_rewriter_put(f->r, n.out[0], y);
    return FL_OK;
}

/* Tables that are still looked up by a folded index become copies, which stand beside the folded rows. */
static void copy_tables(folder *f, fl_id *copy)
{
    fl_graph *g = f->g;
    uint32_t n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++)
        for (uint32_t k = 0; fl_op_has(g->nodes[i].op, FL_GATHERING) && k < fl_look_ups(&g->nodes[i]); k++) {
            fl_id table = g->nodes[i].in[2 * k], index = g->nodes[i].in[2 * k + 1];
            if (g->values[table].kind != FL_VALUE_VARIABLE || index >= f->n_values || !f->folded[index])
                continue;
            if (copy[table] == FL_NONE) {
                copy[table] = fl_build_2(g, FL_OP_ADD, g->values[table].name, table, fl_build_scalar(g, "zero", 0));
                if (copy[table] == FL_NONE)
                    return;
            }
            g->nodes[i].in[2 * k] = copy[table];
        }
}

fl_status fl_pass_fold_tables(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    uint32_t n_nodes = g->n_nodes;
    folder f = {.g = g, .cx = cx, .r = &r, .n_values = g->n_values};
    f.weights = fl_find_weights(g, &cx->scratch);
    f.folded = fl_arena_new(&cx->scratch, bool, g->n_values + 1);
    fl_id *copy = fl_arena_new(&cx->scratch, fl_id, g->n_values + 1);
    if (!f.weights || !f.folded || !copy || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < f.n_values; v++)
        copy[v] = FL_NONE;
    for (fl_id i = 0; i < n_nodes; i++)
        FL_TRY(fold(&f, i));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    uint32_t erased = 0;
    FL_TRY(fl_graph_sort(g, cx->diag));
    if (!fl_erase_dead(g, &cx->scratch, &erased))
        return fl_out_of_memory(cx->diag);
    copy_tables(&f, copy);
    FL_TRY(fl_graph_ok(g, cx->diag));
    return fl_graph_sort(g, cx->diag);
}
