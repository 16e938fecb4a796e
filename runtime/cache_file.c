#include "runtime/cache_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "ir/base/strpool.h"
#include "ir/crc32c.h"
#include "runtime/cache_ids.h"

#define CACHE_MAGIC "FLENROWS"

enum { CACHE_VERSION = 2, HEADER_BYTES = 4096, BLOCK_ROWS = 4096, AHEAD_BLOCKS = 32 };

typedef struct cache_header {
    char magic[8];
    uint32_t version, row_bytes; /* the latter of a row's packed ids */
    uint64_t schema_hash;
    uint32_t n_columns, n_bags;
    uint64_t n_rows, n_blocks, file_bytes, index;
    uint32_t index_crc, header_crc; /* the latter of all that precedes it */
} cache_header;

typedef struct cache_block {
    uint64_t offset, bytes;
    uint32_t n_rows, crc;
} cache_block;

_Static_assert(sizeof(cache_header) == 72 && sizeof(cache_block) == 24, "stored as they are");

struct fl_cache {
    char *path;
    int fd; /* -1: none */
    fl_packed_ids ids;
    const fl_schema *schema;
    const char *bytes;
    size_t n_bytes;
    cache_header header;
    const cache_block *blocks;
};

static uint64_t hash_number(uint64_t h, int64_t v)
{
    return fl_hash_bytes(&v, sizeof v, h);
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    return fl_hash_bytes(text ? text : "", n, hash_number(h, (int64_t)n));
}

/* What the encoded rows depend on: slots, transforms, places in the table, vocabulary (NULL: none). */
static uint64_t hash_schema(const fl_schema *schema, const fl_vocabulary *vocabulary)
{
    uint64_t h = hash_number(0, schema->n_slots);
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        const fl_slot *s = &schema->slots[k];
        const int64_t numbers[] = {s->transform, s->vocab, s->rows, s->first_id, s->first_row, s->pooling != FL_POOL_NONE};
        h = hash_text(hash_text(h, s->name), s->column);
        for (size_t i = 0; i < FL_COUNT(numbers); i++)
            h = hash_number(h, numbers[i]);
    }
    h = hash_number(h, schema->table_rows);
    if (vocabulary) {
        size_t n;
        const void *bytes = fl_vocabulary_bytes(vocabulary, &n);
        /* Its header holds the checksum of the rest: reading all again would cost more than opening the cache. */
        h = fl_hash_bytes(bytes, n < 32 ? n : 32, hash_number(h, (int64_t)n));
    }
    return h;
}

/* ------------------------------------------------------------------------------------------------------ reading */

fl_status fl_cache_recognise(const char *path, bool *is_cache, fl_diag *dg)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    struct stat st;
    /* Pipes are never caches, and what is read from them is gone. */
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, magic, sizeof magic, 0) : 0;
    int error = errno;
    close(fd);
    if (n < 0)
        return fl_error(dg, FL_E_READ, FL_FILE(path), "cannot read: %s", strerror(error));
    *is_cache = n == sizeof magic && !memcmp(magic, CACHE_MAGIC, sizeof magic);
    return FL_OK;
}

static fl_status damaged(const char *path, const char *what, fl_diag *dg)
{
    return fl_error(dg, FL_E_CACHE, FL_FILE(path), "the cache is damaged: %s", what);
}

static fl_status map_file(fl_cache *c, fl_diag *dg)
{
    struct stat st;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return fl_error(dg, FL_E_OPEN, FL_FILE(c->path), "cannot open: %s", strerror(error));
    }
    c->fd = fd;
    if (st.st_size < HEADER_BYTES)
        return damaged(c->path, "it is cut short", dg);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return fl_error(dg, FL_E_OPEN, FL_FILE(c->path), "cannot map: %s", strerror(errno));
    c->bytes = map;
    c->n_bytes = (size_t)st.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return FL_OK;
}

