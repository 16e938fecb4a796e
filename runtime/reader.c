/*
 * reader.c -- files to chunks of whole lines, chunks to blocks of rows, blocks to batches.
 *
 * Chunks go through a ring in the order of the input. A worker takes its turn at the input (reading and decompressing
 * are sequential), decodes outside the lock, and marks its place in the ring as ready; the consumer walks the ring in
 * order. So rows never change places, whatever the number of workers, and memory is the ring's. Without workers the
 * consumer does a worker's turn itself: one path for both.
 *
 * A cache's blocks stay packed in the ring, and their rows are unpacked into the batch that they are handed out in: unpacked blocks would be written to and read
 * from the outer caches. What is left to do ahead is a copy from the page cache and a checksum, a hundredth of a training step, so one worker does it if a CPU is free for
 * it, and none does where it would take a CPU away from a step. Whoever has several threads for the time between two steps lends one (fl_reader_help): blocks are then fetched by two at a time.
 *
 * Lines and rows are numbered in their block; only the consumer, who sees blocks in order, knows what came before.
 */
#include "runtime/reader.h"

#include "runtime/reader_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "runtime/byte_source.h"
#include "runtime/cache_file.h"
#include "runtime/file_list.h"
#include "runtime/row_decoder.h"
#include "runtime/threads.h"

enum { CHUNK_BYTES = 256 << 10, PER_THREAD = 4, HELPED = 2, MAX_THREADS = 64 };

typedef enum chunk_kind {
    CHUNK_TEXT,
    CHUNK_LONG_LINE, /* one line beyond FL_MAX_LINE; its text is gone */
    CHUNK_CACHE,
    CHUNK_END,
    CHUNK_FAILED /* with a report */
} chunk_kind;

typedef struct place {
    chunk_kind kind;
    bool ready;
    uint32_t file;        /* index into the list */
    int64_t lines_before; /* header lines, at the start of a file */
    bool starts_file;
    char *buffer;
    size_t capacity, begin, end; /* text is buffer[begin, end) */
    uint64_t long_bytes;
    uint64_t cache_block;
    int64_t file_bytes; /* read so far, of all files */
    const fl_layout *layout;
    fl_cache *cache;
    fl_cache_buffer cached;
    fl_row_block block;
    fl_diag dg;
} place;

struct fl_reader {
    const fl_schema *schema;
    fl_reader_options options;
    bool quiet; /* bad rows are counted, not reported */
    fl_decoder decoder;
    fl_file_list files;

    /* the input: whoever holds `input_lock` */
    pthread_mutex_t input_lock;
    uint64_t n_produced;
    bool input_ended, in_file;
    uint32_t file;
    fl_byte_source *source;
    fl_cache **caches;  /* [files], NULL where the file is none */
    fl_layout *layouts; /* [files] */
    bool have_layout;
    bool source_ended;
    char *carry; /* what was read behind the last whole line */
    size_t carry_bytes;
    uint64_t next_cache_block;
    int64_t closed_bytes;

    /* the ring */
    pthread_mutex_t ring_lock;
    pthread_cond_t ring_changed;
    place *ring;
    uint32_t n_ring; /* PER_THREAD a thread; without: 1, or HELPED */
    uint64_t n_consumed;
    bool stopping;

    pthread_t threads[MAX_THREADS];
    fl_value_encoder encoders[MAX_THREADS + 1];
    uint32_t n_threads, n_encoders;

    /* the consumer */
    place *current;
    int64_t current_row;  /* of current's block: rows before it were handed out */
    int64_t lines_before, rows_before;
    uint32_t n_reported;
    bool ended;
    fl_status failed;
    fl_reader_stats stats;
};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------- the input */

static bool grow_buffer(place *c, size_t capacity)
{
    if (c->capacity >= capacity)
        return true;
    char *grown = realloc(c->buffer, capacity + FL_TEXT_SLACK);
    if (!grown)
        return false;
    c->buffer = grown;
    c->capacity = capacity;
    return true;
}

