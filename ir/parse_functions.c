/*
 * parse_functions.c -- model-local functions of a text: `<domain: "d", opset_import: ["" : 20]> f <alpha> (x) => (y) { nodes }` behind the graph.
 *
 * The same as of a binary file (onnx_functions.c): a function of ours is the operator that it is the body of, any other is its nodes in the place of each
 * call, under names `RESULT/FUNCTION/NAME`. They are read from the text again at each call, so that places are those in the text and operators of other
 * opsets find the types of this call's operands. One thing differs: a function with the name of an operator's body and another body is a mistake here,
 * because who writes text writes it to be read, while a binary file is taken to mean what its functions say.
 */
#include "ir/parse_parts.h"

#include "ir/bodies.h"
#include "ir/functions.h"
#include "ir/parse_expansion.h"
#include "ir/verify_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------ finding */

static bool same_domain(const char *a, const char *b)
{
    a = strcmp(a, "ai.onnx") == 0 ? "" : a;
    b = strcmp(b, "ai.onnx") == 0 ? "" : b;
    return strcmp(a, b) == 0;
}

static int compare(const char *name_a, const char *domain_a, const fl_parse_function *b)
{
    int order = strcmp(name_a, b->name);
    if (order)
        return order;
    return same_domain(domain_a, b->domain) ? 0 : strcmp(domain_a, b->domain);
}

static int compare_functions(const void *a, const void *b)
{
    const fl_parse_function *f = *(fl_parse_function *const *)a;
    return compare(f->name, f->domain, *(fl_parse_function *const *)b);
}

fl_parse_function *fl_parse_find_function(const fl_parser *p, const char *domain, const char *name)
{
    uint32_t low = 0, high = p->n_functions;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(name, domain, p->functions[middle]);
        if (order == 0)
            return p->functions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Behind a quoted text or a comment that begins at `at`. */
static const char *skip_word(const char *at, const char *end)
{
    char close = *at == '#' ? '\n' : '"';
    for (at++; at < end && *at != close; at++)
        if (close == '"' && *at == '\\')
            at++;
    return at < end ? at + 1 : end;
}

/* Behind the braces that open at or after `at`, outside of parentheses and brackets; NULL if they do not close. */
static const char *skip_braces(const char *at, const char *end)
{
    uint32_t outer = 0, braces = 0;
    while (at < end) {
        char c = *at;
        if (c == '"' || c == '#') {
            at = skip_word(at, end);
            continue;
        }
        if (c == '=' && at + 1 < end && at[1] == '>')
            at++;
        else if (c == '{' && outer == 0)
            braces++;
        else if (c == '}' && outer == 0 && braces > 0 && --braces == 0)
            return at + 1;
        else if (braces == 0 && strchr("([<{", c) && c)
            outer++;
        else if (braces == 0 && strchr(")]>}", c) && c && outer > 0)
            outer--;
        at++;
    }
    return NULL;
}

/* --------------------------------------------------------------------------------------------------- signatures */

/* `<domain: "d", opset_import: [...], doc_string: "...">` */
static bool properties(fl_parser *p, fl_parse_function *f)
{
    int64_t opset = p->opset;
    f->domain = "";
    if (!fl_parse_accept(p, '<'))
        return true;
    do {
        const char *key, *ignored;
        (void)fl_parse_peek(p);
        const char *start = p->at;
        if (!fl_parse_name(p, &key, "a key of the function's header") || !fl_parse_need(p, ':'))
            return false;
        bool ok = strcmp(key, "opset_import") == 0                                      ? fl_parse_opsets(p)
                  : strcmp(key, "domain") == 0                                          ? fl_parse_string(p, &f->domain)
                  : strcmp(key, "doc_string") == 0                                      ? fl_parse_string(p, &ignored)
                                                                                        : fl_parse_fail(p, start, "unknown key in a function's header");
        if (!ok)
            return false;
    } while (fl_parse_accept(p, ','));
    f->opset = p->opset;
    p->opset = opset;
    return fl_parse_need(p, '>');
}

static bool add_name(fl_parser *p, fl_parse_names *list, const char *word, const char *at)
{
    uint32_t n = list->n;
    return (FL_PUSH(&p->scratch, list->at, n, list->at_capacity, at) && FL_PUSH(&p->scratch, list->word, list->n, list->word_capacity, word)) || fl_parse_no_memory(p);
}

/* `<alpha, beta: float = 0.5>` */
static bool declared_attributes(fl_parser *p, fl_parse_function *f)
{
    if (!fl_parse_accept(p, '<'))
        return true;
    do {
        const char *word;
        (void)fl_parse_peek(p);
        const char *start = p->at;
        fl_attr *otherwise = NULL;
        bool present;
        if (!fl_parse_name(p, &word, "an attribute's name"))
            return false;
        char c = fl_parse_peek(p);
        if (c == ':' || c == '=') {
            p->at = start;
            if (!(otherwise = fl_arena_new(&p->g->arena, fl_attr, 1)))
                return fl_parse_no_memory(p);
            if (!fl_parse_attribute(p, otherwise, &present))
                return false;
        }
        if (!add_name(p, &f->attributes, word, start))
            return false;
        if (!FL_PUSH(&p->scratch, f->defaults, f->n_defaults, f->defaults_capacity, otherwise))
            return fl_parse_no_memory(p);
    } while (fl_parse_accept(p, ','));
    return fl_parse_need(p, '>');
}

static int compare_formal(const void *a, const void *b)
{
    return strcmp(**(const char *const *const *)a, **(const char *const *const *)b);
}

/* Operands and results have names, each its own: a result that is an operand would be defined twice. */
static bool sort_names(fl_parser *p, fl_parse_function *f)
{
    uint32_t n = f->inputs.n + f->outputs.n;
    f->sorted = fl_arena_alloc(&p->scratch, (n + 1u) * sizeof *f->sorted);
    if (!f->sorted)
        return fl_parse_no_memory(p);
    for (uint32_t k = 0; k < n; k++) {
        f->sorted[k] = k < f->inputs.n ? &f->inputs.word[k] : &f->outputs.word[k - f->inputs.n];
        if (!**f->sorted[k])
            return fl_parse_fail(p, f->at, "an operand or result of the function has no name");
    }
    qsort(f->sorted, n, sizeof *f->sorted, compare_formal);
    for (uint32_t k = 1; k < n; k++)
        if (strcmp(*f->sorted[k - 1], *f->sorted[k]) == 0)
            return fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, f->at), "function \"%.100s\" has two operands or results called \"%.100s\"",
                                              f->name, *f->sorted[k]));
    return true;
}

