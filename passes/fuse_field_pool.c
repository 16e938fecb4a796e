/*
 * fuse_field_pool.c -- sums and sums of squares over groups of slots of one Gather become one FieldPool.
 *
 *   e = Gather(data, index)                    f_m, q_m = FieldPool(data, index)
 *   p = Split(e) or Slice(e)             ->
 *   f = ReduceSum(p, axis 1)                   (e stays where others read it)
 *   q = ReduceSum(Mul(p, p), axis 1)
 *
 * What is matched is not this text but what a value is: one forward sweep gives each value that descends from a Gather
 * a description -- which columns, squared or not, summed or not -- and operators map descriptions to descriptions. So order, names,
 * commuted operands, Pow or Mul, Split or Slice, one ReduceSum or a chain of Adds are all the same. A value that sums
 * adjacent columns and is read by anything but a larger sum is an output of a pool; where two such groups overlap, the later goes
 * into a second pool.
 *
 * Needs ORDER and SHAPES, keeps SHAPES (new nodes are appended). O(values * slots).
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"

#include <string.h>

enum { MAX_PARTS = 256 }; /* operands of a sum of sums; more stay unfused */

typedef enum form {
    FORM_NONE,
    FORM_COLUMNS, /* [B,n,K] */
    FORM_KEPT,    /* their sum, [B,1,K] */
    FORM_SUM      /* their sum, [B,K] */
} form;

typedef struct view {
    form form;
    fl_id gather;     /* the node */
    int64_t first, n; /* columns of the index */
    bool squared;
    bool real;        /* something was added or squared: not a mere slice */
} view;

typedef struct matcher {
    fl_graph *g;
    view *view; /* by value */
    uint32_t n_values;
} matcher;

static bool same_view(const view *a, const view *b)
{
    return a->form == b->form && a->gather == b->gather && a->first == b->first && a->n == b->n && a->squared == b->squared;
}

static view view_of(const matcher *m, fl_id v)
{
    return v == FL_NONE ? (view){0} : m->view[v];
}

/* Gather of rows of a matrix by a matrix of indices with a known number of columns. */
static view see_gather(const fl_graph *g, fl_id node)
{
    const fl_type *e = fl_value_type(g, g->nodes[node].out[0]), *data = fl_value_type(g, g->nodes[node].in[0]);
    bool fits = data->dtype == FL_FLOAT && data->rank == 2 && e->rank == 3 && e->dims[1] > 0 && e->dims[2] > 0 && fl_node_int(g, node, "axis", 0) == 0;
    return fits ? (view){FORM_COLUMNS, node, 0, e->dims[1], false, false} : (view){0};
}

static void see_split(matcher *m, fl_id node, view x)
{
    const fl_node *n = &m->g->nodes[node];
    int64_t axis = fl_node_int(m->g, node, "axis", 0), at = x.first;
    if (x.form != FORM_COLUMNS || (axis != 1 && axis != -2))
        return;
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] == FL_NONE || fl_value_type(m->g, n->out[k])->rank != 3)
            return;
        view part = x;
        part.first = at;
        part.n = fl_value_type(m->g, n->out[k])->dims[1];
        if (part.n < 1)
            return;
        at += part.n;
        m->view[n->out[k]] = part;
    }
}

static view see_slice(const matcher *m, const fl_node *n, view x)
{
    int64_t start, end, axis = 0, step = 1;
    uint32_t count = 0;
    bool known = fl_value_ints(m->g, n->in[1], &start, 1, &count) && count == 1 && fl_value_ints(m->g, n->in[2], &end, 1, &count);
    if (known && n->n_in > 3 && n->in[3] != FL_NONE)
        known = fl_value_ints(m->g, n->in[3], &axis, 1, &count);
    if (known && n->n_in > 4 && n->in[4] != FL_NONE)
        known = fl_value_ints(m->g, n->in[4], &step, 1, &count);
    if (!known || x.form != FORM_COLUMNS || (axis != 1 && axis != -2) || step != 1)
        return (view){0};
    start = start < 0 ? start + x.n : start;
    end = end < 0 ? end + x.n : end > x.n ? x.n : end;
    if (start < 0 || end <= start)
        return (view){0};
    x.first += start;
    x.n = end - start;
    return x;
}

static view see_reduce(const matcher *m, fl_id node, view x)
{
    const fl_node *n = &m->g->nodes[node];
    int64_t axis;
    uint32_t count = 0;
    if (x.form != FORM_COLUMNS || n->n_in < 2 || !fl_value_ints(m->g, n->in[1], &axis, 1, &count) || count != 1 ||
        (axis != 1 && axis != -2))
        return (view){0};
    x.form = fl_node_int(m->g, node, "keepdims", 1) ? FORM_KEPT : FORM_SUM;
    x.real = true;
    return x;
}