static fl_status close_file(fl_reader *r)
{
    if (r->source)
        r->closed_bytes += fl_byte_source_position(r->source);
    fl_byte_source_close(r->source);
    r->source = NULL;
    r->in_file = false;
    r->file++;
    return FL_OK;
}

static fl_status open_file(fl_reader *r, fl_diag *dg)
{
    const char *path = r->files.paths[r->file];
    r->carry_bytes = 0;
    r->have_layout = r->source_ended = false;
    r->next_cache_block = 0;
    bool is_cache = false;
    if (strcmp(path, "-"))
        FL_TRY(fl_cache_recognise(path, &is_cache, dg));
    if (is_cache)
        FL_TRY(fl_cache_open(path, r->schema, r->encoders[0].vocabulary, &r->caches[r->file], dg));
    else
        FL_TRY(fl_byte_source_open(path, &r->source, dg));
    r->in_file = true;
    return FL_OK;
}

/* Fill c->buffer[0, c->end) up to `want` bytes. */
static fl_status fill(fl_reader *r, place *c, size_t want, fl_diag *dg)
{
    while (c->end < want && !r->source_ended) {
        size_t got;
        FL_TRY(fl_byte_source_read(r->source, c->buffer + c->end, want - c->end, &got, dg));
        r->source_ended = got == 0;
        c->end += got;
    }
    return FL_OK;
}

/* Where the last whole row of the chunk ends; c->begin: there is none. */
static size_t last_row_end(const fl_reader *r, const place *c)
{
    const char *begin = c->buffer + c->begin, *end = c->buffer + c->end;
    const char *last = memrchr(begin, '\n', (size_t)(end - begin));
    if (!last)
        return c->begin;
    const fl_layout *l = r->have_layout ? &r->layouts[r->file] : NULL;
    if (!l || l->format != FL_FORMAT_CSV || !memchr(begin, '"', (size_t)(end - begin)))
        return (size_t)(last + 1 - c->buffer);
    const char *p = begin;
    for (const char *next; p < end && (next = fl_csv_record_end(p, (size_t)(end - p), l->delimiter)); p = next)
        ;
    return (size_t)(p - c->buffer);
}

/* The line at the start of the chunk does not fit: read on to its end. What follows it becomes the carry. */
static fl_status skip_long_line(fl_reader *r, place *c, fl_diag *dg)
{
    c->kind = CHUNK_LONG_LINE;
    c->long_bytes = c->end - c->begin;
    for (;;) {
        c->begin = c->end = 0;
        FL_TRY(fill(r, c, CHUNK_BYTES, dg));
        const char *stop = memchr(c->buffer, '\n', c->end);
        if (stop || c->end == 0) {
            size_t used = stop ? (size_t)(stop + 1 - c->buffer) : 0;
            c->long_bytes += stop ? used - 1 : 0;
            r->carry_bytes = c->end - used;
            memcpy(r->carry, c->buffer + used, r->carry_bytes);
            return FL_OK;
        }
        c->long_bytes += c->end;
    }
}

/* Recognise the file once its first line is there, and take the header away. */
static fl_status begin_layout(fl_reader *r, place *c, fl_diag *dg)
{
    const char *path = r->files.paths[r->file];
    size_t used = 0;
    bool known = false;
    if (c->end - c->begin >= 3 && !memcmp(c->buffer + c->begin, "\xef\xbb\xbf", 3))
        c->begin += 3; /* a byte order mark */
    FL_TRY(fl_layout_recognise(&r->decoder, path, c->buffer + c->begin, c->end - c->begin, &r->layouts[r->file], &used, &known, dg));
    if (!known)
        return FL_OK;
    r->have_layout = true;
    for (size_t i = 0; i < used; i++)
        c->lines_before += c->buffer[c->begin + i] == '\n';
    c->begin += used;
    return FL_OK;
}

