/*
 * distinct_rows.c -- look rows up once, however often they stand in the batch.
 *
 *   Gather(t, i), FieldPool(t, i), EmbeddingBag(t, i, o)  ->  the same of (Gather(t, rows), inverse)
 *                                                             with rows, inverse, ... = UniqueRows(i), once for each index i
 *   MatMul(x, w), Gemm(x, w, c)                           ->  FieldPool(SlotLinear(e, count, w_slots), inverse) + x_rest w_rest (+ c)
 *                                                             for look-ups Gather(e, inverse) that columns.c sees in x with all their slots
 *
 * The second rule is Gather(x, i) W = Gather(x W, i), slot by slot: the product is made for distinct rows, of which a batch has
 * several times fewer, and its gradients follow, because `differentiate` comes later. Both sides are equal but for rounding.
 *
 * There is no second program for batches whose rows hardly repeat. Measured on 22 slots, K 32, product 704x64, steps of Adagrad on one thread (least of three runs), time with this rule
 * over time with look-ups once and dense products, at batches of 2, 16, 64, 256, 512, 2048:
 *   2.5 million rows, slots as large as Avazu's, Zipf 1.1     0.98  0.86  0.67  0.50  0.44  0.26
 *   22 slots of 100,000 rows, Zipf 1.1                        1.01  0.95  0.91  0.76  0.70  0.36
 *   22 slots of 100,000 rows, uniform (nothing repeats)       1.07  1.02  1.03  1.04  1.01  0.96
 * A choice by counted ratio would win 2 to 4 % where no row of any slot repeats, which no data has, for twice the code and a second order of summation.
 *
 * Only look-ups that training differentiates are changed, and an index must be a matrix with a known number of columns or a vector.
 * Needs ORDER and SHAPES, keeps SHAPES. Does nothing in a graph without trained parameters. O(nodes + operands + pieces of products).
 */
#include "passes/columns.h"
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include "ir/base/planted.h"

#include <string.h>

typedef struct distinct {
    fl_graph *g;
    fl_pass_ctx *cx;
    bool *trained;  /* [n_values] depends on a trained parameter */
    fl_id *unique;  /* [n_values] the UniqueRows of an index; FL_NONE: none yet */
    uint32_t n_values;
} distinct;

static fl_id unique_of(distinct *d, fl_id index)
{
    fl_graph *g = d->g;
    fl_id *unique = &d->unique[FL_PLANTED("distinct-rows") ? 0 : index];
    if (*unique == FL_NONE) {
        const char *name = fl_arena_printf(&d->cx->scratch, "%s.distinct", g->values[index].name);
        *unique = fl_node_new(g, FL_OP_UNIQUE_ROWS, name ? name : "distinct", &index, 1, 5);
        fl_build_infer(g, *unique);
    }
    return *unique;
}

/* Operand that holds the index of a look-up by row; UINT32_MAX if the node is none. */
static uint32_t index_operand(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];
    if (n->op == FL_OP_GATHER)
        return fl_node_int(g, node, "axis", 0) == 0 && fl_value_type(g, n->in[0])->rank == 2 ? 1 : UINT32_MAX;
    return n->op == FL_OP_FIELD_POOL || n->op == FL_OP_EMBEDDING_BAG ? 1 : UINT32_MAX;
}

/* Constants that count from the end would name a row twice by two numbers. */
static bool fits(const fl_graph *g, fl_id index)
{
    const fl_type *t = fl_value_type(g, index);
    const fl_tensor *constant = fl_value_tensor(g, index);
    bool whole = t->dtype == FL_INT64 || t->dtype == FL_INT32;
    for (int64_t i = 0; whole && constant && constant->bytes && i < fl_type_elements(&constant->type); i++)
        whole = fl_tensor_get_int(constant, i) >= 0;
    return whole && (t->rank == 1 || (t->rank == 2 && t->dims[1] > 0));
}

