/*
 * test_code_cache.c -- oracles: FIPS 180-4's examples; a shared object made by the system's compiler stands for generated code.
 */
#include "runtime/code_cache.h"
#include "runtime/sha256.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/flen-cache-XXXXXX";
static char log_path[64];

static void sha256_of_examples(void **state)
{
    static const char *const texts[] = {"", "abc", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"};
    static const char *const want[] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                       "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                                       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        fl_sha256 h;
        uint8_t digest[32];
        char hex[65];
        fl_sha256_init(&h);
        for (size_t k = 0; k < strlen(texts[i]); k++)
            fl_sha256_add(&h, texts[i] + k, 1);
        fl_sha256_end(&h, digest);
        for (int k = 0; k < 32; k++)
            snprintf(hex + 2 * k, 3, "%02x", digest[k]);
        assert_string_equal(hex, want[i]);
    }
}

/* A compiler that notes its calls in a file (it runs in a child) and hands out an object with segment_0. */
static fl_status compile_c(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg)
{
    char path[128], command[512];
    (void)g;

    FILE *log = fopen(log_path, "a");
    fprintf(log, "%s %s\n", cpu, emit);
    fclose(log);
    snprintf(path, sizeof path, "%s/made.so", folder);
    snprintf(command, sizeof command,
             "echo 'void segment_0(void *c, void *s, long b, long e) { *(long *)s = b + 10 * e; }' |"
             " cc -shared -fPIC -nostdlib -x c -o %s - 2>/dev/null", path);
    if (system(command) != 0)
        return fl_out_of_memory(dg);
    FILE *f = fopen(path, "rb");
    *image = malloc(1 << 20);
    *size = fread(*image, 1, 1 << 20, f);
    fclose(f);
    return FL_OK;
}

static fl_status compile_fails(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg)
{
    (void)g, (void)cpu, (void)emit, (void)image, (void)size;
    return fl_error(dg, FL_E_VERIFY, FL_NOWHERE, "node \"n\" has no emitter");
}

static fl_status compile_dies(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg)
{
    (void)g, (void)cpu, (void)emit, (void)image, (void)size, (void)dg;
    _exit(7);
}

static int calls(void)
{
    int n = 0, c;
    FILE *f = fopen(log_path, "r");
    while (f && (c = fgetc(f)) != EOF)
        n += c == '\n';
    if (f)
        fclose(f);
    return n;
}

static bool last_call_was(const char *want)
{
    char line[64] = "";
    FILE *f = fopen(log_path, "r");
    while (f && fgets(line, sizeof line, f))
        continue;
    if (f)
        fclose(f);
    return strcmp(line, want) == 0;
}

static void check_code(const fl_code_cache_options *o, bool want_hit)
{
    fl_image *image = NULL;
    bool hit = !want_hit;
    int64_t result = 0;

    assert_int_equal(fl_code_cache_get(NULL, o, &image, &hit, NULL), FL_OK);
    assert_int_equal(hit, want_hit);
    fl_segment_fn *fn = fl_image_find(image, "segment_0");
    assert_non_null(fn);
    assert_null(fl_image_find(image, "segment_1"));
    fn(NULL, &result, 3, 5);
    assert_int_equal(result, 53);
    fl_image_free(image);
}

