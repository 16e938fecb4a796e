/*
 * llvm_build.h -- what the emitters write IR with: types, arithmetic, loops, addresses of the schedule's values.
 *
 * Names: v_ LLVM values, b_ blocks, l_ helpers that build IR. IR is emitted as SSA and goes to the instruction selector
 * without a single LLVM pass: what should stand outside a loop is built outside of it, what should be fused is an explicit
 * llvm.fma, sums have the order in which they are written. No fast-math flag is ever set. Vectors have 16 lanes and are
 * split by the instruction selector where registers are narrower, so that bits do not depend on the machine.
 */
#ifndef FL_BACKEND_LLVM_BUILD_H
#define FL_BACKEND_LLVM_BUILD_H

#include "backend/codegen.h"
#include "ir/windows.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#define L_LANES 16

/* Where a value lies, within the function that is being emitted (llvm_abi.c). */
typedef struct l_place {
    LLVMValueRef v_base;       /* address of element (0, 0); NULL: not looked up yet */
    LLVMValueRef v_row_stride; /* elements between rows, i64 */
    int64_t row_stride;        /* the same where it is known now, else -1 */
    LLVMValueRef v_column_stride; /* by columns: elements between those of a row, i64; NULL: 1 */
} l_place;

typedef struct fl_gen {
    const fl_graph *g;
    const fl_schedule *schedule;
    fl_diag *dg;
    fl_arena arena;  /* of the compilation */
    fl_windows windows; /* of slots */
    uint32_t *uses;  /* reads of each value by nodes, outputs and updates */
    fl_status status; /* first failure inside an emitter; emitting goes on, the module is thrown away */
    struct l_names *names; /* llvm_names.h; NULL for images */
    bool timed;            /* segments leave stamps */

    /* target */
    const char *cpu;
    bool has_fma;
    unsigned n_registers;    /* vector registers */
    unsigned register_lanes; /* floats in one */

    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b, entry; /* entry: always at the end of the entry block, for what is computed once a call */
    LLVMBuilderRef slot;     /* the same, once a slot; SLOTS only */
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr;
    LLVMValueRef loop_metadata;

    /* segment */
    const fl_segment *segment;
    fl_dim row_dim; /* ROWS: its rows; SLOTS: the distinct rows; ONE: 0, that is no dimension */
    LLVMValueRef v_fn, v_ctx, v_scratch, v_begin, v_end;
    LLVMValueRef v_stamps;             /* timed: ctx->stamps; NULL: not loaded yet */
    LLVMValueRef v_slot, v_first_row;  /* SLOTS: the current slot; its first row */
    LLVMValueRef v_row_from, v_row_to; /* rows of row_dim that are being made */
    l_place *places;                   /* one per value */
    LLVMValueRef *v_buffers;           /* ctx->buffer[i], one per buffer */
    LLVMValueRef *v_dims;              /* ctx->dim[i], one per symbol */
    LLVMValueRef v_pack;               /* emit_product.c: a buffer on the stack */
    bool *sparse;                      /* [n_values] fl_find_sparse_tiles */
    bool *emitted;                     /* nodes of the segment that are done already, with another */
    bool part;                         /* ROWS: sums of a window of slots alone are being written */
    bool fetched;                      /* the segment's far rows are under way (l_fetch_rows) */
} fl_gen;

/* -- types and constants -- */
LLVMTypeRef l_type(fl_gen *gen, fl_dtype dtype);        /* in registers: bool is i1, a 16-bit float a float */
LLVMTypeRef l_memory_type(fl_gen *gen, fl_dtype dtype); /* in memory: bool is i8, a 16-bit float i16 */
/* Floats in registers: 16-bit floats are. */
static inline bool l_is_real(fl_dtype t)
{
    return t == FL_FLOAT || t == FL_DOUBLE || t == FL_FLOAT16 || t == FL_BFLOAT16;
}
LLVMTypeRef l_vector(LLVMTypeRef element, unsigned n); /* the element itself for n = 1 */
LLVMValueRef l_i64(fl_gen *gen, int64_t i);
LLVMValueRef l_i32(fl_gen *gen, uint32_t i);
LLVMValueRef l_f32(fl_gen *gen, double f);
/* `f` in every element of a value of type `t`, a scalar or vector of numbers. */
LLVMValueRef l_number(LLVMTypeRef t, double f);
LLVMValueRef l_integer(LLVMTypeRef t, uint64_t i);
/* v in n lanes. */
LLVMValueRef l_splat(fl_gen *gen, LLVMValueRef v, unsigned n);
unsigned l_width(LLVMTypeRef t); /* lanes; 1 for scalars */
LLVMTypeRef l_element(LLVMTypeRef t);

