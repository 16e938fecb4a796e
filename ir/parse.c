/*
 * parse.c -- ONNX's text syntax, read by recursive descent; the only nesting is a type in an attribute, so that depth is bounded.
 *
 *     model  = [ "<" key ":" ... ">" ] graph
 *     graph  = name "(" typed, ... ")" "=>" "(" typed, ... ")" [ "<" typed [ "=" data ], ... ">" ] "{" node ... "}"
 *     node   = name, ... "=" [ domain "." ] operator [ "<" attribute, ... ">" ] "(" name, ... ")" [ "<" attribute, ... ">" ]
 *
 * A name is an identifier or quoted. Comments run from # to the end of the line.
 */
#include "ir/print.h"

#include "ir/graph_meta.h"
#include "ir/schedule.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST = 65535 };

typedef struct text_reader {
    const char *at, *end, *line_start;
    uint32_t line;
    const char *file;
    fl_diag *dg;
    fl_graph *g;
    fl_arena scratch;
    const char *updates, *outputs, *params, *shapes, *variables, *schedule; /* metadata of ours */
} text_reader;

/* ---------------------------------------------------------------------------------------------------- tokens */

static fl_loc here(const text_reader *r)
{
    return (fl_loc){r->file, r->line, (uint32_t)(r->at - r->line_start) + 1};
}

static void skip_blanks(text_reader *r)
{
    while (r->at < r->end) {
        if (*r->at == '\n') {
            r->line++;
            r->line_start = ++r->at;
        } else if (*r->at == '#') {
            while (r->at < r->end && *r->at != '\n')
                r->at++;
        } else if (isspace((unsigned char)*r->at)) {
            r->at++;
        } else {
            return;
        }
    }
}

static bool peek(text_reader *r, char c)
{
    skip_blanks(r);
    return r->at < r->end && *r->at == c;
}

static bool take(text_reader *r, char c)
{
    if (!peek(r, c))
        return false;
    r->at++;
    return true;
}

static fl_status expected(text_reader *r, const char *what)
{
    skip_blanks(r);
    if (r->at == r->end)
        return fl_error(r->dg, FL_E_SYNTAX, here(r), "the text ends where %s was expected", what);
    int n = 0;
    while (n < 24 && r->at + n < r->end && !isspace((unsigned char)r->at[n]))
        n++;
    return fl_error(r->dg, FL_E_SYNTAX, here(r), "found \"%.*s\" where %s was expected", n, r->at, what);
}

static fl_status need(text_reader *r, char c)
{
    char what[4] = {'"', c, '"', '\0'};
    return take(r, c) ? FL_OK : expected(r, what);
}

static bool is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

/* A quoted text, without its quotes, in scratch. */
static fl_status read_quoted(text_reader *r, const char **out)
{
    if (!take(r, '"'))
        return expected(r, "a quoted text");
    const char *from = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\n')
        r->at += *r->at == '\\' && r->at + 1 < r->end ? 2 : 1;
    if (r->at >= r->end || *r->at != '"')
        return expected(r, "the quote that ends a text");
    char *copy = fl_arena_strndup(&r->scratch, from, (size_t)(r->at - from));
    if (!copy)
        return fl_out_of_memory(r->dg);
    char *to = copy;
    for (const char *c = copy; *c; c++) {
        if (*c == '\\' && c[1])
            c++;
        *to++ = *c;
    }
    *to = '\0';
    r->at++;
    *out = copy;
    return strlen(copy) == (size_t)(to - copy) ? FL_OK : expected(r, "a text without a NUL");
}

/* An identifier, with dots inside if `dots`, or a quoted name. */
static fl_status read_name(text_reader *r, bool dots, const char *what, const char **out)
{
    skip_blanks(r);
    if (r->at < r->end && *r->at == '"')
        return read_quoted(r, out);
    const char *from = r->at;
    if (r->at >= r->end || !is_name_start(*r->at))
        return expected(r, what);
    while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_' || (dots && *r->at == '.')))
        r->at++;
    *out = fl_arena_strndup(&r->scratch, from, (size_t)(r->at - from));
    return *out ? FL_OK : fl_out_of_memory(r->dg);
}

