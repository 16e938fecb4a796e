/*
 * shape_flen.c -- shape rules of the operators of domain ai.flen; their meaning is in ir/README.md.
 */
#include "ir/functions.h"
#include "ir/shape_rules.h"

#include <string.h>

/* A symbol that no type uses yet: base, base_2, ... */
static fl_dim fresh_symbol(fl_graph *g, const char *base)
{
    char name[64];
    snprintf(name, sizeof name, "%s", base);
    for (uint32_t i = 2;; i++) {
        bool used = false;
        for (uint32_t s = 0; s < g->n_symbols && !used; s++)
            used = strcmp(g->symbols[s], name) == 0;
        if (!used)
            return fl_graph_symbol(g, name);
        snprintf(name, sizeof name, "%s_%u", base, i);
    }
}

/* Dimension 0 of output i as it stands, so that a node inferred twice keeps its symbol; a fresh one otherwise. */
static fl_dim own_symbol(fl_shape_ctx *c, const char *base)
{
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        /* outputs 0 (rows), 1 of MergeRows (g) and 4 of UniqueRows (segment) all lead with the distinct rows */
        bool leads = i == 0 || (c->n->op == FL_OP_MERGE_ROWS && i == 1) || (c->n->op == FL_OP_UNIQUE_ROWS && i == 4);
        const fl_type *t = c->n->out[i] == FL_NONE ? NULL : fl_value_type(c->g, c->n->out[i]);
        if (leads && t && t->rank > 0)
            return t->dims[0];
    }
    return fresh_symbol(c->g, base);
}

/* ------------------------------------------------------------------------------------------- layers with a mode */

fl_status fl_shape_masked_dropout(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_real(c, 0));
    c->out[0] = *c->in[0];
    if (c->n->n_in > 1 && c->in[1]) {
        FL_TRY(fl_shape_need_rank(c, 1, c->in[0]->rank, "the mask"));
        for (int i = 0; i < c->in[0]->rank; i++)
            FL_TRY(fl_shape_need_dim(c, c->in[1]->dims[i], c->in[0]->dims[i], "a dimension of the mask"));
    }
    return FL_OK;
}

fl_status fl_shape_batch_norm(fl_shape_ctx *c)
{
    static const char *const what[] = {"x", "gamma", "beta", "the running mean", "the running variance"};
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "x"));
    for (uint32_t i = 1; i < 5; i++) {
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 1, what[i]));
        FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[0], c->in[0]->dims[1], what[i]));
    }
    c->out[0] = *c->in[0];
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------- CTR layers */

/* Attribute `fields` of FieldPool and FieldPoolGrad: *m fields whose sizes add up to `slots`. */
static fl_status fields_of(fl_shape_ctx *c, fl_dim slots, uint32_t *m)
{
    const int64_t *fields = fl_shape_ints(c, "fields", m);
    if (!fields)
        return fl_shape_error(c, "attribute \"fields\", a list of sizes, is missing");
    int64_t sum = 0;
    for (uint32_t i = 0; i < *m; i++)
        if (fields[i] < 1 || __builtin_add_overflow(sum, fields[i], &sum))
            return fl_shape_error(c, "attribute \"fields\": size %u is %lld", i, (long long)fields[i]);
    if (!fl_dim_fits(slots, sum))
        return fl_shape_error(c, "attribute \"fields\" adds up to %lld, but there are %lld slots", (long long)sum,
                              (long long)slots);
    return FL_OK;
}

fl_status fl_shape_field_pool(fl_shape_ctx *c)
{
    uint32_t m;
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the data"));
    FL_TRY(fl_shape_need_index(c, 1, "the index"));
    FL_TRY(fl_shape_need_rank(c, 1, 2, "the index"));
    FL_TRY(fields_of(c, c->in[1]->dims[1], &m));
    uint32_t want = fl_node_int(c->g, c->node, "squares", 0) != 0 ? 2 * m : m;
    if (c->n->n_out != want)
        return fl_shape_error(c, "has %u outputs, but %u fields give %u", c->n->n_out, m, want);
    for (uint32_t i = 0; i < want; i++)
        c->out[i] = fl_type_make(c->in[0]->dtype, 2, (fl_dim[]){c->in[1]->dims[0], c->in[0]->dims[1]});
    return FL_OK;
}

