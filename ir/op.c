#include "ir/op.h"

#include <string.h>

static const fl_op_info ops[FL_N_OPS] = {
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits)                                \
    [FL_OP_##id] = {domain, name, min_in, max_in, min_out, max_out, traits},
#include "ir/ops.def"
#undef FL_OP
};

const fl_op_info *fl_op_get(fl_op op)
{
    return &ops[op];
}

fl_op fl_op_find(const char *domain, const char *name)
{
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    for (int i = 0; i < FL_N_OPS; i++)
        if (strcmp(ops[i].name, name) == 0 && strcmp(ops[i].domain, domain) == 0)
            return (fl_op)i;
    return FL_N_OPS;
}