/* A number; *real says whether it is written as a float. */
static fl_status read_number(text_reader *r, int64_t *i, double *f, bool *real)
{
    char text[64];
    size_t n = 0;
    skip_blanks(r);
    while (r->at + n < r->end && n + 1 < sizeof text && (isalnum((unsigned char)r->at[n]) || strchr("+-.", r->at[n])))
        n++;
    memcpy(text, r->at, n);
    text[n] = '\0';
    char *stop;
    errno = 0;
    *i = strtoll(text, &stop, 10);
    *real = n == 0 || *stop != '\0' || errno != 0;
    *f = (double)*i;
    if (*real) {
        *f = strtod(text, &stop);
        if (n == 0 || *stop != '\0')
            return expected(r, "a number");
    }
    r->at += n;
    return FL_OK;
}

/* ----------------------------------------------------------------------------------------------------- types */

static fl_status read_dims(text_reader *r, fl_type *t)
{
    t->rank = 0;
    if (!take(r, '['))
        return FL_OK;
    while (!take(r, ']')) {
        if (t->rank > 0)
            FL_TRY(need(r, ','));
        if (t->rank == FL_MAX_RANK)
            return expected(r, "at most eight dimensions");
        skip_blanks(r);
        if (r->at < r->end && isdigit((unsigned char)*r->at)) {
            int64_t extent;
            double f;
            bool real;
            FL_TRY(read_number(r, &extent, &f, &real));
            if (real || extent < 0)
                return expected(r, "an extent");
            t->dims[t->rank++] = extent;
            continue;
        }
        const char *symbol;
        FL_TRY(read_name(r, false, "a dimension", &symbol));
        t->dims[t->rank++] = fl_graph_symbol(r->g, symbol);
    }
    return FL_OK;
}

static fl_status read_type(text_reader *r, fl_type *t)
{
    const char *name;
    *t = FL_TYPE_UNKNOWN;
    FL_TRY(read_name(r, false, "a type", &name));
    t->dtype = fl_dtype_find(name);
    if (t->dtype == FL_DTYPE_NONE)
        return fl_error(r->dg, FL_E_SYNTAX, here(r), "\"%s\" is no type of elements", name);
    return read_dims(r, t);
}

static void store_element(fl_dtype t, void *bytes, int64_t at, int64_t i, double f)
{
    union { float f; double d; int32_t i32; int64_t i64; uint8_t u8; int8_t i8; } e;
    size_t size = fl_dtype_size(t);
    if (t == FL_FLOAT)
        e.f = (float)f;
    else if (t == FL_DOUBLE)
        e.d = f;
    else if (t == FL_INT32)
        e.i32 = (int32_t)i;
    else if (t == FL_INT64)
        e.i64 = i;
    else if (t == FL_INT8)
        e.i8 = (int8_t)i;
    else
        e.u8 = (uint8_t)i;
    memcpy((char *)bytes + (size_t)at * size, &e, size);
}

/* "{1, 2}" for a static type of numbers. */
static fl_status read_elements(text_reader *r, const fl_type *type, fl_tensor *out)
{
    fl_loc loc = here(r);
    int64_t n = fl_type_is_static(type) ? fl_type_elements(type) : -1;
    size_t size = fl_dtype_size(type->dtype);
    FL_TRY(need(r, '{'));
    if (n < 0 || size == 0 || type->dtype == FL_FLOAT16 || type->dtype == FL_BFLOAT16)
        return fl_error(r->dg, FL_E_SYNTAX, loc, "elements are written out for static shapes of float, double, bool and integers");
    if (n > r->end - r->at) /* an element has a character at least: no memory for what is not there */
        return fl_error(r->dg, FL_E_SYNTAX, loc, "the type has %lld elements, the text fewer", (long long)n);
    char *bytes = fl_arena_calloc(&r->g->arena, (size_t)n, size);
    if (!bytes)
        return fl_out_of_memory(r->dg);
    for (int64_t k = 0; k < n; k++) {
        int64_t i;
        double f;
        bool real;
        if (k > 0)
            FL_TRY(need(r, ','));
        FL_TRY(read_number(r, &i, &f, &real));
        if (real && type->dtype != FL_FLOAT && type->dtype != FL_DOUBLE)
            return expected(r, "an integer");
        store_element(type->dtype, bytes, k, i, f);
    }
    FL_TRY(need(r, '}'));
    *out = (fl_tensor){.type = *type, .bytes = bytes, .length = (uint64_t)n * size};
    return FL_OK;
}

