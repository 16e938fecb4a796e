#include "passes/columns.h"

#include "passes/rewrite.h"

/* Beyond these a value is not taken apart. Visits are bounded because sums of sums could be visited along exponentially many paths. */
enum { MAX_DEPTH = 64, MAX_PIECES = 8192, MAX_VISITS = 1 << 16 };

/* ------------------------------------------------------------------------------------------------- collecting */

static void put(const fl_columns *c, fl_pieces *out, fl_piece p)
{
    if (out->n == out->room) {
        uint32_t room = out->room ? 2 * out->room : 16;
        fl_piece *list = room <= MAX_PIECES ? fl_arena_new(c->scratch, fl_piece, room) : NULL;
        if (!list) {
            out->failed = true;
            return;
        }
        for (uint32_t i = 0; i < out->n; i++)
            list[i] = out->list[i];
        out->list = list;
        out->room = room;
    }
    out->list[out->n++] = p;
}

/* Elements of a row of x, or of dimensions [first, rank); -1 if unknown. */
static int64_t elements_from(const fl_type *t, int first)
{
    int64_t n = 1;
    for (int d = first; d < t->rank; d++)
        if (t->dims[d] < 0 || __builtin_mul_overflow(n, t->dims[d], &n))
            return -1;
    return t->rank >= 1 ? n : -1;
}

typedef struct range {
    int64_t from, n, at; /* columns [from, from + n) of a value are columns from `at` on of x */
} range;

static void take(const fl_columns *c, fl_id x, range r, fl_pieces *out, int depth);

static void take_rest(const fl_columns *c, fl_id x, range r, fl_pieces *out)
{
    put(c, out, (fl_piece){.kind = FL_PIECE_REST, .at = r.at, .n = r.n, .value = x, .from = r.from});
}

static bool fits(const fl_columns *c, const fl_piece *p)
{
    return !c->fits || c->fits(c->g, p, c->arg);
}

/* The axis of a Concat, Split or Slice that moves columns: the second, or a later one behind extents of 1. */
static bool moves_columns(const fl_type *t, int64_t axis)
{
    axis = axis < 0 ? axis + t->rank : axis;
    for (int64_t d = 1; d < axis && d < t->rank; d++)
        if (t->dims[d] != 1)
            return false;
    return axis >= 1 && axis < t->rank;
}

static bool take_concat(const fl_columns *c, fl_id node, range r, fl_pieces *out, int depth)
{
    const fl_node *n = &c->g->nodes[node];
    int64_t begin = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const fl_type *t = fl_value_type(c->g, n->in[k]);
        if (!moves_columns(t, fl_node_int(c->g, node, "axis", 0)) || elements_from(t, 1) < 0)
            return false;
    }
    for (uint32_t k = 0; k < n->n_in; k++) {
        int64_t end = begin + elements_from(fl_value_type(c->g, n->in[k]), 1);
        int64_t from = r.from > begin ? r.from : begin, to = r.from + r.n < end ? r.from + r.n : end;
        if (from < to)
            take(c, n->in[k], (range){from - begin, to - from, r.at + from - r.from}, out, depth);
        begin = end;
    }
    return true;
}

static bool take_split(const fl_columns *c, fl_id node, fl_id x, range r, fl_pieces *out, int depth)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_type *t = fl_value_type(c->g, n->in[0]);
    if (!moves_columns(t, fl_node_int(c->g, node, "axis", 0)))
        return false;
    for (uint32_t k = 0; k < n->n_out && n->out[k] != x; k++) {
        int64_t width = n->out[k] == FL_NONE ? -1 : elements_from(fl_value_type(c->g, n->out[k]), 1);
        if (width < 0)
            return false;
        r.from += width;
    }
    take(c, n->in[0], r, out, depth);
    return true;
}

