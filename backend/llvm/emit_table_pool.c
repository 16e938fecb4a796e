/*
 * emit_table_pool.c -- pooling of rows that are looked up in several tables, each by an index of its own: row code, sums in registers.
 */
#include "backend/llvm/emit.h"

enum { STRIP = 4, BREAK_AFTER = 16, LINE = 64, MAX_LINES = 8 };

typedef struct pool {
    fl_gen *gen;
    const fl_node *node;
    const int64_t *fields;
    uint32_t n_fields;
    int64_t width;
    bool squares;
    LLVMValueRef *v_rows; /* by table: its number of rows */
    LLVMValueRef v_row;   /* of the batch */
} pool;

/* Columns of the index of table k. */
static int64_t columns_of(const pool *p, uint32_t k)
{
    const fl_type *t = fl_value_type(p->gen->g, p->node->in[2 * k + 1]);

    return t->rank == 2 ? t->dims[1] : 1;
}

static fl_id wanted(const pool *p, uint32_t out)
{
    fl_id v = out < p->node->n_out ? p->node->out[out] : FL_NONE;

    return v != FL_NONE && p->gen->schedule->storage[v].kind != FL_STORAGE_NONE ? v : FL_NONE;
}

/* Address of the row of table k that its index names in column v_column. As Gather: negative ones count from the end, and one beyond the table reads row 0. */
static LLVMValueRef indexed_row(const pool *p, uint32_t k, LLVMValueRef v_row, LLVMValueRef v_column)
{
    fl_gen *gen = p->gen;
    fl_id index = p->node->in[2 * k + 1];
    fl_dtype dtype = fl_value_type(gen->g, index)->dtype;
    LLVMValueRef v = l_load(gen, dtype, l_element_address(gen, index, v_row, v_column), 1), v_negative, v_inside;

    if (dtype != FL_INT64)
        v = LLVMBuildSExt(gen->b, v, gen->i64, "");
    v_negative = LLVMBuildAShr(gen->b, v, l_i64(gen, 63), "");
    v = l_add(gen, v, LLVMBuildAnd(gen->b, v_negative, p->v_rows[k], ""));
    v_inside = LLVMBuildICmp(gen->b, LLVMIntULT, v, p->v_rows[k], "");
    v = LLVMBuildSelect(gen->b, v_inside, v, l_i64(gen, 0), "");
    return l_element_address(gen, p->node->in[2 * k], v, l_i64(gen, 0));
}

/* What row v_row will look up in tables beyond the cache. */
static void prefetch_row(const pool *p, LLVMValueRef v_row)
{
    fl_gen *gen = p->gen;

    for (uint32_t k = 0; k < fl_look_ups(p->node); k++) {
        l_loop column;

        if (!l_is_far(gen, p->node->in[2 * k]))
            continue;
        l_loop_begin(gen, &column, l_i64(gen, 0), l_i64(gen, columns_of(p, k)), 1);
        for (int64_t byte = 0; byte < p->width * 4 && byte < MAX_LINES * LINE; byte += LINE)
            l_prefetch(gen, l_at(gen, FL_INT8, indexed_row(p, k, v_row, column.v_i), l_i64(gen, byte)));
        l_loop_end(gen, &column);
    }
}

/* The next `left` columns, from column `at` of table *k on; sums and then sums of squares, n of each, NULL while there are none. */
typedef struct run {
    uint32_t k;
    int64_t at, left;
} run;

static void add_chunk(const pool *p, LLVMValueRef *v_sum, LLVMValueRef v)
{
    *v_sum = *v_sum ? LLVMBuildFAdd(p->gen->b, *v_sum, v, "") : v;
}

static void add_row(const pool *p, LLVMValueRef v_address, unsigned n, unsigned width, bool squared, LLVMValueRef *v_sums)
{
    fl_gen *gen = p->gen;

    for (unsigned c = 0; c < n; c++) {
        LLVMValueRef v = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_address, l_i64(gen, c * width)), width);

        add_chunk(p, &v_sums[c], v);
        if (squared)
            add_chunk(p, &v_sums[n + c], LLVMBuildFMul(gen->b, v, v, ""));
    }
}

/* Many columns of one index in a loop, the first of all outside. */
static void add_run(const pool *p, const run *r, int64_t columns, LLVMValueRef v_strip, unsigned n, unsigned width, bool squared, LLVMValueRef *v_sums)
{
    fl_gen *gen = p->gen;
    int64_t from = r->at, to = r->at + columns;
    unsigned n_sums = squared ? 2 * n : n;
    LLVMValueRef v_in[2 * STRIP];
    l_loop column;

    if (v_sums[0] == NULL || columns == 1) {
        add_row(p, l_at(gen, FL_FLOAT, indexed_row(p, r->k, p->v_row, l_i64(gen, from)), v_strip), n, width, squared, v_sums);
        from++;
    }
    if (from == to)
        return;
    l_loop_begin(gen, &column, l_i64(gen, from), l_i64(gen, to), 1);
    for (unsigned c = 0; c < n_sums; c++)
        v_in[c] = l_carry(gen, &column, v_sums[c]);
    add_row(p, l_at(gen, FL_FLOAT, indexed_row(p, r->k, p->v_row, column.v_i), v_strip), n, width, squared, v_in);
    for (unsigned c = 0; c < n_sums; c++)
        l_next(&column, c, v_in[c]);
    l_loop_end(gen, &column);
    for (unsigned c = 0; c < n_sums; c++)
        v_sums[c] = column.v_result[c];
}