static bool signature(fl_parser *p, fl_parse_function *f)
{
    if (!properties(p, f))
        return false;
    (void)fl_parse_peek(p);
    f->at = p->at;
    if (!fl_parse_name(p, &f->name, "a function's name") || !declared_attributes(p, f) || !fl_parse_need(p, '(') || !fl_parse_name_list(p, &f->inputs, ')') ||
        !fl_parse_need(p, ')') || !fl_parse_need(p, '=') || !fl_parse_need(p, '>') || !fl_parse_need(p, '(') || !fl_parse_name_list(p, &f->outputs, ')') ||
        !fl_parse_need(p, ')') || !sort_names(p, f))
        return false;
    if (fl_parse_accept(p, '<') && !fl_parse_value_infos(p))
        return false;
    if (fl_parse_peek(p) != '{')
        return fl_parse_need(p, '{');
    f->body = p->at;
    const char *end = skip_braces(p->at, p->end);
    p->at = end ? end : p->end;
    f->op = strcmp(f->domain, "ai.flen") == 0 ? fl_body_op(f->name) : FL_N_OPS;
    return end || fl_parse_fail(p, f->body, "the function's list of nodes does not end");
}

bool fl_parse_functions(fl_parser *p)
{
    const char *start = p->at, *end = skip_braces(p->at, p->end);
    if (!end) /* the graph itself does not end, as its reader will say */
        return true;
    for (p->at = end; fl_parse_peek(p) != '\0' && p->at < p->end; p->functions_end = p->at) {
        fl_parse_function *f = fl_arena_new(&p->scratch, fl_parse_function, 1);
        if (!f || !FL_PUSH(&p->scratch, p->functions, p->n_functions, p->functions_capacity, f))
            return fl_parse_no_memory(p);
        if (!signature(p, f))
            return false;
    }
    if (p->n_functions > 0)
        qsort(p->functions, p->n_functions, sizeof *p->functions, compare_functions);
    for (uint32_t k = 1; k < p->n_functions; k++)
        if (compare_functions(&p->functions[k - 1], &p->functions[k]) == 0)
            return fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, p->functions[k]->at), "function \"%.100s\" of domain \"%.100s\" stands twice",
                                              p->functions[k]->name, p->functions[k]->domain));
    p->at = start;
    return true;
}

