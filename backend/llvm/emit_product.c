/*
 * emit_product.c -- matrix products for the exact shape.
 *
 *     for strips of columns                        64 wide with 32 registers of 16 lanes, and what is left
 *         [transposed B: the strip is turned into a buffer on the stack, in blocks of 16 x 16 or less]
 *         for blocks of MR rows, then single rows
 *             c[MR][vectors] = 0                   in registers: MR * vectors + vectors + 2 of them at most
 *             for k: b[vectors] = B[k, strip]; for each row: c[row] = fma(splat A[row, k], b, c[row])
 *             C[rows, strip] = act(alpha * c + beta * D)
 *
 * Every element is the sum over k in order, one fma a term, whatever strip or block it falls into: a row's result has the same
 * bits in a batch of any size. A single column is a dot product over lanes instead (the same for each row), or, where A is
 * transposed, a sum of columns.
 */
#include "backend/llvm/emit.h"

#include "ir/base/planted.h"

#include <stdint.h>

enum { PACK_TERMS = 128, NEAR_TERMS = 512, MAX_ROWS = 12, MAX_COMPANY = 8, AHEAD = 16, FEW_ROWS = 4, MAX_TILE = 24, MAX_COLUMNS = 4 * L_LANES };

/* Rows at a time: accumulators, one row of B, the splat of A and one to spare stay in registers. */
static unsigned rows_of(const fl_gen *gen, const l_strip *s)
{
    unsigned spare = gen->n_registers == 32 ? 2 : 1;
    unsigned rows = gen->n_registers > spare + s->registers ? (gen->n_registers - spare - s->registers) / s->registers : 1;

    rows = rows > MAX_ROWS ? MAX_ROWS : rows;
    while (rows > 1 && rows * s->n > MAX_TILE)
        rows--;
    return rows < 1 ? 1 : rows;
}

static LLVMValueRef row_offset(fl_gen *gen, LLVMValueRef v_row, LLVMValueRef v_stride, LLVMValueRef v_column)
{
    return l_add(gen, l_mul(gen, v_row, v_stride), v_column);
}

/* act(alpha * v + beta * d) of a vector at (row, column), stored into C. */
static void finish(fl_gen *gen, const l_product *p, LLVMValueRef v, LLVMValueRef v_row, LLVMValueRef v_column)
{
    unsigned width = l_width(LLVMTypeOf(v));
    LLVMTypeRef t = LLVMTypeOf(v);

    if (p->alpha != 1.0)
        v = LLVMBuildFMul(gen->b, v, l_number(t, p->alpha), "");
    if (p->v_d != NULL) {
        LLVMValueRef v_at = row_offset(gen, v_row, p->v_d_row, p->d_scalar ? l_i64(gen, 0) : v_column);
        LLVMValueRef v_d = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, p->v_d, v_at), p->d_scalar ? 1 : width);

        v_d = l_splat(gen, v_d, width);
        if (p->beta != 1.0)
            v_d = LLVMBuildFMul(gen->b, v_d, l_number(t, p->beta), "");
        v = LLVMBuildFAdd(gen->b, v, v_d, "");
    }
    if (p->relu)
        v = l_max(gen, LLVMConstNull(t), v);
    l_store(gen, FL_FLOAT, v, l_at(gen, FL_FLOAT, p->v_c, row_offset(gen, v_row, p->v_c_row, v_column)));
}

static bool has_finish(const l_product *p)
{
    return p->alpha != 1.0 || p->v_d != NULL || p->relu;
}

/* v_k terms of `rows` rows, from v_pa and v_pb on: these move on, and the sums with them. */
static void emit_terms(fl_gen *gen, const l_product *p, const l_strip *s, unsigned rows, LLVMValueRef v_k, LLVMValueRef *v_pa, LLVMValueRef *v_pb,
                       LLVMValueRef *v_sums)
{
    LLVMValueRef v_b[L_MAX_VECTORS], v_row_at[MAX_ROWS];
    unsigned n = rows * s->n;
    l_loop loop;

    for (unsigned r = 0; r < rows; r++)
        v_row_at[r] = l_mul(gen, l_i64(gen, r), p->v_a_row);
    l_loop_begin(gen, &loop, l_i64(gen, 0), v_k, 1);
    *v_pa = l_carry(gen, &loop, *v_pa);
    *v_pb = l_carry(gen, &loop, *v_pb);
    for (unsigned i = 0; i < n; i++)
        v_sums[i] = l_carry(gen, &loop, v_sums[i]);
    for (unsigned v = 0; v < s->n; v++)
        v_b[v] = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, *v_pb, l_i64(gen, s->at[v])), s->width[v]);
    if (p->v_ahead != NULL)
        l_prefetch(gen, l_at(gen, FL_FLOAT, *v_pa, p->v_ahead));
    for (unsigned r = 0; r < rows; r++) {
        LLVMValueRef v_a = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, *v_pa, v_row_at[r]), 1);

        for (unsigned v = 0; v < s->n; v++)
            l_next(&loop, 2 + r * s->n + v, l_fma(gen, l_splat(gen, v_a, s->width[v]), v_b[v], v_sums[r * s->n + v]));
    }
    l_next(&loop, 0, l_at(gen, FL_FLOAT, *v_pa, p->v_a_k));
    l_next(&loop, 1, l_at(gen, FL_FLOAT, *v_pb, p->v_b_k));
    l_loop_end(gen, &loop);
    *v_pa = loop.v_result[0];
    *v_pb = loop.v_result[1];
    for (unsigned i = 0; i < n; i++)
        v_sums[i] = loop.v_result[2 + i];
}

