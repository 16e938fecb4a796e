/*
 * config_inputs.c -- slots, fields, places in the table.
 */
#include "frontend/config_read.h"

#include <string.h>

static const char *const slot_keys[] = {"name", "column", "optional", "transform", "vocabulary", "rows", "first_id", "min_count",
                                        "pooling", "separator", "padding", "share"};

static int slot_index(const fl_schema *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_slots; i++)
        if (strcmp(s->slots[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* Keys of a slot, or of `defaults`. */
static void read_slot(fl_reader *r, const fl_yaml *map, fl_slot *slot)
{
    static const char *const transforms[] = {"none", "hour_of_day", "weekday", "day", "log_bucket"};
    static const char *const vocabularies[] = {"range", "dict", "hash"};
    static const char *const poolings[] = {"none", "sum", "mean"};
    const fl_yaml *rows = fl_yaml_get(map, "rows");
    int word = 0;
    (void)fl_read_text(r, map, "column", &slot->column);
    (void)fl_read_bool(r, map, "optional", &slot->optional);
    if (FL_READ_WORD(r, map, "transform", transforms, &word))
        slot->transform = (fl_transform)word;
    if (FL_READ_WORD(r, map, "vocabulary", vocabularies, &word))
        slot->vocab = (fl_vocab_kind)word;
    if (rows && rows->kind == FL_YAML_SCALAR && strcmp(rows->text, "auto") == 0)
        slot->rows = 0;
    else
        (void)fl_read_int(r, map, "rows", 1, (int64_t)1 << 40, &slot->rows);
    (void)fl_read_int(r, map, "first_id", INT64_MIN / 2, INT64_MAX / 2, &slot->first_id);
    (void)fl_read_int(r, map, "min_count", 1, INT64_MAX, &slot->min_count);
    if (FL_READ_WORD(r, map, "pooling", poolings, &word))
        slot->pooling = (fl_pooling)word;
    (void)fl_read_text(r, map, "separator", &slot->separator);
    (void)fl_read_int(r, map, "padding", INT64_MIN, INT64_MAX, &slot->padding);
}

/* A range or a hash without a number of rows cannot be placed; only a dictionary's size comes from data. */
static void check_slot(fl_reader *r, const fl_yaml *node, const fl_slot *slot)
{
    static const char *const names[] = {"range", "dict", "hash"};
    const fl_yaml *rows = fl_yaml_get(node, "rows");
    bool absent = fl_is_null(rows) || (rows->kind == FL_YAML_SCALAR && strcmp(rows->text, "auto") == 0); /* a wrong one has been reported */
    if (slot->vocab != FL_VOCAB_DICT && slot->rows == 0 && absent)
        (void)fl_error(r->dg, FL_E_KEY_MISSING, node->loc, "slot \"%s\" needs \"rows\": vocabulary \"%s\" has no size of its own", slot->name,
                       names[slot->vocab]);
    if (slot->separator && slot->pooling == FL_POOL_NONE)
        (void)fl_error(r->dg, FL_E_SIZES, node->loc, "slot \"%s\" has a separator of several values but no pooling", slot->name);
}

/* `share: OTHER` takes the rows of an earlier slot. */
static void share_rows(fl_reader *r, const fl_yaml *node, const fl_schema *s, fl_slot *slot, int *share)
{
    const char *other = NULL;
    if (!fl_read_text(r, node, "share", &other))
        return;
    *share = slot_index(s, other);
    if (*share < 0) {
        (void)fl_error(r->dg, FL_E_WORD_UNKNOWN, fl_place(node, "share"), "slot \"%s\" shares the rows of \"%s\", which is no slot above it",
                       slot->name, other);
        return;
    }
    const fl_slot *from = &s->slots[*share];
    if (from->rows == 0)
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(node, "share"), "slot \"%s\" cannot be shared: its number of rows is not known yet", other);
    slot->vocab = from->vocab;
    slot->rows = from->rows;
    slot->first_id = from->first_id;
}

static void read_slots(fl_reader *r, const fl_yaml *list, const fl_slot *defaults)
{
    fl_schema *s = &r->config->manifest.schema;
    s->slots = fl_arena_new(r->arena, fl_slot, list->n);
    for (uint32_t i = 0; s->slots && i < list->n; i++) {
        const fl_yaml *node = list->items[i];
        fl_slot slot = *defaults;
        int share = -1;
        slot.first_row = -1;
        if (node->kind == FL_YAML_MAP) {
            (void)FL_READ_MAP(r, node, "a slot", slot_keys);
            if (!fl_require(r, node, "a slot", "name") || !fl_read_text(r, node, "name", &slot.name))
                continue;
            slot.column = slot.name;
            read_slot(r, node, &slot);
            share_rows(r, node, s, &slot, &share);
        } else {
            slot.name = slot.column = fl_node_text(r, node, "a slot");
            if (!slot.name)
                continue;
        }
        if (slot_index(s, slot.name) >= 0) {
            (void)fl_error(r->dg, FL_E_NAME_TWICE, node->loc, "two slots are named \"%s\"", slot.name);
            continue;
        }
        check_slot(r, node, &slot);
        slot.first_row = share >= 0 ? -2 - share : -1; /* until fl_config_fields places it */
        s->slots[s->n_slots++] = slot;
    }
}

void fl_config_inputs(fl_reader *r, const fl_yaml *root)
{
    static const char *const keys[] = {"label", "csv_columns", "delimiter", "defaults", "slots"};
    fl_schema *s = &r->config->manifest.schema;
    const fl_yaml *map = fl_yaml_get(root, "inputs");
    fl_slot defaults = {.vocab = FL_VOCAB_DICT, .min_count = 1};
    s->label = "label";
    if (!fl_require(r, root, "the configuration", "inputs") || !FL_READ_MAP(r, map, "\"inputs\"", keys))
        return;
    (void)fl_read_text(r, map, "label", &s->label);
    (void)fl_read_texts(r, map, "csv_columns", &s->csv_columns, &s->n_csv_columns);
    if (fl_read_text(r, map, "delimiter", &s->delimiter) && strlen(s->delimiter) != 1)
        (void)fl_error(r->dg, FL_E_VALUE_RANGE, fl_place(map, "delimiter"), "\"delimiter\" must be one character");
    const fl_yaml *d = fl_yaml_get(map, "defaults");
    if (!fl_is_null(d) && FL_READ_MAP(r, d, "\"defaults\"", slot_keys))
        read_slot(r, d, &defaults);
    const fl_yaml *list = fl_require(r, map, "\"inputs\"", "slots") ? fl_read_list(r, map, "slots") : NULL;
    if (list)
        read_slots(r, list, &defaults);
}

/* ---------------------------------------------------------------------------------------------------- fields */

/* Field of each slot (UINT32_MAX: none yet) and its rank within the order of the fields' lists. */
typedef struct placing {
    uint32_t *field, *rank;
    fl_loc *loc;
    uint32_t n;
} placing;

static void read_field(fl_reader *r, const fl_yaml_pair *pair, uint32_t field, placing *p)
{
    fl_schema *s = &r->config->manifest.schema;
    if (pair->value->kind != FL_YAML_LIST) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, pair->value->loc, "field \"%s\" must be a list of slots", pair->key);
        return;
    }
    for (uint32_t i = 0; i < pair->value->n; i++) {
        const fl_yaml *item = pair->value->items[i];
        const char *name = fl_node_text(r, item, "a slot of a field");
        int slot = name ? slot_index(s, name) : -1;
        if (!name)
            continue;
        if (slot < 0) {
            const char **names = fl_arena_new(r->arena, const char *, s->n_slots);
            for (uint32_t k = 0; names && k < s->n_slots; k++)
                names[k] = s->slots[k].name;
            if (names)
                fl_unknown_word(r, item->loc, "slot", name, names, s->n_slots);
        } else if (p->field[slot] == field) {
            (void)fl_error(r->dg, FL_E_SLOT_TWO_FIELDS, item->loc, "slot \"%s\" stands twice in field \"%s\"", name, pair->key);
        } else if (p->field[slot] != UINT32_MAX) {
            (void)fl_error(r->dg, FL_E_SLOT_TWO_FIELDS, item->loc, "slot \"%s\" stands in two fields, \"%s\" and \"%s\"", name,
                           s->fields[p->field[slot]].name, pair->key);
            fl_hint(r->dg, "the first place is in line %u", p->loc[slot].line);
        } else {
            p->field[slot] = field;
            p->rank[slot] = p->n++;
            p->loc[slot] = item->loc;
        }
    }
    if (pair->value->n == 0)
        (void)fl_error(r->dg, FL_E_SIZES, pair->loc, "field \"%s\" has no slot", pair->key);
}

