/*
 * config_read.c -- typed reading of configuration trees.
 */
#include "frontend/config_read.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool fl_is_null(const fl_yaml *node)
{
    return !node || (node->kind == FL_YAML_SCALAR && !node->quoted &&
                     (node->text[0] == 0 || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0));
}

fl_loc fl_place(const fl_yaml *map, const char *key)
{
    const fl_yaml_pair *pair = fl_yaml_find(map, key);
    return pair ? pair->value->loc : map ? map->loc : FL_NOWHERE;
}

const char *fl_word_list(fl_reader *r, const char *const *words, size_t n)
{
    const char *text = n ? words[0] : "";
    for (size_t i = 1; i < n; i++) {
        const char *longer = fl_arena_printf(r->arena, "%s, %s", text, words[i]);
        text = longer ? longer : text;
    }
    return text;
}

void fl_unknown_word(fl_reader *r, fl_loc loc, const char *what, const char *word, const char *const *words, size_t n)
{
    const char *nearest = fl_nearest(word, words, n);
    (void)fl_error(r->dg, FL_E_WORD_UNKNOWN, loc, "unknown %s \"%s\"", what, word);
    if (nearest)
        fl_hint(r->dg, "did you mean \"%s\"?", nearest);
    else
        fl_hint(r->dg, "there is: %s", fl_word_list(r, words, n));
}

static const char *kind_name(const fl_yaml *node)
{
    static const char *const names[] = {"a single value", "a list", "a map"};
    return names[node->kind];
}

bool fl_read_map(fl_reader *r, const fl_yaml *map, const char *what, const char *const *keys, size_t n)
{
    if (!map)
        return false;
    if (map->kind != FL_YAML_MAP) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, map->loc, "%s must be a map of keys, not %s", what, kind_name(map));
        return false;
    }
    for (uint32_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < n && strcmp(keys[k], map->pairs[i].key) != 0)
            k++;
        if (k < n)
            continue;
        const char *nearest = fl_nearest(map->pairs[i].key, keys, n);
        (void)fl_error(r->dg, FL_E_KEY_UNKNOWN, map->pairs[i].loc, "unknown key \"%s\" in %s", map->pairs[i].key, what);
        if (nearest)
            fl_hint(r->dg, "did you mean \"%s\"?", nearest);
        else
            fl_hint(r->dg, "valid keys: %s", fl_word_list(r, keys, n));
    }
    return true;
}

static const char *substitute(fl_reader *r, const char *text)
{
    static const char mark[] = "{workspace}";
    const char *at;
    while (r->workspace && (at = strstr(text, mark))) {
        const char *next = fl_arena_printf(r->arena, "%.*s%s%s", (int)(at - text), text, r->workspace, at + sizeof mark - 1);
        if (!next || strstr(r->workspace, mark))
            return next ? next : text;
        text = next;
    }
    return text;
}

const char *fl_node_text(fl_reader *r, const fl_yaml *node, const char *what)
{
    if (node->kind == FL_YAML_SCALAR)
        return substitute(r, node->text);
    (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "%s must be text, not %s", what, kind_name(node));
    return NULL;
}

/* The scalar of a key; NULL if absent, null, or (reported) no scalar. */
static const fl_yaml *scalar(fl_reader *r, const fl_yaml *map, const char *key, const char *expected)
{
    const fl_yaml *node = fl_yaml_get(map, key);
    if (fl_is_null(node))
        return NULL;
    if (node->kind == FL_YAML_SCALAR)
        return node;
    (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "\"%s\" must be %s, not %s", key, expected, kind_name(node));
    return NULL;
}

bool fl_read_text(fl_reader *r, const fl_yaml *map, const char *key, const char **out)
{
    const fl_yaml *node = scalar(r, map, key, "text");
    if (!node)
        return false;
    *out = substitute(r, node->text);
    return true;
}

