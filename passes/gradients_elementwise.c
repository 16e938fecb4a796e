/* gradients_elementwise.c -- rules of operators that work element by element. y: output, g: its gradient. */
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include "ir/base/planted.h"

static fl_id make(fl_flow *f, fl_op op, fl_id a, fl_id b)
{
    return fl_build_2(f->g, op, "d", a, b);
}

static fl_id negative(fl_flow *f, fl_id x)
{
    return fl_build_1(f->g, FL_OP_NEG, "d", x);
}

static fl_id number(fl_flow *f, double x)
{
    return fl_build_scalar(f->g, "number", x);
}

/* dx = g for each operand. */
static fl_status same_for_all(fl_flow *f, fl_id node, fl_id grad)
{
    const fl_node n = f->g->nodes[node];
    for (uint32_t k = 0; k < n.n_in; k++)
        if (fl_flow_wants(f, n.in[k]))
            fl_flow_to(f, n.in[k], grad);
    return FL_OK;
}

/* dx = g * slope, slope of y's shape. */
static fl_status slope_of(fl_flow *f, fl_id node, fl_id grad, fl_id slope)
{
    fl_flow_to(f, f->g->nodes[node].in[0], fl_flow_times(f, grad, slope));
    return FL_OK;
}

fl_status fl_grad_identity(fl_flow *f, fl_id node, const fl_id *grad)
{
    return same_for_all(f, node, grad[0]);
}

fl_status fl_grad_add(fl_flow *f, fl_id node, const fl_id *grad)
{
    return same_for_all(f, node, grad[0]);
}

fl_status fl_grad_sum(fl_flow *f, fl_id node, const fl_id *grad)
{
    return same_for_all(f, node, grad[0]);
}

fl_status fl_grad_neg(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_flow_to(f, f->g->nodes[node].in[0], negative(f, grad[0]));
    return FL_OK;
}

fl_status fl_grad_sub(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_flow_to(f, n.in[0], grad[0]);
    if (fl_flow_wants(f, n.in[1]))
        fl_flow_to(f, n.in[1], negative(f, grad[0]));
    return FL_OK;
}

/* da = g b, db = g a. */
fl_status fl_grad_mul(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    for (uint32_t k = 0; k < 2; k++)
        if (fl_flow_wants(f, n.in[k]))
            fl_flow_to(f, n.in[k], fl_flow_times(f, grad[0], n.in[1 - k]));
    return FL_OK;
}

/* da = g / b, db = -g y / b. */
fl_status fl_grad_div(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_id a = make(f, FL_OP_DIV, fl_flow_bare(f, grad[0], n.in[1]), n.in[1]);
    fl_flow_to(f, n.in[0], a);
    if (fl_flow_wants(f, n.in[1]))
        fl_flow_to(f, n.in[1], negative(f, make(f, FL_OP_MUL, a, n.out[0])));
    return FL_OK;
}

fl_status fl_grad_abs(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_SIGN, "d", f->g->nodes[node].in[0]));
}

/* The slope is 0 everywhere. */
fl_status fl_grad_sign(fl_flow *f, fl_id node, const fl_id *grad)
{
    (void)f;
    (void)node;
    (void)grad;
    return FL_OK;
}

/* Steps have slope 0 as well. */
fl_status fl_grad_ceil(fl_flow *f, fl_id node, const fl_id *grad)
{
    return fl_grad_sign(f, node, grad);
}

fl_status fl_grad_floor(fl_flow *f, fl_id node, const fl_id *grad)
{
    return fl_grad_sign(f, node, grad);
}

fl_status fl_grad_round(fl_flow *f, fl_id node, const fl_id *grad)
{
    return fl_grad_sign(f, node, grad);
}

/* 2 / sqrt(pi) e^(-x x) */
fl_status fl_grad_erf(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id x = f->g->nodes[node].in[0], bell = fl_build_1(f->g, FL_OP_EXP, "d", negative(f, make(f, FL_OP_MUL, x, x)));
    return slope_of(f, node, grad[0], make(f, FL_OP_MUL, bell, number(f, 1.12837916709551257390)));
}

