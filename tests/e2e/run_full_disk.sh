#!/bin/sh
# A disk that fills while a model is saved: one line, exit 1, and the file that was there stays whole.
. "$(dirname "$0")/common.sh"
[ -e "$bin/fault_io.so" ] || { echo "skipped: fault_io.so cannot be preloaded into a sanitizer's build"; exit 77; }

run 0 generate "$bin/flenrt" generate --rows 2000 --ids 300 -o "$tmp/rows.csv" || finish
run 0 compile "$bin/flenc" compile models/flen/config.yaml --quiet -o "$tmp/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$tmp/model.bin" "$tmp/rows.csv" -o "$tmp/d" || finish
run 0 first "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 1 --quiet -o "$tmp/trained.bin" || finish
cp "$tmp/trained.bin" "$tmp/before.bin"
for n in 1 3 10; do
    run 1 full env LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:$n "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 1 --quiet \
        -o "$tmp/trained.bin"
    grep -q 'No space left' "$tmp/full.err" || fail "the message does not say why"
    cmp "$tmp/trained.bin" "$tmp/before.bin" || fail "the file changed"
    [ "$(ls "$tmp" | grep -c 'trained.bin')" = 1 ] || fail "something is left beside the file"
done
run 1 compile-full env LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:2 "$bin/flenc" compile models/flen/config.yaml --quiet -o "$tmp/new.bin"
[ ! -e "$tmp/new.bin" ] || fail "half a file was left"
finish
