/* Pictures and costs of graphs, checked against numbers worked out by hand. */
#include "frontend/draw.h"

#include "ir/cost.h"
#include "ir/print.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] =
    "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1],\n"
    " metadata_props: [\"ai.flen.variables\": \"t,w\", \"ai.flen.fields\": \"user,<item>\"]>\n"
    "g (int64[batch,5] ids, float[100,4] t, float[8,3] w) => (float[batch,3] y) {\n"
    "   e = Gather (t, ids)\n"
    "   sizes = Constant <value_ints = [2, 3]> ()\n"
    "   e_0, e_1 = Split <axis = 1> (e, sizes)\n"
    "   axes = Constant <value_ints = [1]> ()\n"
    "   f = ReduceSum <keepdims = 0> (e_0, axes)\n"
    "   q = ReduceSum <keepdims = 0> (e_1, axes)\n"
    "   both = Concat <axis = 1> (f, q)\n"
    "   \"mlp.product\" = MatMul (both, w)\n"
    "   \"mlp.relu\" = Relu (\"mlp.product\")\n"
    "   y = Sigmoid (\"mlp.relu\")\n"
    "}\n";

static fl_graph *read_graph(const char *from)
{
    fl_graph *g = NULL;
    assert_int_equal(fl_graph_parse(from, strlen(from), "g.onnxtxt", &g, NULL), FL_OK);
    for (fl_id i = 0; i < g->n_nodes; i++)
        fl_build_infer(g, i);
    return g;
}

typedef fl_status drawer(const fl_graph *g, const fl_draw_options *o, FILE *out, fl_diag *dg);

static char *draw(drawer *d, const fl_graph *g, const fl_draw_options *o)
{
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    assert_int_equal(d(g, o, f, NULL), FL_OK);
    assert_int_equal(fclose(f), 0);
    return out;
}

#define assert_has(haystack, needle) assert_non_null(strstr((haystack), (needle)))

static void dot_shows_fields_layers_and_shapes(void **state)
{
    fl_graph *g = read_graph(text);
    char *dot = draw(fl_draw_dot, g, &(fl_draw_options){.cost = true, .batch = 10});
    (void)state;
    assert_has(dot, "label=\"field user\"");
    assert_has(dot, "label=\"field <item>\"");
    assert_has(dot, "label=\"mlp\"");
    assert_has(dot, "label=\"[batch,2,4]\", edgetooltip=\"e_0\"");
    assert_has(dot, "MatMul\\nmlp.product\\n480 FLOP, 536 B\"");
    assert_has(dot, "sizes = 2, 3");
    assert_null(strstr(dot, "label=\"Constant"));
    free(dot);
    fl_graph_free(g);
}

static void json_says_all(void **state)
{
    fl_graph *g = read_graph(text);
    char *out = draw(fl_draw_json, g, &(fl_draw_options){.batch = 10});
    json_t *j = json_loads(out, 0, NULL);
    (void)state;
    assert_non_null(j);
    json_t *nodes = json_object_get(j, "nodes");
    assert_int_equal(json_array_size(nodes), 10);
    json_t *product = json_array_get(nodes, 7), *gather = json_array_get(nodes, 0);
    assert_string_equal(json_string_value(json_object_get(product, "op")), "MatMul");
    assert_true(json_real_value(json_object_get(product, "flops")) == 480);
    assert_true(json_real_value(json_object_get(gather, "bytes")) == 10 * 5 * 4 * 4 * 2 + 10 * 5 * 8);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(product, "origin"), "line")), 11);
    assert_string_equal(json_string_value(json_array_get(json_object_get(gather, "types"), 0)), "float[batch,5,4]");
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "metadata"), "ai.flen.fields")), "user,<item>");
    json_decref(j);
    free(out);
    fl_graph_free(g);
}

/* What is made of several fields element by element is their interaction; a product is not. */
static void fields_interact(void **state)
{
    static const char fields[] =
        "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1],\n"
        " metadata_props: [\"ai.flen.variables\": \"t,w\"]>\n"
        "g (int64[batch,5] ids, float[100,4] t, float[8,3] w) => (float[batch,3] y) {\n"
        "   e = Gather (t, ids)\n"
        "   sizes = Constant <value_ints = [2, 3]> ()\n"
        "   e_0, e_1 = Split <axis = 1> (e, sizes)\n"
        "   axes = Constant <value_ints = [1]> ()\n"
        "   f = ReduceSum <keepdims = 0> (e_0, axes)\n"
        "   q = ReduceSum <keepdims = 0> (e_1, axes)\n"
        "   pair = Mul (f, q)\n"
        "   own = Mul (f, f)\n"
        "   both = Add (pair, own)\n"
        "   joined = Concat <axis = 1> (both, q)\n"
        "   y = ai.flen.Linear <activation = \"none\"> (joined, w)\n"
        "}\n";
    static const struct {
        const char *value, *label;
    } want[] = {{"f", "field 0"}, {"q", "field 1"}, {"own", "field 0"}, {"pair", "interaction of fields"}, {"both", "interaction of fields"}, {"joined", NULL}, {"y", NULL}};
    fl_graph *g = read_graph(fields);
    fl_draw_groups groups;
    fl_arena arena;
    (void)state;
    fl_arena_init(&arena);
    assert_true(fl_draw_find_groups(g, &arena, &groups));
    for (size_t i = 0; i < FL_COUNT(want); i++) {
        uint32_t k = groups.of_node[fl_value_node(g, fl_graph_find(g, want[i].value))];
        assert_true((k == UINT32_MAX) == (want[i].label == NULL));
        if (want[i].label)
            assert_string_equal(groups.groups[k].label, want[i].label);
    }
    char *dot = draw(fl_draw_dot, g, &(fl_draw_options){.batch = 10});
    assert_has(dot, "{ rank=same; n4; n5; }");
    free(dot);
    fl_arena_deinit(&arena);
    fl_graph_free(g);
}

