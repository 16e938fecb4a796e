/*
 * emit_turn.c -- rows become columns, in registers.
 */
#include "backend/llvm/emit.h"

/* a and b as one, `n` lanes of each: lane i of the result is lane order[i]. */
static LLVMValueRef shuffle(fl_gen *gen, LLVMValueRef v_a, LLVMValueRef v_b, const unsigned *order, unsigned n)
{
    LLVMValueRef v_order[L_LANES];

    for (unsigned i = 0; i < n; i++)
        v_order[i] = l_i32(gen, order[i]);
    return LLVMBuildShuffleVector(gen->b, v_a, v_b, LLVMConstVector(v_order, n), "");
}

/* Within each four lanes, of their low or high half: a lane of a, one of b, and so on (pairs = 1), or both of a, then both of b (pairs = 2). */
static LLVMValueRef interleave(fl_gen *gen, LLVMValueRef v_a, LLVMValueRef v_b, bool high, unsigned pairs, unsigned n)
{
    unsigned order[L_LANES];

    for (unsigned i = 0; i < n; i++) {
        unsigned lane = i % 4, from = pairs == 1 ? lane / 2 : lane % 2; /* of which half; from which operand: */

        order[i] = i / 4 * 4 + (high ? 2 : 0) + from + ((pairs == 1 ? lane % 2 : lane / 2) ? n : 0);
    }
    return shuffle(gen, v_a, v_b, order, n);
}

/* Two of the quarters of each: of a, those from `first` on in steps of `step`, then likewise of b. */
static LLVMValueRef quarters(fl_gen *gen, LLVMValueRef v_a, LLVMValueRef v_b, unsigned first, unsigned step, unsigned n)
{
    unsigned order[L_LANES], half = n / 8;

    for (unsigned i = 0; i < n; i++) {
        unsigned quarter = i / 4;

        order[i] = (first + quarter % half * step) * 4 + i % 4 + (quarter < half ? 0 : n);
    }
    return shuffle(gen, v_a, v_b, order, n);
}

/*
 * out[k + i, j + l] = in[j + l, k + i] for i, l < n, n 4, 8 or 16: blocks of 4 x 4 within four lanes each, by interleaving twice, then the quarters as a
 * matrix of its own.
 */
void l_turn_block(fl_gen *gen, LLVMValueRef v_in, LLVMValueRef v_in_row, LLVMValueRef v_out, int64_t out_row, unsigned n)
{
    LLVMValueRef r[L_LANES], t[L_LANES], q[L_LANES];
    unsigned groups = n / 4;

    for (unsigned l = 0; l < n; l++)
        r[l] = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_in, l_mul(gen, l_i64(gen, l), v_in_row)), n);
    for (unsigned g = 0; g < groups; g++) {
        LLVMValueRef *in = r + 4 * g, *mid = t + 4 * g;

        for (unsigned h = 0; h < 2; h++) { /* rows 0, 1 and 2, 3: columns 0, 1, then 2, 3 */
            mid[h] = interleave(gen, in[2 * h], in[2 * h + 1], false, 1, n);
            mid[h + 2] = interleave(gen, in[2 * h], in[2 * h + 1], true, 1, n);
        }
        for (unsigned i = 0; i < 4; i++) /* q[4 g + i]: in quarter h, rows 4 g .. 4 g + 3 of column 4 h + i */
            q[4 * g + i] = interleave(gen, mid[i / 2 * 2], mid[i / 2 * 2 + 1], i % 2 != 0, 2, n);
    }
    for (unsigned i = 0; i < 4; i++) {
        LLVMValueRef v[4];

        if (groups == 1) {
            v[0] = q[i];
        } else if (groups == 2) {
            v[0] = quarters(gen, q[i], q[4 + i], 0, 1, n);
            v[1] = quarters(gen, q[i], q[4 + i], 1, 1, n);
        } else {
            LLVMValueRef v_low[2], v_high[2];

            for (unsigned h = 0; h < 2; h++) {
                v_low[h] = quarters(gen, q[8 * h + i], q[8 * h + 4 + i], 0, 1, n);
                v_high[h] = quarters(gen, q[8 * h + i], q[8 * h + 4 + i], 2, 1, n);
            }
            for (unsigned h = 0; h < 2; h++) {
                v[h] = quarters(gen, v_low[0], v_low[1], h, 2, n);
                v[2 + h] = quarters(gen, v_high[0], v_high[1], h, 2, n);
            }
        }
        for (unsigned h = 0; h < groups; h++)
            l_store(gen, FL_FLOAT, v[h], l_at(gen, FL_FLOAT, v_out, l_i64(gen, (4 * h + i) * out_row)));
    }
}
