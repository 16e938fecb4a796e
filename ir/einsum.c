#include "ir/einsum.h"

#include <string.h>

/* The letter's number; -1 for anything else. */
static int letter(char c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1;
}

/*
 * One term, up to `end`: letters, spaces and at most one "...", which stands for `dots` axes. Returns the number of axes, -1 if it is
 * malformed or too long.
 */
static int parse_term(const char *p, const char *end, int dots, uint8_t *axes)
{
    int n = 0;
    bool seen = false;
    for (; p < end; p++) {
        if (*p == ' ')
            continue;
        if (*p == '.') {
            if (seen || end - p < 3 || p[1] != '.' || p[2] != '.' || n + dots > FL_MAX_RANK)
                return -1;
            for (int d = dots; d-- > 0;)
                axes[n++] = (uint8_t)(FL_EINSUM_LETTERS + d);
            seen = true;
            p += 2;
            continue;
        }
        if (letter(*p) < 0 || n == FL_MAX_RANK)
            return -1;
        axes[n++] = (uint8_t)letter(*p);
    }
    return n;
}

static int count_letters(const char *p, const char *end)
{
    int n = 0;
    for (; p < end; p++)
        n += letter(*p) >= 0;
    return n;
}

/* Without "->": the axes of "...", then every letter that stands once, in the order of the alphabet as ASCII has it. */
static void implied(fl_einsum *e, int dots)
{
    int times[FL_EINSUM_LETTERS] = {0};
    for (uint32_t k = 0; k < e->n_in; k++)
        for (int d = 0; d < e->rank[k]; d++)
            if (e->axis[k][d] < FL_EINSUM_LETTERS)
                times[e->axis[k][d]]++;
    e->out_rank = 0;
    for (int d = dots; d-- > 0;)
        e->out[e->out_rank++] = (uint8_t)(FL_EINSUM_LETTERS + d);
    for (int i = 0; i < FL_EINSUM_LETTERS; i++) {
        int l = (i + 26) % 52; /* capitals come first in ASCII */
        if (times[l] == 1 && e->out_rank < FL_MAX_RANK)
            e->out[e->out_rank++] = (uint8_t)l;
    }
}

static const char *check_output(const fl_einsum *e)
{
    bool known[FL_EINSUM_AXES] = {false};
    for (uint32_t k = 0; k < e->n_in; k++)
        for (int d = 0; d < e->rank[k]; d++)
            known[e->axis[k][d]] = true;
    for (int d = 0; d < e->out_rank; d++) {
        if (!known[e->out[d]] && e->out[d] < FL_EINSUM_LETTERS)
            return "a letter of the output stands in no operand";
        for (int j = 0; j < d; j++)
            if (e->out[j] == e->out[d])
                return "a letter stands twice in the output";
    }
    return NULL;
}

const char *fl_einsum_parse(const char *equation, const int8_t *ranks, uint32_t n, fl_einsum *out)
{
    const char *arrow = strstr(equation, "->"), *end = arrow ? arrow : equation + strlen(equation), *p = equation;
    fl_einsum e = {.n_in = n};
    int most_dots = 0;
    if (n == 0 || n > FL_EINSUM_MAX_IN)
        return "the number of operands is not supported";
    for (uint32_t k = 0; k < n; k++) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        if ((comma != NULL) != (k + 1 < n))
            return "the equation has another number of terms than there are operands";
        int dots = ranks[k] - count_letters(p, stop);
        bool ellipsis = memchr(p, '.', (size_t)(stop - p)) != NULL;
        if (dots < 0 || (dots > 0 && !ellipsis) || parse_term(p, stop, dots, e.axis[k]) != ranks[k])
            return "a term does not fit the rank of its operand";
        e.rank[k] = ranks[k];
        most_dots = ellipsis && dots > most_dots ? dots : most_dots;
        p = stop + 1;
    }
    if (arrow) {
        int rank = parse_term(arrow + 2, arrow + strlen(arrow), most_dots, e.out);
        if (rank < 0)
            return "the output is malformed";
        e.out_rank = (int8_t)rank;
    } else {
        implied(&e, most_dots);
    }
    const char *wrong = check_output(&e);
    if (!wrong)
        *out = e;
    return wrong;
}
