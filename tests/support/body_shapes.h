/*
 * body_shapes.h -- for each operator of ours that has a body, a graph text of many instances of it, each with shapes and attributes drawn from its number:
 * what the operator's code computes is compared with what its body does, here and in ONNX Runtime. All inputs have names of their own, "iN.NAME"; tables
 * have 8 rows or more, and all indices lie in the first 8.
 */
#ifndef FL_TESTS_BODY_SHAPES_H
#define FL_TESTS_BODY_SHAPES_H

#include "ir/base/rng.h"
#include "ir/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct shape_writer {
    FILE *inputs, *outputs, *nodes; /* streams of memory */
    int i;                          /* the instance */
    uint64_t draws;
    fl_op op;
} shape_writer;

/* From least to most. */
static inline int shape_draw(shape_writer *w, int least, int most)
{
    return least + (int)(fl_random_uniform(11, (uint64_t)w->op * 1000 + (uint64_t)w->i, w->draws++) * (most - least + 1));
}

static inline void FL_PRINTF(2, 3) shape_input(shape_writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(w->inputs, format, args);
    va_end(args);
}

/* `fields` attribute of m fields, of which none is larger than 4; their sum. */
static inline int shape_fields(shape_writer *w, int m, char *text, size_t size)
{
    int sum = 0;
    size_t at = 0;
    for (int f = 0; f < m; f++) {
        int n = shape_draw(w, 1, 4);
        sum += n;
        at += (size_t)snprintf(text + at, size - at, "%s%d", f ? ", " : "", n);
    }
    return sum;
}

static inline void shape_outputs(shape_writer *w, int n)
{
    fprintf(w->nodes, "   ");
    for (int k = 0; k < n; k++) {
        fprintf(w->nodes, "%s\"i%d.y%d\"", k ? ", " : "", w->i, k);
        fprintf(w->outputs, ", float[batch,w_%d_%d] \"i%d.y%d\"", w->i, k, w->i, k);
    }
    fprintf(w->nodes, " = ai.flen.%s ", fl_op_get(w->op)->name);
}

static inline void shape_field_pool(shape_writer *w)
{
    char fields[64];
    int m = shape_draw(w, 1, 5), columns = shape_fields(w, m, fields, sizeof fields), k = shape_draw(w, 1, 40), squares = shape_draw(w, 0, 1);
    shape_input(w, ", float[%d,%d] \"i%d.data\", %s[batch,%d] \"i%d.index\"", shape_draw(w, 8, 50), k, w->i, shape_draw(w, 0, 1) ? "int64" : "int32", columns, w->i);
    shape_outputs(w, m * (1 + squares));
    fprintf(w->nodes, "<fields = [%s], squares = %d> (\"i%d.data\", \"i%d.index\")\n", fields, squares, w->i, w->i);
}

static inline void shape_table_pool(shape_writer *w)
{
    char fields[64];
    int m = shape_draw(w, 1, 4), left = shape_fields(w, m, fields, sizeof fields), k = shape_draw(w, 1, 40), squares = shape_draw(w, 0, 1);
    shape_outputs(w, m * (1 + squares));
    fprintf(w->nodes, "<fields = [%s], squares = %d> (", fields, squares);
    for (int t = 0; left > 0; t++) {
        int n = shape_draw(w, 1, left);
        shape_input(w, ", float[%d,%d] \"i%d.data%d\", int64[batch,%d] \"i%d.index%d\"", shape_draw(w, 8, 50), k, w->i, t, n, w->i, t);
        fprintf(w->nodes, "%s\"i%d.data%d\", \"i%d.index%d\"", t ? ", " : "", w->i, t, w->i, t);
        left -= n;
    }
    fprintf(w->nodes, ")\n");
}

