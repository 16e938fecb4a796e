/* draw.c -- what the drawers share: which nodes belong together, kinds of operators, numbers for people. */
#include "frontend/draw.h"

#include "ir/schedule.h"

#include <string.h>

const char *fl_draw_kind(fl_op op)
{
    static const struct {
        uint32_t trait;
        const char *kind;
    } kinds[] = {{FL_OPTIMISER, "optimiser"}, {FL_GATHERING, "look-up"},  {FL_PRODUCT, "product"},
                 {FL_REDUCTION, "sum"},       {FL_VIEW, "shape"},         {FL_ELEMENTWISE, "elementwise"},
                 {FL_MODE, "layer"},          {FL_ROWWISE, "layer"}};
    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        if (fl_op_has(op, kinds[i].trait))
            return kinds[i].kind;
    return "other";
}

const char *fl_draw_group_kind(fl_group_kind kind)
{
    static const char *const words[] = {"segment", "field", "interaction", "layer", "pass"};
    _Static_assert(FL_GROUP_PASS == 4, "words stand in the order of fl_group_kind");
    return words[kind];
}

void fl_draw_number(double x, char text[16])
{
    static const char *const units[] = {" ", " k", " M", " G", " T"};
    size_t u = 0;
    while (x >= 1000 && u + 1 < FL_COUNT(units)) {
        x /= 1000;
        u++;
    }
    snprintf(text, 16, u == 0 || x >= 100 ? "%.0f%s" : "%.1f%s", x, units[u]);
}

/* -------------------------------------------------------------------------------------------------------- groups */

static uint32_t add_group(fl_arena *arena, fl_draw_groups *to, fl_group_kind kind, const char *label)
{
    fl_draw_group group = {kind, label};
    if (!label || !FL_PUSH(arena, to->groups, to->n, to->capacity, group))
        return UINT32_MAX;
    return to->n - 1;
}

static uint32_t named_group(fl_arena *arena, fl_draw_groups *to, fl_group_kind kind, const char *label)
{
    for (uint32_t i = to->n; i-- > 0;)
        if (to->groups[i].kind == kind && strcmp(to->groups[i].label, label) == 0)
            return i;
    return add_group(arena, to, kind, label);
}

static void group_segments(const fl_graph *g, fl_arena *arena, fl_draw_groups *to)
{
    static const char *const domains[] = {"one call", "rows", "slots"};
    for (uint32_t i = 0; i < g->schedule->n_segments; i++) {
        const fl_segment *s = &g->schedule->segments[i];
        uint32_t k = add_group(arena, to, FL_GROUP_SEGMENT,
                               fl_arena_printf(arena, "phase %u: %s (%s)", s->phase, s->symbol, domains[s->domain]));
        for (uint32_t n = 0; n < s->n_nodes; n++)
            if (s->nodes[n] < g->n_nodes)
                to->of_node[s->nodes[n]] = k;
    }
}

/* The m-th of the names in `ai.flen.fields`, or "field M". */
static const char *field_name(const fl_graph *g, fl_arena *arena, uint32_t m)
{
    const char *p = fl_graph_get_meta(g, "ai.flen.fields");
    for (uint32_t i = 0; p && i < m; i++)
        if ((p = strchr(p, ',')) != NULL)
            p++;
    return p ? fl_arena_printf(arena, "field %.*s", (int)strcspn(p, ","), p) : fl_arena_printf(arena, "field %u", m);
}

/* The looked-up rows of all slots, cut along the slots: output m is field m. */
static bool splits_fields(const fl_graph *g, const fl_node *n, fl_id node)
{
    return n->op == FL_OP_SPLIT && n->n_out > 1 && fl_value_is(g, n->in[0], FL_OP_GATHER) != FL_NONE &&
           fl_value_type(g, n->in[0])->rank == 3 && fl_node_int(g, node, "axis", 0) == 1;
}

/*
 * A value belongs to a field if all that it is computed from, weights and constants aside, does; to the fields' interaction if it is
 * made from values of several fields, or of the interaction, element by element. field[v]: 0 weights alone, 1 anything, m + 2 field m, BETWEEN the
 * interaction. Leaves: variables and constants are 0, inputs 1.
 */
#define BETWEEN UINT32_MAX

static uint32_t join_fields(uint32_t a, uint32_t b, bool elementwise)
{
    if (a == 0 || a == b)
        return b;
    if (b == 0)
        return a;
    return a > 1 && b > 1 && elementwise ? BETWEEN : 1;
}

