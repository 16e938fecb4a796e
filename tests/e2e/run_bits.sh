#!/bin/sh
# The same seed gives the same file: for any number of threads, in another process, on one CPU, after a stop and resume, and for code for AVX2 and AVX-512.
# Code for SSE4.2 has no multiply-add: the same bits for any number of threads there, and logits near the others', from the same weights and from weights it trained.
. tests/e2e/common.sh

run 0 generate "$bin/flenrt" generate --rows 5003 --ids 700 -o "$dir/rows.csv" || finish
# logits NAME MODEL...: of the rows, into logits-NAME.out; near NAME TOLERANCE: they differ from those of "one" by no more.
logits() {
    name=$1 model=$2
    shift 2
    run 0 "logits-$name" "$bin/flenrt" predict "$dir/$model" --data "$dir/rows.csv" --logit --quiet "$@"
}
near() {
    worst=$(paste -d, "$dir/logits-one.out" "$dir/logits-$1.out" | awk -F, -v m=0 'NR > 1 { d = $3 - $6; d = d < 0 ? -d : d; if (!(d <= m)) m = d; n++ } END { print n == 5003 ? m : "nan" }')
    check "$worst" "<" "$2" "$network: largest difference of a logit, $1"
}
for network in flen fm; do
    run 0 compile "$bin/flenc" compile models/$network/config.yaml --set train.keep_best=false --quiet -o "$dir/model.bin" || finish
    run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/$network" || finish
    m=$dir/$network/model.bin
    train() {
        out=$1
        shift
        run 0 "train-$out" "$bin/flenrt" train "$m" --data "$dir/$network/train" --batch 127 --quiet -o "$dir/$out" "$@"
    }
    train one --threads 1 --epochs 2 || finish
    for threads in 2 3 8; do
        train other --threads $threads --epochs 2 && { cmp "$dir/one" "$dir/other" || fail "$network: $threads threads give other bits"; }
    done
    # Code is generated in two threads where there are CPUs for them, and is the same code.
    cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
    run 0 "code" env FLEN_CACHE_DIR="$dir/code-$network" "$bin/flenrt" train "$m" --data "$dir/$network/train" --batch 127 --epochs 1 --quiet -o "$dir/other"
    run 0 "code-one-cpu" taskset -c "$cpu" env FLEN_CACHE_DIR="$dir/code-$network-1" "$bin/flenrt" train "$m" --data "$dir/$network/train" --batch 127 --epochs 1 --quiet -o "$dir/other"
    diff -r "$dir/code-$network" "$dir/code-$network-1" || fail "$network: one CPU generates other code"
    train again --threads 1 --epochs 2 && { cmp "$dir/one" "$dir/again" || fail "$network: another process gives other bits"; }
    train half --threads 2 --epochs 1 &&
        train resumed --threads 2 --epochs 2 --resume "$dir/half" && { cmp "$dir/one" "$dir/resumed" || fail "$network: resuming gives other bits"; }
    train v3 --threads 2 --epochs 2 --cpu=x86-64-v3 && { cmp "$dir/one" "$dir/v3" || fail "$network: code for AVX2 gives other bits"; }
    if grep -q avx512f /proc/cpuinfo; then
        train v4 --threads 1 --epochs 2 --cpu=x86-64-v4 && { cmp "$dir/one" "$dir/v4" || fail "$network: code for AVX-512 gives other bits"; }
    fi
    train v2 --threads 1 --epochs 2 --cpu=x86-64-v2 || finish
    train other --threads 3 --epochs 2 --cpu=x86-64-v2 && { cmp "$dir/v2" "$dir/other" || fail "$network: code for SSE4.2 gives other bits with 3 threads"; }
    logits one one --cpu=x86-64-v3 && logits one-v2 one --cpu=x86-64-v2 && logits two-v2 v2 --cpu=x86-64-v2 || finish
    near one-v2 2e-5
    near two-v2 1e-4
    [ $network = fm ] || ! cmp -s "$dir/logits-one.out" "$dir/logits-one-v2.out" || fail "$network: the code for SSE4.2 was the code for AVX2: not one bit differs"
done
finish
