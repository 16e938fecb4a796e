#!/bin/sh
# flenrt train as a person meets it: same bits for the same seed, going on after a stop, early end, bad ends that lose nothing.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # in memory where possible: each save calls fsync
. tests/support/shell.sh

same() {
    cmp -s "$1" "$2" || fail "$1 and $2 differ: $3"
}
train() {
    "$bin/flenrt" train "$@" --quiet || fail "train $*"
}

cd "$dir" || exit 1
models=$OLDPWD/models
"$bin/flenrt" generate --rows 3000 --ids 500 --seed 7 --quiet -o rows.csv
"$bin/flenc" compile --quiet "$models/fm/config.yaml" -o model.bin --set train.batch_size=128 --set train.epochs=2 --set train.print_interval=5 || fail compile

# The summary, the events, the default output.
expect 0 "train: auc 0." "$bin/flenrt" train model.bin --data rows.csv
cp out summary
grep -qF "model: trained.bin" out || fail "the summary does not say where the model is"
grep -q '^epoch 1: auc 0\.[0-9]*, logloss 0\.[0-9]*, 3000 rows' out || fail "no line for an epoch"
expect 0 '"event":"done","rows":6000,"auc":0.' "$bin/flenrt" train model.bin --data rows.csv --json -o json.bin
[ "$(grep -c '^{"event":"epoch","epoch":[01],"seconds":' out)" = 2 ] || fail "two epochs, two events"
grep -qF '{"event":"saved","path":"json.bin"' out || fail "no event for the saved model"
same trained.bin json.bin "the same seed, the same rows"
expect 0 '"event":"batch","training":true,"epoch":0,"step":5,"rows":768,"auc":0.' "$bin/flenrt" train model.bin --data rows.csv --json -o json.bin --epochs 1 \
    --log=paddlerec --batch 128
expect 0 "model: other.bin" "$bin/flenrt" train model.bin --data rows.csv -o other.bin --seed 2
cmp -s trained.bin other.bin && fail "another seed gives the same weights"

# Labels of one kind have no AUC, and nobody is shown a "nan".
awk -F, 'NR == 1 || $2 == 0' rows.csv | head -20 >one_kind.csv
expect 0 "train: auc none (labels of one kind), logloss 0." "$bin/flenrt" train trained.bin --data one_kind.csv --epochs 1 -o none.bin
grep -q nan out && fail "nan is shown: $(cat out)"

# The same bits on any number of threads; the interpreter, in double precision, finds the same AUC.
for threads in 1 3 8; do
    train model.bin --data rows.csv -o threads.bin --threads $threads
    same trained.bin threads.bin "$threads threads"
done
expect 0 "train: auc $(sed -n 's/^train: auc \(0.....\).*/\1/p' summary)" "$bin/flenrt" train model.bin --data rows.csv -o interp.bin --backend=interp

# Going on: after an epoch, with all epochs done, with another model's file.
train model.bin --data rows.csv -o half.bin --epochs 1
train model.bin --data rows.csv -o half.bin --epochs 2 --resume half.bin
same trained.bin half.bin "a run that was resumed after an epoch"
train model.bin --data rows.csv -o done.bin --resume trained.bin
[ -s done.bin ] || fail "a run that had nothing to do wrote no model"
"$bin/flenc" compile --quiet "$models/lr/config.yaml" -o lr.bin
expect 1 "trained.bin: error: it does not hold a training run of lr.bin" "$bin/flenrt" train lr.bin --data rows.csv --resume trained.bin
expect 2 "--seed and --resume exclude each other" "$bin/flenrt" train model.bin --data rows.csv --resume trained.bin --seed 3

# Code is made from programs, not from weights: all these runs, with other seeds and from files with values, have used the same.
[ "$(ls cache | wc -l)" = 1 ] || fail "the code of one program was made $(ls cache | wc -l) times"

# Ctrl-C amid an epoch: saved, said, and resumed to the same bits.
"$bin/flenrt" train model.bin --data rows.csv -o stopped.bin --epochs 100000 --checkpoint-steps 7 >out 2>&1 &
pid=$!
tries=0
until [ "$(grep -c '^saved' out)" -gt 30 ] || [ $((tries = tries + 1)) -gt 100 ]; do sleep 0.1; done
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "Ctrl-C does not end with status 130"
steps=$(sed -n 's/^flenrt: error: interrupted after \([0-9]*\) steps; the state of training is saved in stopped.bin .*/\1/p' out)
[ -n "$steps" ] || { fail "Ctrl-C says nothing"; steps=24; }
epochs=$((steps / 24 + 1))
train model.bin --data rows.csv -o stopped.bin --epochs $epochs --resume stopped.bin
train model.bin --data rows.csv -o straight.bin --epochs $epochs
same stopped.bin straight.bin "a run that was interrupted after $steps steps"

# Validation: the best epoch is kept, training ends early, the rate is cut.
"$bin/flenrt" prepare --quiet model.bin rows.csv -o prepared --valid-tail 500 >out 2>&1 || fail prepare
"$bin/flenc" compile --quiet "$models/fm/config.yaml" -o best.bin --set train.batch_size=32 --set train.patience=2 --set train.keep_best=true --set train.plateau.factor=0.5
expect 0 '"stopped_early":true' "$bin/flenrt" train best.bin --data prepared -o kept.bin --epochs 40 --json
best=$(sed -n 's/.*"valid_auc":\([0-9.]*\).*/\1/p' out | sort -g | tail -1)
grep -F '"event":"done"' out | grep -qF "\"valid_auc\":$best" || fail "the model that was kept is not the best one"
grep -qF '"rate_factor":0.5' out || fail "the rate was not cut"
"$bin/flenrt" infer kept.bin --data prepared --json >out 2>&1
grep -qF "\"auc\":$best" out || fail "the kept model does not have the best AUC, $best: $(cat out)"

# Bad ends: the file of before stays, whole.
cp trained.bin before.bin
"$bin/flenc" compile --quiet "$models/fm/config.yaml" -o wild.bin --set optimizer.class=sgd --set optimizer.learning_rate=1e30
expect 1 "training diverged at step 1 (epoch 0), row 512: the logit is " "$bin/flenrt" train wild.bin --data rows.csv -o trained.bin
grep -q "the logit is \(nan\|-*inf\); slot \".*\", value \".*\" has the largest weight of the row, .*\[E0740\]" out || fail "who diverged: $(cat out)"
same trained.bin before.bin "training that diverged wrote it"
if [ -f "$bin/fault_io.so" ]; then
    LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:1 expect 1 "No space left on device" "$bin/flenrt" train model.bin --data rows.csv -o trained.bin
    same trained.bin before.bin "a full disk damaged it"
fi
mkdir taken
expect 1 "taken: error: cannot write a model here: this is a folder" "$bin/flenrt" train model.bin --data rows.csv -o taken
grep -q "^epoch" out && fail "a wrong path is noticed after training"
expect 1 "/proc/none: error: cannot make the folder" "$bin/flenrt" train model.bin --data rows.csv -o /proc/none/t.bin
grep -q "^epoch" out && fail "a folder that cannot be made is noticed after training"
[ -z "$(ls | grep '\.tmp\.')" ] || fail "temporary files are left"
expect 2 "standard input can be read once only" "$bin/flenrt" train trained.bin --data - --epochs 2
expect 1 "nowhere: error: cannot open" "$bin/flenrt" train model.bin --data nowhere

exit $failed
