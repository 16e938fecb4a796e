/*
 * zip.h -- the container of model.bin: a stored ZIP whose entries start at multiples of 4 KiB. Any unzip reads it; ours
 * reads only files that this writer wrote, to the byte: every header is rebuilt and compared, so nothing in a header can lie.
 *
 * The first local header's extra field carries our mark: format version, size of the file, and a check of both. That is
 * how a file is told to be not ours, truncated, damaged, or of a newer version.
 */
#ifndef FL_IR_ZIP_H
#define FL_IR_ZIP_H

#include "ir/base/diag.h"

enum { FL_ZIP_ALIGN = 4096, FL_ZIP_MAX_NAME = 64, FL_ZIP_MAX_ENTRIES = 256, FL_ZIP_FORMAT = 1 };

typedef struct fl_zip_entry {
    char name[FL_ZIP_MAX_NAME];
    uint64_t offset; /* of the data, in the file */
    uint64_t size;
    uint64_t header; /* offset of the local header */
    uint32_t crc;    /* CRC-32 of the data */
} fl_zip_entry;

/* Writes to a descriptor, front to back; headers are patched when sizes and checks are known. */
typedef struct fl_zip_writer {
    int fd;
    const char *path; /* for diagnostics */
    uint64_t at;      /* bytes written */
    uint64_t wide;    /* sizes and offsets from here on use ZIP64; 0: 2^32 - 1 */
    fl_zip_entry entries[FL_ZIP_MAX_ENTRIES];
    uint32_t n_entries;
} fl_zip_writer;

void fl_zip_writer_init(fl_zip_writer *z, int fd, const char *path);
/* Begin an entry of exactly `size` bytes; its data is then written in any number of pieces. FL_IO (reported) if writing fails. */
FL_MUST_USE fl_status fl_zip_begin(fl_zip_writer *z, const char *name, uint64_t size, fl_diag *dg);
FL_MUST_USE fl_status fl_zip_write(fl_zip_writer *z, const void *bytes, size_t n, fl_diag *dg);
/* The central directory, and the checks into the local headers. */
FL_MUST_USE fl_status fl_zip_finish(fl_zip_writer *z, fl_diag *dg);

/*
 * Read the table of entries of `n` bytes in memory. FL_BAD_INPUT (reported against `path`): not ours, truncated, damaged;
 * FL_UNSUPPORTED: a newer version. The data's own checks are not made: they are compared by fl_zip_check.
 */
FL_MUST_USE fl_status fl_zip_read(const void *bytes, uint64_t n, const char *path, fl_zip_entry *entries, uint32_t *n_entries, fl_diag *dg);
/* CRC-32 of an entry's data, in any number of pieces: from 0, or the result for the bytes before these. */
uint32_t fl_zip_crc(uint32_t crc, const void *bytes, size_t n);
/* Is that what the entry's header says? */
FL_MUST_USE fl_status fl_zip_check(const fl_zip_entry *e, uint32_t crc, const char *path, fl_diag *dg);

#endif
