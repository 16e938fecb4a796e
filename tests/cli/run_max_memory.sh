#!/bin/sh
# Graphs of a few bytes that ask for terabytes: refused by node and size, on both backends, at once and in little memory.
. tests/support/shell.sh

fail() {
    echo "FAILED: $*"
    cat "$dir/out" "$dir/err"
    failed=1
}

# x: float[1], 1.
mkdir "$dir/in"
printf '\223NUMPY\001\000\166\000' >"$dir/in/x.npy"
printf "%-117s\n\000\000\200\077" "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }" >>"$dir/in/x.npy"

# graph NAME BODY: the body makes y from x and the vectors huge (2^20, 2^20) and wide (2^40).
graph() {
    cat >"$dir/$1.onnxtxt" <<GRAPH
<ir_version: 8, opset_import: ["" : 20]>
$1 (float[1] x) => (float[n] y) {
   huge = Constant <value_ints = [1048576, 1048576]> ()
   wide = Constant <value_ints = [1099511627776]> ()
   all = Constant <value_ints = [-1]> ()
   $2
   flat = Reshape (big, all)
   zero = Constant <value_ints = [0]> ()
   y = Gather (flat, zero)
}
GRAPH
    limited 20 "$bin/flenc" compile "$dir/$1.onnxtxt" -o "$dir/$1.bin" --quiet >"$dir/out" 2>"$dir/err" || fail "compile $1"
}

# refused NAME NODE BACKEND [OPTION]: one line that names the node, and a hint; in 20 s, with at most 2 GB of addresses where nothing is generated.
refused() {
    limited 20 "$bin/flenrt" eval "$dir/$1.bin" --in "$dir/in" --out "$dir/tensors" --backend="$3" ${4:-} >"$dir/out" 2>"$dir/err"
    status=$?
    [ $status = 1 ] || fail "$1 on $3 ${4:-}: status $status"
    [ "$(grep -c 'error:' "$dir/err")" = 1 ] || fail "$1 on $3 ${4:-}: not one line"
    grep -q "node \"[a-z]*\" ($2): .* takes .*\[E0784\]\|variable \"derived.zeros\" takes .*\[E0784\]" "$dir/err" || fail "$1 on $3 ${4:-}: node and size are not named"
}

graph constant_of_shape 'zeros = ConstantOfShape (huge)
   big = Add (zeros, x)'
graph expand 'big = Expand (x, huge)'
graph tile 'one_by_one = Constant <value_ints = [1, 1]> ()
   square = Reshape (x, one_by_one)
   big = Tile (square, huge)'
graph range 'one = Squeeze (x)
   none = Sub (one, one)
   many = Constant <value_float = 1e12> ()
   end = Mul (one, many)
   big = Range (none, end, one)'
graph pad 'one_by_one = Constant <value_ints = [1, 1]> ()
   square = Reshape (x, one_by_one)
   behind = Constant <value_ints = [0, 0, 1048576, 1048576]> ()
   big = Pad (square, behind)'
graph one_hot 'count = Constant <value_ints = [1048576]> ()
   first = Cast <to = 7> (x)
   index = Expand (first, count)
   depth = Constant <value_int = 1048576> ()
   values = Constant <value_floats = [0.0, 1.0]> ()
   big = OneHot (index, depth, values)'
graph matmul 'column_shape = Constant <value_ints = [1048576, 1]> ()
   row_shape = Constant <value_ints = [1, 1048576]> ()
   column = Expand (x, column_shape)
   row = Expand (x, row_shape)
   big = MatMul (column, row)'
for option in '' --max-memory=100M; do
    refused constant_of_shape ConstantOfShape interp $option
    refused expand Expand interp $option
    refused tile Tile interp $option
    refused range Range interp $option
    refused pad Pad interp $option
    refused one_hot OneHot interp $option
    refused matmul MatMul interp $option
    for name in constant_of_shape:ConstantOfShape expand:Expand tile:Tile matmul:MatMul; do
        refused ${name%:*} ${name#*:} native $option
    done
done

# A row of a terabyte is no row.
sed -e 's/big = Expand.*/big = Tile (x, wide)/' "$dir/expand.onnxtxt" >"$dir/row.onnxtxt"
limited 20 "$bin/flenc" compile "$dir/row.onnxtxt" -o "$dir/row.bin" >"$dir/out" 2>"$dir/err" && fail "a row of 2^40 elements is compiled"
grep -q 'error: node "big" (Tile): a row of its result has 1099511627776 elements, .*E0256' "$dir/err" || fail "the row is not named"

# What fits runs, and the same graph is refused where it may have less.
cat >"$dir/fits.onnxtxt" <<'GRAPH'
<ir_version: 8, opset_import: ["" : 20]>
fits (float[1] x) => (float[1] y) {
   shape = Constant <value_ints = [1000, 1000]> ()
   axes = Constant <value_ints = [0, 1]> ()
   big = Expand (x, shape)
   wide = Exp (big)
   sum = ReduceMax <keepdims = 0> (wide, axes)
   one = Constant <value_ints = [1]> ()
   y = Reshape (sum, one)
}
GRAPH
limited 20 "$bin/flenc" compile "$dir/fits.onnxtxt" -o "$dir/fits.bin" --quiet >"$dir/out" 2>"$dir/err" || fail "compile fits"
for backend in interp native; do
    limited 20 "$bin/flenrt" eval "$dir/fits.bin" --in "$dir/in" --out "$dir/tensors" --backend=$backend --max-memory=100M >"$dir/out" 2>"$dir/err" || fail "4 MB in 100 MB on $backend"
done
refused fits Expand interp --max-memory=1M

# A table that nobody could hold, and one that fits in the machine but not in the limit.
for rows in 1000000000000 4000000; do
    "$bin/flenc" compile models/flen/config.yaml --set "inputs.defaults.vocabulary=hash" --set "inputs.defaults.rows=$rows" -o "$dir/table.bin" --quiet >"$dir/out" 2>"$dir/err" ||
        fail "compile a table of $rows rows"
    limited 20 "$bin/flenrt" bench "$dir/table.bin" --train --max-memory=200M >"$dir/out" 2>"$dir/err"
    [ $? = 1 ] || fail "a table of $rows rows is not refused"
    grep -q 'variable "[a-z.]*" takes .*and they may take 200 MB \[E0784\]' "$dir/err" || fail "a table of $rows rows is not named"
done

# flenc verify runs graphs, too.
limited 60 "$bin/flenc" verify "$dir/expand.onnxtxt" --max-memory=100M >"$dir/out" 2>"$dir/err"
[ $? = 1 ] || fail "verify runs a terabyte"
grep -q 'node "big" (Expand): .* takes .*E0784' "$dir/err" || fail "verify does not name the node"
for wrong in 0 -1 12X ''; do
    "$bin/flenrt" eval "$dir/fits.bin" --in "$dir/in" --out "$dir/tensors" "--max-memory=$wrong" >"$dir/out" 2>"$dir/err"
    [ $? = 2 ] || fail "--max-memory=$wrong is taken"
    "$bin/flenc" verify "$dir/fits.onnxtxt" "--max-memory=$wrong" >"$dir/out" 2>"$dir/err"
    [ $? = 2 ] || fail "verify --max-memory=$wrong is taken"
done
exit $failed
