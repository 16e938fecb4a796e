/*
 * graph.h -- the typed SSA graph that frontend, passes and backend share, and nothing else do.
 *
 * A graph is one program (predict, train, init, prologue) at one stage. Nodes and values are 32-bit indices that stay
 * valid until the graph is freed or compacted: erased nodes become FL_OP_NOP, erased values stay unnamed. Nodes stand
 * in an order in which every node reads only earlier nodes (fact ORDER); builders append, passes may reorder with
 * fl_graph_sort. All memory comes from the graph's arena.
 *
 * Out of memory: builders return FL_NONE, accept FL_NONE as operand, and set g->arena.failed; whoever built or changed
 * a graph checks that once at the end (fl_graph_ok). No other error can happen in a builder: what it is given
 * is a program's, not a user's.
 */
#ifndef FL_IR_GRAPH_H
#define FL_IR_GRAPH_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"
#include "ir/base/strpool.h"
#include "ir/op.h"
#include "ir/type.h"

typedef uint32_t fl_id;
#define FL_NONE UINT32_MAX /* no value: an optional operand left out, or a failed builder */

/* ------------------------------------------------------------------------------------------------ attributes */

typedef enum fl_attr_kind {
    FL_ATTR_INT = 2, /* numbers are AttributeProto.AttributeType */
    FL_ATTR_FLOAT = 1,
    FL_ATTR_STRING = 3,
    FL_ATTR_TENSOR = 4,
    FL_ATTR_FLOATS = 6,
    FL_ATTR_INTS = 7,
    FL_ATTR_STRINGS = 8
} fl_attr_kind;

typedef struct fl_attr {
    const char *name; /* interned */
    fl_attr_kind kind;
    uint32_t n; /* of ints, floats, strings */
    union {
        int64_t i;
        double f; /* wide: see fl_widen */
        const char *s;
        const fl_tensor *tensor;
        const int64_t *ints;
        const double *floats;
        const char *const *strings;
    } as;
} fl_attr;

/* ---------------------------------------------------------------------------------------------------- origin */

/* Where a node or value came from: a place in a file, or the pass that made it from another value. */
typedef struct fl_origin {
    fl_loc loc;        /* file NULL: none */
    const char *pass;  /* NULL: not made by a pass */
    const char *from;  /* name of the value it was made from; NULL if none */
} fl_origin;

/* --------------------------------------------------------------------------------------------- values, nodes */

typedef enum fl_value_kind {
    FL_VALUE_INPUT,    /* given anew for each run */
    FL_VALUE_VARIABLE, /* lives in the session and may change: parameter, running statistic, optimiser state */
    FL_VALUE_CONSTANT, /* an initialiser that never changes; has data */
    FL_VALUE_NODE      /* output of a node */
} fl_value_kind;

typedef struct fl_value {
    const char *name; /* interned; unique in the graph; NULL: erased */
    fl_type type;
    fl_value_kind kind;
    fl_id node;            /* FL_VALUE_NODE: the producer, which has it as output `out` */
    uint32_t out;
    const fl_tensor *data; /* CONSTANT always; VARIABLE if it has stored data; else NULL */
    fl_origin origin;
} fl_value;

typedef struct fl_node {
    fl_op op;
    uint16_t n_in, n_out, n_attr;
    uint32_t place; /* counted from 1 in the order before a region was outlined (functions.h); 0: made since */
    fl_id *in;  /* FL_NONE: an optional operand left out */
    fl_id *out; /* FL_NONE: an output that nobody wants */
    fl_attr *attr;
    const char *name; /* of the ONNX node it came from; NULL if none */
    fl_origin origin;
} fl_node;

/* A training program gives `variable` the value `next` when a step is complete. */
typedef struct fl_update {
    fl_id variable, next;
} fl_update;

/* ------------------------------------------------------------------------------------------- parameters */

/*
 * How a variable starts and is trained: set by the frontend, read by `differentiate` and by the builder of the init
 * program. Formulas: ir/README.md, "Optimisers" and "First weights".
 */
