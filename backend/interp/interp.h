/*
 * interp.h -- the interpreter: executes any graph in double precision, node after node.
 *
 * It is the executable form of ir/README.md and the oracle of all other code. Elements of float-like types (float, double,
 * float16, bfloat16) are held as double and never rounded: the dtype is a label. Integers and bools are held as int64.
 * A schedule is ignored. Not thread-safe; any number of interpreters may run the same graph at once.
 */
#ifndef FL_BACKEND_INTERP_H
#define FL_BACKEND_INTERP_H

#include "ir/graph.h"

/* A dense row-major tensor. Exactly one of f and i is set; both may be valid pointers to nothing if it has no elements. */
typedef struct fl_array {
    fl_dtype dtype;
    int8_t rank;
    int64_t dims[FL_MAX_RANK];
    int64_t n;  /* elements */
    double *f;  /* float-like types */
    int64_t *i; /* integers, bools (0 or 1), strings (addresses of their texts, which belong to whoever gave them) */
} fl_array;

/* True for the types that are held as double. */
bool fl_dtype_is_real(fl_dtype t);

typedef struct fl_interp fl_interp;

/* Borrows g, which must outlive it. Variables with stored data start with it. FL_BAD_INPUT for a graph without types. */
FL_MUST_USE fl_status fl_interp_new(const fl_graph *g, fl_interp **out, fl_diag *dg);
void fl_interp_free(fl_interp *in); /* NULL is fine */

/*
 * Give an input or a variable its value: copied. The element type must be of the same kind (real or integer) as the
 * declared one; rank and static dims must be equal. Symbolic dims are bound when the graph is run.
 */
FL_MUST_USE fl_status fl_interp_set(fl_interp *in, fl_id value, const fl_tensor *t, fl_diag *dg);
FL_MUST_USE fl_status fl_interp_set_doubles(fl_interp *in, fl_id value, int rank, const int64_t *dims, const double *f,
                                            fl_diag *dg);
FL_MUST_USE fl_status fl_interp_set_ints(fl_interp *in, fl_id value, int rank, const int64_t *dims, const int64_t *i,
                                         fl_diag *dg);
/* Extent of a symbol that neither inputs nor variables have (rows of first weights); -1 takes it back. */
void fl_interp_bind(fl_interp *in, uint32_t symbol, int64_t extent);
/* Bytes that inputs, variables and the values of one run may take together; at first three quarters of the machine's memory. A graph that asks for more
 * is refused (FL_E_MEMORY_LIMIT) before it gets it. */
void fl_interp_limit(fl_interp *in, uint64_t bytes);
/*
 * Bind symbols from inputs and variables, execute all nodes in order, then give updated variables their next values. All-or-nothing:
 * after a failure the variables are as before. Inputs keep their values for the next run.
 */
FL_MUST_USE fl_status fl_interp_run(fl_interp *in, fl_diag *dg);
/*
 * The value after the newest run, borrowed until the next run, set or free. Variables: their present value (after updates).
 * NULL if it has none (not run, erased, unused output).
 */
const fl_array *fl_interp_get(const fl_interp *in, fl_id value);

#endif
