/*
 * import_parts.h -- what the files ir/import*.c share. Nobody else includes it.
 */
#ifndef FL_IR_IMPORT_PARTS_H
#define FL_IR_IMPORT_PARTS_H

#include "ir/import.h"

typedef fl_status fl_import_fn(fl_import *m);

/* Adapt m to opset 20; *expand true if its operator has to be expanded though ops.def has one of that name. */
FL_MUST_USE fl_status fl_import_adapt(fl_import *m, bool *expand);

/* Write m's operator as nodes of ops.def; operands and outputs are as many as expansions.def allows. */
#define FL_EXPANSION(domain, name, min_in, max_in, max_out, fn) fl_import_fn fl_expand_##fn;
#include "ir/expansions.def"
#undef FL_EXPANSION

/* ---------------------------------------------------------------------------------------- reading what was given */

/* Report against the node: `node "NAME" (OP): text`. */
fl_status fl_import_error(const fl_import *m, fl_code code, const char *format, ...) FL_PRINTF(3, 4);
const fl_attr *fl_import_attr(const fl_import *m, const char *name); /* NULL if absent */
int64_t fl_import_int(const fl_import *m, const char *name, int64_t otherwise);
double fl_import_float(const fl_import *m, const char *name, double otherwise);
const char *fl_import_string(const fl_import *m, const char *name, const char *otherwise);
void fl_import_drop_attr(fl_import *m, const char *name);
/* Operand k, FL_NONE if it is left out. */
fl_id fl_import_in(const fl_import *m, uint32_t k);
/* Operand k's rank, which must be known. */
FL_MUST_USE fl_status fl_import_rank(const fl_import *m, uint32_t k, int *rank);
/* The attribute `name` as an axis of a tensor of this rank, in [0, rank). */
FL_MUST_USE fl_status fl_import_axis(const fl_import *m, const char *name, int64_t otherwise, int rank, int *axis);

/* ---------------------------------------------------------------------------------------------- making nodes */

/* Stem of names for what is made, with a part of its own so that it seldom meets a name of the file. */
const char *fl_make_base(fl_import *m);
fl_id fl_make_1(fl_import *m, fl_op op, fl_id a);
fl_id fl_make_2(fl_import *m, fl_op op, fl_id a, fl_id b);
fl_id fl_make_3(fl_import *m, fl_op op, fl_id a, fl_id b, fl_id c);
/* A scalar constant of x's element type (float if that is not known). */
fl_id fl_make_like(fl_import *m, fl_id x, double f);
fl_id fl_make_ints(fl_import *m, const int64_t *ints, uint32_t n);
/* A reduction over these axes. */
fl_id fl_make_reduce(fl_import *m, fl_op op, fl_id x, const int64_t *axes, uint32_t n, bool keep);
fl_id fl_make_cast(fl_import *m, fl_id x, fl_dtype to);
fl_id fl_make_reshape(fl_import *m, fl_id x, const int64_t *shape, uint32_t n);
/* exp(x - max) / sum, or its logarithm, over one axis. */
fl_id fl_make_softmax(fl_import *m, fl_id x, int64_t axis, bool logarithm);

#endif
