/*
 * onnx_parts.h -- what the files ir/onnx*.c share. Nobody else includes it: protobuf-c stays behind this header.
 */
#ifndef FL_IR_ONNX_PARTS_H
#define FL_IR_ONNX_PARTS_H

#include "ir/onnx_source.h"

#include <onnx/onnx.pb-c.h>

enum { FL_ONNX_MAX_DEPTH = 100, FL_ONNX_MAX_CALLS = 20, FL_ONNX_OUR_OPSET = 20, FL_ONNX_MIN_READ = 1, FL_ONNX_MAX_READ = 28, FL_ONNX_MIN_WRITE = 13, FL_ONNX_USUAL_WRITE = 17, FL_ONNX_MIN_IR = 3, FL_ONNX_MAX_IR = 14 };

/* protobuf-c's memory: an arena that is freed as a whole. */
void *fl_onnx_alloc(void *arena, size_t size);
void fl_onnx_free(void *arena, void *p);

/* What reading n bytes may take. */
static inline uint64_t fl_onnx_budget(size_t n)
{
    return 10 * (uint64_t)n + (64u << 20);
}

/*
 * Walk the wire format of a message (ModelProto or TensorProto) without recursion and without memory, and add up what protobuf-c and
 * the graph made from it will take. FL_BAD_INPUT (reported) if it is malformed, nested too deep, or beyond the budget of
 * 10 n bytes + 64 MB. *left (NULL: not wanted) is what is left of that.
 */
FL_MUST_USE fl_status fl_onnx_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, const char *file, uint64_t *left,
                                   fl_diag *dg);

/* Where a tensor's data may come from and go to. `source` NULL: no data outside the file; `g` is for its source alone. */
typedef struct fl_onnx_place {
    const char *file;
    const fl_onnx_source *source;
    fl_graph *g;
    fl_arena *arena;
    fl_diag *dg;
} fl_onnx_place;

/* An element type that we have; `name` is whose. */
FL_MUST_USE fl_status fl_onnx_check_dtype(const fl_onnx_place *place, int32_t type, const char *name);
/* The tensor in place->arena, its data copied or mapped. */
FL_MUST_USE fl_status fl_onnx_read_tensor(const fl_onnx_place *place, const Onnx__TensorProto *p, const char *name, fl_tensor **out);

/*
 * The function that fl_onnx_encode writes for `node`, an operator with a body, as bytes in `arena`. FL_UNSUPPORTED (reported) if
 * an attribute has no meaning, or `opset` cannot be written.
 */
FL_MUST_USE fl_status fl_onnx_function(const fl_graph *g, fl_id node, int64_t opset, fl_arena *arena, uint8_t **bytes, size_t *n, fl_diag *dg);

typedef struct fl_onnx_bytes {
    uint8_t *bytes;
    size_t n;
} fl_onnx_bytes;

/* Functions of a file that is read; the members up to `left` are given, then fl_onnx_functions_init. */
typedef struct fl_onnx_functions {
    const Onnx__ModelProto *model;
    const char *file;
    fl_arena *arena;
    fl_diag *dg;
    int64_t opset;
    uint64_t left; /* bytes of the file's budget */
    Onnx__FunctionProto **sorted; /* by name and domain */
    fl_onnx_bytes *bytes;         /* of each of sorted, once it was compared */
} fl_onnx_functions;

FL_MUST_USE fl_status fl_onnx_functions_init(fl_onnx_functions *f);
/* The function that the node calls; NULL if it calls none. */
const Onnx__FunctionProto *fl_onnx_function_of(const fl_onnx_functions *f, const Onnx__NodeProto *call);
/* *op: the operator of ours in whose place fl_onnx_encode writes a call of p like this one; FL_N_OPS if there is none. */
FL_MUST_USE fl_status fl_onnx_function_op(fl_onnx_functions *f, const Onnx__FunctionProto *p, const Onnx__NodeProto *call, fl_op *op);
/*
 * p->n_node nodes that do in the caller what p does: operands, results and attributes are the call's, names inside get the first result's
 * and the function's name in front, with slashes: so they are unique, because no function is inside itself. FL_BAD_INPUT (reported) if the
 * call does not fit, FL_E_ONNX_LIMIT beyond the budget.
 */
FL_MUST_USE fl_status fl_onnx_inline(fl_onnx_functions *f, const Onnx__FunctionProto *p, const Onnx__NodeProto *call, Onnx__NodeProto **nodes);

#endif
