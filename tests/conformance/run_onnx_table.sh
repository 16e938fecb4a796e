# sh tests/conformance/run_onnx_table.sh BIN_DIR [--update] -- the table of operators (operators.md) is what the programs say; --update writes it.
here=tests/conformance
data=${FLEN_ONNX_TESTS:-/usr/share/libonnx-testdata/data/node}
if [ ! -d "$data" ]; then
    echo "skipped: no ONNX node tests in $data (Debian package libonnx-testdata)"
    exit 77
fi
new=$(mktemp)
cat > "$new" <<'TEXT'
# Operators of ONNX that are read

Made by `sh tests/conformance/run_onnx_table.sh BIN_DIR --update`. *emitted*: interpreter and native code; *interpreted*: interpreter alone; *as other
operators*: written as nodes of operators that the graph has when a file is read. *tests*: ONNX's backend node tests (Debian's libonnx-testdata, ONNX 1.12)
whose model has the operator, and how many of them pass on the interpreter and through emitted code; the others need an operator or an element type
that is not supported, or draw random numbers. `flen-onnx-tests DIR` names each with its reason.

TEXT
"$1/flen-onnx-tests" --table "$data" "$(dirname "$data")"/simple/test_gradient_of_* >> "$new" || { rm -f "$new"; exit 1; }
if [ "${2:-}" = --update ]; then
    mv "$new" $here/operators.md && chmod 644 $here/operators.md
    exit 0
fi
diff $here/operators.md "$new"
status=$?
rm -f "$new"
[ $status -eq 0 ] || echo "operators.md is not what the programs say: run the script with --update"
exit $status
