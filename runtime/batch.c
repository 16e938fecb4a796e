#include "runtime/batch.h"

#include <stdlib.h>
#include <string.h>

fl_status fl_batch_init(fl_batch *b, const fl_schema *schema)
{
    *b = (fl_batch){0};
    for (uint32_t s = 0; s < schema->n_slots; s++)
        if (schema->slots[s].pooling == FL_POOL_NONE)
            b->n_columns++;
        else
            b->n_bags++;
    if (b->n_bags == 0)
        return FL_OK;
    b->bags = calloc(b->n_bags, sizeof *b->bags);
    if (!b->bags) {
        b->n_bags = 0;
        return FL_NO_MEMORY;
    }
    for (uint32_t s = 0, k = 0; s < schema->n_slots; s++)
        if (schema->slots[s].pooling != FL_POOL_NONE)
            b->bags[k++].slot = s;
    return FL_OK;
}

void fl_batch_deinit(fl_batch *b)
{
    for (uint32_t k = 0; k < b->n_bags; k++) {
        free(b->bags[k].values);
        free(b->bags[k].offsets);
    }
    free(b->bags);
    free(b->ids);
    free(b->label);
    free(b->row);
    free(b->bad);
    free(b->part);
    *b = (fl_batch){0};
}

/* *array = room for n items of `size` bytes; false: out of memory, *array as before. */
static bool resize(void *array, int64_t n, size_t size)
{
    void *old, *grown;
    if (n < 0 || (uint64_t)n > SIZE_MAX / 2 / size)
        return false;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, n > 0 ? (size_t)n * size : size);
    if (!grown)
        return false;
    memcpy(array, &grown, sizeof grown);
    return true;
}

fl_status fl_batch_reserve(fl_batch *b, int64_t capacity)
{
    if (capacity <= b->capacity)
        return FL_OK;
    if (!resize(&b->label, capacity, sizeof *b->label) || !resize(&b->row, capacity, sizeof *b->row) ||
        !resize(&b->bad, capacity, 1) || !resize(&b->part, capacity, 1))
        return FL_NO_MEMORY;
    if (b->n_columns && !resize(&b->ids, capacity, b->n_columns * sizeof *b->ids))
        return FL_NO_MEMORY;
    for (uint32_t k = 0; k < b->n_bags; k++) {
        bool fresh = !b->bags[k].offsets;
        if (!resize(&b->bags[k].offsets, capacity + 1, sizeof *b->bags[k].offsets))
            return FL_NO_MEMORY;
        if (fresh)
            b->bags[k].offsets[0] = 0;
    }
    b->capacity = capacity;
    return FL_OK;
}

fl_status fl_batch_reserve_values(fl_batch *b, uint32_t bag, int64_t more)
{
    fl_bag *g = &b->bags[bag];
    if (g->n_values + more <= g->capacity)
        return FL_OK;
    int64_t capacity = 2 * (g->n_values + more);
    if (!resize(&g->values, capacity, sizeof *g->values))
        return FL_NO_MEMORY;
    g->capacity = capacity;
    return FL_OK;
}

fl_status fl_batch_append(fl_batch *b, const fl_batch *src, int64_t from, int64_t n, int64_t row_base)
{
    FL_ASSERT(b->n_columns == src->n_columns && b->n_bags == src->n_bags && from + n <= src->n);
    if (n == 0)
        return FL_OK;
    FL_TRY(fl_batch_reserve(b, b->n + n));
    size_t wide = b->n_columns, count = (size_t)n;
    if (wide)
        memcpy(b->ids + (size_t)b->n * wide, src->ids + (size_t)from * wide, count * wide * sizeof *b->ids);
    memcpy(b->label + b->n, src->label + from, count * sizeof *b->label);
    memcpy(b->bad + b->n, src->bad + from, count);
    memcpy(b->part + b->n, src->part + from, count);
    for (int64_t i = 0; i < n; i++)
        b->row[b->n + i] = src->row[from + i] + row_base;
    for (uint32_t k = 0; k < b->n_bags; k++) {
        const fl_bag *g = &src->bags[k];
        int64_t first = g->offsets[from], values = g->offsets[from + n] - first;
        FL_TRY(fl_batch_reserve_values(b, k, values));
        fl_bag *to = &b->bags[k];
        if (values)
            memcpy(to->values + to->n_values, g->values + first, (size_t)values * sizeof *to->values);
        for (int64_t i = 1; i <= n; i++)
            to->offsets[b->n + i] = to->n_values + g->offsets[from + i] - first;
        to->n_values += values;
    }
    b->n += n;
    return FL_OK;
}

void fl_batch_clear(fl_batch *b)
{
    b->n = 0;
    for (uint32_t k = 0; k < b->n_bags; k++)
        b->bags[k].n_values = 0;
}

