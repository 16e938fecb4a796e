/* verb_rows.c -- rows of data as the inputs of a forward graph. */
#include "frontend/verb_rows.h"

#include "runtime/data_path.h"
#include "runtime/reader.h"

#include <stdlib.h>
#include <string.h>

static fl_status open_vocabulary(fl_input *in, fl_schema *schema, uint32_t quirks, const char *path, fl_vocabulary **out, fl_diag *dg)
{
    size_t n = 0;
    const void *bytes = in->model ? fl_model_entry(in->model, FL_VOCABULARY_ENTRY, &n) : NULL;
    if (bytes)
        FL_TRY(fl_model_verify_entry(in->model, FL_VOCABULARY_ENTRY, dg));
    if (bytes)
        FL_TRY(fl_vocabulary_open(bytes, n, schema, fl_model_path(in->model), out, dg));
    else if (fl_schema_needs_vocabulary(schema))
        FL_TRY(fl_data_vocabulary(path, schema, quirks, 1, NULL, out, dg));
    return *out && !fl_schema_is_bound(schema) ? fl_vocabulary_bind(*out, schema, dg) : FL_OK;
}

static fl_status read_batch(const fl_schema *schema, uint32_t quirks, const char *path, int64_t n, fl_rows *r, fl_diag *dg)
{
    char *file = NULL;
    fl_reader *reader = NULL;
    FL_TRY(fl_data_path(path, FL_DATA_VALID, &file, NULL, dg));
    fl_status s = fl_reader_open(file, schema, r->vocabulary, &(fl_reader_options){.batch = n, .quirks = quirks}, &reader, dg);
    free(file);
    if (s == FL_OK && fl_batch_init(&r->batch, schema) != FL_OK)
        s = fl_out_of_memory(dg);
    if (s == FL_OK)
        s = fl_reader_next(reader, &r->batch, dg);
    if (s == FL_OK)
        fl_reader_report(reader, dg);
    fl_reader_close(reader);
    return s;
}

fl_status fl_rows_read(fl_input *in, const char *path, int64_t n, fl_rows *out, fl_diag *dg)
{
    fl_manifest *m = in->model ? fl_model_manifest(in->model) : &in->source.manifest;
    const fl_graph *g = in->graph;
    *out = (fl_rows){.n_given = 0};
    if (m->schema.n_slots == 0) {
        fl_status s = fl_error(dg, FL_E_FEED, FL_NOWHERE, "rows are read by a configuration's schema, and the graph \"%s\" comes from none", g->name);
        fl_hint(dg, "without --data its inputs are drawn");
        return s;
    }
    FL_TRY(open_vocabulary(in, &m->schema, m->quirks, path, &out->vocabulary, dg));
    FL_TRY(read_batch(&m->schema, m->quirks, path, n, out, dg));
    FL_TRY(fl_feed_init(&out->feed, g, &m->schema, dg));
    fl_run run = fl_feed_run(&out->feed, &out->batch);
    out->table_rows = m->schema.table_rows;
    out->given = calloc(g->n_inputs + 1u, sizeof *out->given);
    if (!out->given)
        return fl_out_of_memory(dg);
    for (; out->n_given < g->n_inputs; out->n_given++) {
        const fl_value *v = &g->values[g->inputs[out->n_given]];
        fl_type type = v->type;
        for (int d = 0; d < type.rank; d++)
            if (FL_DIM_IS_SYM(type.dims[d]))
                type.dims[d] = run.dims[FL_SYM_OF_DIM(type.dims[d])];
        uint64_t length = (uint64_t)fl_type_elements(&type) * fl_dtype_size(type.dtype);
        out->given[out->n_given] = (fl_trial_given){v->name, {.type = type, .bytes = run.inputs[out->n_given], .length = length}};
    }
    return FL_OK;
}

void fl_rows_deinit(fl_rows *r)
{
    free(r->given);
    fl_feed_deinit(&r->feed);
    fl_batch_deinit(&r->batch);
    fl_vocabulary_free(r->vocabulary);
    *r = (fl_rows){.n_given = 0};
}

fl_status fl_rows_attach_weights(fl_input *in, fl_diag *dg)
{
    fl_graph *g = in->graph;
    for (uint32_t i = 0; in->model && i < g->n_variables; i++) {
        fl_value *v = &g->values[g->variables[i]];
        const fl_tensor *stored = v->kind == FL_VALUE_VARIABLE ? fl_model_find_variable(in->model, v->name) : NULL;
        if (!stored || !stored->bytes)
            continue;
        FL_TRY(fl_model_verify(in->model, v->name, dg));
        v->data = stored;
    }
    return FL_OK;
}
