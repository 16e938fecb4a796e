/*
 * reader_slots.c -- slot text: `click:0 user_0:8 user_1:1 ...`, one row a line.
 *
 * A line is stripped, then split at single blanks; empty tokens and unknown names are ignored; the order is free. A
 * value of a RANGE slot is a whole number; other vocabularies take any text without blanks. A single-valued slot that is
 * absent has its padding; one that stands twice is an error (PaddleRec's own network fails on it).
 *
 * Two ways through a line. The fast one expects each token to be the one that followed the same token last time (files
 * repeat one order), compares its name by two masked words and reads digits; it never reports anything. Whatever it does not like goes to
 * the plain one, which starts the line again and is the definition. Equality of both is a test.
 */
#include "runtime/row_decoder.h"

#include "ir/manifest.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { N_STRANGERS = 32, MAX_DIGITS = 18, WORD_BYTES = 16 };

/* A name that tokens begin with, and the one expected behind it. */
typedef struct token_name {
    uint64_t word[2], mask[2]; /* the first 16 bytes of NAME: */
    const char *text;
    uint32_t n;     /* with the colon */
    int32_t target;
    uint32_t next;  /* index of the name that followed last time */
} token_name;

typedef struct line_state {
    const fl_decoder *d;
    const fl_value_encoder *e;
    fl_row_block *b;
    token_name *names; /* slots, the label, the start of a line, then strangers */
    uint32_t n_slots, next_stranger;
    int64_t line;
} line_state;

static void set_name(token_name *t, const char *text, size_t n, int32_t target)
{
    char bytes[WORD_BYTES] = {0}, mask[WORD_BYTES] = {0};
    size_t k = n < WORD_BYTES ? n : WORD_BYTES;
    memcpy(bytes, text, k);
    memset(mask, 0xff, k);
    memcpy(t->word, bytes, WORD_BYTES);
    memcpy(t->mask, mask, WORD_BYTES);
    t->text = text;
    t->n = (uint32_t)n;
    t->target = target;
}

/* p has slack behind it, but a name longer than 16 bytes is compared only up to the chunk's end (memcmp stops at '\n'). */
static bool begins_with(const char *p, const token_name *t)
{
    uint64_t w[2];
    memcpy(w, p, WORD_BYTES);
    if (((w[0] ^ t->word[0]) & t->mask[0]) | ((w[1] ^ t->word[1]) & t->mask[1]))
        return false;
    return t->n <= WORD_BYTES || !strncmp(p + WORD_BYTES, t->text + WORD_BYTES, t->n - WORD_BYTES);
}

/* The name of the token at p, by search: its index, or UINT32_MAX if the token has no colon. */
static uint32_t learn(line_state *s, const char *p)
{
    const char *q = p;
    while (*q != ':' && *q != ' ' && *q != '\n')
        q++;
    if (*q != ':')
        return UINT32_MAX;
    int32_t target = fl_decoder_find(s->d, p, (size_t)(q - p));
    uint32_t i = target >= 0 ? (uint32_t)target : s->n_slots;
    if (target == FL_TARGET_NONE) {
        i = s->n_slots + 2 + s->next_stranger++ % N_STRANGERS;
        s->names[i].next = i;
    }
    if (s->names[i].n == 0 || target == FL_TARGET_NONE)
        set_name(&s->names[i], p, (size_t)(q + 1 - p), target);
    return i;
}

static bool at_end(const char *p)
{
    return *p == '\n' || (*p == '\r' && p[1] == '\n');
}

/* The singles that the line did not name. False: one has no padding. */
static bool pad(line_state *s, int64_t *ids)
{
    const fl_schema *schema = s->d->schema;
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        if (schema->slots[k].pooling != FL_POOL_NONE || s->b->stamp[k] == s->b->now)
            continue;
        if (s->d->padding[k] < 0)
            return false;
        ids[s->d->place[k]] = s->d->padding[k];
    }
    return true;
}

/* Where the value at p ends: at a blank or a line end, which is never far beyond the chunk. */
static inline const char *value_end(const char *p)
{
#ifdef __SSE2__
    const __m128i blanks = _mm_set1_epi8(' '), newlines = _mm_set1_epi8('\n'), returns = _mm_set1_epi8('\r');
    for (;; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, blanks), _mm_cmpeq_epi8(x, newlines)), _mm_cmpeq_epi8(x, returns));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#else
    while (*p != ' ' && *p != '\n' && *p != '\r')
        p++;
    return p;
#endif
}