static void group_fields(const fl_graph *g, fl_arena *arena, fl_draw_groups *to)
{
    uint32_t *field = fl_arena_new(arena, uint32_t, g->n_values), *groups = NULL, n_groups = 0;
    for (fl_id v = 0; field && v < g->n_values; v++)
        field[v] = g->values[v].kind == FL_VALUE_INPUT;
    for (fl_id i = 0; field && i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (splits_fields(g, n, i)) {
            if (n->n_out > n_groups) {
                uint32_t *more = fl_arena_new(arena, uint32_t, n->n_out);
                for (uint32_t m = 0; more && m < n->n_out; m++)
                    more[m] = m < n_groups ? groups[m] : add_group(arena, to, FL_GROUP_FIELD, field_name(g, arena, m));
                groups = more;
                n_groups = more ? n->n_out : 0;
            }
            for (uint32_t m = 0; m < n->n_out; m++)
                if (n->out[m] != FL_NONE)
                    field[n->out[m]] = m + 2;
            continue;
        }
        uint32_t f = 0;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE && field[n->in[k]])
                f = join_fields(f, field[n->in[k]], fl_op_has(n->op, FL_ELEMENTWISE));
        if (f == BETWEEN && !fl_op_has(n->op, FL_ELEMENTWISE))
            f = 1;
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] != FL_NONE)
                field[n->out[k]] = f;
        if (f == BETWEEN)
            to->of_node[i] = named_group(arena, to, FL_GROUP_INTERACTION, "interaction of fields");
        else if (f > 1 && f - 2 < n_groups)
            to->of_node[i] = groups[f - 2];
    }
}

/* "mlp.0" of "mlp.0.product"; length 0: none. */
static size_t prefix(const fl_graph *g, const fl_node *n)
{
    const char *name = n->n_out && n->out[0] != FL_NONE ? g->values[n->out[0]].name : NULL;
    const char *dot = name ? strrchr(name, '.') : NULL;
    return dot ? (size_t)(dot - name) : 0;
}

static void group_names(const fl_graph *g, fl_arena *arena, fl_draw_groups *to)
{
    static const char *const whole[] = {"differentiate", "lower-optimisers"};
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        if (n->op == FL_OP_NOP || to->of_node[i] != UINT32_MAX)
            continue;
        for (size_t k = 0; k < FL_COUNT(whole); k++)
            if (n->origin.pass && strcmp(n->origin.pass, whole[k]) == 0)
                to->of_node[i] = named_group(arena, to, FL_GROUP_PASS, n->origin.pass);
        size_t length = to->of_node[i] == UINT32_MAX ? prefix(g, n) : 0;
        const char *name = length ? fl_arena_strndup(arena, g->values[n->out[0]].name, length) : NULL;
        if (name && strncmp(name, "d.", 2) != 0 && n->op != FL_OP_CONSTANT)
            to->of_node[i] = named_group(arena, to, FL_GROUP_LAYER, name);
    }
}

static bool drawn(const fl_graph *g, fl_id node)
{
    return g->nodes[node].op != FL_OP_NOP && g->nodes[node].op != FL_OP_CONSTANT;
}

/* A layer of one node says nothing that the node does not. */
static void drop_single_layers(const fl_graph *g, fl_arena *arena, fl_draw_groups *to)
{
    uint32_t *members = fl_arena_new(arena, uint32_t, to->n);
    for (fl_id i = 0; members && i < g->n_nodes; i++)
        if (to->of_node[i] != UINT32_MAX)
            members[to->of_node[i]] += drawn(g, i);
    for (fl_id i = 0; members && i < g->n_nodes; i++)
        if (to->of_node[i] != UINT32_MAX && members[to->of_node[i]] < 2 && to->groups[to->of_node[i]].kind == FL_GROUP_LAYER)
            to->of_node[i] = UINT32_MAX;
}

/* A counting sort of the nodes by group. */
static void list_members(const fl_graph *g, fl_arena *arena, fl_draw_groups *to)
{
    to->start = fl_arena_new(arena, uint32_t, to->n + 3);
    to->members = fl_arena_new(arena, fl_id, g->n_nodes);
    if (!to->start || !to->members)
        return;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        uint32_t k = to->of_node[i] == UINT32_MAX ? to->n : to->of_node[i];
        to->start[k + 2] += drawn(g, i);
    }
    for (uint32_t k = 0; k <= to->n; k++)
        to->start[k + 2] += to->start[k + 1];
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (drawn(g, i))
            to->members[to->start[(to->of_node[i] == UINT32_MAX ? to->n : to->of_node[i]) + 1]++] = i;
}

bool fl_draw_find_groups(const fl_graph *g, fl_arena *arena, fl_draw_groups *out)
{
    *out = (fl_draw_groups){.of_node = fl_arena_new(arena, uint32_t, g->n_nodes)};
    for (fl_id i = 0; out->of_node && i < g->n_nodes; i++)
        out->of_node[i] = UINT32_MAX;
    if (!out->of_node)
        return false;
    if (g->schedule) {
        group_segments(g, arena, out);
    } else {
        group_fields(g, arena, out);
        group_names(g, arena, out);
        drop_single_layers(g, arena, out);
    }
    list_members(g, arena, out);
    return !arena->failed;
}