bool fl_read_int(fl_reader *r, const fl_yaml *map, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const fl_yaml *node = scalar(r, map, key, "a whole number");
    if (!node)
        return false;
    char *end = NULL;
    errno = 0;
    long long v = strtoll(node->text, &end, 10);
    if (node->quoted || end == node->text || *end) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "\"%s\" must be a whole number, not \"%s\"", key, node->text);
        return false;
    }
    if (errno == ERANGE || v < min || v > max) {
        if (max == INT64_MAX)
            (void)fl_error(r->dg, FL_E_VALUE_RANGE, node->loc, "\"%s\" is %s, but must be at least %lld", key, node->text, (long long)min);
        else
            (void)fl_error(r->dg, FL_E_VALUE_RANGE, node->loc, "\"%s\" is %s, but must lie between %lld and %lld", key, node->text,
                           (long long)min, (long long)max);
        return false;
    }
    *out = v;
    return true;
}

bool fl_read_real(fl_reader *r, const fl_yaml *map, const char *key, double min, double max, double *out)
{
    const fl_yaml *node = scalar(r, map, key, "a number");
    if (!node)
        return false;
    char *end = NULL; /* quoted numbers too: Python's float() reads them */
    double v = strtod(node->text, &end);
    if (end == node->text || *end || !isfinite(v)) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "\"%s\" must be a number, not \"%s\"", key, node->text);
        return false;
    }
    if (v < min || v > max) {
        if (isinf(max))
            (void)fl_error(r->dg, FL_E_VALUE_RANGE, node->loc, "\"%s\" is %s, but must be at least %g", key, node->text, min);
        else
            (void)fl_error(r->dg, FL_E_VALUE_RANGE, node->loc, "\"%s\" is %s, but must lie between %g and %g", key, node->text, min, max);
        return false;
    }
    *out = v;
    return true;
}

bool fl_read_bool(fl_reader *r, const fl_yaml *map, const char *key, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    const fl_yaml *node = scalar(r, map, key, "true or false");
    if (!node)
        return false;
    for (size_t i = 0; i < FL_COUNT(words) && !node->quoted; i++)
        if (strcasecmp(node->text, words[i]) == 0)
            return *out = i % 2 == 1, true;
    (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "\"%s\" must be true or false, not \"%s\"", key, node->text);
    return false;
}

bool fl_read_word(fl_reader *r, const fl_yaml *map, const char *key, const char *const *words, size_t n, int *out)
{
    const fl_yaml *node = scalar(r, map, key, "a word");
    if (!node)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(node->text, words[i]) == 0)
            return *out = (int)i, true;
    fl_unknown_word(r, node->loc, key, node->text, words, n);
    return false;
}

const fl_yaml *fl_read_list(fl_reader *r, const fl_yaml *map, const char *key)
{
    const fl_yaml *node = fl_yaml_get(map, key);
    if (fl_is_null(node))
        return NULL;
    if (node->kind == FL_YAML_LIST)
        return node;
    (void)fl_error(r->dg, FL_E_VALUE_TYPE, node->loc, "\"%s\" must be a list, not %s", key, kind_name(node));
    return NULL;
}

bool fl_read_texts(fl_reader *r, const fl_yaml *map, const char *key, const char ***out, uint32_t *n)
{
    const fl_yaml *node = fl_yaml_get(map, key);
    if (fl_is_null(node))
        return false;
    fl_yaml *one[] = {(fl_yaml *)(uintptr_t)node};
    fl_yaml **items = node->kind == FL_YAML_LIST ? node->items : one;
    uint32_t count = node->kind == FL_YAML_LIST ? node->n : 1;
    const char **texts = fl_arena_new(r->arena, const char *, count);
    for (uint32_t i = 0; i < count && texts; i++) {
        texts[i] = fl_node_text(r, items[i], key);
        if (!texts[i])
            return false;
    }
    *out = texts;
    *n = texts ? count : 0;
    return texts != NULL;
}

bool fl_require(fl_reader *r, const fl_yaml *map, const char *what, const char *key)
{
    if (!fl_is_null(fl_yaml_get(map, key)))
        return true;
    (void)fl_error(r->dg, FL_E_KEY_MISSING, fl_place(map, key), "%s needs the key \"%s\"", what, key);
    return false;
}
