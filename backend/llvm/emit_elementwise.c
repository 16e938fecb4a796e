/*
 * emit_elementwise.c -- one chunk of each operator that computes element by element.
 *
 * Floats and doubles use separate multiplications and additions: e * e - q is 0 where q was made as e * e.
 */
#include "backend/llvm/emit.h"

#include "ir/base/planted.h"

#include <string.h>

static bool is_real(fl_dtype t)
{
    return l_is_real(t); /* 16-bit floats are floats here */
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

/* Ceil, Floor, Round (halves to even): one instruction */
LLVMValueRef fl_element_ceil(fl_gen *gen, const l_chunk_of *e)
{
    return l_intrinsic(gen, "llvm.ceil", e->v_in, 1);
}

LLVMValueRef fl_element_floor(fl_gen *gen, const l_chunk_of *e)
{
    return l_intrinsic(gen, "llvm.floor", e->v_in, 1);
}

LLVMValueRef fl_element_round(fl_gen *gen, const l_chunk_of *e)
{
    return l_intrinsic(gen, "llvm.rint", e->v_in, 1);
}

LLVMValueRef fl_element_erf(fl_gen *gen, const l_chunk_of *e)
{
    return float_function(gen, e, l_erf);
}

/* Circular and hyperbolic functions and their inverses */
#define ANGLE(fn)                                                  \
    LLVMValueRef fl_element_##fn(fl_gen *gen, const l_chunk_of *e) \
    {                                                              \
        return float_function(gen, e, l_##fn);                     \
    }
ANGLE(sin)
ANGLE(cos)
ANGLE(tan)
ANGLE(asin)
ANGLE(acos)
ANGLE(atan)
ANGLE(sinh)
ANGLE(cosh)
ANGLE(asinh)
ANGLE(acosh)
ANGLE(atanh)
#undef ANGLE

/* IsNaN: x != x; IsInf: x == +-infinity, as far as it is asked for */
LLVMValueRef fl_element_is_nan(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildFCmp(gen->b, LLVMRealUNO, e->v_in[0], e->v_in[0], "");
}

LLVMValueRef fl_element_is_inf(fl_gen *gen, const l_chunk_of *e)
{
    static const char *const asked[] = {"detect_positive", "detect_negative"};
    LLVMValueRef x = e->v_in[0], v_found[2];

    for (int k = 0; k < 2; k++) {
        bool wanted = fl_node_int(gen->g, (fl_id)(e->node - gen->g->nodes), asked[k], 1) != 0;
        double bound = k == 0 ? __builtin_inf() : -__builtin_inf();

        v_found[k] = LLVMBuildFCmp(gen->b, wanted ? LLVMRealOEQ : LLVMRealPredicateFalse, x, l_number(LLVMTypeOf(x), bound), "");
    }
    return LLVMBuildOr(gen->b, v_found[0], v_found[1], "");
}

/* Pow: l_pow, with the exponent as a float; whole constant exponents up to 8 are products, 1/2 is a root */
LLVMValueRef fl_element_pow(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef x = e->v_in[0], y = e->v_in[1], v = x;
    bool real = is_real(e->in_type[0]);
    double exponent;

    if (fl_value_scalar(gen->g, e->node->in[1], &exponent) && exponent >= 1 && exponent <= 8 && exponent == (double)(int)exponent) {
        for (int k = 1; k < (int)exponent; k++)
            v = real ? LLVMBuildFMul(gen->b, v, x, "") : LLVMBuildMul(gen->b, v, x, "");
        return v;
    }
    if (e->in_type[0] != FL_FLOAT) {
        l_unsupported(gen, (fl_id)(e->node - gen->g->nodes), "it has code for float and for constant exponents from 1 to 8");
        return x;
    }
    if (fl_value_scalar(gen->g, e->node->in[1], &exponent) && exponent == 0.5)
        return l_sqrt(gen, x);
    if (!is_real(e->in_type[1]))
        y = e->in_type[1] == FL_UINT8 || e->in_type[1] == FL_BOOL ? LLVMBuildUIToFP(gen->b, y, LLVMTypeOf(x), "")
                                                                  : LLVMBuildSIToFP(gen->b, y, LLVMTypeOf(x), "");
    else
        y = LLVMBuildFPCast(gen->b, y, LLVMTypeOf(x), "");
    return l_pow(gen, x, y);
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

static LLVMValueRef is_integer(fl_gen *gen, LLVMValueRef v, int64_t i)
{
    return LLVMBuildICmp(gen->b, LLVMIntEQ, v, l_integer(LLVMTypeOf(v), (uint64_t)i), "");
}

/*
 * Integer division and remainder. Machine code traps on a divisor of 0, and of -1 under the least integer: these divide by 1, and
 * -1 gives the wrapped negative. A divisor of 0, which the interpreter refuses, gives the dividend.
 */
static LLVMValueRef divide(fl_gen *gen, const l_chunk_of *e, bool remainder)
{
    LLVMValueRef a = e->v_in[0], b = e->v_in[1], v_one = l_integer(LLVMTypeOf(a), 1), v_safe, v_minus, v;

    if (e->in_type[0] == FL_UINT8) {
        v_safe = LLVMBuildSelect(gen->b, is_integer(gen, b, 0), v_one, b, "");
        return remainder ? LLVMBuildURem(gen->b, a, v_safe, "") : LLVMBuildUDiv(gen->b, a, v_safe, "");
    }
    v_minus = is_integer(gen, b, -1);
    v_safe = LLVMBuildSelect(gen->b, LLVMBuildOr(gen->b, is_integer(gen, b, 0), v_minus, ""), v_one, b, "");
    v = remainder ? LLVMBuildSRem(gen->b, a, v_safe, "") : LLVMBuildSDiv(gen->b, a, v_safe, "");
    return remainder ? v : LLVMBuildSelect(gen->b, v_minus, LLVMBuildNeg(gen->b, a, ""), v, "");
}

LLVMValueRef fl_element_div(fl_gen *gen, const l_chunk_of *e)
{
    return is_real(e->in_type[0]) ? LLVMBuildFDiv(gen->b, e->v_in[0], e->v_in[1], "") : divide(gen, e, false);
}

/*
 * Mod: the remainder has the divisor's sign, or with fmod the dividend's. Floats: a - b trunc(a / b) in doubles, exact while the
 * quotient has at most 53 bits.
 */
LLVMValueRef fl_element_mod(fl_gen *gen, const l_chunk_of *e)
{
    bool like_c = fl_node_int(gen->g, (fl_id)(e->node - gen->g->nodes), "fmod", 0) != 0, real = is_real(e->in_type[0]);
    LLVMTypeRef wide = l_vector(gen->f64, e->width);
    LLVMValueRef a = e->v_in[0], b = e->v_in[1], v_zero = LLVMConstNull(LLVMTypeOf(a)), v, v_signs, v_moved;

    if (!real) {
        v = divide(gen, e, true);
        if (like_c || e->in_type[0] == FL_UINT8)
            return v;
        v_signs = LLVMBuildICmp(gen->b, LLVMIntSLT, LLVMBuildXor(gen->b, v, b, ""), v_zero, "");
        v_signs = LLVMBuildAnd(gen->b, v_signs, LLVMBuildICmp(gen->b, LLVMIntNE, v, v_zero, ""), "");
        return LLVMBuildSelect(gen->b, v_signs, LLVMBuildAdd(gen->b, v, b, ""), v, "");
    }
    LLVMValueRef v_a = LLVMBuildFPCast(gen->b, a, wide, ""), v_b = LLVMBuildFPCast(gen->b, b, wide, "");
    LLVMValueRef v_n = LLVMBuildFDiv(gen->b, v_a, v_b, "");
    v_n = l_intrinsic(gen, "llvm.trunc", &v_n, 1);
    v = LLVMBuildFPCast(gen->b, l_fma(gen, LLVMBuildFNeg(gen->b, v_n, ""), v_b, v_a), LLVMTypeOf(a), "");
    /* a quotient of 0 leaves a as it is, also where b is infinite */
    v = LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, LLVMRealOEQ, v_n, LLVMConstNull(wide), ""), a, v, "");
    if (like_c)
        return v;
    v_moved = LLVMBuildFMul(gen->b, l_intrinsic(gen, "llvm.copysign", (LLVMValueRef[]){l_number(LLVMTypeOf(a), 1), b}, 2), v, "");
    v_signs = LLVMBuildFCmp(gen->b, LLVMRealOLT, v_moved, v_zero, "");
    return LLVMBuildSelect(gen->b, v_signs, LLVMBuildFAdd(gen->b, v, b, ""), v, "");
}

/* Max, Min, Sum of all operands, from the left */
LLVMValueRef fl_element_max(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef v = e->v_in[0];

    for (uint32_t i = 1; i < e->node->n_in; i++)
        v = l_extreme(gen, e->in_type[0], true, v, e->v_in[i]);
    return v;
}

LLVMValueRef fl_element_min(fl_gen *gen, const l_chunk_of *e)
{
    LLVMValueRef v = e->v_in[0];

    for (uint32_t i = 1; i < e->node->n_in; i++)
        v = l_extreme(gen, e->in_type[0], false, v, e->v_in[i]);
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
    bool is_unsigned = e->in_type[0] == FL_UINT8 || e->in_type[0] == FL_BOOL;

    if (is_real(e->in_type[0]))
        return LLVMBuildFCmp(gen->b, real, e->v_in[0], e->v_in[1], "");
    if (is_unsigned && integer != LLVMIntEQ) /* the signed predicates follow the unsigned ones in the same order */
        integer = (LLVMIntPredicate)(integer - LLVMIntSGT + LLVMIntUGT);
    return LLVMBuildICmp(gen->b, integer, e->v_in[0], e->v_in[1], "");
}

LLVMValueRef fl_element_equal(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, LLVMRealOEQ, LLVMIntEQ);
}

LLVMValueRef fl_element_greater(fl_gen *gen, const l_chunk_of *e)
{
    return compare(gen, e, FL_PLANTED("greater") ? LLVMRealOGE : LLVMRealOGT, LLVMIntSGT);
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

/* Xor on bits */
LLVMValueRef fl_element_xor(fl_gen *gen, const l_chunk_of *e)
{
    return LLVMBuildXor(gen->b, e->v_in[0], e->v_in[1], "");
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
