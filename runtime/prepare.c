#include "runtime/prepare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ir/base/arena.h"
#include "ir/base/rng.h"
#include "runtime/aside_file.h"
#include "runtime/cache_file.h"
#include "runtime/reader.h"

enum { BATCH_ROWS = 4096, PROGRESS_ROWS = 1 << 18 };

typedef struct preparation {
    const fl_prepare_options *o;
    const fl_schema *schema;
    const fl_vocabulary *vocabulary;
    fl_cache_writer *train, *valid;
    int64_t total_rows, rows_before; /* of the paths before this one */
    int64_t reported;
    fl_prepare_result *out;
} preparation;

static bool is_valid(const preparation *p, const fl_batch *b, int64_t i)
{
    int64_t row = p->rows_before + b->row[i];
    switch (p->o->split) {
    case FL_SPLIT_FROM:
        return b->part[i];
    case FL_SPLIT_SHARE:
        return fl_random_uniform(p->o->seed, 0x73706c6974u, (uint64_t)row) < p->o->share;
    case FL_SPLIT_TAIL:
        return row >= p->total_rows - p->o->tail;
    case FL_SPLIT_NONE:
        break;
    }
    return false;
}

/* Rows go in runs: neighbours mostly share their side. */
static fl_status write_batch(preparation *p, const fl_batch *b, fl_diag *dg)
{
    if (p->o->stop && *p->o->stop)
        return fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted");
    for (int64_t i = 0, j; i < b->n; i = j) {
        bool valid = is_valid(p, b, i);
        for (j = i + 1; j < b->n && is_valid(p, b, j) == valid; j++)
            ;
        FL_TRY(fl_cache_write(valid ? p->valid : p->train, b, i, j - i, dg));
        *(valid ? &p->out->valid_rows : &p->out->train_rows) += j - i;
    }
    int64_t done = p->out->valid_rows + p->out->train_rows;
    if (p->o->progress && done - p->reported >= PROGRESS_ROWS) {
        p->reported = done;
        p->o->progress(p->o->progress_arg, "encode", done);
    }
    return FL_OK;
}

static fl_status encode_path(preparation *p, const char *path, fl_batch *b, fl_diag *dg)
{
    fl_reader_options ro = {.batch = BATCH_ROWS, .threads = p->o->threads, .need_label = true, .strict = p->o->strict, .quirks = p->o->quirks};
    if (p->o->split == FL_SPLIT_FROM) {
        ro.split_column = p->o->column;
        ro.split_from = p->o->from;
    }
    fl_reader *r;
    FL_TRY(fl_reader_open(path, p->schema, p->vocabulary, &ro, &r, dg));
    fl_status status;
    do {
        status = fl_reader_next(r, b, dg);
        if (status == FL_OK && b->n)
            status = write_batch(p, b, dg);
    } while (status == FL_OK && b->n);
    fl_reader_report(r, dg);
    fl_reader_stats stats;
    fl_reader_stats_get(r, &stats);
    p->rows_before += stats.rows + stats.bad_rows;
    p->out->bad_rows += stats.bad_rows;
    fl_reader_close(r);
    return status;
}

static fl_status write_vocabulary(const preparation *p, fl_arena *names, fl_diag *dg)
{
    const char *path = fl_arena_printf(names, "%s/vocabulary", p->o->folder);
    size_t n;

    if (!p->vocabulary)
        return FL_OK;
    if (!path)
        return fl_out_of_memory(dg);
    const void *bytes = fl_vocabulary_bytes(p->vocabulary, &n);
    return fl_aside_write(path, bytes, n, dg);
}

