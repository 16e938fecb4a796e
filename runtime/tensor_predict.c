#include "runtime/tensor_predict.h"

#include <math.h>

#include "runtime/json_text.h"
#include "runtime/ticks.h"

enum { DEFAULT_BATCH = 1024 };

static bool is_real(fl_dtype t)
{
    return t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 || t == FL_BFLOAT16;
}

/* Numbers of a row of an output; -1 if its rows are not the batch. */
static int64_t width_of(const fl_tensor_window *w, uint32_t output)
{
    const fl_tensor_rows *t = w->rows;
    const fl_graph *g = t->session->programs[t->program];
    const fl_type *type = fl_value_type(g, g->outputs[output]);
    int64_t n = fl_type_elements(&w->types[output]);

    if (t->whole)
        return type->rank > 0 && type->dims[0] == t->n ? n / t->n : t->n == 1 ? n : -1;
    if (type->rank < 1 || !FL_DIM_IS_SYM(type->dims[0]) || !t->is_batch[FL_SYM_OF_DIM(type->dims[0])])
        return -1;
    return n / w->types[output].dims[0];
}

static fl_status check_outputs(const fl_tensor_window *w, fl_diag *dg)
{
    const fl_graph *g = w->rows->session->programs[w->rows->program];

    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (width_of(w, i) < 0) {
            (void)fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "output \"%s\" has no rows: its leading dimension is not the batch", g->values[g->outputs[i]].name);
            fl_hint(dg, "`flenrt eval` writes it as a whole");
            return FL_BAD_INPUT;
        }
    return FL_OK;
}

static void print_header(const fl_tensor_prediction *o, const fl_tensor_window *w)
{
    const fl_graph *g = w->rows->session->programs[w->rows->program];

    fputs("row", o->f);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        int64_t n = width_of(w, i);
        for (int64_t k = 0; k < n; k++)
            if (n == 1)
                fprintf(o->f, ",%s", g->values[g->outputs[i]].name);
            else
                fprintf(o->f, ",%s.%lld", g->values[g->outputs[i]].name, (long long)k);
    }
    fputc('\n', o->f);
}

static void print_number(const fl_tensor_prediction *o, const fl_tensor *t, int64_t i)
{
    double x = is_real(t->type.dtype) ? fl_tensor_get_double(t, i) : 0;

    if (!is_real(t->type.dtype))
        fprintf(o->f, "%lld", (long long)fl_tensor_get_int(t, i));
    else if (o->json && !isfinite(x))
        fputs("null", o->f);
    else
        fprintf(o->f, "%.*g", t->type.dtype == FL_DOUBLE ? 17 : 9, x);
}

static void print_row(const fl_tensor_prediction *o, const fl_tensor_window *w, int64_t row, int64_t in_batch)
{
    const fl_graph *g = w->rows->session->programs[w->rows->program];

    fprintf(o->f, o->json ? "{\"event\":\"row\",\"row\":%lld" : "%lld", (long long)row);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        fl_tensor t = {.type = w->types[i], .bytes = w->outputs[i]};
        int64_t n = width_of(w, i);
        if (o->json) {
            fputc(',', o->f);
            fl_json_string(o->f, g->values[g->outputs[i]].name);
            fputs(n == 1 ? ":" : ":[", o->f);
        }
        for (int64_t k = 0; k < n; k++) {
            if (!o->json || k > 0)
                fputc(',', o->f);
            print_number(o, &t, in_batch * n + k);
        }
        if (o->json && n != 1)
            fputc(']', o->f);
    }
    fputs(o->json ? "}\n" : "\n", o->f);
}

static fl_status run_batches(const fl_tensor_prediction *o, fl_engine *e, fl_tensor_window *w, fl_diag *dg)
{
    FL_TRY(check_outputs(w, dg));
    if (!o->json)
        print_header(o, w);
    for (int64_t at = 0; at < w->rows->n && !ferror(o->f); at += w->batch) {
        int64_t n = w->rows->n - at < w->batch ? w->rows->n - at : w->batch;
        if (o->stop && *o->stop)
            return fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted");
        fl_run run = fl_tensor_window_at(w, at, n);
        FL_TRY(e->run(e, &run, dg));
        for (int64_t i = 0; i < n && !ferror(o->f); i++) /* a full disk must not be written to for an hour */
            print_row(o, w, at + i, i);
    }
    return FL_OK;
}

fl_status fl_tensor_predict(const fl_tensor_prediction *o, fl_session *s, const fl_tensor_rows *rows, fl_diag *dg)
{
    int64_t batch = o->batch > 0 ? o->batch : DEFAULT_BATCH;
    fl_tensor_window w;
    fl_engine *e;

    batch = batch < rows->n ? batch : rows->n;
    FL_TRY(fl_session_engine(s, rows->program, batch, &e, dg));
    FL_TRY(fl_tensor_window_init(&w, rows, batch, dg));
    uint64_t begin = fl_clock_ns();
    fl_status status = run_batches(o, e, &w, dg);
    double seconds = 1e-9 * (double)(fl_clock_ns() - begin);
    fl_tensor_window_deinit(&w);
    if (status == FL_OK && o->json)
        fprintf(o->f, "{\"event\":\"done\",\"rows\":%lld,\"bad_rows\":0,\"seconds\":%.6f,\"samples_per_second\":%.0f}\n", (long long)rows->n, seconds,
                seconds > 0 ? (double)rows->n / seconds : 0);
    return status;
}
