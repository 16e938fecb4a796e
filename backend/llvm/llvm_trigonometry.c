/*
 * llvm_trigonometry.c -- circular and hyperbolic functions and their inverses on floats of any width.
 *
 * Forms and coefficients of the polynomials are those of the Cephes library (S. Moshier); errors measured against double in units in the last place stand at
 * each. Angles are reduced in double, which keeps sin and cos good to 2^50; a float beyond has no sine to speak of.
 */
#include "backend/llvm/emit.h"

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

static LLVMValueRef square(fl_gen *gen, LLVMValueRef x)
{
    return LLVMBuildFMul(gen->b, x, x, "");
}

/* x + x^3 p(x^2) */
static LLVMValueRef odd(fl_gen *gen, LLVMValueRef x, const double *c, unsigned n)
{
    LLVMValueRef v_square = square(gen, x);

    return l_fma(gen, LLVMBuildFMul(gen->b, horner(gen, v_square, c, n), v_square, ""), x, x);
}

static LLVMValueRef less(fl_gen *gen, LLVMValueRef a, double b)
{
    return LLVMBuildFCmp(gen->b, LLVMRealOLT, a, num(a, b), "");
}

static LLVMValueRef with_sign(fl_gen *gen, LLVMValueRef v, LLVMValueRef of)
{
    return l_intrinsic(gen, "llvm.copysign", (LLVMValueRef[]){v, of}, 2);
}

static LLVMValueRef either(fl_gen *gen, LLVMValueRef v_if, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(gen->b, v_if, a, b, "");
}

/*
 *     k = round(x / (pi/2)); r = x - k pi/2; by the quarter k mod 4: sin(r), cos(r), -sin(r), -cos(r)         1.3 ulp
 * cos starts a quarter further. A NaN stays in r.
 */
static LLVMValueRef circular(fl_gen *gen, LLVMValueRef x, unsigned quarter)
{
    static const double s[] = {-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1}, c[] = {2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2};
    LLVMBuilderRef b = gen->b;
    unsigned width = l_width(LLVMTypeOf(x));
    LLVMTypeRef ti = l_vector(gen->i32, width);
    LLVMValueRef v_x = LLVMBuildFPExt(b, x, l_vector(gen->f64, width), ""), v_k, v_four, v_r, v_square, v_sin, v_cos, v_quarter;

    v_k = LLVMBuildFMul(b, v_x, num(v_x, 0.63661977236758134308), "");
    v_k = l_intrinsic(gen, "llvm.rint", &v_k, 1);
    v_r = l_fma(gen, v_k, num(v_x, -1.5707963267948965580), v_x);
    v_r = l_fma(gen, v_k, num(v_x, -6.1232339957367658860e-17), v_r);
    v_r = LLVMBuildFPTrunc(b, v_r, LLVMTypeOf(x), "");
    v_four = LLVMBuildFMul(b, v_k, num(v_k, 0.25), "");
    v_four = l_intrinsic(gen, "llvm.rint", &v_four, 1);
    v_four = l_fma(gen, v_four, num(v_k, -4.0), v_k); /* -2 to 2 */
    v_quarter = LLVMBuildFreeze(b, LLVMBuildFPToSI(b, v_four, ti, ""), "");
    v_quarter = LLVMBuildAdd(b, v_quarter, l_integer(ti, quarter), "");
    v_square = square(gen, v_r);
    v_sin = odd(gen, v_r, s, FL_COUNT(s));
    v_cos = LLVMBuildFMul(b, horner(gen, v_square, c, FL_COUNT(c)), square(gen, v_square), "");
    v_cos = LLVMBuildFAdd(b, l_fma(gen, v_square, num(x, -0.5), v_cos), num(x, 1.0), "");
    v_k = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, v_quarter, l_integer(ti, 1), ""), l_integer(ti, 0), "");
    v_r = either(gen, v_k, v_cos, v_sin);
    v_k = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, v_quarter, l_integer(ti, 2), ""), l_integer(ti, 0), "");
    return either(gen, v_k, LLVMBuildFNeg(b, v_r, ""), v_r);
}

LLVMValueRef l_sin(fl_gen *gen, LLVMValueRef x)
{
    return circular(gen, x, 0);
}

LLVMValueRef l_cos(fl_gen *gen, LLVMValueRef x)
{
    return circular(gen, x, 1);
}

LLVMValueRef l_tan(fl_gen *gen, LLVMValueRef x)
{
    return LLVMBuildFDiv(gen->b, circular(gen, x, 0), circular(gen, x, 1), "");
}

/* |x| <= 1/2: odd polynomial (1.1 ulp); beyond: pi/2 - 2 asin(sqrt((1 - |x|) / 2)). Beyond 1 the root makes NaN. */
static LLVMValueRef arc_sine(fl_gen *gen, LLVMValueRef x, LLVMValueRef *v_far)
{
    static const double c[] = {4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1};
    LLVMValueRef v_abs = l_abs(gen, x), v_half = l_fma(gen, v_abs, num(x, -0.5), num(x, 0.5));

    *v_far = LLVMBuildFCmp(gen->b, LLVMRealOGT, v_abs, num(x, 0.5), "");
    return odd(gen, either(gen, *v_far, l_sqrt(gen, v_half), v_abs), c, FL_COUNT(c));
}

LLVMValueRef l_asin(fl_gen *gen, LLVMValueRef x)
{
    LLVMValueRef v_far, v = arc_sine(gen, x, &v_far);

    return with_sign(gen, either(gen, v_far, l_fma(gen, v, num(x, -2.0), num(x, 1.57079632679489661923)), v), x);
}

