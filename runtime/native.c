/*
 * native.c -- how a schedule runs.
 *
 * Every phase is a list of tasks: for each of its segments as many as its domain is cut into. A worker begins with his share of them,
 * helps the others with theirs until none is left, and meets them at a barrier. Which worker gets which task depends on
 * timing; what a task computes does not, so neither do results. One worker draws nothing and meets nobody: it calls
 * the segments one after the other. Slots may come in windows (ir/windows.h): then two phases become rounds, in turn.
 */
#include "runtime/native.h"

#include "ir/cost.h"
#include "ir/rows.h"
#include "runtime/native_engine.h"
#include "runtime/ticks.h"

#include <stdlib.h>
#include <string.h>

/* A step of less guessed work is over before other workers are awake and have met at its barriers. */
#define SERIAL_NS 20000
/* Distinct rows of a window of slots (ir/windows.h), and from how many windows on slots come in windows. */
#define WINDOW_BYTES   (640.0 * 1024)
#define FEWEST_WINDOWS 4

static fl_native_engine *native_of(fl_engine *e)
{
    return (fl_native_engine *)e;
}

/* Set n->dim to a variable's symbols, so that `auto` tables have their extent. */
static fl_status bind_variable(fl_native_engine *n, const fl_value *v, const fl_var *var, fl_diag *dg)
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

static void *scratch_of(const fl_native_engine *n, uint32_t worker)
{
    return (uint8_t *)n->pages.bytes + n->arena_bytes + n->scratch_bytes * worker;
}

/* ---------------------------------------------------------------------------------------------------- run */

static int64_t tasks_of(const fl_native_engine *n, const fl_segment *s)
{
    switch (s->domain) {
    case FL_DOMAIN_ONE:
        return 1;
    case FL_DOMAIN_ROWS:
        return (fl_native_extent(n, s->dim) + FL_TILE_ROWS - 1) / FL_TILE_ROWS;
    case FL_DOMAIN_SLOTS:
        return fl_native_extent(n, s->dim);
    }
    return 0;
}

/* The call [begin, end) with its times. */
static void observed_call(const fl_native_engine *n, const fl_ctx *ctx, uint32_t worker, fl_native_call *call)
{
    fl_native_stamps *w = n->stamps ? &n->stamps[worker] : NULL;
    void *scratch = scratch_of(n, worker);

    if (w) {
        w->ctx = *ctx;
        w->ctx.stamps = &w->at;
        w->at.next = w->first;
        ctx = &w->ctx;
    }
    call->from = fl_ticks();
    n->functions[call->segment](ctx, scratch, call->begin, call->end);
    call->to = fl_ticks();
    call->scratch = scratch;
    call->stamps = w ? w->first : NULL;
    call->n_stamps = w ? (size_t)(w->at.next - w->first) : 0;
    if (n->observer && n->observer->called)
        n->observer->called(n->observer->arg, call);
}

static void run_task(const fl_native_engine *n, const fl_native_round *round, uint32_t segment, int64_t task, void *scratch, uint32_t worker)
{
    const fl_segment *s = &n->schedule->segments[segment];
    int64_t begin = task + (segment == n->windows.segment ? round->ctx->window_from : 0), end = begin + 1;

    if (s->domain == FL_DOMAIN_ROWS) {
        int64_t rows = fl_native_extent(n, s->dim);
        begin = task * FL_TILE_ROWS;
        end = begin + FL_TILE_ROWS < rows ? begin + FL_TILE_ROWS : rows;
    }
    if (n->observer || n->stamps)
        observed_call(n, round->ctx, worker, &(fl_native_call){.worker = worker, .segment = segment, .begin = begin, .end = end});
    else
        n->functions[segment](round->ctx, scratch, begin, end);
}

