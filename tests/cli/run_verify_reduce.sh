#!/bin/sh
# flenc verify finds what differs and names it; flenc reduce makes it small.
. tests/support/shell.sh
config=models/flen/config.yaml

fail() {
    echo "FAILED: $*"
    cat "$dir/out" "$dir/err"
    failed=1
}

verify() {
    limited 100 "$bin/flenc" verify "$@" >"$dir/out" 2>"$dir/err"
}

# All networks: every pass, native code, native code without each pass.
for network in lr fm fwfm flen flen-official flen-paddlerec-1.8 flen-paddlerec-2; do
    verify --each-pass --set "network=$network" $config || fail "verify --each-pass, network $network"
    grep -q 'comparisons, nothing differs' "$dir/out" || fail "verify says nothing"
    [ "$(sed 's/.*: \([0-9]*\) comparisons.*/\1/' "$dir/out")" -gt 40 ] || fail "network $network: few comparisons"
done

# A table of 2.5 million rows is cut to what is looked up; whole it would take minutes and gigabytes.
verify models/bench/flen.yaml || fail "verify, a table of 320 MB"

# Rows of data: read by the schema, those that cannot be read left out; bags and their absence too; a trained model's own weights.
verify --each-pass --batch=300 --data models/sample/valid.csv.gz $config || fail "verify --data"
grep -q 'comparisons on 300 rows of models/sample/valid.csv.gz, nothing differs' "$dir/out" || fail "verify --data does not say what was read"
cat >"$dir/bags.yaml" <<'CONFIG'
network: flen
inputs:
  label: click
  slots: [{name: user}, {name: tags, pooling: mean, separator: "|"}, {name: item}]
fields: {who: [user, tags], what: [item]}
CONFIG
printf 'click,user,tags,item\n1,ann,a|b|c,x\n0,bob,,y\n1,ann,b\n0,eve,c|d,x\n' >"$dir/bags.csv"
verify --data "$dir/bags.csv" "$dir/bags.yaml" || fail "verify --data, bags"
grep -q 'on 3 rows' "$dir/out" && grep -q "bags.csv:4: warning: the row has 3 cells" "$dir/err" || fail "a bad row of --data"
"$bin/flenc" compile --quiet $config -o "$dir/new.bin" && "$bin/flenrt" train "$dir/new.bin" --data models/sample/valid.csv.gz --epochs 1 --quiet -o "$dir/trained.bin" >"$dir/out" 2>"$dir/err" || fail train
verify --data models/sample/valid.csv.gz "$dir/trained.bin" || fail "verify --data, trained weights"
for model in new trained; do # the first value that is not equal to the last bit tells whose weights were used
    verify --data models/sample/valid.csv.gz --tolerance=0 "$dir/$model.bin" && fail "verify --tolerance=0"
    sed -n 's/.*must be //p' "$dir/err" >"$dir/$model.value"
done
[ -s "$dir/new.value" ] && ! cmp -s "$dir/new.value" "$dir/trained.value" || fail "trained weights are not used"
verify --data "$dir/no.csv" $config && fail "verify --data of a file that is not there"
verify --data models/sample/valid.csv.gz "--against=$config" $config
[ $? = 2 ] || fail "verify --data --against"

# Rows that a reshape makes, and rows written over what is read once more and is the caller's.
cat >"$dir/reshape.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
g (float[batch,3,4] x) => (float[batch,3,4] y) {
   s = Constant <value_ints = [-1,4]> ()
   r = Reshape (x, s)
   a = Relu (r)
   t = Constant <value_ints = [-1,3,4]> ()
   y = Reshape (a, t)
}
GRAPH
cat >"$dir/scatter.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
g (float[8,4] x, float[2,4] u) => (float[8,4] y, float[8,4] z) {
   i = Constant <value = int64[2,1] {1, 3}> ()
   y = ScatterND (x, i, u)
   r = Relu (x)
   q = ScatterND (r, i, u)
   z = Add (r, q)
}
GRAPH
for graph in reshape scatter; do
    verify "$dir/$graph.onnxtxt" || fail "verify, $graph"
done

