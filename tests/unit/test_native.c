/*
 * test_native.c -- the native engine on hand-made schedules, whose functions are C.
 * Oracle: the same sums written as plain loops.
 */
#include "runtime/native.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/*
 * (float[batch,4] x, variable float[4] w) => (float[batch,2] y, float[] total, float[2] pair): y = (x·w, 2 x·w), total = their sum,
 * pair = (total, -total); a SLOTS segment counts into distinct rows; the variable w grows by 1.
 */
typedef struct fixture {
    fl_graph *g;
    fl_schedule schedule;
    fl_segment segments[4];
    fl_buffer buffers[7];
    fl_storage storage[16];
    fl_id x, w, y, total, pair, places, batch_only;
    float weights[8]; /* stride 2 */
    fl_var var;
    fl_store store;
} fixture;

enum { B_X, B_W, B_Y, B_TOTAL, B_PAIR, B_PLACES, N_BUFFERS };

static void rows(const fl_ctx *c, void *scratch, int64_t begin, int64_t end)
{
    const float *x = c->buffer[B_X], *w = c->buffer[B_W];
    float *y = c->buffer[B_Y], *sums = scratch;

    assert_true(end - begin <= FL_TILE_ROWS && end <= c->dim[0] && ((uintptr_t)scratch & 63) == 0);
    for (int64_t i = begin; i < end; i++) {
        float s = 0;
        for (int j = 0; j < 4; j++)
            s += x[i * 4 + j] * w[j * c->stride[B_W]];
        sums[i - begin] = s;
    }
    for (int64_t i = begin; i < end; i++) {
        y[i * 8] = sums[i - begin]; /* row stride 8: two of eight elements are used */
        y[i * 8 + 1] = 2 * sums[i - begin];
    }
}

static void slots(const fl_ctx *c, void *scratch, int64_t begin, int64_t end)
{
    int64_t *places = c->buffer[B_PLACES];
    (void)scratch;

    for (int64_t s = begin; s < end; s++)
        for (int64_t i = 0; i < c->dim[0]; i++)
            places[s * c->dim[0] + i] = s * 1000 + i;
}

static void total(const fl_ctx *c, void *scratch, int64_t begin, int64_t end)
{
    const float *y = c->buffer[B_Y];
    const int64_t *places = c->buffer[B_PLACES];
    float *t = c->buffer[B_TOTAL], *pair = c->buffer[B_PAIR], sum = 0;
    (void)scratch;

    assert_true(begin == 0 && end == 1);
    for (int64_t i = 0; i < c->dim[0]; i++)
        sum += y[i * 8];
    for (int64_t i = 0; i < c->dim[1]; i++) /* the capacity: 3 slots of batch */
        assert_int_equal(places[i], i / c->dim[0] * 1000 + i % c->dim[0]);
    *t = sum;
    pair[0] = sum;
    pair[1] = -sum;
}

static void update(const fl_ctx *c, void *scratch, int64_t begin, int64_t end)
{
    float *w = c->buffer[B_W];
    (void)scratch, (void)begin, (void)end;

    for (int j = 0; j < 4; j++)
        w[j * c->stride[B_W]] += 1;
}

static fl_segment_fn *const functions[] = {rows, slots, total, update};

