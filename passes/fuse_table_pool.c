/*
 * fuse_table_pool.c -- rows that are looked up in several tables, one for each slot, and met in a sum or a Concat, become one TablePool.
 *
 *   e_s = Gather(data_s, index_s)                       f, q = TablePool(data_0, index_0, data_1, index_1, ...)
 *   x = Concat(Unsqueeze(e_0), Unsqueeze(e_1), ...)     e_0, e_1, ... = TablePool <fields = [1, 1, ...]> (...)
 *   f = ReduceSum(x), q = ReduceSum(Mul(x, x))     ->   x = Reshape(Concat(e_0, e_1, ...))
 *   (and x is read by others)                           (only where others read it)
 *
 * This is how PyTorch and Keras say it, where a slot has a table of its own. As in fuse_field_pool.c, which takes sums over columns of one
 * index, a forward sweep describes each value that descends from look-ups: which columns, in which order its elements lie, squared or
 * not, summed or not. Views keep the order of elements, whatever their shapes, so that Unsqueeze, Reshape, torch.stack and torch.cat are all the
 * same. Operands of a Concat that are look-ups side by side are pooled even if others stand beside them.
 *
 * TablePool has no gradient: this pass is for prediction.
 * Needs ORDER and SHAPES, keeps SHAPES. O(values * columns), bounded by MAX_TOTAL.
 */
#include "passes/rewrite.h"

#include <string.h>

enum { MAX_COLUMNS = 4096, MAX_DEPTH = 4096, MAX_TOTAL = 1 << 20 };

typedef enum order {
    ORDER_NONE,
    ORDER_ROWS,  /* [B][n][K], the only one if n is 1; also of a sum, [B][K] */
    ORDER_OUTER, /* [n][B][K]: stacked in front */
    ORDER_INNER  /* [B][K][n]: stacked behind; with K 1 the same as ROWS */
} order;

typedef struct column {
    fl_id gather; /* the node */
    int64_t at;   /* column of its index */
} column;

typedef struct view {
    order order;
    bool summed, squared;
    bool real; /* something was added or squared: not a mere look-up */
    fl_dim batch;
    int64_t width;
    const column *columns;
    uint32_t n;
} view;

typedef struct matcher {
    fl_graph *g;
    fl_arena *scratch;
    view *view;    /* by value */
    bool *tainted; /* by value: computed from looked-up rows, so that an index made of it comes after a pool */
    uint32_t n_values, total;
} matcher;

/* -------------------------------------------------------------------------------------------------- extents */

/* A product of extents: n, or n times the symbol. */
typedef struct extent {
    fl_dim symbol; /* 0: none */
    int64_t n;
} extent;

static bool extent_of(const fl_type *t, int from, int to, extent *e)
{
    *e = (extent){0, 1};
    for (int d = from; d < to; d++) {
        if (!FL_DIM_IS_SYM(t->dims[d])) {
            if (t->dims[d] < 0 || __builtin_mul_overflow(e->n, t->dims[d], &e->n))
                return false;
        } else if (e->symbol != 0)
            return false;
        else
            e->symbol = t->dims[d];
    }
    return true;
}

static bool is_extent(const fl_type *t, int from, int to, fl_dim batch, int64_t times)
{
    extent e;
    if (!extent_of(t, from, to, &e))
        return false;
    return FL_DIM_IS_SYM(batch) ? e.symbol == batch && e.n == times : e.symbol == 0 && e.n == batch * times;
}

static int axis_of(const fl_graph *g, fl_id node, int rank)
{
    int64_t axis = fl_node_int(g, node, "axis", 0);
    axis = axis < 0 ? axis + rank : axis;
    return axis >= 0 && axis < rank ? (int)axis : -1;
}

/* ----------------------------------------------------------------------------------------------- descriptions */

static view view_of(const matcher *m, fl_id v)
{
    return v == FL_NONE || v >= m->n_values ? (view){0} : m->view[v];
}