static fl_status check_index(fl_cache *c, fl_diag *dg)
{
    const cache_header *h = &c->header;
    if (h->index % 8 || h->index < HEADER_BYTES || h->index > c->n_bytes || h->n_blocks != (c->n_bytes - h->index) / sizeof(cache_block) ||
        (c->n_bytes - h->index) % sizeof(cache_block))
        return damaged(c->path, "its index lies outside the file", dg);
    size_t index_bytes = (size_t)h->n_blocks * sizeof(cache_block);
    if (h->index_crc != (uint32_t)crc32_z(0, (const unsigned char *)c->bytes + h->index, index_bytes))
        return damaged(c->path, "the checksum of its index is wrong", dg);
    c->blocks = (const cache_block *)(const void *)(c->bytes + h->index);
    uint64_t at = HEADER_BYTES, rows = 0;
    for (uint64_t i = 0; i < h->n_blocks; i++) {
        const cache_block *b = &c->blocks[i];
        uint64_t least = fl_packed_ids_bytes(&c->ids, b->n_rows) + (uint64_t)b->n_rows * 4 + (uint64_t)h->n_bags * ((uint64_t)b->n_rows + 1) * 4;
        if (b->offset != at || b->bytes > h->index - at || b->bytes % 8 || b->bytes < least)
            return damaged(c->path, "its blocks do not follow each other", dg);
        at += b->bytes;
        rows += b->n_rows;
    }
    return at == h->index && rows == h->n_rows ? FL_OK : damaged(c->path, "its sizes contradict each other", dg);
}

static fl_status check_header(fl_cache *c, const fl_vocabulary *vocabulary, fl_diag *dg)
{
    cache_header *h = &c->header;
    memcpy(h, c->bytes, sizeof *h);
    if (memcmp(h->magic, CACHE_MAGIC, sizeof h->magic))
        return fl_error(dg, FL_E_CACHE, FL_FILE(c->path), "this is no cache");
    if (h->version != CACHE_VERSION) {
        (void)fl_error(dg, FL_E_CACHE, FL_FILE(c->path), "the cache has format %u, this program reads %d", h->version, CACHE_VERSION);
        fl_hint(dg, "`flenrt prepare` makes it anew");
        return FL_BAD_INPUT;
    }
    if (h->header_crc != (uint32_t)crc32_z(0, (const unsigned char *)h, offsetof(cache_header, header_crc)))
        return damaged(c->path, "the checksum of its header is wrong", dg);
    if (h->file_bytes != c->n_bytes)
        return damaged(c->path, "it is cut short", dg);
    if (fl_packed_ids_init(&c->ids, c->schema) != FL_OK)
        return fl_out_of_memory(dg);
    if (h->row_bytes != c->ids.row_bytes || h->n_columns != c->ids.n_columns || h->n_bags != c->schema->n_slots - c->ids.n_columns ||
        h->schema_hash != hash_schema(c->schema, vocabulary)) {
        (void)fl_error(dg, FL_E_CACHE, FL_FILE(c->path), "the cache was made for a model with other slots, rows or vocabulary");
        fl_hint(dg, "run `flenrt prepare` again with this model, or use the model that prepare wrote beside the cache");
        return FL_BAD_INPUT;
    }
    return check_index(c, dg);
}

fl_status fl_cache_open(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary, fl_cache **out, fl_diag *dg)
{
    fl_cache *c = calloc(1, sizeof *c);
    if (!c || !(c->path = strdup(path))) {
        free(c);
        return fl_out_of_memory(dg);
    }
    c->schema = schema;
    c->fd = -1;
    fl_status status = map_file(c, dg);
    if (status == FL_OK)
        status = check_header(c, vocabulary, dg);
    if (status != FL_OK) {
        fl_cache_close(c);
        return status;
    }
    *out = c;
    return FL_OK;
}

void fl_cache_close(fl_cache *c)
{
    if (!c)
        return;
    if (c->bytes)
        munmap((void *)(uintptr_t)c->bytes, c->n_bytes);
    if (c->fd >= 0)
        close(c->fd);
    fl_packed_ids_deinit(&c->ids);
    free(c->path);
    free(c);
}

uint64_t fl_cache_n_blocks(const fl_cache *c)
{
    return c->header.n_blocks;
}

int64_t fl_cache_position(const fl_cache *c, uint64_t block)
{
    return (int64_t)(block < c->header.n_blocks ? c->blocks[block].offset : c->n_bytes);
}

/* A bag's offsets and values in the block, at *at; advances it. */
static fl_status find_bag(const fl_cache *c, fl_cache_buffer *buffer, size_t end, size_t *at, uint32_t k, fl_diag *dg)
{
    const uint32_t *offsets = (const uint32_t *)(const void *)(buffer->bytes + *at);
    size_t bytes = ((size_t)buffer->n + 1) * 4;
    if (end - *at < bytes || offsets[0] != 0)
        return damaged(c->path, "offsets of values are wrong", dg);
    size_t count = offsets[buffer->n];
    if ((end - *at - bytes) / 4 < count)
        return damaged(c->path, "offsets of values are wrong", dg);
    for (int64_t i = 1; i <= buffer->n; i++)
        if (offsets[i] < offsets[i - 1])
            return damaged(c->path, "offsets of values are wrong", dg);
    buffer->bags[k] = offsets;
    *at += bytes + count * 4;
    return FL_OK;
}

