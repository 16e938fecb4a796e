/*
 * emit_dot_interaction.c -- dot products of pairs of a row's vectors.
 *
 * The pairs are taken from x xT, of which only the lower half is made, since a pair is the same both ways: blocks of 16 rows by the columns that pairs
 * of them need. The order of terms is that of every product (emit_product.c).
 */
#include "backend/llvm/emit.h"

typedef struct dots {
    fl_gen *gen;
    int64_t vectors, width;
    const int64_t *first, *second;
    uint32_t n;
    LLVMValueRef v_products; /* [vectors][vectors] on the stack */
} dots;

static int64_t larger(const dots *d, uint32_t p)
{
    return d->first[p] > d->second[p] ? d->first[p] : d->second[p];
}

static int64_t smaller(const dots *d, uint32_t p)
{
    return d->first[p] > d->second[p] ? d->second[p] : d->first[p];
}

/* Rows [row, row + L_LANES) of x xT, as many columns of them as pairs need. */
static void multiply_block(const dots *d, fl_id x, LLVMValueRef v_x, int64_t row)
{
    fl_gen *gen = d->gen;
    int64_t end = row + L_LANES < d->vectors ? row + L_LANES : d->vectors, from = INT64_MAX, to = 0;

    for (uint32_t p = 0; p < d->n; p++)
        if (larger(d, p) >= row && larger(d, p) < end) {
            from = smaller(d, p) < from ? smaller(d, p) : from;
            to = smaller(d, p) >= to ? smaller(d, p) + 1 : to;
        }
    if (to == 0)
        return;
    from = from / L_LANES * L_LANES;
    l_product p = {.alpha = 1.0, .v_m_from = l_i64(gen, row), .v_m_to = l_i64(gen, end), .n = to - from, .v_k = l_i64(gen, d->width)};
    p.v_a = v_x;
    p.v_a_row = l_stride(gen, x, 1);
    p.v_a_k = l_i64(gen, 1);
    p.v_b = l_at(gen, FL_FLOAT, v_x, l_mul(gen, l_i64(gen, from), p.v_a_row));
    p.v_b_k = p.v_a_row;
    p.transposed = true;
    p.v_c = l_at(gen, FL_FLOAT, d->v_products, l_i64(gen, from));
    p.v_c_row = l_i64(gen, d->vectors);
    l_emit_product(gen, &p);
}

/* Pairs that stand side by side in the products, as their results do, are copied together. */
static void pick_pairs(const dots *d, LLVMValueRef v_out)
{
    fl_gen *gen = d->gen;

    for (uint32_t p = 0; p < d->n;) {
        int64_t at = larger(d, p) * d->vectors + smaller(d, p), run = 1;

        while (p + run < d->n && larger(d, p + (uint32_t)run) * d->vectors + smaller(d, p + (uint32_t)run) == at + run)
            run++;
        for (int64_t k = 0; k < run;) {
            unsigned w = l_chunk(run - k);

            l_store(gen, FL_FLOAT, l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, d->v_products, l_i64(gen, at + k)), w),
                    l_at(gen, FL_FLOAT, v_out, l_i64(gen, p + k)));
            k += w;
        }
        p += (uint32_t)run;
        if (p % L_LANES == 0)
            l_break_block(gen);
    }
}

/*
 * DotInteraction:
 * for row: z = x[row] x[row]T, lower half; for pair p: y[row, p] = z[larger of p, smaller of p]
 */
void fl_emit_dot_interaction(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_attr *first = fl_node_attr(gen->g, node, "first"), *second = fl_node_attr(gen->g, node, "second");
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    dots d = {.gen = gen};
    LLVMValueRef v_from, v_to;
    l_loop row;

    if (t->rank != 3 || t->dtype != FL_FLOAT || FL_DIM_IS_SYM(t->dims[1]) || FL_DIM_IS_SYM(t->dims[2]) || t->dims[1] > FL_DOT_VECTORS) {
        l_unsupported(gen, node, "it has code for up to 128 vectors of floats of static width");
        return;
    }
    d.vectors = t->dims[1];
    d.width = t->dims[2];
    d.first = first->as.ints;
    d.second = second->as.ints;
    d.n = first->n;
    d.v_products = LLVMBuildAlloca(gen->entry, LLVMArrayType2(gen->f32, (uint64_t)(d.vectors * d.vectors)), "products");
    l_rows(gen, t->dims[0], &v_from, &v_to);
    l_loop_begin(gen, &row, v_from, v_to, 1);
    for (int64_t block = 0; block < d.vectors; block += L_LANES)
        multiply_block(&d, n->in[0], l_element_address(gen, n->in[0], row.v_i, l_i64(gen, 0)), block);
    pick_pairs(&d, l_element_address(gen, n->out[0], row.v_i, l_i64(gen, 0)));
    l_loop_end(gen, &row);
}
