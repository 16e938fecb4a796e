/*
 * native.c -- how a schedule runs.
 *
 * Every phase is a list of tasks: for each of its segments as many as its domain is cut into. Workers draw task numbers
 * from the phase's counter until none is left, and meet at a barrier. Which worker gets which task depends on
 * timing; what a task computes does not, so neither do results. One worker draws nothing and meets nobody: it calls
 * the segments one after the other. Somewhat longer than other files: all of it works on one engine's state.
 */
#include "runtime/native.h"

#include "ir/base/bytes.h"
#include "ir/cost.h"
#include "ir/rows.h"
#include "runtime/memory.h"
#include "runtime/native_extents.h"
#include "runtime/ticks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A step of less guessed work is over before other workers are awake and have met at its barriers. */
#define SERIAL_NS 20000

typedef struct input_symbol {
    uint32_t symbol;
    int64_t max, was; /* extent that memory was taken for, and before it grew */
} input_symbol;

/* Where an output's elements are when the phases are over. */
typedef struct output_copy {
    const uint8_t *bytes; /* of storage NONE: dense constant; else NULL */
    uint32_t buffer;
    int64_t offset, row_stride; /* in elements; row_stride FL_STRIDE_OF_BUFFER as in the schedule */
    bool one_row;               /* elements lie side by side whatever the shape says */
} output_copy;

/* A counter in a cache line of its own. */
typedef struct phase_counter {
    _Alignas(64) _Atomic int64_t next;
} phase_counter;

/* What one worker's code writes its stamps through, in a cache line of its own. */
typedef struct worker_stamps {
    _Alignas(64) fl_stamps at;
    fl_ctx ctx; /* the engine's, with these stamps */
    fl_stamp *first;
} worker_stamps;

typedef struct native_engine {
    fl_engine base; /* first: the engine's address is this struct's */
    const fl_graph *g;
    const fl_schedule *schedule;
    fl_image *code;
    fl_segment_fn **functions; /* [n_segments] */
    fl_pool *pool;
    uint32_t n_workers;
    fl_arena memory; /* everything below that is not pages */
    void **buffer;
    int64_t *stride, *dim;
    fl_ctx ctx;
    worker_stamps *stamps; /* [n_workers] of timed code; else NULL */
    const fl_native_observer *observer;
    input_symbol *symbols; /* those that a run binds */
    uint32_t n_symbols, n_equal;
    fl_equal_extents *equal;
    uint32_t *phase_first;  /* [n_phases + 1]: segments of a phase */
    int64_t *tasks;         /* [n_segments] of this run */
    int64_t *phase_tasks;   /* [n_phases] */
    double *row_ns;         /* [n_segments] guessed time of a row */
    phase_counter *counter; /* [n_phases] */
    output_copy *outputs;   /* [n_outputs] */
    size_t *offset;         /* [n_buffers] of arena buffers */
    fl_pages pages;         /* arena, then scratch of each worker */
    size_t arena_bytes, scratch_bytes;
    size_t max_bytes; /* that pages may take */
} native_engine;

static native_engine *native_of(fl_engine *e)
{
    return (native_engine *)e;
}

/* ------------------------------------------------------------------------------------------------ extents */

static int64_t extent(const native_engine *n, fl_dim d)
{
    return FL_DIM_IS_SYM(d) ? n->dim[FL_SYM_OF_DIM(d)] : d;
}

static int64_t row_elements_of(const native_engine *n, const fl_type *t)
{
    int64_t elements = 1;
    for (int d = 1; d < t->rank; d++)
        if (extent(n, t->dims[d]) < 0 || __builtin_mul_overflow(elements, extent(n, t->dims[d]), &elements))
            return -1;
    return elements;
}

/* Capacities follow from the extents of inputs; symbols may count others' capacities, declared earlier or later. */
static void bind_capacities(native_engine *n)
{
    const fl_schedule *s = n->schedule;

    for (uint32_t i = 0; i < s->n_capacity; i++)
        if (s->capacity[i].n_dims > 0)
            n->dim[i] = -1;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < s->n_capacity; i++) {
            if (s->capacity[i].n_dims == 0 || n->dim[i] >= 0)
                continue;
            bool sum = s->capacity[i].sum;
            int64_t all = sum ? 0 : 1;
            for (uint32_t k = 0; k < s->capacity[i].n_dims && all >= 0; k++) {
                int64_t d = extent(n, s->capacity[i].dims[k]);
                if (d < 0 || (sum ? __builtin_add_overflow(all, d, &all) : __builtin_mul_overflow(all, d, &all)))
                    all = -1;
            }
            n->dim[i] = all;
            changed |= all >= 0;
        }
    }
}

