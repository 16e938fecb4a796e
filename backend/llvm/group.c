/*
 * group.c -- neighbouring nodes of one shape in one loop nest.
 *
 *     for row in rows                         values that vary by row alone are loaded here, indices too
 *         for each further dimension          neighbouring dimensions become one where every operand's layout allows
 *             for j in steps of 16            loads; one chunk of each node, in registers; stores
 *
 * What is read outside of the group is stored, nothing else. Operands are addressed by a stride for each dimension, 0 where
 * they are broadcast. Gather is a load whose row comes from an index, ScatterND a store: a row of a table or of a record is
 * read, changed and written without a temporary. All loads of a chunk stand before its stores, so that new values may lie
 * where the old ones did. Where the last dimension is the rows themselves ([batch, 1] values) lanes are rows, with single
 * rows at the end: elementwise arithmetic has the same bits in any lane. A sum over the last dimension, of whole chunks, may be a member: the chunks are
 * added up in registers, in emit_reduce.c's order, and the row's sum is stored behind them; so may TileSum, whose registers go round the loop over rows (group_tiles.c).
 */
#include "backend/llvm/group.h"
#include "ir/rows.h"

#include <string.h>

static unsigned cost_of(fl_op op)
{
    if (op == FL_OP_EXP || op == FL_OP_LOG || op == FL_OP_SIGMOID || op == FL_OP_TANH || op == FL_OP_SOFTPLUS)
        return 24;
    if (op == FL_OP_RANDOM_MASK) /* half of the chunks share their words with the other half, if they stand in one block */
        return 10;
    return op == FL_OP_LOG_LOSS || op == FL_OP_LOG_LOSS_GRAD ? 40 : 1;
}

/* ------------------------------------------------------------------------------------------- what goes together */

/* The type that a member's loops run over. */
static const fl_type *iteration_type(const fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];

    return fl_value_type(gen->g, n->op == FL_OP_SCATTER_ND ? n->in[2] : n->op == FL_OP_REDUCE_SUM ? n->in[0] : n->out[0]);
}

/* May the node be a member behind others? */
static bool may_follow(const fl_gen *gen, fl_id node)
{
    return l_is_group_member(gen->g->nodes[node].op) || fl_sums_rows(gen->g, node) || (l_is_tile_sum(gen, node) && l_tile_registers(gen, node) > 0);
}

static int member_of(const group *grp, fl_id value)
{
    fl_id node = fl_value_node(grp->gen->g, value);

    for (uint32_t i = 0; node != FL_NONE && i < grp->n; i++)
        if (grp->members[i] == node)
            return (int)i;
    return -1;
}

/* Behind views without code stands a value of the group, which is not in memory yet. */
static bool is_view_of_member(const group *grp, fl_id value)
{
    const fl_graph *g = grp->gen->g;

    for (fl_id node = fl_value_node(g, value); node != FL_NONE; node = fl_value_node(g, value)) {
        if (!fl_op_has(g->nodes[node].op, FL_VIEW))
            return false;
        value = g->nodes[node].in[0];
        if (member_of(grp, value) >= 0)
            return true;
    }
    return false;
}

static bool is_sum(const group *grp, uint32_t member)
{
    return grp->gen->g->nodes[grp->members[member]].op == FL_OP_REDUCE_SUM;
}

static bool must_be_in_memory(const fl_node *n, uint32_t operand)
{
    return (n->op == FL_OP_GATHER) || (n->op == FL_OP_SCATTER_ND && operand < 2) ||
           (n->op == FL_OP_RANDOM_MASK && operand > 0);
}

static bool fits(const group *grp, fl_id node)
{
    const fl_gen *gen = grp->gen;
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = iteration_type(gen, node);

    if (n->op == FL_OP_SCATTER_ND && !l_scatters_rows(gen, node))
        return false;
    if (grp->n >= FL_GROUP_MAX || grp->n_accesses + n->n_in + (int)grp->n + 4 > MAX_ACCESS || n->n_in > FL_ELEMENT_MAX_IN ||
        grp->cost + cost_of(n->op) > 2 * BLOCK_COST)
        return grp->n == 0 && n->n_in <= FL_ELEMENT_MAX_IN;
    if (l_is_tile_sum(gen, node) && grp->tile_registers + l_tile_registers(gen, node) > gen->n_registers / 2)
        return false;
    if (t->rank != grp->rank || memcmp(t->dims, grp->dims, (size_t)t->rank * sizeof(fl_dim)) != 0)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == FL_NONE)
            continue;
        int member = member_of(grp, n->in[i]);
        if (is_view_of_member(grp, n->in[i]) || (member >= 0 && (must_be_in_memory(n, i) || is_sum(grp, (uint32_t)member))))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------ accesses */

