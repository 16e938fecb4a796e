/*
 * onnx_list.c -- which operators a file uses, whether we have them or not.
 */
#include "ir/onnx_parts.h"

#include <string.h>

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static fl_status list(const Onnx__ModelProto *m, fl_arena *arena, const char *const **names, uint32_t *n, fl_diag *dg)
{
    fl_strpool seen;
    size_t n_nodes = m->graph ? m->graph->n_node : 0;
    const char **out = fl_arena_new(arena, const char *, n_nodes + 1);
    uint32_t count = 0;
    fl_strpool_init(&seen, arena);
    for (size_t i = 0; out && i < n_nodes; i++) {
        const char *domain = or_empty(m->graph->node[i]->domain), *op = or_empty(m->graph->node[i]->op_type);
        bool standard = !*domain || strcmp(domain, "ai.onnx") == 0;
        const char *name = fl_arena_printf(arena, "%s%s%s", standard ? "" : domain, standard ? "" : ".", op);
        if (!name)
            return fl_out_of_memory(dg);
        if (fl_strpool_find(&seen, name, strlen(name)))
            continue;
        out[count] = fl_strpool_put(&seen, name, strlen(name));
        if (!out[count++])
            return fl_out_of_memory(dg);
    }
    *names = out;
    *n = count;
    return out ? FL_OK : fl_out_of_memory(dg);
}

fl_status fl_onnx_operators(const void *bytes, size_t n, const char *file, fl_arena *arena, const char *const **names, uint32_t *n_names,
                            fl_diag *dg)
{
    FL_TRY(fl_onnx_scan(&onnx__model_proto__descriptor, bytes, n, file, NULL, dg));
    fl_arena messages;
    fl_arena_init(&messages);
    ProtobufCAllocator allocator = {fl_onnx_alloc, fl_onnx_free, &messages};
    Onnx__ModelProto *m = onnx__model_proto__unpack(&allocator, n, bytes);
    fl_status status = m ? list(m, arena, names, n_names, dg)
                         : fl_error(dg, FL_E_ONNX_FORMAT, FL_FILE(file), "this is no ONNX file, or a damaged one");
    fl_arena_deinit(&messages);
    return status;
}