typedef enum fl_init_kind {
    FL_INIT_CONSTANT, /* a */
    FL_INIT_NORMAL,   /* mean a, deviation b */
    FL_INIT_UNIFORM,  /* in [a, b) */
} fl_init_kind;

typedef enum fl_rule_kind {
    FL_RULE_NONE, /* not trained: running statistics */
    FL_RULE_SGD,
    FL_RULE_MOMENTUM,
    FL_RULE_ADAGRAD,
    FL_RULE_ROWWISE_ADAGRAD,
    FL_RULE_ADAM,
    FL_RULE_FTRL
} fl_rule_kind;

typedef struct fl_rule {
    fl_rule_kind kind;
    double lr;                 /* FTRL: alpha */
    double momentum;           /* momentum */
    double epsilon;            /* Adagrad, row-wise Adagrad, Adam */
    double initial_accumulator; /* Adagrad, row-wise Adagrad */
    double beta1, beta2;       /* Adam */
    bool bias_corrected;       /* Adam: epsilon_form "bias_corrected" instead of "plain" */
    double beta, l1, l2;       /* FTRL (l2 here is FTRL's own) */
} fl_rule;

typedef struct fl_param {
    fl_id variable;
    fl_rule rule;
    double lr_scale;  /* factor on rule.lr; 1 by default */
    double l2;        /* adds l2 * w to the gradient: loss + l2/2 * |w|^2 */
    bool row_sparse;  /* a table: only rows whose id stands in the batch are touched (L2 included) */
    fl_init_kind init;
    double init_a, init_b;
} fl_param;

/* --------------------------------------------------------------------------------- schedule (ir/schedule.h) */
typedef struct fl_schedule fl_schedule;

/* --------------------------------------------------------------------------------------------------- graph */

typedef struct fl_graph {
    fl_arena arena;
    fl_strpool names;
    const char *name; /* of the graph; an ONNX identifier */

    fl_value *values;
    uint32_t n_values, values_capacity;
    fl_node *nodes;
    uint32_t n_nodes, nodes_capacity;
    fl_id *inputs; /* in the order of the signature */
    uint32_t n_inputs, inputs_capacity;
    fl_id *variables; /* variables and constants, in order of declaration */
    uint32_t n_variables, variables_capacity;
    fl_id *outputs;
    uint32_t n_outputs, outputs_capacity;
    fl_update *updates;
    uint32_t n_updates, updates_capacity;
    fl_param *params;
    uint32_t n_params, params_capacity;
    const char **symbols; /* names of symbolic dimensions */
    uint32_t n_symbols, symbols_capacity;
    /* Key and value pairs that travel as ONNX metadata_props (keys of ours: "ai.flen.*", ir/README.md). */
    const char **meta_keys, **meta_values;
    uint32_t n_meta, meta_keys_capacity, meta_values_capacity;

    struct fl_graph **functions; /* what nodes of FL_OP_CALL call (functions.h), owned */
    uint32_t n_functions, functions_capacity;
    struct fl_name_table *name_table; /* names to values; private to graph.c */
    const fl_schedule *schedule;      /* after `plan-memory`; NULL before */
} fl_graph;

/* NULL if out of memory. */
fl_graph *fl_graph_new(const char *name);
void fl_graph_free(fl_graph *g); /* NULL is fine */
/* A deep copy without the schedule; stored data of variables (often mapped) is shared, constants are copied. */
fl_graph *fl_graph_clone(const fl_graph *g);
/* FL_NO_MEMORY (reported) if any builder failed, else FL_OK. */
FL_MUST_USE fl_status fl_graph_ok(const fl_graph *g, fl_diag *dg);

