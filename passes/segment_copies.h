/*
 * segment_copies.h -- copies that are made before segments are cut: rows that need not be kept, and values that would not keep.
 */
#ifndef FL_PASSES_SEGMENT_COPIES_H
#define FL_PASSES_SEGMENT_COPIES_H

#include "passes/pass.h"

/*
 * A training step copies a table's distinct rows, sums them for the batch, and needs them once more when gradients are there. With many slots all copies together are
 * more than caches hold, while a slot's rows have to be met again anyway, to be updated: what depends on sums of a copy reads a copy of its own, which lives in
 * the slot's scratch; the first one is read by the sums alone, and slots may come in windows (ir/windows.h). Before segments are cut; needs ORDER, which is
 * to be made again. FL_NO_MEMORY is reported.
 */
FL_MUST_USE fl_status fl_copy_rows_again(fl_graph *g, fl_pass_ctx *cx);

/*
 * An output that is a view of a variable would show the variable's next value, which is written over the old one: it becomes a copy. False if out of memory. Nodes are
 * to be sorted again.
 */
FL_MUST_USE bool fl_copy_shown_variables(fl_graph *g);

#endif
