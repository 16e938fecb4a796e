/*
 * plan_memory.c -- where every value of a segmented program lives (ir/schedule.h).
 *
 * Needs the segments of `segment`, changes no node. In this order: leaves have buffers of their own; a variable's next value and
 * ScatterND's result lie where the variable lies; views share their operand's memory, and operands of Concat are made
 * inside of the result, where the layout allows; what one segment over rows or slots alone reads is scratch; the rest is arena, with its
 * life in phases, so that the runtime can let buffers of disjoint lives share memory once it knows the extents.
 *
 * Variables of static shape that nobody addresses by row are dense (row_stride is their row); tables, their state and
 * variables with rows yet unknown have FL_STRIDE_OF_BUFFER.
 */
#include "ir/base/planted.h"
#include "ir/graph_meta.h"
#include "passes/pass.h"
#include "ir/rows.h"
#include "ir/schedule.h"
#include "ir/shape.h"

#include <string.h>

enum { MAX_SLOT_ROW_BYTES = 1 << 16 }; /* of scratch for each row of a slot */

typedef struct plan {
    fl_graph *g;
    fl_pass_ctx *cx;
    fl_schedule *s;
    uint32_t buffers_capacity;
    bool *known;           /* [n_values] storage is settled */
    uint32_t *segment_of;  /* [n_nodes]; UINT32_MAX: none */
    fl_id *owner;          /* [n_values] Concat result that the value is made inside of; FL_NONE */
    int64_t *at;           /* [n_values] element offset there */
    bool *by_row;          /* [n_values] variables that Gather or ScatterND address */
    bool *shared;          /* [n_values] read outside of the segment that makes it, or a result */
} plan;

/* Of a row, and of a tile's scratch: far beyond what is of use, and within what sums and the schedule's reader hold. */
#define MAX_ROW_ELEMENTS  (INT64_C(1) << 32)
#define MAX_SCRATCH_BYTES (INT64_C(1) << 39)

static int64_t row_elements(const fl_type *t)
{
    int64_t n = 1;
    for (int d = 1; d < t->rank; d++)
        if (FL_DIM_IS_SYM(t->dims[d]) || __builtin_mul_overflow(n, t->dims[d], &n))
            return -1;
    return n;
}

/* Rank 0, or a vector of static length: elements of one row. */
static bool is_one_row(const fl_type *t)
{
    return t->rank == 0 || (t->rank == 1 && !FL_DIM_IS_SYM(t->dims[0]));
}

static fl_storage *storage_of(const plan *p, fl_id v)
{
    return &p->s->storage[v];
}

static uint32_t new_buffer(plan *p, fl_buffer b)
{
    return FL_PUSH(&p->g->arena, p->s->buffers, p->s->n_buffers, p->buffers_capacity, b) ? p->s->n_buffers - 1 : 0;
}

/* A buffer of its own, densely filled. */
static void own_buffer(plan *p, fl_id v, fl_buffer_kind kind)
{
    const fl_type *t = fl_value_type(p->g, v);
    bool one_row = is_one_row(t);
    fl_buffer b = {.kind = kind, .value = v, .dtype = t->dtype, .rows = one_row ? 1 : t->dims[0]};

    b.row_elements = one_row ? (t->rank == 0 ? 1 : t->dims[0]) : fl_type_has_row_of_run(t) ? FL_ROW_OF_RUN : row_elements(t);
    b.first_phase = UINT32_MAX; /* until lives are known */
    *storage_of(p, v) = (fl_storage){FL_STORAGE_BUFFER, new_buffer(p, b), 0, t->rank == 0 ? 0 : one_row ? 1 : b.row_elements == FL_ROW_OF_RUN ? FL_STRIDE_DENSE : b.row_elements};
    if (kind == FL_BUFFER_VARIABLE && t->rank > 0 && (p->by_row[v] || FL_DIM_IS_SYM(t->dims[0])))
        storage_of(p, v)->row_stride = FL_STRIDE_OF_BUFFER;
    p->known[v] = true;
}

/*
 * Constant nodes of one number are part of the code, lists of axes and extents are read when code is made. Others are read from memory: by views,
 * which copy, and as arrays of numbers.
 */