/* `rows` rows from v_row by strip `s` from v_column: the innermost loop. accumulate: add to what C holds. */
static void emit_tile(fl_gen *gen, const l_product *p, const l_strip *s, unsigned rows, LLVMValueRef v_row,
                      LLVMValueRef v_column, bool accumulate)
{
    LLVMValueRef v_sums[MAX_TILE], v_pa, v_pb;
    unsigned n = rows * s->n;

    for (unsigned i = 0; i < n; i++) {
        LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, s->at[i % s->n]));
        LLVMValueRef v_i = l_add(gen, v_row, l_i64(gen, i / s->n));
        LLVMValueRef v_at = l_at(gen, FL_FLOAT, p->v_c, row_offset(gen, v_i, p->v_c_row, v_j));

        if (!accumulate && p->n > s->columns) /* parts of rows, which come one by one */
            l_prefetch(gen, v_at);
        v_sums[i] = accumulate ? l_load(gen, FL_FLOAT, v_at, s->width[i % s->n])
                               : LLVMConstNull(l_vector(gen->f32, s->width[i % s->n]));
    }
    v_pa = l_at(gen, FL_FLOAT, p->v_a, l_mul(gen, v_row, p->v_a_row));
    v_pb = l_at(gen, FL_FLOAT, p->v_b, p->transposed ? l_mul(gen, v_column, p->v_b_k) : v_column);
    emit_terms(gen, p, s, rows, p->v_k, &v_pa, &v_pb, v_sums);
    for (unsigned i = 0; i < n; i++)
        finish(gen, p, v_sums[i], l_add(gen, v_row, l_i64(gen, i / s->n)),
               l_add(gen, v_column, l_i64(gen, s->at[i % s->n])));
}

/* Half of the registers hold sums, the rest is for the row that is followed up. */
static unsigned rows_in_company(const fl_gen *gen, const l_strip *s)
{
    unsigned rows = MAX_COMPANY;

    while (rows > 1 && rows * s->registers > gen->n_registers / 2)
        rows /= 2;
    return rows;
}

/* A row of C is made at once. */
static bool takes_company(const fl_gen *gen, const l_product *p, const l_strip *s)
{
    int64_t terms = LLVMIsAConstantInt(p->v_k) ? LLVMConstIntGetSExtValue(p->v_k) : INT64_MAX;

    return p->n > 1 && p->n == s->columns && rows_in_company(gen, s) > 1 && (!p->transposed || terms <= PACK_TERMS);
}

/* The terms of part v_part, which counts from -rows to -1: as many in each, and the rest in the last. */
static LLVMValueRef terms_of_part(fl_gen *gen, LLVMValueRef v_k, unsigned rows, LLVMValueRef v_part)
{
    LLVMValueRef v_each = LLVMBuildUDiv(gen->b, v_k, l_i64(gen, rows), ""), v_rest;

    if (LLVMIsAConstantInt(v_k) && LLVMConstIntGetSExtValue(v_k) % rows == 0)
        return v_each;
    v_rest = LLVMBuildSub(gen->b, v_k, l_mul(gen, v_each, l_i64(gen, rows - 1)), "");
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_part, l_i64(gen, -1), ""), v_rest, v_each, "");
}

/*
 * With company: blocks of `rows` rows whose terms come in as many parts, the last with what is left over, and behind each part one row of the block before is followed up:
 *
 *     for i in blocks: c[rows][vectors] = 0
 *         for part in 0 .. rows: for k in the part: c = fma(..); if there is a block before: follow up its row `part`
 *         C[i .. i + rows] = c
 *
 * Between products only few rows are under way at a time, too few to hide a miss: rows of far tables are fetched AHEAD of their turn. Sums are
 * those of emit_tile, bit by bit. Returns the first row that is not followed up; *v_to: the first that is not made.
 */
