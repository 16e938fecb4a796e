/*
 * emit_row_sums.c -- sums of rows that a list names: bags, and the gradients of whatever reads by index.
 *
 *     for each row r that is made: for strips of columns:
 *         sums = 0;  for k in the part of the list that is r's: sums += x[list[k], strip];  out[r, strip] =
 * f(sums)
 *
 * The list of a bag is its values; that of a distinct row is its part of `order`, the batch rows where it
 * stands. So what is a scatter elsewhere is a sum here: sums stay in registers, and terms are added in the
 * order of the list.
 */
#include "backend/llvm/emit.h"
#include "ir/schedule.h"

#include <stddef.h>

enum { MAX_SUMS = 2, MAX_TOGETHER = 4, AHEAD = 8, LINE = 64 };

typedef struct row_sums {
    fl_gen *gen;
    fl_id out;
    fl_id list; /* rank 1, int32 or int64 */
    unsigned n; /* arrays that are summed side by side, at the same rows */
    LLVMValueRef v_x[MAX_SUMS], v_stride[MAX_SUMS]; /* element (i, j) at x + i * stride + j */
    int64_t width;
    LLVMValueRef v_row, v_from, v_to; /* the row that is made; its part of the list */
    LLVMValueRef v_last; /* x is fetched AHEAD places of the list ahead, which ends here; NULL: it is near */
    LLVMValueRef v_divisor; /* float: the sums are divided by it; NULL: sums */
    fl_id data;             /* with sums f, q: out = f + 2 data q; FL_NONE: out = f */
    bool only_squares;      /* there is no f, and q is the first */
    LLVMValueRef v_scale;   /* the last array's sum, q, is multiplied by this vector; NULL: it is not */
    bool q_is_column;       /* it is one column, multiplied by a vector */
    LLVMValueRef
        v_bags; /* scratch: int32 bag of each place; list[k] names a place, x is by bag; NULL: x by list[k] */
    fl_id offsets; /* of the bags, if each term is divided by the length of its bag; else FL_NONE */
} row_sums;

static LLVMValueRef list_entry(const row_sums *r, LLVMValueRef v_k)
{
    fl_gen *gen = r->gen;
    fl_dtype dtype = fl_value_type(gen->g, r->list)->dtype;
    LLVMValueRef v = l_load(gen, dtype, l_element_address(gen, r->list, v_k, l_i64(gen, 0)), 1);

    return dtype == FL_INT64 ? v : LLVMBuildSExt(gen->b, v, gen->i64, "");
}

/* Length of a bag as a float. */
static LLVMValueRef bag_length(fl_gen *gen, fl_id offsets, LLVMValueRef v_bag)
{
    LLVMValueRef v_end = l_element_address(gen, offsets, l_add(gen, v_bag, l_i64(gen, 1)), l_i64(gen, 0));
    LLVMValueRef v_begin = l_element_address(gen, offsets, v_bag, l_i64(gen, 0));
    LLVMValueRef v =
        LLVMBuildSub(gen->b, l_load(gen, FL_INT64, v_end, 1), l_load(gen, FL_INT64, v_begin, 1), "");

    return LLVMBuildSIToFP(gen->b, v, gen->f32, "");
}

static void prefetch_ahead(const row_sums *r, LLVMValueRef v_k)
{
    fl_gen *gen = r->gen;
    LLVMValueRef v_row = list_entry(r, l_min_i64(gen, l_add(gen, v_k, l_i64(gen, AHEAD)), r->v_last));
    LLVMValueRef v_at = l_at(gen, FL_FLOAT, r->v_x[0], l_mul(gen, v_row, r->v_stride[0]));

    for (int64_t byte = 0; byte < r->width * 4 && byte < 8 * LINE; byte += LINE)
        l_prefetch(gen, l_at(gen, FL_INT8, v_at, l_i64(gen, byte)));
}

/* What becomes of the sums of one vector. */
static LLVMValueRef finished(const row_sums *r, LLVMValueRef v_f, LLVMValueRef v_q, LLVMValueRef v_column)
{
    fl_gen *gen = r->gen;
    unsigned width = l_width(LLVMTypeOf(v_f != NULL ? v_f : v_q));

    if (r->v_divisor != NULL)
        return LLVMBuildFDiv(gen->b, v_f, l_splat(gen, r->v_divisor, width), "");
    if (v_q != NULL) {
        LLVMValueRef v = l_load(gen, FL_FLOAT, l_element_address(gen, r->data, r->v_row, v_column), width);

        v = LLVMBuildFMul(gen->b, LLVMBuildFMul(gen->b, l_number(LLVMTypeOf(v), 2.0), v, ""), v_q, "");
        return v_f == NULL ? v : LLVMBuildFAdd(gen->b, v_f, v, "");
    }
    return v_f;
}

