/*
 * emit_rows.c -- pooling of gathered rows, and what becomes of the pools: row code, everything in registers.
 */
#include "backend/llvm/emit.h"

#include "ir/rows.h"
#include "runtime/abi.h"

#include <stddef.h>

enum { STRIP = 4, KEEP_FIELDS = 4, BREAK_AFTER = 16, LINE = 64, NEAR_BYTES = 256 * 1024, FAR_BYTES = 16 << 20, MAX_LINES = 8, MAX_POOLS = 8, AHEAD_LINES = 400, MAX_AHEAD = 4, MAX_UNROLLED = 256, MAX_UNROLLED_LOADS = 128, MAX_UNROLLED_SWEEP = 256, MAX_PARTS = 8 };

typedef struct pool {
    fl_gen *gen;
    fl_id data, index;
    const fl_node *node;
    const int64_t *fields;
    uint32_t n_fields;
    int64_t width, slots;
    bool squares;
    int64_t sums; /* of slots that come in windows (ir/windows.h): first of its sums in a batch row's; -1: all slots at once */
    LLVMValueRef v_from, v_to; /* the window */
    LLVMValueRef v_sums_in, v_sums_stride, v_sums_out;
} pool;

/* A window's sums begin where those of the windows before ended. */
static LLVMValueRef sums_so_far(const pool *p, LLVMValueRef v_sums, LLVMValueRef v_stride, LLVMValueRef v_row, uint32_t out, LLVMValueRef v_column)
{
    return l_at(p->gen, FL_FLOAT, v_sums, l_add(p->gen, l_mul(p->gen, v_row, v_stride), l_add(p->gen, l_i64(p->gen, p->sums + out * p->width), v_column)));
}

static fl_id wanted(const pool *p, uint32_t out)
{
    fl_id v = out < p->node->n_out ? p->node->out[out] : FL_NONE;

    return v != FL_NONE && p->gen->schedule->storage[v].kind != FL_STORAGE_NONE ? v : FL_NONE;
}

/* The index that lies at v_at, i64. */
static LLVMValueRef load_index(const pool *p, LLVMValueRef v_at)
{
    fl_gen *gen = p->gen;
    fl_dtype dtype = fl_value_type(gen->g, p->index)->dtype;
    LLVMValueRef v_index = l_load(gen, dtype, v_at, 1);

    return dtype == FL_INT64 ? v_index : LLVMBuildSExt(gen->b, v_index, gen->i64, "");
}

/* index[row, slot] */
static LLVMValueRef row_index(const pool *p, LLVMValueRef v_row, LLVMValueRef v_slot)
{
    return load_index(p, l_element_address(p->gen, p->index, v_row, v_slot));
}

bool l_is_far(const fl_gen *gen, fl_id data)
{
    const fl_value *v = &gen->g->values[data];
    int64_t rows = v->type.dims[0];

    return v->kind == FL_VALUE_VARIABLE && (FL_DIM_IS_SYM(rows) || rows > NEAR_BYTES / 4 / l_row_elements(&v->type));
}

/* May this be more than the caches hold? Tables by their rows, as they are; buffers of distinct rows by the batch, which the code sees when it runs. */
static bool may_be_far(const fl_gen *gen, fl_id data)
{
    return l_is_far(gen, data) || (gen->schedule->storage[data].kind == FL_STORAGE_BUFFER && FL_DIM_IS_SYM(gen->g->values[data].type.dims[0]));
}

/* What to fetch while other rows are added: that which the batch's row v_row names; none if that is NULL. */
typedef struct ahead {
    const pool *pools;
    uint32_t n;
    LLVMValueRef v_row;
    bool usual; /* the way that most rows go, with or without fetching: worth more code than the other */
} ahead;

/* The rows that one slot names in all tables: what stands in one record is fetched together. */
static void prefetch_slot(const ahead *a, LLVMValueRef v_slot)
{
    fl_gen *gen = a->pools->gen;
    LLVMValueRef v_index = row_index(a->pools, a->v_row, v_slot);

    for (uint32_t i = 0; i < a->n; i++) {
        if (!may_be_far(gen, a->pools[i].data))
            continue;
        LLVMValueRef v_at = l_element_address(gen, a->pools[i].data, v_index, l_i64(gen, 0));
        for (int64_t byte = 0; byte < a->pools[i].width * 4 && byte < MAX_LINES * LINE; byte += LINE)
            l_prefetch(gen, l_at(gen, FL_INT8, v_at, l_i64(gen, byte)));
    }
}

