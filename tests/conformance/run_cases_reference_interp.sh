#!/bin/sh
# Whole models against the reference in double precision: forward pass, gradients, all optimiser steps, metrics. A wrong
# number must be found: a case with one number changed, or a file cut short, must fail.
. tests/support/shell.sh
. tests/conformance/cases.sh
cases cases/reference --backend=interp

# spoiled FILE COMMAND: the first case of a model of ours, COMMAND done to its FILE.
spoiled() {
    rm -rf "$dir/case"
    mkdir "$dir/case"
    cat_all "$first" "$dir/case"
    (cd "$dir/case" && eval "$2") || exit 1
    if "$bin/flen-cases" "$dir/case" >"$dir/out"; then
        echo "not noticed: $1 spoiled"
        cat "$dir/out"
        exit 1
    fi
    grep '^FAIL ' "$dir/out" || exit 1
}
cat_all() { # copies, writable
    for f in "$1"/*; do cat "$f" >"$2/$(basename "$f")"; done
}
first=$(ls -d "$path"/flen_paper_* | head -1)
for file in tensors.bin batches.bin grads.bin final.bin; do
    # The third byte of the last element: a large change of any number, f32, f64 or i32.
    size=$(wc -c <"$first/$file")
    spoiled $file "printf '\\125\\125' | dd of=$file bs=1 seek=$((size - 2)) conv=notrunc 2>/dev/null"
    spoiled $file "head -c $((size - 4)) $file >cut && mv cut $file"
done
spoiled expected.json "sed -i 's/\"losses\": *\\[0/\"losses\": [1/' expected.json"
spoiled case.json "sed -i 's/\"rule\": \"[a-z_]*\", \"lr\": 0/\"rule\": \"sgd\", \"lr\": 1/' case.json"
