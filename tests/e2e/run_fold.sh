#!/bin/sh
# Folded tables: predictions agree but for rounding, have the same bits in any batch and for any thread count, and are off beyond their limit.
. tests/e2e/common.sh

# The largest difference between the logits of two predictions.
difference() {
    paste -d, "$1" "$2" | awk -F, 'NR > 1 { d = $3 - $6; d = d < 0 ? -d : d; if (d > most) most = d } END { print most + 0 }'
}

run 0 generate "$bin/flenrt" generate --rows 6000 --ids 900 -o "$dir/rows.csv" || finish
run 0 compile "$bin/flenc" compile models/flen/config.yaml --set mlp.input=slots --set batch_norm=true --quiet -o "$dir/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/d" --valid-tail 2000 || finish
run 0 train "$bin/flenrt" train "$dir/d/model.bin" --data "$dir/d/train" --epochs 2 --quiet -o "$dir/trained.bin" || finish
predict() {
    name=$1
    shift
    run 0 "$name" "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/d/valid" --logit "$@"
}
predict plain --fold-tables=off
predict folded --fold-tables=auto
predict other --fold-tables=auto --batch 7 --threads 3
predict limited --fold-tables=1K
cmp "$dir/folded.out" "$dir/other.out" || fail "batches and threads change a prediction"
cmp "$dir/plain.out" "$dir/limited.out" || fail "tables are folded beyond the limit"
cmp -s "$dir/plain.out" "$dir/folded.out" && fail "nothing was folded"
check "$(difference "$dir/plain.out" "$dir/folded.out")" '<' 2e-5 "difference of logits"
run 2 word "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/d/valid" --fold-tables=some

# Stored: the same bits without folding at the start, used unless off; training on drops them, and says so where they are asked for.
run 1 none "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/d/valid" --fold-tables=stored
grep -q 'holds no folded tables \[E0707\]' "$dir/none.err" || fail "stored without folded tables: $(cat "$dir/none.err")"
run 0 fold "$bin/flenrt" fold "$dir/trained.bin" -o "$dir/serving.bin" --json || finish
grep -q '"folded_bytes":[1-9]' "$dir/fold.out" || fail "fold --json: $(cat "$dir/fold.out")"
run 0 verify "$bin/flenrt" info "$dir/serving.bin" --verify
mv "$dir/trained.bin" "$dir/unfolded.bin"
mv "$dir/serving.bin" "$dir/trained.bin"
predict stored --fold-tables=stored --threads 2 --batch 100
predict by_default
predict stored_auto --fold-tables=auto
predict stored_off --fold-tables=off
predict stored_interp --backend=interp
cmp "$dir/folded.out" "$dir/stored.out" || fail "stored tables predict other bits than those folded at the start"
cmp "$dir/folded.out" "$dir/by_default.out" || fail "stored tables are not used by themselves"
cmp "$dir/folded.out" "$dir/stored_auto.out" || fail "auto has other bits than stored"
cmp "$dir/plain.out" "$dir/stored_off.out" || fail "off uses stored tables"
run 1 interp "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/d/valid" --fold-tables=stored --backend=interp
run 0 again "$bin/flenrt" fold "$dir/trained.bin" -o "$dir/again.bin" --quiet
cmp "$dir/trained.bin" "$dir/again.bin" || fail "folding a file that holds folded tables changes it"
run 0 on "$bin/flenrt" train "$dir/trained.bin" --data "$dir/d/train" --epochs 3 --quiet -o "$dir/on.bin"
run 1 on_stored "$bin/flenrt" predict "$dir/on.bin" --data "$dir/d/valid" --fold-tables=stored
run 0 on_both "$bin/flenrt" train "$dir/unfolded.bin" --data "$dir/d/train" --epochs 3 --quiet --fold-tables=stored -o "$dir/both.bin"
run 0 on_fold "$bin/flenrt" fold "$dir/on.bin" --quiet
cmp "$dir/on.bin" "$dir/both.bin" || fail "train --fold-tables=stored and fold write different files"

# What info says of them.
folds() {
    run 0 "$1" "$bin/flenrt" info "$2"
    grep -q "^folds  *$3" "$dir/$1.out" || fail "info says of $2: $(grep folds "$dir/$1.out")"
}
folds info_stored "$dir/trained.bin" "stored, of these weights, [1-9][0-9]* bytes$"
folds info_none "$dir/unfolded.bin" "none stored$"
run 0 info_json "$bin/flenrt" info "$dir/trained.bin" --json
grep -q '"folds":{"state":"usable","bytes":[1-9][0-9]*,"can_be_folded":true,"after_training":false}' "$dir/info_json.out" || fail "info --json names no folds"
run 0 compile_lr "$bin/flenc" compile models/lr/config.yaml --fold-tables=stored -o "$dir/lr.bin"
grep -q "has nothing to fold" "$dir/compile_lr.err" || fail "compile folds a model that has nothing to fold"
folds info_lr "$dir/lr.bin" "none: the model has nothing to fold; made anew after training$"

