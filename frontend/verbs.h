/*
 * verbs.h -- the verbs of `flenc`, each in a file verb_<name>.c. They belong to the command line, not to the frontend's library:
 * they alone may run passes and print. argv[0] is the verb; the result is the program's exit status.
 */
#ifndef FL_FRONTEND_VERBS_H
#define FL_FRONTEND_VERBS_H

/* flenc compile X [-o model.bin] [--set KEY.PATH=VALUE]... [--quiet] [--json] */
int fl_verb_compile(int argc, char **argv);
/* flenc dump X, flenc opt X: graphs as text, after passes. */
int fl_verb_dump(int argc, char **argv);
int fl_verb_opt(int argc, char **argv);
/* flenc export X [-o model.onnx] [--opset N]: the predict program for other tools. */
int fl_verb_export(int argc, char **argv);
/* flenc verify X: passes and native code against the interpreter. */
int fl_verb_verify(int argc, char **argv);
/* flenc reduce X --test CMD: the smallest graph that still fails. */
int fl_verb_reduce(int argc, char **argv);
/* flenc explain E0104 */
int fl_verb_explain(int argc, char **argv);

#endif
