/*
 * diag.h -- diagnostics: what a person reads when something is wrong.
 *
 * A diagnostic has a stable code, a place and a text; hints belong to it and are printed indented below:
 *
 *     config.yaml:12:7: error: slot "user_3" stands in two fields, "user" and "item" [E0117]
 *           slots: [user_3, item_0]
 *                   ^
 *         hint: every slot belongs to exactly one field
 *
 * Library code reports into an fl_diag and returns a status; only the command lines print. A sink collects any
 * number of reports, so that independent errors come out in one run. Codes stand in diag_<area>.def; each area
 * owns a hundred numbers. Not thread-safe: a sink belongs to one thread.
 */
#ifndef FL_IR_BASE_DIAG_H
#define FL_IR_BASE_DIAG_H

#include "ir/base/status.h"

#include <stdio.h>

/* A place in a file. file NULL: no place; line 0: the file as a whole; column 0: the whole line. Counted from 1. */
typedef struct fl_loc {
    const char *file;
    uint32_t line;
    uint32_t column;
} fl_loc;

#define FL_NOWHERE    ((fl_loc){NULL, 0, 0})
#define FL_FILE(name) ((fl_loc){(name), 0, 0})

/* E0123 and FL_E_<NAME> are the same code. */
typedef enum fl_code {
#define FL_CODE(number, id, status, title, page) FL_E_##id = number,
#include "ir/base/diag_codes.def"
#undef FL_CODE
} fl_code;

typedef enum fl_severity { FL_SEVERITY_ERROR, FL_SEVERITY_WARNING } fl_severity;

typedef struct fl_diag_entry {
    fl_code code;
    fl_severity severity;
    char *file; /* owned copy; NULL if none */
    uint32_t line, column;
    char *text;  /* one line */
    char *hints; /* lines, each ended by '\n'; NULL if none */
} fl_diag_entry;

typedef struct fl_diag {
    fl_diag_entry *entries;
    uint32_t n_entries, capacity;
    uint32_t n_errors; /* entries that are no warnings, and 1 for `no_memory` */
    uint32_t n_dropped; /* reports beyond FL_DIAG_MAX, counted only */
    bool no_memory; /* there was none to hold an error: it is printed as E0001 behind the entries */
} fl_diag;

#define FL_DIAG_MAX 100u

void fl_diag_init(fl_diag *dg);
void fl_diag_deinit(fl_diag *dg);
/* Forget all entries, keep the sink. */
void fl_diag_clear(fl_diag *dg);
/* Forget the entries behind the first n. dg may be NULL. */
void fl_diag_truncate(fl_diag *dg, uint32_t n);

/* Put the entries behind the first n in order of line; those of one line stay as they came, those without a line follow. */
void fl_diag_sort(fl_diag *dg, uint32_t n);

/*
 * Report an error. dg may be NULL (the words are lost). The text is one line without a full stop: what was found,
 * what was expected. Returns the status that belongs to the code, so that `return fl_error(...)` reads naturally.
 */
fl_status fl_error(fl_diag *dg, fl_code code, fl_loc loc, const char *format, ...) FL_PRINTF(4, 5);
/* The same for something that does not stop the work. */
void fl_warning(fl_diag *dg, fl_code code, fl_loc loc, const char *format, ...) FL_PRINTF(4, 5);
/* Add a hint line to the newest entry. Without an entry it does nothing. */
void fl_hint(fl_diag *dg, const char *format, ...) FL_PRINTF(2, 3);
/* Shorthand for FL_E_NO_MEMORY with FL_NOWHERE; returns FL_NO_MEMORY. Needs no memory itself. */
fl_status fl_out_of_memory(fl_diag *dg);

/*
 * Print every entry as in the header of this file, the source line with a caret where the file can be read.
 * `program` stands in front of entries without a place ("flenc: error: ..."). `source` (may be NULL) is the text
 * of a file that cannot be read again, such as standard input, printed for entries whose file equals source_name.
 */
void fl_diag_print(const fl_diag *dg, FILE *out, const char *program, const char *source_name, const char *source);

/* The page of `flenc explain CODE`: title and page text of code `number`; false if there is no such code. */
bool fl_code_explain(int number, const char **title, const char **page);

/* The candidate nearest to `word` by edit distance, if near enough to be a typing error; NULL otherwise. */
const char *fl_nearest(const char *word, const char *const *candidates, size_t n);

#endif
