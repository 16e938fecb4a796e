/*
 * bench.h -- how fast a session runs a program: one number per setting, measured run by run.
 */
#ifndef FL_RUNTIME_BENCH_H
#define FL_RUNTIME_BENCH_H

#include "runtime/bench_work.h"
#include "runtime/measured_rows.h"

typedef struct fl_bench {
    fl_program program;      /* FL_PROGRAM_PREDICT or FL_PROGRAM_TRAIN */
    int64_t batch;           /* rows of a run; at most those of `rows` */
    const fl_measured *rows; /* taken in order, round and round; a last part smaller than a batch is left out */
    double seconds;          /* to measure, after a third of it (at least 5 runs) to warm up and a fifth for the machine */
    const char *level;       /* of vector instructions, for the machine's limits (machine_limits.h) */
} fl_bench;

/* A segment of the program, and which part of the time that workers spent in segments it took. */
typedef struct fl_bench_segment {
    fl_id node;   /* the one with the most arithmetic, to name the segment by */
    double share;
} fl_bench_segment;

typedef struct fl_bench_result {
    int64_t runs;
    double least, p25, p50, p75, p99, most; /* seconds of a run: quartiles, 99th percentile */
    double mean;
    double samples_per_second; /* batch by median time: of a run, or when training of windows of 10 steps */
    fl_work work;              /* look_ups are NULL */
    fl_limits limits;          /* measured between warming up and the runs */
    double share;              /* of the machine's limit: samples_per_second beside the slowest of `limits` */
    fl_bench_segment *segments; /* [n_segments] in the program's order, from further runs; malloc'ed; none of the interpreter */
    uint32_t n_segments;
} fl_bench_result;

/*
 * All rows that are looked up are touched once, then runs warm up, then limits and runs are measured. A run's time is from the call with rows in memory to its end; reading and copying rows into the batch are outside. Weights change in
 * training runs. The caller frees out->segments.
 */
FL_MUST_USE fl_status fl_bench_run(fl_session *s, const fl_bench *b, fl_bench_result *out, fl_diag *dg);

#endif
