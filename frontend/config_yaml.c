/*
 * config_yaml.c -- libyaml's events to a tree.
 *
 * Events and not libyaml's document: a document copies nothing but also bounds nothing, and its recursion limit is not ours. An anchor is
 * known only once its node is complete, so that no cycle can arise.
 */
#include "frontend/config_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 32, MAX_NODES = 100000, MAX_BYTES = 16 << 20 };

typedef struct anchor {
    const char *name;
    fl_yaml *node;
} anchor;

typedef struct reader {
    yaml_parser_t yaml;
    const char *file;
    fl_arena *arena;
    fl_diag *dg;
    anchor *anchors;
    uint32_t n_anchors, anchors_capacity;
    uint32_t n_nodes;
} reader;

static fl_loc place(const reader *r, const yaml_mark_t *mark)
{
    return (fl_loc){r->file, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

static fl_status syntax_error(reader *r)
{
    const yaml_parser_t *y = &r->yaml;
    if (y->error == YAML_MEMORY_ERROR)
        return fl_out_of_memory(r->dg);
    if (y->error == YAML_READER_ERROR) /* libyaml gives an offset only */
        return fl_error(r->dg, FL_E_YAML, FL_FILE(r->file), "not YAML: %s at byte %zu", y->problem, y->problem_offset);
    return fl_error(r->dg, FL_E_YAML, place(r, &y->problem_mark), "not YAML: %s%s%s", y->context ? y->context : "",
                    y->context ? ", " : "", y->problem ? y->problem : "syntax error");
}

static fl_status next_event(reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->yaml, event) ? FL_OK : syntax_error(r);
}

static fl_yaml *new_node(reader *r, fl_yaml_kind kind, const yaml_event_t *event)
{
    fl_yaml *node = fl_arena_new(r->arena, fl_yaml, 1);
    if (node)
        *node = (fl_yaml){.kind = kind, .loc = place(r, &event->start_mark)};
    return node;
}

static fl_status read_node(reader *r, yaml_event_t *event, int depth, fl_yaml **out);

const fl_yaml_pair *fl_yaml_find(const fl_yaml *map, const char *key)
{
    for (uint32_t i = 0; map && map->kind == FL_YAML_MAP && i < map->n; i++)
        if (strcmp(map->pairs[i].key, key) == 0)
            return &map->pairs[i];
    return NULL;
}

fl_yaml *fl_yaml_get(const fl_yaml *map, const char *key)
{
    const fl_yaml_pair *pair = fl_yaml_find(map, key);
    return pair ? pair->value : NULL;
}

static fl_status read_list(reader *r, fl_yaml *list, int depth)
{
    for (;;) {
        yaml_event_t event;
        fl_yaml *item = NULL;
        FL_TRY(next_event(r, &event));
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return FL_OK;
        }
        FL_TRY(read_node(r, &event, depth + 1, &item));
        if (!FL_PUSH(r->arena, list->items, list->n, list->capacity, item))
            return fl_out_of_memory(r->dg);
    }
}

/* `<<: *base` or `<<: [*a, *b]`: keys of the other maps that this one lacks. */
static fl_status merge(reader *r, fl_yaml *map, const fl_yaml *from, fl_loc loc)
{
    if (from->kind == FL_YAML_LIST) {
        for (uint32_t i = 0; i < from->n; i++) {
            if (from->items[i]->kind != FL_YAML_MAP)
                return fl_error(r->dg, FL_E_YAML, loc, "<< merges maps only");
            FL_TRY(merge(r, map, from->items[i], loc));
        }
        return FL_OK;
    }
    if (from->kind != FL_YAML_MAP)
        return fl_error(r->dg, FL_E_YAML, loc, "<< merges maps only");
    for (uint32_t i = 0; i < from->n; i++) {
        if (++r->n_nodes > MAX_NODES)
            return fl_error(r->dg, FL_E_YAML_LIMIT, loc, "more than %d values", MAX_NODES);
        if (!fl_yaml_find(map, from->pairs[i].key) &&
            !FL_PUSH(r->arena, map->pairs, map->n, map->capacity, from->pairs[i]))
            return fl_out_of_memory(r->dg);
    }
    return FL_OK;
}