static column *new_columns(matcher *m, uint32_t n)
{
    if (n > MAX_COLUMNS || m->total > MAX_TOTAL - n)
        return NULL;
    m->total += n;
    return fl_arena_new(m->scratch, column, n + 1u);
}

static bool alike(const view *a, const view *b)
{
    return a->batch == b->batch && a->width == b->width && a->squared == b->squared;
}

static bool same_view(const view *a, const view *b)
{
    return a->order == b->order && a->summed == b->summed && a->n == b->n && alike(a, b) && memcmp(a->columns, b->columns, a->n * sizeof *a->columns) == 0;
}

/* Gather of rows of a table by a vector, or by a matrix with a known number of columns. */
static view see_gather(matcher *m, fl_id node)
{
    const fl_graph *g = m->g;
    const fl_node *n = &g->nodes[node];
    const fl_type *data = fl_value_type(g, n->in[0]), *index = fl_value_type(g, n->in[1]);
    bool table = g->values[n->in[0]].kind == FL_VALUE_VARIABLE || g->values[n->in[0]].kind == FL_VALUE_CONSTANT;
    bool fits = table && data->dtype == FL_FLOAT && data->rank == 2 && data->dims[1] > 0 && fl_node_int(g, node, "axis", 0) == 0 &&
                (index->dtype == FL_INT64 || index->dtype == FL_INT32) && !m->tainted[n->in[1]];
    if (!fits || index->rank < 1 || index->rank > 2 || (index->rank == 2 && index->dims[1] < 1) || index->dims[0] == 0)
        return (view){0};
    int64_t columns = index->rank == 2 ? index->dims[1] : 1;
    column *list = columns <= MAX_COLUMNS ? new_columns(m, (uint32_t)columns) : NULL;
    if (!list)
        return (view){0};
    for (int64_t k = 0; k < columns; k++)
        list[k] = (column){node, k};
    return (view){.order = ORDER_ROWS, .batch = index->dims[0], .width = data->dims[1], .columns = list, .n = (uint32_t)columns};
}

/* Operands in[from, to) of a Concat, one list of columns; NULL if it would be too long. */
static view join(matcher *m, const fl_node *n, uint32_t from, uint32_t to, order o)
{
    view all = view_of(m, n->in[from]);
    uint32_t total = 0, at = 0;
    for (uint32_t k = from; k < to; k++)
        total = total > MAX_COLUMNS ? total : total + m->view[n->in[k]].n;
    column *list = new_columns(m, total);
    if (!list)
        return (view){0};
    for (uint32_t k = from; k < to; k++) {
        view x = m->view[n->in[k]];
        memcpy(list + at, x.columns, x.n * sizeof *list);
        at += x.n;
        all.real = all.real || x.real;
    }
    all.columns = list;
    all.n = total;
    all.order = o;
    return all;
}

static bool lies(const view *x, order o)
{
    return !x->summed && (x->order == o || (x->order == ORDER_ROWS && x->n == 1));
}

/* How the columns of operands in[from, to) lie in their Concat. */
static order joined_order(const matcher *m, fl_id node, uint32_t from, uint32_t to)
{
    const fl_node *n = &m->g->nodes[node];
    const fl_type *t = fl_value_type(m->g, n->out[0]);
    int axis = axis_of(m->g, node, t->rank);
    view first = view_of(m, n->in[from]);
    if (axis < 0 || first.order == ORDER_NONE)
        return ORDER_NONE;
    const fl_type *in = fl_value_type(m->g, n->in[from]);
    order o = is_extent(in, 0, axis, first.batch, 1) ? ORDER_ROWS
              : is_extent(in, 0, axis, 1, 1)         ? ORDER_OUTER
              : is_extent(in, 0, axis, first.batch, first.width) ? ORDER_INNER : ORDER_NONE;
    for (uint32_t k = from; k < to; k++) {
        view x = view_of(m, n->in[k]);
        if (x.order == ORDER_NONE || !alike(&x, &first) || !lies(&x, o))
            return ORDER_NONE;
    }
    return o;
}