/*
 * Block b into the buffer. By read and not from the mapping: pages that are mapped in cost a fault each few, count as this process's memory until they are let go, and a file that is
 * cut short meanwhile would be a signal instead of a diagnostic.
 */
static fl_status fetch(const fl_cache *c, const cache_block *b, fl_cache_buffer *buffer, fl_diag *dg)
{
    if (buffer->capacity < b->bytes + FL_PACKED_SLACK) {
        free(buffer->bytes);
        buffer->capacity = 0;
        buffer->bytes = malloc(b->bytes + FL_PACKED_SLACK);
        if (!buffer->bytes)
            return fl_out_of_memory(dg);
        buffer->capacity = b->bytes + FL_PACKED_SLACK;
    }
    for (size_t n = 0; n < b->bytes;) {
        ssize_t r = pread(c->fd, buffer->bytes + n, b->bytes - n, (off_t)(b->offset + n));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fl_error(dg, FL_E_READ, FL_FILE(c->path), "cannot read: %s", strerror(errno));
        if (r == 0)
            return damaged(c->path, "it is cut short", dg);
        n += (size_t)r;
    }
    memset(buffer->bytes + b->bytes, 0, FL_PACKED_SLACK);
    return FL_OK;
}

fl_status fl_cache_fetch(const fl_cache *c, uint64_t block, fl_cache_buffer *buffer, fl_diag *dg)
{
    const cache_block *b = &c->blocks[block];

    buffer->n = 0;
    FL_TRY(fetch(c, b, buffer, dg));
    if (b->crc != fl_crc32c(0, buffer->bytes, b->bytes))
        return fl_error(dg, FL_E_CACHE, FL_FILE(c->path), "the cache is damaged: the checksum of block %llu of %llu is wrong",
                        (unsigned long long)block, (unsigned long long)c->header.n_blocks);
    if (c->header.n_bags > 0 && !buffer->bags && !(buffer->bags = calloc(c->header.n_bags, sizeof *buffer->bags)))
        return fl_out_of_memory(dg);
    buffer->n = b->n_rows;
    size_t at = fl_packed_ids_bytes(&c->ids, b->n_rows) + (size_t)b->n_rows * 4;
    for (uint32_t k = 0; k < c->header.n_bags; k++)
        FL_TRY(find_bag(c, buffer, b->bytes, &at, k, dg));
    return FL_OK;
}

/* Rows [from, from + n) of a fetched block's bag k, behind those of `out`. */
static fl_status append_bag(const fl_cache *c, const uint32_t *offsets, int64_t block_rows, int64_t from, int64_t n, uint32_t k, fl_batch *out, fl_diag *dg)
{
    const uint32_t *values = offsets + block_rows + 1 + offsets[from];
    int64_t count = (int64_t)(offsets[from + n] - offsets[from]);
    if (fl_batch_reserve_values(out, k, count) != FL_OK)
        return fl_out_of_memory(dg);
    fl_bag *g = &out->bags[k];
    const fl_slot *s = &c->schema->slots[g->slot];
    for (int64_t i = 1; i <= n; i++)
        g->offsets[out->n + i] = g->n_values + (int64_t)(offsets[from + i] - offsets[from]);
    bool good = true;
    for (int64_t i = 0; i < count; i++) {
        good &= (uint64_t)values[i] - (uint64_t)s->first_row < (uint64_t)s->rows;
        g->values[g->n_values + i] = values[i];
    }
    if (!good)
        return damaged(c->path, "a value lies outside its slot's rows", dg);
    g->n_values += count;
    return FL_OK;
}

