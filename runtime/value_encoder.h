/*
 * value_encoder.h -- the text of one raw value to a row of the packed table: transform, vocabulary, place of the slot.
 */
#ifndef FL_RUNTIME_VALUE_ENCODER_H
#define FL_RUNTIME_VALUE_ENCODER_H

#include "runtime/vocabulary_format.h"

/* Readers keep this many readable bytes behind every text, so that values are loaded by words. */
enum { FL_TEXT_SLACK = 64 };

typedef struct fl_value_encoder {
    const fl_schema *schema;
    const fl_vocabulary *vocabulary; /* NULL: no slot needs one */
    fl_vocabulary_builder *builder;  /* not NULL: values are counted, and every row is 0 */
} fl_value_encoder;

/* What is wrong with a value. The encoder knows no place; readers make the diagnostic (fl_value_problem). */
typedef enum fl_value_status { FL_VALUE_OK, FL_VALUE_BAD_NUMBER, FL_VALUE_BAD_TIME, FL_VALUE_RANGE, FL_VALUE_NO_MEMORY } fl_value_status;

/* A finite decimal number, nothing else (no hexadecimal, no names). */
bool fl_parse_number(const char *text, size_t n, double *out);

/* *row = table row of a value of slot `slot`. */
fl_value_status fl_encode_value(const fl_value_encoder *e, uint32_t slot, const char *text, size_t n, int64_t *row);

/* The short way of a slot whose text becomes a row without a transform and cannot fail. */
typedef enum fl_short_way { FL_SHORT_NONE, FL_SHORT_DICT, FL_SHORT_HASH } fl_short_way;

typedef struct fl_quick_slot {
    fl_short_way way;
    int64_t first_row;
    const fl_vocabulary_slot *dictionary;
    uint64_t rows, reciprocal; /* FL_SHORT_HASH: 2^64 / rows, rounded down */
} fl_quick_slot;

fl_quick_slot fl_quick_slot_of(const fl_value_encoder *e, uint32_t slot);

/* fl_encode_value by the short way q of the slot, but *row may be written only by fl_vocabulary_find_all(later), which must come before the text goes away. */
static inline fl_value_status fl_encode_value_later(const fl_value_encoder *e, const fl_quick_slot *q, fl_vocabulary_look_ups *later, uint32_t slot, const char *text,
                                                    size_t n, int64_t *row)
{
    __extension__ typedef unsigned __int128 wide;

    if (q->way == FL_SHORT_DICT) {
        fl_vocabulary_find_later(later, q->dictionary, text, n, q->first_row, row);
        return FL_VALUE_OK;
    }
    if (q->way == FL_SHORT_HASH) { /* the remainder without a division: the quotient is at most one too small */
        uint64_t h = fl_text_hash(text, n), rest = h - (uint64_t)((wide)h * q->reciprocal >> 64) * q->rows;
        *row = q->first_row + (int64_t)(rest >= q->rows ? rest - q->rows : rest);
        return FL_VALUE_OK;
    }
    return fl_encode_value(e, slot, text, n, row);
}

/* The words for a failed value: fills `to` (of `size` bytes), returns the code. */
fl_code fl_value_problem(fl_value_status status, const fl_slot *slot, const char *text, size_t n, char *to, size_t size);

#endif