typedef LLVMValueRef sums[MAX_SUMS][L_MAX_VECTORS];

static const l_strip one_column = {.n = 1, .width = {1}, .columns = 1, .registers = 1};

/* Vectors of array x that a strip of the result takes. */
static const l_strip *strip_of_array(const row_sums *r, unsigned x, const l_strip *s)
{
    return r->q_is_column && x == r->n - 1 ? &one_column : s;
}

/* The sums of each array over their part of the list, which is the same for all n of them. */
static void sum_lists(const row_sums *r, const l_strip *s, unsigned n, LLVMValueRef v_column, sums *v_sums)
{
    fl_gen *gen = r->gen;
    LLVMValueRef v_i, v_divisor = NULL;
    unsigned carried = 0;
    l_loop k;

    l_loop_begin(gen, &k, r->v_from, r->v_to, 1);
    for (unsigned i = 0; i < n; i++)
        for (unsigned x = 0; x < r[i].n; x++)
            for (unsigned v = 0; v < strip_of_array(&r[i], x, &s[i])->n; v++)
                v_sums[i][x][v] = l_carry(gen, &k, LLVMConstNull(l_vector(gen->f32, strip_of_array(&r[i], x, &s[i])->width[v])));
    v_i = list_entry(r, k.v_i);
    if (r->v_bags != NULL)
        v_i = LLVMBuildSExt(gen->b, l_load(gen, FL_INT32, l_at(gen, FL_INT32, r->v_bags, v_i), 1), gen->i64,
                            "");
    if (r->offsets != FL_NONE)
        v_divisor = bag_length(gen, r->offsets, v_i);
    if (r->v_last != NULL)
        prefetch_ahead(r, k.v_i);
    for (unsigned i = 0; i < n; i++)
        for (unsigned x = 0; x < r[i].n; x++) {
            const l_strip *part = strip_of_array(&r[i], x, &s[i]);
            LLVMValueRef v_at = l_mul(gen, v_i, r[i].v_stride[x]);

            v_at = l_at(gen, FL_FLOAT, r[i].v_x[x], part == &one_column ? v_at : l_add(gen, v_at, v_column));
            for (unsigned v = 0; v < part->n; v++) {
                LLVMValueRef v_term = l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, v_at, l_i64(gen, part->at[v])), part->width[v]);

                if (v_divisor != NULL)
                    v_term = LLVMBuildFDiv(gen->b, v_term, l_splat(gen, v_divisor, part->width[v]), "");
                l_next(&k, carried++, LLVMBuildFAdd(gen->b, v_sums[i][x][v], v_term, ""));
            }
        }
    l_loop_end(gen, &k);
    carried = 0;
    for (unsigned i = 0; i < n; i++)
        for (unsigned x = 0; x < r[i].n; x++)
            for (unsigned v = 0; v < strip_of_array(&r[i], x, &s[i])->n; v++)
                v_sums[i][x][v] = k.v_result[carried++];
}

static void store_sums(const row_sums *r, const l_strip *s, LLVMValueRef v_column, sums v_sums)
{
    fl_gen *gen = r->gen;

    for (unsigned v = 0; v < s->n; v++) {
        LLVMValueRef v_j = l_add(gen, v_column, l_i64(gen, s->at[v])), v_f, v_q = NULL;

        v_f = r->n == 0         ? LLVMConstNull(l_vector(gen->f32, s->width[v]))
              : r->only_squares ? NULL
                                : v_sums[0][v];
        if (r->q_is_column)
            v_q = l_splat(gen, v_sums[r->n - 1][0], s->width[v]);
        else if (r->only_squares || r->n == 2)
            v_q = v_sums[r->n - 1][v];
        if (r->v_scale != NULL)
            v_q = LLVMBuildFMul(gen->b, v_q, l_load(gen, FL_FLOAT, l_at(gen, FL_FLOAT, r->v_scale, v_j), s->width[v]), "");
        l_store(gen, FL_FLOAT, finished(r, v_f, v_q, v_j), l_element_address(gen, r->out, r->v_row, v_j));
    }
}

