/*
 * parse.c -- ONNX text to a graph. One pass over the bytes, but for functions, which are read where they are called (parse_functions.c); no
 * recursion else: graphs as attributes are refused. Words are parse_words.c's.
 *
 * Independent mistakes come out in one run, by line. After one the reader goes on with the next item of the signature or the next
 * statement; what the broken one would have defined becomes an input of unknown type, from which nothing follows; and what could be
 * read is judged by the verifier, whose reports join those of the syntax. A mistake in the header ends the run: it says what the rest means.
 */
#include "ir/print.h"

#include "ir/parse_expansion.h"
#include "ir/parse_parts.h"
#include "ir/schedule.h"
#include "ir/shape.h"
#include "ir/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The word at the reader is the name of an element type. */
static fl_dtype type_ahead(fl_parser *p)
{
    char word[16];
    size_t n = 0;
    (void)fl_parse_peek(p);
    while (p->at + n < p->end && n + 1 < sizeof word && (fl_parse_is_letter(p->at[n]) || fl_parse_is_digit(p->at[n]))) {
        word[n] = p->at[n];
        n++;
    }
    word[n] = '\0';
    return n ? fl_dtype_find(word) : FL_DTYPE_NONE;
}

static bool type(fl_parser *p, fl_type *out)
{
    *out = (fl_type){.dtype = type_ahead(p)};
    if (out->dtype == FL_DTYPE_NONE)
        return fl_parse_fail(p, p->at, "expected a type such as float[batch,4]");
    p->at += strlen(fl_dtype_name(out->dtype));
    if (!fl_parse_accept(p, '['))
        return true;
    if (fl_parse_accept(p, ']')) {
        out->rank = -1;
        return true;
    }
    do {
        (void)fl_parse_peek(p);
        const char *start = p->at, *symbol;
        if (out->rank == FL_MAX_RANK)
            return fl_parse_fail(p, start, "a type has at most 8 dimensions");
        if (p->at < p->end && (fl_parse_is_letter(*p->at) || *p->at == '"')) {
            if (!fl_parse_name(p, &symbol, "a dimension"))
                return false;
            out->dims[out->rank++] = fl_graph_symbol(p->g, symbol);
            continue;
        }
        if (fl_parse_accept(p, '?')) { /* an extent without a name: a symbol of its own */
            const char *fresh = fl_arena_printf(&p->g->arena, "unknown_%u", p->g->n_symbols);
            if (!fresh)
                return fl_parse_no_memory(p);
            out->dims[out->rank++] = fl_graph_symbol(p->g, fresh);
            continue;
        }
        int64_t extent;
        if (!fl_parse_read_int(p, &extent))
            return false;
        if (extent < 0)
            return fl_parse_fail(p, start, "a dimension is negative");
        out->dims[out->rank++] = extent;
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, ']');
}

/* ------------------------------------------------------------------------------------------------------ tensors */

static void store(fl_dtype t, char *to, const fl_number *x)
{
    switch (t) {
    case FL_FLOAT: {
        float f = (float)x->f;
        memcpy(to, &f, sizeof f);
        break;
    }
    case FL_DOUBLE:
        memcpy(to, &x->f, sizeof x->f);
        break;
    case FL_INT64:
        memcpy(to, &x->i, sizeof x->i);
        break;
    case FL_INT32: {
        int32_t i = (int32_t)x->i;
        memcpy(to, &i, sizeof i);
        break;
    }
    case FL_FLOAT16:
    case FL_BFLOAT16: {
        uint16_t i = (uint16_t)x->i;
        memcpy(to, &i, sizeof i);
        break;
    }
    case FL_UINT8:
    case FL_INT8:
    case FL_BOOL:
        *to = (char)x->i;
        break;
    case FL_STRING:
    case FL_DTYPE_NONE:
        break;
    }
}

