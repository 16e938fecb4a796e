#include "ir/schedule.h"
#include "ir/json.h"


#include <stdlib.h>
#include <string.h>

/*
 * Ids change when a program is written and read, names do not: values go by name, nodes by their first output,
 * dimensions as a number or a symbol's name.
 */

static const char *const domain_names[] = {"one", "rows", "slots"};
static const char *const storage_names[] = {"none", "buffer", "scratch"};
static const char *const buffer_names[] = {"input", "variable", "constant", "arena"};

static fl_id first_output(const fl_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != FL_NONE)
            return n->out[i];
    return FL_NONE;
}

/* ------------------------------------------------------------------------------------------------------ print */

static json_t *dim_json(const fl_graph *g, fl_dim d)
{
    return FL_DIM_IS_SYM(d) ? json_string(g->symbols[FL_SYM_OF_DIM(d)]) : json_integer(d);
}

static json_t *name_json(const fl_graph *g, fl_id v)
{
    return v == FL_NONE ? json_null() : json_string(g->values[v].name);
}

static json_t *segment_json(const fl_graph *g, const fl_segment *s)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < s->n_nodes; i++)
        json_array_append_new(nodes, name_json(g, first_output(&g->nodes[s->nodes[i]])));
    return json_pack("{s:s, s:s, s:o, s:o, s:i, s:o, s:I, s:I, s:o}", "symbol", s->symbol, "domain", domain_names[s->domain],
                     "dim", dim_json(g, s->dim), "count", name_json(g, s->count), "phase", (int)s->phase, "nodes", nodes,
                     "scratch", (json_int_t)s->scratch_bytes, "scratch_row", (json_int_t)s->scratch_row_bytes,
                     "scratch_dim", dim_json(g, s->scratch_dim));
}

static json_t *buffer_json(const fl_graph *g, const fl_buffer *b)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:I, s:i, s:i}", "kind", buffer_names[b->kind], "value", name_json(g, b->value),
                     "type", fl_dtype_name(b->dtype), "rows", dim_json(g, b->rows), "row", (json_int_t)b->row_elements,
                     "first", (int)b->first_phase, "last", (int)b->last_phase);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* By name: ids, and the order of symbols and variables, are not the same when a program was written and read. */
static json_t *sorted(json_t *object)
{
    json_t *out = json_object();
    size_t n = json_object_size(object), i = 0;
    const char **keys = malloc((n + 1) * sizeof *keys), *key;
    json_t *value;

    json_object_foreach(object, key, value)
        if (keys)
            keys[i++] = key;
    if (keys)
        qsort(keys, n, sizeof *keys, by_name);
    for (i = 0; keys && i < n; i++)
        json_object_set(out, keys[i], json_object_get(object, keys[i]));
    free(keys);
    json_decref(object);
    return out;
}

const char *fl_schedule_print(const fl_graph *g, fl_arena *arena)
{
    const fl_schedule *s = g->schedule;
    json_t *segments = json_array(), *buffers = json_array(), *storage = json_object(), *capacity = json_object();

    for (uint32_t i = 0; i < s->n_segments; i++)
        json_array_append_new(segments, segment_json(g, &s->segments[i]));
    for (uint32_t i = 0; i < s->n_buffers; i++)
        json_array_append_new(buffers, buffer_json(g, &s->buffers[i]));
    for (uint32_t v = 0; v < s->n_storage; v++)
        if (g->values[v].name && s->storage[v].kind != FL_STORAGE_NONE)
            json_object_set_new(storage, g->values[v].name,
                                json_pack("[s, i, I, I]", storage_names[s->storage[v].kind], (int)s->storage[v].buffer,
                                          (json_int_t)s->storage[v].offset, (json_int_t)s->storage[v].row_stride));
    for (uint32_t i = 0; i < s->n_capacity; i++) {
        if (s->capacity[i].n_dims == 0)
            continue;
        json_t *dims = json_array();
        for (uint32_t k = 0; k < s->capacity[i].n_dims; k++)
            json_array_append_new(dims, dim_json(g, s->capacity[i].dims[k]));
        json_object_set_new(capacity, g->symbols[i], s->capacity[i].sum ? json_pack("{s:o}", "sum", dims) : dims);
    }
    json_t *root = json_pack("{s:o, s:o, s:o, s:o}", "segments", segments, "buffers", buffers, "storage", sorted(storage),
                             "capacity", sorted(capacity));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    const char *copy = text ? fl_arena_strndup(arena, text, strlen(text)) : NULL;
    free(text);
    json_decref(root);
    return copy;
}

/* ------------------------------------------------------------------------------------------------------ parse */

typedef struct reader {
    fl_graph *g;
    fl_loc loc;
    fl_diag *dg;
    fl_schedule *s;
} reader;

static fl_status wrong(const reader *r, const char *what)
{
    return fl_error(r->dg, FL_E_VERIFY, r->loc, "the schedule of program \"%s\" %s", r->g->name, what);
}

static int word_index(const json_t *j, const char *const *words, size_t n)
{
    const char *text = json_string_value(j);
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return (int)i;
    return -1;
}

