/*
 * fold_tables.c -- in prediction the first product is a constant of each row: look the products up instead of the rows.
 *
 *   Linear(Reshape(Gather(t, i)), w, b)  ->  act(FieldPool(TableLinear(t, first, w), i) + b)
 *   MatMul(Reshape(Gather(t, i)), w)     ->  FieldPool(TableLinear(t, first, w), i)
 *
 * `Gather(t, i) w = Gather(t w, i)`, column by column of the index, where each column has rows of its own (metadata
 * `ai.flen.disjoint`); `first` is the variable "bound.INPUT.first_row", which the session knows. TableLinear depends on weights alone and moves into the
 * prologue. Other tables of the same rows are copied beside its result (Add(t, 0), which moves along), so that the session can keep
 * all that belongs to a row in one record.
 *
 * Needs ORDER and SHAPES, keeps SHAPES. O(nodes). Costs memory: [rows, H] floats for each product.
 */
#include "passes/rewrite.h"

#include <string.h>

/* The look-up behind `x`, if it is one of a variable by columns of an input that own their rows; FL_NONE if not. */
static fl_id foldable_look_up(const fl_graph *g, fl_id x, fl_arena *scratch)
{
    fl_id gather = fl_flat_look_up(g, x);
    if (gather == FL_NONE)
        return FL_NONE;
    fl_id table = g->nodes[gather].in[0], index = g->nodes[gather].in[1];
    const fl_type *i = fl_value_type(g, index);
    bool fits = g->values[table].kind == FL_VALUE_VARIABLE && g->values[index].kind == FL_VALUE_INPUT && i->rank == 2 && i->dims[1] > 0;
    return fits && fl_index_is_disjoint(g, index, scratch) ? gather : FL_NONE;
}

static fl_id first_rows(fl_graph *g, fl_id index)
{
    const char *name = fl_arena_printf(&g->arena, "bound.%s.first_row", g->values[index].name);
    fl_id v = name ? fl_graph_find(g, name) : FL_NONE;
    if (v != FL_NONE || !name)
        return v;
    return fl_graph_variable(g, name, fl_type_make(FL_INT64, 1, (fl_dim[]){fl_value_type(g, index)->dims[1]}));
}

static fl_status fold(fl_graph *g, fl_pass_ctx *cx, fl_rewriter *r, fl_id node, bool *folded)
{
    const fl_node n = g->nodes[node];
    if (n.op != FL_OP_LINEAR && n.op != FL_OP_MATMUL)
        return FL_OK;
    fl_id gather = foldable_look_up(g, n.in[0], &cx->scratch), w = n.in[1];
    if (gather == FL_NONE || g->values[w].kind != FL_VALUE_VARIABLE || !fl_type_is_static(fl_value_type(g, w)) || fl_value_type(g, w)->rank != 2)
        return FL_OK;
    fl_id table = g->nodes[gather].in[0], index = g->nodes[gather].in[1];
    int64_t slots = fl_value_type(g, index)->dims[1];
    const char *name = fl_arena_printf(&cx->scratch, "%s.folded", g->values[w].name);
    fl_id product = fl_build_n(g, FL_OP_TABLE_LINEAR, name ? name : "folded", (fl_id[]){table, first_rows(g, index), w}, 3);
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "folded_pool", (fl_id[]){product, index}, 2, 1);
    fl_node_set_ints(g, pool, "fields", &slots, 1);
    fl_build_infer(g, pool);
    fl_id y = fl_node_out(g, pool, 0);
    if (n.op == FL_OP_LINEAR && n.n_in > 2 && n.in[2] != FL_NONE)
        y = fl_build_2(g, FL_OP_ADD, "folded_sum", y, n.in[2]);
    if (n.op == FL_OP_LINEAR && strcmp(fl_node_string(g, node, "activation", "none"), "relu") == 0)
        y = fl_build_1(g, FL_OP_RELU, "folded_relu", y);
    FL_TRY(fl_graph_ok(g, cx->diag));
    if (fl_rewriter_put(r, n.out[0], y)) {
        cx->n_changed++;
        folded[index] = true;
    }
    return FL_OK;
}

/* Tables that are still looked up by a folded index become copies, which stand beside the folded rows. */
static void copy_tables(fl_graph *g, const bool *folded, fl_id *copy)
{
    uint32_t n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++) {
        const fl_node n = g->nodes[i];
        if ((n.op != FL_OP_GATHER && n.op != FL_OP_FIELD_POOL) || g->values[n.in[0]].kind != FL_VALUE_VARIABLE || !folded[n.in[1]])
            continue;
        fl_id table = n.in[0];
        if (copy[table] == FL_NONE) {
            copy[table] = fl_build_2(g, FL_OP_ADD, g->values[table].name, table, fl_build_scalar(g, "zero", 0));
            if (copy[table] == FL_NONE)
                return;
        }
        g->nodes[i].in[0] = copy[table];
    }
}

fl_status fl_pass_fold_tables(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    uint32_t n_nodes = g->n_nodes, n_values = g->n_values;
    bool *folded = fl_arena_new(&cx->scratch, bool, n_values + 1);
    fl_id *copy = fl_arena_new(&cx->scratch, fl_id, n_values + 1);
    if (!folded || !copy || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < n_values; v++)
        copy[v] = FL_NONE;
    for (fl_id i = 0; i < n_nodes; i++)
        FL_TRY(fold(g, cx, &r, i, folded));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    uint32_t erased = 0;
    FL_TRY(fl_graph_sort(g, cx->diag));
    if (!fl_erase_dead(g, &cx->scratch, &erased))
        return fl_out_of_memory(cx->diag);
    copy_tables(g, folded, copy);
    FL_TRY(fl_graph_ok(g, cx->diag));
    return fl_graph_sort(g, cx->diag);
}