/* A view that drops the axis of one column: [B,1,K] -> [B,K]. */
static view see_reshape(const matcher *m, const fl_node *n, view x)
{
    const fl_type *from = fl_value_type(m->g, n->in[0]), *to = fl_value_type(m->g, n->out[0]);
    bool drops = from->rank == 3 && to->rank == 2 && to->dims[0] == from->dims[0] && to->dims[1] == from->dims[2];
    if (!drops || (x.form != FORM_KEPT && !(x.form == FORM_COLUMNS && x.n == 1)))
        return (view){0};
    x.form = FORM_SUM;
    return x;
}

/* Squares of single elements: of columns, or of a sum that is one column. */
static view see_square(view x)
{
    if (x.squared || x.form == FORM_NONE || (x.form != FORM_COLUMNS && x.n != 1 && !FL_PLANTED("fuse-field-pool")))
        return (view){0};
    x.squared = true;
    x.real = true;
    return x;
}

/* The sums that v adds up: v itself, or those of its operands where v is an Add or Sum that is none, such as one whose columns have a gap. */
static bool find_parts(const matcher *m, fl_id v, view *part, uint32_t *n, int depth)
{
    view x = view_of(m, v);
    fl_id id = fl_value_node(m->g, v);
    if (x.form == FORM_SUM) {
        if (*n == MAX_PARTS)
            return false;
        part[(*n)++] = x;
        return true;
    }
    if (id == FL_NONE || depth == MAX_PARTS || (m->g->nodes[id].op != FL_OP_ADD && m->g->nodes[id].op != FL_OP_SUM))
        return false;
    const fl_node *node = &m->g->nodes[id];
    for (uint32_t k = 0; k < node->n_in; k++)
        if (!find_parts(m, node->in[k], part, n, depth + 1))
            return false;
    return true;
}

/* A sum of sums: their columns, in any order and association, must be one run without gap or overlap. */
static view see_add(const matcher *m, const fl_node *node)
{
    view part[MAX_PARTS];
    uint32_t n = 0;
    if (!find_parts(m, node->out[0], part, &n, 0) || n == 0)
        return (view){0};
    view sum = part[0];
    int64_t low = sum.first, high = sum.first + sum.n, total = 0;
    for (uint32_t k = 0; k < n; k++) {
        view x = part[k];
        if (x.gather != sum.gather || x.squared != sum.squared)
            return (view){0};
        for (uint32_t j = 0; j < k; j++)
            if (x.first < part[j].first + part[j].n && part[j].first < x.first + x.n)
                return (view){0};
        low = x.first < low ? x.first : low;
        high = x.first + x.n > high ? x.first + x.n : high;
        total += x.n;
    }
    if (total != high - low)
        return (view){0};
    sum.first = low;
    sum.n = total;
    sum.real = true;
    return sum;
}

static void see(matcher *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    view x = n->n_in > 0 ? view_of(m, n->in[0]) : (view){0}, y = {0};
    double exponent;
    if (n->n_out == 0 || (n->op != FL_OP_SPLIT && n->n_out != 1) || n->out[0] == FL_NONE)
        return;
    if (n->op == FL_OP_GATHER)
        y = see_gather(m->g, node);
    else if (n->op == FL_OP_ADD || n->op == FL_OP_SUM)
        y = see_add(m, n);
    else if (x.form == FORM_NONE)
        return;
    else if (n->op == FL_OP_SPLIT)
        see_split(m, node, x);
    else if (n->op == FL_OP_SLICE)
        y = see_slice(m, n, x);
    else if (n->op == FL_OP_REDUCE_SUM)
        y = see_reduce(m, node, x);
    else if (n->op == FL_OP_RESHAPE || n->op == FL_OP_SQUEEZE)
        y = see_reshape(m, n, x);
    else if (n->op == FL_OP_IDENTITY)
        y = x;
    else if (n->op == FL_OP_MUL) {
        view other = view_of(m, n->in[1]);
        y = same_view(&x, &other) ? see_square(x) : y;
    } else if (n->op == FL_OP_POW && fl_value_scalar(m->g, n->in[1], &exponent) && exponent == 2)
        y = see_square(x);
    if (n->op != FL_OP_SPLIT)
        m->view[n->out[0]] = y;
}

/* wanted[v]: something that is no larger sum of ours reads v. */
static bool *find_wanted(const matcher *m, fl_arena *scratch)
{
    const fl_graph *g = m->g;
    bool *wanted = fl_arena_new(scratch, bool, m->n_values + 1u);
    for (fl_id i = 0; wanted && i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool ours = n->n_out > 0 && n->out[0] != FL_NONE && m->view[n->out[0]].form != FORM_NONE;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE && !ours)
                wanted[n->in[k]] = true;
    }
    for (uint32_t i = 0; wanted && i < g->n_outputs; i++)
        wanted[g->outputs[i]] = true;
    for (uint32_t i = 0; wanted && i < g->n_updates; i++)
        wanted[g->updates[i].next] = true;
    return wanted;
}

/* ------------------------------------------------------------------------------------------------- building */

