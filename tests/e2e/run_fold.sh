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