static void place_constants(plan *p)
{
    fl_graph *g = p->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        bool view = fl_op_has(n->op, FL_VIEW);
        for (uint32_t k = 0; k < n->n_in; k++) {
            fl_id v = n->in[k];
            if (fl_value_is(g, v, FL_OP_CONSTANT) == FL_NONE || p->known[v] || (view && k > 0 && n->op != FL_OP_CONCAT))
                continue;
            const fl_tensor *data = fl_value_tensor(g, v);
            if (view || (data && fl_type_elements(&data->type) != 1))
                own_buffer(p, v, FL_BUFFER_CONSTANT);
        }
    }
}

static void place_leaves(plan *p)
{
    fl_graph *g = p->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        uint32_t tables = fl_op_has(n->op, FL_GATHERING) ? fl_look_ups(n) : n->op == FL_OP_SCATTER_ND;
        for (uint32_t k = 0; k < tables; k++)
            if (n->in[2 * k] != FL_NONE)
                p->by_row[n->in[2 * k]] = true;
    }
    uint32_t n_records = 0;
    const char *text = fl_graph_get_meta(g, "ai.flen.records");
    const char **records = text ? fl_meta_names(text, &p->cx->scratch, &n_records) : NULL;
    for (uint32_t i = 0; records && i < n_records; i++)
        if (fl_graph_find(g, records[i]) != FL_NONE)
            p->by_row[fl_graph_find(g, records[i])] = true;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        own_buffer(p, g->inputs[i], FL_BUFFER_INPUT);
    for (uint32_t i = 0; i < g->n_variables; i++) {
        fl_id v = g->variables[i];
        own_buffer(p, v, g->values[v].kind == FL_VALUE_VARIABLE ? FL_BUFFER_VARIABLE : FL_BUFFER_CONSTANT);
    }
    place_constants(p);
    for (uint32_t i = 0; i < g->n_updates; i++) {
        *storage_of(p, g->updates[i].next) = *storage_of(p, g->updates[i].variable);
        p->known[g->updates[i].next] = true;
    }
}

/* ------------------------------------------------------------------------------------------------------- views */

/* Elements of `t` before index `first` of `axis` within a row, if such a slice is one run of the row; -1 if not. */
static int64_t column_offset(const fl_type *t, int axis, int64_t first)
{
    int64_t inner = 1;
    for (int d = 1; d < axis; d++)
        if (t->dims[d] != 1)
            return -1;
    for (int d = axis + 1; d < t->rank; d++) {
        if (FL_DIM_IS_SYM(t->dims[d]))
            return -1;
        inner *= t->dims[d];
    }
    return first * inner;
}

