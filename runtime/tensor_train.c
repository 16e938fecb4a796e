#include "runtime/tensor_train.h"

#include <math.h>
#include <string.h>

/* UINT32_MAX: no output is a loss. */
static uint32_t find_loss(const fl_graph *g)
{
    uint32_t first = UINT32_MAX;

    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const fl_value *v = &g->values[g->outputs[i]];
        if (v->type.dtype != FL_FLOAT || v->type.rank < 0 || !fl_type_is_static(&v->type) || fl_type_elements(&v->type) != 1)
            continue;
        if (strcmp(v->name, "loss") == 0)
            return i;
        first = first == UINT32_MAX ? i : first;
    }
    return first;
}

static fl_status run_epochs(const fl_tensor_training *o, fl_engine *e, fl_tensor_window *w, uint32_t loss, fl_diag *dg)
{
    int64_t rows = w->rows->n;

    for (int64_t epoch = 0; epoch < o->epochs; epoch++) {
        double sum = 0;
        int64_t steps = 0;
        for (int64_t at = 0; at < rows; at += w->batch, steps++) {
            int64_t n = rows - at < w->batch ? rows - at : w->batch;
            if (o->stop && *o->stop)
                return fl_error(dg, FL_E_INTERRUPTED, FL_NOWHERE, "interrupted");
            fl_run run = fl_tensor_window_at(w, at, n);
            FL_TRY(e->run(e, &run, dg));
            double now = (double)*(const float *)w->outputs[loss];
            if (!isfinite(now))
                return fl_error(dg, FL_E_DIVERGED, FL_NOWHERE, "the loss of epoch %lld, rows %lld to %lld, is not finite", (long long)epoch, (long long)at, (long long)(at + n - 1));
            sum += now;
        }
        o->epoch(o->arg, epoch, steps, sum / (double)steps);
    }
    return FL_OK;
}

fl_status fl_tensor_train(const fl_tensor_training *o, fl_session *s, const fl_tensor_rows *rows, fl_diag *dg)
{
    uint32_t loss = find_loss(s->programs[FL_PROGRAM_TRAIN]);
    int64_t batch = rows->whole || o->batch > rows->n ? rows->n : o->batch;
    fl_tensor_window w;
    fl_engine *e;

    if (loss == UINT32_MAX)
        return fl_error(dg, FL_E_EVAL_INPUT, FL_FILE(fl_model_path(s->model)), "no output of the training step is a loss: one float");
    FL_TRY(fl_session_engine(s, FL_PROGRAM_TRAIN, batch, &e, dg));
    FL_TRY(fl_tensor_window_init(&w, rows, batch, dg));
    fl_status status = run_epochs(o, e, &w, loss, dg);
    fl_tensor_window_deinit(&w);
    return status;
}