fl_status fl_shape_table_pool(fl_shape_ctx *c)
{
    uint32_t m;
    int64_t slots = 0;
    if (c->n->n_in % 2 != 0)
        return fl_shape_error(c, "has %u operands, but each table needs an index", c->n->n_in);
    for (uint32_t k = 0; k < c->n->n_in; k += 2) {
        if (!c->in[k] || !c->in[k + 1])
            return fl_shape_error(c, "operand %u is left out, but it is not optional", c->in[k] ? k + 1 : k);
        FL_TRY(fl_shape_need_real(c, k));
        FL_TRY(fl_shape_need_rank(c, k, 2, "the data"));
        FL_TRY(fl_shape_need_index(c, k + 1, "the index"));
        const fl_type *index = c->in[k + 1];
        if (index->rank != 1)
            FL_TRY(fl_shape_need_rank(c, k + 1, 2, "the index"));
        if (index->rank == 2 && FL_DIM_IS_SYM(index->dims[1]))
            return fl_shape_error(c, "index %u has no known number of columns", k / 2);
        if (c->in[k]->dtype != c->in[0]->dtype)
            return fl_shape_error(c, "table %u has another element type than the first", k / 2);
        FL_TRY(fl_shape_need_dim(c, c->in[k]->dims[1], c->in[0]->dims[1], "the data"));
        FL_TRY(fl_shape_need_dim(c, index->dims[0], c->in[1]->dims[0], "the index"));
        slots += index->rank == 2 ? index->dims[1] : 1;
    }
    FL_TRY(fields_of(c, slots, &m));
    uint32_t want = fl_node_int(c->g, c->node, "squares", 0) != 0 ? 2 * m : m;
    if (c->n->n_out != want)
        return fl_shape_error(c, "has %u outputs, but %u fields give %u", c->n->n_out, m, want);
    for (uint32_t i = 0; i < want; i++)
        c->out[i] = fl_type_make(c->in[0]->dtype, 2, (fl_dim[]){c->in[1]->dims[0], c->in[0]->dims[1]});
    return FL_OK;
}

fl_status fl_shape_tile_sum(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the rows"));
    c->out[0] = *c->in[0];
    return FL_OK;
}

fl_status fl_shape_dot_interaction(fl_shape_ctx *c)
{
    uint32_t n[2];
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 3, "the vectors"));
    const int64_t *ends[2] = {fl_shape_ints(c, "first", &n[0]), fl_shape_ints(c, "second", &n[1])};
    if (!ends[0] || !ends[1] || n[0] != n[1] || n[0] == 0)
        return fl_shape_error(c, "attributes \"first\" and \"second\" must be lists of one length");
    for (uint32_t k = 0; k < n[0]; k++)
        for (int e = 0; e < 2; e++)
            if (ends[e][k] < 0 || (!FL_DIM_IS_SYM(c->in[0]->dims[1]) && ends[e][k] >= c->in[0]->dims[1]))
                return fl_shape_error(c, "pair %u names vector %lld, but there are %lld", k, (long long)ends[e][k], (long long)c->in[0]->dims[1]);
    c->out[0] = fl_type_make(c->in[0]->dtype, 2, (fl_dim[]){c->in[0]->dims[0], n[0]});
    return FL_OK;
}

