#include "runtime/row_decoder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_name(fl_decoder *d, const char *name, int32_t target)
{
    size_t n = strlen(name);
    uint32_t i = (uint32_t)fl_text_hash(name, n) & (d->n_names - 1);
    for (; d->names[i].name; i = (i + 1) & (d->n_names - 1))
        if (d->names[i].n == n && !memcmp(d->names[i].name, name, n))
            return; /* the first of a name counts */
    d->names[i] = (fl_name_entry){name, n, target};
}

int32_t fl_decoder_find(const fl_decoder *d, const char *name, size_t n)
{
    uint32_t i = (uint32_t)fl_text_hash(name, n) & (d->n_names - 1);
    for (; d->names[i].name; i = (i + 1) & (d->n_names - 1))
        if (d->names[i].n == n && !memcmp(d->names[i].name, name, n))
            return d->names[i].target;
    return FL_TARGET_NONE;
}

/* The row that stands for "no value" of a single-valued slot: its padding id, or the empty text. */
static int64_t padding_row(const fl_slot *s, const fl_value_encoder *e, uint32_t slot)
{
    int64_t row = 0;
    if (s->vocab != FL_VOCAB_RANGE)
        return fl_encode_value(e, slot, "", 0, &row) == FL_VALUE_OK ? row : -1;
    if (s->padding < s->first_id || (uint64_t)s->padding - (uint64_t)s->first_id >= (uint64_t)s->rows)
        return -1;
    return s->first_row + (s->padding - s->first_id);
}

fl_status fl_decoder_init(fl_decoder *d, const fl_schema *schema, fl_diag *dg)
{
    uint32_t n = schema->n_slots;
    *d = (fl_decoder){.schema = schema, .n_names = 16};
    while (d->n_names < 2 * (n + 1))
        d->n_names *= 2;
    d->place = calloc(n + 1, sizeof *d->place);
    d->padding = calloc(n + 1, sizeof *d->padding);
    d->quick = calloc(n + 1, sizeof *d->quick);
    d->filler = calloc(n + 1, sizeof *d->filler);
    d->names = calloc(d->n_names, sizeof *d->names);
    if (!d->place || !d->padding || !d->quick || !d->filler || !d->names)
        return fl_out_of_memory(dg);
    for (uint32_t s = 0, bags = 0; s < n; s++) {
        put_name(d, schema->slots[s].name, (int32_t)s);
        if (schema->slots[s].pooling != FL_POOL_NONE) {
            d->place[s] = bags++;
            continue;
        }
        d->filler[d->n_singles] = schema->slots[s].first_row > 0 ? schema->slots[s].first_row : 0;
        d->place[s] = d->n_singles++;
    }
    if (schema->label)
        put_name(d, schema->label, FL_TARGET_LABEL);
    return FL_OK;
}

void fl_decoder_bind(fl_decoder *d, const fl_value_encoder *e)
{
    for (uint32_t s = 0; s < d->schema->n_slots; s++) {
        d->padding[s] = e->builder ? 0 : padding_row(&d->schema->slots[s], e, s);
        d->quick[s] = fl_quick_slot_of(e, s);
    }
}

void fl_decoder_deinit(fl_decoder *d)
{
    free(d->place);
    free(d->padding);
    free(d->quick);
    free(d->filler);
    free(d->names);
    *d = (fl_decoder){0};
}

fl_status fl_row_block_init(fl_row_block *b, const fl_decoder *d)
{
    *b = (fl_row_block){0};
    FL_TRY(fl_batch_init(&b->rows, d->schema));
    b->stamp = calloc(d->schema->n_slots + 1, sizeof *b->stamp);
    return b->stamp ? FL_OK : FL_NO_MEMORY;
}

void fl_row_block_deinit(fl_row_block *b)
{
    fl_batch_deinit(&b->rows);
    free(b->stamp);
    free(b->scratch);
    free(b->cells);
    free(b->cell_bytes);
    *b = (fl_row_block){0};
}

void fl_row_block_clear(fl_row_block *b, const fl_decoder *d)
{
    fl_batch_clear(&b->rows);
    b->n_lines = b->n_rows = b->n_bad = b->n_skipped = 0;
    b->n_places = 0;
    b->status = FL_OK;
    b->later.n = 0;
    memset(b->stamp, 0, (d->schema->n_slots + 1) * sizeof *b->stamp);
    b->now = 0;
}

/* Look-ups of the row under way; those of a committed row stay. */
static void drop_look_ups(fl_row_block *b)
{
    const int64_t *ids = b->rows.ids + b->rows.n * (int64_t)b->rows.n_columns;
    while (b->later.n && b->later.at[b->later.n - 1].row >= ids)
        b->later.n--;
}

bool fl_row_begin(fl_row_block *b)
{
    b->now++;
    drop_look_ups(b);
    if (b->rows.n == b->rows.capacity) {
        fl_vocabulary_find_all(&b->later); /* rows move */
        fl_status status = fl_batch_reserve(&b->rows, b->rows.capacity ? 2 * b->rows.capacity : 1024);
        if (status != FL_OK) {
            b->status = status;
            return false;
        }
    }
    b->rows.label[b->rows.n] = 0;
    b->rows.part[b->rows.n] = 0;
    return true;
}

bool fl_row_add_value(fl_row_block *b, uint32_t bag, int64_t row)
{
    fl_bag *g = &b->rows.bags[bag];
    if (g->n_values == g->capacity && fl_batch_reserve_values(&b->rows, bag, 1024) != FL_OK) {
        b->status = FL_NO_MEMORY;
        return false;
    }
    g->values[g->n_values++] = row;
    return true;
}