static void sum_strip(void *arg, const l_strip *s, LLVMValueRef v_column)
{
    const row_sums *r = arg;
    sums v_sums;

    if (r->n > 0)
        sum_lists(r, s, 1, v_column, &v_sums);
    store_sums(r, s, v_column, v_sums);
}

static void sum_row(row_sums *r)
{
    unsigned n = r->n > 1 ? r->n : 1;

    l_strips(r->gen, r->width, r->gen->n_registers / 2 / n, sum_strip, r);
}

/* n sums of the distinct rows of the current slot, each row with its part of `order`: one after the other, or row by row together. */
static void sum_distinct_rows(row_sums *r, unsigned n, fl_id segment)
{
    fl_gen *gen = r->gen;
    fl_id rows = l_distinct_rows(gen);
    bool fetch = !gen->fetched;
    l_strip whole[MAX_TOGETHER] = {0};
    sums v_sums[MAX_TOGETHER];
    l_loop d;

    l_loop_begin(gen, &d, gen->v_row_from, gen->v_row_to, 1);
    if (fetch && rows != FL_NONE) /* an optimiser's state, needed when the sums have gone through products */
        l_fetch_rows(gen, rows, d.v_i);
    for (int64_t i = 0; i < 2; i++) {
        LLVMValueRef v = l_load(gen, FL_INT32, l_element_address(gen, segment, d.v_i, l_i64(gen, i)), 1);

        *(i == 0 ? &r->v_from : &r->v_to) = LLVMBuildSExt(gen->b, v, gen->i64, "");
    }
    for (unsigned i = 0; i < n; i++)
        r[i].v_row = d.v_i;
    if (n == 1) {
        sum_row(r);
    } else {
        for (unsigned i = 0; i < n; i++)
            whole[i] = l_strip_of(gen, r[i].width, gen->n_registers);
        sum_lists(r, whole, n, l_i64(gen, 0), v_sums);
        for (unsigned i = 0; i < n; i++)
            store_sums(&r[i], &whole[i], l_i64(gen, 0), v_sums[i]);
    }
    l_loop_end(gen, &d);
}

static void add_array(row_sums *r, LLVMValueRef v_x, LLVMValueRef v_stride)
{
    r->v_x[r->n] = v_x;
    r->v_stride[r->n++] = v_stride;
}

/* True, with a report, if the node is not what there is code for: float of static width and, for gradients,
 * the segment's own slots. */
static bool refuse(fl_gen *gen, fl_id node, fl_id like, fl_id count)
{
    const fl_type *t = fl_value_type(gen->g, like), *out = fl_value_type(gen->g, gen->g->nodes[node].out[0]);
    bool slots =
        count == FL_NONE || (gen->segment->domain == FL_DOMAIN_SLOTS && gen->segment->count == count);

    if (slots && t->dtype == FL_FLOAT && l_row_elements(t) > 0 && l_row_elements(out) > 0)
        return false;
    l_unsupported(gen, node, "it has code for rows of float of static width, slot by slot");
    return true;
}

/* -----------------------------------------------------------------------------------------------------------
 * bags */

/* EmbeddingBag: for b: out[b] = sum over k in offsets[b] .. offsets[b + 1] of data[values[k]], over their
 * number for mean */
