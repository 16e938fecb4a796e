#!/bin/sh
# Every operator of ours that has a body, on 200 random shapes: native code (flenrt eval) against the body in ONNX Runtime, as a function and inlined.
# $FLEN_PYTHON (default python3) needs onnxruntime and numpy; skipped without (tests/unit/test_body_shapes.c compares with the interpreter then).
. tests/support/shell.sh
need_python onnxruntime numpy
run=$(pwd)/tests/support/onnx_runtime.py
cd "$dir" || exit 1
operators=0

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
