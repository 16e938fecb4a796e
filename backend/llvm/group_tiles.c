/*
 * group_tiles.c -- TileSums in the loop nest that makes what they sum: a tile is the rows of one call, so its sums are registers that go round the loop over them.
 */
#include "backend/llvm/group.h"

bool l_is_tile_sum(const fl_gen *gen, fl_id node)
{
    return gen->g->nodes[node].op == FL_OP_TILE_SUM;
}

unsigned l_tile_registers(const fl_gen *gen, fl_id node)
{
    const fl_type *t = fl_value_type(gen->g, gen->g->nodes[node].out[0]);
    bool few = t->rank == 2 && t->dtype == FL_FLOAT && !FL_DIM_IS_SYM(t->dims[1]) && t->dims[1] % L_LANES == 0 && t->dims[1] > 0 && t->dims[1] <= TILE_CHUNKS * L_LANES;

    if (!few || gen->segment->domain != FL_DOMAIN_ROWS || t->dims[0] != gen->row_dim || !gen->sparse[gen->g->nodes[node].out[0]])
        return 0;
    return (unsigned)t->dims[1] / gen->register_lanes;
}

/* Chunks of a row stand one behind the other in such groups, so that each has its number now. */
void l_add_to_tile(group *grp, uint32_t member, LLVMValueRef v_j, LLVMValueRef v)
{
    LLVMValueRef *v_sum = &grp->v_tile[member][LLVMConstIntGetSExtValue(v_j) / L_LANES];

    *v_sum = LLVMBuildFAdd(grp->gen->b, *v_sum, v, "");
}

void l_over_tiles(group *grp, l_loop *loop, l_tile_step step)
{
    fl_gen *gen = grp->gen;
    unsigned carried = 0;

    for (uint32_t k = 0; grp->tile_registers > 0 && k < grp->n; k++) {
        if (!l_is_tile_sum(gen, grp->members[k]))
            continue;
        for (int64_t c = 0; c < grp->extent[grp->rank - 1] / L_LANES; c++, carried++) {
            if (step == L_BEGIN_TILES)
                grp->v_tile[k][c] = l_carry(gen, loop, LLVMConstNull(l_vector(gen->f32, L_LANES)));
            else if (step == L_NEXT_ROW)
                l_next(loop, carried, grp->v_tile[k][c]);
            else
                l_store(gen, FL_FLOAT, loop->v_result[carried],
                        l_element_address(gen, gen->g->nodes[grp->members[k]].out[0], grp->v_from[0], l_i64(gen, c * L_LANES)));
        }
    }
}