static fl_status read_map(reader *r, fl_yaml *map, int depth)
{
    fl_yaml *merged = NULL;
    fl_loc merge_loc = FL_NOWHERE;
    for (;;) {
        yaml_event_t event;
        fl_yaml *key = NULL, *value = NULL;
        FL_TRY(next_event(r, &event));
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return merged ? merge(r, map, merged, merge_loc) : FL_OK;
        }
        FL_TRY(read_node(r, &event, depth + 1, &key));
        FL_TRY(next_event(r, &event));
        FL_TRY(read_node(r, &event, depth + 1, &value));
        if (key->kind != FL_YAML_SCALAR)
            return fl_error(r->dg, FL_E_YAML, key->loc, "a key must be a single word, not a list or map");
        const fl_yaml_pair *first = fl_yaml_find(map, key->text);
        if (first) { /* goes on: further errors come out in the same run */
            (void)fl_error(r->dg, FL_E_KEY_TWICE, key->loc, "key \"%s\" stands twice in this map", key->text);
            fl_hint(r->dg, "the first one is in line %u", first->loc.line);
            continue;
        }
        if (!key->quoted && strcmp(key->text, "<<") == 0) {
            merged = value;
            merge_loc = key->loc;
            continue;
        }
        fl_yaml_pair pair = {key->text, key->loc, value};
        if (!FL_PUSH(r->arena, map->pairs, map->n, map->capacity, pair))
            return fl_out_of_memory(r->dg);
    }
}

static fl_status find_anchor(reader *r, const yaml_event_t *event, fl_yaml **out)
{
    for (uint32_t i = r->n_anchors; i-- > 0;) /* the newest of a name */
        if (strcmp(r->anchors[i].name, (const char *)event->data.alias.anchor) == 0)
            return *out = r->anchors[i].node, FL_OK;
    return fl_error(r->dg, FL_E_YAML, place(r, &event->start_mark), "anchor \"%s\" is not defined above",
                    (const char *)event->data.alias.anchor);
}

static fl_status read_scalar(reader *r, const yaml_event_t *event, fl_yaml **out)
{
    const char *text = (const char *)event->data.scalar.value, *tag = (const char *)event->data.scalar.tag;
    fl_yaml *node = new_node(r, FL_YAML_SCALAR, event);
    if (!node)
        return fl_out_of_memory(r->dg);
    if (strlen(text) != event->data.scalar.length)
        return fl_error(r->dg, FL_E_YAML, node->loc, "a NUL character in a value");
    node->text = fl_arena_strndup(r->arena, text, event->data.scalar.length);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && strcmp(tag, YAML_STR_TAG) == 0);
    if (!node->text)
        return fl_out_of_memory(r->dg);
    *out = node;
    return FL_OK;
}

/* The node that starts with `event`, which is consumed. */
static fl_status read_node(reader *r, yaml_event_t *event, int depth, fl_yaml **out)
{
    fl_status status = FL_OK;
    fl_yaml *node = NULL;
    const yaml_char_t *name = NULL;
    if (depth > MAX_DEPTH || ++r->n_nodes > MAX_NODES) {
        status = depth > MAX_DEPTH
                     ? fl_error(r->dg, FL_E_YAML_LIMIT, place(r, &event->start_mark), "nested deeper than %d levels", MAX_DEPTH)
                     : fl_error(r->dg, FL_E_YAML_LIMIT, place(r, &event->start_mark), "more than %d values", MAX_NODES);
        yaml_event_delete(event);
        return status;
    }
    if (event->type == YAML_ALIAS_EVENT) {
        status = find_anchor(r, event, &node);
    } else if (event->type == YAML_SCALAR_EVENT) {
        name = event->data.scalar.anchor;
        status = read_scalar(r, event, &node);
    } else {
        bool list = event->type == YAML_SEQUENCE_START_EVENT;
        name = list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
        node = new_node(r, list ? FL_YAML_LIST : FL_YAML_MAP, event);
        status = !node ? fl_out_of_memory(r->dg) : list ? read_list(r, node, depth) : read_map(r, node, depth);
    }
    if (status == FL_OK && name) {
        anchor a = {fl_arena_strndup(r->arena, (const char *)name, strlen((const char *)name)), node};
        if (!a.name || !FL_PUSH(r->arena, r->anchors, r->n_anchors, r->anchors_capacity, a))
            status = fl_out_of_memory(r->dg);
    }
    yaml_event_delete(event);
    if (status == FL_OK)
        *out = node;
    return status;
}

/* Stream start, document start, the node, document end, stream end. */
static fl_status read_stream(reader *r, fl_yaml **out)
{
    yaml_event_t event;
    fl_yaml *root = NULL;
    for (int head = 0; head < 2; head++) {
        FL_TRY(next_event(r, &event));
        bool empty = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (empty)
            return fl_error(r->dg, FL_E_YAML, FL_FILE(r->file), "the configuration is empty");
    }
    FL_TRY(next_event(r, &event));
    FL_TRY(read_node(r, &event, 0, &root));
    FL_TRY(next_event(r, &event)); /* the document's end */
    yaml_event_delete(&event);
    FL_TRY(next_event(r, &event));
    fl_loc loc = place(r, &event.start_mark);
    bool second = event.type != YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
    if (second)
        return fl_error(r->dg, FL_E_YAML, loc, "a second document starts here; a configuration is one");
    *out = root;
    return FL_OK;
}