/* The next chunk of the open file. c->begin == c->end and source_ended: the file has ended. */
static fl_status read_text(fl_reader *r, place *c, fl_diag *dg)
{
    size_t want = r->carry_bytes < CHUNK_BYTES ? CHUNK_BYTES : r->carry_bytes, row_end;
    if (!grow_buffer(c, want + 1))
        return fl_out_of_memory(dg);
    c->kind = CHUNK_TEXT;
    c->begin = 0;
    c->end = r->carry_bytes;
    memcpy(c->buffer, r->carry, r->carry_bytes);
    for (;;) {
        FL_TRY(fill(r, c, want, dg));
        if (r->source_ended && c->end > c->begin && c->buffer[c->end - 1] != '\n')
            c->buffer[c->end++] = '\n';
        if (!r->have_layout && memchr(c->buffer + c->begin, '\n', c->end - c->begin))
            FL_TRY(begin_layout(r, c, dg));
        row_end = r->source_ended ? c->end : last_row_end(r, c);
        if (row_end > c->begin || r->source_ended)
            break;
        if (c->end - c->begin > FL_MAX_LINE) {
            const char *line = memchr(c->buffer + c->begin, '\n', c->end - c->begin);
            if (!line)
                return skip_long_line(r, c, dg);
            row_end = (size_t)(line + 1 - c->buffer); /* a quote that never ends: its line alone */
            break;
        }
        want = c->end + CHUNK_BYTES; /* one byte beyond the limit tells a line that is too long */
        if (want > c->begin + FL_MAX_LINE + 1)
            want = c->begin + FL_MAX_LINE + 1;
        if (!grow_buffer(c, want + 1))
            return fl_out_of_memory(dg);
    }
    r->carry_bytes = c->end - row_end;
    memcpy(r->carry, c->buffer + row_end, r->carry_bytes);
    c->end = row_end;
    memset(c->buffer + c->end, 0, FL_TEXT_SLACK);
    if (c->end > c->begin)
        c->buffer[c->end] = '\n'; /* a second stop, for words that are looked at beyond the end */
    return FL_OK;
}

/* The next chunk of the input, of whatever kind. */
static fl_status read_chunk(fl_reader *r, place *c, fl_diag *dg)
{
    c->lines_before = 0;
    c->starts_file = false;
    for (;;) {
        if (!r->in_file) {
            if (r->file == r->files.n) {
                c->kind = CHUNK_END;
                return FL_OK;
            }
            FL_TRY(open_file(r, dg));
            c->starts_file = true;
            c->lines_before = 0;
        }
        c->file = r->file;
        fl_cache *cache = r->caches[r->file];
        if (cache) {
            if (r->next_cache_block < fl_cache_n_blocks(cache)) {
                c->kind = CHUNK_CACHE;
                c->cache = cache;
                c->cache_block = r->next_cache_block++;
                c->file_bytes = r->closed_bytes + fl_cache_position(cache, r->next_cache_block);
                return FL_OK;
            }
            r->closed_bytes += fl_cache_position(cache, r->next_cache_block);
        } else {
            FL_TRY(read_text(r, c, dg));
            if (c->end > c->begin || c->kind == CHUNK_LONG_LINE) {
                c->file_bytes = r->closed_bytes + fl_byte_source_position(r->source);
                c->layout = r->have_layout ? &r->layouts[r->file] : NULL;
                return FL_OK;
            }
        }
        FL_TRY(close_file(r));
    }
}

/* ------------------------------------------------------------------------------------------------- the workers */

