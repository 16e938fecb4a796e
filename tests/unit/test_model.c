/* test_model.c -- model.bin: round trips, and each kind of wrong file told apart. Oracles: unzip -t, and what was saved. */
#include "ir/model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/flen_model_XXXXXX";
static char path[256];

enum { ROWS = 5, WIDTH = 3, STRIDE = 8 };
static float table[ROWS * STRIDE], bias[WIDTH] = {0.5f, -1, 2};

/* e = Gather(table, ids); y = Add(e, bias); table := table. */
static fl_graph *example(void)
{
    fl_graph *g = fl_graph_new("example");
    fl_dim batch = fl_graph_symbol(g, "batch"), rows = fl_graph_symbol(g, "rows");
    fl_id ids = fl_graph_input(g, "ids", fl_type_make(FL_INT64, 1, (fl_dim[]){batch}));
    fl_id t = fl_graph_variable(g, "table", fl_type_make(FL_FLOAT, 2, (fl_dim[]){rows, WIDTH}));
    fl_id b = fl_graph_variable(g, "bias", fl_type_make(FL_FLOAT, 1, (fl_dim[]){WIDTH}));
    fl_id unset = fl_graph_variable(g, "unset", fl_type_make(FL_FLOAT, 1, (fl_dim[]){WIDTH}));
    fl_id e = fl_build_2(g, FL_OP_GATHER, "e", t, ids);
    fl_id y = fl_build_2(g, FL_OP_ADD, "y", e, b);
    fl_graph_output(g, fl_build_2(g, FL_OP_MUL, "z", y, unset));
    fl_graph_update(g, b, fl_build_1(g, FL_OP_NEG, "bias_next", b));
    fl_param p = {.variable = t, .rule = {.kind = FL_RULE_ADAGRAD, .lr = 0.04, .epsilon = 1e-6}, .lr_scale = 1, .row_sparse = true,
                  .init = FL_INIT_NORMAL, .init_b = 0.01};
    fl_graph_param(g, p);
    fl_graph_set_meta(g, "ai.flen.disjoint", "ids");
    return g;
}

static fl_status save(const char *to, fl_diag *dg)
{
    fl_graph *g = example();
    fl_manifest manifest;
    fl_manifest_init(&manifest);
    manifest.version = manifest.network = manifest.log = "plain";
    fl_model_variable_source variables[] = {
        {"table", fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, WIDTH}), table, STRIDE},
        {"unset", fl_type_make(FL_FLOAT, 1, (fl_dim[]){WIDTH}), NULL, 1},
        {"bias", fl_type_make(FL_FLOAT, 1, (fl_dim[]){WIDTH}), bias, 1},
    };
    fl_model_entry_source entry = {"vocabulary.bin", "words", 5};
    fl_model_content c = {.manifest = &manifest, .source = g, .programs = {[FL_PROGRAM_TRAIN] = g}, .variables = variables,
                          .n_variables = 3, .entries = &entry, .n_entries = 1};
    fl_status status = fl_model_save(to, &c, dg);
    fl_manifest_deinit(&manifest);
    fl_graph_free(g);
    return status;
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS * STRIDE; i++)
        table[i] = (float)i;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.bin", folder);
    return save(path, NULL) == FL_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static void round_trip(void **state)
{
    (void)state;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_model *m = NULL;
    const fl_graph *g = NULL;
    if (fl_model_open(path, 0, &m, &dg) != FL_OK || fl_model_program(m, FL_PROGRAM_TRAIN, &g, &dg) != FL_OK)
        fail_msg("%s", dg.entries[0].text);
    const fl_tensor *t = fl_model_find_variable(m, "table");
    assert_int_equal(t->type.dims[0], ROWS);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_float_equal(fl_tensor_get_double(t, i), (double)table[i / WIDTH * STRIDE + i % WIDTH], 0);
    fl_id v = fl_graph_find(g, "table");
    assert_int_equal(g->values[v].kind, FL_VALUE_VARIABLE);
    assert_ptr_equal(g->values[v].data->bytes, t->bytes);
    assert_true(FL_DIM_IS_SYM(g->values[v].type.dims[0])); /* the declared shape, not the stored one */
    assert_string_equal(g->symbols[FL_SYM_OF_DIM(g->values[v].type.dims[0])], "rows");
    assert_null(g->values[fl_graph_find(g, "unset")].data);
    assert_int_equal(g->n_inputs, 1);
    assert_int_equal(g->n_outputs, 1);
    assert_int_equal(g->n_updates, 1);
    assert_float_equal(fl_graph_find_param(g, v)->rule.lr, 0.04, 0);
    assert_string_equal(fl_graph_get_meta(g, "ai.flen.disjoint"), "ids");
    assert_int_equal(g->values[g->outputs[0]].type.rank, 2);
    size_t n;
    assert_memory_equal(fl_model_entry(m, "vocabulary.bin", &n), "words", 5);
    assert_int_equal(n, 5);
    assert_null(fl_model_entry(m, "absent", &n));
    assert_int_equal(fl_model_verify(m, "table", &dg), FL_OK);
    fl_model_free(m);
    fl_diag_deinit(&dg);
}