static int axis_of(const fl_graph *g, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(g, node, "axis", otherwise);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* Storage of the part of `whole` that starts at `first` of `axis`; false if it cannot be told from the layout. */
static bool part_storage(const plan *p, fl_id whole, int axis, int64_t first, fl_storage *out)
{
    const fl_type *t = fl_value_type(p->g, whole);
    const fl_storage *w = storage_of(p, whole);

    *out = *w;
    if (w->row_stride == FL_STRIDE_DENSE)
        return false;
    if (axis == 0) {
        if (w->row_stride == FL_STRIDE_OF_BUFFER && first != 0)
            return false;
        out->offset += first * (w->row_stride == FL_STRIDE_OF_BUFFER ? 0 : t->rank == 1 ? 1 : w->row_stride);
        return !FL_DIM_IS_SYM(t->dims[0]);
    }
    int64_t offset = column_offset(t, axis, first);
    out->offset += offset;
    return offset >= 0;
}

/* Its elements are all that its buffer holds, without gaps. */
static bool fills_buffer(const plan *p, fl_id v)
{
    const fl_storage *st = storage_of(p, v);
    const fl_type *t = fl_value_type(p->g, v);

    if (st->kind != FL_STORAGE_BUFFER || st->offset != 0 || !fl_shape_same_elements(p->g, t, fl_value_type(p->g, p->s->buffers[st->buffer].value)))
        return false;
    return st->row_stride == FL_STRIDE_DENSE || is_one_row(t) || (st->row_stride > 0 && st->row_stride == row_elements(t));
}

/* The same elements under another shape. */
static bool same_elements_storage(const plan *p, fl_id in, fl_id out, fl_storage *to)
{
    const fl_type *a = fl_value_type(p->g, in), *b = fl_value_type(p->g, out);
    const fl_storage *from = storage_of(p, in);
    int64_t ra = is_one_row(a) ? 1 : row_elements(a), rb = is_one_row(b) ? 1 : row_elements(b);

    *to = *from;
    if (fl_type_has_row_of_run(a) || fl_type_has_row_of_run(b)) {
        if (fl_type_has_row_of_run(b))
            to->row_stride = FL_STRIDE_DENSE;
        else
            to->row_stride = b->rank == 0 ? 0 : rb;
        return fills_buffer(p, in) && fl_shape_same_elements(p->g, a, b);
    }
    if (a->rank > 0 && b->rank > 0 && a->dims[0] == b->dims[0] && is_one_row(a) == is_one_row(b)) /* else rows of one become the elements of one row */
        return ra > 0 && rb > 0;
    bool dense = from->kind == FL_STORAGE_BUFFER && from->row_stride != FL_STRIDE_OF_BUFFER &&
                 (a->rank == 0 || from->row_stride == ra || (a->rank >= 1 && a->dims[0] == 1));
    if (!dense || rb < 0)
        return false;
    to->row_stride = b->rank == 0 ? 0 : rb;
    return true;
}

static bool slice_storage(const plan *p, fl_id node, fl_storage *to)
{
    const fl_graph *g = p->g;
    const fl_node *n = &g->nodes[node];
    int64_t start, axis = 0, step = 1;
    uint32_t count;

    if (!fl_value_ints(g, n->in[1], &start, 1, &count) || count != 1)
        return false;
    if (n->n_in > 3 && n->in[3] != FL_NONE && (!fl_value_ints(g, n->in[3], &axis, 1, &count) || count != 1))
        return false;
    if (n->n_in > 4 && n->in[4] != FL_NONE && (!fl_value_ints(g, n->in[4], &step, 1, &count) || count != 1 || step != 1))
        return false;
    const fl_type *t = fl_value_type(g, n->in[0]);
    axis = axis < 0 ? axis + t->rank : axis;
    if (axis < 0 || axis >= t->rank || FL_DIM_IS_SYM(t->dims[axis]))
        return false;
    start = start < 0 ? start + t->dims[axis] : start;
    return start >= 0 && start <= t->dims[axis] && part_storage(p, n->in[0], (int)axis, start, to);
}

static void settle(plan *p, fl_id v, fl_storage st)
{
    if (v != FL_NONE && !p->known[v]) {
        *storage_of(p, v) = st;
        p->known[v] = true;
    }
}

/* Give the outputs of a view their operand's memory, where that is possible. */
static void share_view(plan *p, fl_id node)
{
    const fl_graph *g = p->g;
    const fl_node *n = &g->nodes[node];
    fl_storage st;

    if (n->n_in == 0 || n->in[0] == FL_NONE || !p->known[n->in[0]] || storage_of(p, n->in[0])->kind == FL_STORAGE_NONE)
        return;
    if (n->op == FL_OP_SPLIT) {
        int axis = axis_of(g, node, fl_value_type(g, n->in[0])->rank, 0);
        int64_t first = 0;
        for (uint32_t k = 0; k < n->n_out; k++) {
            if (n->out[k] == FL_NONE)
                return; /* sizes of what nobody wants are not known */
            if (part_storage(p, n->in[0], axis, first, &st))
                settle(p, n->out[k], st);
            first += fl_value_type(g, n->out[k])->dims[axis];
        }
    } else if (n->op == FL_OP_SLICE) {
        if (slice_storage(p, node, &st))
            settle(p, n->out[0], st);
    } else if (n->op != FL_OP_CONCAT && same_elements_storage(p, n->in[0], n->out[0], &st)) {
        settle(p, n->out[0], st);
    }
}

/* Operands of Concat that are made inside of the result: fresh values of the result's own domain, each in one Concat only. */
static void find_owners(plan *p)
{
    fl_graph *g = p->g;

    for (fl_id i = g->n_nodes; i-- > 0;) {
        const fl_node *n = &g->nodes[i];
        if (n->op != FL_OP_CONCAT)
            continue;
        const fl_type *t = fl_value_type(g, n->out[0]);
        int axis = axis_of(g, i, t->rank, 0);
        int64_t first = 0;
        for (uint32_t k = 0; k < n->n_in; k++) {
            fl_id v = n->in[k], producer = fl_value_node(g, v);
            int64_t extent = fl_value_type(g, v)->dims[axis];
            int64_t offset = axis == 0 ? (t->rank == 1 ? first : first * row_elements(t)) : column_offset(t, axis, first);
            bool fresh = producer != FL_NONE && !p->known[v] && p->owner[v] == FL_NONE &&
                         !fl_op_has(g->nodes[producer].op, FL_VIEW) && g->nodes[producer].op != FL_OP_CONSTANT &&
                         g->nodes[producer].op != FL_OP_SCATTER_ND && !p->known[n->out[0]];
            if (fresh && offset >= 0 && !FL_DIM_IS_SYM(extent) && row_elements(t) > 0) {
                p->owner[v] = n->out[0];
                p->at[v] = offset;
            }
            if (FL_DIM_IS_SYM(extent))
                break;
            first += extent;
        }
    }
}

/* -------------------------------------------------------------------------------------------- scratch and arena */

/* Values whose memory another segment, or the caller, reads: through views and owners too. */
static void find_shared(plan *p)
{
    fl_graph *g = p->g;

    for (uint32_t i = 0; i < g->n_outputs; i++)
        p->shared[g->outputs[i]] = true;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k], producer = fl_value_node(g, v);
            if (producer != FL_NONE && p->segment_of[producer] != p->segment_of[i])
                p->shared[v] = true;
        }
    for (bool moved = true; moved;) { /* memory is shared if any value in it is */
        moved = false;
        for (fl_id i = g->n_nodes; i-- > 0;) {
            const fl_node *n = &g->nodes[i];
            if (!fl_op_has(n->op, FL_VIEW))
                continue;
            for (uint32_t k = 0; k < n->n_out; k++)
                for (uint32_t j = 0; n->out[k] != FL_NONE && p->shared[n->out[k]] && j < n->n_in; j++)
                    if (n->in[j] != FL_NONE && !p->shared[n->in[j]] && (j == 0 || n->op == FL_OP_CONCAT)) {
                        p->shared[n->in[j]] = true;
                        moved = true;
                    }
        }
        for (fl_id v = 0; v < g->n_values; v++)
            if (p->shared[v] && p->owner[v] != FL_NONE && !p->shared[p->owner[v]])
                moved = p->shared[p->owner[v]] = true;
        for (fl_id v = 0; v < g->n_values; v++)
            if (p->owner[v] != FL_NONE && p->shared[p->owner[v]] && !p->shared[v])
                moved = p->shared[v] = true;
    }
}

