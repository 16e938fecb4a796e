/*
 * verify_memory.c -- where values lie: is there memory for all of each, and does nothing lie in it that is needed too?
 *
 * Values are *written* by nodes that compute, by Concat and by views that are copies; a view that lies where its operand's elements lie is no writer but another name. Written
 * values share memory in two ways only: an operand of Concat is made inside of the result, and a new value is written over the old one of a variable. All else
 * that overlaps is an error, whatever the lives: buffers of disjoint lives may share memory too, but that is the runtime's doing, which knows extents, and it
 * goes by the lives that the plan tells.
 */
#include "ir/rows.h"
#include "ir/schedule.h"
#include "ir/shape.h"
#include "ir/verify_parts.h"

#include <stdlib.h>
#include <string.h>

/* The bytes of a value: `rows` times `width` bytes, `stride` apart, from `begin` of its memory on. */
typedef struct region {
    fl_id value;
    uint32_t memory;        /* buffer, or n_buffers + segment for scratch */
    uint32_t lines;         /* scratch of slots: so many lines of each row lie before */
    int64_t begin, width, stride;
    int64_t rows;           /* INT64_MAX: as many as a run has */
    bool of_buffer;         /* the stride is known at run time only */
} region;

typedef struct memory {
    fl_check *c;
    const fl_graph *g;
    const fl_schedule *s;
    const fl_check_times *t;
    fl_arena *scratch;
    fl_id *root;   /* [n_values] the written value that a chain of views without code shows; itself for written ones */
    fl_id *inside; /* [n_values] result of Concat that the value is made inside of; FL_NONE */
    fl_id *over;   /* [n_values] the value that it is written over; FL_NONE */
    /* Reads of v or of a view of it: node reader[i], operand[i], for i = first_use[v], next_use[i], ...; numbers + 1, 0 ends. */
    uint32_t *first_use, *next_use;
    fl_id *reader;
    uint16_t *operand;
} memory;

static const char *name_of(const memory *m, fl_id v)
{
    return m->g->values[v].name;
}

static const char *op_name(const memory *m, fl_id node)
{
    return fl_op_get(m->g->nodes[node].op)->name;
}

static bool is_one_row(const fl_type *t)
{
    return t->rank == 0 || (t->rank == 1 && !FL_DIM_IS_SYM(t->dims[0]));
}

/* Elements of one row; -1 if only a run knows, or if no memory has so many. */
static int64_t row_elements(const fl_type *t)
{
    int64_t n = is_one_row(t) ? t->rank == 0 ? 1 : t->dims[0] : 1;
    for (int d = 1; d < t->rank; d++)
        if (FL_DIM_IS_SYM(t->dims[d]) || __builtin_mul_overflow(n, t->dims[d], &n))
            return -1;
    return n <= INT64_MAX / 32 ? n : -1;
}

static bool has_place(const memory *m, fl_id v)
{
    return m->s->storage[v].kind != FL_STORAGE_NONE;
}

/* The segment whose scratch a value lies in; UINT32_MAX if nobody makes it. */
static uint32_t segment_of(const memory *m, fl_id v)
{
    fl_id node = fl_value_node(m->g, v);
    return node == FL_NONE ? UINT32_MAX : m->t->segment[node];
}

static region region_of(const memory *m, fl_id v)
{
    const fl_type *t = fl_value_type(m->g, v);
    const fl_storage *st = &m->s->storage[v];
    int64_t size = (int64_t)fl_dtype_place(t->dtype), width = row_elements(t);
    bool one = is_one_row(t), scratch = st->kind == FL_STORAGE_SCRATCH;
    bool slot = scratch && segment_of(m, v) != UINT32_MAX && m->s->segments[segment_of(m, v)].domain == FL_DOMAIN_SLOTS;
    region r = {.value = v, .memory = scratch ? m->s->n_buffers + segment_of(m, v) : st->buffer, .begin = st->offset * size, .width = width * size};

    r.lines = slot ? st->buffer : 0;
    if (st->row_stride == FL_STRIDE_DENSE) { /* all of its buffer */
        r.rows = INT64_MAX;
        r.width = r.stride = size;
        r.of_buffer = true;
        return r;
    }
    r.rows = one ? 1 : scratch && !slot ? FL_TILE_ROWS : FL_DIM_IS_SYM(t->dims[0]) ? INT64_MAX : t->dims[0];
    r.of_buffer = !one && st->row_stride < 0; /* by columns: rows are anywhere, too */
    r.stride = one || r.of_buffer ? r.width : st->row_stride * size;
    return r;
}

/* The byte behind the last; INT64_MAX: as far as a run has rows. */
static int64_t end_of(const region *r)
{
    int64_t end;
    if (r->rows == 0)
        return r->begin;
    if (r->of_buffer || r->rows == INT64_MAX || __builtin_mul_overflow(r->rows - 1, r->stride, &end) || __builtin_add_overflow(end, r->begin + r->width, &end))
        return INT64_MAX;
    return end;
}

