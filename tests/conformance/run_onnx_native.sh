# ONNX's node tests through native code.
. tests/conformance/onnx.sh
run_onnx "$1" native "${FLEN_ONNX_LEAST:-625}"
