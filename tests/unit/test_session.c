/*
 * test_session.c -- the life of a model, on hand-made programs and the interpreter: first weights, steps, saving, mapping,
 * prediction. Oracle: the same few multiplications in C.
 */
#include "runtime/session.h"

#include "backend/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/flen-session-XXXXXX", saved[64];

static const fl_type vector = {FL_FLOAT, 1, {3}};

/* init: w = 0.5, state = 0.5; train: w += x, state += x; prologue: square = w * w; predict: y = square * x. */
static void make_model(void)
{
    fl_graph *train = fl_graph_new("train"), *predict = fl_graph_new("predict");
    fl_graph *prologue = fl_graph_new("prologue"), *init = fl_graph_new("init");
    fl_manifest m;

    fl_id w = fl_graph_variable(train, "w", vector), x = fl_graph_input(train, "x", vector);
    fl_graph_update(train, w, fl_build_2(train, FL_OP_ADD, "w_next", w, x));
    fl_id state = fl_graph_variable(train, "state", vector);
    fl_graph_update(train, state, fl_build_2(train, FL_OP_ADD, "state_next", state, x));
    fl_graph_output(train, fl_build_1(train, FL_OP_NEG, "loss", x));
    w = fl_graph_variable(prologue, "w", vector);
    fl_id square = fl_graph_variable(prologue, "square", vector);
    fl_graph_update(prologue, square, fl_build_2(prologue, FL_OP_MUL, "square_next", w, w));
    square = fl_graph_variable(predict, "square", vector);
    fl_graph_output(predict, fl_build_2(predict, FL_OP_MUL, "y", square, fl_graph_input(predict, "x", vector)));
    for (int i = 0; i < 2; i++) {
        fl_id node = fl_node_new(init, FL_OP_INIT_CONSTANT, i ? "state" : "w", NULL, 0, 1);
        fl_node_set_float(init, node, "value", 0.5);
        fl_node_set_ints(init, node, "shape", (const int64_t[]){3}, 1);
        fl_build_infer(init, node);
        fl_graph_output(init, fl_node_out(init, node, 0));
    }

    fl_manifest_init(&m);
    m.version = FLEN_VERSION;
    m.network = "test";
    m.log = "plain";
    fl_model_entry_source entry = {"note.txt", "kept", 4};
    fl_model_content content = {.manifest = &m, .source = predict, .programs = {predict, train, prologue, init}, .entries = &entry, .n_entries = 1};
    assert_int_equal(fl_model_save(path, &content, NULL), FL_OK);
    fl_manifest_deinit(&m);
    fl_graph_free(train);
    fl_graph_free(predict);
    fl_graph_free(prologue);
    fl_graph_free(init);
}

static void predict_with(fl_session *s, const float *x, float *y)
{
    fl_engine *e = NULL;
    int64_t dims[1] = {0};
    void *outputs[] = {y};

    assert_int_equal(fl_session_engine(s, FL_PROGRAM_PREDICT, 1, &e, NULL), FL_OK);
    assert_int_equal(e->run(e, &(fl_run){dims, (const void *const[]){x}, outputs}, NULL), FL_OK);
}

static void a_model_lives(void **state)
{
    fl_session_options o = {.train = true, .threads = 1, .interpret = fl_interp_engine_new};
    const float x[] = {1, 2, 0.25f};
    float y[3], again[3];
    int64_t dims[1] = {0};
    fl_session s;
    fl_engine *e = NULL;
    fl_diag dg;
    (void)state;

    make_model();
    fl_diag_init(&dg);
    o.train = false;
    assert_int_equal(fl_session_open(&s, path, &o, &dg), FL_OK);
    assert_int_not_equal(fl_session_engine(&s, FL_PROGRAM_PREDICT, 1, &e, &dg), FL_OK);
    fl_session_close(&s);
    fl_diag_deinit(&dg);

    o.train = true;
    assert_int_equal(fl_session_open(&s, path, &o, NULL), FL_OK);
    assert_int_equal(fl_session_engine(&s, FL_PROGRAM_TRAIN, 1, &e, NULL), FL_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(e->run(e, &(fl_run){dims, (const void *const[]){x}, NULL}, NULL), FL_OK);
    assert_int_equal(fl_session_derive(&s, NULL), FL_OK);
    predict_with(&s, x, y);
    for (int i = 0; i < 3; i++)
        assert_true(y[i] == (0.5f + 2 * x[i]) * (0.5f + 2 * x[i]) * x[i]);
    snprintf(saved, sizeof saved, "%s.saved", path);
    assert_int_equal(fl_session_save(&s, saved, NULL, 0, NULL), FL_OK);
    fl_session_close(&s);

    o.train = false;
    assert_int_equal(fl_session_open(&s, saved, &o, NULL), FL_OK);
    predict_with(&s, x, again);
    assert_memory_equal(y, again, sizeof y);
    fl_session_close(&s);
}

/* A session that does not train has no optimiser state in memory; saving keeps what the file has, and its further entries. */
static void saving_without_training_keeps_state(void **unused)
{
    fl_session_options o = {.train = true, .threads = 1, .interpret = fl_interp_engine_new};
    fl_session s;
    size_t n;
    (void)unused;

    make_model();
    snprintf(saved, sizeof saved, "%s.saved", path);
    assert_int_equal(fl_session_open(&s, path, &o, NULL), FL_OK);
    float *state = fl_store_find(&s.variables.store, "state")->data;
    state[1] = 7;
    assert_int_equal(fl_session_save(&s, saved, &(fl_model_entry_source){"auc.bin", "new", 3}, 1, NULL), FL_OK);
    fl_session_close(&s);
    o.train = false;
    assert_int_equal(fl_session_open(&s, saved, &o, NULL), FL_OK);
    assert_null(fl_store_find(&s.variables.store, "state"));
    assert_int_equal(fl_session_save(&s, path, &(fl_model_entry_source){"note.txt", "newer", 5}, 1, NULL), FL_OK);
    fl_session_close(&s);
    o.train = true;
    assert_int_equal(fl_session_open(&s, path, &o, NULL), FL_OK);
    state = fl_store_find(&s.variables.store, "state")->data;
    assert_true(state[0] == 0.5f && state[1] == 7 && state[2] == 0.5f);
    assert_memory_equal(fl_model_entry(s.model, "auc.bin", &n), "new", 3);
    assert_memory_equal(fl_model_entry(s.model, "note.txt", &n), "newer", 5);
    assert_int_equal(n, 5);
    fl_session_close(&s);
}

/* A seed given for the session replaces the model's, and travels on. */
static void a_seed_is_kept(void **unused)
{
    fl_session_options o = {.train = true, .threads = 1, .interpret = fl_interp_engine_new, .has_seed = true, .seed = 42};
    fl_session s;
    (void)unused;

    make_model();
    assert_int_equal(fl_session_open(&s, path, &o, NULL), FL_OK);
    assert_int_equal(fl_session_save(&s, saved, NULL, 0, NULL), FL_OK);
    fl_session_close(&s);
    o.has_seed = false;
    assert_int_equal(fl_session_open(&s, saved, &o, NULL), FL_OK);
    assert_int_equal(s.manifest->seed, 42);
    fl_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_model_lives), cmocka_unit_test(saving_without_training_keeps_state),
                                       cmocka_unit_test(a_seed_is_kept)};
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(saved);
    return failed;
}
