#include "backend/llvm/llvm_build.h"

#include <string.h>

/* ------------------------------------------------------------------------------------- types and constants */

LLVMTypeRef l_type(fl_gen *gen, fl_dtype dtype)
{
    if (dtype == FL_FLOAT16 || dtype == FL_BFLOAT16)
        return gen->f32;
    return dtype == FL_BOOL ? gen->i1 : l_memory_type(gen, dtype);
}

LLVMTypeRef l_memory_type(fl_gen *gen, fl_dtype dtype)
{
    switch (dtype) {
    case FL_FLOAT:
        return gen->f32;
    case FL_DOUBLE:
        return gen->f64;
    case FL_INT64:
    case FL_STRING: /* the address of a text */
        return gen->i64;
    case FL_INT32:
        return gen->i32;
    case FL_BOOL:
    case FL_INT8:
    case FL_UINT8:
        return gen->i8;
    case FL_FLOAT16:
    case FL_BFLOAT16:
        return gen->i16;
    case FL_DTYPE_NONE:
        break;
    }
    FL_ASSERT(!"an element type that fl_codegen refuses");
    return gen->i8;
}

LLVMTypeRef l_vector(LLVMTypeRef element, unsigned n)
{
    return n == 1 ? element : LLVMVectorType(element, n);
}

unsigned l_width(LLVMTypeRef t)
{
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetVectorSize(t) : 1;
}

LLVMTypeRef l_element(LLVMTypeRef t)
{
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
}

LLVMValueRef l_i64(fl_gen *gen, int64_t i)
{
    return LLVMConstInt(gen->i64, (uint64_t)i, true);
}

LLVMValueRef l_i32(fl_gen *gen, uint32_t i)
{
    return LLVMConstInt(gen->i32, i, false);
}

LLVMValueRef l_f32(fl_gen *gen, double f)
{
    return LLVMConstReal(gen->f32, f);
}

static LLVMValueRef constant_splat(LLVMTypeRef t, LLVMValueRef v)
{
    unsigned n = l_width(t);
    LLVMValueRef lanes[L_LANES];

    if (n == 1)
        return v;
    FL_ASSERT(n <= L_LANES);
    for (unsigned i = 0; i < n; i++)
        lanes[i] = v;
    return LLVMConstVector(lanes, n);
}

LLVMValueRef l_number(LLVMTypeRef t, double f)
{
    return constant_splat(t, LLVMConstReal(l_element(t), f));
}

LLVMValueRef l_integer(LLVMTypeRef t, uint64_t i)
{
    return constant_splat(t, LLVMConstInt(l_element(t), i, false));
}

LLVMValueRef l_splat(fl_gen *gen, LLVMValueRef v, unsigned n)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    LLVMTypeRef vector;
    LLVMValueRef undef;

    if (n == 1 || l_width(t) != 1)
        return v;
    vector = LLVMVectorType(t, n);
    if (LLVMIsConstant(v))
        return constant_splat(vector, v);
    undef = LLVMGetPoison(vector);
    v = LLVMBuildInsertElement(gen->b, undef, v, l_i32(gen, 0), "");
    return LLVMBuildShuffleVector(gen->b, v, undef, LLVMConstNull(LLVMVectorType(gen->i32, n)), "");
}

/* ---------------------------------------------------------------------------------------------- arithmetic */

LLVMValueRef l_intrinsic(fl_gen *gen, const char *name, const LLVMValueRef *args, unsigned n)
{
    LLVMTypeRef t = LLVMTypeOf(args[0]);
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(gen->module, id, &t, 1);
    LLVMValueRef copy[4];

    FL_ASSERT(id != 0 && n <= FL_COUNT(copy));
    for (unsigned i = 0; i < n; i++)
        copy[i] = args[i];
    return LLVMBuildCall2(gen->b, LLVMIntrinsicGetType(gen->context, id, &t, 1), fn, copy, n, "");
}

LLVMValueRef l_fma(fl_gen *gen, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    if (!gen->has_fma)
        return LLVMBuildFAdd(gen->b, LLVMBuildFMul(gen->b, a, b, ""), c, "");
    return l_intrinsic(gen, "llvm.fma", (LLVMValueRef[]){a, b, c}, 3);
}