void fl_emit_embedding_bag(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    bool mean = fl_node_string(gen->g, node, "mode", "sum")[0] == 'm';
    row_sums r = {.gen = gen, .out = n->out[0], .list = n->in[1], .data = FL_NONE, .offsets = FL_NONE};
    LLVMValueRef v_from, v_to, v_length, v_empty;
    l_loop b;

    if (refuse(gen, node, n->in[0], FL_NONE))
        return;
    r.width = l_row_elements(fl_value_type(gen->g, n->out[0]));
    add_array(&r, l_place_of(gen, n->in[0])->v_base, l_place_of(gen, n->in[0])->v_row_stride);
    if (l_is_far(gen, n->in[0]))
        r.v_last =
            LLVMBuildSub(gen->b, l_extent(gen, fl_value_type(gen->g, n->in[1])->dims[0]), l_i64(gen, 1), "");
    l_rows(gen, fl_value_type(gen->g, n->out[0])->dims[0], &v_from, &v_to);
    l_loop_begin(gen, &b, v_from, v_to, 1);
    r.v_row = b.v_i;
    r.v_from = l_load(gen, FL_INT64, l_element_address(gen, n->in[2], b.v_i, l_i64(gen, 0)), 1);
    r.v_to = l_load(gen, FL_INT64,
                    l_element_address(gen, n->in[2], l_add(gen, b.v_i, l_i64(gen, 1)), l_i64(gen, 0)), 1);
    if (mean) {
        v_length = LLVMBuildSub(gen->b, r.v_to, r.v_from, "");
        v_empty = LLVMBuildICmp(gen->b, LLVMIntEQ, v_length, l_i64(gen, 0), "");
        v_length = LLVMBuildSIToFP(gen->b, v_length, gen->f32, "");
        r.v_divisor =
            LLVMBuildSelect(gen->b, v_empty, l_f32(gen, 1.0), v_length, ""); /* an empty bag stays 0 */
    }
    sum_row(&r);
    l_loop_end(gen, &b);
}

/* bags[k] = b for k in offsets[b] .. offsets[b + 1] */
static LLVMValueRef bags_of_places(fl_gen *gen, fl_id offsets, LLVMValueRef v_count)
{
    LLVMValueRef v_bags = gen->v_scratch, v_from, v_to;
    l_loop b, k;

    l_loop_begin(gen, &b, l_i64(gen, 0), v_count, 1);
    v_from = l_load(gen, FL_INT64, l_element_address(gen, offsets, b.v_i, l_i64(gen, 0)), 1);
    v_to = l_load(gen, FL_INT64,
                  l_element_address(gen, offsets, l_add(gen, b.v_i, l_i64(gen, 1)), l_i64(gen, 0)), 1);
    l_loop_begin(gen, &k, v_from, v_to, 1);
    l_store(gen, FL_INT32, LLVMBuildTrunc(gen->b, b.v_i, gen->i32, ""), l_at(gen, FL_INT32, v_bags, k.v_i));
    l_loop_end(gen, &k);
    l_loop_end(gen, &b);
    return v_bags;
}

/*
 * EmbeddingBagGrad, where the index is one column, so that order lists places of values:
 *
 *     for b: for k in offsets[b] .. offsets[b + 1]: bag[k] = b                     in scratch
 *     for d: out[d] = sum over k of its order of dy[bag[order[k]]], each over the length of its bag for mean
 */
void fl_emit_embedding_bag_grad(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    bool mean = fl_node_string(gen->g, node, "mode", "sum")[0] == 'm';
    row_sums r = {.gen = gen,
                  .out = n->out[0],
                  .list = n->in[3],
                  .data = FL_NONE,
                  .offsets = mean ? n->in[1] : FL_NONE};

    if (refuse(gen, node, n->in[0], n->in[4]))
        return;
    r.width = l_row_elements(fl_value_type(gen->g, n->out[0]));
    r.v_bags = bags_of_places(gen, n->in[1], l_extent(gen, fl_value_type(gen->g, n->in[0])->dims[0]));
    add_array(&r, l_place_of(gen, n->in[0])->v_base, l_place_of(gen, n->in[0])->v_row_stride);
    sum_distinct_rows(&r, 1, n->in[2]);
}

/* ------------------------------------------------------------------------------------------------------
 * gradients */

/* GatherGrad: for d of slot s: out[d] = sum over b of its order of de[b, s] */
void fl_emit_gather_grad(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    const l_place *de;
    row_sums r = {.gen = gen, .out = n->out[0], .list = n->in[2], .data = FL_NONE, .offsets = FL_NONE};

    if (refuse(gen, node, n->in[0], n->in[3]))
        return;
    r.width = l_row_elements(fl_value_type(gen->g, n->out[0]));
    de = l_place_of(gen, n->in[0]);
    add_array(&r, l_at(gen, FL_FLOAT, de->v_base, l_mul(gen, gen->v_slot, l_i64(gen, r.width))),
              de->v_row_stride);
    sum_distinct_rows(&r, 1, n->in[1]);
}

typedef struct field {
    fl_id df, dq;       /* FL_NONE: counts as 0 */
    fl_id scale;        /* of dq; FL_NONE: 1 */
    int64_t first, end; /* its slots */
    bool dq_is_column;  /* of sums that are wider */
} field;

