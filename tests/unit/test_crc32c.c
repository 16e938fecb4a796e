/* CRC-32C: the value that everyone's first test has, and long inputs, which go in lanes, against the same in pieces that are too short for them. */
#include "ir/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>

#include "ir/base/rng.h"

static void known_values(void **state)
{
    (void)state;
    assert_int_equal(fl_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(fl_crc32c(0, "", 0), 0);
    unsigned char zeros[32] = {0};
    assert_int_equal(fl_crc32c(0, zeros, sizeof zeros), 0x8a9136aa); /* RFC 3720, B.4 */
}

static void long_inputs(void **state)
{
    enum { MOST = 20000 };
    unsigned char *bytes = malloc(MOST + 8);
    (void)state;

    assert_non_null(bytes);
    for (size_t i = 0; i < MOST + 8; i++)
        bytes[i] = (unsigned char)fl_mix64(i);
    for (size_t n = 3000; n <= MOST; n += 1 + n % 401) {
        const unsigned char *from = bytes + n % 8;
        uint32_t in_pieces = 0;
        for (size_t at = 0; at < n; at += 1000)
            in_pieces = fl_crc32c(in_pieces, from + at, n - at < 1000 ? n - at : 1000);
        assert_int_equal(fl_crc32c(0, from, n), in_pieces);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(long_inputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
