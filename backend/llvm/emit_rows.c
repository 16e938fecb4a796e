/*
 * emit_rows.c -- pooling of gathered rows, and what becomes of the pools: row code, everything in registers.
 */
#include "backend/llvm/emit.h"

#include "ir/rows.h"

enum { STRIP = 4, KEEP_FIELDS = 4, BREAK_AFTER = 16, LINE = 64, NEAR_BYTES = 256 * 1024, MAX_LINES = 8, MAX_POOLS = 8, AHEAD_LINES = 400, MAX_AHEAD = 4 };

typedef struct pool {
    fl_gen *gen;
    fl_id data, index;
    const fl_node *node;
    const int64_t *fields;
    uint32_t n_fields;
    int64_t width, slots;
    bool squares;
} pool;

static fl_id wanted(const pool *p, uint32_t out)
{
    fl_id v = out < p->node->n_out ? p->node->out[out] : FL_NONE;

    return v != FL_NONE && p->gen->schedule->storage[v].kind != FL_STORAGE_NONE ? v : FL_NONE;
}

/* Address of the row that index[row, slot] names. */
static LLVMValueRef indexed_row(const pool *p, LLVMValueRef v_row, LLVMValueRef v_slot)
{
    fl_gen *gen = p->gen;
    fl_dtype dtype = fl_value_type(gen->g, p->index)->dtype;
    LLVMValueRef v_index = l_load(gen, dtype, l_element_address(gen, p->index, v_row, v_slot), 1);

    if (dtype != FL_INT64)
        v_index = LLVMBuildSExt(gen->b, v_index, gen->i64, "");
    return l_element_address(gen, p->data, v_index, l_i64(gen, 0));
}

bool l_is_far(const fl_gen *gen, fl_id data)
{
    const fl_value *v = &gen->g->values[data];
    int64_t rows = v->type.dims[0];

    return v->kind == FL_VALUE_VARIABLE && (FL_DIM_IS_SYM(rows) || rows > NEAR_BYTES / 4 / l_row_elements(&v->type));
}

/* The rows that the batch's row v_row names in all tables, slot by slot: what stands in one record is fetched together. */
static void prefetch_row(const pool *pools, uint32_t n, LLVMValueRef v_row)
{
    fl_gen *gen = pools->gen;
    l_loop slot;

    l_loop_begin(gen, &slot, l_i64(gen, 0), l_i64(gen, pools->slots), 1);
    for (uint32_t i = 0; i < n; i++) {
        if (!l_is_far(gen, pools[i].data))
            continue;
        LLVMValueRef v_at = indexed_row(&pools[i], v_row, slot.v_i);
        for (int64_t byte = 0; byte < pools[i].width * 4 && byte < MAX_LINES * LINE; byte += LINE)
            l_prefetch(gen, l_at(gen, FL_INT8, v_at, l_i64(gen, byte)));
    }
    l_loop_end(gen, &slot);
}

/* Columns [v_column, + n * width) of every field of a row. */
static void pool_strip(const pool *p, LLVMValueRef v_row, LLVMValueRef v_column, unsigned n, unsigned width)
{
    fl_gen *gen = p->gen;
    LLVMValueRef v_zero = LLVMConstNull(l_vector(gen->f32, width)), v_sums[2 * STRIP];
    int64_t first = 0;

    for (uint32_t m = 0; m < p->n_fields; first += p->fields[m++]) {
        fl_id f = wanted(p, m), q = p->squares ? wanted(p, p->n_fields + m) : FL_NONE;
        LLVMValueRef v_at;
        l_loop slot;

        if (f == FL_NONE && q == FL_NONE)
            continue;
        l_loop_begin(gen, &slot, l_i64(gen, first), l_i64(gen, first + p->fields[m]), 1);
        for (unsigned c = 0; c < 2 * n; c++)
            v_sums[c] = l_carry(gen, &slot, v_zero);
        v_at = l_at(gen, FL_FLOAT, indexed_row(p, v_row, slot.v_i), v_column);
        for (unsigned c = 0; c < n; c++) {
            LLVMValueRef v = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_at, l_i64(gen, c * width)), width);

            l_next(&slot, c, LLVMBuildFAdd(gen->b, v_sums[c], v, ""));
            if (q != FL_NONE)
                l_next(&slot, n + c, LLVMBuildFAdd(gen->b, v_sums[n + c], LLVMBuildFMul(gen->b, v, v, ""), ""));
        }
        l_loop_end(gen, &slot);
        for (unsigned c = 0; c < 2 * n; c++) {
            fl_id out = c < n ? f : q;
            LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, c % n * width));

            if (out != FL_NONE)
                l_store(gen, FL_FLOAT, slot.v_result[c], l_element_address(gen, out, v_row, v_j));
        }
    }
}