/* A part without rows is of no use, and most often a slip in how they were to be split. */
static fl_status check_parts(const preparation *p, fl_diag *dg)
{
    const fl_prepare_options *o = p->o;
    const fl_prepare_result *r = p->out;
    if (r->train_rows + r->valid_rows == 0)
        return fl_error(dg, FL_E_EMPTY_INPUT, FL_FILE(o->paths[0]), "there are no rows that can be read");
    if (r->train_rows == 0)
        return fl_error(dg, FL_E_EMPTY_INPUT, FL_FILE(o->paths[0]), "all %lld rows go to `valid` by this split, none is left for training",
                        (long long)r->valid_rows);
    if (r->valid_rows == 0 && o->split == FL_SPLIT_FROM)
        return fl_error(dg, FL_E_EMPTY_INPUT, FL_FILE(o->paths[0]), "no row goes to `valid`: no value of column \"%s\" begins with \"%s\" or comes behind it",
                        o->column, o->from);
    return FL_OK;
}

static fl_status encode(preparation *p, fl_arena *names, fl_diag *dg)
{
    const fl_prepare_options *o = p->o;
    const char *train = fl_arena_printf(names, "%s/train", o->folder), *valid = fl_arena_printf(names, "%s/valid", o->folder);
    fl_batch b;
    if (!train || !valid || fl_batch_init(&b, p->schema) != FL_OK)
        return fl_out_of_memory(dg);
    if (o->progress)
        o->progress(o->progress_arg, "encode", 0);
    fl_status status = fl_cache_create(train, p->schema, p->vocabulary, &p->train, dg);
    if (status == FL_OK && o->split != FL_SPLIT_NONE)
        status = fl_cache_create(valid, p->schema, p->vocabulary, &p->valid, dg);
    for (size_t i = 0; i < o->n_paths && status == FL_OK; i++)
        status = encode_path(p, o->paths[i], &b, dg);
    fl_batch_deinit(&b);
    if (status == FL_OK)
        status = check_parts(p, dg);
    if (status == FL_OK)
        status = write_vocabulary(p, names, dg); /* a folder that failed has no part of it */
    if (status == FL_OK) {
        status = fl_cache_finish(p->train, dg);
        p->train = NULL;
    }
    if (status == FL_OK && p->valid) {
        status = fl_cache_finish(p->valid, dg);
        p->valid = NULL;
    }
    fl_cache_abandon(p->train);
    fl_cache_abandon(p->valid);
    return status;
}

/* The first pass, where the schema or a split by tail needs it. */
static fl_status count(preparation *p, fl_schema *schema, fl_diag *dg)
{
    const fl_prepare_options *o = p->o;
    fl_vocabulary *v = NULL;
    bool needed = !o->vocabulary && fl_schema_needs_vocabulary(schema);

    if (needed || o->split == FL_SPLIT_TAIL) {
        FL_TRY(fl_vocabulary_build(o->paths, o->n_paths, schema, o->quirks, o->threads, false, &v, &p->total_rows, dg));
        if (o->progress)
            o->progress(o->progress_arg, "count", p->total_rows);
    }
    if (!needed) {
        fl_vocabulary_free(v);
        v = NULL;
    }
    p->out->vocabulary = v;
    p->vocabulary = v ? v : o->vocabulary;
    return fl_vocabulary_bind(p->vocabulary, schema, dg);
}

fl_status fl_prepare(fl_schema *schema, const fl_prepare_options *o, fl_prepare_result *out, fl_diag *dg)
{
    preparation p = {.o = o, .schema = schema, .out = out};
    fl_arena names;

    *out = (fl_prepare_result){0};
    if (mkdir(o->folder, 0777) != 0 && errno != EEXIST)
        return fl_error(dg, FL_E_OPEN, FL_FILE(o->folder), "cannot make the folder: %s", strerror(errno));
    fl_arena_init(&names);
    fl_status status = count(&p, schema, dg);
    if (status == FL_OK)
        status = encode(&p, &names, dg);
    if (status != FL_OK) {
        fl_vocabulary_free(out->vocabulary);
        out->vocabulary = NULL;
    }
    fl_arena_deinit(&names);
    return status;
}