/* A value of slot k at p: behind it, or NULL if the plain way must look at the line. */
static const char *fast_value(line_state *s, uint32_t k, const char *p, int64_t *row)
{
    const fl_slot *slot = &s->d->schema->slots[k];
    const char *begin = p;

    if (slot->vocab != FL_VOCAB_RANGE || slot->transform != FL_TRANSFORM_NONE || s->e->builder) {
        p = value_end(p);
        bool single = slot->pooling == FL_POOL_NONE; /* values of bags may move when more come */
        fl_value_status status = single ? fl_encode_value_later(s->e, &s->d->quick[k], &s->b->later, k, begin, (size_t)(p - begin), row) : fl_encode_value(s->e, k, begin, (size_t)(p - begin), row);
        return status == FL_VALUE_OK ? p : NULL;
    }
    uint64_t v = 0;
    unsigned digit;
    while ((digit = (unsigned char)*p - (unsigned)'0') <= 9) {
        v = v * 10 + digit;
        p++;
    }
    if (p == begin || p - begin > MAX_DIGITS)
        return NULL;
    v -= (uint64_t)slot->first_id;
    if (v >= (uint64_t)slot->rows) /* also what is less than first_id */
        return NULL;
    *row = slot->first_row + (int64_t)v;
    return p;
}

