# The node tests of an installed onnx package (pip install onnx numpy), newer than Debian's, on both backends. None may fail.
. tests/support/shell.sh
need_python onnx numpy
"$python" tests/conformance/onnx_tests.py "$dir/tests" || exit 1
"$bin/flen-onnx-tests" "$dir/tests" --quiet | grep -v ^UNSUPPORTED
"$bin/flen-onnx-tests" "$dir/tests" --quiet >/dev/null || exit 1
"$bin/flen-onnx-tests" "$dir/tests" --quiet --backend=native >"$dir/log"
status=$?
grep -v ^UNSUPPORTED "$dir/log"
exit $status