/* In the scratch of the worker that does these rows. */
static void place_in_tile(plan *p, fl_id v, fl_segment *seg)
{
    int64_t size = (int64_t)fl_dtype_place(fl_value_type(p->g, v)->dtype), width = row_elements(fl_value_type(p->g, v));

    *storage_of(p, v) = (fl_storage){FL_STORAGE_SCRATCH, 0, seg->scratch_bytes / size, width};
    int64_t tile_rows = FL_PLANTED("plan-memory") ? 1 : FL_TILE_ROWS;
    seg->scratch_bytes += (tile_rows * width * size + 63) / 64 * 64;
    p->known[v] = true;
}

/*
 * In the scratch of the worker that does this slot: the rows of one slot after those of another in the same memory, which
 * stays in the second cache. False if v is not by distinct row, or the scratch grows with something else.
 */
static bool place_in_slot(plan *p, fl_id v, fl_segment *seg)
{
    const fl_graph *g = p->g;
    const fl_type *t = fl_value_type(g, v);
    fl_id unique = fl_value_is(g, seg->count, FL_OP_UNIQUE_ROWS);

    if (unique == FL_NONE || g->nodes[unique].out[0] == FL_NONE || t->rank == 0 ||
        t->dims[0] != fl_value_type(g, g->nodes[unique].out[0])->dims[0])
        return false;
    fl_dim most = fl_value_type(g, g->nodes[unique].in[0])->dims[0];
    int64_t width = row_elements(t), bytes = width * (int64_t)fl_dtype_place(t->dtype);
    int64_t before = (seg->scratch_row_bytes + FL_SCRATCH_LINE - 1) / FL_SCRATCH_LINE;
    if ((seg->scratch_dim != 0 && seg->scratch_dim != most) || bytes > MAX_SLOT_ROW_BYTES - before * FL_SCRATCH_LINE)
        return false;
    *storage_of(p, v) = (fl_storage){FL_STORAGE_SCRATCH, (uint32_t)before, 0, width};
    seg->scratch_bytes = FL_HASH_BYTES;
    seg->scratch_row_bytes = before * FL_SCRATCH_LINE + (bytes + FL_SCRATCH_LINE - 1) / FL_SCRATCH_LINE * FL_SCRATCH_LINE;
    seg->scratch_dim = most;
    p->known[v] = true;
    return true;
}

