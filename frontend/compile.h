/*
 * compile.h -- from what a user has (configuration, ONNX file, graph text) to a forward graph and a manifest.
 */
#ifndef FL_FRONTEND_COMPILE_H
#define FL_FRONTEND_COMPILE_H

#include "ir/graph.h"
#include "ir/manifest.h"

typedef struct fl_source {
    fl_graph *graph;      /* the forward program; of an imported file whatever it holds */
    fl_graph *training;   /* a training step that an ONNX file brings; NULL: none */
    fl_manifest manifest; /* empty but for source_name, if there was no configuration */
    bool configured;
} fl_source;

/*
 * Read `path` by its ending: .yaml and .yml are configurations, .onnx is ONNX's binary form, all else its text; "-" is text from
 * standard input. `sets` are overrides of a configuration and refused for the others. On success the caller ends *out with fl_source_deinit.
 */
FL_MUST_USE fl_status fl_source_read(const char *path, const char *const *sets, uint32_t n_sets, fl_source *out, fl_diag *dg);
void fl_source_deinit(fl_source *s);
/* The training step is given up: the first error of `why` becomes a warning. */
void fl_source_drop_training(fl_source *s, const fl_diag *why, const char *path, fl_diag *dg);
/*
 * Map the data that a graph text names by file, found beneath `folder` (NULL: the folder of `path`; of standard input the current one). Files that are
 * not there stay references if `lenient`; all else that is wrong with them is reported.
 */
FL_MUST_USE fl_status fl_source_attach(fl_graph *g, const char *path, const char *folder, bool lenient, fl_diag *dg);
/* The whole of a file (of standard input for "-") in malloc'ed memory, with a NUL behind it that n does not count. */
FL_MUST_USE fl_status fl_file_read(const char *path, size_t limit, char **text, size_t *n, fl_diag *dg);

#endif
