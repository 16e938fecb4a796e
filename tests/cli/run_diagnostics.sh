#!/bin/sh
# Diagnostics that no graph text or configuration shows: of files, of models, of what code cannot be made for. Each is one line with its text and code, and an
# exit status of 1.
. tests/support/shell.sh
models=$(pwd)/models
cd "$dir" || exit 2

# says CODE TEXT COMMAND...: a line with the text (a regular expression) and the code at its end.
says() {
    code=$1 text=$2
    shift 2
    limited 100 "$@" >out 2>err
    status=$?
    [ $status = 1 ] && grep -q "error: .*$text.* \[$code\]\$" err || { echo "FAILED: $code: $* (status $status)"; head -3 err; failed=1; }
}

# at PLACE CODE TEXT COMMAND...: the same with the place, FILE:LINE:COLUMN, and for warnings too.
at() {
    place=$1 code=$2 text=$3
    shift 3
    timeout 100 "$@" >out 2>err
    grep -q "^$place: $text \[$code\]\$" err || { echo "FAILED: $code at $place: $*"; head -3 err; failed=1; }
}

# graph NAME SIGNATURE NODE: one node.
graph() {
    printf '%s {\n   %s\n}\n' "$2" "$3" >"$1.onnxtxt"
}

graph sin 'g (float[batch,3] x) => (float[batch,3] y)' 'y = Sin (x)'
graph half 'g (float16[batch,3] x) => (float16[batch,3] y)' 'y = Relu (x)'
graph wide 'g (float[batch,3] x, int64[2] r) => (float[p,q] y)' 'y = Tile (x, r)'
graph gather 'g (int64[2] i) => (float[2,3] y) <float[2,3] t = {1, 2, 3, 4, 5, 6}>' 'y = Gather (t, i)'
"$bin/flenc" compile --quiet "$models/lr/config.yaml" -o lr.bin && "$bin/flenc" compile --quiet sin.onnxtxt -o sin.bin &&
    "$bin/flenc" compile --quiet gather.onnxtxt -o gather.bin || exit 1
valid=$models/sample/valid.csv.gz

says E0602 'the code generator cannot be loaded' env FLEN_CODEGEN="$dir/none.so" "$bin/flenc" opt --emit=asm --stage=scheduled "$models/lr/config.yaml"
says E0254 '"x" has a type for which no values can be drawn' "$bin/flenc" verify half.onnxtxt
says E0255 'dimension 0 of "y" (Tile) depends on values' "$bin/flenc" opt --emit=asm --stage=scheduled wide.onnxtxt
says E0113 'an override reads KEY.PATH=VALUE' "$bin/flenc" compile --set network "$models/lr/config.yaml" -o x.bin
says E0005 'could not be written' "$bin/flenc" dump sin.onnxtxt -o /dev/full
says E0005 'cannot be written: No space' "$bin/flenc" export half.onnxtxt -o /dev/full
says E0005 'regular files only' "$bin/flenc" compile --quiet "$models/lr/config.yaml" -o /dev/full
mkdir pipes && mkfifo pipes/valid || exit 1
says E0005 'a cache is written to regular files only' "$bin/flenrt" prepare lr.bin "$valid" -o pipes --valid-share 0.5
[ -p pipes/valid ] && [ "$(ls pipes)" = valid ] || { echo "FAILED: prepare left $(ls pipes)"; failed=1; }
[ -c /dev/full ] || { echo "FAILED: /dev/full was replaced by a file"; failed=1; }
says E0007 "Graphviz's dot cannot be run" env PATH="$dir" "$bin/flenc" dump --format=svg sin.onnxtxt -o x.svg
printf '\010\143\072\000' >v.onnx
says E0302 'IR version 99' "$bin/flenc" dump v.onnx

cp sin.onnxtxt text.bin
says E0400 'this is not a model.bin' "$bin/flenrt" info text.bin
head -c 3000 lr.bin >cut.bin
says E0401 'truncated: 3000 of' "$bin/flenrt" info cut.bin
{ head -c 5000 lr.bin; printf 'XXXX'; tail -c +5005 lr.bin; } >damaged.bin
says E0402 'the checksum of .* is wrong' "$bin/flenrt" info damaged.bin
says E0705 'no train program' "$bin/flenrt" train sin.bin --data "$valid"
graph relu 'g (float[batch,3] x) => (float[batch,3] y)' 'y = Relu (x)'
"$bin/flenc" compile --quiet relu.onnxtxt -o relu.bin
says E0706 'rows of data cannot fill input "x"' "$bin/flenrt" infer relu.bin --data "$valid"
says E0745 'no runner came with the model' "$bin/flenrt" run sin.bin
says E0513 'a vocabulary cannot be made from standard input' "$bin/flenrt" train lr.bin --data -
says E0741 'does not hold a training run' "$bin/flenrt" train lr.bin --data "$valid" --resume sin.bin