static stride stride_of_dim(fl_gen *gen, fl_id value, int d)
{
    const fl_type *t = fl_value_type(gen->g, value);
    stride s = {1, NULL};

    if (d == 0) {
        const l_place *place = l_place_of(gen, value);

        s.s = place->row_stride;
        if (place->row_stride < 0)
            s = (stride){-1, place->v_row_stride};
        return s;
    }
    if (l_place_of(gen, value)->v_column_stride != NULL)
        return (stride){-1, l_place_of(gen, value)->v_column_stride};
    for (int k = d + 1; k < t->rank; k++) {
        if (FL_DIM_IS_SYM(t->dims[k]))
            return (stride){-1, l_stride(gen, value, d)};
        s.s *= t->dims[k];
    }
    return s;
}

static access *new_access(group *grp, fl_id value, bool store)
{
    access *a = &grp->accesses[grp->n_accesses++];

    memset(a, 0, sizeof *a);
    a->value = value;
    a->dtype = fl_value_type(grp->gen->g, value)->dtype;
    a->index = -1;
    a->store = store;
    return a;
}

static int access_id(const group *grp, const access *a)
{
    return (int)(a - grp->accesses);
}

/* An operand or result of a shape that broadcasts to the group's. */
static int plain_access(group *grp, fl_id value, bool store)
{
    fl_gen *gen = grp->gen;
    const fl_type *t = fl_value_type(gen->g, value);
    double f;
    access *a;

    for (int i = 0; !store && i < grp->n_accesses; i++)
        if (grp->accesses[i].value == value && !grp->accesses[i].store && grp->accesses[i].index < 0 &&
            !grp->accesses[i].is_index)
            return i;
    a = new_access(grp, value, store);
    if (!store && fl_value_scalar(gen->g, value, &f)) {
        a->v_scalar = l_scalar(gen, value);
        return access_id(grp, a);
    }
    a->v_base = l_place_of(gen, value)->v_base;
    for (int d = 0; d < t->rank; d++)
        if (t->dims[d] != 1)
            a->by[grp->rank - t->rank + d] = stride_of_dim(gen, value, d);
    return access_id(grp, a);
}

static int index_access(group *grp, fl_id value, int first_dim, int n_dims)
{
    access *a = new_access(grp, value, false);
    double f;

    a->is_index = true;
    if (fl_value_scalar(grp->gen->g, value, &f)) {
        a->v_scalar = l_i64(grp->gen, (int64_t)f);
        return access_id(grp, a);
    }
    a->v_base = l_place_of(grp->gen, value)->v_base;
    for (int d = 0; d < n_dims; d++)
        a->by[first_dim + d] = stride_of_dim(grp->gen, value, d);
    for (int i = 0; i < access_id(grp, a); i++) {
        const access *b = &grp->accesses[i];

        if (b->is_index && b->value == value && memcmp(a->by, b->by, sizeof a->by) == 0) {
            grp->n_accesses--;
            return i;
        }
    }
    return access_id(grp, a);
}

bool l_is_place(const fl_graph *g, fl_id index)
{
    fl_id node = fl_value_node(g, index);

    return node != FL_NONE && (g->nodes[node].op == FL_OP_UNIQUE_ROWS || g->nodes[node].op == FL_OP_MERGE_ROWS);
}

/* The row number behind an access by index. */
static LLVMValueRef row_number(const group *grp, const access *a)
{
    LLVMBuilderRef b = grp->gen->b;
    LLVMValueRef v = grp->accesses[a->index].v_scalar, v_negative, v_inside;

    if (a->v_rows == NULL)
        return v;
    v_negative = LLVMBuildICmp(b, LLVMIntSLT, v, l_i64(grp->gen, 0), "");
    v = LLVMBuildSelect(b, v_negative, LLVMBuildAdd(b, v, a->v_rows, ""), v, "");
    /* An index beyond the data, which the interpreter refuses, must not lead out of it: it reads row 0. */
    v_inside = LLVMBuildICmp(b, LLVMIntULT, v, a->v_rows, "");
    return LLVMBuildSelect(b, v_inside, v, l_i64(grp->gen, 0), "");
}