fl_status fl_cache_append(const fl_cache *c, const fl_cache_buffer *buffer, int64_t from, int64_t n, int64_t row_base, fl_batch *out, fl_diag *dg)
{
    const char *label = buffer->bytes + fl_packed_ids_bytes(&c->ids, (uint64_t)buffer->n) + (size_t)from * 4;

    FL_ASSERT(from + n <= buffer->n);
    if (n == 0)
        return FL_OK;
    if (fl_batch_reserve(out, out->n + n) != FL_OK)
        return fl_out_of_memory(dg);
    if (!fl_ids_unpack(&c->ids, buffer->bytes + (size_t)from * c->ids.row_bytes, n, out->ids + out->n * (int64_t)c->ids.n_columns))
        return damaged(c->path, "an id lies outside its slot's rows", dg);
    memcpy(out->label + out->n, label, (size_t)n * 4);
    for (uint32_t k = 0; k < c->header.n_bags; k++)
        FL_TRY(append_bag(c, buffer->bags[k], buffer->n, from, n, k, out, dg));
    for (int64_t i = 0; i < n; i++)
        out->row[out->n + i] = row_base + from + i;
    memset(out->bad + out->n, 0, (size_t)n);
    memset(out->part + out->n, 0, (size_t)n);
    out->n += n;
    return FL_OK;
}

void fl_cache_read_ahead(const fl_cache *c, uint64_t block)
{
    if (block % AHEAD_BLOCKS == 0 && block < c->header.n_blocks) {
        uint64_t end = block + 2 * AHEAD_BLOCKS < c->header.n_blocks ? block + 2 * AHEAD_BLOCKS : c->header.n_blocks;
        uint64_t from = c->blocks[block].offset, to = end < c->header.n_blocks ? c->blocks[end].offset : c->n_bytes;
        (void)posix_fadvise(c->fd, (off_t)from, (off_t)(to - from), POSIX_FADV_WILLNEED);
    }
}

void fl_cache_buffer_deinit(fl_cache_buffer *b)
{
    free(b->bytes);
    free(b->bags);
    *b = (fl_cache_buffer){0};
}

/* ------------------------------------------------------------------------------------------------------ writing */

struct fl_cache_writer {
    char *path, *temporary;
    FILE *file;
    cache_header header;
    fl_packed_ids ids;
    fl_batch rows; /* of the block under way */
    cache_block *blocks;
    uint64_t block_capacity;
    char *bytes; /* of the block being written */
    size_t capacity;
};

void fl_cache_abandon(fl_cache_writer *w)
{
    if (!w)
        return;
    if (w->file) {
        fclose(w->file);
        unlink(w->temporary);
    }
    fl_batch_deinit(&w->rows);
    fl_packed_ids_deinit(&w->ids);
    free(w->path);
    free(w->temporary);
    free(w->blocks);
    free(w->bytes);
    free(w);
}

static fl_status write_failed(const fl_cache_writer *w, fl_diag *dg)
{
    return fl_error(dg, FL_E_WRITE, FL_FILE(w->path), "cannot write: %s", strerror(errno));
}

fl_status fl_cache_create(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary, fl_cache_writer **out, fl_diag *dg)
{
    static const char zeros[HEADER_BYTES];
    if (schema->table_rows > INT32_MAX)
        return fl_error(dg, FL_E_ROW_SPACE, FL_NOWHERE, "the table has %lld rows, a cache can number %d", (long long)schema->table_rows, INT32_MAX);
    struct stat at;
    if (stat(path, &at) == 0 && !S_ISREG(at.st_mode) && !S_ISDIR(at.st_mode)) /* a rename would replace it */
        return fl_error(dg, FL_E_WRITE, FL_FILE(path), "a cache is written to regular files only, and this is none");
    fl_cache_writer *w = calloc(1, sizeof *w);
    if (!w)
        return fl_out_of_memory(dg);
    w->path = strdup(path);
    if (!w->path || asprintf(&w->temporary, "%s.tmp.%ld", path, (long)getpid()) < 0 || fl_batch_init(&w->rows, schema) != FL_OK) {
        fl_cache_abandon(w);
        return fl_out_of_memory(dg);
    }
    if (fl_packed_ids_init(&w->ids, schema) != FL_OK) {
        fl_cache_abandon(w);
        return fl_out_of_memory(dg);
    }
    w->header = (cache_header){.version = CACHE_VERSION,
                               .row_bytes = w->ids.row_bytes,
                               .schema_hash = hash_schema(schema, vocabulary),
                               .n_columns = w->rows.n_columns,
                               .n_bags = w->rows.n_bags,
                               .index = HEADER_BYTES};
    memcpy(w->header.magic, CACHE_MAGIC, sizeof w->header.magic);
    w->file = fopen(w->temporary, "wbe");
    if (!w->file) {
        fl_status status = fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot create: %s", strerror(errno));
        fl_cache_abandon(w);
        return status;
    }
    if (fwrite(zeros, 1, HEADER_BYTES, w->file) != HEADER_BYTES) {
        fl_status status = write_failed(w, dg);
        fl_cache_abandon(w);
        return status;
    }
    *out = w;
    return FL_OK;
}