LLVMValueRef l_sum_lanes(fl_gen *gen, LLVMValueRef v)
{
    for (unsigned n = l_width(LLVMTypeOf(v)) / 2; n >= 1; n /= 2) {
        LLVMValueRef low[L_LANES], high[L_LANES];
        LLVMValueRef v_undef = LLVMGetPoison(LLVMTypeOf(v));
        LLVMValueRef v_low, v_high;

        if (n == 1) {
            v_low = LLVMBuildExtractElement(gen->b, v, l_i32(gen, 0), "");
            v_high = LLVMBuildExtractElement(gen->b, v, l_i32(gen, 1), "");
        } else {
            for (unsigned i = 0; i < n; i++) {
                low[i] = l_i32(gen, i);
                high[i] = l_i32(gen, i + n);
            }
            v_low = LLVMBuildShuffleVector(gen->b, v, v_undef, LLVMConstVector(low, n), "");
            v_high = LLVMBuildShuffleVector(gen->b, v, v_undef, LLVMConstVector(high, n), "");
        }
        v = LLVMBuildFAdd(gen->b, v_low, v_high, "");
    }
    return v;
}

/* Each is one vmaxps or vminps where a is no NaN: they return the second operand if either is one. */
static LLVMValueRef extreme(fl_gen *gen, LLVMRealPredicate real, LLVMIntPredicate integer, LLVMValueRef a,
                            LLVMValueRef b)
{
    LLVMTypeKind kind = LLVMGetTypeKind(l_element(LLVMTypeOf(a)));
    LLVMValueRef v_first, v_nan;

    if (kind == LLVMIntegerTypeKind)
        return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, integer, a, b, ""), a, b, "");
    v_first = LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, real, a, b, ""), a, b, "");
    if (LLVMIsConstant(a)) /* no NaN */
        return v_first;
    v_nan = LLVMBuildFCmp(gen->b, LLVMRealUNO, a, a, "");
    return LLVMBuildSelect(gen->b, v_nan, a, v_first, "");
}

LLVMValueRef l_lanes(fl_gen *gen, LLVMValueRef v, unsigned from, unsigned n)
{
    LLVMValueRef lanes[L_LANES];

    for (unsigned i = 0; i < n; i++)
        lanes[i] = l_i32(gen, from + i);
    return LLVMBuildShuffleVector(gen->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(lanes, n), "");
}

LLVMValueRef l_extreme(fl_gen *gen, fl_dtype dtype, bool larger, LLVMValueRef a, LLVMValueRef b)
{
    if (dtype == FL_UINT8)
        return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, larger ? LLVMIntUGT : LLVMIntULT, a, b, ""), a, b, "");
    return larger ? l_max(gen, a, b) : l_min(gen, a, b);
}

LLVMValueRef l_max(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return extreme(gen, LLVMRealOGT, LLVMIntSGT, a, b);
}

LLVMValueRef l_min(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return extreme(gen, LLVMRealOLT, LLVMIntSLT, a, b);
}

static bool is_constant(LLVMValueRef v, int64_t *i)
{
    if (!LLVMIsAConstantInt(v))
        return false;
    *i = (int64_t)LLVMConstIntGetSExtValue(v);
    return true;
}

LLVMValueRef l_add(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    int64_t i;

    if (is_constant(a, &i) && i == 0)
        return b;
    if (is_constant(b, &i) && i == 0)
        return a;
    return LLVMBuildAdd(gen->b, a, b, "");
}

LLVMValueRef l_mul(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    int64_t i;

    if (is_constant(a, &i) && (i == 1 || i == 0))
        return i == 1 ? b : a;
    if (is_constant(b, &i) && (i == 1 || i == 0))
        return i == 1 ? a : b;
    return LLVMBuildMul(gen->b, a, b, "");
}

LLVMValueRef l_min_i64(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef l_max_i64(fl_gen *gen, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, a, b, ""), b, a, "");
}

/* -------------------------------------------------------------------------------------------------- memory */

