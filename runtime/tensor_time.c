#include "runtime/tensor_time.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_RUNS = 1 << 20, MIN_RUNS = 5 };

typedef struct timing {
    const fl_graph *g;
    const fl_array *inputs;
    fl_engine *engine;
    int64_t *dims, batch, rows; /* rows: of the inputs */
    const void **in;
    void **out;
    double *times;
} timing;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int64_t row_bytes(const fl_array *a)
{
    return a->type.dims[0] > 0 ? (int64_t)a->n_bytes / a->type.dims[0] : 0;
}

/* The one symbol of the program's inputs, their leading dimension, gets the value `batch`. */
static fl_status bind(timing *t, fl_diag *dg)
{
    fl_dim symbol = 0;

    t->rows = INT64_MAX;
    for (uint32_t i = 0; i < t->g->n_inputs; i++) {
        const fl_type *type = fl_value_type(t->g, t->g->inputs[i]);
        bool fits = type->rank > 0 && FL_DIM_IS_SYM(type->dims[0]) && (i == 0 || type->dims[0] == symbol);

        for (int d = 1; d < type->rank; d++)
            fits = fits && !FL_DIM_IS_SYM(type->dims[d]);
        if (!fits)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" has no rows to take some of: its leading dimension, and no other, must be the batch",
                            t->g->values[t->g->inputs[i]].name);
        symbol = type->dims[0];
        t->rows = t->inputs[i].type.dims[0] < t->rows ? t->inputs[i].type.dims[0] : t->rows;
    }
    if (t->g->n_inputs == 0 || t->batch > t->rows)
        return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "runs of %lld rows need inputs of as many, found %lld", (long long)t->batch,
                        t->g->n_inputs == 0 ? 0ll : (long long)t->rows);
    t->dims[FL_SYM_OF_DIM(symbol)] = t->batch;
    return FL_OK;
}

static fl_status make_outputs(timing *t, fl_diag *dg)
{
    for (uint32_t i = 0; i < t->g->n_outputs; i++) {
        fl_type type = *fl_value_type(t->g, t->g->outputs[i]);

        for (int d = 0; d < type.rank; d++)
            if (FL_DIM_IS_SYM(type.dims[d]))
                type.dims[d] = t->dims[FL_SYM_OF_DIM(type.dims[d])];
        t->out[i] = calloc((size_t)fl_type_elements(&type) + 1, fl_dtype_size(type.dtype));
        if (!t->out[i])
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

/* Run number k, on the rows that are its turn; how long it took. */
static fl_status run_once(timing *t, int64_t k, double *seconds, fl_diag *dg)
{
    int64_t first = k * t->batch % (t->rows - t->batch + 1);
    fl_run call = {t->dims, t->in, t->out};

    for (uint32_t i = 0; i < t->g->n_inputs; i++)
        t->in[i] = (const char *)t->inputs[i].bytes + first * row_bytes(&t->inputs[i]);
    double begin = now();
    fl_status status = t->engine->run(t->engine, &call, dg);
    *seconds = now() - begin;
    return status;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static fl_status measure(timing *t, double seconds, fl_tensor_times *out, fl_diag *dg)
{
    double begin = now(), took;
    int64_t k = 0, n = 0;

    while (k < MIN_RUNS || now() < begin + seconds / 3)
        FL_TRY(run_once(t, k++, &took, dg));
    begin = now();
    while (n < MAX_RUNS && (n < MIN_RUNS || now() < begin + seconds))
        FL_TRY(run_once(t, k++, &t->times[n++], dg));
    qsort(t->times, (size_t)n, sizeof *t->times, by_size);
    *out = (fl_tensor_times){t->times[0], t->times[n / 2], t->times[n * 99 / 100], t->times[n - 1], n};
    return FL_OK;
}

fl_status fl_tensor_time(fl_session *s, fl_program p, const fl_array *inputs, int64_t batch, double seconds, fl_tensor_times *out, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];
    timing t = {.g = g, .inputs = inputs, .batch = batch, .dims = calloc((size_t)g->n_symbols + 1, sizeof *t.dims),
                .in = calloc((size_t)g->n_inputs + 1, sizeof *t.in), .out = calloc((size_t)g->n_outputs + 1, sizeof *t.out),
                .times = malloc(MAX_RUNS * sizeof *t.times)};
    fl_status status = t.dims && t.in && t.out && t.times ? bind(&t, dg) : fl_out_of_memory(dg);

    if (status == FL_OK)
        status = make_outputs(&t, dg);
    if (status == FL_OK)
        status = fl_session_engine(s, p, batch, &t.engine, dg);
    if (status == FL_OK)
        status = measure(&t, seconds, out, dg);
    for (uint32_t i = 0; t.out && i < g->n_outputs; i++)
        free(t.out[i]);
    free(t.times);
    free(t.out);
    free(t.in);
    free(t.dims);
    return status;
}
