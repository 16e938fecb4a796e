/*
 * test_flenrt.c -- the public library, linked as programs link it. Oracle: fl_infer over the same rows in a CSV file, bit for bit.
 */
#include "runtime/flenrt.h"

#include "backend/backend.h"
#include "runtime/inference.h"

#include "model_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { N = 1500, SLOTS = 4 };

static char folder[] = "/tmp/flen-capi-XXXXXX", untrained[64], trained[64], numbers[64], source[64], rows[64];

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS
static unsigned long n_allocations;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
#define EVERYWHERE __attribute__((visibility("default"))) /* in place of libc's, for the library too */

EVERYWHERE void *malloc(size_t n)
{
    n_allocations++;
    return __libc_malloc(n);
}

EVERYWHERE void *calloc(size_t n, size_t size)
{
    n_allocations++;
    return __libc_calloc(n, size);
}

EVERYWHERE void *realloc(void *p, size_t n)
{
    n_allocations++;
    return __libc_realloc(p, n);
}
#endif

static const char slots[] = "    - {name: user, vocabulary: range, rows: 100, padding: 7}\n"
                            "    - {name: word, vocabulary: hash, rows: 50}\n"
                            "    - {name: tags, vocabulary: hash, rows: 40, pooling: sum, separator: \"|\"}\n"
                            "    - {name: price, transform: log_bucket, vocabulary: hash, rows: 30, optional: true}\n";
static const char head[] = "network: fm\nseed: 3\nembedding_size: 5\ninit: {table: {normal: 0.5}, linear: {normal: 0.5}}\ninputs:\n  label: click\n  slots:\n";
static const char number_slots[] = "    - {name: user, vocabulary: range, rows: 100, first_id: 10}\n"
                                   "    - {name: item, vocabulary: range, rows: 50}\n"
                                   "    - {name: seen, vocabulary: range, rows: 50, pooling: mean, separator: \"|\"}\n";

/* A model with the configuration's first weights: `to` as compiled, `with_weights` as saved by a session. */
static void make_model(const char *slot_lines, const char *to, const char *with_weights)
{
    fl_session session;
    fl_session_options so = {.train = true, .threads = 1, .interpret = fl_interp_engine_new};
    char text[1024];

    assert_true((size_t)snprintf(text, sizeof text, "%s%s", head, slot_lines) < sizeof text);
    make_model_file(text, source, to);
    assert_int_equal(fl_session_open(&session, to, &so, NULL), FL_OK);
    assert_int_equal(fl_session_save(&session, with_weights, NULL, 0, NULL), FL_OK);
    fl_session_close(&session);
}

/* -------------------------------------------------------------------------------------------- predictions */

static char text[N][SLOTS][32];
static const char *values[N * SLOTS];
static float probability[N], logit[N], wanted_probability[N], wanted_logit[N];

static fl_status want(void *arg, const fl_batch *b, const float *l, const float *p, fl_diag *dg)
{
    (void)arg;
    (void)dg;
    for (int64_t i = 0; i < b->n; i++) {
        wanted_logit[b->row[i]] = l[i];
        wanted_probability[b->row[i]] = p[i];
    }
    return FL_OK;
}

static void infer(const char *model, const char *header, int n_slots, int n_rows)
{
    fl_session s;
    fl_session_options so = {.threads = 1, .compile = fl_compile_as};
    FILE *f = fopen(rows, "w");

    fputs(header, f);
    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < n_slots; k++)
            fprintf(f, "%s%c", text[r][k], k + 1 == n_slots ? '\n' : ',');
    fclose(f);
    assert_int_equal(fl_session_open(&s, model, &so, NULL), FL_OK);
    assert_int_equal(fl_infer(&s, rows, &(fl_inference){.batch = 64, .strict = true, .each = want}, NULL, NULL), FL_OK);
    fl_session_close(&s);
}

static void make_rows(void)
{
    for (int r = 0; r < N; r++) {
        snprintf(text[r][0], 32, "%d", r * 37 % 100);
        snprintf(text[r][1], 32, "w%d", r % 211);
        snprintf(text[r][2], 32, "%.*s", r % 4 * 3, "t1|t2|t3|");
        snprintf(text[r][3], 32, "%d.5", r % 17 * 10);
        for (int k = 0; k < SLOTS; k++)
            values[r * SLOTS + k] = text[r][k];
    }
}

