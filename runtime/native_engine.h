/*
 * native_engine.h -- the state of one engine of native.h, for the files that it is written in: extents and memory (native_memory.c), how it is made and runs (native.c).
 */
#ifndef FL_RUNTIME_NATIVE_ENGINE_H
#define FL_RUNTIME_NATIVE_ENGINE_H

#include "ir/windows.h"
#include "runtime/memory.h"
#include "runtime/native.h"
#include "runtime/native_extents.h"

#include <stdatomic.h>

typedef struct fl_native_symbol {
    uint32_t symbol;
    int64_t max, was; /* extent that memory was taken for, and before it grew */
} fl_native_symbol;

/* Where an output's elements are when the phases are over. */
typedef struct fl_native_output {
    const uint8_t *bytes; /* of storage NONE: dense constant; else NULL */
    uint32_t buffer;
    int64_t offset, row_stride; /* in elements; row_stride FL_STRIDE_OF_BUFFER as in the schedule */
    bool one_row;               /* elements lie side by side whatever the shape says */
} fl_native_output;

/* A counter in a cache line of its own. */
typedef struct fl_native_counter {
    _Alignas(64) _Atomic int64_t next;
} fl_native_counter;

/* What one worker's code writes its stamps through, in a cache line of its own. */
typedef struct fl_native_stamps {
    _Alignas(64) fl_stamps at;
    fl_ctx ctx; /* the engine's, with these stamps */
    fl_stamp *first;
} fl_native_stamps;

/*
 * What workers do between two barriers: tasks of the segments of a phase. Slots that come in windows (ir/windows.h) are made window by window, each followed by
 * its sums for all rows of the batch; what else their phase and the next one have to do is done with the first window and with the last.
 */
typedef struct fl_native_round {
    uint32_t phase;
    const fl_ctx *ctx;
    bool first, last; /* of the phase's rounds */
} fl_native_round;

typedef struct fl_native_engine {
    fl_engine base; /* first: the engine's address is this struct's */
    const fl_graph *g;
    const fl_schedule *schedule;
    fl_image *code;
    fl_segment_fn **functions; /* [n_segments] */
    fl_pool *pool;
    uint32_t n_workers;
    fl_arena memory; /* everything below that is not pages */
    void **buffer;
    int64_t *stride, *dim;
    fl_ctx ctx;
    fl_native_stamps *stamps; /* [n_workers] of timed code; else NULL */
    const fl_native_observer *observer;
    fl_native_symbol *symbols; /* those that a run binds */
    uint32_t n_symbols, n_equal;
    fl_equal_extents *equal;
    uint32_t *phase_first;  /* [n_phases + 1]: segments of a phase */
    int64_t *tasks;         /* [n_segments] of this run */
    fl_windows windows;
    bool *has_pools;         /* [n_segments]: some of its nodes go window by window */
    fl_ctx *window;          /* [windows.slots]: ctx of each window of this run */
    fl_native_round *rounds; /* [n_phases + 2 * windows.slots] */
    uint32_t n_rounds;
    double slot_rows;        /* distinct rows of a slot, as the run before had them; 0: not known yet */
    const float *no_sums;    /* [windows.sums] zeros */
    float *sums;             /* in pages: those of all rows of the batch, windows.sums each */
    double *row_ns;         /* [n_segments] guessed time of a row */
    fl_native_counter *counter; /* [2][n_workers]: tasks of a round that begin with a worker; of even rounds and of odd ones */
    fl_native_output *outputs;   /* [n_outputs] */
    size_t *offset;         /* [n_buffers] of arena buffers */
    fl_pages pages;         /* arena, sums, then scratch of each worker */
    size_t arena_bytes, scratch_bytes;
    size_t max_bytes; /* that pages may take */
} fl_native_engine;

/* The extent of a dimension in this run. */
int64_t fl_native_extent(const fl_native_engine *n, fl_dim d);
/* Elements behind dimension 0; -1 if they are beyond any number. */
int64_t fl_native_row_elements(const fl_native_engine *n, const fl_type *t);
/* Capacities follow from the extents of inputs in n->dim. */
void fl_native_bind_capacities(fl_native_engine *n);
/* Bytes of an arena buffer at the extents in n->dim; SIZE_MAX if they are beyond any memory. */
size_t fl_native_buffer_bytes(const fl_native_engine *n, const fl_buffer *b);
/* (Re)allocate for the extents in n->symbols[].max. */
FL_MUST_USE fl_status fl_native_take_memory(fl_native_engine *n, fl_diag *dg);

#endif
