/*
 * emit_reduce.c -- ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd.
 *
 * Where the last dimension stays, lanes are its elements and terms are added in their order. Where it goes, lanes take every
 * sixteenth term, are added by halves, and the terms beyond the last full sixteen follow one by one. Either order depends
 * on shapes alone.
 */
#include "backend/llvm/emit.h"

#include "ir/base/planted.h"
#include "ir/schedule.h"

enum { STRIP = 4 }; /* chunks summed at a time: enough additions in flight to hide their latency */

typedef struct dim {
    LLVMValueRef v_from, v_to, v_in, v_out; /* range; strides, elements */
    int64_t extent; /* -1: at run time */
    bool reduced;
} dim;

typedef struct reduction {
    fl_gen *gen;
    fl_op op;
    fl_dtype dtype;
    int rank;
    dim dims[FL_MAX_RANK];
    LLVMValueRef v_divisor; /* NULL: a sum */
} reduction;

static bool is_one(LLVMValueRef v)
{
    return LLVMIsAConstantInt(v) && LLVMConstIntGetSExtValue(v) == 1;
}

static bool is_real(const reduction *r)
{
    return r->dtype == FL_FLOAT || r->dtype == FL_DOUBLE;
}

/* One more term. */
static LLVMValueRef add(const reduction *r, LLVMValueRef a, LLVMValueRef b)
{
    fl_gen *gen = r->gen;

    if (r->op == FL_OP_REDUCE_MAX || r->op == FL_OP_REDUCE_MIN)
        return l_extreme(gen, r->dtype, r->op == FL_OP_REDUCE_MAX, a, b);
    if (r->op == FL_OP_REDUCE_PROD)
        return is_real(r) ? LLVMBuildFMul(gen->b, a, b, "") : LLVMBuildMul(gen->b, a, b, "");
    return is_real(r) ? LLVMBuildFAdd(gen->b, a, b, "") : LLVMBuildAdd(gen->b, a, b, "");
}

/* What changes no result, in every lane of type t. */
static LLVMValueRef first(const reduction *r, LLVMTypeRef t)
{
    bool max = r->op == FL_OP_REDUCE_MAX;
    unsigned bits = 8 * (unsigned)fl_dtype_size(r->dtype);
    uint64_t least = r->dtype == FL_UINT8 ? 0 : 1ull << (bits - 1), largest = r->dtype == FL_UINT8 ? 255 : least - 1;

    if (r->op == FL_OP_REDUCE_PROD)
        return is_real(r) ? l_number(t, 1) : l_integer(t, 1);
    if (!max && r->op != FL_OP_REDUCE_MIN)
        return LLVMConstNull(t);
    return is_real(r) ? l_number(t, max ? -__builtin_inf() : __builtin_inf()) : l_integer(t, max ? least : largest);
}

/* All lanes by halves. */
static LLVMValueRef fold_lanes(const reduction *r, LLVMValueRef v)
{
    fl_gen *gen = r->gen;

    if (is_real(r) && r->op != FL_OP_REDUCE_MAX && r->op != FL_OP_REDUCE_MIN && r->op != FL_OP_REDUCE_PROD)
        return l_sum_lanes(gen, v);
    for (unsigned n = l_width(LLVMTypeOf(v)) / 2; n > 1; n /= 2)
        v = add(r, l_lanes(gen, v, 0, n), l_lanes(gen, v, n, n));
    return add(r, LLVMBuildExtractElement(gen->b, v, l_i32(gen, 0), ""), LLVMBuildExtractElement(gen->b, v, l_i32(gen, 1), ""));
}

static void finish(const reduction *r, LLVMValueRef v, LLVMValueRef v_out)
{
    if (r->v_divisor != NULL)
        v = LLVMBuildFDiv(r->gen->b, v, l_splat(r->gen, r->v_divisor, l_width(LLVMTypeOf(v))), "");
    l_store(r->gen, r->dtype, v, v_out);
}

/* Sums of `n` neighbouring chunks of `width` over all reduced dimensions from d on, in order. */
static void sum_chunks(const reduction *r, int d, LLVMValueRef v_in, unsigned n, unsigned width, LLVMValueRef *v_sums)
{
    fl_gen *gen = r->gen;
    l_loop loop;

    while (d < r->rank && !r->dims[d].reduced)
        d++;
    if (d == r->rank) {
        for (unsigned c = 0; c < n; c++) {
            LLVMValueRef v_at = l_at(gen, r->dtype, v_in, l_i64(gen, c * width));

            v_sums[c] = add(r, v_sums[c], l_load(gen, r->dtype, v_at, width));
        }
        return;
    }
    l_loop_begin(gen, &loop, r->dims[d].v_from, r->dims[d].v_to, 1);
    for (unsigned c = 0; c < n; c++)
        v_sums[c] = l_carry(gen, &loop, v_sums[c]);
    sum_chunks(r, d + 1, l_at(gen, r->dtype, v_in, l_mul(gen, loop.v_i, r->dims[d].v_in)), n, width, v_sums);
    for (unsigned c = 0; c < n; c++)
        l_next(&loop, c, v_sums[c]);
    l_loop_end(gen, &loop);
    for (unsigned c = 0; c < n; c++)
        v_sums[c] = loop.v_result[c];
}