static inline void shape_field_interaction(shape_writer *w)
{
    int m = shape_draw(w, 1, 5), k = shape_draw(w, 1, 40), pairs = m > 1 && shape_draw(w, 0, 3) > 0, singles = !pairs || shape_draw(w, 0, 3) > 0;
    shape_outputs(w, 1);
    fprintf(w->nodes, "<fields = %d> (", m);
    if (pairs) {
        shape_input(w, ", float[%d] \"i%d.r_mf\"", m * (m - 1) / 2, w->i);
        fprintf(w->nodes, "\"i%d.r_mf\", ", w->i);
    } else {
        fprintf(w->nodes, "\"\", ");
    }
    if (singles) {
        shape_input(w, ", float[%d] \"i%d.r_fm\"", m, w->i);
        fprintf(w->nodes, "\"i%d.r_fm\"", w->i);
    } else {
        fprintf(w->nodes, "\"\"");
    }
    for (int f = 0; f < m; f++) {
        shape_input(w, ", float[batch,%d] \"i%d.f%d\"", k, w->i, f);
        fprintf(w->nodes, ", \"i%d.f%d\"", w->i, f);
    }
    for (int f = 0; f < m; f++) {
        bool there = singles && (f == 0 || shape_draw(w, 0, 2) > 0);
        if (there)
            shape_input(w, ", float[batch,%d] \"i%d.q%d\"", k, w->i, f);
        fprintf(w->nodes, there ? ", \"i%d.q%d\"" : ", \"\"", w->i, f);
    }
    fprintf(w->nodes, ")\n");
}

static inline void shape_dot_interaction(shape_writer *w)
{
    int n = shape_draw(w, 2, 8), k = shape_draw(w, 1, 40), pairs = shape_draw(w, 1, 12), of[24];
    shape_input(w, ", float[batch,%d,%d] \"i%d.x\"", n, k, w->i);
    shape_outputs(w, 1);
    for (int p = 0; p < 2 * pairs; p++)
        of[p] = shape_draw(w, 0, n - 1);
    for (int side = 0; side < 2; side++) {
        fprintf(w->nodes, side ? "], second = [" : "<first = [");
        for (int p = 0; p < pairs; p++)
            fprintf(w->nodes, "%s%d", p ? ", " : "", of[2 * p + side]);
    }
    fprintf(w->nodes, "]> (\"i%d.x\")\n", w->i);
}

/* What is added tells how many rows there are, which offsets do not. */
static inline void shape_embedding_bag(shape_writer *w)
{
    int k = shape_draw(w, 1, 40);
    shape_input(w, ", float[%d,%d] \"i%d.data\", int64[count] \"i%d.values\", int64[offset] \"i%d.offsets\", float[batch,%d] \"i%d.x\"", shape_draw(w, 8, 50), k,
                w->i, w->i, w->i, k, w->i);
    fprintf(w->nodes, "   \"i%d.bag\" = ai.flen.EmbeddingBag <mode = \"%s\"> (\"i%d.data\", \"i%d.values\", \"i%d.offsets\")\n", w->i,
            shape_draw(w, 0, 1) ? "sum" : "mean", w->i, w->i, w->i);
    fprintf(w->outputs, ", float[batch,%d] \"i%d.y\"", k, w->i);
    fprintf(w->nodes, "   \"i%d.y\" = Add (\"i%d.bag\", \"i%d.x\")\n", w->i, w->i, w->i);
}

static inline void shape_linear(shape_writer *w)
{
    int n = shape_draw(w, 1, 70), h = shape_draw(w, 1, 40), bias = shape_draw(w, 0, 1);
    shape_input(w, ", float[batch,%d] \"i%d.x\", float[%d,%d] \"i%d.w\"", n, w->i, n, h, w->i);
    if (bias)
        shape_input(w, ", float[%d] \"i%d.bias\"", h, w->i);
    shape_outputs(w, 1);
    fprintf(w->nodes, "<activation = \"%s\"> (\"i%d.x\", \"i%d.w\"", shape_draw(w, 0, 1) ? "relu" : "none", w->i, w->i);
    fprintf(w->nodes, bias ? ", \"i%d.bias\")\n" : ")\n", w->i);
}

