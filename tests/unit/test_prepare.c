/* From generated raw CSV through vocabulary and caches: what the cache gives is what the text gives. Oracle: the text reader. */
#include "data_support.h"

#include "ir/crc32c.h"
#include "runtime/cache_file.h"
#include "runtime/threads.h"
#include "runtime/generate.h"
#include "runtime/prepare.h"
#include "runtime/vocabulary_format.h"

#include <math.h>
#include <zlib.h>

static void avazu_schema(test_schema *t)
{
    static const char *names[] = {"C1", "banner_pos", "site_id", "app_id", "device_ip", "C14"};
    *t = (test_schema){0};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        add_slot(t, names[i], 0);
        t->slots[i].vocab = FL_VOCAB_DICT;
        t->slots[i].first_row = -1;
        t->slots[i].min_count = 2;
    }
    add_slot(t, "hour", 0);
    t->slots[6].vocab = FL_VOCAB_RANGE;
    t->slots[6].rows = 24;
    t->slots[6].first_row = -1;
    t->slots[6].transform = FL_TRANSFORM_HOUR_OF_DAY;
    t->s.table_rows = 0;
}

static const char *raw_rows(fl_generate_result *r)
{
    fl_diag dg;
    fl_diag_init(&dg);
    const char *path = scratch_path("raw.csv");
    fl_generate_options o = {.rows = 20000, .ids = 1000, .skew = 1, .seed = 3, .path = path};
    assert_int_equal(fl_generate(&o, r, &dg), FL_OK);
    fl_diag_deinit(&dg);
    return path;
}

static void cache_equals_text(void **state)
{
    (void)state;
    fl_generate_result made;
    fl_prepare_result r;
    test_schema t;
    fl_diag dg;
    fl_batch text, cached, rest, one;
    const char *paths[] = {raw_rows(&made)};
    avazu_schema(&t);
    fl_diag_init(&dg);
    fl_prepare_options o = {.paths = paths, .n_paths = 1, .folder = scratch_path("prepared"), .split = FL_SPLIT_FROM,
                            .column = "hour", .from = "141030", .threads = 2};
    assert_int_equal(fl_prepare(&t.s, &o, &r, &dg), FL_OK);
    assert_int_equal(r.train_rows, 18000); /* ten days, in order: the last is a tenth */
    assert_int_equal(r.valid_rows, 2000);
    assert_true(fl_schema_is_bound(&t.s));
    fl_reader_options ro = {.need_label = true, .batch = 777};
    assert_int_equal(read_all(paths[0], &t.s, r.vocabulary, &ro, &text, NULL, &dg), FL_OK);
    ro.threads = 3;
    assert_int_equal(read_all(paths[0], &t.s, r.vocabulary, &ro, &one, NULL, &dg), FL_OK);
    assert_batches_equal(&text, &one); /* whatever the threads */
    assert_int_equal(read_all(scratch_path("prepared/train"), &t.s, r.vocabulary, &ro, &cached, NULL, &dg), FL_OK);
    assert_int_equal(read_all(scratch_path("prepared/valid"), &t.s, r.vocabulary, &ro, &rest, NULL, &dg), FL_OK);
    assert_int_equal(fl_batch_append(&cached, &rest, 0, rest.n, 18000), FL_OK);
    assert_batches_equal(&text, &cached);
    int64_t positives = 0;
    for (int64_t i = 0; i < text.n; i++)
        positives += text.label[i] != 0;
    assert_int_equal(positives, made.positives);
    fl_vocabulary *loaded; /* the file says the same */
    assert_int_equal(fl_vocabulary_load(scratch_path("prepared/vocabulary"), &t.s, &loaded, &dg), FL_OK);
    size_t n, n_loaded;
    const void *bytes = fl_vocabulary_bytes(r.vocabulary, &n), *again = fl_vocabulary_bytes(loaded, &n_loaded);
    assert_int_equal(n, n_loaded);
    assert_memory_equal(bytes, again, n);
    fl_vocabulary_free(loaded);
    fl_vocabulary_free(r.vocabulary);
    fl_batch_deinit(&text);
    fl_batch_deinit(&cached);
    fl_batch_deinit(&rest);
    fl_batch_deinit(&one);
    fl_diag_deinit(&dg);
}

