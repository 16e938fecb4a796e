/*
 * reader_csv.c -- CSV by the schema: columns by the header's names, or by csv_columns for files without one.
 *
 * Quoting is RFC 4180's: a cell that begins with a quote ends with one and may hold delimiters, line ends and doubled
 * quotes; a quote elsewhere is an ordinary character. Rows have as many cells as the header. Blank lines are no rows.
 *
 * Rows without quotes, nearly all, are split by comparing 16 bytes at once with the three characters that matter.
 */
#include "runtime/row_decoder.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { MAX_COLUMNS = 65536 };

const char *fl_csv_record_end(const char *text, size_t n, char delimiter)
{
    const char *p = text, *end = text + n;
    const char *line_end = memchr(text, '\n', n);

    for (;;) { /* p is the start of a cell */
        if (p < end && *p == '"') {
            for (p++;; p += 2) {
                p = memchr(p, '"', (size_t)(end - p));
                if (!p || p + 1 >= end)
                    return NULL;
                if (p[1] != '"')
                    break;
                if (p + 2 >= end)
                    return NULL;
            }
            p++;
            if (*p == '\n')
                return p + 1;
            if (*p == '\r' && p + 1 < end && p[1] == '\n')
                return p + 2;
            if (*p != delimiter)
                return line_end ? line_end + 1 : NULL;
            p++;
            continue;
        }
        while (p < end && *p != delimiter && *p != '\n')
            p++;
        if (p == end)
            return NULL;
        if (*p == '\n')
            return p + 1;
        p++;
    }
}

static bool reserve_cells(fl_row_block *b, uint32_t n)
{
    if (n <= b->cell_capacity)
        return true;
    const char **cells = realloc(b->cells, n * sizeof *cells);
    if (cells)
        b->cells = cells;
    size_t *bytes = realloc(b->cell_bytes, n * sizeof *bytes);
    if (bytes)
        b->cell_bytes = bytes;
    if (!cells || !bytes) {
        b->status = FL_NO_MEMORY;
        return false;
    }
    b->cell_capacity = n;
    return true;
}

/*
 * Split a record [p, its newline) by the book. Quoted cells are copied to the block's scratch. Returns the number of
 * cells (those beyond `most` are counted only), or 0 with *bad at the quote that is wrong.
 */
static uint32_t split_plain(fl_row_block *b, const char *p, const char *end, char delimiter, uint32_t most, const char **bad)
{
    uint32_t n = 0;
    size_t need = (size_t)(end - p) + FL_TEXT_SLACK;
    if (b->scratch_size < need) {
        char *grown = realloc(b->scratch, 2 * need);
        if (!grown) {
            b->status = FL_NO_MEMORY;
            *bad = p;
            return 0;
        }
        b->scratch = grown;
        b->scratch_size = 2 * need;
    }
    char *to = b->scratch;
    for (;;) {
        const char *cell = p;
        size_t bytes;
        if (p < end && *p == '"') {
            cell = to;
            const char *open = p++;
            for (;; p++) {
                if (p == end) {
                    *bad = open;
                    return 0;
                }
                if (*p == '"' && !(p + 1 < end && p[1] == '"'))
                    break;
                p += *p == '"';
                *to++ = *p;
            }
            bytes = (size_t)(to - cell);
            if (++p < end && *p != delimiter) {
                *bad = open;
                return 0;
            }
        } else {
            p = memchr(p, delimiter, (size_t)(end - p));
            if (!p)
                p = end;
            bytes = (size_t)(p - cell);
        }
        if (n < most) {
            b->cells[n] = cell;
            b->cell_bytes[n] = bytes;
        }
        n++;
        if (p == end)
            return n;
        p++;
    }
}

