/*
 * shape.h -- types and shapes of outputs from those of inputs; one function an operator, named by ops.def.
 */
#ifndef FL_IR_SHAPE_H
#define FL_IR_SHAPE_H

#include "ir/graph.h"

/*
 * Infer and set the types of node's outputs. Unknown input types give unknown outputs, silently. Inputs that break the
 * operator's rules give FL_BAD_INPUT, reported with node, operator and shapes; an output that already has a type
 * must be compatible: the more exact one wins.
 */
FL_MUST_USE fl_status fl_shape_infer_node(fl_graph *g, fl_id node, fl_diag *dg);
/* All nodes, in order; every failure is reported, the first one's status returned. */
FL_MUST_USE fl_status fl_shape_infer(fl_graph *g, fl_diag *dg);

/* numpy's broadcast of two shapes into *out; false if they do not fit. Equal symbols fit; a symbol fits 1. */
bool fl_shape_broadcast(const fl_type *a, const fl_type *b, fl_type *out);
/*
 * The text of a type as ONNX writes it, cut to `size`: "float[batch,32]", "float" for a scalar, "float[]" if the shape is
 * unknown, "undefined" if nothing is known.
 */
void fl_type_print(const fl_graph *g, const fl_type *t, char *text, size_t size);

/*
 * Some symbols stand for products, such as the B*S elements of UniqueRows' order: the factors of `dim` into out
 * (numbers and symbols that are no products); returns how many. A dimension that is no product has one factor, itself.
 */
uint32_t fl_shape_factors(const fl_graph *g, fl_dim dim, fl_dim out[FL_MAX_RANK]);
/*
 * Is `dim`, of a result of `node`, a number that depends on values and not on the operands' extents (how many elements TopK is to find, a shape
 * that is given as an input)? No memory can be planned for it.
 */
bool fl_shape_depends_on_values(const fl_graph *g, fl_id node, fl_dim dim);
/* Do both have as many elements, whatever the extents of symbols are? False where that cannot be told. */
bool fl_shape_same_elements(const fl_graph *g, const fl_type *a, const fl_type *b);

/* An element of a tensor that holds a shape: a number, or the extent of a symbol. */
typedef struct fl_extent {
    bool symbol;
    int64_t v; /* number, or the fl_dim of the symbol */
} fl_extent;

/*
 * Elements of an int64 value that is constant or computed from shapes (Shape, Concat, Gather, Slice, ... of such);
 * false if they are not known or are more than FL_MAX_RANK.
 */
bool fl_shape_extents(fl_graph *g, fl_id value, fl_extent *out, uint32_t *n);

#endif