/* Lines that a row of a slot takes, at its stride. */
static uint32_t lines_of(const region *r)
{
    return (uint32_t)((r->stride + FL_SCRATCH_LINE - 1) / FL_SCRATCH_LINE);
}

static bool meet(const region *a, const region *b)
{
    if (a->memory == b->memory && a->lines != b->lines)
        return a->lines < b->lines + lines_of(b) && b->lines < a->lines + lines_of(a);
    if (a->memory != b->memory || a->width == 0 || b->width == 0 || end_of(a) <= b->begin || end_of(b) <= a->begin)
        return false;
    if (a->of_buffer != b->of_buffer || (!a->of_buffer && a->stride != b->stride) || a->rows == 1 || b->rows == 1 || a->stride <= 0)
        return a->rows != 0 && b->rows != 0;
    if (a->of_buffer)
        return a->begin < b->begin + b->width && b->begin < a->begin + a->width;
    /* Rows of the same stride lie side by side if what follows a row of one leaves room for a row of the other. */
    int64_t after = (b->begin - a->begin) % a->stride;
    after = after < 0 ? after + a->stride : after;
    return after < a->width || after + b->width > a->stride;
}

/* ---------------------------------------------------------------------------------------------------------------- places */

static void check_leaf(memory *m, fl_id v, fl_buffer_kind kind)
{
    const fl_storage *st = &m->s->storage[v];
    if (st->kind != FL_STORAGE_BUFFER || st->buffer >= m->s->n_buffers || m->s->buffers[st->buffer].kind != kind || m->s->buffers[st->buffer].value != v || st->offset != 0)
        fl_check_breaks(m->c, FL_VERIFY_LEAVES, FL_NONE, "\"%s\" does not lie at the start of a buffer of its own and of its kind", name_of(m, v));
}

/* Places that exist, of whatever is read from memory. Constants that are part of the code have none. */
static void check_places(memory *m)
{
    const fl_graph *g = m->g;

    for (fl_id v = 0; v < g->n_values; v++) {
        const fl_storage *st = &m->s->storage[v];
        if (g->values[v].name && st->kind == FL_STORAGE_BUFFER && st->buffer >= m->s->n_buffers)
            fl_check_breaks(m->c, FL_VERIFY_PLACES, fl_value_node(g, v), "\"%s\" lies in a buffer that does not exist", name_of(m, v));
        else if (g->values[v].name && st->kind != FL_STORAGE_NONE && st->row_stride != FL_STRIDE_DENSE && (fl_value_type(g, v)->rank < 0 || row_elements(fl_value_type(g, v)) < 0))
            fl_check_breaks(m->c, FL_VERIFY_PLACES, fl_value_node(g, v), "\"%s\" has a place, but no row of known size", name_of(m, v));
    }
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k];
            bool by_columns = v != FL_NONE && has_place(m, v) && m->s->storage[v].row_stride == FL_STRIDE_COLUMNS;
            if (by_columns && !(k == 1 && (g->nodes[i].op == FL_OP_GATHER || g->nodes[i].op == FL_OP_FIELD_POOL)))
                fl_check_breaks(m->c, FL_VERIFY_PLACES, i, "node \"%s\" (%s) reads \"%s\", which lies by columns, as the index of a look-up may", fl_node_label(g, i),
                                op_name(m, i), name_of(m, v));
            if (v != FL_NONE && !has_place(m, v) && fl_value_is(g, v, FL_OP_CONSTANT) == FL_NONE)
                fl_check_breaks(m->c, FL_VERIFY_PLACES, i, "node \"%s\" (%s) reads \"%s\", which has no place in memory", fl_node_label(g, i), op_name(m, i), name_of(m, v));
        }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (!has_place(m, g->outputs[i]) && fl_value_is(g, g->outputs[i], FL_OP_CONSTANT) == FL_NONE)
            fl_check_breaks(m->c, FL_VERIFY_PLACES, FL_NONE, "output \"%s\" has no place in memory", name_of(m, g->outputs[i]));
    if (m->c->broken > 0)
        return;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        check_leaf(m, g->inputs[i], FL_BUFFER_INPUT);
    for (uint32_t i = 0; i < g->n_variables; i++)
        check_leaf(m, g->variables[i], g->values[g->variables[i]].kind == FL_VALUE_VARIABLE ? FL_BUFFER_VARIABLE : FL_BUFFER_CONSTANT);
}

/* ------------------------------------------------------------------------------------------------------------------ bounds */

/* Factors of rows * elements, symbols in order, the number in *number; returns how many symbols. */
static uint32_t monomial(const fl_graph *g, fl_dim rows, int64_t elements, int64_t *number, fl_dim symbols[FL_MAX_RANK])
{
    fl_dim factors[FL_MAX_RANK];
    uint32_t n = fl_shape_factors(g, rows, factors), n_symbols = 0;

    *number = elements;
    for (uint32_t k = 0; k < n; k++) {
        if (!FL_DIM_IS_SYM(factors[k])) {
            if (__builtin_mul_overflow(*number, factors[k], number))
                *number = -1;
            continue;
        }
        uint32_t at = n_symbols++;
        for (; at > 0 && symbols[at - 1] > factors[k]; at--)
            symbols[at] = symbols[at - 1];
        symbols[at] = factors[k];
    }
    return n_symbols;
}

