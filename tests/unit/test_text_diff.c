/* Differences of texts: small ones by hand; of random ones, taking '-' and '+' lines out again gives both texts. */
#include "passes/text_diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *diff(const char *a, const char *b, uint32_t context)
{
    fl_arena scratch;
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    fl_arena_init(&scratch);
    assert_true(fl_text_diff(a, b, context, &scratch, f));
    fl_arena_deinit(&scratch);
    assert_int_equal(fclose(f), 0);
    return out;
}

static void expect(const char *a, const char *b, const char *want)
{
    char *got = diff(a, b, 1);
    assert_string_equal(got, want);
    free(got);
}

static void small_differences(void **state)
{
    (void)state;
    expect("", "", "");
    expect("a\n", "a\n", "");
    expect("", "a\nb\n", "+ a\n+ b\n");
    expect("a\nb\n", "", "- a\n- b\n");
    expect("a\nb\nc\nd\ne\n", "a\nb\nx\nd\ne\n", "  ...\n  b\n- c\n+ x\n  d\n  ...\n");
    expect("a\nb\nc\n", "b\nc\nd\n", "- a\n  b\n  c\n+ d\n");
}

/* The lines of a difference that have `mark` or ' ', without their marks. */
static void side(const char *d, char mark, char *out)
{
    for (const char *p = d; *p; p += strcspn(p, "\n") + 1)
        if (*p == mark || *p == ' ') {
            size_t n = strcspn(p + 2, "\n") + 1;
            memcpy(out, p + 2, n);
            out += n;
        }
    *out = '\0';
}

static void random_differences(void **state)
{
    uint32_t seed = 1;
    (void)state;
    for (int run = 0; run < 3000; run++) {
        char a[256] = "", b[256] = "", back[512];
        for (int k = 0; k < 2; k++) {
            char *text = k ? b : a;
            seed = seed * 1664525u + 1013904223u;
            for (uint32_t i = 0, n = seed >> 28; i < n; i++) {
                seed = seed * 1664525u + 1013904223u;
                text[2 * i] = (char)('a' + (seed >> 30));
                text[2 * i + 1] = '\n';
            }
        }
        char *d = diff(a, b, 1000);
        if (*d) { /* nothing is printed for equal texts */
            side(d, '-', back);
            assert_string_equal(back, a);
            side(d, '+', back);
            assert_string_equal(back, b);
        } else {
            assert_string_equal(a, b);
        }
        free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small_differences), cmocka_unit_test(random_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