fl_status fl_shape_field_interaction(fl_shape_ctx *c)
{
    int64_t m = fl_node_int(c->g, c->node, "fields", 0);
    if (m < 1 || m > UINT16_MAX / 2 || c->n->n_in != 2 + 2 * m)
        return fl_shape_error(c, "has %u operands, but needs 2 + 2 * fields with \"fields\" = %lld", c->n->n_in, (long long)m);
    const int64_t length[2] = {m * (m - 1) / 2, m};
    static const char *const what[2] = {"the pair weights", "the FM weights"};
    for (uint32_t i = 0; i < 2; i++) {
        if (!c->in[i])
            continue;
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 1, what[i]));
        FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[0], length[i], what[i]));
    }
    bool any = false;
    for (uint32_t i = 2; i < c->n->n_in; i++) {
        if (!c->in[i] && i < 2 + m)
            return fl_shape_error(c, "the sum of field %u is left out", i - 2);
        if (!c->in[i])
            continue;
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 2, "a field's vector"));
        if (!any)
            c->out[0] = *c->in[i];
        any = true;
        for (int k = 0; k < 2; k++) {
            FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[k], c->out[0].dims[k], "a field's dimension"));
            c->out[0].dims[k] = fl_dim_merge(c->out[0].dims[k], c->in[i]->dims[k]);
        }
    }
    return FL_OK;
}

fl_status fl_shape_embedding_bag(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the data"));
    FL_TRY(fl_shape_need_index(c, 1, "the values"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the values"));
    FL_TRY(fl_shape_need_dtype(c, 2, FL_INT64, "the offsets"));
    FL_TRY(fl_shape_need_rank(c, 2, 1, "the offsets"));
    const char *mode = fl_node_string(c->g, c->node, "mode", "sum");
    if (strcmp(mode, "sum") != 0 && strcmp(mode, "mean") != 0)
        return fl_shape_error(c, "attribute \"mode\" is \"%s\", but must be \"sum\" or \"mean\"", mode);
    /* offsets has B + 1 entries; of a symbol one less is the batch, as there is one batch in a program */
    fl_dim offsets = c->in[2]->dims[0], rows;
    const fl_type *have = c->n->out[0] == FL_NONE ? NULL : fl_value_type(c->g, c->n->out[0]);
    if (offsets == 0)
        return fl_shape_error(c, "the offsets are empty; they need one entry more than there are rows");
    if (!FL_DIM_IS_SYM(offsets))
        rows = offsets - 1;
    else
        rows = have && have->rank == 2 ? have->dims[0] : fl_graph_symbol(c->g, "batch");
    c->out[0] = fl_type_make(c->in[0]->dtype, 2, (fl_dim[]){rows, c->in[0]->dims[1]});
    return FL_OK;
}

fl_status fl_shape_linear(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0], *w = c->in[1];
    for (uint32_t i = 0; i < 2; i++) {
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 2, i ? "the weight" : "x"));
    }
    if (!fl_dim_fits(x->dims[1], w->dims[0])) {
        char a[160], b[160];
        fl_type_print(c->g, x, a, sizeof a);
        fl_type_print(c->g, w, b, sizeof b);
        return fl_shape_error(c, "%s and %s cannot be multiplied: the inner dimensions %lld and %lld differ", a, b,
                              (long long)x->dims[1], (long long)w->dims[0]);
    }
    if (c->n->n_in > 2 && c->in[2]) {
        FL_TRY(fl_shape_need_real(c, 2));
        FL_TRY(fl_shape_need_rank(c, 2, 1, "the bias"));
        FL_TRY(fl_shape_need_dim(c, c->in[2]->dims[0], w->dims[1], "the bias"));
    }
    const char *activation = fl_node_string(c->g, c->node, "activation", "none");
    if (strcmp(activation, "none") != 0 && strcmp(activation, "relu") != 0)
        return fl_shape_error(c, "attribute \"activation\" is \"%s\", but must be \"none\" or \"relu\"", activation);
    c->out[0] = fl_type_make(x->dtype, 2, (fl_dim[]){x->dims[0], w->dims[1]});
    return FL_OK;
}

