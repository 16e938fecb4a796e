/*
 * print.c -- a graph in ONNX's text syntax (docs/Syntax.md of ONNX).
 *
 *     <ir_version: 8, opset_import: ["" : 20, "ai.flen" : 1], metadata_props: ["ai.flen.variables": "table"]>
 *     predict (int64[batch,22] ids, float[100,8] table) => (float[batch,1] logit) {
 *        e = Gather (table, ids)
 *     }
 *
 * Names that are no identifiers are quoted. Numbers are the shortest decimals that read back. Variables without stored
 * data are inputs; those with data, and constants, are initialisers: small ones written out, others by reference
 * to the file that holds them. Types of intermediate values follow from the operators and are comments; only where one brings in a symbol
 * of its own (the number of distinct rows), it is declared beside the initialisers: another reading would give it another name.
 *
 * Bodies of our operators follow the graph, one for each function that is called, as `flenc export` writes them. They hold for operands of any types, so
 * theirs are left out. Functions that the graph has itself (functions.h) are always printed.
 */
#include "ir/print.h"

#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/graph_meta.h"
#include "ir/shape.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INLINE = 1024 }; /* elements */

typedef struct printer {
    const fl_graph *g;
    const fl_print_options *options;
    FILE *out;
    uint64_t searched; /* where the last tensor stands in options->bytes */
    const char **calls; /* by node: the function that it calls; NULL: none do */
    bool *first;        /* by node: its body is printed */
} printer;

static bool is_identifier(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return *s == '\0';
}

static void put_quoted(const printer *p, const char *s)
{
    fputc('"', p->out);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', p->out);
        fputc(*s, p->out);
    }
    fputc('"', p->out);
}

static void put_name(const printer *p, const char *name)
{
    if (is_identifier(name))
        fputs(name, p->out);
    else
        put_quoted(p, name);
}

/* The shortest decimal that reads back as the same double, and is seen to be a float. */
static void put_float(const printer *p, double f)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (strtod(text, NULL) == f)
            break;
    }
    fputs(text, p->out);
    if (isfinite(f) && !strpbrk(text, ".e"))
        fputs(".0", p->out);
}

/* As fl_type_print, but whole, and with symbols quoted where they are no identifiers. */
static void put_type(const printer *p, const fl_type *t)
{
    fputs(fl_dtype_name(t->dtype), p->out);
    if (t->rank < 0 && t->dtype != FL_DTYPE_NONE)
        fputs("[]", p->out);
    for (int i = 0; i < t->rank; i++) {
        fputc(i ? ',' : '[', p->out);
        if (FL_DIM_IS_SYM(t->dims[i]))
            put_name(p, p->g->symbols[FL_SYM_OF_DIM(t->dims[i])]);
        else
            fprintf(p->out, "%lld", (long long)t->dims[i]);
    }
    if (t->rank > 0)
        fputc(']', p->out);
}

static void put_typed_name(const printer *p, fl_id v)
{
    if (fl_value_type(p->g, v)->dtype != FL_DTYPE_NONE) { /* an output's type may be left out */
        put_type(p, fl_value_type(p->g, v));
        fputc(' ', p->out);
    }
    put_name(p, p->g->values[v].name);
}

static void put_elements(const printer *p, const fl_tensor *t)
{
    int64_t n = fl_type_elements(&t->type);
    bool real = t->type.dtype == FL_FLOAT || t->type.dtype == FL_DOUBLE || t->type.dtype == FL_FLOAT16 ||
                t->type.dtype == FL_BFLOAT16;

    fputs(" {", p->out);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0)
            fputs(", ", p->out);
        if (t->type.dtype == FL_FLOAT)
            put_float(p, fl_widen((float)fl_tensor_get_double(t, i)));
        else if (real)
            put_float(p, fl_tensor_get_double(t, i));
        else
            fprintf(p->out, "%lld", (long long)fl_tensor_get_int(t, i));
    }
    fputc('}', p->out);
}

