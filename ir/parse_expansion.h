/*
 * parse_expansion.h -- operators of a text that the graph does not have, or has in the form of another opset: what they stand for, as import.h has it, or that
 * nobody knows them.
 */
#ifndef FL_IR_PARSE_EXPANSION_H
#define FL_IR_PARSE_EXPANSION_H

#include "ir/import.h"

/* An operator as a text has it. */
typedef struct fl_parse_operator {
    fl_op op;   /* FL_N_OPS: it is unknown, or stands for others, or for itself in the form of opset 20 */
    bool known;
    char domain[64];
    const char *word;
    struct fl_parse_function *function; /* that the text defines under this name; NULL: none */
} fl_parse_operator;

/* The word was a part of the domain: it is put there, cut where there is no room. */
void fl_parse_domain(fl_parse_operator *o);
/* Sets op and known. A standard operator of another opset goes through import.h, which may adapt it. */
void fl_parse_find_op(fl_parse_operator *o, int64_t opset);
/* What a graph of a text of n bytes may take: expansions make many nodes of one. */
static inline uint64_t fl_parse_budget(size_t n)
{
    return 100 * (uint64_t)n + (64u << 20);
}
/*
 * Append the nodes that m's operator stands for; its outputs get these names ("": none), which must be free. Types of the nodes before it are
 * inferred, for an expansion asks for them. m->out and m->wanted need not be set. FL_BAD_INPUT (reported) also if the graph takes more than `budget` bytes then.
 */
FL_MUST_USE fl_status fl_parse_expand(fl_import *m, const char *const *names, uint64_t budget, fl_arena *scratch);
/* If the value of this name is one that an expansion made up, it gets another: names of the text come first. */
void fl_parse_give_way(fl_graph *g, const char *name);
/* Reports an operator that neither ops.def nor expansions.def has, with the nearest name. */
fl_status fl_parse_unknown_op(const char *domain, const char *op, fl_loc loc, fl_diag *dg);

#endif
