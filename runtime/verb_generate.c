/* verb_generate.c -- `flenrt generate`. */
#include "runtime/verbs_data.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ir/base/bytes.h"
#include "runtime/generate.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt generate --rows N -o FILE [options]\n"
    "\n"
    "Writes rows from a planted model: raw CSV with Avazu's columns, or slot text. At the end it says the best AUC and logloss that\n"
    "any model can expect on these rows. A linear model cannot reach them: the planted one has interactions. N takes K, M, G.\n"
    "\n"
    "  --rows N                  how many\n"
    "  -o, --output FILE         where they go, whole or not at all; - is standard output\n"
    "  --ids N                   distinct values of all columns, default 20000\n"
    "  --skew S                  exponent of Zipf's law in each column, 0 to 3, default 1.0\n"
    "  --seed N                  the file follows from it and the options, default 1\n"
    "  --format=csv|slots        Avazu's columns (default), or slot text with PaddleRec's names\n" FL_HELP_COMMON
    "\n"
    "example: flenrt generate --rows 2200K --ids 20000 -o rows.csv --json\n";

static bool take(void *arg, const char *name, char *value)
{
    fl_generate_options *o = arg;
    char *end;

    if (strcmp(name, "rows") == 0)
        return fl_parse_size(value, 1, &o->rows);
    if (strcmp(name, "ids") == 0)
        return fl_parse_size(value, 1, &o->ids);
    if (strcmp(name, "skew") == 0) {
        o->skew = strtod(value, &end);
        return *value && !*end && o->skew >= 0 && o->skew <= 3;
    }
    o->slots = strcmp(value, "slots") == 0;
    return o->slots || strcmp(value, "csv") == 0;
}

static void print_result(const fl_verb_options *vo, const fl_generate_result *r, double seconds)
{
    FILE *to = strcmp(vo->output, "-") ? stdout : stderr; /* results do not mix with rows */

    if (vo->json)
        fprintf(to, "{\"event\":\"done\",\"rows\":%lld,\"positives\":%lld,\"ids\":%lld,\"bayes_auc\":%.6f,\"bayes_logloss\":%.6f,\"seconds\":%.3f}\n",
                (long long)r->rows, (long long)r->positives, (long long)r->ids, r->bayes_auc, r->bayes_logloss, seconds);
    else if (!vo->quiet)
        fprintf(to, "%lld rows, %lld positive, %lld ids, bayes_auc %.6f, bayes_logloss %.6f, %.2f s\n", (long long)r->rows,
                (long long)r->positives, (long long)r->ids, r->bayes_auc, r->bayes_logloss, seconds);
}

int fl_verb_generate(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"rows", true}, {"ids", true}, {"skew", true}, {"format", true}};
    fl_generate_options o = {.ids = 20000, .skew = 1, .seed = 1};
    fl_verb verb = {"generate", help, FL_TAKES_SEED | FL_TAKES_OUTPUT | FL_TAKES_NO_MODEL, own, FL_COUNT(own), take, &o};
    fl_verb_options vo;
    fl_generate_result r;
    struct timespec begin, end;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &vo);

    if (wrong >= 0)
        return wrong;
    if (!vo.output || o.rows <= 0)
        return fl_verb_wrong(verb.name, "--rows N and -o FILE are needed");
    o.path = vo.output;
    o.seed = vo.has_seed ? vo.seed : o.seed;
    fl_diag_init(&dg);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    fl_status status = fl_generate(&o, &r, &dg);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (status == FL_OK)
        print_result(&vo, &r, (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    return fl_verb_end(status, &dg);
}