/* Of the value at `member` in v_slot's field among n of them, address and stride: chosen, not branched to, so that one piece of code does for all. */
static LLVMValueRef choose(fl_gen *gen, const field *fields, uint32_t n, size_t member, LLVMValueRef *v_stride)
{
    LLVMValueRef v_x = NULL;

    for (uint32_t i = n; i-- > 0;) {
        const l_place *place = l_place_of(gen, *(const fl_id *)((const char *)&fields[i] + member));
        LLVMValueRef v_here;

        if (v_x == NULL) {
            v_x = place->v_base;
            *v_stride = place->v_row_stride;
            continue;
        }
        v_here = LLVMBuildICmp(gen->b, LLVMIntSLT, gen->v_slot, l_i64(gen, fields[i].end), "");
        if (v_x != place->v_base)
            v_x = LLVMBuildSelect(gen->b, v_here, place->v_base, v_x, "");
        if (*v_stride != place->v_row_stride) /* equal constants are one value */
            *v_stride = LLVMBuildSelect(gen->b, v_here, place->v_row_stride, *v_stride, "");
    }
    return v_x;
}

static void add_chosen(row_sums *r, const field *fields, uint32_t n, size_t member)
{
    LLVMValueRef v_stride, v_x = choose(r->gen, fields, n, member, &v_stride);

    add_array(r, v_x, v_stride);
}

/* True for slots of the given fields. */
static LLVMValueRef is_slot_of(fl_gen *gen, const field *fields, uint32_t n)
{
    LLVMValueRef v = LLVMConstNull(gen->i1);

    for (uint32_t i = 0; i < n; i++) {
        LLVMValueRef v_from = LLVMBuildICmp(gen->b, LLVMIntSGE, gen->v_slot, l_i64(gen, fields[i].first), "");
        LLVMValueRef v_to = LLVMBuildICmp(gen->b, LLVMIntSLT, gen->v_slot, l_i64(gen, fields[i].end), "");

        v = LLVMBuildOr(gen->b, v, LLVMBuildAnd(gen->b, v_from, v_to, ""), "");
    }
    return v;
}

/* Fields that have slots, and of df and dq just those that are asked for; returns how many. */
static uint32_t fields_with(fl_gen *gen, fl_id node, bool df, bool dq, field *out)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_attr *a = fl_node_attr(gen->g, node, "fields");
    bool squares = fl_node_int(gen->g, node, "squares", 0) != 0, scaled = fl_node_int(gen->g, node, "scaled", 0) != 0;
    uint32_t m = a->n, count = 0;
    int64_t first = 0;

    for (uint32_t i = 0; i < m; first += a->as.ints[i++]) {
        field f = {n->in[4 + i], squares ? n->in[4 + m + i] : FL_NONE, scaled ? n->in[4 + 2 * m + i] : FL_NONE, first,
                   first + a->as.ints[i], false};

        f.dq_is_column = f.scale != FL_NONE && l_row_elements(fl_value_type(gen->g, f.dq)) < l_row_elements(fl_value_type(gen->g, n->out[0]));
        if (f.first < f.end && (f.df != FL_NONE) == df && (f.dq != FL_NONE) == dq)
            out[count++] = f;
    }
    return count;
}

static row_sums pool_sums(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];

    return (row_sums){.gen = gen, .out = n->out[0], .list = n->in[2], .data = n->in[0], .offsets = FL_NONE,
                      .width = l_row_elements(fl_value_type(gen->g, n->out[0]))};
}

/* The arrays of those fields whose case is `kind`, df + 2 dq; there are some. */
static void add_case(row_sums *r, fl_id node, int kind, field *fields)
{
    uint32_t count = fields_with(r->gen, node, (kind & 1) != 0, (kind & 2) != 0, fields);

    r->only_squares = kind == 2;
    if (kind & 1)
        add_chosen(r, fields, count, offsetof(field, df));
    if (kind & 2)
        add_chosen(r, fields, count, offsetof(field, dq));
    if ((kind & 2) && fields[0].scale != FL_NONE) {
        LLVMValueRef v_stride;

        r->v_scale = choose(r->gen, fields, count, offsetof(field, scale), &v_stride);
        r->q_is_column = fields[0].dq_is_column;
    }
}

