/*
 * test_onnx_functions.c -- our operators as model-local functions: they read back as themselves, a changed body is what it says, and functions of
 * strangers are inlined or refused. Oracles: the graph that was written; the interpreter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/model.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "tests/support/random_values.h"

#include <math.h>
#include <stdio.h>

static fl_graph *parse(const char *text)
{
    fl_graph *g = NULL;
    assert_int_equal(fl_graph_parse(text, strlen(text), "case", &g, NULL), FL_OK);
    assert_int_equal(fl_shape_infer(g, NULL), FL_OK);
    return g;
}

static char *print(const fl_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(fl_graph_print(g, &(fl_print_options){0}, f, NULL), FL_OK);
    fclose(f);
    return text;
}

static void encode(const fl_graph *g, int64_t opset, unsigned char **bytes, size_t *n)
{
    void *out = NULL;
    assert_int_equal(fl_onnx_encode(g, &(fl_onnx_options){.opset = opset, .functions = true}, &out, n, NULL), FL_OK);
    *bytes = out;
}

static fl_graph *decode(const unsigned char *bytes, size_t n)
{
    fl_graph *g = NULL;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status status = fl_onnx_decode(bytes, n, "case.onnx", NULL, &g, &dg);
    if (status == FL_OK)
        status = fl_shape_infer(g, &dg);
    fl_diag_print(&dg, stderr, "test_onnx_functions", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(status, FL_OK);
    return g;
}

static const char all_layers[] =
    "g (int64[batch,5] ids, int64[count] values, int64[m] offsets, float[batch,1] label, float[6,2] t, float[1] r_mf, float[2] r_fm, float[2,3] w,\n"
    "   float[3] bias, float[3] gamma, float[3] beta, float[3] mean, float[3] running_var) => (float[batch,1] loss, float[batch,1] grad, float[bags,2] y) {\n"
    "   f0, f1, \"\", q1 = ai.flen.FieldPool <fields = [3, 2], squares = 1> (t, ids)\n"
    "   h = ai.flen.FieldInteraction <fields = 2> (r_mf, r_fm, f0, f1, \"\", q1)\n"
    "   i = ai.flen.FieldInteraction <fields = 2> (r_mf, \"\", f0, f1, \"\", \"\")\n"
    "   a = Add (h, i)\n"
    "   d = ai.flen.Linear <activation = \"relu\"> (a, w, bias)\n"
    "   e = ai.flen.Linear (a, w)\n"
    "   b = Add (d, e)\n"
    "   n = ai.flen.BatchNorm <epsilon = 0.001, momentum = 0.9, single_row = \"pass\"> (b, gamma, beta, mean, running_var)\n"
    "   k = ai.flen.MaskedDropout <rate = 0.25, style = \"downscale_in_infer\", key = 4> (n)\n"
    "   axes = Constant <value_ints = [1]> ()\n"
    "   logit = ReduceMean <keepdims = 1> (k, axes)\n"
    "   loss = ai.flen.LogLoss <kind = \"paddle_log_loss\", epsilon = 0.0009765625> (logit, label)\n"
    "   grad = ai.flen.LogLossGrad <kind = \"bce_clamped\"> (logit, label)\n"
    "   y = ai.flen.EmbeddingBag <mode = \"mean\"> (t, values, offsets)\n"
    "}\n";

static void same_values(const fl_graph *a, const fl_graph *b)
{
    fl_interp *x = NULL, *y = NULL;
    assert_int_equal(random_run(a, 1, 4, &x, NULL), FL_OK);
    assert_int_equal(random_run(b, 1, 4, &y, NULL), FL_OK);
    assert_int_equal(a->n_outputs, b->n_outputs);
    for (uint32_t k = 0; k < a->n_outputs; k++) {
        const fl_array *p = fl_interp_get(x, a->outputs[k]), *q = fl_interp_get(y, b->outputs[k]);
        assert_true(p && q && p->n == q->n && p->n > 0);
        for (int64_t j = 0; j < p->n; j++)
            assert_true(fabs(p->f[j] - q->f[j]) <= 1e-6 * (1 + fabs(p->f[j])));
    }
    fl_interp_free(x);
    fl_interp_free(y);
}

static uint32_t count(const fl_graph *g, fl_op op)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* At every opset that we write; at the lowest, ReduceMean's axes become an attribute and a constant of another name. */
static void ours_read_back(void **state)
{
    (void)state;
    for (int64_t opset = 17; opset <= 20; opset++) {
        fl_graph *g = parse(all_layers);
        unsigned char *bytes;
        size_t n;
        encode(g, opset, &bytes, &n);
        fl_graph *again = decode(bytes, n);
        char *before = print(g), *after = print(again);
        if (opset >= 18)
            assert_string_equal(after, before);
        same_values(g, again);
        for (fl_op op = 0; op < FL_N_OPS; op++)
            if (*fl_op_get(op)->domain && count(g, op) != count(again, op))
                fail_msg("%u of %u %s are left at opset %d", count(again, op), count(g, op), fl_op_get(op)->name, (int)opset);
        free(before);
        free(after);
        free(bytes);
        fl_graph_free(again);
        fl_graph_free(g);
    }
}

