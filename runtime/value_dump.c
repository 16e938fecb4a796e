#include "runtime/value_dump.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/native.h"
#include "runtime/npy_file.h"
#include "runtime/sha256.h"

enum { NOTE = 700 };

/* A value that was asked for. */
typedef struct wanted {
    fl_id value, node;
    uint32_t segment, position; /* of its node; segment FL_NONE: in none */
    uint32_t first, end;        /* the part of code that makes it, as stamps say; end 0: it has no code of its own */
    uint8_t *rows;              /* of one in scratch: as far as they have been made */
} wanted;

typedef struct dump_engine {
    fl_engine base; /* first: the engine's address is this struct's */
    fl_value_dump *dump;
    fl_program program;
    const fl_graph *g, *source;
    const char *model;
    fl_engine *plain, *timed;
    fl_native_observer observer;
    wanted *list;
    uint32_t n;
    /* of the step that is dumped: */
    char folder[PATH_MAX];
    uint32_t n_written;
    fl_status status; /* the first failure; nothing is written after it */
    fl_diag *dg;
} dump_engine;

/* Result k of node i was asked for. */
static bool matches(const fl_value_dump *dump, const fl_graph *g, fl_id i, uint32_t k)
{
    const fl_node *n = &g->nodes[i];

    return n->op != FL_OP_NOP && n->op != FL_OP_CONSTANT && n->out[k] != FL_NONE && g->values[n->out[k]].name &&
           fnmatch(dump->pattern, g->values[n->out[k]].name, 0) == 0;
}

bool fl_value_dump_matches(const fl_value_dump *dump, const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++)
            if (matches(dump, g, i, k))
                return true;
    return false;
}

void fl_value_file_name(const char *name, char path[FL_VALUE_FILE])
{
    enum { LONGEST = 200 }; /* most file systems hold 255 bytes, and a file that is being written has a longer name for a while */
    static const char hex[] = "0123456789ABCDEF";
    size_t at = 0;
    const char *p = name;

    for (; *p && at + 3 <= LONGEST; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || (c == '.' && at > 0);
        if (!plain) {
            path[at++] = '%';
            path[at++] = hex[c >> 4];
            c = (unsigned char)hex[c & 15];
        }
        path[at++] = (char)c;
    }
    if (*p) {
        uint8_t digest[32];
        fl_sha256 h;
        fl_sha256_init(&h);
        fl_sha256_add(&h, name, strlen(name));
        fl_sha256_end(&h, digest);
        path[at++] = '~';
        for (int i = 0; i < 8; i++)
            at += (size_t)snprintf(path + at, FL_VALUE_FILE - at, "%02x", digest[i]);
    }
    snprintf(path + at, FL_VALUE_FILE - at, ".npy");
}

/* --------------------------------------------------------------------------------------------------------- notes */

static void FL_PRINTF(2, 3) note(const dump_engine *e, const char *format, ...)
{
    char text[NOTE];
    va_list args;

    if (!e->dump->note)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->dump->note(text);
}

static void note_no_file(const dump_engine *e, const char *name, const char *why)
{
    note(e, "dump-values: %s: no file for \"%s\": %s", fl_program_name(e->program), name, why);
}

/* Once a program is enough. */
static void note_absent(const dump_engine *e, const wanted *w, const char *why)
{
    if (!e->dump->told[e->program])
        note_no_file(e, e->g->values[w->value].name, why);
}

/* Values of the graph that the program was made from. */
static void note_taken_away(const dump_engine *e)
{
    char why[NOTE - 200];

    for (fl_id i = 0; e->source && !e->dump->told[e->program] && i < e->source->n_nodes; i++)
        for (uint32_t k = 0; k < e->source->nodes[i].n_out; k++) {
            if (!matches(e->dump, e->source, i, k))
                continue;
            const char *name = e->source->values[e->source->nodes[i].out[k]].name;
            snprintf(why, sizeof why, "passes took it away; `flenc explain %s %s` tells which", e->model, name);
            if (fl_graph_find(e->g, name) == FL_NONE)
                note_no_file(e, name, why);
        }
}