/* Set n->dim to a variable's symbols, so that `auto` tables have their extent. */
static fl_status bind_variable(native_engine *n, const fl_value *v, const fl_var *var, fl_diag *dg)
{
    bool fits = var && var->type.dtype == v->type.dtype && var->type.rank == v->type.rank;

    for (int d = 0; fits && d < v->type.rank; d++) {
        if (FL_DIM_IS_SYM(v->type.dims[d]))
            n->dim[FL_SYM_OF_DIM(v->type.dims[d])] = var->type.dims[d];
        else
            fits = v->type.dims[d] == var->type.dims[d];
    }
    return fits ? FL_OK
                : fl_error(dg, FL_E_STORE, FL_NOWHERE, "variable \"%s\" of program \"%s\" %s", v->name, n->g->name,
                           var ? "has another type in the session" : "is not in the session");
}

/* ------------------------------------------------------------------------------------------------- memory */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes of an arena buffer at the extents in n->dim; SIZE_MAX if they are beyond any memory. */
static size_t buffer_bytes(const native_engine *n, const fl_buffer *b)
{
    int64_t rows = extent(n, b->rows), bytes = 0, row = b->row_elements;

    if (row == FL_ROW_OF_RUN)
        row = row_elements_of(n, &n->g->values[b->value].type);
    if (rows < 0 || row < 0 || __builtin_mul_overflow(rows, row, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)fl_dtype_place(b->dtype), &bytes) || bytes > INT64_MAX / 4)
        return SIZE_MAX;
    return round_up((size_t)bytes, 64);
}

/* "node "y" (Expand): WHAT takes N": before anything is taken. */
static fl_status beyond_limit(const native_engine *n, fl_id node, const char *what, size_t bytes, fl_diag *dg)
{
    const fl_node *of = node == FL_NONE ? NULL : &n->g->nodes[node];
    char one[24], limit[24];
    const char *name = of && of->n_out > 0 && of->out[0] != FL_NONE ? n->g->values[of->out[0]].name : "";

    (void)fl_error(dg, FL_E_MEMORY_LIMIT, of ? of->origin.loc : FL_NOWHERE, "node \"%s\" (%s): %s takes %s, and all values together may take %s",
                   of && of->name ? of->name : name, of ? fl_op_get(of->op)->name : "none", what,
                   bytes == SIZE_MAX ? "more than any memory" : fl_print_bytes(bytes, one), fl_print_bytes(n->max_bytes, limit));
    fl_hint(dg, "--max-memory=SIZE sets the limit");
    return FL_BAD_INPUT;
}

typedef struct placed {
    size_t begin, bytes;
    uint32_t buffer;
} placed;

static int larger_first(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->buffer < y->buffer ? -1 : 1;
}

