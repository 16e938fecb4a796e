/* verb_fold.c -- `flenrt fold`: a trained model and its folded tables in one file. */
#include "runtime/verbs_model.h"

#include <stdio.h>

#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt fold model.bin [-o OUT] [options]\n"
    "Multiplies the first layer into the tables and writes the model with the result, so that predicting from it only adds rows up: `flenrt predict`, `infer`, `bench` and the library\n"
    "use what they find there, mapped, without computing anything when they open the file. It grows by [rows, width of the layer] floats and a copy of\n"
    "the tables, which lie in one record a row.\n"
    "\n"
    "  -o OUT                    written whole or not at all; default: the model itself\n" FL_HELP_THREADS
    "  --cpu=x86-64-v2|v3|v4     code for this level instead of the machine's best\n" FL_HELP_COMMON
    "\n"
    "Training goes on from such a file as from any other; what it writes has no folded tables, because they would be of other weights (`flenrt train\n"
    "--fold-tables=stored` makes new ones).\n"
    "\n"
    "  flenrt fold trained.bin -o serving.bin\n";

static fl_status fold(const fl_verb_options *o, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(o, false);
    const char *to = o->output ? o->output : o->model;
    uint64_t bytes;

    FL_TRY(fl_session_store_folds(o->model, to, &so, &bytes, dg));
    if (o->json) {
        fputs("{\"event\":\"saved\",\"path\":", stdout);
        fl_json_string(stdout, to);
        printf(",\"folded_bytes\":%llu}\n", (unsigned long long)bytes);
    }
    if (bytes == 0)
        fl_verb_notef("the model has nothing to fold");
    else
        fl_verb_notef("%s holds %.1f MB of folded tables", to, (double)bytes / 1e6);
    return FL_OK;
}

int fl_verb_fold(int argc, char **argv)
{
    fl_verb verb = {.name = "fold", .help = help, .takes = FL_TAKES_THREADS | FL_TAKES_CPU | FL_TAKES_OUTPUT};
    fl_verb_options o;
    fl_diag dg;

    int done = fl_verb_parse(&verb, argc, argv, &o);
    if (done >= 0)
        return done;
    fl_diag_init(&dg);
    return fl_verb_end(fold(&o, &dg), &dg);
}