/*
 * for strips of the last dimension:  sums = 0;  for the reduced dimensions: sums += in[..., strip];  out[strip] = sums
 */
static void keep_last(const reduction *r, LLVMValueRef v_in, LLVMValueRef v_out)
{
    const dim *last = &r->dims[r->rank - 1];
    fl_gen *gen = r->gen;
    int64_t n = last->extent, full = n / (STRIP * L_LANES);
    LLVMValueRef v_sums[STRIP], v_zero;
    l_loop loop;

    if (full > 0) {
        l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, full * STRIP * L_LANES), STRIP * L_LANES);
        v_zero = first(r, l_vector(l_memory_type(gen, r->dtype), L_LANES));
        for (int c = 0; c < STRIP; c++)
            v_sums[c] = v_zero;
        sum_chunks(r, 0, l_at(gen, r->dtype, v_in, loop.v_i), STRIP, L_LANES, v_sums);
        for (int c = 0; c < STRIP; c++)
            finish(r, v_sums[c], l_at(gen, r->dtype, v_out, l_add(gen, loop.v_i, l_i64(gen, c * L_LANES))));
        l_loop_end(gen, &loop);
    }
    for (int64_t j = full * STRIP * L_LANES; j < n;) {
        unsigned width = l_chunk(n - j);

        v_sums[0] = first(r, l_vector(l_memory_type(gen, r->dtype), width));
        sum_chunks(r, 0, l_at(gen, r->dtype, v_in, l_i64(gen, j)), 1, width, v_sums);
        finish(r, v_sums[0], l_at(gen, r->dtype, v_out, l_i64(gen, j)));
        j += width;
    }
}

/*
 * sums[16] = 0; rest = 0
 * for the outer reduced dimensions:  for full sixteens: sums += in[j .. j + 16];  for what is left: rest += in[j]
 * out = halves(sums) + rest
 */
static void sum_last(const reduction *r, int d, LLVMValueRef v_in, LLVMValueRef v_sums[2])
{
    fl_gen *gen = r->gen;
    const dim *x;
    LLVMValueRef v_wide;
    l_loop loop;

    while (!r->dims[d].reduced)
        d++;
    x = &r->dims[d];
    if (d < r->rank - 1) {
        l_loop_begin(gen, &loop, x->v_from, x->v_to, 1);
        v_sums[0] = l_carry(gen, &loop, v_sums[0]);
        v_sums[1] = l_carry(gen, &loop, v_sums[1]);
        sum_last(r, d + 1, l_at(gen, r->dtype, v_in, l_mul(gen, loop.v_i, x->v_in)), v_sums);
        l_next(&loop, 0, v_sums[0]);
        l_next(&loop, 1, v_sums[1]);
        l_loop_end(gen, &loop);
        v_sums[0] = loop.v_result[0];
        v_sums[1] = loop.v_result[1];
        return;
    }
    v_wide = LLVMBuildAnd(gen->b, LLVMBuildSub(gen->b, x->v_to, x->v_from, ""), l_i64(gen, -L_LANES), "");
    v_wide = l_add(gen, x->v_from, v_wide);
    if (!is_one(x->v_in))
        v_wide = x->v_from; /* not contiguous: one by one */
    for (int k = 0; k < 2; k++) {
        unsigned width = k == 0 ? L_LANES : 1;

        if ((k == 0 && v_wide == x->v_from) || (k == 1 && FL_PLANTED("reduce-tail")))
            continue;
        l_loop_begin(gen, &loop, k == 0 ? x->v_from : v_wide, k == 0 ? v_wide : x->v_to, width);
        v_sums[k] = l_carry(gen, &loop, v_sums[k]);
        l_next(&loop, 0, add(r, v_sums[k], l_load(gen, r->dtype, l_at(gen, r->dtype, v_in, l_mul(gen, loop.v_i, x->v_in)), width)));
        l_loop_end(gen, &loop);
        v_sums[k] = loop.v_result[0];
    }
}

static void drop_last(const reduction *r, LLVMValueRef v_in, LLVMValueRef v_out)
{
    fl_gen *gen = r->gen;
    LLVMTypeRef t = l_memory_type(gen, r->dtype);
    LLVMValueRef v_sums[2] = {first(r, l_vector(t, L_LANES)), first(r, t)}, v_lanes;

    sum_last(r, 0, v_in, v_sums);
    v_lanes = LLVMIsConstant(v_sums[0]) ? first(r, t) : fold_lanes(r, v_sums[0]);
    finish(r, add(r, v_lanes, v_sums[1]), v_out);
}