/* ------------------------------------------------------------------------------------------------ names inside */

/* Which operand, or (from inputs.n on) result, `word` is; UINT32_MAX if none. */
static uint32_t formal(const fl_parse_function *f, const char *word)
{
    const char *const *key = &word;
    const char *const **found = bsearch(&key, f->sorted, f->inputs.n + f->outputs.n, sizeof *f->sorted, compare_formal);
    if (!found)
        return UINT32_MAX;
    bool input = *found >= f->inputs.word && *found < f->inputs.word + f->inputs.n;
    return (uint32_t)(input ? *found - f->inputs.word : *found - f->outputs.word + f->inputs.n);
}

const char *fl_parse_scoped(fl_parser *p, const char *word)
{
    const fl_parse_scope *s = p->scope;
    if (!s || !s->in || !*word)
        return word;
    uint32_t k = formal(s->f, word), n_in = s->f->inputs.n;
    if (k < n_in)
        return k < s->in->n ? s->in->word[k] : "";
    if (k != UINT32_MAX && k - n_in < s->out->n && *s->out->word[k - n_in])
        return s->out->word[k - n_in];
    const char *inside = fl_arena_printf(&p->scratch, "%s/%s/%s", s->prefix, s->f->name, word);
    return inside ? fl_strpool_put(&p->g->names, inside, strlen(inside)) : NULL;
}

const char *fl_parse_shown(const fl_parser *p, const char *word)
{
    const fl_parse_scope *s = p->scope;
    size_t n = s && s->in ? strlen(s->prefix) : 0, m = n ? strlen(s->f->name) : 0;
    bool inside = n && strncmp(word, s->prefix, n) == 0 && word[n] == '/' && strncmp(word + n + 1, s->f->name, m) == 0 && word[n + 1 + m] == '/';
    return inside ? word + n + m + 2 : word;
}

bool fl_parse_referred(fl_parser *p, const char *word, const char *at, const fl_attr **out)
{
    const fl_parse_scope *s = p->scope;
    *out = NULL;
    if (!s)
        return fl_parse_fail(p, at, "an attribute refers to a function's, but stands in none");
    for (uint32_t k = 0; k < s->n_attr && !*out; k++)
        if (strcmp(s->attr[k].name, word) == 0)
            *out = &s->attr[k];
    for (uint32_t k = 0; k < s->f->attributes.n; k++) {
        if (strcmp(s->f->attributes.word[k], word) != 0)
            continue;
        *out = *out ? *out : s->f->defaults[k];
        return true;
    }
    return fl_parse_wrong(p, fl_error(p->dg, FL_E_SYNTAX, fl_parse_place(p, at), "function \"%.100s\" has no attribute \"%.100s\"", s->f->name, word));
}

/* -------------------------------------------------------------------------------------------------------- calls */

/* The nodes of f, appended to p->g under a scope; the text goes on where it was. */
static bool read_body(fl_parser *p, const fl_parse_function *f, const fl_parse_scope *scope)
{
    const fl_parse_scope *outer = p->scope;
    const char *at = p->at;
    int64_t opset = p->opset;
    p->scope = scope;
    p->at = f->body;
    p->opset = f->opset;
    bool ok = fl_parse_nodes(p);
    p->scope = outer;
    p->at = at;
    p->opset = opset;
    return ok;
}

static bool check_call(fl_parser *p, const fl_parse_function *f, const fl_parse_names *outs, const fl_parse_names *ins, uint32_t depth)
{
    const char *at = outs->n ? outs->at[0] : p->at;
    if (depth > FL_PARSE_MAX_CALLS)
        return fl_parse_wrong(p, fl_error(p->dg, FL_E_ONNX_FUNCTION, fl_parse_place(p, at), "functions call each other more than %d deep, or themselves: \"%.100s\"",
                                          FL_PARSE_MAX_CALLS, f->name));
    if (ins->n > f->inputs.n || outs->n > f->outputs.n)
        return fl_parse_wrong(p, fl_error(p->dg, FL_E_ONNX_FUNCTION, fl_parse_place(p, at), "function \"%.100s\" has %u operands and %u results, its call %u and %u",
                                          f->name, f->inputs.n, f->outputs.n, ins->n, outs->n));
    if (p->g->arena.used_bytes + p->scratch.used_bytes > fl_parse_budget((size_t)(p->end - p->text)))
        return fl_parse_wrong(p, fl_error(p->dg, FL_E_ONNX_LIMIT, fl_parse_place(p, at), "functions ask for more memory than the text's size allows"));
    return true;
}

