/*
 * vocabulary.c -- dictionaries as they lie in a file.
 *
 * Layout, little-endian, sections at multiples of 8 bytes, tables at multiples of 64:
 *   header: magic "FLENVOCB", u32 version, u32 slots, u64 bytes in all, u32 CRC-32 of all behind the header, u32 0
 *   for each slot: u64 offset and u64 length of its name, u64 rows, u64 n entries, u64 offset of the entries' ends u64 [n],
 *     u64 offset and u64 bytes of the text, u64 offset and u64 lines of the table
 *   sections: all names; then for each slot ends, text of the entries one after another in the order of ids, table
 *
 * A table is open addressing by cache lines of four places; a text's places are those of its home line, then of the next ones, up to a free place. A
 * place holds a short text itself (8 bytes, nearly all values of click logs), so that a look-up costs one cache miss and no comparison of strings; a longer one is
 * found by 64 bits of hash and then compared. Entries are put in by decreasing count: frequent ones stand in their home lines. Nothing is
 * built on opening. Look-ups check what they read against the sections' bounds, and look at no line twice: bytes that lie give wrong ids, never a crash and never an id
 * beyond the slot's rows; the checksum finds them: this one in a file of its own, in model.bin that of the entry (fl_model_verify_entry).
 */
#include "runtime/vocabulary.h"

#include "runtime/vocabulary_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { CHECK_BYTES = 1 << 20 }; /* larger ones are checked by structure alone: opening must stay in microseconds */

struct fl_vocabulary {
    const char *bytes;
    size_t n_bytes;
    char *owned;    /* malloc'ed */
    void *mapped;
    uint32_t n_slots;
    fl_vocabulary_slot slots[];
};

static uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

__extension__ typedef unsigned __int128 wide;

