#!/bin/sh
# Training information of ONNX files: the standard's own operators, against numpy (make_training_models.py); and a model of ours that goes out and comes back, and trains on with the same bits.
. tests/support/shell.sh
models=tests/conformance/training_models

# The mean losses of three epochs to 5 digits: both sides round once, and float differs from double in the 7th.
while read -r name first second third weights; do
    "$bin/flenc" compile "$models/$name.onnx" -o "$dir/$name.bin" --quiet || fail "compile $name"
    for backend in native interp; do
        "$bin/flenrt" train "$dir/$name.bin" --data "$models/rows.csv" --batch 4 --epochs 3 --backend=$backend --json --quiet -o "$dir/three.bin" >"$dir/out" 2>&1 || fail "train $name on $backend"
        sed -n 's/.*"loss":\([0-9.]*\)}/\1/p' "$dir/out" | while read -r loss; do printf '%.5f ' "$loss"; done >"$dir/losses"
        [ "$(cat "$dir/losses")" = "$first $second $third " ] || fail "$name on $backend: $(cat "$dir/losses"), expected $first $second $third"
    done
    # State and weights are kept: two epochs and one are three.
    "$bin/flenrt" train "$dir/$name.bin" --data "$models/rows.csv" --batch 4 --epochs 3 --quiet -o "$dir/three.bin" || fail "three epochs of $name"
    "$bin/flenrt" train "$dir/$name.bin" --data "$models/rows.csv" --batch 4 --epochs 2 --quiet -o "$dir/two.bin" || fail "two epochs of $name"
    "$bin/flenrt" train "$dir/two.bin" --data "$models/rows.csv" --batch 4 --quiet -o "$dir/more.bin" || fail "one more of $name"
    for model in three more two; do
        "$bin/flenrt" predict "$dir/$model.bin" --data "$models/rows.csv" >"$dir/$model.csv" || fail "predict by $name, $model"
    done
    cmp -s "$dir/three.csv" "$dir/more.csv" || fail "$name: stopped and unstopped training differ"
    cmp -s "$dir/three.csv" "$dir/two.csv" && fail "$name: training changed nothing"
done <"$models/expected.txt"
[ -n "${weights:-}" ] || [ -s "$dir/three.csv" ] || fail "no models"

expect 0 'warning: the training information'"'"'s graph of first values, "initialization", is not read' "$bin/flenc" compile "$models/first_values.onnx" -o "$dir/f.bin"
expect 0 'warning: the training information is not used: operator "Nonsense" of domain "x.y"' "$bin/flenc" compile "$models/unknown.onnx" -o "$dir/u.bin"
expect 1 'no train program' "$bin/flenrt" train "$dir/u.bin" --data "$models/rows.csv"
expect 2 'this model takes tensors' "$bin/flenrt" train "$dir/f.bin" --data "$models/rows.csv" --valid "$models/rows.csv"

# Ours, of every optimiser that a configuration may name: after an epoch out and in again, and another on both sides. Predictions must have the same bits.
data=models/sample/train.csv.gz valid=models/sample/valid.csv.gz
for class in sgd momentum adagrad adam ftrl; do
    sed "s/^optimizer: .*/optimizer: {class: $class, learning_rate: 0.01}/" models/flen/config.yaml >"$dir/config.yaml"
    "$bin/flenc" compile "$dir/config.yaml" -o "$dir/model.bin" --quiet || { fail "compile with $class"; continue; }
    "$bin/flenrt" train "$dir/model.bin" --data $data --epochs 1 --quiet -o "$dir/once.bin" >/dev/null 2>&1 || fail "first epoch with $class"
    "$bin/flenc" export "$dir/once.bin" --training -o "$dir/once.onnx" --quiet || fail "export with $class"
    "$bin/flenc" compile "$dir/once.onnx" -o "$dir/again.bin" --quiet || fail "compile of the export with $class"
    for model in once again; do
        "$bin/flenrt" train "$dir/$model.bin" --data $data --epochs 1 --quiet -o "$dir/$model.2.bin" >/dev/null 2>&1 || fail "second epoch of $model with $class"
        "$bin/flenrt" predict "$dir/$model.2.bin" --data $valid --logit --quiet >"$dir/$model.csv" || fail "predict of $model with $class"
    done
    cmp -s "$dir/once.csv" "$dir/again.csv" || fail "$class: training went on otherwise after export and import"
    [ "$(wc -l <"$dir/once.csv")" = 2001 ] || fail "$class: no predictions"
done
finish
