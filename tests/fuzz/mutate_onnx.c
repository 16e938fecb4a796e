/* mutate_onnx.c -- how libFuzzer changes ONNX files: by fields, and now and then by bytes. */
#include "tests/fuzz/mutate_wire.h"

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t most, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b, uint8_t *out, size_t most, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t most, unsigned seed)
{
    uint64_t random = seed;
    return seed % 16 == 0 ? LLVMFuzzerMutate(bytes, n, most) : mutate_wire(bytes, n, most, &random);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b, uint8_t *out, size_t most, unsigned seed)
{
    uint64_t random = seed;
    return mutate_graft(a, n_a, b, n_b, out, most, &random);
}
