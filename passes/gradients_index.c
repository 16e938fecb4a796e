/*
 * gradients_index.c -- rules of operators that find elements by index, repeat, pad and order them, of Einsum and of products along axes. y: output, g: its gradient.
 *
 * What an index read, it adds to: ScatterND and ScatterElements with reduction "add" into zeros. What it overwrote has no gradient there.
 */
#include "ir/einsum.h"
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include <string.h>

static int axis_of(const fl_graph *g, fl_id node, int rank, int64_t otherwise)
{
    int64_t axis = fl_node_int(g, node, "axis", otherwise);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* Where `into` is scattered to: the same with `updates` at `index`. axis -1: ScatterND. */
static fl_id scatter(fl_flow *f, const char *base, fl_id into, fl_id index, fl_id updates, int axis, const char *reduction)
{
    fl_graph *g = f->g;
    fl_id node = fl_node_new(g, axis < 0 ? FL_OP_SCATTER_ND : FL_OP_SCATTER_ELEMENTS, base, (fl_id[]){into, index, updates}, 3, 1);
    if (axis >= 0)
        fl_node_set_int(g, node, "axis", axis);
    if (reduction)
        fl_node_set_string(g, node, "reduction", reduction);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

static fl_id gather_elements(fl_flow *f, const char *base, fl_id x, fl_id index, int axis)
{
    fl_graph *g = f->g;
    fl_id node = fl_node_new(g, FL_OP_GATHER_ELEMENTS, base, (fl_id[]){x, index}, 2, 1);
    fl_node_set_int(g, node, "axis", axis);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

static fl_id permuted(fl_flow *f, const char *base, fl_id x, const int64_t *perm)
{
    fl_graph *g = f->g;
    fl_id node = fl_node_new(g, FL_OP_TRANSPOSE, base, &x, 1, 1);
    fl_node_set_ints(g, node, "perm", perm, (uint32_t)fl_value_type(g, x)->rank);
    fl_build_infer(g, node);
    return fl_node_out(g, node, 0);
}

static fl_id unsqueezed(fl_flow *f, fl_id x, int64_t axis)
{
    return fl_build_2(f->g, FL_OP_UNSQUEEZE, "d", x, fl_build_ints(f->g, "axis", &axis, 1));
}

/* ----------------------------------------------------------------------------------------------------- by index */

/*
 * Of values that a node makes: with the axis first, rows of g are added to those that the index names. What look-ups of tables do is fl_grad_gather's
 * matter, which calls this for all else.
 */
fl_status fl_grad_gather_of_values(fl_flow *f, fl_id node, fl_id grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int rank = fl_value_type(g, n.in[0])->rank, axis = axis_of(g, node, rank, 0), index_rank = fl_value_type(g, n.in[1])->rank;
    int64_t to_front[FL_MAX_RANK], back[FL_MAX_RANK], first[FL_MAX_RANK];
    if (index_rank >= FL_MAX_RANK)
        return fl_flow_refuse(f, node, "its index has too many dimensions");
    fl_id index = unsqueezed(f, n.in[1], index_rank), zeros = fl_flow_zeros(f, n.in[0]);
    if (axis > 0) { /* g is [before, index, behind] */
        for (int d = 0; d < index_rank; d++)
            to_front[d] = axis + d;
        for (int d = 0; d < axis; d++)
            to_front[index_rank + d] = d;
        for (int d = axis + 1; d < rank; d++)
            to_front[index_rank + d - 1] = index_rank + d - 1;
        for (int d = 0; d < rank; d++) {
            first[d] = d == 0 ? axis : d <= axis ? d - 1 : d;
            back[first[d]] = d;
        }
        grad = permuted(f, "d", grad, to_front);
        zeros = permuted(f, "d", zeros, first);
    }
    fl_id d = scatter(f, fl_flow_name(f, n.in[0]), zeros, index, grad, -1, "add");
    fl_flow_to(f, n.in[0], axis > 0 ? permuted(f, "d", d, back) : d);
    return FL_OK;
}

fl_status fl_grad_gather_elements(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int axis = axis_of(g, node, fl_value_type(g, n.in[0])->rank, 0);
    fl_flow_to(f, n.in[0], scatter(f, fl_flow_name(f, n.in[0]), fl_flow_zeros(f, n.in[0]), n.in[1], grad[0], axis, "add"));
    return FL_OK;
}

/* int64[index dims but the last, 1]: the coordinate along dimension d of each place of the index. */
static fl_id coordinate(fl_flow *f, fl_id index, int d)
{
    fl_graph *g = f->g;
    int rank = fl_value_type(g, index)->rank;
    int64_t zero = 0, one = 1, axes[FL_MAX_RANK];
    uint32_t n = 0;
    fl_id part[FL_MAX_RANK], bounds[3];
    fl_id axis = fl_build_ints(g, "axis", &zero, 1), extent = fl_flow_extent(f, index, d);
    bounds[0] = fl_build_2(g, FL_OP_SQUEEZE, "from", fl_build_ints(g, "from", &zero, 1), axis);
    bounds[1] = fl_build_2(g, FL_OP_SQUEEZE, "to", extent, axis);
    bounds[2] = fl_build_2(g, FL_OP_SQUEEZE, "by", fl_build_ints(g, "by", &one, 1), axis);
    fl_id count = fl_build_n(g, FL_OP_RANGE, "count", bounds, 3);
    if (count != FL_NONE)
        g->values[count].type = fl_type_make(FL_INT64, 1, &fl_value_type(g, index)->dims[d]);
    for (int k = 0; k < rank; k++)
        if (k != d)
            axes[n++] = k;
    count = fl_build_2(g, FL_OP_UNSQUEEZE, "count", count, fl_build_ints(g, "axes", axes, n));
    for (int k = 0; k < rank; k++)
        part[k] = k == rank - 1 ? fl_build_ints(g, "extent", &one, 1) : fl_flow_extent(f, index, k);
    fl_id whole = fl_build_2(g, FL_OP_EXPAND, "count", count, rank == 1 ? part[0] : fl_build_concat(g, "shape", part, (uint32_t)rank, 0));
    if (whole != FL_NONE) {
        fl_type t = *fl_value_type(g, index);
        t.dims[rank - 1] = 1;
        g->values[whole].type = t;
    }
    return whole;
}

/* Dimensions that are shared become coordinates as well. */
fl_status fl_grad_gather_nd(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int shared = (int)fl_node_int(g, node, "batch_dims", 0), rank = fl_value_type(g, n.in[1])->rank;
    fl_id part[FL_MAX_RANK + 1], index = n.in[1];
    for (int d = 0; d < shared; d++)
        part[d] = coordinate(f, n.in[1], d);
    part[shared] = n.in[1];
    if (shared > 0)
        index = fl_build_concat(g, "index", part, (uint32_t)shared + 1, rank - 1);
    fl_flow_to(f, n.in[0], scatter(f, fl_flow_name(f, n.in[0]), fl_flow_zeros(f, n.in[0]), index, grad[0], -1, "add"));
    return FL_OK;
}

/* Replaced: g where nothing was written, and what was read back. Added: g for both. (An index that names a place twice is the standard's to define for sums alone.) */
static fl_status scatter_back(fl_flow *f, fl_id node, fl_id grad, int axis)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    const char *how = fl_node_string(g, node, "reduction", "none");
    bool adds = strcmp(how, "add") == 0;
    if (!adds && strcmp(how, "none") != 0)
        return fl_flow_refuse(f, node, "only updates that replace or are added have one");
    if (fl_flow_wants(f, n.in[0]))
        fl_flow_to(f, n.in[0], adds ? grad : scatter(f, fl_flow_name(f, n.in[0]), grad, n.in[1], fl_flow_zeros(f, n.in[2]), axis, NULL));
    if (!fl_flow_wants(f, n.in[2]))
        return FL_OK;
    fl_flow_to(f, n.in[2], axis >= 0 ? gather_elements(f, fl_flow_name(f, n.in[2]), grad, n.in[1], axis)
                                     : fl_build_2(g, FL_OP_GATHER_ND, fl_flow_name(f, n.in[2]), grad, n.in[1]));
    return FL_OK;
}

fl_status fl_grad_scatter_elements(fl_flow *f, fl_id node, const fl_id *grad)
{
    return scatter_back(f, node, grad[0], axis_of(f->g, node, fl_value_type(f->g, f->g->nodes[node].in[0])->rank, 0));
}

fl_status fl_grad_scatter_nd(fl_flow *f, fl_id node, const fl_id *grad)
{
    return scatter_back(f, node, grad[0], -1);
}

/* To the places where the values were found. */
fl_status fl_grad_top_k(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int axis = axis_of(g, node, fl_value_type(g, n.in[0])->rank, -1);
    fl_id index = n.n_out > 1 ? n.out[1] : FL_NONE;
    if (grad[0] == FL_NONE)
        return FL_OK; /* indices have none */
    if (index == FL_NONE) {
        fl_id again = fl_node_new(g, FL_OP_TOP_K, "ranks", n.in, 2, 2);
        fl_node_set_int(g, again, "axis", axis);
        fl_node_set_int(g, again, "largest", fl_node_int(g, node, "largest", 1));
        fl_build_infer(g, again);
        index = fl_node_out(g, again, 1);
    }
    fl_flow_to(f, n.in[0], scatter(f, fl_flow_name(f, n.in[0]), fl_flow_zeros(f, n.in[0]), index, grad[0], axis, "add"));
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------- rearrangements */

/* Reversed once more. */
fl_status fl_grad_reverse_sequence(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id back = fl_node_new(g, FL_OP_REVERSE_SEQUENCE, fl_flow_name(f, n.in[0]), (fl_id[]){grad[0], n.in[1]}, 2, 1);
    fl_node_set_int(g, back, "time_axis", fl_node_int(g, node, "time_axis", 0));
    fl_node_set_int(g, back, "batch_axis", fl_node_int(g, node, "batch_axis", 1));
    fl_build_infer(g, back);
    fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    return FL_OK;
}

/* The sum over the repetitions: each axis that is repeated becomes two, of which the first goes. */
fl_status fl_grad_tile(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_type x = *fl_value_type(g, n.in[0]);
    int64_t repeats[FL_MAX_RANK], dims[2 * FL_MAX_RANK], axes[FL_MAX_RANK];
    uint32_t count, rank = 0, n_axes = 0, unknown = 0;
    if (!fl_value_ints(g, n.in[1], repeats, FL_MAX_RANK, &count) || count != (uint32_t)x.rank)
        return fl_flow_refuse(f, node, "its repeats are not constant");
    for (int d = 0; d < x.rank; d++) {
        if (repeats[d] != 1) {
            axes[n_axes++] = rank;
            dims[rank++] = repeats[d];
        }
        unknown += FL_DIM_IS_SYM(x.dims[d]);
        dims[rank++] = FL_DIM_IS_SYM(x.dims[d]) ? -1 : x.dims[d];
    }
    if (rank > FL_MAX_RANK || unknown > 1)
        return fl_flow_refuse(f, node, "it has too many axes, or more than one of unknown length");
    fl_id d = grad[0];
    if (n_axes > 0)
        d = fl_build_reduce_sum(g, fl_flow_name(f, n.in[0]), fl_build_reshape(g, "repeated", d, dims, rank), axes, n_axes, false);
    if (d != FL_NONE)
        g->values[d].type = x;
    fl_flow_to(f, n.in[0], d);
    return FL_OK;
}

/* What was added is taken away, and what was taken away is 0. */
fl_status fl_grad_pad(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    int64_t pads[2 * FL_MAX_RANK];
    uint32_t count;
    if (strcmp(fl_node_string(g, node, "mode", "constant"), "constant") != 0)
        return fl_flow_refuse(f, node, "only pads of a constant have one");
    if (n.n_in > 2 && fl_flow_wants(f, n.in[2]))
        return fl_flow_refuse(f, node, "the number that it pads with has none");
    if (!fl_value_ints(g, n.in[1], pads, 2 * FL_MAX_RANK, &count))
        return fl_flow_refuse(f, node, "its pads are not constant");
    for (uint32_t k = 0; k < count; k++)
        pads[k] = -pads[k];
    fl_id in[4] = {grad[0], fl_build_ints(g, "pads", pads, count), FL_NONE, n.n_in > 3 ? n.in[3] : FL_NONE};
    fl_id d = fl_build_n(g, FL_OP_PAD, fl_flow_name(f, n.in[0]), in, in[3] == FL_NONE ? 2 : 4);
    if (d != FL_NONE)
        g->values[d].type = *fl_value_type(g, n.in[0]);
    fl_flow_to(f, n.in[0], d);
    return FL_OK;
}

/* -------------------------------------------------------------------------------------------------------- products */

/* The letters of n axes, each a letter of its own: "" for none. */
static void write_letters(const char *letter, const uint8_t *axes, int n, char **to)
{
    for (int k = 0; k < n; k++)
        *(*to)++ = letter[axes[k]];
}

static bool has_axis(const uint8_t *axes, int n, uint8_t axis)
{
    return memchr(axes, axis, (size_t)n) != NULL;
}

/*
 * dx_k = the Einsum of g with the other operands, summed over what x_k does not have. An axis that x_k alone has was summed, and g goes to all of it:
 * it is left out, and comes back as 1, which is broadcast.
 */
static fl_id einsum_part(fl_flow *f, fl_id node, const fl_einsum *e, const char *letter, uint32_t k, fl_id grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    char equation[(FL_EINSUM_MAX_IN + 2) * (FL_MAX_RANK + 2)], *to = equation;
    fl_id in[FL_EINSUM_MAX_IN] = {grad};
    uint8_t kept[FL_MAX_RANK];
    int64_t lost[FL_MAX_RANK];
    uint32_t n_in = 1, n_lost = 0;
    int n_kept = 0;

    write_letters(letter, e->out, e->out_rank, &to);
    for (uint32_t i = 0; i < e->n_in; i++) {
        if (i == k)
            continue;
        *to++ = ',';
        write_letters(letter, e->axis[i], e->rank[i], &to);
        in[n_in++] = n.in[i];
    }
    for (int d = 0; d < e->rank[k]; d++) {
        bool found = has_axis(e->out, e->out_rank, e->axis[k][d]);
        for (uint32_t i = 0; i < e->n_in && !found; i++)
            found = i != k && has_axis(e->axis[i], e->rank[i], e->axis[k][d]);
        if (found)
            kept[n_kept++] = e->axis[k][d];
        else
            lost[n_lost++] = d;
    }
    *to++ = '-';
    *to++ = '>';
    write_letters(letter, kept, n_kept, &to);
    *to = '\0';
    fl_id made = fl_node_new(g, FL_OP_EINSUM, fl_flow_name(f, n.in[k]), in, n_in, 1);
    fl_node_set_string(g, made, "equation", equation);
    fl_build_infer(g, made);
    fl_id d = fl_node_out(g, made, 0);
    return n_lost > 0 ? fl_build_2(g, FL_OP_UNSQUEEZE, "d", d, fl_build_ints(g, "axes", lost, n_lost)) : d;
}

fl_status fl_grad_einsum(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    char letter[FL_EINSUM_AXES] = {0}, next = 'a';
    int8_t ranks[FL_EINSUM_MAX_IN];
    fl_einsum e;
    for (uint32_t k = 0; k < n.n_in && k < FL_EINSUM_MAX_IN; k++)
        ranks[k] = fl_value_type(g, n.in[k])->rank;
    if (fl_einsum_parse(fl_node_string(g, node, "equation", ""), ranks, n.n_in, &e))
        return fl_flow_refuse(f, node, "its equation is not understood");
    for (uint32_t k = 0; k < e.n_in; k++) {
        for (int d = 0; d < e.rank[k]; d++) {
            uint8_t axis = e.axis[k][d];
            if (has_axis(e.axis[k], d, axis))
                return fl_flow_refuse(f, node, "a letter stands twice in one operand");
            if (letter[axis])
                continue;
            if (next == 'Z' + 1)
                return fl_flow_refuse(f, node, "it has more axes than there are letters");
            letter[axis] = next;
            next = (char)(next == 'z' ? 'A' : next + 1);
        }
    }
    for (uint32_t k = 0; k < e.n_in; k++)
        if (fl_flow_wants(f, n.in[k]))
            fl_flow_to(f, n.in[k], einsum_part(f, node, &e, letter, k, grad[0]));
    return FL_OK;
}

/*
 * The product of all others: y / x, but where there are zeros. p: the product of all that are not 0. Without a zero p / x; with one, p there and 0 elsewhere;
 * with more, 0.
 */
fl_status fl_grad_reduce_prod(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id x = n.in[0], d = grad[0], zero = fl_build_scalar(g, "zero", 0), one = fl_build_scalar(g, "one", 1);
    uint32_t bits, n_axes = 0;
    int64_t axes[FL_MAX_RANK];
    int rank = fl_value_type(g, x)->rank;
    if (!fl_reduced_axes(g, node, &bits))
        return fl_flow_refuse(f, node, "its axes are not constant");
    for (int k = 0; k < rank; k++)
        if (bits >> k & 1)
            axes[n_axes++] = k;
    if (n_axes == 0) {
        fl_flow_to(f, x, d);
        return FL_OK;
    }
    fl_id list = fl_build_ints(g, "axes", axes, n_axes);
    if (fl_node_int(g, node, "keepdims", 1) == 0)
        d = fl_build_2(g, FL_OP_UNSQUEEZE, "d", d, list);
    fl_id is_zero = fl_build_2(g, FL_OP_EQUAL, "is_zero", x, zero);
    fl_id others = fl_build_n(g, FL_OP_WHERE, "others", (fl_id[]){is_zero, one, x}, 3);
    fl_id zeros = fl_build_reduce_sum(g, "zeros", fl_build_cast(g, "zeros", is_zero, FL_FLOAT), axes, n_axes, true);
    fl_id p = fl_build_2(g, FL_OP_REDUCE_PROD, "product", others, list);
    fl_id none = fl_build_cast(g, "none", fl_build_2(g, FL_OP_EQUAL, "none", zeros, zero), FL_FLOAT);
    fl_id single = fl_build_cast(g, "single", fl_build_2(g, FL_OP_EQUAL, "single", zeros, one), FL_FLOAT);
    fl_id counts = fl_build_n(g, FL_OP_WHERE, "counts", (fl_id[]){is_zero, single, none}, 3);
    fl_id slope = fl_build_2(g, FL_OP_MUL, "slope", fl_build_2(g, FL_OP_DIV, "slope", p, others), counts);
    fl_flow_to(f, x, fl_build_2(g, FL_OP_MUL, fl_flow_name(f, x), d, slope));
    return FL_OK;
}