static bool elements(fl_parser *p, const char *start, fl_tensor *t)
{
    int64_t n = fl_type_elements(&t->type);
    size_t size = fl_dtype_size(t->type.dtype);
    /* every element takes a byte of text at least, which bounds the memory by the text */
    if (n < 0 || n > p->end - p->text || size == 0)
        return fl_parse_fail(p, start, size ? "the type has more elements than the text" : "tensors of strings are not supported");
    char *bytes = fl_arena_calloc(&p->g->arena, (size_t)n, size);
    if (!bytes)
        return fl_parse_no_memory(p);
    for (int64_t i = 0; i < n; i++) {
        fl_number x;
        if ((i && !fl_parse_need(p, ',')) || !fl_parse_read_number(p, &x))
            return false;
        if (!x.is_int && t->type.dtype != FL_FLOAT && t->type.dtype != FL_DOUBLE)
            return fl_parse_fail(p, p->at, "expected a whole number");
        store(t->type.dtype, bytes + (size_t)i * size, &x);
    }
    t->bytes = bytes;
    t->length = (uint64_t)n * size;
    return fl_parse_need(p, '}');
}

static bool data(fl_parser *p, fl_type ty, const fl_tensor **out)
{
    fl_tensor *t = fl_arena_new(&p->g->arena, fl_tensor, 1);
    if (!t)
        return fl_parse_no_memory(p);
    t->type = ty;
    (void)fl_parse_peek(p);
    const char *start = p->at;
    if (!fl_type_is_static(&ty))
        return fl_parse_fail(p, start, "data need a type without symbols");
    *out = t;
    if (fl_parse_accept(p, '{'))
        return elements(p, start, t);
    if (!fl_parse_need(p, '['))
        return false;
    do {
        const char *key, *value;
        if (!fl_parse_string(p, &key) || !fl_parse_need(p, ':') || !fl_parse_string(p, &value))
            return false;
        if (strcmp(key, "location") == 0)
            t->location = value;
        else if (strcmp(key, "offset") == 0)
            t->offset = strtoull(value, NULL, 10);
        else if (strcmp(key, "length") == 0)
            t->length = strtoull(value, NULL, 10);
    } while (fl_parse_accept(p, ','));
    return t->location ? fl_parse_need(p, ']') : fl_parse_fail(p, start, "external data have no \"location\"");
}

/* ------------------------------------------------------------------------------------------------------- header */

/* Pairs in brackets: metadata, kept, or opsets. */
static bool entries(fl_parser *p, bool keep)
{
    if (!fl_parse_need(p, '['))
        return false;
    if (fl_parse_accept(p, ']'))
        return true;
    do {
        fl_meta_entry e = {0};
        int64_t version;
        (void)fl_parse_peek(p);
        const char *start = p->at;
        if (!fl_parse_string(p, &e.key) || !fl_parse_need(p, ':') || !(keep ? fl_parse_string(p, &e.value) : fl_parse_read_int(p, &version)))
            return false;
        if (!keep && *e.key == '\0' && (version < 1 || version > 28)) /* as in binary files, ir/onnx_parts.h */
            return fl_parse_fail(p, start, "the standard operators are read at opsets 1 to 28");
        if (!keep && *e.key == '\0')
            p->opset = version;
        if (keep && !FL_PUSH(&p->scratch, p->meta, p->n_meta, p->meta_capacity, e))
            return fl_parse_no_memory(p);
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, ']');
}

bool fl_parse_opsets(fl_parser *p)
{
    return entries(p, false);
}

static bool header(fl_parser *p)
{
    if (!fl_parse_accept(p, '<'))
        return true;
    do {
        const char *key;
        (void)fl_parse_peek(p);
        const char *start = p->at;
        int64_t version;
        if (!fl_parse_name(p, &key, "a key of the model's header") || !fl_parse_need(p, ':'))
            return false;
        bool ok;
        if (strcmp(key, "opset_import") == 0 || strcmp(key, "metadata_props") == 0)
            ok = entries(p, key[0] == 'm');
        else if (strcmp(key, "ir_version") == 0 || strcmp(key, "model_version") == 0)
            ok = fl_parse_read_int(p, &version);
        else if (strcmp(key, "producer_name") == 0 || strcmp(key, "producer_version") == 0 || strcmp(key, "domain") == 0 ||
                 strcmp(key, "doc_string") == 0)
            ok = fl_parse_string(p, &key);
        else
            ok = fl_parse_fail(p, start, "unknown key in the model's header");
        if (!ok)
            return false;
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, '>');
}

