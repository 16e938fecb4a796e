/*
 * flen-fuxictr FOLDER [--backend=interp|native] -- LR and FM weights that FuxiCTR trained, imported into our networks, and the logits that they
 * give compared with those expected.
 *
 * FOLDER holds fields.tsv (order, field, vocab_size, ...), for MODEL = LR and FM MODEL.index.tsv (tensor, rows, cols, offset in floats) with
 * MODEL.f32 (little-endian, row-major), and train.csv, valid.csv (label, then an id for each field) with expected_*.csv (columns MODEL_logit). A field's
 * linear weights are the tensor "*lr.FIELD.weight", its embeddings "emb.FIELD.weight", the bias "*lr_layer.bias": FuxiCTR has a table for each
 * field, our graph one of each width, in which the fields' tables stand one behind the other. FM is plain: all fields in one group, weight 1/2.
 * A line for each model and file; exit status 1 if a logit differs by more than 1e-5.
 */
#include "cases/model_run.h"
#include "frontend/compile.h"
#include "frontend/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 64 };

typedef struct import {
    const char *folder;
    run_backend backend;
    fl_arena arena;
    fl_diag dg;
    fl_schema schema;
    fl_slot slots[MAX_FIELDS];
    fl_field field;
} import;

static fl_status bad(import *m, const char *file, const char *what)
{
    return fl_error(&m->dg, FL_E_READ, FL_FILE(file), "%s", what);
}

/* A whole file, in the arena, NUL behind it. */
static fl_status read_all(import *m, const char *name, const char *ending, char **text, size_t *n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", m->folder, name, ending);
    FL_TRY(fl_file_read(path, (size_t)1 << 28, text, n, &m->dg));
    if (fl_arena_on_free(&m->arena, free, *text) == FL_OK)
        return FL_OK;
    free(*text);
    return fl_out_of_memory(&m->dg);
}

/* The next line, split at `separator` into at most `most` cells; their number, 0 at the end. */
static uint32_t next_line(char **at, char separator, char **cells, uint32_t most)
{
    uint32_t n = 0;
    char *line = *at;
    if (!*line)
        return 0;
    char *end = line + strcspn(line, "\n");
    *at = *end ? end + 1 : end;
    *end = 0;
    for (char *cell = line; cell && n < most; n++) {
        cells[n] = cell;
        cell = strchr(cell, separator);
        if (cell)
            *cell++ = 0;
    }
    return n;
}

static fl_status read_fields(import *m)
{
    char *at, *cells[8];
    size_t size;
    FL_TRY(read_all(m, "fields", ".tsv", &at, &size));
    next_line(&at, '\t', cells, 8);
    while (next_line(&at, '\t', cells, 8) >= 3 && m->schema.n_slots < MAX_FIELDS) {
        fl_slot *s = &m->slots[m->schema.n_slots++];
        *s = (fl_slot){.name = cells[1], .rows = strtoll(cells[2], NULL, 10), .first_row = m->schema.table_rows};
        m->schema.table_rows += s->rows;
        if (s->rows < 1)
            return bad(m, "fields.tsv", "a field has no rows");
    }
    m->schema.slots = m->slots;
    m->schema.fields = &m->field;
    m->schema.n_fields = 1;
    return m->schema.n_slots ? FL_OK : bad(m, "fields.tsv", "no fields");
}

/* ------------------------------------------------------------------------------------------------------- import */

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), k = strlen(ending);
    return n >= k && strcmp(text + n - k, ending) == 0;
}

/* Which variable a tensor belongs to, and from which row on; false for none of this model's. */
static bool place_of(const import *m, const char *tensor, const char **variable, const fl_slot **slot)
{
    char name[200];
    *slot = NULL;
    *variable = "bias";
    if (ends_with(tensor, "lr_layer.bias"))
        return true;
    for (uint32_t i = 0; i < m->schema.n_slots; i++) {
        *slot = &m->slots[i];
        snprintf(name, sizeof name, "lr.%s.weight", m->slots[i].name);
        *variable = "linear";
        if (ends_with(tensor, name))
            return true;
        snprintf(name, sizeof name, "emb.%s.weight", m->slots[i].name);
        *variable = "table";
        if (strcmp(tensor, name) == 0)
            return true;
    }
    return false;
}

static fl_status import_weights(import *m, const char *model, int64_t k, model_run *r)
{
    char *at, *bytes, *cells[4];
    size_t n, size;
    FL_TRY(read_all(m, model, ".index.tsv", &at, &n));
    FL_TRY(read_all(m, model, ".f32", &bytes, &size));
    next_line(&at, '\t', cells, 4);
    int64_t imported = 0;
    while (next_line(&at, '\t', cells, 4) == 4) {
        const fl_slot *slot;
        const char *variable;
        int64_t rows = strtoll(cells[1], NULL, 10), columns = strtoll(cells[2], NULL, 10), offset = strtoll(cells[3], NULL, 10);
        if (!place_of(m, cells[0], &variable, &slot))
            return bad(m, cells[0], "a tensor that the model does not have");
        if (rows != (slot ? slot->rows : 1) || columns != (strcmp(variable, "table") == 0 ? k : 1) || offset < 0 ||
            (size_t)(offset + rows * columns) * 4 > size)
            return bad(m, cells[0], "a tensor of another size than its field");
        double *f = fl_arena_new(&m->arena, double, (size_t)(rows * columns));
        for (int64_t i = 0; f && i < rows * columns; i++) {
            float single;
            memcpy(&single, bytes + (offset + i) * 4, sizeof single);
            f[i] = (double)single;
        }
        FL_TRY(f ? model_run_set(r, variable, slot ? slot->first_row * columns : 0, rows * columns, f, &m->dg) : fl_out_of_memory(&m->dg));
        imported += rows * columns;
    }
    return imported == (int64_t)(size / 4) ? FL_OK : bad(m, model, "the index does not name every weight once");
}

