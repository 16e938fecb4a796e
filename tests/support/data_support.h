/*
 * data_support.h -- what the tests of the data path share: schemas by hand, files in a scratch folder, whole inputs read at once.
 */
#ifndef FL_TESTS_DATA_SUPPORT_H
#define FL_TESTS_DATA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/reader.h"

/* ------------------------------------------------------------------------------------------------------ files */

static char scratch_folder[64];

__attribute__((unused)) static int make_scratch(void **state)
{
    (void)state;
    strcpy(scratch_folder, "/tmp/flen-data-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

__attribute__((unused)) static int remove_scratch(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_folder);
    return system(command);
}

__attribute__((unused)) static const char *scratch_path(const char *name)
{
    static char paths[8][160];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

__attribute__((unused)) static const char *write_file(const char *name, const void *bytes, size_t n)
{
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

__attribute__((unused)) static const char *write_text(const char *name, const char *text)
{
    return write_file(name, text, strlen(text));
}

/* ----------------------------------------------------------------------------------------------------- schemas */

typedef struct test_schema {
    fl_schema s;
    fl_slot slots[32];
    fl_field field;
    uint32_t members[32];
} test_schema;

/* Slots of RANGE 0..rows-1, one after another in the table. */
__attribute__((unused)) static void add_slot(test_schema *t, const char *name, int64_t rows)
{
    uint32_t k = t->s.n_slots++;
    t->slots[k] = (fl_slot){.name = name, .vocab = FL_VOCAB_RANGE, .rows = rows, .first_row = t->s.table_rows, .min_count = 1};
    t->members[k] = k;
    t->s.table_rows += rows;
    t->s.slots = t->slots;
    t->s.label = "click";
    t->s.delimiter = ",";
    t->field = (fl_field){"all", t->members, t->s.n_slots};
    t->s.fields = &t->field;
    t->s.n_fields = 1;
}

/* ----------------------------------------------------------------------------------------------------- reading */

/* All rows of a path in one batch; batches of `o->batch` rows are what the reader is asked for. */
__attribute__((unused)) static fl_status read_all(const char *path, const fl_schema *schema, const fl_vocabulary *v, const fl_reader_options *o,
                                                  fl_batch *all, fl_reader_stats *stats, fl_diag *dg)
{
    fl_reader *r;
    fl_batch batch;
    assert_int_equal(fl_batch_init(all, schema), FL_OK);
    fl_status status = fl_reader_open(path, schema, v, o, &r, dg);
    if (status != FL_OK)
        return status;
    assert_int_equal(fl_batch_init(&batch, schema), FL_OK);
    while ((status = fl_reader_next(r, &batch, dg)) == FL_OK && batch.n)
        assert_int_equal(fl_batch_append(all, &batch, 0, batch.n, 0), FL_OK);
    if (stats)
        fl_reader_stats_get(r, stats);
    fl_batch_deinit(&batch);
    fl_reader_close(r);
    return status;
}

/* Entry i of the diagnostics, as `LINE:COLUMN: text [E0123]`. */
__attribute__((unused)) static const char *report_line(const fl_diag *dg, uint32_t i)
{
    static char line[512];
    if (i >= dg->n_entries)
        return "";
    const fl_diag_entry *e = &dg->entries[i];
    snprintf(line, sizeof line, "%u:%u: %s [E%04d]", e->line, e->column, e->text, (int)e->code);
    return line;
}

__attribute__((unused)) static void assert_batches_equal(const fl_batch *a, const fl_batch *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_columns, b->n_columns);
    assert_int_equal(a->n_bags, b->n_bags);
    if (a->n == 0)
        return;
    if (a->n_columns)
        assert_memory_equal(a->ids, b->ids, (size_t)a->n * a->n_columns * sizeof *a->ids);
    assert_memory_equal(a->label, b->label, (size_t)a->n * sizeof *a->label);
    assert_memory_equal(a->row, b->row, (size_t)a->n * sizeof *a->row);
    assert_memory_equal(a->bad, b->bad, (size_t)a->n);
    for (uint32_t k = 0; k < a->n_bags; k++) {
        assert_memory_equal(a->bags[k].offsets, b->bags[k].offsets, (size_t)(a->n + 1) * sizeof(int64_t));
        assert_int_equal(a->bags[k].n_values, b->bags[k].n_values);
        if (a->bags[k].n_values)
            assert_memory_equal(a->bags[k].values, b->bags[k].values, (size_t)a->bags[k].n_values * sizeof(int64_t));
    }
}

#endif