static void scratch_or_arena(plan *p, fl_id v, fl_id node)
{
    const fl_type *t = fl_value_type(p->g, v);
    fl_segment *seg = p->segment_of[node] == UINT32_MAX ? NULL : &p->s->segments[p->segment_of[node]];

    if (seg && !p->shared[v] && seg->domain == FL_DOMAIN_SLOTS && place_in_slot(p, v, seg))
        return;
    if (seg && !p->shared[v] && seg->domain == FL_DOMAIN_ROWS && t->rank > 0 && t->dims[0] == seg->dim && !is_one_row(t))
        place_in_tile(p, v, seg);
    else
        own_buffer(p, v, FL_BUFFER_ARENA);
}

/*
 * The inverse of UniqueRows is written slot by slot and read row by row. By columns each writer has lines of its own, and the readers of
 * a tile find a line for each slot. Where something else than look-ups reads it, it stays a matrix by rows.
 */
static void inverses_by_columns(plan *p)
{
    fl_graph *g = p->g;
    bool *other = fl_arena_new(&p->cx->scratch, bool, g->n_values + 1);

    if (!other)
        return;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        other[g->outputs[i]] = true;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != FL_NONE && !(k == 1 && (g->nodes[i].op == FL_OP_FIELD_POOL || g->nodes[i].op == FL_OP_GATHER)))
                other[g->nodes[i].in[k]] = true;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        fl_id inverse = g->nodes[i].op == FL_OP_UNIQUE_ROWS ? g->nodes[i].out[1] : FL_NONE;
        if (inverse != FL_NONE && !other[inverse] && fl_value_type(g, inverse)->rank == 2 && !p->known[inverse] &&
            row_elements(fl_value_type(g, inverse)) > 0) {
            own_buffer(p, inverse, FL_BUFFER_ARENA);
            storage_of(p, inverse)->row_stride = FL_STRIDE_COLUMNS;
        }
    }
}

static fl_status place_value(plan *p, fl_id v, fl_id node)
{
    const fl_graph *g = p->g;
    const fl_type *t = fl_value_type(g, v);

    if (v == FL_NONE || p->known[v])
        return FL_OK;
    if (fl_type_has_row_of_run(t)) {
        own_buffer(p, v, FL_BUFFER_ARENA);
        return FL_OK;
    }
    if (p->owner[v] != FL_NONE) { /* the result of Concat first, which may be inside of another */
        fl_id whole = p->owner[v];
        FL_TRY(place_value(p, whole, fl_value_node(g, whole)));
        fl_storage st = *storage_of(p, whole);
        st.offset += p->at[v];
        settle(p, v, st);
        return FL_OK;
    }
    int64_t elements = is_one_row(t) && t->rank > 0 ? t->dims[0] : row_elements(t);
    elements = elements < 0 ? INT64_MAX : elements;
    if (elements <= MAX_ROW_ELEMENTS)
        scratch_or_arena(p, v, node);
    const fl_segment *seg = p->segment_of[node] == UINT32_MAX ? NULL : &p->s->segments[p->segment_of[node]];
    if (elements > MAX_ROW_ELEMENTS || (seg && seg->scratch_bytes > MAX_SCRATCH_BYTES))
        return fl_error(p->cx->diag, FL_E_ROW_SIZE, g->nodes[node].origin.loc, "node \"%s\" (%s): a row of its result has %lld elements, which is too many for native code",
                        g->values[v].name, fl_op_get(g->nodes[node].op)->name, (long long)elements);
    return FL_OK;
}

