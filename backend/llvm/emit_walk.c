#include "backend/llvm/emit_walk.h"

fl_id l_walk_operand(const l_walk *e, uint32_t k)
{
    return e->gen->g->nodes[e->node].in[k];
}

LLVMValueRef l_walk_address(const l_walk *e, fl_id value, const LLVMValueRef *v_at)
{
    fl_gen *gen = e->gen;
    LLVMValueRef v = l_i64(gen, 0);

    for (int d = 0; d < fl_value_type(gen->g, value)->rank; d++)
        v = l_add(gen, v, l_mul(gen, v_at[d], l_stride(gen, value, d)));
    return l_at(gen, fl_value_type(gen->g, value)->dtype, l_place_of(gen, value)->v_base, v);
}

LLVMValueRef l_walk_load(const l_walk *e, fl_id value, const LLVMValueRef *v_at)
{
    return l_load(e->gen, fl_value_type(e->gen->g, value)->dtype, l_walk_address(e, value, v_at), 1);
}

void l_walk_store(const l_walk *e, LLVMValueRef v)
{
    fl_id out = e->gen->g->nodes[e->node].out[0];

    l_store(e->gen, fl_value_type(e->gen->g, out)->dtype, v, l_walk_address(e, out, e->v_at));
}

static void walk(l_walk *e, int d, l_walk_rule *rule)
{
    l_loop loop;
    LLVMValueRef v_from = l_i64(e->gen, 0), v_to;

    if (d == e->out->rank) {
        rule(e);
        return;
    }
    if (d == e->skipped) {
        e->v_at[d] = v_from;
        walk(e, d + 1, rule);
        return;
    }
    v_to = l_extent(e->gen, e->out->dims[d]);
    if (d == 0)
        l_rows(e->gen, e->out->dims[0], &v_from, &v_to);
    l_loop_begin(e->gen, &loop, v_from, v_to, 1);
    e->v_at[d] = loop.v_i;
    walk(e, d + 1, rule);
    l_loop_end(e->gen, &loop);
}

void l_walk_elements(fl_gen *gen, fl_id node, int skipped, l_walk_rule *rule)
{
    const fl_node *n = &gen->g->nodes[node];
    fl_id out = n->out[0] == FL_NONE && n->n_out > 1 ? n->out[1] : n->out[0];
    l_walk e = {.gen = gen, .node = node, .out = fl_value_type(gen->g, out), .skipped = skipped};

    walk(&e, 0, rule);
}

void l_walk_over(fl_gen *gen, fl_id node, fl_id value, l_walk_rule *rule)
{
    l_walk e = {.gen = gen, .node = node, .out = fl_value_type(gen->g, value), .skipped = -1};

    walk(&e, 0, rule);
}

LLVMValueRef l_held_index(fl_gen *gen, LLVMValueRef v, LLVMValueRef v_n)
{
    LLVMValueRef v_last = LLVMBuildSub(gen->b, v_n, l_i64(gen, 1), "");

    v = LLVMBuildSExt(gen->b, v, gen->i64, "");
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v, l_i64(gen, 0), ""), LLVMBuildAdd(gen->b, v, v_n, ""), v, "");
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntULT, v, v_n, ""), v, v_last, "");
}