static void unzip_accepts_it(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "unzip -tqq '%s'", path);
    if (system("command -v unzip >/dev/null") != 0)
        skip();
    assert_int_equal(system(command), 0);
}

/* ---------------------------------------------------------------------------------------------------- wrong files */

static unsigned char *bytes;
static size_t n_bytes;

static void load(void)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    n_bytes = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(n_bytes + 1);
    assert_int_equal(fread(bytes, 1, n_bytes, f), n_bytes);
    fclose(f);
}

/* The text of the diagnostic that these bytes give; "" if they are accepted. */
static void expect(const void *p, size_t n, const char *words)
{
    char other[300];
    snprintf(other, sizeof other, "%s/other.bin", folder);
    FILE *f = fopen(other, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    fl_diag dg;
    fl_diag_init(&dg);
    fl_model *m = NULL;
    fl_status status = fl_model_open(other, 0, &m, &dg);
    if (status == FL_OK || dg.n_entries == 0 || !strstr(dg.entries[0].text, words))
        fail_msg("expected \"%s\", got \"%s\"", words, dg.n_entries ? dg.entries[0].text : "success");
    assert_null(m);
    fl_diag_deinit(&dg);
}

static size_t find(const char *word)
{
    return (size_t)((unsigned char *)memmem(bytes, n_bytes, word, strlen(word)) - bytes);
}

static void tells_wrong_files_apart(void **state)
{
    (void)state;
    load();
    expect("", 0, "not a model.bin: the file is empty");
    expect("#!/bin/sh\n", 10, "not a model.bin");
    expect("PK\3\4 and then something else that is long enough to be a header of a file", 74, "a ZIP, but not a model.bin");
    expect(bytes, 20, "truncated: only 20 bytes are there");
    expect(bytes, n_bytes - 1, "truncated: ");
    expect(bytes, n_bytes / 2, "truncated: ");
    bytes[n_bytes] = 0;
    expect(bytes, n_bytes + 1, "bytes follow after its end");
    free(bytes);
}

static void flipped_bits(void **state)
{
    (void)state;
    load();
    const struct {
        size_t at;
        const char *words;
    } cases[] = {
        {0, "the header of \"manifest.json\" is wrong"},
        {8, "the header of \"manifest.json\" is wrong"},
        {47, "mark in its first header"},
        {60, "mark in its first header"},
        {2000, "the header of \"manifest.json\" is wrong"},
        {4096, "the checksum of \"manifest.json\" is wrong"},
        {find("model.onnx") - 20, "the header of \"model.onnx\" is wrong"},
        {find("bias_next"), "the checksum of \"model.onnx\" is wrong"},
        {find("words"), "the checksum of \"vocabulary.bin\" is wrong"},
        {find("block_bytes"), "the checksum of \"index.json\" is wrong"},
        {n_bytes - 1, "its directory of parts is wrong"},
        {n_bytes - 60, "its directory of parts is wrong"},
        {n_bytes - 120, "its directory of parts is wrong"},
    };
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        bytes[cases[i].at] ^= 4;
        expect(bytes, n_bytes, cases[i].words);
        bytes[cases[i].at] ^= 4;
    }
    float row[WIDTH];
    memcpy(row, table, sizeof row);
    unsigned char *weights = memmem(bytes, n_bytes, row, sizeof row);
    assert_non_null(weights);
    weights[1] ^= 1;
    expect(bytes, n_bytes, "the checksum of weights.bin is wrong in block 0, where \"table\" lies");
    free(bytes);
}

/* No bit of the file is without a check. */
static void every_bit_counts(void **state)
{
    (void)state;
    load();
    for (size_t i = 0; i < n_bytes; i += 1 + i % 97) {
        bytes[i] ^= (unsigned char)(1u << i % 8);
        expect(bytes, n_bytes, "");
        bytes[i] ^= (unsigned char)(1u << i % 8);
    }
    free(bytes);
}

