#include "runtime/tensor_rows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ir/base/bytes.h"
#include "ir/base/rng.h"
#include "ir/shape.h"
#include "runtime/npy_file.h"
#include "runtime/synthetic.h"
#include "runtime/tensor_csv.h"

enum { TYPE_BYTES = 200 };

static const fl_graph *graph_of(const fl_tensor_rows *t)
{
    return t->session->programs[t->program];
}

static const char *name_of(const fl_graph *g, uint32_t input)
{
    return g->values[g->inputs[input]].name;
}

/* --------------------------------------------------------------------------------------------------- the batch */

/* "seq=50,k=3" into dims. */
static fl_status take_extents(fl_tensor_rows *t, const char *text, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);

    while (text && *text) {
        size_t n = strcspn(text, ","), name = strcspn(text, "=,");
        char number[24] = "";
        uint32_t k = 0;
        int64_t extent;
        if (text[name] == '=' && n - name - 1 < sizeof number)
            memcpy(number, text + name + 1, n - name - 1);
        while (k < g->n_symbols && (strlen(g->symbols[k]) != name || strncmp(g->symbols[k], text, name) != 0))
            k++;
        if (k == g->n_symbols)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "--dim: no input has a dimension \"%.*s\"", (int)name, text);
        if (!fl_parse_size(number, 1, &extent))
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "--dim: \"%.*s\" is no NAME=NUMBER", (int)n, text);
        t->dims[k] = extent;
        text += n + (text[n] == ',');
    }
    return FL_OK;
}

/* Which symbols are the batch, and which inputs have it; of a model without, how many rows its one run has. */
static fl_status find_batch(fl_tensor_rows *t, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);
    int64_t same = -1;

    t->whole = true;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_type *type = fl_value_type(g, g->inputs[i]);
        if (type->rank < 0 || fl_dtype_size(type->dtype) == 0)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" has no shape that is known, or holds no numbers", name_of(g, i));
        t->has_rows[i] = type->rank > 0 && FL_DIM_IS_SYM(type->dims[0]) && t->dims[FL_SYM_OF_DIM(type->dims[0])] < 0;
        if (t->has_rows[i])
            t->is_batch[FL_SYM_OF_DIM(type->dims[0])] = true;
        t->whole &= !t->has_rows[i];
        int64_t lead = type->rank > 0 ? type->dims[0] : 0;
        same = i == 0 || same == lead ? lead : 0;
    }
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_type *type = fl_value_type(g, g->inputs[i]);
        for (int d = t->has_rows[i]; d < type->rank; d++)
            if (FL_DIM_IS_SYM(type->dims[d]) && t->is_batch[FL_SYM_OF_DIM(type->dims[d])])
                return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" has the batch \"%s\" elsewhere than in its first dimension: there are no rows to take some of", name_of(g, i),
                                g->symbols[FL_SYM_OF_DIM(type->dims[d])]);
    }
    if (!t->whole)
        return FL_OK;
    t->n = same > 0 ? same : 1;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        t->has_rows[i] = same > 0;
    return FL_OK;
}

static fl_status wrong_type(const fl_graph *g, uint32_t input, const fl_type *found, fl_diag *dg)
{
    char want[TYPE_BYTES], got[TYPE_BYTES];

    fl_type_print(g, fl_value_type(g, g->inputs[input]), want, sizeof want);
    fl_type_print(g, found, got, sizeof got);
    return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" is %s, the tensor is %s", name_of(g, input), want, got);
}

/* An input's own extents become those of its symbols. */
static fl_status bind_input(fl_tensor_rows *t, uint32_t i, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);
    const fl_type *want = fl_value_type(g, g->inputs[i]), *got = &t->inputs[i].type;

    if (got->dtype != want->dtype || got->rank != want->rank)
        return wrong_type(g, i, got, dg);
    for (int d = 0; d < want->rank; d++) {
        if (!FL_DIM_IS_SYM(want->dims[d])) {
            if (want->dims[d] != got->dims[d])
                return wrong_type(g, i, got, dg);
            continue;
        }
        int64_t *extent = &t->dims[FL_SYM_OF_DIM(want->dims[d])];
        bool batch = t->is_batch[FL_SYM_OF_DIM(want->dims[d])];
        extent = batch ? &t->n : extent;
        if (*extent >= 0 && *extent != got->dims[d])
            return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "\"%s\" is %lld in input \"%s\" and %lld in another", g->symbols[FL_SYM_OF_DIM(want->dims[d])],
                            (long long)got->dims[d], name_of(g, i), (long long)*extent);
        *extent = got->dims[d];
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------ reading */

