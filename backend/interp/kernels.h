/*
 * kernels.h -- one function an operator: its definition. Private to backend/interp.
 */
#ifndef FL_BACKEND_KERNELS_H
#define FL_BACKEND_KERNELS_H

#include "backend/interp/interp.h"

/* One execution of one node. Operands are never changed; outputs may share an operand's elements (views). */
typedef struct fl_call {
    const fl_graph *g;
    fl_id node;
    uint32_t n_in, n_out;
    const fl_array *const *in; /* NULL: an operand left out */
    fl_array *out;             /* to be filled; those that nobody wants may be left untouched */
    const bool *wanted;        /* one per output */
    const int64_t *dim;        /* extents of the graph's symbols; -1: not bound yet */
    const int64_t *given;      /* extents by fl_interp_bind, for first weights; -1: none */
    fl_arena *arena;           /* of the run */
    uint64_t limit;            /* bytes that it may hold */
    fl_diag *diag;
} fl_call;

typedef fl_status fl_kernel_fn(fl_call *c);

#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) fl_kernel_fn fl_kernel_##fn;
#include "ir/ops.def"
#undef FL_OP

/* ------------------------------------------------------------------------------------------------- helpers */

/* Report against the call's node: `node "NAME" (OP): text`. */
fl_status fl_call_error(const fl_call *c, fl_code code, const char *format, ...) FL_PRINTF(3, 4);
/* Make *out an array with room for its elements, zeroed. FL_BAD_INPUT if the product of dims overflows or is beyond the limit, or a dim is negative. */
FL_MUST_USE fl_status fl_call_new(const fl_call *c, fl_array *out, fl_dtype t, int rank, const int64_t *dims);
/* The same shape and type as `like`. */
FL_MUST_USE fl_status fl_call_new_like(const fl_call *c, fl_array *out, const fl_array *like);
/* *out = x's elements under another shape with as many elements. */
void fl_array_view(const fl_array *x, int rank, const int64_t *dims, fl_array *out);
/* Product of dims [from, to); no overflow is possible within an existing array. */
int64_t fl_array_extent(const fl_array *x, int from, int to);
/* Index 0 <= *axis < rank from ONNX's [-rank, rank). */
FL_MUST_USE fl_status fl_call_axis(const fl_call *c, int64_t axis, int rank, int *out);
/* The operand must be real / integer; must have the rank (-1: any). Reports with `what`. */
FL_MUST_USE fl_status fl_call_real(const fl_call *c, uint32_t operand, int rank, const char *what);
FL_MUST_USE fl_status fl_call_ints(const fl_call *c, uint32_t operand, int rank, const char *what);
/* Two extents that must be equal. */
FL_MUST_USE fl_status fl_call_same(const fl_call *c, int64_t got, int64_t want, const char *what);
/* The ints attribute, at most n_max long; 0 entries if absent. */
FL_MUST_USE fl_status fl_call_attr_ints(const fl_call *c, const char *name, const int64_t **ints, uint32_t *n);
/* numpy's broadcast of operands [0, n_in) to one shape; x[k] are they, expanded to it (shared where they have it already). */
FL_MUST_USE fl_status fl_call_broadcast(const fl_call *c, const fl_array *const *in, uint32_t n, fl_array *x);
/* x expanded to the shape (numpy's rule, which must hold). */
FL_MUST_USE fl_status fl_call_expand(const fl_call *c, const fl_array *x, int rank, const int64_t *dims, fl_array *out);
/* "float[7,4]" into text. */
const char *fl_array_print(const fl_array *x, char *text, size_t size);
/* Elements of a stored tensor, into a fresh array. */
FL_MUST_USE fl_status fl_call_from_tensor(const fl_call *c, const fl_tensor *t, fl_array *out);

/* A row index: negative ones count from the end. `at` is its place in the index tensor, `row` the row of that place, both for the report. */
FL_MUST_USE fl_status fl_call_row(const fl_call *c, int64_t index, int64_t rows, int64_t at, int64_t row, int64_t *out);
/* Copies n elements from[f], ... to to[t], ... of arrays of the same kind. */
void fl_array_copy(fl_array *to, int64_t t, const fl_array *from, int64_t f, int64_t n);

static inline bool fl_array_real(const fl_array *x)
{
    return fl_dtype_is_real(x->dtype);
}

#endif