/* Gather<axis>(data, index): out[i.., x.., k..] = data[i.., index[x..], k..] */
static int gather_access(group *grp, fl_id node)
{
    fl_gen *gen = grp->gen;
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *data = fl_value_type(gen->g, n->in[0]), *index = fl_value_type(gen->g, n->in[1]);
    int axis = (int)fl_node_int(gen->g, node, "axis", 0), i;
    access *a;

    axis += axis < 0 ? data->rank : 0;
    i = index_access(grp, n->in[1], axis, index->rank);
    a = new_access(grp, n->in[0], false);
    a->v_base = l_place_of(gen, n->in[0])->v_base;
    a->index = i;
    a->index_stride = stride_of_dim(gen, n->in[0], axis);
    if (!l_is_place(gen->g, n->in[1]))
        a->v_rows = l_extent(gen, data->dims[axis]);
    for (int d = 0; d < data->rank; d++)
        if (d != axis)
            a->by[d < axis ? d : d + index->rank - 1] = stride_of_dim(gen, n->in[0], d);
    return access_id(grp, a);
}

/* ScatterND(data, index [D, 1], x [D, ...]): data[index[d], ...] = x[d, ...], in data's own memory */
static int scatter_access(group *grp, fl_id node)
{
    fl_gen *gen = grp->gen;
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *data = fl_value_type(gen->g, n->in[0]);
    access *a;
    int i;

    if (!l_same_place(gen, n->out[0], n->in[0], 0))
        l_unsupported(gen, node, "its result does not lie where its data lies");
    i = index_access(grp, n->in[1], 0, 1);
    a = new_access(grp, n->in[0], true);
    a->v_base = l_place_of(gen, n->in[0])->v_base;
    a->index = i;
    a->index_stride = stride_of_dim(gen, n->in[0], 0);
    for (int d = 1; d < data->rank; d++)
        a->by[d] = stride_of_dim(gen, n->in[0], d);
    return access_id(grp, a);
}

/* A row's sum, with the last dimension or without. */
static int sum_access(group *grp, fl_id node)
{
    fl_gen *gen = grp->gen;
    fl_id out = gen->g->nodes[node].out[0];
    access *a = new_access(grp, out, true);

    a->of_row = true;
    a->v_base = l_place_of(gen, out)->v_base;
    for (int d = 0; d + 1 < grp->rank; d++)
        a->by[d] = stride_of_dim(gen, out, d);
    return access_id(grp, a);
}

/* RandomMask's place in its row, as if it were the address of a dense row. */
static int unit_access(group *grp, fl_id node)
{
    fl_gen *gen = grp->gen;
    fl_id out = gen->g->nodes[node].out[0];
    access *a = new_access(grp, out, false);
    const fl_type *t = fl_value_type(gen->g, out);

    if (fl_type_has_row_of_run(t))
        l_unsupported(gen, node, "it has code for rows of known length only");
    a->v_scalar = l_i64(gen, 0);
    for (int d = 1; d < t->rank; d++)
        a->by[d] = stride_of_dim(gen, out, d);
    return access_id(grp, a);
}

static void add_member(group *grp, fl_id node)
{
    fl_gen *gen = grp->gen;
    const fl_node *n = &gen->g->nodes[node];
    uint32_t k = grp->n;

    grp->unit_access[k] = -1;
    grp->result[k] = -1;
    for (uint32_t i = 0; i < n->n_in; i++) {
        int member = n->in[i] == FL_NONE ? -1 : member_of(grp, n->in[i]);
        bool skip = n->in[i] == FL_NONE || n->op == FL_OP_RANDOM_MASK || ((n->op == FL_OP_EXPAND || n->op == FL_OP_REDUCE_SUM) && i == 1) ||
                    (must_be_in_memory(n, i) && n->op != FL_OP_RANDOM_MASK);

        grp->operand[k][i] = skip ? -1 : member >= 0 ? -2 - member : plain_access(grp, n->in[i], false);
    }
    if (n->op == FL_OP_GATHER)
        grp->operand[k][0] = gather_access(grp, node);
    if (n->op == FL_OP_SCATTER_ND)
        grp->result[k] = scatter_access(grp, node);
    if (n->op == FL_OP_REDUCE_SUM) {
        grp->result[k] = sum_access(grp, node);
        grp->has_sums = true;
    }
    if (l_is_tile_sum(gen, node))
        grp->tile_registers += l_tile_registers(gen, node);
    if (n->op == FL_OP_RANDOM_MASK) {
        grp->unit_access[k] = unit_access(grp, node);
        grp->v_key[k] = l_mask_key(gen, node);
    }
    grp->cost += cost_of(n->op);
    grp->members[grp->n++] = node;
}

