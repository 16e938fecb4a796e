#!/bin/sh
# sh tests/style/run_codes.sh BIN_DIR -- every code of a diagnostic (ir/base/diag_*.def) has a page that `flenc explain` prints, stands in the code that reports
# it, and in a test that asserts it: as E0123 beside its text, or by its name FL_E_... Those of `without` are in no test yet, or only their text is; the list
# may only become shorter.
bin=$1
without="E0601 E0650 E0651 E0652 E0653 E0600 E0100 E0114 E0514 E0516 E0518 E0519 E0520 E0521 E0522 E0523 E0001 E0403 E0404
E0405 E0480 E0481 E0305 E0306 E0310 E0311 E0700 E0701 E0780 E0782 E0783 E0703 E0720 E0721 E0742 E0743 E0724"
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
        asserted=no listed=no
        grep -qx "$code\|FL_E_$id" "$tests" && asserted=yes
        case " $(echo $without) " in *" $code "*) listed=yes ;; esac
        [ $asserted != $listed ] || { echo "FAILED: $code (FL_E_$id): asserted by a test: $asserted, listed as not: $listed"; failed=1; }
    done
    echo "$codes codes, $((codes - $(echo $without | wc -w))) of them asserted by tests"
    [ $codes -gt 100 ] && [ $failed = 0 ]
}
