#include "passes/gradients.h"

#include "ir/shape.h"
#include "passes/rewrite.h"

#include <string.h>

bool *fl_find_trained(const fl_graph *g, fl_arena *scratch)
{
    bool *trained = fl_arena_new(scratch, bool, g->n_values + 1);
    if (!trained)
        return NULL;
    for (uint32_t i = 0; i < g->n_params; i++)
        if (g->params[i].rule.kind != FL_RULE_NONE)
            trained[g->params[i].variable] = true;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool any = false;
        if (n->op == FL_OP_RANDOM_MASK) /* reads shapes alone */
            continue;
        for (uint32_t k = 0; k < n->n_in; k++)
            any = any || (n->in[k] != FL_NONE && trained[n->in[k]]);
        for (uint32_t k = 0; any && k < n->n_out; k++) {
            /* Indices, counts and comparisons carry no gradient. */
            fl_dtype t = n->out[k] == FL_NONE ? FL_INT64 : fl_value_type(g, n->out[k])->dtype;
            if (t == FL_FLOAT || t == FL_DOUBLE)
                trained[n->out[k]] = true;
        }
    }
    return trained;
}

bool fl_flow_wants(const fl_flow *f, fl_id value)
{
    return value != FL_NONE && value < f->n_values && f->wanted[value];
}

const char *fl_flow_name(const fl_flow *f, fl_id value)
{
    const char *name = f->g->values[value].name;
    const char *text = fl_arena_printf(&f->cx->scratch, "d.%s", name ? name : "value");
    return text ? text : "d";
}

/* -------------------------------------------------------------------------------------------------- extents */

/* Read from an input or variable that has the dimension, so that no value has to be made first. */
fl_id fl_flow_extent(const fl_flow *f, fl_id value, int axis)
{
    fl_graph *g = f->g;
    fl_dim dim = fl_value_type(g, value)->dims[axis];
    if (!FL_DIM_IS_SYM(dim))
        return fl_build_ints(g, "extent", &dim, 1);
    for (uint32_t i = 0; i < g->n_inputs + g->n_variables; i++) {
        fl_id leaf = i < g->n_inputs ? g->inputs[i] : g->variables[i - g->n_inputs];
        const fl_type *t = fl_value_type(g, leaf);
        for (int d = 0; d < t->rank; d++)
            if (t->dims[d] == dim)
                return fl_build_extent(g, "extent", leaf, d);
    }
    return fl_build_extent(g, "extent", value, axis);
}

fl_id fl_flow_shape(const fl_flow *f, fl_id value)
{
    fl_graph *g = f->g;
    fl_type t = *fl_value_type(g, value);
    fl_id part[FL_MAX_RANK];
    if (fl_type_is_static(&t))
        return fl_build_ints(g, "shape", t.dims, (uint32_t)t.rank);
    for (int d = 0; d < t.rank; d++)
        part[d] = fl_flow_extent(f, value, d);
    return t.rank == 1 ? part[0] : fl_build_concat(g, "shape", part, (uint32_t)t.rank, 0);
}

fl_id fl_flow_reshape(const fl_flow *f, fl_id x, fl_id like)
{
    fl_graph *g = f->g;
    fl_type from = *fl_value_type(g, x), to = *fl_value_type(g, like);
    int64_t dims[FL_MAX_RANK];
    if (fl_type_equal(&from, &to))
        return x;
    uint32_t unknown = 0;
    for (int d = 0; d < to.rank; d++) {
        bool same = d < from.rank && from.dims[d] == to.dims[d];
        dims[d] = !FL_DIM_IS_SYM(to.dims[d]) ? to.dims[d] : same ? 0 : -1;
        unknown += dims[d] == -1;
    }
    fl_id y;
    if (unknown <= 1) {
        y = fl_build_reshape(g, "reshaped", x, dims, (uint32_t)to.rank);
    } else {
        y = fl_build_2(g, FL_OP_RESHAPE, "reshaped", x, fl_flow_shape(f, like));
    }
    if (y != FL_NONE)
        g->values[y].type = to; /* products of symbols are not always seen through */
    return y;
}

