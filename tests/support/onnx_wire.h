/*
 * onnx_wire.h -- ONNX files written byte by byte for tests: the wire format by hand, so that what no writer would write can be written.
 */
#ifndef FL_TESTS_ONNX_WIRE_H
#define FL_TESTS_ONNX_WIRE_H

#include "ir/model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

typedef struct wire {
    unsigned char *bytes;
    size_t n, capacity;
} wire;

static inline void put(wire *w, const void *bytes, size_t n)
{
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n);
        w->bytes = realloc(w->bytes, w->capacity);
        assert_non_null(w->bytes);
    }
    if (n)
        memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static inline void put_varint(wire *w, uint64_t v)
{
    do {
        unsigned char byte = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        put(w, &byte, 1);
        v >>= 7;
    } while (v);
}

static inline void put_int(wire *w, unsigned field, int64_t v)
{
    put_varint(w, field << 3);
    put_varint(w, (uint64_t)v);
}

static inline void put_bytes(wire *w, unsigned field, const void *bytes, size_t n)
{
    put_varint(w, field << 3 | 2);
    put_varint(w, n);
    put(w, bytes, n);
}

static inline void put_text(wire *w, unsigned field, const char *s)
{
    put_bytes(w, field, s, strlen(s));
}

/* Appends `inner` as a message and frees it. */
static inline void put_message(wire *w, unsigned field, wire inner)
{
    put_bytes(w, field, inner.bytes, inner.n);
    free(inner.bytes);
}

static inline wire node(const char *op, const char *in, const char *out)
{
    wire w = {0};
    put_text(&w, 1, in);
    put_text(&w, 2, out);
    put_text(&w, 4, op);
    return w;
}

static inline wire value(const char *name, int64_t dim)
{
    wire d = {0}, shape = {0}, tensor = {0}, type = {0}, w = {0};
    put_int(&d, 1, dim);
    put_message(&shape, 1, d);
    put_int(&tensor, 1, FL_FLOAT);
    put_message(&tensor, 2, shape);
    put_message(&type, 1, tensor);
    put_text(&w, 1, name);
    put_message(&w, 2, type);
    return w;
}

/* `graph` with input x[4], output y; then the model around it. */
static inline wire model(wire graph)
{
    wire set = {0}, w = {0};
    put_message(&graph, 11, value("x", 4));
    put_message(&graph, 12, value("y", 4));
    put_int(&set, 2, 20);
    put_int(&w, 1, 8);
    put_message(&w, 8, set);
    put_message(&w, 7, graph);
    return w;
}

/* Decodes and frees; the report must have `words`, or success if NULL. */
static inline void expect_in(wire w, const char *folder, const char *words)
{
    fl_diag dg;
    fl_diag_init(&dg);
    fl_graph *g = NULL;
    fl_status status = fl_onnx_decode(w.bytes, w.n, "bad.onnx", folder, &g, &dg);
    char got[1024] = "success";
    if (dg.n_entries)
        snprintf(got, sizeof got, "%s [E%04d]", dg.entries[0].text, (int)dg.entries[0].code);
    if (words ? status == FL_OK || !strstr(got, words) : status != FL_OK)
        fail_msg("expected \"%s\", got \"%s\"", words ? words : "success", got);
    if (words) {
        assert_string_equal(dg.entries[0].file, "bad.onnx");
        assert_null(g);
    }
    fl_graph_free(g);
    fl_diag_deinit(&dg);
    free(w.bytes);
}

static inline void expect(wire w, const char *words)
{
    expect_in(w, NULL, words);
}

#endif