static const char *meta(const fl_parser *p, const char *key)
{
    for (uint32_t i = 0; i < p->n_meta; i++)
        if (strcmp(p->meta[i].key, key) == 0)
            return p->meta[i].value;
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- signature */

static bool is_free(fl_parser *p, const char *word, const char *at)
{
    return fl_graph_find(p->g, word) == FL_NONE || fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, at), "\"%s\" is defined twice", fl_parse_shown(p, word)));
}

static bool remember_type(fl_parser *p, fl_type t, const char *word, const char *at)
{
    uint32_t n = p->n_late, k = p->n_late;
    if (!FL_PUSH(&p->scratch, p->late_types, n, p->types_capacity, t) ||
        !FL_PUSH(&p->scratch, p->late_names, k, p->names_capacity, word) ||
        !FL_PUSH(&p->scratch, p->late_locs, p->n_late, p->locs_capacity, fl_parse_place(p, at)))
        return fl_parse_no_memory(p);
    return true;
}

typedef enum part { PART_INPUTS, PART_OUTPUTS, PART_VALUES } part;

static bool item(fl_parser *p, part where)
{
    fl_type t = FL_TYPE_UNKNOWN;
    const char *word, *start;
    const fl_tensor *tensor = NULL;
    bool typed = type_ahead(p) != FL_DTYPE_NONE;
    if (typed && !type(p, &t))
        return false;
    (void)fl_parse_peek(p);
    start = p->at;
    if (!fl_parse_name(p, &word, "a name"))
        return false;
    if (!typed && where != PART_OUTPUTS) {
        char message[128];
        snprintf(message, sizeof message, "expected a type such as float[batch,4], but found \"%.60s\"", word);
        return fl_parse_fail(p, start, message);
    }
    if (where != PART_OUTPUTS && fl_parse_accept(p, '=') && !data(p, t, &tensor))
        return false;
    if (where == PART_OUTPUTS || (where == PART_VALUES && !tensor))
        return remember_type(p, t, word, start);
    if (!is_free(p, word, start))
        return false;
    bool variable = fl_parse_is_variable(p, word);
    fl_id v;
    if (variable) {
        v = fl_graph_variable(p->g, word, t);
    } else if (tensor) {
        v = fl_graph_variable(p->g, word, t);
        if (v != FL_NONE)
            p->g->values[v].kind = FL_VALUE_CONSTANT;
    } else {
        v = fl_graph_input(p->g, word, t);
    }
    if (v == FL_NONE)
        return fl_parse_no_memory(p);
    p->g->values[v].data = tensor;
    p->g->values[v].origin.loc = fl_parse_place(p, start);
    p->g->values[v].origin.loc.file = p->file;
    return true;
}

/* What would have been defined here is read further below: an input of unknown type, about which the verifier says nothing. */
static void poison(fl_parser *p, const char *word, const char *at)
{
    if (!*word || fl_graph_find(p->g, word) != FL_NONE)
        return;
    fl_id v = fl_graph_input(p->g, word, FL_TYPE_UNKNOWN);
    if (v == FL_NONE)
        (void)fl_parse_no_memory(p);
    else
        p->g->values[v].origin.loc = fl_parse_place(p, at);
}

static bool goes_on(fl_parser *p)
{
    return p->status != FL_NO_MEMORY && ++p->mistakes < FL_DIAG_MAX;
}

