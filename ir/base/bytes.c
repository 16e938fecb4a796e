#include "ir/base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool fl_parse_size(const char *text, int64_t least, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    int64_t unit = *end == 'K' ? 1000 : *end == 'M' ? 1000000 : *end == 'G' ? 1000000000 : 1;
    if (end == text || errno || v < least || end[unit > 1] || v > INT64_MAX / unit)
        return false;
    *out = v * unit;
    return true;
}

const char *fl_print_bytes(uint64_t bytes, char text[24])
{
    if (bytes < 10000)
        snprintf(text, 24, "%d bytes", (int)bytes);
    else if (bytes < 1000000000)
        snprintf(text, 24, "%.4g MB", (double)bytes / 1e6);
    else
        snprintf(text, 24, "%.4g GB", (double)bytes / 1e9);
    return text;
}
