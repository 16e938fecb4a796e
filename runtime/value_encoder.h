/*
 * value_encoder.h -- the text of one raw value to a row of the packed table: transform, vocabulary, place of the slot.
 */
#ifndef FL_RUNTIME_VALUE_ENCODER_H
#define FL_RUNTIME_VALUE_ENCODER_H

#include "runtime/vocabulary.h"

/* Readers keep this many readable bytes behind every text, so that values are loaded by words. */
enum { FL_TEXT_SLACK = 64 };

typedef struct fl_value_encoder {
    const fl_schema *schema;
    const fl_vocabulary *vocabulary; /* NULL: no slot needs one */
    fl_vocabulary_builder *builder;  /* not NULL: values are counted, and every row is 0 */
} fl_value_encoder;

/* What is wrong with a value. The encoder knows no place; readers make the diagnostic (fl_value_problem). */
typedef enum fl_value_status { FL_VALUE_OK, FL_VALUE_BAD_NUMBER, FL_VALUE_BAD_TIME, FL_VALUE_RANGE, FL_VALUE_NO_MEMORY } fl_value_status;

/* An optional sign and decimal digits, nothing else, within int64. */
bool fl_parse_int(const char *text, size_t n, int64_t *out);
/* A finite decimal number, nothing else (no hexadecimal, no names). */
bool fl_parse_number(const char *text, size_t n, double *out);

/* *row = table row of a value of slot `slot`. */
fl_value_status fl_encode_value(const fl_value_encoder *e, uint32_t slot, const char *text, size_t n, int64_t *row);

/* The same, but *row may be written only by fl_vocabulary_find_all(e->vocabulary, later), which must come before the text goes away. */
fl_value_status fl_encode_value_later(const fl_value_encoder *e, fl_vocabulary_look_ups *later, uint32_t slot, const char *text, size_t n, int64_t *row);

/* The words for a failed value: fills `to` (of `size` bytes), returns the code. */
fl_code fl_value_problem(fl_value_status status, const fl_slot *slot, const char *text, size_t n, char *to, size_t size);

#endif