static int lower_first(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/*
 * Offsets of the arena's buffers: largest first, each at the lowest place that nothing alive at the same time
 * covers. Sizes are known only here, because extents are.
 */
static fl_status place_buffers(native_engine *n, size_t *total, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;
    placed *list = calloc((size_t)s->n_buffers + 1, sizeof *list);
    placed *near = calloc((size_t)s->n_buffers + 1, sizeof *near);
    uint32_t n_list = 0;
    fl_status status = list && near ? FL_OK : fl_out_of_memory(dg);

    *total = 0;
    for (uint32_t i = 0; status == FL_OK && i < s->n_buffers; i++) {
        if (s->buffers[i].kind != FL_BUFFER_ARENA)
            continue;
        list[n_list] = (placed){0, buffer_bytes(n, &s->buffers[i]), i};
        if (list[n_list++].bytes == SIZE_MAX)
            status = beyond_limit(n, fl_value_node(n->g, s->buffers[i].value), "its result", SIZE_MAX, dg);
    }
    if (status == FL_OK)
        qsort(list, n_list, sizeof *list, larger_first);
    for (uint32_t i = 0; status == FL_OK && i < n_list; i++) {
        const fl_buffer *b = &s->buffers[list[i].buffer];
        uint32_t n_near = 0;
        for (uint32_t k = 0; k < i; k++) {
            const fl_buffer *c = &s->buffers[list[k].buffer];
            if (c->first_phase <= b->last_phase && b->first_phase <= c->last_phase)
                near[n_near++] = list[k];
        }
        qsort(near, n_near, sizeof *near, lower_first);
        size_t at = 0;
        for (uint32_t k = 0; k < n_near && near[k].begin < at + list[i].bytes; k++)
            if (near[k].begin + near[k].bytes > at)
                at = near[k].begin + near[k].bytes;
        list[i].begin = at;
        n->offset[list[i].buffer] = at;
        if (at + list[i].bytes > n->max_bytes) /* so that no sum wraps, either */
            status = beyond_limit(n, fl_value_node(n->g, b->value), "its result", list[i].bytes, dg);
        if (at + list[i].bytes > *total)
            *total = at + list[i].bytes;
    }
    free(list);
    free(near);
    return status;
}

/* (Re)allocate for the extents in n->symbols[].max. */
static fl_status take_memory(native_engine *n, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;
    size_t arena = 0, scratch = 64;
    fl_pages pages;

    for (uint32_t i = 0; i < n->n_symbols; i++)
        n->dim[n->symbols[i].symbol] = n->symbols[i].max;
    bind_capacities(n);
    FL_TRY(place_buffers(n, &arena, dg));
    for (uint32_t i = 0; i < s->n_segments; i++) {
        const fl_segment *seg = &s->segments[i];
        int64_t rows = seg->scratch_dim == 0 ? 0 : extent(n, seg->scratch_dim);
        int64_t bytes;
        if (__builtin_mul_overflow(seg->scratch_row_bytes, rows > 0 ? rows : 0, &bytes) ||
            bytes > INT64_MAX / 4 - seg->scratch_bytes)
            bytes = INT64_MAX / 4 - seg->scratch_bytes;
        if ((uint64_t)(bytes + seg->scratch_bytes) > n->max_bytes / n->n_workers)
            return beyond_limit(n, seg->n_nodes ? seg->nodes[0] : FL_NONE, "the scratch of its segment", (size_t)(bytes + seg->scratch_bytes), dg);
        if ((size_t)(bytes + seg->scratch_bytes) > scratch)
            scratch = (size_t)(bytes + seg->scratch_bytes);
    }
    scratch = round_up(scratch, 4096);
    arena = round_up(arena, 4096);
    if (arena + scratch * n->n_workers > n->max_bytes + 4096 * (n->n_workers + 1u))
        return beyond_limit(n, s->n_segments && s->segments[0].n_nodes ? s->segments[0].nodes[0] : FL_NONE, "the program from here on",
                            arena + scratch * n->n_workers, dg);
    if (!fl_pages_alloc(&pages, arena + scratch * n->n_workers))
        return fl_out_of_memory(dg);
    fl_pages_free(&n->pages);
    n->pages = pages;
    n->arena_bytes = arena;
    n->scratch_bytes = scratch;
    for (uint32_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].kind == FL_BUFFER_ARENA)
            n->buffer[i] = (uint8_t *)pages.bytes + n->offset[i];
    return FL_OK;
}

static void *scratch_of(const native_engine *n, uint32_t worker)
{
    return (uint8_t *)n->pages.bytes + n->arena_bytes + n->scratch_bytes * worker;
}

/* ---------------------------------------------------------------------------------------------------- run */

static int64_t tasks_of(const native_engine *n, const fl_segment *s)
{
    switch (s->domain) {
    case FL_DOMAIN_ONE:
        return 1;
    case FL_DOMAIN_ROWS:
        return (extent(n, s->dim) + FL_TILE_ROWS - 1) / FL_TILE_ROWS;
    case FL_DOMAIN_SLOTS:
        return extent(n, s->dim);
    }
    return 0;
}