/* Columns [v_strip, + n * width) of every field of a row. */
static void pool_strip(const pool *p, LLVMValueRef v_strip, unsigned n, unsigned width)
{
    fl_gen *gen = p->gen;
    run r = {0};
    unsigned straight = 0;

    for (uint32_t m = 0; m < p->n_fields; m++) {
        fl_id f = wanted(p, m), q = p->squares ? wanted(p, p->n_fields + m) : FL_NONE;
        LLVMValueRef v_sums[2 * STRIP] = {NULL};

        for (r.left = p->fields[m]; r.left > 0;) {
            int64_t rest = columns_of(p, r.k) - r.at, columns = r.left < rest ? r.left : rest;

            if (columns > 0 && (f != FL_NONE || q != FL_NONE)) {
                add_run(p, &r, columns, v_strip, n, width, q != FL_NONE, v_sums);
                if (++straight % BREAK_AFTER == 0)
                    l_break_block(gen);
            }
            r.left -= columns;
            r.at += columns;
            if (columns == rest) {
                r.k++;
                r.at = 0;
            }
        }
        for (unsigned c = 0; c < 2 * n; c++) {
            fl_id out = c < n ? f : q;

            if (out != FL_NONE)
                l_store(gen, FL_FLOAT, v_sums[c], l_element_address(gen, out, p->v_row, l_add(gen, v_strip, l_i64(gen, c % n * width))));
        }
    }
}

static bool setup(pool *p, fl_id node)
{
    fl_gen *gen = p->gen;
    const fl_attr *fields = fl_node_attr(gen->g, node, "fields");
    const fl_type *t = fl_value_type(gen->g, p->node->in[0]);

    if (fields == NULL || fields->kind != FL_ATTR_INTS || t->dtype != FL_FLOAT || FL_DIM_IS_SYM(t->dims[1])) {
        l_unsupported(gen, node, "it needs rows of floats of static width and attribute `fields`");
        return false;
    }
    p->fields = fields->as.ints;
    p->n_fields = fields->n;
    p->width = t->dims[1];
    p->squares = fl_node_int(gen->g, node, "squares", 0) != 0;
    p->v_rows = fl_arena_new(&gen->arena, LLVMValueRef, fl_look_ups(p->node) + 1u);
    for (uint32_t k = 0; p->v_rows != NULL && k < fl_look_ups(p->node); k++)
        p->v_rows[k] = l_extent(gen, fl_value_type(gen->g, p->node->in[2 * k])->dims[0]);
    return p->v_rows != NULL;
}

/*
 * TablePool:
 * for row: for strips of up to 64 columns: for field:
 *     f = q = 0; for column of field, of table k: e = data_k[index_k[row, column], strip]; f += e; q += e * e
 *     f_m[row, strip] = f; q_m[row, strip] = q
 */
void fl_emit_table_pool(fl_gen *gen, fl_id node)
{
    pool p = {.gen = gen, .node = &gen->g->nodes[node]};
    LLVMValueRef v_from, v_to, v_next;
    l_loop row, strip;
    l_if more;
    bool far = false;
    int64_t full;

    if (!setup(&p, node))
        return;
    for (uint32_t k = 0; k < fl_look_ups(p.node); k++)
        far = far || l_is_far(gen, p.node->in[2 * k]);
    l_rows(gen, fl_value_type(gen->g, p.node->in[1])->dims[0], &v_from, &v_to);
    if (far) {
        l_if_begin(gen, &more, LLVMBuildICmp(gen->b, LLVMIntSLT, v_from, v_to, ""));
        prefetch_row(&p, v_from);
        l_if_end(gen, &more);
    }
    l_loop_begin(gen, &row, v_from, v_to, 1);
    if (far) {
        v_next = l_add(gen, row.v_i, l_i64(gen, 1));
        l_if_begin(gen, &more, LLVMBuildICmp(gen->b, LLVMIntSLT, v_next, v_to, ""));
        prefetch_row(&p, v_next);
        l_if_end(gen, &more);
    }
    p.v_row = row.v_i;
    full = p.width / (STRIP * L_LANES) * (STRIP * L_LANES);
    if (full > 0) {
        l_loop_begin(gen, &strip, l_i64(gen, 0), l_i64(gen, full), STRIP * L_LANES);
        pool_strip(&p, strip.v_i, STRIP, L_LANES);
        l_loop_end(gen, &strip);
    }
    for (int64_t j = full; j < p.width;) {
        unsigned width = l_chunk(p.width - j), count = width == L_LANES ? (unsigned)((p.width - j) / L_LANES) : 1;

        pool_strip(&p, l_i64(gen, j), count, width);
        j += count * width;
    }
    l_loop_end(gen, &row);
}