# npy NAME DTYPE SHAPE DATA: an array, its bytes as printf has them.
npy() {
    header="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
    { printf '\223NUMPY\001\000\166\000'; printf '%-117s\n' "$header"; printf "$4"; } >"$1"
}
mkdir far garbage strange
npy far/i.npy '<i8' '(2,)' '\001\000\000\000\000\000\000\000\011\000\000\000\000\000\000\000'
echo text >garbage/x.npy
npy strange/x.npy '<c8' '(1,)' '\000\000\000\000\000\000\000\000'
says E0781 'index' "$bin/flenrt" eval gather.bin --in far --out out --backend=interp
says E0723 'not a .npy file' "$bin/flenrt" eval sin.bin --in garbage --out out
says E0723 'elements of type "<c8"' "$bin/flenrt" eval sin.bin --in strange --out out

# Of values: what only a run shows.
graph div 'g (int64[2] x, int64[2] i) => (int64[2] y)' 'y = Div (x, i)'
graph add 'g (float[batch,1] x, float[n,1] w) => (float[batch,1] y)' 'y = Add (x, w)'
graph half_out 'g (float[batch,1] x) => (bfloat16[batch,1] y)' 'y = Cast <to = 16> (x)'
graph distinct 'g (float[batch,1] x) => (float y)' 'u = Unique (x)
   y = ReduceSum <keepdims = 0> (u)'
for g in div add half_out distinct; do "$bin/flenc" compile --quiet $g.onnxtxt -o $g.bin || failed=1; done
mkdir zero rows
npy zero/x.npy '<i8' '(2,)' '\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000'
cp zero/x.npy zero/i.npy
npy rows/x.npy '<f4' '(2,1)' '\000\000\000\000\000\000\000\000'
npy rows/w.npy '<f4' '(1,1)' '\000\000\000\000'
npy rows/x3.npy '<f4' '(3,1)' '\000\000\000\000\000\000\000\000\000\000\000\000'
says E0782 'node "y" (Div): integer division by 0' "$bin/flenrt" eval div.bin --in zero --out out --backend=interp
says E0701 'node "y" (Add) needs as many rows of each operand: "n" is 1, wanted is 2' "$bin/flenrt" eval add.bin --in rows --out out
mv rows/x3.npy rows/w.npy
says E0780 'node "y" (Add): operands float\[2,1\] and float\[3,1\] do not broadcast' "$bin/flenrt" eval add.bin --in rows --out out --backend=interp
says E0701 'node "y" (Add) needs as many rows of each operand: "n" is 3, wanted is 2' "$bin/flenrt" eval add.bin --in rows --out out
says E0724 'numpy has no elements of type bfloat16' "$bin/flenrt" eval half_out.bin --in rows --out out --backend=interp
says E0601 'node "u" (Unique) cannot be compiled: there is no emitter for this operator' "$bin/flenrt" eval distinct.bin --in rows --out out

# Of configurations as a whole, and of rows.
cat >t.yaml <<END
network: lr
inputs:
  label: click
  slots:
    - {name: hour, transform: hour_of_day, vocabulary: range, rows: 24}
    - {name: a, vocabulary: hash, rows: 7}
