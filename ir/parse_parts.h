/*
 * parse_parts.h -- what the files of the text's reader share: parse.c (productions of the grammar), parse_words.c (words and places),
 * parse_functions.c (model-local functions).
 */
#ifndef FL_IR_PARSE_PARTS_H
#define FL_IR_PARSE_PARTS_H

#include "ir/graph.h"
#include "ir/graph_meta.h"

enum { FL_PARSE_MAX_CALLS = 20 }; /* functions in functions; as in binary files, ir/onnx_parts.h */

/* Names with their places in the text. */
typedef struct fl_parse_names {
    const char **word;
    const char **at;
    uint32_t n, word_capacity, at_capacity;
} fl_parse_names;

/* A model-local function: `<domain: "d", opset_import: ["" : 20]> name <attributes> (inputs) => (outputs) { nodes }`. */
typedef struct fl_parse_function {
    const char *domain, *name;
    const char *at, *body; /* of its name; of its `{` */
    fl_parse_names attributes, inputs, outputs;
    const char *const **sorted; /* words of inputs and outputs */
    fl_attr **defaults; /* by attribute; NULL: it has none */
    uint32_t n_defaults, defaults_capacity;
    int64_t opset;
    fl_op op;        /* whose body it claims to be; FL_N_OPS: none of ours */
    bool kept;       /* it is a function of the graph; further calls are inlined */
    bool checked;    /* against what op means */
    bool broken;     /* a call showed a mistake inside: others are not read */
} fl_parse_function;

/* What names and attributes mean inside of a function while the nodes of a call are read. */
typedef struct fl_parse_scope {
    const fl_parse_function *f;
    const fl_parse_names *in, *out; /* of the call; NULL: a name means itself */
    const char *prefix;             /* of names inside */
    const fl_attr *attr;
    uint32_t n_attr, depth;
} fl_parse_scope;

/* A node whose operator's function stands in the text. */
typedef struct fl_parse_claim {
    fl_graph *g; /* the graph, or a function of it */
    fl_id node;
    fl_parse_function *f;
} fl_parse_claim;

typedef struct fl_parser {
    const char *text, *at, *end, *file;
    const char *counted;    /* where a place was last asked for; NULL: nowhere yet */
    const char *line_start; /* of its line */
    uint32_t line;          /* its number */
    fl_graph *g;            /* the graph, or for a while the body of a function */
    fl_arena scratch;
    fl_diag *dg;
    fl_status status; /* of the first mistake */
    fl_meta_entry *meta;
    uint32_t n_meta, meta_capacity;
    const char **variables; /* names in ai.flen.variables, sorted */
    uint32_t n_variables;
    fl_type *late_types; /* declared in the signature, of outputs that nodes make */
    const char **late_names;
    fl_loc *late_locs;
    uint32_t n_late, types_capacity, names_capacity, locs_capacity, n_outputs;
    int64_t opset;
    uint32_t inferred; /* nodes that have types, as far as there was need */
    bool wrong_types;  /* of one of these: the verifier reports it */
    uint32_t mistakes; /* that were recovered from */
    fl_parse_function **functions; /* sorted by name and domain */
    uint32_t n_functions, functions_capacity;
    const char *functions_end;   /* where the text ends behind them; NULL: there are none */
    const fl_parse_scope *scope; /* NULL: outside of functions */
    fl_parse_claim *claims;
    uint32_t n_claims, claims_capacity;
} fl_parser;

/* -- parse_words.c: false is a mistake that was reported -- */
/* Line and column; cheap for places in the order of the text. */
fl_loc fl_parse_place(fl_parser *p, const char *at);
/* Keeps the status if it is the first mistake's; false. */
bool fl_parse_wrong(fl_parser *p, fl_status s);
bool fl_parse_fail(fl_parser *p, const char *at, const char *what);
bool fl_parse_no_memory(fl_parser *p);
/* The next character that is neither blank nor in a comment; NUL at the end. */
char fl_parse_peek(fl_parser *p);
bool fl_parse_accept(fl_parser *p, char c);
bool fl_parse_need(fl_parser *p, char c);
bool fl_parse_is_letter(char c);
bool fl_parse_is_digit(char c);
/* A quoted text; an identifier or a quoted text. Interned. */
bool fl_parse_string(fl_parser *p, const char **out);
bool fl_parse_name(fl_parser *p, const char **out, const char *what);
typedef struct fl_number {
    bool is_int;
    int64_t i;
    double f;
} fl_number;
bool fl_parse_read_number(fl_parser *p, fl_number *out);
bool fl_parse_read_int(fl_parser *p, int64_t *out);

/* -- parse.c -- */
/* Values' names up to `close`, which stays; inside of a function they are what the scope makes of them. */
bool fl_parse_name_list(fl_parser *p, fl_parse_names *out, char close);
/* `name = value`, `name: type = value`; *present false: it refers to an attribute that the call of the function does not give. */
bool fl_parse_attribute(fl_parser *p, fl_attr *a, bool *present);
/* Types of values inside, up to `>`, which nobody needs: inference has them. */
bool fl_parse_value_infos(fl_parser *p);
/* `["" : 20, "d" : 1]` into p->opset. */
bool fl_parse_opsets(fl_parser *p);
/* `{ nodes }`, appended to p->g. */
bool fl_parse_nodes(fl_parser *p);

/* -- parse_functions.c -- */
/* Reads the signatures of all functions behind the graph at p->at, and comes back. */
bool fl_parse_functions(fl_parser *p);
/* NULL if the text has none of this name. */
fl_parse_function *fl_parse_find_function(const fl_parser *p, const char *domain, const char *name);
/* What `word`, as it stands in the text, is called in the graph; NULL if out of memory. */
const char *fl_parse_scoped(fl_parser *p, const char *word);
/* The reverse, for reports. */
const char *fl_parse_shown(const fl_parser *p, const char *word);
/* What `@word` stands for at p->at; NULL and true: the call does not give it. */
bool fl_parse_referred(fl_parser *p, const char *word, const char *at, const fl_attr **out);
/* The function's nodes in the place of a call whose operands are defined, whose results are not. */
bool fl_parse_call(fl_parser *p, fl_parse_function *f, const fl_parse_names *outs, const fl_parse_names *ins, const fl_attr *attr, uint32_t n_attr);
/* Is f one that a pass of ours outlined (functions.h), at its first call outside of functions? Then fl_parse_keep makes it one of the graph's; the call is the caller's to make. */
bool fl_parse_is_kept(const fl_parser *p, const fl_parse_function *f, const fl_parse_names *ins, const fl_parse_names *outs);
bool fl_parse_keep(fl_parser *p, fl_parse_function *f, const fl_id *in);
/* Types of the nodes so far. */
void fl_parse_infer(fl_parser *p);
/* Notes that `node` is an operator that f claims to be the body of; and holds all that were noted against what the operators mean. */
bool fl_parse_claims(fl_parser *p, fl_id node, fl_parse_function *f);
bool fl_parse_check_claims(fl_parser *p);

/* The metadata `ai.flen.variables`: which items of the signature are variables. False out of memory (reported). */
bool fl_parse_variables(fl_parser *p, const char *names);
bool fl_parse_is_variable(const fl_parser *p, const char *word);

#endif
