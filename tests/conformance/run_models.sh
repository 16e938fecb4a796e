# Models as other tools export them (make_models.py), on both backends, against what ONNX Runtime answered. None may fail or be left out.
for backend in interp native; do
    "$1/flen-onnx-tests" tests/conformance/models --quiet "--backend=$backend" --tolerance=1e-5 || exit 1
done
left=$("$1/flen-onnx-tests" tests/conformance/models --quiet --backend=native | grep -c ^UNSUPPORTED)
[ "$left" -eq 0 ] || { echo "$left models are not supported"; exit 1; }
