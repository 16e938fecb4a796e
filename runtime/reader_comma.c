/*
 * reader_comma.c -- PaddleRec 2.x's comma text: numbers separated by commas, slots by position.
 *
 * The schema's comma_columns name what stands where. A row has exactly that many numbers (blanks around them are ignored, as
 * Python's int() does); where no labels are needed and the label comes last, it may be absent.
 */
#include "runtime/row_decoder.h"

#include <stdlib.h>
#include <string.h>

bool fl_comma_recognise(const fl_decoder *d, const char *line, size_t n, fl_layout *out, fl_status *status)
{
    const fl_schema *schema = d->schema;
    uint32_t count = schema->n_comma_columns;

    if (count == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!memchr("0123456789,-+ \t", line[i], 15))
            return false;
    out->target = calloc(count, sizeof *out->target);
    if (!out->target) {
        *status = FL_NO_MEMORY;
        return true;
    }
    out->format = FL_FORMAT_COMMA;
    out->n_cells = count;
    out->delimiter = ',';
    for (uint32_t i = 0; i < count; i++) {
        const char *name = schema->comma_columns[i];
        int32_t target = !strcmp(name, "") ? FL_TARGET_NONE : fl_decoder_find(d, name, strlen(name));
        if (target == FL_TARGET_NONE && !strcmp(name, "label"))
            target = FL_TARGET_LABEL;
        out->target[i] = target;
        if (target == FL_TARGET_LABEL)
            out->label_cell = (int32_t)i;
    }
    if (out->label_cell < 0 && !schema->label) {
        out->label_cell = (int32_t)count - 1;
        out->target[count - 1] = FL_TARGET_LABEL;
    }
    return true;
}

typedef struct comma_state {
    const fl_decoder *d;
    const fl_value_encoder *e;
    const fl_layout *l;
    fl_row_block *b;
    int64_t line;
} comma_state;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The cell [text, text + n) at position i. False: the row has failed. */
static bool put_cell(comma_state *s, const char *start, uint32_t i, const char *text, size_t n, int64_t *ids)
{
    int32_t target = s->l->target[i];
    int64_t row;

    while (n && is_blank(*text))
        text++, n--;
    while (n && is_blank(text[n - 1]))
        n--;
    size_t column = (size_t)(text - start) + 1;
    if (target == FL_TARGET_NONE)
        return true;
    if (target == FL_TARGET_LABEL) {
        if (fl_row_set_label(s->b, text, n) || !s->d->need_label)
            return true;
        if (n == 0)
            fl_row_fail(s->d, s->b, s->line, column, FL_E_MISSING_LABEL, "the row has no label");
        else
            fl_row_fail(s->d, s->b, s->line, column, FL_E_BAD_LABEL, "label \"%.*s\" is not a number from 0 to 1",
                        n < 40 ? (int)n : 40, text);
        return false;
    }
    uint32_t k = (uint32_t)target;
    fl_value_status status = fl_encode_value(s->e, k, text, n, &row);
    if (status != FL_VALUE_OK) {
        fl_row_fail_value(s->d, s->b, s->line, column, status, k, text, n);
        return false;
    }
    if (s->d->schema->slots[k].pooling != FL_POOL_NONE)
        return fl_row_add_value(s->b, s->d->place[k], row);
    ids[s->d->place[k]] = row;
    s->b->stamp[k] = s->b->now;
    return true;
}

/* Single-valued slots that no position names: the layout's fault, said of each row. */
static bool all_set(comma_state *s, int64_t *ids)
{
    const fl_schema *schema = s->d->schema;
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        if (schema->slots[k].pooling != FL_POOL_NONE || s->b->stamp[k] == s->b->now)
            continue;
        if (s->d->padding[k] < 0) {
            fl_row_fail(s->d, s->b, s->line, 0, FL_E_NO_PADDING, "slot \"%s\" has no position in comma text, and its padding is no id of it",
                        schema->slots[k].name);
            return false;
        }
        ids[s->d->place[k]] = s->d->padding[k];
    }
    return true;
}

static void comma_line(comma_state *s, const char *start, const char *end, bool has_nul)
{
    fl_row_block *b = s->b;
    const char *p = start;

    while (end > p && is_blank(end[-1]))
        end--;
    while (p < end && is_blank(*p))
        p++;
    if (p == end || !fl_row_begin(b))
        return;
    const char *nul = has_nul ? memchr(p, 0, (size_t)(end - p)) : NULL;
    if (nul) {
        fl_row_fail(s->d, b, s->line, (size_t)(nul - start) + 1, FL_E_NUL_BYTE, "the line has a NUL byte");
        return;
    }
    int64_t *ids = b->rows.ids + b->rows.n * (int64_t)s->d->n_singles;
    uint32_t count = 1, expected = s->l->n_cells;
    for (const char *q = p; q < end; q++)
        count += *q == ',';
    bool unlabelled = count + 1 == expected && !s->d->need_label && s->l->label_cell == (int32_t)count;
    if (count != expected && !unlabelled) {
        if (s->d->quirks & FL_QUIRK_SKIP_SHORT_ROWS) {
            b->n_skipped++;
            return;
        }
        fl_row_fail(s->d, b, s->line, 0, FL_E_WRONG_CELLS, "the row has %u numbers, %u expected", count, expected);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *q = p;
        while (q < end && *q != ',')
            q++;
        if (!put_cell(s, start, i, p, (size_t)(q - p), ids))
            return;
        p = q + 1;
    }
    if (all_set(s, ids))
        fl_row_commit(b);
}

void fl_decode_comma(const fl_decoder *d, const fl_value_encoder *e, const fl_layout *l, const char *text, size_t n, fl_row_block *b)
{
    comma_state s = {.d = d, .e = e, .l = l, .b = b};
    bool has_nul = memchr(text, 0, n) != NULL;

    for (const char *p = text, *end = text + n; p < end && b->status == FL_OK; s.line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        comma_line(&s, p, stop, has_nul);
        p = stop + 1;
    }
    b->n_lines = s.line;
}
