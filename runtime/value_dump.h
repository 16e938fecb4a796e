/*
 * value_dump.h -- intermediate values of a session's programs as numpy's files, of the steps that were asked for.
 *
 * The dump is an engine around a session's own: other steps run as ever. Native code computes a step that is dumped on one thread (the same bits), and
 * values are written when their phase is over, before their memory is used again. What never lies in memory is told with the reason.
 */
#ifndef FL_RUNTIME_VALUE_DUMP_H
#define FL_RUNTIME_VALUE_DUMP_H

#include "ir/model.h"
#include "runtime/engine.h"

typedef struct fl_value_dump {
    const char *pattern;       /* of names of values: shell wildcards, as fnmatch reads them */
    const char *folder;        /* files are FOLDER/PROGRAM.STEP/NAME.npy; folders are made */
    int64_t first, last;       /* steps, counted from 1 */
    void (*note)(const char *text); /* NULL, or told what was written, and what was not and why */
    int64_t steps[FL_N_PROGRAMS];   /* begun so far by all sessions that have this dump */
    bool told[FL_N_PROGRAMS];       /* what is not in memory */
} fl_value_dump;

/* Is there a value of a node whose name matches? Constants are none. */
bool fl_value_dump_matches(const fl_value_dump *dump, const fl_graph *g);
/*
 * An engine of program p that runs `plain` and, for steps to dump, `timed` (native.h; borrowed; NULL where plain keeps its values, engine.h). plain
 * belongs to it from here on, also on failure. `dump` must outlive it. `source`: the graph that the program was made from, NULL if there is none, so that values which
 * passes took away are told too; `model` is its file's name, for words.
 */
FL_MUST_USE fl_status fl_value_dump_engine_new(fl_value_dump *dump, fl_program p, const fl_graph *g, fl_engine *plain, fl_engine *timed,
                                               const fl_graph *source, const char *model, fl_engine **out, fl_diag *dg);
/*
 * A file name for any name of a value, without a folder and with ".npy": letters, digits, "_", "-" and "." (not in front) stand for themselves, other
 * bytes are %XX. What would be too long is cut and ends in "~" and 16 digits of the name's SHA-256. path has room for FL_VALUE_FILE bytes.
 */
#define FL_VALUE_FILE 240
void fl_value_file_name(const char *name, char path[FL_VALUE_FILE]);

#endif
