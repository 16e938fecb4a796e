/*
 * bench_work.h -- what a sample needs of the machine, whatever code does it: arithmetic, rows of tables, weights.
 *
 * Counted from the program and from the rows that are measured with: where a program works on a batch's distinct rows, on as many as these batches
 * have. Rows are those of tables, each once a sample that looks it up, or once a batch where the program makes them distinct first.
 */
#ifndef FL_RUNTIME_BENCH_WORK_H
#define FL_RUNTIME_BENCH_WORK_H

#include "runtime/machine_limits.h"
#include "runtime/tensor_rows.h"

/* Look-ups by one list of ids in one table, or in tables that lie in one record. */
typedef struct fl_look_up {
    fl_id index;          /* the value that has the ids, through views */
    const int64_t *ids;   /* [n][columns] of all rows */
    int64_t n, columns;
    bool distinct;        /* once for each distinct id of a column */
    uint8_t *base;
    size_t stride, row_bytes;
    bool writes;
    double rows;          /* of a batch */
} fl_look_up;

typedef struct fl_work {
    fl_look_up *look_ups; /* [n_look_ups], malloc'ed */
    uint32_t n_look_ups;
    int64_t **lists;      /* [n_lists] ids that were made for look_ups, malloc'ed */
    uint32_t n_lists;
    double flops;         /* of a sample: fl_node_cost (ir/cost.h) */
    double rows, bytes;   /* of a sample; bytes: of rows, inputs and weights, those that are written counted twice */
    double weight_bytes;  /* of a batch: variables that are read whole */
} fl_work;

/* What is measured: a program of an open session, and all rows, of which batches are taken in order. Borrows everything. */
typedef struct fl_work_rows {
    const fl_session *session;
    fl_program program;
    const fl_run *run; /* of all rows (feed.h) */
    int64_t n, batch;  /* rows in all, and of a batch: at most n */
    const fl_tensor_rows *tensors; /* NULL: indices are inputs of the program, int64 */
} fl_work_rows;

FL_MUST_USE fl_status fl_work_count(fl_work *w, const fl_work_rows *rows, fl_diag *dg);
/* Touch every row that is looked up, so that no measured run meets a page for the first time. */
void fl_work_touch(const fl_work *w);
/* Forget the look-ups, whose ids are borrowed, and keep the counts. */
void fl_work_drop_look_ups(fl_work *w);

typedef enum fl_limit_kind {
    FL_LIMIT_ARITHMETIC, /* flops at the speed of multiply-adds */
    FL_LIMIT_ROWS,       /* rows at the speed of look-ups, of the very rows and ids */
    FL_LIMIT_WEIGHTS     /* weights at the speed of reading as many bytes over and over, once a batch */
} fl_limit_kind;

typedef struct fl_limits {
    double flops, row_rate, read;  /* a second: of all threads; rows in order of the ids; bytes read from memory in order */
    double seconds[3];             /* of a sample, by fl_limit_kind: no program that does this work is faster */
    fl_limit_kind slowest;
} fl_limits;

/* Measures the machine with the session's threads for about `seconds`. level: of vector instructions (machine_limits.h). */
FL_MUST_USE fl_status fl_limits_measure(fl_limits *l, const fl_work *w, const fl_work_rows *rows, const char *level, double seconds, fl_diag *dg);

#endif
