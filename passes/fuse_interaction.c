/*
 * fuse_interaction.c -- a sum of r_ij f_i f_j and r_m (f_m^2 - q_m) becomes one FieldInteraction.
 *
 * The sum is read as a polynomial: Add, Sum, Sub, Neg and products with one-element factors are multiplied out into terms
 * factor * a * b and factor * a, whatever their order and association. Values that others read too are not entered. Of the products of two
 * different vectors, those among a set of vectors that all meet each other are the pairs; a square is a group's term if -factor * q is
 * there as well. Terms that are each other's opposites go. What else stands in the sum is added behind. Two vectors alone are fused only if they are pooled fields. Vectors are [B,K], or
 * [B,1,K] as sums that keep their axis give them.
 *
 * Factors that are the elements of one variable, in order, give the variable itself as operand; else they are joined.
 * Needs ORDER and SHAPES, keeps SHAPES. O(terms * MAX_FIELDS).
 */
#include "passes/rewrite.h"

#include "ir/base/planted.h"
#include "ir/base/strpool.h"

#include <math.h>

enum { MAX_FIELDS = 256, MAX_DEPTH = 4096 };

typedef struct term {
    double c;
    fl_id r;    /* a one-element value; FL_NONE: none */
    fl_id a, b; /* b FL_NONE: linear */
    bool used;
} term;

typedef struct sum {
    fl_graph *g;
    fl_pass_ctx *cx;
    const uint32_t *uses;
    fl_type type; /* of the root */
    term *terms;
    uint32_t n, capacity;
} sum;

static bool is_factor(const fl_graph *g, fl_id v)
{
    const fl_type *t = fl_value_type(g, v);
    return t->dtype == FL_FLOAT && (t->rank == 0 || (t->rank == 1 && t->dims[0] == 1));
}

static bool is_vector(const sum *s, fl_id v)
{
    return fl_type_equal(fl_value_type(s->g, v), &s->type);
}

/* Multiply t by the factor v; false if t would have two factors that are no numbers. */
static bool scale(const fl_graph *g, term *t, fl_id v)
{
    double f;
    if (fl_value_scalar(g, v, &f)) {
        t->c *= f;
        return true;
    }
    if (t->r != FL_NONE)
        return false;
    t->r = v;
    return true;
}

/* The node of v if v is a product of a factor and a vector that only we read. */
static bool scaled(const sum *s, fl_id v, fl_id *factor, fl_id *rest)
{
    fl_id node = fl_value_is(s->g, v, FL_OP_MUL);
    if (node == FL_NONE)
        return false;
    const fl_id *in = s->g->nodes[node].in;
    int k = is_factor(s->g, in[0]) && is_vector(s, in[1]) ? 0 : is_factor(s->g, in[1]) && is_vector(s, in[0]) ? 1 : -1;
    if (k < 0)
        return false;
    *factor = in[k];
    *rest = in[1 - k];
    return true;
}

/* Takes the factors off a vector. */
static bool strip(const sum *s, term *t, fl_id *v)
{
    fl_id factor, rest;
    while (s->uses[*v] == 1 && scaled(s, *v, &factor, &rest)) {
        if (!scale(s->g, t, factor))
            return false;
        *v = rest;
    }
    return true;
}

static void push(sum *s, term t)
{
    (void)FL_PUSH(&s->cx->scratch, s->terms, s->n, s->capacity, t);
}

/* ------------------------------------------------------------------------------------------- terms that are alike */

/* Terms in chains by key: factor and vectors, c but for its sign; or, by_factor, factor and c. Numbers are of terms, + 1. */
typedef struct term_index {
    bool by_factor;
    uint32_t *slots, mask, *next;
} term_index;

static bool index_init(term_index *x, const sum *s, bool by_factor)
{
    uint32_t n = 16;
    while (n < 2 * s->n)
        n *= 2;
    *x = (term_index){by_factor, fl_arena_new(&s->cx->scratch, uint32_t, n), n - 1, fl_arena_new(&s->cx->scratch, uint32_t, s->n + 1u)};
    return x->slots && x->next;
}

