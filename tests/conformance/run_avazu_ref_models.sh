#!/bin/sh
# Weights that FuxiCTR trained on Avazu give in our LR and FM the logits that they should, within 1e-5; shifted weights do not.
. tests/support/shell.sh
folder=${FLEN_TEST_DATA:-../shared}/data/avazu_ref_models
if [ ! -e "$folder/LR.f32" ]; then
    echo "skipped: $folder is not there"
    exit 77
fi
"$bin/flen-fuxictr" "$folder" --backend=interp || exit 1
"$bin/flen-fuxictr" "$folder" --backend=native || exit 1

for f in "$folder"/*; do cat "$f" >"$dir/$(basename "$f")"; done
# The bias, the first number of LR, becomes 1.
printf '\000\000\200\077' | dd of="$dir/LR.f32" bs=1 conv=notrunc 2>/dev/null
if "$bin/flen-fuxictr" "$dir"; then
    echo "not noticed: another bias"
    exit 1
fi