/* The bytes of `from`, each of them, become `to`, as long. */
static uint32_t edit(unsigned char *bytes, size_t n, const char *from, const char *to)
{
    size_t length = strlen(from);
    uint32_t found = 0;
    assert_int_equal(strlen(to), length);
    for (size_t i = 0; i + length <= n; i++) {
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found++;
        }
    }
    return found;
}

/* A tool that changed a body has changed the model's meaning. */
static void changed_bodies_are_inlined(void **state)
{
    (void)state;
    fl_graph *g = parse("g (float[batch,3] x, float[3,2] w, float[2] bias) => (float[batch,2] y) {"
                        " y = ai.flen.Linear <activation = \"relu\"> (x, w, bias) }");
    fl_graph *want = parse("g (float[batch,3] x, float[3,2] w, float[2] bias) => (float[batch,2] y) {"
                           " p = MatMul (x, w) q = Add (p, bias) y = Tanh (q) }");
    unsigned char *bytes;
    size_t n;
    encode(g, 20, &bytes, &n);
    assert_int_equal(edit(bytes, n, "Relu", "Tanh"), 1);
    fl_graph *got = decode(bytes, n);
    for (uint32_t i = 0; i < got->n_nodes; i++)
        assert_true(got->nodes[i].op != FL_OP_LINEAR);
    same_values(want, got);
    char *text = print(got);
    assert_non_null(strstr(text, "\"y/Linear_relu_bias/y\" = MatMul (x, w)"));
    free(text);
    free(bytes);
    fl_graph_free(got);
    fl_graph_free(want);
    fl_graph_free(g);
}

/* Our names in a domain of somebody else are no operators of ours. */
static void functions_of_strangers_are_inlined(void **state)
{
    (void)state;
    fl_graph *g = parse(all_layers);
    unsigned char *bytes;
    size_t n;
    encode(g, 20, &bytes, &n);
    assert_true(edit(bytes, n, "ai.flen", "my.else") > 8);
    fl_graph *got = decode(bytes, n);
    for (uint32_t i = 0; i < got->n_nodes; i++)
        assert_string_equal(fl_op_get(got->nodes[i].op)->domain, "");
    same_values(g, got);
    free(bytes);
    fl_graph_free(got);
    fl_graph_free(g);
}

static void refused(const unsigned char *bytes, size_t n, fl_code code, const char *words)
{
    fl_diag dg;
    fl_graph *g = NULL;
    fl_diag_init(&dg);
    assert_int_not_equal(fl_onnx_decode(bytes, n, "case.onnx", NULL, &g, &dg), FL_OK);
    assert_null(g);
    assert_int_equal(dg.n_entries, 1);
    assert_int_equal(dg.entries[0].code, code);
    if (!strstr(dg.entries[0].text, words))
        fail_msg("\"%s\" does not say \"%s\"", dg.entries[0].text, words);
    fl_diag_deinit(&dg);
}

static void what_cannot_be_inlined(void **state)
{
    (void)state;
    fl_graph *g = parse("g (float[batch,3] x, float[3,2] w) => (float[batch,2] y) { y = ai.flen.Linear <activation = \"relu\"> (x, w) }");
    static const struct {
        const char *from, *to;
        fl_code code;
        const char *words;
    } cases[] = {
        {"Relu", "Rule", FL_E_ONNX_OP, "operator \"Rule\" of domain \"ai.onnx\" is unknown (in a function)"},
        {"MatMul", "MatMil", FL_E_ONNX_OP, "operator \"MatMil\""},
    };
    for (size_t k = 0; k < FL_COUNT(cases); k++) {
        unsigned char *bytes;
        size_t n;
        encode(g, 20, &bytes, &n);
        assert_int_equal(edit(bytes, n, cases[k].from, cases[k].to), 1);
        refused(bytes, n, cases[k].code, cases[k].words);
        free(bytes);
    }
    fl_graph_free(g);
}

static void operators_without_a_body(void **state)
{
    (void)state;
    fl_graph *g = parse("g (int64[batch,2] ids) => (int64[d] rows) { rows, i, c, o, s = ai.flen.UniqueRows (ids) }");
    void *bytes = NULL;
    size_t n;
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_onnx_encode(g, &(fl_onnx_options){.functions = true}, &bytes, &n, &dg), FL_UNSUPPORTED);
    assert_string_equal(dg.entries[0].text, "\"rows\" (UniqueRows) has no body of standard operators");
    assert_int_equal(fl_onnx_encode(g, NULL, &bytes, &n, NULL), FL_OK);
    free(bytes);
    fl_diag_deinit(&dg);
    fl_graph_free(g);
}

/* ------------------------------------------------------------------------------------------ functions, by hand */

typedef struct wire {
    unsigned char bytes[1 << 16];
    size_t n;
} wire;

