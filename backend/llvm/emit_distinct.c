/*
 * emit_distinct.c -- distinct rows: UniqueRows of one slot, MergeRows of many.
 *
 * The table of a call lies at the start of its scratch: 2 to 4 times as many places as there can be rows, each with a row and, in one word, the number
 * of the distinct row that it is and how often it was met, 0 if the place is free. In a batch known and new rows alternate at random, and a branch
 * between them would be guessed wrong every other time: the search ends alike for both, and writes the row where it is or will be. So no look-up
 * waits for what the one before it has found, and one word a batch row says all that ordering the rows needs: which, and the how manieth.
 */
#include "backend/llvm/emit.h"
#include "ir/schedule.h"

/* Scratch, bytes: a word and a row for each of at most PLACES places a row; then arrays by row: its place, the word of a batch row, where its part of
 * the order starts. */
enum { WORD = 8, ROW = 8, ENTRY = 4, PLACES = 4, TABLE_ROW_BYTES = PLACES * (WORD + ROW), MET = 32 };
_Static_assert(L_LANES * (WORD + ROW) <= FL_HASH_BYTES && TABLE_ROW_BYTES + ENTRY + WORD + ENTRY <= FL_HASH_ROW_BYTES, "scratch of a hash table");

typedef struct table {
    LLVMValueRef v_size, v_mask, v_shift; /* places; places - 1; 64 - log2(places) */
    LLVMValueRef v_keys;                  /* address of the row of place 0; words lie at the start of the scratch */
    LLVMValueRef v_rows;                  /* address of distinct row 0 */
} table;

typedef struct found {
    LLVMValueRef v_new;   /* i1 */
    LLVMValueRef v_word;  /* number << MET | times met, this one counted */
    LLVMValueRef v_place; /* in the table */
} found;

/* The index is read by columns, a line for each row: rows so far ahead are fetched. Lines of a table row at
 * most. */
enum { AHEAD = 64, LINE = 64, MAX_LINES = 8, HEAD = 32, FEW = 10, AT_MOST = 16, LEAST_BATCH = 128 };

static LLVMValueRef signed_64(fl_gen *gen, LLVMValueRef v)
{
    return LLVMBuildSExt(gen->b, v, gen->i64, "");
}

static LLVMValueRef int_32(fl_gen *gen, LLVMValueRef v)
{
    return LLVMBuildTrunc(gen->b, v, gen->i32, "");
}

/* Address of byte `fixed` + `each` * v_n of the scratch. */
static LLVMValueRef scratch_at(fl_gen *gen, int64_t fixed, int64_t each, LLVMValueRef v_n)
{
    return l_at(gen, FL_INT8, gen->v_scratch,
                l_add(gen, l_mul(gen, v_n, l_i64(gen, each)), l_i64(gen, fixed)));
}

/* An empty table for at most v_n rows: clearing costs as much as a few of them. */
static table new_table(fl_gen *gen, LLVMValueRef v_n, LLVMValueRef v_rows)
{
    table t = {.v_rows = v_rows};
    LLVMValueRef v_last = LLVMBuildSub(gen->b, l_intrinsic(gen, "llvm.umax", (LLVMValueRef[]){v_n, l_i64(gen, L_LANES / 2)}, 2),
                                       l_i64(gen, 1), "");
    LLVMValueRef v_zeros = l_intrinsic(gen, "llvm.ctlz", (LLVMValueRef[]){v_last, LLVMConstNull(gen->i1)}, 2);
    l_loop loop;

    /* n <= 2^(64 - zeros), so 2^(65 - zeros) is at least 2 n */
    t.v_shift = LLVMBuildSub(gen->b, v_zeros, l_i64(gen, 1), "");
    t.v_size = LLVMBuildShl(gen->b, l_i64(gen, 1), LLVMBuildSub(gen->b, l_i64(gen, 64), t.v_shift, ""), "");
    t.v_mask = LLVMBuildSub(gen->b, t.v_size, l_i64(gen, 1), "");
    t.v_keys = scratch_at(gen, 0, WORD, t.v_size);
    l_loop_begin(gen, &loop, l_i64(gen, 0), t.v_size, L_LANES);
    l_store(gen, FL_INT64, LLVMConstNull(LLVMVectorType(gen->i64, L_LANES)), l_at(gen, FL_INT64, gen->v_scratch, loop.v_i));
    l_loop_end(gen, &loop);
    return t;
}

/*
 * v_row among v_n distinct ones, to which it is added if it is new:
 *
 *     rows[n] = row;  p = row * golden ratio >> shift
 *     while (word[p] != 0 && key[p] != row) p = (p + 1) & mask
 *     new = word[p] == 0;  word[p] = (new ? n << 32 : word[p]) + 1;  key[p] = row
 */
