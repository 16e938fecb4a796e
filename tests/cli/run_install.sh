#!/bin/sh
# `cmake --install` into a folder of its own: both programs run from there, find what they need there, and every verb has its
# section in the man page. A C program finds the library by pkg-config and predicts what `flenrt predict` does.
. tests/support/shell.sh
build=$(dirname "$bin")
prefix=$dir/prefix
unset FLEN_CODEGEN

check() {
    "$@" >"$dir/out" 2>"$dir/err" && return
    echo "FAILED (status $?): $*"
    cat "$dir/err"
    failed=1
}

check cmake --install "$build" --prefix "$prefix"
for file in bin/flenc bin/flenrt lib/flen/flen_codegen.so share/man/man1/flenc.1 share/man/man1/flenrt.1; do
    check test -s "$prefix/$file"
done
cd "$dir" || exit 2

models=0
for config in "$prefix"/share/flen/models/*/*.yaml; do
    models=$((models + 1))
    check "$prefix/bin/flenc" dump --plain "$config"
    grep -q '=> (float\[batch,1\] logit' "$dir/out" || { echo "FAILED: no logit in the graph of $config"; failed=1; }
    check "$prefix/bin/flenc" compile "$config" -o "$dir/model.bin"
    check test -s "$dir/model.bin"
done
[ $models -gt 5 ] || { echo "FAILED: only $models configurations are installed"; failed=1; }

# The code generator is found beside nothing but the installed programs; the cache is empty.
check "$prefix/bin/flenrt" generate --rows 300 -o "$dir/rows.csv"
check "$prefix/bin/flenc" compile "$prefix/share/flen/models/lr/config.yaml" -o "$dir/model.bin"
check "$prefix/bin/flenrt" train "$dir/model.bin" --data "$dir/rows.csv" --epochs 1 -o "$dir/trained.bin"
check "$prefix/bin/flenrt" predict "$dir/trained.bin" --data "$dir/rows.csv"
[ "$(wc -l <"$dir/out")" = 301 ] || { echo "FAILED: predict gave $(wc -l <"$dir/out") lines for 300 rows"; failed=1; }

# From C: the program asks for nothing but flenrt.pc, and finds the code generator from the library's own place, even in a tree that moved.
cat >"$dir/serve.c" <<'END'
#include <flenrt.h>
#include <stdio.h>
#include <string.h>

static int split(char *line, char **cells)
{
    int n = 0;

    line[strcspn(line, "\n")] = 0;
    for (char *p = line; p; n++) {
        cells[n] = p;
        if ((p = strchr(p, ',')) != NULL)
            *p++ = 0;
    }
    return n;
}

int main(int argc, char **argv) /* MODEL, rows of unquoted CSV with a header */
{
    static char header[4096], line[4096];
    char *columns[64], *cells[64], why[FLENRT_ERROR_SIZE];
    const char *values[64];
    flenrt_options options = {.size = sizeof options};
    flenrt_model *model;
    FILE *f = argc == 3 ? fopen(argv[2], "r") : NULL;
    float probability, logit;
    int n_columns;

    if (!f || flenrt_open(argv[1], &options, &model, why, sizeof why) != FLENRT_OK || !fgets(header, sizeof header, f))
        return fprintf(stderr, "%s\n", f ? why : "no rows"), 1;
    n_columns = split(header, columns);
    puts("row,probability,logit");
    for (int row = 0; fgets(line, sizeof line, f); row++) {
        split(line, cells);
        for (unsigned k = 0; k < flenrt_n_slots(model); k++)
            for (int i = 0; i < n_columns; i++)
                if (!strcmp(columns[i], flenrt_slot_column(model, k)))
                    values[k] = cells[i];
        if (flenrt_predict_rows(model, 1, values, &probability, &logit) != FLENRT_OK)
            return fprintf(stderr, "%s\n", flenrt_error(model)), 1;
        printf("%d,%.9g,%.9g\n", row, probability, logit);
    }
    flenrt_close(model);
    return fclose(f);
}
END
cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
sanitize=$(cached FLEN_SANITIZE)
moved=$dir/moved
check mv "$prefix" "$moved"
prefix=$moved
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name flenrt.pc)")
export PKG_CONFIG_PATH
check pkg-config --modversion flenrt
flags=$(pkg-config --cflags --libs flenrt)
libdir=$(pkg-config --variable=libdir flenrt)
check $(cached CMAKE_C_COMPILER) $(cached CMAKE_C_COMPILER_ARG1) ${sanitize:+"-fsanitize=$sanitize"} -std=c99 -Wall -Wextra -Werror -o "$dir/serve" "$dir/serve.c" $flags
check "$prefix/bin/flenrt" predict "$dir/trained.bin" --data "$dir/rows.csv" --logit
mv "$dir/out" "$dir/expected"
rm -rf "$FLEN_CACHE_DIR"
check env LD_LIBRARY_PATH="$libdir" "$dir/serve" "$dir/trained.bin" "$dir/rows.csv"
cmp "$dir/expected" "$dir/out" || { echo "FAILED: from C come other predictions than from flenrt predict"; failed=1; }
[ "$(wc -l <"$dir/out")" = 301 ] || { echo "FAILED: from C come $(wc -l <"$dir/out") lines for 300 rows"; failed=1; }
others=$(nm -D --defined-only "$libdir/libflenrt.so" | sed 's/.* //' | grep -vE '^flenrt_' | grep -vE '^_|asan|ubsan|tsan')
[ -z "$others" ] || { echo "FAILED: libflenrt.so shows" $others; failed=1; }
readelf -d "$libdir/libflenrt.so" | grep -q 'SONAME.*\[libflenrt\.so\.0\]' || { echo "FAILED: libflenrt.so has no soname"; failed=1; }

for program in flenc flenrt; do
    page=$prefix/share/man/man1/$program.1
    for verb in $("$prefix/bin/$program" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p'); do
        grep -q "^\.SS $verb\$" "$page" || { echo "FAILED: $program.1 has no section on \"$verb\""; failed=1; }
    done
    command -v groff >/dev/null 2>&1 || continue
    groff -man -ww -z "$page" 2>"$dir/err"
    [ ! -s "$dir/err" ] || { cat "$dir/err"; failed=1; }
done
exit $failed
