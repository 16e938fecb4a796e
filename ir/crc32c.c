/*
 * crc32c.c -- the check by the processor's instruction, which takes three cycles but could begin every cycle: long inputs are checked in three lanes, whose
 * results are put together. The state is linear, so what LANE bytes of zeros make of it is a sum over its bits, or, by tables, over its bytes.
 */
#include "ir/crc32c.h"

#include <pthread.h>
#include <string.h>

enum { LANE = 1024 };

/* Bit by bit over the reflected polynomial: for the rare processor without SSE 4.2. */
static uint32_t plain(uint32_t crc, const unsigned char *p, size_t n)
{
    while (n--) {
        crc ^= *p++;
        for (int k = 0; k < 8; k++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
    return crc;
}

#if defined(__x86_64__)
static uint32_t zeros[4][256]; /* what LANE zeros make of each byte of the state */
static pthread_once_t have_zeros = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static void make_zeros(void)
{
    for (int k = 0; k < 32; k++) {
        uint64_t state = (uint64_t)1 << k;
        for (int i = 0; i < LANE; i += 8)
            state = __builtin_ia32_crc32di(state, 0);
        for (int b = 0; b < 256; b++)
            if (b >> k % 8 & 1)
                zeros[k / 8][b] ^= (uint32_t)state;
    }
}

static uint32_t followed_by_zeros(uint32_t state)
{
    return zeros[0][state & 255] ^ zeros[1][state >> 8 & 255] ^ zeros[2][state >> 16 & 255] ^ zeros[3][state >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t hardware(uint32_t crc, const unsigned char *p, size_t n)
{
    if (n >= 3 * LANE)
        (void)pthread_once(&have_zeros, make_zeros);
    for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
        uint64_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            uint64_t words[3];
            memcpy(&words[0], p + i, 8);
            memcpy(&words[1], p + LANE + i, 8);
            memcpy(&words[2], p + 2 * LANE + i, 8);
            a = __builtin_ia32_crc32di(a, words[0]);
            b = __builtin_ia32_crc32di(b, words[1]);
            c = __builtin_ia32_crc32di(c, words[2]);
        }
        crc = followed_by_zeros(followed_by_zeros((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
    }
    uint64_t wide = crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (n--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

uint32_t fl_crc32c(uint32_t crc, const void *bytes, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~hardware(~crc, bytes, n);
#endif
    return ~plain(~crc, bytes, n);
}
