# shell.sh -- sourced first by the test scripts, which are called at the top of the tree: `sh tests/cli/run_x.sh BIN_DIR`.
#
#   $bin, $root, $dir               folders: of the programs, the tree, and one of the test's own, which goes when it ends; native code is kept there
#   fail WORDS...                   the test has failed, and goes on
#   expect STATUS WORDS COMMAND...  the exit status, and words somewhere in what it says; all it said is in $dir/out
#   limited SECONDS COMMAND...      at most so much of the processor's time: a clock on the wall would tell how busy the machine is
#   need_python MODULE...           $python is $FLEN_PYTHON (default python3) and has the modules; or the test is skipped
#   finish                          ends the test
set -u
root=$(pwd)
bin=$(cd "$1" && pwd) && dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
FLEN_CACHE_DIR=$dir/cache
export FLEN_CACHE_DIR
failed=0

fail() {
    echo "FAILED: $*"
    failed=1
}

expect() {
    status=$1 words=$2
    shift 2
    "$@" >"$dir/out" 2>&1
    got=$?
    if [ $got != "$status" ] || ! grep -qF -- "$words" "$dir/out"; then
        fail "$* (status $got, expected $status and \"$words\")"
        tail -20 "$dir/out"
    fi
}

limited() (
    ulimit -t "$1"
    shift
    exec "$@"
)

need_python() {
    python=${FLEN_PYTHON:-python3}
    "$python" -c "import $(echo "$@" | sed 's/ /, /g')" 2>/dev/null || { echo "skipped: $python lacks one of: $* (\$FLEN_PYTHON may name one that has them)"; exit 77; }
}

finish() {
    exit $failed
}