static void put_words(char **to, const int64_t *from, size_t n)
{
    uint32_t *words = (uint32_t *)(void *)*to;
    for (size_t i = 0; i < n; i++)
        words[i] = (uint32_t)from[i];
    *to += 4 * n;
}

static fl_status flush_block(fl_cache_writer *w, fl_diag *dg)
{
    const fl_batch *b = &w->rows;
    size_t n = (size_t)b->n, ids = fl_packed_ids_bytes(&w->ids, n), bytes = ids + n * 4;
    if (n == 0)
        return FL_OK;
    for (uint32_t k = 0; k < b->n_bags; k++)
        bytes += (n + 1 + (size_t)b->bags[k].n_values) * 4;
    bytes = (bytes + 7) / 8 * 8;
    if (bytes + FL_PACKED_SLACK > w->capacity) {
        free(w->bytes);
        w->capacity = 0;
        w->bytes = malloc(bytes + FL_PACKED_SLACK);
        if (!w->bytes)
            return fl_out_of_memory(dg);
        w->capacity = bytes + FL_PACKED_SLACK;
    }
    if (w->header.n_blocks == w->block_capacity) {
        uint64_t capacity = w->block_capacity ? 2 * w->block_capacity : 64;
        cache_block *grown = realloc(w->blocks, capacity * sizeof *grown);
        if (!grown)
            return fl_out_of_memory(dg);
        w->blocks = grown;
        w->block_capacity = capacity;
    }
    memset(w->bytes + bytes - 8, 0, 8);
    memset(w->bytes, 0, ids + FL_PACKED_SLACK);
    char *to = w->bytes;
    fl_ids_pack(&w->ids, b->ids, n, to);
    to += ids;
    memcpy(to, b->label, n * 4);
    to += n * 4;
    for (uint32_t k = 0; k < b->n_bags; k++) {
        put_words(&to, b->bags[k].offsets, n + 1);
        put_words(&to, b->bags[k].values, (size_t)b->bags[k].n_values);
    }
    w->blocks[w->header.n_blocks++] =
        (cache_block){w->header.index, bytes, (uint32_t)n, fl_crc32c(0, w->bytes, bytes)};
    w->header.index += bytes;
    w->header.n_rows += n;
    fl_batch_clear(&w->rows);
    return fwrite(w->bytes, 1, bytes, w->file) == bytes ? FL_OK : write_failed(w, dg);
}

fl_status fl_cache_write(fl_cache_writer *w, const fl_batch *rows, int64_t from, int64_t n, fl_diag *dg)
{
    while (n > 0) {
        int64_t part = BLOCK_ROWS - w->rows.n < n ? BLOCK_ROWS - w->rows.n : n;
        if (fl_batch_append(&w->rows, rows, from, part, 0) != FL_OK)
            return fl_out_of_memory(dg);
        from += part;
        n -= part;
        if (w->rows.n == BLOCK_ROWS)
            FL_TRY(flush_block(w, dg));
    }
    return FL_OK;
}

static fl_status finish(fl_cache_writer *w, fl_diag *dg)
{
    cache_header *h = &w->header;
    FL_TRY(flush_block(w, dg));
    size_t index_bytes = (size_t)h->n_blocks * sizeof *w->blocks;
    h->file_bytes = h->index + index_bytes;
    h->index_crc = (uint32_t)crc32_z(0, (unsigned char *)w->blocks, index_bytes);
    h->header_crc = (uint32_t)crc32_z(0, (unsigned char *)h, offsetof(cache_header, header_crc));
    if ((index_bytes && fwrite(w->blocks, 1, index_bytes, w->file) != index_bytes) || fseeko(w->file, 0, SEEK_SET) != 0 ||
        fwrite(h, 1, sizeof *h, w->file) != sizeof *h || fflush(w->file) != 0 || fsync(fileno(w->file)) != 0 ||
        rename(w->temporary, w->path) != 0)
        return write_failed(w, dg);
    fclose(w->file);
    w->file = NULL; /* under its own name now: abandoning must not remove it */
    return FL_OK;
}

fl_status fl_cache_finish(fl_cache_writer *w, fl_diag *dg)
{
    fl_status status = finish(w, dg);
    fl_cache_abandon(w);
    return status;
}
