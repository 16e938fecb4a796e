/*
 * variables.h -- where a session's variables lie.
 *
 * To predict, they are used where the model file is mapped. To train, what belongs to one row of a table (weight, linear
 * weight, optimiser state) lies side by side in one record: a step touches a row once, and so few cache lines and pages.
 */
#ifndef FL_RUNTIME_VARIABLES_H
#define FL_RUNTIME_VARIABLES_H

#include "runtime/engine.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

typedef struct fl_variables {
    fl_store store;
    bool *has_values;  /* [n_vars] stored data was there, or fl_variables_first has filled it */
    fl_arena arena;
    fl_pages pages;
    int64_t parameter_bytes; /* of all variables, without padding */
} fl_variables;

/*
 * All variables of the given programs (NULL entries are skipped), by name. `train` (may be NULL) is the one whose
 * row-wise updates say what goes into records; without it every variable is dense, and stored ones are used where they are, read-only. Symbolic extents
 * get the value `table_rows`. Variables of `mapped` (NULL: none) lie where that says, read-only. What needs memory of its own may take max_bytes (0: any); beyond it FL_E_MEMORY_LIMIT, before anything is taken. Stored data is copied by the pool's workers (pool NULL: by the caller). Graphs must outlive the variables.
 */
FL_MUST_USE fl_status fl_variables_open(fl_variables *v, const fl_graph *const *programs, uint32_t n_programs, const fl_graph *train,
                                        int64_t table_rows, const fl_store *mapped, uint64_t max_bytes, fl_pool *pool, fl_diag *dg);
void fl_variables_close(fl_variables *v);

/* First weights by the init program for variables that have no values (all of them if `all`): ir/README.md, "First weights". */
FL_MUST_USE fl_status fl_variables_first(fl_variables *v, const fl_graph *init, uint64_t seed, bool all, fl_pool *pool, fl_diag *dg);
/* FL_BAD_INPUT, reported, if a variable of program g has no values. */
FL_MUST_USE fl_status fl_variables_check(const fl_variables *v, const fl_graph *g, fl_diag *dg);

#endif
