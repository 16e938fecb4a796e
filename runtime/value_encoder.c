#include "runtime/value_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An optional sign and decimal digits, nothing else, within int64. */
static bool parse_int(const char *text, size_t n, int64_t *out)
{
    bool negative = n > 0 && text[0] == '-';
    size_t i = n > 0 && (text[0] == '-' || text[0] == '+');
    if (i == n)
        return false;
    uint64_t v = 0;
    for (; i < n; i++) {
        unsigned d = (unsigned char)text[i] - (unsigned)'0';
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool fl_parse_number(const char *text, size_t n, double *out)
{
    char copy[64];
    int64_t whole;

    if (parse_int(text, n, &whole)) {
        *out = (double)whole;
        return true;
    }
    if (n == 0 || n >= sizeof copy)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr("0123456789+-.eE", text[i]) || !text[i])
            return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    char *end;
    double v = strtod(copy, &end); /* the programs keep the C locale: the point is a point */
    if (end != copy + n || !isfinite(v))
        return false;
    *out = v;
    return true;
}

static bool all_digits(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static int two(const char *text)
{
    return (text[0] - '0') * 10 + (text[1] - '0');
}

/* 0 Monday ... 6 Sunday of day 20YY-MM-DD; -1 if there is no such day. */
static int weekday(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const int shift[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4}; /* Sakamoto's congruence, Sunday is 0 */
    bool leap = year % 4 == 0; /* right for all years of this century */
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1] + (leap && month == 2))
        return -1;
    int y = 2000 + year - (month < 3);
    return (y + y / 4 - y / 100 + y / 400 + shift[month - 1] + day + 6) % 7;
}

/* The value's text after the slot's transform, in `space` (32 bytes) or in place. */
static fl_value_status transform(fl_transform kind, const char **text, size_t *n, char *space)
{
    if (kind == FL_TRANSFORM_NONE || *n == 0)
        return FL_VALUE_OK;
    if (kind == FL_TRANSFORM_LOG_BUCKET) {
        double x;
        if (!fl_parse_number(*text, *n, &x))
            return FL_VALUE_BAD_NUMBER;
        if (x > 2) {
            *n = (size_t)snprintf(space, 32, "%.0f", floor(log(x) * log(x)));
            *text = space;
        }
        return FL_VALUE_OK;
    }
    if ((*n != 8 && !(*n == 2 && kind == FL_TRANSFORM_HOUR_OF_DAY)) || !all_digits(*text, *n))
        return FL_VALUE_BAD_TIME;
    const char *hour = *text + *n - 2;
    if (two(hour) > 23)
        return FL_VALUE_BAD_TIME;
    if (kind == FL_TRANSFORM_HOUR_OF_DAY) {
        *text = hour;
        *n = 2;
        return FL_VALUE_OK;
    }
    int day = weekday(two(*text), two(*text + 2), two(*text + 4));
    if (day < 0)
        return FL_VALUE_BAD_TIME;
    if (kind == FL_TRANSFORM_DAY) {
        *n = 6;
        return FL_VALUE_OK;
    }
    space[0] = (char)('0' + day);
    *text = space;
    *n = 1;
    return FL_VALUE_OK;
}

fl_value_status fl_encode_value(const fl_value_encoder *e, uint32_t slot, const char *text, size_t n, int64_t *row)
{
    const fl_slot *s = &e->schema->slots[slot];
    char space[32];
    int64_t id = 0;

    *row = 0;
    /* Files of which only the hour of the day is left have no day: to an optional slot of the day they are files without its column. */
    if (s->optional && (s->transform == FL_TRANSFORM_WEEKDAY || s->transform == FL_TRANSFORM_DAY) && n == 2 && all_digits(text, n)) {
        n = s->vocab == FL_VOCAB_RANGE ? (size_t)snprintf(space, sizeof space, "%lld", (long long)s->padding) : 0;
        text = space;
    } else if (s->transform != FL_TRANSFORM_NONE) {
        fl_value_status status = transform(s->transform, &text, &n, space);
        if (status != FL_VALUE_OK)
            return status;
    }
    switch (s->vocab) {
    case FL_VOCAB_DICT:
        if (e->builder)
            return fl_vocabulary_builder_add(e->builder, slot, text, n) ? FL_VALUE_OK : FL_VALUE_NO_MEMORY;
        id = fl_vocabulary_find(e->vocabulary, slot, text, n);
        break;
    case FL_VOCAB_HASH:
        if (!e->builder)
            id = (int64_t)(fl_text_hash(text, n) % (uint64_t)s->rows);
        break;
    case FL_VOCAB_RANGE:
        if (!parse_int(text, n, &id))
            return FL_VALUE_BAD_NUMBER;
        if (id < s->first_id || (s->rows > 0 && (uint64_t)id - (uint64_t)s->first_id >= (uint64_t)s->rows))
            return FL_VALUE_RANGE;
        if (e->builder)
            fl_vocabulary_builder_add_id(e->builder, slot, id);
        id -= s->first_id;
        break;
    }
    if (!e->builder)
        *row = s->first_row + id;
    return FL_VALUE_OK;
}

fl_quick_slot fl_quick_slot_of(const fl_value_encoder *e, uint32_t slot)
{
    const fl_slot *s = &e->schema->slots[slot];
    fl_quick_slot q = {.way = FL_SHORT_NONE, .first_row = s->first_row};

    if (s->transform != FL_TRANSFORM_NONE || e->builder)
        return q;
    if (s->vocab == FL_VOCAB_DICT && e->vocabulary) {
        q.way = FL_SHORT_DICT;
        q.dictionary = fl_vocabulary_slot_get(e->vocabulary, slot);
    } else if (s->vocab == FL_VOCAB_HASH && s->rows > 1) {
        q.way = FL_SHORT_HASH;
        q.rows = (uint64_t)s->rows;
        q.reciprocal = UINT64_MAX / q.rows;
    }
    return q;
}

fl_code fl_value_problem(fl_value_status status, const fl_slot *slot, const char *text, size_t n, char *to, size_t size)
{
    int shown = n < 40 ? (int)n : 40;
    const char *more = n > 40 ? "..." : "";
    switch (status) {
    case FL_VALUE_RANGE:
        if (slot->rows > 0)
            snprintf(to, size, "slot \"%s\": id %.*s lies outside %lld to %lld", slot->name, shown, text,
                     (long long)slot->first_id, (long long)(slot->first_id + slot->rows - 1));
        else
            snprintf(to, size, "slot \"%s\": id %.*s is less than %lld", slot->name, shown, text, (long long)slot->first_id);
        return FL_E_ID_RANGE;
    case FL_VALUE_BAD_TIME:
        snprintf(to, size, "slot \"%s\": \"%.*s%s\" is not a time of the form YYMMDDHH", slot->name, shown, text, more);
        return FL_E_BAD_TIME;
    case FL_VALUE_BAD_NUMBER:
        snprintf(to, size, "slot \"%s\": \"%.*s%s\" is not a %snumber", slot->name, shown, text, more,
                 slot->transform == FL_TRANSFORM_LOG_BUCKET ? "" : "whole ");
        return FL_E_BAD_NUMBER;
    case FL_VALUE_OK:
    case FL_VALUE_NO_MEMORY:
        break;
    }
    snprintf(to, size, "out of memory");
    return FL_E_NO_MEMORY;
}