/* --------------------------------------------------------------------------------------------------------- files */

static fl_status make_folders(dump_engine *e, int64_t step, fl_diag *dg)
{
    if ((size_t)snprintf(e->folder, sizeof e->folder, "%s/%s.%lld", e->dump->folder, fl_program_name(e->program), (long long)step) >= sizeof e->folder - FL_VALUE_FILE - 2)
        return fl_error(dg, FL_E_OPEN, FL_FILE(e->dump->folder), "the folder's name is too long");
    if ((mkdir(e->dump->folder, 0777) != 0 && errno != EEXIST) || (mkdir(e->folder, 0777) != 0 && errno != EEXIST))
        return fl_error(dg, FL_E_OPEN, FL_FILE(e->folder), "cannot make the folder: %s", strerror(errno));
    return FL_OK;
}

static void write_value(dump_engine *e, const wanted *w, const fl_type *type, const void *bytes)
{
    char path[PATH_MAX + FL_VALUE_FILE], file[FL_VALUE_FILE];

    if (e->status != FL_OK)
        return;
    if (!fl_npy_dtype_name(type->dtype)) {
        note_absent(e, w, "numpy has no such elements");
        return;
    }
    fl_value_file_name(e->g->values[w->value].name, file);
    snprintf(path, sizeof path, "%s/%s", e->folder, file);
    e->status = fl_npy_write(path, type, bytes, e->dg);
    e->n_written += e->status == FL_OK;
}

/* ---------------------------------------------------------------------------------------- why it is not in memory */

static const fl_storage *storage_of(const dump_engine *e, fl_id v)
{
    return &e->g->schedule->storage[v];
}

/* Reads of value v by the nodes of its part alone: group.c stores what others read. */
static bool only_part_reads(const dump_engine *e, const wanted *w)
{
    const fl_graph *g = e->g;
    const fl_id *nodes = g->schedule->segments[w->segment].nodes;
    uint32_t inside = 0, all = 0;

    for (uint32_t i = w->position + 1; i < w->end; i++)
        for (uint32_t k = 0; k < g->nodes[nodes[i]].n_in; k++)
            inside += g->nodes[nodes[i]].in[k] == w->value;
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; g->nodes[i].op != FL_OP_NOP && k < g->nodes[i].n_in; k++)
            all += g->nodes[i].in[k] == w->value;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        all += g->outputs[i] == w->value;
    for (uint32_t i = 0; i < g->n_updates; i++)
        all += g->updates[i].next == w->value;
    return all == inside;
}

/* A later node that writes into the variable in which v lies, before its phase is over; FL_NONE: none. */
static fl_id overwritten_by(const dump_engine *e, const wanted *w)
{
    const fl_schedule *s = e->g->schedule;
    const fl_storage *at = storage_of(e, w->value);

    if (at->kind != FL_STORAGE_BUFFER || s->buffers[at->buffer].kind != FL_BUFFER_VARIABLE)
        return FL_NONE;
    for (uint32_t i = 0; i < s->n_segments; i++)
        for (uint32_t k = 0; s->segments[i].phase == s->segments[w->segment].phase && k < s->segments[i].n_nodes; k++) {
            const fl_node *n = &e->g->nodes[s->segments[i].nodes[k]];
            if (s->segments[i].nodes[k] <= w->node || fl_op_has(n->op, FL_VIEW) || n->n_out == 0 || n->out[0] == FL_NONE)
                continue;
            const fl_storage *to = storage_of(e, n->out[0]);
            if (to->kind == FL_STORAGE_BUFFER && to->buffer == at->buffer)
                return n->out[0];
        }
    return FL_NONE;
}

