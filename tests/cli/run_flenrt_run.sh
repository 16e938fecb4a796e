#!/bin/sh
# flenrt run: what PaddleRec's keys ask of a run, key by key, on 25 rows of slot text; our own configuration; the published log's form.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # in memory where possible: each save calls fsync
. tests/support/shell.sh
tree=$PWD
data=${FLEN_TEST_DATA:-$tree/../shared}/data/paddlerec_flen

# run ARGUMENTS: flenrt run, its standard output in out, its errors in err.
run() {
    "$bin/flenrt" run "$@" >out 2>err || { fail "run $*"; tail -5 out err; }
}
compile() {
    "$bin/flenc" compile config.yaml -o model.bin --quiet "$@" || fail "compile $*"
}
has() {
    grep -qF -- "$1" "$2" || { fail "no \"$1\" in $2"; tail -5 "$2"; }
}

cd "$dir" || exit 1
slots="user_0 user_1 user_2 user_3 user_4 user_5 user_6 user_7 user_8 user_9 user_10 user_11 item_0 item_1 item_2 contex_0 contex_1 contex_2 contex_3 contex_4 contex_5"
mkdir rows
awk -v slots="$slots" 'BEGIN { n = split(slots, s, " "); for (r = 0; r < 25; r++) { printf "click:%d", r % 3 == 1;
    for (i = 1; i <= n; i++) printf " %s:%d", s[i], (r * 7 + i * r) % 20; print "" } }' >rows/part
cat >config.yaml <<END
workspace: "w"
dataset:
- {name: d, batch_size: 2, type: QueueDataset, data_path: "rows", sparse_slots: "click $slots", dense_slots: ""}
- {name: all, batch_size: 5, type: DataLoader, data_path: "rows", sparse_slots: "click $slots", dense_slots: ""}
hyper_parameters:
  optimizer: {class: Adam, learning_rate: 0.001, strategy: sync}
  sparse_inputs_slots: 21
  sparse_feature_number: 100
  sparse_feature_dim: 8
  dense_input_dim: 1
  dropout_rate: 0.5
mode: [t, i]
runner:
- {name: t, class: train, device: cpu, epochs: 4, save_checkpoint_interval: 2, save_checkpoint_path: "c", save_inference_interval: 3,
   save_inference_path: "n", save_inference_feed_varnames: [], save_inference_fetch_varnames: [], init_model_path: "", print_interval: 3, phases: [p]}
- {name: i, class: infer, device: cpu, init_model_path: "c", print_interval: 2, phases: [q]}
phase:
- {name: p, model: "m.py", dataset_name: d, thread_num: 3}
- {name: q, model: "m.py", dataset_name: all, thread_num: 3}
END

# Steps of thread_num * batch_size rows, whole ones: 4 of 6 rows; a line at batch 3 of each epoch with three values; infer's of 5 rows, batches 2 and 4.
compile
run model.bin
[ "$(grep -c '^batch: 3, AUC: \[[0-9. ]*\], BATCH_AUC: \[[0-9. ]*\]$' out)" = 4 ] || fail "one line an epoch: $(cat out)"
[ "$(grep '^batch: 3' out | head -1 | sed 's/.*BATCH_AUC: \[\(.*\)\]/\1/' | wc -w)" = 3 ] || fail "a value for each copy"
[ "$(grep -c '^epoch [0123] done, use time: [0-9.e-]*$' out)" = 4 ] || fail "a line for each epoch"
[ "$(grep -c '^QueueDataset can not support PY3, change to DataLoader$' out)" = 2 ] || fail "one data set is a QueueDataset, two runners"
for line in "PaddleRec: Runner t Begin" "Executor Mode: train" "Running SingleStartup." "Running SingleRunner." "PaddleRec: Runner i Begin" \
    "Executor Mode: infer" "load persistables from c/1" "load persistables from c/3" "Infer q of 3 done, use time: "; do
    has "$line" out
