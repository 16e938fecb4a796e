#include "runtime/tensor_csv.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/byte_source.h"

enum { MOST_COLUMNS = 1 << 16, LONGEST_SHOWN = 40 };

/* Where a column's numbers go; input FL_NONE: nowhere. */
typedef struct column {
    uint32_t input;
    int64_t element;
} column;

typedef struct reading {
    const char *path;
    const fl_graph *g;
    fl_array *inputs;
    int64_t *width;    /* [n_inputs] elements of a row */
    column *columns;
    uint32_t n_columns;
    char delimiter;
    int64_t n, room;   /* rows, and for how many there is memory */
    char *text;
    fl_diag *dg;
} reading;

static fl_status read_all(reading *r)
{
    fl_byte_source *source;
    size_t n = 0, room = 1 << 16, got = 1;

    FL_TRY(fl_byte_source_open(r->path, &source, r->dg));
    r->text = malloc(room);
    fl_status status = r->text ? FL_OK : fl_out_of_memory(r->dg);
    while (status == FL_OK && got > 0) {
        if (n + 1 == room) {
            char *more = realloc(r->text, room *= 2);
            if (!more) {
                status = fl_out_of_memory(r->dg);
                break;
            }
            r->text = more;
        }
        status = fl_byte_source_read(source, r->text + n, room - n - 1, &got, r->dg);
        n += status == FL_OK ? got : 0;
    }
    fl_byte_source_close(source);
    if (status == FL_OK && memchr(r->text, 0, n))
        status = fl_error(r->dg, FL_E_EVAL_INPUT, FL_FILE(r->path), "this is no text of numbers");
    if (status == FL_OK)
        r->text[n] = 0;
    return status;
}

/* ------------------------------------------------------------------------------------------------------ columns */

/* "ids (26 numbers), dense (13)" */
static void hint_columns(reading *r)
{
    char text[400] = "";
    size_t n = 0;

    for (uint32_t i = 0; i < r->g->n_inputs && n + 1 < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.60s: %lld", i ? ", " : "", r->g->values[r->g->inputs[i]].name, (long long)r->width[i]);
    fl_hint(r->dg, "a row's numbers are those of the inputs in order (%s), or columns are named NAME or NAME.0, NAME.1, ...", text);
}

static bool is_number(const char *cell, size_t n)
{
    char copy[64], *end;

    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, cell, n);
    copy[n] = 0;
    (void)strtod(copy, &end);
    while (isspace((unsigned char)*end))
        end++;
    return end != copy && !*end;
}

static size_t cell_length(const reading *r, const char *cell)
{
    const char stops[] = {r->delimiter, '\r', '\n', 0};

    return strcspn(cell, stops);
}

static column column_named(const reading *r, const char *name, size_t n)
{
    for (uint32_t i = 0; i < r->g->n_inputs; i++) {
        const char *input = r->g->values[r->g->inputs[i]].name, *digits = name + strlen(input) + 1;
        size_t m = strlen(input);
        if (n == m && memcmp(name, input, m) == 0 && r->width[i] == 1)
            return (column){i, 0};
        if (n <= m + 1 || memcmp(name, input, m) != 0 || name[m] != '.' || strspn(digits, "0123456789") < n - m - 1)
            continue;
        long long k = strtoll(digits, NULL, 10);
        if (k < r->width[i])
            return (column){i, k};
    }
    return (column){FL_NONE, 0};
}