static found find(fl_gen *gen, const table *t, LLVMValueRef v_n, LLVMValueRef v_row)
{
    LLVMValueRef v_first, v_word, v_key, v_next, v_stop, v_at;
    LLVMBasicBlockRef b_before, b_probe = l_block(gen, "probe"), b_next = l_block(gen, "collision"),
                                b_found = l_block(gen, "found");
    found f;

    l_store(gen, FL_INT64, v_row, l_at(gen, FL_INT64, t->v_rows, v_n));
    v_first = LLVMBuildMul(gen->b, v_row, l_i64(gen, (int64_t)UINT64_C(0x9e3779b97f4a7c15)), "");
    v_first = LLVMBuildLShr(gen->b, v_first, t->v_shift, "");
    b_before = LLVMGetInsertBlock(gen->b);
    LLVMBuildBr(gen->b, b_probe);

    LLVMPositionBuilderAtEnd(gen->b, b_probe);
    f.v_place = LLVMBuildPhi(gen->b, gen->i64, "place");
    v_at = l_at(gen, FL_INT64, gen->v_scratch, f.v_place);
    v_word = l_load(gen, FL_INT64, v_at, 1);
    f.v_new = LLVMBuildICmp(gen->b, LLVMIntEQ, v_word, l_i64(gen, 0), "");
    /* arithmetic, as an or of comparisons becomes two branches: all ones if the place is taken, and 0 unless the row differs too */
    v_stop = LLVMBuildAShr(gen->b, LLVMBuildNeg(gen->b, v_word, ""), l_i64(gen, 63), "");
    v_key = l_at(gen, FL_INT64, t->v_keys, f.v_place);
    v_stop = LLVMBuildAnd(gen->b, v_stop, LLVMBuildXor(gen->b, l_load(gen, FL_INT64, v_key, 1), v_row, ""), "");
    LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_stop, l_i64(gen, 0), ""), b_found, b_next);

    LLVMPositionBuilderAtEnd(gen->b, b_next);
    v_next = LLVMBuildAnd(gen->b, LLVMBuildAdd(gen->b, f.v_place, l_i64(gen, 1), ""), t->v_mask, "");
    LLVMBuildBr(gen->b, b_probe);
    LLVMAddIncoming(f.v_place, (LLVMValueRef[]){v_first, v_next}, (LLVMBasicBlockRef[]){b_before, b_next}, 2);

    LLVMPositionBuilderAtEnd(gen->b, b_found);
    f.v_word = LLVMBuildSelect(gen->b, f.v_new, LLVMBuildShl(gen->b, v_n, l_i64(gen, MET), ""), v_word, "");
    f.v_word = LLVMBuildAdd(gen->b, f.v_word, l_i64(gen, 1), "");
    l_store(gen, FL_INT64, f.v_word, v_at);
    l_store(gen, FL_INT64, v_row, v_key);
    return f;
}

/* n after a row has been found. */
static LLVMValueRef count_new(fl_gen *gen, LLVMValueRef v_n, const found *f)
{
    return LLVMBuildAdd(gen->b, v_n, LLVMBuildZExt(gen->b, f->v_new, gen->i64, ""), "");
}

static LLVMValueRef number_of(fl_gen *gen, LLVMValueRef v_word)
{
    return LLVMBuildLShr(gen->b, v_word, l_integer(LLVMTypeOf(v_word), MET), "");
}

/* ----------------------------------------------------------------------------------------------------
 * UniqueRows */

typedef struct unique {
    fl_gen *gen;
    const fl_node *node;
    LLVMValueRef v_batch, v_first; /* rows of the index; the slot's first place */
    LLVMValueRef v_places, v_words, v_starts; /* scratch: place of each distinct row in the table; word of each batch row; where a part of the order starts, less 1 */
} unique;

/* Address of the slot's index in row 0 of the batch, and elements from one row to the next. */
static LLVMValueRef index_column(const unique *u, LLVMValueRef *v_stride)
{
    fl_gen *gen = u->gen;
    fl_id index = u->node->in[0];

    *v_stride = l_stride(gen, index, 0);
    return l_element_address(gen, index, l_i64(gen, 0), fl_value_type(gen->g, index)->rank == 2 ? gen->v_slot : l_i64(gen, 0));
}

/* Batch rows [v_from, v_to) are numbered, behind those of which v_n distinct ones are known; returns how many are then. Places and words. */
static LLVMValueRef number_rows(const unique *u, const table *t, LLVMValueRef v_from, LLVMValueRef v_to, LLVMValueRef v_n)
{
    fl_gen *gen = u->gen;
    fl_dtype dtype = fl_value_type(gen->g, u->node->in[0])->dtype;
    LLVMValueRef v_stride, v_at = index_column(u, &v_stride), v_row;
    found f;
    l_loop b;

    v_at = l_at(gen, dtype, v_at, l_mul(gen, v_from, v_stride));
    l_loop_begin(gen, &b, v_from, v_to, 1);
    v_n = l_carry(gen, &b, v_n);
    v_at = l_carry(gen, &b, v_at);
    l_prefetch(gen, l_at(gen, dtype, v_at, l_mul(gen, l_i64(gen, AHEAD), v_stride)));
    v_row = l_load(gen, dtype, v_at, 1);
    f = find(gen, t, v_n, dtype == FL_INT64 ? v_row : signed_64(gen, v_row));
    l_store(gen, FL_INT64, f.v_word, l_at(gen, FL_INT64, u->v_words, b.v_i));
    l_store(gen, FL_INT32, int_32(gen, f.v_place), l_at(gen, FL_INT32, u->v_places, v_n));
    l_next(&b, 0, count_new(gen, v_n, &f));
    l_next(&b, 1, l_at(gen, dtype, v_at, v_stride));
    l_loop_end(gen, &b);
    return b.v_result[0];
}