/* 1 + sign x x */
static fl_id one_and_square(fl_flow *f, fl_id x, bool minus)
{
    return make(f, minus ? FL_OP_SUB : FL_OP_ADD, number(f, 1), make(f, FL_OP_MUL, x, x));
}

/* 1 + y y */
fl_status fl_grad_tan(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], one_and_square(f, f->g->nodes[node].out[0], false));
}

/* 1 / sqrt(1 - x x), and its negative */
fl_status fl_grad_asin(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id root = fl_build_1(f->g, FL_OP_SQRT, "d", one_and_square(f, f->g->nodes[node].in[0], true));
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_RECIPROCAL, "d", root));
}

fl_status fl_grad_acos(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id root = fl_build_1(f->g, FL_OP_SQRT, "d", one_and_square(f, f->g->nodes[node].in[0], true));
    return slope_of(f, node, grad[0], negative(f, fl_build_1(f->g, FL_OP_RECIPROCAL, "d", root)));
}

/* 1 / (1 + x x), 1 / (1 - x x) */
fl_status fl_grad_atan(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_RECIPROCAL, "d", one_and_square(f, f->g->nodes[node].in[0], false)));
}

fl_status fl_grad_atanh(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_RECIPROCAL, "d", one_and_square(f, f->g->nodes[node].in[0], true)));
}

fl_status fl_grad_sinh(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_COSH, "d", f->g->nodes[node].in[0]));
}

fl_status fl_grad_cosh(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_SINH, "d", f->g->nodes[node].in[0]));
}

/* 1 / sqrt(x x + 1), 1 / sqrt(x x - 1) */
fl_status fl_grad_asinh(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id root = fl_build_1(f->g, FL_OP_SQRT, "d", one_and_square(f, f->g->nodes[node].in[0], false));
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_RECIPROCAL, "d", root));
}

fl_status fl_grad_acosh(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id under = negative(f, one_and_square(f, f->g->nodes[node].in[0], true));
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_RECIPROCAL, "d", fl_build_1(f->g, FL_OP_SQRT, "d", under)));
}

/* y = a - q b with a whole number q, whose slope is 0: da = g, db = -g q. */
fl_status fl_grad_mod(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_flow_to(f, n.in[0], grad[0]);
    if (fl_flow_wants(f, n.in[1])) {
        fl_id whole = make(f, FL_OP_DIV, make(f, FL_OP_SUB, n.in[0], n.out[0]), n.in[1]);
        fl_flow_to(f, n.in[1], negative(f, make(f, FL_OP_MUL, grad[0], fl_build_1(f->g, FL_OP_ROUND, "d", whole))));
    }
    return FL_OK;
}

fl_status fl_grad_sin(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_COS, "d", f->g->nodes[node].in[0]));
}

fl_status fl_grad_cos(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], negative(f, fl_build_1(f->g, FL_OP_SIN, "d", f->g->nodes[node].in[0])));
}

/* y = a^b: da = g b a^(b-1), db = g y ln a, and 0 where a is not positive: there a^b is defined for single b alone. */
fl_status fl_grad_pow(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_id a = n.in[0], b = n.in[1];
    if (fl_value_type(f->g, b)->dtype != FL_FLOAT)
        b = fl_build_cast(f->g, "d", b, FL_FLOAT);
    if (fl_flow_wants(f, a)) {
        fl_id slope = make(f, FL_OP_MUL, make(f, FL_OP_POW, a, make(f, FL_OP_SUB, b, number(f, 1))), b);
        fl_flow_to(f, a, fl_flow_times(f, grad[0], slope));
    }
    if (fl_flow_wants(f, n.in[1])) {
        fl_id positive = make(f, FL_OP_GREATER, a, number(f, 0));
        fl_id safe = fl_build_n(f->g, FL_OP_WHERE, "d", (fl_id[]){positive, a, number(f, 1)}, 3); /* of which the logarithm is 0 */
        fl_flow_to(f, n.in[1], fl_flow_times(f, grad[0], make(f, FL_OP_MUL, n.out[0], fl_build_1(f->g, FL_OP_LOG, "d", safe))));
    }
    return FL_OK;
}