static void make(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->g = fl_graph_new("program");
    fl_dim batch = fl_graph_symbol(f->g, "batch"), distinct = fl_graph_symbol(f->g, "distinct");
    f->x = fl_graph_input(f->g, "x", fl_type_make(FL_FLOAT, 2, (fl_dim[]){batch, 4}));
    f->w = fl_graph_variable(f->g, "w", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}));
    fl_id node = fl_node_new(f->g, FL_OP_SUM, "r", &f->x, 1, 4);
    f->y = fl_node_out(f->g, node, 0);
    f->total = fl_node_out(f->g, node, 1);
    f->pair = fl_node_out(f->g, node, 2);
    f->places = fl_node_out(f->g, node, 3);
    f->g->values[f->y].type = fl_type_make(FL_FLOAT, 2, (fl_dim[]){batch, 2});
    f->g->values[f->total].type = fl_type_make(FL_FLOAT, 0, NULL);
    f->g->values[f->pair].type = fl_type_make(FL_FLOAT, 1, (fl_dim[]){2});
    f->g->values[f->places].type = fl_type_make(FL_INT64, 1, (fl_dim[]){distinct});
    fl_id half = fl_build_scalar(f->g, "half", 0.5);
    fl_graph_output(f->g, f->y);
    fl_graph_output(f->g, f->total);
    fl_graph_output(f->g, f->pair);
    fl_graph_output(f->g, half);

    f->buffers[B_X] = (fl_buffer){FL_BUFFER_INPUT, f->x, FL_FLOAT, batch, 4, 0, 0};
    f->buffers[B_W] = (fl_buffer){FL_BUFFER_VARIABLE, f->w, FL_FLOAT, 4, 1, 0, 0};
    f->buffers[B_Y] = (fl_buffer){FL_BUFFER_ARENA, f->y, FL_FLOAT, batch, 8, 0, 2};
    f->buffers[B_TOTAL] = (fl_buffer){FL_BUFFER_ARENA, f->total, FL_FLOAT, 1, 1, 1, 2};
    f->buffers[B_PAIR] = (fl_buffer){FL_BUFFER_ARENA, f->pair, FL_FLOAT, 1, 2, 1, 2};
    f->buffers[B_PLACES] = (fl_buffer){FL_BUFFER_ARENA, f->places, FL_INT64, distinct, 1, 0, 1};
    f->storage[f->y] = (fl_storage){FL_STORAGE_BUFFER, B_Y, 0, 8};
    f->storage[f->total] = (fl_storage){FL_STORAGE_BUFFER, B_TOTAL, 0, 1};
    f->storage[f->pair] = (fl_storage){FL_STORAGE_BUFFER, B_PAIR, 0, 2};
    f->segments[0] = (fl_segment){"rows", FL_DOMAIN_ROWS, batch, FL_NONE, 0, NULL, 0, FL_TILE_ROWS * 4, 0, 0};
    f->segments[1] = (fl_segment){"slots", FL_DOMAIN_SLOTS, 3, FL_NONE, 0, NULL, 0, 0, 8, batch};
    f->segments[2] = (fl_segment){"total", FL_DOMAIN_ONE, 1, FL_NONE, 1, NULL, 0, 0, 0, 0};
    f->segments[3] = (fl_segment){"update", FL_DOMAIN_ONE, 1, FL_NONE, 2, NULL, 0, 0, 0, 0};
    f->schedule = (fl_schedule){f->segments, 4, 3, f->storage, 16, f->buffers, N_BUFFERS, NULL, 2};
    f->schedule.capacity = fl_arena_calloc(&f->g->arena, 2, sizeof *f->schedule.capacity);
    f->schedule.capacity[1].dims = fl_arena_new(&f->g->arena, fl_dim, 2);
    assert_non_null(f->schedule.capacity[1].dims);
    f->schedule.capacity[1].dims[0] = batch;
    f->schedule.capacity[1].dims[1] = 3;
    f->schedule.capacity[1].n_dims = 2;
    f->g->schedule = &f->schedule;
    for (int j = 0; j < 4; j++)
        f->weights[2 * j] = (float)(j + 1);
    f->var = (fl_var){"w", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}), f->weights, 2};
    f->store = (fl_store){&f->var, 1};
}

static void check_run(fixture *f, fl_engine *e, int64_t batch)
{
    float *x = malloc((size_t)batch * 16), *y = malloc((size_t)batch * 8 + 4), pair[2], sum, half, want = 0;
    int64_t dims[2] = {batch, -77};
    void *outputs[] = {y, &sum, pair, &half};
    fl_run run = {dims, (const void *const[]){x}, outputs};
    float *w = f->weights, old[4];

    y[batch * 2] = 99; /* sentinel */
    for (int64_t i = 0; i < batch * 4; i++)
        x[i] = (float)((i * 7) % 11) - 5;
    for (int j = 0; j < 4; j++)
        old[j] = w[2 * j];
    assert_int_equal(e->run(e, &run, NULL), FL_OK);
    for (int64_t i = 0; i < batch; i++) {
        float s = 0;
        for (int j = 0; j < 4; j++)
            s += x[i * 4 + j] * old[j];
        want += s;
        assert_true(y[i * 2] == s && y[i * 2 + 1] == 2 * s);
    }
    assert_true(sum == want && pair[0] == want && pair[1] == -want);
    assert_true(half == 0.5f);
    assert_true(y[batch * 2] == 99);
    for (int j = 0; j < 4; j++)
        assert_true(w[2 * j] == old[j] + 1 && w[2 * j + 1] == 0);
    free(x);
    free(y);
}

