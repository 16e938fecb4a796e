/* test_blocks.c -- presets compose the tensors, inputs and operators that their definitions name. */
#include "frontend/network.h"
#include "ir/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_SLOTS = 32 };

typedef struct layout {
    fl_schema schema;
    fl_slot slots[MAX_SLOTS];
    fl_field fields[MAX_SLOTS];
} layout;

/* Fields of the given sizes; slot i has `rows` rows of its own, or shares all of them. */
static void lay_out(layout *l, const uint32_t *sizes, uint32_t n_fields, int64_t rows, bool shared)
{
    static char names[MAX_SLOTS][16];
    memset(l, 0, sizeof *l);
    for (uint32_t m = 0; m < n_fields; m++)
        for (uint32_t i = 0; i < sizes[m]; i++) {
            uint32_t n = l->schema.n_slots++;
            snprintf(names[n], sizeof names[n], "s%u", n);
            l->slots[n] = (fl_slot){.name = names[n], .field = m, .rows = rows, .first_row = shared ? 0 : rows * n};
        }
    l->schema.slots = l->slots;
    l->schema.fields = l->fields;
    l->schema.n_fields = n_fields;
    l->schema.table_rows = shared ? rows : rows * l->schema.n_slots;
}

static fl_graph *build(const fl_network_spec *spec)
{
    fl_diag dg;
    fl_graph *g = NULL;
    fl_diag_init(&dg);
    fl_status s = fl_network_build(spec, &g, &dg);
    if (s != FL_OK)
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
    assert_int_equal(s, FL_OK);
    fl_diag_deinit(&dg);
    return g;
}

static uint32_t count(const fl_graph *g, fl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

static void assert_variable(const fl_graph *g, const char *name, int rank, int64_t d0, int64_t d1)
{
    fl_id v = fl_graph_find(g, name);
    if (v == FL_NONE)
        fail_msg("no tensor %s", name);
    assert_int_equal(g->values[v].kind, FL_VALUE_VARIABLE);
    assert_int_equal(g->values[v].type.rank, rank);
    assert_int_equal(g->values[v].type.dims[0], d0);
    if (rank > 1)
        assert_int_equal(g->values[v].type.dims[1], d1);
    assert_non_null(fl_graph_find_param(g, v));
}

static void test_lr(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){2, 1}, 2, 5, false);
    assert_true(fl_network_preset(&s, "lr"));
    s.schema = &l.schema;
    fl_graph *g = build(&s);
    assert_int_equal(fl_network_parameters(g), 16);
    assert_variable(g, "linear", 2, 15, 1);
    assert_variable(g, "bias", 1, 1, 0);
    assert_int_equal(fl_graph_find(g, "table"), FL_NONE);
    assert_int_equal(g->n_inputs, 2);
    assert_string_equal(g->values[g->inputs[0]].name, "ids");
    assert_string_equal(g->values[g->inputs[1]].name, "label");
    assert_int_equal(g->n_outputs, 3);
    assert_string_equal(g->values[g->outputs[0]].name, "logit");
    assert_string_equal(g->values[g->outputs[1]].name, "probability");
    assert_string_equal(g->values[g->outputs[2]].name, "loss");
    assert_string_equal(fl_graph_get_meta(g, "ai.flen.disjoint"), "ids");
    assert_true(fl_graph_find_param(g, fl_graph_find(g, "linear"))->row_sparse);
    fl_graph_free(g);
}

static void test_fm_and_fwfm(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){2, 2}, 2, 5, false);
    assert_true(fl_network_preset(&s, "fm"));
    s.schema = &l.schema;
    s.k = 4;
    fl_graph *g = build(&s);
    assert_int_equal(fl_network_parameters(g), 20 * 4 + 20 + 1);
    assert_int_equal(count(g, FL_OP_SUB), 1);
    assert_int_equal(count(g, FL_OP_GATHER), 2);
    assert_int_equal(count(g, FL_OP_SPLIT), 0);
    fl_graph_free(g);
    assert_true(fl_network_preset(&s, "fwfm"));
    s.schema = &l.schema;
    s.k = 4;
    g = build(&s);
    assert_variable(g, "fwfm.r", 1, 6, 0);
    assert_int_equal(fl_network_parameters(g), 20 * 4 + 20 + 1 + 6);
    assert_int_equal(count(g, FL_OP_SUB), 0);
    assert_int_equal(count(g, FL_OP_SPLIT), 2);
    fl_graph_free(g);
}