/* From the start of a broken item to the comma or bracket behind it; false if there is none. */
static bool skip_item(fl_parser *p, const char *start, char close, part where)
{
    const char *word = "";
    bool data_follow = false;
    int depth = 0;
    p->at = start;
    for (char c = fl_parse_peek(p); p->at < p->end; c = fl_parse_peek(p)) {
        if (depth <= 0 && (c == ',' || c == close)) {
            if (where == PART_INPUTS || (where == PART_VALUES && data_follow))
                poison(p, word, start);
            return goes_on(p);
        }
        depth += (c == '[' || c == '{') - (c == ']' || c == '}');
        data_follow = data_follow || c == '=';
        if (c == '"' && !memchr(p->at + 1, '"', (size_t)(p->end - p->at) - 1))
            return false;
        if (c == '"' || fl_parse_is_letter(c)) {
            const char *found;
            if (!fl_parse_name(p, &found, "a name"))
                return false;
            word = depth > 0 || data_follow || fl_dtype_find(found) != FL_DTYPE_NONE ? word : found;
        } else {
            p->at++;
        }
    }
    return false;
}

static bool items(fl_parser *p, char close, part where)
{
    if (fl_parse_accept(p, close))
        return true;
    do {
        (void)fl_parse_peek(p);
        const char *start = p->at;
        if (!item(p, where) && !skip_item(p, start, close, where))
            return false;
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, close);
}

bool fl_parse_value_infos(fl_parser *p)
{
    do {
        fl_type t;
        const char *word;
        if (!type(p, &t) || !fl_parse_name(p, &word, "a name"))
            return false;
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, '>');
}

/* -------------------------------------------------------------------------------------------------------- nodes */

static bool attribute_list(fl_parser *p, fl_attr *a, const char *annotation)
{
    fl_number *numbers = NULL;
    const char **strings = NULL;
    uint32_t n = 0, n_strings = 0, numbers_capacity = 0, strings_capacity = 0;
    bool floats = strcmp(annotation, "floats") == 0;
    const char *start = p->at;
    if (!fl_parse_accept(p, ']')) {
        do {
            if (fl_parse_peek(p) == '"') {
                const char *s;
                if (!fl_parse_string(p, &s))
                    return false;
                if (!FL_PUSH(&p->g->arena, strings, n_strings, strings_capacity, s))
                    return fl_parse_no_memory(p);
                continue;
            }
            fl_number x;
            if (!fl_parse_read_number(p, &x))
                return false;
            floats = floats || !x.is_int;
            if (!FL_PUSH(&p->scratch, numbers, n, numbers_capacity, x))
                return fl_parse_no_memory(p);
        } while (fl_parse_accept(p, ','));
        if (!fl_parse_need(p, ']'))
            return false;
    } else if (!*annotation) {
        return fl_parse_fail(p, start, "an empty list needs its type, such as `: ints`");
    }
    if (n && n_strings)
        return fl_parse_fail(p, start, "a list holds numbers or texts, not both");
    if (n_strings || strcmp(annotation, "strings") == 0) {
        a->kind = FL_ATTR_STRINGS;
        a->n = n_strings;
        a->as.strings = strings;
        return true;
    }
    int64_t *ints = fl_arena_new(&p->g->arena, int64_t, n);
    double *reals = fl_arena_new(&p->g->arena, double, n);
    if (!ints || !reals)
        return fl_parse_no_memory(p);
    for (uint32_t i = 0; i < n; i++) {
        ints[i] = numbers[i].i;
        reals[i] = numbers[i].f;
    }
    a->kind = floats ? FL_ATTR_FLOATS : FL_ATTR_INTS;
    a->n = n;
    if (floats)
        a->as.floats = reals;
    else
        a->as.ints = ints;
    return true;
}

/* `@word` */
static bool reference(fl_parser *p, fl_attr *a, bool *present)
{
    const char *own = a->name, *word, *start = p->at;
    const fl_attr *given = NULL;
    if (!fl_parse_name(p, &word, "an attribute of the function") || !fl_parse_referred(p, word, start, &given))
        return false;
    if ((*present = given != NULL))
        *a = *given;
    a->name = own;
    return true;
}

