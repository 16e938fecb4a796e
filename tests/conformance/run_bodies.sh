#!/bin/sh
# Every operator of ours that has a body, on 200 random shapes: native code (flenrt eval) against the body in ONNX Runtime, as a function and inlined.
# $FLEN_PYTHON (default python3) needs onnxruntime and numpy; skipped without (tests/unit/test_body_shapes.c compares with the interpreter then).
bin=$(cd "$1" && pwd) || exit 2
python=${FLEN_PYTHON:-python3}
"$python" -c 'import onnxruntime, numpy' 2>/dev/null || { echo "skipped: $python has no onnxruntime (\$FLEN_PYTHON may name one that has)"; exit 77; }
run=$(pwd)/tests/support/onnx_runtime.py
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
XDG_CACHE_HOME=$dir/cache
export XDG_CACHE_HOME
cd "$dir" || exit 1
failed=0 operators=0

# same OPERATOR ROWS: in 200 instances at once.
same() {
    rm -rf in out
    "$python" "$run" draw function.onnx "$2" in 8 && "$bin/flenrt" eval graph.bin --in in --out out --quiet &&
        "$python" "$run" compare function.onnx in out 2e-5 && "$python" "$run" compare inlined.onnx in out 2e-5 || { echo "FAILED: $1, $2 rows"; failed=1; }
}

for operator in $("$bin/flen-bodies"); do
    "$bin/flen-bodies" "$operator" 0 200 >graph.onnxtxt && "$bin/flenc" compile graph.onnxtxt -o graph.bin --quiet && "$bin/flenc" export graph.onnxtxt -o function.onnx --quiet &&
        "$bin/flenc" export graph.onnxtxt --standard-ops -o inlined.onnx --quiet || { echo "FAILED: $operator"; failed=1; continue; }
    same "$operator" 37
    operators=$((operators + 1))
done
echo "$operators operators"
[ "$operators" -ge 10 ] && [ $failed = 0 ]