# ONNX Runtime, in programs that stand for python: what is missing is said, a wrong number found, and no file left over (the real one: tests/conformance).
mkdir "$dir/tmp"
cat >"$dir/graph.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
g (float[batch,4] x) => (float[batch,4] y) {
   y = Exp (x)
}
GRAPH
peer() { # the exit status must be 1, and the words be said
    printf '#!/bin/sh\n%s\n' "$1" >"$dir/python" && chmod +x "$dir/python"
    TMPDIR=$dir/tmp FLEN_PYTHON=${3:-$dir/python} verify --against=onnxruntime "$dir/graph.onnxtxt"
    [ $? = 1 ] && grep -q -- "$2" "$dir/err" || fail "verify --against=onnxruntime does not say $2"
    [ -z "$(ls "$dir/tmp")" ] || fail "files are left over"
}
peer 'exit 0' 'cannot be started \[E0257\]' "$dir/nowhere"
peer 'echo "No module named onnxruntime" >&2; exit 3' 'is not installed for .*: No module named onnxruntime \[E0257\]'
peer 'echo one; echo two; exit 1' 'does not run the exported program: two \[E0257\]'
peer 'kill -9 $$' 'died of signal 9 \[E0257\]'
peer 'exit 0' 'out.0.npy: error'
header="{'descr': '<f4', 'fortran_order': False, 'shape': (5, 4), }"
{ printf '\223NUMPY\001\000v\000'; printf '%-117s\n' "$header"; head -c 80 /dev/zero; } >"$dir/zeros.npy"
peer "cp '$dir/zeros.npy' out.0.npy" '"y" (Exp, from .*), element 0, is 0 and must be .* \[E0253\]'
peer 'printf "no graph" | cmp -s - model.onnx && exit 0; [ -s model.onnx ] && [ -s in.0.npy ] && echo both are there; exit 1' 'both are there'

# A wrong sign, in one of three places: the node is named, the rest of the graph falls away.
"$bin/flenc" dump $config -o "$dir/right.onnxtxt" 2>"$dir/err" || fail dump
sed 's/Sub (f_squared_2, q_2)/Add (f_squared_2, q_2)/' "$dir/right.onnxtxt" >"$dir/wrong.onnxtxt"
cmp -s "$dir/right.onnxtxt" "$dir/wrong.onnxtxt" && fail "nothing was made wrong"
verify --data models/sample/valid.csv.gz "$dir/right.onnxtxt" && fail "verify --data of a graph without a schema"
grep -q 'comes from none \[E' "$dir/err" || fail "a graph without a schema: another error"
verify "$dir/right.onnxtxt" "--against=$dir/right.onnxtxt" || fail "a graph differs from itself"
verify "$dir/right.onnxtxt" "--against=$dir/wrong.onnxtxt" && fail "the wrong sign is not found"
grep -q '"second_order_2" (Add' "$dir/err" || fail "the wrong node is not named"
verify "$dir/right.onnxtxt" "--against=$dir/wrong.onnxtxt" --tolerance=1e9 || fail "--tolerance"
cat >"$dir/still" <<SCRIPT
sed 's/Add (f_squared_2, q_2)/Sub (f_squared_2, q_2)/' "\$1" >"$dir/fixed.onnxtxt"
"$bin/flenc" verify --quiet "$dir/fixed.onnxtxt" "--against=\$1" 2>&1 | grep -q E0253
SCRIPT
"$bin/flenc" reduce "$dir/wrong.onnxtxt" --test "sh $dir/still" -o "$dir/small.onnxtxt" >"$dir/out" 2>"$dir/err" || fail reduce
grep -q '^1 nodes of' "$dir/err" || fail "more is left than the wrong node"
grep -q 'second_order_2 = Add (f_squared_2, q_2)' "$dir/small.onnxtxt" || fail "another node is left"
"$bin/flenc" dump "$dir/small.onnxtxt" >"$dir/out" 2>"$dir/err" || fail "the small graph is not read"

# Comment lines stay in front; the test may have its own place for the file.
{ echo "# RUN: flenc opt --passes=cse"; cat "$dir/wrong.onnxtxt"; } >"$dir/run.onnxtxt"
"$bin/flenc" reduce "$dir/run.onnxtxt" --test 'grep -q "RUN: .*cse" "$1" && grep -q Relu $1' >"$dir/out" 2>"$dir/err" || fail "reduce with \$1"
head -1 "$dir/out" | grep -q '^# RUN: flenc opt --passes=cse$' || fail "the first line was lost"

"$bin/flenc" reduce "$dir/wrong.onnxtxt" --test false >"$dir/out" 2>"$dir/err"
[ $? = 2 ] && grep -q 'does not succeed for the whole graph' "$dir/err" || fail "a test that fails at once"
"$bin/flenc" reduce "$dir/wrong.onnxtxt" >"$dir/out" 2>"$dir/err"
[ $? = 2 ] || fail "reduce without a test"
verify --batch=none $config
[ $? = 2 ] || fail "verify --batch=none"
exit $failed