static bool same_elements(const fl_graph *g, fl_dim rows_a, int64_t a, fl_dim rows_b, int64_t b)
{
    fl_dim x[FL_MAX_RANK], y[FL_MAX_RANK];
    int64_t p, q;
    uint32_t n = monomial(g, rows_a, a, &p, x);
    return n == monomial(g, rows_b, b, &q, y) && p == q && memcmp(x, y, n * sizeof *x) == 0;
}

static bool is_dense(const memory *m, fl_id v)
{
    const fl_type *t = fl_value_type(m->g, v);
    int64_t stride = m->s->storage[v].row_stride;
    return stride == FL_STRIDE_DENSE || is_one_row(t) || (stride >= 0 && stride == row_elements(t));
}

/* Without gaps, and all that the buffer has. */
static bool fills_buffer(const memory *m, fl_id v)
{
    const fl_storage *st = &m->s->storage[v];
    return st->kind == FL_STORAGE_BUFFER && st->offset == 0 && is_dense(m, v) &&
           fl_shape_same_elements(m->g, fl_value_type(m->g, v), fl_value_type(m->g, m->s->buffers[st->buffer].value));
}

static bool within_buffer(const memory *m, fl_id v)
{
    const fl_type *t = fl_value_type(m->g, v);
    const fl_storage *st = &m->s->storage[v];
    const fl_buffer *b = &m->s->buffers[st->buffer];
    int64_t width = row_elements(t), total = 0;

    if (fl_dtype_place(t->dtype) != fl_dtype_place(b->dtype) || st->offset < 0 || b->row_elements < FL_ROW_OF_RUN)
        return false;
    if (st->row_stride == FL_STRIDE_DENSE || b->row_elements == FL_ROW_OF_RUN)
        return fills_buffer(m, v);
    region r = region_of(m, v);
    int64_t size = (int64_t)fl_dtype_place(t->dtype);
    if (r.rows != 1 && !r.of_buffer && st->row_stride < width)
        return false;
    if (r.rows == 1 && FL_DIM_IS_SYM(b->rows))
        return st->offset + width <= b->row_elements;
    if (r.of_buffer)
        return b->rows == t->dims[0] && st->offset + width <= b->row_elements;
    if (r.rows != INT64_MAX) /* places of distinct rows and other extents of a run are no less than one */
        return !FL_DIM_IS_SYM(b->rows) && !__builtin_mul_overflow(b->rows, b->row_elements, &total) && end_of(&r) / size <= total;
    if (t->dims[0] == b->rows || (FL_DIM_IS_SYM(b->rows) && st->row_stride == b->row_elements && st->row_stride != width)) /* Concat along rows of two names */
        return st->row_stride == b->row_elements && st->offset + width <= b->row_elements;
    return st->offset == 0 && st->row_stride == width && same_elements(m->g, t->dims[0], width, b->rows, b->row_elements);
}

/* Bytes at the start of a segment's scratch for hash tables, and the dimension that more of them follow; 0: its nodes need none. */
static fl_dim hash_rows(const memory *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    if (n->op == FL_OP_UNIQUE_ROWS)
        return fl_value_type(m->g, n->in[0])->dims[0];
    if (n->op == FL_OP_MERGE_ROWS)
        return fl_value_type(m->g, n->out[0])->dims[0];
    return n->op == FL_OP_EMBEDDING_BAG_GRAD ? fl_value_type(m->g, n->in[3])->dims[0] : 0;
}

/* The first of the lines of a slot's row that hash tables leave. */
static uint32_t lines_for_hash(const memory *m, const fl_segment *seg)
{
    bool hashes = false;
    for (uint32_t k = 0; k < seg->n_nodes; k++)
        hashes = hashes || hash_rows(m, seg->nodes[k]) != 0;
    return hashes ? (FL_HASH_ROW_BYTES + FL_SCRATCH_LINE - 1) / FL_SCRATCH_LINE : 0;
}

/* A value by distinct row, for as many rows as a slot may have: as there are rows of the index. */
static bool fits_slot(const memory *m, fl_id v, const fl_segment *seg)
{
    fl_id unique = fl_value_is(m->g, seg->count, FL_OP_UNIQUE_ROWS);
    region r = region_of(m, v);
    return unique != FL_NONE && seg->scratch_dim == fl_value_type(m->g, m->g->nodes[unique].in[0])->dims[0] && seg->scratch_bytes >= FL_HASH_BYTES &&
           r.begin >= 0 && r.stride > 0 && r.begin + r.width <= r.stride && r.lines >= lines_for_hash(m, seg) &&
           ((int64_t)r.lines + lines_of(&r)) * FL_SCRATCH_LINE <= seg->scratch_row_bytes;
}