static fl_status read_header(reading *r, const char *line)
{
    int64_t total = 0, found = 0;

    for (uint32_t i = 0; i < r->g->n_inputs; i++)
        total += r->width[i];
    bool *seen = calloc((size_t)total + 1, sizeof *seen);
    if (!seen)
        return fl_out_of_memory(r->dg);
    for (const char *cell = line;; cell++) {
        size_t n = cell_length(r, cell);
        bool quoted = n > 1 && cell[0] == '"' && cell[n - 1] == '"';
        column c = column_named(r, cell + quoted, n - 2 * quoted);
        int64_t at = c.element;
        for (uint32_t i = 0; c.input != FL_NONE && i < c.input; i++)
            at += r->width[i];
        if (c.input != FL_NONE && seen[at]) {
            free(seen);
            return fl_error(r->dg, FL_E_EVAL_INPUT, ((fl_loc){r->path, 1, (uint32_t)(cell - line + 1)}), "column \"%.*s\" stands twice", (int)n, cell);
        }
        found += c.input != FL_NONE;
        if (c.input != FL_NONE)
            seen[at] = true;
        if (r->n_columns == MOST_COLUMNS) {
            free(seen);
            return fl_error(r->dg, FL_E_EVAL_INPUT, FL_FILE(r->path), "more than %d columns", MOST_COLUMNS);
        }
        r->columns[r->n_columns++] = c;
        cell += n;
        if (*cell != r->delimiter)
            break;
    }
    int64_t at = 0;
    for (uint32_t i = 0; found < total && i < r->g->n_inputs; i++)
        for (int64_t k = 0; k < r->width[i]; k++)
            if (!seen[at++]) {
                free(seen);
                (void)fl_error(r->dg, FL_E_EVAL_INPUT, ((fl_loc){r->path, 1, 0}), r->width[i] == 1 ? "there is no column \"%s\"" : "there is no column \"%s.%lld\"",
                               r->g->values[r->g->inputs[i]].name, (long long)k);
                hint_columns(r);
                return FL_BAD_INPUT;
            }
    free(seen);
    return FL_OK;
}

/* Columns by the first line; *line moves behind it if it is a header. */
static fl_status find_columns(reading *r, const char **line, uint32_t *number)
{
    size_t n = strcspn(*line, "\r\n");
    bool header = false;
    int64_t total = 0;

    r->delimiter = memchr(*line, '\t', n) ? '\t' : ',';
    for (uint32_t i = 0; i < r->g->n_inputs; i++)
        total += r->width[i];
    r->columns = calloc((size_t)(total > MOST_COLUMNS ? total : MOST_COLUMNS) + 1, sizeof *r->columns);
    if (!r->columns)
        return fl_out_of_memory(r->dg);
    for (const char *cell = *line; !header; cell++) {
        size_t length = cell_length(r, cell);
        header = length > 0 && !is_number(cell, length);
        cell += length;
        if (*cell != r->delimiter)
            break;
    }
    if (header) {
        FL_TRY(read_header(r, *line));
        *line += strcspn(*line, "\n");
        *line += **line == '\n';
        ++*number;
        return FL_OK;
    }
    for (uint32_t i = 0; i < r->g->n_inputs; i++)
        for (int64_t k = 0; k < r->width[i]; k++)
            r->columns[r->n_columns++] = (column){i, k};
    return FL_OK;
}

/* --------------------------------------------------------------------------------------------------------- rows */

static bool reserve_row(reading *r)
{
    if (r->n < r->room)
        return true;
    int64_t room = r->room * 2 + 1024;
    for (uint32_t i = 0; i < r->g->n_inputs; i++) {
        size_t row = (size_t)r->width[i] * fl_dtype_size(r->inputs[i].type.dtype);
        void *more = realloc(r->inputs[i].bytes, (size_t)room * row + 1);
        if (!more)
            return false;
        r->inputs[i].bytes = more;
    }
    r->room = room;
    return true;
}

/* A number of the element type of an array, at a place; false if the cell is none. */
static bool set_number(fl_array *a, int64_t place, const char *cell, size_t n)
{
    bool real = a->type.dtype == FL_FLOAT || a->type.dtype == FL_DOUBLE || a->type.dtype == FL_FLOAT16 || a->type.dtype == FL_BFLOAT16;
    char copy[64], *end;

    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, cell, n);
    copy[n] = 0;
    errno = 0;
    double f = real ? strtod(copy, &end) : 0;
    long long v = real ? 0 : strtoll(copy, &end, 10);
    if (end != copy && !real && *end == '.') /* "3.0" is what data frames write where a column once had holes */
        end += 1 + strspn(end + 1, "0");
    while (isspace((unsigned char)*end))
        end++;
    if (end == copy || *end || (!real && errno == ERANGE))
        return false;
    if (real)
        fl_tensor_set_double(a->bytes, a->type.dtype, place, f);
    else
        fl_tensor_set_int(a->bytes, a->type.dtype, place, v);
    if (real)
        return true;
    fl_tensor t = {.type = a->type, .bytes = a->bytes};
    return fl_tensor_get_int(&t, place) == v; /* no smaller type's number */
}

