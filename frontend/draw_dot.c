/*
 * draw_dot.c -- a graph in Graphviz's language: data flow downwards, groups as clusters, shapes on the edges, a colour for each kind of operator.
 *
 * Constants stand as words inside the nodes that read them: two thirds of the nodes of a network are axes and sizes, and hide its figure.
 */
#include "frontend/draw.h"

#include "ir/cost.h"
#include "ir/functions.h"
#include "ir/shape.h"

#include <inttypes.h>
#include <string.h>

typedef struct drawer {
    const fl_graph *g;
    const fl_draw_options *o;
    FILE *out;
    fl_draw_groups groups;
    int64_t *extents;
} drawer;

static const char *colour(const char *kind)
{
    static const struct {
        const char *kind, *colour;
    } table[] = {{"look-up", "#b7e1cd"}, {"product", "#fcd5a5"},     {"sum", "#cfe2f3"},   {"elementwise", "#fff2cc"},
                 {"shape", "#eeeeee"},   {"layer", "#ead1dc"},       {"optimiser", "#d9d2e9"}, {"other", "#d0e0e3"}};
    for (size_t i = 0; i < FL_COUNT(table); i++)
        if (strcmp(table[i].kind, kind) == 0)
            return table[i].colour;
    return "white";
}

/* Inside a quoted string of dot. */
static void put(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

/* The shape alone for floats: "[batch,16]"; other element types with their name. */
static void put_shape(const drawer *d, fl_id v)
{
    char text[256];
    const fl_type *t = fl_value_type(d->g, v);
    if (t->dtype == FL_DTYPE_NONE)
        return;
    fl_type_print(d->g, t, text, sizeof text);
    put(d->out, t->dtype == FL_FLOAT && t->rank > 0 ? text + strlen("float") : text);
}

static void put_constant(const drawer *d, fl_id v)
{
    int64_t ints[8];
    uint32_t n;
    double f;
    fprintf(d->out, "\\n");
    put(d->out, d->g->values[v].name);
    if (fl_value_ints(d->g, v, ints, FL_COUNT(ints), &n)) {
        for (uint32_t i = 0; i < n; i++)
            fprintf(d->out, "%s%" PRId64, i ? ", " : " = ", ints[i]);
    } else if (fl_value_scalar(d->g, v, &f)) {
        fprintf(d->out, " = %g", f);
    }
}

static void put_node(const drawer *d, fl_id i)
{
    const fl_node *n = &d->g->nodes[i];
    const fl_op_info *op = fl_op_get(n->op);
    const char *name = n->op == FL_OP_CALL ? fl_function_name(d->g, i) : op->name;
    fprintf(d->out, "n%u [label=\"", i);
    put(d->out, name);
    for (uint32_t k = 0; k < n->n_out && k < 3; k++)
        if (n->out[k] != FL_NONE) {
            fputs(k == 0 ? "\\n" : ", ", d->out);
            put(d->out, d->g->values[n->out[k]].name);
        }
    fputs(n->n_out > 3 ? ", ..." : "", d->out);
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] != FL_NONE && fl_draw_inlined(d->g, n->in[k]))
            put_constant(d, n->in[k]);
    if (d->o->cost) {
        char flops[16], bytes[16];
        fl_cost c = fl_node_cost(d->g, i, d->extents);
        fl_draw_number(c.flops, flops);
        fl_draw_number(c.bytes, bytes);
        fprintf(d->out, "\\n%sFLOP, %sB", flops, bytes);
    }
    const fl_origin *origin = &n->origin;
    fputs("\", tooltip=\"", d->out);
    if (*op->domain) {
        put(d->out, op->domain);
        fputc('.', d->out);
    }
    put(d->out, name);
    if (origin->loc.file) {
        fputs(" from ", d->out);
        put(d->out, origin->loc.file);
        fprintf(d->out, ":%u:%u", origin->loc.line, origin->loc.column);
    } else if (origin->pass) {
        fprintf(d->out, " made by %s", origin->pass);
    }
    fprintf(d->out, "\", fillcolor=\"%s\"]\n", colour(fl_draw_kind(n->op)));
}

static void put_members(const drawer *d, uint32_t group, const char *indent)
{
    for (uint32_t i = d->groups.start[group]; i < d->groups.start[group + 1]; i++) {
        fputs(indent, d->out);
        put_node(d, d->groups.members[i]);
    }
}

static const char *cluster_colour(fl_group_kind kind)
{
    return kind == FL_GROUP_FIELD ? "#f3faf5" : kind == FL_GROUP_INTERACTION ? "#fdf6ec" : "#fafafa";
}

