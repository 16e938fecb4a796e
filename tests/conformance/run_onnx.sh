# ONNX's backend node tests on the interpreter. BIN_DIR is the first argument; tests lie in $FLEN_ONNX_TESTS, by default where Debian's
# libonnx-testdata puts them. Fails if a test fails, or if fewer pass than once did.
bin=$1
data=${FLEN_ONNX_TESTS:-/usr/share/libonnx-testdata/data/node}
least=${FLEN_ONNX_LEAST:-708}
log=$(mktemp)
if [ ! -d "$data" ]; then
    echo "skipped: no ONNX node tests in $data (Debian package libonnx-testdata)"
    exit 77
fi
# test_adam_multiple of ONNX 1.12 was computed with an epsilon that its model does not have; later releases mended it.
"$bin/flen-onnx-tests" "$data" --quiet --wrong=test_adam_multiple > "$log"
status=$?
grep -v ^UNSUPPORTED "$log"
passed=$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' "$log")
rm -f "$log"
[ "$status" -eq 0 ] || exit 1
[ "${passed:-0}" -ge "$least" ] || { echo "only $passed tests pass; $least did before"; exit 1; }
