/*
 * group_lanes.c -- elements that lie apart in memory, one in each row of a table or record, computed sixteen at a time.
 *
 *     for i in steps of 16:   each lane loads from its own address;  one vector of each member;  each lane stores to its own address
 *
 * So it is for the state of a linear term's weights: one row after another, the unit that divides and takes roots is busy with a lane at a time (a step of FLEN with a
 * linear term, batch 512: 4.4 us of 330 there, 2.2 here). Lanes have the bits that single elements have.
 */
#include "backend/llvm/group.h"

/* Are there roots or quotients, which a vector has at the price of two numbers? The rest costs less than bringing lanes together. */
static bool is_dear(fl_op op)
{
    return op == FL_OP_SQRT || op == FL_OP_DIV || op == FL_OP_EXP || op == FL_OP_LOG || op == FL_OP_SIGMOID || op == FL_OP_TANH || op == FL_OP_SOFTPLUS || op == FL_OP_POW;
}

/* Distinct rows, under whatever shape: no lane reads what another writes. */
static bool are_distinct(const fl_graph *g, fl_id index)
{
    for (fl_id node = fl_value_node(g, index); node != FL_NONE && fl_op_has(g->nodes[node].op, FL_VIEW); node = fl_value_node(g, index))
        index = g->nodes[node].in[0];
    return l_is_place(g, index) && g->nodes[fl_value_node(g, index)].out[0] == index;
}

bool l_goes_by_lanes(const group *grp)
{
    const fl_graph *g = grp->gen->g;
    bool dear = false;

    if (!grp->by_one || grp->tile_registers > 0)
        return false;
    for (uint32_t k = 0; k < grp->n; k++) {
        const fl_node *n = &g->nodes[grp->members[k]];

        dear = dear || is_dear(n->op);
        if (n->op == FL_OP_RANDOM_MASK || n->op == FL_OP_REDUCE_SUM || (n->op == FL_OP_SCATTER_ND && !are_distinct(g, n->in[1])))
            return false;
    }
    return dear;
}

/* Does the access go from one element of the innermost dimension to its neighbour in memory? */
static bool is_dense(const group *grp, const access *a)
{
    const stride *s = &a->by[grp->rank - 1];

    return a->index < 0 && s->v == NULL && s->s == 1;
}

typedef enum part { LOADS, STORES } part;

/* What lane `lane` has for itself: l_enter_level has set its addresses, and loaded its numbers. */
static void one_lane(group *grp, part what, unsigned lane, const LLVMValueRef *v_results)
{
    fl_gen *gen = grp->gen;
    int last = grp->rank - 1;

    for (int i = 0; what == LOADS && i < grp->n_accesses; i++) {
        access *a = &grp->accesses[i];

        if (a->store || a->is_index || a->level != last)
            continue;
        if (!is_dense(grp, a))
            a->v_chunk = LLVMBuildInsertElement(gen->b, a->v_chunk, a->v_scalar, l_i64(gen, lane), "");
        else if (lane == 0)
            a->v_chunk = l_load(gen, a->dtype, a->v_at, L_LANES);
    }
    for (uint32_t k = 0; what == STORES && k < grp->n; k++) {
        const access *a = grp->result[k] < 0 ? NULL : &grp->accesses[grp->result[k]];

        if (a == NULL || (is_dense(grp, a) && lane > 0))
            continue;
        l_store(gen, a->dtype, is_dense(grp, a) ? v_results[k] : LLVMBuildExtractElement(gen->b, v_results[k], l_i64(gen, lane), ""), a->v_at);
    }
}

/* Lane by lane. Addresses are computed again for stores: to keep those of sixteen lanes takes more registers than there are. */
static void all_lanes(group *grp, part what, LLVMValueRef v_i, const LLVMValueRef *v_results)
{
    LLVMValueRef v_at[MAX_ACCESS], v_scalar[MAX_ACCESS];

    for (int i = 0; i < grp->n_accesses; i++) {
        v_at[i] = grp->accesses[i].v_at;
        v_scalar[i] = grp->accesses[i].v_scalar;
    }
    for (unsigned lane = 0; lane < L_LANES; lane++) {
        l_enter_level(grp, grp->rank - 1, l_add(grp->gen, v_i, l_i64(grp->gen, lane)));
        one_lane(grp, what, lane, v_results);
        for (int i = 0; i < grp->n_accesses; i++) {
            grp->accesses[i].v_at = v_at[i];
            grp->accesses[i].v_scalar = v_scalar[i];
        }
    }
}

LLVMValueRef l_emit_lanes(group *grp, LLVMValueRef v_from, LLVMValueRef v_to)
{
    fl_gen *gen = grp->gen;
    LLVMValueRef v_results[FL_GROUP_MAX];
    LLVMValueRef v_end = LLVMBuildAnd(gen->b, LLVMBuildSub(gen->b, v_to, v_from, ""), l_i64(gen, -L_LANES), "");
    l_loop loop;

    v_end = l_add(gen, v_from, v_end);
    l_loop_begin(gen, &loop, v_from, v_end, L_LANES);
    for (int i = 0; i < grp->n_accesses; i++) {
        access *a = &grp->accesses[i];

        a->v_chunk = a->v_scalar;
        if (!a->store && !a->is_index && a->level == grp->rank - 1)
            a->v_chunk = LLVMGetUndef(l_vector(l_type(gen, a->dtype), L_LANES));
        else if (!a->store && !a->is_index && a->v_base != NULL)
            a->v_chunk = l_splat(gen, a->v_scalar, L_LANES);
    }
    all_lanes(grp, LOADS, loop.v_i, NULL);
    l_emit_members(grp, l_i64(gen, 0), L_LANES, v_results);
    all_lanes(grp, STORES, loop.v_i, v_results);
    l_loop_end(gen, &loop);
    return v_end;
}
