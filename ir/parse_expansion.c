#include "ir/parse_expansion.h"

#include "ir/shape.h"

#include <stdio.h>
#include <string.h>

void fl_parse_domain(fl_parse_operator *o)
{
    size_t n = strlen(o->domain);
    snprintf(o->domain + n, sizeof o->domain - n, "%s%s", n ? "." : "", o->word);
}

void fl_parse_find_op(fl_parse_operator *o, int64_t opset)
{
    o->op = fl_op_find(o->domain, o->word);
    bool ours = o->op != FL_N_OPS && o->op != FL_OP_NOP;
    o->known = ours || fl_import_expands(o->domain, o->word);
    if (!ours || (opset != 20 && *fl_op_get(o->op)->domain == '\0'))
        o->op = FL_N_OPS;
}

fl_status fl_parse_expand(fl_import *m, const char *const *names, uint64_t budget, fl_arena *scratch)
{
    fl_graph *g = m->g;
    uint32_t first_node = g->n_nodes, first_value = g->n_values;
    bool *wanted = fl_arena_new(scratch, bool, m->n_out + 1u);
    m->out = fl_arena_new(scratch, fl_id, m->n_out + 1u);
    m->wanted = wanted;
    if (!wanted || !m->out)
        return fl_out_of_memory(m->dg);
    for (uint32_t i = 0; i < m->n_out; i++)
        wanted[i] = *names[i];
    fl_status status = fl_import_node(m);
    for (fl_id i = first_node; status != FL_OK && i < g->n_nodes; i++)
        fl_node_erase(g, i);
    FL_TRY(status);
    if (g->arena.used_bytes > budget)
        return fl_error(m->dg, FL_E_ONNX_LIMIT, m->loc, "%s: the graph takes more memory than the text's size allows, %llu MB", m->op,
                        (unsigned long long)(budget >> 20));
    for (fl_id v = first_value; v < g->n_values; v++)
        g->values[v].origin = (fl_origin){.loc = m->loc, .pass = "import"};
    for (uint32_t i = 0; i < m->n_out; i++) {
        if (!wanted[i])
            continue;
        if (fl_graph_find(g, names[i]) != m->out[i]) {
            fl_parse_give_way(g, names[i]);
            fl_value_rename(g, m->out[i], names[i]);
        }
        g->values[m->out[i]].origin.pass = NULL;
    }
    return fl_graph_ok(g, m->dg);
}

void fl_parse_give_way(fl_graph *g, const char *name)
{
    fl_id v = fl_graph_find(g, name);
    if (v != FL_NONE && g->values[v].kind == FL_VALUE_NODE && g->values[v].origin.pass)
        fl_value_rename(g, v, fl_graph_fresh_name(g, name));
}

fl_status fl_parse_unknown_op(const char *domain, const char *op, fl_loc loc, fl_diag *dg)
{
    static const char *const expansions[] = {
#define FL_EXPANSION(domain, name, min_in, max_in, max_out, fn) name,
#include "ir/expansions.def"
#undef FL_EXPANSION
    };
    const char *candidates[FL_N_OPS + FL_COUNT(expansions)];
    fl_status s = fl_error(dg, FL_E_UNKNOWN_OP, loc, "unknown operator \"%s%s%s\"", domain, *domain ? "." : "", op);
    for (int i = 0; i < FL_N_OPS; i++)
        candidates[i] = fl_op_get((fl_op)i)->name;
    for (size_t i = 0; i < FL_COUNT(expansions); i++)
        candidates[FL_N_OPS + i] = expansions[i];
    const char *near = fl_nearest(op, candidates, FL_COUNT(candidates));
    if (near)
        fl_hint(dg, "did you mean \"%s\"?", near);
    return s;
}
