/*
 * test_value_dump.c -- values of native code as files. Oracle: the interpreter's values of the same step, name by name; a value without a file is told
 * with a reason, and no other is.
 */
#include "runtime/value_dump.h"

#include "backend/backend.h"
#include "runtime/feed.h"
#include "runtime/measured_rows.h"
#include "runtime/npy_file.h"

#include "model_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { BATCH = 150, MOST_NOTES = 1000 };

static char folder[] = "/tmp/flen-values-XXXXXX", model[64];
static char *notes[MOST_NOTES];
static int n_notes;

static const char configuration[] = "network: flen\nseed: 3\nembedding_size: 8\nmlp: {widths: [16, 8], order: [batch_norm, relu, dropout]}\ndropout: 0.1\n"
                                    "optimizer: {class: adagrad, learning_rate: 0.1}\n"
                                    "fields: {a: [user, word], b: [item]}\ninputs:\n  label: click\n  slots:\n"
                                    "    - {name: user, vocabulary: range, rows: 100}\n"
                                    "    - {name: word, vocabulary: hash, rows: 50}\n"
                                    "    - {name: item, vocabulary: hash, rows: 70}\n";

static void take_note(const char *text)
{
    assert_true(n_notes < MOST_NOTES);
    notes[n_notes++] = strdup(text);
}

static void drop_notes(void)
{
    while (n_notes > 0)
        free(notes[--n_notes]);
}

/* How many notes say that this value of the program has no file. */
static int notes_of(const char *program, const char *name)
{
    char start[300];
    int n = 0;

    snprintf(start, sizeof start, "dump-values: %s: no file for \"%s\": ", program, name);
    for (int i = 0; i < n_notes; i++)
        n += strncmp(notes[i], start, strlen(start)) == 0;
    return n;
}

static int make_model(void **state)
{
    char source[64];
    (void)state;

    assert_non_null(mkdtemp(folder));
    setenv("FLEN_CACHE_DIR", folder, 1);
    snprintf(model, sizeof model, "%s/model.bin", folder);
    snprintf(source, sizeof source, "%s/config.yaml", folder);
    make_model_file(configuration, source, model);
    return 0;
}