LLVMValueRef l_at(fl_gen *gen, fl_dtype dtype, LLVMValueRef v_base, LLVMValueRef v_index)
{
    int64_t i;

    if (is_constant(v_index, &i) && i == 0)
        return v_base;
    return LLVMBuildGEP2(gen->b, l_memory_type(gen, dtype), v_base, &v_index, 1, "");
}

static unsigned alignment(fl_dtype dtype)
{
    unsigned size = (unsigned)fl_dtype_place(dtype);

    return size < 4 ? 1 : size; /* never a vector's: vmovaps would fault on rows of odd width */
}

/*
 * 16-bit floats and floats, in integers: not every CPU has instructions for both, and this way all make the same bits. A bfloat16 is the upper half of a
 * float. The bits of a half, shifted to where a float has them, are that number times 2^-112; infinity and NaN need their exponent.
 */
static LLVMValueRef widened(fl_gen *gen, fl_dtype dtype, LLVMValueRef v)
{
    LLVMTypeRef i = l_vector(gen->i32, l_width(LLVMTypeOf(v))), f = l_vector(gen->f32, l_width(LLVMTypeOf(v)));
    LLVMValueRef v_bits = LLVMBuildZExt(gen->b, v, i, ""), v_sign, v_size, v_special;

    if (dtype == FL_BFLOAT16)
        return LLVMBuildBitCast(gen->b, LLVMBuildShl(gen->b, v_bits, l_integer(i, 16), ""), f, "");
    v_sign = LLVMBuildShl(gen->b, LLVMBuildAnd(gen->b, v_bits, l_integer(i, 0x8000), ""), l_integer(i, 16), "");
    v_size = LLVMBuildShl(gen->b, LLVMBuildAnd(gen->b, v_bits, l_integer(i, 0x7fff), ""), l_integer(i, 13), "");
    v_special = LLVMBuildICmp(gen->b, LLVMIntUGE, v_size, l_integer(i, 0x0f800000), "");
    v = LLVMBuildFMul(gen->b, LLVMBuildBitCast(gen->b, v_size, f, ""), l_number(f, 0x1p112), "");
    v = LLVMBuildBitCast(gen->b, v, i, "");
    v = LLVMBuildOr(gen->b, v, LLVMBuildSelect(gen->b, v_special, l_integer(i, 0x7f800000), l_integer(i, 0), ""), "");
    return LLVMBuildBitCast(gen->b, LLVMBuildOr(gen->b, v, v_sign, ""), f, "");
}

/* Rounded to nearest, even: half an ulp is added, and a little less to even numbers. Below 2^-14 a half has units of 2^-24, to which adding 1/2 rounds. */
static LLVMValueRef narrowed(fl_gen *gen, fl_dtype dtype, LLVMValueRef v)
{
    LLVMTypeRef i = l_vector(gen->i32, l_width(LLVMTypeOf(v))), f = LLVMTypeOf(v), to = l_vector(gen->i16, l_width(LLVMTypeOf(v)));
    unsigned cut = dtype == FL_BFLOAT16 ? 16 : 13;
    LLVMValueRef v_bits = LLVMBuildBitCast(gen->b, v, i, ""), v_nan = LLVMBuildFCmp(gen->b, LLVMRealUNO, v, v, ""), v_sign, v_size, v_odd, v_small;

    v_sign = LLVMBuildAnd(gen->b, v_bits, l_integer(i, 0x80000000), "");
    v_size = LLVMBuildXor(gen->b, v_bits, v_sign, "");
    v_sign = LLVMBuildLShr(gen->b, v_sign, l_integer(i, 16), "");
    v_odd = LLVMBuildAnd(gen->b, LLVMBuildLShr(gen->b, v_size, l_integer(i, cut), ""), l_integer(i, 1), "");
    v = LLVMBuildAdd(gen->b, LLVMBuildAdd(gen->b, v_size, l_integer(i, (1u << (cut - 1)) - 1), ""), v_odd, "");
    if (dtype == FL_BFLOAT16) {
        v = LLVMBuildLShr(gen->b, v, l_integer(i, cut), "");
        v = LLVMBuildSelect(gen->b, v_nan, l_integer(i, 0x7fc0), v, "");
        return LLVMBuildTrunc(gen->b, LLVMBuildOr(gen->b, v, v_sign, ""), to, "");
    }
    v = LLVMBuildLShr(gen->b, LLVMBuildSub(gen->b, v, l_integer(i, 112u << 23), ""), l_integer(i, cut), "");
    v_small = LLVMBuildFAdd(gen->b, LLVMBuildBitCast(gen->b, v_size, f, ""), l_number(f, 0.5), "");
    v_small = LLVMBuildSub(gen->b, LLVMBuildBitCast(gen->b, v_small, i, ""), l_integer(i, 126u << 23), "");
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntULT, v_size, l_integer(i, 113u << 23), ""), v_small, v, "");
    v = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntUGE, v_size, l_integer(i, 143u << 23), ""), l_integer(i, 0x7c00), v, "");
    v = LLVMBuildSelect(gen->b, v_nan, l_integer(i, 0x7e00), v, "");
    return LLVMBuildTrunc(gen->b, LLVMBuildOr(gen->b, v, v_sign, ""), to, "");
}