static LLVMValueRef emit_blocks_in_company(fl_gen *gen, const l_product *p, const l_strip *s, unsigned rows, LLVMValueRef *v_to)
{
    LLVMValueRef v_sums[MAX_TILE], v_pa, v_pb, v_count, v_end, v_last, v_row;
    unsigned n = rows * s->n;
    l_loop block, part;
    l_if follows;

    v_count = LLVMBuildAnd(gen->b, LLVMBuildSub(gen->b, p->v_m_to, p->v_m_from, ""), l_i64(gen, -(int64_t)rows), "");
    v_end = l_add(gen, p->v_m_from, v_count);
    v_last = LLVMBuildSub(gen->b, p->v_m_to, l_i64(gen, 1), "");
    l_loop_begin(gen, &block, p->v_m_from, v_end, rows);
    v_pa = l_at(gen, FL_FLOAT, p->v_a, l_mul(gen, block.v_i, p->v_a_row));
    l_loop_begin(gen, &part, l_i64(gen, -(int64_t)rows), l_i64(gen, 0), 1);
    v_pa = l_carry(gen, &part, v_pa);
    v_pb = l_carry(gen, &part, p->v_b);
    for (unsigned i = 0; i < n; i++)
        v_sums[i] = l_carry(gen, &part, LLVMConstNull(l_vector(gen->f32, s->width[i % s->n])));
    emit_terms(gen, p, s, rows, terms_of_part(gen, p->v_k, rows, part.v_i), &v_pa, &v_pb, v_sums);
    l_if_begin(gen, &follows, LLVMBuildICmp(gen->b, LLVMIntSGT, block.v_i, p->v_m_from, ""));
    v_row = LLVMBuildAdd(gen->b, block.v_i, part.v_i, "");
    l_company_row(p->company, l_add(gen, p->v_company_row, v_row));
    if (p->company_of_slot && l_distinct_rows(gen) != FL_NONE)
        l_fetch_rows(gen, l_distinct_rows(gen), l_min_i64(gen, l_add(gen, v_row, l_i64(gen, AHEAD)), v_last));
    l_if_end(gen, &follows);
    l_next(&part, 0, v_pa);
    l_next(&part, 1, v_pb);
    for (unsigned i = 0; i < n; i++)
        l_next(&part, 2 + i, v_sums[i]);
    l_loop_end(gen, &part);
    for (unsigned i = 0; i < n; i++)
        finish(gen, p, part.v_result[2 + i], l_add(gen, block.v_i, l_i64(gen, i / s->n)), l_i64(gen, s->at[i % s->n]));
    l_loop_end(gen, &block);
    *v_to = v_end;
    v_last = LLVMBuildSub(gen->b, v_end, l_i64(gen, rows), "");
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSGT, v_count, l_i64(gen, 0), ""), v_last, p->v_m_from, "");
}

/* Rows from v_from in blocks of `rows`, as many as there are up to v_to; returns where they end. */
static LLVMValueRef emit_blocks(fl_gen *gen, const l_product *p, const l_strip *s, unsigned rows, LLVMValueRef v_from, LLVMValueRef v_to,
                                LLVMValueRef v_column, bool accumulate)
{
    LLVMValueRef v_count = LLVMBuildSub(gen->b, v_to, v_from, ""), v_end;
    l_loop loop;

    v_count = l_mul(gen, LLVMBuildUDiv(gen->b, v_count, l_i64(gen, rows), ""), l_i64(gen, rows));
    v_end = rows == 1 ? v_to : l_add(gen, v_from, v_count);
    if (LLVMIsAConstantInt(v_count) && LLVMConstIntGetSExtValue(v_count) == 0)
        return v_end;
    l_loop_begin(gen, &loop, v_from, v_end, rows);
    emit_tile(gen, p, s, rows, loop.v_i, v_column, accumulate);
    l_loop_end(gen, &loop);
    return v_end;
}

/*
 * Few rows wait for each fma before the next. As many blocks as need be, where their number is known, of two sizes that differ by one; else what is left of full
 * blocks is blocks of FEW rows and single ones.
 */
static void emit_rows_of_strip(fl_gen *gen, const l_product *p, const l_strip *s, LLVMValueRef v_column, bool accumulate)
{
    unsigned rows = rows_of(gen, s), least = FEW_ROWS;
    LLVMValueRef v_from = p->v_m_from, v_to = p->v_m_to, v_behind = NULL;
    bool known;

    if (p->company != NULL)
        v_behind = emit_blocks_in_company(gen, p, s, rows_in_company(gen, s), &v_from);
    known = LLVMIsAConstantInt(v_from) && LLVMIsAConstantInt(v_to);
    if (known) {
        int64_t count = LLVMConstIntGetSExtValue(p->v_m_to) - LLVMConstIntGetSExtValue(v_from), blocks = (count + rows - 1) / rows;

        least = blocks > 0 ? (unsigned)(count / blocks) : 1;
        rows = blocks > 0 ? (unsigned)((count + blocks - 1) / blocks) : 1;
        v_to = rows > least ? l_add(gen, v_from, l_i64(gen, (count - blocks * least) * rows)) : v_to;
    }
    if (rows > 1 && (known || p->company == NULL))
        v_from = emit_blocks(gen, p, s, rows, v_from, v_to, v_column, accumulate);
    if (least > 1 && rows > least)
        v_from = emit_blocks(gen, p, s, least, v_from, p->v_m_to, v_column, accumulate);
    if (v_from != p->v_m_to && !FL_PLANTED("product-tail"))
        emit_blocks(gen, p, s, 1, v_from, p->v_m_to, v_column, accumulate);
    if (p->company != NULL)
        l_company_rows(p->company, l_add(gen, p->v_company_row, v_behind), l_add(gen, p->v_company_row, p->v_m_to));
}

/* --------------------------------------------------------------------------------------------- transposed B */

/* The largest blocks that fit the registers and leave no more columns and terms over than blocks of 4 do, which is what any number is turned in. */
static unsigned block_of(const fl_gen *gen, int64_t columns, LLVMValueRef v_k)
{
    unsigned n = gen->register_lanes;
    int64_t k = LLVMIsAConstantInt(v_k) ? LLVMConstIntGetSExtValue(v_k) : 1;

    while (n > 4 && (columns % n != columns % 4 || k % n != k % 4))
        n /= 2;
    return n;
}

