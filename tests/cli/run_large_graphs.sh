#!/bin/sh
# 10,000 nodes go through all passes in about a second, and 40,000 in about four times as long: no pass is quadratic. Limits leave room for builds
# with asserts and for busy machines; a quadratic pass would break them tenfold.
bin=$1
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
failed=0

# A deep network of N nodes for prediction, and its training program.
predict() {
    awk -v n="$1" 'BEGIN {
        print "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1], metadata_props: [\"ai.flen.variables\": \"t,w\"]>"
        print "g (int64[batch,4] ids, float[100,16] t, float[16,16] w) => (float[batch,1] logit) {"
        print "e = Gather (t, ids)\nax = Constant <value_ints = [1]> ()\nx0 = ReduceSum <keepdims = 0> (e, ax)"
        for (i = 0; 6 * i < n; i++) {
            print "m" i " = MatMul (x" i ", w)\na" i " = Add (m" i ", x" i ")\ns" i " = Constant <value_ints = [4, 12]> ()"
            print "p" i ", q" i " = Split <axis = 1> (a" i ", s" i ")\nc" i " = Concat <axis = 1> (q" i ", p" i ")\nx" i + 1 " = Relu (c" i ")"
        }
        print "logit = ReduceSum <keepdims = 1> (x" i ", ax)\n}"
    }'
}

train() {
    awk -v n="$1" 'BEGIN {
        for (i = 0; 12 * i < n; i++) {
            names = names (i ? "," : "") "w" i
            inputs = inputs ", float[16,16] w" i
            p = p (i ? "," : "") "{\\\"variable\\\":\\\"w" i "\\\",\\\"rule\\\":\\\"adagrad\\\",\\\"init\\\":\\\"normal\\\",\\\"lr\\\":0.1,\\\"epsilon\\\":1e-6,\\\"init_b\\\":0.1}"
        }
        print "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1],"
        print " metadata_props: [\"ai.flen.variables\": \"" names "\", \"ai.flen.params\": \"[" p "]\"]>"
        print "g (float[batch,16] a" inputs ") => (float[batch,16] logit, float loss) {\nx0 = Relu (a)"
        for (i = 0; 12 * i < n; i++)
            print "s" i " = MatMul (x" i ", w" i ")\nx" i + 1 " = Relu (s" i ")"
        print "logit = Sigmoid (x" i ")\nax = Constant <value_ints = [0, 1]> ()\nloss = ReduceMean <keepdims = 0> (logit, ax)\n}"
    }'
}

# milliseconds PROGRAM N: of the processor, for all its passes (the machine may be busy); the better of two runs.
milliseconds() {
    $1 "$2" >"$dir/g.onnxtxt"
    passes="$("$bin/flenc" opt --print-pipeline="$1"),$("$bin/flenc" opt --print-pipeline=schedule)"
    for run in 1 2; do
        (
            timeout 100 "$bin/flenc" opt "--passes=$passes" "$dir/g.onnxtxt" -o "$dir/out.onnxtxt" 2>"$dir/err" || { cat "$dir/err" >&2; echo 1000000; exit; }
            times >"$dir/times" # not in a pipe: that would be the times of another shell
            awk 'NR == 2 { split($1, t, /[ms]/); printf "%d\n", t[1] * 60000 + t[2] * 1000 + 1 }' "$dir/times"
        )
    done | sort -n | head -1
}

for program in predict train; do
    small=$(milliseconds $program 10000)
    large=$(milliseconds $program 40000)
    echo "$program: 10,000 nodes in $small ms, 40,000 in $large ms"
    [ "$small" -lt 8000 ] || { echo "FAILED: $program: $small ms for 10,000 nodes"; failed=1; }
    [ "$large" -lt $((10 * small + 2000)) ] || { echo "FAILED: $program: time grows faster than the graph"; failed=1; }
done
exit $failed
