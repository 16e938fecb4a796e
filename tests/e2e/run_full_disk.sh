#!/bin/sh
# A disk that fills while a model is saved: one line, exit 1, and the file that was there stays whole.
. tests/e2e/common.sh
[ -e "$bin/fault_io.so" ] || { echo "skipped: fault_io.so cannot be preloaded into a sanitizer's build"; exit 77; }

run 0 generate "$bin/flenrt" generate --rows 2000 --ids 300 -o "$dir/rows.csv" || finish
run 0 compile "$bin/flenc" compile models/flen/config.yaml --quiet -o "$dir/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/d" || finish
run 0 first "$bin/flenrt" train "$dir/d/model.bin" --data "$dir/d/train" --epochs 1 --quiet -o "$dir/trained.bin" || finish
cp "$dir/trained.bin" "$dir/before.bin"
for n in 1 3 10; do
    run 1 full env LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:$n "$bin/flenrt" train "$dir/d/model.bin" --data "$dir/d/train" --epochs 1 --quiet \
        -o "$dir/trained.bin"
    grep -q 'No space left' "$dir/full.err" || fail "the message does not say why"
    cmp "$dir/trained.bin" "$dir/before.bin" || fail "the file changed"
    [ "$(ls "$dir" | grep -c 'trained.bin')" = 1 ] || fail "something is left beside the file"
done
run 1 compile-full env LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:2 "$bin/flenc" compile models/flen/config.yaml --quiet -o "$dir/new.bin"
[ ! -e "$dir/new.bin" ] || fail "half a file was left"
finish
