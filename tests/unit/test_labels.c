/*
 * test_labels.c -- LabelEncoder and CategoryMapper on the interpreter: strings, integers, floats; what is unknown; what is refused.
 * Oracle: values by hand.
 */
#include "tests/support/onnx_wire.h"

#include "backend/interp/interp.h"
#include "ir/verify.h"

static wire attribute(const char *name, int kind)
{
    wire w = {0};
    put_text(&w, 1, name);
    put_int(&w, 20, kind);
    return w;
}

static wire typed(const char *name, fl_dtype t)
{
    wire d = {0}, shape = {0}, tensor = {0}, type = {0}, w = {0};
    put_int(&d, 1, 3);
    put_message(&shape, 1, d);
    put_int(&tensor, 1, t);
    put_message(&tensor, 2, shape);
    put_message(&type, 1, tensor);
    put_text(&w, 1, name);
    put_message(&w, 2, type);
    return w;
}

/* y = op<attributes>(x), x [3] of type t. */
static wire one_node(const char *op, wire *attributes, int n, fl_dtype t)
{
    wire node_ = {0}, g = {0}, set = {0}, w = {0};
    put_text(&node_, 1, "x");
    put_text(&node_, 2, "y");
    put_text(&node_, 4, op);
    put_text(&node_, 7, "ai.onnx.ml");
    for (int k = 0; k < n; k++)
        put_message(&node_, 5, attributes[k]);
    put_message(&g, 1, node_);
    put_message(&g, 11, typed("x", t));
    put_text(&g, 2, "g");
    wire y = {0};
    put_text(&y, 1, "y");
    put_message(&g, 12, y);
    put_text(&set, 1, "ai.onnx.ml");
    put_int(&set, 2, 2);
    put_int(&w, 1, 8);
    put_message(&w, 8, set);
    put_message(&w, 7, g);
    return w;
}

static wire texts(const char *name, const char *a, const char *b)
{
    wire w = attribute(name, FL_ATTR_STRINGS);
    put_text(&w, 9, a);
    put_text(&w, 9, b);
    return w;
}

static wire numbers(const char *name, int64_t a, int64_t b)
{
    wire w = attribute(name, FL_ATTR_INTS);
    put_int(&w, 8, a);
    put_int(&w, 8, b);
    return w;
}

typedef struct fixture {
    fl_graph *g;
    fl_interp *in;
    const fl_array *y;
} fixture;

static fixture run(wire w, const void *x, fl_dtype t)
{
    fixture f = {0};
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = fl_onnx_decode(w.bytes, w.n, "labels.onnx", NULL, &f.g, &dg);
    if (s == FL_OK)
        s = fl_graph_verify(f.g, &dg);
    if (s == FL_OK)
        s = fl_interp_new(f.g, &f.in, &dg);
    fl_tensor given = {.type = fl_type_make(t, 1, (fl_dim[]){3}), .bytes = x};
    if (s == FL_OK)
        s = fl_interp_set(f.in, f.g->inputs[0], &given, &dg);
    if (s == FL_OK)
        s = fl_interp_run(f.in, &dg);
    if (s != FL_OK)
        fail_msg("%s", dg.entries[0].text);
    f.y = fl_interp_get(f.in, f.g->outputs[0]);
    assert_non_null(f.y);
    fl_diag_deinit(&dg);
    free(w.bytes);
    return f;
}

static void drop(fixture *f)
{
    fl_interp_free(f->in);
    fl_graph_free(f->g);
}

static void strings_become_numbers(void **state)
{
    (void)state;
    const char *const x[] = {"b", "zebra", "a"};
    wire list[] = {texts("keys_strings", "a", "b"), numbers("values_int64s", 10, 20)};
    fixture f = run(one_node("LabelEncoder", list, 2, FL_STRING), x, FL_STRING);
    assert_int_equal(f.y->i[0], 20);
    assert_int_equal(f.y->i[1], -1); /* the standard's default */
    assert_int_equal(f.y->i[2], 10);
    drop(&f);
}

static void numbers_become_strings(void **state)
{
    (void)state;
    const int64_t x[] = {7, 8, 9};
    wire list[] = {numbers("keys_int64s", 9, 7), texts("values_strings", "nine", "seven")};
    fixture f = run(one_node("LabelEncoder", list, 2, FL_INT64), x, FL_INT64);
    assert_string_equal((const char *)(intptr_t)f.y->i[0], "seven");
    assert_string_equal((const char *)(intptr_t)f.y->i[1], "_Unused");
    assert_string_equal((const char *)(intptr_t)f.y->i[2], "nine");
    drop(&f);
}

/* CategoryMapper goes either way through one pair of lists; of equal keys the last counts. */
static void categories_go_both_ways(void **state)
{
    (void)state;
    const char *const x[] = {"cat", "dog", "eel"};
    const int64_t y[] = {4, 3, 2};
    wire there[] = {texts("cats_strings", "cat", "dog"), numbers("cats_int64s", 3, 4), attribute("default_int64", FL_ATTR_INT)};
    put_int(&there[2], 3, 99);
    fixture f = run(one_node("CategoryMapper", there, 3, FL_STRING), x, FL_STRING);
    assert_int_equal(f.y->i[0], 3);
    assert_int_equal(f.y->i[1], 4);
    assert_int_equal(f.y->i[2], 99);
    drop(&f);
    wire back[] = {texts("cats_strings", "cat", "dog"), numbers("cats_int64s", 3, 3)};
    f = run(one_node("CategoryMapper", back, 2, FL_INT64), y, FL_INT64);
    assert_string_equal((const char *)(intptr_t)f.y->i[0], "_Unused");
    assert_string_equal((const char *)(intptr_t)f.y->i[1], "dog");
    drop(&f);
}

static void wrong_lists_are_refused(void **state)
{
    (void)state;
    wire list[] = {texts("keys_strings", "a", "b")};
    wire w = one_node("LabelEncoder", list, 1, FL_STRING);
    fl_graph *g = NULL;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status s = fl_onnx_decode(w.bytes, w.n, "labels.onnx", NULL, &g, &dg);
    if (s == FL_OK)
        s = fl_graph_verify(g, &dg);
    assert_int_equal(s, FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[0].text, "it needs a list of keys and one of values, equally long"));
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    free(w.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings_become_numbers), cmocka_unit_test(numbers_become_strings),
                                       cmocka_unit_test(categories_go_both_ways), cmocka_unit_test(wrong_lists_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
