# common.sh -- sourced by the scripts of this folder: shell.sh's words, and what whole runs need.
. tests/support/shell.sh
data=${FLEN_TEST_DATA:-../shared}

# run STATUS NAME COMMAND...: output into $dir/NAME.out and $dir/NAME.err; the exit status must be STATUS.
run() {
    want=$1 name=$2
    shift 2
    "$@" >"$dir/$name.out" 2>"$dir/$name.err"
    got=$?
    if [ $got != "$want" ]; then
        fail "$name: exit status $got, expected $want: $*"
        tail -5 "$dir/$name.err"
    fi
    [ $got = "$want" ]
}

# The number behind "KEY": in the last line of a --json output that has it.
number() {
    grep -o "\"$2\":[-0-9.e+]*" "$1" | tail -1 | cut -d: -f2
}

# check VALUE OP VALUE WHAT, with OP as test -lt and so on for decimals.
check() {
    awk -v a="${1:-nan}" -v b="$3" -v op="$2" 'BEGIN { if (a == "nan" || a == "") exit 1;
        exit !(op == "<" ? a + 0 < b + 0 : op == ">" ? a + 0 > b + 0 : a + 0 == b + 0) }' || fail "$4: $1 is not $2 $3"
}
