/*
 * onnx_parts.h -- what the files ir/onnx*.c share. Nobody else includes it: protobuf-c stays behind this header.
 */
#ifndef FL_IR_ONNX_PARTS_H
#define FL_IR_ONNX_PARTS_H

#include "ir/onnx_source.h"

#include <onnx/onnx.pb-c.h>

enum { FL_ONNX_MAX_DEPTH = 100, FL_ONNX_OUR_OPSET = 20, FL_ONNX_MIN_READ = 13, FL_ONNX_MAX_READ = 22, FL_ONNX_MIN_WRITE = 17 };

/*
 * Walk the wire format of a ModelProto without recursion and without memory, and add up what protobuf-c and the graph
 * made from it will take. FL_BAD_INPUT (reported) if it is malformed, nested too deep, or beyond the budget of
 * 10 n bytes + 64 MB.
 */
FL_MUST_USE fl_status fl_onnx_scan(const uint8_t *bytes, size_t n, const char *file, fl_diag *dg);

/* Files beneath a folder, mapped. `wanted` has location, offset and length (UINT64_MAX: not given). */
typedef struct fl_onnx_folder {
    const char *file, *folder;
} fl_onnx_folder;
fl_status fl_onnx_find_in_folder(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg);

#endif