static void decode_chunk(const fl_reader *r, const fl_value_encoder *e, place *c)
{
    fl_row_block *b = &c->block;
    const char *text = c->buffer + c->begin;
    size_t n = c->end - c->begin;

    fl_row_block_clear(b, &r->decoder);
    c->cached.n = 0;
    if (c->kind == CHUNK_LONG_LINE) {
        if (fl_row_begin(b))
            fl_row_fail(&r->decoder, b, 0, 0, FL_E_LONG_LINE, "the line has %llu bytes, %zu are the limit",
                        (unsigned long long)c->long_bytes, FL_MAX_LINE);
        b->n_lines = 1;
    } else if (c->kind == CHUNK_CACHE) {
        if (r->n_ring <= HELPED) /* no workers: n_threads is still counted when the first one is here */
            fl_cache_read_ahead(c->cache, c->cache_block);
        fl_status status = fl_cache_fetch(c->cache, c->cache_block, &c->cached, &c->dg);
        if (status != FL_OK)
            c->kind = CHUNK_FAILED;
        b->status = status;
        b->n_rows = c->cached.n;
    } else if (c->kind == CHUNK_TEXT && !c->layout) { /* blank lines before a file's first row */
        for (size_t i = 0; i < n; i++)
            b->n_lines += text[i] == '\n';
    } else if (c->kind == CHUNK_TEXT) {
        switch (c->layout->format) {
        case FL_FORMAT_SLOTS:
            fl_decode_slots(&r->decoder, e, text, n, b);
            break;
        case FL_FORMAT_COMMA:
            fl_decode_comma(&r->decoder, e, c->layout, text, n, b);
            break;
        case FL_FORMAT_CSV:
            fl_decode_csv(&r->decoder, e, c->layout, text, n, b);
            break;
        }
    }
    if (b->status == FL_NO_MEMORY) {
        (void)fl_out_of_memory(&c->dg);
        c->kind = CHUNK_FAILED;
    }
}

/* One turn: the next chunk into its place in the ring. False: the input has ended, the reader is closing, or the ring is full and nobody wants to wait. */
static bool produce(fl_reader *r, const fl_value_encoder *e, bool wait)
{
    pthread_mutex_lock(&r->input_lock);
    if (r->input_ended) {
        pthread_mutex_unlock(&r->input_lock);
        return false;
    }
    uint64_t number = r->n_produced;
    place *c = &r->ring[number % r->n_ring];
    pthread_mutex_lock(&r->ring_lock);
    while (wait && !r->stopping && number - r->n_consumed >= r->n_ring)
        pthread_cond_wait(&r->ring_changed, &r->ring_lock);
    bool stopping = r->stopping || number - r->n_consumed >= r->n_ring;
    pthread_mutex_unlock(&r->ring_lock);
    if (stopping) {
        pthread_mutex_unlock(&r->input_lock);
        return false;
    }
    r->n_produced++;
    fl_status status = read_chunk(r, c, &c->dg);
    if (status != FL_OK)
        c->kind = CHUNK_FAILED;
    r->input_ended = c->kind == CHUNK_END || c->kind == CHUNK_FAILED;
    pthread_mutex_unlock(&r->input_lock);
    if (c->kind != CHUNK_END && c->kind != CHUNK_FAILED)
        decode_chunk(r, e, c);
    pthread_mutex_lock(&r->ring_lock);
    c->ready = true;
    pthread_cond_broadcast(&r->ring_changed);
    pthread_mutex_unlock(&r->ring_lock);
    return true;
}

typedef struct worker {
    fl_reader *reader;
    const fl_value_encoder *encoder;
} worker;

static void *work(void *arg)
{
    worker w = *(worker *)arg;
    free(arg);
    while (produce(w.reader, w.encoder, true))
        ;
    return NULL;
}