/* The call [begin, end) with its times. */
static void observed_call(const native_engine *n, uint32_t worker, fl_native_call *call)
{
    worker_stamps *w = n->stamps ? &n->stamps[worker] : NULL;
    const fl_ctx *ctx = w ? &w->ctx : &n->ctx;
    void *scratch = scratch_of(n, worker);

    if (w)
        w->at.next = w->first;
    call->from = fl_ticks();
    n->functions[call->segment](ctx, scratch, call->begin, call->end);
    call->to = fl_ticks();
    call->scratch = scratch;
    call->stamps = w ? w->first : NULL;
    call->n_stamps = w ? (size_t)(w->at.next - w->first) : 0;
    if (n->observer && n->observer->called)
        n->observer->called(n->observer->arg, call);
}

static void run_task(const native_engine *n, uint32_t segment, int64_t task, void *scratch, uint32_t worker)
{
    const fl_segment *s = &n->schedule->segments[segment];
    int64_t begin = task, end = task + 1;

    if (s->domain == FL_DOMAIN_ROWS) {
        int64_t rows = extent(n, s->dim);
        begin = task * FL_TILE_ROWS;
        end = begin + FL_TILE_ROWS < rows ? begin + FL_TILE_ROWS : rows;
    }
    if (n->observer || n->stamps)
        observed_call(n, worker, &(fl_native_call){.worker = worker, .segment = segment, .begin = begin, .end = end});
    else
        n->functions[segment](&n->ctx, scratch, begin, end);
}

/* Rows (of a table's distinct rows: at most) that a segment is run for; 1 for serial ones. */
static int64_t rows_of(const native_engine *n, const fl_segment *s)
{
    if (s->domain == FL_DOMAIN_ROWS)
        return extent(n, s->dim);
    for (uint32_t i = 0; s->domain == FL_DOMAIN_SLOTS && i < s->n_nodes; i++) {
        const fl_node *node = &n->g->nodes[s->nodes[i]];
        for (uint32_t k = 0; k < node->n_out; k++) {
            const fl_type *t = node->out[k] == FL_NONE ? NULL : fl_value_type(n->g, node->out[k]);
            if (t && t->rank > 0 && FL_DIM_IS_SYM(t->dims[0]) && extent(n, t->dims[0]) > 0)
                return extent(n, t->dims[0]);
        }
    }
    return 1;
}

/* A guess at the time of all segments, to tell steps that one worker does faster than several can meet. Bits do not depend on it. */
static double guess_ns(const native_engine *n)
{
    double total = 0;

    for (uint32_t i = 0; i < n->schedule->n_segments; i++)
        total += n->row_ns[i] * (double)rows_of(n, &n->schedule->segments[i]);
    return total;
}

/* What `phase` is the first to write, as buffers of earlier ones left it. */
static void clear_memory(const native_engine *n, uint32_t phase)
{
    for (uint32_t i = 0; i < n->schedule->n_buffers; i++) {
        const fl_buffer *b = &n->schedule->buffers[i];
        if (b->kind == FL_BUFFER_ARENA && b->first_phase == phase)
            memset(n->buffer[i], 0, buffer_bytes(n, b));
    }
}

static void run_alone(const native_engine *n)
{
    void *scratch = scratch_of(n, 0);
    bool stops = n->observer && n->observer->phase_over;

    for (uint32_t i = 0; i < n->schedule->n_segments; i++) {
        const fl_segment *s = &n->schedule->segments[i];
        if (stops && (i == 0 || s[-1].phase != s->phase))
            clear_memory(n, s->phase);
        for (int64_t t = 0; t < n->tasks[i]; t++)
            run_task(n, i, t, scratch, 0);
        if (stops && (i + 1 == n->schedule->n_segments || s[1].phase != s->phase))
            n->observer->phase_over(n->observer->arg, s->phase);
    }
}

static void meet_others(native_engine *n, uint32_t worker, uint32_t phase)
{
    uint64_t from = n->observer ? fl_ticks() : 0;

    fl_pool_barrier(n->pool);
    if (n->observer && n->observer->waited)
        n->observer->waited(n->observer->arg, worker, phase, from, fl_ticks());
}

static void run_as_worker(void *arg, uint32_t worker)
{
    native_engine *n = arg;
    void *scratch = scratch_of(n, worker);

    for (uint32_t p = 0; p < n->schedule->n_phases; p++) {
        int64_t total = n->phase_tasks[p], base = 0;
        uint32_t segment = n->phase_first[p];
        for (;;) {
            int64_t t = atomic_fetch_add_explicit(&n->counter[p].next, 1, memory_order_relaxed);
            if (t >= total)
                break;
            /* Task numbers only grow, so the segment is found by going on from the last one. */
            while (t - base >= n->tasks[segment])
                base += n->tasks[segment++];
            run_task(n, segment, t - base, scratch, worker);
        }
        if (p + 1 < n->schedule->n_phases)
            meet_others(n, worker, p);
    }
}