/* inverse[b, s] = f + number of b's row, from v_from to v_to in steps of `width`. */
static void invert(const unique *u, LLVMValueRef v_from, LLVMValueRef v_to, unsigned width)
{
    fl_gen *gen = u->gen;
    fl_id inverse = u->node->out[1];
    LLVMValueRef v_column = fl_value_type(gen->g, inverse)->rank == 2 ? gen->v_slot : l_i64(gen, 0), v_number;
    LLVMValueRef v_inverse = l_element_address(gen, inverse, l_i64(gen, 0), v_column);
    l_loop b;

    l_loop_begin(gen, &b, v_from, v_to, width);
    v_number = number_of(gen, l_load(gen, FL_INT64, l_at(gen, FL_INT64, u->v_words, b.v_i), width));
    v_number = LLVMBuildTrunc(gen->b, v_number, l_vector(gen->i32, width), "");
    l_store(gen, FL_INT32, LLVMBuildAdd(gen->b, v_number, l_splat(gen, int_32(gen, u->v_first), width), ""),
            l_at(gen, FL_INT32, v_inverse, l_mul(gen, b.v_i, l_stride(gen, inverse, 0))));
    l_loop_end(gen, &b);
}

/* By columns a vector at a time. */
static void invert_rows(const unique *u)
{
    fl_gen *gen = u->gen;
    LLVMValueRef v_stride = l_stride(gen, u->node->out[1], 0), v_from = l_i64(gen, 0);

    if (LLVMIsAConstantInt(v_stride) && LLVMConstIntGetSExtValue(v_stride) == 1) {
        v_from = LLVMBuildAnd(gen->b, u->v_batch, l_i64(gen, -L_LANES), "");
        invert(u, l_i64(gen, 0), v_from, L_LANES);
    }
    invert(u, v_from, u->v_batch, 1);
}

bool l_is_view_of(const fl_graph *g, fl_id value, fl_id of)
{
    while (value != of) {
        fl_id node = fl_value_node(g, value);

        if (node == FL_NONE || !fl_op_has(g->nodes[node].op, FL_VIEW))
            return false;
        value = g->nodes[node].in[0];
    }
    return true;
}

/* Does the segment go through a table by `rows`: read or write a row of it for each of them? */
static bool goes_through(const fl_gen *gen, fl_id node, fl_id rows)
{
    const fl_node *n = &gen->g->nodes[node];

    if (n->op == FL_OP_SCATTER_ND)
        return l_is_view_of(gen->g, n->in[1], rows);
    return n->op == FL_OP_GATHER && n->in[1] == rows && fl_node_int(gen->g, node, "axis", 0) == 0;
}

fl_id l_distinct_rows(const fl_gen *gen)
{
    fl_id node = fl_value_node(gen->g, gen->segment->count);

    return node == FL_NONE ? FL_NONE : gen->g->nodes[node].out[0];
}

/* Rows that the segment goes on to read or write in far tables by the distinct rows `rows`, at one place of them: they are
 * under way while something else is done. */
void l_fetch_rows(fl_gen *gen, fl_id rows, LLVMValueRef v_place)
{
    for (uint32_t i = 0; i < gen->segment->n_nodes; i++) {
        const fl_node *n = &gen->g->nodes[gen->segment->nodes[i]];
        bool again = false;
        LLVMValueRef v_row;
        int64_t bytes;

        if (!goes_through(gen, gen->segment->nodes[i], rows) || !l_is_far(gen, n->in[0]))
            continue;
        for (uint32_t k = 0; k < i; k++)
            again = again || (goes_through(gen, gen->segment->nodes[k], rows) && gen->g->nodes[gen->segment->nodes[k]].in[0] == n->in[0]);
        if (again)
            continue;
        bytes = l_row_elements(fl_value_type(gen->g, n->in[0])) *
                (int64_t)fl_dtype_size(fl_value_type(gen->g, n->in[0])->dtype);
        v_row = l_load(gen, FL_INT64, l_element_address(gen, rows, v_place, l_i64(gen, 0)), 1);
        v_row = l_element_address(gen, n->in[0], v_row, l_i64(gen, 0));
        for (int64_t line = 0; line < MAX_LINES && line * LINE < bytes; line++)
            l_prefetch(gen, l_at(gen, FL_INT8, v_row, l_i64(gen, line * LINE)));
    }
    gen->fetched = true;
}