static uint64_t mix(uint64_t a, uint64_t b)
{
    wide m = (wide)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Two overlapping words of a short text, folded by a wide multiplication; longer texts 16 bytes a round. Reads nothing beyond the text. */
uint64_t fl_text_hash(const char *text, size_t n)
{
    const uint64_t k0 = 0x9e3779b97f4a7c15u, k1 = 0xbf58476d1ce4e5b9u, k2 = 0x94d049bb133111ebu;
    uint64_t a, b, h = k0 ^ n;

    for (; n > 16; text += 16, n -= 16)
        h = mix(load64(text) ^ k1 ^ h, load64(text + 8) ^ k2);
    if (n >= 8) {
        a = load64(text);
        b = load64(text + n - 8);
    } else if (n >= 4) {
        a = load32(text);
        b = load32(text + n - 4);
    } else {
        a = n ? (uint64_t)(unsigned char)text[0] | (uint64_t)(unsigned char)text[n / 2] << 8 | (uint64_t)(unsigned char)text[n - 1] << 16 : 0;
        b = 0;
    }
    return mix(mix(a ^ k1 ^ h, b ^ k2 ^ n), k0 ^ h);
}

bool fl_schema_needs_vocabulary(const fl_schema *schema)
{
    for (uint32_t s = 0; s < schema->n_slots; s++)
        if (schema->slots[s].vocab == FL_VOCAB_DICT || schema->slots[s].rows <= 0)
            return true;
    return false;
}

bool fl_schema_is_bound(const fl_schema *schema)
{
    for (uint32_t s = 0; s < schema->n_slots; s++)
        if (schema->slots[s].rows <= 0 || schema->slots[s].first_row < 0)
            return false;
    return schema->table_rows > 0;
}

static bool inside(uint64_t offset, uint64_t n, uint64_t item, uint64_t total)
{
    return offset <= total && n <= (total - offset) / item;
}

static fl_status damaged(const char *file, const char *what, fl_diag *dg)
{
    return fl_error(dg, FL_E_VOCABULARY, FL_FILE(file), "the vocabulary is damaged: %s", what);
}

static fl_status too_many_rows(const fl_slot *s, int64_t rows, fl_loc at, fl_diag *dg)
{
    return fl_error(dg, FL_E_VOCABULARY_ROWS, at, "slot \"%s\" has %lld rows, its dictionary needs %lld", s->name, (long long)s->rows, (long long)rows);
}

/* Slot k's section headers, checked against the file's size and the schema's slot. */
static fl_status open_slot(fl_vocabulary *v, uint32_t k, const fl_slot *slot, const char *file, fl_diag *dg)
{
    fl_vocabulary_record r;
    fl_vocabulary_slot *to = &v->slots[k];
    uint64_t total = v->n_bytes;

    memcpy(&r, v->bytes + sizeof(fl_vocabulary_header) + k * sizeof r, sizeof r);
    if (!inside(r.name, r.name_bytes, 1, total) || !inside(r.ends, r.n_entries, 8, total) || !inside(r.text, r.text_bytes, 1, total) ||
        !inside(r.table, r.n_lines, FL_VOCABULARY_ALIGN, total) || r.ends % 8 || r.table % 8)
        return damaged(file, "a section lies outside the file", dg);
    if (r.n_lines >= UINT32_MAX || r.n_entries > r.n_lines * FL_VOCABULARY_LINE || r.n_entries >= UINT32_MAX || r.rows > INT64_MAX || r.rows < r.n_entries)
        return damaged(file, "sizes contradict each other", dg);
    if (slot->vocab == FL_VOCAB_DICT && r.rows != r.n_entries + 1)
        return damaged(file, "a dictionary has not as many rows as values", dg);
    if (slot->vocab == FL_VOCAB_DICT && slot->rows > 0 && r.rows > (uint64_t)slot->rows) /* ids would be rows of the next slot */
        return too_many_rows(slot, (int64_t)r.rows, FL_FILE(file), dg);
    size_t n = strlen(slot->name);
    if (r.name_bytes != n || memcmp(v->bytes + r.name, slot->name, n))
        return fl_error(dg, FL_E_VOCABULARY, FL_FILE(file), "the vocabulary's slot %u is \"%.*s\", the model's is \"%s\"", k,
                        r.name_bytes < 60 ? (int)r.name_bytes : 60, v->bytes + r.name, slot->name);
    *to = (fl_vocabulary_slot){
        .rows = (int64_t)r.rows,
        .n_entries = r.n_entries,
        .ends = (const uint64_t *)(const void *)(v->bytes + r.ends),
        .text = v->bytes + r.text,
        .text_bytes = r.text_bytes,
        .table = (const fl_vocabulary_place *)(const void *)(v->bytes + r.table),
        .n_lines = r.n_lines,
    };
    return FL_OK;
}

/* Opened as below, its checksum compared if it has at most `check` bytes. */
static fl_status open_checked(const void *bytes, size_t n, size_t check, const fl_schema *schema, const char *file, fl_vocabulary **out, fl_diag *dg)
{
    fl_vocabulary_header h;
    if (n < sizeof h || memcmp(bytes, FL_VOCABULARY_MAGIC, 8))
        return fl_error(dg, FL_E_VOCABULARY, FL_FILE(file), "this is no vocabulary");
    memcpy(&h, bytes, sizeof h);
    if (h.version != FL_VOCABULARY_VERSION)
        return fl_error(dg, FL_E_VOCABULARY, FL_FILE(file), "the vocabulary has format %u, this program reads %u", h.version, FL_VOCABULARY_VERSION);
    if (h.n_slots != schema->n_slots)
        return fl_error(dg, FL_E_VOCABULARY, FL_FILE(file), "the vocabulary has %u slots, the model %u", h.n_slots, schema->n_slots);
    if (h.bytes != n || (n - sizeof h) / sizeof(fl_vocabulary_record) < h.n_slots)
        return damaged(file, "it is cut short", dg);
    if (n <= check && h.crc != (uint32_t)crc32_z(0, (const unsigned char *)bytes + sizeof h, n - sizeof h))
        return damaged(file, "its checksum is wrong", dg);
    fl_vocabulary *v = calloc(1, sizeof *v + h.n_slots * sizeof v->slots[0]);
    if (!v)
        return fl_out_of_memory(dg);
    v->bytes = bytes;
    v->n_bytes = n;
    v->n_slots = h.n_slots;
    for (uint32_t k = 0; k < h.n_slots; k++) {
        fl_status status = open_slot(v, k, &schema->slots[k], file, dg);
        if (status != FL_OK) {
            free(v);
            return status;
        }
    }
    *out = v;
    return FL_OK;
}

fl_status fl_vocabulary_open(const void *bytes, size_t n, const fl_schema *schema, const char *file, fl_vocabulary **out, fl_diag *dg)
{
    return open_checked(bytes, n, CHECK_BYTES, schema, file, out, dg);
}

fl_status fl_vocabulary_load(const char *path, const fl_schema *schema, fl_vocabulary **out, fl_diag *dg)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(error));
    }
    if (st.st_size == 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fl_error(dg, FL_E_VOCABULARY, FL_FILE(path), "this is no vocabulary");
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    if (map == MAP_FAILED)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot map: %s", strerror(error));
    fl_status status = open_checked(map, (size_t)st.st_size, SIZE_MAX, schema, path, out, dg);
    if (status != FL_OK) {
        munmap(map, (size_t)st.st_size);
        return status;
    }
    (*out)->mapped = map;
    return FL_OK;
}

