#include "runtime/index_bounds.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/tensor_indices.h"

enum { MOST_ELEMENTS = 1 << 20 }; /* of a value that is followed */

/* Where an element of a value comes from: an element of an input, plus a constant. input FL_NONE: computed otherwise. */
typedef struct cell {
    uint32_t input;
    int64_t element, plus;
} cell;

/* A value in a run of one row. */
typedef struct traced {
    fl_type type;
    cell *cells; /* NULL: not followed */
} traced;

typedef struct tracer {
    const fl_session *s;
    const fl_graph *g;
    const int64_t *dims;
    traced *values; /* [n_values] */
    fl_index_bounds *b;
    fl_arena arena;
} tracer;

static int64_t elements_of(const traced *t)
{
    return fl_type_elements(&t->type);
}

/* ------------------------------------------------------------------------------------------------------ following */

/* Elements before and behind a dimension: element (o, k, i) of a tensor is number (o * dims[axis] + k) * inner + i. */
static void around(const fl_type *t, int64_t axis, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int d = 0; d < t->rank; d++)
        *(d < axis ? outer : inner) *= d == axis ? 1 : t->dims[d];
}

/* y[o, k, i] = x[o, from + k * step, i] */
static void take_part(const traced *x, int64_t axis, int64_t from, int64_t step, traced *y)
{
    int64_t outer, inner, n = y->type.dims[axis];

    around(&y->type, axis, &outer, &inner);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++)
            memcpy(&y->cells[(o * n + k) * inner], &x->cells[(o * x->type.dims[axis] + from + k * step) * inner], (size_t)inner * sizeof(cell));
}

static bool follow_slice(tracer *t, const fl_node *n, const traced *x, traced *y)
{
    int64_t starts[FL_MAX_RANK], axes[FL_MAX_RANK], steps[FL_MAX_RANK];
    uint32_t n_starts, n_axes = 1, n_steps;

    if (!fl_value_ints(t->g, n->in[1], starts, FL_MAX_RANK, &n_starts) || n_starts != 1)
        return false;
    axes[0] = 0;
    steps[0] = 1;
    if (n->n_in > 3 && n->in[3] != FL_NONE && (!fl_value_ints(t->g, n->in[3], axes, FL_MAX_RANK, &n_axes) || n_axes != 1))
        return false;
    if (n->n_in > 4 && n->in[4] != FL_NONE && (!fl_value_ints(t->g, n->in[4], steps, FL_MAX_RANK, &n_steps) || n_steps != 1))
        return false;
    int64_t axis = axes[0] + (axes[0] < 0 ? x->type.rank : 0), count = x->type.dims[axis], from = starts[0] + (starts[0] < 0 ? count : 0);
    from = from < 0 ? 0 : steps[0] < 0 && from >= count ? count - 1 : from;
    if (from >= count || from + (y->type.dims[axis] - 1) * steps[0] < 0 || from + (y->type.dims[axis] - 1) * steps[0] >= count)
        return elements_of(y) == 0;
    take_part(x, axis, from, steps[0], y);
    return true;
}

static bool follow_gather(tracer *t, fl_id node, const traced *x, traced *y)
{
    enum { MOST = 4096 };
    const fl_node *n = &t->g->nodes[node];
    int64_t axis = fl_node_int(t->g, node, "axis", 0), picks[MOST], outer, inner;
    uint32_t n_picks;

    axis += axis < 0 ? x->type.rank : 0;
    if (!fl_value_ints(t->g, n->in[1], picks, MOST, &n_picks))
        return false;
    around(&x->type, axis, &outer, &inner);
    for (uint32_t k = 0; k < n_picks; k++) {
        int64_t from = picks[k] + (picks[k] < 0 ? x->type.dims[axis] : 0);
        if (from < 0 || from >= x->type.dims[axis])
            return false;
        for (int64_t o = 0; o < outer; o++)
            memcpy(&y->cells[(o * n_picks + k) * inner], &x->cells[(o * x->type.dims[axis] + from) * inner], (size_t)inner * sizeof(cell));
    }
    return true;
}

static bool follow_split(tracer *t, fl_id node, const traced *x, uint32_t out, traced *y)
{
    const fl_node *n = &t->g->nodes[node];
    int64_t axis = fl_node_int(t->g, node, "axis", 0), from = 0;

    axis += axis < 0 ? x->type.rank : 0;
    for (uint32_t k = 0; k < out; k++) {
        if (n->out[k] == FL_NONE)
            return false;
        from += t->values[n->out[k]].type.dims[axis];
    }
    if (from + y->type.dims[axis] > x->type.dims[axis])
        return false;
    take_part(x, axis, from, 1, y);
    return true;
}