/* The last dimension stays, is known and contiguous: lanes are its elements. */
static bool keeps_lanes(const reduction *r)
{
    const dim *last = &r->dims[r->rank - 1];

    return r->rank > 0 && !last->reduced && last->extent >= 0 && is_one(last->v_in) && is_one(last->v_out);
}

static void reduce_dim(const reduction *r, int d, LLVMValueRef v_in, LLVMValueRef v_out)
{
    fl_gen *gen = r->gen;
    l_loop loop;

    while (d < r->rank && (r->dims[d].reduced || (d == r->rank - 1 && keeps_lanes(r))))
        d++;
    if (d < r->rank) {
        const dim *x = &r->dims[d];

        l_loop_begin(gen, &loop, x->v_from, x->v_to, 1);
        reduce_dim(r, d + 1, l_at(gen, r->dtype, v_in, l_mul(gen, loop.v_i, x->v_in)),
                   l_at(gen, r->dtype, v_out, l_mul(gen, loop.v_i, x->v_out)));
        l_loop_end(gen, &loop);
    } else if (r->rank > 0 && r->dims[r->rank - 1].reduced) {
        drop_last(r, v_in, v_out);
    } else if (keeps_lanes(r)) {
        keep_last(r, v_in, v_out);
    } else {
        LLVMValueRef v_sum = first(r, l_memory_type(gen, r->dtype));

        sum_chunks(r, 0, v_in, 1, 1, &v_sum);
        finish(r, v_sum, v_out);
    }
}

/* False if the axes are not constant. */
static bool reduced_axes(fl_gen *gen, fl_id node, bool *reduced)
{
    const fl_node *n = &gen->g->nodes[node];
    int rank = fl_value_type(gen->g, n->in[0])->rank;
    int64_t axes[FL_MAX_RANK];
    uint32_t count = 0;

    if (n->n_in > 1 && n->in[1] != FL_NONE && !fl_value_ints(gen->g, n->in[1], axes, FL_MAX_RANK, &count))
        return false;
    for (int d = 0; d < rank; d++)
        reduced[d] = count == 0 && fl_node_int(gen->g, node, "noop_with_empty_axes", 0) == 0;
    for (uint32_t i = 0; i < count; i++)
        reduced[axes[i] < 0 ? axes[i] + rank : axes[i]] = true;
    return true;
}

static bool set_dims(reduction *r, fl_id node)
{
    fl_gen *gen = r->gen;
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    bool keep = fl_node_int(gen->g, node, "keepdims", 1) != 0, reduced[FL_MAX_RANK];
    LLVMValueRef v_count = l_i64(gen, 1);

    if (!reduced_axes(gen, node, reduced))
        return false;
    for (int d = 0, out = 0; d < t->rank; d++) {
        dim x = {.reduced = reduced[d], .v_from = l_i64(gen, 0), .v_to = l_extent(gen, t->dims[d])};

        if (x.reduced)
            v_count = l_mul(gen, v_count, x.v_to);
        else if (d == 0)
            l_rows(gen, t->dims[0], &x.v_from, &x.v_to);
        x.extent = LLVMIsAConstantInt(x.v_to) ? LLVMConstIntGetSExtValue(x.v_to) : -1;
        x.v_in = l_stride(gen, n->in[0], d);
        x.v_out = x.reduced ? l_i64(gen, 0) : l_stride(gen, n->out[0], out);
        out += !x.reduced || keep;
        if (d == 0 && x.reduced && r->op == FL_OP_REDUCE_SUM && fl_value_is(gen->g, n->in[0], FL_OP_TILE_SUM) != FL_NONE) {
            /* tiles begin at every so manieth row; the others are zero */
            x.v_to = LLVMBuildUDiv(gen->b, l_add(gen, x.v_to, l_i64(gen, FL_TILE_ROWS - 1)), l_i64(gen, FL_TILE_ROWS), "");
            x.v_in = l_mul(gen, x.v_in, l_i64(gen, FL_TILE_ROWS));
            x.extent = LLVMIsAConstantInt(x.v_to) ? LLVMConstIntGetSExtValue(x.v_to) : -1;
        }
        if (x.extent != 1)
            r->dims[r->rank++] = x;
    }
    if (gen->g->nodes[node].op == FL_OP_REDUCE_MEAN)
        r->v_divisor = LLVMBuildSIToFP(gen->b, v_count, l_memory_type(gen, r->dtype), "");
    /* Without dimensions of extent 1, neighbours that are reduced together are one run of terms. */
    for (int d = r->rank - 2; d >= 0; d--) {
        dim *a = &r->dims[d], *b = &r->dims[d + 1];

        if (!a->reduced || !b->reduced || b->extent < 0 || !LLVMIsAConstantInt(a->v_in) ||
            LLVMConstIntGetSExtValue(a->v_in) != b->extent * LLVMConstIntGetSExtValue(b->v_in))
            continue;
        a->v_to = l_mul(gen, a->v_to, b->v_to);
        a->extent = a->extent < 0 ? -1 : a->extent * b->extent;
        a->v_in = b->v_in;
        for (int k = d + 1; k + 1 < r->rank; k++)
            r->dims[k] = r->dims[k + 1];
        r->rank--;
    }
    return true;
}