/* pack[k, j] = B[column + j, k] for k < v_k, j < columns */
static void pack_strip(fl_gen *gen, const l_product *p, LLVMValueRef v_b, LLVMValueRef v_k, int64_t columns, LLVMValueRef v_pack)
{
    unsigned n = block_of(gen, columns, v_k);
    int64_t blocks = columns / n * n;
    LLVMValueRef v_wide = LLVMBuildAnd(gen->b, v_k, l_i64(gen, -(int64_t)n), ""), v_row;
    l_loop j, k;

    if (blocks > 0) {
        l_loop_begin(gen, &j, l_i64(gen, 0), l_i64(gen, blocks), n);
        v_row = l_at(gen, FL_FLOAT, v_b, l_mul(gen, j.v_i, p->v_b_k));
        l_loop_begin(gen, &k, l_i64(gen, 0), v_wide, n);
        l_turn_block(gen, l_at(gen, FL_FLOAT, v_row, k.v_i), p->v_b_k,
                   l_at(gen, FL_FLOAT, v_pack, row_offset(gen, k.v_i, l_i64(gen, columns), j.v_i)), columns, n);
        l_loop_end(gen, &k);
        l_loop_end(gen, &j);
    }
    if (blocks == columns && LLVMIsAConstantInt(v_k) && LLVMConstIntGetSExtValue(v_k) % n == 0)
        return;
    /* what no block covers */
    l_loop_begin(gen, &j, l_i64(gen, 0), l_i64(gen, columns), 1);
    v_row = l_at(gen, FL_FLOAT, v_b, l_mul(gen, j.v_i, p->v_b_k));
    v_wide = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, j.v_i, l_i64(gen, blocks), ""), v_wide, l_i64(gen, 0), "");
    l_loop_begin(gen, &k, v_wide, v_k, 1);
    l_store(gen, FL_FLOAT, l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_row, k.v_i), 1),
            l_at(gen, FL_FLOAT, v_pack, row_offset(gen, k.v_i, l_i64(gen, columns), j.v_i)));
    l_loop_end(gen, &k);
    l_loop_end(gen, &j);
}

/* C[.., strip] = f(C[.., strip]); f is finish(), or 0 */
static void over_strip(fl_gen *gen, const l_product *p, const l_strip *s, LLVMValueRef v_column, bool zero)
{
    l_loop loop;

    l_loop_begin(gen, &loop, p->v_m_from, p->v_m_to, 1);
    for (unsigned v = 0; v < s->n; v++) {
        LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, s->at[v]));
        LLVMValueRef v_at = l_at(gen, FL_FLOAT, p->v_c, row_offset(gen, loop.v_i, p->v_c_row, v_j));

        if (zero)
            l_store(gen, FL_FLOAT, LLVMConstNull(l_vector(gen->f32, s->width[v])), v_at);
        else
            finish(gen, p, l_load(gen, FL_FLOAT, v_at, s->width[v]), loop.v_i, v_j);
    }
    l_loop_end(gen, &loop);
}

/* One for all products of a function. */
static LLVMValueRef pack_buffer(fl_gen *gen)
{
    if (gen->v_pack == NULL) {
        gen->v_pack = LLVMBuildAlloca(gen->entry, LLVMArrayType2(gen->f32, MAX_COLUMNS * PACK_TERMS), "pack");
        LLVMSetAlignment(gen->v_pack, 64);
    }
    return gen->v_pack;
}

/* Terms in blocks of PACK_TERMS, added into C: storing and loading a partial sum does not change it. */
static void emit_transposed_strip(fl_gen *gen, const l_product *p, const l_strip *s, LLVMValueRef v_column)
{
    l_product plain = *p;
    LLVMValueRef v_pack = pack_buffer(gen), v_strip;
    bool one = LLVMIsAConstantInt(p->v_k) && LLVMConstIntGetSExtValue(p->v_k) <= PACK_TERMS;
    l_loop loop;

    FL_ASSERT(s->columns <= MAX_COLUMNS);
    plain.transposed = false;
    plain.v_b_k = l_i64(gen, s->columns);
    v_strip = l_at(gen, FL_FLOAT, p->v_b, l_mul(gen, v_column, p->v_b_k));
    plain.v_b = v_pack;
    /* the strip starts at column 0 of the buffer, but at v_column of C and D */
    plain.v_c = l_at(gen, FL_FLOAT, p->v_c, v_column);
    plain.v_d = p->v_d == NULL || p->d_scalar ? p->v_d : l_at(gen, FL_FLOAT, p->v_d, v_column);
    if (one) {
        pack_strip(gen, p, v_strip, p->v_k, s->columns, v_pack);
        emit_rows_of_strip(gen, &plain, s, l_i64(gen, 0), false);
        return;
    }
    plain.alpha = 1.0;
    plain.v_d = NULL;
    plain.relu = false;
    over_strip(gen, p, s, v_column, true);
    l_loop_begin(gen, &loop, l_i64(gen, 0), p->v_k, PACK_TERMS);
    plain.v_k = l_min_i64(gen, l_i64(gen, PACK_TERMS), LLVMBuildSub(gen->b, p->v_k, loop.v_i, ""));
    plain.v_a = l_at(gen, FL_FLOAT, p->v_a, l_mul(gen, loop.v_i, p->v_a_k));
    pack_strip(gen, p, l_at(gen, FL_FLOAT, v_strip, loop.v_i), plain.v_k, s->columns, v_pack);
    emit_rows_of_strip(gen, &plain, s, l_i64(gen, 0), true);
    l_loop_end(gen, &loop);
    if (has_finish(p))
        over_strip(gen, p, s, v_column, false);
}