/* -- symbols and names -- */
/* The dimension of symbol `name`, made on first use. */
fl_dim fl_graph_symbol(fl_graph *g, const char *name);
/* A type of another graph in this one: symbols are numbered in each. */
fl_type fl_graph_import_type(fl_graph *g, const fl_graph *from, const fl_type *t);
/* `base`, or base_2, base_3, ... : the first name that no value has. */
const char *fl_graph_fresh_name(fl_graph *g, const char *base);
/* FL_NONE if no value has that name. */
fl_id fl_graph_find(const fl_graph *g, const char *name);
/* Change a value's name; `name` must be free. */
void fl_value_rename(fl_graph *g, fl_id value, const char *name);

/* -- leaves; `name` must be free -- */
fl_id fl_graph_input(fl_graph *g, const char *name, fl_type type);
fl_id fl_graph_variable(fl_graph *g, const char *name, fl_type type);
/* Copies n bytes. A constant of a graph: use it for arrays; scalars are better nodes (fl_build_scalar). */
fl_id fl_graph_constant(fl_graph *g, const char *name, fl_type type, const void *bytes);
fl_id fl_graph_constant_ints(fl_graph *g, const char *name, const int64_t *ints, uint32_t n); /* int64[n] */
void fl_graph_output(fl_graph *g, fl_id value);
void fl_graph_update(fl_graph *g, fl_id variable, fl_id next);
void fl_graph_param(fl_graph *g, fl_param p);
/* The parameter entry of a variable; NULL if it has none. */
fl_param *fl_graph_find_param(const fl_graph *g, fl_id variable);
/* Set or replace a metadata entry; get: NULL if absent. */
void fl_graph_set_meta(fl_graph *g, const char *key, const char *value);
const char *fl_graph_get_meta(const fl_graph *g, const char *key);

/* -- nodes -- */
/*
 * Append a node with n_out fresh outputs named after `base` (base, or base_0 ... if several; made unique). Types are
 * left unknown. Returns the node; fl_node_out gives its values. `in` may hold FL_NONE for omitted operands.
 */
fl_id fl_node_new(fl_graph *g, fl_op op, const char *base, const fl_id *in, uint32_t n_in, uint32_t n_out);
fl_id fl_node_out(const fl_graph *g, fl_id node, uint32_t out); /* FL_NONE for node FL_NONE */
void fl_node_set_int(fl_graph *g, fl_id node, const char *attr, int64_t i);
void fl_node_set_ints(fl_graph *g, fl_id node, const char *attr, const int64_t *ints, uint32_t n);
void fl_node_set_float(fl_graph *g, fl_id node, const char *attr, double f);
void fl_node_set_floats(fl_graph *g, fl_id node, const char *attr, const double *floats, uint32_t n);
void fl_node_set_string(fl_graph *g, fl_id node, const char *attr, const char *s);
void fl_node_set_tensor(fl_graph *g, fl_id node, const char *attr, const fl_tensor *t); /* copied */
const fl_attr *fl_node_attr(const fl_graph *g, fl_id node, const char *attr); /* NULL if absent */
int64_t fl_node_int(const fl_graph *g, fl_id node, const char *attr, int64_t otherwise);
double fl_node_float(const fl_graph *g, fl_id node, const char *attr, double otherwise);
const char *fl_node_string(const fl_graph *g, fl_id node, const char *attr, const char *otherwise);
/* Attributes of a node of another graph, in the place of its own. */
void fl_node_copy_attributes(fl_graph *g, fl_id node, const fl_node *from);
/*
 * Append a copy of a node of another graph, with these operands of g: attributes, label, origin, and outputs with their types under the names that they have there,
 * or fresh ones where these are taken.
 */
fl_id fl_node_copy(fl_graph *g, const fl_graph *from, fl_id node, const fl_id *in);
/* Make it NOP and its outputs nameless. Nobody may read them any more. */
void fl_node_erase(fl_graph *g, fl_id node);