/* The bounds of each distinct row's part of order. */
static void bound_rows(const unique *u, LLVMValueRef v_n)
{
    fl_gen *gen = u->gen;
    fl_id segment = u->node->out[4];
    LLVMValueRef v_start = int_32(gen, u->v_first), v_end, v_at;
    l_loop d;

    l_loop_begin(gen, &d, l_i64(gen, 0), v_n, 1);
    v_start = l_carry(gen, &d, v_start);
    l_fetch_rows(gen, u->node->out[0], l_add(gen, u->v_first, d.v_i));
    v_at = signed_64(gen, l_load(gen, FL_INT32, l_at(gen, FL_INT32, u->v_places, d.v_i), 1));
    v_end = int_32(gen, l_load(gen, FL_INT64, l_at(gen, FL_INT64, gen->v_scratch, v_at), 1));
    v_end = LLVMBuildAdd(gen->b, v_start, v_end, "");
    l_store(gen, FL_INT32, LLVMBuildSub(gen->b, v_start, l_i32(gen, 1), ""), l_at(gen, FL_INT32, u->v_starts, d.v_i));
    if (segment != FL_NONE) {
        LLVMValueRef v_row = l_add(gen, u->v_first, d.v_i);

        l_store(gen, FL_INT32, v_start, l_element_address(gen, segment, v_row, l_i64(gen, 0)));
        l_store(gen, FL_INT32, v_end, l_element_address(gen, segment, v_row, l_i64(gen, 1)));
    }
    l_next(&d, 0, v_end);
    l_loop_end(gen, &d);
}

static void order_rows(const unique *u)
{
    fl_gen *gen = u->gen;
    LLVMValueRef v_word, v_start, v_times;
    l_loop b;

    l_loop_begin(gen, &b, l_i64(gen, 0), u->v_batch, 1);
    v_word = l_load(gen, FL_INT64, l_at(gen, FL_INT64, u->v_words, b.v_i), 1);
    v_start = signed_64(gen, l_load(gen, FL_INT32, l_at(gen, FL_INT32, u->v_starts, number_of(gen, v_word)), 1));
    v_times = LLVMBuildAnd(gen->b, v_word, l_i64(gen, (INT64_C(1) << MET) - 1), "");
    l_store(gen, FL_INT32, int_32(gen, b.v_i),
            l_element_address(gen, u->node->out[3], LLVMBuildAdd(gen->b, v_start, v_times, ""), l_i64(gen, 0)));
    l_loop_end(gen, &b);
}

/* ------------------------------------------------------------------------------------------------ few rows */

/* inverse[0, s] where the column is dense; NULL elsewhere. */
static LLVMValueRef dense_inverse(const unique *u)
{
    fl_gen *gen = u->gen;
    fl_id inverse = u->node->out[1];
    LLVMValueRef v_stride = inverse == FL_NONE ? NULL : l_stride(gen, inverse, 0);

    if (v_stride == NULL || !LLVMIsAConstantInt(v_stride) || LLVMConstIntGetSExtValue(v_stride) != 1)
        return NULL;
    return l_element_address(gen, inverse, l_i64(gen, 0), fl_value_type(gen->g, inverse)->rank == 2 ? gen->v_slot : l_i64(gen, 0));
}

/* Sixteen times i, counted up from it if `up`. */
static LLVMValueRef lanes_from(fl_gen *gen, LLVMValueRef v_i, bool up)
{
    LLVMValueRef v_lane[L_LANES];

    for (unsigned i = 0; i < L_LANES; i++)
        v_lane[i] = l_i32(gen, up ? i : 0);
    return LLVMBuildAdd(gen->b, l_splat(gen, int_32(gen, v_i), L_LANES), LLVMConstVector(v_lane, L_LANES), "");
}

/* Lanes that are set, as bits of an i16. */
static LLVMValueRef bits_of(fl_gen *gen, LLVMValueRef v_lanes)
{
    return LLVMBuildBitCast(gen->b, v_lanes, gen->i16, "");
}