static bool follow_concat(tracer *t, fl_id node, traced *y)
{
    const fl_node *n = &t->g->nodes[node];
    int64_t axis = fl_node_int(t->g, node, "axis", 0), outer, inner, at = 0;

    axis += axis < 0 ? y->type.rank : 0;
    around(&y->type, axis, &outer, &inner);
    for (uint32_t k = 0; k < n->n_in; k++) {
        const traced *x = &t->values[n->in[k]];
        int64_t count = x->type.dims[axis];
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < count * inner; i++)
                y->cells[(o * y->type.dims[axis] + at) * inner + i] = x->cells ? x->cells[o * count * inner + i] : (cell){FL_NONE, 0, 0};
        at += count;
    }
    return true;
}

static bool follow_transpose(tracer *t, fl_id node, const traced *x, traced *y)
{
    const fl_attr *perm = fl_node_attr(t->g, node, "perm");
    int64_t strides[FL_MAX_RANK], at[FL_MAX_RANK] = {0};

    for (int d = x->type.rank - 1; d >= 0; d--)
        strides[d] = d == x->type.rank - 1 ? 1 : strides[d + 1] * x->type.dims[d + 1];
    for (int64_t i = 0, n = elements_of(y); i < n; i++) {
        int64_t from = 0;
        for (int d = 0; d < y->type.rank; d++)
            from += at[d] * strides[perm ? perm->as.ints[d] : y->type.rank - 1 - d];
        y->cells[i] = x->cells[from];
        for (int d = y->type.rank - 1; d >= 0 && ++at[d] == y->type.dims[d]; d--)
            at[d] = 0;
    }
    return true;
}

/* A constant's tensor, also where it is kept as a variable of the session. */
static const fl_tensor *constant_of(tracer *t, fl_id v)
{
    return t->g->values[v].kind == FL_VALUE_VARIABLE ? t->g->values[v].data : fl_value_tensor(t->g, v);
}

/* Its elements, over and over, are added to those of y: it is broadcast along leading dimensions only. */
static bool repeats(const fl_type *c, const fl_type *y)
{
    int first = 0;

    while (first < c->rank && c->dims[first] == 1)
        first++;
    for (int d = 1; d <= c->rank - first; d++)
        if (d > y->rank || c->dims[c->rank - d] != y->dims[y->rank - d])
            return false;
    return fl_type_elements(c) > 0;
}

/* x + c, x - c, c + x of a constant that is no wider than x. */
static bool follow_sum(tracer *t, const fl_node *n, traced *y)
{
    bool second = t->values[n->in[0]].cells != NULL;
    const traced *x = &t->values[n->in[!second]];
    const fl_tensor *c = constant_of(t, n->in[second]);
    double scalar = 0;
    bool one = fl_value_scalar(t->g, n->in[second], &scalar);

    if (!x->cells || elements_of(x) != elements_of(y) || (n->op == FL_OP_SUB && !second) || (!one && (!c || !c->bytes || !repeats(&c->type, &y->type))))
        return false;
    for (int64_t i = 0, n_c = one ? 1 : fl_type_elements(&c->type); i < elements_of(y); i++) {
        int64_t plus = one ? (int64_t)scalar : fl_tensor_get_int(c, i % n_c);
        y->cells[i] = x->cells[i];
        y->cells[i].plus += n->op == FL_OP_SUB ? -plus : plus;
    }
    return true;
}

static bool follow(tracer *t, fl_id node, uint32_t out, traced *y)
{
    const fl_node *n = &t->g->nodes[node];
    const traced *x = n->n_in > 0 && n->in[0] != FL_NONE ? &t->values[n->in[0]] : NULL;

    if (!x || (!x->cells && n->op != FL_OP_CONCAT && n->op != FL_OP_ADD))
        return false;
    switch ((int)n->op) {
    case FL_OP_IDENTITY:
    case FL_OP_CAST:
    case FL_OP_RESHAPE:
    case FL_OP_FLATTEN:
    case FL_OP_SQUEEZE:
    case FL_OP_UNSQUEEZE:
        if (elements_of(x) != elements_of(y))
            return false;
        memcpy(y->cells, x->cells, (size_t)elements_of(y) * sizeof(cell));
        return true;
    case FL_OP_SLICE:
        return follow_slice(t, n, x, y);
    case FL_OP_GATHER:
        return follow_gather(t, node, x, y);
    case FL_OP_SPLIT:
        return follow_split(t, node, x, out, y);
    case FL_OP_CONCAT:
        return follow_concat(t, node, y);
    case FL_OP_TRANSPOSE:
        return follow_transpose(t, node, x, y);
    case FL_OP_ADD:
    case FL_OP_SUB:
        return follow_sum(t, n, y);
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------------- bounds */

/* What an element is added to must stay within [0, rows). */
static void hold(fl_index_bound *b, int64_t rows, int64_t plus)
{
    int64_t least = -plus, most = rows - 1 - plus;

    if (b->least > b->most) {
        *b = (fl_index_bound){least, most};
        return;
    }
    b->least = least > b->least ? least : b->least;
    b->most = most < b->most ? most : b->most;
}

/* Every element of an input that a value depends on, however. */
static void hold_all(tracer *t, fl_id v, int64_t rows, bool *seen)
{
    const fl_value *value = &t->g->values[v];

    if (seen[v])
        return;
    seen[v] = true;
    for (uint32_t i = 0; value->kind == FL_VALUE_INPUT && i < t->g->n_inputs; i++)
        for (int64_t k = 0; t->g->inputs[i] == v && k < t->b->n[i]; k++)
            hold(&t->b->of[i][k], rows, 0);
    if (value->kind != FL_VALUE_NODE || t->g->nodes[value->node].op == FL_OP_SHAPE)
        return;
    const fl_node *n = &t->g->nodes[value->node];
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] != FL_NONE)
            hold_all(t, n->in[k], rows, seen);
}

