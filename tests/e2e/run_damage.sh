#!/bin/sh
# A bit flips in the large dictionary of a large model: a row's prediction does not read it whole, and says nothing unless it is hit; whoever reads many rows,
# looks at the file, trains from it or copies it refuses.
. tests/e2e/common.sh

sed 's/embedding_size: .*/embedding_size: 48/' models/flen/config.yaml >"$dir/config.yaml"
run 0 generate "$bin/flenrt" generate --rows 120K --ids 200K --skew 0.3 --quiet -o "$dir/rows.csv" || finish
run 0 compile "$bin/flenc" compile "$dir/config.yaml" --set inputs.defaults.min_count=1 --quiet -o "$dir/model.bin" || finish
run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/p" --valid-tail 2000 || finish
run 0 train "$bin/flenrt" train "$dir/p/model.bin" --data "$dir/p/valid" --epochs 1 --quiet -o "$dir/m.bin" || finish
size=$(wc -c <"$dir/m.bin")
[ "$size" -gt $((17 << 20)) ] || fail "the model is too small for this test: $size bytes"

head -2 "$dir/rows.csv" >"$dir/one.csv"
head -5000 "$dir/rows.csv" >"$dir/many.csv"
run 0 one "$bin/flenrt" predict "$dir/m.bin" --data "$dir/one.csv"
run 0 many "$bin/flenrt" predict "$dir/m.bin" --data "$dir/many.csv"
run 0 whole "$bin/flenrt" info "$dir/m.bin" --verify

# In the middle of the first dictionary's text or ends, behind the first megabyte.
at=$(($(grep -abo FLENVOCB "$dir/m.bin" | head -1 | cut -d: -f1) + 3000000))
byte=$(od -An -tu1 -j $at -N 1 "$dir/m.bin")
printf "\\$(printf %o $((byte ^ 64)))" | dd of="$dir/m.bin" bs=1 seek=$at conv=notrunc 2>"$dir/dd.err" || fail "dd"
run 0 one-damaged "$bin/flenrt" predict "$dir/m.bin" --data "$dir/one.csv"
cmp -s "$dir/one.out" "$dir/one-damaged.out" || echo "the flipped bit is one that the row reads"
for command in "predict m.bin --data many.csv" "infer m.bin --data many.csv" "info m.bin" "info m.bin --verify" "train m.bin --data p/valid -o out.bin" "fold m.bin -o out.bin" "prepare m.bin rows.csv -o q"; do
    (cd "$dir" && "$bin/flenrt" $command) >"$dir/out" 2>&1
    [ $? = 1 ] && grep -q 'the checksum of "vocabulary.bin" is wrong' "$dir/out" || { fail "$command does not see the damage"; tail -3 "$dir/out"; }
done
(cd "$dir" && "$bin/flenc" verify m.bin --data one.csv) >"$dir/out" 2>&1
[ $? = 1 ] && grep -q 'the checksum of "vocabulary.bin" is wrong' "$dir/out" || { fail "flenc verify does not see the damage"; tail -3 "$dir/out"; }
[ ! -e "$dir/out.bin" ] || fail "a damaged dictionary was copied"
finish
