/*
 * test_quiet_steps.c -- once warm, training steps and predictions allocate nothing, with rows in memory and one thread. Every run of 1,000 stands between
 * two writes to no file, "begin NAME" and "end NAME": tests/e2e/run_system_calls.sh lets strace count what lies between them.
 */
#include "backend/backend.h"
#include "runtime/feed.h"
#include "runtime/session.h"
#include "runtime/synthetic.h"

#include "data_support.h"
#include "fault_memory.h"
#include "model_file.h"

#include <sys/syscall.h>

enum { ROWS = 4096, BATCH = 64, WARM = 100, RUNS = 1000 };

/* %s: of the slot "words", which has many values, or one where the first layer is to be folded. */
static const char config[] = "network: flen\nseed: 1\nembedding_size: 16\nmlp: {input: slots, widths: [32, 16], order: [relu, dropout]}\ndropout: 0.2\n"
                             "optimizer: {class: adagrad, learning_rate: 0.04}\n"
                             "inputs:\n  label: click\n  defaults: {vocabulary: range}\n  slots:\n"
                             "    - {name: user, first_id: 0, rows: 5000}\n    - {name: age, first_id: 5000, rows: 9}\n"
                             "    - {name: item, first_id: 5009, rows: 3000}\n    - {name: words, first_id: 8009, rows: 700%s}\n"
                             "    - {name: hour, first_id: 8709, rows: 24}\n"
                             "fields: {user: [user, age], item: [item, words], context: [hour]}\n";

static const char *make_model(const char *name, const char *of_words)
{
    char text[sizeof config + 32];
    snprintf(text, sizeof text, config, of_words);
    const char *path = scratch_path(name), *source = write_text("config.yaml", text);
    make_model_file(text, source, path);
    return path;
}

static void mark(const char *moment, const char *name)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s %s", moment, name);
    (void)syscall(SYS_write, -1, text, (size_t)n);
}

typedef struct run_state {
    fl_engine *engine;
    fl_feed feed;
    fl_batch rows, batch;
    float results[BATCH];
    void *outputs[64];
} run_state;

static void run_batches(run_state *r, int n)
{
    for (int i = 0; i < n; i++) {
        fl_batch_clear(&r->batch);
        assert_int_equal(fl_batch_append(&r->batch, &r->rows, (int64_t)i * BATCH % ROWS, BATCH, 0), FL_OK);
        fl_run run = fl_feed_run(&r->feed, &r->batch);
        run.outputs = r->outputs;
        assert_int_equal(r->engine->run(r->engine, &run, NULL), FL_OK);
        r->feed.step++;
    }
}

static void is_quiet(const char *path, fl_program p, const fl_session_options *o, const char *name)
{
    fl_session s;
    run_state r = {0};
    fl_diag dg;

    fl_diag_init(&dg);
    assert_int_equal(fl_session_open(&s, path, o, &dg), FL_OK);
    assert_int_equal(s.folded, o->fold_bytes > 0);
    fl_status status = fl_session_engine(&s, p, BATCH, &r.engine, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    assert_int_equal(status, FL_OK);
    const fl_graph *g = s.programs[p];
    assert_int_equal(fl_feed_init(&r.feed, g, &s.manifest->schema, &dg), FL_OK);
    assert_int_equal(fl_batch_init(&r.rows, &s.manifest->schema), FL_OK);
    assert_int_equal(fl_batch_init(&r.batch, &s.manifest->schema), FL_OK);
    assert_int_equal(fl_synthetic_rows(&r.rows, &s.manifest->schema, 1.1, 0.3, 5, ROWS), FL_OK);
    for (uint32_t i = 0; i < g->n_outputs && i < FL_COUNT(r.outputs); i++)
        if (strcmp(g->values[g->outputs[i]].name, "logit") == 0)
            r.outputs[i] = r.results;
    run_batches(&r, WARM);
    fault_set(0, false); /* counts from here */
    mark("begin", name);
    run_batches(&r, RUNS);
    mark("end", name);
    assert_int_equal(atomic_load(&fault_calls), 0);
    void *volatile block = malloc(16);
    assert_int_equal(atomic_load(&fault_calls), 1); /* they are counted */
    free(block);
    assert_true(r.results[0] == r.results[0] && (r.results[0] != 0 || r.results[1] != 0));
    fl_feed_deinit(&r.feed);
    fl_batch_deinit(&r.rows);
    fl_batch_deinit(&r.batch);
    fl_session_close(&s);
    fl_diag_deinit(&dg);
}

static void steps_and_predictions_are_quiet(void **state)
{
    const char *path = make_model("bags.bin", ", pooling: sum"), *foldable = make_model("columns.bin", "");
    (void)state;

    is_quiet(path, FL_PROGRAM_TRAIN, &(fl_session_options){.train = true, .threads = 1, .compile = fl_compile_as}, "train");
    is_quiet(path, FL_PROGRAM_PREDICT, &(fl_session_options){.first_weights = true, .threads = 1, .compile = fl_compile_as}, "predict");
    is_quiet(foldable, FL_PROGRAM_PREDICT, &(fl_session_options){.first_weights = true, .threads = 1, .fold_bytes = 1u << 30, .compile = fl_compile_as}, "folded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_and_predictions_are_quiet)};

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
