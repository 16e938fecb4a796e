#!/bin/sh
# `flenc verify --against=onnxruntime`: every network, drawn rows and rows of data, bags, an imported graph; and that a difference would be seen. $FLEN_PYTHON (default
# python3) needs onnxruntime and numpy; skipped without (what is said then: tests/cli/run_verify_reduce.sh).
. tests/support/shell.sh
need_python onnxruntime numpy
TMPDIR=$dir/tmp
export TMPDIR
mkdir "$TMPDIR"
config=models/flen/config.yaml

agrees() {
    limited 100 "$bin/flenc" verify --against=onnxruntime "$@" >"$dir/out" 2>"$dir/err" && grep -q ': 2 comparisons' "$dir/out" && return
    echo "FAILED: verify $*"
    cat "$dir/out" "$dir/err"
    failed=1
}

for network in lr fm fwfm flen flen-official flen-paddlerec-1.8 flen-paddlerec-2; do
    agrees --set "network=$network" $config
done
agrees --data models/sample/valid.csv.gz --batch=300 $config
cat >"$dir/bags.yaml" <<'CONFIG'
network: flen
inputs:
  label: click
  slots: [{name: user}, {name: tags, pooling: mean, separator: "|"}, {name: item}]
fields: {who: [user, tags], what: [item]}
CONFIG
printf 'click,user,tags,item\n1,ann,a|b|c,x\n0,bob,,y\n1,ann,b,y\n0,eve,c|d,x\n' >"$dir/bags.csv"
agrees "$dir/bags.yaml"
agrees --data "$dir/bags.csv" "$dir/bags.yaml"
agrees models/bench/flen.yaml
"$bin/flenc" export $config -o "$dir/flen.onnx" --quiet && agrees "$dir/flen.onnx"

limited 100 "$bin/flenc" verify --against=onnxruntime --tolerance=0 $config >"$dir/out" 2>"$dir/err"
[ $? = 1 ] && grep -q 'ONNX Runtime: "logit" (.*, is .* and must be .* \[E0253\]' "$dir/err" || { echo "FAILED: rounding is no difference at tolerance 0"; cat "$dir/err"; failed=1; }
[ -z "$(ls "$TMPDIR")" ] || { echo "FAILED: files are left over"; failed=1; }
exit $failed
