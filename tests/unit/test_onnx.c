/*
 * test_onnx.c -- ONNX files out and in, and files made to harm: each refused with words, within memory that the file's size
 * allows. Oracles: the graph that was written; the wire format, written here by hand.
 */
#include "tests/support/onnx_wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------------- round trip */

static fl_graph *example(void)
{
    fl_graph *g = fl_graph_new("example");
    fl_dim batch = fl_graph_symbol(g, "batch");
    fl_id x = fl_graph_input(g, "x", fl_type_make(FL_FLOAT, 2, (fl_dim[]){batch, 4}));
    fl_id before = fl_graph_variable(g, "before", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}));
    fl_id c = fl_graph_constant_ints(g, "axes", (int64_t[]){1}, 1);
    fl_id w = fl_graph_variable(g, "w", fl_type_make(FL_FLOAT, 2, (fl_dim[]){4, 2}));
    fl_id h = fl_build_2(g, FL_OP_ADD, "h", x, before);
    fl_id node = fl_node_new(g, FL_OP_LINEAR, "y", (fl_id[]){h, w}, 2, 1);
    fl_node_set_string(g, node, "activation", "relu");
    fl_build_infer(g, node);
    fl_id mean = fl_build_2(g, FL_OP_REDUCE_MEAN, "mean", fl_node_out(g, node, 0), c);
    fl_id log_loss = fl_build_2(g, FL_OP_LOG_LOSS, "loss", mean, mean);
    fl_node_set_float(g, fl_value_node(g, log_loss), "epsilon", 1e-4);
    fl_graph_output(g, mean);
    fl_graph_output(g, log_loss);
    fl_graph_update(g, before, fl_build_1(g, FL_OP_NEG, "before_next", before));
    fl_graph_update(g, w, w);
    return g;
}

static fl_graph *decode_ok(const void *bytes, size_t n)
{
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *g = NULL;
    if (fl_onnx_decode(bytes, n, "it.onnx", NULL, &g, &dg) != FL_OK)
        fail_msg("%s", dg.entries[0].text);
    fl_diag_deinit(&dg);
    return g;
}

/* Written, read, written: the same bytes, so nothing got lost between. */
static void round_trip(void **state)
{
    (void)state;
    fl_graph *g = example();
    void *first, *second;
    size_t n, m;
    assert_int_equal(fl_onnx_encode(g, NULL, &first, &n, NULL), FL_OK);
    fl_graph *again = decode_ok(first, n);
    assert_int_equal(fl_onnx_encode(again, NULL, &second, &m, NULL), FL_OK);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    assert_int_equal(again->n_variables, 3);
    assert_string_equal(again->values[again->variables[1]].name, "before"); /* variables without data follow the constants */
    assert_string_equal(again->values[again->variables[2]].name, "w");
    assert_int_equal(again->n_updates, 2);
    assert_int_equal(again->n_outputs, 2);
    fl_id linear = fl_value_node(again, fl_graph_find(again, "y"));
    assert_int_equal(again->nodes[linear].op, FL_OP_LINEAR);
    assert_string_equal(fl_node_string(again, linear, "activation", ""), "relu");
    fl_id loss = fl_value_node(again, fl_graph_find(again, "loss"));
    assert_float_equal(fl_node_float(again, loss, "epsilon", 0), 1e-4, 0); /* a float in the file, the number meant in the graph */
    fl_graph_free(again);
    fl_graph_free(g);
    free(first);
    free(second);
}

