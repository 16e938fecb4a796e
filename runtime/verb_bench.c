/* verb_bench.c -- `flenrt bench`: settings, one after the other, and what each measured. */
#include "runtime/verbs_model.h"

#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "ir/base/bytes.h"
#include "runtime/bench.h"
#include "runtime/bench_epoch.h"
#include "runtime/data_path.h"
#include "runtime/reader.h"
#include "runtime/tally.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt bench model.bin --train|--infer|--read|--epoch [--batch N,N...] [--threads N,N...] [options]\n"
    "\n"
    "Measures training steps or predictions, for each number of threads and each batch, run by run. A run's time is from the call\n"
    "with rows in memory to the result in memory. Every row that is looked up is touched once before, and each\n"
    "setting warms up. Samples/s are the batch by the median time of a run, in training of windows of 10 steps; p50 and p99 are of\n"
    "single runs, the spread is from the first to the third quartile, by the median. Without --data rows are drawn: in each slot\n"
    "ids by Zipf's law, scattered over the slot's rows, labels 17 % positive, enough rows that caches do not hold what they touch.\n"
    "A model without weights is measured with first weights.\n"
    "\n"
    "An imported model's rows are tensors: --data is a folder with NAME.npy for each input, one .npy file or CSV, as for `flenrt predict`. Drawn ones\n"
    "have ids by Zipf's law below the rows of the table that they look up, other floats normal, other whole numbers 0 or 1. The batch is the\n"
    "symbol that leads the inputs; where none does, the model is measured as it is.\n"
    "\n"
    "Beside each setting stands what the machine could do at most, measured then and there with as many threads: the arithmetic of\n"
    "a sample at the speed of bare multiply-adds, its rows at the speed of bare look-ups of the same ids in the same tables, the\n"
    "weights at the speed of reading them once a batch. The slowest of the three is the limit; work of this kind is not done faster. Then it says in which\n"
    "segments of the program the time goes, from further runs; `flenrt profile` has it node by node.\n"
    "\n"
    "  --train, --infer, --read, --epoch  what to measure; several may be given. --read: the rows of --data as they come from files, pass after\n"
    "                            pass, by bytes of text (of a cache: of the file), the median pass; one thread is one CPU's work, all told.\n"
    "                            --epoch: an epoch over --data as `flenrt train` runs it, beside its steps alone, in turn: a tenth of a\n"
    "                            second from the files, with reading and metrics, then one on rows read before; each row once\n"
    "  --batch N,N...            default: the configuration's for --train, 1,64,512 for --infer\n"
    "  --threads N,N...          default: 1, and the number of CPUs if that is more\n"
    "  --data PATH               rows to measure with instead of drawn ones\n"
    "  --rows N                  so many of them, from the first on, are held in memory (K, M, G; default 1M) and taken again and again: more\n"
    "                            rows touch more of the table. With --epoch: it ends behind so many; default all\n"
    "  --skew S                  exponent of Zipf's law, default 1.1\n"
    "  --dim NAME=N,...          imported models: extents of dimensions beside the batch\n"
    "  --seconds S               of each setting, default 2; an epoch takes what it takes\n"
    "  --seed N                  of drawn rows and first weights, default the model's\n" FL_HELP_FOLD FL_HELP_ENGINE FL_HELP_COMMON
    "\n"
    "example: flenrt bench model.bin --train --batch 512 --threads 1,2 --json\n"
    "         flenrt bench model.bin --epoch --data prepared\n";

enum { MOST = 16, MOST_PASSES = 1000, DRAWN_ROWS = 1 << 18, DRAWN_TENSOR_ROWS = 1 << 16 };

typedef struct settings {
    bool train, infer, read, epoch;
    int64_t batches[MOST], threads[MOST];
    uint32_t n_batches, n_threads;
    double skew, seconds;
    int64_t most_rows; /* of --data; 0: FL_MEASURED_MOST */
    const char *extents;
    fl_measured rows; /* made when the first session is open; tensors for each session */
    bool has_rows;
} settings;