/* Extents of this run; larger ones than memory was taken for take more, with room for growth. */
static fl_status bind_run(native_engine *n, const fl_run *run, fl_diag *dg)
{
    bool grows = false;

    FL_TRY(fl_equal_extents_check(n->g, n->equal, n->n_equal, run->dims, dg));
    for (uint32_t i = 0; i < n->n_symbols; i++) {
        input_symbol *s = &n->symbols[i];
        int64_t d = run->dims[s->symbol];
        if (d < 0)
            return fl_error(dg, FL_E_RUN_ARGUMENTS, FL_NOWHERE, "dimension \"%s\" of program \"%s\" cannot be %lld",
                            n->g->symbols[s->symbol], n->g->name, (long long)d);
        s->was = s->max;
        if (d > s->max) {
            s->max = s->max > 0 && d < s->max + s->max / 2 ? s->max + s->max / 2 : d;
            grows = true;
        }
    }
    if (grows) {
        fl_status status = take_memory(n, dg);
        if (status != FL_OK) {
            for (uint32_t i = 0; i < n->n_symbols; i++)
                n->symbols[i].max = n->symbols[i].was;
            return status;
        }
    }
    for (uint32_t i = 0; i < n->n_symbols; i++)
        n->dim[n->symbols[i].symbol] = run->dims[n->symbols[i].symbol];
    bind_capacities(n);
    return FL_OK;
}

static void copy_output(const native_engine *n, const output_copy *c, fl_id value, uint8_t *to)
{
    const fl_type *t = &n->g->values[value].type;
    size_t size = fl_dtype_place(t->dtype), row = size;
    int64_t rows = t->rank > 0 ? extent(n, t->dims[0]) : 1;

    for (int d = 1; d < t->rank; d++)
        row *= (size_t)extent(n, t->dims[d]);
    if (c->bytes) {
        memcpy(to, c->bytes, row * (size_t)rows);
        return;
    }
    const uint8_t *from = (const uint8_t *)n->buffer[c->buffer] + c->offset * (int64_t)size;
    int64_t stride = c->row_stride == FL_STRIDE_OF_BUFFER ? n->stride[c->buffer] : c->row_stride;
    if (c->one_row || stride == FL_STRIDE_DENSE || (size_t)stride * size == row) {
        memcpy(to, from, row * (size_t)rows);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + (size_t)i * row, from + i * stride * (int64_t)size, row);
}

/* Of a value in a buffer. */
static output_copy place_of(const native_engine *n, fl_id value)
{
    const fl_storage *at = &n->schedule->storage[value];
    const fl_type *t = &n->g->values[value].type;
    bool vector = t->rank == 1 && !FL_DIM_IS_SYM(t->dims[0]) && n->schedule->buffers[at->buffer].kind != FL_BUFFER_VARIABLE;

    return (output_copy){NULL, at->buffer, at->offset, at->row_stride, t->rank == 0 || vector};
}

fl_type fl_native_value_type(const fl_engine *e, fl_id value)
{
    const native_engine *n = (const native_engine *)e;
    fl_type t = n->g->values[value].type;

    for (int d = 0; d < t.rank; d++)
        t.dims[d] = extent(n, t.dims[d]);
    return t;
}

void fl_native_value_copy(const fl_engine *e, fl_id value, const fl_native_call *call, void *to)
{
    const native_engine *n = (const native_engine *)e;
    const fl_storage *at = &n->schedule->storage[value];

    if (!call) {
        output_copy place = place_of(n, value);
        copy_output(n, &place, value, to);
        return;
    }
    const fl_type *t = &n->g->values[value].type;
    size_t size = fl_dtype_place(t->dtype), row = size * (size_t)row_elements_of(n, t);
    for (int64_t i = call->begin; i < call->end; i++)
        memcpy((uint8_t *)to + (size_t)i * row, (const uint8_t *)call->scratch + (at->offset + (i - call->begin) * at->row_stride) * (int64_t)size, row);
}