/* False, told why, if the value has no elements in memory when its phase is over. */
static bool is_in_memory(const dump_engine *e, const wanted *w)
{
    const fl_graph *g = e->g;
    const fl_node *n = &g->nodes[w->node];
    char why[NOTE - 200];

    if (w->segment == FL_NONE || storage_of(e, w->value)->kind == FL_STORAGE_NONE) {
        note_absent(e, w, "the schedule gives it no memory, since nobody reads it");
        return false;
    }
    if (w->end - w->first > 1 && n->op != FL_OP_SCATTER_ND && only_part_reads(e, w)) {
        const fl_id *nodes = g->schedule->segments[w->segment].nodes;
        fl_id other = nodes[w->end - 1];
        snprintf(why, sizeof why, "it stays in registers, since one loop of %s makes it and all that reads it (%u nodes, up to \"%s\")", g->schedule->segments[w->segment].symbol,
                 w->end - w->first, g->nodes[other].n_out && g->nodes[other].out[0] != FL_NONE ? g->values[g->nodes[other].out[0]].name : "");
        note_absent(e, w, why);
        return false;
    }
    fl_id by = overwritten_by(e, w);
    if (by != FL_NONE) {
        snprintf(why, sizeof why, "it lies in a variable, into which \"%s\" is written in the same phase", g->values[by].name);
        note_absent(e, w, why);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------ native code */

static void find_part(wanted *w, const fl_native_call *c)
{
    for (size_t i = 0; i < c->n_stamps; i++) {
        uint32_t first = (uint32_t)c->stamps[i].part, end = (uint32_t)(c->stamps[i].part >> 32);
        if (first <= w->position && w->position < end) {
            w->first = first;
            w->end = end;
        }
    }
}

static void on_call(void *arg, const fl_native_call *c)
{
    dump_engine *e = arg;

    for (uint32_t i = 0; i < e->n; i++) {
        wanted *w = &e->list[i];
        if (w->segment != c->segment)
            continue;
        if (w->end == 0)
            find_part(w, c);
        if (storage_of(e, w->value)->kind != FL_STORAGE_SCRATCH || e->status != FL_OK)
            continue;
        fl_type type = fl_native_value_type(e->timed, w->value);
        if (!w->rows)
            w->rows = malloc((size_t)fl_type_elements(&type) * fl_dtype_size(type.dtype) + 1);
        if (w->rows)
            fl_native_value_copy(e->timed, w->value, c, w->rows);
        else
            e->status = fl_out_of_memory(e->dg);
    }
}

static void on_phase_over(void *arg, uint32_t phase)
{
    dump_engine *e = arg;

    for (uint32_t i = 0; i < e->n; i++) {
        wanted *w = &e->list[i];
        bool now = w->segment == FL_NONE ? phase == 0 : e->g->schedule->segments[w->segment].phase == phase;
        if (!now || e->status != FL_OK || !is_in_memory(e, w))
            continue;
        fl_type type = fl_native_value_type(e->timed, w->value);
        if (!w->rows) { /* also of scratch, if there was no row */
            w->rows = malloc((size_t)fl_type_elements(&type) * fl_dtype_size(type.dtype) + 1);
            if (w->rows && storage_of(e, w->value)->kind == FL_STORAGE_BUFFER)
                fl_native_value_copy(e->timed, w->value, NULL, w->rows);
        }
        if (w->rows)
            write_value(e, w, &type, w->rows);
        else
            e->status = fl_out_of_memory(e->dg);
        free(w->rows);
        w->rows = NULL;
    }
}

static fl_status run_native(dump_engine *e, const fl_run *run, fl_diag *dg)
{
    fl_native_observe(e->timed, &e->observer);
    fl_status status = e->timed->run(e->timed, run, dg);
    fl_native_observe(e->timed, NULL);
    for (uint32_t i = 0; i < e->n; i++) {
        free(e->list[i].rows);
        e->list[i].rows = NULL;
    }
    return status == FL_OK ? e->status : status;
}

/* --------------------------------------------------------------------------------------------------- the interpreter */

static fl_status run_interpreter(dump_engine *e, const fl_run *run, fl_diag *dg)
{
    FL_TRY(e->plain->run(e->plain, run, dg));
    for (uint32_t i = 0; i < e->n && e->status == FL_OK; i++) {
        fl_type type;
        void *bytes = NULL;
        e->status = e->plain->value(e->plain, e->list[i].value, &type, &bytes, dg);
        if (e->status == FL_OK && bytes)
            write_value(e, &e->list[i], &type, bytes);
        else if (e->status == FL_OK)
            note_absent(e, &e->list[i], "the interpreter has no such value");
        free(bytes);
    }
    return e->status;
}

/* ---------------------------------------------------------------------------------------------------------- the engine */

static fl_status dump_run(fl_engine *engine, const fl_run *run, fl_diag *dg)
{
    dump_engine *e = (dump_engine *)engine;
    fl_value_dump *dump = e->dump;
    int64_t step = ++dump->steps[e->program];

    if (step < dump->first || step > dump->last)
        return e->plain->run(e->plain, run, dg);
    note_taken_away(e);
    if (e->n > 0)
        FL_TRY(make_folders(e, step, dg));
    e->dg = dg;
    e->status = FL_OK;
    e->n_written = 0;
    FL_TRY(e->timed ? run_native(e, run, dg) : run_interpreter(e, run, dg));
    dump->told[e->program] = true;
    if (e->n > 0)
        note(e, "dump-values: %s, step %lld: %u of %u values, in %s", fl_program_name(e->program), (long long)step, e->n_written, e->n, e->folder);
    return FL_OK;
}

static fl_status dump_flush(fl_engine *engine, fl_diag *dg)
{
    dump_engine *e = (dump_engine *)engine;
    return e->plain->flush(e->plain, dg);
}

static fl_status dump_refresh(fl_engine *engine, fl_diag *dg)
{
    dump_engine *e = (dump_engine *)engine;
    return e->plain->refresh(e->plain, dg);
}

static void dump_free(fl_engine *engine)
{
    dump_engine *e = (dump_engine *)engine;

    e->plain->free(e->plain);
    free(e->list);
    free(e);
}

static void list_values(dump_engine *e)
{
    const fl_graph *g = e->g;

    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_out; k++)
            if (matches(e->dump, g, i, k))
                e->list[e->n++] = (wanted){.value = g->nodes[i].out[k], .node = i, .segment = FL_NONE};
    for (uint32_t s = 0; e->timed && s < g->schedule->n_segments; s++)
        for (uint32_t k = 0; k < g->schedule->segments[s].n_nodes; k++)
            for (uint32_t i = 0; i < e->n; i++)
                if (e->list[i].node == g->schedule->segments[s].nodes[k]) {
                    e->list[i].segment = s;
                    e->list[i].position = k;
                }
}

fl_status fl_value_dump_engine_new(fl_value_dump *dump, fl_program p, const fl_graph *g, fl_engine *plain, fl_engine *timed,
                                   const fl_graph *source, const char *model, fl_engine **out, fl_diag *dg)
{
    dump_engine *e = calloc(1, sizeof *e);

    if (e)
        e->list = calloc((size_t)g->n_values + 1, sizeof *e->list);
    if (!e || !e->list) {
        plain->free(plain);
        free(e);
        return fl_out_of_memory(dg);
    }
    FL_ASSERT(timed || plain->value);
    e->base = (fl_engine){dump_run, dump_flush, dump_refresh, dump_free, NULL};
    e->dump = dump;
    e->program = p;
    e->g = g;
    e->source = source;
    e->model = model;
    e->plain = plain;
    e->timed = timed;
    e->observer = (fl_native_observer){e, on_call, NULL, on_phase_over};
    list_values(e);
    *out = &e->base;
    return FL_OK;
}