/* g goes to the first operand that is the result. */
static fl_status to_the_chosen(fl_flow *f, fl_id node, fl_id grad)
{
    const fl_node n = f->g->nodes[node];
    fl_id before = FL_NONE; /* an operand before this one is the result */
    for (uint32_t k = 0; k < n.n_in; k++) {
        fl_id is = make(f, FL_OP_EQUAL, n.in[k], n.out[0]), chosen = is;
        if (before != FL_NONE)
            chosen = make(f, FL_OP_AND, is, fl_build_1(f->g, FL_OP_NOT, "d", before));
        before = before == FL_NONE ? is : make(f, FL_OP_OR, before, is);
        if (fl_flow_wants(f, n.in[k]))
            fl_flow_to(f, n.in[k], fl_build_n(f->g, FL_OP_WHERE, "d", (fl_id[]){chosen, fl_flow_bare(f, grad, n.out[0]), number(f, 0)}, 3));
    }
    return FL_OK;
}

fl_status fl_grad_max(fl_flow *f, fl_id node, const fl_id *grad)
{
    return to_the_chosen(f, node, grad[0]);
}

fl_status fl_grad_min(fl_flow *f, fl_id node, const fl_id *grad)
{
    return to_the_chosen(f, node, grad[0]);
}

/* 1 / (2 y) */
fl_status fl_grad_sqrt(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], make(f, FL_OP_DIV, number(f, 0.5), f->g->nodes[node].out[0]));
}

/* -y y */
fl_status fl_grad_reciprocal(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id y = f->g->nodes[node].out[0];
    return slope_of(f, node, grad[0], negative(f, make(f, FL_OP_MUL, y, y)));
}

fl_status fl_grad_exp(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], f->g->nodes[node].out[0]);
}

fl_status fl_grad_log(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id x = f->g->nodes[node].in[0];
    fl_flow_to(f, x, make(f, FL_OP_DIV, fl_flow_bare(f, grad[0], x), x));
    return FL_OK;
}

/* y (1 - y) */
fl_status fl_grad_sigmoid(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id y = f->g->nodes[node].out[0];
    return slope_of(f, node, grad[0], make(f, FL_OP_MUL, y, make(f, FL_OP_SUB, number(f, 1), y)));
}

/* 1 - y y */
fl_status fl_grad_tanh(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id y = f->g->nodes[node].out[0];
    return slope_of(f, node, grad[0], make(f, FL_OP_SUB, number(f, 1), make(f, FL_OP_MUL, y, y)));
}

/* g where y > 0, else 0: y and not x, which then need not be kept. */
fl_status fl_grad_relu(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_id positive = make(f, FL_OP_GREATER, n.out[0], number(f, FL_PLANTED("differentiate") ? -1 : 0));
    fl_id in[3] = {positive, fl_flow_bare(f, grad[0], n.out[0]), number(f, 0)};
    fl_flow_to(f, n.in[0], fl_build_n(f->g, FL_OP_WHERE, "d", in, 3));
    return FL_OK;
}

fl_status fl_grad_softplus(fl_flow *f, fl_id node, const fl_id *grad)
{
    return slope_of(f, node, grad[0], fl_build_1(f->g, FL_OP_SIGMOID, "d", f->g->nodes[node].in[0]));
}

fl_status fl_grad_cast(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_id x = f->g->nodes[node].in[0];
    fl_flow_to(f, x, fl_build_cast(f->g, "d", grad[0], fl_value_type(f->g, x)->dtype));
    return FL_OK;
}

fl_status fl_grad_where(fl_flow *f, fl_id node, const fl_id *grad)
{
    const fl_node n = f->g->nodes[node];
    fl_id zero = number(f, 0), c = n.in[0];
    if (fl_flow_wants(f, n.in[1]))
        fl_flow_to(f, n.in[1], fl_build_n(f->g, FL_OP_WHERE, "d", (fl_id[]){c, grad[0], zero}, 3));
    if (fl_flow_wants(f, n.in[2]))
        fl_flow_to(f, n.in[2], fl_build_n(f->g, FL_OP_WHERE, "d", (fl_id[]){c, zero, grad[0]}, 3));
    return FL_OK;
}
