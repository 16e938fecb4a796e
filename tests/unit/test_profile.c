/*
 * test_profile.c -- profiles of a small model: the trace against Chrome's format (fields, phases, nesting, order), its sums against the table's numbers, the
 * rule that parts make up calls and calls make up steps; and that timed code computes what plain code does, bit for bit.
 */
#include "runtime/profile.h"

#include "backend/backend.h"
#include "runtime/inference.h"
#include "runtime/measured_rows.h"

#include "model_file.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { BATCH = 300, STEPS = 6, TRACED = 4 };

static char folder[] = "/tmp/flen-profile-XXXXXX", model[64];

static const char configuration[] = "network: flen\nseed: 3\nembedding_size: 8\nmlp: {widths: [16, 8], order: [batch_norm, relu, dropout]}\ndropout: 0.1\n"
                                    "fields: {a: [user, word], b: [item]}\ninputs:\n  label: click\n  slots:\n"
                                    "    - {name: user, vocabulary: range, rows: 100}\n"
                                    "    - {name: word, vocabulary: hash, rows: 50}\n"
                                    "    - {name: item, vocabulary: hash, rows: 70}\n";

static int make_model(void **state)
{
    char source[64];
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(model, sizeof model, "%s/model.bin", folder);
    snprintf(source, sizeof source, "%s/config.yaml", folder);
    setenv("FLEN_CACHE_DIR", folder, 1);
    make_model_file(configuration, source, model);
    return 0;
}