static bool take_slice(const fl_columns *c, fl_id node, range r, fl_pieces *out, int depth)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_type *t = fl_value_type(c->g, n->in[0]);
    int64_t start, end, axis = 0, step = 1;
    uint32_t count = 0;
    bool known = fl_value_ints(c->g, n->in[1], &start, 1, &count) && count == 1 && fl_value_ints(c->g, n->in[2], &end, 1, &count);
    if (known && n->n_in > 3 && n->in[3] != FL_NONE)
        known = fl_value_ints(c->g, n->in[3], &axis, 1, &count);
    if (known && n->n_in > 4 && n->in[4] != FL_NONE)
        known = fl_value_ints(c->g, n->in[4], &step, 1, &count);
    if (!known || step != 1 || !moves_columns(t, axis))
        return false;
    axis = axis < 0 ? axis + t->rank : axis;
    start = start < 0 ? start + t->dims[axis] : start;
    int64_t inner = elements_from(t, (int)axis + 1);
    if (start < 0 || inner < 0)
        return false;
    r.from += start * inner;
    take(c, n->in[0], r, out, depth);
    return true;
}

/* Columns of a Gather of rows: whole rows only. */
static bool take_gather(const fl_columns *c, fl_id node, range r, fl_pieces *out)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_type *t = fl_value_type(c->g, n->in[0]), *i = fl_value_type(c->g, n->in[1]);
    int64_t k = t->rank == 2 ? t->dims[1] : 0, axis = fl_node_int(c->g, node, "axis", 0);
    bool single = i->rank == 1 || (i->rank == 2 && i->dims[1] > 0);
    if (k <= 0 || !single || (axis != 0 && axis != -2) || r.from % k != 0 || r.n % k != 0)
        return false;
    fl_piece p = {.kind = FL_PIECE_LOOK_UP, .n = k, .value = n->out[0], .table = n->in[0], .index = n->in[1], .node = node, .look_ups = 1};
    if (!fits(c, &p))
        return false;
    for (int64_t at = 0; at < r.n; at += k) {
        p.at = r.at + at;
        p.from = r.from + at;
        p.column = p.from / k;
        put(c, out, p);
    }
    return true;
}

/* A field's sum: one weight for all its slots. */
static bool take_pool(const fl_columns *c, fl_id node, fl_id x, range r, fl_pieces *out)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_attr *fields = fl_node_attr(c->g, node, "fields");
    int64_t k = fl_value_type(c->g, x)->dims[1], first = 0;
    uint32_t m = 0;
    while (m < fields->n && n->out[m] != x)
        first += fields->as.ints[m++];
    if (m == fields->n || r.from != 0 || r.n != k || !c->through_sums) /* sums of squares come behind the sums */
        return false;
    fl_piece p = {.kind = FL_PIECE_LOOK_UP, .at = r.at, .n = k, .value = x, .table = n->in[0], .index = n->in[1], .node = node,
                  .look_ups = fields->as.ints[m]};
    if (!fits(c, &p))
        return false;
    for (int64_t s = 0; s < fields->as.ints[m]; s++) {
        p.column = first + s;
        put(c, out, p);
    }
    return true;
}

/* A sum over columns of several indices. */
static bool take_table_pool(const fl_columns *c, fl_id node, fl_id x, range r, fl_pieces *out)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_attr *fields = fl_node_attr(c->g, node, "fields");
    int64_t k = fl_value_type(c->g, x)->dims[1], first = 0, column = 0;
    uint32_t m = 0, mark = out->n;
    while (m < fields->n && n->out[m] != x)
        first += fields->as.ints[m++];
    if (m == fields->n || r.from != 0 || r.n != k || (!c->through_sums && fields->as.ints[m] > 1))
        return false;
    for (uint32_t t = 0; t < fl_look_ups(n); t++) {
        const fl_type *i = fl_value_type(c->g, n->in[2 * t + 1]);
        fl_piece p = {.kind = FL_PIECE_LOOK_UP, .at = r.at, .n = k, .value = x, .table = n->in[2 * t], .index = n->in[2 * t + 1], .node = node,
                      .look_ups = fields->as.ints[m]};
        for (int64_t s = 0; s < (i->rank == 2 ? i->dims[1] : 1); s++, column++) {
            if (column < first || column >= first + fields->as.ints[m])
                continue;
            p.column = s;
            if (!fits(c, &p)) {
                out->n = mark;
                return false;
            }
            put(c, out, p);
        }
    }
    return true;
}