static void fields_from_map(fl_reader *r, const fl_yaml *map, placing *p)
{
    fl_schema *s = &r->config->manifest.schema;
    if (map->kind != FL_YAML_MAP) {
        (void)fl_error(r->dg, FL_E_VALUE_TYPE, map->loc, "\"fields\" must be a map of field names, each with a list of slots");
        return;
    }
    s->fields = fl_arena_new(r->arena, fl_field, map->n);
    for (uint32_t m = 0; s->fields && m < map->n; m++) {
        s->fields[s->n_fields++].name = map->pairs[m].key;
        read_field(r, &map->pairs[m], m, p);
    }
    for (uint32_t i = 0; i < s->n_slots; i++)
        if (p->field[i] == UINT32_MAX) {
            (void)fl_error(r->dg, FL_E_SLOT_NO_FIELD, map->loc, "slot \"%s\" belongs to no field", s->slots[i].name);
            p->field[i] = 0;
        }
}

static void fields_by_size(fl_reader *r, const char *const *names, const uint32_t *sizes, uint32_t n, placing *p)
{
    fl_schema *s = &r->config->manifest.schema;
    uint32_t slot = 0;
    s->fields = fl_arena_new(r->arena, fl_field, n);
    for (uint32_t m = 0; s->fields && m < n; m++) {
        s->fields[s->n_fields++].name = names[m];
        for (uint32_t i = 0; slot < s->n_slots && (i < sizes[m] || m + 1 == n); i++, slot++) {
            p->field[slot] = m;
            p->rank[slot] = slot;
        }
    }
}