/* Which results leave the group. */
static void add_stores(group *grp)
{
    const fl_gen *gen = grp->gen;

    for (uint32_t k = 0; k < grp->n; k++) {
        const fl_node *n = &gen->g->nodes[grp->members[k]];
        uint32_t inside = 0;

        if (n->op == FL_OP_SCATTER_ND || n->op == FL_OP_REDUCE_SUM || n->op == FL_OP_TILE_SUM)
            continue;
        for (uint32_t m = k + 1; m < grp->n; m++)
            for (uint32_t i = 0; i < gen->g->nodes[grp->members[m]].n_in; i++)
                inside += gen->g->nodes[grp->members[m]].in[i] == n->out[0];
        if (gen->uses[n->out[0]] > inside)
            grp->result[k] = plain_access(grp, n->out[0], true);
    }
}

/* -------------------------------------------------------------------------------------------------- dimensions */

/* Rows of a static number in work on slots are those of the slot. */
static void set_rows(group *grp)
{
    fl_gen *gen = grp->gen;

    if (gen->segment->domain == FL_DOMAIN_SLOTS && !FL_DIM_IS_SYM(grp->dims[0])) {
        LLVMValueRef v_rows = l_i64(gen, grp->dims[0] / gen->segment->dim);

        grp->v_from[0] = l_mul(gen, gen->v_slot, v_rows);
        grp->v_to[0] = l_add(gen, grp->v_from[0], v_rows);
        return;
    }
    l_rows(gen, grp->dims[0], &grp->v_from[0], &grp->v_to[0]);
}

static void set_ranges(group *grp)
{
    for (int d = 0; d < grp->rank; d++) {
        grp->v_from[d] = l_i64(grp->gen, 0);
        grp->v_to[d] = l_extent(grp->gen, grp->dims[d]);
        if (d == 0)
            set_rows(grp);
        grp->extent[d] = LLVMIsAConstantInt(grp->v_to[d]) ? LLVMConstIntGetSExtValue(grp->v_to[d]) : -1;
    }
}

static void drop_dim(group *grp, int d)
{
    for (int k = d; k + 1 < grp->rank; k++) {
        grp->extent[k] = grp->extent[k + 1];
        grp->v_from[k] = grp->v_from[k + 1];
        grp->v_to[k] = grp->v_to[k + 1];
        for (int i = 0; i < grp->n_accesses; i++)
            grp->accesses[i].by[k] = grp->accesses[i].by[k + 1];
    }
    grp->rank--;
}

static bool can_merge(const group *grp, int d)
{
    if (grp->extent[d] < 0 || grp->extent[d + 1] < 0)
        return false;
    for (int i = 0; i < grp->n_accesses; i++) {
        const stride *outer = &grp->accesses[i].by[d], *inner = &grp->accesses[i].by[d + 1];

        if (outer->v != NULL || inner->v != NULL || outer->s != inner->s * grp->extent[d + 1])
            return false;
    }
    return true;
}

/* Dimensions of extent 1 go; neighbours that every access walks as one become one. */
static void simplify_dims(group *grp)
{
    for (int d = grp->rank - 1; d >= 0; d--)
        if (grp->extent[d] == 1)
            drop_dim(grp, d);
    for (int d = grp->rank - 2; d >= 0; d--) {
        if (!can_merge(grp, d))
            continue;
        grp->extent[d + 1] *= grp->extent[d];
        grp->v_to[d + 1] = l_i64(grp->gen, grp->extent[d + 1]);
        drop_dim(grp, d);
    }
    if (grp->rank == 0) { /* one element */
        grp->rank = 1;
        grp->extent[0] = 1;
        grp->v_from[0] = l_i64(grp->gen, 0);
        grp->v_to[0] = l_i64(grp->gen, 1);
        for (int i = 0; i < grp->n_accesses; i++)
            grp->accesses[i].by[0] = (stride){0, NULL};
    }
}

