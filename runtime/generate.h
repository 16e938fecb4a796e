/*
 * generate.h -- rows from a planted model: raw CSV with Avazu's columns, or slot text.
 */
#ifndef FL_RUNTIME_GENERATE_H
#define FL_RUNTIME_GENERATE_H

#include "ir/base/diag.h"

typedef struct fl_generate_options {
    int64_t rows;     /* > 0 */
    int64_t ids;      /* distinct values of all columns together, about; at least 200 */
    double skew;      /* exponent of Zipf's law within a column, 0 to 3 */
    uint64_t seed;
    const char *path; /* "-" is standard output */
    bool slots;       /* slot text (click, user_0..11, item_0..2, contex_0..5) in place of CSV */
} fl_generate_options;

typedef struct fl_generate_result {
    int64_t rows, positives, ids;
    double bayes_auc;     /* expected AUC of the true probabilities over the rows written */
    double bayes_logloss; /* their mean entropy, in nats: the least expected logloss */
} fl_generate_result;

/* The file follows from the options alone. It is written aside and renamed. */
FL_MUST_USE fl_status fl_generate(const fl_generate_options *o, fl_generate_result *out, fl_diag *dg);

#endif