static void ids_by_count_then_text(void **state)
{
    (void)state;
    test_schema t = {0};
    fl_diag dg;
    fl_vocabulary *v;
    int64_t rows;
    add_slot(&t, "a", 0);
    t.slots[0] = (fl_slot){.name = "a", .vocab = FL_VOCAB_DICT, .first_row = -1, .min_count = 2};
    t.s.table_rows = 0;
    fl_diag_init(&dg);
    const char *path = write_text("dict.csv", "click,a\n0,z\n0,b\n0,rare\n1,z\n0,b\n0,c\n0,c\n0,c\n0,\n1,\n");
    assert_int_equal(fl_vocabulary_build(&path, 1, &t.s, 0, 2, false, &v, &rows, &dg), FL_OK);
    assert_int_equal(rows, 10);
    assert_int_equal(fl_vocabulary_find(v, 0, "c", 1), 1);
    assert_int_equal(fl_vocabulary_find(v, 0, "", 0), 2);
    assert_int_equal(fl_vocabulary_find(v, 0, "b", 1), 3);
    assert_int_equal(fl_vocabulary_find(v, 0, "z", 1), 4);
    assert_int_equal(fl_vocabulary_find(v, 0, "rare", 4), 0);
    assert_int_equal(fl_vocabulary_rows(v, 0), 5);
    assert_int_equal(fl_vocabulary_bind(v, &t.s, &dg), FL_OK);
    assert_int_equal(t.s.table_rows, 5);
    fl_vocabulary_free(v);
    fl_diag_deinit(&dg);
}

/* Look-ups that are done together find what single ones find: in a dictionary, in an empty one, more of them than wait at once, text that is not known. */
static void look_ups_together(void **state)
{
    enum { N = 1000, KNOWN = 300 };
    static char text[N][16];
    static int64_t rows[N];
    fl_vocabulary_look_ups later = {.n = 0};
    fl_vocabulary_builder *b;
    fl_vocabulary *v;
    test_schema t = {0};
    (void)state;

    add_slot(&t, "full", 0);
    add_slot(&t, "empty", 0);
    for (uint32_t k = 0; k < 2; k++)
        t.slots[k] = (fl_slot){.name = t.slots[k].name, .vocab = FL_VOCAB_DICT, .first_row = -1, .min_count = 1};
    assert_int_equal(fl_vocabulary_builder_new(&t.s, &b), FL_OK);
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "%.*s%d", i % 9, "abcdefghi", i % (2 * KNOWN)); /* of up to 11 bytes; half of them known */
        if (i < KNOWN)
            assert_true(fl_vocabulary_builder_add(b, 0, text[i], strlen(text[i])));
    }
    assert_int_equal(fl_vocabulary_builder_finish(b, &v, NULL), FL_OK);
    for (int i = 0; i < N; i++)
        fl_vocabulary_find_later(&later, fl_vocabulary_slot_get(v, i % 10 == 0), text[i], strlen(text[i]), 7, &rows[i]);
    fl_vocabulary_find_all(&later);
    assert_int_equal(later.n, 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rows[i], 7 + fl_vocabulary_find(v, i % 10 == 0, text[i], strlen(text[i])));
        assert_true(i >= KNOWN || i % 10 == 0 || rows[i] > 7);
    }
    fl_vocabulary_builder_free(b);
    fl_vocabulary_free(v);
}

/*
 * Ids that are looked up later are those of their own rows: among rows that fail behind their first look-ups, quoted ones, texts of all lengths and more rows than
 * fit at first; as CSV and as slot text. Oracle: values one by one.
 */