static void set_levels(group *grp)
{
    int last = grp->rank - 1;

    for (int i = 0; i < grp->n_accesses; i++) {
        access *a = &grp->accesses[i];

        a->level = a->index >= 0 ? grp->accesses[a->index].level : -1;
        for (int d = 0; d < grp->rank; d++)
            if ((a->by[d].s != 0 || a->by[d].v != NULL) && d > a->level)
                a->level = d;
        if (a->by[last].v != NULL || a->by[last].s > 1 || (a->is_index && a->level == last) || a->by[last].s < 0 ||
            (a->index >= 0 && grp->accesses[a->index].level == last) || (a->store && a->by[last].s == 0 && !a->of_row))
            grp->by_one = true;
    }
    for (uint32_t k = 0; k < grp->n; k++)
        if (grp->unit_access[k] >= 0 && grp->accesses[grp->unit_access[k]].by[last].s == 0)
            grp->by_one = true; /* the innermost loop runs over rows, each with a key of its own */
}

/* -------------------------------------------------------------------------------------------------------- loops */

static LLVMValueRef times_stride(fl_gen *gen, LLVMValueRef v_i, stride s)
{
    return l_mul(gen, v_i, s.v != NULL ? s.v : l_i64(gen, s.s));
}

void l_enter_level(group *grp, int d, LLVMValueRef v_i)
{
    fl_gen *gen = grp->gen;

    for (int i = 0; i < grp->n_accesses; i++) {
        access *a = &grp->accesses[i];

        if (a->v_base == NULL) { /* a number, not an address; immediates have no strides */
            if (d >= 0 && a->by[d].s != 0)
                a->v_scalar = l_add(gen, a->v_scalar, times_stride(gen, v_i, a->by[d]));
            continue;
        }
        if (d >= 0 && (a->by[d].s != 0 || a->by[d].v != NULL))
            a->v_at = l_at(gen, a->dtype, a->v_at, times_stride(gen, v_i, a->by[d]));
        if (a->index >= 0 && grp->accesses[a->index].level == d)
            a->v_at = l_at(gen, a->dtype, a->v_at,
                           times_stride(gen, row_number(grp, a), a->index_stride));
        if (a->level != d || a->store || (d == grp->rank - 1 && !a->is_index && !grp->by_one))
            continue;
        a->v_scalar = l_load(gen, a->dtype, a->v_at, 1);
        if (a->is_index && a->dtype != FL_INT64)
            a->v_scalar = LLVMBuildSExt(gen->b, a->v_scalar, gen->i64, "");
    }
}

void l_emit_members(group *grp, LLVMValueRef v_j, unsigned width, LLVMValueRef *v_results)
{
    fl_gen *gen = grp->gen;
    int last = grp->rank - 1;

    for (uint32_t k = 0; k < grp->n; k++) {
        const fl_node *n = &gen->g->nodes[grp->members[k]];
        l_chunk_of e = {.node = n, .width = width, .out_type = fl_value_type(gen->g, n->out[0])->dtype};

        for (uint32_t i = 0; i < n->n_in; i++) {
            int o = grp->operand[k][i];

            e.in_type[i] = n->in[i] == FL_NONE ? FL_DTYPE_NONE : fl_value_type(gen->g, n->in[i])->dtype;
            e.v_in[i] = o == -1 ? NULL : o <= -2 ? v_results[-2 - o] : l_splat(gen, grp->accesses[o].v_chunk, width);
        }
        if (grp->unit_access[k] >= 0) {
            access *unit = &grp->accesses[grp->unit_access[k]];

            e.v_row_key = grp->v_row_key[k];
            e.units = l_row_elements(fl_value_type(gen->g, n->out[0]));
            e.v_unit = unit->by[last].s != 0 && !grp->by_one ? l_add(gen, unit->v_scalar, v_j) : unit->v_scalar;
        }
        if (n->op == FL_OP_GATHER)
            v_results[k] = e.v_in[0];
        else if (n->op == FL_OP_REDUCE_SUM)
            grp->v_sum[k] = LLVMBuildFAdd(gen->b, grp->v_sum[k], e.v_in[0], "");
        else if (n->op == FL_OP_TILE_SUM)
            l_add_to_tile(grp, k, v_j, e.v_in[0]);
        else if (n->op == FL_OP_SCATTER_ND)
            v_results[k] = e.v_in[2];
        else
            v_results[k] = l_element_of(n->op)(gen, &e);
    }
}