static void test_flen_paper(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){3, 1, 2}, 3, 5, false);
    assert_true(fl_network_preset(&s, "flen"));
    s.schema = &l.schema;
    s.k = 4;
    s.dicefactor = 0.7;
    s.given_masks = true;
    fl_graph *g = build(&s);
    assert_variable(g, "linear_bias", 1, 1, 0);
    assert_variable(g, "fwbi.r_mf", 1, 3, 0);
    assert_variable(g, "fwbi.r_fm", 1, 3, 0);
    assert_variable(g, "fwbi.w", 2, 5, 5);
    assert_variable(g, "mlp.0.w", 2, 12, 64);
    assert_variable(g, "mlp.1.b", 1, 32, 0);
    assert_variable(g, "out.w", 2, 37, 1);
    assert_int_equal(fl_graph_find(g, "fwbi.b"), FL_NONE);
    assert_int_equal(fl_graph_find(g, "out.b"), FL_NONE);
    assert_int_equal(count(g, FL_OP_SUB), 2); /* the field of one slot has no term */
    assert_int_equal(count(g, FL_OP_DROPOUT), 2);
    assert_true(fl_graph_find(g, "mask.dicefactor") != FL_NONE);
    fl_param *p = fl_graph_find_param(g, fl_graph_find(g, "fwbi.r_fm"));
    assert_int_equal(p->init, FL_INIT_CONSTANT);
    assert_true(p->init_a == 0.5);
    fl_graph_free(g);
    s.given_masks = false;
    g = build(&s);
    assert_int_equal(fl_graph_find(g, "mask.dicefactor"), FL_NONE);
    int64_t keys = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_DROPOUT)
            keys = keys * 10 + fl_node_int(g, i, "key", 0);
    assert_int_equal(keys, 12);
    fl_graph_free(g);
}

static void test_flen_official(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){2, 2}, 2, 5, false);
    assert_true(fl_network_preset(&s, "flen-official"));
    s.schema = &l.schema;
    s.given_masks = true;
    fl_graph *g = build(&s);
    assert_variable(g, "field_bias.1", 1, 32, 0);
    assert_variable(g, "fwbi.b", 1, 32, 0);
    assert_variable(g, "fwbi.bn.running_var", 1, 32, 0);
    assert_variable(g, "mlp.1.bn.gamma", 1, 32, 0);
    assert_true(fl_graph_find(g, "mask.fwbi.drop") != FL_NONE);
    assert_true(fl_graph_find(g, "mask.mlp.1.drop") != FL_NONE);
    assert_int_equal(fl_graph_find(g, "fwbi.r_fm"), FL_NONE);
    assert_int_equal(fl_graph_find_param(g, fl_graph_find(g, "fwbi.bn.running_var"))->rule.kind, FL_RULE_NONE);
    fl_graph_free(g);
}

/* Counts from PaddleRec's definitions: notes in frontend/README.md. */
static void test_paddlerec_sizes(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){12, 3, 6}, 3, 100, true);
    assert_true(fl_network_preset(&s, "flen-paddlerec-1.8"));
    s.schema = &l.schema;
    s.k = 8;
    fl_graph *g = build(&s);
    assert_int_equal(fl_network_parameters(g), 14169);
    assert_null(fl_graph_get_meta(g, "ai.flen.disjoint"));
    fl_param *table = fl_graph_find_param(g, fl_graph_find(g, "table"));
    assert_true(table->lr_scale == 5 && table->init == FL_INIT_UNIFORM);
    assert_true(table->init_b > 0.6123 && table->init_b < 0.6124); /* sqrt(3 / 8) */
    fl_graph_free(g);
    lay_out(&l, (uint32_t[]){13, 3, 6}, 3, 20, true);
    assert_true(fl_network_preset(&s, "flen-paddlerec-2"));
    s.schema = &l.schema;
    s.given_masks = true;
    g = build(&s);
    assert_int_equal(fl_network_parameters(g), 49220);
    assert_true(fl_graph_find(g, "mask.mlp.0.drop_a") != FL_NONE);
    assert_true(fl_graph_find(g, "mask.mlp.1.drop_c") != FL_NONE);
    assert_int_equal(count(g, FL_OP_DROPOUT), 7);
    fl_param *r = fl_graph_find_param(g, fl_graph_find(g, "fwbi.r_mf"));
    assert_true(r->init == FL_INIT_UNIFORM && r->init_b > 1.2247 && r->init_b < 1.2248); /* sqrt(6 / 4) */
    fl_graph_free(g);
}

/* A field of one slot leaves its matrix out of the product, not its bias. */
static void test_matrix_terms_of_single_slots(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){2, 1, 2}, 3, 5, true);
    assert_true(fl_network_preset(&s, "flen-paddlerec-1.8"));
    s.schema = &l.schema;
    fl_graph *g = build(&s);
    assert_variable(g, "fwbi.fm.w", 2, 24, 8);
    assert_variable(g, "fwbi.fm.b", 2, 3, 8);
    assert_true(fl_graph_find(g, "fwbi.fm.used") != FL_NONE);
    fl_graph_free(g);
}

/* The network that speed is compared with: no linear term, no hidden layer, MLP on the slots. */
static void test_blocks_by_key(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){13, 3, 6}, 3, 1000, false);
    assert_true(fl_network_preset(&s, "flen"));
    s.schema = &l.schema;
    s.k = 32;
    s.linear = FL_LINEAR_NONE;
    s.hidden = false;
    s.mlp = FL_MLP_SLOTS;
    s.dropout = 0.2;
    s.mlp_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_DROPOUT}, 2};
    s.out_bias = true;
    fl_graph *g = build(&s);
    assert_int_equal(fl_network_parameters(g), 22000 * 32 + 6 + 704 * 64 + 64 + 64 * 32 + 32 + 64 + 1);
    assert_int_equal(count(g, FL_OP_DROPOUT), 2);
    assert_int_equal(count(g, FL_OP_GATHER), 1);
    assert_variable(g, "out.w", 2, 64, 1);
    fl_graph_free(g);
}

