/*
 * abi.h -- all that generated code knows of the process it runs in.
 *
 * Offsets into these structures are baked into cached code: a change here must change FL_ABI_VERSION.
 */
#ifndef FL_RUNTIME_ABI_H
#define FL_RUNTIME_ABI_H

#include <stdint.h>

#define FL_ABI_VERSION 3

/*
 * A moment of a segment's call. `part`: the nodes that were at work since the stamp before, positions [first, end) in the segment's list, as
 * first + (end << 32); first = end at the start of a call and of each slot.
 */
typedef struct fl_stamp {
    uint64_t ticks; /* of the processor's time stamp counter */
    uint64_t part;
} fl_stamp;

/* Where a worker's code writes its stamps. */
typedef struct fl_stamps {
    fl_stamp *next;
} fl_stamps;

typedef struct fl_ctx {
    void *const *buffer;   /* one per fl_buffer of the program's schedule */
    const int64_t *stride; /* elements between rows, one per buffer */
    const int64_t *dim;    /* extents, one per symbol of the program's graph */
    /*
     * Slots in windows (ir/windows.h): work on slots puts the rows of slot i at the place of slot i - window_from, where nobody needs them later; pools
     * begin with the sums that sums_in holds, a batch row's all at + row * sums_stride, and add those of slots [window_from, window_to). Up to
     * the last slot: the sums are results. Otherwise rows of the batch do nothing else, and sums go to sums_out.
     */
    int64_t window_from, window_to;
    const float *sums_in;
    int64_t sums_stride; /* 0: sums_in is one row of zeros, for all */
    float *sums_out;
    fl_stamps *stamps;     /* read by timed code alone: room for 1 + n_nodes of the segment, for each slot of the call */
} fl_ctx;

/*
 * A segment. `scratch` is private to the calling worker, 64-byte aligned. [begin, end): rows, slots, or (0, 1).
 * Reads and writes only what the schedule says; keeps no state; cannot fail.
 */
typedef void fl_segment_fn(const fl_ctx *ctx, void *scratch, int64_t begin, int64_t end);

#endif
