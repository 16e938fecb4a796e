/*
 * test_npy_file.c -- numpy's files in and out. Oracle: numpy's format document (numpy.lib.format), by hand.
 */
#include "runtime/npy_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char path[] = "/tmp/flen-npy-XXXXXX";

static void put(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* Version 1 with this header and n bytes of data. */
static void put_with(const char *header, const void *data, size_t n)
{
    char bytes[1000] = "\x93NUMPY\x01";
    size_t length = strlen(header);
    bytes[8] = (char)(length & 255);
    bytes[9] = (char)(length >> 8);
    memcpy(bytes + 10, header, length);
    memcpy(bytes + 10 + length, data, n);
    put(bytes, 10 + length + n);
}

static void arrays_come_back(void **state)
{
    const struct {
        fl_type type;
        size_t bytes;
    } cases[] = {{{FL_FLOAT, 2, {2, 3}}, 24}, {{FL_INT64, 1, {3}}, 24},  {{FL_DOUBLE, 0, {0}}, 8},          {{FL_BOOL, 3, {2, 1, 2}}, 4},
                 {{FL_UINT8, 1, {0}}, 0},     {{FL_INT32, 1, {1}}, 4},   {{FL_FLOAT16, 2, {1, 2}}, 4},      {{FL_INT8, 8, {1, 1, 1, 1, 1, 1, 1, 2}}, 2}};
    unsigned char data[24];
    (void)state;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + 1);
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        fl_npy a;
        assert_int_equal(fl_npy_write(path, &cases[i].type, data, NULL), FL_OK);
        assert_int_equal(fl_npy_read(path, &a, NULL), FL_OK);
        assert_true(fl_type_equal(&a.type, &cases[i].type));
        assert_int_equal(a.n_bytes, cases[i].bytes);
        assert_memory_equal(a.bytes, data, a.n_bytes);
        fl_npy_free(&a);
    }
    fl_diag dg;
    fl_diag_init(&dg);
    assert_int_equal(fl_npy_write(path, &(fl_type){FL_BFLOAT16, 1, {1}}, data, &dg), FL_UNSUPPORTED);
    assert_int_equal(dg.entries[0].code, FL_E_NPY_DTYPE);
    assert_string_equal(dg.entries[0].text, "numpy has no elements of type bfloat16");
    fl_diag_deinit(&dg);
}

/* numpy.array([[1, -2]], dtype="int32") as the format document has it: padded so that data starts at a multiple of 64. */
static void the_documents_bytes(void **state)
{
    char header[119];
    const int32_t data[] = {1, -2};
    (void)state;

    memset(header, ' ', 118);
    memcpy(header, "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }", 59);
    header[117] = '\n';
    header[118] = 0;
    put_with(header, data, sizeof data);
    FILE *f = fopen(path, "r");
    char theirs[136], ours[200];
    assert_int_equal(fread(theirs, 1, sizeof theirs, f), sizeof theirs);
    fclose(f);
    fl_npy a;
    assert_int_equal(fl_npy_read(path, &a, NULL), FL_OK);
    assert_int_equal(((int32_t *)a.bytes)[1], -2);
    assert_int_equal(fl_npy_write(path, &a.type, a.bytes, NULL), FL_OK);
    fl_npy_free(&a);
    f = fopen(path, "r");
    size_t n = fread(ours, 1, sizeof ours, f);
    fclose(f);
    assert_int_equal(n, sizeof theirs);
    theirs[7] = 0;
    assert_memory_equal(ours, theirs, n);
}

static void expect(const char *words)
{
    fl_npy a;
    fl_diag dg;

    fl_diag_init(&dg);
    assert_int_not_equal(fl_npy_read(path, &a, &dg), FL_OK);
    assert_null(a.bytes);
    if (!strstr(dg.entries[0].text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, dg.entries[0].text);
    fl_diag_deinit(&dg);
}

static void wrong_files_are_refused(void **state)
{
    static const struct {
        const char *header, *words;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }\n", "elements of type \">f4\""},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n", "elements of type \"<c8\""},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n", "column-major"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", "no element type of one word"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", "4 bytes of data, its header asks for another"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), 'more': 1}\n", "a key besides"},
        {"{'descr': '<f4', 'fortran_order': False}\n", "lacks"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}\n", "no element type"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n", "shape that cannot be read"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }\n", "shape that cannot be read"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", "shape that cannot be read"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8), }\n", "another number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }\n", "more than 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x\n", "does not end"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), ", "no dictionary"},
        {"", "no dictionary"},
    };
    (void)state;

    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        put_with(cases[i].header, "\0\0\200?", 4);
        expect(cases[i].words);
    }
    put("PK\3\4", 4);
    expect("not a .npy file");
    put("\x93NUMPY\x09\0\0\0\0\0", 12);
    expect("not a .npy file");
    put("\x93NUMPY\x01\0\x70\0{'descr'", 18);
    expect("cut short");
    put("\x93NUMPY\x02\0\xff\xff\xff\xff", 12);
    expect("not a .npy file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arrays_come_back), cmocka_unit_test(the_documents_bytes), cmocka_unit_test(wrong_files_are_refused)};
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