/* Slots into the order of their fields, fields' lists of slots. */
static void sort_slots(fl_reader *r, const placing *p)
{
    fl_schema *s = &r->config->manifest.schema;
    fl_slot *sorted = fl_arena_new(r->arena, fl_slot, s->n_slots);
    uint32_t *to = fl_arena_new(r->arena, uint32_t, s->n_slots), n = 0;
    if (!sorted || !to)
        return;
    for (uint32_t m = 0; m < s->n_fields; m++) {
        s->fields[m].slots = fl_arena_new(r->arena, uint32_t, s->n_slots);
        for (uint32_t rank = 0; s->fields[m].slots && rank < s->n_slots; rank++)
            for (uint32_t i = 0; i < s->n_slots; i++)
                if (p->field[i] == m && p->rank[i] == rank) {
                    s->fields[m].slots[s->fields[m].n_slots++] = n;
                    to[i] = n;
                    sorted[n] = s->slots[i];
                    sorted[n++].field = m;
                }
    }
    for (uint32_t i = 0; i < n; i++)
        if (sorted[i].first_row <= -2)
            sorted[i].first_row = -2 - (int64_t)to[-2 - sorted[i].first_row];
    s->slots = sorted;
}

static void place_slots(fl_schema *s, bool shared)
{
    int64_t next = 0;
    bool known = true;
    for (uint32_t i = 0; i < s->n_slots; i++)
        known = known && s->slots[i].rows > 0;
    for (uint32_t i = 0; i < s->n_slots; i++) {
        if (s->slots[i].first_row <= -2)
            continue;
        s->slots[i].first_row = shared ? 0 : known ? next : -1;
        next = shared ? s->slots[i].rows : next + s->slots[i].rows;
    }
    for (uint32_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].first_row <= -2)
            s->slots[i].first_row = s->slots[-2 - s->slots[i].first_row].first_row;
    s->table_rows = known ? next : 0;
}

void fl_config_fields(fl_reader *r, const fl_yaml *root, const char *const *names, const uint32_t *sizes, uint32_t n, bool shared)
{
    fl_schema *s = &r->config->manifest.schema;
    const fl_yaml *map = fl_yaml_get(root, "fields");
    placing p = {.field = fl_arena_new(r->arena, uint32_t, s->n_slots),
                 .rank = fl_arena_new(r->arena, uint32_t, s->n_slots),
                 .loc = fl_arena_new(r->arena, fl_loc, s->n_slots)};
    if (!p.field || !p.rank || !p.loc || s->n_slots == 0)
        return;
    for (uint32_t i = 0; i < s->n_slots; i++)
        p.field[i] = UINT32_MAX;
    if (!fl_is_null(map))
        fields_from_map(r, map, &p);
    else if (n)
        fields_by_size(r, names, sizes, n, &p);
    else if (r->config->network.groups != FL_GROUPS_FIELDS)
        fields_by_size(r, (const char *const[]){"all"}, (uint32_t[]){0}, 1, &p);
    else
        (void)fl_error(r->dg, FL_E_KEY_MISSING, root->loc, "network \"%s\" needs the key \"fields\"", r->config->network.name);
    bool known = true, shares = false;
    for (uint32_t i = 0; i < s->n_slots; i++) {
        known = known && s->slots[i].rows > 0;
        shares = shares || s->slots[i].first_row <= -2;
    }
    if (shares && !known) /* places of shared rows are numbers, and there are none before all sizes are known */
        (void)fl_error(r->dg, FL_E_SIZES, fl_place(fl_yaml_get(root, "inputs"), "slots"),
                       "slots can share rows only if every slot has a number of \"rows\"");
    if (r->dg->n_errors == 0) {
        sort_slots(r, &p);
        place_slots(s, shared);
    }
}
