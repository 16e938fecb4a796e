/* gradients_layers.c -- rules of look-ups by row and of the layers of domain ai.flen (ir/README.md). y: output, g: its gradient. */
#include "passes/gradients.h"
#include "passes/rewrite.h"

#include <string.h>

/* ---------------------------------------------------------------------------------------------------- look-ups */

/* The UniqueRows of which `v` is output `out`; FL_NONE if it is none. */
static fl_id unique_of(const fl_graph *g, fl_id v, uint32_t out)
{
    fl_id node = fl_value_is(g, v, FL_OP_UNIQUE_ROWS);
    return node != FL_NONE && g->nodes[node].out[out] == v ? node : FL_NONE;
}

static fl_id out_of(const fl_flow *f, fl_id unique, uint32_t out)
{
    return f->g->nodes[unique].out[out];
}

enum { ROWS, INVERSE, COUNT, ORDER, SEGMENT }; /* outputs of UniqueRows */

static const char *const needs_distinct = "it looks rows up by an index that `distinct-rows` has not seen";

/* By distinct rows: those rows' part of the table's gradient. By places in the batch: the sum over each row's places. */
fl_status fl_grad_gather(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    bool of_table = fl_value_node(g, n.in[0]) == FL_NONE && !fl_value_tensor(g, n.in[1]);
    if (!of_table && unique_of(g, n.in[1], ROWS) == FL_NONE && unique_of(g, n.in[1], INVERSE) == FL_NONE)
        return fl_grad_gather_of_values(f, node, grad[0]);
    if (fl_node_int(g, node, "axis", 0) != 0)
        return fl_flow_refuse(f, node, "its axis is not 0");
    fl_id unique = unique_of(g, n.in[1], ROWS);
    if (unique != FL_NONE) {
        fl_flow_rows(f, n.in[0], unique, grad[0]);
        return FL_OK;
    }
    unique = unique_of(g, n.in[1], INVERSE);
    if (unique == FL_NONE || fl_value_type(g, n.in[0])->rank != 2)
        return fl_flow_refuse(f, node, needs_distinct);
    fl_id in[4] = {grad[0], out_of(f, unique, SEGMENT), out_of(f, unique, ORDER), out_of(f, unique, COUNT)};
    fl_flow_to(f, n.in[0], fl_build_n(g, FL_OP_GATHER_GRAD, fl_flow_name(f, n.in[0]), in, 4));
    return FL_OK;
}

fl_status fl_grad_field_pool(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id unique = unique_of(g, n.in[1], INVERSE);
    if (unique == FL_NONE)
        return fl_flow_refuse(f, node, needs_distinct);
    const fl_attr *fields = fl_node_attr(g, node, "fields");
    bool squares = false;
    for (uint32_t k = fields->n; k < n.n_out; k++)
        squares = squares || grad[k] != FL_NONE;
    uint32_t n_in = 4 + (squares ? 2 : 1) * fields->n;
    fl_id *in = fl_arena_new(&f->cx->scratch, fl_id, n_in);
    if (!in)
        return fl_out_of_memory(f->cx->diag);
    in[0] = squares ? n.in[0] : FL_NONE;
    in[1] = out_of(f, unique, SEGMENT);
    in[2] = out_of(f, unique, ORDER);
    in[3] = out_of(f, unique, COUNT);
    memcpy(in + 4, grad, (n_in - 4) * sizeof *in);
    fl_id back = fl_node_new(g, FL_OP_FIELD_POOL_GRAD, fl_flow_name(f, n.in[0]), in, n_in, 1);
    fl_node_set_ints(g, back, "fields", fields->as.ints, fields->n);
    if (squares)
        fl_node_set_int(g, back, "squares", 1);
    fl_build_infer(g, back);
    fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    return FL_OK;
}

