/*
 * Every parser with its n-th allocation failing, for n from 1 until none fails: a status and a report or the very result that is right; never a crash, never
 * a leak. Once with only the n-th failing, once with all from the n-th on; the latter not where JSON is read: jansson 2.14 ends the process by an assertion of its
 * own if the buffer of a token cannot grow twice. Oracle: the result without failures, and the count of blocks in use.
 */
#include "data_support.h"
#include "fault_memory.h"

#include "frontend/compile.h"
#include "ir/model.h"
#include "ir/print.h"

#include <zlib.h>
#include <zstd.h>

/* What a case read, as a number; computed with failures off. */
typedef fl_status case_fn(const void *input, uint64_t *digest, fl_diag *dg);

enum { MOST = 20000 };

static uint64_t graph_digest(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    fault_set(0, false);
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(fl_graph_print(g, &(fl_print_options){0}, f, NULL), FL_OK);
    fclose(f);
    uint64_t digest = fl_text_hash(text, n);
    free(text);
    return digest;
}

enum { ONE = 1, ONE_AND_ALL = 2 };

static void fail_each(const char *name, case_fn *run, const void *input, int n_ways)
{
    fl_diag dg;
    uint64_t right = 0, digest;
    fl_diag_init(&dg);
    for (int i = 0; i < 2; i++) /* twice: what libraries allocate once is there now */
        assert_int_equal(run(input, &right, &dg), FL_OK);
    fl_diag_deinit(&dg);
    for (int lasts = 0; lasts < n_ways; lasts++) {
        long n = 0, refused = 0;
        for (bool hit = true; hit; n += hit) {
            long before = atomic_load(&fault_blocks);
            fl_diag_init(&dg);
            digest = 0;
            fault_set(n + 1, lasts);
            fl_status status = run(input, &digest, &dg);
            hit = atomic_load(&fault_calls) > n;
            fault_set(0, false);
            if (status == FL_OK ? digest != right : dg.n_errors == 0)
                fail_msg("%s, allocation %ld%s: status %d with %u errors, %s result", name, n + 1, lasts ? " and all later" : "", (int)status,
                         dg.n_errors, digest == right ? "right" : "wrong");
            refused += status != FL_OK;
            fl_diag_deinit(&dg);
            if (atomic_load(&fault_blocks) != before)
                fail_msg("%s, allocation %ld%s: %ld blocks leak", name, n + 1, lasts ? " and all later" : "", atomic_load(&fault_blocks) - before);
            assert_true(n < MOST);
        }
        print_message("%s: %ld allocations, %ld refused\n", name, n, refused);
        assert_true(n > 0 && refused > 0);
    }
}

/* --------------------------------------------------------------------------------------------------- the cases */

/* A configuration, graph text or ONNX file by its path. */
static fl_status read_source(const void *path, uint64_t *digest, fl_diag *dg)
{
    fl_source s;
    fl_status status = fl_source_read(path, NULL, 0, &s, dg);
    if (status == FL_OK) {
        long calls = atomic_load(&fault_calls);
        *digest = graph_digest(s.graph);
        fl_source_deinit(&s);
        atomic_store(&fault_calls, calls);
    }
    return status;
}

static fl_status read_model(const void *path, uint64_t *digest, fl_diag *dg)
{
    fl_model *m;
    const fl_graph *g = NULL;
    FL_TRY(fl_model_open(path, FL_MODEL_VERIFY_ALL, &m, dg));
    fl_status status = fl_model_source(m, &g, dg);
    if (status == FL_OK && g) {
        long calls = atomic_load(&fault_calls);
        *digest = graph_digest(g) + fl_model_n_variables(m);
        atomic_store(&fault_calls, calls);
    }
    fl_model_free(m);
    return status;
}

/* Slot a of a dictionary, slot b plain; rows known. */
static void words_schema(test_schema *t, bool bound)
{
    *t = (test_schema){0};
    add_slot(t, "a", bound ? 4 : 0);
    t->slots[0].vocab = FL_VOCAB_DICT;
    if (!bound)
        t->slots[0].first_row = -1;
    add_slot(t, "b", 10);
}

static fl_status read_vocabulary(const void *path, uint64_t *digest, fl_diag *dg)
{
    test_schema t;
    fl_vocabulary *v;
    words_schema(&t, true);
    FL_TRY(fl_vocabulary_load(path, &t.s, &v, dg));
    *digest = (uint64_t)(fl_vocabulary_find(v, 0, "x", 1) * 100 + fl_vocabulary_find(v, 0, "z", 1));
    fl_vocabulary_free(v);
    return FL_OK;
}

static fl_status build_vocabulary(const void *path, uint64_t *digest, fl_diag *dg)
{
    test_schema t;
    fl_vocabulary *v;
    int64_t rows;
    const char *paths[] = {path};
    words_schema(&t, true);
    FL_TRY(fl_vocabulary_build(paths, 1, &t.s, 0, 1, false, &v, &rows, dg));
    *digest = (uint64_t)(rows * 10000 + fl_vocabulary_find(v, 0, "x", 1) * 100 + fl_vocabulary_find(v, 0, "z", 1));
    fl_vocabulary_free(v);
    return FL_OK;
}

