# ONNX's node tests on the interpreter.
. tests/conformance/onnx.sh
run_onnx "$1" interp "${FLEN_ONNX_LEAST:-710}"
