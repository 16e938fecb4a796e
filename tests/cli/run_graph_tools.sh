#!/bin/sh
# flenc dump in all its formats, and what flenc opt shows of its passes.
. tests/support/shell.sh
config=models/flen/config.yaml

# Every stage and program in every format; what Graphviz and a JSON reader say of it.
for stage in imported forward train optimised scheduled; do
    for program in predict train init; do
        case $stage-$program in imported-train | imported-init | forward-train | forward-init) continue ;; esac
        x="--stage=$stage --program=$program"
        for format in text dot html json onnx; do
            "$bin/flenc" dump $config $x --format=$format -o "$dir/x.$format" 2>"$dir/err" || { fail "dump $x --format=$format"; cat "$dir/err"; }
        done
        cmp -s "$dir/x.onnx" /dev/null && fail "$x: the ONNX file is empty"
        "$bin/flenc" dump "$dir/x.onnx" >/dev/null 2>"$dir/err" || { fail "$x: the ONNX file is not read back"; cat "$dir/err"; }
        if command -v python3 >/dev/null; then
            python3 -m json.tool <"$dir/x.json" >/dev/null || fail "$x: not JSON"
        fi
        if command -v dot >/dev/null; then
            [ $stage = train ] || dot -Tplain "$dir/x.dot" >/dev/null || fail "$x: dot does not read it"
        fi
    done
done
if command -v dot >/dev/null; then
    "$bin/flenc" dump $config --format=svg -o "$dir/x.svg" || fail "dump --format=svg"
    grep -q '>field user<' "$dir/x.svg" || fail "the picture shows no fields"
    grep -q '>\[batch,13,8\]<' "$dir/x.svg" || fail "the picture shows no shapes"
fi
mkdir "$dir/empty"
expect 1 "Graphviz's dot cannot be run" env PATH="$dir/empty" "$bin/flenc" dump $config --format=svg -o "$dir/none.svg"
[ -e "$dir/none.svg" ] && fail "a failed picture left a file"
expect 2 'did you mean "html"?' "$bin/flenc" dump $config --format=htm
expect 2 "number of rows" "$bin/flenc" dump $config --batch=0
expect 2 'did you mean "optimised"?' "$bin/flenc" dump $config --stage=optimized

# Passes: facts, pipelines as text, differences.
expect 0 "needs order, shapes; keeps shapes" "$bin/flenc" opt --list-passes
expect 2 'there is no pipeline "predikt"' "$bin/flenc" opt --print-pipeline=predikt
"$bin/flenc" opt --plain "--passes=$("$bin/flenc" opt --print-pipeline=predict)" $config >"$dir/a" 2>&1 || fail "the printed pipeline does not run"
"$bin/flenc" dump --plain --stage=optimised $config >"$dir/b" 2>&1
sed -n '/ => /,$s/^[a-z]* (/(/p' "$dir/a" >"$dir/a1"
sed -n '/ => /,$s/^[a-z]* (/(/p' "$dir/b" >"$dir/b1"
cmp -s "$dir/a1" "$dir/b1" || fail "the printed pipeline makes another graph than --stage=optimised"
expect 0 '-    e = Gather (table, ids)' "$bin/flenc" opt --passes=cse,dce,fuse-field-pool --print-after-change $config
grep -q '^# changed by dce' "$dir/out" && fail "a pass that changed nothing was printed"

# A failing pass leaves a reproducer with the rest of the pipeline; it fails in the same way again.
expect 2 "--run-reproducer runs it again" "$bin/flenc" opt "--passes=cse,set-mode(dance),dce" "--reproducer=$dir/r.onnxtxt" $config
head -2 "$dir/r.onnxtxt" | grep -q '^# RUN: flenc opt --passes=set-mode(dance),dce$' || fail "the reproducer has no pipeline"
expect 2 'in pass "set-mode"' "$bin/flenc" opt --run-reproducer "$dir/r.onnxtxt"
sed 's/set-mode(dance)/set-mode(predict)/' "$dir/r.onnxtxt" >"$dir/r2.onnxtxt"
expect 0 "logit = MatMul" "$bin/flenc" opt --run-reproducer "$dir/r2.onnxtxt"
expect 2 'has no line "# RUN:' "$bin/flenc" opt --run-reproducer "$dir/a"
expect 2 "--run-reproducer FILE alone" "$bin/flenc" opt --run-reproducer "$dir/r.onnxtxt" $config

