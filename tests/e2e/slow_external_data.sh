#!/bin/sh
# A table of 1.66 GB, beyond what an ONNX file holds inside: compiled from a sparse file, exported with its data beside it, checked by onnx by path, imported again. No step may take more
# than 300 MB of memory of its own: tables are mapped, not copied (a limit on data does not count files that are mapped read-only).
. tests/support/shell.sh
rows=13000000
[ "$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')" -gt 8000000 ] || { echo "skipped: less than 8 GB of room in $dir"; exit 77; }
lean() (
    ulimit -d 300000
    exec "$@"
)

truncate -s $((rows * 128)) "$dir/table"
# 1.5 in the last row's first place, 2 in row 1's.
printf '\000\000\300\077' | dd of="$dir/table" bs=1 seek=$(((rows - 1) * 128)) conv=notrunc status=none
printf '\000\000\000\100' | dd of="$dir/table" bs=1 seek=128 conv=notrunc status=none
cat >"$dir/big.onnxtxt" <<GRAPH
<ir_version: 8, opset_import: ["" : 17], metadata_props: ["ai.flen.variables": "t"]>
big (int64[batch] ids) => (float[batch] y) <float[$rows,32] t = ["location": "table", "offset": "0", "length": "$((rows * 128))"]> {
   e = Gather (t, ids)
   axes = Constant <value_ints = [1]> ()
   y = ReduceSum <keepdims = 0> (e, axes)
}
GRAPH
printf '0\n1\n%d\n' $((rows - 1)) >"$dir/ids.csv"
expect 0 "network imported" lean "$bin/flenc" compile "$dir/big.onnxtxt" -o "$dir/big.bin"
rm "$dir/table"
mkdir "$dir/exported"
lean "$bin/flenc" export "$dir/big.bin" -o "$dir/exported/big.onnx" || fail "export"
rm "$dir/big.bin"
[ "$(wc -c <"$dir/exported/big.onnx")" -lt 10000 ] || fail "the graph's file holds the table"
[ "$(wc -c <"$dir/exported/big.onnx.data")" = $((rows * 128)) ] || fail "the data's file has another size than the table"
if "${FLEN_PYTHON:-python3}" -c 'import onnx' 2>/dev/null; then
    "${FLEN_PYTHON:-python3}" -c 'import sys, onnx; onnx.checker.check_model(sys.argv[1])' "$dir/exported/big.onnx" || fail "onnx.checker"
else
    echo "note: no onnx for $(command -v "${FLEN_PYTHON:-python3}"): its checker was not asked"
fi
expect 0 "network imported" lean "$bin/flenc" compile "$dir/exported/big.onnx" -o "$dir/again.bin"
lean "$bin/flenrt" predict "$dir/again.bin" --data "$dir/ids.csv" --threads 1 >"$dir/got.csv" || fail "predict"
printf 'row,y\n0,0\n1,2\n2,1.5\n' | cmp -s - "$dir/got.csv" || { fail "other sums than were written"; cat "$dir/got.csv"; }
finish