/* A flipped bit of a large part in a large file: opening does not see it, whoever is about to read or copy the part does. */
static void large_parts_are_checked_when_they_are_read(void **state)
{
    enum { PART = 3 << 20, REST = 20 << 20 };
    (void)state;
    fl_manifest manifest;
    fl_manifest_init(&manifest);
    manifest.version = manifest.network = manifest.log = "plain";
    char *part = calloc(1, PART), *rest = calloc(1, REST), other[300];
    assert_non_null(part);
    assert_non_null(rest);
    part[2 << 20] = 'x';
    fl_model_entry_source entries[] = {{"part.bin", part, PART}, {"rest.bin", rest, REST}};
    fl_model_content c = {.manifest = &manifest, .entries = entries, .n_entries = 2};
    snprintf(other, sizeof other, "%s/large.bin", folder);
    assert_int_equal(fl_model_save(other, &c, NULL), FL_OK);
    fl_manifest_deinit(&manifest);

    fl_diag dg;
    fl_diag_init(&dg);
    fl_model *m = NULL;
    size_t n = 0;
    assert_int_equal(fl_model_open(other, FL_MODEL_VERIFY_ALL, &m, &dg), FL_OK);
    const char *at = fl_model_entry(m, "part.bin", &n);
    assert_int_equal(n, PART);
    FILE *f = fopen(other, "r+b");
    assert_non_null(f);
    long offset = 0; /* of the part: parts lie at multiples of 4 KiB, and only the file's first header does */
    while (memcmp(at - offset, "PK\3\4", 4) != 0)
        offset += 4096;
    assert_int_equal(fseek(f, offset + (2 << 20), SEEK_SET), 0);
    fputc('y', f);
    fclose(f);
    assert_int_equal(at[2 << 20], 'y');
    fl_model_free(m);

    assert_int_equal(fl_model_open(other, 0, &m, &dg), FL_OK);
    assert_int_equal(fl_model_verify_entry(m, "absent", &dg), FL_OK);
    assert_int_equal(fl_model_verify_entry(m, "rest.bin", &dg), FL_OK);
    assert_int_equal(fl_model_verify_entry(m, "part.bin", &dg), FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[0].text, "the checksum of \"part.bin\" is wrong"));
    assert_int_equal(fl_model_verify_entries(m, &dg), FL_BAD_INPUT);
    fl_model_free(m);
    assert_int_equal(fl_model_open(other, FL_MODEL_VERIFY_ALL, &m, &dg), FL_BAD_INPUT);
    fl_diag_deinit(&dg);
    free(part);
    free(rest);
}

static void failed_saves_leave_nothing(void **state)
{
    (void)state;
    fl_diag dg;
    fl_diag_init(&dg);
    char other[300];
    snprintf(other, sizeof other, "%s/absent/model.bin", folder);
    assert_int_equal(save(other, &dg), FL_IO);
    assert_non_null(strstr(dg.entries[0].text, "cannot create a file in this folder: No such file or directory"));
    fl_diag_clear(&dg);
    snprintf(other, sizeof other, "%s/taken", folder);
    assert_int_equal(mkdir(other, 0777), 0);
    assert_int_equal(save(other, &dg), FL_IO);
    assert_non_null(strstr(dg.entries[0].text, "cannot rename the new file: Is a directory"));
    snprintf(other, sizeof other, "%s/taken.tmp.%ld", folder, (long)getpid());
    assert_int_equal(access(other, F_OK), -1);
    fl_diag_deinit(&dg);
}

static void refuses_variables_that_cannot_be_stored(void **state)
{
    (void)state;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_manifest manifest;
    fl_manifest_init(&manifest);
    fl_type type = fl_type_make(FL_FLOAT, 1, (fl_dim[]){WIDTH});
    fl_model_variable_source twice[] = {{"b", type, bias, 1}, {"b", type, bias, 1}};
    fl_model_content c = {.manifest = &manifest, .variables = twice, .n_variables = 2};
    char other[300];
    snprintf(other, sizeof other, "%s/twice.bin", folder);
    assert_int_equal(fl_model_save(other, &c, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_MODEL_VARIABLE);
    assert_non_null(strstr(dg.entries[0].text, "the variable \"b\" stands twice"));
    twice[1].name = "c";
    twice[1].type.dims[0] = FL_DIM_SYM(0);
    fl_diag_clear(&dg);
    assert_int_equal(fl_model_save(other, &c, &dg), FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[0].text, "cannot store the variable \"c\""));
    assert_int_equal(access(other, F_OK), -1);
    fl_manifest_deinit(&manifest);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(unzip_accepts_it),
        cmocka_unit_test(tells_wrong_files_apart),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(large_parts_are_checked_when_they_are_read),
        cmocka_unit_test(failed_saves_leave_nothing),
        cmocka_unit_test(refuses_variables_that_cannot_be_stored),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