/*
 * A transposed A's rows are columns: each term is in a line, and a page, of its own, which the next rows need too, and with many terms they and B's strip
 * would come from far for each block of rows. Terms in blocks of NEAR_TERMS stay near; sums wait in C, which does not change them.
 */
static void emit_long_strip(fl_gen *gen, const l_product *p, const l_strip *s, LLVMValueRef v_column)
{
    l_product plain = *p;
    LLVMValueRef v_long;
    l_loop loop;
    l_if few, many;

    plain.alpha = 1.0;
    plain.v_d = NULL;
    plain.relu = false;
    v_long = LLVMBuildICmp(gen->b, LLVMIntSGT, p->v_k, l_i64(gen, NEAR_TERMS), "");
    if (!LLVMIsAConstantInt(v_long)) { /* few terms of many rows would feel the zeros */
        l_if_begin(gen, &few, LLVMBuildNot(gen->b, v_long, ""));
        emit_rows_of_strip(gen, p, s, v_column, false);
        l_if_end(gen, &few);
    }
    l_if_begin(gen, &many, v_long);
    plain.v_ahead = l_mul(gen, l_i64(gen, NEAR_TERMS), p->v_a_k);
    over_strip(gen, p, s, v_column, true);
    l_loop_begin(gen, &loop, l_i64(gen, 0), p->v_k, NEAR_TERMS);
    plain.v_k = l_min_i64(gen, l_i64(gen, NEAR_TERMS), LLVMBuildSub(gen->b, p->v_k, loop.v_i, ""));
    plain.v_a = l_at(gen, FL_FLOAT, p->v_a, l_mul(gen, loop.v_i, p->v_a_k));
    plain.v_b = l_at(gen, FL_FLOAT, p->v_b, l_mul(gen, loop.v_i, p->v_b_k));
    emit_rows_of_strip(gen, &plain, s, v_column, true);
    l_loop_end(gen, &loop);
    if (has_finish(p))
        over_strip(gen, p, s, v_column, false);
    l_if_end(gen, &many);
}

/* ------------------------------------------------------------------------------------------------ one column */

static bool is_one(LLVMValueRef v)
{
    return LLVMIsAConstantInt(v) && LLVMConstIntGetSExtValue(v) == 1;
}

/*
 * for each row: sums[16] = 0; for full sixteens of k: sums = fma(a, b, sums); rest likewise one by one
 *               c = halves(sums) + rest
 */
static void emit_dot(fl_gen *gen, const l_product *p)
{
    LLVMValueRef v_wide = LLVMBuildAnd(gen->b, p->v_k, l_i64(gen, -L_LANES), ""), v_sums[2], v_a;
    bool lanes = !LLVMIsAConstantInt(v_wide) || LLVMConstIntGetSExtValue(v_wide) > 0;
    l_loop row, loop;

    l_loop_begin(gen, &row, p->v_m_from, p->v_m_to, 1);
    v_a = l_at(gen, FL_FLOAT, p->v_a, l_mul(gen, row.v_i, p->v_a_row));
    for (int k = 0; k < 2; k++) {
        unsigned width = k == 0 ? L_LANES : 1;
        LLVMValueRef v_x, v_y;

        v_sums[k] = LLVMConstNull(l_vector(gen->f32, width));
        if (k == 0 && !lanes)
            continue;
        l_loop_begin(gen, &loop, k == 0 ? l_i64(gen, 0) : v_wide, k == 0 ? v_wide : p->v_k, width);
        v_sums[k] = l_carry(gen, &loop, v_sums[k]);
        v_x = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_a, loop.v_i), width);
        v_y = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, p->v_b, loop.v_i), width);
        l_next(&loop, 0, l_fma(gen, v_x, v_y, v_sums[k]));
        l_loop_end(gen, &loop);
        v_sums[k] = loop.v_result[0];
    }
    if (lanes)
        v_sums[1] = LLVMBuildFAdd(gen->b, l_sum_lanes(gen, v_sums[0]), v_sums[1], "");
    finish(gen, p, v_sums[1], row.v_i, l_i64(gen, 0));
    l_loop_end(gen, &row);
}