static fl_status native_run(fl_engine *e, const fl_run *run, fl_diag *dg)
{
    native_engine *n = native_of(e);
    const fl_schedule *s = n->schedule;

    FL_TRY(bind_run(n, run, dg));
    for (uint32_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].kind == FL_BUFFER_INPUT)
            for (uint32_t k = 0; k < n->g->n_inputs; k++)
                if (n->g->inputs[k] == s->buffers[i].value)
                    n->buffer[i] = (void *)(uintptr_t)run->inputs[k]; /* code does not write there */
    for (uint32_t p = 0; p < s->n_phases; p++) {
        n->phase_tasks[p] = 0;
        atomic_store_explicit(&n->counter[p].next, 0, memory_order_relaxed);
        for (uint32_t i = n->phase_first[p]; i < n->phase_first[p + 1]; i++) {
            n->tasks[i] = tasks_of(n, &s->segments[i]);
            n->phase_tasks[p] += n->tasks[i];
        }
    }
    if (n->n_workers == 1 || (n->observer && n->observer->phase_over) || guess_ns(n) < SERIAL_NS)
        run_alone(n);
    else
        fl_pool_run(n->pool, run_as_worker, n);
    if (run->outputs)
        for (uint32_t i = 0; i < n->g->n_outputs; i++)
            if (run->outputs[i])
                copy_output(n, &n->outputs[i], n->g->outputs[i], run->outputs[i]);
    return FL_OK;
}

static fl_status native_nothing(fl_engine *e, fl_diag *dg)
{
    (void)e; /* variables are used where they lie */
    (void)dg;
    return FL_OK;
}

static void native_free(fl_engine *e)
{
    if (!e)
        return;
    native_engine *n = native_of(e);
    fl_pages_free(&n->pages);
    fl_image_free(n->code);
    fl_arena_deinit(&n->memory);
    free(n);
}

void fl_native_observe(fl_engine *e, const fl_native_observer *observer)
{
    native_of(e)->observer = observer;
}

size_t fl_native_engine_bytes(const fl_engine *e)
{
    return ((const native_engine *)e)->pages.size;
}

/* -------------------------------------------------------------------------------------------------- setup */

/* Elements of a constant, dense; NULL if it is none (or memory is out). */
static const uint8_t *constant_bytes(native_engine *n, fl_id value)
{
    const fl_type *t = &n->g->values[value].type;
    const fl_tensor *tensor = fl_value_tensor(n->g, value);
    fl_id node = fl_value_node(n->g, value);
    const fl_attr *ints = node == FL_NONE ? NULL : fl_node_attr(n->g, node, "value_ints");
    const fl_attr *floats = node == FL_NONE ? NULL : fl_node_attr(n->g, node, "value_floats");
    double scalar;

    if (tensor)
        return tensor->bytes;
    if (ints)
        return (const uint8_t *)ints->as.ints;
    if (floats) {
        float *list = fl_arena_calloc(&n->memory, floats->n + 1u, sizeof *list);
        for (uint32_t i = 0; list && i < floats->n; i++)
            list[i] = (float)floats->as.floats[i];
        return (const uint8_t *)list;
    }
    if (!fl_value_scalar(n->g, value, &scalar))
        return NULL;
    uint8_t *bytes = fl_arena_calloc(&n->memory, 1, 16);
    float narrow = (float)scalar;
    int64_t whole = (int64_t)scalar;
    if (!bytes)
        return NULL;
    if (t->dtype == FL_FLOAT)
        memcpy(bytes, &narrow, sizeof narrow);
    else if (t->dtype == FL_DOUBLE)
        memcpy(bytes, &scalar, sizeof scalar);
    else
        memcpy(bytes, &whole, sizeof whole); /* little-endian: the low bytes are a smaller type's */
    return bytes;
}

static void setup_work(native_engine *n)
{
    for (uint32_t i = 0; i < n->schedule->n_segments; i++)
        for (uint32_t k = 0; k < n->schedule->segments[i].n_nodes; k++)
            n->row_ns[i] += fl_cost_guess_ns(n->g, &n->g->nodes[n->schedule->segments[i].nodes[k]]);
}

