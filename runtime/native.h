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
} fl_native_options;

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