/* The groups of one pool: group_at[column] is the group's length where one starts, else 0; taken marks its columns. */
typedef struct groups {
    int64_t *length;
    bool *taken;
    int64_t slots;
} groups;

static bool fits(const groups *gr, const view *x)
{
    if (gr->length[x->first] == x->n)
        return true;
    for (int64_t s = x->first; s < x->first + x->n; s++)
        if (gr->taken[s])
            return false;
    return true;
}

static void take(groups *gr, const view *x)
{
    gr->length[x->first] = x->n;
    for (int64_t s = x->first; s < x->first + x->n; s++)
        gr->taken[s] = true;
}

/*
 * One pool for the candidates in list[0, n) that fit together, sums first, then mere slices; those are replaced and left out
 * of the list.
 */
static fl_status build_pool(matcher *m, fl_rewriter *r, fl_id gather, fl_id *list, uint32_t *n_list, fl_pass_ctx *cx)
{
    fl_graph *g = m->g;
    int64_t slots = fl_value_type(g, g->nodes[gather].out[0])->dims[1];
    groups gr = {fl_arena_new(&cx->scratch, int64_t, (size_t)slots), fl_arena_new(&cx->scratch, bool, (size_t)slots), slots};
    int64_t *fields = fl_arena_new(&cx->scratch, int64_t, (size_t)slots), *index = fl_arena_new(&cx->scratch, int64_t, (size_t)slots);
    bool *chosen = fl_arena_new(&cx->scratch, bool, *n_list);
    if (!gr.length || !gr.taken || !fields || !index || !chosen)
        return fl_out_of_memory(cx->diag);
    bool squares = false;
    for (int mere = 0; mere < 2; mere++) {
        for (uint32_t k = 0; k < *n_list; k++) {
            const view *x = &m->view[list[k]];
            if (x->real == (mere != 0) || !fits(&gr, x))
                continue;
            take(&gr, x);
            chosen[k] = true;
            squares = squares || x->squared;
        }
    }
    uint32_t n_fields = 0;
    for (int64_t s = 0; s < slots; s += fields[n_fields++]) {
        /* Columns that no group has are a group of their own, whose sum nobody wants. */
        int64_t end = s + 1;
        while (!gr.taken[s] && end < slots && !gr.taken[end])
            end++;
        fields[n_fields] = gr.length[s] ? gr.length[s] : end - s;
        index[s] = n_fields;
    }
    fl_id in[2] = {g->nodes[gather].in[0], g->nodes[gather].in[1]};
    fl_id pool = fl_node_new(g, FL_OP_FIELD_POOL, "pool", in, 2, squares ? 2 * n_fields : n_fields);
    fl_node_set_ints(g, pool, "fields", fields, n_fields);
    if (squares)
        fl_node_set_int(g, pool, "squares", 1);
    fl_build_infer(g, pool);
    FL_TRY(fl_graph_ok(g, cx->diag));
    uint32_t rest = 0;
    for (uint32_t k = 0; k < *n_list; k++) {
        const view *x = &m->view[list[k]];
        uint32_t out = (uint32_t)index[x->first] + (x->squared ? n_fields : 0);
        if (!chosen[k])
            list[rest++] = list[k];
        else
            cx->n_changed += fl_rewriter_put(r, list[k], fl_node_out(g, pool, out));
    }
    *n_list = rest;
    return FL_OK;
}

/* Slices alone are no reason for a pool. */
static bool any_real(const matcher *m, const fl_id *list, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        if (m->view[list[k]].real)
            return true;
    return false;
}

fl_status fl_pass_fuse_field_pool(fl_graph *g, fl_pass_ctx *cx)
{
    matcher m = {g, fl_arena_new(&cx->scratch, view, g->n_values + 1u), g->n_values};
    fl_id *list = fl_arena_new(&cx->scratch, fl_id, g->n_values + 1u);
    fl_rewriter r;
    if (!m.view || !list || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    uint32_t n_nodes = g->n_nodes;
    for (fl_id i = 0; i < n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            see(&m, i);
    bool *wanted = find_wanted(&m, &cx->scratch);
    fl_id *first = fl_arena_new(&cx->scratch, fl_id, n_nodes + 1u), *next = fl_arena_new(&cx->scratch, fl_id, m.n_values + 1u); /* value + 1 */
    if (!wanted || !first || !next)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = m.n_values; v-- > 0;) /* sums of one look-up: a chain, ascending */
        if (m.view[v].form == FORM_SUM && wanted[v]) {
            next[v] = first[m.view[v].gather];
            first[m.view[v].gather] = v + 1;
        }
    for (fl_id i = 0; i < n_nodes; i++) {
        uint32_t n = 0;
        for (fl_id v = first[i]; v != 0; v = next[v - 1])
            list[n++] = v - 1;
        while (any_real(&m, list, n))
            FL_TRY(build_pool(&m, &r, i, list, &n, cx));
    }
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