/* The slot's rows as int32, one behind the other, and no batch row's number known yet. True if they are rows that an int32 holds. */
static LLVMValueRef copy_column(const unique *u, LLVMValueRef v_rows, LLVMValueRef v_inverse)
{
    fl_gen *gen = u->gen;
    fl_dtype dtype = fl_value_type(gen->g, u->node->in[0])->dtype;
    LLVMValueRef v_stride, v_at = index_column(u, &v_stride), v_all;
    l_loop b;

    l_loop_begin(gen, &b, l_i64(gen, 0), u->v_batch, L_LANES);
    v_at = l_carry(gen, &b, v_at);
    v_all = l_carry(gen, &b, l_i64(gen, 0));
    for (unsigned i = 0; i < L_LANES; i++) {
        LLVMValueRef v_row = l_load(gen, dtype, v_at, 1);

        v_row = dtype == FL_INT64 ? v_row : signed_64(gen, v_row);
        l_prefetch(gen, l_at(gen, dtype, v_at, l_mul(gen, l_i64(gen, AHEAD), v_stride)));
        l_store(gen, FL_INT32, int_32(gen, v_row), l_at(gen, FL_INT32, v_rows, l_add(gen, b.v_i, l_i64(gen, i))));
        v_all = LLVMBuildOr(gen->b, v_all, v_row, "");
        v_at = l_at(gen, dtype, v_at, v_stride);
    }
    l_store(gen, FL_INT32, LLVMConstAllOnes(l_vector(gen->i32, L_LANES)), l_at(gen, FL_INT32, v_inverse, b.v_i));
    l_next(&b, 0, v_at);
    l_next(&b, 1, v_all);
    l_loop_end(gen, &b);
    return LLVMBuildICmp(gen->b, LLVMIntULE, b.v_result[1], l_i64(gen, INT32_MAX), "");
}

/* The batch rows where distinct row v_u stands go behind the v_n that `list` holds, and its number to their inverse; returns how many list then holds. */
static LLVMValueRef list_row(const unique *u, LLVMValueRef v_rows, LLVMValueRef v_inverse, LLVMValueRef v_list, LLVMValueRef v_u, LLVMValueRef v_n)
{
    fl_gen *gen = u->gen;
    LLVMValueRef v_place = l_add(gen, u->v_first, v_u), v_row, v_here, v_known, v_at, v_count;
    l_loop b;

    v_row = l_load(gen, FL_INT64, l_element_address(gen, u->node->out[0], v_place, l_i64(gen, 0)), 1);
    v_row = l_splat(gen, int_32(gen, v_row), L_LANES);
    l_loop_begin(gen, &b, l_i64(gen, 0), u->v_batch, L_LANES);
    v_n = l_carry(gen, &b, v_n);
    v_here = LLVMBuildICmp(gen->b, LLVMIntEQ, l_load(gen, FL_INT32, l_at(gen, FL_INT32, v_rows, b.v_i), L_LANES), v_row, "");
    v_at = lanes_from(gen, b.v_i, true);
    v_at = l_intrinsic(gen, "llvm.x86.avx512.mask.compress", (LLVMValueRef[]){v_at, LLVMConstNull(LLVMTypeOf(v_at)), v_here}, 3);
    l_store(gen, FL_INT32, v_at, l_at(gen, FL_INT32, v_list, v_n));
    v_at = l_at(gen, FL_INT32, v_inverse, b.v_i);
    v_known = LLVMBuildSelect(gen->b, v_here, lanes_from(gen, v_place, false), l_load(gen, FL_INT32, v_at, L_LANES), "");
    l_store(gen, FL_INT32, v_known, v_at);
    v_count = l_intrinsic(gen, "llvm.ctpop", (LLVMValueRef[]){bits_of(gen, v_here)}, 1);
    l_next(&b, 0, l_add(gen, v_n, LLVMBuildZExt(gen->b, v_count, gen->i64, "")));
    l_loop_end(gen, &b);
    return b.v_result[0];
}

/* The first batch row from v_from on, in steps of L_LANES, that has no number; there is one. */
static LLVMValueRef first_unknown(const unique *u, LLVMValueRef v_inverse, LLVMValueRef v_from)
{
    fl_gen *gen = u->gen;
    LLVMBasicBlockRef b_before = LLVMGetInsertBlock(gen->b), b_look = l_block(gen, "look"), b_found = l_block(gen, "unknown");
    LLVMValueRef v_b, v_next, v_bits;

    LLVMBuildBr(gen->b, b_look);
    LLVMPositionBuilderAtEnd(gen->b, b_look);
    v_b = LLVMBuildPhi(gen->b, gen->i64, "b");
    v_bits = l_load(gen, FL_INT32, l_at(gen, FL_INT32, v_inverse, v_b), L_LANES);
    v_bits = bits_of(gen, LLVMBuildICmp(gen->b, LLVMIntSLT, v_bits, LLVMConstNull(LLVMTypeOf(v_bits)), ""));
    v_next = LLVMBuildAdd(gen->b, v_b, l_i64(gen, L_LANES), "");
    LLVMAddIncoming(v_b, (LLVMValueRef[]){v_from, v_next}, (LLVMBasicBlockRef[]){b_before, b_look}, 2);
    LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_bits, LLVMConstNull(gen->i16), ""), b_look, b_found);
    LLVMPositionBuilderAtEnd(gen->b, b_found);
    v_bits = LLVMBuildZExt(gen->b, l_intrinsic(gen, "llvm.cttz", (LLVMValueRef[]){v_bits, LLVMConstNull(gen->i1)}, 2), gen->i64, "");
    return l_add(gen, v_b, v_bits);
}