/* The same for a record without quotes; stops at the newline and returns it in *stop. *stop NULL: there is a quote. */
static uint32_t split_fast(fl_row_block *b, const char *p, char delimiter, uint32_t most, const char **stop)
{
    uint32_t n = 0;
    const char *cell = p;
#ifdef __SSE2__
    const __m128i delimiters = _mm_set1_epi8(delimiter), newlines = _mm_set1_epi8('\n'), quotes = _mm_set1_epi8('"');
    for (;; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, delimiters), _mm_cmpeq_epi8(x, newlines)), _mm_cmpeq_epi8(x, quotes));
        for (unsigned mask = (unsigned)_mm_movemask_epi8(hit); mask; mask &= mask - 1) {
            const char *q = p + __builtin_ctz(mask);
#else
    for (;; p++) {
        {
            const char *q = p;
            if (*q != delimiter && *q != '\n' && *q != '"')
                continue;
#endif
            if (*q == '"') {
                *stop = NULL;
                return 0;
            }
            if (n < most) {
                b->cells[n] = cell;
                b->cell_bytes[n] = (size_t)(q - cell);
            }
            n++;
            cell = q + 1;
            if (*q == '\n') {
                *stop = q;
                return n;
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ layout */

static bool same(const char *name, const char *text, size_t n)
{
    return strlen(name) == n && !memcmp(name, text, n);
}

static int32_t find_cell(const fl_row_block *cells, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (same(name, cells->cells[i], cells->cell_bytes[i]))
            return (int32_t)i;
    return -1;
}

static const char *column_of(const fl_slot *s)
{
    return s->column ? s->column : s->name;
}

/* Slots and label to cells whose names stand in `cells`. */
static fl_status map_columns(const fl_decoder *d, const char *path, const fl_row_block *cells, uint32_t n, fl_layout *out, fl_diag *dg)
{
    const fl_schema *schema = d->schema;
    uint32_t n_found = 0, n_missing = 0;
    const fl_slot *missing = NULL;

    out->n_cells = n;
    out->cell_of_slot = calloc(schema->n_slots + 1, sizeof *out->cell_of_slot);
    if (!out->cell_of_slot)
        return fl_out_of_memory(dg);
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        out->cell_of_slot[k] = find_cell(cells, n, column_of(&schema->slots[k]));
        if (out->cell_of_slot[k] >= 0) {
            n_found++;
        } else if (!schema->slots[k].optional) {
            missing = missing ? missing : &schema->slots[k];
            n_missing++;
        }
    }
    const char *label = schema->label ? schema->label : "label";
    out->label_cell = find_cell(cells, n, label);
    if (n_found == 0) {
        (void)fl_error(dg, FL_E_UNKNOWN_FORMAT, (fl_loc){path, 1, 0}, "neither slot text nor CSV with the model's columns");
        if (missing)
            fl_hint(dg, "the first line names no slot of the model; its first column would be \"%s\"", column_of(missing));
        return FL_BAD_INPUT;
    }
    if (n_missing)
        return fl_error(dg, FL_E_MISSING_COLUMN, (fl_loc){path, 1, 0}, "the header lacks column \"%s\" of slot \"%s\"%s",
                        column_of(missing), missing->name, n_missing > 1 ? " and further ones" : "");
    if (d->split_column && (out->split_cell = find_cell(cells, n, d->split_column)) < 0)
        return fl_error(dg, FL_E_MISSING_COLUMN, (fl_loc){path, 1, 0}, "the header lacks column \"%s\", by which rows are to be split",
                        d->split_column);
    if (out->label_cell < 0 && d->need_label && !(d->quirks & FL_QUIRK_MISSING_LABEL_IS_0))
        return fl_error(dg, FL_E_MISSING_COLUMN, (fl_loc){path, 1, 0}, "the header lacks the label's column \"%s\"", label);
    return FL_OK;
}

/* Names of a file without a header: the schema's, less the label if the first row has one cell less and no label is needed. */
static uint32_t take_schema_columns(const fl_decoder *d, uint32_t n_first, fl_row_block *to)
{
    const fl_schema *schema = d->schema;
    uint32_t n = 0;
    bool unlabelled = schema->label && !d->need_label && n_first + 1 == schema->n_csv_columns;
    for (uint32_t i = 0; i < schema->n_csv_columns; i++) {
        const char *name = schema->csv_columns[i];
        if (unlabelled && !strcmp(name, schema->label))
            continue;
        to->cells[n] = name;
        to->cell_bytes[n++] = strlen(name);
    }
    return n;
}

fl_status fl_csv_recognise(const fl_decoder *d, const char *path, const char *line, size_t n, fl_layout *out, bool *is_header, fl_diag *dg)
{
    const fl_schema *schema = d->schema;
    const char *delimiter = schema->delimiter ? schema->delimiter : ",";
    if (strlen(delimiter) != 1 || *delimiter == '"' || *delimiter == '\n' || *delimiter == '\r')
        return fl_error(dg, FL_E_DELIMITER, FL_NOWHERE, "the delimiter \"%s\" is not one character that can separate cells", delimiter);
    out->format = FL_FORMAT_CSV;
    out->delimiter = *delimiter;
    fl_row_block cells = {0};
    const char *bad = NULL;
    uint32_t most = (uint32_t)(n < MAX_COLUMNS ? n + 1 : MAX_COLUMNS);
    most = most < schema->n_csv_columns ? schema->n_csv_columns : most;
    fl_status status = FL_OK;
    if (!reserve_cells(&cells, most)) {
        status = fl_out_of_memory(dg);
    } else {
        uint32_t count = split_plain(&cells, line, line + n, *delimiter, most, &bad);
        if (cells.status != FL_OK)
            status = fl_out_of_memory(dg);
        else if (count == 0)
            status = fl_error(dg, FL_E_QUOTE, (fl_loc){path, 1, (uint32_t)(bad - line) + 1}, "the quote does not end before the next delimiter");
        else if (count > most)
            status = fl_error(dg, FL_E_UNKNOWN_FORMAT, (fl_loc){path, 1, 0}, "the first line has %u cells: this is no CSV of the model", count);
        *is_header = schema->n_csv_columns == 0;
        if (status == FL_OK && schema->n_csv_columns) {
            bool named = count == schema->n_csv_columns;
            for (uint32_t i = 0; named && i < count; i++)
                named = same(schema->csv_columns[i], cells.cells[i], cells.cell_bytes[i]);
            *is_header = named;
            count = take_schema_columns(d, count, &cells);
        }
        if (status == FL_OK)
            status = map_columns(d, path, &cells, count, out, dg);
    }
    fl_row_block_deinit(&cells);
    return status;
}

/* -------------------------------------------------------------------------------------------------------- rows */

typedef struct csv_state {
    const fl_decoder *d;
    const fl_value_encoder *e;
    const fl_layout *l;
    fl_row_block *b;
    const char *start; /* of the record */
    int64_t line;
} csv_state;

/* Column of a cell in its line; quoted cells lie elsewhere, their place is the row. */
static size_t column(const csv_state *s, const char *text)
{
    if (s->b->scratch && text >= s->b->scratch && text < s->b->scratch + s->b->scratch_size)
        return 0;
    return (size_t)(text - s->start) + 1;
}

/* The values of a multi-valued slot in one cell. False: the row has failed. */
static bool put_values(csv_state *s, uint32_t k, const char *text, size_t n)
{
    fl_value_status status = fl_row_add_values(s->d, s->e, s->b, k, &text, &n);

    if (status != FL_VALUE_OK)
        fl_row_fail_value(s->d, s->b, s->line, column(s, text), status, k, text, n);
    return status == FL_VALUE_OK;
}

static bool put_label(csv_state *s)
{
    fl_row_block *b = s->b;
    if (s->l->label_cell < 0)
        return true;
    const char *text = b->cells[s->l->label_cell];
    size_t n = b->cell_bytes[s->l->label_cell];
    if (n == 1 && (*text == '0' || *text == '1')) {
        b->rows.label[b->rows.n] = (float)(*text - '0');
        return true;
    }
    if (fl_row_set_label(b, text, n) || !s->d->need_label)
        return true;
    if (n == 0 && (s->d->quirks & FL_QUIRK_MISSING_LABEL_IS_0))
        return true;
    if (n == 0)
        fl_row_fail(s->d, b, s->line, column(s, text), FL_E_MISSING_LABEL, "the row has no label");
    else
        fl_row_fail(s->d, b, s->line, column(s, text), FL_E_BAD_LABEL, "label \"%.*s\" is not a number from 0 to 1",
                    n < 40 ? (int)n : 40, text);
    return false;
}

static void put_row(csv_state *s, uint32_t count)
{
    const fl_schema *schema = s->d->schema;
    fl_row_block *b = s->b;

    if (count != s->l->n_cells) {
        fl_row_fail(s->d, b, s->line, 0, FL_E_WRONG_CELLS, "the row has %u cell%s, %u expected", count, count == 1 ? "" : "s",
                    s->l->n_cells);
        return;
    }
    if (!put_label(s))
        return;
    if (s->l->split_cell >= 0) {
        size_t wide = strlen(s->d->split_from), have = b->cell_bytes[s->l->split_cell];
        int order = memcmp(b->cells[s->l->split_cell], s->d->split_from, have < wide ? have : wide);
        b->rows.part[b->rows.n] = order > 0 || (order == 0 && have >= wide);
    }
    int64_t *ids = b->rows.ids + b->rows.n * (int64_t)s->d->n_singles;
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        int32_t c = s->l->cell_of_slot[k];
        const char *text = c < 0 ? "" : b->cells[c];
        size_t n = c < 0 ? 0 : b->cell_bytes[c];
        if (schema->slots[k].pooling != FL_POOL_NONE) {
            if (!put_values(s, k, text, n))
                return;
            continue;
        }
        fl_value_status status;
        if (c < 0 && schema->slots[k].vocab == FL_VOCAB_RANGE && s->d->padding[k] >= 0) {
            *ids++ = s->d->padding[k]; /* an absent column of numbers: no text can stand for it */
            continue;
        }
        status = fl_encode_value_later(s->e, &s->d->quick[k], &b->later, k, text, n, ids++);
        if (status != FL_VALUE_OK) {
            fl_row_fail_value(s->d, b, s->line, c < 0 ? 0 : column(s, text), status, k, text, n);
            return;
        }
    }
    fl_row_commit(b);
}

/* A record with quotes or a NUL byte, or at the chunk's odd end. Returns what follows it. */
static const char *plain_record(csv_state *s, const char *end, bool has_nul)
{
    fl_row_block *b = s->b;
    const char *p = s->start, *next = fl_csv_record_end(p, (size_t)(end - p), s->l->delimiter);
    const char *first = memchr(p, '\n', (size_t)(end - p)), *bad = NULL;

    if (!next)
        next = first + 1; /* an open quote: only its line is lost */
    const char *stop = next - 1;
    if (stop > p && stop[-1] == '\r')
        stop--;
    const char *nul = has_nul ? memchr(p, 0, (size_t)(stop - p)) : NULL;
    if (nul) {
        fl_row_fail(s->d, b, s->line, (size_t)(nul - p) + 1, FL_E_NUL_BYTE, "the line has a NUL byte");
    } else {
        uint32_t n = split_plain(b, p, stop, s->l->delimiter, s->l->n_cells, &bad);
        if (n) {
            put_row(s, n);
            fl_vocabulary_find_all(&b->later); /* quoted cells are in the scratch, which the next record gets */
        } else if (b->status == FL_OK) {
            fl_row_fail(s->d, b, s->line, (size_t)(bad - p) + 1, FL_E_QUOTE, "the quote does not end before the next delimiter");
        }
    }
    for (const char *q = p; (q = memchr(q, '\n', (size_t)(next - 1 - q))); q++)
        s->line++;
    return next;
}

void fl_decode_csv(const fl_decoder *d, const fl_value_encoder *e, const fl_layout *l, const char *text, size_t n, fl_row_block *b)
{
    csv_state s = {.d = d, .e = e, .l = l, .b = b, .start = text};
    bool has_nul = memchr(text, 0, n) != NULL;

    if (!reserve_cells(b, l->n_cells))
        return;
    for (const char *p = text, *end = text + n; p < end && b->status == FL_OK; s.line++) {
        if (*p == '\n' || (*p == '\r' && p[1] == '\n')) {
            p += *p == '\r' ? 2 : 1;
            continue;
        }
        if (!fl_row_begin(b))
            break;
        const char *stop = NULL;
        uint32_t count = has_nul ? 0 : split_fast(b, p, l->delimiter, l->n_cells, &stop);
        s.start = p;
        if (!stop) {
            p = plain_record(&s, end, has_nul);
            continue;
        }
        if (stop > p && stop[-1] == '\r' && count <= l->n_cells)
            b->cell_bytes[count - 1]--; /* the last cell ends at '\n': it has the '\r' */
        put_row(&s, count);
        p = stop + 1;
    }
    fl_vocabulary_find_all(&b->later);
    b->n_lines = s.line;
}