bool fl_parse_call(fl_parser *p, fl_parse_function *f, const fl_parse_names *outs, const fl_parse_names *ins, const fl_attr *attr, uint32_t n_attr)
{
    uint32_t depth = p->scope ? p->scope->depth + 1 : 1, mistakes = p->mistakes, errors = p->dg ? p->dg->n_errors : 0;
    fl_parse_scope scope = {.f = f, .in = ins, .out = outs, .prefix = f->name, .attr = attr, .n_attr = n_attr, .depth = depth};
    if (f->broken)
        return false;
    if (!check_call(p, f, outs, ins, depth))
        return !(f->broken = true);
    for (uint32_t k = outs->n; k-- > 0;)
        scope.prefix = *outs->word[k] ? outs->word[k] : scope.prefix;
    bool ok = read_body(p, f, &scope) && p->mistakes == mistakes;
    for (uint32_t k = 0; ok && k < outs->n; k++)
        if (*outs->word[k] && fl_graph_find(p->g, outs->word[k]) == FL_NONE)
            ok = fl_parse_wrong(p, fl_error(p->dg, FL_E_ONNX_FUNCTION, fl_parse_place(p, f->outputs.at[k]), "function \"%.100s\" has no node that makes its result \"%.100s\"",
                                            f->name, f->outputs.word[k]));
    if (!ok && depth <= 3 && p->dg && p->dg->n_errors > errors) {
        fl_loc called = fl_parse_place(p, outs->n ? outs->at[0] : p->at);
        fl_hint(p->dg, "called at line %u, column %u", called.line, called.column);
    }
    f->broken = !ok;
    return ok;
}

/* ---------------------------------------------------------------------------------------- bodies of our operators */

bool fl_parse_claims(fl_parser *p, fl_id node, fl_parse_function *f)
{
    fl_parse_claim claim = {p->g, node, f};
    return FL_PUSH(&p->scratch, p->claims, p->n_claims, p->claims_capacity, claim) || fl_parse_no_memory(p);
}

/* f as a graph whose inputs have the types of these operands; NULL after a mistake in it. */
static fl_graph *body_of(fl_parser *p, const fl_parse_function *f, const fl_id *in, uint32_t n_in, const fl_attr *attr, uint32_t n_attr)
{
    fl_graph *g = p->g, *b = fl_graph_new(f->name);
    const fl_parse_scope scope = {.f = f, .attr = attr, .n_attr = n_attr, .depth = 1};
    uint32_t inferred = p->inferred, mistakes = p->mistakes;
    bool ok = b != NULL;
    for (uint32_t k = 0; ok && k < n_in; k++)
        if (in[k] != FL_NONE)
            ok = fl_graph_input(b, f->inputs.word[k], fl_graph_import_type(b, g, fl_value_type(g, in[k]))) != FL_NONE;
    p->g = b;
    p->inferred = 0;
    ok = ok && read_body(p, f, &scope) && p->mistakes == mistakes;
    for (uint32_t k = 0; ok && k < f->outputs.n; k++) {
        fl_id v = fl_graph_find(b, f->outputs.word[k]);
        ok = v != FL_NONE || fl_parse_wrong(p, fl_error(p->dg, FL_E_ONNX_FUNCTION, fl_parse_place(p, f->outputs.at[k]),
                                                        "function \"%.100s\" has no node that makes its result \"%.100s\"", f->name, f->outputs.word[k]));
        fl_graph_output(b, v);
    }
    for (fl_id i = 0; ok && i < b->n_nodes; i++)
        fl_build_infer(b, i);
    p->g = g;
    p->inferred = inferred;
    ok = ok && !b->arena.failed;
    if (!ok && (!b || b->arena.failed))
        (void)fl_parse_no_memory(p);
    if (!ok)
        fl_graph_free(b);
    return ok ? b : NULL;
}

/* Reports that the function is not what the node's operator means. */
static bool contradicts(fl_parser *p, const fl_parse_claim *c, const char *what)
{
    const fl_parse_function *f = c->f;
    const char *op = fl_op_get(c->g->nodes[c->node].op)->name;
    fl_status s = fl_error(p->dg, FL_E_VERIFY, fl_parse_place(p, f->at), "function \"%.100s\" is not the body of %s: %s", f->name, op, what);
    fl_check_name_rule(p->dg, FL_VERIFY_BODIES);
    return fl_parse_wrong(p, s);
}