static fl_status read_rows(const void *path, uint64_t *digest, fl_diag *dg, uint32_t threads)
{
    test_schema t;
    fl_batch batch;
    fl_reader *r;
    t = (test_schema){0};
    add_slot(&t, "a", 10);
    add_slot(&t, "b", 10);
    if (fl_batch_init(&batch, &t.s) != FL_OK)
        return fl_out_of_memory(dg);
    fl_status status = fl_reader_open(path, &t.s, NULL, &(fl_reader_options){.batch = 3, .need_label = true, .threads = threads}, &r, dg);
    if (status == FL_OK) {
        uint64_t sum = 0, place = 1;
        while ((status = fl_reader_next(r, &batch, dg)) == FL_OK && batch.n)
            for (int64_t i = 0; i < batch.n * batch.n_columns; i++)
                sum += place++ * (uint64_t)(batch.ids[i] + 1);
        *digest = sum;
        fl_reader_close(r);
    }
    fl_batch_deinit(&batch);
    return status;
}

static fl_status read_alone(const void *path, uint64_t *digest, fl_diag *dg)
{
    return read_rows(path, digest, dg, 0);
}

static fl_status read_ahead(const void *path, uint64_t *digest, fl_diag *dg)
{
    return read_rows(path, digest, dg, 2);
}

/* --------------------------------------------------------------------------------------------------- the tests */

static void configuration(void **state)
{
    (void)state;
    fail_each("configuration", read_source, "models/flen/config.yaml", ONE_AND_ALL);
}

static fl_graph *example(void)
{
    fl_source s;
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_source_read("models/flen/config.yaml", NULL, 0, &s, &dg), FL_OK);
    fl_manifest_deinit(&s.manifest);
    fl_diag_deinit(&dg);
    return s.graph;
}

static void graph_text(void **state)
{
    (void)state;
    const char *path = scratch_path("graph.onnxtxt");
    fl_graph *g = example();
    FILE *f = fopen(path, "w");
    assert_int_equal(fl_graph_print(g, &(fl_print_options){0}, f, NULL), FL_OK);
    fclose(f);
    fl_graph_free(g);
    fail_each("graph text", read_source, path, ONE);
}

static void onnx_file(void **state)
{
    (void)state;
    void *bytes;
    size_t n;
    fl_graph *g = example();
    assert_int_equal(fl_onnx_encode(g, &(fl_onnx_options){0}, &bytes, &n, NULL), FL_OK);
    const char *path = write_file("graph.onnx", bytes, n);
    free(bytes);
    fl_graph_free(g);
    fail_each("ONNX file", read_source, path, ONE);
}

static void model_file(void **state)
{
    (void)state;
    fl_source s;
    fl_diag dg;
    fl_diag_init(&dg);
    const char *path = scratch_path("model.bin");
    assert_int_equal(fl_source_read("models/flen/config.yaml", NULL, 0, &s, &dg), FL_OK);
    fl_model_content c = {.manifest = &s.manifest, .source = s.graph};
    assert_int_equal(fl_model_save(path, &c, NULL), FL_OK);
    fl_source_deinit(&s);
    fl_diag_deinit(&dg);
    fail_each("model.bin", read_model, path, ONE);
}

static const char words[] = "click,a,b\n1,x,2\n0,y,3\n0,y,4\n1,x,4\n1,z,4\n1,x,9\n";

static void vocabulary(void **state)
{
    (void)state;
    test_schema t;
    fl_vocabulary *v;
    size_t n;
    const char *rows = write_text("words.csv", words);
    words_schema(&t, true);
    assert_int_equal(fl_vocabulary_build(&rows, 1, &t.s, 0, 0, false, &v, NULL, NULL), FL_OK);
    const void *bytes = fl_vocabulary_bytes(v, &n);
    const char *path = write_file("vocabulary", bytes, n);
    fl_vocabulary_free(v);
    fail_each("vocabulary", read_vocabulary, path, ONE_AND_ALL);
    fail_each("building a vocabulary", build_vocabulary, rows, ONE_AND_ALL);
}

static void rows(void **state)
{
    (void)state;
    static const char csv[] = "click,a,b\n1,2,3\n0,1,x\n0,4,5\n1,6,7\n1,6,8\n0,1,1\n", slots[] = "click:1 a:2 b:3\nclick:0 a:4 b:5\nclick:0 a:1 b:9\nclick:1 a:1 b:1\n";
    char packed[400];
    const char *paths[4] = {write_text("rows.csv", csv), write_text("rows.txt", slots)};
    const char *gzip = scratch_path("rows.gz");
    gzFile z = gzopen(gzip, "wb");
    assert_int_equal(gzwrite(z, csv, sizeof csv - 1), sizeof csv - 1);
    gzclose(z);
    paths[2] = gzip;
    size_t n = ZSTD_compress(packed, sizeof packed, slots, sizeof slots - 1, 1);
    assert_false(ZSTD_isError(n));
    paths[3] = write_file("rows.zst", packed, n);
    for (int i = 0; i < 4; i++) {
        fail_each(paths[i], read_alone, paths[i], ONE_AND_ALL);
        fail_each(paths[i], read_ahead, paths[i], ONE_AND_ALL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration), cmocka_unit_test(graph_text), cmocka_unit_test(onnx_file),
        cmocka_unit_test(model_file),    cmocka_unit_test(vocabulary), cmocka_unit_test(rows),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