/* Is v, in scratch, of the rows of its segment's calls? */
static bool has_rows_of(const memory *m, fl_id v, const fl_segment *seg)
{
    const fl_type *t = fl_value_type(m->g, v);
    fl_id unique = fl_value_is(m->g, seg->count, FL_OP_UNIQUE_ROWS);
    if (t->rank == 0 || seg->domain == FL_DOMAIN_ONE)
        return false;
    return t->dims[0] == (seg->domain == FL_DOMAIN_ROWS ? seg->dim : unique == FL_NONE || m->g->nodes[unique].out[0] == FL_NONE ? -1
                                                                   : fl_value_type(m->g, m->g->nodes[unique].out[0])->dims[0]);
}

static void check_scratch(memory *m, fl_id v)
{
    fl_id node = fl_value_node(m->g, v);
    uint32_t i = segment_of(m, v);
    const fl_segment *seg = i == UINT32_MAX ? NULL : &m->s->segments[i];

    if (!seg || !has_rows_of(m, v, seg)) {
        fl_check_breaks(m->c, FL_VERIFY_SCRATCH, node, "\"%s\" lies in a worker's scratch and is not made of rows of a segment over them", name_of(m, v));
        return;
    }
    region r = region_of(m, v);
    if (seg->domain == FL_DOMAIN_SLOTS && !fits_slot(m, v, seg))
        fl_check_breaks(m->c, FL_VERIFY_BOUNDS, node, "\"%s\", lines %u to %u of each row of a slot, does not fit into the %lld bytes of scratch of segment \"%s\"", name_of(m, v),
                        r.lines, r.lines + lines_of(&r), (long long)seg->scratch_row_bytes, seg->symbol);
    else if (seg->domain == FL_DOMAIN_ROWS && (r.begin < 0 || r.stride < r.width || end_of(&r) > seg->scratch_bytes))
        fl_check_breaks(m->c, FL_VERIFY_BOUNDS, node, "\"%s\", %lld bytes at %lld, does not fit into the %lld bytes of scratch of segment \"%s\"", name_of(m, v),
                        (long long)(end_of(&r) - r.begin), (long long)r.begin, (long long)seg->scratch_bytes, seg->symbol);
}

/* Another worker, a later phase or the caller cannot see this worker's scratch. */
static void check_scratch_reads(memory *m)
{
    const fl_graph *g = m->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k];
            if (v != FL_NONE && m->s->storage[v].kind == FL_STORAGE_SCRATCH && segment_of(m, v) != m->t->segment[i])
                fl_check_breaks(m->c, FL_VERIFY_SCRATCH, i, "node \"%s\" (%s) reads \"%s\", which lies in the scratch of another segment", fl_node_label(g, i), op_name(m, i),
                                name_of(m, v));
        }
        fl_dim rows = hash_rows(m, i);
        const fl_segment *seg = m->t->segment[i] == UINT32_MAX ? NULL : &m->s->segments[m->t->segment[i]];
        if (rows != 0 && seg && (seg->scratch_bytes < FL_HASH_BYTES || seg->scratch_row_bytes < FL_HASH_ROW_BYTES || seg->scratch_dim != rows))
            fl_check_breaks(m->c, FL_VERIFY_SCRATCH, i, "node \"%s\" (%s) has no room for its hash table in the scratch of segment \"%s\"", fl_node_label(g, i), op_name(m, i),
                            seg->symbol);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (m->s->storage[g->outputs[i]].kind == FL_STORAGE_SCRATCH)
            fl_check_breaks(m->c, FL_VERIFY_SCRATCH, FL_NONE, "output \"%s\" lies in a worker's scratch", name_of(m, g->outputs[i]));
}

static void check_bounds(memory *m)
{
    for (fl_id v = 0; v < m->g->n_values; v++) {
        if (!m->g->values[v].name || !has_place(m, v))
            continue;
        if (m->s->storage[v].kind == FL_STORAGE_SCRATCH)
            check_scratch(m, v);
        else if (!within_buffer(m, v))
            fl_check_breaks(m->c, FL_VERIFY_BOUNDS, fl_value_node(m->g, v), "\"%s\" does not lie within its buffer, that of \"%s\"", name_of(m, v),
                            name_of(m, m->s->buffers[m->s->storage[v].buffer].value));
    }
    check_scratch_reads(m);
}

/* ---------------------------------------------------------------------------------------------------------------- capacity */

static bool has_dims(const fl_schedule *s, fl_dim symbol, const fl_dim *dims, uint32_t n, bool sum)
{
    uint32_t i = FL_SYM_OF_DIM(symbol);
    return i < s->n_capacity && s->capacity[i].n_dims == n && s->capacity[i].sum == sum && memcmp(s->capacity[i].dims, dims, n * sizeof *dims) == 0;
}