/* One chunk, `width` elements from place v_j of the innermost dimension; addresses stand at its start. */
static void emit_chunk(group *grp, LLVMValueRef v_j, unsigned width)
{
    fl_gen *gen = grp->gen;
    LLVMValueRef v_results[FL_GROUP_MAX];

    for (int i = 0; i < grp->n_accesses; i++) {
        access *a = &grp->accesses[i];

        a->v_chunk = a->v_scalar;
        if (!a->store && a->v_scalar == NULL)
            a->v_chunk = l_load(gen, a->dtype, l_at(gen, a->dtype, a->v_at, v_j), width);
        else if (!a->store && !a->is_index && a->v_base != NULL)
            a->v_chunk = l_splat(gen, a->v_scalar, width);
    }
    l_emit_members(grp, v_j, width, v_results);
    for (uint32_t k = 0; k < grp->n; k++) {
        access *a = grp->result[k] < 0 ? NULL : &grp->accesses[grp->result[k]];

        if (a != NULL && !a->of_row)
            l_store(gen, a->dtype, v_results[k], grp->by_one ? a->v_at : l_at(gen, a->dtype, a->v_at, v_j));
    }
}

static void emit_inside(group *grp, int d);

/* Row sums begin; with a loop they are carried round it, as values from 0 on. */
static void begin_sums(group *grp, l_loop *loop)
{
    for (uint32_t k = 0; k < grp->n; k++)
        if (is_sum(grp, k)) {
            LLVMValueRef v_zero = LLVMConstNull(l_vector(grp->gen->f32, L_LANES));
            grp->v_sum[k] = loop == NULL ? v_zero : l_carry(grp->gen, loop, v_zero);
        }
}

static void carry_sums(group *grp, l_loop *loop)
{
    unsigned i = 0;

    for (uint32_t k = 0; k < grp->n; k++)
        if (is_sum(grp, k))
            l_next(loop, i++, grp->v_sum[k]);
    l_loop_end(grp->gen, loop);
    i = 0;
    for (uint32_t k = 0; k < grp->n; k++)
        if (is_sum(grp, k))
            grp->v_sum[k] = loop->v_result[i++];
}

static void end_sums(group *grp)
{
    fl_gen *gen = grp->gen;

    for (uint32_t k = 0; k < grp->n; k++)
        if (is_sum(grp, k)) /* there is no rest behind the chunks, whose sum is 0 */
            l_store(gen, FL_FLOAT, LLVMBuildFAdd(gen->b, l_sum_lanes(gen, grp->v_sum[k]), l_f32(gen, 0.0), ""), grp->accesses[grp->result[k]].v_at);
}

/* The innermost dimension, in chunks. */
static void emit_innermost(group *grp)
{
    fl_gen *gen = grp->gen;
    int last = grp->rank - 1;
    int64_t n = grp->extent[last], wide;
    LLVMValueRef v_from = grp->v_from[last], v_to = grp->v_to[last], v_wide;
    unsigned unroll = 8;
    l_loop loop;

    if (n < 0) {
        v_wide = LLVMBuildSub(gen->b, v_to, v_from, "");
        v_wide = LLVMBuildAnd(gen->b, v_wide, l_i64(gen, -L_LANES), "");
        v_wide = l_add(gen, v_from, v_wide);
        l_loop_begin(gen, &loop, v_from, v_wide, L_LANES);
        emit_chunk(grp, loop.v_i, L_LANES);
        l_loop_end(gen, &loop);
        l_loop_begin(gen, &loop, v_wide, v_to, 1);
        emit_chunk(grp, loop.v_i, 1);
        l_loop_end(gen, &loop);
        return;
    }
    wide = n / L_LANES * L_LANES;
    while (unroll > 1 && (unroll * grp->cost > BLOCK_COST || wide % (unroll * L_LANES) != 0))
        unroll /= 2;
    if (wide > unroll * L_LANES && grp->tile_registers == 0) {
        l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, wide), unroll * L_LANES);
        begin_sums(grp, &loop);
        for (unsigned u = 0; u < unroll; u++)
            emit_chunk(grp, l_add(gen, loop.v_i, l_i64(gen, u * L_LANES)), L_LANES);
        carry_sums(grp, &loop);
    } else {
        begin_sums(grp, NULL);
        for (int64_t j = 0; j < wide; j += L_LANES)
            emit_chunk(grp, l_i64(gen, j), L_LANES);
    }
    for (int64_t j = wide; j < n;) {
        unsigned width = l_chunk(n - j);

        emit_chunk(grp, l_i64(gen, j), width);
        j += width;
    }
    end_sums(grp);
}

