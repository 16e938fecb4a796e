/*
 * text_diff.c -- Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986) on lines.
 *
 * The furthest reach of each number of edits D is kept, D numbers of it, to walk back: D*D/2 words. Texts that differ by more than MAX_EDITS
 * lines are not worth reading as a difference: all of the one is taken away then, and all of the other added, but for the common ends.
 */
#include "passes/text_diff.h"

#include <string.h>

enum { MAX_EDITS = 2000 };

typedef struct line {
    const char *text;
    size_t n;
} line;

static line *split(const char *text, fl_arena *scratch, int32_t *n)
{
    uint32_t count = 0, capacity = 0;
    line *lines = fl_arena_new(scratch, line, 1);
    for (const char *p = text; lines && *p;) {
        line l = {p, strcspn(p, "\n")};
        p += l.n + (p[l.n] == '\n');
        if (!FL_PUSH(scratch, lines, count, capacity, l))
            return NULL;
    }
    *n = (int32_t)count;
    return lines;
}

static bool same(line a, line b)
{
    return a.n == b.n && memcmp(a.text, b.text, a.n) == 0;
}

/* keep_a[i], keep_b[j]: the line stands in both texts. False if out of memory. */
static bool match(const line *a, int32_t n, const line *b, int32_t m, bool *keep_a, bool *keep_b, fl_arena *scratch)
{
    int32_t limit = n + m < MAX_EDITS ? n + m : MAX_EDITS, d, k = 0;
    int32_t **trace = fl_arena_new(scratch, int32_t *, (size_t)limit + 1);
    int32_t *reach = fl_arena_new(scratch, int32_t, 2 * (size_t)limit + 3), *v = reach ? reach + limit + 1 : NULL;
    if (!trace || !v)
        return false;
    for (d = 0; d <= limit; d++) {
        bool done = false;
        for (k = -d; k <= d && !done; k += 2) {
            int32_t x = k == -d || (k != d && v[k - 1] < v[k + 1]) ? v[k + 1] : v[k - 1] + 1;
            while (x < n && x - k < m && same(a[x], b[x - k]))
                x++;
            v[k] = x;
            done = x >= n && x - k >= m;
        }
        trace[d] = fl_arena_new(scratch, int32_t, 2 * (size_t)d + 1);
        if (!trace[d])
            return false;
        memcpy(trace[d], v - d, (2 * (size_t)d + 1) * sizeof *v);
        if (done)
            break;
    }
    if (d > limit)
        return true;
    int32_t x = n, y = m;
    for (; d > 0; d--) {
        const int32_t *before = trace[d - 1] + (d - 1); /* reaches after d - 1 edits, by diagonal */
        k = x - y;
        int32_t from = k == -d || (k != d && before[k - 1] < before[k + 1]) ? k + 1 : k - 1;
        int32_t start = from == k + 1 ? before[from] : before[from] + 1; /* where the run of equal lines begins */
        for (; x > start; x--, y--)
            keep_a[x - 1] = keep_b[y - 1] = true;
        x = before[from];
        y = x - from;
    }
    for (; x > 0; x--, y--)
        keep_a[x - 1] = keep_b[y - 1] = true;
    return true;
}

static void put(char mark, line l, FILE *out)
{
    fprintf(out, "%c %.*s\n", mark, (int)l.n, l.text);
}

/* Equal lines [from, to) of a: `head` and `tail` of them are near a change. */
static void put_equal(const line *a, int32_t from, int32_t to, int32_t head, int32_t tail, FILE *out)
{
    if (head == 0 && tail == 0)
        return;
    if (to - from <= head + tail) {
        head = to - from;
        tail = 0;
    }
    for (int32_t i = from; i < from + head; i++)
        put(' ', a[i], out);
    if (to - from > head + tail)
        fputs("  ...\n", out);
    for (int32_t i = to - tail; i < to; i++)
        put(' ', a[i], out);
}

bool fl_text_diff(const char *before, const char *after, uint32_t context, fl_arena *scratch, FILE *out)
{
    int32_t n, m, i = 0, j = 0, ends = 0;
    line *a = split(before, scratch, &n), *b = split(after, scratch, &m);
    bool *keep_a = a ? fl_arena_new(scratch, bool, (size_t)n + 1) : NULL, *keep_b = b ? fl_arena_new(scratch, bool, (size_t)m + 1) : NULL;
    if (!keep_a || !keep_b)
        return false;
    while (i < n && i < m && same(a[i], b[i])) {
        keep_a[i] = keep_b[i] = true;
        i++;
    }
    while (ends < n - i && ends < m - i && same(a[n - 1 - ends], b[m - 1 - ends])) {
        ends++;
        keep_a[n - ends] = keep_b[m - ends] = true;
    }
    if (!match(a + i, n - i - ends, b + i, m - i - ends, keep_a + i, keep_b + i, scratch))
        return false;
    for (i = 0; i < n || j < m;) {
        int32_t start = i, head = i == 0 && j == 0 ? 0 : (int32_t)context;
        while (i < n && keep_a[i] && keep_b[j]) {
            i++;
            j++;
        }
        if (i > start)
            put_equal(a, start, i, head, i == n && j == m ? 0 : (int32_t)context, out);
        while (i < n && !keep_a[i])
            put('-', a[i++], out);
        while (j < m && !keep_b[j])
            put('+', b[j++], out);
    }
    return true;
}