static void look_up_once(distinct *d, fl_id node)
{
    fl_graph *g = d->g;
    uint32_t k = index_operand(g, node);
    if (k == UINT32_MAX)
        return;
    fl_id data = g->nodes[node].in[0], index = g->nodes[node].in[k];
    if (!d->trained[data] || !fits(g, index))
        return;
    fl_id unique = unique_of(d, index);
    fl_id rows = fl_build_2(g, FL_OP_GATHER, "e_distinct", data, fl_node_out(g, unique, 0));
    if (rows == FL_NONE)
        return;
    g->nodes[node].in[0] = rows;
    g->nodes[node].in[k] = fl_node_out(g, unique, 1);
    d->cx->n_changed++;
}

/* A look-up by the places of distinct rows. */
static bool is_distinct_look_up(const fl_graph *g, const fl_piece *p, void *arg)
{
    fl_id unique = p->kind == FL_PIECE_LOOK_UP ? fl_value_is(g, p->index, FL_OP_UNIQUE_ROWS) : FL_NONE;
    (void)arg;
    return unique != FL_NONE && p->index == g->nodes[unique].out[1] && fl_value_type(g, p->table)->dtype == FL_FLOAT;
}

static int64_t n_slots(const fl_graph *g, fl_id inverse)
{
    const fl_type *t = fl_value_type(g, inverse);
    return t->rank == 2 ? t->dims[1] : 1;
}

/*
 * The first columns of x that each slot of the look-up behind pieces[first] has, into at[S]; they are marked as done. If a slot is missing or stands twice, all of them
 * become a rest: a row's product is made for all slots or none.
 */
static bool take_slots(const fl_graph *g, fl_pieces *pieces, uint32_t first, bool *done, int64_t *at)
{
    const fl_piece head = pieces->list[first];
    int64_t slots = n_slots(g, head.index), found = 0;
    bool once = true;
    for (int64_t s = 0; s < slots; s++)
        at[s] = -1;
    for (uint32_t i = first; i < pieces->n; i++) {
        const fl_piece *p = &pieces->list[i];
        if (p->kind != FL_PIECE_LOOK_UP || p->table != head.table || p->index != head.index)
            continue;
        done[i] = true;
        once = once && at[p->column] < 0;
        found += at[p->column] < 0;
        at[p->column] = p->at;
    }
    for (uint32_t i = first; (!once || found != slots) && i < pieces->n; i++)
        if (pieces->list[i].kind == FL_PIECE_LOOK_UP && pieces->list[i].table == head.table && pieces->list[i].index == head.index)
            pieces->list[i].kind = FL_PIECE_REST;
    return once && found == slots;
}

/* The rows of w that slots 0, 1, ... meet, one below the other. */
static fl_id rows_of_slots(distinct *d, fl_id w, const int64_t *at, int64_t slots, int64_t k)
{
    fl_id *part = fl_arena_new(&d->cx->scratch, fl_id, (size_t)slots);
    uint32_t n = 0;
    for (int64_t s = 0; part && s < slots;) {
        int64_t next = s + 1;
        while (next < slots && at[next] == at[next - 1] + k)
            next++;
        part[n++] = fl_build_rows(d->g, w, at[s], k * (next - s));
        s = next;
    }
    return n == 0 ? FL_NONE : n == 1 ? part[0] : fl_build_concat(d->g, "w_slots", part, n, 0);
}

/* The product of distinct rows, looked up: rows e of the places `inverse`, all slots. */
static fl_id product_of_rows(distinct *d, fl_id e, fl_id inverse, fl_id w)
{
    fl_graph *g = d->g;
    fl_id unique = fl_value_node(g, inverse);
    int64_t slots = n_slots(g, inverse);
    fl_id product = fl_build_n(g, FL_OP_SLOT_LINEAR, "p_distinct", (fl_id[]){e, fl_node_out(g, unique, 2), w}, 3);
    if (fl_value_type(g, inverse)->rank == 1)
        return fl_build_2(g, FL_OP_GATHER, "p_row", product, inverse);
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "p_pool", (fl_id[]){product, inverse}, 2, 1);
    fl_node_set_ints(g, pool, "fields", &slots, 1);
    fl_build_infer(g, pool);
    return fl_node_out(g, pool, 0);
}