/* Rows (of a table's distinct rows: at most) that a segment is run for; 1 for serial ones. */
static int64_t rows_of(const fl_native_engine *n, const fl_segment *s)
{
    if (s->domain == FL_DOMAIN_ROWS)
        return fl_native_extent(n, s->dim);
    for (uint32_t i = 0; s->domain == FL_DOMAIN_SLOTS && i < s->n_nodes; i++) {
        const fl_node *node = &n->g->nodes[s->nodes[i]];
        for (uint32_t k = 0; k < node->n_out; k++) {
            const fl_type *t = node->out[k] == FL_NONE ? NULL : fl_value_type(n->g, node->out[k]);
            if (t && t->rank > 0 && FL_DIM_IS_SYM(t->dims[0]) && fl_native_extent(n, t->dims[0]) > 0)
                return fl_native_extent(n, t->dims[0]);
        }
    }
    return 1;
}

/* A guess at the time of all segments, to tell steps that one worker does faster than several can meet. Bits do not depend on it. */
static double guess_ns(const fl_native_engine *n)
{
    double total = 0;

    for (uint32_t i = 0; i < n->schedule->n_segments; i++)
        total += n->row_ns[i] * (double)rows_of(n, &n->schedule->segments[i]);
    return total;
}

/* What `phase` is the first to write, as buffers of earlier ones left it. */
static void clear_memory(const fl_native_engine *n, uint32_t phase)
{
    for (uint32_t i = 0; i < n->schedule->n_buffers; i++) {
        const fl_buffer *b = &n->schedule->buffers[i];
        if (b->kind == FL_BUFFER_ARENA && b->first_phase == phase)
            memset(n->buffer[i], 0, fl_native_buffer_bytes(n, b));
    }
}

/* Tasks of a segment in a round of its phase. */
static int64_t tasks_in(const fl_native_engine *n, const fl_native_round *round, uint32_t segment)
{
    if (segment == n->windows.segment)
        return round->ctx->window_to - round->ctx->window_from;
    if (n->has_pools[segment])
        return n->tasks[segment];
    bool before = n->windows.segment != FL_NONE && round->phase == n->schedule->segments[n->windows.segment].phase;
    return (before ? round->first : round->last) ? n->tasks[segment] : 0;
}

static void run_alone(const fl_native_engine *n)
{
    void *scratch = scratch_of(n, 0);
    bool stops = n->observer && n->observer->phase_over;

    for (uint32_t r = 0; r < n->n_rounds; r++) {
        const fl_native_round *round = &n->rounds[r];
        if (stops)
            clear_memory(n, round->phase);
        for (uint32_t i = n->phase_first[round->phase]; i < n->phase_first[round->phase + 1]; i++)
            for (int64_t t = 0, end = tasks_in(n, round, i); t < end; t++)
                run_task(n, round, i, t, scratch, 0);
        if (stops)
            n->observer->phase_over(n->observer->arg, round->phase);
    }
}

static void meet_others(fl_native_engine *n, uint32_t worker, uint32_t phase)
{
    uint64_t from = n->observer ? fl_ticks() : 0;

    fl_pool_barrier(n->pool);
    if (n->observer && n->observer->waited)
        n->observer->waited(n->observer->arg, worker, phase, from, fl_ticks());
}

/* Neighbouring rounds have counters of their own, and every second round has the same. */
static fl_native_counter *counters_of(const fl_native_engine *n, uint32_t round)
{
    return n->counter + (round & 1) * n->n_workers;
}

/*
 * The tasks of round r with which worker `of` begins, as far as they are left. They are the same step after step, and what a worker wrote is often still in
 * its own cache: a step of FLEN, batch 512, on 2 threads takes 147 us, and 149.5 if all draw from one counter.
 */
