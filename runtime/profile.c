#include "runtime/profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/native.h"
#include "runtime/ticks.h"

enum { WARM_STEPS = 10, MOST_WARM_STEPS = 100 };
#define WARM_NS 100000000u
/* The counter's rate is measured over at least so long. */
#define LEAST_NS 20000000u

/* Events of a step as they come, each worker for itself; times in ticks. In a cache line of its own. */
typedef struct lane {
    _Alignas(64) fl_profile_event *events;
    size_t n, capacity;
    bool failed; /* out of memory */
} lane;

typedef struct profiler {
    const fl_profile_options *o;
    fl_profile *p;
    fl_engine *plain, *timed;
    fl_native_observer observer;
    fl_steps steps;
    lane *lanes; /* [workers] */
    double *times, *plain_times; /* [steps] ticks */
    double longest;              /* step that is no disturbed one, in ticks */
    uint64_t first_tick, first_ns;
    size_t events_capacity;
} profiler;

/* --------------------------------------------------------------------------------------------- while a step runs */

static void note(lane *l, fl_profile_event e)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity * 2 + 1024;
        fl_profile_event *more = realloc(l->events, capacity * sizeof *more);
        if (!more) {
            l->failed = true;
            return;
        }
        l->events = more;
        l->capacity = capacity;
    }
    l->events[l->n++] = e;
}

/* Ticks never run backwards here, even where a machine's cores disagree. */
static uint64_t not_before(uint64_t ticks, uint64_t from, uint64_t to)
{
    return ticks < from ? from : ticks > to ? to : ticks;
}

static void on_call(void *arg, const fl_native_call *c)
{
    profiler *pr = arg;
    lane *l = &pr->lanes[c->worker];
    uint64_t to = c->to < c->from ? c->from : c->to, at = c->from;

    note(l, (fl_profile_event){FL_PROFILE_CALL, c->worker, c->segment, 0, 0, c->begin, c->end, c->from, to});
    for (size_t i = 0; i < c->n_stamps; i++) {
        uint32_t first = (uint32_t)c->stamps[i].part, end = (uint32_t)(c->stamps[i].part >> 32);
        uint64_t stamp = not_before(c->stamps[i].ticks, at, to);
        if (end > first)
            note(l, (fl_profile_event){FL_PROFILE_PART, c->worker, c->segment, first, end - first, c->begin, c->end, at, stamp});
        at = stamp;
    }
}

static void on_wait(void *arg, uint32_t worker, uint32_t phase, uint64_t from, uint64_t to)
{
    profiler *pr = arg;

    note(&pr->lanes[worker], (fl_profile_event){FL_PROFILE_WAIT, worker, 0, 0, 0, phase, phase, from, to < from ? from : to});
}

/* ------------------------------------------------------------------------------------------------ after a step */

/* The part of a segment that begins with node `first`; kept in order. NULL if out of memory. */
static fl_profile_part *part_of(fl_profile_segment *s, uint32_t first, uint32_t n_nodes)
{
    uint32_t at = 0;

    while (at < s->n_parts && s->parts[at].first < first)
        at++;
    if (at < s->n_parts && s->parts[at].first == first)
        return &s->parts[at];
    fl_profile_part *more = realloc(s->parts, (s->n_parts + 1) * sizeof *more);
    if (!more)
        return NULL;
    s->parts = more;
    memmove(more + at + 1, more + at, (s->n_parts - at) * sizeof *more);
    more[at] = (fl_profile_part){first, n_nodes, 0, 0};
    s->n_parts++;
    return &more[at];
}

/* Sums, in ticks until all is over. False if out of memory. */
static bool add_event(fl_profile *p, const fl_profile_event *e)
{
    double ticks = (double)(e->to - e->from);

    if (e->kind == FL_PROFILE_WAIT) {
        p->wait_ns += ticks;
    } else if (e->kind == FL_PROFILE_CALL) {
        p->segments[e->segment].calls++;
        p->segments[e->segment].ns += ticks;
    } else if (e->kind == FL_PROFILE_PART) {
        fl_profile_part *part = part_of(&p->segments[e->segment], e->first, e->n_nodes);
        if (!part)
            return false;
        part->calls++;
        part->ns += ticks;
    }
    return true;
}

static bool keep_event(profiler *pr, const fl_profile_event *e)
{
    fl_profile *p = pr->p;

    if (p->n_events == pr->events_capacity) {
        size_t capacity = pr->events_capacity * 2 + 4096;
        fl_profile_event *more = realloc(p->events, capacity * sizeof *more);
        if (!more)
            return false;
        p->events = more;
        pr->events_capacity = capacity;
    }
    p->events[p->n_events++] = *e;
    return true;
}

