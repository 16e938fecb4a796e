#include "ir/base/strpool.h"

#include <string.h>
#include <sys/random.h>
#include <threads.h>
#include <time.h>

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

static uint64_t name_key[2];

static void draw_name_key(void)
{
    struct timespec now;
    if (getrandom(name_key, sizeof name_key, 0) == (ssize_t)sizeof name_key)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    name_key[0] = (uint64_t)now.tv_nsec ^ (uintptr_t)&now;
    name_key[1] = (uint64_t)now.tv_sec * 0x9e3779b97f4a7c15u;
}

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

uint64_t fl_hash_name(const char *name, size_t n)
{
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, draw_name_key);
    uint64_t v[4] = {name_key[0] ^ 0x736f6d6570736575u, name_key[1] ^ 0x646f72616e646f6du, name_key[0] ^ 0x6c7967656e657261u,
                     name_key[1] ^ 0x7465646279746573u};
    for (size_t i = 0; i + 8 <= n + 8; i += 8) {
        uint64_t word = 0;
        if (i + 8 > n)
            word = (uint64_t)n << 56;
        memcpy(&word, name + i, i + 8 > n ? n - i : 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int k = 0; k < 3; k++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot that holds the text, or the free one where it would go. The table is never full. */
static uint32_t probe(const fl_strpool *p, const char *text, size_t n)
{
    uint32_t i = (uint32_t)fl_hash_name(text, n) & (p->n_slots - 1);
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
