#!/bin/sh
# Folded tables: predictions agree but for rounding, have the same bits in any batch and for any thread count, and are off beyond their limit.
. "$(dirname "$0")/common.sh"

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
paste -d, "$tmp/plain.out" "$tmp/folded.out" >"$tmp/both"
check "$(awk -F, 'NR > 1 { d = $3 - $6; d = d < 0 ? -d : d; if (d > most) most = d } END { print most + 0 }' "$tmp/both")" '<' 2e-5 "difference of logits"
run 2 word "$bin/flenrt" predict "$tmp/trained.bin" --data "$tmp/d/valid" --fold-tables=stored
finish