/* The function declares what the operator has. */
static bool check_signature(fl_parser *p, const fl_parse_claim *c)
{
    const fl_parse_function *f = c->f;
    const fl_node *n = &c->g->nodes[c->node];
    const char *const *known = fl_body_attributes(n->op);
    char what[160];
    if (f->inputs.n != n->n_in || f->outputs.n != n->n_out) {
        snprintf(what, sizeof what, "it has %u operands and %u results, its call %u and %u", f->inputs.n, f->outputs.n, n->n_in, n->n_out);
        return contradicts(p, c, what);
    }
    for (uint32_t k = 0; k < f->attributes.n; k++) {
        uint32_t i = 0;
        while (known[i] && strcmp(known[i], f->attributes.word[k]) != 0)
            i++;
        snprintf(what, sizeof what, "the operator has no attribute \"%.100s\"", f->attributes.word[k]);
        if (!known[i])
            return contradicts(p, c, what);
    }
    return true;
}

/* Nothing large is built to be compared with something small: a pair of fields takes a node, and a node takes some bytes of text. */
static bool may_be_ours(const fl_parser *p, const fl_parse_claim *c)
{
    const fl_node *n = &c->g->nodes[c->node];
    uint64_t m = n->n_in / 2u;
    return n->op != FL_OP_FIELD_INTERACTION || m < 2 || n->in[0] == FL_NONE || (m - 1) * (m - 2) / 2 <= (uint64_t)(p->end - c->f->body);
}

static bool check_claim(fl_parser *p, const fl_parse_claim *c)
{
    fl_graph *ours = NULL, *theirs;
    const char *name = fl_body_name(c->g, c->node, &p->scratch);
    char what[256];
    uint32_t differs = 0;
    if (!name || strcmp(name, c->f->name) != 0) {
        snprintf(what, sizeof what, "with the attributes of its call that is \"%.100s\"", name ? name : "nothing");
        return contradicts(p, c, what);
    }
    if (c->f->checked)
        return true;
    c->f->checked = true;
    if (!may_be_ours(p, c))
        return contradicts(p, c, "it has fewer nodes than there are pairs");
    if (!check_signature(p, c))
        return false;
    const fl_node *n = &c->g->nodes[c->node];
    fl_graph *outer = p->g;
    uint32_t n_claims = p->n_claims;
    p->g = c->g;
    theirs = body_of(p, c->f, n->in, n->n_in, n->attr, n->n_attr);
    p->g = outer;
    p->n_claims = n_claims; /* a body of ours calls no other */
    if (!theirs)
        return false;
    fl_status s = fl_body_build(c->g, c->node, &ours, p->dg);
    bool equal = false;
    if (s == FL_OK)
        s = fl_functions_equal(ours, theirs, &equal, &differs, p->dg);
    if (s == FL_OK && !equal)
        snprintf(what, sizeof what, "its result \"%.100s\" is something else", c->f->outputs.word[differs]);
    fl_graph_free(ours);
    fl_graph_free(theirs);
    return s != FL_OK ? fl_parse_wrong(p, s) : equal || contradicts(p, c, what);
}

/* ---------------------------------------------------------------------------------- functions that passes outlined */

bool fl_parse_is_kept(const fl_parser *p, const fl_parse_function *f, const fl_parse_names *ins, const fl_parse_names *outs)
{
    if (strcmp(f->domain, "ai.flen") != 0 || f->attributes.n > 0 || f->kept || f->broken || p->scope || ins->n != f->inputs.n || outs->n != f->outputs.n)
        return false;
    for (uint32_t k = 0; k < ins->n; k++)
        if (!*ins->word[k])
            return false;
    return true;
}

bool fl_parse_keep(fl_parser *p, fl_parse_function *f, const fl_id *in)
{
    fl_parse_infer(p);
    fl_graph *b = body_of(p, f, in, f->inputs.n, NULL, 0);
    f->kept = true;
    f->broken = b == NULL;
    if (b)
        fl_graph_add_function(p->g, b);
    return b && (!p->g->arena.failed || fl_parse_no_memory(p));
}

bool fl_parse_check_claims(fl_parser *p)
{
    bool ok = true;
    if (p->n_claims > 0) /* some names tell types */
        fl_parse_infer(p);
    for (uint32_t k = 0; k < p->n_claims; k++) {
        const fl_parse_claim claim = p->claims[k];
        ok = check_claim(p, &claim) && ok;
    }
    return ok;
}