bool fl_parse_attribute(fl_parser *p, fl_attr *a, bool *present)
{
    const char *annotation = "";
    *present = true;
    if (!fl_parse_name(p, &a->name, "an attribute's name") || (fl_parse_accept(p, ':') && !fl_parse_name(p, &annotation, "an attribute's type")) || !fl_parse_need(p, '='))
        return false;
    if (fl_parse_accept(p, '['))
        return attribute_list(p, a, annotation);
    if (fl_parse_accept(p, '@'))
        return reference(p, a, present);
    char c = fl_parse_peek(p);
    if (c == '"') {
        a->kind = FL_ATTR_STRING;
        return fl_parse_string(p, &a->as.s);
    }
    if (type_ahead(p) != FL_DTYPE_NONE) {
        fl_type t;
        const char *ignored;
        a->kind = FL_ATTR_TENSOR;
        if (!type(p, &t) || (fl_parse_is_letter(fl_parse_peek(p)) && !fl_parse_name(p, &ignored, "a name")))
            return false;
        (void)fl_parse_accept(p, '=');
        return data(p, t, &a->as.tensor);
    }
    fl_number x;
    if (!fl_parse_read_number(p, &x))
        return false;
    a->kind = x.is_int && strcmp(annotation, "float") != 0 ? FL_ATTR_INT : FL_ATTR_FLOAT;
    if (a->kind == FL_ATTR_INT)
        a->as.i = x.i;
    else
        a->as.f = x.f;
    return true;
}

bool fl_parse_name_list(fl_parser *p, fl_parse_names *out, char close)
{
    if (fl_parse_peek(p) == close)
        return true;
    do {
        const char *word;
        (void)fl_parse_peek(p);
        const char *start = p->at;
        uint32_t n = out->n;
        if (!fl_parse_name(p, &word, "a value's name"))
            return false;
        if (!(word = fl_parse_scoped(p, word)))
            return fl_parse_no_memory(p);
        if (n == UINT16_MAX - 1)
            return fl_parse_fail(p, start, "a node has too many operands");
        if (!FL_PUSH(&p->scratch, out->at, n, out->at_capacity, start) ||
            !FL_PUSH(&p->scratch, out->word, out->n, out->word_capacity, word))
            return fl_parse_no_memory(p);
    } while (fl_parse_accept(p, ','));
    return true;
}

static bool operator_name(fl_parser *p, fl_parse_operator *o)
{
    (void)fl_parse_peek(p);
    const char *start = p->at;
    o->domain[0] = '\0';
    if (!fl_parse_name(p, &o->word, "an operator"))
        return false;
    while (fl_parse_accept(p, '.')) {
        fl_parse_domain(o);
        if (!fl_parse_name(p, &o->word, "an operator"))
            return false;
    }
    o->function = fl_parse_find_function(p, o->domain, o->word);
    if (o->function) {
        o->known = true;
        o->op = o->function->op;
        return true;
    }
    fl_parse_find_op(o, p->opset);
    if (!o->known) /* and what reads its results is no mistake of its own */
        (void)fl_parse_wrong(p, fl_parse_unknown_op(o->domain, o->word, fl_parse_place(p, start), p->dg));
    return true;
}

static bool attributes(fl_parser *p, fl_attr **list, uint32_t *n, uint32_t *capacity)
{
    if (!fl_parse_accept(p, '<'))
        return true;
    do {
        fl_attr a = {0};
        bool present;
        if (!fl_parse_attribute(p, &a, &present))
            return false;
        if (!present)
            continue;
        if (*n == UINT16_MAX)
            return fl_parse_fail(p, p->at, "a node has too many attributes");
        if (!FL_PUSH(&p->g->arena, *list, *n, *capacity, a))
            return fl_parse_no_memory(p);
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, '>');
}

void fl_parse_infer(fl_parser *p)
{
    for (; p->inferred < p->g->n_nodes; p->inferred++)
        p->wrong_types = fl_shape_infer_node(p->g, p->inferred, NULL) == FL_BAD_INPUT || p->wrong_types;
}