fl_status fl_vocabulary_adopt(void *bytes, size_t n, const fl_schema *schema, fl_vocabulary **out, fl_diag *dg)
{
    fl_status status = fl_vocabulary_open(bytes, n, schema, "vocabulary", out, dg);
    if (status == FL_OK)
        (*out)->owned = bytes;
    else
        free(bytes);
    return status;
}

void fl_vocabulary_free(fl_vocabulary *v)
{
    if (!v)
        return;
    if (v->mapped)
        munmap(v->mapped, v->n_bytes);
    free(v->owned);
    free(v);
}

/* Entry i's text; *n 0 and "" if the bytes lie. */
static const char *entry(const fl_vocabulary_slot *s, uint64_t i, size_t *n)
{
    uint64_t begin = i ? s->ends[i - 1] : 0, end = s->ends[i];
    *n = 0;
    if (begin > end || end > s->text_bytes)
        return "";
    *n = (size_t)(end - begin);
    return s->text + begin;
}

/* A long text, from its home line on. */
static int64_t find_long(const fl_vocabulary_slot *s, uint64_t key, uint64_t line, const char *text, size_t n)
{
    uint64_t n_places = s->n_lines * FL_VOCABULARY_LINE;

    for (uint64_t i = line * FL_VOCABULARY_LINE, probes = 0; probes < n_places; i = i + 1 < n_places ? i + 1 : 0, probes++) {
        const fl_vocabulary_place *p = &s->table[i];
        size_t bytes;
        if (p->entry == 0)
            return 0;
        if (p->key != key || p->bytes != (uint32_t)n || p->entry > s->n_entries)
            continue;
        const char *known = entry(s, p->entry - 1, &bytes);
        if (bytes == n && !memcmp(known, text, n))
            return p->entry;
    }
    return 0;
}

/* The entry of a line's place if it is the text's, else 0; without a branch, because nobody can guess the place. */
static inline uint32_t match(const fl_vocabulary_place *p, uint64_t key, uint32_t n)
{
    uint64_t apart = (p->key ^ key) | (p->bytes ^ n);
    return p->entry & (uint32_t)(((apart | (0 - apart)) >> 63) - 1);
}

