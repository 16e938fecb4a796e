#include "ir/zip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    END_SIGNATURE = 0x06054b50,
    END64_SIGNATURE = 0x06064b50,
    LOCATOR_SIGNATURE = 0x07064b50,
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    EXTRA_ZIP64 = 0x0001,
    EXTRA_OURS = 0x4c46, /* "FL": padding, and in the first entry the mark */
    MARK_BYTES = 20,     /* "flen", version, size of the file (8), CRC-32 of these 16 */
    DOS_DATE = 0x5821,   /* 2024-01-01, so that equal models are equal files */
    MAX_HEADER = LOCAL_BYTES + FL_ZIP_MAX_NAME + 20 + 4 + MARK_BYTES + FL_ZIP_ALIGN
};

static const char mark_word[4] = {'f', 'l', 'e', 'n'};

/* ------------------------------------------------------------------------------------------------ raw numbers */

typedef struct buffer {
    unsigned char *bytes;
    size_t n;
} buffer;

static void put(buffer *b, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        b->bytes[b->n++] = (unsigned char)(value >> (8 * i));
}

static void put_bytes(buffer *b, const void *bytes, size_t n)
{
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static uint64_t get(const unsigned char *p, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static uint64_t narrow(uint64_t value, bool wide)
{
    return wide ? UINT32_MAX : value;
}

/* ---------------------------------------------------------------------------------- headers, built from an entry */

static size_t put_local(unsigned char *out, const fl_zip_entry *e, bool first, uint64_t file_size, uint64_t wide_from)
{
    buffer b = {out, 0};
    bool wide = e->size >= wide_from;
    size_t name = strlen(e->name);
    size_t fixed = LOCAL_BYTES + name + (wide ? 20 : 0) + 4 + (first ? MARK_BYTES : 0);
    size_t padding = (size_t)(-(e->header + fixed) & (FL_ZIP_ALIGN - 1));
    put(&b, LOCAL_SIGNATURE, 4);
    put(&b, wide ? 45 : 20, 2);
    put(&b, 0, 2); /* flags */
    put(&b, 0, 2); /* stored */
    put(&b, 0, 2); /* time */
    put(&b, DOS_DATE, 2);
    put(&b, e->crc, 4);
    put(&b, narrow(e->size, wide), 4);
    put(&b, narrow(e->size, wide), 4);
    put(&b, name, 2);
    put(&b, fixed - LOCAL_BYTES - name + padding, 2);
    put_bytes(&b, e->name, name);
    if (wide) {
        put(&b, EXTRA_ZIP64, 2);
        put(&b, 16, 2);
        put(&b, e->size, 8);
        put(&b, e->size, 8);
    }
    put(&b, EXTRA_OURS, 2);
    put(&b, padding + (first ? MARK_BYTES : 0), 2);
    if (first) {
        size_t start = b.n;
        put_bytes(&b, mark_word, sizeof mark_word);
        put(&b, FL_ZIP_FORMAT, 4);
        put(&b, file_size, 8);
        put(&b, crc32(0, b.bytes + start, 16), 4);
    }
    memset(b.bytes + b.n, 0, padding);
    return b.n + padding;
}

static size_t put_central(unsigned char *out, const fl_zip_entry *e, uint64_t wide_from)
{
    buffer b = {out, 0};
    bool wide = e->size >= wide_from, far = e->header >= wide_from;
    size_t name = strlen(e->name), extra = (wide ? 16u : 0u) + (far ? 8u : 0u);
    put(&b, CENTRAL_SIGNATURE, 4);
    put(&b, 45, 2); /* made by */
    put(&b, extra ? 45 : 20, 2);
    put(&b, 0, 2);
    put(&b, 0, 2);
    put(&b, 0, 2);
    put(&b, DOS_DATE, 2);
    put(&b, e->crc, 4);
    put(&b, narrow(e->size, wide), 4);
    put(&b, narrow(e->size, wide), 4);
    put(&b, name, 2);
    put(&b, extra ? extra + 4 : 0, 2);
    put(&b, 0, 2); /* comment */
    put(&b, 0, 2); /* disk */
    put(&b, 0, 2);
    put(&b, 0, 4); /* attributes */
    put(&b, narrow(e->header, far), 4);
    put_bytes(&b, e->name, name);
    if (extra) {
        put(&b, EXTRA_ZIP64, 2);
        put(&b, extra, 2);
        if (wide) {
            put(&b, e->size, 8);
            put(&b, e->size, 8);
        }
        if (far)
            put(&b, e->header, 8);
    }
    return b.n;
}

/* End records: always with ZIP64's, so that the tail has one length. */
enum { TAIL_BYTES = END64_BYTES + LOCATOR_BYTES + END_BYTES };

static void put_tail(unsigned char *out, uint32_t n_entries, uint64_t start, uint64_t size, uint64_t wide_from)
{
    buffer b = {out, 0};
    put(&b, END64_SIGNATURE, 4);
    put(&b, END64_BYTES - 12, 8);
    put(&b, 45, 2);
    put(&b, 45, 2);
    put(&b, 0, 4);
    put(&b, 0, 4);
    put(&b, n_entries, 8);
    put(&b, n_entries, 8);
    put(&b, size, 8);
    put(&b, start, 8);
    put(&b, LOCATOR_SIGNATURE, 4);
    put(&b, 0, 4);
    put(&b, start + size, 8);
    put(&b, 1, 4);
    put(&b, END_SIGNATURE, 4);
    put(&b, 0, 2);
    put(&b, 0, 2);
    put(&b, n_entries, 2);
    put(&b, n_entries, 2);
    put(&b, size, 4);
    put(&b, narrow(start, start >= wide_from), 4);
    put(&b, 0, 2);
}

/* ---------------------------------------------------------------------------------------------------- writing */

static fl_status write_all(fl_zip_writer *z, const void *bytes, size_t n, uint64_t at, fl_diag *dg)
{
    const char *p = bytes;
    while (n) {
        ssize_t k = pwrite(z->fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return fl_error(dg, FL_E_WRITE, FL_FILE(z->path), "cannot write: %s", k < 0 ? strerror(errno) : "no room");
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return FL_OK;
}

void fl_zip_writer_init(fl_zip_writer *z, int fd, const char *path)
{
    memset(z, 0, sizeof *z);
    z->fd = fd;
    z->path = path;
    z->wide = UINT32_MAX;
}

fl_status fl_zip_begin(fl_zip_writer *z, const char *name, uint64_t size, fl_diag *dg)
{
    if (z->n_entries == FL_ZIP_MAX_ENTRIES || !*name || strlen(name) >= FL_ZIP_MAX_NAME)
        return fl_error(dg, FL_E_MODEL_VARIABLE, FL_FILE(z->path), "cannot store the part \"%s\": at most %d parts, names of 1 to %d bytes",
                        name, FL_ZIP_MAX_ENTRIES, FL_ZIP_MAX_NAME - 1);
    fl_zip_entry *e = &z->entries[z->n_entries];
    *e = (fl_zip_entry){.header = z->at, .size = size};
    strcpy(e->name, name);
    unsigned char header[MAX_HEADER];
    size_t n = put_local(header, e, z->n_entries == 0, 0, z->wide);
    e->offset = e->header + n;
    FL_TRY(write_all(z, header, n, z->at, dg));
    z->at += n;
    z->n_entries++;
    return FL_OK;
}

fl_status fl_zip_write(fl_zip_writer *z, const void *bytes, size_t n, fl_diag *dg)
{
    fl_zip_entry *e = &z->entries[z->n_entries - 1];
    FL_ASSERT(z->at + n <= e->offset + e->size);
    e->crc = fl_zip_crc(e->crc, bytes, n);
    FL_TRY(write_all(z, bytes, n, z->at, dg));
    z->at += n;
    return FL_OK;
}

fl_status fl_zip_finish(fl_zip_writer *z, fl_diag *dg)
{
    uint64_t start = z->at;
    unsigned char bytes[MAX_HEADER];
    for (uint32_t i = 0; i < z->n_entries; i++) {
        size_t n = put_central(bytes, &z->entries[i], z->wide);
        FL_TRY(write_all(z, bytes, n, z->at, dg));
        z->at += n;
    }
    put_tail(bytes, z->n_entries, start, z->at - start, z->wide);
    FL_TRY(write_all(z, bytes, TAIL_BYTES, z->at, dg));
    z->at += TAIL_BYTES;
    for (uint32_t i = 0; i < z->n_entries; i++) {
        const fl_zip_entry *e = &z->entries[i];
        FL_ASSERT(i + 1 == z->n_entries || z->entries[i + 1].header == e->offset + e->size);
        size_t n = put_local(bytes, e, i == 0, z->at, z->wide);
        FL_TRY(write_all(z, bytes, n, e->header, dg));
    }
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- reading */

static fl_status damaged(fl_diag *dg, const char *path, const char *what)
{
    return fl_error(dg, FL_E_MODEL_DAMAGED, FL_FILE(path), "the file is damaged: %s", what);
}

/* Not ours, newer, or of another size than it says? */
static fl_status read_mark(const unsigned char *p, uint64_t n, const char *path, fl_diag *dg)
{
    static const char first[] = "manifest.json";
    size_t at = LOCAL_BYTES + sizeof first - 1 + 4;
    static const unsigned char signature[4] = {'P', 'K', 3, 4};
    if (n < 4 || memcmp(p, signature, 4) != 0) {
        /* A damaged signature of a file that is ours in all the rest. */
        bool ours = n >= at + MARK_BYTES && memcmp(p + at, mark_word, 4) == 0 && get(p + at + 16, 4) == crc32(0, p + at, 16);
        return ours ? damaged(dg, path, "the header of \"manifest.json\" is wrong")
                    : fl_error(dg, FL_E_MODEL_FOREIGN, FL_FILE(path), "this is not a model.bin%s", n ? "" : ": the file is empty");
    }
    if (n < at + MARK_BYTES)
        return fl_error(dg, FL_E_MODEL_TRUNCATED, FL_FILE(path), "the file is truncated: only %llu bytes are there", (unsigned long long)n);
    bool name = memcmp(p + LOCAL_BYTES, first, sizeof first - 1) == 0, mark = memcmp(p + at, mark_word, 4) == 0;
    bool checked = get(p + at + 16, 4) == crc32(0, p + at, 16);
    if (!checked)
        return name || mark ? damaged(dg, path, "the mark in its first header is wrong")
                            : fl_error(dg, FL_E_MODEL_FOREIGN, FL_FILE(path), "this is a ZIP, but not a model.bin");
    uint64_t version = get(p + at + 4, 4), size = get(p + at + 8, 8);
    if (version > FL_ZIP_FORMAT)
        return fl_error(dg, FL_E_MODEL_NEWER, FL_FILE(path), "the file has format %llu; this flen reads up to %d", (unsigned long long)version,
                        FL_ZIP_FORMAT);
    if (n < size)
        return fl_error(dg, FL_E_MODEL_TRUNCATED, FL_FILE(path), "the file is truncated: %llu of %llu bytes are there",
                        (unsigned long long)n, (unsigned long long)size);
    if (n > size)
        return damaged(dg, path, "bytes follow after its end");
    return FL_OK;
}

/* Sizes and offsets of one central record; false if it reaches beyond `end`. */
static bool read_central(const unsigned char *p, uint64_t n, fl_zip_entry *e, size_t *used)
{
    if (n < CENTRAL_BYTES)
        return false;
    size_t name = get(p + 28, 2), extra = get(p + 30, 2);
    if (n < CENTRAL_BYTES + name + extra || name == 0 || name >= FL_ZIP_MAX_NAME || (extra != 0 && extra < 12) || memchr(p + CENTRAL_BYTES, 0, name))
        return false;
    memset(e, 0, sizeof *e);
    memcpy(e->name, p + CENTRAL_BYTES, name);
    const unsigned char *wide = p + CENTRAL_BYTES + name + 4, *end = wide + (extra ? extra - 4 : 0);
    e->crc = (uint32_t)get(p + 16, 4);
    e->size = get(p + 20, 4);
    e->header = get(p + 42, 4);
    if (e->size == UINT32_MAX && end - wide >= 16) {
        e->size = get(wide, 8);
        wide += 16;
    }
    if (e->header == UINT32_MAX && end - wide >= 8)
        e->header = get(wide, 8);
    *used = CENTRAL_BYTES + name + extra;
    return true;
}

/* The headers that our writer makes of this entry must be the ones in the file. */
static fl_status check_entry(const unsigned char *p, uint64_t start, fl_zip_entry *e, bool first, uint64_t n, const char *path, fl_diag *dg)
{
    unsigned char header[MAX_HEADER];
    uint64_t wide = UINT32_MAX;
    size_t length = e->header < start ? put_local(header, e, first, n, wide) : 0;
    if (length == 0 || length > start - e->header || memcmp(header, p + e->header, length) != 0 || e->size > start - e->header - length)
        return fl_error(dg, FL_E_MODEL_DAMAGED, FL_FILE(path), "the file is damaged: the header of \"%s\" is wrong", e->name);
    e->offset = e->header + length;
    return FL_OK;
}

fl_status fl_zip_read(const void *bytes, uint64_t n, const char *path, fl_zip_entry *entries, uint32_t *n_entries, fl_diag *dg)
{
    const unsigned char *p = bytes;
    FL_TRY(read_mark(p, n, path, dg));
    static const char directory[] = "its directory of parts is wrong";
    if (n < TAIL_BYTES)
        return damaged(dg, path, directory);
    const unsigned char *tail = p + n - TAIL_BYTES;
    uint64_t count = get(tail + 24, 8), size = get(tail + 40, 8), start = get(tail + 48, 8);
    unsigned char expected[MAX_HEADER];
    if (count == 0 || count > FL_ZIP_MAX_ENTRIES || start > n - TAIL_BYTES || size != n - TAIL_BYTES - start)
        return damaged(dg, path, directory);
    put_tail(expected, (uint32_t)count, start, size, UINT32_MAX);
    if (memcmp(expected, tail, TAIL_BYTES) != 0)
        return damaged(dg, path, directory);
    uint64_t at = start, next = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t used;
        fl_zip_entry *e = &entries[i];
        if (!read_central(p + at, start + size - at, e, &used) || put_central(expected, e, UINT32_MAX) != used ||
            memcmp(expected, p + at, used) != 0 || e->header != next)
            return damaged(dg, path, directory);
        at += used;
        FL_TRY(check_entry(p, start, e, i == 0, n, path, dg));
        next = e->offset + e->size;
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(entries[k].name, e->name) == 0)
                return damaged(dg, path, directory);
    }
    if (at != start + size || next != start)
        return damaged(dg, path, directory);
    *n_entries = (uint32_t)count;
    return FL_OK;
}

uint32_t fl_zip_crc(uint32_t crc, const void *bytes, size_t n)
{
    return n ? (uint32_t)crc32_z(crc, bytes, n) : crc; /* zlib takes NULL as a call to reset */
}

fl_status fl_zip_check(const fl_zip_entry *e, uint32_t crc, const char *path, fl_diag *dg)
{
    if (e->crc == crc)
        return FL_OK;
    return fl_error(dg, FL_E_MODEL_DAMAGED, FL_FILE(path), "the file is damaged: the checksum of \"%s\" is wrong", e->name);
}