static bool take_number(const char *text, double least, double most, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= least && *out <= most;
}

static bool take(void *arg, const char *name, char *value)
{
    settings *s = arg;

    if (strcmp(name, "train") == 0)
        return s->train = true;
    if (strcmp(name, "infer") == 0)
        return s->infer = true;
    if (strcmp(name, "read") == 0)
        return s->read = true;
    if (strcmp(name, "epoch") == 0)
        return s->epoch = true;
    if (strcmp(name, "batch") == 0)
        return fl_parse_sizes(value, 1, s->batches, MOST, &s->n_batches);
    if (strcmp(name, "threads") == 0) {
        bool good = fl_parse_sizes(value, 1, s->threads, MOST, &s->n_threads);
        for (uint32_t i = 0; good && i < s->n_threads; i++)
            good = s->threads[i] <= 256;
        return good;
    }
    if (strcmp(name, "rows") == 0)
        return fl_parse_size(value, 1, &s->most_rows);
    if (strcmp(name, "skew") == 0)
        return take_number(value, 0.01, 10, &s->skew);
    if (strcmp(name, "dim") == 0) {
        s->extents = value;
        return *value != 0;
    }
    return take_number(value, 0.01, 3600, &s->seconds);
}

/* ---------------------------------------------------------------------------------------------------------- rows */

static fl_status make_rows(const fl_verb_options *o, settings *set, fl_session *s, fl_program program, fl_diag *dg)
{
    int64_t n = fl_takes_tensors(s) ? DRAWN_TENSOR_ROWS : DRAWN_ROWS;

    if (set->has_rows)
        return FL_OK;
    for (uint32_t i = 0; i < set->n_batches; i++)
        n = 16 * set->batches[i] > n ? 16 * set->batches[i] : n;
    if (!o->data)
        fl_verb_notef("bench: drawing %lld rows", (long long)n);
    fl_measured_from from = {.path = o->data, .skew = set->skew, .n = n, .most = set->most_rows, .extents = set->extents, .interpret = fl_interp_engine_new};
    FL_TRY(fl_measured_rows(s, program, &from, &set->rows, dg));
    set->has_rows = true;
    return FL_OK;
}

/* Rows of data serve all sessions; tensors were checked against the tables of one. */
static void drop_rows(settings *set, bool all)
{
    if (!set->has_rows || (!all && !set->rows.of_tensors))
        return;
    fl_measured_deinit(&set->rows);
    set->has_rows = false;
}

/* ---------------------------------------------------------------------------------------------------- measuring */

static void print_conditions(const fl_verb_options *o, const settings *set)
{
    if (o->json || o->quiet || !(set->train || set->infer))
        return;
    printf("model    %s\ncode     ", o->model);
    if (o->interpret)
        puts("none: the interpreter, in double precision");
    else
        printf("%s, of a machine with %u CPUs\n", o->cpu ? o->cpu : fl_cpu_level(), fl_cpu_count());
    if (o->data)
        printf("rows     %s, from its beginning, at most %lld\n", o->data, (long long)(set->most_rows ? set->most_rows : FL_MEASURED_MOST));
    else
        printf("rows     drawn: ids by Zipf %g in each slot, scattered over its rows; 17 %% positive\n", set->skew);
    printf("measured single runs, rows and results in memory, %g s a setting after warming up; every row of a table that is looked up was touched once before\n\n",
           set->seconds);
}

static const char *const limit_names[] = {"arithmetic", "rows", "weights"};

/* "SlotLinear of p_distinct", as a JSON string or plain. */
static void print_node(const fl_graph *g, fl_id node, bool json)
{
    char text[160];

    snprintf(text, sizeof text, "%s of %s", fl_op_get(g->nodes[node].op)->name, g->nodes[node].n_out && g->nodes[node].out[0] != FL_NONE ? g->values[g->nodes[node].out[0]].name : "nothing");
    if (json)
        fl_json_string(stdout, text);
    else
        fputs(text, stdout);
}

