#!/bin/sh
# Our text is ONNX's: onnx.parser reads what we print of every graph case, before (with functions) and after its passes, and of each shipped configuration in
# all stages and programs; we read what onnx.printer makes of that, and print it as the same model. What onnx.printer prints of ONNX's node tests is read as the
# files are. With python3's onnx package (pip install onnx) and with Debian's (python3-onnx, 1.12: within its grammar), whichever there is.
. tests/support/shell.sh
nodes=${FLEN_ONNX_TESTS:-/usr/share/libonnx-testdata/data/node}
data=${FLEN_TEST_DATA:-../shared}/data/onnx_fm_ml1m/FM.onnx
python=tests/conformance/onnx_text.py

interpreters=
for candidate in python3 /usr/bin/python3; do
    version=$($candidate $python version 2>/dev/null) || continue
    case " $interpreters" in *":$version "*) ;; *) interpreters="$interpreters$candidate:$version " ;; esac
done
[ -n "$interpreters" ] || { echo "skipped: no python3 has an onnx package"; exit 77; }

mkdir "$dir/texts"
for case in tests/graph/*/*.onnxtxt; do
    case $case in */invalid/*) continue ;; esac
    name=$(echo "$case" | sed 's|.*/graph/||; s|/|.|')
    sed '/^# EXPECT:$/,$d' "$case" >"$dir/case.onnxtxt"
    run=$(sed -n '1s/^# RUN: flenc //p' "$case")
    "$bin/flenc" dump --functions "$dir/case.onnxtxt" -o "$dir/texts/before.$name" && eval "$bin/flenc $run -o \"$dir/texts/after.$name\" \"$dir/case.onnxtxt\"" ||
        fail "$case is not printed"
done
for config in models/*/*.yaml; do
    name=$(echo "$config" | tr / .)
    for stage in imported forward train optimised scheduled; do
        for program in predict train init prologue; do
            case $stage-$program in imported-[!p]* | forward-[!p]* | imported-prologue | forward-prologue) continue ;; esac
            "$bin/flenc" dump --stage=$stage --program=$program "$config" -o "$dir/texts/$name.$stage.$program.onnxtxt" 2>"$dir/err" ||
                [ $program = prologue ] || { fail "$config, $stage, $program"; cat "$dir/err"; }
        done
    done
done
[ ! -e "$data" ] || "$bin/flenc" dump "$data" -o "$dir/texts/FM.onnxtxt" || fail "FM.onnx is not printed"

# What onnx.printer printed, as we read and print it: the same to onnx.printer. Numbers have other digits there: ONNX's attributes are 32 bits wide.
check_printed() {
    mkdir "$dir/again" "$dir/ours"
    [ ! -e "$data" ] || cp "$data" "$dir/printed" # external references
    for text in "$dir"/printed/*.onnxtxt; do
        functions=--no-functions
        grep -q '^  domain: "ai.flen",$' "$text" && functions=--functions
        "$bin/flenc" dump $functions "$text" -o "$dir/ours/$(basename "$text")" 2>"$dir/err" || { fail "$(basename "$text") as onnx.printer prints it"; cat "$dir/err"; }
    done
    $1 $python read "$dir/ours" "$dir/again" >"$dir/log" || { fail "printed, read and printed"; cat "$dir/log"; }
    diff -r -x '*.onnx' "$dir/printed" "$dir/again" >"$dir/log" || { fail "onnx.printer prints another model"; head -20 "$dir/log"; }
}

# Files that we read are read from their text, as the same graph.
check_nodes() {
    mkdir "$dir/nodes"
    $1 $python print "$dir/nodes" "$nodes"/*/model.onnx || fail "onnx.printer"
    same=0
    for text in "$dir"/nodes/*.onnxtxt; do
        name=$(basename "$text" .onnxtxt)
        "$bin/flenc" dump --plain --stage=imported "$nodes/$name/model.onnx" >"$dir/file" 2>/dev/null || continue
        if "$bin/flenc" dump --plain --stage=imported "$text" >"$dir/text" 2>"$dir/err"; then
            same=$((same + 1))
            cmp -s "$dir/file" "$dir/text" || { fail "$name is another graph as text"; diff "$dir/file" "$dir/text" | head -5; }
        else
            fail "$name as onnx.printer prints it"
            cat "$dir/err"
        fi
    done
    echo "$same of ONNX's node tests are read from text"
    [ $same -gt 600 ] || fail "only $same node tests are read from text"
}

for interpreter in $interpreters; do
    command=${interpreter%:*}
    rm -rf "$dir/printed"
    mkdir "$dir/printed"
    $command $python read "$dir/texts" "$dir/printed" || failed=1
    ls "$dir/printed" | grep -q . || continue
    check_printed "$command"
    [ ! -d "$nodes" ] || check_nodes "$command"
done
exit $failed