static fl_status start_workers(fl_reader *r, uint32_t n, fl_diag *dg)
{
    for (; r->n_threads < n; r->n_threads++) {
        worker *w = malloc(sizeof *w);
        if (!w)
            return fl_out_of_memory(dg);
        *w = (worker){r, &r->encoders[r->n_threads]};
        if (pthread_create(&r->threads[r->n_threads], NULL, work, w) != 0) {
            free(w);
            return r->n_threads ? FL_OK : fl_error(dg, FL_E_NO_MEMORY, FL_NOWHERE, "cannot start a thread for reading");
        }
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------ the consumer */

static fl_status copy_reports(fl_diag *to, const fl_diag *from)
{
    fl_status status = FL_FAILED;
    for (uint32_t i = 0; i < from->n_entries; i++) {
        const fl_diag_entry *e = &from->entries[i];
        status = fl_error(to, e->code, (fl_loc){e->file, e->line, e->column}, "%s", e->text ? e->text : "");
        for (const char *hint = e->hints; hint && *hint;) {
            const char *stop = strchr(hint, '\n');
            size_t n = stop ? (size_t)(stop - hint) : strlen(hint);
            fl_hint(to, "%.*s", (int)n, hint);
            hint = stop ? stop + 1 : NULL;
        }
    }
    return from->no_memory ? fl_out_of_memory(to) : status;
}

static fl_status report_places(fl_reader *r, const place *c, fl_diag *dg)
{
    const char *path = r->files.paths[c->file];
    path = strcmp(path, "-") ? path : "<stdin>";
    for (uint32_t i = 0; i < c->block.n_places && !r->quiet; i++) {
        const fl_bad_place *p = &c->block.bad[i];
        int64_t line = r->lines_before + p->line + 1;
        fl_loc loc = {path, line < UINT32_MAX ? (uint32_t)line : 0, p->column};
        if (r->options.strict)
            return fl_error(dg, p->code, loc, "%s", p->text);
        if (r->n_reported == FL_PLACES)
            break;
        fl_warning(dg, p->code, loc, "%s", p->text);
        r->n_reported++;
    }
    return FL_OK;
}

static place *next_place(fl_reader *r)
{
    place *c = &r->ring[r->n_consumed % r->n_ring];
    double begin = now_seconds();
    pthread_mutex_lock(&r->ring_lock);
    bool ready = c->ready;
    pthread_mutex_unlock(&r->ring_lock);
    if (r->n_threads == 0 && !ready)
        (void)produce(r, &r->encoders[0], false); /* this place, or the one behind it where a helper is at this one */
    pthread_mutex_lock(&r->ring_lock);
    while (!c->ready)
        pthread_cond_wait(&r->ring_changed, &r->ring_lock);
    pthread_mutex_unlock(&r->ring_lock);
    r->stats.wait_seconds += now_seconds() - begin;
    return c;
}

/* Take the next block as r->current; leaves it NULL at the end. */
static fl_status take_block(fl_reader *r, fl_diag *dg)
{
    place *c = next_place(r);
    if (c->kind == CHUNK_FAILED)
        return copy_reports(dg, &c->dg);
    if (c->kind == CHUNK_END) {
        r->ended = true;
        return FL_OK;
    }
    if (c->starts_file)
        r->lines_before = 0;
    r->lines_before += c->lines_before;
    FL_TRY(report_places(r, c, dg));
    r->lines_before += c->block.n_lines;
    r->stats.bad_rows += c->block.n_bad;
    r->stats.skipped_rows += c->block.n_skipped;
    r->stats.bytes += c->kind == CHUNK_LONG_LINE ? (int64_t)c->long_bytes : (int64_t)(c->end - c->begin);
    r->stats.file_bytes = c->file_bytes;
    r->current = c;
    r->current_row = 0;
    return FL_OK;
}

static void release_block(fl_reader *r)
{
    r->rows_before += r->current->block.n_rows;
    pthread_mutex_lock(&r->ring_lock);
    r->current->ready = false;
    r->n_consumed++;
    pthread_cond_broadcast(&r->ring_changed);
    pthread_mutex_unlock(&r->ring_lock);
    r->current = NULL;
}

static fl_status at_end(fl_reader *r, fl_batch *batch, fl_diag *dg)
{
    const char *path = r->files.n == 1 ? r->files.paths[0] : NULL;
    if (path && !strcmp(path, "-"))
        path = "<stdin>";
    if (r->rows_before == 0 && r->stats.skipped_rows == 0)
        return fl_error(dg, FL_E_EMPTY_INPUT, FL_FILE(path), "there are no rows%s", path ? "" : " in any file of the folder");
    if (r->stats.bad_rows == r->rows_before && r->rows_before > 0 && !r->options.keep_bad_rows && !r->quiet)
        return fl_error(dg, FL_E_NO_GOOD_ROW, FL_FILE(path), "none of the %lld rows could be read", (long long)r->rows_before);
    if (r->options.drop_last && batch->n < r->options.batch) {
        r->stats.skipped_rows += batch->n;
        r->stats.rows -= batch->n;
        fl_batch_clear(batch);
    }
    return FL_OK;
}

static fl_status next_batch(fl_reader *r, fl_batch *batch, fl_diag *dg)
{
    fl_batch_clear(batch);
    if (fl_batch_reserve(batch, r->options.batch) != FL_OK)
        return fl_out_of_memory(dg);
    while (batch->n < r->options.batch && !r->ended) {
        if (!r->current) {
            FL_TRY(take_block(r, dg));
            continue;
        }
        const place *c = r->current;
        int64_t rows = c->kind == CHUNK_CACHE ? c->cached.n : c->block.rows.n, left = rows - r->current_row;
        int64_t n = left < r->options.batch - batch->n ? left : r->options.batch - batch->n;
        if (c->kind == CHUNK_CACHE)
            FL_TRY(fl_cache_append(c->cache, &c->cached, r->current_row, n, r->rows_before, batch, dg));
        else if (fl_batch_append(batch, &c->block.rows, r->current_row, n, r->rows_before) != FL_OK)
            return fl_out_of_memory(dg);
        r->current_row += n;
        r->stats.rows += n;
        if (r->current_row == rows)
            release_block(r);
    }
    return r->ended ? at_end(r, batch, dg) : FL_OK;
}

fl_status fl_reader_next(fl_reader *r, fl_batch *batch, fl_diag *dg)
{
    if (r->failed == FL_OK)
        r->failed = next_batch(r, batch, dg);
    if (r->failed != FL_OK)
        fl_batch_clear(batch);
    return r->failed;
}

bool fl_reader_wants_help(const fl_reader *r)
{
    if (r->n_ring != HELPED || r->ended || r->failed != FL_OK)
        return false;
    int64_t left = r->current ? r->current->cached.n - r->current_row : 0;
    return left < r->options.batch && !r->ring[(r->n_consumed + (r->current != NULL)) % HELPED].ready;
}

void fl_reader_help(fl_reader *r)
{
    (void)produce(r, &r->encoders[0], false);
}

void fl_reader_stats_get(const fl_reader *r, fl_reader_stats *out)
{
    *out = r->stats;
}

void fl_reader_report(const fl_reader *r, fl_diag *dg)
{
    if (r->stats.bad_rows)
        fl_warning(dg, FL_E_ROWS_SKIPPED, FL_NOWHERE, "%lld of %lld rows could not be read%s", (long long)r->stats.bad_rows,
                   (long long)(r->rows_before + (r->current ? r->current->block.n_rows : 0)),
                   r->options.keep_bad_rows ? "" : " and were left out");
}

/* ---------------------------------------------------------------------------------------------- opening, closing */

/* Threads that read ahead. Of caches at most one, and only beside the caller's own (see above); else one of these may help. */
static fl_status count_threads(const fl_reader *r, uint32_t *n, uint32_t *n_ring, fl_diag *dg)
{
    bool caches = r->files.n > 0;

    *n = r->options.threads < MAX_THREADS ? r->options.threads : MAX_THREADS;
    for (uint32_t i = 0; i < r->files.n && caches && *n > 0; i++) {
        struct stat st;
        caches = stat(r->files.paths[i], &st) == 0 && S_ISREG(st.st_mode); /* a pipe is opened once */
        if (caches)
            FL_TRY(fl_cache_recognise(r->files.paths[i], &caches, dg));
    }
    bool helped = caches && *n > 1;
    if (caches && *n > 0)
        *n = fl_cpu_count() > *n;
    *n_ring = *n > 0 ? *n * PER_THREAD : helped ? HELPED : 1;
    return FL_OK;
}

static fl_status set_up(fl_reader *r, const char *path, const fl_vocabulary *vocabulary, fl_vocabulary_builder *const *builders, fl_diag *dg)
{
    fl_status status = fl_decoder_init(&r->decoder, r->schema, dg);
    if (status != FL_OK)
        return status;
    r->decoder.need_label = r->options.need_label;
    r->decoder.keep_bad_rows = r->options.keep_bad_rows;
    r->decoder.quirks = r->options.quirks;
    r->decoder.split_column = r->options.split_column;
    r->decoder.split_from = r->options.split_from;
    FL_TRY(fl_file_list_init(&r->files, path, dg));
    if (r->options.shuffle_files)
        fl_file_list_shuffle(&r->files, r->options.seed);
    r->stats.total_bytes = r->files.total_bytes;
    uint32_t n;
    FL_TRY(count_threads(r, &n, &r->n_ring, dg));
    r->ring = calloc(r->n_ring, sizeof *r->ring);
    r->caches = calloc(r->files.n, sizeof *r->caches);
    r->layouts = calloc(r->files.n, sizeof *r->layouts);
    r->carry = malloc(FL_MAX_LINE + 2 * CHUNK_BYTES);
    if (!r->ring || !r->caches || !r->layouts || !r->carry)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < r->n_ring; i++)
        if (fl_row_block_init(&r->ring[i].block, &r->decoder) != FL_OK)
            return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < (n ? n : 1); i++)
        r->encoders[i] = (fl_value_encoder){r->schema, vocabulary, builders ? builders[i] : NULL};
    fl_decoder_bind(&r->decoder, &r->encoders[0]);
    return n ? start_workers(r, n, dg) : FL_OK;
}