static bool take_bag(const fl_columns *c, fl_id node, range r, fl_pieces *out)
{
    const fl_node *n = &c->g->nodes[node];
    fl_piece p = {.kind = FL_PIECE_BAG, .at = r.at, .n = r.n, .value = n->out[0], .table = n->in[0], .index = n->in[1], .node = node, .look_ups = 1};
    if (r.from != 0 || r.n != fl_value_type(c->g, n->out[0])->dims[1] || !fits(c, &p))
        return false;
    put(c, out, p);
    return true;
}

static bool take_add(const fl_columns *c, fl_id node, fl_id x, range r, fl_pieces *out, int depth)
{
    const fl_node *n = &c->g->nodes[node];
    const fl_type *t = fl_value_type(c->g, x);
    uint32_t mark = out->n;
    if (!c->through_sums || t->rank != 2)
        return false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const fl_type *a = fl_value_type(c->g, n->in[k]);
        bool vector = a->rank == 1 && a->dims[0] == t->dims[1] && n->in[k] < c->n_values && c->weights[n->in[k]];
        if (vector)
            put(c, out, (fl_piece){.kind = FL_PIECE_VECTOR, .at = r.at, .n = r.n, .value = n->in[k], .from = r.from});
        else if (a->rank == 2 && a->dims[0] == t->dims[0] && a->dims[1] == t->dims[1])
            take(c, n->in[k], r, out, depth);
        else
            take_rest(c, n->in[k], r, out);
    }
    bool whole = true;
    for (uint32_t i = mark; i < out->n; i++)
        whole = whole && out->list[i].kind != FL_PIECE_REST;
    if (!whole)
        out->n = mark;
    return whole;
}

static bool is_view(const fl_graph *g, fl_id node)
{
    fl_op op = g->nodes[node].op;
    if (op != FL_OP_RESHAPE && op != FL_OP_FLATTEN && op != FL_OP_SQUEEZE && op != FL_OP_UNSQUEEZE && op != FL_OP_IDENTITY)
        return false;
    const fl_type *from = fl_value_type(g, g->nodes[node].in[0]), *to = fl_value_type(g, g->nodes[node].out[0]);
    return from->rank >= 1 && to->rank >= 1 && from->dims[0] == to->dims[0] && elements_from(from, 1) == elements_from(to, 1);
}

static void take(const fl_columns *c, fl_id x, range r, fl_pieces *out, int depth)
{
    const fl_graph *g = c->g;
    fl_id node = fl_value_node(g, x);
    bool seen = false;
    if (out->failed || ++out->visits > MAX_VISITS) {
        out->failed = true;
        return;
    }
    uint32_t mark = out->n;
    if (node == FL_NONE || depth == MAX_DEPTH)
        seen = false;
    else if (is_view(g, node)) {
        take(c, g->nodes[node].in[0], r, out, depth + 1);
        seen = true;
    } else if (g->nodes[node].op == FL_OP_CONCAT)
        seen = take_concat(c, node, r, out, depth + 1);
    else if (g->nodes[node].op == FL_OP_SPLIT)
        seen = take_split(c, node, x, r, out, depth + 1);
    else if (g->nodes[node].op == FL_OP_SLICE)
        seen = take_slice(c, node, r, out, depth + 1);
    else if (g->nodes[node].op == FL_OP_GATHER)
        seen = take_gather(c, node, r, out);
    else if (g->nodes[node].op == FL_OP_FIELD_POOL)
        seen = take_pool(c, node, x, r, out);
    else if (g->nodes[node].op == FL_OP_TABLE_POOL)
        seen = take_table_pool(c, node, x, r, out);
    else if (g->nodes[node].op == FL_OP_EMBEDDING_BAG)
        seen = take_bag(c, node, r, out);
    else if (g->nodes[node].op == FL_OP_ADD || g->nodes[node].op == FL_OP_SUM)
        seen = take_add(c, node, x, r, out, depth + 1);
    /* What moves nothing but a rest is read as it stands: another Concat of its parts would be no gain. */
    bool rest = seen && out->n > mark;
    for (uint32_t i = mark; rest && i < out->n; i++)
        rest = out->list[i].kind == FL_PIECE_REST;
    if (!seen || rest) {
        out->n = mark;
        take_rest(c, x, r, out);
    }
}