/* Distinct rows are at most as many as an index has elements, merged ones as many as all operands have. */
static bool bounds_rows(const memory *m, fl_id node)
{
    const fl_graph *g = m->g;
    const fl_node *n = &g->nodes[node];
    if (n->op != FL_OP_UNIQUE_ROWS && n->op != FL_OP_MERGE_ROWS)
        return true;
    fl_dim symbol = fl_value_type(g, n->out[0])->dims[0];
    if (!FL_DIM_IS_SYM(symbol))
        return true;
    if (n->op == FL_OP_UNIQUE_ROWS) {
        const fl_type *index = fl_value_type(g, n->in[0]);
        return has_dims(m->s, symbol, index->dims, (uint32_t)index->rank, false);
    }
    uint32_t n_dims = n->n_in / 3;
    fl_dim *dims = fl_arena_new(m->scratch, fl_dim, n_dims + 1u);
    for (uint32_t k = 0; dims && k < n_dims; k++)
        dims[k] = fl_value_type(g, n->in[3 * k + 1])->dims[0];
    return !dims || has_dims(m->s, symbol, dims, n_dims, true); /* out of memory is told at the end */
}

static bool is_bound(const memory *m, const bool *bound, fl_dim d)
{
    uint32_t s = FL_DIM_IS_SYM(d) ? FL_SYM_OF_DIM(d) : UINT32_MAX;
    return s == UINT32_MAX || bound[s] || (s < m->s->n_capacity && m->s->capacity[s].n_dims > 0);
}

/* Bound by what a run is given; or found by a node, by which native code refuses such a program. */
static bool *find_bound(const memory *m)
{
    const fl_graph *g = m->g;
    bool *bound = fl_arena_new(m->scratch, bool, g->n_symbols + 1u);
    for (fl_id v = 0; bound && v < g->n_values; v++) {
        fl_id node = fl_value_node(g, v);
        for (int d = 0; d < g->values[v].type.rank; d++) {
            if (node != FL_NONE && fl_op_has(g->nodes[node].op, FL_EMITTED) && !fl_shape_depends_on_values(g, node, g->values[v].type.dims[d]))
                continue;
            fl_dim factors[FL_MAX_RANK];
            uint32_t n = fl_shape_factors(g, g->values[v].type.dims[d], factors);
            for (uint32_t k = 0; k < n; k++)
                if (FL_DIM_IS_SYM(factors[k]))
                    bound[FL_SYM_OF_DIM(factors[k])] = true;
            if (FL_DIM_IS_SYM(g->values[v].type.dims[d]))
                bound[FL_SYM_OF_DIM(g->values[v].type.dims[d])] = true;
        }
    }
    if (bound && fl_bag_rows(g) != FL_NONE)
        bound[fl_bag_rows(g)] = true;
    return bound;
}

static void check_capacity(memory *m)
{
    const fl_graph *g = m->g;
    bool *bound = find_bound(m);

    for (uint32_t i = 0; bound && i < m->s->n_buffers; i++)
        if (!is_bound(m, bound, m->s->buffers[i].rows))
            fl_check_breaks(m->c, FL_VERIFY_CAPACITY, FL_NONE, "nothing bounds the rows of \"%s\"", name_of(m, m->s->buffers[i].value));
    for (fl_id v = 0; bound && v < g->n_values; v++) {
        const fl_type *t = fl_value_type(g, v);
        for (int d = 1; g->values[v].name && has_place(m, v) && m->s->storage[v].row_stride == FL_STRIDE_DENSE && d < t->rank; d++)
            if (!is_bound(m, bound, t->dims[d]))
                fl_check_breaks(m->c, FL_VERIFY_CAPACITY, FL_NONE, "nothing bounds dimension %d of \"%s\"", d, name_of(m, v));
    }
    for (uint32_t i = 0; bound && i < m->s->n_segments; i++)
        if (!is_bound(m, bound, m->s->segments[i].dim))
            fl_check_breaks(m->c, FL_VERIFY_CAPACITY, FL_NONE, "nothing bounds the rows of segment \"%s\"", m->s->segments[i].symbol);
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (!bounds_rows(m, i))
            fl_check_breaks(m->c, FL_VERIFY_CAPACITY, i, "memory for the rows of node \"%s\" (%s) is not taken for all elements of what it reads", fl_node_label(g, i),
                            op_name(m, i));
}

/* ------------------------------------------------------------------------------------------------------------------- lives */

static void check_life(memory *m, fl_id v, uint32_t phase, fl_id node)
{
    const fl_storage *st = &m->s->storage[v];
    const fl_buffer *b = st->kind == FL_STORAGE_BUFFER ? &m->s->buffers[st->buffer] : NULL;
    if (b && b->kind == FL_BUFFER_ARENA && (phase < b->first_phase || phase > b->last_phase))
        fl_check_breaks(m->c, FL_VERIFY_LIVES, node, "\"%s\" is touched in phase %u, and its buffer lives from %u to %u", name_of(m, v), phase, b->first_phase, b->last_phase);
}

static void check_lives(memory *m)
{
    const fl_graph *g = m->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (m->t->segment[i] == UINT32_MAX)
            continue;
        const fl_node *n = &g->nodes[i];
        uint32_t phase = m->s->segments[m->t->segment[i]].phase;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE)
                check_life(m, n->in[k], phase, i);
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                check_life(m, n->out[k], phase, i);
    }
    for (uint32_t i = 0; i < m->s->n_segments; i++)
        if (m->s->segments[i].count != FL_NONE)
            check_life(m, m->s->segments[i].count, m->s->segments[i].phase, FL_NONE);
    for (uint32_t i = 0; i < g->n_outputs && m->s->n_phases > 0; i++)
        check_life(m, g->outputs[i], m->s->n_phases - 1, FL_NONE);
}