LLVMValueRef l_acos(fl_gen *gen, LLVMValueRef x)
{
    LLVMValueRef v_far, v = arc_sine(gen, x, &v_far), v_twice = LLVMBuildFAdd(gen->b, v, v, ""), v_near;

    v_near = LLVMBuildFSub(gen->b, num(x, 1.57079632679489661923), with_sign(gen, v, x), "");
    v_twice = either(gen, less(gen, x, 0.0), LLVMBuildFSub(gen->b, num(x, 3.14159265358979323846), v_twice, ""), v_twice);
    return either(gen, v_far, v_twice, v_near);
}

/* Turned by pi/4 from tan(pi/8) on and by pi/2 from tan(3 pi/8) on, then an odd polynomial; 1.4 ulp. */
LLVMValueRef l_atan(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1};
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v_abs = l_abs(gen, x), v_one = num(x, 1.0), v_small = less(gen, v_abs, 0.4142135623730950), v_middle = less(gen, v_abs, 2.414213562373095);
    LLVMValueRef v_turn = either(gen, v_small, num(x, 0.0), either(gen, v_middle, num(x, 0.78539816339744830962), num(x, 1.57079632679489661923)));
    LLVMValueRef v_turned = LLVMBuildFDiv(b, either(gen, v_middle, LLVMBuildFSub(b, v_abs, v_one, ""), num(x, -1.0)),
                                          either(gen, v_middle, LLVMBuildFAdd(b, v_abs, v_one, ""), v_abs), "");

    return with_sign(gen, LLVMBuildFAdd(b, v_turn, odd(gen, either(gen, v_small, v_abs, v_turned), c, FL_COUNT(c)), ""), x);
}

/* e^(|x|/2) twice, so that nothing overflows before the result does. */
static void powers(fl_gen *gen, LLVMValueRef x, LLVMValueRef *v_rising, LLVMValueRef *v_falling)
{
    LLVMValueRef v = l_exp(gen, LLVMBuildFMul(gen->b, l_abs(gen, x), num(x, 0.5), ""));

    *v_falling = LLVMBuildFDiv(gen->b, LLVMBuildFDiv(gen->b, num(x, 0.5), v, ""), v, "");
    *v_rising = LLVMBuildFMul(gen->b, LLVMBuildFMul(gen->b, v, num(x, 0.5), ""), v, "");
}

/* |x| < 1: odd polynomial; 1.7 ulp. */
LLVMValueRef l_sinh(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {2.03721912945e-4, 8.33028376239e-3, 1.66667160211e-1};
    LLVMValueRef v_rising, v_falling;

    powers(gen, x, &v_rising, &v_falling);
    v_rising = with_sign(gen, LLVMBuildFSub(gen->b, v_rising, v_falling, ""), x);
    return either(gen, less(gen, l_abs(gen, x), 1.0), odd(gen, x, c, FL_COUNT(c)), v_rising);
}

LLVMValueRef l_cosh(fl_gen *gen, LLVMValueRef x)
{
    LLVMValueRef v_rising, v_falling;

    powers(gen, x, &v_rising, &v_falling);
    return LLVMBuildFAdd(gen->b, v_rising, v_falling, "");
}

/* log(x + sqrt(x^2 + c)), where the square may overflow log(2 x). */
static LLVMValueRef log_of_sum(fl_gen *gen, LLVMValueRef x, LLVMValueRef v_radicand)
{
    LLVMValueRef v_large = LLVMBuildFCmp(gen->b, LLVMRealOGT, x, num(x, 1500.0), "");
    LLVMValueRef v = l_log(gen, either(gen, v_large, x, LLVMBuildFAdd(gen->b, x, l_sqrt(gen, v_radicand), "")));

    return either(gen, v_large, LLVMBuildFAdd(gen->b, v, num(x, 0.69314718055994530942), ""), v);
}

/* |x| < 1/2: odd polynomial; 1.5 ulp. */
LLVMValueRef l_asinh(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {2.0122003309e-2, -4.2699340972e-2, 7.4847586088e-2, -1.6666288134e-1};
    LLVMValueRef v_abs = l_abs(gen, x), v = log_of_sum(gen, v_abs, l_fma(gen, x, x, num(x, 1.0)));

    return either(gen, less(gen, v_abs, 0.5), odd(gen, x, c, FL_COUNT(c)), with_sign(gen, v, x));
}

/* x < 3/2: sqrt(x - 1) times a polynomial; 2.7 ulp. Below 1 the root makes NaN. */
LLVMValueRef l_acosh(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {1.7596881071e-3, -7.5272886713e-3, 2.6454905019e-2, -1.1784741703e-1, 1.4142135263};
    LLVMValueRef v_over = LLVMBuildFSub(gen->b, x, num(x, 1.0), "");
    LLVMValueRef v_near = LLVMBuildFMul(gen->b, horner(gen, v_over, c, FL_COUNT(c)), l_sqrt(gen, v_over), "");

    return either(gen, less(gen, x, 1.5), v_near, log_of_sum(gen, x, LLVMBuildFMul(gen->b, v_over, LLVMBuildFAdd(gen->b, x, num(x, 1.0), ""), "")));
}

/* |x| < 1/2: odd polynomial; 1.5 ulp. */
LLVMValueRef l_atanh(fl_gen *gen, LLVMValueRef x)
{
    static const double c[] = {1.81740078349e-1, 8.24370301058e-2, 1.46691431730e-1, 1.99782164500e-1, 3.33337300303e-1};
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v = LLVMBuildFDiv(b, LLVMBuildFAdd(b, num(x, 1.0), x, ""), LLVMBuildFSub(b, num(x, 1.0), x, ""), "");

    return either(gen, less(gen, l_abs(gen, x), 0.5), odd(gen, x, c, FL_COUNT(c)), LLVMBuildFMul(b, num(x, 0.5), l_log(gen, v), ""));
}