/* Where the tensor's bytes stand in the file; false if they do not. Searched from the last one found: files keep the order of declaration. */
static bool find_in_file(printer *p, const fl_tensor *t, uint64_t *offset)
{
    const char *file = p->options->bytes, *end = file ? file + p->options->n_bytes : NULL, *found = NULL;
    if (!file || !t->bytes || !p->options->location || t->length == 0)
        return false;
    if ((uintptr_t)t->bytes >= (uintptr_t)file && (uintptr_t)t->bytes + t->length <= (uintptr_t)end)
        found = t->bytes; /* mapped from there */
    if (!found)
        found = memmem(file + p->searched, p->options->n_bytes - p->searched, t->bytes, t->length);
    if (!found)
        found = memmem(file, p->options->n_bytes, t->bytes, t->length);
    if (!found)
        return false;
    p->searched = *offset = (uint64_t)(found - file);
    return true;
}

/* " = {..}" or " = [external]" behind a type and a name. */
static void put_data(printer *p, const fl_tensor *t)
{
    const char *location = t->location;
    uint64_t offset = t->offset;

    fputs(" =", p->out);
    if (t->bytes && fl_type_elements(&t->type) <= MAX_INLINE) {
        put_elements(p, t);
        return;
    }
    if (find_in_file(p, t, &offset))
        location = p->options->location;
    if (!location) {
        put_elements(p, t);
        return;
    }
    fputs(" [\"location\": ", p->out);
    put_quoted(p, location);
    fprintf(p->out, ", \"offset\": \"%llu\", \"length\": \"%llu\"]", (unsigned long long)offset, (unsigned long long)t->length);
}

static void put_attr(const printer *p, const fl_attr *a)
{
    put_name(p, a->name);
    switch (a->kind) {
    case FL_ATTR_INT:
        fprintf(p->out, " = %lld", (long long)a->as.i);
        break;
    case FL_ATTR_FLOAT:
        fputs(" = ", p->out);
        put_float(p, a->as.f);
        break;
    case FL_ATTR_STRING:
        fputs(" = ", p->out);
        put_quoted(p, a->as.s);
        break;
    case FL_ATTR_TENSOR:
        fputs(" = ", p->out);
        put_type(p, &a->as.tensor->type);
        put_elements(p, a->as.tensor);
        break;
    case FL_ATTR_INTS:
    case FL_ATTR_FLOATS:
    case FL_ATTR_STRINGS: /* an empty list does not tell its type */
        if (a->n == 0)
            fputs(a->kind == FL_ATTR_INTS ? " : ints" : a->kind == FL_ATTR_FLOATS ? " : floats" : " : strings", p->out);
        fputs(" = [", p->out);
        for (uint32_t i = 0; i < a->n; i++) {
            if (i > 0)
                fputs(", ", p->out);
            if (a->kind == FL_ATTR_INTS)
                fprintf(p->out, "%lld", (long long)a->as.ints[i]);
            else if (a->kind == FL_ATTR_FLOATS)
                put_float(p, a->as.floats[i]);
            else
                put_quoted(p, a->as.strings[i]);
        }
        fputc(']', p->out);
        break;
    }
}

static void put_values(const printer *p, const fl_id *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            fputs(", ", p->out);
        if (list[i] == FL_NONE)
            fputs("\"\"", p->out);
        else
            put_name(p, p->g->values[list[i]].name);
    }
}

static void put_node(const printer *p, fl_id node)
{
    const fl_node *n = &p->g->nodes[node];
    const fl_op_info *op = fl_op_get(n->op);

    fputs("   ", p->out);
    put_values(p, n->out, n->n_out);
    fprintf(p->out, " = %s%s%s ", op->domain, *op->domain ? "." : "", p->calls && p->calls[node] ? p->calls[node] : n->op == FL_OP_CALL ? fl_function_name(p->g, node) : op->name);
    uint32_t n_attr = n->op == FL_OP_CALL ? 0 : n->n_attr; /* a call has the function's name in the operator's place */
    for (uint32_t i = 0; i < n_attr; i++) {
        fputs(i == 0 ? "<" : ", ", p->out);
        put_attr(p, &n->attr[i]);
    }
    fputs(n_attr ? "> (" : "(", p->out);
    put_values(p, n->in, n->n_in);
    fputc(')', p->out);
    bool first = true;
    for (uint32_t i = 0; p->options->types && i < n->n_out; i++) {
        if (n->out[i] == FL_NONE || fl_value_type(p->g, n->out[i])->rank < 0)
            continue;
        fputs(first ? " # " : ", ", p->out);
        put_type(p, fl_value_type(p->g, n->out[i]));
        first = false;
    }
    fputc('\n', p->out);
}