static void a_hit_needs_no_compiler(void **state)
{
    char command[256], path[128] = "";
    fl_code_cache_options o = {NULL, folder, "program", 7, compile_c, false};
    (void)state;

    if (system("cc --version > /dev/null 2>&1") != 0)
        skip();
    check_code(&o, false);
    check_code(&o, true);
    check_code(&o, true);
    assert_int_equal(calls(), 1);
    o.program = "Program"; /* other content */
    check_code(&o, false);
    o.cpu = "v2"; /* other level */
    check_code(&o, false);
    assert_int_equal(calls(), 3);
    o.timed = true; /* other code */
    check_code(&o, false);
    check_code(&o, true);
    assert_true(last_call_was("x86-64-v2 timed\n"));
    o.timed = false;
    o.cpu = NULL;

    /* A flipped bit, a file that others may write, and half a file are as good as none. */
    snprintf(command, sizeof command, "ls -t %s/* | grep -v -e made -e log | sed -n 2p", folder);
    FILE *p = popen(command, "r");
    assert_non_null(fgets(path, sizeof path, p));
    pclose(p);
    path[strcspn(path, "\n")] = 0;
    static const char *const harm[] = {"printf x | dd of=%s bs=1 seek=500 conv=notrunc 2>/dev/null", "chmod g+w %s", "truncate -s 1000 %s",
                                       "truncate -s 0 %s"};
    for (size_t i = 0; i < FL_COUNT(harm); i++) {
        int before = calls();
        snprintf(command, sizeof command, "for f in $(ls %s/* | grep -v -e made -e log); do ", folder);
        snprintf(command + strlen(command), sizeof command - strlen(command), harm[i], "$f");
        strcat(command, "; done");
        assert_int_equal(system(command), 0);
        check_code(&o, false);
        check_code(&o, true);
        assert_int_equal(calls(), before + 1);
    }
}

static void without_a_folder_it_works_too(void **state)
{
    fl_code_cache_options o = {NULL, "/proc/none/such", "program", 7, compile_c, false};
    (void)state;

    if (system("cc --version > /dev/null 2>&1") != 0)
        skip();
    check_code(&o, false);
    check_code(&o, false);
}

static void failures_are_reported(void **state)
{
    fl_code_cache_options o = {NULL, folder, "failing", 7, compile_fails, false};
    fl_image *image = NULL;
    bool hit;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    assert_int_equal(fl_code_cache_get(NULL, &o, &image, &hit, &dg), FL_BAD_INPUT);
    assert_string_equal(dg.entries[0].text, "node \"n\" has no emitter");
    o.compile = compile_dies;
    assert_int_equal(fl_code_cache_get(NULL, &o, &image, &hit, &dg), FL_FAILED);
    assert_int_equal(dg.entries[1].code, FL_E_CODE_DIED);
    assert_string_equal(dg.entries[1].text, "the code generator died (status 7)");
    o.cpu = "z80";
    assert_int_equal(fl_code_cache_get(NULL, &o, &image, &hit, &dg), FL_BAD_INPUT);
    assert_int_equal(dg.entries[2].code, FL_E_CPU_NAME);
    assert_string_equal(dg.entries[2].text, "unknown CPU level \"z80\"; there are x86-64-v2, x86-64-v3 and x86-64-v4");
    assert_null(image);
    fl_diag_deinit(&dg);
}

/* Bytes that are no shared object, and levels that other machines lack. */
static void what_a_machine_lacks_is_reported(void **state)
{
    fl_image *image = NULL;
    const char *level = NULL;
    fl_diag dg;
    (void)state;

    fl_diag_init(&dg);
    assert_int_equal(fl_image_load_bytes("no code", 7, "generated code", &image, &dg), FL_FAILED);
    assert_int_equal(dg.entries[0].code, FL_E_CODE_IMAGE);
    assert_string_equal(dg.entries[0].file, "generated code");
    assert_non_null(strstr(dg.entries[0].text, "the code cannot be loaded: "));
    assert_null(image);
    assert_int_equal(fl_cpu_check_on("v4", 1, &level, &dg), FL_UNSUPPORTED);
    assert_int_equal(dg.entries[1].code, FL_E_CPU_LEVEL);
    assert_string_equal(dg.entries[1].text, "this machine has no x86-64-v4, at most x86-64-v3");
    assert_int_equal(fl_cpu_check_on("x86-64-v2", 1, &level, &dg), FL_OK);
    assert_string_equal(level, "x86-64-v2");
    assert_int_equal(fl_cpu_check_on(NULL, 1, &level, &dg), FL_OK);
    assert_string_equal(level, "x86-64-v3");
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_of_examples),
        cmocka_unit_test(a_hit_needs_no_compiler),
        cmocka_unit_test(without_a_folder_it_works_too),
        cmocka_unit_test(failures_are_reported),
        cmocka_unit_test(what_a_machine_lacks_is_reported),
    };
    if (!mkdtemp(folder))
        return 1;
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 ? 1 : failed;
}
