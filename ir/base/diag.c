#include "ir/base/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int number;
    fl_status status;
    const char *title, *page;
} codes[] = {
#define FL_CODE(number, id, status, title, page) {number, status, title, page},
#include "ir/base/diag_codes.def"
#undef FL_CODE
};

void fl_diag_init(fl_diag *dg)
{
    *dg = (fl_diag){0};
}

void fl_diag_truncate(fl_diag *dg, uint32_t n)
{
    while (dg && dg->n_entries > n) {
        fl_diag_entry *e = &dg->entries[--dg->n_entries];
        dg->n_errors -= e->severity == FL_SEVERITY_ERROR;
        free(e->file);
        free(e->text);
        free(e->hints);
    }
}

void fl_diag_sort(fl_diag *dg, uint32_t n)
{
    for (uint32_t i = n + 1; i < dg->n_entries; i++) { /* by insertion: there are FL_DIAG_MAX at most */
        fl_diag_entry e = dg->entries[i];
        uint32_t k = i;
        for (; k > n && dg->entries[k - 1].line - 1 > e.line - 1; k--) /* 0 - 1 is behind all */
            dg->entries[k] = dg->entries[k - 1];
        dg->entries[k] = e;
    }
}

void fl_diag_clear(fl_diag *dg)
{
    fl_diag_truncate(dg, 0);
    dg->n_errors = 0;
    dg->no_memory = false;
    dg->n_dropped = 0;
}

void fl_diag_deinit(fl_diag *dg)
{
    fl_diag_clear(dg);
    free(dg->entries);
    *dg = (fl_diag){0};
}

/* A switch, so that the compiler refuses a number that two codes have. */
static fl_status code_status(fl_code code)
{
    switch (code) {
#define FL_CODE(number, id, status, title, page) case FL_E_##id: return status;
#include "ir/base/diag_codes.def"
#undef FL_CODE
    }
    return FL_FAILED;
}

/* Diagnostics are one line: a name from a file may hold anything, so control characters become blanks. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ')
            *text = ' ';
}

static void report(fl_diag *dg, fl_code code, fl_severity severity, fl_loc loc, const char *format, va_list args)
{
    if (!dg)
        return;
    if (dg->n_entries == FL_DIAG_MAX) {
        dg->n_dropped++;
        return;
    }
    if (dg->n_entries == dg->capacity) {
        uint32_t capacity = dg->capacity ? 2 * dg->capacity : 8;
        fl_diag_entry *grown = realloc(dg->entries, capacity * sizeof *grown);
        if (!grown) {
            if (severity == FL_SEVERITY_ERROR) {
                dg->n_errors += !dg->no_memory;
                dg->no_memory = true;
            }
            return;
        }
        dg->entries = grown;
        dg->capacity = capacity;
    }
    fl_diag_entry e = {.code = code, .severity = severity, .line = loc.line, .column = loc.column};
    if (vasprintf(&e.text, format, args) < 0)
        e.text = NULL;
    else
        flatten(e.text);
    if (loc.file && !(e.file = strdup(loc.file)))
        e.line = 0;
    dg->entries[dg->n_entries++] = e;
    dg->n_errors += severity == FL_SEVERITY_ERROR;
}

fl_status fl_error(fl_diag *dg, fl_code code, fl_loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(dg, code, FL_SEVERITY_ERROR, loc, format, args);
    va_end(args);
    return code_status(code);
}

void fl_warning(fl_diag *dg, fl_code code, fl_loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(dg, code, FL_SEVERITY_WARNING, loc, format, args);
    va_end(args);
}

void fl_hint(fl_diag *dg, const char *format, ...)
{
    if (!dg || dg->n_entries == 0)
        return;
    fl_diag_entry *e = &dg->entries[dg->n_entries - 1];
    char *line = NULL, *joined = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&line, format, args) < 0)
        line = NULL;
    va_end(args);
    if (!line)
        return;
    flatten(line);
    if (asprintf(&joined, "%s%s\n", e->hints ? e->hints : "", line) >= 0) {
        free(e->hints);
        e->hints = joined;
    }
    free(line);
}

fl_status fl_out_of_memory(fl_diag *dg)
{
    return fl_error(dg, FL_E_NO_MEMORY, FL_NOWHERE, "out of memory");
}

/* Line `number` (from 1) of `text`, as a view; false if the text has fewer lines. */
static bool find_line(const char *text, uint32_t number, const char **line, size_t *length)
{
    for (uint32_t i = 1; i < number; i++) {
        text = strchr(text, '\n');
        if (!text++)
            return false;
    }
    *line = text;
    *length = strcspn(text, "\r\n");
    return *length > 0;
}