fl_status fl_yaml_read(const char *text, size_t n, const char *file, fl_arena *arena, fl_yaml **out, fl_diag *dg)
{
    reader r = {.file = file, .arena = arena, .dg = dg};
    if (n > MAX_BYTES)
        return fl_error(dg, FL_E_YAML_LIMIT, FL_FILE(file), "%zu bytes are no configuration; the limit is %d", n, MAX_BYTES);
    if (!yaml_parser_initialize(&r.yaml))
        return fl_out_of_memory(dg);
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, n);
    fl_status status = read_stream(&r, out);
    yaml_parser_delete(&r.yaml);
    return status;
}

/* ------------------------------------------------------------------------------------------------- overrides */

/* VALUE as a scalar or list if it reads as one, else as text. */
static fl_status read_value(const char *value, const char *set, fl_arena *arena, fl_yaml **out, fl_diag *dg)
{
    fl_diag ignored;
    fl_diag_init(&ignored);
    fl_yaml *node = NULL;
    fl_status status = fl_yaml_read(value, strlen(value), set, arena, &node, &ignored);
    fl_diag_deinit(&ignored);
    if (status == FL_NO_MEMORY)
        return fl_out_of_memory(dg);
    if (status != FL_OK || node->kind == FL_YAML_MAP) {
        node = fl_arena_new(arena, fl_yaml, 1);
        if (!node)
            return fl_out_of_memory(dg);
        *node = (fl_yaml){.kind = FL_YAML_SCALAR, .text = value, .quoted = true};
    }
    node->loc = FL_FILE(set);
    for (uint32_t i = 0; node->kind == FL_YAML_LIST && i < node->n; i++)
        node->items[i]->loc = FL_FILE(set);
    *out = node;
    return FL_OK;
}

/* The place that `key` names in node: an existing value, or in a map a new one if it is the last key. */
static fl_status step(fl_yaml *node, const char *key, bool last, const char *set, fl_arena *arena, fl_yaml ***out, fl_diag *dg)
{
    if (node->kind == FL_YAML_LIST) {
        char *end = NULL;
        unsigned long i = strtoul(key, &end, 10);
        if (*key < '0' || *key > '9' || *end)
            return fl_error(dg, FL_E_SET, FL_FILE(set), "\"%s\" is not the number of an entry", key);
        if (i >= node->n)
            return fl_error(dg, FL_E_SET, FL_FILE(set), "there is no entry %s; the list has %u, counted from 0", key, node->n);
        *out = &node->items[i];
        return FL_OK;
    }
    if (node->kind == FL_YAML_SCALAR)
        return fl_error(dg, FL_E_SET, FL_FILE(set), "\"%s\" leads into a single value", key);
    for (uint32_t i = 0; i < node->n; i++)
        if (strcmp(node->pairs[i].key, key) == 0) {
            node->pairs[i].loc = FL_FILE(set);
            return *out = &node->pairs[i].value, FL_OK;
        }
    fl_yaml_pair pair = {key, FL_FILE(set), NULL};
    if (!last) { /* a section that the file does not have yet */
        pair.value = fl_arena_new(arena, fl_yaml, 1);
        if (!pair.value)
            return fl_out_of_memory(dg);
        *pair.value = (fl_yaml){.kind = FL_YAML_MAP, .loc = FL_FILE(set)};
    }
    if (!FL_PUSH(arena, node->pairs, node->n, node->capacity, pair))
        return fl_out_of_memory(dg);
    *out = &node->pairs[node->n - 1].value;
    return FL_OK;
}

fl_status fl_yaml_set(fl_yaml *root, const char *set, fl_arena *arena, fl_diag *dg)
{
    const char *equals = strchr(set, '='), *at = set;
    fl_yaml *value = NULL, **target = &root;
    if (!equals || equals == set)
        return fl_error(dg, FL_E_SET, FL_FILE(set), "an override reads KEY.PATH=VALUE");
    const char *file = fl_arena_printf(arena, "--set %s", set);
    if (!file)
        return fl_out_of_memory(dg);
    while (at < equals) {
        const char *dot = memchr(at, '.', (size_t)(equals - at));
        const char *end = dot ? dot : equals;
        const char *key = fl_arena_strndup(arena, at, (size_t)(end - at));
        if (!key)
            return fl_out_of_memory(dg);
        FL_TRY(step(*target, key, end == equals, file, arena, &target, dg));
        at = end + 1;
    }
    FL_TRY(read_value(equals + 1, file, arena, &value, dg));
    *target = value;
    return FL_OK;
}