static fl_status open_reader(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary,
                             fl_vocabulary_builder *const *builders, const fl_reader_options *options, fl_reader **out, fl_diag *dg)
{
    fl_reader *r = calloc(1, sizeof *r);
    if (!r)
        return fl_out_of_memory(dg);
    r->schema = schema;
    r->options = *options;
    r->quiet = builders != NULL && !options->strict;
    if (r->options.batch <= 0)
        r->options.batch = 512;
    pthread_mutex_init(&r->input_lock, NULL);
    pthread_mutex_init(&r->ring_lock, NULL);
    pthread_cond_init(&r->ring_changed, NULL);
    fl_status status = set_up(r, path, vocabulary, builders, dg);
    if (status != FL_OK) {
        fl_reader_close(r);
        return status;
    }
    *out = r;
    return FL_OK;
}

fl_status fl_reader_open(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary, const fl_reader_options *options,
                         fl_reader **out, fl_diag *dg)
{
    if (!fl_schema_is_bound(schema) || (!vocabulary && fl_schema_needs_vocabulary(schema))) {
        (void)fl_error(dg, FL_E_UNBOUND, FL_NOWHERE, "the model has not seen data yet: its vocabulary is not known");
        fl_hint(dg, "`flenrt prepare` or `flenrt train` make it from raw data");
        return FL_BAD_INPUT;
    }
    return open_reader(path, schema, vocabulary, NULL, options, out, dg);
}

