#include "runtime/folds.h"

#include "ir/crc32c.h"
#include "ir/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1 };

static bool is_computed_by(const fl_graph *folding, const char *name)
{
    for (uint32_t i = 0; i < folding->n_updates; i++)
        if (strcmp(folding->values[folding->updates[i].variable].name, name) == 0)
            return true;
    return false;
}

bool fl_folds_reads(const fl_graph *folding, const char *name)
{
    fl_id v = fl_graph_find(folding, name);

    return v != FL_NONE && folding->values[v].kind == FL_VALUE_VARIABLE && strncmp(name, "bound.", 6) != 0 && !is_computed_by(folding, name);
}

/* ----------------------------------------------------------------------------------------------------- finding */

static int64_t width_of(const fl_type *t)
{
    int64_t n = 1;
    for (int d = 1; d < t->rank; d++)
        n *= t->dims[d];
    return n;
}

static fl_status wrong(const fl_model *m, const char *what, const char *name, fl_diag *dg)
{
    return fl_error(dg, FL_E_MODEL_CONTENT, FL_FILE(fl_model_path(m)), FL_FOLDS_ENTRY ": %s%s%.200s%s", what, name ? " \"" : "", name ? name : "",
                    name ? "\"" : "");
}

/* Every weight that the program reads is named, and is what it was. */
static bool is_up_to_date(const fl_model *m, const fl_graph *folding, const json_t *weights)
{
    for (uint32_t i = 0; i < folding->n_variables; i++) {
        const fl_value *v = &folding->values[folding->variables[i]];
        char hex[16];
        uint32_t crc;
        if (!v->name || !fl_folds_reads(folding, v->name))
            continue;
        const char *stated = json_string_value(json_object_get(weights, v->name));
        if (!stated || !fl_model_variable_checksum(m, v->name, &crc))
            return false;
        snprintf(hex, sizeof hex, "%08x", crc);
        if (strcmp(hex, stated) != 0)
            return false;
    }
    return true;
}

/* The variable of type t that `entry` describes. */
static fl_status find_variable(const fl_model *m, const json_t *entry, const char *name, fl_type t, fl_var *out, fl_diag *dg)
{
    const char *in = json_string_value(json_object_get(entry, "in"));
    const json_t *offset = json_object_get(entry, "offset");
    const fl_tensor *stored = in ? fl_model_find_variable(m, in) : NULL;
    if (!stored || !json_is_integer(offset))
        return wrong(m, "no place is given for", name, dg);
    int64_t at = json_integer_value(offset), rows = t.rank > 0 ? t.dims[0] : 1, width = width_of(&t);
    const fl_type *s = &stored->type;
    if (s->rank != 2 || s->dims[0] != rows || s->dtype != t.dtype || at < 0 || width < 0 || at > s->dims[1] || width > s->dims[1] - at)
        return wrong(m, "another type or place is stored than the program has for", name, dg);
    *out = (fl_var){name, t, (uint8_t *)(uintptr_t)stored->bytes + (size_t)at * fl_dtype_size(t.dtype), s->dims[1]};
    return FL_OK;
}

static fl_status find_all(fl_model *m, const fl_graph *folding, int64_t table_rows, const json_t *list, fl_arena *arena, fl_store *out, fl_diag *dg)
{
    out->vars = fl_arena_new(arena, fl_var, folding->n_updates + 1);
    out->n_vars = 0;
    if (!out->vars)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < folding->n_updates; i++) {
        const fl_value *v = &folding->values[folding->updates[i].variable];
        fl_type t = v->type;
        for (int d = 0; d < t.rank; d++)
            t.dims[d] = FL_DIM_IS_SYM(t.dims[d]) ? table_rows : t.dims[d];
        const json_t *entry = NULL;
        for (size_t k = 0; k < json_array_size(list) && !entry; k++) {
            const char *name = json_string_value(json_object_get(json_array_get(list, k), "name"));
            entry = name && strcmp(name, v->name) == 0 ? json_array_get(list, k) : NULL;
        }
        if (!entry)
            return wrong(m, "nothing is stored for", v->name, dg);
        FL_TRY(find_variable(m, entry, v->name, t, &out->vars[out->n_vars++], dg));
    }
    return FL_OK;
}

