/*
 * verb_story.c -- `flenc explain X VALUE`: the story of one value. It is told by running the passes again: which one made the node, changed it,
 * or made something else of it; then where its result lies. A model.bin is explained from the configuration that it carries.
 */
#include "frontend/verb_story.h"

#include "frontend/config.h"
#include "frontend/network.h"
#include "frontend/verb_graph.h"
#include "ir/schedule.h"
#include "ir/shape.h"
#include "passes/pass.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct story {
    const char *name;   /* of the value */
    char *line;         /* its node as it was last told; NULL: not there yet, or no more */
    char *source;       /* text of the configuration; NULL: there is none */
    bool told;          /* it was there once */
} story;

/* The line of the node that makes the value; NULL if there is none. */
static char *line_of(const fl_graph *g, const char *name)
{
    char *line = NULL;
    size_t n = 0;
    fl_id v = fl_graph_find(g, name), node = fl_value_node(g, v);
    if (v == FL_NONE)
        return NULL;
    FILE *out = open_memstream(&line, &n);
    if (!out)
        return NULL;
    if (node == FL_NONE)
        fprintf(out, "   (%s of the program)\n", g->values[v].kind == FL_VALUE_INPUT ? "an input" : "a variable or constant");
    else
        fl_node_print(g, node, out);
    if (fclose(out) != 0) {
        free(line);
        return NULL;
    }
    return line;
}

static void tell_place(const story *s, const fl_origin *o)
{
    if (o->from)
        printf("      made from \"%s\"\n", o->from);
    if (!o->loc.file || o->loc.line == 0) /* the whole of a file is no place */
        return;
    printf("      %s:%u:%u\n", o->loc.file, o->loc.line, o->loc.column);
    const char *p = s->source;
    for (uint32_t line = 1; p && line < o->loc.line; line++)
        p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL;
    if (p)
        printf("         %.*s\n", (int)strcspn(p, "\n"), p);
}

/* What became of the value between the last telling and now, by `who`. */
static void tell(story *s, const fl_graph *g, const char *who)
{
    char *line = line_of(g, s->name);
    if (line && (!s->line || strcmp(line, s->line) != 0)) {
        fl_id v = fl_graph_find(g, s->name), node = fl_value_node(g, v);
        printf("%s %s:\n%s", who, !s->told ? "made it" : s->line ? "changed it" : "made it again", line);
        if (!s->told)
            tell_place(s, node == FL_NONE ? &g->values[v].origin : &g->nodes[node].origin);
    } else if (!line && s->line) {
        printf("%s took it away\n", who);
        for (fl_id i = 0; i < g->n_nodes; i++) {
            const fl_node *n = &g->nodes[i];
            if (n->op == FL_OP_NOP || !n->origin.from || strcmp(n->origin.from, s->name) != 0)
                continue;
            fputs("   and made of it:\n", stdout);
            fl_node_print(g, i, stdout);
        }
    }
    s->told = s->told || line;
    free(s->line);
    s->line = line;
}

static void tell_memory(const story *s, const fl_graph *g)
{
    static const char *const kinds[] = {"an input", "a variable", "a constant", "the arena"};
    const fl_schedule *schedule = g->schedule;
    fl_id v = fl_graph_find(g, s->name), node = fl_value_node(g, v);
    if (v == FL_NONE || !schedule || v >= schedule->n_storage)
        return;
    const fl_storage *at = &schedule->storage[v];
    switch (at->kind) {
    case FL_STORAGE_NONE:
        puts("memory: none");
        break;
    case FL_STORAGE_BUFFER: {
        const fl_buffer *b = &schedule->buffers[at->buffer];
        printf("memory: buffer %u (%s), from element %" PRId64, at->buffer, kinds[b->kind], at->offset);
        if (at->row_stride == FL_STRIDE_OF_BUFFER)
            puts(", rows as far apart as the session keeps them");
        else if (at->row_stride == FL_STRIDE_COLUMNS)
            puts(", by columns");
        else if (at->row_stride == FL_STRIDE_DENSE)
            puts(", row after row");
        else
            printf(", rows %" PRId64 " elements apart\n", at->row_stride);
        if (b->kind == FL_BUFFER_ARENA)
            printf("        live from phase %u to %u\n", b->first_phase, b->last_phase);
        break;
    }
    case FL_STORAGE_SCRATCH:
        printf("memory: a worker's scratch, from element %" PRId64 ", rows %" PRId64 " elements apart\n", at->offset, at->row_stride);
        if (at->buffer > 0)
            printf("        behind %u lines for each row that a slot may have\n", at->buffer);
        break;
    }
    for (uint32_t i = 0; i < schedule->n_segments; i++)
        for (uint32_t k = 0; k < schedule->segments[i].n_nodes; k++)
            if (schedule->segments[i].nodes[k] == node)
                printf("code:   segment %s, phase %u\n", schedule->segments[i].symbol, schedule->segments[i].phase);
}

