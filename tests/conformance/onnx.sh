# onnx.sh -- sourced by run_onnx*.sh: run_onnx BIN_DIR BACKEND LEAST runs ONNX's backend node tests on a backend. They lie in $FLEN_ONNX_TESTS, by
# default where Debian's libonnx-testdata puts them (and those of Gradient, beside them in `simple`). Fails if a test fails, or if fewer than LEAST pass (on native code: through
# emitted code). What is not supported is listed by `flen-onnx-tests` and never fails.
run_onnx() {
    data=${FLEN_ONNX_TESTS:-/usr/share/libonnx-testdata/data/node}
    if [ ! -d "$data" ]; then
        echo "skipped: no ONNX node tests in $data (Debian package libonnx-testdata)"
        exit 77
    fi
    log=$(mktemp)
    gradients=$(ls -d "$(dirname "$data")"/simple/test_gradient_of_* 2>/dev/null)
    # test_adam_multiple of ONNX 1.12 was computed with an epsilon that its model does not have; later releases mended it.
    "$1/flen-onnx-tests" "$data" $gradients "--backend=$2" --quiet --wrong=test_adam_multiple > "$log"
    status=$?
    grep -v ^UNSUPPORTED "$log"
    passed=$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' "$log")
    emitted=$(sed -n 's/^\([0-9]*\) through emitted code.*/\1/p' "$log")
    rm -f "$log"
    [ "$status" -eq 0 ] || exit 1
    [ "${emitted:-${passed:-0}}" -ge "$3" ] || { echo "only ${emitted:-$passed} tests pass; $3 did before"; exit 1; }
}