static inline void shape_loss(shape_writer *w)
{
    static const char *const kinds[] = {"bce", "paddle_log_loss", "bce_clamped"};
    shape_input(w, ", float[batch,1] \"i%d.logit\", float[batch,1] \"i%d.target\"", w->i, w->i);
    shape_outputs(w, 1);
    fprintf(w->nodes, "<kind = \"%s\", epsilon = %.9g> (\"i%d.logit\", \"i%d.target\")\n", kinds[shape_draw(w, 0, 2)], 1.0 / (1 << shape_draw(w, 4, 14)), w->i, w->i);
}

static inline void shape_batch_norm(shape_writer *w)
{
    static const char *const operands[] = {"gamma", "beta", "running_mean", "running_var"};
    int h = shape_draw(w, 1, 70);
    shape_input(w, ", float[batch,%d] \"i%d.x\"", h, w->i);
    shape_outputs(w, 1);
    fprintf(w->nodes, "<epsilon = %.9g, momentum = 0.9> (\"i%d.x\"", 1.0 / (1 << shape_draw(w, 1, 16)), w->i);
    for (int k = 0; k < 4; k++) {
        shape_input(w, ", float[%d] \"i%d.%s\"", h, w->i, operands[k]);
        fprintf(w->nodes, ", \"i%d.%s\"", w->i, operands[k]);
    }
    fprintf(w->nodes, ")\n");
}

static inline void shape_dropout(shape_writer *w)
{
    int h = shape_draw(w, 1, 70);
    shape_input(w, ", float[batch,%d] \"i%d.x\"", h, w->i);
    shape_outputs(w, 1);
    fprintf(w->nodes, "<rate = %.9g, style = \"%s\", key = %d> (\"i%d.x\")\n", shape_draw(w, 0, 15) / 16.0, shape_draw(w, 0, 1) ? "upscale_in_train" : "downscale_in_infer",
            w->i, w->i);
}

/* The graph as text, malloc'ed; NULL for an operator that nobody wrote shapes for. */
static inline char *body_shapes(fl_op op, int first, int instances)
{
    char *parts[3] = {NULL}, *text = NULL;
    size_t sizes[3], size;
    shape_writer w = {.op = op};
    FILE **streams[] = {&w.inputs, &w.outputs, &w.nodes};
    void (*write)(shape_writer *) = op == FL_OP_FIELD_POOL          ? shape_field_pool
                                    : op == FL_OP_TABLE_POOL        ? shape_table_pool
                                    : op == FL_OP_FIELD_INTERACTION ? shape_field_interaction
                                    : op == FL_OP_DOT_INTERACTION   ? shape_dot_interaction
                                    : op == FL_OP_EMBEDDING_BAG     ? shape_embedding_bag
                                    : op == FL_OP_LINEAR            ? shape_linear
                                    : op == FL_OP_LOG_LOSS          ? shape_loss
                                    : op == FL_OP_LOG_LOSS_GRAD     ? shape_loss
                                    : op == FL_OP_BATCH_NORM        ? shape_batch_norm
                                    : op == FL_OP_DROPOUT           ? shape_dropout
                                                                    : NULL;
    if (!write)
        return NULL;
    for (int k = 0; k < 3; k++)
        if (!(*streams[k] = open_memstream(&parts[k], &sizes[k])))
            return NULL;
    for (w.i = first; w.i < first + instances; w.i++, w.draws = 0)
        write(&w);
    for (int k = 0; k < 3; k++)
        fclose(*streams[k]);
    FILE *out = open_memstream(&text, &size);
    if (out) { /* the lists begin with ", " */
        fprintf(out, "<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1]>\n%s (%s) => (%s) {\n%s}\n", fl_op_get(op)->name, parts[0] + 2, parts[1] + 2, parts[2]);
        fclose(out);
    }
    for (int k = 0; k < 3; k++)
        free(parts[k]);
    return text;
}

#endif