/* What one index of dimension d has inside of it. */
static void emit_row(group *grp, int d, LLVMValueRef v_i)
{
    LLVMValueRef v_at[MAX_ACCESS], v_scalar[MAX_ACCESS];

    for (int i = 0; i < grp->n_accesses; i++) {
        v_at[i] = grp->accesses[i].v_at;
        v_scalar[i] = grp->accesses[i].v_scalar;
    }
    l_enter_level(grp, d, v_i);
    for (uint32_t k = 0; d == 0 && grp->has_rows && k < grp->n; k++)
        if (grp->unit_access[k] >= 0)
            grp->v_row_key[k] = l_mask_row_key(grp->gen, grp->v_key[k], v_i);
    emit_inside(grp, d);
    for (int i = 0; i < grp->n_accesses; i++) {
        grp->accesses[i].v_at = v_at[i];
        grp->accesses[i].v_scalar = v_scalar[i];
    }
}

static void emit_dim(group *grp, int d)
{
    LLVMValueRef v_from;
    l_loop loop;

    if (d == grp->rank - 1 && !grp->by_one) {
        emit_innermost(grp);
        return;
    }
    v_from = grp->v_from[d];
    if (d == grp->rank - 1 && l_goes_by_lanes(grp))
        v_from = l_emit_lanes(grp, v_from, grp->v_to[d]);
    l_loop_begin(grp->gen, &loop, v_from, grp->v_to[d], 1);
    l_over_tiles(grp, &loop, L_BEGIN_TILES);
    emit_row(grp, d, loop.v_i);
    l_over_tiles(grp, &loop, L_NEXT_ROW);
    l_loop_end(grp->gen, &loop);
    l_over_tiles(grp, &loop, L_STORE_TILES);
}

static void emit_inside(group *grp, int d)
{
    if (d == grp->rank - 1)
        emit_chunk(grp, l_i64(grp->gen, 0), 1);
    else
        emit_dim(grp, d + 1);
}

/* As many of `nodes` as one nest holds; NULL out of memory, or (reported) if it holds none. */
static group *new_group(fl_gen *gen, const fl_id *nodes, uint32_t n)
{
    group *grp = fl_arena_new(&gen->arena, group, 1);
    const fl_type *t = iteration_type(gen, nodes[0]);

    if (grp == NULL)
        return NULL;
    grp->gen = gen;
    grp->rank = t->rank;
    memcpy(grp->dims, t->dims, sizeof grp->dims);
    for (uint32_t i = 0; i < n && may_follow(gen, nodes[i]) && fits(grp, nodes[i]); i++)
        add_member(grp, nodes[i]);
    if (grp->n == 0) {
        l_unsupported(gen, nodes[0], "it has too many operands");
        return NULL;
    }
    add_stores(grp);
    if (grp->has_sums || grp->tile_registers > 0)
        set_levels(grp);
    for (uint32_t k = 1; grp->by_one && k < grp->n; k++)
        if (is_sum(grp, k) || l_is_tile_sum(gen, grp->members[k])) /* sums need whole chunks */
            return new_group(gen, nodes, k);
    return grp;
}