static void prefetch_row(const ahead *a)
{
    fl_gen *gen = a->pools->gen;
    l_loop slot;

    l_loop_begin(gen, &slot, a->pools->v_from, a->pools->v_to, 1);
    prefetch_slot(a, slot.v_i);
    l_loop_end(gen, &slot);
}

/* Columns [v_column, + n * width) of a pool in a sweep over the slots: sums of its current field, then sums of squares. */
typedef struct part {
    const pool *p;
    LLVMValueRef v_column;
    unsigned n, width;
    uint32_t field;
    int64_t end; /* slot behind that field */
    LLVMValueRef v_sums[2 * STRIP];
} part;

/* The output for the current field's sums or squares. */
static fl_id output(const part *a, bool squares)
{
    if (a->field >= a->p->n_fields || (squares && !a->p->squares))
        return FL_NONE;
    return wanted(a->p, a->field + squares * a->p->n_fields);
}

static void begin_field(part *a, uint32_t field, LLVMValueRef v_row)
{
    const pool *p = a->p;

    a->field = field;
    if (field < p->n_fields)
        a->end += p->fields[field];
    for (unsigned c = 0; c < 2 * a->n; c++) {
        uint32_t out = field + (c >= a->n ? p->n_fields : 0);

        a->v_sums[c] = LLVMConstNull(l_vector(p->gen->f32, a->width));
        if (p->sums >= 0 && field < p->n_fields && output(a, c >= a->n) != FL_NONE)
            a->v_sums[c] = l_load(p->gen, FL_FLOAT, sums_so_far(p, p->v_sums_in, p->v_sums_stride, v_row, out, l_add(p->gen, a->v_column, l_i64(p->gen, c % a->n * a->width))), a->width);
    }
}

/* One slot's row into those sums that an output wants. */
static void add_row(part *a, LLVMValueRef v_index)
{
    fl_gen *gen = a->p->gen;
    bool f = output(a, false) != FL_NONE, q = output(a, true) != FL_NONE;
    LLVMValueRef v_at;

    if (!f && !q)
        return;
    v_at = l_at(gen, FL_FLOAT, l_element_address(gen, a->p->data, v_index, l_i64(gen, 0)), a->v_column);
    for (unsigned c = 0; c < a->n; c++) {
        LLVMValueRef v = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_at, l_i64(gen, c * a->width)), a->width);

        if (f)
            a->v_sums[c] = LLVMBuildFAdd(gen->b, a->v_sums[c], v, "");
        if (q)
            a->v_sums[a->n + c] = LLVMBuildFAdd(gen->b, a->v_sums[a->n + c], LLVMBuildFMul(gen->b, v, v, ""), "");
    }
}

static void store_field(const part *a, LLVMValueRef v_row)
{
    fl_gen *gen = a->p->gen;

    for (unsigned c = 0; c < 2 * a->n; c++) {
        fl_id out = output(a, c >= a->n);
        LLVMValueRef v_j = l_add(gen, a->v_column, l_i64(gen, c % a->n * a->width));

        if (out != FL_NONE && gen->part)
            l_store(gen, FL_FLOAT, a->v_sums[c],
                    sums_so_far(a->p, a->p->v_sums_out, l_i64(gen, gen->windows.sums), v_row, a->field + (c >= a->n ? a->p->n_fields : 0), v_j));
        else if (out != FL_NONE)
            l_store(gen, FL_FLOAT, a->v_sums[c], l_element_address(gen, out, v_row, v_j));
    }
}

/* Sums that go round a loop: those that an output wants; `begin`: enter it, else they are handed on. */
static void carry_parts(part *parts, unsigned n, l_loop *slot, bool begin)
{
    unsigned carried = 1;

    for (unsigned i = 0; i < n; i++)
        for (unsigned c = 0; c < 2 * parts[i].n; c++) {
            if (output(&parts[i], c >= parts[i].n) == FL_NONE)
                continue;
            if (begin)
                parts[i].v_sums[c] = l_carry(parts->p->gen, slot, parts[i].v_sums[c]);
            else
                l_next(slot, carried++, parts[i].v_sums[c]);
        }
}