# Generated code for people: blocks carry the names of nodes, lines are those of the printed graph.
for emit in llvm llvm-opt asm obj; do
    "$bin/flenc" opt --emit=$emit --stage=scheduled $config -o "$dir/x.$emit" 2>"$dir/err" || { fail "opt --emit=$emit"; cat "$dir/err"; }
done
grep -q '^logit:' "$dir/x.llvm" || fail "no block of the code is named after a node"
grep -q 'define void @predict_0' "$dir/x.llvm-opt" || fail "no segment in LLVM's form after its passes"
cmp -s "$dir/x.llvm" "$dir/x.llvm-opt" && fail "LLVM's passes changed nothing"
grep -q '# %linear_3.loop' "$dir/x.asm" || fail "the assembly does not name a node"
if command -v objdump >/dev/null; then
    (cd "$dir" && "$bin/flenc" dump --stage=scheduled "$OLDPWD/$config" -o predict.onnxtxt && objdump -dl x.obj >x.lines)
    line=$(grep -n '^   logit = ' "$dir/predict.onnxtxt" | sed 's/:.*//')
    grep -q "predict.onnxtxt:$line\$" "$dir/x.lines" || fail "the object's lines are not those of the printed graph"
fi
expect 2 "needs a scheduled program" "$bin/flenc" opt --emit=asm $config
expect 2 "can be emitted" "$bin/flenc" opt --emit=wasm $config
expect 2 "levels are" "$bin/flenc" opt --emit=asm --cpu=arm --stage=scheduled $config

# The story of a value: line of the configuration, the pass and what it was made from, memory; the same from the model that was compiled.
line=$(grep -n '^mlp:' $config | sed 's/:.*//')
"$bin/flenc" compile --quiet $config -o "$dir/m.bin" || fail compile
for x in $config "$dir/m.bin"; do
    expect 0 'fuse-linear took it away' "$bin/flenc" explain "$x" mlp.0.relu
    expect 0 "flen/config.yaml:$line:1" "$bin/flenc" explain "$x" linear_3
    grep -q '^fuse-linear made it:$' "$dir/out" || fail "explain: no pass"
    grep -q 'made from "mlp.0.relu"' "$dir/out" || fail "explain: made from nothing"
    grep -q "^ *$(grep '^mlp:' $config | sed 's/[][*.]/./g')\$" "$dir/out" || fail "explain: no line of the configuration"
    grep -q '^memory: .*scratch' "$dir/out" || fail "explain: no memory"
    expect 0 'made from "mlp.0.product"' "$bin/flenc" explain "$x" d.mlp.0.w --program=train
done
# PaddleRec's files: slots, fields, widths from the keys that say them, the rest from the hyper-parameters; also from a model.bin.
sed '/type: DataLoader/a\  batch_size: 2' tests/cli/config/pr18_batch_size.yaml >"$dir/pr18.yaml"
sed 's/layer_sizes_dnn: .*/layer_sizes_dnn: [64, 32]/' tests/cli/config/pr2_widths.yaml >"$dir/pr2.yaml"
place_of() { # FILE KEY VALUE: the story of VALUE begins at KEY's line
    at=$(grep -n "^ *$2:" "$dir/$1.yaml" | sed 's/:.*//') column=$(grep "^ *$2:" "$dir/$1.yaml" | sed 's/[^ ].*//' | wc -c)
    expect 0 "$1.yaml:$at:$column" "$bin/flenc" explain "$dir/$1.yaml" "$3"
    expect 0 "$1.yaml:$at:$column" "$bin/flenc" explain "$dir/$1.bin" "$3"
}
for x in pr18 pr2; do
    "$bin/flenc" compile --quiet "$dir/$x.yaml" -o "$dir/$x.bin" 2>"$dir/err" || fail "compile $x"
    place_of $x sparse_feature_dim e
    place_of $x hyper_parameters logit
done
place_of pr18 sparse_slots ids
place_of pr18 fields f
place_of pr2 sparse_inputs_slots ids
place_of pr2 sparse_num_field f
place_of pr2 layer_sizes_dnn mlp.0.w
"$bin/flenc" compile --quiet --set network=fm $config -o "$dir/fm.bin" && expect 0 '"wide_logit" in the predict program' "$bin/flenc" explain "$dir/fm.bin" wide_logit
expect 2 'did you mean "linear_3"?' "$bin/flenc" explain $config linear_33
expect 2 'not "init"' "$bin/flenc" explain $config linear_3 --program=init

exit $failed