static fl_id expand(const fl_flow *f, const char *base, fl_id x, fl_id like)
{
    fl_graph *g = f->g;
    fl_id y = fl_build_2(g, FL_OP_EXPAND, base, x, fl_flow_shape(f, like));
    if (y != FL_NONE)
        g->values[y].type = *fl_value_type(g, like);
    return y;
}

fl_id fl_flow_zeros(const fl_flow *f, fl_id like)
{
    return expand(f, "zeros", fl_build_scalar(f->g, "zero", 0), like);
}

/* ------------------------------------------------------------------------------------------------ broadcasting */

/* Sum `grad` over what `value` was broadcast along. */
static fl_id reduce_to(fl_flow *f, fl_id grad, fl_id value)
{
    fl_graph *g = f->g;
    fl_type to = *fl_value_type(g, value), from = *fl_value_type(g, grad);
    int64_t axes[FL_MAX_RANK];
    uint32_t n = 0;
    int more = from.rank - to.rank;
    for (int d = 0; d < more; d++)
        axes[n++] = d;
    if (n > 0)
        grad = fl_build_reduce_sum(g, fl_flow_name(f, value), grad, axes, n, false);
    n = 0;
    for (int d = 0; d < to.rank; d++) {
        int at = d + more;
        if (at >= 0 && to.dims[d] == 1 && from.dims[at] != 1)
            axes[n++] = more < 0 ? at : d;
    }
    if (n > 0)
        grad = fl_build_reduce_sum(g, fl_flow_name(f, value), grad, axes, n, true);
    return grad;
}

fl_id fl_flow_bare(const fl_flow *f, fl_id grad, fl_id x)
{
    const fl_graph *g = f->g;
    fl_id node = fl_value_is(g, grad, FL_OP_EXPAND);
    return node != FL_NONE && fl_type_equal(fl_value_type(g, grad), fl_value_type(g, x)) ? g->nodes[node].in[0] : grad;
}

fl_id fl_flow_times(fl_flow *f, fl_id grad, fl_id x)
{
    return fl_build_2(f->g, FL_OP_MUL, "d", fl_flow_bare(f, grad, x), x);
}

void fl_flow_to(fl_flow *f, fl_id value, fl_id grad)
{
    fl_graph *g = f->g;
    if (!fl_flow_wants(f, value) || grad == FL_NONE)
        return;
    grad = reduce_to(f, grad, value);
    f->sum[value] = f->sum[value] == FL_NONE ? grad : fl_build_2(g, FL_OP_ADD, fl_flow_name(f, value), f->sum[value], grad);
}

void fl_flow_rows(fl_flow *f, fl_id value, fl_id unique, fl_id grad)
{
    if (!fl_flow_wants(f, value) || grad == FL_NONE)
        return;
    fl_row_gradient **at = &f->rows[value];
    while (*at && (*at)->unique != unique)
        at = &(*at)->next;
    if (*at) {
        (*at)->grad = fl_build_2(f->g, FL_OP_ADD, fl_flow_name(f, value), (*at)->grad, grad);
        return;
    }
    fl_row_gradient *part = fl_arena_new(&f->cx->scratch, fl_row_gradient, 1);
    if (!part) {
        f->g->arena.failed = true;
        return;
    }
    *part = (fl_row_gradient){unique, grad, NULL};
    *at = part;
}

fl_status fl_flow_refuse(fl_flow *f, fl_id node, const char *why)
{
    const fl_node *n = &f->g->nodes[node];
    const char *name = n->n_out && n->out[0] != FL_NONE ? f->g->values[n->out[0]].name : "";
    return fl_error(f->cx->diag, FL_E_GRADIENT, n->origin.loc, "%s, which makes \"%s\", has no gradient here: %s",
                    fl_op_get(n->op)->name, name, why);
}
