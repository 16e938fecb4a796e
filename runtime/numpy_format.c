/*
 * numpy_format.c -- after numpy/core/arrayprint.py, FloatingFormat with floatmode "maxprec".
 *
 * Every number gets its shortest digits, cut to 8 decimals; then all are padded to one width, with blanks in positional
 * form, with zeros in scientific form.
 */
#include "runtime/numpy_format.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 8, LINE = 75 };

/* "%.*e" with the fewest digits that read back; returns the number of decimals. */
static int shortest(double x, char *text, size_t size)
{
    for (int decimals = 0; decimals < 17; decimals++) {
        snprintf(text, size, "%.*e", decimals, x);
        if (strtod(text, NULL) == x)
            return decimals;
    }
    return 16;
}

void fl_python_repr(double x, char *text)
{
    char digits[FL_REPR_SIZE];

    if (isnan(x) || isinf(x)) {
        strcpy(text, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    int decimals = shortest(x, digits, sizeof digits);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, FL_REPR_SIZE, "%s", digits);
        return;
    }
    int after = decimals - exponent;
    snprintf(text, FL_REPR_SIZE, "%.*f", after > 1 ? after : 1, x);
}

void fl_numpy_float(float x, char *text)
{
    char digits[FL_REPR_SIZE];
    int decimals = 0;

    if (isnan(x) || isinf(x)) {
        fl_python_repr((double)x, text);
        return;
    }
    for (; decimals < 9; decimals++) {
        snprintf(digits, sizeof digits, "%.*e", decimals, (double)x);
        if (strtof(digits, NULL) == x)
            break;
    }
    int exponent = atoi(strchr(digits, 'e') + 1), after = decimals - exponent;
    if (x != 0 && (exponent < -4 || exponent >= 16)) {
        snprintf(text, FL_REPR_SIZE, "%s", digits);
        return;
    }
    snprintf(text, FL_REPR_SIZE, "%.*f", after > 1 ? after : 1, (double)x);
}

/* Cut "1.2500" to "1.25", "3.000" to "3.". */
static void trim_zeros(char *text)
{
    size_t n = strlen(text);

    if (!strchr(text, '.')) {
        strcat(text, ".");
        return;
    }
    while (text[n - 1] == '0')
        text[--n] = 0;
}

/* A number in positional or scientific form with at most PRECISION decimals, without trailing zeros, without exponent. */
static void digits_of(double x, bool scientific, char *text, size_t size, int *exponent)
{
    char e[FL_REPR_SIZE];
    int decimals = shortest(x, e, sizeof e);

    *exponent = atoi(strchr(e, 'e') + 1);
    if (!scientific) {
        int after = decimals - *exponent;
        after = after < 0 ? 0 : after > PRECISION ? PRECISION : after;
        snprintf(text, size - 1, "%.*f", after, x);
    } else {
        snprintf(text, size - 1, "%.*e", decimals < PRECISION ? decimals : PRECISION, x);
        *exponent = atoi(strchr(text, 'e') + 1);
        *strchr(text, 'e') = 0;
    }
    trim_zeros(text);
}

typedef struct layout {
    bool scientific;
    size_t left, right, exponent; /* characters before the point, after it, of the exponent's number */
} layout;

static size_t width_of(const layout *l)
{
    return l->left + 1 + l->right + (l->scientific ? 2 + l->exponent : 0);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static layout lay_out(const double *x, size_t n)
{
    layout l = {false, 0, 0, 2};
    double most = 0, least = INFINITY;
    size_t special = 0;
    bool finite = false;

    for (size_t i = 0; i < n; i++) {
        double a = fabs(x[i]);
        if (!isfinite(a)) {
            special = larger(special, isnan(x[i]) || x[i] > 0 ? 3 : 4);
            continue;
        }
        finite = true;
        if (a > 0) {
            most = a > most ? a : most;
            least = a < least ? a : least;
        }
    }
    l.scientific = most > 0 && (most >= 1e8 || least < 1e-4 || most / least > 1000);
    for (size_t i = 0; i < n; i++) {
        char text[400], number[16];
        int exponent;
        if (!isfinite(x[i]))
            continue;
        digits_of(x[i], l.scientific, text, sizeof text, &exponent);
        size_t point = (size_t)(strchr(text, '.') - text);
        l.left = larger(l.left, point);
        l.right = larger(l.right, strlen(text) - point - 1);
        snprintf(number, sizeof number, "%02d", abs(exponent));
        l.exponent = larger(l.exponent, strlen(number));
    }
    if (!finite)
        l.left = special - 1 > 0 ? special - 1 : 0;
    else if (special > width_of(&l))
        l.left += special - width_of(&l);
    return l;
}

static void format_number(double x, const layout *l, char *text, size_t size)
{
    char body[400];
    int exponent = 0;

    if (!isfinite(x)) {
        snprintf(text, size, "%*s", (int)width_of(l), isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    digits_of(x, l->scientific, body, sizeof body, &exponent);
    size_t point = (size_t)(strchr(body, '.') - body), after = strlen(body) - point - 1;
    size_t pad = l->right - after;
    memset(body + point + 1 + after, l->scientific ? '0' : ' ', pad);
    body[point + 1 + after + pad] = 0;
    if (l->scientific)
        snprintf(text, size, "%*s%se%c%0*d", (int)(l->left - point), "", body, exponent < 0 ? '-' : '+', (int)l->exponent,
                 abs(exponent));
    else
        snprintf(text, size, "%*s%s", (int)(l->left - point), "", body);
}

void fl_numpy_print(const double *x, size_t n, FILE *out)
{
    layout l = lay_out(x, n);
    size_t column = 1; /* behind the bracket or the blank that starts a line */

    fputc('[', out);
    for (size_t i = 0; i < n; i++) {
        char text[500];
        format_number(x[i], &l, text, sizeof text);
        if (column > 1 && column + strlen(text) > LINE - 1) {
            fputs("\n ", out);
            column = 1;
        } else if (i > 0) {
            fputc(' ', out);
        }
        fputs(text, out);
        column += strlen(text) + 1;
    }
    fputc(']', out);
}
