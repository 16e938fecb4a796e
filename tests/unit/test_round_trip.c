/* print(parse(print(g))) = print(g) for all programs at all stages of all configurations that are shipped. */
#include "frontend/compile.h"
#include "ir/print.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print(const fl_graph *g, bool types)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_int_equal(fl_graph_print(g, &(fl_print_options){.types = types}, out, NULL), FL_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void check(const fl_graph *g, const char *what)
{
    fl_diag dg;
    fl_diag_init(&dg);
    for (int types = 0; types < 2; types++) {
        char *first = print(g, types);
        fl_graph *back = NULL;
        fl_status s = fl_graph_parse(first, strlen(first), "first", &back, &dg);
        if (s == FL_OK)
            s = fl_shape_infer(back, &dg);
        if (s == FL_OK)
            s = fl_graph_verify(back, &dg);
        if (s != FL_OK)
            fl_diag_print(&dg, stderr, what, "first", first);
        assert_int_equal(s, FL_OK);
        char *second = print(back, types);
        if (strcmp(first, second) != 0)
            fprintf(stderr, "%s, printed and read:\n%s\nprinted again:\n%s\n", what, first, second);
        assert_string_equal(first, second);
        fl_graph_free(back);
        free(first);
        free(second);
    }
    fl_diag_deinit(&dg);
}

static void shipped_configurations(void **state)
{
    glob_t files;
    uint32_t graphs = 0;
    (void)state;
    assert_int_equal(glob("models/*/*.yaml", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        fl_source source;
        fl_diag dg;
        fl_diag_init(&dg);
        assert_int_equal(fl_source_read(files.gl_pathv[i], NULL, 0, &source, &dg), FL_OK);
        check(source.graph, files.gl_pathv[i]);
        for (fl_stage stage = FL_STAGE_FORWARD; stage <= FL_STAGE_SCHEDULED; stage++) {
            fl_graph *programs[FL_N_PROGRAMS];
            assert_int_equal(fl_build_programs(source.graph, stage, programs, &dg), FL_OK);
            for (int p = 0; p < FL_N_PROGRAMS; p++) {
                if (!programs[p])
                    continue;
                char what[300];
                snprintf(what, sizeof what, "%s, stage %d, program %d", files.gl_pathv[i], stage, p);
                check(programs[p], what);
                graphs++;
            }
            fl_programs_free(programs);
        }
        fl_source_deinit(&source);
        fl_diag_deinit(&dg);
    }
    globfree(&files);
    assert_true(graphs >= 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shipped_configurations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