static int remove_model(void **state)
{
    char command[128];
    (void)state;

    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Steps 1 to n of a program on the first rows of the same drawn ones. The outputs' first number (loss, ...) of the last step. */
static float run_steps(fl_program p, bool interpret, uint32_t threads, fl_value_dump *dump, int n)
{
    static float out[BATCH];
    fl_session_options so = {.train = p == FL_PROGRAM_TRAIN, .first_weights = true, .threads = threads, .dump = dump};
    void *outputs[8] = {out};
    fl_session s;
    fl_measured rows;
    fl_engine *e;
    fl_feed feed;
    fl_diag dg;

    fl_diag_init(&dg);
    if (interpret)
        so.interpret = fl_interp_engine_new;
    else
        so.compile = fl_compile_as;
    fl_status status = fl_session_open(&s, model, &so, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    assert_int_equal(status, FL_OK);
    assert_int_equal(fl_measured_rows(&s, FL_PROGRAM_PREDICT, &(fl_measured_from){.skew = 1.1, .n = BATCH}, &rows, NULL), FL_OK);
    assert_int_equal(fl_session_engine(&s, p, BATCH, &e, NULL), FL_OK);
    assert_int_equal(fl_feed_init(&feed, s.programs[p], &s.manifest->schema, NULL), FL_OK);
    for (feed.step = 0; feed.step < n; feed.step++) {
        fl_run run = fl_feed_run(&feed, &rows.data);
        run.outputs = outputs;
        status = e->run(e, &run, &dg);
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
        assert_int_equal(status, FL_OK);
    }
    fl_feed_deinit(&feed);
    fl_measured_deinit(&rows);
    fl_session_close(&s);
    fl_diag_deinit(&dg);
    return out[0];
}

static bool read_value(const char *kind, fl_program p, int step, const char *name, fl_npy *a)
{
    char file[FL_VALUE_FILE], path[400];

    fl_value_file_name(name, file);
    snprintf(path, sizeof path, "%s/%s/%s.%d/%s", folder, kind, fl_program_name(p), step, file);
    return access(path, R_OK) == 0 && fl_npy_read(path, a, NULL) == FL_OK;
}

static double element(const fl_npy *a, int64_t i)
{
    fl_tensor t = {.type = a->type, .bytes = a->bytes};
    return fl_dtype_size(a->type.dtype) && (a->type.dtype == FL_FLOAT || a->type.dtype == FL_DOUBLE) ? fl_tensor_get_double(&t, i) : (double)fl_tensor_get_int(&t, i);
}

/*
 * Values of one shape on both sides: others have room for more rows in native code than there are. Numbers of distinct rows differ, since native code leaves
 * room behind each slot's. Returns how many were compared.
 */
static int compare_step(fl_program p, int step, const fl_graph *g, int *absent)
{
    int compared = 0;

    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++) {
            const char *name = g->nodes[i].out[k] == FL_NONE ? NULL : g->values[g->nodes[i].out[k]].name;
            fl_npy native = {.bytes = NULL}, interp = {.bytes = NULL};
            if (!name || g->nodes[i].op == FL_OP_CONSTANT || g->nodes[i].op == FL_OP_NOP)
                continue;
            assert_true(read_value("interp", p, step, name, &interp));
            bool has = read_value("native", p, step, name, &native);
            assert_int_equal(notes_of(fl_program_name(p), name), has ? 0 : 1); /* told once, whatever the number of steps */
            *absent += !has;
            bool numbers = g->nodes[i].op == FL_OP_UNIQUE_ROWS || g->nodes[i].op == FL_OP_MERGE_ROWS;
            bool same = has && !numbers && native.type.rank == interp.type.rank && memcmp(native.type.dims, interp.type.dims, (size_t)native.type.rank * sizeof(int64_t)) == 0;
            for (int64_t j = 0; same && j < fl_type_elements(&native.type); j++) {
                double want = element(&interp, j), got = element(&native, j);
                if (!(fabs(want - got) <= 2e-4 * (1 + fabs(want))))
                    fail_msg("%s, element %lld: %g instead of %g", name, (long long)j, got, want);
            }
            compared += same;
            fl_npy_free(&native);
            fl_npy_free(&interp);
        }
    return compared;
}

static void check_program(fl_program p, uint32_t threads, int at_least, int at_least_absent)
{
    char path[2][100];
    fl_model *m;
    const fl_graph *g;
    int absent = 0;

    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", folder, i ? "native" : "interp");
        fl_value_dump dump = {.pattern = "*", .folder = path[i], .first = 2, .last = 3, .note = take_note};
        drop_notes();
        float got = run_steps(p, i == 0, threads, &dump, 4), want = run_steps(p, i == 0, threads, NULL, 4);
        assert_true(got == want && got != 0); /* dumping changes no bit */
    }
    fl_npy none;
    assert_false(read_value("native", p, 1, "logit", &none) || read_value("native", p, 4, "logit", &none));
    assert_int_equal(fl_model_open(model, 0, &m, NULL), FL_OK);
    assert_int_equal(fl_model_program(m, p, &g, NULL), FL_OK);
    for (int step = 2; step <= 3; step++) {
        absent = 0;
        assert_true(compare_step(p, step, g, &absent) >= at_least);
        assert_true(absent >= at_least_absent);
    }
    assert_int_equal(notes_of(fl_program_name(p), "e_squared"), 1); /* the source's: fused away */
    fl_model_free(m);
    drop_notes();
}

static void native_values_are_the_interpreters(void **state)
{
    (void)state;
    check_program(FL_PROGRAM_PREDICT, 1, 5, 0);
    check_program(FL_PROGRAM_TRAIN, 1, 60, 20);
    check_program(FL_PROGRAM_TRAIN, 3, 60, 20);
}

