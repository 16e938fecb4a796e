/*
 * onnx_parts.h -- what the files ir/onnx*.c share. Nobody else includes it: protobuf-c stays behind this header.
 */
#ifndef FL_IR_ONNX_PARTS_H
#define FL_IR_ONNX_PARTS_H

#include "ir/model.h"

#include <onnx/onnx.pb-c.h>

enum { FL_ONNX_MAX_DEPTH = 100, FL_ONNX_OUR_OPSET = 20, FL_ONNX_MIN_READ = 13, FL_ONNX_MAX_READ = 22, FL_ONNX_MIN_WRITE = 17 };

/*
 * Walk the wire format of a ModelProto without recursion and without memory, and add up what protobuf-c and the graph
 * made from it will take. FL_BAD_INPUT (reported) if it is malformed, nested too deep, or beyond the budget of
 * 10 n bytes + 64 MB.
 */
FL_MUST_USE fl_status fl_onnx_scan(const uint8_t *bytes, size_t n, const char *file, fl_diag *dg);

/* Where data outside the file is found: exactly `length` bytes, or a report. The bytes live as long as the graph. */
typedef struct fl_onnx_source {
    fl_status (*find)(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg);
    void *self;
} fl_onnx_source;

/* fl_onnx_decode with a source of external data; NULL: none may be used. */
FL_MUST_USE fl_status fl_onnx_decode_from(const void *bytes, size_t n, const char *file, const fl_onnx_source *source,
                                          fl_graph **out, fl_diag *dg);

/* Files beneath a folder, mapped. `wanted` has location, offset and length (UINT64_MAX: not given). */
typedef struct fl_onnx_folder {
    const char *file, *folder;
} fl_onnx_folder;
fl_status fl_onnx_find_in_folder(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg);

#endif