train: {data: rows.csv, batch_size: 4}
END
sed '/slots:/,$d' t.yaml >empty.yaml
echo '  slots: []' >>empty.yaml
{ cat t.yaml; echo 'linear: none'; } >terms.yaml
at 'empty.yaml:2:1' E0100 'error: network "lr" has no slot' "$bin/flenc" compile empty.yaml -o x.bin
at 'terms.yaml:1:1' E0100 'error: network "lr" has no block: no linear term, no interaction, no MLP' "$bin/flenc" compile terms.yaml -o x.bin
"$bin/flenc" compile --quiet t.yaml -o t.bin || failed=1
printf 'click,hour,a\n1,14102199,x\n0,14102103,y\n' >time.csv
printf 'click,hour,a\n7,14102102,x\n' >none.csv
says E0516 'slot "hour": "14102199" is not a time of the form YYMMDDHH' "$bin/flenrt" train t.bin --data time.csv --strict -o x.bin
at 'time.csv:2:3' E0516 'warning: slot "hour": "14102199" is not a time of the form YYMMDDHH' "$bin/flenrt" train t.bin --data time.csv -o trained.bin
at 'flenrt' E0518 'warning: 1 of 2 rows could not be read and were left out' "$bin/flenrt" train t.bin --data time.csv -o trained.bin
at 'none.csv' E0514 'error: none of the 1 rows could be read' "$bin/flenrt" train t.bin --data none.csv -o x.bin
sed 's/label: click/label: click\n  delimiter: "\\""/' t.yaml >quote.yaml
sed 's/rows: 7/rows: 3000000000/' t.yaml >many.yaml
for y in quote many; do "$bin/flenc" compile --quiet $y.yaml -o $y.bin || failed=1; done
says E0522 'the delimiter """ is not one character that can separate cells' "$bin/flenrt" prepare quote.bin time.csv -o folder
says E0523 'the table has 3000000024 rows, a cache can number 2147483647' "$bin/flenrt" prepare many.bin time.csv -o folder
"$bin/flenrt" prepare --quiet t.bin time.csv -o folder 2>/dev/null
printf 'XXXX' | dd of=folder/train bs=1 seek=60 conv=notrunc 2>/dev/null
at 'folder/train' E0520 'error: the cache is damaged: the checksum of its header is wrong' "$bin/flenrt" train folder/model.bin --data folder -o x.bin

# Predictions of weights that are finite each, and whose squares are not: only rows with several values show it.
cat >large.yaml <<END
network: fm
embedding_size: 2
init: {table: {constant: 1.5e19}}
optimizer: {class: sgd, learning_rate: 0.0001}
inputs:
  label: click
  slots: [{name: a, vocabulary: range, rows: 10, pooling: sum}, {name: b, vocabulary: range, rows: 10, pooling: sum}]
train: {data: one, batch_size: 4}
END
printf 'click:1 a:3\nclick:0 b:4\n' >one
printf 'click:1 a:3 b:2 b:3\nclick:0 a:1\n' >two
"$bin/flenc" compile --quiet large.yaml -o large.bin && "$bin/flenrt" train --quiet large.bin --data one -o large_trained.bin >out || failed=1
for backend in native interp; do
    at large_trained.bin E0721 'error: the prediction of row 0 is not finite: the model has NaN or infinite weights' "$bin/flenrt" predict large_trained.bin --data two --backend=$backend
done
at large_trained.bin E0721 'error: predictions are not finite: the model has NaN or infinite weights' "$bin/flenrt" infer large_trained.bin --data two
sed 's/1.5e19/0.5/' large.yaml >bags.yaml # rows of bags alone: as many as their offsets say
"$bin/flenc" compile --quiet bags.yaml -o bags.bin && "$bin/flenrt" train --quiet bags.bin --data one -o bags_trained.bin >out || failed=1
"$bin/flenrt" predict bags_trained.bin --data two >native && "$bin/flenrt" predict bags_trained.bin --data two --backend=interp >interp && [ "$(wc -l <native)" = 3 ] &&
    cmp native interp || { echo "FAILED: rows of bags alone"; failed=1; }
"$bin/flenc" verify bags.yaml >out 2>&1 || { echo "FAILED: verify of bags alone"; cat out; failed=1; }

# Of the machine: threads whose stacks find no room, tables that find none, a code generator that is killed.
case $(nm "$bin/flenrt" 2>/dev/null) in
*__asan_init* | *__tsan_init*) ;; # which reserve the whole address space
*)
    says E0700 'the system refuses 64 threads: ' sh -c "ulimit -v 400000; exec $bin/flenrt train t.bin --data time.csv --threads 64 -o x.bin"
    sed 's/rows: 7/rows: 100000000/' t.yaml >wide.yaml
    "$bin/flenc" compile --quiet wide.yaml -o wide.bin
    says E0001 'out of memory' sh -c "ulimit -v 1000000; exec $bin/flenrt train wide.bin --data time.csv --backend=interp -o x.bin"
    ;;
esac
exit $failed