void fl_node_print(const fl_graph *g, fl_id node, FILE *out)
{
    static const fl_print_options types = {.types = true};
    printer p = {.g = g, .options = &types, .out = out};
    put_node(&p, node);
}

static void put_header(const printer *p, const fl_meta_entry *meta, uint32_t n)
{
    fputs("<ir_version: 8, opset_import: [\"\" : 20, \"ai.flen\" : 1]", p->out);
    for (uint32_t i = 0; i < n; i++) {
        fputs(i == 0 ? ",\n metadata_props: [" : ",\n  ", p->out);
        put_quoted(p, meta[i].key);
        fputs(": ", p->out);
        put_quoted(p, meta[i].value);
    }
    fputs(n > 0 ? "]>\n" : ">\n", p->out);
}

/* Is every symbol of the type, or every factor of a product, among the known? */
static bool is_known(const fl_graph *g, const fl_type *t, const bool *known)
{
    for (int i = 0; i < t->rank; i++) {
        fl_dim factors[FL_MAX_RANK];
        uint32_t n = fl_shape_factors(g, t->dims[i], factors);
        for (uint32_t k = 0; k < n; k++)
            if (FL_DIM_IS_SYM(factors[k]) && !known[FL_SYM_OF_DIM(factors[k])])
                return false;
    }
    return true;
}

static void learn(const fl_type *t, bool *known)
{
    for (int i = 0; i < t->rank; i++)
        if (FL_DIM_IS_SYM(t->dims[i]))
            known[FL_SYM_OF_DIM(t->dims[i])] = true;
}

/* Declares results that bring in symbols, but outputs, which are declared already; n counts what stands in the list. */
static bool put_declared(const printer *p, fl_arena *scratch, const fl_id *outputs, uint32_t n_outputs, uint32_t n)
{
    const fl_graph *g = p->g;
    bool *known = fl_arena_new(scratch, bool, g->n_symbols), *declared = fl_arena_new(scratch, bool, g->n_values);
    if (!known || !declared)
        return false;
    for (uint32_t i = 0; i < n_outputs; i++)
        declared[outputs[i]] = true;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        learn(fl_value_type(g, g->inputs[i]), known);
    for (uint32_t i = 0; i < g->n_variables; i++)
        learn(fl_value_type(g, g->variables[i]), known);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++) {
            fl_id v = g->nodes[i].out[k];
            if (v == FL_NONE || is_known(g, fl_value_type(g, v), known))
                continue;
            if (!declared[v]) {
                fputs(n++ > 0 ? ",\n   " : "\n<  ", p->out);
                put_typed_name(p, v);
            }
            learn(fl_value_type(g, v), known);
        }
    }
    fputs(n > 0 ? ">\n{\n" : " {\n", p->out);
    return true;
}

/* False if out of memory. */
static bool put_signature(printer *p, fl_arena *scratch, const fl_id *outputs, uint32_t n_outputs)
{
    const fl_graph *g = p->g;
    uint32_t n = 0;

    put_name(p, g->name);
    fputs(" (", p->out);
    for (uint32_t i = 0; i < g->n_inputs; i++, n++) {
        fputs(n > 0 ? ", " : "", p->out);
        put_typed_name(p, g->inputs[i]);
    }
    for (uint32_t i = 0; i < g->n_variables; i++) {
        if (g->values[g->variables[i]].data)
            continue;
        fputs(n++ > 0 ? ", " : "", p->out);
        put_typed_name(p, g->variables[i]);
    }
    fputs(") => (", p->out);
    for (uint32_t i = 0; i < n_outputs; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        put_typed_name(p, outputs[i]);
    }
    fputc(')', p->out);
    n = 0;
    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_tensor *data = g->values[g->variables[i]].data;
        if (!data)
            continue;
        fputs(n++ > 0 ? ",\n   " : "\n<  ", p->out);
        put_typed_name(p, g->variables[i]);
        put_data(p, data);
    }
    return put_declared(p, scratch, outputs, n_outputs, n);
}