static fl_status setup_buffers(native_engine *n, const fl_store *store, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;

    for (uint32_t i = 0; i < n->g->n_variables; i++) {
        const fl_value *v = &n->g->values[n->g->variables[i]];
        if (v->name && v->kind == FL_VALUE_VARIABLE)
            FL_TRY(bind_variable(n, v, fl_store_find(store, v->name), dg));
    }
    for (uint32_t i = 0; i < s->n_buffers; i++) {
        const fl_buffer *b = &s->buffers[i];
        const fl_value *v = &n->g->values[b->value];
        switch (b->kind) {
        case FL_BUFFER_INPUT:
            n->stride[i] = row_elements_of(n, &v->type);
            break;
        case FL_BUFFER_VARIABLE: {
            const fl_var *var = fl_store_find(store, v->name);
            n->buffer[i] = var->data;
            n->stride[i] = var->stride;
            break;
        }
        case FL_BUFFER_CONSTANT: {
            const uint8_t *bytes = constant_bytes(n, b->value);
            if (!bytes)
                return fl_error(dg, FL_E_STORE, FL_NOWHERE, "constant \"%s\" of program \"%s\" has no elements", v->name, n->g->name);
            n->buffer[i] = (void *)(uintptr_t)bytes; /* code does not write there */
            n->stride[i] = row_elements_of(n, &v->type);
            break;
        }
        case FL_BUFFER_ARENA:
            n->stride[i] = b->row_elements;
            break;
        }
    }
    return FL_OK;
}

static fl_status setup_outputs(native_engine *n, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;

    for (uint32_t i = 0; i < n->g->n_outputs; i++) {
        fl_id v = n->g->outputs[i];
        if (s->storage[v].kind == FL_STORAGE_BUFFER)
            n->outputs[i] = place_of(n, v);
        else if (s->storage[v].kind == FL_STORAGE_NONE)
            n->outputs[i].bytes = constant_bytes(n, v);
        if (s->storage[v].kind != FL_STORAGE_BUFFER && !n->outputs[i].bytes)
            return fl_error(dg, FL_E_STORE, FL_NOWHERE, "output \"%s\" of program \"%s\" has no place in memory", n->g->values[v].name, n->g->name);
    }
    return FL_OK;
}

/* Symbols of inputs, and the rows of bags, are what a run binds. */
static fl_status setup_symbols(native_engine *n, const int64_t *max_dims)
{
    const fl_graph *g = n->g;
    bool *seen = fl_arena_calloc(&n->memory, g->n_symbols + 1, sizeof *seen);

    n->symbols = fl_arena_new(&n->memory, input_symbol, g->n_symbols + 1);
    if (!seen || !n->symbols)
        return FL_NO_MEMORY;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_type *t = &g->values[g->inputs[i]].type;
        for (int d = 0; d < t->rank; d++) {
            if (!FL_DIM_IS_SYM(t->dims[d]) || seen[FL_SYM_OF_DIM(t->dims[d])])
                continue;
            uint32_t symbol = FL_SYM_OF_DIM(t->dims[d]);
            seen[symbol] = true;
            n->symbols[n->n_symbols++] = (input_symbol){symbol, max_dims && max_dims[symbol] > 0 ? max_dims[symbol] : 0, 0};
        }
    }
    uint32_t bags = fl_bag_rows(g);
    if (bags != FL_NONE && !seen[bags]) {
        seen[bags] = true;
        n->symbols[n->n_symbols++] = (input_symbol){bags, max_dims && max_dims[bags] > 0 ? max_dims[bags] : 0, 0};
    }
    return fl_equal_extents_find(g, seen, &n->memory, &n->equal, &n->n_equal);
}

/* A call starts with a stamp and leaves one for each part, of which there are at most as many as nodes; over slots it is for one of them. False if out of memory. */
static bool setup_stamps(native_engine *n)
{
    const fl_schedule *s = n->schedule;
    size_t most = 0;

    for (uint32_t i = 0; i < s->n_segments; i++)
        most = s->segments[i].n_nodes > most ? s->segments[i].n_nodes : most;
    uint8_t *bytes = fl_arena_calloc(&n->memory, n->n_workers + 1u, sizeof *n->stamps);
    if (!bytes)
        return false;
    n->stamps = (worker_stamps *)(((uintptr_t)bytes + 63) & ~(uintptr_t)63);
    for (uint32_t i = 0; i < n->n_workers; i++) {
        worker_stamps *w = &n->stamps[i];
        w->first = fl_arena_new(&n->memory, fl_stamp, most + 1);
        w->ctx = n->ctx;
        w->ctx.stamps = &w->at;
    }
    return !n->memory.failed;
}

