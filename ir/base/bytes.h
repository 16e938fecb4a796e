/*
 * bytes.h -- sizes as people write and read them: decimal units, K M G.
 */
#ifndef FL_IR_BASE_BYTES_H
#define FL_IR_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

/* A whole number from `least` on, with K, M or G behind it or none. False: no such number. */
bool fl_parse_size(const char *text, int64_t least, int64_t *out);
/* "16.8 MB", "4398 GB", "512 bytes" into text, which is returned. */
const char *fl_print_bytes(uint64_t bytes, char text[24]);

#endif
