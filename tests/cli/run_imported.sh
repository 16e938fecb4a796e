#!/bin/sh
# Imported models as their user meets them: predict from .npy, CSV with and without a header; bench and profile with drawn and given tensors.
. tests/support/shell.sh

same() { # WHAT WANTED
    cmp -s "$dir/out" "$2" || { echo "FAILED: $1: not what was expected"; diff "$dir/out" "$2"; failed=1; }
}

# Two tables of different length behind a matrix of ids, one with an offset; two outputs, of one number and of two.
cat >"$dir/two.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
two (float[batch,1] dense, int64[batch,2] ids) => (float[batch] y, float[batch,2] e)
<float[3,2] t = {0.5, 1, 2, 3, 4, 5}, float[5,2] u = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, int64[1] minus = {-7}> {
   first = Constant <value_int = 0> ()
   second = Constant <value_int = 1> ()
   i = Gather <axis = 1> (ids, first)
   j = Gather <axis = 1> (ids, second)
   k = Add (j, minus)
   a = Gather (t, i)
   b = Gather (u, k)
   e = Add (a, b)
   s = Add (e, dense)
   axes = Constant <value_ints = [1]> ()
   y = ReduceSum <keepdims = 0> (s, axes)
}
GRAPH
expect 0 "network imported" "$bin/flenc" compile "$dir/two.onnxtxt" -o "$dir/two.bin"
printf '0.5,0,7\n-1,2,11\n\n0.25,1,9\n' >"$dir/plain.csv"
printf 'row,y,e.0,e.1\n0,32.5,10.5,21\n1,197,94,105\n2,115.5,52,63\n' >"$dir/wanted.csv"
for backend in native interp; do
    expect 0 "row,y,e.0,e.1" "$bin/flenrt" predict "$dir/two.bin" --data "$dir/plain.csv" --backend=$backend
    same "predict from numbers on $backend" "$dir/wanted.csv"
done
printf 'label\tids.1\tdense\tids.0\nno\t7\t0.5\t0.0\nno\t11\t-1\t2.0\nno\t9\t2.5e-1\t1\n' >"$dir/named.tsv"
expect 0 "row,y" "$bin/flenrt" predict "$dir/two.bin" --data "$dir/named.tsv" --batch 2
same "predict from named columns" "$dir/wanted.csv"
gzip -c "$dir/named.tsv" >"$dir/named.tsv.gz"
expect 0 '{"event":"row","row":1,"y":197,"e":[94,105]}' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/named.tsv.gz" --json

# numpy's form: magic, version, length of the header, header of 118 bytes, numbers.
npy() {
    printf '\223NUMPY\001\000\166\000' >"$1"
    printf "%-117s\n" "{'descr': '$2', 'fortran_order': False, 'shape': $3, }" >>"$1"
    printf "$4" >>"$1"
}
mkdir "$dir/in"
npy "$dir/in/dense.npy" '<f4' '(1, 1)' '\000\000\000\077'
npy "$dir/in/ids.npy" '<i8' '(1, 2)' '\000\000\000\000\000\000\000\000\007\000\000\000\000\000\000\000'
"$bin/flenrt" predict "$dir/two.bin" --data "$dir/in" -o "$dir/p.csv"
grep -q '^0,32.5,10.5,21$' "$dir/p.csv" 2>/dev/null || { echo "FAILED: predict -o of a folder of .npy"; failed=1; }
expect 1 'one array, but the model has 2 inputs' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/in/ids.npy"
rm "$dir/in/dense.npy"
expect 1 'input "dense" is float[batch,1]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/in"

# What does not fit is told with its place.
printf '0.5,0,7\n0.5,3,7\n' >"$dir/bad.csv"
expect 1 '3, the table "t" has rows 0 to 2 [E0725]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
printf '0.5,0,7\n0.5,1.5,7\n' >"$dir/bad.csv"
expect 1 'bad.csv:2:5: error: "1.5" is no number of type int64, which input "ids" has [E0725]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
printf '0.5,0\n' >"$dir/bad.csv"
expect 1 'bad.csv:1:5: error: the row ends before its 3 columns do [E0725]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
printf '0.5,0,7,1\n' >"$dir/bad.csv"
expect 1 'bad.csv:1:7: error: the row has more than 3 columns [E0725]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
printf 'dense,ids.0\n0,0\n' >"$dir/bad.csv"
expect 1 'there is no column "ids.1"' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
printf '0.5,0,7\n' >"$dir/bad1.csv"
: >"$dir/bad.csv"
expect 1 'there are no rows [E0725]' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/bad.csv"
expect 1 'cannot open' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/nothing"
expect 1 '--logit: an imported model has the outputs that it has' "$bin/flenrt" predict "$dir/two.bin" --data "$dir/plain.csv" --logit
expect 1 '`flenrt predict`, `bench` and `eval` work with an imported model' "$bin/flenrt" run "$dir/two.bin"
expect 1 '`flenrt predict`, `bench` and `eval` run an imported model on tensors' "$bin/flenrt" infer "$dir/two.bin" --data "$dir/plain.csv"

