/*
 * llvm_math.c -- exp, log and their kin as polynomials on floats of any width.
 *
 * Forms and coefficients of exp and log are those of the Cephes library (S. Moshier), errors measured against long double: exp
 * 1.2 ulp, log 0.8 ulp. Integer tricks on the exponent need the IEEE layout and nothing else of the machine. A clamp is
 * written so that NaN passes.
 */
#include "backend/llvm/emit.h"

static LLVMTypeRef int_type(fl_gen *gen, LLVMValueRef x)
{
    return l_vector(gen->i32, l_width(LLVMTypeOf(x)));
}

static LLVMValueRef num(LLVMValueRef like, double f)
{
    return l_number(LLVMTypeOf(like), f);
}

static LLVMValueRef horner(fl_gen *gen, LLVMValueRef x, const double *c, unsigned n)
{
    LLVMValueRef p = num(x, c[0]);

    for (unsigned i = 1; i < n; i++)
        p = l_fma(gen, p, x, num(x, c[i]));
    return p;
}

LLVMValueRef l_abs(fl_gen *gen, LLVMValueRef x)
{
    return l_intrinsic(gen, "llvm.fabs", &x, 1);
}

LLVMValueRef l_neg_abs(fl_gen *gen, LLVMValueRef x)
{
    return LLVMBuildFNeg(gen->b, l_abs(gen, x), "");
}

LLVMValueRef l_sqrt(fl_gen *gen, LLVMValueRef x)
{
    return l_intrinsic(gen, "llvm.sqrt", &x, 1);
}

/*
 *     x = clamp(x); n = round(x / ln 2); r = x - n ln 2 (in two steps); p(r) ~ e^r; result p * 2^n
 * 2^n is made in two factors, so that results down to the smallest normal and up to the largest float are exact.
 */
LLVMValueRef l_exp(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                               4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1};
    LLVMValueRef v_n, v_r, v_p, v_i, v_half, v_rest, v_scale;
    LLVMTypeRef ti = int_type(gen, x), tf = LLVMTypeOf(x);

    x = l_min(gen, num(x, 89.0), l_max(gen, num(x, -104.0), x));
    v_n = LLVMBuildFMul(gen->b, x, num(x, 1.44269504088896341), "");
    v_n = l_intrinsic(gen, "llvm.rint", &v_n, 1);
    v_r = l_fma(gen, v_n, num(x, -0.693359375), x);
    v_r = l_fma(gen, v_n, num(x, 2.12194440e-4), v_r);
    v_p = horner(gen, v_r, c, FL_COUNT(c));
    v_p = l_fma(gen, v_p, LLVMBuildFMul(gen->b, v_r, v_r, ""), v_r);
    v_p = LLVMBuildFAdd(gen->b, v_p, num(x, 1.0), "");
    /* A NaN's conversion gives some integer: NaN times its power stays NaN. Frozen, because LLVM calls it poison. */
    v_i = LLVMBuildFreeze(gen->b, LLVMBuildFPToSI(gen->b, v_n, ti, ""), "");
    v_half = LLVMBuildAShr(gen->b, v_i, l_integer(ti, 1), "");
    v_rest = LLVMBuildSub(gen->b, v_i, v_half, "");
    for (int k = 0; k < 2; k++) {
        v_scale = LLVMBuildAdd(gen->b, k == 0 ? v_half : v_rest, l_integer(ti, 127), "");
        v_scale = LLVMBuildShl(gen->b, v_scale, l_integer(ti, 23), "");
        v_p = LLVMBuildFMul(gen->b, v_p, LLVMBuildBitCast(gen->b, v_scale, tf, ""), "");
    }
    return v_p;
}

/*
 *     x = m * 2^e, m in [sqrt 1/2, sqrt 2); log x = p(m - 1) + e ln 2
 * 0 gives -infinity, negative numbers and NaN give NaN, infinity gives itself; subnormal numbers are scaled first.
 */