static void look_ups_of_many_rows(void **state)
{
    enum { N = 5000, VALUES = 700 };
    static const int64_t hash_rows[] = {2, 1000003, ((int64_t)1 << 40) + 7};
    char *text[2] = {malloc(N * 128), malloc(N * 128)};
    fl_vocabulary_builder *b;
    fl_vocabulary *v;
    test_schema t = {0};
    (void)state;

    for (int k = 0; k < 3; k++)
        add_slot(&t, (const char *[]){"a", "number", "c"}[k], 10);
    for (uint32_t k = 0; k < FL_COUNT(hash_rows); k++) {
        add_slot(&t, (const char *[]){"h0", "h1", "h2"}[k], hash_rows[k]);
        t.slots[3 + k].vocab = FL_VOCAB_HASH;
    }
    t.slots[0].vocab = t.slots[2].vocab = FL_VOCAB_DICT;
    t.slots[0].rows = t.slots[2].rows = 0;
    t.slots[2].first_row = 100000;
    assert_int_equal(fl_vocabulary_builder_new(&t.s, &b), FL_OK);
    char value[VALUES][16];
    for (int i = 0; i < VALUES; i++) {
        snprintf(value[i], sizeof value[i], "%.*s%d", i % 11, "abcdefghijk", i);
        if (i % 3)
            assert_true(fl_vocabulary_builder_add(b, i % 3 == 1 ? 0 : 2, value[i], strlen(value[i])));
    }
    assert_int_equal(fl_vocabulary_builder_finish(b, &v, NULL), FL_OK);
    t.slots[0].rows = fl_vocabulary_rows(v, 0), t.slots[2].rows = fl_vocabulary_rows(v, 2);
    size_t n[2];
    n[0] = (size_t)sprintf(text[0], "click,a,number,c,h0,h1,h2\n"), n[1] = 0;
    for (int i = 0; i < N; i++) {
        const char *x = value[i * 7 % VALUES], *y = value[i * 13 % VALUES], *number = i % 5 == 3 ? "x" : "4", *quote = i % 6 == 1 ? "\"" : "";
        n[0] += (size_t)sprintf(text[0] + n[0], "%d,%s%s%s,%s,%s%s%s,%s,%s,%s\n", i % 2, quote, x, quote, number, quote, y, quote, x, y, x);
        n[1] += (size_t)sprintf(text[1] + n[1], "click:%d a:%s number:%s c:%s h0:%s h1:%s h2:%s\n", i % 2, x, number, y, x, y, x);
    }
    for (int format = 0; format < 2; format++) {
        for (int keep = 0; keep < 2; keep++) {
            fl_batch all;
            fl_diag dg;
            fl_diag_init(&dg);
            fl_reader_options o = {.need_label = true, .keep_bad_rows = keep, .threads = 2};
            assert_int_equal(read_all(write_file("many", text[format], n[format]), &t.s, v, &o, &all, NULL, &dg), FL_OK);
            assert_int_equal(all.n, keep ? N : N - N / 5);
            for (int64_t j = 0; j < all.n; j++) {
                int64_t i = all.row[j], *ids = all.ids + j * 6;
                const char *x = value[i * 7 % VALUES], *y = value[i * 13 % VALUES];
                size_t nx = strlen(x), ny = strlen(y);
                assert_int_equal(all.bad[j], i % 5 == 3);
                int64_t good[] = {fl_vocabulary_find(v, 0, x, nx), 4, fl_vocabulary_find(v, 2, y, ny), (int64_t)(fl_text_hash(x, nx) % (uint64_t)hash_rows[0]),
                                  (int64_t)(fl_text_hash(y, ny) % (uint64_t)hash_rows[1]), (int64_t)(fl_text_hash(x, nx) % (uint64_t)hash_rows[2])};
                for (uint32_t k = 0; k < 6; k++)
                    assert_int_equal(ids[k], t.slots[k].first_row + (all.bad[j] ? 0 : good[k]));
                assert_true(all.bad[j] || (ids[0] > 0) == (i * 7 % VALUES % 3 == 1));
            }
            fl_batch_deinit(&all);
            fl_diag_deinit(&dg);
        }
    }
    fl_vocabulary_builder_free(b);
    fl_vocabulary_free(v);
    free(text[0]);
    free(text[1]);
}