static flenrt_model *open_with(const char *path, const flenrt_options *o)
{
    char why[FLENRT_ERROR_SIZE];
    flenrt_model *m = NULL;

    flenrt_status status = flenrt_open(path, o, &m, why, sizeof why);
    assert_string_equal(why, "");
    assert_int_equal(status, FLENRT_OK);
    return m;
}

static void predictions_are_those_of_infer(void **state)
{
    (void)state;
    make_rows();
    infer(trained, "user,word,tags,price\n", SLOTS, N);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        flenrt_model *m = open_with(trained, &(flenrt_options){.size = sizeof(flenrt_options), .threads = threads});
        assert_int_equal(flenrt_n_slots(m), SLOTS);
        assert_string_equal(flenrt_slot_name(m, 2), "tags");
        assert_string_equal(flenrt_slot_column(m, 3), "price");
        assert_null(flenrt_slot_name(m, SLOTS));
        static const int counts[] = {1, 2, 3, 1024, 1025, N};
        for (size_t i = 0; i < FL_COUNT(counts); i++) {
            int n = counts[i];
            memset(probability, 0, sizeof probability);
            memset(logit, 0, sizeof logit);
            assert_int_equal(flenrt_predict_rows(m, (size_t)n, values, probability, logit), FLENRT_OK);
            assert_memory_equal(probability, wanted_probability, (size_t)n * sizeof *probability);
            assert_memory_equal(logit, wanted_logit, (size_t)n * sizeof *logit);
            assert_true(n == N || (probability[n] == 0 && logit[n] == 0));
        }
        assert_true(logit[0] != logit[1] && logit[1] != logit[2]);
        assert_int_equal(flenrt_predict_rows(m, 0, NULL, NULL, NULL), FLENRT_OK);
        flenrt_close(m);
    }
}

static void the_interpreter_is_near(void **state)
{
    (void)state;
    flenrt_model *m = open_with(trained, &(flenrt_options){.flags = FLENRT_INTERPRET});
    assert_int_equal(flenrt_predict_rows(m, 64, values, NULL, logit), FLENRT_OK);
    for (int i = 0; i < 64; i++)
        assert_true(logit[i] - wanted_logit[i] < 1e-4f && wanted_logit[i] - logit[i] < 1e-4f);
    flenrt_close(m);
}

/* An absent value is the padding, the empty text, no value. */
static void absent_values_have_a_meaning(void **state)
{
    const char *given[] = {"7", "", "", ""}, *absent[] = {NULL, NULL, NULL, NULL};
    float a, b;
    (void)state;

    flenrt_model *m = open_with(trained, NULL);
    absent[3] = given[3] = "3"; /* the empty text is no price */
    assert_int_equal(flenrt_predict_rows(m, 1, given, &a, NULL), FLENRT_OK);
    assert_int_equal(flenrt_predict_rows(m, 1, absent, &b, NULL), FLENRT_OK);
    assert_true(a == b);
    given[0] = "8";
    assert_int_equal(flenrt_predict_rows(m, 1, given, &a, NULL), FLENRT_OK);
    assert_true(a != b);
    flenrt_close(m);
}

static void ids_are_numbers(void **state)
{
    int64_t ids[64 * 3], wrong[] = {10, 0, 0, 9, 0, 0}, negative[] = {10, 0, INT64_MIN};
    (void)state;

    for (int r = 0; r < 64; r++)
        for (int k = 0; k < 3; k++) {
            ids[r * 3 + k] = (k == 0 ? 10 : 0) + r * 7 % (k == 0 ? 100 : 50);
            snprintf(text[r][k], 32, "%d", (int)ids[r * 3 + k]);
        }
    infer(numbers, "user,item,seen\n", 3, 64);
    flenrt_model *m = open_with(numbers, NULL);
    assert_int_equal(flenrt_predict_ids(m, 64, ids, probability, logit), FLENRT_OK);
    assert_memory_equal(probability, wanted_probability, 64 * sizeof *probability);
    assert_memory_equal(logit, wanted_logit, 64 * sizeof *logit);
    assert_int_equal(flenrt_predict_ids(m, 2, wrong, probability, NULL), FLENRT_BAD_INPUT);
    assert_string_equal(flenrt_error(m), "row 1: slot \"user\": id 9 lies outside 10 to 109 [E0503]");
    assert_int_equal(flenrt_predict_ids(m, 1, negative, probability, NULL), FLENRT_BAD_INPUT);
    assert_non_null(strstr(flenrt_error(m), "row 0: slot \"seen\": id -9223372036854775808 lies outside 0 to 49"));
    flenrt_close(m);
    m = open_with(trained, NULL);
    assert_int_equal(flenrt_predict_ids(m, 1, ids, probability, NULL), FLENRT_UNSUPPORTED);
    assert_non_null(strstr(flenrt_error(m), "slot \"word\" are text"));
    flenrt_close(m);
}

