/* checks.h -- checks of reference cases, and formulas that they share. */
#ifndef FL_TESTS_CASES_CHECKS_H
#define FL_TESTS_CASES_CHECKS_H

#include "model_run.h"
#include "verdict.h"

#include <jansson.h>

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

/*
 * The cases of a file of layer cases, each reported to `report`. False, with a verdict, if the file as a whole is wrong. Gradients are compared
 * element by element, within the file's tolerances and the exceptions that it names.
 */
typedef void check_report_fn(void *arg, const char *id, const verdict *v);
bool check_layers(const char *path, run_backend backend, check_report_fn *report, void *arg, verdict *v);

/* What one case of such a file is checked with. */
typedef struct layer_case {
    const char *id, *variant;
    const json_t *entry, *input, *expect; /* entry: all of the case; input, expect: NULL for metrics */
    const json_t *exceptions;             /* the file's tolerances */
    run_backend backend;
    tolerance tolerance;
    fl_arena arena;
    fl_diag dg;
    verdict *v;
} layer_case;

/* Compare with `want` (an array of any depth, or a number) within the tolerance of `array` ("h_fm", "grad.r_mf"). */
bool layer_compare(layer_case *c, const char *array, const json_t *want, const double *got, int64_t n);
void check_layer(layer_case *c);  /* variants of the interaction */
void check_model(layer_case *c);  /* variant model_scalar_weights */
void check_metric(layer_case *c); /* kinds of metric_cases */

#endif
