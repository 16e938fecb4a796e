#!/bin/sh
# SIGKILL at each write, fsync and rename of the saves of a training run: the file always loads, and is one that a whole run made.
. "$(dirname "$0")/common.sh"
[ -e "$bin/fault_io.so" ] || { echo "skipped: fault_io.so cannot be preloaded into a sanitizer's build"; exit 77; }

run 0 generate "$bin/flenrt" generate --rows 1500 --ids 300 -o "$tmp/rows.csv" || finish
run 0 compile "$bin/flenc" compile models/flen/config.yaml --set train.keep_best=false --quiet -o "$tmp/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$tmp/model.bin" "$tmp/rows.csv" -o "$tmp/d" || finish
# Once for the code cache, whose own writes are none of these.
run 0 warm "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 1 --threads 1 --quiet -o "$tmp/trained.bin" || finish
run 0 count env FLEN_FAULT="count:$tmp/count" LD_PRELOAD="$bin/fault_io.so" "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 8 \
    --threads 1 --quiet -o "$tmp/trained.bin" || finish
calls=$(cat "$tmp/count")
[ "$calls" -ge 200 ] || fail "only $calls calls are counted: too few points"
for epochs in 1 2 3 4 5 6 7 8; do
    "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs $epochs --threads 1 --quiet -o "$tmp/whole.bin" || fail "$epochs epochs"
    cksum <"$tmp/whole.bin"
done >"$tmp/whole"
n=1
while [ $n -le "$calls" ]; do
    FLEN_FAULT=kill:$n LD_PRELOAD="$bin/fault_io.so" "$bin/flenrt" train "$tmp/d/model.bin" --data "$tmp/d/train" --epochs 8 --threads 1 --quiet \
        -o "$tmp/trained.bin" >/dev/null 2>&1
    [ $? = 137 ] || fail "call $n: the process was not killed"
    "$bin/flenrt" info "$tmp/trained.bin" --verify >/dev/null 2>"$tmp/err" || fail "call $n: $(head -1 "$tmp/err")"
    grep -qxF "$(cksum <"$tmp/trained.bin")" "$tmp/whole" || fail "call $n: the file is none that a whole run makes"
    rm -f "$tmp"/trained.bin.*
    n=$((n + 1))
done
echo "killed at $calls points"
finish