static void end_parts(part *parts, unsigned n, const l_loop *slot)
{
    unsigned carried = 1;

    for (unsigned i = 0; i < n; i++)
        for (unsigned c = 0; c < 2 * parts[i].n; c++)
            if (output(&parts[i], c >= parts[i].n) != FL_NONE)
                parts[i].v_sums[c] = slot->v_result[carried++];
}

/* Slot v_slot, whose index lies at *v_at, which moves on. */
static void sweep_slot(part *parts, unsigned n, LLVMValueRef v_slot, LLVMValueRef *v_at, const ahead *next)
{
    fl_gen *gen = parts->p->gen;
    fl_id index = parts->p->index;

    if (next->v_row != NULL)
        prefetch_slot(next, v_slot);
    LLVMValueRef v_index = load_index(parts->p, *v_at);
    for (unsigned i = 0; i < n; i++)
        add_row(&parts[i], v_index);
    *v_at = l_at(gen, fl_value_type(gen->g, index)->dtype, *v_at, l_stride(gen, index, 1));
}

/* Vectors that so many slots have for the parts. */
static int64_t loads_of(const part *parts, unsigned n, int64_t slots)
{
    int64_t each = 0;

    for (unsigned i = 0; i < n; i++)
        each += parts[i].n;
    return slots * each;
}

/*
 * Slots [from, to), inside of one field of each part. A processor guesses the end of a loop of two dozen turns wrong more often than right, which costs as
 * much as three slots: such loops are unrolled (a step of FLEN, batch 512: 3 us of 290). Not so where many fields would make a block of thousands of instructions,
 * which LLVM takes more than proportional time for: of 1000 fields of one slot six times as long.
 */
static void sweep_slots(part *parts, unsigned n, LLVMValueRef v_row, int64_t from, int64_t to, const ahead *next)
{
    fl_gen *gen = parts->p->gen;
    const pool *p = parts->p;
    LLVMValueRef v_from = l_i64(gen, from), v_to = l_i64(gen, to), v_at;
    l_loop slot;

    if (p->sums >= 0) {
        v_from = l_max_i64(gen, v_from, p->v_from);
        v_to = l_min_i64(gen, v_to, p->v_to);
    }
    v_at = l_element_address(gen, p->index, v_row, v_from);
    if (p->sums < 0 && next->usual && loads_of(parts, n, to - from) <= MAX_UNROLLED_LOADS && loads_of(parts, n, p->slots) <= MAX_UNROLLED_SWEEP) {
        for (; from < to; from++)
            sweep_slot(parts, n, l_i64(gen, from), &v_at, next);
        return;
    }
    l_loop_begin(gen, &slot, v_from, v_to, 1);
    v_at = l_carry(gen, &slot, v_at);
    carry_parts(parts, n, &slot, true);
    sweep_slot(parts, n, slot.v_i, &v_at, next);
    l_next(&slot, 0, v_at);
    carry_parts(parts, n, &slot, false);
    l_loop_end(gen, &slot);
    end_parts(parts, n, &slot);
}