/* The number of a layer's operands and outputs says how many fields it has, also where the last are left out. */
static void places_are_kept(void **state)
{
    (void)state;
    fl_graph *g = fl_graph_new("places");
    fl_dim batch = fl_graph_symbol(g, "batch");
    fl_id f = fl_graph_input(g, "f", fl_type_make(FL_FLOAT, 2, (fl_dim[]){batch, 4}));
    fl_id r = fl_graph_variable(g, "r", fl_type_make(FL_FLOAT, 1, (fl_dim[]){1}));
    fl_id node = fl_node_new(g, FL_OP_FIELD_INTERACTION, "h", (fl_id[]){r, FL_NONE, f, f, FL_NONE, FL_NONE}, 6, 1);
    fl_node_set_int(g, node, "fields", 2);
    fl_build_infer(g, node);
    fl_graph_output(g, fl_node_out(g, node, 0));
    fl_id split[2];
    fl_build_split(g, "part", f, 1, (int64_t[]){2, 2}, 2, split);
    fl_graph_output(g, split[0]);
    g->nodes[fl_value_node(g, split[0])].out[1] = FL_NONE;
    g->values[split[1]].name = NULL;
    void *bytes;
    size_t n;
    assert_int_equal(fl_onnx_encode(g, NULL, &bytes, &n, NULL), FL_OK);
    fl_graph *again = decode_ok(bytes, n);
    const fl_node *h = &again->nodes[fl_value_node(again, fl_graph_find(again, "h"))];
    assert_int_equal(h->n_in, 6);
    assert_true(h->in[4] == FL_NONE && h->in[5] == FL_NONE);
    assert_int_equal(again->nodes[fl_value_node(again, again->outputs[1])].n_out, 2);
    free(bytes);
    fl_graph_free(again);
    fl_graph_free(g);
}

static void older_opset(void **state)
{
    (void)state;
    fl_graph *g = example();
    void *bytes;
    size_t n;
    fl_onnx_options options = {.opset = 17};
    assert_int_equal(fl_onnx_encode(g, &options, &bytes, &n, NULL), FL_OK);
    fl_graph *again = decode_ok(bytes, n);
    fl_id mean = fl_value_node(again, fl_graph_find(again, "mean"));
    int64_t axes[2];
    uint32_t n_axes;
    assert_int_equal(again->nodes[mean].n_in, 2); /* opset 17 has the axes as an attribute; we read it as opset 20 has them */
    assert_null(fl_node_attr(again, mean, "axes"));
    assert_true(fl_value_ints(again, again->nodes[mean].in[1], axes, 2, &n_axes));
    assert_int_equal(axes[0], 1);
    free(bytes);
    options.opset = 12;
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_onnx_encode(g, &options, &bytes, &n, &dg), FL_UNSUPPORTED);
    assert_non_null(strstr(dg.entries[0].text, "cannot write opset 12"));
    fl_diag_deinit(&dg);
    fl_graph_free(again);
    fl_graph_free(g);
}

/* ---------------------------------------------------------------------------------------------------- wrong files */

static void wrong_forms(void **state)
{
    (void)state;
    expect((wire){0}, "the file is empty");
    wire w = {0};
    put(&w, "not protobuf at all", 19);
    expect(w, "this is no ONNX file, or a damaged one: ");
    w = (wire){0};
    put_int(&w, 1, 8);
    expect(w, "it has no graph");
    w = (wire){0};
    put_varint(&w, 7 << 3 | 2);
    put_varint(&w, 1000);
    expect(w, "a field is longer than what holds it");
}

static void wrong_names(void **state)
{
    (void)state;
    wire g = {0};
    put_message(&g, 1, node("Relu", "nowhere", "y"));
    expect(model(g), "node \"y\" (Relu) reads \"nowhere\", which is no input, initialiser or output of an earlier node");
    g = (wire){0};
    put_message(&g, 1, node("Relu", "x", "y"));
    put_message(&g, 1, node("Relu", "x", "y"));
    expect(model(g), "output \"y\": the name stands twice");
    g = (wire){0};
    put_message(&g, 1, node("Relu", "x", "z"));
    expect(model(g), "output \"y\" is not defined by any node");
    g = (wire){0};
    put_message(&g, 1, node("Relu", "y", "x2")); /* a cycle: what it reads comes later */
    put_message(&g, 1, node("Relu", "x2", "y"));
    expect(model(g), "node \"x2\" (Relu) reads \"y\"");
}

