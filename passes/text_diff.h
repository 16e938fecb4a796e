/*
 * text_diff.h -- what changed between two texts, line by line, for --print-after-change.
 */
#ifndef FL_PASSES_TEXT_DIFF_H
#define FL_PASSES_TEXT_DIFF_H

#include "ir/base/arena.h"

#include <stdio.h>

/*
 * Prints lines that only `before` has with '-', lines that only `after` has with '+', and up to `context` equal lines around them with ' ';
 * "..." where equal lines are left out; nothing for equal texts. False if out of memory; nothing is printed then.
 */
bool fl_text_diff(const char *before, const char *after, uint32_t context, fl_arena *scratch, FILE *out);

#endif
