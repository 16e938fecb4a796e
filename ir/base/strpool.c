#include "ir/base/strpool.h"

#include <string.h>

void fl_strpool_init(fl_strpool *p, fl_arena *arena)
{
    *p = (fl_strpool){.arena = arena};
}

uint64_t fl_hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
    const unsigned char *b = bytes;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h ^ (h >> 32);
}

/* The slot that holds the text, or the free one where it would go. The table is never full. */
static uint32_t probe(const fl_strpool *p, const char *text, size_t n)
{
    uint32_t i = (uint32_t)fl_hash_bytes(text, n, 0) & (p->n_slots - 1);
    while (p->slots[i] && (strncmp(p->slots[i], text, n) != 0 || p->slots[i][n] != '\0'))
        i = (i + 1) & (p->n_slots - 1);
    return i;
}

static bool grow(fl_strpool *p)
{
    fl_strpool bigger = {.arena = p->arena, .n_slots = p->n_slots ? 2 * p->n_slots : 64, .n_used = p->n_used};
    bigger.slots = fl_arena_new(p->arena, const char *, bigger.n_slots);
    if (!bigger.slots)
        return false;
    for (uint32_t i = 0; i < p->n_slots; i++)
        if (p->slots[i])
            bigger.slots[probe(&bigger, p->slots[i], strlen(p->slots[i]))] = p->slots[i];
    *p = bigger;
    return true;
}

const char *fl_strpool_find(const fl_strpool *p, const char *text, size_t n)
{
    return p->n_slots ? p->slots[probe(p, text, n)] : NULL;
}

const char *fl_strpool_put(fl_strpool *p, const char *text, size_t n)
{
    if (2 * (p->n_used + 1) > p->n_slots && !grow(p))
        return NULL;
    uint32_t i = probe(p, text, n);
    if (!p->slots[i]) {
        p->slots[i] = fl_arena_strndup(p->arena, text, n);
        if (!p->slots[i])
            return NULL;
        p->n_used++;
    }
    return p->slots[i];
}