fl_status fl_shape_table_linear(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0], *w = c->in[2];
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the table"));
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the first rows"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the first rows"));
    FL_TRY(fl_shape_need_real(c, 2));
    FL_TRY(fl_shape_need_rank(c, 2, 2, "the weight"));
    bool ok;
    fl_dim rows = fl_shape_product(c->g, (fl_dim[]){c->in[1]->dims[0], x->dims[1]}, 2, &ok);
    if (!ok)
        return fl_shape_error(c, "the dimensions are too large");
    FL_TRY(fl_shape_need_dim(c, w->dims[0], rows, "the weight's number of rows"));
    c->out[0] = fl_type_make(x->dtype, 2, (fl_dim[]){x->dims[0], w->dims[1]});
    return FL_OK;
}

static fl_status loss(fl_shape_ctx *c)
{
    static const char *const kinds[] = {"bce", "paddle_log_loss", "bce_clamped"};
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_real(c, 1));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the logit"));
    FL_TRY(fl_shape_need_rank(c, 1, 2, "the label"));
    FL_TRY(fl_shape_need_dim(c, c->in[0]->dims[1], 1, "the logit's second dimension"));
    FL_TRY(fl_shape_need_dim(c, c->in[1]->dims[1], 1, "the label's second dimension"));
    FL_TRY(fl_shape_need_dim(c, c->in[1]->dims[0], c->in[0]->dims[0], "the label's number of rows"));
    const char *kind = fl_node_string(c->g, c->node, "kind", "bce");
    bool known = false;
    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        known = known || strcmp(kind, kinds[i]) == 0;
    if (!known)
        return fl_shape_error(c, "attribute \"kind\" is \"%s\", but must be \"bce\", \"paddle_log_loss\" or \"bce_clamped\"", kind);
    c->out[0] = *c->in[0];
    c->out[0].dims[0] = fl_dim_merge(c->in[0]->dims[0], c->in[1]->dims[0]);
    c->out[0].dims[1] = 1;
    return FL_OK;
}

fl_status fl_shape_log_loss(fl_shape_ctx *c)
{
    return loss(c);
}

fl_status fl_shape_log_loss_grad(fl_shape_ctx *c)
{
    return loss(c);
}

fl_status fl_shape_random_mask(fl_shape_ctx *c)
{
    static const char *const what[] = {"like", "the step", "the seed"};
    for (uint32_t i = 1; i < 3; i++) {
        FL_TRY(fl_shape_need_dtype(c, i, FL_INT64, what[i]));
        FL_TRY(fl_shape_need_rank(c, i, 0, what[i]));
    }
    double rate = fl_node_float(c->g, c->node, "rate", -1);
    if (!(rate >= 0 && rate < 1))
        return fl_shape_error(c, "attribute \"rate\" must be at least 0 and less than 1");
    c->out[0] = *c->in[0];
    c->out[0].dtype = FL_FLOAT;
    return FL_OK;
}

/* ------------------------------------------------------------------------------------------------ distinct rows */

fl_status fl_shape_unique_rows(fl_shape_ctx *c)
{
    const fl_type *index = c->in[0];
    FL_TRY(fl_shape_need_index(c, 0, "the index"));
    if (index->rank != 1 && index->rank != 2)
        return fl_shape_error(c, "the index must have rank 1 or 2, but has %d", index->rank);
    bool ok;
    fl_dim columns = index->rank == 2 ? index->dims[1] : 1, distinct = own_symbol(c, "distinct");
    fl_dim places = fl_shape_product(c->g, index->dims, index->rank, &ok);
    if (!ok)
        return fl_shape_error(c, "the index has too many elements");
    c->out[0] = fl_type_make(FL_INT64, 1, &distinct);
    c->out[1] = *index;
    c->out[1].dtype = FL_INT32;
    c->out[2] = fl_type_make(FL_INT32, 1, &columns);
    c->out[3] = fl_type_make(FL_INT32, 1, &places);
    c->out[4] = fl_type_make(FL_INT32, 2, (fl_dim[]){distinct, 2});
    return FL_OK;
}

/* Operand i is the int32[S] count of a UniqueRows. */
static fl_status count_operand(fl_shape_ctx *c, uint32_t i)
{
    FL_TRY(fl_shape_need_dtype(c, i, FL_INT32, "count"));
    return fl_shape_need_rank(c, i, 1, "count");
}

