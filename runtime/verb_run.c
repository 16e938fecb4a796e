/* verb_run.c -- `flenrt run`: the runners that a configuration's `mode` names. */
#include "runtime/verbs_model.h"

#include <string.h>

#include "runtime/runners.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt run model.bin [--resume FILE] [options]\n"
    "Does what the configuration says that the model was compiled from: the runners that its `mode` names, in order, training and inference,\n"
    "with its data, epochs, intervals and folders. Relative paths are relative to the current folder. A PaddleRec configuration prints\n"
    "PaddleRec's lines on standard output; its checkpoints are PATH/<epoch>/model.bin, and AUC of inference goes on from training's.\n"
    "\n"
    "  --resume FILE             the first train runner goes on from FILE, which a run that was stopped has left: the result has the same\n"
    "                            bits as if it had not been stopped\n"
    "  --seed N                  of first weights and dropout masks (as configured)\n"
    "  --log=plain|paddlerec     lines on standard error, or PaddleRec's on standard output (as configured)\n"
    "  --fold-tables=stored|off  when a training runner is done, write its newest model and its newest inference model once more, with folded\n"
    "                            tables, as `flenrt fold` does (as compiled)\n"
    "  --strict                  the first row that cannot be read ends the run\n"
    FL_HELP_THREADS FL_HELP_DUMP FL_HELP_ENGINE FL_HELP_COMMON
    "\n"
    "Keys are changed where the model is compiled:\n"
    "  flenc compile config.yaml --set dataset.0.data_path=DIR --set dataset.1.data_path=DIR -o model.bin\n"
    "  flenrt run model.bin\n";

static bool take(void *arg, const char *name, char *value)
{
    fl_run_options *o = arg;

    if (strcmp(name, "fold-tables") == 0)
        return fl_fold_wish_parse(value, &o->fold);
    o->resume = value;
    return *value != 0;
}

int fl_verb_run(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"resume", true}, {"fold-tables", true}};
    fl_run_options ro = {0};
    fl_verb verb = {"run", help, FL_TAKES_THREADS | FL_TAKES_SEED | FL_TAKES_ENGINE | FL_TAKES_LOG | FL_TAKES_STRICT | FL_TAKES_DUMP, own, FL_COUNT(own), take, &ro};
    fl_verb_options o;
    fl_diag dg;

    int done = fl_verb_parse(&verb, argc, argv, &o);
    if (done >= 0)
        return done;
    if (ro.resume && o.has_seed)
        return fl_verb_wrong("run", "--seed and --resume exclude each other: the stopped run has its seed");
    fl_verb_catch_interrupts();
    fl_diag_init(&dg);
    ro.model = o.model;
    ro.session = fl_verb_session_options(&o, false);
    ro.strict = o.strict;
    ro.json = o.json;
    ro.quiet = o.quiet;
    ro.log = o.log;
    ro.stop = &fl_interrupted;
    return fl_verb_end(fl_run_runners(&ro, &dg), &dg);
}