static void put_clusters(const drawer *d)
{
    for (uint32_t k = 0; k < d->groups.n; k++) {
        if (d->groups.start[k] == d->groups.start[k + 1])
            continue;
        fprintf(d->out, "  subgraph cluster_%u {\n    label=\"", k);
        put(d->out, d->groups.groups[k].label);
        fprintf(d->out, "\"; labeljust=l; style=\"rounded,filled\"; color=\"#999999\"; fillcolor=\"%s\"\n", cluster_colour(d->groups.groups[k].kind));
        put_members(d, k, "    ");
        fputs("  }\n", d->out);
    }
    put_members(d, d->groups.n, "  ");
}

/* Fields stand side by side, as people draw them, and what follows below. */
static void align_fields(const drawer *d)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < d->groups.n; k++) {
        if (d->groups.groups[k].kind != FL_GROUP_FIELD || d->groups.start[k] == d->groups.start[k + 1])
            continue;
        fprintf(d->out, n++ ? " n%u;" : "  newrank=true\n  { rank=same; n%u;", d->groups.members[d->groups.start[k]]);
    }
    fputs(n ? " }\n" : "", d->out);
}

static void put_leaf(const drawer *d, fl_id v)
{
    bool input = d->g->values[v].kind == FL_VALUE_INPUT;
    fprintf(d->out, "  v%u [label=\"", v);
    put(d->out, d->g->values[v].name);
    fputs("\\n", d->out);
    put_shape(d, v);
    fprintf(d->out, "\", shape=%s, fillcolor=\"%s\"]\n", input ? "ellipse" : "cylinder", input ? "white" : "#dce9f7");
}

/* An edge from where a value comes from; `to` names the other end. */
static void put_edge(const drawer *d, fl_id v, const char *to, uint32_t id, const char *more)
{
    const fl_value *value = &d->g->values[v];
    if (fl_draw_inlined(d->g, v))
        put_node(d, value->node); /* a constant that is an output, or a next value, stands for itself */
    if (value->kind == FL_VALUE_NODE)
        fprintf(d->out, "  n%u -> %s%u [label=\"", value->node, to, id);
    else
        fprintf(d->out, "  v%u -> %s%u [label=\"", v, to, id);
    if (value->kind == FL_VALUE_NODE)
        put_shape(d, v);
    fputs("\", edgetooltip=\"", d->out);
    put(d->out, value->name);
    fprintf(d->out, "\"%s]\n", more);
}

static void put_edges(const drawer *d)
{
    const fl_graph *g = d->g;
    for (fl_id i = 0; i < g->n_nodes; i++) {
        const fl_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != FL_NONE && !fl_draw_inlined(g, n->in[k]) && (k == 0 || n->in[k] != n->in[k - 1]))
                put_edge(d, n->in[k], "n", i, "");
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        fprintf(d->out, "  o%u [label=\"", i);
        put(d->out, g->values[g->outputs[i]].name);
        fputs("\", shape=ellipse, peripheries=2, fillcolor=white]\n", d->out);
        put_edge(d, g->outputs[i], "o", i, "");
    }
    for (uint32_t i = 0; i < g->n_updates; i++)
        put_edge(d, g->updates[i].next, "v", g->updates[i].variable, ", style=dashed, constraint=false");
}

fl_status fl_draw_dot(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg)
{
    drawer d = {.g = g, .o = options, .out = out};
    fl_arena arena;
    fl_arena_init(&arena);
    d.extents = fl_arena_new(&arena, int64_t, g->n_symbols);
    const uint32_t *uses = fl_graph_count_uses(g, &arena);
    fl_status status = d.extents && uses && fl_draw_find_groups(g, &arena, &d.groups) ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK) {
        fl_cost_bind(g, options->batch ? options->batch : 1, d.extents);
        fputs("digraph \"", out);
        put(out, g->name);
        fputs("\" {\n  node [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", fontsize=11]\n"
              "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#555555\"]\n  graph [fontname=\"Helvetica\", fontsize=11]\n",
              out);
        put_clusters(&d);
        align_fields(&d);
        for (uint32_t i = 0; i < g->n_inputs; i++)
            put_leaf(&d, g->inputs[i]);
        for (uint32_t i = 0; i < g->n_variables; i++)
            if (uses[g->variables[i]])
                put_leaf(&d, g->variables[i]);
        put_edges(&d);
        fputs("}\n", out);
        if (ferror(out))
            status = fl_error(dg, FL_E_WRITE, FL_NOWHERE, "the picture of graph \"%s\" could not be written", g->name);
    }
    fl_arena_deinit(&arena);
    return status;
}
