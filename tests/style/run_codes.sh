#!/bin/sh
# sh tests/style/run_codes.sh BIN_DIR -- every code of a diagnostic (ir/base/diag_*.def) has a page that `flenc explain` prints, stands in the code that reports
# it, and in a test that asserts it: as E0123 beside its text, or by its name FL_E_... beside it.
bin=$1
cd "$(dirname "$0")/../.." || exit 2
tests=$(mktemp) && sources=$(mktemp) && trap 'rm -f "$tests" "$sources"' EXIT
find tests -type f \( -name '*.c' -o -name '*.sh' -o -name '*.expect' -o -name '*.onnxtxt' -o -name '*.py' \) ! -name run_codes.sh -exec cat {} + | grep -oE '\bE[0-9]{4}\b|\bFL_E_[A-Z_0-9]+\b' | sort -u >"$tests"
find frontend ir passes backend runtime -name '*.[ch]' -exec cat {} + | grep -oE '\bFL_E_[A-Z_0-9]+\b' | sort -u >"$sources"
sed -n 's/^FL_CODE(\([0-9]*\), *\([A-Z_0-9]*\),.*/\1 \2/p' ir/base/diag_*.def | {
    codes=0 failed=0
    while read -r number id; do
        code=E$(printf %04d "$number")
        codes=$((codes + 1))
        [ "$("$bin/flenc" explain "$code" | wc -l)" -ge 3 ] || { echo "FAILED: $code has no page"; failed=1; }
        grep -qx "FL_E_$id" "$sources" || { echo "FAILED: $code (FL_E_$id) is reported nowhere"; failed=1; }
        grep -qx "$code\|FL_E_$id" "$tests" || { echo "FAILED: no test asserts $code (FL_E_$id)"; failed=1; }
    done
    echo "$codes codes"
    [ $codes -gt 100 ] && [ $failed = 0 ]
}