/* Any flipped byte of a vocabulary or a cache is a diagnostic. */
static void damage_is_reported(void **state)
{
    (void)state;
    fl_generate_result made;
    fl_prepare_result r;
    test_schema t;
    fl_diag dg;
    const char *paths[] = {raw_rows(&made)};
    avazu_schema(&t);
    fl_diag_init(&dg);
    fl_prepare_options o = {.paths = paths, .n_paths = 1, .folder = scratch_path("damaged")};
    assert_int_equal(fl_prepare(&t.s, &o, &r, &dg), FL_OK);
    static const char *files[] = {"damaged/vocabulary", "damaged/train"};
    for (size_t f = 0; f < 2; f++) {
        static unsigned char bytes[2 << 20];
        FILE *in = fopen(scratch_path(files[f]), "rb");
        size_t n = fread(bytes, 1, sizeof bytes, in);
        fclose(in);
        for (size_t at = 8; at < n; at += at < 72 ? 1 : 4096 + n / 31) {
            if (f == 1 && at >= 72 && at < 4096)
                continue; /* the header's padding means nothing */
            bytes[at] ^= 0x10;
            const char *path = write_file("flipped", bytes, n);
            fl_vocabulary *v = NULL;
            fl_batch b = {0};
            fl_reader_options ro = {.need_label = true};
            fl_status status = f == 0 ? fl_vocabulary_load(path, &t.s, &v, &dg) : read_all(path, &t.s, r.vocabulary, &ro, &b, NULL, &dg);
            if (f == 0 && at >= 28 && at < 32)
                fl_vocabulary_free(status == FL_OK ? v : NULL); /* reserved */
            else
                assert_int_equal(status, FL_BAD_INPUT);
            if (status != FL_OK)
                assert_int_equal(dg.entries[0].code, f == 0 ? FL_E_VOCABULARY : FL_E_CACHE);
            fl_batch_deinit(&b);
            fl_diag_clear(&dg);
            bytes[at] ^= 0x10;
        }
    }
    /* text that is none at all, and a slot with fewer rows than its dictionary has values */
    fl_vocabulary *none = NULL;
    assert_int_equal(fl_vocabulary_open("click,hour", 10, &t.s, "v", &none, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_VOCABULARY);
    assert_string_equal(dg.entries[0].text, "this is no vocabulary");
    fl_diag_clear(&dg);
    t.slots[0].rows = 1;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(k ? fl_vocabulary_load(scratch_path("damaged/vocabulary"), &t.s, &none, &dg) : fl_vocabulary_bind(r.vocabulary, &t.s, &dg), FL_BAD_INPUT);
        assert_int_equal(dg.entries[0].code, FL_E_VOCABULARY_ROWS);
        assert_non_null(strstr(dg.entries[0].text, "slot \"C1\" has 1 rows, its dictionary needs "));
        fl_diag_clear(&dg);
    }
    t.slots[0].rows = 0;
    /* bytes that lie with a right checksum: the last value's id would be a row of the next slot */
    size_t n;
    const void *whole = fl_vocabulary_bytes(r.vocabulary, &n);
    fl_vocabulary_header head;
    fl_vocabulary_record record;
    char *lying = malloc(n);
    memcpy(lying, whole, n);
    memcpy(&head, lying, sizeof head);
    memcpy(&record, lying + sizeof head, sizeof record);
    record.rows = record.n_entries;
    memcpy(lying + sizeof head, &record, sizeof record);
    head.crc = (uint32_t)crc32_z(0, (unsigned char *)lying + sizeof head, n - sizeof head);
    memcpy(lying, &head, sizeof head);
    assert_int_equal(fl_vocabulary_open(lying, n, &t.s, "v", &none, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "the vocabulary is damaged: a dictionary has not as many rows as values");
    fl_diag_clear(&dg);
    free(lying);
    fl_vocabulary_free(r.vocabulary);
    fl_diag_deinit(&dg);
}

/* Slots of every width, from no bit at all: what a cache of more than one block gives back is what was written. */
static void ids_of_any_width(void **state)
{
    static const int64_t rows[] = {1, 2, INT32_MAX, 3, 4, 5, 255, 256, 257, 65536, 1, (1 << 24) + 1, 1 << 30, INT32_MAX, 7};
    enum { N = 5000, SLOTS = FL_COUNT(rows) };
    fl_cache_writer *w;
    fl_batch b, back;
    fl_diag dg;
    test_schema t = {0};
    (void)state;

    fl_diag_init(&dg);
    for (uint32_t k = 0; k <= SLOTS; k++) {
        static char names[SLOTS + 1][8];
        snprintf(names[k], sizeof names[k], "s%u", k);
        add_slot(&t, names[k], k < SLOTS ? rows[k] : 1000);
        t.slots[k].first_row = k < SLOTS && rows[k] == INT32_MAX ? 0 : 11 * k;
    }
    t.slots[SLOTS].pooling = FL_POOL_SUM;
    t.s.table_rows = INT32_MAX;
    assert_int_equal(fl_batch_init(&b, &t.s), FL_OK);
    assert_int_equal(fl_batch_reserve(&b, N), FL_OK);
    for (int64_t i = 0; i < N; i++) {
        for (uint32_t k = 0; k < SLOTS; k++) {
            int64_t id = i % 3 == 0 ? rows[k] - 1 : i % 3 == 1 ? 0 : (i * 2654435761 + k * 40503) % rows[k];
            b.ids[i * SLOTS + k] = t.slots[k].first_row + id;
        }
        b.label[i] = (float)(i % 5) / 4;
        b.row[i] = i, b.bad[i] = b.part[i] = 0;
        for (int64_t k = 0; k < i % 4; k++) {
            assert_int_equal(fl_batch_reserve_values(&b, 0, 1), FL_OK);
            b.bags[0].values[b.bags[0].n_values++] = t.slots[SLOTS].first_row + i % 1000;
        }
        b.bags[0].offsets[i + 1] = b.bags[0].n_values;
    }
    b.n = N;
    const char *path = scratch_path("wide");
    assert_int_equal(fl_cache_create(path, &t.s, NULL, &w, &dg), FL_OK);
    assert_int_equal(fl_cache_write(w, &b, 0, N, &dg), FL_OK);
    assert_int_equal(fl_cache_finish(w, &dg), FL_OK);
    fl_reader_options o = {.need_label = true, .threads = 2, .batch = 700};
    assert_int_equal(read_all(path, &t.s, NULL, &o, &back, NULL, &dg), FL_OK);
    assert_batches_equal(&b, &back);
    fl_batch_deinit(&b);
    fl_batch_deinit(&back);
    fl_diag_deinit(&dg);
}

/* Generated code trusts rows: an id that fits its bits but not its slot is refused, checksums being right. */
static void ids_outside_their_slot(void **state)
{
    enum { INDEX = 56, INDEX_CRC = 64, HEADER_CRC = 68, BLOCK = 4096, BLOCK_CRC = 20 }; /* as cache_file.h says */
    static unsigned char bytes[8192];
    fl_cache_writer *w;
    fl_batch b, back;
    fl_diag dg;
    test_schema t = {0};
    (void)state;

    fl_diag_init(&dg);
    add_slot(&t, "a", 5);
    add_slot(&t, "b", 6);
    assert_int_equal(fl_batch_init(&b, &t.s), FL_OK);
    assert_int_equal(fl_batch_reserve(&b, 1), FL_OK);
    b.ids[0] = 4, b.ids[1] = 5 + 2, b.label[0] = 1, b.row[0] = 0, b.bad[0] = b.part[0] = 0, b.n = 1;
    const char *path = scratch_path("outside");
    assert_int_equal(fl_cache_create(path, &t.s, NULL, &w, &dg), FL_OK);
    assert_int_equal(fl_cache_write(w, &b, 0, 1, &dg), FL_OK);
    assert_int_equal(fl_cache_finish(w, &dg), FL_OK);
    FILE *f = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_int_equal(bytes[BLOCK], 4 | 2 << 3);
    uint64_t index, size;
    memcpy(&index, bytes + INDEX, sizeof index);
    memcpy(&size, bytes + index + 8, sizeof size);
    for (int id = 4; id < 8; id++) {
        bytes[BLOCK] = (unsigned char)(id | 2 << 3);
        uint32_t crc = fl_crc32c(0, bytes + BLOCK, size);
        memcpy(bytes + index + BLOCK_CRC, &crc, 4);
        crc = (uint32_t)crc32_z(0, bytes + index, 24);
        memcpy(bytes + INDEX_CRC, &crc, 4);
        crc = (uint32_t)crc32_z(0, bytes, HEADER_CRC);
        memcpy(bytes + HEADER_CRC, &crc, 4);
        fl_reader_options o = {.need_label = true};
        assert_int_equal(read_all(write_file("outside.changed", bytes, n), &t.s, NULL, &o, &back, NULL, &dg), id < 5 ? FL_OK : FL_BAD_INPUT);
        assert_string_equal(report_line(&dg, 0), id < 5 ? "" : "0:0: the cache is damaged: an id lies outside its slot's rows [E0520]");
        fl_batch_deinit(&back);
        fl_diag_clear(&dg);
    }
    fl_batch_deinit(&b);
    fl_diag_deinit(&dg);
}

/* The Bayes figures are those of the labels drawn, within four standard errors of 17 % of 20,000 rows. */
static void planted_rows(void **state)
{
    (void)state;
    fl_generate_result r;
    (void)raw_rows(&r);
    assert_true(fabs((double)r.positives / 20000 - 0.17) < 0.0107 + 0.005);
    assert_true(r.bayes_auc > 0.7 && r.bayes_auc < 0.9);
    assert_true(r.bayes_logloss > 0.3 && r.bayes_logloss < 0.456); /* less than the entropy of 17 % */
}

/* Bytes of the process in memory. */
static int64_t resident(void)
{
    long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &all, &pages), 2);
    fclose(f);
    return (int64_t)pages * 4096;
}

