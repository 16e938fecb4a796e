#!/bin/sh
# flenrt --dump-values as a person meets it, on run, train, infer and predict. What the values are is checked in unit/test_value_dump.c.
. tests/support/shell.sh
cd "$dir" || exit 2

# files FOLDER WANT: its names, in a line.
files() {
    got=$(cd "$1" && ls | tr '\n' ' ')
    [ "$got" = "$2 " ] || fail "$1 holds $got, not $2"
}

"$bin/flenrt" generate --rows 2000 --ids 1000 --seed 7 --quiet -o rows.csv || exit 1
"$bin/flenc" compile "$root/models/flen/config.yaml" -o fresh.bin --quiet && "$bin/flenrt" prepare fresh.bin rows.csv -o data --quiet --valid-tail 400 || exit 1

expect 2 '--dump-steps and --dump-dir belong to --dump-values=PATTERN' "$bin/flenrt" train data/model.bin --dump-steps 2
expect 2 '--dump-steps and --dump-dir belong to --dump-values=PATTERN' "$bin/flenrt" infer data/model.bin --dump-dir x
for steps in 0 x 3-2 1- -1 1-x 99999999999999999999999999; do
    expect 2 "--dump-steps cannot be \"$steps\"" "$bin/flenrt" train data/model.bin --dump-values='*' --dump-steps=$steps
done
expect 2 '--dump-values cannot be ""' "$bin/flenrt" predict data/model.bin --data rows.csv --dump-values=
expect 2 'there is no option "--dump-values=x"' "$bin/flenrt" bench data/model.bin --infer --dump-values=x
expect 1 'no value of a training or predict program matches "nonsense*" [E0726]' "$bin/flenrt" train data/model.bin --data data/train --dump-values='nonsense*' -o t.bin
expect 0 "shell wildcards" "$bin/flenc" explain E0726
[ ! -e t.bin ] || fail "a pattern without a match still trained"

# Training with and without: the same file, and beside it the values of two steps; what is not in memory is told once.
"$bin/flenrt" train data/model.bin --data data/train --epochs 1 --batch 256 --quiet -o plain.bin >/dev/null 2>&1 || fail "train"
expect 0 'dump-values: train, step 3: 2 of 2 values, in t.bin.values/train.3' "$bin/flenrt" train data/model.bin --data data/train --epochs 1 --batch 256 -o t.bin --dump-values='[lt]o[sgo]*' --dump-steps=2-3
grep -qF 'dump-values: train: no file for "two": ' out && fail "a constant counts as a value"
[ "$(grep -c 'dump-values: train: no file for "root' out)" = 0 ] || fail "the pattern matches too much"
cmp -s plain.bin t.bin || fail "dumping values changed the trained model"
files t.bin.values "train.2 train.3"

# Fused away: by an emitter, and by passes.
expect 0 'dump-values: train: no file for "root": it stays in registers, since one loop of train_5 makes it and all that reads it (' "$bin/flenrt" train data/model.bin --data data/train --epochs 1 --batch 256 -o t.bin --dump-values=root --dump-dir=r
expect 0 'dump-values: predict: no file for "second_order_2": passes took it away; `flenc explain plain.bin second_order_2` tells which' "$bin/flenrt" infer plain.bin --data data --dump-values=second_order_2 --dump-dir=s
[ ! -e s ] || fail "a folder was made for nothing"

# Predicting: into `values`, or beside the output; standard output holds what it holds without.
"$bin/flenrt" predict plain.bin --data rows.csv --batch 64 >p.csv 2>/dev/null || fail "predict"
"$bin/flenrt" predict plain.bin --data rows.csv --batch 64 --dump-values='logit' >q.csv 2>err || fail "predict --dump-values"
cmp -s p.csv q.csv || fail "dumping values changed predictions"
files values/predict.1 logit.npy
[ "$(wc -c <values/predict.1/logit.npy)" = $((128 + 64 * 4)) ] || fail "logit.npy has $(wc -c <values/predict.1/logit.npy) bytes"
expect 0 "in p2.csv.values/predict.2" "$bin/flenrt" predict plain.bin --data rows.csv --batch 64 -o p2.csv --dump-values='logit' --dump-steps=2
if command -v python3 >/dev/null && python3 -c 'import numpy' 2>/dev/null; then
    python3 - <<'END' || fail "logit.npy is not what predict writes"
import csv, numpy
logit = numpy.load("values/predict.1/logit.npy")
p = [float(r["probability"]) for r in csv.DictReader(open("p.csv"))][:64]
assert logit.shape == (64, 1) and numpy.allclose(1 / (1 + numpy.exp(-logit[:, 0].astype(float))), p, atol=1e-6)
END
fi
expect 0 "dump-values: predict, step 1: " "$bin/flenrt" infer plain.bin --data data --backend=interp --batch 64 --dump-values='*' --dump-dir=i
[ -s i/predict.1/pool_0.npy ] && [ -s i/predict.1/probability.npy ] || fail "the interpreter's values: $(ls i/predict.1)"
expect 1 "cannot make the folder" "$bin/flenrt" infer plain.bin --data data --dump-values='*' --dump-dir=rows.csv
expect 1 "cannot make the folder" "$bin/flenrt" predict plain.bin --data rows.csv -o none.csv --dump-values='*' --dump-dir=no/such
[ ! -e none.csv ] || fail "a failed prediction left a file"

# run: training's and inference's programs, each with steps of its own.
mkdir models && cp -r "$root/models/sample" models/sample && "$bin/flenc" compile "$root/models/flen/config.yaml" -o run.bin --quiet || exit 1
expect 0 "dump-values: predict, step 1: 1 of 1 values, in v/predict.1" "$bin/flenrt" run run.bin --dump-values='logit' --dump-dir=v
files v "predict.1 train.1"

[ $failed = 0 ] && echo "all as expected"
exit $failed