/*
 * If the HEAD rows at which the table of the slot has stopped had no more than FEW distinct ones, v_n: the others among the slot's are found by comparing
 * vectors of the batch's with each, a quarter of the time that the table takes for a slot of eight values (batch 512).
 *
 *     for distinct rows u, as long as there are more: list += all b with row[b] == u's; inverse[those] = u
 *         if u is the last, and the list is not all of the batch: the next one is the row of the first b without a number
 *     order = list
 *
 * Numbers are those that the table would have given. More than AT_MOST distinct rows: back to the table, which goes on behind the head. Ends in
 * b_table, if that has to, or in the block where the rows are numbered; returns their number there, and in *b_end that block.
 */
static LLVMValueRef number_few_rows(const unique *u, LLVMValueRef v_n, LLVMValueRef v_inverse, LLVMBasicBlockRef b_table, LLVMBasicBlockRef *b_end)
{
    fl_gen *gen = u->gen;
    fl_id segment = u->node->out[4], order = u->node->out[3];
    LLVMValueRef v_rows = u->v_starts, v_list = l_at(gen, FL_INT64, u->v_words, l_i64(gen, HEAD)), v_u, v_listed, v_count, v_from, v_to, v_more, v_b, v_few;
    LLVMBasicBlockRef b_few = l_block(gen, "few"), b_before, b_row = l_block(gen, "row"), b_last = l_block(gen, "last"), b_rest = l_block(gen, "rest"), b_next = l_block(gen, "another"),
                      b_after, b_all = l_block(gen, "all");
    l_loop loop;

    v_few = LLVMBuildICmp(gen->b, LLVMIntULE, v_n, l_i64(gen, FEW), "");
    v_few = LLVMBuildAnd(gen->b, v_few, LLVMBuildICmp(gen->b, LLVMIntEQ, LLVMBuildAnd(gen->b, u->v_batch, l_i64(gen, L_LANES - 1), ""), l_i64(gen, 0), ""), "");
    v_few = LLVMBuildAnd(gen->b, v_few, LLVMBuildICmp(gen->b, LLVMIntUGE, u->v_batch, l_i64(gen, LEAST_BATCH), ""), "");
    LLVMBuildCondBr(gen->b, v_few, b_few, b_table);

    LLVMPositionBuilderAtEnd(gen->b, b_few);
    v_few = copy_column(u, v_rows, v_inverse);
    b_before = LLVMGetInsertBlock(gen->b);
    LLVMBuildCondBr(gen->b, v_few, b_row, b_table);

    LLVMPositionBuilderAtEnd(gen->b, b_row);
    v_u = LLVMBuildPhi(gen->b, gen->i64, "u");
    v_from = LLVMBuildPhi(gen->b, gen->i64, "from");
    v_count = LLVMBuildPhi(gen->b, gen->i64, "count");
    l_fetch_rows(gen, u->node->out[0], l_add(gen, u->v_first, v_u));
    v_listed = list_row(u, v_rows, v_inverse, v_list, v_u, v_from);
    if (segment != FL_NONE) {
        LLVMValueRef v_place = l_add(gen, u->v_first, v_u);

        l_store(gen, FL_INT32, int_32(gen, l_add(gen, u->v_first, v_from)), l_element_address(gen, segment, v_place, l_i64(gen, 0)));
        l_store(gen, FL_INT32, int_32(gen, l_add(gen, u->v_first, v_listed)), l_element_address(gen, segment, v_place, l_i64(gen, 1)));
    }
    v_more = l_add(gen, v_u, l_i64(gen, 1));
    b_after = LLVMGetInsertBlock(gen->b);
    LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntULT, v_more, v_count, ""), b_row, b_last);

    LLVMPositionBuilderAtEnd(gen->b, b_last);
    LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_listed, u->v_batch, ""), b_all, b_rest);

    LLVMPositionBuilderAtEnd(gen->b, b_rest);
    LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntEQ, v_count, l_i64(gen, AT_MOST), ""), b_table, b_next);

    LLVMPositionBuilderAtEnd(gen->b, b_next);
    v_b = first_unknown(u, v_inverse, l_i64(gen, HEAD)); /* whatever stands in the head is known */
    v_b = l_load(gen, FL_INT32, l_at(gen, FL_INT32, v_rows, v_b), 1);
    l_store(gen, FL_INT64, LLVMBuildZExt(gen->b, v_b, gen->i64, ""), l_element_address(gen, u->node->out[0], l_add(gen, u->v_first, v_count), l_i64(gen, 0)));
    v_to = l_add(gen, v_count, l_i64(gen, 1));
    b_next = LLVMGetInsertBlock(gen->b);
    LLVMBuildBr(gen->b, b_row);
    LLVMAddIncoming(v_u, (LLVMValueRef[]){l_i64(gen, 0), v_more, v_more}, (LLVMBasicBlockRef[]){b_before, b_after, b_next}, 3);
    LLVMAddIncoming(v_from, (LLVMValueRef[]){l_i64(gen, 0), v_listed, v_listed}, (LLVMBasicBlockRef[]){b_before, b_after, b_next}, 3);
    LLVMAddIncoming(v_count, (LLVMValueRef[]){v_n, v_count, v_to}, (LLVMBasicBlockRef[]){b_before, b_after, b_next}, 3);

    LLVMPositionBuilderAtEnd(gen->b, b_all);
    if (order != FL_NONE) {
        l_loop_begin(gen, &loop, l_i64(gen, 0), u->v_batch, L_LANES);
        l_store(gen, FL_INT32, l_load(gen, FL_INT32, l_at(gen, FL_INT32, v_list, loop.v_i), L_LANES),
                l_element_address(gen, order, l_add(gen, u->v_first, loop.v_i), l_i64(gen, 0)));
        l_loop_end(gen, &loop);
    }
    *b_end = LLVMGetInsertBlock(gen->b);
    return v_count;
}

