/*
 * model_parts.h -- what model_save.c and model_open.c share: the form of index.json's members, sizes.
 */
#ifndef FL_IR_MODEL_PARTS_H
#define FL_IR_MODEL_PARTS_H

#include "ir/model.h"

enum {
    FL_MODEL_BLOCK = 1 << 20,        /* bytes under one CRC-32C */
    FL_MODEL_ALIGN = 64,             /* of variables in weights.bin */
    FL_MODEL_SMALL_FILE = 16 << 20, /* files up to this are checked whole when opened, in two to three milliseconds */
    FL_MODEL_SMALL_PART = 1 << 20,  /* parts and variables up to this always are */
    FL_MODEL_MAX_NAME = 255,
    FL_MODEL_INDEX_FORMAT = 1,
    FL_MODEL_INDEX_CHECKSUMS = 2       /* the format if variables have checksums of their own */
};

#define FL_MODEL_MANIFEST "manifest.json"
#define FL_MODEL_WEIGHTS  "weights.bin"
#define FL_MODEL_INDEX    "index.json"
#define FL_MODEL_SOURCE   "model.onnx"

#endif
