/*
 * test_fuse_interaction.c -- the networks' interactions become one FieldInteraction each, and every output keeps its value
 * (oracle: the interpreter on the graph before); a lone product and unpaired squares stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/interp/interp.h"
#include "frontend/network.h"
#include "ir/base/rng.h"
#include "passes/pass.h"

#include <math.h>
#include <string.h>

static uint32_t count(const fl_graph *g, fl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

static void fuse(fl_graph *g, fl_diag *dg)
{
    fl_pass_fn *const passes[] = {fl_pass_fuse_field_pool, fl_pass_fuse_interaction};
    for (size_t k = 0; k < FL_COUNT(passes); k++) {
        fl_pass_ctx cx = {.diag = dg, .arguments = ""};
        fl_arena_init(&cx.scratch);
        assert_int_equal(passes[k](g, &cx), FL_OK);
        fl_arena_deinit(&cx.scratch);
    }
}

/* Random values for whatever the graph reads; 3 rows. */
static fl_interp *run(const fl_graph *g, fl_diag *dg)
{
    fl_interp *in = NULL;
    assert_int_equal(fl_interp_new(g, &in, dg), FL_OK);
    for (fl_id v = 0; v < g->n_values; v++) {
        const fl_value *value = &g->values[v];
        if (!value->name || (value->kind != FL_VALUE_INPUT && value->kind != FL_VALUE_VARIABLE))
            continue;
        int64_t dims[FL_MAX_RANK], ints[64];
        static double f[1 << 18];
        int64_t n = 1;
        for (int d = 0; d < value->type.rank; d++)
            n *= dims[d] = value->type.dims[d] < 0 ? 3 : value->type.dims[d];
        assert_true(n <= (int64_t)FL_COUNT(f));
        for (int64_t k = 0; k < n; k++)
            f[k] = fl_random_uniform(1, fl_hash_bytes(value->name, strlen(value->name), 0), (uint64_t)k);
        for (int64_t k = 0; k < n && k < 64; k++)
            ints[k] = (int64_t)(f[k] * 20);
        assert_int_equal(value->type.dtype == FL_INT64 ? fl_interp_set_ints(in, v, value->type.rank, dims, ints, dg)
                                                       : fl_interp_set_doubles(in, v, value->type.rank, dims, f, dg), FL_OK);
    }
    assert_int_equal(fl_interp_run(in, dg), FL_OK);
    return in;
}

static void same_values(fl_graph *g, uint32_t interactions, fl_diag *dg)
{
    fl_graph *before = fl_graph_clone(g);
    assert_non_null(before);
    fuse(g, dg);
    assert_int_equal(count(g, FL_OP_FIELD_INTERACTION), interactions);
    fl_interp *a = run(before, dg), *b = run(g, dg);
    for (uint32_t k = 0; k < before->n_outputs; k++) {
        const fl_array *x = fl_interp_get(a, before->outputs[k]), *y = fl_interp_get(b, g->outputs[k]);
        assert_true(x && y && x->n == y->n && x->n > 0);
        for (int64_t j = 0; j < x->n; j++)
            assert_true(fabs(x->f[j] - y->f[j]) <= 1e-12 * (1 + fabs(x->f[j])));
    }
    fl_interp_free(a);
    fl_interp_free(b);
    fl_graph_free(before);
}

static void networks(void **state)
{
    (void)state;
    static const char *const names[] = {"fm", "fwfm", "flen", "flen-official", "flen-paddlerec-2"};
    fl_slot slots[5] = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}, {.name = "e"}};
    fl_field fields[3] = {{.name = "x"}, {.name = "y"}, {.name = "z"}};
    const uint32_t field_of[5] = {0, 0, 1, 2, 2};
    for (int k = 0; k < 5; k++) {
        slots[k].field = field_of[k];
        slots[k].rows = 4;
        slots[k].first_row = 4 * k;
    }
    fl_schema schema = {.slots = slots, .n_slots = 5, .fields = fields, .n_fields = 3, .table_rows = 20};
    for (size_t k = 0; k < FL_COUNT(names); k++) {
        fl_diag dg;
        fl_network_spec spec;
        fl_graph *g;
        fl_diag_init(&dg);
        assert_true(fl_network_preset(&spec, names[k]));
        spec.schema = &schema;
        assert_int_equal(fl_network_build(&spec, &g, &dg), FL_OK);
        same_values(g, 1, &dg);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

/* Leaves x, y, z [B,4] and r [3]. */
typedef struct sample {
    fl_graph *g;
    fl_id x, y, z, r[3];
    fl_diag dg;
} sample;

static sample make(void)
{
    sample s = {.g = fl_graph_new("g")};
    fl_diag_init(&s.dg);
    fl_type t = fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_graph_symbol(s.g, "batch"), 4});
    s.x = fl_graph_input(s.g, "x", t);
    s.y = fl_graph_input(s.g, "y", t);
    s.z = fl_graph_input(s.g, "z", t);
    fl_id r = fl_graph_variable(s.g, "r", fl_type_make(FL_FLOAT, 1, (fl_dim[]){3}));
    fl_build_split(s.g, "r_part", r, 0, (int64_t[]){1, 1, 1}, 3, s.r);
    return s;
}

static fl_id mul(sample *s, fl_id a, fl_id b)
{
    return fl_build_2(s->g, FL_OP_MUL, "m", a, b);
}

static void finish(sample *s, fl_id h, uint32_t interactions)
{
    fl_graph_output(s->g, fl_build_1(s->g, FL_OP_TANH, "out", h));
    same_values(s->g, interactions, &s->dg);
    fl_graph_free(s->g);
    fl_diag_deinit(&s->dg);
}

static void any_association(void **state)
{
    (void)state;
    sample s = make();
    /* (r1 x) z + (z (y r2) + r0 (y x)) - a stray vector */
    fl_id h = fl_build_2(s.g, FL_OP_ADD, "h", mul(&s, s.z, mul(&s, s.y, s.r[2])), mul(&s, s.r[0], mul(&s, s.y, s.x)));
    h = fl_build_2(s.g, FL_OP_ADD, "h", mul(&s, mul(&s, s.r[1], s.x), s.z), h);
    h = fl_build_2(s.g, FL_OP_SUB, "h", h, s.z);
    finish(&s, h, 1);

    s = make();
    fl_id square = fl_build_2(s.g, FL_OP_SUB, "d", mul(&s, s.x, s.x), s.y);
    finish(&s, mul(&s, fl_build_scalar(s.g, "half", 0.3), square), 1);
}

static void near_misses_stay(void **state)
{
    (void)state;
    sample s = make();
    finish(&s, fl_build_2(s.g, FL_OP_ADD, "h", mul(&s, s.x, s.y), s.z), 0); /* a lone product of vectors that are no fields */
    s = make();
    finish(&s, fl_build_2(s.g, FL_OP_ADD, "h", mul(&s, s.x, s.x), s.y), 0); /* + q, not - q */
    s = make();
    fl_id two = fl_build_2(s.g, FL_OP_ADD, "h", mul(&s, s.x, s.y), mul(&s, s.y, s.z)); /* x z is missing */
    finish(&s, two, 0);
    s = make();
    fl_id q = mul(&s, s.r[1], s.y); /* another factor on q than on x^2 */
    finish(&s, fl_build_2(s.g, FL_OP_SUB, "h", mul(&s, s.r[0], mul(&s, s.x, s.x)), q), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks), cmocka_unit_test(any_association), cmocka_unit_test(near_misses_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
