#!/bin/sh
# Large tensors stay in the file that a text was printed from: references from the text's own folder, by --data-dir, and through standard input.
. tests/support/shell.sh
data=${FLEN_TEST_DATA:-../shared}

if [ ! -e "$data/data/onnx_fm_ml1m/FM.onnx" ]; then
    echo "skipped: $data/data/onnx_fm_ml1m/FM.onnx is not there"
    exit 77
fi
cp "$data/data/onnx_fm_ml1m/FM.onnx" "$dir/FM.onnx"
mkdir "$dir/other"
cd "$dir" || exit 1
"$bin/flenc" dump FM.onnx -o a.onnxtxt && "$bin/flenc" dump a.onnxtxt -o b.onnxtxt && cmp a.onnxtxt b.onnxtxt || fail "FM.onnx"
[ "$(wc -c <a.onnxtxt)" -lt 100000 ] || fail "large tensors of FM.onnx stand in the text"
"$bin/flenc" dump FM.onnx | "$bin/flenc" dump - >b.onnxtxt && cmp a.onnxtxt b.onnxtxt || fail "FM.onnx through standard input"
"$bin/flenc" compile --quiet FM.onnx -o fm.bin && "$bin/flenc" compile --quiet a.onnxtxt -o text.bin || fail "compile FM.onnx"
"$bin/flenc" dump fm.bin -o other/c.onnxtxt && "$bin/flenc" dump fm.bin -o c.onnxtxt && "$bin/flenc" dump c.onnxtxt -o d.onnxtxt &&
    cmp c.onnxtxt d.onnxtxt || fail "fm.bin"
"$bin/flenc" compile --quiet other/c.onnxtxt -o x.bin 2>err && fail "data that are not there were found"
grep -q 'external data in "fm.bin": .* \[E0306\]$' err || { fail "missing data"; cat err; }
"$bin/flenc" compile --quiet --data-dir=. other/c.onnxtxt -o x.bin || fail "--data-dir"
unzip -p fm.bin weights.bin >w1 2>/dev/null && unzip -p text.bin weights.bin >w2 && unzip -p x.bin weights.bin >w3 && {
    cmp w1 w2 && cmp w1 w3 || fail "weights changed on their way through text"
}
sed 's/"length": "1544192"/"length": "1544196"/' a.onnxtxt >long.onnxtxt
"$bin/flenc" dump long.onnxtxt >out 2>err && fail "a length that does not fit the type"
grep -q '^long.onnxtxt:4:.*do not fit its type \[E0306\]$' err || { fail "length"; cat err; }
exit $failed
