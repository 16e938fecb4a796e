/*
 * verbs_model.h -- the verbs of flenrt that use or train a model. argv[0] is the verb; the result is the exit status.
 */
#ifndef FL_RUNTIME_VERBS_MODEL_H
#define FL_RUNTIME_VERBS_MODEL_H

int fl_verb_infer(int argc, char **argv);
int fl_verb_predict(int argc, char **argv);
int fl_verb_info(int argc, char **argv);
int fl_verb_run(int argc, char **argv);
int fl_verb_train(int argc, char **argv);
int fl_verb_eval(int argc, char **argv);
int fl_verb_fold(int argc, char **argv);
int fl_verb_bench(int argc, char **argv);
int fl_verb_profile(int argc, char **argv);

#endif