# As compiled: `train` and `run` fold what they have trained, unless they are told otherwise; what they write is what `fold` writes.
run 2 compile_auto "$bin/flenc" compile models/flen/config.yaml --fold-tables=auto -o "$dir/auto.bin"
run 0 compile_stored "$bin/flenc" compile models/flen/config.yaml --set mlp.input=slots --set train.data="$dir/d" --set infer.data="$dir/d" --set train.save.path="$dir/saved" \
    --fold-tables=stored --quiet -o "$dir/stored.bin" || finish
folds info_compiled "$dir/stored.bin" "none stored; made anew after training$"
run 0 train_stored "$bin/flenrt" train "$dir/stored.bin" --data "$dir/d/train" --epochs 1 --quiet -o "$dir/as_compiled.bin"
folds info_as_compiled "$dir/as_compiled.bin" "stored, of these weights, .*; made anew after training$"
run 0 train_off "$bin/flenrt" train "$dir/stored.bin" --data "$dir/d/train" --epochs 1 --quiet --fold-tables=off -o "$dir/off.bin"
folds info_off "$dir/off.bin" "none stored"
run 0 fold_off "$bin/flenrt" fold "$dir/off.bin" --quiet
cmp "$dir/off.bin" "$dir/as_compiled.bin" || fail "a model that is folded as compiled differs from one that is folded afterwards"
run 0 run_stored "$bin/flenrt" run "$dir/stored.bin" --quiet
folds info_run "$dir/saved/model.bin" "stored, of these weights"
run 0 run_off "$bin/flenrt" run "$dir/stored.bin" --fold-tables=off --quiet
folds info_run_off "$dir/saved/model.bin" "none stored"
run 2 run_word "$bin/flenrt" run "$dir/stored.bin" --fold-tables=auto
grep -q -- '--fold-tables cannot be "auto"' "$dir/run_word.err" || fail "run --fold-tables=auto: $(cat "$dir/run_word.err")"

# An imported graph with weights is folded when it is compiled, as `fold` does it.
cat >"$dir/ranges.yaml" <<'END'
network: flen
embedding_size: 16
linear: none
hidden_layer: false
mlp: {input: slots, widths: [8, 4]}
inputs:
  label: label
  defaults: {vocabulary: range}
  slots: [{name: a, rows: 2000}, {name: b, rows: 30}, {name: c, rows: 5}]
fields: {x: [a, b], y: [c]}
END
awk 'BEGIN { print "label,a,b,c"; for (i = 0; i < 600; i++) printf "%d,%d,%d,%d\n", i % 3 == 0, i * 3, i * 7 % 30, i % 5 }' >"$dir/ranges.csv"
run 0 compile_ranges "$bin/flenc" compile "$dir/ranges.yaml" --quiet -o "$dir/ranges.bin" || finish
run 0 train_ranges "$bin/flenrt" train "$dir/ranges.bin" --data "$dir/ranges.csv" --epochs 1 --quiet -o "$dir/ranges.bin" || finish
run 0 export_ranges "$bin/flenc" export "$dir/ranges.bin" --quiet -o "$dir/ranges.onnx" || finish
run 0 import_stored "$bin/flenc" compile "$dir/ranges.onnx" --fold-tables=stored --quiet -o "$dir/import_stored.bin"
run 0 import_plain "$bin/flenc" compile "$dir/ranges.onnx" --quiet -o "$dir/import_plain.bin"
folds info_import "$dir/import_stored.bin" "stored, of these weights"
folds info_import_plain "$dir/import_plain.bin" "none stored$"
run 0 fold_import "$bin/flenrt" fold "$dir/import_stored.bin" --quiet -o "$dir/import_folded.bin"
cmp "$dir/import_stored.bin" "$dir/import_folded.bin" || fail "compile --fold-tables=stored folds otherwise than fold"

# Bags beside single values, one table for all of them.
sed -e 's/^    - app_id$/    - {name: app_id, pooling: mean, separator: "|"}/' -e 's/^    - C18$/    - {name: C18, pooling: sum, separator: "|"}/' models/flen/config.yaml >"$dir/bags.yaml"
awk -F, -v OFS=, 'NR > 1 { $9 = $9 "|" $9; $21 = NR % 3 ? $21 : "" } 1' "$dir/rows.csv" >"$dir/bags.csv"
run 0 compile_bags "$bin/flenc" compile "$dir/bags.yaml" --set mlp.input=slots --quiet -o "$dir/bags.bin" || finish
run 0 train_bags "$bin/flenrt" train "$dir/bags.bin" --data "$dir/bags.csv" --epochs 1 --quiet -o "$dir/trained.bin" || finish
mv "$dir/bags.csv" "$dir/d/valid"
predict bags_plain --fold-tables=off
predict bags_folded --fold-tables=auto
predict bags_other --fold-tables=auto --batch 7 --threads 3
cmp "$dir/bags_folded.out" "$dir/bags_other.out" || fail "batches and threads change a prediction from bags"
cmp -s "$dir/bags_plain.out" "$dir/bags_folded.out" && fail "bags: nothing was folded"
check "$(difference "$dir/bags_plain.out" "$dir/bags_folded.out")" '<' 2e-5 "difference of logits with bags"
finish