fl_value_status fl_row_add_values(const fl_decoder *d, const fl_value_encoder *e, fl_row_block *b, uint32_t slot, const char **text, size_t *n)
{
    const char *separator = d->schema->slots[slot].separator, *p = *text, *end = p + *n;
    size_t step = separator ? strlen(separator) : 0;

    while (p < end) {
        const char *stop = step ? memmem(p, (size_t)(end - p), separator, step) : NULL;
        if (!stop)
            stop = end;
        int64_t row;
        if (stop > p) {
            fl_value_status status = fl_encode_value(e, slot, p, (size_t)(stop - p), &row);
            if (status == FL_VALUE_OK && !fl_row_add_value(b, d->place[slot], row))
                status = FL_VALUE_NO_MEMORY;
            if (status != FL_VALUE_OK) {
                *text = p;
                *n = (size_t)(stop - p);
                return status;
            }
        }
        p = stop < end ? stop + step : end;
    }
    return FL_VALUE_OK;
}

void fl_row_commit(fl_row_block *b)
{
    int64_t i = b->rows.n++;
    b->rows.row[i] = b->n_rows++;
    b->rows.bad[i] = 0;
    for (uint32_t k = 0; k < b->rows.n_bags; k++)
        b->rows.bags[k].offsets[i + 1] = b->rows.bags[k].n_values;
}

static void forget_row(const fl_decoder *d, fl_row_block *b)
{
    int64_t i = b->rows.n;
    b->n_bad++;
    drop_look_ups(b);
    for (uint32_t k = 0; k < b->rows.n_bags; k++)
        b->rows.bags[k].n_values = b->rows.bags[k].offsets[i];
    if (!d->keep_bad_rows) {
        b->n_rows++;
        return;
    }
    if (d->n_singles)
        memcpy(b->rows.ids + (size_t)i * d->n_singles, d->filler, d->n_singles * sizeof *d->filler);
    b->rows.label[i] = 0;
    fl_row_commit(b);
    b->rows.bad[i] = 1;
}

void fl_row_fail(const fl_decoder *d, fl_row_block *b, int64_t line, size_t column, fl_code code, const char *format, ...)
{
    if (b->n_places < FL_PLACES) {
        fl_bad_place *p = &b->bad[b->n_places++];
        p->code = code;
        p->line = line;
        p->column = column < UINT32_MAX ? (uint32_t)column : UINT32_MAX;
        va_list args;
        va_start(args, format);
        vsnprintf(p->text, sizeof p->text, format, args);
        va_end(args);
    }
    forget_row(d, b);
}

void fl_row_fail_value(const fl_decoder *d, fl_row_block *b, int64_t line, size_t column, fl_value_status status, uint32_t slot,
                       const char *text, size_t n)
{
    if (status == FL_VALUE_NO_MEMORY) {
        b->status = FL_NO_MEMORY;
        return;
    }
    char words[192];
    fl_code code = fl_value_problem(status, &d->schema->slots[slot], text, n, words, sizeof words);
    fl_row_fail(d, b, line, column, code, "%s", words);
}

bool fl_row_set_label(fl_row_block *b, const char *text, size_t n)
{
    double v;
    if (!fl_parse_number(text, n, &v) || !(v >= 0 && v <= 1))
        return false;
    b->rows.label[b->rows.n] = (float)v;
    return true;
}

/* NAME:VALUE, where NAME has no comma: the first token of slot text. */
static bool is_slot_text(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && line[i] == ' ')
        i++;
    size_t begin = i;
    while (i < n && line[i] != ' ' && line[i] != ':' && line[i] != ',' && line[i] != '\t' && line[i] != '"')
        i++;
    return i < n && i > begin && line[i] == ':';
}

fl_status fl_layout_recognise(const fl_decoder *d, const char *path, const char *text, size_t n, fl_layout *out, size_t *used,
                              bool *known, fl_diag *dg)
{
    const char *line = text, *end = text + n, *stop = text;

    *out = (fl_layout){.label_cell = -1, .split_cell = -1};
    *used = 0;
    *known = false;
    for (; line < end; line = stop + 1) { /* to the first line that is not blank */
        stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            return FL_OK;
        if (stop > line + (stop > line && stop[-1] == '\r'))
            break;
    }
    if (line >= end)
        return FL_OK;
    size_t length = (size_t)(stop - line);
    if (length && line[length - 1] == '\r')
        length--;
    *known = true;
    if (is_slot_text(line, length)) {
        out->format = FL_FORMAT_SLOTS;
        return FL_OK;
    }
    fl_status status = FL_OK;
    if (fl_comma_recognise(d, line, length, out, &status))
        return status == FL_OK ? FL_OK : fl_out_of_memory(dg);
    bool is_header = false;
    const char *record_end = fl_csv_record_end(line, (size_t)(end - line), d->schema->delimiter ? d->schema->delimiter[0] : ',');
    if (record_end && record_end > stop + 1) { /* a header with a line end inside a quoted name */
        stop = record_end - 1;
        length = (size_t)(stop - line) - (stop[-1] == '\r');
    }
    FL_TRY(fl_csv_recognise(d, path, line, length, out, &is_header, dg));
    if (is_header)
        *used = (size_t)(stop + 1 - text);
    return FL_OK;
}

void fl_layout_deinit(fl_layout *l)
{
    free(l->target);
    free(l->cell_of_slot);
    *l = (fl_layout){0};
}
