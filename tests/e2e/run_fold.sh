#!/bin/sh
# Folded tables: predictions agree but for rounding, have the same bits in any batch and for any thread count, and are off beyond their limit.
. "$(dirname "$0")/common.sh"

# The largest difference between the logits of two predictions.
difference() {
    paste -d, "$1" "$2" | awk -F, 'NR > 1 { d = $3 - $6; d = d < 0 ? -d : d; if (d > most) most = d } END { print most + 0 }'
}

run 0 generate "$bin/flenrt" generate --rows 6000 --ids 900 -o "$tmp/rows.csv" || finish
run 0 compile "$bin/flenc" compile models/flen/config.yaml --set mlp.input=slots --set batch_norm=true --quiet -o "$tmp/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$tmp/model.bin" "$tmp/rows.csv" -o "$tmp/d" --valid-tail 2000 || finish
run 0 train "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 2 --quiet -o "$tmp/trained.bin" || finish
predict() {
    name=$1
    shift
    run 0 "$name" "$bin/flenrt" predict "$tmp/trained.bin" --data "$tmp/d/valid" --logit "$@"
}
predict plain --fold-tables=off
predict folded --fold-tables=auto
predict other --fold-tables=auto --batch 7 --threads 3
predict limited --fold-tables=1K
cmp "$tmp/folded.out" "$tmp/other.out" || fail "batches and threads change a prediction"
cmp "$tmp/plain.out" "$tmp/limited.out" || fail "tables are folded beyond the limit"
cmp -s "$tmp/plain.out" "$tmp/folded.out" && fail "nothing was folded"
check "$(difference "$tmp/plain.out" "$tmp/folded.out")" '<' 2e-5 "difference of logits"
run 2 word "$bin/flenrt" predict "$tmp/trained.bin" --data "$tmp/d/valid" --fold-tables=some

# Stored: the same bits without folding at the start, used unless off; training on drops them, and says so where they are asked for.
run 1 none "$bin/flenrt" predict "$tmp/trained.bin" --data "$tmp/d/valid" --fold-tables=stored
grep -q 'holds no folded tables \[E0707\]' "$tmp/none.err" || fail "stored without folded tables: $(cat "$tmp/none.err")"
run 0 fold "$bin/flenrt" fold "$tmp/trained.bin" -o "$tmp/serving.bin" --json || finish
grep -q '"folded_bytes":[1-9]' "$tmp/fold.out" || fail "fold --json: $(cat "$tmp/fold.out")"
run 0 verify "$bin/flenrt" info "$tmp/serving.bin" --verify
mv "$tmp/trained.bin" "$tmp/unfolded.bin"
mv "$tmp/serving.bin" "$tmp/trained.bin"
predict stored --fold-tables=stored --threads 2 --batch 100
predict by_default
predict stored_auto --fold-tables=auto
predict stored_off --fold-tables=off
predict stored_interp --backend=interp
cmp "$tmp/folded.out" "$tmp/stored.out" || fail "stored tables predict other bits than those folded at the start"
cmp "$tmp/folded.out" "$tmp/by_default.out" || fail "stored tables are not used by themselves"
cmp "$tmp/folded.out" "$tmp/stored_auto.out" || fail "auto has other bits than stored"
cmp "$tmp/plain.out" "$tmp/stored_off.out" || fail "off uses stored tables"
run 1 interp "$bin/flenrt" predict "$tmp/trained.bin" --data "$tmp/d/valid" --fold-tables=stored --backend=interp
run 0 again "$bin/flenrt" fold "$tmp/trained.bin" -o "$tmp/again.bin" --quiet
cmp "$tmp/trained.bin" "$tmp/again.bin" || fail "folding a file that holds folded tables changes it"
run 0 on "$bin/flenrt" train "$tmp/trained.bin" --data "$tmp/d/train" --epochs 3 --quiet -o "$tmp/on.bin"
run 1 on_stored "$bin/flenrt" predict "$tmp/on.bin" --data "$tmp/d/valid" --fold-tables=stored
run 0 on_both "$bin/flenrt" train "$tmp/unfolded.bin" --data "$tmp/d/train" --epochs 3 --quiet --fold-tables=stored -o "$tmp/both.bin"
run 0 on_fold "$bin/flenrt" fold "$tmp/on.bin" --quiet
cmp "$tmp/on.bin" "$tmp/both.bin" || fail "train --fold-tables=stored and fold write different files"

# Bags beside single values, one table for all of them.
sed -e 's/^    - app_id$/    - {name: app_id, pooling: mean, separator: "|"}/' -e 's/^    - C18$/    - {name: C18, pooling: sum, separator: "|"}/' models/flen/config.yaml >"$tmp/bags.yaml"
awk -F, -v OFS=, 'NR > 1 { $9 = $9 "|" $9; $21 = NR % 3 ? $21 : "" } 1' "$tmp/rows.csv" >"$tmp/bags.csv"
run 0 compile_bags "$bin/flenc" compile "$tmp/bags.yaml" --set mlp.input=slots --quiet -o "$tmp/bags.bin" || finish
run 0 train_bags "$bin/flenrt" train "$tmp/bags.bin" --data "$tmp/bags.csv" --epochs 1 --quiet -o "$tmp/trained.bin" || finish
mv "$tmp/bags.csv" "$tmp/d/valid"
predict bags_plain --fold-tables=off
predict bags_folded --fold-tables=auto
predict bags_other --fold-tables=auto --batch 7 --threads 3
cmp "$tmp/bags_folded.out" "$tmp/bags_other.out" || fail "batches and threads change a prediction from bags"
cmp -s "$tmp/bags_plain.out" "$tmp/bags_folded.out" && fail "bags: nothing was folded"
check "$(difference "$tmp/bags_plain.out" "$tmp/bags_folded.out")" '<' 2e-5 "difference of logits with bags"
finish