LLVMValueRef l_log(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,  -1.2420140846e-1, 1.4249322787e-1,
                               -1.6668057665e-1, 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    LLVMTypeRef ti = int_type(gen, x), tf = LLVMTypeOf(x);
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v_small = LLVMBuildFCmp(b, LLVMRealOLT, x, num(x, 1.1754943508222875e-38), "");
    LLVMValueRef v_x = LLVMBuildSelect(b, v_small, LLVMBuildFMul(b, x, num(x, 33554432.0), ""), x, "");
    LLVMValueRef v_bits = LLVMBuildBitCast(b, v_x, ti, "");
    LLVMValueRef v_e, v_m, v_z, v_p, v_high, v_bad;

    /* the exponent of x / sqrt(1/2), so that m starts at sqrt(1/2) */
    v_e = LLVMBuildAShr(b, LLVMBuildSub(b, v_bits, l_integer(ti, 0x3f3504f3), ""), l_integer(ti, 23), "");
    v_m = LLVMBuildSub(b, v_bits, LLVMBuildShl(b, v_e, l_integer(ti, 23), ""), "");
    v_m = LLVMBuildFSub(b, LLVMBuildBitCast(b, v_m, tf, ""), num(x, 1.0), "");
    v_e = LLVMBuildSIToFP(b, v_e, tf, "");
    v_e = LLVMBuildFSub(b, v_e, LLVMBuildSelect(b, v_small, num(x, 25.0), num(x, 0.0), ""), "");
    v_z = LLVMBuildFMul(b, v_m, v_m, "");
    v_p = horner(gen, v_m, c, FL_COUNT(c));
    v_p = LLVMBuildFMul(b, LLVMBuildFMul(b, v_p, v_m, ""), v_z, "");
    v_p = l_fma(gen, v_e, num(x, -2.12194440e-4), v_p);
    v_p = l_fma(gen, v_z, num(x, -0.5), v_p);
    v_high = l_fma(gen, v_e, num(x, 0.693359375), LLVMBuildFAdd(b, v_m, v_p, ""));
    v_bad = LLVMBuildFCmp(b, LLVMRealULT, x, num(x, 0.0), "");
    v_high = LLVMBuildSelect(b, v_bad, num(x, __builtin_nan("")), v_high, "");
    v_high = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, num(x, 0.0), ""), num(x, -__builtin_inf()), v_high, "");
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, num(x, __builtin_inf()), ""), x, v_high, "");
}

/* log(1 + t) = 2 atanh(t / (2 + t)) = 2 s (1 + s^2/3 + s^4/5 + ...), s <= 1/3: relative error 2e-7 down to t = 0. */
LLVMValueRef l_log1p(fl_gen *gen, LLVMValueRef t)
{
    static const double c[] = {2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3};
    LLVMValueRef v_s = LLVMBuildFDiv(gen->b, t, LLVMBuildFAdd(gen->b, t, num(t, 2.0), ""), "");
    LLVMValueRef v_z = LLVMBuildFMul(gen->b, v_s, v_s, "");
    LLVMValueRef v_p = LLVMBuildFMul(gen->b, horner(gen, v_z, c, FL_COUNT(c)), v_z, "");

    return l_fma(gen, v_p, v_s, LLVMBuildFMul(gen->b, v_s, num(t, 2.0), ""));
}

/* t = e^-|x|; x >= 0 ? 1 / (1 + t) : t / (1 + t): nothing overflows. NaN takes the second form and stays. */
LLVMValueRef l_sigmoid(fl_gen *gen, LLVMValueRef x)
{
    LLVMValueRef v_t = l_exp(gen, l_neg_abs(gen, x));
    LLVMValueRef v_positive = LLVMBuildFCmp(gen->b, LLVMRealOGE, x, num(x, 0.0), "");
    LLVMValueRef v_above = LLVMBuildSelect(gen->b, v_positive, num(x, 1.0), v_t, "");

    return LLVMBuildFDiv(gen->b, v_above, LLVMBuildFAdd(gen->b, v_t, num(x, 1.0), ""), "");
}

/* max(x, 0) + log(1 + e^-|x|) */
LLVMValueRef l_softplus(fl_gen *gen, LLVMValueRef x)
{
    LLVMValueRef v_t = l_exp(gen, l_neg_abs(gen, x));

    return LLVMBuildFAdd(gen->b, l_max(gen, num(x, 0.0), x), l_log1p(gen, v_t), "");
}

