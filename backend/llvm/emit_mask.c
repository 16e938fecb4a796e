/*
 * emit_mask.c -- RandomMask: fl_random_mask of ir/base/rng.h, bit for bit, L_LANES units at a time.
 */
#include "backend/llvm/emit.h"
#include "ir/base/rng.h"

static LLVMValueRef shift_xor(fl_gen *gen, LLVMValueRef x, unsigned bits)
{
    return LLVMBuildXor(gen->b, x, LLVMBuildLShr(gen->b, x, l_integer(LLVMTypeOf(x), bits), ""), "");
}

static LLVMValueRef times(fl_gen *gen, LLVMValueRef x, uint64_t factor)
{
    return LLVMBuildMul(gen->b, x, l_integer(LLVMTypeOf(x), factor), "");
}

/* fl_mix64 */
static LLVMValueRef mix64(fl_gen *gen, LLVMValueRef x)
{
    x = times(gen, shift_xor(gen, x, 30), 0xbf58476d1ce4e5b9u);
    x = times(gen, shift_xor(gen, x, 27), 0x94d049bb133111ebu);
    return shift_xor(gen, x, 31);
}

/* fl_mask_key(seed, step, key): once a call */
LLVMValueRef l_mask_key(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    LLVMValueRef v_step = l_scalar(gen, n->in[1]), v_seed = l_scalar(gen, n->in[2]);
    LLVMValueRef v = times(gen, v_step, 0x9e3779b97f4a7c15u);

    v = LLVMBuildAdd(gen->b, v, l_i64(gen, fl_node_int(gen->g, node, "key", 0)), "");
    return mix64(gen, LLVMBuildAdd(gen->b, v_seed, mix64(gen, v), ""));
}

/* fl_mask_row_key: once a row */
LLVMValueRef l_mask_row_key(fl_gen *gen, LLVMValueRef v_key, LLVMValueRef v_row)
{
    return mix64(gen, LLVMBuildAdd(gen->b, v_key, times(gen, v_row, 0x9e3779b97f4a7c15u), ""));
}

/*
 * u = unit + lane; pair = u < half ? u : u - half
 * h = fl_mask_word(row_key, pair); bits = u < half ? h & 0xffff : h >> 16
 * result = bits >= threshold ? 1 : 0
 */
LLVMValueRef fl_element_random_mask(fl_gen *gen, const l_chunk_of *e)
{
    fl_id node = (fl_id)(e->node - gen->g->nodes);
    LLVMBuilderRef b = gen->b;
    LLVMTypeRef t = l_vector(gen->i32, e->width), tf = l_vector(gen->f32, e->width);
    LLVMValueRef lanes[L_LANES], v_unit, v_half, v_first, v_pair, v_h, v_k0, v_k1, v_keep;

    for (unsigned i = 0; i < e->width; i++)
        lanes[i] = l_i32(gen, i);
    v_unit = l_splat(gen, LLVMBuildTrunc(b, e->v_unit, gen->i32, ""), e->width);
    v_unit = LLVMBuildAdd(b, v_unit, e->width == 1 ? lanes[0] : LLVMConstVector(lanes, e->width), "");
    v_half = l_integer(t, (uint64_t)((e->units + 1) / 2));
    v_first = LLVMBuildICmp(b, LLVMIntULT, v_unit, v_half, "");
    v_pair = LLVMBuildSelect(b, v_first, v_unit, LLVMBuildSub(b, v_unit, v_half, ""), "");
    v_k0 = l_splat(gen, LLVMBuildTrunc(b, e->v_row_key, gen->i32, ""), e->width);
    v_k1 = LLVMBuildTrunc(b, LLVMBuildLShr(b, e->v_row_key, l_i64(gen, 32), ""), gen->i32, "");
    v_k1 = l_splat(gen, v_k1, e->width);
    v_h = LLVMBuildAdd(b, times(gen, v_pair, 0x9e3779b9u), v_k0, "");
    v_h = times(gen, shift_xor(gen, v_h, 16), 0x7feb352du);
    v_h = LLVMBuildXor(b, shift_xor(gen, v_h, 15), v_k1, "");
    v_h = shift_xor(gen, times(gen, v_h, 0x846ca68bu), 16);
    v_h = LLVMBuildSelect(b, v_first, LLVMBuildAnd(b, v_h, l_integer(t, 0xffff), ""),
                          LLVMBuildLShr(b, v_h, l_integer(t, 16), ""), "");
    v_keep = LLVMBuildICmp(b, LLVMIntUGE, v_h,
                           l_integer(t, fl_mask_threshold(fl_node_float(gen->g, node, "rate", 0.0))), "");
    return LLVMBuildSelect(b, v_keep, l_number(tf, 1.0), l_number(tf, 0.0), "");
}
