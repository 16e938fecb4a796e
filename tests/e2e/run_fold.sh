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