/* for chunks of rows: c[rows] = 0; for k: c = fma(a[rows, k], splat b[k], c) -- A transposed, so that its rows are contiguous */
static void emit_sum_of_columns(fl_gen *gen, const l_product *p)
{
    LLVMValueRef v_from = p->v_m_from, v_to, v_count = LLVMBuildSub(gen->b, p->v_m_to, p->v_m_from, "");
    l_loop rows, loop;

    for (int pass = 0; pass < 3; pass++) { /* 64, 16, 1 at a time */
        unsigned width = pass == 2 ? 1 : L_LANES, n = pass == 0 ? 4 : 1;
        LLVMValueRef v_sums[4];

        v_to = l_add(gen, p->v_m_from, LLVMBuildAnd(gen->b, v_count, l_i64(gen, -(int64_t)(width * n)), ""));
        l_loop_begin(gen, &rows, v_from, v_to, width * n);
        l_loop_begin(gen, &loop, l_i64(gen, 0), p->v_k, 1);
        for (unsigned i = 0; i < n; i++)
            v_sums[i] = l_carry(gen, &loop, LLVMConstNull(l_vector(gen->f32, width)));
        for (unsigned i = 0; i < n; i++) {
            LLVMValueRef v_row = l_add(gen, rows.v_i, l_i64(gen, i * width));
            LLVMValueRef v_a = l_at(gen, FL_FLOAT, p->v_a, row_offset(gen, loop.v_i, p->v_a_k, v_row));
            LLVMValueRef v_b = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, p->v_b, l_mul(gen, loop.v_i, p->v_b_k)), 1);

            l_next(&loop, i, l_fma(gen, l_load(gen, FL_FLOAT, v_a, width), l_splat(gen, v_b, width), v_sums[i]));
        }
        l_loop_end(gen, &loop);
        for (unsigned i = 0; i < n; i++) /* C is one contiguous column: its rows are the columns of a row */
            finish(gen, p, loop.v_result[i], l_i64(gen, 0), l_add(gen, rows.v_i, l_i64(gen, i * width)));
        l_loop_end(gen, &rows);
        v_from = v_to;
    }
}

/* --------------------------------------------------------------------------------------------------- the product */

static bool is_long(const fl_gen *gen, const l_product *p)
{
    bool unknown = !LLVMIsAConstantInt(p->v_k) && gen->segment->domain == FL_DOMAIN_ROWS; /* those of a slot are few */

    return is_one(p->v_a_row) && !p->transposed && p->company == NULL && (unknown || (LLVMIsAConstantInt(p->v_k) && LLVMConstIntGetSExtValue(p->v_k) > NEAR_TERMS));
}

static void emit_strip(fl_gen *gen, const l_product *p, const l_strip *s, LLVMValueRef v_column)
{
    if (p->transposed)
        emit_transposed_strip(gen, p, s, v_column);
    else if (is_long(gen, p))
        emit_long_strip(gen, p, s, v_column);
    else
        emit_rows_of_strip(gen, p, s, v_column, false);
}

enum { MAX_COPIED = 1024 }; /* terms of a column that is copied */

/*
 * Whole vectors of columns and one more, which among the others would take as much time as sixteen: by itself it is dots of A's rows with B's column, which is a
 * row of a transposed B and is copied else.
 */
static bool leaves_a_column(const l_product *p)
{
    bool has_column = p->transposed || (LLVMIsAConstantInt(p->v_k) && LLVMConstIntGetSExtValue(p->v_k) <= MAX_COPIED);

    return p->n > L_LANES && p->n % L_LANES == 1 && p->company == NULL && is_one(p->v_a_k) && has_column;
}

static LLVMValueRef copied_column(fl_gen *gen, const l_product *p, LLVMValueRef v_column)
{
    LLVMValueRef v_copy = LLVMBuildAlloca(gen->entry, LLVMArrayType2(gen->f32, (uint64_t)LLVMConstIntGetSExtValue(p->v_k)), "column");
    l_loop loop;

    l_loop_begin(gen, &loop, l_i64(gen, 0), p->v_k, 1);
    l_store(gen, FL_FLOAT, l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, p->v_b, row_offset(gen, loop.v_i, p->v_b_k, v_column)), 1), l_at(gen, FL_FLOAT, v_copy, loop.v_i));
    l_loop_end(gen, &loop);
    return v_copy;
}

static void emit_with_last_column(fl_gen *gen, const l_product *p)
{
    l_product q = *p;
    LLVMValueRef v_last = l_i64(gen, p->n - 1);

    q.n = p->n - 1;
    l_emit_product(gen, &q);
    q.n = 1;
    q.v_b = p->transposed ? l_at(gen, FL_FLOAT, p->v_b, l_mul(gen, v_last, p->v_b_k)) : copied_column(gen, p, v_last);
    q.v_b_k = p->transposed ? p->v_b_k : l_i64(gen, 1);
    q.v_c = l_at(gen, FL_FLOAT, p->v_c, v_last);
    if (p->v_d != NULL && !p->d_scalar)
        q.v_d = l_at(gen, FL_FLOAT, p->v_d, v_last);
    l_emit_product(gen, &q);
}

void l_emit_product(fl_gen *gen, const l_product *p)
{
    unsigned max = gen->n_registers == 32 || gen->register_lanes == 4 ? 4 : 2;
    l_product q = *p;
    l_strip s = l_strip_of(gen, p->n, max);
    int64_t full = s.columns > 0 ? p->n / s.columns : 0;
    l_loop loop;

    if (p->company != NULL && !takes_company(gen, p, &s)) {
        q.company = NULL;
        l_emit_product(gen, &q);
        l_company_rows(p->company, l_add(gen, p->v_company_row, p->v_m_from), l_add(gen, p->v_company_row, p->v_m_to));
        return;
    }
    if (leaves_a_column(p)) {
        emit_with_last_column(gen, p);
        return;
    }
    if (p->transposed && is_one(p->v_k) && is_one(p->v_b_k)) {
        q.transposed = false; /* one term: B's column is contiguous */
    } else if (p->n == 1 && is_one(p->v_a_k) && (p->transposed || is_one(p->v_b_k))) {
        emit_dot(gen, p);
        return;
    } else if (p->n == 1 && is_one(p->v_a_row) && is_one(p->v_c_row) && !p->transposed && p->v_d == NULL) {
        emit_sum_of_columns(gen, p);
        return;
    }
    if (full > 1) {
        l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, full * s.columns), s.columns);
        emit_strip(gen, &q, &s, loop.v_i);
        l_loop_end(gen, &loop);
    } else {
        full = 0;
    }
    for (int64_t column = full * s.columns; column < p->n; column += s.columns) {
        /* the rest in one strip if it fits, at the price of fewer rows at a time */
        s = l_strip_of(gen, p->n - column, max);
        emit_strip(gen, &q, &s, l_i64(gen, column));
    }
}