static view see_concat(matcher *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    order o = n->n_in == 0 ? ORDER_NONE : joined_order(m, node, 0, n->n_in);
    return o == ORDER_NONE ? (view){0} : join(m, n, 0, n->n_in, o);
}

/* Columns [first, first + n) of x. */
static view part(view x, int64_t first, int64_t n)
{
    if (first < 0 || n < 1 || first + n > x.n)
        return (view){0};
    x.columns += first;
    x.n = (uint32_t)n;
    return x;
}

/* Elements [first, first + n) along `axis` of value v, if they are whole columns. */
static view see_part(const matcher *m, fl_id v, int axis, int64_t first, int64_t n)
{
    view x = view_of(m, v);
    const fl_type *t = fl_value_type(m->g, v);
    extent behind;
    if (x.order != ORDER_ROWS || x.summed || axis < 0 || !is_extent(t, 0, axis, x.batch, 1) || !extent_of(t, axis + 1, t->rank, &behind) || behind.symbol != 0 ||
        behind.n < 1 || x.width % behind.n != 0)
        return (view){0};
    int64_t each = x.width / behind.n; /* steps along the axis that make one column */
    return first % each == 0 && n % each == 0 ? part(x, first / each, n / each) : (view){0};
}

static void see_split(matcher *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    const fl_type *t = fl_value_type(m->g, n->in[0]);
    int axis = axis_of(m->g, node, t->rank);
    int64_t first = 0;
    for (uint32_t k = 0; axis >= 0 && k < n->n_out; k++) {
        if (n->out[k] == FL_NONE || fl_value_type(m->g, n->out[k])->rank != t->rank)
            return;
        int64_t size = fl_value_type(m->g, n->out[k])->dims[axis];
        if (FL_DIM_IS_SYM(size))
            return;
        m->view[n->out[k]] = see_part(m, n->in[0], axis, first, size);
        first += size;
    }
}

static view see_slice(const matcher *m, const fl_node *n)
{
    const fl_type *t = fl_value_type(m->g, n->in[0]);
    int64_t start, end, axis = 0, step = 1;
    uint32_t count = 0;
    bool known = fl_value_ints(m->g, n->in[1], &start, 1, &count) && count == 1 && fl_value_ints(m->g, n->in[2], &end, 1, &count);
    if (known && n->n_in > 3 && n->in[3] != FL_NONE)
        known = fl_value_ints(m->g, n->in[3], &axis, 1, &count);
    if (known && n->n_in > 4 && n->in[4] != FL_NONE)
        known = fl_value_ints(m->g, n->in[4], &step, 1, &count);
    axis = axis < 0 ? axis + t->rank : axis;
    if (!known || step != 1 || axis < 0 || axis >= t->rank || FL_DIM_IS_SYM(t->dims[axis]))
        return (view){0};
    int64_t size = t->dims[axis];
    start = start < 0 ? start + size : start;
    end = end < 0 ? end + size : end > size ? size : end;
    return start < 0 || end <= start ? (view){0} : see_part(m, n->in[0], (int)axis, start, end - start);
}

/* A sum along the columns; axes of one element change nothing. */
static view see_reduce(const matcher *m, const fl_node *n)
{
    const fl_type *t = fl_value_type(m->g, n->in[0]);
    view x = view_of(m, n->in[0]);
    int64_t axes[FL_MAX_RANK], axis = -1;
    uint32_t count = 0;
    if (n->n_in < 2 || !fl_value_ints(m->g, n->in[1], axes, FL_MAX_RANK, &count) || count == 0)
        return (view){0};
    for (uint32_t k = 0; k < count; k++) {
        int64_t a = axes[k] < 0 ? axes[k] + t->rank : axes[k];
        if (a < 0 || a >= t->rank || (t->dims[a] != 1 && axis >= 0))
            return (view){0};
        axis = t->dims[a] != 1 ? a : axis;
    }
    x.real = true;
    if (axis < 0)
        return x;
    int a = (int)axis;
    bool columns = !x.summed && t->dims[a] == x.n &&
                   (x.order == ORDER_ROWS    ? is_extent(t, 0, a, x.batch, 1)
                    : x.order == ORDER_OUTER ? is_extent(t, 0, a, 1, 1)
                                             : is_extent(t, 0, a, x.batch, x.width));
    if (!columns)
        return (view){0};
    x.summed = true;
    x.order = ORDER_ROWS;
    return x;
}