/* The segments with the most time, largest first; in JSON all, in order. */
static void print_segments(const fl_graph *g, const fl_bench_result *r, bool json)
{
    enum { MOST_SHOWN = 6 };
    double below = 2;

    if (json) {
        fputs(",\"segments\":[", stdout);
        for (uint32_t i = 0; i < r->n_segments; i++) {
            printf("%s{\"work\":", i ? "," : "");
            print_node(g, r->segments[i].node, true);
            printf(",\"share\":%.4f}", r->segments[i].share);
        }
        putchar(']');
        return;
    }
    for (uint32_t n = 0; n < MOST_SHOWN && n < r->n_segments; n++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < r->n_segments; i++)
            if (r->segments[i].share < below && (best == UINT32_MAX || r->segments[i].share > r->segments[best].share))
                best = i;
        if (best == UINT32_MAX || r->segments[best].share < 0.005)
            break;
        below = r->segments[best].share;
        printf("%s%.0f %% with ", n ? ", " : "       time in segments: ", 100 * below);
        print_node(g, r->segments[best].node, false);
    }
    if (r->n_segments)
        putchar('\n');
}

static void print_text(const fl_graph *g, const char *what, int64_t batch, uint32_t threads, const fl_bench_result *r)
{
    const fl_limits *l = &r->limits;
    const double *limit = l->seconds;

    printf("%s  batch %6lld  threads %2u  %12.0f samples/s   p50 %10.2f us   p99 %10.2f us   spread %4.1f %%   (%lld runs)\n", what, (long long)batch, threads,
           r->samples_per_second, 1e6 * r->p50, 1e6 * r->p99, 100 * (r->p75 - r->p25) / r->p50, (long long)r->runs);
    printf("       a sample: %.0f operations, %.1f rows, %.0f bytes. Machine: %.0f GFLOP/s, %.0f million rows/s, %.0f GB/s\n", r->work.flops, r->work.rows, r->work.bytes,
           1e-9 * l->flops, 1e-6 * l->row_rate, 1e-9 * l->read);
    printf("       limits, us a sample: arithmetic %.4f, rows %.4f, weights %.4f; reached: %.0f %% of the limit, %s\n", 1e6 * limit[FL_LIMIT_ARITHMETIC],
           1e6 * limit[FL_LIMIT_ROWS], 1e6 * limit[FL_LIMIT_WEIGHTS], 100 * r->share, limit_names[l->slowest]);
    print_segments(g, r, false);
}

static void print_json(const fl_verb_options *o, const settings *set, const fl_graph *g, const char *what, int64_t batch, uint32_t threads, const fl_bench_result *r)
{
    const fl_limits *l = &r->limits;

    printf("{\"bench\":\"%s\",\"batch\":%lld,\"threads\":%u,\"p50_us\":%.3f,\"p99_us\":%.3f,\"samples_per_second\":%.0f,\"mean_us\":%.3f,\"min_us\":%.3f,\"p25_us\":%.3f,\"p75_us\":%.3f,\"max_us\":%.3f,\"runs\":%lld,"
           "\"backend\":\"%s\",\"cpu\":\"%s\",",
           what, (long long)batch, threads, 1e6 * r->p50, 1e6 * r->p99, r->samples_per_second, 1e6 * r->mean, 1e6 * r->least, 1e6 * r->p25, 1e6 * r->p75, 1e6 * r->most, (long long)r->runs,
           o->interpret ? "interp" : "native", o->interpret ? "any" : o->cpu ? o->cpu : fl_cpu_level());
    printf("\"flops_per_sample\":%.0f,\"rows_per_sample\":%.2f,\"bytes_per_sample\":%.0f,\"machine_flops\":%.4g,\"machine_rows_per_second\":%.4g,\"machine_bytes_per_second\":%.4g,"
           "\"limit_us\":{\"arithmetic\":%.5f,\"rows\":%.5f,\"weights\":%.5f},\"limit\":\"%s\",\"share_of_limit\":%.4f,\"rows_touched_before\":true,\"rows\":",
           r->work.flops, r->work.rows, r->work.bytes, l->flops, l->row_rate, l->read, 1e6 * l->seconds[FL_LIMIT_ARITHMETIC], 1e6 * l->seconds[FL_LIMIT_ROWS],
           1e6 * l->seconds[FL_LIMIT_WEIGHTS], limit_names[l->slowest], r->share);
    if (o->data)
        fl_json_string(stdout, o->data);
    else
        printf("\"zipf %g\"", set->skew);
    if (r->n_segments)
        print_segments(g, r, true);
    puts("}");
}