/* ---------------------------------------------------------------------------------------------------- operators */

static l_product product_of(fl_gen *gen, fl_id a, fl_id b, fl_id out, bool a_transposed, bool b_transposed)
{
    const fl_type *ta = fl_value_type(gen->g, a), *tc = fl_value_type(gen->g, out);
    const l_place *pa = l_place_of(gen, a), *pb = l_place_of(gen, b), *pc = l_place_of(gen, out);
    l_product p = {.alpha = 1.0, .transposed = b_transposed};

    l_rows(gen, tc->dims[0], &p.v_m_from, &p.v_m_to);
    p.n = tc->dims[tc->rank - 1];
    p.v_k = l_extent(gen, ta->dims[a_transposed ? 0 : ta->rank - 1]);
    p.v_a = pa->v_base;
    p.v_a_row = a_transposed ? l_i64(gen, 1) : pa->v_row_stride;
    p.v_a_k = a_transposed ? pa->v_row_stride : l_i64(gen, 1);
    p.v_b = pb->v_base;
    p.v_b_k = pb->v_row_stride;
    p.v_c = pc->v_base;
    p.v_c_row = pc->v_row_stride;
    return p;
}

/* Of floats with a matrix whose width is known now. */
static bool is_plain(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *a = fl_value_type(gen->g, n->in[0]), *b = fl_value_type(gen->g, n->in[1]);
    const fl_type *c = fl_value_type(gen->g, n->out[0]);

    return a->dtype == FL_FLOAT && a->rank >= 2 && b->rank == 2 && !FL_DIM_IS_SYM(c->dims[c->rank - 1]);
}

static bool refuse(fl_gen *gen, fl_id node)
{
    if (is_plain(gen, node))
        return false;
    l_unsupported(gen, node, "it has code for products of float with a matrix of static width");
    return true;
}

/* The addend of Linear and Gemm, broadcast to C's shape. */
static void set_addend(fl_gen *gen, l_product *p, fl_id d, double beta)
{
    const fl_type *t;
    const l_place *place;

    if (d == FL_NONE)
        return;
    t = fl_value_type(gen->g, d);
    place = l_place_of(gen, d);
    p->v_d = place->v_base;
    p->beta = beta;
    p->d_scalar = t->rank == 0 || t->dims[t->rank - 1] == 1;
    p->v_d_row = t->rank < 2 || t->dims[0] == 1 ? l_i64(gen, 0) : place->v_row_stride;
}

/* A bias whose elements lie apart: gathered into a buffer on the stack once a call. */
static void gather_addend(fl_gen *gen, l_product *p, fl_id d)
{
    LLVMValueRef v_copy;
    l_loop loop;

    if (d == FL_NONE || p->d_scalar || fl_value_type(gen->g, d)->rank != 1 || l_place_of(gen, d)->row_stride == 1)
        return;
    v_copy = LLVMBuildAlloca(gen->entry, LLVMArrayType2(gen->f32, (uint64_t)p->n), "bias");
    l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, p->n), 1);
    l_store(gen, FL_FLOAT, l_load(gen, FL_FLOAT, l_element_address(gen, d, loop.v_i, l_i64(gen, 0)), 1),
            l_at(gen, FL_FLOAT, v_copy, loop.v_i));
    l_loop_end(gen, &loop);
    p->v_d = v_copy;
}

/* Products of [B, S, n] with [n, H] are S products of rows that lie n apart. */
static void emit_inner(fl_gen *gen, fl_id node, l_product *p)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *a = fl_value_type(gen->g, n->in[0]), *c = fl_value_type(gen->g, n->out[0]);
    LLVMValueRef v_last = l_extent(gen, a->dims[a->rank - 1]), v_count = l_i64(gen, 1), v_a = p->v_a, v_c = p->v_c;
    bool all = fl_type_has_row_of_run(a) && p->v_m_to != gen->v_row_to && l_is_dense(gen, n->in[0]) && l_is_dense(gen, n->out[0]);
    l_loop loop;

    for (int d = 1; d < a->rank - 1; d++)
        v_count = l_mul(gen, v_count, l_extent(gen, a->dims[d]));
    if (all) { /* one product of all rows at once */
        p->v_m_to = l_mul(gen, p->v_m_to, v_count);
        p->v_a_row = v_last;
        p->v_c_row = l_i64(gen, c->dims[c->rank - 1]);
    }
    if (all || is_one(v_count)) {
        l_emit_product(gen, p);
        return;
    }
    l_loop_begin(gen, &loop, l_i64(gen, 0), v_count, 1);
    p->v_a = l_at(gen, FL_FLOAT, v_a, l_mul(gen, loop.v_i, v_last));
    p->v_c = l_at(gen, FL_FLOAT, v_c, l_mul(gen, loop.v_i, l_i64(gen, c->dims[c->rank - 1])));
    l_emit_product(gen, p);
    l_loop_end(gen, &loop);
}

