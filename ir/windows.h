/*
 * windows.h -- which slots' distinct rows can be made and summed over a window of slots at a time.
 *
 * Work on slots makes values of distinct rows (copies of a table's rows, their products), and pools sum them up for the rows of the batch. Where all
 * slots' values together are more than the caches hold, they are written to memory and read back. A pool's sum goes on where it stopped, so slots may come
 * in windows: [from, to) are made, then each batch row's sums of them are added to the sums so far, then the next slots. The order of every sum stays as it
 * was, and so do bits, whatever the windows are; the runtime chooses them, and one window of all slots is what the schedule says.
 *
 * Code generator and runtime both find this by the graph and its schedule; it is stored nowhere.
 */
#ifndef FL_IR_WINDOWS_H
#define FL_IR_WINDOWS_H

#include "ir/schedule.h"

/* Fewer slots' rows stay in the second cache or near it. */
#define FL_MANY_SLOTS 64

typedef struct fl_windows {
    uint32_t segment; /* which makes the slots' values, in the phase before the pools'; FL_NONE: there is nothing to be had */
    int64_t slots;
    fl_dim rows;      /* the symbol that counts the distinct rows */
    fl_id *pools;     /* FieldPools of such values, all of which go window by window */
    uint32_t n_pools;
    int64_t *at;      /* [n_pools]: first of a pool's sums among those of a batch row */
    int64_t sums;     /* floats of a batch row: all pools' */
    int64_t row_bytes; /* that pools read for each distinct row */
    bool *reused;     /* [n_values]: read by nobody else, so the next window's rows take the place of this one's */
} fl_windows;

/* From `arena`; false if it is out of memory. */
bool fl_windows_find(const fl_graph *g, fl_arena *arena, fl_windows *out);
/* The pool's place in `pools`; FL_NONE: it is none of them. */
uint32_t fl_windows_pool(const fl_windows *w, fl_id node);

#endif
