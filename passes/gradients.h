/*
 * gradients.h -- what the gradient rules of operators (gradients_*.c) and `differentiate` say to each other.
 *
 * A rule is named by ops.def: fl_grad_<fn>. It is given the gradients of a node's outputs and hands on the gradient of each operand
 * that wants one, by the helpers below. Formulas stand beside the rules; y names the node's output, g its gradient.
 */
#ifndef FL_PASSES_GRADIENTS_H
#define FL_PASSES_GRADIENTS_H

#include "passes/pass.h"

/* Part of a table's gradient: `grad` [D,...] for the rows [D] that one UniqueRows found. */
typedef struct fl_row_gradient {
    fl_id unique; /* the UniqueRows node */
    fl_id grad;
    struct fl_row_gradient *next;
} fl_row_gradient;

typedef struct fl_flow {
    fl_graph *g;
    fl_pass_ctx *cx;
    bool *wanted;           /* [n_values] depends on what is trained: values of the forward graph */
    const bool *leaf;       /* [n_values] what flows to it goes no further; NULL: values that no node makes */
    fl_id *sum;             /* [n_values] gradient so far; FL_NONE: none */
    fl_row_gradient **rows; /* [n_values] parts by row, in order */
    uint32_t n_values;
} fl_flow;

/* FL_UNSUPPORTED, reported, if the node's form has no gradient. */
typedef fl_status fl_grad_fn(fl_flow *f, fl_id node, const fl_id *grad);

#define FL_OP(ID, domain, name, in_min, in_max, out_min, out_max, fn, traits) fl_grad_fn fl_grad_##fn;
#include "ir/ops.def"
#undef FL_OP

/* [n_values]: depends on a parameter with a rule; NULL if out of memory. */
bool *fl_find_trained(const fl_graph *g, fl_arena *scratch);

/* From the last node to the first: each node whose outputs have a gradient hands it on by its rule. */
FL_MUST_USE fl_status fl_flow_sweep(fl_flow *f);
/* The gradient of a value, of its full shape; FL_NONE if nothing flowed to it. */
fl_id fl_flow_gradient(fl_flow *f, fl_id value);

/* Does this operand want a gradient? False for FL_NONE. */
bool fl_flow_wants(const fl_flow *f, fl_id value);
/*
 * Add to the gradient of `value`. `grad` may have the value's shape, a larger one that the value was broadcast to (it is summed), or a smaller
 * one that broadcasts to it.
 */
void fl_flow_to(fl_flow *f, fl_id value, fl_id grad);
/* Add a gradient [D,...] for the distinct rows of `value`. */
void fl_flow_rows(fl_flow *f, fl_id value, fl_id unique, fl_id grad);

/* g * x; where g was only expanded to x's shape, the expansion is left out. */
fl_id fl_flow_times(fl_flow *f, fl_id grad, fl_id x);
/* What `grad` was before it was expanded, if x, which it is combined with by elements, has its full shape. */
fl_id fl_flow_bare(const fl_flow *f, fl_id grad, fl_id x);
/* A name "d.NAME" for a gradient of a value. */
const char *fl_flow_name(const fl_flow *f, fl_id value);
/* int64[1]: the extent of one axis. */
fl_id fl_flow_extent(const fl_flow *f, fl_id value, int axis);
/* The value's extents as an int64 vector: constants where known. */
fl_id fl_flow_shape(const fl_flow *f, fl_id value);
/* x under the shape of `like`, which has as many elements. */
fl_id fl_flow_reshape(const fl_flow *f, fl_id x, fl_id like);
/* 0 in the shape of `like`. */
fl_id fl_flow_zeros(const fl_flow *f, fl_id like);
/* Axes of a reduction as bits; false if they are not known. */
bool fl_reduced_axes(const fl_graph *g, fl_id node, uint32_t *bits);
/* Gather of values that a node makes, by any index along any axis. */
fl_status fl_grad_gather_of_values(fl_flow *f, fl_id node, fl_id grad);
/* Report that this form of the node has no gradient. */
fl_status fl_flow_refuse(fl_flow *f, fl_id node, const char *why);

#endif