static void run_tasks_of(fl_native_engine *n, uint32_t r, uint32_t of, void *scratch, uint32_t worker)
{
    const fl_native_round *round = &n->rounds[r];
    uint32_t segment = n->phase_first[round->phase], behind = n->phase_first[round->phase + 1];
    int64_t total = 0, base = 0, here = segment < behind ? tasks_in(n, round, segment) : 0;

    for (uint32_t i = segment; i < behind; i++)
        total += tasks_in(n, round, i);
    for (int64_t first = total * of / n->n_workers, end = total * (of + 1) / n->n_workers;;) {
        int64_t t = first + atomic_fetch_add_explicit(&counters_of(n, r)[of].next, 1, memory_order_relaxed);
        if (t >= end)
            return;
        /* Task numbers only grow, so the segment is found by going on from the last one. */
        while (t - base >= here) {
            base += here;
            here = tasks_in(n, round, ++segment);
        }
        run_task(n, round, segment, t - base, scratch, worker);
    }
}

static void run_as_worker(void *arg, uint32_t worker)
{
    fl_native_engine *n = arg;

    for (uint32_t r = 0; r < n->n_rounds; r++) {
        /* The next round's, where all have left the one before and none has come to the next. */
        atomic_store_explicit(&counters_of(n, r + 1)[worker].next, 0, memory_order_relaxed);
        for (uint32_t i = 0; i < n->n_workers; i++)
            run_tasks_of(n, r, (worker + i) % n->n_workers, scratch_of(n, worker), worker);
        if (r + 1 < n->n_rounds)
            meet_others(n, worker, n->rounds[r].phase);
    }
}

/* Extents of this run; larger ones than memory was taken for take more, with room for growth. */
static fl_status bind_run(fl_native_engine *n, const fl_run *run, fl_diag *dg)
{
    bool grows = false;

    FL_TRY(fl_equal_extents_check(n->g, n->equal, n->n_equal, run->dims, dg));
    for (uint32_t i = 0; i < n->n_symbols; i++) {
        fl_native_symbol *s = &n->symbols[i];
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
        fl_status status = fl_native_take_memory(n, dg);
        if (status != FL_OK) {
            for (uint32_t i = 0; i < n->n_symbols; i++)
                n->symbols[i].max = n->symbols[i].was;
            return status;
        }
    }
    for (uint32_t i = 0; i < n->n_symbols; i++)
        n->dim[n->symbols[i].symbol] = run->dims[n->symbols[i].symbol];
    fl_native_bind_capacities(n);
    return FL_OK;
}