done
[ "$(sed -n '/load persistables from c\/1/,/^Infer/p' out | sed 's/, AUC.*//; s/, use.*//' | tr '\n' '|')" = "load persistables from c/1|batch: 2|batch: 4|Infer q of 1 done|" ] ||
    fail "infer's lines: $(cat out)"
[ "$(ls c | tr '\n' ' ')" = "1 3 " ] || fail "interval 2 of 4 epochs saves 1 and 3, not $(ls c)"
[ ! -e n ] || fail "an inference model without names"
[ "$(grep -c '^PaddleRec Finish$' out)" = 2 ] || fail "PaddleRec Finish"
# The counters of training go on: 4 epochs of 24 rows with 8 positive ones, then 15 rows with 5. AUC is a multiple of 1 / (2 * 37 * 74) there.
auc=$(sed -n '/persistables from c\/3/,$s/^batch: 2, AUC: \[\([0-9.]*\)\].*/\1/p' out)
echo "$auc" | awk '{ x = $1 * 2 * 37 * 74; d = x - int(x + 0.5); exit !(d < 0.001 && d > -0.001) }' || fail "AUC $auc does not go on from training's counters"
"$bin/flenrt" infer c/3/model.bin --data rows >infer.out 2>err
has "batch: 2, AUC: [$auc], BATCH_AUC: " infer.out

# The last epoch is saved whatever the interval; the inference model has no training in it; a file of every batch's metrics.
rm -r c
compile --set runner.0.epochs=2 --set runner.0.save_checkpoint_interval=5 --set runner.0.save_inference_feed_varnames="[ids]" \
    --set runner.0.save_inference_fetch_varnames="[probability]" --set runner.0.runner_result_dump_path=dump --set runner.1.runner_result_dump_path=idump \
    --set runner.0.save_step_path=s --set runner.0.save_step_interval=3
