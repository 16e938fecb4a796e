#!/bin/sh
# flenrt as a person meets it: help, wrong words, data made and prepared, verbs that use a model.
. tests/support/shell.sh

# A limit on files is met like a full disk.
expect 1 "File too large" sh -c "ulimit -f 20 && exec '$bin/flenrt' generate --rows 5000 -o '$dir/long.csv'"
ls "$dir" | grep -q 'long.csv' && fail "part of a file is left: $(ls "$dir")"
expect 2 '`flenc compile` is one' "$bin/flenrt" compile x

# Every verb that is listed explains itself, and refuses what it does not know.
expect 0 "usage: flenrt VERB" "$bin/flenrt" --help
for verb in $("$bin/flenrt" --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    expect 0 "usage: flenrt $verb " "$bin/flenrt" "$verb" --help
    expect 2 "[E0002]" "$bin/flenrt" "$verb" --nonsense
    expect 2 "[E0002]" "$bin/flenrt" "$verb"
done
expect 2 'did you mean "predict"?' "$bin/flenrt" predcit
expect 2 'did you mean "--data"?' "$bin/flenrt" infer --daat x
expect 2 'option "--data" needs a value' "$bin/flenrt" infer m.bin --data
expect 2 '--threads cannot be "0"' "$bin/flenrt" infer m.bin --data d --threads 0
expect 2 '--backend cannot be "gpu"' "$bin/flenrt" infer m.bin --data d --backend=gpu
expect 2 '--batch cannot be "1.5"' "$bin/flenrt" predict m.bin --data d --batch=1.5
expect 2 'one model is enough: "n.bin"' "$bin/flenrt" infer m.bin n.bin --data d
expect 1 "m.bin: error: cannot open" "$bin/flenrt" infer m.bin --data d

# Planted rows, their cache and vocabulary.
expect 0 '"bayes_auc":' "$bin/flenrt" generate --rows 4000 --ids 1000 --seed 7 --json -o "$dir/rows.csv"
expect 0 "network lr" "$bin/flenc" compile models/lr/config.yaml -o "$dir/model.bin"
expect 0 '"train_rows":3600,"valid_rows":400,"bad_rows":0' "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/prepared" --valid-tail 400 --json
for file in train valid vocabulary model.bin; do
    [ -s "$dir/prepared/$file" ] || fail "prepare made no $file"
done
expect 2 "split in one way only" "$bin/flenrt" prepare m.bin r -o d --valid-tail 1 --valid-share 0.5
expect 1 'lacks column "houry"' "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/not" --valid-from houry=1
expect 1 'all 4000 rows go to `valid` by this split, none is left for training [E0509]' "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/not" --valid-tail 9999
expect 1 'no value of column "hour" begins with "99" or comes behind it [E0509]' "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/not" --valid-from hour=99
[ -z "$(ls "$dir/not")" ] || fail "a preparation that failed left $(ls "$dir/not")"
expect 1 "it has not been trained [E0704]" "$bin/flenrt" infer "$dir/prepared/model.bin" --data "$dir/prepared"

# What info says of a model before and after it has seen data; --verify finds a flipped bit.
expect 0 "known once data has been seen" "$bin/flenrt" info "$dir/model.bin"
expect 0 "fallback     none" "$bin/flenrt" info "$dir/prepared/model.bin" --slots
grep -q "weekday: field context, column hour, transform weekday, vocabulary dict" "$dir/out" || fail "info --slots lacks a slot"
expect 0 '"network":"lr","parameters":' "$bin/flenrt" info "$dir/prepared/model.bin" --json
for key in '"inputs":[{"name":"ids","type":"int64[batch,23]"}]' '"fields":[{"name":"user","slots":["C1",' '"tables":[{"name":"linear","rows":' '"file_bytes":' '"fallback":[]'; do
    grep -qF "$key" "$dir/out" || fail "info --json lacks $key"
done
sed 's/weekday/weakday/' "$dir/prepared/model.bin" >"$dir/damaged.bin"
expect 1 "damaged" "$bin/flenrt" info "$dir/damaged.bin" --verify

# A trained model: the same predictions from generated code whatever the batch, the threads and the form of the rows; close to the interpreter's.
"$bin/flenrt" train "$dir/prepared/model.bin" --data "$dir/prepared" --backend=interp --quiet --epochs 1 -o "$dir/trained.bin" || fail "train"
"$bin/flenrt" predict "$dir/trained.bin" --data "$dir/rows.csv" --logit -o "$dir/p.csv" || fail "predict"
[ "$(head -1 "$dir/p.csv")" = row,probability,logit ] || fail "header of predictions"
[ -s "$dir/p.csv" ] && [ "$(wc -l <"$dir/p.csv")" = 4001 ] && sed -n 2p "$dir/p.csv" | grep -qE '^0,0\.[0-9]{1,12},-?[0-9.]+$' || fail "predictions of another form"
for options in "--batch 1 --threads 1" "--batch 333 --threads 3" "--cpu=v3"; do
    "$bin/flenrt" predict "$dir/trained.bin" --data - --logit $options <"$dir/rows.csv" | cmp -s - "$dir/p.csv" || fail "predict $options: other bits"
done
"$bin/flenrt" predict "$dir/trained.bin" --data "$dir/prepared/train" | head -1001 >"$dir/cached.csv"
cut -d, -f1,2 "$dir/p.csv" | head -1001 | cmp -s - "$dir/cached.csv" || fail "rows of the cache have other predictions"
"$bin/flenrt" predict "$dir/trained.bin" --data "$dir/rows.csv" --logit --backend=interp | paste -d, - "$dir/p.csv" |
    awk -F, 'NR > 1 && ($2 - $5 > 1e-6 || $5 - $2 > 1e-6 || $1 != $4) { bad++ } END { exit NR != 4001 || bad }' || fail "interpreter and generated code differ"

# AUC and logloss: those of the predictions, by counting pairs.
expect 0 '"event":"done","rows":4000,"auc":0.' "$bin/flenrt" infer "$dir/trained.bin" --data "$dir/rows.csv" --json
metrics=$(sed 's/.*"auc":\([0-9.]*\),"logloss":\([0-9.]*\).*/\1 \2/' "$dir/out")
cut -d, -f2 "$dir/rows.csv" | paste -d, - "$dir/p.csv" | tail -n +2 | sort -t, -k4,4g |
    awk -F, -v want="$metrics" '
        function close_run() { good += positive * (below + negative / 2); below += negative; positive = negative = 0 }
        { if ($4 != last) close_run(); last = $4; if ($1) { positive++; n1++ } else { negative++; n0++ }
          loss -= log($1 ? $3 : 1 - $3) }
        END { close_run(); split(want, w, " "); auc = good / n0 / n1; loss /= NR
              exit auc - w[1] > 1e-6 || w[1] - auc > 1e-6 || loss - w[2] > 1e-5 || w[2] - loss > 1e-5 }' || fail "infer says $metrics"
expect 0 "trained      1 epochs" "$bin/flenrt" info "$dir/trained.bin"
expect 0 "with the vocabulary that the model has" "$bin/flenrt" prepare "$dir/trained.bin" "$dir/rows.csv" -o "$dir/again"
[ ! -e "$dir/again/model.bin" ] || fail "prepare copied a trained model"
expect 0 "rows        4000" "$bin/flenrt" infer "$dir/trained.bin" --data "$dir/again"

# Rows that cannot be read keep their number, or stop the work.
{ head -3 "$dir/rows.csv"; echo "1,2,3"; tail -2 "$dir/rows.csv"; } >"$dir/bad.csv"
expect 0 "1 of 5 rows could not be read" "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/bad.csv" -o "$dir/bad.out"
sed -n 4p "$dir/bad.out" | grep -qx '2,' || fail "the bad row has no line of its own"
[ "$(wc -l <"$dir/bad.out")" = 6 ] || fail "five rows, five lines"
expect 1 "bad.csv:4: error: " "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/bad.csv" -o "$dir/strict.out" --strict
[ ! -e "$dir/strict.out" ] || fail "predict --strict left a file"
expect 0 "bad rows    1, left out" "$bin/flenrt" infer "$dir/trained.bin" --data "$dir/bad.csv"
gzip -c "$dir/bad.csv" >"$dir/bad.csv.gz"
expect 1 "bad.csv.gz:4: error: " "$bin/flenrt" infer "$dir/trained.bin" --data "$dir/bad.csv.gz" --strict
[ "$(wc -l <"$dir/out")" = 1 ] || fail "bytes of a compressed file are shown"
cut -d, -f1,3- "$dir/rows.csv" >"$dir/unlabelled.csv"
"$bin/flenrt" predict "$dir/trained.bin" --data "$dir/unlabelled.csv" --logit | cmp -s - "$dir/p.csv" || fail "labels change predictions"
"$bin/flenrt" predict "$dir/trained.bin" --data "$dir/nowhere" >"$dir/out" 2>"$dir/err" && fail "predict of a missing file succeeds"
[ ! -s "$dir/out" ] || fail "predict of a missing file writes a header"
expect 1 'the header lacks the label' "$bin/flenrt" infer "$dir/trained.bin" --data "$dir/unlabelled.csv"
if [ -w /dev/full ]; then
    "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/rows.csv" >/dev/full 2>"$dir/out" && fail "a full disk is no success"
    grep -qF "standard output: error: cannot write: No space left on device" "$dir/out" || fail "a full disk is not told"
    expect 0 "1 of 5 rows" "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/bad.csv" -o /dev/null
    [ -c /dev/null ] || fail "predict replaced a device"
    expect 0 "bayes_auc" "$bin/flenrt" generate --rows 1000 -o /dev/null
    [ -c /dev/null ] || fail "generate replaced a device"
fi

# Ctrl-C: status 130, and no half-written file. (INT is ignored in a shell's background; env gives it back.)
mkfifo "$dir/pipe"
for out in "-" "$dir/stopped.csv"; do
    env --default-signal=INT "$bin/flenrt" predict "$dir/trained.bin" --data - -o "$out" --batch 8 <"$dir/pipe" >"$dir/out" 2>"$dir/err" &
    pid=$!
    exec 9>"$dir/pipe"
    cat "$dir/rows.csv" >&9
    kill -INT $pid
    cat "$dir/rows.csv" >&9 2>"$dir/broken"
    exec 9>&-
    wait $pid
    [ $? = 130 ] || fail "Ctrl-C in predict -o $out: another status"
    grep -qF "interrupted [E0006]" "$dir/err" || fail "Ctrl-C in predict -o $out is not told"
done
for file in "$dir"/stopped.csv*; do
    [ ! -e "$file" ] || fail "Ctrl-C left $file"
done

# Speed: a line a setting; too few rows are told.
expect 2 "--train or --infer is needed" "$bin/flenrt" bench "$dir/prepared/model.bin"
expect 2 "--read needs --data" "$bin/flenrt" bench "$dir/prepared/model.bin" --read
expect 0 '"bench":"read","threads":2,"rows":3600,' "$bin/flenrt" bench "$dir/prepared/model.bin" --read --data "$dir/prepared" --seconds 0.01 --threads 1,2 --json
expect 0 "rows/s" "$bin/flenrt" bench "$dir/prepared/model.bin" --read --data "$dir/rows.csv" --seconds 0.01
expect 2 "--epoch needs --data" "$bin/flenrt" bench "$dir/prepared/model.bin" --epoch
expect 0 '"bench":"epoch","batch":8,"threads":2,"rows":3600,"pairs":' "$bin/flenrt" bench "$dir/prepared/model.bin" --epoch --data "$dir/prepared" --batch 8 --threads 1,2 --json
[ "$(grep -c '"samples_per_second":[1-9].*"memory_samples_per_second":[1-9].*"ratio":[0-9].*"wait_share":0' "$dir/out")" = 2 ] || fail "bench did not measure two epochs"
expect 0 "3600 rows)" "$bin/flenrt" bench "$dir/model.bin" --epoch --data "$dir/rows.csv" --batch 8 --threads 1 --rows 3600
expect 1 "3600 rows are too few to measure an epoch with batches of 512: 24576 are enough [E0722]" "$bin/flenrt" bench "$dir/prepared/model.bin" --epoch --data "$dir/prepared" --threads 1
expect 0 '{"bench":"infer","batch":8,"threads":2,"p50_us":' "$bin/flenrt" bench "$dir/prepared/model.bin" --infer --batch 1,8 --threads 1,2 --seconds 0.02 --json
[ "$(grep -c '"samples_per_second":[1-9]' "$dir/out")" = 4 ] || fail "bench did not measure four settings"
expect 0 '"limit":"' "$bin/flenrt" bench "$dir/prepared/model.bin" --train --infer --batch 8 --threads 1 --seconds 0.02 --json
grep -q '"rows_per_sample":23.00,.*"rows_touched_before":true' "$dir/out" || fail "bench does not count a look-up for each of 23 slots"
grep -q '"segments":\[{"work":"[A-Z][A-Za-z]* of [^"]*","share":[01]' "$dir/out" || fail "bench does not say where the time goes"
grep -q '"machine_flops":0\|"share_of_limit":0.0000' "$dir/out" && fail "bench measured no machine"
expect 0 "infer  batch      2  threads  1" "$bin/flenrt" bench "$dir/prepared/model.bin" --infer --batch 2 --threads 1 --seconds 0.02 --backend=interp
# A model that has seen no data takes the vocabulary that lies beside a cache, makes one of raw rows, or says what it lacks.
expect 0 '"rows":"'"$dir/prepared/train"'"' "$bin/flenrt" bench "$dir/model.bin" --infer --batch 8 --threads 1 --seconds 0.02 --json --data "$dir/prepared/train"
expect 0 "counting its values first" "$bin/flenrt" bench "$dir/model.bin" --infer --batch 8 --threads 1 --seconds 0.02 --data "$dir/rows.csv"
mkdir "$dir/alone" && cp "$dir/prepared/train" "$dir/alone/train"
expect 1 "no file \`vocabulary\` lies beside this cache" "$bin/flenrt" bench "$dir/model.bin" --infer --data "$dir/alone"
expect 1 "read only once" "$bin/flenrt" bench "$dir/model.bin" --infer --data -
expect 1 "has no size yet" "$bin/flenrt" bench "$dir/model.bin" --infer
expect 1 "400 rows are fewer than a batch of 4000 [E0722]" "$bin/flenrt" bench "$dir/prepared/model.bin" --infer --batch 4000 --data "$dir/prepared/valid"

# A graph on tensors. npy FILE DESCR SHAPE BYTES: numpy's form, with the header that its format document gives.
npy() {
    printf '\223NUMPY\001\000\166\000' >"$1"
    printf "%-117s\n" "{'descr': '$2', 'fortran_order': False, 'shape': $3, }" >>"$1"
    printf "$4" >>"$1"
}
cat >"$dir/sums.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
sums (int32[batch,2] ids) => (float[batch] sum, int32[batch,2] "the/same") <float[4,2] t = {0.5, 1, 2, 3, 4, 5, 6, 7}> {
   e = Gather (t, ids)
   axes = Constant <value_ints = [1, 2]> ()
   sum = ReduceSum <keepdims = 0> (e, axes)
   "the/same" = Identity (ids)
}
GRAPH
mkdir "$dir/in"
npy "$dir/in/ids.npy" '<i4' '(1, 2)' '\000\000\000\000\003\000\000\000'
npy "$dir/sum.npy" '<f4' '(1,)' '\000\000\150\101' # 14.5
expect 0 "network imported" "$bin/flenc" compile "$dir/sums.onnxtxt" -o "$dir/sums.bin"
for backend in interp native; do
    expect 0 "float[1] sum: $dir/tensors/sum.npy" "$bin/flenrt" eval "$dir/sums.bin" --in "$dir/in" --out "$dir/tensors" --backend=$backend
    cmp -s "$dir/tensors/sum.npy" "$dir/sum.npy" || fail "eval on $backend: wrong sum"
    cmp -s "$dir/tensors/the_same.npy" "$dir/in/ids.npy" || fail "eval on $backend: the_same.npy is not what went in"
done
npy "$dir/in/ids.npy" '<i4' '(1, 2)' '\000\000\000\000\004\000\000\000'
expect 1 'element 1 of input "ids" is 4, the table "t" has rows 0 to 3 [E0725]' "$bin/flenrt" eval "$dir/sums.bin" --in "$dir/in" --out "$dir/tensors"
npy "$dir/in/ids.npy" '<i8' '(1,)' '\000\000\000\000\000\000\000\000'
expect 1 'input "ids" is int32[batch,2], the tensor is int64[1] [E0725]' "$bin/flenrt" eval "$dir/sums.bin" --in "$dir/in" --out "$dir/tensors"
sed 's/e = Gather (t, ids)/back = Neg (ids)\n   e = Gather (t, back)/' "$dir/sums.onnxtxt" >"$dir/computed.onnxtxt"
"$bin/flenc" compile "$dir/computed.onnxtxt" -o "$dir/computed.bin" --quiet || fail "a graph with a computed index"
npy "$dir/in/ids.npy" '<i4' '(1, 2)' '\000\000\000\000\375\377\377\377' # 0, -3
expect 0 "float[1] sum" "$bin/flenrt" eval "$dir/computed.bin" --in "$dir/in" --out "$dir/tensors"
cmp -s "$dir/tensors/sum.npy" "$dir/sum.npy" || fail "eval with a computed index: wrong sum"
npy "$dir/in/ids.npy" '<i4' '(1, 2)' '\000\000\000\000\001\000\000\000'
expect 1 'element 1 of index "back" is -1, the table "t" has rows 0 to 3 [E0725]' "$bin/flenrt" eval "$dir/computed.bin" --in "$dir/in" --out "$dir/tensors"
expect 1 'hint: input "ids" is int32[batch,2]' "$bin/flenrt" eval "$dir/sums.bin" --in "$dir" --out "$dir/tensors"

exit $failed