static fl_status read_npy(fl_tensor_rows *t, uint32_t i, const char *path, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);
    fl_npy a;
    fl_status status = fl_npy_read(path, &a, dg);

    if (status != FL_OK) {
        char type[TYPE_BYTES];
        fl_type_print(g, fl_value_type(g, g->inputs[i]), type, sizeof type);
        fl_hint(dg, "input \"%s\" is %s", name_of(g, i), type);
        return status;
    }
    t->inputs[i] = (fl_array){a.type, a.bytes, a.n_bytes};
    return bind_input(t, i, dg);
}

static fl_status read_folder(fl_tensor_rows *t, const char *folder, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);

    for (uint32_t i = 0; i < g->n_inputs; i++) {
        char *path = fl_npy_path(folder, name_of(g, i));
        fl_status status = path ? read_npy(t, i, path, dg) : fl_out_of_memory(dg);
        free(path);
        FL_TRY(status);
    }
    return FL_OK;
}

static fl_status read_rows(fl_tensor_rows *t, const char *path, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);
    size_t n = strlen(path);
    struct stat st;

    if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    if (strcmp(path, "-") != 0 && S_ISDIR(st.st_mode))
        return read_folder(t, path, dg);
    if (n > 4 && strcmp(path + n - 4, ".npy") == 0) {
        if (g->n_inputs != 1)
            return fl_error(dg, FL_E_EVAL_INPUT, FL_FILE(path), "one array, but the model has %u inputs: a folder with NAME.npy for each is needed", g->n_inputs);
        return read_npy(t, 0, path, dg);
    }
    FL_TRY(fl_tensor_csv_read(path, g, t->has_rows, t->dims, t->inputs, dg));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        FL_TRY(bind_input(t, i, dg));
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------ drawing */

static double normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    double u = fl_random_uniform(seed, stream, 2 * i), v = fl_random_uniform(seed, stream, 2 * i + 1);

    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

static void draw_element(const fl_tensor_rows *t, const fl_tensor_source *from, uint32_t i, int64_t k, const fl_index_bound *bound)
{
    fl_array *a = &t->inputs[i];
    int64_t rows = t->has_rows[i] ? t->n : 1, width = fl_type_elements(&a->type) / rows;
    bool real = a->type.dtype == FL_FLOAT || a->type.dtype == FL_DOUBLE || a->type.dtype == FL_FLOAT16 || a->type.dtype == FL_BFLOAT16, id = bound->least <= bound->most;
    int64_t most = a->type.dtype == FL_FLOAT16 ? 2048 : a->type.dtype == FL_BFLOAT16 ? 256 : a->type.dtype == FL_FLOAT ? 1 << 24 : INT64_MAX; /* whole numbers that are exact */
    uint64_t stream = ((uint64_t)i << 32) + (uint64_t)k;
    fl_scatter ids = id ? fl_scatter_make(bound->least, (bound->most < most ? bound->most : most) - bound->least + 1, from->skew) : (fl_scatter){0};

    for (int64_t r = 0; r < rows; r++) {
        int64_t place = r * width + k;
        if (id && real)
            fl_tensor_set_double(a->bytes, a->type.dtype, place, (double)fl_scatter_draw(&ids, from->seed, stream, (uint64_t)r));
        else if (id)
            fl_tensor_set_int(a->bytes, a->type.dtype, place, fl_scatter_draw(&ids, from->seed, stream, (uint64_t)r));
        else if (real)
            fl_tensor_set_double(a->bytes, a->type.dtype, place, normal(from->seed, stream, (uint64_t)r));
        else
            fl_tensor_set_int(a->bytes, a->type.dtype, place, fl_random_uniform(from->seed, stream, (uint64_t)r) < 0.5);
    }
}

/* Extents for all symbols: `batch` for the batch, and for what no input has (it is computed, or stands in no index). */
static int64_t *extents_of(const fl_tensor_rows *t, int64_t batch)
{
    const fl_graph *g = graph_of(t);
    int64_t *dims = malloc(((size_t)g->n_symbols + 1) * sizeof *dims);

    for (uint32_t k = 0; dims && k < g->n_symbols; k++)
        dims[k] = t->is_batch[k] ? batch : t->dims[k];
    return dims;
}

