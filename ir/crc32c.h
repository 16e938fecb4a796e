/*
 * crc32c.h -- CRC-32C (Castagnoli), the check of weight blocks: hardware has an instruction for it.
 */
#ifndef FL_IR_CRC32C_H
#define FL_IR_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The check of `n` bytes; `crc` is 0, or the result for the bytes before them. */
uint32_t fl_crc32c(uint32_t crc, const void *bytes, size_t n);

#endif
