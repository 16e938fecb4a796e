/*
 * onnx_source.h -- reading ONNX files whose tensors lie elsewhere: beneath a folder, or in a part of model.bin.
 */
#ifndef FL_IR_ONNX_SOURCE_H
#define FL_IR_ONNX_SOURCE_H

#include "ir/model.h"

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
FL_MUST_USE fl_status fl_onnx_find_in_folder(void *self, fl_graph *g, const char *tensor, const fl_tensor *wanted, const void **bytes, fl_diag *dg);

#endif