/* Operands i and i + 1 are segment int32[D,2] and order int32[...] of a UniqueRows. */
static fl_status segment_operands(fl_shape_ctx *c, uint32_t i)
{
    if (!c->in[i] || !c->in[i + 1] || !c->in[i + 2])
        return fl_shape_error(c, "segment, order and count must be given");
    FL_TRY(fl_shape_need_dtype(c, i, FL_INT32, "segment"));
    FL_TRY(fl_shape_need_rank(c, i, 2, "segment"));
    FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[1], 2, "segment's second dimension"));
    FL_TRY(fl_shape_need_dtype(c, i + 1, FL_INT32, "order"));
    FL_TRY(fl_shape_need_rank(c, i + 1, 1, "order"));
    return count_operand(c, i + 2);
}

fl_status fl_shape_slot_linear(fl_shape_ctx *c)
{
    const fl_type *x = c->in[0], *w = c->in[2];
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the rows"));
    FL_TRY(count_operand(c, 1));
    FL_TRY(fl_shape_need_real(c, 2));
    FL_TRY(fl_shape_need_rank(c, 2, 2, "the weight"));
    fl_dim slots = c->in[1]->dims[0], total = w->dims[0];
    if (FL_DIM_IS_SYM(slots) || FL_DIM_IS_SYM(total) || slots == 0 || total % slots != 0)
        return fl_shape_error(c, "the weight must have a whole number of rows for each slot of count");
    bool transposed = fl_node_int(c->g, c->node, "transposed", 0) != 0;
    FL_TRY(fl_shape_need_dim(c, x->dims[1], transposed ? w->dims[1] : total / slots, "the rows' width"));
    c->out[0] = fl_type_make(x->dtype, 2, (fl_dim[]){x->dims[0], transposed ? total / slots : w->dims[1]});
    return FL_OK;
}

fl_status fl_shape_slot_linear_weight_grad(fl_shape_ctx *c)
{
    const fl_type *e = c->in[0], *grad = c->in[2];
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the rows"));
    FL_TRY(count_operand(c, 1));
    FL_TRY(fl_shape_need_real(c, 2));
    FL_TRY(fl_shape_need_rank(c, 2, 2, "the gradient"));
    FL_TRY(fl_shape_need_dim(c, grad->dims[0], e->dims[0], "the gradient's number of rows"));
    bool ok;
    fl_dim rows = fl_shape_product(c->g, (fl_dim[]){c->in[1]->dims[0], e->dims[1]}, 2, &ok);
    if (!ok)
        return fl_shape_error(c, "the dimensions are too large");
    c->out[0] = fl_type_make(e->dtype, 2, (fl_dim[]){rows, grad->dims[1]});
    return FL_OK;
}

fl_status fl_shape_field_pool_grad(fl_shape_ctx *c)
{
    uint32_t m;
    FL_TRY(segment_operands(c, 1));
    FL_TRY(fields_of(c, c->in[3]->dims[0], &m));
    bool squares = fl_node_int(c->g, c->node, "squares", 0) != 0;
    bool scaled = fl_node_int(c->g, c->node, "scaled", 0) != 0;
    uint32_t want = 4 + (scaled ? 3 * m : squares ? 2 * m : m), wide = scaled ? 4 + m : want;
    if (scaled && !squares)
        return fl_shape_error(c, "gradients are scaled, but there are none of squares");
    if (c->n->n_in != want)
        return fl_shape_error(c, "has %u operands, but %u fields need %u", c->n->n_in, m, want);
    if (squares && !c->in[0])
        return fl_shape_error(c, "gradients of squares need the data");
    const fl_type *first = NULL;
    for (uint32_t i = wide; i < want; i++) {
        if (!c->in[i])
            return fl_shape_error(c, "operand %u is left out, but scaled gradients are whole", i);
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, i < wide + m ? 2 : 1, i < wide + m ? "a gradient" : "a scale"));
        bool column = i < wide + m && c->in[wide]->dims[1] == 1;
        FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[i < wide + m ? 1 : 0], column ? 1 : c->in[0]->dims[1],
                                 i < wide + m ? "the width of a scaled gradient" : "the width of a scale"));
    }
    for (uint32_t i = 0; i < wide; i++) {
        if ((i >= 1 && i < 4) || !c->in[i])
            continue;
        FL_TRY(fl_shape_need_real(c, i));
        FL_TRY(fl_shape_need_rank(c, i, 2, i ? "a gradient" : "the data"));
        first = first ? first : c->in[i];
        FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[1], first->dims[1], "the width of a gradient"));
    }
    if (!first)
        return fl_shape_error(c, "all gradients are left out");
    if (c->in[0])
        FL_TRY(fl_shape_need_dim(c, c->in[0]->dims[0], c->in[1]->dims[0], "the data's number of rows"));
    c->out[0] = fl_type_make(first->dtype, 2, (fl_dim[]){c->in[1]->dims[0], first->dims[1]});
    return FL_OK;
}

