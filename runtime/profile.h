/*
 * profile.h -- where the time of a program goes: per part and per segment, as timed code tells.
 *
 * A part is what a segment has code for: one node, or several that one loop nest holds. A part's time is from the stamp before it to its own; a call's
 * is measured around it and holds besides its parts what the function does before the first stamp. A step's is from the call with rows in
 * memory to results in memory. Steps of plain code run in between, one for each, so that what measuring costs is known.
 *
 * A step that takes more than twice the median of those that warmed up was disturbed by somebody else on the machine and is left out, since its time would be booked on whoever
 * was at work; if there are as many such steps as were asked for, the rest is taken as it comes.
 */
#ifndef FL_RUNTIME_PROFILE_H
#define FL_RUNTIME_PROFILE_H

#include "runtime/measured_rows.h"

typedef enum fl_profile_kind {
    FL_PROFILE_PLAIN, /* a step of plain code */
    FL_PROFILE_STEP,
    FL_PROFILE_CALL,
    FL_PROFILE_PART,
    FL_PROFILE_WAIT
} fl_profile_kind;

typedef struct fl_profile_event {
    fl_profile_kind kind;
    uint32_t worker, segment;  /* PLAIN, STEP: worker 0, who also calls */
    uint32_t first, n_nodes;   /* PART: nodes [first, first + n_nodes) of the segment */
    int64_t begin, end;        /* CALL: of the segment's domain; PLAIN, STEP: number, from 0; WAIT: phase */
    uint64_t from, to;         /* nanoseconds since measuring began */
} fl_profile_event;

typedef struct fl_profile_part {
    uint32_t first, n_nodes;
    uint64_t calls;
    double ns;
} fl_profile_part;

typedef struct fl_profile_segment {
    uint64_t calls;
    double ns;
    fl_profile_part *parts; /* in order; nodes in none have no code: views of memory, scalars inside of other code */
    uint32_t n_parts;
} fl_profile_segment;

typedef struct fl_profile {
    const fl_graph *g; /* the session's */
    fl_program program;
    int64_t batch, steps;
    int64_t disturbed;            /* further steps, left out */
    uint32_t workers;             /* of the session; those that a step used may be fewer */
    fl_profile_segment *segments; /* as the schedule's */
    double step_ns;               /* sum of all steps */
    double worker_ns;             /* the same times the workers that took part; segments, waits and the rest make it up */
    double wait_ns;
    double median_ns, plain_ns;   /* median of a step, and of one of plain code */
    fl_profile_event *events;     /* by worker, then by time, those that hold others first */
    size_t n_events;
    int64_t traced;               /* steps that events are of: the first ones */
} fl_profile;

typedef struct fl_profile_options {
    fl_program program;   /* FL_PROGRAM_PREDICT or FL_PROGRAM_TRAIN */
    int64_t batch;        /* rows of a step; at most those of `rows` */
    const fl_measured *rows; /* taken in order, round and round */
    int64_t steps;        /* measured, after a few to warm up */
    int64_t traced;       /* at most so many of them keep their events */
} fl_profile_options;

/* Training steps change weights. Not for a session that interprets. */
FL_MUST_USE fl_status fl_profile_run(fl_session *s, const fl_profile_options *o, fl_profile *out, fl_diag *dg);
void fl_profile_deinit(fl_profile *p); /* a zeroed one is fine */

/* Time of all parts of a segment. */
double fl_profile_parts_ns(const fl_profile_segment *s);
/* What people call a node: its first result. */
const char *fl_profile_node_name(const fl_graph *g, fl_id node);
/* "ROWS" ... in words: "rows", "slots", "once". */
const char *fl_profile_domain(fl_domain d);
/* Names, or else operators (each once), of the nodes of a part, with `between`; as many as fit, then "and N more". */
void fl_profile_part_text(const fl_profile *p, uint32_t segment, uint32_t first, uint32_t n, bool names, char *text, size_t size);

/* -- what people read; FL_IO is found by whoever closes the stream -- */
/* A table: parts by time, segments in order, and what the rest is. profile_table.c */
void fl_profile_print(const fl_profile *p, FILE *f);
/* The same as JSON, an object a line: "segment", "part", "profile" events. profile_table.c */
void fl_profile_print_json(const fl_profile *p, FILE *f);
/* Chrome's trace format, a row for each worker; `model` is for the reader. profile_trace.c */
void fl_profile_trace(const fl_profile *p, const char *model, FILE *f);
/* One HTML page that needs nothing else: step, segments, parts, widths by time. profile_flame.c */
void fl_profile_flame(const fl_profile *p, const char *model, FILE *f);

#endif
