/*
 * verdict.h -- how a check case came out: the first thing that was wrong, or unknown, decides.
 */
#ifndef FL_TESTS_CASES_VERDICT_H
#define FL_TESTS_CASES_VERDICT_H

#include "ir/base/diag.h"

typedef enum outcome { CASE_PASSED, CASE_FAILED, CASE_SKIPPED } outcome;

typedef struct verdict {
    outcome outcome; /* CASE_PASSED until something else is found */
    char text[400];
} verdict;

/* All return false, so that `return verdict_fail(...)` reads naturally; a verdict that is given stays. */
bool verdict_fail(verdict *v, const char *format, ...) FL_PRINTF(2, 3);
/* What is not known: "model nfm". */
bool verdict_skip(verdict *v, const char *format, ...) FL_PRINTF(2, 3);
/* True for FL_OK; else the first diagnostic fails the case. The sink is cleared. */
bool verdict_status(verdict *v, fl_status status, const char *what, fl_diag *dg);

typedef struct tolerance {
    double rtol, atol;
} tolerance;

/* max |got - want| <= atol + rtol * max |want|, NaN nowhere; else the case fails at the worst place. */
bool verdict_compare(verdict *v, const char *array, const double *got, const double *want, int64_t n, tolerance t);
/* The same place by place: |got - want| <= atol + rtol * |want|. */
bool verdict_compare_each(verdict *v, const char *array, const double *got, const double *want, int64_t n, tolerance t);

#endif