static void a_warm_model_takes_no_memory(void **state)
{
    (void)state;
#ifdef COUNTS_ALLOCATIONS
    make_rows();
    unsigned long before = n_allocations;
    flenrt_model *m = open_with(trained, &(flenrt_options){.threads = 2});
    assert_true(n_allocations > before); /* the library's are counted */
    assert_int_equal(flenrt_predict_rows(m, N, values, probability, logit), FLENRT_OK);
    before = n_allocations;
    for (size_t n = 1; n <= N; n += 499)
        assert_int_equal(flenrt_predict_rows(m, n, values, probability, NULL), FLENRT_OK);
    assert_int_equal(n_allocations, before);
    flenrt_close(m);
#else
    skip(); /* the sanitizer's malloc is the one in place */
#endif
}

/* ---------------------------------------------------------------------------------------------- large files */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { DICTIONARIES = 8, WORDS = 100000 };

/* A model with 30 MB of dictionaries. */
static void make_large(const char *to)
{
    fl_session session;
    fl_session_options so = {.train = true, .threads = 1, .data = rows, .interpret = fl_interp_engine_new};
    char words[1024] = "network: lr\ninit: {linear: {normal: 0.5}}\ninputs:\n  label: click\n  defaults: {vocabulary: dict}\n  slots:\n";
    FILE *f = fopen(rows, "w");

    fputs("click", f);
    for (int k = 0; k < DICTIONARIES; k++) {
        fprintf(f, ",s%d", k);
        snprintf(words + strlen(words), sizeof words - strlen(words), "    - s%d\n", k);
    }
    for (int r = 0; r < WORDS; r++) {
        fprintf(f, "\n%d", r & 1);
        for (int k = 0; k < DICTIONARIES; k++)
            fprintf(f, ",%d", r * 8 + k);
    }
    fputc('\n', f);
    fclose(f);
    make_model_file(words, source, untrained);
    assert_int_equal(fl_session_open(&session, untrained, &so, NULL), FL_OK);
    assert_int_equal(fl_session_save(&session, to, NULL, 0, NULL), FL_OK);
    fl_session_close(&session);
}

static long resident_kb(void)
{
    long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_int_equal(fscanf(f, "%ld %ld", &all, &pages), 2);
    fclose(f);
    return pages * 4;
}

/* Opening and one row's look-ups leave little of a large file in the process, however the system's cache holds it: of one just written, in blocks of 2 MB. */
static void a_row_takes_little_memory(void **state)
{
    const char *row[] = {"8", "801", "8002", "80003", "4", "400005", "606", "700007"};
    float p;
    struct stat st;
    (void)state;

    make_large(trained);
    assert_int_equal(stat(trained, &st), 0);
    assert_true(st.st_size > 30 << 20);
    long before = resident_kb();
    flenrt_model *m = open_with(trained, NULL);
    assert_int_equal(flenrt_predict_rows(m, 1, row, &p, NULL), FLENRT_OK);
    assert_true(resident_kb() - before < 12 << 10);
    flenrt_close(m);
}
#endif

/* -------------------------------------------------------------------------------------------------- errors */