/* ---------------------------------------------------------------------------------------------------- functions */

static void put_words(const printer *p, const char *const *words)
{
    for (bool first = true; *words; words++, first = false) {
        fputs(first ? "" : ", ", p->out);
        put_name(p, *words);
    }
}

/* Operands that the node leaves out have a place, too, so that positions are the operator's. */
static void put_operands(const printer *p, const fl_node *n, const fl_graph *body)
{
    for (uint32_t k = 0, next = 0; k < n->n_in; k++) {
        fputs(k > 0 ? ", " : "", p->out);
        if (n->in[k] == FL_NONE)
            fprintf(p->out, "left_out_%u", k);
        else
            put_name(p, body->values[body->inputs[next++]].name);
    }
}

static fl_status put_body(const printer *p, fl_id node, fl_diag *dg)
{
    static const fl_print_options plain = {0};
    const fl_node *n = &p->g->nodes[node];
    fl_graph *body = NULL;
    FL_TRY(fl_body_build(p->g, node, &body, dg));
    printer inside = {.g = body, .options = &plain, .out = p->out};
    fprintf(p->out, "<domain: \"ai.flen\", opset_import: [\"\" : 20]>\n%s <", p->calls[node]);
    put_words(p, fl_body_attributes(n->op));
    fputs("> (", p->out);
    put_operands(p, n, body);
    fputs(") => (", p->out);
    put_values(&inside, body->outputs, body->n_outputs);
    fputs(")\n{\n", p->out);
    for (fl_id i = 0; i < body->n_nodes; i++)
        put_node(&inside, i);
    fputs("}\n", p->out);
    fl_graph_free(body);
    return FL_OK;
}

/* The name tells everything that the body depends on, the rank of TablePool's indices among it, and is a name in the text, too. */
static bool is_told(const fl_graph *g, fl_id node, const char *name)
{
    const fl_node *n = &g->nodes[node];
    for (uint32_t k = 1; n->op == FL_OP_TABLE_POOL && k < n->n_in; k += 2)
        if (n->in[k] == FL_NONE || fl_value_type(g, n->in[k])->rank < 0)
            return false;
    return name && is_identifier(name);
}

/* Names the functions that nodes call. One whose attributes say nothing keeps its operator: who verifies will say so. */
static fl_status name_calls(printer *p, fl_arena *scratch, fl_diag *dg)
{
    const fl_graph *g = p->g;
    if (!(p->calls = fl_arena_new(scratch, const char *, g->n_nodes + 1u)))
        return fl_out_of_memory(dg);
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const char *name = fl_body_exists(g->nodes[i].op) ? fl_body_name(g, i, scratch) : NULL;
        p->calls[i] = is_told(g, i, name) ? name : NULL;
    }
    return scratch->failed ? fl_out_of_memory(dg) : FL_OK;
}

static bool has_body(const fl_graph *g, fl_id node)
{
    fl_graph *body = NULL;
    fl_diag ignored;
    fl_diag_init(&ignored);
    bool has = fl_body_build(g, node, &body, &ignored) == FL_OK;
    fl_diag_deinit(&ignored);
    fl_graph_free(body);
    return has;
}

typedef struct seen {
    fl_strpool with_body, without;
} seen;

/* Keeps in `calls` those whose body can be built, and notes the first node of each function. */
static fl_status choose_bodies(printer *p, fl_arena *scratch, seen *names, fl_diag *dg)
{
    if (!(p->first = fl_arena_new(scratch, bool, p->g->n_nodes + 1u)))
        return fl_out_of_memory(dg);
    if (!p->options->functions)
        return FL_OK;
    FL_TRY(name_calls(p, scratch, dg));
    for (fl_id i = 0; i < p->g->n_nodes; i++) {
        const char *name = p->calls[i];
        size_t n = name ? strlen(name) : 0;
        if (!name || fl_strpool_find(&names->with_body, name, n))
            continue;
        bool has = !fl_strpool_find(&names->without, name, n) && has_body(p->g, i);
        p->first[i] = has;
        p->calls[i] = has ? name : NULL;
        if (!fl_strpool_put(has ? &names->with_body : &names->without, name, n))
            return fl_out_of_memory(dg);
    }
    return FL_OK;
}