/*
 * UniqueRows, of slot s, whose places start at f = s * batch:
 *
 *     n = 0; for b: word[b] = find(index[b, s]); n += the row is new
 *     count[s] = n;  for b: inverse[b, s] = f + number of word[b]
 *     start = f; for d < n: segment[f + d] = start, start + times d was met; starts[d] = start - 1; start = its end
 *     for b: order[starts[number of word[b]] + the how manieth b is] = b
 *
 * The slot's rows are known from here on, for what follows in the segment.
 */
void fl_emit_unique_rows(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    unique u = {.gen = gen, .node = n};
    LLVMValueRef v_n, v_head, v_inverse, v_few = NULL;
    LLVMBasicBlockRef b_table = NULL, b_few = NULL, b_end = NULL;
    table t;

    if (gen->segment->domain != FL_DOMAIN_SLOTS || gen->segment->count != n->out[2] || n->out[0] == FL_NONE) {
        l_unsupported(gen, node, "its segment does not go over its slots");
        return;
    }
    u.v_batch = l_extent(gen, fl_value_type(gen->g, n->in[0])->dims[0]);
    u.v_first = l_mul(gen, gen->v_slot, u.v_batch);
    u.v_words = scratch_at(gen, FL_HASH_BYTES, TABLE_ROW_BYTES, u.v_batch);
    u.v_places = scratch_at(gen, FL_HASH_BYTES, TABLE_ROW_BYTES + WORD, u.v_batch);
    u.v_starts = scratch_at(gen, FL_HASH_BYTES, TABLE_ROW_BYTES + WORD + ENTRY, u.v_batch);
    t = new_table(gen, u.v_batch, l_element_address(gen, n->out[0], u.v_first, l_i64(gen, 0)));
    v_inverse = gen->register_lanes == L_LANES ? dense_inverse(&u) : NULL;
    v_head = v_inverse == NULL ? l_i64(gen, 0) : l_min_i64(gen, u.v_batch, l_i64(gen, HEAD));
    v_n = l_i64(gen, 0);
    if (v_inverse != NULL) {
        b_table = l_block(gen, "table");
        b_end = l_block(gen, "numbered");
        v_n = number_rows(&u, &t, l_i64(gen, 0), v_head, v_n);
        v_few = number_few_rows(&u, v_n, v_inverse, b_table, &b_few);
        LLVMBuildBr(gen->b, b_end);
        LLVMPositionBuilderAtEnd(gen->b, b_table);
    }
    v_n = number_rows(&u, &t, v_head, u.v_batch, v_n);
    if (n->out[1] != FL_NONE)
        invert_rows(&u);
    if (n->out[3] != FL_NONE || n->out[4] != FL_NONE)
        bound_rows(&u, v_n);
    if (n->out[3] != FL_NONE)
        order_rows(&u);
    if (v_inverse != NULL) {
        b_table = LLVMGetInsertBlock(gen->b);
        LLVMBuildBr(gen->b, b_end);
        LLVMPositionBuilderAtEnd(gen->b, b_end);
        LLVMValueRef v_both = LLVMBuildPhi(gen->b, gen->i64, "n");
        LLVMAddIncoming(v_both, (LLVMValueRef[]){v_few, v_n}, (LLVMBasicBlockRef[]){b_few, b_table}, 2);
        v_n = v_both;
    }
    l_store(gen, FL_INT32, int_32(gen, v_n), l_element_address(gen, n->out[2], gen->v_slot, l_i64(gen, 0)));
    gen->v_row_from = u.v_first;
    gen->v_row_to = l_add(gen, u.v_first, v_n);
}

/* -----------------------------------------------------------------------------------------------------
 * MergeRows */

typedef struct merge {
    fl_gen *gen;
    const fl_node *node;
    fl_id grad;                       /* the operand's gradient */
    LLVMValueRef v_from, v_to, v_new; /* its row; the merged row; is that new? */
} merge;

