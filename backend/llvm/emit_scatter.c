/*
 * emit_scatter.c -- updates that an index names are written, or combined with what is there, one after the other: an index may name a place twice.
 * Their segment is one call (passes/segment.c). Whole distinct rows go through group.c instead.
 */
#include "backend/llvm/emit_walk.h"

#include <string.h>

static LLVMValueRef combined(fl_gen *gen, fl_id node, fl_dtype t, LLVMValueRef v_old, LLVMValueRef v)
{
    const char *how = fl_node_string(gen->g, node, "reduction", "none");
    bool real = t == FL_FLOAT || t == FL_DOUBLE;

    if (strcmp(how, "add") == 0)
        return real ? LLVMBuildFAdd(gen->b, v_old, v, "") : LLVMBuildAdd(gen->b, v_old, v, "");
    if (strcmp(how, "mul") == 0)
        return real ? LLVMBuildFMul(gen->b, v_old, v, "") : LLVMBuildMul(gen->b, v_old, v, "");
    if (strcmp(how, "max") == 0 || strcmp(how, "min") == 0)
        return l_extreme(gen, t, how[1] == 'a', v_old, v);
    return v;
}

/* out[v_to] = combined(out[v_to], update here) */
static void write_update(l_walk *e, const LLVMValueRef *v_to)
{
    fl_gen *gen = e->gen;
    fl_id out = gen->g->nodes[e->node].out[0];
    fl_dtype t = fl_value_type(gen->g, out)->dtype;
    LLVMValueRef v_at = l_walk_address(e, out, v_to), v = l_walk_load(e, l_walk_operand(e, 2), e->v_at);

    l_store(gen, t, combined(gen, e->node, t, l_load(gen, t, v_at, 1), v), v_at);
}

/* out[i.., but along the axis index[i..]] <- updates[i..] */
static void scatter_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *data = fl_value_type(gen->g, l_walk_operand(e, 0));
    int64_t axis = fl_node_int(gen->g, e->node, "axis", 0);
    LLVMValueRef v_to[FL_MAX_RANK];

    axis += axis < 0 ? data->rank : 0;
    for (int d = 0; d < data->rank; d++)
        v_to[d] = e->v_at[d];
    v_to[axis] = l_held_index(gen, l_walk_load(e, l_walk_operand(e, 1), e->v_at), l_extent(gen, data->dims[axis]));
    write_update(e, v_to);
}

static void copy_element(l_walk *e)
{
    l_walk_store(e, l_walk_load(e, l_walk_operand(e, 0), e->v_at));
}

/* out = data; then each update in the order of the index */
void fl_emit_scatter_elements(fl_gen *gen, fl_id node)
{
    l_walk_elements(gen, node, -1, copy_element);
    l_break_block(gen);
    l_walk_over(gen, node, gen->g->nodes[node].in[1], scatter_element);
}

/* data[index[i..], j..] <- updates[i.., j..], where the last dimension of the index holds coordinates */
static void scatter_nd_element(l_walk *e)
{
    fl_gen *gen = e->gen;
    const fl_type *data = fl_value_type(gen->g, l_walk_operand(e, 0)), *index = fl_value_type(gen->g, l_walk_operand(e, 1));
    int places = index->rank - 1, depth = (int)index->dims[places];
    LLVMValueRef v_index[FL_MAX_RANK], v_to[FL_MAX_RANK];

    for (int d = 0; d < places; d++)
        v_index[d] = e->v_at[d];
    for (int d = 0; d < data->rank; d++) {
        if (d >= depth) {
            v_to[d] = e->v_at[places + d - depth];
            continue;
        }
        v_index[places] = l_i64(gen, d);
        v_to[d] = l_held_index(gen, l_walk_load(e, l_walk_operand(e, 1), v_index), l_extent(gen, data->dims[d]));
    }
    write_update(e, v_to);
}

bool l_scatters_rows(const fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *index = fl_value_type(gen->g, n->in[1]);

    return strcmp(fl_node_string(gen->g, node, "reduction", "none"), "none") == 0 && index->rank >= 1 && index->rank <= 2 &&
           index->dims[index->rank - 1] == 1;
}

void l_emit_scatter_nd(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];

    if (!l_same_place(gen, n->out[0], n->in[0], 0)) {
        l_unsupported(gen, node, "its result does not lie where its data lies");
        return;
    }
    l_walk_over(gen, node, n->in[2], scatter_nd_element);
}