static void copy_output(const fl_native_engine *n, const fl_native_output *c, fl_id value, uint8_t *to)
{
    const fl_type *t = &n->g->values[value].type;
    size_t size = fl_dtype_place(t->dtype), row = size;
    int64_t rows = t->rank > 0 ? fl_native_extent(n, t->dims[0]) : 1;

    for (int d = 1; d < t->rank; d++)
        row *= (size_t)fl_native_extent(n, t->dims[d]);
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
static fl_native_output place_of(const fl_native_engine *n, fl_id value)
{
    const fl_storage *at = &n->schedule->storage[value];
    const fl_type *t = &n->g->values[value].type;
    bool vector = t->rank == 1 && !FL_DIM_IS_SYM(t->dims[0]) && n->schedule->buffers[at->buffer].kind != FL_BUFFER_VARIABLE;

    return (fl_native_output){NULL, at->buffer, at->offset, at->row_stride, t->rank == 0 || vector};
}

fl_type fl_native_value_type(const fl_engine *e, fl_id value)
{
    const fl_native_engine *n = (const fl_native_engine *)e;
    fl_type t = n->g->values[value].type;

    for (int d = 0; d < t.rank; d++)
        t.dims[d] = fl_native_extent(n, t.dims[d]);
    return t;
}

void fl_native_value_copy(const fl_engine *e, fl_id value, const fl_native_call *call, void *to)
{
    const fl_native_engine *n = (const fl_native_engine *)e;
    const fl_storage *at = &n->schedule->storage[value];

    if (!call) {
        fl_native_output place = place_of(n, value);
        copy_output(n, &place, value, to);
        return;
    }
    const fl_type *t = &n->g->values[value].type;
    size_t size = fl_dtype_place(t->dtype), row = size * (size_t)fl_native_row_elements(n, t);
    for (int64_t i = call->begin; i < call->end; i++)
        memcpy((uint8_t *)to + (size_t)i * row, (const uint8_t *)call->scratch + (at->offset + (i - call->begin) * at->row_stride) * (int64_t)size, row);
}

/*
 * Slots of a window: as many as leave room in the second cache for what else goes through it, and more where sums are many, as each window goes once through those
 * of the whole batch. Few windows are not worth it. Bits do not depend on it.
 */
static int64_t slots_of_window(const fl_native_engine *n)
{
    const fl_windows *w = &n->windows;
    fl_dim batch = fl_value_type(n->g, n->g->nodes[w->pools[0]].in[1])->dims[0];
    double rows = n->slot_rows > 0 ? n->slot_rows : (double)fl_native_extent(n, w->rows) / (double)w->slots;
    double half_of_sums = (double)(fl_native_extent(n, batch) * w->sums) * sizeof(float) / 2;
    double bytes = half_of_sums > WINDOW_BYTES ? half_of_sums : WINDOW_BYTES, slot_bytes = (double)w->row_bytes * rows;

    if ((n->observer && n->observer->phase_over) || slot_bytes * (double)w->slots < FEWEST_WINDOWS * bytes)
        return w->slots;
    return bytes > slot_bytes ? (int64_t)(bytes / slot_bytes) : 1;
}

static void set_windows(fl_native_engine *n)
{
    const fl_windows *w = &n->windows;
    int64_t each = slots_of_window(n), at = 0;

    for (uint32_t i = 0; at < w->slots; i++, at += each) {
        n->window[i] = n->ctx;
        n->window[i].window_from = at;
        n->window[i].window_to = at + each < w->slots ? at + each : w->slots;
        n->window[i].sums_in = at == 0 ? n->no_sums : n->sums;
        n->window[i].sums_stride = at == 0 ? 0 : w->sums;
        n->window[i].sums_out = n->sums;
    }
}

static void add_round(fl_native_engine *n, uint32_t phase, const fl_ctx *ctx, bool first, bool last)
{
    n->rounds[n->n_rounds++] = (fl_native_round){phase, ctx, first, last};
}

/* What is to be done between barriers, in this run. */
static void set_rounds(fl_native_engine *n)
{
    uint32_t windowed = n->windows.segment == FL_NONE ? UINT32_MAX : n->schedule->segments[n->windows.segment].phase;

    n->n_rounds = 0;
    if (n->windows.segment != FL_NONE)
        set_windows(n);
    for (uint32_t p = 0; p < n->schedule->n_phases; p++) {
        if (p != windowed) {
            add_round(n, p, &n->ctx, true, true);
            continue;
        }
        for (const fl_ctx *w = n->window;; w++) {
            bool first = w == n->window, last = w->window_to == n->windows.slots;
            add_round(n, p, w, first, last);
            add_round(n, p + 1, w, first, last);
            if (last)
                break;
        }
        p++; /* its rounds are there */
    }
}

/* The counts of this run, if nothing has been written over them, say how many slots the next one takes at a time. */
static void note_slot_rows(fl_native_engine *n)
{
    const fl_windows *w = &n->windows;
    fl_id count = w->segment == FL_NONE ? FL_NONE : n->schedule->segments[w->segment].count;
    const fl_storage *at = count == FL_NONE ? NULL : &n->schedule->storage[count];
    int64_t rows = 0;

    if (!at || at->kind != FL_STORAGE_BUFFER || n->schedule->buffers[at->buffer].last_phase + 1 < n->schedule->n_phases)
        return;
    for (int64_t i = 0; i < w->slots; i++)
        rows += ((const int32_t *)n->buffer[at->buffer])[at->offset + i];
    n->slot_rows = (double)rows / (double)w->slots;
}

static fl_status native_run(fl_engine *e, const fl_run *run, fl_diag *dg)
{
    fl_native_engine *n = native_of(e);
    const fl_schedule *s = n->schedule;

    FL_TRY(bind_run(n, run, dg));
    for (uint32_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].kind == FL_BUFFER_INPUT)
            for (uint32_t k = 0; k < n->g->n_inputs; k++)
                if (n->g->inputs[k] == s->buffers[i].value)
                    n->buffer[i] = (void *)(uintptr_t)run->inputs[k]; /* code does not write there */
    for (uint32_t i = 0; i < s->n_segments; i++)
        n->tasks[i] = tasks_of(n, &s->segments[i]);
    set_rounds(n);
    for (uint32_t i = 0; i < n->n_workers; i++)
        atomic_store_explicit(&counters_of(n, 0)[i].next, 0, memory_order_relaxed);
    if (n->n_workers == 1 || (n->observer && n->observer->phase_over) || guess_ns(n) < SERIAL_NS)
        run_alone(n);
    else
        fl_pool_run(n->pool, run_as_worker, n);
    note_slot_rows(n);
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
    fl_native_engine *n = native_of(e);
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
    return ((const fl_native_engine *)e)->pages.size;
}