/*
 * |x| < 0.625: x + x^3 p(x^2); beyond: sign(x) (1 - 2 / (e^2|x| + 1)).
 */
LLVMValueRef l_tanh(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                               -3.33332819422e-1};
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v_abs = l_abs(gen, x);
    LLVMValueRef v_z = LLVMBuildFMul(b, x, x, "");
    LLVMValueRef v_near = LLVMBuildFMul(b, horner(gen, v_z, c, FL_COUNT(c)), v_z, "");
    LLVMValueRef v_far = l_exp(gen, LLVMBuildFAdd(b, v_abs, v_abs, ""));

    v_near = l_fma(gen, v_near, x, x);
    v_far = LLVMBuildFDiv(b, num(x, 2.0), LLVMBuildFAdd(b, v_far, num(x, 1.0), ""), "");
    v_far = LLVMBuildFSub(b, num(x, 1.0), v_far, "");
    v_far = l_intrinsic(gen, "llvm.copysign", (LLVMValueRef[]){v_far, x}, 2);
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, v_abs, num(x, 0.625), ""), v_near, v_far, "");
}

/*
 * |x| < 1: x p(x^2); up to 4: sign(x) (1 - e^q(|x|)); beyond, 1 - erf is less than half a unit. Polynomials are Chebyshev fits, errors
 * 1e-9 of erf and 5e-8 of 1 - erf.
 */
LLVMValueRef l_erf(fl_gen *gen, LLVMValueRef x)
{
    static const double near[] = {-9.6735910611e-06, 1.1268253981e-04, -8.4843965626e-04, 5.2210534134e-03,
                                  -2.6865438311e-02, 1.1283782622e-01, -3.7612638476e-01, 1.1283791671e+00};
    static const double far[] = {-1.3309390407e-05, 3.1757203492e-04, -3.4368676003e-03, 2.2621985935e-02,
                                 -1.0331898006e-01, -6.3909331947e-01, -1.1259259493e+00, -7.5696861774e-04};
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v_abs = l_min(gen, num(x, 4.0), l_abs(gen, x)), v_near, v_far;

    v_near = LLVMBuildFMul(b, horner(gen, LLVMBuildFMul(b, x, x, ""), near, FL_COUNT(near)), x, "");
    v_far = LLVMBuildFSub(b, num(x, 1.0), l_exp(gen, horner(gen, v_abs, far, FL_COUNT(far))), "");
    v_far = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, v_abs, num(x, 4.0), ""), num(x, 1.0), v_far, "");
    v_far = l_intrinsic(gen, "llvm.copysign", (LLVMValueRef[]){v_far, x}, 2);
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, v_abs, num(x, 1.0), ""), v_near, v_far, "");
}

/*
 * e^(y log |x|); a negative x needs a whole y, and gives the sign of -1^y. x^0 and 1^y are 1.
 */
LLVMValueRef l_pow(fl_gen *gen, LLVMValueRef x, LLVMValueRef y)
{
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v = l_exp(gen, LLVMBuildFMul(b, y, l_log(gen, l_abs(gen, x)), "")), v_half, v_whole, v_odd, v_negative, v_one;

    v_whole = LLVMBuildFCmp(b, LLVMRealOEQ, l_intrinsic(gen, "llvm.rint", &y, 1), y, "");
    v_half = LLVMBuildFMul(b, y, num(x, 0.5), "");
    v_odd = LLVMBuildFCmp(b, LLVMRealONE, l_intrinsic(gen, "llvm.rint", &v_half, 1), v_half, "");
    v_negative = LLVMBuildSelect(b, v_odd, LLVMBuildFNeg(b, v, ""), v, "");
    v_negative = LLVMBuildSelect(b, v_whole, v_negative, num(x, __builtin_nan("")), "");
    v = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, num(x, 0.0), ""), v_negative, v, "");
    v_one = LLVMBuildFCmp(b, LLVMRealOEQ, x, num(x, 1.0), "");
    v_one = LLVMBuildOr(b, v_one, LLVMBuildFCmp(b, LLVMRealOEQ, y, num(x, 0.0), ""), "");
    return LLVMBuildSelect(b, v_one, num(x, 1.0), v, "");
}
