/*
 * verb_peer.h -- a graph in ONNX Runtime, as `flenc export` writes it, beside our interpreter: somebody else's reading of what we mean. Part of the command line.
 */
#ifndef FL_FRONTEND_VERB_PEER_H
#define FL_FRONTEND_VERB_PEER_H

#include "backend/trial.h"

/*
 * Run g, a predict program, in ONNX Runtime on the trial's values, weights included. *differs is its first output that is further off than tolerance * (1 + |want|) (FL_NONE: none).
 * ONNX Runtime is called in a child: `$FLEN_PYTHON`, by default python3; files go into a folder in $TMPDIR that is removed. FL_E_PEER if the child
 * cannot be started, lacks onnxruntime or numpy, or fails.
 */
FL_MUST_USE fl_status fl_peer_run(const fl_graph *g, const fl_trial_options *options, double tolerance, fl_id *differs, fl_difference *d, fl_diag *dg);

#endif
