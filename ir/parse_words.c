/* parse_words.c -- words of ONNX's text, and places in it. */
#include "ir/parse_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdlib.h>
#include <string.h>

/* Places are asked for in the order of the text, but for a few: counting goes on from the line of the last one. */
fl_loc fl_parse_place(fl_parser *p, const char *at)
{
    if (!p->counted || at < p->line_start) {
        p->counted = p->line_start = p->text;
        p->line = 1;
    }
    for (; p->counted < at; p->counted++) {
        if (*p->counted == '\n') {
            p->line_start = p->counted + 1;
            p->line++;
        }
    }
    return (fl_loc){p->file, p->line, (uint32_t)(at - p->line_start) + 1};
}

/* The first mistake's status stays, but for the end of memory, which ends the reading. */
bool fl_parse_wrong(fl_parser *p, fl_status s)
{
    p->status = p->status == FL_OK || s == FL_NO_MEMORY ? s : p->status;
    return false;
}

bool fl_parse_fail(fl_parser *p, const char *at, const char *what)
{
    return fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, at), "%s", what));
}

bool fl_parse_no_memory(fl_parser *p)
{
    p->status = fl_out_of_memory(p->dg);
    return false;
}

/* ------------------------------------------------------------------------------------------------------- words */

char fl_parse_peek(fl_parser *p)
{
    while (p->at < p->end) {
        if (*p->at == '#')
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        else if (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' || *p->at == '\n')
            p->at++;
        else
            return *p->at;
    }
    return '\0';
}

bool fl_parse_accept(fl_parser *p, char c)
{
    if (fl_parse_peek(p) != c || p->at == p->end)
        return false;
    p->at++;
    return true;
}

bool fl_parse_need(fl_parser *p, char c)
{
    if (fl_parse_accept(p, c))
        return true;
    char text[64];
    if (p->at == p->end)
        snprintf(text, sizeof text, "expected '%c', but the text ends", c);
    else
        snprintf(text, sizeof text, "expected '%c', but found '%c'", c, *p->at);
    return fl_parse_fail(p, p->at, text);
}

bool fl_parse_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool fl_parse_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A quoted text into the scratch arena. */
bool fl_parse_string(fl_parser *p, const char **out)
{
    if (fl_parse_peek(p) != '"')
        return fl_parse_fail(p, p->at, "expected a quoted text");
    const char *start = p->at++, *close = p->at;
    while (close < p->end && *close != '"')
        close += *close == '\\' ? 2 : 1;
    if (close >= p->end)
        return fl_parse_fail(p, start, "the quoted text does not end");
    char *copy = fl_arena_alloc(&p->scratch, (size_t)(close - start));
    size_t n = 0;
    if (!copy)
        return fl_parse_no_memory(p);
    for (; p->at < close; p->at++) {
        if (*p->at == '\\')
            p->at++;
        if (*p->at == '\0')
            return fl_parse_fail(p, p->at, "a zero byte stands in a quoted text");
        copy[n++] = *p->at;
    }
    p->at++;
    copy[n] = '\0';
    *out = fl_strpool_put(&p->g->names, copy, n);
    return *out ? true : fl_parse_no_memory(p);
}

bool fl_parse_name(fl_parser *p, const char **out, const char *what)
{
    char c = fl_parse_peek(p);
    if (c == '"')
        return fl_parse_string(p, out);
    const char *start = p->at;
    if (p->at == p->end || !fl_parse_is_letter(c)) {
        char text[96];
        snprintf(text, sizeof text, "expected %s%s", what, p->at == p->end ? ", but the text ends" : "");
        return fl_parse_fail(p, p->at, text);
    }
    while (p->at < p->end && (fl_parse_is_letter(*p->at) || fl_parse_is_digit(*p->at)))
        p->at++;
    *out = fl_strpool_put(&p->g->names, start, (size_t)(p->at - start));
    return *out ? true : fl_parse_no_memory(p);
}

bool fl_parse_read_number(fl_parser *p, fl_number *out)
{
    char text[64];
    size_t n = 0;
    (void)fl_parse_peek(p);
    const char *start = p->at;
    while (p->at < p->end && n + 1 < sizeof text &&
           (fl_parse_is_digit(*p->at) || fl_parse_is_letter(*p->at) || *p->at == '.' || ((*p->at == '-' || *p->at == '+') && (n == 0 || strchr("eE", text[n - 1])))))
        text[n++] = *p->at++;
    text[n] = '\0';
    char *rest;
    errno = 0;
    out->i = strtoll(text, &rest, 10);
    out->is_int = n > 0 && *rest == '\0' && errno == 0;
    bool hexadecimal = strpbrk(text, "xX") != NULL;
    out->f = strtod(text, &rest);
    if (n == 0 || *rest != '\0' || hexadecimal)
        return fl_parse_fail(p, start, "expected a number");
    return true;
}

bool fl_parse_read_int(fl_parser *p, int64_t *out)
{
    fl_number x;
    (void)fl_parse_peek(p);
    const char *start = p->at;
    if (!fl_parse_read_number(p, &x))
        return false;
    *out = x.i;
    return x.is_int ? true : fl_parse_fail(p, start, "expected a whole number");
}

/* ----------------------------------------------------------------------------------------------------- variables */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool fl_parse_variables(fl_parser *p, const char *names)
{
    p->variables = fl_meta_names(names, &p->scratch, &p->n_variables);
    if (!p->variables)
        return fl_parse_no_memory(p);
    qsort(p->variables, p->n_variables, sizeof *p->variables, by_name);
    return true;
}

bool fl_parse_is_variable(const fl_parser *p, const char *word)
{
    return p->n_variables > 0 && bsearch(&word, p->variables, p->n_variables, sizeof *p->variables, by_name) != NULL;
}