/* Step along dimension d of a result of rank `rank` for an operand, which lies in its last dimensions: 0 where it is broadcast. */
static LLVMValueRef batch_stride(fl_gen *gen, fl_id operand, int rank, int d)
{
    const fl_type *t = fl_value_type(gen->g, operand);
    int own = d - (rank - t->rank);

    return own < 0 || t->dims[own] == 1 ? l_i64(gen, 0) : l_stride(gen, operand, own);
}

/* for each leading index: out[index] = a[index] b[index], matrices of static width */
static void emit_batches(fl_gen *gen, fl_id node, l_product *p, int d)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *c = fl_value_type(gen->g, n->out[0]);
    LLVMValueRef v_from = l_i64(gen, 0), v_to, v_a = p->v_a, v_b = p->v_b, v_c = p->v_c;
    l_loop loop;

    if (d == c->rank - 2) {
        l_emit_product(gen, p);
        return;
    }
    v_to = l_extent(gen, c->dims[d]);
    if (d == 0)
        l_rows(gen, c->dims[0], &v_from, &v_to);
    l_loop_begin(gen, &loop, v_from, v_to, 1);
    p->v_a = l_at(gen, FL_FLOAT, v_a, l_mul(gen, loop.v_i, batch_stride(gen, n->in[0], c->rank, d)));
    p->v_b = l_at(gen, FL_FLOAT, v_b, l_mul(gen, loop.v_i, batch_stride(gen, n->in[1], c->rank, d)));
    p->v_c = l_at(gen, FL_FLOAT, v_c, l_mul(gen, loop.v_i, l_stride(gen, n->out[0], d)));
    emit_batches(gen, node, p, d + 1);
    l_loop_end(gen, &loop);
    p->v_a = v_a;
    p->v_b = v_b;
    p->v_c = v_c;
}

/* Both operands have leading dimensions, or the right one alone. */
static bool is_batched(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *a = fl_value_type(gen->g, n->in[0]), *b = fl_value_type(gen->g, n->in[1]);
    const fl_type *c = fl_value_type(gen->g, n->out[0]);

    return a->dtype == FL_FLOAT && a->rank >= 2 && b->rank > 2 && !FL_DIM_IS_SYM(c->dims[c->rank - 1]);
}

/* MatMul: out = a b */
void fl_emit_matmul(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    l_product p;

    if (is_batched(gen, node)) {
        const fl_type *a = fl_value_type(gen->g, n->in[0]), *b = fl_value_type(gen->g, n->in[1]);
        const fl_type *c = fl_value_type(gen->g, n->out[0]);

        p = (l_product){.alpha = 1.0, .v_m_from = l_i64(gen, 0), .v_m_to = l_extent(gen, c->dims[c->rank - 2]), .n = c->dims[c->rank - 1]};
        p.v_k = l_extent(gen, a->dims[a->rank - 1]);
        p.v_a = l_place_of(gen, n->in[0])->v_base;
        p.v_a_row = l_stride(gen, n->in[0], a->rank - 2);
        p.v_a_k = l_i64(gen, 1);
        p.v_b = l_place_of(gen, n->in[1])->v_base;
        p.v_b_k = l_stride(gen, n->in[1], b->rank - 2);
        p.v_c = l_place_of(gen, n->out[0])->v_base;
        p.v_c_row = l_stride(gen, n->out[0], c->rank - 2);
        emit_batches(gen, node, &p, 0);
        return;
    }
    if (!is_plain(gen, node)) {
        l_emit_dot_products(gen, node);
        return;
    }
    p = product_of(gen, n->in[0], n->in[1], n->out[0], false, false);
    emit_inner(gen, node, &p);
}

/* Gemm: out = alpha op(a) op(b) + beta c */
void fl_emit_gemm(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    fl_id c = n->n_in > 2 ? n->in[2] : FL_NONE;
    l_product p;

    if (refuse(gen, node))
        return;
    p = product_of(gen, n->in[0], n->in[1], n->out[0], fl_node_int(gen->g, node, "transA", 0) != 0,
                   fl_node_int(gen->g, node, "transB", 0) != 0);
    p.alpha = fl_node_float(gen->g, node, "alpha", 1.0);
    set_addend(gen, &p, c, fl_node_float(gen->g, node, "beta", 1.0));
    gather_addend(gen, &p, c);
    l_emit_product(gen, &p);
}

/* Linear: out = act(x w + bias) */
void fl_emit_linear(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    fl_id bias = n->n_in > 2 ? n->in[2] : FL_NONE;
    const char *activation = fl_node_string(gen->g, node, "activation", "none");
    l_product p;

    if (refuse(gen, node))
        return;
    p = product_of(gen, n->in[0], n->in[1], n->out[0], false, false);
    set_addend(gen, &p, bias, 1.0);
    gather_addend(gen, &p, bias);
    p.relu = activation[0] == 'r';
    emit_inner(gen, node, &p);
}