run model.bin
[ "$(ls c n | tr '\n' ' ')" = "c: 1  n: 1 " ] || fail "the last epoch: $(ls c n)"
[ "$(ls s | tr '\n' ' ')" = "epoch_0_batch_0 epoch_0_batch_3 epoch_1_batch_0 epoch_1_batch_3 " ] || fail "steps: $(ls s)"
"$bin/flenrt" train n/1/model.bin --data rows >out2 2>&1 && fail "an inference model can be trained"
has "has no train program" out2
"$bin/flenrt" infer n/1/model.bin --data rows --json >a.json 2>&1
"$bin/flenrt" infer c/1/model.bin --data rows --json >b.json 2>&1
[ "$(sed 's/"seconds.*//' a.json)" = "$(sed 's/"seconds.*//' b.json)" ] || fail "the inference model predicts otherwise: $(cat a.json b.json)"
[ "$(ls dump* idump | tr '\n' ' ')" = "dump_epoch_0 dump_epoch_1 idump " ] || fail "dumps: $(ls)"
[ "$(grep -o '"BATCH_AUC"' dump_epoch_1 | wc -l) $(grep -o '"AUC"' idump | wc -l)" = "4 5" ] || fail "an entry for each batch"

# init_model_path: weights, optimiser state and counters of an earlier run. Two epochs, then two more from their checkpoint: their own epochs 0 and 1.
cp -r c first
compile --set runner.0.epochs=2 --set runner.0.init_model_path=first/1
run model.bin
has "going to load  first/1" out
has "load from first/1 success" out
auc=$(sed -n '/persistables from c\/1/,$s/^batch: 2, AUC: \[\([0-9.]*\)\].*/\1/p' out)
echo "$auc" | awk '{ x = $1 * 2 * 37 * 74; d = x - int(x + 0.5); exit !(d < 0.001 && d > -0.001) }' || fail "counters of the first run are lost: $auc"
mkdir paddle && printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >paddle/fc_0.w_0
compile --set runner.0.init_model_path=paddle
"$bin/flenrt" run model.bin >out 2>&1 && fail "Paddle's files are taken"
has "paddle: error: the folder holds PaddlePaddle's own variable files, which are not read here [E0743]" out

# Several phases in one epoch, in the order of the phase list; a runner's own list of phases.
rm -r c
compile --set runner.0.epochs=1 --set runner.0.phases="[q,p]"
run model.bin
[ "$(sed -n '/SingleRunner/,/Finish/p' out | sed 's/,.*//' | tr '\n' '|')" = "Running SingleRunner.|batch: 3|epoch 0 done|epoch 0 done|PaddleRec Finish|" ] ||
    fail "phases: $(cat out)"

# The logs that were asked for instead.
run model.bin --json
[ "$(grep -c '"event":"batch"' out) $(grep -c '"event":"epoch"' out) $(grep -c '"event":"done"' out)" = "3 1 2" ] || fail "events: $(cat out)"
run model.bin --log=plain
has "train: auc 0." out
has "model: c/0/model.bin" out
compile --set mode=i --set runner.1.init_model_path=nowhere
"$bin/flenrt" run model.bin >out 2>&1 && fail "infer without a model"
has "nowhere: error: cannot open" out

# Steps that no row fills, and steps that no memory holds.
compile --set mode=t --set dataset.0.batch_size=50 --set "quirks=[drop_last]"
"$bin/flenrt" run model.bin >out 2>&1 && fail "an epoch without a step"
has "rows: error: 25 rows, but a step takes 150 and short ones are left out (drop_last) [E0742]" out
compile --set mode=t --set dataset.0.batch_size=16777216 --set phase.0.thread_num=4096
"$bin/flenrt" run model.bin >out 2>&1 && fail "a step of 2^36 rows"
has "a step of 4096 times 16777216 rows is too large [E0701]" out

# Gradients summed over 3 copies are 3 times their mean: for SGD, a rate 3 times as high.
sgd="--set mode=t --set hyper_parameters.optimizer.class=SGD --set runner.0.epochs=1"
for setting in "0.0003 0" "0.0001 1" "0.0001 0"; do
    # shellcheck disable=SC2086
    set -- $setting
    # shellcheck disable=SC2086
    compile $sgd --set hyper_parameters.optimizer.learning_rate=$1 --set phase.0.gradient_scale_strategy=$2
    run model.bin --quiet
    "$bin/flenrt" infer c/0/model.bin --data rows --log=plain --json | sed 's/.*"logloss":\([0-9.]\{6\}\).*/\1/' >>sums
done
[ "$(sed -n 1p sums)" = "$(sed -n 2p sums)" ] && [ "$(sed -n 2p sums)" != "$(sed -n 3p sums)" ] || fail "sums of gradients: $(cat sums)"
compile --set phase.0.gradient_scale_strategy=1 --set runner.0.phases="[q,p]"
"$bin/flenrt" run model.bin >out 2>&1 && fail "a phase that wants means of gradients, in a model of sums"
has 'phase "q" wants gradients of 1 copies summed, the model was compiled for 3 [E0744]' out

# The quirk dropout_in_infer: masks stay on, the same ones each time, and only then; the same ones from the interpreter. What is exported stays without.
rm -rf c
for quirks in drop_last "drop_last,dropout_in_infer"; do
    compile --set mode=t --set runner.0.epochs=1 --set "quirks=[$quirks]"
    run model.bin --quiet
    for backend in native native interp; do
        "$bin/flenrt" predict c/0/model.bin --data rows --batch 5 --backend=$backend >>"masks.$quirks" 2>err || fail "predict with quirks $quirks"
    done
    "$bin/flenrt" infer c/0/model.bin --data rows --log=plain --json | sed 's/.*"logloss":\([0-9.]*\).*/\1/' >>losses
done
"$bin/flenc" export c/0/model.bin -o exported.onnx --quiet || fail "export of a model with masks in prediction"
awk -F, 'NR > 26 { i = (NR - 1) % 26; d = $2 - first[i]; if (i && (d > 1e-6 || d < -1e-6)) bad++ } NR <= 26 { first[NR - 1] = $2 } END { exit NR != 78 || bad }' \
    "masks.drop_last,dropout_in_infer" || fail "masks of prediction are not the same each time"
cmp -s masks.drop_last "masks.drop_last,dropout_in_infer" && fail "dropout_in_infer does nothing"
[ "$(sed -n 1p losses)" != "$(sed -n 2p losses)" ] || fail "dropout_in_infer does nothing in infer: $(cat losses)"

# A missing label is a negative one, if asked for.
mkdir unlabelled && sed 's/^click:[01] //' rows/part >unlabelled/part
compile --set mode=t --set runner.0.epochs=1 --set "quirks=[drop_last,missing_label_is_0]" --set dataset.0.data_path=unlabelled
run model.bin
compile --set mode=t --set runner.0.epochs=1 --set dataset.0.data_path=unlabelled
"$bin/flenrt" run model.bin >out 2>&1 && fail "rows without labels are taken"

# Files in another order each epoch, if asked for: other weights, the same ones again.
mkdir files && split -l 5 rows/part files/p
for shuffle in false true true; do
    compile --set mode=t --set runner.0.epochs=2 --set dataset.0.data_path=files --set phase.0.shuffle_filelist=$shuffle
    run model.bin --quiet
    "$bin/flenrt" infer c/1/model.bin --data rows --log=plain --json | sed 's/.*"logloss":\([0-9.]*\).*/\1/' >>orders
done
[ "$(sed -n 1p orders)" != "$(sed -n 2p orders)" ] && [ "$(sed -n 2p orders)" = "$(sed -n 3p orders)" ] || fail "shuffle_filelist: $(cat orders)"

# PaddleRec 2.x: lines from batch 0 on, a folder an epoch, inference of the epochs that were asked for, a model to start from.
mkdir text && awk 'BEGIN { for (r = 0; r < 30; r++) { printf "%d", r; for (i = 1; i < 23; i++) printf ",%d", (r * 7 + i * r) % 20; print "," (r % 3 == 1) } }' >text/part
cat >two.yaml <<END
runner: {train_data_dir: text, test_data_dir: text, train_reader_path: avazu_reader, infer_reader_path: avazu_reader, use_gpu: false, use_auc: true,
  train_batch_size: 5, infer_batch_size: 10, epochs: 3, print_interval: 4, model_save_path: two, infer_load_path: two, infer_start_epoch: 1, infer_end_epoch: 3}
hyper_parameters: {optimizer: {class: Adagrad, learning_rate: 0.04}, sparse_inputs_slots: 22, sparse_feature_number: 20, sparse_num_field: 3,
  sparse_feature_dim: 4, layer_sizes_dnn: [8, 4]}
END
two() {
    "$bin/flenc" compile two.yaml --quiet -o two.bin "$@" || fail "compile two.yaml $*"
}
two
run two.bin
[ "$(sed -n 's/^\(epoch: [0-9], batch_id: [0-9]\), auc:[0-9].*, loss:.* ins\/s$/\1/p' out | tr '\n' '|')" = \
    "epoch: 0, batch_id: 0|epoch: 0, batch_id: 4|epoch: 1, batch_id: 0|epoch: 1, batch_id: 4|epoch: 2, batch_id: 0|epoch: 2, batch_id: 4|" ] || fail "2.x lines: $(cat out)"
[ "$(grep '^load model epoch' out | tr '\n' '|')" = "load model epoch 1|load model epoch 2|" ] || fail "2.x infers other epochs: $(cat out)"
[ "$(ls two | tr '\n' ' ')" = "0 1 2 " ] || fail "2.x saves $(ls two)"
has "Already save model in two/2" out
grep '^epoch: 0 done' out | sed 's/, epoch time.*//' >fresh
two --set runner.model_init_path=two/2 --set runner.model_save_path=more --set runner.infer_load_path=more --set runner.epochs=2
run two.bin
grep '^epoch: 0 done' out | sed 's/, epoch time.*//' | cmp -s - fresh && fail "model_init_path does nothing"
echo 1,2,3 >>text/part
two
"$bin/flenrt" run two.bin >out 2>&1
has "31 rows could not be read" out
two --set "quirks=[drop_last,skip_short_rows]"
run two.bin
grep -q "could not be read" err && fail "short rows are not skipped in silence"

# Our own configuration: prepared rows, the best epoch in one file, inference from it; Ctrl-C and --resume.
"$bin/flenrt" generate --rows 2000 --ids 300 --seed 3 --quiet -o rows.csv
"$bin/flenc" compile "$tree/models/lr/config.yaml" --quiet -o own.bin --set train.data=prepared --set train.valid=prepared --set infer.data=prepared --set train.epochs=3 \
    --set train.save.path=best --set train.batch_size=100 --set train.save.step_path=within --set train.save.every_steps=10
"$bin/flenrt" prepare own.bin rows.csv -o prepared --quiet --valid-tail 300 2>err || fail prepare
run own.bin
has "valid: auc 0." out
has "model: best/model.bin" out
auc=$(sed -n 's/^valid: auc \([0-9.]*\),.*/\1/p' out)
has "infer: auc $auc, logloss 0." out
"$bin/flenc" compile "$tree/models/lr/config.yaml" --quiet -o own.bin --set train.data=prepared --set train.valid=null --set train.keep_best=false --set infer.data=prepared \
    --set train.epochs=20 --set train.save.path=often --set train.save.step_path=steps --set train.save.every_steps=1 --set mode=train
"$bin/flenrt" run own.bin >out 2>&1 &
pid=$!
tries=0
until [ "$(grep -c '^saved' out)" -gt 8 ] || [ $((tries = tries + 1)) -gt 100 ]; do sleep 0.1; done
kill -TERM $pid
wait $pid
[ $? = 130 ] || fail "a stopped run does not end with 130"
has "saved in often/interrupted.bin" out
run own.bin --resume often/interrupted.bin
cp often/19/model.bin resumed.bin
run own.bin
has "model: often/19/model.bin" out
cmp -s resumed.bin often/19/model.bin || fail "a run that went on differs from one that did not stop"

# The published run.
[ -f "$data/config_1.8.5.yaml" ] || { echo "skipped: $data is not there"; exit $((failed ? 1 : 77)); }
mkdir published && cp "$data/sample_train.txt" published
"$bin/flenc" compile "$data/config_1.8.5.yaml" --set dataset.0.data_path=published -o model.bin --quiet || fail "compile"
run model.bin
[ "$(grep -c '^batch: [0-9]*, AUC: \[[0-9.]\{1,\} \{1,\}[0-9.]\{1,\} *\], BATCH_AUC: \[[0-9.]\{1,\} \{1,\}[0-9.]\{1,\} *\]$' out)" = 12 ] || fail "12 lines: $(cat out)"
[ -f increment_model_flen/0/model.bin ] || fail "increment_model_flen/0"
[ "$(grep '^batch' out | sed 's/batch: \([0-9]*\),.*/\1/' | tr '\n' ' ')" = "2 4 6 8 10 12 14 16 18 20 22 24 20 40 " ] || fail "batches: $(cat out)"
auc=$(sed -n '/persistables/,$s/^batch: 20, AUC: \[\([0-9.]*\)\].*/\1/p' out)
echo "$auc" | awk '{ x = $1 * 2 * 26 * 116; d = x - int(x + 0.5); exit !(d < 0.001 && d > -0.001) }' || fail "AUC $auc does not go on"

exit $failed
