#!/bin/sh
# flenrt profile as a person meets it: tables, the trace and the flame view, wrong words. What the numbers must hold to is in unit/test_profile.c.
. tests/support/shell.sh

"$bin/flenrt" generate --rows 3000 --ids 1000 --seed 7 --quiet -o "$dir/rows.csv" || exit 1
"$bin/flenc" compile models/flen/config.yaml -o "$dir/fresh.bin" --quiet && "$bin/flenrt" prepare "$dir/fresh.bin" "$dir/rows.csv" -o "$dir/data" --quiet || exit 1
model=$dir/data/model.bin

expect 2 '--steps cannot be "0"' "$bin/flenrt" profile "$model" --steps 0
expect 2 '--trace-steps cannot be "-1"' "$bin/flenrt" profile "$model" --trace-steps=-1
expect 2 '--skew cannot be "x"' "$bin/flenrt" profile "$model" --skew x
expect 2 'the interpreter has no code to profile' "$bin/flenrt" profile "$model" --backend=interp
expect 2 'did you mean "--trace-steps"?' "$bin/flenrt" profile "$model" --trase-steps 3
expect 1 "none.bin: error: cannot open" "$bin/flenrt" profile "$dir/none.bin" -o "$dir/p"
expect 1 "has no size yet" "$bin/flenrt" profile "$dir/fresh.bin" -o "$dir/p"
expect 1 "3000 rows are fewer than a batch of 4000 [E0722]" "$bin/flenrt" profile "$model" --batch 4000 --data "$dir/data/train" -o "$dir/p"
expect 1 "cannot make the folder" "$bin/flenrt" profile "$model" -o "$dir/no/such"
expect 2 "[E0002]" "$bin/flenrt" profile "$model" --train --batch 0

# Both programs; each has its trace and its page, and tables name nodes of the graph.
expect 0 "predict, batch 256, 2 threads, 4 steps: a step takes" "$bin/flenrt" profile "$model" --batch 256 --threads 2 --steps 4 -o "$dir/p"
grep -q '^train, batch 256, 2 threads, 4 steps' "$dir/out" || fail "the training program was not profiled"
grep -q ' train_0  *[A-Za-z ]*: ' "$dir/out" && grep -q ' predict_0 .*Sigmoid: .*probability$' "$dir/out" || fail "the tables name no nodes"
grep -q ' 100.0%  all$' "$dir/out" || fail "the table has no sum"
[ "$(ls "$dir/p" | tr '\n' ' ')" = "predict.flame.html predict.trace.json train.flame.html train.trace.json " ] || fail "files: $(ls "$dir/p")"

# JSON instead; one program; people's rows; the default folder.
(cd "$dir" && "$bin/flenrt" profile "$model" --infer --data "$dir/data/train" --steps 2 --trace-steps 1 --threads 1 --json >"$dir/lines" 2>"$dir/err") || fail "profile --json"
[ -s "$dir/profile/predict.trace.json" ] && [ ! -e "$dir/profile/train.trace.json" ] || fail "the default folder has $(ls "$dir/profile")"
[ "$(grep -c '"cat":"step"' "$dir/profile/predict.trace.json")" = 1 ] || fail "--trace-steps 1"
grep -q '{"event":"part","program":"predict","segment":"predict_0","nodes":\["' "$dir/lines" || fail "no parts in the lines"
grep -q '{"event":"profile","program":"predict","batch":512,"threads":1,"steps":2,' "$dir/lines" || fail "no sum in the lines"
grep -qF '{"event":"saved","path":"profile/predict.flame.html"}' "$dir/lines" || fail "the page is not told"
if command -v python3 >/dev/null; then
    for file in "$dir"/p/*.json "$dir/profile/predict.trace.json"; do
        python3 -m json.tool "$file" >/dev/null || fail "$file is not JSON"
    done
    python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <"$dir/lines" || fail "a line of --json is not JSON"
fi

# A model that cannot be trained has one program; asking for the other is an error.
printf 'g (float[batch,4] x) => (float[batch,4] y) {\n   y = Relu (x)\n}\n' >"$dir/relu.onnxtxt"
"$bin/flenc" compile "$dir/relu.onnxtxt" -o "$dir/relu.bin" --quiet || fail "compile of a graph"
expect 1 "has no train program" "$bin/flenrt" profile "$dir/relu.bin" --train -o "$dir/p"
expect 0 "wrote $dir/p/predict.trace.json" "$bin/flenrt" profile "$dir/relu.bin" -o "$dir/p" # rows of tensors

[ $failed = 0 ] && echo "all as expected"
exit $failed