#ifndef __SANITIZE_THREAD__ /* its shadow of what was read stays resident */
/* A pass over a cache, block by block, leaves nothing of it in the process. */
static void a_pass_takes_no_memory(void **state)
{
    enum { ROWS = 1500000, PART = 50000 };
    test_schema t = {0};
    fl_cache_writer *w;
    fl_reader *r;
    fl_batch b;
    int64_t rows = 0;
    (void)state;

    add_slot(&t, "a", 10);
    add_slot(&t, "b", 10);
    add_slot(&t, "c", 10);
    assert_int_equal(fl_batch_init(&b, &t.s), FL_OK);
    assert_int_equal(fl_batch_reserve(&b, PART), FL_OK);
    for (b.n = 0; b.n < PART; b.n++) {
        for (int64_t k = 0; k < 3; k++)
            b.ids[b.n * 3 + k] = k * 10 + b.n % 10;
        b.label[b.n] = 0;
        b.row[b.n] = b.n;
        b.bad[b.n] = b.part[b.n] = 0;
    }
    const char *path = scratch_path("large");
    assert_int_equal(fl_cache_create(path, &t.s, NULL, &w, NULL), FL_OK);
    for (int i = 0; i < ROWS / PART; i++)
        assert_int_equal(fl_cache_write(w, &b, 0, PART, NULL), FL_OK);
    assert_int_equal(fl_cache_finish(w, NULL), FL_OK);
    assert_int_equal(fl_reader_open(path, &t.s, NULL, &(fl_reader_options){.batch = 512}, &r, NULL), FL_OK);
    assert_int_equal(fl_reader_next(r, &b, NULL), FL_OK);
    int64_t before = resident();
    for (; b.n; rows += b.n)
        assert_int_equal(fl_reader_next(r, &b, NULL), FL_OK);
    assert_int_equal(rows, ROWS - 512);
    assert_true(resident() - before < 4 << 20);
    fl_reader_close(r);
    fl_batch_deinit(&b);
}
#endif