fl_status fl_shape_gather_grad(fl_shape_ctx *c)
{
    const fl_type *de = c->in[0];
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(segment_operands(c, 1));
    if (de->rank != 2 && de->rank != 3)
        return fl_shape_error(c, "the gradient must have rank 3, or 2 for an index of rank 1, but has %d", de->rank);
    FL_TRY(fl_shape_need_dim(c, de->rank == 3 ? de->dims[1] : 1, c->in[3]->dims[0], "the gradient's number of slots"));
    c->out[0] = fl_type_make(de->dtype, 2, (fl_dim[]){c->in[1]->dims[0], de->dims[de->rank - 1]});
    return FL_OK;
}

fl_status fl_shape_embedding_bag_grad(fl_shape_ctx *c)
{
    FL_TRY(fl_shape_need_real(c, 0));
    FL_TRY(fl_shape_need_rank(c, 0, 2, "the gradient"));
    FL_TRY(fl_shape_need_dtype(c, 1, FL_INT64, "the offsets"));
    FL_TRY(fl_shape_need_rank(c, 1, 1, "the offsets"));
    FL_TRY(segment_operands(c, 2));
    c->out[0] = fl_type_make(c->in[0]->dtype, 2, (fl_dim[]){c->in[2]->dims[0], c->in[0]->dims[1]});
    return FL_OK;
}

fl_status fl_shape_merge_rows(fl_shape_ctx *c)
{
    if (c->n->n_in % 3 != 0)
        return fl_shape_error(c, "has %u operands, but takes triples of count, rows and gradient", c->n->n_in);
    for (uint32_t i = 0; i < c->n->n_in; i += 3) {
        if (!c->in[i] || !c->in[i + 1] || !c->in[i + 2])
            return fl_shape_error(c, "an operand of triple %u is left out", i / 3);
        FL_TRY(count_operand(c, i));
        FL_TRY(fl_shape_need_dtype(c, i + 1, FL_INT64, "rows"));
        FL_TRY(fl_shape_need_rank(c, i + 1, 1, "rows"));
        FL_TRY(fl_shape_need_real(c, i + 2));
        const fl_type *grad = c->in[i + 2];
        if (grad->rank < 1 || grad->rank != c->in[2]->rank)
            return fl_shape_error(c, "gradient %u has rank %d, the first one %d", i / 3, grad->rank, c->in[2]->rank);
        FL_TRY(fl_shape_need_dim(c, grad->dims[0], c->in[i + 1]->dims[0], "a gradient's number of rows"));
        for (int k = 1; k < grad->rank; k++)
            FL_TRY(fl_shape_need_dim(c, grad->dims[k], c->in[2]->dims[k], "a gradient's width"));
    }
    fl_dim merged = own_symbol(c, "merged"), one = 1;
    c->out[0] = fl_type_make(FL_INT64, 1, &merged);
    c->out[1] = *c->in[2];
    c->out[1].dims[0] = merged;
    c->out[2] = fl_type_make(FL_INT32, 1, &one);
    return FL_OK;
}