/* -- shorthands: a node with one output, whose type is inferred at once; returns the output -- */
fl_id fl_build_1(fl_graph *g, fl_op op, const char *base, fl_id a);
fl_id fl_build_2(fl_graph *g, fl_op op, const char *base, fl_id a, fl_id b);
fl_id fl_build_n(fl_graph *g, fl_op op, const char *base, const fl_id *in, uint32_t n);
fl_id fl_build_scalar(fl_graph *g, const char *base, double f); /* Constant<value_float> */
fl_id fl_build_ints(fl_graph *g, const char *base, const int64_t *ints, uint32_t n); /* Constant<value_ints> */
fl_id fl_build_reduce_sum(fl_graph *g, const char *base, fl_id x, const int64_t *axes, uint32_t n, bool keep_dims);
fl_id fl_build_reshape(fl_graph *g, const char *base, fl_id x, const int64_t *shape, uint32_t n);
fl_id fl_build_transpose(fl_graph *g, const char *base, fl_id x); /* of a matrix */
fl_id fl_build_concat(fl_graph *g, const char *base, const fl_id *in, uint32_t n, int64_t axis);
/* Outputs into out[n]; sizes are along the axis. */
void fl_build_split(fl_graph *g, const char *base, fl_id x, int64_t axis, const int64_t *sizes, uint32_t n, fl_id *out);
/* Infer the output types of the newest node (ir/shape.h); failures leave them unknown. */
void fl_build_infer(fl_graph *g, fl_id node);

/* -- reading and changing -- */
/* Value of a constant scalar or one-element tensor (initialiser or Constant node); false if it is none. */
bool fl_value_scalar(const fl_graph *g, fl_id value, double *f);
/* Elements of a constant int64 or int32 tensor (initialiser or Constant node); false if it is none or longer than max. */
bool fl_value_ints(const fl_graph *g, fl_id value, int64_t *ints, uint32_t max, uint32_t *n);
/* Tensor of a constant (initialiser or Constant node with `value`); NULL if it has none. */
const fl_tensor *fl_value_tensor(const fl_graph *g, fl_id value);
/* uses[v] = reads of v by nodes, graph outputs and updates; n_values entries from `scratch`; NULL if out of memory. */
uint32_t *fl_graph_count_uses(const fl_graph *g, fl_arena *scratch);
/* Every read of `old` (nodes, outputs, updates' next) becomes a read of `with`. O(operands). */
void fl_graph_replace(fl_graph *g, fl_id old, fl_id with);
/* The same for many at once: map[v] is the replacement of v (map[v] == v: none); chains are followed. */
void fl_graph_replace_all(fl_graph *g, fl_id *map);
/* Restore ORDER after nodes were appended out of place; stable. FL_BAD_INPUT (reported) if there is a cycle. */
FL_MUST_USE fl_status fl_graph_sort(fl_graph *g, fl_diag *dg);
/* Put the nodes into this order, which has each that is no NOP once. All ids of nodes change. */
void fl_graph_order(fl_graph *g, const fl_id *order, uint32_t n);
/* Drop NOPs and nameless values; all ids change. */
void fl_graph_compact(fl_graph *g);

static inline const fl_type *fl_value_type(const fl_graph *g, fl_id v)
{
    return &g->values[v].type;
}
/* The producing node of a value; FL_NONE if it is a leaf. */
static inline fl_id fl_value_node(const fl_graph *g, fl_id v)
{
    return v != FL_NONE && g->values[v].kind == FL_VALUE_NODE ? g->values[v].node : FL_NONE;
}
/* The producing node if it is an `op`; FL_NONE otherwise. */
static inline fl_id fl_value_is(const fl_graph *g, fl_id v, fl_op op)
{
    fl_id n = fl_value_node(g, v);
    return n != FL_NONE && g->nodes[n].op == op ? n : FL_NONE;
}

/* Tables that a node with the trait FL_GATHERING looks up: number k is operand 2k, its index operand 2k + 1. */
static inline uint32_t fl_look_ups(const fl_node *n)
{
    return n->op == FL_OP_TABLE_POOL ? n->n_in / 2u : n->n_in > 1;
}

#endif