static int remove_model(void **state)
{
    char command[128];
    (void)state;

    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void open_session(fl_session *s, fl_program program, uint32_t threads, fl_measured *rows)
{
    fl_session_options so = {.train = program == FL_PROGRAM_TRAIN, .first_weights = true, .threads = threads, .compile = fl_compile_as};

    assert_int_equal(fl_session_open(s, model, &so, NULL), FL_OK);
    assert_int_equal(fl_measured_rows(s, program, &(fl_measured_from){.skew = 1.1, .n = 4 * BATCH}, rows, NULL), FL_OK);
}

/* ------------------------------------------------------------------------------------------------------ the trace */

/* What stands open on a row while its events are read in order; and sums, in nanoseconds, by category. */
typedef struct reading {
    double end[8];       /* of the events that hold the present one */
    double children[8];  /* sum of durations inside of each */
    double whole[8];     /* its duration */
    int depth;
    double last; /* begin of the last event */
} reading;

static double number(const json_t *event, const char *key)
{
    const json_t *n = json_object_get(event, key);
    assert_true(json_is_number(n));
    return json_number_value(n);
}

/* The event is closed: its children fill at most what it took. A nanosecond of slack for the decimals of microseconds as doubles. */
static void close_one(reading *r)
{
    r->depth--;
    assert_true(r->children[r->depth] <= r->whole[r->depth] + 0.001);
}

static void read_complete(reading *r, const json_t *event, double sums[2][16], const fl_profile *p)
{
    double from = number(event, "ts"), took = number(event, "dur");
    const char *category = json_string_value(json_object_get(event, "cat"));
    static const char *const levels[] = {"step", "segment", "node"};

    assert_true(from >= 0 && took >= 0 && from >= r->last);
    r->last = from;
    while (r->depth > 0 && from >= r->end[r->depth - 1] - 0.0005)
        close_one(r);
    if (r->depth > 0) { /* begins inside: ends inside */
        assert_true(from + took <= r->end[r->depth - 1] + 0.0005);
        r->children[r->depth - 1] += took;
    }
    assert_non_null(category);
    int tid = (int)number(event, "tid");
    if (strcmp(category, "plain") == 0 || strcmp(category, "step") == 0)
        assert_true(r->depth == 0 && tid == 0);
    if (strcmp(category, "node") == 0)
        assert_true(r->depth > 0); /* in its call */
    for (int i = 0; i < 3; i++)
        if (strcmp(category, levels[i]) == 0)
            sums[0][i] += took;
    if (strcmp(category, "wait") == 0)
        sums[0][3] += took;
    const char *name = json_string_value(json_object_get(event, "name"));
    for (uint32_t i = 0; strcmp(category, "segment") == 0 && i < p->g->schedule->n_segments; i++)
        if (strcmp(name, p->g->schedule->segments[i].symbol) == 0)
            sums[1][i] += took;
    if (took > 0) {
        assert_true(r->depth < 8);
        r->end[r->depth] = from + took;
        r->whole[r->depth] = took;
        r->children[r->depth++] = 0;
    }
}

static json_t *load(const fl_profile *p, void write(const fl_profile *p, const char *name, FILE *f), const char *head, const char *tail)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    json_error_t error;

    write(p, "a \"model\"\n</script>.bin", f);
    assert_int_equal(fclose(f), 0);
    char *from = head ? strstr(text, head) : text;
    assert_non_null(from);
    from += head ? strlen(head) : 0;
    char *to = tail ? strstr(from, tail) : text + n;
    assert_non_null(to);
    json_t *json = json_loadb(from, (size_t)(to - from), JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s at %d", error.text, error.position);
    free(text);
    return json;
}

static void check_trace(const fl_profile *p, double sums[2][16])
{
    json_t *trace = load(p, fl_profile_trace, NULL, NULL), *events = json_object_get(trace, "traceEvents"), *event;
    reading rows[4] = {{.depth = 0}};
    size_t i, named = 0, complete = 0;

    assert_true(json_is_array(events));
    json_array_foreach(events, i, event) {
        const char *phase = json_string_value(json_object_get(event, "ph"));
        assert_non_null(phase);
        assert_non_null(json_string_value(json_object_get(event, "name")));
        assert_true(json_is_integer(json_object_get(event, "pid")) && json_is_integer(json_object_get(event, "tid")));
        size_t tid = (size_t)number(event, "tid");
        assert_true(tid < p->workers && tid < FL_COUNT(rows));
        if (strcmp(phase, "M") == 0) {
            assert_true(json_is_string(json_object_get(json_object_get(event, "args"), "name")));
            named += strcmp(json_string_value(json_object_get(event, "name")), "thread_name") == 0;
            continue;
        }
        assert_string_equal(phase, "X");
        assert_true(json_is_object(json_object_get(event, "args")));
        read_complete(&rows[tid], event, sums, p);
        complete++;
    }
    for (size_t t = 0; t < FL_COUNT(rows); t++)
        while (rows[t].depth > 0)
            close_one(&rows[t]);
    assert_int_equal(named, p->workers);
    assert_int_equal(complete, p->n_events);
    json_decref(trace);
}

/* Microseconds of a box and all in it, checked: boxes fill at most what holds them, and the page's tree has the profile's sums. */
static double check_box(const json_t *box)
{
    double us = number(box, "us"), inside = 0;
    const json_t *boxes = json_object_get(box, "boxes"), *b;
    size_t i;

    json_array_foreach(boxes, i, b)
        inside += check_box(b);
    assert_true(us >= 0 && (!boxes || fabs(inside - us) <= 1e-3 + 1e-9 * us));
    return us;
}

static void check_profile(const fl_profile *p, bool all_traced)
{
    double sums[2][16] = {{0}}, parts = 0, segments = 0, slack = 0.002 * (double)p->n_events + 1e-6 * p->worker_ns;

    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++) {
        const fl_profile_segment *s = &p->segments[i];
        uint32_t end = 0;
        for (uint32_t k = 0; k < s->n_parts; k++) {
            assert_true(s->parts[k].first >= end); /* a node is in one part at most */
            end = s->parts[k].first + s->parts[k].n_nodes;
            assert_int_equal(s->parts[k].calls, s->calls);
        }
        assert_true(s->n_parts > 0 && end <= p->g->schedule->segments[i].n_nodes);
        assert_true(fl_profile_parts_ns(s) <= s->ns * (1 + 1e-9));
        parts += fl_profile_parts_ns(s);
        segments += s->ns;
    }
    assert_true(parts > 0.5 * segments && segments + p->wait_ns <= p->worker_ns * (1 + 1e-9) && p->step_ns <= p->worker_ns);
    check_trace(p, sums);
    if (all_traced) { /* in microseconds here, rounded to nanoseconds each */
        assert_true(fabs(1000 * sums[0][0] - p->step_ns) <= slack + (double)p->n_events);
        assert_true(fabs(1000 * sums[0][1] - segments) <= slack + (double)p->n_events);
        assert_true(fabs(1000 * sums[0][2] - parts) <= slack + (double)p->n_events);
        assert_true(fabs(1000 * sums[0][3] - p->wait_ns) <= slack + (double)p->n_events);
        for (uint32_t i = 0; i < p->g->schedule->n_segments; i++)
            assert_true(fabs(1000 * sums[1][i] - p->segments[i].ns) <= slack + (double)p->n_events);
    }
    json_t *tree = load(p, fl_profile_flame, "id=\"tree\">\n", "</script>");
    assert_true(fabs(check_box(json_object_get(tree, "root")) - p->worker_ns / 1000 / (double)p->steps) < 1e-3);
    assert_string_equal(json_string_value(json_object_get(tree, "title")),
                        p->program == FL_PROGRAM_TRAIN ? "a \"model\"\n</script>.bin: train" : "a \"model\"\n</script>.bin: predict");
    json_decref(tree);
}