static fl_status read_dim(const reader *r, const json_t *j, fl_dim *out)
{
    if (json_is_integer(j) && json_integer_value(j) >= 0) {
        *out = json_integer_value(j);
        return FL_OK;
    }
    for (uint32_t i = 0; json_is_string(j) && i < r->g->n_symbols; i++) {
        if (strcmp(r->g->symbols[i], json_string_value(j)) == 0) {
            *out = FL_DIM_SYM(i);
            return FL_OK;
        }
    }
    return wrong(r, "has a dimension that is neither a number nor a symbol of the program");
}

static fl_status read_value(const reader *r, const json_t *j, bool optional, fl_id *out)
{
    *out = json_is_string(j) ? fl_graph_find(r->g, json_string_value(j)) : FL_NONE;
    return *out != FL_NONE || (optional && json_is_null(j)) ? FL_OK : wrong(r, "names a value that the program lacks");
}

/* A non-negative integer up to `max`. */
static fl_status read_int(const reader *r, const json_t *j, int64_t max, int64_t *out)
{
    *out = json_integer_value(j);
    return json_is_integer(j) && *out >= 0 && *out <= max ? FL_OK : wrong(r, "has a number out of range");
}

static fl_status read_segment(const reader *r, const json_t *j, bool *placed, fl_segment *out)
{
    const json_t *nodes = json_object_get(j, "nodes");
    int domain = word_index(json_object_get(j, "domain"), domain_names, FL_COUNT(domain_names));
    const char *symbol = json_string_value(json_object_get(j, "symbol"));
    int64_t phase, bytes, row_bytes;

    if (domain < 0 || !symbol || !json_is_array(nodes))
        return wrong(r, "has a segment without symbol, domain or nodes");
    *out = (fl_segment){.domain = (fl_domain)domain};
    FL_TRY(read_dim(r, json_object_get(j, "dim"), &out->dim));
    FL_TRY(read_value(r, json_object_get(j, "count"), true, &out->count));
    FL_TRY(read_int(r, json_object_get(j, "phase"), UINT16_MAX, &phase));
    FL_TRY(read_int(r, json_object_get(j, "scratch"), INT64_C(1) << 40, &bytes));
    FL_TRY(read_int(r, json_object_get(j, "scratch_row"), 1 << 20, &row_bytes));
    FL_TRY(read_dim(r, json_object_get(j, "scratch_dim"), &out->scratch_dim));
    if ((out->domain == FL_DOMAIN_SLOTS) != (out->count != FL_NONE))
        return wrong(r, "has a segment over slots without their count, or the reverse");
    out->phase = (uint32_t)phase;
    out->scratch_bytes = bytes;
    out->scratch_row_bytes = row_bytes;
    out->symbol = fl_arena_strndup(&r->g->arena, symbol, strlen(symbol));
    out->n_nodes = (uint32_t)json_array_size(nodes);
    out->nodes = fl_arena_new(&r->g->arena, fl_id, out->n_nodes);
    if (!out->symbol || !out->nodes)
        return fl_out_of_memory(r->dg);
    for (uint32_t i = 0; i < out->n_nodes; i++) {
        fl_id v;
        FL_TRY(read_value(r, json_array_get(nodes, i), false, &v));
        fl_id node = fl_value_node(r->g, v);
        if (node == FL_NONE || placed[node])
            return wrong(r, "runs a node twice, or something that is no node");
        placed[node] = true;
        out->nodes[i] = node;
    }
    return FL_OK;
}

static fl_status read_buffer(const reader *r, const json_t *j, fl_buffer *out)
{
    int kind = word_index(json_object_get(j, "kind"), buffer_names, FL_COUNT(buffer_names));
    const char *type = json_string_value(json_object_get(j, "type"));
    int64_t first, last;

    if (kind < 0 || !type || fl_dtype_place(fl_dtype_find(type)) == 0)
        return wrong(r, "has a buffer without kind or type");
    *out = (fl_buffer){.kind = (fl_buffer_kind)kind, .dtype = fl_dtype_find(type)};
    FL_TRY(read_value(r, json_object_get(j, "value"), false, &out->value));
    FL_TRY(read_dim(r, json_object_get(j, "rows"), &out->rows));
    if (json_is_integer(json_object_get(j, "row")) && json_integer_value(json_object_get(j, "row")) == FL_ROW_OF_RUN)
        out->row_elements = FL_ROW_OF_RUN;
    else
        FL_TRY(read_int(r, json_object_get(j, "row"), INT64_C(1) << 40, &out->row_elements));
    FL_TRY(read_int(r, json_object_get(j, "first"), UINT16_MAX, &first));
    FL_TRY(read_int(r, json_object_get(j, "last"), UINT16_MAX, &last));
    out->first_phase = (uint32_t)first;
    out->last_phase = (uint32_t)last;
    return FL_OK;
}