static void add_strip(void *arg, const l_strip *s, LLVMValueRef v_column)
{
    const merge *m = arg;
    fl_gen *gen = m->gen;

    for (unsigned v = 0; v < s->n; v++) {
        LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, s->at[v]));
        LLVMValueRef v_x =
            l_load(gen, FL_FLOAT, l_element_address(gen, m->grad, m->v_from, v_j), s->width[v]);
        LLVMValueRef v_at = l_element_address(gen, m->node->out[1], m->v_to, v_j);
        LLVMValueRef v_sum = LLVMBuildFAdd(gen->b, l_load(gen, FL_FLOAT, v_at, s->width[v]), v_x, "");

        l_store(gen, FL_FLOAT, LLVMBuildSelect(gen->b, m->v_new, v_x, v_sum, ""), v_at);
    }
}

/* The used places of slot v_slot of an operand. */
static void places_of(fl_gen *gen, fl_id count, fl_id rows, LLVMValueRef v_slot, LLVMValueRef *v_from,
                      LLVMValueRef *v_to)
{
    LLVMValueRef v_slots = l_extent(gen, fl_value_type(gen->g, count)->dims[0]);
    LLVMValueRef v_all = l_extent(gen, fl_value_type(gen->g, rows)->dims[0]);

    *v_from = l_mul(gen, v_slot, LLVMBuildUDiv(gen->b, v_all, v_slots, ""));
    *v_to = signed_64(gen, l_load(gen, FL_INT32, l_element_address(gen, count, v_slot, l_i64(gen, 0)), 1));
    *v_to = l_add(gen, *v_from, *v_to);
}

/* All slots of operand i merged; v_n distinct rows before, result after. */
static LLVMValueRef merge_operand(merge *m, const table *t, uint32_t i, int64_t width, LLVMValueRef v_n)
{
    fl_gen *gen = m->gen;
    fl_id count = m->node->in[i], rows = m->node->in[i + 1];
    LLVMValueRef v_from, v_to, v_row;
    l_loop slot, d;
    found f;

    m->grad = m->node->in[i + 2];
    l_loop_begin(gen, &slot, l_i64(gen, 0), l_extent(gen, fl_value_type(gen->g, count)->dims[0]), 1);
    v_n = l_carry(gen, &slot, v_n);
    places_of(gen, count, rows, slot.v_i, &v_from, &v_to);
    l_loop_begin(gen, &d, v_from, v_to, 1);
    v_n = l_carry(gen, &d, v_n);
    v_row = l_load(gen, FL_INT64, l_element_address(gen, rows, d.v_i, l_i64(gen, 0)), 1);
    m->v_from = d.v_i;
    f = find(gen, t, v_n, v_row);
    m->v_to = number_of(gen, f.v_word);
    m->v_new = f.v_new;
    l_next(&d, 0, count_new(gen, v_n, &f));
    l_strips(gen, width, gen->n_registers / 2, add_strip, m);
    l_loop_end(gen, &d);
    l_next(&slot, 0, d.v_result[0]);
    l_loop_end(gen, &slot);
    return slot.v_result[0];
}

/*
 * MergeRows:
 *
 *     n = 0; for each operand, each slot of it, each place p of that slot:
 *         d = find(rows_i[p]); g[d] = d == n ? g_i[p] : g[d] + g_i[p]; n += d == n
 *     count[0] = n
 */
void fl_emit_merge_rows(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->out[1]);
    merge m = {.gen = gen, .node = n};
    LLVMValueRef v_n = l_i64(gen, 0), v_from, v_to;
    l_loop slot;
    table t_rows;

    if (gen->segment->domain != FL_DOMAIN_ONE || t->dtype != FL_FLOAT || l_row_elements(t) < 1) {
        l_unsupported(gen, node, "it has code for rows of float of static width");
        return;
    }
    for (uint32_t i = 0; i < n->n_in; i += 3) { /* how many there are at most */
        l_loop_begin(gen, &slot, l_i64(gen, 0), l_extent(gen, fl_value_type(gen->g, n->in[i])->dims[0]), 1);
        v_n = l_carry(gen, &slot, v_n);
        places_of(gen, n->in[i], n->in[i + 1], slot.v_i, &v_from, &v_to);
        l_next(&slot, 0, LLVMBuildAdd(gen->b, v_n, LLVMBuildSub(gen->b, v_to, v_from, ""), ""));
        l_loop_end(gen, &slot);
        v_n = slot.v_result[0];
    }
    t_rows = new_table(gen, v_n, l_element_address(gen, n->out[0], l_i64(gen, 0), l_i64(gen, 0)));
    v_n = l_i64(gen, 0);
    for (uint32_t i = 0; i < n->n_in; i += 3)
        v_n = merge_operand(&m, &t_rows, i, l_row_elements(t), v_n);
    l_store(gen, FL_INT32, int_32(gen, v_n), l_element_address(gen, n->out[2], l_i64(gen, 0), l_i64(gen, 0)));
}