/* The lines of JSON and the table say what the profile holds. */
static void check_lines(const fl_profile *p)
{
    char *text = NULL, *line, *rest;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    double us = 0, all = 0;

    fl_profile_print_json(p, f);
    fclose(f);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        const char *event = json_string_value(json_object_get(json, "event"));
        assert_non_null(event);
        if (strcmp(event, "segment") == 0)
            us += number(json, "us");
        if (strcmp(event, "profile") == 0) {
            all = number(json, "us");
            us += number(json, "wait_us") + number(json, "between_us");
        }
        json_decref(json);
    }
    assert_true(all > 0 && fabs(us - all) < 0.01);
    free(text);
    f = open_memstream(&text, &n);
    fl_profile_print(p, f);
    fclose(f);
    assert_non_null(strstr(text, p->program == FL_PROGRAM_TRAIN ? "\ntrain_0" + 1 : "predict_0"));
    assert_non_null(strstr(text, "100.0%  all\n"));
    free(text);
}

static void profiles_add_up(void **state)
{
    static const fl_program programs[] = {FL_PROGRAM_TRAIN, FL_PROGRAM_PREDICT};
    (void)state;

    for (size_t k = 0; k < FL_COUNT(programs); k++)
        for (uint32_t threads = 1; threads <= 3; threads += 2)
            for (int all = 0; all < 2; all++) {
                fl_session s;
                fl_measured rows;
                fl_profile p;
                open_session(&s, programs[k], threads, &rows);
                fl_profile_options o = {programs[k], BATCH, &rows, STEPS, all ? STEPS : TRACED};
                assert_int_equal(fl_profile_run(&s, &o, &p, NULL), FL_OK);
                assert_int_equal(p.workers, threads);
                assert_int_equal(p.traced, all ? STEPS : TRACED);
                assert_true((p.wait_ns > 0) == (threads > 1 && programs[k] == FL_PROGRAM_TRAIN)); /* prediction has one phase */
                check_profile(&p, all);
                check_lines(&p);
                fl_profile_deinit(&p);
                fl_measured_deinit(&rows);
                fl_session_close(&s);
            }
}

static void collect(fl_session *s, fl_engine *e, const fl_batch *rows, float *out)
{
    fl_predictor p;

    assert_int_equal(fl_predictor_init(&p, s, rows->n, NULL), FL_OK);
    p.engine = e;
    assert_int_equal(fl_predictor_run(&p, rows, out, out + rows->n, NULL), FL_OK);
    fl_predictor_deinit(&p);
}