/* Squares of single elements: of columns, or of a sum that is one column. */
static view see_square(view x)
{
    if (x.squared || x.order == ORDER_NONE || (x.summed && x.n != 1))
        return (view){0};
    x.squared = true;
    x.real = true;
    return x;
}

static bool is_sum(const view *x)
{
    return x->order == ORDER_ROWS && (x->summed || x->n == 1);
}

/* The columns that v adds up, into list[*n ...]. */
static bool find_parts(const matcher *m, fl_id v, const view *like, column *list, uint32_t *n, int depth)
{
    view x = view_of(m, v);
    fl_id id = fl_value_node(m->g, v);
    if (is_sum(&x)) {
        if (!alike(&x, like) || *n + x.n > MAX_COLUMNS)
            return false;
        memcpy(list + *n, x.columns, x.n * sizeof *list);
        *n += x.n;
        return true;
    }
    if (id == FL_NONE || depth == MAX_DEPTH || (m->g->nodes[id].op != FL_OP_ADD && m->g->nodes[id].op != FL_OP_SUM))
        return false;
    for (uint32_t k = 0; k < m->g->nodes[id].n_in; k++)
        if (!find_parts(m, m->g->nodes[id].in[k], like, list, n, depth + 1))
            return false;
    return true;
}

static view see_add(matcher *m, const fl_node *n)
{
    view sum = view_of(m, n->in[0]);
    uint32_t total = 0, count = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        view x = view_of(m, n->in[k]);
        if (!is_sum(&x) || !alike(&x, &sum) || !fl_type_equal(fl_value_type(m->g, n->in[k]), fl_value_type(m->g, n->out[0])))
            return (view){0};
        total = total > MAX_COLUMNS ? total : total + x.n;
    }
    column *list = new_columns(m, total);
    if (!list)
        return (view){0};
    for (uint32_t k = 0; k < n->n_in; k++)
        if (!find_parts(m, n->in[k], &sum, list, &count, 0))
            return (view){0};
    sum.columns = list;
    sum.n = count;
    sum.summed = sum.real = true;
    return sum;
}

static void see(matcher *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    view x = n->n_in > 0 ? view_of(m, n->in[0]) : (view){0}, y = {0}, other;
    double exponent;
    bool tainted = false;
    for (uint32_t k = 0; k < n->n_in; k++)
        tainted = tainted || (n->in[k] != FL_NONE && m->tainted[n->in[k]]);
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            m->tainted[n->out[k]] = tainted;
    if (n->n_out == 0 || n->out[0] == FL_NONE || (n->op != FL_OP_SPLIT && n->n_out != 1))
        return;
    if (n->op == FL_OP_GATHER) {
        y = see_gather(m, node);
        m->tainted[n->out[0]] = tainted || y.order != ORDER_NONE;
    } else if (n->op == FL_OP_CONCAT)
        y = see_concat(m, node);
    else if (x.order == ORDER_NONE)
        return;
    else if (n->op == FL_OP_SPLIT)
        see_split(m, node);
    else if (n->op == FL_OP_SLICE)
        y = see_slice(m, n);
    else if (n->op == FL_OP_REDUCE_SUM)
        y = see_reduce(m, n);
    else if (n->op == FL_OP_ADD || n->op == FL_OP_SUM)
        y = see_add(m, n);
    else if (n->op == FL_OP_RESHAPE || n->op == FL_OP_SQUEEZE || n->op == FL_OP_UNSQUEEZE || n->op == FL_OP_FLATTEN || n->op == FL_OP_IDENTITY)
        y = x;
    else if (n->op == FL_OP_MUL) {
        other = view_of(m, n->in[1]);
        bool same = other.order != ORDER_NONE && same_view(&x, &other) && fl_type_equal(fl_value_type(m->g, n->in[0]), fl_value_type(m->g, n->in[1]));
        y = same ? see_square(x) : y;
    } else if (n->op == FL_OP_POW && fl_value_scalar(m->g, n->in[1], &exponent) && exponent == 2)
        y = see_square(x);
    if (n->op != FL_OP_SPLIT)
        m->view[n->out[0]] = y;
}

