#!/bin/sh
# flenc as a person meets it: help, wrong words, dump and opt; what is printed reads back as the same text.
. tests/support/shell.sh

expect 0 "usage: flenc VERB" "$bin/flenc" --help
expect 2 'there is no verb "dmup"' "$bin/flenc" dmup
expect 2 'did you mean "dump"?' "$bin/flenc" dmup
expect 2 '`flenrt train` is one' "$bin/flenc" train x
expect 2 '`flenc --help` lists them' "$bin/flenc" nonsense
expect 2 "dump needs an input" "$bin/flenc" dump
expect 2 'dump has no option "--nonsense"' "$bin/flenc" dump --nonsense x
expect 1 "nowhere.yaml: error: " "$bin/flenc" dump nowhere.yaml
expect 0 "a graph breaks a rule of the IR" "$bin/flenc" explain E0200
expect 2 'there is no diagnostic "E9999"' "$bin/flenc" explain E9999
expect 0 "fuse-field-pool" "$bin/flenc" opt --list-passes
expect 2 'names a pass "cze" that does not exist' "$bin/flenc" opt --passes=cze models/lr/config.yaml

# Passes can be left out when a model is compiled, too.
expect 2 'names a pass "cze" that does not exist' "$bin/flenc" compile --disable=cze models/lr/config.yaml -o "$dir/none.bin"
expect 2 "--disable needs a value" "$bin/flenc" compile models/lr/config.yaml --disable
for without in nothing fuse-linear; do
    expect 0 "" "$bin/flenc" compile $([ $without = nothing ] || echo "--disable $without,cse") models/flen/config.yaml -o "$dir/m.bin"
    "$bin/flenc" dump --program=predict "$dir/m.bin" >"$dir/$without.onnxtxt" 2>"$dir/err"
done
grep -q 'ai.flen.Linear' "$dir/nothing.onnxtxt" && ! grep -q 'ai.flen.Linear' "$dir/fuse-linear.onnxtxt" && grep -q 'MatMul' "$dir/fuse-linear.onnxtxt" ||
    { echo "FAILED: --disable=fuse-linear does not leave products as they are"; failed=1; }

for config in models/*/config.yaml models/*/flen.yaml; do
    expect 0 "=> (float[batch,1] logit" "$bin/flenc" dump --plain "$config" -o -
    cp "$dir/out" "$dir/first.onnxtxt"
    expect 0 "=> (float[batch,1] logit" "$bin/flenc" dump --plain "$dir/first.onnxtxt"
    cmp -s "$dir/first.onnxtxt" "$dir/out" || { echo "FAILED: $config does not read back as it was printed"; failed=1; }
done

# The optimised FLEN pools the fields in one function and lets them interact in another.
"$bin/flenc" opt '--passes=set-mode(predict),infer-types,cse,dce,fuse-field-pool,fuse-interaction,dce,segment,plan-memory' \
    --plain models/flen/config.yaml >"$dir/scheduled.onnxtxt" 2>"$dir/err" || { cat "$dir/err"; failed=1; }
[ "$(grep -c 'ai.flen.FieldInteraction' "$dir/scheduled.onnxtxt")" = 1 ] || { echo "FAILED: no interaction was fused"; failed=1; }
grep -q ' Gather ' "$dir/scheduled.onnxtxt" && { echo "FAILED: a gather is left"; failed=1; }
expect 0 "=> (float[batch,1] logit" "$bin/flenc" dump --plain "$dir/scheduled.onnxtxt"

# Every network is cut into segments and given memory, fused and not, for training and for prediction; each step is verified.
for network in lr fm fwfm flen flen-official flen-paddlerec-1.8 flen-paddlerec-2; do
    for mode in predict train; do
        for fused in '' infer-types,canonicalise,fold-constants,cse,dce,fuse-field-pool,fuse-interaction,dce,; do
            expect 0 "ai.flen.schedule" limited 60 "$bin/flenc" opt "--passes=set-mode($mode),${fused}segment,plan-memory" --verify-each \
                --set "network=$network" models/flen/config.yaml
        done
    done
done

# An exported program reads back as what it was; a file that cannot be written, or an opset that is not, leaves nothing behind.
for stage in forward optimised; do
    expect 0 "are inputs of the graph" "$bin/flenc" export --stage=$stage models/flen/config.yaml -o "$dir/$stage.onnx"
    expect 0 "=> (float[batch,1] logit, float[batch,1] probability)" "$bin/flenc" dump --plain "$dir/$stage.onnx"
    cp "$dir/out" "$dir/$stage.onnxtxt"
    expect 0 "" "$bin/flenc" export --opset=20 "$dir/$stage.onnxtxt" -o "$dir/again.onnx"
    expect 0 "" "$bin/flenc" dump --plain "$dir/again.onnx"
    cmp -s "$dir/$stage.onnxtxt" "$dir/out" || { echo "FAILED: the exported $stage program reads back as another"; diff "$dir/$stage.onnxtxt" "$dir/out"; failed=1; }
done
grep -q 'ai.flen.FieldInteraction <fields = 3>' "$dir/optimised.onnxtxt" || { echo "FAILED: functions of ours do not read back"; failed=1; }
expect 1 "files are written at 13 to 20" "$bin/flenc" export --opset 12 models/lr/config.yaml -o "$dir/none.onnx"
expect 1 "nothing is trained" "$bin/flenc" export --training "$dir/forward.onnxtxt" -o "$dir/none.onnx"
expect 1 "cannot be written" "$bin/flenc" export models/lr/config.yaml -o "$dir/nowhere/none.onnx"
expect 2 "there is no stage \"trained\" to export" "$bin/flenc" export --stage trained models/lr/config.yaml -o "$dir/none.onnx"
[ -e "$dir/none.onnx" ] && { echo "FAILED: a refused export left a file"; failed=1; }

exit $failed
