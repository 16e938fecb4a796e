/*
 * byte_source.h -- the bytes of a file, decompressed where its first bytes say gzip or zstd.
 */
#ifndef FL_RUNTIME_BYTE_SOURCE_H
#define FL_RUNTIME_BYTE_SOURCE_H

#include "ir/base/diag.h"

typedef struct fl_byte_source fl_byte_source;

/* Path "-" is standard input. `path` is borrowed. */
FL_MUST_USE fl_status fl_byte_source_open(const char *path, fl_byte_source **out, fl_diag *dg);
/*
 * Up to n > 0 bytes into `to`; *got is 0 only at the end. Errors: the system's; compressed data that is damaged or
 * ends early. Bytes read before an error are lost with it.
 */
FL_MUST_USE fl_status fl_byte_source_read(fl_byte_source *s, void *to, size_t n, size_t *got, fl_diag *dg);
/* Bytes of the file itself that were read so far (compressed ones if it is compressed). */
int64_t fl_byte_source_position(const fl_byte_source *s);
void fl_byte_source_close(fl_byte_source *s); /* NULL is fine */

#endif
