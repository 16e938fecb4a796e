#!/bin/sh
# Functions that passes outline: what the optimised programs show, and that the programs which run are the same bytes with them and without.
. tests/support/shell.sh

# The paper's network: one function of look-ups and interaction, the linear layers, the last of which is one with its sigmoid, and nothing else.
"$bin/flenc" dump models/flen/config.yaml --program=predict --stage=optimised -o "$dir/flen.onnxtxt" || fail "dump"
sed -n '/^predict (/,/^}/p' "$dir/flen.onnxtxt" | sed '1d;$d; s/^ *[^=]* = \([A-Za-z.]*\).*/\1/' >"$dir/operators"
printf 'ai.flen.EmbeddingInteraction\nai.flen.Linear\nai.flen.Linear\nai.flen.Linear\nai.flen.OutputLayer\n' | cmp -s - "$dir/operators" ||
    { fail "the optimised network has other nodes"; cat "$dir/operators"; }
"$bin/flenc" dump --functions "$dir/flen.onnxtxt" -o "$dir/again.onnxtxt" && cmp "$dir/flen.onnxtxt" "$dir/again.onnxtxt" || fail "the text does not read back"
[ "$("$bin/flenc" dump models/flen/config.yaml --stage=forward | wc -l)" -lt 60 ] || fail "the forward graph has 60 lines or more"

# The same programs, schedules included: code is made of nothing else.
n=0
for model in models/*/*.yaml tests/conformance/torch_models/*/model.onnx; do
    "$bin/flenc" compile --quiet "$model" -o "$dir/model.bin" 2>/dev/null || continue
    for program in predict folded prologue folding train init; do
        "$bin/flenc" dump "$dir/model.bin" --program=$program --no-functions >"$dir/with.$program" 2>/dev/null || rm -f "$dir/with.$program"
    done
    "$bin/flenc" compile --quiet --disable=fuse-embedding,fuse-output "$model" -o "$dir/model.bin" || fail "$model without functions"
    for program in predict folded prologue folding train init; do
        [ -e "$dir/with.$program" ] || continue
        "$bin/flenc" dump "$dir/model.bin" --program=$program --no-functions >"$dir/without"
        cmp -s "$dir/with.$program" "$dir/without" || { fail "$model: another $program program"; diff "$dir/with.$program" "$dir/without" | cut -c1-200 | head -5; }
        n=$((n + 1))
    done
done
echo "$n programs are the same"
[ $n -gt 80 ] || fail "only $n programs were compared"

# The interpreter runs calls; pictures and files have them.
"$bin/flenc" verify models/flen/config.yaml >"$dir/log" 2>&1 && grep -q . "$dir/log" || { fail "verify"; tail -3 "$dir/log"; }
"$bin/flenc" explain models/flen/config.yaml h_2 >"$dir/log" 2>&1 && grep -q 'fuse-embedding took it away' "$dir/log" && grep -q 'inline-functions made it again' "$dir/log" ||
    { fail "explain"; cat "$dir/log"; }
for format in dot json html; do
    "$bin/flenc" dump models/flen/config.yaml --stage=optimised --cost --format=$format >"$dir/picture" && grep -q EmbeddingInteraction "$dir/picture" || fail "$format"
done
grep -q FieldPool "$dir/picture" || fail "html without the function's body"
"$bin/flenc" dump models/flen/config.yaml --stage=optimised --format=onnx >"$dir/flen.onnx" && "$bin/flenc" dump --plain "$dir/flen.onnx" >"$dir/file" || fail "onnx"
grep -q 'FieldInteraction <' "$dir/file" && ! grep -q EmbeddingInteraction "$dir/file" || fail "a file has the function"
"$bin/flenc" opt --passes=inline-functions,segment,plan-memory "$dir/flen.onnxtxt" -o "$dir/code.onnxtxt" && grep -q '"ai.flen.schedule"' "$dir/code.onnxtxt" || fail "segments of a text with functions"
"$bin/flenc" opt --passes=segment,plan-memory "$dir/flen.onnxtxt" | cmp -s - "$dir/code.onnxtxt" || fail "segment does not inline"
finish
