#!/bin/sh
# sh tests/style/run_rules.sh BIN_DIR [TREE] -- what a compiler does not see but a reader relies on; a line PLACE: breach for each. Rules:
#
#   includes   arrows point one way: ir/base <- ir <- passes, frontend, backend; runtime sees ir alone. Only the two command lines
#              (flenc, flenrt, verb_*) and the public library may include passes/pass.h and backend/backend.h; backend knows of runtime only what generated code and engines see;
#              `flenc verify` runs what it made, on rows that runtime reads; `flenc compile` folds tables where the weights are there
#   libraries  protobuf-c in ir/onnx* only, LLVM in backend/llvm only, libyaml in frontend/config* only, BLAS in runtime/blas* only
#   own first  a .c file includes its own header before anything else
#   opening    code starts with a comment that says what it is; a .c file with a header of its own may leave that to it
#   names      file names of code are unique in the tree
#   lengths    files up to 800 lines, functions up to 80; a file whose opening comment says "longer than" and why may be longer
#   printing   library code never prints, exits or aborts (the assertion in ir/base/status.c does; a forked child ends by _exit)
#   layout     no tab, no space at the end of a line, a newline at the end of a file
#   codes      a number of a diagnostic stands once
#   places     no absolute path of one machine, no host of a package registry
tree=${2:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$tree" || exit 2
out=$(mktemp) && list=$(mktemp) && text=$(mktemp) && trap 'rm -f "$out" "$list" "$text"' EXIT

# Every file of the tree but builds and hidden folders; those with bytes that are no text are left out by grep -I below.
find . -type f ! -path './build/*' ! -path './.git/*' ! -path './.git' | sed 's|^\./||' | LC_ALL=C sort >"$list"
code() { grep -E '\.(c|h|def)$' "$list"; }
ours() { code | grep -E '^(ir|passes|frontend|backend|runtime)/'; }
[ "$(ours | wc -l)" -gt 100 ] || { echo "tests/style: only $(ours | wc -l) files of code were found"; exit 1; }

includes() {
    xargs awk '
        function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
        function starts(text, with) { return substr(text, 1, length(with)) == with }
        function breach(text) { print FILENAME ":" FNR ": " text }
        FNR == 1 { n_own = 0; own = FILENAME; sub(/\.c$/, ".h", own); verb = FILENAME ~ /\/(flenc|flenrt|flenrt_library|verb_[a-z_]+)\.[ch]$/; room = folder(FILENAME) }
        /^[ \t]*#[ \t]*include/ {
            what = $0; sub(/^[^<"]*[<"]/, "", what); sub(/[>"].*$/, "", what)
            if ((what ~ /protobuf-c|pb-c/) && FILENAME !~ /^ir\/onnx[a-z_]*\.[ch]$/) breach("protobuf-c is seen by ir/onnx* alone")
            if ((what ~ /^llvm/) && !starts(FILENAME, "backend/llvm/")) breach("LLVM is seen by backend/llvm alone")
            if (what == "yaml.h" && FILENAME !~ /^frontend\/config[a-z_0-9]*\.[ch]$/) breach("libyaml is seen by frontend/config* alone")
            if ((what ~ /cblas/) && FILENAME !~ /^runtime\/blas/) breach("BLAS is seen by runtime/blas* alone")
            if ($0 !~ /"/) next
            to = folder(what)
            if (to == "ir/base" || (to == "ir" && room != "ir/base")) next
            split(room, top, "/"); split(to, other, "/")
            if (top[1] != "ir" && top[1] == other[1]) next
            if (verb && (what == "passes/pass.h" && top[1] == "frontend" || what == "backend/backend.h")) next
            if (FILENAME ~ /^frontend\/verb_(verify|rows|slopes|peer|compile)\.[ch]$/ && (what == "backend/trial.h" || other[1] == "runtime")) next
            if (top[1] == "backend" && (what == "runtime/abi.h" || what == "runtime/engine.h")) next
            if (room == to) next
            breach("\"" room "\" may not include \"" what "\"")
        }'
}

own_first() { # runtime/flenrt.c is the command line; flenrt.h is the library's
    grep -vx runtime/flenrt.c | xargs awk -v list="$list" '
        BEGIN { while ((getline path <list) > 0) exists[path] = 1 }
        FNR == 1 { own = FILENAME; sub(/\.c$/, ".h", own); name = own; sub(/.*\//, "", name); done = !exists[own] }
        /^ *#include/ && !done { done = 1; if (!index($0, "\"" own "\"") && !index($0, "\"" name "\"")) print FILENAME ":1: its own header is not the first include" }'
}

opening() {
    xargs awk -v list="$list" '
        BEGIN { while ((getline path <list) > 0) exists[path] = 1 }
        FNR == 1 { own = FILENAME; sub(/\.c$/, ".h", own) }
        FNR == 1 && substr($0, 1, 2) != "/*" && !(own != FILENAME && exists[own]) { print FILENAME ":1: no opening comment" }'
}

lengths() {
    xargs awk '
        function flush_file() { if (file != "" && !may && lines > 800) print file ":1: " lines " lines, more than 800" }
        FNR == 1 { flush_file(); file = FILENAME; may = 0; start = 0 }
        FNR <= 30 && /longer than/ { may = 1 }
        /^\{$/ { start = FNR; head = before }
        /^\}/ && start { n = FNR - start - 1; if (n > 80 && !may) print FILENAME ":" start ": " n " lines, more than 80: " head; start = 0 }
        { before = $0; lines = FNR }
        END { flush_file() }'
}

printing() {
    grep -E '\.c$' | grep -vE '/(flenc|flenrt|verb_[a-z_]+)\.c$|^ir/base/status\.c$' |
        xargs grep -nE '(^|[^a-z_])(printf|puts|putchar|perror|exit|abort)\(|(^|[^a-z_])f(printf|puts)\([^"]*std(out|err)[,)]' |
        sed -E 's/^([^:]*:[0-9]+):.*/\1: library code does not print, exit or abort/'
}

layout() {
    tab=$(printf '\t')
    grep -vE '^tests/fuzz/corpus/|^tests/conformance/([a-z]*_)?models/|^tests/cli/config/(yaml_tab|empty)\.yaml' | xargs grep -Il . >"$text"
    xargs grep -n "$tab" <"$text" | sed -E 's/^([^:]*:[0-9]+):.*/\1: a tab/'
    xargs grep -n ' $' <"$text" | sed -E 's/^([^:]*:[0-9]+):.*/\1: spaces at the end of the line/'
    [ "$(xargs tail -qc1 <"$text" | tr -d '\n' | wc -c)" = 0 ] && return # else one by one, which takes longer
    while read -r file; do
        [ -z "$(tail -c1 "$file")" ] || echo "$file: no newline at the end"
    done <"$text"
}

places() {
    grep -v '^tests/style/' | grep -v '^tests/fuzz/corpus/' |
        xargs grep -InE '(^|[^A-Za-z0-9_.$}])/(home|root|work|Users)/|pypi\.|pythonhosted|registry\.|crates\.io|npmjs|ghcr\.io|quay\.io|(deb|security)\.debian\.org|proxy\.golang|conda\.|artifactory' |
        sed -E 's/^([^:]*:[0-9]+):(.*)/\1: a place of one machine or a registry: \2/'
}

ours | includes >>"$out"
ours | grep '\.c$' | own_first >>"$out"
code | opening >>"$out"
code | sed 's|.*/||' | sort | uniq -d | while read -r name; do
    code | grep "/$name\$" | sed "s|\$|: a second file of this name|"
done >>"$out"
code | lengths >>"$out"
cat ir/base/*.def | sed -n 's/^FL_CODE(\([0-9]*\), \([A-Z_]*\),.*/\1/p' | sort | uniq -d | sed 's|$|: two diagnostics have this number|' >>"$out"
ours | printing >>"$out"
layout <"$list" >>"$out"
places <"$list" >>"$out"

cat "$out"
n=$(wc -l <"$out")
echo "$(wc -l <"$list") files, $n breaches"
[ "$n" = 0 ]
