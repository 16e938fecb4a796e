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
exit $failed