static void print_result(const fl_verb_options *o, const settings *set, const fl_graph *g, const char *what, int64_t batch, uint32_t threads, const fl_bench_result *r)
{
    if (o->json)
        print_json(o, set, g, what, batch, threads, r);
    else
        print_text(g, what, batch, threads, r);
    fflush(stdout);
}

static fl_status measure_batch(const fl_verb_options *o, settings *set, fl_session *s, fl_program program, int64_t batch, fl_diag *dg)
{
    fl_bench b = {.program = program, .batch = set->rows.whole ? set->rows.n : batch, .rows = &set->rows, .seconds = set->seconds,
                  .level = o->cpu && !o->interpret ? o->cpu : fl_cpu_level()};
    fl_bench_result r;

    if (b.batch > set->rows.n)
        return fl_error(dg, FL_E_BENCH_ROWS, FL_FILE(o->data ? o->data : o->model), "%lld rows are fewer than a batch of %lld", (long long)set->rows.n, (long long)b.batch);
    FL_TRY(fl_bench_run(s, &b, &r, dg));
    print_result(o, set, s->programs[program], program == FL_PROGRAM_TRAIN ? "train" : "infer", b.batch, fl_session_threads(s), &r);
    free(r.segments);
    return FL_OK;
}

/* One program with one number of threads: a session of its own, all batches. */
static fl_status measure(const fl_verb_options *o, settings *set, fl_program program, uint32_t threads, fl_diag *dg)
{
    bool train = program == FL_PROGRAM_TRAIN;
    int64_t usual[] = {1, 64, 512};
    fl_session s;
    fl_session_options so = fl_verb_session_options(o, train);

    so.threads = threads;
    so.first_weights = true;
    FL_TRY(fl_session_open(&s, o->model, &so, dg));
    uint32_t n = set->n_batches ? set->n_batches : train ? 1 : FL_COUNT(usual);
    if (train && s.manifest->n_datasets > 0 && s.manifest->datasets[0].batch_size > 0)
        usual[0] = s.manifest->datasets[0].batch_size;
    else if (train)
        usual[0] = 512;
    fl_status status = make_rows(o, set, &s, program, dg);
    if (status == FL_OK && set->rows.whole && set->n_batches == 0)
        n = 1;
    if (status == FL_OK && set->rows.whole && set->n_batches > 0)
        status = fl_error(dg, FL_E_EVAL_INPUT, FL_FILE(o->model), "no input has a symbol for the batch: --batch cannot be chosen");
    for (uint32_t i = 0; i < n && status == FL_OK; i++)
        status = measure_batch(o, set, &s, program, set->n_batches ? set->batches[i] : usual[i], dg);
    drop_rows(set, false);
    fl_session_close(&s);
    return status;
}

/* ------------------------------------------------------------------------------------------------------ reading */

typedef struct pass {
    double seconds;
    fl_reader_stats stats;
} pass;

/* All rows of the path, once. One thread: no reading ahead. */
static fl_status read_once(const char *path, fl_session *s, uint32_t threads, fl_batch *b, pass *out, fl_diag *dg)
{
    fl_reader_options ro = {.batch = 512, .threads = threads > 1 ? threads : 0, .need_label = true, .quirks = s->manifest->quirks};
    fl_reader *reader;
    double begin = fl_seconds();

    FL_TRY(fl_reader_open(path, &s->manifest->schema, s->vocabulary, &ro, &reader, dg));
    fl_status status;
    do
        status = fl_reader_next(reader, b, dg);
    while (status == FL_OK && b->n > 0);
    fl_reader_stats_get(reader, &out->stats);
    fl_reader_close(reader);
    out->seconds = fl_seconds() - begin;
    return status;
}

