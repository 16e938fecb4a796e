/*
 * reader.h -- rows from a path, whatever their format, in order, with read-ahead.
 *
 * PATH is a file, a folder (read recursively; files sorted by path; names that start with a dot are left out) or "-" for
 * standard input; each file plain, gzip or zstd (told by its first bytes). Its format is recognised by its first line:
 *   cache       our binary cache (cache_file.h)
 *   slot text   `click:0 user_0:8 ...`: the first token is NAME:VALUE
 *   comma text  PaddleRec 2.x: the schema has comma_columns, and the line has only digits, signs, blanks and commas
 *   CSV         all else: a header line with the schema's columns, or the schema's csv_columns without a header
 * What each means, rule by rule: README.md of this folder.
 *
 * Rows that cannot be read are counted; the first three become warnings with their place. Lines are at most
 * FL_MAX_LINE bytes. Memory does not depend on the input's size.
 */
#ifndef FL_RUNTIME_READER_H
#define FL_RUNTIME_READER_H

#include "runtime/batch.h"
#include "runtime/vocabulary.h"

#define FL_MAX_LINE ((size_t)1 << 20)

typedef struct fl_reader_options {
    int64_t batch;          /* rows of a batch; 0: 512 */
    uint32_t threads;       /* that read ahead; 0: none, all work is done in fl_reader_next */
    bool strict;            /* the first row that cannot be read is an error and ends it */
    bool need_label;        /* a row without a label is bad (train, infer); else labels may be absent (predict) */
    bool keep_bad_rows;     /* bad rows stay in the batch, marked (predict); else they are left out */
    bool drop_last;         /* a last batch that is not full is left out */
    bool shuffle_files;     /* the order of a folder's files follows from `seed` */
    uint64_t seed;
    const char *split_column; /* CSV: batch->part says whether this column's first bytes are at or behind split_from; NULL: no split */
    const char *split_from;
    uint32_t quirks;        /* FL_QUIRK_MISSING_LABEL_IS_0, FL_QUIRK_SKIP_SHORT_ROWS */
} fl_reader_options;

typedef struct fl_reader_stats {
    int64_t rows;           /* handed out, kept bad ones included */
    int64_t bad_rows;       /* could not be read */
    int64_t skipped_rows;   /* left out because a quirk or drop_last says so */
    int64_t bytes;          /* of text, after decompression */
    int64_t total_bytes;    /* of all files as they lie on disk; 0 if unknown (standard input) */
    int64_t file_bytes;     /* of them read so far: for progress bars */
    double wait_seconds;    /* that fl_reader_next waited for rows (without threads: that it worked) */
} fl_reader_stats;

typedef struct fl_reader fl_reader;

/*
 * The schema must be bound (all rows known) and outlive the reader; `vocabulary` likewise, NULL if no slot needs
 * one. Missing, unreadable or empty paths are errors here or in the first call of fl_reader_next.
 */
FL_MUST_USE fl_status fl_reader_open(const char *path, const fl_schema *schema, const fl_vocabulary *vocabulary,
                                     const fl_reader_options *options, fl_reader **out, fl_diag *dg);
/*
 * Fill the batch (initialised for the same schema; old rows are forgotten). batch->n is 0 at the end of the input.
 * Input without a single readable row is an error at its end, unless bad rows are kept.
 */
FL_MUST_USE fl_status fl_reader_next(fl_reader *r, fl_batch *batch, fl_diag *dg);
/*
 * Where no thread reads ahead but the caller has several: will the next call of fl_reader_next fetch a block of a cache? Then one other thread may call fl_reader_help, once, while that
 * call runs, and fetches the block behind it; both must be back before the reader is asked again. Rows and their order are the same.
 */
bool fl_reader_wants_help(const fl_reader *r);
void fl_reader_help(fl_reader *r);
void fl_reader_stats_get(const fl_reader *r, fl_reader_stats *out);
/* If rows were bad: one warning that says how many of how many. Call once at the end. */
void fl_reader_report(const fl_reader *r, fl_diag *dg);
void fl_reader_close(fl_reader *r); /* NULL is fine */

#endif