static void unknown_operators_are_listed_at_once(void **state)
{
    (void)state;
    wire g = {0};
    put_message(&g, 1, node("LSTM", "x", "a"));
    put_message(&g, 1, node("Attention", "a", "b"));
    put_message(&g, 1, node("LSTM", "b", "y"));
    wire w = model(g);
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *out = NULL;
    assert_int_equal(fl_onnx_decode(w.bytes, w.n, "bad.onnx", NULL, &out, &dg), FL_UNSUPPORTED);
    assert_int_equal(dg.n_entries, 2);
    assert_string_equal(dg.entries[0].text, "operator \"LSTM\" of domain \"ai.onnx\", opset 20, is not supported: 2 nodes, \"a\", \"y\"");
    assert_string_equal(dg.entries[1].text, "operator \"Attention\" of domain \"ai.onnx\", opset 20, is not supported: 1 node, \"b\"");
    fl_diag_deinit(&dg);
    free(w.bytes);
}

/* Not those that read what a wrong node makes. */
static void wrong_nodes_are_listed_at_once(void **state)
{
    (void)state;
    static const char *const want[] = {"node \"a\" (Relu) reads \"nothing\"", "node \"c\" (Add) has 1 inputs and 1 outputs", "node \"y\" (Tanh) reads \"nowhere\""};
    wire g = {0};
    put_message(&g, 1, node("Relu", "nothing", "a"));
    put_message(&g, 1, node("Add", "a", "b"));
    put_message(&g, 1, node("Add", "x", "c"));
    put_message(&g, 1, node("Tanh", "nowhere", "y"));
    wire w = model(g);
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *out = NULL;
    assert_int_equal(fl_onnx_decode(w.bytes, w.n, "bad.onnx", NULL, &out, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.n_entries, FL_COUNT(want));
    for (uint32_t i = 0; i < FL_COUNT(want); i++)
        assert_non_null(strstr(dg.entries[i].text, want[i]));
    fl_diag_deinit(&dg);
    free(w.bytes);
}

/* An initialiser "t" with these dimensions and data. */
static wire tensor(const int64_t *dims, int n, int32_t type, size_t n_raw)
{
    wire w = {0};
    for (int i = 0; i < n; i++)
        put_int(&w, 1, dims[i]);
    put_int(&w, 2, type);
    put_text(&w, 8, "t");
    unsigned char raw[64] = {0};
    put_bytes(&w, 9, raw, n_raw);
    return w;
}

static wire with_tensor(wire t)
{
    wire g = {0};
    put_message(&g, 5, t);
    put_message(&g, 1, node("Relu", "t", "y"));
    return model(g);
}

static void wrong_tensors(void **state)
{
    (void)state;
    expect(with_tensor(tensor((int64_t[]){4}, 1, FL_FLOAT, 16)), NULL);
    expect(with_tensor(tensor((int64_t[]){4}, 1, FL_FLOAT, 15)), "tensor \"t\": bytes: expected 16, found 15 [E0305]");
    expect(with_tensor(tensor((int64_t[]){-4}, 1, FL_FLOAT, 16)), "tensor \"t\": dimension 0 is negative: -4");
    expect(with_tensor(tensor((int64_t[]){1 << 30, 1 << 30, 1 << 30}, 3, FL_FLOAT, 0)), "tensor \"t\": the product of its dimensions overflows");
    expect(with_tensor(tensor((int64_t[]){INT64_MAX / 4, 2}, 2, FL_FLOAT, 0)), "tensor \"t\": the product of its dimensions overflows");
    expect(with_tensor(tensor((int64_t[]){4}, 1, FL_FLOAT, 17)), "tensor \"t\": bytes: expected 16, found 17");
    expect(with_tensor(tensor((int64_t[]){1LL << 32, 1LL << 32}, 2, FL_FLOAT, 0)), "tensor \"t\": the product of its dimensions overflows"); /* it wraps to 0 */
    expect(with_tensor(tensor((int64_t[]){1 << 30, 1 << 10}, 2, FL_FLOAT, 0)), "tensor \"t\": bytes: expected 4398046511104, found 0");
    expect(with_tensor(tensor((int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, 9, FL_FLOAT, 4)), "has 9 dimensions; we have at most 8 [E0310]");
    expect(with_tensor(tensor((int64_t[]){1}, 1, 99, 4)), "\"t\" has element type 99, which we do not have");
}

/* ------------------------------------------------------------------------------------------------- hostile files */

/* Model, graph, node, attribute, graph, node, ...: written inside out. */
static wire nested(int levels)
{
    unsigned char *bytes = malloc((size_t)levels * 12 + 16);
    assert_non_null(bytes);
    size_t at = (size_t)levels * 12 + 16, end = at;
    static const unsigned fields[] = {1, 5, 6}; /* GraphProto.node, NodeProto.attribute, AttributeProto.g */
    for (int i = 0; i <= levels; i++) {
        wire head = {0};
        put_varint(&head, (i == levels ? 7u : fields[(unsigned)(levels - 1 - i) % 3]) << 3 | 2);
        put_varint(&head, end - at);
        at -= head.n;
        memcpy(bytes + at, head.bytes, head.n);
        free(head.bytes);
    }
    memmove(bytes, bytes + at, end - at);
    return (wire){bytes, end - at, end};
}

/* n empty messages in `field` of the graph. */
static wire empties(size_t n, unsigned field)
{
    wire g = {0}, w = {0};
    for (size_t i = 0; i < n; i++)
        put_bytes(&g, field, "", 0);
    put_message(&w, 7, g);
    return w;
}

static long peak_kb(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void bombs_are_refused_cheaply(void **state)
{
    (void)state;
    expect(nested(1000), "messages nest deeper than 100");
    expect(nested(50000), "messages nest deeper than 100");
    expect(nested(98), "opset 0"); /* not too deep: refused for what it lacks */
    wire nodes = empties(5u << 20, 1), tensors = empties(5u << 20, 5);
    long before = peak_kb();
    clock_t start = clock();
    expect(nodes, "the file asks for more memory than its size allows: the limit of 164 MB");
    expect(tensors, "the file asks for more memory than its size allows: the limit of 164 MB");
    assert_true(clock() - start < CLOCKS_PER_SEC);
    assert_true(peak_kb() - before < 64 << 10);
}

/* The largest file of small nodes that is let through stays within what is promised. */
static void the_budget_holds(void **state)
{
    (void)state;
    enum { NODES = 60000 };
    wire g = {0};
    char in[16] = "x", out[16];
    for (int i = 0; i < NODES; i++) {
        snprintf(out, sizeof out, i + 1 == NODES ? "y" : "v%d", i);
        put_message(&g, 1, node("Relu", in, out));
        memcpy(in, out, sizeof in);
    }
    wire w = model(g);
    long limit = (long)(10 * w.n / 1024 + (64 << 10)), before = peak_kb();
    fl_graph *graph = decode_ok(w.bytes, w.n);
    assert_int_equal(graph->n_nodes, NODES);
    assert_true(peak_kb() - before < limit);
    fl_graph_free(graph);
    free(w.bytes);
}

/* ------------------------------------------------------------------------------------------------- external data */

static void external_entry(wire *t, const char *key, const char *text)
{
    wire e = {0};
    put_text(&e, 1, key);
    put_text(&e, 2, text);
    put_message(t, 13, e);
}

static wire external(const char *location, const char *offset, const char *length)
{
    wire t = {0};
    put_int(&t, 1, 4);
    put_int(&t, 2, FL_FLOAT);
    put_text(&t, 8, "t");
    external_entry(&t, "location", location);
    external_entry(&t, "offset", offset);
    if (length)
        external_entry(&t, "length", length);
    put_int(&t, 14, 1);
    return with_tensor(t);
}

/* Keys that a reader might set as attributes of its own. */
static wire with_unknown_key(void)
{
    wire t = {0};
    put_int(&t, 1, 4);
    put_int(&t, 2, FL_FLOAT);
    put_text(&t, 8, "t");
    external_entry(&t, "location", "data");
    external_entry(&t, "__class__", "x");
    put_int(&t, 14, 1);
    return with_tensor(t);
}

static void external_data_stays_beneath_the_folder(void **state)
{
    (void)state;
    char folder[] = "/tmp/flen_onnx_XXXXXX", data[64], link_[64], hard[64], sub[64], up[64];
    assert_non_null(mkdtemp(folder));
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(link_, sizeof link_, "%s/link", folder);
    snprintf(sub, sizeof sub, "%s/sub", folder);
    snprintf(up, sizeof up, "%s/up", folder);
    snprintf(hard, sizeof hard, "%s/hard", folder);
    FILE *f = fopen(data, "wb");
    float numbers[5] = {9, 1, 2, 3, 4};
    fwrite(numbers, sizeof numbers, 1, f);
    fclose(f);
    assert_int_equal(symlink("data", link_), 0);
    assert_int_equal(symlink("/tmp", up), 0);
    assert_int_equal(mkdir(sub, 0777), 0);
    expect_in(external("data", "4", "16"), folder, NULL);
    expect_in(external("./data", "3", NULL), folder, NULL);
    expect(external("data", "4", "16"), "no folder for external data is known");
    expect_in(external("/etc/passwd", "0", "16"), folder, "the path is absolute or empty");
    expect_in(external("../data", "0", "16"), folder, "the path leaves the model's folder");
    expect_in(external("sub/../../data", "0", "16"), folder, "the path leaves the model's folder");
    expect_in(external("link", "0", "16"), folder, "the path goes through a symbolic link [E0306]");
    expect_in(external("up/data", "0", "16"), folder, "the path goes through a symbolic link");
    expect_in(external("absent", "0", "16"), folder, "No such file or directory");
    expect_in(external("sub", "0", "16"), folder, "not a regular file");
    expect_in(external("data", "8", "16"), folder, "bytes 8 to 24 lie beyond the end of \"data\", which has 20");
    expect_in(external("data", "9223372036854775807", "16"), folder, "lie beyond the end");
    expect_in(external("data", "-4", "16"), folder, "external data with offset \"-4\"");
    expect_in(external("data", "0", "4000000000000"), folder, "expected 16, found 4000000000000");
    expect_in(external("data", "0", "-16"), folder, "external data with length \"-16\"");
    expect_in(external("data", "0x10", "16"), folder, "external data with offset \"0x10\"");
    expect_in(external("", "0", "16"), folder, "the path is absolute or empty");
    expect_in(external("*/_ORT_MEM_ADDR_/*", "140000000000000", "16"), folder, "No such file or directory"); /* an address that a runtime once took */
    expect_in(with_unknown_key(), folder, "external data with __class__ \"x\"");
    assert_int_equal(link(data, hard), 0);
    expect_in(external("hard", "0", "16"), folder, "the file has a second name (hard link)");
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bombs_are_refused_cheaply), /* first: it measures the process's peak memory */
        cmocka_unit_test(the_budget_holds),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(places_are_kept),
        cmocka_unit_test(older_opset),
        cmocka_unit_test(wrong_forms),
        cmocka_unit_test(wrong_names),
        cmocka_unit_test(unknown_operators_are_listed_at_once), cmocka_unit_test(wrong_nodes_are_listed_at_once),
        cmocka_unit_test(wrong_tensors),
        cmocka_unit_test(external_data_stays_beneath_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