/* ------------------------------------------------------------------------------------------------------ compare */

/* Rows as packed ids; the header's names must be the fields. */
static fl_status read_rows(import *m, const char *file, int64_t **ids, int64_t *rows)
{
    char *at, *cells[MAX_FIELDS + 1];
    size_t n;
    int64_t capacity = 0;
    FL_TRY(read_all(m, file, ".csv", &at, &n));
    for (const char *c = at; *c; c++)
        capacity += *c == '\n';
    *ids = fl_arena_new(&m->arena, int64_t, (size_t)(capacity + 1) * m->schema.n_slots);
    *rows = 0;
    if (!*ids || next_line(&at, ',', cells, MAX_FIELDS + 1) != m->schema.n_slots + 1)
        return bad(m, file, "another number of columns than fields");
    for (uint32_t i = 0; i < m->schema.n_slots; i++)
        if (strcmp(cells[i + 1], m->slots[i].name) != 0)
            return bad(m, file, "columns are not in the order of the fields");
    while (next_line(&at, ',', cells, MAX_FIELDS + 1) == m->schema.n_slots + 1) {
        for (uint32_t i = 0; i < m->schema.n_slots; i++) {
            int64_t id = strtoll(cells[i + 1], NULL, 10);
            if (id < 0 || id >= m->slots[i].rows)
                return bad(m, file, "an id that its field does not have");
            (*ids)[*rows * m->schema.n_slots + i] = id + m->slots[i].first_row;
        }
        ++*rows;
    }
    return *rows ? FL_OK : bad(m, file, "no rows");
}

static fl_status compare(import *m, const char *model, const char *file, model_run *r)
{
    char *at, *cells[8], column[40], name[80];
    size_t n;
    int64_t *ids, rows, row = 0;
    double worst = 0;
    uint32_t at_column = 0, columns;
    FL_TRY(read_rows(m, file, &ids, &rows));
    run_input in = {.name = "ids", .rank = 2, .dims = {rows, m->schema.n_slots}, .i = ids};
    FL_TRY(model_run_execute(r, FL_PROGRAM_PREDICT, &in, 1, &m->dg));
    const run_output *z = model_run_output(r, FL_PROGRAM_PREDICT, "logit");
    snprintf(name, sizeof name, "expected_%s", file);
    snprintf(column, sizeof column, "%s_logit", model);
    FL_TRY(read_all(m, name, ".csv", &at, &n));
    columns = next_line(&at, ',', cells, 8);
    while (at_column < columns && strcmp(cells[at_column], column) != 0)
        at_column++;
    if (at_column == columns || !z || z->n != rows)
        return bad(m, name, "no column of this model");
    for (; next_line(&at, ',', cells, 8) == columns; row++)
        if (row < rows && !(fabs(z->f[row] - strtod(cells[at_column], NULL)) <= worst))
            worst = fabs(z->f[row] - strtod(cells[at_column], NULL));
    if (row != rows)
        return bad(m, name, "another number of rows than the data");
    bool fine = worst <= 1e-5; /* false for NaN */
    printf("%s %s %s: %lld logits, largest difference %.3g\n", fine ? "PASS" : "FAIL", model, file, (long long)rows, worst);
    return fine ? FL_OK : FL_FAILED;
}

static fl_status check_model(import *m, const char *model, const char *network)
{
    fl_network_spec spec;
    fl_graph *forward;
    model_run r;
    bool known = fl_network_preset(&spec, network);
    FL_ASSERT(known);
    (void)known;
    spec.schema = &m->schema;
    spec.k = 10;
    FL_TRY(fl_network_build(&spec, &forward, &m->dg));
    fl_status status = model_run_open(&r, forward, m->backend, &m->dg);
    fl_graph_free(forward);
    FL_TRY(status);
    status = import_weights(m, model, spec.k, &r);
    if (status == FL_OK)
        status = compare(m, model, "train", &r);
    if (status == FL_OK)
        status = compare(m, model, "valid", &r);
    model_run_close(&r);
    return status;
}

int main(int argc, char **argv)
{
    import m = {.folder = argc > 1 ? argv[1] : NULL};
    bool native = argc == 3 && strcmp(argv[2], "--backend=native") == 0;
    if (argc < 2 || argc > 3 || (argc == 3 && !native && strcmp(argv[2], "--backend=interp") != 0)) {
        fputs("usage: flen-fuxictr FOLDER [--backend=interp|native]\n", stderr);
        return 2;
    }
    m.backend = native ? RUN_NATIVE : RUN_INTERP;
    fl_arena_init(&m.arena);
    fl_diag_init(&m.dg);
    fl_status status = read_fields(&m);
    if (status == FL_OK)
        status = check_model(&m, "LR", "lr");
    if (status == FL_OK)
        status = check_model(&m, "FM", "fm");
    fl_diag_print(&m.dg, stderr, "flen-fuxictr", NULL, NULL);
    fl_diag_deinit(&m.dg);
    fl_arena_deinit(&m.arena);
    return fl_status_exit(status);
}
