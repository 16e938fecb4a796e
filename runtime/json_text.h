/*
 * json_text.h -- JSON written straight to a stream, for lines and files that need no tree.
 */
#ifndef FL_RUNTIME_JSON_TEXT_H
#define FL_RUNTIME_JSON_TEXT_H

#include <stdio.h>

/* Text as a JSON string, quotes included. */
void fl_json_string(FILE *f, const char *text);
/* null if it is not finite. */
void fl_json_number(FILE *f, double x);

#endif
