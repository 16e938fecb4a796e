/*
 * flen_bodies.c -- flen-bodies [OPERATOR FIRST COUNT]: names of the operators of ours that have a body; or a graph text of COUNT instances of one, numbered from
 * FIRST, with shapes drawn from their numbers (tests/support/body_shapes.h). Exit 2 if there is no such operator.
 */
#include "tests/support/body_shapes.h"

#include "ir/bodies.h"

#include <string.h>

int main(int argc, char **argv)
{
    for (int op = 0; op < FL_N_OPS; op++) {
        if (!fl_body_exists((fl_op)op))
            continue;
        if (argc == 1)
            puts(fl_op_get((fl_op)op)->name);
        if (argc != 4 || strcmp(argv[1], fl_op_get((fl_op)op)->name) != 0)
            continue;
        char *text = body_shapes((fl_op)op, atoi(argv[2]), atoi(argv[3]));
        if (!text)
            return 2;
        fputs(text, stdout);
        free(text);
        return 0;
    }
    return argc == 1 ? 0 : 2;
}
