/*
 * vocabulary_build.c -- counting values, and laying the dictionaries out.
 *
 * A slot's counter is an open-addressing table of (hash, count, text in an arena). Each thread has counters of its
 * own; merging adds them. The result depends on counts and texts alone, so neither threads nor order matter.
 */
#include "runtime/vocabulary_format.h"

#include "ir/base/arena.h"
#include "runtime/reader_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct counted {
    uint64_t hash;
    int64_t count; /* 0: free */
    const char *text;
    size_t n;
} counted;

typedef struct counter {
    counted *places; /* [n_places], a power of two */
    uint64_t n_places, n_used;
    int64_t largest; /* id of an auto RANGE slot, + 1 - first_id */
} counter;

struct fl_vocabulary_builder {
    const fl_schema *schema;
    fl_arena texts;
    counter counters[];
};

fl_status fl_vocabulary_builder_new(const fl_schema *schema, fl_vocabulary_builder **out)
{
    fl_vocabulary_builder *b = calloc(1, sizeof *b + schema->n_slots * sizeof b->counters[0]);
    if (!b)
        return FL_NO_MEMORY;
    b->schema = schema;
    fl_arena_init(&b->texts);
    *out = b;
    return FL_OK;
}

void fl_vocabulary_builder_free(fl_vocabulary_builder *b)
{
    if (!b)
        return;
    for (uint32_t k = 0; k < b->schema->n_slots; k++)
        free(b->counters[k].places);
    fl_arena_deinit(&b->texts);
    free(b);
}

static bool grow(counter *c)
{
    uint64_t n = c->n_places ? 2 * c->n_places : 64;
    counted *places = calloc(n, sizeof *places);
    if (!places)
        return false;
    for (uint64_t i = 0; i < c->n_places; i++) {
        if (!c->places[i].count)
            continue;
        uint64_t j = c->places[i].hash & (n - 1);
        while (places[j].count)
            j = (j + 1) & (n - 1);
        places[j] = c->places[i];
    }
    free(c->places);
    c->places = places;
    c->n_places = n;
    return true;
}

static bool add(fl_vocabulary_builder *b, uint32_t slot, const char *text, size_t n, uint64_t hash, int64_t count)
{
    counter *c = &b->counters[slot];
    if (2 * (c->n_used + 1) > c->n_places && !grow(c))
        return false;
    uint64_t i = hash & (c->n_places - 1);
    for (; c->places[i].count; i = (i + 1) & (c->n_places - 1)) {
        if (c->places[i].hash == hash && c->places[i].n == n && !memcmp(c->places[i].text, text, n)) {
            c->places[i].count += count;
            return true;
        }
    }
    const char *copy = fl_arena_strndup(&b->texts, text, n);
    if (!copy)
        return false;
    c->places[i] = (counted){hash, count, copy, n};
    c->n_used++;
    return true;
}

bool fl_vocabulary_builder_add(fl_vocabulary_builder *b, uint32_t slot, const char *text, size_t n)
{
    return add(b, slot, text, n, fl_text_hash(text, n), 1);
}

void fl_vocabulary_builder_add_id(fl_vocabulary_builder *b, uint32_t slot, int64_t id)
{
    uint64_t rows = (uint64_t)id - (uint64_t)b->schema->slots[slot].first_id + 1;
    if (rows <= INT64_MAX / 4 && (int64_t)rows > b->counters[slot].largest)
        b->counters[slot].largest = (int64_t)rows;
}

/* Add the counts of `other`. */
static fl_status merge(fl_vocabulary_builder *b, const fl_vocabulary_builder *other)
{
    for (uint32_t k = 0; k < b->schema->n_slots; k++) {
        const counter *c = &other->counters[k];
        if (c->largest > b->counters[k].largest)
            b->counters[k].largest = c->largest;
        for (uint64_t i = 0; i < c->n_places; i++) {
            const counted *p = &c->places[i];
            if (p->count && !add(b, k, p->text, p->n, p->hash, p->count))
                return FL_NO_MEMORY;
        }
    }
    return FL_OK;
}

