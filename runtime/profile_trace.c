/*
 * profile_trace.c -- a profile as Chrome's trace events, which Perfetto and chrome://tracing show.
 *
 * Complete events ("X") alone, besides names of processes and threads ("M"): a row for each worker, in order of time; calls stand inside of
 * steps on the caller's row, parts inside of calls. Times are microseconds with three digits, from whole nanoseconds, so that rounding moves
 * nothing out of what holds it.
 */
#include "runtime/profile.h"

#include "runtime/json_text.h"

enum { NAMES = 160, TEXT = 400 };

static void print_metadata(const char *what, uint32_t tid, const char *key, const char *value, FILE *f)
{
    fprintf(f, "{\"name\":\"%s\",\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"args\":{\"%s\":", what, tid, key);
    fl_json_string(f, value);
    fputs("}},\n", f);
}

static void print_name(const fl_profile *p, const fl_profile_event *e, FILE *f)
{
    char text[NAMES];

    switch (e->kind) {
    case FL_PROFILE_PLAIN:
        snprintf(text, sizeof text, "step of plain code");
        break;
    case FL_PROFILE_STEP:
        snprintf(text, sizeof text, "%s step %lld", fl_program_name(p->program), (long long)e->begin + 1);
        break;
    case FL_PROFILE_CALL:
        snprintf(text, sizeof text, "%s", p->g->schedule->segments[e->segment].symbol);
        break;
    case FL_PROFILE_PART:
        fl_profile_part_text(p, e->segment, e->first, e->n_nodes, true, text, sizeof text);
        break;
    case FL_PROFILE_WAIT:
        snprintf(text, sizeof text, "wait");
        break;
    }
    fl_json_string(f, text);
}

static void print_arguments(const fl_profile *p, const fl_profile_event *e, FILE *f)
{
    char text[TEXT];

    switch (e->kind) {
    case FL_PROFILE_PLAIN:
    case FL_PROFILE_STEP:
        fprintf(f, ",\"args\":{\"rows\":%lld}", (long long)p->batch);
        break;
    case FL_PROFILE_CALL:
        fprintf(f, ",\"args\":{\"phase\":%u,\"%s\":\"%lld to %lld\"}", p->g->schedule->segments[e->segment].phase,
                fl_profile_domain(p->g->schedule->segments[e->segment].domain), (long long)e->begin, (long long)e->end);
        break;
    case FL_PROFILE_PART:
        fl_profile_part_text(p, e->segment, e->first, e->n_nodes, false, text, sizeof text);
        fputs(",\"args\":{\"operators\":", f);
        fl_json_string(f, text);
        fputc('}', f);
        break;
    case FL_PROFILE_WAIT:
        fprintf(f, ",\"args\":{\"phase\":%lld}", (long long)e->begin);
        break;
    }
}

static void print_microseconds(uint64_t ns, FILE *f)
{
    fprintf(f, "%llu.%03llu", (unsigned long long)(ns / 1000), (unsigned long long)(ns % 1000));
}

void fl_profile_trace(const fl_profile *p, const char *model, FILE *f)
{
    static const char *const categories[] = {[FL_PROFILE_PLAIN] = "plain", [FL_PROFILE_STEP] = "step", [FL_PROFILE_CALL] = "segment", [FL_PROFILE_PART] = "node", [FL_PROFILE_WAIT] = "wait"};
    char name[64];

    fputs("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"made_by\":\"flenrt " FLEN_VERSION "\",\"model\":", f);
    fl_json_string(f, model);
    fprintf(f, ",\"program\":\"%s\",\"batch\":%lld,\"steps\":%lld},\n\"traceEvents\":[\n", fl_program_name(p->program), (long long)p->batch, (long long)p->traced);
    print_metadata("process_name", 0, "name", "flenrt", f);
    for (uint32_t w = 0; w < p->workers; w++) {
        snprintf(name, sizeof name, w ? "worker %u" : "worker %u, caller", w);
        print_metadata("thread_name", w, "name", name, f);
    }
    for (size_t i = 0; i < p->n_events; i++) {
        const fl_profile_event *e = &p->events[i];
        fputs("{\"name\":", f);
        print_name(p, e, f);
        fprintf(f, ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":", categories[e->kind], e->worker);
        print_microseconds(e->from, f);
        fputs(",\"dur\":", f);
        print_microseconds(e->to - e->from, f);
        print_arguments(p, e, f);
        fputs(i + 1 < p->n_events ? "},\n" : "}\n", f);
    }
    fputs("]}\n", f);
}
