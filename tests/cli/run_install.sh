#!/bin/sh
# `cmake --install` into a folder of its own: both programs run from there, find what they need there, and every verb has its
# section in the man page.
build=$(cd "$1/.." && pwd) || exit 2
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix failed=0
unset FLEN_CODEGEN
XDG_CACHE_HOME=$dir/cache
export XDG_CACHE_HOME

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
