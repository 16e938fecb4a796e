#!/bin/sh
# sh tests/run.sh [--all] [ctest arguments] -- installs what is missing, builds, runs the tests.
#
# --all: the slow tier too (slow_*.sh, and every other test under the address and undefined-behaviour sanitizers). The last line is `N passed, N failed`,
# with `, N skipped` behind it if some were; the exit status is 1 if any failed. Data is looked for in $FLEN_TEST_DATA
# (default ../shared): tests that lack it are skipped and say so.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/support/setup.sh

all=no
if [ "${1:-}" = --all ]; then
    all=yes
    shift
fi
FLEN_TEST_DATA=${FLEN_TEST_DATA:-../shared}
FLEN_TEST_DATA=$(cd "$FLEN_TEST_DATA" 2>/dev/null && pwd || echo "$FLEN_TEST_DATA") # tests work in folders of their own
export FLEN_TEST_DATA

slow_packages=
[ $all = yes ] && slow_packages="valgrind time"
flen_setup libonnx-testdata strace $slow_packages || { echo "0 passed, 1 failed"; exit 1; }

passed=0 failed=0 skipped=0

# run_preset PRESET [ctest arguments]: builds and tests one preset, adds to the counts.
run_preset() {
    preset=$1
    shift
    log=build/test-$preset.log
    mkdir -p build
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1; then
        grep -E 'error|warning|Error' "$log" | head -20
        tail -5 "$log"
        failed=$((failed + 1))
        return
    fi
    echo "$preset: built" >&2
    ctest --preset "$preset" "$@" >"$log" 2>&1
    cat "$log"
    p=$(grep -cE '^ *[0-9]+/[0-9]+ Test.* Passed ' "$log")
    s=$(grep -cE '^ *[0-9]+/[0-9]+ Test.*\*\*\*Skipped' "$log")
    f=$(grep -cE '^ *[0-9]+/[0-9]+ Test.*(\*\*\*(Failed|Timeout|Exception|Not Run))' "$log")
    if [ $((p + s + f)) = 0 ]; then
        echo "$preset: no test ran"
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

if [ $all = no ]; then
    run_preset dev -LE slow "$@"
else
    run_preset dev "$@"
    FLEN_RANDOM_GRAPHS=3000 # of tests/unit/test_random_graphs.c, from a new seed each day
    FLEN_RANDOM_SEED=$(date +%Y%m%d)0000
    export FLEN_RANDOM_GRAPHS FLEN_RANDOM_SEED
    run_preset asan -LE slow "$@"
fi

line="$passed passed, $failed failed"
[ $skipped -gt 0 ] && line="$line, $skipped skipped"
echo "$line"
[ $failed = 0 ]
