/*
 * emit_elementwise.c -- one chunk of each operator that computes element by element.
 *
 * Floats and doubles use separate multiplications and additions: e * e - q is 0 where q was made as e * e.
 */
#include "backend/llvm/emit.h"

#include <string.h>

static bool is_real(fl_dtype t)
{
    return t == FL_FLOAT || t == FL_DOUBLE;
}

/* Unary functions of floats; doubles (scalars of optimisers) are refused, because a polynomial would be too coarse. */
static LLVMValueRef float_function(fl_gen *gen, const l_chunk_of *e, LLVMValueRef (*fn)(fl_gen *, LLVMValueRef))
{
    if (e->in_type[0] != FL_FLOAT) {
        l_unsupported(gen, (fl_id)(e->node - gen->g->nodes), "it has code for float only");
        return e->v_in[0];
    }
    return fn(gen, e->v_in[0]);
}

/* Neg: -x */
LLVMValueRef fl_element_neg(fl_gen *gen, const l_chunk_of *e)
{
    return is_real(e->in_type[0]) ? LLVMBuildFNeg(gen->b, e->v_in[0], "") : LLVMBuildNeg(gen->b, e->v_in[0], "");
}

/* Abs: |x| */
LLVMValueRef fl_element_abs(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef x = e->v_in[0];

    if (is_real(e->in_type[0]))
        return l_abs(gen, x);
    return l_max(gen, x, LLVMBuildNeg(gen->b, x, ""));
}

/* Sign: (x > 0) - (x < 0); NaN gives NaN */
LLVMValueRef fl_element_sign(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef x = e->v_in[0], v_zero = LLVMConstNull(LLVMTypeOf(x)), v_over, v_under;

    if (!is_real(e->in_type[0])) {
        v_over = LLVMBuildZExt(gen->b, LLVMBuildICmp(gen->b, LLVMIntSGT, x, v_zero, ""), LLVMTypeOf(x), "");
        v_under = LLVMBuildZExt(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, x, v_zero, ""), LLVMTypeOf(x), "");
        return LLVMBuildSub(gen->b, v_over, v_under, "");
    }
    v_under = LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, LLVMRealOLT, x, v_zero, ""),
                              l_number(LLVMTypeOf(x), -1.0), x, "");
    return LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, LLVMRealOGT, x, v_zero, ""), l_number(LLVMTypeOf(x), 1.0),
                           v_under, "");
}

/* Sqrt */
LLVMValueRef fl_element_sqrt(fl_gen *gen, const l_chunk_of *e)
{
    return l_sqrt(gen, e->v_in[0]);
}

/* Reciprocal: 1 / x */
LLVMValueRef fl_element_reciprocal(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildFDiv(gen->b, l_number(LLVMTypeOf(e->v_in[0]), 1.0), e->v_in[0], "");
}

/* Exp, Log, Sigmoid, Tanh, Softplus: llvm_math.c */
LLVMValueRef fl_element_exp(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_exp);
}

LLVMValueRef fl_element_log(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_log);
}

LLVMValueRef fl_element_sigmoid(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_sigmoid);
}

LLVMValueRef fl_element_tanh(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_tanh);
}

LLVMValueRef fl_element_softplus(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_softplus);
}

/* Relu: x > 0 ? x : 0, NaN kept */
LLVMValueRef fl_element_relu(fl_gen *gen, const l_chunk_of *e)
{
    return l_max(gen, LLVMConstNull(LLVMTypeOf(e->v_in[0])), e->v_in[0]);
}

/* Not, And, Or on bits */
LLVMValueRef fl_element_not(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildNot(gen->b, e->v_in[0], "");
}

LLVMValueRef fl_element_and(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildAnd(gen->b, e->v_in[0], e->v_in[1], "");
}

LLVMValueRef fl_element_or(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildOr(gen->b, e->v_in[0], e->v_in[1], "");
}