/* The slot of terms like t, with the chain's first; 0 if there is none. */
static uint32_t *index_find(const term_index *x, const sum *s, const term *t)
{
    fl_id low = t->a < t->b ? t->a : t->b, high = t->a < t->b ? t->b : t->a;
    struct { double c; fl_id r, low, high, zero; } key = {x->by_factor ? t->c : fabs(t->c), t->r, x->by_factor ? 0 : low, x->by_factor ? 0 : high, 0};
    uint32_t at = (uint32_t)fl_hash_bytes(&key, sizeof key, 0) & x->mask;
    for (; x->slots[at]; at = (at + 1) & x->mask) {
        const term *u = &s->terms[x->slots[at] - 1];
        if (x->by_factor ? t->r == u->r && t->c == u->c
                         : t->r == u->r && fabs(t->c) == fabs(u->c) && ((t->a == u->a && t->b == u->b) || (t->a == u->b && t->b == u->a)))
            break;
    }
    return &x->slots[at];
}

/*
 * a - a is left out, such as the square of a field of one slot less the sum of its squares. Not where parameters are trained: one that is in
 * these terms alone would lose its update, which is more than the gradient.
 */
static void cancel(sum *s)
{
    term_index x;
    if (!index_init(&x, s, false))
        return;
    for (uint32_t i = 0; i < s->n; i++) {
        term *u = &s->terms[i];
        uint32_t *slot = index_find(&x, s, u), first = *slot;
        bool waits = first != 0 && !s->terms[first - 1].used; /* a used one stays as the slot's key */
        if (!waits || s->terms[first - 1].c == u->c) {
            x.next[i] = waits ? first : 0;
            *slot = i + 1;
            continue;
        }
        s->terms[first - 1].used = u->used = true;
        *slot = x.next[first - 1] ? x.next[first - 1] : first;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (!s->terms[i].used)
            s->terms[n++] = s->terms[i];
    s->n = n;
}

static void expand(sum *s, fl_id v, double c, fl_id r, bool root, int depth)
{
    const fl_graph *g = s->g;
    term t = {c, r, v, FL_NONE, false}, product;
    fl_id id = fl_value_node(g, v), factor, rest;
    double exponent;
    bool open = id != FL_NONE && (root || s->uses[v] == 1) && is_vector(s, v) && depth < MAX_DEPTH;
    const fl_node *n = open ? &g->nodes[id] : NULL;
    if (open && (n->op == FL_OP_ADD || n->op == FL_OP_SUM || n->op == FL_OP_SUB)) {
        for (uint32_t k = 0; k < n->n_in; k++)
            expand(s, n->in[k], n->op == FL_OP_SUB && k == 1 && !FL_PLANTED("fuse-interaction") ? -c : c, r, false, depth + 1);
        return;
    }
    if (open && n->op == FL_OP_NEG) {
        expand(s, n->in[0], -c, r, false, depth + 1);
        return;
    }
    product = t;
    if (open && scaled(s, v, &factor, &rest) && scale(g, &product, factor)) {
        expand(s, rest, product.c, product.r, false, depth + 1);
        return;
    }
    if (open && n->op == FL_OP_MUL && is_vector(s, n->in[0]) && is_vector(s, n->in[1])) {
        product.a = n->in[0];
        product.b = n->in[1];
        bool square = product.a == product.b;
        if (square || (strip(s, &product, &product.a) && strip(s, &product, &product.b)))
            t = product;
    } else if (open && n->op == FL_OP_POW && is_vector(s, n->in[0]) && fl_value_scalar(g, n->in[1], &exponent) && exponent == 2) {
        t.a = t.b = n->in[0];
    }
    push(s, t);
}

/* ---------------------------------------------------------------------------------------------- what matches */

typedef struct match {
    fl_id field[MAX_FIELDS]; /* ascending: the outputs of a pool in its order */
    uint32_t m;
    uint32_t *pair;                /* [m*m]: term + 1 of (i < j) */
    uint32_t square[MAX_FIELDS];   /* term + 1 of f^2 */
    uint32_t minus[MAX_FIELDS];    /* term + 1 of -q */
    bool pairs;
} match;

static void add_field(match *x, fl_id v)
{
    uint32_t at = 0;
    while (at < x->m && x->field[at] < v)
        at++;
    if (x->m == MAX_FIELDS || (at < x->m && x->field[at] == v))
        return;
    for (uint32_t k = x->m++; k > at; k--)
        x->field[k] = x->field[k - 1];
    x->field[at] = v;
}

static uint32_t find_field(const match *x, fl_id v)
{
    uint32_t low = 0, high = x->m;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (x->field[middle] < v)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->m && x->field[low] == v ? low : MAX_FIELDS;
}

/* Drop the vector with the fewest partners until all that are left meet each other. */
static void keep_clique(match *x, const sum *s)
{
    uint32_t degree[MAX_FIELDS] = {0}, left = x->m;
    bool gone[MAX_FIELDS] = {false};
    uint16_t *pair = fl_arena_new(&s->cx->scratch, uint16_t, 2 * (size_t)s->n + 1); /* fields of each product; twice the same: of none */
    for (uint32_t k = 0; pair && k < s->n; k++) {
        uint32_t i = find_field(x, s->terms[k].a), j = s->terms[k].b == FL_NONE ? MAX_FIELDS : find_field(x, s->terms[k].b);
        if (i == j || i == MAX_FIELDS || j == MAX_FIELDS)
            continue;
        pair[2 * k] = (uint16_t)i;
        pair[2 * k + 1] = (uint16_t)j;
        degree[i]++;
        degree[j]++;
    }
    while (pair && left > 1) {
        uint32_t worst = MAX_FIELDS;
        for (uint32_t k = 0; k < x->m; k++)
            if (!gone[k] && (worst == MAX_FIELDS || degree[k] < degree[worst]))
                worst = k;
        if (degree[worst] + 1 >= left)
            break;
        gone[worst] = true;
        left--;
        for (uint32_t k = 0; k < s->n; k++) {
            uint32_t i = pair[2 * k], j = pair[2 * k + 1];
            if (i == j || (i != worst && j != worst))
                continue;
            degree[i]--;
            degree[j]--;
            pair[2 * k] = pair[2 * k + 1];
        }
    }
    uint32_t n = 0;
    for (uint32_t k = 0; left > 1 && k < x->m; k++)
        if (!gone[k])
            x->field[n++] = x->field[k];
    x->m = n;
}

/* The linear terms by factor, each chain in order. */
static bool index_linear(term_index *x, const sum *s)
{
    if (!index_init(x, s, true))
        return false;
    for (uint32_t k = s->n; k-- > 0;) {
        if (s->terms[k].b != FL_NONE || !is_vector(s, s->terms[k].a))
            continue;
        uint32_t *slot = index_find(x, s, &s->terms[k]);
        x->next[k] = *slot;
        *slot = k + 1;
    }
    return true;
}

static uint32_t find_minus(const sum *s, const term_index *linear, const term *square)
{
    term opposite = {.c = -square->c, .r = square->r};
    uint32_t k = *index_find(linear, s, &opposite);
    while (k && s->terms[k - 1].used)
        k = linear->next[k - 1];
    return k;
}

static bool is_pooled(const fl_graph *g, fl_id v)
{
    fl_id node = fl_value_node(g, v);
    if (node != FL_NONE && (g->nodes[node].op == FL_OP_ADD || g->nodes[node].op == FL_OP_RESHAPE))
        return is_pooled(g, g->nodes[node].in[0]);
    return node != FL_NONE && fl_op_has(g->nodes[node].op, FL_GATHERING) && g->nodes[node].op != FL_OP_GATHER;
}

static bool find_match(sum *s, match *x)
{
    term_index linear;
    if (!index_linear(&linear, s))
        return false;
    for (uint32_t k = 0; k < s->n; k++) {
        if (s->terms[k].b != FL_NONE && s->terms[k].a != s->terms[k].b) {
            add_field(x, s->terms[k].a);
            add_field(x, s->terms[k].b);
        }
    }
    keep_clique(x, s);
    if (x->m == 2 && !(is_pooled(s->g, x->field[0]) && is_pooled(s->g, x->field[1])))
        x->m = 0;
    x->pairs = x->m > 0;
    for (uint32_t k = 0; k < s->n && !x->pairs; k++)
        if (s->terms[k].b != FL_NONE && s->terms[k].a == s->terms[k].b && find_minus(s, &linear, &s->terms[k]))
            add_field(x, s->terms[k].a);
    x->pair = fl_arena_new(&s->cx->scratch, uint32_t, (size_t)x->m * x->m);
    if (!x->pair || x->m == 0)
        return false;
    for (uint32_t k = 0; k < s->n; k++) {
        term *t = &s->terms[k];
        uint32_t i = find_field(x, t->a), j = t->b == FL_NONE ? MAX_FIELDS : find_field(x, t->b);
        if (i == MAX_FIELDS || j == MAX_FIELDS || (i != j && !x->pairs)) /* without pairs, products of two are added behind */
            continue;
        uint32_t low = i < j ? i : j, high = i < j ? j : i;
        uint32_t *place = i == j ? &x->square[i] : &x->pair[low * x->m + high];
        uint32_t minus = i == j && *place == 0 ? find_minus(s, &linear, t) : 0;
        if (*place || (i == j && !minus))
            continue; /* a second one, or a square alone: added behind */
        *place = k + 1;
        t->used = true;
        if (minus) {
            x->minus[i] = minus;
            s->terms[minus - 1].used = true;
        }
    }
    for (uint32_t i = 0; x->pairs && i < x->m; i++) /* two terms of one pair look like two partners */
        for (uint32_t j = i + 1; j < x->m; j++)
            if (!x->pair[i * x->m + j])
                return false;
    return true;
}

/* -------------------------------------------------------------------------------------------------- building */

/* v is element *at of the vector *source. */
static bool element_of(const fl_graph *g, fl_id v, fl_id *source, int64_t *at)
{
    fl_id node = fl_value_is(g, v, FL_OP_SPLIT);
    if (node == FL_NONE || fl_value_type(g, g->nodes[node].in[0])->rank != 1 ||
        fl_value_type(g, g->nodes[node].in[0])->dims[0] != g->nodes[node].n_out)
        return false;
    *source = g->nodes[node].in[0];
    *at = g->values[v].out;
    return true; /* as many results as elements, each of one */
}

static fl_id times(fl_graph *g, fl_id v, double c)
{
    return c == 1 ? v : fl_build_2(g, FL_OP_MUL, "factor", v, fl_build_scalar(g, "c", c));
}

/* The factors of terms which[0, n) (0: absent, a factor that is not read) as one vector [n]. */
static fl_id build_factors(sum *s, const uint32_t *which, uint32_t n)
{
    fl_graph *g = s->g;
    fl_id source = FL_NONE, *piece = fl_arena_new(&s->cx->scratch, fl_id, n);
    float *numbers = fl_arena_new(&s->cx->scratch, float, n);
    bool whole = true, constant = true, first = true;
    double c = 1;
    for (uint32_t k = 0; piece && numbers && k < n; k++) {
        const term *t = which[k] ? &s->terms[which[k] - 1] : NULL;
        fl_id from;
        int64_t at;
        if (!t)
            continue;
        c = first ? t->c : c;
        numbers[k] = (float)t->c;
        constant = constant && t->r == FL_NONE && (double)numbers[k] == t->c;
        whole = whole && t->r != FL_NONE && element_of(g, t->r, &from, &at) && at == k && t->c == c && (first || from == source) &&
                fl_value_type(g, from)->dims[0] == n;
        source = whole ? from : source;
        first = false;
    }
    if (!piece || !numbers)
        return FL_NONE;
    if (constant)
        return fl_graph_constant(g, fl_graph_fresh_name(g, "r"), fl_type_make(FL_FLOAT, 1, (fl_dim[]){n}), numbers);
    if (whole)
        return times(g, source, c);
    for (uint32_t k = 0; k < n; k++) {
        const term *t = which[k] ? &s->terms[which[k] - 1] : NULL;
        fl_id r = t && t->r != FL_NONE ? times(g, t->r, t->c) : fl_build_scalar(g, "r", t ? t->c : 0);
        piece[k] = fl_value_type(g, r)->rank == 1 ? r : fl_build_reshape(g, "r", r, (int64_t[]){1}, 1);
    }
    return n == 1 ? piece[0] : fl_build_concat(g, "r", piece, n, 0);
}

/* v as [B,K]. */
static fl_id flat(sum *s, fl_id v)
{
    const fl_type *t = fl_value_type(s->g, v);
    return t->rank == 2 ? v : fl_build_reshape(s->g, "flat", v, (int64_t[]){-1, t->dims[2]}, 2);
}

static fl_id build(sum *s, const match *x)
{
    fl_graph *g = s->g;
    uint32_t m = x->m, n_pairs = 0, n_in = 2 + 2 * m;
    fl_id *in = fl_arena_new(&s->cx->scratch, fl_id, n_in);
    uint32_t *which = fl_arena_new(&s->cx->scratch, uint32_t, (size_t)m * m);
    bool squares = false;
    if (!in || !which)
        return FL_NONE;
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t j = i + 1; j < m; j++)
            which[n_pairs++] = x->pair[i * m + j];
        in[2 + i] = flat(s, x->field[i]);
        in[2 + m + i] = x->minus[i] ? flat(s, s->terms[x->minus[i] - 1].a) : FL_NONE;
        squares = squares || x->minus[i];
    }
    in[0] = x->pairs ? build_factors(s, which, n_pairs) : FL_NONE;
    in[1] = squares ? build_factors(s, x->square, m) : FL_NONE;
    fl_id node = fl_node_new(g, FL_OP_FIELD_INTERACTION, "h", in, n_in, 1);
    fl_node_set_int(g, node, "fields", m);
    fl_build_infer(g, node);
    fl_id h = fl_node_out(g, node, 0);
    if (s->type.rank == 3)
        h = fl_build_reshape(g, "h", h, (int64_t[]){-1, 1, s->type.dims[2]}, 3);
    for (uint32_t k = 0; k < s->n; k++) {
        const term *t = &s->terms[k];
        if (t->used)
            continue;
        fl_id v = t->b == FL_NONE ? t->a : fl_build_2(g, FL_OP_MUL, "product", t->a, t->b);
        v = t->r == FL_NONE ? v : fl_build_2(g, FL_OP_MUL, "term", v, t->r);
        h = fl_build_2(g, FL_OP_ADD, "h", h, times(g, v, t->c));
    }
    return h;
}

