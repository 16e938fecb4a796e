/* verb_profile.c -- `flenrt profile`: where the time of training and predicting goes, as a table, a trace and a flame view. */
#include "runtime/verbs_model.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/backend.h"
#include "runtime/aside_file.h"
#include "ir/base/bytes.h"
#include "runtime/profile.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt profile model.bin [--train|--infer] [--batch N] [--data PATH] [--steps N] [-o DIR] [options]\n"
    "\n"
    "Measures where the time of a training step or of predicting a batch goes, for each node and each segment, and writes\n"
    "  standard output           tables: parts by time, segments in order\n"
    "  DIR/PROGRAM.trace.json    Chrome's trace format, a row for each thread: open it in Perfetto or chrome://tracing\n"
    "  DIR/PROGRAM.flame.html    a page with a flame view that needs no network\n"
    "for PROGRAM train and predict. A part is what has code of its own: a node, or several that became one loop; nodes without code\n"
    "(views of memory, constants) are in none. The code is generated with time stamps between parts and computes the same; steps of plain\n"
    "code run in between, and the first line says how long they take: stamps cost some 10 ns each, which shows in small batches.\n"
    "Without --data rows are drawn as by `flenrt bench`. A model without weights is measured with first weights; nothing is saved.\n"
    "\n"
    "  --train, --infer          what to measure; default: both, if the model has both\n"
    "  --batch N                 default: the configuration's for training, 512 for predicting\n"
    "  --data PATH               rows to measure with (the first million) instead of drawn ones\n"
    "  --steps N                 steps to measure, default 50, after a few to warm up\n"
    "  --trace-steps N           so many of them, the first ones, go into the trace; default 20\n"
    "  --skew S                  of drawn rows: exponent of Zipf's law, default 1.1\n"
    "  --dim NAME=N,...          imported models: extents of dimensions beside the batch\n"
    "  --seed N                  of drawn rows and first weights, default the model's\n"
    "  -o DIR                    folder of the files, made if it is not there; default `profile`\n" FL_HELP_FOLD FL_HELP_THREADS
    "  --cpu=x86-64-v2|v3|v4     code for this level instead of the machine's best\n" FL_HELP_COMMON
    "\n"
    "example: flenrt profile model.bin --train --batch 512 --threads 1 -o profile\n";

enum { MOST_STEPS = 1000000, DRAWN_ROWS = 1 << 18, DRAWN_TENSOR_ROWS = 1 << 16, USUAL_BATCH = 512 };

typedef struct settings {
    bool train, infer;
    bool can_train; /* known once the model has been open */
    int64_t steps, traced;
    double skew;
    const char *extents;
} settings;

static bool take(void *arg, const char *name, char *value)
{
    settings *s = arg;
    char *end;

    if (strcmp(name, "train") == 0)
        return s->train = true;
    if (strcmp(name, "infer") == 0)
        return s->infer = true;
    if (strcmp(name, "steps") == 0)
        return fl_parse_size(value, 1, &s->steps) && s->steps <= MOST_STEPS;
    if (strcmp(name, "trace-steps") == 0)
        return fl_parse_size(value, 0, &s->traced) && s->traced <= MOST_STEPS;
    if (strcmp(name, "dim") == 0) {
        s->extents = value;
        return *value != 0;
    }
    s->skew = strtod(value, &end);
    return end != value && !*end && s->skew >= 0.01 && s->skew <= 10;
}

typedef void write_fn(const fl_profile *p, const char *model, FILE *f);

static fl_status write_file(const fl_verb_options *o, const fl_profile *p, const char *folder, const char *ending, write_fn *write, fl_diag *dg)
{
    char path[PATH_MAX];
    fl_aside a;

    if ((size_t)snprintf(path, sizeof path, "%s/%s.%s", folder, fl_program_name(p->program), ending) >= sizeof path)
        return fl_error(dg, FL_E_OPEN, FL_FILE(folder), "the name of the folder is too long");
    FL_TRY(fl_aside_open(&a, path, dg));
    write(p, o->model, a.f);
    FL_TRY(fl_aside_finish(&a, dg));
    if (o->json) {
        fputs("{\"event\":\"saved\",\"path\":", stdout);
        fl_json_string(stdout, path);
        puts("}");
    } else {
        fl_verb_notef("profile: wrote %s", path);
    }
    return FL_OK;
}