static fl_status setup(native_engine *n, const fl_store *store, const fl_native_options *options, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;
    fl_arena *a = &n->memory;

    n->buffer = fl_arena_new(a, void *, s->n_buffers + 1);
    n->stride = fl_arena_new(a, int64_t, s->n_buffers + 1);
    n->dim = fl_arena_new(a, int64_t, n->g->n_symbols + 1);
    n->phase_first = fl_arena_new(a, uint32_t, s->n_phases + 1);
    n->tasks = fl_arena_new(a, int64_t, s->n_segments + 1);
    n->row_ns = fl_arena_new(a, double, s->n_segments + 1);
    n->phase_tasks = fl_arena_new(a, int64_t, s->n_phases + 1);
    n->outputs = fl_arena_new(a, output_copy, n->g->n_outputs + 1);
    n->offset = fl_arena_new(a, size_t, s->n_buffers + 1);
    uint8_t *counters = fl_arena_calloc(a, s->n_phases + 2, sizeof(phase_counter));
    if (a->failed || setup_symbols(n, options ? options->max_dims : NULL) != FL_OK)
        return fl_out_of_memory(dg);
    n->counter = (phase_counter *)(((uintptr_t)counters + 63) & ~(uintptr_t)63);
    for (uint32_t p = 0, i = 0; p < s->n_phases; p++) {
        while (i < s->n_segments && s->segments[i].phase <= p)
            i++;
        n->phase_first[p + 1] = i;
    }
    n->pool = options ? options->pool : NULL;
    n->n_workers = n->pool ? fl_pool_size(n->pool) : 1;
    n->max_bytes = options && options->max_bytes && options->max_bytes < SIZE_MAX / 8 ? options->max_bytes : SIZE_MAX / 8;
    n->ctx = (fl_ctx){n->buffer, n->stride, n->dim, NULL};
    if (options && options->timed && !setup_stamps(n))
        return fl_out_of_memory(dg);
    FL_TRY(setup_buffers(n, store, dg));
    FL_TRY(setup_outputs(n, dg));
    setup_work(n);
    return take_memory(n, dg);
}

fl_status fl_native_engine_from(const fl_graph *g, const fl_store *store, fl_segment_fn *const *functions,
                                const fl_native_options *options, fl_engine **out, fl_diag *dg)
{
    native_engine *n = calloc(1, sizeof *n);

    if (!n)
        return fl_out_of_memory(dg);
    FL_ASSERT(g->schedule);
    fl_arena_init(&n->memory);
    n->base = (fl_engine){native_run, native_nothing, native_nothing, native_free, NULL};
    n->g = g;
    n->schedule = g->schedule;
    n->functions = fl_arena_new(&n->memory, fl_segment_fn *, g->schedule->n_segments + 1);
    if (n->functions && functions)
        memcpy(n->functions, functions, g->schedule->n_segments * sizeof *functions);
    fl_status status = n->functions ? setup(n, store, options, dg) : fl_out_of_memory(dg);
    if (status != FL_OK) {
        native_free(&n->base);
        return status;
    }
    *out = &n->base;
    return FL_OK;
}

fl_status fl_native_engine_new(const fl_graph *g, const fl_store *store, fl_image *code, const fl_native_options *options,
                               fl_engine **out, fl_diag *dg)
{
    const fl_schedule *s = g->schedule;
    fl_segment_fn **functions = calloc((size_t)s->n_segments + 1, sizeof *functions);
    fl_status status = functions ? FL_OK : fl_out_of_memory(dg);

    for (uint32_t i = 0; status == FL_OK && i < s->n_segments; i++) {
        functions[i] = fl_image_find(code, s->segments[i].symbol);
        if (!functions[i])
            status = fl_error(dg, FL_E_CODE_IMAGE, FL_NOWHERE, "the code of program \"%s\" has no function \"%s\"", g->name,
                              s->segments[i].symbol);
    }
    if (status == FL_OK)
        status = fl_native_engine_from(g, store, functions, options, out, dg);
    free(functions);
    if (status == FL_OK)
        native_of(*out)->code = code;
    else
        fl_image_free(code);
    return status;
}
