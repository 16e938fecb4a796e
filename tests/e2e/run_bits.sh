#!/bin/sh
# The same seed gives the same file: for any number of threads, in another process, after a stop and resume, and for code for AVX2 and AVX-512.
. "$(dirname "$0")/common.sh"

run 0 generate "$bin/flenrt" generate --rows 5003 --ids 700 -o "$tmp/rows.csv" || finish
for network in flen fm; do
    run 0 compile "$bin/flenc" compile models/$network/config.yaml --set train.keep_best=false --quiet -o "$tmp/model.bin" || finish
    run 0 prepare "$bin/flenrt" prepare "$tmp/model.bin" "$tmp/rows.csv" -o "$tmp/$network" || finish
    m=$tmp/$network/model.bin
    train() {
        out=$1
        shift
        run 0 "train-$out" "$bin/flenrt" train "$m" --data "$tmp/$network/train" --batch 127 --quiet -o "$tmp/$out" "$@"
    }
    train one --threads 1 --epochs 2 || finish
    for threads in 2 3 8; do
        train other --threads $threads --epochs 2 && { cmp "$tmp/one" "$tmp/other" || fail "$network: $threads threads give other bits"; }
    done
    train again --threads 1 --epochs 2 && { cmp "$tmp/one" "$tmp/again" || fail "$network: another process gives other bits"; }
    train half --threads 2 --epochs 1 &&
        train resumed --threads 2 --epochs 2 --resume "$tmp/half" && { cmp "$tmp/one" "$tmp/resumed" || fail "$network: resuming gives other bits"; }
    train v3 --threads 2 --epochs 2 --cpu=x86-64-v3 && { cmp "$tmp/one" "$tmp/v3" || fail "$network: code for AVX2 gives other bits"; }
    if grep -q avx512f /proc/cpuinfo; then
        train v4 --threads 1 --epochs 2 --cpu=x86-64-v4 && { cmp "$tmp/one" "$tmp/v4" || fail "$network: code for AVX-512 gives other bits"; }
    fi
done
finish
