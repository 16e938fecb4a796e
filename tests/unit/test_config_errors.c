/*
 * test_config_errors.c -- tests/cli/config/NAME.yaml holds a configuration with a mistake, NAME.expect the diagnostics that it must
 * give, "LINE:COLUMN text [E0123]" each. UPDATE=1 rewrites the expectations.
 */
#include "frontend/config.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char folder[] = "tests/cli/config";

static void diagnose(const char *path, char *text, size_t size)
{
    fl_diag dg;
    fl_config c;
    size_t n = 0;
    fl_diag_init(&dg);
    fl_status s = fl_config_load(path, NULL, 0, &c, &dg);
    text[0] = 0;
    if (s == FL_OK)
        fl_config_deinit(&c);
    else
        assert_true(dg.n_errors > 0);
    for (uint32_t i = 0; i < dg.n_entries && n < size; i++) {
        const fl_diag_entry *e = &dg.entries[i];
        if (e->severity == FL_SEVERITY_ERROR)
            n += (size_t)snprintf(text + n, size - n, "%u:%u %s [E%04d]\n%s", e->line, e->column, e->text, (int)e->code, e->hints ? e->hints : "");
    }
    fl_diag_deinit(&dg);
}

static bool check(const char *name)
{
    char path[512], expect[512], got[4096], want[4096] = "";
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(expect, sizeof expect, "%s/%.*s.expect", folder, (int)(strlen(name) - 5), name);
    diagnose(path, got, sizeof got);
    FILE *f = fopen(expect, getenv("UPDATE") ? "w" : "r");
    if (!f)
        return fprintf(stderr, "%s: cannot be opened\n", expect), false;
    if (getenv("UPDATE")) {
        fputs(got, f);
        fclose(f);
        return got[0] != 0;
    }
    want[fread(want, 1, sizeof want - 1, f)] = 0;
    fclose(f);
    if (strcmp(got, want) == 0 && got[0])
        return true;
    fprintf(stderr, "%s\n-- got\n%s-- want\n%s", path, got, want);
    return false;
}

static void test_mistakes(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    uint32_t n = 0, failed = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        if (length < 6 || strcmp(e->d_name + length - 5, ".yaml") != 0)
            continue;
        n++;
        failed += !check(e->d_name);
    }
    closedir(d);
    assert_true(n >= 40);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
