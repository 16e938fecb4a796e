/*
 * native.h -- the engine that runs generated code: memory for one program, and its phases over the workers.
 *
 * All memory is taken when the engine is made, for the largest extents that are announced; a run with larger ones takes
 * more first, any other run neither allocates nor calls the system. Results do not depend on the number of workers
 * (ir/schedule.h).
 */
#ifndef FL_RUNTIME_NATIVE_H
#define FL_RUNTIME_NATIVE_H

#include "ir/schedule.h"
#include "runtime/abi.h"
#include "runtime/engine.h"
#include "runtime/threads.h"

/* Loaded code: an image of the code generator, mapped. */
typedef struct fl_image fl_image;

/* Load the image behind a file descriptor, which then belongs to the code. `name` is for diagnostics. */
FL_MUST_USE fl_status fl_image_load_fd(int fd, const char *name, fl_image **out, fl_diag *dg);
/* Load n bytes of an image; they may be freed afterwards. */
FL_MUST_USE fl_status fl_image_load_bytes(const void *bytes, size_t n, const char *name, fl_image **out, fl_diag *dg);
/* NULL if the image has no such function. */
fl_segment_fn *fl_image_find(const fl_image *code, const char *symbol);
void fl_image_free(fl_image *code); /* NULL is fine */

typedef struct fl_native_options {
    fl_pool *pool;           /* borrowed; NULL: the caller's thread alone */
    const int64_t *max_dims; /* one per symbol of the graph: largest extents expected; NULL: none announced */
    bool timed;              /* the code leaves stamps */
    uint64_t max_bytes;      /* that the engine's memory may take; 0: any. Beyond it FL_E_MEMORY_LIMIT, before anything is taken */
} fl_native_options;

/* A call of a segment that is over. */
typedef struct fl_native_call {
    uint32_t worker, segment;
    int64_t begin, end;     /* of the segment's domain */
    uint64_t from, to;      /* ticks (ticks.h) around the call */
    const fl_stamp *stamps; /* [n_stamps] that timed code left, between from and to */
    size_t n_stamps;
    const void *scratch;    /* as the call left it */
} fl_native_call;

/* Who watches runs. Its functions take time between calls, never within their ticks. */
typedef struct fl_native_observer {
    void *arg;
    /* NULL, or told of each call, on the worker that made it. */
    void (*called)(void *arg, const fl_native_call *call);
    /* NULL, or told that a worker stood at the barrier behind `phase`. */
    void (*waited)(void *arg, uint32_t worker, uint32_t phase, uint64_t from, uint64_t to);
    /*
     * If not NULL one worker does all, and this is told when a phase's values lie in memory and the next phase has not begun. Elements that
     * nobody writes (of slots that have fewer rows than there is room for) are 0 then.
     */
    void (*phase_over)(void *arg, uint32_t phase);
} fl_native_observer;

/* Watch the runs of an engine of this header from now on; NULL: no longer. The observer is borrowed. */
void fl_native_observe(fl_engine *e, const fl_native_observer *observer);
/* The type of a value with the extents of this run. */
fl_type fl_native_value_type(const fl_engine *e, fl_id value);
/*
 * For observers: the elements, dense, of a value that the schedule gives a place. In a buffer: all of it, call NULL. In scratch: rows
 * [begin, end) of the call, to their place in `to`, which has room for all rows.
 */
void fl_native_value_copy(const fl_engine *e, fl_id value, const fl_native_call *call, void *to);

/*
 * An engine for g, which is scheduled. `code` belongs to the engine from here on, also on failure. Reports: a variable that the store lacks or
 * has otherwise; a function that the image lacks.
 */
FL_MUST_USE fl_status fl_native_engine_new(const fl_graph *g, const fl_store *store, fl_image *code,
                                           const fl_native_options *options, fl_engine **out, fl_diag *dg);
/* The same with functions in the order of the schedule's segments. */
FL_MUST_USE fl_status fl_native_engine_from(const fl_graph *g, const fl_store *store, fl_segment_fn *const *functions,
                                            const fl_native_options *options, fl_engine **out, fl_diag *dg);
/* Bytes of the engine's arena and scratch. */
size_t fl_native_engine_bytes(const fl_engine *e);

#endif
