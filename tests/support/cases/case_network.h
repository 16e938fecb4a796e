/*
 * case_network.h -- a reference case as one of our networks: schema, forward graph, and where each of its tensors lies.
 *
 * The reference has tables by slot, by field, or one; our graphs have one packed table of each width, in which each of them is a range of rows.
 * Rules stand on the graph's parameters, so a case may give each tensor its own.
 */
#ifndef FL_TESTS_CASES_CASE_NETWORK_H
#define FL_TESTS_CASES_CASE_NETWORK_H

#include "case_file.h"
#include "frontend/network.h"

/* A tensor of the case: elements [offset, offset + n) of a variable, row-major. */
typedef struct case_tensor {
    const char *name, *variable;
    int64_t offset, n;
    int64_t first_row, rows; /* along the variable's first axis */
    int rank;                /* in the case */
    const fl_rule *rule;     /* NULL: a running statistic */
} case_tensor;

typedef struct case_network {
    fl_schema schema;
    int64_t *table_row;    /* slot -> packed row of the first row of its table */
    int64_t *table_rows;   /* slot -> rows of its table */
    fl_graph *forward;     /* given masks are inputs */
    fl_rule *rules;
    uint32_t n_rules;
    case_tensor *tensors;
    uint32_t n_tensors;
    const char *loss;
    double loss_epsilon;
    int64_t batch_size, steps, eval_rows;
} case_network;

/* False with a verdict: what the case asks for that no network of ours has is a skip. Memory comes from c's arena; *n ends with case_network_deinit. */
bool case_network_build(case_network *n, case_file *c, verdict *v);
void case_network_deinit(case_network *n);

#endif
