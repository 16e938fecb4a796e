/*
 * test_fuse_field_pool.c -- what becomes a FieldPool, what must not, and that values stay: the oracle is the interpreter on
 * the graph before the pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/interp/interp.h"
#include "passes/pass.h"

#include <math.h>

/* Gather of 4 columns of a table [6,3]. */
typedef struct sample {
    fl_graph *g;
    fl_id e;
    fl_diag dg;
} sample;

static sample make(void)
{
    sample s = {.g = fl_graph_new("g")};
    fl_diag_init(&s.dg);
    fl_id ids = fl_graph_input(s.g, "ids", fl_type_make(FL_INT64, 2, (fl_dim[]){fl_graph_symbol(s.g, "batch"), 4}));
    fl_id table = fl_graph_variable(s.g, "table", fl_type_make(FL_FLOAT, 2, (fl_dim[]){6, 3}));
    s.e = fl_build_2(s.g, FL_OP_GATHER, "e", table, ids);
    return s;
}

static void done(sample *s)
{
    fl_graph_free(s->g);
    fl_diag_deinit(&s->dg);
}

static fl_id sum(sample *s, fl_id x)
{
    return fl_build_reduce_sum(s->g, "f", x, (int64_t[]){1}, 1, false);
}

static fl_id slice(sample *s, int64_t start, int64_t end)
{
    fl_id in[] = {s->e, fl_build_ints(s->g, "starts", &start, 1), fl_build_ints(s->g, "ends", &end, 1),
                  fl_build_ints(s->g, "axes", (int64_t[]){1}, 1)};
    return fl_build_n(s->g, FL_OP_SLICE, "part", in, 4);
}

static fl_interp *run(const fl_graph *g, fl_diag *dg)
{
    static const double table[] = {.1, -.2, .3, 1, 2, 3, .7, .5, -.9, 4, -5, 6, .01, .02, .03, 7, 8, -9};
    static const int64_t ids[] = {0, 1, 2, 3, 5, 4, 3, 3, 1, 0, 0, 5};
    fl_interp *in = NULL;
    assert_int_equal(fl_interp_new(g, &in, dg), FL_OK);
    assert_int_equal(fl_interp_set_doubles(in, fl_graph_find(g, "table"), 2, (int64_t[]){6, 3}, table, dg), FL_OK);
    assert_int_equal(fl_interp_set_ints(in, fl_graph_find(g, "ids"), 2, (int64_t[]){3, 4}, ids, dg), FL_OK);
    assert_int_equal(fl_interp_run(in, dg), FL_OK);
    return in;
}

static uint32_t count(const fl_graph *g, fl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* Runs the pass; every output must keep its value; there are `pools` FieldPools and `gathers` Gathers afterwards. */
static void expect(sample *s, uint32_t pools, uint32_t gathers)
{
    fl_graph *before = fl_graph_clone(s->g);
    assert_non_null(before);
    fl_pass_ctx cx = {.diag = &s->dg, .arguments = ""};
    fl_arena_init(&cx.scratch);
    assert_int_equal(fl_pass_fuse_field_pool(s->g, &cx), FL_OK);
    assert_int_equal(cx.n_changed > 0, pools > 0);
    fl_arena_deinit(&cx.scratch);
    assert_int_equal(count(s->g, FL_OP_FIELD_POOL), pools);
    assert_int_equal(count(s->g, FL_OP_GATHER), gathers);
    fl_interp *a = run(before, &s->dg), *b = run(s->g, &s->dg);
    for (uint32_t k = 0; k < before->n_outputs; k++) {
        const fl_array *x = fl_interp_get(a, before->outputs[k]), *y = fl_interp_get(b, s->g->outputs[k]);
        assert_true(x && y && x->n == y->n && x->n > 0);
        for (int64_t j = 0; j < x->n; j++)
            assert_true(fabs(x->f[j] - y->f[j]) <= 1e-12 * (1 + fabs(x->f[j])));
    }
    fl_interp_free(a);
    fl_interp_free(b);
    fl_graph_free(before);
}

/* Reads v, so that it is no output itself. */
static void output(sample *s, fl_id v)
{
    fl_graph_output(s->g, fl_build_1(s->g, FL_OP_TANH, "y", v));
}

static void split_with_squares_and_another_reader(void **state)
{
    (void)state;
    sample s = make();
    fl_id part[2];
    fl_build_split(s.g, "part", s.e, 1, (int64_t[]){3, 1}, 2, part);
    output(&s, sum(&s, part[1]));
    output(&s, sum(&s, fl_build_2(s.g, FL_OP_MUL, "sq", part[0], part[0])));
    output(&s, sum(&s, part[0]));
    output(&s, fl_build_reshape(s.g, "flat", s.e, (int64_t[]){0, 12}, 2));
    expect(&s, 1, 1);
    done(&s);
}

static void slices_powers_and_whole_squares(void **state)
{
    (void)state;
    sample s = make();
    fl_id power = fl_build_2(s.g, FL_OP_POW, "sq", slice(&s, 1, 3), fl_build_scalar(s.g, "two", 2));
    output(&s, sum(&s, power));
    output(&s, sum(&s, slice(&s, 1, -1)));
    expect(&s, 1, 0);
    done(&s);

    s = make();
    output(&s, sum(&s, s.e));
    output(&s, sum(&s, fl_build_2(s.g, FL_OP_MUL, "sq", s.e, s.e)));
    expect(&s, 1, 0);
    done(&s);
}

static void chains_of_single_slots(void **state)
{
    (void)state;
    sample s = make();
    fl_id one[4];
    for (int64_t k = 0; k < 4; k++)
        one[k] = fl_build_reshape(s.g, "one", slice(&s, k, k + 1), (int64_t[]){0, 3}, 2);
    /* in no order: 1 + (0 + 2); column 3 stands alone */
    fl_id inner = fl_build_2(s.g, FL_OP_ADD, "sum", one[0], one[2]);
    output(&s, fl_build_n(s.g, FL_OP_SUM, "sum", (fl_id[]){one[0], one[1], one[2]}, 3));
    output(&s, fl_build_2(s.g, FL_OP_MUL, "pair", one[3], one[3]));
    (void)inner;
    expect(&s, 1, 0);
    done(&s);
}

static void overlapping_groups_take_two_pools(void **state)
{
    (void)state;
    sample s = make();
    output(&s, sum(&s, slice(&s, 0, 2)));
    output(&s, sum(&s, slice(&s, 1, 4)));
    expect(&s, 2, 0);
    done(&s);
}

static void near_misses_stay(void **state)
{
    (void)state;
    sample s = make();
    /* a sum over K; a difference of slots; a sum with a gap; a square of a sum; slots that are merely taken apart */
    output(&s, fl_build_reduce_sum(s.g, "k", s.e, (int64_t[]){2}, 1, false));
    fl_id a = fl_build_reshape(s.g, "a", slice(&s, 0, 1), (int64_t[]){0, 3}, 2);
    fl_id b = fl_build_reshape(s.g, "b", slice(&s, 2, 3), (int64_t[]){0, 3}, 2);
    output(&s, fl_build_2(s.g, FL_OP_SUB, "difference", a, b));
    output(&s, fl_build_2(s.g, FL_OP_ADD, "gap", a, b));
    output(&s, fl_build_1(s.g, FL_OP_RELU, "slot", a));
    expect(&s, 0, 1);
    done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_with_squares_and_another_reader), cmocka_unit_test(slices_powers_and_whole_squares),
        cmocka_unit_test(chains_of_single_slots), cmocka_unit_test(overlapping_groups_take_two_pools),
        cmocka_unit_test(near_misses_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