/* A function that the graph has: its types are known, and constants of it are nodes, because functions have no initialisers. */
static void put_function(const printer *p)
{
    const fl_graph *f = p->g;
    fputs("<domain: \"ai.flen\", opset_import: [\"\" : 20, \"ai.flen\" : 1]>\n", p->out);
    put_name(p, f->name);
    fputs(" (", p->out);
    put_values(p, f->inputs, f->n_inputs);
    fputs(") => (", p->out);
    put_values(p, f->outputs, f->n_outputs);
    fputs(")\n{\n", p->out);
    for (uint32_t i = 0; i < f->n_variables; i++) {
        const fl_attr value = {.name = "value", .kind = FL_ATTR_TENSOR, .as.tensor = f->values[f->variables[i]].data};
        fputs("   ", p->out);
        put_name(p, f->values[f->variables[i]].name);
        fputs(" = Constant <", p->out);
        put_attr(p, &value);
        fputs("> ()\n", p->out);
    }
    for (fl_id i = 0; i < f->n_nodes; i++)
        if (f->nodes[i].op != FL_OP_NOP)
            put_node(p, i);
    fputs("}\n", p->out);
}

static fl_status put_bodies(const printer *p, fl_diag *dg)
{
    for (fl_id i = 0; i < p->g->n_nodes; i++)
        if (p->first[i])
            FL_TRY(put_body(p, i, dg));
    return FL_OK;
}

static bool is_called(const fl_graph *g, const fl_graph *f)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_CALL && fl_function_of(g, i) == f)
            return true;
    return false;
}

static fl_status put_graph(printer *p, fl_arena *scratch, const fl_id *outputs, uint32_t n_outputs, fl_diag *dg)
{
    const fl_graph *g = p->g;
    seen names;
    fl_strpool_init(&names.with_body, scratch);
    fl_strpool_init(&names.without, scratch);
    printer *inside = fl_arena_new(scratch, printer, g->n_functions + 1u);
    uint32_t n = 0;
    if (!inside)
        return fl_out_of_memory(dg);
    FL_TRY(choose_bodies(p, scratch, &names, dg));
    for (uint32_t i = 0; i < g->n_functions; i++) {
        if (!is_called(g, g->functions[i]))
            continue;
        inside[n] = (printer){.g = g->functions[i], .options = p->options, .out = p->out};
        FL_TRY(choose_bodies(&inside[n++], scratch, &names, dg));
    }
    if (!put_signature(p, scratch, outputs, n_outputs))
        return fl_out_of_memory(dg);
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            put_node(p, i);
    fputs("}\n", p->out);
    for (uint32_t i = 0; i < n; i++)
        put_function(&inside[i]);
    FL_TRY(put_bodies(p, dg));
    for (uint32_t i = 0; i < n; i++)
        FL_TRY(put_bodies(&inside[i], dg));
    return FL_OK;
}

fl_status fl_graph_print(const fl_graph *g, const fl_print_options *options, FILE *out, fl_diag *dg)
{
    static const fl_print_options plain = {0};
    printer p = {.g = g, .options = options ? options : &plain, .out = out};
    fl_arena scratch;
    fl_meta_entry *meta;
    uint32_t n_meta, n_outputs;

    fl_arena_init(&scratch);
    fl_status status = fl_meta_collect(g, &scratch, &meta, &n_meta, dg);
    fl_id *outputs = status == FL_OK ? fl_meta_file_outputs(g, &scratch, &n_outputs) : NULL;
    if (status == FL_OK && !outputs)
        status = fl_out_of_memory(dg);
    if (status == FL_OK) {
        put_header(&p, meta, n_meta);
        status = put_graph(&p, &scratch, outputs, n_outputs, dg);
        if (status == FL_OK && ferror(out))
            status = fl_error(dg, FL_E_WRITE, FL_NOWHERE, "the text of graph \"%s\" could not be written", g->name);
    }
    fl_arena_deinit(&scratch);
    return status;
}
