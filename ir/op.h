/*
 * op.h -- operators: ids, traits, look-up by name. The table itself is ops.def.
 */
#ifndef FL_IR_OP_H
#define FL_IR_OP_H

#include "ir/base/status.h"

#define FL_MANY UINT16_MAX

enum {
    FL_PURE = 1 << 0,
    FL_ELEMENTWISE = 1 << 1,
    FL_ROWWISE = 1 << 2,
    FL_VIEW = 1 << 3,
    FL_REDUCTION = 1 << 4,
    FL_PRODUCT = 1 << 5,
    FL_GATHERING = 1 << 6,
    FL_OPTIMISER = 1 << 7,
    FL_MODE = 1 << 8,
    FL_COMMUTATIVE = 1 << 9,
    FL_DIFFERENTIABLE = 1 << 10,
    FL_EMITTED = 1 << 11
};

typedef enum fl_op {
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) FL_OP_##id,
#include "ir/ops.def"
#undef FL_OP
    FL_N_OPS
} fl_op;

typedef struct fl_op_info {
    const char *domain, *name;
    uint16_t min_in, max_in, min_out, max_out;
    uint32_t traits;
} fl_op_info;

/* Static storage. */
const fl_op_info *fl_op_get(fl_op op);
static inline bool fl_op_has(fl_op op, uint32_t trait)
{
    return (fl_op_get(op)->traits & trait) != 0;
}
/* domain "ai.onnx" is "". FL_N_OPS if there is no such operator. */
fl_op fl_op_find(const char *domain, const char *name);

#endif