static fl_status read_storage(const reader *r, const json_t *storage)
{
    const char *name;
    json_t *j;

    json_object_foreach((json_t *)(uintptr_t)storage, name, j) {
        fl_id v = fl_graph_find(r->g, name);
        int kind = word_index(json_array_get(j, 0), storage_names, FL_COUNT(storage_names));
        int64_t buffer, offset;
        json_int_t stride = json_integer_value(json_array_get(j, 3));
        if (v == FL_NONE || kind < 0 || stride < FL_STRIDE_DENSE || stride > INT64_C(1) << 40)
            return wrong(r, "places a value that the program lacks, or in no known way");
        FL_TRY(read_int(r, json_array_get(j, 1), INT32_MAX, &buffer));
        FL_TRY(read_int(r, json_array_get(j, 2), INT64_C(1) << 40, &offset));
        if (kind == FL_STORAGE_BUFFER && buffer >= r->s->n_buffers)
            return wrong(r, "places a value in a buffer that it does not have");
        r->s->storage[v] = (fl_storage){(fl_storage_kind)kind, (uint32_t)buffer, offset, stride};
    }
    return FL_OK;
}

static fl_status read_capacity(const reader *r, const json_t *capacity)
{
    const char *name;
    json_t *j;

    json_object_foreach((json_t *)(uintptr_t)capacity, name, j) {
        fl_dim symbol = 0;
        json_t *key = json_string(name);
        fl_status status = read_dim(r, key, &symbol);
        json_decref(key);
        FL_TRY(status);
        if (!FL_DIM_IS_SYM(symbol))
            return wrong(r, "has a capacity of what is no symbol");
        uint32_t s = FL_SYM_OF_DIM(symbol);
        r->s->capacity[s].sum = json_is_object(j);
        const json_t *list = json_is_object(j) ? json_object_get(j, "sum") : j;
        r->s->capacity[s].n_dims = (uint32_t)json_array_size(list);
        r->s->capacity[s].dims = fl_arena_new(&r->g->arena, fl_dim, json_array_size(list) + 1);
        if (!r->s->capacity[s].dims)
            return fl_out_of_memory(r->dg);
        for (uint32_t k = 0; k < r->s->capacity[s].n_dims; k++)
            FL_TRY(read_dim(r, json_array_get(list, k), &r->s->capacity[s].dims[k]));
    }
    return FL_OK;
}

static fl_status read_schedule(const reader *r, const json_t *root)
{
    const json_t *segments = json_object_get(root, "segments"), *buffers = json_object_get(root, "buffers");
    const json_t *storage = json_object_get(root, "storage"), *capacity = json_object_get(root, "capacity");
    fl_arena *a = &r->g->arena;
    fl_schedule *s = r->s;

    if (!json_is_array(segments) || !json_is_array(buffers) || !json_is_object(storage) || !json_is_object(capacity))
        return wrong(r, "lacks segments, buffers, storage or capacity");
    s->segments = fl_arena_new(a, fl_segment, json_array_size(segments));
    s->buffers = fl_arena_new(a, fl_buffer, json_array_size(buffers));
    s->storage = fl_arena_new(a, fl_storage, r->g->n_values);
    s->capacity = fl_arena_calloc(a, r->g->n_symbols, sizeof *s->capacity);
    bool *placed = fl_arena_new(a, bool, r->g->n_nodes);
    if (!s->segments || !s->buffers || !s->storage || !s->capacity || !placed)
        return fl_out_of_memory(r->dg);
    s->n_storage = r->g->n_values;
    s->n_capacity = r->g->n_symbols;
    for (size_t i = 0; i < json_array_size(segments); i++) {
        fl_segment *seg = &s->segments[s->n_segments];
        FL_TRY(read_segment(r, json_array_get(segments, i), placed, seg));
        if (s->n_segments > 0 && seg->phase < seg[-1].phase)
            return wrong(r, "has segments out of the order of their phases");
        s->n_segments++;
        s->n_phases = seg->phase + 1;
    }
    for (fl_id i = 0; i < r->g->n_nodes; i++)
        if (!placed[i] && r->g->nodes[i].op != FL_OP_CONSTANT && r->g->nodes[i].op != FL_OP_NOP)
            return wrong(r, "leaves a node out");
    for (size_t i = 0; i < json_array_size(buffers); i++)
        FL_TRY(read_buffer(r, json_array_get(buffers, i), &s->buffers[s->n_buffers++]));
    FL_TRY(read_storage(r, storage));
    return read_capacity(r, capacity);
}

fl_status fl_schedule_parse(fl_graph *g, const char *json, fl_loc loc, fl_diag *dg)
{
    json_error_t error;
    reader r = {g, loc, dg, fl_arena_new(&g->arena, fl_schedule, 1)};
    if (!r.s)
        return fl_out_of_memory(dg);
    bool no_memory;
    json_t *root = fl_json_load(json, strlen(json), &error, &no_memory);
    if (no_memory)
        return fl_out_of_memory(dg);
    fl_status status = root ? read_schedule(&r, root) : wrong(&r, "is no JSON");
    json_decref(root);
    if (status == FL_OK)
        g->schedule = r.s;
    return status;
}