static const char *folder_of(const fl_verb_options *o)
{
    return o->output ? o->output : "profile";
}

static fl_status write_all(const fl_verb_options *o, const fl_profile *p, fl_diag *dg)
{
    const char *folder = folder_of(o);

    if (o->json)
        fl_profile_print_json(p, stdout);
    else
        fl_profile_print(p, stdout);
    FL_TRY(write_file(o, p, folder, "trace.json", fl_profile_trace, dg));
    return write_file(o, p, folder, "flame.html", fl_profile_flame, dg);
}

static int64_t batch_of(const fl_verb_options *o, const fl_session *s)
{
    const fl_manifest *m = s->manifest;

    if (o->batch)
        return o->batch;
    return s->options.train && m->n_datasets > 0 && m->datasets[0].batch_size > 0 ? m->datasets[0].batch_size : USUAL_BATCH;
}

/* One program in a session of its own. */
static fl_status measure(const fl_verb_options *o, settings *set, fl_program program, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(o, program == FL_PROGRAM_TRAIN);
    fl_session s;
    fl_measured rows;
    fl_profile p;

    so.first_weights = true;
    FL_TRY(fl_session_open(&s, o->model, &so, dg));
    set->can_train = s.programs[FL_PROGRAM_TRAIN] != NULL;
    int64_t batch = batch_of(o, &s), drawn = fl_takes_tensors(&s) ? DRAWN_TENSOR_ROWS : DRAWN_ROWS, n = 16 * batch > drawn ? 16 * batch : drawn;
    fl_status status = fl_measured_rows(&s, program, &(fl_measured_from){o->data, set->skew, n, 0, set->extents, fl_interp_engine_new}, &rows, dg);
    if (status == FL_OK) {
        batch = rows.whole ? rows.n : batch;
        if (batch > rows.n)
            status = fl_error(dg, FL_E_BENCH_ROWS, FL_FILE(o->data ? o->data : o->model), "%lld rows are fewer than a batch of %lld", (long long)rows.n, (long long)batch);
        else
            status = fl_profile_run(&s, &(fl_profile_options){program, batch, &rows, set->steps, set->traced}, &p, dg);
        if (status == FL_OK) {
            status = write_all(o, &p, dg);
            fl_profile_deinit(&p);
        }
        fl_measured_deinit(&rows);
    }
    fl_session_close(&s);
    return status;
}

static fl_status profile(const fl_verb_options *o, settings *set, fl_diag *dg)
{
    const char *level;
    bool all = !set->train && !set->infer;

    FL_TRY(fl_cpu_check(o->cpu, &level, dg));
    if (mkdir(folder_of(o), 0777) != 0 && errno != EEXIST) /* before it takes time */
        return fl_error(dg, FL_E_OPEN, FL_FILE(folder_of(o)), "cannot make the folder: %s", strerror(errno));
    if (set->infer || all)
        FL_TRY(measure(o, set, FL_PROGRAM_PREDICT, dg));
    bool train = set->train || (all && set->can_train); /* what is not there was not asked for */
    if (train && (set->infer || all) && !o->json)
        putchar('\n');
    return train ? measure(o, set, FL_PROGRAM_TRAIN, dg) : FL_OK;
}

int fl_verb_profile(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"train", false}, {"infer", false}, {"steps", true}, {"trace-steps", true}, {"skew", true}, {"dim", true}};
    settings set = {.steps = 50, .traced = 20, .skew = 1.1};
    fl_verb verb = {"profile", help,
                    FL_TAKES_DATA | FL_TAKES_BATCH | FL_TAKES_SEED | FL_TAKES_ENGINE | FL_TAKES_FOLD | FL_TAKES_THREADS | FL_TAKES_OUTPUT, own,
                    FL_COUNT(own), take, &set};
    fl_verb_options o;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (o.interpret)
        return fl_verb_wrong(verb.name, "the interpreter has no code to profile");
    fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    return fl_verb_end(profile(&o, &set, &dg), &dg);
}
