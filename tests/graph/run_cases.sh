#!/bin/sh
# sh tests/graph/run_cases.sh BIN_DIR [--update] [FILE...] -- graph texts before and after passes (default: every case).
#
# A case is tests/graph/<pass>/<case>.onnxtxt:
#   # RUN: flenc opt --passes=dce       the command; the case's file is added as input, and --plain for `opt`
#   # VALUES: 1e-6                      optional: the tolerance of values (default 1e-12), or `none` and the reason why they must differ
#   the graph
#   # EXPECT:
#   what the command prints; in a folder `invalid`, what it says when it refuses the graph (exit status 1) or the command (2)
# Every rule of ir/verify_rules.def that a text can break has a case in `invalid`.
# What computes is run before and after on the interpreter, on the same random inputs, and must agree (flen-values); what was printed must read back
# and print as the same text. --update writes the present output behind EXPECT. Every pass has a folder here, but for
# segment and plan-memory, whose result is a schedule and not a text of nodes (tests/unit/test_segment.c).
. tests/support/shell.sh
shift
here=$(cd "$(dirname "$0")" && pwd)
update=no
if [ "${1:-}" = --update ]; then
    update=yes
    shift
fi
cases=0

fail() {
    echo "FAILED: $case: $*"
    failed=$((failed + 1))
}

# Values before and after, and the printed text once more.
check_values() {
    fewer=
    case $run in *'set-mode(predict)'*) fewer=--fewer ;; esac
    tolerance=$(sed -n 's/^# VALUES: *\([^ ]*\).*/\1/p' "$dir/$name")
    [ "$tolerance" = none ] || "$bin/flen-values" $fewer "--tolerance=${tolerance:-1e-12}" "$dir/$name" "$dir/after.onnxtxt" >"$dir/values" 2>&1 ||
        { fail "values differ"; cat "$dir/values"; }
    functions=
    case $run in *--functions*) functions=--functions ;; esac
    "$bin/flenc" dump --plain $functions "$dir/after.onnxtxt" >"$dir/again" 2>&1
    cmp -s "$dir/after.onnxtxt" "$dir/again" || { fail "what is printed does not read back"; diff "$dir/after.onnxtxt" "$dir/again"; }
}

run_case() {
    case=$1 name=$(basename "$1") cases=$((cases + 1))
    run=$(sed -n '1s/^# RUN: flenc //p' "$case")
    if [ -z "$run" ] || ! grep -q '^# EXPECT:$' "$case"; then
        fail "the first line is no \"# RUN: flenc ...\", or there is no \"# EXPECT:\""
        return
    fi
    sed '/^# EXPECT:$/,$d' "$case" >"$dir/$name"
    sed '1,/^# EXPECT:$/d' "$case" >"$dir/expected"
    plain=
    case $run in opt*) plain=--plain ;; esac
    (cd "$dir" && eval "$bin/flenc $run" $plain "$name") >"$dir/after.onnxtxt" 2>"$dir/errors"
    status=$?
    got=$dir/after.onnxtxt wanted=0
    case $case in */invalid/*) got=$dir/errors wanted='[12]' ;; esac
    if ! echo $status | grep -q "^$wanted\$"; then
        fail "exit status $status"
        cat "$dir/errors"
        return
    fi
    if [ $update = yes ]; then
        { cat "$dir/$name"; echo "# EXPECT:"; cat "$got"; } >"$dir/new"
        cmp -s "$dir/new" "$case" || cp "$dir/new" "$case"
    elif ! cmp -s "$dir/expected" "$got"; then
        fail "the text differs (< expected, > got)"
        diff "$dir/expected" "$got"
    fi
    [ "$wanted" != 0 ] || check_values
}

if [ $# -gt 0 ]; then
    for file in "$@"; do run_case "$file"; done
else
    for file in "$here"/*/*.onnxtxt; do
        [ -e "$file" ] && run_case "$file"
    done
    for pass in $("$bin/flenc" opt --list-passes | sed 's/ .*//'); do
        case $pass in segment | plan-memory) continue ;; esac
        [ -n "$(ls "$here/$pass"/*.onnxtxt 2>/dev/null)" ] || { echo "FAILED: the pass $pass has no case in tests/graph/$pass"; failed=$((failed + 1)); }
    done
    for rule in $(sed -n 's/^FL_VERIFY_RULE([A-Z_]*, "\([a-z-]*\)", TEXT,.*/\1/p' "$here/../../ir/verify_rules.def"); do
        grep -q "hint: rule $rule: " "$here"/invalid/*.onnxtxt || { echo "FAILED: the verifier's rule $rule has no case in tests/graph/invalid"; failed=$((failed + 1)); }
    done
fi
echo "$cases cases, $failed failed"
[ $cases -gt 0 ] && [ $failed = 0 ]