static void any_threads_and_sizes(void **state)
{
    (void)state;
    for (uint32_t threads = 0; threads <= 3; threads++) {
        fixture f;
        fl_engine *e = NULL;
        fl_native_options o = {.max_dims = (int64_t[]){100, 0}};
        make(&f);
        if (threads > 0)
            assert_int_equal(fl_pool_new(threads, &o.pool, NULL), FL_OK);
        assert_int_equal(fl_native_engine_from(f.g, &f.store, functions, &o, &e, NULL), FL_OK);
        size_t before = fl_native_engine_bytes(e);
        const int64_t sizes[] = {1, 2, 63, 64, 65, 100};
        for (size_t i = 0; i < FL_COUNT(sizes); i++)
            check_run(&f, e, sizes[i]);
        assert_int_equal(fl_native_engine_bytes(e), before);
        check_run(&f, e, 1000); /* beyond what was announced: memory grows */
        assert_true(fl_native_engine_bytes(e) > before);
        check_run(&f, e, 130);
        check_run(&f, e, 0);
        e->free(e);
        fl_pool_free(o.pool);
        fl_graph_free(f.g);
    }
}

static void running_never_allocates(void **state)
{
    fixture f;
    fl_engine *e = NULL;
    fl_native_options o = {.max_dims = (int64_t[]){64, 0}};
    float x[64 * 4] = {0}, y[64 * 2];
    void *outputs[] = {y, NULL, NULL, NULL};
    fl_run run = {(int64_t[]){64, 0}, (const void *const[]){x}, outputs};
    (void)state;

    make(&f);
    assert_int_equal(fl_native_engine_from(f.g, &f.store, functions, &o, &e, NULL), FL_OK);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 100; i++)
        (void)!e->run(e, &run, NULL);
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(after.uordblks, before.uordblks);
    assert_int_equal(after.hblks, before.hblks);
    e->free(e);
    fl_graph_free(f.g);
}

static void what_is_refused(void **state)
{
    fixture f;
    fl_engine *e = NULL;
    fl_diag dg;
    float x[4] = {0};
    fl_run run = {(int64_t[]){-1, 0}, (const void *const[]){x}, NULL};
    (void)state;

    make(&f);
    fl_diag_init(&dg);
    f.var.name = "other";
    assert_int_equal(fl_native_engine_from(f.g, &f.store, functions, NULL, &e, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "variable \"w\" of program \"program\" is not in the session");
    f.var.name = "w";
    f.var.type.dims[0] = 5;
    assert_int_equal(fl_native_engine_from(f.g, &f.store, functions, NULL, &e, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[1].text, "variable \"w\" of program \"program\" has another type in the session");
    f.var.type.dims[0] = 4;
    assert_int_equal(fl_native_engine_from(f.g, &f.store, functions, NULL, &e, &dg), FL_OK);
    assert_int_equal(e->run(e, &run, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[2].text, "dimension \"batch\" of program \"program\" cannot be -1");
    run.dims = (int64_t[]){INT64_MAX / 2, 0};
    assert_int_equal(e->run(e, &run, &dg), FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[3].text, "takes more than any memory, and all values together may take"));
    check_run(&f, e, 70); /* as if nothing had been */
    e->free(e);
    fl_image *image = NULL;
    assert_int_equal(fl_image_load_bytes("no ELF at all", 13, "junk", &image, &dg), FL_FAILED);
    fl_diag_deinit(&dg);
    fl_graph_free(f.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_threads_and_sizes),
        cmocka_unit_test(running_never_allocates),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
