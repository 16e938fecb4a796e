/*
 * manifest.c -- the manifest as JSON, out and in.
 *
 * One table of members for each structure says name, kind and place; printing and parsing walk the same tables, so that what is
 * written is what is read. The parser trusts nothing: a model file may be damaged, or written by hand.
 */
#include "ir/manifest.h"
#include "ir/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind {
    TEXT,      /* const char *; NULL is written as "" */
    TEXT_NULL, /* const char *, null allowed */
    BOOL,
    INT64, /* >= min */
    UINT32,
    UINT64,
    INT, /* a plain int, >= min */
    REAL,      /* a finite double */
    REAL_NULL, /* a double; null is NaN */
    WORD,      /* an enum, by its words */
    TEXTS,     /* const char **, with a uint32_t count at `count` */
    INDICES,   /* uint32_t *, likewise */
    OBJECT,    /* structure of `members` in place */
    OBJECTS    /* pointer to `size`d structures of `members`, with a uint32_t count */
} kind;

typedef struct member {
    const char *name;
    kind kind;
    size_t at, count, size;
    int64_t min;
    bool may_be_missing; /* in files of older versions: it stays as fl_manifest_init left it */
    const struct member *members; /* ended by a NULL name */
    const char *const *words;     /* ended by NULL */
} member;

#define AT(type, field) .name = #field, .at = offsetof(type, field)
#define END             {.name = NULL}

static const char *const style_words[] = {"flen", "paddlerec-1.8", "paddlerec-2", NULL};
static const char *const transform_words[] = {"none", "hour_of_day", "weekday", "day", "log_bucket", NULL};
static const char *const vocab_words[] = {"range", "dict", "hash", NULL};
static const char *const pooling_words[] = {"none", "sum", "mean", NULL};
_Static_assert(FL_STYLE_PADDLEREC_2 == 2 && FL_TRANSFORM_LOG_BUCKET == 4 && FL_VOCAB_HASH == 2 && FL_POOL_MEAN == 2,
               "words stand in the order of their enums");
_Static_assert(sizeof(fl_config_style) == sizeof(int), "words are read and written as ints");

static const member slot_members[] = {
    {AT(fl_slot, name), .kind = TEXT},
    {AT(fl_slot, field), .kind = UINT32},
    {AT(fl_slot, column), .kind = TEXT_NULL},
    {AT(fl_slot, optional), .kind = BOOL},
    {AT(fl_slot, transform), .kind = WORD, .words = transform_words},
    {AT(fl_slot, vocab), .kind = WORD, .words = vocab_words},
    {AT(fl_slot, rows), .kind = INT64},
    {AT(fl_slot, first_id), .kind = INT64, .min = INT64_MIN},
    {AT(fl_slot, first_row), .kind = INT64, .min = -1},
    {AT(fl_slot, min_count), .kind = INT64},
    {AT(fl_slot, pooling), .kind = WORD, .words = pooling_words},
    {AT(fl_slot, separator), .kind = TEXT_NULL},
    {AT(fl_slot, padding), .kind = INT64, .min = INT64_MIN},
    END,
};

static const member field_members[] = {
    {AT(fl_field, name), .kind = TEXT},
    {AT(fl_field, slots), .kind = INDICES, .count = offsetof(fl_field, n_slots)},
    END,
};

static const member schema_members[] = {
    {AT(fl_schema, slots), .kind = OBJECTS, .count = offsetof(fl_schema, n_slots), .size = sizeof(fl_slot), .members = slot_members},
    {AT(fl_schema, fields), .kind = OBJECTS, .count = offsetof(fl_schema, n_fields), .size = sizeof(fl_field), .members = field_members},
    {AT(fl_schema, table_rows), .kind = INT64},
    {AT(fl_schema, label), .kind = TEXT_NULL},
    {AT(fl_schema, csv_columns), .kind = TEXTS, .count = offsetof(fl_schema, n_csv_columns)},
    {AT(fl_schema, delimiter), .kind = TEXT_NULL},
    {AT(fl_schema, comma_columns), .kind = TEXTS, .count = offsetof(fl_schema, n_comma_columns)},
    END,
};

