# Models of scikit-learn as skl2onnx converts them (make_sklearn_models.py), on both backends, against what ONNX Runtime answered. Neither refuses one.
bin=$1
models=tests/conformance/sklearn_models
failed=0
for backend in interp native; do
    out=$("$bin/flen-onnx-tests" $models "--backend=$backend" --tolerance=1e-5) || failed=1
    echo "$backend: $(echo "$out" | tail -1)"
    left=$(echo "$out" | sed -n 's/^UNSUPPORTED \([a-z_]*\): .*/\1/p' | tr '\n' ' ')
    [ -z "$left" ] || { echo "$backend: not supported: $left"; failed=1; }
done
exit $failed