/* -- arithmetic -- */
/* Overloaded intrinsic `name` ("llvm.fma") for operands of the first one's type. */
LLVMValueRef l_intrinsic(fl_gen *gen, const char *name, const LLVMValueRef *args, unsigned n);
/* a * b + c, rounded once; without FMA in the target rounded twice. */
LLVMValueRef l_fma(fl_gen *gen, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
/* The sum of all lanes by halves: (0+8, 1+9, ...), then 4, 2, 1. */
LLVMValueRef l_sum_lanes(fl_gen *gen, LLVMValueRef v);
/* Larger, smaller; NaN if either is. */
/* Lanes [from, from + n) of a vector, n > 1. */
LLVMValueRef l_lanes(fl_gen *gen, LLVMValueRef v, unsigned from, unsigned n);
/* The larger or smaller of two values of this type; NaN if either is. uint8 compares without sign. */
LLVMValueRef l_extreme(fl_gen *gen, fl_dtype dtype, bool larger, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef l_max(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef l_min(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);
/* i64 arithmetic that folds the easy cases. */
LLVMValueRef l_add(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef l_mul(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef l_min_i64(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef l_max_i64(fl_gen *gen, LLVMValueRef a, LLVMValueRef b);

/* -- memory -- */
/* Address of element `v_index` (i64) of an array of `dtype`. */
LLVMValueRef l_at(fl_gen *gen, fl_dtype dtype, LLVMValueRef v_base, LLVMValueRef v_index);
LLVMValueRef l_load(fl_gen *gen, fl_dtype dtype, LLVMValueRef v_address, unsigned n);
void l_store(fl_gen *gen, fl_dtype dtype, LLVMValueRef v, LLVMValueRef v_address);
void l_prefetch(fl_gen *gen, LLVMValueRef v_address);

/* -- control -- */
LLVMBasicBlockRef l_block(fl_gen *gen, const char *name);
/* A branch to a fresh block: instruction selection is quadratic in the length of a block. */
void l_break_block(fl_gen *gen);

enum { L_MAX_CARRY = 64 };
/*
 * for (i = from; i < to; i += step): tested at the end, with a guard in front unless it surely runs once. Values carried
 * round it are phis:
 *     l_loop_begin(gen, &loop, from, to, 1); acc = l_carry(gen, &loop, zero); ...; l_next(&loop, 0, sum); l_loop_end(gen, &loop);
 *     loop.v_result[0]
 * All l_carry come before anything else in the body.
 */
typedef struct l_loop {
    LLVMValueRef v_i, v_to, v_step;
    LLVMBasicBlockRef b_before, b_body, b_exit;
    bool guarded;
    unsigned n;
    LLVMValueRef v_first[L_MAX_CARRY], v_phi[L_MAX_CARRY], v_next[L_MAX_CARRY], v_result[L_MAX_CARRY];
} l_loop;
void l_loop_begin(fl_gen *gen, l_loop *loop, LLVMValueRef v_from, LLVMValueRef v_to, int64_t step);
LLVMValueRef l_carry(fl_gen *gen, l_loop *loop, LLVMValueRef v_first);
void l_next(l_loop *loop, unsigned i, LLVMValueRef v);
void l_loop_end(fl_gen *gen, l_loop *loop);

/* if (v) { ... } without values that leave it. */
typedef struct l_if {
    LLVMBasicBlockRef b_end;
} l_if;
void l_if_begin(fl_gen *gen, l_if *branch, LLVMValueRef v);
void l_if_end(fl_gen *gen, l_if *branch);

/* -- widths -- */
/* Widest power of two <= L_LANES that fits into `n` > 0 elements. */
unsigned l_chunk(int64_t n);
enum { L_MAX_VECTORS = 8 };
/* Neighbouring columns of a row as vectors, widest first. */
typedef struct l_strip {
    unsigned n; /* vectors */
    unsigned width[L_MAX_VECTORS];
    int64_t at[L_MAX_VECTORS]; /* column of each, within the strip */
    int64_t columns;
    unsigned registers; /* that one row of it takes */
} l_strip;
/* Vectors for the first of `columns` > 0 columns, in at most `max` registers. */
l_strip l_strip_of(const fl_gen *gen, int64_t columns, unsigned max);
/*
 * A row of `columns` columns strip by strip, in a loop where two or more strips are alike: emit(arg, strip, column it starts at)
 * for each. Nothing may be carried from one strip to the next.
 */
void l_strips(fl_gen *gen, int64_t columns, unsigned max, void (*emit)(void *arg, const l_strip *s, LLVMValueRef v_column),
              void *arg);

/* -- the schedule's values (llvm_abi.c) -- */
const l_place *l_place_of(fl_gen *gen, fl_id value);
/* Elements between neighbours of dimension d, i64. */
LLVMValueRef l_stride(fl_gen *gen, fl_id value, int d);
/* Address of element (row, rest). */
LLVMValueRef l_element_address(fl_gen *gen, fl_id value, LLVMValueRef v_row, LLVMValueRef v_rest);
/* Extent of a dimension. */
LLVMValueRef l_extent(fl_gen *gen, fl_dim dim);
/* Rows of dimension `dim` that the current call makes: the domain's part, or all. */
void l_rows(fl_gen *gen, fl_dim dim, LLVMValueRef *v_from, LLVMValueRef *v_to);
/* Elements of one row: the product of dimensions 1 and up, which are static; 1 for ranks 0 and 1; -1 if symbolic. */
int64_t l_row_elements(const fl_type *t);
/* Product of all dimensions as i64. */
LLVMValueRef l_elements(fl_gen *gen, const fl_type *t);
/* No gaps between rows. */
bool l_is_dense(const fl_gen *gen, fl_id value);
/* True if both values' bytes are the same: view's element (i, j) is at of's (i, j + offset elements). */
bool l_same_place(const fl_gen *gen, fl_id view, fl_id of, int64_t offset);
/* A scalar value as immediate or loaded in the entry block; converted to nothing. */
LLVMValueRef l_scalar(fl_gen *gen, fl_id value);
/* A member of the context, i64 or an address; in the entry block. */
LLVMValueRef l_context_i64(fl_gen *gen, size_t field);
LLVMValueRef l_context_address(fl_gen *gen, size_t field);
/* Timed code: a stamp that says that nodes [first, end) of the segment are done. */
void l_stamp(fl_gen *gen, uint32_t first, uint32_t end);
/* Slots of the segment's domain: rows [v_from, v_to) of slot v_slot are set up as the current rows. */
void l_slot_rows(fl_gen *gen, LLVMValueRef v_slot);

/* Record that `node` cannot be emitted. */
void l_unsupported(fl_gen *gen, fl_id node, const char *reason);

#endif