/* Times of two steps: ticks. */
typedef struct step_pair {
    uint64_t plain_from, plain_to, from, to;
} step_pair;

static fl_status add_step(profiler *pr, int64_t step, const step_pair *pair, fl_diag *dg)
{
    fl_profile *p = pr->p;
    uint64_t from = pair->from, to = pair->to;
    fl_profile_event plain = {FL_PROFILE_PLAIN, 0, 0, 0, 0, step, step, pair->plain_from, pair->plain_to};
    fl_profile_event whole = {FL_PROFILE_STEP, 0, 0, 0, 0, step, step, from, to};
    bool keep = step < pr->o->traced, good = !keep || (keep_event(pr, &plain) && keep_event(pr, &whole));
    uint32_t at_work = 0;

    for (uint32_t w = 0; w < p->workers; w++) {
        lane *l = &pr->lanes[w];
        good = good && !l->failed;
        at_work += l->n > 0 || w == 0;
        for (size_t i = 0; i < l->n && good; i++) {
            l->events[i].from = not_before(l->events[i].from, from, to);
            l->events[i].to = not_before(l->events[i].to, from, to);
            good = add_event(p, &l->events[i]) && (!keep || keep_event(pr, &l->events[i]));
        }
        l->n = 0;
    }
    p->step_ns += (double)(to - from);
    p->worker_ns += (double)(to - from) * at_work;
    p->traced += keep;
    return good ? FL_OK : fl_out_of_memory(dg);
}

/* ------------------------------------------------------------------------------------------------------- steps */

static fl_status run_step(profiler *pr, fl_engine *e, uint64_t *from, uint64_t *to, fl_diag *dg)
{
    FL_TRY(fl_steps_load(&pr->steps, dg));
    *from = fl_ticks();
    fl_run run = fl_steps_run(&pr->steps);
    FL_TRY(e->run(e, &run, dg));
    *to = fl_ticks();
    return FL_OK;
}

