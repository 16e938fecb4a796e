/*
 * tensor_indices.h -- what a program looks up when it runs on tensors.
 *
 * Generated code trusts its indices, because readers make them. Tensors come from anywhere, so whoever runs a program on tensors asks here first: an
 * index that is an input is looked at where it lies, any other is computed by interpreting what of the program it takes.
 */
#ifndef FL_RUNTIME_TENSOR_INDICES_H
#define FL_RUNTIME_TENSOR_INDICES_H

#include "runtime/session.h"

/* A dense tensor of static type. */
typedef struct fl_array {
    fl_type type;
    void *bytes;
    size_t n_bytes;
} fl_array;

/* A value that a program uses as an index (or as the offsets of bags), and what it holds in a run. */
typedef struct fl_tensor_index {
    fl_id value;
    const char *what; /* "input", or "index" of computed ones */
    fl_array array;
    bool owned;       /* array.bytes is the list's; else an input's */
} fl_tensor_index;

typedef struct fl_tensor_indices {
    fl_tensor_index *items; /* [n] */
    uint32_t n, n_computed;
} fl_tensor_indices;

/*
 * The indices of all nodes of program p that look rows up, in a run `call` on `inputs` ([n_inputs], in the graph's order; call->dims are all extents). `interpret`
 * (fl_interp_engine_new) computes those that are no inputs. Reported: an index that takes more memory than the session has left, or whose shape does not follow
 * from the inputs' shapes.
 */
FL_MUST_USE fl_status fl_tensor_indices_make(fl_tensor_indices *l, const fl_session *s, fl_program p, fl_interpret_fn *interpret, const fl_array *inputs,
                                             const fl_run *call, fl_diag *dg);
void fl_tensor_indices_deinit(fl_tensor_indices *l); /* a zeroed one is fine */
/* NULL if the value is no index. */
const fl_tensor_index *fl_tensor_indices_find(const fl_tensor_indices *l, fl_id value);
/* Reported against index and element: a row that its table does not have; offsets of bags that fall, or do not fit the values. */
FL_MUST_USE fl_status fl_tensor_indices_check(const fl_tensor_indices *l, const fl_session *s, fl_program p, const int64_t *dims, fl_diag *dg);

/* Rows that look-up k of a node has to choose from, by the session's variables; a symbol (FL_DIM_IS_SYM) where only a run knows. */
int64_t fl_look_up_rows(const fl_session *s, const fl_graph *g, fl_id node, uint32_t k);

/* The type with its symbols' extents, `dims` by symbol (-1: not bound); false if some are not bound, or too many elements. */
bool fl_type_bind(const fl_graph *g, const int64_t *dims, const fl_type *t, fl_type *out);
/* FL_BAD_INPUT, reported: `what` of value v takes `bytes` (below 0: beyond any number), and the session has `left`. */
fl_status fl_beyond_memory(const fl_graph *g, fl_id v, const char *what, int64_t bytes, uint64_t left, fl_diag *dg);
/* Bytes of a static type; -1 beyond any number. */
int64_t fl_type_bytes(const fl_type *t);

#endif