/* Expansions ask for the types of their operands, and can say nothing of those that a mistake hides. */
static bool hidden(fl_parser *p, const fl_id *in, uint32_t n)
{
    fl_parse_infer(p);
    bool unknown = false;
    for (uint32_t i = 0; i < n; i++)
        unknown = unknown || (in[i] != FL_NONE && fl_value_type(p->g, in[i])->rank < 0);
    return unknown && (p->wrong_types || p->status != FL_OK);
}

static bool define(fl_parser *p, const fl_parse_operator *o, const char *label, const fl_parse_names *outs, const fl_parse_names *ins, fl_attr *attr, uint32_t n_attr)
{
    fl_id *in = fl_arena_new(&p->scratch, fl_id, ins->n);
    bool ok = o->known;
    if (!in)
        return fl_parse_no_memory(p);
    for (uint32_t i = 0; i < ins->n; i++) {
        in[i] = *ins->word[i] ? fl_graph_find(p->g, ins->word[i]) : FL_NONE;
        if (*ins->word[i] && in[i] == FL_NONE)
            ok = fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, ins->at[i]), "\"%s\" is read, but not defined before", fl_parse_shown(p, ins->word[i])));
    }
    for (uint32_t i = 0; i < outs->n; i++) {
        fl_parse_give_way(p->g, outs->word[i]);
        ok = (!*outs->word[i] || is_free(p, outs->word[i], outs->at[i])) && ok;
        for (uint32_t k = 0; k < i; k++)
            if (*outs->word[i] && outs->word[i] == outs->word[k])
                ok = fl_parse_fail(p, outs->at[i], "a node defines a name twice");
    }
    bool kept = o->function && o->op == FL_N_OPS && ok && n_attr == 0 && fl_parse_is_kept(p, o->function, ins, outs);
    if (o->function && o->op == FL_N_OPS && ok && !kept)
        return fl_parse_call(p, o->function, outs, ins, attr, n_attr);
    if (kept && !fl_parse_keep(p, o->function, in))
        return false;
    if (o->op == FL_N_OPS && ok && !kept) {
        const char *first = outs->n ? outs->word[0] : "";
        fl_import m = {.g = p->g, .domain = o->domain, .op = o->word, .opset = p->opset, .label = label ? label : first, .stem = first, .infer = true,
                       .in = in, .attr = attr, .n_in = ins->n, .n_attr = n_attr, .n_out = outs->n, .loc = fl_parse_place(p, outs->at[0]), .dg = p->dg};
        if (hidden(p, in, ins->n))
            return fl_parse_wrong(p, FL_BAD_INPUT);
        fl_status s = fl_parse_expand(&m, outs->word, fl_parse_budget((size_t)(p->end - p->text)), &p->scratch);
        p->inferred = p->g->n_nodes;
        return s == FL_OK || fl_parse_wrong(p, s);
    }
    if (!ok)
        return false;
    /* Several outputs get names that no one has, to be renamed: of each node its own, because the table of names would search long among many that were the same. */
    const char *base = outs->n == 0 ? "" : outs->n == 1 ? outs->word[0] : fl_arena_printf(&p->scratch, "ai.flen.unnamed.%s", outs->word[0]);
    fl_id node = base ? fl_node_new(p->g, kept ? FL_OP_CALL : o->op, *base ? base : "ai.flen.unnamed", in, ins->n, outs->n) : FL_NONE;
    if (node == FL_NONE)
        return fl_parse_no_memory(p);
    fl_node *n = &p->g->nodes[node];
    n->attr = attr;
    n->n_attr = (uint16_t)n_attr;
    n->name = label;
    n->origin.loc = fl_parse_place(p, outs->n ? outs->at[0] : p->at);
    for (uint32_t i = 0; i < outs->n; i++) {
        fl_id v = n->out[i];
        p->g->values[v].origin.loc = fl_parse_place(p, outs->at[i]);
        if (!*outs->word[i]) {
            p->g->values[v].name = NULL;
            n->out[i] = FL_NONE;
        } else if (fl_graph_find(p->g, outs->word[i]) == FL_NONE) {
            fl_value_rename(p->g, v, outs->word[i]);
        }
    }
    if (kept)
        fl_node_set_string(p->g, node, "function", o->function->name);
    return !o->function || kept || fl_parse_claims(p, node, o->function);
}