/* All slots of a row, once for all parts: a loop up to each slot at which a field of some part ends. */
static void sweep(part *parts, unsigned n, LLVMValueRef v_row, const ahead *next)
{
    int64_t slots = parts->p->slots, from = 0, to;

    for (unsigned i = 0; i < n; i++)
        begin_field(&parts[i], 0, v_row);
    for (;; from = to) {
        bool more = false, any = false;

        to = slots;
        for (unsigned i = 0; i < n; i++) {
            if (parts[i].field >= parts[i].p->n_fields)
                continue;
            more = true;
            any = any || output(&parts[i], false) != FL_NONE || output(&parts[i], true) != FL_NONE;
            to = parts[i].end < to ? parts[i].end : to;
        }
        if (!more)
            return;
        if (any && to > from)
            sweep_slots(parts, n, v_row, from, to, next);
        for (unsigned i = 0; i < n; i++)
            for (; parts[i].field < parts[i].p->n_fields && parts[i].end == to; begin_field(&parts[i], parts[i].field + 1, v_row))
                store_field(&parts[i], v_row);
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
    p->v_from = l_i64(gen, 0);
    p->v_to = l_i64(gen, p->slots);
    p->sums = -1;
    uint32_t k = gen->windows.segment == FL_NONE ? FL_NONE : fl_windows_pool(&gen->windows, node);
    if (k == FL_NONE)
        return true;
    p->sums = gen->windows.at[k];
    p->v_from = l_context_i64(gen, offsetof(fl_ctx, window_from));
    p->v_to = l_context_i64(gen, offsetof(fl_ctx, window_to));
    p->v_sums_in = l_context_address(gen, offsetof(fl_ctx, sums_in));
    p->v_sums_stride = l_context_i64(gen, offsetof(fl_ctx, sums_stride));
    p->v_sums_out = l_context_address(gen, offsetof(fl_ctx, sums_out));
    return true;
}

/* Registers for sums of one sweep; the others are for loads, products and addresses. */
static unsigned budget(const fl_gen *gen)
{
    return gen->n_registers - 4;
}

static unsigned registers_of(const pool *p, unsigned n, unsigned width)
{
    unsigned each = (width + p->gen->register_lanes - 1) / p->gen->register_lanes;

    return n * each * (1 + p->squares);
}

/* Vectors of L_LANES in a strip of this pool: the most whose sums fit. */
static unsigned strip_vectors(const pool *p)
{
    unsigned n = STRIP;

    while (n > 1 && registers_of(p, n, L_LANES) > budget(p->gen))
        n /= 2;
    return n;
}

/* Strips of up to as many columns as one sweep takes, in a loop; returns the column behind them. */
static int64_t pool_loop(const pool *p, LLVMValueRef v_row)
{
    unsigned vectors = strip_vectors(p);
    int64_t step = (int64_t)vectors * L_LANES, to = p->width / step * step;
    l_loop strip;

    l_loop_begin(p->gen, &strip, l_i64(p->gen, 0), l_i64(p->gen, to), step);
    sweep(&(part){.p = p, .v_column = strip.v_i, .n = vectors, .width = L_LANES}, 1, v_row, &(ahead){0});
    l_loop_end(p->gen, &strip);
    return to;
}

/*
 * Pools of one index, with as few sweeps over a row's slots as registers allow: what a record holds is met at once, and its place computed once. The
 * first sweep fetches the rows of `next` meanwhile, slot by slot: all at once they would fill the queue of lines that are under way.
 */
static void pool_row(const pool *pools, uint32_t n, LLVMValueRef v_row, ahead next)
{
    fl_gen *gen = pools->gen;
    part parts[MAX_PARTS];
    unsigned n_parts = 0, registers = 0;

    for (uint32_t i = 0; i < n; i++) {
        const pool *p = &pools[i];
        unsigned vectors = strip_vectors(p), count, width;
        int64_t j = 0;

        if (p->width > MAX_UNROLLED) {
            if (next.v_row != NULL)
                prefetch_row(&next);
            next.v_row = NULL;
            j = pool_loop(p, v_row);
        }
        for (; j < p->width; j += count * width) {
            width = l_chunk(p->width - j);
            count = width < L_LANES ? 1 : p->width - j < vectors * L_LANES ? (unsigned)((p->width - j) / L_LANES) : vectors;
            if (n_parts == MAX_PARTS || (n_parts > 0 && registers + registers_of(p, count, width) > budget(gen))) {
                sweep(parts, n_parts, v_row, &next);
                next.v_row = NULL;
                n_parts = registers = 0;
            }
            parts[n_parts++] = (part){.p = p, .v_column = l_i64(gen, j), .n = count, .width = width};
            registers += registers_of(p, count, width);
        }
    }
    if (n_parts > 0)
        sweep(parts, n_parts, v_row, &next);
}

/* Rows of the batch to fetch ahead: as many as fill part of the first cache. */
static int64_t rows_ahead(const pool *pools, uint32_t n)
{
    int64_t lines = 0, rows;

    for (uint32_t i = 0; i < n; i++)
        if (may_be_far(pools->gen, pools[i].data))
            lines += pools[i].slots * ((pools[i].width * 4 + LINE - 1) / LINE);
    if (lines == 0)
        return 0;
    rows = AHEAD_LINES / lines;
    return rows < 1 ? 1 : rows > MAX_AHEAD ? MAX_AHEAD : rows;
}

static bool is_made_here(const fl_gen *gen, fl_id value)
{
    fl_id node = fl_value_node(gen->g, value);

    for (uint32_t i = 0; i < gen->segment->n_nodes; i++)
        if (gen->segment->nodes[i] == node)
            return true;
    return false;
}

/* Up to which row of the batch indices are there to fetch by: this call's last, or, where they were there before, those of the calls that follow, too. */
static LLVMValueRef last_index(const pool *p, LLVMValueRef v_to)
{
    fl_gen *gen = p->gen;
    fl_dim rows = fl_value_type(gen->g, p->index)->dims[0];

    if (gen->segment->domain != FL_DOMAIN_ROWS || rows != gen->row_dim || is_made_here(gen, p->index))
        return v_to;
    return l_extent(gen, rows);
}

/* `v_last`, or v_from, which fetches nothing, if buffers alone might be far and are not. */
static LLVMValueRef fetch_up_to(const pool *pools, uint32_t n, LLVMValueRef v_from, LLVMValueRef v_last)
{
    fl_gen *gen = pools->gen;
    LLVMValueRef v_bytes = l_i64(gen, 0);

    for (uint32_t i = 0; i < n; i++) {
        if (l_is_far(gen, pools[i].data))
            return v_last;
        if (may_be_far(gen, pools[i].data)) {
            LLVMValueRef v_rows = l_extent(gen, fl_value_type(gen->g, pools[i].data)->dims[0]);

            if (pools[i].sums >= 0)
                v_rows = l_mul(gen, LLVMBuildUDiv(gen->b, v_rows, l_i64(gen, pools[i].slots), ""), LLVMBuildSub(gen->b, pools[i].v_to, pools[i].v_from, ""));
            v_bytes = l_add(gen, v_bytes, l_mul(gen, v_rows, l_i64(gen, pools[i].width * 4)));
        }
    }
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSGT, v_bytes, l_i64(gen, FAR_BYTES), ""), v_last, v_from, "");
}