fl_status fl_folds_find(fl_model *m, const fl_graph *folding, int64_t table_rows, fl_arena *arena, fl_store *out, fl_folds_state *state,
                        fl_diag *dg)
{
    size_t n;
    const char *text = fl_model_entry(m, FL_FOLDS_ENTRY, &n);
    json_error_t error;
    bool no_memory;

    *state = FL_FOLDS_NONE;
    if (!text)
        return FL_OK;
    FL_TRY(fl_model_verify_entry(m, FL_FOLDS_ENTRY, dg));
    json_t *o = fl_json_load(text, n, &error, &no_memory);
    if (no_memory)
        return fl_out_of_memory(dg);
    fl_status status = FL_OK;
    const json_t *format = json_object_get(o, "format"), *weights = json_object_get(o, "weights"), *list = json_object_get(o, "variables");
    if (json_integer_value(format) > FORMAT)
        status = fl_error(dg, FL_E_MODEL_NEWER, FL_FILE(fl_model_path(m)), FL_FOLDS_ENTRY " has format %lld; this flen reads up to %d",
                          (long long)json_integer_value(format), FORMAT);
    else if (json_integer_value(format) != FORMAT || !json_is_object(weights) || !json_is_array(list))
        status = wrong(m, "not {format, weights, variables}", NULL, dg);
    else if (!is_up_to_date(m, folding, weights))
        *state = FL_FOLDS_OUTDATED;
    else {
        status = find_all(m, folding, table_rows, list, arena, out, dg);
        *state = status == FL_OK ? FL_FOLDS_USABLE : FL_FOLDS_NONE;
    }
    json_decref(o);
    return status;
}

/* -------------------------------------------------------------------------------------------------- describing */

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(const fl_var *const *)a)->data, y = (uintptr_t)(*(const fl_var *const *)b)->data;
    return x < y ? -1 : x > y;
}

static int64_t rows_of(const fl_var *v)
{
    return v->type.rank > 0 ? v->type.dims[0] : 1;
}

/* Does v stand in the records that begin with `first`? */
static bool shares_record(const fl_var *first, const fl_var *v)
{
    size_t size = fl_dtype_size(first->type.dtype);
    return v->stride == first->stride && v->type.dtype == first->type.dtype && rows_of(v) == rows_of(first) &&
           (uintptr_t)v->data - (uintptr_t)first->data < (size_t)first->stride * size;
}

static uint32_t checksum(const fl_var *v)
{
    size_t size = fl_dtype_size(v->type.dtype), row = (size_t)width_of(&v->type) * size;
    uint32_t crc = 0;
    for (int64_t i = 0; i < rows_of(v); i++)
        crc = fl_crc32c(crc, (const uint8_t *)v->data + (size_t)(i * v->stride) * size, row);
    return crc;
}

static bool describe_weights(const fl_store *store, const fl_graph *folding, json_t *weights)
{
    bool ok = true;
    for (uint32_t i = 0; i < store->n_vars; i++) {
        char hex[16];
        if (!fl_folds_reads(folding, store->vars[i].name))
            continue;
        snprintf(hex, sizeof hex, "%08x", checksum(&store->vars[i]));
        ok &= json_object_set_new(weights, store->vars[i].name, json_string(hex)) == 0;
    }
    return ok;
}

/* Records and what stands in them. */
static bool describe_variables(const fl_var **vars, uint32_t n, fl_arena *arena, fl_folds_content *out, json_t *list)
{
    const fl_var *first = NULL;
    bool ok = true;
    for (uint32_t i = 0; i < n; i++) {
        const fl_var *v = vars[i];
        if (!first || !shares_record(first, v)) {
            const char *name = fl_arena_printf(arena, FL_FOLDS_PREFIX "%u", out->n_variables);
            if (!name)
                return false;
            first = v;
            out->variables[out->n_variables++] = (fl_model_variable_source){
                .name = name, .type = fl_type_make(v->type.dtype, 2, (fl_dim[]){rows_of(v), v->stride}), .bytes = v->data, .stride = v->stride};
        }
        json_int_t at = (json_int_t)(((uintptr_t)v->data - (uintptr_t)first->data) / fl_dtype_size(v->type.dtype));
        ok &= json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", v->name, "in", out->variables[out->n_variables - 1].name, "offset", at)) == 0;
    }
    return ok;
}

fl_status fl_folds_describe(const fl_store *store, const fl_graph *folding, fl_arena *arena, fl_folds_content *out, fl_diag *dg)
{
    const fl_var **vars = fl_arena_new(arena, const fl_var *, folding->n_updates + 1);
    uint32_t n = 0;

    *out = (fl_folds_content){.variables = fl_arena_new(arena, fl_model_variable_source, folding->n_updates + 1)};
    if (!vars || !out->variables)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < store->n_vars; i++)
        if (is_computed_by(folding, store->vars[i].name))
            vars[n++] = &store->vars[i];
    qsort(vars, n, sizeof *vars, by_address);
    json_t *weights = json_object(), *list = json_array();
    bool ok = weights && list && describe_weights(store, folding, weights) && describe_variables(vars, n, arena, out, list);
    json_t *o = json_pack("{s:i, s:o, s:o}", "format", FORMAT, "weights", weights, "variables", list);
    char *text = ok && o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    const char *kept = text ? fl_arena_strndup(arena, text, strlen(text)) : NULL;
    free(text);
    json_decref(o);
    if (!kept)
        return fl_out_of_memory(dg);
    out->entry = (fl_model_entry_source){FL_FOLDS_ENTRY, kept, strlen(kept)};
    return FL_OK;
}