fl_status fl_grad_embedding_bag(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_id unique = unique_of(g, n.in[1], INVERSE);
    if (unique == FL_NONE)
        return fl_flow_refuse(f, node, needs_distinct);
    fl_id in[5] = {grad[0], n.in[2], out_of(f, unique, SEGMENT), out_of(f, unique, ORDER), out_of(f, unique, COUNT)};
    fl_id back = fl_node_new(g, FL_OP_EMBEDDING_BAG_GRAD, fl_flow_name(f, n.in[0]), in, 5, 1);
    fl_node_set_string(g, back, "mode", fl_node_string(g, node, "mode", "sum"));
    fl_build_infer(g, back);
    fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    return FL_OK;
}

/* y_d = e_d w_s: de_d = g_d w_s^T, dw_s = sum over d of e_d^T g_d. */
fl_status fl_grad_slot_linear(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    if (fl_node_int(g, node, "transposed", 0) != 0)
        return fl_flow_refuse(f, node, "it is transposed");
    if (fl_flow_wants(f, n.in[0])) {
        fl_id back = fl_node_new(g, FL_OP_SLOT_LINEAR, fl_flow_name(f, n.in[0]), (fl_id[]){grad[0], n.in[1], n.in[2]}, 3, 1);
        fl_node_set_int(g, back, "transposed", 1);
        fl_build_infer(g, back);
        fl_flow_to(f, n.in[0], fl_node_out(g, back, 0));
    }
    if (fl_flow_wants(f, n.in[2]))
        fl_flow_to(f, n.in[2], fl_build_n(g, FL_OP_SLOT_LINEAR_WEIGHT_GRAD, fl_flow_name(f, n.in[2]),
                                          (fl_id[]){n.in[0], n.in[1], grad[0]}, 3));
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------- interaction */

/* Everything about one FieldInteraction under way. */
typedef struct interaction {
    fl_flow *f;
    fl_id r_mf, r_fm;
    fl_id *pair, *own; /* single weights r [1], as views; FL_NONE where there is none */
    const fl_id *x, *q; /* fields' sums and sums of squares */
    uint32_t m;
    fl_id grad;
} interaction;

static bool split_weights(interaction *in, fl_id r, fl_id *out, uint32_t n)
{
    fl_graph *g = in->f->g;
    int64_t *ones = fl_arena_new(&in->f->cx->scratch, int64_t, n + 1);
    for (uint32_t i = 0; ones && i < n; i++) {
        ones[i] = 1;
        out[i] = FL_NONE;
    }
    if (ones && r != FL_NONE && n == 1)
        out[0] = r;
    else if (ones && r != FL_NONE)
        fl_build_split(g, "r", r, 0, ones, n, out);
    return ones != NULL;
}

/* df_i = g (sum over j of r_ij f_j + 2 r_i f_i), dq_i = -g r_i. */
static void field_gradients(interaction *in)
{
    fl_graph *g = in->f->g;
    uint32_t m = in->m;
    for (uint32_t i = 0; i < m; i++) {
        fl_id sum = FL_NONE;
        for (uint32_t j = 0; j < m && in->r_mf != FL_NONE; j++) {
            uint32_t a = i < j ? i : j, b = i < j ? j : i;
            if (i == j)
                continue;
            fl_id term = fl_build_2(g, FL_OP_MUL, "term", in->x[j], in->pair[a * m - a * (a + 1) / 2 + b - a - 1]);
            sum = sum == FL_NONE ? term : fl_build_2(g, FL_OP_ADD, "terms", sum, term);
        }
        if (in->r_fm != FL_NONE && in->q[i] != FL_NONE) {
            fl_id twice = fl_build_2(g, FL_OP_MUL, "twice", in->own[i], fl_build_scalar(g, "two", 2));
            fl_id term = fl_build_2(g, FL_OP_MUL, "term", in->x[i], twice);
            sum = sum == FL_NONE ? term : fl_build_2(g, FL_OP_ADD, "terms", sum, term);
            if (fl_flow_wants(in->f, in->q[i]))
                fl_flow_to(in->f, in->q[i], fl_build_2(g, FL_OP_MUL, "d", in->grad, fl_build_1(g, FL_OP_NEG, "minus", in->own[i])));
        }
        if (sum != FL_NONE && fl_flow_wants(in->f, in->x[i]))
            fl_flow_to(in->f, in->x[i], fl_flow_times(in->f, in->grad, sum));
    }
}

/* Sums over batch and width of g times each of the n terms: a column of row sums a term, then the columns' sums. */
static void weight_gradients(interaction *in, fl_id r, const fl_id *term, uint32_t n)
{
    fl_graph *g = in->f->g;
    fl_id *column = fl_arena_new(&in->f->cx->scratch, fl_id, n + 1);
    fl_id zero = FL_NONE;
    if (!column || !fl_flow_wants(in->f, r) || n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (term[i] == FL_NONE) {
            if (zero == FL_NONE) /* a weight that no term has */
                zero = fl_build_reduce_sum(g, "none", fl_flow_zeros(in->f, in->x[0]), (int64_t[]){1}, 1, true);
            column[i] = zero;
        } else {
            column[i] = fl_build_reduce_sum(g, "column", fl_flow_times(in->f, in->grad, term[i]), (int64_t[]){1}, 1, true);
        }
    }
    fl_id columns = n == 1 ? column[0] : fl_build_concat(g, "columns", column, n, 1);
    fl_flow_to(in->f, r, fl_build_reduce_sum(g, fl_flow_name(in->f, r), columns, (int64_t[]){0}, 1, false));
}

fl_status fl_grad_field_interaction(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    fl_arena *a = &f->cx->scratch;
    uint32_t m = (uint32_t)fl_node_int(g, node, "fields", 0), pairs = m * (m - 1) / 2, p = 0;
    interaction in = {.f = f, .r_mf = n.in[0], .r_fm = n.in[1], .x = n.in + 2, .q = n.in + 2 + m, .m = m, .grad = grad[0]};
    in.pair = fl_arena_new(a, fl_id, pairs + 1);
    in.own = fl_arena_new(a, fl_id, m + 1);
    fl_id *term = fl_arena_new(a, fl_id, pairs + m + 1);
    if (!in.pair || !in.own || !term || !split_weights(&in, in.r_mf, in.pair, pairs) || !split_weights(&in, in.r_fm, in.own, m))
        return fl_out_of_memory(f->cx->diag);
    field_gradients(&in);
    if (fl_flow_wants(f, in.r_mf)) {
        for (uint32_t i = 0; i < m; i++)
            for (uint32_t j = i + 1; j < m; j++)
                term[p++] = fl_build_2(g, FL_OP_MUL, "pair", in.x[i], in.x[j]);
        weight_gradients(&in, in.r_mf, term, pairs);
    }
    if (fl_flow_wants(f, in.r_fm)) {
        for (uint32_t i = 0; i < m; i++)
            term[i] = in.q[i] == FL_NONE ? FL_NONE
                                         : fl_build_2(g, FL_OP_SUB, "square", fl_build_2(g, FL_OP_MUL, "square", in.x[i], in.x[i]), in.q[i]);
        weight_gradients(&in, in.r_fm, term, m);
    }
    return FL_OK;
}

/* -------------------------------------------------------------------------------------------------------- loss */

fl_status fl_grad_log_loss(fl_flow *f, fl_id node, const fl_id *grad)
{
    fl_graph *g = f->g;
    const fl_node n = g->nodes[node];
    if (fl_flow_wants(f, n.in[1]))
        return fl_flow_refuse(f, node, "the label depends on what is trained");
    fl_id slope = fl_node_new(g, FL_OP_LOG_LOSS_GRAD, fl_flow_name(f, n.in[0]), n.in, 2, 1);
    fl_node_set_string(g, slope, "kind", fl_node_string(g, node, "kind", "bce"));
    fl_node_set_float(g, slope, "epsilon", fl_node_float(g, node, "epsilon", 0));
    fl_build_infer(g, slope);
    fl_flow_to(f, n.in[0], fl_flow_times(f, grad[0], fl_node_out(g, slope, 0)));
    return FL_OK;
}
