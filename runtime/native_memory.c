/*
 * native_memory.c -- extents of a run, and the memory that follows from them: the arena's buffers, the sums of windows, each worker's scratch.
 */
#include "runtime/native_engine.h"

#include "ir/base/bytes.h"

#include <stdlib.h>

int64_t fl_native_extent(const fl_native_engine *n, fl_dim d)
{
    return FL_DIM_IS_SYM(d) ? n->dim[FL_SYM_OF_DIM(d)] : d;
}

int64_t fl_native_row_elements(const fl_native_engine *n, const fl_type *t)
{
    int64_t elements = 1;
    for (int d = 1; d < t->rank; d++)
        if (fl_native_extent(n, t->dims[d]) < 0 || __builtin_mul_overflow(elements, fl_native_extent(n, t->dims[d]), &elements))
            return -1;
    return elements;
}

/* Capacities follow from the extents of inputs; symbols may count others' capacities, declared earlier or later. */
void fl_native_bind_capacities(fl_native_engine *n)
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
                int64_t d = fl_native_extent(n, s->capacity[i].dims[k]);
                if (d < 0 || (sum ? __builtin_add_overflow(all, d, &all) : __builtin_mul_overflow(all, d, &all)))
                    all = -1;
            }
            n->dim[i] = all;
            changed |= all >= 0;
        }
    }
}

/* ------------------------------------------------------------------------------------------------- memory */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes of an arena buffer at the extents in n->dim; SIZE_MAX if they are beyond any memory. */
size_t fl_native_buffer_bytes(const fl_native_engine *n, const fl_buffer *b)
{
    int64_t rows = fl_native_extent(n, b->rows), bytes = 0, row = b->row_elements;

    if (row == FL_ROW_OF_RUN)
        row = fl_native_row_elements(n, &n->g->values[b->value].type);
    if (rows < 0 || row < 0 || __builtin_mul_overflow(rows, row, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)fl_dtype_place(b->dtype), &bytes) || bytes > INT64_MAX / 4)
        return SIZE_MAX;
    return round_up((size_t)bytes, 64);
}

/* "node "y" (Expand): WHAT takes N": before anything is taken. */
static fl_status beyond_limit(const fl_native_engine *n, fl_id node, const char *what, size_t bytes, fl_diag *dg)
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
static fl_status place_buffers(fl_native_engine *n, size_t *total, fl_diag *dg)
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
        list[n_list] = (placed){0, fl_native_buffer_bytes(n, &s->buffers[i]), i};
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

/* Of slots that come in windows: what all rows of the batch have summed so far. */
static size_t bytes_of_sums(const fl_native_engine *n)
{
    int64_t bytes = 0;

    if (n->windows.segment == FL_NONE)
        return 0;
    fl_dim batch = fl_value_type(n->g, n->g->nodes[n->windows.pools[0]].in[1])->dims[0];
    if (__builtin_mul_overflow(fl_native_extent(n, batch), n->windows.sums * (int64_t)sizeof(float), &bytes) || bytes < 0 || bytes > INT64_MAX / 4)
        return SIZE_MAX / 4;
    return round_up((size_t)bytes, 64);
}

/* (Re)allocate for the extents in n->symbols[].max. */
fl_status fl_native_take_memory(fl_native_engine *n, fl_diag *dg)
{
    const fl_schedule *s = n->schedule;
    size_t arena = 0, scratch = 64;
    fl_pages pages;

    for (uint32_t i = 0; i < n->n_symbols; i++)
        n->dim[n->symbols[i].symbol] = n->symbols[i].max;
    fl_native_bind_capacities(n);
    FL_TRY(place_buffers(n, &arena, dg));
    size_t sums_at = arena, sums = bytes_of_sums(n);
    if (sums > n->max_bytes)
        return beyond_limit(n, n->windows.pools[0], "its sums", sums, dg);
    arena += sums;
    for (uint32_t i = 0; i < s->n_segments; i++) {
        const fl_segment *seg = &s->segments[i];
        int64_t rows = seg->scratch_dim == 0 ? 0 : fl_native_extent(n, seg->scratch_dim);
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
    n->sums = (float *)(void *)((uint8_t *)pages.bytes + sums_at);
    n->scratch_bytes = scratch;
    for (uint32_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].kind == FL_BUFFER_ARENA)
            n->buffer[i] = (uint8_t *)pages.bytes + n->offset[i];
    return FL_OK;
}

