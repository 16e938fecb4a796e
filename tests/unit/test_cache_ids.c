/* Packed ids of 1 to 23 columns of any width: what was packed comes back, nothing behind is written, and an id outside its slot's rows is seen wherever it stands. */
#include "runtime/cache_ids.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/rng.h"

enum { MOST = 23, ROWS = 150, SENTINEL = 8 };

static fl_slot slots[MOST + 1];

static fl_schema schema_of(uint32_t n, uint64_t seed)
{
    for (uint32_t k = 0; k < n; k++) {
        uint64_t random = fl_mix64(seed * MOST + k);
        int64_t rows = (int64_t)(random >> 33 >> (random & 31)) + 1; /* 1 to 2^31: 0 to 31 bits */
        slots[k] = (fl_slot){.name = "s", .rows = rows > INT32_MAX ? INT32_MAX : rows, .first_row = (int64_t)k * 1000};
    }
    slots[n] = (fl_slot){.name = "bag", .rows = 9, .pooling = FL_POOL_SUM}; /* stands elsewhere */
    return (fl_schema){.slots = slots, .n_slots = n + 1};
}

static void check(uint32_t n_columns, uint64_t seed, int64_t n)
{
    fl_schema schema = schema_of(n_columns, seed);
    fl_packed_ids p;
    assert_int_equal(fl_packed_ids_init(&p, &schema), FL_OK);
    assert_int_equal(p.n_columns, n_columns);
    size_t count = (size_t)n * n_columns, bytes = fl_packed_ids_bytes(&p, (uint64_t)n) + FL_PACKED_SLACK;
    int64_t *ids = calloc(count, sizeof *ids), *back = malloc((count + SENTINEL) * sizeof *back);
    char *packed = calloc(1, bytes);
    for (size_t i = 0; i < count; i++) {
        const fl_slot *s = &slots[i % n_columns];
        uint64_t random = fl_mix64(seed ^ i << 8);
        ids[i] = s->first_row + (random % 4 == 0 ? s->rows - 1 : (int64_t)(random % (uint64_t)s->rows));
    }
    fl_ids_pack(&p, ids, (size_t)n, packed);
    memset(back, 0x5a, (count + SENTINEL) * sizeof *back);
    assert_true(fl_ids_unpack(&p, packed, n, back));
    assert_memory_equal(ids, back, count * sizeof *ids);
    for (size_t i = count; i < count + SENTINEL; i++)
        assert_int_equal(back[i], 0x5a5a5a5a5a5a5a5a);
    /* The largest id, read by whoever thinks that its slot has a row less and needs as many bits. */
    for (uint32_t k = 0; k < n_columns; k++) {
        int64_t rows = slots[k].rows, *id = &ids[(int64_t)(fl_mix64(seed + k) % (uint64_t)n) * n_columns + k];
        if (rows < 3 || (rows & (rows - 1)) == 0 || ((rows - 1) & (rows - 2)) == 0)
            continue;
        *id = slots[k].first_row + rows - 1;
        memset(packed, 0, bytes);
        fl_ids_pack(&p, ids, (size_t)n, packed);
        slots[k].rows--;
        fl_packed_ids_deinit(&p);
        assert_int_equal(fl_packed_ids_init(&p, &schema), FL_OK);
        assert_false(fl_ids_unpack(&p, packed, n, back));
        slots[k].rows++;
        fl_packed_ids_deinit(&p);
        assert_int_equal(fl_packed_ids_init(&p, &schema), FL_OK);
        *id = slots[k].first_row;
        for (int64_t i = 0; i < n; i++)
            if (ids[i * n_columns + k] == slots[k].first_row + rows - 1)
                ids[i * n_columns + k]--;
    }
    fl_packed_ids_deinit(&p);
    free(ids);
    free(back);
    free(packed);
}

static void any_width(void **state)
{
    (void)state;
    for (uint32_t k = 1; k <= MOST; k++)
        for (uint64_t seed = 1; seed <= 8; seed++) {
            check(k, seed, ROWS);
            check(k, seed, 1 + (int64_t)seed);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
