/*
 * emit_table_linear.c -- each row of a table times the weights of the column that owns it.
 *
 *     zero rows [from, to) that no column owns
 *     for each column s
 *         next = the smallest of first[] that is larger than first[s], or the number of rows
 *         out[rows] = table[rows] w[s K .. (s + 1) K]     rows = [from, to) within [first[s], next): one product
 *
 * first[] need not ascend. Rows of a call are few (a tile), columns too: looking for `next` costs next to nothing beside the product.
 */
#include "backend/llvm/emit.h"

static LLVMValueRef smaller(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, a, b, ""), a, b, "");
}

static LLVMValueRef larger(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSGT, a, b, ""), a, b, "");
}

static LLVMValueRef first_row(fl_gen *gen, fl_id first, LLVMValueRef v_slot)
{
    return l_load(gen, FL_INT64, l_at(gen, FL_INT64, l_place_of(gen, first)->v_base, v_slot), 1);
}

/* The smallest first row above v_above (all of them if NULL), or v_rows. */
static LLVMValueRef next_first(fl_gen *gen, fl_id first, int64_t slots, LLVMValueRef v_above, LLVMValueRef v_rows)
{
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, slots), 1);
    LLVMValueRef v_least = l_carry(gen, &loop, v_rows), v = first_row(gen, first, loop.v_i), v_smaller = smaller(gen, v, v_least);
    if (v_above)
        v_smaller = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSGT, v, v_above, ""), v_smaller, v_least, "");
    l_next(&loop, 0, v_smaller);
    l_loop_end(gen, &loop);
    return loop.v_result[0];
}

/* Rows before the first column's. */
static void zero_rows(fl_gen *gen, fl_id out, LLVMValueRef v_from, LLVMValueRef v_to)
{
    const l_place *to = l_place_of(gen, out);
    l_loop rows, columns;

    l_loop_begin(gen, &rows, v_from, v_to, 1);
    LLVMValueRef v_row = l_at(gen, FL_FLOAT, to->v_base, l_mul(gen, rows.v_i, to->v_row_stride));
    l_loop_begin(gen, &columns, l_i64(gen, 0), l_i64(gen, l_row_elements(fl_value_type(gen->g, out))), 1);
    l_store(gen, FL_FLOAT, LLVMConstReal(l_type(gen, FL_FLOAT), 0.0), l_at(gen, FL_FLOAT, v_row, columns.v_i));
    l_loop_end(gen, &columns);
    l_loop_end(gen, &rows);
}

void fl_emit_table_linear(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *x = fl_value_type(gen->g, n->in[0]), *w = fl_value_type(gen->g, n->in[2]), *f = fl_value_type(gen->g, n->in[1]);
    LLVMValueRef v_from, v_to, v_rows = l_extent(gen, x->dims[0]);
    l_loop loop;

    if (x->dtype != FL_FLOAT || w->dtype != FL_FLOAT || l_row_elements(x) <= 0 || l_row_elements(w) <= 0 || FL_DIM_IS_SYM(f->dims[0])) {
        l_unsupported(gen, node, "it has code for floats of static width only");
        return;
    }
    const l_place *a = l_place_of(gen, n->in[0]), *b = l_place_of(gen, n->in[2]), *c = l_place_of(gen, n->out[0]);
    (void)l_place_of(gen, n->in[1]);
    l_rows(gen, x->dims[0], &v_from, &v_to);
    zero_rows(gen, n->out[0], v_from, smaller(gen, v_to, next_first(gen, n->in[1], f->dims[0], NULL, v_rows)));
    l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, f->dims[0]), 1);
    LLVMValueRef v_first = first_row(gen, n->in[1], loop.v_i), v_next = next_first(gen, n->in[1], f->dims[0], v_first, v_rows);
    l_product p = {.alpha = 1.0, .v_m_from = larger(gen, v_from, v_first), .v_m_to = smaller(gen, v_to, v_next)};
    l_if any;
    p.n = l_row_elements(w);
    p.v_k = l_i64(gen, l_row_elements(x));
    p.v_a = a->v_base;
    p.v_a_row = a->v_row_stride;
    p.v_a_k = l_i64(gen, 1);
    p.v_b = l_element_address(gen, n->in[2], l_mul(gen, loop.v_i, p.v_k), l_i64(gen, 0));
    p.v_b_k = b->v_row_stride;
    p.v_c = c->v_base;
    p.v_c_row = c->v_row_stride;
    l_if_begin(gen, &any, LLVMBuildICmp(gen->b, LLVMIntSLT, p.v_m_from, p.v_m_to, ""));
    l_emit_product(gen, &p);
    l_if_end(gen, &any);
    l_loop_end(gen, &loop);
}