/* --------------------------------------------------------------------------------------------- what is asked for */

/* A value, or operands [from, to) of a Concat, to be replaced. */
typedef struct request {
    view view;
    fl_id value; /* FL_NONE: operands */
    fl_id node;
    uint32_t from, to;
    bool look_up; /* columns side by side, not their sum */
    bool done;
} request;

typedef struct requests {
    request *items;
    uint32_t n, capacity;
} requests;

static bool many_gathers(const view *x)
{
    for (uint32_t k = 1; k < x->n; k++)
        if (x->columns[k].gather != x->columns[0].gather)
            return true;
    return false;
}

/* The end of the stretch of look-ups that starts at operand `from` of a Concat that is none itself; `from` if there is none. */
static uint32_t stretch(const matcher *m, fl_id node, uint32_t from)
{
    uint32_t to = from;
    while (to < m->g->nodes[node].n_in && joined_order(m, node, from, to + 1) == ORDER_ROWS && !m->view[m->g->nodes[node].in[to]].squared)
        to++;
    return to;
}

/* Is v read by something that is not a larger view? Operands of stretches are asked for by themselves. */
static fl_status find_requests(matcher *m, requests *r, fl_diag *dg)
{
    const fl_graph *g = m->g;
    bool *wanted = fl_arena_new(m->scratch, bool, m->n_values + 1u);
    if (!wanted)
        return fl_out_of_memory(dg);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool ours = false;
        for (uint32_t k = 0; k < n->n_out; k++)
            ours = ours || (n->out[k] != FL_NONE && m->view[n->out[k]].order != ORDER_NONE);
        for (uint32_t k = 0; !ours && k < n->n_in;) {
            uint32_t end = n->op == FL_OP_CONCAT ? stretch(m, i, k) : k;
            view x = end > k + 1 ? join(m, n, k, end, ORDER_ROWS) : (view){0};
            if (x.order != ORDER_NONE && many_gathers(&x)) {
                request q = {.view = x, .value = FL_NONE, .node = i, .from = k, .to = end, .look_up = true};
                if (!FL_PUSH(m->scratch, r->items, r->n, r->capacity, q))
                    return fl_out_of_memory(dg);
                k = end;
                continue;
            }
            if (n->in[k] != FL_NONE)
                wanted[n->in[k]] = true;
            k++;
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        wanted[g->outputs[i]] = true;
    for (uint32_t i = 0; i < g->n_updates; i++)
        wanted[g->updates[i].next] = true;
    for (fl_id v = 0; v < m->n_values; v++) {
        view x = m->view[v];
        bool look_up = !x.summed && x.n > 1;
        if (!wanted[v] || x.order != ORDER_ROWS || (look_up && (x.squared || !many_gathers(&x))))
            continue;
        request q = {.view = x, .value = v, .look_up = look_up};
        if (!FL_PUSH(m->scratch, r->items, r->n, r->capacity, q))
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------- building */

/* A pool under way: fields of columns, and the operands that they need. */
typedef struct pool {
    column *columns;
    int64_t *fields;
    uint32_t n, n_fields, n_columns_max;
    bool squares;
} pool;

/* The index with the columns [at, at + n) of a gather's. */
static fl_id index_part(fl_graph *g, fl_id gather, int64_t at, int64_t n)
{
    fl_id index = g->nodes[gather].in[1];
    const fl_type *t = fl_value_type(g, index);
    if (t->rank == 1 || (at == 0 && n == t->dims[1]))
        return index;
    int64_t end = at + n, axis = 1;
    fl_id in[4] = {index, fl_build_ints(g, "start", &at, 1), fl_build_ints(g, "end", &end, 1), fl_build_ints(g, "axis", &axis, 1)};
    return fl_build_n(g, FL_OP_SLICE, "index", in, 4);
}

static fl_id build_pool(matcher *m, const pool *p)
{
    fl_graph *g = m->g;
    fl_id *in = fl_arena_new(m->scratch, fl_id, 2u * p->n + 1u);
    uint32_t n_in = 0;
    if (!in)
        return FL_NONE;
    for (uint32_t k = 0; k < p->n;) {
        column first = p->columns[k];
        uint32_t run = 1;
        while (k + run < p->n && p->columns[k + run].gather == first.gather && p->columns[k + run].at == first.at + run)
            run++;
        in[n_in++] = g->nodes[first.gather].in[0];
        in[n_in++] = index_part(g, first.gather, first.at, run);
        k += run;
    }
    fl_id node = fl_node_new(g, FL_OP_TABLE_POOL, "pool", in, n_in, p->squares ? 2 * p->n_fields : p->n_fields);
    fl_node_set_ints(g, node, "fields", p->fields, p->n_fields);
    if (p->squares)
        fl_node_set_int(g, node, "squares", 1);
    fl_build_infer(g, node);
    return node;
}

/* x [B,...] under the type `to`, which has the same elements. */
static fl_id shaped(fl_graph *g, fl_id x, const fl_type *to)
{
    int64_t dims[FL_MAX_RANK];
    if (fl_type_equal(fl_value_type(g, x), to))
        return x;
    for (int d = 0; d < to->rank; d++)
        dims[d] = FL_DIM_IS_SYM(to->dims[d]) ? -1 : to->dims[d];
    return fl_build_reshape(g, "shaped", x, dims, (uint32_t)to->rank);
}

/* Puts x in the place of operands [from, to) of a Concat; the others are left out until close_gaps. */
static void replace_operands(fl_graph *g, const request *q, fl_id x)
{
    fl_node *n = &g->nodes[q->node];
    fl_type type = *fl_value_type(g, n->in[q->from]);
    int axis = axis_of(g, q->node, type.rank);
    type.dims[axis] = 0;
    for (uint32_t k = q->from; k < q->to; k++)
        type.dims[axis] += fl_value_type(g, n->in[k])->dims[axis];
    x = shaped(g, x, &type);
    n = &g->nodes[q->node];
    n->in[q->from] = x;
    for (uint32_t k = q->from + 1; k < q->to; k++)
        n->in[k] = FL_NONE;
}

static void close_gaps(fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_node *n = &g->nodes[i];
        uint32_t rest = 0;
        for (uint32_t k = 0; n->op == FL_OP_CONCAT && k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                n->in[rest++] = n->in[k];
        n->n_in = n->op == FL_OP_CONCAT ? (uint16_t)rest : n->n_in;
    }
}

static void fulfil(matcher *m, fl_rewriter *r, request *q, fl_id x, fl_pass_ctx *cx)
{
    q->done = true;
    if (x == FL_NONE)
        return;
    if (q->value == FL_NONE) {
        replace_operands(m->g, q, x);
        cx->n_changed++;
    } else {
        cx->n_changed += fl_rewriter_put(r, q->value, shaped(m->g, x, fl_value_type(m->g, q->value)));
    }
}

static bool same_columns(const view *a, const view *b)
{
    return a->n == b->n && a->batch == b->batch && a->width == b->width && memcmp(a->columns, b->columns, a->n * sizeof *a->columns) == 0;
}

/* All requests for these columns side by side: one pool of fields of one column, joined. */
static fl_status build_look_up(matcher *m, fl_rewriter *r, requests *all, uint32_t first, fl_pass_ctx *cx)
{
    view x = all->items[first].view;
    pool p = {.fields = fl_arena_new(m->scratch, int64_t, x.n + 1u), .n = x.n, .n_fields = x.n, .columns = fl_arena_new(m->scratch, column, x.n + 1u)};
    fl_id *e = fl_arena_new(m->scratch, fl_id, x.n + 1u);
    if (!p.fields || !p.columns || !e)
        return fl_out_of_memory(cx->diag);
    memcpy(p.columns, x.columns, x.n * sizeof *p.columns);
    for (uint32_t k = 0; k < x.n; k++)
        p.fields[k] = 1;
    fl_id node = build_pool(m, &p);
    for (uint32_t k = 0; k < x.n; k++)
        e[k] = fl_node_out(m->g, node, k);
    fl_id joined = fl_build_concat(m->g, "rows", e, x.n, 1);
    FL_TRY(fl_graph_ok(m->g, cx->diag));
    for (uint32_t k = first; k < all->n; k++)
        if (!all->items[k].done && all->items[k].look_up && same_columns(&all->items[k].view, &x))
            fulfil(m, r, &all->items[k], joined, cx);
    return fl_graph_ok(m->g, cx->diag);
}

/* The field of these columns in a pool under way, which gets it if it has none. */
static uint32_t field_of(pool *p, const view *x)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < p->n_fields; at += (uint32_t)p->fields[i++])
        if (p->fields[i] == x->n && memcmp(p->columns + at, x->columns, x->n * sizeof *x->columns) == 0)
            return i;
    if (p->n + x->n > p->n_columns_max)
        return UINT32_MAX;
    memcpy(p->columns + p->n, x->columns, x->n * sizeof *x->columns);
    p->n += x->n;
    p->fields[p->n_fields] = x->n;
    return p->n_fields++;
}

/* All requests for sums of the same width, as fields of one pool; look-ups of one column go with them. */
static fl_status build_sums(matcher *m, fl_rewriter *r, requests *all, uint32_t first, fl_pass_ctx *cx)
{
    view x = all->items[first].view;
    uint32_t *field = fl_arena_new(m->scratch, uint32_t, all->n);
    pool p = {.fields = fl_arena_new(m->scratch, int64_t, MAX_COLUMNS), .columns = fl_arena_new(m->scratch, column, MAX_COLUMNS), .n_columns_max = MAX_COLUMNS};
    bool real = false;
    if (!field || !p.fields || !p.columns)
        return fl_out_of_memory(cx->diag);
    for (uint32_t k = first; k < all->n; k++) {
        request *q = &all->items[k];
        field[k] = UINT32_MAX;
        if (q->done || q->look_up || q->view.batch != x.batch || q->view.width != x.width)
            continue;
        q->done = true;
        field[k] = field_of(&p, &q->view);
        p.squares = p.squares || (field[k] != UINT32_MAX && q->view.squared);
        real = real || (q->view.real && q->view.n > 1);
    }
    if (!real) /* look-ups alone, and their squares */
        return FL_OK;
    fl_id node = build_pool(m, &p);
    FL_TRY(fl_graph_ok(m->g, cx->diag));
    for (uint32_t k = first; k < all->n; k++)
        if (field[k] != UINT32_MAX)
            fulfil(m, r, &all->items[k], fl_node_out(m->g, node, field[k] + (all->items[k].view.squared ? p.n_fields : 0)), cx);
    return fl_graph_ok(m->g, cx->diag);
}

fl_status fl_pass_fuse_table_pool(fl_graph *g, fl_pass_ctx *cx)
{
    matcher m = {.g = g, .scratch = &cx->scratch, .n_values = g->n_values};
    m.view = fl_arena_new(&cx->scratch, view, g->n_values + 1u);
    m.tainted = fl_arena_new(&cx->scratch, bool, g->n_values + 1u);
    requests all = {0};
    fl_rewriter r;
    if (!m.view || !m.tainted || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            see(&m, i);
    FL_TRY(find_requests(&m, &all, cx->diag));
    for (uint32_t k = 0; k < all.n; k++)
        if (!all.items[k].done && all.items[k].look_up)
            FL_TRY(build_look_up(&m, &r, &all, k, cx));
    for (uint32_t k = 0; k < all.n; k++)
        if (!all.items[k].done)
            FL_TRY(build_sums(&m, &r, &all, k, cx));
    if (cx->n_changed == 0)
        return FL_OK;
    close_gaps(g);
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