static void test_bags(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){2, 2}, 2, 5, false);
    l.slots[1].pooling = FL_POOL_SUM;
    l.slots[3].pooling = FL_POOL_MEAN;
    assert_true(fl_network_preset(&s, "flen"));
    s.schema = &l.schema;
    s.mlp = FL_MLP_SLOTS;
    fl_graph *g = build(&s);
    assert_int_equal(count(g, FL_OP_EMBEDDING_BAG), 4); /* table and linear, two slots each */
    assert_int_equal(g->n_inputs, 6);
    assert_string_equal(g->values[g->inputs[1]].name, "s1.values");
    assert_string_equal(g->values[g->inputs[4]].name, "s3.offsets");
    assert_string_equal(fl_graph_get_meta(g, "ai.flen.disjoint"), "ids,s1.values,s3.values");
    assert_variable(g, "mlp.0.w", 2, 32, 64);
    fl_graph_free(g);
    l.slots[3].first_row = l.slots[0].first_row;
    g = build(&s);
    assert_string_equal(fl_graph_get_meta(g, "ai.flen.disjoint"), "ids,s1.values");
    fl_graph_free(g);
}

static void test_auto_rows(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    lay_out(&l, (uint32_t[]){1, 1}, 2, 0, false);
    l.slots[0].first_row = l.slots[1].first_row = -1;
    l.schema.table_rows = 0;
    assert_true(fl_network_preset(&s, "flen"));
    s.schema = &l.schema;
    fl_graph *g = build(&s);
    const fl_type *t = fl_value_type(g, fl_graph_find(g, "table"));
    assert_true(FL_DIM_IS_SYM(t->dims[0]));
    assert_string_equal(g->symbols[FL_SYM_OF_DIM(t->dims[0])], "table_rows");
    assert_string_equal(fl_graph_get_meta(g, "ai.flen.disjoint"), "ids");
    assert_int_equal(fl_network_parameters(g), 0);
    fl_graph_free(g);
}

/* Every node of every preset fits its operands: shapes are inferred throughout, with and without bags and given masks. */
static void test_shapes(void **state)
{
    (void)state;
    uint32_t n = 0;
    const char *const *names = fl_network_names(&n);
    for (uint32_t i = 0; i < 4 * n; i++) {
        layout l;
        fl_network_spec s;
        fl_diag dg;
        fl_diag_init(&dg);
        lay_out(&l, (uint32_t[]){2, 1, 3}, 3, 5, false);
        if (i / n & 1)
            l.slots[0].pooling = l.slots[2].pooling = FL_POOL_SUM;
        assert_true(fl_network_preset(&s, names[i % n]));
        s.schema = &l.schema;
        s.given_masks = i / n >= 2;
        if (s.fm != FL_TERM_NONE)
            s.dicefactor = 0.7;
        s.dropout = 0.2;
        fl_graph *g = build(&s);
        if (fl_shape_infer(g, &dg) != FL_OK)
            fail_msg("%s: %s", names[i % n], dg.entries[0].text);
        for (fl_id v = 0; v < g->n_values; v++)
            if (g->values[v].name && g->values[v].type.rank < 0)
                fail_msg("%s: %s has no shape", names[i % n], g->values[v].name);
        char text[64];
        fl_type_print(g, fl_value_type(g, g->outputs[0]), text, sizeof text);
        assert_string_equal(text, "float[batch,1]");
        fl_type_print(g, fl_value_type(g, g->outputs[2]), text, sizeof text);
        assert_string_equal(text, "float");
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    layout l;
    fl_network_spec s;
    fl_diag dg;
    fl_graph *g = NULL;
    fl_diag_init(&dg);
    lay_out(&l, (uint32_t[]){1, 1}, 2, 5, false);
    assert_false(fl_network_preset(&s, "flan"));
    assert_true(fl_network_preset(&s, "lr"));
    s.schema = &l.schema;
    s.linear = FL_LINEAR_NONE;
    assert_int_equal(fl_network_build(&s, &g, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[0].code, FL_E_NETWORK);
    assert_string_equal(dg.entries[0].text,
                        "network \"lr\" has no block: no linear term, no interaction, no MLP");
    l.slots[0].field = 1;
    l.slots[1].field = 0;
    fl_diag_clear(&dg);
    assert_int_equal(fl_network_build(&s, &g, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "slot \"s1\" stands apart from the other slots of its field");
    assert_null(g);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lr),
        cmocka_unit_test(test_fm_and_fwfm),
        cmocka_unit_test(test_flen_paper),
        cmocka_unit_test(test_flen_official),
        cmocka_unit_test(test_paddlerec_sizes),
        cmocka_unit_test(test_matrix_terms_of_single_slots),
        cmocka_unit_test(test_blocks_by_key),
        cmocka_unit_test(test_bags),
        cmocka_unit_test(test_auto_rows),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