static bool begin_pool(fl_gen *gen, fl_id node, pool *p)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_attr *fields = fl_node_attr(gen->g, node, "fields");
    const fl_type *t = fl_value_type(gen->g, n->in[0]);

    if (fields == NULL || fields->kind != FL_ATTR_INTS || t->rank != 2 || FL_DIM_IS_SYM(t->dims[1])) {
        l_unsupported(gen, node, "it needs rows of static width and attribute `fields`");
        return false;
    }
    *p = (pool){.gen = gen, .data = n->in[0], .index = n->in[1], .node = n, .fields = fields->as.ints, .n_fields = fields->n, .width = t->dims[1]};
    p->squares = fl_node_int(gen->g, node, "squares", 0) != 0;
    for (uint32_t m = 0; m < p->n_fields; m++)
        p->slots += p->fields[m];
    return true;
}

static void pool_row(const pool *p, LLVMValueRef v_row)
{
    fl_gen *gen = p->gen;
    int64_t full = p->width / (STRIP * L_LANES) * (STRIP * L_LANES);
    l_loop strip;

    if (full == STRIP * L_LANES) {
        pool_strip(p, v_row, l_i64(gen, 0), STRIP, L_LANES);
    } else if (full > 0) {
        l_loop_begin(gen, &strip, l_i64(gen, 0), l_i64(gen, full), STRIP * L_LANES);
        pool_strip(p, v_row, strip.v_i, STRIP, L_LANES);
        l_loop_end(gen, &strip);
    }
    for (int64_t j = full; j < p->width;) {
        unsigned width = l_chunk(p->width - j), count = width == L_LANES ? (unsigned)((p->width - j) / L_LANES) : 1;
        pool_strip(p, v_row, l_i64(gen, j), count, width);
        j += count * width;
    }
}

/* Rows of the batch to fetch ahead: as many as fill part of the first cache. */
static int64_t rows_ahead(const pool *pools, uint32_t n)
{
    int64_t lines = 0, ahead;

    for (uint32_t i = 0; i < n; i++)
        if (l_is_far(pools->gen, pools[i].data))
            lines += pools[i].slots * ((pools[i].width * 4 + LINE - 1) / LINE);
    if (lines == 0)
        return 0;
    ahead = AHEAD_LINES / lines;
    return ahead < 1 ? 1 : ahead > MAX_AHEAD ? MAX_AHEAD : ahead;
}

/*
 * FieldPool, and those behind it that look up by the same index in far tables, whose rows stand in one record:
 * for row: fetch the rows of row + ahead
 *     for pool: for strips of up to 64 columns: for field:
 *         f = 0; q = 0; for slot of field: e = data[index[row, slot], strip]; f += e; q += e * e
 *         f_m[row, strip] = f; q_m[row, strip] = q
 */
uint32_t l_emit_pools(fl_gen *gen, const fl_id *nodes, uint32_t n)
{
    pool pools[MAX_POOLS];
    uint32_t n_pools = 0;
    LLVMValueRef v_from, v_to;
    l_loop row, first;
    l_if more;

    while (n_pools < n && n_pools < MAX_POOLS && (n_pools == 0 || fl_share_far_index(gen->g, nodes[0], nodes[n_pools])) &&
           begin_pool(gen, nodes[n_pools], &pools[n_pools]))
        n_pools++;
    if (n_pools == 0)
        return 1;
    l_rows(gen, fl_value_type(gen->g, pools->index)->dims[0], &v_from, &v_to);
    int64_t ahead = rows_ahead(pools, n_pools);
    if (ahead > 0) {
        LLVMValueRef v_end = l_add(gen, v_from, l_i64(gen, ahead));
        v_end = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v_end, v_to, ""), v_end, v_to, "");
        l_loop_begin(gen, &first, v_from, v_end, 1);
        prefetch_row(pools, n_pools, first.v_i);
        l_loop_end(gen, &first);
    }
    l_loop_begin(gen, &row, v_from, v_to, 1);
    if (ahead > 0) {
        LLVMValueRef v_next = l_add(gen, row.v_i, l_i64(gen, ahead));
        l_if_begin(gen, &more, LLVMBuildICmp(gen->b, LLVMIntSLT, v_next, v_to, ""));
        prefetch_row(pools, n_pools, v_next);
        l_if_end(gen, &more);
    }
    for (uint32_t i = 0; i < n_pools; i++)
        pool_row(&pools[i], row.v_i);
    l_loop_end(gen, &row);
    return n_pools;
}

void fl_emit_field_pool(fl_gen *gen, fl_id node)
{
    (void)l_emit_pools(gen, &node, 1);
}

/* ------------------------------------------------------------------------------------------- interaction */

typedef struct interaction {
    fl_gen *gen;
    const fl_node *node;
    uint32_t fields;
    LLVMValueRef *v_r_mf, *v_r_fm; /* kept in registers; NULL: loaded at use */
} interaction;

static LLVMValueRef weight(const interaction *x, fl_id r, const LLVMValueRef *kept, uint32_t i)
{
    fl_gen *gen = x->gen;

    if (kept != NULL)
        return kept[i];
    return l_load(gen, FL_FLOAT, l_element_address(gen, r, l_i64(gen, i), l_i64(gen, 0)), 1);
}

static LLVMValueRef operand(const interaction *x, uint32_t i, LLVMValueRef v_row, LLVMValueRef v_j, unsigned width)
{
    return l_load(x->gen, FL_FLOAT, l_element_address(x->gen, x->node->in[i], v_row, v_j), width);
}