enum { MAX_SOURCE_LINE = 160 };

/* Compressed files and other binary ones have lines too, but none to show. */
static bool is_text(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' && line[i] != '\t')
            return false;
    return true;
}

/* Tabs print as one blank, so that the caret below stands right. */
static void print_excerpt(FILE *out, const char *line, size_t length, uint32_t column)
{
    size_t start = column > MAX_SOURCE_LINE ? column - MAX_SOURCE_LINE / 2 : 0;
    size_t shown = length > start ? length - start : 0;
    if (shown > MAX_SOURCE_LINE)
        shown = MAX_SOURCE_LINE;
    fputs("    ", out);
    for (size_t i = 0; i < shown; i++)
        fputc((unsigned char)line[start + i] < ' ' ? ' ' : line[start + i], out);
    fputc('\n', out);
    if (column > start)
        fprintf(out, "    %*s^\n", (int)(column - 1 - start), "");
}

static void print_source(FILE *out, const fl_diag_entry *e, const char *source_name, const char *source)
{
    if (!e->file || e->line == 0)
        return;
    const char *line;
    size_t length;
    if (source && source_name && strcmp(source_name, e->file) == 0) {
        if (find_line(source, e->line, &line, &length))
            print_excerpt(out, line, length, e->column);
        return;
    }
    FILE *f = fopen(e->file, "r");
    if (!f)
        return;
    unsigned char magic[4] = {0};
    size_t n_magic = fread(magic, 1, sizeof magic, f);
    bool compressed = n_magic == 4 && (memcmp(magic, "\x1f\x8b", 2) == 0 || memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0); /* gzip, zstd: lines are of the text inside */
    rewind(f);
    if (compressed) {
        fclose(f);
        return;
    }
    char *buffer = NULL;
    size_t capacity = 0;
    ssize_t n = -1;
    for (uint32_t i = 0; i < e->line; i++)
        if ((n = getline(&buffer, &capacity, f)) < 0)
            break;
    length = n > 0 ? (size_t)n : 0;
    while (length > 0 && (buffer[length - 1] == '\n' || buffer[length - 1] == '\r'))
        length--;
    if (n > 0 && is_text(buffer, length))
        print_excerpt(out, buffer, length, e->column);
    free(buffer);
    fclose(f);
}

void fl_diag_print(const fl_diag *dg, FILE *out, const char *program, const char *source_name, const char *source)
{
    for (uint32_t i = 0; i < dg->n_entries; i++) {
        const fl_diag_entry *e = &dg->entries[i];
        fprintf(out, "%s:", e->file ? e->file : program);
        if (e->line)
            fprintf(out, "%u:", e->line);
        if (e->line && e->column)
            fprintf(out, "%u:", e->column);
        fprintf(out, " %s: %s [E%04d]\n", e->severity == FL_SEVERITY_ERROR ? "error" : "warning",
                e->text ? e->text : "out of memory", (int)e->code);
        print_source(out, e, source_name, source);
        for (const char *h = e->hints; h && *h;) {
            size_t n = strcspn(h, "\n");
            fprintf(out, "    hint: %.*s\n", (int)n, h);
            h += n + (h[n] == '\n');
        }
    }
    if (dg->no_memory)
        fprintf(out, "%s: error: out of memory [E%04d]\n", program, (int)FL_E_NO_MEMORY);
    if (dg->n_dropped)
        fprintf(out, "%s: %u more not shown\n", program, dg->n_dropped);
}

bool fl_code_explain(int number, const char **title, const char **page)
{
    for (size_t i = 0; i < FL_COUNT(codes); i++) {
        if (codes[i].number == number) {
            *title = codes[i].title;
            *page = codes[i].page;
            return true;
        }
    }
    return false;
}

enum { MAX_WORD = 64 };

/* Levenshtein's distance of two words up to MAX_WORD bytes. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[MAX_WORD + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *fl_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t length = strlen(word), best_distance = length / 3 + 2;
    if (length > MAX_WORD)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(candidates[i]);
        if (m > MAX_WORD)
            continue;
        size_t d = edit_distance(word, length, candidates[i], m);
        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}