/* Passes of `pipeline` one after another; the value is looked for after each. */
static fl_status tell_passes(story *s, fl_graph *g, const char *pipeline, fl_diag *dg)
{
    for (const char *p = pipeline; *p;) {
        size_t n = 0;
        for (int depth = 0; p[n] && (p[n] != ',' || depth > 0); n++)
            depth += (p[n] == '(') - (p[n] == ')');
        char pass[256];
        snprintf(pass, sizeof pass, "%.*s", (int)n, p);
        p += n + (p[n] == ',');
        FL_TRY(fl_pipeline_run(g, &(fl_pipeline_options){.passes = pass}, dg));
        tell(s, g, pass);
    }
    return FL_OK;
}

static fl_origin origin_in(fl_graph *g, fl_origin o)
{
    o.loc.file = o.loc.file ? fl_strpool_put(&g->names, o.loc.file, strlen(o.loc.file)) : NULL;
    return o;
}

/* Places of `from`, to values that have the same name and are made by the same operator. */
static void take_origins(fl_graph *to, const fl_graph *from)
{
    for (fl_id v = 0; v < to->n_values; v++) {
        fl_id w = to->values[v].name ? fl_graph_find(from, to->values[v].name) : FL_NONE;
        if (w == FL_NONE)
            continue;
        fl_id a = fl_value_node(to, v), b = fl_value_node(from, w);
        if (a == FL_NONE && b == FL_NONE)
            to->values[v].origin = origin_in(to, from->values[w].origin);
        else if (a != FL_NONE && b != FL_NONE && to->nodes[a].op == from->nodes[b].op)
            to->nodes[a].origin = origin_in(to, from->nodes[b].origin);
    }
}

/*
 * The forward graph of a model.bin has no lines; the configuration in the file has. It is built again for its places alone: what --set changed when the model was
 * compiled does not stand in it, and where it cannot be built there are none.
 */
static fl_status places_of_model(story *s, const fl_input *in, fl_diag *dg)
{
    const fl_manifest *m = fl_model_manifest(in->model);
    fl_config c;
    fl_diag ignored;
    fl_graph *again = NULL;
    if (!m->source_text || !*m->source_text)
        return FL_OK;
    s->source = strdup(m->source_text);
    if (!s->source)
        return fl_out_of_memory(dg);
    fl_diag_init(&ignored);
    fl_status status = fl_config_parse(m->source_text, strlen(m->source_text), m->source_name, NULL, 0, &c, &ignored);
    if (status == FL_OK) {
        status = fl_network_build(&c.network, &again, &ignored);
        if (status == FL_OK)
            take_origins(in->graph, again);
        fl_graph_free(again);
        fl_config_deinit(&c);
    }
    fl_diag_deinit(&ignored);
    return status == FL_NO_MEMORY ? fl_out_of_memory(dg) : fl_graph_ok(in->graph, dg);
}

static fl_status read_source(story *s, const char *input)
{
    size_t n;
    fl_status ignored = fl_file_read(input, (size_t)1 << 28, &s->source, &n, NULL);
    (void)ignored; /* lines are shown if they can be read */
    return FL_OK;
}

static fl_status tell_story(story *s, fl_graph *forward, bool train, fl_diag *dg)
{
    fl_graph *g = fl_graph_clone(forward);
    fl_status status = fl_graph_ok(g, dg);
    if (status == FL_OK) {
        printf("\"%s\" in the %s program\n", s->name, train ? "train" : "predict");
        g->name = train ? "train" : "predict"; /* as its segments are called */
        tell(s, g, "the frontend");
        status = tell_passes(s, g, train ? fl_pipeline_train : fl_pipeline_predict, dg);
    }
    if (status == FL_OK && !train)
        status = tell_passes(s, g, fl_pipeline_outline, dg);
    if (status == FL_OK)
        status = tell_passes(s, g, fl_pipeline_schedule, dg);
    if (status == FL_OK)
        tell_memory(s, g);
    if (status == FL_OK && !s->told) {
        const char **names = fl_arena_new(&g->arena, const char *, g->n_values + 1u);
        uint32_t n = 0;
        for (fl_id v = 0; names && v < g->n_values; v++)
            if (g->values[v].name)
                names[n++] = g->values[v].name;
        const char *near = names ? fl_nearest(s->name, names, n) : NULL;
        status = fl_error(dg, FL_E_USAGE, FL_NOWHERE, "no stage of the program has a value \"%s\"", s->name);
        if (near)
            fl_hint(dg, "did you mean \"%s\"?", near);
    }
    fl_graph_free(g);
    return status;
}

fl_status fl_tell_story(const char *input, const char *value, const char *program, fl_diag *dg)
{
    fl_graph_request request = {.input = input, .stage = "forward"};
    fl_input in;
    story s = {.name = value};
    bool train = program && strcmp(program, "train") == 0;
    if (program && !train && strcmp(program, "predict") != 0)
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "stories are told of the programs train and predict, not \"%s\"", program);
    FL_TRY(fl_input_read(&request, &in, dg));
    fl_status status = in.model ? places_of_model(&s, &in, dg) : read_source(&s, input);
    if (status == FL_OK)
        status = tell_story(&s, in.graph, train, dg);
    fl_input_deinit(&in);
    free(s.line);
    free(s.source);
    return status;
}
