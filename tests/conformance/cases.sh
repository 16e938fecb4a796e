# cases.sh -- for the scripts run_cases_*.sh: flen-cases on reference data that is not in the tree ($FLEN_TEST_DATA, default ../shared
# beside the checkout). Without the data a test counts as skipped.

# The models that the reference has and we build: none of their cases may be skipped.
ours='lr|fm|fwfm|flen_paper|flen_official|flen_paddlerec18|flen_paddlerec2'

# cases PATH_BELOW_DATA [options]: every case of a model of ours passes.
cases() {
    path=${FLEN_TEST_DATA:-../shared}/$1
    shift
    if [ ! -e "$path" ]; then
        echo "skipped: $path is not there"
        exit 77
    fi
    out=$("$bin/flen-cases" "$path" "$@")
    status=$?
    echo "$out"
    [ $status = 0 ] || exit 1
    if echo "$out" | grep '^SKIP' | grep -Ev ': model [a-z0-9]+$' || echo "$out" | grep -E "^SKIP .*: model ($ours)\$"; then
        echo "a case that must be known was skipped"
        exit 1
    fi
    echo "$out" | tail -1 | grep -q '^0 passed' && exit 1
    return 0
}
