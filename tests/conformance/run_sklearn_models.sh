# Models of scikit-learn as skl2onnx converts them (make_sklearn_models.py), on both backends, against what ONNX Runtime answered. The interpreter refuses none, native
# code those named here: words as labels.
bin=$1
models=tests/conformance/sklearn_models
failed=0
for backend in interp native; do
    out=$("$bin/flen-onnx-tests" $models "--backend=$backend" --tolerance=1e-5) || failed=1
    echo "$backend: $(echo "$out" | tail -1)"
    left=$(echo "$out" | sed -n 's/^UNSUPPORTED \([a-z_]*\): .*/\1/p' | tr '\n' ' ')
    [ "$backend: $left" = "interp: " ] || [ "$backend: $left" = "native: sk_columns " ] || { echo "$backend: not supported: $left"; failed=1; }
done
exit $failed