fl_status fl_pass_fuse_interaction(fl_graph *g, fl_pass_ctx *cx)
{
    fl_rewriter r;
    const uint32_t *uses = fl_graph_count_uses(g, &cx->scratch);
    uint32_t n_values = g->n_values;
    bool *inside = fl_arena_new(&cx->scratch, bool, n_values + 1u);
    if (!uses || !inside || !fl_rewriter_init(&r, g, &cx->scratch))
        return fl_out_of_memory(cx->diag);
    for (fl_id i = g->n_nodes; i-- > 0;) {
        fl_op op = g->nodes[i].op;
        fl_id v = g->nodes[i].n_out == 1 ? g->nodes[i].out[0] : FL_NONE;
        if (v == FL_NONE || (op != FL_OP_ADD && op != FL_OP_SUM && op != FL_OP_SUB && op != FL_OP_NEG && op != FL_OP_MUL))
            continue;
        /* Sums inside a larger one were tried with it. */
        bool tried = inside[v] && uses[v] == 1;
        sum s = {.g = g, .cx = cx, .uses = uses, .type = *fl_value_type(g, v)};
        fl_id factor, rest;
        bool enters = op != FL_OP_MUL || scaled(&s, v, &factor, &rest);
        for (uint32_t k = 0; enters && k < g->nodes[i].n_in; k++)
            inside[g->nodes[i].in[k]] = inside[g->nodes[i].in[k]] || is_vector(&s, g->nodes[i].in[k]);
        match x = {.m = 0};
        int64_t width = s.type.rank == 2 ? s.type.dims[1] : s.type.rank == 3 && s.type.dims[1] == 1 ? s.type.dims[2] : 0;
        if (tried || s.type.dtype != FL_FLOAT || FL_DIM_IS_SYM(width) || width < 1)
            continue;
        expand(&s, v, 1, FL_NONE, true, 0);
        if (cx->scratch.failed)
            return fl_out_of_memory(cx->diag);
        if (g->n_params == 0)
            cancel(&s);
        if (find_match(&s, &x))
            cx->n_changed += fl_rewriter_put(&r, v, build(&s, &x));
        if (cx->scratch.failed)
            return fl_out_of_memory(cx->diag);
    }
    FL_TRY(fl_graph_ok(g, cx->diag));
    if (cx->n_changed == 0)
        return FL_OK;
    fl_rewriter_apply(&r);
    FL_TRY(fl_graph_sort(g, cx->diag));
    uint32_t erased;
    return fl_erase_dead(g, &cx->scratch, &erased) ? FL_OK : fl_out_of_memory(cx->diag);
}
