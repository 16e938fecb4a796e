/* verb_slopes.h -- are the gradients that `differentiate` makes the slopes of the loss? For `flenc verify`. */
#ifndef FL_FRONTEND_VERB_SLOPES_H
#define FL_FRONTEND_VERB_SLOPES_H

#include "ir/graph.h"

struct fl_trial_options; /* backend/trial.h */

/*
 * Differentiates copies of g, which is ready for that pass, and compares gradients with differences of the loss (interpreter, double precision, on
 * the values of `options`). FL_FAILED, reported behind `where`, for a gradient that is wrong: the report names the value
 * nearest to the loss of which this is so, and what reads it. *n_checked counts gradients.
 */
FL_MUST_USE fl_status fl_verify_slopes(const fl_graph *g, const struct fl_trial_options *options, const char *where, uint32_t *n_checked, fl_diag *dg);

#endif