static void emit_reduction(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    reduction r = {.gen = gen, .op = n->op, .dtype = fl_value_type(gen->g, n->in[0])->dtype};

    if (r.dtype == FL_BOOL || (n->op == FL_OP_REDUCE_MEAN && !is_real(&r))) {
        l_unsupported(gen, node, "it has no code for this element type");
        return;
    }
    if (!set_dims(&r, node)) {
        l_unsupported(gen, node, "its axes are not constant");
        return;
    }
    reduce_dim(&r, 0, l_place_of(gen, n->in[0])->v_base, l_place_of(gen, n->out[0])->v_base);
}

/* out[kept] = sum over the reduced dimensions */
void fl_emit_reduce_sum(fl_gen *gen, fl_id node)
{
    emit_reduction(gen, node);
}

/* the same, divided by the number of terms */
void fl_emit_reduce_mean(fl_gen *gen, fl_id node)
{
    emit_reduction(gen, node);
}

/* the largest, the smallest, the product; NaN wins */
void fl_emit_reduce_max(fl_gen *gen, fl_id node)
{
    emit_reduction(gen, node);
}

void fl_emit_reduce_min(fl_gen *gen, fl_id node)
{
    emit_reduction(gen, node);
}

void fl_emit_reduce_prod(fl_gen *gen, fl_id node)
{
    emit_reduction(gen, node);
}

/* --------------------------------------------------------------------------------------------------- tiles */

typedef struct tile {
    fl_gen *gen;
    fl_id in, out;
    LLVMValueRef v_from, v_to; /* its rows */
    bool zeros;                /* somebody reads the rows behind the first */
} tile;

static void sum_tile_strip(void *arg, const l_strip *s, LLVMValueRef v_column)
{
    const tile *t = arg;
    fl_gen *gen = t->gen;
    LLVMValueRef v_sums[L_MAX_VECTORS];
    l_loop row;

    l_loop_begin(gen, &row, t->v_from, t->v_to, 1);
    for (unsigned v = 0; v < s->n; v++)
        v_sums[v] = l_carry(gen, &row, LLVMConstNull(l_vector(gen->f32, s->width[v])));
    for (unsigned v = 0; v < s->n; v++) {
        LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, s->at[v]));
        LLVMValueRef v_x = l_load(gen, FL_FLOAT, l_element_address(gen, t->in, row.v_i, v_j), s->width[v]);

        l_next(&row, v, LLVMBuildFAdd(gen->b, v_sums[v], v_x, ""));
        if (t->zeros)
            l_store(gen, FL_FLOAT, LLVMConstNull(LLVMTypeOf(v_x)), l_element_address(gen, t->out, row.v_i, v_j));
    }
    l_loop_end(gen, &row);
    for (unsigned v = 0; v < s->n; v++)
        l_store(gen, FL_FLOAT, row.v_result[v], l_element_address(gen, t->out, t->v_from, l_add(gen, v_column, l_i64(gen, s->at[v]))));
}

/*
 * TileSum: for tiles [from, to): for strips of columns: sums = 0; for rows: sums += x[row, strip];  out[from, strip] = sums
 * One of a value that is made in the same loop nest is summed there (group.c).
 */
void fl_emit_tile_sum(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *type = fl_value_type(gen->g, n->in[0]);
    tile t = {.gen = gen, .in = n->in[0], .out = n->out[0], .zeros = !gen->sparse[n->out[0]]};
    LLVMValueRef v_from, v_to;
    l_loop tiles;

    if (type->dtype != FL_FLOAT || l_row_elements(type) < 1) {
        l_unsupported(gen, node, "it has code for rows of float of known length");
        return;
    }
    l_rows(gen, type->dims[0], &v_from, &v_to);
    l_loop_begin(gen, &tiles, v_from, v_to, FL_TILE_ROWS);
    t.v_from = tiles.v_i;
    t.v_to = l_min_i64(gen, l_add(gen, tiles.v_i, l_i64(gen, FL_TILE_ROWS)), v_to);
    l_strips(gen, l_row_elements(type), gen->n_registers / 2, sum_tile_strip, &t);
    l_loop_end(gen, &tiles);
}