/* Decreasing count, then text by its bytes. */
static int by_count(const void *va, const void *vb)
{
    const counted *a = va, *b = vb;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int r = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return r ? r : (a->n > b->n) - (a->n < b->n);
}

/* The values of a slot that get ids, in their order; *n of them. NULL: out of memory. */
static counted *select_values(const counter *c, const fl_slot *slot, uint64_t *n)
{
    counted *list = malloc((c->n_used + 1) * sizeof *list);
    if (!list)
        return NULL;
    uint64_t k = 0;
    for (uint64_t i = 0; i < c->n_places; i++)
        if (c->places[i].count && c->places[i].count >= slot->min_count)
            list[k++] = c->places[i];
    qsort(list, k, sizeof *list, by_count);
    if (slot->rows > 0 && k > (uint64_t)slot->rows - 1)
        k = (uint64_t)slot->rows - 1;
    *n = k < UINT32_MAX - 1 ? k : UINT32_MAX - 1;
    return list;
}

typedef struct plan {
    fl_vocabulary_record record;
    counted *values;
} plan;

/* A section of `bytes` at the next multiple of `align`. */
static uint64_t place_section(uint64_t *end, uint64_t bytes, uint64_t align)
{
    uint64_t at = (*end + align - 1) / align * align;
    *end = at + bytes;
    return at;
}

/* Sizes and places of all sections. Names stand together, behind the records: opening reads these pages and no other. */
static fl_status plan_sections(const fl_vocabulary_builder *b, plan *plans, uint64_t *total)
{
    const fl_schema *schema = b->schema;
    uint64_t end = sizeof(fl_vocabulary_header) + schema->n_slots * sizeof(fl_vocabulary_record);
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        plans[k].record.name_bytes = strlen(schema->slots[k].name);
        plans[k].record.name = place_section(&end, plans[k].record.name_bytes, 8);
    }
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        const fl_slot *slot = &schema->slots[k];
        fl_vocabulary_record *r = &plans[k].record;
        r->rows = slot->vocab == FL_VOCAB_RANGE ? (uint64_t)b->counters[k].largest : (uint64_t)slot->rows;
        r->text = r->ends = r->table = (end + 7) / 8 * 8;
        if (slot->vocab != FL_VOCAB_DICT)
            continue;
        plans[k].values = select_values(&b->counters[k], slot, &r->n_entries);
        if (!plans[k].values)
            return FL_NO_MEMORY;
        r->rows = r->n_entries + 1;
        for (uint64_t i = 0; i < r->n_entries; i++)
            r->text_bytes += plans[k].values[i].n;
        r->n_lines = r->n_entries / FL_VOCABULARY_LINE_LOAD + 1;
        r->ends = place_section(&end, 8 * r->n_entries, 8);
        r->text = place_section(&end, r->text_bytes, 8);
        r->table = place_section(&end, FL_VOCABULARY_ALIGN * r->n_lines, FL_VOCABULARY_ALIGN);
    }
    *total = (end + FL_VOCABULARY_ALIGN - 1) / FL_VOCABULARY_ALIGN * FL_VOCABULARY_ALIGN;
    return FL_OK;
}

static void write_slot(char *bytes, const plan *p, const char *name)
{
    const fl_vocabulary_record *r = &p->record;
    memcpy(bytes + r->name, name, r->name_bytes);
    uint64_t *ends = (uint64_t *)(void *)(bytes + r->ends), n_places = r->n_lines * FL_VOCABULARY_LINE, end = 0;
    fl_vocabulary_place *table = (fl_vocabulary_place *)(void *)(bytes + r->table);
    for (uint64_t i = 0; i < r->n_entries; i++) {
        const counted *v = &p->values[i];
        memcpy(bytes + r->text + end, v->text, v->n);
        ends[i] = end += v->n;
        uint64_t key = fl_vocabulary_key(v->text, v->n), j = fl_vocabulary_line(key, v->n, r->n_lines) * FL_VOCABULARY_LINE;
        while (table[j].entry)
            j = j + 1 < n_places ? j + 1 : 0;
        table[j] = (fl_vocabulary_place){key, (uint32_t)(i + 1), (uint32_t)v->n};
    }
}