typedef struct helped {
    fl_reader *r;
    fl_batch b;
    bool help;
    fl_status status;
} helped;

static void read_or_help(void *arg, uint32_t worker)
{
    helped *h = arg;
    if (worker == 1)
        h->status = fl_reader_next(h->r, &h->b, NULL);
    else if (h->help)
        fl_reader_help(h->r);
}

/* Blocks that two threads fetch between them: the same rows in the same order, whatever the batch; the end, and a damaged block, where they are without help. */
static void a_helper_changes_no_row(void **state)
{
    enum { ROWS = 30000, COLUMNS = 2 };
    test_schema t = {0};
    fl_cache_writer *w;
    fl_batch all;
    fl_pool *pool;
    (void)state;

    add_slot(&t, "a", 1000);
    add_slot(&t, "b", 7);
    assert_int_equal(fl_batch_init(&all, &t.s), FL_OK);
    assert_int_equal(fl_batch_reserve(&all, ROWS), FL_OK);
    for (; all.n < ROWS; all.n++) {
        all.ids[all.n * COLUMNS] = all.n * 31 % 1000;
        all.ids[all.n * COLUMNS + 1] = 1000 + all.n % 7;
        all.label[all.n] = (float)(all.n % 3 == 0);
        all.bad[all.n] = all.part[all.n] = 0;
    }
    const char *path = scratch_path("helped");
    assert_int_equal(fl_cache_create(path, &t.s, NULL, &w, NULL), FL_OK);
    assert_int_equal(fl_cache_write(w, &all, 0, ROWS, NULL), FL_OK);
    assert_int_equal(fl_cache_finish(w, NULL), FL_OK);
    assert_int_equal(fl_pool_new(2, &pool, NULL), FL_OK);
    uint32_t threads = fl_cpu_count() > 2 ? fl_cpu_count() : 2; /* none is free to read ahead */
    static const int64_t batches[] = {512, 1000, 4096, 5000, 9000, 40000};
    for (size_t i = 0; i <= FL_COUNT(batches); i++) {
        helped h = {.status = FL_OK};
        int64_t at = 0, n_helps = 0;
        bool damaged = i == FL_COUNT(batches);
        if (damaged) { /* somewhere in the blocks; the index lies behind them */
            FILE *f = fopen(path, "r+b");
            assert_int_equal(fseek(f, -40000, SEEK_END), 0);
            assert_true(fputs("damage", f) >= 0);
            assert_int_equal(fclose(f), 0);
        }
        assert_int_equal(fl_batch_init(&h.b, &t.s), FL_OK);
        assert_int_equal(fl_reader_open(path, &t.s, NULL, &(fl_reader_options){.batch = damaged ? 512 : batches[i], .threads = threads}, &h.r, NULL), FL_OK);
        do {
            h.help = fl_reader_wants_help(h.r);
            n_helps += h.help;
            fl_pool_run(pool, read_or_help, &h);
            if (h.status != FL_OK)
                break;
            assert_memory_equal(h.b.ids, all.ids + at * COLUMNS, (size_t)(h.b.n * COLUMNS) * sizeof *all.ids);
            assert_memory_equal(h.b.label, all.label + at, (size_t)h.b.n * sizeof *all.label);
            at += h.b.n;
        } while (h.b.n > 0);
        assert_true(n_helps > 0);
        assert_int_equal(h.status, damaged ? FL_BAD_INPUT : FL_OK);
        assert_true(damaged ? at < ROWS : at == ROWS);
        fl_reader_close(h.r);
        fl_batch_deinit(&h.b);
    }
    fl_pool_free(pool);
    fl_batch_deinit(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_equals_text),
        cmocka_unit_test(ids_by_count_then_text),
        cmocka_unit_test(look_ups_together),
        cmocka_unit_test(look_ups_of_many_rows),
        cmocka_unit_test(damage_is_reported),
        cmocka_unit_test(ids_of_any_width),
        cmocka_unit_test(ids_outside_their_slot),
        cmocka_unit_test(planted_rows),
        cmocka_unit_test(a_helper_changes_no_row),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(a_pass_takes_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
