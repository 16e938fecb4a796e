/*
 * sha256.h -- FIPS 180-4, for names and checks of cached code: a model must not be able to choose whose code it gets.
 */
#ifndef FL_RUNTIME_SHA256_H
#define FL_RUNTIME_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct fl_sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
} fl_sha256;

void fl_sha256_init(fl_sha256 *h);
void fl_sha256_add(fl_sha256 *h, const void *bytes, size_t n);
void fl_sha256_end(fl_sha256 *h, uint8_t digest[32]);

#endif