/* A short text, which no two entries share. */
static inline int64_t find_short(const fl_vocabulary_slot *s, uint64_t key, uint64_t line, uint32_t n)
{
    _Static_assert(FL_VOCABULARY_LINE == 4, "places of a line");
    for (uint64_t probes = 0; probes < s->n_lines; probes++) {
        const fl_vocabulary_place *p = &s->table[line * FL_VOCABULARY_LINE];
        uint32_t e = (match(p, key, n) | match(p + 1, key, n)) | (match(p + 2, key, n) | match(p + 3, key, n));
        if (e || p[3].entry == 0)
            return e <= s->n_entries ? e : 0;
        line = line + 1 < s->n_lines ? line + 1 : 0;
    }
    return 0;
}

int64_t fl_vocabulary_find(const fl_vocabulary *v, uint32_t slot, const char *text, size_t n)
{
    const fl_vocabulary_slot *s = &v->slots[slot];
    uint64_t key = fl_vocabulary_key(text, n), line = fl_vocabulary_line(key, n, s->n_lines);

    return n <= FL_VOCABULARY_SHORT ? find_short(s, key, line, (uint32_t)n) : find_long(s, key, line, text, n);
}

void fl_vocabulary_find_all(fl_vocabulary_look_ups *l)
{
    for (uint32_t i = 0, n = l->n; i < n; i++) {
        const fl_vocabulary_look_up *u = &l->at[i];
        *u->row = u->first_row + (u->n <= FL_VOCABULARY_SHORT ? find_short(u->slot, u->key, u->line, u->n) : find_long(u->slot, u->key, u->line, u->text, u->n));
    }
    l->n = 0;
}

const fl_vocabulary_slot *fl_vocabulary_slot_get(const fl_vocabulary *v, uint32_t slot)
{
    return &v->slots[slot];
}

const char *fl_vocabulary_text(const fl_vocabulary *v, uint32_t slot, int64_t id, size_t *n)
{
    *n = 0;
    if (slot >= v->n_slots || id < 1 || (uint64_t)id > v->slots[slot].n_entries)
        return NULL;
    return entry(&v->slots[slot], (uint64_t)id - 1, n);
}

int64_t fl_vocabulary_rows(const fl_vocabulary *v, uint32_t slot)
{
    return slot < v->n_slots ? v->slots[slot].rows : 0;
}

const void *fl_vocabulary_bytes(const fl_vocabulary *v, size_t *n)
{
    *n = v->n_bytes;
    return v->bytes;
}

fl_status fl_vocabulary_bind(const fl_vocabulary *v, fl_schema *schema, fl_diag *dg)
{
    int64_t end = 0;

    for (uint32_t k = 0; k < schema->n_slots; k++) {
        const fl_slot *s = &schema->slots[k];
        int64_t rows = v ? fl_vocabulary_rows(v, k) : 0;
        if (s->rows <= 0 && rows == 0)
            return fl_error(dg, FL_E_UNBOUND, FL_NOWHERE, "the rows of slot \"%s\" are not known: no data has been seen", s->name);
        if (s->rows > 0 && s->vocab == FL_VOCAB_DICT && rows > s->rows)
            return too_many_rows(s, rows, FL_NOWHERE, dg);
    }
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        fl_slot *s = &schema->slots[k];
        if (s->rows <= 0)
            s->rows = fl_vocabulary_rows(v, k);
        if (s->rows > INT64_MAX / 4 || s->first_row > INT64_MAX / 4)
            return fl_error(dg, FL_E_ROW_SPACE, FL_NOWHERE, "slot \"%s\" has %lld rows", s->name, (long long)s->rows);
        if (s->first_row >= 0 && s->first_row + s->rows > end)
            end = s->first_row + s->rows;
    }
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        fl_slot *s = &schema->slots[k];
        if (s->first_row >= 0)
            continue;
        if (end > INT64_MAX / 2)
            return fl_error(dg, FL_E_ROW_SPACE, FL_NOWHERE, "the table has %lld rows before slot \"%s\"", (long long)end, s->name);
        s->first_row = end;
        end += s->rows;
    }
    if (schema->table_rows < end)
        schema->table_rows = end;
    return FL_OK;
}
