/* verb_generate.c -- `flenrt generate`. */
#include "runtime/verbs_data.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/generate.h"

static const char help[] = "usage: flenrt generate --rows N [--ids N] [--skew S] [--seed N] [--format=csv|slots] [--json] [--quiet] -o FILE\n"
                           "Writes rows from a planted model: raw CSV with Avazu's columns, or slot text. Sizes take K, M, G.\n"
                           "  --ids    distinct values of all columns, default 20000\n"
                           "  --skew   exponent of Zipf's law, default 1.0\n"
                           "At the end the best AUC and logloss that any model can expect on these rows.\n";

static bool parse_size(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int64_t unit = *end == 'K' ? 1000 : *end == 'M' ? 1000000 : *end == 'G' ? 1000000000 : 1;
    if (end == text || errno || v < 0 || end[unit > 1] || v > INT64_MAX / unit)
        return false;
    *out = v * unit;
    return true;
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "flenrt: error: generate: %s%s%s [E%04d]\n", what, value ? " " : "", value ? value : "", FL_E_USAGE);
    return 2;
}

int fl_verb_generate(int argc, char **argv)
{
    static const struct option options[] = {{"rows", required_argument, NULL, 'r'},  {"ids", required_argument, NULL, 'i'},
                                            {"skew", required_argument, NULL, 's'},  {"seed", required_argument, NULL, 'e'},
                                            {"format", required_argument, NULL, 'f'}, {"output", required_argument, NULL, 'o'},
                                            {"json", no_argument, NULL, 'j'},        {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    fl_generate_options o = {.ids = 20000, .skew = 1, .seed = 1};
    bool json = false, quiet = false;
    int64_t seed;

    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        char *end;
        bool good = true;
        switch (c) {
        case 'r':
            good = parse_size(optarg, &o.rows);
            break;
        case 'i':
            good = parse_size(optarg, &o.ids);
            break;
        case 's':
            o.skew = strtod(optarg, &end);
            good = *optarg && !*end;
            break;
        case 'e':
            good = parse_size(optarg, &seed);
            o.seed = good ? (uint64_t)seed : 0;
            break;
        case 'f':
            good = !strcmp(optarg, "csv") || !strcmp(optarg, "slots");
            o.slots = !strcmp(optarg, "slots");
            break;
        case 'o':
            o.path = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'q':
            quiet = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return wrong("option not known or without value:", argv[optind - 1]);
        }
        if (!good)
            return wrong("value cannot be read:", optarg);
    }
    if (optind < argc)
        return wrong("no argument expected:", argv[optind]);
    if (!o.path || o.rows <= 0)
        return wrong("--rows N and -o FILE are needed", NULL);
    fl_diag dg;
    fl_generate_result r;
    struct timespec begin, end;
    fl_diag_init(&dg);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    fl_status status = fl_generate(&o, &r, &dg);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    fl_diag_print(&dg, stderr, "flenrt", NULL, NULL);
    fl_diag_deinit(&dg);
    FILE *to = strcmp(o.path, "-") ? stdout : stderr; /* results do not mix with rows */
    if (status == FL_OK && json)
        fprintf(to, "{\"event\":\"done\",\"rows\":%lld,\"positives\":%lld,\"ids\":%lld,\"bayes_auc\":%.6f,\"bayes_logloss\":%.6f,\"seconds\":%.3f}\n",
                (long long)r.rows, (long long)r.positives, (long long)r.ids, r.bayes_auc, r.bayes_logloss, seconds);
    else if (status == FL_OK && !quiet)
        fprintf(to, "%lld rows, %lld positive, %lld ids, bayes_auc %.6f, bayes_logloss %.6f, %.2f s\n", (long long)r.rows,
                (long long)r.positives, (long long)r.ids, r.bayes_auc, r.bayes_logloss, seconds);
    return fl_status_exit(status);
}