static fl_status place_nodes(plan *p)
{
    fl_graph *g = p->g;

    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op == FL_OP_CONSTANT || n->op == FL_OP_NOP)
            continue; /* scalars are part of the code */
        if (n->op == FL_OP_SCATTER_ND && p->known[n->in[0]])
            settle(p, n->out[0], *storage_of(p, n->in[0]));
        if (fl_op_has(n->op, FL_VIEW))
            share_view(p, i);
        for (uint32_t k = 0; k < n->n_out; k++)
            FL_TRY(place_value(p, n->out[k], i));
    }
    return FL_OK;
}

static void lives_in(fl_schedule *s, fl_id v, uint32_t phase)
{
    if (v == FL_NONE || s->storage[v].kind != FL_STORAGE_BUFFER)
        return;
    fl_buffer *b = &s->buffers[s->storage[v].buffer];
    b->first_phase = phase < b->first_phase ? phase : b->first_phase;
    b->last_phase = phase > b->last_phase ? phase : b->last_phase;
}

/*
 * A buffer lives from the phase that first writes it to the phase that last reads it, through any value in it. A segment over
 * slots reads their counts, whether or not one of its nodes does.
 */
static void find_lives(plan *p)
{
    fl_graph *g = p->g;
    fl_schedule *s = p->s;

    for (uint32_t i = 0; i < s->n_segments; i++)
        lives_in(s, s->segments[i].count, s->segments[i].phase);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        if (p->segment_of[i] == UINT32_MAX)
            continue;
        uint32_t phase = s->segments[p->segment_of[i]].phase;
        const fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            lives_in(s, n->in[k], phase);
        for (uint32_t k = 0; k < n->n_out; k++)
            lives_in(s, n->out[k], phase);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (s->storage[g->outputs[i]].kind == FL_STORAGE_BUFFER && s->n_phases > 0)
            s->buffers[s->storage[g->outputs[i]].buffer].last_phase = s->n_phases - 1;
    for (uint32_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].first_phase == UINT32_MAX)
            s->buffers[i].first_phase = 0;
}

/* ---------------------------------------------------------------------------------------------------- capacity */

static bool set_capacity(plan *p, fl_dim symbol, const fl_dim *dims, uint32_t n, bool sum)
{
    uint32_t i = FL_SYM_OF_DIM(symbol);
    fl_dim *copy = fl_arena_new(&p->g->arena, fl_dim, n + 1);
    if (!FL_DIM_IS_SYM(symbol) || !copy)
        return copy != NULL;
    memcpy(copy, dims, n * sizeof *dims);
    p->s->capacity[i].dims = copy;
    p->s->capacity[i].n_dims = n;
    p->s->capacity[i].sum = sum;
    return true;
}

/* An input's, a variable's or an operand's: what a run, or another node, binds. */
static bool is_symbol_of_leaf(const fl_graph *g, fl_dim symbol)
{
    for (fl_id v = 0; v < g->n_values; v++)
        for (int d = 0; g->values[v].name && fl_value_node(g, v) == FL_NONE && d < fl_value_type(g, v)->rank; d++)
            if (fl_value_type(g, v)->dims[d] == symbol)
                return true;
    return false;
}

/* Parts of extents that only a run knows make a whole that has a symbol of its own: their sum. */
static bool capacity_of_concat(plan *p, const fl_node *n)
{
    const fl_graph *g = p->g;
    const fl_type *y = fl_value_type(g, n->out[0]);
    int axis = axis_of(g, (fl_id)(n - g->nodes), y->rank, 0);
    fl_dim whole = axis < y->rank ? y->dims[axis] : 0;
    fl_dim *dims = fl_arena_new(&p->cx->scratch, fl_dim, n->n_in + 1u);
    if (!dims || !FL_DIM_IS_SYM(whole) || p->s->capacity[FL_SYM_OF_DIM(whole)].n_dims > 0 || is_symbol_of_leaf(g, whole))
        return dims != NULL;
    for (uint32_t k = 0; k < n->n_in; k++) {
        dims[k] = fl_value_type(g, n->in[k])->dims[axis];
        if (dims[k] == whole) /* beside parts of extent 0 */
            return true;
    }
    return set_capacity(p, whole, dims, n->n_in, true);
}

