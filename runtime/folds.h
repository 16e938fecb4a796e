/*
 * folds.h -- folded tables that lie in the model file: found and mapped, so that a session that predicts from them computes nothing when it opens.
 *
 * The entry folds.json says where each variable lies that the folding program would compute:
 *   {"format": 1,
 *    "weights": {"table": "1a2b3c4d", ...},                                      what it was computed from, and the CRC-32C of that
 *    "variables": [{"name": "derived.w", "in": "folds.0", "offset": 64}, ...]}    row i: elements [offset, offset + width) of row i of a stored variable
 * Stored variables "folds.N" are records as sessions lay them out (variables.h): what one index looks up stands side by side, at cache lines.
 */
#ifndef FL_RUNTIME_FOLDS_H
#define FL_RUNTIME_FOLDS_H

#include "ir/model.h"
#include "runtime/engine.h"

#define FL_FOLDS_ENTRY  "folds.json"
#define FL_FOLDS_PREFIX "folds."

typedef enum fl_folds_state {
    FL_FOLDS_NONE,
    FL_FOLDS_OUTDATED, /* of other weights than the file has */
    FL_FOLDS_USABLE
} fl_folds_state;

/*
 * What `folding` computes, as the file holds it: *out, in `arena`, points into the mapping; set if *state is USABLE. `table_rows` as for fl_variables_open. What is stored is
 * compared with the weights by the checksums that the file states, so that nothing is read. FL_BAD_INPUT, reported, if the entry is wrong in itself.
 */
FL_MUST_USE fl_status fl_folds_find(fl_model *m, const fl_graph *folding, int64_t table_rows, fl_arena *arena, fl_store *out,
                                    fl_folds_state *state, fl_diag *dg);

/* What a model file needs to hold the variables of `store` that `folding` has computed. Everything lives in `arena`; the variables' bytes are the store's. */
typedef struct fl_folds_content {
    fl_model_variable_source *variables; /* "folds.N" */
    uint32_t n_variables;
    fl_model_entry_source entry;
} fl_folds_content;
FL_MUST_USE fl_status fl_folds_describe(const fl_store *store, const fl_graph *folding, fl_arena *arena, fl_folds_content *out, fl_diag *dg);

/* Does `folding` compute from this variable, which it does not compute itself? Those that the session gives ("bound...") do not count. */
bool fl_folds_reads(const fl_graph *folding, const char *name);

#endif