/* ---------------------------------------------------------------------------------------------------- optimisers */

/*
 * w, states, powers, g, factor, rows?: states have w's shape (or one number a row), powers are double scalars, and the gradient
 * has w's shape or, with rows, one row for each of them.
 */
static fl_status optimiser(fl_shape_ctx *c, uint32_t n_states, uint32_t n_powers, bool rowwise)
{
    const fl_type *w = c->in[0];
    uint32_t at_grad = 1 + n_states + n_powers, at_factor = at_grad + 1, at_rows = at_grad + 2;
    FL_TRY(fl_shape_need_real(c, 0));
    for (uint32_t i = 1; i <= n_states; i++) {
        FL_TRY(fl_shape_need_real(c, i));
        bool single = rowwise && w->rank == 0; /* one number, as a scalar or as a vector of one */
        if (!single || c->in[i]->rank > 1)
            FL_TRY(fl_shape_need_rank(c, i, rowwise ? 1 : w->rank, "a state"));
        for (int k = 0; k < c->in[i]->rank; k++)
            FL_TRY(fl_shape_need_dim(c, c->in[i]->dims[k], single ? 1 : w->dims[k], "a state's dimension"));
    }
    for (uint32_t i = 1 + n_states; i < at_grad; i++) {
        FL_TRY(fl_shape_need_dtype(c, i, FL_DOUBLE, "a power"));
        FL_TRY(fl_shape_need_rank(c, i, 0, "a power"));
    }
    if (c->n->n_in <= at_factor || c->n->n_in > at_rows + 1 || !c->in[at_grad] || !c->in[at_factor])
        return fl_shape_error(c, "gradient and factor must be given, and nothing may follow the rows");
    FL_TRY(fl_shape_need_real(c, at_grad));
    FL_TRY(fl_shape_need_rank(c, at_factor, 0, "the factor"));
    const fl_type *grad = c->in[at_grad], *rows = c->n->n_in > at_rows ? c->in[at_rows] : NULL;
    FL_TRY(fl_shape_need_rank(c, at_grad, w->rank, "the gradient"));
    if (rows) {
        FL_TRY(fl_shape_need_dtype(c, at_rows, FL_INT64, "the rows"));
        FL_TRY(fl_shape_need_rank(c, at_rows, 1, "the rows"));
        if (w->rank < 1)
            return fl_shape_error(c, "a scalar has no rows");
    }
    for (int k = 0; k < w->rank; k++)
        FL_TRY(fl_shape_need_dim(c, grad->dims[k], rows && k == 0 ? rows->dims[0] : w->dims[k], "the gradient's dimension"));
    for (uint32_t i = 0; i <= n_states; i++)
        c->out[i] = *c->in[i];
    return FL_OK;
}

fl_status fl_shape_sgd(fl_shape_ctx *c)
{
    return optimiser(c, 0, 0, false);
}

fl_status fl_shape_momentum(fl_shape_ctx *c)
{
    return optimiser(c, 1, 0, false);
}

fl_status fl_shape_adagrad(fl_shape_ctx *c)
{
    return optimiser(c, 1, 0, false);
}

fl_status fl_shape_rowwise_adagrad(fl_shape_ctx *c)
{
    return optimiser(c, 1, 0, true);
}

fl_status fl_shape_adam(fl_shape_ctx *c)
{
    return optimiser(c, 2, 2, false);
}

fl_status fl_shape_ftrl(fl_shape_ctx *c)
{
    return optimiser(c, 2, 0, false);
}

/* -------------------------------------------------------------------------------------------------- first weights */