fl_status fl_reader_open_counting(const char *path, const fl_schema *schema, fl_vocabulary_builder *const *builders,
                                  const fl_reader_options *options, fl_reader **out, fl_diag *dg)
{
    return open_reader(path, schema, NULL, builders, options, out, dg);
}

void fl_reader_close(fl_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->ring_lock);
    r->stopping = true;
    pthread_cond_broadcast(&r->ring_changed);
    pthread_mutex_unlock(&r->ring_lock);
    for (uint32_t i = 0; i < r->n_threads; i++)
        pthread_join(r->threads[i], NULL);
    fl_byte_source_close(r->source);
    for (uint32_t i = 0; i < r->n_ring && r->ring; i++) {
        fl_row_block_deinit(&r->ring[i].block);
        fl_diag_deinit(&r->ring[i].dg);
        free(r->ring[i].buffer);
        fl_cache_buffer_deinit(&r->ring[i].cached);
    }
    for (uint32_t i = 0; i < r->files.n; i++) {
        if (r->caches)
            fl_cache_close(r->caches[i]);
        if (r->layouts)
            fl_layout_deinit(&r->layouts[i]);
    }
    free(r->caches);
    free(r->layouts);
    free(r->ring);
    free(r->carry);
    fl_decoder_deinit(&r->decoder);
    fl_file_list_deinit(&r->files);
    pthread_mutex_destroy(&r->input_lock);
    pthread_mutex_destroy(&r->ring_lock);
    pthread_cond_destroy(&r->ring_changed);
    free(r);
}
