#!/bin/sh
# sh models/flen/run.sh [ROWS] -- the main job from nothing: installs, builds, makes rows, compiles, trains, evaluates, predicts.
#
# ROWS (default 300000) planted rows with Avazu's columns are made; their best reachable AUC is printed beside FLEN's. Everything is written
# below build/. A second run installs and builds nothing and takes seconds.
set -eu
cd "$(dirname "$0")/../.."
. tests/support/setup.sh
rows=${1:-300000}
out=build/run-flen

flen_setup
mkdir -p "$out"
if ! { cmake --preset release && cmake --build --preset release; } >"$out/build.log" 2>&1; then
    tail -20 "$out/build.log" >&2
    exit 1
fi
echo "run: built into build/release/bin" >&2
PATH=$PWD/build/release/bin:$PATH

flenrt generate --rows "$rows" --ids 10000 -o "$out/rows.csv"
flenc compile models/flen/config.yaml -o "$out/model.bin"
flenrt prepare "$out/model.bin" "$out/rows.csv" -o "$out/data" --valid-tail $((rows / 10))
flenrt train "$out/data/model.bin" --data "$out/data/train" --valid "$out/data/valid" -o "$out/trained.bin"
flenrt infer "$out/trained.bin" --data "$out/data/valid"
head -6 "$out/rows.csv" >"$out/first.csv"
flenrt predict "$out/trained.bin" --data "$out/first.csv"