/* Predictions, and all variables after steps of training. */
static void timed_code_computes_the_same(void **state)
{
    static float out[2][2 * 4 * BATCH];
    (void)state;

    for (uint32_t threads = 1; threads <= 2; threads++) {
        fl_session s[2];
        fl_measured rows[2];
        fl_engine *e;
        open_session(&s[0], FL_PROGRAM_PREDICT, threads, &rows[0]);
        assert_int_equal(fl_session_engine(&s[0], FL_PROGRAM_PREDICT, rows[0].n, &e, NULL), FL_OK);
        collect(&s[0], e, &rows[0].data, out[0]);
        assert_int_equal(fl_session_timed_engine(&s[0], FL_PROGRAM_PREDICT, rows[0].n, &e, NULL), FL_OK);
        collect(&s[0], e, &rows[0].data, out[1]);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_true(out[0][0] != out[0][1]);
        fl_measured_deinit(&rows[0]);
        fl_session_close(&s[0]);
        for (int timed = 0; timed < 2; timed++) {
            fl_feed feed;
            open_session(&s[timed], FL_PROGRAM_TRAIN, threads, &rows[timed]);
            assert_int_equal(timed ? fl_session_timed_engine(&s[1], FL_PROGRAM_TRAIN, 4 * BATCH, &e, NULL)
                                   : fl_session_engine(&s[0], FL_PROGRAM_TRAIN, 4 * BATCH, &e, NULL), FL_OK);
            assert_int_equal(fl_feed_init(&feed, s[timed].programs[FL_PROGRAM_TRAIN], &s[timed].manifest->schema, NULL), FL_OK);
            for (feed.step = 0; feed.step < 3; feed.step++) {
                fl_run run = fl_feed_run(&feed, &rows[timed].data);
                assert_int_equal(e->run(e, &run, NULL), FL_OK);
            }
            fl_feed_deinit(&feed);
        }
        for (uint32_t v = 0; v < s[0].variables.store.n_vars; v++) {
            const fl_var *a = &s[0].variables.store.vars[v], *b = fl_store_find(&s[1].variables.store, a->name);
            int64_t row = fl_type_elements(&a->type) / (a->type.rank && a->type.dims[0] ? a->type.dims[0] : 1);
            assert_true(b && a->stride == b->stride);
            for (int64_t i = 0; i < (a->type.rank ? a->type.dims[0] : 1); i++)
                assert_memory_equal((const char *)a->data + (size_t)(i * a->stride) * fl_dtype_size(a->type.dtype),
                                    (const char *)b->data + (size_t)(i * b->stride) * fl_dtype_size(a->type.dtype),
                                    (size_t)row * fl_dtype_size(a->type.dtype));
        }
        for (int timed = 0; timed < 2; timed++) {
            fl_measured_deinit(&rows[timed]);
            fl_session_close(&s[timed]);
        }
    }
}

static void names_are_the_graphs(void **state)
{
    fl_session s;
    fl_measured rows;
    fl_profile p;
    char text[4000], cut[24];
    bool found = false;
    (void)state;

    open_session(&s, FL_PROGRAM_PREDICT, 1, &rows);
    assert_int_equal(fl_profile_run(&s, &(fl_profile_options){FL_PROGRAM_PREDICT, BATCH, &rows, 1, 0}, &p, NULL), FL_OK);
    assert_int_equal(p.n_events, 0);
    for (uint32_t i = 0; i < p.g->schedule->n_segments; i++)
        for (uint32_t k = 0; k < p.segments[i].n_parts; k++) {
            fl_profile_part_text(&p, i, p.segments[i].parts[k].first, p.segments[i].parts[k].n_nodes, true, text, sizeof text);
            found |= strstr(text, "probability") != NULL;
            char *rest;
            for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                assert_true(fl_graph_find(p.g, word) != FL_NONE);
        }
    assert_true(found);
    fl_profile_part_text(&p, 0, 0, p.g->schedule->segments[0].n_nodes, true, cut, sizeof cut);
    assert_true(strlen(cut) < sizeof cut && strstr(cut, " more"));
    fl_profile_deinit(&p);
    fl_measured_deinit(&rows);
    fl_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_add_up),
        cmocka_unit_test(timed_code_computes_the_same),
        cmocka_unit_test(names_are_the_graphs),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