/* -------------------------------------------------------------------------------------------------- setup */

/* Elements of a constant, dense; NULL if it is none (or memory is out). */
static const uint8_t *constant_bytes(fl_native_engine *n, fl_id value)
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

static void setup_work(fl_native_engine *n)
{
    for (uint32_t i = 0; i < n->schedule->n_segments; i++)
        for (uint32_t k = 0; k < n->schedule->segments[i].n_nodes; k++)
            n->row_ns[i] += fl_cost_guess_ns(n->g, &n->g->nodes[n->schedule->segments[i].nodes[k]]);
}

static fl_status setup_buffers(fl_native_engine *n, const fl_store *store, fl_diag *dg)
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
            n->stride[i] = fl_native_row_elements(n, &v->type);
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
            n->stride[i] = fl_native_row_elements(n, &v->type);
            break;
        }
        case FL_BUFFER_ARENA:
            n->stride[i] = b->row_elements;
            break;
        }
    }
    return FL_OK;
}

static fl_status setup_outputs(fl_native_engine *n, fl_diag *dg)
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
static fl_status setup_symbols(fl_native_engine *n, const int64_t *max_dims)
{
    const fl_graph *g = n->g;
    bool *seen = fl_arena_calloc(&n->memory, g->n_symbols + 1, sizeof *seen);

    n->symbols = fl_arena_new(&n->memory, fl_native_symbol, g->n_symbols + 1);
    if (!seen || !n->symbols)
        return FL_NO_MEMORY;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_type *t = &g->values[g->inputs[i]].type;
        for (int d = 0; d < t->rank; d++) {
            if (!FL_DIM_IS_SYM(t->dims[d]) || seen[FL_SYM_OF_DIM(t->dims[d])])
                continue;
            uint32_t symbol = FL_SYM_OF_DIM(t->dims[d]);
            seen[symbol] = true;
            n->symbols[n->n_symbols++] = (fl_native_symbol){symbol, max_dims && max_dims[symbol] > 0 ? max_dims[symbol] : 0, 0};
        }
    }
    uint32_t bags = fl_bag_rows(g);
    if (bags != FL_NONE && !seen[bags]) {
        seen[bags] = true;
        n->symbols[n->n_symbols++] = (fl_native_symbol){bags, max_dims && max_dims[bags] > 0 ? max_dims[bags] : 0, 0};
    }
    return fl_equal_extents_find(g, seen, &n->memory, &n->equal, &n->n_equal);
}

/* A call starts with a stamp and leaves one for each part, of which there are at most as many as nodes; over slots it is for one of them. False if out of memory. */
static bool setup_stamps(fl_native_engine *n)
{
    const fl_schedule *s = n->schedule;
    size_t most = 0;

    for (uint32_t i = 0; i < s->n_segments; i++)
        most = s->segments[i].n_nodes > most ? s->segments[i].n_nodes : most;
    uint8_t *bytes = fl_arena_calloc(&n->memory, n->n_workers + 1u, sizeof *n->stamps);
    if (!bytes)
        return false;
    n->stamps = (fl_native_stamps *)(((uintptr_t)bytes + 63) & ~(uintptr_t)63);
    for (uint32_t i = 0; i < n->n_workers; i++) {
        fl_native_stamps *w = &n->stamps[i];
        w->first = fl_arena_new(&n->memory, fl_stamp, most + 1);
    }
    return !n->memory.failed;
}