void fl_pieces_join_rests(fl_pieces *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < out->n; i++) {
        const fl_piece p = out->list[i];
        fl_piece *last = n > 0 ? &out->list[n - 1] : NULL;
        bool next = last && p.kind == FL_PIECE_REST && last->kind == FL_PIECE_REST && last->value == p.value &&
                    last->from + last->n == p.from && last->at + last->n == p.at;
        if (next)
            last->n += p.n;
        else
            out->list[n++] = p;
    }
    out->n = n;
}

bool fl_columns_of(const fl_columns *c, fl_id x, fl_pieces *out)
{
    const fl_type *t = fl_value_type(c->g, x);
    int64_t width = t->rank >= 2 ? elements_from(t, 1) : -1;
    *out = (fl_pieces){0};
    if (width <= 0)
        return false;
    take(c, x, (range){0, width, 0}, out, 0);
    fl_pieces_join_rests(out);
    return !out->failed;
}

bool fl_is_plain_product(const fl_graph *g, fl_id node)
{
    fl_op op = g->nodes[node].op;
    if (op == FL_OP_MATMUL)
        return true;
    return op == FL_OP_GEMM && fl_node_int(g, node, "transA", 0) == 0 && fl_node_int(g, node, "transB", 0) == 0 &&
           fl_node_float(g, node, "alpha", 1) == 1 && fl_node_float(g, node, "beta", 1) == 1;
}

bool *fl_find_weights(const fl_graph *g, fl_arena *scratch)
{
    bool *weights = fl_arena_new(scratch, bool, g->n_values + 1);
    for (uint32_t i = 0; weights && i < g->n_variables; i++)
        weights[g->variables[i]] = true;
    for (fl_id i = 0; weights && i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool all = n->op == FL_OP_CONSTANT || (n->op != FL_OP_NOP && n->n_in > 0 && fl_op_has(n->op, FL_PURE));
        for (uint32_t k = 0; k < n->n_in; k++)
            all = all && (n->in[k] == FL_NONE || weights[n->in[k]]);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                weights[n->out[k]] = all;
    }
    return weights;
}

/* ---------------------------------------------------------------------------------------------------- building */

static fl_id build_slice(fl_graph *g, fl_id x, int64_t from, int64_t n, int64_t axis)
{
    int64_t end = from + n;
    return fl_build_n(g, FL_OP_SLICE, g->values[x].name,
                      (fl_id[]){x, fl_build_ints(g, "start", &from, 1), fl_build_ints(g, "end", &end, 1), fl_build_ints(g, "axis", &axis, 1)}, 4);
}

fl_id fl_build_rows(fl_graph *g, fl_id w, int64_t from, int64_t n)
{
    return from == 0 && n == fl_value_type(g, w)->dims[0] ? w : build_slice(g, w, from, n, 0);
}

fl_id fl_build_columns(fl_graph *g, fl_id x, int64_t from, int64_t n)
{
    return from == 0 && n == fl_value_type(g, x)->dims[1] ? x : build_slice(g, x, from, n, 1);
}

/* Columns of a value as a matrix. */
static fl_id build_columns(fl_graph *g, const fl_piece *p)
{
    const fl_type *t = fl_value_type(g, p->value);
    int64_t width = elements_from(t, 1);
    fl_id x = t->rank == 2 ? p->value : fl_build_reshape(g, g->values[p->value].name, p->value, (int64_t[]){-1, width}, 2);
    return fl_build_columns(g, x, p->from, p->n);
}

void fl_build_rest(fl_graph *g, const fl_pieces *pieces, fl_id w, fl_arena *scratch, fl_id *x_rest, fl_id *w_rest)
{
    fl_id *x = fl_arena_new(scratch, fl_id, pieces->n + 1), *rows = fl_arena_new(scratch, fl_id, pieces->n + 1);
    uint32_t n = 0;
    *x_rest = *w_rest = FL_NONE;
    for (uint32_t i = 0; x && rows && i < pieces->n; i++) {
        const fl_piece *p = &pieces->list[i];
        if (p->kind != FL_PIECE_REST)
            continue;
        x[n] = build_columns(g, p);
        rows[n++] = fl_build_rows(g, w, p->at, p->n);
    }
    if (n == 0)
        return;
    *x_rest = n == 1 ? x[0] : fl_build_concat(g, "rest", x, n, 1);
    *w_rest = n == 1 ? rows[0] : fl_build_concat(g, "rest.w", rows, n, 0);
}
