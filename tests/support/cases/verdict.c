#include "verdict.h"

#include <math.h>
#include <stdarg.h>

static void give(verdict *v, outcome o, const char *format, va_list arguments) FL_PRINTF(3, 0);

static void give(verdict *v, outcome o, const char *format, va_list arguments)
{
    if (v->outcome != CASE_PASSED)
        return;
    v->outcome = o;
    vsnprintf(v->text, sizeof v->text, format, arguments);
}

bool verdict_fail(verdict *v, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    give(v, CASE_FAILED, format, arguments);
    va_end(arguments);
    return false;
}

bool verdict_skip(verdict *v, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    give(v, CASE_SKIPPED, format, arguments);
    va_end(arguments);
    return false;
}

bool verdict_status(verdict *v, fl_status status, const char *what, fl_diag *dg)
{
    if (status != FL_OK)
        verdict_fail(v, "%s: %s", what, dg->n_entries ? dg->entries[0].text : fl_status_text(status));
    fl_diag_clear(dg);
    return status == FL_OK;
}

static bool fail_at(verdict *v, const char *array, int64_t i, double got, double want)
{
    return verdict_fail(v, "%s, %lld, %.17g, %.17g", array, (long long)i, got, want);
}

bool verdict_compare(verdict *v, const char *array, const double *got, const double *want, int64_t n, tolerance t)
{
    double largest = 0, worst = -1;
    int64_t at = 0;

    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(got[i] - want[i]);
        if (!isfinite(got[i]))
            return fail_at(v, array, i, got[i], want[i]);
        if (error > worst) {
            worst = error;
            at = i;
        }
    }
    return worst <= t.atol + t.rtol * largest || fail_at(v, array, at, got[at], want[at]);
}

bool verdict_compare_each(verdict *v, const char *array, const double *got, const double *want, int64_t n, tolerance t)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= t.atol + t.rtol * fabs(want[i])))
            return fail_at(v, array, i, got[i], want[i]);
    return true;
}