/* The one case that all fields of `node` come in, as df + 2 dq; 0 if they come in several, or there is nothing to sum. */
static int only_case(fl_gen *gen, fl_id node, field *fields)
{
    int found = 0;

    for (int kind = 0; kind < 4; kind++)
        if (fields_with(gen, node, (kind & 1) != 0, (kind & 2) != 0, fields) > 0) {
            if (found != 0 || kind == 0)
                return 0;
            found = kind;
        }
    return found;
}

/* Is the value made by `first` of the segment or behind it? What stands before has been made. */
static bool is_made_later(const fl_gen *gen, fl_id value, fl_id first)
{
    fl_id node = value == FL_NONE ? FL_NONE : fl_value_node(gen->g, value);
    bool behind = false;

    for (uint32_t i = 0; node != FL_NONE && i < gen->segment->n_nodes; i++) {
        behind = behind || gen->segment->nodes[i] == first;
        if (gen->segment->nodes[i] == node)
            return behind;
    }
    return false;
}

/* Could `node` be made with `first`: sums over the same lists, of what is there by then? */
static bool goes_with(const fl_gen *gen, fl_id node, fl_id first)
{
    const fl_node *n = &gen->g->nodes[node], *m = &gen->g->nodes[first];

    if (n->op != FL_OP_FIELD_POOL_GRAD || gen->emitted[node] || n->in[1] != m->in[1] || n->in[2] != m->in[2] || n->in[3] != m->in[3] ||
        fl_value_type(gen->g, n->out[0])->dtype != FL_FLOAT)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if ((i == 0 || i > 3) && is_made_later(gen, n->in[i], first))
            return false;
    return true;
}

/*
 * Several sums over the same lists, row by row: lists are short, and where one ends is guessed wrong once instead of once
 * for each. As many as fit into half of the registers; returns how many.
 */
static unsigned emit_together(fl_gen *gen, fl_id first, field *fields)
{
    row_sums r[MAX_TOGETHER];
    fl_id nodes[MAX_TOGETHER];
    unsigned n = 0, registers = 0;

    for (uint32_t i = 0; i < gen->segment->n_nodes && n < MAX_TOGETHER; i++) {
        fl_id node = gen->segment->nodes[i];
        fields[0].dq_is_column = false;
        int kind = goes_with(gen, node, first) ? only_case(gen, node, fields) : 0;
        int64_t width = kind == 0 ? 0 : l_row_elements(fl_value_type(gen->g, gen->g->nodes[node].out[0]));

        if (width < 1)
            continue;
        l_strip s = l_strip_of(gen, width, gen->n_registers);
        unsigned more = kind == 3 && !fields[0].dq_is_column ? 2 * s.registers : s.registers + fields[0].dq_is_column;
        if (s.columns < width || registers + more > gen->n_registers / 2)
            continue;
        registers += more;
        nodes[n++] = node;
    }
    if (n < 2)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        r[i] = pool_sums(gen, nodes[i]);
        add_case(&r[i], nodes[i], only_case(gen, nodes[i], fields), fields);
        gen->emitted[nodes[i]] = true;
    }
    sum_distinct_rows(r, n, gen->g->nodes[first].in[1]);
    return n;
}

/*
 * FieldPoolGrad: for d of slot s of field m, over b of its order:
 *     f = sum of df_m[b]; q = sum of dq_m[b]; out[d] = f + (2 data[d]) q
 * One piece of code for each of the cases that fields come in: df, dq, both, none.
 */
void fl_emit_field_pool_grad(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];
    field *fields = fl_arena_new(&gen->arena, field, n->n_in);
    bool fetched = gen->fetched;

    if (fields == NULL)
        gen->status = fl_out_of_memory(gen->dg);
    if (fields == NULL || refuse(gen, node, n->out[0], n->in[3]))
        return;
    if (goes_with(gen, node, node) && emit_together(gen, node, fields) > 0 && gen->emitted[node])
        return;
    for (int kind = 0; kind < 4; kind++) {
        row_sums r = pool_sums(gen, node);
        uint32_t count;
        l_if branch;

        count = fields_with(gen, node, (kind & 1) != 0, (kind & 2) != 0, fields);
        if (count == 0)
            continue;
        gen->fetched = fetched; /* a slot goes through one of the cases */
        l_if_begin(gen, &branch, is_slot_of(gen, fields, count));
        add_case(&r, node, kind, fields);
        sum_distinct_rows(&r, 1, n->in[1]);
        l_if_end(gen, &branch);
    }
}