/* "[\"location\": \"f\", \"offset\": \"0\", \"length\": \"8\"]" */
static fl_status read_reference(text_reader *r, const fl_type *type, fl_tensor *out)
{
    *out = (fl_tensor){.type = *type};
    FL_TRY(need(r, '['));
    for (bool first = true; !take(r, ']'); first = false) {
        const char *key, *value;
        if (!first)
            FL_TRY(need(r, ','));
        FL_TRY(read_quoted(r, &key));
        FL_TRY(need(r, ':'));
        FL_TRY(read_quoted(r, &value));
        if (strcmp(key, "location") == 0)
            out->location = fl_strpool_put(&r->g->names, value, strlen(value));
        else if (strcmp(key, "offset") == 0)
            out->offset = strtoull(value, NULL, 10);
        else if (strcmp(key, "length") == 0)
            out->length = strtoull(value, NULL, 10);
        else
            return fl_error(r->dg, FL_E_SYNTAX, here(r), "external data has no key \"%s\"", key);
    }
    return out->location ? FL_OK : expected(r, "external data with a location");
}

/* ----------------------------------------------------------------------------------------------------- values */

static fl_status read_typed_name(text_reader *r, fl_type *type, const char **name)
{
    FL_TRY(read_type(r, type));
    return read_name(r, true, "a name", name);
}

static fl_status must_be_free(text_reader *r, const char *name, fl_loc loc)
{
    return fl_graph_find(r->g, name) == FL_NONE ? FL_OK
                                                : fl_error(r->dg, FL_E_SYNTAX, loc, "\"%s\" is assigned a second time", name);
}

static bool is_variable(const text_reader *r, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = r->variables; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == n && memcmp(at, name, n) == 0)
            return true;
    return false;
}

static fl_status read_inputs(text_reader *r)
{
    FL_TRY(need(r, '('));
    for (bool first = true; !take(r, ')'); first = false) {
        fl_type type;
        const char *name;
        if (!first)
            FL_TRY(need(r, ','));
        skip_blanks(r);
        fl_loc loc = here(r);
        FL_TRY(read_typed_name(r, &type, &name));
        FL_TRY(must_be_free(r, name, loc));
        fl_id v = is_variable(r, name) ? fl_graph_variable(r->g, name, type) : fl_graph_input(r->g, name, type);
        if (v == FL_NONE)
            return fl_out_of_memory(r->dg);
        r->g->values[v].origin.loc = (fl_loc){r->file, loc.line, loc.column};
    }
    return FL_OK;
}

typedef struct promised { /* an output, or a declared intermediate: made later */
    fl_type type;
    const char *name;
    fl_loc loc;
} promised;