static const member dataset_members[] = {
    {AT(fl_dataset, name), .kind = TEXT},
    {AT(fl_dataset, type), .kind = TEXT},
    {AT(fl_dataset, data_path), .kind = TEXT_NULL},
    {AT(fl_dataset, batch_size), .kind = INT64, .min = 1},
    END,
};

static const member phase_members[] = {
    {AT(fl_phase, name), .kind = TEXT},
    {AT(fl_phase, dataset), .kind = UINT32},
    {AT(fl_phase, thread_num), .kind = INT64, .min = 1},
    {AT(fl_phase, shuffle_filelist), .kind = BOOL},
    {AT(fl_phase, gradient_scale), .kind = INT},
    END,
};

static const member runner_members[] = {
    {AT(fl_runner, name), .kind = TEXT},
    {AT(fl_runner, train), .kind = BOOL},
    {AT(fl_runner, epochs), .kind = INT64},
    {AT(fl_runner, print_interval), .kind = INT64},
    {AT(fl_runner, init_model_path), .kind = TEXT_NULL},
    {AT(fl_runner, save_checkpoint_interval), .kind = INT64, .min = -1},
    {AT(fl_runner, save_inference_interval), .kind = INT64, .min = -1},
    {AT(fl_runner, save_step_interval), .kind = INT64, .min = -1},
    {AT(fl_runner, save_checkpoint_path), .kind = TEXT_NULL},
    {AT(fl_runner, save_inference_path), .kind = TEXT_NULL},
    {AT(fl_runner, save_step_path), .kind = TEXT_NULL},
    {AT(fl_runner, feed_names), .kind = TEXTS, .count = offsetof(fl_runner, n_feed_names)},
    {AT(fl_runner, fetch_names), .kind = TEXTS, .count = offsetof(fl_runner, n_fetch_names)},
    {AT(fl_runner, result_dump_path), .kind = TEXT_NULL},
    {AT(fl_runner, phases), .kind = OBJECTS, .count = offsetof(fl_runner, n_phases), .size = sizeof(fl_phase), .members = phase_members},
    {AT(fl_runner, infer_start_epoch), .kind = INT64},
    {AT(fl_runner, infer_end_epoch), .kind = INT64},
    {AT(fl_runner, use_auc), .kind = BOOL},
    {AT(fl_runner, valid_path), .kind = TEXT_NULL},
    {AT(fl_runner, patience), .kind = INT64},
    {AT(fl_runner, plateau_factor), .kind = REAL},
    {AT(fl_runner, min_rate_factor), .kind = REAL},
    {AT(fl_runner, keep_best), .kind = BOOL},
    END,
};

static const member progress_members[] = {
    {AT(fl_progress, steps), .kind = INT64},
    {AT(fl_progress, epochs), .kind = INT64},
    {AT(fl_progress, epoch_step), .kind = INT64},
    {AT(fl_progress, rows), .kind = INT64},
    {AT(fl_progress, rate_factor), .kind = REAL},
    {AT(fl_progress, best_auc), .kind = REAL_NULL},
    {AT(fl_progress, epochs_without_gain), .kind = INT64},
    {AT(fl_progress, train_auc), .kind = REAL_NULL},
    {AT(fl_progress, train_logloss), .kind = REAL_NULL},
    {AT(fl_progress, valid_auc), .kind = REAL_NULL},
    {AT(fl_progress, valid_logloss), .kind = REAL_NULL},
    END,
};

static const member manifest_members[] = {
    {AT(fl_manifest, version), .kind = TEXT_NULL},
    {AT(fl_manifest, network), .kind = TEXT_NULL},
    {AT(fl_manifest, style), .kind = WORD, .words = style_words},
    {AT(fl_manifest, quirks), .kind = UINT32},
    {AT(fl_manifest, seed), .kind = UINT64},
    {AT(fl_manifest, log), .kind = TEXT_NULL},
    {AT(fl_manifest, source_name), .kind = TEXT_NULL},
    {AT(fl_manifest, source_text), .kind = TEXT_NULL},
    {AT(fl_manifest, schema), .kind = OBJECT, .members = schema_members},
    {AT(fl_manifest, datasets), .kind = OBJECTS, .count = offsetof(fl_manifest, n_datasets), .size = sizeof(fl_dataset), .members = dataset_members},
    {AT(fl_manifest, runners), .kind = OBJECTS, .count = offsetof(fl_manifest, n_runners), .size = sizeof(fl_runner), .members = runner_members},
    {AT(fl_manifest, store_folds), .kind = BOOL, .may_be_missing = true},
    {AT(fl_manifest, parameters), .kind = INT64},
    {AT(fl_manifest, progress), .kind = OBJECT, .members = progress_members},
    END,
};