/* Which segments have sums that go window by window, and room for as many rounds as a run can have. False if out of memory. */
static bool setup_windows(fl_native_engine *n)
{
    const fl_schedule *s = n->schedule;
    fl_arena *a = &n->memory;

    if (!fl_windows_find(n->g, a, &n->windows))
        return false;
    size_t slots = n->windows.segment == FL_NONE ? 0 : (size_t)n->windows.slots, most = s->n_phases + 2 * slots;
    n->has_pools = fl_arena_new(a, bool, s->n_segments + 1);
    n->window = fl_arena_new(a, fl_ctx, slots + 1);
    n->rounds = fl_arena_new(a, fl_native_round, most + 1);
    n->no_sums = fl_arena_calloc(a, (size_t)n->windows.sums + 1, sizeof *n->no_sums);
    uint8_t *counters = fl_arena_calloc(a, 2 * (size_t)n->n_workers + 1, sizeof *n->counter);
    n->counter = (fl_native_counter *)(((uintptr_t)counters + 63) & ~(uintptr_t)63);
    for (uint32_t i = 0; !a->failed && i < s->n_segments; i++)
        for (uint32_t k = 0; k < s->segments[i].n_nodes; k++)
            n->has_pools[i] |= fl_windows_pool(&n->windows, s->segments[i].nodes[k]) != FL_NONE;
    return !a->failed;
}

static fl_status setup(fl_native_engine *n, const fl_store *store, const fl_native_options *options, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;
    fl_arena *a = &n->memory;

    n->pool = options ? options->pool : NULL;
    n->n_workers = n->pool ? fl_pool_size(n->pool) : 1;
    n->buffer = fl_arena_new(a, void *, s->n_buffers + 1);
    n->stride = fl_arena_new(a, int64_t, s->n_buffers + 1);
    n->dim = fl_arena_new(a, int64_t, n->g->n_symbols + 1);
    n->phase_first = fl_arena_new(a, uint32_t, s->n_phases + 1);
    n->tasks = fl_arena_new(a, int64_t, s->n_segments + 1);
    n->row_ns = fl_arena_new(a, double, s->n_segments + 1);
    n->outputs = fl_arena_new(a, fl_native_output, n->g->n_outputs + 1);
    n->offset = fl_arena_new(a, size_t, s->n_buffers + 1);
    if (a->failed || !setup_windows(n) || setup_symbols(n, options ? options->max_dims : NULL) != FL_OK)
        return fl_out_of_memory(dg);
    for (uint32_t p = 0, i = 0; p < s->n_phases; p++) {
        while (i < s->n_segments && s->segments[i].phase <= p)
            i++;
        n->phase_first[p + 1] = i;
    }
    n->max_bytes = options && options->max_bytes && options->max_bytes < SIZE_MAX / 8 ? options->max_bytes : SIZE_MAX / 8;
    n->ctx = (fl_ctx){.buffer = n->buffer, .stride = n->stride, .dim = n->dim};
    if (options && options->timed && !setup_stamps(n))
        return fl_out_of_memory(dg);
    FL_TRY(setup_buffers(n, store, dg));
    FL_TRY(setup_outputs(n, dg));
    setup_work(n);
    return fl_native_take_memory(n, dg);
}

fl_status fl_native_engine_from(const fl_graph *g, const fl_store *store, fl_segment_fn *const *functions,
                                const fl_native_options *options, fl_engine **out, fl_diag *dg)
{
    fl_native_engine *n = calloc(1, sizeof *n);

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