LLVMValueRef l_load(fl_gen *gen, fl_dtype dtype, LLVMValueRef v_address, unsigned n)
{
    LLVMTypeRef t = l_vector(l_memory_type(gen, dtype), n);
    LLVMValueRef v = LLVMBuildLoad2(gen->b, t, v_address, "");

    LLVMSetAlignment(v, alignment(dtype));
    if (dtype == FL_BOOL)
        v = LLVMBuildICmp(gen->b, LLVMIntNE, v, LLVMConstNull(t), "");
    if (dtype == FL_FLOAT16 || dtype == FL_BFLOAT16)
        v = widened(gen, dtype, v);
    return v;
}

void l_store(fl_gen *gen, fl_dtype dtype, LLVMValueRef v, LLVMValueRef v_address)
{
    LLVMValueRef v_store;

    if (dtype == FL_BOOL)
        v = LLVMBuildZExt(gen->b, v, l_vector(gen->i8, l_width(LLVMTypeOf(v))), "");
    if (dtype == FL_FLOAT16 || dtype == FL_BFLOAT16)
        v = narrowed(gen, dtype, v);
    v_store = LLVMBuildStore(gen->b, v, v_address);
    LLVMSetAlignment(v_store, alignment(dtype));
}

void l_prefetch(fl_gen *gen, LLVMValueRef v_address)
{
    /* read, all cache levels, data */
    l_intrinsic(gen, "llvm.prefetch",
                (LLVMValueRef[]){v_address, l_i32(gen, 0), l_i32(gen, 3), l_i32(gen, 1)}, 4);
}

/* ------------------------------------------------------------------------------------------------- control */

LLVMBasicBlockRef l_block(fl_gen *gen, const char *name)
{
    return LLVMAppendBasicBlockInContext(gen->context, gen->v_fn, name);
}

void l_break_block(fl_gen *gen)
{
    LLVMBasicBlockRef b_next = l_block(gen, "next");

    LLVMBuildBr(gen->b, b_next);
    LLVMPositionBuilderAtEnd(gen->b, b_next);
}

void l_loop_begin(fl_gen *gen, l_loop *loop, LLVMValueRef v_from, LLVMValueRef v_to, int64_t step)
{
    int64_t from, to;

    loop->n = 0;
    loop->v_to = v_to;
    loop->v_step = l_i64(gen, step);
    loop->b_before = LLVMGetInsertBlock(gen->b);
    loop->b_body = l_block(gen, "loop");
    loop->b_exit = l_block(gen, "exit");
    loop->guarded = !(is_constant(v_from, &from) && is_constant(v_to, &to) && from < to);
    if (loop->guarded)
        LLVMBuildCondBr(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v_from, v_to, ""), loop->b_body, loop->b_exit);
    else
        LLVMBuildBr(gen->b, loop->b_body);
    LLVMPositionBuilderAtEnd(gen->b, loop->b_body);
    loop->v_i = LLVMBuildPhi(gen->b, gen->i64, "i");
    LLVMAddIncoming(loop->v_i, &v_from, &loop->b_before, 1);
}