void fl_manifest_init(fl_manifest *m)
{
    *m = (fl_manifest){.progress = {.rate_factor = 1, .best_auc = NAN, .train_auc = NAN, .train_logloss = NAN,
                                    .valid_auc = NAN, .valid_logloss = NAN}};
    fl_arena_init(&m->arena);
}

void fl_manifest_deinit(fl_manifest *m)
{
    fl_arena_deinit(&m->arena);
}

/* -------------------------------------------------------------------------------------------------- printing */

static json_t *print_object(const char *base, const member *members);

static uint32_t count_of(const char *base, const member *m)
{
    return *(const uint32_t *)(const void *)(base + m->count);
}

static json_t *print_text(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *print_list(const char *base, const member *m)
{
    json_t *list = json_array();
    const char *items = *(const char *const *)(const void *)(base + m->at);
    for (uint32_t i = 0; list && i < count_of(base, m); i++) {
        json_t *item;
        if (m->kind == TEXTS)
            item = print_text(((const char *const *)(const void *)items)[i]);
        else if (m->kind == INDICES)
            item = json_integer(((const uint32_t *)(const void *)items)[i]);
        else
            item = print_object(items + i * m->size, m->members);
        if (json_array_append_new(list, item) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *print_member(const char *base, const member *m)
{
    const void *at = base + m->at;
    switch (m->kind) {
    case TEXT:
        return json_string(*(const char *const *)at ? *(const char *const *)at : "");
    case TEXT_NULL:
        return print_text(*(const char *const *)at);
    case BOOL:
        return json_boolean(*(const bool *)at);
    case INT64:
        return json_integer(*(const int64_t *)at);
    case UINT32:
        return json_integer(*(const uint32_t *)at);
    case UINT64: /* above 2^63 a negative number with the same bits */
        return json_integer((json_int_t) * (const uint64_t *)at);
    case INT:
        return json_integer(*(const int *)at);
    case REAL:
    case REAL_NULL:
        return isfinite(*(const double *)at) ? json_real(*(const double *)at) : json_null();
    case WORD:
        return json_string(m->words[*(const int *)at]);
    case OBJECT:
        return print_object(at, m->members);
    case TEXTS:
    case INDICES:
    case OBJECTS:
        return print_list(base, m);
    }
    return NULL;
}

static json_t *print_object(const char *base, const member *members)
{
    json_t *object = json_object();
    for (const member *m = members; object && m->name; m++) {
        if (json_object_set_new(object, m->name, print_member(base, m)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

char *fl_manifest_print(const fl_manifest *m)
{
    json_t *root = json_object(), *body = print_object((const char *)m, manifest_members);
    char *text = NULL;
    if (root && body && json_object_set_new(root, "format", json_integer(FL_MANIFEST_FORMAT)) == 0 &&
        json_object_update(root, body) == 0)
        text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(17) | JSON_PRESERVE_ORDER);
    json_decref(root);
    json_decref(body);
    return text;
}

/* --------------------------------------------------------------------------------------------------- parsing */

typedef struct parser {
    fl_arena *arena;
    fl_loc loc;
    fl_diag *dg;
} parser;

enum { MAX_PATH_TEXT = 200 };

static fl_status wrong(parser *p, const char *path, const char *expected)
{
    return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"%s\" is not %s", path, expected);
}

static fl_status parse_object(parser *p, const json_t *json, const char *path, char *base, const member *members);

static fl_status parse_text(parser *p, const json_t *json, const char *path, bool null, const char **out)
{
    if (null && json_is_null(json))
        return *out = NULL, FL_OK;
    if (!json_is_string(json))
        return wrong(p, path, null ? "text or null" : "text");
    *out = fl_arena_strndup(p->arena, json_string_value(json), json_string_length(json));
    return *out ? FL_OK : fl_out_of_memory(p->dg);
}

static fl_status parse_integer(parser *p, const json_t *json, const char *path, int64_t min, int64_t max, int64_t *out)
{
    if (!json_is_integer(json) || json_integer_value(json) < min || json_integer_value(json) > max)
        return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"%s\" is not an integer from %lld to %lld", path, (long long)min, (long long)max);
    *out = json_integer_value(json);
    return FL_OK;
}

static fl_status parse_list(parser *p, const json_t *json, const char *path, char *base, const member *m)
{
    static const size_t item_size[] = {[TEXTS] = sizeof(char *), [INDICES] = sizeof(uint32_t)};
    fl_status status = FL_OK;
    if (!json_is_array(json) || json_array_size(json) > UINT32_MAX)
        return wrong(p, path, "a list");
    size_t n = json_array_size(json), size = m->kind == OBJECTS ? m->size : item_size[m->kind];
    char *items = fl_arena_calloc(p->arena, n, size);
    if (!items)
        return fl_out_of_memory(p->dg);
    for (size_t i = 0; i < n; i++) {
        char place[MAX_PATH_TEXT];
        fl_status s = FL_OK;
        snprintf(place, sizeof place, "%.150s.%zu", path, i);
        const json_t *item = json_array_get(json, i);
        void *at = items + i * size;
        if (m->kind == TEXTS) {
            s = parse_text(p, item, place, false, at);
        } else if (m->kind == INDICES) {
            int64_t index = 0;
            s = parse_integer(p, item, place, 0, UINT32_MAX, &index);
            *(uint32_t *)at = (uint32_t)index;
        } else {
            s = parse_object(p, item, place, at, m->members);
        }
        if (s != FL_OK)
            status = s;
    }
    *(void **)(void *)(base + m->at) = items;
    *(uint32_t *)(void *)(base + m->count) = (uint32_t)n;
    return status;
}

static fl_status parse_word(parser *p, const json_t *json, const char *path, const member *m, int *out)
{
    const char *text = json_string_value(json);
    for (int i = 0; text && m->words[i]; i++)
        if (strcmp(text, m->words[i]) == 0)
            return *out = i, FL_OK;
    return wrong(p, path, "one of the words of this version");
}

static fl_status parse_member(parser *p, const json_t *json, const char *path, char *base, const member *m)
{
    void *at = base + m->at;
    int64_t i = 0;
    switch (m->kind) {
    case TEXT:
    case TEXT_NULL:
        return parse_text(p, json, path, m->kind == TEXT_NULL, at);
    case BOOL:
        if (!json_is_boolean(json))
            return wrong(p, path, "true or false");
        *(bool *)at = json_is_true(json);
        return FL_OK;
    case INT64:
        return parse_integer(p, json, path, m->min, INT64_MAX, at);
    case UINT32:
        FL_TRY(parse_integer(p, json, path, 0, UINT32_MAX, &i));
        *(uint32_t *)at = (uint32_t)i;
        return FL_OK;
    case UINT64:
        FL_TRY(parse_integer(p, json, path, INT64_MIN, INT64_MAX, &i));
        *(uint64_t *)at = (uint64_t)i;
        return FL_OK;
    case INT:
        FL_TRY(parse_integer(p, json, path, m->min, INT32_MAX, &i));
        *(int *)at = (int)i;
        return FL_OK;
    case REAL:
    case REAL_NULL:
        if (m->kind == REAL_NULL && json_is_null(json))
            return *(double *)at = NAN, FL_OK;
        if (!json_is_number(json))
            return wrong(p, path, "a number");
        *(double *)at = json_number_value(json);
        return FL_OK;
    case WORD:
        return parse_word(p, json, path, m, at);
    case OBJECT:
        return parse_object(p, json, path, at, m->members);
    case TEXTS:
    case INDICES:
    case OBJECTS:
        return parse_list(p, json, path, base, m);
    }
    return FL_OK;
}

static bool is_member(const member *members, const char *name, bool root)
{
    for (const member *m = members; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return true;
    return root && strcmp(name, "format") == 0;
}

static fl_status parse_object(parser *p, const json_t *json, const char *path, char *base, const member *members)
{
    fl_status status = FL_OK;
    char place[MAX_PATH_TEXT];
    if (!json_is_object(json))
        return wrong(p, path, "an object");
    for (const member *m = members; m->name; m++) {
        snprintf(place, sizeof place, "%.150s%s%.40s", path, path[0] ? "." : "", m->name);
        const json_t *item = json_object_get(json, m->name);
        if (!item && m->may_be_missing)
            continue;
        fl_status s = item ? parse_member(p, item, place, base, m)
                           : fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"%s\" is missing", place);
        if (s != FL_OK)
            status = s;
    }
    for (void *i = json_object_iter((json_t *)(uintptr_t)json); i; i = json_object_iter_next((json_t *)(uintptr_t)json, i)) {
        if (is_member(members, json_object_iter_key(i), path[0] == 0))
            continue;
        snprintf(place, sizeof place, "%.150s%s%.40s", path, path[0] ? "." : "", json_object_iter_key(i));
        status = fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"%s\" is no key of this version", place);
    }
    return status;
}

/* What the tables cannot say: indices, ranges of rows, slots that stand in exactly their field. */
static fl_status check_schema(parser *p, const fl_schema *s)
{
    uint32_t n_listed = 0;
    for (uint32_t m = 0; m < s->n_fields; m++)
        for (uint32_t i = 0; i < s->fields[m].n_slots; i++) {
            uint32_t slot = s->fields[m].slots[i];
            if (slot >= s->n_slots || s->slots[slot].field != m)
                return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"schema.fields.%u.slots.%u\" is %u, which is no slot of this field",
                                m, i, slot);
            n_listed++;
        }
    for (uint32_t i = 0; i < s->n_slots; i++) {
        const fl_slot *slot = &s->slots[i];
        if (slot->field >= s->n_fields)
            return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"schema.slots.%u.field\" is %u of %u fields", i, slot->field, s->n_fields);
        if (s->table_rows > 0 && (slot->first_row < 0 || slot->rows > s->table_rows - slot->first_row))
            return fl_error(p->dg, FL_E_MANIFEST, p->loc,
                            "manifest: %lld rows from row %lld of slot \"%s\" lie outside the table of %lld rows",
                            (long long)slot->rows, (long long)slot->first_row, slot->name, (long long)s->table_rows);
    }
    if (n_listed != s->n_slots)
        return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: %u slots, but fields list %u", s->n_slots, n_listed);
    return FL_OK;
}

static fl_status check(parser *p, const fl_manifest *m)
{
    FL_TRY(check_schema(p, &m->schema));
    for (uint32_t r = 0; r < m->n_runners; r++)
        for (uint32_t i = 0; i < m->runners[r].n_phases; i++)
            if (m->runners[r].phases[i].dataset >= m->n_datasets)
                return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: \"runners.%u.phases.%u.dataset\" is %u of %u datasets", r, i,
                                m->runners[r].phases[i].dataset, m->n_datasets);
    return FL_OK;
}

static fl_status parse_root(parser *p, fl_manifest *m, const json_t *root)
{
    const json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format))
        return fl_error(p->dg, FL_E_MANIFEST, p->loc, "manifest: there is no format number");
    if (json_integer_value(format) != FL_MANIFEST_FORMAT)
        return fl_error(p->dg, FL_E_MANIFEST_FORMAT, p->loc, "the manifest has format %lld, this version reads %d",
                        (long long)json_integer_value(format), FL_MANIFEST_FORMAT);
    FL_TRY(parse_object(p, root, "", (char *)m, manifest_members));
    return check(p, m);
}

fl_status fl_manifest_parse(fl_manifest *m, const char *json, size_t n, fl_loc loc, fl_diag *dg)
{
    parser p = {&m->arena, loc, dg};
    json_error_t error;
    bool no_memory;
    json_t *root = fl_json_load(json, n, &error, &no_memory);
    if (no_memory)
        return fl_out_of_memory(dg);
    if (!root)
        return fl_error(dg, FL_E_MANIFEST, loc, "manifest: no JSON at byte %d: %s", error.position, error.text);
    fl_status status = parse_root(&p, m, root);
    json_decref(root);
    return status;
}
