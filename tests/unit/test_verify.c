/*
 * test_verify.c -- rules of the verifier that no graph text can break, each broken on a small graph; the others have texts in tests/graph/invalid. And plans of programs
 * whose new values want the memory of what they are made from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/print.h"
#include "ir/schedule.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "ir/verify_parts.h"
#include "passes/pass.h"

#include <stdio.h>
#include <string.h>

static fl_graph *parse(const char *text, fl_diag *dg)
{
    fl_graph *g = NULL;
    if (fl_graph_parse(text, strlen(text), "text", &g, dg) != FL_OK || fl_shape_infer(g, dg) != FL_OK)
        fl_diag_print(dg, stderr, "test", NULL, NULL);
    assert_non_null(g);
    return g;
}

static const char chain[] = "<opset_import: [\"\": 20]>\n"
                            "g (float[batch,4] x, float[4] b) => (float[batch,4] z) {\n y = Relu (x)\n z = Add (y, b)\n}\n";

/* ------------------------------------------------------------------------------------------------ one mistake each */

static void two_names(fl_graph *g)
{
    g->values[fl_graph_find(g, "y")].name = g->values[fl_graph_find(g, "x")].name;
}

static void fewer_operands(fl_graph *g)
{
    g->nodes[1].n_in = 1;
}

static void no_such_value(fl_graph *g)
{
    g->nodes[1].in[1] = g->n_values + 7;
}

static void made_twice(fl_graph *g)
{
    g->nodes[1].out[0] = g->nodes[0].out[0];
}

static void made_too_late(fl_graph *g)
{
    fl_node first = g->nodes[0];
    g->nodes[0] = g->nodes[1];
    g->nodes[1] = first;
    g->values[g->nodes[0].out[0]].node = 0;
    g->values[g->nodes[1].out[0]].node = 1;
}

static void computed_input(fl_graph *g)
{
    g->inputs[0] = fl_graph_find(g, "y");
}

static void short_data(fl_graph *g)
{
    static const float numbers[4];
    fl_id v = fl_graph_constant(g, "c", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}), numbers);
    fl_tensor *data = fl_arena_new(&g->arena, fl_tensor, 1);
    assert_true(v != FL_NONE && data);
    *data = *g->values[v].data;
    data->length = 12;
    g->values[v].data = data;
}

static void another_type(fl_graph *g)
{
    g->values[fl_graph_find(g, "z")].type.dims[1] = 5;
}

/* A schedule of the chain, without memory, whose only segment is changed. */
static fl_segment *scheduled(fl_graph *g)
{
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_pipeline_run(g, &(fl_pipeline_options){.passes = "segment"}, &dg), FL_OK);
    fl_diag_deinit(&dg);
    assert_int_equal(g->schedule->n_segments, 1);
    return g->schedule->segments;
}

static void run_never(fl_graph *g)
{
    scheduled(g)->n_nodes = 1;
}

static void no_function(fl_graph *g)
{
    g->nodes[1].op = FL_OP_CALL;
    fl_node_set_string(g, 1, "function", "lost");
}

/* z becomes a call of a function that has one operand, or that breaks a rule itself. */
static void call(fl_graph *g, bool broken)
{
    fl_graph *f = fl_graph_new("f");
    fl_id a = fl_graph_input(f, "a", *fl_value_type(g, g->nodes[1].in[0]));
    fl_id b = broken ? fl_graph_input(f, "b", *fl_value_type(g, g->nodes[1].in[1])) : FL_NONE;
    fl_graph_output(f, fl_build_1(f, FL_OP_RELU, "c", a));
    if (broken)
        f->inputs[1] = f->outputs[0];
    (void)b;
    fl_graph_add_function(g, f);
    g->nodes[1].op = FL_OP_CALL;
    fl_node_set_string(g, 1, "function", "f");
}

static void another_function(fl_graph *g)
{
    call(g, false);
}

static void broken_function(fl_graph *g)
{
    call(g, true);
}

typedef struct mistake {
    fl_verify_rule rule;
    void (*make)(fl_graph *g);
    const char *report;
} mistake;

static const mistake mistakes[] = {
    {FL_VERIFY_NAMES, two_names, "two values are named \"x\""},
    {FL_VERIFY_FUNCTIONS, no_function, "node \"z\" calls function \"lost\", which the graph does not have"},
    {FL_VERIFY_FUNCTIONS, another_function, "node \"z\" has 2 operands and 1 results, its function \"f\" 1 and 1"},
    {FL_VERIFY_FUNCTIONS, broken_function, "function \"f\" of graph"},
    {FL_VERIFY_OPERANDS, fewer_operands, "node \"z\" (Add) has 1 inputs, which must be 2 to 2"},
    {FL_VERIFY_VALUES, no_such_value, "node \"z\" (Add) reads, as input 1, a value that does not exist"},
    {FL_VERIFY_ASSIGNMENT, made_twice, "value \"y\", output 0 of node \"y\" (Add), is assigned elsewhere too"},
    {FL_VERIFY_ORDER, made_too_late, "node \"z\" (Add) reads \"y\" before it is made"},
    {FL_VERIFY_LISTS, computed_input, "\"y\" is listed as input and is something else"},
    {FL_VERIFY_DATA, short_data, "the data of \"c\" have 12 bytes, which its type does not"},
    {FL_VERIFY_TYPES, another_type, "output \"z\" is declared as float[batch,5], but comes out as float[batch,4]"},
    {FL_VERIFY_RUN_ONCE, run_never, "runs in no segment"},
};

