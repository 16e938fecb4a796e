/*
 * onnx_parts.h -- what the files ir/onnx*.c share. Nobody else includes it: protobuf-c stays behind this header.
 */
#ifndef FL_IR_ONNX_PARTS_H
#define FL_IR_ONNX_PARTS_H

#include "ir/onnx_source.h"

#include <onnx/onnx.pb-c.h>

enum { FL_ONNX_MAX_DEPTH = 100, FL_ONNX_OUR_OPSET = 20, FL_ONNX_MIN_READ = 1, FL_ONNX_MAX_READ = 28, FL_ONNX_MIN_WRITE = 17, FL_ONNX_MIN_IR = 3, FL_ONNX_MAX_IR = 14 };

/* protobuf-c's memory: an arena that is freed as a whole. */
void *fl_onnx_alloc(void *arena, size_t size);
void fl_onnx_free(void *arena, void *p);

/*
 * Walk the wire format of a message (ModelProto or TensorProto) without recursion and without memory, and add up what protobuf-c and
 * the graph made from it will take. FL_BAD_INPUT (reported) if it is malformed, nested too deep, or beyond the budget of
 * 10 n bytes + 64 MB.
 */
FL_MUST_USE fl_status fl_onnx_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, const char *file, fl_diag *dg);

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

#endif
