/* checks.h -- checks of reference cases, and formulas that they share. */
#ifndef FL_TESTS_CASES_CHECKS_H
#define FL_TESTS_CASES_CHECKS_H

#include "model_run.h"
#include "verdict.h"

/*
 * Gradients are read from a training step of plain SGD: (w before - w after) / lr. With a rate of 2^20, which scales exactly, the
 * weights' own size takes nothing from a gradient's precision, in single precision too.
 */
#define CHECK_GRADIENT_RATE 1048576.0

/* Every trained parameter of the forward graph gets SGD at CHECK_GRADIENT_RATE. */
void check_set_gradient_rule(fl_graph *forward);
/* The gradient that a step with that rule made of elements [offset, offset + n) of a variable, whose values before it were `before`. */
FL_MUST_USE fl_status check_get_gradient(const model_run *r, const char *variable, int64_t offset, int64_t n, const double *before,
                                         double *gradient, fl_diag *dg);

/* Losses and their derivatives in the logit, [n] each (NULL: not wanted), by operators LogLoss and LogLossGrad. */
FL_MUST_USE fl_status check_loss(run_backend backend, const char *kind, double epsilon, const double *logit, const double *label, int64_t n,
                                 double *loss, double *derivative, fl_diag *dg);

/* One folder of the reference set. *id: as the case says; NULL if it could not be read. */
void check_reference(const char *folder, run_backend backend, char id[200], verdict *v);

#endif