static fl_status bound_index(tracer *t, fl_id index, int64_t rows, fl_diag *dg)
{
    const traced *x = &t->values[index];
    bool other = !x->cells;

    for (int64_t i = 0, n = x->cells ? elements_of(x) : 0; i < n; i++) {
        const cell *c = &x->cells[i];
        if (c->input == FL_NONE)
            other = true;
        else
            hold(&t->b->of[c->input][c->element], rows, c->plus);
    }
    if (!other)
        return FL_OK;
    bool *seen = calloc((size_t)t->g->n_values + 1, sizeof *seen);
    if (!seen)
        return fl_out_of_memory(dg);
    hold_all(t, index, rows, seen);
    free(seen);
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------------ all */

static fl_status start(tracer *t, fl_diag *dg)
{
    const fl_graph *g = t->g;
    fl_index_bounds *b = t->b;

    b->of = calloc((size_t)g->n_inputs + 1, sizeof *b->of);
    b->n = calloc((size_t)g->n_inputs + 1, sizeof *b->n);
    t->values = fl_arena_new(&t->arena, traced, g->n_values + 1u);
    if (!b->of || !b->n || !t->values)
        return fl_out_of_memory(dg);
    for (fl_id v = 0; v < g->n_values; v++)
        if (!g->values[v].name || !fl_type_bind(g, t->dims, &g->values[v].type, &t->values[v].type))
            t->values[v].type = FL_TYPE_UNKNOWN;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        traced *x = &t->values[g->inputs[i]];
        int64_t n = x->type.rank < 0 ? -1 : elements_of(x);
        if (n < 0 || n > MOST_ELEMENTS)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of input \"%s\" is not known, or a row of it is too large to be drawn", g->values[g->inputs[i]].name);
        b->n[i] = n;
        b->of[i] = malloc(((size_t)n + 1) * sizeof **b->of);
        x->cells = fl_arena_new(&t->arena, cell, (size_t)n + 1);
        if (!b->of[i] || !x->cells)
            return fl_out_of_memory(dg);
        for (int64_t k = 0; k < n; k++) {
            b->of[i][k] = (fl_index_bound){1, 0};
            x->cells[k] = (cell){i, k, 0};
        }
    }
    return FL_OK;
}

static fl_status trace(tracer *t, fl_diag *dg)
{
    const fl_graph *g = t->g;

    FL_TRY(start(t, dg));
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; n->op != FL_OP_NOP && k < n->n_out; k++) {
            traced *y = n->out[k] == FL_NONE ? NULL : &t->values[n->out[k]];
            int64_t count = !y || y->type.rank < 0 ? -1 : elements_of(y);
            if (count < 0 || count > MOST_ELEMENTS)
                continue;
            y->cells = fl_arena_new(&t->arena, cell, (size_t)count + 1);
            if (!y->cells)
                return fl_out_of_memory(dg);
            if (!follow(t, i, k, y))
                y->cells = NULL;
        }
        for (uint32_t k = 0; fl_op_has(n->op, FL_GATHERING) && k < fl_look_ups(n); k++) {
            int64_t rows = fl_look_up_rows(t->s, g, i, k);
            if (!FL_DIM_IS_SYM(rows))
                FL_TRY(bound_index(t, n->in[2 * k + 1], rows, dg));
        }
    }
    return FL_OK;
}

fl_status fl_index_bounds_find(fl_index_bounds *b, const fl_session *s, fl_program p, const int64_t *dims, fl_diag *dg)
{
    tracer t = {.s = s, .g = s->programs[p], .dims = dims, .b = b};

    *b = (fl_index_bounds){0};
    fl_arena_init(&t.arena);
    fl_status status = trace(&t, dg);
    fl_arena_deinit(&t.arena);
    if (status != FL_OK)
        fl_index_bounds_deinit(b, s->programs[p]);
    return status;
}

void fl_index_bounds_deinit(fl_index_bounds *b, const fl_graph *g)
{
    for (uint32_t i = 0; b->of && i < g->n_inputs; i++)
        free(b->of[i]);
    free(b->of);
    free(b->n);
    *b = (fl_index_bounds){0};
}