static fl_status read_row(reading *r, const char *line, uint32_t number)
{
    const char *cell = line;

    if (!reserve_row(r))
        return fl_out_of_memory(r->dg);
    for (uint32_t k = 0; k < r->n_columns; k++) {
        column c = r->columns[k];
        size_t n = cell_length(r, cell);
        fl_loc loc = {r->path, number, (uint32_t)(cell - line + 1)};
        if (c.input != FL_NONE && !set_number(&r->inputs[c.input], r->n * r->width[c.input] + c.element, cell, n))
            return fl_error(r->dg, FL_E_EVAL_INPUT, loc, "\"%.*s\" is no number of type %s, which input \"%s\" has", (int)(n < LONGEST_SHOWN ? n : LONGEST_SHOWN), cell,
                            fl_dtype_name(r->inputs[c.input].type.dtype), r->g->values[r->g->inputs[c.input]].name);
        cell += n;
        bool more = *cell == r->delimiter;
        if (more != (k + 1 < r->n_columns)) {
            (void)fl_error(r->dg, FL_E_EVAL_INPUT, loc, more ? "the row has more than %u columns" : "the row ends before its %u columns do", r->n_columns);
            hint_columns(r);
            return FL_BAD_INPUT;
        }
        cell += more;
    }
    r->n++;
    return FL_OK;
}

static fl_status read_rows(reading *r)
{
    const char *line;
    uint32_t number = 1;

    FL_TRY(read_all(r));
    line = r->text + (strncmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
    FL_TRY(find_columns(r, &line, &number));
    for (; *line; number++) {
        size_t n = strcspn(line, "\n");
        if (strspn(line, " \t\r") < n)
            FL_TRY(read_row(r, line, number));
        line += n + (line[n] == '\n');
    }
    return FL_OK;
}

/* The inputs' types, of which the rows are not known yet, and how many numbers a row of each has. */
static fl_status find_widths(reading *r, const bool *has_rows, const int64_t *dims)
{
    for (uint32_t i = 0; i < r->g->n_inputs; i++) {
        const fl_value *v = &r->g->values[r->g->inputs[i]];
        fl_type *t = &r->inputs[i].type;
        *t = v->type;
        if (has_rows[i])
            t->dims[0] = 1;
        for (int d = 1; d < t->rank; d++) {
            if (!FL_DIM_IS_SYM(t->dims[d]))
                continue;
            if (dims[FL_SYM_OF_DIM(t->dims[d])] < 0) {
                (void)fl_error(r->dg, FL_E_EVAL_INPUT, FL_FILE(r->path), "input \"%s\" has a dimension \"%s\" beside the batch", v->name, r->g->symbols[FL_SYM_OF_DIM(t->dims[d])]);
                fl_hint(r->dg, "--dim %s=NUMBER says how long it is", r->g->symbols[FL_SYM_OF_DIM(t->dims[d])]);
                return FL_BAD_INPUT;
            }
            t->dims[d] = dims[FL_SYM_OF_DIM(t->dims[d])];
        }
        if (!has_rows[i])
            return fl_error(r->dg, FL_E_EVAL_INPUT, FL_FILE(r->path), "input \"%s\" has no rows that lines could be: a folder of NAME.npy can hold it", v->name);
        r->width[i] = fl_type_elements(t);
    }
    return FL_OK;
}

fl_status fl_tensor_csv_read(const char *path, const fl_graph *g, const bool *has_rows, const int64_t *dims, fl_array *inputs, fl_diag *dg)
{
    reading r = {.path = path, .g = g, .inputs = inputs, .width = calloc((size_t)g->n_inputs + 1, sizeof *r.width), .dg = dg};
    fl_status status = r.width ? find_widths(&r, has_rows, dims) : fl_out_of_memory(dg);

    if (status == FL_OK)
        status = read_rows(&r);
    for (uint32_t i = 0; status == FL_OK && i < g->n_inputs; i++) {
        inputs[i].type.dims[0] = r.n;
        inputs[i].n_bytes = (size_t)(r.n * r.width[i]) * fl_dtype_size(inputs[i].type.dtype);
    }
    free(r.text);
    free(r.columns);
    free(r.width);
    return status;
}