LLVMValueRef l_carry(fl_gen *gen, l_loop *loop, LLVMValueRef v_first)
{
    LLVMValueRef v_phi = LLVMBuildPhi(gen->b, LLVMTypeOf(v_first), "");

    FL_ASSERT(loop->n < L_MAX_CARRY);
    LLVMAddIncoming(v_phi, &v_first, &loop->b_before, 1);
    loop->v_first[loop->n] = v_first;
    loop->v_phi[loop->n] = v_phi;
    loop->v_next[loop->n++] = v_phi;
    return v_phi;
}

void l_next(l_loop *loop, unsigned i, LLVMValueRef v)
{
    FL_ASSERT(i < loop->n);
    loop->v_next[i] = v;
}

void l_loop_end(fl_gen *gen, l_loop *loop)
{
    LLVMValueRef v_next = LLVMBuildAdd(gen->b, loop->v_i, loop->v_step, "");
    LLVMBasicBlockRef b_end = LLVMGetInsertBlock(gen->b);
    LLVMValueRef v_more = LLVMBuildICmp(gen->b, LLVMIntSLT, v_next, loop->v_to, "");
    LLVMValueRef v_branch = LLVMBuildCondBr(gen->b, v_more, loop->b_body, loop->b_exit);

    LLVMSetMetadata(v_branch, LLVMGetMDKindIDInContext(gen->context, "llvm.loop", 9), gen->loop_metadata);
    LLVMAddIncoming(loop->v_i, &v_next, &b_end, 1);
    LLVMPositionBuilderAtEnd(gen->b, loop->b_exit);
    for (unsigned i = 0; i < loop->n; i++) {
        LLVMAddIncoming(loop->v_phi[i], &loop->v_next[i], &b_end, 1);
        loop->v_result[i] = LLVMBuildPhi(gen->b, LLVMTypeOf(loop->v_first[i]), "");
        LLVMAddIncoming(loop->v_result[i], &loop->v_next[i], &b_end, 1);
        if (loop->guarded)
            LLVMAddIncoming(loop->v_result[i], &loop->v_first[i], &loop->b_before, 1);
    }
}

void l_if_begin(fl_gen *gen, l_if *branch, LLVMValueRef v)
{
    LLVMBasicBlockRef b_then = l_block(gen, "then");

    branch->b_end = l_block(gen, "endif");
    LLVMBuildCondBr(gen->b, v, b_then, branch->b_end);
    LLVMPositionBuilderAtEnd(gen->b, b_then);
}

void l_if_end(fl_gen *gen, l_if *branch)
{
    LLVMBuildBr(gen->b, branch->b_end);
    LLVMPositionBuilderAtEnd(gen->b, branch->b_end);
}

unsigned l_chunk(int64_t n)
{
    unsigned width = L_LANES;

    while ((int64_t)width > n)
        width /= 2;
    return width;
}

static unsigned registers_of(const fl_gen *gen, unsigned width)
{
    return (width + gen->register_lanes - 1) / gen->register_lanes;
}

l_strip l_strip_of(const fl_gen *gen, int64_t columns, unsigned max)
{
    l_strip s = {0};

    while (s.columns < columns && s.n < L_MAX_VECTORS) {
        unsigned width = l_chunk(columns - s.columns);

        if (s.registers + registers_of(gen, width) > max && s.n > 0)
            break;
        s.at[s.n] = s.columns;
        s.width[s.n++] = width;
        s.columns += width;
        s.registers += registers_of(gen, width);
    }
    return s;
}

void l_strips(fl_gen *gen, int64_t columns, unsigned max, void (*emit)(void *arg, const l_strip *s, LLVMValueRef v_column),
              void *arg)
{
    l_strip s = l_strip_of(gen, columns, max);
    int64_t column = 0;
    l_loop loop;

    if (columns >= 2 * s.columns) {
        column = columns / s.columns * s.columns;
        l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, column), s.columns);
        emit(arg, &s, loop.v_i);
        l_loop_end(gen, &loop);
    }
    for (; column < columns; column += s.columns) {
        s = l_strip_of(gen, columns - column, max);
        emit(arg, &s, l_i64(gen, column));
    }
}
