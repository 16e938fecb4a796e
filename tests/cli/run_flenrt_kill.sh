#!/bin/sh
# A training run that saves five times is killed at every write, fsync and rename that it makes, and meets a full disk at every one of a save: the
# model file is always a whole one, that of the epoch before or the new one. Oracle: the files of runs that were left alone.
# In memory where possible: 25,000 fsyncs of a disk are a minute.
[ -w /dev/shm ] && export TMPDIR=/dev/shm # in memory where possible: each save calls fsync
. tests/support/shell.sh
[ -f "$bin/fault_io.so" ] || { echo "skipped: no fault_io.so in this build (sanitizers cannot be preloaded over)"; exit 77; }
models=$PWD/models
cd "$dir" || exit 1
train() {
    "$bin/flenrt" train model.bin --data rows.csv --backend=interp --quiet --threads 1 "$@"
}
"$bin/flenrt" generate --rows 150 --ids 200 --seed 5 --quiet -o rows.csv
"$bin/flenc" compile --quiet "$models/fm/config.yaml" -o unbound.bin --set train.batch_size=75
"$bin/flenrt" prepare --quiet unbound.bin rows.csv -o prepared --valid-tail 1 2>err && cp prepared/model.bin . && rm -r prepared || fail prepare
for epochs in 1 2 3 4 5; do
    train --epochs $epochs -o whole.$epochs || fail "$epochs epochs"
done
LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=count:calls train --epochs 5 -o counted.bin
calls=$(cat calls) each=$(($(cat calls) / 5))
[ "$calls" -ge 200 ] && [ $((each * 5)) = "$calls" ] || fail "$calls calls: not 200 points, or not the same number in each save"

n=0
while [ $((n += 1)) -le "$calls" ]; do
    rm -f out.bin out.bin.tmp.*
    LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=kill:$n train --epochs 5 -o out.bin >err 2>&1
    [ $? = 137 ] || fail "call $n did not kill"
    new=$(((n - 1) / each + 1))
    if [ -f out.bin ]; then
        cmp -s out.bin whole.$new || { [ $new -gt 1 ] && cmp -s out.bin whole.$((new - 1)); } || fail "killed at call $n of $calls: neither epoch $((new - 1))'s nor $new's file"
    else
        [ $new = 1 ] || fail "killed at call $n of $calls: no file is left"
    fi
done
"$bin/flenrt" infer whole.5 --data rows.csv --backend=interp --quiet >err 2>&1 || fail "a whole file does not load"

n=0
cp whole.5 out.bin
while [ $((n += 1)) -lt "$each" ]; do
    LD_PRELOAD="$bin/fault_io.so" FLEN_FAULT=full:$n train --epochs 1 -o out.bin >err 2>&1
    status=$?
    # Only writes can be refused for space: from the last one on the save succeeds.
    if [ $status = 0 ]; then
        cmp -s out.bin whole.1 || fail "full from call $n on: saved, but not the new file"
        cp whole.5 out.bin
    elif [ $status = 1 ]; then
        grep -qF "No space left on device" err || fail "full from call $n on: says $(cat err)"
        cmp -s out.bin whole.5 || fail "full from call $n on: the old file is not whole"
    else
        fail "full from call $n on: status $status"
    fi
    [ -z "$(ls | grep 'out.bin.tmp')" ] || fail "full from call $n on: a temporary file is left"
done

exit $failed