static fl_status check_extents(const fl_tensor_rows *t, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);

    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_type *type = fl_value_type(g, g->inputs[i]);
        for (int d = t->has_rows[i]; d < type->rank; d++) {
            if (!FL_DIM_IS_SYM(type->dims[d]) || t->dims[FL_SYM_OF_DIM(type->dims[d])] >= 0)
                continue;
            const char *symbol = g->symbols[FL_SYM_OF_DIM(type->dims[d])];
            (void)fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "input \"%s\" has a dimension \"%s\" beside the batch", name_of(g, i), symbol);
            fl_hint(dg, "--dim %s=NUMBER says how long it is, or --data gives tensors", symbol);
            return FL_BAD_INPUT;
        }
    }
    return FL_OK;
}

static fl_status draw_rows(fl_tensor_rows *t, const fl_tensor_source *from, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);
    fl_index_bounds bounds = {0};
    int64_t *one = NULL;

    FL_TRY(check_extents(t, dg));
    if (!t->whole)
        t->n = from->n;
    one = extents_of(t, 1);
    fl_status status = one ? fl_index_bounds_find(&bounds, t->session, t->program, one, dg) : fl_out_of_memory(dg);
    free(one);
    for (uint32_t i = 0; status == FL_OK && i < g->n_inputs; i++) {
        fl_array *a = &t->inputs[i];
        int64_t *all = extents_of(t, t->n);
        bool bound = all && fl_type_bind(g, all, fl_value_type(g, g->inputs[i]), &a->type);
        int64_t bytes = bound ? fl_type_bytes(&a->type) : -1;
        uint64_t left = fl_session_memory_left(t->session);
        free(all);
        if (bytes < 0 || (uint64_t)bytes > left) {
            status = fl_beyond_memory(g, g->inputs[i], "the input", bytes, left, dg);
            break;
        }
        a->n_bytes = (size_t)bytes;
        a->bytes = calloc(1, a->n_bytes + 1);
        if (!a->bytes)
            status = fl_out_of_memory(dg);
        int64_t width = bounds.n[i] / (t->whole && t->has_rows[i] ? t->n : 1); /* bounds are of a run: of one row, or of all there are */
        for (int64_t k = 0; a->bytes && k < width; k++)
            draw_element(t, from, i, k, &bounds.of[i][k]);
    }
    fl_index_bounds_deinit(&bounds, g);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- all rows */

fl_run fl_tensor_rows_run(const fl_tensor_rows *t, const void **inputs)
{
    for (uint32_t i = 0; i < graph_of(t)->n_inputs; i++)
        inputs[i] = t->inputs[i].bytes;
    return (fl_run){t->dims, inputs, NULL};
}

/* What the rows look up: generated code trusts it from here on. */
static fl_status find_indices(fl_tensor_rows *t, fl_interpret_fn *interpret, fl_diag *dg)
{
    const void **inputs = calloc((size_t)graph_of(t)->n_inputs + 1, sizeof *inputs);

    if (!inputs)
        return fl_out_of_memory(dg);
    fl_run run = fl_tensor_rows_run(t, inputs);
    fl_status status = fl_tensor_indices_make(&t->indices, t->session, t->program, interpret, t->inputs, &run, dg);
    if (status == FL_OK)
        status = fl_tensor_indices_check(&t->indices, t->session, t->program, t->dims, dg);
    free(inputs);
    return status;
}

static fl_status make(fl_tensor_rows *t, const fl_tensor_source *from, fl_diag *dg)
{
    const fl_graph *g = graph_of(t);

    t->inputs = calloc((size_t)g->n_inputs + 1, sizeof *t->inputs);
    t->has_rows = calloc((size_t)g->n_inputs + 1, sizeof *t->has_rows);
    t->is_batch = calloc((size_t)g->n_symbols + 1, sizeof *t->is_batch);
    t->dims = calloc((size_t)g->n_symbols + 1, sizeof *t->dims);
    if (!t->inputs || !t->has_rows || !t->is_batch || !t->dims)
        return fl_out_of_memory(dg);
    t->n = -1;
    for (uint32_t k = 0; k < g->n_symbols; k++)
        t->dims[k] = -1;
    FL_TRY(take_extents(t, from->extents, dg));
    FL_TRY(find_batch(t, dg));
    FL_TRY(from->path ? read_rows(t, from->path, dg) : draw_rows(t, from, dg));
    for (uint32_t k = 0; k < g->n_symbols; k++)
        t->dims[k] = t->is_batch[k] ? t->n : t->dims[k];
    return t->n > 0 ? find_indices(t, from->interpret, dg) : fl_error(dg, FL_E_EVAL_INPUT, FL_FILE(from->path), "there are no rows");
}