/* ------------------------------------------------------------------------------------------------------------------- views */

/* Elements before index `first` of `axis` in a row, if such a part is one run of the row; -1 if it is not. */
static int64_t column_of(const fl_type *t, int64_t axis, int64_t first)
{
    int64_t inner = first;
    for (int d = 1; d < t->rank; d++) {
        if (FL_DIM_IS_SYM(t->dims[d]) || (d < axis && t->dims[d] != 1))
            return -1;
        inner *= d > axis ? t->dims[d] : 1;
    }
    return inner;
}

/* Does `part`, elements from index `first` of `axis` of `whole` on, lie in whole's memory where these elements lie? */
static bool lies_in(const memory *m, fl_id part, fl_id whole, int64_t axis, int64_t first)
{
    const fl_type *t = fl_value_type(m->g, whole);
    region p = region_of(m, part), w = region_of(m, whole);
    int64_t size = (int64_t)fl_dtype_place(t->dtype);
    int64_t column = axis > 0 ? column_of(t, axis, first) : 0;

    if (column < 0 || axis < 0 || axis >= t->rank || p.memory != w.memory || p.lines != w.lines || p.of_buffer != w.of_buffer)
        return false;
    int64_t row = axis > 0 ? 0 : is_one_row(t) ? first * size : w.of_buffer && first ? -1 : first * w.stride;
    bool same_stride = p.stride == w.stride || p.rows == 1 || (w.rows == 1 && axis > 0) || is_one_row(t) || p.of_buffer;
    return row >= 0 && same_stride && p.begin == w.begin + column * size + row;
}

static bool same_bytes(const memory *m, fl_id view, fl_id of)
{
    const fl_type *a = fl_value_type(m->g, view), *b = fl_value_type(m->g, of);
    region p = region_of(m, view), w = region_of(m, of);
    bool rows = a->rank > 0 && b->rank > 0 && a->dims[0] == b->dims[0] && !is_one_row(a) && !is_one_row(b);

    if (fl_type_has_row_of_run(a) || fl_type_has_row_of_run(b))
        return p.memory == w.memory && fills_buffer(m, view) && fills_buffer(m, of);
    if (p.memory != w.memory || p.lines != w.lines || p.begin != w.begin || p.of_buffer != w.of_buffer)
        return false;
    if (rows)
        return p.of_buffer || p.stride == w.stride || p.rows == 1;
    return !p.of_buffer && (p.rows == 1 || p.stride == p.width) && (w.rows == 1 || w.stride == w.width);
}

static int64_t axis_of(const memory *m, fl_id node, const fl_type *t)
{
    int64_t axis = fl_node_int(m->g, node, "axis", 0);
    return axis < 0 ? axis + t->rank : axis;
}

static bool slice_lies_in(const memory *m, fl_id node)
{
    const fl_node *n = &m->g->nodes[node];
    const fl_type *t = fl_value_type(m->g, n->in[0]);
    int64_t start, axis = 0, step = 1;
    uint32_t count;

    if (!fl_value_ints(m->g, n->in[1], &start, 1, &count) || count != 1)
        return false;
    if (n->n_in > 3 && n->in[3] != FL_NONE && (!fl_value_ints(m->g, n->in[3], &axis, 1, &count) || count != 1))
        return false;
    if (n->n_in > 4 && n->in[4] != FL_NONE && (!fl_value_ints(m->g, n->in[4], &step, 1, &count) || count != 1))
        return false;
    axis = axis < 0 ? axis + t->rank : axis;
    if (axis < 0 || axis >= t->rank || FL_DIM_IS_SYM(t->dims[axis]) || step != 1)
        return false;
    return lies_in(m, n->out[0], n->in[0], axis, start < 0 ? start + t->dims[axis] : start);
}

/* Result k of a view: another name of the operand's bytes, or a copy, which must not lie in them. `first` is where a part begins. */
static void check_view(memory *m, fl_id node, uint32_t k, int64_t axis, int64_t first)
{
    const fl_node *n = &m->g->nodes[node];
    fl_id in = n->in[0], out = n->out[k];
    bool shares = n->op == FL_OP_SPLIT ? lies_in(m, out, in, axis, first) : n->op == FL_OP_SLICE ? slice_lies_in(m, node) : same_bytes(m, out, in);

    if (shares) {
        m->root[out] = m->root[in];
        return;
    }
    region a = region_of(m, in), b = region_of(m, out);
    if (!meet(&a, &b))
        return;
    fl_check_breaks(m->c, FL_VERIFY_VIEWS, node, "\"%s\", a view of \"%s\" (%s), lies in its memory, and elsewhere than the elements do", name_of(m, out), name_of(m, in),
                    op_name(m, node));
    m->root[out] = m->root[in]; /* told */
}