static fl_id plus(fl_graph *g, fl_id sum, fl_id y)
{
    return sum == FL_NONE ? y : fl_build_2(g, FL_OP_ADD, "sum", sum, y);
}

static fl_status product_on_rows(distinct *d, fl_rewriter *r, fl_id node)
{
    fl_graph *g = d->g;
    const fl_node n = g->nodes[node];
    fl_pieces pieces;
    if (!fl_is_plain_product(g, node) || fl_value_type(g, n.in[0])->rank != 2)
        return FL_OK;
    fl_id w = n.in[1], sum = FL_NONE, x_rest, w_rest;
    const fl_type *tw = fl_value_type(g, w);
    if (tw->rank != 2 || tw->dtype != FL_FLOAT || FL_DIM_IS_SYM(tw->dims[0]) || FL_DIM_IS_SYM(tw->dims[1]))
        return FL_OK;
    fl_columns columns = {.g = g, .scratch = &d->cx->scratch, .fits = is_distinct_look_up};
    if (!fl_columns_of(&columns, n.in[0], &pieces))
        return d->cx->scratch.failed ? fl_out_of_memory(d->cx->diag) : FL_OK;
    bool *done = fl_arena_new(&d->cx->scratch, bool, pieces.n + 1);
    int64_t *at = fl_arena_new(&d->cx->scratch, int64_t, (size_t)tw->dims[0] + 1);
    if (!done || !at)
        return fl_out_of_memory(d->cx->diag);
    for (uint32_t i = 0; i < pieces.n; i++) {
        const fl_piece p = pieces.list[i];
        if (p.kind != FL_PIECE_LOOK_UP || done[i] || n_slots(g, p.index) > tw->dims[0] || !take_slots(g, &pieces, i, done, at))
            continue;
        sum = plus(g, sum, product_of_rows(d, p.table, p.index, rows_of_slots(d, w, at, n_slots(g, p.index), p.n)));
    }
    if (sum == FL_NONE)
        return FL_OK;
    for (uint32_t i = 0; i < pieces.n; i++)
        if (pieces.list[i].kind == FL_PIECE_LOOK_UP && !done[i])
            pieces.list[i].kind = FL_PIECE_REST;
    fl_pieces_join_rests(&pieces);
    fl_build_rest(g, &pieces, w, &d->cx->scratch, &x_rest, &w_rest);
    if (x_rest != FL_NONE)
        sum = plus(g, sum, fl_build_2(g, FL_OP_MATMUL, "p_rest", x_rest, w_rest));
    if (n.n_in > 2 && n.in[2] != FL_NONE)
        sum = plus(g, sum, n.in[2]);
    FL_TRY(fl_graph_ok(g, d->cx->diag));
    d->cx->n_changed += fl_rewriter_put(r, n.out[0], sum);
    return FL_OK;
}

fl_status fl_pass_distinct_rows(fl_graph *g, fl_pass_ctx *cx)
{
    distinct d = {.g = g, .cx = cx, .n_values = g->n_values};
    d.trained = fl_find_trained(g, &cx->scratch);
    d.unique = fl_arena_new(&cx->scratch, fl_id, g->n_values + 1);
    if (!d.trained || !d.unique)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        d.unique[v] = FL_NONE;
    uint32_t n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op != FL_OP_NOP && n->n_in > 0 && n->in[0] != FL_NONE)
            look_up_once(&d, i);
    }
    FL_TRY(fl_graph_ok(g, cx->diag));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter r;
    if (!fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++)
        FL_TRY(product_on_rows(&d, &r, i));
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased = 0;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
