#!/bin/sh
# sh tests/style/run_unused.sh BIN_DIR -- every function and table that a room's library shows is used in another file: what only its own file uses is static,
# what nobody uses goes. By the symbols of the build: what X-macros name counts as used.
build=$(dirname "$1")
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
nm -A "$build"/libflen*.a | awk 'NF > 1 && $(NF - 1) ~ /^[TRDB]$/ && $NF ~ /^fl_/ { print $NF }' | LC_ALL=C sort -u >"$dir/shown"
find "$build" -name '*.o' -exec nm -A {} + 2>/dev/null | awk 'NF > 1 && $(NF - 1) == "U" { print $NF }' | LC_ALL=C sort -u >"$dir/used"
[ "$(wc -l <"$dir/shown")" -gt 500 ] || { echo "only $(wc -l <"$dir/shown") symbols in $build/libflen*.a"; exit 1; }
LC_ALL=C comm -23 "$dir/shown" "$dir/used" >"$dir/unused"
sed 's/$/: no other file uses it/' "$dir/unused"
[ ! -s "$dir/unused" ]