/* The sink holds, under one report, the words and the name of the rule; that of types has a code of its own. */
static void expect(const fl_diag *dg, fl_verify_rule rule, const char *report)
{
    static const char *const names[] = {
#define FL_VERIFY_RULE(id, name, where, text) "rule " name ": ",
#include "ir/verify_rules.def"
#undef FL_VERIFY_RULE
    };
    bool found = false;
    for (uint32_t i = 0; i < dg->n_entries; i++)
        found = found || (strstr(dg->entries[i].text, report) &&
                          (rule == FL_VERIFY_TYPES ? dg->entries[i].code == FL_E_SHAPE : dg->entries[i].hints && strstr(dg->entries[i].hints, names[rule])));
    if (!found)
        fl_diag_print(dg, stderr, "test", NULL, NULL);
    assert_true(found);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(mistakes); i++) {
        fl_diag dg;
        fl_diag_init(&dg);
        fl_graph *g = parse(chain, &dg);
        assert_int_equal(fl_graph_verify(g, &dg), FL_OK);
        mistakes[i].make(g);
        /* where types are inferred, that counts operands, too */
        assert_int_equal(mistakes[i].rule == FL_VERIFY_OPERANDS ? fl_schedule_verify(g, &dg) : fl_graph_verify(g, &dg), FL_BAD_INPUT);
        expect(&dg, mistakes[i].rule, mistakes[i].report);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

/* The body of one instance is no body of another. */
static void bodies_are_held_against_nodes(void **state)
{
    (void)state;
    static const char *const heads[] = {"f_0 = ai.flen.FieldPool <fields = [3]> (t, ids)", "f_0, f_1 = ai.flen.FieldPool <fields = [2,1]> (t, ids)",
                                        "f_0 = ai.flen.FieldPool <fields = [3]> (t5, ids)"};
    static const char *const reports[] = {NULL, "has 2 operands and 1 results, its function 2 and 2", "is float[batch,4], that of its function float[batch,5]"};
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *graphs[FL_COUNT(heads)];
    for (size_t i = 0; i < FL_COUNT(heads); i++) {
        char text[512];
        snprintf(text, sizeof text, "<opset_import: [\"\": 20, \"ai.flen\": 1]>\ng (int64[batch,3] ids, float[9,4] t, float[9,5] t5) => (f_0) {\n %s\n}\n", heads[i]);
        graphs[i] = parse(text, &dg);
        fl_graph *body = NULL;
        fl_check c = {graphs[0], &dg, 0, true};
        assert_int_equal(fl_body_build(graphs[i], 0, &body, &dg), FL_OK);
        fl_check_body(&c, 0, body);
        assert_int_equal(c.broken, reports[i] != NULL);
        if (reports[i])
            expect(&dg, FL_VERIFY_BODIES, reports[i]);
        fl_graph_free(body);
    }
    for (size_t i = 0; i < FL_COUNT(heads); i++)
        fl_graph_free(graphs[i]);
    fl_diag_deinit(&dg);
}

/* A rule without a case is a rule that nobody knows to work. Those of TEXT: tests/graph/run_cases.sh. */
static void every_rule_has_a_case(void **state)
{
    (void)state;
    enum { TEXT, BUILT };
    static const int where[] = {
#define FL_VERIFY_RULE(id, name, kind, text) kind,
#include "ir/verify_rules.def"
#undef FL_VERIFY_RULE
    };
    bool has[FL_N_VERIFY_RULES] = {[FL_VERIFY_BODIES] = true};
    for (size_t i = 0; i < FL_COUNT(mistakes); i++)
        has[mistakes[i].rule] = true;
    for (size_t i = 0; i < FL_COUNT(where); i++)
        assert_true(where[i] == TEXT || has[i]);
}

/* What a node writes over must be read by nobody then, itself included, and must be the program's own: segment makes copies. */
static void copies_where_memory_is_not_free(void **state)
{
    (void)state;
    static const char *const programs[] = {
        /* a product, and a sum with a part, over the old value */
        "<opset_import: [\"\": 20], metadata_props: [\"ai.flen.variables\": \"w,v\", \"ai.flen.updates\": \"w=w_next,v=v_next\"]>\n"
        "g (float[20,20] w, float[3,20] v, float[20,20] x) => (float[20,20] w_next, float[3,20] v_next) {\n w_next = MatMul (x, w)\n"
        " s = Constant <value_ints = [1, 2]> ()\n a, b = Split <axis = 0> (v, s)\n v_next = Add (v, a)\n}\n",
        /* rows written into an input, and into a value that is read again */
        "<opset_import: [\"\": 20]>\ng (float[8,4] x, int64[2,1] i, float[2,4] u) => (float[8,4] y, float[8,4] z) {\n y = ScatterND (x, i, u)\n r = Relu (x)\n"
        " q = ScatterND (r, i, u)\n z = Add (r, q)\n}\n",
    };
    static const uint32_t added[] = {2, 2};
    for (size_t i = 0; i < FL_COUNT(programs); i++) {
        fl_diag dg;
        fl_diag_init(&dg);
        fl_graph *g = parse(programs[i], &dg);
        uint32_t before = g->n_nodes, computing = 0;
        fl_status s = fl_pipeline_run(g, &(fl_pipeline_options){.passes = "infer-types,segment,plan-memory", .verify_each = true}, &dg);
        fl_diag_print(&dg, stderr, "test", NULL, NULL);
        assert_int_equal(s, FL_OK);
        for (fl_id n = 0; n < g->n_nodes; n++)
            computing += g->nodes[n].op != FL_OP_CONSTANT && g->nodes[n].op != FL_OP_NOP;
        assert_int_equal(computing, before - (i == 0) + added[i]);
        fl_graph_free(g);
        fl_diag_deinit(&dg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(bodies_are_held_against_nodes),
        cmocka_unit_test(every_rule_has_a_case),
        cmocka_unit_test(copies_where_memory_is_not_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