static void pool_rows(const pool *pools, uint32_t n, LLVMValueRef v_from, LLVMValueRef v_to, int64_t rows_ahead)
{
    fl_gen *gen = pools->gen;
    ahead next = {.pools = pools, .n = n};
    l_loop row;
    bool far = false;

    for (uint32_t i = 0; i < n; i++)
        far = far || l_is_far(gen, pools[i].data);
    next.usual = far == (rows_ahead > 0);

    l_loop_begin(gen, &row, v_from, v_to, 1);
    if (rows_ahead > 0)
        next.v_row = l_add(gen, row.v_i, l_i64(gen, rows_ahead));
    pool_row(pools, n, row.v_i, next);
    l_loop_end(gen, &row);
}

/*
 * FieldPool, and those behind it that look up by the same index in far tables, whose rows stand in one record:
 * for row: (meanwhile, slot by slot: fetch the rows that row + ahead names)
 *     for as many strips of up to 64 columns as fit into the registers: for slots up to where some field ends:
 *         for slot: for strip: e = data[index[row, slot], strip]; f += e; q += e * e
 *         where field m ends: f_m[row, strip] = f; q_m[row, strip] = q; f = 0; q = 0
 */
uint32_t l_emit_pools(fl_gen *gen, const fl_id *nodes, uint32_t n)
{
    pool pools[MAX_POOLS];
    uint32_t n_pools = 0;
    LLVMValueRef v_from, v_to;
    l_loop first;

    while (n_pools < n && n_pools < MAX_POOLS && (n_pools == 0 || fl_share_far_index(gen->g, nodes[0], nodes[n_pools])) &&
           begin_pool(gen, nodes[n_pools], &pools[n_pools]))
        n_pools++;
    if (n_pools == 0)
        return 1;
    l_rows(gen, fl_value_type(gen->g, pools->index)->dims[0], &v_from, &v_to);
    int64_t n_ahead = rows_ahead(pools, n_pools);
    if (n_ahead > 0) {
        LLVMValueRef v_end = fetch_up_to(pools, n_pools, v_from, l_min_i64(gen, l_add(gen, v_from, l_i64(gen, n_ahead)), v_to));
        l_loop_begin(gen, &first, v_from, v_end, 1);
        prefetch_row(&(ahead){.pools = pools, .n = n_pools, .v_row = first.v_i});
        l_loop_end(gen, &first);
        v_end = fetch_up_to(pools, n_pools, v_from, l_min_i64(gen, l_add(gen, last_index(pools, v_to), l_i64(gen, -n_ahead)), v_to));
        pool_rows(pools, n_pools, v_from, v_end, n_ahead);
        v_from = l_max_i64(gen, v_from, v_end);
    }
    pool_rows(pools, n_pools, v_from, v_to, 0);
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