/* *parsed: where the statement ends, if its syntax is right. */
static bool node(fl_parser *p, fl_parse_names *outs, const char **parsed)
{
    const char *label = NULL;
    fl_parse_names ins = {0};
    fl_attr *attr = NULL;
    uint32_t n_attr = 0, attr_capacity = 0;
    fl_parse_operator op;
    if (fl_parse_accept(p, '[') && (!fl_parse_name(p, &label, "a node's name") || !fl_parse_need(p, ']')))
        return false;
    if (!fl_parse_name_list(p, outs, '=') || !fl_parse_need(p, '=') || !operator_name(p, &op) || !attributes(p, &attr, &n_attr, &attr_capacity) ||
        !fl_parse_need(p, '(') || !fl_parse_name_list(p, &ins, ')') || !fl_parse_need(p, ')'))
        return false;
    if (n_attr == 0 && !attributes(p, &attr, &n_attr, &attr_capacity))
        return false;
    *parsed = p->at;
    return define(p, &op, label, outs, &ins, attr, n_attr);
}

static const char *after_blanks(const fl_parser *p, const char *at)
{
    while (at < p->end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Behind a name; `at` itself if there is none. */
static const char *after_name(const fl_parser *p, const char *at)
{
    if (at < p->end && *at == '"') {
        const char *quote = memchr(at + 1, '"', (size_t)(p->end - at) - 1);
        return quote ? quote + 1 : at;
    }
    while (at < p->end && (fl_parse_is_letter(*at) || fl_parse_is_digit(*at) || *at == '.'))
        at++;
    return at;
}

/* On this line a statement starts, `[label] name, name = Operator (` or `<`, or the list of nodes ends. */
static bool starts_statement(const fl_parser *p, const char *at)
{
    const char *next;
    at = after_blanks(p, at);
    if (at < p->end && *at == '}')
        return at + 1 == p->end || strchr(" \t\r\n#", at[1]) != NULL;
    if (at < p->end && *at == '[') {
        next = after_blanks(p, after_name(p, at + 1));
        if (next == p->end || *next != ']')
            return false;
        at = after_blanks(p, next + 1);
    }
    for (;; at = after_blanks(p, next + 1)) {
        next = after_name(p, at);
        if (next == at)
            return false;
        next = after_blanks(p, next);
        if (next == p->end || (*next != ',' && *next != '='))
            return false;
        if (*next == '=')
            break;
    }
    at = after_blanks(p, next + 1);
    next = after_blanks(p, after_name(p, at));
    return next > at && next < p->end && (*next == '(' || *next == '<');
}

/* To the first statement that starts on a line behind a broken one, whatever that one swallowed; false if there is none. */
static bool skip_statement(fl_parser *p, const char *start)
{
    for (p->at = start; p->at < p->end; p->at++)
        if (*p->at == '\n' && starts_statement(p, p->at + 1))
            return true;
    return false;
}

bool fl_parse_nodes(fl_parser *p)
{
    if (!fl_parse_need(p, '{'))
        return false;
    while (!fl_parse_accept(p, '}')) {
        if (p->at == p->end)
            return fl_parse_fail(p, p->at, "the list of nodes does not end");
        fl_parse_names outs = {0};
        const char *start = p->at, *parsed = p->text;
        if (node(p, &outs, &parsed))
            continue;
        for (uint32_t i = 0; i < outs.n && p->status != FL_NO_MEMORY; i++)
            poison(p, outs.word[i], outs.at[i]);
        if (!goes_on(p))
            return false;
        if (parsed < start && !skip_statement(p, start)) /* a statement that could be read, but means nothing, ends where it ends */
            return true;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------ the whole */

static void finish(fl_parser *p)
{
    for (uint32_t i = 0; i < p->n_late; i++) {
        fl_id v = fl_graph_find(p->g, p->late_names[i]);
        if (v == FL_NONE) {
            (void)fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, p->late_locs[i], "\"%s\" is %s, but not defined", p->late_names[i],
                                    i < p->n_outputs ? "an output" : "declared"));
            continue;
        }
        if (p->g->values[v].kind == FL_VALUE_NODE && p->late_types[i].dtype != FL_DTYPE_NONE)
            p->g->values[v].type = p->late_types[i];
        if (i < p->n_outputs)
            fl_graph_output(p->g, v);
    }
}

static fl_status apply_meta(fl_parser *p)
{
    fl_loc loc = FL_FILE(p->file);
    const char *schedule = meta(p, "ai.flen.schedule");
    for (uint32_t i = 0; i < p->n_meta; i++)
        if (*p->meta[i].key && !fl_meta_is_derived(p->meta[i].key))
            fl_graph_set_meta(p->g, p->meta[i].key, p->meta[i].value);
    FL_TRY(fl_meta_apply_shapes(p->g, meta(p, "ai.flen.shapes"), loc, p->dg));
    FL_TRY(fl_meta_apply_updates(p->g, meta(p, "ai.flen.updates"), meta(p, "ai.flen.outputs"), loc, p->dg));
    FL_TRY(fl_meta_apply_params(p->g, meta(p, "ai.flen.params"), loc, p->dg));
    FL_TRY(fl_graph_ok(p->g, p->dg));
    if (!schedule)
        return FL_OK;
    FL_TRY(fl_shape_infer(p->g, NULL)); /* a schedule speaks of symbols that only types of intermediate values have; the verifier reports */
    return fl_schedule_parse(p->g, schedule, loc, p->dg);
}

static bool model(fl_parser *p)
{
    const char *graph_name;
    if (!header(p))
        return false;
    const char *variables = meta(p, "ai.flen.variables");
    if ((variables && !fl_parse_variables(p, variables)) || !fl_parse_functions(p))
        return false;
    if (!fl_parse_name(p, &graph_name, "the graph's name") || !fl_parse_need(p, '(') || !items(p, ')', PART_INPUTS) || !fl_parse_need(p, '=') || !fl_parse_need(p, '>') ||
        !fl_parse_need(p, '(') || !items(p, ')', PART_OUTPUTS))
        return false;
    p->n_outputs = p->n_late;
    p->g->name = graph_name;
    if ((fl_parse_accept(p, '<') && !items(p, '>', PART_VALUES)) || !fl_parse_nodes(p))
        return false;
    finish(p);
    p->at = p->functions_end ? p->functions_end : p->at;
    if (fl_parse_peek(p) != '\0' || p->at != p->end)
        return fl_parse_fail(p, p->at, "text after the graph that is no function");
    return p->status == FL_OK && fl_parse_check_claims(p);
}

fl_status fl_graph_parse(const char *text, size_t n, const char *file, fl_graph **out, fl_diag *dg)
{
    fl_parser p = {.text = text, .at = text, .end = text + n, .dg = dg, .opset = 20, .g = fl_graph_new("graph")};
    fl_status status = fl_graph_ok(p.g, dg);
    uint32_t before = dg ? dg->n_entries : 0;
    if (status != FL_OK) {
        fl_graph_free(p.g);
        return status;
    }
    p.file = fl_strpool_put(&p.g->names, file, strlen(file));
    fl_arena_init(&p.scratch);
    if (!model(&p))
        status = p.status == FL_OK ? fl_out_of_memory(dg) : p.status;
    if (status == FL_OK)
        status = fl_graph_ok(p.g, dg);
    if (status == FL_OK)
        status = apply_meta(&p);
    if (status != FL_OK && status != FL_NO_MEMORY && dg) { /* and what can be said of the rest */
        if (fl_graph_verify(p.g, dg) == FL_NO_MEMORY)
            status = FL_NO_MEMORY;
        fl_diag_sort(dg, before);
    }
    fl_arena_deinit(&p.scratch);
    if (status == FL_OK)
        *out = p.g;
    else
        fl_graph_free(p.g);
    return status;
}
