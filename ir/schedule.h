/*
 * schedule.h -- how a program runs: segments, phases, and where every value lives. Made by the passes `segment` and
 * `plan-memory`, read by the code generator and by the runtime, stored with the program (ir/README.md, "Schedule").
 *
 * A program is a list of phases; a phase is a list of segments that do not depend on each other; between phases all
 * workers meet at a barrier. A segment is one generated function over a domain, and is cut into calls that may run on any
 * worker in any order: no two calls write the same memory, and a call's arithmetic does not depend on where the cuts are.
 * That is why results have the same bits for any number of threads.
 */
#ifndef FL_IR_SCHEDULE_H
#define FL_IR_SCHEDULE_H

#include "ir/graph.h"

/* At most so many rows in one call of a FL_DOMAIN_ROWS segment; scratch is sized for it. */
#define FL_TILE_ROWS 64

/* What UniqueRows, MergeRows and EmbeddingBagGrad need at the start of the scratch of their segment, in turn. */
#define FL_HASH_BYTES     256
#define FL_HASH_ROW_BYTES 80

/* Scratch of a slot is counted in lines for each row that the slot may have. */
#define FL_SCRATCH_LINE 64

typedef enum fl_domain {
    FL_DOMAIN_ONE,  /* one call, (0, 1): scalars, small vectors, sums over the batch, serial work */
    FL_DOMAIN_ROWS, /* rows [begin, end) of dimension 0, whose extent is `dim`; end - begin <= FL_TILE_ROWS; all at once if they are static and no more */
    FL_DOMAIN_SLOTS /* slots [begin, end) of a UniqueRows; a call does all distinct rows of its slots, and of [slots * n, ...] the n rows of each */
} fl_domain;

typedef struct fl_segment {
    const char *symbol; /* of the generated function */
    fl_domain domain;
    fl_dim dim;   /* ROWS: extent of dimension 0, a symbol or static; SLOTS: number of slots, static; ONE: 1 */
    fl_id count;  /* SLOTS: the int32[slots] count output of UniqueRows or MergeRows; FL_NONE elsewhere */
    uint32_t phase;
    fl_id *nodes; /* in order */
    uint32_t n_nodes;
    /*
     * Scratch of one worker: bytes + row_bytes * extent of scratch_dim. For hash tables and what else nodes keep there for a while,
     * bytes = FL_HASH_BYTES and row_bytes = FL_HASH_ROW_BYTES for each row of the UniqueRows index, of D' for MergeRows
     * (which has a segment to itself), or of the values whose bags EmbeddingBagGrad looks up.
     */
    int64_t scratch_bytes, scratch_row_bytes;
    fl_dim scratch_dim; /* the dimension that scratch_row_bytes counts; 0 if none */
} fl_segment;

typedef enum fl_storage_kind {
    FL_STORAGE_NONE,  /* never in memory: erased values; scalars of Constant nodes; unused outputs */
    FL_STORAGE_BUFFER, /* ctx->buffer[buffer] */
    FL_STORAGE_SCRATCH /* the calling worker's scratch, row (i - begin) of a tile, or row i of a slot counted from the slot's first */
} fl_storage_kind;

/*
 * Element (i, j) of a value, i the index of dimension 0 and j of the rest row-major, lies at
 *     base + (offset + i * row_stride + j) * size of its dtype
 * with base = ctx->buffer[buffer] or the scratch; in segments over slots, whose values have as many rows as their slot,
 * scratch + FL_HASH_BYTES + buffer * FL_SCRATCH_LINE * extent of scratch_dim. Values of rank 0 and of FL_DOMAIN_ONE vectors [n] are one row:
 * element j lies at base + (offset + j) * size. Views (Reshape, Split, Concat's operands, ...) share their owner's buffer.
 * FL_STRIDE_OF_BUFFER: the stride is ctx->stride[buffer] at run time (variables lie in records). Generated code takes
 * it for any variable; it is meant for tables, their optimiser state and whatever else Gather or ScatterND address by
 * row. A variable of rank 1 with that stride is read element by element: small ones (biases) are better given
 * row_stride 1 and kept dense by the runtime. Rank 1 values that are no variables: element i lies at offset + i *
 * row_stride if their dimension is a symbol, at offset + i if it is static.
 *
 * A view (Reshape, Split, Slice, Concat's operands, Identity, ...) costs nothing where its storage says the same bytes as its
 * input's: same buffer, fitting offset and stride; elsewhere it is emitted as a copy. The output of ScatterND has the storage
 * of its first operand. A variable's next value has the variable's storage.
 */
typedef struct fl_storage {
    fl_storage_kind kind;
    uint32_t buffer;    /* SCRATCH of slots: lines of each row before it; of tiles: 0 */
    int64_t offset;     /* in elements */
    int64_t row_stride; /* in elements */
} fl_storage;
#define FL_STRIDE_OF_BUFFER (-1)
/* Dimensions behind the first are known at run time only: row-major without gaps, from offset 0 of a buffer that holds these elements and no more. */
#define FL_STRIDE_DENSE     (-3)
/* A matrix by columns: element (i, j) at offset + j * rows + i. The inverse of UniqueRows, which slots write and batch rows read. */
#define FL_STRIDE_COLUMNS   (-2)

#define FL_ROW_OF_RUN (-1)

typedef enum fl_buffer_kind {
    FL_BUFFER_INPUT,    /* given by the caller: dense, row-major */
    FL_BUFFER_VARIABLE, /* of the session's store; rows `ctx->stride` apart */
    FL_BUFFER_CONSTANT, /* the constant's bytes */
    FL_BUFFER_ARENA     /* of the session's arena; 64-byte aligned */
} fl_buffer_kind;

typedef struct fl_buffer {
    fl_buffer_kind kind;
    fl_id value;          /* INPUT, VARIABLE, CONSTANT: which; ARENA: the first value that lives here */
    fl_dtype dtype;
    fl_dim rows;          /* ARENA: extent of dimension 0; 1 for row-less values */
    int64_t row_elements; /* ARENA: elements of a row; FL_ROW_OF_RUN: as many as the run's extents of `value` say */
    uint32_t first_phase, last_phase; /* ARENA: live from .. to; buffers of disjoint lives may share memory */
} fl_buffer;

struct fl_schedule {
    fl_segment *segments; /* ordered by phase */
    uint32_t n_segments, n_phases;
    fl_storage *storage; /* one per value of the graph */
    uint32_t n_storage;
    fl_buffer *buffers;
    uint32_t n_buffers;
    /*
     * A symbol that counts distinct rows is bound by the runtime to the capacity of its UniqueRows: elements of the index
     * (the sum of its operands' for MergeRows). capacity[s] = product, or sum, of these dims; 0 dims for symbols bound from inputs.
     */
    struct {
        fl_dim *dims;
        uint32_t n_dims;
        bool sum;
    } *capacity; /* one per symbol of the graph; several UniqueRows never share a symbol */
    uint32_t n_capacity;
};

/* One JSON object with all of it, values by name; arena-allocated. NULL if out of memory. */
const char *fl_schedule_print(const fl_graph *g, fl_arena *arena);
/* The inverse: sets g->schedule. FL_BAD_INPUT (reported) for anything inconsistent with the graph. */
FL_MUST_USE fl_status fl_schedule_parse(fl_graph *g, const char *json, fl_loc loc, fl_diag *dg);

#endif
