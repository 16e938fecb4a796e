/*
 * cache_ids.c -- bits to ids, four columns at once where the processor can.
 *
 * An id begins at some bit of some byte and has at most 32 bits, so five bytes hold it and two neighbours lie within 16. A group is four columns: for each two 16 bytes are loaded, a byte shuffle
 * brings each column's eight bytes into a lane, and a shift of its own, a mask and an addition make it a row of the table. Columns are walked outside and rows inside, in tiles that the first
 * cache holds: a group's constants stay in registers. 22 ids take 3 ns a row, one by one 24.
 */
#include "runtime/cache_ids.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 4, TILE = 64 };

typedef struct fl_packed_column {
    uint32_t byte, shift; /* in the word at `byte`, from bit `shift` on */
    uint64_t mask;
    uint64_t rows;
    int64_t first_row;
} column;

typedef struct fl_packed_group {
    uint32_t byte[2];  /* of each two columns */
    uint8_t bytes[32]; /* of the loaded ones, in each lane's order */
    uint64_t shift[GROUP], mask[GROUP], last[GROUP]; /* last: the largest id */
    int64_t first_row[GROUP];
} group;

/* Columns 4g ... of the row. Lanes behind the last column give 0 and count as good. */
static void fill_group(const fl_packed_ids *p, uint32_t g, group *to)
{
    memset(to, 0, sizeof *to);
    memset(to->bytes, 0x80, sizeof to->bytes); /* a zero */
    for (uint32_t k = 0; k < GROUP && GROUP * g + k < p->n_columns; k++) {
        const column *c = &p->columns[GROUP * g + k];
        if (k % 2 == 0)
            to->byte[k / 2] = c->byte;
        for (uint32_t i = 0; i < 5; i++)
            to->bytes[8 * k + i] = (uint8_t)(c->byte - to->byte[k / 2] + i);
        to->shift[k] = c->shift;
        to->mask[k] = c->mask;
        to->last[k] = c->rows - 1;
        to->first_row[k] = c->first_row;
    }
}

fl_status fl_packed_ids_init(fl_packed_ids *p, const fl_schema *schema)
{
    uint64_t at = 0;

    *p = (fl_packed_ids){0};
    p->columns = calloc(schema->n_slots + 1u, sizeof *p->columns);
    p->groups = calloc(schema->n_slots / GROUP + 1u, sizeof *p->groups);
    if (!p->columns || !p->groups) {
        fl_packed_ids_deinit(p);
        return FL_NO_MEMORY;
    }
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        const fl_slot *s = &schema->slots[k];
        uint32_t bits = 0;
        if (s->pooling != FL_POOL_NONE)
            continue;
        while (bits < 32 && (uint64_t)(s->rows - 1) >> bits)
            bits++;
        p->columns[p->n_columns++] = (column){(uint32_t)(at / 8), (uint32_t)(at % 8), ((uint64_t)1 << bits) - 1, (uint64_t)s->rows, s->first_row};
        at += bits;
    }
    p->row_bytes = (uint32_t)((at + 7) / 8);
    for (; p->n_groups * GROUP < p->n_columns; p->n_groups++)
        fill_group(p, p->n_groups, &p->groups[p->n_groups]);
    return FL_OK;
}

void fl_packed_ids_deinit(fl_packed_ids *p)
{
    free(p->columns);
    free(p->groups);
    *p = (fl_packed_ids){0};
}

uint64_t fl_packed_ids_bytes(const fl_packed_ids *p, uint64_t rows)
{
    return (rows * p->row_bytes + 7) / 8 * 8;
}

void fl_ids_pack(const fl_packed_ids *p, const int64_t *from, size_t n, char *to)
{
    for (size_t i = 0; i < n; i++, to += p->row_bytes, from += p->n_columns)
        for (uint32_t k = 0; k < p->n_columns; k++) {
            const column *c = &p->columns[k];
            uint64_t word, id = (uint64_t)(from[k] - c->first_row);
            FL_ASSERT(id < c->rows);
            memcpy(&word, to + c->byte, sizeof word);
            word |= id << c->shift;
            memcpy(to + c->byte, &word, sizeof word);
        }
}

static bool unpack_rows(const fl_packed_ids *p, const char *from, int64_t n, int64_t *to)
{
    uint64_t bad = 0;

    for (int64_t i = 0; i < n; i++, from += p->row_bytes, to += p->n_columns)
        for (uint32_t k = 0; k < p->n_columns; k++) {
            const column *c = &p->columns[k];
            uint64_t word;
            memcpy(&word, from + c->byte, sizeof word);
            word = word >> c->shift & c->mask;
            bad |= word >= c->rows;
            to[k] = c->first_row + (int64_t)word;
        }
    return !bad;
}

#if defined(__x86_64__)
/* A group's columns of `n` rows. All four are stored: where it has fewer, the next row's first ones are overwritten. */
__attribute__((target("avx2"))) static inline __m256i unpack_group(const fl_packed_ids *p, const group *g, const char *from, int64_t n, int64_t *to, __m256i bad)
{
    const char *low = from + g->byte[0], *high = from + g->byte[1];
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)g->bytes), shift = _mm256_loadu_si256((const __m256i *)(const void *)g->shift);
    const __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)g->mask), last = _mm256_loadu_si256((const __m256i *)(const void *)g->last);
    const __m256i first_row = _mm256_loadu_si256((const __m256i *)(const void *)g->first_row);
    const size_t row_bytes = p->row_bytes, wide = p->n_columns;

    for (int64_t i = 0; i < n; i++, low += row_bytes, high += row_bytes, to += wide) {
        __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low));
        v = _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(const void *)high), 1);
        v = _mm256_and_si256(_mm256_srlv_epi64(_mm256_shuffle_epi8(v, bytes), shift), mask);
        bad = _mm256_or_si256(bad, _mm256_cmpgt_epi64(v, last));
        _mm256_storeu_si256((__m256i *)(void *)to, _mm256_add_epi64(v, first_row));
    }
    return bad;
}

/* The last group comes first, since it may write into the next row; the last row, which has none, is done one by one. */
__attribute__((target("avx2"))) static bool unpack_v3(const fl_packed_ids *p, const char *from, int64_t n, int64_t *to)
{
    __m256i bad = _mm256_setzero_si256();

    for (int64_t i = 0; i < n - 1; i += TILE) {
        int64_t rows = n - 1 - i < TILE ? n - 1 - i : TILE;
        for (uint32_t g = p->n_groups; g-- > 0;)
            bad = unpack_group(p, &p->groups[g], from + i * p->row_bytes, rows, to + i * p->n_columns + GROUP * g, bad);
    }
    return _mm256_testz_si256(bad, bad) && unpack_rows(p, from + (n - 1) * p->row_bytes, 1, to + (n - 1) * p->n_columns);
}
#endif

bool fl_ids_unpack(const fl_packed_ids *p, const char *from, int64_t n, int64_t *to)
{
#if defined(__x86_64__)
    if (n > 1 && p->n_columns >= GROUP && __builtin_cpu_supports("avx2"))
        return unpack_v3(p, from, n, to);
#endif
    return unpack_rows(p, from, n, to);
}
