/*
 * emit.h -- the emitters and what they share.
 *
 * Two kinds (emitters.def). An *element* emitter turns one chunk of operand elements into one chunk of results; group.c puts
 * neighbouring nodes of one shape into one loop nest, in which values stay in registers. A *node* emitter writes a node's
 * own loops, for the rows that l_rows names.
 */
#ifndef FL_BACKEND_LLVM_EMIT_H
#define FL_BACKEND_LLVM_EMIT_H

#include "backend/llvm/llvm_build.h"

enum { FL_GROUP_MAX = 64, FL_ELEMENT_MAX_IN = 16 };

/* One chunk of a node's elements. */
typedef struct l_chunk_of {
    const fl_node *node;
    unsigned width;
    fl_dtype in_type[FL_ELEMENT_MAX_IN], out_type;
    LLVMValueRef v_in[FL_ELEMENT_MAX_IN]; /* each `width` wide; NULL: operand left out */
    LLVMValueRef v_row_key;               /* RandomMask: of this row, i64 */
    LLVMValueRef v_unit;                  /* RandomMask: place of the first element in its row, i64 */
    int64_t units;                        /* RandomMask: elements of a row */
} l_chunk_of;

typedef LLVMValueRef l_element_fn(fl_gen *gen, const l_chunk_of *e);
typedef void l_node_fn(fl_gen *gen, fl_id node);

#define FL_ELEMENT(id, fn) l_element_fn fl_element_##fn;
#define FL_EMIT(id, fn)    l_node_fn fl_emit_##fn;
#define FL_MOVE(id)
#include "backend/llvm/emitters.def"
#undef FL_ELEMENT
#undef FL_EMIT
#undef FL_MOVE

/* NULL if `op` is not of that kind. */
l_element_fn *l_element_of(fl_op op);
l_node_fn *l_node_of(fl_op op);
bool l_is_emitted(fl_op op);
/* Members of groups: element emitters, Gather (a load by index) and ScatterND (a store by index). */
bool l_is_group_member(fl_op op);

/* group.c: emits as many of `nodes` as one nest holds; returns how many (at least 1). */
uint32_t l_emit_group(fl_gen *gen, const fl_id *nodes, uint32_t n);
/*
 * group.c: the group that starts at nodes[0], row by row in the company of the node `product`, whose rows it reads: square roots and quotients,
 * which wait for one unit, take place between the multiply-adds of rows to come. NULL if the group has to wait for the whole product.
 */
typedef struct l_company l_company;
l_company *l_company_of(fl_gen *gen, fl_id product, const fl_id *nodes, uint32_t n);
uint32_t l_company_size(const l_company *company); /* nodes it stands for */
void l_company_row(l_company *company, LLVMValueRef v_row);
void l_company_rows(l_company *company, LLVMValueRef v_from, LLVMValueRef v_to);
/* emit_rows.c: the FieldPool nodes[0] and those behind it that share its sweep over the batch; returns how many (at least 1). */
uint32_t l_emit_pools(fl_gen *gen, const fl_id *nodes, uint32_t n);

/* llvm_math.c: on floats of any width; within a few units in the last place, NaN in gives NaN out. */
LLVMValueRef l_exp(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_log(fl_gen *gen, LLVMValueRef x);
/* log(1 + t) for t in [0, 1]. */
LLVMValueRef l_log1p(fl_gen *gen, LLVMValueRef t);
LLVMValueRef l_sigmoid(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_softplus(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_tanh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_erf(fl_gen *gen, LLVMValueRef x);
/* x^y; about |y log x| units in the last place. */
LLVMValueRef l_pow(fl_gen *gen, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef l_abs(fl_gen *gen, LLVMValueRef x);
/* llvm_trigonometry.c: the same. */
LLVMValueRef l_sin(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_cos(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_tan(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_asin(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_acos(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_atan(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_sinh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_cosh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_asinh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_acosh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_atanh(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_neg_abs(fl_gen *gen, LLVMValueRef x);
LLVMValueRef l_sqrt(fl_gen *gen, LLVMValueRef x);

/* emit_rows.c: a table beyond the second cache, whose rows are worth fetching ahead. Buffers of this step are still near. */
bool l_is_far(const fl_gen *gen, fl_id data);

/* emit_distinct.c: is `value` the bytes of `of`, under whatever shape? */
bool l_is_view_of(const fl_graph *g, fl_id value, fl_id of);
/* emit_distinct.c: the rows, int64, that the current segment's slots go over; FL_NONE if they are none of UniqueRows or MergeRows. */
fl_id l_distinct_rows(const fl_gen *gen);
/* emit_distinct.c: fetches ahead what the segment gathers from far tables at a place of the distinct rows `rows`. */
void l_fetch_rows(fl_gen *gen, fl_id rows, LLVMValueRef v_place);

/* Vectors of a row whose dot products DotInteraction keeps on the stack. */
enum { FL_DOT_VECTORS = 128 };

/* emit_mask.c */
LLVMValueRef l_mask_key(fl_gen *gen, fl_id node);
LLVMValueRef l_mask_row_key(fl_gen *gen, LLVMValueRef v_key, LLVMValueRef v_row);

/* emit_product.c: C = A B (+ C), all float. */
typedef struct l_product {
    LLVMValueRef v_m_from, v_m_to; /* rows of C */
    int64_t n;                     /* columns of C */
    LLVMValueRef v_k;              /* terms */
    LLVMValueRef v_a, v_a_row, v_a_k; /* element (i, k) of A lies at a + i * a_row + k * a_k */
    LLVMValueRef v_ahead;          /* of A, what lies so many elements behind is fetched; NULL: nothing */
    LLVMValueRef v_b, v_b_k;       /* element (k, j) of B lies at b + k * b_k + j, */
    bool transposed;               /* or, transposed, at b + j * b_k + k */
    LLVMValueRef v_c, v_c_row;     /* element (i, j) of C lies at c + i * c_row + j */
    double alpha;                  /* result: act(alpha * sum + beta * d) */
    LLVMValueRef v_d, v_d_row;     /* addend, d + i * d_row + j; NULL: none */
    double beta;
    bool d_scalar;                 /* d does not depend on j */
    bool relu;
    l_company *company;            /* follows the rows of C; NULL: none */
    LLVMValueRef v_company_row;    /* the company's row that follows row 0 of C */
    bool company_of_slot;          /* its rows are the slot's distinct ones, which it may have in far tables */
} l_product;
void l_emit_product(fl_gen *gen, const l_product *p);
/* emit_turn.c: out[i, l] = in[l, i] for i, l < n, n 4, 8 or 16; rows of `in` are v_in_row elements apart, those of `out` out_row. */
void l_turn_block(fl_gen *gen, LLVMValueRef v_in, LLVMValueRef v_in_row, LLVMValueRef v_out, int64_t out_row, unsigned n);
/* emit_slot_linear.c: SlotLinear, with what follows its rows, or NULL. */
void l_emit_slot_linear(fl_gen *gen, fl_id node, l_company *company);
void l_emit_slot_linear_weight_grad(fl_gen *gen, fl_id node, l_company *company);
/* emit_scatter.c: ScatterND that replaces whole rows, one index each, is a member of groups; any other has loops of its own. */
bool l_scatters_rows(const fl_gen *gen, fl_id node);
void l_emit_scatter_nd(fl_gen *gen, fl_id node);
/* emit_move.c: MatMul of any numbers and shapes, element by element. */
void l_emit_dot_products(fl_gen *gen, fl_id node);

#endif
