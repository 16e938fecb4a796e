/*
 * emit_slot_linear.c -- products of a slot's distinct rows with the slot's own weights.
 *
 * The matrices of a slot are ranges of rows of the operands', so each is one product of emit_product.c, whose
 * number of rows (or of terms, for the weights' gradient) is known at run time only. All of it is one call's,
 * and terms are added in the order of the places: bits do not depend on threads.
 */
#include "backend/llvm/emit.h"

/* Of the current slot: address of row slot * rows of a value that has `rows` rows for each slot. */
static LLVMValueRef slot_part(fl_gen *gen, fl_id value, int64_t rows)
{
    return l_element_address(gen, value, l_mul(gen, gen->v_slot, l_i64(gen, rows)), l_i64(gen, 0));
}

/* Slots of `count`; 0, with a report, if the node is not what there is code for: float, a count of the
 * segment's own slots. */
static int64_t slots_of(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *x = fl_value_type(gen->g, n->in[0]), *w = fl_value_type(gen->g, n->in[2]);

    if (gen->segment->domain == FL_DOMAIN_SLOTS && gen->segment->count == n->in[1] && x->dtype == FL_FLOAT &&
        w->dtype == FL_FLOAT && l_row_elements(x) > 0 && l_row_elements(w) > 0)
        return fl_value_type(gen->g, n->in[1])->dims[0];
    l_unsupported(gen, node, "it has code for rows of float of static width, slot by slot");
    return 0;
}

/*
 * SlotLinear:          out[rows of s] = e[rows of s] w[s K .. (s + 1) K]
 * SlotLinear, transposed: out[rows of s] = g[rows of s] (w[s K .. (s + 1) K])'
 */
void l_emit_slot_linear(fl_gen *gen, fl_id node, l_company *company)
{
    const fl_node *n = &gen->g->nodes[node];
    const l_place *x, *w, *out;
    int64_t slots = slots_of(gen, node), rows;
    l_product p = {.alpha = 1.0, .transposed = fl_node_int(gen->g, node, "transposed", 0) != 0};

    if (slots == 0)
        return;
    x = l_place_of(gen, n->in[0]);
    w = l_place_of(gen, n->in[2]);
    out = l_place_of(gen, n->out[0]);
    rows = fl_value_type(gen->g, n->in[2])->dims[0] / slots;
    p.v_m_from = gen->v_row_from;
    p.v_m_to = gen->v_row_to;
    p.n = l_row_elements(fl_value_type(gen->g, n->out[0]));
    p.v_k = l_i64(gen, l_row_elements(fl_value_type(gen->g, n->in[0])));
    p.v_a = x->v_base;
    p.v_a_row = x->v_row_stride;
    p.v_a_k = l_i64(gen, 1);
    p.v_b = slot_part(gen, n->in[2], rows);
    p.v_b_k = w->v_row_stride;
    p.v_c = out->v_base;
    p.v_c_row = out->v_row_stride;
    p.company = company;
    p.v_company_row = l_i64(gen, 0);
    p.company_of_slot = true;
    l_emit_product(gen, &p);
}

void fl_emit_slot_linear(fl_gen *gen, fl_id node)
{
    l_emit_slot_linear(gen, node, NULL);
}

/* SlotLinearWeightGrad: out[s K .. (s + 1) K] = (e[rows of s])' g[rows of s] */
void l_emit_slot_linear_weight_grad(fl_gen *gen, fl_id node, l_company *company)
{
    const fl_node *n = &gen->g->nodes[node];
    const l_place *e, *g, *out;
    int64_t width;
    l_product p = {.alpha = 1.0};

    if (slots_of(gen, node) == 0)
        return;
    e = l_place_of(gen, n->in[0]);
    g = l_place_of(gen, n->in[2]);
    out = l_place_of(gen, n->out[0]);
    width = l_row_elements(fl_value_type(gen->g, n->in[0]));
    p.v_m_from = l_i64(gen, 0);
    p.v_m_to = l_i64(gen, width);
    p.n = l_row_elements(fl_value_type(gen->g, n->out[0]));
    p.v_k = LLVMBuildSub(gen->b, gen->v_row_to, gen->v_row_from, "");
    p.v_a = l_element_address(gen, n->in[0], gen->v_row_from, l_i64(gen, 0));
    p.v_a_row = l_i64(gen, 1);
    p.v_a_k = e->v_row_stride;
    p.v_b = l_element_address(gen, n->in[2], gen->v_row_from, l_i64(gen, 0));
    p.v_b_k = g->v_row_stride;
    p.v_c = slot_part(gen, n->out[0], width);
    p.v_c_row = out->v_row_stride;
    p.company = company;
    p.v_company_row = l_mul(gen, gen->v_slot, l_i64(gen, width));
    l_emit_product(gen, &p);
}

void fl_emit_slot_linear_weight_grad(fl_gen *gen, fl_id node)
{
    l_emit_slot_linear_weight_grad(gen, node, NULL);
}
