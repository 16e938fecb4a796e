/*
 * verbs_data.h -- the verbs of flenrt that make data. argv[0] is the verb; the result is the exit status.
 */
#ifndef FL_RUNTIME_VERBS_DATA_H
#define FL_RUNTIME_VERBS_DATA_H

int fl_verb_generate(int argc, char **argv);
int fl_verb_prepare(int argc, char **argv);

#endif