static fl_status read_promised(text_reader *r, char close, promised **list, uint32_t *n)
{
    uint32_t capacity = 0;
    for (bool first = true; !take(r, close); first = false) {
        promised p;
        if (!first)
            FL_TRY(need(r, ','));
        skip_blanks(r);
        p.loc = here(r);
        FL_TRY(read_typed_name(r, &p.type, &p.name));
        if (peek(r, '=')) { /* an initialiser */
            fl_tensor *data = fl_arena_new(&r->g->arena, fl_tensor, 1);
            take(r, '=');
            FL_TRY(data ? must_be_free(r, p.name, p.loc) : fl_out_of_memory(r->dg));
            FL_TRY(peek(r, '[') ? read_reference(r, &p.type, data) : read_elements(r, &p.type, data));
            fl_id v = fl_graph_variable(r->g, p.name, p.type);
            if (v == FL_NONE)
                return fl_out_of_memory(r->dg);
            r->g->values[v].data = data;
            r->g->values[v].kind = is_variable(r, p.name) ? FL_VALUE_VARIABLE : FL_VALUE_CONSTANT;
            continue;
        }
        if (!FL_PUSH(&r->scratch, *list, *n, capacity, p))
            return fl_out_of_memory(r->dg);
    }
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------------ nodes */

static fl_status read_list_attr(text_reader *r, fl_id node, const char *name, const char *kind)
{
    int64_t *ints = NULL;
    double *floats = NULL;
    uint32_t n = 0, m = 0, ints_capacity = 0, floats_capacity = 0;
    bool any_real = kind && strcmp(kind, "floats") == 0;

    FL_TRY(need(r, '['));
    for (; !take(r, ']');) {
        int64_t i;
        double f;
        bool real;
        if (n > 0)
            FL_TRY(need(r, ','));
        FL_TRY(read_number(r, &i, &f, &real));
        any_real |= real;
        if (!FL_PUSH(&r->scratch, ints, n, ints_capacity, i) || !FL_PUSH(&r->scratch, floats, m, floats_capacity, f))
            return fl_out_of_memory(r->dg);
    }
    if (any_real)
        fl_node_set_floats(r->g, node, name, floats, n);
    else
        fl_node_set_ints(r->g, node, name, ints, n);
    return FL_OK;
}

static fl_status read_attr(text_reader *r, fl_id node)
{
    const char *name, *kind = NULL, *text;

    FL_TRY(read_name(r, false, "an attribute", &name));
    if (take(r, ':'))
        FL_TRY(read_name(r, false, "a kind of attribute", &kind));
    FL_TRY(need(r, '='));
    if (peek(r, '['))
        return read_list_attr(r, node, name, kind);
    if (peek(r, '"')) {
        FL_TRY(read_quoted(r, &text));
        fl_node_set_string(r->g, node, name, text);
        return FL_OK;
    }
    if (r->at < r->end && is_name_start(*r->at) && strncmp(r->at, "inf", 3) != 0 && strncmp(r->at, "nan", 3) != 0) {
        fl_type type;
        fl_tensor t;
        FL_TRY(read_type(r, &type));
        FL_TRY(read_elements(r, &type, &t));
        fl_node_set_tensor(r->g, node, name, &t);
        return FL_OK;
    }
    int64_t i;
    double f;
    bool real;
    FL_TRY(read_number(r, &i, &f, &real));
    if (real)
        fl_node_set_float(r->g, node, name, f);
    else
        fl_node_set_int(r->g, node, name, i);
    return FL_OK;
}

static fl_status read_attrs(text_reader *r, fl_id node)
{
    if (!take(r, '<'))
        return FL_OK;
    for (bool first = true; !take(r, '>'); first = false) {
        if (!first)
            FL_TRY(need(r, ','));
        FL_TRY(read_attr(r, node));
    }
    return FL_OK;
}

static fl_status read_outputs(text_reader *r, const char ***names, uint32_t *n)
{
    uint32_t capacity = 0;
    do {
        const char *name;
        skip_blanks(r);
        fl_loc loc = here(r);
        FL_TRY(read_name(r, true, "the name of a result, or \"}\"", &name));
        FL_TRY(*name ? must_be_free(r, name, loc) : FL_OK);
        if (*n == MAX_LIST || !FL_PUSH(&r->scratch, *names, *n, capacity, name))
            return fl_out_of_memory(r->dg);
    } while (take(r, ','));
    return need(r, '=');
}

static fl_status read_operands(text_reader *r, fl_id **in, uint32_t *n)
{
    uint32_t capacity = 0;
    FL_TRY(need(r, '('));
    while (!take(r, ')')) {
        const char *name;
        fl_id v = FL_NONE;
        if (*n > 0)
            FL_TRY(need(r, ','));
        skip_blanks(r);
        fl_loc loc = here(r);
        FL_TRY(read_name(r, true, "an operand", &name));
        if (*name && (v = fl_graph_find(r->g, name)) == FL_NONE)
            return fl_error(r->dg, FL_E_SYNTAX, loc, "\"%s\" is read here and made nowhere before", name);
        if (*n == MAX_LIST || !FL_PUSH(&r->scratch, *in, *n, capacity, v))
            return fl_out_of_memory(r->dg);
    }
    return FL_OK;
}

static fl_status read_node(text_reader *r)
{
    const char **names = NULL, *word;
    fl_id *in = NULL;
    uint32_t n_out = 0, n_in = 0;

    FL_TRY(read_outputs(r, &names, &n_out));
    skip_blanks(r);
    fl_loc loc = here(r);
    FL_TRY(read_name(r, true, "an operator", &word));
    const char *dot = strrchr(word, '.');
    const char *domain = dot ? fl_arena_strndup(&r->scratch, word, (size_t)(dot - word)) : "";
    fl_op op = domain ? fl_op_find(domain, dot ? dot + 1 : word) : FL_N_OPS;
    if (op == FL_N_OPS)
        return fl_error(r->dg, FL_E_UNKNOWN_OP, loc, "there is no operator \"%s\"", word);
    /* The node comes before its operands are known, because its attributes stand before them. */
    fl_id node = fl_node_new(r->g, op, "result", NULL, 0, n_out);
    if (node == FL_NONE)
        return fl_out_of_memory(r->dg);
    r->g->nodes[node].origin.loc = loc;
    FL_TRY(read_attrs(r, node));
    FL_TRY(read_operands(r, &in, &n_in));
    FL_TRY(read_attrs(r, node));
    fl_id *copy = fl_arena_new(&r->g->arena, fl_id, n_in);
    if (!copy)
        return fl_out_of_memory(r->dg);
    for (uint32_t i = 0; i < n_in; i++)
        copy[i] = in[i];
    r->g->nodes[node].in = copy;
    r->g->nodes[node].n_in = (uint16_t)n_in;
    for (uint32_t i = 0; i < n_out; i++) {
        fl_id v = r->g->nodes[node].out[i];
        r->g->values[v].name = NULL;
        if (*names[i]) {
            FL_TRY(must_be_free(r, names[i], loc));
            fl_value_rename(r->g, v, names[i]);
            r->g->values[v].origin.loc = loc;
        } else {
            r->g->nodes[node].out[i] = FL_NONE;
        }
    }
    return fl_graph_ok(r->g, r->dg);
}

/* ------------------------------------------------------------------------------------------------------ model */

static const char *keep(text_reader *r, const char *text)
{
    return fl_strpool_put(&r->g->names, text, strlen(text));
}

/* Entries that stand for members of the graph are kept until the graph has its values; others are the graph's own. */
static void keep_meta(text_reader *r, const char *key, const char *value)
{
    const char **own = strcmp(key, "ai.flen.variables") == 0  ? &r->variables
                       : strcmp(key, "ai.flen.updates") == 0  ? &r->updates
                       : strcmp(key, "ai.flen.outputs") == 0  ? &r->outputs
                       : strcmp(key, "ai.flen.params") == 0   ? &r->params
                       : strcmp(key, "ai.flen.shapes") == 0   ? &r->shapes
                       : strcmp(key, "ai.flen.schedule") == 0 ? &r->schedule
                                                              : NULL;
    if (own)
        *own = keep(r, value);
    else
        fl_graph_set_meta(r->g, key, value);
}

/* "[\"k\": \"v\", ...]" with numbers or texts as values; `meta`: into the graph's metadata. */
static fl_status read_pairs(text_reader *r, bool meta)
{
    FL_TRY(need(r, '['));
    for (bool first = true; !take(r, ']'); first = false) {
        const char *key, *value;
        if (!first)
            FL_TRY(need(r, ','));
        FL_TRY(read_quoted(r, &key));
        FL_TRY(need(r, ':'));
        if (peek(r, '"')) {
            FL_TRY(read_quoted(r, &value));
            if (meta)
                keep_meta(r, key, value);
            continue;
        }
        int64_t version;
        double f;
        bool real;
        FL_TRY(read_number(r, &version, &f, &real));
        if (strcmp(key, "") == 0 && version != 20)
            return fl_error(r->dg, FL_E_SYNTAX, here(r), "the text is of opset %lld, and must be of 20", (long long)version);
    }
    return FL_OK;
}

static fl_status read_header(text_reader *r)
{
    if (!take(r, '<'))
        return FL_OK;
    for (bool first = true; !take(r, '>'); first = false) {
        const char *key, *text;
        int64_t i;
        double f;
        bool real;
        if (!first)
            FL_TRY(need(r, ','));
        FL_TRY(read_name(r, false, "a key of the header", &key));
        FL_TRY(need(r, ':'));
        if (peek(r, '['))
            FL_TRY(read_pairs(r, strcmp(key, "metadata_props") == 0));
        else if (peek(r, '"'))
            FL_TRY(read_quoted(r, &text));
        else
            FL_TRY(read_number(r, &i, &f, &real));
    }
    return FL_OK;
}

/* Types that were written down for outputs and intermediates. */
static fl_status keep_promises(text_reader *r, const promised *list, uint32_t n, bool outputs)
{
    for (uint32_t i = 0; i < n; i++) {
        fl_id v = fl_graph_find(r->g, list[i].name);
        if (v == FL_NONE)
            return fl_error(r->dg, FL_E_SYNTAX, list[i].loc, "\"%s\" is promised here and made nowhere", list[i].name);
        if (r->g->values[v].kind == FL_VALUE_NODE)
            r->g->values[v].type = list[i].type;
        if (outputs)
            fl_graph_output(r->g, v);
    }
    return FL_OK;
}

static fl_status read_graph(text_reader *r)
{
    const char *name;
    promised *outputs = NULL, *others = NULL;
    uint32_t n_outputs = 0, n_others = 0;

    FL_TRY(read_header(r));
    FL_TRY(read_name(r, false, "the name of a graph", &name));
    r->g->name = keep(r, name);
    FL_TRY(read_inputs(r));
    FL_TRY(need(r, '='));
    FL_TRY(need(r, '>'));
    FL_TRY(need(r, '('));
    FL_TRY(read_promised(r, ')', &outputs, &n_outputs));
    if (take(r, '<'))
        FL_TRY(read_promised(r, '>', &others, &n_others));
    FL_TRY(need(r, '{'));
    while (!take(r, '}'))
        FL_TRY(read_node(r));
    skip_blanks(r);
    if (r->at < r->end)
        return expected(r, "the end of the text");
    FL_TRY(keep_promises(r, outputs, n_outputs, true));
    FL_TRY(keep_promises(r, others, n_others, false));
    FL_TRY(fl_meta_apply_shapes(r->g, r->shapes, FL_FILE(r->file), r->dg));
    FL_TRY(fl_meta_apply_updates(r->g, r->updates, r->outputs, FL_FILE(r->file), r->dg));
    FL_TRY(fl_meta_apply_params(r->g, r->params, FL_FILE(r->file), r->dg));
    if (r->schedule)
        FL_TRY(fl_schedule_parse(r->g, r->schedule, FL_FILE(r->file), r->dg));
    return fl_graph_ok(r->g, r->dg);
}

fl_status fl_graph_parse(const char *text, size_t n, const char *file, fl_graph **out, fl_diag *dg)
{
    text_reader r = {.at = text, .end = text + n, .line_start = text, .line = 1, .dg = dg, .g = fl_graph_new("graph")};

    if (!r.g)
        return fl_out_of_memory(dg);
    fl_arena_init(&r.scratch);
    r.file = keep(&r, file);
    fl_status status = read_graph(&r);
    fl_arena_deinit(&r.scratch);
    if (status == FL_OK)
        *out = r.g;
    else
        fl_graph_free(r.g);
    return status;
}
