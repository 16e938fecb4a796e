/*
 * emit_loss.c -- LogLoss and its gradient, from the logit.
 *
 * Everything is built on t = e^-|z| in (0, 1]: no form overflows, and small losses keep their relative accuracy.
 */
#include "backend/llvm/emit.h"

#include <string.h>

typedef struct loss {
    LLVMValueRef v_z, v_y, v_t, v_positive;
    double epsilon;
    enum { BCE, PADDLE, CLAMPED } kind;
} loss;

static LLVMValueRef num(LLVMValueRef like, double f)
{
    return l_number(LLVMTypeOf(like), f);
}

static loss loss_of(fl_gen *gen, const l_chunk_of *e)
{
    fl_id node = (fl_id)(e->node - gen->g->nodes);
    const char *kind = fl_node_string(gen->g, node, "kind", "bce");
    loss l = {.v_z = e->v_in[0], .v_y = e->v_in[1], .epsilon = fl_node_float(gen->g, node, "epsilon", 0.0)};

    l.kind = strcmp(kind, "paddle_log_loss") == 0 ? PADDLE : strcmp(kind, "bce_clamped") == 0 ? CLAMPED : BCE;
    l.v_t = l_exp(gen, l_neg_abs(gen, l.v_z));
    l.v_positive = LLVMBuildFCmp(gen->b, LLVMRealOGE, l.v_z, num(l.v_z, 0.0), "");
    return l;
}

/* p and 1 - p, each to full relative accuracy */
static void probabilities(fl_gen *gen, const loss *l, LLVMValueRef *v_p, LLVMValueRef *v_q)
{
    LLVMValueRef v_one = num(l->v_z, 1.0);
    LLVMValueRef v_below = LLVMBuildFAdd(gen->b, l->v_t, v_one, "");
    LLVMValueRef v_large = LLVMBuildFDiv(gen->b, v_one, v_below, "");
    LLVMValueRef v_small = LLVMBuildFDiv(gen->b, l->v_t, v_below, "");

    *v_p = LLVMBuildSelect(gen->b, l->v_positive, v_large, v_small, "");
    *v_q = LLVMBuildSelect(gen->b, l->v_positive, v_small, v_large, "");
}

/* -ln p and -ln(1 - p) */
static void logarithms(fl_gen *gen, const loss *l, LLVMValueRef *v_p, LLVMValueRef *v_q)
{
    LLVMValueRef v_log = l_log1p(gen, l->v_t);
    LLVMValueRef v_zero = num(l->v_z, 0.0);

    *v_p = LLVMBuildFAdd(gen->b, l_max(gen, v_zero, LLVMBuildFNeg(gen->b, l->v_z, "")), v_log, "");
    *v_q = LLVMBuildFAdd(gen->b, l_max(gen, v_zero, l->v_z), v_log, "");
}

/* y a + (1 - y) b */
static LLVMValueRef mix(fl_gen *gen, LLVMValueRef v_y, LLVMValueRef v_a, LLVMValueRef v_b)
{
    LLVMValueRef v_rest = LLVMBuildFSub(gen->b, num(v_y, 1.0), v_y, "");

    return LLVMBuildFAdd(gen->b, LLVMBuildFMul(gen->b, v_y, v_a, ""), LLVMBuildFMul(gen->b, v_rest, v_b, ""), "");
}

/*
 * bce              max(z, 0) - z y + log1p(t)
 * paddle_log_loss  -(y ln(p + eps) + (1 - y) ln(1 - p + eps))
 * bce_clamped      y min(-ln p, 100) + (1 - y) min(-ln(1 - p), 100)
 */
LLVMValueRef fl_element_log_loss(fl_gen *gen, const l_chunk_of *e)
{
    loss l = loss_of(gen, e);
    LLVMValueRef v_p, v_q, v_epsilon = num(l.v_z, l.epsilon), v_limit = num(l.v_z, 100.0);

    switch (l.kind) {
    case BCE:
        v_p = l_max(gen, num(l.v_z, 0.0), l.v_z);
        v_p = LLVMBuildFSub(gen->b, v_p, LLVMBuildFMul(gen->b, l.v_z, l.v_y, ""), "");
        return LLVMBuildFAdd(gen->b, v_p, l_log1p(gen, l.v_t), "");
    case PADDLE:
        probabilities(gen, &l, &v_p, &v_q);
        v_p = l_log(gen, LLVMBuildFAdd(gen->b, v_p, v_epsilon, ""));
        v_q = l_log(gen, LLVMBuildFAdd(gen->b, v_q, v_epsilon, ""));
        return LLVMBuildFNeg(gen->b, mix(gen, l.v_y, v_p, v_q), "");
    case CLAMPED:
        logarithms(gen, &l, &v_p, &v_q);
        return mix(gen, l.v_y, l_min(gen, v_limit, v_p), l_min(gen, v_limit, v_q));
    }
    return l.v_z;
}

/*
 * bce              p - y
 * paddle_log_loss  p (1 - p) (-y / (p + eps) + (1 - y) / (1 - p + eps))
 * bce_clamped      the same as y (p - 1) + (1 - y) p, each term 0 where its logarithm is held
 */
LLVMValueRef fl_element_log_loss_grad(fl_gen *gen, const l_chunk_of *e)
{
    loss l = loss_of(gen, e);
    LLVMValueRef v_p, v_q, v_log_p, v_log_q, v_a, v_b;
    LLVMValueRef v_epsilon = num(l.v_z, l.epsilon), v_zero = num(l.v_z, 0.0), v_limit = num(l.v_z, 100.0);

    probabilities(gen, &l, &v_p, &v_q);
    switch (l.kind) {
    case BCE:
        return LLVMBuildFSub(gen->b, v_p, l.v_y, "");
    case PADDLE:
        v_a = LLVMBuildFDiv(gen->b, num(l.v_z, -1.0), LLVMBuildFAdd(gen->b, v_p, v_epsilon, ""), "");
        v_b = LLVMBuildFDiv(gen->b, num(l.v_z, 1.0), LLVMBuildFAdd(gen->b, v_q, v_epsilon, ""), "");
        v_a = mix(gen, l.v_y, v_a, v_b);
        return LLVMBuildFMul(gen->b, LLVMBuildFMul(gen->b, v_p, v_q, ""), v_a, "");
    case CLAMPED:
        logarithms(gen, &l, &v_log_p, &v_log_q);
        v_a = LLVMBuildFNeg(gen->b, v_q, "");
        v_a = LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, LLVMRealOGT, v_log_p, v_limit, ""), v_zero, v_a, "");
        v_b = LLVMBuildSelect(gen->b, LLVMBuildFCmp(gen->b, LLVMRealOGT, v_log_q, v_limit, ""), v_zero, v_p, "");
        return mix(gen, l.v_y, v_a, v_b);
    }
    return v_p;
}
