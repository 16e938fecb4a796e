#include "runtime/measured_rows.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/data_path.h"
#include "runtime/reader.h"
#include "runtime/synthetic.h"

enum { READ_ROWS = 8192 };

static fl_status read_rows(fl_session *s, const char *data, int64_t most, fl_batch *rows, fl_diag *dg)
{
    fl_reader_options ro = {.batch = READ_ROWS, .threads = fl_session_threads(s), .need_label = s->options.train, .quirks = s->manifest->quirks};
    fl_reader *reader;
    fl_batch b;
    char *path;

    FL_TRY(fl_data_path(data, FL_DATA_TRAIN, &path, NULL, dg));
    fl_status status = fl_batch_init(&b, &s->manifest->schema) == FL_OK ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK && (status = fl_reader_open(path, &s->manifest->schema, s->vocabulary, &ro, &reader, dg)) == FL_OK) {
        do {
            status = fl_reader_next(reader, &b, dg);
            int64_t n = most - rows->n < b.n ? most - rows->n : b.n;
            if (status == FL_OK && fl_batch_append(rows, &b, 0, n, 0) != FL_OK)
                status = fl_out_of_memory(dg);
        } while (status == FL_OK && b.n > 0 && rows->n < most);
        fl_reader_close(reader);
    }
    fl_batch_deinit(&b);
    free(path);
    return status;
}

static fl_status take_data(fl_session *s, const fl_measured_from *from, fl_measured *rows, fl_diag *dg)
{
    const fl_schema *schema = &s->manifest->schema;

    if (fl_batch_init(&rows->data, schema) != FL_OK)
        return fl_out_of_memory(dg);
    if (from->path)
        FL_TRY(read_rows(s, from->path, from->most ? from->most : FL_MEASURED_MOST, &rows->data, dg));
    else if (fl_synthetic_rows(&rows->data, schema, from->skew, 0.17, s->manifest->seed, from->n) != FL_OK)
        return fl_out_of_memory(dg);
    rows->n = rows->data.n;
    return FL_OK;
}

fl_status fl_measured_rows(fl_session *s, fl_program p, const fl_measured_from *from, fl_measured *rows, fl_diag *dg)
{
    *rows = (fl_measured){.of_tensors = fl_takes_tensors(s)};
    if (!rows->of_tensors) {
        fl_status status = take_data(s, from, rows, dg);
        if (status != FL_OK)
            fl_measured_deinit(rows);
        return status;
    }
    if (!s->programs[p])
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(fl_model_path(s->model)), "the model has no %s program", fl_program_name(p));
    fl_tensor_source source = {from->extents, from->path, from->n, from->skew, s->manifest->seed, from->interpret};
    FL_TRY(fl_tensor_rows_make(&rows->tensors, s, p, &source, dg));
    rows->n = rows->tensors.n;
    rows->whole = rows->tensors.whole;
    return FL_OK;
}

void fl_measured_deinit(fl_measured *rows)
{
    fl_batch_deinit(&rows->data);
    fl_tensor_rows_deinit(&rows->tensors);
    *rows = (fl_measured){0};
}

/* -------------------------------------------------------------------------------------------------------- steps */

static fl_status init_data(fl_steps *t, fl_session *s, fl_program p, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];

    FL_TRY(fl_feed_init(&t->feed, g, &s->manifest->schema, dg));
    t->feed.seed = (int64_t)s->manifest->seed;
    t->outputs = calloc((size_t)g->n_outputs + 1, sizeof *t->outputs);
    t->results = calloc((size_t)t->batch, sizeof *t->results);
    if (!t->outputs || !t->results || fl_batch_init(&t->data, &s->manifest->schema) != FL_OK)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const char *name = g->values[g->outputs[i]].name;
        if (strcmp(name, p == FL_PROGRAM_TRAIN ? "loss" : "probability") == 0)
            t->outputs[i] = t->results;
    }
    return FL_OK;
}

fl_status fl_steps_init(fl_steps *t, fl_session *s, fl_program p, const fl_measured *rows, int64_t batch, fl_diag *dg)
{
    FL_ASSERT(batch > 0 && batch <= rows->n);
    *t = (fl_steps){.rows = rows, .batch = batch};
    fl_status status = rows->of_tensors ? fl_tensor_window_init(&t->window, &rows->tensors, batch, dg) : init_data(t, s, p, dg);
    if (status != FL_OK)
        fl_steps_deinit(t);
    return status;
}

void fl_steps_deinit(fl_steps *t)
{
    fl_feed_deinit(&t->feed);
    fl_batch_deinit(&t->data);
    fl_tensor_window_deinit(&t->window);
    free(t->outputs);
    free(t->results);
    memset(t, 0, sizeof *t);
}

fl_status fl_steps_load(fl_steps *t, fl_diag *dg)
{
    if (t->at + t->batch > t->rows->n)
        t->at = 0;
    t->first = t->at;
    t->at += t->batch;
    t->feed.step = t->done++;
    if (t->rows->of_tensors) {
        (void)fl_tensor_window_at(&t->window, t->first, t->batch);
        return FL_OK;
    }
    fl_batch_clear(&t->data);
    return fl_batch_append(&t->data, &t->rows->data, t->first, t->batch, 0) == FL_OK ? FL_OK : fl_out_of_memory(dg);
}

fl_run fl_steps_run(fl_steps *t)
{
    if (t->rows->of_tensors)
        return (fl_run){t->window.dims, t->window.inputs, t->window.outputs};
    fl_run run = fl_feed_run(&t->feed, &t->data);
    run.outputs = t->outputs;
    return run;
}
