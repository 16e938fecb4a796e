# The node tests of an installed onnx package (pip install onnx numpy), newer than Debian's, on both backends. None may fail.
if ! python3 -c 'import onnx, numpy' 2>/dev/null; then
    echo "skipped: python3 has no onnx package"
    exit 77
fi
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 tests/conformance/onnx_tests.py "$folder" || exit 1
"$1/flen-onnx-tests" "$folder" --quiet | grep -v ^UNSUPPORTED
"$1/flen-onnx-tests" "$folder" --quiet >/dev/null || exit 1
"$1/flen-onnx-tests" "$folder" --quiet --backend=native > "$folder/log"
status=$?
grep -v ^UNSUPPORTED "$folder/log"
exit $status