static fl_status run_pair(profiler *pr, step_pair *t, fl_diag *dg)
{
    for (uint32_t w = 0; w < pr->p->workers; w++)
        pr->lanes[w].n = 0;
    FL_TRY(run_step(pr, pr->plain, &t->plain_from, &t->plain_to, dg));
    return run_step(pr, pr->timed, &t->from, &t->to, dg);
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static fl_status warm_up(profiler *pr, fl_diag *dg)
{
    double times[MOST_WARM_STEPS];
    uint64_t begin = fl_clock_ns();
    step_pair t;
    int n = 0;

    while (n < WARM_STEPS || (n < MOST_WARM_STEPS && fl_clock_ns() - begin < WARM_NS)) {
        FL_TRY(run_pair(pr, &t, dg));
        times[n++] = (double)(t.to - t.from);
    }
    pr->longest = 2 * median(times, n);
    return FL_OK;
}

static fl_status run_all(profiler *pr, fl_diag *dg)
{
    fl_profile *p = pr->p;
    step_pair t;

    FL_TRY(warm_up(pr, dg));
    pr->first_tick = fl_ticks();
    pr->first_ns = fl_clock_ns();
    for (int64_t i = 0; i < p->steps;) {
        FL_TRY(run_pair(pr, &t, dg));
        double ticks = (double)(t.to - t.from);
        if (ticks > pr->longest && p->disturbed < p->steps) {
            p->disturbed++;
            continue;
        }
        pr->plain_times[i] = (double)(t.plain_to - t.plain_from);
        pr->times[i] = ticks;
        FL_TRY(add_step(pr, i++, &t, dg));
    }
    return FL_OK;
}

/* -------------------------------------------------------------------------------------------------- nanoseconds */

static double ns_of_a_tick(const profiler *pr)
{
    uint64_t ns;

    while ((ns = fl_clock_ns() - pr->first_ns) < LEAST_NS)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return (double)ns / (double)(fl_ticks() - pr->first_tick);
}

static int by_worker(const void *a, const void *b)
{
    const fl_profile_event *x = a, *y = b;

    if (x->worker != y->worker)
        return x->worker < y->worker ? -1 : 1;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to > y->to ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

static void to_nanoseconds(profiler *pr)
{
    fl_profile *p = pr->p;
    double ns = ns_of_a_tick(pr);

    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++) {
        p->segments[i].ns *= ns;
        for (uint32_t k = 0; k < p->segments[i].n_parts; k++)
            p->segments[i].parts[k].ns *= ns;
    }
    p->step_ns *= ns;
    p->worker_ns *= ns;
    p->wait_ns *= ns;
    p->median_ns = ns * median(pr->times, p->steps);
    p->plain_ns = ns * median(pr->plain_times, p->steps);
    /* One rule for all moments keeps their order. */
    for (size_t i = 0; i < p->n_events; i++) {
        p->events[i].from = (uint64_t)((double)(p->events[i].from - pr->first_tick) * ns);
        p->events[i].to = (uint64_t)((double)(p->events[i].to - pr->first_tick) * ns);
    }
    if (p->n_events > 0)
        qsort(p->events, p->n_events, sizeof *p->events, by_worker);
}

/* ------------------------------------------------------------------------------------------------------- all of it */

static fl_status prepare(profiler *pr, fl_session *s, fl_diag *dg)
{
    const fl_profile_options *o = pr->o;
    fl_profile *p = pr->p;

    FL_TRY(fl_session_timed_engine(s, o->program, o->batch, &pr->timed, dg));
    FL_TRY(fl_session_engine(s, o->program, o->batch, &pr->plain, dg));
    p->g = s->programs[o->program];
    p->workers = fl_session_threads(s);
    FL_TRY(fl_steps_init(&pr->steps, s, o->program, o->rows, o->batch, dg));
    p->segments = calloc((size_t)p->g->schedule->n_segments + 1, sizeof *p->segments);
    pr->lanes = aligned_alloc(64, p->workers * sizeof *pr->lanes);
    pr->times = calloc((size_t)o->steps, sizeof *pr->times);
    pr->plain_times = calloc((size_t)o->steps, sizeof *pr->plain_times);
    if (pr->lanes)
        memset(pr->lanes, 0, p->workers * sizeof *pr->lanes);
    if (!p->segments || !pr->lanes || !pr->times || !pr->plain_times)
        return fl_out_of_memory(dg);
    pr->observer = (fl_native_observer){pr, on_call, on_wait, NULL};
    fl_native_observe(pr->timed, &pr->observer);
    return FL_OK;
}

fl_status fl_profile_run(fl_session *s, const fl_profile_options *o, fl_profile *out, fl_diag *dg)
{
    profiler pr = {.o = o, .p = out};

    FL_ASSERT(o->batch > 0 && o->batch <= o->rows->n && o->steps > 0 && !s->options.interpret);
    *out = (fl_profile){.program = o->program, .batch = o->batch, .steps = o->steps};
    fl_status status = prepare(&pr, s, dg);
    if (status == FL_OK)
        status = run_all(&pr, dg);
    if (status == FL_OK)
        to_nanoseconds(&pr);
    if (pr.timed)
        fl_native_observe(pr.timed, NULL);
    for (uint32_t w = 0; pr.lanes && w < out->workers; w++)
        free(pr.lanes[w].events);
    free(pr.lanes);
    fl_steps_deinit(&pr.steps);
    free(pr.times);
    free(pr.plain_times);
    if (status != FL_OK)
        fl_profile_deinit(out);
    return status;
}

void fl_profile_deinit(fl_profile *p)
{
    for (uint32_t i = 0; p->segments && i < p->g->schedule->n_segments; i++)
        free(p->segments[i].parts);
    free(p->segments);
    free(p->events);
    *p = (fl_profile){0};
}

/* -------------------------------------------------------------------------------------------------------- words */

double fl_profile_parts_ns(const fl_profile_segment *s)
{
    double ns = 0;

    for (uint32_t i = 0; i < s->n_parts; i++)
        ns += s->parts[i].ns;
    return ns;
}

const char *fl_profile_node_name(const fl_graph *g, fl_id node)
{
    const fl_node *n = &g->nodes[node];

    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] != FL_NONE)
            return g->values[n->out[k]].name;
    return fl_op_get(n->op)->name;
}

const char *fl_profile_domain(fl_domain d)
{
    switch (d) {
    case FL_DOMAIN_ONE:
        return "once";
    case FL_DOMAIN_ROWS:
        return "rows";
    case FL_DOMAIN_SLOTS:
        return "slots";
    }
    return "";
}

void fl_profile_part_text(const fl_profile *p, uint32_t segment, uint32_t first, uint32_t n, bool names, char *text, size_t size)
{
    enum { ROOM = 16 }; /* for the closing words */
    const fl_id *nodes = p->g->schedule->segments[segment].nodes + first;
    size_t at = 0;

    text[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool again = false;
        for (uint32_t k = 0; k < i && !names; k++)
            again |= p->g->nodes[nodes[k]].op == p->g->nodes[nodes[i]].op;
        if (again)
            continue;
        const char *word = names ? fl_profile_node_name(p->g, nodes[i]) : fl_op_get(p->g->nodes[nodes[i]].op)->name;
        if (i > 0 && at + strlen(word) + ROOM >= size) {
            snprintf(text + at, size - at, names ? " and %u more" : " ...", n - i);
            return;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " " : "", word);
        if (at >= size)
            at = size - 1; /* one name, longer than the room: cut */
    }
}
