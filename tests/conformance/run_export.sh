#!/bin/sh
# What `flenc export` writes of a trained model of each network, unoptimised and optimised, with weights inside and beside, and model.onnx as it lies
# in model.bin, passes onnx.checker's full check where that is installed, runs in ONNX Runtime and agrees with our interpreter to 1e-5: with functions, as standard
# operators alone, and at opset 13. $FLEN_PYTHON (default python3) needs onnxruntime and numpy; skipped without.
. tests/support/shell.sh
need_python onnxruntime numpy
here=$(pwd)
compared=0

run() {
    "$@" >"$dir/log" 2>&1 && return
    echo "FAILED (status $?): $*"
    cat "$dir/log"
    failed=1
    return 1
}

# checked FILE.onnx ARGUMENT: by onnx.checker; ARGUMENT "alone": it has neither functions nor operators of ours.
checked() {
    "$python" - "$@" <<'CHECK' || { echo "FAILED: the check of $*"; failed=1; }
import sys
try:
    import onnx
except ImportError:
    sys.exit(0)
onnx.checker.check_model(sys.argv[1], full_check=True)
model = onnx.load(sys.argv[1], load_external_data=False)
domains = {node.domain for node in model.graph.node} | {entry.domain for entry in model.opset_import}
sys.exit(sys.argv[2:] == ["alone"] and (len(model.functions) > 0 or domains != {""}))
CHECK
}

# agrees FILE.onnx: with `flenrt eval` of the model, on 1 row and on 17.
agrees() {
    for rows in 1 17; do
        rm -rf "$dir/in" "$dir/out"
        run "$python" "$here/tests/support/onnx_runtime.py" draw "$1" $rows "$dir/in" &&
            run "$bin/flenrt" eval "$dir/trained.bin" --backend=interp --in "$dir/in" --out "$dir/out" &&
            run "$python" "$here/tests/support/onnx_runtime.py" compare "$1" "$dir/in" "$dir/out" 1e-5 && compared=$((compared + 1))
    done
}

run "$bin/flenrt" generate --rows 2000 --ids 2000 --seed 5 -o "$dir/rows.csv" || exit 1
for network in lr fm fwfm flen flen-official flen-paddlerec-1.8 flen-paddlerec-2; do
    run "$bin/flenc" compile models/flen/config.yaml --set "network=$network" -o "$dir/model.bin" || continue
    run "$bin/flenrt" train "$dir/model.bin" --data "$dir/rows.csv" --epochs 1 --batch 256 -o "$dir/trained.bin" || continue
    for stage in forward optimised; do
        run "$bin/flenc" export "$dir/trained.bin" --stage=$stage -o "$dir/$network.$stage.onnx" && agrees "$dir/$network.$stage.onnx"
        checked "$dir/$network.$stage.onnx"
    done
    run "$bin/flenc" export "$dir/trained.bin" --stage=optimised --standard-ops -o "$dir/$network.alone.onnx" && agrees "$dir/$network.alone.onnx"
    checked "$dir/$network.alone.onnx" alone
    run "$bin/flenc" export "$dir/trained.bin" --stage=optimised --standard-ops --opset 13 -o "$dir/$network.13.onnx" && agrees "$dir/$network.13.onnx"
    checked "$dir/$network.13.onnx" alone
    run "$bin/flenc" export "$dir/trained.bin" --external-data -o "$dir/$network.beside.onnx" && agrees "$dir/$network.beside.onnx"
    checked "$dir/$network.beside.onnx"
    (cd "$dir" && run "$python" -m zipfile -e trained.bin unpacked) && agrees "$dir/unpacked/model.onnx"
done
# Training information: every new value is an output of the step, of an initialiser of the file or the step; what only predicts runs as before.
run "$bin/flenc" export "$dir/trained.bin" --training -o "$dir/training.onnx" && agrees "$dir/training.onnx"
"$python" - "$dir/training.onnx" <<'CHECK' || { echo "FAILED: training information"; failed=1; }
import sys
try:
    import onnx
except ImportError:
    sys.exit(0)
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
(step,) = model.training_info
known = {value.name for value in [*model.graph.initializer, *step.algorithm.initializer]}
outputs = {value.name for value in step.algorithm.output}
wrong = [b.key for b in step.update_binding if b.key not in known or b.value not in outputs]
state = [value.name for value in step.algorithm.initializer]
print(f"{len(step.update_binding)} bindings, state of {len(state)} tensors")
sys.exit(len(step.update_binding) < 10 or wrong or not state or {"label"} - {value.name for value in step.algorithm.input} != set())
CHECK
echo "$compared comparisons"
[ $compared = 86 ] && [ $failed = 0 ]
