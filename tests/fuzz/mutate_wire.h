/*
 * mutate_wire.h -- mutations that know protobuf's wire format: fields come, go, change places and values, and every length around them stays
 * right, so that a mutated file reaches what lies behind the parser.
 */
#ifndef FL_TESTS_MUTATE_WIRE_H
#define FL_TESTS_MUTATE_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Of libFuzzer: n bytes changed in place, at most `most`; the new length. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t most);

/* A small generator: libFuzzer gives a seed a call. */
static inline uint64_t mutate_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* The message in `bytes` changed at one place, in place, to at most `most` bytes; the new length. */
size_t mutate_wire(uint8_t *bytes, size_t n, size_t most, uint64_t *random);
/* A field of `donor` takes the place of one with the same number in `bytes`; into `out`, at most `most`. The length, 0 if it does not fit. */
size_t mutate_graft(const uint8_t *bytes, size_t n, const uint8_t *donor, size_t n_donor, uint8_t *out, size_t most, uint64_t *random);

#endif