static LLVMValueRef plus(fl_gen *gen, LLVMValueRef v_sum, LLVMValueRef v)
{
    return v_sum == NULL ? v : LLVMBuildFAdd(gen->b, v_sum, v, "");
}

static void interact_chunk(const interaction *x, LLVMValueRef v_row, LLVMValueRef v_j, unsigned width)
{
    fl_gen *gen = x->gen;
    const fl_node *n = x->node;
    uint32_t m = x->fields, pair = 0;
    LLVMValueRef v_h = NULL, v_kept[KEEP_FIELDS];

    for (uint32_t i = 0; m <= KEEP_FIELDS && i < m; i++)
        v_kept[i] = operand(x, 2 + i, v_row, v_j, width);
    for (uint32_t i = 0; n->in[0] != FL_NONE && i < m; i++) {
        LLVMValueRef v_i = m <= KEEP_FIELDS ? v_kept[i] : operand(x, 2 + i, v_row, v_j, width);

        for (uint32_t k = i + 1; k < m; k++, pair++) {
            LLVMValueRef v_k = m <= KEEP_FIELDS ? v_kept[k] : operand(x, 2 + k, v_row, v_j, width);
            LLVMValueRef v_r = l_splat(gen, weight(x, n->in[0], x->v_r_mf, pair), width);

            v_h = plus(gen, v_h, LLVMBuildFMul(gen->b, v_r, LLVMBuildFMul(gen->b, v_i, v_k, ""), ""));
            if (pair % BREAK_AFTER == BREAK_AFTER - 1)
                l_break_block(gen);
        }
    }
    for (uint32_t i = 0; n->in[1] != FL_NONE && i < m; i++) {
        LLVMValueRef v_f, v_q, v_r;

        if (n->in[2 + m + i] == FL_NONE)
            continue;
        v_f = m <= KEEP_FIELDS ? v_kept[i] : operand(x, 2 + i, v_row, v_j, width);
        v_q = operand(x, 2 + m + i, v_row, v_j, width);
        v_r = l_splat(gen, weight(x, n->in[1], x->v_r_fm, i), width);
        v_f = LLVMBuildFSub(gen->b, LLVMBuildFMul(gen->b, v_f, v_f, ""), v_q, "");
        v_h = plus(gen, v_h, LLVMBuildFMul(gen->b, v_r, v_f, ""));
        if (i % BREAK_AFTER == BREAK_AFTER - 1)
            l_break_block(gen);
    }
    if (v_h == NULL)
        v_h = LLVMConstNull(l_vector(gen->f32, width));
    l_store(gen, FL_FLOAT, v_h, l_element_address(gen, n->out[0], v_row, v_j));
}

/* Few weights are loaded once a call. */
static LLVMValueRef *keep_weights(fl_gen *gen, fl_id r, uint32_t n, uint32_t fields)
{
    LLVMValueRef *kept;

    if (r == FL_NONE || fields > KEEP_FIELDS)
        return NULL;
    kept = fl_arena_new(&gen->arena, LLVMValueRef, n);
    for (uint32_t i = 0; kept != NULL && i < n; i++)
        kept[i] = l_load(gen, FL_FLOAT, l_element_address(gen, r, l_i64(gen, i), l_i64(gen, 0)), 1);
    return kept;
}

/*
 * FieldInteraction:
 * for row: for chunks of columns:
 *     h = sum over pairs i < j of r_mf[ij] * (f_i * f_j), then over m of r_fm[m] * (f_m * f_m - q_m), in that order
 */
void fl_emit_field_interaction(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    interaction x = {.gen = gen, .node = n, .fields = (uint32_t)fl_node_int(gen->g, node, "fields", 0)};
    const fl_type *t = fl_value_type(gen->g, n->out[0]);
    int64_t width, full;
    LLVMValueRef v_from, v_to;
    l_loop row, chunk;

    if (n->n_in != 2 + 2 * x.fields || t->rank != 2 || FL_DIM_IS_SYM(t->dims[1])) {
        l_unsupported(gen, node, "its attribute `fields` does not fit its operands");
        return;
    }
    width = t->dims[1];
    full = width / L_LANES * L_LANES;
    x.v_r_mf = keep_weights(gen, n->in[0], x.fields * (x.fields - 1) / 2, x.fields);
    x.v_r_fm = keep_weights(gen, n->in[1], x.fields, x.fields);
    l_rows(gen, t->dims[0], &v_from, &v_to);
    l_loop_begin(gen, &row, v_from, v_to, 1);
    if (full > 0) {
        l_loop_begin(gen, &chunk, l_i64(gen, 0), l_i64(gen, full), L_LANES);
        interact_chunk(&x, row.v_i, chunk.v_i, L_LANES);
        l_loop_end(gen, &chunk);
    }
    for (int64_t j = full; j < width;) {
        unsigned w = l_chunk(width - j);

        interact_chunk(&x, row.v_i, l_i64(gen, j), w);
        j += w;
    }
    l_loop_end(gen, &row);
}