static void patterns_choose(void **state)
{
    char path[100];
    fl_npy a;
    (void)state;

    snprintf(path, sizeof path, "%s/some", folder);
    fl_value_dump dump = {.pattern = "logi[a-z]", .folder = path, .first = 1, .last = 1, .note = take_note};
    (void)run_steps(FL_PROGRAM_PREDICT, false, 1, &dump, 2);
    assert_true(read_value("some", FL_PROGRAM_PREDICT, 1, "logit", &a));
    assert_int_equal(a.type.dims[0], BATCH);
    fl_npy_free(&a);
    assert_false(read_value("some", FL_PROGRAM_PREDICT, 1, "probability", &a));
    assert_int_equal(n_notes, 1); /* what was written */
    assert_non_null(strstr(notes[0], "predict, step 1: 1 of 1 values"));
    drop_notes();

    /* Nothing has such a name: refused when the session is opened. */
    fl_session s;
    fl_session_options so = {.first_weights = true, .threads = 1, .compile = fl_compile_as, .dump = &dump};
    fl_diag dg;
    fl_diag_init(&dg);
    dump.pattern = "nonsense*";
    assert_int_equal(fl_session_open(&s, model, &so, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_DUMP_PATTERN);
    assert_string_equal(dg.entries[0].text, "no value of a training or predict program matches \"nonsense*\"");
    fl_diag_deinit(&dg);
}

static void a_folder_that_cannot_be_is_reported(void **state)
{
    fl_session s;
    fl_measured rows;
    fl_engine *e;
    fl_feed feed;
    fl_diag dg;
    (void)state;

    fl_value_dump dump = {.pattern = "*", .folder = model, .first = 1, .last = 1}; /* a file */
    fl_session_options so = {.first_weights = true, .threads = 1, .compile = fl_compile_as, .dump = &dump};
    fl_diag_init(&dg);
    assert_int_equal(fl_session_open(&s, model, &so, &dg), FL_OK);
    assert_int_equal(fl_measured_rows(&s, FL_PROGRAM_PREDICT, &(fl_measured_from){.skew = 1.1, .n = BATCH}, &rows, NULL), FL_OK);
    assert_int_equal(fl_session_engine(&s, FL_PROGRAM_PREDICT, BATCH, &e, NULL), FL_OK);
    assert_int_equal(fl_feed_init(&feed, s.programs[FL_PROGRAM_PREDICT], &s.manifest->schema, NULL), FL_OK);
    fl_run run = fl_feed_run(&feed, &rows.data);
    assert_int_equal(e->run(e, &run, &dg), FL_IO);
    assert_int_equal(dg.entries[0].code, FL_E_OPEN);
    fl_feed_deinit(&feed);
    fl_measured_deinit(&rows);
    fl_session_close(&s);
    fl_diag_deinit(&dg);
}

static void file_names_are_safe(void **state)
{
    static const struct {
        const char *name, *file;
    } names[] = {{"mlp.0.w", "mlp.0.w.npy"}, {"a/b", "a%2Fb.npy"}, {"../up", "%2E.%2Fup.npy"}, {".", "%2E.npy"}, {"", ".npy"}, {"50% \n", "50%25%20%0A.npy"}, {"\xc3\xa9", "%C3%A9.npy"}};
    char file[FL_VALUE_FILE], other[FL_VALUE_FILE], name[400];
    (void)state;

    for (size_t i = 0; i < FL_COUNT(names); i++) {
        fl_value_file_name(names[i].name, file);
        assert_string_equal(file, names[i].file);
    }
    for (size_t n = 190; n < 399; n++) { /* long ones stay distinct, and short enough */
        memset(name, n % 2 ? '/' : 'x', n);
        name[n] = 0;
        fl_value_file_name(name, file);
        name[n - 1] = 'y';
        fl_value_file_name(name, other);
        assert_true(strlen(file) < FL_VALUE_FILE - 10 && !strchr(file, '/') && strcmp(file, other) != 0);
        assert_string_equal(file + strlen(file) - 4, ".npy");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_values_are_the_interpreters),
        cmocka_unit_test(patterns_choose),
        cmocka_unit_test(a_folder_that_cannot_be_is_reported),
        cmocka_unit_test(file_names_are_safe),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
