#include "runtime/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- weights */

static bool is_weight(const fl_graph *source, const char *name)
{
    if (source)
        return fl_graph_find(source, name) != FL_NONE;
    return true;
}

fl_status fl_watch_init(fl_watch *w, const fl_session *session, fl_diag *dg)
{
    const fl_store *store = &session->variables.store;
    int64_t rows = session->manifest->schema.table_rows;
    const fl_graph *source = NULL;

    *w = (fl_watch){.session = session, .quiet_after = FL_WATCH_FIRST_STEPS, .alarmed = true};
    FL_TRY(fl_model_source(session->model, &source, dg));
    for (uint32_t i = 0; rows > 0 && i < store->n_vars && w->n_tables < FL_WATCH_TABLES; i++) {
        const fl_var *v = &store->vars[i];
        if (v->type.dtype == FL_FLOAT && v->type.rank >= 1 && v->type.dims[0] == rows && is_weight(source, v->name))
            w->tables[w->n_tables++] = v;
    }
    return FL_OK;
}

void fl_watch_deinit(fl_watch *w)
{
    free(w->suspects);
    memset(w, 0, sizeof *w);
}

static int64_t row_elements(const fl_var *v)
{
    int64_t n = 1;
    for (int d = 1; d < v->type.rank; d++)
        n *= v->type.dims[d];
    return n;
}

/* How bad a weight is: not finite before all others, then the larger one. */
static float badness(float value)
{
    return isfinite(value) ? fabsf(value) : INFINITY;
}