static void check_views(memory *m)
{
    const fl_graph *g = m->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (!fl_op_has(n->op, FL_VIEW) || m->t->segment[i] == UINT32_MAX || n->in[0] == FL_NONE)
            continue;
        const fl_type *t = fl_value_type(g, n->op == FL_OP_CONCAT ? n->out[0] : n->in[0]);
        int64_t axis = axis_of(m, i, t), first = 0;
        for (uint32_t k = 0; n->op == FL_OP_CONCAT && k < n->n_in; k++) {
            if (has_place(m, n->in[k]) && has_place(m, n->out[0]) && m->root[n->in[k]] == n->in[k] && m->inside[n->in[k]] == FL_NONE && lies_in(m, n->in[k], n->out[0], axis, first))
                m->inside[n->in[k]] = n->out[0];
            first += fl_value_type(g, n->in[k])->dims[axis];
        }
        for (uint32_t k = 0; n->op != FL_OP_CONCAT && k < n->n_out; k++) {
            if (n->out[k] == FL_NONE)
                break; /* sizes of what nobody wants are not known */
            if (has_place(m, n->in[0]) && has_place(m, n->out[k]))
                check_view(m, i, k, axis, first);
            first += n->op == FL_OP_SPLIT ? fl_value_type(g, n->out[k])->dims[axis] : 0;
        }
    }
}

/* ----------------------------------------------------------------------------------------------------------- over old values */

static bool index_uses(memory *m)
{
    const fl_graph *g = m->g;
    uint32_t n = 0;

    for (fl_id i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].n_in;
    m->first_use = fl_arena_new(m->scratch, uint32_t, g->n_values + 1u);
    m->next_use = fl_arena_new(m->scratch, uint32_t, n + 1u);
    m->reader = fl_arena_new(m->scratch, fl_id, n + 1u);
    m->operand = fl_arena_new(m->scratch, uint16_t, n + 1u);
    if (!m->first_use || !m->next_use || !m->reader || !m->operand)
        return false;
    n = 0;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k];
            if (v == FL_NONE || m->t->segment[i] == UINT32_MAX)
                continue;
            m->reader[n] = i;
            m->operand[n] = (uint16_t)k;
            m->next_use[n] = m->first_use[m->root[v]];
            m->first_use[m->root[v]] = ++n;
        }
    return true;
}

static bool same_place(const memory *m, fl_id a, fl_id b)
{
    const fl_storage *x = &m->s->storage[a], *y = &m->s->storage[b];
    return x->kind == y->kind && x->buffer == y->buffer && x->offset == y->offset && x->row_stride == y->row_stride;
}

/* May `reader`, operand k of which is an old value, still run when `writer` writes over it? */
static bool reads_before(const memory *m, fl_id reader, uint32_t k, fl_id writer, fl_id old)
{
    const fl_graph *g = m->g;
    const fl_node *r = &g->nodes[reader], *w = &g->nodes[writer];
    const fl_segment *seg = &m->s->segments[m->t->segment[writer]];
    bool elementwise = fl_op_has(r->op, FL_ELEMENTWISE) && r->in[k] == old && fl_type_equal(fl_value_type(g, old), fl_value_type(g, r->out[0]));

    if (reader == writer) /* element by element, in its own place; or rows that it is told */
        return elementwise || (w->op == FL_OP_SCATTER_ND && k == 0);
    if (m->s->segments[m->t->segment[reader]].phase != seg->phase)
        return m->s->segments[m->t->segment[reader]].phase < seg->phase;
    if (m->t->segment[reader] != m->t->segment[writer] || m->t->position[reader] >= m->t->position[writer])
        return false;
    if (seg->domain == FL_DOMAIN_ONE)
        return elementwise || !fl_op_has(w->op, FL_ELEMENTWISE); /* elementwise nodes may become one loop */
    if (w->op == FL_OP_SCATTER_ND) /* the rows of this slot, which no other call has */
        return r->op == FL_OP_GATHER && k == 0 && fl_value_type(g, r->in[1])->rank > 0 && fl_value_type(g, r->in[1])->dims[0] == fl_value_type(g, w->in[2])->dims[0];
    return r->in[k] == old && fl_reads_own_rows(g, reader, k);
}

static void check_over(memory *m, fl_id old, fl_id next)
{
    fl_id writer = fl_value_node(m->g, next), leaf = m->root[old];

    if (writer == FL_NONE || m->t->segment[writer] == UINT32_MAX || !same_place(m, old, next)) {
        fl_check_breaks(m->c, FL_VERIFY_IN_PLACE, writer, "\"%s\" is not written where \"%s\" lies, whose new value it is", name_of(m, next), name_of(m, old));
        return;
    }
    if (m->g->values[leaf].kind == FL_VALUE_INPUT || m->g->values[leaf].kind == FL_VALUE_CONSTANT)
        fl_check_breaks(m->c, FL_VERIFY_IN_PLACE, writer, "\"%s\" is written over \"%s\", which is not the program's to change", name_of(m, next), name_of(m, leaf));
    m->over[next] = m->root[old];
    for (uint32_t u = m->first_use[m->root[old]]; u != 0; u = m->next_use[u - 1])
        if (!reads_before(m, m->reader[u - 1], m->operand[u - 1], writer, old))
            fl_check_breaks(m->c, FL_VERIFY_IN_PLACE, m->reader[u - 1], "node \"%s\" (%s) reads \"%s\", over which \"%s\" may have been written then",
                            fl_node_label(m->g, m->reader[u - 1]), op_name(m, m->reader[u - 1]), name_of(m, m->g->nodes[m->reader[u - 1]].in[m->operand[u - 1]]),
                            name_of(m, next));
}