/* Distinct rows are at most as many as the index has elements, merged ones as many as all operands hold together. */
static bool capacity_of(plan *p, const fl_node *n)
{
    const fl_graph *g = p->g;
    if (n->op == FL_OP_UNIQUE_ROWS) {
        const fl_type *index = fl_value_type(g, n->in[0]);
        fl_dim places = n->out[3] != FL_NONE ? fl_value_type(g, n->out[3])->dims[0] : 1;
        bool own = index->rank == 2 && places != index->dims[0] && places != index->dims[1]; /* not the symbol of an input */
        return set_capacity(p, fl_value_type(g, n->out[0])->dims[0], index->dims, (uint32_t)index->rank, false) &&
               (!own || set_capacity(p, places, index->dims, 2, false));
    }
    if (n->op == FL_OP_CONCAT)
        return capacity_of_concat(p, n);
    if (n->op != FL_OP_MERGE_ROWS)
        return true;
    uint32_t n_dims = n->n_in / 3;
    fl_dim *dims = fl_arena_new(&p->cx->scratch, fl_dim, n_dims);
    for (uint32_t k = 0; dims && k < n_dims; k++)
        dims[k] = fl_value_type(g, n->in[3 * k + 1])->dims[0];
    return dims && set_capacity(p, fl_value_type(g, n->out[0])->dims[0], dims, n_dims, true);
}

static fl_status find_capacities(plan *p)
{
    fl_graph *g = p->g;
    p->s->n_capacity = g->n_symbols;
    p->s->capacity = fl_arena_calloc(&g->arena, g->n_symbols + 1, sizeof *p->s->capacity);
    bool ok = p->s->capacity != NULL;
    for (fl_id v = 0; ok && v < g->n_values; v++) { /* what a reshape has made: as many as the factors say */
        fl_dim factors[FL_MAX_RANK];
        const fl_type *t = fl_value_type(g, v);
        for (int d = 0; ok && g->values[v].name && d < t->rank; d++) {
            uint32_t n = fl_shape_factors(g, t->dims[d], factors);
            ok = n == 1 || set_capacity(p, t->dims[d], factors, n, false);
        }
    }
    for (fl_id i = 0; ok && i < g->n_nodes; i++)
        ok = capacity_of(p, &g->nodes[i]);
    return ok ? FL_OK : fl_out_of_memory(p->cx->diag);
}

fl_status fl_pass_plan_memory(fl_graph *g, fl_pass_ctx *cx)
{
    if (!g->schedule)
        return fl_error(cx->diag, FL_E_VERIFY, FL_NOWHERE, "plan-memory needs a program that segment has cut");
    fl_arena *a = &cx->scratch;
    fl_schedule *s = fl_arena_new(&g->arena, fl_schedule, 1);
    if (!s)
        return fl_out_of_memory(cx->diag);
    *s = *g->schedule;
    s->storage = fl_arena_new(&g->arena, fl_storage, g->n_values + 1);
    s->n_storage = g->n_values;
    s->buffers = NULL;
    s->n_buffers = 0;
    plan p = {.g = g, .cx = cx, .s = s};
    p.known = fl_arena_new(a, bool, g->n_values + 1);
    p.by_row = fl_arena_new(a, bool, g->n_values + 1);
    p.shared = fl_arena_new(a, bool, g->n_values + 1);
    p.owner = fl_arena_new(a, fl_id, g->n_values + 1);
    p.at = fl_arena_new(a, int64_t, g->n_values + 1);
    p.segment_of = fl_arena_new(a, uint32_t, g->n_nodes + 1);
    if (a->failed || !s->storage)
        return fl_out_of_memory(cx->diag);
    for (fl_id v = 0; v < g->n_values; v++)
        p.owner[v] = FL_NONE;
    for (fl_id i = 0; i < g->n_nodes; i++)
        p.segment_of[i] = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_segments; i++)
        for (uint32_t k = 0; k < s->segments[i].n_nodes; k++)
            p.segment_of[s->segments[i].nodes[k]] = i;
    FL_TRY(find_capacities(&p));
    place_leaves(&p);
    find_owners(&p);
    find_shared(&p);
    inverses_by_columns(&p);
    FL_TRY(place_nodes(&p));
    find_lives(&p);
    g->schedule = s;
    cx->n_changed = s->n_buffers;
    return fl_graph_ok(g, cx->diag);
}
