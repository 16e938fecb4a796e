/*
 * row_decoder.h -- inside the reader: a chunk of whole lines becomes a block of rows.
 *
 * A decoder (what all files share) and a layout (what one file says of itself) are made once and only read
 * afterwards; a block belongs to one worker at a time. Chunks end with '\n' and have FL_TEXT_SLACK readable
 * bytes behind, so that decoders look for line ends and load words without counting.
 *
 * To add a format: a member of fl_format, its recognition in fl_layout_recognise, a decode function, a row in decode_chunk.
 */
#ifndef FL_RUNTIME_ROW_DECODER_H
#define FL_RUNTIME_ROW_DECODER_H

#include "runtime/batch.h"
#include "runtime/value_encoder.h"

typedef enum fl_format { FL_FORMAT_SLOTS, FL_FORMAT_COMMA, FL_FORMAT_CSV } fl_format;

enum { FL_PLACES = 3, FL_TARGET_LABEL = -1, FL_TARGET_NONE = -2 };

typedef struct fl_name_entry {
    const char *name; /* NULL: free */
    size_t n;
    int32_t target;
} fl_name_entry;

typedef struct fl_decoder {
    const fl_schema *schema;
    bool need_label, keep_bad_rows;
    uint32_t quirks;
    const char *split_column, *split_from; /* CSV: rows are marked by this column's prefix; NULL: none */
    uint32_t n_singles;
    uint32_t *place;      /* [n_slots] column of ids, or index of the bag */
    int64_t *padding;     /* [n_slots] row of a single-valued slot that slot text leaves out; -1: that is an error */
    fl_quick_slot *quick; /* [n_slots] */
    int64_t *filler;      /* [n_singles] rows that a bad row gets */
    fl_name_entry *names; /* open addressing: slots and label by name */
    uint32_t n_names;     /* a power of two */
} fl_decoder;

/* A row that could not be read. Lines count from 0 in the block. */
typedef struct fl_bad_place {
    fl_code code;
    int64_t line;
    uint32_t column; /* from 1; 0: the whole line */
    char text[192];
} fl_bad_place;

typedef struct fl_row_block {
    fl_batch rows;    /* row numbers count from 0 in the block */
    int64_t n_lines;  /* of text */
    int64_t n_rows;   /* bad ones included, skipped ones not */
    int64_t n_bad, n_skipped;
    fl_bad_place bad[FL_PLACES];
    uint32_t n_places;
    fl_status status; /* FL_NO_MEMORY: the block is not complete */
    uint32_t *stamp;  /* [n_slots + 1] row that named the slot last, from 1; the label is last */
    uint32_t now;
    char *scratch;    /* of quoted cells */
    size_t scratch_size;
    const char **cells; /* CSV: [cell_capacity] begin ... */
    size_t *cell_bytes; /* ... and length of the row's cells */
    uint32_t cell_capacity;
    fl_vocabulary_look_ups later; /* ids of rows that still wait for it; their texts are in the chunk */
} fl_row_block;

typedef struct fl_layout {
    fl_format format;
    char delimiter;
    uint32_t n_cells;      /* comma text and CSV: of a full row */
    int32_t *target;       /* comma text: [n_cells] slot or FL_TARGET_ */
    int32_t *cell_of_slot; /* CSV: [n_slots], -1: the column is missing */
    int32_t label_cell;    /* CSV and comma text; -1: none */
    int32_t split_cell;    /* CSV; -1: none */
} fl_layout;

FL_MUST_USE fl_status fl_decoder_init(fl_decoder *d, const fl_schema *schema, fl_diag *dg);
/* The rows of absent slots and the short ways of present ones, once the vocabulary is there. */
void fl_decoder_bind(fl_decoder *d, const fl_value_encoder *e);
void fl_decoder_deinit(fl_decoder *d);
/* Slot index or FL_TARGET_ of a name. */
int32_t fl_decoder_find(const fl_decoder *d, const char *name, size_t n);

FL_MUST_USE fl_status fl_row_block_init(fl_row_block *b, const fl_decoder *d);
void fl_row_block_deinit(fl_row_block *b);
void fl_row_block_clear(fl_row_block *b, const fl_decoder *d);

/*
 * The layout of the file whose first lines are text[0, n), ended by '\n'. *used is what belongs to the header (0, or its line with
 * all blank lines before). False in *known: only blank lines so far.
 */
FL_MUST_USE fl_status fl_layout_recognise(const fl_decoder *d, const char *path, const char *text, size_t n, fl_layout *out,
                                          size_t *used, bool *known, fl_diag *dg);
void fl_layout_deinit(fl_layout *l);

void fl_decode_slots(const fl_decoder *d, const fl_value_encoder *e, const char *text, size_t n, fl_row_block *b);
void fl_decode_comma(const fl_decoder *d, const fl_value_encoder *e, const fl_layout *l, const char *text, size_t n, fl_row_block *b);
void fl_decode_csv(const fl_decoder *d, const fl_value_encoder *e, const fl_layout *l, const char *text, size_t n, fl_row_block *b);

/* The layouts of comma text and CSV; `line` is the first line that is not blank, without its end. */
bool fl_comma_recognise(const fl_decoder *d, const char *line, size_t n, fl_layout *out, fl_status *status);
FL_MUST_USE fl_status fl_csv_recognise(const fl_decoder *d, const char *path, const char *line, size_t n, fl_layout *out,
                                       bool *is_header, fl_diag *dg);
/*
 * The end of the CSV record that begins at text: behind its newline. NULL: a quote is still open at text + n. Malformed
 * quoting ends the record with its first line.
 */
const char *fl_csv_record_end(const char *text, size_t n, char delimiter);

/* ------------------------------------------------------------------------------------ rows of a block, for decoders */

/* Room for one more row; look-ups of a row that was not committed are dropped. False: out of memory (b->status says so). */
bool fl_row_begin(fl_row_block *b);
/* Append a value to a bag of the row under way. */
bool fl_row_add_value(fl_row_block *b, uint32_t bag, int64_t row);
/*
 * Append the values in the text of one cell of multi-valued slot `slot`, between its separators; empty ones are none. On failure *text and *n
 * become the value that is wrong.
 */
fl_value_status fl_row_add_values(const fl_decoder *d, const fl_value_encoder *e, fl_row_block *b, uint32_t slot, const char **text, size_t *n);
/* The row under way is complete. */
void fl_row_commit(fl_row_block *b);
/* The row under way is bad: forgotten, or kept with a mark. `line` is the place's line in the block. */
void fl_row_fail(const fl_decoder *d, fl_row_block *b, int64_t line, size_t column, fl_code code, const char *format, ...) FL_PRINTF(6, 7);
/* The same for a value that could not be encoded. */
void fl_row_fail_value(const fl_decoder *d, fl_row_block *b, int64_t line, size_t column, fl_value_status status, uint32_t slot,
                       const char *text, size_t n);
/* The row's label from text; false: it is no label. */
bool fl_row_set_label(fl_row_block *b, const char *text, size_t n);

#endif