/* Cast: to bool is x != 0; from bool 0 or 1; real to integer cuts */
LLVMValueRef fl_element_cast(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef x = e->v_in[0];
    LLVMTypeRef to = l_vector(l_type(gen, e->out_type), e->width);
    bool from_real = is_real(e->in_type[0]), to_real = is_real(e->out_type);
    bool is_unsigned = e->in_type[0] == FL_BOOL || e->in_type[0] == FL_UINT8;

    if (e->in_type[0] == e->out_type)
        return x;
    if (e->out_type == FL_BOOL && from_real)
        return LLVMBuildFCmp(gen->b, LLVMRealUNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
    if (e->out_type == FL_BOOL)
        return LLVMBuildICmp(gen->b, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
    if (from_real && to_real)
        return LLVMBuildFPCast(gen->b, x, to, "");
    if (from_real)
        return LLVMBuildFPToSI(gen->b, x, to, "");
    if (to_real)
        return is_unsigned ? LLVMBuildUIToFP(gen->b, x, to, "") : LLVMBuildSIToFP(gen->b, x, to, "");
    return LLVMBuildIntCast2(gen->b, x, to, !is_unsigned, "");
}

/* Add, Sub, Mul, Div */
static LLVMValueRef arithmetic(fl_gen *gen, const l_chunk_of *e, LLVMOpcode real, LLVMOpcode integer)
{
    return LLVMBuildBinOp(gen->b, is_real(e->in_type[0]) ? real : integer, e->v_in[0], e->v_in[1], "");
}

LLVMValueRef fl_element_add(fl_gen *gen, const l_chunk_of *e)
{
    return arithmetic(gen, e, LLVMFAdd, LLVMAdd);
}

LLVMValueRef fl_element_sub(fl_gen *gen, const l_chunk_of *e)
{
    return arithmetic(gen, e, LLVMFSub, LLVMSub);
}

LLVMValueRef fl_element_mul(fl_gen *gen, const l_chunk_of *e)
{
    return arithmetic(gen, e, LLVMFMul, LLVMMul);
}

/* Integer division traps on a zero divisor in machine code: only constants other than 0 and -1 are taken. */
LLVMValueRef fl_element_div(fl_gen *gen, const l_chunk_of *e)
{
    double f;

    if (!is_real(e->in_type[0]) && !(fl_value_scalar(gen->g, e->node->in[1], &f) && f > 0)) {
        l_unsupported(gen, (fl_id)(e->node - gen->g->nodes), "integers are divided by positive constants only");
        return e->v_in[0];
    }
    return arithmetic(gen, e, LLVMFDiv, LLVMSDiv);
}

/* Max, Min, Sum of all operands, from the left */
LLVMValueRef fl_element_max(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef v = e->v_in[0];

    for (uint32_t i = 1; i < e->node->n_in; i++)
        v = l_max(gen, v, e->v_in[i]);
    return v;
}

LLVMValueRef fl_element_min(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef v = e->v_in[0];

    for (uint32_t i = 1; i < e->node->n_in; i++)
        v = l_min(gen, v, e->v_in[i]);
    return v;
}

LLVMValueRef fl_element_sum(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef v = e->v_in[0];

    for (uint32_t i = 1; i < e->node->n_in; i++)
        v = is_real(e->in_type[0]) ? LLVMBuildFAdd(gen->b, v, e->v_in[i], "") : LLVMBuildAdd(gen->b, v, e->v_in[i], "");
    return v;
}

/* Equal, Greater, ...: false where an operand is NaN */
static LLVMValueRef compare(fl_gen *gen, const l_chunk_of *e, LLVMRealPredicate real, LLVMIntPredicate integer)
{
    if (is_real(e->in_type[0]))
        return LLVMBuildFCmp(gen->b, real, e->v_in[0], e->v_in[1], "");
    return LLVMBuildICmp(gen->b, integer, e->v_in[0], e->v_in[1], "");
}

LLVMValueRef fl_element_equal(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOEQ, LLVMIntEQ);
}

LLVMValueRef fl_element_greater(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOGT, LLVMIntSGT);
}

LLVMValueRef fl_element_greater_or_equal(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOGE, LLVMIntSGE);
}

LLVMValueRef fl_element_less(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOLT, LLVMIntSLT);
}

LLVMValueRef fl_element_less_or_equal(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOLE, LLVMIntSLE);
}

/* Where: c ? a : b */
LLVMValueRef fl_element_where(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildSelect(gen->b, e->v_in[0], e->v_in[1], e->v_in[2], "");
}

/* Expand: the operand's broadcast is the nest's; the shape operand is not read */
LLVMValueRef fl_element_expand(fl_gen *gen, const l_chunk_of *e)
{
    (void)gen;
    return e->v_in[0];
}
