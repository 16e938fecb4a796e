/*
 * shape_rules.h -- what the rules of shape.c, shape_standard.c and shape_flen.c share; private to them.
 *
 * A rule reads in[] and the attributes, checks them, and writes out[]; it is called only when the types of all operands are
 * known. Merging with types that the outputs already have is done by the caller.
 */
#ifndef FL_IR_SHAPE_RULES_H
#define FL_IR_SHAPE_RULES_H

#include "ir/shape.h"

#include <stdio.h>

typedef struct fl_shape_ctx {
    fl_graph *g;
    fl_id node;
    const fl_node *n;
    const fl_type *const *in; /* n->n_in entries; NULL for an operand left out */
    fl_type *out;             /* n->n_out entries, unknown at first */
    fl_diag *dg;
} fl_shape_ctx;

typedef fl_status fl_shape_fn(fl_shape_ctx *c);
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) fl_shape_fn fl_shape_##fn;
#include "ir/ops.def"
#undef FL_OP

/* Report FL_E_SHAPE: `MatMul "y": ` and the text; the types of all operands follow as a hint. */
fl_status fl_shape_error(const fl_shape_ctx *c, const char *format, ...) FL_PRINTF(2, 3);

/* Operand `i` has this rank, this dtype; what it is called goes into the report. */
FL_MUST_USE fl_status fl_shape_need_rank(const fl_shape_ctx *c, uint32_t i, int rank, const char *what);
FL_MUST_USE fl_status fl_shape_need_dtype(const fl_shape_ctx *c, uint32_t i, fl_dtype t, const char *what);
FL_MUST_USE fl_status fl_shape_need_index(const fl_shape_ctx *c, uint32_t i, const char *what); /* int64 or int32 */
FL_MUST_USE fl_status fl_shape_need_real(const fl_shape_ctx *c, uint32_t i); /* floating point */
FL_MUST_USE fl_status fl_shape_need_number(const fl_shape_ctx *c, uint32_t i); /* no string, no bool */
/* Two dimensions may be equal: same extent, or one of them a symbol. */
bool fl_dim_fits(fl_dim a, fl_dim b);
/* The more exact of two dimensions that fit. */
fl_dim fl_dim_merge(fl_dim a, fl_dim b);
FL_MUST_USE fl_status fl_shape_need_dim(const fl_shape_ctx *c, fl_dim found, fl_dim wanted, const char *what);

/* Attribute of kind ints; n 0 if absent. */
const int64_t *fl_shape_ints(const fl_shape_ctx *c, const char *name, uint32_t *n);
/* `axis` counted from the end if negative; in [0, rank). */
FL_MUST_USE fl_status fl_shape_axis(const fl_shape_ctx *c, int64_t axis, int rank, int *out);

/* The dimension of output `out` as it stands, so that a node inferred twice keeps its symbol; a fresh one, known at run time only, otherwise. */
fl_dim fl_shape_own_dim(fl_shape_ctx *c, uint32_t out, int axis);

/* fl_value_ints, also of a value that follows from static shapes (fl_shape_extents). */
bool fl_shape_known_ints(const fl_shape_ctx *c, fl_id value, int64_t *ints, uint32_t max, uint32_t *n);

/*
 * A product of dimensions. With symbols it is a symbol of its own, named after its factors ("batch_times_22"), so that
 * equal products are equal symbols and fl_shape_factors can take the name apart again. -1 * -1 never means 1.
 * *ok false if the extents overflow.
 */
fl_dim fl_shape_product(fl_graph *g, const fl_dim *dims, int n, bool *ok);

#endif