fl_status fl_vocabulary_builder_finish(const fl_vocabulary_builder *b, fl_vocabulary **out, fl_diag *dg)
{
    uint32_t n = b->schema->n_slots;
    uint64_t total = 0;
    plan *plans = calloc(n + 1, sizeof *plans);
    char *bytes = NULL;
    fl_status status = plans ? plan_sections(b, plans, &total) : FL_NO_MEMORY;
    if (status == FL_OK && !(bytes = aligned_alloc(FL_VOCABULARY_ALIGN, total)))
        status = FL_NO_MEMORY;
    if (status == FL_OK) {
        memset(bytes, 0, total);
        fl_vocabulary_header h = {.version = FL_VOCABULARY_VERSION, .n_slots = n, .bytes = total};
        memcpy(h.magic, FL_VOCABULARY_MAGIC, sizeof h.magic);
        for (uint32_t k = 0; k < n; k++) {
            memcpy(bytes + sizeof h + k * sizeof plans[k].record, &plans[k].record, sizeof plans[k].record);
            write_slot(bytes, &plans[k], b->schema->slots[k].name);
        }
        h.crc = (uint32_t)crc32_z(0, (unsigned char *)bytes + sizeof h, total - sizeof h);
        memcpy(bytes, &h, sizeof h);
    }
    for (uint32_t k = 0; k < n && plans; k++)
        free(plans[k].values);
    free(plans);
    if (status != FL_OK)
        return fl_out_of_memory(dg);
    return fl_vocabulary_adopt(bytes, total, b->schema, out, dg);
}

/* Run the counting reader over one path. */
static fl_status count_path(const char *path, const fl_schema *schema, fl_vocabulary_builder *const *builders, const fl_reader_options *o,
                            int64_t *rows, fl_diag *dg)
{
    fl_reader *reader;
    fl_batch batch;
    if (fl_batch_init(&batch, schema) != FL_OK)
        return fl_out_of_memory(dg);
    fl_status status = fl_reader_open_counting(path, schema, builders, o, &reader, dg);
    if (status == FL_OK) {
        do {
            status = fl_reader_next(reader, &batch, dg);
        } while (status == FL_OK && batch.n);
        fl_reader_stats stats;
        fl_reader_stats_get(reader, &stats);
        *rows += stats.rows + stats.bad_rows;
        fl_reader_close(reader);
    }
    fl_batch_deinit(&batch);
    return status;
}

fl_status fl_vocabulary_build(const char *const *paths, size_t n_paths, const fl_schema *schema, uint32_t quirks, uint32_t threads,
                              bool strict, fl_vocabulary **out, int64_t *rows, fl_diag *dg)
{
    enum { MOST = 16 };
    fl_vocabulary_builder *builders[MOST] = {0};
    fl_reader_options o = {.batch = 4096, .threads = threads < MOST ? threads : MOST, .strict = strict, .quirks = quirks};
    uint32_t n = o.threads ? o.threads : 1;
    int64_t total = 0;
    fl_status status = FL_OK;

    for (uint32_t i = 0; i < n && status == FL_OK; i++)
        status = fl_vocabulary_builder_new(schema, &builders[i]);
    if (status != FL_OK)
        (void)fl_out_of_memory(dg);
    for (size_t i = 0; i < n_paths && status == FL_OK; i++)
        status = count_path(paths[i], schema, builders, &o, &total, dg);
    for (uint32_t i = 1; i < n && status == FL_OK; i++)
        if ((status = merge(builders[0], builders[i])) != FL_OK)
            (void)fl_out_of_memory(dg);
    if (status == FL_OK)
        status = fl_vocabulary_builder_finish(builders[0], out, dg);
    if (status == FL_OK && rows)
        *rows = total;
    for (uint32_t i = 0; i < n; i++)
        fl_vocabulary_builder_free(builders[i]);
    return status;
}