/* An operator of ours carries its function's name and body, with the types and costs that it has here; standard ones carry none. */
static void json_has_bodies(void **state)
{
    static const char fused[] = "g (float[batch,4] x, float[4,3] w, float[3] b) => (float[batch,3] z) {\n"
                                "   y = ai.flen.Linear <activation = \"relu\"> (x, w, b)\n"
                                "   z = Neg (y)\n"
                                "}\n";
    static const char *const operators[] = {"MatMul", "Add", "Relu"};
    fl_graph *g = read_graph(fused);
    char *out = draw(fl_draw_json, g, &(fl_draw_options){.batch = 10});
    json_t *j = json_loads(out, 0, NULL), *linear = json_array_get(json_object_get(j, "nodes"), 0), *body = json_object_get(linear, "body");
    (void)state;
    assert_has(json_string_value(json_object_get(linear, "function")), "Linear");
    json_t *nodes = json_object_get(body, "nodes");
    assert_int_equal(json_array_size(nodes), FL_COUNT(operators));
    double flops = 0;
    for (size_t i = 0; i < FL_COUNT(operators); i++) {
        assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, i), "op")), operators[i]);
        flops += json_real_value(json_object_get(json_array_get(nodes, i), "flops"));
    }
    assert_true(flops == 10 * 3 * (2 * 4 + 1 + 1) && flops == json_real_value(json_object_get(linear, "flops")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(body, "inputs"), 0), "type")), "float[batch,4]");
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(body, "outputs"), 0), "type")), "float[batch,3]");
    assert_null(json_object_get(json_array_get(json_object_get(j, "nodes"), 1), "body"));
    json_decref(j);
    free(out);
    fl_graph_free(g);
}

/* No name can end the script that it stands in. */
static void html_holds_the_json(void **state)
{
    fl_graph *g = read_graph(text);
    char *out = draw(fl_draw_html, g, &(fl_draw_options){.cost = true});
    (void)state;
    char *start = strstr(out, "id=\"graph\">");
    assert_non_null(start);
    start += strlen("id=\"graph\">");
    char *end = strchr(start, '<');
    assert_memory_equal(end, "</script>", 9);
    *end = '\0';
    json_t *j = json_loads(start, 0, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "groups"), 1), "label")), "field <item>");
    json_decref(j);
    free(out);
    fl_graph_free(g);
}

static double flops_of(const char *nodes, int64_t batch)
{
    char whole[2048];
    snprintf(whole, sizeof whole,
             "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1], metadata_props: [\"ai.flen.variables\": \"t,w,b,r,m,v\"]>\n"
             "g (int64[batch,5] ids, float[100,4] t, float[4,3] w, float[3] b, float[2] r, float[1] m, float[20,3] v) => (y) {\n%s}\n",
             nodes);
    fl_graph *g = read_graph(whole);
    int64_t extents[16];
    assert_true(g->n_symbols <= FL_COUNT(extents));
    fl_cost_bind(g, batch, extents);
    double flops = fl_node_cost(g, fl_value_node(g, fl_graph_find(g, "y")), extents).flops;
    fl_graph_free(g);
    return flops;
}

static void costs_are_counted(void **state)
{
    const char *pool = "p_0, p_1, p_2, p_3 = ai.flen.FieldPool <fields = [2, 3], squares = 1> (t, ids)\n";
    char nodes[512];
    (void)state;
    assert_true(flops_of("y, q, s, u = ai.flen.FieldPool <fields = [2, 3], squares = 1> (t, ids)\n", 7) == 7 * 5 * 4 * 3);
    snprintf(nodes, sizeof nodes, "%sy = ai.flen.FieldInteraction <fields = 2> (m, r, p_0, p_1, p_2, p_3)\n", pool);
    assert_true(flops_of(nodes, 7) == 7 * 4 * (3 + 8));
    snprintf(nodes, sizeof nodes, "%sy = ai.flen.Linear <activation = \"relu\"> (p_0, w, b)\n", pool);
    assert_true(flops_of(nodes, 7) == 7 * 3 * (2 * 4 + 2));
    /* products of the distinct rows: at most 7 * 5 of them */
    assert_true(flops_of("rows, i, n, o, s = ai.flen.UniqueRows (ids)\ny = Gather (t, rows)\n", 7) == 0);
    assert_true(flops_of("rows, i, n, o, s = ai.flen.UniqueRows (ids)\ne = Gather (t, rows)\ny = Relu (e)\n", 7) == 7 * 5 * 4);
#define SLOTS "rows, i, n, o, s = ai.flen.UniqueRows (ids)\ne = Gather (t, rows)\n"
    assert_true(flops_of(SLOTS "y = ai.flen.SlotLinear (e, n, v)\n", 7) == 7 * 5 * 2 * 4 * 3);
    assert_true(flops_of(SLOTS "p = ai.flen.SlotLinear (e, n, v)\ny = ai.flen.SlotLinear <transposed = 1> (p, n, v)\n", 7) == 7 * 5 * 2 * 3 * 4);
    assert_true(flops_of(SLOTS "p = ai.flen.SlotLinear (e, n, v)\ny = ai.flen.SlotLinearWeightGrad (e, n, p)\n", 7) == 7 * 5 * 2 * 4 * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dot_shows_fields_layers_and_shapes),
        cmocka_unit_test(fields_interact),
        cmocka_unit_test(json_says_all),
        cmocka_unit_test(json_has_bodies),
        cmocka_unit_test(html_holds_the_json),
        cmocka_unit_test(costs_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
