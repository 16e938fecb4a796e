#include "ir/base/status.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    int exit_status;
    const char *text;
} statuses[] = {
#define FL_STATUS(id, exit_status, text) {exit_status, text},
#include "ir/base/status.def"
#undef FL_STATUS
};

int fl_status_exit(fl_status s)
{
    return statuses[s].exit_status;
}

const char *fl_status_text(fl_status s)
{
    return statuses[s].text;
}

#ifndef NDEBUG
void fl_assert_failed(const char *file, int line, const char *cond)
{
    fprintf(stderr, "%s:%d: internal error: %s\n", file, line, cond);
    abort();
}
#endif
