/*
 * json.h -- JSON text to jansson's values, without its one gap: where memory for a long token runs out, jansson 2.14 may go on
 * with a shorter token (or, if it cannot grow twice in a row, end the process by an assertion, which nothing here prevents).
 */
#ifndef FL_IR_JSON_H
#define FL_IR_JSON_H

#include "ir/base/diag.h"

#include <jansson.h>

/*
 * json_loadb with JSON_REJECT_DUPLICATES. NULL with the words in *error if the text is no JSON; NULL with *no_memory, nothing reported, if memory ran out anywhere.
 * The first call puts a note in front of the allocation functions that jansson has then, which stay the ones that serve.
 */
json_t *fl_json_load(const char *text, size_t n, json_error_t *error, bool *no_memory);

#endif
