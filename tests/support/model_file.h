/*
 * model_file.h -- a configuration's text becomes a model.bin, as `flenc compile` makes it.
 */
#ifndef TESTS_MODEL_FILE_H
#define TESTS_MODEL_FILE_H

#include "frontend/compile.h"
#include "passes/pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The configuration is written to `source`, the model to `path`. */
static inline void make_model_file(const char *configuration, const char *source, const char *path)
{
    fl_graph *programs[FL_N_PROGRAMS] = {NULL};
    fl_source s;
    fl_diag dg;

    FILE *f = fopen(source, "w");
    assert_non_null(f);
    fputs(configuration, f);
    assert_int_equal(fclose(f), 0);
    fl_diag_init(&dg);
    fl_status status = fl_source_read(source, NULL, 0, &s, &dg);
    fl_diag_print(&dg, stderr, "test", NULL, NULL);
    fl_diag_deinit(&dg);
    assert_int_equal(status, FL_OK);
    assert_int_equal(fl_build_programs(s.graph, FL_STAGE_SCHEDULED, programs, NULL), FL_OK);
    fl_model_content content = {.manifest = &s.manifest, .source = s.graph};
    for (int i = 0; i < FL_N_PROGRAMS; i++)
        content.programs[i] = programs[i];
    assert_int_equal(fl_model_save(path, &content, NULL), FL_OK);
    fl_programs_free(programs);
    fl_source_deinit(&s);
}

#endif