static void refuse(const char *path, const flenrt_options *o, flenrt_status status, const char *words)
{
    char why[FLENRT_ERROR_SIZE], small[8] = "1234567";
    flenrt_model *m = (flenrt_model *)why;

    assert_int_equal(flenrt_open(path, o, &m, why, sizeof why), status);
    assert_null(m);
    if (!strstr(why, words))
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    assert_int_equal(flenrt_open(path, o, &m, small, sizeof small), status);
    assert_int_equal(strlen(small), 7);
    assert_int_equal(flenrt_open(path, o, &m, NULL, 0), status);
}

static void what_cannot_be_opened_is_told(void **state)
{
    struct {
        flenrt_options known;
        uint64_t later;
    } newer = {{.size = sizeof newer}, 0};
    (void)state;

    refuse("/nowhere/model.bin", NULL, FLENRT_IO, "/nowhere/model.bin: ");
    refuse(source, NULL, FLENRT_BAD_INPUT, source);
    refuse(untrained, NULL, FLENRT_BAD_INPUT, "[E0704]");
    refuse(NULL, NULL, FLENRT_BAD_USAGE, "the path is NULL");
    refuse(trained, &(flenrt_options){.cpu = "z80"}, FLENRT_BAD_INPUT, "unknown CPU level \"z80\"");
    refuse(trained, &(flenrt_options){.threads = 257}, FLENRT_BAD_USAGE, "256 threads");
    refuse(trained, &(flenrt_options){.flags = 4}, FLENRT_BAD_USAGE, "unknown flag");
    flenrt_close(open_with(trained, &newer.known));
    newer.later = 1;
    refuse(trained, &newer.known, FLENRT_UNSUPPORTED, "does not know");
    assert_int_equal(flenrt_open(trained, NULL, NULL, NULL, 0), FLENRT_BAD_USAGE);
    flenrt_close(NULL);
    assert_string_equal(flenrt_version(), FLEN_VERSION);
}

static void wrong_values_are_named(void **state)
{
    const char *row[2 * SLOTS] = {"1", "a", "b", "5", "100", "a", "b", "5"};
    (void)state;

    flenrt_model *m = open_with(trained, NULL);
    assert_string_equal(flenrt_error(m), "");
    assert_int_equal(flenrt_predict_rows(m, 2, row, probability, NULL), FLENRT_BAD_INPUT);
    assert_string_equal(flenrt_error(m), "row 1: slot \"user\": id 100 lies outside 0 to 99 [E0503]");
    row[SLOTS] = "x";
    assert_int_equal(flenrt_predict_rows(m, 2, row, probability, NULL), FLENRT_BAD_INPUT);
    assert_non_null(strstr(flenrt_error(m), "row 1: slot \"user\": \"x\" is not a whole number"));
    assert_int_equal(flenrt_predict_rows(m, 1, NULL, probability, NULL), FLENRT_BAD_USAGE);
    assert_int_equal(flenrt_predict_rows(NULL, 1, row, probability, NULL), FLENRT_BAD_USAGE);
    assert_int_equal(flenrt_predict_rows(m, 1, row, probability, NULL), FLENRT_OK);
    assert_string_equal(flenrt_error(m), "");
    flenrt_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(predictions_are_those_of_infer), cmocka_unit_test(the_interpreter_is_near),
                                       cmocka_unit_test(absent_values_have_a_meaning),   cmocka_unit_test(ids_are_numbers),
                                       cmocka_unit_test(a_warm_model_takes_no_memory),   cmocka_unit_test(what_cannot_be_opened_is_told),
                                       cmocka_unit_test(wrong_values_are_named),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
                                       cmocka_unit_test(a_row_takes_little_memory), /* the last: in place of the other models */
#endif
    };
    if (!mkdtemp(folder) || setenv("FLEN_CACHE_DIR", "/dev/null/none", 1) != 0)
        return 1;
    char *const names[] = {untrained, trained, numbers, source, rows};
    static const char *const files[] = {"model.bin", "trained.bin", "numbers.bin", "config.yaml", "rows.csv"};
    for (size_t i = 0; i < FL_COUNT(names); i++)
        snprintf(names[i], 64, "%s/%s", folder, files[i]);
    make_model(number_slots, untrained, numbers);
    make_model(slots, untrained, trained);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < FL_COUNT(names); i++)
        unlink(names[i]);
    rmdir(folder);
    return failed;
}