fl_status fl_tensor_rows_make(fl_tensor_rows *t, const fl_session *s, fl_program p, const fl_tensor_source *from, fl_diag *dg)
{
    *t = (fl_tensor_rows){.session = s, .program = p};
    fl_status status = make(t, from, dg);
    if (status != FL_OK)
        fl_tensor_rows_deinit(t);
    return status;
}

void fl_tensor_rows_deinit(fl_tensor_rows *t)
{
    fl_tensor_indices_deinit(&t->indices);
    for (uint32_t i = 0; t->inputs && i < graph_of(t)->n_inputs; i++)
        free(t->inputs[i].bytes);
    free(t->inputs);
    free(t->has_rows);
    free(t->is_batch);
    free(t->dims);
    *t = (fl_tensor_rows){0};
}

/* ---------------------------------------------------------------------------------------------------- some rows */

static bool bind_outputs(fl_tensor_window *w, int64_t n, uint32_t *unknown)
{
    const fl_graph *g = graph_of(w->rows);

    for (uint32_t k = 0; k < g->n_symbols; k++)
        w->dims[k] = w->rows->is_batch[k] ? n : w->rows->dims[k];
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        *unknown = i;
        if (!fl_type_bind(g, w->dims, fl_value_type(g, g->outputs[i]), &w->types[i]))
            return false;
    }
    for (uint32_t k = 0; k < g->n_symbols; k++)
        w->dims[k] = w->dims[k] < 0 ? 0 : w->dims[k];
    return true;
}

static fl_status init_window(fl_tensor_window *w, fl_diag *dg)
{
    const fl_graph *g = graph_of(w->rows);
    uint64_t left = fl_session_memory_left(w->rows->session);
    uint32_t unknown = 0;

    w->inputs = calloc((size_t)g->n_inputs + 1, sizeof *w->inputs);
    w->outputs = calloc((size_t)g->n_outputs + 1, sizeof *w->outputs);
    w->types = calloc((size_t)g->n_outputs + 1, sizeof *w->types);
    w->dims = calloc((size_t)g->n_symbols + 1, sizeof *w->dims);
    if (!w->inputs || !w->outputs || !w->types || !w->dims)
        return fl_out_of_memory(dg);
    if (!bind_outputs(w, w->batch, &unknown))
        return fl_error(dg, FL_E_EVAL_INPUT, FL_NOWHERE, "the shape of output \"%s\" does not follow from the inputs' shapes", g->values[g->outputs[unknown]].name);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        int64_t bytes = fl_type_bytes(&w->types[i]);
        if (bytes < 0 || (uint64_t)bytes > left)
            return fl_beyond_memory(g, g->outputs[i], "the output", bytes, left, dg);
        left -= (uint64_t)bytes;
        if (!(w->outputs[i] = calloc(1, (size_t)bytes + 1)))
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

fl_status fl_tensor_window_init(fl_tensor_window *w, const fl_tensor_rows *rows, int64_t batch, fl_diag *dg)
{
    *w = (fl_tensor_window){.rows = rows, .batch = batch};
    fl_status status = init_window(w, dg);
    if (status != FL_OK)
        fl_tensor_window_deinit(w);
    return status;
}

void fl_tensor_window_deinit(fl_tensor_window *w)
{
    for (uint32_t i = 0; w->outputs && i < graph_of(w->rows)->n_outputs; i++)
        free(w->outputs[i]);
    free(w->inputs);
    free(w->outputs);
    free(w->types);
    free(w->dims);
    *w = (fl_tensor_window){0};
}

fl_run fl_tensor_window_at(fl_tensor_window *w, int64_t first, int64_t n)
{
    const fl_tensor_rows *t = w->rows;
    const fl_graph *g = graph_of(t);
    uint32_t unknown;

    (void)bind_outputs(w, n, &unknown);
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const fl_array *a = &t->inputs[i];
        w->inputs[i] = (const char *)a->bytes + (t->has_rows[i] ? (size_t)first * (a->n_bytes / (size_t)t->n) : 0);
    }
    return (fl_run){w->dims, w->inputs, w->outputs};
}