/* Before the first loop: what is known once a call. */
static void begin_group(group *grp)
{
    fl_gen *gen = grp->gen;

    set_ranges(grp);
    grp->has_rows = grp->rank > 0 && grp->extent[0] != 1;
    simplify_dims(grp);
    set_levels(grp);
    for (uint32_t k = 0; !grp->has_rows && k < grp->n; k++)
        if (grp->unit_access[k] >= 0) /* one row: its dimension has been dropped */
            grp->v_row_key[k] = l_mask_row_key(gen, grp->v_key[k], l_i64(gen, 0));
    for (int i = 0; i < grp->n_accesses; i++)
        grp->accesses[i].v_at = grp->accesses[i].v_base;
    l_enter_level(grp, -1, NULL);
}

uint32_t l_emit_group(fl_gen *gen, const fl_id *nodes, uint32_t n)
{
    group *grp = new_group(gen, nodes, n);

    if (grp == NULL)
        return n;
    begin_group(grp);
    if (gen->status == FL_OK)
        emit_dim(grp, 0);
    return grp->n;
}

/* ------------------------------------------------------------------------------------------------- in company */

/* Is the value, which a member makes, a variable's, of which the product reads nothing? */
static bool updates_beside(const group *grp, fl_id value, const fl_node *product)
{
    const fl_schedule *s = grp->gen->schedule;
    const fl_storage *st = &s->storage[value];

    if (st->kind != FL_STORAGE_BUFFER || s->buffers[st->buffer].kind != FL_BUFFER_VARIABLE)
        return false;
    for (uint32_t i = 0; i < product->n_in; i++) {
        const fl_storage *in = product->in[i] == FL_NONE ? NULL : &s->storage[product->in[i]];
        if (in != NULL && in->kind == FL_STORAGE_BUFFER && in->buffer == st->buffer)
            return false;
    }
    return true;
}

/* The rows that the company follows: the slot's distinct ones, or those that are its part of a product of static shape. */
static bool has_rows_of(const group *grp, fl_id product)
{
    const fl_type *t = fl_value_type(grp->gen->g, grp->gen->g->nodes[product].out[0]);

    return t->rank == 2 && grp->rank == 2 && grp->dims[0] == t->dims[0] && (t->dims[0] == grp->gen->row_dim || !FL_DIM_IS_SYM(t->dims[0]));
}

/* May row r of the group be made once row r of `product` is there, while later rows of that are made? The group reads the product row by row, and
 * what it writes are variables, or rows of them, which the product does not read. */
static bool keeps_company(const group *grp, fl_id product)
{
    const fl_graph *g = grp->gen->g;
    const fl_node *p = &g->nodes[product];
    bool reads = false;

    if (!has_rows_of(grp, product))
        return false;
    for (uint32_t k = 0; k < grp->n; k++) {
        const fl_node *n = &g->nodes[grp->members[k]];

        for (uint32_t i = 0; i < n->n_in; i++) {
            reads = reads || n->in[i] == p->out[0];
            if (n->in[i] != FL_NONE && l_is_view_of(g, n->in[i], p->out[0]) && (n->in[i] != p->out[0] || must_be_in_memory(n, i)))
                return false;
        }
        if (n->op != FL_OP_SCATTER_ND) {
            if ((grp->result[k] >= 0 && !updates_beside(grp, n->out[0], p)) || n->op == FL_OP_RANDOM_MASK)
                return false;
            continue;
        }
        for (uint32_t i = 0; i < p->n_in; i++)
            if (p->in[i] != FL_NONE && l_same_place(grp->gen, p->in[i], n->in[0], 0))
                return false;
    }
    return reads;
}

l_company *l_company_of(fl_gen *gen, fl_id product, const fl_id *nodes, uint32_t n)
{
    group *grp = new_group(gen, nodes, n);

    if (grp == NULL || !keeps_company(grp, product))
        return NULL;
    begin_group(grp);
    return grp->rank == 2 && !grp->by_one && gen->status == FL_OK ? grp : NULL;
}

uint32_t l_company_size(const l_company *company)
{
    return company->n;
}

void l_company_row(l_company *company, LLVMValueRef v_row)
{
    emit_row(company, 0, v_row);
}

void l_company_rows(l_company *company, LLVMValueRef v_from, LLVMValueRef v_to)
{
    company->v_from[0] = v_from;
    company->v_to[0] = v_to;
    emit_dim(company, 0);
}