/* ScatterND writes into its first operand; a variable's next value over the variable, which a chain of ScatterND ends. */
static void check_in_place(memory *m)
{
    const fl_graph *g = m->g;

    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_SCATTER_ND && m->t->segment[i] != UINT32_MAX)
            check_over(m, g->nodes[i].in[0], g->nodes[i].out[0]);
    for (uint32_t i = 0; i < g->n_updates; i++) {
        fl_id next = g->updates[i].next, variable = g->updates[i].variable, node = fl_value_node(g, next);
        fl_id base = next;
        while (m->over[base] != FL_NONE && base != variable)
            base = m->over[base];
        if (base != variable || node == FL_NONE)
            check_over(m, variable, next);
    }
}

/* ----------------------------------------------------------------------------------------------------------------- overlaps */

static bool leads_to(const fl_id *link, fl_id from, fl_id to)
{
    for (uint32_t n = 0; from != FL_NONE && n < 64; n++, from = link[from])
        if (from == to)
            return true;
    return false;
}

/* The oldest value that v is written over, through any number of steps. */
static fl_id oldest(const memory *m, fl_id v)
{
    while (m->over[v] != FL_NONE)
        v = m->over[v];
    return v;
}

static bool may_meet(const memory *m, fl_id a, fl_id b)
{
    return leads_to(m->inside, a, b) || leads_to(m->inside, b, a) || oldest(m, a) == oldest(m, b);
}

static int by_place(const void *a, const void *b)
{
    const region *x = a, *y = b;
    if (x->memory != y->memory)
        return x->memory < y->memory ? -1 : 1;
    if (x->lines != y->lines)
        return x->lines < y->lines ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Written values in the order of their places; each against those before it that it can reach. */
static bool check_overlaps(memory *m)
{
    const fl_graph *g = m->g;
    region *list = fl_arena_new(m->scratch, region, g->n_values + 1u);
    uint32_t n = 0, n_open = 0;
    uint32_t *open = fl_arena_new(m->scratch, uint32_t, g->n_values + 1u);

    if (!list || !open)
        return false;
    for (fl_id v = 0; v < g->n_values; v++)
        if (g->values[v].name && has_place(m, v) && m->root[v] == v)
            list[n++] = region_of(m, v);
    qsort(list, n, sizeof *list, by_place);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n_open; k++) {
            const region *before = &list[open[k]];
            if (before->memory != list[i].memory || (before->lines == list[i].lines && end_of(before) <= list[i].begin))
                continue; /* behind it lies nothing that it could meet */
            open[kept++] = open[k];
            if (meet(before, &list[i]) && !may_meet(m, before->value, list[i].value))
                fl_check_breaks(m->c, FL_VERIFY_OVERLAP, fl_value_node(g, list[i].value), "\"%s\" and \"%s\" lie in the same memory", name_of(m, before->value),
                                name_of(m, list[i].value));
        }
        n_open = kept;
        open[n_open++] = i;
    }
    return true;
}

fl_status fl_check_memory(fl_check *c, const fl_check_times *t, fl_arena *scratch)
{
    const fl_graph *g = c->g;
    memory m = {.c = c, .g = g, .s = g->schedule, .t = t, .scratch = scratch};

    if (m.s->n_storage != g->n_values) {
        fl_check_breaks(c, FL_VERIFY_PLACES, FL_NONE, "the schedule places %u values of %u", m.s->n_storage, g->n_values);
        return FL_OK;
    }
    m.root = fl_arena_new(scratch, fl_id, g->n_values + 1u);
    m.inside = fl_arena_new(scratch, fl_id, g->n_values + 1u);
    m.over = fl_arena_new(scratch, fl_id, g->n_values + 1u);
    if (!m.root || !m.inside || !m.over)
        return fl_out_of_memory(c->dg);
    for (fl_id v = 0; v < g->n_values; v++) {
        m.root[v] = v;
        m.inside[v] = m.over[v] = FL_NONE;
    }
    check_places(&m);
    if (c->broken > 0)
        return FL_OK;
    check_bounds(&m);
    check_capacity(&m);
    check_lives(&m);
    if (c->broken > 0)
        return FL_OK;
    check_views(&m);
    bool ok = index_uses(&m);
    if (ok)
        check_in_place(&m);
    if (ok && c->broken == 0)
        ok = check_overlaps(&m);
    return ok && !scratch->failed ? FL_OK : fl_out_of_memory(c->dg);
}