/* One line, of which nothing is wrong: behind its newline, or NULL, and then nothing was committed (look-ups that wait are dropped by the next fl_row_begin). */
static const char *fast_line(line_state *s, const char *p)
{
    fl_row_block *b = s->b;
    int64_t *ids = b->rows.ids + b->rows.n * (int64_t)s->d->n_singles;
    uint32_t before = s->n_slots + 1, n_singles = 0;
    bool has_label = false;

    for (;;) {
        while (*p == ' ')
            p++;
        if (at_end(p))
            break;
        uint32_t i = s->names[before].next;
        if (!begins_with(p, &s->names[i])) {
            i = before; /* a multi-valued slot goes on */
            if (!begins_with(p, &s->names[i])) {
                i = learn(s, p);
                if (i == UINT32_MAX)
                    return NULL;
                s->names[before].next = i;
            }
        }
        const token_name *t = &s->names[i];
        p += t->n;
        before = i;
        if (t->target >= 0) {
            uint32_t k = (uint32_t)t->target;
            int64_t row;
            bool single = s->d->schema->slots[k].pooling == FL_POOL_NONE;
            p = fast_value(s, k, p, single ? &ids[s->d->place[k]] : &row);
            if (!p)
                return NULL;
            if (!single) {
                if (!fl_row_add_value(b, s->d->place[k], row))
                    return NULL;
            } else {
                if (b->stamp[k] == b->now)
                    return NULL;
                b->stamp[k] = b->now;
                n_singles++;
            }
        } else if (t->target == FL_TARGET_LABEL) {
            if ((*p != '0' && *p != '1') || has_label)
                return NULL;
            b->rows.label[b->rows.n] = (float)(*p++ - '0');
            has_label = true;
        } else {
            p = value_end(p);
        }
        if (*p != ' ' && !at_end(p))
            return NULL;
    }
    if (!has_label && s->d->need_label && !(s->d->quirks & FL_QUIRK_MISSING_LABEL_IS_0))
        return NULL;
    if (n_singles < s->d->n_singles && !pad(s, ids))
        return NULL;
    return p + (*p == '\r') + 1;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A known token of the plain way. False: the row has failed. */
static bool plain_token(line_state *s, const char *start, const char *text, size_t n, int64_t *ids, bool *has_label)
{
    fl_row_block *b = s->b;
    const char *colon = memchr(text, ':', n);
    size_t name = colon ? (size_t)(colon - text) : n, column = (size_t)(text - start) + 1;
    int32_t target = fl_decoder_find(s->d, text, name);
    if (target == FL_TARGET_NONE)
        return true;
    int shown = name < 60 ? (int)name : 60;
    if (!colon) {
        fl_row_fail(s->d, b, s->line, column, FL_E_NO_VALUE, "slot \"%.*s\" has no value: NAME:VALUE expected", shown, text);
        return false;
    }
    const char *value = colon + 1;
    size_t n_value = n - name - 1;
    if (target == FL_TARGET_LABEL) {
        if (*has_label) {
            fl_row_fail(s->d, b, s->line, column, FL_E_DUPLICATE_SLOT, "the label \"%.*s\" stands twice", shown, text);
            return false;
        }
        *has_label = true;
        if (fl_row_set_label(b, value, n_value) || !s->d->need_label)
            return true;
        fl_row_fail(s->d, b, s->line, column + name + 1, FL_E_BAD_LABEL, "label \"%.*s\" is not a number from 0 to 1",
                    n_value < 40 ? (int)n_value : 40, value);
        return false;
    }
    uint32_t k = (uint32_t)target;
    bool single = s->d->schema->slots[k].pooling == FL_POOL_NONE;
    if (single && b->stamp[k] == b->now) {
        fl_row_fail(s->d, b, s->line, column, FL_E_DUPLICATE_SLOT, "slot \"%.*s\" stands twice, but takes one value", shown, text);
        return false;
    }
    int64_t row;
    fl_value_status status = fl_encode_value(s->e, k, value, n_value, &row);
    if (status != FL_VALUE_OK) {
        fl_row_fail_value(s->d, b, s->line, column + name + 1, status, k, value, n_value);
        return false;
    }
    b->stamp[k] = b->now;
    if (!single)
        return fl_row_add_value(b, s->d->place[k], row);
    ids[s->d->place[k]] = row;
    return true;
}

/* A line from start to its newline, by the book. */
static void plain_line(line_state *s, const char *start, const char *end)
{
    fl_row_block *b = s->b;
    const char *p = start;
    bool has_label = false;

    while (p < end && is_space(*p))
        p++;
    while (end > p && is_space(end[-1]))
        end--;
    if (p == end)
        return;
    if (!fl_row_begin(b))
        return;
    const char *nul = memchr(p, 0, (size_t)(end - p));
    if (nul) {
        fl_row_fail(s->d, b, s->line, (size_t)(nul - start) + 1, FL_E_NUL_BYTE, "the line has a NUL byte");
        return;
    }
    int64_t *ids = b->rows.ids + b->rows.n * (int64_t)s->d->n_singles;
    while (p < end) {
        const char *q = memchr(p, ' ', (size_t)(end - p));
        if (!q)
            q = end;
        if (q > p && !plain_token(s, start, p, (size_t)(q - p), ids, &has_label))
            return;
        p = q < end ? q + 1 : end;
    }
    if (!has_label && s->d->need_label && !(s->d->quirks & FL_QUIRK_MISSING_LABEL_IS_0)) {
        fl_row_fail(s->d, b, s->line, 0, FL_E_MISSING_LABEL, "the row has no label (slot \"%s\")",
                    s->d->schema->label ? s->d->schema->label : "");
        return;
    }
    if (pad(s, ids)) {
        fl_row_commit(b);
        return;
    }
    for (uint32_t k = 0; k < s->n_slots; k++) {
        const fl_slot *slot = &s->d->schema->slots[k];
        if (slot->pooling == FL_POOL_NONE && b->stamp[k] != b->now && s->d->padding[k] < 0) {
            fl_row_fail(s->d, b, s->line, 0, FL_E_NO_PADDING, "slot \"%s\" is absent, and its padding %lld is no id of it",
                        slot->name, (long long)slot->padding);
            return;
        }
    }
}

void fl_decode_slots(const fl_decoder *d, const fl_value_encoder *e, const char *text, size_t n, fl_row_block *b)
{
    line_state s = {.d = d, .e = e, .b = b, .n_slots = d->schema->n_slots};
    const char *p = text, *end = text + n;
    /* A NUL may hide in a name that nobody knows; counting must not see a line twice. */
    bool plain = e->builder || memchr(text, 0, n);

    s.names = calloc(s.n_slots + 2 + N_STRANGERS, sizeof *s.names);
    if (!s.names) {
        b->status = FL_NO_MEMORY;
        return;
    }
    for (uint32_t i = 0; i < s.n_slots + 2 + N_STRANGERS; i++) /* no token begins with a line end: nothing matches yet */
        set_name(&s.names[i], "\n", 1, FL_TARGET_NONE), s.names[i].next = i, s.names[i].n = 0;
    while (p < end && b->status == FL_OK) {
        const char *next = NULL;
        if (!plain && !at_end(p)) {
            if (!fl_row_begin(b))
                break;
            next = fast_line(&s, p);
            if (next) {
                fl_row_commit(b);
            } else {
                for (uint32_t k = 0; k < b->rows.n_bags; k++)
                    b->rows.bags[k].n_values = b->rows.bags[k].offsets[b->rows.n];
            }
        }
        if (!next) {
            const char *stop = memchr(p, '\n', (size_t)(end - p));
            next = stop + 1;
            plain_line(&s, p, stop);
        }
        p = next;
        s.line++;
    }
    fl_vocabulary_find_all(&b->later);
    b->n_lines = s.line;
    free(s.names);
}