static int by_seconds(const void *a, const void *b)
{
    const pass *x = a, *y = b;
    return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

/* Of passes in order of their time. */
static void print_read(const fl_verb_options *o, uint32_t threads, const pass *passes, int n)
{
    const fl_reader_stats *stats = &passes[0].stats;
    double bytes = (double)(stats->bytes ? stats->bytes : stats->total_bytes), rows = (double)stats->rows;
    double fastest = passes[0].seconds, middle = passes[n / 2].seconds, slowest = passes[n - 1].seconds;

    if (o->json) {
        printf("{\"bench\":\"read\",\"threads\":%u,\"rows\":%.0f,\"bytes\":%.0f,\"passes\":%d,\"seconds\":%.4f,\"fastest_seconds\":%.4f,\"slowest_seconds\":%.4f,"
               "\"rows_per_second\":%.0f,\"bytes_per_second\":%.0f}\n",
               threads, rows, bytes, n, middle, fastest, slowest, rows / middle, bytes / middle);
        return;
    }
    printf("read   threads %2u  %12.0f rows/s   %8.0f MB/s [%.0f .. %.0f]   (median and range of %d passes over %.0f rows and %.0f MB)\n", threads, rows / middle, 1e-6 * bytes / middle,
           1e-6 * bytes / slowest, 1e-6 * bytes / fastest, n, rows, 1e-6 * bytes);
}

static fl_status bench_read(const fl_verb_options *o, const settings *set, uint32_t threads, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(o, false);
    pass passes[MOST_PASSES];
    double begin = fl_seconds();
    fl_session s;
    fl_batch b;
    char *path;
    int n;

    so.threads = threads;
    FL_TRY(fl_session_open(&s, o->model, &so, dg));
    fl_status status = fl_data_path(o->data, FL_DATA_TRAIN, &path, NULL, dg);
    if (status == FL_OK && fl_batch_init(&b, &s.manifest->schema) != FL_OK) {
        free(path);
        status = fl_out_of_memory(dg);
    }
    if (status != FL_OK) {
        fl_session_close(&s);
        return status;
    }
    /* The first pass is not counted: pages and arrays are made in it. */
    for (n = -1; status == FL_OK && n < MOST_PASSES && (n < 1 || fl_seconds() - begin < set->seconds); n++)
        status = read_once(path, &s, threads, &b, &passes[n < 0 ? 0 : n], dg);
    if (status == FL_OK) {
        qsort(passes, (size_t)n, sizeof *passes, by_seconds);
        print_read(o, threads, passes, n);
    }
    fl_batch_deinit(&b);
    free(path);
    fl_session_close(&s);
    return status;
}

/* ------------------------------------------------------------------------------------------------------- epochs */

static void print_epoch(const fl_verb_options *o, int64_t batch, uint32_t threads, const fl_bench_epoch_result *r)
{
    if (o->json) {
        printf("{\"bench\":\"epoch\",\"batch\":%lld,\"threads\":%u,\"rows\":%lld,\"pairs\":%lld,\"samples_per_second\":%.0f,\"memory_samples_per_second\":%.0f,\"ratio\":%.4f,"
               "\"ratio_p25\":%.4f,\"ratio_p75\":%.4f,\"wait_share\":%.4f,\"backend\":\"%s\",\"cpu\":\"%s\",\"data\":",
               (long long)batch, threads, (long long)r->rows, (long long)r->pairs, r->file_rate, r->memory_rate, r->ratio, r->p25, r->p75, r->wait_share,
               o->interpret ? "interp" : "native", o->interpret ? "any" : o->cpu ? o->cpu : fl_cpu_level());
        fl_json_string(stdout, o->data);
        puts("}");
    } else {
        printf("epoch  batch %6lld  threads %2u  %12.0f rows/s from files, %.0f from memory: ratio %.3f [%.3f .. %.3f]   (medians and quartiles of %lld pairs of slices; waiting for rows %.1f %%; %lld rows)\n",
               (long long)batch, threads, r->file_rate, r->memory_rate, r->ratio, r->p25, r->p75, (long long)r->pairs, 100 * r->wait_share, (long long)r->rows);
    }
    fflush(stdout);
}

/* An epoch for each batch, each in a session of its own: the first weights are there again. */
static fl_status bench_epoch(const fl_verb_options *o, const settings *set, uint32_t threads, int64_t batch, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(o, true);
    fl_bench_epoch b = {.most_rows = set->most_rows};
    fl_bench_epoch_result r;
    fl_session s;
    char *path;

    so.threads = threads;
    FL_TRY(fl_session_open(&s, o->model, &so, dg));
    fl_status status = FL_OK;
    if (fl_takes_tensors(&s))
        status = fl_error(dg, FL_E_USAGE, FL_FILE(o->model), "--epoch: the rows of an imported model are tensors, which are in memory before they are trained on; --train measures them");
    if (status == FL_OK && (status = fl_data_path(o->data, FL_DATA_TRAIN, &path, NULL, dg)) == FL_OK) {
        const fl_manifest *m = s.manifest;
        b.path = path;
        b.batch = batch ? batch : m->n_datasets > 0 && m->datasets[0].batch_size > 0 ? m->datasets[0].batch_size : 512;
        status = fl_bench_epoch_run(&s, &b, &r, dg);
        if (status == FL_OK)
            print_epoch(o, b.batch, fl_session_threads(&s), &r);
        free(path);
    }
    fl_session_close(&s);
    return status;
}

static fl_status bench(const fl_verb_options *o, settings *set, fl_diag *dg)
{
    const char *level;

    if (!o->interpret)
        FL_TRY(fl_cpu_check(o->cpu, &level, dg));
    print_conditions(o, set);
    if (set->n_threads == 0) {
        set->threads[set->n_threads++] = 1;
        if (fl_cpu_count() > 1)
            set->threads[set->n_threads++] = fl_cpu_count();
    }
    for (int p = 0; p < 2; p++)
        for (uint32_t i = 0; (p ? set->infer : set->train) && i < set->n_threads; i++)
            FL_TRY(measure(o, set, p ? FL_PROGRAM_PREDICT : FL_PROGRAM_TRAIN, (uint32_t)set->threads[i], dg));
    for (uint32_t i = 0; set->read && i < set->n_threads; i++)
        FL_TRY(bench_read(o, set, (uint32_t)set->threads[i], dg));
    for (uint32_t i = 0; set->epoch && i < set->n_threads; i++)
        for (uint32_t k = 0; k < set->n_batches || k == 0; k++)
            FL_TRY(bench_epoch(o, set, (uint32_t)set->threads[i], set->n_batches ? set->batches[k] : 0, dg));
    return FL_OK;
}

int fl_verb_bench(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"train", false}, {"infer", false}, {"read", false}, {"epoch", false}, {"batch", true}, {"threads", true}, {"skew", true}, {"dim", true}, {"rows", true}, {"seconds", true}};
    settings set = {.skew = 1.1, .seconds = 2};
    fl_verb verb = {"bench", help, FL_TAKES_DATA | FL_TAKES_SEED | FL_TAKES_ENGINE | FL_TAKES_FOLD, own, FL_COUNT(own), take, &set};
    fl_verb_options o;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (!set.train && !set.infer && !set.read && !set.epoch)
        return fl_verb_wrong(verb.name, "--train or --infer is needed, or --read or --epoch: what to measure");
    if (set.read && !o.data)
        return fl_verb_wrong(verb.name, "--read needs --data: what to read");
    if (set.epoch && !o.data)
        return fl_verb_wrong(verb.name, "--epoch needs --data: what to train on");
    fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    fl_status status = bench(&o, &set, &dg);
    drop_rows(&set, true);
    return fl_verb_end(status, &dg);
}