/* The shape in attributes `shape` and `symbols`: a negative entry takes the next name that is not empty. */
static fl_status first_weights(fl_shape_ctx *c)
{
    uint32_t n, next = 0;
    const int64_t *shape = fl_shape_ints(c, "shape", &n);
    const fl_attr *symbols = fl_node_attr(c->g, c->node, "symbols");
    const char *const *names = NULL;
    uint32_t n_names = 0;
    if (symbols && symbols->kind == FL_ATTR_STRINGS) {
        names = symbols->as.strings;
        n_names = symbols->n;
    } else if (symbols && symbols->kind == FL_ATTR_STRING) {
        names = &symbols->as.s;
        n_names = 1;
    }
    if (n > FL_MAX_RANK)
        return fl_shape_error(c, "the shape has %u dimensions; at most %d are supported", n, FL_MAX_RANK);
    int64_t dtype = fl_node_int(c->g, c->node, "dtype", FL_FLOAT);
    if (dtype != FL_FLOAT && dtype != FL_DOUBLE)
        return fl_shape_error(c, "attribute \"dtype\" is %lld, but must be float (1) or double (11)", (long long)dtype);
    c->out[0] = (fl_type){.dtype = (fl_dtype)dtype, .rank = (int8_t)n};
    for (uint32_t i = 0; i < n; i++) {
        c->out[0].dims[i] = shape[i];
        if (shape[i] >= 0)
            continue;
        while (next < n_names && names[next][0] == '\0')
            next++;
        if (next == n_names)
            return fl_shape_error(c, "dimension %u of the shape has no name in attribute \"symbols\"", i);
        c->out[0].dims[i] = fl_graph_symbol(c->g, names[next++]);
    }
    return FL_OK;
}

fl_status fl_shape_init_normal(fl_shape_ctx *c)
{
    return first_weights(c);
}

fl_status fl_shape_init_uniform(fl_shape_ctx *c)
{
    return first_weights(c);
}

fl_status fl_shape_init_constant(fl_shape_ctx *c)
{
    return first_weights(c);
}

fl_status fl_shape_gradient(fl_shape_ctx *c)
{
    int64_t n_x = fl_node_int(c->g, c->node, "xs", 0);
    if (c->n->n_in % 2 != 1 || n_x < 1 || n_x > c->n->n_in / 2 || n_x != c->n->n_out)
        return fl_shape_error(c, "its operands are y, then a value and its replacement for each of %lld and more; it has as many outputs", (long long)n_x);
    for (uint32_t k = 0; k < c->n->n_out; k++)
        c->out[k] = *c->in[2 + 2 * k];
    return FL_OK;
}

/* As the function says, whose types were inferred when the call was made. */
fl_status fl_shape_call(fl_shape_ctx *c)
{
    const fl_graph *f = fl_function_of(c->g, c->node);
    char want[128], got[128];
    if (!f)
        return fl_shape_error(c, "the graph has no function \"%.100s\"", fl_function_name(c->g, c->node));
    if (f->n_inputs != c->n->n_in || f->n_outputs != c->n->n_out)
        return fl_shape_error(c, "function \"%.100s\" has %u operands and %u results, its call %u and %u", f->name, f->n_inputs, f->n_outputs, c->n->n_in, c->n->n_out);
    for (uint32_t k = 0; k < c->n->n_in; k++) {
        const fl_type *a = c->in[k], *b = fl_value_type(f, f->inputs[k]);
        bool fits = a && (b->rank < 0 || (a->rank == b->rank && a->dtype == b->dtype));
        for (int d = 0; fits && d < b->rank; d++)
            fits = fl_dim_fits(a->dims[d], b->dims[d]);
        if (fits)
            continue;
        fl_type_print(f, b, want, sizeof want);
        if (a)
            fl_type_print(c->g, a, got, sizeof got);
        return fl_shape_error(c, "operand %u is %s, that of function \"%.100s\" %s", k, a ? got : "left out", f->name, want);
    }
    for (uint32_t k = 0; k < c->n->n_out; k++)
        c->out[k] = fl_graph_import_type(c->g, f, fl_value_type(f, f->outputs[k]));
    return FL_OK;
}

fl_status fl_shape_nop(fl_shape_ctx *c)
{
    (void)c;
    return FL_OK;
}
