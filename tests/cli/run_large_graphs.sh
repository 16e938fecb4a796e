#!/bin/sh
# 10,000 nodes go through all passes in less than a second, and 40,000 in about four times as long, whatever the graph's shape: no pass is quadratic.
# Limits leave room for builds with asserts and for busy machines; a quadratic pass would break them tenfold.
# sh tests/cli/run_large_graphs.sh BIN_DIR [NODES [KIND...]] -- NODES instead of 40,000, of these kinds of graph alone.
. tests/support/shell.sh
large=${2:-40000}
[ $# -lt 2 ] || shift
shift
kinds=${*:-predict train slots tables split concat sum squares attributes constants outputs}

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

# shape KIND N: graphs that are large in one way alone.
shape() {
    awk -v kind="$1" -v n="$2" '
    function from(i, first) { return i == 0 ? first : "s" i - 1 }
    BEGIN {
        inputs = "float[batch,4] x"; outputs = "float[batch,4] y"; last = n / 3 - 1
        if (kind == "slots") { outputs = "float[batch,8] y"; variables = "t"; inputs = "float[100,8] t"; for (i = 0; i < n / 6; i++) inputs = inputs ", int64[batch,2] i" i }
        if (kind == "tables") { outputs = "float[batch,8] y"; inputs = "int64[batch] i"; for (i = 0; i < n / 3; i++) { inputs = inputs ", float[9,8] t" i; variables = variables (i ? "," : "") "t" i } }
        if (kind == "split") inputs = "float[batch," n "] x"
        if (kind == "split") outputs = "float[batch,1] y"
        if (kind == "concat") outputs = "float[batch," 4 * int((n + 2) / 3) "] y"
        if (kind == "attributes") { variables = "w"; inputs = inputs ", float[4,4] w" }
        if (kind == "outputs") { outputs = ""; for (i = 0; i < n / 2; i++) outputs = outputs (i ? ", " : "") "float[batch,4] y" i }
        print "<ir_version: 8, opset_import: [\"\": 20, \"ai.flen\": 1], metadata_props: [\"ai.flen.variables\": \"" variables "\"]>"
        print "g (" inputs ") => (" outputs ") {\nax = Constant <value_ints = [1]> ()"
        if (kind == "split") {
            for (i = 0; i < n; i++) { sizes = sizes (i ? "," : "") 1; parts = parts (i ? "," : "") "p" i }
            print "sizes = Constant <value_ints = [" sizes "]> ()\n" parts " = Split <axis = 1> (x, sizes)\ny = Sum (" parts ")\n}"
            exit
        }
        for (i = 0; kind == "slots" && i < n / 6; i++) {
            print "e" i " = Gather (t, i" i ")\nf" i " = ReduceSum <keepdims = 0> (e" i ", ax)\nq" i " = Mul (e" i ", e" i ")"
            print "r" i " = ReduceSum <keepdims = 0> (q" i ", ax)\nz" i " = Tanh (f" i ")\ns" i " = Add (" from(i, "r0") ", z" i ")"
            last = i
        }
        for (i = 0; kind == "outputs" && i < n / 2; i++) print "s" i " = Tanh (" from(i, "x") ")\ny" i " = Relu (s" i ")"
        for (i = 0; kind != "slots" && kind != "outputs" && i < n / 3; i++) {
            if (kind == "tables") print "e" i " = Gather (t" i ", i)\nz" i " = Tanh (e" i ")\ns" i " = Add (" from(i, "z0") ", z" i ")"
            if (kind == "squares") print "a" i " = Tanh (" from(i, "x") ")\nq" i " = Mul (a" i ", a" i ")\ns" i " = Add (q" i ", x)"
            if (kind == "attributes") print "a" i " = Gemm <alpha = " i ".5> (x, w)\ns" i " = Add (" from(i, "x") ", a" i ")"
            if (kind == "constants") print "c" i " = Constant <value = float[4] {" i ", 1, 2, 3}> ()\nd" i " = Add (c" i ", c" i ")\ns" i " = Add (" from(i, "x") ", d" i ")"
            if (kind == "sum" || kind == "concat") print "c" i " = Constant <value_float = " i ".5> ()\na" i " = Mul (x, c" i ")"
            joined = joined (i ? "," : "") "a" i
            last = i
        }
        if (kind == "sum") print "y = Sum (" joined ")"
        else if (kind == "concat") print "y = Concat <axis = 1> (" joined ")"
        else if (kind != "outputs") print "y = Relu (s" last ")"
        print "}"
    }'
}

# milliseconds PROGRAM N: of the processor, for all its passes (the machine may be busy); the better of two runs.
milliseconds() {
    case $1 in
    predict | train) pipeline=$1 runs="1 2" && $1 "$2" >"$dir/g.onnxtxt" ;;
    *) pipeline=predict runs=1 && shape "$1" "$2" >"$dir/g.onnxtxt" ;;
    esac
    passes="$("$bin/flenc" opt --print-pipeline="$pipeline"),$("$bin/flenc" opt --print-pipeline=schedule)"
    for run in $runs; do
        (
            ulimit -t 100 # of the processor's time, too
            "$bin/flenc" opt "--passes=$passes" "$dir/g.onnxtxt" -o "$dir/out.onnxtxt" 2>"$dir/err" || { cat "$dir/err" >&2; echo 1000000; exit; }
            times >"$dir/times" # not in a pipe: that would be the times of another shell
            awk 'NR == 2 { split($1, t, /[ms]/); printf "%d\n", t[1] * 60000 + t[2] * 1000 + 1 }' "$dir/times"
        )
    done | sort -n | head -1
}

# A graph N times as large may take N times as long, and room for caches that it no longer fits into.
for program in $kinds; do
    before=$(milliseconds $program 10000)
    after=$(milliseconds $program "$large")
    echo "$program: 10000 nodes in $before ms, $large in $after ms"
    [ "$before" -lt 8000 ] || fail "$program: $before ms for 10,000 nodes"
    [ "$after" -lt $((before * large / 4000 + 2000)) ] || fail "$program: time grows faster than the graph"
done
finish