static void put_varint(wire *w, uint64_t v)
{
    do {
        assert_true(w->n < sizeof w->bytes);
        w->bytes[w->n++] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
}

static void put_bytes(wire *w, unsigned field, const void *bytes, size_t n)
{
    put_varint(w, field << 3 | 2);
    put_varint(w, n);
    assert_true(w->n + n <= sizeof w->bytes);
    if (n)
        memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static void put_text(wire *w, unsigned field, const char *text)
{
    put_bytes(w, field, text, strlen(text));
}

static void put_node(wire *w, unsigned field, const char *op, const char *domain, const char *in, const char *out)
{
    wire node = {.n = 0};
    put_text(&node, 1, in);
    put_text(&node, 2, out);
    put_text(&node, 4, op);
    put_text(&node, 7, domain);
    put_bytes(w, field, node.bytes, node.n);
}

static void put_opset(wire *w, unsigned field, int version)
{
    wire set = {.n = 0};
    put_varint(&set, 2 << 3);
    put_varint(&set, (uint64_t)version);
    put_bytes(w, field, set.bytes, set.n);
}

/* A function x => y of `calls` nodes in a row, each `op`. */
static void put_function(wire *w, const char *name, const char *op, const char *domain, int calls, int opset)
{
    wire f = {.n = 0};
    char from[16] = "x", to[16];
    put_text(&f, 1, name);
    put_text(&f, 4, "x");
    put_text(&f, 5, "y");
    for (int i = 0; i < calls; i++) {
        snprintf(to, sizeof to, i + 1 == calls ? "y" : "v%d", i);
        put_node(&f, 7, op, domain, from, to);
        memcpy(from, to, sizeof from);
    }
    put_opset(&f, 9, opset);
    put_text(&f, 10, "d");
    put_bytes(w, 25, f.bytes, f.n);
}

/* A model at opset 20 whose graph is out = first(in), in and out float. */
static void put_model(wire *w, const char *first)
{
    static const unsigned char type_float[] = {0x0a, 0x04, 0x08, 0x01, 0x12, 0x00};
    wire graph = {.n = 0}, in = {.n = 0}, out = {.n = 0};
    put_node(&graph, 1, first, "d", "in", "out");
    put_text(&in, 1, "in");
    put_bytes(&in, 2, type_float, sizeof type_float);
    put_text(&out, 1, "out");
    put_bytes(&out, 2, type_float, sizeof type_float);
    put_bytes(&graph, 11, in.bytes, in.n);
    put_bytes(&graph, 12, out.bytes, out.n);
    put_bytes(w, 7, graph.bytes, graph.n);
    put_opset(w, 8, 20);
}

static void nested_functions(void **state)
{
    (void)state;
    static wire w;
    w.n = 0;
    put_model(&w, "twice");
    put_function(&w, "twice", "inner", "d", 2, 20);
    put_function(&w, "inner", "Tanh", "", 1, 20);
    fl_graph *g = decode(w.bytes, w.n), *want = parse("g (float in) => (float out) { a = Tanh (in) out = Tanh (a) }");
    same_values(want, g);
    fl_graph_free(g);
    fl_graph_free(want);
}

static void hostile_functions(void **state)
{
    (void)state;
    static wire w;
    w.n = 0;
    put_model(&w, "loop");
    put_function(&w, "loop", "loop", "d", 1, 20);
    refused(w.bytes, w.n, FL_E_ONNX_FUNCTION, "more than 20 deep, or themselves: \"loop\"");

    w.n = 0;
    put_model(&w, "f0");
    for (int i = 0; i < 15; i++) { /* 10^15 nodes */
        char name[8], next[8];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        put_function(&w, name, i < 14 ? next : "Tanh", i < 14 ? "d" : "", 10, 20);
    }
    refused(w.bytes, w.n, FL_E_ONNX_LIMIT, "its functions ask for more memory than the file's size allows");

    w.n = 0;
    put_model(&w, "f");
    put_function(&w, "f", "Tanh", "", 1, 17);
    refused(w.bytes, w.n, FL_E_ONNX_FUNCTION, "function \"f\" of domain \"d\" has another opset than the file");

    w.n = 0;
    put_model(&w, "f");
    put_function(&w, "f", "Tanh", "", 1, 20);
    put_function(&w, "f", "Relu", "", 1, 20);
    refused(w.bytes, w.n, FL_E_ONNX_FUNCTION, "stands twice");

    w.n = 0;
    put_model(&w, "f");
    put_function(&w, "f", "Tanh", "", 0, 20);
    refused(w.bytes, w.n, FL_E_ONNX_FUNCTION, "function \"f\" has no node that makes its result \"y\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_read_back),         cmocka_unit_test(changed_bodies_are_inlined),
        cmocka_unit_test(functions_of_strangers_are_inlined), cmocka_unit_test(what_cannot_be_inlined),
        cmocka_unit_test(operators_without_a_body), cmocka_unit_test(nested_functions),
        cmocka_unit_test(hostile_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
