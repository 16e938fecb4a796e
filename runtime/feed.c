#include "runtime/feed.h"

#include "ir/rows.h"

#include <stdlib.h>
#include <string.h>

/* Empty bags may have no memory at all; engines get a pointer in any case. */
static const int64_t nothing[2];

static bool is_named(const char *input, const char *slot, const char *suffix)
{
    size_t n = strlen(slot);
    return strncmp(input, slot, n) == 0 && strcmp(input + n, suffix) == 0;
}

static bool has_type(const fl_type *t, fl_dtype dtype, int rank, int64_t columns)
{
    return t->dtype == dtype && t->rank == rank && (rank < 1 || FL_DIM_IS_SYM(t->dims[0])) && (rank < 2 || t->dims[1] == columns);
}

/* The bag whose values or offsets an input names. */
static bool find_bag(fl_feed_input *in, const char *name, const fl_schema *schema)
{
    uint32_t bag = 0;

    for (uint32_t k = 0; k < schema->n_slots; k++) {
        if (schema->slots[k].pooling == FL_POOL_NONE)
            continue;
        in->bag = bag++;
        in->values = is_named(name, schema->slots[k].name, ".values");
        in->extra = in->values ? 0 : 1;
        if (in->values || is_named(name, schema->slots[k].name, ".offsets"))
            return true;
    }
    return false;
}

static bool bind(fl_feed *f, fl_feed_input *in, const fl_value *v, const fl_schema *schema)
{
    const fl_type *t = &v->type;
    uint32_t columns = 0;

    for (uint32_t k = 0; k < schema->n_slots; k++)
        columns += schema->slots[k].pooling == FL_POOL_NONE;
    in->symbol = t->rank > 0 && FL_DIM_IS_SYM(t->dims[0]) ? FL_SYM_OF_DIM(t->dims[0]) : FL_NONE;
    if (strcmp(v->name, "ids") == 0) {
        in->fixed = &f->ids;
        return has_type(t, FL_INT64, 2, columns);
    }
    if (strcmp(v->name, "label") == 0) {
        in->fixed = &f->label;
        return has_type(t, FL_FLOAT, 2, 1);
    }
    static const char *const scalars[] = {"step", "seed", "rate_factor"};
    for (uint32_t k = 0; k < FL_COUNT(scalars); k++)
        if (strcmp(v->name, scalars[k]) == 0) {
            in->fixed = &f->scalars[k];
            return has_type(t, k == 2 ? FL_FLOAT : FL_INT64, 0, 0);
        }
    return find_bag(in, v->name, schema) && has_type(t, FL_INT64, 1, 0);
}

fl_status fl_feed_init(fl_feed *f, const fl_graph *g, const fl_schema *schema, fl_diag *dg)
{
    memset(f, 0, sizeof *f);
    f->g = g;
    f->rate_factor = 1;
    f->bag_rows = fl_bag_rows(g);
    f->scalars[0] = &f->step;
    f->scalars[1] = &f->seed;
    f->scalars[2] = &f->rate_factor;
    f->in = calloc((size_t)g->n_inputs + 1, sizeof *f->in);
    f->inputs = calloc((size_t)g->n_inputs + 1, sizeof *f->inputs);
    f->dims = calloc((size_t)g->n_symbols + 1, sizeof *f->dims);
    fl_status status = f->in && f->inputs && f->dims ? FL_OK : fl_out_of_memory(dg);
    for (uint32_t i = 0; status == FL_OK && i < g->n_inputs; i++) {
        const fl_value *v = &g->values[g->inputs[i]];
        if (bind(f, &f->in[i], v, schema))
            continue;
        status = fl_error(dg, FL_E_FEED, FL_NOWHERE, "rows of data cannot fill input \"%s\" of program \"%s\"", v->name, g->name);
        fl_hint(dg, "`flenrt predict`, `bench` and `eval` run an imported model on tensors");
    }
    if (status != FL_OK)
        fl_feed_deinit(f);
    return status;
}

void fl_feed_deinit(fl_feed *f)
{
    free(f->in);
    free(f->inputs);
    free(f->dims);
    memset(f, 0, sizeof *f);
}

fl_run fl_feed_run(fl_feed *f, const fl_batch *b)
{
    f->ids = b->n_columns ? (const void *)b->ids : nothing;
    f->label = b->label;
    for (uint32_t i = 0; i < f->g->n_inputs; i++) {
        const fl_feed_input *in = &f->in[i];
        int64_t extent = b->n + in->extra;
        if (in->fixed) {
            f->inputs[i] = *in->fixed;
        } else {
            const fl_bag *bag = &b->bags[in->bag];
            const int64_t *array = in->values ? bag->values : bag->offsets;
            f->inputs[i] = array ? array : nothing;
            extent = in->values ? bag->n_values : extent;
        }
        if (in->symbol != FL_NONE)
            f->dims[in->symbol] = extent;
    }
    if (f->bag_rows != FL_NONE)
        f->dims[f->bag_rows] = b->n;
    return (fl_run){f->dims, f->inputs, NULL};
}
