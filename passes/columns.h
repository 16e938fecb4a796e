/*
 * columns.h -- what the columns of a matrix are made of: look-ups, as far as they can be seen, and the rest.
 *
 * A product x W is linear in x, so each piece of x's columns meets the rows of W beside it and nothing else. That holds whatever x looks like in the graph: Concat,
 * Split, Slice and views move columns, a sum over slots is their rows with one weight, an Add is both its sides.
 */
#ifndef FL_PASSES_COLUMNS_H
#define FL_PASSES_COLUMNS_H

#include "passes/pass.h"

typedef enum fl_piece_kind {
    FL_PIECE_REST,    /* columns [from, from + n) of `value`, each row flattened */
    FL_PIECE_LOOK_UP, /* table[index[b, column]] (index [B,S]) or table[index[b]] (index [B]) */
    FL_PIECE_BAG,     /* node: an EmbeddingBag */
    FL_PIECE_VECTOR   /* `value` [n]: weights, the same for each row */
} fl_piece_kind;

typedef struct fl_piece {
    fl_piece_kind kind;
    int64_t at, n; /* columns [at, at + n) of x: rows of W */
    fl_id value;
    int64_t from;
    fl_id table, index, node;
    int64_t column;
    int64_t look_ups; /* for these rows of W: the slots of a field, else 1 */
} fl_piece;

typedef struct fl_pieces {
    fl_piece *list; /* in the order of x; pieces of a sum share columns */
    uint32_t n, room, visits;
    bool failed; /* too many, or out of memory */
} fl_pieces;

/* Which pieces the caller can use: others become the rest. */
typedef bool fl_piece_fits(const fl_graph *g, const fl_piece *piece, void *arg);

typedef struct fl_columns {
    const fl_graph *g;
    fl_arena *scratch;
    const bool *weights; /* [n_values]: fl_find_weights; used with through_sums only */
    uint32_t n_values;   /* that `weights` knows */
    fl_piece_fits *fits;
    void *arg;
    bool through_sums;   /* pieces of a sum of several columns (FieldPool, TablePool) and of an Add count */
} fl_columns;

/*
 * The pieces of x [B,...] whose rows, flattened, have a known width. Sums are taken apart only if nothing of them is a rest, because their product would be made all
 * the same. False if x has no such width, too many pieces, or no memory is left (scratch->failed).
 */
bool fl_columns_of(const fl_columns *c, fl_id x, fl_pieces *out);

/* Neighbouring columns of one value that are a rest become one piece; for callers that make pieces a rest. */
void fl_pieces_join_rests(fl_pieces *pieces);

/* x w (+ c): MatMul, or a Gemm without factors and transpositions. */
bool fl_is_plain_product(const fl_graph *g, fl_id node);

/* [n_values]: depends on variables and constants alone, by pure operators; NULL if out of memory. */
bool *fl_find_weights(const fl_graph *g, fl_arena *scratch);

/* Rows [from, from + n) of w, itself if that is all of it. */
fl_id fl_build_rows(fl_graph *g, fl_id w, int64_t from, int64_t n);
/* Columns [from, from + n) of a matrix, itself if those are all. */
fl_id fl_build_columns(fl_graph *g, fl_id x, int64_t from, int64_t n);
/* The columns that are a rest, as one matrix, and the rows of w for them: x W of these. Both FL_NONE if there is none. */
void fl_build_rest(fl_graph *g, const fl_pieces *pieces, fl_id w, fl_arena *scratch, fl_id *x_rest, fl_id *w_rest);

#endif
