/*
 * group.h -- what group.c knows of the loop nest that it writes.
 */
#ifndef FL_BACKEND_LLVM_GROUP_H
#define FL_BACKEND_LLVM_GROUP_H

#include "backend/llvm/emit.h"

enum { MAX_ACCESS = 96, BLOCK_COST = 64, TILE_CHUNKS = 4 };

typedef struct stride {
    int64_t s;      /* elements; 0: broadcast */
    LLVMValueRef v; /* at run time, instead of s; NULL: none */
} stride;

typedef struct access {
    fl_id value;
    fl_dtype dtype;
    LLVMValueRef v_base;
    stride by[FL_MAX_RANK];
    int index;           /* access that holds its row number; -1: none */
    stride index_stride; /* elements between the rows that the index counts */
    LLVMValueRef v_rows; /* how many they are, where a negative index counts from their end; NULL: there is none */
    bool store, is_index;
    bool of_row; /* stored once a row: a sum over the last dimension */
    int level;                /* deepest dimension that it depends on; -1: none */
    LLVMValueRef v_at;        /* address, as far as the open loops say */
    LLVMValueRef v_scalar;    /* loaded outside of the innermost loop; or the row number */
    LLVMValueRef v_chunk;     /* loaded for the current chunk */
} access;

typedef struct l_company {
    fl_gen *gen;
    uint32_t n; /* members */
    fl_id members[FL_GROUP_MAX];
    int rank;
    fl_dim dims[FL_MAX_RANK];
    LLVMValueRef v_from[FL_MAX_RANK], v_to[FL_MAX_RANK];
    int64_t extent[FL_MAX_RANK]; /* -1: at run time */
    access accesses[MAX_ACCESS];
    int n_accesses;
    int operand[FL_GROUP_MAX][FL_ELEMENT_MAX_IN]; /* access of each operand; -1 none; -2 - k: result of member k */
    int result[FL_GROUP_MAX];                     /* access that stores a result; -1: kept in registers */
    LLVMValueRef v_key[FL_GROUP_MAX], v_row_key[FL_GROUP_MAX]; /* RandomMask */
    int unit_access[FL_GROUP_MAX];                             /* RandomMask: its pseudo access */
    bool by_one;                                               /* chunks of one element */
    bool has_rows; /* dimension 0 is walked by a loop of its own */
    LLVMValueRef v_sum[FL_GROUP_MAX]; /* sums over the last dimension: the chunks so far */
    bool has_sums;
    LLVMValueRef v_tile[FL_GROUP_MAX][TILE_CHUNKS]; /* TileSums: the rows so far, a chunk of columns each */
    unsigned tile_registers; /* that these take; 0: there are none */
    unsigned cost;
} group;

/* An index of ours, which is never negative. */
bool l_is_place(const fl_graph *g, fl_id index);
/* What is known once the index of dimension d is: addresses move on, and values that depend on no further one are loaded. */
void l_enter_level(group *grp, int d, LLVMValueRef v_i);
/* Results of all members for `width` elements from place v_j of the innermost dimension, whose operands are loaded (v_chunk). */
void l_emit_members(group *grp, LLVMValueRef v_j, unsigned width, LLVMValueRef *v_results);

/* group_lanes.c: are rows that lie apart worth putting side by side, as much as there is to compute for each? */
bool l_goes_by_lanes(const group *grp);
/* Of elements [v_from, v_to) of the innermost dimension whole vectors; returns where the rest begins. */
LLVMValueRef l_emit_lanes(group *grp, LLVMValueRef v_from, LLVMValueRef v_to);

/* group_tiles.c */
bool l_is_tile_sum(const fl_gen *gen, fl_id node);
/* Registers for the sums of a tile that this call makes, if its rows are a few whole chunks and nobody reads what lies between tiles; else 0. */
unsigned l_tile_registers(const fl_gen *gen, fl_id node);
/* One more row of member k's tile: the chunk at v_j, which is a number known now. */
void l_add_to_tile(group *grp, uint32_t k, LLVMValueRef v_j, LLVMValueRef v);
/* Sums of the group's tiles go round the loop over their rows, and end in the first of these. */
typedef enum l_tile_step { L_BEGIN_TILES, L_NEXT_ROW, L_STORE_TILES } l_tile_step;
void l_over_tiles(group *grp, l_loop *loop, l_tile_step step);

#endif