/* The largest badness of n weights: without their signs, the bits of floats stand in the order of their values, what is not finite last. */
static float worst_of(const float *row, int64_t n)
{
    uint32_t most = 0;
    float value;

    for (int64_t k = 0; k < n; k++) {
        uint32_t bits;
        memcpy(&bits, &row[k], sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    memcpy(&value, &most, sizeof value);
    return badness(value);
}

static void look_at(const fl_watch *w, uint32_t slot, int64_t table_row, fl_suspect *worst)
{
    for (uint32_t t = 0; t < w->n_tables; t++) {
        const fl_var *v = w->tables[t];
        const float *row = (const float *)v->data + table_row * v->stride;
        int64_t n = row_elements(v), k = 0;
        float most = n > 0 ? worst_of(row, n) : -1;
        if (n == 0 || (worst->table_row >= 0 && most <= badness(worst->value)))
            continue;
        while (badness(row[k]) < most)
            k++;
        *worst = (fl_suspect){table_row, slot, t, row[k]};
    }
}

/* The worst weight behind row b of the batch. */
static fl_suspect suspect_of(const fl_watch *w, const fl_batch *batch, int64_t b)
{
    const fl_schema *schema = &w->session->manifest->schema;
    fl_suspect worst = {.table_row = -1};
    uint32_t column = 0;

    for (uint32_t i = 0; i < schema->n_slots; i++)
        if (schema->slots[i].pooling == FL_POOL_NONE)
            look_at(w, i, batch->ids[b * batch->n_columns + column++], &worst);
    for (uint32_t k = 0; k < batch->n_bags; k++)
        for (int64_t i = batch->bags[k].offsets[b]; i < batch->bags[k].offsets[b + 1]; i++)
            look_at(w, batch->bags[k].slot, batch->bags[k].values[i], &worst);
    return worst;
}

static fl_status look(fl_watch *w, const fl_batch *batch, fl_diag *dg)
{
    fl_engine *train = w->session->engines[FL_PROGRAM_TRAIN];

    if (train)
        FL_TRY(train->flush(train, dg));
    if (batch->n > w->capacity) {
        fl_suspect *grown = realloc(w->suspects, (size_t)batch->n * sizeof *grown);
        if (!grown)
            return fl_out_of_memory(dg);
        w->suspects = grown;
        w->capacity = batch->n;
    }
    for (int64_t b = 0; b < batch->n; b++)
        w->suspects[b] = suspect_of(w, batch, b);
    return FL_OK;
}

fl_status fl_watch_before(fl_watch *w, const fl_batch *batch, fl_diag *dg)
{
    w->looked = w->alarmed;
    return w->alarmed ? look(w, batch, dg) : FL_OK;
}

/* ------------------------------------------------------------------------------------------------- reports */

/* `slot "user_3", value 17`: as the value stands in the data, where the model knows it. */
static void name_feature(const fl_watch *w, uint32_t slot, int64_t table_row, char *text, size_t size)
{
    const fl_slot *s = &w->session->manifest->schema.slots[slot];
    int64_t id = table_row - s->first_row;
    size_t n = 0;
    const char *word = w->session->vocabulary ? fl_vocabulary_text(w->session->vocabulary, slot, id, &n) : NULL;

    if (s->vocab == FL_VOCAB_DICT && word)
        snprintf(text, size, "slot \"%s\", value \"%.*s\"", s->name, n < 60 ? (int)n : 60, word);
    else if (s->vocab == FL_VOCAB_DICT)
        snprintf(text, size, "slot \"%s\", a value outside its vocabulary", s->name);
    else if (s->vocab == FL_VOCAB_HASH)
        snprintf(text, size, "slot \"%s\", hash %lld", s->name, (long long)id);
    else
        snprintf(text, size, "slot \"%s\", id %lld", s->name, (long long)(id + s->first_id));
}

static void describe(const fl_watch *w, const fl_suspect *s, bool before, char *text, size_t size)
{
    char feature[200];

    if (s->table_row < 0 || w->n_tables == 0) {
        snprintf(text, size, "the row has no feature with weights of its own");
        return;
    }
    name_feature(w, s->slot, s->table_row, feature, sizeof feature);
    if (!isfinite(s->value))
        snprintf(text, size, "%s: its weights in \"%s\" are not finite%s", feature, w->tables[s->table]->name, before ? "" : " after the step");
    else
        snprintf(text, size, "%s has the largest weight of the row, %g in \"%s\"", feature, (double)s->value, w->tables[s->table]->name);
}

/* The row to blame: the first whose logit is not finite; else, if alarmed, the one with the worst weight; else the first. */
static int64_t row_to_blame(const fl_watch *w, const fl_batch *batch, const float *logit)
{
    int64_t worst = 0;

    for (int64_t b = 0; b < batch->n; b++)
        if (!isfinite(logit[b]))
            return b;
    for (int64_t b = 1; w->looked && b < batch->n; b++)
        if (badness(w->suspects[b].value) > badness(w->suspects[worst].value))
            worst = b;
    return worst;
}

static const char *not_finite(float x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf"; /* printf has a sign for nan too */
}

static fl_status blame(fl_watch *w, const fl_batch *batch, const float *loss, const float *logit, fl_step_place at, fl_diag *dg)
{
    int64_t b = row_to_blame(w, batch, logit);
    fl_suspect s = {.table_row = -1};
    bool looked = w->looked;
    char cause[320];

    if (!looked)
        FL_TRY(look(w, batch, dg));
    s = w->suspects[b];
    describe(w, &s, looked, cause, sizeof cause);
    bool by_logit = !isfinite(logit[b]);
    fl_status status = fl_error(dg, FL_E_DIVERGED, FL_FILE(at.data), "training diverged at step %lld (epoch %lld), row %lld: the %s is %s; %s",
                                (long long)at.step, (long long)at.epoch, (long long)batch->row[b], by_logit ? "logit" : "loss",
                                not_finite(by_logit ? logit[b] : *loss), cause);
    fl_hint(dg, "steps, epochs and rows are counted from 0; nothing was saved after this step; a smaller learning rate often helps");
    return status;
}

fl_status fl_watch_after(fl_watch *w, const fl_batch *batch, const float *loss, const float *logit, fl_step_place at, fl_diag *dg)
{
    float largest = 0;
    bool finite = !loss || isfinite(*loss);

    for (int64_t b = 0; b < batch->n; b++) {
        finite &= isfinite(logit[b]);
        largest = fabsf(logit[b]) > largest ? fabsf(logit[b]) : largest;
    }
    if (!finite)
        return blame(w, batch, loss, logit, at, dg);
    w->quiet_after -= w->quiet_after > 0;
    w->alarmed = w->quiet_after > 0 || largest > FL_WATCH_LOGIT;
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------- variables */

/* Index of the first element of row i that is not finite; -1: all are. */
static int64_t bad_element(const fl_var *v, int64_t i, int64_t elements)
{
    size_t at = (size_t)(i * v->stride);

    for (int64_t k = 0; k < elements; k++)
        if (v->type.dtype == FL_FLOAT ? !isfinite(((const float *)v->data)[at + (size_t)k]) : !isfinite(((const double *)v->data)[at + (size_t)k]))
            return k;
    return -1;
}

static fl_status report_variable(const fl_watch *w, const fl_var *v, int64_t row, int64_t steps, fl_diag *dg)
{
    const fl_schema *schema = &w->session->manifest->schema;
    char feature[200] = "";

    for (uint32_t i = 0; v->type.rank >= 1 && v->type.dims[0] == schema->table_rows && i < schema->n_slots; i++) {
        const fl_slot *s = &schema->slots[i];
        if (row >= s->first_row && row < s->first_row + s->rows) {
            name_feature(w, i, row, feature, sizeof feature);
            break;
        }
    }
    fl_status status = fl_error(dg, FL_E_DIVERGED, FL_NOWHERE, "training diverged: after %lld steps row %lld of variable \"%s\" is not finite%s%s",
                                (long long)steps, (long long)row, v->name, *feature ? "; " : "", feature);
    fl_hint(dg, "it was not saved; a smaller learning rate often helps");
    return status;
}

fl_status fl_watch_variables(const fl_watch *w, int64_t steps, fl_diag *dg)
{
    const fl_variables *all = &w->session->variables;

    for (uint32_t i = 0; i < all->store.n_vars; i++) {
        const fl_var *v = &all->store.vars[i];
        int64_t rows = v->type.rank > 0 ? v->type.dims[0] : 1;
        if (!all->has_values[i] || (v->type.dtype != FL_FLOAT && v->type.dtype != FL_DOUBLE))
            continue;
        for (int64_t r = 0; r < rows; r++)
            if (bad_element(v, r, row_elements(v)) >= 0)
                return report_variable(w, v, r, steps, dg);
    }
    return FL_OK;
}