# Drawn ids stay within the tables, offset included: those outside would be refused before a run. A row is looked up twice, 8 bytes each, beside 20 of inputs.
expect 0 '"rows_per_sample":2.00,"bytes_per_sample":' "$bin/flenrt" bench "$dir/two.bin" --infer --batch 1,64 --threads 1 --seconds 0.02 --json --quiet
grep -c '"bench":"infer","batch":\(1\|64\),"threads":1,"p50_us":.*"share_of_limit":' "$dir/out" | grep -qx 2 || { echo "FAILED: bench, two settings"; failed=1; }
expect 0 '"backend":"interp"' "$bin/flenrt" bench "$dir/two.bin" --infer --batch 2 --threads 1 --seconds 0.02 --json --quiet --backend=interp
expect 0 '"rows":"'"$dir/plain.csv"'"' "$bin/flenrt" bench "$dir/two.bin" --infer --batch 3 --threads 1 --seconds 0.02 --json --data "$dir/plain.csv"
expect 1 '3 rows are fewer than a batch of 4 [E0722]' "$bin/flenrt" bench "$dir/two.bin" --infer --batch 4 --data "$dir/plain.csv"
expect 1 'no train program' "$bin/flenrt" bench "$dir/two.bin" --train
expect 1 'no train program' "$bin/flenrt" bench "$dir/two.bin" --epoch --data "$dir/plain.csv"
expect 0 "wrote" "$bin/flenrt" profile "$dir/two.bin" --batch 8 --steps 3 -o "$dir/profile"

# Ids may be floats, may lie in 32 bits, and some have no rows of their own.
cat >"$dir/kinds.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
kinds (int32[n] ids, float[m,3] mixed, float[4] same) => (float[n,4] y)
<float[6,4] t = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}> {
   a = Gather (t, ids)
   start = Constant <value_ints = [1]> ()
   end = Constant <value_ints = [3]> ()
   part = Slice (mixed, start, end, start)
   other = Cast <to = 7> (part)
   b = Gather (t, other)
   r = ReduceSum <keepdims = 0> (b, start)
   w = Mul (r, same)
   y = Add (a, w)
}
GRAPH
expect 0 "network imported" "$bin/flenc" compile "$dir/kinds.onnxtxt" -o "$dir/kinds.bin"
expect 0 '"rows_per_sample":3.00' "$bin/flenrt" bench "$dir/kinds.bin" --infer --batch 4 --threads 1 --seconds 0.02 --json --quiet
expect 1 'input "same" has no rows that lines could be' "$bin/flenrt" predict "$dir/kinds.bin" --data "$dir/plain.csv"

# A dimension beside the batch has to be said.
printf '0,1,2,5\n' >"$dir/nodes.csv"
cat >"$dir/long.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
long (int32[n,len] seq) => (float[n,4] y) <float[6,4] t = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}> {
   a = Gather (t, seq)
   axes = Constant <value_ints = [1]> ()
   y = ReduceSum <keepdims = 0> (a, axes)
}
GRAPH
expect 0 "network imported" "$bin/flenc" compile "$dir/long.onnxtxt" -o "$dir/long.bin"
expect 1 'input "seq" has a dimension "len" beside the batch [E0725]' "$bin/flenrt" bench "$dir/long.bin" --infer --seconds 0.02
expect 1 '--dim: no input has a dimension "length"' "$bin/flenrt" bench "$dir/long.bin" --infer --seconds 0.02 --dim length=3
expect 0 '"rows_per_sample":5.00' "$bin/flenrt" bench "$dir/long.bin" --infer --batch 4 --threads 1 --seconds 0.02 --dim len=5 --json --quiet
expect 0 "0,32,36,40,44" "$bin/flenrt" predict "$dir/long.bin" --data "$dir/nodes.csv" --dim len=4
expect 1 'input "seq" has a dimension "len" beside the batch [E0725]' "$bin/flenrt" predict "$dir/long.bin" --data "$dir/nodes.csv"

# Without a symbol there is one run, of all rows that the inputs share.
sed 's/batch/3/g' "$dir/two.onnxtxt" >"$dir/fixed.onnxtxt"
expect 0 "network imported" "$bin/flenc" compile "$dir/fixed.onnxtxt" -o "$dir/fixed.bin"
expect 0 '"batch":3,' "$bin/flenrt" bench "$dir/fixed.bin" --infer --threads 1 --seconds 0.02 --json --quiet
expect 1 'no input has a symbol for the batch: --batch cannot be chosen' "$bin/flenrt" bench "$dir/fixed.bin" --infer --batch 2 --seconds 0.02
expect 0 "row,y,e.0,e.1" "$bin/flenrt" predict "$dir/fixed.bin" --data "$dir/plain.csv"
same "predict of a model with three rows" "$dir/wanted.csv"
expect 1 'input "dense" is float[3,1], the tensor is float[1,1]' "$bin/flenrt" predict "$dir/fixed.bin" --data "$dir/bad1.csv"
finish
