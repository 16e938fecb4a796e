/*
 * emit_rows.c -- pooling of gathered rows, and what becomes of the pools: row code, everything in registers.
 */
#include "backend/llvm/emit.h"

enum { STRIP = 4, KEEP_FIELDS = 4, BREAK_AFTER = 16, LINE = 64, NEAR_BYTES = 256 * 1024 };

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

static void prefetch_row(const pool *p, LLVMValueRef v_row)
{
    fl_gen *gen = p->gen;
    l_loop slot;

    l_loop_begin(gen, &slot, l_i64(gen, 0), l_i64(gen, p->slots), 1);
    for (int64_t byte = 0; byte < p->width * 4 && byte < 8 * LINE; byte += LINE)
        l_prefetch(gen, l_at(gen, FL_INT8, indexed_row(p, v_row, slot.v_i), l_i64(gen, byte)));
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

/*
 * FieldPool:
 * for row: for strips of up to 64 columns: for field:
 *     f = 0; q = 0; for slot of field: e = data[index[row, slot], strip]; f += e; q += e * e
 *     f_m[row, strip] = f; q_m[row, strip] = q
 */
void fl_emit_field_pool(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_attr *fields = fl_node_attr(gen->g, node, "fields");
    pool p = {.gen = gen, .data = n->in[0], .index = n->in[1], .node = n};
    const fl_type *t = fl_value_type(gen->g, n->in[0]);
    LLVMValueRef v_from, v_to, v_next;
    l_loop row, strip;
    l_if more;
    int64_t full;

    if (fields == NULL || fields->kind != FL_ATTR_INTS || t->rank != 2 || FL_DIM_IS_SYM(t->dims[1])) {
        l_unsupported(gen, node, "it needs rows of static width and attribute `fields`");
        return;
    }
    p.fields = fields->as.ints;
    p.n_fields = fields->n;
    p.width = t->dims[1];
    p.squares = fl_node_int(gen->g, node, "squares", 0) != 0;
    for (uint32_t m = 0; m < p.n_fields; m++)
        p.slots += p.fields[m];
    l_rows(gen, fl_value_type(gen->g, p.index)->dims[0], &v_from, &v_to);
    if (l_is_far(gen, p.data)) {
        l_if_begin(gen, &more, LLVMBuildICmp(gen->b, LLVMIntSLT, v_from, v_to, ""));
        prefetch_row(&p, v_from);
        l_if_end(gen, &more);
    }
    l_loop_begin(gen, &row, v_from, v_to, 1);
    if (l_is_far(gen, p.data)) {
        v_next = l_add(gen, row.v_i, l_i64(gen, 1));
        l_if_begin(gen, &more, LLVMBuildICmp(gen->b, LLVMIntSLT, v_next, v_to, ""));
        prefetch_row(&p, v_next);
        l_if_end(gen, &more);
    }
    full = p.width / (STRIP * L_LANES) * (STRIP * L_LANES);
    if (full > 0) {
        l_loop_begin(gen, &strip, l_i64(gen, 0), l_i64(gen, full), STRIP * L_LANES);
        pool_strip(&p, row.v_i, strip.v_i, STRIP, L_LANES);
        l_loop_end(gen, &strip);
    }
    for (int64_t j = full; j < p.width;) {
        unsigned width = l_chunk(p.width - j), count = width == L_LANES ? (unsigned)((p.width - j) / L_LANES) : 1;

        pool_strip(&p, row.v_i, l_i64(gen, j), count, width);
        j += count * width;
    }
    l_loop_end(gen, &row);
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
